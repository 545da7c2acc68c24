"""One CouchDB database, and the requests that dataloader makes.

API facts: https://docs.couchdb.org/en/3.5.0/api/database/.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from dataloader.common import IMPOSSIBLE, Document, TooLargeError, flattened
from dataloader.couch import feed, parsing
from dataloader.couch.address import Address
from dataloader.couch.facts import Facts, Nodes
from dataloader.couch.failures import TimedOutError
from dataloader.couch.feed import FeedPage, FeedRow, RawLeaf
from dataloader.couch.halving import in_halves
from dataloader.couch.parsing import WriteReply
from dataloader.couch.replies import (
    MAX_REPLIES,
    MAX_WITH_ATTACHMENTS,
    MEGABYTE,
    Body,
    NotFoundError,
    PreconditionError,
    is_allowed,
    read,
)
from dataloader.couch.session import Reply, Request, Session

T = TypeVar("T")
_FEED_ROWS = 10_000
"""Rows of the changes feed per request."""
LEAVES = 100
"""The most revisions of one document to ask for at once."""
_MAX_NAMES = 4_000
"""The most characters of their names, which must fit into a URL."""


class _Identified(msgspec.Struct):
    id: str = msgspec.field(name="_id")


_ID = msgspec.json.Decoder(_Identified)
_IMPOSSIBLE = IMPOSSIBLE.encode()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A document that the server rejected, and why."""

    id: str
    reason: str


class Database:
    """One database; every method is one request, safe to retry and to call from several threads.

    A request about many documents that is too large for the server (413) is split in halves.

    Args:
        name: the database's name.
        resource: couchdb-python's resource.
        session: the session for requests.
        address: the server's address.
        facts: what is known about the server.
        nodes: returns the nodes of the cluster.
    """

    def __init__(
        self, name: str, resource: Any, session: Session, address: Address, facts: Facts, nodes: Callable[[], Nodes]
    ) -> None:
        self.name = name
        self._resource = resource
        self._session = session
        self._address = address
        self._facts = facts
        self._nodes = nodes
        self._copies: int | None = None

    @property
    def url(self) -> str:
        """The database's URL, without credentials."""
        return f"{self._address.url}/{quote(self.name, safe='')}"

    @property
    def copies(self) -> int:
        """The number of copies of each document (``n``); 1 for a single node.

        Raises:
            NotFoundError: the database does not exist.
        """
        if self._copies is None:
            self._copies = int(read(self._resource.get()[2], parsing.information)["copies"])
        return self._copies

    @property
    def has_copies(self) -> bool:
        """Whether documents may have several copies, so that one may lag behind the others."""
        return len((self._facts.nodes or self._nodes()).expected) != 1

    @property
    def names_leaves(self) -> bool:
        """Whether ``_revs_diff`` names a document's leaves; the server's greeting must have been read."""
        return self._facts.greeting is not None and self._facts.greeting.names_leaves

    def exists(self) -> bool:
        """Return whether the database exists."""
        return self.info() is not None

    def create(self, *, shards: int | None = None, replicas: int | None = None) -> bool:
        """Create the database; return whether it is new.

        Args:
            shards: the number of shards (``q``), or None for the server's default.
            replicas: the number of copies of each shard (``n``); a single node ignores it.
        """
        options = {"q": shards, "n": replicas}
        try:
            reply = self._resource.put(**{name: value for name, value in options.items() if value is not None})
        except PreconditionError:
            return False
        read(reply[2], parsing.done)
        self._note_copies(reply)
        return True

    def delete(self) -> None:
        """Delete the database, if it exists."""
        try:
            read(self._resource.delete()[2], parsing.done)
        except NotFoundError:
            return

    def info(self) -> dict[str, Any] | None:
        """Return the database's properties (``doc_count``, ``update_seq``…); None if it does not exist."""
        try:
            info = read(self._resource.get()[2], parsing.information)
        except NotFoundError:
            return None
        self._copies = int(info["copies"])
        return info

    def update_seq(self) -> int:
        """Return the database's update sequence as a number."""
        sequence: int = (self.info() or {}).get("update_seq", 0)
        return sequence

    def security(self) -> dict[str, Any]:
        """Return the permissions (``_security``).

        Raises:
            NotFoundError: the server has no permissions, like PouchDB.
        """
        return read(self._resource.get("_security")[2], parsing.security)

    def may_read(self) -> bool:
        """Return whether this user can read the database, without fetching a document."""
        return is_allowed(lambda: read(self._resource.get("_all_docs", limit=0)[2], parsing.mapping))

    def may_write(self) -> bool:
        """Return whether this user can write documents, by writing an empty list.

        A write that must fail would not do: CouchDB 3.5 accepts an unknown revision of an unknown document if the
        database has any other document.
        """
        return is_allowed(lambda: self._refused(self._post_documents({"docs": []}), []))

    def leaf_revisions(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Ask for the leaf revisions of documents, including deleted ones (``POST _revs_diff``).

        CouchDB names them as possible ancestors of a revision that can't exist; PouchDB does not, see ``names_leaves``.

        Returns:
            The revisions of each document; none for one that is absent.
        """

        def ask(some: Sequence[str]) -> dict[str, list[str]]:
            body = b"{%s}" % b",".join([b'%s:["%s"]' % (msgspec.json.encode(each), _IMPOSSIBLE) for each in some])
            return self._ask("POST", "_revs_diff", body, lambda data: parsing.leaf_revisions(data, some))

        return dict(chain.from_iterable(each.items() for each in in_halves(ask, ids)))

    def leaves(self, ids: Sequence[str], *, all_copies: bool = False) -> dict[str, list[Document]]:
        """Fetch all leaves of documents, including deleted ones, each with its ``_revisions``.

        Args:
            ids: the documents.
            all_copies: whether to read all copies instead of a majority; copies on nodes that are down are left out.

        Returns:
            The leaves by ID; an empty list for a document that is absent.
        """
        if not ids:
            return {}
        found: dict[str, list[Document]] = {each: [] for each in ids}
        # https://docs.couchdb.org/en/3.5.0/api/document/common.html: ``r``, "useful if you want to … read from all".
        path = "_bulk_get?revs=true" + (f"&r={self.copies}" if all_copies else "")

        def ask(some: Sequence[str]) -> list[parsing.Leaf]:
            body = {"docs": [{"id": each} for each in some]}
            return self._read(path, body, lambda data: parsing.leaves(data, some), lambda leaf: leaf)

        def alone(doc_id: str, error: TooLargeError) -> list[parsing.Leaf]:
            raise TooLargeError(
                f"database {self.name}, document {doc_id}",
                rule=f"its revisions in conflict are larger than {MAX_REPLIES['_bulk_get'] // MEGABYTE:,} MB in total",
                todo="delete those that are not needed (GET /DATABASE/DOCUMENT?conflicts=true names them)",
            ) from error

        for doc_id, document, _ in chain.from_iterable(in_halves(ask, list(found), alone)):
            if document is not None:
                found[doc_id].append(document)
        return found

    def revision(self, doc_id: str, rev: str) -> Document | None:
        """Fetch one revision of a document; None if it does not exist (any more)."""
        body = {"docs": [{"id": doc_id, "rev": rev}]}
        [(_, document, _)] = self._read(
            "_bulk_get", body, lambda data: parsing.leaves(data, [doc_id], one=True), lambda leaf: leaf
        )
        return document

    def with_attachments(self, doc_id: str, rev: str) -> Document | None:
        """Fetch one revision of a document with its attachments (base64); None if it does not exist."""
        path = self._path(f"{_encoded(doc_id)}?{urlencode({'rev': rev, 'attachments': 'true'})}")
        try:
            reply = self._session.send(Request("GET", path, most=MAX_WITH_ATTACHMENTS))[2]
        except TooLargeError as error:
            raise self._too_large(doc_id) from error
        except NotFoundError:
            return None
        return read(reply, lambda data: parsing.document(data, doc_id, rev))

    def all_docs(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Fetch the winning revisions of documents with their conflicts (``_all_docs``), one row for each ID."""

        def ask(some: Sequence[str]) -> list[dict[str, Any]]:
            return self._read(
                "_all_docs?include_docs=true&conflicts=true",
                {"keys": list(some)},
                lambda data: parsing.rows_of_documents(data, some),
                lambda row: (row["key"], row.get("doc"), (row.get("error", ""), str(row.get("reason", "")))),
            )

        return [*chain.from_iterable(in_halves(ask, ids))]

    def _read(
        self, path: str, body: object, form: Callable[[memoryview], list[T]], leaf: Callable[[T], parsing.Leaf]
    ) -> list[T]:
        """Fetch documents, and retry if the server can't read one now: that does not mean it is absent.

        Args:
            path: the path of the request in this database.
            body: the body of the request.
            form: parses the reply.
            leaf: returns what a row says about one document.

        Raises:
            UnreachableError: after all retries, the server still can't read a document.
        """
        found: list[T] = []

        def unreadable(reply: Body) -> str | None:
            found[:] = read(reply, form)
            for doc_id, document, (error, reason) in map(leaf, found):
                if document is None and error not in {"", "not_found"}:
                    return f"document {doc_id}: {error}, {reason}"
            return None

        self._session.send(Request("POST", self._path(path), body, unreadable=unreadable))
        return found

    def _path(self, path: str) -> str:
        return f"/{quote(self.name, safe='')}/{path}"

    def _ask(self, method: str, path: str, body: object, form: Callable[[memoryview], T]) -> T:
        return read(self._session.send(Request(method, self._path(path), body))[2], form)

    def write(self, documents: Sequence[bytes]) -> list[Rejection]:
        """Write documents with their given revisions (``_bulk_docs``, ``"new_edits": false``).

        Args:
            documents: each document as JSON, with ``_rev``.

        Returns:
            The documents that the server rejected; the reply names no others.
        """

        def ask(some: Sequence[bytes]) -> list[Rejection]:
            body = b'{"new_edits":false,"docs":[%s]}' % b",".join(some)
            return [rejection for _, rejection in self._refused(self._post_documents(body), map(_id, some))]

        found = in_halves(ask, documents, lambda each, error: [Rejection(_id(each), str(error))])
        return [*chain.from_iterable(found)]

    def _post_documents(self, body: object, path: str = "_bulk_docs") -> Reply:
        return self._session.send(Request("POST", self._path(path), body))

    def swap(self, documents: Sequence[Document]) -> list[WriteReply]:
        """Write documents to all copies as other clients do (``_bulk_docs``), each as the child of its ``_rev``.

        Args:
            documents: the documents, each ``_id`` once; without ``_rev`` if it is new or deleted.

        Returns:
            The server's answer for each document, in the same order. After a retry, a document that the first attempt
            has written may be reported as ``conflict``.

        Raises:
            ProtocolError: the reply does not cover each document exactly once.
        """
        if not documents:
            return []
        hide = self._address.secrets.hide_in_theirs
        # Not in halves: if this is refused, no document is too large.
        path = f"_bulk_docs?w={self.copies}"

        def ask(some: Sequence[Document]) -> list[WriteReply]:
            reply = self._post_documents({"docs": some}, path)
            self._note_copies(reply)
            found = read(reply[2], lambda data: parsing.written(data, [str(each["_id"]) for each in some]))
            return [each._replace(error=hide(each.error), reason=hide(each.reason)) for each in found]

        def alone(_: Document, error: TooLargeError) -> list[WriteReply]:
            return [WriteReply(error="too_large", reason=str(error))]

        return [*chain.from_iterable(in_halves(ask, documents, alone))]

    def local(self, name: str) -> dict[str, Any]:
        """Fetch a ``_local`` document; it belongs to this database only and is never replicated.

        Raises:
            NotFoundError: the document or the database does not exist.
        """
        return read(self._resource.get(["_local", name])[2], lambda data: parsing.local(data, name))

    def put_local(self, name: str, document: Mapping[str, object]) -> None:
        """Write a ``_local`` document, with its revision if it already exists.

        Raises:
            ConflictError: it has been changed since. CouchDB never reports this; there, the last write wins.
        """
        reply = self._resource.put(["_local", name], body=document)
        read(reply[2], parsing.done)
        self._note_copies(reply)

    def changes(self, since: str, limit: int) -> FeedPage:
        """Fetch a page of the changes feed with all leaves (``_changes?style=all_docs``).

        Args:
            since: the sequence to start after; ``0`` for the beginning.
            limit: the maximum number of rows.
        """
        # Computing a sequence for each row costs more than the row itself; one for each page is enough.
        query = urlencode({"style": "all_docs", "since": since, "limit": limit, "seq_interval": limit})
        return self._ask("GET", f"_changes?{query}", None, feed.changes)

    def all_changes(self, since: str) -> Iterator[FeedRow]:
        """Yield the rows of the changes feed after a sequence, up to its end at that time, however much is written."""
        before = None
        while since != before:
            page = self.changes(since, _FEED_ROWS)
            yield from page.rows
            if page.is_last(_FEED_ROWS):
                return
            before, since = since, page.last_seq

    def raw_leaves(self, ids: Sequence[str]) -> dict[str, list[RawLeaf]]:
        """Fetch all leaves of documents as the exact bytes that the server sends, with history and attachments.

        Args:
            ids: the documents, each once.

        Returns:
            The leaves by ID, ordered by revision; an empty list for a document that is absent.

        Raises:
            UnreachableError: after all retries, the server still can't read a document.
            TooLargeError: a document with its attachments exceeds the largest reply.
        """
        found: dict[str, list[RawLeaf]] = {}
        cut: set[str] = set()

        def ask(some: Sequence[str]) -> None:
            asked = set(some)

            def unreadable(reply: Body) -> str | None:
                leaves, problem = read(reply, lambda data: feed.raw_leaves(data, asked))
                found.update(leaves)
                if reply.whole is not None:
                    cut.update(asked)
                return problem

            body = {"docs": [{"id": each} for each in some]}
            path = self._path("_bulk_get?revs=true&attachments=true")
            most = None if len(some) > 1 else MAX_WITH_ATTACHMENTS
            self._session.send(Request("POST", path, body, unreadable=unreadable, most=most))

        def alone(doc_id: str, error: TooLargeError) -> None:
            raise self._too_large(doc_id) from error

        for _ in in_halves(ask, ids, alone):
            pass
        for doc_id in cut | {doc_id for doc_id, leaves in found.items() for leaf in leaves if leaf.lacks_attachments}:
            # PouchDB returns attachments only for a single revision of one document. And of documents that are nested
            # too deeply for our parser, each leaf is read by itself, so that nothing has to be left out.
            found[doc_id] = [self._raw_leaf(doc_id, leaf.rev) for leaf in found[doc_id]]
        return found

    def raw_revisions(self, doc_id: str, revs: Sequence[str]) -> list[RawLeaf]:
        """Fetch the given revisions of a document like ``raw_leaves``, a few per request.

        CouchDB needs minutes to return thousands of leaves at once (``open_revs``).

        Returns:
            Those that the server returned, ordered by revision.

        Raises:
            TooLargeError: a revision with its attachments exceeds the largest reply.
        """

        def ask(some: Sequence[str]) -> list[RawLeaf]:
            options = {"open_revs": msgspec.json.encode(list(some)).decode(), "revs": "true", "attachments": "true"}
            path = self._path(f"{_encoded(doc_id)}?{urlencode(options)}")
            reply = self._session.send(Request("GET", path, most=MAX_WITH_ATTACHMENTS))[2]
            leaves = read(reply, lambda data: feed.raw_revisions(data, doc_id))
            return leaves if reply.whole is None else [self._raw_leaf(doc_id, leaf.rev) for leaf in leaves]

        def alone(_: str, error: TooLargeError) -> list[RawLeaf]:
            raise self._too_large(doc_id) from error

        # Revisions may have any length.
        longest = max(map(len, revs), default=0)
        count = max(1, min(LEAVES, _MAX_NAMES // (longest + 1)))
        found: list[RawLeaf] = []
        for start in range(0, len(revs), count):
            found += chain.from_iterable(in_halves(ask, revs[start : start + count], alone))
        return sorted(found, key=lambda leaf: leaf.rev)

    def _raw_leaf(self, doc_id: str, rev: str) -> RawLeaf:
        query = urlencode({"rev": rev, "revs": "true", "attachments": "true"})
        path = self._path(f"{_encoded(doc_id)}?{query}")
        try:
            reply = self._session.send(Request("GET", path, most=MAX_WITH_ATTACHMENTS))[2]
        except TooLargeError as error:
            raise self._too_large(doc_id) from error
        leaf = read(reply, lambda data: feed.raw_leaf(bytes(data).strip(), doc_id))
        return leaf if reply.whole is None else leaf._replace(json=feed.one_line(reply.whole.strip()))

    def _too_large(self, doc_id: str) -> TooLargeError:
        return TooLargeError(
            f"database {self.name}, document {doc_id}",
            rule=f"has over {MAX_WITH_ATTACHMENTS // MEGABYTE:,} MB with its attachments, the most that is read",
            todo="remove attachments from it, or copy this database with CouchDB's own replication",
        )

    def lacks(self, revisions: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
        """Ask which revisions are missing (``POST _revs_diff``).

        Args:
            revisions: the revisions of each document, by ``_id``.

        Returns:
            The missing revisions of each document, if any; a reply that omits a document is an error.
        """

        def ask(ids: Sequence[str]) -> dict[str, set[str]]:
            # Add one that is always missing, so that the reply has to name each document.
            questions = {doc_id: [*revisions[doc_id], IMPOSSIBLE] for doc_id in ids}
            return self._ask("POST", "_revs_diff", questions, lambda data: parsing.missing(data, questions))

        answers = chain.from_iterable(each.items() for each in in_halves(ask, list(revisions)))
        return {doc_id: missing for doc_id, missing in answers if missing}

    def revs_limit(self) -> int | None:
        """Return how many revisions of a branch are kept (``_revs_limit``); None if the server has no such setting."""
        try:
            return self._ask("GET", "_revs_limit", None, feed.number)
        except NotFoundError:
            return None

    def set_revs_limit(self, limit: int) -> None:
        """Set how many revisions of a branch are kept."""
        self._ask("PUT", "_revs_limit", limit, parsing.done)

    def put_security(self, security: Mapping[str, object]) -> None:
        """Set the permissions (``_security``)."""
        self._ask("PUT", "_security", security, parsing.done)

    def edit(self, documents: Sequence[Document]) -> list[Rejection]:
        """Write documents as other clients do (``_bulk_docs``), each as the child of its ``_rev``.

        A document that somebody has changed in the meantime is not written, and not listed as rejected: read it again.
        The same happens when a request is retried because its first reply was lost.

        Args:
            documents: the documents; without ``_rev`` if new or deleted.

        Returns:
            The documents rejected for other reasons.
        """

        def ask(some: Sequence[Document]) -> list[Rejection]:
            reply = self._post_documents({"docs": some})
            found = self._refused(reply, (str(each["_id"]) for each in some))
            return [rejection for error, rejection in found if error != "conflict"]

        found = in_halves(ask, documents, lambda each, error: [Rejection(str(each["_id"]), str(error))])
        return [*chain.from_iterable(found)]

    def _refused(self, reply: Reply, ids: Iterable[str]) -> list[tuple[str, Rejection]]:
        """Return the rejected documents of a reply with their errors."""
        self._note_copies(reply)
        hide = self._address.secrets.hide_in_theirs
        # Show the IDs as they were sent, without masking: they may contain a word that is also the password.
        return [
            (error, Rejection(doc_id, hide(f"{error}: {reason}" if reason else error)))
            for doc_id, error, reason in read(reply[2], lambda data: parsing.refused(data, ids))
        ]

    def _note_copies(self, reply: Reply) -> None:
        """Record whether a write was answered with 202: the other nodes get it later."""
        self._facts.short_of_copies |= reply[0] == HTTPStatus.ACCEPTED

    def view(self, design: str, view: str, keys: Sequence[object], *, include_docs: bool) -> list[dict[str, Any]]:
        """Query a view by keys, as the GPII servers do; the rows are in no particular order.

        Raises:
            NotFoundError: there is no such view.
        """
        path = f"_design/{design}/_view/{view}{'?include_docs=true' if include_docs else ''}"

        def ask(some: Sequence[object]) -> list[dict[str, Any]]:
            return self._ask("POST", path, {"keys": list(some)}, lambda data: parsing.rows(data, some))

        return [*chain.from_iterable(in_halves(ask, keys))]

    def view_by_key(self, design: str, view: str, key: str, *, include_docs: bool) -> list[dict[str, Any]]:
        """Query a view by one key, exactly as the GPII servers do: ``GET …?key="…"``.

        Raises:
            NotFoundError: there is no such view.
        """
        query = _query(key=key, include_docs=True) if include_docs else _query(key=key)
        path = f"_design/{design}/_view/{view}?{query}"
        return self._ask("GET", path, None, lambda data: parsing.rows(data, [key]))

    def view_range(self, design: str, view: str, start: str, end: str, *, limit: int) -> list[dict[str, Any]] | None:
        """Read a view's rows for a range of keys, without documents; much faster than querying by keys.

        Args:
            design: the design document's name.
            view: the view's name.
            start: the first key, a UUID.
            end: the last key, a UUID, included.
            limit: the maximum number of rows.

        Returns:
            The rows in key order; rows whose keys are not UUIDs may appear in between. None if there are more than the
            limit.

        Raises:
            NotFoundError: there is no such view.
        """
        path = f"_design/{design}/_view/{view}?{_query(start_key=start, end_key=end, limit=limit + 1)}"
        return _within(limit, self._ask("GET", path, None, lambda data: parsing.rows_between(data, start, end)))

    def documents_range(self, start: str, end: str, *, limit: int) -> list[Document] | None:
        """Fetch the winning revisions of the documents in a range of IDs; much faster than by ID.

        In a cluster, only one copy of each document answers; it may lag behind the others.

        Args:
            start: the first ID.
            end: the last ID, included.
            limit: the maximum number of documents.

        Returns:
            The documents ordered by ``_id``, with ``_conflicts`` if there are other live leaves, and without those that
            the server could not read just then. None if there are more than the limit.

        Raises:
            NotFoundError: the database does not exist.
        """
        query = _query(include_docs=True, conflicts=True, start_key=start, end_key=end, limit=limit + 1)
        path = f"_all_docs?{query}"
        found = _within(limit, self._ask("GET", path, None, lambda data: parsing.documents_between(data, start, end)))
        return None if found is None else [document for document in found if document is not None]

    def shown(self, doc_id: str) -> Document | None:
        """Fetch a document as the Preferences Server does (``GET /DB/ID``); None if it does not exist.

        A missing database gives the same result.
        """
        try:
            return self._ask("GET", _encoded(doc_id), None, lambda data: parsing.document(data, doc_id))
        except NotFoundError:
            return None

    def view_page(
        self, design: str, view: str, *, limit: int, start: object = None, end: object = None
    ) -> list[dict[str, Any]]:
        """Read a page of a view's rows in key order.

        Args:
            design: the design document's name.
            view: the view's name.
            limit: the maximum number of rows.
            start: the first key; None for the beginning.
            end: the last key, included; None for the end.

        Raises:
            NotFoundError: there is no such view.
        """
        keys = {"start_key": start, "end_key": end}
        query = _query(limit=limit, **{name: key for name, key in keys.items() if key is not None})
        return self._ask("GET", f"_design/{design}/_view/{view}?{query}", None, parsing.any_rows)

    def build_view(self, design: str, view: str, patience: float) -> bool:
        """Request one row of a view, so that its index is built; return whether it is complete.

        Args:
            design: the design document's name.
            view: the view's name.
            patience: seconds to wait; the server continues building after that.

        Raises:
            NotFoundError: there is no such view.
        """
        path = self._path(f"_design/{design}/_view/{view}?limit=1")
        try:
            read(self._session.send(Request("GET", path, timeout=patience))[2], parsing.any_rows)
        except TimedOutError:
            return False
        return True


def _encoded(doc_id: str) -> str:
    """Return a document's ID as part of a path; CouchDB redirects from ``_design%2F``."""
    design, slash, name = doc_id.partition("/")
    if doc_id in {".", ".."}:
        # In a path, these have a meaning of their own.
        return doc_id.replace(".", "%2E")
    return f"{design}/{quote(name, safe='')}" if design == "_design" and slash else quote(doc_id, safe="")


def _query(**options: object) -> str:
    """Encode the options of a view or ``_all_docs`` query, each as JSON."""
    return urlencode({name: msgspec.json.encode(value).decode() for name, value in options.items()})


def _within(limit: int, rows: list[T]) -> list[T] | None:
    return rows if len(rows) <= limit else None


def _id(document: bytes) -> str:
    try:
        return _ID.decode(document).id
    except RecursionError:
        return _ID.decode(flattened(document)).id
