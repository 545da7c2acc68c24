"""The command ``snapsets``: snapsets in words, and their differences."""

import json
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from dataloader.common import ExitCode, data_dir
from dataloader.couch import Server
from dataloader.operations import all_sources, load
from dataloader.records import Snapsets, in_words
from dataloader.records.snapsets import APPLICATION_TERM, COMMON_TERM
from dataloader.target import Target
from tests.support.command import Command
from tests.support.records import flat, preferences_of
from tests.support.server import databases, delete, get, put

WORDS = {
    "gpii-token": [
        "magnifier on",
        "magnification 200 %",
        "magnifier position Lens",
        "high contrast on, high contrast theme hcblack.theme",
        "contrast theme of web pages wb",
        "support tools dictionary",
    ],
    "gpii-key": ["magnification 200 %", "magnifier position Lens", "high contrast theme white-black"],
}


@pytest.mark.parametrize("model", WORDS)
def test_show_describes_a_snapset_in_words(here: Command, model: str) -> None:
    """Steps, factors and switches are described in plain words, for each model."""
    done = here("snapsets", "show", "snapset_4d", "--model", model)
    title, *words = done.stdout.splitlines()
    assert done.code == ExitCode.OK
    assert title == f"snapset_4d  Magnifier Dark 200%  (model {model})"
    assert [each.strip() for each in words] == WORDS[model]


@pytest.mark.parametrize(("model", "count"), [("gpii-token", 11), ("gpii-key", 12)])
def test_list_shows_every_snapset_of_the_model(here: Command, model: str, count: int) -> None:
    """Display scaling is 125, 150 and 175 % in both, although one uses steps and the other a factor."""
    data = here("snapsets", "list", "--model", model, "--json").data
    assert (data["model"], len(data["snapsets"])) == (model, count)
    sets = {each["name"]: [*each["sets"].values()] for each in data["snapsets"]}
    for name, percent in (("snapset_1a", 125), ("snapset_1b", 150), ("snapset_1c", 175)):
        assert sets[name][0] == f"display scaling {percent} %"


def test_list_of_a_folder_without_snapsets_says_so(here: Command, tmp_path: Path) -> None:
    """Nothing at all would look like an error; so would the empty snapset."""
    done = here("snapsets", "list", "--snapsets", tmp_path)
    assert (done.code, done.stdout) == (ExitCode.OK, f"{tmp_path} contains no snapsets of model gpii-token\n")
    assert here("snapsets", "list", "--snapsets", tmp_path, "--json").data["snapsets"] == []
    assert here("snapsets", "show", "empty").stdout.splitlines()[1:] == ["  no settings"]


def test_diff_compares_two_snapsets(here: Command) -> None:
    """What only the first sets, and what only the second sets."""
    done = here("snapsets", "diff", "snapset_1a", "snapset_1b")
    assert done.stdout.splitlines() == [
        "snapset_1a, snapset_1b",
        "  - display scaling 125 %",
        "  + display scaling 150 %",
    ]
    assert here("snapsets", "diff", "snapset_3", "snapset_3").stdout == "no differences\n"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["diff"], ExitCode.USAGE, "needs two snapsets, or a target"),
        (["show"], ExitCode.USAGE, "takes one snapset"),
        (["copy"], ExitCode.USAGE, "takes one new folder"),
        (["copy", "new", "--snapsets", "nowhere"], ExitCode.FILE, "no such file or folder"),
        (["show", "snapset_1"], ExitCode.INPUT, "did you mean snapset_1"),
        (["show", "snapset_5"], ExitCode.INPUT, "only for model gpii-key"),
    ],
)
def test_unknown_snapset_is_an_error(here: Command, arguments: list[str], code: ExitCode, says: str) -> None:
    """Similar names are suggested."""
    done = here("snapsets", *arguments)
    assert (done.code, done.stdout) == (code, "")
    assert says in done.stderr


def test_copy_is_a_folder_to_edit(here: Command, tmp_path: Path) -> None:
    """The built-in snapsets of every model, or those of a folder; an existing folder is never changed."""
    copied = tmp_path / "my snapsets"
    done = here("snapsets", "copy", copied)
    assert done.code == ExitCode.OK
    names = {path.relative_to(data_dir("snapsets")) for path in data_dir("snapsets").glob("*/*.json5")}
    assert {path.relative_to(copied) for path in copied.rglob("*") if path.is_file()} == names
    assert done.stdout == f"copied {len(names)} snapsets to {copied}\n"
    for name in names:
        assert (copied / name).read_bytes() == (data_dir("snapsets") / name).read_bytes()
    assert here("validate", copied).code == ExitCode.OK
    again = here("snapsets", "copy", copied)
    assert (again.code, "already exists" in again.stderr) == (ExitCode.FILE, True)
    of_one = here("snapsets", "copy", tmp_path / "one", "--snapsets", copied / "gpii-key", "--json")
    assert of_one.data["copied"] == len([*(copied / "gpii-key").iterdir()])
    assert (tmp_path / "one" / "snapset_5.json5").is_file()


def test_interrupted_copy_leaves_no_folder(here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a full disk: an incomplete folder would be taken for all snapsets."""
    copied: list[Path] = []

    def fail(source: Path, to: Path) -> None:
        copied.append(to)
        to.write_bytes(source.read_bytes())
        if len(copied) == 3:
            raise KeyboardInterrupt
        if len(copied) == 6:
            raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("dataloader.records.snapsets.copyfile", fail)
    assert here("snapsets", "copy", tmp_path / "copy").code == ExitCode.INTERRUPTED
    assert not (tmp_path / "copy").exists()
    full = here("snapsets", "copy", tmp_path / "copy")
    assert (full.code, "no space left on device" in full.stderr) == (ExitCode.FILE, True)
    assert not (tmp_path / "copy").exists()


def test_diff_compares_the_folder_with_a_target(
    server: Server, target: Target, snapsets: Snapsets, run_here: Command
) -> None:
    """A snapset changed or deleted on the target, in words; no difference after a load, and an error before it."""
    missing = run_here("snapsets", "diff")
    assert (missing.code, missing.stdout) == (ExitCode.PROTOCOL, "")
    assert "does not exist (load the target first, or correct the model or the prefix)" in missing.stderr
    load(server, target, all_sources(target, [], snapsets))
    assert run_here("snapsets", "diff").stdout == "no differences\n"
    place = preferences_of(target.model.name, "snapset_4b")
    database = databases(server, target)[place.database]
    document = get(database, place.id)
    flat(document)["http://registry.gpii.net/common/magnification"] = 3
    put(database, document)
    delete(database, preferences_of(target.model.name, "snapset_3").id)
    done = run_here("snapsets", "diff", "--json")
    assert json.loads(done.stdout)["differences"] == [
        {"name": "snapset_3", "removed": [], "added": [], "missing": True},
        {"name": "snapset_4b", "removed": ["magnification 300 %"], "added": ["magnification 400 %"], "missing": False},
    ]


@pytest.mark.parametrize("value", [None, 5, "x", [1], {"a": 1}, {"value": []}, 10**400, -(10**400), True])
@pytest.mark.parametrize("place", range(6))
def test_any_preference_set_can_be_described(place: int, value: object) -> None:
    """Others may have written anything into a snapset on a target."""
    terms = [
        {f"{COMMON_TERM}magnification": value, f"{COMMON_TERM}DPIScale": value, f"{COMMON_TERM}other": value},
        {f"{APPLICATION_TERM}{name}": value for name in ("com.microsoft.windows.screenDPI", "any", "any/enabled")},
        {f"{APPLICATION_TERM}com.microsoft.windows.screenDPI": {"screen-dpi": value}},
    ]
    preferences = [{"flat": {"contexts": {"gpii-default": {"preferences": each}}}} for each in terms]
    outer: list[Any] = [{"flat": value}, {"flat": {"contexts": value}}, {"flat": {"contexts": {"one": value}}}]
    words = in_words([*preferences, *outer][place], "gpii-token")
    assert all(map(str.isprintable, words.values()))
