"""Grids: the rows of cells of a returned file, before they are interpreted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataloader.vendor.chip_uid import CellKind

Cell = Any
"""Text, a number, or another type that :func:`text_of` handles; empty text for an empty cell."""


class GridRow(NamedTuple):
    """A row that is not empty."""

    number: int
    """Its number in the file, from 1."""
    cells: list[Cell]
    hidden: bool = False
    struck: frozenset[int] = frozenset()
    """The columns with struck-through text."""


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
    """The comments on cells, with their places."""
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
    kind, text = cell
    return text, CellKind(kind)
