"""Cell styles of workbooks: which ones strike text through or make it invisible, and their colours.

ECMA-376 part 1, 18.8: fonts, fills, number formats and cell formats, as parsed XML elements.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple
from xml.etree.ElementTree import Element

from dataloader.vendor.sheets import SHADES

STRUCK = "struck through"
INVISIBLE = "invisible"
CHANGED = "displayed as another text"
_BLACK, _WHITE = "000000", "FFFFFF"
_PALETTE = (_BLACK, _WHITE, "FF0000", "00FF00", "0000FF", "FFFF00", "FF00FF", "00FFFF")
"""The first colours of the default palette, which has them twice (18.8.27)."""
_SYSTEM = {64: _BLACK, 65: _WHITE}
_THEME = {"0": _WHITE, "1": _BLACK}
"""The colours of windows, in nearly every theme."""
_NEAR = 32
"""How much two invisible colours differ at most, of 255."""
_MIN_SIZE = 3
"""The size in points from which a text can be read."""
_USUAL_SIZE = 11.0
"""The size in points of a font that does not have any, as in spreadsheet programs."""
_ODD_SIZE = 2
"""How many points a font differs from that of the workbook if a person may have marked a text by it."""
_FORMAT = re.compile(r'"[^"]*"|\\.|[_*].|\[(?![hms]+\])[^\[\]]*\]|.', re.IGNORECASE | re.DOTALL)
"""The parts of a number format: literal text, blanks and fillers, colours and conditions, other characters."""
_PUNCTUATION = " .,:;-#()"
"""What a number format may add to a text without changing its meaning."""
_VALUE = re.compile(r"[0#?@]|general|[ymdhsg]", re.IGNORECASE)
"""What shows a cell's value in a number format."""
_SECTIONS = 4
"""The last one of a number format is for text."""
_FALSE = frozenset({"0", "false", "off", "none"})
_EMPHASIS = {"b": "bold", "i": "italic", "u": "underlined"}
_HEAVY = frozenset({"medium", "mediumdashed", "mediumdashdot", "mediumdashdotdot", "slantdashdot", "thick", "double"})
"""Borders that are heavier than those of a grid (18.18.3)."""


class Styles(NamedTuple):
    """The styles that matter, by their numbers."""

    cells: dict[int, "Style"]
    """Those of cells."""
    conditional: dict[int, "Style"]
    """Those of conditional formatting."""


class Style(NamedTuple):
    """How a cell looks."""

    why: str = ""
    """Why its text does not count: :data:`STRUCK` or :data:`INVISIBLE`; empty if it does."""
    look: str = ""
    """Its colours, emphasis, box, odd font, size, rotation and indent, or :attr:`why`.

    Empty for plain black text on white, and for our own workbooks.
    """


def local(name: str) -> str:
    """Return the name of an element or attribute without its namespace, in lower case."""
    return name.rpartition("}")[2].rpartition(":")[2].lower()


def attribute(element: Element, name: str) -> str:
    """Return an attribute of an element, whatever its namespace and case; empty if it is missing."""
    return next((value for key, value in element.items() if local(key) == name.lower()), "")


def is_strike(attributes: Mapping[str, str]) -> bool:
    """Return whether the attributes of an element ``strike`` mean that text is struck through."""
    return attributes.get("val", "").lower() not in _FALSE


def colour(attributes: Mapping[str, str]) -> str:
    """Return a colour from the attributes of an element ``color``: hex digits if known; empty for the default."""
    theme, index = attributes.get("theme", ""), attributes.get("indexed", "")
    if attributes.get("rgb"):
        return attributes["rgb"][-6:].upper()
    if theme and float(attributes.get("tint") or 0):
        return f"theme {theme} {attributes['tint']}"
    if index.isdecimal():
        number = int(index)
        return _PALETTE[number % 8] if number < 2 * len(_PALETTE) else _SYSTEM.get(number, f"colour {index}")
    return _THEME.get(theme, f"theme {theme}") if theme else ""


def is_white(attributes: Mapping[str, str]) -> bool:
    """Return whether the attributes of an element ``color`` make text invisible on white."""
    return _is_near(colour(attributes) or _BLACK, _WHITE)


def styles_of(tree: Iterable[Element]) -> Styles:
    """Return the styles that matter.

    Args:
        tree: all elements of the part with the styles.
    """
    parts: dict[str, list[Element]] = {}
    for each in tree:
        # Differential formats, further down, have single fonts and fills.
        parts.setdefault(local(each.tag), [*each])
    fonts = {str(at): [*font.iter()] for at, font in enumerate(parts.get("fonts", ()))}
    fills = {str(at): _fill(fill) for at, fill in enumerate(parts.get("fills", ()))}
    borders = {str(at): border for at, border in enumerate(parts.get("borders", ()))}
    formats = {attribute(each, "numFmtId"): attribute(each, "formatCode") for each in parts.get("numfmts", ())}
    usual, usual_name = _size(fonts.get("0", [])), _name(fonts.get("0", []))
    found: dict[int, Style] = {}
    for number, xf in enumerate(parts.get("cellxfs", ())):
        font, fill = fonts.get(attribute(xf, "fontId") or "0", []), fills.get(attribute(xf, "fillId") or "0", _WHITE)
        style = _style(font, fill, formats.get(attribute(xf, "numFmtId"), ""))
        border = borders.get(attribute(xf, "borderId") or "0", ())
        if _is_crossed(border):
            style = Style(STRUCK, STRUCK)
        elif not style.why:
            size = _size(font)
            odd = f"in size {size:g}" if abs(size - usual) >= _ODD_SIZE else ""
            name = _name(font)
            other = f"in {name}" if name not in {"", usual_name} else ""
            style = Style(look=" ".join(filter(None, (style.look, _box(border), odd, other, _alignment(xf)))))
        if style != Style():
            found[number] = style
    conditional = {at: _conditional(each) for at, each in enumerate(parts.get("dxfs", ()))}
    return Styles(found, {at: style for at, style in conditional.items() if style != Style()})


def _conditional(differences: Element) -> "Style":
    each = {local(child.tag): child for child in differences}
    # A solid fill has its colour where others have that of the background.
    fill = next(_colours(each["fill"].iter(), "bgcolor"), "") if "fill" in each else ""
    code = attribute(each["numfmt"], "formatCode") if "numfmt" in each else ""
    return _style([*each["font"].iter()] if "font" in each else [], fill or _WHITE, code)


def _style(font: list[Element], fill: str, number_format: str) -> Style:
    text = next(_colours(font), "") or _BLACK
    if any(local(each.tag) == "strike" and is_strike(each.attrib) for each in font):
        return Style(STRUCK, STRUCK)
    if _is_near(text, fill) or _size(font) < _MIN_SIZE:
        return Style(INVISIBLE, INVISIBLE)
    if why := _shows_otherwise(number_format):
        return Style(why, why)
    # Numbers may be shown with words: "Card "0, or "not "0.
    shown = f"as {number_format}" if _adds_words(_sections(number_format)[0]) else ""
    is_usual = text == _BLACK and fill in {_WHITE, *SHADES}
    # Our own titles are bold.
    stressed = [] if fill in SHADES else [emphasis(local(each.tag), each.attrib) for each in font]
    return Style(look=" ".join(filter(None, ("" if is_usual else f"{text} on {fill}", shown, *stressed))))


def is_filled(look: str) -> bool:
    """Return whether a look (:attr:`Style.look`) has another background than white."""
    _, on, fill = look.partition(" on ")
    return bool(on) and not fill.startswith(_WHITE)


def emphasis(name: str, attributes: Mapping[str, str]) -> str:
    """Return what an element of a font does to stress a text; empty for any other element."""
    return _EMPHASIS.get(name, "") if is_strike(attributes) else ""


def _box(border: Iterable[Element]) -> str:
    """Return the heavy or coloured line around a cell, if it is above and below.

    A frame around a table, or a line between groups of rows, is on one side of a cell only: the lighter side counts.
    """
    sides = {local(each.tag): each for each in border if attribute(each, "style").lower() not in {"", "none"}}
    lines = [
        (attribute(sides[name], "style").lower(), next(_colours(sides[name]), "") or _BLACK)
        for name in ("top", "bottom")
        if name in sides
    ]
    kind, line = min(lines, key=lambda each: (each[0] in _HEAVY, not _is_grey(each[1]), each), default=("", ""))
    return f"in a box ({kind} {line})" if len(lines) > 1 and (kind in _HEAVY or not _is_grey(line)) else ""


def _is_grey(colour: str) -> bool:
    """Return whether a colour is black or grey, or may be."""
    try:
        parts = bytes.fromhex(colour)
    except ValueError:
        return True
    return max(parts) - min(parts) < _NEAR


def _is_crossed(border: Iterable[Element]) -> bool:
    """Return whether a border has a line through the cell."""
    return any(
        local(each.tag) == "diagonal" and attribute(each, "style").lower() not in {"", "none"} for each in border
    )


def _colours(elements: Iterable[Element], name: str = "color") -> Iterator[str]:
    return (colour(each.attrib) for each in elements if local(each.tag) == name)


def _fill(fill: Element) -> str:
    pattern = next((each for each in fill if local(each.tag) == "patternfill"), None)
    kind = "gradient" if pattern is None else attribute(pattern, "patternType") or "none"
    if kind == "none":
        return _WHITE
    colours = chain(_colours(fill.iter(), "fgcolor"), _colours(fill.iter()))
    return next(colours, "") or _BLACK if kind == "solid" else " ".join((kind, *colours))


def _is_near(text: str, fill: str) -> bool:
    """Return whether a text of a colour cannot be seen on another one."""
    try:
        pairs = zip(bytes.fromhex(text), bytes.fromhex(fill), strict=True)
    except ValueError:
        return text == fill
    return all(abs(one - other) < _NEAR for one, other in pairs)


def _size(font: list[Element]) -> float:
    """Return the size of a font in points."""
    size = next((attribute(each, "val") for each in font if local(each.tag) == "sz"), "")
    return float(size) if size.replace(".", "", 1).isdecimal() else _USUAL_SIZE


def _name(font: list[Element]) -> str:
    return next((attribute(each, "val") for each in font if local(each.tag) == "name"), "")


def _alignment(xf: Element) -> str:
    kinds = {"textRotation": "rotated", "indent": "indented"}
    alignments = [each for each in xf if local(each.tag) == "alignment"]
    return " ".join(
        kind for name, kind in kinds.items() for each in alignments if attribute(each, name) not in {"", "0"}
    )


def _sections(code: str) -> list[list[str]]:
    """Return the sections of a number format, for positive numbers first, as their parts."""
    sections: list[list[str]] = [[]]
    for part in _FORMAT.findall(code):
        if part == ";":
            sections.append([])
        else:
            sections[-1].append(part)
    return sections


def _shows_otherwise(code: str) -> str:
    """Return what a number format does to a text: :data:`INVISIBLE` for ``;;;``, :data:`CHANGED` for ``"not "@``."""
    if not code or "[white]" in code.lower():
        return INVISIBLE if code else ""
    sections = _sections(code)
    # Without a section of its own, text is shown as it is.
    of_text = sections[-1] if len(sections) == _SECTIONS or "@" in sections[-1] else None
    if not _shows_value(sections[0]) or (of_text is not None and not _shows_value(of_text)):
        return INVISIBLE
    return CHANGED if _adds_words(of_text or ()) else ""


def _adds_words(section: Sequence[str]) -> bool:
    added = "".join(part.strip('"\\') for part in section if part[0] in {'"', "\\"})
    return bool(added.strip(_PUNCTUATION))


def _shows_value(section: list[str]) -> bool:
    return _VALUE.search("".join(part for part in section if len(part) == 1)) is not None
