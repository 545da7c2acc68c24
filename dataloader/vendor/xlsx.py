"""Workbook files: stream rows into one, and read our own.

openpyxl creates a template with all the formatting and one row. The other rows are streamed into the XML of a sheet
while it is packed, with the cell styles of that row, so that a million rows need no more memory than one. Every cell is
text, never a formula. Forms of cells: ECMA-376 part 1, 18.3.1.4 (``c``) and 18.3.1.53 (``is``).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from python_calamine import CalamineError, CalamineWorkbook

from dataloader.common import FileError, InputError, Problem, require_file
from dataloader.vendor.encryption import decrypt, encrypt, is_encrypted

_CELL = re.compile(rb'<c r="([A-Z]+)2"[^>]*? s="(\d+)"')
_CHUNK = 1000
"""Rows to pack at a time, about 500 KB."""
_NUMBER = "\0"
"""Placeholder for the row's number in a row's XML; no text in XML can contain it."""
_LEVEL = 5
"""The zlib level; for such rows, 6 takes half as long again and saves nothing."""
# Zip entries have a time; a fixed one makes the file reproducible.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def write_rows(
    stream: IO[bytes],
    template: bytes,
    rows: Iterable[tuple[str, ...]],
    count: int,
    password: str | None = None,
    *,
    sheet: int = 1,
) -> None:
    """Write a workbook with rows streamed into one of its sheets, from row 2.

    The same workbook and rows give the same bytes, unless encrypted; an encrypted one is held in memory.

    Args:
        stream: the output; need not be seekable.
        template: a workbook (``templates``); row 2 of the sheet has a cell for each column with the style of its cells.
        rows: the texts of each row's cells, escaped for XML if necessary; an empty text is an empty cell.
        count: the number of rows.
        password: encrypts the workbook; None for a plain one.
        sheet: the number of the sheet, from 1.
    """
    if password is not None:
        plain = BytesIO()
        write_rows(plain, template, rows, count, sheet=sheet)
        encrypt(plain, password, stream)
        return
    with ZipFile(BytesIO(template)) as source, ZipFile(stream, "w") as target:
        for name in source.namelist():
            info = ZipInfo(name, _ZIP_TIME)
            info.compress_type = ZIP_DEFLATED
            # The entry's own level, which the archive's setting does not change; it is public from Python 3.13.
            info._compresslevel = _LEVEL  # type: ignore[attr-defined]  # noqa: SLF001
            content = source.read(name)
            if name == f"xl/worksheets/sheet{sheet}.xml":
                with target.open(info, "w", force_zip64=True) as part:
                    for chunk in _sheet(content, rows, count):
                        part.write(chunk)
            else:
                target.writestr(info, content)


def _sheet(template: bytes, rows: Iterable[tuple[str, ...]], count: int) -> Iterator[bytes]:
    """Yield the sheet's XML: the template's, with its second row replaced by the rows."""
    start = template.index(b'<row r="2"')
    end = template.index(b"</sheetData>")
    columns = [(letters.decode(), int(style)) for letters, style in _CELL.findall(template[start:end])]
    last = f"{columns[-1][0]}{count + 1}".encode()
    yield re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:%s"' % last, template[:start], count=1)
    forms: dict[tuple[bool, ...], str] = {}
    numbered = enumerate(rows, 2)
    while chunk := list(islice(numbered, _CHUNK)):
        lines = []
        for number, row in chunk:
            filled = tuple(map(bool, row))
            form = forms.get(filled) or forms.setdefault(filled, _form(columns, filled))
            lines.append((form % row).replace(_NUMBER, str(number)))
        yield "".join(lines).encode()
    yield template[end:]


def _form(columns: Sequence[tuple[str, int]], filled: Sequence[bool]) -> str:
    """Return a row's XML with a placeholder for each text, for ``%``.

    Args:
        columns: the letters and the style of each column.
        filled: which cells have a text.
    """
    cells = []
    for (letters, style), has_text in zip(columns, filled, strict=True):
        cell = f'<c r="{letters}{_NUMBER}" s="{style}"'
        # An empty text has a placeholder, too.
        cells.append(f'{cell} t="inlineStr"><is><t>%s</t></is></c>' if has_text else f"{cell}/>%s")
    return f'<row r="{_NUMBER}">{"".join(cells)}</row>'


def read_sheets(path: Path, names: Sequence[str], password: str | None, todo: str) -> list[list[list[Any]]]:
    """Read sheets of a workbook that this tool wrote: the values of all rows, at least the first.

    Args:
        path: the workbook.
        names: the sheets' names.
        password: the workbook's password; ignored if it is not encrypted.
        todo: what to do if a sheet is missing.

    Raises:
        FileError: the file can't be read.
        InputError: it is not a workbook, lacks a sheet, or can't be decrypted.
    """
    try:
        require_file(path)
        if is_encrypted(path):
            book = CalamineWorkbook.from_filelike(decrypt(path, password))
        else:
            book = CalamineWorkbook.from_path(str(path))
        missing = [name for name in names if name not in book.sheet_names]
        if missing:
            raise InputError(
                Problem(str(path), f"has no sheet{'s' * (len(missing) > 1)} {' and '.join(missing)}", todo)
            )
        return [book.get_sheet_by_name(name).to_python() or [[]] for name in names]
    except OSError as error:
        raise FileError.of(error, path, "give the path of a workbook that can be read") from error
    except (CalamineError, BadZipFile, ValueError) as error:
        raise InputError(
            Problem(str(path), f"is not a workbook written by generate: {error}", "take the one that generate wrote")
        ) from error
