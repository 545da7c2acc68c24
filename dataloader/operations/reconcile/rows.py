"""The meaning of a returned row, and the card it belongs to. Pure rules; docs/reconcile.md has them as tables."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum, StrEnum, auto
from itertools import chain

from dataloader.common import short
from dataloader.operations.reconcile.card_index import CardIndex
from dataloader.vendor import (
    BLANK,
    SPARE,
    ByteOrder,
    CellKind,
    ChipUid,
    check_value,
    looks_like_chip,
    plain_text,
    read_chip,
)
from dataloader.vendor.returned import (
    UUID_LIKE,
    Cell,
    ReturnedRow,
    ReturnedTable,
    is_failure,
    is_remark,
    mark_of_chip,
    mark_of_number,
    result_word,
    says_failed,
    says_not_encoded,
    says_nothing,
    text_of,
)

SHOWN = 60
"""The most characters of a cell to repeat in messages."""
OK = "ok"
_OKS = ("ok", "OK", "Ok")
_DIGITS = 9
"""The most digits of a card number; more than any batch needs."""
_NUMBER = re.compile(
    r"(?:(?:card|karte|carte|tarjeta|kaart|n|no|nr|num|number|nummer|numero)[\W_]++)*+\W*+0*([0-9]{1,9})(?:[.,]0{1,2})?\W*+",
    re.IGNORECASE,
)
_WITHIN = re.compile(r"(?<!\d)\d{1,9}(?!\d)")
_DAY = re.compile(r"(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}")
_SPACED = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{2} ){6,9}[0-9a-f]{2}(?![0-9a-f])", re.IGNORECASE)
"""A chip UID of 7 or 10 bytes with blanks between them."""
_LONG_NUMBER = re.compile(r"(?<![0-9])[0-9]{8,25}(?![0-9])")
_LAST_RIGHT_DAY = 59
"""28 February 1900."""


class Said(StrEnum):
    """What a row says about its card."""

    ENCODED = "encoded"
    DOUBTFUL = "doubtful"
    """It may mean encoded, but something about it is in doubt."""
    FAILED = "failed"
    SPARE = "spare"
    """An unused spare."""
    NOTHING = "nothing"


class Standing(Enum):
    """How a row is related to a card."""

    OWN = auto()
    """The UUID is the card's, and nothing in the row points to another card."""
    CONTRADICTED = auto()
    """The UUID is the card's, but its number or check value is not; they do not clearly identify another card."""
    NAMED = auto()
    """Card number and check value are the card's, but the UUID is not."""
    BORROWED = auto()
    """The UUID is the card's, but card number and check value are another card's."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What all tables of one round contain: a vendor may put results and chip UIDs in different ones."""

    fills_result: bool
    """Whether any of them has results."""
    fills_chip: bool = False
    """Whether any of them has chip UIDs."""
    lists_chips: bool = False
    """Whether any of them has chip UIDs but no results."""
    completed: Collection[str] = ()
    """UUIDs with results in tables without chip UIDs, if other tables have a chip UID for each of them."""
    repeated: Collection[ReturnedTable] = ()
    """Tables without results that list all cards with the result ``ok``, with the same chip UIDs: they add nothing."""
    encoded: Collection[str] = ()
    """UUIDs with the result ``ok``, or with a chip UID if none of the tables has results."""


@dataclass(frozen=True, slots=True)
class TableInput:
    """A table of a returned file, with the operator's options."""

    source: ReturnedTable
    index: int
    """Its number among all tables, in the order of the command line."""
    round: int
    byte_order: ByteOrder
    delivery: Delivery
    lists_all: bool = False
    """Whether it only lists cards, among them all that are encoded according to other tables: a packing list."""


@dataclass(slots=True)
class Row:
    """A parsed row."""

    table: TableInput
    line: int
    number: int | None
    """The card number; None if missing or not a number."""
    number_text: str
    uuid: str
    """The text of the cell; a formula or number says so, and matches no card."""
    check: str
    """In upper case; empty if missing."""
    said: Said
    chip: ChipUid = BLANK
    why: str = ""
    """Why it does not mean encoded."""
    note: str = ""
    by_chip: bool = False
    """Whether the delivery has no results, so that only the chip UID counts."""
    hidden: bool = False
    """Whether it is in doubt because it is hidden, struck through or invisible."""
    warnings: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """The file and the row."""
        return self.table.source.where(self.line)

    @property
    def order(self) -> tuple[int, int]:
        """The sort key of rows in messages: the number of the table, and of the row in it."""
        return (self.table.index, self.line)

    @property
    def round(self) -> int:
        """The round of encoding; the last one counts for a card."""
        return self.table.round


def parse_number(cell: Cell) -> int | None:
    """Return the card number in a cell, from a number or text such as ``#3``, ``3.0`` or ``Card 3``; else None."""
    text, kind = text_of(cell)
    if kind is CellKind.DATE and (day := _DAY.match(text)):
        # A number that is displayed as a date: days, with a 29 February 1900 that did not exist.
        count = (date.fromisoformat(day[0]) - date(1899, 12, 31)).days
        return count + (count > _LAST_RIGHT_DAY)
    match = _NUMBER.fullmatch(plain_text(text)) if kind in {CellKind.TEXT, CellKind.NUMBER} else None
    return int(match[1]) if match else None


def understand(table: TableInput, cells: ReturnedRow) -> Row:
    """Return the meaning of a row."""
    return _understand_plain(table, cells) or _understand_any(table, cells)


def _understand_plain(table: TableInput, cells: ReturnedRow) -> Row | None:
    """Return the meaning of a row that is clearly encoded, as most are; None for any other."""
    line, number, uuid, check, _, chip_text, result, note, hidden, _ = cells
    if result not in _OKS or note != "" or hidden or table.source.is_named_so:
        return None
    if not (type(number) is type(uuid) is type(check) is type(chip_text) is str):
        return None
    chip = read_chip(chip_text, CellKind.TEXT, table.byte_order, decimal=table.source.may_be_decimal(chip_text))
    if mark_of_chip(chip_text) not in {"", table.source.chip_mark}:
        return None
    if not (chip.uid and number.isascii() and number.isdigit() and len(number) <= _DIGITS):
        return None
    is_by_chip = not table.delivery.fills_result
    return Row(table, line, int(number), number, uuid, check.strip().upper(), Said.ENCODED, chip, by_chip=is_by_chip)


def _understand_any(table: TableInput, cells: ReturnedRow) -> Row:
    warnings: list[str] = []
    number_text, number_kind = text_of(cells.number)
    uuid_text, uuid_kind = text_of(cells.uuid)
    check_text, check_kind = text_of(cells.check)
    if number_kind is CellKind.FORMULA or check_kind is CellKind.FORMULA:
        warnings.append("its card number or check value is a formula, and is ignored")
    note, note_kind = text_of(cells.note)
    note = note.strip()
    if note_kind is CellKind.FORMULA:
        warnings.append("its note is a formula or an error, and its stored value may be outdated")
    chip_text, chip_kind = text_of(cells.chip)
    # "n/a" is no chip UID, and neither is "-".
    if chip_kind is CellKind.TEXT and says_nothing(chip_text):
        chip_text = ""
    chip = read_chip(chip_text, chip_kind, table.byte_order, decimal=table.source.may_be_decimal(chip_text))
    said, why = _what_is_said(table, cells, chip, note)
    if note and said is not Said.ENCODED:
        decimal = (read_chip(number, decimal=True, order=table.byte_order) for number in _LONG_NUMBER.findall(note))
        others = [*_chips_in(note, table.byte_order), *chain.from_iterable(each.could_be for each in decimal)]
        chip = chip._replace(could_be=(*chip.could_be, *others))
    chip_mark = mark_of_chip(chip_text) if chip.uid else ""
    is_marked = number_kind is CellKind.TEXT and (
        mark_of_number(number_text) not in {"", table.source.number_mark} or says_failed(number_text)
    )
    is_hidden = bool(cells.hidden) and said is Said.ENCODED
    if is_hidden:
        said, why = Said.DOUBTFUL, f"{cells.hidden}; if it counts, add --include-hidden"
    elif said is Said.ENCODED and chip_mark not in {"", table.source.chip_mark}:
        said, why = Said.DOUBTFUL, f"its chip UID is marked: “{short(chip_text, SHOWN)}”"
    elif said is Said.ENCODED and is_marked:
        said, why = Said.DOUBTFUL, f"its card number is marked: “{short(number_text, SHOWN)}”"
    elif note and said is Said.ENCODED and says_failed(note):
        warnings.append(f"counts as encoded, but its note says “{short(note, SHOWN)}”")
    return Row(
        table,
        cells.line,
        parse_number(cells.number),
        number_text if len(number_text) <= _DIGITS and number_text.isdecimal() else short(number_text, SHOWN),
        uuid_text if uuid_kind is CellKind.TEXT else f"a {uuid_kind.value} ({uuid_text})",
        "" if check_kind is CellKind.FORMULA else check_text.strip().upper(),
        said,
        chip,
        why,
        short(note, SHOWN) if note else "",
        not table.delivery.fills_result,
        is_hidden,
        tuple(warnings),
    )


def _what_is_said(table: TableInput, cells: ReturnedRow, chip: ChipUid, note: str) -> tuple[Said, str]:
    """Return the meaning of a row by its result, chip UID and note, and why if it is not encoded."""
    source = table.source
    text, kind = text_of(cells.result)
    word = result_word(text)
    if word == Said.FAILED and kind is not CellKind.FORMULA:
        return Said.FAILED, "the vendor says that it failed"
    doubt = ""
    if kind is CellKind.FORMULA:
        doubt = f"its result is a formula, and its stored value “{short(text, SHOWN)}” may be outdated"
    elif word not in {"", OK, SPARE}:
        doubt = f"its result is “{short(text, SHOWN)}”; it must be ok, failed or spare"
    elif source.is_named_so:
        doubt = f"it seems to be listed as a reject: {source.rejects}"
    elif not word and (found := _without_result(table, cells, chip, note)):
        return found
    elif note and (says_not_encoded(note) or is_failure(note)):
        doubt = f"its note says “{short(note, SHOWN)}”"
    elif note and {*UUID_LIKE.findall(note)} - {cells.uuid if isinstance(cells.uuid, str) else ""}:
        doubt = f"its note has another UUID: “{short(note, SHOWN)}”"
    elif note and (others := _chips_in(note, table.byte_order)) and {*others} != {chip.uid}:
        doubt = f"its note has another chip UID: “{short(note, SHOWN)}”"
    return (Said.DOUBTFUL, doubt) if doubt else _what_the_chip_says(table, cells, word, chip)


def _chips_in(note: str, order: ByteOrder) -> list[str]:
    """Return the chip UIDs in a note."""
    parts = re.split(r"[\s,;()\[\]\"'“”]+", note) + _SPACED.findall(note)
    return [uid for part in parts if looks_like_chip(part) and (uid := read_chip(part, order=order).uid)]


def _without_result(table: TableInput, cells: ReturnedRow, chip: ChipUid, note: str) -> tuple[Said, str] | None:
    """Return the meaning of a row without a result, unless its chip UID alone decides; else None."""
    source = table.source
    delivery = table.delivery
    doubt = ""
    if table.lists_all and not (is_remark(note) or cells.hidden):
        return Said.NOTHING, "it is only listed"
    if not source.keys & {"result", "chip"}:
        doubt = "it is only listed, without a result or a chip UID"
    elif note and says_failed(note) and (chip.text or not says_not_encoded(note)):
        # A spare without a chip may be "not used".
        doubt = f"it has no result, and its note says “{short(note, SHOWN)}”"
    elif delivery.fills_result and "result" in source.keys:
        return Said.NOTHING, "its result is empty"
    elif source.rejects:
        doubt = f"it seems to be listed as a reject: {source.rejects}"
    elif delivery.completed and not chip.text:
        return Said.NOTHING, "its chip UID is empty"
    elif delivery.fills_result and cells.uuid not in delivery.completed:
        doubt = "it has no result, though other rows of the delivery have one"
    return (Said.DOUBTFUL, doubt) if doubt else None


def _what_the_chip_says(table: TableInput, cells: ReturnedRow, word: str, chip: ChipUid) -> tuple[Said, str]:
    """Return the meaning of a row with the result ok or spare, or without one in a delivery without results."""
    delivery = table.delivery
    if chip.doubt:
        return Said.DOUBTFUL, chip.doubt
    if chip.uid:
        return Said.ENCODED, ""
    if word == SPARE:
        return Said.SPARE, "a spare that was not used"
    if not word:
        return Said.NOTHING, "its chip UID is empty"
    wants_chip = delivery.fills_chip and ("chip" in table.source.keys or delivery.lists_chips)
    if wants_chip and cells.uuid not in delivery.completed:
        return Said.DOUBTFUL, "its result is ok, but its chip UID is empty"
    return Said.ENCODED, ""


def deliveries(tables: Collection[tuple[ReturnedTable, int]]) -> dict[int, Delivery]:
    """Return what the tables of each round contain.

    Args:
        tables: each table with its round.
    """
    found: dict[int, Delivery] = {}
    for round_ in {round_ for _, round_ in tables}:
        of_round = [table for table, each in tables if each == round_]
        with_results = [table for table in of_round if table.fills_result]
        chips_only = [
            table for table in of_round if "result" not in table.keys and table.fills_chip and not table.rejects
        ]
        completed: frozenset[str] = frozenset()
        if chips_only and not any(table.fills_chip for table in with_results):
            ok = frozenset(uuids_of(with_results, OK))
            # Chip UIDs of only a few cards may be those of the rejects.
            if ok <= {*uuids_of(chips_only)}:
                completed = ok.intersection(uuids_with_chips(chips_only))
        repeated = [table for table in chips_only if not completed and _repeats_chips(table, with_results)]
        fills_chip = any(table.fills_chip for table in of_round)
        encoded = uuids_of(with_results, OK) if with_results else uuids_with_chips(of_round)
        found[round_] = Delivery(
            bool(with_results), fills_chip, bool(chips_only), completed, repeated, frozenset(encoded)
        )
    return found


def _repeats_chips(table: ReturnedTable, with_results: Collection[ReturnedTable]) -> bool:
    """Return whether a table lists exactly the chip UIDs that others list with the result ``ok``, in any notation."""

    def pairs(tables: Collection[ReturnedTable]) -> Iterator[tuple[Cell, str, str]]:
        for each in tables:
            for row in each.rows:
                yield row.uuid, "".join(filter(str.isalnum, text_of(row.chip)[0])).upper(), text_of(row.result)[0]

    wanted = {(uuid, chip) for uuid, chip, result in pairs(with_results) if result_word(result) == OK}
    uuids = {uuid for uuid, _ in wanted}
    return bool(wanted) and {(uuid, chip) for uuid, chip, _ in pairs([table]) if uuid in uuids} == wanted


def uuids_of(tables: Collection[ReturnedTable], result: str | None = None) -> Iterator[str]:
    """Yield the UUIDs in tables, or those of the rows with a result."""
    for table in tables:
        for row in table.rows:
            if isinstance(row.uuid, str) and (result is None or result_word(text_of(row.result)[0]) == result):
                yield row.uuid


def uuids_with_chips(tables: Collection[ReturnedTable]) -> Iterator[str]:
    """Yield the UUIDs in tables that have a chip UID."""
    for table in tables:
        yield from (row.uuid for row in table.rows if isinstance(row.uuid, str) and _has_chip(row.chip))


def _has_chip(cell: Cell) -> bool:
    # No UID is shorter than 8 digits.
    return cell != "" and not (isinstance(cell, str) and len(cell) < 8 and says_nothing(cell))  # noqa: PLR2004 - see above


def lists_all(table: ReturnedTable, encoded: Collection[str]) -> bool:
    """Return whether a table only lists cards, among them all that are encoded according to others."""
    is_list = not (table.keys & {"result", "chip"} or table.rejects)
    return is_list and bool(encoded) and {*encoded} <= {*uuids_of([table])}


@dataclass(slots=True)
class Whose:
    """The card that a row belongs to."""

    card: int
    """The card's number; 0 for none."""
    standing: Standing = Standing.OWN
    lender: int = 0
    """The card whose UUID is in the row, if different."""
    why: str = ""
    """What is wrong with the row, or why it matches no card."""
    nearly: bool = False
    """Whether its UUID is a card's except for case, blanks or punctuation."""


def whose(row: Row, index: CardIndex) -> Whose:
    """Return the card that a row belongs to, by its UUID, card number and check value.

    A UUID alone is enough. If two of the three agree on a card, the row belongs to it; if the UUID and the other two
    identify different cards, the row is in doubt.
    """
    by_uuid = index.find(row.uuid)
    number = row.number if row.number is not None and 1 <= row.number <= index.count else 0
    if not by_uuid:
        return _of_no_cards_uuid(row, index, number)
    fits = bool(row.check) and check_value(row.uuid) == row.check
    if number == by_uuid:
        if fits or not row.check:
            return Whose(by_uuid)
        return Whose(by_uuid, why=f"its check value {short(row.check, SHOWN)} was edited")
    if fits or not (row.check or number):
        # Another text with a number in it, such as "3/14", has the same form in most rows.
        is_other = row.number_text and (row.number is not None or not _WITHIN.search(row.number_text))
        said = f"its card number is {row.number_text}, but it is card {by_uuid}" if is_other else ""
        return Whose(by_uuid, why=said)
    if _is_certain(row, index, number):
        why = f"it has the UUID of card {by_uuid}, but the card number and check value of card {number}"
        return Whose(number, Standing.NAMED, by_uuid, why)
    beside = [f"card number {row.number_text}"] if row.number_text else []
    beside += [f"check value {short(row.check, SHOWN)}"] if row.check else []
    verb = "do" if len(beside) > 1 else "does"
    return Whose(by_uuid, Standing.CONTRADICTED, why=f"its {' and '.join(beside)} {verb} not belong to its UUID")


def _is_certain(row: Row, index: CardIndex, number: int) -> bool:
    return bool(number and row.check) and check_value(index.uuid(number)) == row.check


def _of_no_cards_uuid(row: Row, index: CardIndex, number: int) -> Whose:
    shown = f"its UUID {short(row.uuid, SHOWN)}" if row.uuid else "it has no UUID"
    nearly = index.find(_in_usual_form(row.uuid))
    if _is_certain(row, index, number):
        if nearly == number:
            why = f"{shown} differs from the card's in case, blanks or punctuation, and a reader takes it literally"
        else:
            why = f"{shown} is not the card's" if row.uuid else shown
        why += "; its card number and check value are the card's"
        return Whose(number, Standing.NAMED, why=why, nearly=bool(nearly))
    if nearly:
        why = (
            f"{shown} is that of card {nearly} except for case, blanks or punctuation, and a reader takes it literally"
        )
    else:
        why = f"{shown} is not a card of this batch" if row.uuid else shown
    return Whose(0, why=why, nearly=bool(nearly))


def _in_usual_form(uuid: str) -> str:
    """Return a UUID in lower case with hyphens, without blanks, braces and the like."""
    digits = re.sub(r"[\W_]", "", uuid.lower().removeprefix("urn:uuid:"))
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
