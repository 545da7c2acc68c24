"""The columns of a returned file: found by their titles, wherever they stand and whoever has renamed them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataloader.common import short

MAX_HEAD = 20
"""Rows in which the titles are looked for; vendors put headings of their own above them."""
KEYS = ("number", "uuid", "check", "snapset", "chip", "result", "note")
"""What is read of a row, in this order."""
SYNONYMS: Mapping[str, frozenset[str]] = {
    "number": frozenset({"card number", "card no", "card no."}),
    "uuid": frozenset({"uuid", "card uuid"}),
    "check": frozenset({"check", "check value"}),
    "snapset": frozenset({"snapset"}),
    "chip": frozenset({"chip uid", "uid", "tag uid", "nfc uid"}),
    "result": frozenset({"result", "encoding result"}),
    "note": frozenset({"note", "notes", "remark", "remarks", "comment", "comments"}),
}
"""Titles that are understood, as :func:`plain` has them: those of our own workbook, and what vendors make of them."""
_SHOWN_TITLES = 12
_SHOWN_TITLE = 40
"""Characters."""


def plain(title: object) -> str:
    """Return a title without what does not matter: case, and blanks around and between words."""
    return " ".join(str(title).replace("\N{ZERO WIDTH NO-BREAK SPACE}", "").split()).casefold()


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns of a sheet are."""

    row: int
    """The row of the titles, from 0."""
    at: Mapping[str, int]
    """The column of each key that has one, from 0."""
    doubles: tuple[str, ...] = ()
    """Keys that more than one column could be."""

    @property
    def indices(self) -> list[int]:
        """The columns in the order of :data:`KEYS`, -1 for those that are not there."""
        return [self.at.get(key, -1) for key in KEYS]

    @property
    def problem(self) -> tuple[str, str] | None:
        """What stands in the way of reading the rows, and what to do; None if nothing does."""
        if self.doubles:
            return (
                f"more than one column could be the {' or the '.join(self.doubles)}",
                f'name the right one: --column {self.doubles[0]}="ITS TITLE", or rename the other',
            )
        if "chip" not in self.at and "result" not in self.at:
            return (
                "has neither a column Result nor Chip UID, so that nothing tells which cards were encoded",
                'if they have other titles: --column result="ITS TITLE" --column chip="ITS TITLE"',
            )
        return None


def find_columns(
    rows: Sequence[Sequence[Any]], named: Mapping[str, str], uuid_titles: Sequence[str] = ()
) -> Columns | None:
    """Find the titles in the first rows of a sheet.

    Args:
        rows: the first rows.
        named: titles by key, where the operator has named them; an empty title stands for no such column.
        uuid_titles: more titles of the UUIDs' column, for where none of the usual ones is there.

    Returns:
        The columns, None where no row has one for the UUIDs.
    """
    wanted = {key: frozenset({plain(named[key])}) - {""} if key in named else SYNONYMS[key] for key in KEYS}
    # A column that was named for one thing is nothing else, whatever its title suggests.
    taken = frozenset().union(*(wanted[key] for key in named)) if named else frozenset()
    others = frozenset(map(plain, uuid_titles)) - taken
    best: Columns | None = None
    for row, cells in enumerate(rows[:MAX_HEAD]):
        titles = [plain(cell) for cell in cells]
        at: dict[str, int] = {}
        doubles = []
        for key in KEYS:
            titled = wanted[key] if key in named else wanted[key] - taken
            columns = [column for column, title in enumerate(titles) if title in titled]
            if key == "uuid" and key not in named and not columns:
                columns = [column for column, title in enumerate(titles) if title in others]
            if columns:
                at[key] = columns[0]
            if len(columns) > 1:
                doubles.append(key)
        is_head = "uuid" in at and all(key in at for key in named if named[key])
        # A heading above the titles may well be one of their words.
        if is_head and (best is None or len(at) > len(best.at)):
            best = Columns(row, at, tuple(doubles))
    return best


def nothing_found(rows: Sequence[Sequence[Any]], named: Mapping[str, str]) -> tuple[str, str]:
    """Return what to say where no titles were found, and what to do."""
    fullest = max(rows[:MAX_HEAD], key=lambda cells: sum(1 for cell in cells if plain(cell)), default=())
    titles = [short(str(cell), _SHOWN_TITLE) for cell in fullest if plain(cell)]
    found = f"; found: {', '.join(titles[:_SHOWN_TITLES])}" if titles else ""
    wanted = ", ".join(dict.fromkeys([named.get("uuid") or "UUID", *(title for title in named.values() if title)]))
    return (
        f"none of its first {MAX_HEAD} rows holds the titles of columns ({wanted}){found}",
        'say what the columns are called, as in --column uuid="Tag ID"',
    )
