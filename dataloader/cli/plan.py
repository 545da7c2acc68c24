"""The command ``plan``: what a load would do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Any

import click

from dataloader.batch import CardFile, Reconciled
from dataloader.cli._changes import changes_json, changes_text, plan_conflicts_text
from dataloader.cli._command import command
from dataloader.cli._manifests import (
    get_manifests,
    left_out_json,
    left_out_text,
    newer_than,
    refuse_doubtful,
    rounds_json,
    rounds_text,
    tell_of_reconciled,
)
from dataloader.cli._next import manifest_words, option_words, target_words
from dataloader.cli._options import (
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    manifest_argument,
    raised_text,
    report_options,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.cli._write import collect_findings, counts_json, counts_text, load_details, snapset_warnings
from dataloader.common import DataloaderError, ExitCode, UsageError
from dataloader.operations import Changes, Conflicts, Edits, Outcome, Plan, Source, all_sources
from dataloader.operations import plan as plan_sources
from dataloader.records import Snapsets
from dataloader.replication import Finding, State
from dataloader.report import plan_report
from dataloader.target import Target


@command(short_help="Show what a load would do; writes nothing.")
@manifest_argument(required=False)
@target_options
@snapset_options
@click.option(
    "--diff", is_flag=True, help="Show what an update would change, what owners have edited, and conflicts, by term."
)
@click.option("--values", is_flag=True, help="With --diff: also show the values that owners chose, which are personal.")
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 0 only if there is nothing to do, and with 15 if there is."
)
@load_details
@report_options
@global_options
@click.pass_obj
def plan(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    report_options: ReportOptions,
    manifests: tuple[Path, ...],
    details: Path | None,
    diff: bool,
    values: bool,
    detailed_exitcode: bool,
) -> ExitCode:
    """Show what a load would do, by database and kind of document. Writes nothing to the target.

    With --diff, also shows what `load --update` would change, by snapset and term, which terms owners have edited, and
    what was changed in preference sets that are in conflict.

    With --detailed-exitcode, the exit code is 0 if there is nothing to do, 15 if a load would create, repair or (with
    --update) replace something, otherwise 9 if documents need a decision. 2 is always a usage error.

    \b
    Example:
      dataloader plan batches/spring.reconciled.jsonl --target production --report plan.html
    """
    if values and not diff:
        raise UsageError("--values", rule="needs --diff", todo="add --diff, or leave --values out")
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    read = get_manifests(manifests)
    rounds = tell_of_reconciled(output, read)
    refused = _tell_of_refusal(output, target, read)
    sources = all_sources(target, read, snapsets)
    wanted = _Wanted(snapsets if diff else None, values=values, detailed_exitcode=detailed_exitcode, refused=refused)
    return show_plan(output, target, read, sources, details, report_options, rounds, wanted)


def _tell_of_refusal(output: Output, target: Target, manifests: Sequence[CardFile]) -> str:
    """Warn if a load would refuse the manifests because of doubtful cards; return why, empty if it would not."""
    try:
        refuse_doubtful(target, manifests)
    except DataloaderError as error:
        output.warn(f"load would refuse this: {error}", in_report=True)
        return str(error)
    return ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to show of a plan besides the states of documents."""

    diff: Snapsets | None = None
    """The snapsets, for a comparison by term."""
    values: bool = False
    detailed_exitcode: bool = False
    refused: str = ""
    """Why a load would refuse the manifests."""


def show_plan(
    output: Output,
    target: Target,
    manifests: Sequence[CardFile],
    sources: Sequence[Source],
    details: Path | None,
    report_options: ReportOptions,
    rounds: Sequence[Reconciled] = (),
    wanted: _Wanted = _Wanted(),
) -> ExitCode:
    """Find out what a load of sources would do, and print it; writes nothing to the target."""
    server = get_server(target)
    progress = Progress(output, whole=sum(each.count for each in sources))
    changes = None if wanted.diff is None else Changes(wanted.diff)
    edits, conflicts = Edits(server, target, values=wanted.values), Conflicts(server, target)
    with (
        reporting(output, report_options, "Plan", manifests, target, server) as report,
        collect_findings(output, target, details) as findings,
    ):

        def note(source: Source, finding: Finding, what: State | Outcome) -> None:
            findings(source, finding, what)
            if changes is not None:
                changes(source, finding, what)
                edits(source, finding, what)
                conflicts(source, finding, what)

        with progress:
            result = plan_sources(server, target, sources, on_progress=progress, on_finding=note)
        values, diff = wanted.values, {}
        difference: Iterator[str] = iter(())
        if changes is not None:
            diff = {"diff": changes_json(changes, edits, conflicts, values=values)}
            in_conflict = plan_conflicts_text(conflicts, manifests, values=values, full=output.full)
            difference = chain(changes_text(changes, edits, in_conflict=bool(conflicts.found)), in_conflict)
        output.result(
            {**_plan_json(target, result), "left_out": left_out_json(manifests), **rounds_json(rounds), **diff},
            [
                *left_out_text(manifests),
                *rounds_text(rounds),
                *_plan_text(target, result),
                *difference,
            ],
        )
        output.warnings(raised_text(target, result.raised))
        output.warnings(snapset_warnings(result.older_snapsets, result.unlisted_snapsets))
        for line in findings.lines:
            output.warn(line, in_report=True)
        code = _detailed_code(result) if wanted.detailed_exitcode else ExitCode.OK
        report(lambda: plan_report(target, manifests, sources, result, findings.noted, wanted.refused), code)
    if code is ExitCode.OK:
        output.next(_next(result, manifests, rounds, refused=bool(wanted.refused), has_conflicts=bool(conflicts.found)))
    return code


_NOT_LOADING = frozenset({"dry_run", "details", "report", "full", "yes", "diff", "values", "detailed_exitcode"})
"""Options of ``plan`` and ``load --dry-run`` that a load after it does not need."""


def _next(
    result: Plan,
    manifests: Sequence[CardFile],
    rounds: Sequence[Reconciled],
    *,
    refused: bool,
    has_conflicts: bool,
) -> str:
    """Return what to type next: a load with the same options, if it has work, nothing is newer, and it is allowed."""
    context = click.get_current_context()
    given, target = manifest_words(context), target_words(context)
    newest = [(newer_than(each) if isinstance(each, Reconciled) else None) or each for each in manifests]
    instead = newest if newest != [*manifests] else rounds if refused else ()
    if instead:
        return f"dataloader plan {' '.join(quote(str(each.path)) for each in instead)}{target}"
    if refused:
        open_ = next(each for each in manifests if not isinstance(each, Reconciled))
        return f"when the cards come back, dataloader reconcile {quote(str(open_.path))} RETURNED"
    if not _has_work(result):
        then = "merge" if has_conflicts else "verify"
        return f"dataloader {then} {given}{target}" if given else f"dataloader check{target}"
    options = option_words(context, *(each for each in context.params if each not in _NOT_LOADING))
    only_outdated = not (result.missing_databases or result.raised or any(map(result.count, _TO_DO[:2])))
    if only_outdated and result.older_snapsets and "--older-snapsets" not in options.split():
        return f"dataloader snapsets diff{target}"
    options += " --update" if only_outdated and "--update" not in options.split() else ""
    what = (
        f" {given}" if given else "" if "--snapsets-only" in options or "--documents" in options else " --snapsets-only"
    )
    return f"dataloader load{what}{options}"


_TO_DO = (State.ABSENT, State.LEFTOVER, State.OUTDATED)
"""States of documents that a load changes by creating, repairing or, with ``--update``, replacing them."""


def _has_work(result: Plan) -> bool:
    """Return whether a load would change anything."""
    return bool(result.missing_databases or result.raised or any(map(result.count, _TO_DO)))


def _detailed_code(result: Plan) -> ExitCode:
    """Return whether there is something to do, as an exit code."""
    if _has_work(result):
        return ExitCode.CHANGES
    undecided = result.count(State.FOREIGN) + result.count(State.CONFLICT)
    return ExitCode.ATTENTION if undecided else ExitCode.OK


def _plan_json(target: Target, result: Plan) -> dict[str, Any]:
    return {
        **{state.value: result.count(state) for state in State},
        "documents": result.documents,
        "missing_databases": result.missing_databases,
        "older_snapsets": result.older_snapsets,
        "unlisted_snapsets": result.unlisted_snapsets,
        "raised": {name: environment.value for name, environment in result.raised.items()},
        "databases": counts_json(target, result.states),
    }


def _plan_text(target: Target, result: Plan) -> Iterator[str]:
    for name in result.missing_databases:
        yield f"would create database {name}"
    yield from counts_text(target, result.states)
    absent, outdated = result.count(State.ABSENT), result.count(State.OUTDATED)
    yield f"{result.documents:,} documents: a load would create {absent:,}" + (
        f", and with --update replace {outdated:,}" if outdated else ""
    )
