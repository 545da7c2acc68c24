"""Term by term, find what an update would change in preference sets, and what their owners have edited."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import orjson

from dataloader.common import Document, history, rank
from dataloader.couch import Server
from dataloader.operations.plan import rules_of
from dataloader.operations.sources import Source
from dataloader.records import Snapsets, members
from dataloader.records.models import Role
from dataloader.replication import Finding, KindRules, Outcome, State, is_ours
from dataloader.target import Target, guard

KEPT = 1_000
"""The most different terms, and different values of a term, to count in edits."""
ANCESTORS = 10
"""The most revisions of an edited document to read when looking for the loaded one, besides the first."""
ABSENT = b""
"""Stands for the value of a term that is not set."""


class Term(NamedTuple):
    """A term in a context of a preference set."""

    context: str
    term: str

    @property
    def name(self) -> str:
        """The last part of the term's URI."""
        return self.term.rstrip("/").rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The name, with the context unless that is the default one."""
        return self.name if self.context == "gpii-default" else f"{self.name} ({self.context})"


class ChangedTerm(NamedTuple):
    """A term whose value an update would change; values are JSON, :data:`ABSENT` if not set."""

    term: Term
    before: bytes
    after: bytes

    @property
    def shown(self) -> str:
        """The term with its new value."""
        return f"{self.term.shown} = {value_text(self.after)}"


@dataclass
class SnapsetChange:
    """What an update would change in the preference sets of one snapset."""

    cards: int = 0
    terms: Counter[ChangedTerm] = field(default_factory=Counter)
    """The numbers of cards; 0 if only the snapset's own document differs."""

    @property
    def names(self) -> list[str]:
        """The names of the terms, in order."""
        return sorted({each.term.name for each in self.terms})


@dataclass
class OwnerChanges:
    """What owners have edited since their cards were loaded."""

    cards: int = 0
    guessed: int = 0
    """Cards compared with the given snapset, because the server no longer has the loaded revision."""
    left_out: int = 0
    """Edits of terms that were not counted, because there were more than :data:`KEPT` different terms."""
    terms: Counter[Term] = field(default_factory=Counter)
    values: dict[Term, Counter[bytes]] = field(default_factory=dict)
    """The number of cards by new value, up to :data:`KEPT` values of a term."""


class Changes:
    """Finds what an update would change, by snapset and term, from the findings of a plan.

    Keeps only counts, never documents. Pass it to :func:`dataloader.operations.plan` as ``on_finding``.
    """

    def __init__(self, snapsets: Snapsets) -> None:
        """Start with empty counts.

        Args:
            snapsets: the snapsets, to name preference sets.
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
        new = preferences_in(orjson.loads(finding.document.body))
        if new is None:
            self.others[source.kind] += 1
            return
        change = self.by_snapset.setdefault(self._names.get(_key(new), "empty"), SnapsetChange())
        card = int(source.role is Role.CARD)
        change.cards += card
        shown = max(finding.live, key=rank) if finding.live else {}
        for each in changed_terms(preferences_in(shown) or {}, new):
            change.terms[each] += card


class LoadedSets:
    """Finds preference sets as loads wrote them, before they were edited.

    Args:
        server: asked for earlier revisions.
        target: the target.
    """

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._target = target
        self._rules: dict[str, KindRules] = {}

    def before(self, source: Source, finding: Finding, leaf: Document) -> dict[str, Any] | None:
        """Return the preference set that a load wrote last before a leaf was edited; None if it is gone.

        Args:
            source: the source of the document.
            finding: the document's state.
            leaf: one of its leaves.

        Raises:
            DataloaderError: the server can't be reached.
        """
        if finding.document.rev in history(leaf):
            return preferences_in(orjson.loads(finding.document.body))
        name = self._target.database(source.database)
        if source.kind not in self._rules:
            self._rules[source.kind] = rules_of(source, guard(self._server, self._target).markers[name])
        earlier = history(leaf)[1:]
        for revision in dict.fromkeys([*earlier[:ANCESTORS], *earlier[-1:]]):
            document = self._server.database(name).revision(leaf["_id"], revision)
            if document is not None and is_ours(document, self._rules[source.kind]):
                return preferences_in(document)
        return None


class Edits:
    """Counts what owners have edited, from the findings of a plan. Keeps only counts, never documents."""

    def __init__(self, server: Server, target: Target, *, values: bool = False) -> None:
        """Start with empty counts.

        Args:
            server: asked for what was loaded, where the given snapset is another one by now.
            target: the target.
            values: whether to count the new values, too.
        """
        self.found = OwnerChanges()
        self._values = values
        self._loaded = LoadedSets(server, target)

    def __call__(self, source: Source, finding: Finding, what: State | Outcome) -> None:
        """Count the edits in a document.

        Raises:
            DataloaderError: the server can't be reached.
        """
        if what is not State.EDITED or source.role is not Role.CARD:
            return
        new = preferences_in(orjson.loads(finding.document.body))
        if new is None:
            return
        [leaf] = finding.live
        loaded = self._loaded.before(source, finding, leaf)
        self.found.cards += 1
        self.found.guessed += loaded is None
        for each in changed_terms(new if loaded is None else loaded, preferences_in(leaf) or {}):
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


def value_text(value: bytes) -> str:
    """Return a term's value as JSON, or that it is not set."""
    return "not set" if value == ABSENT else value.decode()


def changed_terms(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[ChangedTerm]:
    """Yield each term whose value differs between two preference sets, in any context.

    Args:
        old: the first preference set; anything with another form has no terms.
        new: the second.
    """
    before, after = _terms(old), _terms(new)
    for term in sorted(before.keys() | after.keys()):
        if before.get(term, ABSENT) != after.get(term, ABSENT):
            yield ChangedTerm(term, before.get(term, ABSENT), after.get(term, ABSENT))


def preferences_in(document: Document) -> dict[str, Any] | None:
    """Return the preference set in a document, None if there is none."""
    for value in document.values():
        if isinstance(value, dict) and "flat" in value:
            return value
    return None


def _key(value: Any) -> bytes:
    # Owners may write integers of any length, and nest deeply; orjson can't encode these.
    return msgspec.json.encode(value, order="sorted")


def _terms(preferences: Mapping[str, Any]) -> dict[Term, bytes]:
    return {
        Term(context, term): _key(value)
        for context, part in members(preferences, "flat", "contexts").items()
        for term, value in members(part, "preferences").items()
    }
