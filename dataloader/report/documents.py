"""The part of reports about documents: counts, and those that need attention."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from dataloader.batch import CardFile
from dataloader.common import UUID, many, without_uuids
from dataloader.operations import DESIGN_KIND
from dataloader.replication import OUTCOMES, STATES, Explanation, Outcome, Severity, State
from dataloader.report.model import Attention, Table, Tone, table_of
from dataloader.report.notes import ALL_OF_THEM, Noted, card_names, folded_names
from dataloader.target import Target

What = TypeVar("What", bound=StrEnum)
"""A state or an outcome."""

FAILED = Outcome.FAILED.value
_VIEWS = "views"

_MATTERS: Mapping[str, Explanation] = {
    **{outcome.value: OUTCOMES[outcome] for outcome in (Outcome.FAILED, Outcome.CONFLICT, Outcome.FOREIGN)},
    _VIEWS: Explanation(
        "other software has created this design document",
        Severity.BAD,
        "inspect the design document; if it is not needed, replace it with --replace-views",
    ),
    **{state.value: STATES[state] for state in (State.LEFTOVER, State.OUTDATED)},
}
"""The reasons why documents need attention, the most serious first."""
_HEADINGS = {
    FAILED: "rejected by the server",
    Outcome.CONFLICT: "in conflict",
    Outcome.FOREIGN: "not written by this tool",
    _VIEWS: "with views that are not ours",
    State.LEFTOVER: "left in conflict by an interrupted load",
}

_SAYS_ALL = frozenset({FAILED, Outcome.FOREIGN, _VIEWS, State.LEFTOVER})
"""The reasons whose heading says what they mean."""

_COMMANDS = {
    FAILED: "dataloader load {batch}{target}",
    Outcome.CONFLICT: "dataloader merge {batch}{target} --dry-run",
    _VIEWS: "dataloader load {batch}{target} --replace-views",
    State.LEFTOVER: "dataloader load {batch}{target}",
    State.OUTDATED: "dataloader load {batch}{target} --update",
}
"""The command for each; for the others, the one that lists all of them."""


@dataclass(frozen=True, slots=True)
class NotedDocument:
    """A document that needs attention."""

    database: str
    """The full name; empty if unknown."""
    id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """The number of documents of one kind with one state or outcome."""

    database: str
    """The full name."""
    kind: str
    what: str
    count: int

    @property
    def matter(self) -> str:
        """The key of the notes about these documents, if they need attention."""
        return matter(self.kind, self.what)


def matter(kind: str, what: str) -> str:
    """Return the key of the notes about a kind of document; foreign views need another action."""
    return _VIEWS if what == "foreign" and kind == DESIGN_KIND else what


def tallies(target: Target, counts: Mapping[str, Mapping[str, Counter[What]]]) -> list[Tally]:
    """Return the counts of a plan or a load in order, without zeros."""
    return [
        Tally(target.database(database), kind, str(what), count)
        for database, kinds in counts.items()
        for kind, found in kinds.items()
        for what, count in found.items()
        if count
    ]


def by_kind(found: Sequence[Tally], what: str) -> Table:
    """Return the counts as a table."""
    return Table(
        f"Documents by kind and {what}",
        ("Database and kind", what.capitalize(), "Documents"),
        tuple((f"{each.database}: {each.kind}", each.what, each.count) for each in found),
    )


def attention(found: Sequence[Tally], manifests: Sequence[CardFile], noted: Noted[NotedDocument]) -> list[Attention]:
    """Return the documents that need attention, the most serious first.

    The tallies count, not the notes: a noted document may have been settled since.
    """
    counts: Counter[str] = Counter()
    for each in found:
        counts[each.matter] += each.count
    shown = {name: noted.of(name)[: counts[name]] for name in _MATTERS if counts[name]}
    names = card_names(manifests, {uuid for each in shown.values() for document in each for uuid in _uuids(document)})
    return [
        Attention(
            f"{many(counts[name], 'document')} {_HEADINGS.get(name, name)}",
            _sentence(_MATTERS[name].advice),
            Tone(_MATTERS[name].severity),
            table=_table(name, documents, names) if documents else None,
            more=counts[name] - len(documents),
            all_of_them=ALL_OF_THEM,
            command=_COMMANDS.get(name, "dataloader plan {batch}{target} --details documents.jsonl"),
            meaning="" if name in _SAYS_ALL else _sentence(_MATTERS[name].meaning),
        )
        for name, documents in shown.items()
    ]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _table(name: str, documents: Sequence[NotedDocument], names: Mapping[str, str]) -> Table:
    """Return documents as a table; cards with the same finding are one row."""
    groups: dict[tuple[str, ...], list[NotedDocument]] = {}
    for document in documents:
        kind = without_uuids(document.id)
        key = (document.database, kind, without_uuids(document.reason))
        groups.setdefault(key if _card(document, names) else (*key, document.id), []).append(document)
    rows = [
        (same[0].id, database, _card(same[0], names), same[0].reason)
        if len(same) == 1
        else (f"{len(same):,} like {same[0].id}", database, folded_names([_card(each, names) for each in same]), reason)
        for (database, _, reason, *_), same in groups.items()
    ]
    heads = ("Document", "Database", "Card", "Reason")
    return table_of(f"Documents {_HEADINGS.get(name, name)}", dict(zip(heads, zip(*rows, strict=True), strict=True)))


def _uuids(document: NotedDocument) -> list[str]:
    return UUID.findall(document.id)


def _card(document: NotedDocument, names: Mapping[str, str]) -> str:
    return next((names[uuid] for uuid in _uuids(document) if uuid in names), "")
