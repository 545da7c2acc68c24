"""Instructions for the card vendor: the workbook's sheet that says what to do."""

from dataloader.batch import BatchHeader
from dataloader.common import printable

_STEPS = """\
Write the UUID of each row to a chip of its own, as the first NDEF record: type Text, language code en. The text is
the UUID and nothing else: 36 characters, lower case, with hyphens, without spaces or line breaks.

Enter the chip's own UID in the column Chip UID: all its hex digits, including leading zeros, with or without colons
(04E2A1B2C3D480 or 04:E2:A1:B2:C3:D4:80). The cells are text; paste values only, so that they stay text.

Choose the result: ok if the chip was written and read back, failed if no chip could be written.

If a chip fails, write the UUID to another chip, enter that chip's UID, and destroy the chip that failed.

A row with the result spare is a spare card. Encode as many spares as you need, and choose ok or failed for them;
leave the others as they are.

Send the workbook back with all its rows, including those that failed: as .xlsx, or as CSV in UTF-8.
"""
_DONTS = """\
Don't change, retype or reformat card numbers, UUIDs, check values or snapsets. The check value is computed from the
UUID next to it, and shows whether one of the two was edited.

Don't sort, cut or paste single columns: everything about a card must stay in its row. The order of rows does not
matter.

Don't write one UUID to two chips, and don't list one chip in two rows.

Don't merge cells, hide rows, or add or rename columns or sheets.
"""
_AGAIN = """\
These cards were in an earlier workbook. Encode each of them again, on a new chip. The columns Why and Chip to destroy
say why a card is here and which chips it was on: destroy these chips.
"""
_SAFETY = """\
Anyone who has a card's UUID can get its owner's preferences. Show this file only to people who need it, and delete it
once the cards have been accepted.

The sheets are protected against accidental changes, without a password. Only Chip UID, Result and Note can be edited.
"""


def instructions(header: BatchHeader, *, again: int | None = None) -> list[tuple[str, str]]:
    """Return the lines of the sheet: the text on the left, and the text next to it; headings have none.

    Args:
        header: the batch, or the part of it that the workbook is for.
        again: the round of encoding, for cards that are encoded again.
    """
    spares = sum(header.spares.values())
    title = f"Cards of batch {header.name}" if again is None else f"Encode again: cards of batch {header.name}"
    return [
        (title, ""),
        *([("Again", " ".join(_AGAIN.split()))] if again is not None else []),
        ("Batch", header.name),
        *([("Round", str(again))] if again is not None else []),
        (
            "Cards",
            f"{header.cards:,}, one in each row of the sheet Cards" + (f"; {spares:,} are spares" if spares else ""),
        ),
        *((name, _snapset(header, name, count)) for name, count in header.snapsets.items()),
        ("Digest", header.digest),
        ("What to do", ""),
        *((str(number), text) for number, text in enumerate(_paragraphs(_STEPS), 1)),
        ("What not to do", ""),
        *(("\N{EN DASH}", text) for text in _paragraphs(_DONTS)),
        ("Keep it safe", ""),
        *(("\N{EN DASH}", text) for text in _paragraphs(_SAFETY)),
    ]


def _snapset(header: BatchHeader, name: str, count: int) -> str:
    title = header.titles.get(name)
    return f"{count:,} {'card' if count == 1 else 'cards'}" + (f": {printable(title)}" if title else "")


def _paragraphs(text: str) -> list[str]:
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
