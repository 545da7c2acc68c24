"""A CouchDB server and its databases: the few requests that this tool makes.

API facts: https://docs.couchdb.org/en/3.5.0/api/.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import couchdb
import couchdb.http

from dataloader.couch import forms
from dataloader.couch.address import Address
from dataloader.couch.failures import TimedOutError
from dataloader.couch.replies import Body, NotFoundError, PreconditionError, not_couchdb
from dataloader.couch.session import Answer, Session
from dataloader.errors import CredentialsError, ProtocolError, UnreachableError
from dataloader.revision import Document
from dataloader.settings import Patience

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a server says of itself."""

    product: str
    """``CouchDB`` or ``PouchDB Server``."""
    version: str
    names_leaves: bool
    """Whether ``_revs_diff`` names a document's leaves (``possible_ancestors``); PouchDB does not."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """A cluster's nodes, as ``_membership`` gives them; empty where the server is no cluster."""

    expected: tuple[str, ...] = ()
    """The nodes that belong to the cluster (``cluster_nodes``)."""
    connected: tuple[str, ...] = ()
    """The nodes that the answering one is connected to, and itself (``all_nodes``)."""

    @property
    def away(self) -> tuple[str, ...]:
        """The nodes that belong to the cluster and are not there."""
        return tuple(sorted(set(self.expected) - set(self.connected)))


@dataclass(frozen=True, slots=True)
class Rejection:
    """A document that the server did not take, and why."""

    id: str
    reason: str


class Server:
    """A CouchDB server."""

    def __init__(self, address: Address, patience: Patience | None = None) -> None:
        self.address = address
        self.greeting: Welcome | None = None
        """What the server said of itself when it was last asked, if it was."""
        self.patience = patience or Patience.from_environment()
        self.session = Session(address, self.patience)
        self._server = couchdb.Server(address.url, session=self.session)

    def welcome(self) -> Welcome:
        """Ask who is there; where nobody answers, asked once more only, so that a wrong address shows at once.

        Raises:
            UnreachableError: nobody.
            ProtocolError: somebody else.
        """
        _, _, data = self.session.request("GET", f"{self.address.url}/", greeting=True)
        said = _read(data, forms.greeting)
        if said is None:
            raise not_couchdb(data.node, "its greeting is another's")
        product, version = said
        hidden = self.address.secrets.hide_in_theirs(version)
        self.greeting = Welcome(product, hidden, names_leaves=product == "CouchDB")
        return self.greeting

    def user(self) -> tuple[str | None, bool]:
        """Return the user that the server takes us for, and whether it is a server admin.

        Raises:
            CredentialsError: the server does not accept the password.
        """
        name, admin = _read(self._get("_session"), forms.user)
        # It is the name that was sent, or another's: then it may be anything.
        return name if name in {None, self.address.user} else self.address.secrets.hide_in_theirs(name), admin

    def names_databases(self) -> bool:
        """Tell whether the server names its databases to this user, or to nobody in particular."""
        try:
            _read(self._get("_all_dbs"), forms.listing)
        except (CredentialsError, ProtocolError):
            return False
        return True

    def nodes(self) -> Nodes:
        """Return the cluster's nodes, none where the server does not say (only an admin is told)."""
        try:
            nodes = _read(self._get("_membership"), forms.membership)
        except (NotFoundError, CredentialsError):
            return Nodes()
        hide = self.address.secrets.hide_in_theirs
        return Nodes(*(tuple(map(hide, each)) for each in nodes))

    @cached_property
    def may_be_cluster(self) -> bool:
        """Whether documents may have several copies: the server has more nodes than one, or does not say."""
        return len(self.nodes().expected) != 1

    def indexing(self, database: str) -> tuple[int, int]:
        """Return how many changes of a database its running indexers have seen to, and of how many.

        Nothing, ``(0, 0)``, where none runs or the server does not tell (only an admin is told).
        """
        try:
            tasks = self._get("_active_tasks")
        except (NotFoundError, CredentialsError):
            return 0, 0
        return _read(tasks, lambda reply: forms.indexing(reply, database))

    def database(self, name: str) -> "Database":
        """Return a database, whether it exists or not."""
        return Database(name, couchdb.Database(couchdb.http.urljoin(self.address.url, name), name, self.session), self)

    def _get(self, path: str) -> Body:
        answer: Answer = self._server.resource.get(path)
        return answer[2]


class Database:
    """One database; every method is one request, safe to repeat and to call from several threads."""

    def __init__(self, name: str, database: Any, server: Server) -> None:
        self.name = name
        self._resource = database.resource
        self._server = server

    @property
    def has_copies(self) -> bool:
        """Whether documents may have several copies, one of which may be behind the others."""
        return self._server.may_be_cluster

    def exists(self) -> bool:
        """Tell whether the database is there."""
        return self.info() is not None

    def create(self, *, shards: int | None = None, replicas: int | None = None) -> bool:
        """Create the database; return whether it was not there before.

        Args:
            shards: the number of shards (``q``), if not the server's own default.
            replicas: the number of copies of each (``n``), likewise; a single node ignores it.
        """
        options = {"q": shards, "n": replicas}
        try:
            self._resource.put(**{name: value for name, value in options.items() if value is not None})
        except PreconditionError:
            return False
        return True

    def delete(self) -> None:
        """Delete the database, if it is there."""
        try:
            self._resource.delete()
        except NotFoundError:
            return

    def info(self) -> dict[str, Any] | None:
        """Return what the server knows of the database (``doc_count``, ``update_seq``…), None where it is not."""
        try:
            return _read(self._resource.get()[2], forms.information)
        except NotFoundError:
            return None

    def update_seq(self) -> int:
        """Return the number of updates that the database has seen."""
        sequence: int = (self.info() or {}).get("update_seq", 0)
        return sequence

    def security(self) -> dict[str, Any]:
        """Return who may do what (``_security``).

        Raises:
            NotFoundError: the server knows no such thing, as PouchDB does not.
        """
        return _read(self._resource.get("_security")[2], forms.mapping)

    def may_read(self) -> bool:
        """Tell whether this user can read the database; no document is fetched."""
        return self._lets(lambda: _read(self._resource.get("_all_docs", limit=0)[2], forms.mapping))

    def may_write(self) -> bool:
        """Tell whether this user can write documents, by a write of none.

        Not by one that has to fail: CouchDB 3.5 takes a revision that it has never seen of a document that it has
        never seen, where any other document is there.
        """
        return self._lets(lambda: _read(self._resource.post("_bulk_docs", body={"docs": []})[2], forms.errors))

    def _lets(self, ask: Callable[[], object]) -> bool:
        try:
            ask()
        except (CredentialsError, ProtocolError):
            # Refused, or sent to a page to log in.
            return False
        return True

    def revs_diff(self, questions: bytes) -> dict[str, dict[str, list[str]]]:
        """Ask which revisions are missing (``POST _revs_diff``).

        Args:
            questions: JSON of ``{ID: [REVISION, …], …}``.

        Returns:
            ``{ID: {"missing": [REVISION, …], "possible_ancestors": [REVISION, …]}}``.
        """
        return _read(self._resource.post("_revs_diff", body=questions)[2], forms.differences)

    def leaves(self, ids: Sequence[str]) -> dict[str, list[Document]]:
        """Fetch every leaf of documents, deleted ones too, each with its ``_revisions``.

        Returns:
            The leaves by ID; an empty list for a document that is absent.
        """
        if not ids:
            return {}
        body = {"docs": [{"id": each} for each in ids]}
        reply: Body = self._resource.post("_bulk_get", body=body, revs="true")[2]
        found: dict[str, list[Document]] = {each: [] for each in ids}
        for doc_id, document, error in _read(reply, lambda data: forms.leaves(data, ids)):
            if document is not None:
                found[doc_id].append(document)
            elif error[0] != "not_found":
                raise self._unreadable(doc_id, *error)
        return found

    def revision(self, doc_id: str, rev: str) -> Document | None:
        """Fetch one revision of a document, None where it is not there (any more)."""
        body = {"docs": [{"id": doc_id, "rev": rev}]}
        reply: Body = self._resource.post("_bulk_get", body=body)[2]
        [(_, document, _)] = _read(reply, lambda data: forms.leaves(data, [doc_id], one=True))
        return document

    def all_docs(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Fetch the winning revisions of documents with their conflicts (``_all_docs``), a row an ID."""
        reply = self._resource.post("_all_docs", body={"keys": list(ids)}, include_docs="true", conflicts="true")
        rows = _read(reply[2], lambda data: forms.rows_of_documents(data, ids))
        for row in rows:
            if row.get("error", "not_found") != "not_found":
                raise self._unreadable(row["key"], row["error"], str(row.get("reason", "")))
        return rows

    def _unreadable(self, doc_id: str, error: str, reason: str) -> UnreachableError:
        # What can't be read is not absent.
        said = self._server.address.secrets.hide_in_theirs(f"{error}, {reason}")
        return UnreachableError(f"database {self.name}, document {doc_id}", rule=f"the server can't read it: {said}")

    def write(self, documents: Iterable[bytes]) -> list[Rejection]:
        """Write documents with the revisions that they carry (``_bulk_docs``, ``"new_edits": false``).

        Args:
            documents: JSON of each, with ``_rev``.

        Returns:
            Those that the server did not take; the reply names no others.
        """
        body = b'{"new_edits":false,"docs":[%s]}' % b",".join(documents)
        return [rejection for _, rejection in self._rejections(self._resource.post("_bulk_docs", body=body))]

    def local(self, name: str) -> dict[str, Any]:
        """Fetch a ``_local`` document, which is this database's own and is never replicated.

        Raises:
            NotFoundError: there is none of this name, or no such database.
        """
        return _read(self._resource.get(["_local", name])[2], forms.mapping)

    def put_local(self, name: str, document: Mapping[str, object]) -> None:
        """Write a ``_local`` document, under the revision that it carries if there is one already.

        Raises:
            ConflictError: it has another revision by now; CouchDB never says so, and takes the last write.
        """
        self._resource.put(["_local", name], body=document)

    def edit(self, documents: Sequence[Document]) -> list[Rejection]:
        """Write documents as people do (``_bulk_docs``), each on top of the ``_rev`` that it carries.

        One that somebody has changed in the meantime is not written, and not among the rejections: read it again
        and see. That is what a repeated request finds, too, where the first one's reply was lost.

        Args:
            documents: the documents; without ``_rev`` where there is none, or a deleted one.

        Returns:
            Those that the server did not take for another reason.
        """
        reply = self._resource.post("_bulk_docs", body={"docs": documents})
        return [rejection for error, rejection in self._rejections(reply) if error != "conflict"]

    def _rejections(self, reply: Answer) -> list[tuple[str, Rejection]]:
        hide = self._server.address.secrets.hide_in_theirs
        return [
            (error, Rejection(hide(doc_id), hide(f"{error}: {reason}")))
            for doc_id, error, reason in _read(reply[2], forms.errors)
        ]

    def view(self, design: str, view: str, keys: Sequence[object], *, include_docs: bool) -> list[dict[str, Any]]:
        """Query a view by keys, as the servers do; the order of the rows means nothing.

        Raises:
            NotFoundError: there is no such view.
        """
        options = {"include_docs": "true"} if include_docs else {}
        path = ["_design", design, "_view", view]
        reply = self._resource.post(path, body={"keys": list(keys)}, **options)
        return _read(reply[2], lambda data: forms.rows(data, keys))

    def build_view(self, design: str, view: str, patience: float) -> bool:
        """Ask a view for one row, which has its index built; return whether that is done.

        Args:
            design: the design document's name.
            view: the view's name.
            patience: seconds to wait; the server goes on building after that.

        Raises:
            NotFoundError: there is no such view.
        """
        path = f"{self._resource.url}/_design/{design}/_view/{view}?limit=1"
        try:
            self._server.session.request("GET", path, timeout=patience)
        except TimedOutError:
            return False
        return True


def _read(body: Body, form: Callable[[Any], T]) -> T:
    """Return what a reply says.

    Raises:
        ProtocolError: it is not JSON, or has not the form.
    """
    try:
        value = body.json()
    except ValueError as error:
        raise not_couchdb(body.node, "its reply is not JSON") from error
    try:
        return form(value)
    except forms.MALFORMED as error:
        raise not_couchdb(body.node, "its reply has another form") from error
