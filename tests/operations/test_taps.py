"""Taps: latency and availability of cards, with bounds."""

import signal
import sys
from pathlib import Path
from random import Random

import pytest

from dataloader.batch import Manifest
from dataloader.common import ExitCode, ProtocolError, UsageError, VerifyError
from dataloader.couch import Server
from dataloader.operations import Source, design_sources, load, tap_cards
from dataloader.operations.taps import Tap, TapsResult, check_bounds, parse_part, parse_time
from dataloader.target import Target
from tests.support.command import Command
from tests.support.loading import plant_load
from tests.support.marks import EACH_MODEL, ONE_MODEL, THOROUGH
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.records import access_of
from tests.support.server import databases, delete


@pytest.fixture
def loaded(server: Server, target: Target, sources: list[Source]) -> Target:
    """A target with a batch."""
    plant_load(server, target, sources)
    return target


@EACH_MODEL
def test_taps_make_the_servers_requests(server: Server, loaded: Target, manifest: Manifest) -> None:
    """Each tap is served; a card deleted before the test is left out."""
    lost, *_ = manifest.cards()
    place = access_of(loaded.model.name, lost.uuid)
    delete(databases(server, loaded)[place.database], place.id)
    result = tap_cards(loaded, [manifest], rate=200, duration=0.2, random=Random(1))
    assert (len(result.taps), len(result.failed), result.available) == (40, 0, 1.0)
    assert (result.cards, result.skipped) == (manifest.count - 1, 1)
    assert 0 < result.quantile(0.5) <= result.quantile(0.99) <= result.quantile(1)


@ONE_MODEL
def test_taps_require_a_card_that_is_served(server: Server, target: Target, manifest: Manifest) -> None:
    """A target without the batch is an error, not an availability without taps; one without databases is said."""
    with pytest.raises(ProtocolError, match=r"database .*: does not exist \(load the target first"):
        tap_cards(target, [manifest], rate=10, duration=0.1)
    load(server, target, design_sources(target.model))
    with pytest.raises(VerifyError, match="serves none of the tapped cards"):
        tap_cards(target, [manifest], rate=10, duration=0.1)


@ONE_MODEL
def test_failed_taps_exceed_the_bounds(run_here: Command, loaded: Target, manifest: Manifest, tmp_path: Path) -> None:
    """Errors and wrong answers count as not served, once each, and the exit code says that a bound is exceeded."""
    asked: list[str] = []

    def fail(request: Request, forward: Forward) -> Reply:
        if "findGpiiToken" in request.path:
            asked.append(request.target)
            # The first requests find out which cards are served at all.
            if len(asked) > manifest.count and len(asked) % 4 == 0:
                return Reply.json(500, {"error": "timeout", "reason": "the request could not be processed"})
            if len(asked) > manifest.count and len(asked) % 4 == 1:
                return Reply.json(200, {"total_rows": 0, "offset": 0, "rows": []})
        return forward(request)

    page = tmp_path / "taps.html"
    with Proxy(loaded.address.url, fail) as proxy:
        done = run_here(
            *("taps", manifest.path, "--rate", "100", "--for", "400ms", "--min-available", "99.9%", "--json"),
            *("--report", page),
            url=proxy.url,
        )
    assert done.code == ExitCode.BOUNDS
    assert done.data["taps"] == 40
    # No retry hides what a user would see.
    assert len(asked) == manifest.count + 40
    assert done.data["failed"] == 20
    assert done.data["available"] == 0.5
    assert "fewer than 99.900%" in done.stderr
    text = page.read_text()
    assert '<svg class="chart" role="img"' in text
    assert "not found: findGpiiToken (10 taps)" in text


@ONE_MODEL
def test_taps_run_a_command_during_the_test(
    run_here: Command, loaded: Target, manifest: Manifest, tmp_path: Path
) -> None:
    """It starts after the test has; one that is still running at the end is stopped, which is no failure."""
    flag = tmp_path / "flag"
    given = ("taps", manifest.path, "--for", "1s", "--rate", "50", "--json", "--run")
    done = run_here(*given, f'{sys.executable} -c "open({str(flag)!r}, chr(119))"')
    assert done.code == ExitCode.OK, done.stderr
    assert flag.exists()
    assert done.data["command"]["exit_code"] == 0
    assert done.data["command"]["ended"] > done.data["command"]["began"] >= 0.1
    waits = f'{sys.executable} -c "import time; time.sleep(600)"'
    stopped = run_here(*given, waits)
    assert (stopped.code, stopped.stderr) == (ExitCode.OK, "")
    assert stopped.data["command"]["exit_code"] == -signal.SIGTERM
    assert stopped.data["command"]["ended"] is None


@ONE_MODEL
def test_command_that_fails_is_an_error(run_here: Command, loaded: Target, manifest: Manifest, tmp_path: Path) -> None:
    """A test without its fault proves nothing, and the page says so first; an exceeded bound is one all the same."""
    given = ("taps", manifest.path, "--for", "300ms", "--rate", "50", "--run", "sh -c 'exit 3'")
    page = tmp_path / "taps.html"
    done = run_here(*given, "--report", page)
    assert done.code == ExitCode.COMMAND
    assert "error: --run sh -c 'exit 3': the command ended with exit code 3, so this test does not count (" in (
        done.stderr
    )
    assert "<h1>This test does not count" in page.read_text()
    both = run_here(*given, "--max-p99", "0.001ms", "--json")
    assert both.code == ExitCode.BOUNDS
    assert both.data["command"]["exit_code"] == 3
    assert "the command ended with exit code 3" in both.data["error"]


@ONE_MODEL
def test_command_that_never_began_is_an_error(run_here: Command, loaded: Target, manifest: Manifest) -> None:
    """The only tap is served at once, so the test is over before the tenth of its time."""
    done = run_here("taps", manifest.path, "--for", "10s", "--rate", "0.1", "--run", "true")
    assert done.code == ExitCode.COMMAND
    assert "the taps ended before the command began, so this test does not count (give a longer --for)" in done.stderr


@ONE_MODEL
def test_program_that_does_not_exist_is_an_error_at_once(run_here: Command, loaded: Target, manifest: Manifest) -> None:
    """Not after the minutes of the test."""
    done = run_here("taps", manifest.path, "--for", "1h", "--run", "no-such-program --now")
    assert done.code == ExitCode.FILE
    assert "no-such-program: is not a program that can be run (correct --run; it is not run by a shell" in done.stderr


@ONE_MODEL
def test_command_is_not_run_after_an_interruption(loaded: Target, manifest: Manifest, tmp_path: Path) -> None:
    """Ctrl-C before its time: a node is not stopped when nobody expects it any more."""
    flag = tmp_path / "flag"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tap_cards(
            loaded, [manifest], rate=50, duration=5, command=["/bin/sh", "-c", f"echo >{flag}"], on_progress=interrupt
        )
    assert not flag.exists()


@THOROUGH
@ONE_MODEL
def test_command_that_ignores_sigterm_is_killed(
    loaded: Target, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was started for the test runs on after it."""
    monkeypatch.setattr("dataloader.operations.taps.GRACE", 0.2)
    command = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 600; done"]
    result = tap_cards(loaded, [manifest], rate=50, duration=1, command=command)
    assert result.command_code == -signal.SIGKILL


def test_rate_must_be_a_number(here: Command, tmp_path: Path) -> None:
    """``nan`` is in no range."""
    done = here("taps", tmp_path / "spring.batch.jsonl", "--rate", "nan")
    assert done.code == ExitCode.USAGE
    assert "is not a number" in done.stderr


def test_latency_counts_from_the_time_a_tap_was_due() -> None:
    """Percentiles, outages and seconds are those that users would see."""
    taps = [Tap(at / 10, 0.010) for at in range(97)]
    taps += [Tap(9.7, 0.5), Tap(9.8, 2.0, "unreachable"), Tap(9.9, 3.0, "unreachable")]
    result = TapsResult(taps)
    assert result.quantile(0.5) == 0.010
    assert result.quantile(0.99) == 2.0
    assert result.quantile(1) == 3.0
    assert result.available == 0.98
    assert result.longest_outage == pytest.approx(3.1)
    last = result.by_second()[-1]
    assert (last.taps, last.failed, last.slowest) == (10, 2, 3.0)
    assert check_bounds(result, 2.0, 0.98) == []
    assert len(check_bounds(result, 1.9, 0.981)) == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("60s", 60), ("5m", 300), ("2min", 120), ("1h", 3600), ("7", 7)]
)
def test_durations_are_parsed(text: str, seconds: float) -> None:
    """A number with a unit, or seconds."""
    assert parse_time(text, "--for") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0s", "-1s", "5 parsecs", "nan", "inf", "s", "1e999s"])
def test_invalid_durations_are_rejected(text: str) -> None:
    """The error names the option and gives an example."""
    with pytest.raises(UsageError, match="--for"):
        parse_time(text, "--for")


def test_percentages_are_parsed() -> None:
    """With or without the percent sign."""
    assert parse_part("99.9%", "--min-available") == pytest.approx(0.999)
    assert parse_part("50", "--min-available") == pytest.approx(0.5)
    for text in ("0%", "101%", "all"):
        with pytest.raises(UsageError, match="--min-available"):
            parse_part(text, "--min-available")
