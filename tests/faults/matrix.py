"""Run every command with faults: the cases, and their outcomes.

A case has its own target on the real server, behind a proxy; the command runs in the same process. Several processes
run cases in parallel.
"""

import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
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
from tests.support.forks import skip_slow_imports
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.server import QUICK

RETRIES = 2
"""Retries with a permanent fault; temporary ones need fewer."""
SHORTEST = 0.4
"""Seconds to wait for a late reply, at least."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command in a situation."""

    name: str
    arguments: tuple[str, ...]
    """The arguments, without the target; FOLDER in them is replaced by a folder for each case."""
    start: State
    """The state of the target before the command."""
    extra: Callable[[Path], State] | None = None
    """Reads the files that it leaves in its folder, which are part of the resulting state."""
    prefix: str | None = None
    """The prefix of a target with that state, for a command that writes nothing; None to create one for each run."""
    manifest: Path = Path()
    """The batch; each case has a copy, since revoke keeps a list next to it that later loads obey."""

    def in_folder(self, folder: Path) -> list[str]:
        """Return the arguments for a case with its own folder and manifest."""
        ours = {str(self.manifest): str(folder / self.manifest.name)}
        return [ours.get(each) or each.replace("FOLDER", str(folder)) for each in self.arguments]


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> dict[str, Any]:
        """The JSON output without times, request counts, and names of files and databases."""
        data: dict[str, Any] = json.loads(self.stdout)
        if isinstance(data.get("created"), str):
            # The time of a backup; for a load, it is a count.
            del data["created"]
        return {name: value for name, value in data.items() if name not in _VARIES and not name.startswith("seconds")}

    @property
    def result(self) -> dict[str, Any]:
        """The result of its work, without what it reports about copies."""
        return {name: value for name, value in self.data.items() if name not in _ABOUT_THE_RUN}


_VARIES = {"time", "created_databases", "bytes", "digest", "seal", "resumed", "url"}
"""Members that differ from run to run, or that tell who wrote something if a request is retried."""
_ABOUT_THE_RUN = {"ok", "error", "exit_code", "short_of_copies"}
"""Members that report missing copies, as after a 202."""

NOW = "2020-11-23T00:00:00.000Z"
"""The time at which every card is revoked, so that two runs have the same result."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The result of a scenario without a fault."""

    ran: Ran
    start: State
    end: State
    asked: list[Asked]
    slowest: float
    """Duration of the slowest request in seconds."""


@dataclass(frozen=True, slots=True)
class Case:
    """A fault in some requests of a scenario."""

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
    """The outcome of a case."""

    case: Case
    hits: int
    """How many requests failed."""
    first: Ran
    end: State
    again: Ran | None
    """The same command afterwards without a fault; None if there was nothing left to do."""
    end_again: State


def prepare(folder: Path, environment: dict[str, str]) -> None:
    """Prepare this process for running cases."""
    skip_slow_imports()
    os.chdir(folder)
    os.environ.update(environment)


def reference(address: Address, scenario: Scenario, model: str) -> Reference:
    """Run a scenario without a fault."""
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
    """Run a case, and the same command again if its result differs from that without a fault."""
    # A late reply must be later than any other.
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
    """Yield a target, its proxy, and a function that runs the scenario there and reads the result."""
    server = Server(address, QUICK)
    prefix = scenario.prefix or new_prefix()
    target = Target(address, get_model(model), Environment.CI, prefix)
    with (
        TemporaryDirectory() as name,
        Proxy(address.url) as proxy,
        planted(server, target, scenario.start, already=scenario.prefix is not None),
    ):
        folder = Path(name)
        if str(scenario.manifest) in scenario.arguments:
            shutil.copy(scenario.manifest, folder)
        extra = scenario.extra or (lambda _: {})
        yield (
            target,
            proxy,
            lambda: _run(scenario, target, proxy, folder),
            lambda: state(server, target) | extra(folder),
        )


@contextmanager
def planted(server: Server, target: Target, wanted: State, *, already: bool = False) -> Iterator[None]:
    """Create a state on a target for the duration of a block, unless it is there ``already``."""
    if already:
        yield
        return
    try:
        plant(server, target, wanted)
        yield
    finally:
        clear(server, target)


def new_prefix() -> str:
    """Return a prefix that no other target uses."""
    return f"test-{uuid4().hex[:12]}-"


@contextmanager
def _patience(case: Case, timeout: float) -> Iterator[None]:
    """Make the command give up soon, also on late replies and indexes."""
    if not FAULTS[case.fault].slow:
        with mock.patch.dict(os.environ, {"DATALOADER_RETRIES": str(RETRIES)}):
            yield
        return
    # A busy server may be late by itself, once or twice.
    retries = 1 if case.way.for_good else 2 * RETRIES
    settings = {"DATALOADER_TIMEOUT": str(timeout), "DATALOADER_RETRIES": str(retries)}
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, settings))
        if "/_view/" in case.way.asked.kind:
            # Indexes that are not meant to be late may take as long as they need.
            for name, wait in (("INDEX_WAIT", timeout), ("INDEX_STILL", (retries + 0.5) * timeout)):
                stack.enter_context(mock.patch(f"dataloader.replication.indexes.{name}", wait))
        yield


def _run(scenario: Scenario, target: Target, proxy: Proxy, folder: Path) -> Ran:
    arguments = scenario.in_folder(folder)
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
