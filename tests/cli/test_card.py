"""The commands ``card`` and ``batches``: one card, or every batch, in a folder of manifests."""

import os
from pathlib import Path

import pytest

from dataloader.batch import Card, Counts, Manifest, ReturnedCard, Verdict, write_reconciled
from dataloader.common import ExitCode
from dataloader.operations import find_batches, generate
from dataloader.records import Snapsets
from tests.support.command import Command
from tests.support.marks import ONE_MODEL
from tests.support.records import write_snapsets
from tests.support.returned_files import came_back, chip_of


@pytest.fixture
def sets(tmp_path: Path) -> Snapsets:
    """One snapset."""
    return write_snapsets(tmp_path / "snapsets", {"large": 18})


@pytest.fixture
def spring(tmp_path: Path) -> Manifest:
    """A batch of six cards and two spares."""
    return generate("spring", {"large": 6}, tmp_path / "batches", spares={"large": 2}).manifest


@pytest.fixture
def cards(spring: Manifest) -> list[Card]:
    """Its cards."""
    return list(spring.cards())


def round_of(spring: Manifest, name: str, failed: set[int], round_: int = 1) -> Path:
    """Write the results of a round: some cards failed, the two spares are unused."""
    returned = [
        ReturnedCard(card, Verdict.FAILED, reason="row 4: the result is failed")
        if card.number in failed
        else ReturnedCard(card, Verdict.MISSING, reason="nothing came back", unused_spare=True)
        if spring.header.is_spare(card.number)
        else ReturnedCard(card, Verdict.ENCODED, chip_of(card.number))
        for card in spring.cards()
    ]
    verdicts = {verdict: sum(each.verdict is verdict for each in returned) for verdict in Verdict}
    path = spring.path.with_name(name)
    with path.open("w+b") as stream:
        write_reconciled(stream, spring.header, Counts(verdicts, 2), returned, round_)
    return path


def test_batches_shows_the_next_step(here: Command, spring: Manifest) -> None:
    """First reconcile, then encode cards again, then load."""
    folder = spring.path.parent
    [batch] = here("batches", folder, "--json").data["batches"]
    assert (batch["name"], batch["cards"], batch["spares"], batch["rounds"], batch["ready"]) == (
        "spring",
        8,
        2,
        [],
        None,
    )
    assert batch["next"] == f"dataloader reconcile {spring.path} RETURNED"
    first = round_of(spring, "spring.reconciled.jsonl", {3, 4})
    [batch] = here("batches", folder, "--json").data["batches"]
    assert (batch["ready"], batch["to_encode"]) == (4, 2)
    assert batch["next"].startswith("have 2 cards encoded again, then dataloader reconcile ")
    second = round_of(spring, "spring.reconciled.2.jsonl", set(), 2)
    done = here("batches", folder, "--json")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    [batch] = done.data["batches"]
    assert [(each["file"], each["encoded"]) for each in batch["rounds"]] == [(str(first), 4), (str(second), 6)]
    assert (batch["ready"], batch["to_encode"], batch["next"]) == (6, 0, f"dataloader load {second}")


def test_batches_counts_spares_that_replace_failed_cards(here: Command, spring: Manifest) -> None:
    """Of eight cards, seven are encoded and six were ordered; then five, and one more is needed."""
    for encoded, to_encode, round_ in ((7, 0, 1), (5, 1, 2)):
        came_back(spring, spring.path.with_name(f"spring.reconciled.{round_}.jsonl"), encoded, round_)
        [batch] = here("batches", spring.path.parent, "--json").data["batches"]
        assert (batch["ready"], batch["to_encode"]) == (encoded, to_encode)
        assert batch["next"].startswith("have 1 card encoded again" if to_encode else "dataloader load")


@ONE_MODEL
def test_batches_shows_the_state_on_a_target(run_here: Command, spring: Manifest, sets: Snapsets) -> None:
    """With a target, loaded cards are counted, and the next step depends on them."""
    reconciled = round_of(spring, "spring.reconciled.jsonl", set())
    options = ("--snapsets", sets.folder)
    call = ("batches", spring.path.parent, *options)
    [batch] = run_here(*call, "--json").data["batches"]
    assert batch["loaded"] == 0
    assert batch["next"].startswith(f"dataloader load {reconciled} --url ")
    assert batch["next"].endswith(f" --snapsets {sets.folder}"), "the command leads to the same target"
    assert run_here("load", reconciled, *options).code == ExitCode.OK
    assert run_here("revoke", spring.path, "--card", "1", "--reason", "lost", "--yes").code == ExitCode.OK
    [batch] = run_here(*call, "--json").data["batches"]
    assert (batch["loaded"], batch["revoked"], batch["edited"]) == (6, 1, 0)
    assert batch["next"] == "nothing to do; every card is loaded"
    text = run_here(*call).stdout.splitlines()
    assert text[0].split() == ["batch", "cards", "rounds", "encoded", "again", "loaded", "edited", "revoked"]
    assert text[1].split() == ["spring", "8", "1", "6", "0", "6", "0", "1"]


def test_batches_of_an_empty_folder(here: Command, tmp_path: Path) -> None:
    """An empty folder has no batches; a missing one is an error."""
    assert here("batches", tmp_path).stdout == "no batches here\n"
    (broken := tmp_path / "x.batch.jsonl").write_text("{")
    assert here("batches", tmp_path).stdout == "no batch that can be read\n"
    broken.unlink()
    done = here("batches", tmp_path / "nowhere")
    assert (done.code, "no such folder" in done.stderr) == (ExitCode.FILE, True)
    done = here("card", 1, "--in", tmp_path)
    assert done.code == ExitCode.INPUT
    assert done.stderr == f"error: {tmp_path}: contains no batches (name the folder of the manifests with --in)\n"


def test_batches_uses_the_manifest_next_to_its_rounds(here: Command, spring: Manifest, tmp_path: Path) -> None:
    """Not a copy in another folder, where commands would not find the rounds."""
    round_of(spring, "spring.reconciled.jsonl", {1})
    copy = tmp_path / "a copy" / spring.path.name
    copy.parent.mkdir()
    copy.write_bytes(spring.path.read_bytes())
    [batch] = here("batches", tmp_path, "--json").data["batches"]
    assert (batch["manifest"], len(batch["rounds"])) == (str(spring.path), 1)


def test_batches_warns_of_invalid_files(here: Command, spring: Manifest) -> None:
    """An invalid file is named; the others are still listed."""
    broken = spring.path.with_name("autumn.batch.jsonl")
    broken.write_text("{}\n")
    done = here("batches", spring.path.parent)
    assert done.code == ExitCode.OK
    assert f"warning: {broken}" in done.stderr
    assert "spring" in done.stdout


def test_batches_names_rounds_without_a_manifest(spring: Manifest) -> None:
    """A reconciled file whose manifest is elsewhere is not skipped silently."""
    round_of(spring, "spring.reconciled.jsonl", set())
    spring.path.unlink()
    found = find_batches(spring.path.parent)
    assert found.batches == ()
    [problem] = found.problems
    assert "the manifest of batch spring is not in" in str(problem)


@pytest.mark.parametrize("how", ["number", "uuid", "prefix", "chip", "chip with separators"])
def test_card_is_found_by_number_uuid_or_chip(here: Command, spring: Manifest, cards: list[Card], how: str) -> None:
    """The number, the UUID or its beginning, and the chip's UID all find the card."""
    round_of(spring, "spring.reconciled.jsonl", {3})
    round_of(spring, "spring.reconciled.2.jsonl", set(), 2)
    chip = chip_of(3)
    what = {
        "number": "3",
        "uuid": cards[2].uuid.upper(),
        "prefix": cards[2].uuid[:8] + "-",
        "chip": chip.lower(),
        "chip with separators": ":".join(chip[at : at + 2] for at in range(0, len(chip), 2)),
    }[how]
    done = here("card", what, "--in", spring.path.parent, "--json")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    [card] = done.data["cards"]
    assert (card["batch"], card["number"], card["snapset"], card["chip"]) == ("spring", 3, "large", chip)
    assert [each["verdict"] for each in card["rounds"]] == ["failed", "encoded"]
    assert card["rounds"][0]["reason"] == "row 4: the result is failed"
    assert card["uuid"] == f"{cards[2].uuid[:8]}…"
    assert here("card", what, "--in", spring.path.parent, "--full", "--json").data["cards"][0]["uuid"] == cards[2].uuid


def rounds_of_chips(spring: Manifest, *rounds: dict[int, str], failed: int = 0) -> None:
    """Write rounds in which cards are on these chips, with one failed in the last."""
    for round_, chips in enumerate(rounds, 1):
        bad = failed if round_ == len(rounds) else 0
        returned = [
            ReturnedCard(
                card,
                Verdict.FAILED if card.number == bad else Verdict.ENCODED,
                chips.get(card.number, chip_of(card.number)),
                "why" * (card.number == bad),
            )
            for card in spring.cards()
        ]
        verdicts = {verdict: sum(each.verdict is verdict for each in returned) for verdict in Verdict}
        with spring.path.with_name(f"spring.reconciled{f'.{round_}' * (round_ > 1)}.jsonl").open("w+b") as stream:
            write_reconciled(stream, spring.header, Counts(verdicts, 0), returned, round_)


def test_replaced_chip_is_a_warning(here: Command, spring: Manifest) -> None:
    """It may be in somebody's hands; the card's own chip, and other ways to find a card, are none."""
    folder, old, new = spring.path.parent, chip_of(3), chip_of(3, again=1)
    rounds_of_chips(spring, {}, {3: new})
    done = here("card", old, "--in", folder)
    assert done.code == ExitCode.OK
    assert f"warning: chip {old} must not be used: card 3 is on chip {new} since round 2 (destroy it)\n" in done.stderr
    assert here("card", old, "--in", folder, "--json").data["cards"][0]["wrong_chip"] == old
    for what in (new, "3", chip_of(4)):
        assert here("card", what, "--in", folder).stderr == ""
        assert here("card", what, "--in", folder, "--json").data["cards"][0]["wrong_chip"] is None
    rounds_of_chips(spring, {}, {}, failed=3)
    assert f"chip {old} must not be used: card 3 is failed in round 2" in here("card", old, "--in", folder).stderr


def test_chip_of_two_cards_is_an_error(here: Command, spring: Manifest) -> None:
    """It names both."""
    rounds_of_chips(spring, {3: chip_of(3), 4: chip_of(3)})
    done = here("card", chip_of(3), "--in", spring.path.parent)
    assert done.code == ExitCode.INPUT
    assert "this chip is listed for card 3 of batch spring and card 4 of batch spring (destroy it; give" in done.stderr


def test_card_orders_rounds_by_their_numbers(here: Command, spring: Manifest) -> None:
    """A file that was renamed or copied later keeps its round."""
    later = round_of(spring, "spring.reconciled.jsonl", set(), 10)
    earlier = round_of(spring, "spring.reconciled.2.jsonl", {3}, 9)
    for path, time in ((later, 1_000), (earlier, 2_000)):
        os.utime(path, (time, time))
    [card] = here("card", "3", "--in", spring.path.parent, "--json").data["cards"]
    assert [(each["round"], each["file"], each["verdict"]) for each in card["rounds"]] == [
        (9, str(earlier), "failed"),
        (10, str(later), "encoded"),
    ]
    text = here("card", "3", "--in", spring.path.parent).stdout
    assert text.index("round 9   failed: ") < text.index(f"round 10  encoded  ({later})")
    [batch] = here("batches", spring.path.parent, "--json").data["batches"]
    assert (batch["ready"], batch["to_encode"]) == (6, 0)


def test_card_number_is_searched_in_every_batch(here: Command, spring: Manifest) -> None:
    """Two batches each have a card 3: both are shown."""
    generate("autumn", {"empty": 4}, spring.path.parent)
    done = here("card", "3", "--in", spring.path.parent, "--json")
    assert [each["batch"] for each in done.data["cards"]] == ["autumn", "spring"]
    text = here("card", "3", "--in", spring.path.parent).stdout
    assert (text.count(" of batch autumn\n"), text.count(" of batch spring\n")) == (1, 1)


@pytest.mark.parametrize("what", ["99", "ffff0000", "card three", ""])
def test_missing_card_is_an_error(here: Command, spring: Manifest, what: str) -> None:
    """The message says where it was searched."""
    done = here("card", what, "--in", spring.path.parent)
    assert done.code == ExitCode.INPUT
    assert "no card has this number, UUID or chip UID in 1 batch (" in done.stderr


def test_revoke_says_where_a_range_of_cards_goes(here: Command, spring: Manifest) -> None:
    """--card takes one card, a file takes ranges."""
    options = ("--reason", "lost", "--yes", "--url", "http://127.0.0.1:9", "--environment", "ci")
    done = here("revoke", spring.path, "--card", "3-5", *options)
    assert done.code == ExitCode.INPUT
    assert done.stderr.endswith("(repeat --card for each, or write the range in a file for --file)\n")


@ONE_MODEL
def test_card_shows_when_and_why_it_was_revoked(run_here: Command, spring: Manifest, sets: Snapsets) -> None:
    """The state on the target is that of verify."""
    options = ("--snapsets", sets.folder)
    call = ("card", "1", "--in", spring.path.parent, *options, "--json")
    assert run_here(*call).data["cards"][0]["state"] == "missing"
    assert run_here("load", spring.path, *options).code == ExitCode.OK
    assert run_here(*call).data["cards"][0]["state"] == "ok"
    assert run_here("revoke", spring.path, "--card", "1", "--reason", "left on a bus", "--yes").code == ExitCode.OK
    [card] = run_here(*call).data["cards"]
    assert (card["state"], card["revoked_reason"]) == ("revoked", "left on a bus")
    assert card["revoked_at"].endswith("Z")
    text = run_here("card", "1", "--in", spring.path.parent, *options).stdout
    assert f"revoked   {card['revoked_at']}: left on a bus\n" in text
