"""Workbooks as files: streaming rows into one, and reading one of ours back.

openpyxl makes a template, with all the formatting and one row. The other rows go into one sheet's XML as it
is packed, with the cell styles of the one, so that a million need no more memory than one. Every cell is text,
none a formula. Cell forms: ECMA-376 part 1, 18.3.1.4 (``c``) and 18.3.1.53 (``is``).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import openpyxl
from openpyxl.cell import Cell, MergedCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet
from openpyxl.xml.functions import tostring
from python_calamine import CalamineError, CalamineWorkbook

from dataloader.common import FileError, InputError, Problem, require_file
from dataloader.vendor.encryption import decrypt, encrypt, is_encrypted

TEXT = "@"
"""The number format of text."""
_PROPERTIES = "docProps/core.xml"
_STYLE = re.compile(rb'<c r="[A-Z]+2"[^>]*? s="(\d+)"')
_CHUNK = 1000
"""Rows that are packed at once, about 500 KB."""
_NUMBER = "\0"
"""Stands for the row's number in a row's form; no text in XML can hold it."""
_LEVEL = 5
"""Of zlib; for rows like these, 6 takes half as long again and saves nothing."""
# Zip entries carry a time; a fixed one makes the same batch the same file.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def new_book(name: str, created: str) -> openpyxl.Workbook:
    """Return an empty workbook that is titled, and dated with the time of creation of its batch."""
    book = openpyxl.Workbook()
    book.properties.title = name
    book.properties.creator = "dataloader"
    book.properties.created = datetime.fromisoformat(created).replace(tzinfo=None, microsecond=0)
    return book


def first_sheet(book: openpyxl.Workbook) -> Worksheet:
    """Return the sheet that is seen first."""
    sheet = book.worksheets[0]
    if not isinstance(sheet, Worksheet):  # pragma: no cover - a new workbook has a sheet of cells
        raise TypeError
    return sheet


def text(cell: Cell | MergedCell, value: str) -> None:
    """Put a text into a cell as text, whatever it looks like."""
    if not isinstance(cell, Cell):  # pragma: no cover - there are no merged cells
        raise TypeError
    cell.value = value
    cell.data_type = "s"
    cell.number_format = TEXT


def bold(size: int = 11) -> Font:
    """Return the font of titles: openpyxl's default one, bold; the size is in points."""
    return Font(name="Calibri", size=size, bold=True)


def footer(sheet: Worksheet, left: str, centre: str, right: str) -> None:
    """Put texts at the foot of each printed page; ``&P`` is its number, ``&N`` how many there are."""
    foot = sheet.oddFooter
    if foot is None:  # pragma: no cover - a sheet has one
        raise TypeError
    foot.left.text, foot.center.text, foot.right.text = left, centre, right


def write_rows(
    stream: IO[bytes],
    book: openpyxl.Workbook,
    rows: Iterable[tuple[str, ...]],
    count: int,
    password: str | None = None,
    *,
    sheet: int = 1,
) -> None:
    """Write a workbook with rows streamed into one of its sheets, from row 2 on.

    The same workbook and rows give the same bytes, but for an encrypted one, which is held in memory.

    Args:
        stream: where to; needs no seeking.
        book: the template; row 2 of the sheet has a cell for each column, whose style the column's cells get.
        rows: the texts of each row's cells, escaped for XML where they need it; an empty one is an empty cell.
        count: how many rows come.
        password: what the workbook is encrypted with; None for a plain one.
        sheet: the number of the sheet, from 1.
    """
    if password is not None:
        plain = BytesIO()
        write_rows(plain, book, rows, count, sheet=sheet)
        encrypt(plain, password, stream)
        return
    template = BytesIO()
    book.save(template)
    # Saving puts the present time here, which would make each workbook of a batch another file.
    book.properties.modified = book.properties.created
    properties = tostring(book.properties.to_tree())
    with ZipFile(template) as source, ZipFile(stream, "w") as target:
        for name in source.namelist():
            info = ZipInfo(name, _ZIP_TIME)
            info.compress_type = ZIP_DEFLATED
            # An entry's own, which the archive's does not reach; it has a public name from Python 3.13 on.
            info._compresslevel = _LEVEL  # type: ignore[attr-defined]  # noqa: SLF001
            content = properties if name == _PROPERTIES else source.read(name)
            if name == f"xl/worksheets/sheet{sheet}.xml":
                with target.open(info, "w", force_zip64=True) as part:
                    for chunk in _sheet(content, rows, count):
                        part.write(chunk)
            else:
                target.writestr(info, content)


def _sheet(template: bytes, rows: Iterable[tuple[str, ...]], count: int) -> Iterator[bytes]:
    """Yield the sheet's XML: the template's, its second row replaced by the rows."""
    start = template.index(b'<row r="2"')
    end = template.index(b"</sheetData>")
    styles = [int(style) for style in _STYLE.findall(template[start:end])]
    last = f"{get_column_letter(len(styles))}{count + 1}".encode()
    yield re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:%s"' % last, template[:start], count=1)
    forms: dict[tuple[bool, ...], str] = {}
    numbered = enumerate(rows, 2)
    while chunk := list(islice(numbered, _CHUNK)):
        lines = []
        for number, row in chunk:
            filled = tuple(map(bool, row))
            form = forms.get(filled) or forms.setdefault(filled, _form(styles, filled))
            lines.append((form % row).replace(_NUMBER, str(number)))
        yield "".join(lines).encode()
    yield template[end:]


def _form(styles: Sequence[int], filled: Sequence[bool]) -> str:
    """Return a row's XML with a place for each text, for ``%``, where those of the cells that are filled are known."""
    cells = []
    for index, (style, has_text) in enumerate(zip(styles, filled, strict=True), 1):
        cell = f'<c r="{get_column_letter(index)}{_NUMBER}" s="{style}"'
        # An empty text takes its place, too, and no room.
        cells.append(f'{cell} t="inlineStr"><is><t>%s</t></is></c>' if has_text else f"{cell}/>%s")
    return f'<row r="{_NUMBER}">{"".join(cells)}</row>'


def read_sheets(path: Path, names: Sequence[str], password: str | None, todo: str) -> list[list[list[Any]]]:
    """Read sheets of a workbook that this tool wrote: the values of their rows, the first row at least.

    Args:
        path: the workbook.
        names: the sheets' names.
        password: the workbook's; of no meaning for one that is not encrypted.
        todo: what to do where a sheet is not there.

    Raises:
        FileError: the file can't be read.
        InputError: it is no workbook, lacks a sheet, or can't be decrypted.
    """
    try:
        require_file(path)
        if is_encrypted(path):
            book = CalamineWorkbook.from_filelike(decrypt(path, password))
        else:
            book = CalamineWorkbook.from_path(str(path))
        missing = [name for name in names if name not in book.sheet_names]
        if missing:
            raise InputError(Problem(str(path), f"has no sheet {' and '.join(missing)}", todo))
        return [book.get_sheet_by_name(name).to_python() or [[]] for name in names]
    except OSError as error:
        raise FileError.of(error, path, "give the path of a workbook that can be read") from error
    except (CalamineError, BadZipFile, ValueError) as error:
        raise InputError(
            Problem(str(path), f"is not a workbook written by generate: {error}", "take the one that generate wrote")
        ) from error
