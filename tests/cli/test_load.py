"""The command ``load``: what it refuses, its questions, and its dry run."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from dataloader.batch import Manifest
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import generate
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import ONE_MODEL
from tests.support.records import write_snapsets
from tests.support.returned_files import came_back
from tests.support.server import databases, sequences

PROTECTED = pytest.mark.parametrize("environment", ["staging", "production"])


@pytest.fixture
def spring(tmp_path: Path) -> Manifest:
    """A batch of six cards and two spares."""
    return generate("spring", {"large": 6}, tmp_path, spares={"large": 2}).manifest


@pytest.fixture
def sets(tmp_path: Path) -> Snapsets:
    """One snapset."""
    return write_snapsets(tmp_path / "snapsets", {"large": 18})


def is_untouched(server: Server, target: Target) -> bool:
    """Return whether the target has no databases."""
    return not any(database.exists() for database in databases(server, target).values())


# What may be loaded.


@ONE_MODEL
@PROTECTED
def test_load_refuses_a_manifest_without_a_reconciled_file(
    run_here: Command, server: Server, target: Target, spring: Manifest, sets: Snapsets, environment: str
) -> None:
    """Cards that no vendor has encoded are not loaded into production unless requested."""
    call = ("load", spring.path, "--snapsets", sets.folder, "--environment", environment)
    done = run_here(*call)
    assert done.code == ExitCode.PROTECTED
    assert f"error: {spring.path}: this batch has not been reconciled, " in done.stderr
    assert "--all-cards" in done.stderr
    assert is_untouched(server, target)
    assert run_here(*call, "--all-cards").code == ExitCode.OK


@ONE_MODEL
@PROTECTED
def test_load_refuses_a_manifest_with_doubtful_cards(
    run_here: Command, server: Server, target: Target, spring: Manifest, sets: Snapsets, environment: str
) -> None:
    """The reconciled file next to the manifest says which cards are in doubt; that file can be loaded."""
    reconciled = came_back(spring, spring.path.with_name("spring.reconciled.jsonl"), 5)
    options = ("--snapsets", sets.folder, "--environment", environment)
    done = run_here("load", spring.path, *options)
    assert done.code == ExitCode.PROTECTED
    assert (
        f"error: {spring.path}: 3 of its 8 cards are not known to be encoded, according to {reconciled}" in done.stderr
    )
    assert is_untouched(server, target)
    assert run_here("load", reconciled, *options).code == ExitCode.OK
    assert run_here("load", spring.path, "--all-cards", *options).code == ExitCode.OK


@ONE_MODEL
def test_load_accepts_a_manifest_with_all_cards_encoded(run_here: Command, spring: Manifest, sets: Snapsets) -> None:
    """A batch without doubtful cards can be loaded into production by its manifest."""
    came_back(spring, spring.path.with_name("spring.reconciled.jsonl"), 8)
    done = run_here("load", spring.path, "--snapsets", sets.folder, "--environment", "production")
    assert (done.code, done.stderr) == (ExitCode.OK, "")


@ONE_MODEL
@PROTECTED
def test_load_refuses_a_manifest_with_an_invalid_reconciled_file(
    run_here: Command, server: Server, target: Target, spring: Manifest, sets: Snapsets, environment: str
) -> None:
    """If the results can't be read, every card is in doubt."""
    spring.path.with_name("spring.reconciled.jsonl").write_text("{}")
    done = run_here("load", spring.path, "--snapsets", sets.folder, "--environment", environment)
    assert done.code == ExitCode.INPUT
    assert is_untouched(server, target)


@ONE_MODEL
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no manifest: there is nothing to load (name a manifest, or add --snapsets-only)"),
        (("--dry-run",), "no manifest: "),
        (("--snapsets-only", "spring.batch.jsonl"), "--snapsets-only spring.batch.jsonl: cannot be combined"),
        (("--snapsets-only", "--all-cards"), "--snapsets-only --all-cards: cannot be combined"),
    ],
)
def test_load_requires_input(
    run_here: Command, server: Server, target: Target, arguments: tuple[str, ...], says: str
) -> None:
    """A forgotten manifest does not mean a load of only the snapsets."""
    done = run_here("load", *arguments)
    assert done.code == ExitCode.USAGE
    assert f"error: {says}" in done.stderr
    assert is_untouched(server, target)


@ONE_MODEL
def test_load_snapsets_only(run_here: Command, server: Server, target: Target, sets: Snapsets) -> None:
    """Snapsets and views are loaded if requested."""
    done = run_here("load", "--snapsets-only", "--snapsets", sets.folder, "--json")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert done.data["created"] > 0
    assert not is_untouched(server, target)


@ONE_MODEL
def test_load_dry_run_is_plan(
    run_here: Command, server: Server, target: Target, spring: Manifest, sets: Snapsets
) -> None:
    """``load --dry-run`` prints the same as ``plan``, and writes nothing."""
    options = (spring.path, "--snapsets", sets.folder)
    dry = run_here("load", "--dry-run", *options)
    assert dry == run_here("plan", *options)
    assert "would create" in dry.stdout
    assert is_untouched(server, target)


@ONE_MODEL
def test_target_file_names_the_snapsets_folder(
    here: Command, target: Target, sets: Snapsets, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path is relative to the file; --snapsets takes precedence."""
    for variable, value in credentials.items():
        monkeypatch.setenv(variable, value)
    Path("sub").mkdir()
    Path("sub/targets.toml").write_text(
        f'[target.here]\nurl = "{target.address.url}"\nenvironment = "ci"\nprefix = "{target.prefix}"\n'
        f'model = "{target.model.name}"\nsnapsets = "../{sets.folder.name}"\n'
    )
    call = ("load", "--dry-run", "--snapsets-only", "--target", "here", "--config", "sub/targets.toml", "--json")
    planned = here(*call)
    assert planned.code == ExitCode.OK, planned.stderr
    [kinds] = [kinds for name, kinds in planned.data["databases"].items() if "preferences" in kinds]
    assert sum(kinds["preferences"].values()) == 1
    with_other = here(*call, "--snapsets", "nowhere")
    assert (with_other.code, "nowhere" in with_other.stderr) == (ExitCode.FILE, True)


# Updates.


@pytest.fixture
def newer(run_here: Command, spring: Manifest, sets: Snapsets, tmp_path: Path) -> Snapsets:
    """The batch is loaded; the snapset has a newer version."""
    assert run_here("load", spring.path, "--snapsets", sets.folder).code == ExitCode.OK
    return write_snapsets(tmp_path / "newer", {"large": 20})


@ONE_MODEL
def test_update_requires_confirmation(
    run_here: Command, server: Server, target: Target, spring: Manifest, newer: Snapsets
) -> None:
    """A script must use ``--yes``; otherwise nothing is written."""
    before = sequences(server, target)
    call = ("load", spring.path, "--snapsets", newer.folder, "--update")
    done = run_here(*call)
    assert done.code == ExitCode.USAGE
    assert "refusing to continue without confirmation (add --yes)" in done.stderr
    assert sequences(server, target) == before
    assert run_here(*call, "--yes", "--json").data["updated"] > 0
    assert run_here(*call).code == ExitCode.OK, "nothing is asked where nothing would change"


@ONE_MODEL
@pytest.mark.parametrize(("answer", "code"), [("y", ExitCode.OK), ("n", ExitCode.INTERRUPTED)])
def test_update_shows_the_changes_and_asks(
    server: Server,
    target: Target,
    spring: Manifest,
    newer: Snapsets,
    on_target: list[str],
    credentials: dict[str, str],
    answer: str,
    code: ExitCode,
) -> None:
    """On a terminal, the changes are shown first; only "yes" continues."""
    before = sequences(server, target)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "dataloader", "load", *on_target),
            *(str(spring.path), "--snapsets", str(newer.folder), "--update"),
        ],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **credentials},
    )
    try:
        os.write(ours, f"{answer}\n".encode())
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    assert process.returncode == code
    assert "large  8 cards  1 term: fontSize\n" in stderr
    where = f"{target.address.url} (ci, {target.model.name}, prefix {target.prefix})"
    # Wrapped, because the address may be long.
    assert f" at {where}. Continue? [y/N]" in " ".join(stderr.split())
    assert ("updated" in stdout) == (answer == "y")
    assert (sequences(server, target) == before) == (answer == "n")
