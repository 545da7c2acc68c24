"""What is known about a server; shared by all its databases."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a server says about itself."""

    product: str
    """``CouchDB`` or ``PouchDB Server``."""
    version: str
    names_leaves: bool
    """Whether ``_revs_diff`` names a document's leaves (``possible_ancestors``); PouchDB does not."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """A cluster's nodes, from ``_membership``; empty for a single node."""

    expected: tuple[str, ...] = ()
    """The nodes that belong to the cluster (``cluster_nodes``)."""
    connected: tuple[str, ...] = ()
    """The node that answered, and those it is connected to (``all_nodes``)."""

    @property
    def away(self) -> tuple[str, ...]:
        """The nodes of the cluster that are not connected."""
        return tuple(sorted(set(self.expected) - set(self.connected)))


@dataclass(slots=True)
class Facts:
    """What is known about a server so far."""

    greeting: Welcome | None = None
    nodes: Nodes | None = None
    seen_away: set[str] = field(default_factory=set)
    """Nodes that were not connected at any check."""
    short_of_copies: bool = False
    """Whether any write was answered with 202: fewer copies than requested were made at once."""
