"""Read the answers that the real servers would get, for many cards at once.

The servers query a view by key with the linked document (``include_docs``). CouchDB is slow at that: about 1,500 rows a
second, compared with 43,000 rows of a view or 21,000 documents by range. So ranges are read, and documents are joined
to their rows here. If the join is ambiguous, and for a sample of the cards, the servers' own query is used.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

from dataloader.common import BATCH_DOCUMENTS, Document, ProtocolError, live_leaves, rank
from dataloader.couch import Database, LargeReplyError, NotFoundError, Server
from dataloader.operations.card_verdicts import Answer, CardAnswers
from dataloader.records import Templates
from dataloader.records.models import Entry, Kind, Lookup
from dataloader.records.views import DESIGN
from dataloader.replication import chunks
from dataloader.target import Target

SPARSE = 3
"""How many times more rows than cards a range may have; beyond that, reading by keys is faster."""
FEW = 50
"""Rows that a range may always have, however few cards there are."""

ViewRow: TypeAlias = dict[str, Any]
"""A row of a view; a document requested by its ID makes a row ``{"doc": …}``."""
Found = TypeVar("Found")


class CardReader:
    """Reads what the servers would get for cards; thread-safe."""

    def __init__(self, server: Server, target: Target, brought: frozenset[str] = frozenset()) -> None:
        self._model = target.model
        self._brought = brought
        self._databases = {name: server.database(target.database(name)) for name in target.model.databases}
        # Ranges that turned out to contain mostly other rows; the UUIDs of a batch are evenly distributed.
        self._sparse: set[str] = set()
        kinds = {name for lookup in self._model.lookups for name in lookup.kinds.values()}
        self._templates = {name: Templates(self._model.kind(name)) for name in kinds}

    def require_access(self) -> None:
        """Check that the views exist that let cards in, which depend on no card.

        Raises:
            ProtocolError: a database or a view does not exist.
        """
        for name, view in self._model.access_views:
            database = self._databases[name]
            with require(database, view):
                database.view_by_key(DESIGN, view, "", include_docs=False)

    def read(self, entries: Sequence[Entry], exactly: Collection[str] = ()) -> Iterator[CardAnswers]:
        """Yield what the servers would get for each card.

        Args:
            entries: the cards.
            exactly: the UUIDs of cards to check with the servers' own requests, one by one.

        Raises:
            ProtocolError: a database or a view does not exist.
        """
        found = [_answers(lookup, self._rows(lookup, entries, exactly)) for lookup in self._model.lookups]
        answers = [
            CardAnswers(
                entry,
                self._templates,
                [each.get(entry.key, []) for each in found],
                {},
                self._brought,
            )
            for entry in entries
        ]
        self._add_leaves(answers)
        self._add_several(answers)
        yield from answers

    def _rows(self, lookup: Lookup, entries: Sequence[Entry], exactly: Collection[str]) -> dict[str, list[ViewRow]]:
        """Return the rows of a lookup by key; cards without rows are omitted."""
        database = self._databases[lookup.database]
        others = sorted(entry.key for entry in entries if entry.key not in exactly)
        with require(database, lookup.view):
            found = self._read(lookup, database, others) if others else {}
            for entry in entries:
                if entry.key in exactly and (rows := _as_servers_ask(lookup, database, entry.key)):
                    found[entry.key] = rows
        return found

    def _read(self, lookup: Lookup, database: Database, keys: list[str]) -> dict[str, list[ViewRow]]:
        if lookup.view is None:
            kind = self._model.kind(lookup.kinds["doc"])
            documents = self._documents(database, kind, keys)
            # In a cluster, the copy that was read may lag behind. This reads a majority of the copies.
            absent = [key for key in keys if key not in documents]
            documents |= _live(database, kind, absent)
            return {key: [{"doc": document}] for key, document in documents.items()}
        rows = self._view_rows(database, lookup.view, keys)
        if "doc" in lookup.kinds:
            self._join(lookup, database, rows)
        return rows

    def _view_rows(self, database: Database, view: str, keys: list[str]) -> dict[str, list[ViewRow]]:
        def by_range(limit: int) -> list[ViewRow] | None:
            return database.view_range(DESIGN, view, keys[0], keys[-1], limit=limit)

        found = self._by_range(f"{database.name}/{view}", by_range, len(keys))
        if found is None:
            found = [row for some in chunks(keys) for row in database.view(DESIGN, view, some, include_docs=False)]
        wanted = frozenset(keys)
        rows: dict[str, list[ViewRow]] = {}
        for row in found:
            if row["key"] in wanted:
                rows.setdefault(row["key"], []).append(row)
        return rows

    def _documents(self, database: Database, kind: Kind, keys: list[str]) -> dict[str, Document]:
        """Return the live documents of a kind, by key."""
        wanted = {kind.id(key): key for key in keys}

        def by_range(limit: int) -> list[Document] | None:
            return database.documents_range(kind.id(keys[0]), kind.id(keys[-1]), limit=limit)

        found = self._by_range(f"{database.name}/{kind.id('')}", by_range, len(keys))
        if found is None:
            return _live(database, kind, keys)
        return {wanted[document["_id"]]: document for document in found if document["_id"] in wanted}

    def _by_range(self, name: str, read: Callable[[int], list[Found] | None], cards: int) -> list[Found] | None:
        """Read a range; None if it contains much more than needed."""
        if name in self._sparse:
            return None
        try:
            found = read(SPARSE * cards + FEW)
        except LargeReplyError:
            # Only here: a few owners may have very large sets. By keys, the requests are made smaller.
            return None
        if found is None:
            self._sparse.add(name)
        return found

    def _join(self, lookup: Lookup, database: Database, rows: dict[str, list[ViewRow]]) -> None:
        """Add linked documents to rows, as ``include_docs`` does."""
        if not rows:
            return
        kind = self._model.kind(lookup.kinds["doc"])
        documents = self._documents(database, kind, sorted(rows))
        odd = []
        for key, found in rows.items():
            [*others, row] = found
            document = documents.get(key)
            if not others and document is not None and _leads_to(row) == document["_id"]:
                row["doc"] = document
            else:
                odd.append(key)
        for some in chunks(odd):
            for key in some:
                del rows[key]
            # Servers differ in what they return for a row whose _id is missing or null, so ask them.
            for row in database.view(DESIGN, lookup.view or "", some, include_docs=True):
                rows.setdefault(row["key"], []).append(row)

    def _add_leaves(self, answers: Sequence[CardAnswers]) -> None:
        """Read every leaf of documents that should be in the rows but are not."""
        wanted: dict[str, list[CardAnswers]] = {}
        for answer in answers:
            for lookup, rows in zip(self._model.lookups, answer.found, strict=True):
                name = answer.absent(lookup, rows)
                if name is not None:
                    wanted.setdefault(name, []).append(answer)
        for name, without in wanted.items():
            kind = self._model.kind(name)
            database = self._databases[kind.database]
            for some in chunks(without):
                with require(database):
                    leaves = database.leaves([kind.id(each.entry.key) for each in some])
                for each in some:
                    each.leaves[name] = leaves[kind.id(each.entry.key)]

    def _add_several(self, answers: Sequence[CardAnswers]) -> None:
        """Read every leaf of the documents in the rows that have more than one, live or deleted."""
        wanted: dict[str, dict[str, tuple[CardAnswers, str, Document]]] = {}
        for answer in answers:
            for rows in answer.found:
                for name, document in (rows[0] if rows else {}).items():
                    if document is not None:
                        of = self._model.kind(name).database
                        wanted.setdefault(of, {})[document["_id"]] = answer, name, document
        for of, found in wanted.items():
            database = self._databases[of]
            for some in chunks(found, 2 * BATCH_DOCUMENTS):
                several = some
                if database.names_leaves:
                    leaves_of = database.leaf_revisions(some)
                    # The revision that was read is a leaf; any other listed one is in conflict with it.
                    several = [doc_id for doc_id in some if {*leaves_of[doc_id]} - {found[doc_id][2]["_rev"]}]
                for doc_id, leaves in database.leaves(several).items():
                    if len(leaves) > 1:
                        answer, name, _ = found[doc_id]
                        answer.leaves[name] = leaves


_LOAD_VIEWS = (
    "load the target, with --replace-views if somebody has changed its views; or correct the model or the prefix"
)
LOAD_FIRST = "load the target first, or correct the model or the prefix"
"""What to do if a database does not exist."""


def missing(database: Database, view: str | None = None) -> ProtocolError:
    """Return the error that says that a database does not exist, or has not this view."""
    if view is not None and database.exists():
        return ProtocolError(f"database {database.name}", rule=f"has no view {view}", todo=_LOAD_VIEWS)
    return ProtocolError(f"database {database.name}", rule="does not exist", todo=LOAD_FIRST)


def not_created(server: Server, target: Target) -> tuple[str, ...]:
    """Return the names of a target's databases if none exists, as before the first load; otherwise no names.

    Raises:
        ProtocolError: only some exist; somebody has deleted the others, or a first load was interrupted.
    """
    databases = [server.database(target.database(name)) for name in target.model.databases]
    absent = [each for each in databases if not each.exists()]
    if 0 < len(absent) < len(databases):
        raise missing(absent[0])
    return tuple(each.name for each in absent)


@contextmanager
def require(database: Database, view: str | None = None) -> Iterator[None]:
    """Say what is missing if the server returns 404.

    Raises:
        ProtocolError: the database or the view does not exist.
    """
    try:
        yield
    except NotFoundError as error:
        raise missing(database, view) from error


def _as_servers_ask(lookup: Lookup, database: Database, key: str) -> list[ViewRow]:
    """Make the requests of the authorization server and the Preferences Server for a card."""
    if lookup.view is not None:
        return database.view_by_key(DESIGN, lookup.view, key, include_docs=lookup.include_docs)
    document = database.shown(key)
    return [] if document is None else [{"doc": document}]


def _answers(lookup: Lookup, rows: Mapping[str, list[ViewRow]]) -> dict[str, list[Answer]]:
    """Extract documents from rows."""
    places = [(tuple(place.split(".")), kind) for place, kind in lookup.kinds.items()]
    return {key: [{kind: _at(row, place) for place, kind in places} for row in found] for key, found in rows.items()}


def _at(row: ViewRow, place: tuple[str, ...]) -> Document | None:
    found: Any = row
    for part in place:
        found = found.get(part) if isinstance(found, dict) else None
    is_document = isinstance(found, dict) and isinstance(found.get("_id"), str) and isinstance(found.get("_rev"), str)
    return found if is_document and not found.get("_deleted") else None


def _leads_to(row: ViewRow) -> object:
    value = row.get("value")
    return value.get("_id") if isinstance(value, dict) else None


def _live(database: Database, kind: Kind, keys: Sequence[str]) -> dict[str, Document]:
    """Return the live documents of a kind by key; of conflicting leaves, the winner."""
    found = {}
    for some in chunks(keys, BATCH_DOCUMENTS):
        leaves = database.leaves([kind.id(key) for key in some])
        for key in some:
            if live := live_leaves(leaves[kind.id(key)]):
                found[key] = max(live, key=rank)
    return found
