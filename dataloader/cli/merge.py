"""The command ``merge``: merge preference sets that two people edited at once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from dataloader.batch import CardFile
from dataloader.cli._changes import term_text, value_json, value_text
from dataloader.cli._command import command
from dataloader.cli._confirm import confirmed
from dataloader.cli._next import manifest_words, option_words, target_words
from dataloader.cli._options import (
    SnapsetOptions,
    TargetOptions,
    get_manifests,
    get_server,
    get_snapsets,
    get_target,
    manifest_argument,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options, tell_of_copies
from dataloader.cli._progress import Progress
from dataloader.common import ExitCode, listed, many
from dataloader.operations import Branch, MergeResult, SetInConflict, all_sources, find_conflicts
from dataloader.operations import merge as merge_sets


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
@global_options
@click.pass_obj
def merge(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
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
    progress = Progress(output, whole=sum(each.count for each in sources))
    try:
        found = find_conflicts(server, target, sources, keep=keep, on_progress=progress)
    finally:
        progress.close()
    lines = [*_conflicts(found, read, values=values, full=output.full)]
    ready = sum(each.merged is not None for each in found.open)
    if ready and not dry_run:
        if not yes:
            for line in lines:
                output.log("info", line)
            lines = []
            where = f"{target.address.url} ({target.environment})"
            if not confirmed(f"this merges {many(ready, 'preference set')} at {where}"):
                output.error("cancelled: nothing was written", ExitCode.INTERRUPTED)
                return ExitCode.INTERRUPTED
        progress = Progress(output, "sets")
        try:
            found = merge_sets(server, target, found, on_progress=progress)
        finally:
            progress.close()
    output.result(_json(found, values=values), [*lines, _summary(found)])
    output.warnings(f"--keep {each}: matches no revision in conflict" for each in found.unused)
    if found.leftovers:
        output.warn(f"{many(found.leftovers, 'document')} left by an interrupted load (run `dataloader load` first)")
    if dry_run:
        if ready:
            context = click.get_current_context()
            target_and_kept = target_words(context) + option_words(context, "keep")
            output.next(f"dataloader merge {manifest_words(context)}{target_and_kept}")
        return ExitCode.OK
    output.warnings(f"document {each.id}: rejected by the server: {each.reason}" for each in found.rejections)
    code = tell_of_copies(output, found.nodes_away, short=found.short_of_copies)
    if not found.open:
        return code
    which = "1 preference set is" if len(found.open) == 1 else f"{len(found.open):,} preference sets are"
    output.error(f"{which} still in conflict ({_todo(found)})", ExitCode.ATTENTION)
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
    return f"{many(len(found.open), 'preference set')} in conflict, {len(found.merged):,} merged"


def _conflicts(found: MergeResult, manifests: Sequence[CardFile], *, values: bool, full: bool) -> Iterator[str]:
    """Yield the sets in conflict, each with what its revisions changed, and whether they can be merged."""
    by_card = {each.key: each for each in found.open}
    for manifest in manifests if by_card else ():
        for card in manifest.cards():
            if card.uuid in by_card:
                yield f"batch {manifest.header.name}, card {card.number} ({card.uuid}):"
                yield from _lines(by_card[card.uuid], values=values, full=full)


def _lines(found: SetInConflict, *, values: bool, full: bool) -> Iterator[str]:
    for branch in found.branches:
        rev = branch.rev if full else branch.rev[: branch.rev.index("-") + 1 + _SHOWN_DIGITS]
        yield f"  {rev}: {_changed(branch, values=values)}"
    if found.merged is not None:
        yield "  can be merged"
    elif found.clashes and found.is_comparable:
        yield f"  both changed {listed([term_text(each) for each in found.clashes])}; choose one with --keep"
    else:
        yield "  cannot be compared term by term; choose the one to keep whole with --keep"


_SHOWN_DIGITS = 8
"""Digits of a revision to show, as for --keep."""


def _changed(branch: Branch, *, values: bool) -> str:
    if branch.changed is None:
        return "what it changed is unknown: the server no longer has the loaded version"
    said = [
        f"{term_text(each.term)} = {value_text(each.after)}" if values else term_text(each.term)
        for each in branch.changed
    ]
    return f"changed {listed(said)}" if said else "changed nothing"


def _json(found: MergeResult, *, values: bool) -> dict[str, Any]:
    return {
        "merged": [each.id for each in found.merged],
        "open": [_set_json(each, values=values) for each in found.open],
        "leftovers": found.leftovers,
        "failed": len(found.rejections),
        "nodes_away": list(found.nodes_away),
        "short_of_copies": found.short_of_copies,
    }


def _set_json(found: SetInConflict, *, values: bool) -> dict[str, Any]:
    return {
        "database": found.database,
        "_id": found.id,
        "can_be_merged": found.merged is not None,
        "clashes": [each._asdict() for each in found.clashes],
        "revisions": [{"_rev": each.rev, "changed": _terms_json(each, values=values)} for each in found.branches],
    }


def _terms_json(branch: Branch, *, values: bool) -> Sequence[dict[str, Any]] | None:
    if branch.changed is None:
        return None
    return [{**each.term._asdict(), **(value_json("value", each.after) if values else {})} for each in branch.changed]
