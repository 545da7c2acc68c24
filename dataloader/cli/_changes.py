"""Show what an update would change, what owners have edited, and which edits are in conflict, term by term."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from dataloader.batch import CardFile
from dataloader.cli._table import table
from dataloader.cli._update import NO_TERMS
from dataloader.common import are, flattened, many
from dataloader.operations import ABSENT, Branch, Changes, Conflicts, Edits, SetInConflict, Term, value_text

SHOWN = 20
"""Rows to show for each snapset, for edited terms, and for the values of a term; --json has all."""


def changes_json(changes: Changes, edits: Edits, conflicts: Conflicts, *, values: bool) -> dict[str, Any]:
    """Return changes, edits and conflicts as JSON data; a term that isn't set has no value."""
    return {
        "update": {
            "documents": changes.documents,
            "snapsets": [
                {
                    "snapset": name,
                    "cards": change.cards,
                    "terms": [
                        {
                            **each.term._asdict(),
                            **value_json("from", each.before),
                            **value_json("to", each.after),
                            "cards": cards,
                        }
                        for each, cards in sorted(change.terms.items())
                    ],
                }
                for name, change in sorted(changes.by_snapset.items())
            ],
            "others": dict(changes.others),
        },
        "owners": {
            "cards": edits.found.cards,
            "guessed": edits.found.guessed,
            "terms": [
                {**term._asdict(), "cards": cards, **({"values": _values_json(edits, term)} if values else {})}
                for term, cards in _most(edits.found.terms)
            ],
            "left_out": edits.found.left_out,
        },
        "conflicts": [conflict_json(each, values=values) for each in conflicts.found],
    }


def changes_text(changes: Changes, edits: Edits, *, in_conflict: bool) -> Iterator[str]:
    """Yield changes and edits as lines.

    Args:
        changes: what an update would change.
        edits: what owners have edited, apart from sets in conflict.
        in_conflict: whether there are such sets, which owners have edited, too.
    """
    for name, change in sorted(changes.by_snapset.items()):
        what = many(change.cards, "card") if change.cards else "the snapset itself"
        yield f"an update would change {name}: {what}"
        rows = sorted(change.terms.items())
        if not rows:
            yield f"  {NO_TERMS}"
        terms = [
            (cards, f"{each.term.shown}: {value_text(each.before)} → {value_text(each.after)}")
            for each, cards in rows[:SHOWN]
        ]
        yield from _indented(terms) if change.cards else (f"  {text}" for _, text in terms)
        yield from _more(len(rows), "term")
    for kind, count in sorted(changes.others.items()):
        yield f"an update would change {many(count, 'document')} of kind {kind}"
    if not changes.documents:
        yield "an update would change nothing"
    found = edits.found
    if not found.cards:
        if not in_conflict:
            yield "owners have edited nothing"
        return
    yield f"owners have edited the preferences of {many(found.cards, 'card')}"
    for term, cards in _most(found.terms)[:SHOWN]:
        yield from _indented([(cards, term.shown)])
        values = _most(found.values.get(term, Counter()))
        yield from (
            f"    {line}" for line in _indented([(number, value_text(value)) for value, number in values[:SHOWN]])
        )
        yield from _more(len(values), "value")
    yield from _more(len(found.terms), "term")
    if found.guessed:
        yield (
            f"  {many(found.guessed, 'card')} compared with the given snapset: "
            "the server no longer has the loaded version"
        )


def conflict_json(found: SetInConflict, *, values: bool) -> dict[str, Any]:
    """Return a preference set in conflict, with what each revision changed, as JSON data."""
    return {
        "database": found.database,
        "_id": found.id,
        "can_be_merged": found.merged is not None,
        "clashes": [each._asdict() for each in found.clashes],
        "revisions": [{"_rev": each.rev, "changed": _terms_json(each, values=values)} for each in found.branches],
    }


def _terms_json(branch: Branch, *, values: bool) -> Sequence[dict[str, Any]] | None:
    if branch.changed is None:
        return None
    return [{**each.term._asdict(), **(value_json("value", each.after) if values else {})} for each in branch.changed]


def conflicts_text(
    found: Sequence[SetInConflict],
    manifests: Sequence[CardFile],
    *,
    values: bool,
    full: bool,
    keep: str = "--keep",
    shown: int | None = None,
) -> Iterator[str]:
    """Yield preference sets in conflict, each with what its revisions changed, and whether they can be merged.

    Args:
        found: the sets.
        manifests: the batches, which name the cards.
        values: whether to show the values that owners chose, which are personal.
        full: whether to show whole revisions.
        keep: what to choose a revision with.
        shown: how many sets to show; None for all.
    """
    by_card = {each.key: each for each in found}
    cards = ((each.header.name, card) for each in manifests if by_card for card in each.cards() if card.uuid in by_card)
    for name, card in islice(cards, shown):
        each = by_card[card.uuid]
        yield f"batch {name}, card {card.number} ({card.uuid}):"
        for branch in each.branches:
            yield f"  {branch.rev if full else branch.short_rev}: {branch.changed_text(values=values)}"
        yield f"  {each.choice_text} with {keep}" if each.choice_text else "  can be merged"


def plan_conflicts_text(
    conflicts: Conflicts, manifests: Sequence[CardFile], *, values: bool, full: bool
) -> Iterator[str]:
    """Yield the preference sets in conflict for ``plan --diff``."""
    count = len(conflicts.found)
    if not count:
        return
    yield f"{many(count, 'preference set')} {are(count)} in conflict; dataloader merge merges them"
    given: dict[str, Any] = {"values": values, "full": full, "keep": "dataloader merge --keep", "shown": SHOWN}
    yield from (f"  {line}" for line in conflicts_text(conflicts.found, manifests, **given))
    if count > SHOWN:
        yield f"  and {many(count - SHOWN, 'more preference set')} (dataloader merge --dry-run lists all)"


def _most(counter: Counter[Any]) -> list[tuple[Any, int]]:
    """Return counts, the highest first."""
    return sorted(counter.items(), key=lambda each: (-each[1], each[0]))


def _values_json(edits: Edits, term: Term) -> list[dict[str, Any]]:
    return [{**value_json("value", value), "cards": cards} for value, cards in _most(edits.found.values[term])]


def value_json(member: str, value: bytes) -> dict[str, Any]:
    """Return a member with a term's value as JSON data, or none if it is not set."""
    return {} if value == ABSENT else {member: msgspec.json.decode(flattened(value))}


def _indented(rows: list[tuple[int, str]]) -> Iterator[str]:
    yield from (f"  {line}" for line in table([(many(number, "card"), text) for number, text in rows]))


def _more(count: int, what: str) -> Iterator[str]:
    if count > SHOWN:
        yield f"  and {many(count - SHOWN, f'more {what}')} (--json lists all)"
