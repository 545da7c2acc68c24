"""The command ``status``: the state of batches in numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dataloader.batch import CardFile, Reconciled, find_reconciled
from dataloader.cli._cards import CardLines
from dataloader.cli._command import command
from dataloader.cli._history import read_history
from dataloader.cli._manifests import get_manifests, rounds_json, rounds_text
from dataloader.cli._options import (
    HistoryOptions,
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    history_options,
    manifest_argument,
    report_options,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.cli._table import table
from dataloader.common import ExitCode, many, now
from dataloader.operations import BatchStatus, CardVerdict, StatusResult, VerifyVerdict
from dataloader.operations import status as status_of
from dataloader.report import History, Moment, Noted, status_report


@command(short_help="Show the state of batches: loaded, edited, revoked, wrong.")
@manifest_argument(required=True)
@target_options
@snapset_options
@report_options
@history_options
@global_options
@click.pass_obj
def status(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    report_options: ReportOptions,
    history_options: HistoryOptions,
    manifests: tuple[Path, ...],
) -> ExitCode:
    """Show the state of batches: cards minted, encoded, loaded, edited, revoked, missing, and wrong.

    Edited cards were changed by their owners. Cards that are not loaded yet do not count as a failure. The number of
    encoded cards comes from the newest NAME.reconciled.jsonl next to the manifest, or from the one given instead.

    \b
    Example:
      dataloader status batches/spring.batch.jsonl --target production
    """
    earlier = read_history(history_options, report_options, lambda data: {"": _drawn(data)})
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    read = get_manifests(manifests)
    beside = [None if isinstance(each, Reconciled) else find_reconciled(each) for each in read]
    rounds = [each for each in beside if each is not None]
    cards = CardLines(report_options.full)
    noted: Noted[CardVerdict] = Noted()

    def note(manifest: CardFile, card: CardVerdict) -> None:
        if card.verdict is VerifyVerdict.WRONG:
            noted(VerifyVerdict.WRONG, card)
        cards(manifest, card.uuid, card.told(manifest))

    server = get_server(target)
    time = now()
    progress = Progress(output, "cards", whole=sum(each.count for each in read))
    with reporting(output, report_options, "Status", read, target, server) as report:
        with progress:
            result = status_of(server, target, read, snapsets, on_progress=progress, on_wrong=note)
        output.result(
            {"time": time, **_status_json(result), **rounds_json(rounds)},
            [*rounds_text(rounds), *_status_text(result)],
        )
        output.warnings(result.warnings)
        output.warnings(cards.lines(), in_report=True)
        for batch in result.batches:
            if batch.encoded is not None and batch.loaded > batch.encoded:
                rest = f"but only {batch.encoded:,} came back encoded"
                output.warn(f"batch {batch.name}: {batch.loaded:,} cards are loaded, {rest}; revoke the others")
        wrong = result.total.wrong
        code = ExitCode.VERIFY if wrong else ExitCode.OK
        moment = Moment(time, _drawn(_counts(result.total)))
        history = History("Over time", (*earlier.get("", ()), moment))
        report(lambda: replace(status_report(read, result, noted), histories=(history,)), code)
    if wrong:
        output.error(f"{many(wrong, 'card')} wrong (`dataloader verify` says what is wrong with each)", code)
    return code


_DRAWN = ("loaded", "edited", "revoked", "missing", "wrong")
"""What a report draws over time."""


def _drawn(counts: Mapping[str, Any]) -> dict[str, int]:
    return {column: counts[column] for column in _DRAWN}


_COLUMNS = ("minted", "encoded", "loaded", "edited", "revoked", "missing", "wrong")


def _status_json(result: StatusResult) -> dict[str, Any]:
    return {
        **_counts(result.total),
        "batches": [{"name": each.name, **_counts(each)} for each in result.batches],
        "seconds": round(result.seconds, 3),
    }


def _counts(batch: BatchStatus) -> dict[str, int | None]:
    return {column: getattr(batch, column) for column in _COLUMNS}


def _status_text(result: StatusResult) -> Iterator[str]:
    rows = [*result.batches, *([result.total] if len(result.batches) > 1 else [])]
    heads = ["batch", *(column.replace("_", " ") for column in _COLUMNS)]
    yield from table(
        [(each.name, *("?" if number is None else number for number in _counts(each).values())) for each in rows], heads
    )
