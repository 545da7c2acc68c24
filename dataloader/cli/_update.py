"""What ``load --update`` would change: shown, and asked about, before anything is written."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from dataloader.cli._confirm import confirmed
from dataloader.cli._output import Output
from dataloader.cli._progress import Progress
from dataloader.cli._table import table
from dataloader.common import Document, listed, many, rank
from dataloader.couch import Server
from dataloader.operations import Source
from dataloader.operations import plan as plan_sources
from dataloader.records import Snapsets
from dataloader.records.models import Role
from dataloader.replication import Finding, Outcome, State
from dataloader.target import Target


@dataclass
class _Change:
    """What an update would change in the preference sets that start as one snapset."""

    cards: int = 0
    terms: Counter[str] = field(default_factory=Counter)


@dataclass
class _Changes:
    """What an update would change, by snapset; other documents by kind."""

    snapsets: Snapsets
    by_snapset: dict[str, _Change] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    documents: int = 0

    def __post_init__(self) -> None:
        self._names = {_key(each.preferences): each.name for each in self.snapsets}

    def __call__(self, source: Source, finding: Finding, what: State | Outcome) -> None:
        if what is not State.OUTDATED:
            return
        self.documents += 1
        new = _preferences(orjson.loads(finding.document.body))
        if new is None:
            self.others[source.kind] += 1
            return
        change = self.by_snapset.setdefault(self._names.get(_key(new), "empty"), _Change())
        change.cards += source.role is Role.CARD
        shown = max(finding.live, key=rank) if finding.live else {}
        change.terms.update(set(_changed(_preferences(shown) or {}, new)))

    def lines(self) -> Iterator[str]:
        """Yield a line for each snapset, and for each kind of other documents."""
        rows = []
        for name, change in sorted(self.by_snapset.items()):
            cards = many(change.cards, "card") if change.cards else "the snapset itself"
            rows.append((name, cards, f"{many(len(change.terms), 'term')}: {listed(sorted(change.terms))}"))
        yield from table(rows)
        yield from table([(kind, many(count, "document"), "") for kind, count in self.others.items()])


def _preferences(document: Document) -> dict[str, Any] | None:
    """Return the preference set that a document holds, None if it holds none."""
    for value in document.values():
        if isinstance(value, dict) and "flat" in value:
            return value
    return None


def _key(preferences: Any) -> bytes:
    return orjson.dumps(preferences, option=orjson.OPT_SORT_KEYS)


def _changed(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Yield the last part of the name of each term whose value differs, in any context."""
    before, after = _terms(old), _terms(new)
    for place in before.keys() | after.keys():
        if before.get(place) != after.get(place):
            yield place[1].rstrip("/").rpartition("/")[2]


def _terms(preferences: dict[str, Any]) -> dict[tuple[str, str], Any]:
    contexts = preferences.get("flat", {}).get("contexts", {})
    return {
        (context, term): value
        for context, part in contexts.items()
        for term, value in part.get("preferences", {}).items()
    }


def confirm_update(
    output: Output, server: Server, target: Target, sources: Sequence[Source], snapsets: Snapsets
) -> bool:
    """Show what an update would change, and ask whether to go on; not if it would change nothing.

    Raises:
        UsageError: there is something to ask, and no terminal.
        DataloaderError: what :func:`dataloader.operations.plan` raises.
    """
    changes = _Changes(snapsets)
    progress = Progress(output, whole=sum(each.count for each in sources))
    try:
        plan_sources(server, target, sources, on_progress=progress, on_finding=changes)
    finally:
        progress.close()
    if not changes.documents:
        return True
    for line in changes.lines():
        output.log("info", line)
    where = f"{target.address.url} ({target.environment})"
    return confirmed(f"this replaces {many(changes.documents, 'document')} at {where}")
