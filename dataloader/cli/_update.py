"""Asking before ``load --update`` replaces what is there."""

import sys
from collections import Counter
from collections.abc import Sequence

import click

from dataloader.cli._output import Output
from dataloader.cli._progress import Progress
from dataloader.cli._table import table
from dataloader.common import UsageError, many
from dataloader.couch import Server
from dataloader.operations import Source
from dataloader.operations import plan as plan_sources
from dataloader.replication import Finding, Outcome, State
from dataloader.target import Target


def confirm(question: str) -> bool:
    """Ask a question on the terminal.

    Raises:
        UsageError: there is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(
            question.rstrip("?"), rule="refusing to continue without confirmation", todo="add --yes to go on unasked"
        )
    return click.confirm(question, err=True)


def confirm_update(output: Output, server: Server, target: Target, sources: Sequence[Source]) -> bool:
    """Show which documents an update would replace, and ask whether to go on; not where it would replace none.

    Raises:
        UsageError: there is something to ask, and no terminal.
        DataloaderError: what :func:`dataloader.operations.plan` raises.
    """
    replaced: Counter[tuple[str, str, str]] = Counter()

    def note(source: Source, _: Finding, what: State | Outcome) -> None:
        if what is State.OUTDATED:
            replaced[target.database(source.database), source.kind, source.origin] += 1

    progress = Progress(output)
    try:
        plan_sources(server, target, sources, on_progress=progress, on_finding=note)
    finally:
        progress.close()
    if not replaced:
        return True
    rows: list[tuple[object, ...]] = [(count, kind, name, origin) for (name, kind, origin), count in replaced.items()]
    for line in table(rows):
        output.log("info", line)
    where = f"{target.address.url} ({target.environment})"
    return confirm(f"replace {many(replaced.total(), 'document')} at {where}?")
