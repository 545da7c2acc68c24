"""The command ``batches``: the batches in a folder, and the next step for each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dataloader.cli._command import command
from dataloader.cli._options import (
    PATH,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._table import table
from dataloader.common import ExitCode, many
from dataloader.operations import BatchStatus, FoundBatch, find_batches, next_step
from dataloader.operations import status as status_of


@command(short_help="List the batches in a folder, and the next step for each.")
@click.argument("folder", type=PATH, default=Path(), metavar="[DIR]")
@target_options
@snapset_options
@global_options
@click.pass_obj
def batches(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    folder: Path,
) -> ExitCode:
    """List the batches in a folder: rounds that came back, cards ready, and the next step for each.

    With a target, also how many cards are loaded, edited and revoked there.

    \b
    Example:
      dataloader batches batches --target production
    """
    found = find_batches(folder)
    states: dict[str, BatchStatus] = {}
    if target_options.is_named:
        target = get_target(output, target_options)
        snapsets = get_snapsets(output, snapset_options, target)
        server = get_server(target)
        progress = Progress(output, "cards")
        try:
            manifests = [each.manifest for each in found.batches]
            result = status_of(server, target, manifests, snapsets, on_progress=progress)
        finally:
            progress.close()
        states = {
            each.manifest.header.digest: status for each, status in zip(found.batches, result.batches, strict=True)
        }
    output.result(
        {"batches": [_json(each, states.get(each.manifest.header.digest)) for each in found.batches]},
        _text(found.batches, states),
    )
    output.warnings(found.problems)
    return ExitCode.OK


def _json(batch: FoundBatch, status: BatchStatus | None) -> dict[str, Any]:
    header = batch.manifest.header
    return {
        "name": header.name,
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
        "next": next_step(batch, status),
    }


def _text(found: tuple[FoundBatch, ...], states: dict[str, BatchStatus]) -> Iterator[str]:
    if not found:
        yield "no batches here"
        return
    heads = ["batch", "cards", "rounds", "ready", "again", *(("loaded", "edited", "revoked") if states else ())]
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
        yield f"  {each.manifest.header.name}: {next_step(each, states.get(each.manifest.header.digest))}"
