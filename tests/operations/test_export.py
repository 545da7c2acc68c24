"""Exporting a batch in the layouts of vendors' tools, and what LibreOffice makes of what is written."""

import csv
import json
import shutil
import stat
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from dataloader.batch import Card
from dataloader.common import DataloaderError, ExitCode, FileError, InputError, UsageError, layouts_dir
from dataloader.operations import STANDARD, all_layouts, export, export_path, generate, validate
from dataloader.operations.export import check_export
from dataloader.operations.generate import Batch
from dataloader.vendor import COLUMNS, check_value, check_workbook, layouts
from dataloader.vendor.layouts import get_layout, layout_names, layout_of, uuid_titles
from tests.support.command import GOOD, Command
from tests.support.office import Office

SHARES = {"snapset_1a": 3, "empty": 2}
SPARES = {"snapset_1a": 1, "empty": 1}
TAGWRITER = (
    "Type (Link, Text);Content (http://....);URI type (URI, URL, File...);Description;Interaction counter;"
    "UID mirror;Interaction counter mirror"
)
EACH_LAYOUT = pytest.mark.parametrize("layout", all_layouts())


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A batch of five cards and two spares."""
    return generate("spring", SHARES, tmp_path / "batches", spares=SPARES)


@pytest.fixture
def cards(batch: Batch) -> list[Card]:
    """The cards of the batch."""
    return list(batch.manifest.cards())


@pytest.fixture
def exported(batch: Batch, tmp_path: Path) -> Callable[[str], Path]:
    """Export the batch in a layout: ``exported("csv")``."""

    def write(layout: str) -> Path:
        path = export_path(batch.manifest.header, layout, tmp_path / "out")
        return export(batch.manifest, layout, path).path

    return write


# What is written.


def test_the_standard_layout_is_the_workbook_that_generate_wrote(batch: Batch, exported: Callable[[str], Path]) -> None:
    """Byte for byte, so that a workbook that was lost can be sent again."""
    path = exported(STANDARD)
    assert path.name == "spring.xlsx"
    assert path.read_bytes() == batch.workbook.read_bytes()


def test_csv_has_the_workbooks_columns(cards: list[Card], exported: Callable[[str], Path]) -> None:
    """UTF-8 without a mark, lines that end as RFC 4180 says, the spares told as such."""
    path = exported("csv")
    assert path.name == "spring.csv"
    text = path.read_bytes().decode()
    assert text.count("\n") == text.count("\r\n") == 8
    assert text.startswith("Card number,UUID,Check,Snapset,Chip UID,Result,Note\r\n1,")
    titles, *rows = csv.reader(StringIO(text, newline=""))
    assert titles == [column.title for column in COLUMNS]
    assert rows == [
        [str(card.number), card.uuid, check_value(card.uuid), card.snapset, "", result, ""]
        for card, result in zip(cards, ["", "", "", "spare", "", "", "spare"], strict=True)
    ]


def test_tagwriter_has_a_text_record_a_line(cards: list[Card], exported: Callable[[str], Path]) -> None:
    """Semicolons, and the app's own titles; the description says which card it is."""
    path = exported("tagwriter")
    assert path.name == "spring.tagwriter.csv"
    labels = ["1", "2", "3", "4 spare", "5", "6", "7 spare"]
    lines = [f"Text;{card.uuid};en;{label};no;no;no" for card, label in zip(cards, labels, strict=True)]
    assert path.read_bytes().decode() == "".join(f"{line}\r\n" for line in [TAGWRITER, *lines])


def test_gototags_has_one_sheet_of_text_without_formatting(cards: list[Card], exported: Callable[[str], Path]) -> None:
    """A row a tag with the attributes of a text record."""
    path = exported("gototags")
    assert path.name == "spring.gototags.xlsx"
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["Text Tags"]
    sheet = book["Text Tags"]
    assert isinstance(sheet, Worksheet)
    assert [list(row) for row in sheet.iter_rows(values_only=True)] == [
        ["Text", "LanguageCode", "EncodingType", "ReadOnly"],
        *([card.uuid, "en", "UTF8", None] for card in cards),
    ]
    cells = [cell for row in sheet.iter_rows() for cell in row]
    assert {cell.number_format for cell in cells} == {"@"}
    assert not any(cell.font.bold or cell.fill.fill_type for cell in cells)
    assert (sheet.protection.sheet, sheet.freeze_panes, sheet.merged_cells.ranges) == (False, None, set())
    with ZipFile(path) as archive:
        assert b"<f>" not in archive.read("xl/worksheets/sheet1.xml")


@EACH_LAYOUT
def test_the_same_batch_comes_out_the_same(batch: Batch, tmp_path: Path, layout: str) -> None:
    """Byte for byte, whenever it is exported; only its owner can read it, and every UUID is in it."""
    first, second = (
        export(batch.manifest, layout, export_path(batch.manifest.header, layout, tmp_path / name)).path
        for name in ("one", "two")
    )
    assert first.read_bytes() == second.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert [path.name for path in first.parent.iterdir()] == [first.name]


@pytest.mark.parametrize("layout", ["csv", "gototags"])
def test_an_export_takes_hardly_more_memory_for_many_cards(
    tmp_path: Path, peak_memory: Callable[..., int], layout: str
) -> None:
    """A batch streams through, however large it is."""
    code = """
import sys
from pathlib import Path
from dataloader.operations.export import export
from dataloader.batch.manifest import Header, Manifest, read_manifest, write_manifest
from dataloader.batch.mint import deal, mint
path, count = Path(sys.argv[2]), int(sys.argv[3])
with path.open("wb") as stream:
    header = Header("b", "2020-11-23T00:00:00.000Z", count, {"empty": count}, "")
    header = write_manifest(stream, header, deal(mint(count), header.snapsets))
export(Manifest(path, header), sys.argv[1], path.with_suffix(".exported"))
"""
    small, large = (peak_memory(code, layout, tmp_path / f"{count}.jsonl", count) for count in (1_000, 30_000))
    assert large < small * 1.25


def test_an_export_is_never_written_over_another_file(batch: Batch, tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    path = tmp_path / "spring.csv"
    path.write_text("theirs")
    with pytest.raises(FileError, match="already exists; dataloader never overwrites files"):
        export(batch.manifest, "csv", path)
    assert path.read_text() == "theirs"


@pytest.mark.parametrize("layout", [STANDARD, "gototags"])
def test_a_workbook_can_be_encrypted(batch: Batch, tmp_path: Path, layout: str) -> None:
    """With the password it is checked like any other; without, it is told as encrypted."""
    path = export_path(batch.manifest.header, layout, tmp_path)
    export(batch.manifest, layout, path, password="correct horse")
    [checked] = validate([path], None, password="correct horse")
    assert checked.problems == ()
    [checked] = validate([path], None)
    assert f"{path}: is encrypted (give the password with --password-file" in str(checked.problems[0])


@pytest.mark.parametrize("layout", ["csv", "tagwriter"])
def test_text_is_not_encrypted(batch: Batch, tmp_path: Path, layout: str) -> None:
    """A password for a file that can't have one is refused, and nothing is written in the clear."""
    path = tmp_path / "spring.csv"
    with pytest.raises(UsageError) as caught:
        export(batch.manifest, layout, path, password="correct horse")
    assert str(caught.value) == (
        f"--password-file: layout {layout} is text, which is not encrypted (choose a workbook)"
    )
    assert not path.exists()


@pytest.mark.parametrize(
    ("layout", "out", "path"),
    [
        ("csv", "out", "out/spring.csv"),
        ("csv", "out.d", "out.d/spring.csv"),
        ("csv", "there.csv", "there.csv/spring.csv"),
        ("csv", "for-them.csv", "for-them.csv"),
        ("tagwriter", "x/FOR-THEM.CSV", "x/FOR-THEM.CSV"),
        ("gototags", "for-them.xlsx", "for-them.xlsx"),
        (STANDARD, "for-them.xlsx", "for-them.xlsx"),
        (STANDARD, ".", "spring.xlsx"),
    ],
)
def test_a_folder_or_a_file_can_be_named(batch: Batch, tmp_path: Path, layout: str, out: str, path: str) -> None:
    """What ends like the layout's file is a file, unless there is a folder of this name."""
    (tmp_path / "there.csv").mkdir()
    assert export_path(batch.manifest.header, layout, Path(out)) == Path(path)


@pytest.mark.parametrize(("layout", "out"), [("csv", "a.xlsx"), ("gototags", "a.csv"), (STANDARD, "a.csv")])
def test_a_file_of_another_kind_is_refused(batch: Batch, layout: str, out: str) -> None:
    """Nobody gets CSV under the name of a workbook."""
    with pytest.raises(UsageError, match=rf"^--out {out}: layout {layout} is a \.(csv|xlsx) file \("):
        export_path(batch.manifest.header, layout, Path(out))


# Checking what was exported.


def test_an_exported_workbook_is_known_by_its_name(exported: Callable[[str], Path]) -> None:
    """A workbook that generate wrote is another thing."""
    path = exported("gototags")
    assert layout_of(path) is get_layout("gototags")
    assert check_export(path, get_layout("gototags")) == 7
    for name in ("spring.xlsx", "spring.csv", "spring.tagwriter.csv"):
        assert layout_of(path.with_name(name)) is None


def test_every_problem_of_an_exported_workbook_is_told(cards: list[Card], exported: Callable[[str], Path]) -> None:
    """UUIDs that are none, or there twice, by row; other columns at once."""
    path = exported("gototags")
    book = openpyxl.load_workbook(path)
    sheet = book["Text Tags"]
    sheet["A3"].value = sheet["A2"].value
    sheet["A5"].value = cards[3].uuid.upper()
    book.save(path)
    with pytest.raises(InputError) as caught:
        check_export(path, get_layout("gototags"))
    twice, wrong = str(caught.value).splitlines()
    assert twice == f"{path}, row 3: UUID {cards[0].uuid} stands in row 2 too (export it again)"
    assert wrong.startswith(f"{path}, row 5: {cards[3].uuid.upper()!r} does not match ")
    sheet["A1"].value = "Txt"
    book.save(path)
    with pytest.raises(InputError) as caught:
        check_export(path, get_layout("gototags"))
    assert str(caught.value) == (
        f"{path}, row 1: the columns are not Text, LanguageCode, EncodingType, ReadOnly (export it again)"
    )


# The layouts themselves.


@pytest.mark.parametrize("name", layout_names())
def test_each_layout_is_right_and_told_in_the_documentation(name: str) -> None:
    """It follows its schema, has a name of its own among files, and the page of layouts describes it."""
    layout = get_layout(name)
    assert layout.name == name
    assert layout.suffix.endswith(".xlsx" if layout.is_workbook else ".csv")
    page = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text("utf-8")
    assert f"| `{name}` |" in page
    assert all(f"`{column.title}`" in page for column in layout.columns)


def test_no_two_layouts_are_written_to_the_same_file() -> None:
    """Each layout has a suffix of its own."""
    suffixes = [get_layout(name).suffix for name in layout_names()]
    assert len({*suffixes, ".xlsx"}) == len(suffixes) + 1


def test_what_comes_back_can_be_found_by_its_title() -> None:
    """The titles under which a UUID stands are known to whoever reads the file again."""
    assert set(uuid_titles()) == {"UUID", "Text", "Content (http://....)"}


def test_a_new_file_is_a_new_layout(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else needs to be changed for one more; a file that breaks a rule is told, and what rule."""
    folder = tmp_path / "layouts"
    shutil.copytree(layouts_dir(), folder, ignore=shutil.ignore_patterns("*.py*", "__pycache__"))
    described = {
        "description": "tabs",
        "suffix": ".tabs.csv",
        "delimiter": "\t",
        "columns": [{"title": "Tag", "field": "uuid"}, {"title": "Quoted", "text": 'a "b" c'}],
    }
    (folder / "tabs.json5").write_text(json.dumps(described))
    (folder / "wrong.json5").write_text(json.dumps({**described, "columns": [{"title": "=1", "field": "number"}]}))
    monkeypatch.setattr(layouts, "layouts_dir", lambda: folder)
    layouts.get_layout.cache_clear()
    layouts.layout_names.cache_clear()
    try:
        assert all_layouts() == ["standard", "csv", "gototags", "tabs", "tagwriter", "wrong"]
        path = export(batch.manifest, "tabs", tmp_path / "spring.tabs.csv").path
        first = next(batch.manifest.cards())
        assert path.read_text("utf-8").splitlines()[:2] == ["Tag\tQuoted", f'{first.uuid}\t"a ""b"" c"']
        with pytest.raises(InputError) as caught:
            export(batch.manifest, "wrong", tmp_path / "wrong.csv")
        assert len(caught.value.problems) == 2
        assert "wrong.json5: columns.0.title: '=1' does not match" in str(caught.value)
    finally:
        layouts.get_layout.cache_clear()
        layouts.layout_names.cache_clear()


# The command.


def test_a_layout_of_ones_own_is_a_file(batch: Batch, here: Command, tmp_path: Path) -> None:
    """The example of docs/own-layout.md works as it is; a mistake is named with its rule, a slip with a suggestion."""
    page = (Path(__file__).parents[2] / "docs" / "own-layout.md").read_text("utf-8")
    own = tmp_path / "my.json5"
    own.write_text(page.partition("```json5\n")[2].partition("```")[0])
    done = here("export", batch.manifest.path, "--layout", own, "--out", "vendor")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    [written] = (tmp_path / "vendor").iterdir()
    assert written.name == f"{batch.manifest.header.name}.example.csv"
    heads, first, *_ = written.read_text("utf-8").splitlines()
    assert heads == "Serial;NDEF text;Language;Chip UID;Result"
    assert first.startswith(f"1;{next(batch.manifest.cards()).uuid};en;;")
    wrong = tmp_path / "wrong.json5"
    wrong.write_text(own.read_text().replace('field: "uuid"', 'field: "uid"'))
    done = here("export", batch.manifest.path, "--layout", wrong, "--out", "other")
    assert done.code == ExitCode.INPUT
    assert f"{wrong}: columns.1.field: " in done.stderr
    done = here("export", batch.manifest.path, "--layout", tmp_path / "m.json5", "--out", "other")
    assert (done.code, f"did you mean {own}?" in done.stderr) == (ExitCode.FILE, True)


@EACH_LAYOUT
def test_the_command_says_what_it_wrote(batch: Batch, here: Command, layout: str) -> None:
    """Text for people, one object for programs; the second time the file is there."""
    path = export_path(batch.manifest.header, layout, Path("out"))
    arguments = ("export", batch.manifest.path, "--layout", layout, "--out")
    done = here(*arguments, "out", "--chip", "ultralight")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.splitlines() == [
        f"exported 7 cards (2 of them spares) of batch spring, layout {layout}",
        f"file      {path}  (for the vendor)",
        "chip      MIFARE Ultralight: a card takes 46 of its 48 bytes, 2 are left",
    ]
    assert here(*arguments, "other", "--json").data == {
        **GOOD,
        "name": "spring",
        "cards": 7,
        "spares": SPARES,
        "digest": batch.manifest.header.digest,
        "layout": layout,
        "file": str(Path("other") / path.name),
        "encrypted": False,
    }
    again = here(*arguments, "out")
    assert again.code == ExitCode.FILE
    assert again.stderr.startswith(f"error: {path}: already exists; dataloader never overwrites files (")
    done = here("validate", "out", "other")
    assert done.code == (ExitCode.OK if path.suffix == ".xlsx" else ExitCode.INPUT)


def test_the_command_encrypts(batch: Batch, here: Command, tmp_path: Path) -> None:
    """With a password file, and says so; not for text."""
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "password").chmod(0o600)
    arguments = ("export", batch.manifest.path, "--password-file", "password", "--layout")
    done = here(*arguments, "gototags")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert "encrypted: the password goes another way than the file" in done.stdout
    done = here("validate", "spring.gototags.xlsx", "--password-file", "password")
    assert done.stdout == "ok  spring.gototags.xlsx: workbook, layout gototags, 7 cards\n"
    done = here(*arguments, "csv")
    assert (done.code, done.stdout) == (ExitCode.USAGE, "")


def test_a_manifest_that_is_wrong_is_not_exported(batch: Batch, here: Command, tmp_path: Path) -> None:
    """The whole manifest is checked before a file is made."""
    changed = tmp_path / "changed.batch.jsonl"
    changed.write_bytes(batch.manifest.path.read_bytes().replace(b'"number":3', b'"number":8'))
    done = here("export", changed, "--layout", "csv", "--out", "out")
    assert done.code == ExitCode.INPUT
    assert f"{changed}, line 4: card number 8 stands where number 3 belongs" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_changes_while_it_is_exported_leaves_no_file(batch: Batch, tmp_path: Path) -> None:
    """A file is whole, or not there."""
    batch.manifest.path.write_bytes(batch.manifest.path.read_bytes().replace(b'"number":7', b'"number":9'))
    with pytest.raises(DataloaderError, match="has changed since it was checked"):
        export(batch.manifest, "csv", tmp_path / "out" / "spring.csv")
    assert list((tmp_path / "out").iterdir()) == []


# What a spreadsheet program makes of it.


def test_libreoffice_reads_and_keeps_the_workbook(
    office: Office, batch: Batch, cards: list[Card], tmp_path: Path
) -> None:
    """Every UUID is intact as CSV; saved as a workbook again it keeps the locks and the drop-down, and is right."""
    text = office.save(batch.workbook, tmp_path / "saved.csv").read_text("utf-8")
    assert list(csv.reader(StringIO(text))) == [
        [column.title for column in COLUMNS],
        *(
            [str(card.number), card.uuid, check_value(card.uuid), card.snapset, "", result, ""]
            for card, result in zip(cards, ["", "", "", "spare", "", "", "spare"], strict=True)
        ),
    ]
    saved = office.save(batch.workbook, tmp_path / "saved.xlsx")
    assert check_workbook(saved).cards == 7
    book = openpyxl.load_workbook(saved)
    assert book.sheetnames == ["Read me", "Cards", "Batch"]
    sheet = book["Cards"]
    assert isinstance(sheet, Worksheet)
    assert [each.protection.sheet for each in book.worksheets] == [True] * 3
    assert [[cell.protection.locked for cell in row] for row in sheet["A2:G8"]] == [[True] * 4 + [False] * 3] * 7
    assert {cell.number_format for row in sheet["A2:G8"] for cell in row} == {"@"}
    [choice] = sheet.data_validations.dataValidation
    assert (choice.type, choice.formula1, str(choice.sqref)) == ("list", '"ok,failed,spare"', "F2:F8")
    # Without a window there is no frozen row to be kept.
    assert sheet.print_title_rows == "$1:$1"
    assert sheet.page_setup.orientation == "landscape"


def test_libreoffice_opens_an_encrypted_workbook(
    office: Office, batch: Batch, cards: list[Card], tmp_path: Path
) -> None:
    """With the password, as Excel does."""
    path = export(batch.manifest, STANDARD, tmp_path / "encrypted.xlsx", password="correct horse").path
    text = office.save(path, tmp_path / "saved.csv", password="correct horse").read_text("utf-8")
    assert [row["UUID"] for row in csv.DictReader(StringIO(text))] == [card.uuid for card in cards]
