"""Read a file that lists cards by number, UUID or both, for revoking them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from dataloader.batch import Named
from dataloader.common import UUID, InputError, Problem, listed, raise_problems, short
from dataloader.vendor.chip_uid import CellKind, plain_text
from dataloader.vendor.returned.columns import plain, understand_title
from dataloader.vendor.returned.grid import CONTROL, DRAWN, PAGE, Grid, GridRow, letters, text_of, unlike_rows
from dataloader.vendor.returned.opening import open_grids
from dataloader.vendor.returned.options import Reading
from dataloader.vendor.returned.table import unmarked
from dataloader.vendor.returned.words import has_negation, is_mark, may_sort, says_no, says_nothing, says_result

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_RANGE = re.compile(r"([0-9]{1,9})\s*(?:-|\.\.|\N{EN DASH}|\N{EM DASH}|to|bis)\s*([0-9]{1,9})", re.ASCII)
_GROUPED = re.compile(r"[0-9]{1,3}(?:([,.' ])[0-9]{3}){1,2}", re.ASCII)
"""A number with separators of thousands, or several numbers: ``1,200``."""
_CARD_TITLES = frozenset(
    {"card", "cards", "karte", "karten", "carte", "cartes", "tarjeta", "tarjetas", "kaart", "kaarten"}
)
_NUMBER_TITLES = _CARD_TITLES | {"number", "numbers", "no", "no.", "nr", "nr.", "#", "nummer"}
"""Titles of a column that is the only one, so that it does not count lines."""
_BATCH_TITLES = frozenset({"batch", "lot", "charge", "order", "lote", "auftrag", "batch name"})
_BATCH_NAME_TITLES = frozenset({"batch", "batch name"})
_ACTION_TITLES = frozenset(
    {"action", "actions", "aktion", "massnahme", "accion", "acao", "actie", "decision", "todo", "to do"}
)
_REASON_TITLES = frozenset({"reason", "reasons", "grund", "cause", "motif", "raison", "motivo", "reden"})
"""Titles of columns whose few texts say why cards are revoked, not which."""
_MAX_GROUPS = 5
"""The most texts of a column that may sort the cards into those that are meant and others."""
_TITLES = {"number": "Card number", "uuid": "UUID"}
_MAX_RANGE = 100_000
_SHOWN = 40
"""The most characters of a cell to repeat in messages."""
_TODO = (
    "put one card number, one range (3-5) or one UUID on each line, or give the columns the titles Card number and UUID"
)


def read_named(path: Path, batch: str = "") -> list[Named]:
    """Read a file that lists cards: a text file, CSV or a workbook.

    It has one column of numbers, ranges and UUIDs; or columns with the titles of our workbook or similar ones; or
    numbers and UUIDs in several columns, which must then all be recognized. Nothing is guessed.

    Args:
        path: the file.
        batch: the name of the batch, to notice cards of another one; empty if unknown.

    Raises:
        FileError: the file cannot be read.
        InputError: lists every line that does not name a card; or no line does.
    """
    named: list[Named] = []
    problems: list[Problem] = []
    sheets: list[str] = []
    with open_grids(path, Reading(), from_top=True) as grids:
        for grid in grids:
            rows = [(row, [plain_text(unmarked(text_of(cell)[0])) for cell in row.cells]) for row in grid.rows]
            rows = [(row, cells) for row, cells in rows if any(cells) or _formulas(row)]
            if not rows or (grid.sheet and not _has_names(cells for _, cells in rows)):
                continue
            if grid.hidden:
                problems.append(Problem(f"{path}, sheet {short(grid.sheet, 31)}", "is hidden", "show it, or remove it"))
                continue
            sheets.append(grid.sheet)
            sheet = f", sheet {short(grid.sheet, 31)}" if grid.sheet else ""
            problems += _beside(f"{path}{sheet}", grid)
            found, wrong = _Sheet(f"{path}{sheet}, {grid.unit}", grid.hidden_columns, batch).read(rows)
            named += found
            problems += wrong
    if may_sort(sheets):
        shown = listed([f"“{short(name, 31)}”" for name in sheets], 5)
        rule = f"lists cards on the sheets {shown}, which may not all be meant"
        problems.append(Problem(str(path), rule, "keep one sheet, or call the others Sheet2 and so on"))
    if not named and not problems:
        problems.append(Problem(str(path), "names no card", _TODO))
    raise_problems(problems)
    return named


def _beside(place: str, grid: Grid) -> Iterator[Problem]:
    """Yield the problems with what a sheet shows beside its cells."""
    if any(cell == CONTROL for cell, _ in grid.comments):
        rule = "has checkboxes or other form controls, which may mark the cards that are meant"
        yield Problem(place, rule, "keep only the rows of these cards, and remove the controls")
    for cell, text in [each for each in grid.comments if each[0] not in {PAGE, DRAWN, CONTROL}][:1]:
        where = f"{place}, cell {cell}" if cell else place
        rule = f"has a comment or text box: “{short(text, _SHOWN)}”"
        yield Problem(where, rule, "keep only the rows that are meant, without comments")
    for cells in grid.conditional[:1]:
        rule = f"has conditional formatting of {cells}, which may mark the cards that are meant"
        yield Problem(place, rule, "keep only the rows of these cards, and remove the formatting")


def _has_names(rows: Iterator[Sequence[str]]) -> bool:
    return any(_is_name(cell) for cell in chain.from_iterable(rows))


def _formulas(row: GridRow) -> set[int]:
    """Return the columns of a row with formulas."""
    return {at for at, cell in enumerate(row.cells) if text_of(cell)[1] is CellKind.FORMULA}


def _is_answer(text: str) -> bool:
    is_known = says_nothing(text) or says_no(text) or is_mark(text)
    return is_known or text.casefold() == "x" or says_result(text, answers=True)


def _is_name(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or UUID.fullmatch(cell.lower()) or _RANGE.fullmatch(cell))


class _Sheet:
    """Reads the rows of one sheet."""

    def __init__(self, place: str, hidden: frozenset[int], batch: str) -> None:
        self._batch = batch
        self._hidden = hidden
        self._place = place
        self._several = False

    def read(self, rows: list[tuple[GridRow, list[str]]]) -> tuple[list[Named], list[Problem]]:
        """Return the named cards, and the problems."""
        columns, first = self._head(rows)
        at = next((at for at in sorted(self._hidden & {*columns.values()})), None)
        if at is not None:
            where = f"{self._place} {rows[0][0].number}"
            return [], [
                Problem(where, f"its column “{short(rows[0][1][at], _SHOWN)}” is hidden", "show it, or remove it")
            ]
        if columns and (sorts := self._sorting(rows, columns)):
            return [], [sorts]
        named: list[Named] = []
        problems: list[Problem] = []
        # Several numbers in each of several rows may be counts, dates or amounts.
        self._several = len(rows) == 1
        for row, cells in rows[first:]:
            where = f"{self._place} {row.number}"
            if first and cells == rows[first - 1][1]:
                continue
            if why := "hidden" if row.hidden else next(iter(row.unseen.values()), ""):
                problems.append(Problem(where, f"is {why}", "show the row, or remove it"))
                continue
            if formulas := _formulas(row) & ({*columns.values()} or {*range(len(cells))}):
                rule = f"has a formula in column {letters(min(formulas))}, whose stored value may be outdated"
                problems.append(Problem(where, rule, "replace formulas by their values"))
                continue
            found = self._named(where, cells, columns) if columns else self._loose(where, row, cells)
            if found:
                named += found
            else:
                what = listed([f"“{short(cell, _SHOWN)}”" for cell in cells if cell])
                problems.append(Problem(where, f"does not name a card: {what}", _TODO))
        return named, problems or self._unlike(rows[first:])

    def _head(self, rows: list[tuple[GridRow, list[str]]]) -> tuple[dict[str, int], int]:
        """Return the columns of numbers and UUIDs by their titles, and the number of rows of titles.

        Raises:
            InputError: there are several columns without recognized titles.
        """
        row, cells = rows[0]
        means = [understand_title(cell) for cell in cells]
        columns: dict[str, int] = {}
        for key, name in _TITLES.items():
            for is_own in (True, False):
                found = [at for at, each in enumerate(means) if each == (key, is_own)]
                if len(found) > 1:
                    raise InputError(self._unclear(row, f"has several columns for the {name}"))
                if found and key not in columns:
                    columns[key] = found[0]
        if not columns:
            is_only = all(sum(map(bool, each)) <= 1 for _, each in rows)
            known = _NUMBER_TITLES if is_only else _CARD_TITLES
            found = [at for at, cell in enumerate(cells) if cell.casefold() in known]
            columns = {"either": found[0]} if len(found) == 1 else {}
        if columns:
            return columns, 1
        if len(rows) > 1 and not any(map(_is_name, cells)) and len([cell for cell in cells if cell]) > 1:
            titles = ", ".join(short(cell, _SHOWN) for cell in cells if cell)
            rule = f"has the titles {titles}; none is known as the card's number or UUID"
            raise InputError(self._unclear(row, rule))
        return {}, 0

    def _sorting(self, rows: list[tuple[GridRow, list[str]]], columns: dict[str, int]) -> Problem | None:
        """Return the problem with another column that may say which of the cards are meant: ``Lost?``, ``Status``."""
        row, titles = rows[0]
        for at, title in enumerate(titles):
            if at in columns.values():
                continue
            counts = Counter(cells[at] if at < len(cells) else "" for _, cells in rows[1:] if cells != titles)
            texts = {*counts}
            other = next((text for text in sorted(texts) if text and plain(text) != plain(self._batch)), "")
            if other and self._batch and plain(title) in _BATCH_NAME_TITLES:
                said = f"its column “{short(title, _SHOWN)}” says “{short(other, _SHOWN)}”"
                rule = f"{said}, but this is batch {self._batch}"
                return Problem(f"{self._place} {row.number}", rule, "give the manifest of that batch, or correct it")
            means = understand_title(title) or ("", False)
            # An empty cell may mean that a card is not meant, like one that is filled in.
            may_sort = (
                "" in texts
                or means[0] == "result"
                or plain(title) in _BATCH_TITLES | _ACTION_TITLES
                or all(map(_is_answer, texts))
            )
            # "Revoke" and "keep", for example.
            are_groups = len(texts) <= min(_MAX_GROUPS, counts.total() - 1)
            may_sort = may_sort or (are_groups and means[0] != "snapset" and plain(title) not in _REASON_TITLES)
            # "Do not revoke" in a column of remarks.
            may_sort = may_sort or any(map(has_negation, texts))
            if len(texts) > 1 and may_sort:
                rule = f"its column “{short(title, _SHOWN)}” may say which of the cards are meant"
                todo = "keep only the rows of these cards, and remove the column"
                return Problem(f"{self._place} {row.number}", rule, todo)
        return None

    def _unlike(self, rows: list[tuple[GridRow, list[str]]]) -> list[Problem]:
        """Return the problem with rows that look different from most: they may be those that are meant, or not."""
        by_look: defaultdict[frozenset[str], list[int]] = defaultdict(list)
        for row, _ in rows:
            by_look[frozenset(row.looks.values())].append(row.number)
        rule = "looks different from most rows, which may mark the cards that are meant"
        todo = "keep only the rows of these cards, all in one colour"
        return [Problem(f"{self._place} {number}", rule, todo) for number in unlike_rows(by_look)[:1]]

    def _unclear(self, row: GridRow, rule: str) -> Problem:
        todo = f"give the columns the titles {' and '.join(_TITLES.values())}, or keep only that column"
        return Problem(f"{self._place} {row.number}", rule, todo)

    def _named(self, where: str, cells: list[str], columns: dict[str, int]) -> list[Named]:
        """Return the cards named in a row below titles; none if there are none."""
        found = {name: cells[at] if at < len(cells) else "" for name, at in columns.items()}
        if "either" in found:
            return _expand(where, found["either"]) or []
        number, uuid = found.get("number", ""), found.get("uuid", "").lower()
        if uuid and not UUID.fullmatch(uuid):
            return []
        if not number:
            return [Named(where, uuid=uuid)] if uuid else []
        if uuid:
            return [Named(where, int(number), uuid)] if _NUMBER.fullmatch(number) else []
        numbers = _expand(where, number) or []
        return numbers if all(each.uuid is None for each in numbers) else []

    def _loose(self, where: str, row: GridRow, cells: list[str]) -> list[Named]:
        """Return the cards named in a row without titles, if every cell names some; otherwise none."""
        if _GROUPED.fullmatch(",".join(text_of(cell)[0] for cell in row.cells)):
            return []
        found: list[Named] = []
        for cell in cells:
            if cell:
                named = _expand(where, cell)
                if named is None:
                    return []
                found += named
        numbers = [each.number for each in found if each.number is not None]
        uuids = [each.uuid for each in found if each.uuid is not None]
        if numbers and uuids:
            # They must agree, and only one of each can.
            return [Named(where, numbers[0], uuids[0])] if len(numbers) == len(uuids) == 1 else []
        filled = [cell for cell in cells if cell]
        is_one = len(filled) == 1 and (_is_name(filled[0]) or self._several)
        return found if is_one or self._several else []


def _expand(where: str, cell: str) -> list[Named] | None:
    """Return the cards that a text names: a number, a range, a UUID, or several; None for anything else."""
    found: list[Named] = []
    if _GROUPED.fullmatch(cell):
        return None
    for part in [cell] if _RANGE.fullmatch(cell) else re.split(r"[\s,;]+", cell):
        if not part:
            continue
        if _NUMBER.fullmatch(part):
            found.append(Named(where, number=int(part)))
        elif match := _RANGE.fullmatch(part):
            first, last = int(match[1]), int(match[2])
            if not first <= last < first + _MAX_RANGE:
                return None
            found += [Named(where, number=number) for number in range(first, last + 1)]
        elif UUID.fullmatch(part.lower()):
            found.append(Named(where, uuid=part.lower()))
        else:
            return None
    return found or None
