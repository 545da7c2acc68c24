"""Processes that are killed at any moment, as by a crash: nothing is lost, and the next run does the rest."""

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
"""Seconds that every reply takes at least."""
KILLS = [("load", "gpii-token", 25), ("load --update", "gpii-key", 25), ("revoke", "gpii-token", 15)]
"""What is killed, with which model, and how often."""
GENERATE_KILLS = 20
SERVER_KILLS = 6


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance that is the same in each run of a test."""
    return random.Random(request.node.name)


@pytest.fixture(scope="module")
def environment(address: Address) -> dict[str, str]:
    """The environment in which commands find the admin's credentials."""
    found = {"DATALOADER_RETRY_WAIT": "0"}
    if address.user is not None:
        found |= {"COUCHDB_USER": address.user, "COUCHDB_PASSWORD": address.password or ""}
    return found


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[QuickStart]:
    """Commands that start in no time."""
    with QuickStart(tmp_path_factory.mktemp("quick"), environment) as quick:
        yield quick


@pytest.fixture(scope="module")
def situation(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Situation:
    """What the runs are about."""
    return Situation(tmp_path_factory.mktemp("kills"), server, CARDS)


def scenario_of(situation: Situation, model: str, name: str) -> Scenario:
    """Return a scenario by its name."""
    return next(each for each in situation.scenarios(model) if each.name == name)


def slowly(request: Request, forward: Forward) -> Reply:
    """Have each reply take a while, so that there is a moment before it and one after it."""
    reply = forward(request)
    time.sleep(DELAY)
    return reply


def on_target(scenario: Scenario, target: Target, url: str) -> list[str]:
    """Return the arguments of a scenario's command on a target."""
    return [
        *(*scenario.arguments, "--url", url, "--environment", "ci"),
        *("--model", target.model.name, "--prefix", target.prefix),
    ]


@pytest.mark.parametrize(("name", "model", "kills"), KILLS)
def test_a_run_that_is_killed_is_gone_on_with(
    quick: QuickStart,
    situation: Situation,
    address: Address,
    server: Server,
    chance: random.Random,
    name: str,
    model: str,
    kills: int,
) -> None:
    """Killed at any moments and started again until it is through, a run comes to what an undisturbed one comes to."""
    scenario = scenario_of(situation, model, name)
    with Proxy(address.url, slowly) as proxy:

        def run(*, kill_within: float | None) -> tuple[State, int, float]:
            """Run to the end on a new target; return its state, how often it was killed, and the seconds it took."""
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
    """Run a command, and kill it after some time; tell whether it came to its end before, and a good one."""
    process = quick.start(*arguments)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    code, said = quick.wait()
    assert code in {ExitCode.OK, -signal.SIGKILL}, said
    return code == ExitCode.OK


def test_a_batch_whose_minting_is_killed_is_whole_or_not_there(
    quick: QuickStart, tmp_path: Path, chance: random.Random
) -> None:
    """Killed at any moment, a run leaves each of its two files whole or not there, and minting again is possible."""
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
    """Tell whether a batch's manifest is there; see that it, and the workbook, are whole if they are."""
    there = {path.name for path in folder.glob("[!.]*")} if folder.exists() else set()
    assert there <= {"spring.batch.jsonl", "spring.xlsx"}
    if "spring.xlsx" in there:
        assert check_workbook(folder / "spring.xlsx").cards == 2000
        # The manifest has its name first: a workbook can be made of it, and not the other way round.
        assert "spring.batch.jsonl" in there
    if "spring.batch.jsonl" not in there:
        return False
    assert read_manifest(folder / "spring.batch.jsonl").count == 2000
    return True


def test_a_server_that_is_killed_under_a_load_loses_nothing(
    situation: Situation, tmp_path: Path, chance: random.Random
) -> None:
    """The embedded server, killed and started again while a load runs: the load bridges it, or the next one goes on."""
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
