"""Open a returned file, recognized by its content."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataloader.common import FileError, InputError, Problem, require_file
from dataloader.vendor.returned.csv_file import text_grids
from dataloader.vendor.returned.grid import Grid
from dataloader.vendor.returned.options import Reading
from dataloader.vendor.returned.table import ReturnedTable, tables_of
from dataloader.vendor.returned.workbook_file import book_grids

_BOOKS = (b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0")
"""The start of ZIP files, and of older or encrypted workbooks; any other file is text."""
_SAVE = "open it in a spreadsheet program and save it as .xlsx"
_KINDS = (
    (rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|table|meta|style)\b", "is a web page (HTML)"),
    (rb"\s*<\?xml[^>]*\?>.{0,2000}?(<(\w+:)?html\b)", "is a web page (HTML)"),
    (rb"\s*<\?xml[^>]*\?>.{0,2000}?urn:schemas-microsoft-com:office:spreadsheet", "is an XML spreadsheet of 2003"),
    (rb"\s*<(\?xml\b|[a-z][\w:.-]*[\s/>])", "is an XML file"),
    (rb"\s*MIME-Version:", "is a web archive (MHTML)"),
    (rb"ID;P", "is a SYLK file"),
    (rb"\t[\x02\x04]", "is an old workbook"),
)  # fmt: skip
"""Text files that are not CSV, by their start; spreadsheet programs open all of these."""
_OTHERS = (
    (rb"%PDF-", "is a PDF"),
    (rb"\{\\rtf", "is a text document (RTF)"),
    (rb"\s*\{\s*\"", "is JSON"),
    (rb"\s*\[\s*[\[{]", "is JSON"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "is a picture"),
    (rb"\x1f\x8b|7z\xbc\xaf|Rar!|BZh", "is a compressed file"),
)
_BEGIN = 4_096
_WIDE = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def open_grids(path: Path, reading: Reading, *, from_top: bool = False) -> Iterator[Iterator[Grid]]:
    """Open a file as grids.

    Raises:
        FileError: the file cannot be read.
        InputError: it is neither a workbook nor text, or not safe to open.
    """
    try:
        require_file(path)
        with path.open("rb") as stream:
            begin = stream.read(_BEGIN)
        if not begin.startswith(_BOOKS):
            _check_kind(path, begin)
        if begin.startswith(_BOOKS):
            with book_grids(path, reading) as grids:
                yield grids
        else:
            with text_grids(path, reading, from_top=from_top) as grids:
                yield grids
    except OSError as error:
        raise FileError.of(error, path, "give the path of a file that can be read") from error


def _check_kind(path: Path, begin: bytes) -> None:
    wide = begin.startswith(_WIDE)
    plain = begin.replace(b"\0", b"")[2 if wide else 0 :].removeprefix(b"\xef\xbb\xbf")
    for pattern, kind in _KINDS:
        if re.match(pattern, plain, re.IGNORECASE | re.DOTALL):
            raise InputError(Problem(str(path), f"{kind}{_named(path)}", _SAVE))
    for pattern, kind in _OTHERS:
        if re.match(pattern, plain):
            raise InputError(Problem(str(path), f"{kind}{_named(path)}", "ask for the workbook (.xlsx), or for CSV"))


def _named(path: Path) -> str:
    return f" saved as {path.suffix}" if path.suffix not in {"", ".pdf"} else ""


@contextmanager
def open_returned(path: Path, place: str, reading: Reading) -> Iterator[Iterator[ReturnedTable]]:
    """Open a returned file.

    Args:
        path: the file.
        place: its name in messages about rows.
        reading: how to read it.

    Raises:
        FileError: the file cannot be read.
        InputError: it has no table of cards, is not safe to open, or has an unrecognized column that could matter.
    """
    with open_grids(path, reading) as grids:
        yield tables_of(path, place, grids, reading)
