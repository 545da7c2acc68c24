"""Conditional formatting: which rules format a row, and how much there is to test."""

from pathlib import Path

import openpyxl
import pytest
from python_calamine import CalamineWorkbook

from dataloader.vendor.returned import sandbox
from dataloader.vendor.returned.conditional import Rule, Rules
from dataloader.vendor.returned.styles import Style
from dataloader.vendor.returned.zip_check import Marks, PackedError

STRUCK = Style("struck out", "struck out")


def rule(where: str, formula: str = "", style: Style = STRUCK) -> Rule:
    """Return a rule with a formula, or else one that every cell with content meets."""
    kind = "expression" if formula else "notContainsBlanks"
    return Rule(where, style, {"type": kind}, formula)


def test_each_row_gets_the_rules_of_its_areas() -> None:
    """Rules may have several areas, in any order, and end in any row."""
    areas = ["A5:B6", "A2:A9 C3:C4", "B1:B2", "A4"]
    rules = Rules(map(rule, areas))
    found = {
        row + 1: {(each._where, column) for each, column, _ in rules.formatted(row, ["x"] * 3)} for row in range(9)
    }
    first, second, third, last = areas
    assert found == {
        1: {(third, 1)},
        2: {(third, 1), (second, 0)},
        3: {(second, 0), (second, 2)},
        4: {(second, 0), (second, 2), (last, 0)},
        5: {(first, 0), (first, 1), (second, 0)},
        6: {(first, 0), (first, 1), (second, 0)},
        7: {(second, 0)},
        8: {(second, 0)},
        9: {(second, 0)},
    }


@pytest.mark.parametrize(
    ("tested", "count"),
    [
        (rule("A2:G11"), 70),
        (rule("A2:G11", '$F2="x"'), 10),
        (rule("A2:Z60000"), 80),
        (rule("A2:A3 C5:D6"), 6),
        (rule("J1:J9"), 0),
        (rule("A12:B20"), 0),
        (rule("A2:G11", "MOD(ROW(),2)=0"), 70),
        (rule("A2:G11", "MOD(ROW(),2)=0", Style(look="red")), 0),
    ],
)
def test_only_cells_that_exist_are_tested(tested: Rule, count: int) -> None:
    """In a sheet of 11 rows and 8 columns; a condition that tests one column is tested once per row."""
    assert Rules([tested]).tests(11, 8) == count


def test_too_many_rules_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Testing them could take minutes."""
    book = openpyxl.Workbook()
    for _ in range(11):
        book.worksheets[0].append(["x"] * 8)
    book.save(tmp_path / "book.xlsx")
    sheet = CalamineWorkbook.from_path(str(tmp_path / "book.xlsx")).get_sheet_by_index(0)
    monkeypatch.setattr(sandbox, "_MAX_TESTS", 150)
    assert sandbox._rules(sheet, Marks(rules=[rule("A2:G11")] * 2)).tests(11, 8) == 140
    with pytest.raises(PackedError, match="has 3 rules of conditional formatting, too many for its size"):
        sandbox._rules(sheet, Marks(rules=[rule("A2:G11")] * 3))
