"""Backups and restores on a real cluster while its nodes stop, hang and start again; see test_drill.py."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

from dataloader.archive import Backup
from dataloader.common import ExitCode, Patience
from dataloader.couch import Server
from dataloader.operations import back_up
from dataloader.target import Target
from tests.cluster.nodes import LIMIT, ONLY_WITH_A_CLUSTER, Cluster
from tests.support.command import Command, Completed
from tests.support.server import databases

pytestmark = ONLY_WITH_A_CLUSTER

WRITTEN = 50
"""Documents in each write."""
PAUSE = 0.5
"""Seconds between two writes."""
MISSED = 8_000
"""Documents that a node misses while it is down."""
TIMEOUT = 5.0
"""Seconds that a command waits for a reply."""


class Writer:
    """Writes documents all the time, and remembers when each was acknowledged."""

    def __init__(self, target: Target) -> None:
        self._databases = databases(Server(target.address, Patience(timeout=TIMEOUT, total=600, retries=50)), target)
        self._ended = Event()
        self.acknowledged: list[tuple[datetime, str]] = []

    def write(self) -> None:
        """Write until the end."""
        number = 0
        while not self._ended.wait(PAUSE):
            number += 1
            ids = [f"{number:05}-{at:03}" for at in range(WRITTEN)]
            for database in self._databases.values():
                assert database.write([json.dumps({"_id": each, "_rev": "1-a"}).encode() for each in ids]) == []
            self.acknowledged += [(datetime.now(UTC), each) for each in ids]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write during a block."""
        with ThreadPoolExecutor(1) as executor:
            writing = executor.submit(self.write)
            try:
                yield
            finally:
                self._ended.set()
            writing.result()

    def lost(self, path: Path) -> set[str]:
        """Return what was acknowledged before a backup was made, and is not in it."""
        backup = Backup(path)
        wanted = {each for when, each in self.acknowledged if when < datetime.fromisoformat(backup.header.created)}
        return {
            each
            for state in backup.header.databases
            for each in wanted.difference(key[1] for key, _ in backup.documents(state.name))
        }


def test_backup_through_a_node_that_was_away_is_complete(cluster: Cluster, tmp_path: Path) -> None:
    """The node answers before it has made up for what was written while it was down; a backup waits for that."""
    target = cluster.target
    documents = [json.dumps({"_id": f"{at:05}", "_rev": "1-a"}).encode() for at in range(MISSED)]
    for database in databases(cluster.nodes[0], target).values():
        database.create(shards=2)
    cluster.stop(0)
    for database in databases(cluster.nodes[1], target).values():
        assert database.write(documents) == []
    cluster.start(0)
    cluster.nodes[0].wait(LIMIT)
    through = replace(target, address=cluster.nodes[0].address)
    result = back_up(cluster.nodes[0], through, tmp_path / "a.backup.zst")
    assert result.synchronized
    assert result.header.documents == MISSED * len(target.model.databases)


def test_backups_and_restores_are_complete_while_nodes_stop_and_hang(
    cluster: Cluster, command: Command, tmp_path: Path
) -> None:
    """A backup with exit code 0 has every document acknowledged before it; a restore ends with every leaf."""
    target = cluster.target
    for database in databases(cluster.nodes[0], target).values():
        database.create(shards=2)

    def run(name: str, *arguments: object, there: Target = target) -> Completed:
        options = [*("--prefix", there.prefix), *("--environment", "ci")]
        for url in cluster.urls:
            options += ["--url", url]
        environment = {
            "COUCHDB_USER": target.address.user or "",
            "COUCHDB_PASSWORD": target.address.password or "",
            "DATALOADER_TIMEOUT": str(TIMEOUT),
        }
        return command(name, *arguments, *options, env=environment, timeout=600)

    writer = Writer(target)
    codes: list[int] = []
    with ThreadPoolExecutor(1) as executor:
        with writer.running():
            drilling = executor.submit(cluster.stop_and_hang_each)
            while not drilling.done():
                path = tmp_path / f"{len(codes)}.backup.zst"
                done = run("backup", path)
                codes.append(done.code)
                assert done.code in {ExitCode.OK, ExitCode.NODES}, done
                assert done.code == ExitCode.NODES or writer.lost(path) == set()
            drilling.result()
        assert {ExitCode.OK, ExitCode.NODES} <= set(codes)

        last = tmp_path / "last.backup.zst"
        done = run("backup", last)
        assert done.code == ExitCode.OK, done
        assert writer.lost(last) == set()
        assert Backup(last).header.documents == len(writer.acknowledged) * len(target.model.databases)

        copies: list[Target] = []
        try:
            drilling = executor.submit(cluster.stop_and_hang_each)
            while not drilling.done():
                copies.append(replace(target, prefix=f"{target.prefix}copy-{len(copies)}-"))
                done = run("restore", last, there=copies[-1])
                assert done.code in {ExitCode.OK, ExitCode.NODES}, done
            drilling.result()
            for copy in copies:
                cluster.make_up_copies(copy)
                for node in cluster.nodes:
                    assert leaves(node, copy) == leaves(node, target)
        finally:
            cluster.wait_until_whole()
            for copy in copies:
                for database in databases(cluster.nodes[0], copy).values():
                    database.delete()


def leaves(server: Server, target: Target) -> dict[str, dict[str, list[str]]]:
    """Return the revisions of all leaves, by database and document."""
    found = {}
    for name, database in databases(server, target).items():
        _, _, data = database._resource.get("_changes", style="all_docs")
        rows = json.loads(data.read())["results"]
        found[name] = {row["id"]: sorted(each["rev"] for each in row["changes"]) for row in rows}
    return found
