"""A process of its own that opens a workbook and writes its rows to stdout, so that whatever is in it does no harm.

The library that reads workbooks lays out a sheet as a full table: a file of a kilobyte with one cell in the last
row and column would take more memory than any machine has, and end the program. Here that ends this process,
which has a limit, and the one that has started it says what is wrong. See ``workbook_file``.

stdin has one line, the options as JSON; without columns, the workbook is opened only. stdout gets lines of JSON: an
object for each table (:func:`_tell_table`), lists of rows behind it, an object with ``problem`` (the rule and what to
do) for a file that can't be used, ``unsafe`` in it if it would do harm, and one with ``end`` last.
"""

import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

import orjson
from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook, SheetTypeEnum

from dataloader.common import InputError, short
from dataloader.vendor.chip_uid import CellKind
from dataloader.vendor.returned.columns import KEYS, MAX_HEAD, Columns, find_columns, nothing_found
from dataloader.vendor.returned.table import fills, text_of
from dataloader.vendor.returned.zip_check import Cells, Packed, PackedError, UnsafeError, inspect

BATCH_SHEET = "Batch"
MAX_SECONDS = 300
"""Seconds of processor time; a million rows take a few."""
_CHUNK = 1000
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How files begin that hold older workbooks, or encrypted ones ([MS-CFB], 2.2)."""
_MATTERS = {key: at for at, key in enumerate(KEYS) if key != "note"}
"""Columns in which a formula leaves something in doubt, and where they stand in a row that is written."""


def main() -> None:
    """Read one workbook: ``python -m dataloader.vendor.returned.sandbox FILE``."""
    options = orjson.loads(sys.stdin.buffer.readline())
    for limit, value in (
        (resource.RLIMIT_AS, options["memory"]),
        (resource.RLIMIT_CPU, MAX_SECONDS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    try:
        with _opened(Path(sys.argv[1]), options["password"]) as stream:
            packed = inspect(stream, options["size"])
            stream.seek(0)
            if options["columns"] is None:
                _only_open(stream)
            else:
                _tell_all(stream, packed, options["columns"], options["uuid_titles"])
    except UnsafeError as error:
        _tell({"problem": [error.rule, error.todo], "unsafe": True})
    except (PackedError, InputError) as error:
        _tell({"problem": [error.rule, error.todo]})
    except MemoryError:
        _tell({"problem": ["takes more memory than a workbook like it", "have it saved as CSV"], "unsafe": True})
    except CalamineError as error:
        said = " ".join(str(error).split())
        _tell({"problem": [f"can't be read as a workbook: {said}", "have it saved as .xlsx again, or as CSV"]})
    _tell({"end": True})


def _tell(record: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(record, default=_odd, option=orjson.OPT_PASSTHROUGH_DATETIME) + b"\n")


def _odd(value: Any) -> Any:
    """Return what stands for a cell that is neither text nor a number: its kind, and what a person sees."""
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
    except Exception as error:  # the library says of a damaged file whatever it stumbles over
        raise PackedError(f"is damaged, or no workbook: {error}", "have it saved as .xlsx or CSV") from error
    if kind != "ooxml":
        raise PackedError("is an old workbook (.xls), or another kind of document", "have it saved as .xlsx or CSV")
    return decrypt(path, password)


def _tell_all(stream: IO[bytes], packed: Packed, named: Mapping[str, str], uuid_titles: Sequence[str]) -> None:
    book = CalamineWorkbook.from_filelike(stream)
    about = _about(book)
    heads: list[list[list[Any]]] = []
    found = 0
    for metadata in book.sheets_metadata:
        if metadata.typ is not SheetTypeEnum.WorkSheet:
            continue
        sheet = book.get_sheet_by_name(metadata.name)
        heads.append([_texts(row) for row in islice(sheet.iter_rows(), MAX_HEAD)])
        columns = find_columns(heads[-1], named, uuid_titles)
        if columns is None:
            continue
        if columns.problem is not None:
            rule, todo = columns.problem
            raise PackedError(f"sheet {short(metadata.name, 31)}, row {columns.row + 1}: {rule}", todo)
        found += 1
        _tell_table(sheet, columns, packed.formulas_of(metadata.name), about)
    if not found:
        fullest = max(heads, key=lambda rows: max(map(len, rows), default=0), default=[])
        raise PackedError(*nothing_found(fullest, named))


def _texts(row: list[Any]) -> list[Any]:
    return [cell if isinstance(cell, str) else str(cell) for cell in row]


def _only_open(stream: IO[bytes]) -> None:
    """Lay out each sheet, to see that it can be done."""
    book = CalamineWorkbook.from_filelike(stream)
    for name in book.sheet_names:
        book.get_sheet_by_name(name)


def _about(book: CalamineWorkbook) -> dict[str, str]:
    """Return what our own workbooks say of their batch."""
    if BATCH_SHEET not in book.sheet_names:
        return {}
    rows = islice(book.get_sheet_by_name(BATCH_SHEET).iter_rows(), MAX_HEAD)
    return {_seen(row[0])[:100]: _seen(row[1])[:200] for row in rows if len(row) > 1}


def _seen(cell: Any) -> str:
    """Return what a person sees in a cell: a whole number without a fractional part."""
    return text_of(cell)[0] if isinstance(cell, str | float) else str(cell)


def _tell_table(sheet: CalamineSheet, columns: Columns, formulas: Cells, about: Mapping[str, str]) -> None:
    fills_result, fills_chip = fills(columns, sheet.iter_rows())
    _tell(
        {
            "sheet": sheet.name,
            "keys": list(columns.at),
            "fills_result": fills_result,
            "fills_chip": fills_chip,
            "about": about,
        }
    )
    pick = itemgetter(*columns.indices)
    # The first column of what the library gives is the first that holds anything.
    left = sheet.start[1] if sheet.start else 0
    chunk: list[list[Any]] = []
    for at, cells in enumerate(islice(sheet.iter_rows(), columns.row + 1, None), columns.row + 1):
        row = pick([*cells, ""])
        if at in formulas:
            row = _with_formulas(row, columns, {column - left for column in formulas[at]})
        if any(cell != "" for cell in row):
            chunk.append([at + 1, *row])
        if len(chunk) == _CHUNK:
            _tell(chunk)
            chunk.clear()
    _tell(chunk)


def _with_formulas(row: tuple[Any, ...], columns: Columns, formulas: set[int]) -> tuple[Any, ...]:
    cells = list(row)
    for key, at in _MATTERS.items():
        if columns.at.get(key) in formulas:
            cells[at] = [CellKind.FORMULA, str(cells[at])]
    return tuple(cells)


if __name__ == "__main__":
    main()
