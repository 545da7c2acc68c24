"""What an update would change in preference sets, and what their owners have changed, term by term."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from dataloader.common import Document, history, rank
from dataloader.couch import Server
from dataloader.operations.plan import rules_of
from dataloader.operations.sources import Source
from dataloader.records import Snapsets
from dataloader.records.models import Role
from dataloader.replication import Finding, KindRules, Outcome, State, is_ours
from dataloader.target import Target, guard

KEPT = 1_000
"""Different terms, and different values of a term, that are counted of what owners changed."""
ANCESTORS = 10
"""Revisions of an edited document that are looked at for the one that a load wrote, besides the first."""
ABSENT = b""
"""Stands for the value of a term that is not set."""


class Term(NamedTuple):
    """A term in a context of a preference set."""

    context: str
    term: str

    @property
    def name(self) -> str:
        """The last part of the term's name."""
        return self.term.rstrip("/").rpartition("/")[2]


class ChangedTerm(NamedTuple):
    """A term whose value an update would change; values are JSON, :data:`ABSENT` where it is not set."""

    term: Term
    before: bytes
    after: bytes


@dataclass
class SnapsetChange:
    """What an update would change in the preference sets that start as one snapset."""

    cards: int = 0
    terms: Counter[ChangedTerm] = field(default_factory=Counter)
    """Numbers of cards; 0 where only the snapset's own document differs."""

    @property
    def names(self) -> list[str]:
        """The names of the terms, in their order."""
        return sorted({each.term.name for each in self.terms})


@dataclass
class OwnerChanges:
    """What owners have changed since their cards were loaded."""

    cards: int = 0
    guessed: int = 0
    """Cards compared with the given snapset, because the server no longer has what was loaded."""
    left_out: int = 0
    """Changes of terms that were not counted, because there were more than :data:`KEPT` different terms."""
    terms: Counter[Term] = field(default_factory=Counter)
    values: dict[Term, Counter[bytes]] = field(default_factory=dict)
    """Numbers of cards by the new value, up to :data:`KEPT` values of a term."""


class Changes:
    """Compares documents as a plan comes by them: what an update would change, by snapset and term.

    Keeps counts only, never documents. Give it to :func:`dataloader.operations.plan` as ``on_finding``.
    """

    def __init__(self, snapsets: Snapsets) -> None:
        """Begin with nothing.

        Args:
            snapsets: the snapsets, which name the preference sets.
        """
        self.by_snapset: dict[str, SnapsetChange] = {}
        self.others: Counter[str] = Counter()
        """Other documents than preference sets, by kind."""
        self.documents = 0
        self._names = {_key(each.preferences): each.name for each in snapsets}

    def __call__(self, source: Source, finding: Finding, what: State | Outcome) -> None:
        """Count what an update would change in a document."""
        if what is not State.OUTDATED:
            return
        self.documents += 1
        new = _preferences(orjson.loads(finding.document.body))
        if new is None:
            self.others[source.kind] += 1
            return
        change = self.by_snapset.setdefault(self._names.get(_key(new), "empty"), SnapsetChange())
        card = int(source.role is Role.CARD)
        change.cards += card
        shown = max(finding.live, key=rank) if finding.live else {}
        for each in changed_terms(_preferences(shown) or {}, new):
            change.terms[each] += card


class Edits:
    """Counts what owners have changed, as a plan comes by their documents. Keeps counts only, never documents."""

    def __init__(self, server: Server, target: Target, *, values: bool = False) -> None:
        """Begin with nothing.

        Args:
            server: asked for what was loaded, where the given snapset is another one by now.
            target: the target.
            values: whether to count the values that owners chose, too.
        """
        self.found = OwnerChanges()
        self._server = server
        self._target = target
        self._values = values
        self._rules: dict[str, KindRules] = {}

    def __call__(self, source: Source, finding: Finding, what: State | Outcome) -> None:
        """Count what the owner has changed in a document.

        Raises:
            DataloaderError: the server can't be asked.
        """
        if what is not State.EDITED or source.role is not Role.CARD:
            return
        new = _preferences(orjson.loads(finding.document.body))
        if new is None:
            return
        [leaf] = finding.live
        loaded = new if finding.document.rev in history(leaf) else self._loaded(source, leaf)
        self.found.cards += 1
        self.found.guessed += loaded is None
        for each in changed_terms(new if loaded is None else loaded, _preferences(leaf) or {}):
            self._count(each)

    def _count(self, edited: ChangedTerm) -> None:
        found = self.found
        if edited.term not in found.terms and len(found.terms) >= KEPT:
            found.left_out += 1
            return
        found.terms[edited.term] += 1
        if self._values:
            values = found.values.setdefault(edited.term, Counter())
            if edited.after in values or len(values) < KEPT:
                values[edited.after] += 1

    def _loaded(self, source: Source, leaf: Document) -> dict[str, Any] | None:
        """Return the preference set that the last load before an owner's edits wrote, None if it is gone."""
        name = self._target.database(source.database)
        if source.kind not in self._rules:
            self._rules[source.kind] = rules_of(source, guard(self._server, self._target).markers[name])
        earlier = history(leaf)[1:]
        for revision in dict.fromkeys([*earlier[:ANCESTORS], *earlier[-1:]]):
            document = self._server.database(name).revision(leaf["_id"], revision)
            if document is not None and is_ours(document, self._rules[source.kind]):
                return _preferences(document)
        return None


def changed_terms(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[ChangedTerm]:
    """Yield each term whose value differs between two preference sets, in any context.

    Args:
        old: the first preference set; what isn't shaped like one has no terms.
        new: the second.
    """
    before, after = _terms(old), _terms(new)
    for term in sorted(before.keys() | after.keys()):
        if before.get(term, ABSENT) != after.get(term, ABSENT):
            yield ChangedTerm(term, before.get(term, ABSENT), after.get(term, ABSENT))


def _preferences(document: Document) -> dict[str, Any] | None:
    """Return the preference set that a document holds, None if it holds none."""
    for value in document.values():
        if isinstance(value, dict) and "flat" in value:
            return value
    return None


def _key(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _terms(preferences: Mapping[str, Any]) -> dict[Term, bytes]:
    return {
        Term(context, term): _key(value)
        for context, part in _members(preferences, "flat", "contexts").items()
        for term, value in _members(part, "preferences").items()
    }


def _members(value: Any, *path: str) -> Mapping[str, Any]:
    """Return the object at a path, an empty one where there is none: owners may write anything."""
    found = value
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
