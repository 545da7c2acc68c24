"""Tables: the rows of cards in a returned file, with columns recognized by their titles."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from dataloader.common import InputError, Problem, listed, many, raise_problems, short
from dataloader.vendor.chip_uid import CellKind, are_decimal, decoration, looks_like_chip, plain_text
from dataloader.vendor.returned.columns import (
    KEYS,
    MAX_HEAD,
    UUID_LIKE,
    Columns,
    column_option,
    find_columns,
    is_title,
    nothing_found,
    plain,
    understand_title,
)
from dataloader.vendor.returned.csv_file import ABOVE, ABOVE_TODO
from dataloader.vendor.returned.grid import CONTROL, DRAWN, PAGE, Cell, Grid, GridRow, area_of, letters, text_of
from dataloader.vendor.returned.options import Reading
from dataloader.vendor.returned.styles import CHANGED, STRUCK, is_filled
from dataloader.vendor.returned.survey import Survey
from dataloader.vendor.returned.words import (
    REASONS,
    is_failure,
    names_rejects,
    reports_failure,
    result_word,
    says_failed,
    says_result,
)
from dataloader.vendor.sheets import BATCH_SHEET, INSTRUCTIONS_SHEET, SPARE

MAX_CELL = 10_000
"""The longest cell in characters; longer than any remark, and a third of a spreadsheet's limit."""
MAX_SHEET = 31
"""The longest name of a sheet in spreadsheet programs."""
_FAILED = "failed"
_MATTERS = frozenset(KEYS) - {"note", "snapset"}
"""Columns in which formulas, and text that is struck through or invisible, cause doubt."""
_PLAIN: frozenset[tuple[str, str]] = frozenset()
_SHOWN = 40
"""The most characters of a cell to repeat in messages."""
_NUMBERS = re.compile(r"#?[0-9]{1,9}(?:(?:\s*[-,;/&\N{EN DASH}]\s*|\s+)#?[0-9]{1,9}){0,99}\.?")
"""Card numbers, and ranges of them."""
_NAMES_CARD = re.compile(
    r"\b(?:cards?|karten?|cartes?|tarjetas?|kaart(?:en)?)\s+(?:(?:no|nr|n°)\.?\s*|#)?[0-9]{1,9}\b"
    r"(?!\s*(?:[-/\N{EN DASH}]|\.\.|to\b|bis\b|of\b|von\b|à|de\b|tot\b|van\b))"
    r"|:\s*#?[0-9]{1,9}(?:\s*(?:[,;&+]|and|und|et|y|e|en)\s*#?[0-9]{1,9})+\W*\Z",
    re.IGNORECASE,
)
"""A text about single cards: ``Card 3 exploded`` or ``Problems: 3, 7``, but not ``Cards 1 to 12``."""
_SHARE = re.compile(
    r"(?<![\d./-])([0-9]{1,6})\s*(?:of|von|de|sur|di|van|av|/)\s*([0-9]{1,6})(?![\d./-])", re.IGNORECASE
)
"""``23 of 24``, but no date."""
_DIGITS = re.compile(r"[0-9]+(?:[.,]0{1,2}(?![0-9]))?")
_MAX_COUNT = 10
"""Characters."""
_BRACKETS = re.compile(r"[\[\](){}<>'\"`]")
_MARKED = re.compile(r'=\s*"(.*)"\s*\Z', re.DOTALL)
_EMPTY = ("",) * len(KEYS)
_OWN_SHEETS = frozenset({INSTRUCTIONS_SHEET, BATCH_SHEET})
"""The other sheets of our own workbooks."""
_MAX_TESTED = 1_000
"""Rows to look at for titles that are not above their columns."""
_HOLDS_OWN = {"uuid": "UUIDs", "chip": "chip UIDs"}
_HOLDS = {"result": "results", "chip": "chip UIDs", "uuid": "UUIDs that differ from the cards'"}
_IS_OTHER_SHEET = re.compile(r"Digest\W+sha256:")
"""A row of the other sheets, if one of them was saved as CSV."""
_OF_CARDS = (("number", True), ("number", False), ("chip", True), ("chip", False))
"""Titles of a list of cards."""


class ReturnedRow(NamedTuple):
    """A row, with its cells in the order of :data:`~dataloader.vendor.returned.columns.KEYS`."""

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
    """Why it does not count unless requested: its row or column is hidden."""
    look: frozenset[tuple[str, str]] = frozenset()
    """Which of its cells look unusual, with their colours or the like."""


@dataclass(slots=True)
class ReturnedTable:
    """A table in a returned file: the rows below a row of titles."""

    place: str
    """The file, and the sheet if several have a table."""
    unit: str
    """The word for a row: ``row`` or ``line``."""
    keys: frozenset[str]
    """The existing columns."""
    named: frozenset[str] = frozenset()
    """Those that the operator named, and that are here or said not to exist."""
    titles: tuple[str, ...] = ()
    """The titles of all columns."""
    sheet: str = ""
    """The name of its sheet; empty for a text file."""
    rows: list[ReturnedRow] = field(default_factory=list)
    above: str = ""
    """The text above the titles of its sheet or file."""
    about: Mapping[str, str] = field(default_factory=dict)
    """The workbook's information about its batch."""
    fills_result: bool = False
    """Whether the results contain anything that was not there when the file was sent."""
    fills_chip: bool = False
    """Whether there are any chip UIDs."""
    number_mark: str = ""
    """What is beside most of its card numbers, such as ``#``."""
    chip_mark: str = ""
    """The brackets around most of its chip UIDs, or the words beside all of them."""
    decimal: bool = False
    """Whether all its chip UIDs could be decimal numbers."""
    chip_length: int = 0
    """How many characters most of its chip UIDs have; 0 if they differ."""
    rejects: str = ""
    """Why it seems to list failed cards: the name of its sheet, or a column of reasons."""
    is_named_so: bool = False
    """Whether that is the name of its sheet."""
    unread: tuple[str, ...] = ()
    """The unrecognized columns, as named in messages."""
    remarks: list[tuple[str, str]] = field(default_factory=list)
    """Failures mentioned outside the rows of its file: the place and the text."""
    failures: list[tuple[str, str, int]] = field(default_factory=list)
    """Counts of failures on other sheets of its file: the place, the title and the count."""
    ignored: list[str] = field(default_factory=list)
    """Sheets, comments and text boxes of its file that were not read."""
    hidden: int = 0
    """The number of rows that are hidden, struck through or invisible, which do not count."""
    has_looks: bool = False
    """Whether any of its rows looks unusual."""
    total: int = 0
    """The number of rows."""

    def may_be_decimal(self, chip: str) -> bool:
        """Return whether a chip UID may be a decimal number: most are, or it has other digits than most."""
        return self.decimal or (bool(self.chip_length) and len(chip) != self.chip_length and chip.isdecimal())

    def where(self, row: int) -> str:
        """Return the name of a row in messages."""
        return f"{self.place}, {self.unit} {row}"


def tables_of(path: Path, place: str, grids: Iterator[Grid], reading: Reading) -> Iterator[ReturnedTable]:
    """Yield the tables of a file.

    Args:
        path: the file, for errors.
        place: its name in messages about rows.
        grids: its sheets.
        reading: how to read it.

    Raises:
        InputError: it has no table of cards, or an unrecognized column that could matter.
    """
    rows = 0
    found: list[ReturnedTable] = []
    heads: list[list[list[Cell]]] = []
    remarks: list[tuple[str, str]] = []
    failures: list[tuple[str, str, int]] = []
    ignored: list[str] = []
    problems: list[Problem] = []
    for grid in grids:
        where = f"{place}, sheet {short(grid.sheet, MAX_SHEET)}" if grid.sheet else place
        said, unread = _about_comments(where, grid)
        remarks += said
        ignored += unread
        head = list(islice(grid.rows, MAX_HEAD))
        cells = [_texts(row.cells) for row in head]
        lines = [*(text for _, text in grid.above), *map(_line, cells)]
        if not grid.sheet and any(map(_IS_OTHER_SHEET.match, lines)):
            rule = "holds another sheet of our workbook than that of the cards"
            raise InputError(Problem(str(path), rule, "save the sheet Cards as CSV, or ask for the workbook (.xlsx)"))
        columns = find_columns(cells, reading.columns, reading.uuid_titles)
        if columns is None:
            heads.append(cells)
            is_own = grid.sheet in _OWN_SHEETS and bool(grid.about)
            rest = chain(head, grid.rows)
            problem, said, told, says_more = _without_table(
                where, grid, _added(rest) if is_own else rest, reading.cards
            )
            problems += problem
            remarks += said
            failures += told
            ignored += [f"{where}: {what}" for what in _unread(grid, says_more=says_more and not is_own)]
            continue
        for row, texts in zip(head[: columns.row], cells, strict=False):
            if any(map(UUID_LIKE.search, texts)):
                raise InputError(
                    Problem(
                        f"{path}, sheet {short(grid.sheet, MAX_SHEET)}, {grid.unit} {row.number}", ABOVE, ABOVE_TODO
                    )
                )
            grid.above.append((row.number, _line(texts)))
        remarks += [(f"{where}, {grid.unit} {number}", text) for number, text in grid.above if reports_failure(text)]
        ignored += [
            f"{where}, {grid.unit} {number}: “{short(text, _SHOWN)}”"
            for number, text in grid.above
            if _NAMES_CARD.search(text) or _is_share(text, reading.cards) or says_failed(text)
            if not reports_failure(text)
        ]
        shown = where if found else place
        for table in _Reader(path, shown, grid, reading).read(columns, chain(head[columns.row :], grid.rows)):
            found.append(table)
            rows += table.total
            if rows > reading.max_rows:
                rule = f"has more than {reading.max_rows:,} rows, far more than the batch has cards"
                raise InputError(Problem(str(path), rule, "check that it is the right file"))
            yield table
        ignored += [f"{where}: a picture or line on {cell}" for cell in _drawn_on(found[-1], grid, columns, head)]
    if not found:
        fullest = max(heads, key=lambda rows: max(map(len, rows), default=0), default=[])
        raise InputError(Problem(str(path), *nothing_found(fullest, reading.columns)))
    raise_problems(problems)
    found[0].remarks += remarks
    found[0].failures += failures
    found[0].ignored += ignored


def check_named(path: Path, tables: Sequence[ReturnedTable], named: Mapping[str, str]) -> None:
    """Check that each column that the operator named is in some table.

    Args:
        path: the first file, for errors.
        tables: at least one table.
        named: titles by key; an empty title means that there is no such column.

    Raises:
        InputError: a title is in none.
    """
    there = {key for each in tables for key in each.named}
    if named.keys() - there:
        # Those of other tables are not missing.
        told = {key: title for key, title in named.items() if key in tables[0].named or key not in there}
        raise InputError(Problem(str(path), *nothing_found([tables[0].titles], told)))


def _is_share(text: str, cards: int) -> bool:
    """Return whether a text is about a part of the cards, such as ``23 of 24``, and not about pages or boxes."""
    return any(int(some) < int(all_) and 2 * int(all_) >= cards for some, all_ in _SHARE.findall(text))


def _added(rows: Iterator[GridRow]) -> Iterator[GridRow]:
    """Yield the rows of our own sheets that may not be ours: ours have two cells, except for headings."""
    return (row for row in rows if row.number > 1 and sum(map(bool, _texts(row.cells))) == 1)


def _without_table(
    where: str, grid: Grid, rows: Iterator[GridRow], cards: int
) -> tuple[list[Problem], list[tuple[str, str]], list[tuple[str, str, int]], bool]:
    """Return why a sheet without recognized titles matters, its failures and their counts, and whether it says more.

    A list of choices for a column says nothing.
    """
    remarks: list[tuple[str, str]] = []
    counts = _Counts()
    says_more = False
    for row in rows:
        texts = _texts(row.cells)
        place, line = f"{where}, {grid.unit} {row.number}", _line(texts)
        counts.see(place, texts)
        if not any(map(str.isdigit, line)):
            # Without a number, a single result is a choice of a list, or a title of totals.
            texts = [text for text in texts if not _is_choice(text)]
        rule = ""
        if UUID_LIKE.search(line):
            rule = "has a UUID, but no recognized titles above it"
        elif any(understand_title(text) in _OF_CARDS for text in texts) or (
            # The instructions are numbered.
            grid.sheet not in _OWN_SHEETS and _lists_cards(row, cards)
        ):
            rule = "lists cards without their UUIDs, so it cannot be read"
        elif names_rejects(grid.sheet) and line:
            rule = "seems to list cards that failed, without their UUIDs, so it cannot be read"
        if rule:
            return [Problem(place, rule, "give it the titles UUID and Result, or remove the sheet")], [], [], True
        says_more = says_more or any(texts)
        if reports_failure(_line(texts)):
            remarks.append((place, line))
    return [], remarks, counts.found(), says_more


def _unread(grid: Grid, *, says_more: bool) -> list[str]:
    """Return what is not read of a sheet without a table."""
    drawn = sum(1 for place, _ in grid.comments if place == DRAWN)
    shown = [many(drawn, "picture or line", "pictures or lines")] if drawn else []
    return ["it has no column of UUIDs"] * says_more + shown


class _Counts:
    """Counts of failures, by the columns whose titles say so."""

    def __init__(self) -> None:
        self._titles: dict[int, tuple[str, str]] = {}
        self._counts: defaultdict[int, list[int]] = defaultdict(list)

    def see(self, place: str, texts: Sequence[str]) -> None:
        """Examine a row."""
        for at, text in enumerate(texts):
            if _DIGITS.fullmatch(text) and len(text) < _MAX_COUNT:
                self._counts[at].append(int(float(text)))
            elif text and not any(map(str.isdigit, text)):
                self._counts.pop(at, None)
                self._titles.pop(at, None)
                if says_failed(text) and "%" not in text:
                    self._titles[at] = place, text

    def found(self) -> list[tuple[str, str, int]]:
        """Return the place, the title and the sum of each column; a last row with the sum is not counted."""
        counts = [(*title, self._counts[at]) for at, title in self._titles.items() if at in self._counts]
        return [
            (place, title, max(numbers) if sum(numbers) == 2 * max(numbers) else sum(numbers))
            for place, title, numbers in counts
        ]


def _is_choice(text: str) -> bool:
    return is_failure(text) or says_result(text, answers=True) or result_word(text) == SPARE


def _lists_cards(row: GridRow, cards: int) -> bool:
    """Return whether a row without titles may list cards: by numbers of the batch at its start, or by chip UIDs."""
    texts = [(plain_text(unmarked(text)), kind) for text, kind in map(text_of, row.cells) if text.strip()]
    first, kind = texts[0] if texts else ("", CellKind.TEXT)
    if kind in {CellKind.TEXT, CellKind.NUMBER} and _NUMBERS.fullmatch(first):
        numbers = [int(each) for each in re.findall(r"[0-9]+", first)]
        return not cards or all(1 <= each <= cards for each in numbers)
    return any(looks_like_chip(text) for text, _ in texts)


def _about_comments(where: str, grid: Grid) -> tuple[list[tuple[str, str]], list[str]]:
    """Return comments and text boxes about cards, with their places, and what of the kind is not read."""
    remarks = [
        (f"{where}, {cell if cell == PAGE else f'cell {cell}, comment' if cell else 'text box'}", text)
        for cell, text in grid.comments
        if _is_about_card(text, on_card=cell not in {"", PAGE, DRAWN, CONTROL})
    ]
    on_cells = sum(1 for cell, _ in grid.comments if cell not in {"", PAGE, DRAWN, CONTROL})
    boxes = sum(1 for cell, _ in grid.comments if not cell)
    counts = [f"{many(on_cells, 'comment')} on cells"] * bool(on_cells) + [
        many(boxes, "text box", "text boxes")
    ] * bool(boxes)
    if controls := sum(1 for cell, _ in grid.comments if cell == CONTROL):
        counts.append(many(controls, "checkbox or other form control", "checkboxes or other form controls"))
    counts += [f"conditional formatting of {cells} that colours cells" for cells in grid.conditional]
    counts += [
        f"{cell}: “{short(text, _SHOWN)}”" for cell, text in grid.comments if cell == PAGE and _NAMES_CARD.search(text)
    ]
    return remarks, [f"{where}: {count}" for count in counts]


def _drawn_on(table: ReturnedTable, grid: Grid, columns: Columns, head: Sequence[GridRow]) -> list[str]:
    """Return the cells of cards from which pictures and lines are drawn: a person may have crossed out a row."""
    last = max((row.line for row in table.rows), default=0)
    drawn = [(cell, area_of(cell)) for place, cell in grid.comments if place == DRAWN]
    return [
        cell
        for cell, area in drawn
        if area and head[columns.row].number <= area.top < last and area.left <= max(columns.at.values())
    ]


def _is_about_card(comment: str, *, on_card: bool) -> bool:
    """Return whether a comment says that a card failed, or names a UUID or chip UID."""
    is_named = any(UUID_LIKE.search(word) or looks_like_chip(word) for word in comment.split())
    return is_named or reports_failure(comment, on_card=on_card)


def _line(texts: list[str]) -> str:
    return "\t".join(text.strip() for text in texts if text.strip())


def _texts(cells: list[Cell]) -> list[str]:
    return [unmarked(cell) if isinstance(cell, str) else text_of(cell)[0] for cell in cells]


def _is_plain(cells: tuple[Cell, ...]) -> bool:
    """Return whether cells are texts without marks, and not too long, as in most rows."""
    try:
        joined = "\0".join(cells)
    except TypeError:
        return False
    return joined[:1] not in {"=", "'"} and "\0=" not in joined and "\0'" not in joined and len(joined) <= MAX_CELL


def unmarked(text: str) -> str:
    """Return a text without marks that keep spreadsheet programs from converting it: ``="04A1"``, ``'04A1``."""
    if text[:1] == "=" and (match := _MARKED.match(text)):
        return match[1].replace('""', '"')
    if text[:1] == "'":
        return text[1:-1] if len(text) > 1 and text[-1] == "'" else text[1:]
    return text


def mark_of_number(text: str) -> str:
    """Return what is beside a card number: ``#`` in ``#3``; a person may have marked it so. Empty without a number."""
    return "" if text.isdecimal() or not _DIGITS.search(text) else plain_text(_DIGITS.sub("", text)).casefold()


def mark_of_chip(text: str) -> str:
    """Return the brackets and quotation marks in a chip UID, and the words beside it."""
    return "" if text.isalnum() else "".join([*_BRACKETS.findall(text), decoration(text)])


def _usual(marks: Iterator[str]) -> str:
    """Return the mark that most cells have; empty if most have none."""
    counts = Counter(marks)
    return next((mark for mark, count in counts.items() if 2 * count > counts.total()), "")


def _usual_of_chips(chips: Sequence[str]) -> str:
    """Return the mark that most chip UIDs have; words only if all have them, and they do not mean a failure."""
    mark = _usual(map(mark_of_chip, chips))
    if not any(map(str.isalnum, mark)):
        return mark
    return mark if len(chips) > 1 and {*map(mark_of_chip, chips)} == {mark} and not names_rejects(mark) else ""


class _Reader:
    """Reads the tables of one grid: there may be several, one below the other, each with its titles."""

    def __init__(self, path: Path, place: str, grid: Grid, reading: Reading) -> None:
        self._path = path
        self._place = place
        self._grid = grid
        self._reading = reading
        self._hides_column = ""

    def read(self, columns: Columns, rows: Iterator[GridRow]) -> Iterator[ReturnedTable]:
        """Yield the tables; the first row is that of the titles."""
        head: GridRow | None = next(rows)
        while head is not None:
            if columns.problem is not None:
                where = f"{self._path}{self._sheet()}, {self._grid.unit} {head.number}"
                raise InputError(Problem(where, *columns.problem))
            table = self._new(columns)
            head, more = self._fill(table, columns, rows)
            # Titles in two languages.
            if head is None or table.total > 1:
                yield table
            columns = more or columns

    def _sheet(self) -> str:
        return f", sheet {short(self._grid.sheet, MAX_SHEET)}" if self._grid.sheet else ""

    def _new(self, columns: Columns) -> ReturnedTable:
        grid = self._grid
        above = " ".join(text for _, text in grid.above)
        table = ReturnedTable(self._place, grid.unit, frozenset(columns.at), columns.named, columns.titles)
        table.sheet, table.above, table.about = grid.sheet, above, grid.about
        note = columns.titles[columns.at["note"]] if "note" in columns.at else ""
        if self._grid.sheet and names_rejects(self._grid.sheet):
            table.rejects = f"its sheet is called {short(self._grid.sheet, MAX_SHEET)}"
            table.is_named_so = True
        elif "result" not in columns.at and {*plain(note).replace(":", "").split()} & REASONS:
            table.rejects = f"it has a column {short(note, _SHOWN)}, and no results"
        elif names_rejects(self._path.stem):
            table.rejects = f"its file is called {short(self._path.name, _SHOWN)}"
        return table

    def _fill(
        self, table: ReturnedTable, columns: Columns, rows: Iterator[GridRow]
    ) -> tuple[GridRow | None, Columns | None]:
        """Read rows into a table, up to the next row of titles; return that, and its columns."""
        pick = itemgetter(*columns.indices)
        width = max(columns.at.values()) + 1
        read = {*columns.at.values()}
        is_plain = not columns.unread
        known = {at for at, title in enumerate(columns.titles) if understand_title(title) == ("", True)}
        surveys = {at: Survey(name, columns.titles[at], self._grid.unit) for at, name in columns.unread.items()}
        unseen = [key for key in ("uuid", "chip", "result") if columns.at.get(key) in self._grid.hidden_columns]
        self._hides_column = (
            f"its column “{short(columns.titles[columns.at[unseen[0]]], _SHOWN)}” is hidden" if unseen else ""
        )
        matters = {columns.at[key]: key for key in _MATTERS if key in columns.at}
        all_hidden = self._grid.hidden or bool(self._hides_column)
        head: tuple[GridRow, Columns] | None = None
        cards = chips = 0
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
                    is_repeated = dict(again.at) == dict(columns.at) and again.titles == columns.titles
                    # Some cells of the titles may be merged with those below.
                    if is_repeated or (table.total == 1 and again.at.items() <= columns.at.items()):
                        continue
                    head = row, again
                    break
            if not is_plain or len(cells) > len(columns.titles):
                is_card = self._survey(table, surveys, row, read | known, uuid, picked[4], picked[5])
                cards += is_card
                chips += is_card and picked[4] != ""
            if picked != _EMPTY:
                hidden = self._hidden(row, matters) if all_hidden or row.hidden or row.unseen else ""
                look = _PLAIN
                if row.looks:
                    table.has_looks = True
                    look = _look(row, columns.at)
                table.rows.append(ReturnedRow._make((row.number, *picked, hidden, look)))
        self._finish(table, columns, surveys, cards, chips)
        return head or (None, None)

    def _checked(self, line: int, picked: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """Return the cells of a row without marks.

        Raises:
            InputError: a cell is far too long.
        """
        for key, cell in zip(KEYS, picked, strict=True):
            if isinstance(cell, str) and len(cell) > MAX_CELL:
                where = f"{self._path}{self._sheet()}, {self._grid.unit} {line}"
                rule = f"the cell of the {key} holds {len(cell):,} characters; the limit is {MAX_CELL:,}"
                raise InputError(Problem(where, rule, "shorten it"))
        return tuple(unmarked(cell) if isinstance(cell, str) else cell for cell in picked)

    def _titles(self, row: GridRow) -> Columns | None:
        """Return the columns of a row if it is a row of titles."""
        texts = _texts(row.cells)
        if sum(map(is_title, texts)) < 2 and not any(plain(text) in self._uuid_titles for text in texts):  # noqa: PLR2004 - one could be a cell
            return None
        return find_columns([texts], self._reading.columns, self._reading.uuid_titles)

    @property
    def _uuid_titles(self) -> set[str]:
        named = self._reading.columns.get("uuid")
        return {plain(title) for title in ([named] if named else self._reading.uuid_titles)}

    def _hidden(self, row: GridRow, matters: dict[int, str]) -> str:
        if self._reading.include_hidden:
            return ""
        if self._grid.hidden:
            return "its row is on a hidden sheet"
        if row.hidden:
            return "its row is hidden"
        # A card number may be shown as "No. 3"; if only some are, the row looks different.
        why = ((matters[at], row.unseen[at]) for at in row.unseen if at in matters)
        unseen = next((f"its {key} is {how}" for key, how in why if (key, how) != ("number", CHANGED)), "")
        return unseen or self._hides_column

    def _survey(
        self,
        table: ReturnedTable,
        surveys: dict[int, Survey],
        row: GridRow,
        read: set[int],
        uuid: Cell,
        chip: Cell,
        result: Cell,
    ) -> bool:
        """Examine the unrecognized columns of a row; return whether it has a UUID, and may count as encoded."""
        uuid, chip, word = (text_of(cell)[0] for cell in (uuid, chip, result))
        is_card = UUID_LIKE.fullmatch(uuid) is not None
        word = result_word(word)
        table.fills_chip |= bool(chip.strip())
        # Without a result, only a chip UID counts, if there are any.
        counts_by_chip = {SPARE, ""} if table.fills_chip else {SPARE}
        may_count = word != _FAILED and (chip != "" or word not in counts_by_chip)
        for at, cell in enumerate(row.cells):
            if at in read or cell == "":
                continue
            if text := unmarked(text_of(cell)[0]).strip():
                if at not in surveys:
                    surveys[at] = Survey(f"column {letters(at)} (no title)", "", self._grid.unit)
                surveys[at].see(row.number, text, uuid if is_card else "", chip, may_count=may_count)
        return is_card and may_count

    def _finish(
        self, table: ReturnedTable, columns: Columns, surveys: dict[int, Survey], cards: int, chips: int
    ) -> None:
        """Record what is filled in, and stop if an unrecognized column could matter.

        Raises:
            InputError: an unrecognized column contains results, chip UIDs or other UUIDs.
        """
        self._check_titles(table, columns)
        results = (text_of(row.result)[0].strip() for row in table.rows)
        table.fills_result = any(result and result_word(result) != SPARE for result in results)
        table.fills_chip = any(text_of(row.chip)[0].strip() for row in table.rows)
        table.number_mark = _usual(mark_of_number(row.number) for row in table.rows if isinstance(row.number, str))
        table.chip_mark = _usual_of_chips([row.chip for row in table.rows if isinstance(row.chip, str) and row.chip])
        table.hidden = sum(1 for row in table.rows if row.hidden)
        table.decimal = table.fills_chip and are_decimal(
            text for text, kind in (text_of(row.chip) for row in table.rows) if kind is CellKind.TEXT
        )
        lengths = Counter(len(row.chip) for row in table.rows if isinstance(row.chip, str) and row.chip)
        table.chip_length = next((each for each, count in lengths.items() if 2 * count > lengths.total()), 0)
        table.unread = tuple(survey.shown(cards) for survey in surveys.values() if survey.is_worth_naming(cards))
        for survey in surveys.values():
            found = survey.matters(columns.named, cards, results=table.fills_result, chips=chips)
            if found is not None:
                # A column without a title cannot be named.
                title, first = (survey.title, "") if survey.title.strip() else ("ITS TITLE", "give it a title, and ")
                rule = f"{survey.name} was not recognized, and seems to hold {_HOLDS[found.key]} (“{found.text}”)"
                this = column_option(found.key, title)
                if plain(title) == found.key and found.key in columns.named:
                    rule = f"{survey.name} says “{found.text}”, but --column {found.key} says that it does not count"
                    todo = f"correct it, or leave out --column {found.key}"
                elif found.key in columns.at:
                    ours = column_option(found.key, columns.titles[columns.at[found.key]])
                    todo = f"if it does not matter: {ours}; otherwise {first}name it: {this}"
                else:
                    todo = f"{first}say what it is: {this}, or --column {found.key}= for none"
                where = f", {self._grid.unit} {found.line}" if found.line else ""
                raise InputError(Problem(f"{self._path}{self._sheet()}{where}", rule, todo))

    def _check_titles(self, table: ReturnedTable, columns: Columns) -> None:
        """Check that the titles of the UUIDs and chip UIDs are above them.

        Raises:
            InputError: they are above something else in all rows, and those of another column above them.
        """
        rows = [
            dict(zip(KEYS, (text_of(cell)[0].strip() for cell in row[1 : len(KEYS) + 1]), strict=True))
            for row in islice(table.rows, _MAX_TESTED)
        ]
        for key, is_one in (("uuid", UUID_LIKE.fullmatch), ("chip", looks_like_chip)):
            if key not in columns.at or any(is_one(row[key]) for row in rows):
                continue
            other = next(
                (each for each in columns.at if 2 * sum(bool(is_one(row[each])) for row in rows) > len(rows)), ""
            )
            if other:
                theirs = short(columns.titles[columns.at[other]], _SHOWN)
                rule = f"has its {_HOLDS_OWN[key]} below “{theirs}”, as if the titles were shifted or swapped"
                where = f"{self._path}{self._sheet()}, {self._grid.unit} {table.rows[0].line}"
                raise InputError(Problem(where, rule, "put each title above its column, and save it again"))


def _look(row: GridRow, at: Mapping[str, int]) -> frozenset[tuple[str, str]]:
    """Return how the cells of a row look; outside the columns that are read, what is filled or struck through.

    A person may fill a cell beside the table.
    """
    keys = {column: key for key, column in at.items()}
    return frozenset(
        (keys.get(column, letters(column)), look)
        for column, look in row.looks.items()
        if column in keys or is_filled(look) or (look == STRUCK and column < len(row.cells) and row.cells[column] != "")
    )


def unread_columns(table: ReturnedTable) -> str:
    """Return the unrecognized columns of a table, in words; empty if there are none."""
    return listed(table.unread, shown=20)
