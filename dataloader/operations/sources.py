"""What there is to load: sources of documents, each a sorted run that can be read again and again."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataloader.batch import WHOLE, CardFile, Part
from dataloader.common import (
    Document,
    InputError,
    Prepared,
    Problem,
    data_dir,
    explain,
    is_valid,
    prepare,
    raise_problems,
)
from dataloader.records import Snapsets
from dataloader.records.models import Entry, Kind, Model, Role
from dataloader.records.views import DESIGN_SCHEMA, design_documents
from dataloader.replication import version_digest
from dataloader.target import Target, Versions

DESIGN_KIND = "design document"
_ANY_CARD = "00000000-0000-4000-8000-000000000000"
"""The key of an example: what is a card's own does not count for a version."""


@dataclass(frozen=True, slots=True)
class Source:
    """A run of documents of one kind for one database, in the order of ``_id``."""

    database: str
    """Without the target's prefix."""
    kind: str
    schema: str
    origin: str
    """Where they come from, for people: a file, or what made them."""
    count: int
    documents: Callable[[], Iterator[Document]]
    role: Role | None = None
    """Whose documents they are; no two roles share an ``_id``."""
    examples: Callable[[], Iterable[tuple[str, Document]]] = tuple
    """A document of each version that the source brings, and what it is a version of, such as a snapset's name."""

    @property
    def is_personal(self) -> bool:
        """Whether a document is somebody's own, and not a snapset or a design document, which are nobody's."""
        return self.role is not Role.SNAPSET and self.kind != DESIGN_KIND

    def versions(self) -> Versions:
        """Return the digests of the versions that the source brings, by what they are versions of."""
        whose = self.role.value if self.role else "sample"
        found = {name: version_digest(document) for name, document in self.examples()}
        if self.role is Role.CARD and len(set(found.values())) == 1:
            # A kind of document that does not depend on the snapset.
            return {f"{whose} {self.kind}": next(iter(found.values()))}
        return {f"{whose} {self.kind} {name}": digest for name, digest in found.items()}

    @property
    def is_sample(self) -> bool:
        """Whether these are development data; whatever is not known to be something else is."""
        return self.role not in {Role.CARD, Role.SNAPSET, Role.GIVEN} and self.kind != DESIGN_KIND

    def prepared(self) -> Iterator[Prepared]:
        """Yield the documents, checked and ready to be asked about and written.

        Raises:
            InputError: one breaks its schema.
        """
        valid = is_valid(self.schema)
        for document in self.documents():
            if not valid(document):
                where = f"{self.origin}, document {document.get('_id')}"
                todo = f"see schemas/{self.schema}.schema.json"
                rules = explain(self.schema, document) or ["breaks its schema"]
                raise InputError([Problem(where, rule, todo) for rule in rules])
            yield prepare(document)


def entry_sources(
    model: Model,
    entries: Callable[[], Iterable[Entry]],
    count: int,
    role: Role,
    origin: str,
    snapsets: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Source]:
    """Return the sources that entries of one role become, one a kind of document.

    Args:
        model: the document model.
        entries: makes the entries, in the order of their keys.
        count: how many there are.
        role: whose they are.
        origin: where they come from, for people.
        snapsets: the preference sets that the entries start with, by name; None where each entry is a set of its own.
    """

    def documents(kind: Kind) -> Callable[[], Iterator[Document]]:
        return lambda: map(kind.document, entries())

    def examples(kind: Kind) -> Callable[[], Iterable[tuple[str, Document]]]:
        if snapsets is None:
            return lambda: ((entry.key, kind.document(entry)) for entry in entries())
        return lambda: (
            (name, kind.document(Entry(_ANY_CARD, preferences, "", role))) for name, preferences in snapsets.items()
        )

    return [
        Source(
            kind.database,
            kind.name,
            f"{model.name}/{kind.name}",
            origin,
            count,
            documents(kind),
            role,
            examples(kind),
        )
        for kind in model.kinds
        if role in kind.roles
    ]


def card_entries(manifest: CardFile, snapsets: Snapsets, part: Part = WHOLE) -> Iterator[Entry]:
    """Yield what the documents of a batch's cards are made from, in the order of UUIDs.

    Args:
        manifest: the batch.
        snapsets: the snapsets of the target's model.
        part: which of the cards.

    Raises:
        InputError: the batch names a snapset that can't be used.
    """
    raise_problems(_snapset_problems(manifest, snapsets))
    preferences = _preferences(manifest, snapsets)
    created = manifest.header.created
    for card in manifest.cards(part):
        yield Entry(card.uuid, preferences[card.snapset], created, Role.CARD)


def _preferences(manifest: CardFile, snapsets: Snapsets) -> dict[str, Mapping[str, Any]]:
    """Return the preference sets that a batch's cards start with, by the names of their snapsets."""
    return {
        name: snapset.preferences for name in manifest.header.snapsets if (snapset := snapsets.get(name)) is not None
    }


def _snapset_problems(manifest: CardFile, snapsets: Snapsets) -> Iterator[Problem]:
    for name in manifest.header.snapsets:
        yield from snapsets.problems_of(name, str(manifest.path))


def personas() -> set[str]:
    """Return the names of the personas of the samples, whose sets are not snapsets."""
    return {path.stem for path in (data_dir("samples") / "personas").glob("*/*.json5")}


def snapset_sources(model: Model, snapsets: Snapsets) -> list[Source]:
    """Return the sources of the snapsets' own documents, of those snapsets that belong to the model."""
    snapsets = snapsets.of(model.name)
    entries = [snapset.entry() for snapset in snapsets]
    return entry_sources(model, lambda: entries, len(entries), Role.SNAPSET, str(snapsets.folder))


def batch_sources(
    target: Target, manifests: Sequence[CardFile], snapsets: Snapsets, part: Part = WHOLE
) -> list[Source]:
    """Return the sources of the batches' cards.

    Raises:
        InputError: a manifest is given twice, or names a snapset that is not there.
        ProtectedError: a reproducible batch, for a staging or production target.
    """
    of_model = snapsets.of(target.model.name)
    problems = [problem for manifest in manifests for problem in _snapset_problems(manifest, of_model)]
    problems += _twice(manifests)
    raise_problems(problems)
    refuse_seeded(target, manifests)

    def entries(manifest: CardFile) -> Callable[[], Iterable[Entry]]:
        return lambda: card_entries(manifest, of_model, part)

    sources = []
    for manifest in manifests:
        begin, end = part.bounds(manifest.count)
        sources += entry_sources(
            target.model,
            entries(manifest),
            end - begin,
            Role.CARD,
            str(manifest.path),
            _preferences(manifest, of_model),
        )
    return sources


def refuse_twice(manifests: Iterable[CardFile]) -> None:
    """Refuse a batch that is given twice, be it once as its manifest and once as a reconciled file.

    Raises:
        InputError: there is one.
    """
    raise_problems(_twice(manifests))


def _twice(manifests: Iterable[CardFile]) -> Iterator[Problem]:
    seen: dict[str, CardFile] = {}
    for manifest in manifests:
        other = seen.get(manifest.header.digest)
        seen[manifest.header.digest] = other or manifest
        if other is not None:
            yield Problem(str(manifest.path), f"holds the same cards as {other.path}", "give it once")


def refuse_seeded(target: Target, manifests: Iterable[CardFile]) -> None:
    """Refuse reproducible batches for a target that never gets any.

    Raises:
        ProtectedError: there is one, and it is a staging or production target.
    """
    for manifest in manifests:
        if manifest.header.seed is not None:
            target.refuse(
                f"reproducible batch {manifest.header.name} (its UUIDs can be guessed)",
                "mint a batch without --seed",
            )


def design_sources(model: Model) -> list[Source]:
    """Return the sources of the design documents, of the databases that have some."""

    def documents(database: str) -> Callable[[], Iterator[Document]]:
        return lambda: iter(design_documents(model, database))

    return [
        Source(
            database,
            DESIGN_KIND,
            DESIGN_SCHEMA,
            "the views",
            len(found),
            documents(database),
            examples=_examples(found),
        )
        for database in model.databases
        if (found := design_documents(model, database))
    ]


def _examples(documents: Sequence[Document]) -> Callable[[], Iterable[tuple[str, Document]]]:
    return lambda: ((document["_id"], document) for document in documents)


def all_sources(target: Target, manifests: Sequence[CardFile], snapsets: Snapsets, part: Part = WHOLE) -> list[Source]:
    """Return everything that a load brings to a target, in the order in which it is brought.

    Of the cards it is a part only, where that is wanted; snapsets and views are few, and every part has them.

    The design documents come last: on a database that is new, views that are there from the start would
    be indexed while the cards are being written, at the cost of both.

    Raises:
        InputError: a manifest is given twice, or names a snapset that is not there.
        ProtectedError: a reproducible batch or a persona's preference set, for a staging or production target.
    """
    snapsets = snapsets.of(target.model.name)
    for name in sorted(personas() & set(snapsets.by_name)):
        target.refuse(
            f"snapset {name} of {snapsets.folder}, which has the name of a persona of the samples,",
            "rename it if it is a snapset, or take it out",
        )
    return [
        *snapset_sources(target.model, snapsets),
        *batch_sources(target, manifests, snapsets, part),
        *design_sources(target.model),
    ]
