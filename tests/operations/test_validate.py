"""Validating files of every kind, folders, and the command ``validate``."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from dataloader.batch import note_revoked, read_manifest
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
    """A folder with a valid file of each kind, and some others."""
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
    """Return the problems of one file, one per line, without its path."""
    lines = [str(problem) for problem in check(path, snapsets, strict=strict).problems]
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(str(path)).removeprefix(", ") for line in lines]


# Kinds of files.


@pytest.mark.parametrize("name", RIGHT)
def test_each_kind_of_file_is_recognized(folder: Path, snapsets: Snapsets, name: str) -> None:
    """A file is checked by its kind, and a summary says what it contains."""
    checked = check(folder / name, snapsets)
    assert (checked.kind, checked.summary) == RIGHT[name]
    assert (checked.problems, checked.total_problems, checked.warnings) == ((), 0, ())


def test_folder_is_checked_recursively(folder: Path, snapsets: Snapsets) -> None:
    """In the order of paths; hidden files, schemas and other kinds of files are skipped."""
    found = [(checked.path.relative_to(folder).as_posix(), checked.kind) for checked in validate([folder], snapsets)]
    assert found == [(name, kind) for name, (kind, _) in RIGHT.items()]


def test_lists_of_revoked_cards_are_checked(folder: Path) -> None:
    """With the manifest next to them; other files that commands leave in folders are passed over."""
    manifest = read_manifest(folder / "batches" / "spring.batch.jsonl")
    note_revoked(manifest, [*manifest.cards()][:2], "lost", "ci")
    for name in ("details.jsonl", "x.backup.zst.verified.json", "library.documents.json"):
        (folder / "batches" / name).write_text('{"docs": []}')
    found = {each.path.name: each for each in validate([folder / "batches"], None)}
    assert {*found} == {"ci.batch.jsonl", "ci.xlsx", "spring.batch.jsonl", "spring.revoked.jsonl", "spring.xlsx"}
    assert [each.problems for each in found.values()] == [()] * 5
    listed = found["spring.revoked.jsonl"]
    assert (listed.kind, listed.summary) == ("list of revoked cards", "batch spring, 2 cards revoked")
    [documents] = validate([folder / "batches" / "library.documents.json"], None)
    assert "this is a file of documents (check it with `dataloader load --documents " in str(documents.problems[0])
    (alone := folder / "spring.revoked.jsonl").write_bytes(listed.path.read_bytes())
    [without] = validate([alone], None)
    assert "spring.batch.jsonl is not next to it" in str(without.problems[0])


def test_results_are_in_the_order_of_arguments(folder: Path, snapsets: Snapsets) -> None:
    """One result for each file, as often as it is named."""
    paths = [folder / "targets.toml", folder / "gpii-token", folder / "mine.json5", folder / "mine.json5"]
    found = [checked.path.name for checked in validate(paths, snapsets)]
    assert found == ["targets.toml", "auth.json5", "mine.json5", "mine.json5"]


def test_suffix_case_does_not_matter(folder: Path, snapsets: Snapsets) -> None:
    """Returned files may be named .XLSX."""
    shutil.copy(folder / "batches/spring.xlsx", folder / "SPRING.XLSX")
    shutil.copy(folder / "batches/spring.batch.jsonl", folder / "SPRING.BATCH.JSONL")
    assert check(folder / "SPRING.XLSX", snapsets).kind == "workbook"
    assert check(folder / "SPRING.BATCH.JSONL", snapsets).kind == "manifest"


@pytest.mark.parametrize("name", ["snapsets", "samples"])
def test_built_in_data_is_valid(snapsets: Snapsets, name: str) -> None:
    """Every snapset and sample passes the strict check without a warning; returned files have their own tests."""
    paths = [path for path in sorted(data_dir(name).iterdir()) if path.name not in {"README.md", "returned"}]
    found = list(validate(paths, snapsets, strict=True))
    assert {checked.kind for checked in found} >= ({"snapset"} if name == "snapsets" else {"snapset", "sample data"})
    assert [(checked.path, checked.problems, checked.warnings) for checked in found if checked.problems] == []
    assert all(checked.warnings == () for checked in found)


def test_unsupported_file_is_an_error(folder: Path) -> None:
    """A named file is never skipped silently; the error lists the supported kinds."""
    for name in ("README.md", "mine.schema.json"):
        checked = check(folder / name)
        assert checked.kind == "file"
        assert str(checked.problems[0]) == (
            f"{folder / name}: is neither a manifest or reconciled file (.jsonl), a workbook (.xlsx), a snapset, "
            "layout or sample data (.json5, .json) nor a target file (.toml) (leave it out)"
        )


@pytest.mark.parametrize("name", ["none.md", "none.jsonl", "none.xlsx", "none.json5", "none.toml", "README.md/x.json"])
def test_missing_file_is_a_file_error(folder: Path, name: str) -> None:
    """Whatever kind its name suggests."""
    with pytest.raises(FileError, match=r": (no such file or folder|not a folder) \("):
        list(validate([folder / name], None))


# Problems.


def test_snapsets_of_a_batch_are_checked(folder: Path, snapsets: Snapsets) -> None:
    """A manifest that names a missing snapset is reported now, not when it is loaded."""
    path = folder / "batches/spring.batch.jsonl"
    mine = Snapsets(folder, {})
    [problem] = problems(path, mine)
    assert problem == f'line 1: no snapset "snapset_3" in {folder} (must be one of: empty)'
    assert problems(path, snapsets) == []
    assert problems(path, None) == []


def test_every_problem_of_every_file_is_reported(folder: Path, snapsets: Snapsets) -> None:
    """One run finds everything, file by file, and continues after an invalid one."""
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


def test_unknown_term_is_a_warning_unless_strict(folder: Path) -> None:
    """The user decides."""
    path = folder / "mine.json5"
    path.write_text(snapset(dpiScale=1))
    said = f"context gpii-default: unknown term {COMMON}dpiScale (check its spelling)"
    checked = check(path)
    assert [str(warning) for warning in checked.warnings] == [f"{path}, {said}"]
    assert checked.problems == ()
    assert problems(path, strict=True) == [said]


def test_secret_of_a_site_is_not_repeated(folder: Path) -> None:
    """An invalid credentials file is reported without its secrets."""
    path = folder / "library.json"
    path.write_text(json.dumps({"site": 1, "clientCredentials": ["an-id", "hunter2"]}))
    assert problems(path) == [
        f": clientCredentials: the value must be an object {SEE_SITE}",
        f": site: the value must be a string {SEE_SITE}",
    ]


SAMPLE = "(see schemas/files/sample-data.schema.json)"
WRONG_SAMPLES: dict[str, tuple[list[Any], list[str]]] = {
    "nothing": ([], [f": [] should be non-empty {SAMPLE}"]),
    "something else": ([1], [f": 0: 1 must be an object {SAMPLE}"]),
    "no type": ([{"_id": "a"}], [f": 0: 'type' is missing {SAMPLE}"]),
    "an unknown type": (
        [{"_id": "a", "type": "gpiiKey"}],
        ["document a: model gpii-token has no type 'gpiiKey' (correct the type)"],
    ),
    "a document twice": ([USER, USER], ["document user-sam: occurs more than once (keep one)"]),
    "a password without a name": (
        [{name: value for name, value in USER.items() if name != "name"}],
        [f"document user-sam: 'password' needs 'name', too {SEE_USER}"],
    ),
    "several wrong documents": (
        [{**USER, "extra": 1}, {**TOKEN, "gpiiToken": ""}],
        [
            f"document user-sam: unknown member 'extra' {SEE_USER}",
            f"document gpiiToken-sam: gpiiToken: '' should be non-empty {SEE_TOKEN}",
            f"document gpiiToken-sam: gpiiToken: '' must be like '2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21' {SEE_TOKEN}",
        ],
    ),
}


@pytest.mark.parametrize(("documents", "expected"), WRONG_SAMPLES.values(), ids=WRONG_SAMPLES)
def test_invalid_sample_data_is_reported_by_document(folder: Path, documents: list[Any], expected: list[str]) -> None:
    """Each document is checked against the schema of its type, and must be unique."""
    path = folder / "gpii-token/auth.json5"
    path.write_text(json.dumps(documents))
    assert problems(path) == expected


@pytest.mark.parametrize("model", model_names())
def test_sample_data_must_be_in_its_folder(folder: Path, model: str) -> None:
    """The folder is named after the model and the file after the database; otherwise it is no sample data."""
    text = json.dumps([USER])
    path = folder / "auth.json5"
    path.write_text(text)
    assert problems(path) == [f": sample data must be in a folder named after its model {SEE_MODEL}"]
    (folder / model).mkdir(exist_ok=True)
    path = folder / model / "people.json5"
    path.write_text(text)
    assert problems(path)[0] == f": model {model} has no database 'people' (rename the file)"


def test_pipe_in_a_folder_does_not_block(folder: Path, command: Command) -> None:
    """Whatever its name."""
    os.mkfifo(folder / "zzz.json5")
    done = command("validate", folder, timeout=60)
    assert done.code == ExitCode.FILE
    assert f"error: {folder / 'zzz.json5'}: is not a regular file (save it as a file first)\n" in done.stderr


# The command.


def test_validate_command_without_problems(folder: Path, command: Command) -> None:
    """One line for each file on stdout, nothing on stderr, exit code 0; no server is needed."""
    done = command("validate", folder, env={"COUCHDB_URL": "http://127.0.0.1:1"})
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.splitlines() == [f"ok  {folder / name}: {kind}, {said}" for name, (kind, said) in RIGHT.items()]


def test_validate_command_reports_every_problem(folder: Path, command: Command) -> None:
    """Valid files on stdout, problems and warnings on stderr, exit code 3."""
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


def test_validate_command_prints_json(folder: Path, command: Command) -> None:
    """With --json, one object has every file with its kind, summary, problems and warnings."""
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


def test_validate_command_strict_makes_warnings_errors(folder: Path, command: Command) -> None:
    """A warning then ends with exit code 3."""
    path = folder / "mine.json5"
    path.write_text(snapset(dpiScale=1))
    relaxed, strict = command("validate", path), command("validate", "--strict", path)
    said = f"{path}, context gpii-default: unknown term {COMMON}dpiScale"
    assert (relaxed.code, relaxed.stderr) == (ExitCode.OK, f"warning: {said} (check its spelling)\n")
    assert (strict.code, strict.stdout) == (ExitCode.INPUT, "")
    assert strict.stderr == f"error: {said} (check its spelling)\n"


def test_validate_command_uses_the_given_snapsets(folder: Path, command: Command) -> None:
    """--snapsets selects another folder."""
    other = folder / "other"
    other.mkdir()
    (other / "mine.json5").write_text(snapset())
    done = command("validate", folder / "batches/spring.batch.jsonl", "--snapsets", other)
    assert done.code == ExitCode.INPUT
    assert done.stderr == (
        f'error: {folder}/batches/spring.batch.jsonl, line 1: no snapset "snapset_3" in {other} '
        "(must be one of: empty, mine)\n"
    )


@THOROUGH
def test_validate_command_limits_the_problems_shown(folder: Path, command: Command) -> None:
    """The rest are counted, in text and JSON."""
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


def test_folder_with_nothing_to_check_is_reported(tmp_path: Path, command: Command) -> None:
    """Nothing checked does not mean nothing wrong."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("x")
    done = command("validate", empty)
    assert done.code == ExitCode.INPUT
    assert done.stderr == f"error: {empty}: contains no file that can be checked (name a file, or another folder)\n"
    assert command("validate", empty / "none.toml").code == ExitCode.FILE
    assert command("validate").code == ExitCode.USAGE


def test_layout_of_ones_own_is_checked_as_one(here: Command, tmp_path: Path) -> None:
    """It is no broken snapset."""
    path = tmp_path / "my.json5"
    columns = [{"title": "NDEF text", "field": "uuid"}, {"title": "Chip UID"}]
    layout = {"description": "for Example Cards", "suffix": ".example.csv", "delimiter": ";", "columns": columns}
    path.write_text(json.dumps(layout))
    assert here("validate", path).stdout == f"ok  {path}: layout, for Example Cards\n"
    wrong = tmp_path / "wrong.json5"
    wrong.write_text(json.dumps({**layout, "columns": columns[1:]}))
    done = here("validate", wrong)
    assert done.code == ExitCode.INPUT
    assert "columns" in done.stderr
    assert "flat" not in done.stderr
