"""Rounds of encoding: each reconciliation builds on the one before, and says which one it used."""

from pathlib import Path
from typing import Any

import openpyxl
import pytest

from dataloader.batch import Manifest, Verdict, find_reconciled, read_reconciled, reconciled_name
from dataloader.common import ExitCode, InputError
from dataloader.operations import generate
from dataloader.operations.generate import Batch
from dataloader.operations.status import count_encoded
from tests.support.command import Command
from tests.support.returned_files import CHIP, RESULT, TITLES, UUID, Rows, came_back, chip_of, good_rows, write_csv


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A batch of twelve cards over two snapsets, two of them spares."""
    return generate("spring", {"snapset_1a": 6, "empty": 4}, tmp_path, spares={"snapset_1a": 2})


@pytest.fixture
def rows(batch: Batch) -> Rows:
    """The rows of the batch; cards 1 and 9 failed."""
    rows = good_rows(batch.manifest)
    for at in (0, 8):
        rows[at][RESULT] = "failed"
    return rows


def fill(workbook: Path, path: Path, *, again: int = 1) -> Path:
    """Fill in a workbook of cards to encode again."""
    book = openpyxl.load_workbook(workbook)
    sheet = book["Cards"]
    for row in range(2, sheet.max_row + 1):
        sheet.cell(row, CHIP + 1).value = chip_of(int(str(sheet.cell(row, 1).value)), again=again)
        sheet.cell(row, RESULT + 1).value = "ok"
    book.save(path)
    return path


def test_second_round_builds_on_the_first(here: Command, batch: Batch, rows: Rows, tmp_path: Path) -> None:
    """Given only the workbook of cards encoded again, the others stay encoded, and the previous file is named."""
    first = here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows), "--json")
    assert (first.code, first.data["ready"], first.data["to_encode"]) == (ExitCode.RETURNED, 8, 2)
    second = fill(tmp_path / "spring.reencode.xlsx", tmp_path / "second.xlsx")
    done = here("reconcile", batch.manifest.path, second)
    assert done.code == ExitCode.OK
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "10 of 10 ordered cards are ready; 2 spares unused",
        "  snapset_1a: 6 of 6 ready; 2 spares unused",
        "  empty: 4 of 4 ready",
    ]
    assert f"10 cards as in {tmp_path / 'spring.reconciled.jsonl'} (round 1)" in lines
    newest = find_reconciled(batch.manifest)
    assert newest is not None
    assert (newest.path.name, newest.round, newest.count) == ("spring.reconciled.2.jsonl", 2, 10)
    assert count_encoded(batch.manifest) == 10
    chips = {each.card.number: each.chip for each in newest.verdicts()}
    assert (chips[1], chips[2]) == (chip_of(1, again=1), chip_of(2))


def test_list_of_all_cards_does_not_change_earlier_results(
    here: Command, batch: Batch, rows: Rows, tmp_path: Path
) -> None:
    """A packing list that comes with the second round lists the cards of the first, too."""
    here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows))
    second = fill(tmp_path / "spring.reencode.xlsx", tmp_path / "second.xlsx")
    packed = write_csv(tmp_path / "packing list.csv", [[row[UUID]] for row in rows], titles=["UUID"])
    done = here("reconcile", batch.manifest.path, second, packed, "--json")
    assert (done.code, done.data["ready"], done.data["failed"]) == (ExitCode.OK, 10, 0)


def test_second_round_requires_the_first(here: Command, batch: Batch, rows: Rows, tmp_path: Path) -> None:
    """Nothing is written: otherwise the other cards would be encoded again."""
    out = tmp_path / "out"
    here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows), "--out", out)
    second = fill(out / "spring.reencode.xlsx", tmp_path / "second.xlsx")
    before = sorted(tmp_path.iterdir())
    done = here("reconcile", batch.manifest.path, second)
    assert done.code == ExitCode.INPUT
    assert "the results of the earlier rounds are missing (give the earlier files, too, or --previous" in done.stderr
    assert sorted(tmp_path.iterdir()) == before
    earlier = out / "spring.reconciled.jsonl"
    found = here("reconcile", batch.manifest.path, second, "--previous", earlier, "--json")
    assert (found.code, found.data["ready"], found.data["round"]) == (ExitCode.OK, 10, 2)


def test_rest_of_a_delivery_builds_on_its_first_part(here: Command, batch: Batch, tmp_path: Path) -> None:
    """Cards of the first part stay encoded, although their rows are blank in the second."""
    rows = good_rows(batch.manifest)
    blank = [[*row[:CHIP], "", "", ""] for row in rows]
    one = write_csv(tmp_path / "one.csv", [*rows[:5], *blank[5:]])
    two = write_csv(tmp_path / "two.csv", [*blank[:5], *rows[5:]])
    assert here("reconcile", batch.manifest.path, one).code == ExitCode.RETURNED
    done = here("reconcile", batch.manifest.path, two, "--json")
    assert (done.code, done.data["ready"]) == (ExitCode.OK, 10)
    alone = here("reconcile", batch.manifest.path, two, "--no-previous", "--json")
    assert (alone.code, alone.data["ready"], alone.data["round"]) == (ExitCode.RETURNED, 5, 3)


@pytest.mark.parametrize("is_together", [True, False])
@pytest.mark.parametrize("note", ["", "lost"])
def test_result_that_was_removed_is_a_warning(
    here: Command, batch: Batch, tmp_path: Path, note: str, *, is_together: bool
) -> None:
    """In a file that repeats other cards, or with a note: the card may have been taken back."""
    rows = good_rows(batch.manifest)
    first = write_csv(tmp_path / "first.csv", [*rows[:2], *rows[3:]] if note else rows)
    rows[1][CHIP:] = ["", "", note]
    second = write_csv(tmp_path / "second.csv", rows[1:3])
    if is_together:
        done = here("reconcile", batch.manifest.path, first, second)
    else:
        here("reconcile", batch.manifest.path, first)
        done = here("reconcile", batch.manifest.path, second)
    assert f"line 2: lists the card again without a result{' (note: lost)' * bool(note)}; according to" in done.stderr


def test_card_on_another_chip_than_before_is_a_duplicate(here: Command, batch: Batch, tmp_path: Path) -> None:
    """Unless the file lists cards encoded again; then the earlier chip must not be used."""
    rows = good_rows(batch.manifest)
    here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows))
    rows[1][CHIP] = chip_of(2, again=5)
    other = write_csv(tmp_path / "other.csv", rows[1:2])
    done = here("reconcile", batch.manifest.path, other, "--json")
    assert (done.code, done.data["duplicate"], done.data["encoded"]) == (ExitCode.RETURNED, 1, 9)
    first = tmp_path / "spring.reconciled.jsonl"
    again = here("reconcile", batch.manifest.path, "--again", other, "--previous", first)
    assert again.code == ExitCode.OK
    assert "1 chip of cards that were encoded again must not be handed out" in again.stderr


def test_earlier_chip_of_another_card_is_a_duplicate(here: Command, batch: Batch, tmp_path: Path) -> None:
    """Both cards are duplicates, including the one that no file mentions."""
    rows = good_rows(batch.manifest)
    here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows[1:]))
    rows[0][CHIP] = chip_of(2)
    done = here("reconcile", batch.manifest.path, write_csv(tmp_path / "one.csv", rows[:1]), "--json")
    found = {each.card.number: each.verdict for each in read_reconciled(Path(done.data["reconciled"])).verdicts()}
    assert (found[1], found[2], found[3]) == (Verdict.DUPLICATE, Verdict.DUPLICATE, Verdict.ENCODED)


def test_spares_replace_failed_cards(here: Command, batch: Batch, tmp_path: Path) -> None:
    """Then all is well; a spare of another snapset does not help."""
    rows = good_rows(batch.manifest)
    rows[0][RESULT] = "failed"
    rows[6][CHIP : RESULT + 1] = [chip_of(7), "ok"]
    done = here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows))
    assert done.code == ExitCode.OK
    assert done.stdout.startswith("10 of 10 ordered cards are ready; 1 spare unused\n")
    assert not (tmp_path / "spring.reencode.xlsx").exists()
    rows[0][RESULT] = "ok"
    rows[9][RESULT] = "failed"
    path = write_csv(tmp_path / "other.csv", rows)
    done = here("reconcile", batch.manifest.path, path, "--no-previous", "--json")
    assert (done.code, done.data["ready"], done.data["to_encode"]) == (ExitCode.RETURNED, 9, 1)
    assert done.data["snapsets"]["snapset_1a"] == {"ordered": 6, "ready": 6, "to_encode": 0, "spares_unused": 1}


def test_workbook_to_encode_again_differs_from_the_first(here: Command, tmp_path: Path) -> None:
    """It says so, why each card is included and which chips to destroy; the first sheet is Read me."""
    here("generate", "spring", "--cards", 4, "--snapset", "snapset_1a", "--out", tmp_path)
    first = openpyxl.load_workbook(tmp_path / "spring.xlsx")
    assert first.sheetnames == ["Read me", "Cards", "Batch"]
    titles = [cell.value for cell in first["Cards"][1]]
    assert titles == [*TITLES, "Starts with"]
    name = first["Cards"].cell(2, 8).value
    assert name
    assert name != "snapset_1a"
    manifest = tmp_path / "spring.batch.jsonl"
    rows: list[Any] = [[cell.value or "" for cell in row][:7] for row in first["Cards"].iter_rows(min_row=2)]
    for at, row in enumerate(rows, 1):
        row[CHIP : RESULT + 1] = [chip_of(at), "ok"]
    rows[0][RESULT] = "failed"
    rows.append([*rows[1][:CHIP], chip_of(2, again=9), "ok", ""])
    here("reconcile", manifest, write_csv(tmp_path / "back.csv", rows))
    again = openpyxl.load_workbook(tmp_path / "spring.reencode.xlsx")
    assert again["Read me"]["A1"].value == "Encode again: cards of batch spring"
    assert again["Cards"].sheet_properties.tabColor is not None
    assert first["Cards"].sheet_properties.tabColor is None
    cells = [[cell.value for cell in row] for row in again["Cards"].iter_rows()]
    assert cells[0] == [*TITLES, "Starts with", "Why", "Chip to destroy"]
    assert cells[1][7:] == [name, "failed: back.csv, line 2: the vendor says that it failed", chip_of(1)]
    assert str(cells[2][8]).startswith("duplicate: it is on 2 chips")
    assert cells[2][9] == f"{chip_of(2)}, {chip_of(2, again=9)}"
    done = here("reconcile", manifest, fill(tmp_path / "spring.reencode.xlsx", tmp_path / "second.xlsx", again=3))
    assert done.code == ExitCode.OK


def test_newest_reconciled_file_has_the_highest_round(tmp_path: Path, batch: Batch) -> None:
    """Whatever the file times and names; two files of the same round are an error."""
    manifest: Manifest = batch.manifest
    old = came_back(manifest, tmp_path / "late.reconciled.jsonl", 3)
    found = read_reconciled(old)
    assert (found.round, find_reconciled(manifest)) == (1, found)
    assert [reconciled_name("spring", round_) for round_ in (1, 2)] == [
        "spring.reconciled.jsonl",
        "spring.reconciled.2.jsonl",
    ]
    came_back(manifest, tmp_path / "other.reconciled.jsonl", 4)
    with pytest.raises(InputError, match=r"is from round 1, like .*; neither is the newest"):
        find_reconciled(manifest)


# Recovering.


@pytest.mark.parametrize("is_filled_in", [False, True])
def test_lost_manifest_is_recovered_from_its_workbook(here: Command, tmp_path: Path, *, is_filled_in: bool) -> None:
    """Byte for byte, also from a filled-in workbook."""
    options = ["--snapset", "snapset_1a=6", "--snapset", "empty", "--spares", "20%", "--seed", "7"]
    here("generate", "spring", "--cards", 10, *options, "--out", tmp_path)
    path = tmp_path / "spring.batch.jsonl"
    before = path.read_bytes()
    workbook = tmp_path / "spring.xlsx"
    if is_filled_in:
        workbook = fill(workbook, tmp_path / "filled in.xlsx")
    assert here("recover", workbook).code == ExitCode.FILE
    path.unlink()
    done = here("recover", workbook, "--json")
    assert (done.code, done.data["manifests"][0]["manifest"]) == (ExitCode.OK, str(path))
    assert path.read_bytes() == before


def test_changed_workbook_is_not_recovered(here: Command, tmp_path: Path, batch: Batch, rows: Rows) -> None:
    """The digest detects it; a workbook of part of a batch is not enough either."""
    book = openpyxl.load_workbook(batch.workbook)
    book["Cards"].cell(3, 4).value = "empty"
    book.save(tmp_path / "changed.xlsx")
    out = tmp_path / "out"
    done = here("recover", tmp_path / "changed.xlsx", "--out", out)
    assert done.code == ExitCode.INPUT
    assert "the digest does not match the rows: a cell was edited" in done.stderr
    book = openpyxl.load_workbook(batch.workbook)
    book["Batch"]["B2"].value = "yesterday"
    book.save(tmp_path / "dated.xlsx")
    done = here("recover", tmp_path / "dated.xlsx", "--out", out)
    assert (done.code, done.stderr.count("\n")) == (ExitCode.INPUT, 1)
    assert "dated.xlsx, sheet Batch: created: 'yesterday' must be like" in done.stderr
    here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows))
    part = here("recover", tmp_path / "spring.reencode.xlsx", "--out", out)
    assert part.code == ExitCode.INPUT
    assert "holds only cards of batch spring that were encoded again" in part.stderr
    assert not out.exists()


def test_folder_that_is_a_loop_of_links_is_an_error(here: Command, batch: Batch, rows: Rows, tmp_path: Path) -> None:
    """It has no real path; that is reported like any folder that cannot be used."""
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    done = here("reconcile", batch.manifest.path, write_csv(tmp_path / "back.csv", rows), "--out", loop)
    assert done.code == ExitCode.FILE, done
    assert str(loop) in done.stderr
