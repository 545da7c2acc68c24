"""Taps: make the requests of the real servers for tapped cards, at a steady rate, while something may happen.

The taps follow a schedule. The latency of a tap that waits for a connection counts from when it was due, as for a user:
if a server hangs for two seconds, everyone who taps in that time sees it.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from threading import Event, Lock, Thread

from dataloader.batch import CardFile
from dataloader.common import (
    DataloaderError,
    FileError,
    InputError,
    OnProgress,
    Patience,
    Problem,
    UsageError,
    VerifyError,
)
from dataloader.couch import Database, Server
from dataloader.operations.card_answers import require
from dataloader.records.models import Lookup
from dataloader.records.views import DESIGN
from dataloader.replication import in_parallel
from dataloader.target import Target, guard

CONNECTIONS = 8
"""Concurrent taps."""
TAPPED = 1_000
"""The number of cards to tap, chosen at random."""
QUIET = 0.1
"""The part of the time before the command is run, so that its effect is visible."""
TIMEOUT = 10.0
"""Seconds after which a tap has failed, since a user gives up; ``DATALOADER_TIMEOUT`` may lower it."""
GRACE = 5.0
"""Seconds that the command has to end after SIGTERM, before SIGKILL."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Tap:
    """One tap."""

    due: float
    """When it was due, in seconds from the start."""
    latency: float
    """Seconds from then to the last answer or the failure."""
    failure: str = ""
    """Why the card was not served; empty if it was."""


@dataclass(frozen=True, slots=True)
class Second:
    """The taps of one second."""

    taps: int
    failed: int
    slowest: float
    """Seconds from the start."""


@dataclass
class TapsResult:
    """The result of all taps."""

    taps: list[Tap] = field(default_factory=list)
    cards: int = 0
    """Cards that were tapped."""
    skipped: int = 0
    """Cards that were not served before the test started, and were left out."""
    seconds: float = 0.0
    command: str = ""
    command_began: float | None = None
    """Seconds from the start; None if the taps ended before it could begin."""
    command_ended: float | None = None
    """Seconds from the start; None if it had to be stopped."""
    command_code: int | None = None

    @property
    def failed(self) -> list[Tap]:
        """The taps whose card was not served."""
        return [tap for tap in self.taps if tap.failure]

    @property
    def available(self) -> float:
        """The part of the taps that were served, from 0 to 1."""
        return 1 - len(self.failed) / len(self.taps) if self.taps else 0.0

    @property
    def command_problem(self) -> str:
        """Why the command did not do its work, so that the test does not count; empty if it did."""
        if not self.command:
            return ""
        if self.command_began is None:
            return "the taps ended before the command began"
        if self.command_ended is not None and self.command_code:
            return f"the command ended with exit code {self.command_code}"
        return ""

    @property
    def command_times(self) -> str:
        """When the command ran, as the end of a sentence; empty if it did not."""
        if self.command_began is None:
            return ""
        end = "was stopped at the end" if self.command_ended is None else f"ended after {self.command_ended:.1f} s"
        return f"began after {self.command_began:.1f} s and {end}"

    def quantile(self, part: float) -> float:
        """Return the latency in seconds that a given part of all taps did not exceed."""
        latencies = sorted(tap.latency for tap in self.taps)
        return latencies[max(0, -int(-part * len(latencies) // 1) - 1)] if latencies else 0.0

    @property
    def longest_outage(self) -> float:
        """The longest time in seconds in which taps were due and none was served."""
        longest, began = 0.0, None
        for tap in self.taps:
            if not tap.failure:
                began = None
                continue
            began = tap.due if began is None else began
            longest = max(longest, tap.due + tap.latency - began)
        return longest

    def by_second(self) -> list[Second]:
        """Return the result for each second, by when the taps were due."""
        found: list[list[Tap]] = [[] for _ in range(int(max((tap.due for tap in self.taps), default=-1)) + 1)]
        for tap in self.taps:
            found[int(tap.due)].append(tap)
        return [
            Second(len(taps), sum(bool(tap.failure) for tap in taps), max((tap.latency for tap in taps), default=0.0))
            for taps in found
        ]


def tap_cards(
    target: Target,
    manifests: Sequence[CardFile],
    *,
    rate: float,
    duration: float,
    command: Sequence[str] = (),
    on_progress: OnProgress | None = None,
    random: Random | None = None,
) -> TapsResult:
    """Tap cards at a steady rate.

    Args:
        target: the target.
        manifests: the batches of the cards.
        rate: taps per second.
        duration: the duration in seconds.
        command: a program with its arguments to run during the test.
        on_progress: called with the number of finished taps.
        random: the random source for choosing cards.

    Raises:
        ProtocolError: a database or a view does not exist.
        VerifyError: no card is served before the test starts.
        DataloaderError: the server can't be reached.
        FileError: the command can't be run.
    """
    if command and shutil.which(command[0]) is None:
        raise FileError(command[0], rule="is not a program that can be run", todo=_PROGRAM)
    # A tap is tried once: a retry would hide what a user sees.
    timeout = min(TIMEOUT, Patience.from_environment().timeout)
    server = Server(target.address, Patience(timeout=timeout, retries=0, wait=0, total=timeout, connect=timeout))
    server.welcome()
    guard(server, target)
    random = random or Random()  # noqa: S311 - a sample, not a secret
    uuids = _some(manifests, random)
    asker = _Asker(server, target)
    served = [
        uuid for uuid, failure in in_parallel(lambda uuid: (uuid, asker.ask(uuid)), uuids, CONNECTIONS) if not failure
    ]
    if not served:
        asker.explain(uuids[0])
        raise VerifyError(
            f"{target.address.url}", rule="serves none of the tapped cards", todo="load the batch, then verify"
        )
    result = TapsResult(cards=len(served), skipped=len(uuids) - len(served), command=" ".join(command))
    start = time.monotonic()
    fault = _Fault(command, start + QUIET * duration, start, result) if command else None
    if fault is not None:
        fault.start()
    try:
        total = max(1, round(rate * duration))
        dues = (at / rate for at in range(total))
        for tap in in_parallel(lambda due: _tap(asker, random.choice(served), start, due), dues, CONNECTIONS):
            result.taps.append(tap)
            if on_progress is not None:
                on_progress("tapping", len(result.taps), total)
    finally:
        if fault is not None:
            fault.stop()
    result.seconds = time.monotonic() - start
    if fault is not None and fault.error is not None:
        raise fault.error
    return result


_PROGRAM = "correct --run; it is not run by a shell: for one, write --run \"sh -c '…'\""


def _some(manifests: Sequence[CardFile], random: Random) -> list[str]:
    """Return random cards of the batches, chosen in one pass."""
    chosen: list[str] = []
    seen = 0
    for manifest in manifests:
        for card in manifest.cards():
            seen += 1
            if len(chosen) < TAPPED:
                chosen.append(card.uuid)
            elif (at := random.randrange(seen)) < TAPPED:
                chosen[at] = card.uuid
    if not chosen:
        raise InputError(Problem(str(manifests[0].path), "holds no card", "name a manifest with cards"))
    return chosen


def _tap(asker: "_Asker", uuid: str, start: float, due: float) -> Tap:
    if (wait := start + due - time.monotonic()) > 0:
        time.sleep(wait)
    failure = asker.ask(uuid)
    return Tap(due, time.monotonic() - start - due, failure)


class _Asker:
    """Makes the requests of the authorization server and the Preferences Server for a card."""

    def __init__(self, server: Server, target: Target) -> None:
        self._lookups = [(lookup, server.database(target.database(lookup.database))) for lookup in target.model.lookups]

    def explain(self, uuid: str) -> None:
        """Ask for a card, and raise the error if the server gives no answer.

        Raises:
            ProtocolError: a database or a view does not exist.
            DataloaderError: the server can't be reached, or refuses.
        """
        for lookup, database in self._lookups:
            with require(database, lookup.view):
                _finds(lookup, database, uuid)

    def ask(self, uuid: str) -> str:
        """Return why a card is not served; empty if it is."""
        try:
            for lookup, database in self._lookups:
                if not _finds(lookup, database, uuid):
                    return f"not found: {lookup.view or lookup.database}"
        except DataloaderError as error:
            return type(error).__name__.removesuffix("Error").lower() + f": {error.rule or error.what}"
        return ""


def _finds(lookup: Lookup, database: Database, uuid: str) -> bool:
    if lookup.view is None:
        return database.shown(uuid) is not None
    rows = database.view_by_key(DESIGN, lookup.view, uuid, include_docs=lookup.include_docs)
    return len(rows) == 1 and (not lookup.include_docs or rows[0].get("doc") is not None)


class _Fault(Thread):
    """Runs the command during the taps, and stops it at the end."""

    def __init__(self, command: Sequence[str], at: float, start: float, result: TapsResult) -> None:
        super().__init__(daemon=True)
        self._command = command
        self._at = at
        self._start = start
        self._result = result
        self._starting = Lock()
        self._stopped = Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_killed = False
        self.error: FileError | None = None

    def run(self) -> None:
        self._stopped.wait(max(0.0, self._at - time.monotonic()))
        with self._starting:
            if self._stopped.is_set():
                return
            self._result.command_began = time.monotonic() - self._start
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the operator's own command
                    self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
                )
            except OSError as error:
                self.error = FileError.of(error, self._command[0], _PROGRAM)
                return
        self._result.command_code = self._process.wait()
        if not self._is_killed:
            self._result.command_ended = time.monotonic() - self._start

    def stop(self) -> None:
        """Stop the command and its child processes if it is still running; do not start it any more."""
        with self._starting:
            self._stopped.set()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process is not None and self._process.poll() is None:
                self._is_killed = True
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
            self.join(timeout=GRACE)


def check_bounds(result: TapsResult, max_p99: float | None, min_available: float | None) -> list[str]:
    """Return the exceeded bounds, in words.

    Args:
        result: the result.
        max_p99: the largest latency of 99 % of the taps, in seconds.
        min_available: the smallest part of the taps to be served, from 0 to 1.
    """
    broken = []
    if max_p99 is not None and (p99 := result.quantile(QUANTILES["p99"])) > max_p99:
        broken.append(f"99 % of the taps took up to {p99 * 1000:,.0f} ms, more than {max_p99 * 1000:,g} ms")
    if min_available is not None and result.available < min_available:
        broken.append(f"{result.available:.3%} of the taps were served, fewer than {min_available:.3%}")
    return broken


_UNITS: dict[str, float] = {"ms": 0.001, "s": 1, "min": 60, "m": 60, "h": 3_600}


def parse_time(text: str, option: str) -> float:
    """Parse a duration: ``500ms``, ``60s``, ``5m``, ``1h``; a plain number is in seconds.

    Raises:
        UsageError: it is not a duration above 0.
    """
    number = text.strip().rstrip("hminsu")
    unit = text.strip()[len(number) :] or "s"
    return _positive(number, option, text, "a time above 0, such as 500ms, 60s or 5m") * _unit(unit, option, text)


def _unit(unit: str, option: str, text: str) -> float:
    if unit not in _UNITS:
        raise UsageError(f"{option} {text}", rule="unit must be one of: ms, s, m, h", todo="correct it, as in 60s")
    return _UNITS[unit]


def parse_part(text: str, option: str) -> float:
    """Parse a percentage to a fraction: ``99.9%``.

    Raises:
        UsageError: it is not a percentage above 0 and up to 100.
    """
    part = _positive(text.strip().removesuffix("%"), option, text, "a percentage, such as 99.9%") / 100
    if part > 1:
        raise UsageError(f"{option} {text}", rule="must be at most 100%", todo="correct it, as in 99.9%")
    return part


def _positive(number: str, option: str, text: str, what: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{option} {text}", rule=f"must be {what}", todo="correct it")
    return value
