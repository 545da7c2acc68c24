"""Unintended situations: doubtful cards that are loaded, deleted sets, duplicate chips."""

import os
from pathlib import Path

import openpyxl
import pytest

from dataloader.batch import Card, Manifest
from dataloader.common import ExitCode, InputError, shorten_uuids
from dataloader.couch import Server
from dataloader.operations import VerifyResult, VerifyVerdict, all_sources, generate, load, status, verify
from dataloader.operations.status import count_encoded
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.loading import change
from tests.support.marks import ONE_MODEL
from tests.support.records import preferences_of, write_snapsets
from tests.support.returned_files import TITLES, came_back, chip_of, good_rows, row_of, write_csv
from tests.support.server import agreed, databases, delete


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """One snapset."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "large", {"large": 18})


@pytest.fixture
def spring(tmp_path: Path) -> Manifest:
    """A batch of eight cards."""
    return generate("spring", {"large": 8}, tmp_path).manifest


@pytest.fixture
def cards(spring: Manifest) -> list[Card]:
    """Its cards."""
    return list(spring.cards())


# Cards that did not come back encoded.


def test_newest_round_counts(spring: Manifest) -> None:
    """Of several reconciled files next to the manifest, the highest round counts, whatever their file times."""
    first, second = (
        came_back(spring, spring.path.with_name("spring.reconciled.jsonl"), 7),
        came_back(spring, spring.path.with_name("spring-2.reconciled.jsonl"), 5, round_=2),
    )
    for path, time in ((first, 2_000), (second, 1_000)):
        os.utime(path, (time, time))
    spring.path.with_name("spring-of-another-year.reconciled.jsonl").write_text("{}")
    assert count_encoded(spring) == 5
    came_back(spring, first, 7, round_=3)
    assert count_encoded(spring) == 7


@ONE_MODEL
def test_manifest_with_doubtful_cards_is_a_warning(spring: Manifest, sets: Snapsets, run_here: Command) -> None:
    """If there is a reconciled file, loading all cards of the manifest is usually a mistake."""
    reconciled = came_back(spring, spring.path.with_name("spring.reconciled.jsonl"), 5)
    warning = (
        f"warning: {spring.path}: 3 of its 8 cards have not come back encoded, according to {reconciled}; "
        "use that file instead of the manifest to skip them\n"
    )
    for name in ("plan", "load", "verify"):
        done = run_here(name, spring.path, "--snapsets", sets.folder)
        assert (done.code, done.stderr) == (ExitCode.OK, warning)
    done = run_here("status", spring.path, "--snapsets", sets.folder)
    told = "warning: batch spring: 8 cards are loaded, but only 5 came back encoded; revoke the others\n"
    assert (done.code, done.stderr) == (ExitCode.OK, told)
    assert run_here("verify", reconciled, "--snapsets", sets.folder).stderr == ""
    reconciled.write_text("{}")
    unknown = f"warning: cannot tell which cards of batch spring came back encoded: {reconciled}, line 1: "
    assert run_here("plan", spring.path, "--snapsets", sets.folder).stderr.startswith(unknown)


@ONE_MODEL
def test_reconciled_file_without_encoded_cards_is_a_warning(
    spring: Manifest, sets: Snapsets, tmp_path: Path, run_here: Command
) -> None:
    """It comes from a wrong returned file; no report says that all is well with no cards."""
    nothing = came_back(spring, spring.path.with_name("nothing.reconciled.jsonl"), 0)
    warning = f"warning: {nothing}: none of its cards is encoded; was the right returned file reconciled?\n"
    for name, says in (
        ("load", "in place"),
        ("verify", "No cards were checked."),
        ("status", "No cards were checked."),
    ):
        report = tmp_path / f"{name}.html"
        done = run_here(name, nothing, "--snapsets", sets.folder, "--report", report)
        assert (done.code, done.stderr) == (ExitCode.OK, "" if name == "status" else warning)
        assert says in report.read_text("utf-8")


@ONE_MODEL
def test_card_that_was_not_encoded_is_revoked_by_the_manifest(spring: Manifest, run_here: Command) -> None:
    """A reconciled file does not contain it, and the error says to use the manifest."""
    reconciled = came_back(spring, spring.path.with_name("spring.reconciled.jsonl"), 5)
    done = run_here("revoke", reconciled, "--yes", "--card", 7, "--reason", "lost")
    assert done.code == ExitCode.INPUT
    assert done.stderr == f"error: --card 7: is not a card of {reconciled} (give the batch's manifest)\n"


@ONE_MODEL
def test_duplicate_batch_is_rejected(server: Server, target: Target, spring: Manifest, sets: Snapsets) -> None:
    """Its cards would be counted twice."""
    for ask in (verify, status):
        with pytest.raises(InputError, match="holds the same cards as"):
            ask(server, target, [spring, spring], sets)


# Preference sets.


def test_set_of_an_earlier_snapset_is_outdated(
    server: Server, target: Target, spring: Manifest, cards: list[Card], sets: Snapsets, tmp_path: Path
) -> None:
    """A set that a load wrote and nobody has edited does not count as edited."""
    load(server, target, all_sources(target, [spring], sets))
    change(server, target, preferences_of(target.model.name, cards[2].uuid), 40)
    new = write_snapsets(tmp_path / "new", {"large": 20})
    found = agreed(server, lambda: verify(server, target, [spring], new).verdicts)
    assert found == {VerifyVerdict.EDITED: 1, VerifyVerdict.OUTDATED: 7}
    assert VerifyResult(found).good
    assert status(server, target, [spring], new).total.edited == 1


def test_deleted_set_without_deleted_token_is_reported(
    server: Server, target: Target, spring: Manifest, cards: list[Card], sets: Snapsets, run_here: Command
) -> None:
    """Verify and status name the card, and undoing a revocation says that the set is not restored."""
    load(server, target, all_sources(target, [spring], sets))
    place = preferences_of(target.model.name, cards[2].uuid)
    delete(databases(server, target)[place.database], place.id)
    warning = (
        f"warning: batch spring, card {cards[2].number} ({cards[2].uuid[:8]}…): revoked: "
        f"document {shorten_uuids(place.id)} has been deleted, and the card "
        "itself is not revoked\n"
    )
    for name in ("verify", "status"):
        done = run_here(name, spring.path, "--snapsets", sets.folder)
        assert (done.code, done.stderr) == (ExitCode.OK, warning)
    done = run_here("revoke", spring.path, "--undo", "--yes", "--card", 3, "--card", 4)
    assert done.stderr == "warning: card 3: its preference set has been deleted, and is not restored\n"


def test_undo_of_a_card_that_was_never_loaded_is_reported(
    server: Server, target: Target, spring: Manifest, sets: Snapsets, tmp_path: Path, run_here: Command
) -> None:
    """It has access again, but no preference set yet."""
    other = generate("other", {"large": 1}, tmp_path / "other").manifest
    load(server, target, all_sources(target, [other], sets))
    run_here("revoke", spring.path, "--yes", "--card", 3, "--reason", "lost")
    done = run_here("revoke", spring.path, "--undo", "--yes", "--card", 3, "--snapsets", sets.folder)
    assert done.code == ExitCode.OK
    if target.model.name == "gpii-key":
        assert done.stdout.splitlines()[0].split() == ["card", "3", "is", "no", "longer", "revoked"]
        assert done.stderr == "warning: card 3: its preference set does not exist; load the batch\n"
    load(server, target, all_sources(target, [spring], sets))
    found = agreed(server, lambda: verify(server, target, [spring], sets).verdicts)
    assert not {VerifyVerdict.MISSING, VerifyVerdict.WRONG, VerifyVerdict.REVOKED} & found.keys()


# Chips.


def test_sheets_of_one_file_are_one_round(here: Command, spring: Manifest, cards: list[Card], tmp_path: Path) -> None:
    """A card on two chips in two sheets of a file of cards encoded again is still a duplicate."""
    book = openpyxl.Workbook(write_only=True)
    for title, rows in (("Mon", good_rows(spring)), ("Tue", [row_of(cards[0], chip=chip_of(1, again=1))])):
        sheet = book.create_sheet(title)
        for row in [TITLES, *rows]:
            sheet.append(row)
    book.save(tmp_path / "again.xlsx")
    failed = write_csv(tmp_path / "first.csv", [row_of(card, result="failed") for card in cards])
    done = here("reconcile", spring.path, failed, "--again", tmp_path / "again.xlsx", "--json")
    assert (done.code, done.data["duplicate"], done.data["encoded"]) == (ExitCode.RETURNED, 1, 7)


def test_replaced_chips_are_a_warning(here: Command, spring: Manifest, cards: list[Card], tmp_path: Path) -> None:
    """With two good chips for a card, the later round counts, and the earlier chips must not be used."""
    first = write_csv(tmp_path / "first.csv", good_rows(spring))
    for count, says in (
        (1, "1 chip of cards that were encoded again"),
        (2, "2 chips of cards that were encoded again"),
    ):
        again = [row_of(card, chip=chip_of(card.number, again=1)) for card in cards[:count]]
        second = write_csv(tmp_path / "second.csv", again)
        done = here("reconcile", spring.path, first, "--again", second, "--name", f"round-{count}")
        assert done.code == ExitCode.OK
        hint = "make sure that nobody gets a card twice; --details FILE lists all"
        assert done.stderr == f"warning: {says} must not be handed out: {hint}\n"


# Credentials.


@ONE_MODEL
def test_user_without_a_password_is_told_that_it_is_missing(
    run_here: Command, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is not about a wrong password."""
    monkeypatch.delenv("COUCHDB_PASSWORD", raising=False)
    done = run_here("check", env={"COUCHDB_USER": "nobody", "COUCHDB_PASSWORD": ""})
    assert done.code == ExitCode.CREDENTIALS
    assert "no password is given for user nobody (set COUCHDB_PASSWORD or COUCHDB_PASSWORD_FILE)" in done.stderr
