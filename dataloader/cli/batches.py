"""The command ``batches``: the batches in a folder, and the next step for each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

import click

from dataloader.cli._command import command
from dataloader.cli._history import read_history
from dataloader.cli._next import INIT, any_target, only_target, target_words
from dataloader.cli._options import (
    PATH,
    HistoryOptions,
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    history_options,
    report_options,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.cli._table import table
from dataloader.common import ExitCode, many, now
from dataloader.operations import BatchStatus, Folder, FoundBatch, find_batches, next_step
from dataloader.operations import status as status_of
from dataloader.report import History, Moment, batches_report


@command(short_help="List the batches in a folder, and the next step for each.")
@click.argument("folder", type=PATH, default=Path(), metavar="[DIR]")
@target_options
@snapset_options
@report_options
@history_options
@global_options
@click.pass_obj
def batches(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    report_options: ReportOptions,
    history_options: HistoryOptions,
    folder: Path,
) -> ExitCode:
    """List the batches in a folder: reconciled rounds, encoded cards, and the next step for each.

    With a target, also how many cards are loaded, edited and revoked there. A report can draw the history of each
    batch: keep the output of --json, and name it with --history.

    \b
    Example:
      dataloader batches batches --target production
    """
    earlier = read_history(history_options, report_options, _drawn_by_batch)
    found = find_batches(folder)
    manifests = [each.manifest for each in found.batches]
    states: dict[str, BatchStatus] = {}
    target = server = None
    if target_options.is_named:
        target = get_target(output, target_options)
        server = get_server(target)
    context = click.get_current_context()
    options = output.masked(target_words(context) or ("" if target_options.is_named else only_target("")))
    time = now()
    with reporting(output, report_options, "Overview", manifests, target, server) as report:
        if target is not None and server is not None:
            snapsets = get_snapsets(output, snapset_options, target)
            with Progress(output, "cards", whole=sum(each.count for each in manifests)) as progress:
                result = status_of(server, target, manifests, snapsets, on_progress=progress)
            output.warnings(result.warnings)
            digests = [each.header.digest for each in manifests]
            states = dict(zip(digests, result.batches, strict=True))
        data = {"time": time, "batches": [_json(each, states, options) for each in found.batches]}
        output.result(data, _text(found, states, options))
        output.warnings(found.problems)
        present = _drawn_by_batch(data)
        histories = tuple(
            History(
                f"Batch {each.header.name} over time",
                (*earlier.get(each.header.digest, ()), Moment(time, present[each.header.digest])),
            )
            for each in manifests
        )
        where = folder.resolve().name or str(folder)
        report(lambda: replace(batches_report(where, found.batches, states, options), histories=histories), ExitCode.OK)
    if found.batches or not found.problems:
        following = _next(folder, found.batches, states, options, has_target=target is not None)
        if following:
            output.next(following)
    return ExitCode.OK


def _next(
    folder: Path, found: Sequence[FoundBatch], states: Mapping[str, BatchStatus], options: str, *, has_target: bool
) -> str:
    """Return what to type next, or nothing if the steps that are listed for the batches say it."""
    if not found:
        return "dataloader help generate"
    known = None if has_target else any_target()
    if known is not None:
        return f"dataloader batches{'' if folder == Path() else f' {quote(str(folder))}'}{known}"
    steps = [next_step(each, states.get(each.manifest.header.digest), options) for each in found]
    waiting = next((step for step in steps if step.command), None)
    if waiting is None:
        newest = " ".join(quote(str((each.newest or each.manifest).path)) for each in found)
        return f"dataloader verify {newest}{options}"
    return INIT if waiting.command.startswith("dataloader load ") and not has_target else ""


_DRAWN = ("encoded", "loaded", "edited", "revoked", "wrong")
"""What a report draws over time."""


def _drawn_by_batch(data: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return what to draw for each batch, by its digest."""
    return {
        each["digest"]: {"encoded": each["ready"] or 0, **{name: each[name] for name in _DRAWN if name in each}}
        for each in data["batches"]
    }


def _json(batch: FoundBatch, states: Mapping[str, BatchStatus], options: str) -> dict[str, Any]:
    header = batch.manifest.header
    status = states.get(header.digest)
    return {
        "name": header.name,
        "digest": header.digest,
        "manifest": str(batch.manifest.path),
        "cards": header.cards,
        "spares": sum(header.spares.values()),
        "rounds": [
            {
                "file": str(each.path),
                "encoded": each.count,
                "spares_unused": each.counts.spares_unused,
                **{verdict.value: count for verdict, count in each.counts.left_out.items()},
            }
            for each in batch.rounds
        ],
        "ready": batch.ready,
        "to_encode": batch.to_encode,
        **(
            {}
            if status is None
            else {
                "loaded": status.loaded,
                "edited": status.edited,
                "revoked": status.revoked,
                "wrong": status.wrong,
            }
        ),
        "next": str(next_step(batch, status, options)),
    }


def _text(folder: Folder, states: Mapping[str, BatchStatus], options: str) -> Iterator[str]:
    found = folder.batches
    if not found:
        yield "no batch that can be read" if folder.problems else "no batches here"
        return
    heads = ["batch", "cards", "rounds", "encoded", "again", *(("loaded", "edited", "revoked") if states else ())]
    rows: list[tuple[object, ...]] = []
    for each in found:
        status = states.get(each.manifest.header.digest)
        on_target = () if status is None else (status.loaded, status.edited, status.revoked)
        ready = "?" if each.ready is None else each.ready
        rows.append(
            (each.manifest.header.name, each.manifest.header.cards, len(each.rounds), ready, each.to_encode, *on_target)
        )
    yield from table(rows, heads)
    yield ""
    yield f"next for {many(len(found), 'batch', 'batches')}:"
    for each in found:
        step = next_step(each, states.get(each.manifest.header.digest), options)
        words = f" {step.words}" if step.words else ""
        then = ", then" if words and step.command else ""
        yield f"  {each.manifest.header.name}:{words}{then}"
        if step.command:
            yield f"    {step.command}"
