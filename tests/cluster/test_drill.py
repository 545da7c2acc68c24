r"""A drill on a real cluster: its nodes stop, hang and start again, one after another, while loads run.

It runs where the environment says how:

    COUCHDB_NODES='http://127.0.0.1:5984 http://127.0.0.2:5984 http://127.0.0.3:5984' \
    COUCHDB_USER=admin COUCHDB_PASSWORD=secret \
    COUCHDB_STOP_NODE='ssh couch systemctl stop node' COUCHDB_HANG_NODE=… COUCHDB_START_NODE=… \
      pytest tests/cluster

Each of the three is a shell command, given a node's index in COUCHDB_NODES, from 0, as its argument. Starting a node
that hangs has to have it go on.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from dataloader.common import DataloaderError, ExitCode, Patience
from dataloader.couch import Nodes, Request, Server
from dataloader.operations import generate
from dataloader.target import Target, resolve
from tests.support.command import Command, Completed
from tests.support.records import FONT_SIZE, flat, preferences_of, write_snapsets
from tests.support.server import databases, get, put

ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("COUCHDB_")}
NEEDED = ("COUCHDB_NODES", "COUCHDB_STOP_NODE", "COUCHDB_HANG_NODE", "COUCHDB_START_NODE")
MISSING = [name for name in NEEDED if not ENVIRONMENT.get(name)]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"NO CLUSTER DRILL: {', '.join(MISSING)} not set (CONTRIBUTING.md says what they are)"
)

BATCHES = 12
CARDS = 200
"""In each batch."""
AWAY = 5.0
"""Seconds that a node is away at least; as many as there are nodes have their turn, twice."""
TIMEOUT = 5.0
"""Seconds that a load waits for a reply."""
LIMIT = 180.0
"""Seconds that a cluster may take to be whole again, or to have made up its copies."""
EDITED = 36


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


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """The cluster, whole before and after."""
    environment = {**ENVIRONMENT, "COUCHDB_URL": ENVIRONMENT["COUCHDB_NODES"]}
    cluster = Cluster(resolve(environment="ci", prefix=f"drill-{uuid4().hex[:12]}-", environ=environment))
    for index in range(len(cluster.nodes)):
        cluster.start(index)
    cluster.wait_until_whole()
    try:
        yield cluster
    finally:
        for index in range(len(cluster.nodes)):
            cluster.start(index)
        cluster.wait_until_whole()
        for database in databases(cluster.nodes[0], cluster.target).values():
            database.delete()


def drill(cluster: Cluster) -> None:
    """Have each node stop and start again, and the next one hang and go on."""
    for index in range(len(cluster.nodes)):
        other = (index + 1) % len(cluster.nodes)
        for end, which in ((cluster.stop, index), (cluster.hang, other)):
            end(which)
            time.sleep(AWAY)
            cluster.start(which)
            cluster.wait_until_whole()


def test_loads_go_on_while_nodes_stop_and_hang(cluster: Cluster, command: Command, tmp_path: Path) -> None:
    """While one node after another stops, hangs and starts again, every load ends well; then every node has it all."""
    target = cluster.target
    snapsets = write_snapsets(tmp_path / "snapsets", {"large": 20})
    batches = [generate(f"batch-{number}", {"large": CARDS}, tmp_path).manifest for number in range(BATCHES)]
    environment = {
        "COUCHDB_USER": target.address.user or "",
        "COUCHDB_PASSWORD": target.address.password or "",
        "DATALOADER_TIMEOUT": str(TIMEOUT),
    }

    def run(name: str, *arguments: object, urls: list[str]) -> Completed:
        options = [*("--prefix", target.prefix), *("--environment", "ci"), *("--snapsets", snapsets.folder)]
        for url in urls:
            options += ["--url", url]
        return command(name, *arguments, *options, env=environment, timeout=600)

    def load(batch: int) -> Completed:
        completed = run("load", batches[batch].path, urls=cluster.urls)
        assert completed.code in {ExitCode.OK, ExitCode.NODES}, completed
        return completed

    assert load(0).code == ExitCode.OK
    place = preferences_of(target.model.name, next(card.uuid for card in batches[0].cards()))
    database = databases(cluster.nodes[0], target)[place.database]
    document = get(database, place.id)
    flat(document)[FONT_SIZE] = EDITED
    put(database, document)

    with ThreadPoolExecutor(1) as executor:
        drilling = executor.submit(drill, cluster)
        codes, batch = [], 0
        while not drilling.done() or batch < BATCHES:
            codes.append(load(batch % BATCHES).code)
            batch += 1
        drilling.result()
    assert ExitCode.NODES in codes

    verified = run("verify", *(each.path for each in batches), "--json", urls=cluster.urls)
    assert verified.code == ExitCode.OK, verified
    assert (
        verified.data["cards"]
        == verified.data["verdicts"]["ok"] + verified.data["verdicts"]["changed"]
        == BATCHES * CARDS
    )
    assert verified.data["verdicts"]["changed"] == 1
    for index, url in enumerate(cluster.urls):
        with cluster.alone(index):
            alone = run("verify", *(each.path for each in batches), urls=[url])
            assert alone.code == ExitCode.OK, alone
            assert flat(get(databases(cluster.nodes[index], target)[place.database], place.id))[FONT_SIZE] == EDITED
