"""The status of batches."""

from collections import Counter
from pathlib import Path

import pytest

from dataloader.batch import Card, CardFile, Manifest
from dataloader.common import ExitCode, InputError
from dataloader.couch import Server
from dataloader.operations import BatchStatus, CardVerdict, VerifyVerdict, all_sources, generate, load, revoke, status
from dataloader.operations.status import count_encoded
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import GOOD, Command
from tests.support.loading import change
from tests.support.marks import TOKEN_MODEL
from tests.support.records import access_of, preferences_of, write_snapsets
from tests.support.returned_files import came_back
from tests.support.server import agreed, databases, get, put, sequences

CARDS = 8


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """One snapset."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "large", {"large": 18})


@pytest.fixture
def spring(tmp_path: Path) -> Manifest:
    """A batch of eight cards."""
    return generate("spring", {"large": CARDS}, tmp_path).manifest


@pytest.fixture
def cards(spring: Manifest) -> list[Card]:
    """Its cards."""
    return list(spring.cards())


def test_status_counts_each_card_once(
    server: Server, target: Target, spring: Manifest, cards: list[Card], sets: Snapsets, tmp_path: Path
) -> None:
    """Edited, revoked, wrong, missing and unchanged cards; nothing is written."""
    other = generate("other", {"large": 3}, tmp_path / "other").manifest
    load(server, target, all_sources(target, [spring], sets))
    revoke(server, target, spring, cards[:2], "lost")
    change(server, target, preferences_of(target.model.name, cards[2].uuid), 40)
    wrong = access_of(target.model.name, cards[3].uuid)
    database = databases(server, target)[wrong.database]
    put(database, {**get(database, wrong.id), "colour": "red"})
    came_back(spring, tmp_path / "spring.reconciled.jsonl", CARDS - 1)
    told: list[tuple[CardFile, CardVerdict]] = []
    stood = sequences(server, target)

    result = agreed(
        server, lambda: status(server, target, [spring, other], sets, on_wrong=lambda *each: told.append(each)).batches
    )

    verdicts = {VerifyVerdict.OK: CARDS - 4, VerifyVerdict.REVOKED: 2, VerifyVerdict.EDITED: 1, VerifyVerdict.WRONG: 1}
    assert result == [
        BatchStatus("spring", CARDS, CARDS - 1, Counter(verdicts)),
        BatchStatus("other", 3, None, Counter({VerifyVerdict.MISSING: 3})),
    ]
    assert [(each.loaded, each.edited, each.revoked, each.missing, each.wrong) for each in result] == [
        (CARDS, 1, 2, 0, 1),
        (0, 0, 0, 3, 0),
    ]
    assert {(manifest.header.name, verdict.uuid) for manifest, verdict in told} == {("spring", cards[3].uuid)}
    assert sequences(server, target) == stood


def test_all_cards_are_missing_before_the_first_load(
    server: Server, target: Target, spring: Manifest, sets: Snapsets, run_here: Command
) -> None:
    """A target without databases is not an error; none are created."""
    result = status(server, target, [spring], sets)
    assert result.total == BatchStatus("total", CARDS, None, Counter({VerifyVerdict.MISSING: CARDS}))
    assert not any(database.exists() for database in databases(server, target).values())
    assert result.missing_databases == tuple(map(target.database, target.model.databases))
    warning = f"database {result.missing_databases[0]} does not exist (load the target first, or correct the model or "
    for command in (("status", spring.path), ("batches", spring.path.parent)):
        done = run_here(*command, "--json")
        assert done.code == ExitCode.OK
        [found] = done.data["warnings"]
        assert found.startswith(warning)


@TOKEN_MODEL
def test_target_with_only_some_databases_is_refused(
    server: Server, target: Target, spring: Manifest, run_here: Command
) -> None:
    """Somebody has deleted one: then the cards are not just missing."""
    for name in target.model.databases[:-1]:
        server.database(target.database(name)).create()
    for command in (
        ("status", spring.path),
        ("batches", spring.path.parent),
        ("card", "1", "--in", spring.path.parent),
    ):
        done = run_here(*command)
        assert done.code == ExitCode.PROTOCOL
        name = target.database(target.model.databases[-1])
        assert f"error: database {name}: does not exist (load the target first, or correct " in done.stderr


def test_encoded_cards_come_from_the_reconciled_file(spring: Manifest, tmp_path: Path) -> None:
    """Given, or found next to the manifest; not of another batch; a damaged one is reported."""
    from dataloader.batch import read_reconciled

    beside = tmp_path / "spring.reconciled.jsonl"
    assert count_encoded(spring) is None
    came_back(generate("spring", {"large": 3}, tmp_path / "other").manifest, beside, 2)
    assert count_encoded(spring) is None
    came_back(spring, beside, 5)
    assert count_encoded(spring) == count_encoded(read_reconciled(beside)) == 5
    beside.write_bytes(beside.read_bytes()[:-10])
    with pytest.raises(InputError, match="was changed or truncated"):
        count_encoded(spring)


def test_status_command_prints_a_table(spring: Manifest, sets: Snapsets, tmp_path: Path, run_here: Command) -> None:
    """One line for each batch, and a total; a reconciled file counts its encoded cards."""
    other = generate("other", {"large": 1200}, tmp_path / "other").manifest
    returned = came_back(spring, tmp_path / "returned.jsonl", 5)
    options = ("--snapsets", sets.folder)
    done = run_here("status", returned, other.path, *options)
    assert done.code == ExitCode.OK
    assert done.stderr.endswith(" does not exist (load the target first, or correct the model or the prefix)\n")
    assert done.stdout.splitlines() == [
        "batch   minted  encoded  loaded  edited  revoked  missing  wrong",
        "spring       8        5       0       0        0        5      0",
        "other    1,200        ?       0       0        0    1,200      0",
        "total    1,208        ?       0       0        0    1,205      0",
    ]
    done = run_here("status", returned, *options, "--json")
    counts = {"minted": 8, "encoded": 5, "loaded": 0, "edited": 0, "revoked": 0, "missing": 5, "wrong": 0}
    seconds = done.data["seconds"]
    assert done.data == {
        **GOOD,
        "warnings": done.data["warnings"],
        "time": done.data["time"],
        **counts,
        "batches": [{"name": "spring", **counts}],
        "seconds": seconds,
    }


@TOKEN_MODEL
def test_wrong_cards_have_an_exit_code(
    server: Server, target: Target, spring: Manifest, cards: list[Card], sets: Snapsets, run_here: Command
) -> None:
    """Exit code 10, and the card is named."""
    load(server, target, all_sources(target, [spring], sets))
    place = access_of(target.model.name, cards[3].uuid)
    database = databases(server, target)[place.database]
    put(database, {**get(database, place.id), "colour": "red"})
    done = agreed(server, lambda: run_here("status", spring.path, "--snapsets", sets.folder))
    assert done.code == ExitCode.VERIFY
    first, *_, last = done.stderr.splitlines()
    assert first.startswith(f"warning: batch spring, card {cards[3].number} ({cards[3].uuid[:8]}…): wrong: ")
    assert last == "error: 1 card wrong (`dataloader verify` says what is wrong with each)"
    assert done.stdout.splitlines()[1].split() == ["spring", "8", "?", "8", "0", "0", "0", "1"]
