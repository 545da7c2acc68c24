"""Mistakes that people make with commands and files, and what they are told."""

import subprocess
import sys
from pathlib import Path

import pytest

from dataloader.common import ExitCode, did_you_mean
from dataloader.operations import generate
from tests.support.command import Command
from tests.support.returned_files import fill_in, good_rows


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("genrate", "did you mean generate?"),
        ("GENERATE", "did you mean generate?"),
        ("snapset_1A", "did you mean snapset_1a?"),
        ("snapset_1", "did you mean snapset_1a or snapset_1b?"),
        ("bake", ""),
        ("", ""),
    ],
)
def test_suggestions(name: str, question: str) -> None:
    """The nearest names are suggested, case aside, and nothing that is far off."""
    assert did_you_mean(name, ["generate", "snapset_1a", "snapset_1b", "snapset_3"]) == question


def test_an_unknown_snapset_comes_with_a_suggestion(here: Command) -> None:
    """A slip in a snapset's name is told with the name that was meant."""
    done = here("generate", "spring", "--cards", "5", "--snapset", "snapset_1A")
    assert done.code == ExitCode.INPUT
    assert done.stderr.startswith("error: --snapset: ")
    assert done.stderr.endswith("(did you mean snapset_1a?)\n")


def test_counts_that_fall_short_say_by_how_much(here: Command) -> None:
    """The message has the sum and the difference."""
    done = here("generate", "spring", "--cards", "500", "--snapset", "snapset_1a=300", "--snapset", "snapset_3=100")
    assert done.code == ExitCode.INPUT
    assert ": the counts add up to 400, 100 short of 500 (" in done.stderr


@pytest.mark.parametrize("name", ["load", "plan", "verify", "status"])
@pytest.mark.parametrize(("file", "kind"), [("spring.xlsx", "workbook"), ("spring.CSV", "CSV file")])
def test_a_returned_file_in_place_of_a_manifest_is_named(
    here: Command, tmp_path: Path, name: str, file: str, kind: str
) -> None:
    """A workbook is not read as a manifest: the message says what it is, and which command takes it."""
    path = tmp_path / file
    path.write_bytes(b"PK\x03\x04")
    done = here(name, path, "--url", "http://127.0.0.1:9")
    assert done.code == ExitCode.INPUT
    assert f"error: {path}: this is a {kind} (run `dataloader reconcile` first" in done.stderr


@pytest.mark.parametrize("name", ["load", "plan", "verify", "status"])
def test_a_folder_in_place_of_a_manifest_is_named(here: Command, tmp_path: Path, name: str) -> None:
    """The message says how to list the batches in the folder."""
    folder = tmp_path / "my batches"
    folder.mkdir()
    done = here(name, folder, "--url", "http://127.0.0.1:9")
    assert done.code == ExitCode.FILE
    says = f"error: {folder}: this is a folder (name a file in it; `dataloader batches '{folder}'` lists its batches)\n"
    assert done.stderr == says


def test_validate_of_a_returned_workbook_names_reconcile(here: Command, tmp_path: Path) -> None:
    """A workbook that a vendor has filled in is not called broken; the one that was sent is fine."""
    batch = generate("spring", {"empty": 4}, tmp_path, spares={"empty": 1})
    assert here("validate", batch.workbook).code == ExitCode.OK
    returned = fill_in(batch.workbook, tmp_path / "back.xlsx", good_rows(batch.manifest))
    done = here("validate", returned)
    assert done.code == ExitCode.INPUT
    assert done.stderr == f"error: {returned}: this is a returned workbook (check it with `dataloader reconcile`)\n"


def test_reconcile_says_which_file_is_what(here: Command, tmp_path: Path) -> None:
    """Swapped arguments, reconciled files and folders are named, with the call that was meant."""
    batch = generate("spring", {"empty": 4}, tmp_path)
    manifest = batch.manifest.path
    back = fill_in(batch.workbook, tmp_path / "back.xlsx", good_rows(batch.manifest))
    assert here("reconcile", manifest, back).code == ExitCode.OK
    reconciled = tmp_path / "spring.reconciled.jsonl"

    def says(*arguments: Path) -> str:
        done = here("reconcile", *arguments)
        assert done.code in {ExitCode.INPUT, ExitCode.FILE}
        return done.stderr.removeprefix("error: ").strip()

    assert says(back, manifest) == (
        f"{back}: this is a returned file, and {manifest} is the manifest "
        f"(the manifest comes first: dataloader reconcile {manifest} {back})"
    )
    assert says(back, back).startswith(f"{back}: this is a returned file, and the manifest is missing (")
    assert says(reconciled, back).startswith(f"{reconciled}: this is a reconciled file, which reconcile writes (")
    assert says(manifest, reconciled).startswith(f"{reconciled}: this is a reconciled file, which reconcile writes (")
    assert says(manifest, manifest).startswith(f"{manifest}: this is a manifest (")
    assert says(manifest, tmp_path) == f"{tmp_path}: this is a folder (name the files in it)"


def test_a_slip_in_a_file_name_suggests_the_file(here: Command, tmp_path: Path) -> None:
    """The nearest name in the folder; where none is near, what kind of file is wanted."""
    generate("spring", {"empty": 4}, tmp_path)
    done = here("plan", tmp_path / "sprng.batch.jsonl", "--url", "http://127.0.0.1:9")
    assert done.code == ExitCode.FILE
    assert done.stderr.endswith(f"no such file or directory (did you mean {tmp_path / 'spring.batch.jsonl'}?)\n")
    done = here("plan", tmp_path / "nothing", "--url", "http://127.0.0.1:9")
    assert done.stderr.endswith("(give the path of a manifest or a reconciled file that can be read)\n")


def test_an_option_without_its_value_names_the_commands_help(here: Command) -> None:
    """The hint leads to the help of the command, not to the list of commands."""
    assert here("generate", "spring", "--out").stderr.endswith("(see `dataloader generate --help`)\n")


@pytest.mark.parametrize("arguments", [("generate", "spring", "--cards", "5"), ("verify", "spring.batch.jsonl")])
def test_a_low_limit_of_memory_is_no_internal_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Under ``ulimit -v`` the limit is named."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -v 80000; exec "$0" -m dataloader "$@"', sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == ExitCode.FILE
    assert done.stderr.endswith(
        "error: memory is limited to 81 MB (ulimit -v), and at least 400 MB are needed "
        "(raise the limit: ulimit -v 400000)\n"
    ), done.stderr
