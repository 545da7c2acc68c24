"""What ``plan``, ``load`` and ``seed`` share: writing, and showing results."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dataloader.batch import CardFile
from dataloader.cli._details import Write, details_file, details_option
from dataloader.cli._manifests import left_out_json, left_out_text
from dataloader.cli._options import option_group, raised_text
from dataloader.cli._output import Output, tell_of_copies, tell_of_decisions
from dataloader.cli._progress import Progress
from dataloader.cli._table import table
from dataloader.common import ExitCode, listed, many
from dataloader.couch import Server
from dataloader.operations import LoadOptions, LoadResult, Outcome, Source
from dataloader.operations import load as load_sources
from dataloader.replication import OUTCOMES, STATES, Finding, Severity, State
from dataloader.report import Noted, NotedDocument, matter
from dataloader.target import Target

SHOWN_FINDINGS = 5
"""Documents of a database with the same state to name on the screen; --details names all."""


load_details = details_option("document that is neither absent nor unchanged")
write_options = option_group(
    LoadOptions,
    "write_options",
    (
        click.option(
            "--update",
            is_flag=True,
            help="Also replace documents that an earlier load wrote from other snapsets.",
        ),
        click.option(
            "--replace-views", is_flag=True, help="Also replace design documents that dataloader did not write."
        ),
        click.option(
            "--replace-snapsets",
            is_flag=True,
            help="Also replace snapsets that others have changed, deleted or written.",
        ),
        click.option(
            "--older-snapsets", is_flag=True, help="Allow --update to go back to snapsets older than those loaded last."
        ),
        click.option("--shards", type=click.IntRange(1, 256), metavar="Q", help="Shards of new databases."),
        click.option(
            "--replicas",
            type=click.IntRange(1, 16),
            metavar="N",
            help="Copies of each shard of new databases, in a cluster.",
        ),
    ),
)
"""Add the options for writing to a target."""


class _Findings:
    """Collects results for documents: the first few for the screen, more for the report, all for the file."""

    def __init__(self, target: Target, write: Write) -> None:
        self._target = target
        self._write = write
        self._counts: Counter[tuple[str, State | Outcome]] = Counter()
        self._first: dict[tuple[str, State | Outcome], list[str]] = {}
        self.noted: Noted[NotedDocument] = Noted()

    def __call__(self, source: Source, finding: Finding, what: State | Outcome) -> None:
        database = self._target.database(source.database)
        self._write(
            {
                "database": database,
                "kind": source.kind,
                "_id": finding.document.id,
                "state": what.value,
                "revision": finding.document.rev,
                "leaves": [leaf["_rev"] for leaf in finding.leaves],
            }
        )
        said = STATES[what] if isinstance(what, State) else OUTCOMES[what]
        if said.severity not in {Severity.ATTENTION, Severity.BAD}:
            return
        self.noted(matter(source.kind, what), NotedDocument(database, finding.document.id))
        self._counts[database, what] += 1
        if self._counts[database, what] <= SHOWN_FINDINGS:
            self._first.setdefault((database, what), []).append(finding.document.id)

    @property
    def lines(self) -> list[str]:
        """A line for each database and state, with the first documents and how many more there are."""
        return [self._line(*key) for key in self._first]

    def _line(self, database: str, what: State | Outcome) -> str:
        said = STATES[what] if isinstance(what, State) else OUTCOMES[what]
        why = f"({said.meaning}; {said.advice})"
        first, count = self._first[database, what], self._counts[database, what]
        if count == 1:
            return f"{database}, document {first[0]}: {what.value} {why}"
        more = f" and {count - len(first):,} more" if count > len(first) else ""
        are = "in conflict" if what in {State.CONFLICT, Outcome.CONFLICT} else what.value
        return f"{database}: {many(count, 'document')} {are}: {', '.join(first)}{more} {why}"


@contextmanager
def collect_findings(output: Output, target: Target, details: Path | None) -> Iterator[_Findings]:
    with details_file(output, details) as write:
        yield _Findings(target, write)


def carry_out(
    output: Output,
    server: Server,
    target: Target,
    sources: list[Source],
    options: LoadOptions,
    *,
    details: Path | None = None,
    manifests: Sequence[CardFile] = (),
    data: Mapping[str, Any] = {},
    lines: Sequence[str] = (),
    before: Callable[[], bool] | None = None,
) -> tuple[LoadResult, Noted[NotedDocument], ExitCode]:
    """Load sources, print the result, and say which cards the manifests omit.

    Args:
        output: how the command prints.
        server: the target's server.
        target: the target.
        sources: the sources to load.
        options: what the load may change.
        details: a new file with a line for each document, if requested.
        manifests: the batches.
        data: what else the command prints as JSON data.
        lines: the same as text.
        before: what to do once the databases exist; see ``load``.

    Returns:
        The result, the documents that need attention, and the exit code.
    """
    progress = Progress(output, whole=sum(each.count for each in sources))
    with collect_findings(output, target, details) as findings, progress:
        result = load_sources(
            server,
            target,
            sources,
            options,
            before=before,
            on_progress=progress,
            on_finding=findings,
        )
    output.result(
        {**load_json(target, result), "left_out": left_out_json(manifests), **data},
        [*left_out_text(manifests), *load_text(target, result), *lines],
    )
    output.warnings(raised_text(target, result.raised))
    for name in result.half_restored:
        rest = "run the same restore again: until then, cards lack what their owners had changed"
        output.warn(f"database {name}: a backup was being restored into it, and is not complete ({rest})")
    # Whoever goes back to older ones knows.
    older = [] if options.older_snapsets else result.older_snapsets
    output.warnings(snapset_warnings(older, result.unlisted_snapsets))
    for line in findings.lines if result.needs_attention else ():
        output.warn(line, in_report=True)
    for failure in result.failures:
        output.warn(f"document {failure.id}: rejected by the server: {failure.reason}", in_report=True)
    return result, findings.noted, _load_code(output, result, details)


def _load_code(output: Output, result: LoadResult, details: Path | None) -> ExitCode:
    """Return a load's exit code, and print why it is not 0."""
    hint = "" if details else "; --details FILE lists all"
    decisions = tell_of_decisions(output, result.needs_attention, "document", hint)
    for name, views in result.missing_views.items():
        decisions = ExitCode.ATTENTION
        output.error(
            f"database {name}: its design document was kept, and lacks {listed(views)}; cards may not work "
            "(load with --update or, if others changed it, with --replace-views)",
            decisions,
        )
    copies = tell_of_copies(output, result.nodes_away, short=result.short_of_copies)
    return decisions or copies


def snapset_warnings(older: Sequence[str], unlisted: Sequence[str]) -> list[str]:
    """Return warnings about snapsets: older than the last loaded ones, or missing in the folder."""
    found = []
    if older:
        which = f"snapset {older[0]} is" if len(older) == 1 else f"snapsets {', '.join(older)} are"
        found.append(f"{which} older than the version loaded last; get the newest snapsets before you load")
    if unlisted:
        which = f"snapset {unlisted[0]} is" if len(unlisted) == 1 else f"snapsets {', '.join(unlisted)} are"
        found.append(f"{which} on the target but not in the folder; loads leave them as they are")
    return found


Documents = Mapping[str, Mapping[str, Mapping[Any, int]]]
"""How many there are, by database (without prefix), kind, and state or outcome."""


def counts_json(target: Target, found: Documents) -> dict[str, Any]:
    """Return how many documents there are as JSON data."""
    return {
        target.database(database): {
            kind: {what.value: count for what, count in counts.items() if count} for kind, counts in kinds.items()
        }
        for database, kinds in found.items()
    }


def counts_text(target: Target, found: Documents) -> list[str]:
    """Return how many documents there are as lines."""
    rows: list[tuple[object, ...]] = [
        (count, what.value, f"{target.database(database)}: {kind}")
        for database, kinds in found.items()
        for kind, counts in kinds.items()
        for what, count in counts.items()
        if count
    ]
    return [*table(rows)]


def load_json(target: Target, result: LoadResult) -> dict[str, Any]:
    """Return a load's result as JSON data."""
    return {
        **{outcome.value: result.count(outcome) for outcome in Outcome},
        "documents": result.documents,
        "seconds": round(result.seconds, 3),
        "seconds_indexing": round(result.seconds_indexing, 3),
        "created_databases": result.created_databases,
        "raised": {name: environment.value for name, environment in result.raised.items()},
        "older_snapsets": result.older_snapsets,
        "unlisted_snapsets": result.unlisted_snapsets,
        "repaired": result.repaired,
        "views_built": result.views_built,
        "missing_views": result.missing_views,
        "nodes_away": list(result.nodes_away),
        "short_of_copies": result.short_of_copies,
        "databases": counts_json(target, result.outcomes),
    }


def load_text(target: Target, result: LoadResult) -> Iterator[str]:
    """Yield a load's result as lines."""
    for name in result.created_databases:
        yield f"created database {name}"
    yield from counts_text(target, result.outcomes)
    if result.repaired:
        yield f"repaired {result.repaired:,} documents that an interrupted load had left in conflict"
    parts = [f"{result.count(outcome):,} {outcome.value}" for outcome in Outcome if result.count(outcome)]
    yield (
        f"{result.documents:,} documents in {result.seconds:.1f} s: {', '.join(parts) or 'nothing to do'}; "
        f"{result.views_built} views ready"
    )
