"""Instructions for the card vendor: the sheet of a workbook that says what to do with it."""

from dataloader.batch import Header

SHEET = "Read me"

_STEPS = """\
Write the UUID of each row to a chip of its own, as the first NDEF record: type Text, language code en. It is
36 characters, lower case, with its hyphens, and nothing before or behind it: no blank, no line end.

Put the chip's own UID into the column Chip UID: all its hex digits, leading zeros too, with or without colons
(04E2A1B2C3D480 or 04:E2:A1:B2:C3:D4:80). The cells are text; paste values only, so that they stay text.

Choose the result: ok where the chip was written and read back, failed where no chip could be written.

Where a chip fails, encode the row again on another chip, put that one's UID beside it, and destroy the one
that failed.

A row whose result is spare already is a spare card. Encode as many of these as you need, and choose ok or
failed for them; the others stay spare.

Send the workbook back with all its rows, those that failed too: as .xlsx, or as CSV in UTF-8.
"""
_DONTS = """\
Don't change, retype or reformat card numbers, UUIDs, check values or snapsets. A check value is made from the
UUID beside it: it tells when one of the two was changed.

Don't sort, cut or paste some of the columns only: what belongs to a card stays in its row. The order of rows
does not matter.

Don't write one UUID to two chips, and don't list one chip in two rows.

Don't merge cells, hide rows or add columns.
"""
_AGAIN = """\
These cards were in an earlier workbook, and are to be encoded again, each on another chip. Destroy the chips that
they were on, and don't list these again.
"""
_SAFETY = """\
Whoever has a UUID has the preferences of the card's owner. Show this file to nobody who does not need it, and
delete it when the cards have been accepted.

The sheets are locked against accident only, without a password. Chip UID, Result and Note are open.
"""


def instructions(header: Header, *, again: bool = False) -> list[tuple[str, str]]:
    """Return the lines of the sheet: what stands at the left, and the text beside it; a heading has none.

    Args:
        header: the batch, or the part of it that the workbook is for.
        again: whether the cards are encoded again.
    """
    spares = sum(header.spares.values())
    return [
        (f"Cards of batch {header.name}", ""),
        ("Batch", header.name),
        ("Cards", f"{header.cards:,}, one a row of the sheet Cards" + (f"; {spares:,} are spares" if spares else "")),
        ("Digest", header.digest),
        *([("Again", " ".join(_AGAIN.split()))] if again else []),
        ("What to do", ""),
        *((str(number), text) for number, text in enumerate(_paragraphs(_STEPS), 1)),
        ("What not to do", ""),
        *(("\N{EN DASH}", text) for text in _paragraphs(_DONTS)),
        ("Keep it safe", ""),
        *(("\N{EN DASH}", text) for text in _paragraphs(_SAFETY)),
    ]


def _paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
