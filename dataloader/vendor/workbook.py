"""Workbooks: the spreadsheet made from a manifest for the card vendor, and its validation.

``Read me`` says what to do. ``Cards`` has a row for each card, in which the vendor fills in three columns, the result
from a list; everything else is protected against accidental changes. ``Batch`` describes the batch.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape

from dataloader.batch import CARD_SCHEMA, SEEDED_TIME, BatchHeader, Card
from dataloader.common import MAX_CARDS, InputError, Problem, explain, is_valid, printable, raise_problems
from dataloader.vendor.check_value import check_value
from dataloader.vendor.sheets import AGAIN_COLUMNS, BATCH_SHEET, CARDS_SHEET, COLUMNS, SPARE, STARTS_WITH, Column
from dataloader.vendor.xlsx import read_sheets, write_rows

WORKBOOK_SUFFIX = ".xlsx"
_CARDS_AT = 2
"""The position of the cards' sheet, from 1."""
MAX_DIGITS = len(str(MAX_CARDS))
_REMAKE = "take the workbook that generate wrote, unchanged"
_SENT = "give the workbook that was sent to the vendor"
_BATCH_ROWS = ("Name", "Created", "Cards", "Digest")
_SPARES_ROW = "Spares"
"""Missing if there are none."""
_SPARES_OF = "Spares of "
"""The prefix of a snapset's name, with the number of its spares."""
_SEED_ROW = "Seed"
"""Only for a reproducible batch."""
ROUND_ROW = "Round"
"""Only if cards are encoded again: the round that it is for."""
BATCH_DIGEST_ROW = "Batch digest"
"""Only if cards are encoded again: the digest of the batch that they are part of."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a card is encoded again."""

    reason: str
    chips: Sequence[str] = ()
    """The UIDs of the chips to destroy, as far as known."""


@dataclass(frozen=True, slots=True)
class Again:
    """The additional information in a workbook of cards to encode again."""

    batch: BatchHeader
    """The header of the whole batch."""
    round: int
    """The round of encoding that it is for; the first was 1."""
    whys: Mapping[int, Why] = field(default_factory=dict)
    """Why each card is included, by number."""

    @property
    def rows(self) -> dict[str, str]:
        """The additional lines of the sheet about the batch."""
        return {ROUND_ROW: str(self.round), BATCH_DIGEST_ROW: self.batch.digest}


def write_workbook(
    stream: IO[bytes],
    header: BatchHeader,
    cards: Iterable[Card],
    password: str | None = None,
    again: Again | None = None,
) -> None:
    """Write the workbook of a batch; the same batch gives the same bytes, unless it is encrypted.

    Args:
        stream: the output; need not be seekable.
        header: the batch, or the part of it that the workbook is for.
        cards: its cards, ordered by number.
        password: encrypts the workbook; None for a plain one.
        again: for cards that are encoded again.
    """
    from dataloader.vendor.templates import standard_template  # noqa: PLC0415 - importing openpyxl takes long

    template = standard_template(header, _columns(header, again), _about(header, again), again.round if again else None)
    write_rows(stream, template, _rows(header, cards, again), header.cards, password, sheet=_CARDS_AT)


def _rows(header: BatchHeader, cards: Iterable[Card], again: Again | None) -> Iterator[tuple[str, ...]]:
    """Yield the texts of each card's row, escaped for XML."""
    snapsets = {name: escape(name) for name in header.snapsets}
    titles = {name: escape(printable(header.titles.get(name, ""))) for name in header.snapsets} if header.titles else {}
    spares = header.spare_runs
    for card in cards:
        result = SPARE if spares and any(card.number in run for run in spares) else ""
        row: tuple[str, ...] = (
            str(card.number),
            card.uuid,
            check_value(card.uuid),
            snapsets[card.snapset],
            "",
            result,
            "",
        )
        if titles:
            row += (titles[card.snapset],)
        if again:
            why = again.whys.get(card.number, Why(""))
            row += (escape(printable(why.reason)), escape(printable(", ".join(why.chips))))
        yield row


def _columns(header: BatchHeader, again: Again | None) -> list[Column]:
    return [*COLUMNS, *([STARTS_WITH] if header.titles else []), *(AGAIN_COLUMNS if again else ())]


def _about(header: BatchHeader, again: Again | None) -> dict[str, str]:
    about = dict(zip(_BATCH_ROWS, (header.name, header.created, str(header.cards), header.digest), strict=True))
    if header.spares:
        about[_SPARES_ROW] = str(sum(header.spares.values()))
        about |= {f"{_SPARES_OF}{name}": str(count) for name, count in header.spares.items()}
    if header.seed is not None:
        about[_SEED_ROW] = str(header.seed)
    return about | (again.rows if again else {})


@dataclass(frozen=True, slots=True)
class WorkbookSummary:
    """The content of a valid workbook."""

    path: Path
    name: str
    cards: int


def check_workbook(path: Path, password: str | None = None) -> WorkbookSummary:
    """Check a workbook as it was written for the vendor: every row, and the digest of all rows.

    Args:
        path: the workbook.
        password: its password; ignored if it is not encrypted.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    _, rows, about = _open_whole(path, password, _REMAKE)
    if about["Cards"] != str(len(rows)) or about["Digest"] != _digest_of_rows(rows) or not _checked(rows):
        # Something is wrong; examine every cell to say what.
        cards, problems = _read_cards(path, rows)
        raise_problems(problems + _check_about(path, about, cards))
    return WorkbookSummary(path, about["Name"], int(about["Cards"]))


def read_batch(path: Path, password: str | None = None) -> tuple[BatchHeader, list[Card]]:
    """Read a batch from the workbook that was sent to the vendor; it may have been filled in since.

    The digest in the workbook proves that card numbers, UUIDs and snapsets are those of the batch.

    Args:
        path: the workbook.
        password: its password; ignored if it is not encrypted.

    Returns:
        The header of the batch, and its cards, ordered by number.

    Raises:
        FileError: the file cannot be read.
        InputError: it is not such a workbook, contains only part of a batch, or was changed.
    """
    titles, rows, about = _open_whole(path, password, _SENT)
    if BATCH_DIGEST_ROW in about:
        rule = f"holds only cards of batch {about['Name']} that were encoded again"
        raise InputError(Problem(str(path), rule, "give the workbook of the whole batch"))
    cards, problems = _read_cards(path, rows, _SENT, _seen)
    problems = problems or _check_about(path, about, cards, _SENT)
    raise_problems(problems)
    ordered = [cards[number] for number in sorted(cards)]
    snapsets = Counter(card.snapset for card in ordered)
    at = titles.index(STARTS_WITH.title) if STARTS_WITH.title in titles else len(titles)
    shown = {str(row[3]): str(row[at]) for row in rows if at < len(row) and row[at] != ""}
    header = BatchHeader(
        about["Name"],
        about["Created"],
        len(ordered),
        dict(snapsets),
        about["Digest"],
        _seed(path, about),
        _spares(path, about, rows),
        {name: shown[name] for name in snapsets if name in shown},
    )
    return header, ordered


def _seed(path: Path, about: dict[str, str]) -> int | None:
    seed = about.get(_SEED_ROW)
    if seed is None and about["Created"] == SEEDED_TIME:
        rule = "is the workbook of a reproducible batch, but does not name its seed"
        raise InputError(Problem(str(path), rule, "run generate again with the same seed"))
    return None if seed is None else int(seed)


def _spares(path: Path, about: dict[str, str], rows: list[list[Any]]) -> dict[str, int]:
    """Return the number of spares of each snapset; older workbooks have them only in the results."""
    told = {key.removeprefix(_SPARES_OF): int(value) for key, value in about.items() if key.startswith(_SPARES_OF)}
    wanted = about.get(_SPARES_ROW, "0")
    spares = told or dict(Counter(str(row[3]) for row in rows if str(row[5]).strip().casefold() == SPARE))
    if str(sum(spares.values())) != wanted:
        rule = f"has {wanted} spares, but does not say which cards they are: results were filled in"
        raise InputError(Problem(str(path), rule, "give the workbook as it was sent"))
    return spares


def is_returned(path: Path, password: str | None = None) -> bool:
    """Return whether a vendor has filled in our workbook: a chip UID, a result or a note.

    Raises:
        FileError: the file can't be read.
        InputError: it is no workbook of ours.
    """
    [heads, *rows], _ = _open(path, password)
    if [str(cell) for cell in heads[: len(COLUMNS)]] != [column.title for column in COLUMNS]:
        return False
    filled = [at for at, column in enumerate(COLUMNS) if column.vendors]
    return any(at < len(row) and row[at] not in {None, "", SPARE} for row in rows for at in filled)


def _digest_of_rows(rows: list[list[Any]]) -> str:
    """Return the digest of the rows, which equals the batch's only if no cell was changed."""
    lines = [f'{{"number":{row[0]},"uuid":"{row[1]}","snapset":"{row[3]}"}}\n' for row in rows]
    return f"sha256:{sha256(''.join(lines).encode()).hexdigest()}"


def _checked(rows: list[list[Any]]) -> bool:
    """Return whether each row's check value matches its UUID."""
    return [check_value(row[1]) for row in rows] == [row[2] for row in rows]


def _open(path: Path, password: str | None) -> tuple[list[list[Any]], dict[str, str]]:
    """Return the rows of the cards' sheet, and the content of the batch's sheet."""
    cards, batch = read_sheets(path, (CARDS_SHEET, BATCH_SHEET), password, _REMAKE)
    return cards, {str(row[0]): str(row[1]) for row in batch if len(row) > 1}


def _open_whole(path: Path, password: str | None, todo: str) -> tuple[list[str], list[list[Any]], dict[str, str]]:
    """Return the titles, the rows of the cards, and the content of the batch's sheet, if nothing is missing."""
    [heads, *rows], about = _open(path, password)
    titles = [str(cell) for cell in heads]
    expected = [column.title for column in COLUMNS]
    if titles[: len(expected)] != expected:
        raise InputError(Problem(f"{path}, row 1", f"the columns are not {', '.join(expected)}", todo))
    if missing := [title for title in _BATCH_ROWS if title not in about]:
        raise InputError(Problem(f"{path}, sheet {BATCH_SHEET}", f"lacks {', '.join(missing)}", todo))
    return titles, rows, about


def _read_cards(
    path: Path, rows: list[list[Any]], todo: str = _REMAKE, as_text: Callable[[Any], str] = str
) -> tuple[dict[int, Card], list[Problem]]:
    """Return the cards of the rows by number, and the problems in the rows."""
    problems: list[Problem] = []
    cards: dict[int, Card] = {}
    seen: dict[str, int] = {}
    valid = is_valid(CARD_SCHEMA)
    for row_number, row in enumerate(rows, 2):
        cells = [as_text(cell) for cell in row[:4]]
        if not any(cells):
            continue
        where = f"{path}, row {row_number}"
        number = int(cells[0]) if cells[0].isdecimal() and len(cells[0]) <= MAX_DIGITS else cells[0]
        fields = {"number": number, "uuid": cells[1], "snapset": cells[3]}
        if not valid(fields):
            problems += [Problem(where, rule, todo) for rule in explain(CARD_SCHEMA, fields)]
            continue
        card = Card(int(number), cells[1], cells[3])
        if card.uuid in seen:
            problems.append(Problem(where, f"UUID {card.uuid} is also in row {seen[card.uuid]}", todo))
        if card.number in cards:
            problems.append(Problem(where, f"card number {card.number} occurs more than once", todo))
        if check_value(card.uuid) != cells[2]:
            problems.append(Problem(where, f"the check value {cells[2]!r} is not that of UUID {card.uuid}", todo))
        seen[card.uuid] = row_number
        cards[card.number] = card
    return cards, problems


def _check_about(path: Path, about: dict[str, str], cards: dict[int, Card], todo: str = _REMAKE) -> list[Problem]:
    problems = []
    if about["Cards"] != str(len(cards)):
        problems.append(Problem(str(path), f"holds {len(cards)} cards, but its sheet says {about['Cards']}", todo))
    digest = sha256()
    for number in sorted(cards):
        digest.update(cards[number].line())
    if about["Digest"] != f"sha256:{digest.hexdigest()}":
        problems.append(Problem(str(path), "the digest does not match the rows: a cell was edited", todo))
    return problems


def _seen(cell: Any) -> str:
    """Return a cell's text as displayed: whole numbers without a fractional part."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)
