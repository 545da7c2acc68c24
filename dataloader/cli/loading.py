"""Commands that bring data to a target: plan, load, seed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson

from dataloader.classify import Finding, State
from dataloader.cli.options import (
    PATH,
    get_manifests,
    get_server,
    get_snapsets,
    get_target,
    manifest_argument,
    snapset_options,
    target_options,
)
from dataloader.cli.output import Output, Progress, global_options, table
from dataloader.errors import ExitCode
from dataloader.files import new_files
from dataloader.load import LoadResult, Outcome
from dataloader.load import load as load_sources
from dataloader.plan import Plan
from dataloader.plan import plan as plan_sources
from dataloader.seed import DEFAULT_SEED, seed_sources
from dataloader.sources import Source, all_sources
from dataloader.targets import Target

SHOWN_FINDINGS = 20
"""Documents that are named on the screen; --details names all."""

_ADVICE = {
    State.OUTDATED: "an earlier load's, untouched since; `load --update` replaces it",
    State.FOREIGN: "not written by this tool, and left as it is; find out whose it is",
    State.CONFLICTED: "several versions stand side by side; a person has to choose one",
}

details_option = click.option(
    "--details",
    type=PATH,
    metavar="FILE",
    help="Write a line of JSON for every document that is neither absent nor unchanged to a new file.",
)


class _Findings:
    """Collects what is to be told of documents: the first few for the screen, all for the file."""

    def __init__(self, target: Target, stream: Any = None) -> None:
        self._target = target
        self._stream = stream
        self.lines: list[str] = []

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
            self._stream.write(orjson.dumps(record) + b"\n")
        if finding.state in _ADVICE and len(self.lines) < SHOWN_FINDINGS:
            self.lines.append(
                f"{database}, document {finding.document.id}: {finding.state.value} ({_ADVICE[finding.state]})"
            )


@contextmanager
def _findings(target: Target, details: Path | None) -> Iterator[_Findings]:
    if details is None:
        yield _Findings(target)
        return
    with new_files(details) as (stream,):
        yield _Findings(target, stream)


@click.command(short_help="Tell what a load would do; writes nothing.")
@manifest_argument(required=False)
@target_options
@snapset_options
@details_option
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
    r"""Tell what a load would do, by database and kind of document. Writes nothing to the target.

    \b
    Example:
      dataloader plan batches/spring.batch.jsonl --target staging --details spring.details.jsonl
    """
    target = get_target(output, options)
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    sources = all_sources(target, get_manifests(manifests), snapsets)
    progress = Progress(output)
    with _findings(target, details) as findings:
        result = plan_sources(get_server(target), target, sources, on_progress=progress, on_finding=findings)
    progress.close()
    output.result(_plan_json(target, result), _plan_text(target, result))
    for line in findings.lines:
        output.warn(line)


def _plan_json(target: Target, result: Plan) -> dict[str, Any]:
    return {
        **{state.value: result.count(state) for state in State},
        "documents": result.documents,
        "missing_databases": result.missing_databases,
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
@click.option("--update", is_flag=True, help="Replace what an earlier load wrote from other input, untouched since.")
@click.option("--replace-views", is_flag=True, help="Replace design documents that are not ours, too.")
@details_option
@global_options
@click.pass_obj
def load(
    output: Output,
    /,
    manifests: tuple[Path, ...],
    snapsets_dir: Path | None,
    details: Path | None,
    *,
    strict: bool,
    update: bool,
    replace_views: bool,
    **options: Any,
) -> ExitCode:
    r"""Bring a target to the state described: databases, snapsets, the batches' cards, views and their indexes.

    Can be repeated, interrupted and run twice at once. What a person has changed or deleted is never touched.

    \b
    Example:
      dataloader load batches/spring.batch.jsonl --target production
    """
    target = get_target(output, options)
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    sources = all_sources(target, get_manifests(manifests), snapsets)
    return _carry_out(output, target, sources, details, update=update, replace_views=replace_views)


@click.command(short_help="Load development data; never into staging or production.")
@target_options
@snapset_options
@click.option("--users", type=int, default=0, metavar="N", help="How many people with log-ins to invent; default none.")
@click.option("--seed", type=int, default=DEFAULT_SEED, metavar="S", help="What they are invented from; default 0.")
@click.option("--update", is_flag=True, help="Replace what an earlier load wrote from other input, untouched since.")
@click.option("--replace-views", is_flag=True, help="Replace design documents that are not ours, too.")
@details_option
@global_options
@click.pass_obj
def seed(
    output: Output,
    /,
    snapsets_dir: Path | None,
    users: int,
    seed: int,
    details: Path | None,
    *,
    strict: bool,
    update: bool,
    replace_views: bool,
    **options: Any,
) -> ExitCode:
    r"""Seed a development or CI target: views, snapsets, the sample data, and invented users.

    The same seed gives the same users. Staging and production targets refuse it, whatever the flags.

    \b
    Example:
      dataloader seed --url http://127.0.0.1:5984 --users 50
    """
    target = get_target(output, options)
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    sources = seed_sources(target, snapsets, users=users, seed=seed)
    return _carry_out(output, target, sources, details, update=update, replace_views=replace_views)


def _carry_out(
    output: Output,
    target: Target,
    sources: list[Source],
    details: Path | None,
    *,
    update: bool,
    replace_views: bool,
) -> ExitCode:
    progress = Progress(output)
    with _findings(target, details) as findings:
        try:
            result = load_sources(
                get_server(target),
                target,
                sources,
                update=update,
                replace_views=replace_views,
                on_progress=progress,
                on_finding=findings,
            )
        finally:
            progress.close()
    output.result(load_json(target, result), load_text(target, result))
    for line in findings.lines if result.needs_attention else ():
        output.warn(line)
    for failure in result.failures:
        output.warn(f"document {failure.id}: not taken by the server: {failure.reason}")
    if result.needs_attention:
        hint = "" if details else "; --details FILE lists all"
        output.error(f"{result.needs_attention:,} documents need a person's attention{hint}", ExitCode.ATTENTION)
        return ExitCode.ATTENTION
    if result.nodes_away:
        output.error(
            f"{', '.join(result.nodes_away)}: away from the cluster, so copies may be short until it is back "
            "(everything has been written; start the node, and the cluster makes them up by itself)",
            ExitCode.NODES,
        )
        return ExitCode.NODES
    return ExitCode.OK


def load_json(target: Target, result: LoadResult) -> dict[str, Any]:
    """Return a load's result as data."""
    return {
        **{outcome.value: result.count(outcome) for outcome in Outcome},
        "documents": result.documents,
        "seconds": round(result.seconds, 3),
        "created_databases": result.created_databases,
        "views_built": result.views_built,
        "nodes_away": list(result.nodes_away),
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
