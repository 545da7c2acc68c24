"""Returned files: what the vendor sends back, as rows of cells, found by the titles of their columns.

Nothing in a returned file is trusted: it comes by mail from somebody else's machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataloader.common import FileError, require_file
from dataloader.vendor.returned.columns import KEYS
from dataloader.vendor.returned.csv_file import text_sources
from dataloader.vendor.returned.options import Reading
from dataloader.vendor.returned.table import MAX_CELL, Cell, ReturnedRow, ReturnedTable, text_of
from dataloader.vendor.returned.workbook_file import book_sources, check_safe

__all__ = [
    "KEYS",
    "MAX_CELL",
    "Cell",
    "Reading",
    "ReturnedRow",
    "ReturnedTable",
    "check_safe",
    "open_returned",
    "text_of",
]

_BOOKS = (b"PK\x03\x04", b"PK\x05\x06", b"\xd0\xcf\x11\xe0")
"""How ZIP files begin, and older or encrypted workbooks; what begins otherwise is text."""


@contextmanager
def open_returned(path: Path, place: str, reading: Reading) -> Iterator[Iterator[ReturnedTable]]:
    """Open a returned file, whatever its name says that it is.

    Args:
        path: the file.
        place: what it is called in messages about rows.
        reading: how to read it.

    Raises:
        FileError: the file can't be read.
        InputError: it is no table of cards, or not safe to open.
    """
    try:
        require_file(path)
        with path.open("rb") as stream:
            is_book = stream.read(4) in _BOOKS
        opened = book_sources if is_book else text_sources
        with opened(path, place, reading) as sources:
            yield sources
    except OSError as error:
        raise FileError.of(error, path, "give the path of a file that can be read") from error
