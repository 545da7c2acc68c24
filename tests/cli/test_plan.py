"""The command ``plan``: changes by an update, edits by owners, and exit codes."""

from pathlib import Path

import pytest

from dataloader.batch import Card, Manifest
from dataloader.cli._output import Output
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import generate
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import ONE_MODEL
from tests.support.records import FONT_SIZE, access_of, flat, preferences_of, write_snapsets
from tests.support.returned_files import came_back
from tests.support.server import databases, get, put, sequences

OWN_TERM = "http://registry.gpii.net/common/highContrastTheme"


@pytest.fixture
def spring(tmp_path: Path) -> Manifest:
    """A batch of five cards over two snapsets."""
    return generate("spring", {"large": 3, "larger": 2}, tmp_path).manifest


@pytest.fixture
def cards(spring: Manifest) -> list[Card]:
    """Its cards."""
    return list(spring.cards())


@pytest.fixture
def sets(tmp_path: Path) -> Snapsets:
    """The loaded snapsets."""
    return write_snapsets(tmp_path / "snapsets", {"large": 18, "larger": 24.5})


@pytest.fixture
def newer(tmp_path: Path) -> Snapsets:
    """The same with one of them corrected."""
    return write_snapsets(tmp_path / "newer", {"large": 20, "larger": 24.5})


@pytest.fixture
def loaded(run_here: Command, spring: Manifest, sets: Snapsets) -> None:
    """The batch is loaded."""
    assert run_here("load", spring.path, "--snapsets", sets.folder).code == ExitCode.OK


def change(server: Server, target: Target, card: Card, **values: object) -> None:
    """Edit terms of a card as its owner: ``size`` and ``own``."""
    place = preferences_of(target.model.name, card.uuid)
    database = databases(server, target)[place.database]
    document = get(database, place.id)
    flat(document).update({{"size": FONT_SIZE, "own": OWN_TERM}[name]: value for name, value in values.items()})
    put(database, document)


# Changes.


@pytest.mark.usefixtures("loaded")
@ONE_MODEL
def test_diff_shows_terms_by_snapset(
    run_here: Command, server: Server, target: Target, spring: Manifest, newer: Snapsets
) -> None:
    """Old and new values, and the number of cards; nothing is written."""
    before = sequences(server, target)
    call = ("plan", spring.path, "--snapsets", newer.folder, "--diff")
    diff = run_here(*call, "--json").data["diff"]
    term = {"context": "gpii-default", "term": FONT_SIZE, "from": 18, "to": 20, "cards": 3}
    assert diff["update"] == {
        "documents": 4,
        "snapsets": [{"snapset": "large", "cards": 3, "terms": [term]}],
        "others": {},
    }
    assert diff["owners"] == {"cards": 0, "guessed": 0, "terms": [], "left_out": 0}
    done = run_here(*call)
    assert done.code == ExitCode.OK
    assert "an update would change large: 3 cards\n  3 cards  fontSize: 18 → 20\n" in done.stdout
    assert done.stdout.endswith("owners have edited nothing\n")
    assert sequences(server, target) == before
    only = run_here("plan", "--snapsets", newer.folder, "--diff")
    assert "an update would change large: the snapset itself\n  fontSize: 18 → 20\n" in only.stdout


@pytest.mark.usefixtures("loaded")
@ONE_MODEL
def test_outdated_documents_are_one_warning(
    run_here: Command, target: Target, spring: Manifest, cards: list[Card], tmp_path: Path
) -> None:
    """With the first five by name, and what to do once; an update that the user asked to go back warns of nothing."""
    both = write_snapsets(tmp_path / "both", {"large": 20, "larger": 25})
    done = run_here("plan", spring.path, "--snapsets", both.folder)
    [warning] = done.stderr.splitlines()
    [database] = {target.database(preferences_of(target.model.name, card.uuid).database) for card in cards}
    assert warning.startswith(f"warning: {database}: 7 documents outdated: ")
    assert " and 2 more (written by an earlier load from another snapset version, not edited; load with " in warning
    sets = tmp_path / "snapsets"
    assert run_here("load", spring.path, "--snapsets", both.folder, "--update", "--yes").code == ExitCode.OK
    older = run_here("plan", spring.path, "--snapsets", sets)
    assert "snapsets large, larger are older than the version loaded last" in older.stderr
    back = run_here("load", spring.path, "--snapsets", sets, "--update", "--older-snapsets", "--yes")
    assert (back.code, "updated" in back.stdout) == (ExitCode.OK, True)
    assert "older" not in back.stderr


@pytest.mark.usefixtures("loaded")
@ONE_MODEL
def test_diff_says_if_no_term_changes(run_here: Command, spring: Manifest, sets: Snapsets) -> None:
    """Only the name of a snapset differs."""
    path = sets.folder / "large.json5"
    path.write_text(path.read_text("utf-8").replace('"name": "large"', '"name": "another"'), "utf-8")
    done = run_here("plan", spring.path, "--snapsets", sets.folder, "--diff")
    assert (
        "an update would change large: 3 cards\n  no terms, only the rest, such as the snapset's name\n" in done.stdout
    )
    asked = run_here("load", spring.path, "--snapsets", sets.folder, "--update")
    assert "large  3 cards  no terms, only the rest, such as the snapset's name\n" in asked.stderr


@pytest.mark.usefixtures("loaded")
@ONE_MODEL
def test_diff_counts_edits_by_owners(
    run_here: Command, server: Server, target: Target, spring: Manifest, cards: list[Card], sets: Snapsets
) -> None:
    """Terms with the number of cards; the values, which are personal, only on request."""
    for card, size in zip(cards[:3], (31.5, 31.5, 33.5), strict=True):
        change(server, target, card, size=size)
    change(server, target, cards[3], own="white-black")
    change(server, target, cards[3], own="black-white")
    call = ("plan", spring.path, "--snapsets", sets.folder, "--diff")
    done = run_here(*call, "--json")
    owners = done.data["diff"]["owners"]
    assert owners["cards"] == 4
    assert [(each["term"], each["cards"]) for each in owners["terms"]] == [(FONT_SIZE, 3), (OWN_TERM, 1)]
    text = run_here(*call)
    assert "an update would change nothing\nowners have edited the preferences of 4 cards\n" in text.stdout
    assert "  3 cards  fontSize\n  1 card  highContrastTheme\n" in text.stdout
    for output in (done.stdout, done.stderr, text.stdout, text.stderr):
        assert not any(value in output for value in ("31.5", "33.5", "black-white"))
    terms = run_here(*call, "--values", "--json").data["diff"]["owners"]["terms"]
    assert [each["values"] for each in terms] == [
        [{"value": 31.5, "cards": 2}, {"value": 33.5, "cards": 1}],
        [{"value": "black-white", "cards": 1}],
    ]
    assert '    1 card  "black-white"' in run_here(*call, "--values").stdout


@pytest.mark.usefixtures("loaded")
@ONE_MODEL
def test_diff_distinguishes_edits_from_a_corrected_snapset(
    run_here: Command, server: Server, target: Target, spring: Manifest, cards: list[Card], newer: Snapsets
) -> None:
    """An edit of another term is not confused with the correction."""
    large = next(card for card in cards if card.snapset == "large")
    change(server, target, large, own="white-black")
    change(server, target, large, own="black-white")
    diff = run_here("plan", spring.path, "--snapsets", newer.folder, "--diff", "--json").data["diff"]
    assert [(each["term"], each["cards"]) for each in diff["owners"]["terms"]] == [(OWN_TERM, 1)]
    assert diff["owners"]["guessed"] == 0
    assert [each["cards"] for each in diff["update"]["snapsets"]] == [2]


@pytest.mark.usefixtures("loaded")
@ONE_MODEL
def test_diff_recognizes_an_update_before_an_edit(
    run_here: Command, server: Server, target: Target, spring: Manifest, cards: list[Card], tmp_path: Path
) -> None:
    """Edits are compared with the last load, not the first."""
    second = write_snapsets(tmp_path / "second", {"large": 19, "larger": 24.5})
    third = write_snapsets(tmp_path / "third", {"large": 20, "larger": 24.5})
    assert run_here("load", spring.path, "--snapsets", second.folder, "--update", "--yes").code == ExitCode.OK
    change(server, target, next(card for card in cards if card.snapset == "large"), own="white-black")
    owners = run_here("plan", spring.path, "--snapsets", third.folder, "--diff", "--json").data["diff"]["owners"]
    assert ([(each["term"], each["cards"]) for each in owners["terms"]], owners["guessed"]) == ([(OWN_TERM, 1)], 0)


@pytest.mark.usefixtures("loaded")
@ONE_MODEL
def test_diff_accepts_any_form_of_an_edited_set(
    run_here: Command, server: Server, target: Target, spring: Manifest, cards: list[Card], sets: Snapsets
) -> None:
    """In a set without contexts, the terms are not set."""
    place = preferences_of(target.model.name, cards[0].uuid)
    database = databases(server, target)[place.database]
    document = get(database, place.id)
    holder = "value" if "value" in document else "preferences"
    put(database, document | {holder: {"flat": ["no", "contexts"]}})
    call = ("plan", spring.path, "--snapsets", sets.folder, "--diff", "--values", "--json")
    [term] = run_here(*call).data["diff"]["owners"]["terms"]
    assert (term["term"], term["cards"], term["values"]) == (FONT_SIZE, 1, [{"cards": 1}])


def test_values_require_diff(here: Command) -> None:
    """--values alone is a usage error."""
    done = here("plan", "--values")
    assert (done.code, "--values: needs --diff" in done.stderr) == (ExitCode.USAGE, True)


# Exit codes.


@ONE_MODEL
def test_detailed_exit_code(
    run_here: Command,
    server: Server,
    target: Target,
    spring: Manifest,
    cards: list[Card],
    sets: Snapsets,
    newer: Snapsets,
) -> None:
    """15 before a load and before an update, 0 after a load, even if owners have edited something."""
    call = ("plan", spring.path, "--snapsets", sets.folder)
    assert run_here(*call).code == ExitCode.OK
    assert run_here(*call, "--detailed-exitcode").code == ExitCode.CHANGES
    assert run_here("load", *call[1:]).code == ExitCode.OK
    assert run_here(*call, "--detailed-exitcode").code == ExitCode.OK
    change(server, target, cards[0], size=31.5)
    assert run_here(*call, "--detailed-exitcode").code == ExitCode.OK
    assert run_here("plan", spring.path, "--snapsets", newer.folder, "--detailed-exitcode").code == ExitCode.CHANGES


@ONE_MODEL
def test_detailed_exit_code_if_only_a_decision_is_left(
    run_here: Command, server: Server, target: Target, spring: Manifest, cards: list[Card], sets: Snapsets
) -> None:
    """A load would change nothing, but a foreign document has one of our IDs: 9."""
    place = access_of(target.model.name, cards[1].uuid)
    found = databases(server, target)
    for database in found.values():
        database.create()
    put(found[place.database], {"_id": place.id, "type": "note"})
    options = (spring.path, "--snapsets", sets.folder)
    assert run_here("load", *options).code == ExitCode.ATTENTION
    assert run_here("plan", *options, "--detailed-exitcode").code == ExitCode.ATTENTION
    assert run_here("plan", *options).code == ExitCode.OK


@ONE_MODEL
@pytest.mark.parametrize("encoded", [None, 3])
def test_plan_warns_of_what_load_would_refuse(
    run_here: Command, spring: Manifest, sets: Snapsets, encoded: int | None
) -> None:
    """A plan for production succeeds, and warns about doubtful cards, which load refuses."""
    if encoded is not None:
        came_back(spring, spring.path.with_name("spring.reconciled.jsonl"), encoded)
    options = (spring.path, "--snapsets", sets.folder, "--environment", "production")
    refused = run_here("load", *options)
    assert refused.code == ExitCode.PROTECTED
    [error] = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    done = run_here("plan", *options)
    assert done.code == ExitCode.OK
    assert f"warning: load would refuse this: {error.removeprefix('error: ')}\n" in done.stderr


@ONE_MODEL
def test_next_step_after_a_plan_is_a_load_only_if_it_has_work(
    run_here: Command, spring: Manifest, sets: Snapsets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where everything is loaded already, the next step is to verify it."""
    said: list[str] = []

    def note(output: Output, *commands: str) -> None:
        output.has_next = True
        said.extend(commands)

    monkeypatch.setattr(Output, "next", note)
    options = ("--snapsets", sets.folder)
    for name in ("plan", "load", "plan"):
        assert run_here(name, spring.path, *options).code == ExitCode.OK
    assert [line.split()[1] for line in said] == ["load", "verify", "verify"]
