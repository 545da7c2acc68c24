"""Commands that bring batches to a target: plan, load."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from os import environ
from pathlib import Path
from typing import Any

import click
import orjson

from dataloader.classify import Finding, State
from dataloader.cli.options import (
    Function,
    details_option,
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
from dataloader.cli.output import Output, global_options, table, tell_of_copies
from dataloader.cli.progress import Progress
from dataloader.cli.reporting import reporting
from dataloader.couch import Server
from dataloader.errors import ExitCode, UsageError
from dataloader.files import new_files
from dataloader.load import LoadResult, Outcome
from dataloader.load import load as load_sources
from dataloader.manifest import WHOLE, CardFile, Part
from dataloader.plan import Plan
from dataloader.plan import plan as plan_sources
from dataloader.report.documents import NotedDocument, matter
from dataloader.report.loading import load_report, plan_report
from dataloader.report.noted import Noted
from dataloader.settings import ENV_JOB_INDEX
from dataloader.shards import Layout
from dataloader.sources import DESIGN_KIND, Source, all_sources
from dataloader.targets import Target

_PART = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
SHOWN_FINDINGS = 20
"""Documents that are named on the screen; --details names all."""

_ADVICE = {
    State.OUTDATED: "an earlier load's, untouched since; `load --update` replaces it",
    State.FOREIGN: "not written by this tool, and left as it is; find out whose it is",
    State.CONFLICTED: "several versions stand side by side; a person has to choose one",
}

load_details = details_option("document that is neither absent nor unchanged")

_WRITING_OPTIONS = (
    click.option("--update", is_flag=True, help="Replace what an earlier load wrote from other input."),
    click.option("--replace-views", is_flag=True, help="Replace design documents that are not ours, too."),
    click.option(
        "--shards", type=click.IntRange(1, 256), metavar="Q", help="Shards of databases that have to be created."
    ),
    click.option(
        "--replicas", type=click.IntRange(1, 16), metavar="N", help="Copies of each shard, in a cluster, likewise."
    ),
)


def writing_options(function: Function) -> Function:
    """Add the options that say how a target is written to."""
    for option in reversed(_WRITING_OPTIONS):
        function = option(function)
    return function


def how_to_write(options: dict[str, Any]) -> dict[str, Any]:
    """Take these options out of ``options``, as arguments for a load."""
    layout = Layout(options.pop("shards"), options.pop("replicas"))
    return {"update": options.pop("update"), "replace_views": options.pop("replace_views"), "layout": layout}


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


class _Findings:
    """Collects what is to be told of documents: the first few for the screen, more for the report, all for the file."""

    def __init__(
        self, output: Output, target: Target, stream: Any = None, *, update: bool = False, replace_views: bool = False
    ) -> None:
        self._output = output
        self._target = target
        self._stream = stream
        self._update = update
        self._replace_views = replace_views
        self.lines: list[str] = []
        self.noted: Noted[NotedDocument] = Noted()

    def __call__(self, source: Source, finding: Finding) -> None:
        database = self._target.database(source.database)
        if self._stream is not None:
            record = {
                "database": database,
                "kind": source.kind,
                "_id": finding.document.id,
                "state": finding.state.value,
                "revision": finding.document.rev,
                "leaves": [leaf["_rev"] for leaf in finding.leaves],
            }
            self._stream.write(orjson.dumps(self._output.cleaned(record)) + b"\n")
        if finding.state not in _ADVICE or self._is_replaced(source, finding):
            return
        self.noted(matter(source.kind, finding.state), NotedDocument(database, finding.document.id))
        if len(self.lines) < SHOWN_FINDINGS:
            self.lines.append(
                f"{database}, document {finding.document.id}: {finding.state.value} ({_ADVICE[finding.state]})"
            )

    def _is_replaced(self, source: Source, finding: Finding) -> bool:
        """Tell whether this very load replaces a document."""
        if self._update and finding.state is State.OUTDATED:
            return True
        return self._replace_views and source.kind == DESIGN_KIND and finding.state is State.FOREIGN


@contextmanager
def _findings(
    output: Output, target: Target, details: Path | None, *, update: bool = False, replace_views: bool = False
) -> Iterator[_Findings]:
    with ExitStack() as stack:
        stream = None
        if details is not None:
            (stream,) = stack.enter_context(new_files(details))
        yield _Findings(output, target, stream, update=update, replace_views=replace_views)


@click.command(short_help="Tell what a load would do; writes nothing.")
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
    manifests: tuple[Path, ...],
    snapsets_dir: Path | None,
    details: Path | None,
    *,
    strict: bool,
    **options: Any,
) -> None:
    """Tell what a load would do, by database and kind of document. Writes nothing to the target.

    \b
    Example:
      dataloader plan batches/spring.batch.jsonl --target staging --report plan.html
    """
    target = get_target(output, options)
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    read = get_manifests(manifests)
    tell_of_reconciled(output, read)
    sources = all_sources(target, read, snapsets)
    server = get_server(target)
    progress = Progress(output)
    with (
        reporting(output, options, "Plan", read, target, server) as report,
        _findings(output, target, details) as findings,
    ):
        result = plan_sources(server, target, sources, on_progress=progress, on_finding=findings)
        progress.close()
        output.result(
            {**_plan_json(target, result), "left_out": left_out_json(read)},
            [*left_out_text(read), *_plan_text(target, result)],
        )
        output.warnings(raised_text(target, result.raised))
        for line in findings.lines:
            output.warn(line)
        report(lambda: plan_report(target, read, sources, result, findings.noted), ExitCode.OK)


def _plan_json(target: Target, result: Plan) -> dict[str, Any]:
    return {
        **{state.value: result.count(state) for state in State},
        "documents": result.documents,
        "missing_databases": result.missing_databases,
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


def carry_out(
    output: Output,
    server: Server,
    target: Target,
    sources: list[Source],
    details: Path | None,
    how: dict[str, Any],
    manifests: Sequence[CardFile] = (),
) -> tuple[LoadResult, Noted[NotedDocument], ExitCode]:
    """Load sources, print what came of it, and what the manifests left out.

    Returns:
        What came of it, the documents that need attention, and the exit code.
    """
    progress = Progress(output)
    with _findings(output, target, details, update=how["update"], replace_views=how["replace_views"]) as findings:
        try:
            result = load_sources(
                server,
                target,
                sources,
                **how,
                on_progress=progress,
                on_finding=findings,
            )
        finally:
            progress.close()
    output.result(
        {**load_json(target, result), "left_out": left_out_json(manifests)},
        [*left_out_text(manifests), *load_text(target, result)],
    )
    output.warnings(raised_text(target, result.raised))
    for line in findings.lines if result.needs_attention else ():
        output.warn(line)
    for failure in result.failures:
        output.warn(f"document {failure.id}: not taken by the server: {failure.reason}")
    return result, findings.noted, _load_code(output, result, details)


def _load_code(output: Output, result: LoadResult, details: Path | None) -> ExitCode:
    """Return a load's exit code, and say why it is not 0."""
    if result.needs_attention:
        hint = "" if details else "; --details FILE lists all"
        one = result.needs_attention == 1
        which = "1 document needs" if one else f"{result.needs_attention:,} documents need"
        output.error(f"{which} a person's attention{hint}", ExitCode.ATTENTION)
    code = tell_of_copies(output, result.nodes_away, short=result.short_of_copies)
    return ExitCode.ATTENTION if result.needs_attention else code


def load_json(target: Target, result: LoadResult) -> dict[str, Any]:
    """Return a load's result as data."""
    return {
        **{outcome.value: result.count(outcome) for outcome in Outcome},
        "documents": result.documents,
        "seconds": round(result.seconds, 3),
        "seconds_indexing": round(result.seconds_indexing, 3),
        "created_databases": result.created_databases,
        "raised": {name: environment.value for name, environment in result.raised.items()},
        "views_built": result.views_built,
        "nodes_away": list(result.nodes_away),
        "short_of_copies": result.short_of_copies,
        "databases": {
            target.database(database): {
                kind: {outcome.value: count for outcome, count in counts.items() if count}
                for kind, counts in kinds.items()
            }
            for database, kinds in result.outcomes.items()
        },
    }


def load_text(target: Target, result: LoadResult) -> Iterator[str]:
    """Yield a load's result as lines."""
    for name in result.created_databases:
        yield f"created database {name}"
    rows: list[tuple[object, ...]] = [
        (count, outcome.value, f"{target.database(database)}: {kind}")
        for database, kinds in result.outcomes.items()
        for kind, counts in kinds.items()
        for outcome, count in counts.items()
        if count
    ]
    yield from table(rows)
    parts = [f"{result.count(outcome):,} {outcome.value}" for outcome in Outcome if result.count(outcome)]
    yield (
        f"{result.documents:,} documents in {result.seconds:.1f} s: {', '.join(parts) or 'nothing to do'}; "
        f"{result.views_built} views ready"
    )
