"""Returned files: every format gives the same rows, and each malicious file gives one clear error."""

import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.worksheet.formula import ArrayFormula

from dataloader.common import DataloaderError, ExitCode, InputError
from dataloader.operations import export, generate
from dataloader.operations.generate import Batch
from dataloader.vendor import CellKind
from dataloader.vendor.encryption import encrypt
from dataloader.vendor.layouts import get_layout, layout_names
from dataloader.vendor.returned import KEYS, Reading, check_named, open_returned, reports_failure, text_of
from dataloader.vendor.returned.columns import find_columns, understand_title
from dataloader.vendor.sheets import AGAIN_COLUMNS, STARTS_WITH
from tests.support.command import Command
from tests.support.marks import THOROUGH
from tests.support.returned_files import (
    CHIP,
    NOTE,
    OTHER_UUID,
    RESULT,
    TITLES,
    UUID,
    Rows,
    fill_in,
    good_rows,
    write_csv,
    write_xlsx,
)


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """A batch of eight cards."""
    return generate("spring", {"snapset_1a": 5, "empty": 3}, tmp_path_factory.mktemp("batch"))


@pytest.fixture(scope="module")
def rows(batch: Batch) -> Rows:
    """The rows of the batch, as a careful vendor fills them in."""
    rows = good_rows(batch.manifest)
    rows[0][NOTE] = "first; tag, “good”\nand tested"
    return rows


@dataclass(frozen=True)
class Table:
    """The content of a table."""

    place: str
    rows: Rows
    fills_result: bool
    fills_chip: bool
    about: dict[str, str]


def read(path: Path, **how: Any) -> list[Table]:
    """Read a file: each table with its rows, without row numbers."""
    reading = Reading(cards=8, **how)
    with open_returned(path, "back", reading) as sources:
        tables = [*sources]
    check_named(path, tables, reading.columns)
    return [
        Table(each.place, [list(row[1:8]) for row in each.rows], each.fills_result, each.fills_chip, dict(each.about))
        for each in tables
    ]


def refusal(path: Path, **how: Any) -> str:
    """Return the one-line error for a rejected file."""
    with pytest.raises(DataloaderError) as caught:
        read(path, **how)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 600
    return text.replace(str(path), "FILE")


# CSV.


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_dialects_are_read_alike(tmp_path: Path, rows: Rows, encoding: str, delimiter: str, end: str) -> None:
    """Commas, semicolons or tabs; UTF-8 or UTF-16, with or without a byte order mark; any line end."""
    path = write_csv(tmp_path / "back.csv", rows, delimiter, encoding)
    text = path.read_bytes().decode(encoding)
    path.write_bytes(text.replace("\r\n", end).encode(encoding))
    [table] = read(path)
    expected = [*rows]
    assert table.rows == expected
    assert (table.place, table.fills_result, table.fills_chip, table.about) == ("back", True, True, {})


def test_utf_16_big_endian_csv_is_read(tmp_path: Path, rows: Rows) -> None:
    """Some systems write it."""
    path = write_csv(tmp_path / "back.csv", rows, "\t", "utf-16-be")
    path.write_bytes(b"\xfe\xff" + path.read_bytes())
    assert read(path)[0].rows == rows


GERMAN = ["Kartennummer", "UUID der Karte", "Prüfwert", "Snapset", "Chip-UID", "Prüfergebnis", "Bemerkung"]
FRENCH = ["N° de carte", "UUID", "Valeur de contrôle", "Snapset", "UID de la puce", "Résultat", "Remarques"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "iso8859-15"])
@pytest.mark.parametrize("titles", [GERMAN, FRENCH], ids=["German", "French"])
def test_western_csv_of_excel_is_read(tmp_path: Path, batch: Batch, encoding: str, titles: list[str]) -> None:
    """Excel saves CSV in Windows-1252 in western Europe."""
    rows = good_rows(batch.manifest)
    rows[3][NOTE] = "größer, “à côté” de la carte n° 4"
    if encoding != "cp1252":
        rows[3][NOTE] = "größer, à côté de la carte n° 4"
    [table] = read(write_csv(tmp_path / "back.csv", rows, ";", encoding, titles))
    assert table.rows == rows


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("mac_roman", "échec"), ("mac_roman", "größer"), ("mac_roman", "DÉFECTUEUX"), ("cp850", "défectueux"),
        ("cp850", "ungültig"), ("cp437", "beschädigt"), ("cp1250", "zły"), ("cp1250", "špatně"), ("cp1251", "брак"),
        ("cp866", "брак"), ("cp866", "сбой"), ("koi8-r", "брак"), ("mac_cyrillic", "брак"), ("cp1253", "αποτυχία"),
        ("gbk", "失败"), ("shift_jis", "不良"), ("big5", "失敗"), ("euc_jp", "不良"), ("euc_kr", "불량"),
    ],
)  # fmt: skip
def test_text_in_an_uncertain_encoding_is_rejected(tmp_path: Path, batch: Batch, encoding: str, note: str) -> None:
    """A note in it may say that a card failed: read as another encoding, it would not."""
    rows = good_rows(batch.manifest)
    rows[2][NOTE] = note
    path = write_csv(tmp_path / "back.csv", rows, ",", encoding)
    expected = (
        "FILE, line 4: has characters that are not UTF-8, and may be in one of several other encodings (save it as"
    )
    assert refusal(path).startswith(expected)


def test_text_in_two_encodings_is_rejected(tmp_path: Path, batch: Batch) -> None:
    """Two files put together: neither encoding is right for all of it."""
    rows = good_rows(batch.manifest)
    rows[2][NOTE] = "défectueux"
    first, second = (write_csv(tmp_path / f"{each}.csv", rows, ",", each) for each in ("utf-8", "cp1252"))
    path = tmp_path / "back.csv"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    assert refusal(path).startswith("FILE, line 4: has characters that are not UTF-8")


def test_columns_may_be_anywhere(tmp_path: Path, rows: Rows) -> None:
    """Titles in any case, with spaces, below headings and between other columns; short or long rows; empty lines."""
    lines = [
        "sep=;",
        "Encoding report; UUID",
        "",
        "line; RESULT ;Operator;  uuid;Chip  UID;more",
        f"1;ok;Jo;{rows[0][UUID]};{rows[0][CHIP]}",
        "",
        f"2;failed;Jo;{rows[1][UUID]}",
        ";;;;;;;;",
        f"3;ok;Jo;{rows[2][UUID]};{rows[2][CHIP]};more;and more",
        "4",
    ]
    path = tmp_path / "back.csv"
    path.write_text("\n".join(lines))
    assert read(path)[0].rows == [
        ["", rows[0][UUID], "", "", rows[0][CHIP], "ok", ""],
        ["", rows[1][UUID], "", "", "", "failed", ""],
        ["", rows[2][UUID], "", "", rows[2][CHIP], "ok", ""],
    ]
    with open_returned(path, "back", Reading()) as sources:
        [source] = sources
        assert [row[0] for row in source.rows] == [5, 7, 9]
        assert source.where(5) == "back, line 5"


def test_quoted_delimiter_does_not_mislead(tmp_path: Path, rows: Rows) -> None:
    """The delimiter is the one between the titles, not the most frequent one."""
    titles = [*TITLES[:-1], "Note; with, many;;;; semicolons"]
    path = write_csv(tmp_path / "back.csv", [[*row[:-1], ";;;;"] for row in rows], titles=titles)
    assert [row[:-1] for row in read(path)[0].rows] == [row[:-1] for row in rows]


COLUMNS = "no column “UUID” in its first 20 rows"
SAY = "ask for a file with the UUIDs"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", f"FILE: {COLUMNS} ({SAY})"),
        (b"\xff\xfe", f"FILE: {COLUMNS} ({SAY})"),
        (b"a,b\n1,2\n", f"FILE: {COLUMNS}; found: a, b ({SAY})"),
        (b"UUID,Result,UUIDs\n", "FILE, line 1: more than one column could be the uuid: “UUID” and “UUIDs” (name"),
        (b"UUID,Result,,uuid,Result\n", "FILE, line 1: has 2 columns “UUID” (keep one of them; put tables that are"),
        (f"UUID,{OTHER_UUID}\nResult,ok\n".encode(), "FILE, line 1: has UUIDs beside the title of their column, as if"),
        (f"{OTHER_UUID},ok\n".encode(), "FILE: has UUIDs, but no titles above them (add a line with the titles of its"),
        (b"No^UUID^Result\n1^2^ok\n", "FILE: has its titles in one cell (No^UUID^Result) (separate the columns by"),
        (b"UUID,Result\n\xff,ok\n", "FILE, line 2: has characters that are not UTF-8, and may be in one of several"),
        (b"\xff\xfeU\x00U\x00I\x00D\x00\x00", "FILE, after line 0: is not UTF-16 text (save it as"),
        (b"UUID,Result\n1\x002,ok\n", "FILE, line 2: contains zero bytes, so it is not text (save it as"),
        (b"UUID,Result\n" + b"x" * 200_000, "FILE, line 2: is longer than 100,000 characters (have it saved as CSV"),
        (b'UUID,Result\n"x,ok\n' + b"more\n" * 60_000, "FILE, lines 2 and 26216: quotation marks in these two lines"),
        (b'UUID,Result\n"x" y,ok\n', "FILE, line 2: is not CSV: ',' expected after '\"' (have it saved as CSV again)"),
        (bytes(range(1, 256)) * 40, "FILE, line 2: has characters that are not UTF-8"),
    ],
)  # fmt: skip
def test_text_without_a_table_is_rejected(tmp_path: Path, data: bytes, message: str) -> None:
    """One line with the place and what to do; nothing is guessed."""
    path = tmp_path / "back.csv"
    path.write_bytes(data)
    assert refusal(path).startswith(message.rstrip("…"))


def test_endless_line_is_not_read_into_memory(tmp_path: Path, peak_memory: Callable[..., int]) -> None:
    """However long it is."""
    code = """
import sys
from pathlib import Path
from dataloader.common.errors import InputError
from dataloader.vendor.returned import Reading, open_returned
try:
    with open_returned(Path(sys.argv[1]), "back", Reading()) as sources:
        print(len(list(sources)))
except InputError as error:
    assert "is longer than" in str(error), error
"""
    path = tmp_path / "back.csv"
    path.write_bytes(b"UUID,Result\n" + b"x" * 150_000)
    usual = peak_memory(code, path)
    path.write_bytes(b"UUID,Result\n" + b"x" * 60_000_000)
    assert peak_memory(code, path) < usual * 1.1


# Titles.


@pytest.mark.parametrize(
    ("titles", "named", "says"),
    [
        (TITLES, {"number": "Crad number"}, '“Crad number”…(did you mean --column number="Card number"?)'),
        (
            TITLES,
            {"chip": "Chip", "note": "Nothing like it"},
            "“Chip” and “Nothing like it”…(did you mean --column chip",
        ),
        (TITLES, {"chip": "Transponder"}, "“Transponder”…(copy the title from the file)"),
        (["No.", "Tag ID"], {"uuid": "Tag DI"}, '“Tag DI”…(did you mean --column uuid="Tag ID"?)'),
        (["UUIDD", "Result"], {}, '“UUID”…(did you mean --column uuid="UUIDD"?)'),
    ],
)
def test_wrong_column_title_has_a_suggestion(
    tmp_path: Path, titles: list[str], named: dict[str, str], says: str
) -> None:
    """Only the titles that are missing are named, with an option that can be copied."""
    path = write_csv(tmp_path / "back.csv", [], titles=titles)
    missing, todo = says.split("…")
    found = refusal(path, columns=named)
    assert found.startswith(f"FILE: no column {missing} in its first 20 rows; found: {titles[0]}, {titles[1]}")
    assert todo in found


def test_columns_can_be_named_by_option(tmp_path: Path, rows: Rows) -> None:
    """A named column is used and no other; an empty name excludes a column."""
    titles = ["No.", "Tag ID", "Check", "Snapset", "UID", "State", "Remarks"]
    path = write_csv(tmp_path / "back.csv", rows, titles=titles)
    say = 'the UUIDs may be below “Tag ID”: --column uuid="Tag ID"'
    assert refusal(path) == f"FILE: {COLUMNS}; found: No., Tag ID, Check, Snapset, UID, State, Remarks ({say})"
    named = {"uuid": "tag  id", "result": "State"}
    assert read(path, columns=named)[0].rows == [["", *row[1:]] for row in rows]
    assert read(path, columns={**named, "number": "No.", "check": ""})[0].rows == [
        [*row[:2], "", *row[3:]] for row in rows
    ]
    assert "no column “Serial” in its first" in refusal(path, columns={"uuid": "Tag ID", "chip": "Serial"})
    assert "no column “Tag” and “Serial” in its first" in refusal(path, columns={"uuid": "Tag", "chip": "Serial"})
    swapped = write_csv(
        tmp_path / "swapped.csv", [[row[CHIP], row[UUID], "ok"] for row in rows], titles=["UUID", "UID", "Result"]
    )
    assert read(swapped, columns={"uuid": "UID", "chip": "UUID"})[0].rows == [
        ["", row[UUID], "", "", row[CHIP], "ok", ""] for row in rows
    ]


@pytest.mark.parametrize("name", layout_names())
def test_every_layout_is_recognized_when_it_comes_back(tmp_path: Path, batch: Batch, name: str) -> None:
    """The vendor's tool adds chip UIDs; its own titles need not be named."""
    layout = get_layout(name)
    titles = [column.title for column in layout.columns]
    more = [] if "Chip UID" in titles else ["UID"]
    found = find_columns([[*titles, *more]], {}, Reading().uuid_titles)
    assert found is not None
    assert titles[found.at["uuid"]] == next(column.title for column in layout.columns if column.field == "uuid")
    assert found.problem is None
    path = tmp_path / f"out{layout.suffix}"
    export(batch.manifest, name, path)
    [found_table] = read(path)
    assert [row[UUID] for row in found_table.rows] == [card.uuid for card in batch.manifest.cards()]
    assert (found_table.fills_result, found_table.fills_chip) == (False, False)


@pytest.mark.parametrize(
    "titles",
    [
        "Kart no, UUID, Kontrol değeri, Snapset, Çip UID, Sonuç, Not",
        "Nr karty, UUID, Wartość kontrolna, Snapset, UID chipa, Wynik, Uwagi",
        "Číslo karty, UUID, Kontrolní hodnota, Snapset, UID čipu, Výsledek, Poznámka",
        "Номер карты, UUID, Контрольное значение, Snapset, UID чипа, Результат, Примечание",
        "Kortnr., UUID, Kontrolværdi, Snapset, Chip-UID, Resultat, Bemærkning",
        "Kortin numero, UUID, Tarkistusarvo, Snapset, Sirun UID, Tulos, Huomautus",
        "Número do cartão, UUID, Valor de control, Snapset, UID do chip, Resultado, Observações",
        "Kártyaszám, UUID, Ellenőrző érték, Snapset, Chip UID, Eredmény, Megjegyzés",
        "卡号, UUID, 校验, Snapset, 芯片UID, 结果, 备注",
        "カード番号, UUID, チェック, Snapset, チップUID, 結果, 備考",
        "카드 번호, UUID, Check, Snapset, Chip UID, 결과, 비고",
    ],
)
def test_titles_are_known_in_many_languages(titles: str) -> None:
    """Letters that lose their accents are found, too: й, ド, and the syllables of Korean."""
    assert [(understand_title(title) or ("",))[0] for title in titles.split(", ")] == list(KEYS)


@pytest.mark.parametrize("title", [*TITLES, *(each.title for each in (STARTS_WITH, *AGAIN_COLUMNS))])
def test_every_column_of_our_workbooks_is_recognized(title: str) -> None:
    """None is reported as unknown in a returned workbook."""
    found = understand_title(title)
    assert found is not None
    assert found[1]


# Workbooks.


def test_our_workbook_is_read(tmp_path: Path, batch: Batch, rows: Rows) -> None:
    """Including its information about the batch; an unfilled one is reported as such."""
    [table] = read(fill_in(batch.workbook, tmp_path / "back.xlsx", rows))
    assert table.rows == rows
    assert table.about["Digest"] == batch.manifest.header.digest
    [table] = read(batch.workbook)
    assert (table.fills_result, table.fills_chip) == (False, False)
    assert [row[UUID] for row in table.rows] == [row[UUID] for row in rows]


def test_every_sheet_with_a_table_is_read(tmp_path: Path, rows: Rows) -> None:
    """Other sheets, headings, and empty columns and rows are skipped; rows have the numbers that the vendor sees."""
    book = openpyxl.Workbook()
    book.worksheets[0].append(["Nothing", "of", "interest"])
    for name, part in (("Monday", rows[:5]), ("Tuesday", rows[5:])):
        sheet = book.create_sheet(name)
        sheet["C2"] = f"Report of {name}"
        for at, row in enumerate([TITLES, *part]):
            for column, value in enumerate(row):
                sheet.cell(4 + 2 * at, 3 + column, value or None)
    book.create_chartsheet("Chart")
    path = tmp_path / "back.xls"
    book.save(path)
    one, other = read(path)
    assert (one.place, one.rows) == ("back", rows[:5])
    assert (other.place, other.rows) == ("back, sheet Tuesday", rows[5:])
    with open_returned(path, "back", Reading()) as sources:
        assert [[row[0] for row in source.rows] for source in sources] == [[6, 8, 10, 12, 14], [6, 8, 10]]


def test_cells_that_are_not_text_are_described(tmp_path: Path, rows: Rows) -> None:
    """Numbers, dates, times, booleans and errors that spreadsheet programs make of typed text."""
    moment = datetime(2021, 1, 1, 4, 12)  # noqa: DTZ001 - cells have times without a zone
    numbers = [4123456789012, 4.5e40, 17, 0.5]
    values = [*numbers, date(1904, 3, 2), moment, time(4, 12, 34), timedelta(1), True, "#N/A"]
    path = write_xlsx(tmp_path / "back.xlsx", [[*rows[0][:CHIP], value, "ok", ""] for value in values])
    cells = [text_of(row[CHIP]) for row in read(path)[0].rows]
    assert [(text, kind.value) for text, kind in cells] == [
        ("4123456789012", "number"),
        ("4.5E+40", "number"),
        ("17", "number"),
        ("0.5", "number"),
        ("1904-03-02", "date"),
        ("2021-01-01 04:12:00", "date"),
        ("04:12:34", "date"),
        ("1 day, 0:00:00", "date"),
        ("TRUE", "boolean"),
        ("", "formula"),
    ]


def test_impossible_numbers_are_read_or_rejected(tmp_path: Path, rows: Rows) -> None:
    """Some programs write infinity, as which hex digits with an E can be read; or numbers of thousands of digits."""
    xml = "".join(good_xml(rows))
    for value in ("INF", "NaN", "1e999", "9" * 5_000):
        odd = xml.replace('<c r="F3" t="inlineStr"><is><t>ok</t></is></c>', f'<c r="F3"><v>{value}</v></c>')
        cell = read(book_of(tmp_path / "back.xlsx", [odd]))[0].rows[1][RESULT]
        assert text_of(cell) == ("out of range", CellKind.NUMBER)
    row = xml.replace('<row r="3"', f'<row r="{"9" * 5_000}"')
    assert refusal(book_of(tmp_path / "back.xlsx", [row])).startswith("FILE: is damaged: a number or text in it is")


def test_formulas_are_never_evaluated(tmp_path: Path, rows: Rows) -> None:
    """A cell with a formula is marked as such, including those of array formulas."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    # One column is empty, so the library's column count differs from what the vendor sees.
    for row in [TITLES, *rows]:
        sheet.append(["", *row])
    sheet["F2"] = '="04"&"00000000000180"'
    sheet["G3"] = '=IF(TRUE,"ok","failed")'
    sheet["C4"] = "=C5"
    sheet["H5"] = '=WEBSERVICE("http://127.0.0.1/")'
    sheet["F6"] = ArrayFormula("F6:F7", "=F2:F3")
    other = book.create_sheet("Summary")
    other["E9"] = "=COUNTA(Sheet!B:B)"
    path = tmp_path / "back.xlsx"
    book.save(path)
    found = read(path)[0].rows
    assert found[0][CHIP] == ["formula", ""]
    assert found[1][RESULT] == ["formula", ""]
    assert found[2][UUID] == ["formula", ""]
    assert found[3][NOTE] == ["formula", ""]
    assert (found[4][CHIP], found[5][CHIP]) == (["formula", ""], ["formula", rows[5][CHIP]])
    assert found[6:] == rows[6:]
    assert find_formula(path, "B2:XFD1048576") == (
        "FILE: has one formula for all of B2:XFD1048576 (have it saved with values only)"
    )


def find_formula(path: Path, ref: str) -> str:
    """Return the error for a workbook with an array formula for all of these cells."""
    changed = path.with_name("array.xlsx")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b'ref="F6:F7"', f'ref="{ref}"'.encode()))
    return refusal(changed)


def test_errors_are_formulas(tmp_path: Path, rows: Rows) -> None:
    """A cell that shows #N/A is not empty."""
    error = '<c r="F3" t="e"><v>#N/A</v></c>'
    xml = "".join(good_xml(rows)).replace('<c r="F3" t="inlineStr"><is><t>ok</t></is></c>', error)
    assert error in xml
    assert read(book_of(tmp_path / "back.xlsx", [xml]))[0].rows[1][RESULT] == ["formula", ""]


def test_formulas_are_found_in_unusual_parts(tmp_path: Path, rows: Rows) -> None:
    """If it is unknown which part is which sheet, every formula may be in the cards' sheet."""
    book = openpyxl.Workbook()
    for row in [TITLES, *rows]:
        book.worksheets[0].append(row)
    book.worksheets[0]["E2"] = "=1"
    book.save(tmp_path / "back.xlsx")
    large = f"<!--{' ' * 1_000_000}--><sheets>"
    for old, new in (
        ("/xl/worksheets/sheet1.xml", "/XL/Worksheets/Sheet1.xml"),
        ('name="Sheet"', 'name="Sh&#101;et"'),
        ("<sheets>", large),
    ):
        odd = tmp_path / "odd.xlsx"
        with zipfile.ZipFile(tmp_path / "back.xlsx") as source, zipfile.ZipFile(odd, "w") as target:
            for name in source.namelist():
                data = source.read(name)
                changed = (
                    data.replace(old.encode(), new.encode()) if name.startswith(("xl/_rels/", "xl/work")) else data
                )
                target.writestr(name, changed)
        assert read(odd)[0].rows[0][CHIP] == ["formula", ""]


# Encrypted workbooks.


def test_encrypted_workbook_is_read_with_its_password(tmp_path: Path, batch: Batch, rows: Rows) -> None:
    """No password, a wrong one, or a truncated file is one clear error."""
    plain = fill_in(batch.workbook, tmp_path / "plain.xlsx", rows)
    path = tmp_path / "back.xlsx"
    with path.open("wb") as stream:
        encrypt(BytesIO(plain.read_bytes()), "secret ☂", stream)
    assert read(path, password="secret ☂")[0].rows == rows
    assert refusal(path).startswith("FILE: is encrypted (give the password with --password-file")
    assert refusal(path, password="wrong") == "FILE: is encrypted with another password (correct the password file)"
    assert read(plain, password="wrong")[0].rows == rows
    whole = path.read_bytes()
    for size in (600, len(whole) // 2):
        path.write_bytes(whole[:size])
        assert refusal(path, password="secret ☂").startswith("FILE: ")
    path.write_bytes(whole.replace("EncryptionInfo".encode("utf-16-le"), "UnknownContent".encode("utf-16-le")))
    assert "not a workbook" in refusal(path, password="secret ☂")


def test_old_xls_workbook_is_recognized(tmp_path: Path, batch: Batch) -> None:
    """A compound file with the stream name of .xls."""
    path = tmp_path / "back.xls"
    with path.open("wb") as stream:
        encrypt(BytesIO(batch.workbook.read_bytes()), "secret", stream)
    # [MS-CFB], 2.6.1: a directory entry has 64 bytes of name, followed by its length including the zero.
    for name, other in (("EncryptionInfo", "Xyz"), ("EncryptedPackage", "Workbook")):
        data = path.read_bytes()
        at = data.index(f"{name}\0".encode("utf-16-le"))
        entry = f"{other}\0".encode("utf-16-le")
        path.write_bytes(data[:at] + entry.ljust(64, b"\0") + struct.pack("<H", len(entry)) + data[at + 66 :])
    assert refusal(path).startswith(
        "FILE: is an old workbook (.xls), or another kind of document (have it saved as .xlsx"
    )


# Malicious files.

_TYPES = """<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">\
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>\
<Default Extension="xml" ContentType="application/xml"/></Types>"""
_RELATIONS = """<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">\
<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}" Target="{}"/>\
</Relationships>"""
_BOOK = """<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" \
xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>\
<sheet name="Cards" sheetId="1" r:id="rId1"/></sheets></workbook>"""
_BEGIN = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
_END = "</sheetData></worksheet>"


def row_xml(number: int, cells: Sequence[str]) -> str:
    """Return the XML of a row."""
    inner = "".join(
        f'<c r="{"ABCDEFG"[at]}{number}" t="inlineStr"><is><t>{cell}</t></is></c>' for at, cell in enumerate(cells)
    )
    return f'<row r="{number}">{inner}</row>'


def book_of(
    path: Path, chunks: Iterator[str] | Sequence[str], *, before: str = "", more: Sequence[str] = (), level: int = 1
) -> Path:
    """Write a workbook part by part, with any XML as its only sheet."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELATIONS.format("officeDocument", "xl/workbook.xml"))
        archive.writestr("xl/workbook.xml", _BOOK)
        archive.writestr("xl/_rels/workbook.xml.rels", _RELATIONS.format("worksheet", "worksheets/sheet1.xml"))
        for name in more:
            archive.writestr(name, "")
        with archive.open("xl/worksheets/sheet1.xml", "w") as part:
            part.write(f'<?xml version="1.0"?>{before}{_BEGIN}'.encode())
            for chunk in chunks:
                part.write(chunk.encode())
            part.write(_END.encode())
    return path


def good_xml(rows: Rows) -> Iterator[str]:
    """Yield the rows of a sheet."""
    for number, row in enumerate([TITLES, *rows], 1):
        yield row_xml(number, [str(cell).replace("“", "").replace("”", "") for cell in row])


FAR = (
    "FILE: could not be opened within the memory and time that a workbook of its size takes "
    "(look for cells far below or beside the cards, or have it saved as CSV)"
)
ODD = "(no card vendor's file looks like this: find out where it comes from)"


@THOROUGH
def test_empty_rows_are_skipped(tmp_path: Path, rows: Rows) -> None:
    """Formatting whole columns creates up to a million of them."""
    empty = (f'<row r="{at}"><c r="A{at}" s="0"/></row>' for at in range(20, 200_020))
    path = book_of(tmp_path / "back.xlsx", chain(good_xml(rows), empty))
    assert [row[UUID] for row in read(path)[0].rows] == [row[UUID] for row in rows]


def test_long_text_outside_the_rows_is_read() -> None:
    """Without limits, its patterns would take hours."""
    assert reports_failure(f"defective {'<' * 400_000}")
    assert reports_failure(f"defective {'max' * 150_000}")
    assert not reports_failure(f"no {'✗ ' * 1_000}")


@pytest.mark.parametrize("cell", ["XFD1048576", "Z1048576", "A4000000000"])
def test_distant_cell_takes_no_memory(tmp_path: Path, rows: Rows, cell: str) -> None:
    """A sheet of one kilobyte could expand to a table of 16,384 by 1,048,576 cells."""
    far = f'<row r="1048576"><c r="{cell}" t="inlineStr"><is><t>x</t></is></c></row>'
    assert refusal(book_of(tmp_path / "back.xlsx", [*good_xml(rows), far])) == FAR


CELL = '<c r="F2" t="inlineStr"><is><t>failed</t></is></c>'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<row r="2">', f'<row r="2">{CELL}', "has two cells F2"),
        ("</row>", f"{CELL}</row>", "has the cell F2 in row 1"),
        ('<row r="3">', '<row r="2">', "has two rows 2"),
        ('<row r="3">', "<row r='2' >", "has two rows 2"),
        ("</row>", f'</row><row spans="6:6" r="2">{CELL}</row>', "has two rows 2"),
        ("</row>", '</row><row r="2"></row>', "has two rows 2"),
        ("</row>", "</row><row/>", "has two rows 2"),
        ("<t>ok</t></is>", "<t>ok</t></is><v>failed</v>", "has two values in its cell F2"),
        ("<t>ok</t></is>", "<t>ok</t></is><is><t>failed</t></is>", "has two values in its cell F2"),
    ],
)
def test_rows_and_cells_that_are_there_twice_are_rejected(
    tmp_path: Path, rows: Rows, old: str, new: str, message: str
) -> None:
    """Programs differ in which one they show."""
    xml = "".join(good_xml(rows))
    assert old in xml
    path = book_of(tmp_path / "back.xlsx", [xml.replace(old, new, 1)])
    assert f"FILE: is damaged: it {message}" in refusal(path)


def test_memory_limit_is_reported_as_the_cause(tmp_path: Path, batch: Batch) -> None:
    """Under ``ulimit -v``, the error names the limit, not the workbook."""
    book = openpyxl.load_workbook(batch.workbook)
    book["Cards"].cell(40_000, 250).value = "x"
    path = tmp_path / "back.xlsx"
    book.save(path)
    done = subprocess.run(
        [
            *("/bin/sh", "-c", 'ulimit -v 200000; exec "$0" -m dataloader reconcile "$1" "$2"'),
            *(sys.executable, batch.manifest.path, path),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (ExitCode.INPUT, "")
    assert done.stderr.replace(str(path), "FILE") == (
        "error: FILE: memory is limited to 204 MB (ulimit -v), and opening a workbook may need 700 MB "
        "(raise the limit, or have it saved as CSV)\n"
    )


def test_xml_entities_are_never_expanded(tmp_path: Path, rows: Rows) -> None:
    """A billion laughs, in any part that is read."""
    laughs = "".join(f'<!ENTITY l{at} "{f"&l{at - 1};" * 10}">' for at in range(1, 10))
    before = f'<!DOCTYPE lolz [<!ENTITY l0 "lol">{laughs}]>'
    bomb = book_of(tmp_path / "back.xlsx", ["<row><c><v>&l9;</v></c></row>", *good_xml(rows)], before=before)
    message = f"FILE: defines entities, which could expand to anything {ODD}"
    assert refusal(bomb) == message
    hidden = tmp_path / "hidden.xlsx"
    good = book_of(tmp_path / "good.xlsx", good_xml(rows))
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(hidden, "w") as target:
        for name in source.namelist():
            data = source.read(name).replace(b"<workbook", before.encode() + b"<workbook")
            target.writestr(name, data)
    assert refusal(hidden) == message


def test_zip_bomb_is_rejected_by_its_directory(tmp_path: Path) -> None:
    """A ZIP that expands to far more than the batch needs, or than its own size."""
    spaces = " " * 1_000_000
    large = book_of(tmp_path / "large.xlsx", (spaces for _ in range(210)))
    assert refusal(large).startswith("FILE: unpacks to 210,00")
    assert refusal(large).endswith(f"bytes, far more than the batch's cards need {ODD}")
    ratio = book_of(tmp_path / "ratio.xlsx", (spaces for _ in range(40)), level=9)
    assert refusal(ratio).startswith("FILE: unpacks to 40,00")
    many = book_of(tmp_path / "many.xlsx", [], more=[f"xl/media/{at}.png" for at in range(5000)])
    assert refusal(many) == f"FILE: has 5,005 parts; a workbook has a few dozen {ODD}"


def test_zip_bomb_with_a_false_size_is_rejected(tmp_path: Path, rows: Rows) -> None:
    """No more is unpacked than its directory says; then the checksum is wrong."""
    path = book_of(tmp_path / "back.xlsx", [*good_xml(rows), *(" " * 1_000_000 for _ in range(40))])
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    data = path.read_bytes().replace(struct.pack("<L", size), struct.pack("<L", 5000))
    path.write_bytes(data)
    assert refusal(path).startswith("FILE: is damaged or truncated: Bad CRC-32 for file 'xl/worksheets/sheet1.xml'")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("content.xml", "FILE: is an OpenDocument file (have it saved as .xlsx or CSV)"),
        ("xl/workbook.bin", "FILE: is a binary workbook (.xlsb) (have it saved as .xlsx or CSV)"),
        ("spring.csv", "FILE: is a ZIP file, but not a workbook (unpack it, and give the workbook or CSV file in it)"),
    ],
)
def test_other_kinds_of_zip_are_recognized(tmp_path: Path, name: str, message: str) -> None:
    """What to do depends on the kind."""
    path = tmp_path / "back.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, "x")
    assert refusal(path) == message


@THOROUGH
def test_damaged_workbook_is_one_clear_error(tmp_path: Path, rows: Rows) -> None:
    """Truncated or changed anywhere, or with broken XML: an error, or all rows unchanged."""
    whole = write_xlsx(tmp_path / "whole.xlsx", rows).read_bytes()
    path = tmp_path / "back.xlsx"
    expected = [[str(cell) for cell in row] for row in rows]
    for at in range(40, len(whole), len(whole) // 3):
        path.write_bytes(whole[:at])
        assert refusal(path).startswith("FILE: is damaged or truncated: ")
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        assert read_or_refuse(path) in ([], expected)
    for sheet in ("<row><c></row>", "\0", "<a>" * 100_000, "<row><c><v>&#x0;</v></c></row>"):
        assert len(read_or_refuse(book_of(path, [*good_xml(rows), sheet]))) in {0, len(rows)}


def read_or_refuse(path: Path) -> Rows:
    """Return the rows of a file's first table; none if it is rejected with one clear line."""
    try:
        return read(path)[0].rows
    except InputError as error:
        return [] if len(error.problems) == 1 else [[str(error)]]


@pytest.mark.parametrize("column", range(len(TITLES)))
def test_huge_cell_is_rejected(here: Command, batch: Batch, tmp_path: Path, rows: Rows, column: int) -> None:
    """32,767 characters, the maximum, in any column that is read; none of it is repeated."""
    changed = [list(row) for row in rows]
    changed[3][column] = "x" * 32_767
    write, place = (write_xlsx, "sheet Cards, row 5") if column == UUID else (write_csv, "line 6")
    path = write(tmp_path / "back", changed)
    completed = here("reconcile", batch.manifest.path, path, "--out", tmp_path / "out")
    assert completed.code == ExitCode.INPUT
    assert completed.stderr == (
        f"error: {path}, {place}: the cell of the {KEYS[column]} holds 32,767 characters; "
        "the limit is 10,000 (shorten it)\n"
    )
    assert not (tmp_path / "out").exists()


@THOROUGH
def test_file_with_too_many_rows_is_rejected(here: Command, tmp_path: Path) -> None:
    """The number of rows kept is limited by the batch."""
    batch = generate("tiny", {"empty": 1}, tmp_path)
    path = tmp_path / "back.csv"
    path.write_text("UUID,Result\n" + "x,ok\n" * 102_000)
    completed = here("reconcile", batch.manifest.path, path, "--out", tmp_path / "out")
    assert completed.code == ExitCode.INPUT
    assert completed.stderr == (
        f"error: {path}: has more than 100,004 rows, far more than the batch has cards "
        "(check that it is the right file)\n"
    )


def test_control_characters_are_escaped(here: Command, batch: Batch, tmp_path: Path) -> None:
    """In notes, UUIDs, chip UIDs, results and titles, they are shown as visible signs."""
    rows = good_rows(batch.manifest)
    evil = "\x1b]0;owned\x07\x1b[2J\u202egpj"
    rows[0][RESULT:] = ["failed", evil]
    rows[1][CHIP] = evil
    rows[2][RESULT] = evil
    rows[3][UUID] = evil
    rows.append(["", evil, evil, evil, "04000000000080", "ok", ""])
    for titles in (None, [evil, "Result"]):
        path = write_csv(tmp_path / "back.csv", rows, titles=titles)
        details = tmp_path / f"{titles is None}.jsonl"
        completed = here("reconcile", batch.manifest.path, path, "--out", details.with_suffix(""), "--details", details)
        assert completed.code == (ExitCode.RETURNED if titles is None else ExitCode.INPUT)
        assert "\\x1b]0;owned" in completed.stderr
        lines = completed.stderr + completed.stdout
        lines += details.read_text("utf-8") if titles is None else ""
        assert all(each.isprintable() or each == "\n" for each in lines)


def test_validate_opens_returned_files_safely(here: Command, tmp_path: Path, rows: Rows) -> None:
    """Returned files given to validate have the same errors; other files are not affected."""
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    laughs = '<!DOCTYPE lolz [<!ENTITY l0 "lol">]>'
    for name, path in (
        (FAR, book_of(tmp_path / "far.xlsx", [*good_xml(rows), far])),
        (
            f"FILE: defines entities, which could expand to anything {ODD}",
            book_of(tmp_path / "l.xlsx", [], before=laughs),
        ),
    ):
        completed = here("validate", path)
        assert completed.code == ExitCode.INPUT
        assert completed.stderr == f"error: {name.replace('FILE', str(path))}\n"
    path = tmp_path / "text.xlsx"
    path.write_text("no workbook")
    assert "is not a workbook written by generate" in here("validate", path).stderr


# Files that can't be read.


def test_missing_returned_file_is_a_file_error(tmp_path: Path, rows: Rows) -> None:
    """A missing path, a folder, and a pipe, which does not block."""
    todo = "give the path of a file that can be read"
    assert refusal(tmp_path / "nothing.xlsx") == f"FILE: no such file or folder ({todo})"
    assert refusal(tmp_path) == "FILE: this is a folder (name a file in it)"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "FILE: is not a regular file (save it as a file first)"


@THOROUGH
def test_no_process_is_left_behind(tmp_path: Path, rows: Rows) -> None:
    """Whether or not all of a workbook is read, and whatever its path."""
    path = write_xlsx(tmp_path / "-- odd\nname ☂.xlsx", rows * 2000)
    with open_returned(path, "back", Reading(cards=20_000)) as sources:
        assert next(sources).rows[0].line == 2
    told = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert str(path.parent) not in told


def test_ctrl_c_stops_the_process_at_once(tmp_path: Path, rows: Rows) -> None:
    """Even if it is busy."""
    path = write_xlsx(tmp_path / "back.xlsx", rows * 500)
    with pytest.raises(KeyboardInterrupt), open_returned(path, "back", Reading(cards=8)):
        raise KeyboardInterrupt
    told = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert str(path) not in told
