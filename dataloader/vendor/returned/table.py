"""What every kind of returned file is read as: sources, each a run of rows below one row of titles."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dataloader.vendor.chip_uid import CellKind
from dataloader.vendor.returned.columns import Columns

MAX_CELL = 10_000
"""Characters; longer than any remark, and a third of what a spreadsheet's cell can hold."""
SPARE = "spare"
"""The result of a spare card, until the vendor has encoded it: it stands there when the file goes out."""

Cell = Any
"""Text, or a number, or what :func:`text_of` knows beside them; empty text for an empty cell."""
ReturnedRow = list[Cell]
"""Its row number, from 1, then its cells in the order of :data:`dataloader.vendor.returned.columns.KEYS`."""


@dataclass(frozen=True, slots=True)
class ReturnedTable:
    """A table in a returned file. Its rows can be read once, before the next table's."""

    place: str
    """The file, and the sheet where several hold a table."""
    unit: str
    """What a row is called: ``row`` or ``line``."""
    keys: frozenset[str]
    """The columns that are there."""
    fills_result: bool
    """Whether anything stands in the column of results but what stood there when the file went out."""
    fills_chip: bool
    """Whether anything stands in the column of chip UIDs."""
    rows: Iterator[ReturnedRow]
    about: Mapping[str, str] = field(default_factory=dict)
    """What the workbook says of its batch."""

    def where(self, row: int) -> str:
        """Return what a row is called in messages."""
        return f"{self.place}, {self.unit} {row}"


def text_of(cell: Cell) -> tuple[str, CellKind]:
    """Return a cell as the text that a person sees in it, and what it is."""
    if isinstance(cell, str):
        return cell, CellKind.TEXT
    if isinstance(cell, bool):
        return str(cell).upper(), CellKind.BOOLEAN
    if isinstance(cell, int | float):
        whole = isinstance(cell, int) or cell.is_integer()
        return (str(int(cell)) if whole and abs(cell) < 1e17 else repr(cell).upper()), CellKind.NUMBER  # noqa: PLR2004 - beyond, Python writes floats with an exponent
    kind, text = cell
    return text, CellKind(kind)


def fills(columns: Columns, rows: Iterator[list[Cell]]) -> tuple[bool, bool]:
    """Look through the rows below the titles, as far as needed, for any result and any chip UID.

    A result that says spare stood there when the file went out, so that alone it tells nothing.
    """
    at = [columns.at.get("result", -1), columns.at.get("chip", -1)]
    found = [False, False]
    for cells in islice(rows, columns.row + 1, None):
        for which, column in enumerate(at):
            if not found[which] and 0 <= column < len(cells):
                text = str(cells[column]).strip()
                found[which] = bool(text) and not (which == 0 and text.casefold() == SPARE)
        if all(done or column < 0 for done, column in zip(found, at, strict=True)):
            break
    return found[0], found[1]
