"""A real cluster whose nodes are stopped, suspended and started by commands from the environment; see test_drill.py."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from dataloader.common import DataloaderError, Patience
from dataloader.couch import Nodes, Request, Server
from dataloader.target import Target
from tests.support.server import databases

ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("COUCHDB_")}
NEEDED = ("COUCHDB_NODES", "COUCHDB_STOP_NODE", "COUCHDB_HANG_NODE", "COUCHDB_START_NODE")
MISSING = [name for name in NEEDED if not ENVIRONMENT.get(name)]
ONLY_WITH_A_CLUSTER = pytest.mark.skipif(
    bool(MISSING), reason=f"NO CLUSTER DRILL: {', '.join(MISSING)} not set (CONTRIBUTING.md says what they are)"
)

AWAY = 5.0
"""Minimum seconds that a node is down; each node has its turn, twice."""
LIMIT = 180.0
"""Seconds in which all nodes must be connected again, or their copies synchronized."""


class Cluster:
    """The cluster of the drill."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.urls = [target.address.url, *target.address.others]
        self.nodes = [Server(replace(target.address, url=url, others=()), Patience(timeout=10)) for url in self.urls]

    def stop(self, index: int) -> None:
        """Stop a node."""
        _do("COUCHDB_STOP_NODE", index)

    def hang(self, index: int) -> None:
        """Make a node hang: it accepts connections and never answers."""
        _do("COUCHDB_HANG_NODE", index)

    def start(self, index: int) -> None:
        """Start a node, or make a hanging one continue."""
        _do("COUCHDB_START_NODE", index)

    def wait_until_whole(self) -> None:
        """Wait until every node sees every other."""
        _until(lambda: all(len(each.connected) == len(self.nodes) for each in self._memberships()), "it is whole")

    def wait_until_joined(self, *indices: int) -> None:
        """Wait until some nodes are connected to each other while the others are stopped."""
        _until(lambda: all(len(self.nodes[each].nodes().connected) == len(indices) for each in indices), "they joined")

    def stop_and_hang_each(self) -> None:
        """Stop and restart each node, and make the next one hang and continue."""
        for index in range(len(self.nodes)):
            other = (index + 1) % len(self.nodes)
            for end, which in ((self.stop, index), (self.hang, other)):
                end(which)
                time.sleep(AWAY)
                self.start(which)
                self.wait_until_whole()

    @contextmanager
    def alone(self, index: int) -> Iterator[None]:
        """Stop all other nodes during a block, so that one node has only its own data."""
        others = [other for other in range(len(self.nodes)) if other != index]
        self.make_up_copies()
        for other in others:
            self.stop(other)
        try:
            yield
        finally:
            for other in others:
                self.start(other)
            self.wait_until_whole()

    def make_up_copies(self, target: Target | None = None) -> None:
        """Let the nodes synchronize their copies of a target's databases, and wait until they have finished."""
        for database in databases(self.nodes[0], target or self.target).values():
            database._resource.post("_sync_shards", body={})
        # Each node reports only its own remaining replication jobs.
        _until(lambda: all(_backlog(node) == 0 for node in self.nodes), "all copies are made up")

    def _memberships(self) -> list[Nodes]:
        return [node.nodes() for node in self.nodes]


def _backlog(node: Server) -> int:
    """Return how many shards a node still has to send to others."""
    _, _, data = node.session.send(Request("GET", "/_node/_local/_system"))
    backlog: int = json.loads(data.read())["internal_replication_jobs"]
    return backlog


def _do(name: str, index: int) -> None:
    subprocess.run(f"{ENVIRONMENT[name]} {index}", shell=True, check=True, timeout=LIMIT, stdin=subprocess.DEVNULL)


def _until(is_so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT
    while True:
        try:
            if is_so():
                return
        except DataloaderError:
            # A node that is just starting does not answer yet.
            pass
        assert time.monotonic() < end, f"the cluster did not get so far that {what}"
        time.sleep(0.5)
