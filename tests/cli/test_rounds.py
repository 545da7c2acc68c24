"""Reconciled files next to a manifest: commands use the newest and name it."""

from pathlib import Path

import pytest

from dataloader.batch import Manifest
from dataloader.cli._output import Output
from dataloader.common import ExitCode
from dataloader.operations import generate
from dataloader.records import Snapsets
from tests.support.command import Command
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.records import write_snapsets
from tests.support.returned_files import came_back


@pytest.fixture
def spring(tmp_path: Path) -> Manifest:
    """A batch of eight cards."""
    return generate("spring", {"large": 8}, tmp_path).manifest


@pytest.fixture
def sets(tmp_path: Path) -> Snapsets:
    """One snapset."""
    return write_snapsets(tmp_path / "snapsets", {"large": 18})


@pytest.fixture
def first(spring: Manifest) -> Path:
    """The first round: five cards are encoded."""
    return came_back(spring, spring.path.with_name("spring.reconciled.jsonl"), 5)


@pytest.fixture
def second(spring: Manifest) -> Path:
    """The second round: seven cards are encoded."""
    return came_back(spring, spring.path.with_name("spring.reconciled.2.jsonl"), 7, 2)


@THOROUGH
@pytest.mark.usefixtures("first")
@ONE_MODEL
def test_commands_name_the_round_they_use(run_here: Command, spring: Manifest, second: Path, sets: Snapsets) -> None:
    """The newest one next to the manifest, as text and JSON; none if a reconciled file is given."""
    options = ("--snapsets", sets.folder)
    revoking = ("--card", 2, "--reason", "lost", "--yes")
    line = f"batch spring: 7 of 8 cards came back encoded ({second}, round 2)\n"
    data = [{"batch": "spring", "file": str(second), "round": 2, "encoded": 7}]
    for name, more in (("plan", ()), ("load", ()), ("verify", ()), ("status", ()), ("revoke", revoking)):
        done = run_here(name, spring.path, *options, *more)
        assert (done.code, done.stdout.count(line)) == (ExitCode.OK, 1), name
        assert run_here(name, spring.path, *options, *more, "--json").data["reconciled"] == data
        alone = run_here(name, second, *options, *more)
        assert (alone.code, "came back encoded" in alone.stdout + alone.stderr) == (ExitCode.OK, False), name


@ONE_MODEL
def test_commands_warn_of_a_newer_round(
    run_here: Command,
    spring: Manifest,
    first: Path,
    second: Path,
    sets: Snapsets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An earlier round is used if given, but not silently; after a plan, the next step is to plan the newest one."""
    said: list[str] = []
    monkeypatch.setattr(Output, "next", lambda _, *commands: said.extend(commands))
    assert run_here("plan", first, "--snapsets", sets.folder).code == ExitCode.OK
    assert said[0].startswith(f"dataloader plan {second} --url ")
    warning = f"warning: {first}: is from round 1; {second} is newer (round 2)\n"
    done = run_here("load", first, "--snapsets", sets.folder, "--json")
    assert (done.code, done.stderr) == (ExitCode.OK, warning)
    assert run_here("plan", second, "--snapsets", sets.folder).stderr == ""
    second.unlink()
    assert run_here("plan", first, "--snapsets", sets.folder).stderr == ""
    assert spring.path.exists()


@pytest.mark.usefixtures("first")
@ONE_MODEL
def test_commands_warn_of_an_unreadable_round(
    run_here: Command, spring: Manifest, second: Path, sets: Snapsets
) -> None:
    """It may be the newest, so none is used; a card can still be revoked, in an emergency."""
    second.write_text("{}")
    options = ("--snapsets", sets.folder)
    for name, more in (("plan", ()), ("load", ()), ("revoke", ("--card", 2, "--reason", "lost", "--yes"))):
        done = run_here(name, spring.path, *options, *more)
        assert done.code == ExitCode.OK
        assert f"warning: cannot tell which cards of batch spring came back encoded: {second}" in done.stderr
        assert "came back encoded" not in done.stdout


@pytest.mark.usefixtures("first")
@ONE_MODEL
def test_revoke_names_cards_that_are_not_encoded(
    run_here: Command, spring: Manifest, second: Path, sets: Snapsets
) -> None:
    """According to the newest round, nobody should have such a card."""
    call = ("revoke", spring.path, "--snapsets", sets.folder, "--reason", "lost", "--yes")
    assert run_here("load", second, "--snapsets", sets.folder).code == ExitCode.OK
    assert run_here(*call, "--card", 6).stderr == ""
    done = run_here(*call, "--card", 7, "--card", 8)
    assert done.stderr == f"warning: card 8 did not come back encoded, according to {second} (round 2)\n"
