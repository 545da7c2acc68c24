"""Conditional formatting of workbooks: which cells it strikes through, hides or colours.

Only the simplest conditions are evaluated: a cell is equal to a text or number, contains a text, or is blank (ECMA-376
part 1, 18.3.1.10 and 18.18.12). Any other condition may be met by every row.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from dataloader.common import short
from dataloader.vendor.chip_uid import CellKind
from dataloader.vendor.returned.grid import Area, area_of, column_of, text_of
from dataloader.vendor.returned.styles import Style

_LITERAL = r'("(?:[^"]|"")*"|-?[0-9]+(?:\.[0-9]+)?)'
_COMPARED = re.compile(rf"(\$?)([A-Z]{{1,3}})([0-9]{{1,7}})\s*(=|<>)\s*{_LITERAL}", re.IGNORECASE)
"""A formula such as ``$F2="failed"``: the row moves with the cell, the column only without ``$``."""
_ASKED = re.compile(r"(ISERROR|ISERR|ISNA|ISBLANK)\(\s*(\$?)([A-Z]{1,3})([0-9]{1,7})\s*\)", re.IGNORECASE)
"""A formula such as ``ISERROR(F2)``."""
_EMPTY = re.compile(r"LEN\((?:TRIM\(\s*)?(\$?)([A-Z]{1,3})([0-9]{1,7})\s*\)?\)\s*=\s*0", re.IGNORECASE)
_REPEATED = re.compile(r"COUNTIF\([^()!]*\)\s*>\s*1", re.IGNORECASE)
"""A formula that finds repeated values, as reconcile does."""
_REFERENCE = re.compile(r"[A-Z]\$?[0-9]", re.IGNORECASE)
_EVERYWHERE = Area(0, 0, 1 << 20, 1 << 14)
"""For references in another form, such as ``A:G``."""
_SHOWN = 60
"""The most characters of a formula, and of its cells, to repeat in messages."""

_Test = Callable[[str, CellKind], bool]
"""Tests the text of a cell in lower case, and its type."""


class Rule:
    """A rule of conditional formatting.

    Args:
        where: the cells, as written in the workbook.
        style: how it makes them look.
        attributes: the attributes of its element.
        formula: its first formula.
    """

    def __init__(self, where: str, style: Style, attributes: dict[str, str], formula: str) -> None:
        self.style = style
        self._where = where
        self._formula = formula.strip()
        self._kind = attributes.get("type", "")
        self.areas = [area_of(part) or _EVERYWHERE for part in where.split()]
        """The cells that it may format."""
        self._offset: int | None = 0
        """How far the tested column is from the cell; None if it is always the same."""
        self._column = 0
        self._test = self._find_test(attributes.get("operator", ""), attributes.get("text", "").casefold())

    @property
    def is_unknown(self) -> bool:
        """Whether its condition depends on cells, and is neither evaluated nor a search for repeated values."""
        is_formula = self._kind == "expression" and self._test is None and not _REPEATED.fullmatch(self._formula)
        return is_formula and _REFERENCE.search(self._formula) is not None

    @property
    def matters(self) -> bool:
        """Whether it can make a difference: a colour whose condition is not evaluated makes none."""
        return self._test is not None or bool(self.style.why)

    def tests(self, area: Area, rows: int, columns: int) -> int:
        """Return how often its condition is tested in one of its areas of a sheet of a given size."""
        height = min(area.bottom, rows - 1) - area.top + 1
        width = min(area.right, columns - 1) - area.left + 1
        return max(height, 0) * (1 if self._offset is None else max(width, 0))

    @property
    def named(self) -> str:
        """Its cells and its condition, for messages."""
        return f"{short(self._where, _SHOWN)} ({short(self._formula, _SHOWN)})"

    def _find_test(self, operator: str, text: str) -> _Test | None:
        tests: dict[str, _Test] = {
            "containsText": lambda cell, _: text in cell,
            "notContainsText": lambda cell, _: text not in cell,
            "beginsWith": lambda cell, _: cell.startswith(text),
            "endsWith": lambda cell, _: cell.endswith(text),
            "containsBlanks": lambda cell, _: not cell.strip(),
            "notContainsBlanks": lambda cell, _: bool(cell.strip()),
            # Errors are like formulas.
            "containsErrors": lambda _, kind: kind is CellKind.FORMULA,
            "notContainsErrors": lambda _, kind: kind is not CellKind.FORMULA,
        }
        if self._kind in tests and (text or self._kind.endswith(("Blanks", "Errors"))):
            return tests[self._kind]
        if self._kind == "cellIs" and operator in {"equal", "notEqual"} and re.fullmatch(_LITERAL, self._formula):
            return _equal(self._formula, wanted=operator == "equal")
        formula = self._formula if self._kind == "expression" else ""
        compared, asked, empty = (each.fullmatch(formula) for each in (_COMPARED, _ASKED, _EMPTY))
        if compared and self._finds_column(*compared.group(1, 2, 3)):
            return _equal(compared[5], wanted=compared[4] == "=")
        if asked and self._finds_column(*asked.group(2, 3, 4)):
            return tests["containsBlanks" if asked[1].upper() == "ISBLANK" else "containsErrors"]
        if empty and self._finds_column(*empty.group(1, 2, 3)):
            return tests["containsBlanks"]
        return None

    def _finds_column(self, fixed: str, column: str, row: str) -> bool:
        """Find the column that a formula tests; return whether it tests the same row as that of the cell."""
        if len(self.areas) != 1 or int(row) - 1 != self.areas[0].top:
            return False
        self._column = column_of(column.upper())
        self._offset = None if fixed else self._column - self.areas[0].left
        return True

    def formatted(self, area: Area, cells: Sequence["_Cell"]) -> Iterator[tuple[int, bool]]:
        """Yield the columns of a row that it formats, and whether that is certain.

        Args:
            area: one of its areas, which includes the row.
            cells: the cells of the row.
        """
        columns = range(area.left, min(area.right, len(cells) - 1) + 1)
        if self._offset is None:
            is_certain = self._is_met(self._column, cells)
            yield from ((column, is_certain) for column in columns if is_certain is not None)
            return
        for column in columns:
            is_certain = self._is_met(column + self._offset, cells)
            if is_certain is not None:
                yield column, is_certain

    def _is_met(self, at: int, cells: Sequence["_Cell"]) -> bool | None:
        """Return whether its condition is certainly (True) or perhaps (False) met by a cell; None if not."""
        text, kind = cells[at] if 0 <= at < len(cells) else _BLANK
        if self._test is None or kind is CellKind.FORMULA:
            return False
        return True if self._test(text, kind) else None


_Cell = tuple[str, CellKind]
"""The text of a cell in lower case, and its type."""
_BLANK = ("", CellKind.TEXT)


def _cell(cell: Any) -> _Cell:
    # The library returns dates and durations as objects of their own.
    text, kind = text_of(cell) if isinstance(cell, str | int | float | list) else (str(cell), CellKind.DATE)
    return text.casefold(), kind


class Rules:
    """The rules of a sheet, for its rows from top to bottom.

    Args:
        rules: the rules; those that make no difference are left out.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._all = [(area, rule) for rule in rules if rule.matters for area in rule.areas]
        # The last one is next.
        self._next = sorted(self._all, key=lambda each: each[0].top, reverse=True)
        self._active: list[tuple[Area, Rule]] = []

    def tests(self, rows: int, columns: int) -> int:
        """Return how many conditions are tested in a sheet of a given size."""
        return sum(rule.tests(area, rows, columns) for area, rule in self._all)

    def formatted(self, row: int, cells: Sequence[Any]) -> Iterator[tuple[Rule, int, bool]]:
        """Yield the rules that format cells of a row, with the columns, and whether that is certain.

        Args:
            row: the number of the row, from 0; higher than the last one.
            cells: its cells.
        """
        while self._next and self._next[-1][0].top <= row:
            self._active.append(self._next.pop())
        self._active = [each for each in self._active if each[0].bottom >= row]
        if not self._active:
            return
        texts = [_cell(each) for each in cells]
        for area, rule in self._active:
            for column, is_certain in rule.formatted(area, texts):
                yield rule, column, is_certain


def _equal(literal: str, *, wanted: bool) -> _Test:
    if literal.startswith('"'):
        text = literal[1:-1].replace('""', '"').casefold()
        return lambda cell, _: (cell == text) == wanted
    number = float(literal)
    return lambda cell, kind: (kind is CellKind.NUMBER and float(cell) == number) == wanted
