"""Tables: what a returned file says of cards, read from its grids by the titles of their columns."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from dataloader.common import InputError, Problem, listed, short
from dataloader.vendor.chip_uid import CellKind, are_decimal, is_decimal, looks_like_chip
from dataloader.vendor.returned.columns import (
    KEYS,
    MAX_HEAD,
    Columns,
    find_columns,
    is_title,
    letters,
    nothing_found,
    plain,
    understand_title,
)
from dataloader.vendor.returned.csv_file import ABOVE, ABOVE_TODO, UUID_LIKE
from dataloader.vendor.returned.grid import Cell, Grid, GridRow, text_of
from dataloader.vendor.returned.options import Reading
from dataloader.vendor.returned.words import names_rejects, says_failed, says_nothing, says_result

MAX_CELL = 10_000
"""Characters; longer than any remark, and a third of what a spreadsheet's cell can hold."""
MAX_SHEET = 31
"""Characters of a sheet's name, as spreadsheet programs have it."""
SPARE = "spare"
"""The result of a spare card, until the vendor has encoded it: it is there when the file goes out."""
_REASONS = frozenset({"reason", "grund", "raison", "motif", "motivo", "razon", "reden", "causa"})
_MATTERS = frozenset(KEYS) - {"note", "snapset"}
"""Columns in which a formula, or text that is struck through, leaves something in doubt."""
_SHOWN = 40
"""Characters of a cell that messages repeat."""
_MARKED = re.compile(r'=\s*"(.*)"\s*\Z', re.DOTALL)
_SHORTEST_DECIMAL = 8
_EMPTY = ("",) * len(KEYS)


class ReturnedRow(NamedTuple):
    """A row, its cells in the order of :data:`~dataloader.vendor.returned.columns.KEYS`."""

    line: int
    """Its number in the file, from 1."""
    number: Cell
    uuid: Cell
    check: Cell
    snapset: Cell
    chip: Cell
    result: Cell
    note: Cell
    hidden: str = ""
    """Why it does not count unless the operator says so: ``hidden``, ``on a hidden sheet``, ``struck through``."""


@dataclass(slots=True)
class ReturnedTable:
    """A table in a returned file: the rows below one row of titles."""

    place: str
    """The file, and the sheet where several hold a table."""
    unit: str
    """What a row is called: ``row`` or ``line``."""
    keys: frozenset[str]
    """The columns that are there."""
    rows: list[ReturnedRow] = field(default_factory=list)
    about: Mapping[str, str] = field(default_factory=dict)
    """What the workbook says of its batch."""
    fills_result: bool = False
    """Whether anything is in the column of results but what was there when the file went out."""
    fills_chip: bool = False
    """Whether anything is in the column of chip UIDs."""
    decimal: bool = False
    """Whether all its chip UIDs could be decimal numbers."""
    rejects: str = ""
    """Why it seems to list cards that failed: by the name of its sheet, or a column of reasons."""
    is_named_so: bool = False
    """Whether that is the name of its sheet."""
    unread: tuple[str, ...] = ()
    """The columns that were not understood, as messages call them."""
    hidden: int = 0
    """How many of its rows are hidden or struck through, and do not count."""
    total: int = 0
    """How many rows it has."""

    def where(self, row: int) -> str:
        """Return what a row is called in messages."""
        return f"{self.place}, {self.unit} {row}"


def tables_of(path: Path, place: str, grids: Iterator[Grid], reading: Reading) -> Iterator[ReturnedTable]:
    """Yield the tables of a file.

    Args:
        path: the file, for errors.
        place: what it is called in messages about rows.
        grids: its sheets.
        reading: how to read it.

    Raises:
        InputError: it holds no table of cards; or something in it that was not understood could matter.
    """
    found = rows = 0
    heads: list[list[list[Cell]]] = []
    for grid in grids:
        head = list(islice(grid.rows, MAX_HEAD))
        cells = [_texts(row.cells) for row in head]
        columns = find_columns(cells, reading.columns, reading.uuid_titles)
        if columns is None:
            heads.append(cells)
            continue
        found += 1
        for row, texts in zip(head[: columns.row], cells, strict=False):
            if any(map(UUID_LIKE.search, texts)):
                where = f"{path}, sheet {short(grid.sheet, MAX_SHEET)}, {grid.unit} {row.number}"
                raise InputError(Problem(where, ABOVE, ABOVE_TODO))
        shown = place if found == 1 else f"{place}, sheet {short(grid.sheet, MAX_SHEET)}"
        for table in _Reader(path, shown, grid, reading).read(columns, chain(head[columns.row :], grid.rows)):
            rows += table.total
            if rows > reading.max_rows:
                rule = f"has more than {reading.max_rows:,} rows, far more than the cards of the batch"
                raise InputError(Problem(str(path), rule, "check that it is the right file"))
            yield table
    if not found:
        fullest = max(heads, key=lambda rows: max(map(len, rows), default=0), default=[])
        raise InputError(Problem(str(path), *nothing_found(fullest, reading.columns)))


def _texts(cells: list[Cell]) -> list[str]:
    return [unmarked(cell) if isinstance(cell, str) else text_of(cell)[0] for cell in cells]


def _is_plain(cells: tuple[Cell, ...]) -> bool:
    """Return whether cells are texts without marks, and not too long: most rows need no other look."""
    try:
        joined = "\0".join(cells)
    except TypeError:
        return False
    return joined[:1] not in {"=", "'"} and "\0=" not in joined and "\0'" not in joined and len(joined) <= MAX_CELL


def unmarked(text: str) -> str:
    """Return a text without the marks that keep spreadsheet programs from changing it: ``="04A1"``, ``'04A1``."""
    if text[:1] == "=" and (match := _MARKED.match(text)):
        return match[1].replace('""', '"')
    if text[:1] == "'":
        return text[1:-1] if len(text) > 1 and text[-1] == "'" else text[1:]
    return text


@dataclass(slots=True)
class _Survey:
    """What was seen in a column that was not understood."""

    name: str
    title: str
    filled: bool = False
    failed: tuple[int, str] | None = None
    """The first row that says that a card failed, and how."""
    result: tuple[int, str] | None = None
    chip: tuple[int, str] | None = None
    uuid: tuple[int, str] | None = None
    """The first row with a UUID that is not the one in the column of UUIDs."""
    decimal: bool = True
    """Whether all its cells could be decimal chip UIDs."""
    all_results: bool = True
    seen: set[str] = field(default_factory=set)
    """Texts that were looked at before: most columns repeat a few."""


class _Reader:
    """Reads the tables of one grid: there may be several, one below the other, each with its titles."""

    def __init__(self, path: Path, place: str, grid: Grid, reading: Reading) -> None:
        self._path = path
        self._place = place
        self._grid = grid
        self._reading = reading

    def read(self, columns: Columns, rows: Iterator[GridRow]) -> Iterator[ReturnedTable]:
        """Yield the tables; the first of the rows is that of the titles."""
        head: GridRow | None = next(rows)
        while head is not None:
            if columns.problem is not None:
                where = f"{self._path}{self._sheet()}, {self._grid.unit} {head.number}"
                raise InputError(Problem(where, *columns.problem))
            table = self._new(columns)
            head, more = self._fill(table, columns, rows)
            yield table
            columns = more or columns

    def _sheet(self) -> str:
        return f", sheet {short(self._grid.sheet, MAX_SHEET)}" if self._grid.sheet else ""

    def _new(self, columns: Columns) -> ReturnedTable:
        table = ReturnedTable(self._place, self._grid.unit, frozenset(columns.at), about=self._grid.about)
        note = columns.titles[columns.at["note"]] if "note" in columns.at else ""
        if self._grid.sheet and names_rejects(self._grid.sheet):
            table.rejects = f"its sheet is called {short(self._grid.sheet, MAX_SHEET)}"
            table.is_named_so = True
        elif "result" not in columns.at and {*plain(note).replace(":", "").split()} & _REASONS:
            table.rejects = f"it has a column {short(note, _SHOWN)}, and no results"
        elif "result" not in columns.at and names_rejects(self._path.stem):
            table.rejects = "of the name of its file"
        return table

    def _fill(
        self, table: ReturnedTable, columns: Columns, rows: Iterator[GridRow]
    ) -> tuple[GridRow | None, Columns | None]:
        """Read rows into a table, up to the next row of titles; return that, and its columns."""
        pick = itemgetter(*columns.indices)
        width = max(columns.at.values()) + 1
        all_hidden = self._grid.hidden
        read = {*columns.at.values()}
        is_plain = not columns.unread
        surveys = {at: _Survey(name, columns.titles[at]) for at, name in columns.unread.items()}
        matters = {columns.at[key]: KEYS.index(key) + 1 for key in _MATTERS if key in columns.at}
        uuid_at = columns.at["uuid"]
        head: tuple[GridRow, Columns] | None = None
        for row in rows:
            cells = row.cells
            table.total += 1
            if table.total > self._reading.max_rows:
                break
            picked = pick([*cells, *[""] * (width - len(cells)), ""])
            if not _is_plain(picked):
                picked = self._checked(row.number, picked)
            uuid = picked[1]
            if not (isinstance(uuid, str) and len(uuid) == 36):  # noqa: PLR2004 - a UUID's
                again = self._titles(row)
                if again is not None:
                    if dict(again.at) == dict(columns.at) and again.titles == columns.titles:
                        continue
                    head = row, again
                    break
            if not is_plain or len(cells) > len(columns.titles):
                known = {at for at, title in enumerate(columns.titles) if understand_title(title) == ("", True)}
                self._survey(surveys, row, read | known, uuid_at)
            if picked != _EMPTY:
                hidden = self._hidden(row, matters) if all_hidden or row.hidden or row.struck else ""
                table.rows.append(ReturnedRow._make((row.number, *picked, hidden)))
        self._finish(table, surveys)
        return head or (None, None)

    def _checked(self, line: int, picked: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """Return the cells of a row without marks.

        Raises:
            InputError: one is far too long.
        """
        for key, cell in zip(KEYS, picked, strict=True):
            if isinstance(cell, str) and len(cell) > MAX_CELL:
                where = f"{self._path}{self._sheet()}, {self._grid.unit} {line}"
                rule = f"the cell of the {key} holds {len(cell):,} characters; the limit is {MAX_CELL:,}"
                raise InputError(Problem(where, rule, "have it shortened"))
        return tuple(unmarked(cell) if isinstance(cell, str) else cell for cell in picked)

    def _titles(self, row: GridRow) -> Columns | None:
        """Return the columns of a row that is one of titles, too."""
        texts = _texts(row.cells)
        if sum(map(is_title, texts)) < 2 and not any(plain(text) in self._uuid_titles for text in texts):  # noqa: PLR2004 - one could be a cell
            return None
        return find_columns([texts], self._reading.columns, self._reading.uuid_titles)

    @property
    def _uuid_titles(self) -> set[str]:
        named = self._reading.columns.get("uuid")
        return {plain(title) for title in ([named] if named else self._reading.uuid_titles)}

    def _hidden(self, row: GridRow, matters: dict[int, int]) -> str:
        if self._reading.include_hidden:
            return ""
        if self._grid.hidden:
            return "on a hidden sheet"
        if row.hidden:
            return "hidden"
        return "struck through" if row.struck and row.struck & matters.keys() else ""

    def _survey(self, surveys: dict[int, _Survey], row: GridRow, read: set[int], uuid_at: int) -> None:
        """Note what is in the columns that were not understood."""
        for at, cell in enumerate(row.cells):
            if at in read or cell == "":
                continue
            survey = surveys.get(at)
            if survey is None:
                survey = surveys[at] = _Survey(f"column {letters(at)} (no title)", "")
            text = unmarked(text_of(cell)[0]).strip()
            if not text or text in survey.seen:
                continue
            if len(survey.seen) < 1000:  # noqa: PLR2004 - beyond, they are hardly repeated
                survey.seen.add(text)
            if says_nothing(text):
                continue
            survey.filled = True
            found = row.number, short(text, _SHOWN)
            if survey.failed is None and (says_failed(text) or (survey.title and says_failed(survey.title))):
                survey.failed = found
            is_result = says_result(text, answers=True)
            survey.result = survey.result or (found if is_result else None)
            survey.all_results &= is_result
            survey.chip = survey.chip or (found if looks_like_chip(text) else None)
            survey.decimal &= is_decimal(text) and len(text) >= _SHORTEST_DECIMAL
            if (
                UUID_LIKE.fullmatch(text)
                and uuid_at < len(row.cells)
                and text != unmarked(text_of(row.cells[uuid_at])[0])
            ):
                survey.uuid = survey.uuid or found

    def _finish(self, table: ReturnedTable, surveys: dict[int, _Survey]) -> None:
        """Note what is filled in, and stop where something was not understood that could matter.

        Raises:
            InputError: a column that was not understood holds results, chip UIDs or other UUIDs.
        """
        results = (text_of(row.result)[0].strip() for row in table.rows)
        table.fills_result = any(result and result.casefold() != SPARE for result in results)
        table.fills_chip = any(text_of(row.chip)[0].strip() for row in table.rows)
        table.hidden = sum(1 for row in table.rows if row.hidden)
        table.decimal = table.fills_chip and are_decimal(
            text for text, kind in (text_of(row.chip) for row in table.rows) if kind is CellKind.TEXT
        )
        table.unread = tuple(survey.name for survey in surveys.values())
        for survey in surveys.values():
            if problem := self._matters(table, survey):
                key, (line, text) = problem
                title = survey.title or survey.name
                what = {"result": "results", "chip": "chip UIDs", "uuid": "UUIDs that differ from the cards'"}[key]
                rule = f"{survey.name} was not understood, and seems to hold {what} (“{text}”)"
                known = f', or --column {key}="TITLE" for the right one' if key in table.keys else ""
                todo = f'say what it is: --column {key}="{short(title, _SHOWN)}"{known}, or --column {key}= for none'
                if key == "uuid":
                    todo = 'if only the other column counts: --column uuid="ITS TITLE"'
                raise InputError(Problem(f"{self._path}{self._sheet()}, {self._grid.unit} {line}", rule, todo))

    def _matters(self, table: ReturnedTable, survey: _Survey) -> tuple[str, tuple[int, str]] | None:
        """Return which of our columns another one could be, and what makes it so; None if it does not matter."""
        named = self._reading.columns
        if "result" not in named:
            if survey.failed:
                return "result", survey.failed
            if not table.fills_result and survey.result and survey.all_results:
                return "result", survey.result
        if "chip" not in named and survey.filled:
            if survey.chip:
                return "chip", survey.chip
            if not table.fills_chip and survey.decimal:
                return "chip", (0, "digits only")
        if "uuid" not in named and survey.uuid:
            return "uuid", survey.uuid
        return None


def unread_columns(table: ReturnedTable) -> str:
    """Return the columns of a table that were not understood, in words; empty if there are none."""
    return listed(table.unread, shown=20)
