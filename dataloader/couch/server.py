"""A CouchDB server and its databases: the few requests that this tool makes.

API facts: https://docs.couchdb.org/en/3.5.0/api/.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import couchdb
import couchdb.http

from dataloader.couch.address import Address
from dataloader.couch.failures import TimedOutError
from dataloader.couch.replies import Body, NotFoundError, PreconditionError, not_couchdb
from dataloader.couch.session import Answer, Session
from dataloader.errors import CredentialsError, ProtocolError, UnreachableError
from dataloader.revision import Document
from dataloader.settings import Patience


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
        greeting = _decode(data)
        if isinstance(greeting, dict) and "couchdb" in greeting:
            self.greeting = Welcome("CouchDB", str(greeting.get("version", "")), names_leaves=True)
        elif isinstance(greeting, dict) and "express-pouchdb" in greeting:
            self.greeting = Welcome("PouchDB Server", str(greeting.get("version", "")), names_leaves=False)
        else:
            raise not_couchdb(data.node, "its greeting is another's")
        return self.greeting

    def user(self) -> tuple[str | None, bool]:
        """Return the user that the server takes us for, and whether it is a server admin.

        Raises:
            CredentialsError: the server does not accept the password.
        """
        context = _member(self.address.url, self._get("_session"), "userCtx", dict)
        return context.get("name"), "_admin" in context.get("roles", ())

    def names_databases(self) -> bool:
        """Tell whether the server names its databases to this user, or to nobody in particular."""
        try:
            _decode(self._server.resource.get("_all_dbs")[2], list)
        except (CredentialsError, ProtocolError):
            return False
        return True

    def nodes(self) -> Nodes:
        """Return the cluster's nodes, none where the server does not say (only an admin is told)."""
        try:
            reply = self._get("_membership")
        except (NotFoundError, CredentialsError):
            return Nodes()
        return Nodes(tuple(reply.get("cluster_nodes", ())), tuple(reply.get("all_nodes", ())))

    @cached_property
    def may_be_cluster(self) -> bool:
        """Whether documents may have several copies: the server has more nodes than one, or does not say."""
        return len(self.nodes().expected) != 1

    def indexing(self, database: str) -> tuple[int, int]:
        """Return how many changes of a database its running indexers have seen to, and of how many.

        Nothing, ``(0, 0)``, where none runs or the server does not tell (only an admin is told).
        """
        try:
            _, _, data = self._server.resource.get("_active_tasks")
            tasks = _decode(data, list)
        except (NotFoundError, CredentialsError):
            return 0, 0
        # A task is of one shard: "shards/00000000-7fffffff/NAME.1700000000".
        mine = [
            task
            for task in tasks
            if task.get("type") == "indexer" and str(task.get("database")).rpartition("/")[2].startswith(f"{database}.")
        ]
        # What comes in while an indexer runs is done without having been counted.
        done = sum(min(task["changes_done"], task["total_changes"]) for task in mine)
        return done, sum(task["total_changes"] for task in mine)

    def database(self, name: str) -> "Database":
        """Return a database, whether it exists or not."""
        return Database(name, couchdb.Database(couchdb.http.urljoin(self.address.url, name), name, self.session), self)

    def _get(self, path: str) -> dict[str, Any]:
        _, _, data = self._server.resource.get(path)
        reply: dict[str, Any] = _decode(data, dict)
        return reply


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
            info: dict[str, Any] = self._json(self._resource.get(), dict)
        except NotFoundError:
            return None
        return info

    def update_seq(self) -> int:
        """Return the number of updates that the database has seen."""
        info = self.info() or {}
        return int(str(info.get("update_seq", 0)).partition("-")[0])

    def security(self) -> dict[str, Any]:
        """Return who may do what (``_security``).

        Raises:
            NotFoundError: the server knows no such thing, as PouchDB does not.
        """
        security: dict[str, Any] = self._json(self._resource.get("_security"), dict)
        return security

    def may_read(self) -> bool:
        """Tell whether this user can read the database; no document is fetched."""
        return self._lets(lambda: self._json(self._resource.get("_all_docs", limit=0), dict))

    def may_write(self) -> bool:
        """Tell whether this user can write documents, by a write of none.

        Not by one that has to fail: CouchDB 3.5 takes a revision that it has never seen of a document that it has
        never seen, where any other document is there.
        """
        return self._lets(lambda: self._json(self._resource.post("_bulk_docs", body={"docs": []}), list))

    def _lets(self, ask: Callable[[], object]) -> bool:
        try:
            ask()
        except (CredentialsError, ProtocolError):
            # Refused, or sent to a page to log in.
            return False
        return True

    def revs_diff(self, questions: bytes) -> dict[str, Any]:
        """Ask which revisions are missing (``POST _revs_diff``).

        Args:
            questions: JSON of ``{ID: [REVISION, …], …}``.

        Returns:
            ``{ID: {"missing": [REVISION, …], "possible_ancestors": [REVISION, …]}}``.
        """
        answers: dict[str, Any] = self._json(self._resource.post("_revs_diff", body=questions), dict)
        return answers

    def leaves(self, ids: Sequence[str]) -> dict[str, list[Document]]:
        """Fetch every leaf of documents, deleted ones too, each with its ``_revisions``.

        Returns:
            The leaves by ID; an empty list for a document that is absent.
        """
        if not ids:
            return {}
        body = {"docs": [{"id": each} for each in ids]}
        reply = self._json(self._resource.post("_bulk_get", body=body, revs="true"), dict)
        found: dict[str, list[Document]] = {each: [] for each in ids}
        for result in self._member(reply, "results"):
            for each in result["docs"]:
                if "ok" in each:
                    found[result["id"]].append(each["ok"])
                elif each["error"]["error"] != "not_found":
                    # What can't be read is not absent.
                    rule = f"the server can't read it: {each['error']['error']}, {each['error'].get('reason')}"
                    raise UnreachableError(f"database {self.name}, document {result['id']}", rule=rule)
        return found

    def revision(self, doc_id: str, rev: str) -> Document | None:
        """Fetch one revision of a document, None where it is not there (any more)."""
        body = {"docs": [{"id": doc_id, "rev": rev}]}
        reply = self._json(self._resource.post("_bulk_get", body=body), dict)
        found: Document | None = self._member(reply, "results")[0]["docs"][0].get("ok")
        return found

    def all_docs(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Fetch the winning revisions of documents with their conflicts (``_all_docs``), a row an ID."""
        reply = self._resource.post("_all_docs", body={"keys": list(ids)}, include_docs="true", conflicts="true")
        return self._member(self._json(reply, dict), "rows")

    def write(self, documents: Iterable[bytes]) -> list[Rejection]:
        """Write documents with the revisions that they carry (``_bulk_docs``, ``"new_edits": false``).

        Args:
            documents: JSON of each, with ``_rev``.

        Returns:
            Those that the server did not take; the reply names no others.
        """
        body = b'{"new_edits":false,"docs":[%s]}' % b",".join(documents)
        reply = self._json(self._resource.post("_bulk_docs", body=body), list)
        return [
            Rejection(str(each.get("id")), f"{each['error']}: {each.get('reason', '')}")
            for each in reply
            if isinstance(each, dict) and "error" in each
        ]

    def local(self, name: str) -> dict[str, Any]:
        """Fetch a ``_local`` document, which is this database's own and is never replicated.

        Raises:
            NotFoundError: there is none of this name, or no such database.
        """
        document: dict[str, Any] = self._json(self._resource.get(["_local", name]), dict)
        return document

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
        reply = self._json(self._resource.post("_bulk_docs", body={"docs": documents}), list)
        return [
            Rejection(str(each.get("id")), f"{each['error']}: {each.get('reason', '')}")
            for each in reply
            if isinstance(each, dict) and each.get("error", "conflict") != "conflict"
        ]

    def view(self, design: str, view: str, keys: Sequence[object], *, include_docs: bool) -> list[dict[str, Any]]:
        """Query a view by keys, as the servers do; the order of the rows means nothing.

        Raises:
            NotFoundError: there is no such view.
        """
        options = {"include_docs": "true"} if include_docs else {}
        path = ["_design", design, "_view", view]
        reply = self._resource.post(path, body={"keys": list(keys)}, **options)
        return self._member(self._json(reply, dict), "rows")

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

    def _json(self, reply: Answer, kind: type[Any]) -> Any:
        return _decode(reply[2], kind)

    def _member(self, reply: dict[str, Any], name: str) -> list[dict[str, Any]]:
        members: list[dict[str, Any]] = _member(self._server.address.url, reply, name, list)
        return members


def _decode(body: Body, kind: type[Any] = object) -> Any:
    try:
        value = body.json()
    except ValueError as error:
        raise not_couchdb(body.node, "its reply is not JSON") from error
    if not isinstance(value, kind):
        raise not_couchdb(body.node, "its reply has another form")
    return value


def _member(url: str, reply: dict[str, Any], name: str, kind: type[Any]) -> Any:
    value = reply.get(name)
    if not isinstance(value, kind):
        raise not_couchdb(url, f"its reply has no {name}")
    return value
