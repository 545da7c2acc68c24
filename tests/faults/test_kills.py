"""Processes killed at chosen moments, as by a crash: nothing is lost, and the next run completes the work.

The moments are all those between which something changes: requests that change the server, and changes of files.
"""

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Lock

import pytest

from dataloader.batch import read_manifest
from dataloader.common import ExitCode
from dataloader.couch import Address, Server
from dataloader.embedded import EmbeddedServer
from dataloader.records.models import DEFAULT_MODEL, get_model
from dataloader.target import Environment, Target
from dataloader.vendor import check_workbook
from tests.faults.injection import Asked, kind_of
from tests.faults.matrix import Scenario, new_prefix, planted
from tests.faults.quick_start import QuickStart
from tests.faults.scenarios import BACKUP, Situation, in_backup
from tests.faults.states import State, state
from tests.support.marks import THOROUGH
from tests.support.proxy import Forward, Hangup, Proxy, Reply, Request
from tests.support.server import ADMIN

pytestmark = THOROUGH

CARDS = 15
KILLED_WRITES = [
    ("load", "gpii-token"),
    ("load --update", "gpii-key"),
    ("revoke", "gpii-token"),
    ("restore", "gpii-token"),
]
"""The killed scenarios, and their models."""
LEAST = 6
"""Writes of the shortest one, at least."""
MOST = 300
"""Kills after which a run that never completes fails."""


@pytest.fixture(scope="module")
def environment(address: Address) -> dict[str, str]:
    """Environment variables with the admin's credentials."""
    found = {"DATALOADER_RETRY_WAIT": "0"}
    if address.user is not None:
        found |= {"COUCHDB_USER": address.user, "COUCHDB_PASSWORD": address.password or ""}
    return found


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[QuickStart]:
    """Starts commands fast."""
    with QuickStart(tmp_path_factory.mktemp("quick"), environment) as quick:
        yield quick


@pytest.fixture(scope="module")
def situation(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Situation:
    """The situation that the runs use."""
    return Situation(tmp_path_factory.mktemp("kills"), server, CARDS)


def scenario_of(situation: Situation, model: str, name: str) -> Scenario:
    """Return a scenario by name."""
    return next(each for each in situation.scenarios(model) if each.name == name)


def on_target(scenario: Scenario, target: Target, url: str) -> list[str]:
    """Return the arguments of a scenario's command for a target."""
    return [
        *(*scenario.arguments, "--url", url, "--environment", "ci"),
        *("--model", target.model.name, "--prefix", target.prefix),
    ]


def changes(request: Request) -> bool:
    """Return whether a request changes the server; the first query of a view does, too."""
    endpoint = request.endpoint
    return request.method in {"PUT", "DELETE"} or endpoint == "_bulk_docs" or "/_view/" in endpoint


class Killer:
    """A hook that kills a client at each new request that changes the server: before it gets there, or after.

    The client's other requests are lost.
    """

    def __init__(self, prefix: str) -> None:
        self.kills = 0
        self._prefix = prefix
        self._seen: set[Asked] = set()
        self._lock = Lock()
        self._process: Future[int] = Future()
        self._dead = False

    def run(self, quick: QuickStart, arguments: Sequence[object]) -> bool:
        """Run a command until it is killed; return whether it completed successfully instead."""
        self._process, self._dead = Future(), False
        self._process.set_result(quick.start(*arguments))
        code, said = quick.wait()
        assert code == (-signal.SIGKILL if self._dead else ExitCode.OK), said
        return not self._dead

    def __call__(self, request: Request, forward: Forward) -> Reply:
        """Forward a request, or kill the client."""
        asked = Asked.of(request, self._prefix)
        with self._lock:
            if self._dead:
                raise Hangup
            self._dead = changes(request) and asked not in self._seen
            if self._dead:
                self._seen.add(asked)
                self.kills += 1
            now, is_written = self._dead, self.kills % 2
        if not now:
            return forward(request)
        if is_written:
            forward(request)
        os.kill(self._process.result(), signal.SIGKILL)
        raise Hangup


@pytest.mark.parametrize(("name", "model"), KILLED_WRITES)
def test_run_killed_at_each_write_is_completed_by_running_again(
    quick: QuickStart, situation: Situation, address: Address, server: Server, name: str, model: str
) -> None:
    """Killed at every write in turn, alternately before and after it, a run has the same result as without kills."""
    scenario = scenario_of(situation, model, name)
    with Proxy(address.url) as proxy:

        def result(*, kill: bool) -> State:
            target = Target(address, get_model(model), Environment.CI, new_prefix())
            arguments = on_target(scenario, target, proxy.url)
            situation.forget_revocations()
            with planted(server, target, scenario.start):
                if kill:
                    proxy.hook = killer = Killer(target.prefix)
                    while not killer.run(quick, arguments):
                        assert killer.kills < MOST
                    assert killer.kills >= LEAST
                else:
                    assert quick.run(*arguments) == (ExitCode.OK, "")
                return state(server, target)

        wanted = result(kill=False)
        assert result(kill=True) == wanted


def test_generate_killed_at_each_change_of_a_file_leaves_complete_files_or_none(
    quick: QuickStart, tmp_path: Path
) -> None:
    """Each of the two files is complete or missing, and generate can be run again."""
    for die_at in count(1):
        folder = tmp_path / f"batches-{die_at}"
        arguments = ["generate", "spring", "--cards", CARDS, "--out", folder]
        code, _ = quick.run(*arguments, die_at=die_at)
        if not whole(folder):
            assert code == -signal.SIGKILL
            assert quick.run(*arguments) == (ExitCode.OK, "")
        assert whole(folder)
        if code == ExitCode.OK:
            break
    assert die_at > LEAST


def whole(folder: Path) -> bool:
    """Return whether a batch's manifest exists; check that it and the workbook are complete."""
    there = {path.name for path in folder.glob("[!.]*")} if folder.exists() else set()
    assert there <= {"spring.batch.jsonl", "spring.xlsx"}
    if "spring.xlsx" in there:
        assert check_workbook(folder / "spring.xlsx").cards == CARDS
        # The manifest appears first: a workbook can be made from it, but not vice versa.
        assert "spring.batch.jsonl" in there
    if "spring.batch.jsonl" not in there:
        return False
    assert read_manifest(folder / "spring.batch.jsonl").count == CARDS
    return True


def test_backup_killed_at_each_change_of_a_file_is_completed_by_running_again(
    quick: QuickStart, situation: Situation, address: Address, server: Server, tmp_path: Path
) -> None:
    """The final file name appears only when complete; the next run leaves that file only."""
    scenario = scenario_of(situation, DEFAULT_MODEL, "backup")
    target = Target(address, get_model(DEFAULT_MODEL), Environment.CI, new_prefix())
    with planted(server, target, scenario.start):

        def run(folder: Path, die_at: int = 0) -> int:
            folder.mkdir(exist_ok=True)
            arguments = [each.replace("FOLDER", str(folder)) for each in on_target(scenario, target, address.url)]
            code, said = quick.run(*arguments, die_at=die_at)
            assert code in {ExitCode.OK, -signal.SIGKILL}, said
            return code

        assert run(tmp_path / "unkilled") == ExitCode.OK
        wanted = in_backup(tmp_path / "unkilled")
        for die_at in count(1):
            folder = tmp_path / f"killed-{die_at}"
            code = run(folder, die_at)
            if BACKUP in in_backup(folder):
                assert in_backup(folder)[BACKUP] == wanted[BACKUP]
            else:
                assert (code, run(folder)) == (-signal.SIGKILL, ExitCode.OK)
                assert in_backup(folder) == wanted
            if code == ExitCode.OK:
                assert in_backup(folder) == wanted
                break
    assert die_at > LEAST


def test_load_survives_a_server_killed_at_each_kind_of_write(situation: Situation, tmp_path: Path) -> None:
    """The embedded server is killed before, during or after a write of each kind and restarted: the load retries."""
    scenario = scenario_of(situation, DEFAULT_MODEL, "load")
    environment = {"COUCHDB_USER": ADMIN[0], "COUCHDB_PASSWORD": ADMIN[1], "DATALOADER_RETRY_WAIT": "0.5"}
    situation.forget_revocations()
    server = EmbeddedServer(tmp_path / "data", admin=ADMIN).start()
    address, port = Address(server.url, *ADMIN), int(server.url.rpartition(":")[2])
    kinds: list[str] = []
    lock = Lock()

    def kill(request: Request, forward: Forward) -> Reply:
        nonlocal server
        with lock:
            turn = len(kinds)
            if not changes(request) or kind_of(request) in kinds:
                turn = -1
            else:
                kinds.append(kind_of(request))
        if turn < 0:
            return forward(request)
        with ThreadPoolExecutor(1) as executor:
            moment = ("after", "during", "before")[turn % 3]
            handled = None if moment == "before" else executor.submit(forward, request)
            if handled is not None and moment == "after":
                handled.result()
            server.kill()
        server = EmbeddedServer(tmp_path / "data", port=port, admin=ADMIN).start()
        raise Hangup

    def loaded(prefix: str) -> State:
        target = Target(address, get_model(DEFAULT_MODEL), Environment.CI, prefix)
        code, said = quick.run(*on_target(scenario, target, proxy.url))
        assert code == ExitCode.OK, said
        return state(Server(address), target)

    try:
        with QuickStart(tmp_path, environment) as quick, Proxy(address.url) as proxy:
            wanted = loaded("unkilled-")
            proxy.hook = kill
            assert loaded("killed-") == wanted
    finally:
        server.stop()
    assert len(kinds) >= 4, kinds
