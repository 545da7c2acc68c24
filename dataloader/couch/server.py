"""A CouchDB server: the few requests that this tool makes of it, and its databases.

API facts: https://docs.couchdb.org/en/3.5.0/api/.
"""

import time
from dataclasses import dataclass

import couchdb
import couchdb.http

from dataloader.common import NODES_LOOK, CredentialsError, Patience, ProtocolError, TooLargeError
from dataloader.couch import parsing
from dataloader.couch.address import Address
from dataloader.couch.database import Database
from dataloader.couch.replies import Body, NotFoundError, not_couchdb, read
from dataloader.couch.session import Answer, Session


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


class Server:
    """A CouchDB server."""

    def __init__(self, address: Address, patience: Patience | None = None) -> None:
        self.address = address
        self.greeting: Welcome | None = None
        """What the server said of itself when it was last asked, if it was."""
        self.patience = patience or Patience.from_environment()
        self.session = Session(address, self.patience)
        self._server = couchdb.Server(address.url, session=self.session)
        self._nodes: Nodes | None = None
        self._looked = 0.0
        self.seen_away: set[str] = set()
        """Nodes of the cluster that have been away whenever they were asked for."""
        self.short_of_copies = False
        """Whether it has answered a write with 202: fewer copies than wanted were made at once."""

    def welcome(self) -> Welcome:
        """Ask who is there; where nobody answers, asked once more only, so that a wrong address shows at once.

        Raises:
            UnreachableError: nobody.
            ProtocolError: somebody else.
        """
        _, _, data = self.session.request("GET", f"{self.address.url}/", greeting=True)
        said = read(data, parsing.greeting)
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
        name, admin = read(self._get("_session"), parsing.user)
        # It is the name that was sent, or another's: then it may be anything.
        return name if name in {None, self.address.user} else self.address.secrets.hide_in_theirs(name), admin

    def names_databases(self) -> bool:
        """Tell whether the server names its databases to this user, or to nobody in particular."""
        try:
            read(self._get("_all_dbs"), parsing.listing)
        except TooLargeError:
            # That says nothing of who may do what.
            raise
        except (CredentialsError, ProtocolError):
            return False
        return True

    def nodes(self) -> Nodes:
        """Return the cluster's nodes, none where the server does not say (only an admin is told)."""
        try:
            nodes = read(self._get("_membership"), parsing.membership)
        except (NotFoundError, CredentialsError):
            nodes = [], []
        hide = self.address.secrets.hide_in_theirs
        self._nodes = Nodes(*(tuple(map(hide, each)) for each in nodes))
        self._looked = time.monotonic()
        self.seen_away.update(self._nodes.away)
        return self._nodes

    def watch_nodes(self) -> None:
        """Ask for a cluster's nodes again, unless that was done a moment ago; ``seen_away`` keeps what is found."""
        if self._nodes and len(self._nodes.expected) > 1 and time.monotonic() - self._looked >= NODES_LOOK:
            self.nodes()

    @property
    def may_be_cluster(self) -> bool:
        """Whether documents may have several copies: the server has more nodes than one, or does not say."""
        return len((self._nodes or self.nodes()).expected) != 1

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
        return Database(name, couchdb.Database(couchdb.http.urljoin(self.address.url, name), name, self.session), self)

    def _get(self, path: str) -> Body:
        answer: Answer = self._server.resource.get(path)
        return answer[2]
