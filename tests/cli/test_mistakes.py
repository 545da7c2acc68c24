"""Common mistakes with commands and files, and their error messages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataloader.common import ExitCode, did_you_mean
from dataloader.operations import generate
from tests.support.command import Command, Completed
from tests.support.marks import THOROUGH
from tests.support.returned_files import fill_in, good_rows


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("genrate", "did you mean generate?"),
        ("GENERATE", "did you mean generate?"),
        ("snapset_1A", "did you mean snapset_1a?"),
        ("snapset_1", "did you mean snapset_1a or snapset_1b?"),
        ("bake", ""),
        ("gen", "did you mean generate?"),
        ("ge", ""),
        ("", ""),
    ],
)
def test_suggestions(name: str, question: str) -> None:
    """The most similar names are suggested, ignoring case, and no others."""
    assert did_you_mean(name, ["generate", "snapset_1a", "snapset_1b", "snapset_3"]) == question


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        (("generate", "spring", "--cards", "x" * 100_000), "error: invalid value for '--cards': 'xxxx"),
        (("check", "http://:/" * 10_000), "error: unexpected argument: http://:/http://"),
        ((":/" * 50_000,), "error: no such command ':/:/:/"),
        (("load", f"--{'x' * 100_000}"), "error: no such option --xxxx"),
        (("load", "--environment", "x" * 100_000), "error: invalid value for '--environment': 'xxxx"),
    ],
    ids=["number", "argument", "command", "option", "choice"],
)
def test_long_argument_is_shortened(here: Command, arguments: tuple[str, ...], begin: str) -> None:
    """The message has one line that can be read, and takes no minutes."""
    done = here(*arguments)
    assert done.code == ExitCode.USAGE
    assert done.stderr.startswith(begin)
    assert len(done.stderr) < 1_500


def test_unknown_snapset_has_a_suggestion(here: Command) -> None:
    """A typo in a snapset's name is reported with a similar name."""
    done = here("generate", "spring", "--cards", "5", "--snapset", "snapset_1A")
    assert done.code == ExitCode.INPUT
    assert done.stderr.startswith("error: --snapset: ")
    assert done.stderr.endswith("(did you mean snapset_1a?)\n")


def test_counts_that_do_not_add_up_show_the_difference(here: Command) -> None:
    """The message has the sum and the difference."""
    done = here("generate", "spring", "--cards", "500", "--snapset", "snapset_1a=300", "--snapset", "snapset_3=100")
    assert done.code == ExitCode.INPUT
    assert ": the counts add up to 400, 100 short of 500 (" in done.stderr


@pytest.mark.parametrize("name", ["load", "plan", "verify", "status"])
@pytest.mark.parametrize(("file", "kind"), [("spring.xlsx", "workbook"), ("spring.CSV", "CSV file")])
def test_returned_file_instead_of_a_manifest_is_recognized(
    here: Command, tmp_path: Path, name: str, file: str, kind: str
) -> None:
    """The message says what it is, and which command accepts it."""
    path = tmp_path / file
    path.write_bytes(b"PK\x03\x04")
    done = here(name, path, "--url", "http://127.0.0.1:9")
    assert done.code == ExitCode.INPUT
    assert f"error: {path}: this is a {kind} (run `dataloader reconcile` first" in done.stderr


@pytest.mark.parametrize("name", ["load", "plan", "verify", "status"])
def test_folder_instead_of_a_manifest_is_recognized(here: Command, tmp_path: Path, name: str) -> None:
    """The message says how to list the batches in the folder."""
    folder = tmp_path / "my batches"
    folder.mkdir()
    done = here(name, folder, "--url", "http://127.0.0.1:9")
    assert done.code == ExitCode.FILE
    says = f"error: {folder}: this is a folder (name a file in it; `dataloader batches '{folder}'` lists its batches)\n"
    assert done.stderr == says


def test_validate_of_a_returned_workbook_names_reconcile(here: Command, tmp_path: Path) -> None:
    """A filled-in workbook is not called invalid; the one that was sent is valid."""
    batch = generate("spring", {"empty": 4}, tmp_path, spares={"empty": 1})
    assert here("validate", batch.workbook).code == ExitCode.OK
    returned = fill_in(batch.workbook, tmp_path / "back.xlsx", good_rows(batch.manifest))
    done = here("validate", returned)
    assert done.code == ExitCode.INPUT
    assert done.stderr == f"error: {returned}: this is a returned workbook (check it with `dataloader reconcile`)\n"


def test_reconcile_recognizes_swapped_arguments(here: Command, tmp_path: Path) -> None:
    """Swapped arguments, reconciled files and folders are named, with the right command line."""
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
    for given in ((back, back), (back,)):
        assert says(*given).startswith(f"{back}: this is a returned file, and the manifest is missing (")
    assert says(reconciled, back).startswith(f"{reconciled}: this is a reconciled file, which reconcile writes (")
    assert says(manifest, reconciled).startswith(f"{reconciled}: this is a reconciled file, which reconcile writes (")
    assert says(manifest, manifest).startswith(f"{manifest}: this is a manifest (")
    assert says(manifest, tmp_path) == f"{tmp_path}: this is a folder (name the files in it)"


def test_typo_in_a_file_name_has_a_suggestion(here: Command, tmp_path: Path) -> None:
    """The most similar name in the folder; otherwise the expected kind of file."""
    generate("spring", {"empty": 4}, tmp_path)
    done = here("plan", tmp_path / "sprng.batch.jsonl", "--url", "http://127.0.0.1:9")
    assert done.code == ExitCode.FILE
    assert done.stderr.endswith(f"no such file or folder (did you mean {tmp_path / 'spring.batch.jsonl'}?)\n")
    (tmp_path / "gone.batch.jsonl").symlink_to(tmp_path / "nowhere")
    assert "did you mean" not in here("plan", tmp_path / "gone.batch.jsonl", "--url", "http://127.0.0.1:9").stderr


def test_folder_is_not_suggested_for_a_file(here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a similar name does not hide how to get a target file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataloader").mkdir()
    assert "(write one with `dataloader init`" in here("check", "--target", "pilot").stderr
    done = here("plan", tmp_path / "nothing", "--url", "http://127.0.0.1:9")
    assert done.stderr.endswith("(give the path of a manifest or a reconciled file that can be read)\n")


def test_batch_that_is_not_reconciled_has_no_reconciled_file(here: Command, tmp_path: Path) -> None:
    """The message says which step is missing; not if another round is there."""
    generate("spring", {"empty": 4}, tmp_path)
    manifest, given = tmp_path / "spring.batch.jsonl", tmp_path / "spring.reconciled.jsonl"
    done = here("load", given, "--url", "http://127.0.0.1:9")
    assert done.code == ExitCode.FILE
    assert done.stderr == (
        f"error: {given}: no such file; batch spring has not been reconciled "
        f"(when it comes back: `dataloader reconcile {manifest} RETURNED`)\n"
    )
    (tmp_path / "spring.reconciled.2.jsonl").write_text("")
    done = here("load", given, "--url", "http://127.0.0.1:9")
    assert f"(did you mean {tmp_path / 'spring.reconciled.2.jsonl'}?)" in done.stderr


def test_only_word_that_is_possible_is_named_once(here: Command) -> None:
    """A list of one, and a question about it, would say the same again."""
    done = here("config", "shw")
    assert (done.code, done.stderr) == (
        ExitCode.USAGE,
        "error: invalid value for 'show': 'shw' must be show (see `dataloader config --help`)\n",
    )


def test_report_into_a_folder_needs_a_name(here: Command, tmp_path: Path) -> None:
    """The message does not say that a file already exists."""
    manifest = generate("spring", {"empty": 4}, tmp_path).manifest.path
    done = here("verify", manifest, "--url", "http://127.0.0.1:9", "--report", tmp_path)
    assert (done.code, done.stderr) == (
        ExitCode.FILE,
        f"error: {tmp_path}: this is a folder (name a new file in it)\n",
    )


@pytest.fixture
def guest(tmp_path: Path) -> Command:
    """Run a command as a user whom file permissions stop, even if root runs the tests."""
    own = f"{Path(__file__).parents[2]}"

    def run(*arguments: object) -> Completed:
        drop = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*drop, sys.executable, "-m", "dataloader", *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={"PYTHONPATH": own},
        )
        return Completed(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder with a batch; no permissions are left there after the test begins."""
    folder = tmp_path / "batches"
    generate("spring", {"empty": 4}, folder)
    yield folder
    folder.chmod(0o700)


PERMISSIONS = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="nothing here stops root from reading"
)


@PERMISSIONS
@pytest.mark.parametrize(
    "call",
    [
        ("plan", "batches/spring.batch.jsonl", "--url", "http://127.0.0.1:9"),
        pytest.param(("reconcile", "batches/spring.batch.jsonl", "batches/spring.xlsx"), marks=THOROUGH),
        pytest.param(("validate", "batches/spring.batch.jsonl"), marks=THOROUGH),
        pytest.param(("recover", "batches/spring.xlsx", "--out", "again"), marks=THOROUGH),
        pytest.param(("check", "--target", "x", "--config", "batches/dataloader.toml"), marks=THOROUGH),
    ],
)
def test_file_that_may_not_be_read_is_a_file_error(guest: Command, locked: Path, call: tuple[str, ...]) -> None:
    """Whether the file's permissions or its folder's forbid it: one line, exit code 4."""
    (locked / "dataloader.toml").touch()
    for each in locked.iterdir():
        each.chmod(0)
    for mode in (0o700, 0):
        locked.chmod(mode)
        done = guest(*call)
        assert done.code == ExitCode.FILE, done.stderr
        [line] = done.stderr.splitlines()
        assert line.startswith("error: batches/")
        assert ": permission denied (" in line
        assert "init" not in line, "the file exists"


@THOROUGH
@PERMISSIONS
def test_batches_names_folders_that_it_may_not_read(guest: Command, locked: Path) -> None:
    """A batch in such a folder is not passed over in silence; the folder itself is an error."""
    assert guest("batches", ".").stderr == ""
    locked.chmod(0)
    done = guest("batches", ".")
    assert done.code == ExitCode.OK
    assert done.stderr == "warning: batches: permission denied (make it readable, or move it away)\n"
    done = guest("batches", "batches")
    assert done.code == ExitCode.FILE
    assert done.stderr == "error: batches: permission denied (name a folder that can be read)\n"


def test_option_without_a_value_refers_to_the_commands_help(here: Command) -> None:
    """Not to the list of commands."""
    done = here("generate", "spring", "--out")
    assert done.stderr == "error: option '--out' needs a value (see `dataloader generate --help`)\n"


@pytest.mark.parametrize(
    ("limit", "arguments"),
    [
        (80_000, ("generate", "spring", "--cards", "5")),
        (80_000, ("verify", "spring.batch.jsonl")),
        # Short of memory, a library can end the process of a command that talks to a server.
        (200_000, ("load", "--snapsets-only", "--url", "http://127.0.0.1:1", "--environment", "ci")),
    ],
)
def test_low_memory_limit_is_no_internal_error(tmp_path: Path, limit: int, arguments: tuple[str, ...]) -> None:
    """Under ``ulimit -v``, the error names the limit."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -v {limit}; exec "$0" -m dataloader "$@"', sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == ExitCode.FILE
    assert done.stderr.endswith(
        f"error: memory is limited to {limit * 1024 // 1_000_000} MB (ulimit -v), and at least 400 MB are needed "
        "(raise the limit: ulimit -v 400000)\n"
    ), done.stderr
