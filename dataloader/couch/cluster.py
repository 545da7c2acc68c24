"""Check whether the nodes of a target belong to the same cluster, as far as they say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dataloader.common import CredentialsError, ProtocolError
from dataloader.couch.failures import Failure
from dataloader.couch.replies import Body

Ask = Callable[[str], tuple[int, Any, Body] | Failure]
"""A function that requests a path from a node, without retries."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The cluster that a node says it belongs to."""

    nodes: frozenset[str] = frozenset()
    """The names of its cluster's nodes; empty if it does not say."""
    uuid: str | None = None
    """The server's UUID; in a cluster, each node may have its own."""

    def may_be_one_with(self, other: "Origin") -> bool:
        """Return whether two nodes may belong to the same cluster. Standalone servers often share one name."""
        if not self.nodes or not other.nodes:
            return True
        if len(self.nodes | other.nodes) > 1:
            return not self.nodes.isdisjoint(other.nodes)
        return self.uuid == other.uuid or None in {self.uuid, other.uuid}


def origin(ask: Ask) -> Origin | Failure:
    """Ask a node which cluster it belongs to.

    Returns:
        Its answer, or why the request failed.
    """
    members = _asked(ask, "/_membership")
    if isinstance(members, Failure):
        return members
    nodes = members.get("cluster_nodes")
    if not isinstance(nodes, list):
        # Only admins may ask.
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
        # The node does not say; if something is wrong with it, the actual request will show it.
        return {}
    return reply if isinstance(reply, Failure | dict) else {}
