"""Show what an update would change and what owners have edited, for ``plan --diff``."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from dataloader.cli._table import table
from dataloader.common import many
from dataloader.operations import ABSENT, ChangedTerm, Changes, Edits, Term

SHOWN = 20
"""Rows to show for each snapset, for edited terms, and for the values of a term; --json has all."""


def changes_json(changes: Changes, edits: Edits, *, values: bool) -> dict[str, Any]:
    """Return changes and edits as JSON data; a term that isn't set has no value."""
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
    }


def changes_text(changes: Changes, edits: Edits) -> Iterator[str]:
    """Yield changes and edits as lines."""
    for name, change in sorted(changes.by_snapset.items()):
        what = many(change.cards, "card") if change.cards else "the snapset itself"
        yield f"an update would change {name}: {what}"
        rows = sorted(change.terms.items())
        yield from _indented(
            [
                (cards, f"{term_text(each.term)}: {value_text(each.before)} → {value_text(each.after)}")
                for each, cards in rows[:SHOWN]
            ]
        )
        yield from _more(len(rows), "term")
    for kind, count in sorted(changes.others.items()):
        yield f"an update would change {many(count, 'document')} of kind {kind}"
    if not changes.documents:
        yield "an update would change nothing"
    found = edits.found
    if not found.cards:
        yield "owners have edited nothing"
        return
    yield f"owners have edited the preferences of {many(found.cards, 'card')}"
    for term, cards in _most(found.terms)[:SHOWN]:
        yield from _indented([(cards, term_text(term))])
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


def _most(counter: Counter[Any]) -> list[tuple[Any, int]]:
    """Return counts, the highest first."""
    return sorted(counter.items(), key=lambda each: (-each[1], each[0]))


def _values_json(edits: Edits, term: Term) -> list[dict[str, Any]]:
    return [{**value_json("value", value), "cards": cards} for value, cards in _most(edits.found.values[term])]


def value_json(member: str, value: bytes) -> dict[str, Any]:
    """Return a member with a term's value as JSON data, or none if it is not set."""
    return {} if value == ABSENT else {member: orjson.loads(value)}


def _from_to(each: ChangedTerm) -> str:
    return f"{value_text(each.before)} → {value_text(each.after)}"


def value_text(value: bytes) -> str:
    """Return a term's value as JSON, or that it is not set."""
    return "not set" if value == ABSENT else value.decode()


def term_text(term: Term) -> str:
    """Return the short name of a term, with its context unless that is the default one."""
    return term.name if term.context == "gpii-default" else f"{term.name} ({term.context})"


def _indented(rows: list[tuple[int, str]]) -> Iterator[str]:
    yield from (f"  {line}" for line in table([(many(number, "card"), text) for number, text in rows]))


def _more(count: int, what: str) -> Iterator[str]:
    if count > SHOWN:
        yield f"  and {many(count - SHOWN, f'more {what}')} (--json lists all)"
