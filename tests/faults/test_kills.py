"""Processes killed at random moments, as by a crash: nothing is lost, and the next run completes the work."""

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dataloader.batch import read_manifest
from dataloader.common import ExitCode
from dataloader.couch import Address, Server
from dataloader.embedded import EmbeddedServer
from dataloader.records.models import DEFAULT_MODEL, get_model
from dataloader.target import Environment, Target
from dataloader.vendor import check_workbook
from tests.faults.matrix import Scenario, new_prefix, planted
from tests.faults.quick_start import QuickStart
from tests.faults.scenarios import Situation
from tests.faults.states import State, state
from tests.support.marks import THOROUGH
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.server import ADMIN

pytestmark = THOROUGH

CARDS = 30
DELAY = 0.01
"""The minimum duration of every reply in seconds."""
KILLS = [("load", "gpii-token", 25), ("load --update", "gpii-key", 25), ("revoke", "gpii-token", 15)]
"""The killed scenario, the model, and the number of kills."""
GENERATE_KILLS = 20
SERVER_KILLS = 6


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """A random source that is the same in each run of a test."""
    return random.Random(request.node.name)


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


def slowly(request: Request, forward: Forward) -> Reply:
    """Delay each reply, so that there is time before and after it."""
    reply = forward(request)
    time.sleep(DELAY)
    return reply


def on_target(scenario: Scenario, target: Target, url: str) -> list[str]:
    """Return the arguments of a scenario's command for a target."""
    return [
        *(*scenario.arguments, "--url", url, "--environment", "ci"),
        *("--model", target.model.name, "--prefix", target.prefix),
    ]


@pytest.mark.parametrize(("name", "model", "kills"), KILLS)
def test_killed_run_is_completed_by_running_again(
    quick: QuickStart,
    situation: Situation,
    address: Address,
    server: Server,
    chance: random.Random,
    name: str,
    model: str,
    kills: int,
) -> None:
    """Killed at random moments and started again until it completes, a run has the same result as without kills."""
    scenario = scenario_of(situation, model, name)
    with Proxy(address.url, slowly) as proxy:

        def run(*, kill_within: float | None) -> tuple[State, int, float]:
            """Run to the end on a new target; return its state, the number of kills, and the seconds it took."""
            target = Target(address, get_model(model), Environment.CI, new_prefix())
            arguments = on_target(scenario, target, proxy.url)
            killed, begin = 0, time.monotonic()
            with planted(server, target, scenario.start):
                while not ended(quick, arguments, None if kill_within is None else chance.uniform(0, kill_within)):
                    killed += 1
                return state(server, target), killed, time.monotonic() - begin

        wanted, _, took = run(kill_within=None)
        killed = 0
        while killed < kills:
            found, times, _ = run(kill_within=took)
            assert found == wanted
            killed += times


def ended(quick: QuickStart, arguments: Sequence[object], seconds: float | None) -> bool:
    """Run a command, and kill it after some time; return whether it completed successfully before."""
    process = quick.start(*arguments)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    code, said = quick.wait()
    assert code in {ExitCode.OK, -signal.SIGKILL}, said
    return code == ExitCode.OK


def test_killed_generate_leaves_complete_files_or_none(
    quick: QuickStart, tmp_path: Path, chance: random.Random
) -> None:
    """Killed at any moment, each of the two files is complete or missing, and generate can be run again."""
    arguments: list[object] = ["generate", "spring", "--cards", 2000, "--out"]
    begin = time.monotonic()
    assert quick.run(*arguments, tmp_path / "unkilled") == (ExitCode.OK, "")
    took = time.monotonic() - begin
    killed = 0
    for turn in range(GENERATE_KILLS):
        folder = tmp_path / f"batches-{turn}"
        killed += not ended(quick, [*arguments, folder], chance.uniform(0, took))
        if not whole(folder):
            assert quick.run(*arguments, folder) == (ExitCode.OK, "")
        assert whole(folder)
    assert killed >= GENERATE_KILLS // 2


def whole(folder: Path) -> bool:
    """Return whether a batch's manifest exists; check that it and the workbook are complete."""
    there = {path.name for path in folder.glob("[!.]*")} if folder.exists() else set()
    assert there <= {"spring.batch.jsonl", "spring.xlsx"}
    if "spring.xlsx" in there:
        assert check_workbook(folder / "spring.xlsx").cards == 2000
        # The manifest appears first: a workbook can be made from it, but not vice versa.
        assert "spring.batch.jsonl" in there
    if "spring.batch.jsonl" not in there:
        return False
    assert read_manifest(folder / "spring.batch.jsonl").count == 2000
    return True


def test_load_survives_a_killed_server(situation: Situation, tmp_path: Path, chance: random.Random) -> None:
    """The embedded server is killed and restarted during a load: the load retries, or the next one continues."""
    scenario = scenario_of(situation, DEFAULT_MODEL, "load")
    environment = {"COUCHDB_USER": ADMIN[0], "COUCHDB_PASSWORD": ADMIN[1], "DATALOADER_RETRY_WAIT": "0.1"}
    server = EmbeddedServer(tmp_path / "data", admin=ADMIN).start()
    address, port = Address(server.url, *ADMIN), int(server.url.rpartition(":")[2])
    bridged = 0
    try:
        with QuickStart(tmp_path, environment) as quick, Proxy(address.url, slowly) as proxy:

            def run(prefix: str, *, kill_within: float | None) -> tuple[int, State]:
                nonlocal server
                target = Target(address, get_model(DEFAULT_MODEL), Environment.CI, prefix)
                arguments = on_target(scenario, target, proxy.url)
                quick.start(*arguments)
                if kill_within is not None:
                    time.sleep(chance.uniform(0, kill_within))
                    server.kill()
                    server = EmbeddedServer(tmp_path / "data", port=port, admin=ADMIN).start()
                code, said = quick.wait()
                assert code in {ExitCode.OK, ExitCode.UNREACHABLE}, said
                if code:
                    assert quick.run(*arguments) == (ExitCode.OK, "")
                return code, state(Server(address), target)

            begin = time.monotonic()
            _, wanted = run("unkilled-", kill_within=None)
            took = time.monotonic() - begin
            for turn in range(SERVER_KILLS):
                code, found = run(f"killed-{turn}-", kill_within=took)
                assert found == wanted
                bridged += code == ExitCode.OK
    finally:
        server.stop()
    assert bridged
