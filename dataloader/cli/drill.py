"""The command ``drill``: prove that a backup can be restored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dataloader.cli._command import command
from dataloader.cli._manifests import get_manifests
from dataloader.cli._next import manifest_words, target_words
from dataloader.cli._options import (
    PATH,
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    manifest_argument,
    report_options,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.cli._table import table
from dataloader.cli.backup import get_password, password_option, size_of
from dataloader.common import ExitCode, listed, many
from dataloader.operations import DrillResult
from dataloader.operations import drill as run_drill
from dataloader.report import drill_answers, drill_report


@command(short_help="Prove that a backup can be restored.")
@manifest_argument(required=False)
@target_options
@snapset_options
@password_option
@click.option(
    "--backups", type=PATH, metavar="DIR", help="The folder of the backups; the drill's own backup is kept there, too."
)
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Check only N cards of each batch, chosen at random."
)
@report_options
@global_options
@click.pass_obj
def drill(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    report_options: ReportOptions,
    manifests: tuple[Path, ...],
    password_file: Path | None,
    backups: Path | None,
    sample: int | None,
) -> ExitCode:
    """Back up a target, restore it under another prefix, compare every revision, check cards, and delete the copy.

    Reports how much data would be lost if the databases were lost now, and how long it takes to restore them. The
    target is only read. For a cron job: the exit code is 0 only if the copy is complete, and every card that works in
    the target works in it.

    \b
    Example:
      dataloader drill batches/spring.batch.jsonl --target production --backups backups/
    """
    context = click.get_current_context()
    password = get_password(output, password_file)
    target = get_target(output, target_options)
    read = get_manifests(manifests)
    snapsets = get_snapsets(output, snapset_options, target) if read else None
    server = get_server(target)
    progress = Progress(output)
    with reporting(output, report_options, "Drill", read, target, server) as report:
        with progress:
            result = run_drill(
                server,
                target,
                folder=backups,
                password=password,
                manifests=read,
                snapsets=snapsets,
                sample=sample,
                on_progress=progress,
            )
        output.result(_json(result), _text(result))
        code = ExitCode.VERIFY if not result.good else ExitCode.OK if result.synchronized else ExitCode.NODES
        report(lambda: drill_report(result), code)
    if result.leftovers:
        output.warn(f"deleted what an interrupted drill left: {listed(result.leftovers)}")
    for each in result.differences:
        output.warn(each)
    if result.cards_broken:
        cards = many(result.cards_broken, "card")
        verify = f"dataloader verify {manifest_words(context)}{target_words(context)}"
        output.warn(f"{cards} not working in the target either, so the drill does not count them (run `{verify}`)")
    if not result.good:
        what = many(result.difference_count, "difference") if result.difference_count else ""
        cards = many(result.cards_not_working, "card") + " not working" if result.cards_not_working else ""
        todo = "keep the older backups, and find the cause before you rely on new ones"
        found = " and ".join(filter(None, (what, cards)))
        output.error(f"the restored copy differs from the backup: {found} ({todo})", code)
    elif not result.synchronized:
        todo = "when all nodes are up, run the drill again"
        output.error(f"the backup may lack changes that some nodes do not have ({todo})", code)
    return code


def _json(result: DrillResult) -> dict[str, Any]:
    return {
        "good": result.good,
        "backup": None if result.path is None else str(result.path),
        "bytes": result.size,
        "leaves": result.leaves,
        "differences": result.difference_count,
        "cards": result.cards,
        "cards_not_working": result.cards_not_working,
        "cards_broken": result.cards_broken,
        "last_backup": result.last_backup,
        "changes_at_risk": result.changes_at_risk,
        "seconds_to_restore": result.seconds_to_restore,
        "steps": result.steps,
        "synchronized": result.synchronized,
        "leftovers": result.leftovers,
    }


def _text(result: DrillResult) -> Iterator[str]:
    yield from table([(name, f"{seconds:.1f} s") for name, seconds in result.steps.items()])
    kept = "not kept" if result.path is None else str(result.path)
    yield f"backup of {many(result.leaves, 'revision')}, {size_of(result.size)}: {kept}"
    if result.good:
        cards = f"; checked {many(result.cards, 'card')} in it" if result.cards else ""
        yield f"the restored copy matches the backup{cards}"
    for answer in drill_answers(result):
        yield f"{answer[0].lower()}{answer[1:]}".rstrip(".")
