"""Faults in vendors' files, at least one of each kind: read correctly, rejected or in doubt, never better than true.

If there is a collection of such files, they are tested, too.
"""

import io
import os
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.formatting.rule import Rule
from openpyxl.styles import Alignment, Border, Color, Font, PatternFill, Side
from openpyxl.styles.differential import DifferentialStyle
from openpyxl.worksheet.merge import MergedCellRange

from dataloader.batch import Manifest, Verdict, read_manifest
from dataloader.common import DataloaderError, InputError
from dataloader.operations import generate
from dataloader.operations.reconcile import Reconciliation, ReturnedFile, reconcile
from dataloader.vendor.returned import Reading
from tests.support.marks import THOROUGH
from tests.support.returned_files import (
    CHIP,
    NOTE,
    RESULT,
    TITLES,
    UUID,
    Rows,
    chip_of,
    good_rows,
    sheets,
    write_csv,
    write_xlsx,
)

CASES = Path(os.environ.get("DATALOADER_TEST_CASES", "no cases"))
"""An optional folder of returned files collected elsewhere."""
ENCODED = set(range(1, 11))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of ten cards without spares."""
    return generate("cases", {"snapset_1a": 6, "empty": 4}, tmp_path_factory.mktemp("cases")).manifest


@pytest.fixture
def rows(manifest: Manifest) -> Rows:
    """The rows of the batch, as a careful vendor fills them in."""
    return good_rows(manifest)


def found_of(manifest: Manifest, *paths: Path, **how: Any) -> Reconciliation:
    """Reconcile files."""
    return reconcile(manifest, [ReturnedFile(path) for path in paths], Reading(cards=10, **how))


def encoded(found: Reconciliation) -> set[int]:
    """Return the numbers of the cards that count as encoded."""
    return {each.card.number for each in found.ledger if each.verdict is Verdict.ENCODED}


def verdicts(found: Reconciliation) -> dict[int, str]:
    """Return the verdicts of the cards that are not encoded, by number."""
    return {each.card.number: each.verdict for each in found.ledger if each.verdict is not Verdict.ENCODED}


def refusal(manifest: Manifest, *paths: Path, **how: Any) -> str:
    """Return the one-line error for rejected files."""
    with pytest.raises(DataloaderError) as caught:
        found_of(manifest, *paths, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(paths[0]), "FILE")


# Columns.

RESULT_TITLES = (
    "Result:", "RESULTS", "result*", "[Result]", "Result (ok/failed)", "Encoding_Result", "EncodingResult", "Status",
    "Encoding status", "Ergebnis", "Kodierergebnis", "Résultat", "Statut", "Resultado", "Estado", "Resultaat",
    "Outcome", "Encode OK?", "Result: ok / failed / spare", "F: Result",
)  # fmt: skip
CHIP_TITLES = (
    "Chip_UID", "chipUid", "CHIP-UID:", "Chip UIDs", "Chip UID (hex)", "Tag UID", "NFC UID*", "UID", "UID des Chips",
    "UID de la puce", "UID del chip", "Chip UUID", "RFID UID", "Chip UID - 7 bytes hex", "5) Chip UID *required",
)  # fmt: skip


@pytest.mark.parametrize("title", RESULT_TITLES)
def test_results_are_found_under_any_title(tmp_path: Path, manifest: Manifest, rows: Rows, title: str) -> None:
    """A failed card is failed, whatever the title of the column."""
    rows[2][RESULT] = "failed"
    path = write_csv(tmp_path / "back.csv", rows, titles=[*TITLES[:RESULT], title, TITLES[NOTE]])
    assert verdicts(found_of(manifest, path)) == {3: "failed"}


@pytest.mark.parametrize("title", CHIP_TITLES)
def test_chip_uids_are_found_under_any_title(tmp_path: Path, manifest: Manifest, rows: Rows, title: str) -> None:
    """Two cards that share a chip are duplicates, whatever the title of the column."""
    rows[1][CHIP] = rows[0][CHIP]
    path = write_csv(tmp_path / "back.csv", rows, titles=[*TITLES[:CHIP], title, *TITLES[RESULT:]])
    assert verdicts(found_of(manifest, path)) == {1: "duplicate", 2: "duplicate"}


@pytest.mark.parametrize("title", ["UUIDs", "Card UUID", "uuid:", "UUID der Karte", "Karten-UUID", "UUID de la carte"])
def test_uuids_are_found_under_any_title(tmp_path: Path, manifest: Manifest, rows: Rows, title: str) -> None:
    """Titles in several languages."""
    path = write_csv(tmp_path / "back.csv", rows, ";", titles=[TITLES[0], title, *TITLES[2:]])
    assert encoded(found_of(manifest, path)) == ENCODED


@pytest.mark.parametrize(
    ("title", "values", "says"),
    [
        ("QC", ["ok"] * 9 + ["nok"], "“QC” was not recognized, and seems to hold results (“nok”)"),
        ("Prüfung", ["i.O."] * 9 + ["n.i.O."], "seems to hold results (“n.i.O.”)"),
        ("Lot", ["7"] * 9 + ["rejected, tag scrapped"], "seems to hold results (“rejected, tag scrapped”)"),
        ("", ["", "", "FEHLER", *[""] * 7], "column H (no title) was not recognized, and seems to hold results"),
        ("Quantity", ["1", "0", *["1"] * 8], "“Quantity” was not recognized, and seems to hold results (“0”)"),
        ("Error code", ["", "E42", *[""] * 8], "“Error code” was not recognized, and seems to hold results"),
        ("Serial", [f"04{at:02X}5A0{at % 9}C3D480" for at in range(10)], "seems to hold chip UIDs (“04005A00C3D480”)"),
        ("Tag ID", ["4:1:5A:1:C3:D4:80", *[""] * 9], "seems to hold chip UIDs (“4:1:5A:1:C3:D4:80”)"),
        ("Read back", ["1c1b0f54-ef81-4370-aab4-87ec333b95a5", *[""] * 9], "seems to hold UUIDs that differ"),
    ],
)
def test_unrecognized_column_that_matters_stops_the_run(
    tmp_path: Path, manifest: Manifest, rows: Rows, title: str, values: list[str], says: str
) -> None:
    """Results, chip UIDs or other UUIDs in an unrecognized column: the operator has to say what they are."""
    table = [[*row, value] for row, value in zip(rows, values, strict=True)]
    message = refusal(manifest, write_csv(tmp_path / "back.csv", table, titles=[*TITLES, title]))
    assert says in message
    assert "--column" in message
    assert ('otherwise give it a title, and name it: --column result="ITS TITLE"' in message) == (not title)
    # Without a column, failed cards would count as encoded.
    assert "if it does not matter: --column" in message
    assert "= for none" not in message


def test_unrecognized_columns_are_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """By title, unless it is known, like Box; columns without relevant content stop nothing."""
    table = [[*row, "Jo", "20261127", "no error", "7"] for row in rows]
    found = found_of(manifest, write_csv(tmp_path / "back.csv", table, titles=[*TITLES, "Badge", "Seen", "Log", "Box"]))
    assert found.good
    assert [str(each) for each in found.warnings] == [
        (
            "back.csv: 3 columns were not recognized, and not read: “Badge”, “Seen” and “Log” "
            "(if one of them matters, name it with --column)"
        )
    ]


def test_column_filled_in_instead_of_ours_stops_the_run(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Results or chip UIDs in the vendor's own column, with ours empty; once named, it is read."""
    for column, title, key in ((RESULT, "Passed?", "result"), (CHIP, "Serial", "chip")):
        table = [[*row, row[column]] for row in rows]
        for row in table:
            row[column] = ""
        table[2][-1] = "n/a"
        path = write_csv(tmp_path / "back.csv", table, titles=[*TITLES, "My column"])
        assert f'--column {key}="My column"' in refusal(manifest, path), title
        assert encoded(found_of(manifest, path, columns={key: "My column"})) == ENCODED - {3}


# Tables.


@pytest.mark.parametrize("name", ["Rejects", "Failed", "Ausschuss", "rejected cards", "Sheet2"])
@pytest.mark.parametrize("is_listed_twice", [False, True])
def test_sheet_of_rejects_encodes_nothing(
    tmp_path: Path, manifest: Manifest, rows: Rows, name: str, *, is_listed_twice: bool
) -> None:
    """With UUID, chip UID and reason: these cards are in doubt, even if another sheet says ok."""
    rejects = [["UUID", "Chip UID", "Reason"], *([row[UUID], row[CHIP], "chip locked"] for row in rows[7:])]
    good = rows if is_listed_twice else rows[:7]
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *good]), (name, rejects))
    assert verdicts(found_of(manifest, path)) == dict.fromkeys((8, 9, 10), "failed")


def test_results_are_required_for_the_whole_delivery(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A sheet without results does not encode cards if another sheet of the delivery has results."""
    for row in rows[:5]:
        row[RESULT] = "failed"
    chips = [["UUID", "Chip UID"], *([row[UUID], row[CHIP]] for row in rows)]
    path = sheets(tmp_path / "back.xlsx", ("Chips", chips), ("Cards", [TITLES, *rows[:5]]))
    assert encoded(found_of(manifest, path)) == set()


def test_file_that_only_lists_cards_puts_them_in_doubt(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A failed.csv without results and chip UIDs proves nothing."""
    listed = write_csv(tmp_path / "failed.csv", [[row[UUID]] for row in rows[:2]], titles=["UUID"])
    back = write_csv(tmp_path / "back.csv", rows)
    assert verdicts(found_of(manifest, back, listed)) == {1: "failed", 2: "failed"}
    assert "has no column of results or chip UIDs" in refusal(manifest, listed)


def test_repeated_titles_are_recognized(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """In concatenated files, with columns in the same order or another."""
    path = write_csv(tmp_path / "back.csv", [*rows[:4], TITLES, *rows[4:]])
    assert found_of(manifest, path).good
    turned = [row[::-1] for row in rows[4:]]
    assert found_of(manifest, write_csv(tmp_path / "back.csv", [*rows[:4], TITLES[::-1], *turned])).good


def test_rows_above_the_titles_are_not_dropped(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """If the titles of the first table were not recognized."""
    table = [["Karte", "Kennung"], ["1", rows[0][UUID]], TITLES, *rows[1:]]
    assert "has a UUID above the titles" in refusal(
        manifest, write_csv(tmp_path / "back.csv", table[1:], titles=table[0])
    )
    assert "has a UUID above the titles" in refusal(manifest, write_xlsx(tmp_path / "back.xlsx", table[1:], table[0]))


def _hide(sheet: Any) -> None:
    sheet.row_dimensions[4].hidden = True


def _flatten(sheet: Any) -> None:
    sheet.row_dimensions[4].height = 0.01


def _lower(sheet: Any) -> None:
    sheet.row_dimensions[4].height = 1.5


def _lower_all(sheet: Any) -> None:
    sheet.sheet_format.defaultRowHeight = 0


def _strike(sheet: Any) -> None:
    for cell in sheet[4]:
        cell.font = Font(strike=True)


def _strike_one(sheet: Any) -> None:
    sheet["E4"].font = Font(strike=True)


def _strike_row_style(sheet: Any) -> None:
    sheet.row_dimensions[4].font = Font(strike=True)


def _cross_out(sheet: Any) -> None:
    for cell in sheet[4]:
        cell.border = Border(diagonal=Side("thin"), diagonalUp=True)


def _format_away(sheet: Any) -> None:
    for cell in sheet[4]:
        cell.number_format = ";;;"


def _format_as_other(sheet: Any) -> None:
    sheet["F4"].number_format = '0;0;0;"failed"'


def _add_words(sheet: Any) -> None:
    sheet["F4"].number_format = '"not "@'


def _whiten(sheet: Any) -> None:
    for cell in sheet[4]:
        cell.font = Font(color="FFFEFEFE")


def _whiten_by_theme(sheet: Any) -> None:
    sheet["B4"].font = Font(color=Color(theme=0))


def _camouflage(sheet: Any) -> None:
    sheet["F4"].font = Font(color="FFC00000")
    sheet["F4"].fill = PatternFill("solid", fgColor="FFC00000")


def _blacken(sheet: Any) -> None:
    sheet["E4"].fill = PatternFill("solid", fgColor=Color(indexed=8))


def _shrink(sheet: Any) -> None:
    sheet["F4"].font = Font(size=1)


def _whiten_part(sheet: Any) -> None:
    sheet["F4"] = CellRichText(TextBlock(InlineFont(color=Color("FFFFFFFF")), "ok"))


def _cover(sheet: Any) -> None:
    # openpyxl empties such cells; other programs keep what they hold.
    sheet.merged_cells.ranges.add(MergedCellRange(sheet, "F3:F4"))


def _hide_sheet(sheet: Any) -> None:
    sheet.sheet_state = "hidden"


@pytest.mark.parametrize(
    "deed",
    [
        _hide, _flatten, _lower, _lower_all, _strike, _strike_one, _strike_row_style, _cross_out, _format_away,
        _format_as_other, _add_words, _whiten, _whiten_by_theme, _camouflage, _blacken, _shrink, _whiten_part, _cover,
        _hide_sheet,
    ],
)  # fmt: skip
def test_hidden_rows_count_only_if_requested(
    tmp_path: Path, manifest: Manifest, rows: Rows, deed: Callable[[Any], None]
) -> None:
    """Rows that are hidden, filtered out, struck through or invisible, and hidden sheets: a warning, and in doubt."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    book.create_sheet("Notes")
    for row in [TITLES, *rows]:
        sheet.append(row)
    deed(sheet)
    path = tmp_path / "back.xlsx"
    book.save(path)
    found = found_of(manifest, path)
    wanted = ENCODED if deed in {_hide_sheet, _lower_all} else {3}
    assert verdicts(found) == dict.fromkeys(wanted, "failed")
    assert any("--include-hidden" in str(each) for each in found.warnings)
    assert found_of(manifest, path, include_hidden=True).good


def _redden(sheet: Any, rows: Sequence[int]) -> None:
    for row in rows:
        for cell in sheet[row]:
            cell.fill = PatternFill("solid", fgColor="FFFF0000")


def _colour_text(sheet: Any, rows: Sequence[int]) -> None:
    for row in rows:
        sheet[f"B{row}"].font = Font(color="FFFF0000")


def _bleach(sheet: Any, rows: Sequence[int]) -> None:
    _redden(sheet, [row for row in range(2, 12) if row not in rows])


def _strike_snapset(sheet: Any, rows: Sequence[int]) -> None:
    for row in rows:
        sheet[f"D{row}"].font = Font(strike=True)


def _strike_unread(sheet: Any, rows: Sequence[int]) -> None:
    sheet["H1"] = "Box"
    for row in range(2, 12):
        sheet[f"H{row}"] = "7"
        sheet[f"H{row}"].font = Font(strike=row in rows, color="FF00FF00" if row == 2 else None)


def _rotate(sheet: Any, rows: Sequence[int]) -> None:
    for row in rows:
        sheet[f"F{row}"].alignment = Alignment(textRotation=180)


def _indent(sheet: Any, rows: Sequence[int]) -> None:
    for row in rows:
        sheet[f"A{row}"].alignment = Alignment(indent=2)


def _stress(**font: Any) -> Callable[..., None]:
    def deed(sheet: Any, rows: Sequence[int]) -> None:
        for row in rows:
            sheet[f"F{row}"].font = Font(**font)

    return deed


def _box(sheet: Any, rows: Sequence[int]) -> None:
    side = Side("thin", color="FFFF0000")
    for row in rows:
        for cell in sheet[row]:
            cell.border = Border(top=side, bottom=side)


def _colour_part(sheet: Any, rows: Sequence[int]) -> None:
    for row in rows:
        sheet[f"F{row}"] = CellRichText(TextBlock(InlineFont(color=Color("FFFF0000")), "o"), "k")


def _redden_beside(sheet: Any, rows: Sequence[int]) -> None:
    for row in rows:
        sheet[f"H{row}"].fill = PatternFill("solid", fgColor="FFFF0000")


LOOKS: list[Callable[..., None]] = [
    _redden_beside, _redden, _colour_text, _bleach, _strike_snapset, _strike_unread, _box, _colour_part,
    _stress(bold=True), _stress(italic=True), _stress(underline="double"), _stress(size=14), _stress(size=8), _rotate,
    _indent, _stress(name="Courier New"),
]  # fmt: skip


@pytest.mark.parametrize("deed", LOOKS)
@pytest.mark.parametrize(
    ("marked", "shown"),
    [((4, 7), "2 rows count as encoded, but look different from most: row 4, 7"), ((2, 4, 6, 8, 10), "")],
    ids=["some", "stripes"],
)
def test_rows_that_look_different_are_a_warning(
    tmp_path: Path, manifest: Manifest, rows: Rows, deed: Callable[..., None], marked: Sequence[int], shown: str
) -> None:
    """They may be marked as bad. Stripes are harmless, and so are titles in any colour."""
    path = write_xlsx(tmp_path / "back.xlsx", rows)
    book = openpyxl.load_workbook(path)
    deed(book.worksheets[0], marked)
    _redden(book.worksheets[0], [1])
    book.save(path)
    found = found_of(manifest, path)
    assert found.good
    assert [each.rule for each in found.warnings] == [shown] * bool(shown)


def test_usual_looks_of_tables_are_harmless(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Bold titles and numbers, a grid, a heavy frame around it, and lines between groups."""
    path = write_xlsx(tmp_path / "back.xlsx", rows)
    book = openpyxl.load_workbook(path)
    sheet = book.worksheets[0]
    thin, heavy = Side("thin"), Side("medium")
    for at, row in enumerate(sheet.iter_rows(), 1):
        row[0].font = Font(bold=True)
        for cell in row:
            cell.font = Font(bold=at == 1 or cell.column == 1)
            cell.border = Border(thin, thin, heavy if at in {1, 2} else thin, heavy if at in {5, 11} else thin)
    book.save(path)
    found = found_of(manifest, path)
    assert found.good
    assert not found.warnings


_NUMBER = {"type": "expression", "formula": ['$A2="3"']}
CONDITIONS: dict[str, tuple[dict[str, Any], set[int]]] = {
    "by the number": (_NUMBER, {3}),
    "by the result": ({"type": "expression", "formula": ['$F2<>"ok"']}, set()),
    "equal": ({"type": "cellIs", "operator": "equal", "formula": ['"3"']}, {3}),
    "contains": ({"type": "containsText", "operator": "containsText", "text": "void", "formula": ["x"]}, set()),
    "begins with a chip": ({"type": "beginsWith", "operator": "beginsWith", "text": chip_of(3)[:12], "formula": ["x"]},
                           {3}),
    "not blank": ({"type": "notContainsBlanks", "formula": ["LEN(TRIM(A2))>0"]}, ENCODED),
    "error": ({"type": "expression", "formula": ["ISERROR(A2)"]}, set()),
    "empty": ({"type": "expression", "formula": ["LEN(TRIM($E2))=0"]}, set()),
    "a number, not a text": ({"type": "expression", "formula": ["$A2=3"]}, set()),
    "unknown": ({"type": "expression", "formula": ["VLOOKUP($A2,Other!A:B,2)"]}, ENCODED),
    "another row": ({"type": "expression", "formula": ['$A3="3"']}, ENCODED),
}  # fmt: skip


def conditional(path: Path, rows: Rows, rule: dict[str, Any], **style: Any) -> Path:
    """Write a workbook with conditional formatting of all rows."""
    book = openpyxl.load_workbook(write_xlsx(path, rows))
    differential = DifferentialStyle(**style)
    book.worksheets[0].conditional_formatting.add("A2:G11", Rule(dxf=differential, **rule))
    book.save(path)
    return path


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditional_formatting_may_strike_text_through(
    tmp_path: Path, manifest: Manifest, rows: Rows, condition: str
) -> None:
    """Simple conditions are evaluated; any other may be met by all rows."""
    rule, struck = CONDITIONS[condition]
    path = conditional(tmp_path / "back.xlsx", rows, rule, font=Font(strike=True))
    found = found_of(manifest, path)
    assert encoded(found) == ENCODED - struck
    assert found.warnings == [] or struck
    assert encoded(found_of(manifest, path, include_hidden=True)) == ENCODED


@pytest.mark.parametrize("where", ["G11:A2", "A:G", "$A$2:$G$11", "J1 A2:G11"])
def test_conditional_formatting_is_found_anywhere(tmp_path: Path, manifest: Manifest, rows: Rows, where: str) -> None:
    """In whatever form its cells are written."""
    path = conditional(
        tmp_path / "back.xlsx", rows, {"type": "expression", "formula": ["NOW()>0"]}, font=Font(strike=True)
    )
    repacked(path, lambda name, data: (name, data.replace(b"A2:G11", where.encode())))
    assert encoded(found_of(manifest, path)) == set()


def test_conditional_formatting_tests_cells_of_any_type(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Also dates, times, durations and answers; a date is a text to it."""
    condition = {"type": "containsText", "operator": "containsText", "text": "2026-11-05", "formula": ["x"]}
    path = conditional(tmp_path / "back.xlsx", rows, condition, font=Font(strike=True))
    book = openpyxl.load_workbook(path)
    moment = datetime.fromisoformat("2026-11-01T10:05:00")
    odd = (moment, date(2026, 11, 2), time(10, 5), timedelta(seconds=4), True, 7, 0.5)
    for column, title in enumerate(["Encoded at", *map(str, range(len(odd) - 1))], len(TITLES) + 1):
        book.worksheets[0].cell(1, column, title)
        for row in range(2, len(rows) + 2):
            book.worksheets[0].cell(row, column, odd[column - len(TITLES) - 1])
    book.save(path)
    repacked(path, lambda name, data: (name, data.replace(b"A2:G11", b"A2:Z11")))
    assert encoded(found_of(manifest, path)) == ENCODED


def test_conditional_colours_are_a_warning(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """If some of the encoded cards have them, or if the condition is not understood and depends on cells."""

    def warnings(rule: dict[str, Any]) -> list[str]:
        path = conditional(tmp_path / "back.xlsx", rows, rule, fill=PatternFill(bgColor="FFFF0000"))
        return [str(each) for each in found_of(manifest, path).warnings]

    assert "1 row counts as encoded, but looks different from most: row 4" in warnings(_NUMBER)[0]
    assert (
        "A2:G11 (OR(A2=3,A2=7)) that colours cells" in warnings({"type": "expression", "formula": ["OR(A2=3,A2=7)"]})[0]
    )
    assert warnings({"type": "expression", "formula": ["MOD(ROW(),2)=0"]}) == []
    assert warnings({"type": "duplicateValues"}) == []
    assert warnings({"type": "expression", "formula": ["COUNTIF($E$2:$E$11,$E2)>1"]}) == []
    assert warnings({"type": "expression", "formula": ["COUNTIF(Bad!$A:$A,$A2)>1"]}) != []
    assert warnings({"type": "expression", "formula": ['$F2="failed"']}) == []


_OTHER_SHEET = (
    '<extLst><ext xmlns:y="y"><y:conditionalFormattings><y:conditionalFormatting><y:cfRule type="expression">'
    "<y:f>Other!$A2=3</y:f><y:dxf><font><strike/></font></y:dxf></y:cfRule><y:sqref>A4:G4</y:sqref>"
    "</y:conditionalFormatting></y:conditionalFormattings></ext></extLst></worksheet>"
)


def test_conditional_formatting_by_another_sheet_is_noticed(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Excel writes it as an extension."""

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        return name, data.replace(b"</worksheet>", _OTHER_SHEET.encode())

    assert verdicts(found_of(manifest, repacked(write_xlsx(tmp_path / "back.xlsx", rows), change))) == {3: "failed"}


def test_empty_columns_are_not_named(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Programs add many, without titles."""
    path = write_csv(tmp_path / "back.csv", [[*row, *[""] * 30] for row in rows], titles=[*TITLES, *[""] * 30])
    assert found_of(manifest, path).warnings == []


def test_colours_that_follow_the_results_are_no_warning(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Failed cards in red say nothing new."""
    rows[2][RESULT] = "failed"
    path = write_xlsx(tmp_path / "back.xlsx", rows)
    book = openpyxl.load_workbook(path)
    _redden(book.worksheets[0], [4])
    book.save(path)
    assert found_of(manifest, path).warnings == []


def test_hidden_copy_of_a_visible_row_changes_nothing(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """A hidden sheet with the same content is ignored; another chip on it is a doubt."""
    same = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Copy", [TITLES, *rows]), hidden="Copy")
    assert found_of(manifest, same).good
    other = [[*row[:CHIP], chip_of(90 + at), "ok", ""] for at, row in enumerate(rows)]
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Copy", [TITLES, *other]), hidden="Copy")
    assert encoded(found_of(manifest, path)) == set()


def test_note_about_a_failure_contradicts_ok(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """With the result ok, "not encoded" is a doubt; a note about an earlier failure is a warning."""
    rows[0][NOTE] = "NOT ENCODED"
    rows[1][NOTE] = "nicht beschrieben"
    rows[2][NOTE] = "first chip was defective, destroyed"
    rows[3][NOTE] = "no errors"
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert verdicts(found) == {1: "failed", 2: "failed"}
    assert [str(each) for each in found.warnings] == [
        "back.csv, line 4: counts as encoded, but its note says “first chip was defective, destroyed”"
    ]


# CSV.


def text(rows: Rows, quote: str = "", between: str = ",", mark: str = "{}") -> str:
    """Return rows as lines of text, with each cell quoted or marked."""
    table = [TITLES, *rows]
    return "".join(between.join(quote + mark.format(cell) + quote for cell in row) + "\r\n" for row in table)


DIALECTS: dict[str, Callable[[Rows], str]] = {
    "every field quoted": lambda rows: text(rows, '"'),
    "every field quoted, semicolons": lambda rows: text(rows, '"', ";"),
    "every field quoted, tabs": lambda rows: text(rows, '"', "\t"),
    "every field in single quotation marks": lambda rows: text(rows, "'"),
    "bars": lambda rows: text(rows, between="|"),
    "a blank after each comma": lambda rows: text(rows, between=", "),
    "blanks after commas and quotation marks": lambda rows: text(rows, '"', ", "),
    "blanks around each semicolon": lambda rows: text(rows, between=" ; "),
    "equals signs": lambda rows: text(rows, mark='="{}"'),
    "equals signs in quoted fields": lambda rows: text(rows, '"', mark='=""{}""'),
    "apostrophes": lambda rows: text(rows, mark="'{}"),
    "whole lines quoted": lambda rows: "".join(f'"{line}"\r\n' for line in text(rows).splitlines()),
    "whole lines quoted, fields too": lambda rows: "".join(
        '"' + line.replace('"', '""') + '"\r\n' for line in text(rows, '"').splitlines()
    ),
    "whole lines quoted, empty columns": lambda rows: "".join(f'"{line}";;;\r\n' for line in text(rows).splitlines()),
    "a title on two lines": lambda rows: text(rows).replace("Card number", '"Card\nnumber"', 1),
    "a title on two lines, all quoted": lambda rows: text(rows, '"').replace("Chip UID", "Chip\r\nUID", 1),
    "an address above": lambda rows: '"Tags" & Sons, 12 "High" St\r\n"Unit 5, Leeds\r\n\r\n' + text(rows),
    "an address above, quoted": lambda rows: '"Tags, Inc.","5"" tags"\r\n' + text(rows, '"'),
    "sep=": lambda rows: "sep=;\r\n" + text(rows, between=";"),
    "note on two lines": lambda rows: text([[*row[:NOTE], '"tested,\nand good"'] for row in rows]),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_csv_dialects_are_read(tmp_path: Path, manifest: Manifest, rows: Rows, dialect: str) -> None:
    """Every card gets its verdict, including failed ones."""
    rows[2][RESULT] = "failed"
    path = tmp_path / "back.csv"
    path.write_bytes(DIALECTS[dialect](rows).encode())
    assert verdicts(found_of(manifest, path)) == {3: "failed"}


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        ('"bent', 'scratch"', "lines 4 and 8"),
        ('"bent', '"scratch', "lines 4 and 8"),
        ('"bent', "", "line 4: the quotation mark that opens in line 4 is never closed"),
        ('"', '"', "lines 4 and 8"),
    ],
)
def test_stray_quotation_marks_are_detected(
    tmp_path: Path, manifest: Manifest, rows: Rows, first: str, last: str, says: str
) -> None:
    """They swallow rows; the error names both lines, and the cards between them are not reported as missing."""
    lines = text(rows).splitlines()
    lines[3] += first
    lines[7] += last
    path = tmp_path / "back.csv"
    path.write_text("\n".join(lines) + "\n")
    assert says in refusal(manifest, path)


def test_additional_quotation_mark_in_a_line_is_detected(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """It joins several columns to one field, so the result would seem to be empty."""
    lines = text(rows).splitlines()
    lines[3] = lines[3].replace("snapset_1a,", '"snapset_1a,') + '"'
    path = tmp_path / "back.csv"
    path.write_text("\n".join(lines) + "\n")
    assert "line 4: an extra quotation mark turns several columns into one field" in refusal(manifest, path)


# Chip UIDs.

FORMS: dict[str, Callable[[str], str]] = {
    "0x": lambda uid: f"0x{uid}",
    "0x for each byte": lambda uid: " ".join(f"0x{uid[at : at + 2]}" for at in range(0, len(uid), 2)),
    "0x and commas": lambda uid: ", ".join(f"0x{uid[at : at + 2]}" for at in range(0, len(uid), 2)),
    "h": lambda uid: f"{uid}h",
    "h for each byte": lambda uid: " ".join(f"{uid[at : at + 2]}h" for at in range(0, len(uid), 2)),
    "dots": lambda uid: ".".join(uid[at : at + 2] for at in range(0, len(uid), 2)),
    "underscores": lambda uid: "_".join(uid[at : at + 2] for at in range(0, len(uid), 2)),
    "groups of four": lambda uid: "-".join(uid[at : at + 4] for at in range(0, len(uid), 4)),
    "brackets": lambda uid: f"[{uid}]",
    "a label": lambda uid: f"UID: {uid}",
    "zero-width": lambda uid: f"\N{ZERO WIDTH SPACE}{uid[:4]}\N{ZERO WIDTH NO-BREAK SPACE}{uid[4:]}",
    "full-width": lambda uid: "".join(chr(ord(each) + 0xFEE0) for each in uid),
}


@pytest.mark.parametrize("form", FORMS)
def test_common_chip_uid_notations_are_read(tmp_path: Path, manifest: Manifest, rows: Rows, form: str) -> None:
    """The UID is the intended one."""
    for row in rows:
        row[CHIP] = FORMS[form](row[CHIP])
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert [each.chip for each in found.ledger] == [chip_of(number) for number in range(1, 11)]


def test_dropped_zeros_are_explained(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """In any byte and at the start; they are never added silently."""
    for at, row in enumerate(rows):
        uid = row[CHIP]
        row[CHIP] = uid[1:] if at % 2 else ":".join(f"{byte:X}" for byte in bytes.fromhex(uid))
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert encoded(found) == set()
    for each in found.ledger:
        assert chip_of(each.card.number) in each.reason
        assert "zero" in each.reason


@pytest.mark.parametrize("length", [4, 7])
@pytest.mark.parametrize("order", ["big", "little"])
def test_column_of_decimal_uids_is_recognized(
    tmp_path: Path, manifest: Manifest, rows: Rows, length: int, order: Any
) -> None:
    """Both readings are given; decimal numbers are never read as hex, however many there are."""
    uids = [bytes([*[4, *bytes.fromhex("15A0C3D480FF")][: length - 1], at]) for at in range(10)]
    for row, uid in zip(rows, uids, strict=True):
        row[CHIP] = str(int.from_bytes(uid, order))
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert encoded(found) == set()
    for each, uid in zip(found.ledger, uids, strict=True):
        assert uid.hex().upper() in each.reason
        assert uid[::-1].hex().upper() in each.reason


def test_uids_of_one_chip_in_different_forms_are_duplicates(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Reversed, truncated or padded."""
    uid = rows[0][CHIP]
    rows[1][CHIP] = bytes.fromhex(uid)[::-1].hex()
    rows[2][CHIP] = "AABBCCDD"
    rows[3][CHIP] = "AABBCCDD887766"
    rows[4][CHIP] = "041122334455AA"
    rows[5][CHIP] = "887766041122334455AA"
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert verdicts(found) == dict.fromkeys(range(1, 7), "duplicate")


@pytest.mark.parametrize("result", ["failed", "", "maybe", "ok"])
def test_chip_of_a_doubtful_row_is_shared(tmp_path: Path, manifest: Manifest, rows: Rows, result: str) -> None:
    """If a failed, blank or doubtful row has the chip of a good row, the good one is a duplicate."""
    rows[1][CHIP : RESULT + 1] = [rows[0][CHIP], result]
    found = found_of(manifest, write_csv(tmp_path / "back.csv", rows))
    assert verdicts(found)[1] == "duplicate"
    assert encoded(found) == ENCODED - {1, 2}


# Workbooks.


def repacked(path: Path, change: Callable[[str, bytes], tuple[str, bytes]]) -> Path:
    """Rename or change parts of a workbook."""
    stream = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            target.writestr(*change(name, source.read(name)))
    path.write_bytes(stream.getvalue())
    return path


def _moved(old: str, new: str) -> Callable[[str, bytes], tuple[str, bytes]]:
    return lambda name, data: (
        name.replace(old, new),
        data.replace(old.encode(), new.encode()) if name.endswith(".rels") or "Content" in name else data,
    )


LAYOUTS: dict[str, Callable[[str, bytes], tuple[str, bytes]]] = {
    "backslashes": lambda name, data: (name.replace("/", "\\"), data),
    "leading slashes": lambda name, data: (f"/{name}", data),
    "workbook22": _moved("workbook.xml", "workbook22.xml"),
    "another folder": _moved("xl/", "data/"),
    "no folder": _moved("xl/", ""),
    "upper case": lambda name, data: (name if "Content" in name else name.upper(), data),
    "UTF-16": lambda name, data: (name, data.decode().encode("utf-16") if name.endswith("sheet1.xml") else data),
    "a prefix": lambda name, data: (
        name,
        data.replace(b"<", b"<x:").replace(b"<x:/", b"</x:").replace(b"<x:?", b"<?").replace(b" xmlns=", b" xmlns:x=")
        if name.endswith("sheet1.xml")
        else data,
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_workbooks_of_other_programs_are_read(tmp_path: Path, manifest: Manifest, rows: Rows, layout: str) -> None:
    """Parts with backslashes, other names, folders or encodings; formulas in them are found."""
    rows[2][RESULT] = "failed"
    path = repacked(write_xlsx(tmp_path / "back.xlsx", rows), LAYOUTS[layout])
    assert verdicts(found_of(manifest, path)) == {3: "failed"}
    rows[2][RESULT] = '="o"&"k"'
    path = repacked(write_xlsx(tmp_path / "back.xlsx", rows), LAYOUTS[layout])
    assert verdicts(found_of(manifest, path)) == {3: "failed"}


def test_styles_and_strings_are_found_under_any_name(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """By the relations of the workbook, not by their names."""
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Notes", [["none"]]))
    book = openpyxl.load_workbook(path)
    _strike(book["Cards"])
    book.save(path)

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        return _moved("sharedStrings.xml", "texts.xml")(*_moved("styles.xml", "looks.xml")(name, data))

    assert verdicts(found_of(manifest, repacked(path, change))) == {3: "failed"}


def test_two_sheets_of_one_name_are_rejected(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Programs read one of them twice, or refuse the workbook."""
    path = sheets(tmp_path / "back.xlsx", ("Cards", [TITLES, *rows]), ("Other", [TITLES, *rows]))
    repacked(path, lambda name, data: (name, data.replace(b'"Other"', b'"CARDS"')))
    assert "is damaged: it has two sheets of the same name" in refusal(manifest, path)


def test_most_results_in_other_words_stop_the_run(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Otherwise, cards that are fine would have to be encoded again; a few such words are only in doubt."""
    path = tmp_path / "back.csv"
    for row in rows:
        row[RESULT] = "done"
    assert "line 2: its result is “done”, and no result in any table is ok or failed" in refusal(
        manifest, write_csv(path, rows)
    )
    rows[0][RESULT] = "failed"
    assert "line 3: its result is “done”, and no result in any table is ok" in refusal(manifest, write_csv(path, rows))
    rows[1][RESULT] = "OK"
    assert "line 4: its result is “done”; 8 results have such words, and only 1 is ok" in refusal(
        manifest, write_csv(path, rows)
    )
    for row in rows[2:8]:
        row[RESULT] = "ok"
    assert encoded(found_of(manifest, write_csv(path, rows))) == set(range(2, 9))
    for row in rows[:9]:
        row[RESULT] = "NOK"
    assert encoded(found_of(manifest, write_csv(path, [[*row[:RESULT], "failed", ""] for row in rows]))) == set()
    rows[9][RESULT] = "failed"
    assert encoded(found_of(manifest, write_csv(path, rows))) == set()


FORMULA = '<c r="F4" t="str"><f>A1</f><v>ok</v></c>'
FORMULAS = {
    "without a reference": (' r="', ' x="', FORMULA),
    "the value first": ("", "", '<c r="F4" t="str"><v>ok</v><f>A1</f></c>'),
    "a comment before": ("", "", '<c r="F4" t="str"><!-- --><f>A1</f><v>ok</v></c>'),
    "shared": ("", "", '<c r="F4" t="str"><f t="shared" si="0"/><v>ok</v></c>'),
    "blanks": ("", "", "<c  t = 'str'  r = 'F4' >\n<f\n>A1</f><v>ok</v></c>"),
    "an array above": ("", "", '<c r="F4" t="str"><f ref="F3:F4" t="array">A1</f><v>ok</v></c>'),
}


@pytest.mark.parametrize("form", FORMULAS)
def test_formulas_are_found_in_any_notation(tmp_path: Path, manifest: Manifest, rows: Rows, form: str) -> None:
    """The value stored with a formula never counts."""
    old, new, cell = FORMULAS[form]

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if not name.endswith("sheet1.xml"):
            return name, data
        sheet = data.decode()
        begin = sheet.index('<c r="F4"')
        sheet = sheet[:begin] + cell + sheet[sheet.index("</c>", begin) + 4 :]
        return name, (sheet.replace(old, new) if old else sheet).encode()

    path = repacked(write_xlsx(tmp_path / "back.xlsx", rows), change)
    assert 3 not in encoded(found_of(manifest, path))
    assert 5 in encoded(found_of(manifest, path))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (
            "a.xls",
            b"<html><body><table><tr><td>UUID</td></tr></table>",
            "is a web page (HTML) saved as .xls (open",
        ),
        ("a.xls", b"\xef\xbb\xbf\r\n<!DOCTYPE html>\n<table>", "is a web page (HTML) saved as .xls"),
        ("a.xls", b"<table border=1><tr><td>UUID", "is a web page (HTML) saved as .xls"),
        (
            "a.xls",
            b'<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">',
            "is an XML spreadsheet of 2003 saved as .xls (open it in a spreadsheet program and save it as .xlsx)",
        ),
        ("a.xls", b"MIME-Version: 1.0\nX-Document-Type: Workbook", "is a web archive (MHTML) saved as .xls"),
        ("a.csv", b"%PDF-1.4", "is a PDF saved as .csv"),
        ("a.csv", b'[{"uuid": 1}]', "is JSON saved as .csv"),
    ],
)
def test_other_kinds_of_file_are_recognized(
    tmp_path: Path, manifest: Manifest, name: str, data: bytes, says: str
) -> None:
    """The error says how to save them."""
    path = tmp_path / name
    path.write_bytes(data)
    assert says in refusal(manifest, path)


def test_numbers_document_is_recognized(tmp_path: Path, manifest: Manifest) -> None:
    """It is a ZIP file of its own kind."""
    path = tmp_path / "a.numbers"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Index/Document.iwa", b"x")
    assert "is an Apple Numbers document (.numbers) (in Numbers: File > Export To > Excel" in refusal(manifest, path)


@THOROUGH
def test_workbook_with_too_many_sheets_is_rejected(tmp_path: Path, manifest: Manifest, rows: Rows) -> None:
    """Before any sheet is read."""

    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if name != "xl/workbook.xml":
            return name, data
        begin = data.index(b"<sheet ")
        end = data.index(b"</sheets>")
        sheet = data[begin:end]
        more = b"".join(sheet.replace(b'name="Cards"', b'name="C%d"' % at) for at in range(60_000))
        return name, data[:begin] + more + data[end:]

    path = repacked(write_xlsx(tmp_path / "back.xlsx", rows), change)
    message = refusal(manifest, path)
    assert "sheets; a workbook of cards has a few" in message or "bytes" in message


# The collection.


@pytest.mark.skipif(not CASES.is_dir(), reason="the collection of cases is not here")
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("03-result-column-renamed/*", {3: "failed", 10: "failed"}),
        ("04-rejects-on-own-sheet/rejects.xlsx", dict.fromkeys((13, 14, 15), "failed")),
        ("05-chip-column-renamed/chip_uid.csv", dict.fromkeys((1, 2, 3), "duplicate")),
        ("05-chip-column-renamed/tag-id.csv", "was not recognized, and seems to hold chip UIDs"),
        ("06-formulas-unseen/no-r.xlsx", dict.fromkeys(range(1, 16), "failed")),
        ("07-hidden-rows-and-sheets/hidden-rows.xlsx", {3: "failed", 10: "failed"}),
        ("08-csv-stray-quotes/two-notes.csv", "lines 4 and 10"),
        ("09-csv-all-quoted/*", {}),
        ("10-csv-text-marks/*", {}),
        ("11-chip-uid-forms/*", {}),
        ("12-chip-uid-zeros-and-decimal/*", dict.fromkeys(range(1, 16), "failed")),
        ("13-workbook-parts/*", {}),
        ("14-other-kinds-of-file/html.xls", "is a web page (HTML) saved as .xls"),
        ("15-titles-again/*", {}),
    ],
)
def test_collected_files_have_their_expected_result(case: str, expected: dict[int, str] | str) -> None:
    """Each file of the collection is read as its page says, or rejected."""
    batch = read_manifest(CASES / "00-batch" / "bugb.batch.jsonl")
    paths = sorted(CASES.glob(case))
    assert paths
    for path in paths:
        if isinstance(expected, str):
            with pytest.raises(InputError, match=expected.replace("(", r"\(").replace(")", r"\)")):
                found_of(batch, path)
        else:
            assert verdicts(found_of(batch, path)) == expected
