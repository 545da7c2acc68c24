"""Check values: a few letters beside each UUID in a workbook, so that an edited UUID is found and named."""

from hashlib import sha256
from struct import Struct

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Consonants only: no spreadsheet program takes them for a number, a date or a formula, and they spell no word."""
LENGTH = 6
"""Letters; one in 64 million edits goes unnoticed."""
# Three digits at once, the lowest first: a million cards have a million check values.
_TRIPLES = [low + middle + high for high in LETTERS for middle in LETTERS for low in LETTERS]
_BASE = len(_TRIPLES)
_EIGHT_BYTES = Struct(">Q")


def check_value(uuid: str) -> str:
    """Return the check value of a UUID as it stands, with its case and blanks: what is on a card is taken literally.

    The first 8 bytes of the SHA-256 of its UTF-8, as a number to the base of 20, its last six digits.
    Workbooks in the field carry it, so that golden values in the tests pin it.
    """
    number: int = _EIGHT_BYTES.unpack_from(sha256(uuid.encode()).digest())[0]
    return _TRIPLES[number % _BASE] + _TRIPLES[number // _BASE % _BASE]
