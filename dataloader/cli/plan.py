"""The command ``plan``: what a load would do."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from dataloader.batch import CardFile
from dataloader.cli._command import command
from dataloader.cli._options import (
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    get_manifests,
    get_server,
    get_snapsets,
    get_target,
    left_out_json,
    left_out_text,
    manifest_argument,
    raised_text,
    report_options,
    snapset_options,
    target_options,
    tell_of_reconciled,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.cli._table import table
from dataloader.cli._write import collect_findings, load_details, snapset_warnings
from dataloader.common import ExitCode
from dataloader.operations import Plan, Source, all_sources
from dataloader.operations import plan as plan_sources
from dataloader.replication import State
from dataloader.report import plan_report
from dataloader.target import Target


@command(short_help="Tell what a load would do; writes nothing.")
@manifest_argument(required=False)
@target_options
@snapset_options
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
) -> None:
    """Tell what a load would do, by database and kind of document. Writes nothing to the target.

    \b
    Example:
      dataloader plan batches/spring.batch.jsonl --target staging --report plan.html
    """
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    read = get_manifests(manifests)
    tell_of_reconciled(output, read)
    sources = all_sources(target, read, snapsets)
    show_plan(output, target, read, sources, details, report_options)


def show_plan(
    output: Output,
    target: Target,
    manifests: Sequence[CardFile],
    sources: Sequence[Source],
    details: Path | None,
    report_options: ReportOptions,
) -> None:
    """Find out what a load of sources would do, and print it; writes nothing to the target."""
    server = get_server(target)
    progress = Progress(output, whole=sum(each.count for each in sources))
    with (
        reporting(output, report_options, "Plan", manifests, target, server) as report,
        collect_findings(output, target, details) as findings,
    ):
        result = plan_sources(server, target, sources, on_progress=progress, on_finding=findings)
        progress.close()
        output.result(
            {**_plan_json(target, result), "left_out": left_out_json(manifests)},
            [*left_out_text(manifests), *_plan_text(target, result)],
        )
        output.warnings(raised_text(target, result.raised))
        output.warnings(snapset_warnings(result.older_snapsets, result.unlisted_snapsets))
        for line in findings.lines:
            output.warn(line, in_report=True)
        report(lambda: plan_report(target, manifests, sources, result, findings.noted), ExitCode.OK)


def _plan_json(target: Target, result: Plan) -> dict[str, Any]:
    return {
        **{state.value: result.count(state) for state in State},
        "documents": result.documents,
        "missing_databases": result.missing_databases,
        "older_snapsets": result.older_snapsets,
        "unlisted_snapsets": result.unlisted_snapsets,
        "raised": {name: environment.value for name, environment in result.raised.items()},
        "databases": {
            target.database(database): {
                kind: {state.value: count for state, count in counts.items()} for kind, counts in kinds.items()
            }
            for database, kinds in result.states.items()
        },
    }


def _plan_text(target: Target, result: Plan) -> Iterator[str]:
    for name in result.missing_databases:
        yield f"would create database {name}"
    rows: list[tuple[object, ...]] = [
        (count, state.value, f"{target.database(database)}: {kind}")
        for database, kinds in result.states.items()
        for kind, counts in kinds.items()
        for state, count in counts.items()
        if count
    ]
    yield from table(rows)
    absent, outdated = result.count(State.ABSENT), result.count(State.OUTDATED)
    yield f"{result.documents:,} documents: a load would create {absent:,}" + (
        f", and with --update replace {outdated:,}" if outdated else ""
    )
