"""Returned files that are text: CSV (RFC 4180) with commas, semicolons or tabs, in UTF-8 or UTF-16."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TextIO

from dataloader.common import InputError, Problem
from dataloader.vendor.returned.columns import MAX_HEAD, Columns, find_columns, nothing_found
from dataloader.vendor.returned.options import Reading
from dataloader.vendor.returned.table import ReturnedRow, ReturnedTable, fills

DELIMITERS = (",", ";", "\t")
MAX_LINE = 100_000
"""Characters; a line beyond this is no line of a table of cards, and is not read into memory."""
_AS_UTF8 = "save it as “CSV UTF-8”, or send the workbook (.xlsx)"


@contextmanager
def text_sources(path: Path, place: str, reading: Reading) -> Iterator[Iterator[ReturnedTable]]:
    """Read a text file as a table.

    Raises:
        InputError: it is no text, or no table with the columns that are needed.
        OSError: it can't be read.
    """
    encoding = _encoding(path)
    with path.open(encoding=encoding, newline="") as stream:
        columns, delimiter = _find(path, stream, reading)
        stream.seek(0)
        fills_result, fills_chip = fills(columns, _read(path, stream, delimiter))
        stream.seek(0)
        table = _table(path, stream, columns, delimiter)
        yield iter([ReturnedTable(place, "line", frozenset(columns.at), fills_result, fills_chip, table)])


def _encoding(path: Path) -> str:
    """Tell the encoding from the first bytes: a byte order mark, or where the zeros are in UTF-16 without one."""
    with path.open("rb") as stream:
        begin = stream.read(4)
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(begin) == 4 and begin[0] and begin[2] and not begin[1] and not begin[3]:  # noqa: PLR2004 - two characters
        return "utf-16-le"
    if len(begin) == 4 and begin[1] and begin[3] and not begin[0] and not begin[2]:  # noqa: PLR2004 - two characters
        return "utf-16-be"
    return "utf-8-sig"


def _find(path: Path, stream: TextIO, reading: Reading) -> tuple[Columns, str]:
    """Find the titles, and with them what stands between the columns."""
    found: list[tuple[int, str, Columns]] = []
    heads: list[list[list[str]]] = []
    for delimiter in DELIMITERS:
        stream.seek(0)
        heads.append([cells for _, cells in islice(_read_numbered(path, stream, delimiter), MAX_HEAD)])
        columns = find_columns(heads[-1], reading.columns, reading.uuid_titles)
        if columns is not None:
            found.append((len(columns.at), delimiter, columns))
    if not found:
        widest = max(heads, key=lambda rows: max(map(len, rows), default=0))
        raise InputError(Problem(str(path), *nothing_found(widest, reading.columns)))
    _, delimiter, columns = max(found, key=itemgetter(0))
    if columns.problem is not None:
        raise InputError(Problem(f"{path}, row {columns.row + 1}", *columns.problem))
    return columns, delimiter


def _table(path: Path, stream: TextIO, columns: Columns, delimiter: str) -> Iterator[ReturnedRow]:
    pick = itemgetter(*columns.indices)
    # A row may be shorter than its titles; the empty cell behind the last stands for columns that are not there.
    width = max(columns.at.values()) + 2
    for number, cells in islice(_read_numbered(path, stream, delimiter), columns.row + 1, None):
        picked = pick(cells + [""] * max(1, width - len(cells)))
        if any(picked):
            yield [number, *picked]


def _read(path: Path, stream: TextIO, delimiter: str) -> Iterator[list[str]]:
    return (cells for _, cells in _read_numbered(path, stream, delimiter))


def _read_numbered(path: Path, stream: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its last line."""
    reader = csv.reader(_lines(path, stream), delimiter=delimiter, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            where = f"{path}, line {reader.line_num}"
            raise InputError(Problem(where, f"is not CSV: {error}", "have it saved as CSV again")) from error
        if cells is None:
            return
        yield reader.line_num, cells


def _lines(path: Path, stream: TextIO) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        try:
            line = stream.readline(MAX_LINE)
        except UnicodeError as error:
            # Text is decoded in stretches, so that the line is one of some hundred.
            rule = f"is not text in {stream.encoding.removesuffix('-sig').upper()}"
            raise InputError(Problem(f"{path}, behind line {number - 1}", rule, _AS_UTF8)) from error
        if not line:
            return
        where = f"{path}, line {number}"
        if len(line) >= MAX_LINE and not line.endswith(("\n", "\r")):
            raise InputError(
                Problem(where, f"is longer than {MAX_LINE:,} characters", "have it saved as CSV again, or as .xlsx")
            )
        if "\0" in line:
            raise InputError(Problem(where, "holds bytes of zero, which no text has", _AS_UTF8))
        yield line
