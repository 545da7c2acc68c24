"""Read text files as tables: CSV (RFC 4180) with commas, semicolons, tabs or bars, in UTF-8, UTF-16 or Windows-1252.

Vendors' programs write many dialects: every field quoted, whole lines quoted, a space after each comma, an address
above the titles. An additional quotation mark, which would swallow rows, is an error that names both lines.
"""

import csv
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from dataloader.common import InputError, Problem
from dataloader.vendor.returned.columns import MAX_HEAD, UUID_LIKE, find_columns
from dataloader.vendor.returned.grid import Grid, GridRow
from dataloader.vendor.returned.options import Reading

DELIMITERS = (",", ";", "\t", "|")
MAX_LINE = 100_000
"""The longest line in characters; a longer one is not a table of cards, and is not read into memory."""
ABOVE = "has a UUID above the titles of the columns, so it cannot be read"
ABOVE_TODO = "put the titles above all rows, or put each table into a separate file"
_HEAD_LINES = 3 * MAX_HEAD
"""The most lines for the first rows; a title may contain line breaks."""
_AS_UTF8 = "save it as “CSV UTF-8”, or send the workbook (.xlsx)"
_AGAIN = "have it saved as CSV again"
_WESTERN_LETTERS = frozenset("àâäåæçèéêëíîïñóôöøúûüÀÂÄÅÆÇÈÉÊËÍÎÏÑÓÔÖØÚÛÜßáÁìòùãõÃÕº")
_WESTERN_MARKS = frozenset(
    "\N{NO-BREAK SPACE}\N{DEGREE SIGN}\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}\N{EURO SIGN}"
    "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}\N{EN DASH}\N{EM DASH}\N{LEFT SINGLE QUOTATION MARK}"
    "\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
    "\N{HORIZONTAL ELLIPSIS}"
)
_WESTERN_WORDS = frozenset("àèéòóº")
"""Words without a plain letter."""
_QUOTE = '"'
_RULER = f"-=_+:~|. \x1a\r\n{_QUOTE}"
"""Lines between rows, empty rows, and the end of a file of old programs."""
_TITLES = 3
"""The number of columns from which a line with as many delimiters looks like a row."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The dialect of a text file."""

    delimiter: str
    first: int = 0
    """The line of the titles, from 0; lines above it are skipped."""
    inner: str = ""
    """The inner delimiter if whole lines are quoted, so that each is one field with all fields in it."""
    width: int = 0
    """The number of columns in the titles."""
    blanks: int = 0
    """The number of spaces after each delimiter."""


@contextmanager
def text_grids(path: Path, reading: Reading, *, from_top: bool = False) -> Iterator[Iterator[Grid]]:
    """Open a text file as a grid; its first row is that of the titles, if any.

    Args:
        path: the file.
        reading: how to read it.
        from_top: whether rows above the titles are read, too.

    Raises:
        InputError: it is not text, or not CSV.
        OSError: it cannot be read.
    """
    with path.open(encoding=_encoding(path), newline="") as stream:
        dialect = _dialect(path, stream, reading)
        dialect = replace(dialect, first=0) if from_top else dialect
        stream.seek(0)
        above: list[tuple[int, str]] = []
        yield iter([Grid("", "line", _rows(path, stream, dialect, above), above=above)])


def _encoding(path: Path) -> str:
    """Return the encoding by the first bytes: a byte order mark, or the zeros of UTF-16."""
    with path.open("rb") as stream:
        begin = stream.read(4)
    if begin.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if len(begin) == 4 and begin[0] and begin[2] and not begin[1] and not begin[3]:  # noqa: PLR2004 - two characters
        return "utf-16-le"
    if len(begin) == 4 and begin[1] and begin[3] and not begin[0] and not begin[2]:  # noqa: PLR2004 - two characters
        return "utf-16-be"
    return "utf-8-sig" if begin.startswith(BOM_UTF8) else _by_content(path)


def _by_content(path: Path) -> str:
    """Return the encoding of a file without a byte order mark: UTF-8, or Windows-1252 if that is certain.

    Excel saves CSV in Windows-1252 in western Europe, and in other encodings elsewhere and on Macs. There, the bytes of
    western European words would be other characters, or whole words without a plain letter.

    Raises:
        InputError: it is in none of them for certain.
        OSError: it cannot be read.
    """
    is_utf8 = True
    other = 0
    with path.open("rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE), b""), 1):
            if line.isascii():
                continue
            try:
                line.decode()
            except UnicodeDecodeError as error:
                # A long line was cut, perhaps in the middle of a character.
                is_utf8 = is_utf8 and len(line) >= MAX_LINE and error.end == len(line)
            other = other or (0 if _is_western(line) else number)
            if other and not is_utf8:
                rule = "has characters that are not UTF-8, and may be in one of several other encodings"
                raise InputError(Problem(f"{path}, line {other}", rule, _AS_UTF8))
    return "utf-8" if is_utf8 else "cp1252"


def _is_western(line: bytes) -> bool:
    """Return whether a line is western European text in Windows-1252."""
    text = line.decode("cp1252", "replace")
    found = [word for word in re.findall(r"[^\W\d_]+", text) if not word.isascii()]
    others = {each for each in text if not each.isascii()}.difference("".join(found))
    return others <= _WESTERN_MARKS and all(
        {each for each in word if not each.isascii()} <= _WESTERN_LETTERS
        and (word in _WESTERN_WORDS or sum(map(str.isascii, word)) >= len(word) / 2)
        for word in found
    )


def _dialect(path: Path, stream: TextIO, reading: Reading) -> Dialect:
    """Find the titles, and by them the delimiter; without titles, the whole file is rows."""
    lines = list(islice(_lines(path, stream), _HEAD_LINES))
    best, most = Dialect(_most_frequent(lines)), ((0, 0), False)
    for delimiter in DELIMITERS:
        for first in range(min(len(lines), MAX_HEAD)):
            whole = _fields(lines[first:], delimiter)
            # There may be a letterhead with any quotation marks above the titles.
            readings = {"": lines[first].rstrip("\r\n").split(delimiter) if whole is None else whole}
            if whole and sum(map(bool, whole)) == 1 and _QUOTE in lines[first]:
                only = next(filter(None, whole))
                readings |= {each: _fields([only], each) or [] for each in DELIMITERS}
            for inner, cells in readings.items():
                found = find_columns([_without_blanks(cells, 0)], reading.columns, reading.uuid_titles)
                # Of two readings with the same number of titles, prefer the valid CSV.
                if found is not None and (rank := (found.rank, whole is not None)) > most:
                    most = rank
                    best = Dialect(delimiter, first, inner, len(cells), _common_blanks(cells[1:]))
    return best


def _most_frequent(lines: Sequence[str]) -> str:
    counts = {delimiter: sum(line.count(delimiter) for line in lines) for delimiter in DELIMITERS}
    return max(DELIMITERS, key=lambda delimiter: counts[delimiter])


def _fields(lines: Sequence[str], delimiter: str) -> list[str] | None:
    """Return the fields of the first row, which may take several lines; None if it is not CSV."""
    try:
        return next(csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=_QUOTE in lines[0]), [])
    except csv.Error:
        return None


def _rows(path: Path, stream: TextIO, dialect: Dialect, above: list[tuple[int, str]]) -> Iterator[GridRow]:
    lines = _lines(path, stream)
    for number in range(1, dialect.first + 1):
        line = next(lines, "")
        if UUID_LIKE.search(line):
            raise InputError(Problem(f"{path}, line {number}", ABOVE, ABOVE_TODO))
        above.append((number, re.sub(rf"{re.escape(dialect.delimiter)}(?! )", "\t", line.strip())))
    number = dialect.first
    ruler = _RULER + dialect.delimiter
    for line in lines:
        first = number = number + 1
        if not line.strip(ruler):
            continue
        if _QUOTE not in line:
            cells = line.rstrip("\r\n").split(dialect.delimiter)
        else:
            cells, more = _quoted(path, line, lines, dialect, first)
            number += more
        if dialect.inner and sum(map(bool, cells)) == 1:
            unwrapped = replace(dialect, delimiter=dialect.inner, inner="")
            cells, _ = _quoted(path, next(filter(None, cells)), iter(()), unwrapped, first)
        if any(cells):
            yield GridRow(number, _without_blanks(cells, dialect.blanks))


def _quoted(path: Path, line: str, lines: Iterator[str], dialect: Dialect, number: int) -> tuple[list[str], int]:
    """Return the fields of a line with quotation marks, and how many more lines they take.

    Raises:
        InputError: a quotation mark is not closed, or closed much later.
    """
    blank = re.search(re.escape(dialect.delimiter) + ' +"', line) is not None
    reader = csv.reader(chain([line], lines), delimiter=dialect.delimiter, strict=True, skipinitialspace=blank)
    try:
        cells = next(reader, [])
    except csv.Error as error:
        last = number + reader.line_num - 1
        raise InputError(_stray(path, number, last, str(error))) from error
    more = reader.line_num - 1
    if more and number > dialect.first + 1 and any(_swallows_rows(cell, dialect) for cell in cells):
        raise InputError(_stray(path, number, number + more, ""))
    inside = sum(cell.count(dialect.delimiter) for cell in cells)
    if inside and not dialect.inner and len(cells) < dialect.width <= len(cells) + inside:
        rule = "an extra quotation mark turns several columns into one field"
        raise InputError(Problem(f"{path}, line {number}", rule, f"remove it, or {_AGAIN}"))
    return cells, more


def _swallows_rows(cell: str, dialect: Dialect) -> bool:
    """Return whether a field with line breaks contains rows of the table."""
    inner = cell.splitlines()
    return len(inner) > 1 and any(
        UUID_LIKE.search(line) or line.count(dialect.delimiter) >= max(dialect.width, _TITLES) - 1 for line in inner
    )


def _stray(path: Path, first: int, last: int, said: str) -> Problem:
    if last == first:
        return Problem(f"{path}, line {first}", f"is not CSV: {said}", _AGAIN)
    if "end of data" in said:
        rule = f"the quotation mark that opens in line {first} is never closed, and swallows the rows below it"
        return Problem(f"{path}, line {first}", rule, f"remove it, or {_AGAIN}")
    rule = "quotation marks in these two lines turn everything between them into one field, and swallow its rows"
    return Problem(f"{path}, lines {first} and {last}", rule, f"remove them, or {_AGAIN}")


def _common_blanks(cells: Sequence[str]) -> int:
    """Return the number of spaces at the start of each field that is not empty."""
    return min((len(cell) - len(cell.lstrip(" ")) for cell in cells if cell), default=0)


def _without_blanks(cells: list[str], usual: int) -> list[str]:
    """Remove spaces after or before delimiters, if all fields of a row have the same number.

    A space in one field only is part of its text, and is kept.
    """
    if len(cells) < 2 or " " not in "".join(cells):  # noqa: PLR2004 - nothing is between columns
        return cells
    rest = [cell for cell in cells[1:] if cell.strip(" ")]
    after = _common_blanks(rest)
    if after and (len(rest) > 1 or after == usual):
        cells = [cells[0], *(cell[min(after, len(cell) - len(cell.lstrip(" "))) :] for cell in cells[1:])]
    before = [cell for cell in cells[:-1] if cell.strip(" ")]
    trailing = min((len(cell) - len(cell.rstrip(" ")) for cell in before), default=0)
    if trailing and len(before) > 1:
        cells = [
            *(cell[: len(cell) - min(trailing, len(cell) - len(cell.rstrip(" ")))] for cell in cells[:-1]),
            cells[-1],
        ]
    return cells


def _lines(path: Path, stream: TextIO) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        try:
            line = stream.readline(MAX_LINE)
        except UnicodeError as error:
            # Text is decoded in chunks of about a hundred lines.
            rule = f"is not {stream.encoding.removesuffix('-sig').upper()} text"
            raise InputError(Problem(f"{path}, after line {number - 1}", rule, _AS_UTF8)) from error
        if not line:
            return
        where = f"{path}, line {number}"
        if len(line) >= MAX_LINE and not line.endswith(("\n", "\r")):
            rule = f"is longer than {MAX_LINE:,} characters"
            raise InputError(Problem(where, rule, f"{_AGAIN}, or as .xlsx"))
        if "\0" in line:
            raise InputError(Problem(where, "contains zero bytes, so it is not text", _AS_UTF8))
        yield line
