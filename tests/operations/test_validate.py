"""Checking files by what they are: each kind, folders, every problem of all of them, and the command for it."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from dataloader.common import SHOWN_PROBLEMS, ExitCode, FileError, data_dir
from dataloader.operations import generate, validate
from dataloader.operations.generate import Batch
from dataloader.operations.validate import Checked
from dataloader.records import Snapsets
from dataloader.records.models import model_names
from tests.support.command import Command
from tests.support.marks import THOROUGH

COMMON = "http://registry.gpii.net/common/"
TARGETS = """
[target.local]
url = "http://localhost"
environment = "ci"

[target.live]
url = "https://a"
environment = "production"
"""
SITE = {"site": "Example Library", "clientCredentials": {"client_id": "an-id", "client_secret": "hunter2"}}
USER = {"_id": "user-sam", "type": "user", "name": "sam", "password": "sam", "defaultGpiiToken": "sam"}
TOKEN = {"_id": "gpiiToken-sam", "type": "gpiiToken", "gpiiToken": "sam", "userId": "user-sam"}
SEE_SITE = "(see schemas/files/site-credentials.schema.json)"
SEE_USER = "(see schemas/gpii-token/user.schema.json)"
SEE_TOKEN = "(see schemas/gpii-token/gpiiToken.schema.json)"
SEE_MODEL = "(put it into a folder gpii-token or gpii-key)"


def snapset(**terms: Any) -> str:
    """Return a snapset's text with some common terms."""
    preferences = {f"{COMMON}{name}": value for name, value in terms.items()}
    return json.dumps({"flat": {"name": "Mine", "contexts": {"gpii-default": {"preferences": preferences}}}})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a right file of each kind, and some others."""
    folder = tmp_path / "inputs"
    generate("spring", {"snapset_3": 4, "empty": 1}, folder / "batches")
    generate("ci", {"empty": 2}, folder / "batches", seed=1)
    samples = folder / "gpii-token"
    samples.mkdir()
    (samples / "auth.json5").write_text(json.dumps([USER, TOKEN]))
    (folder / "library.json").write_text(json.dumps(SITE))
    (folder / "mine.json5").write_text(snapset(DPIScale=1))
    (folder / "targets.toml").write_text(TARGETS)
    (folder / "README.md").write_text("x")
    (folder / "mine.schema.json").write_text("{}")
    (folder / ".hidden.json5").write_text("{")
    (folder / ".git").mkdir()
    (folder / ".git/config.toml").write_text("{")
    return folder


RIGHT = {
    "batches/ci.batch.jsonl": ("manifest", "batch ci, 2 cards, reproducible"),
    "batches/ci.xlsx": ("workbook", "batch ci, 2 cards"),
    "batches/spring.batch.jsonl": ("manifest", "batch spring, 5 cards"),
    "batches/spring.xlsx": ("workbook", "batch spring, 5 cards"),
    "gpii-token/auth.json5": ("sample data", "2 documents for auth"),
    "library.json": ("site credentials", "site Example Library"),
    "mine.json5": ("snapset", "Mine"),
    "targets.toml": ("target file", "targets local, live"),
}


def check(path: Path, snapsets: Snapsets | None = None, *, strict: bool = False) -> Checked:
    """Check one file."""
    [checked] = validate([path], snapsets, strict=strict)
    assert checked.path == path
    assert bool(checked.summary) == (not checked.problems)
    return checked


def problems(path: Path, snapsets: Snapsets | None = None, *, strict: bool = False) -> list[str]:
    """Return the problems of one file, a line each, without its path."""
    lines = [str(problem) for problem in check(path, snapsets, strict=strict).problems]
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(str(path)).removeprefix(", ") for line in lines]


# What a file is.


@pytest.mark.parametrize("name", RIGHT)
def test_each_kind_of_file_is_told_by_itself(folder: Path, snapsets: Snapsets, name: str) -> None:
    """A file is checked as what it is, and a few words say what is in it."""
    checked = check(folder / name, snapsets)
    assert (checked.kind, checked.summary) == RIGHT[name]
    assert (checked.problems, checked.total_problems, checked.warnings) == ((), 0, ())


def test_a_folder_is_checked_with_all_that_is_in_it(folder: Path, snapsets: Snapsets) -> None:
    """Folders in it too, in the order of paths; hidden files, schemas and other kinds of file are passed over."""
    found = [(checked.path.relative_to(folder).as_posix(), checked.kind) for checked in validate([folder], snapsets)]
    assert found == [(name, kind) for name, (kind, _) in RIGHT.items()]


def test_files_and_folders_come_in_the_order_in_which_they_are_given(folder: Path, snapsets: Snapsets) -> None:
    """A result a file, as often as it is named."""
    paths = [folder / "targets.toml", folder / "gpii-token", folder / "mine.json5", folder / "mine.json5"]
    found = [checked.path.name for checked in validate(paths, snapsets)]
    assert found == ["targets.toml", "auth.json5", "mine.json5", "mine.json5"]


def test_letter_case_of_a_suffix_does_not_matter(folder: Path, snapsets: Snapsets) -> None:
    """What comes back from a vendor's computer may be called .XLSX."""
    shutil.copy(folder / "batches/spring.xlsx", folder / "SPRING.XLSX")
    shutil.copy(folder / "batches/spring.batch.jsonl", folder / "SPRING.BATCH.JSONL")
    assert check(folder / "SPRING.XLSX", snapsets).kind == "workbook"
    assert check(folder / "SPRING.BATCH.JSONL", snapsets).kind == "manifest"


@pytest.mark.parametrize("name", ["snapsets", "samples"])
def test_the_projects_own_files_are_right(snapsets: Snapsets, name: str) -> None:
    """Every snapset and sample passes the strictest check, without a warning; what came back has its own tests."""
    paths = [path for path in sorted(data_dir(name).iterdir()) if path.name not in {"README.md", "returned"}]
    found = list(validate(paths, snapsets, strict=True))
    assert {checked.kind for checked in found} >= ({"snapset"} if name == "snapsets" else {"snapset", "sample data"})
    assert [(checked.path, checked.problems, checked.warnings) for checked in found if checked.problems] == []
    assert all(checked.warnings == () for checked in found)


def test_a_file_of_another_kind_is_told_what_could_be_checked(folder: Path) -> None:
    """A file that is named is never passed over in silence."""
    for name in ("README.md", "mine.schema.json"):
        checked = check(folder / name)
        assert checked.kind == "file"
        assert str(checked.problems[0]) == (
            f"{folder / name}: is neither a manifest or reconciled file (.jsonl), a workbook (.xlsx), a snapset or "
            "sample data (.json5, .json) nor a target file (.toml) (leave it out)"
        )


@pytest.mark.parametrize("name", ["none.md", "none.jsonl", "none.xlsx", "none.json5", "none.toml", "README.md/x.json"])
def test_a_path_that_is_not_there_is_an_error_about_the_file(folder: Path, name: str) -> None:
    """Whatever kind its name promises."""
    with pytest.raises(FileError, match=r": (no such file or directory|not a directory) \("):
        list(validate([folder / name], None))


# What is wrong in it.


def test_a_batchs_snapsets_are_looked_for(folder: Path, snapsets: Snapsets) -> None:
    """A manifest that names a snapset that is not there is told now, not when it is loaded."""
    path = folder / "batches/spring.batch.jsonl"
    mine = Snapsets(folder, {})
    [problem] = problems(path, mine)
    assert problem == f"line 1: there is no snapset 'snapset_3' in {folder} (must be one of: empty)"
    assert problems(path, snapsets) == []
    assert problems(path, None) == []


def test_every_problem_of_every_file_is_told(folder: Path, snapsets: Snapsets) -> None:
    """One run finds all there is to be found, file by file, and goes on behind a wrong one."""
    (folder / "batches/spring.batch.jsonl").write_text("x\n")
    (folder / "batches/spring.xlsx").write_text("x")
    (folder / "gpii-token/auth.json5").write_text(json.dumps([USER, USER, {**TOKEN, "userId": "x"}]))
    (folder / "library.json").write_text('{"site": ""}')
    (folder / "mine.json5").write_text(snapset(DPIScale=9, volume=2))
    (folder / "targets.toml").write_text("[target.a]\n")
    (folder / "broken.json").write_text("{")
    found = {checked.path.relative_to(folder).as_posix(): checked for checked in validate([folder], snapsets)}
    assert {name: (checked.kind, len(checked.problems)) for name, checked in found.items()} == {
        "batches/ci.batch.jsonl": ("manifest", 0),
        "batches/ci.xlsx": ("workbook", 0),
        "batches/spring.batch.jsonl": ("manifest", 1),
        "batches/spring.xlsx": ("workbook", 1),
        "broken.json": ("data", 1),
        "gpii-token/auth.json5": ("sample data", 2),
        "library.json": ("site credentials", 2),
        "mine.json5": ("snapset", 2),
        "targets.toml": ("target file", 2),
    }
    assert all(checked.total_problems == len(checked.problems) for checked in found.values())


def test_an_unknown_term_is_a_warning_and_with_strict_an_error(folder: Path) -> None:
    """The user decides which of the two it is."""
    path = folder / "mine.json5"
    path.write_text(snapset(dpiScale=1))
    said = f"context gpii-default: unknown term {COMMON}dpiScale (check its spelling)"
    checked = check(path)
    assert [str(warning) for warning in checked.warnings] == [f"{path}, {said}"]
    assert checked.problems == ()
    assert problems(path, strict=True) == [said]


def test_a_sites_secret_is_not_repeated(folder: Path) -> None:
    """A wrong file of a site's credentials is told without them."""
    path = folder / "library.json"
    path.write_text(json.dumps({"site": 1, "clientCredentials": ["an-id", "hunter2"]}))
    assert problems(path) == [
        f": clientCredentials: the value is not of type 'object' {SEE_SITE}",
        f": site: the value is not of type 'string' {SEE_SITE}",
    ]


SAMPLE = "(see schemas/files/sample-data.schema.json)"
WRONG_SAMPLES: dict[str, tuple[list[Any], list[str]]] = {
    "nothing": ([], [f": [] should be non-empty {SAMPLE}"]),
    "something else": ([1], [f": 0: 1 is not of type 'object' {SAMPLE}"]),
    "no type": ([{"_id": "a"}], [f": 0: 'type' is a required property {SAMPLE}"]),
    "an unknown type": (
        [{"_id": "a", "type": "gpiiKey"}],
        ["document a: model gpii-token has no type 'gpiiKey' (correct the type)"],
    ),
    "a document twice": ([USER, USER], ["document user-sam: occurs more than once (keep one)"]),
    "a password without a name": (
        [{name: value for name, value in USER.items() if name != "name"}],
        [f"document user-sam: 'name' is a dependency of 'password' {SEE_USER}"],
    ),
    "several wrong documents": (
        [{**USER, "extra": 1}, {**TOKEN, "gpiiToken": ""}],
        [
            f"document user-sam: Additional properties are not allowed ('extra' was unexpected) {SEE_USER}",
            f"document gpiiToken-sam: gpiiToken: '' should be non-empty {SEE_TOKEN}",
            f"document gpiiToken-sam: gpiiToken: '' does not match '^[^_]' {SEE_TOKEN}",
        ],
    ),
}


@pytest.mark.parametrize(("documents", "expected"), WRONG_SAMPLES.values(), ids=WRONG_SAMPLES)
def test_what_is_wrong_in_sample_data_is_told_by_document(
    folder: Path, documents: list[Any], expected: list[str]
) -> None:
    """Each document is checked against the schema of its type, and each is there once."""
    path = folder / "gpii-token/auth.json5"
    path.write_text(json.dumps(documents))
    assert problems(path) == expected


@pytest.mark.parametrize("model", model_names())
def test_sample_data_stands_where_its_database_is_told(folder: Path, model: str) -> None:
    """The folder is named after the model and the file after the database, or it is not sample data."""
    text = json.dumps([USER])
    path = folder / "auth.json5"
    path.write_text(text)
    assert problems(path) == [f": sample data stands in a folder named after its model {SEE_MODEL}"]
    (folder / model).mkdir(exist_ok=True)
    path = folder / model / "people.json5"
    path.write_text(text)
    assert problems(path)[0] == f": model {model} has no database 'people' (rename the file)"


def test_a_pipe_in_a_folder_does_not_keep_us_waiting(folder: Path, command: Command) -> None:
    """Whatever a pipe is called, nobody waits for what may never come."""
    os.mkfifo(folder / "zzz.json5")
    done = command("validate", folder, timeout=60)
    assert done.code == ExitCode.FILE
    assert f"error: {folder / 'zzz.json5'}: is not a regular file (save it as a file first)\n" in done.stderr


# The command.


def test_the_command_says_what_is_right(folder: Path, command: Command) -> None:
    """A line a file on stdout, nothing on stderr, exit code 0; no server is needed."""
    done = command("validate", folder, env={"COUCHDB_URL": "http://127.0.0.1:1"})
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.splitlines() == [f"ok  {folder / name}: {kind}, {said}" for name, (kind, said) in RIGHT.items()]


def test_the_command_says_all_that_is_wrong(folder: Path, command: Command) -> None:
    """Right files on stdout, problems and warnings on stderr, exit code 3."""
    (folder / "mine.json5").write_text(snapset(DPIScale=9))
    (folder / "other.json5").write_text(snapset(dpiScale=1))
    (folder / "targets.toml").write_text("x")
    done = command(
        "validate", folder / "targets.toml", folder / "mine.json5", folder / "other.json5", folder / "library.json"
    )
    assert done.code == ExitCode.INPUT
    assert done.stdout.splitlines() == [
        f"ok  {folder}/other.json5: snapset, Mine",
        f"ok  {folder}/library.json: site credentials, site Example Library",
    ]
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"warning: {folder}/other.json5, context gpii-default: unknown term {COMMON}dpiScale ")
    assert lines[1].startswith(f"error: {folder}/targets.toml: is not TOML: ")
    assert lines[2].startswith(
        f"error: {folder}/mine.json5, context gpii-default: {COMMON}DPIScale: 9 is greater than "
    )
    assert len(lines) == 3


def test_the_command_tells_programs_as_json(folder: Path, command: Command) -> None:
    """With --json one object has every file with its kind, its summary, its problems and its warnings."""
    (folder / "library.json").write_text("{")
    done = command("validate", "--json", folder / "targets.toml", folder / "library.json")
    assert done.code == ExitCode.INPUT
    first, second = done.data["files"]
    assert first == {
        "path": f"{folder}/targets.toml",
        "kind": "target file",
        "valid": True,
        "summary": "targets local, live",
        "problems": [],
        "warnings": [],
    }
    assert (second["path"], second["kind"], second["valid"]) == (f"{folder}/library.json", "data", False)
    assert second["problems"] == [
        f"{folder}/library.json, line 1, column 2: is not JSON5: Unexpected end of input (correct the syntax)"
    ]
    assert done.data["problems"] == 1


def test_with_strict_the_command_takes_an_unknown_term_for_an_error(folder: Path, command: Command) -> None:
    """What is a warning without it ends with exit code 3."""
    path = folder / "mine.json5"
    path.write_text(snapset(dpiScale=1))
    relaxed, strict = command("validate", path), command("validate", "--strict", path)
    said = f"{path}, context gpii-default: unknown term {COMMON}dpiScale"
    assert (relaxed.code, relaxed.stderr) == (ExitCode.OK, f"warning: {said} (check its spelling)\n")
    assert (strict.code, strict.stdout) == (ExitCode.INPUT, "")
    assert strict.stderr == f"error: {said} (check its spelling)\n"


def test_the_command_looks_for_a_batchs_snapsets_where_it_is_told(folder: Path, command: Command) -> None:
    """With --snapsets another folder's are meant."""
    other = folder / "other"
    other.mkdir()
    (other / "mine.json5").write_text(snapset())
    done = command("validate", folder / "batches/spring.batch.jsonl", "--snapsets", other)
    assert done.code == ExitCode.INPUT
    assert done.stderr == (
        f"error: {folder}/batches/spring.batch.jsonl, line 1: there is no snapset 'snapset_3' in {other} "
        "(must be one of: empty, mine)\n"
    )


@THOROUGH
def test_of_very_many_problems_the_command_shows_the_first(folder: Path, command: Command) -> None:
    """The rest is counted, in words and in JSON."""
    batch: Batch = generate("large", {"empty": 100}, folder)
    book = openpyxl.load_workbook(batch.workbook)
    for row in book["Cards"].iter_rows(min_row=2):
        row[1].value = "x"
    book.save(batch.workbook)
    done = command("validate", batch.workbook)
    assert done.code == ExitCode.INPUT
    lines = done.stderr.splitlines()
    assert len(lines) == SHOWN_PROBLEMS + 1
    assert lines[-1] == f"error: and {102 - SHOWN_PROBLEMS} more problems"
    assert command("validate", "--json", batch.workbook).data["problems"] == 102


def test_a_folder_with_nothing_to_check_is_told(tmp_path: Path, command: Command) -> None:
    """Nothing checked is not the same as nothing wrong."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("x")
    done = command("validate", empty)
    assert done.code == ExitCode.INPUT
    assert done.stderr == f"error: {empty}: holds no file that can be checked (name a file, or another folder)\n"
    assert command("validate", empty / "none.toml").code == ExitCode.FILE
    assert command("validate").code == ExitCode.USAGE
