"""Workbooks: the spreadsheet that is made from a manifest for the card vendor.

openpyxl makes the workbook with all its formatting and one row; the other rows are streamed into that
sheet's XML as it is packed, with the cell styles of the one, so that a million cards need no more memory
than one. Cell forms: ECMA-376 part 1, 18.3.1.4 (``c``) and 18.3.1.53 (``is``).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import openpyxl
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet
from openpyxl.xml.functions import tostring
from python_calamine import CalamineError, CalamineWorkbook

from dataloader.errors import FileError, InputError, Problem, raise_problems
from dataloader.files import require_file
from dataloader.manifest import CARD_SCHEMA, Card, Header
from dataloader.settings import MAX_CARDS
from dataloader.validation import explain, is_valid

SUFFIX = ".xlsx"
CARDS_SHEET = "Cards"
BATCH_SHEET = "Batch"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the cards' sheet."""

    title: str
    width: int
    """Characters."""
    vendors: bool = False
    """Whether the vendor fills it."""


COLUMNS = (
    Column("Card number", 13),
    Column("UUID", 40),
    Column("Snapset", 16),
    Column("Chip UID", 22, vendors=True),
    Column("Result", 12, vendors=True),
    Column("Note", 40, vendors=True),
)
MAX_DIGITS = len(str(MAX_CARDS))
_REMAKE = "take the workbook that generate wrote, unchanged"
_OURS = 2
"""The last of the columns that generate fills, from 0."""
_BATCH_ROWS = ("Name", "Created", "Cards", "Digest")
_TEXT = "@"
_STYLE = re.compile(rb'<c r="[A-Z]+2"[^>]*? s="(\d+)"')
# Zip entries carry a time; a fixed one makes the same batch the same file.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def write_workbook(stream: IO[bytes], header: Header, cards: Iterable[Card]) -> None:
    """Write the workbook of a batch.

    Args:
        stream: where to; needs no seeking.
        header: the batch.
        cards: its cards, in the order of their numbers.
    """
    template = BytesIO()
    book = _template(header)
    book.save(template)
    # Saving puts the present time here, which would make each workbook of a batch another file.
    book.properties.modified = book.properties.created
    properties = tostring(book.properties.to_tree())
    with ZipFile(template) as source, ZipFile(stream, "w", ZIP_DEFLATED, compresslevel=5) as target:
        for name in source.namelist():
            info = ZipInfo(name, _ZIP_TIME)
            info.compress_type = ZIP_DEFLATED
            content = properties if name == "docProps/core.xml" else source.read(name)
            if name == "xl/worksheets/sheet1.xml":
                with target.open(info, "w", force_zip64=True) as part:
                    for chunk in _sheet(content, cards, header.cards):
                        part.write(chunk)
            else:
                target.writestr(info, content)


def _template(header: Header) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    created = _naive_time(header.created)
    book.properties.title = header.name
    book.properties.creator = "dataloader"
    book.properties.created = created
    sheet = book.active
    if not isinstance(sheet, Worksheet):  # pragma: no cover - a new workbook has a sheet
        raise TypeError
    sheet.title = CARDS_SHEET
    sheet.append([column.title for column in COLUMNS])
    sheet.append(["" for _ in COLUMNS])
    for index, column in enumerate(COLUMNS):
        letter = "ABCDEF"[index]
        sheet.column_dimensions[letter].width = column.width
        sheet[f"{letter}2"].number_format = _TEXT
        _head(sheet[f"{letter}1"], fill="FFF2CC" if column.vendors else "D9E2F3")
    sheet.freeze_panes = "A2"
    about = book.create_sheet(BATCH_SHEET)
    for title, value in zip(_BATCH_ROWS, (header.name, header.created, str(header.cards), header.digest), strict=True):
        about.append([title, value])
        _head(about.cell(about.max_row, 1), fill="D9E2F3")
        about.cell(about.max_row, 2).number_format = _TEXT
    about.column_dimensions["A"].width = 12
    about.column_dimensions["B"].width = 76
    return book


def _head(cell: Any, *, fill: str) -> None:
    cell.font = Font(bold=True)
    cell.fill = PatternFill("solid", fgColor=fill)
    cell.alignment = Alignment(vertical="center")
    cell.number_format = _TEXT


def _naive_time(created: str) -> datetime:
    return datetime.fromisoformat(created).replace(tzinfo=None, microsecond=0)


def _sheet(template: bytes, cards: Iterable[Card], count: int) -> Iterator[bytes]:
    """Yield the XML of the cards' sheet: the template's, its second row replaced by the cards'."""
    start = template.index(b'<row r="2"')
    end = template.index(b"</sheetData>")
    styles = [int(style) for style in _STYLE.findall(template[start:end])]
    last = f"{'ABCDEF'[len(COLUMNS) - 1]}{count + 1}".encode()
    yield re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:%s"' % last, template[:start], count=1)
    number, uuid, snapset, *vendors = styles
    empty = [f'<c r="{letter}{{row}}" s="{style}"/>' for letter, style in zip("DEF", vendors, strict=True)]
    row_form = (
        f'<row r="{{row}}"><c r="A{{row}}" s="{number}" t="inlineStr"><is><t>{{number}}</t></is></c>'
        f'<c r="B{{row}}" s="{uuid}" t="inlineStr"><is><t>{{uuid}}</t></is></c>'
        f'<c r="C{{row}}" s="{snapset}" t="inlineStr"><is><t>{{snapset}}</t></is></c>{"".join(empty)}</row>'
    ).format
    rows: list[str] = []
    for card in cards:
        rows.append(row_form(row=card.number + 1, number=card.number, uuid=card.uuid, snapset=escape(card.snapset)))
        if len(rows) == 1000:  # noqa: PLR2004 - a chunk of about 300 KB
            yield "".join(rows).encode()
            rows.clear()
    yield "".join(rows).encode()
    yield template[end:]


@dataclass(frozen=True, slots=True)
class WorkbookSummary:
    """What a workbook that has passed every check holds."""

    path: Path
    name: str
    cards: int


def check_workbook(path: Path) -> WorkbookSummary:
    """Check a workbook as it was written for the vendor: every row, and the digest over all of them.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    [heads, *rows], about = _open(path)
    titles = [str(cell) for cell in heads]
    expected = [column.title for column in COLUMNS]
    if titles[: len(expected)] != expected:
        raise InputError(Problem(f"{path}, row 1", f"the columns are not {', '.join(expected)}", _REMAKE))
    missing = [title for title in _BATCH_ROWS if title not in about]
    if missing:
        raise InputError(Problem(f"{path}, sheet {BATCH_SHEET}", f"lacks {', '.join(missing)}", _REMAKE))
    if about["Cards"] != str(len(rows)) or about["Digest"] != _digest_of_rows(rows):
        # Something is wrong, then; to say what, every cell is looked at.
        cards, problems = _read_cards(path, rows)
        raise_problems(problems + _check_about(path, about, cards))
    return WorkbookSummary(path, about["Name"], int(about["Cards"]))


def _digest_of_rows(rows: list[list[Any]]) -> str:
    """Return the digest of rows as they stand, which is the batch's only if every cell is as it was written."""
    lines = [f'{{"number":{row[0]},"uuid":"{row[1]}","snapset":"{row[2]}"}}\n' for row in rows if len(row) > _OURS]
    return f"sha256:{sha256(''.join(lines).encode()).hexdigest()}"


def _open(path: Path) -> tuple[list[list[Any]], dict[str, str]]:
    """Return the rows of the cards' sheet, and what the batch's sheet says."""
    try:
        require_file(path)
        book = CalamineWorkbook.from_path(str(path))
        missing = [name for name in (CARDS_SHEET, BATCH_SHEET) if name not in book.sheet_names]
        if missing:
            raise InputError(Problem(str(path), f"has no sheet {' and '.join(missing)}", _REMAKE))
        rows = book.get_sheet_by_name(CARDS_SHEET).to_python() or [[]]
        about = {str(row[0]): str(row[1]) for row in book.get_sheet_by_name(BATCH_SHEET).to_python() if len(row) > 1}
    except OSError as error:
        raise FileError.of(error, path, "give the path of a workbook that can be read") from error
    except (CalamineError, BadZipFile, ValueError) as error:
        raise InputError(
            Problem(str(path), f"is not a workbook written by generate: {error}", "take the one that generate wrote")
        ) from error
    return rows, about


def _read_cards(path: Path, rows: list[list[Any]]) -> tuple[dict[int, Card], list[Problem]]:
    """Return the cards of the rows by number, and what is wrong in the rows."""
    problems: list[Problem] = []
    cards: dict[int, Card] = {}
    seen: dict[str, int] = {}
    valid = is_valid(CARD_SCHEMA)
    for row_number, row in enumerate(rows, 2):
        cells = [str(cell) for cell in row[:3]]
        if not any(cells):
            continue
        where = f"{path}, row {row_number}"
        number = int(cells[0]) if cells[0].isdecimal() and len(cells[0]) <= MAX_DIGITS else cells[0]
        fields = {"number": number, "uuid": cells[1], "snapset": cells[2]}
        if not valid(fields):
            problems += [Problem(where, rule, _REMAKE) for rule in explain(CARD_SCHEMA, fields)]
            continue
        card = Card(int(number), cells[1], cells[2])
        if card.uuid in seen:
            problems.append(Problem(where, f"UUID {card.uuid} stands in row {seen[card.uuid]} too", _REMAKE))
        if card.number in cards:
            problems.append(Problem(where, f"card number {card.number} is there more than once", _REMAKE))
        seen[card.uuid] = row_number
        cards[card.number] = card
    return cards, problems


def _check_about(path: Path, about: dict[str, str], cards: dict[int, Card]) -> list[Problem]:
    problems = []
    if about["Cards"] != str(len(cards)):
        problems.append(Problem(str(path), f"holds {len(cards)} cards, but its sheet says {about['Cards']}", _REMAKE))
    digest = sha256()
    for number in sorted(cards):
        digest.update(cards[number].line())
    if about["Digest"] != f"sha256:{digest.hexdigest()}":
        problems.append(Problem(str(path), "the digest is not that of the rows: a cell has been changed", _REMAKE))
    return problems
