"""Parse chip UIDs as written by vendors and spreadsheet programs, and explain those that are in doubt.

A UID has 4, 7 or 10 bytes (ISO/IEC 14443-3, 6.5.4). The UID of a 7-byte chip begins with the manufacturer's code
(ISO/IEC 7816-6); NXP, who makes the chips of these cards, has 04.
"""

import re
from collections.abc import Container, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import NamedTuple
from unicodedata import category, normalize

from dataloader.common import short

LENGTHS = (4, 7, 10)
"""The possible lengths in bytes."""
MAKER = "04"
"""The manufacturer's code of NXP Semiconductors."""
SHOWN = 40
"""The most characters of a cell to repeat in messages."""

_PLAIN = re.compile(r"[0-9A-F]{8}|[0-9A-F]{14}|[0-9A-F]{20}")
_HEX = re.compile(r"[0-9A-F]+")
_LABEL = re.compile(r"\A(?:(?:CHIP|TAG|NFC|CARD)[ _-]?)?(?:UID|SN)\s*+(?:[:=#]\s*+)?(?=[0-9A-F\\$&])")
_DECORATED = re.compile(
    r"((?:#|(?=[A-Z]*[G-Z])[A-Z]+[.\s]*[:=#\s]\s*)*)([0-9A-F].*?)(\s*[(\[][^()\[\]]*[)\]]|[.,;]+)?", re.DOTALL
)
"""A UID with other words before it, and brackets or punctuation after it: ``CSN 04A1B2C3D4E580 (7)``."""
_MAX_DECORATED = 200
"""The most characters of a UID with what is beside it: the pattern needs hours for a long text of spaces."""
_BESIDE = re.compile(r"[^0-9A-Fa-f:\- ._,;/|]|[.,;]\s*\Z")
"""What is not just hex digits and separators."""
_GROUP = re.compile(r"(?:0X|\$|&H)?([0-9A-F]+)H?")
_BETWEEN = re.compile(r"\s*[:\-\u2010-\u2015._,;/|]\s*|\s+")
_OVERRIDES = "\N{LEFT-TO-RIGHT OVERRIDE}\N{RIGHT-TO-LEFT OVERRIDE}"
_RAISED = re.compile("[\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT THREE}\N{SUPERSCRIPT ONE}\u2070\u2074-\u2079\u2080-\u2089]")
"""Digits that refer to footnotes, and are no part of a number."""
_AROUND = "[](){}<>'\"`"
_SCIENTIFIC = re.compile(r"([0-9])(?:[.,]([0-9]+))?E\+?([0-9]{1,3})")
_EXACT_DIGITS = 15
"""Significant digits of a number that spreadsheet programs keep."""
_DECIMAL = 15
"""The number of digits from which a decimal number is too long for the hex digits of 7 bytes."""
_SHORTEST = 7
"""The fewest digits of a decimal chip UID; shorter numbers are counters."""
_LONGEST = 25
"""The number of digits of the largest number in 10 bytes."""
_BYTE = 2
"""Hex digits."""
_MAX_BYTE = 255
_DECIMAL_BYTE = re.compile("[0-9]{1,3}")
_PADDING = "000000"
_PLACEHOLDERS = frozenset(
    {"12345678", "01234567", "00112233", "11223344", "DEADBEEF", "12345678901234", "0123456789ABCD", "00112233445566"}
)
_LOOKALIKES = str.maketrans(
    "OQILS\N{CYRILLIC CAPITAL LETTER A}\N{CYRILLIC CAPITAL LETTER VE}\N{CYRILLIC CAPITAL LETTER ES}"
    "\N{CYRILLIC CAPITAL LETTER IE}\N{CYRILLIC CAPITAL LETTER O}",
    "00115ABCE0",
)
"""Letters that are typed or recognized for digits."""
_ODD = re.compile(r"(.)\1|0[18]|12345678|DEADBEEF|88|.{8,}000000\Z")
"""The start of everything that :func:`_odd` may reject."""
_CASCADE = "88"
"""The first byte of a part of a longer UID (ISO/IEC 14443-3, 6.5.4), which some readers output as a 4-byte UID."""
_RANDOM = "08"
"""The first byte of a 4-byte UID that is a random number (ISO/IEC 14443-3, 6.5.4)."""


class ByteOrder(StrEnum):
    """The order in which a vendor's reader writes the bytes of a UID."""

    MSB = "msb"
    """As sent by the chip; for a 7-byte chip, the manufacturer's code is first."""
    LSB = "lsb"
    """Reversed."""


class CellKind(StrEnum):
    """The type of a cell."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    FORMULA = "formula"
    """Only the value that a program stored with the formula is known."""


class ChipUid(NamedTuple):
    """What a row says about its chip."""

    text: str = ""
    """The cell's text; empty if the cell is empty."""
    uid: str = ""
    """Upper-case hex digits in the order sent by the chip; empty if in doubt."""
    doubt: str = ""
    """Why it is in doubt, and the possible readings."""
    could_be: tuple[str, ...] = ()
    """The possible readings."""


BLANK = ChipUid()


def plain_text(text: str) -> str:
    """Return a text without invisible characters, normalized and stripped.

    Full-width digits become ordinary ones; zero-width characters and byte order marks are removed. Those that change
    the order in which text is shown are kept. A raised digit becomes a mark: ``3^2``.
    """
    if not text.isascii():
        text = normalize("NFKC", _RAISED.sub(r"^\g<0>", text))
        text = "".join(each for each in text if category(each) != "Cf" or each in _OVERRIDES)
    return text.strip()


def read_chip(
    text: str, kind: CellKind = CellKind.TEXT, order: ByteOrder = ByteOrder.MSB, *, decimal: bool = False
) -> ChipUid:
    """Parse a chip UID in a cell; a doubtful UID is explained instead of returned.

    Args:
        text: the cell's text.
        kind: what the cell holds.
        order: the byte order used by the vendor.
        decimal: whether it may be a decimal number, by the rest of its column, so that digits are not read as hex.
    """
    upper = plain_text(text).upper() if text else ""
    if not upper:
        return BLANK
    if kind is CellKind.TEXT and not decimal and _PLAIN.fullmatch(upper):
        uid = _in_order(upper, order)
        if not (_ODD.match(uid) and _odd(uid)):
            return ChipUid(upper, uid)
    return _with_care(short(text.strip(), SHOWN), upper, kind, order, decimal=decimal)


def _with_care(shown: str, upper: str, kind: CellKind, order: ByteOrder, *, decimal: bool) -> ChipUid:
    """Parse a UID that is not just hex digits."""
    upper = _undecorated(upper)[0] if kind is CellKind.TEXT else upper
    groups = _groups(upper) if kind is CellKind.TEXT else []
    digits = _joined(groups) if groups else ""
    if kind is not CellKind.TEXT:
        doubt = _rewritten(shown, kind, order)
    elif not _PLAIN.fullmatch(digits):
        doubt = _mangled(shown, upper, groups, order)
    elif odd := _odd(_in_order(digits, order)):
        doubt = f"the chip UID {shown} {odd}"
    elif decimal and is_decimal(upper):
        doubt = f"the chip UID {shown} {_decimal_or_hex(digits, order)}"
    else:
        return ChipUid(shown, _in_order(digits, order))
    return ChipUid(shown, doubt=doubt, could_be=tuple(_candidates(upper, groups, order)))


def _odd(digits: str) -> str:
    """Return why hex digits of the right length are not a chip's UID; empty if they may be."""
    short_uid = len(digits) == _BYTE * LENGTHS[0]
    if len({*digits}) == 1 or digits in _PLACEHOLDERS:
        return "is a placeholder, not the UID of a chip"
    if digits.startswith(_PADDING) or (not short_uid and digits.endswith(_PADDING)):
        return "seems to be padded with zeros"
    if short_uid and digits.startswith(_CASCADE):
        return "is only the first part of a longer one: it begins with the cascade tag 88"
    if short_uid and digits.startswith(_RANDOM):
        return "is a random number: a chip whose UID begins with 08 makes a new one each time"
    return ""


def _candidates(upper: str, groups: list[str], order: ByteOrder) -> Iterator[str]:
    """Yield the possible readings of a doubtful UID: without padding, with a lost zero, one of several, decimal."""
    digits = "".join(groups) or "".join(filter(str.isalnum, upper.translate(_LOOKALIKES)))
    padded = "".join(group.rjust(_BYTE, "0") for group in groups)
    texts = [digits, padded, f"0{digits}", f"{MAKER}{digits}", digits[:-_BYTE], *groups]
    for length in (_BYTE * each for each in LENGTHS):
        texts += [digits[:length], digits[-length:]] if len(digits) > length else [digits.rjust(length, "0")]
    # A dump of the chip's memory has check bytes after the third and the seventh byte (NTAG213/215/216, 8.5.1).
    texts.append(digits[:6] + digits[8:16])
    parts = _BETWEEN.split(upper)
    if len(parts) > 1 and all(_DECIMAL_BYTE.fullmatch(part) and int(part) <= _MAX_BYTE for part in parts):
        texts.append(bytes(map(int, parts)).hex().upper())
    for each in dict.fromkeys(texts):
        if _PLAIN.fullmatch(each):
            yield _in_order(each, order)
    if digits.isdecimal():
        yield from _decimal_uids(digits)


def _undecorated(upper: str) -> tuple[str, str]:
    """Return a UID without what is beside it, and that, except for a usual label and brackets around the UID."""
    if len(upper) > _MAX_DECORATED or not _BESIDE.search(upper):
        return upper, ""
    upper = _LABEL.sub("", upper)
    upper = upper.strip(_AROUND) if upper[:1] in _AROUND else upper
    match = _DECORATED.fullmatch(upper)
    return (match[2], f"{match[1]}{match[3] or ''}") if match else (upper, "")


def decoration(text: str) -> str:
    """Return what is beside a chip UID, such as ``CSN``: in one row only, a person may have marked it so."""
    return _undecorated(plain_text(text).upper())[1] if _BESIDE.search(text) else ""


def is_decimal(text: str) -> bool:
    """Return whether a text could be a decimal number: digits only, and not one of NXP's UIDs in hex."""
    text = plain_text(text)
    return text.isascii() and text.isdecimal() and not (len(text) in {14, 20} and text.startswith(MAKER))


def are_decimal(texts: Iterable[str]) -> bool:
    """Return whether a column of chip UIDs looks like decimal numbers: most possible UIDs could be such numbers.

    One hex UID in 30 has no letters; if most have none, digits are not read as hex.
    """
    decimal, others = 0, []
    for text in texts:
        bare = _undecorated(plain_text(text).upper())[0] if _BESIDE.search(text) else text.strip()
        if bare.isdecimal() and is_decimal(bare):
            decimal += 1
        elif bare:
            others.append(bare)
    # As many as are needed to decide.
    return decimal > sum(1 for _ in islice(filter(looks_like_chip, others), decimal))


def looks_like_chip(text: str) -> bool:
    """Return whether a cell of an unrecognized column looks like a chip UID.

    Eight decimal digits do not: dates and serial numbers look like that.
    """
    upper = plain_text(text).upper()
    if not 8 <= len(upper) <= 70 or (upper.isdecimal() and not (len(upper) == 14 and upper.startswith(MAKER))):  # noqa: PLR2004 - 4 bytes bare, 10 bytes with 0x and commas
        return False
    groups = _groups(upper)
    padded = (group.rjust(_BYTE, "0") for group in groups)
    return bool(_PLAIN.fullmatch("".join(padded if len(groups) > 1 else groups)))


def _groups(upper: str) -> list[str]:
    """Return the groups of hex digits in a UID; empty if it has other characters."""
    bare = _LABEL.sub("", upper).strip(_AROUND).replace("\\X", " ").strip()
    between = {each.strip() or " " for each in _BETWEEN.findall(bare)}
    if len(between) > 1:
        return []
    parts = [_GROUP.fullmatch(part) for part in _BETWEEN.split(bare)] if bare else []
    return [part[1] for part in parts if part] if parts and all(parts) and _evenly(parts, between) else []


def _evenly(parts: list[re.Match[str] | None], between: set[str]) -> bool:
    """Return whether groups have the same length, except for a shorter last one; dates do not."""
    lengths = [len(part[1]) for part in parts if part]
    if max(lengths) <= _BYTE or between <= {" "}:
        return True
    return {*lengths[:-1]} == {lengths[0]} and lengths[-1] <= lengths[0] and not lengths[0] % _BYTE


def _joined(groups: list[str]) -> str:
    """Return the digits of all groups; empty if a group has lost a zero."""
    if len(groups) > 1 and max(map(len, groups)) <= _BYTE and min(map(len, groups)) < _BYTE:
        return ""
    return "".join(groups)


def _in_order(digits: str, order: ByteOrder) -> str:
    return digits if order is ByteOrder.MSB else reverse(digits)


def reverse(uid: str) -> str:
    """Return a UID with its bytes reversed."""
    return bytes.fromhex(uid)[::-1].hex().upper()


_NIBBLES = bytes((each & 15) << 4 | each >> 4 for each in range(256))
_BITS = bytes(int(f"{each:08b}"[::-1], 2) for each in range(256))
_WITHIN = (
    ("", bytes(range(256))),
    ("the hex digits of each byte swapped", _NIBBLES),
    ("the bits of each byte reversed", _BITS),
    ("the bits of each hex digit reversed", _NIBBLES.translate(_BITS)),
)
"""What a reader may do to each byte."""


def first_bytes(uids: Iterable[str]) -> frozenset[int]:
    """Return the first bytes of chip UIDs, for :func:`other_readings`."""
    return frozenset(int(each, 16) for each in {uid[:_BYTE] for uid in uids})


def other_readings(uid: str, firsts: Container[int]) -> Iterator[tuple[str, str]]:
    """Yield what a reader that is set up differently would output for a chip's UID, with the difference.

    Bytes may be reversed, or swapped in pairs (words of 16 bits) if their number is even; and in each byte, hex digits
    may be swapped, or bits reversed.

    Args:
        uid: hex digits.
        firsts: the first bytes of the UIDs to yield; few others start like this, which saves time.
    """
    given = bytes.fromhex(uid)
    orders = [("", given), ("its bytes reversed", given[::-1])]
    if not len(given) % 2:
        swapped = bytearray(given)
        swapped[::2], swapped[1::2] = given[1::2], given[::2]
        orders += [
            ("its bytes swapped in pairs", bytes(swapped)),
            ("its pairs of bytes reversed", bytes(swapped[::-1])),
        ]
    for order, data in orders:
        first = data[0]
        for within, table in _WITHIN:
            if table[first] in firsts and (found := data.translate(table)) != given:
                yield found.hex().upper(), " and ".join(filter(None, (order, within)))


def _rewritten(shown: str, kind: CellKind, order: ByteOrder) -> str:
    if kind is CellKind.FORMULA:
        return f"the chip UID is a formula, and its stored value {shown} may be outdated"
    turned = f"the chip UID was turned into a {kind.value} ({shown}), probably by Excel"
    if kind is not CellKind.NUMBER:
        return turned
    if shown.isdecimal() and len(shown) <= _EXACT_DIGITS:
        # Leading zeros are lost, and "12E4" becomes "120000".
        return f"{turned}{_concluded(shown, order)}"
    return f"{turned}: its last digits are lost"


def _mangled(shown: str, upper: str, groups: list[str], order: ByteOrder) -> str:
    scientific = _SCIENTIFIC.fullmatch(upper)
    if scientific and not _HEX.fullmatch(upper):
        return f"the chip UID was turned into a number ({shown}), probably by Excel{_concluded_of(scientific, order)}"
    if not groups:
        other = re.search(r"[^0-9A-FHX\s:\-\u2010-\u2015._,;/|]", upper)
        rule = "it has characters other than hex digits" if other else "its hex digits are not in pairs"
        return f"{shown} is not a chip UID: {rule}"
    padded = "".join(group.rjust(_BYTE, "0") for group in groups)
    if len(groups) > 1 and not _joined(groups) and _PLAIN.fullmatch(padded):
        uid = _in_order(padded, order)
        return f"the chip UID {shown} has lost leading zeros: a byte has two hex digits; probably {uid}"
    digits = "".join(groups)
    if len(digits) >= _DECIMAL and digits.isdecimal() and (readings := _decimal_readings(digits)):
        return f"the chip UID {shown} seems to be a decimal number: it could be {', or '.join(readings)}"
    lengths = f"{', '.join(str(_BYTE * length) for length in LENGTHS[:-1])} or {_BYTE * LENGTHS[-1]}"
    return f"the chip UID {shown} has {len(digits)} hex digits, not {lengths}{_concluded(digits, order)}"


def _concluded(digits: str, order: ByteOrder) -> str:
    """Return the possible readings of digits that have lost a leading zero, or are decimal."""
    found = []
    if _PLAIN.fullmatch(digits):
        found.append(f"{_in_order(digits, order)} if it is hex")
    elif _PLAIN.fullmatch(f"0{digits}"):
        found.append(f"{_in_order(f'0{digits}', order)} if it has lost a leading zero")
    if digits.isdecimal():
        found += _decimal_readings(digits)
    return f": it could be {', or '.join(found)}" if found else ""


def _decimal_or_hex(digits: str, order: ByteOrder) -> str:
    readings = ", or ".join([f"{_in_order(digits, order)} if it is hex", *_decimal_readings(digits)])
    return f"may be a decimal number: it could be {readings}"


def _decimal_readings(digits: str) -> list[str]:
    """Return both UIDs that a decimal number can stand for, if it is large enough."""
    ways = ("if it is decimal", "if it is decimal with the bytes reversed")
    return [f"{uid} {way}" for uid, way in zip(_decimal_uids(digits), ways, strict=False)]


def _decimal_uids(digits: str) -> list[str]:
    if not _SHORTEST <= len(digits) <= _LONGEST:
        return []
    number = int(digits)
    length = next((each for each in LENGTHS if number < 1 << 8 * each), None)
    if length is None:
        return []
    uid = number.to_bytes(length).hex().upper()
    return [uid, reverse(uid)]


def numbers_of(text: str) -> frozenset[int]:
    """Return the decimal numbers that a chip UID is, in either byte order; none if it is not a UID."""
    uid = read_chip(text).uid
    return frozenset({int(uid, 16), int(reverse(uid), 16)} if uid else ())


def _concluded_of(scientific: re.Match[str], order: ByteOrder) -> str:
    """Return what a number with an exponent reveals: the number of digits, and the first ones."""
    count = int(scientific[3]) + 1
    first = scientific[1] + (scientific[2] or "")
    if len(first) > 1:
        # The last digit was rounded.
        first = first[:-1]
    wanted = {_BYTE * length for length in LENGTHS}
    zero = "0" if count + 1 in wanted else ""
    if order is ByteOrder.LSB or count + len(zero) not in wanted or count <= len(first):
        return "; its digits are lost"
    return f"; it probably began with {zero}{first}, the other digits are lost"
