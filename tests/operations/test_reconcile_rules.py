"""The rules of docs/reconcile.md, case by case: which card a row belongs to, what it means, and verdicts."""

import re
from dataclasses import replace
from typing import Any

import pytest

from dataloader.batch import Verdict
from dataloader.operations import generate
from dataloader.operations.reconcile.card_index import CardIndex
from dataloader.operations.reconcile.rows import Delivery, Said, Standing, TableInput, understand, whose
from dataloader.operations.reconcile.verdicts import CardJudgement, Claim, counting, judge
from dataloader.vendor import ByteOrder, CellKind, check_value
from dataloader.vendor.returned import KEYS, ReturnedRow, ReturnedTable
from dataloader.vendor.sheets import RESULTS
from tests.support.command_docs import ROOT
from tests.support.returned_files import CHECK, CHIP, NOTE, NUMBER, OTHER_UUID, RESULT, UUID, chip_of, row_of

PAGE = (ROOT / "docs" / "reconcile.md").read_text("utf-8")


@pytest.fixture(scope="module")
def roll(tmp_path_factory: pytest.TempPathFactory) -> CardIndex:
    """A batch of nine cards; the last one of each snapset is a spare."""
    batch = generate(
        "roll", {"snapset_1a": 4, "empty": 3}, tmp_path_factory.mktemp("roll"), spares={"snapset_1a": 1, "empty": 1}
    )
    return CardIndex(batch.manifest)


def table(
    *,
    fills_result: bool = True,
    fills_chip: bool = True,
    round_: int = 1,
    keys: tuple[str, ...] = KEYS,
    delivery: Delivery | None = None,
    **kwargs: Any,
) -> TableInput:
    """Return a table without rows."""
    source = ReturnedTable("file-1", "row", frozenset(keys), fills_result=fills_result, fills_chip=fills_chip, **kwargs)
    return TableInput(source, 1, round_, ByteOrder.MSB, delivery or Delivery(fills_result, fills_chip))


def cells_of(line: int, row: list[Any], hidden: str = "") -> ReturnedRow:
    """Return the cells of a row."""
    return ReturnedRow._make((line, *row, hidden, frozenset()))


def changed(row: list[Any], **cells: Any) -> list[Any]:
    """Return a row with other cells."""
    at = {"number": NUMBER, "uuid": UUID, "check": CHECK, "chip": CHIP, "result": RESULT, "note": NOTE}
    row = list(row)
    for name, value in cells.items():
        row[at[name]] = value
    return row


# The index.


def test_card_is_found_only_by_its_exact_uuid(roll: CardIndex) -> None:
    """A missing, longer, shorter UUID, or one in another case, finds no card."""
    for card in roll:
        assert roll.find(card.uuid) == card.number
        assert roll.card(card.number) == card
        others = [card.uuid.upper(), f" {card.uuid}", card.uuid[:-1], f"{card.uuid[:-1]}g", "", "\N{DEGREE SIGN}" * 36]
        assert {roll.find(other) for other in others if other != card.uuid} == {0}
    assert [card.snapset for card in roll] == ["snapset_1a"] * 5 + ["empty"] * 4
    assert [card.number for card in roll if roll.is_spare(card.number)] == [5, 9]


# The card of a row.

OWN, CONTRADICTED, NAMED = Standing.OWN, Standing.CONTRADICTED, Standing.NAMED
# Changes of card 3's row, and the result: the card, how the row relates to it, and whose UUID it has.
WHOSE: list[tuple[str, dict[str, Any], tuple[int, Standing, int]]] = [
    ("nothing", {}, (3, OWN, 0)),
    ("the number is another card's", {"number": "4"}, (3, OWN, 0)),
    ("the number is nobody's", {"number": "77"}, (3, OWN, 0)),
    ("the number is empty", {"number": ""}, (3, OWN, 0)),
    ("the number is a number", {"number": 3.0}, (3, OWN, 0)),
    ("the number has digits that are none of ours", {"number": "9" * 5000}, (3, OWN, 0)),
    ("the number is a long text", {"number": f"card{'~' * 100_000}"}, (3, OWN, 0)),
    ("the check value is another", {"check": "BBBBBB"}, (3, OWN, 0)),
    ("the check value is empty", {"check": ""}, (3, OWN, 0)),
    ("the check value is in lower case", {"check": "lower"}, (3, OWN, 0)),
    ("the check value is another card's", {"check": 4}, (3, OWN, 0)),
    ("there is a UUID only", {"number": "", "check": ""}, (3, OWN, 0)),
    ("number and check value are another card's", {"number": "4", "check": 4}, (4, NAMED, 3)),
    ("number and check value are two others'", {"number": "4", "check": 6}, (3, CONTRADICTED, 0)),
    ("number another card's, check value nobody's", {"number": "4", "check": "BBBBBB"}, (3, CONTRADICTED, 0)),
    ("the number is another card's, the check value empty", {"number": "4", "check": ""}, (3, CONTRADICTED, 0)),
    ("the number is nobody's, the check value another", {"number": "77", "check": "BBBBBB"}, (3, CONTRADICTED, 0)),
    ("the number is nobody's, the check value empty", {"number": "total", "check": ""}, (3, OWN, 0)),
    ("the number is empty, the check value another", {"number": "", "check": "BBBBBB"}, (3, CONTRADICTED, 0)),
    ("the UUID is another card's", {"uuid": 4}, (3, NAMED, 4)),
    ("the UUID is nobody's", {"uuid": OTHER_UUID}, (3, NAMED, 0)),
    ("the UUID is in upper case", {"uuid": "upper"}, (3, NAMED, 0)),
    ("the UUID has a blank behind it", {"uuid": "blank"}, (3, NAMED, 0)),
    ("the UUID is empty", {"uuid": ""}, (3, NAMED, 0)),
    ("the UUID is a formula", {"uuid": "formula"}, (3, NAMED, 0)),
    ("the UUID is nobody's, the number another card's", {"uuid": OTHER_UUID, "number": "4"}, (0, OWN, 0)),
    ("the UUID is nobody's, the check value another", {"uuid": OTHER_UUID, "check": "BBBBBB"}, (0, OWN, 0)),
    ("UUID nobody's, check value its own", {"uuid": OTHER_UUID, "check": check_value(OTHER_UUID)}, (0, OWN, 0)),
    ("the UUID is nobody's, the number empty", {"uuid": OTHER_UUID, "number": ""}, (0, OWN, 0)),
    ("the UUID is nobody's, the check value empty", {"uuid": OTHER_UUID, "check": ""}, (0, OWN, 0)),
    ("the UUID is in upper case, nothing beside it", {"uuid": "upper", "number": "", "check": ""}, (0, OWN, 0)),
    ("the UUID is nobody's, the number a formula", {"uuid": OTHER_UUID, "number": ["formula", "3"]}, (0, OWN, 0)),
    ("the UUID is nobody's, the check value a formula", {"uuid": OTHER_UUID, "check": "formula"}, (0, OWN, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("what", "cells", "expected"), WHOSE, ids=[what for what, _, _ in WHOSE])
def test_card_of_a_row(roll: CardIndex, what: str, cells: dict[str, Any], expected: tuple[int, Standing, int]) -> None:
    """UUID, card number and check value decide together; a doubtful row is not the card's own."""
    cells = dict(cells)
    card = roll.card(3)
    match cells.get("uuid"):
        case int(number):
            cells["uuid"] = roll.uuid(number)
        case "upper":
            cells["uuid"] = card.uuid.upper()
        case "blank":
            cells["uuid"] = f"{card.uuid} "
        case "formula":
            cells["uuid"] = ["formula", card.uuid]
    match cells.get("check"):
        case int(number):
            cells["check"] = check_value(roll.uuid(number))
        case "lower":
            cells["check"] = check_value(card.uuid).lower()
        case "formula":
            cells["check"] = ["formula", check_value(card.uuid)]
    found = whose(understand(table(), cells_of(5, changed(row_of(card), **cells))), roll)
    assert (found.card, found.standing, found.lender) == expected, what
    silent = what in {"nothing", "the number is empty", "the number is a number", "the check value is empty"}
    assert (not found.why) == (silent or what in {"the check value is in lower case", "there is a UUID only"})


def test_reasons_for_doubtful_rows(roll: CardIndex) -> None:
    """They name cards, numbers and check values, and shorten long text."""
    card, other = roll.card(3), roll.uuid(4)

    def why(**cells: Any) -> str:
        return whose(understand(table(), cells_of(5, changed(row_of(card), **cells))), roll).why

    assert why(number="4") == "its card number is 4, but it is card 3"
    assert why(check="BBBBBB") == "its check value BBBBBB was edited"
    assert why(uuid=other) == "it has the UUID of card 4, but the card number and check value of card 3"
    assert why(number="4", check="BBBBBB") == ("its card number 4 and check value BBBBBB do not belong to its UUID")
    assert (
        why(uuid=OTHER_UUID)
        == f"its UUID {OTHER_UUID} is not the card's; its card number and check value are the card's"
    )
    assert why(uuid="") == "it has no UUID; its card number and check value are the card's"
    assert why(uuid=card.uuid.upper()).startswith(
        f"its UUID {card.uuid.upper()} differs from the card's in case, blanks or punctuation, and"
    )
    assert why(uuid=OTHER_UUID, check="") == f"its UUID {OTHER_UUID} is not a card of this batch"
    assert why(uuid=f" {card.uuid}", check="") == (
        f"its UUID {card.uuid} is that of card 3 except for case, blanks or punctuation, and a reader takes "
        "it literally"
    )
    assert "differs from the card's in case, blanks" in why(uuid=f"{{{card.uuid}}}")
    assert len(why(uuid="x" * 9000)) < 150
    assert understand(table(), cells_of(5, changed(row_of(card), number=["formula", "3"]))).warnings


# The meaning of a row.

FILLED: dict[str, Any] = {"fills_result": True, "fills_chip": True}
NO_RESULT: dict[str, Any] = {"fills_result": False, "fills_chip": True}
NO_CHIP: dict[str, Any] = {"fills_result": True, "fills_chip": False}
NEITHER: dict[str, Any] = {"fills_result": False, "fills_chip": False}
GOOD = chip_of(1)
BAD = "04A1"
# The columns filled in by the vendor, the result, the chip, and the meaning.
SAYS: list[tuple[dict[str, Any], Any, Any, Said]] = [
    (FILLED, "ok", GOOD, Said.ENCODED),
    (FILLED, " OK ", GOOD, Said.ENCODED),
    (FILLED, "Ok.", GOOD, Said.ENCODED),
    (FILLED, "\N{CYRILLIC CAPITAL LETTER O}\N{CYRILLIC CAPITAL LETTER KA}", GOOD, Said.ENCODED),
    (FILLED, "ok?", GOOD, Said.DOUBTFUL),
    (FILLED, "ok...", GOOD, Said.DOUBTFUL),
    (FILLED, "not failed", GOOD, Said.DOUBTFUL),
    (FILLED, "ok", "", Said.DOUBTFUL),
    (FILLED, "ok", BAD, Said.DOUBTFUL),
    (FILLED, "ok", 4123456789012.0, Said.DOUBTFUL),
    (FILLED, "ok", ["date", "1904-03-02"], Said.DOUBTFUL),
    (FILLED, "ok", ["formula", GOOD], Said.DOUBTFUL),
    (FILLED, ["formula", "ok"], GOOD, Said.DOUBTFUL),
    (FILLED, True, GOOD, Said.DOUBTFUL),
    (FILLED, "good", GOOD, Said.DOUBTFUL),
    (FILLED, "failed", GOOD, Said.FAILED),
    (FILLED, "Failed", "", Said.FAILED),
    (FILLED, "failed", BAD, Said.FAILED),
    (FILLED, "spare", "", Said.SPARE),
    (FILLED, "spare", GOOD, Said.ENCODED),
    (FILLED, "spare", BAD, Said.DOUBTFUL),
    (FILLED, "", GOOD, Said.NOTHING),
    (FILLED, "", "", Said.NOTHING),
    (FILLED, " ", BAD, Said.NOTHING),
    (NO_RESULT, "", GOOD, Said.ENCODED),
    (NO_RESULT, "", "", Said.NOTHING),
    (NO_RESULT, "", BAD, Said.DOUBTFUL),
    (NO_RESULT, "spare", "", Said.SPARE),
    (NO_RESULT, "spare", GOOD, Said.ENCODED),
    (NO_CHIP, "ok", "", Said.ENCODED),
    (NO_CHIP, "failed", "", Said.FAILED),
    (NO_CHIP, "spare", "", Said.SPARE),
    (NO_CHIP, "", "", Said.NOTHING),
    (NEITHER, "", "", Said.NOTHING),
    (NEITHER, "spare", "", Said.SPARE),
]


@pytest.mark.parametrize(("filled", "result", "chip", "said"), SAYS)
def test_meaning_of_a_row(roll: CardIndex, filled: dict[str, Any], result: Any, chip: Any, said: Said) -> None:
    """Result and chip UID decide, as far as the vendor has filled in these columns at all."""
    row = understand(table(**filled), cells_of(5, changed(row_of(roll.card(1)), result=result, chip=chip)))
    assert row.said is said
    assert bool(row.why) == (said is not Said.ENCODED)
    assert row.where == "file-1, row 5"


def test_result_words_are_those_of_the_workbook() -> None:
    """Every choice of the drop-down list is understood."""
    assert RESULTS == ("ok", Said.FAILED, Said.SPARE)


# The verdict of a card.


def row(
    roll: CardIndex, result: Any = "ok", *, chip: Any = GOOD, line: int = 5, filled: Any = FILLED, **cells: Any
) -> Any:
    """Return a row of card 1 as it is understood."""
    at = table(**filled, round_=cells.pop("round", 1))
    return understand(at, cells_of(line, changed(row_of(roll.card(1)), result=result, chip=chip, **cells)))


OTHER = chip_of(1, again=1)
RowForm = tuple[str, str] | tuple[str, str, Standing]
# Rows of card 1 as result, chip and relation (its own by default), and the verdict.
COME_TO: list[tuple[str, list[RowForm], Verdict, str]] = [
    ("no row", [], Verdict.MISSING, ""),
    ("ok", [("ok", GOOD)], Verdict.ENCODED, GOOD),
    ("the same again", [("ok", GOOD), ("ok", GOOD)], Verdict.ENCODED, GOOD),
    ("two chips", [("ok", GOOD), ("ok", OTHER)], Verdict.DUPLICATE, ""),
    ("empty", [("", "")], Verdict.MISSING, ""),
    ("empty, then ok", [("", ""), ("ok", GOOD)], Verdict.ENCODED, GOOD),
    ("failed", [("failed", "")], Verdict.FAILED, ""),
    ("failed, empty", [("failed", ""), ("", "")], Verdict.FAILED, ""),
    ("failed without a chip, then ok", [("failed", ""), ("ok", GOOD)], Verdict.ENCODED, GOOD),
    ("failed on another chip, then ok", [("failed", OTHER), ("ok", GOOD)], Verdict.ENCODED, GOOD),
    ("failed and ok on one chip", [("failed", GOOD), ("ok", GOOD)], Verdict.FAILED, GOOD),
    ("a chip UID in doubt", [("ok", BAD)], Verdict.FAILED, ""),
    ("a chip UID in doubt, and a good one", [("ok", BAD), ("ok", GOOD)], Verdict.FAILED, GOOD),
    ("no chip UID, and a good one", [("ok", ""), ("ok", GOOD)], Verdict.FAILED, GOOD),
    ("another word, and ok", [("maybe", ""), ("ok", GOOD)], Verdict.FAILED, GOOD),
    ("altered", [("ok", GOOD, NAMED)], Verdict.ALTERED, ""),
    ("altered and empty", [("ok", GOOD, NAMED), ("", "")], Verdict.ALTERED, ""),
    ("altered and failed", [("ok", GOOD, NAMED), ("failed", "")], Verdict.FAILED, ""),
    ("altered and spare", [("ok", GOOD, NAMED), ("spare", "")], Verdict.ALTERED, ""),
    ("altered, beside a good row", [("ok", OTHER, NAMED), ("ok", GOOD)], Verdict.ENCODED, GOOD),
    ("contradicted", [("ok", GOOD, CONTRADICTED)], Verdict.ALTERED, ""),
    ("contradicted, beside a good row of that chip", [("ok", GOOD, CONTRADICTED), ("ok", GOOD)], Verdict.ENCODED, GOOD),
    ("contradicted, beside a good row of another", [("ok", OTHER, CONTRADICTED), ("ok", GOOD)], Verdict.DUPLICATE, ""),
    ("contradicted and in doubt, beside a good row", [("ok", BAD, CONTRADICTED), ("ok", GOOD)], Verdict.FAILED, GOOD),
    ("another card's row with its UUID", [("ok", OTHER, Standing.BORROWED)], Verdict.MISSING, ""),
    ("the same, beside a good row", [("ok", OTHER, Standing.BORROWED), ("ok", GOOD)], Verdict.DUPLICATE, ""),
    ("the same, of the same chip", [("ok", GOOD, Standing.BORROWED), ("ok", GOOD)], Verdict.ENCODED, GOOD),
    ("spare", [("spare", "")], Verdict.MISSING, ""),
    ("spare and failed", [("spare", ""), ("failed", "")], Verdict.FAILED, ""),
    ("spare, then ok", [("spare", ""), ("ok", GOOD)], Verdict.ENCODED, GOOD),
]  # fmt: skip


@pytest.mark.parametrize(("what", "rows", "verdict", "chip"), COME_TO, ids=[each[0] for each in COME_TO])
def test_verdict_of_a_card(roll: CardIndex, what: str, rows: list[RowForm], verdict: Verdict, chip: str) -> None:
    """The order of rows does not matter, and no doubtful card counts as encoded."""
    claims = [
        Claim(row(roll, form[0], chip=form[1], line=line), form[2] if len(form) > 2 else OWN, "altered")
        for line, form in enumerate(rows, 2)
    ]
    for order in (claims, claims[::-1]):
        found = judge(order, is_spare=False)
        assert (found.verdict, found.chip) == (verdict, chip), what
        assert (not found.reason) == (verdict is Verdict.ENCODED)
        assert not found.unused_spare
    backwards = [Claim(claim.row, claim.standing, claim.why) for claim in claims]
    assert judge(backwards, is_spare=False).reason == judge(claims, is_spare=False).reason


def judged(roll: CardIndex, *forms: Any, is_spare: bool = False, **kwargs: Any) -> CardJudgement:
    """Return the verdict for rows of card 1."""
    claims = [Claim(row(roll, form[0], chip=form[1], line=at, **kwargs)) for at, form in enumerate(forms, 2)]
    return judge(claims, is_spare=is_spare)


def test_unused_spare_needs_no_action(roll: CardIndex) -> None:
    """It is missing, but nothing is wrong; a card that only the vendor calls a spare is a problem."""
    assert judged(roll, ("spare", ""), is_spare=True).unused_spare
    assert judged(roll, ("spare", ""), ("", ""), is_spare=True).unused_spare
    assert judged(roll, ("", ""), is_spare=True, filled=NO_RESULT).unused_spare
    assert not judged(roll, ("", ""), is_spare=True).unused_spare
    assert not judge([], is_spare=True).unused_spare
    ordered = judged(roll, ("spare", ""))
    assert (ordered.unused_spare, ordered.reason) == (
        False,
        "file-1, row 2: its result is spare, but it is a card that was ordered",
    )


def test_failure_in_a_table_without_chips_contradicts_ok(roll: CardIndex) -> None:
    """In a table of chip UIDs it is another attempt."""
    good = Claim(row(roll))
    found = judge([good, Claim(row(roll, "failed", chip="", filled=NO_CHIP, line=6))], is_spare=False)
    assert found.verdict is Verdict.FAILED
    assert found.reason == "file-1, row 6 says that it failed, file-1, row 5 that it did not"
    bad = row(roll, "failed", chip="", line=6)
    elsewhere = replace(bad, table=replace(bad.table, index=2))
    found = judge([good, Claim(elsewhere)], is_spare=False)
    assert found.reason.endswith("that it did not; if a second try worked, mark its file with --again")
    found = judge([good, Claim(row(roll, "failed", line=6))], is_spare=False)
    assert found.reason.endswith("that it did not; if that was an earlier try, remove its row")
    found = judge([good, Claim(row(roll, "failed", chip="", line=6))], is_spare=False)
    assert found.verdict is Verdict.ENCODED
    says = "says that it failed, without a chip UID; according to file-1, row 5, it is encoded"
    assert found.warnings == [("file-1, row 6", says)]
    assert judged(roll, ("ok", ""), ("failed", ""), filled=NO_CHIP).verdict is Verdict.FAILED
    # In another table, it may be a correction.
    other = row(roll, "failed", chip="", line=6)
    other.table = replace(other.table, index=2)
    assert judge([good, Claim(other)], is_spare=False).verdict is Verdict.FAILED


def test_spare_and_note_that_may_contradict_ok_are_warnings(roll: CardIndex) -> None:
    """An unused spare that is encoded, and a note whose value is not known."""
    found = judged(roll, ("ok", GOOD), ("spare", ""))
    says = "says that it is an unused spare; according to file-1, row 2, it is encoded"
    assert (found.verdict, found.warnings) == (Verdict.ENCODED, [("file-1, row 3", says)])
    noted = row(roll, note=["formula", ""])
    assert noted.said is Said.ENCODED
    assert noted.warnings == ("its note is a formula or an error, and its stored value may be outdated",)


def test_last_round_counts(roll: CardIndex) -> None:
    """For a card that was encoded again, the last round that mentions it decides."""
    first = [Claim(row(roll, chip=GOOD)), Claim(row(roll, chip=OTHER)), Claim(row(roll, chip=BAD), NAMED, "altered")]
    again = Claim(row(roll, chip=chip_of(1, again=2), round=2))
    failed_again = Claim(row(roll, "failed", chip="", round=3))
    silent = Claim(row(roll, "", chip="", round=4))
    assert judge(counting(first), is_spare=False).verdict is Verdict.DUPLICATE
    assert judge(counting([*first, silent]), is_spare=False).verdict is Verdict.DUPLICATE
    assert judge(counting([*first, silent, again]), is_spare=False).chip == chip_of(1, again=2)
    assert judge(counting([failed_again, *first, again, silent]), is_spare=False).verdict is Verdict.FAILED
    assert counting([silent]) == [silent]
    assert counting([]) == []


def test_row_with_foreign_uuid_next_to_a_good_row_is_unknown(roll: CardIndex) -> None:
    """One with another card's UUID concerns that card."""
    good = Claim(row(roll))
    stray = Claim(row(roll, chip=OTHER, uuid=OTHER_UUID), NAMED, "altered")
    assert judge([good, stray], is_spare=False).strays == [stray]
    lent = Claim(row(roll, chip=OTHER, uuid=roll.uuid(2)), NAMED, "altered", lends=True)
    found = judge([good, lent], is_spare=False)
    assert (found.strays, found.warnings) == ([], [(lent.row.where, "altered")])
    assert judge([stray], is_spare=False).strays == []


def test_reasons_include_the_vendors_note(roll: CardIndex) -> None:
    """The operator sees what the vendor says about a failed card."""
    cells = row_of(roll.card(1), chip="", result="failed", note="three\nchips  tried")
    found = judge([Claim(understand(table(), cells_of(5, cells)))], is_spare=False)
    assert found.reason == "file-1, row 5: the vendor says that it failed (note: three chips tried)"
    many = [("ok", chip_of(1, again=again)) for again in range(6)]
    assert judged(roll, *many).reason.endswith(", …")


# The documentation.


@pytest.mark.parametrize("heading", ["Which card a row belongs to", "What a row means", "The verdict of a card"])
def test_rules_are_documented_in_tables(heading: str) -> None:
    """Each group of rules has its table."""
    section = re.search(rf"^## {heading}\n(.*?)(?:^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert section[1].count("\n| ") >= 5


def test_every_verdict_is_documented() -> None:
    """The page says what each verdict means and what to do."""
    for word in [*Verdict, "unknown"]:
        assert re.search(rf"^\| `{word}` \|", PAGE, re.MULTILINE), word
    for kind in CellKind:
        assert kind is CellKind.TEXT or kind.value in PAGE
