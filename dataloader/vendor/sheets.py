"""The sheets of the workbook for the card vendor, and the columns of the cards' sheet."""

from dataclasses import dataclass

INSTRUCTIONS_SHEET = "Read me"
CARDS_SHEET = "Cards"
BATCH_SHEET = "Batch"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the cards' sheet."""

    title: str
    width: int
    """The width in characters."""
    vendors: bool = False
    """Whether the vendor fills it in."""


COLUMNS = (
    Column("Card number", 13),
    Column("UUID", 40),
    Column("Check", 10),
    Column("Snapset", 16),
    Column("Chip UID", 24, vendors=True),
    Column("Result", 10, vendors=True),
    Column("Note", 36, vendors=True),
)
STARTS_WITH = Column("Starts with", 30)
"""The display name of the snapset; missing if none has one."""
SHADES = ("D9E2F3", "FFF9E5", "F8CBAD", "FCE4D6", "FFE699")
"""The background colours of titles and vendors' columns, the same for cards to encode again, and vendors' titles."""
AGAIN_COLUMNS = (Column("Why", 60), Column("Chip to destroy", 24))
"""Only in a workbook of cards to encode again."""
SPARE = "spare"
"""The result of a spare until the vendor has encoded it."""
RESULTS = ("ok", "failed", SPARE)
"""The choices in the column Result."""
