"""A real cluster whose nodes stop, hang and start again by commands that the environment names; see test_drill.py."""

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

LIMIT = 180.0
"""Seconds that a cluster may take to be whole again, or to have made up its copies."""


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
        """Have a node hang: it takes connections and never answers."""
        _do("COUCHDB_HANG_NODE", index)

    def start(self, index: int) -> None:
        """Start a node, or have it go on."""
        _do("COUCHDB_START_NODE", index)

    def wait_until_whole(self) -> None:
        """Wait until every node sees every other."""
        _until(lambda: all(len(each.connected) == len(self.nodes) for each in self._memberships()), "it is whole")

    def wait_until_joined(self, *indices: int) -> None:
        """Wait until some nodes, of which the others are stopped, see each other."""
        _until(lambda: all(len(self.nodes[each].nodes().connected) == len(indices) for each in indices), "they joined")

    @contextmanager
    def alone(self, index: int) -> Iterator[None]:
        """Have all nodes stopped but one, which then has what it has from no other."""
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

    def make_up_copies(self) -> None:
        """Have the nodes make up the copies that one lacks, and wait until none has any of it left to do."""
        for database in databases(self.nodes[0], self.target).values():
            database._resource.post("_sync_shards", body={})
        # What the nodes have to replicate among themselves is told by each for itself.
        _until(lambda: all(_backlog(node) == 0 for node in self.nodes), "all copies are made up")

    def _memberships(self) -> list[Nodes]:
        return [node.nodes() for node in self.nodes]


def _backlog(node: Server) -> int:
    """Return how many shards a node has still to bring to others."""
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
            # A node that has just been started does not answer yet.
            pass
        assert time.monotonic() < end, f"the cluster did not get so far that {what}"
        time.sleep(0.5)
