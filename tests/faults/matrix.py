"""Runs of every command with a fault in the way: the cases, and what becomes of one.

A case has a target of its own on the real server, with a proxy before it; the command runs in the same process.
Processes of their own carry out several at once.
"""

import io
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from uuid import uuid4

from dataloader.cli import run
from dataloader.couch import Address, Server
from dataloader.records.models import get_model
from dataloader.target import Environment, Target
from tests.faults.injection import FAULTS, Asked, Way, all_asked, injected
from tests.faults.states import State, clear, plant, state
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.server import QUICK

RETRIES = 2
"""Of a fault that lasts; short ones are got through with fewer."""
SHORTEST = 0.4
"""Seconds to wait for a reply that is too late, at least."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command in a situation."""

    name: str
    arguments: tuple[str, ...]
    """With what it needs besides its target; FOLDER in them is one that each case has for itself."""
    start: State
    """What is on the target before it."""
    extra: Callable[[Path], State] | None = None
    """Reads what it leaves in its folder, which belongs to the state that it comes to."""
    prefix: str | None = None
    """Of a target on which that stands already, for a command that writes nothing; None has one made for each run."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command came to."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> dict[str, Any]:
        """All that it says, but for times, how much was asked, and the names of files and databases."""
        data: dict[str, Any] = json.loads(self.stdout)
        if isinstance(data.get("created"), str):
            # A backup's time; of a load, it is a count.
            del data["created"]
        return {name: value for name, value in data.items() if name not in _VARIES and not name.startswith("seconds")}

    @property
    def result(self) -> dict[str, Any]:
        """What it says of its work, whether or not there was something to report about copies."""
        return {name: value for name, value in self.data.items() if name not in _ABOUT_THE_RUN}


_VARIES = {"time", "created_databases", "bytes", "digest", "seal", "resumed", "url"}
"""What differs from run to run, or, where a request is repeated, tells who did something that was wanted."""
_ABOUT_THE_RUN = {"ok", "error", "exit_code", "short_of_copies"}
"""What says of a run that copies were short, as a 202 has it say."""

NOW = "2020-11-23T00:00:00.000Z"
"""The time at which every card is revoked, so that two runs come to the same."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a scenario comes to without a fault."""

    ran: Ran
    start: State
    end: State
    asked: list[Asked]
    slowest: float
    """Seconds that the slowest request took."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault in the way of some requests of a scenario."""

    scenario: str
    model: str
    fault: str
    way: Way

    def __str__(self) -> str:
        """Return the case as a line."""
        how = "for good" if self.way.for_good else "once"
        return (
            f"{self.scenario} ({self.model}), {self.fault} {how} at {self.way.asked.kind}, number {self.way.asked.nth}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case."""

    case: Case
    hits: int
    """How many requests were failed."""
    first: Ran
    end: State
    again: Ran | None
    """The same command after that, without a fault; None where there was nothing to make good."""
    end_again: State


def prepare(folder: Path, environment: dict[str, str]) -> None:
    """Make this process one that carries out cases."""
    os.chdir(folder)
    os.environ.update(environment)


def reference(address: Address, scenario: Scenario, model: str) -> Reference:
    """Carry a scenario out without a fault."""
    slowest = 0.0

    def timed(request: Request, forward: Forward) -> Reply:
        nonlocal slowest
        start = time.monotonic()
        reply = forward(request)
        slowest = max(slowest, time.monotonic() - start)
        return reply

    with _on_target(address, scenario, model) as (target, proxy, run_it, end):
        proxy.hook = timed
        ran = run_it()
        return Reference(ran, scenario.start, end(), all_asked(proxy.requests, target.prefix), slowest)


def outcome(address: Address, case: Case, scenario: Scenario, without: Reference) -> Outcome:
    """Carry out a case, and the same command again where it did not come to what it comes to without a fault."""
    # Where the fault is a late reply, it has to be later than any other.
    timeout = max(SHORTEST, 4 * without.slowest)
    with _on_target(address, scenario, case.model) as (target, proxy, run_it, read_end):
        with injected(proxy, FAULTS[case.fault], case.way, target.prefix) as injector, _patience(case, timeout):
            first = run_it()
        end = read_end()
        if (first.code, first.data, end) == (without.ran.code, without.ran.data, without.end):
            return Outcome(case, injector.hits, first, end, None, end)
        again = run_it()
        return Outcome(case, injector.hits, first, end, again, read_end())


@contextmanager
def _on_target(
    address: Address, scenario: Scenario, model: str
) -> Iterator[tuple[Target, Proxy, Callable[[], Ran], Callable[[], State]]]:
    """Yield a target, the proxy before it, and what carries the scenario out there and reads what it came to."""
    server = Server(address, QUICK)
    prefix = scenario.prefix or new_prefix()
    target = Target(address, get_model(model), Environment.CI, prefix)
    with (
        TemporaryDirectory() as name,
        Proxy(address.url) as proxy,
        planted(server, target, scenario.start, already=scenario.prefix is not None),
    ):
        folder = Path(name)
        extra = scenario.extra or (lambda _: {})
        yield (
            target,
            proxy,
            lambda: _run(scenario, target, proxy, folder),
            lambda: state(server, target) | extra(folder),
        )


@contextmanager
def planted(server: Server, target: Target, wanted: State, *, already: bool = False) -> Iterator[None]:
    """Have a state on a target, from the beginning of a block to its end, unless it is there ``already``."""
    if already:
        yield
        return
    try:
        plant(server, target, wanted)
        yield
    finally:
        clear(server, target)


def new_prefix() -> str:
    """Return a prefix that no other target has."""
    return f"test-{uuid4().hex[:12]}-"


@contextmanager
def _patience(case: Case, timeout: float) -> Iterator[None]:
    """Have the command give up soon, on what is late and on an index, too."""
    if not FAULTS[case.fault].slow:
        with mock.patch.dict(os.environ, {"DATALOADER_RETRIES": str(RETRIES)}):
            yield
        return
    # A server that is busy may be late by itself, once or twice.
    retries = 1 if case.way.for_good else 2 * RETRIES
    settings = {"DATALOADER_TIMEOUT": str(timeout), "DATALOADER_RETRIES": str(retries)}
    with (
        mock.patch.dict(os.environ, settings),
        mock.patch("dataloader.replication.indexes.INDEX_WAIT", timeout),
        mock.patch("dataloader.replication.indexes.INDEX_STILL", 1.5 * timeout),
    ):
        yield


def _run(scenario: Scenario, target: Target, proxy: Proxy, folder: Path) -> Ran:
    arguments = [each.replace("FOLDER", str(folder)) for each in scenario.arguments]
    options = ("--url", proxy.url, "--model", target.model.name, "--prefix", target.prefix, "--environment", "ci")
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        redirect_stdout(stdout),
        redirect_stderr(stderr),
        mock.patch("dataloader.operations.revoke.now", return_value=NOW),
    ):
        code = run([*arguments, *options, "--json"])
    said = [stdout.getvalue(), stderr.getvalue()]
    for real, name in ((target.prefix, "PREFIX-"), (proxy.url, "URL"), (str(folder), "FOLDER")):
        said = [text.replace(real, name) for text in said]
    return Ran(code, *said)
