"""A CouchDB server: the few requests that dataloader makes, and its databases.

API facts: https://docs.couchdb.org/en/3.5.0/api/.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import quote

import couchdb
import couchdb.http

from dataloader.common import (
    NODES_LOOK,
    UP_LOOK,
    CredentialsError,
    Patience,
    ProtocolError,
    UnreachableError,
)
from dataloader.couch import parsing
from dataloader.couch.address import Address
from dataloader.couch.database import Database
from dataloader.couch.facts import Facts, Nodes, Welcome
from dataloader.couch.replies import Body, NotFoundError, is_allowed, not_couchdb, read
from dataloader.couch.session import Request, Session
from dataloader.couch.watching import Watcher

OLDEST = 2
"""The oldest supported major version of CouchDB."""
_SYNC_TIMEOUT = 5.0
"""Seconds to wait for a node's answer about its copies."""
_SYNC_LOOK = 0.2
"""Seconds between two questions about them."""


class Server:
    """A CouchDB server.

    Args:
        address: the server's URLs and credentials.
        patience: timeouts and retries; None for the settings in the environment.
        watcher: notified of each request and each retry.
    """

    def __init__(self, address: Address, patience: Patience | None = None, watcher: Watcher | None = None) -> None:
        self.address = address
        self.patience = patience or Patience.from_environment()
        self.session = Session(address, self.patience, watcher)
        self.facts = Facts()
        self._looked = 0.0

    @property
    def greeting(self) -> Welcome | None:
        """The server's greeting, if it has been read."""
        return self.facts.greeting

    @property
    def seen_away(self) -> set[str]:
        """Nodes of the cluster that were not connected at any check."""
        return self.facts.seen_away

    @property
    def short_of_copies(self) -> bool:
        """Whether any write was answered with 202: fewer copies than requested were made at once."""
        return self.facts.short_of_copies

    def welcome(self) -> Welcome:
        """Read the server's greeting; if nothing answers, retry only once, so that a wrong URL shows at once.

        Raises:
            UnreachableError: nothing answers.
            ProtocolError: not a CouchDB, the URL of a database, or a CouchDB older than 2.
        """
        url = self.address.url
        try:
            _, _, data = self.session.send(Request("GET", "/", greeting=True))
        except NotFoundError as error:
            if self._root == url:
                raise
            raise ProtocolError(
                url, rule="no CouchDB answers at this path", todo=f"give the server's URL, {self._root}"
            ) from error
        said = read(data, parsing.greeting)
        if said.product is None and said.database is not None:
            rule = f"the URL ends in the name of a database, {said.database}"
            raise ProtocolError(url, rule=rule, todo=f"give the server's URL, {url.rpartition('/')[0]}")
        if said.product is None:
            raise not_couchdb(data.node, "it greets as something else")
        version = self.address.secrets.hide_in_theirs(said.version)
        major, _, _ = version.partition(".")
        if said.product == "CouchDB" and major.isdecimal() and int(major) < OLDEST:
            rule = f"CouchDB {version} is too old"
            raise ProtocolError(data.node, rule=rule, todo=f"use CouchDB {OLDEST} or later; 3.5 is recommended")
        self.facts.greeting = Welcome(said.product, version, names_leaves=said.product == "CouchDB")
        return self.facts.greeting

    @property
    def _root(self) -> str:
        """The URL without its path."""
        return "/".join(self.address.url.split("/")[:3])

    def wait(self, seconds: float, on_wait: Callable[[str], None] = lambda _: None) -> None:
        """Wait until the server is up: it answers, and ``_up`` says that it is ready.

        Args:
            seconds: the maximum time.
            on_wait: called once, with the reason, if the server is not up yet.

        Raises:
            UnreachableError: it is not up after that time.
            ProtocolError: the server is not a CouchDB.
        """
        end = time.monotonic() + seconds
        # Each check is a single request without retries: being down is expected here.
        session = Session(self.address, replace(self.patience, retries=0, total=max(seconds, 1.0)))
        told = False
        while True:
            why = _not_up(session)
            if why is None:
                return
            if not told:
                told = True
                on_wait(why)
            if time.monotonic() >= end:
                todo = f"start it, or wait longer; check with: curl {self.address.url}/_up"
                raise UnreachableError(
                    self.address.url, rule=f"the server is not up after {seconds:g} s: {why}", todo=todo
                )
            time.sleep(min(UP_LOOK, max(0.0, end - time.monotonic())))

    def time(self) -> datetime | None:
        """Return the server's time, to the second; None if it does not say."""
        _, headers, _ = self.session.send(Request("GET", "/"))
        try:
            return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            return None

    def user(self) -> tuple[str | None, bool]:
        """Return the user name according to the server, and whether this user is a server admin.

        Raises:
            CredentialsError: the server rejects the password.
        """
        name, admin = read(self._get("_session"), parsing.user)
        # The name is the one we sent; any other could be anything, even a secret.
        return name if name in {None, self.address.user} else self.address.secrets.hide_in_theirs(name), admin

    def names_databases(self) -> bool:
        """Return whether the server lists its databases to this user, or to anonymous clients."""
        return is_allowed(self.databases)

    def check_again(self, name: str, check: Callable[[], object]) -> None:
        """Set the check to make before a write to a database is repeated: it raises an error if it must not be.

        After a lost reply or a timeout, minutes may have passed, and the database may be another one.
        """
        self.session.checks[name] = check

    def databases(self) -> list[str]:
        """Return the names of all databases.

        Raises:
            CredentialsError: this user may not list them.
        """
        return read(self._get("_all_dbs"), parsing.names)

    def nodes(self) -> Nodes:
        """Return the cluster's nodes; none if the server does not say (only admins may ask)."""
        try:
            nodes = read(self._get("_membership"), parsing.membership)
        except (NotFoundError, CredentialsError):
            nodes = [], []
        hide = self.address.secrets.hide_in_theirs
        found = self.facts.nodes = Nodes(*(tuple(map(hide, each)) for each in nodes))
        self._looked = time.monotonic()
        self.facts.seen_away.update(found.away)
        return found

    def synchronize(self, database: str, seconds: float) -> bool | None:
        """Let the nodes of a cluster synchronize their copies of a database.

        A node that was down answers as soon as it is up, but its copies lack what was written meanwhile, and some
        requests, such as for changes, read one copy only. Afterwards, every copy has all earlier writes.

        Args:
            database: the database.
            seconds: how long to wait for the nodes.

        Returns:
            Whether all nodes are connected and have finished; True for a single node, None if this user may not ask.
        """
        end = time.monotonic() + seconds
        # Each request is made once: nodes stop and hang, and the next look tells more than a retry.
        session = Session(self.address, replace(self.patience, retries=0))
        requested = False
        while True:
            nodes = self.nodes()
            if len(nodes.expected) < 2 or nodes.away:  # noqa: PLR2004 - a cluster
                return not nodes.away
            try:
                if not requested:
                    path = f"/{quote(database, safe='')}/_sync_shards"
                    session.send(Request("POST", path, {}, timeout=_SYNC_TIMEOUT))
                    requested = True
                if not any(_backlog(session, node) for node in nodes.expected):
                    return True
            except UnreachableError:
                requested = False
            except CredentialsError:
                return None
            if time.monotonic() >= end:
                return False
            time.sleep(_SYNC_LOOK)

    def watch_nodes(self) -> None:
        """Check for missing cluster nodes, unless that was done a moment ago; ``seen_away`` collects them."""
        known = self.facts.nodes
        if known and len(known.expected) > 1 and time.monotonic() - self._looked >= NODES_LOOK:
            self.nodes()

    def indexing(self, database: str) -> tuple[int, int]:
        """Return how many changes a database's running indexers have processed, and the total.

        ``(0, 0)`` if none runs or the server does not say (only admins may ask).
        """
        try:
            tasks = self._get("_active_tasks")
        except (NotFoundError, CredentialsError):
            return 0, 0
        return read(tasks, lambda reply: parsing.indexing(reply, database))

    def database(self, name: str) -> Database:
        """Return a database, whether or not it exists."""
        resource = couchdb.Database(couchdb.http.urljoin(self.address.url, name), name, self.session).resource
        return Database(name, resource, self.session, self.address, self.facts, self.nodes)

    def _get(self, path: str) -> Body:
        return self.session.send(Request("GET", f"/{path}"))[2]


def _backlog(session: Session, node: str) -> int:
    """Return how many shards a node still has to send to others."""
    path = f"/_node/{quote(node, safe='@')}/_system"
    _, _, data = session.send(Request("GET", path, timeout=_SYNC_TIMEOUT))
    return int(read(data, parsing.mapping).get("internal_replication_jobs", 0))


def _not_up(session: Session) -> str | None:
    """Return why a server is not up; None if it is."""
    try:
        # In maintenance mode, it is 404 with a status; servers without _up send 404 with an error.
        _, _, data = session.send(Request("GET", "/_up", accepts=frozenset({HTTPStatus.NOT_FOUND})))
    except UnreachableError as error:
        return error.rule
    except CredentialsError:
        # If even this requires a log-in, it is up.
        return None
    said = read(data, parsing.mapping)
    status = said.get("status")
    return None if status == "ok" or "error" in said else f"_up says {status}"
