"""Templates of workbooks: sheets with all their formatting, and one row for the style of the others.

Only writing needs openpyxl, and importing it takes long, so this module is imported when a workbook is written.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from textwrap import wrap
from typing import Any
from zipfile import ZipFile

import openpyxl
from openpyxl.cell import Cell, MergedCell
from openpyxl.styles import Alignment, Border, Font, PatternFill, Protection, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.page import PageMargins
from openpyxl.worksheet.properties import PageSetupProperties
from openpyxl.worksheet.worksheet import Worksheet
from openpyxl.xml.functions import tostring

from dataloader.batch import BatchHeader
from dataloader.vendor.instructions import instructions
from dataloader.vendor.sheets import (
    AGAIN_COLUMNS,
    BATCH_SHEET,
    CARDS_SHEET,
    INSTRUCTIONS_SHEET,
    RESULTS,
    SHADES,
    Column,
)

TEXT = "@"
"""The number format of text."""
_PROPERTIES = "docProps/core.xml"
_A4 = 9
_LINE = 15
"""The height of a line of text in points."""
_GAP = 4
"""The space between paragraphs in points."""
_WRAPPED = 86
"""Characters that fit in a line of the instructions, with any font."""
_THIN = Side("thin", color="BFBFBF")
_LINES = Border(_THIN, _THIN, _THIN, _THIN)


def standard_template(
    header: BatchHeader, columns: Sequence[Column], about: Mapping[str, str], again: int | None = None
) -> bytes:
    """Return the template of the workbook that ``generate`` writes.

    Args:
        header: the batch, or the part of it that the workbook is for.
        columns: the columns of the cards' sheet.
        about: the lines of the batch's sheet: titles and values.
        again: for cards that are encoded again, the round that it is for.
    """
    book, first = _new_book(header)
    first.title = INSTRUCTIONS_SHEET
    _instructions(first, header, again)
    sheet = book.create_sheet(CARDS_SHEET)
    shades = SHADES[2:4] if again else SHADES[:2]
    for index, column in enumerate(columns, 1):
        sheet.column_dimensions[get_column_letter(index)].width = column.width
        _head(sheet.cell(1, index), column.title, fill=SHADES[4] if column.vendors else shades[0])
        cell = sheet.cell(2, index)
        _text(cell, "")
        cell.border = _LINES
        if column.vendors:
            cell.fill = PatternFill("solid", fgColor=shades[1])
            cell.protection = Protection(locked=False)
        if column in AGAIN_COLUMNS:
            cell.alignment = Alignment(wrap_text=True, vertical="top")
        if column.title == "Result":
            _choice(sheet, f"{get_column_letter(index)}2:{get_column_letter(index)}{header.cards + 1}")
    if again:
        first.sheet_properties.tabColor = sheet.sheet_properties.tabColor = "C55A11"
    sheet.freeze_panes = "A2"
    sheet.print_title_rows = "1:1"
    _page(sheet, header, landscape=True)
    batch = book.create_sheet(BATCH_SHEET)
    for row, (title, value) in enumerate(about.items(), 1):
        _head(batch.cell(row, 1), title, fill=SHADES[0])
        _text(batch.cell(row, 2), value)
        batch.cell(row, 2).border = _LINES
    batch.column_dimensions["A"].width = 24
    batch.column_dimensions["B"].width = 76
    _page(batch, header, landscape=False)
    return _packed(book)


def plain_template(header: BatchHeader, name: str, columns: Sequence[tuple[str, int]]) -> bytes:
    """Return the template of a workbook with one sheet of plain text cells, as encoding tools expect it.

    Args:
        header: the batch.
        name: the name of the sheet.
        columns: the title and width in characters of each column.
    """
    book, sheet = _new_book(header)
    sheet.title = name
    for index, (title, width) in enumerate(columns, 1):
        sheet.column_dimensions[get_column_letter(index)].width = width
        _text(sheet.cell(1, index), title)
        _text(sheet.cell(2, index), "")
    return _packed(book)


def _new_book(header: BatchHeader) -> tuple[openpyxl.Workbook, Worksheet]:
    """Return a new workbook with the title and creation time of a batch, and its first sheet."""
    book = openpyxl.Workbook()
    book.properties.title = header.name
    book.properties.creator = "dataloader"
    book.properties.created = datetime.fromisoformat(header.created).replace(tzinfo=None, microsecond=0)
    sheet = book.worksheets[0]
    if not isinstance(sheet, Worksheet):  # pragma: no cover - a new workbook has a sheet of cells
        raise TypeError
    return book, sheet


def _packed(book: openpyxl.Workbook) -> bytes:
    """Return the file of a workbook, with its creation time as the time of its last change."""
    saved, packed = BytesIO(), BytesIO()
    book.save(saved)
    # Saving sets the current time here, which would make every file of a batch different.
    book.properties.modified = book.properties.created
    with ZipFile(saved) as source, ZipFile(packed, "w") as target:
        for name in source.namelist():
            is_changed = name == _PROPERTIES
            target.writestr(name, tostring(book.properties.to_tree()) if is_changed else source.read(name))
    return packed.getvalue()


def _text(cell: Cell | MergedCell, value: str) -> None:
    """Write a text to a cell as text, whatever it looks like."""
    if not isinstance(cell, Cell):  # pragma: no cover - there are no merged cells
        raise TypeError
    cell.value = value
    cell.data_type = "s"
    cell.number_format = TEXT


def _bold(size: int = 11) -> Font:
    """Return the font of titles: openpyxl's default in bold; the size is in points."""
    return Font(name="Calibri", size=size, bold=True)


def _footer(sheet: Worksheet, left: str, centre: str, right: str) -> None:
    """Set the footer of each printed page; ``&P`` is its number, ``&N`` the number of pages."""
    foot = sheet.oddFooter
    if foot is None:  # pragma: no cover - a sheet has one
        raise TypeError
    foot.left.text, foot.center.text, foot.right.text = left, centre, right


def _head(cell: Any, title: str, *, fill: str) -> None:
    _text(cell, title)
    cell.font = _bold()
    cell.fill = PatternFill("solid", fgColor=fill)
    cell.border = _LINES
    cell.alignment = Alignment(vertical="center")


def _choice(sheet: Worksheet, cells: str) -> None:
    """Add a drop-down list of results."""
    listed = f"{', '.join(RESULTS[:-1])} or {RESULTS[-1]}"
    sheet.add_data_validation(
        DataValidation(
            "list",
            formula1=f'"{",".join(RESULTS)}"',
            allow_blank=True,
            showErrorMessage=True,
            errorTitle="Result",
            error=f"The result is {listed}. Put anything else into the column Note.",
            sqref=cells,
        )
    )


def _page(sheet: Worksheet, header: BatchHeader, *, landscape: bool) -> None:
    """Protect a sheet against accidental edits, and set it up for printing on pages as wide as the sheet."""
    sheet.protection.sheet = True
    # The vendor may still change widths and heights.
    sheet.protection.formatColumns = sheet.protection.formatRows = False
    sheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
    sheet.page_setup.orientation = "landscape" if landscape else "portrait"
    sheet.page_setup.paperSize = _A4
    sheet.page_setup.fitToWidth = 1
    sheet.page_setup.fitToHeight = 0
    sheet.page_margins = PageMargins(left=0.5, right=0.5, top=0.5, bottom=0.75)
    _footer(sheet, f"Batch {header.name}", "Page &P of &N", "Confidential")


def _instructions(sheet: Worksheet, header: BatchHeader, again: int | None) -> None:
    sheet.column_dimensions["A"].width = 14
    sheet.column_dimensions["B"].width = 90
    sheet.sheet_view.showGridLines = False
    lines = instructions(header, again=again)
    for row, (left, right) in enumerate(lines, 1):
        for column, value in enumerate((left, right), 1):
            _text(sheet.cell(row, column), value)
            sheet.cell(row, column).alignment = Alignment(vertical="top", wrap_text=column > 1)
        # Some programs do not compute the height of rows with wrapped text.
        sheet.row_dimensions[row].height = _LINE * len(wrap(right, _WRAPPED)) + _GAP
        if not right:
            sheet.cell(row, 1).font = _bold(14 if row == 1 else 12)
            sheet.cell(row, 1).alignment = Alignment(vertical="bottom")
            sheet.row_dimensions[row].height = 2 * _LINE
    _page(sheet, header, landscape=False)
