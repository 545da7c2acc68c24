"""Check values: a few letters next to each UUID in a workbook, to detect edited UUIDs."""

from hashlib import sha256
from struct import Struct

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Consonants only: spreadsheet programs do not convert them to numbers, dates or formulas, and they spell no words."""
LENGTH = 6
"""The number of letters; one in 64 million edits is not detected."""
# Three digits at a time, the lowest first: a million cards have a million check values.
_TRIPLES = [low + middle + high for high in LETTERS for middle in LETTERS for low in LETTERS]
_BASE = len(_TRIPLES)
_EIGHT_BYTES = Struct(">Q")


def check_value(uuid: str) -> str:
    """Return the check value of a UUID, including its case and spaces: a card has exactly this text.

    It is the first 8 bytes of the SHA-256 of the UUID's UTF-8, as a number in base 20, last six digits. Workbooks in
    use contain it, so golden values in the tests pin it.
    """
    number: int = _EIGHT_BYTES.unpack_from(sha256(uuid.encode()).digest())[0]
    return _TRIPLES[number % _BASE] + _TRIPLES[number // _BASE % _BASE]
