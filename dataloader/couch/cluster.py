"""Whether the nodes that a target names are of one cluster, as far as they tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dataloader.common import CredentialsError, ProtocolError
from dataloader.couch.failures import Failure
from dataloader.couch.replies import Body

Ask = Callable[[str], tuple[int, Any, Body] | Failure]
"""Asks a node for a path, once."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a node says of where it belongs."""

    nodes: frozenset[str] = frozenset()
    """The names of its cluster's nodes; none where it does not tell."""
    uuid: str | None = None
    """The server's own mark; in a cluster, each node may have one of its own."""

    def may_be_one_with(self, other: "Origin") -> bool:
        """Tell whether two nodes may be of one cluster. Servers that are no cluster often have one name."""
        if not self.nodes or not other.nodes:
            return True
        if len(self.nodes | other.nodes) > 1:
            return not self.nodes.isdisjoint(other.nodes)
        return self.uuid == other.uuid or None in {self.uuid, other.uuid}


def origin(ask: Ask) -> Origin | Failure:
    """Ask a node where it belongs.

    Returns:
        What it says, or why it could not be asked.
    """
    members = _asked(ask, "/_membership")
    if isinstance(members, Failure):
        return members
    nodes = members.get("cluster_nodes")
    if not isinstance(nodes, list):
        # Only an admin is told.
        return Origin()
    greeting = _asked(ask, "/")
    if isinstance(greeting, Failure):
        return greeting
    return Origin(frozenset(map(str, nodes)), greeting.get("uuid"))


def _asked(ask: Ask, path: str) -> dict[str, Any] | Failure:
    try:
        answer = ask(path)
        reply = answer if isinstance(answer, Failure) else answer[2].json()
    except (CredentialsError, ProtocolError, ValueError, RecursionError):
        # What the node does not tell; what is wrong with it, its answer to the request itself will show.
        return {}
    return reply if isinstance(reply, Failure | dict) else {}
