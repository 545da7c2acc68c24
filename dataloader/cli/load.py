"""The command ``load``: bring batches to a target."""

import re
from os import environ
from pathlib import Path
from typing import Any

import click

from dataloader.batch import WHOLE, Part
from dataloader.cli._options import (
    get_manifests,
    get_server,
    get_snapsets,
    get_target,
    manifest_argument,
    report_options,
    snapset_options,
    target_options,
    tell_of_reconciled,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._report import reporting
from dataloader.cli._write import carry_out, how_to_write, load_details, writing_options
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
@writing_options
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
    manifests: tuple[Path, ...],
    snapsets_dir: Path | None,
    details: Path | None,
    part: str | None,
    parts: int | None,
    *,
    strict: bool,
    **options: Any,
) -> ExitCode:
    """Bring a target to the state described: databases, snapsets, the batches' cards, views and their indexes.

    Can be repeated, interrupted and run twice at once. What a person has changed or deleted is never touched.

    Several machines can share the work: --part 1/4 on one, --part 2/4 on another, and so on, in any order,
    come to the same as one whole load. In an indexed Kubernetes job, --parts 4 takes the part of JOB_COMPLETION_INDEX.

    \b
    Example:
      dataloader load batches/spring.batch.jsonl --target production
    """
    how = how_to_write(options)
    target = get_target(output, options)
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    read = get_manifests(manifests)
    tell_of_reconciled(output, read)
    sources = all_sources(target, read, snapsets, _get_part(part, parts))
    server = get_server(target)
    with reporting(output, options, "Load", read, target, server, writes=True) as report:
        result, noted, code = carry_out(output, server, target, sources, details, how, read)
        report(lambda: load_report(target, read, sources, result, noted), code)
    return code
