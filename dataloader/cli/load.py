"""The command ``load``: bring batches to a target."""

import re
from os import environ
from pathlib import Path

import click

from dataloader.batch import WHOLE, Part
from dataloader.cli._options import (
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    WriteOptions,
    get_manifests,
    get_server,
    get_snapsets,
    get_target,
    manifest_argument,
    report_options,
    snapset_options,
    target_options,
    tell_of_reconciled,
    write_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._report import reporting
from dataloader.cli._write import carry_out, load_details
from dataloader.common import ENV_JOB_INDEX, ExitCode, UsageError
from dataloader.operations import all_sources
from dataloader.report import load_report

_PART = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


def _get_part(part: str | None, parts: int | None) -> Part:
    """Return the share of each batch that is meant."""
    if part is not None and parts is not None:
        raise UsageError("--part --parts", rule="exclude each other", todo="leave one out")
    if parts is not None:
        index = environ.get(ENV_JOB_INDEX, "")
        if not index.isdecimal() or int(index) >= parts:
            raise UsageError(
                f"--parts {parts}",
                rule=f"needs {ENV_JOB_INDEX} to be a number from 0 to {parts - 1}, not {index!r}",
                todo="run it in an indexed job, or use --part K/N",
            )
        return Part(int(index) + 1, parts)
    if part is None:
        return WHOLE
    match = _PART.fullmatch(part)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--part {part}", rule="must be K/N with K from 1 to N", todo="correct it, as in --part 2/4")
    return Part(int(match[1]), int(match[2]))


@click.command(short_help="Bring a target to the state that manifests and snapsets describe.")
@manifest_argument(required=False)
@target_options
@snapset_options
@write_options
@click.option("--part", metavar="K/N", help="Load one share of each batch only, the K-th of N.")
@click.option(
    "--parts", type=click.IntRange(min=1), metavar="N", help="The same, K from JOB_COMPLETION_INDEX (0 is the first)."
)
@load_details
@report_options
@global_options
@click.pass_obj
def load(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    write_options: WriteOptions,
    report_options: ReportOptions,
    manifests: tuple[Path, ...],
    details: Path | None,
    part: str | None,
    parts: int | None,
) -> ExitCode:
    """Bring a target to the state described: databases, snapsets, the batches' cards, views and their indexes.

    Can be repeated, interrupted and run twice at once. What a person has changed or deleted is never touched.

    Several machines can share the work: --part 1/4 on one, --part 2/4 on another, and so on, in any order,
    come to the same as one whole load. In an indexed Kubernetes job, --parts 4 takes the part of JOB_COMPLETION_INDEX.

    \b
    Example:
      dataloader load batches/spring.batch.jsonl --target production
    """
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target.model)
    read = get_manifests(manifests)
    tell_of_reconciled(output, read)
    sources = all_sources(target, read, snapsets, _get_part(part, parts))
    server = get_server(target)
    with reporting(output, report_options, "Load", read, target, server, writes=True) as report:
        result, noted, code = carry_out(output, server, target, sources, details, write_options, read)
        report(lambda: load_report(target, read, sources, result, noted), code)
    return code
