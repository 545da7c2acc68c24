"""What is looked at in an .xlsx file before it is opened: whether it is one, its size, which cells are formulas.

An .xlsx file is a ZIP of XML parts (ECMA-376 part 2). What its directory says of sizes need not be true, so
every part that is going to be read is unpacked here once, a piece at a time.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO
from xml.etree.ElementTree import Element, ParseError, fromstring
from zipfile import BadZipFile, ZipFile, ZipInfo

Cells = dict[int, set[int]]
"""Columns by row, both from 0."""

MAX_PARTS = 5_000
MAX_RATIO = 250
"""How many times its packed size a file may unpack to, beyond the first :data:`FREE_SIZE`: rows without
anything in them come to 40, a bomb to 1,000."""
FREE_SIZE = 20_000_000
"""Bytes."""
MAX_TREE = 1_000_000
"""Bytes of the parts that say which sheets there are."""
_PIECE = 1 << 20
_OVERLAP = 2_000
"""Bytes of a piece that are looked at again with the next; the start of a cell is far shorter."""
_FORMULA = re.compile(
    rb'<(?:\w+:)?c\s(?:[^<>]*\s)?r="(?P<cell>[A-Z]{1,3}[0-9]{1,7})"[^<>]*>\s*<(?:\w+:)?f(?P<rest>[\s/>][^<>]{0,500})'
)
_ARRAY = re.compile(rb'\st="(?:array|dataTable)"')
_REF = re.compile(rb'\sref="([A-Z]{1,3}[0-9]{1,7}(?::[A-Z]{1,3}[0-9]{1,7})?)"')
_MAX_SPREAD = 10_000_000
"""Cells of one formula."""


class PackedError(Exception):
    """A file is no workbook that can be opened safely: the rule it breaks, and what to do."""

    def __init__(self, rule: str, todo: str) -> None:
        super().__init__(rule, todo)
        self.rule = rule
        self.todo = todo


class UnsafeError(PackedError):
    """A file is not what a vendor's would be, but made to do harm."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule, "no file of a card vendor is like this: find out where it comes from")


@dataclass(slots=True)
class Packed:
    """What was found."""

    formulas: dict[str, Cells] = field(default_factory=dict)
    """Cells that hold formulas, by the part that they are in, in lower case: ``xl/worksheets/sheet1.xml``."""
    sheets: Mapping[str, str] = field(default_factory=dict)
    """The part of each sheet, by its name; read only where there are formulas."""

    def formulas_of(self, sheet: str) -> Cells:
        """Return the formulas of a sheet; where its part is not known, those of all."""
        part = self.sheets.get(sheet)
        if part is not None:
            return self.formulas.get(part, {})
        merged: Cells = {}
        for cells in self.formulas.values():
            for row, columns in cells.items():
                merged.setdefault(row, set()).update(columns)
        return merged


_AGAIN = "have it saved as .xlsx again, or as CSV"


def inspect(stream: IO[bytes], max_size: int) -> Packed:
    """Look through an .xlsx file.

    Args:
        stream: the file.
        max_size: bytes that it may unpack to.

    Raises:
        PackedError: it is none, or not safe to open.
    """
    try:
        with ZipFile(stream) as archive:
            infos = archive.infolist()
            _check_directory(infos, max_size)
            packed = Packed()
            for info in infos:
                if info.filename.lower().endswith((".xml", ".rels")):
                    cells = _look_through(archive, info)
                    if cells:
                        packed.formulas[info.filename.lower()] = cells
            if packed.formulas:
                packed.sheets = _sheets(archive)
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise PackedError(f"is damaged, or was cut off: {said}", _AGAIN) from error
    return packed


def _check_directory(infos: list[ZipInfo], max_size: int) -> None:
    names = {info.filename.lower() for info in infos}
    if "xl/workbook.bin" in names:
        raise PackedError("is a binary workbook (.xlsb)", "have it saved as .xlsx or CSV")
    if "content.xml" in names:
        raise PackedError("is an OpenDocument file", "have it saved as .xlsx or CSV")
    if "xl/workbook.xml" not in names:
        raise PackedError("is a ZIP file, but no workbook", "unpack it, and give the workbook or CSV file in it")
    if len(infos) > MAX_PARTS:
        raise UnsafeError(f"has {len(infos):,} parts; a workbook has a few dozen")
    size, packed = sum(info.file_size for info in infos), sum(info.compress_size for info in infos)
    if size > max_size or size > FREE_SIZE + MAX_RATIO * packed:
        raise UnsafeError(f"unpacks to {size:,} bytes, far more than the cards of the batch")


def _look_through(archive: ZipFile, info: ZipInfo) -> Cells:
    """Unpack a part to its end, and return the cells that are formulas.

    The end is where the directory says; what goes on beyond has another checksum, which is an error.
    """
    cells: Cells = {}
    is_sheet = "/worksheets/" in info.filename
    before = b""
    with archive.open(info) as stream:
        while piece := stream.read(_PIECE):
            # A cell may begin in one piece and end in the next.
            piece = before + piece
            if b"<!" in piece and (b"<!DOCTYPE" in piece or b"<!ENTITY" in piece):
                raise UnsafeError("defines entities, which could expand to anything")
            if is_sheet and (b"<f" in piece or b":f" in piece):
                for match in _FORMULA.finditer(piece):
                    _note(cells, match)
            before = piece[-_OVERLAP:]
    return cells


def _note(cells: Cells, match: re.Match[bytes]) -> None:
    # Few workbooks hold formulas, and this library takes a while to import.
    from openpyxl.utils.cell import range_boundaries  # noqa: PLC0415

    rest = match["rest"]
    spread = _REF.search(rest) if _ARRAY.search(rest) else None
    where = (match["cell"] if spread is None else spread[1]).decode()
    left, top, right, bottom = (side or 1 for side in range_boundaries(where))
    if (right - left + 1) * (bottom - top + 1) > _MAX_SPREAD:
        raise PackedError(f"has one formula for all of {where}", "have it saved with values only")
    for row in range(top - 1, bottom):
        cells.setdefault(row, set()).update(range(left - 1, right))


def _sheets(archive: ZipFile) -> dict[str, str]:
    """Return the part of each sheet by its name, where it is certain; names of parts are the same in any case."""
    there = {name.lower() for name in archive.namelist()}
    try:
        parts = {
            _attribute(each, "Id"): _attribute(each, "Target") for each in _tree(archive, "xl/_rels/workbook.xml.rels")
        }
        found = {
            _attribute(each, "name"): _part(parts[_attribute(each, "id")])
            for each in _tree(archive, "xl/workbook.xml")
            if each.tag.rpartition("}")[2] == "sheet"
        }
    except (KeyError, ParseError):
        return {}
    return {name: part for name, part in found.items() if part in there}


def _tree(archive: ZipFile, name: str) -> Iterator[Element]:
    # Entities have been ruled out before.
    with archive.open(name) as stream:
        yield from fromstring(stream.read(MAX_TREE)).iter()  # noqa: S314


def _attribute(element: Element, name: str) -> str:
    return next((value for key, value in element.items() if key.rpartition("}")[2] == name), "")


def _part(target: str) -> str:
    return (target.removeprefix("/") if target.startswith("/") else f"xl/{target}").lower()
