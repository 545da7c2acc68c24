"""The documentation matches the code."""

import re
import shlex
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import click
import pytest

from dataloader.batch import read_manifest
from dataloader.cli import COMMANDS, cli
from dataloader.cli._command import help_record
from dataloader.common import DataloaderError, ExitCode
from dataloader.operations import generate
from dataloader.target import Target
from tests.support import pictures
from tests.support.command import Command
from tests.support.command_docs import (
    COMMANDS_PAGE,
    REFERENCE,
    ROOT,
    commands,
    documents,
    environment,
    exit_codes,
    reference,
)
from tests.support.man_page import escaped, man_page
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.returned_files import CHIP, NUMBER, RESULT, UUID, fill_in, good_rows, write_csv

PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", ".pytest_cache", "node_modules"} & {*path.relative_to(ROOT).parts}
)
EACH_PAGE = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
EACH_COMMAND = pytest.mark.parametrize("name", COMMANDS)
_LINK = re.compile(r"\[[^]]*\]\((?P<target>[^)\s]+)\)")
_CALL = re.compile(r"^(?:[A-Z_]+=\S+ +)*(?P<line>dataloader [a-z].*)$", re.MULTILINE)
_MAKE = re.compile(r"(?:^|[\s`])make (?P<target>[a-z]+)(?=[\s`]|$)", re.MULTILINE)
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_generated_docs_are_up_to_date(path: Path) -> None:
    """``docs/commands.md`` and the tables of REFERENCE.md are what ``make docs`` writes."""
    assert path.read_text("utf-8") == documents()[path], f"{path.name} is stale: run `make docs`"


def test_missing_markers_are_an_error() -> None:
    """A generated table without its markers is not skipped silently."""
    text = REFERENCE.read_text("utf-8")
    with pytest.raises(ValueError, match="exit codes"):
        reference(text.replace("<!-- exit codes -->", ""))
    assert exit_codes() in reference(text.replace(exit_codes(), "an old table"))


@EACH_COMMAND
def test_each_command_is_documented(name: str) -> None:
    """Each command has a help text, a line in the list of commands, and a section in the docs."""
    command = commands()[name]
    assert command.name == name
    assert command.help
    assert command.short_help
    assert command.short_help.endswith(".")
    assert f"\n## dataloader {name}\n" in COMMANDS_PAGE.read_text("utf-8")


@EACH_COMMAND
def test_each_option_is_described(name: str) -> None:
    """Every option has a description that is a sentence."""
    options = [option for option in commands()[name].params if isinstance(option, click.Option)]
    assert options
    for option in options:
        assert option.help, option.name
        assert option.help[0].isupper() or option.help[0].isdigit(), option.help
        assert option.help.endswith("."), option.help


def test_man_page_has_the_help_of_each_command() -> None:
    """An option with the same name can mean something else, such as the --url of init and of load."""
    page = man_page(commands())
    shared = page.partition(".SH OPTIONS OF SEVERAL COMMANDS\n")[2]
    for name, command in commands().items():
        own = page.partition(f".SS dataloader {name} ")[2].partition("\n.S")[0]
        for parameter in command.params:
            record = help_record(parameter, click.Context(command))
            if record is not None:
                described = f".B {escaped(record[0])}\n{escaped(record[1])}\n"
                assert described in own + "\n" or described in shared, (name, parameter.name)


@EACH_COMMAND
def test_each_command_has_an_example_that_parses(name: str) -> None:
    """Each help text ends with an example on its own line that the program accepts."""
    text = commands()[name].get_help(
        click.Context(commands()[name], terminal_width=100, help_option_names=["-h", "--help"])
    )
    found = re.search(r"^  Example:\n    dataloader (?P<line>.*)$", text, re.MULTILINE)
    assert found, text
    words = shlex.split(found["line"])
    assert words[0] == name
    parse(words)


def parse(arguments: list[str]) -> None:
    """Check that the program accepts a command line, without running it."""
    name = next(word for word in arguments if not word.startswith("-"))
    rest = [word for word in arguments if word != name]
    with commands()[name].make_context(name, rest, parent=click.Context(cli, info_name="dataloader")):
        pass


def command_lines(path: Path) -> list[list[str]]:
    """Return the arguments of every call of the program in a page's code blocks."""
    fences = [match["text"].replace("\\\n", " ") for match in _FENCE.finditer(path.read_text("utf-8"))]
    lines = [match["line"].partition(" >>")[0] for text in fences for match in _CALL.finditer(text)]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@EACH_PAGE
def test_command_lines_in_the_docs_parse(path: Path) -> None:
    """The program accepts every command line in the docs."""
    for arguments in command_lines(path):
        parse(arguments)


@EACH_PAGE
def test_make_targets_in_the_docs_exist(path: Path) -> None:
    """``make something`` in a page names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    fences_and_code = re.findall(r"^```.*?^```$|`[^`\n]+`", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for text in fences_and_code:
        for match in _MAKE.finditer(text):
            assert match["target"] in targets, match[0]


@THOROUGH
def test_the_picture_of_a_run_is_what_a_run_shows() -> None:
    """But for the times; `make pictures` draws it anew."""
    drawn = pictures.RUN.read_text("utf-8")
    assert pictures.without_times(drawn) == pictures.without_times(pictures.terminal(pictures.run_main_job()))


def test_the_picture_of_the_workbook_is_current() -> None:
    """Columns and cells are those that generate writes now; `make pictures` draws it anew."""
    assert pictures.WORKBOOK.read_text("utf-8") == pictures.workbook()


Follow = Callable[[str], list[str]]


@pytest.fixture
def follow(
    here: Command, tmp_path: Path, target: Target, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Follow:
    """Run the commands of a page, in order, with a tenth of its cards; return them."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dataloader.toml").write_text(
        f'[target.production]\nurl = "{target.address.url}"\nenvironment = "production"\n'
        f'model = "{target.model.name}"\nprefix = "{target.prefix}"\n'
    )

    def follow(page: str) -> list[str]:
        lines = [[_tenth(each) for each in line] for line in command_lines(ROOT / "docs" / page)]
        for arguments in lines:
            if arguments[0] == "reconcile":
                come_back(tmp_path, Path(arguments[2]))
            # There is no terminal to confirm an update.
            completed = here(*arguments, *(["--yes"] if "--update" in arguments else []))
            assert completed.code == ExitCode.OK, (arguments, completed.stderr)
            if arguments[:2] == ["snapsets", "copy"]:
                edited = tmp_path / arguments[2] / target.model.name / "snapset_3.json5"
                edited.write_text(edited.read_text("utf-8").replace("Read To Me", "Read to me"), "utf-8")
            if "--json" in arguments:
                (tmp_path / "reports" / "history.jsonl").write_text(completed.stdout)
        return [name for name, *_ in lines]

    return follow


def _tenth(argument: str) -> str:
    """Divide each number of three digits by ten: cards, and the numbers of single cards."""
    return re.sub(r"\b\d{3}\b", lambda number: str(int(number[0]) // 10), argument)


def come_back(folder: Path, returned: Path) -> None:
    """Do the vendor's work: encode every card of the file, and return it."""
    path = folder / returned
    path.parent.mkdir(exist_ok=True)
    rows = good_rows(read_manifest(folder / "batches" / "spring.batch.jsonl"))
    if returned.suffix == ".csv":
        numbers = [[row[NUMBER], row[UUID], "en", row[CHIP], "ok"] for row in rows]
        write_csv(path, numbers, ";", titles=["Serial", "NDEF text", "Language", "Chip UID", "Result"])
        return
    sent = folder / "batches" / returned.name
    if "reencode" in returned.name:
        rows = rows[:FAILED]
    fill_in(sent, path, rows)


FAILED = 3
"""Cards that the vendor fails to encode in the first round."""


@THOROUGH
def test_task_pages_can_be_followed(follow: Follow, here: Command, tmp_path: Path, target: Target) -> None:
    """Running the commands of the pages, one page after another, ends with cards that work."""
    assert follow("first-batch.md") == [
        *("generate", "export", "reconcile", "validate", "check", "plan", "load"),
        *("verify", "verify", "status", "verify", "batches", "batches"),
    ]
    [manifest] = (tmp_path / "batches").glob("*.batch.jsonl")
    assert here("verify", manifest, "--target", "production", "--json").data["verdicts"]["ok"] == 50
    assert follow("lost-card.md") == ["card", "revoke", "revoke"]
    assert follow("corrected-snapset.md") == ["snapsets", "validate", "snapsets", "plan", "load", "load"]
    assert here("verify", manifest, "--target", "production", "--json").data["verdicts"]["ok"] == 50


@THOROUGH
@ONE_MODEL
def test_second_round_page_can_be_followed(follow: Follow, here: Command, tmp_path: Path) -> None:
    """After a first round with failures, the page ends with every card encoded and loaded."""
    batch = generate("spring", {"snapset_3": 10}, tmp_path / "batches")
    rows = good_rows(batch.manifest)
    for row in rows[:FAILED]:
        row[CHIP], row[RESULT] = "", "failed"
    returned = fill_in(batch.workbook, tmp_path / "spring.xlsx", rows)
    assert here("reconcile", batch.manifest.path, returned).code == ExitCode.RETURNED
    assert follow("second-round.md") == ["reconcile", "load", "verify"]
    newest = tmp_path / "batches" / "spring.reconciled.2.jsonl"
    assert here("verify", newest, "--target", "production", "--json").data["verdicts"]["ok"] == 10


@THOROUGH
@ONE_MODEL
def test_own_layout_page_can_be_followed(follow: Follow, tmp_path: Path) -> None:
    """The example layout can be exported and reconciled."""
    generate("spring", {"snapset_3": 10}, tmp_path / "batches")
    [example] = [m["text"] for m in _FENCE.finditer((ROOT / "docs" / "own-layout.md").read_text()) if "columns" in m[0]]
    (tmp_path / "my.json5").write_text(example)
    assert follow("own-layout.md") == ["validate", "export", "reconcile"]


@EACH_PAGE
def test_links_in_the_docs_resolve(path: Path) -> None:
    """A link to a file of the project names an existing file, and an existing heading if it has an anchor."""
    for match in _LINK.finditer(path.read_text("utf-8")):
        place, _, heading = match["target"].partition("#")
        if "://" in place:
            continue
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), match[0]
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, match[0]


def test_nothing_is_installed_from_an_index_that_lacks_it() -> None:
    """Dataloader is not published: the docs, examples and errors install its wheel or its source."""
    places = [*PAGES, *(ROOT / "deploy").rglob("*.*"), *(ROOT / "dataloader").rglob("*.py"), ROOT / "pyproject.toml"]
    texts = {path: path.read_text("utf-8") for path in places if path.is_file()}
    assert len(texts) > len(PAGES)
    assert [path for path, text in texts.items() if re.search(r"install\W+(?:gpii-)?dataloader\b", text)] == []


def test_each_error_class_has_its_own_exit_code() -> None:
    """Classes derived from another error class share its code."""
    kinds = DataloaderError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    no_errors = {ExitCode.OK, ExitCode.INTERNAL, ExitCode.RETURNED, ExitCode.BOUNDS, ExitCode.CHANGES, ExitCode.COMMAND}
    assert set(codes) == set(ExitCode) - no_errors - {ExitCode.INTERRUPTED}
    for kind in kinds:
        assert "exit_code" in vars(kind)
        for derived in descendants(kind):
            assert derived.exit_code == kind.exit_code


def descendants(kind: type[DataloaderError]) -> list[type[DataloaderError]]:
    """Return all subclasses of an error class."""
    return list(chain.from_iterable([each, *descendants(each)] for each in kind.__subclasses__()))


def test_exit_codes_are_distinct() -> None:
    """No two codes are equal, none is reserved by shells, and each has a meaning in one line."""
    assert len({int(code) for code in ExitCode}) == len(ExitCode)
    for code in ExitCode:
        assert code in {0, 130} or 1 <= code < 126
        assert code.meaning
        assert "\n" not in code.meaning


def test_each_setting_is_documented() -> None:
    """Every environment variable that the code reads is in the table, with its meaning."""
    found = environment()
    assert all(meaning.endswith(".") for meaning in found.values())
    for path in (ROOT / "dataloader").rglob("*.py"):
        for name in re.findall(r"\b(?:DATALOADER|COUCHDB)_[A-Z_]+\b", path.read_text("utf-8")):
            assert name in found or name.endswith("_"), f"{path}: {name}"
