"""Exporting a batch in vendors' layouts, and opening the files in LibreOffice."""

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
        export(batch.manifest, layout, path)
        return path

    return write


# Content.


def test_standard_layout_equals_the_workbook_of_generate(batch: Batch, exported: Callable[[str], Path]) -> None:
    """Byte for byte, so that a lost workbook can be sent again."""
    path = exported(STANDARD)
    assert path.name == "spring.xlsx"
    assert path.read_bytes() == batch.workbook.read_bytes()


def test_csv_has_the_columns_of_the_workbook(cards: list[Card], exported: Callable[[str], Path]) -> None:
    """UTF-8 without a byte order mark, line ends as in RFC 4180, spares marked."""
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


def test_tagwriter_has_one_text_record_per_line(cards: list[Card], exported: Callable[[str], Path]) -> None:
    """Semicolons, and the app's own titles; the description identifies the card."""
    path = exported("tagwriter")
    assert path.name == "spring.tagwriter.csv"
    labels = ["1", "2", "3", "4 spare", "5", "6", "7 spare"]
    lines = [f"Text;{card.uuid};en;{label};no;no;no" for card, label in zip(cards, labels, strict=True)]
    assert path.read_bytes().decode() == "".join(f"{line}\r\n" for line in [TAGWRITER, *lines])


def test_gototags_has_one_plain_sheet(cards: list[Card], exported: Callable[[str], Path]) -> None:
    """One row for each tag, with the attributes of a text record."""
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
def test_export_is_reproducible(batch: Batch, tmp_path: Path, layout: str) -> None:
    """Byte for byte, at any time; the file is private and contains every UUID."""
    first, second = (export_path(batch.manifest.header, layout, tmp_path / name) for name in ("one", "two"))
    export(batch.manifest, layout, first)
    export(batch.manifest, layout, second)
    assert first.read_bytes() == second.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert [path.name for path in first.parent.iterdir()] == [first.name]


@pytest.mark.parametrize("layout", ["csv", "gototags"])
def test_export_takes_constant_memory(tmp_path: Path, peak_memory: Callable[..., int], layout: str) -> None:
    """A batch of any size is streamed."""
    code = """
import sys
from pathlib import Path
from dataloader.operations.export import export
from dataloader.batch.manifest import BatchHeader, Manifest, read_manifest, write_manifest
from dataloader.batch.mint import deal, mint
path, count = Path(sys.argv[2]), int(sys.argv[3])
with path.open("wb") as stream:
    header = BatchHeader("b", "2020-11-23T00:00:00.000Z", count, {"empty": count}, "")
    header = write_manifest(stream, header, deal(mint(count), header.snapsets))
export(Manifest(path, header), sys.argv[1], path.with_suffix(".exported"))
"""
    small, large = (peak_memory(code, layout, tmp_path / f"{count}.jsonl", count) for count in (1_000, 30_000))
    assert large < small * 1.25


def test_export_never_overwrites(batch: Batch, tmp_path: Path) -> None:
    """An existing file is kept."""
    path = tmp_path / "spring.csv"
    path.write_text("theirs")
    with pytest.raises(FileError, match="already exists; dataloader never overwrites files"):
        export(batch.manifest, "csv", path)
    assert path.read_text() == "theirs"


@pytest.mark.parametrize("layout", [STANDARD, "gototags"])
def test_exported_workbook_can_be_encrypted(batch: Batch, tmp_path: Path, layout: str) -> None:
    """It is validated with the password; without, it is reported as encrypted."""
    path = export_path(batch.manifest.header, layout, tmp_path)
    export(batch.manifest, layout, path, password="correct horse")
    [checked] = validate([path], None, password="correct horse")
    assert checked.problems == ()
    [checked] = validate([path], None)
    assert f"{path}: is encrypted (give the password with --password-file" in str(checked.problems[0])


@pytest.mark.parametrize("layout", ["csv", "tagwriter"])
def test_csv_cannot_be_encrypted(batch: Batch, tmp_path: Path, layout: str) -> None:
    """A password for a layout without encryption is refused, and nothing is written unencrypted."""
    path = tmp_path / "spring.csv"
    with pytest.raises(UsageError) as caught:
        export(batch.manifest, layout, path, password="correct horse")
    assert str(caught.value) == (
        f"--password-file: layout {layout} is text, which can't be encrypted (choose a workbook)"
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
def test_output_can_be_a_folder_or_file(batch: Batch, tmp_path: Path, layout: str, out: str, path: str) -> None:
    """A name that ends like the layout's files is a file, unless there is such a folder."""
    (tmp_path / "there.csv").mkdir()
    assert export_path(batch.manifest.header, layout, Path(out)) == Path(path)


@pytest.mark.parametrize(("layout", "out"), [("csv", "a.xlsx"), ("gototags", "a.csv"), (STANDARD, "a.csv")])
def test_wrong_suffix_is_rejected(batch: Batch, layout: str, out: str) -> None:
    """CSV is never written to a file named like a workbook."""
    with pytest.raises(UsageError, match=rf"^--out {out}: layout {layout} is a \.(csv|xlsx) file \("):
        export_path(batch.manifest.header, layout, Path(out))


# Validation.


def test_exported_workbook_is_recognized_by_name(exported: Callable[[str], Path]) -> None:
    """It is distinguished from a workbook of generate."""
    path = exported("gototags")
    assert layout_of(path) is get_layout("gototags")
    assert check_export(path, get_layout("gototags")) == 7
    for name in ("spring.xlsx", "spring.csv", "spring.tagwriter.csv"):
        assert layout_of(path.with_name(name)) is None


def test_exported_workbook_reports_every_problem(cards: list[Card], exported: Callable[[str], Path]) -> None:
    """Invalid and duplicate UUIDs by row; wrong columns at once."""
    path = exported("gototags")
    book = openpyxl.load_workbook(path)
    sheet = book["Text Tags"]
    sheet["A3"].value = sheet["A2"].value
    sheet["A5"].value = cards[3].uuid.upper()
    book.save(path)
    with pytest.raises(InputError) as caught:
        check_export(path, get_layout("gototags"))
    twice, wrong = str(caught.value).splitlines()
    assert twice == f"{path}, row 3: UUID {cards[0].uuid} is also in row 2 (export it again)"
    assert wrong.startswith(f"{path}, row 5: {cards[3].uuid.upper()!r} must be like ")
    sheet["A1"].value = "Txt"
    book.save(path)
    with pytest.raises(InputError) as caught:
        check_export(path, get_layout("gototags"))
    assert str(caught.value) == (
        f"{path}, row 1: the columns are not Text, LanguageCode, EncodingType, ReadOnly (export it again)"
    )


# The layouts themselves.


@pytest.mark.parametrize("name", layout_names())
def test_each_layout_is_valid_and_documented(name: str) -> None:
    """It follows its schema, has its own file name, and is described on the page of layouts."""
    layout = get_layout(name)
    assert layout.name == name
    assert layout.suffix.endswith(".xlsx" if layout.is_workbook else ".csv")
    page = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text("utf-8")
    assert f"| `{name}` |" in page
    assert all(f"`{column.title}`" in page for column in layout.columns)


def test_layouts_have_distinct_suffixes() -> None:
    """No two layouts are written to the same file."""
    suffixes = [get_layout(name).suffix for name in layout_names()]
    assert len({*suffixes, ".xlsx"}) == len(suffixes) + 1


def test_uuid_columns_are_recognized_when_they_come_back() -> None:
    """Reconcile knows the titles of the UUID columns."""
    assert set(uuid_titles()) == {"UUID", "Text", "Content (http://....)"}


def test_new_layout_needs_only_a_file(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else has to change; an invalid file is reported with the broken rule."""
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
        path = tmp_path / "spring.tabs.csv"
        export(batch.manifest, "tabs", path)
        first = next(batch.manifest.cards())
        assert path.read_text("utf-8").splitlines()[:2] == ["Tag\tQuoted", f'{first.uuid}\t"a ""b"" c"']
        with pytest.raises(InputError) as caught:
            export(batch.manifest, "wrong", tmp_path / "wrong.csv")
        assert len(caught.value.problems) == 2
        assert "wrong.json5: columns.0.title: '=1' must be like 'Chip UID'" in str(caught.value)
    finally:
        layouts.get_layout.cache_clear()
        layouts.layout_names.cache_clear()


# The command.


def test_own_layout_can_be_a_file(batch: Batch, here: Command, tmp_path: Path) -> None:
    """The example of docs/own-layout.md works; errors name the broken rule, and typos get a suggestion."""
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
def test_export_command_reports_its_output(batch: Batch, here: Command, layout: str) -> None:
    """As text and JSON; running it again is refused."""
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


def test_export_command_encrypts(batch: Batch, here: Command, tmp_path: Path) -> None:
    """With a password file, with a message; not for CSV."""
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "password").chmod(0o600)
    arguments = ("export", batch.manifest.path, "--password-file", "password", "--layout")
    done = here(*arguments, "gototags")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert "encrypted: send the password separately" in done.stdout
    done = here("validate", "spring.gototags.xlsx", "--password-file", "password")
    assert done.stdout == "ok  spring.gototags.xlsx: workbook, layout gototags, 7 cards\n"
    done = here(*arguments, "csv")
    assert (done.code, done.stdout) == (ExitCode.USAGE, "")


def test_invalid_manifest_is_not_exported(batch: Batch, here: Command, tmp_path: Path) -> None:
    """The whole manifest is checked before a file is created."""
    changed = tmp_path / "changed.batch.jsonl"
    changed.write_bytes(batch.manifest.path.read_bytes().replace(b'"number":3', b'"number":8'))
    done = here("export", changed, "--layout", "csv", "--out", "out")
    assert done.code == ExitCode.INPUT
    assert f"{changed}, line 4: card number 8 is where number 3 should be" in done.stderr
    assert not (tmp_path / "out").exists()


def test_manifest_that_changes_during_export_leaves_no_file(batch: Batch, tmp_path: Path) -> None:
    """A file is complete or missing."""
    batch.manifest.path.write_bytes(batch.manifest.path.read_bytes().replace(b'"number":7', b'"number":9'))
    with pytest.raises(DataloaderError, match="has changed since it was checked"):
        export(batch.manifest, "csv", tmp_path / "out" / "spring.csv")
    assert list((tmp_path / "out").iterdir()) == []


# LibreOffice.


def test_libreoffice_preserves_the_workbook(office: Office, batch: Batch, cards: list[Card], tmp_path: Path) -> None:
    """Every UUID is intact in CSV; saved as a workbook, it keeps protection and drop-down lists, and is valid."""
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
    # Without a window, the frozen row is not preserved.
    assert sheet.print_title_rows == "$1:$1"
    assert sheet.page_setup.orientation == "landscape"


def test_libreoffice_opens_an_encrypted_workbook(
    office: Office, batch: Batch, cards: list[Card], tmp_path: Path
) -> None:
    """With the password, as Excel does."""
    path = tmp_path / "encrypted.xlsx"
    export(batch.manifest, STANDARD, path, password="correct horse")
    text = office.save(path, tmp_path / "saved.csv", password="correct horse").read_text("utf-8")
    assert [row["UUID"] for row in csv.DictReader(StringIO(text))] == [card.uuid for card in cards]


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "CSV in a workbook's name": ({"suffix": ".a.xlsx"}, "suffix: '.a.xlsx' must be like '.cards.csv'"),
    "a control character": ({"columns": [{"title": "UUID\x01", "field": "uuid"}]}, "columns.0.title: 'UUID\\x01' must"),
    "no character": ({"columns": [{"title": "UUID\uffff", "field": "uuid"}]}, "columns.0.title: "),
    "a formula after a blank": (
        {"columns": [{"title": " =1+1", "field": "uuid"}]},
        "columns.0.title: ' =1+1' must be like 'Chip UID'",
    ),
    "one title twice": (
        {"columns": [{"title": "Tag", "field": "uuid"}, {"title": "tag", "field": "number"}]},
        "columns: has 2 columns “Tag” (rename it, so that a returned file can be read)",
    ),
    "another column that seems to be the UUID": (
        {"columns": [{"title": "Tag", "field": "uuid"}, {"title": "Card UUID"}]},
        "columns: “Card UUID” would be read as the UUID, not “Tag”",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_layout_is_one_error(batch: Batch, here: Command, tmp_path: Path, what: str) -> None:
    """Nothing is written that no program could open, or that could not be read when it comes back."""
    changes, says = WRONG[what]
    good = {"description": "x", "suffix": ".a.csv", "delimiter": ",", "columns": [{"title": "UUID", "field": "uuid"}]}
    own = tmp_path / "own.json5"
    own.write_text(json.dumps({**good, **changes}))
    done = here("export", batch.manifest.path, "--layout", own, "--out", tmp_path / "out")
    assert (done.code, done.stderr.count("\n")) == (ExitCode.INPUT, 1)
    assert f"{own}: {says}" in done.stderr
    assert not (tmp_path / "out").exists()
