"""Development data: samples, personas and invented users; never for a protected target."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from dataloader.batch import SEEDED_TIME, mint, seeded_bytes
from dataloader.common import (
    MAX_CARDS,
    Document,
    InputError,
    Problem,
    data_dir,
    raise_problems,
)
from dataloader.operations.sources import Source, design_sources, entry_sources, snapset_sources
from dataloader.records import Snapsets, read_samples, read_snapsets
from dataloader.records.models import Entry, Login, Model, Role
from dataloader.target import Target

DEFAULT_SEED = 0


def sample_sources(model: Model) -> list[Source]:
    """Return the sources of a model's development documents."""
    sources = []
    for path in sorted((data_dir("samples") / model.name).glob("*.json5")):
        samples = read_samples(path, model)
        for kind, group in groupby(samples.documents, key=lambda document: str(document["type"])):
            documents = list(group)
            sources.append(
                Source(
                    samples.database,
                    kind,
                    f"{model.name}/{kind}",
                    str(path),
                    len(documents),
                    _again(documents),
                    examples=_examples(documents),
                )
            )
    return sources


def _again(documents: list[Document]) -> Callable[[], Iterator[Document]]:
    return lambda: iter(documents)


def _examples(documents: list[Document]) -> Callable[[], Iterator[tuple[str, Document]]]:
    return lambda: ((document["_id"], document) for document in documents)


def read_personas(model: Model) -> list[Entry]:
    """Read and check the entries of the personas for a model.

    Raises:
        InputError: with every problem found.
    """
    personas = read_snapsets(data_dir("samples") / "personas", model.name, strict=True)
    return [persona.entry(Role.PERSONA) for persona in personas]


def persona_sources(model: Model, personas: Sequence[Entry]) -> list[Source]:
    """Return the sources of the personas' documents."""
    return entry_sources(model, lambda: personas, len(personas), Role.PERSONA, "samples/personas")


def sample_ids(model: Model) -> dict[str, list[str]]:
    """Return the ``_id`` of every sample document, by database (without prefix)."""
    found: dict[str, list[str]] = {}
    for source in (*persona_sources(model, read_personas(model)), *sample_sources(model)):
        found.setdefault(source.database, []).extend(document["_id"] for document in source.documents())
    return found


def invented_people(count: int, seed: int, snapsets: Snapsets) -> Iterator[Entry]:
    """Yield invented people with log-ins, reproducible by the seed, sorted by UUID."""
    from faker import Faker  # noqa: PLC0415 - importing it takes long, and only development needs it

    fake = Faker("en_US")
    fake.seed_instance(seed)
    sets = [snapset.preferences for snapset in snapsets]
    # A separate random source: a batch with the same seed must not have the same UUIDs.
    for number, uuid in enumerate(mint(count, seeded_bytes(f"people {seed}")), 1):
        name = f"{fake.user_name()}-{number}"
        login = Login(name, fake.password(length=12), f"{name}@example.org")
        yield Entry(uuid, fake.random_element(sets), SEEDED_TIME, Role.PERSON, login)


def seed_sources(target: Target, snapsets: Snapsets, *, users: int = 0, seed: int = DEFAULT_SEED) -> list[Source]:
    """Return everything to seed a development or CI database with.

    Args:
        target: the target; refused if it is a protected one.
        snapsets: the snapsets.
        users: the number of people to invent.
        seed: the seed of the invented people.

    Raises:
        ProtectedError: the target is staging or production.
        InputError: the sample data is invalid, a snapset has a persona's name, or there are too many users.
    """
    target.refuse("sample data", "use `dataloader load` with a manifest")
    if not 0 <= users <= MAX_CARDS:
        raise InputError(Problem(f"--users {users}", f"0 to {MAX_CARDS:,} people can be invented", "correct it"))
    snapsets = snapsets.of(target.model.name)
    personas = read_personas(target.model)
    # In a new database, both would be written without a check and be in conflict.
    raise_problems(
        Problem(f"{snapsets.folder}, snapset {persona.key}", "has the name of a persona of the samples", "rename it")
        for persona in personas
        if persona.key in snapsets.by_name
    )

    def people() -> Iterable[Entry]:
        return invented_people(users, seed, snapsets)

    sources = [
        *snapset_sources(target.model, snapsets),
        *persona_sources(target.model, personas),
        *sample_sources(target.model),
    ]
    if users:
        sets = {snapset.name: snapset.preferences for snapset in snapsets}
        sources += entry_sources(target.model, people, users, Role.PERSON, f"people invented from seed {seed}", sets)
    return sources + design_sources(target.model)
