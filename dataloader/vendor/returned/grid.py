"""Grids: the rows of cells of a returned file, before they are interpreted."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from dataloader.vendor.chip_uid import CellKind

_AREA = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7})(?::\$?([A-Z]{1,3})\$?([0-9]{1,7}))?\Z")
_MIN_STRIPES = 8
"""The fewest rows in alternating colours that are stripes."""
PAGE = "header or footer of the page"
"""The place of a text that is printed on every page, among comments."""
DRAWN = "drawing"
"""The place of a picture or line among comments, with its first cell as the text."""
CONTROL = "form control"
"""The place of checkboxes and the like, which are drawn on a sheet and belong to no cell."""
Cell = Any
"""Text, a number, or another type that :func:`text_of` handles; empty text for an empty cell."""


class GridRow(NamedTuple):
    """A row that is not empty."""

    number: int
    """Its number in the file, from 1."""
    cells: list[Cell]
    hidden: bool = False
    unseen: Mapping[int, str] = {}
    """The columns with struck-through or invisible text, with the reasons."""
    looks: Mapping[int, str] = {}
    """The columns that look unusual, with their colours or the like."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A sheet of a workbook, or a text file. Its rows can be read once, before those of the next grid."""

    sheet: str
    """Its name; empty for a text file."""
    unit: str
    """The word for a row: ``row`` or ``line``."""
    rows: Iterator[GridRow]
    hidden: bool = False
    about: Mapping[str, str] = field(default_factory=dict)
    """The workbook's information about its batch."""
    hidden_columns: frozenset[int] = frozenset()
    """The hidden columns, from 0."""
    comments: Sequence[tuple[str, str]] = ()
    """The comments on cells, with their places, the text boxes, without a place, and those of :data:`PAGE`,
    :data:`DRAWN` and :data:`CONTROL`."""
    conditional: Sequence[str] = ()
    """Cells with conditional formatting that colours them by a condition that is not evaluated, with the condition."""
    above: list[tuple[int, str]] = field(default_factory=list)
    """Lines of text above the rows, available once the first row was read."""


def text_of(cell: Cell) -> tuple[str, CellKind]:
    """Return a cell's text as displayed, and its type."""
    if isinstance(cell, str):
        return cell, CellKind.TEXT
    if isinstance(cell, bool):
        return str(cell).upper(), CellKind.BOOLEAN
    if isinstance(cell, int | float):
        whole = isinstance(cell, int) or cell.is_integer()
        return (str(int(cell)) if whole and abs(cell) < 1e17 else repr(cell).upper()), CellKind.NUMBER  # noqa: PLR2004 - beyond, Python writes floats with an exponent
    if cell is None:
        # JSON has neither infinity nor NaN.
        return "out of range", CellKind.NUMBER
    kind, text = cell
    return text, CellKind(kind)


def unlike_rows(by_look: Mapping[Any, Sequence[int]]) -> list[int]:
    """Return the rows that look different from most; none if the rows are striped.

    Args:
        by_look: the numbers of all rows, by their looks.
    """
    rows = sorted(by_look.values(), key=len)
    are_stripes = sum(map(len, rows)) >= _MIN_STRIPES and all(len({row % 2 for row in each}) == 1 for each in rows)
    return [] if are_stripes else sorted(chain.from_iterable(rows[:-1]))


def letters(column: int) -> str:
    """Return the letters of a column number from 0: ``A``, ``Z``, ``AA``."""
    column += 1
    found = ""
    while column:
        column, rest = divmod(column - 1, 26)
        found = chr(ord("A") + rest) + found
    return found


def column_of(letters: str) -> int:
    """Return the number of a column from 0: 0 for ``A``."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


class Area(NamedTuple):
    """A block of cells; rows and columns from 0, the last ones included."""

    top: int
    left: int
    bottom: int
    right: int


def area_of(reference: str) -> Area | None:
    """Return the cells of a reference such as ``F2`` or ``$A$2:$G$13``; None if it is not one."""
    match = _AREA.match(reference)
    if match is None:
        return None
    left, top = column_of(match[1]), int(match[2]) - 1
    right, bottom = (column_of(match[3]), int(match[4]) - 1) if match[3] else (left, top)
    return Area(min(top, bottom), min(left, right), max(top, bottom), max(left, right))
