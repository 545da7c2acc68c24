"""The verdict on a card: what the real servers would make of the answers that they get for it.

This is the only place that decides it; ``card_answers`` finds the answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dataloader.common import Document, certifies_itself, content, explain, is_valid, says
from dataloader.records.models import Entry, Kind, Lookup, Model

Answer: TypeAlias = dict[str, Document | None]
"""What one row of a lookup gives the servers: a document of each kind that it should hold, None for one it does not."""


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
    found: list[list[Answer]]
    """For each lookup of the model, the rows with the card's key: one, if all is well."""
    leaves: dict[str, list[Document]]
    """By kind, every leaf of each document that should have been found and was not: none if it never existed."""

    def absent(self, lookup: Lookup, rows: list[Answer]) -> str | None:
        """Return the kind of the first document that a lookup should find and does not; None if it finds all."""
        if not rows:
            return next(iter(lookup.kinds.values()))
        if len(rows) == 1:
            for kind, document in rows[0].items():
                if document is None:
                    return kind
        return None


def judge(model: Model, answers: CardAnswers) -> CardVerdict:
    """Return the verdict on a card, the worst of what its answers come to."""
    worst = CardVerdict(answers.entry.key, VerifyVerdict.OK)
    for lookup, rows in zip(model.lookups, answers.found, strict=True):
        # A card without its token has nothing that the token leads to, either: once is enough.
        is_explained = worst.verdict in {VerifyVerdict.REVOKED, VerifyVerdict.MISSING}
        for found in _judge_lookup(model, lookup, answers, rows, is_explained=is_explained):
            if _ORDER[found.verdict] > _ORDER[worst.verdict]:
                worst = found
    return worst


def _judge_lookup(
    model: Model, lookup: Lookup, answers: CardAnswers, rows: list[Answer], *, is_explained: bool
) -> Iterator[CardVerdict]:
    if len(rows) > 1:
        reason = f"{_name(lookup)} has {len(rows)} answers, not one"
        yield CardVerdict(answers.entry.key, VerifyVerdict.WRONG, reason)
        return
    for row in rows:
        for kind, document in row.items():
            if document is None:
                break
            found = _judge_document(model, lookup, model.kind(kind), answers.entry, document)
            if found is not None:
                yield found
    absent = answers.absent(lookup, rows)
    if absent is not None:
        yield from _judge_absence(model, lookup, model.kind(absent), answers, is_explained=is_explained)


def _judge_document(model: Model, lookup: Lookup, kind: Kind, entry: Entry, document: Document) -> CardVerdict | None:
    """Return the verdict on a document that the servers would be given; None if it is as the batch says."""
    expected = kind.document(entry)
    doc_id = expected["_id"]
    if document.get("_id") != doc_id:
        reason = f"{_name(lookup)} leads to document {document.get('_id')}, not {doc_id}"
        return CardVerdict(entry.key, VerifyVerdict.WRONG, reason)
    if says(document, expected):
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
