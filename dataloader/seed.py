"""Development data: samples, personas and invented users. A protected target never gets any of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from faker import Faker

from dataloader.errors import InputError, Problem, raise_problems
from dataloader.manifest import SEEDED_TIME
from dataloader.mint import mint, seeded_bytes
from dataloader.models import Entry, Login, Model, Role, get_model, model_names
from dataloader.revision import Document
from dataloader.settings import MAX_CARDS, data_dir
from dataloader.snapsets import Snapsets, read_json5, read_snapsets
from dataloader.sources import Source, design_sources, entry_sources, snapset_sources
from dataloader.targets import Target
from dataloader.validation import explain, has_schema

SCHEMA = "files/sample-data"
DEFAULT_SEED = 0


@dataclass(frozen=True, slots=True)
class SampleData:
    """The development documents for one database."""

    path: Path
    model: Model
    database: str
    documents: tuple[Document, ...]
    """Sorted by type, then by ``_id``."""


def read_samples(path: Path, model: Model | None = None) -> SampleData:
    """Read and check a file of development documents, ``MODEL/DATABASE.json5``.

    Args:
        path: the file.
        model: the model, where the folder's name does not say it.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    data = read_json5(path)
    if model is None:
        if path.resolve().parent.name not in model_names():
            raise InputError(
                Problem(
                    str(path),
                    "sample data stands in a folder named after its model",
                    f"put it into a folder {' or '.join(model_names())}",
                )
            )
        model = get_model(path.resolve().parent.name)
    problems = [Problem(str(path), rule, f"see schemas/{SCHEMA}.schema.json") for rule in explain(SCHEMA, data)]
    raise_problems(problems)
    if path.stem not in model.databases:
        problems.append(Problem(str(path), f"model {model.name} has no database {path.stem!r}", "rename the file"))
    seen: set[str] = set()
    for document in data:
        where = f"{path}, document {document['_id']}"
        schema = f"{model.name}/{document['type']}"
        if document["_id"] in seen:
            problems.append(Problem(where, "is there more than once", "keep one"))
        seen.add(document["_id"])
        if not has_schema(schema):
            problems.append(Problem(where, f"model {model.name} has no type {document['type']!r}", "correct the type"))
        else:
            problems += [
                Problem(where, rule, f"see schemas/{schema}.schema.json") for rule in explain(schema, document)
            ]
    raise_problems(problems)
    return SampleData(path, model, path.stem, tuple(sorted(data, key=_type_and_id)))


def _type_and_id(document: dict[str, Any]) -> tuple[str, str]:
    return document["type"], document["_id"]


def sample_sources(model: Model, folder: Path | None = None) -> list[Source]:
    """Return the sources of a model's development documents, by default the project's own."""
    folder = (data_dir("samples") if folder is None else folder) / model.name
    sources = []
    for path in sorted(folder.glob("*.json5")):
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
                )
            )
    return sources


def _again(documents: list[Document]) -> Callable[[], Iterator[Document]]:
    return lambda: iter(documents)


def read_personas() -> list[Entry]:
    """Read and check what the personas' documents are made from.

    Raises:
        InputError: with every problem found.
    """
    return [persona.entry(Role.PERSONA) for persona in read_snapsets(data_dir("samples") / "personas")]


def persona_sources(model: Model, personas: Sequence[Entry]) -> list[Source]:
    """Return the sources of the personas' documents."""
    return entry_sources(model, lambda: personas, len(personas), Role.PERSONA, "samples/personas")


def sample_ids(model: Model) -> dict[str, list[str]]:
    """Return the ``_id`` of every document of the samples, by database (without prefix)."""
    found: dict[str, list[str]] = {}
    for source in (*persona_sources(model, read_personas()), *sample_sources(model)):
        found.setdefault(source.database, []).extend(document["_id"] for document in source.documents())
    return found


def invented_people(count: int, seed: int, snapsets: Snapsets) -> Iterator[Entry]:
    """Yield invented people with log-ins, the same for the same seed, in the order of their UUIDs."""
    fake = Faker("en_US")
    fake.seed_instance(seed)
    sets = [snapset.preferences for snapset in snapsets]
    # Their own randomness: a batch made with the same seed must not have the same UUIDs.
    for number, uuid in enumerate(mint(count, seeded_bytes(f"people {seed}")), 1):
        name = f"{fake.user_name()}-{number}"
        login = Login(name, fake.password(length=12), f"{name}@example.org")
        yield Entry(uuid, fake.random_element(sets), SEEDED_TIME, Role.PERSON, login)


def seed_sources(target: Target, snapsets: Snapsets, *, users: int = 0, seed: int = DEFAULT_SEED) -> list[Source]:
    """Return everything that a development or CI database is seeded with.

    Args:
        target: the target; refused if it is a protected one.
        snapsets: the snapsets.
        users: how many people to invent.
        seed: what they are invented from.

    Raises:
        ProtectedError: the target is a staging or production one.
        InputError: the sample data is wrong, a snapset has a persona's name, or too many users are wanted.
    """
    target.refuse("sample data", "use `dataloader load` with a manifest")
    if not 0 <= users <= MAX_CARDS:
        raise InputError(Problem(f"--users {users}", f"0 to {MAX_CARDS:,} people can be invented", "correct it"))
    personas = read_personas()
    # Each would be written without a question where the database is new, and so there would be both.
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
        sources += entry_sources(target.model, people, users, Role.PERSON, f"people invented from seed {seed}")
    return sources + design_sources(target.model)
