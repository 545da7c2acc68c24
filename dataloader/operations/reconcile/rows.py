"""Rows: what a returned row says, and whose it is. Pure rules, written down as a table in docs/reconcile.md."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import NamedTuple

from dataloader.common import short
from dataloader.operations.reconcile.card_index import Roll
from dataloader.vendor import BLANK, ByteOrder, CellKind, ChipUid, check_value, read_chip
from dataloader.vendor.returned import Cell, ReturnedRow, ReturnedTable, text_of

SHOWN = 60
"""Characters of what stands in a cell that are repeated."""


class Said(StrEnum):
    """What a row says of its card."""

    ENCODED = "encoded"
    DOUBTFUL = "doubtful"
    """It may say encoded, but with a chip UID or a result that leaves a doubt."""
    FAILED = "failed"
    SPARE = "spare"
    """A spare card that was not used."""
    NOTHING = "nothing"


class Standing(Enum):
    """What a row is to a card."""

    OWN = auto()
    """It is the card's: its UUID is, and nothing beside it says another card's."""
    CONTRADICTED = auto()
    """It has the card's UUID, but what stands beside it does not fit, and points to no other card for certain."""
    NAMED = auto()
    """Its card number and check value make it the card's, but it has another UUID."""
    BORROWED = auto()
    """It has the card's UUID, but card number and check value make it another card's."""


class Row(NamedTuple):
    """A row, as it is understood."""

    where: str
    """The file and the row."""
    order: tuple[int, int]
    """Which comes first in messages: the number of the file, and of the row in it."""
    round: int
    """Which round of encoding it tells of: the last one is what counts for a card."""
    number: int | None
    """The card number; None where none stands there, or no number."""
    number_text: str
    uuid: str
    """As it stands; a formula's or a number's says so and is no card's."""
    check: str
    """Letters in upper case; empty where none stand there."""
    said: Said
    chip: ChipUid = BLANK
    why: str = ""
    """Why it is doubtful or failed, or says nothing."""
    note: str = ""
    by_chip: bool = False
    """Whether nobody has filled the column of results, so that only the chip UID tells."""
    warnings: tuple[str, ...] = ()


def parse_number(cell: Cell) -> int | None:
    """Return the card number in a cell, written as a number or as text; None for anything else."""
    text, kind = text_of(cell)
    text = text.strip()
    return int(text) if kind in {CellKind.TEXT, CellKind.NUMBER} and text.isdecimal() and len(text) <= 9 else None  # noqa: PLR2004 - more than any batch


@dataclass(frozen=True, slots=True)
class TableInput:
    """A table of a returned file, and what the operator says of it."""

    source: ReturnedTable
    index: int
    """Its number among all."""
    round: int
    byte_order: ByteOrder


def understand(table: TableInput, cells: ReturnedRow) -> Row:
    """Return what a row says."""
    source = table.source
    line, number, uuid, check, _, chip_cell, result, note = cells
    warnings: list[str] = []
    number_text, number_kind = text_of(number)
    uuid_text, uuid_kind = text_of(uuid)
    check_text, check_kind = text_of(check)
    if number_kind is CellKind.FORMULA or check_kind is CellKind.FORMULA:
        warnings.append("its card number or check value is a formula, and is not relied on")
    chip = read_chip(*text_of(chip_cell), table.byte_order)
    said, why = _what_is_said(source, result, chip)
    return Row(
        source.where(line),
        (table.index, line),
        table.round,
        parse_number(number),
        short(number_text, SHOWN),
        uuid_text if uuid_kind is CellKind.TEXT else f"a {uuid_kind.value} ({uuid_text})",
        "" if check_kind is CellKind.FORMULA else check_text.strip().upper(),
        said,
        chip,
        why,
        short(text_of(note)[0], SHOWN),
        not source.fills_result,
        tuple(warnings),
    )


def _what_is_said(source: ReturnedTable, result: Cell, chip: ChipUid) -> tuple[Said, str]:
    """Return what a row says by its result and its chip UID, and why where it is not that the card is encoded."""
    text, kind = text_of(result)
    word = text.strip().casefold()
    if kind is CellKind.FORMULA:
        return Said.DOUBTFUL, f"its result is a formula, and its value {short(text, SHOWN)} may be an old one"
    if word == Said.FAILED:
        return Said.FAILED, "the vendor says that it failed"
    if word not in {"", "ok", Said.SPARE}:
        return Said.DOUBTFUL, f"its result is “{short(text, SHOWN)}”, which is none of ok, failed and spare"
    if not word and source.fills_result:
        return Said.NOTHING, "its result is empty"
    return _what_the_chip_says(source, word, chip)


def _what_the_chip_says(source: ReturnedTable, word: str, chip: ChipUid) -> tuple[Said, str]:
    """Return what a row says whose result is ok or spare, or that has none because nobody has filled that column."""
    if chip.doubt:
        return Said.DOUBTFUL, chip.doubt
    if chip.uid:
        return Said.ENCODED, ""
    if word == Said.SPARE:
        return Said.SPARE, "a spare that was not used"
    if not word:
        return Said.NOTHING, "its chip UID is empty"
    if source.fills_chip:
        return Said.DOUBTFUL, "its result is ok, but its chip UID is empty"
    return Said.ENCODED, ""


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose a row is."""

    card: int
    """The card's number; 0 where it is nobody's."""
    standing: Standing = Standing.OWN
    lender: int = 0
    """The card whose UUID it has, where that is another."""
    why: str = ""
    """What is the matter with it; for a row that is nobody's, why it is not."""


def whose(row: Row, roll: Roll) -> Whose:
    """Return whose a row is, by its UUID, card number and check value.

    A UUID by itself is one card's. Where two of the three agree on a card, it is that one's; where a UUID and what
    stands beside it say two cards, the row is in doubt.
    """
    by_uuid = roll.find(row.uuid)
    number = row.number if row.number is not None and 1 <= row.number <= roll.count else 0
    certain = bool(number and row.check) and check_value(roll.uuid(number)) == row.check
    if not by_uuid:
        return _of_no_cards_uuid(row, roll, number, certain=certain)
    fits = bool(row.check) and check_value(row.uuid) == row.check
    if number == by_uuid:
        return Whose(
            by_uuid, why="" if fits or not row.check else f"its check value {short(row.check, SHOWN)} has been edited"
        )
    if fits or not (row.check or number):
        said = f"its card number says {row.number_text}, but it is card {by_uuid}'s" if row.number_text else ""
        return Whose(by_uuid, why=said)
    if certain:
        why = f"it has the UUID of card {by_uuid}, but card number and check value of card {number}"
        return Whose(number, Standing.NAMED, by_uuid, why)
    beside = [f"card number {row.number_text}"] if row.number_text else []
    beside += [f"check value {short(row.check, SHOWN)}"] if row.check else []
    return Whose(
        by_uuid, Standing.CONTRADICTED, why=f"beside its UUID stands {' and '.join(beside)}, which is not its own"
    )


def _of_no_cards_uuid(row: Row, roll: Roll, number: int, *, certain: bool) -> Whose:
    shown = f"its UUID {short(row.uuid, SHOWN)}" if row.uuid else "it has no UUID"
    nearly = roll.find("".join(row.uuid.split()).lower())
    if certain:
        if nearly == number:
            why = f"{shown} differs in case or blanks, which a reader takes literally"
        else:
            why = f"{shown} is not the card's" if row.uuid else shown
        return Whose(number, Standing.NAMED, why=f"{why}; card number and check value are")
    if nearly:
        why = f"{shown} is card {nearly}'s but for case or blanks, which a reader takes literally"
    else:
        why = f"{shown} is no card's of the batch" if row.uuid else shown
    return Whose(0, why=why)
