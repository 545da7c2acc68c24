"""Odd files of honest vendors: they are read without a warning; similar ones in doubt are not."""

import zipfile
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any

import openpyxl
import pytest
from openpyxl.styles import PatternFill

from dataloader.batch import Manifest, Verdict
from dataloader.common import InputError
from dataloader.operations import generate
from dataloader.operations.generate import Batch
from dataloader.operations.reconcile import Reconciliation, ReturnedFile, reconcile
from dataloader.vendor.returned import Reading
from tests.support.returned_files import (
    CHECK,
    CHIP,
    NOTE,
    RESULT,
    TITLES,
    UUID,
    Rows,
    column,
    fill_in,
    good_rows,
    sheets,
    write_csv,
    write_xlsx,
)

ORDERED = set(range(1, 11))


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """A batch of ten cards, and two spares."""
    folder = tmp_path_factory.mktemp("oddities")
    return generate("oddities", {"snapset_1a": 6, "empty": 4}, folder, spares={"empty": 2})


@pytest.fixture(scope="module")
def manifest(batch: Batch) -> Manifest:
    """Its manifest."""
    return batch.manifest


@pytest.fixture
def rows(manifest: Manifest) -> Rows:
    """The rows of the batch, as a careful vendor fills them in."""
    return good_rows(manifest)


def found_of(manifest: Manifest, *paths: Path) -> Reconciliation:
    """Reconcile files."""
    return reconcile(manifest, [ReturnedFile(path) for path in paths], Reading(cards=12))


def encoded(found: Reconciliation) -> set[int]:
    """Return the numbers of the cards that count as encoded."""
    return {each.card.number for each in found.ledger if each.verdict is Verdict.ENCODED}


def is_clean(found: Reconciliation) -> bool:
    """Return whether all ordered cards are encoded, without a warning."""
    return encoded(found) == ORDERED and found.good and not found.warnings


# Columns that are usually not needed.


def odd(rows: Rows, third: str, other: str, spare: str) -> list[str]:
    """Return the values of a column in which the third card differs."""
    return [spare if not row[CHIP] else third if at == 2 else other for at, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("title", "third", "other", "spare"),
    [
        ("Locked", "yes", "yes", ""), ("Locked", "no", "no", "no"), ("Quantity", "1", "1", "0"),
        ("Encoded at", "14:05", "14:05", ""), ("Rejected", "N", "N", ""), ("Defekt", "FALSCH", "FALSCH", ""),
        ("Error code", "0", "0", ""), ("Password", "FFFFFFFF", "FFFFFFFF", "FFFFFFFF"),
        ("Attempts", "3", "1", ""), ("Box", "2", "1", ""), ("Box", "1", "", ""),
    ],
)  # fmt: skip
def test_unneeded_columns_are_harmless(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, third: str, other: str, spare: str
) -> None:
    """Also if unused spares differ."""
    assert is_clean(found_of(manifest, column(tmp_path / "back.csv", rows, title, odd(rows, third, other, spare))))


@pytest.mark.parametrize(
    ("title", "third", "other", "shown"),
    [
        ("Locked", "no", "yes", "“Locked” (“yes” from line 2, “no” from line 4)"),
        ("Read only", "", "yes", "“Read only” (“yes” from line 2, nothing in 1 of 10 rows)"),
        ("Encoded at", "", "14:05", "“Encoded at” (“14:05” from line 2, nothing in 1 of 10 rows)"),
        ("Box", "", "1", "“Box” (“1” from line 2, nothing in 1 of 10 rows)"),
        ("Operator", "-", "Jo", "“Operator” (“Jo” from line 2, “-” from line 4)"),
        ("Encoded at", "n/a", "14:05", "“Encoded at” (“14:05” from line 2, “n/a” from line 4)"),
    ],
)
def test_unneeded_column_that_differs_for_a_card_is_named(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, third: str, other: str, shown: str
) -> None:
    """Beside results; without results, a time that is missing for some cards stops the run."""
    values = odd(rows, third, other, "")
    found = found_of(manifest, column(tmp_path / "back.csv", rows, title, values))
    assert found.good
    assert shown in str(found.warnings[0])
    path = column(tmp_path / "chips.csv", rows, title, values, without=(RESULT,))
    if title != "Encoded at":
        assert encoded(found_of(manifest, path)) == ORDERED
        return
    times = [f"14:{at:02}" if ":" in each else each for at, each in enumerate(values)]
    for each in (path, column(tmp_path / "times.csv", rows, title, times, without=(RESULT,))):
        with pytest.raises(InputError, match="“Encoded at” was not recognized, and seems to hold results"):
            found_of(manifest, each)


@pytest.mark.parametrize(
    ("title", "third", "other"), [("QC", "KO", "OK"), ("Error code", "E42", ""), ("Readable", "no", "yes")]
)
def test_column_that_agrees_with_failed_results_is_harmless(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, third: str, other: str
) -> None:
    """It only contradicts rows that may count as encoded."""
    path = column(tmp_path / "back.csv", rows, title, odd(rows, third, other, ""))
    with pytest.raises(InputError, match="seems to hold results"):
        found_of(manifest, path)
    rows[2][CHIP : RESULT + 1] = ["", "failed"]
    path = column(tmp_path / "back.csv", rows, title, [third if at == 2 else other for at in range(12)])
    assert encoded(found_of(manifest, path)) == ORDERED - {3}


@pytest.mark.parametrize(("first", "step", "is_named"), [(0, 1, False), (1, 1, False), (500, 1, False), (1, 2, True)])
def test_column_that_counts_rows_is_not_named(
    tmp_path: Path, manifest: Manifest, rows: Rows, first: int, step: int, *, is_named: bool
) -> None:
    """It says nothing, whatever its title."""
    values = [f"{first + step * at}." for at in range(12)]
    found = found_of(manifest, column(tmp_path / "back.csv", rows, "#", values))
    assert found.good
    assert ["“#”" in str(each) for each in found.warnings] == [True] * is_named


def test_column_that_repeats_uuids_or_chips_is_not_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """It must have those of all encoded cards; unused spares do not matter."""
    path = tmp_path / "back.csv"
    for key in (UUID, CHIP):
        own = [row[key] for row in rows]
        for values in (own, [text if row[CHIP] else "" for text, row in zip(own, rows, strict=True)]):
            assert is_clean(found_of(manifest, column(path, rows, "Read back", values)))
    in_reverse = [row[CHIP] and bytes.fromhex(row[CHIP])[::-1].hex(":") for row in rows]
    in_decimal = [row[CHIP] and str(int(row[CHIP], 16)) for row in rows]
    for values in (in_reverse, in_decimal):
        assert is_clean(found_of(manifest, column(path, rows, "UID 2", values)))
    in_reverse[2] = in_reverse[3]
    with pytest.raises(InputError, match="seems to hold chip UIDs"):
        found_of(manifest, column(path, rows, "UID 2", in_reverse))
    chips, uuids = (["", *(row[key] for row in rows[1:])] for key in (CHIP, UUID))
    with pytest.raises(InputError, match="seems to hold UUIDs that differ"):
        found_of(manifest, column(path, rows, "Job", ["0b5e9f60-9d1c-4b7e-8a55-3f1f0d6a2c11"] * 12))
    for values in (chips, uuids):
        with pytest.raises(InputError, match="nothing in some rows"):
            found_of(manifest, column(path, rows, "Read back", values))


# Chip UIDs and notes.


def test_digits_of_another_length_may_be_a_decimal_number(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """One of eight digits among those of 14, and the reverse; with letters, it is only a warning."""
    rows[2][CHIP] = "45612387"
    assert encoded(found_of(manifest, write_csv(tmp_path / "a.csv", rows))) == ORDERED - {3}
    rows[2][CHIP] = "4561238A"
    [warning] = found_of(manifest, write_csv(tmp_path / "b.csv", rows)).warnings
    assert "1 row has a chip UID of another length than most: line 4" in str(warning)
    for at, row in enumerate(rows):
        row[CHIP] = row[CHIP] and f"4{at:X}A1B2C7"
    assert is_clean(found_of(manifest, write_csv(tmp_path / "c.csv", rows)))
    rows[2][CHIP] = "21187231112345"
    assert encoded(found_of(manifest, write_csv(tmp_path / "d.csv", rows))) == ORDERED - {3}


@pytest.mark.parametrize(
    ("note", "is_named"),
    [
        ("*", True), ("?", True), ("\N{DAGGER}", True), ("ok*", True), ("E17", True), ("tested, 6Q", True),
        ("No errors, tested ok", False), ("keine Fehler, geprüft", False), ("nan", False),
        ("-", False), ("27.11.2026 02:05 pm", False), ("2026-11-27T14:05:22Z", False), ("tested ok", False),
    ],
)  # fmt: skip
def test_notes_with_marks_and_codes_are_named(
    tmp_path: Path, manifest: Manifest, rows: Rows, note: str, *, is_named: bool
) -> None:
    """A mark may refer to a legend, a code to an error; dates are harmless."""
    rows[2][NOTE] = note
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert found.good
    assert ["(line 4)" in str(each) for each in found.warnings] == [True] * is_named


def test_card_numbers_may_be_displayed_with_words(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Text or numbers, with a number format; if only one is, its row looks different."""
    path = tmp_path / "back.xlsx"
    for make, form in ((str, '"No. "@'), (int, '"Card "000'), (str, '"not "@'), (int, '"not "0')):
        book = openpyxl.load_workbook(write_xlsx(path, [[make(row[0]), *row[1:]] for row in rows]))
        lines = (4,) if "not" in form else range(2, 14)
        for line in lines:
            book.worksheets[0][f"A{line}"].number_format = form
        book.save(path)
        found = found_of(manifest, path)
        assert found.good
        assert ["different from most: row 4" in str(each) for each in found.warnings] == [True] * ("not" in form)


# Rows and sheets without cards.


def test_lines_without_content_are_skipped(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Rules of a table in text, empty cells, and the end of a file of DOS."""
    path = tmp_path / "back.md"
    table = [TITLES, [":---"] * 7, *rows, [""] * 7]
    path.write_text("\n".join("| " + " | ".join(row) + " |" for row in table) + "\n\x1a")
    assert is_clean(found_of(manifest, path))


def test_second_line_of_titles_is_not_a_card(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """It is a warning; further down, or with a result, it is an unknown row."""
    hints = ["", "", "", "", "(hex)", "(ok/failed)", ""]
    found = found_of(manifest, write_csv(tmp_path / "a.csv", [hints, *rows]))
    assert found.good
    assert "line 2: skipped: matches no card" in str(found.warnings[0])
    assert found_of(manifest, write_csv(tmp_path / "b.csv", [*rows, hints])).unknown == 1
    units = ["", "36 characters", "6 letters", "", "14 hex digits", "ok or failed", ""]
    assert found_of(manifest, write_csv(tmp_path / "d.csv", [units, *rows])).good
    for text in ("Cards 3 and 7 failed", "Rejected: 3"):
        with pytest.raises(InputError, match="outside the columns"):
            found_of(manifest, write_csv(tmp_path / "e.csv", [[text], *rows]))
    assert found_of(manifest, write_csv(tmp_path / "c.csv", [[*[""] * 5, "ok", ""], *rows])).unknown == 1


@pytest.mark.parametrize(
    ("table", "is_named"),
    [
        ([["ok"], ["failed"], ["spare"]], False),
        ([["OK", "KO"]], False),
        ([["Row labels", "failed", "ok"], ["empty", 0, 10], ["Grand total", 0, 10]], True),
        ([["Snapset", "Failed %"], ["empty", 1]], True),
    ],
)
def test_lists_of_choices_and_totals_are_harmless(
    tmp_path: Path, manifest: Manifest, rows: Rows, table: list[list[Any]], *, is_named: bool
) -> None:
    """On a sheet of their own."""
    found = found_of(manifest, sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Lists", table)))
    assert encoded(found) == ORDERED
    assert ["sheet Lists" in str(each) for each in found.warnings] == [True] * is_named


def test_counts_of_failures_on_another_sheet_must_be_right(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A summary or pivot table that counts more failures than the rows; a line with their sum is not counted."""
    table: Rows = [["Snapset", "Cards", "Failed"], ["snapset_1a", 6, 1], ["empty", 4, 0], ["Total", 10, 1]]
    path = tmp_path / "back.xlsx"
    with pytest.raises(InputError, match="sheet Summary, row 1: counts 1 below “Failed”, but 0 rows of cards say so"):
        found_of(manifest, sheets(path, ("Cards", [TITLES, *rows]), ("Summary", table)))
    rows[2][RESULT] = "failed"
    again = sheets(tmp_path / "again.xlsx", ("Cards", [TITLES, *rows]), ("Summary", table))
    assert encoded(found_of(manifest, again)) == ORDERED - {3}


@pytest.mark.parametrize(("sheet", "row"), [("Read me", 60), ("Batch", 30)])
def test_text_added_to_our_own_sheets_is_read(tmp_path: Path, batch: Batch, rows: Rows, sheet: str, row: int) -> None:
    """Our instructions mention failures, and are skipped; what a vendor adds is not."""
    path = fill_in(batch.workbook, tmp_path / "back.xlsx", rows)
    assert is_clean(found_of(batch.manifest, path))
    for text, stops in (("Thank you, Jo", False), ("Card 3 was damaged in transport", True)):
        book = openpyxl.load_workbook(path)
        book[sheet].cell(row, 1).value = text
        book.save(path)
        if not stops:
            assert is_clean(found_of(batch.manifest, path))
            continue
        with pytest.raises(InputError, match=f"sheet {sheet}, row {row}: says “Card 3 was damaged in transport”"):
            found_of(batch.manifest, path)


@pytest.mark.parametrize(
    ("text", "stops"), [("Page &P of &N", False), ('&C&"Arial,Bold"&14Rejected: 3', True), ("Failed: 0", False)]
)
def test_header_of_the_page_is_read(tmp_path: Path, manifest: Manifest, rows: Rows, text: str, *, stops: bool) -> None:
    """It is printed on each page."""
    path = write_xlsx(tmp_path / "back.xlsx", rows)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    header = f"<headerFooter><oddHeader>{escape(text)}</oddHeader></headerFooter></worksheet>"
    part = "xl/worksheets/sheet1.xml"
    parts[part] = parts[part].replace(b"</worksheet>", header.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    if not stops:
        assert is_clean(found_of(manifest, path))
        return
    with pytest.raises(InputError, match="header or footer of the page: says “Rejected: 3”"):
        found_of(manifest, path)


def test_denied_failures_are_harmless(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Above the titles, as in the logs of encoders and on certificates."""
    texts = [
        "Encoder log of 2026-11-27 14:05: errors: none", "Rejected: -", "Yield 100 %, 0 failed (0.0 %)",
        "All cards encoded without any errors", "We certify that no cards were rejected or damaged.", "Fehler: keine",
        "Error-free", "エラーなし",
    ]  # fmt: skip
    more = [
        "No card failed.", "Keine Karte fehlerhaft", "Zero failures", "Nothing failed", "Failed: n/a",
        "ninguna tarjeta defectuosa", "Errores: ninguno", "utan fel", "hata yok", "没有失败", "불량 없음",
        "There were no failed, damaged or missing cards.", "No damaged, failed, or missing cards", "Free of defects",
        "Not a single card failed", "Reject rate: 0.00 %", "failed: 0 of 10 (0 %)",
        "ok=10 failed=0 spare=2",
    ]  # fmt: skip
    for lines in (texts, more):
        path = write_csv(tmp_path / "back.csv", rows)
        path.write_text("\n".join([*lines, path.read_text("utf-8")]), "utf-8")
        assert is_clean(found_of(manifest, path))


@pytest.mark.parametrize(
    "text",
    [
        "Failed: no. 3", "No. card failed", "No,Card,Failed", "Encoded: no, card: failed", "No errors, rejected cards",
        "No failed card was replaced", "None of the failed cards were encoded again", "Free cards failed",
        "No card failed, damaged or missing: 3", "Reject rate in box 1: 0 %", "No card failed except 3",
        "failed=0,3", "failed=0.5 %", "Card 3: timeout after 300 ms", "Timeout after 300 ms",
        "Encoding failed after: 5 s", "3 cards failed: 10 s", "Failed = 2 s",
    ],
)  # fmt: skip
def test_failures_that_are_not_denied_stop_the_run(tmp_path: Path, manifest: Manifest, rows: Rows, text: str) -> None:
    """Titles of a table, numbers, or a negation that belongs to another word."""
    path = write_csv(tmp_path / "back.csv", rows)
    path.write_text(f"{text}\n{path.read_text('utf-8')}", "utf-8")
    with pytest.raises(InputError, match="line 1: says"):
        found_of(manifest, path)


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("Card 3 exploded", True),
        ("Karte Nr. 3 kommt später", True),
        ("Problems: 3 and 7", True),
        ("Cards 1 to 12 of 12", False),
        ("11 of 12 cards delivered", True),
        ("OK: 11/12", True),
        ("12 of 12, box 1 of 2, 11/12/2026", False),
        ("Order: 3", False),
        ("Order 3", False),
    ],
)
def test_text_about_a_card_is_named(
    tmp_path: Path, manifest: Manifest, rows: Rows, text: str, *, is_named: bool
) -> None:
    """Above the titles, where nothing else is read."""
    path = write_csv(tmp_path / "back.csv", rows)
    path.write_text(f"{text}\n{path.read_text('utf-8')}", "utf-8")
    assert [f"back.csv: not read: line 1: “{text}”" in str(each) for each in found_of(manifest, path).warnings] == [
        True
    ] * is_named


def test_cell_that_could_be_a_title_is_no_title(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """“Text” is the title of the UUIDs in a layout, and the type of each record in other tools."""
    table = [[row[CHIP], "Text", row[UUID], row[RESULT]] for row in rows]
    path = write_csv(tmp_path / "back.csv", table, titles=["UID", "Type", "Content", "Result"])
    with pytest.raises(InputError, match='the UUIDs may be below “Content”: --column uuid="Content"'):
        found_of(manifest, path)


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (UUID, CHIP, "has its UUIDs below “Chip UID”"),
        (CHIP, NOTE, "has its chip UIDs below “Note”"),
        (CHIP, 2, "has its chip UIDs below “Check”"),
        (CHIP, 0, "has its chip UIDs below “Card number”"),
    ],
)
def test_titles_that_are_swapped_are_an_error(
    tmp_path: Path, manifest: Manifest, rows: Rows, one: int, other: int, says: str
) -> None:
    """Otherwise, all cards would have to be encoded again."""
    titles = list(TITLES)
    titles[one], titles[other] = titles[other], titles[one]
    with pytest.raises(InputError, match=f"line 2: {says}, as if the titles were shifted or swapped"):
        found_of(manifest, write_csv(tmp_path / "back.csv", rows, titles=titles))


def test_titles_in_two_languages_are_read(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """The table between them has no rows; or with both in one cell."""
    german = ["Kartennummer", "UUID", "Prüfwert", "Snapset", "Chip-UID", "Ergebnis", "Bemerkung"]
    assert is_clean(found_of(manifest, write_csv(tmp_path / "back.csv", [german, *rows])))
    both = [f"{title} / {other}" for title, other in zip(TITLES, german, strict=True)]
    assert is_clean(found_of(manifest, write_csv(tmp_path / "both.csv", rows, titles=both)))


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("sheet", ["Read me", "Batch"])
def test_another_sheet_saved_as_csv_is_an_error(tmp_path: Path, batch: Batch, sheet: str, delimiter: str) -> None:
    """Programs save the first sheet of our workbook, or the one that is shown."""
    cells = openpyxl.load_workbook(batch.workbook)[sheet].values
    first, *rest = [[cell or "" for cell in row] for row in cells]
    path = write_csv(tmp_path / "back.csv", rest, delimiter, titles=first)
    with pytest.raises(InputError, match="holds another sheet of our workbook than that of the cards"):
        found_of(batch.manifest, path)


def test_row_in_one_cell_is_not_skipped(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Two files with different delimiters were put together."""
    path = write_csv(tmp_path / "back.csv", rows[:8], ";", titles=TITLES)
    path.write_text(path.read_text() + "\n".join(map(",".join, rows[8:])))
    found = found_of(manifest, path)
    assert encoded(found) == set(range(1, 9))
    assert found.unknown == 4
    assert found.ledger.strays[0].why == "its UUID is in the column of something else, or all its cells are in one"


@pytest.mark.parametrize("nothing", ["n/a", "NaN", "-", "none"])
def test_words_for_an_empty_cell_are_no_chip(tmp_path: Path, manifest: Manifest, rows: Rows, nothing: str) -> None:
    """Of unused spares; a card that is ok needs a chip."""
    for row in rows:
        row[CHIP] = row[CHIP] or nothing
    assert is_clean(found_of(manifest, write_csv(tmp_path / "back.csv", rows)))
    rows[2][CHIP] = nothing
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert encoded(found) == ORDERED - {3}
    assert "its chip UID is empty" in next(each.reason for each in found.ledger if each.card.number == 3)


def test_second_chip_without_a_result_is_a_warning(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Nothing says whether the UUID is on it, too."""
    path = write_csv(tmp_path / "back.csv", [*rows, ["", rows[2][UUID], "", "", "04AABBCCDDEE80", "", ""]])
    found = found_of(manifest, path)
    assert found.good
    assert "line 14: lists another chip without a result; according to back.csv, line 4" in str(found.warnings[0])


@pytest.mark.parametrize(("note", "doubts"), [("", False), ("to Jo", False), ("not used", False), ("defective", True)])
def test_card_listed_again_without_a_result_is_named(
    tmp_path: Path, manifest: Manifest, rows: Rows, note: str, *, doubts: bool
) -> None:
    """It may have been set aside; if its note says so, it is in doubt."""
    found = found_of(manifest, write_csv(tmp_path / "back.csv", [*rows, ["", rows[2][UUID], "", "", "", "", note]]))
    assert encoded(found) == ORDERED - ({3} if doubts else set())
    if not doubts:
        assert "line 14: lists the card again without a result" in str(found.warnings[0])


def test_counts_below_chips_and_results_are_skipped(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A line of totals is named if they are wrong."""
    for total in (
        ["Total", "", "", "", "10", "10", ""],
        ["Total", "", "", "", "10 cards", "10 cards", ""],
        ["", "", "", "", "Total ok:", "10", ""],
        ["Good: 10", "", "Total: 10"],
    ):
        assert is_clean(found_of(manifest, write_csv(tmp_path / "a.csv", [*rows, total])))
    # A row without a UUID and a card number may still be about a card.
    for row in (["", "", "", "", "04A1B2C3D4", "1", ""], ["", "", rows[2][CHECK], "", "", "1", ""]):
        assert found_of(manifest, write_csv(tmp_path / "c.csv", [*rows, row])).unknown == 1
    found = found_of(manifest, write_csv(tmp_path / "b.csv", [*rows, ["Total", "", "", "", "9", "9 ok", ""]]))
    assert found.good
    assert "line 14: skipped" in str(found.warnings[0])


def test_column_that_repeats_check_values_is_not_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Under a title of another language."""
    titles = list(TITLES)
    titles[2] = "Kontrola"
    assert is_clean(found_of(manifest, write_csv(tmp_path / "a.csv", rows, titles=titles)))
    rows[2][2] = "XXXXXX"
    assert "“Kontrola”" in str(found_of(manifest, write_csv(tmp_path / "b.csv", rows, titles=titles)).warnings[0])


def test_titles_that_are_shifted_are_an_error(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """R writes the numbers of the rows without a title."""
    path = write_csv(tmp_path / "back.csv", [[str(at), *row] for at, row in enumerate(rows, 1)])
    with pytest.raises(InputError, match="has its UUIDs below “Check”, as if the titles were shifted or swapped"):
        found_of(manifest, path)


def test_file_that_is_given_twice_is_rejected(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """It would be a warning for each row."""
    path = write_csv(tmp_path / "back.csv", rows)
    with pytest.raises(InputError, match="is given more than once"):
        found_of(manifest, path, tmp_path / ".." / tmp_path.name / path.name)


def test_results_and_chips_may_come_in_separate_files(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Without a warning, if there is a chip for each card."""
    results = write_csv(tmp_path / "a.csv", [[row[UUID], row[RESULT]] for row in rows], titles=["UUID", "Result"])
    chips = [[row[UUID], row[CHIP]] for row in rows if row[CHIP]]
    assert is_clean(found_of(manifest, results, write_csv(tmp_path / "b.csv", chips, titles=["UUID", "Chip UID"])))


@pytest.mark.parametrize(("marked", "is_named"), [(4, True), (13, False)])
def test_marked_card_in_a_list_of_all_is_a_warning(
    tmp_path: Path, manifest: Manifest, rows: Rows, marked: int, *, is_named: bool
) -> None:
    """Unused spares are no part of it."""
    protocol = [["UUID", "Chip UID"], *([row[UUID], row[CHIP]] for row in rows)]
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Protocol", protocol))
    book = openpyxl.load_workbook(path)
    book["Protocol"][f"A{marked}"].fill = PatternFill("solid", fgColor="FFFF0000")
    book.save(path)
    found = found_of(manifest, path)
    assert encoded(found) == ORDERED
    assert ["1 row counts as encoded, but looks different" in str(each) for each in found.warnings] == [True] * is_named


def test_protocol_that_repeats_chips_adds_nothing(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """In any notation; with another chip of a card, all its rows are in doubt, and the table is named."""
    back = write_csv(tmp_path / "back.csv", rows)

    def protocol(rows: Rows) -> Path:
        table = [["14:05", row[UUID], ":".join(wrap(row[CHIP], 2))] for row in rows if row[CHIP]]
        return write_csv(tmp_path / "protocol.csv", table, titles=["Time", "UUID", "Chip UID"])

    assert is_clean(found_of(manifest, back, protocol(rows)))
    rows[2][CHIP] = "04112233445580"
    found = found_of(manifest, back, protocol(rows))
    assert encoded(found) == set()
    assert "has no results, though other tables have" in str(found.warnings)


@pytest.mark.parametrize(
    ("title", "text", "bad"),
    [
        ("Error code", "0x0000", "0x6300"), ("Error", "NO_ERROR", "SW 6300"), ("Fehler", "kein Fehler", "C4"),
        ("Defects", "No defects found", "defects found"),
        ("Last error", "Success", "sharing violation"), ("Errors", "00", "01"), ("Destroyed", "no", "ok"),
    ],
)  # fmt: skip
def test_column_that_denies_all_errors_is_harmless(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, text: str, bad: str
) -> None:
    """Any other text stops the run."""
    values = [text for _ in rows]
    assert is_clean(found_of(manifest, column(tmp_path / "back.csv", rows, title, values)))
    values[2] = bad
    with pytest.raises(InputError, match="seems to hold results"):
        found_of(manifest, column(tmp_path / "back.csv", rows, title, values))


@pytest.mark.parametrize("part", [slice(8), slice(-12, None), slice(2, 10)])
def test_column_with_a_part_of_each_uuid_is_harmless(
    tmp_path: Path, manifest: Manifest, rows: Rows, part: slice
) -> None:
    """Its start or its end; anything else may be a chip UID."""
    path = column(tmp_path / "back.csv", rows, "Key", [row[UUID].replace("-", "")[part] for row in rows])
    if part.start == 2:
        with pytest.raises(InputError, match="seems to hold chip UIDs"):
            found_of(manifest, path)
    else:
        assert is_clean(found_of(manifest, path))


@pytest.mark.parametrize("form", ["{}/12", "SPRING-{:0>4}", "Card {} of 12"])
def test_card_numbers_may_have_any_form(tmp_path: Path, manifest: Manifest, rows: Rows, form: str) -> None:
    """If all have the same."""
    for row in rows:
        row[0] = form.format(row[0])
    assert is_clean(found_of(manifest, write_csv(tmp_path / "back.csv", rows)))


def test_results_in_a_file_of_rejects_are_a_warning(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """The name contradicts them; a file of cards that were encoded again may be called anything."""
    for name, is_named in (("rejects.csv", True), ("spring v2 final.csv", False)):
        found = found_of(manifest, write_csv(tmp_path / name, rows))
        assert found.good
        assert ["but its results count" in str(each) for each in found.warnings] == [True] * is_named
    again = [ReturnedFile(write_csv(tmp_path / "a.csv", rows)), ReturnedFile(tmp_path / "rejects.csv", again=True)]
    assert not [each for each in reconcile(manifest, again, Reading(cards=12)).warnings if "results count" in each.rule]


@pytest.mark.parametrize("table", [[["Failed"], [3]], [["ok", "failed"], ["", 3]], [["Failed", 3]], [["Some failed"]]])
def test_result_above_or_beside_numbers_stops_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, table: list[list[Any]]
) -> None:
    """It is more than a choice."""
    with pytest.raises(InputError):
        found_of(manifest, sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Lists", table)))


def test_list_of_some_cards_under_an_unknown_name_stops_the_run(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Without results, nothing says that they are good; the others may come in another file."""
    titles, listed = ["UUID", "Chip UID"], [[row[UUID], row[CHIP]] for row in rows]
    bent = write_csv(tmp_path / "bent.csv", listed[:3], titles=titles)
    with pytest.raises(InputError, match="has no results, and lists only 3 of 10 ordered cards: they may have failed"):
        found_of(manifest, bent)
    said = reconcile(manifest, [ReturnedFile(bent)], Reading({"result": ""}, cards=12))
    assert encoded(said) == {1, 2, 3}
    rest = write_csv(tmp_path / "box 2.csv", listed[3:10], titles=titles)
    assert encoded(found_of(manifest, rest)) == set(range(4, 11))
    assert is_clean(found_of(manifest, write_csv(tmp_path / "acme.csv", listed[:10], titles=titles)))
    # Cards that were encoded again are always some.
    files = [ReturnedFile(write_csv(tmp_path / "one.csv", rows)), ReturnedFile(bent, again=True)]
    assert reconcile(manifest, files, Reading(cards=12)).good
