"""Returned files as vendors send them: a batch's rows, filled in correctly or not, in any format.

As a program, it writes ``samples/returned/``: a small batch, a file for each fault, and one with all faults.
"""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import openpyxl

from dataloader.batch import Card, Counts, Manifest, ReturnedCard, Verdict, write_reconciled
from dataloader.operations import generate
from dataloader.operations.generate import Batch
from dataloader.vendor import check_value

TITLES = ["Card number", "UUID", "Check", "Snapset", "Chip UID", "Result", "Note"]
NUMBER, UUID, CHECK, SNAPSET, CHIP, RESULT, NOTE = range(7)
OTHER_UUID = "0b5e9f60-9d1c-4b7e-8a55-3f1f0d6a2c11"
"""A UUID that matches no card."""

Rows = list[list[Any]]


def chip_of(number: int, *, again: int = 0) -> str:
    """Return the UID of a card's chip, or of the next chips if it is encoded again."""
    return f"04{again:02X}{number:06X}5A80"


def row_of(card: Card, *, chip: str | None = None, result: str = "ok", note: str = "") -> list[Any]:
    """Return the row of an encoded card."""
    chip = chip_of(card.number) if chip is None else chip
    return [str(card.number), card.uuid, check_value(card.uuid), card.snapset, chip, result, note]


def good_rows(manifest: Manifest) -> Rows:
    """Return the rows of a batch that a careful vendor has encoded; spares are unused."""
    return [
        row_of(card, chip="", result="spare") if manifest.header.is_spare(card.number) else row_of(card)
        for card in manifest.cards()
    ]


def came_back(manifest: Manifest, path: Path, encoded: int, round_: int = 1) -> Path:
    """Write the returned file of a round: the first cards are encoded, the others failed."""
    returned = [
        ReturnedCard(card, Verdict.ENCODED if card.number <= encoded else Verdict.FAILED) for card in manifest.cards()
    ]
    counts = Counts(Counter(each.verdict for each in returned))
    with path.open("w+b") as stream:
        write_reconciled(stream, manifest.header, counts, returned, round_)
    return path


def write_csv(
    path: Path, rows: Iterable[Sequence[Any]], delimiter: str = ",", encoding: str = "utf-8", titles: Any = None
) -> Path:
    """Write rows as CSV."""
    with path.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(TITLES if titles is None else titles)
        writer.writerows(rows)
    return path


def write_xlsx(
    path: Path, rows: Iterable[Sequence[Any]], titles: Any = None, above: Iterable[Sequence[Any]] = ()
) -> Path:
    """Write rows as a workbook of another program."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Cards")
    for row in [*above, TITLES if titles is None else titles, *rows]:
        sheet.append(list(row))
    book.save(path)
    return path


def column(path: Path, rows: Rows, title: str, values: Sequence[str], *, without: Sequence[int] = ()) -> Path:
    """Write rows with an additional column, and without some columns."""
    keep = [at for at in range(len(TITLES) + 1) if at not in without]
    table = [[*row, value] for row, value in zip(rows, values, strict=True)]
    titles = [*TITLES, title]
    return write_csv(path, [[row[at] for at in keep] for row in table], titles=[titles[at] for at in keep])


def sheets(path: Path, *tables: tuple[str, Sequence[Sequence[Any]]], hidden: str = "") -> Path:
    """Write a workbook of several sheets, one of them perhaps hidden."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, table in tables:
        sheet = book.create_sheet(title)
        for row in table:
            sheet.append(list(row))
    if hidden:
        book[hidden].sheet_state = "hidden"
    book.save(path)
    return path


def fill_in(workbook: Path, path: Path, rows: Rows) -> Path:
    """Replace the rows of the workbook that was sent out, as a user of a spreadsheet program would."""
    book = openpyxl.load_workbook(workbook)
    sheet = book["Cards"]
    for number in range(2, max(sheet.max_row, len(rows) + 1) + 1):
        row = rows[number - 2] if number < len(rows) + 2 else [None] * len(TITLES)
        for column, value in enumerate(row, 1):
            sheet.cell(number, column).value = value or None
    book.save(path)
    return path


# The faults, each applied to the rows of a batch of at least 14 cards; the last two are spares.


def failed(rows: Rows) -> None:
    """Cards 3 and 4 could not be encoded; the UID of one chip is known."""
    rows[2][CHIP:] = ["", "failed", "three chips tried"]
    rows[3][RESULT] = "failed"


def dropped(rows: Rows) -> None:
    """The row of card 5 is missing, and card 6 has no result."""
    rows[5][RESULT] = ""
    del rows[4]


def altered(rows: Rows) -> None:
    """Card 7 has a changed digit in its UUID, card 8 has it in upper case."""
    uuid = rows[6][UUID]
    rows[6][UUID] = uuid[:-1] + ("0" if uuid[-1] != "0" else "1")
    rows[7][UUID] = rows[7][UUID].upper()


def swapped(rows: Rows) -> None:
    """The UUIDs of cards 9 and 10 are swapped."""
    rows[8][UUID], rows[9][UUID] = rows[9][UUID], rows[8][UUID]


def duplicate(rows: Rows) -> None:
    """Card 1 is on two chips."""
    rows.append([*rows[0][:CHIP], chip_of(1, again=1), "ok", ""])


def shared(rows: Rows) -> None:
    """Cards 11 and 12 are listed with the same chip."""
    rows[10][CHIP] = rows[11][CHIP]


def unknown(rows: Rows) -> None:
    """There is a row of another batch."""
    rows.append(["3", OTHER_UUID, check_value(OTHER_UUID), "snapset_3", "04FFEEDDCCBB80", "ok", ""])


def mangled(rows: Rows) -> None:
    """A spreadsheet program has turned the chip UIDs of cards 2 and 13 into numbers."""
    rows[1][CHIP] = 4123456789012
    rows[12][CHIP] = "4.12346E+12"


def repeated(rows: Rows) -> None:
    """The row of card 2 occurs twice, identically."""
    rows.append(list(rows[1]))


def rearranged(rows: Rows) -> None:
    """The rows are sorted differently, and chip UIDs have colons and lower-case letters."""
    Random(1).shuffle(rows)
    for row in rows:
        row[CHIP] = ":".join(row[CHIP][at : at + 2] for at in range(0, len(row[CHIP]), 2)).lower()


def shuffled(rows: Rows) -> None:
    """The rows are in random order."""
    Random(1).shuffle(rows)


def spared(rows: Rows) -> None:
    """The first of the spares was encoded."""
    rows[-2][CHIP : RESULT + 1] = [chip_of(15), "ok"]


def nothing(rows: Rows) -> None:
    """Every card was encoded."""


Fault = Callable[[Rows], None]

SHARES = {"snapset_1a": 9, "snapset_3": 5}
SPARES = {"snapset_3": 2}
CARDS = 16
SEED = 7

# The name of a sample, the changes of its rows, and the counts: encoded, failed, missing, altered, duplicate, unknown.
SAMPLES: dict[str, tuple[list[Fault], tuple[int, int, int, int, int, int]]] = {
    "all-well.xlsx": ([nothing], (14, 0, 2, 0, 0, 0)),
    "spare-used.xlsx": ([spared], (15, 0, 1, 0, 0, 0)),
    "rearranged.csv": ([rearranged], (14, 0, 2, 0, 0, 0)),
    "repeated.xlsx": ([repeated], (14, 0, 2, 0, 0, 0)),
    "failed.xlsx": ([failed], (12, 2, 2, 0, 0, 0)),
    "dropped.xlsx": ([dropped], (12, 0, 4, 0, 0, 0)),
    "altered.xlsx": ([altered], (12, 0, 2, 2, 0, 0)),
    "swapped.xlsx": ([swapped], (12, 0, 2, 2, 0, 0)),
    "duplicate.xlsx": ([duplicate], (13, 0, 2, 0, 1, 0)),
    "shared.csv": ([shared], (12, 0, 2, 0, 2, 0)),
    "unknown.xlsx": ([unknown], (14, 0, 2, 0, 0, 1)),
    "mangled.xlsx": ([mangled], (12, 2, 2, 0, 0, 0)),
    "everything.xlsx": (
        [failed, altered, swapped, duplicate, shared, unknown, mangled, dropped, shuffled],
        (1, 4, 4, 4, 3, 1),
    ),
}


def make_samples(folder: Path) -> Batch:
    """Write the samples: the batch, and the returned files."""
    batch = generate("library", SHARES, folder, spares=SPARES, seed=SEED)
    for name, (faults, _) in SAMPLES.items():
        rows = good_rows(batch.manifest)
        for fault in faults:
            fault(rows)
        if name.endswith(".csv"):
            write_csv(folder / name, rows, ";", "utf-8-sig")
        else:
            fill_in(batch.workbook, folder / name, rows)
    batch.workbook.unlink()
    return batch


def table() -> str:
    """Return the table of the samples for their documentation page."""
    rows = [
        f"| `{name}` | {' '.join(' '.join((fault.__doc__ or '').split()) for fault in faults)} | "
        f"{' | '.join(map(str, counts))} |"
        for name, (faults, counts) in SAMPLES.items()
    ]
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write the samples, and the table on their page."""
    folder = Path(sys.argv[1])
    page = folder / "README.md"
    text = page.read_text("utf-8")
    head, rule, _ = text.partition("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
    page.write_text(head + rule + table(), "utf-8")
    for path in folder.iterdir():
        if path != page:
            path.unlink()
    make_samples(folder)


if __name__ == "__main__":
    main()
