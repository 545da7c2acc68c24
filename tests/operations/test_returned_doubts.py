"""More vendors' files that are in doubt: none of these cards may count as encoded.

For each kind of doubt there is a similar file without doubt, which is read.
"""

import zipfile
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import openpyxl
import pytest
from openpyxl.comments import Comment
from openpyxl.styles import Font

from dataloader.batch import Manifest, Verdict
from dataloader.common import InputError
from dataloader.operations import generate
from dataloader.operations.reconcile import Reconciliation, ReturnedFile, reconcile
from dataloader.vendor.returned import Reading, read_named
from tests.support.marks import crossed
from tests.support.returned_files import (
    CHECK,
    CHIP,
    NOTE,
    NUMBER,
    OTHER_UUID,
    RESULT,
    SNAPSET,
    TITLES,
    UUID,
    Rows,
    column,
    good_rows,
    sheets,
    write_csv,
    write_xlsx,
)

ALL = set(range(1, 11))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of ten cards without spares."""
    return generate("doubts", {"snapset_1a": 6, "empty": 4}, tmp_path_factory.mktemp("doubts")).manifest


@pytest.fixture
def rows(manifest: Manifest) -> Rows:
    """The rows of the batch, as a careful vendor fills them in."""
    return good_rows(manifest)


def found_of(manifest: Manifest, *paths: Path, **how: Any) -> Reconciliation:
    """Reconcile files."""
    return reconcile(manifest, [ReturnedFile(path) for path in paths], Reading(cards=10, **how))


def encoded(manifest: Manifest, *paths: Path, **how: Any) -> set[int]:
    """Return the numbers of the cards that count as encoded; empty if the files are rejected in one line."""
    try:
        found = found_of(manifest, *paths, **how)
    except InputError as error:
        return set() if len(error.problems) == 1 else ALL
    return {each.card.number for each in found.ledger if each.verdict is Verdict.ENCODED}


# Columns.


@pytest.mark.parametrize(
    ("title", "good", "bad"),
    [
        ("QC", "OK", "KO"), ("Prüfung", "✓", "✗"), ("Kontrol", "godkendt", "kasseret"), ("Wynik", "dobry", "zły"),
        ("Результат", "годен", "брак"), ("结果", "成功", "失败"), ("検査", "良品", "不良"), ("검사", "양호", "불량"),
        ("Lesbar", "WAHR", "FALSCH"), ("Lisible", "VRAI", "FAUX"), ("Rejected", "N", "F"), ("Uji", "baik", "gagal"),
        ("Exceptions", "", "sticky"),
        ("Sonuc", "basarili", "hatali"),
        ("Tulos", "hyväksytty", "hylätty"), ("Final", "ok", "pending"), ("Final", "ok", "re-encode"),
        ("Good", "y", "n"),
        ("Readable", "true", "false"), ("Status", "done", "open"), ("Encoded", "yes", "no"), ("Encoded", "14:05", ""),
        ("Verified", "yes", ""), ("Status code", "0", "12"), ("Action", "", "destroy"), ("Result 2", "ok", "KO"),
        ("Class", "grün", "rot"), ("Code", "OK", "E17"), ("Code", "OK", ""), ("Reason", "", "locked"),
        ("Verify", "Y", "N"), ("SW Verify", "9000", "6300"), ("Response", "ACK", "NAK"), ("ErrorCode", "0", "12"),
        ("Fehlertext", "", "Tag lost"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("without", [(), (RESULT,)], ids=["beside results", "without results"])
def test_contradicting_column_is_noticed(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, good: str, bad: str, without: Sequence[int]
) -> None:
    """In any language, under any title: card 3 is not encoded, or the run stops."""
    values = [bad if at == 2 else good for at in range(10)]
    assert 3 not in encoded(manifest, column(tmp_path / "back.csv", rows, title, values, without=without))


@pytest.mark.parametrize(("good", "bad"), [("A", "B"), ("0", "1"), ("1", "3"), ("x", ""), ("", "7")])
def test_unknown_categories_without_results_stop_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, good: str, bad: str
) -> None:
    """The column may be the results; --column says what it is, or that there are none."""
    values = [bad if at == 2 else good for at in range(10)]
    path = column(tmp_path / "back.csv", rows, "Class", values, without=(RESULT,))
    assert encoded(manifest, path) == set()
    assert encoded(manifest, path, columns={"result": ""}) == ALL
    # If there are results, it is only named.
    found = found_of(manifest, column(tmp_path / "with.csv", rows, "Class", values))
    assert found.good
    assert "“Class”" in str(found.warnings[0])


@pytest.mark.parametrize(
    ("title", "values"),
    [
        ("Operator", ["Jo", "Al"]), ("Box", ["1", "2"]), ("Read only", ["yes", "no"]), ("Encoded at", ["9:00", "9:05"]),
        ("UID mirror", ["no", "no"]), ("URI type (URI, URL, File...)", ["en", "en"]),
        ("Tag type", ["NTAG213", "NTAG215"]),
    ],
)  # fmt: skip
def test_columns_of_common_tools_are_known(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, values: list[str]
) -> None:
    """They are not named and need no answer, but a failure in them is noticed."""
    path = column(tmp_path / "back.csv", rows, title, values * 5, without=(RESULT,))
    found = found_of(manifest, path)
    assert found.good
    assert not [str(each) for each in found.warnings if "not understood" in str(each)]
    assert 3 not in encoded(manifest, column(path, rows, title, ["a", "a", "write error", *["a"] * 7]))


@pytest.mark.parametrize(
    ("title", "value", "wanted"),
    [("Verify", "OK", ALL), ("Printed", "yes", ALL), ("Reserve", "no", ALL), ("Verified", "no", set())],
)
def test_column_that_says_the_same_of_all_cards_sorts_none(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, value: str, wanted: set[int]
) -> None:
    """Without results: if it is about the encoding, all are good. Rows without a chip UID are not encoded anyway."""
    path = column(tmp_path / "back.csv", rows, title, [value] * 10, without=(RESULT,))
    assert encoded(manifest, path) == wanted
    rows[4][CHIP] = ""
    path = column(path, rows, title, [value if at != 4 else "" for at in range(10)], without=(RESULT,))
    assert encoded(manifest, path) == wanted - {5}


@pytest.mark.parametrize(
    ("title", "values"),
    [
        ("Test date", ["1 Nov", "2 Nov"]),
        ("Test station", ["A", "B"]),
        ("Fehlerfrei", ["ja", "ja"]),
        ("Step", ["1", "2"]),
    ],
)  # fmt: skip
def test_titles_like_those_of_results_are_harmless(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, values: list[str]
) -> None:
    """They have other words, or deny failures."""
    assert found_of(manifest, column(tmp_path / "back.csv", rows, title, values * 5)).good


def test_chip_uids_that_were_read_back_must_be_complete(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A card that could not be read back may not be encoded; one without a chip UID is in doubt anyway."""
    chips = [row[CHIP] if at != 2 else "" for at, row in enumerate(rows)]
    path = column(tmp_path / "back.csv", rows, "Read back", chips)
    with pytest.raises(InputError, match="seems to hold chip UIDs"):
        found_of(manifest, path)
    assert encoded(manifest, path, columns={"chip": "Chip UID"}) == ALL
    rows[2][CHIP] = ""
    assert encoded(manifest, column(path, rows, "Read back", chips)) == ALL - {3}


def test_column_that_sorts_cards_is_named_with_its_texts(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Beside results, codes with an unknown meaning are only a warning: it says which rows have which."""
    path = column(tmp_path / "back.csv", rows, "Code", ["17" if at == 2 else "0" for at in range(10)])
    found = found_of(manifest, path)
    assert found.good
    assert "“Code” (“0” from line 2, “17” from line 4)" in str(found.warnings[0])
    path = column(path, rows, "Checked", ["FALSE" if at == 2 else "TRUE" for at in range(10)])
    shown = "“Checked” (did you mean Check?; “TRUE” from line 2, “FALSE” from line 4)"
    assert shown in str(found_of(manifest, path).warnings[0])


@pytest.mark.parametrize("title", ["Rejected", "Defekt", "Erreur"])
@pytest.mark.parametrize("mark", ["✓", "☑", "✔️", "●", "🔴", "!", "*", "+"])
def test_mark_below_a_title_for_failures_stops_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, mark: str
) -> None:
    """A tick says that the card is one of them; an empty box or a dash does not."""
    path = column(tmp_path / "back.csv", rows, title, [mark if at == 2 else "" for at in range(10)])
    assert encoded(manifest, path) == set()
    path = column(path, rows, title, [mark if at == 2 else "☐" for at in range(10)])
    assert encoded(manifest, path) == set()
    for empty in ("☐", "-", "[ ]"):
        assert encoded(manifest, column(path, rows, title, [empty] * 10)) == ALL


@pytest.mark.parametrize(
    ("good", "bad"),
    [("✓", ""), ("✔️", "-"), ("√", "\N{MULTIPLICATION SIGN}"), ("☑", "☐"), ("🟢", "🔴"), ("●", ""), ("○", "△")],
)
def test_column_of_marks_that_differ_stops_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, good: str, bad: str
) -> None:
    """Marks are results under any title; the same for all cards, or one in a few rows, says nothing of the others."""
    path = column(tmp_path / "back.csv", rows, "QC", [bad if at == 2 else good for at in range(10)])
    assert encoded(manifest, path) == set()
    assert encoded(manifest, column(path, rows, "QC", [good] * 10)) == ALL
    assert encoded(manifest, column(path, rows, "Encoded", ["✓"] * 10)) == ALL
    path = column(path, rows, "VIP", ["★" if at == 2 else "" for at in range(10)])
    assert "“VIP” (“★” from line 4, nothing in 9 of 10 rows)" in str(found_of(manifest, path).warnings[0])


@pytest.mark.parametrize(("most", "shown"), [("✓", ""), ("ok", ""), ("", "no"), ("", "0")])
def test_harmless_note_that_only_some_cards_have_is_named(
    tmp_path: Path, manifest: Manifest, rows: Rows, most: str, shown: str
) -> None:
    """A person may have ticked the cards that were checked, or answered for one of them."""
    for at, row in enumerate(rows):
        row[NOTE] = shown if at == 2 else most
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert found.good
    assert "line 4" in str(found.warnings[0])
    for row in rows:
        row[NOTE] = most or shown
    assert not found_of(manifest, write_csv(tmp_path / "back.csv", rows)).warnings


def test_column_of_the_chips_numbers_must_have_all_of_them(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Chip UIDs as decimal numbers, in either byte order; card 3 has another card's."""
    orders: tuple[Literal["big", "little"], ...] = ("big", "little")
    for order in orders:
        numbers = [str(int.from_bytes(bytes.fromhex(row[CHIP]), order)) for row in rows]
        assert encoded(manifest, column(tmp_path / "good.csv", rows, "Code", numbers)) == ALL
        numbers[2] = numbers[8]
        assert encoded(manifest, column(tmp_path / "bad.csv", rows, "Code", numbers)) == set()


def test_uuid_that_was_read_back_must_match(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Another card's, which then occurs twice; with a prefix; or none."""
    own = [row[UUID] for row in rows]
    path = tmp_path / "back.csv"
    assert encoded(manifest, column(path, rows, "Read back", own)) == ALL
    forms: list[Callable[[str], str]] = [
        lambda uuid: uuid.replace("-", ""),
        lambda uuid: uuid.encode().hex(),
        lambda uuid: f"D1 01 27 54 02 65 6E {uuid.encode().hex(' ').upper()}",
    ]
    for form in forms:
        assert encoded(manifest, column(path, rows, "Read back", [*map(form, own)])) == ALL
        assert 3 not in encoded(manifest, column(path, rows, "Read back", [form(own[at // 3 * 3]) for at in range(10)]))
    for wrong in (own[1], own[9], f"en{own[3]}", ""):
        values = [*own[:2], wrong, *own[3:]]
        assert 3 not in encoded(manifest, column(path, rows, "Read back", values)), wrong


def test_chip_uid_of_the_row_in_another_column_is_harmless(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A different one is not."""
    chips = [row[CHIP].lower() for row in rows]
    assert encoded(manifest, column(tmp_path / "a.csv", rows, "Read back UID", chips)) == ALL
    for part in (slice(-8, None), slice(10)):
        assert encoded(manifest, column(tmp_path / "c.csv", rows, "UID short", [chip[part] for chip in chips])) == ALL
    chips[2] = "04FFFFFF5A8081"
    assert encoded(manifest, column(tmp_path / "b.csv", rows, "Read back UID", chips)) == set()


@pytest.mark.parametrize("letter", ["B", "E", "F"])
def test_hidden_column_counts_only_if_requested(tmp_path: Path, manifest: Manifest, rows: Rows, letter: str) -> None:
    """Hidden UUIDs, chip UIDs or results."""
    path = write_xlsx(tmp_path / "back.xlsx", rows)
    book = openpyxl.load_workbook(path)
    book.worksheets[0].column_dimensions[letter].hidden = True
    book.save(path)
    assert encoded(manifest, path) == set()
    assert encoded(manifest, path, include_hidden=True) == ALL


# Text outside the rows.


PLACES = ("above", "below", "above in a workbook", "below in a workbook", "on another sheet")


def written(folder: Path, rows: Rows, place: str, words: str) -> Path:
    """Write a returned file with words outside its rows."""
    path = folder / "back.csv"
    if place == "above":
        write_csv(path, rows)
        path.write_text(f"Delivery note\n{words}\n\n{path.read_text()}")
        return path
    if place == "below":
        return write_csv(path, [*rows, [], [words]])
    path = folder / "back.xlsx"
    if place == "on another sheet":
        return sheets(path, ("Cards", [TITLES, *rows]), ("Summary", [["Summary"], [words]]))
    below = [[words]] if place.startswith("below") else []
    return write_xlsx(path, [*rows, *below], above=[[words]] if place.startswith("above") else [])


TEXTS = (
    "Failed: 3",
    "# rejected cards: 3 and 7",
    "Ausschuss: Karte 3",
    "3 failed",
    "All ok except card 3",
    "No. of rejects: 3",
    "failed = the red ones",
    "Failure rate: 4.2 %",
    "Card 3 failed; we replace defective cards within 14 days",
    "Some cards were defective; they are under warranty",
    "Unreadable cards: warranty claim pending",
)
TERMS = (
    "Defective cards are replaced within 12 months of delivery.",
    "Gewährleistung: defekte Karten werden ersetzt",
    "Legend: ok = encoded and read back, failed = card not readable",
    "Result: ok, failed or spare",
    "Max. failure rate: 0.1 %",
    "Missing tag timeout (ms): 200",
)


@crossed("place, text", PLACES, TEXTS, share=4)
def test_failures_mentioned_outside_the_rows_stop_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, text: str, place: str
) -> None:
    """Above the titles, below the rows or on another sheet, if no column mentions them."""
    assert encoded(manifest, written(tmp_path, rows, place, text)) == set()


@pytest.mark.parametrize("place", PLACES)
def test_correct_totals_outside_the_rows_are_harmless(
    tmp_path: Path, manifest: Manifest, rows: Rows, place: str
) -> None:
    """No failures, or as many as the rows have."""
    assert encoded(manifest, written(tmp_path, rows, place, "Failed: 0")) == ALL
    assert encoded(manifest, written(tmp_path, rows, place, "10 cards, 10 ok")) == ALL
    rows[2][RESULT] = "failed"
    assert encoded(manifest, written(tmp_path, rows, place, "Failed: 1")) == ALL - {3}


@crossed("place, text", PLACES, TERMS, share=2)
def test_terms_and_legends_outside_the_rows_are_named(
    tmp_path: Path, manifest: Manifest, rows: Rows, text: str, place: str
) -> None:
    """They mention failures, but not that any of these cards failed."""
    found = found_of(manifest, written(tmp_path, rows, place, text))
    assert found.good
    assert any(text[:30] in str(each) or "sheet Summary" in str(each) for each in found.warnings)


@pytest.mark.parametrize(
    ("cell", "text", "stops"),
    [("F1", "ok, failed or spare", False), ("F4", "defekt, Reklamation", True), ("F4", "for Jo", False)],
)
def test_comments_are_about_their_cards(
    tmp_path: Path, manifest: Manifest, rows: Rows, cell: str, text: str, *, stops: bool
) -> None:
    """Unless they only explain what to fill in."""
    path = write_xlsx(tmp_path / "back.xlsx", rows)
    book = openpyxl.load_workbook(path)
    book.worksheets[0][cell].comment = Comment(text, "Jo")
    book.save(path)
    assert encoded(manifest, path) == (set() if stops else ALL)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("Rejects", [["No."], [3]]),
        ("Sheet2", [["Card number", "Reason"], [3, "locked"]]),
        ("Sheet2", [["Karte Nr.", "Grund"], [3, "gesperrt"]]),
        ("Sheet2", [["Kennung"], ["{uuid}"]]),
        ("Sheet2", [["Failed cards"], [3]]),
        ("Ausschuß", [["3"]]),
    ],
)
def test_sheet_of_cards_without_uuids_stops_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, name: str, table: list[list[Any]]
) -> None:
    """It would be skipped silently."""
    table = [[str(cell).format(uuid=rows[2][UUID]) for cell in row] for row in table]
    assert encoded(manifest, sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), (name, table))) == set()


def test_other_sheets_are_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """An address or a date is harmless."""
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Delivery", [["Tags & Co"], ["27 Nov 2026"]]))
    found = found_of(manifest, path)
    assert found.good
    assert str(found.warnings[0]).startswith("back.xlsx: not read: sheet Delivery: it has no column of UUIDs")


@pytest.mark.parametrize(
    "name",
    ["KO", "Rebuts", "Scarti", "Rechazados", "Odrzucone", "不良", "Retry", "Rework", "Nacharbeit", "Makulatur", "Waste",
     "To destroy", "Vernichten", "Брак", "Quarantine", "Gesperrt"],
)  # fmt: skip
def test_sheet_of_rejects_is_recognized_in_any_language(
    tmp_path: Path, manifest: Manifest, rows: Rows, name: str
) -> None:
    """In a delivery without results, where only its name says so."""
    table = [["UUID", "Chip UID"], *([row[UUID], row[CHIP]] for row in rows)]
    path = sheets(tmp_path / "back.xlsx", ("Cards", table[:8]), (name, [table[0], *table[8:]]))
    assert encoded(manifest, path) == set(range(1, 8))


def with_others(folder: Path, rows: Rows, name: str, *, is_book: bool) -> list[Path]:
    """Write a delivery without results, whose last cards are on a sheet, or in a file, of this name."""
    titles = ["UUID", "Chip UID"]
    good, bad = ([[row[UUID], row[CHIP]] for row in part] for part in (rows[:7], rows[7:]))
    if is_book:
        return [sheets(folder / "back.xlsx", ("Cards", [titles, *good]), (name, [titles, *bad]))]
    return [write_csv(folder / f"{each}.csv", part, titles=titles) for each, part in (("cards", good), (name, bad))]


@pytest.mark.parametrize("is_book", [True, False], ids=["sheets", "files"])
@pytest.mark.parametrize(
    "name", ["Returns", "Retouren", "Rückläufer", "Zurück", "À refaire", "Devoluciones", "Mängel", "Old", "Jo", "RMA-7"]
)
def test_sheet_or_file_that_may_list_rejects_encodes_nothing(
    tmp_path: Path, manifest: Manifest, rows: Rows, name: str, *, is_book: bool
) -> None:
    """In a delivery without results, whatever it is called, unless the operator says so."""
    paths = with_others(tmp_path, rows, name, is_book=is_book)
    assert encoded(manifest, *paths) in (set(), set(range(1, 8)))
    if name in {"Old", "Jo"}:
        assert encoded(manifest, *paths, columns={"result": ""}) == ALL


@pytest.mark.parametrize(
    ("names", "stops"),
    [
        (("Bin 1", "Bin 2"), True), (("1. Wahl", "2. Wahl"), True), (("A-Ware", "B-Ware"), True), (("+", "-"), True),
        (("Blad1", "Blad2"), False), (("ACME 3.11.", "ACME 4.11."), False),
    ],
)  # fmt: skip
def test_sheets_may_be_grades(
    tmp_path: Path, manifest: Manifest, rows: Rows, names: tuple[str, str], *, stops: bool
) -> None:
    """Without results, by a number or letter, where other sheets only continue."""
    table = [[row[UUID], row[CHIP]] for row in rows]
    named = [(name, [["UUID", "Chip UID"], *part]) for name, part in zip(names, (table[:7], table[7:]), strict=True)]
    assert encoded(manifest, sheets(tmp_path / "back.xlsx", *named)) == (set() if stops else ALL)


@pytest.mark.parametrize("title", ["Second choice", "Samples", "Retest"])
def test_names_that_may_sort_cards_are_named_beside_results(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str
) -> None:
    """The names of sheets and files, and headings: results count, but a person may have set cards apart."""
    one, rest = [TITLES, rows[2]], [TITLES, *rows[:2], *rows[3:]]
    files = [write_csv(tmp_path / "back.csv", rest[1:]), write_csv(tmp_path / f"back {title}.csv", one[1:])]
    for paths in (
        [sheets(tmp_path / "a.xlsx", ("Cards", rest), (title, one))],
        [sheets(tmp_path / "b.xlsx", ("Cards", rest), ("Sheet2", [[title], *one]))],
        files,
    ):
        found = found_of(manifest, *paths)
        assert found.good
        [warning] = found.warnings
        assert f"{title}”" in str(warning)
        assert "count according to their results" in str(warning)
    assert not found_of(manifest, sheets(tmp_path / "c.xlsx", ("Box 1", rest), ("Box 2", one))).warnings


@pytest.mark.parametrize("title", ["", "QC"])
def test_failed_in_our_column_cannot_be_overruled(tmp_path: Path, manifest: Manifest, rows: Rows, title: str) -> None:
    """By an option that names another column, or none."""
    rows[2][RESULT] = "failed"
    path = column(tmp_path / "back.csv", rows, "QC", ["ok"] * 10)
    with pytest.raises(InputError, match=r"“Result” says “failed”, but --column result .* leave out --column result"):
        found_of(manifest, path, columns={"result": title})
    assert encoded(manifest, path, columns={"result": "Result"}) == ALL - {3}


@pytest.mark.parametrize(("heading", "stops"), [("Put aside by Jo", True), ("Box 2 of 2, 28 Nov 2026", False)])
def test_heading_of_a_sheet_may_say_that_it_lists_rejects(
    tmp_path: Path, manifest: Manifest, rows: Rows, heading: str, *, stops: bool
) -> None:
    """In a delivery without results, if those of the other sheets are different."""
    table = [[row[UUID], row[CHIP]] for row in rows]
    parts = [("Box 1 of 2, 27 Nov 2026", table[:7]), (heading, table[7:])]
    named = [(f"Sheet{at}", [[text], ["UUID", "Chip UID"], *part]) for at, (text, part) in enumerate(parts)]
    assert encoded(manifest, sheets(tmp_path / "back.xlsx", *named)) == (set() if stops else ALL)


@pytest.mark.parametrize("column", [CHECK, SNAPSET])
@pytest.mark.parametrize(("text", "is_failure"), [("VOID", True), ("do not use", True), ("Large", False)])
def test_failure_in_the_place_of_something_else_is_a_doubt(
    tmp_path: Path, manifest: Manifest, rows: Rows, column: int, text: str, *, is_failure: bool
) -> None:
    """Any other text there is a warning."""
    rows[2][column] = text
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == (ALL - {3} if is_failure else ALL)


@pytest.mark.parametrize("is_book", [True, False], ids=["sheets", "files"])
@pytest.mark.parametrize("name", ["Box 2", "doubts (2)", "Tabelle2", "Snapset 1a", "cards_encoded_2"])
def test_sheet_or_file_with_a_harmless_name_is_read(
    tmp_path: Path, manifest: Manifest, rows: Rows, name: str, *, is_book: bool
) -> None:
    """Its cards count as encoded, too."""
    assert encoded(manifest, *with_others(tmp_path, rows, name, is_book=is_book)) == ALL


@pytest.mark.parametrize(
    ("area", "text", "wanted"),
    [
        ("G2:G4", "do not use", ALL - {1, 2, 3}),
        ("H2:H4", "failed", set()),
        ("F2:F4", "failed", ALL - {1, 2, 3}),
        ("F2:F11", "ok", ALL),
        ("E2:E3", "04112233445580", ALL - {1, 2}),
        ("H2:H11", "ACR1252", ALL),
    ],
)
def test_merged_cells_are_about_all_their_rows(
    tmp_path: Path, manifest: Manifest, rows: Rows, area: str, text: str, wanted: set[int]
) -> None:
    """Programs keep the text in the first row only; a column beside the titles stops the run."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in [[*TITLES, "Station"], *([*row, "ACR1252"] for row in rows)]:
        sheet.append(row)
    sheet[area.partition(":")[0]] = text
    sheet.merge_cells(area)
    book.save(tmp_path / "back.xlsx")
    assert encoded(manifest, tmp_path / "back.xlsx") == wanted


def test_merged_result_that_is_struck_through_counts_for_no_row(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """The line through the text goes through each of its rows."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in [TITLES, *rows]:
        sheet.append(row)
    sheet["F2"].font = Font(strike=True)
    sheet.merge_cells("F2:F4")
    book.save(tmp_path / "back.xlsx")
    assert encoded(manifest, tmp_path / "back.xlsx") == ALL - {1, 2, 3}


@pytest.mark.parametrize(
    ("titles", "below", "areas"),
    [
        (TITLES, ["", "", "", "", "(hex)", "ok/failed", ""], ["B1:B2"]),
        ([*TITLES[:CHIP], "Encoding", "", ""], ["", "", "", "", *TITLES[CHIP:]], ["A1:A2", "B1:B2", "C1:C2", "D1:D2"]),
    ],
)
def test_merged_titles_are_read(
    tmp_path: Path, manifest: Manifest, rows: Rows, titles: list[str], below: list[str], areas: list[str]
) -> None:
    """Some titles are on two rows, others only on the first or the second."""
    rows[2][RESULT] = "failed"
    path = write_xlsx(tmp_path / "back.xlsx", [below, *rows], titles)
    book = openpyxl.load_workbook(path)
    for area in areas:
        book.worksheets[0].merge_cells(area)
    book.save(path)
    assert encoded(manifest, path) == ALL - {3}


@pytest.mark.parametrize("titles_again", [False, True])
def test_cards_below_an_unknown_heading_are_in_doubt(
    tmp_path: Path, manifest: Manifest, rows: Rows, *, titles_again: bool
) -> None:
    """In a delivery without results; the heading may say that they failed."""
    titles = ["Card number", "UUID", "Chip UID"]
    short_rows = [[row[NUMBER], row[UUID], row[CHIP]] for row in rows]

    def written(heading: str) -> Path:
        more = [titles] if titles_again else []
        table = [*short_rows[:7], [heading, "", ""], *more, *short_rows[7:]]
        return write_csv(tmp_path / "back.csv", table, titles=titles)

    assert encoded(manifest, written("Returns")) == set(range(1, 8))
    assert encoded(manifest, written("Box 2")) == ALL


@pytest.mark.parametrize("table", [[["3"]], [[3], [7]], [["3, 7"]], [["#3"]], [["3-5", "sticky"]], [["", "{chip}"]]])
def test_unread_sheet_of_numbers_or_chips_stops_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, table: list[list[Any]]
) -> None:
    """It may list the cards that failed; counts and dates are harmless."""
    table = [[str(cell).format(chip=rows[2][CHIP]) for cell in row] for row in table]
    path = tmp_path / "back.xlsx"
    assert encoded(manifest, sheets(path, ("Cards", [TITLES, *rows]), ("Sheet2", table))) == set()
    harmless: Rows = [["Boxes", 3], ["27-11-2026"], [2026], ["04821 Leipzig"]]
    steps = sheets(path, ("Cards", [TITLES, *rows]), ("Read me", [["1", "Write the UUID"], ["2", "Enter the result"]]))
    assert encoded(manifest, steps) == ALL
    assert encoded(manifest, sheets(path, ("Cards", [TITLES, *rows]), ("Sheet2", harmless))) == ALL


def test_number_of_a_card_below_the_rows_is_not_skipped(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A list of card numbers without results; the exit code says that somebody must look."""
    for line in (["3"], ["3", *[""] * 5, "sticky"]):
        assert found_of(manifest, write_csv(tmp_path / "back.csv", [*rows, line])).unknown == 1


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("this one failed", True), ("now 04:AA:BB:CC:DD:EE:80", True), (f"wrote {OTHER_UUID}", True),
        ("my favourite", False), (f"{'seen at the second station, ' * 9}and failed", True),
    ],
)  # fmt: skip
def test_cell_comments_are_noticed(tmp_path: Path, manifest: Manifest, rows: Rows, text: str, *, stops: bool) -> None:
    """Those about a failure, a UUID or a chip UID stop the run, others are counted."""
    path = write_xlsx(tmp_path / "back.xlsx", rows)
    book = openpyxl.load_workbook(path)
    book.worksheets[0]["F4"].comment = Comment(text, "Jo")
    book.save(path)
    assert encoded(manifest, path) == (set() if stops else ALL)
    if not stops:
        assert "1 comment on cells" in str(found_of(manifest, path).warnings[0])


_DRAWING = """<xdr:wsDr xmlns:xdr="http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing" \
xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><xdr:sp><xdr:txBody><a:p><a:t>{}</a:t></a:p>\
</xdr:txBody></xdr:sp></xdr:wsDr>"""
_RELATIONS = """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">\
<Relationship Id="rId1" Target="../drawings/drawing1.xml" \
Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/drawing"/></Relationships>"""


def with_drawing(path: Path, drawing: str) -> Path:
    """Add a drawing to the first sheet of a workbook."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/drawings/drawing1.xml", drawing)
        archive.writestr("xl/worksheets/_rels/sheet1.xml.rels", _RELATIONS)
    return path


_ANCHOR = (
    "<xdr:twoCellAnchor><xdr:from><xdr:col>{}</xdr:col><xdr:row>{}</xdr:row></xdr:from><xdr:{}/></xdr:twoCellAnchor>"
)


@pytest.mark.parametrize(
    ("at", "kind", "is_named"),
    [((1, 3), "cxnSp", True), ((0, 10), "pic", True), ((0, 10), "sp", True), ((0, 0), "pic", False),
     ((9, 3), "pic", False), ((0, 11), "pic", False), ((0, 3), "graphicFrame", False)],
)  # fmt: skip
def test_line_or_picture_on_cards_is_named(
    tmp_path: Path, manifest: Manifest, rows: Rows, at: tuple[int, int], kind: str, *, is_named: bool
) -> None:
    """It may cross out a card; a logo above or beside the table, or a signature below it, does not."""
    drawing = _DRAWING.partition("<xdr:sp>")[0] + _ANCHOR.format(*at, kind) + "</xdr:wsDr>"
    found = found_of(manifest, with_drawing(write_xlsx(tmp_path / "back.xlsx", rows), drawing))
    assert found.good
    assert ["a picture or line on" in str(each) for each in found.warnings] == [True] * is_named


def test_form_controls_are_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A checkbox for each card, whose state is in no cell; comments are stored like that, too."""
    path = write_xlsx(tmp_path / "a.xlsx", rows)
    book = openpyxl.load_workbook(path)
    book.worksheets[0]["F4"].comment = Comment("tested", "Jo")
    book.save(path)
    assert "form control" not in str(found_of(manifest, path).warnings[0])
    with zipfile.ZipFile(path) as package, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as changed:
        for name in package.namelist():
            # With a comment on each of many cards, the part is large.
            control = b" " * 6_000_000 + b'ObjectType="Checkbox"'
            changed.writestr(name, package.read(name).replace(b'ObjectType="Note"', control))
    [warning] = found_of(manifest, tmp_path / "b.xlsx").warnings
    assert "1 checkbox or other form control" in str(warning)
    with pytest.raises(InputError, match="has checkboxes or other form controls"):
        read_named(tmp_path / "b.xlsx")


def test_pictures_on_a_sheet_of_their_own_are_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """It may be a photograph of a list of rejects."""
    drawing = _DRAWING.partition("<xdr:sp>")[0] + _ANCHOR.format(0, 0, "pic") + "</xdr:wsDr>"
    path = sheets(tmp_path / "back.xlsx", ("Photos", []), ("Cards", [TITLES, *rows]))
    assert "sheet Photos: 1 picture or line" in str(found_of(manifest, with_drawing(path, drawing)).warnings)


@pytest.mark.parametrize(("text", "stops"), [("Card 3 failed", True), ("Tags &amp; Co", False)])
def test_text_boxes_are_noticed(tmp_path: Path, manifest: Manifest, rows: Rows, text: str, *, stops: bool) -> None:
    """Like comments."""
    path = with_drawing(write_xlsx(tmp_path / "back.xlsx", rows), _DRAWING.format(text))
    assert encoded(manifest, path) == (set() if stops else ALL)
    if not stops:
        assert "1 text box" in str(found_of(manifest, path).warnings[0])


@pytest.mark.parametrize(
    "note",
    ["KO", "chip defective", "wrote {other}", "rejected", "now on 04AABBCCDDEE80", "chip 04:AA:BB:CC:DD:EE:80",
     "d\ufffdfectueux", "besch?digt", "?chou\u00e9", "not verified", "d&eacute;fectueux",
     "실패", "funktioniert nicht", "не записано", "doesn't work", "no response", "no pass",
     "nicht in Ordnung", "nicht bestanden", "未通过", "write error", "verification failed", "Schreibfehler",
     "未写入", "hors service",
     "no grabada", "nieczytelna", "не работает", "okunam\u0131yor", "không đọc được", "לא עובד", "fai\u200bled",
     "échec".encode().decode("cp1252"), "échec".encode().decode("mac_roman"), "NOT ENC\u00adODED"],
)  # fmt: skip
def test_note_that_contradicts_ok_is_a_doubt(tmp_path: Path, manifest: Manifest, rows: Rows, note: str) -> None:
    """A failure, even with invisible or wrongly read characters; another card's UUID; another chip."""
    rows[2][NOTE] = note.format(other=rows[3][UUID])
    rows[4][NOTE] = f"read back {rows[4][UUID]} on {rows[4][CHIP].lower()}"
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL - {3}


def test_notes_that_are_not_understood_are_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """In one warning; those that only say that all is well are not."""
    for at, note in enumerate(["returned", "leer", "returned", "tested ok", "27.11.2026"]):
        rows[at][NOTE] = note
    [warning] = found_of(manifest, write_csv(tmp_path / "back.csv", rows)).warnings
    assert str(warning).startswith(
        "back.csv: 3 rows count as encoded, but have a note: “returned” (line 2) and “leer” (line 3)"
    )


@pytest.mark.parametrize("note", ["\N{WASTEBASKET}", "!!", "<--", "\u202edeliaf", f"{'ok ' * 30}cracked"])
def test_note_without_plain_words_is_named(tmp_path: Path, manifest: Manifest, rows: Rows, note: str) -> None:
    """A picture, words that are shown in reverse, or beyond the part of a note that is shown."""
    rows[2][NOTE] = note
    assert "(line 4)" in str(found_of(manifest, write_csv(tmp_path / "back.csv", rows)).warnings[0])


def test_result_that_is_shown_in_reverse_is_a_doubt(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """People see ``ko``."""
    rows[2][RESULT] = "\u202eok"
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL - {3}


@pytest.mark.parametrize("mark", ["({})", "[{}]", "<{}>", "#{}", "{}.", "CSN {}", "urn:nfc:sn:{}", "{} (7 bytes)"])
def test_marked_chip_uid_is_a_doubt(tmp_path: Path, manifest: Manifest, rows: Rows, mark: str) -> None:
    """In brackets or the like, unless most are, or beside words, unless all are; decimal numbers are in doubt."""
    table = [list(row) for row in rows]
    rows[2][CHIP] = mark.format(rows[2][CHIP])
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL - {3}
    for row in table:
        row[CHIP] = mark.format(row[CHIP])
    assert encoded(manifest, write_csv(tmp_path / "back.csv", table)) == ALL
    for at, row in enumerate(table):
        row[CHIP] = mark.format(10_007_919 + 77_717 * at)
    assert encoded(manifest, write_csv(tmp_path / "back.csv", table)) == set()


@pytest.mark.parametrize("mark", ["lost {}", "{} (bad)"])
def test_words_beside_all_chip_uids_may_mean_failures(
    tmp_path: Path, manifest: Manifest, rows: Rows, mark: str
) -> None:
    """Then none of them counts."""
    for row in rows:
        row[CHIP] = mark.format(row[CHIP])
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == set()


@pytest.mark.parametrize("titles", [["UUID"], ["UUID", "Chip UID"]])
def test_list_of_some_cards_beside_results_stops_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, titles: Sequence[str]
) -> None:
    """It may list the good ones, or the others."""
    listed = [[row[TITLES.index(title)] for title in titles] for row in rows[:8]]
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Shipped", [titles, *listed]))
    with pytest.raises(InputError, match="sheet Shipped: has no results, but lists 8 of the 10 cards that are ok"):
        found_of(manifest, path)


@pytest.mark.parametrize("keep", [(UUID, CHIP, RESULT), (UUID, CHIP)], ids=["beside results", "without results"])
@pytest.mark.parametrize(
    ("name", "titles", "cell", "wanted"),
    [
        ("packing list", ["UUID"], "", ALL),
        ("packing list", ["UUID", "Note"], "", ALL),
        ("packing list", ["UUID", "Note"], "fell out", ALL - {3}),
        ("packing list", ["UUID", "Reason"], "", set()),
        ("scrap", ["UUID"], "", set()),
    ],
)
def test_list_of_all_cards_adds_nothing(
    tmp_path: Path,
    manifest: Manifest,
    rows: Rows,
    keep: Sequence[int],
    name: str,
    titles: Sequence[str],
    cell: str,
    wanted: set[int],
) -> None:
    """Unless it says that they failed; a list of some cards stops the run."""
    back = write_csv(
        tmp_path / "back.csv", [[row[at] for at in keep] for row in rows], titles=[TITLES[at] for at in keep]
    )
    table = [[row[UUID], cell if at == 2 else ""][: len(titles)] for at, row in enumerate(rows)]
    listed = write_csv(tmp_path / f"{name}.csv", table, titles=titles)
    assert encoded(manifest, back, listed) == wanted
    if wanted:
        assert "only lists the cards" in str(found_of(manifest, back, listed).warnings)
        del table[4]
        with pytest.raises(InputError, match="has no results, but lists 9 of the 10 cards"):
            found_of(manifest, back, write_csv(listed, table, titles=titles))


@pytest.mark.parametrize("nothing", ["", "-"])
def test_card_without_a_chip_in_a_separate_list_is_in_doubt(
    tmp_path: Path, manifest: Manifest, rows: Rows, nothing: str
) -> None:
    """Results and chip UIDs come in two files; each card needs both."""
    results = write_csv(tmp_path / "a.csv", [[row[UUID], row[RESULT]] for row in rows], titles=["UUID", "Result"])
    rows[2][CHIP] = nothing
    chips = write_csv(tmp_path / "b.csv", [[row[UUID], row[CHIP]] for row in rows], titles=["UUID", "Chip UID"])
    assert encoded(manifest, results, chips) == ALL - {3}


def test_table_of_answers_stops_the_run(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Beside results of our own, it would put all cards in doubt."""
    verified = [["UUID", "Verified"], *([row[UUID], "yes"] for row in rows)]
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("QC", verified))
    with pytest.raises(InputError, match="its result is “yes”, and no result in the table of sheet QC is ok or failed"):
        found_of(manifest, path)
    unused = [["UUID", "Encoded"], [rows[9][UUID], "no"]]
    rows[9][RESULT] = "failed"
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Unused", unused))
    assert encoded(manifest, path) == ALL - {10}


def test_column_that_is_named_need_not_be_in_all_files(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Its other checks stay as they are in a file without it; it must be in one."""
    one = write_csv(tmp_path / "one.csv", [[row[UUID], row[CHIP]] for row in rows[:5]], titles=["Key", "Chip UID"])
    two = write_csv(tmp_path / "two.csv", [row[1:] for row in rows[5:]], titles=TITLES[1:])
    assert encoded(manifest, one, two, columns={"uuid": "Key", "result": ""}) == ALL
    seen = write_csv(
        tmp_path / "seen.csv", [[*row, "ok"] for row in rows[:5]], titles=[*TITLES[:RESULT], "x", "y", "Seen"]
    )
    rows[7][NOTE] = "failed"
    more = write_csv(tmp_path / "more.csv", rows[5:], titles=[*TITLES[:NOTE], "QC"])
    assert encoded(manifest, seen, columns={"result": "Seen"}) == ALL - set(range(6, 11))
    assert encoded(manifest, seen, more, columns={"result": "Seen"}) == set()
    with pytest.raises(InputError, match="no column “Sene” in its first 20 rows"):
        found_of(manifest, seen, columns={"uuid": "UUID", "number": "Sene"})


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 5000 + ":1", "9" * 5000 + ",00"])
def test_thousands_of_digits_are_read(tmp_path: Path, manifest: Manifest, rows: Rows, digits: str) -> None:
    """Python refuses to convert them to a number."""
    assert encoded(manifest, column(tmp_path / "back.csv", rows, "x", [digits] * 10)) == ALL
    rows[2][CHIP] = digits
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL - {3}


def test_question_is_not_a_lost_character(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Nor is a lost character in any other word."""
    for at, note in enumerate(["for Jo?", "gr\ufffd\ufffde", "ok?tested", "why?", "caf?"]):
        rows[at][NOTE] = note
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL


NUMBERS: dict[str, Callable[[str], Any]] = {
    "hash": lambda number: f"#{number}",
    "word": lambda number: f"Card No. {number}",
    "float": lambda number: f"{number}.0",
    "zeros": lambda number: f" {number:0>5} ",
    "full width": lambda number: chr(0xFF10 + int(number) % 10) if len(number) == 1 else number,
    "date": lambda number: date(1900, 1, int(number)),
}


@pytest.mark.parametrize("form", NUMBERS)
def test_card_numbers_are_read_in_any_form(tmp_path: Path, manifest: Manifest, rows: Rows, form: str) -> None:
    """Without check values, they show that the UUIDs of two cards are swapped."""
    table = [[NUMBERS[form](row[NUMBER]), row[UUID], row[CHIP], row[RESULT]] for row in rows]
    path, titles = tmp_path / "back.xlsx", ["Card number", "UUID", "Chip UID", "Result"]
    found = found_of(manifest, write_xlsx(path, table, titles))
    assert found.good
    assert not found.warnings
    table[2][1], table[4][1] = table[4][1], table[2][1]
    assert encoded(manifest, write_xlsx(path, table, titles)) == ALL - {3, 5}


@pytest.mark.parametrize("mark", ["{}*", "# {}", "//{}", "-{}", "x{}", "({})", "{}\u0336", "{} (!)", "{}\u00b2"])
def test_marked_card_number_is_a_doubt(tmp_path: Path, manifest: Manifest, rows: Rows, mark: str) -> None:
    """If most other numbers do not have the mark, or if it says that the card failed."""
    table = [list(row) for row in rows]
    rows[2][NUMBER] = mark.format(rows[2][NUMBER])
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL - {3}
    for row in table:
        row[NUMBER] = mark.format(row[NUMBER])
    assert encoded(manifest, write_csv(tmp_path / "back.csv", table)) == ALL
    for row in table:
        row[NUMBER] += " KO"
    assert encoded(manifest, write_csv(tmp_path / "back.csv", table)) == set()


def test_totals_are_not_unknown_rows(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A line with words instead of a card number, and a sum below the results."""
    assert found_of(manifest, write_csv(tmp_path / "a.csv", [*rows, ["Total", *[""] * 4, "10 ok", ""]])).good
    # Or numbers without a word, or a signature.
    more = [[*[""] * 4, "10", "10 / 10", ""], ["Checked by", "J. Smith"]]
    assert found_of(manifest, write_csv(tmp_path / "d.csv", [*rows, *more])).good
    # Totals of failures need no warning if they are correct.
    assert not found_of(
        manifest, write_csv(tmp_path / "e.csv", [*rows, ["OK: 10"], ["Failed: 0"], ["NG", "0"]])
    ).warnings
    # A wrong total of failures stops the run, in whatever columns.
    assert encoded(manifest, write_csv(tmp_path / "c.csv", [*rows, ["Failed", "1"]])) == set()
    # With a card number, it is a card's row without its UUID.
    lost = ["3", *[""] * 4, "spoilt", ""]
    assert found_of(manifest, write_csv(tmp_path / "b.csv", [*rows, lost])).unknown == 1


# Chip UIDs.


@pytest.mark.parametrize("other", ["n/a", "-", "04ABCDEF", ""])
def test_decimal_uid_column_is_recognized_with_gaps(tmp_path: Path, manifest: Manifest, rows: Rows, other: str) -> None:
    """One cell without a number does not make the others hex."""
    for at, row in enumerate(rows):
        row[CHIP] = str(int(f"04A1B2{at:02X}", 16))
    rows[4][CHIP] = other
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) <= {5}


def test_hex_uids_without_letters_among_others_are_hex(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A few of them, among UIDs with letters."""
    for at, row in enumerate(rows):
        row[CHIP] = f"4{at}A1B2{at}7"
    rows[4][CHIP] = "45612387"
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL


ODD: dict[str, Callable[[str, int], str]] = {
    "padded at the front": lambda uid, _: f"000000{uid}",
    "padded at the end": lambda uid, _: f"{uid}000000",
    "the first part of a longer one": lambda _, at: f"8804A1{at:02X}",
    "a random number": lambda _, at: f"08F4A1{at:02X}",
}


@pytest.mark.parametrize("kind", ODD)
def test_impossible_uids_are_in_doubt(tmp_path: Path, manifest: Manifest, rows: Rows, kind: str) -> None:
    """They have the right number of digits, but no chip has such a UID."""
    for at, row in enumerate(rows):
        row[CHIP] = ODD[kind](row[CHIP], at)
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == set()


@pytest.mark.parametrize("uid", ["12345678", "DEADBEEF", "04000000000000", "00000000", "FFFFFFFFFFFFFF"])
def test_placeholder_uids_are_in_doubt(tmp_path: Path, manifest: Manifest, rows: Rows, uid: str) -> None:
    """Somebody without the UID typed these."""
    rows[2][CHIP] = uid
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL - {3}


FORMS: dict[str, Callable[[str], str]] = {
    "a lost zero": lambda uid: uid[1:],
    "lost zeros of bytes": lambda uid: ":".join(f"{byte:X}" for byte in bytes.fromhex(uid)),
    "decimal": lambda uid: str(int(uid, 16)),
    "decimal, reversed": lambda uid: str(int.from_bytes(bytes.fromhex(uid), "little")),
    "with a check byte": lambda uid: f"{uid}5A",
    "padded": lambda uid: f"000000{uid}",
    "padded at the end": lambda uid: f"{uid}000000",
    "with a status": lambda uid: f"{uid}9000",
    "one of two": lambda uid: f"{uid} / 04112233445566",
    "with letters for digits": lambda uid: uid.replace("0", "O").replace("1", "l"),
    "with a Cyrillic letter": lambda uid: uid.replace("A", "\N{CYRILLIC CAPITAL LETTER A}"),
    "with separators": lambda uid: f"{int(uid, 16):,}",
    "a dump with check bytes": lambda uid: f"{uid[:6]}9F{uid[6:]}C7",
    "decimal bytes": lambda uid: " ".join(map(str, bytes.fromhex(uid))),
    "without the maker": lambda uid: uid[2:],
}


@pytest.mark.parametrize("form", FORMS)
def test_chip_that_may_be_another_cards_is_a_duplicate(
    tmp_path: Path, manifest: Manifest, rows: Rows, form: str
) -> None:
    """Its UID is in doubt in one row, and a possible reading is in another."""
    rows[0][CHIP] = "04A1B2C3D4E580"
    rows[2][CHIP] = FORMS[form](rows[0][CHIP])
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    verdicts = {each.card.number: each for each in found.ledger if each.verdict is not Verdict.ENCODED}
    assert {number: each.verdict for number, each in verdicts.items()} == {1: "duplicate", 3: "failed"}
    assert "may be listed for card 3, too (back.csv, line 4)" in verdicts[1].reason


READERS: dict[str, Callable[[bytes], bytes]] = {
    "its bytes reversed": lambda uid: uid[::-1],
    "the hex digits of each byte swapped": lambda uid: bytes.fromhex("".join(f"{each:02X}"[::-1] for each in uid)),
    "the bits of each byte reversed": lambda uid: bytes(int(f"{each:08b}"[::-1], 2) for each in uid),
    "its bytes swapped in pairs": lambda uid: b"".join(uid[at : at + 2][::-1] for at in range(0, len(uid), 2)),
    "its bytes reversed and the hex digits of each byte swapped": lambda uid: bytes.fromhex(uid.hex()[::-1]),
    "its bytes reversed and the bits of each byte reversed": lambda uid: int(
        f"{int.from_bytes(uid):0{8 * len(uid)}b}"[::-1], 2
    ).to_bytes(len(uid)),
}
"""How a reader may change a chip's UID."""


@pytest.mark.parametrize(
    ("uid", "how"),
    [
        (uid, how)
        for uid in ("04A1B2C3D4E580", "A1B2C3D4", "04A1B2C3D4E5807F3B11")
        for how in READERS
        # An odd number of bytes has no pairs.
        if not ("pairs" in how and len(uid) == 14)
    ],
)
def test_chip_that_another_reader_read_differently_is_a_duplicate(
    tmp_path: Path, manifest: Manifest, rows: Rows, uid: str, how: str
) -> None:
    """The bytes or bits of its UID are in another order in another card's row, whether or not that is in doubt."""
    rows[0][CHIP] = uid
    changed = READERS[how](bytes.fromhex(uid)).hex().upper()
    rows[2][CHIP] = changed
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    reasons = {each.card.number: each.reason for each in found.ledger if each.verdict is Verdict.DUPLICATE}
    assert reasons.keys() == {1, 3}
    assert reasons[1] == reasons[3]
    assert how in reasons[1]
    rows[2][CHIP] = f"{changed}9000"
    found = found_of(manifest, write_csv(tmp_path / "doubt.csv", rows))
    verdicts = {each.card.number: each.verdict for each in found.ledger if each.verdict is not Verdict.ENCODED}
    assert verdicts == {1: "duplicate", 3: "failed"}


@pytest.mark.parametrize("form", ["{}", "{} 5A 80", "number"])
def test_chip_in_the_note_of_a_failed_row_is_shared(tmp_path: Path, manifest: Manifest, rows: Rows, form: str) -> None:
    """The failed card's UUID may be on it."""
    chip = rows[0][CHIP]
    spaced = bytes.fromhex(chip).hex(" ")
    written = {"{}": chip, "{} 5A 80": spaced, "number": str(int(chip, 16))}[form]
    rows[2][CHIP:] = ["", "failed", f"chip {written} was used"]
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == ALL - {1, 3}


@pytest.mark.parametrize(("step", "rest", "warns"), [(1, "", True), (-1, "", True), (2, "", False), (1, "A", False)])
def test_chip_uids_that_count_are_a_warning(
    tmp_path: Path, manifest: Manifest, rows: Rows, step: int, rest: str, *, warns: bool
) -> None:
    """A spreadsheet program counts on if a cell is dragged over those below; only digits at the end."""
    for at, row in enumerate(rows[2:6]):
        row[CHIP] = f"04A1B2C3D4{590 + step * at:04}{rest}"[-14:].rjust(14, "0")
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert ("chip UIDs count up or down from row to row: line 5 to 7" in str(found.warnings)) == warns


def test_number_of_a_failed_card_is_enough_for_a_doubt(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A correction below the table, or above it."""
    bad = ["3", "", "", "", "", "failed", "late"]
    assert encoded(manifest, write_csv(tmp_path / "back.csv", [*rows, bad])) == ALL - {3}
    assert encoded(manifest, write_csv(tmp_path / "back.csv", [bad, *rows])) == ALL - {3}


def test_rows_that_are_numbered_anew_stop_the_run(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """If there are no check values; otherwise, all chips would have to be destroyed."""
    titles = [TITLES[at] for at in (NUMBER, UUID, CHIP, RESULT)]
    table = [[str(at), row[UUID], row[CHIP], row[RESULT]] for at, row in enumerate(rows)]
    path = write_csv(tmp_path / "back.csv", table, titles=titles)
    with pytest.raises(InputError, match="9 of 10 cards have the number of another card beside their UUID"):
        found_of(manifest, path)
    assert encoded(manifest, path, columns={"number": ""}) == ALL


@pytest.mark.parametrize("form", [str.upper, "{{{}}}".format, lambda uuid: uuid.replace("-", "")])
@pytest.mark.parametrize("titles", [TITLES, [TITLES[at] for at in (UUID, CHIP, RESULT)]], ids=["all", "no numbers"])
def test_uuids_in_another_form_stop_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, form: Callable[[str], str], titles: Sequence[str]
) -> None:
    """Otherwise, all chips would have to be destroyed for the way in which a program lists them."""
    table = [[form(row[at]) if at == UUID else row[at] for at in map(TITLES.index, titles)] for row in rows]
    path = write_csv(tmp_path / "back.csv", table, titles=titles)
    with pytest.raises(InputError, match="10 UUIDs are those of the cards except for case, blanks or punctuation"):
        found_of(manifest, path)
    # In single rows, it is about these cards.
    rows[2][UUID] = form(rows[2][UUID])
    assert encoded(manifest, write_csv(path, rows)) == ALL - {3}


def test_file_with_most_rows_in_doubt_may_be_at_fault(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Ask for another file before all cards are encoded again."""
    shown = "10 rows are in doubt only because a chip UID or result is not readable or is a formula"
    good = [list(row) for row in rows]
    for row in rows:
        row[RESULT] = "=B2"
    found = found_of(manifest, write_xlsx(tmp_path / "back.xlsx", rows))
    assert found.is_unclear
    assert shown in str(found.warnings[-1])
    for row in rows:
        row[RESULT], row[CHIP] = "ok", f"{row[CHIP]}2"
    assert found_of(manifest, write_csv(tmp_path / "back.csv", rows)).is_unclear
    assert not found_of(manifest, write_csv(tmp_path / "back.csv", [*rows[:4], *good[4:]])).is_unclear


def test_chip_uids_of_two_readers_are_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """If one writes the bytes in reverse; also if each reads half of the cards."""
    for row in rows[5:]:
        row[CHIP] = bytes.fromhex(row[CHIP])[::-1].hex()
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert found.good
    assert "some begin with 04, the manufacturer's code, but these end with it" in str(found.warnings[0])


def test_counter_in_place_of_chip_uids_is_in_doubt(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """In hex: 00000009, 0000000A."""
    for at, row in enumerate(rows, 7):
        row[CHIP] = f"{at:08X}"
    assert encoded(manifest, write_csv(tmp_path / "back.csv", rows)) == set()


# Workbook packages.


def test_duplicate_part_names_are_rejected(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Programs differ in which one they show."""
    good = write_xlsx(tmp_path / "good.xlsx", rows)
    rows[2][RESULT] = "failed"
    bad = write_xlsx(tmp_path / "bad.xlsx", rows)
    path = tmp_path / "back.xlsx"
    part = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(good) as one, zipfile.ZipFile(bad) as two, zipfile.ZipFile(path, "w") as both:
        for name in one.namelist():
            both.writestr(name, one.read(name))
        both.writestr(part.upper(), two.read(part))
    assert encoded(manifest, path) == set()


def test_row_with_a_card_number_is_not_skipped(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Rows with other delimiters than the rest: their cards are not encoded, and the exit code says so."""
    path = write_csv(tmp_path / "back.csv", rows)
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(",", ";")
    path.write_text("\n".join(lines))
    assert encoded(manifest, path) == ALL - {3} or encoded(manifest, path) == set()
    assert rows[2][NUMBER] == "3"
