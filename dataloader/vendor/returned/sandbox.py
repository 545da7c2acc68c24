"""A separate process that opens a workbook and writes its rows to stdout, so that a malicious file does no harm.

The library that reads workbooks expands a sheet to a full table: a file of one kilobyte with a single cell in the last
row and column would exceed any machine's memory and crash the program. Here, it crashes only this process, which has a
memory limit, and the parent process reports the problem. See ``workbook_file``.

stdin has one line, the options as JSON. stdout gets lines of JSON: an object for each sheet (name, whether it is
hidden, the workbook's information about its batch, hidden columns, comments, conditional formatting), followed by lists
of rows ``[number, hidden, unseen columns, looks of columns, cells]``; an object with ``problem`` (the rule, and what to
do) for a file that cannot be used, with ``unsafe`` if it would do harm; and finally one with ``end``.
"""

import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum

from dataloader.common import InputError, many
from dataloader.vendor.chip_uid import CellKind
from dataloader.vendor.returned.conditional import Rules
from dataloader.vendor.returned.grid import text_of
from dataloader.vendor.returned.zip_check import Marks, Packed, PackedError, UnsafeError, inspect
from dataloader.vendor.sheets import BATCH_SHEET

MAX_SECONDS = 300
"""The limit of processor time in seconds; a million rows take a few."""
_CHUNK = 1000
_ABOUT_ROWS = 40
_MAX_COMMENTS = 10_000
_MAX_TESTS = 20_000_000
"""The most conditions of conditional formatting to test; that takes half a minute."""
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The start of older or encrypted workbooks ([MS-CFB], 2.2)."""


def main() -> None:
    """Read one workbook: ``python -m dataloader.vendor.returned.sandbox FILE``."""
    options = orjson.loads(sys.stdin.buffer.readline())
    for limit, value in (
        (resource.RLIMIT_AS, options["memory"]),
        (resource.RLIMIT_CPU, MAX_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(limit)
        allowed = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (allowed, allowed))
    try:
        with _opened(Path(sys.argv[1]), options["password"]) as stream:
            packed = inspect(stream, options["size"])
            if options["rows"]:
                if not _tell_all(packed):
                    # Raise the error that says which row or cell is there twice.
                    inspect(stream, options["size"], all_cells=True)
            else:
                _only_open(packed.stream)
    except UnsafeError as error:
        _tell({"problem": [error.rule, error.todo], "unsafe": True})
    except (PackedError, InputError) as error:
        _tell({"problem": [error.rule, error.todo]})
    except MemoryError:
        _tell({"memory": True})
    except CalamineError as error:
        said = " ".join(str(error).split())
        _tell({"problem": [f"cannot be read as a workbook: {said}", "have it saved as .xlsx again, or as CSV"]})
    _tell({"end": True})


def _tell(record: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(record, default=_odd, option=orjson.OPT_PASSTHROUGH_DATETIME) + b"\n")


def _odd(value: Any) -> Any:
    """Encode a cell that is neither text nor a number: its type, and its text as displayed."""
    return [CellKind.DATE, str(value)]


@contextmanager
def _opened(path: Path, password: str | None) -> Iterator[IO[bytes]]:
    with path.open("rb") as stream:
        begin = stream.read(len(_OLE))
        stream.seek(0)
        yield _decrypted(path, password) if begin == _OLE else stream


def _decrypted(path: Path, password: str | None) -> IO[bytes]:
    # Slow to import, and rarely needed.
    from msoffcrypto import OfficeFile  # noqa: PLC0415

    from dataloader.vendor.encryption import decrypt  # noqa: PLC0415

    try:
        with path.open("rb") as stream:
            kind = OfficeFile(stream).format
    except Exception as error:  # the library raises various exceptions for damaged files
        raise PackedError(f"is damaged, or not a workbook: {error}", "have it saved as .xlsx or CSV") from error
    if kind != "ooxml":
        raise PackedError("is an old workbook (.xls), or another kind of document", "have it saved as .xlsx or CSV")
    return decrypt(path, password)


def _tell_all(packed: Packed) -> bool:
    """Write all sheets; return whether the library shows as many values as there are."""
    book = CalamineWorkbook.from_filelike(packed.stream)
    about = _about(book)
    # The library lists sheets in the order of the workbook, as they were found here.
    marks = [marks for _, marks in packed.sheets]
    hidden = [name in packed.hidden for name, _ in packed.sheets]
    is_complete = True
    for at, metadata in enumerate(book.sheets_metadata):
        if metadata.typ is SheetTypeEnum.WorkSheet:
            mark = marks[at] if at < len(marks) else Marks()
            _tell(
                {
                    "sheet": metadata.name,
                    "hidden": hidden[at] if at < len(hidden) else False,
                    "about": about,
                    "hidden_columns": sorted(mark.columns),
                    "comments": mark.comments[:_MAX_COMMENTS],
                    "conditional": [rule.named for rule in mark.rules if rule.is_unknown and not rule.style.why],
                }
            )
            is_complete &= _tell_sheet(book.get_sheet_by_index(at), mark) >= mark.values
    return is_complete


def _only_open(stream: IO[bytes]) -> None:
    """Expand each sheet, to check that it is possible."""
    book = CalamineWorkbook.from_filelike(stream)
    for name in book.sheet_names:
        book.get_sheet_by_name(name)


def _about(book: CalamineWorkbook) -> Mapping[str, str]:
    """Return the information about the batch in our own workbooks."""
    if BATCH_SHEET not in book.sheet_names:
        return {}
    rows = islice(book.get_sheet_by_name(BATCH_SHEET).iter_rows(), _ABOUT_ROWS)
    return {_seen(row[0])[:100]: _seen(row[1])[:200] for row in rows if len(row) > 1}


def _seen(cell: Any) -> str:
    """Return a cell's text as displayed: whole numbers without a fractional part."""
    return text_of(cell)[0] if isinstance(cell, str | float) else str(cell)


def _tell_sheet(sheet: CalamineSheet, marks: Marks) -> int:
    """Write the rows of a sheet; return the number of its values."""
    # The library's first column is the first one with content.
    left = sheet.start[1] if sheet.start else 0
    before = [""] * left
    chunk: list[list[Any]] = []
    merged = _Merged(marks)
    values = 0
    rules = _rules(sheet, marks)
    for at, cells in _all_rows(sheet, marks):
        filled = len(cells) - cells.count("")
        values += filled
        if filled or at in marks.formulas:
            row: list[Any] = [*before, *cells]
            for column in marks.formulas.get(at, ()):
                row += [""] * (column + 1 - len(row))
                row[column] = [CellKind.FORMULA, _seen(row[column])]
            unseen, looks = _formatting(marks, rules, at, row)
            shown = [(column, why) for column, why in unseen.items() if "" not in row[column:][:1]]
            shown += merged.filled(at, row, unseen)
            chunk.append([at + 1, at in marks.hidden, shown, looks, row])
        if len(chunk) == _CHUNK:
            _tell(chunk)
            chunk.clear()
    _tell(chunk)
    return values


class _Merged:
    """Repeats what merged cells hold in each of their rows."""

    def __init__(self, marks: Marks) -> None:
        self._by_top = marks.merged
        self._now: dict[int, tuple[int, Any, str]] = {}
        """By column: the last row, what it holds, and why that is unseen."""

    def filled(self, at: int, row: list[Any], unseen: Mapping[int, str]) -> Iterator[tuple[int, str]]:
        """Fill in the empty cells of a row; yield the columns that are unseen, with the reasons."""
        for column, (bottom, cell, why) in [*self._now.items()]:
            if at > bottom:
                del self._now[column]
            elif column >= len(row) or row[column] == "":
                row += [""] * (column + 1 - len(row))
                row[column] = cell
                if why:
                    yield column, why
        for area in self._by_top.get(at, ()):
            if area.left < len(row):
                self._now[area.left] = area.bottom, row[area.left], unseen.get(area.left, "")


def _all_rows(sheet: CalamineSheet, marks: Marks) -> Iterator[tuple[int, list[Any]]]:
    """Yield the rows with their numbers from 0: those of the library, and those below that have only formulas."""
    at = -1
    for at, cells in enumerate(sheet.iter_rows()):
        yield at, cells
    for row in sorted(marks.formula_rows):
        if row > at:
            yield row, []


def _rules(sheet: CalamineSheet, marks: Marks) -> Rules:
    """Return the rules of conditional formatting of a sheet.

    Raises:
        PackedError: evaluating them would take too long.
    """
    rules = Rules(marks.rules)
    bottom, right = sheet.end or (0, 0)
    if rules.tests(max(bottom, *marks.formula_rows, 0) + 1, right + 1) > _MAX_TESTS:
        rule = (
            f"sheet {sheet.name} has {many(len(marks.rules), 'rule')} of conditional formatting, too many for its size"
        )
        raise PackedError(rule, "clear the rules (Home > Conditional Formatting > Clear Rules), and save it again")
    return rules


def _formatting(
    marks: Marks, rules: Rules, at: int, row: Sequence[Any]
) -> tuple[Mapping[int, str], Sequence[tuple[int, str]]]:
    """Return the columns of a row that are unseen, with the reasons, and those that look unusual."""
    unseen, looks = marks.unseen.get(at, {}), marks.looks.get(at, ())
    if not marks.rules:
        return unseen, looks
    hidden, coloured = dict(unseen), dict(looks)
    for rule, column, is_certain in rules.formatted(at, row):
        if rule.style.why:
            how = f"{rule.style.why} by conditional formatting"
            hidden.setdefault(column, how if is_certain else f"perhaps {how} ({rule.named})")
        if is_certain:
            coloured.setdefault(column, rule.style.look)
    return hidden, [*coloured.items()]


if __name__ == "__main__":
    main()
