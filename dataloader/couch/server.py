"""A CouchDB server: the few requests that this tool makes of it, and its databases.

API facts: https://docs.couchdb.org/en/3.5.0/api/.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import couchdb
import couchdb.http

from dataloader.common import (
    NODES_LOOK,
    UP_LOOK,
    CredentialsError,
    Patience,
    ProtocolError,
    TooLargeError,
    UnreachableError,
)
from dataloader.couch import parsing
from dataloader.couch.address import Address
from dataloader.couch.database import Database
from dataloader.couch.facts import Facts, Nodes, Welcome
from dataloader.couch.replies import Body, NotFoundError, not_couchdb, read
from dataloader.couch.session import Request, Session
from dataloader.couch.watching import Watcher

OLDEST = 2
"""The major version of CouchDB from which on the protocol is what this tool speaks."""


class Server:
    """A CouchDB server.

    Args:
        address: where it is, and how to get in.
        patience: how long to wait, and how often to try; None for the environment's settings.
        watcher: is told of each request and each retry.
    """

    def __init__(self, address: Address, patience: Patience | None = None, watcher: Watcher | None = None) -> None:
        self.address = address
        self.patience = patience or Patience.from_environment()
        self.session = Session(address, self.patience, watcher)
        self.facts = Facts()
        self._looked = 0.0

    @property
    def greeting(self) -> Welcome | None:
        """What the server said of itself when it was last asked, if it was."""
        return self.facts.greeting

    @property
    def seen_away(self) -> set[str]:
        """Nodes of the cluster that were away whenever they were asked for."""
        return self.facts.seen_away

    @property
    def short_of_copies(self) -> bool:
        """Whether it has answered a write with 202: fewer copies than wanted were made at once."""
        return self.facts.short_of_copies

    def welcome(self) -> Welcome:
        """Ask which server answers; where nobody does, asked once more only, so that a wrong address shows at once.

        Raises:
            UnreachableError: nobody.
            ProtocolError: somebody else, a database's URL, or a CouchDB older than 2.
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
            rule = f"the URL ends in the name of a database ({said.database})"
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
        """The URL without a path."""
        return "/".join(self.address.url.split("/")[:3])

    def wait(self, seconds: float) -> None:
        """Wait until the server is up: it answers, and says at ``_up`` that it is ready.

        Args:
            seconds: how long at most.

        Raises:
            UnreachableError: it is not up after that time.
            ProtocolError: what answers is not a CouchDB.
        """
        end = time.monotonic() + seconds
        # Each look is a single request: a server that is not there yet is what this is about.
        session = Session(self.address, replace(self.patience, retries=0, total=max(seconds, 1.0)))
        while True:
            why = _not_up(session)
            if why is None:
                return
            if time.monotonic() >= end:
                todo = f"start it, or wait longer; check with: curl {self.address.url}/_up"
                raise UnreachableError(
                    self.address.url, rule=f"the server is not up after {seconds:g} seconds: {why}", todo=todo
                )
            time.sleep(min(UP_LOOK, max(0.0, end - time.monotonic())))

    def time(self) -> datetime | None:
        """Return the server's time, to the second; None where it does not say."""
        _, headers, _ = self.session.send(Request("GET", "/"))
        try:
            return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            return None

    def user(self) -> tuple[str | None, bool]:
        """Return the user that the server takes us for, and whether it is a server admin.

        Raises:
            CredentialsError: the server does not accept the password.
        """
        name, admin = read(self._get("_session"), parsing.user)
        # It is the name that was sent, or another's: then it may be anything.
        return name if name in {None, self.address.user} else self.address.secrets.hide_in_theirs(name), admin

    def names_databases(self) -> bool:
        """Tell whether the server names its databases to this user, or to nobody in particular."""
        try:
            self.databases()
        except TooLargeError:
            # That says nothing of who may do what.
            raise
        except (CredentialsError, ProtocolError):
            return False
        return True

    def databases(self) -> list[str]:
        """Return the names of all databases.

        Raises:
            CredentialsError: this user is not told.
        """
        return read(self._get("_all_dbs"), parsing.names)

    def nodes(self) -> Nodes:
        """Return the cluster's nodes, none where the server does not say (only an admin is told)."""
        try:
            nodes = read(self._get("_membership"), parsing.membership)
        except (NotFoundError, CredentialsError):
            nodes = [], []
        hide = self.address.secrets.hide_in_theirs
        found = self.facts.nodes = Nodes(*(tuple(map(hide, each)) for each in nodes))
        self._looked = time.monotonic()
        self.facts.seen_away.update(found.away)
        return found

    def watch_nodes(self) -> None:
        """Ask for a cluster's nodes again, unless that was done a moment ago; ``seen_away`` keeps what is found."""
        known = self.facts.nodes
        if known and len(known.expected) > 1 and time.monotonic() - self._looked >= NODES_LOOK:
            self.nodes()

    def indexing(self, database: str) -> tuple[int, int]:
        """Return how many changes of a database its running indexers have seen to, and of how many.

        Nothing, ``(0, 0)``, where none runs or the server does not tell (only an admin is told).
        """
        try:
            tasks = self._get("_active_tasks")
        except (NotFoundError, CredentialsError):
            return 0, 0
        return read(tasks, lambda reply: parsing.indexing(reply, database))

    def database(self, name: str) -> Database:
        """Return a database, whether it exists or not."""
        resource = couchdb.Database(couchdb.http.urljoin(self.address.url, name), name, self.session).resource
        return Database(name, resource, self.session, self.address, self.facts, self.nodes)

    def _get(self, path: str) -> Body:
        return self.session.send(Request("GET", f"/{path}"))[2]


def _not_up(session: Session) -> str | None:
    """Return why a server is not up; None if it is."""
    try:
        # In maintenance mode, it is 404 with a status; servers that do not know of it say 404 with an error.
        _, _, data = session.send(Request("GET", "/_up", accepts=frozenset({HTTPStatus.NOT_FOUND})))
    except UnreachableError as error:
        return error.rule
    except CredentialsError:
        # Where even this asks for a log-in, it is up.
        return None
    said = read(data, parsing.mapping)
    status = said.get("status")
    return None if status == "ok" or "error" in said else f"_up says {status}"
