"""The command ``taps``: tap cards at a steady rate, and measure how fast they are served."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from dataloader.cli._command import command
from dataloader.cli._manifests import get_manifests
from dataloader.cli._options import (
    Number,
    ReportOptions,
    TargetOptions,
    get_server,
    get_target,
    manifest_argument,
    report_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.common import ExitCode, UsageError, many
from dataloader.operations import QUANTILES, TapsResult, check_bounds, parse_part, parse_time, tap_cards
from dataloader.report import taps_report


@command(short_help="Measure how quickly and reliably cards are served.")
@manifest_argument(required=True)
@target_options
@click.option("--rate", type=Number(min=0.1, max=10_000), default=20, metavar="N", help="Taps a second (default: 20).")
@click.option("--for", "duration", default="60s", metavar="TIME", help="How long, such as 90s or 5m (default: 60s).")
@click.option("--max-p99", metavar="TIME", help="Fail if the slowest 1 % of the taps take longer, such as 500ms.")
@click.option("--min-available", metavar="PERCENT", help="Fail if fewer of the taps are served, such as 99.9%.")
@click.option(
    "--run", "fault", metavar="COMMAND", help="Run this command during the test, such as one that stops a node."
)
@report_options
@global_options
@click.pass_obj
def taps(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    report_options: ReportOptions,
    manifests: tuple[Path, ...],
    rate: float,
    duration: str,
    max_p99: str | None,
    min_available: str | None,
    fault: str | None,
) -> ExitCode:
    """Tap cards at a steady rate, with the requests that the real servers make, over several connections.

    Reports latency and availability over time. If a bound is exceeded, the exit code is 14, so that a build can fail.
    Taps are not retried, and nothing is written.

    With --run, a command is run after a tenth of the time, for example to stop a node, load a batch or change a view.
    If the command fails, the exit code is 16: a fault that did not happen proves nothing. If it still runs at the end,
    it is stopped.

    \b
    Example:
      dataloader taps batches/spring.reconciled.jsonl --target staging --rate 20 --for 60s --max-p99 500ms
    """
    seconds = parse_time(duration, "--for")
    if max_p99 is not None and max_p99.strip().isdecimal():
        # As seconds, the bound would never be exceeded.
        raise UsageError(f"--max-p99 {max_p99}", rule="has no unit", todo=f"write {max_p99}ms or {max_p99}s")
    bounds = (
        None if max_p99 is None else parse_time(max_p99, "--max-p99"),
        None if min_available is None else parse_part(min_available, "--min-available"),
    )
    try:
        words = [] if fault is None else shlex.split(fault)
    except ValueError as error:
        raise UsageError(f"--run {fault}", rule=f"is not a command: {error}", todo="correct the quotes") from error
    target = get_target(output, target_options)
    read = get_manifests(manifests)
    progress = Progress(output, "taps")
    with reporting(output, report_options, "Tap test", read, target, get_server(target)) as report:
        with progress:
            result = tap_cards(target, read, rate=rate, duration=seconds, command=words, on_progress=progress)
        broken = check_bounds(result, *bounds)
        output.result(_json(result, rate, broken), _text(result))
        if result.skipped:
            output.warn(f"skipped {many(result.skipped, 'card')} not served before the test began")
        problem = result.command_problem
        code = ExitCode.BOUNDS if broken else ExitCode.COMMAND if problem else ExitCode.OK
        report(lambda: taps_report(result, rate, broken), code)
    if problem:
        todo = _todo(result, words)
        output.error(f"--run {fault}: {problem}, so this test does not count ({todo})", ExitCode.COMMAND)
    for each in broken:
        output.error(f"{each} (--report draws when; the server's log says why)", code)
    return code


def _todo(result: TapsResult, words: Sequence[str]) -> str:
    if result.command_began is None:
        return "give a longer --for"
    alone = "try it on its own"
    return (
        alone if words[0].endswith("sh") else f"{alone}; it is not run by a shell: for one, write --run \"sh -c '…'\""
    )


def _json(result: TapsResult, rate: float, broken: Sequence[str]) -> dict[str, Any]:
    return {
        "taps": len(result.taps),
        "failed": len(result.failed),
        "available": round(result.available, 6),
        "milliseconds": {name: round(result.quantile(part) * 1000, 1) for name, part in QUANTILES.items()},
        "longest_outage_seconds": round(result.longest_outage, 3),
        "rate": rate,
        "cards": result.cards,
        "skipped": result.skipped,
        "seconds": round(result.seconds, 3),
        "by_second": [
            {"taps": each.taps, "failed": each.failed, "slowest_milliseconds": round(each.slowest * 1000, 1)}
            for each in result.by_second()
        ],
        "command": None
        if not result.command
        else {
            "began": None if result.command_began is None else round(result.command_began, 3),
            "ended": None if result.command_ended is None else round(result.command_ended, 3),
            "exit_code": result.command_code,
        },
        "broken": list(broken),
    }


def _text(result: TapsResult) -> Iterator[str]:
    yield f"{many(len(result.taps), 'tap')} on {many(result.cards, 'card')} in {result.seconds:.1f} s"
    yield f"served: {result.available:.3%}, {many(len(result.failed), 'tap')} not served"
    yield "latency: " + ", ".join(f"{name} {result.quantile(part) * 1000:,.0f} ms" for name, part in QUANTILES.items())
    if result.command_times:
        yield f"command: {result.command_times}"
    if result.failed:
        yield f"longest time without a served tap: {result.longest_outage:.1f} s"
        yield f"first failure: {result.failed[0].failure} (after {result.failed[0].due:.1f} s)"
