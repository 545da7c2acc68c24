"""Check values: a few letters beside each UUID in a workbook, so that an edited UUID is found and named."""

from hashlib import sha256

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""Consonants only: no spreadsheet program takes them for a number, a date or a formula, and they spell no word."""
LENGTH = 6
"""Letters; one in 64 million edits goes unnoticed."""


def check_value(uuid: str) -> str:
    """Return the check value of a UUID as it stands, with its case and blanks: what is on a card is taken literally.

    The first 8 bytes of the SHA-256 of its UTF-8, as a number to the base of 20, its last six digits.
    Workbooks in the field carry it, so that golden values in the tests pin it.
    """
    number = int.from_bytes(sha256(uuid.encode()).digest()[:8])
    letters = []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(LETTERS))
        letters.append(LETTERS[digit])
    return "".join(letters)
