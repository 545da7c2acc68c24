"""Reconciling a manifest with returned files: verdicts, output files and exit codes."""

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import split
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.batch import Card, Manifest, ReturnedCard, Verdict, read_manifest, read_reconciled
from dataloader.common import ExitCode, FileError, InputError, data_dir, page
from dataloader.operations import generate, validate
from dataloader.operations.generate import Batch
from dataloader.operations.reconcile import Reconciliation, ReturnedFile, reconcile, results_in, write_results
from dataloader.vendor import ByteOrder, check_workbook
from dataloader.vendor.returned import Reading
from tests.support.command import Command
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.returned_files import (
    CHECK,
    CHIP,
    NUMBER,
    OTHER_UUID,
    RESULT,
    SAMPLES,
    SNAPSET,
    TITLES,
    UUID,
    Rows,
    chip_of,
    fill_in,
    good_rows,
    make_samples,
    row_of,
    table,
    write_csv,
    write_xlsx,
)

FOLDER = data_dir("samples") / "returned"
PROPERTY = settings(deadline=None, max_examples=60)
SAYS = f"what to do: {page('second-round.md')}"
NOT_ITS = "is not the card's; its card number and check value are the card's"
UNIT = 1 if sys.platform == "darwin" else 1024
"""The unit in bytes in which the system counts memory (getrusage(2))."""
WORDS = ("encoded", "failed", "missing", "altered", "duplicate", "unknown")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """A batch of 20 cards over two snapsets, two of them spares."""
    return generate("spring", {"snapset_1a": 10, "empty": 8}, tmp_path_factory.mktemp("small"), spares={"empty": 2})


def found_of(manifest: Manifest, *paths: Path, again: tuple[Path, ...] = (), **kwargs: Any) -> Reconciliation:
    """Reconcile files with a batch."""
    files = [ReturnedFile(path) for path in paths] + [ReturnedFile(path, again=True) for path in again]
    order = kwargs.pop("byte_order", ByteOrder.MSB)
    return reconcile(manifest, files, Reading(cards=manifest.header.cards, **kwargs), byte_order=order)


def verdicts(found: Reconciliation) -> dict[int, Verdict]:
    """Return the verdict of each card by number."""
    return {each.card.number: each.verdict for each in found.ledger}


def counts(found: Reconciliation) -> tuple[int, ...]:
    """Return the number of cards with each verdict, and the number of rows that match no card."""
    return (*(found.counts[verdict] for verdict in Verdict), found.unknown)


# The samples.


def test_samples_are_up_to_date(tmp_path: Path) -> None:
    """The files in the repository equal what the helper writes, cell by cell, and their page has its table."""
    make_samples(tmp_path)
    assert (FOLDER / "README.md").read_text("utf-8").endswith(table())
    assert {path.name for path in FOLDER.iterdir()} == {path.name for path in tmp_path.iterdir()} | {"README.md"}
    for path in sorted(tmp_path.iterdir()):
        if path.suffix == ".xlsx":
            assert cells_of(FOLDER / path.name) == cells_of(path)
        else:
            assert (FOLDER / path.name).read_bytes() == path.read_bytes()


def cells_of(path: Path) -> list[Any]:
    """Return the contents of all cells of a workbook."""
    book = openpyxl.load_workbook(path)
    return [[[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in book.worksheets]


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_has_its_verdicts(here: Command, tmp_path: Path, name: str) -> None:
    """Counts, exit code and files are those of the table, and the five verdicts add up to the cards."""
    completed = here("reconcile", FOLDER / "library.batch.jsonl", FOLDER / name, "--out", tmp_path / "out", "--json")
    data = completed.data
    expected = dict(zip(WORDS, SAMPLES[name][1], strict=True))
    assert {word: data[word] for word in WORDS} == expected
    assert sum(data[verdict] for verdict in Verdict) == data["cards"] == 16
    unused = 1 if name == "spare-used.xlsx" else 2
    assert (data["spares_unused"], data["to_encode"]) == (unused, 16 - data["encoded"] - unused)
    good = not data["to_encode"] and not data["unknown"]
    assert completed.code == (ExitCode.OK if good else ExitCode.RETURNED)
    reconciled = read_reconciled(Path(data["reconciled"]))
    assert {verdict.value: reconciled.counts[verdict] for verdict in Verdict} == {v: data[v] for v in Verdict}
    assert reconciled.header == read_manifest(FOLDER / "library.batch.jsonl").header
    assert (data["reencode"] is None) == (data["to_encode"] == 0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        ["library.reconciled.jsonl", *(["library.reencode.xlsx"] if data["to_encode"] else [])]
    )
    if data["reencode"]:
        assert check_workbook(Path(data["reencode"])).cards == data["to_encode"]


# The command line.


def test_reconcile_command_as_a_process(command: Command, small: Batch, tmp_path: Path) -> None:
    """It prints counts, files, and each problematic card and row with its reason, and has an exit code."""
    rows = good_rows(small.manifest)
    rows[2][CHIP : RESULT + 1] = ["", "failed"]
    rows[4][UUID] = OTHER_UUID
    rows.append(["", OTHER_UUID, "", "", "04000000000A80", "ok", ""])
    rows[6][NUMBER] = "19"
    before = small.manifest.path.read_bytes()
    card = list(small.manifest.cards())[4]
    path = fill_in(small.workbook, tmp_path / "came back.xlsx", rows)
    completed = command("reconcile", small.manifest.path, path, "--out", "out", "--details", "details.jsonl")
    assert completed.code == ExitCode.RETURNED
    assert completed.stdout.splitlines() == [
        "16 of 18 ordered cards are ready; 2 to encode again; 2 spares unused",
        "  snapset_1a: 8 of 10 ready; 2 to encode again",
        "  empty: 8 of 8 ready; 2 spares unused",
        "batch spring, round 1: 20 cards, 21 rows in 1 file",
        "16  encoded",
        " 1  failed",
        " 2  missing (2 unused spares)",
        " 1  altered",
        " 1  unknown (rows that match no card)",
        "reconciled  out/spring.reconciled.jsonl  (load this, not the manifest)",
        "reencode    out/spring.reencode.xlsx  (2 cards to encode again)",
    ]
    assert completed.stderr.splitlines() == [
        f"warning: card 3 ({rows[2][UUID][:8]}…): failed: came back.xlsx, row 4: the vendor says that it failed",
        f"warning: card 5 ({card.uuid[:8]}…): altered: came back.xlsx, row 6: its UUID {OTHER_UUID[:8]}… {NOT_ITS}",
        f"warning: came back.xlsx, row 22: unknown: its UUID {OTHER_UUID[:8]}… is not a card of this batch",
        "warning: came back.xlsx, row 8: its card number is 19, but it is card 7",
        (
            "error: 2 of 18 ordered cards must be encoded again; the chips of 1 card must be destroyed; "
            f"1 row matches no card ({SAYS})"
        ),
    ]
    details = [json.loads(line) for line in (tmp_path / "details.jsonl").read_text("utf-8").splitlines()]
    assert [each["about"] for each in details] == ["card"] * 4 + ["unknown row", "warning"]
    assert details[0]["number"] == 3
    assert details[3] == {
        "about": "card",
        "number": 20,
        "uuid": rows[19][UUID],
        "verdict": "missing",
        "chip": None,
        "unused_spare": True,
        "to_encode": False,
        "reason": "came back.xlsx, row 21: a spare that was not used",
    }
    assert small.manifest.path.read_bytes() == before
    for each in (tmp_path / "out").iterdir():
        assert each.stat().st_mode & 0o777 == 0o600
    full = command("reconcile", small.manifest.path, path, "--out", "out", "--full")
    assert f"its UUID {OTHER_UUID} {NOT_ITS}" in full.stderr
    assert (tmp_path / "out" / "spring.reconciled.2.jsonl").exists()


def test_reconcile_without_problems_is_quiet(here: Command, small: Batch, tmp_path: Path) -> None:
    """Nothing on stderr, exit code 0, and no workbook of cards to encode again."""
    path = write_csv(tmp_path / "back.csv", good_rows(small.manifest))
    completed = here("reconcile", small.manifest.path, path, "--out", tmp_path / "out", "--name", "first")
    assert (completed.code, completed.stderr) == (ExitCode.OK, "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["first.reconciled.jsonl"]
    many = here("reconcile", small.manifest.path, path, "--out", tmp_path / "out", "--name", "../first")
    assert many.code == ExitCode.INPUT


def test_rounds_are_numbered(here: Command, tmp_path: Path) -> None:
    """Each run writes the next round next to the manifest, and never overwrites a file."""
    batch = generate("spring", {"empty": 3}, tmp_path)
    path = write_csv(tmp_path / "back.csv", good_rows(batch.manifest)[1:])
    for round_, number in ((1, ""), (2, ".2"), (3, ".3")):
        done = here("reconcile", batch.manifest.path, path, "--json")
        assert (done.code, done.data["round"]) == (ExitCode.RETURNED, round_)
        assert done.data["reconciled"] == str(tmp_path / f"spring.reconciled{number}.jsonl")
        assert done.data["reencode"] == str(tmp_path / f"spring.reencode{number}.xlsx")
        assert read_reconciled(Path(done.data["reconciled"])).round == round_
    (tmp_path / "spring.reencode.4.xlsx").write_text("")
    again = here("reconcile", batch.manifest.path, path)
    assert again.code == ExitCode.FILE
    assert str(tmp_path / "spring.reencode.4.xlsx") in again.stderr


def test_second_of_two_runs_at_once_is_told_to_run_again(small: Batch, tmp_path: Path) -> None:
    """Its rows belong to the next round; the file of the first must not be moved away."""
    path = write_csv(tmp_path / "back.csv", good_rows(small.manifest))
    found = reconcile(small.manifest, [ReturnedFile(path)], Reading(cards=small.manifest.header.cards))
    results = results_in(tmp_path, "small")
    write_results(found, results)
    with pytest.raises(FileError, match=r"already exists.* \(if another run has just written it, run this one again; "):
        write_results(found, results)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--column", "uuid"], "--column uuid: must be KEY=TITLE, KEY one of number, uuid, check"),
        (["--column", "uuid"], '(write uuid="ITS TITLE")'),
        (["--column", "Tag ID"], "(write 'uuid=Tag ID' if the UUIDs are below that title)"),
        (["--column", "Tag ID=uuid"], "(write 'uuid=Tag ID')"),
        (["--column", "tag=UUID"], "--column tag=UUID: must be KEY=TITLE"),
        (["--column", "chip=A", "--column", "chip=B"], "--column chip=B: chip is given twice"),
        (["--column", "uuid="], "--column uuid=: rows cannot be matched without UUIDs"),
        (["--byte-order", "middle"], "'middle' must be one of: msb, lsb"),
    ],
)
def test_invalid_command_line_is_reported(here: Command, small: Batch, arguments: list[str], message: str) -> None:
    """Before anything is read."""
    completed = here("reconcile", small.manifest.path, "back.csv", *arguments)
    assert completed.code == ExitCode.USAGE
    assert message in completed.stderr


def test_equal_reasons_are_grouped(here: Command, tmp_path: Path) -> None:
    """Cards with the same reason are one line with their numbers; each is in the details."""
    batch = generate("large", {"empty": 40}, tmp_path)
    rows = [[*row[:CHIP], "", "failed", ""] for row in good_rows(batch.manifest)]
    rows[6][CHIP:] = [chip_of(7), "ok", ""]
    rows[7][CHIP:] = ["4.56E+12", "ok", ""]
    rows[8][CHIP:] = ["4.57E+12", "ok", ""]
    path = write_csv(tmp_path / "back.csv", rows)
    completed = here("reconcile", batch.manifest.path, path, "--details", tmp_path / "details.jsonl")
    first, second, error = completed.stderr.splitlines()
    assert first == "warning: cards 1 to 6, 10 to 40: failed: back.csv: the vendor says that it failed"
    assert second.startswith("warning: cards 8, 9: failed: back.csv, line 9: the chip UID was turned into a number")
    assert second.endswith(" (and 1 more like it)")
    assert error == f"error: 39 of 40 ordered cards must be encoded again ({SAYS})"
    assert len((tmp_path / "details.jsonl").read_text().splitlines()) == 39


def test_half_a_delivery_is_asked_for(here: Command, tmp_path: Path) -> None:
    """Missing cards are not encoded again before the vendor was asked: they would be on two chips."""
    batch = generate("half", {"empty": 4}, tmp_path)
    path = write_csv(tmp_path / "back.csv", good_rows(batch.manifest)[:2])
    done = here("reconcile", batch.manifest.path, path)
    assert done.code == ExitCode.RETURNED
    says = "error: 2 of 4 ordered cards are missing; ask the vendor before you have any encoded again (what to do: "
    assert done.stderr.splitlines()[-1].startswith(says)
    [found] = here("batches", tmp_path, "--json").data["batches"]
    assert found["next"].startswith("ask the vendor for 2 missing cards, then dataloader reconcile ")


def test_delivery_without_an_encoded_card_has_nothing_to_load(here: Command, small: Batch, tmp_path: Path) -> None:
    """The reconciled file is written, but is not to be loaded."""
    rows = [[*row[:CHIP], "", "failed", ""] for row in good_rows(small.manifest)]
    done = here("reconcile", small.manifest.path, write_csv(tmp_path / "back.csv", rows), "--out", tmp_path / "out")
    assert done.code == ExitCode.RETURNED
    assert "spring.reconciled.jsonl  (no card is encoded: nothing to load)" in done.stdout


# Files that do not match.


def test_file_of_another_batch_is_rejected(small: Batch, tmp_path: Path) -> None:
    """Our workbook of another batch without any card of this one; any other file without its cards is a warning."""
    other = generate("autumn", {"empty": 5}, tmp_path)
    with pytest.raises(InputError, match=r"autumn\.xlsx: says that it is of batch autumn, not spring"):
        found_of(small.manifest, other.workbook)
    strange = [[*row[:CHIP], chip_of(900 + at), *row[RESULT:]] for at, row in enumerate(good_rows(other.manifest))]
    csv = write_csv(tmp_path / "other.csv", strange)
    with pytest.raises(InputError, match=r"other\.csv: has no row of a card of this batch; nothing was written"):
        found_of(small.manifest, csv)
    found = found_of(small.manifest, csv, write_csv(tmp_path / "back.csv", good_rows(small.manifest)))
    assert counts(found) == (18, 0, 2, 0, 0, 5)
    assert str(found.warnings[0]) == "other.csv: has no row of a card of this batch (check the file and the manifest)"
    mixed = fill_in(other.workbook, tmp_path / "mixed.xlsx", good_rows(small.manifest)[:5])
    assert [warning.rule for warning in found_of(small.manifest, mixed).warnings] == [
        "says that it is of batch autumn, not spring"
    ]


def test_unfilled_file_is_rejected(here: Command, small: Batch, tmp_path: Path) -> None:
    """The workbook as it was sent, or one without rows, is an error; together with other files, a warning."""
    done = here("reconcile", small.manifest.path, small.workbook, "--out", tmp_path / "out")
    assert done.code == ExitCode.INPUT
    assert "nobody has filled in a result or a chip UID" in done.stderr
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="nobody has filled in"):
        found_of(small.manifest, write_csv(tmp_path / "empty.csv", []))
    found = found_of(small.manifest, small.workbook, write_csv(tmp_path / "back.csv", good_rows(small.manifest)))
    assert found.good
    assert [str(warning) for warning in found.warnings] == [
        "spring.xlsx: has neither results nor chip UIDs: nobody has filled it in (leave it out, or have it filled in)"
    ]


def test_files_without_chip_uids_or_results(small: Batch, tmp_path: Path) -> None:
    """Results alone are enough, with a warning; so are chip UIDs alone; spares without either are unused."""
    rows = good_rows(small.manifest)
    results = write_csv(tmp_path / "r.csv", [[row[UUID], row[RESULT]] for row in rows], titles=["uuid", "result"])
    found = found_of(small.manifest, results)
    assert counts(found) == (18, 0, 2, 0, 0, 0)
    assert found.good
    assert [str(each) for each in found.warnings] == [
        "r.csv: has no chip UIDs, so a card on two chips would go unnoticed (ask the vendor for them)"
    ]
    chips = write_csv(tmp_path / "c.csv", [[row[CHIP], row[UUID]] for row in rows], "\t", titles=["Chip UID", "UUID"])
    found = found_of(small.manifest, chips)
    assert (counts(found), found.good, found.warnings) == ((18, 0, 2, 0, 0, 0), True, [])
    assert {each.chip for each in found.ledger} == {chip_of(number) for number in range(1, 19)} | {""}
    both = found_of(small.manifest, results, chips)
    assert counts(both) == (18, 0, 2, 0, 0, 0)
    assert {each.chip for each in both.ledger} == {chip_of(number) for number in range(1, 19)} | {""}


def test_partial_deliveries_are_combined(small: Batch, tmp_path: Path) -> None:
    """Each part may be the whole workbook, partly filled in, or only its own rows."""
    rows = good_rows(small.manifest)
    first = fill_in(
        small.workbook, tmp_path / "one.xlsx", [*rows[:9], *[[*row[:CHIP], "", "", ""] for row in rows[9:]]]
    )
    second = write_csv(tmp_path / "two.csv", rows[9:])
    assert counts(found_of(small.manifest, first)) == (9, 0, 11, 0, 0, 0)
    assert counts(found_of(small.manifest, first, second)) == (18, 0, 2, 0, 0, 0)
    assert verdicts(found_of(small.manifest, second, first)) == verdicts(found_of(small.manifest, first, second))


def test_spares_that_are_not_listed_are_not_needed(here: Command, small: Batch, tmp_path: Path) -> None:
    """Many vendors leave out unused spares; while cards are missing, spares may be needed."""
    rows = [row for row in good_rows(small.manifest) if row[CHIP]]
    done = here("reconcile", small.manifest.path, write_csv(tmp_path / "a.csv", rows), "--out", tmp_path / "a")
    told = "warning: spares 19, 20: missing: it is in none of the returned files; not needed\n"
    assert (done.code, done.stderr) == (ExitCode.OK, told)
    done = here("reconcile", small.manifest.path, write_csv(tmp_path / "b.csv", rows[:-1]), "--out", tmp_path / "b")
    assert done.stderr.startswith("warning: cards 18 to 20: missing: it is in none of the returned files\n")


def test_chip_uids_that_were_cut_off_are_a_warning(small: Batch, tmp_path: Path) -> None:
    """If all have the first four bytes of UIDs of seven bytes; other UIDs of four bytes are fine."""
    rows = [[*row[:CHIP], f"04{number:06X}", *row[RESULT:]] for number, row in enumerate(good_rows(small.manifest), 7)]
    found = found_of(small.manifest, write_csv(tmp_path / "back.csv", rows))
    assert "all have 4 bytes and begin with 04" in str(found.warnings[0])
    rows[3][CHIP] = "A4B2C3D4"
    found = found_of(small.manifest, write_csv(tmp_path / "back.csv", rows))
    assert "all have 4 bytes and begin with 04" not in str(found.warnings)


def test_reversed_chip_uids_are_a_warning(here: Command, small: Batch, tmp_path: Path) -> None:
    """If all UIDs end with the manufacturer's byte and none begins with it, the warning names the option."""
    rows = good_rows(small.manifest)
    for row in rows:
        row[CHIP] = bytes.fromhex(row[CHIP])[::-1].hex(":")
    path = write_csv(tmp_path / "back.csv", rows)
    told = (
        "warning: chip UIDs: they all end with 04, the manufacturer's code that 7-byte chip UIDs begin with "
        "(if their bytes are written in reverse: --byte-order lsb)\n"
    )
    assert here("reconcile", small.manifest.path, path, "--out", tmp_path / "a").stderr == told
    turned = here("reconcile", small.manifest.path, path, "--out", tmp_path / "b", "--byte-order", "lsb")
    assert (turned.code, turned.stderr) == (ExitCode.OK, "")
    chips = [each.chip for each in read_reconciled(tmp_path / "b" / "spring.reconciled.jsonl").verdicts()]
    assert chips == [*(chip_of(number) for number in range(1, 19)), "", ""]
    good = write_csv(tmp_path / "good.csv", good_rows(small.manifest))
    wrong = here("reconcile", small.manifest.path, good, "--out", tmp_path / "c", "--byte-order", "lsb")
    assert wrong.stderr.endswith("written in reverse: --byte-order msb)\n")
    rows[3][CHIP] = chip_of(4)
    [warning] = found_of(small.manifest, write_csv(tmp_path / "mixed.csv", rows)).warnings
    assert "some begin with 04, the manufacturer's code, but these end with it" in str(warning)
    good_but_one = good_rows(small.manifest)
    good_but_one[3][CHIP] = rows[4][CHIP]
    [warning] = found_of(
        small.manifest, write_csv(tmp_path / "one.csv", [*good_but_one[:4], *good_but_one[5:]])
    ).warnings
    assert "these end with it: 805A0500000004, card 4 (one.csv, line 5)" in str(warning)


def test_rows_without_a_card_are_skipped(small: Batch, tmp_path: Path) -> None:
    """They are not unknown; correct totals are not even a warning."""
    for total, is_named in (("Total 20", False), ("Total 21", True), ("EOF 20", True)):
        path = write_csv(tmp_path / "back.csv", [*good_rows(small.manifest), [], [total, *[""] * 6], [""] * 7])
        found = found_of(small.manifest, path)
        assert (found.unknown, found.good) == (0, True)
        rule = f"back.csv, line 23: skipped: matches no card, and has neither a UUID nor a chip UID: {total}"
        assert [str(each) for each in found.warnings] == [rule] * is_named


def test_wrong_snapset_is_a_warning(small: Batch, tmp_path: Path) -> None:
    """The manifest decides what a card starts with."""
    rows = good_rows(small.manifest)
    rows[0][SNAPSET] = "snapset_3"
    found = found_of(small.manifest, write_csv(tmp_path / "back.csv", rows))
    assert found.good
    assert [str(each) for each in found.warnings] == [
        "back.csv, line 2: its snapset is snapset_3, but card 1 starts with snapset_1a (the manifest counts)"
    ]


def test_files_with_equal_names_are_distinguished(small: Batch, tmp_path: Path) -> None:
    """Messages then contain the whole path."""
    rows = good_rows(small.manifest)
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(write_csv(tmp_path / folder / "back.csv", [[*rows[0][:CHIP], "", "failed", ""]]))
    reasons = [each.reason for each in found_of(small.manifest, *paths).ledger]
    assert reasons[0] == f"{paths[0]}, line 2: the vendor says that it failed"


# Encoding again.


def again(found: Reconciliation, folder: Path, name: str) -> Path:
    """Write the results, and return the workbook of cards to encode again, filled in with new chips."""
    results = results_in(folder, name, found.round)
    assert write_results(found, results)
    book = openpyxl.load_workbook(results.reencode)
    sheet = book["Cards"]
    for row in range(2, sheet.max_row + 1):
        sheet.cell(row, CHIP + 1).value = chip_of(int(str(sheet.cell(row, 1).value)), again=found.round)
        sheet.cell(row, RESULT + 1).value = "ok"
    path = folder / f"{name} filled in.xlsx"
    book.save(path)
    return path


def test_encoding_again_resolves_every_verdict(small: Batch, tmp_path: Path) -> None:
    """Whatever was wrong with a card, all is well once it is encoded again; our workbooks are recognized."""
    rows = good_rows(small.manifest)
    rows[0][RESULT] = "failed"
    rows[1][CHIP] = 4123456789012
    rows[2][UUID] = OTHER_UUID
    rows[3][UUID], rows[4][UUID] = rows[4][UUID], rows[3][UUID]
    rows[5][CHIP] = rows[6][CHIP]
    rows.append([*rows[7][:CHIP], chip_of(8, again=9), "ok", ""])
    del rows[8]
    first = write_xlsx(tmp_path / "first.xlsx", rows)
    found = found_of(small.manifest, first)
    assert counts(found) == (9, 2, 3, 3, 3, 0)
    second = again(found, tmp_path, "second")
    both = found_of(small.manifest, first, second)
    assert (counts(both), both.good, both.round) == ((18, 0, 2, 0, 0, 0), True, 2)
    assert verdicts(found_of(small.manifest, second, first)) == verdicts(both)
    chips = {each.card.number: each.chip for each in both.ledger}
    assert chips[1] == chip_of(1, again=1)
    assert chips[10] == chip_of(10)
    assert (
        "first.xlsx, row 21",
        f"card 8 was encoded again later; do not hand out chip {chip_of(8, again=9)}",
    ) in (both.ledger.set_aside)
    # The vendor returns a file of their own: then --again is needed.
    own = write_csv(
        tmp_path / "own.csv", [row_of(card, chip=chip_of(card.number, again=1)) for card in encoded_again(found)]
    )
    assert found_of(small.manifest, first, again=(own,)).good
    assert not found_of(small.manifest, first, own).good


@pytest.mark.parametrize("is_together", [True, False])
def test_chip_to_destroy_that_comes_back_is_a_warning(small: Batch, tmp_path: Path, *, is_together: bool) -> None:
    """A card comes back on a chip that failed, was shared, or was one of two; not on one that was good."""
    rows = good_rows(small.manifest)
    rows[0][RESULT] = "failed"
    rows[1][CHIP] = rows[2][CHIP]
    rows.append([*rows[4][:CHIP], chip_of(5, again=9), "ok", ""])
    first = write_csv(tmp_path / "first.csv", rows)
    for number in (1, 2, 3, 5):
        rows[number - 1][RESULT] = "ok"
    rows[1][CHIP] = chip_of(2, again=1)
    second = write_csv(tmp_path / "second.csv", [*rows[:3], *rows[4:6]])
    if is_together:
        found = found_of(small.manifest, first, again=(second,))
    else:
        results = results_in(tmp_path, "spring")
        write_results(found_of(small.manifest, first), results)
        before = read_reconciled(results.reconciled)
        five = next(each for each in before.verdicts() if each.card.number == 5)
        assert {five.chip, *five.other_chips} == {"", chip_of(5), chip_of(5, again=9)}
        again = [ReturnedFile(second, again=True)]
        found = reconcile(small.manifest, again, Reading(cards=20), previous=before)
    assert found.good
    warned = [each for each in found.warnings if "was to be destroyed" in each.rule]
    assert [each.where for each in warned] == [f"second.csv, line {line}" for line in (2, 4, 5)]
    assert f"card 1 is on chip {chip_of(1)}, which was to be destroyed after an earlier round" in warned[0].rule
    asides = dict(found.ledger.set_aside)
    if is_together:
        assert asides["first.csv, line 2"] == "card 1 was encoded again later"


def test_messages_of_one_kind_are_grouped(here: Command, tmp_path: Path) -> None:
    """With the numbers of all cards and rows; differing details are shown for the first."""
    batch = generate("spring", {"empty": 40}, tmp_path)
    rows = good_rows(batch.manifest)
    for row in rows[5:10]:
        row[RESULT] = "failed"
    for at in range(10, 14):
        rows[at][CHIP] = rows[at + 4][CHIP]
    for row in rows[20:24]:
        row[SNAPSET] = "snapset_3"
    rows += rows[24:28]
    done = here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows))
    assert [line for line in done.stderr.splitlines() if line.startswith("warning:")] == [
        "warning: cards 6 to 10: failed: back.csv: the vendor says that it failed",
        (
            f"warning: cards 11 to 18: duplicate: chip {chip_of(15)} is listed for card 11 (back.csv, line 12) "
            "and card 15 (back.csv, line 16) (and 3 more like it)"
        ),
        (
            "warning: back.csv, lines 22 to 25: its snapset is snapset_3, but card 21 starts with empty "
            "(the manifest counts) (and 3 more like it)"
        ),
        "warning: back.csv, lines 42 to 45: says the same as back.csv, line 26 (and 3 more like it)",
    ]


@pytest.mark.parametrize(
    ("titles", "named", "says"),
    [
        (["UUID", "Chip UID", "Result", "Noet"], ["--column", "chips=Chip UID"], "did you mean chip?"),
        (["Tag ID", "Chip UID", "Result", "x"], ["--column", "uuid=Tag-ID"], '--column uuid="Tag ID"'),
        (["Kennung", "Chip UID", "Result", "x"], [], 'may be below “Kennung”: --column uuid="Kennung"'),
        (["UUID", "Chip UID", "Result", "Noet"], [], "“Noet” (did you mean Note?)"),
    ],
)
def test_similar_titles_are_suggested(
    here: Command, small: Batch, tmp_path: Path, titles: list[str], named: list[str], says: str
) -> None:
    """For keys and titles of --column, for unrecognized columns, and for UUIDs by the values below."""
    rows = [[row[UUID], row[CHIP], row[RESULT], ""] for row in good_rows(small.manifest)]
    path = write_csv(tmp_path / "back.csv", rows, titles=titles)
    assert says in here("reconcile", small.manifest.path, path, "--out", tmp_path / "out", *named).stderr


@pytest.mark.parametrize(
    "title", ["Outcome of the final inspection after encoding", "A $HOME “b”", 'The "QC"', "It\nis`x`"]
)
def test_advised_options_work_as_typed(here: Command, small: Batch, tmp_path: Path, title: str) -> None:
    """The titles of columns may be long, and may have characters that a shell does not take literally."""
    rows = [[row[UUID], row[CHIP], row[RESULT], row[RESULT]] for row in good_rows(small.manifest)]
    rows[2][3] = "failed"
    path = write_csv(tmp_path / "back.csv", rows, titles=["UUID", "Chip UID", "Result", title])
    say = here("reconcile", small.manifest.path, path, "--out", tmp_path / "out").stderr
    assert 'if it does not matter: --column result="Result"; otherwise name it: --column' in say
    advice = split(say.rpartition("otherwise name it: ")[2].rstrip(")\n"))
    done = here("reconcile", small.manifest.path, path, "--out", tmp_path / "out", *advice, "--json")
    assert (done.code, done.data["failed"]) == (ExitCode.RETURNED, 1)


def encoded_again(found: Reconciliation) -> list[Card]:
    """Return the cards to encode again."""
    return [each.card for each in found.ledger if each.is_to_encode]


@THOROUGH
def test_third_round_replaces_the_second(small: Batch, tmp_path: Path) -> None:
    """Rounds are counted, so the workbooks may be given in any order."""
    rows = good_rows(small.manifest)
    rows.append([*rows[0][:CHIP], chip_of(1, again=7), "ok", ""])
    first = write_csv(tmp_path / "first.csv", rows)
    found = found_of(small.manifest, first)
    second = again(found, tmp_path, "second")
    book = openpyxl.load_workbook(second)
    book["Cards"].cell(2, RESULT + 1).value = "failed"
    book.save(second)
    found = found_of(small.manifest, first, second)
    assert (counts(found), found.round) == ((17, 1, 2, 0, 0, 0), 2)
    third = again(found, tmp_path, "third")
    assert found_of(small.manifest, third, first, second).good
    assert found_of(small.manifest, third, first, second).round == 3
    # One that names another batch is an ordinary file, which contradicts the first.
    book = openpyxl.load_workbook(third)
    for title, value in book["Batch"].iter_rows():
        if title.value == "Round":
            value.value = 3
    book.save(tmp_path / "number.xlsx")
    assert found_of(small.manifest, tmp_path / "number.xlsx", first, second).good
    for title, value in book["Batch"].iter_rows():
        if title.value == "Batch digest":
            value.value = f"sha256:{'0' * 64}"
    book.save(tmp_path / "other.xlsx")
    other = found_of(small.manifest, tmp_path / "other.xlsx", first)
    assert (other.good, other.round) == (False, 1)
    told = {cells[0].value: cells[1].value for cells in openpyxl.load_workbook(third)["Batch"].iter_rows()}
    assert (told["Round"], told["Batch digest"], told["Cards"]) == ("3", small.manifest.header.digest, "1")
    lines = [cells[1].value for cells in openpyxl.load_workbook(third)["Read me"].iter_rows()]
    assert any("destroy these chips" in str(line) for line in lines)


def test_workbook_to_encode_again_is_valid(small: Batch, tmp_path: Path) -> None:
    """It passes validate and contains no more cards than needed; ordered cards come before spares."""
    rows = good_rows(small.manifest)
    rows[-1][CHIP : RESULT + 1] = ["", "failed"]
    rows[0][RESULT] = "failed"
    found = found_of(small.manifest, write_csv(tmp_path / "back.csv", rows))
    results = results_in(tmp_path, "spring")
    write_results(found, results)
    [checked] = validate([results.reencode], None)
    assert (checked.problems, checked.summary) == ((), "batch spring, 1 cards")
    cells = [[cell.value for cell in row] for row in openpyxl.load_workbook(results.reencode)["Cards"].iter_rows()]
    assert [row[:4] for row in cells[1:]] == [rows[0][:4]]
    assert cells[0][7:] == ["Why", "Chip to destroy"]
    assert cells[1][7:] == ["failed: back.csv, line 2: the vendor says that it failed", chip_of(1)]
    assert {row[RESULT] for row in cells[1:]} == {None}
    assert write_again(found, tmp_path) == results.reencode.read_bytes()


def write_again(found: Reconciliation, folder: Path) -> bytes:
    """Write the results under another name, and return the workbook."""
    results = results_in(folder, "other")
    write_results(found, results)
    return results.reencode.read_bytes()


# Loading results.


@ONE_MODEL
def test_only_encoded_cards_are_loaded(run: Command, here: Command, small: Batch, tmp_path: Path) -> None:
    """From a returned file to a database: the encoded cards work, the others do not exist."""
    rows = good_rows(small.manifest)
    rows[2][UUID] = OTHER_UUID
    path = write_csv(tmp_path / "back.csv", rows)
    reconciled = here("reconcile", small.manifest.path, path, "--out", tmp_path, "--json").data["reconciled"]
    loaded = run("load", reconciled, "--json")
    assert (loaded.code, loaded.data["left_out"]["altered"]) == (ExitCode.OK, 1)
    checked = run("verify", small.manifest.path, "--json")
    assert (checked.data["verdicts"]["ok"], checked.data["verdicts"]["missing"]) == (17, 3)
    assert run("verify", reconciled).code == ExitCode.OK


# Random changes of rows, against an independent oracle.


@dataclass(frozen=True)
class Deed:
    """A change of a card's row, and its consequences."""

    rows: Callable[[list[Any]], Rows]
    verdict: Verdict


def _cells(**cells: Any) -> Callable[[list[Any]], Rows]:
    at = {"number": NUMBER, "uuid": UUID, "check": CHECK, "chip": CHIP, "result": RESULT}

    def change(row: list[Any]) -> Rows:
        row = list(row)
        for name, value in cells.items():
            row[at[name]] = value(row) if callable(value) else value
        return [row]

    return change


DEEDS = {
    "kept": Deed(lambda row: [row], Verdict.ENCODED),
    "duplicate whole": Deed(lambda row: [row, row, row], Verdict.ENCODED),
    "number edited": Deed(_cells(number="999999"), Verdict.ENCODED),
    "number empty": Deed(_cells(number=""), Verdict.ENCODED),
    "check edited": Deed(_cells(check="XXXXXX"), Verdict.ENCODED),
    "chip in lower case": Deed(_cells(chip=lambda row: row[CHIP].lower()), Verdict.ENCODED),
    "failed before": Deed(lambda row: [row, [*row[:CHIP], "", "failed", ""]], Verdict.ENCODED),
    "unfilled before": Deed(lambda row: [[*row[:CHIP], "", "", ""], row], Verdict.ENCODED),
    "dropped": Deed(lambda _: [], Verdict.MISSING),
    "unfilled": Deed(_cells(chip="", result=""), Verdict.MISSING),
    "result empty": Deed(_cells(result=""), Verdict.MISSING),
    "failed": Deed(_cells(result="FAILED"), Verdict.FAILED),
    "chip empty": Deed(_cells(chip=""), Verdict.FAILED),
    "chip cut off": Deed(_cells(chip=lambda row: row[CHIP][1:]), Verdict.FAILED),
    "chip a number": Deed(_cells(chip="4.56E+12"), Verdict.FAILED),
    "another word": Deed(_cells(result="NOK"), Verdict.FAILED),
    "UUID edited": Deed(_cells(uuid=OTHER_UUID), Verdict.ALTERED),
    "UUID in upper case": Deed(_cells(uuid=lambda row: row[UUID].upper()), Verdict.ALTERED),
    "UUID with a blank": Deed(_cells(uuid=lambda row: f"{row[UUID]} "), Verdict.ALTERED),
    "number and check edited": Deed(_cells(number="999999", check="XXXXXX"), Verdict.ALTERED),
    "on two chips": Deed(lambda row: [row, [*row[:CHIP], f"0499{row[CHIP][4:]}", "ok", ""]], Verdict.DUPLICATE),
}  # fmt: skip


@PROPERTY
@given(data=st.data())
def test_every_card_gets_its_verdict_after_any_change(
    small: Batch, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Rows dropped, repeated, edited, shuffled, spread over files with columns in any order."""
    source = random.Random(data.draw(st.integers(0, 2**32)))
    usual = data.draw(st.sampled_from([0.0, 0.5, 0.9]))
    rows: Rows = []
    expected: dict[int, Verdict] = {}
    *cards, last = small.manifest.cards()
    for card in cards:
        deed = DEEDS["kept" if source.random() < usual else source.choice([*DEEDS])]
        expected[card.number] = deed.verdict
        rows += deed.rows(row_of(card))
    unknown = source.randrange(3)
    rows += [["1", f"{OTHER_UUID[:-1]}{at}", "", "", f"04{at:012X}", "ok", ""] for at in range(1, unknown + 1)]
    # Some of the cards that would be encoded share a chip.
    encoded = [number for number, verdict in expected.items() if verdict is Verdict.ENCODED]
    if len(encoded) > 3 and source.random() < 0.5:
        one, other = source.sample(encoded, 2)
        for row in rows:
            if row[UUID] == cards[one - 1].uuid and row[CHIP]:
                row[CHIP] = chip_of(other)
        expected[one] = expected[other] = Verdict.DUPLICATE
    source.shuffle(rows)
    folder = tmp_path_factory.mktemp("files")
    # Each file includes one unchanged row: in any real file, results and chip UIDs are filled in.
    shares = [[row_of(last)] for _ in range(source.randint(1, 3))]
    expected[last.number] = Verdict.ENCODED
    # In another file, a failure would contradict the rest.
    together = {row[UUID]: source.choice(shares) for row in rows if row[RESULT] == "failed"}
    for row in rows:
        (together.get(row[UUID]) or source.choice(shares)).append(row)
    paths = []
    for at, share in enumerate(shares):
        columns = source.sample(range(len(TITLES)), len(TITLES))
        titles = [TITLES[column].upper() for column in columns]
        cells = [[row[column] for column in columns] for row in share]
        paths.append(write_csv(folder / f"{at}.csv", cells, source.choice(",;\t"), titles=titles))
    found = found_of(small.manifest, *paths)
    assert verdicts(found) == expected
    assert found.unknown == unknown
    assert Counter(expected.values()) == {verdict: count for verdict, count in found.counts.verdicts.items() if count}


CELLS = st.tuples(
    st.sampled_from(["1", "2", "3", "4", "", "77"]),
    st.sampled_from([0, 1, 2, 3, -1, -2]),
    st.sampled_from([0, 1, 2, 3, -1, -2]),
    st.sampled_from([chip_of(1), chip_of(2), chip_of(3), "", "4.56E+12"]),
    st.sampled_from(["ok", "ok", "ok", "failed", "spare", "", "NOK"]),
)


@PROPERTY
@given(drawn=st.lists(CELLS, max_size=12), seed=st.integers(0, 2**32))
def test_doubtful_cards_never_count_as_encoded(
    small: Batch, tmp_path_factory: pytest.TempPathFactory, drawn: list[Any], seed: int
) -> None:
    """With random rows: an encoded card has its UUID with one chip, and that chip with no other UUID.

    The order of rows, their distribution over files, and repetitions change nothing.
    """
    cards = list(small.manifest.cards())[:4]
    rows = []
    for number, uuid, check, chip, result in drawn:
        of = {-1: "", -2: OTHER_UUID}
        text = of.get(uuid, cards[uuid].uuid)
        other = row_of(cards[check])[CHECK] if check >= 0 else {-1: "", -2: "XXXXXX"}[check]
        if number == "77" and result == "failed" and not (text or other or chip):
            # It reads like a wrong total, "77 failed", which is refused.
            continue
        rows.append([number, text, other, "", chip, result, ""])
    folder = tmp_path_factory.mktemp("files")
    # A row of another card, so that results and chips are filled in.
    filler = row_of(list(small.manifest.cards())[9])
    found = found_of(small.manifest, write_csv(folder / "all.csv", [*rows, filler]))
    for each in found.ledger:
        if each.verdict is Verdict.ENCODED:
            said = [row for row in [*rows, filler] if row[RESULT] == "ok" or (row[RESULT] == "spare" and row[CHIP])]
            assert {row[CHIP] for row in said if row[UUID] == each.card.uuid} == {each.chip}
            assert {row[UUID] for row in said if row[CHIP] == each.chip} == {each.card.uuid}
    assert sum(found.counts[verdict] for verdict in Verdict) == 20
    source = random.Random(seed)
    more = [*rows, *source.choices(rows, k=3)] if rows else []
    source.shuffle(more)
    at = source.randint(0, len(more))
    paths = [write_csv(folder / f"{name}.csv", [*part, filler]) for name, part in (("a", more[:at]), ("b", more[at:]))]
    assert verdicts(found_of(small.manifest, *paths)) == verdicts(found)


def test_chip_with_a_foreign_uuid_is_in_doubt(small: Batch, tmp_path: Path) -> None:
    """Either could be on it: the card is a duplicate and the row unknown, whatever else is said."""
    card = next(iter(small.manifest.cards()))
    stray = ["", OTHER_UUID, "", "", chip_of(1), "ok", ""]
    rows = [*good_rows(small.manifest), stray, [*stray[:RESULT], "failed", ""]]
    for order in (rows, rows[::-1]):
        found = found_of(small.manifest, write_csv(tmp_path / "back.csv", order))
        assert counts(found) == (17, 0, 2, 0, 1, 2)
        assert verdicts(found)[card.number] is Verdict.DUPLICATE
    failed = found_of(small.manifest, write_csv(tmp_path / "back.csv", [*good_rows(small.manifest), rows[-1]]))
    assert counts(failed) == (17, 0, 2, 0, 1, 1)


def test_uuid_copied_over_another_is_on_two_chips(small: Batch, tmp_path: Path) -> None:
    """Its own card is a duplicate, and the card of the overwritten row is altered."""
    rows = good_rows(small.manifest)
    rows[4][UUID] = rows[5][UUID]
    found = verdicts(found_of(small.manifest, write_csv(tmp_path / "back.csv", rows)))
    assert {number for number, verdict in found.items() if verdict is Verdict.ALTERED} == {5}
    assert {number for number, verdict in found.items() if verdict is Verdict.DUPLICATE} == {6}


def test_failed_card_is_not_a_duplicate(small: Batch, tmp_path: Path) -> None:
    """Even if its chip was used for two others; zeros instead of a UID are not a shared chip."""
    rows = good_rows(small.manifest)
    rows[0][CHIP : RESULT + 1] = [chip_of(2), "failed"]
    rows[2][CHIP] = chip_of(2)
    rows[3][CHIP] = rows[4][CHIP] = "00000000000000"
    found = found_of(small.manifest, write_csv(tmp_path / "back.csv", rows))
    kinds = {number: verdict for number, verdict in verdicts(found).items() if number < 7}
    assert kinds == {
        1: Verdict.FAILED,
        2: Verdict.DUPLICATE,
        3: Verdict.DUPLICATE,
        4: Verdict.FAILED,
        5: Verdict.FAILED,
        6: Verdict.ENCODED,
    }


def test_large_batch_is_reconciled_in_limited_memory(peak_memory: Callable[..., int], tmp_path: Path) -> None:
    """A batch is held in memory: at most 300 MB for 100,000 cards, so at most 3,000 bytes for each additional card."""
    code = """
import sys
from pathlib import Path
from shlex import split
from dataloader.batch.manifest import read_manifest
from dataloader.operations.reconcile import ReturnedFile, reconcile
from dataloader.vendor.returned import Reading
manifest = read_manifest(Path(sys.argv[1]))
found = reconcile(manifest, [ReturnedFile(Path(sys.argv[2]))], Reading(cards=manifest.header.cards))
assert found.good
"""
    peaks = []
    for cards in (10, 20_000):
        batch = generate(f"of-{cards}", {"empty": cards}, tmp_path)
        path = write_csv(tmp_path / f"{cards}.csv", good_rows(batch.manifest))
        peaks.append(peak_memory(code, batch.manifest.path, path))
    assert (peaks[1] - peaks[0]) * UNIT / 20_000 < 2_300


def test_reconciled_file_lists_every_card_once_in_order(small: Batch, tmp_path: Path) -> None:
    """The reconciled file has the cards of the manifest, each with its number."""
    found = found_of(small.manifest, write_csv(tmp_path / "back.csv", good_rows(small.manifest)[::-1]))
    told = list(found.ledger)
    assert [each.card for each in told] == list(small.manifest.cards())
    assert told[0] == ReturnedCard(told[0].card, Verdict.ENCODED, chip_of(1))
