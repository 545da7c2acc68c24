"""Selecting cards of a batch by number, UUID or file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.comments import Comment
from openpyxl.formatting.rule import Rule
from openpyxl.styles import Font, PatternFill
from openpyxl.styles.differential import DifferentialStyle
from openpyxl.worksheet.header_footer import HeaderFooterItem, _HeaderFooterPart

from dataloader.batch import Card, Manifest, Named, choose
from dataloader.common import FileError, InputError, UsageError
from dataloader.operations import generate
from dataloader.vendor.returned import read_named

Write = Callable[..., Path]
UUID = "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21"


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of twenty cards."""
    return generate("spring", {"empty": 20}, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def cards(batch: Manifest) -> list[Card]:
    """Its cards."""
    return list(batch.cards())


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of some lines."""

    def write(*lines: str, encoding: str = "utf-8", end: str = "\n") -> Path:
        path = tmp_path / "lost.csv"
        path.write_bytes(end.join(lines).encode(encoding))
        return path

    return write


def test_select_combines_numbers_uuids_and_files(batch: Manifest, cards: list[Card], write: Write) -> None:
    """Each card is selected once, in manifest order, however often and in whatever case it is given."""
    file = write("3", cards[4].uuid)
    chosen = choose(batch, [17, 3, 17], [cards[2].uuid, f" {cards[0].uuid.upper()} "], read_named(file))
    assert chosen == [cards[0], cards[2], cards[4], cards[16]]


def test_select_requires_at_least_one_card(batch: Manifest) -> None:
    """No card means a mistake, never all cards."""
    with pytest.raises(
        UsageError, match=r"no card: say which cards to revoke or restore \(add --card, --uuid or --file\)"
    ):
        choose(batch, [], [])


def test_select_reports_everything_that_matches_no_card(batch: Manifest, cards: list[Card], write: Write) -> None:
    """Each wrong option and line is reported, not only the first, and no card is selected."""
    file = write("Card number,UUID", f"4,{cards[3].uuid}", f"5,{cards[3].uuid}", "21,", f",{UUID}")
    with pytest.raises(InputError) as caught:
        choose(batch, [1, 0, 21], [UUID, "17"], read_named(file))
    no_card = f"is not a card of {batch.path}"
    assert [(each.where, each.rule) for each in caught.value.problems] == [
        ("--card 0", no_card),
        ("--card 21", no_card),
        (f"--uuid {UUID}", no_card),
        ("--uuid 17", no_card),
        (f"{file}, line 3", "the UUID is that of card 4, not 5"),
        (f"{file}, line 4", no_card),
        (f"{file}, line 5", no_card),
    ]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["17"], [(1, 17, None)]),
        (["17", "", "  ", "0018", UUID.upper()], [(1, 17, None), (4, 18, None), (5, None, UUID)]),
        (["3-5", "7 \N{EN DASH} 8"], [*((1, each, None) for each in (3, 4, 5)), (2, 7, None), (2, 8, None)]),
        (["2,4,6"], [(1, 2, None), (1, 4, None), (1, 6, None)]),
        (["17, 204"], [(1, 17, None), (1, 204, None)]),
        (["Line,Card no.,Name", "1,5,Jo", "2,7,Al"], [(2, 5, None), (3, 7, None)]),
        (["Ticket;UUID der Karte", f"1;{UUID}"], [(2, None, UUID)]),
        (["Nummer", "17"], [(2, 17, None)]),
        (["Card number", "17"], [(2, 17, None)]),
        (["UUID", UUID], [(2, None, UUID)]),
        (["Name;uuid;CARD NUMBER", f'"Ann; Bob";{UUID};17', "Eve;;18"], [(2, 17, UUID), (3, 18, None)]),
        (["who\tcard", "ann\t17"], [(2, 17, None)]),
        ([f"{UUID};17", f"18;{UUID}"], [(1, 17, UUID), (2, 18, UUID)]),
    ],
)
def test_select_accepts_files_of_many_forms(write: Write, lines: list[str], named: list[tuple[int, int, str]]) -> None:
    """With or without a header, one column or several, with any delimiter."""
    for options in ({}, {"encoding": "utf-8-sig"}, {"end": "\r\n"}):
        path = write(*lines, **options)
        assert read_named(path) == [Named(f"{path}, line {line}", number, uuid) for line, number, uuid in named]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], ": names no card"),
        (["Card number"], ": names no card"),
        (["Card number", "17", "seventeen", "-1", "1.7E+01"], ", line 3: does not name a card: “seventeen”"),
        (["17", "", "lost"], ", line 3: does not name a card: “lost”"),
        (["Lost cards", "17"], ", line 1: does not name a card: “Lost cards”"),
        ([UUID[:-1], "17"], f", line 1: does not name a card: “{UUID[:-1]}”"),
        (["Card number,UUID", "17,", ",", ";"], ", line 4: does not name a card: “;”"),
        (["Card number,UUID", f"{UUID},17"], ", line 2: does not name a card"),
        (["UUID", "17"], ", line 2: does not name a card: “17”"),
        (["5-3"], ", line 1: does not name a card: “5-3”"),
        (["17,ann", "18,eve"], ", line 1: does not name a card: “17” and “ann”"),
        (["1,5", "2,7"], ", line 1: does not name a card: “1” and “5”"),
        (["5 2", "7 3"], ", line 1: does not name a card: “5 2”"),
        (["1,200"], ", line 1: does not name a card: “1” and “200”"),
        (["1 200"], ", line 1: does not name a card: “1 200”"),
        (["Card number", '"1,234,567"'], ", line 2: does not name a card: “1,234,567”"),
        (["17", "3\N{SUPERSCRIPT TWO}"], ", line 2: does not name a card: “3^2”"),
        (["Line,Ticket", "1,5"], ", line 1: has the titles Line, Ticket; none is known as the card's number or UUID"),
        (["UUID,UUID", f"{UUID},{UUID}"], ", line 1: has several columns for the UUID"),
        (["17", '"' + "x" * 90_000, "x" * 90_000], ", lines 2 and "),
    ],
)
def test_select_reports_lines_without_a_card(write: Write, lines: list[str], says: str) -> None:
    """Errors give the line number; a file without any card is an error."""
    path = write(*lines)
    with pytest.raises(InputError) as caught:
        read_named(path)
    assert str(caught.value).startswith(f"{path}{says}")


@pytest.mark.parametrize(
    ("style", "says"),
    [
        ({"font": Font(strike=True)}, "row 4: is struck through"),
        ({"font": Font(color="FFFFFFFF")}, "row 4: is invisible"),
        ({"number_format": ";;;"}, "row 4: is invisible"),
        ({"number_format": '"not "0'}, "looks different from most rows"),
        ({"value": "=1+2"}, "row 4: has a formula in column A, whose stored value may be outdated"),
        ({"fill": PatternFill("solid", fgColor="FFFF0000")}, "row 4: looks different from most rows"),
    ],
)
def test_select_rejects_marked_rows(tmp_path: Path, style: dict[str, Any], says: str) -> None:
    """A person may have crossed them out, or coloured those that are meant."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in ["Card number", 3, 5, 7, 9]:
        sheet.append([row])
    path = tmp_path / "lost.xlsx"
    book.save(path)
    assert [each.number for each in read_named(path)] == [3, 5, 7, 9]
    for name, value in style.items():
        setattr(sheet["A4"], name, value)
    book.save(path)
    with pytest.raises(InputError, match=says):
        read_named(path)


def test_select_rejects_a_formula_in_the_last_row(tmp_path: Path) -> None:
    """Some programs store no value with it, so that the row seems to be empty."""
    book = openpyxl.Workbook()
    for row in ["Card number", 3, 5, "=2+5"]:
        book.worksheets[0].append([row])
    path = tmp_path / "lost.xlsx"
    book.save(path)
    with pytest.raises(InputError, match="row 4: has a formula"):
        read_named(path)


def test_select_rejects_cards_of_another_batch(write: Write) -> None:
    """As a column says; the same numbers are other people's cards in this batch."""
    path = write("Card number,Batch", "3,Spring", "5,Spring")
    assert [each.number for each in read_named(path, "spring")] == [3, 5]
    with pytest.raises(InputError, match="line 1: its column “Batch” says “Spring”, but this is batch autumn"):
        read_named(path, "autumn")


def test_select_rejects_sheets_that_may_mean_different_things(tmp_path: Path) -> None:
    """Lost and found; the names that programs give are harmless."""
    for name, is_rejected in (("Found", True), ("Sheet2", False)):
        book = openpyxl.Workbook()
        book.worksheets[0].append([3])
        book.create_sheet(name).append([5])
        path = tmp_path / f"{name}.xlsx"
        book.save(path)
        if not is_rejected:
            assert [each.number for each in read_named(path)] == [3, 5]
            continue
        with pytest.raises(InputError, match="lists cards on the sheets “Sheet” and “Found”"):
            read_named(path)


def test_select_rejects_conditional_colours(tmp_path: Path) -> None:
    """By a condition that is not evaluated; the header or footer of a page is harmless."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in ["Card number", 3, 5]:
        sheet.append([row])
    sheet.oddFooter = HeaderFooterItem(center=_HeaderFooterPart("List 5, page &P"))
    path = tmp_path / "lost.xlsx"
    book.save(path)
    assert [each.number for each in read_named(path)] == [3, 5]
    rule = Rule(type="expression", formula=["OR(A2=5,A2=7)"], dxf=DifferentialStyle(font=Font(color="FFFF0000")))
    sheet.conditional_formatting.add("A2:A3", rule)
    book.save(path)
    with pytest.raises(InputError, match="has conditional formatting of A2:A3"):
        read_named(path)


def test_select_rejects_columns_and_comments_that_may_say_who_is_meant(write: Write, tmp_path: Path) -> None:
    """A column that is empty for some cards, or a comment on one."""
    with pytest.raises(InputError, match="its column “Found” may say which of the cards are meant"):
        read_named(write("Card number,Found", "3,", "4,27 Nov"))
    for text in ("do not revoke", "not lost", "nicht sperren"):
        with pytest.raises(InputError, match="its column “Note” may say which of the cards are meant"):
            read_named(write("Card number,Note", "3,lost", f"4,{text}"))
    assert len(read_named(write("Card number,Reason", "3,lost", "4,stolen"))) == 2
    for lost, found in ("✓☐", "●○", "🔴🟢"):
        with pytest.raises(InputError, match="its column “Stolen” may say which of the cards are meant"):
            read_named(write("Card number,Stolen", f"3,{lost}", f"4,{found}", encoding="utf-8"))
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in ["Card number", 3, 5]:
        sheet.append([row])
    sheet["A3"].comment = Comment("found again", "Jo")
    book.save(tmp_path / "lost.xlsx")
    with pytest.raises(InputError, match="cell A3: has a comment or text box: “found again”"):
        read_named(tmp_path / "lost.xlsx")


@pytest.mark.parametrize(
    "lines",
    [
        ("Card number,Action", "3,revoke", "4,keep"),
        ("Card number,Aktion", "3,sperren", "4,behalten"),
        ("Card number,What,Owner", "3,revoke,Ann", "4,revoke,Bob", "5,found again,Eve"),
        ("Card number,Flag", "3,A", "4,B", "5,A", "6,C"),
        ("Card number,What", "3,revoke", "4,keep", "5,ask", "6,later", "7,found", "8,revoke"),
    ],
)
def test_select_rejects_lists_with_groups_of_cards(write: Write, lines: tuple[str, ...]) -> None:
    """Perhaps not all groups are meant."""
    with pytest.raises(InputError, match="may say which of the cards are meant"):
        read_named(write(*lines))


@pytest.mark.parametrize(
    "lines",
    [
        ("Card number,Reason", "3,lost", "4,stolen", "5,lost"),
        ("Card number,Snapset,Owner", "3,empty,Ann", "4,snapset_3,Bob", "5,empty,Eve"),
        ("Card number,Action", "3,revoke", "4,revoke"),
    ],
)
def test_select_accepts_lists_whose_groups_are_all_meant(write: Write, lines: tuple[str, ...]) -> None:
    """Reasons and snapsets do not say which cards are meant."""
    assert len(read_named(write(*lines))) == len(lines) - 1


def test_select_rejects_a_hidden_column(tmp_path: Path) -> None:
    """Numbers that nobody sees."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (["Card number", "Name"], [17, "Jo"]):
        sheet.append(row)
    path = tmp_path / "lost.xlsx"
    book.save(path)
    assert [each.number for each in read_named(path)] == [17]
    sheet.column_dimensions["A"].hidden = True
    book.save(path)
    with pytest.raises(InputError, match="its column “Card number” is hidden"):
        read_named(path)


def test_select_rejects_files_that_are_not_text(write: Write, tmp_path: Path) -> None:
    """Neither UTF-8 nor Windows-1252, not a file, or missing."""
    with pytest.raises(InputError, match="has characters that are not UTF-8"):
        read_named(write("N\x81rnberg", encoding="latin-1"))
    with pytest.raises(FileError, match="this is a folder"):
        read_named(tmp_path)
    with pytest.raises(FileError, match="no such file"):
        read_named(tmp_path / "none.csv")
