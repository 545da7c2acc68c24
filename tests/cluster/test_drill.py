r"""Loads on a real cluster while its nodes stop, hang and start again, one after another.

It runs if the environment defines the cluster and its commands:

    COUCHDB_NODES='http://127.0.0.1:5984 http://127.0.0.2:5984 http://127.0.0.3:5984' \
    COUCHDB_USER=admin COUCHDB_PASSWORD=secret \
    COUCHDB_STOP_NODE='ssh couch systemctl stop node' COUCHDB_HANG_NODE=… COUCHDB_START_NODE=… \
      pytest tests/cluster

Each of the three is a shell command that gets a node's index in COUCHDB_NODES, from 0, as its argument. Starting a
hanging node must make it continue.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dataloader.common import ExitCode
from dataloader.operations import generate
from tests.cluster.nodes import ONLY_WITH_A_CLUSTER, Cluster
from tests.support.command import Command, Completed
from tests.support.records import FONT_SIZE, flat, preferences_of, write_snapsets
from tests.support.server import databases, get, put

pytestmark = ONLY_WITH_A_CLUSTER

BATCHES = 12
CARDS = 200
"""Cards in each batch."""
TIMEOUT = 5.0
"""Seconds that a load waits for a reply."""
EDITED = 36


def test_loads_succeed_while_nodes_stop_and_hang(cluster: Cluster, command: Command, tmp_path: Path) -> None:
    """While nodes stop, hang and start again one after another, every load succeeds; then every node has all data."""
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
        drilling = executor.submit(cluster.stop_and_hang_each)
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
        == verified.data["verdicts"]["ok"] + verified.data["verdicts"]["edited"]
        == BATCHES * CARDS
    )
    assert verified.data["verdicts"]["edited"] == 1
    for index, url in enumerate(cluster.urls):
        with cluster.alone(index):
            alone = run("verify", *(each.path for each in batches), urls=[url])
            assert alone.code == ExitCode.OK, alone
            assert flat(get(databases(cluster.nodes[index], target)[place.database], place.id))[FONT_SIZE] == EDITED
