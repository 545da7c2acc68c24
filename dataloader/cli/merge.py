"""The command ``merge``: merge preference sets that two people edited at once."""

from pathlib import Path
from typing import Any

import click

from dataloader.cli._changes import conflict_json, conflicts_text
from dataloader.cli._command import command
from dataloader.cli._confirm import cancelled, confirmed
from dataloader.cli._manifests import get_manifests
from dataloader.cli._next import manifest_words, option_words, target_words
from dataloader.cli._options import (
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
from dataloader.cli._output import Output, global_options, tell_of_copies
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.common import ExitCode, are, many
from dataloader.operations import MergeResult, all_sources, find_conflicts
from dataloader.operations import merge as merge_sets
from dataloader.report import merge_report


@command(short_help="Merge preference sets that were edited twice at once.")
@manifest_argument(required=True)
@target_options
@click.option(
    "--keep",
    multiple=True,
    metavar="REVISION",
    help="Where both edits changed a term, keep this revision's value; its first characters are enough. Repeatable.",
)
@click.option("--values", is_flag=True, help="Also show the values that owners chose, which are personal.")
@click.option("--dry-run", is_flag=True, help="Only show the conflicts; write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@snapset_options
@report_options
@global_options
@click.pass_obj
def merge(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    report_options: ReportOptions,
    manifests: tuple[Path, ...],
    keep: tuple[str, ...],
    values: bool,
    dry_run: bool,
    yes: bool,
) -> ExitCode:
    """Show the preference sets of cards that are in conflict, and merge them.

    A set is in conflict if it was edited twice at once, on two nodes of a cluster or in two replicated databases. The
    servers then use one of the edits. Where the edits changed different terms, both are kept. Where they changed the
    same term, choose one with --keep. What is deleted stays in the deleted revision until it is purged.

    \b
    Example:
      dataloader merge batches/spring.batch.jsonl --target production --dry-run
    """
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    read = get_manifests(manifests)
    sources = all_sources(target, read, snapsets)
    server = get_server(target)
    with reporting(output, report_options, "Merge", read, target, server, writes=not dry_run) as report:
        with Progress(output, whole=sum(each.count for each in sources)) as progress:
            found = find_conflicts(server, target, sources, keep=keep, on_progress=progress)
        lines = [*conflicts_text(found.open, read, values=values, full=output.full)]
        ready = sum(each.merged is not None for each in found.open)
        if ready and not dry_run:
            if not yes:
                for line in lines:
                    output.log("info", line)
                lines = []
                if not confirmed(f"this merges {many(ready, 'preference set')} at {target.where}"):
                    report(lambda: merge_report(read, found, dry_run=True, values=values), ExitCode.INTERRUPTED)
                    return cancelled(output)
            with Progress(output, "sets") as progress:
                found = merge_sets(server, target, found, on_progress=progress)
        output.result(_json(found, values=values), [*lines, _summary(found)])
        output.warnings(f"--keep {each}: matches no revision in conflict" for each in found.unused)
        if found.leftovers:
            leftovers = many(found.leftovers, "document")
            output.warn(f"{leftovers} left by an interrupted load (run `dataloader load` first)")
        code = ExitCode.OK if dry_run else _code(output, found)
        report(lambda: merge_report(read, found, dry_run=dry_run, values=values), code)
    if dry_run and found.open:
        output.next(_next(found, values=values))
    return code


def _next(found: MergeResult, *, values: bool) -> str:
    """Return what to type after a dry run: merge what can be merged, or see the values, which tell what to choose."""
    context = click.get_current_context()
    call = f"dataloader merge {manifest_words(context)}{target_words(context)}{option_words(context, 'keep')}"
    choose = [each for each in found.open if each.merged is None]
    if len(choose) < len(found.open):
        return call
    if not values:
        return f"{call} --dry-run --values"
    return f"choose a revision of each set, such as {call} --keep {choose[0].branches[0].short_rev}"


def _code(output: Output, found: MergeResult) -> ExitCode:
    """Print what is still to do after a merge, and return the exit code."""
    output.warnings(
        (f"document {each.id}: rejected by the server: {each.reason}" for each in found.rejections), in_report=True
    )
    code = tell_of_copies(output, found.nodes_away, short=found.short_of_copies)
    if not found.open:
        return code
    sets = f"{many(len(found.open), 'preference set')} {are(len(found.open))}"
    output.error(f"{sets} still in conflict ({_todo(found)})", ExitCode.ATTENTION)
    return ExitCode.ATTENTION


def _todo(found: MergeResult) -> str:
    if any(each.merged is None for each in found.open):
        return "choose with --keep"
    return (
        "fix the cause that the server gives, then run it again"
        if found.rejections
        else "edited meanwhile; run it again"
    )


def _summary(found: MergeResult) -> str:
    if not found.merged and not found.open:
        return "no preference set is in conflict"
    if not found.open:
        return f"{many(len(found.merged), 'preference set')} merged, none in conflict any more"
    return f"{many(len(found.open), 'preference set')} in conflict, {len(found.merged):,} merged"


def _json(found: MergeResult, *, values: bool) -> dict[str, Any]:
    return {
        "merged": [each.id for each in found.merged],
        "open": [conflict_json(each, values=values) for each in found.open],
        "leftovers": found.leftovers,
        "failed": len(found.rejections),
        "nodes_away": list(found.nodes_away),
        "short_of_copies": found.short_of_copies,
    }
