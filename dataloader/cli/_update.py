"""Show what ``load --update`` would change, and ask, before anything is written."""

from collections.abc import Iterator, Sequence

from dataloader.cli._confirm import confirmed
from dataloader.cli._output import Output
from dataloader.cli._progress import Progress
from dataloader.cli._table import table
from dataloader.common import listed, many
from dataloader.couch import Server
from dataloader.operations import Changes, Source, refuse_older
from dataloader.operations import plan as plan_sources
from dataloader.records import Snapsets
from dataloader.target import Target


def confirm_update(
    output: Output,
    server: Server,
    target: Target,
    sources: Sequence[Source],
    snapsets: Snapsets,
    *,
    older_snapsets: bool,
) -> bool:
    """Show what an update would change, and ask whether to continue, unless it would change nothing.

    Raises:
        UsageError: there are changes, but no terminal; or snapsets are older than those loaded last, unless
            ``older_snapsets``.
        DataloaderError: what :func:`dataloader.operations.plan` raises.
    """
    changes = Changes(snapsets)
    with Progress(output, whole=sum(each.count for each in sources)) as progress:
        planned = plan_sources(server, target, sources, on_progress=progress, on_finding=changes)
    if not older_snapsets:
        refuse_older(planned.older_snapsets)
    if not changes.documents:
        return True
    for line in _lines(changes):
        output.log("info", line)
    return confirmed(f"this replaces {many(changes.documents, 'document')} at {target.where}")


NO_TERMS = "no terms, only the rest, such as the snapset's name"
"""What an update changes in preference sets with the same terms."""


def _lines(changes: Changes) -> Iterator[str]:
    """Yield a line for each snapset, and for each kind of other documents."""
    rows = []
    for name, change in sorted(changes.by_snapset.items()):
        cards = many(change.cards, "card") if change.cards else "the snapset itself"
        terms = many(len(change.names), "term")
        rows.append((name, cards, f"{terms}: {listed(change.names)}" if change.names else NO_TERMS))
    yield from table(rows)
    yield from table([(kind, many(count, "document"), "") for kind, count in changes.others.items()])
