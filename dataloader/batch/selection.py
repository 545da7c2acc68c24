"""Which cards of a batch are meant: by their numbers, by their UUIDs, or by a file of either."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataloader.batch.manifest import Card, CardFile
from dataloader.batch.reconciled import Reconciled
from dataloader.common import FileError, InputError, Problem, UsageError, raise_problems, require_file

NUMBER_COLUMNS = ("card number", "card", "number")
"""Headers of a column of card numbers, in any case."""
UUID_COLUMNS = ("uuid",)
"""Headers of a column of UUIDs, likewise."""
DELIMITERS = ";\t,"
"""What stands between columns; the first of these that the first line holds."""

_NUMBER = re.compile(r"[0-9]{1,9}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CORRECT = "correct it, or give the manifest of the card's own batch"


@dataclass(frozen=True, slots=True)
class Named:
    """A card as somebody named it: by its number, its UUID, or both."""

    where: str
    """The option, or the file and line."""
    number: int | None = None
    uuid: str | None = None


def choose(manifest: CardFile, numbers: Sequence[int], uuids: Sequence[str], file: Path | None) -> list[Card]:
    """Find the cards that are meant, each once, in the order of the manifest.

    Args:
        manifest: the batch.
        numbers: card numbers.
        uuids: UUIDs, in any case.
        file: a text or CSV file with a card number or a UUID a line.

    Raises:
        UsageError: none is named.
        FileError: the file can't be read.
        InputError: with everything that names no card of the batch.
    """
    named = [Named(f"--card {number}", number=number) for number in numbers]
    named += [Named(f"--uuid {uuid}", uuid=uuid.strip().lower()) for uuid in uuids]
    named += read_named(file) if file is not None else []
    if not named:
        raise UsageError("no card", rule="the cards must be named", todo="give --card, --uuid or --file")
    wanted_numbers = {each.number for each in named if each.number is not None}
    wanted_uuids = {each.uuid for each in named if each.uuid is not None}
    found = [card for card in manifest.cards() if card.number in wanted_numbers or card.uuid in wanted_uuids]
    by_number = {card.number: card for card in found}
    by_uuid = {card.uuid: card for card in found}
    chosen: dict[int, Card] = {}
    problems = []
    for each in named:
        card = by_uuid.get(each.uuid) if each.uuid is not None else by_number.get(each.number or 0)
        if card is None:
            # A reconciled file has the encoded cards only, and the others are as likely to be meant.
            todo = "give the batch's manifest" if isinstance(manifest, Reconciled) else _CORRECT
            problems.append(Problem(each.where, f"is not a card of {manifest.path}", todo))
        elif each.number not in {None, card.number}:
            problems.append(Problem(each.where, f"the UUID is that of card {card.number}, not {each.number}", _CORRECT))
        else:
            chosen[card.number] = card
    raise_problems(problems)
    return [chosen[number] for number in sorted(chosen)]


def read_named(path: Path) -> list[Named]:
    """Read a file that names cards: one column or several, with a line of headers or without.

    With headers, the columns ``Card number`` and ``UUID`` count, as in a workbook that was saved as CSV; without,
    the first one.

    Raises:
        FileError: the file can't be read.
        InputError: with every line that names no card, or because there is none.
    """
    try:
        require_file(path)
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), "is not UTF-8 text", "save it as CSV in UTF-8")) from error
    except OSError as error:
        raise FileError.of(error, path, "give the path of a file that can be read") from error
    named: list[Named] = []
    problems: list[Problem] = []
    columns: dict[str, int] = {}
    for number, cells in _rows(path, text):
        where = f"{path}, line {number}"
        if not columns:
            columns = _columns(cells)
            if not any(map(_is_name, cells)):
                continue
        each = _named(where, cells, columns)
        if each is None:
            todo = "put a card number or a UUID there, a line each"
            problems.append(Problem(where, "names no card", todo))
        else:
            named.append(each)
    if not named and not problems:
        problems.append(Problem(str(path), "names no card", "put a card number or a UUID a line into it"))
    raise_problems(problems)
    return named


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line that is not blank, and its cells."""
    first = next(filter(str.strip, text.splitlines()), "")
    delimiter = next((each for each in DELIMITERS if each in first), ",")
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        where = f"{path}, line {reader.line_num}"
        raise InputError(Problem(where, f"is not CSV: {error}", "save it as CSV again")) from error


def _columns(cells: list[str]) -> dict[str, int]:
    """Return where the columns stand, by the first line that is not blank."""
    headers = [cell.casefold() for cell in cells]
    found = {
        name: next((at for at, header in enumerate(headers) if header in known), -1)
        for name, known in (("number", NUMBER_COLUMNS), ("uuid", UUID_COLUMNS))
    }
    return {name: at for name, at in found.items() if at >= 0} or {"either": 0}


def _is_name(cell: str) -> bool:
    return bool(_NUMBER.fullmatch(cell) or _UUID.fullmatch(cell.lower()))


def _named(where: str, cells: list[str], columns: dict[str, int]) -> Named | None:
    """Return the card that a line names, None where it names none."""
    found = {name: cells[at].lower() if at < len(cells) else "" for name, at in columns.items()}
    number = uuid = None
    for name, cell in found.items():
        if name != "uuid" and _NUMBER.fullmatch(cell):
            number = int(cell)
        elif name != "number" and _UUID.fullmatch(cell):
            uuid = cell
        elif cell:
            return None
    return None if number is None and uuid is None else Named(where, number, uuid)
