"""The verdict on a card: what the real servers would make of the answers that they get for it.

This is the only place that decides it; ``card_answers`` finds the answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dataloader.common import Document, canonical, certifies_itself, content, explain, is_valid, says
from dataloader.records.models import Entry, Kind, Lookup, Model

Row = dict[str, Any]
"""A row of a view; a document that is asked for itself is a row ``{"doc": …}``."""


class VerifyVerdict(StrEnum):
    """What the servers would find for a card; the later in this list, the more it counts."""

    OK = "ok"
    """Exactly what the batch says."""
    OUTDATED = "outdated"
    """All that is needed, as an earlier load brought it from another snapset, untouched since."""
    CHANGED = "changed"
    """All that is needed, changed by its owner since."""
    REVOKED = "revoked"
    """Deleted, or marked as revoked: the card no longer works, as somebody wanted."""
    MISSING = "missing"
    """Never loaded."""
    WRONG = "wrong"
    """An answer that the servers can't use."""


_ORDER = {verdict: at for at, verdict in enumerate(VerifyVerdict)}


@dataclass(frozen=True, slots=True)
class CardVerdict:
    """The verdict on one card."""

    uuid: str
    verdict: VerifyVerdict
    reason: str = ""
    is_odd: bool = False
    """Whether nobody may have meant it: the preference set is deleted, and the card still lets in."""


@dataclass(frozen=True, slots=True)
class CardAnswers:
    """Everything that was asked about one card."""

    entry: Entry
    rows: list[list[Row]]
    """For each lookup of the model, the rows with the card's key."""
    leaves: dict[str, list[Document]]
    """By kind, every leaf of each document that a row should hold and does not: none if it never existed."""


def absent_kind(lookup: Lookup, rows: list[Row]) -> str | None:
    """Return the kind of the first document that a lookup should find and does not; None if it finds all.

    Args:
        lookup: the lookup.
        rows: its rows with the card's key.
    """
    if not rows:
        return next(iter(lookup.kinds.values()))
    if len(rows) > 1:
        return None
    return next((kind for place, kind in lookup.kinds.items() if _at(rows[0], place) is None), None)


def judge(model: Model, answers: CardAnswers) -> CardVerdict:
    """Return the verdict on a card, the worst of what its answers come to."""
    worst = CardVerdict(answers.entry.key, VerifyVerdict.OK)
    for lookup, rows in zip(model.lookups, answers.rows, strict=True):
        # A card without its token has nothing that the token leads to, either: once is enough.
        is_explained = worst.verdict in {VerifyVerdict.REVOKED, VerifyVerdict.MISSING}
        for found in _judge_lookup(model, lookup, answers, rows, is_explained=is_explained):
            if _ORDER[found.verdict] > _ORDER[worst.verdict]:
                worst = found
    return worst


def _judge_lookup(
    model: Model, lookup: Lookup, answers: CardAnswers, rows: list[Row], *, is_explained: bool
) -> Iterator[CardVerdict]:
    if len(rows) > 1:
        reason = f"{_name(lookup)} has {len(rows)} answers, not one"
        yield CardVerdict(answers.entry.key, VerifyVerdict.WRONG, reason)
        return
    for row in rows:
        for place, kind in lookup.kinds.items():
            document = _at(row, place)
            if document is None:
                break
            found = _judge_document(model, lookup, model.kind(kind), answers.entry, document)
            if found is not None:
                yield found
    absent = absent_kind(lookup, rows)
    if absent is not None:
        yield from _judge_absence(model, lookup, model.kind(absent), answers, is_explained=is_explained)


def _judge_document(model: Model, lookup: Lookup, kind: Kind, entry: Entry, document: Document) -> CardVerdict | None:
    """Return the verdict on a document that the servers would be given; None if it is as the batch says."""
    expected = kind.document(entry)
    doc_id = expected["_id"]
    if document.get("_id") != doc_id:
        reason = f"{_name(lookup)} leads to document {document.get('_id')}, not {doc_id}"
        return CardVerdict(entry.key, VerifyVerdict.WRONG, reason)
    if says(document, canonical(expected)):
        return None
    said = content(document)
    schema = f"{model.name}/{kind.name}"
    if not is_valid(schema)(said):
        # A person's preferences, or password, are not for a report.
        rules = explain(schema, said, secrets=True)
        reason = f"{_name(lookup)}, document {doc_id}: {rules[0] if rules else 'breaks its schema'}"
        return CardVerdict(entry.key, VerifyVerdict.WRONG, reason)
    if any(each.kind == kind.name and each.marking and each.marking.is_marked(said) for each in model.revoking):
        return CardVerdict(entry.key, VerifyVerdict.REVOKED, f"document {doc_id} is marked as revoked")
    if certifies_itself(document):
        return CardVerdict(entry.key, VerifyVerdict.OUTDATED, f"document {doc_id} is of an earlier load")
    return CardVerdict(entry.key, VerifyVerdict.CHANGED, f"document {doc_id} has been changed")


def _judge_absence(
    model: Model, lookup: Lookup, kind: Kind, answers: CardAnswers, *, is_explained: bool
) -> Iterator[CardVerdict]:
    """Tell a card that was never loaded from one that was stopped on purpose, and both from the rest."""
    doc_id = kind.id(answers.entry.key)
    leaves = answers.leaves[kind.name]
    if not leaves:
        yield CardVerdict(answers.entry.key, VerifyVerdict.MISSING, f"document {doc_id} is not there")
    elif all(leaf.get("_deleted") for leaf in leaves):
        is_odd = all(each.kind != kind.name for each in model.revoking) and not is_explained
        which = "has been deleted, and the card itself is not revoked" if is_odd else "has been deleted"
        yield CardVerdict(answers.entry.key, VerifyVerdict.REVOKED, f"document {doc_id} {which}", is_odd)
    elif not is_explained:
        reason = f"{_name(lookup)} does not find document {doc_id}, which is there"
        yield CardVerdict(answers.entry.key, VerifyVerdict.WRONG, reason)


def _name(lookup: Lookup) -> str:
    return f"view {lookup.view}" if lookup.view else f"database {lookup.database}"


def _at(row: Row, place: str) -> Document | None:
    found: Any = row
    for part in place.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) and not found.get("_deleted") else None
