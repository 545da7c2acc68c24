"""Chip UIDs, as vendors and spreadsheet programs leave them: what is certain, what is in doubt, what can be concluded.

A UID has 4, 7 or 10 bytes (ISO/IEC 14443-3, 6.5.4). That of a chip with 7 bytes begins with its maker's number
(ISO/IEC 7816-6); NXP's, whose chips these cards are, is 04.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from dataloader.common import short

LENGTHS = (4, 7, 10)
"""Bytes."""
MAKER = "04"
"""NXP Semiconductors."""
SHOWN = 40
"""Characters of what stands in a cell that are repeated."""

_PLAIN = re.compile(r"[0-9A-F]{8}|[0-9A-F]{14}|[0-9A-F]{20}")
_GROUPED = re.compile(r"[0-9A-F]{2}(?:([:-])[0-9A-F]{2}(?:\1[0-9A-F]{2})*)?")
_HEX = re.compile(r"[0-9A-F]+")
_SCIENTIFIC = re.compile(r"([0-9])(?:[.,]([0-9]+))?E\+?([0-9]{1,3})")
_EXACT_DIGITS = 15
"""Significant digits that spreadsheet programs keep of a number."""


class ByteOrder(StrEnum):
    """Which byte of a UID a vendor's reader writes first."""

    MSB = "msb"
    """The one that the chip sends first; for a chip of 7 bytes the maker's."""
    LSB = "lsb"
    """The one that the chip sends last."""


class CellKind(StrEnum):
    """What a cell holds, where it is not text."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    FORMULA = "formula"
    """Of which only the value is known that some program has left beside it."""


@dataclass(frozen=True, slots=True)
class ChipUid:
    """What a row says of its chip."""

    text: str = ""
    """As it stands in the cell; empty where nothing does."""
    uid: str = ""
    """Hex digits, upper case, the byte first that the chip sends first; empty where it is not certain."""
    doubt: str = ""
    """Why it is not certain, and what can be concluded all the same."""


BLANK = ChipUid()


def read_chip(text: str, kind: CellKind = CellKind.TEXT, order: ByteOrder = ByteOrder.MSB) -> ChipUid:
    """Read a chip UID; what is in doubt gets no UID."""
    text = text.strip()
    if not text:
        return BLANK
    shown = short(text, SHOWN)
    if kind is not CellKind.TEXT:
        return ChipUid(shown, doubt=_rewritten(shown, kind, order))
    digits = "".join(text.upper().split())
    if _GROUPED.fullmatch(digits):
        digits = digits.replace(":", "").replace("-", "")
    if not _PLAIN.fullmatch(digits):
        return ChipUid(shown, doubt=_mangled(shown, digits, order))
    if len({*digits}) == 1 and digits[0] in "0F":
        return ChipUid(shown, doubt=f"the chip UID {shown} is no chip's")
    return ChipUid(shown, _in_order(digits, order))


def _in_order(digits: str, order: ByteOrder) -> str:
    return digits if order is ByteOrder.MSB else bytes.fromhex(digits)[::-1].hex().upper()


def _rewritten(shown: str, kind: CellKind, order: ByteOrder) -> str:
    if kind is CellKind.FORMULA:
        return f"the chip UID is a formula, and its value {shown} may be an old one"
    if kind is not CellKind.NUMBER:
        return f"a spreadsheet program has made a {kind.value} of the chip UID: {shown}"
    if shown.isdecimal() and len(shown) <= _EXACT_DIGITS:
        # Whatever zeros it began with are gone, and "12E4" comes out as "120000".
        return f"a spreadsheet program has made the number {shown} of the chip UID{_concluded(shown, order)}"
    return f"a spreadsheet program has made the number {shown} of the chip UID: its last digits are lost"


def _mangled(shown: str, digits: str, order: ByteOrder) -> str:
    scientific = _SCIENTIFIC.fullmatch(digits)
    if scientific and not _HEX.fullmatch(digits):
        return f"a spreadsheet program has made a number of the chip UID: {shown}{_concluded_of(scientific, order)}"
    if not _HEX.fullmatch(digits):
        return f"the chip UID {shown} is not one: it has other characters than hex digits"
    lengths = f"{', '.join(str(2 * length) for length in LENGTHS[:-1])} or {2 * LENGTHS[-1]}"
    return f"the chip UID {shown} has {len(digits)} hex digits, not {lengths}{_concluded(digits, order)}"


def _concluded(digits: str, order: ByteOrder) -> str:
    """Return what can be concluded of digits that may have lost a zero in front."""
    if _PLAIN.fullmatch(digits):
        return f": probably {_in_order(digits, order)}"
    whole = f"0{digits}"
    if _PLAIN.fullmatch(whole):
        uid = _in_order(whole, order)
        return f": probably {uid}" + (
            f", which begins with {MAKER} once the zero is put back" if uid[:2] == MAKER else ""
        )
    return ""


def _concluded_of(scientific: re.Match[str], order: ByteOrder) -> str:
    """Return what can be concluded of a number with an exponent: how many digits there were, and the first."""
    count = int(scientific[3]) + 1
    first = scientific[1] + (scientific[2] or "")
    if len(first) > 1:
        # The last digit has been rounded.
        first = first[:-1]
    zero = "0" if count + 1 in {2 * length for length in LENGTHS} else ""
    if order is ByteOrder.LSB or count + len(zero) not in {2 * length for length in LENGTHS} or count <= len(first):
        return "; its digits are lost"
    return f"; it probably began with {zero}{first}, the other digits are lost"
