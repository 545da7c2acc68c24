"""Sources of documents to load: each is a sorted sequence that can be read repeatedly."""

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
    is_valid,
    prepare,
    raise_problems,
    schema_problems,
)
from dataloader.records import ANY_CARD, Snapsets, Templates
from dataloader.records.models import Entry, Kind, Model, Role
from dataloader.records.views import DESIGN_SCHEMA, design_documents
from dataloader.replication import version_digest
from dataloader.target import Target, Versions

DESIGN_KIND = "design document"


@dataclass(frozen=True, slots=True)
class Source:
    """A sequence of documents of one kind for one database, sorted by ``_id``."""

    database: str
    """Without the target's prefix."""
    kind: str
    schema: str
    origin: str
    """Where they come from: a file, or what generated them."""
    count: int
    documents: Callable[[], Iterator[Document]]
    role: Role | None = None
    """Who they belong to; no two roles share an ``_id``."""
    examples: Callable[[], Iterable[tuple[str, Document]]] = tuple
    """An example of each version in the source, by its subject, such as a snapset's name."""
    cards: tuple[Kind, Callable[[], Iterable[Entry]]] | None = None
    """The kind and the cards of the documents, if they are of cards."""

    @property
    def is_personal(self) -> bool:
        """Whether a document belongs to somebody, unlike snapsets and design documents."""
        return self.role is not Role.SNAPSET and self.kind != DESIGN_KIND

    def versions(self) -> Versions:
        """Return the digests of the versions in the source, by subject."""
        whose = self.role.value if self.role else "sample"
        found = {name: version_digest(document) for name, document in self.examples()}
        if self.role is Role.CARD and len(set(found.values())) == 1:
            # A kind of document that does not depend on the snapset.
            return {f"{whose} {self.kind}": next(iter(found.values()))}
        return {f"{whose} {self.kind} {name}": digest for name, digest in found.items()}

    @property
    def is_sample(self) -> bool:
        """Whether these are development data; true unless known otherwise."""
        return self.role not in {Role.CARD, Role.SNAPSET, Role.GIVEN} and self.kind != DESIGN_KIND

    def prepared(self) -> Iterator[Prepared]:
        """Yield the documents, validated and prepared.

        Raises:
            InputError: a document breaks its schema.
        """
        if self.cards is not None:
            kind, entries = self.cards
            yield from map(Templates(kind, self._validate).prepared, entries())
            return
        for document in self.documents():
            self._validate(document)
            yield prepare(document)

    def _validate(self, document: Document) -> None:
        if is_valid(self.schema)(document):
            return
        where = f"{self.origin}, document {document.get('_id')}"
        raise InputError(
            schema_problems(where, self.schema, document) or Problem(where, f"breaks schema {self.schema}")
        )


def entry_sources(
    model: Model,
    entries: Callable[[], Iterable[Entry]],
    count: int,
    role: Role,
    origin: str,
    snapsets: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Source]:
    """Return the sources of entries with one role, one for each kind of document.

    Args:
        model: the document model.
        entries: returns the entries, sorted by key.
        count: the number of entries.
        role: who they belong to.
        origin: where they come from.
        snapsets: the preference sets of the entries, by name; None if each entry has its own.
    """

    def documents(kind: Kind) -> Callable[[], Iterator[Document]]:
        return lambda: map(kind.document, entries())

    def examples(kind: Kind) -> Callable[[], Iterable[tuple[str, Document]]]:
        if snapsets is None:
            return lambda: ((entry.key, kind.document(entry)) for entry in entries())
        return lambda: (
            (name, kind.document(Entry(ANY_CARD, preferences, "", role))) for name, preferences in snapsets.items()
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
            (kind, entries) if snapsets is not None else None,
        )
        for kind in model.kinds
        if role in kind.roles
    ]


def card_entries(manifest: CardFile, snapsets: Snapsets, part: Part = WHOLE) -> Iterator[Entry]:
    """Yield the entries of a batch's cards, sorted by UUID.

    Args:
        manifest: the batch.
        snapsets: the snapsets of the target's model.
        part: the part of the cards.

    Raises:
        InputError: the batch names a snapset that can't be used.
    """
    raise_problems(_snapset_problems(manifest, snapsets))
    preferences = _preferences(manifest, snapsets)
    created = manifest.header.created
    for card in manifest.cards(part):
        yield Entry(card.uuid, preferences[card.snapset], created, Role.CARD)


def _preferences(manifest: CardFile, snapsets: Snapsets) -> dict[str, Mapping[str, Any]]:
    """Return the preference sets of a batch's cards, by the names of their snapsets."""
    return {
        name: snapset.preferences for name in manifest.header.snapsets if (snapset := snapsets.get(name)) is not None
    }


def _snapset_problems(manifest: CardFile, snapsets: Snapsets) -> Iterator[Problem]:
    for name in manifest.header.snapsets:
        yield from snapsets.problems_of(name, str(manifest.path))


def personas() -> set[str]:
    """Return the names of the sample personas, whose sets are not snapsets."""
    return {path.stem for path in (data_dir("samples") / "personas").glob("*/*.json5")}


def snapset_sources(model: Model, snapsets: Snapsets) -> list[Source]:
    """Return the sources of the snapsets' own documents, for the model's snapsets."""
    snapsets = snapsets.of(model.name)
    entries = [snapset.entry() for snapset in snapsets]
    return entry_sources(model, lambda: entries, len(entries), Role.SNAPSET, str(snapsets.folder))


def batch_sources(
    target: Target, manifests: Sequence[CardFile], snapsets: Snapsets, part: Part = WHOLE
) -> list[Source]:
    """Return the sources of the batches' cards.

    Raises:
        InputError: a manifest is given twice, or names a missing snapset.
        ProtectedError: a seeded batch, and the target is staging or production.
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
    """Reject a batch that is given twice, even as its manifest and a reconciled file.

    Raises:
        InputError: a batch is given twice.
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
    """Reject seeded batches on protected targets.

    Raises:
        ProtectedError: a batch is seeded, and the target is staging or production.
    """
    for manifest in manifests:
        if manifest.header.seed is not None:
            target.refuse(
                f"reproducible batch {manifest.header.name} (its UUIDs can be guessed)",
                "mint a batch without --seed",
            )


def design_sources(model: Model) -> list[Source]:
    """Return the sources of the design documents."""

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
    """Return everything that a load writes to a target, in order.

    With a part, only its cards are included; snapsets and views are few, and every part includes them.

    Design documents come last: in a new database, views that exist from the start would be indexed while cards are
    written, which slows down both.

    Raises:
        InputError: a manifest is given twice, or names a missing snapset.
        ProtectedError: a seeded batch or a persona's preference set, and the target is staging or production.
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
