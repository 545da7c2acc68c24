"""Check an .xlsx file before it is opened, and find what the library that reads it does not report.

An .xlsx file is a ZIP of XML parts (ECMA-376 part 2). The sizes in its directory may be false, so every part that will
be read is unpacked here once, piece by piece. Formulas, hidden rows and struck-through text (ECMA-376 part 1,
18.3.1.40, 18.3.1.73 and 18.4.10) are found by an XML parser, whatever the form of the XML.
"""

import posixpath
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from html import unescape
from io import BytesIO
from typing import IO, NoReturn
from xml.etree.ElementTree import Element, ParseError, fromstring
from xml.parsers import expat
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from dataloader.vendor.returned.conditional import Rule
from dataloader.vendor.returned.grid import CONTROL, DRAWN, PAGE, Area, area_of, letters
from dataloader.vendor.returned.styles import (
    INVISIBLE,
    STRUCK,
    Style,
    Styles,
    attribute,
    colour,
    emphasis,
    is_strike,
    is_white,
    local,
    styles_of,
)

MAX_PARTS = 5_000
MAX_SHEETS = 250
MAX_RATIO = 250
"""How many times its packed size a file may unpack to, beyond the first :data:`FREE_SIZE`: empty rows have a ratio of
40, a bomb of 1,000."""
FREE_SIZE = 20_000_000
"""Bytes."""
MAX_TREE = 5_000_000
"""The most bytes of the parts that describe sheets and styles."""
_PIECE = 1 << 20
_MAX_STYLES = 1_000
"""The most styles to search for."""
_OVERLAP = 2_000
"""Bytes of a piece to examine again with the next; the start of an element is far shorter."""
_MARKS = {
    literal: re.compile(pattern)
    for pattern, literals in (
        (rb"[<:]f[\s/>]", (b"<f", b":f")),
        (rb"(hidden|zeroHeight)\s*=", (b"hidden", b"zeroHeight")),
        (rb"\sht\s*=\s*[\"'][0-2](?![0-9])", (b" ht", b"\t", b"\n", b"\r")),
        (rb"defaultRowHeight\s*=\s*[\"'][0-2](?![0-9])", (b"defaultRowHeight",)),
        (rb"\st\s*=\s*[\"']e[\"']", (b't="e"', b"t='e'")),
        (rb"[<:](rPr|mergeCell|cfRule)[\s/>]", (b"rPr", b"mergeCell", b"cfRule")),
        (rb"\swidth\s*=\s*[\"']0", (b" width", b"\twidth")),
    )
    for literal in literals
}
"""Strings in a sheet with formulas, hidden rows, formatted or covered text, for a fast search."""
_BESIDE_ROWS = frozenset((b"zeroHeight", b"defaultRowHeight", b"mergeCell", b"cfRule", b" width", b"\twidth"))
"""Those that only occur before or after all rows."""
_ROW = re.compile(rb"row(?<=[<:]row)(?=[\s/>])(?:[^<>]*?\sr\s*=\s*[\"']([0-9]+)[\"'])?[^<>]*>")
"""A row and its number, which may be missing."""
_VALUES = (b"<v", b"<is")
"""The start of cells' values."""
_ON_PAGES = re.compile(rb"[<:](?:odd|even|first)(?:Header|Footer)[^<>]*>([^<]*)<")
_CONTROL = re.compile(rb"""\bObjectType\s*=\s*["'](?!Note|Pict)[A-Za-z]""")
"""A form control in VML, which need not be valid XML; comments are notes there."""
_PAGE_CODES = re.compile(r"&(?:\"[^\"]*\"|K[0-9A-Fa-f]{6}|[0-9]+|.)")
"""Fonts, sizes, page numbers and the like in the header or footer of a page (18.3.1.39)."""
_MAX_SPREAD = 10_000_000
"""The most cells of one formula."""
_MAX_COLUMNS = 16_384
"""Of a sheet."""
_MAX_COMMENT = 2_000
"""The most characters of a comment to examine."""
_MIN_HEIGHT = 3
"""The height in points from which a row can be seen; no text fits in less."""
_FALSE = frozenset({"0", "false", "off", "none"})
_AGAIN = "have it saved as .xlsx again, or as CSV"
_NO_BOOK = "unpack it, and give the workbook or CSV file in it"


class PackedError(Exception):
    """A file is not a workbook that can be opened safely: the broken rule, and what to do."""

    def __init__(self, rule: str, todo: str) -> None:
        super().__init__(rule, todo)
        self.rule = rule
        self.todo = todo


class UnsafeError(PackedError):
    """A file was made to do harm."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule, "no card vendor's file looks like this: find out where it comes from")


@dataclass(slots=True)
class Marks:
    """Information about the cells of a sheet; rows and columns from 0."""

    formulas: dict[int, set[int]] = field(default_factory=dict)
    """The columns with formulas, and with errors such as #N/A, by row."""
    formula_rows: set[int] = field(default_factory=set)
    """The rows in which a formula is written; an array formula may be shown in others, too."""
    hidden: set[int] = field(default_factory=set)
    """Rows that are hidden or filtered out."""
    unseen: dict[int, dict[int, str]] = field(default_factory=dict)
    """The columns with struck-through or invisible text, by row, with the reasons."""
    merged: dict[int, list[Area]] = field(default_factory=dict)
    """The cells that are merged over several rows, by their first row."""
    looks: dict[int, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    """The columns that look unusual, by row, with their colours or the like."""
    rules: list[Rule] = field(default_factory=list)
    """The conditional formatting that matters."""
    columns: set[int] = field(default_factory=set)
    """Hidden columns."""
    comments: list[tuple[str, str]] = field(default_factory=list)
    """The cells with comments, and their text; text boxes have no cell, headers and footers are at :data:`PAGE`."""
    values: int = 0
    """The number of values in cells, or more."""


@dataclass(slots=True)
class Packed:
    """The result of checking a workbook."""

    stream: IO[bytes]
    """The workbook, with its parts where the library expects them."""
    sheets: list[tuple[str, Marks]]
    """The name and marks of each sheet, in order; hidden sheets are those in :attr:`hidden`."""
    hidden: set[str]


def inspect(stream: IO[bytes], max_size: int, *, all_cells: bool = False) -> Packed:
    """Check an .xlsx file.

    Args:
        stream: the file.
        max_size: the most bytes that it may unpack to.
        all_cells: whether to look for repeated cells everywhere, which is slow.

    Raises:
        PackedError: it is not an .xlsx file, or not safe to open.
    """
    try:
        with ZipFile(stream) as archive:
            return _Package(archive, stream, max_size).look_through(all_cells=all_cells)
    except ValueError as error:
        raise PackedError("is damaged: a number or text in it is invalid", _AGAIN) from error
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise PackedError(f"is damaged or truncated: {said}", _AGAIN) from error


class _Package:
    """A package, whose parts are found by their relations, whatever their names and places."""

    def __init__(self, archive: ZipFile, stream: IO[bytes], max_size: int) -> None:
        self._archive = archive
        self._stream = stream
        self._infos = archive.infolist()
        # Part names are not case-sensitive; some programs write backslashes.
        self._names = {_name(info): info for info in self._infos}
        self._values: Counter[str] = Counter()
        self._on_pages: dict[str, set[tuple[str, str]]] = {}
        """Headers and footers of pages, by part."""
        if len(self._names) < len(self._infos):
            raise PackedError("is damaged: it has two parts of the same name", _AGAIN)
        self._check_directory(max_size)

    def _check_directory(self, max_size: int) -> None:
        kind, todo = _other_kind({*self._names})
        if kind:
            raise PackedError(kind, todo)
        if len(self._infos) > MAX_PARTS:
            raise UnsafeError(f"has {len(self._infos):,} parts; a workbook has a few dozen")
        size, packed = (sum(info.file_size for info in self._infos), sum(info.compress_size for info in self._infos))
        if size > max_size or size > FREE_SIZE + MAX_RATIO * packed:
            raise UnsafeError(f"unpacks to {size:,} bytes, far more than the batch's cards need")

    def look_through(self, *, all_cells: bool) -> Packed:
        """Unpack every part completely, and return what was found; parse sheets if necessary, or all.

        A part ends where the directory says; if it is longer, the checksum is wrong, which is an error.
        """
        marked = {_name(info) for info in self._infos if _is_xml(info) and self._has_marks(info)}
        marked = {*self._names} if all_cells else marked
        book = self._book()
        relations = self._relations(book)
        sheets = [
            (attribute(each, "name"), relations.get(attribute(each, "id"), ""), attribute(each, "state"))
            for each in self._tree(book)
            if local(each.tag) == "sheet"
        ]
        if len({name.casefold() for name, _, _ in sheets}) < len(sheets):
            raise PackedError("is damaged: it has two sheets of the same name", _AGAIN)
        if len(sheets) > MAX_SHEETS:
            raise UnsafeError(f"has {len(sheets):,} sheets; a workbook of cards has a few")
        styles_part, strings_part = self._one(book, "/styles"), self._one(book, "/sharedstrings")
        styles = styles_of(self._tree(styles_part)) if styles_part else Styles({}, {})
        strings = _Strings().parse(self._archive, self._names[strings_part]) if strings_part else {}
        seen: dict[str, Marks] = {}
        for _, part, _ in sheets:
            if part not in self._names or part in seen:
                continue
            if part in marked or strings or self._has_styles(part, styles.cells):
                seen[part] = _Sheet(styles, strings).parse(self._archive, self._names[part])
            marks = seen.setdefault(part, Marks())
            marks.comments = [*self._comments(part), *self._on_pages.get(part, ())]
            marks.values = self._values.get(part, 0)
        return Packed(
            self._as_usual(book, relations, [part for _, part, _ in sheets]),
            [(name, seen.get(part) or Marks()) for name, part, _ in sheets],
            {name for name, _, state in sheets if state.lower() in {"hidden", "veryhidden"}},
        )

    def _has_marks(self, info: ZipInfo) -> bool:
        before, found, first, last = b"", False, True, 0
        with self._archive.open(info) as stream:
            while piece := stream.read(_PIECE):
                # An element may begin in one piece and end in the next.
                piece = before + piece
                wide = first and (
                    piece[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in piece[:4] or b":sheetData" in piece
                )
                # In UTF-16, there are zeros between the characters. Few programs write prefixes.
                found = found or wide or _is_marked(piece, only_rows=not first and _is_among_rows(piece))
                if b"Header" in piece or b"Footer" in piece:
                    texts = (unescape(each.decode(errors="replace")) for each in _ON_PAGES.findall(piece))
                    lines = {" ".join(_PAGE_CODES.sub(" ", text).split())[:_MAX_COMMENT] for text in texts} - {""}
                    self._on_pages.setdefault(_name(info), set()).update((PAGE, line) for line in lines)
                if b"row" in piece:
                    last, is_in_order = _check_rows(piece, len(_ROW.findall(before)), last)
                    found = found or not is_in_order
                    self._values[_name(info)] += sum(piece.count(each) - before.count(each) for each in _VALUES)
                shown = piece.replace(b"\0", b"")
                if b"<!" in shown and (b"<!DOCTYPE" in shown or b"<!ENTITY" in shown):
                    raise UnsafeError("defines entities, which could expand to anything")
                before, first = piece[-_OVERLAP:], False
        return found

    def _has_styles(self, part: str, numbers: Collection[int]) -> bool:
        """Return whether any cell may have one of some styles; in a large sheet, below its first row, the titles."""
        info = self._names[part]
        if info.file_size < _PIECE or not numbers or len(numbers) > _MAX_STYLES:
            return bool(numbers)
        found = re.compile(rb"\ss\s*=\s*[\"'](?:%s)[\"']" % b"|".join(str(number).encode() for number in numbers))
        with self._archive.open(info) as stream:
            piece = stream.read(_PIECE)
            second = piece.find(b"<row", piece.find(b"<row") + 1)
            at = second if second >= 0 else len(piece)
            while piece:
                if found.search(piece, at):
                    return True
                more = stream.read(_PIECE)
                piece, at = piece[-_OVERLAP:] + more if more else b"", 0
        return False

    def _book(self) -> str:
        """Return the workbook part, by the relations of the package."""
        found = self._relations("", "officedocument")
        usual = [name for name in self._names if re.fullmatch(r"xl/workbook\d*\.xml", name)]
        book = next((part for part in found.values() if part in self._names), None) or next(iter(usual), None)
        if book is None:
            raise PackedError("is a ZIP file, but not a workbook", _NO_BOOK)
        return book

    def _relations(self, part: str, kind: str = "") -> dict[str, str]:
        """Return the parts that a part refers to, by relation ID."""
        folder, base = posixpath.split(part)
        name = posixpath.join(folder, "_rels", f"{base}.rels")
        if name not in self._names:
            return {}
        return {
            attribute(each, "Id"): _target(folder, attribute(each, "Target"))
            for each in self._tree(name)
            if local(each.tag) == "relationship"
            and attribute(each, "TargetMode").lower() != "external"
            and attribute(each, "Type").lower().endswith(kind)
        }

    def _comments(self, sheet: str) -> list[tuple[str, str]]:
        """Return the comments on the cells of a sheet, the text in its drawings, where these are, and form controls."""
        kinds = {"/comments": "comment", "/threadedcomment": "threadedcomment", "/drawing": "txbody"}
        parts = {part: name for kind, name in kinds.items() for part in self._relations(sheet, kind).values()}
        elements = [
            (name, each) for part, name in sorted(parts.items()) if part in self._names for each in self._tree(part)
        ]
        texts = [
            (attribute(each, "ref")[:_MAX_COMMENT], " ".join("".join(each.itertext()).split())[:_MAX_COMMENT])
            for name, each in elements
            if local(each.tag) == name
        ]
        drawn = [(DRAWN, cell) for _, each in elements if (cell := _drawn_at(each))]
        old = [self._names[part] for part in self._relations(sheet, "/vmldrawing").values() if part in self._names]
        controls = sum(len(_CONTROL.findall(self._archive.read(part))) for part in old)
        return texts + drawn + [(CONTROL, "")] * controls

    def _tree(self, name: str) -> Iterator[Element]:
        info = self._names[name]
        if info.file_size > MAX_TREE:
            raise UnsafeError(f"has a part {info.filename[:40]} of {info.file_size:,} bytes")
        try:
            # Entities were excluded before.
            yield from fromstring(self._archive.read(info)).iter()  # noqa: S314
        except ParseError as error:
            raise PackedError(f"is damaged: {info.filename[:40]}: {error}", _AGAIN) from error

    def _one(self, book: str, kind: str) -> str:
        """Return the part of a kind that the workbook refers to; empty if there is none."""
        return next((part for part in self._relations(book, kind).values() if part in self._names), "")

    def _as_usual(self, book: str, relations: dict[str, str], sheets: list[str]) -> IO[bytes]:
        """Return the workbook, repacked if its parts are not where the library expects them."""
        wide = [name for name, info in self._names.items() if _is_xml(info) and self._is_wide(info)]
        unusual = "_rels/.rels" not in self._names or any(
            info.filename.startswith("/") or info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}
            for info in self._infos
        )
        others = {kind: self._one(book, f"/{kind}") for kind in ("sharedstrings", "styles")}
        unusual = unusual or any(part not in {"", f"xl/{kind}.xml"} for kind, part in others.items())
        if book == "xl/workbook.xml" and not wide and not unusual:
            self._stream.seek(0)
            return self._stream
        packed = BytesIO()
        ids = {part: id_ for id_, part in relations.items()}
        kinds = {
            "worksheet": [part for part in dict.fromkeys(sheets) if part],
            "sharedStrings": [others["sharedstrings"]],
        }
        kinds["styles"] = [others["styles"]]
        lines = []
        with ZipFile(packed, "w") as target:
            target.writestr("xl/workbook.xml", self._utf8(book))
            for kind, parts in kinds.items():
                for at, part in enumerate(parts, 1):
                    if part in self._names:
                        name = f"worksheets/sheet{at}.xml" if kind == "worksheet" else f"{kind}.xml"
                        target.writestr(f"xl/{name}", self._utf8(part))
                        lines.append(f'<Relationship Id="{ids[part]}" Type="{_RELATION}/{kind}" Target="{name}"/>')
            target.writestr(
                "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{_PACKAGE}">{"".join(lines)}</Relationships>'
            )
            target.writestr("_rels/.rels", _ROOT)
            target.writestr("[Content_Types].xml", _TYPES)
        packed.seek(0)
        return packed

    def _is_wide(self, info: ZipInfo) -> bool:
        with self._archive.open(info) as stream:
            begin = stream.read(4)
        return begin[:2] in {b"\xff\xfe", b"\xfe\xff"} or b"\0" in begin

    def _utf8(self, part: str) -> bytes:
        data = self._archive.read(self._names[part])
        if b"\0" not in data[:4] and data[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
            return data
        text = data.decode(
            "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-16-be" if not data[0] else "utf-16-le"
        )
        return re.sub(r"\A\s*<\?xml[^>]*\?>", "", text).encode()


_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_ROOT = (
    f'<Relationships xmlns="{_PACKAGE}">'
    f'<Relationship Id="rId1" Type="{_RELATION}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
)
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)


def _name(info: ZipInfo) -> str:
    return info.filename.replace("\\", "/").lower().removeprefix("/")


def _is_xml(info: ZipInfo) -> bool:
    return info.filename.lower().endswith((".xml", ".rels"))


def _other_kind(names: set[str]) -> tuple[str, str]:
    """Return what a ZIP file that is not .xlsx is, and what to do; empty for one that may be .xlsx."""
    if any(name.endswith(".iwa") or name in {"index.zip", "index.apxl"} for name in names):
        return "is an Apple Numbers document (.numbers)", "in Numbers: File > Export To > Excel (.xlsx)"
    if any(name.endswith("workbook.bin") for name in names):
        return "is a binary workbook (.xlsb)", "have it saved as .xlsx or CSV"
    if "content.xml" in names:
        return "is an OpenDocument file", "have it saved as .xlsx or CSV"
    for part, kind in (("word/document.xml", "a Word document"), ("ppt/presentation.xml", "a PowerPoint file")):
        if part in names:
            return f"is {kind}", "put the table into a workbook (.xlsx), or save it as CSV"
    if not any(name.endswith(".xml") and "workbook" in name for name in names) and "_rels/.rels" not in names:
        return "is a ZIP file, but not a workbook", _NO_BOOK
    return "", ""


def _target(folder: str, target: str) -> str:
    target = target.replace("\\", "/")
    return posixpath.normpath(target if target.startswith("/") else posixpath.join("/", folder, target)).lower()[1:]


def _is_among_rows(piece: bytes) -> bool:
    """Return whether a piece of a sheet, not the first one, has only rows."""
    return b"<row" in piece and b"heetData" not in piece


def _is_marked(piece: bytes, *, only_rows: bool) -> bool:
    return any(
        text in piece and mark.search(piece)
        for text, mark in _MARKS.items()
        if not (only_rows and text in _BESIDE_ROWS)
    )


def _check_rows(piece: bytes, skip: int, last: int) -> tuple[int, bool]:
    """Return the number of the last row in a piece of a sheet, and whether all follow the last one in order.

    Args:
        piece: a piece of XML.
        skip: how many of its rows were examined with the piece before.
        last: the number of the row before them.
    """
    numbers = _ROW.findall(piece)[skip:]
    if b"" in numbers:
        return last, False
    rows = [last, *map(int, numbers)]
    return rows[-1], rows == sorted({*rows})


class _Parser:
    """Parses one part of a package, piece by piece."""

    def parse_part(self, archive: ZipFile, info: ZipInfo) -> None:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.text
        try:
            with archive.open(info) as stream:
                parser.ParseFile(stream)
        except expat.ExpatError as error:
            raise PackedError(f"is damaged: {info.filename[:40]}: {error}", _AGAIN) from error

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""

    def end(self, name: str) -> None:
        """Handle the end of an element."""

    def text(self, data: str) -> None:
        """Handle text."""


def _look_of_part(name: str, attributes: dict[str, str]) -> str:
    """Return how an element of the properties of rich text makes a part of a text look; empty if as usual."""
    shown = colour(attributes) if name == "color" else ""
    return f"partly {shown}" if shown.strip("0") else emphasis(name, attributes)


def _why_unseen(name: str, attributes: dict[str, str]) -> str:
    """Return what an element of the properties of rich text does to the text; empty if it stays readable."""
    if name == "strike" and is_strike(attributes):
        return STRUCK
    return INVISIBLE if name == "color" and is_white(attributes) else ""


class _Strings(_Parser):
    """The shared strings."""

    def __init__(self) -> None:
        self._found: dict[int, Style] = {}
        self._at = -1

    def parse(self, archive: ZipFile, info: ZipInfo) -> dict[int, Style]:
        """Return the strings that are struck through, invisible or stressed at least in part, and which of it."""
        self.parse_part(archive, info)
        return self._found

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "si":
            self._at += 1
        elif why := _why_unseen(name, attributes):
            self._found[self._at] = Style(why, why)
        elif look := _look_of_part(name, attributes):
            self._found.setdefault(self._at, Style(look=look))


class _Sheet(_Parser):
    """The cells of one sheet."""

    def __init__(self, styles: Styles, strings: dict[int, Style]) -> None:
        self._marks = Marks()
        self._styles = styles
        self._strings = strings
        self._row = self._column = -1
        self._rows: set[int] = set()
        self._columns: set[int] = set()
        """Those of the row that were there."""
        self._row_style = Style()
        self._looks: list[tuple[int, str]] = []
        self._known: dict[tuple[tuple[int, str], ...], tuple[tuple[int, str], ...]] = {}
        """Equal looks of rows, kept once."""
        self._in_cell = self._is_shared = self._has_value = False
        self._value: list[str] | None = None
        self._rules: list[tuple[dict[str, str], Style, list[str]]] | None = None
        """Rules of conditional formatting, with their styles and formulas, until their cells are known."""
        self._where = ""
        self._hides_all = False

    def parse(self, archive: ZipFile, info: ZipInfo) -> Marks:
        """Return what was found."""
        self.parse_part(archive, info)
        self._end_row()
        return self._marks

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if name == "c":
            self._cell(attributes)
        elif self._in_cell:
            self._within_cell(name, attributes)
        elif name == "row":
            self._begin_row(attributes)
        elif name == "mergeCell":
            self._merge(attributes.get("ref", ""))
        elif name in {"conditionalFormatting", "cfRule"} or self._rules is not None:
            self._condition(name, attributes)
        elif name == "col":
            self._hide_columns(attributes)
        elif name == "sheetFormatPr":
            height = attributes.get("defaultRowHeight", "")
            self._hides_all = attributes.get("zeroHeight", "0").lower() not in _FALSE or _is_flat(height, _MIN_HEIGHT)

    def _condition(self, name: str, attributes: dict[str, str]) -> None:
        """Handle an element of conditional formatting.

        The extension for rules that refer to other sheets has the style in the rule, and the cells in an element after
        all rules ([MS-XLSX], 2.4.10).
        """
        if name == "conditionalFormatting":
            self._rules, self._where = [], attributes.get("sqref", "")
        elif self._rules is None:
            return
        elif name == "cfRule":
            number = attributes.get("dxfId", "")
            style = self._styles.conditional.get(int(number), Style()) if number.isdecimal() else Style()
            self._rules.append((attributes, style, []))
        elif name in {"f", "formula"} and self._rules:
            self._value = self._rules[-1][2]
        elif name == "sqref":
            self._value = []
        elif self._rules and (why := _why_unseen(name, attributes)):
            self._rules[-1] = (self._rules[-1][0], Style(why, why), self._rules[-1][2])

    def _end_condition(self, name: str) -> None:
        if name == "sqref":
            self._where = "".join(self._value or ())
        elif name == "conditionalFormatting":
            rules = [
                Rule(self._where, style, attributes, "".join(texts)) for attributes, style, texts in self._rules or ()
            ]
            self._marks.rules += [rule for rule in rules if rule.style != Style()]
            self._rules = None
        self._value = None

    def _within_cell(self, name: str, attributes: dict[str, str]) -> None:
        if name in {"v", "is"}:
            if self._has_value:
                self._reject_twice("two values in its cell", self._column)
            self._has_value = True
            self._value = [] if self._is_shared else None
        elif name == "f":
            self._formula(attributes)
        elif why := _why_unseen(name, attributes):
            self._unsee(why)
        elif look := _look_of_part(name, attributes):
            self._looks.append((self._column, look))

    def end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        if name == "c":
            self._in_cell = False
        elif self._rules is not None:
            self._end_condition(name)
        elif self._value is not None and name == "v":
            text = "".join(self._value).strip()
            style = self._strings.get(int(text), Style()) if text.isdecimal() else Style()
            if style.why:
                self._unsee(style.why)
            if style.look:
                self._looks.append((self._column, style.look))
            self._value = None

    def text(self, data: str) -> None:
        if self._value is not None:
            self._value.append(data)

    def _reject_twice(self, what: str, column: int) -> NoReturn:
        where = f"{letters(column)}{self._row + 1}"
        raise PackedError(f"is damaged: it has {what} {where}, and programs differ in which one they show", _AGAIN)

    def _hide_columns(self, attributes: dict[str, str]) -> None:
        first, last = (attributes.get(name, "") for name in ("min", "max"))
        is_hidden = attributes.get("hidden", "0").lower() not in _FALSE or _is_flat(attributes.get("width", ""))
        if is_hidden and first.isdecimal() and last.isdecimal():
            self._marks.columns.update(range(int(first) - 1, min(int(last), _MAX_COLUMNS)))

    def _begin_row(self, attributes: dict[str, str]) -> None:
        self._end_row()
        number = attributes.get("r", "")
        self._row = int(number) - 1 if number.isdecimal() else self._row + 1
        self._column = -1
        if self._row in self._rows:
            rule = f"is damaged: it has two rows {self._row + 1}, and programs differ in which one they show"
            raise PackedError(rule, _AGAIN)
        self._rows.add(self._row)
        hidden = attributes.get("hidden")
        height = attributes.get("ht", "")
        is_hidden = hidden.lower() not in _FALSE if hidden is not None else self._hides_all and not height
        if is_hidden or (height and _is_flat(height, _MIN_HEIGHT)):
            self._marks.hidden.add(self._row)
        has_style = attributes.get("customFormat", "0").lower() not in _FALSE
        self._row_style = self._style(attributes) if has_style else Style()

    def _end_row(self) -> None:
        self._columns.clear()
        if self._looks:
            looks = tuple(self._looks)
            self._marks.looks[self._row] = self._known.setdefault(looks, looks)
            self._looks.clear()

    def _style(self, attributes: dict[str, str]) -> Style:
        number = attributes.get("s", "")
        return self._styles.cells.get(int(number) if number.isdecimal() else 0, Style())

    def _cell(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r", "").upper()
        area = area_of(reference)
        self._column = area.left if area else self._column + 1
        if area and area.top != self._row:
            rule = f"is damaged: it has the cell {reference} in row {self._row + 1}"
            raise PackedError(rule, _AGAIN)
        if self._column in self._columns:
            self._reject_twice("two cells", self._column)
        self._columns.add(self._column)
        self._in_cell, self._has_value = True, False
        if attributes.get("t") == "e":
            self._marks.formulas.setdefault(self._row, set()).add(self._column)
        self._is_shared = bool(self._strings) and attributes.get("t") == "s"
        if self._styles.cells:
            # A cell has its row's style only if the program that wrote it forgot the cell's.
            style = self._style(attributes)
            if why := style.why or self._row_style.why:
                self._unsee(why)
            if look := style.look or self._row_style.look:
                self._looks.append((self._column, look))

    def _unsee(self, why: str) -> None:
        self._marks.unseen.setdefault(self._row, {})[self._column] = why

    def _merge(self, ref: str) -> None:
        area = area_of(ref)
        if area and area.bottom > area.top:
            self._marks.merged.setdefault(area.top, []).append(area)
        for row, columns in _cells(area, ref, "merged cell"):
            for column in columns[bool(area and row == area.top) :]:
                self._marks.unseen.setdefault(row, {}).setdefault(column, "covered by merged cells")

    def _formula(self, attributes: dict[str, str]) -> None:
        self._marks.formula_rows.add(self._row)
        is_spread = attributes.get("t", "").lower() in {"array", "datatable"}
        ref = attributes.get("ref", "")
        area = area_of(ref) if is_spread else None
        one = [(self._row, range(self._column, self._column + 1))]
        for row, columns in _cells(area, ref, "formula") if area else one:
            self._marks.formulas.setdefault(row, set()).update(columns)


def _cells(area: Area | None, reference: str, what: str) -> Iterator[tuple[int, range]]:
    """Yield the rows and columns of a reference, from 0."""
    if area is None:
        return
    if (area.right - area.left + 1) * (area.bottom - area.top + 1) > _MAX_SPREAD:
        raise PackedError(f"has one {what} for all of {reference}", "have it saved with values only")
    for row in range(area.top, area.bottom + 1):
        yield row, range(area.left, area.right + 1)


def _drawn_at(anchor: Element) -> str:
    """Return the first cell of a picture or line, from its anchor (20.5.2.24, 20.5.2.33); else empty."""
    parts = {local(each.tag): each for each in anchor.iter()}
    # Shapes with text are read as text boxes.
    is_drawn = not parts.keys().isdisjoint({"pic", "cxnsp"}) or ("sp" in parts and "txbody" not in parts)
    if local(anchor.tag) not in {"onecellanchor", "twocellanchor"} or not is_drawn:
        return ""
    at = {local(each.tag): each.text or "" for each in parts.get("from", ())}
    row, column = (at.get(name, "").strip() for name in ("row", "col"))
    return f"{letters(int(column))}{int(row) + 1}" if row.isdecimal() and column.isdecimal() else ""


def _is_flat(size: str, least: float = 1) -> bool:
    """Return whether a height or width makes a row or column invisible."""
    try:
        return float(size) < least
    except ValueError:
        return False
