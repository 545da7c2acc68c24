"""Reading snapsets, and reporting everything that is wrong in one."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import json5
import pytest

from dataloader.common import ExitCode, FileError, InputError, data_dir, prepare, read_json5
from dataloader.records import Snapsets, read_snapset, read_snapsets
from dataloader.records.models import Role, get_model
from dataloader.records.snapsets import known_terms

COMMON = "http://registry.gpii.net/common/"
APPLICATION = "http://registry.gpii.net/applications/org.example.reader"
EMPTY = {"flat": {"contexts": {"gpii-default": {"name": "Default preferences", "preferences": {}}}}}
TITLES = {
    "snapset_1a": "Larger 125%",
    "snapset_1b": "Larger 150%",
    "snapset_1c": "Larger 175%",
    "snapset_2a": "Dark & Larger 125%",
    "snapset_2b": "Dark & Larger 150%",
    "snapset_2c": "Dark & Larger 175%",
    "snapset_3": "Read To Me",
    "snapset_4a": "Magnifier 200%",
    "snapset_4b": "Magnifier 400%",
    "snapset_4c": "Large + Magnifier 200%",
    "snapset_4d": "Magnifier Dark 200%",
    "snapset_5": "Voice Control with Increased Size",
}
CREATED = {"gpii-token": "2017-11-01T00:00:00.000Z", "gpii-key": "2020-11-23T00:00:00.000Z"}
OWN = [(model, path.stem) for model in CREATED for path in sorted((data_dir("snapsets") / model).glob("*.json5"))]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a snapset's file: ``write(text)``."""

    def write(text: str | bytes, name: str = "mine.json5") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def with_preferences(preferences: str) -> str:
    """Return a snapset's text with these preferences, written as JSON5."""
    return f'{{flat: {{name: "Mine", contexts: {{"gpii-default": {{name: "D", preferences: {{{preferences}}}}}}}}}}}'


def term(name: str, value: str) -> str:
    """Return a snapset's text with one common term."""
    return with_preferences(f'"{COMMON}{name}": {value}')


def refusal(path: Path, *, strict: bool = False) -> list[str]:
    """Return the lines of the error raised by reading a snapset, without its path."""
    with pytest.raises(InputError) as caught:
        read_snapset(path, "gpii-key", strict=strict)
    assert caught.value.exit_code is ExitCode.INPUT
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(str(path)).removeprefix(", ") for line in lines]


# The project's own.


@pytest.mark.parametrize("model", CREATED)
def test_each_model_has_its_snapsets(snapsets: Snapsets, model: str) -> None:
    """Each is named after its file and has a display name; voice control did not exist in the servers of 2017."""
    titles = {name: title for name, title in TITLES.items() if model == "gpii-key" or name != "snapset_5"}
    found = snapsets.of(model)
    assert {snapset.name: snapset.title for snapset in found} == titles
    assert list(found.by_name) == sorted(titles)
    assert found.names() == ["empty", *sorted(titles)]
    assert read_snapsets(None, model) == found


def test_snapsets_of_all_models_can_be_read(snapsets: Snapsets) -> None:
    """A batch can be minted before it is known which model it will be loaded for."""
    assert list(snapsets.by_name) == sorted(TITLES)
    assert snapsets.problems_of("snapset_5", "--snapset") == ()
    assert snapsets.of("gpii-key").problems_of("snapset_5", "--snapset") == ()
    [problem] = snapsets.of("gpii-token").problems_of("snapset_5", "--snapset")
    assert problem.rule == f'no snapset "snapset_5" in {data_dir("snapsets")}/gpii-token, only for model gpii-key'


@pytest.mark.parametrize(("model", "name"), OWN)
def test_snapset_content_is_the_whole_file(snapsets: Snapsets, model: str, name: str) -> None:
    """The content is that of the file; only the creation time is kept separately."""
    snapset = snapsets.of(model).get(name)
    assert snapset is not None
    text = (data_dir("snapsets") / model / f"{name}.json5").read_text("utf-8")
    content = json5.loads(text)
    assert snapset.created == content.pop("timestampCreated") == CREATED[model]
    assert snapset.preferences == content
    assert content["flat"]["contexts"]["gpii-default"]["preferences"]
    assert text.startswith("// For people ")


def test_built_in_data_uses_known_terms_only(snapsets: Snapsets) -> None:
    """Our snapsets and personas pass the strict check without a warning."""
    assert snapsets.warnings == ()
    for folder in (data_dir("snapsets"), data_dir("samples") / "personas"):
        assert read_snapsets(folder, strict=True).warnings == ()


def test_snapsets_of_2017_match_what_was_published(snapsets: Snapsets) -> None:
    """Terms and values of GPII/universal at 679829561, testData/preferences/snapset_*.json (2017-11-01)."""
    applications = "http://registry.gpii.net/applications"
    tools = {f"{COMMON}supportTool": ["dictionary"]}
    pointer = {f"{COMMON}cursorSize": 1}
    dark = {
        f"{applications}/com.microsoft.windows.highContrast": {
            "HighContrastOn": {"path": "pvParam.dwFlags.HCF_HIGHCONTRASTON", "value": True},
            "LastHighContrastTheme": "%SystemRoot%\\resources\\Ease of Access Themes\\hcblack.theme",
        },
        f"{applications}/net.gpii.uioPlus": {"contrastTheme": "wb"},
    }

    def scale(factor: float) -> dict[str, Any]:
        return {f"{applications}/com.microsoft.windows.screenDPI": {"screen-dpi": factor}}

    def lens(factor: float) -> dict[str, Any]:
        return {
            f"{COMMON}magnifierEnabled": True,
            f"{COMMON}magnification": factor,
            f"{COMMON}magnifierPosition": "Lens",
            **tools,
        }

    assert {each.name: each.preferences["flat"]["contexts"] for each in snapsets.of("gpii-token")} == {
        f"snapset_{name}": {"gpii-default": {"name": "Default preferences", "preferences": preferences}}
        for name, preferences in {
            "1a": scale(1.25) | pointer | tools,
            "1b": scale(1.5) | pointer | tools,
            "1c": scale(1.75) | pointer | tools,
            "2a": scale(1.25) | pointer | dark,
            "2b": scale(1.5) | pointer | dark,
            "2c": scale(1.75) | pointer | dark,
            "3": scale(1.5) | pointer | tools | {f"{COMMON}selfVoicingEnabled": True},
            "4a": lens(2),
            "4b": lens(4),
            "4c": lens(2) | scale(1.75),
            "4d": lens(2) | dark,
        }.items()
    }


def test_empty_snapset_is_built_in(snapsets: Snapsets, tmp_path: Path) -> None:
    """A card can start empty with any folder of snapsets; the built-in set has no documents of its own."""
    for each in (snapsets, read_snapsets(tmp_path)):
        empty = each.get("empty")
        assert empty is not None
        assert empty.preferences == EMPTY
        assert empty.title == "empty"
        assert "empty" not in [snapset.name for snapset in each]
        assert "empty" in each.names()
    assert snapsets.get("snapset_9") is None


def test_empty_snapset_can_be_replaced(tmp_path: Path, write: Write) -> None:
    """A file of that name in the folder takes precedence."""
    write(with_preferences(""), "empty.json5")
    found = read_snapsets(tmp_path)
    empty = found.get("empty")
    assert empty is not None
    assert empty.title == "Mine"
    assert found.names() == ["empty"]


@pytest.mark.parametrize(
    ("name", "todo"),
    [
        ("snapset_1", "did you mean snapset_1a or snapset_1b?"),
        ("snapset1b", "did you mean snapset_1b?"),
        ("reader", "must be one of: empty, snapset_1a, snapset_1b"),
    ],
)
def test_unknown_snapset_suggests_similar_names(tmp_path: Path, write: Write, name: str, todo: str) -> None:
    """The problem names where the snapset was requested, the folder, and similar names."""
    write(with_preferences(""), "snapset_1a.json5")
    write(with_preferences(""), "snapset_1b.json5")
    [problem] = read_snapsets(tmp_path).problems_of(name, "spring.batch.jsonl")
    assert str(problem) == f'spring.batch.jsonl: no snapset "{name}" in {tmp_path} ({todo})'


# What is accepted.


def test_snapset_without_display_name_is_accepted(write: Write) -> None:
    """Sets from 2017 are plain JSON without a display name or time; the file's name is used instead."""
    text = json.dumps(
        {
            "flat": {
                "contexts": {
                    "gpii-default": {
                        "name": "Default preferences",
                        "preferences": {
                            "http://registry.gpii.net/applications/com.microsoft.windows.screenDPI": {
                                "screen-dpi": 1.25
                            },
                            f"{COMMON}cursorSize": 1.0,
                            f"{COMMON}supportTool": ["dictionary"],
                        },
                    }
                }
            }
        }
    )
    snapset, warnings = read_snapset(write(text, "snapset_1a.json"))
    assert (snapset.name, snapset.title, warnings) == ("snapset_1a", "snapset_1a", [])
    assert snapset.created == "1970-01-01T00:00:00.000Z"
    assert snapset.preferences == json.loads(text)


@pytest.mark.parametrize(("one", "other"), [("1.0", "1"), ("-0.0", "0"), ("1e0", "+1"), ("0x1", "1."), (".5", "0.50")])
@pytest.mark.parametrize("model", ["gpii-token", "gpii-key"])
def test_equal_numbers_give_equal_revisions(write: Write, model: str, one: str, other: str) -> None:
    """A set with 1.0 instead of 1 is the same, and its documents have the same revisions."""
    sets = [read_snapset(write(term("cursorSize", number)))[0] for number in (one, other)]
    assert sets[0] == sets[1]
    revisions = [
        [prepare(kind.document(each.entry(Role.SNAPSET))).rev for kind in get_model(model).kinds] for each in sets
    ]
    assert revisions[0] == revisions[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cursorSize", "0.3"),
        ("cursorSize", "0.7"),
        ("fontSize", "12.3"),
        ("magnification", "1.1"),
        ("wordSpace", "-0.7"),
        ("fontSize", "900719925474.1"),
    ],
)
def test_steps_of_a_tenth_are_decimal(write: Write, name: str, value: str) -> None:
    """0.3 is a multiple of 0.1, whatever binary fractions say."""
    snapset, warnings = read_snapset(write(term(name, value)))
    assert snapset.preferences["flat"]["contexts"]["gpii-default"]["preferences"] == {COMMON + name: float(value)}
    assert warnings == []


def test_json5_syntax_is_accepted(write: Write) -> None:
    """Comments, single quotes, unquoted names, trailing commas and a byte order mark are allowed."""
    text = f"""// For trials.
        {{flat: {{'name': 'Mine', /* one */ contexts: {{'gpii-default': {{preferences: {{
            '{COMMON}DPIScale': +1,
        }},}},}},}},}}"""
    plain, _ = read_snapset(write(text))
    marked, _ = read_snapset(write(b"\xef\xbb\xbf" + text.encode()))
    assert plain == marked
    assert plain.title == "Mine"


def test_additional_members_are_kept(write: Write) -> None:
    """A set and its contexts may have more members than are described; none is lost."""
    text = """{flat: {more: [1], name: "Mine", contexts: {
        "gpii-default": {preferences: {}, more: {a: null}},
        night: {name: "Night", preferences: {}, conditions: [{type: "x"}], metadata: [{type: "y"}]},
    }}}"""
    snapset, warnings = read_snapset(write(text))
    assert snapset.preferences == json5.loads(text)
    assert warnings == []


@pytest.mark.parametrize("written", ["😀", r"\ud83d\ude00", r"\uD83D\uDE00"])
def test_characters_as_surrogate_escapes_are_accepted(write: Write, written: str) -> None:
    """A character beyond 16 bits is the same as itself or as two JSON escapes."""
    path = write(
        f'{{flat: {{name: "Mine {written}", contexts: {{"gpii-default": {{preferences: '
        f'{{"{APPLICATION}": {{"{written}": ["{written}"]}}}}}}}}}}}}'
    )
    snapset, _ = read_snapset(path)
    assert snapset.title == "Mine 😀"
    assert snapset.preferences["flat"]["contexts"]["gpii-default"]["preferences"] == {APPLICATION: {"😀": ["😀"]}}
    for kind in get_model("gpii-key").kinds:
        prepare(kind.document(snapset.entry()))


# What is not.

SEE = "(see schemas/files/snapset.schema.json)"
SEE_TERMS = "(see schemas/terms/gpii-key.schema.json)"
SYNTAX = "(correct the syntax)"
TOO_LARGE = "(remove what does not belong there)"
CHOICES = "default, yellow, green, pink"

WRONG: dict[str, tuple[str | bytes, list[str]]] = {
    "nothing": ("", [f": is not JSON5: Empty strings are not legal JSON5 {SYNTAX}"]),
    "a comment only": ("// nothing", [f"line 1, column 11: is not JSON5: Unexpected end of input {SYNTAX}"]),
    "a comma left out": (
        '{\n  flat: {\n    name: "Mine"\n    contexts: {}\n  }\n}',
        [f'line 4, column 5: is not JSON5: Unexpected "c" {SYNTAX}'],
    ),
    "a bracket left out": (
        '{\n  flat: {name: "Mine"}\n',
        [f"line 3, column 1: is not JSON5: Unexpected end of input {SYNTAX}"],
    ),
    "not UTF-8": ('{flat: "Größe"}'.encode("latin-1"), [": is not UTF-8 text (save it as UTF-8)"]),
    "UTF-16": ("{flat: 1}".encode("utf-16"), [": is not UTF-8 text (save it as UTF-8)"]),
    "a key twice": (
        "{flat: {}, flat: {}}",
        [f': is not JSON5: Duplicate key "flat" found in object {SYNTAX}'],
    ),
    "a term twice": (
        with_preferences(f'"{COMMON}DPIScale": 1, "{COMMON}DPIScale": 2'),
        [f': is not JSON5: Duplicate key "{COMMON}DPIScale" found in object {SYNTAX}'],
    ),
    "half a character": (
        with_preferences(f'"{APPLICATION}": {{a: "\\ud83d"}}'),
        [f": is not JSON5: '\\ud83d' contains half a surrogate pair {SYNTAX}"],
    ),
    "no number": (term("fontSize", "NaN"), [f": is not JSON5: nan is not a number in JSON {SYNTAX}"]),
    "no end": (term("fontSize", "Infinity"), [f": is not JSON5: inf is not a number in JSON {SYNTAX}"]),
    "no end below": (term("fontSize", "-Infinity"), [f": is not JSON5: -inf is not a number in JSON {SYNTAX}"]),
    "beyond a double": (term("fontSize", "1e999"), [f": is not JSON5: inf is not a number in JSON {SYNTAX}"]),
    "beyond exact numbers": (
        term("fontSize", "9007199254740993"),
        [f": is not JSON5: 9007199254740993 is too large to be kept exactly (at most 2**53 - 1) {SYNTAX}"],
    ),
    "beyond exact numbers, with an exponent": (
        term("fontSize", "1e16"),
        [f": is not JSON5: 10000000000000000 is too large to be kept exactly (at most 2**53 - 1) {SYNTAX}"],
    ),
    "nested deeply in lists": ("[" * 100_000, [f": is not JSON5: is nested too deeply {SYNTAX}"]),
    "larger than JSON5 may be": (
        f"/*{'*' * 100_000}*/ {{}}",
        [
            f": has 100,007 bytes; at most 100,000 are allowed, unless it is plain JSON {TOO_LARGE}",
        ],
    ),
    "a huge number": ('{"a": ' + "9" * 5000 + "}", [f": is not JSON5: a number has too many digits {SYNTAX}"]),
    "nested deeply in objects": ("{a:" * 20_000, [f": is not JSON5: is nested too deeply {SYNTAX}"]),
    "nested deeply and whole": (
        with_preferences(f'"{APPLICATION}": {{a: {"[" * 5000}{"]" * 5000}}}'),
        [f": is not JSON5: is nested too deeply {SYNTAX}"],
    ),
    "a list": ("[1]", [f": [1] must be an object {SEE}"]),
    "a field too many": (
        "{flat: {contexts: {'gpii-default': {preferences: {}}}}, name: 'Mine'}",
        [f": unknown member 'name' {SEE}"],
    ),
    "no set": ("{timestampCreated: '2020-11-23T00:00:00.000Z'}", [f": 'flat' is missing {SEE}"]),
    "no default context": (
        "{flat: {contexts: {night: {preferences: {}}}}}",
        [f": flat.contexts: 'gpii-default' is missing {SEE}"],
    ),
    "no preferences": (
        "{flat: {contexts: {'gpii-default': {name: 'D'}}}}",
        [f": flat.contexts.gpii-default: 'preferences' is missing {SEE}"],
    ),
    "a wrong name for people": (
        "{flat: {name: 1, contexts: {'gpii-default': {preferences: {}}}}}",
        [f": flat.name: 1 must be a string {SEE}"],
    ),
    "an application's settings that are none": (
        with_preferences(f'"{APPLICATION}": "on"'),
        [f": flat.contexts.gpii-default.preferences.{APPLICATION}: 'on' must be an object {SEE}"],
    ),
    "an application that is enabled by a string": (
        with_preferences(f'"{APPLICATION}/enabled": "on"'),
        [f": flat.contexts.gpii-default.preferences.{APPLICATION}/enabled: 'on' must be true or false {SEE}"],
    ),
    "a set without a view": ("{}", [f": 'flat' is missing {SEE}"]),
    "a value of a wrong type": (
        term("highContrast/enabled", '"yes"'),
        [f"context gpii-default: {COMMON}highContrast/enabled: 'yes' must be true or false {SEE_TERMS}"],
    ),
    "a value too large": (
        term("DPIScale", "5"),
        [f"context gpii-default: {COMMON}DPIScale: 5 is greater than the maximum of 4 {SEE_TERMS}"],
    ),
    "a value between steps": (
        term("cursorSize", "0.35"),
        [f"context gpii-default: {COMMON}cursorSize: 0.35 is not a multiple of 0.1 {SEE_TERMS}"],
    ),
    "a value hardly between steps": (
        term("cursorSize", "0.30000000000000004"),
        [f"context gpii-default: {COMMON}cursorSize: 0.30000000000000004 is not a multiple of 0.1 {SEE_TERMS}"],
    ),
    "a fraction of a step": (
        term("DPIScale", "1.5"),
        [f"context gpii-default: {COMMON}DPIScale: 1.5 must be a whole number {SEE_TERMS}"],
    ),
    "an unknown choice": (
        term("highlightColor", '"blue"'),
        [
            f"context gpii-default: {COMMON}highlightColor: 'blue' must be one of: {CHOICES} {SEE_TERMS}",
        ],
    ),
    "several things in several contexts": (
        f"""{{flat: {{contexts: {{
            "gpii-default": {{preferences: {{"{COMMON}volume": 2, "{COMMON}pitch": true}}}},
            night: {{preferences: {{"{COMMON}volume": -1}}}},
        }}}}}}""",
        [
            f"context gpii-default: {COMMON}pitch: True must be a number {SEE_TERMS}",
            f"context gpii-default: {COMMON}volume: 2 is greater than the maximum of 1 {SEE_TERMS}",
            f"context night: {COMMON}volume: -1 is less than the minimum of 0 {SEE_TERMS}",
        ],
    ),
}


@pytest.mark.parametrize(("text", "problems"), WRONG.values(), ids=WRONG)
def test_invalid_snapset_reports_every_problem(write: Write, text: str | bytes, problems: list[str]) -> None:
    """Every problem names the file, the place, the rule, and what to do."""
    assert refusal(write(text)) == problems


def test_invalid_creation_time_is_rejected(write: Write) -> None:
    """A time must have the format of our records, so that documents can use it."""
    for time in ("yesterday", "2020-11-23", "2020-11-23T00:00:00Z", "2020-13-23T00:00:00.000Z"):
        text = with_preferences("").replace("{flat", f'{{timestampCreated: "{time}", flat', 1)
        [problem] = refusal(write(text))
        assert problem.startswith(f": timestampCreated: '{time}' must be like '")


@pytest.mark.parametrize("name", ["1a.json5", "a b.json5", "größer.json5", "a.b.json5", f"{'a' * 65}.json5"])
def test_snapset_file_name_is_restricted(write: Write, name: str) -> None:
    """The name becomes a key in databases: letters, digits, hyphens and underscores, starting with a letter."""
    path = write(with_preferences(""), name)
    todo = "use up to 64 letters, digits, '_' and '-', beginning with a letter"
    assert refusal(path) == [f": {path.stem!r} is not a valid snapset name ({todo})"]


def test_unknown_term_is_a_warning_unless_strict(write: Write) -> None:
    """More terms are in use than are listed, but a typo looks the same: the user decides."""
    text = with_preferences(f'"{COMMON}dpiScale": 1, "{APPLICATION}": {{anything: 1}}, "{COMMON}DPIScale": 1')
    path = write(text)
    said = f"context gpii-default: unknown term {COMMON}dpiScale (check its spelling)"
    snapset, warnings = read_snapset(path, "gpii-key")
    assert [str(warning) for warning in warnings] == [f"{path}, {said}"]
    assert snapset.preferences == json5.loads(text)
    assert refusal(path, strict=True) == [said]
    assert f"{COMMON}DPIScale" in known_terms("gpii-key")


# A folder of them.


def test_invalid_snapset_matters_only_if_used(tmp_path: Path, write: Write) -> None:
    """The other snapsets of the folder can be used; every problem of the invalid ones is a warning."""
    write("{", "c.json5")
    write(term("DPIScale", "9"), "a.json5")
    write(with_preferences(""), "b.json5")
    os.mkfifo(tmp_path / "d.json5")
    found = read_snapsets(tmp_path, "gpii-key")
    assert list(found.by_name) == ["b"]
    assert found.problems_of("b", "here") == ()
    assert [problem.where.removeprefix(str(tmp_path)) for problem in found.problems_of("a", "here")] == [
        "/a.json5, context gpii-default"
    ]
    assert [(problem.where.removeprefix(str(tmp_path)), problem.rule[-18:]) for problem in found.warnings] == [
        ("/a.json5, context gpii-default", "skipping snapset a"),
        ("/c.json5, line 1, column 2", "skipping snapset c"),
        ("/d.json5", "skipping snapset d"),
    ]


def test_strict_reports_every_problem_of_every_file(tmp_path: Path, write: Write) -> None:
    """One run reports everything that is wrong, in the order of the files."""
    write("{", "c.json5")
    write(term("DPIScale", "9"), "a.json5")
    write(with_preferences(""), "b.json5")
    with pytest.raises(InputError) as caught:
        read_snapsets(tmp_path, "gpii-key", strict=True)
    assert [problem.where.removeprefix(str(tmp_path)) for problem in caught.value.problems] == [
        "/a.json5, context gpii-default",
        "/c.json5, line 1, column 2",
    ]


def test_folder_may_have_a_subfolder_for_each_model(tmp_path: Path, write: Write) -> None:
    """The target's model selects one; a missing model and a file outside the subfolders are errors."""
    (tmp_path / "gpii-key").mkdir()
    write(term("DPIScale", "2"), "gpii-key/large.json5")
    assert list(read_snapsets(tmp_path).of("gpii-key").by_name) == ["large"]
    assert list(read_snapsets(tmp_path, "gpii-key").by_name) == ["large"]
    with pytest.raises(InputError, match="has no snapsets for model gpii-token"):
        read_snapsets(tmp_path, "gpii-token")
    with pytest.raises(InputError, match="has no snapsets for model gpii-token"):
        read_snapsets(tmp_path).of("gpii-token")
    with pytest.raises(InputError, match="has no snapsets for model gpii-token"):
        read_snapsets(tmp_path / "gpii-key", "gpii-token")
    write(term("DPIScale", "2"), "small.json5")
    with pytest.raises(
        InputError, match=r"small\.json5: is next to folders of models \(gpii-key\), but in none of them"
    ):
        read_snapsets(tmp_path, "gpii-key")


def test_unknown_setting_of_an_application_is_a_warning_for_servers_that_check_it(write: Write) -> None:
    """The servers of 2020 serve such a setting and refuse to save the set; those of 2017 check nothing."""
    application = "http://registry.gpii.net/applications/com.microsoft.windows.mouseSettings"
    path = write(with_preferences(f'"{application}": {{MouseSonr: 1, MouseSonar: 1}}, "{application}2": {{any: 1}}'))
    said = (
        f"{path}, context gpii-default: application com.microsoft.windows.mouseSettings has no setting MouseSonr "
        "(did you mean MouseSonar?)"
    )
    assert [str(warning) for warning in read_snapset(path, "gpii-key")[1]] == [said]
    assert read_snapset(path, "gpii-token")[1] == []
    assert refusal(path, strict=True) == [said.removeprefix(f"{path}, ")]


def test_terms_are_checked_by_model(tmp_path: Path, write: Write) -> None:
    """Sets for the servers of 2017 are not checked against the ranges of 2020, and vice versa."""
    write(term("characterSpace", "0"), "old.json5")
    write(term("selfVoicing/enabled", "true"), "new.json5")
    token, key = (read_snapsets(tmp_path, model) for model in ("gpii-token", "gpii-key"))
    assert list(token.by_name) == ["new", "old"]
    assert list(key.by_name) == ["new"]
    assert [warning.rule for warning in token.warnings] == [f"unknown term {COMMON}selfVoicing/enabled"]
    assert list(read_snapsets(tmp_path).by_name) == ["new", "old"]


def test_other_files_in_a_snapsets_folder_are_ignored(tmp_path: Path, write: Write) -> None:
    """Other files, hidden files, and leftovers of editors and operating systems do not matter."""
    write("x", "README.md")
    write("x", ".hidden.json5")
    write(b"\x00\x05", "._mine.json5")
    (tmp_path / ".#mine.json5").symlink_to("nobody@nowhere.1234")
    write(with_preferences(""), "mine.json5")
    write(with_preferences(""), "other.json")
    assert [snapset.name for snapset in read_snapsets(tmp_path)] == ["mine", "other"]


def test_snapset_in_two_files_is_an_error(tmp_path: Path, write: Write) -> None:
    """Two files with the same name are ambiguous."""
    write(with_preferences(""), "mine.json")
    write(with_preferences(""), "mine.json5")
    with pytest.raises(InputError) as caught:
        read_snapsets(tmp_path, "gpii-key", strict=True)
    assert str(caught.value) == f"{tmp_path}/mine.json5: mine exists twice, as .json and .json5 (keep one)"


def test_warnings_of_all_files_are_collected(tmp_path: Path, write: Write) -> None:
    """Warnings about any file are returned with the snapsets; with ``strict`` they are errors."""
    write(term("one", "1"), "a.json5")
    write(term("two", "1"), "b.json5")
    assert [warning.where for warning in read_snapsets(tmp_path, "gpii-key").warnings] == [
        f"{tmp_path}/{name}.json5, context gpii-default" for name in "ab"
    ]
    with pytest.raises(InputError) as caught:
        read_snapsets(tmp_path, "gpii-key", strict=True)
    assert len(caught.value.problems) == 2


def test_unreadable_snapset_is_a_file_error(tmp_path: Path, write: Write) -> None:
    """A missing file, a folder or a pipe is a file error."""
    file = write("x", "file")
    pipe = tmp_path / "pipe.json5"
    os.mkfifo(pipe)
    for folder, reason in (("none", "no such file or folder"), ("file", "not a folder")):
        with pytest.raises(FileError) as caught:
            read_snapsets(tmp_path / folder)
        assert str(caught.value) == f"{tmp_path / folder}: {reason} (name the folder of the snapsets)"
    for path, reason in (
        (tmp_path / "none.json5", "no such file or folder (give the path of a file that can be read)"),
        (file / "x.json5", "not a folder (give the path of a file that can be read)"),
        (tmp_path, "this is a folder (name a file in it)"),
        (pipe, "is not a regular file (save it as a file first)"),
    ):
        with pytest.raises(FileError, match=f"^{re.escape(f'{path}: {reason}')}$"):
            read_json5(path)


def test_large_plain_json_is_read_fast(tmp_path: Path) -> None:
    """JSON5 syntax is slow to parse; a file without it may be large. Duplicate members are still detected."""
    path = tmp_path / "large.json5"
    path.write_text(f'{{"a": [{"1.0, " * 500_000}2], "b": "\\ud83d\\ude00"}}')
    start = monotonic()
    assert read_json5(path) == {"a": [*[1] * 500_000, 2], "b": "\N{GRINNING FACE}"}
    assert monotonic() - start < 30
    path.write_text('{"a": 1, "a": 2}')
    with pytest.raises(InputError, match="a"):
        read_json5(path)
    with path.open("wb") as stream:
        stream.truncate(16_000_001)
    with pytest.raises(InputError, match=r"has 16,000,001 bytes; at most 16,000,000 are allowed \("):
        read_json5(path)
