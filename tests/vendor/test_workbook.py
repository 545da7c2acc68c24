"""Workbooks: their content, and their validation."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from dataloader.batch import Card, read_manifest
from dataloader.common import DataloaderError, ExitCode, FileError, InputError
from dataloader.operations import generate
from dataloader.operations.generate import Batch
from dataloader.vendor import check_value, check_workbook, write_workbook
from tests.support.command import Command

TITLES = ["Card number", "UUID", "Check", "Snapset", "Chip UID", "Result", "Note"]
SHARES = {"snapset_1a": 4, "snapset_3": 3, "empty": 2}
REMAKE = "(take the workbook that generate wrote, unchanged)"

Book = openpyxl.Workbook


@pytest.fixture
def small(tmp_path: Path) -> Batch:
    """A batch of nine cards over three snapsets."""
    return generate("spring", SHARES, tmp_path / "batches")


@pytest.fixture
def book(small: Batch) -> Book:
    """The batch's workbook, opened by another library."""
    return openpyxl.load_workbook(small.workbook)


def cards_of(batch: Batch) -> list[Card]:
    """Return the cards in the batch's manifest."""
    return list(read_manifest(batch.manifest.path).cards())


def rows_of(sheet: Any) -> list[list[Any]]:
    """Return the values of a sheet's rows."""
    return [list(row) for row in sheet.iter_rows(values_only=True)]


# Content.


def test_workbook_has_the_cards_in_manifest_order(small: Batch, book: Book) -> None:
    """One row for each card, with number, UUID, check value and snapset; the vendor's columns are empty."""
    assert book.sheetnames == ["Read me", "Cards", "Batch"]
    titles, *rows = rows_of(book["Cards"])
    assert titles == TITLES
    assert rows == [
        [str(card.number), card.uuid, check_value(card.uuid), card.snapset, None, None, None]
        for card in cards_of(small)
    ]
    assert book.active is book["Read me"]


def test_last_sheet_describes_the_batch(small: Batch, book: Book) -> None:
    """Name, creation time, number of cards, and the digest that ties the workbook to its manifest."""
    header = small.manifest.header
    assert rows_of(book["Batch"]) == [
        ["Name", "spring"],
        ["Created", header.created],
        ["Cards", "9"],
        ["Digest", header.digest],
    ]


def test_spares_are_marked(tmp_path: Path) -> None:
    """The result of a spare is filled in, to be overwritten by the vendor; the other sheets count the spares."""
    batch = generate("spring", {"snapset_1a": 3, "empty": 2}, tmp_path, spares={"snapset_1a": 1, "empty": 1})
    book = openpyxl.load_workbook(batch.workbook)
    assert [row[5] for row in rows_of(book["Cards"])] == ["Result", None, None, None, "spare", None, None, "spare"]
    cells = [row[5] for row in book["Cards"].iter_rows(min_row=2)]
    assert {(cell.number_format, cell.protection.locked) for cell in cells} == {("@", False)}
    assert ["Spares", "2"] in rows_of(book["Batch"])
    assert ["Cards", "7, one in each row of the sheet Cards; 2 are spares"] in rows_of(book["Read me"])
    assert check_workbook(batch.workbook).cards == 7


def test_every_cell_is_text(book: Book) -> None:
    """No spreadsheet program converts a number, a UUID or a chip's hex digits."""
    cards = book["Cards"]
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert {cell.number_format for cell in cells} == {"@"}
    assert {cell.data_type for cell in cells if cell.value is not None} == {"s"}
    assert {type(cell.value) for row in cards.iter_rows() for cell in row[:4]} == {str}
    assert {cell.value for row in cards.iter_rows(min_row=2) for cell in row[4:]} == {None}
    assert all(cell.has_style for row in cards.iter_rows(min_row=2) for cell in row[4:])


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "a<b&c>d"])
def test_names_never_become_formulas(small: Batch, name: str) -> None:
    """Whatever the name of a batch or snapset, it is text in every cell."""
    header = replace(small.manifest.header, name=name, snapsets={name: 1}, cards=1)
    stream = BytesIO()
    write_workbook(stream, header, [Card(1, cards_of(small)[0].uuid, name)])
    book = openpyxl.load_workbook(stream)
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s"}
    assert [cell.coordinate for cell in cells if cell.value == name] == ["B2", "A4", "D2", "B1"]
    with ZipFile(stream) as archive:
        parts = b"".join(archive.read(part) for part in archive.namelist() if "worksheets/" in part)
    assert not re.search(rb"<f\b", parts)


def test_control_characters_in_titles_are_escaped(small: Batch) -> None:
    """A workbook cannot contain them, and a person's terminal should not."""
    title = "Larger \x1b[31m\x07 text\r\n\N{RIGHT-TO-LEFT OVERRIDE}"
    header = replace(small.manifest.header, snapsets={"empty": 1}, cards=1, titles={"empty": title})
    stream = BytesIO()
    write_workbook(stream, header, [Card(1, cards_of(small)[0].uuid, "empty")])
    cells = [str(cell.value) for sheet in openpyxl.load_workbook(stream) for row in sheet.iter_rows() for cell in row]
    shown = r"Larger \x1b[31m\x07 text\r\n\u202e"
    assert {shown, f"1 card: {shown}"} <= {*cells}


def test_only_the_vendors_columns_are_unlocked(book: Book) -> None:
    """The batch's data is protected against accidental edits, without a password."""
    for sheet in book:
        assert isinstance(sheet, Worksheet)
        assert sheet.protection.sheet is True
        assert sheet.protection.password is None
        # Columns and rows can still be resized.
        assert (sheet.protection.formatColumns, sheet.protection.formatRows) == (False, False)
    locked = [[cell.protection.locked for cell in row] for row in book["Cards"].iter_rows()]
    assert locked == [[True] * 7] + [[True] * 4 + [False] * 3] * 9
    others = [book["Read me"], book["Batch"]]
    assert {cell.protection.locked for sheet in others for row in sheet.iter_rows() for cell in row} == {True}


def test_results_have_a_drop_down_list(book: Book) -> None:
    """Each result is one of three words or empty; spreadsheet programs accept no other."""
    cards = book["Cards"]
    assert isinstance(cards, Worksheet)
    [choice] = cards.data_validations.dataValidation
    assert (choice.type, choice.formula1, choice.allow_blank) == ("list", '"ok,failed,spare"', True)
    assert (str(choice.sqref), choice.showErrorMessage, choice.errorStyle) == ("F2:F10", True, None)
    assert choice.error == "The result is ok, failed or spare. Put anything else into the column Note."
    # The drop-down arrow is visible; in the file format, this flag hides it (ECMA-376 part 1, 18.3.1.32).
    assert not choice.hide_drop_down


def test_each_sheet_can_be_printed(book: Book) -> None:
    """Pages fit the width of the sheet, have a number and the batch's name, and repeat the titles."""
    for sheet in book:
        assert isinstance(sheet, Worksheet)
        assert sheet.sheet_properties.pageSetUpPr is not None
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert (sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight) == (1, 0)
        foot = sheet.oddFooter
        assert foot is not None
        assert [foot.left.text, foot.center.text, foot.right.text] == [
            "Batch spring",
            "Page &P of &N",
            "Confidential",
        ]
    cards = book["Cards"]
    assert isinstance(cards, Worksheet)
    assert cards.print_title_rows == "$1:$1"
    assert cards.page_setup.orientation == "landscape"


def test_instructions_fit_the_batch(small: Batch, book: Book) -> None:
    """Batch, count and digest are above the steps, and every choice of the drop-down list is explained."""
    lines = rows_of(book["Read me"])
    assert lines[0] == ["Cards of batch spring", None]
    assert ["Digest", small.manifest.header.digest] in lines
    said = "\n".join(str(cell) for line in lines for cell in line)
    assert "9, one in each row" in said
    for word in [*TITLES[1:], "ok", "failed", "spare", "NDEF", "leading zeros", "Don't sort"]:
        assert word.lower() in said.lower(), word
    # Rows are high enough for wrapped text.
    sheet = book["Read me"]
    for row, (_, text) in enumerate(lines, 1):
        height = sheet.row_dimensions[row].height
        assert height is not None
        assert height >= 15 * (len(text or "") / 90)


def test_titles_are_bold_and_frozen(book: Book) -> None:
    """The first row is bold and frozen, and columns are wide enough."""
    cards = book["Cards"]
    assert all(cell.font.bold for cell in cards[1])
    assert not any(cell.font.bold for row in cards.iter_rows(min_row=2) for cell in row)
    assert cards.freeze_panes == "A2"
    assert cards.column_dimensions["B"].width >= 36
    # The vendor's columns have a different style.
    colours = [cell.fill.fgColor.rgb for cell in cards[1]]
    assert len(set(colours[:4])) == len(set(colours[4:])) == 1
    assert colours[0] != colours[4]


def test_nothing_is_hidden_merged_or_calculated(small: Batch, book: Book) -> None:
    """There is nothing that confuses encoding tools: formulas, merged cells, hidden rows, columns or sheets."""
    for sheet in book:
        assert isinstance(sheet, Worksheet)
        assert not sheet.merged_cells.ranges
        assert sheet.sheet_state == "visible"
        assert not any(dimension.hidden for dimension in sheet.column_dimensions.values())
        assert not any(dimension.hidden for dimension in sheet.row_dimensions.values())
        assert not any(cell.data_type == "f" for row in sheet.iter_rows() for cell in row)
    with ZipFile(small.workbook) as archive:
        parts = b"".join(archive.read(name) for name in archive.namelist() if "worksheets/" in name)
        assert not re.search(rb"<f\b", parts)
        assert b"hidden" not in parts
        assert archive.testzip() is None


def test_sheet_has_its_dimension(small: Batch) -> None:
    """Readers that rely on the dimension get every row and column."""
    book = openpyxl.load_workbook(small.workbook, read_only=True)
    try:
        assert book["Cards"].calculate_dimension() == "A1:G10"
        assert len(rows_of(book["Cards"])) == 10
    finally:
        book.close()


def test_workbook_is_reproducible(tmp_path: Path) -> None:
    """The same batch gives the same file, byte for byte; nothing in it says when it was written."""
    batch = generate("old", SHARES, tmp_path, seed=1)
    stream = BytesIO()
    write_workbook(stream, batch.manifest.header, cards_of(batch))
    assert stream.getvalue() == batch.workbook.read_bytes()
    book = openpyxl.load_workbook(batch.workbook)
    for told in (book.properties.created, book.properties.modified):
        assert told == datetime(2000, 1, 1)  # noqa: DTZ001 - workbooks have times without a zone
    with ZipFile(batch.workbook) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_workbook_can_be_written_to_a_pipe(small: Batch) -> None:
    """The stream need not be seekable."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as stream:
        write_workbook(stream, small.manifest.header, cards_of(small))
    with os.fdopen(reader, "rb") as stream:
        book = openpyxl.load_workbook(BytesIO(stream.read()))
    assert rows_of(book["Cards"])[1][1] == cards_of(small)[0].uuid


def test_large_workbook_takes_constant_memory(tmp_path: Path, peak_memory: Callable[..., int]) -> None:
    """A hundred thousand cards are minted, written to both files and read with nearly the memory of a thousand."""
    code = """
import sys
from pathlib import Path
from dataloader.operations.generate import generate
generate("large", {"empty": int(sys.argv[1])}, Path(sys.argv[2]))
"""
    small, large = (peak_memory(code, count, tmp_path / str(count)) for count in (1_000, 100_000))
    assert large < small * 1.35
    found = check_workbook(tmp_path / "100000" / "large.xlsx")
    assert (found.name, found.cards) == ("large", 100_000)


# Validation.


def test_valid_workbook_passes(small: Batch) -> None:
    """The result has the batch's name and number of cards."""
    found = check_workbook(small.workbook)
    assert (found.path, found.name, found.cards) == (small.workbook, "spring", 9)


def test_workbook_saved_by_another_program_passes(small: Batch, book: Book) -> None:
    """Opened and saved, with the vendor's columns filled in and rows sorted, it is still the same batch."""
    sheet = book["Cards"]
    rows = rows_of(sheet)[1:]
    Random(4).shuffle(rows)
    for at, row in enumerate(rows, 2):
        for column, value in enumerate([*row[:4], "04E2A1B2C3D480", "ok", ""], 1):
            sheet.cell(at, column).value = value
    book.save(small.workbook)
    assert check_workbook(small.workbook).cards == 9


def test_blank_rows_are_skipped(small: Batch, book: Book) -> None:
    """Spreadsheet programs keep emptied rows."""
    book["Cards"].insert_rows(4, 2)
    book["Cards"]["G20"].value = ""
    book.save(small.workbook)
    assert check_workbook(small.workbook).cards == 9


def refusal(path: Path) -> list[str]:
    """Return the problems found, one per line, without the file's path."""
    with pytest.raises(InputError) as caught:
        check_workbook(path)
    assert caught.value.exit_code is ExitCode.INPUT
    assert all(problem.where.startswith(str(path)) for problem in caught.value.problems)
    return [line.removeprefix(str(path)).removeprefix(", ") for line in str(caught.value).splitlines()]


DIGEST = f": the digest does not match the rows: a cell was edited {REMAKE}"
OTHER = "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21"


@pytest.mark.parametrize(
    ("sheet", "cell", "value", "told"),
    [
        ("Cards", "B5", OTHER, ["row 5: the check value {check!r} is not that of UUID " + f"{OTHER} {REMAKE}", DIGEST]),
        ("Cards", "C5", "BBBBBB", ["row 5: the check value 'BBBBBB' is not that of UUID {uuid} " + REMAKE]),
        ("Cards", "C5", None, ["row 5: the check value '' is not that of UUID {uuid} " + REMAKE]),
        ("Cards", "D2", "snapset_3", [DIGEST]),
        ("Batch", "B4", f"sha256:{'0' * 64}", [DIGEST]),
    ],
)
def test_changed_cell_is_detected(small: Batch, book: Book, sheet: str, cell: str, value: Any, told: list[str]) -> None:
    """A plausible change does not match the check value or the digest."""
    card = cards_of(small)[3]
    book[sheet][cell].value = value
    book.save(small.workbook)
    assert refusal(small.workbook) == [line.format(check=check_value(card.uuid), uuid=card.uuid) for line in told]


def test_swapped_uuids_are_detected(small: Batch, book: Book) -> None:
    """With or without their check values."""
    sheet = book["Cards"]
    for column, told in (("B", 3), ("C", 1)):
        first, second = sheet[f"{column}3"], sheet[f"{column}7"]
        first.value, second.value = second.value, first.value
        book.save(small.workbook)
        assert len(refusal(small.workbook)) == told
    assert refusal(small.workbook) == [DIGEST]


@pytest.mark.parametrize(
    ("cell", "value", "rule"),
    [
        ("B4", "2B8B1A5E-6C1D-4F0E-9A57-0D3C5E7F9B21", "uuid: '2B8B1A5E-6C1D-4F0E-9A57-0D3C5E7F9B21' must be like"),
        ("B4", None, "uuid: '' must be like"),
        ("B4", 4.2e-7, "uuid: '4.2e-07' must be like"),
        ("A4", "three", "number: 'three' must be a whole number"),
        ("A4", 3, "number: '3.0' must be a whole number"),
        ("A4", "0", "number: 0 is less than the minimum of 1"),
        ("A4", "9" * 5000, "… must be a whole number"),
        ("D4", "snapset 1", "snapset: 'snapset 1' must be like"),
    ],
)
def test_invalid_cell_is_reported_with_its_row(small: Batch, book: Book, cell: str, value: Any, rule: str) -> None:
    """The error names the row and the rule, and the row does not count."""
    book["Cards"][cell].value = value
    book.save(small.workbook)
    first, *others = refusal(small.workbook)
    assert first.startswith("row 4: ")
    assert rule in first
    assert first.endswith(REMAKE)
    assert others == [f": holds 8 cards, but its sheet says 9 {REMAKE}", DIGEST]


def test_duplicate_row_is_detected(small: Batch, book: Book) -> None:
    """It is reported by UUID and number, with the row of the first one."""
    sheet = book["Cards"]
    sheet.append([cell.value for cell in sheet[3]])
    book.save(small.workbook)
    card = cards_of(small)[1]
    assert refusal(small.workbook) == [
        f"row 11: UUID {card.uuid} is also in row 3 {REMAKE}",
        f"row 11: card number 2 occurs more than once {REMAKE}",
    ]


def test_missing_row_is_detected(small: Batch, book: Book) -> None:
    """By the count and the digest."""
    book["Cards"].delete_rows(5)
    book.save(small.workbook)
    assert refusal(small.workbook) == [f": holds 8 cards, but its sheet says 9 {REMAKE}", DIGEST]


def test_rows_of_another_batch_are_detected(small: Batch, book: Book, tmp_path: Path) -> None:
    """Rows pasted from another workbook do not match."""
    other = generate("autumn", {"empty": 1}, tmp_path)
    pasted = cards_of(other)[0]
    book["Cards"].append([str(pasted.number), pasted.uuid, check_value(pasted.uuid), pasted.snapset])
    book.save(small.workbook)
    assert refusal(small.workbook) == [
        f"row 11: card number 1 occurs more than once {REMAKE}",
        DIGEST,
    ]


def test_every_problem_is_reported(small: Batch, book: Book) -> None:
    """One check finds everything that is wrong, not only the first problem."""
    sheet = book["Cards"]
    sheet["B2"].value = "x"
    sheet["B4"].value = sheet["B3"].value
    sheet["A6"].value = "4"
    book["Batch"]["B3"].value = "10"
    book.save(small.workbook)
    problems = refusal(small.workbook)
    assert [problem.partition(":")[0] for problem in problems] == [
        *("row 2", "row 4", "row 4", "row 6", "", ""),
    ]
    assert problems[4] == f": holds 7 cards, but its sheet says 10 {REMAKE}"


def test_wrong_columns_are_detected(small: Batch, book: Book) -> None:
    """A renamed, missing or swapped column is reported with the required ones."""
    book["Cards"]["B1"].value = "Uuid"
    book.save(small.workbook)
    expected = [f"row 1: the columns are not {', '.join(TITLES)} {REMAKE}"]
    assert refusal(small.workbook) == expected
    book["Cards"]["B1"].value = "UUID"
    book["Cards"].delete_cols(3)
    book.save(small.workbook)
    assert refusal(small.workbook) == expected


def test_missing_sheet_is_detected(small: Batch, book: Book) -> None:
    """A workbook without one of its sheets, or without a line about the batch, is rejected."""
    book["Batch"].delete_rows(4)
    book.save(small.workbook)
    assert refusal(small.workbook) == [f"sheet Batch: lacks Digest {REMAKE}"]
    for name in ("Batch", "Cards"):
        less = openpyxl.load_workbook(small.workbook)
        del less[name]
        if name == "Cards":
            less.create_sheet("Sheet1")
        path = small.workbook.with_name(f"without-{name}.xlsx")
        less.save(path)
        assert refusal(path) == [f": has no sheet {name} {REMAKE}"]
    strange = openpyxl.Workbook()
    strange.save(small.workbook)
    assert refusal(small.workbook) == [f": has no sheets Cards and Batch {REMAKE}"]


def test_empty_sheet_is_rejected(small: Batch, book: Book) -> None:
    """A workbook without rows is reported like one with wrong columns."""
    del book["Cards"]
    book.create_sheet("Cards")
    book.save(small.workbook)
    assert refusal(small.workbook) == [f"row 1: the columns are not {', '.join(TITLES)} {REMAKE}"]


def not_a_zip(path: Path) -> None:
    """Write another kind of file with a workbook's name."""
    path.write_text("Card number,UUID,Check,Snapset\n")


def another_zip(path: Path) -> None:
    """Write a ZIP archive that is not a workbook."""
    with ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")


def truncated(path: Path) -> None:
    """Truncate a workbook."""
    path.write_bytes(path.read_bytes()[:-200])


def empty(path: Path) -> None:
    """Write an empty file."""
    path.write_bytes(b"")


def broken_xml(path: Path) -> None:
    """Truncate the XML of the sheet, in an intact archive."""
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    with ZipFile(copy) as source, ZipFile(path, "w", ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content[: len(content) // 2] if name.endswith("sheet2.xml") else content)
    copy.unlink()


@pytest.mark.parametrize("damage", [not_a_zip, another_zip, truncated, empty])
def test_file_that_is_not_a_workbook_is_rejected(small: Batch, damage: Callable[[Path], None]) -> None:
    """Another file with a workbook's name is a one-line error about the file."""
    damage(small.workbook)
    [problem] = refusal(small.workbook)
    assert re.fullmatch(r": is not a workbook written by generate: .+ \(take the one that generate wrote\)", problem)


def test_truncated_sheet_is_rejected(small: Batch) -> None:
    """A sheet without its end is never read as a smaller batch."""
    broken_xml(small.workbook)
    refusal(small.workbook)


def test_damaged_workbook_is_rejected(small: Batch) -> None:
    """With any damaged bytes, it is rejected, or has the same cards as before; no internal error."""
    whole = small.workbook.read_bytes()
    source = Random(8)
    refused = 0
    for _ in range(400):
        at = source.randrange(len(whole))
        damaged = whole[:at] + source.randbytes(source.choice([1, 4, 40])) + whole[at + source.choice([1, 4, 40]) :]
        small.workbook.write_bytes(damaged)
        try:
            found = check_workbook(small.workbook)
        except DataloaderError as error:
            assert isinstance(error, InputError)  # noqa: PT017 - both outcomes are valid
            refused += 1
        else:
            assert (found.name, found.cards) == ("spring", 9)
    assert refused > 200


def test_missing_workbook_is_a_file_error(tmp_path: Path) -> None:
    """A missing path or a folder is a file error."""
    (tmp_path / "folder.xlsx").mkdir()
    for name, reason in (
        ("none.xlsx", "no such file or folder (give the path of a workbook that can be read)"),
        ("folder.xlsx", "this is a folder (name a file in it)"),
    ):
        with pytest.raises(FileError) as caught:
            check_workbook(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {reason}"


def test_pipe_does_not_block_validation(tmp_path: Path, command: Command) -> None:
    """A named pipe without a writer is rejected at once."""
    path = tmp_path / "spring.xlsx"
    os.mkfifo(path)
    done = command("validate", path, timeout=60)
    assert done.code == ExitCode.FILE
    assert done.stderr == f"error: {path}: is not a regular file (save it as a file first)\n"


def test_openpyxl_never_uses_lxml(tmp_path: Path) -> None:
    """With lxml installed, a batch would give other bytes; a package that only looks like it is never asked."""
    (tmp_path / "lxml").mkdir()
    (tmp_path / "lxml" / "__init__.py").touch()
    (tmp_path / "lxml" / "etree.py").write_text("LXML_VERSION = (9, 9, 9, 9)\n")
    env = {name: value for name, value in os.environ.items() if name != "OPENPYXL_LXML"} | {"PYTHONPATH": str(tmp_path)}
    script = "import dataloader.vendor.templates, openpyxl; print(openpyxl.LXML)"
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")
