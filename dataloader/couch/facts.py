"""What is known of a server, beside its address: told once, and used by all of its databases."""

from dataclasses import dataclass, field


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
        """The nodes that belong to the cluster and are not connected."""
        return tuple(sorted(set(self.expected) - set(self.connected)))


@dataclass(slots=True)
class Facts:
    """What a server has said of itself so far."""

    greeting: Welcome | None = None
    nodes: Nodes | None = None
    seen_away: set[str] = field(default_factory=set)
    """Nodes of the cluster that were away whenever they were asked for."""
    short_of_copies: bool = False
    """Whether a write was answered with 202: fewer copies than wanted were made at once."""
