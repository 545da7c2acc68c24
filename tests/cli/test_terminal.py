"""Output on a terminal: colour, the next step, help without broken words, tables."""

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from shutil import copytree
from typing import IO

import click
import pytest

from dataloader.cli import COMMANDS, cli
from dataloader.cli._command import Command as OurCommand
from dataloader.cli._command import group_of
from dataloader.cli._next import FOLLOWING
from dataloader.cli._output import Output
from dataloader.cli._progress import Progress
from dataloader.cli._table import table
from dataloader.cli._wrap import next_lines, wrapped
from dataloader.common import ExitCode, data_dir
from dataloader.couch import Server
from dataloader.operations import generate
from dataloader.target import Target
from tests.support.command import Command
from tests.support.command_docs import commands, help_text
from tests.support.forks import NOTHING, Forks
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.returned_files import CHIP, came_back, fill_in, good_rows, write_csv
from tests.support.server import put

NOBODY = "http://127.0.0.1:9"
"""Where nothing listens."""
OnTerminal = Callable[..., tuple[int, str]]


@pytest.fixture
def on_terminal(tmp_path: Path, forks: Forks | None) -> OnTerminal:
    """Run a command with a terminal as stderr; return its exit code and what the terminal shows."""

    def start(words: list[str], variables: dict[str, str], streams: list[IO[bytes]]) -> int:
        if forks is not None:
            return forks.run_with(streams, words, variables, tmp_path, 60)
        call = [sys.executable, "-m", "dataloader", *words]
        stdin, stdout, stderr = streams
        return subprocess.run(
            call, check=False, stdin=stdin, stdout=stdout, stderr=stderr, cwd=tmp_path, env=variables, timeout=60
        ).returncode

    def run(*arguments: object, env: dict[str, str] | None = None) -> tuple[int, str]:
        leader, follower = pty.openpty()
        variables = {**os.environ, "TERM": "xterm", **(env or {})}
        with os.fdopen(leader, "rb", 0) as shown, os.fdopen(follower, "wb", 0) as terminal:
            with NOTHING.open("r+b") as nothing:
                code = start([*map(str, arguments)], variables, [nothing, nothing, terminal])
            readable, _, _ = select.select([shown], [], [], 0)
            return code, shown.read(65536).decode() if readable else ""

    return run


def test_labels_are_coloured_on_a_terminal(on_terminal: OnTerminal) -> None:
    """The label of an error is red, and nothing else."""
    code, shown = on_terminal("validate", "nowhere.toml")
    assert code == ExitCode.FILE
    assert shown.startswith("\x1b[31m\x1b[1merror:\x1b[0m nowhere.toml: ")


@pytest.mark.parametrize(
    ("options", "env"),
    [
        ((), {"NO_COLOR": "1"}),
        (("--json",), {}),
        pytest.param(("--no-color",), {}, marks=THOROUGH),
        pytest.param((), {"TERM": "dumb"}, marks=THOROUGH),
    ],
)
def test_colour_can_be_turned_off(on_terminal: OnTerminal, options: tuple[str, ...], env: dict[str, str]) -> None:
    """By the option, and as https://no-color.org says; JSON on stdout does not affect stderr."""
    _, shown = on_terminal("validate", "nowhere.toml", *options, env=env)
    assert ("\x1b" in shown) == (options == ("--json",))
    assert "nowhere.toml" in shown


def test_a_written_report_is_named(on_terminal: OnTerminal, tmp_path: Path) -> None:
    """On a terminal; scripts know the name that they gave."""
    manifest = generate("spring", {"empty": 3}, tmp_path).manifest.path
    call = ("batches", ".", "--no-color", "--report")
    assert manifest.exists()
    assert "report  pages/spring.html\n" in on_terminal(*call, "pages/spring.html")[1].replace("\r", "")
    assert "report  " not in on_terminal(*call, "quiet.html", "--quiet")[1]


def test_pipes_get_no_colour(command: Command) -> None:
    """Output for programs has no escape codes."""
    assert "\x1b" not in command("validate", "nowhere.toml").stderr


def test_command_ends_with_the_next_step(on_terminal: OnTerminal, tmp_path: Path) -> None:
    """On a terminal, one line says what to type next; not with --quiet or --json, or after an error."""
    call = ("generate", "spring", "--cards", "3")
    code, shown = on_terminal(*call, "--no-color")
    assert code == ExitCode.OK
    assert shown.splitlines() == [
        "next: send spring.xlsx to the vendor, then",
        "  dataloader reconcile spring.batch.jsonl RETURNED",
    ]
    assert "next:" not in on_terminal(*call)[1], "the batch exists"
    for flag in ("--quiet", "--json"):
        assert on_terminal("generate", f"spring{flag}", "--cards", "3", flag) == (ExitCode.OK, "")


@pytest.mark.parametrize(
    ("line", "width", "lines"),
    [
        ("checked 5 cards", 20, ["checked 5 cards"]),
        ("  checked 5,000 cards in 2.1 s", 20, ["  checked 5,000", "    cards in 2.1 s"]),
        ("a-long-name-without-blanks", 10, ["a-long-name-without-blanks"]),
        (
            "    dataloader load batches/spring.batch.jsonl --target production",
            60,
            ["    dataloader load batches/spring.batch.jsonl \\", "      --target production"],
        ),
        (
            "dataloader load 'my batches/spring.batch.jsonl'",
            30,
            ["dataloader load \\", "  'my batches/spring.batch.jsonl'"],
        ),
        (
            "dataloader revoke 'my batches/spring.batch.jsonl' --reason \"lost on the bus\" --target production",
            60,
            [
                "dataloader revoke 'my batches/spring.batch.jsonl' \\",
                '  --reason "lost on the bus" --target production',
            ],
        ),
        ("no such command (see `dataloader --help`)", 30, ["no such command (see", "  `dataloader --help`)"]),
    ],
)
def test_lines_end_between_words(line: str, width: int, lines: list[str]) -> None:
    """No word is broken; a continued command can be copied."""
    assert wrapped(line, width) == lines


def test_long_next_step_has_its_command_on_a_separate_line() -> None:
    """The words come first, then the command; what fits stays one line."""
    text = "send spring.xlsx to the vendor, then dataloader reconcile spring.batch.jsonl RETURNED"
    assert next_lines(text, "next:", 100) == [f"next: {text}"]
    assert next_lines(text, "next:", 60) == [
        "next: send spring.xlsx to the vendor, then",
        "  dataloader reconcile spring.batch.jsonl RETURNED",
    ]


def test_next_step_for_an_unreadable_file_is_to_correct_it(on_terminal: OnTerminal, tmp_path: Path) -> None:
    """Before most cards are encoded again for the fault of a file."""
    batch = generate("spring", {"empty": 5}, tmp_path)
    rows = good_rows(batch.manifest)
    for row in rows:
        row[CHIP] += "00"
    write_csv(tmp_path / "back.csv", rows)
    report = tmp_path / "page.html"
    code, shown = on_terminal("reconcile", batch.manifest.path, "back.csv", "--report", report, "--no-color")
    assert code == ExitCode.RETURNED
    assert "ask the vendor for a file without this fault" in " ".join(shown.split())
    assert "next: correct the file, then" in shown
    assert "Ask the vendor for a file that can be read" in report.read_text("utf-8")


def test_several_next_steps_are_a_line_each() -> None:
    """So that each can be copied, unless all fit on one line."""
    text = "dataloader card 36eca792 --in batches; or dataloader card 1fe397ab --in batches"
    assert next_lines(text, "next:", 100) == [f"next: {text}"]
    assert next_lines(text, "next:", 60) == [
        "next: one of",
        "  dataloader card 36eca792 --in batches",
        "  dataloader card 1fe397ab --in batches",
    ]


def test_next_step_names_what_the_command_was_given(on_terminal: OnTerminal, tmp_path: Path) -> None:
    """The file that was checked, the only target, the snapset that was shown."""
    generate("spring", {"empty": 3}, tmp_path / "batches")
    copytree(data_dir("snapsets") / "gpii-token", tmp_path / "mine")
    (tmp_path / "dataloader.toml").write_text('[target.pilot]\nurl = "http://127.0.0.1:1"\nenvironment = "ci"\n')
    for call, then in (
        (("validate", "batches"), "dataloader plan batches/spring.batch.jsonl --target pilot"),
        (("validate", "dataloader.toml"), "dataloader targets --config dataloader.toml"),
        (("targets", "--offline"), "dataloader check --target pilot"),
        (("config",), "dataloader targets"),
        (("config", "show", "--target", "pilot"), "dataloader check --target pilot"),
        (("card", "2", "--in", "batches"), "dataloader card "),
        (("batches", "batches"), "dataloader batches batches --target pilot"),
        (
            ("config", "show", "--url", "http://a:b@127.0.0.1:1", "--wait", "9"),
            "dataloader check --url http://127.0.0.1:1",
        ),
        (("backups", "list", "batches"), "dataloader backup batches/ --target pilot"),
        (("validate", "mine"), "dataloader snapsets diff --snapsets mine --target pilot"),
        (("snapsets", "show", "snapset_3"), "dataloader generate trial --cards 10 --snapset snapset_3"),
    ):
        code, shown = on_terminal(*call, "--no-color", env={"DATALOADER_CONFIG": ""})
        *_, line = shown.splitlines()
        assert (code, line.startswith(f"next: {then}")) == (ExitCode.OK, True), (call, line)
        assert "--wait" not in line, "the server is up"


@pytest.fixture
def typed(here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command in a folder of its own, and return what it says to type next, first of all."""
    said: list[str] = []

    def note(output: Output, *commands: str) -> None:
        output.has_next = True
        said.extend(commands)

    monkeypatch.setattr(Output, "next", note)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, codes: tuple[ExitCode, ...] = (ExitCode.OK,)) -> str:
        said.clear()
        done = here(*arguments)
        assert done.code in codes, (arguments, done)
        # The command batches lists the steps itself.
        [line, *_] = said or re.findall(r"^ +(dataloader .*)$", done.stdout, re.MULTILINE)
        return line

    return run


def test_next_step_without_a_target_file_is_to_write_one(typed: Callable[..., str], tmp_path: Path) -> None:
    """A command that needs a target is proposed only with one."""
    batch = generate("spring", {"empty": 3}, tmp_path)
    back = fill_in(batch.workbook, tmp_path / "back.xlsx", good_rows(batch.manifest))
    for call in (("validate", "spring.batch.jsonl"), ("reconcile", "spring.batch.jsonl", back), ("config",)):
        assert typed(*call) == "dataloader init", call


def test_next_step_after_batches_is_not_said_twice(
    typed: Callable[..., str], on_terminal: OnTerminal, tmp_path: Path
) -> None:
    """A batch that waits for its vendor has its step in the list; one that is ready needs a target first."""
    batch = generate("spring", {"empty": 3}, tmp_path / "batches")
    assert on_terminal("batches", "batches") == (ExitCode.OK, "")
    came_back(batch.manifest, tmp_path / "batches" / "spring.reconciled.jsonl", 2)
    assert on_terminal("batches", "batches") == (ExitCode.OK, "")
    came_back(batch.manifest, tmp_path / "batches" / "spring.reconciled.2.jsonl", 3, 2)
    assert typed("batches", "batches") == "dataloader init"


def test_next_step_after_recover_is_in_the_folder_of_the_manifest(typed: Callable[..., str], tmp_path: Path) -> None:
    """Without --out, that is the workbook's."""
    generate("spring", {"empty": 3}, tmp_path / "mail").manifest.path.unlink()
    assert typed("recover", "mail/spring.xlsx") == "dataloader batches mail"


def test_next_step_names_each_card_with_a_number(typed: Callable[..., str], tmp_path: Path) -> None:
    """Where several batches have the card, there is a command for each."""
    cards = [next(iter(generate(name, {"empty": 1}, tmp_path / "my batches").manifest.cards())) for name in ("a", "b")]
    said = typed("card", 1, "--in", "my batches").split("; or ")
    assert said == [f"dataloader card {card.uuid[:8]} --in 'my batches'" for card in cards]
    for each in said:
        assert typed(*shlex.split(each)[1:]) == "dataloader init"


@THOROUGH
@ONE_MODEL
def test_every_next_step_can_be_typed(
    typed: Callable[..., str],
    target: Target,
    credentials: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each command's next step runs as it is, and the one after it; only the vendor's file has no name yet."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "dataloader.toml").write_text(
        f'[target.pilot]\nurl = "{target.address.url}"\nenvironment = "ci"\nmodel = "{target.model.name}"\n'
        f'prefix = "{target.prefix}"\n'
    )
    batch = generate("spring", {"empty": 3}, tmp_path / "batches")
    fill_in(batch.workbook, tmp_path / "back.xlsx", good_rows(batch.manifest))
    manifest, pilot = "batches/spring.batch.jsonl", ("--target", "pilot")
    tolerated = (ExitCode.OK, ExitCode.ATTENTION, ExitCode.NODES)
    calls: tuple[tuple[object, ...], ...] = (
        ("generate", "autumn", "--cards", 2),
        ("export", manifest, "--layout", "csv", "--out", "vendor"),
        ("validate", manifest),
        ("validate", data_dir("snapsets")),
        ("plan", manifest, *pilot),
        ("plan", *pilot),
        ("load", manifest, "--dry-run", "--strict", *pilot),
        ("load", "--snapsets-only", "--dry-run", *pilot),
        ("load", "--snapsets-only", *pilot),
        ("load", manifest, *pilot),
        ("plan", manifest, *pilot),
        ("verify", manifest, *pilot),
        ("status", manifest, *pilot),
        ("batches", "batches"),
        ("batches", "batches", *pilot),
        ("card", 2, "--in", "batches"),
        ("card", 2, "--in", "batches", *pilot),
        ("merge", manifest, "--dry-run", *pilot),
        ("revoke", manifest, "--card", 2, "--reason", "lost", "--yes", *pilot),
        ("card", 2, "--in", "batches", *pilot),
        ("reconcile", manifest, "back.xlsx"),
        ("batches", "batches", *pilot),
        ("recover", "batches/spring.xlsx", "--out", "again"),
        ("backup", "my backups/", *pilot),
        ("backups", "list", "my backups"),
        ("drill", manifest, "--backups", "my backups", *pilot),
        ("drill", manifest, *pilot),
        ("taps", manifest, "--rate", 10, "--for", "0.2s", *pilot),
        ("snapsets", "list", *pilot),
        ("snapsets", "diff", "snapset_3", "snapset_1a"),
        ("snapsets", "diff", *pilot),
        ("credentials", "create", "lib", "--name", "Lib", "--out", "keys", *pilot),
        ("credentials", "create", "other", "--name", "Lib", "--out", "keys", "--model", target.model.name),
        ("credentials", "list", *pilot),
        ("credentials", "rotate", "lib", "--out", "new keys", *pilot),
        ("tokens", "prune", *pilot),
        ("targets",),
        ("config",),
    )
    done = set()
    for call in calls:
        line = typed(*call, codes=tolerated)
        if call[0] == "drill":
            # It has kept its backup, or there is none to list.
            assert line.startswith("dataloader backups list " if "--backups" in call else "dataloader backup ")
        for _ in range(2):
            for each in line.split("; or "):
                words = shlex.split(each[each.index("dataloader ") :])[1:]
                assert not re.search(r"\b(MANIFEST|NAME|NUMBER|TEXT|FILE|DIR|N)\b", each), (call, each)
                if "RETURNED" in words or words[0] == "demo" or (*words,) in done:
                    continue
                done.add((*words,))
                line = typed(*words, *(["--yes"] if words[0] == "revoke" else []), codes=tolerated)


def interrupted(folder: Path, *arguments: object, after: str, env: dict[str, str] | None = None) -> str:
    """Type Ctrl-C on a terminal once a command has printed a text, and return what the terminal shows."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "dataloader", *map(str, arguments)]
    environment = {**os.environ, "NO_COLOR": "1", **(env or {})}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while after.encode() not in shown:
            # Fails once the process has ended.
            shown += os.read(leader, 65536)
        for _ in range(30):
            process.send_signal(signal.SIGINT)
            # Python may miss a signal just before it waits for input, and then a user types Ctrl-C again.
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
                break
        assert process.wait(5) == ExitCode.INTERRUPTED
        while select.select([leader], [], [], 0)[0]:
            shown += os.read(leader, 65536)
    except OSError:
        assert process.wait(60) == ExitCode.INTERRUPTED, shown
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    return shown.decode().replace("\r\n", "\n")


@ONE_MODEL
def test_interrupted_question_is_no(
    server: Server, target: Target, on_target: list[str], credentials: dict[str, str], tmp_path: Path
) -> None:
    """Ctrl-C at a question cancels, on a line of its own; nothing is deleted."""
    database = server.database(target.database(target.model.databases[0]))
    database.create()
    put(database, {"_id": "_local/dataloader", "environment": "ci"})
    shown = interrupted(tmp_path, "drop", *on_target, after="[y/N]: ", env=credentials)
    assert shown.partition("[y/N]: ")[2] == "\nerror: cancelled: nothing was deleted\n"
    assert database.exists()


def test_interrupted_prompt_ends_its_line(tmp_path: Path) -> None:
    """The error does not begin behind the question."""
    shown = interrupted(tmp_path, "init", after="]: ")
    assert shown.partition("]: ")[2] == "\nerror: interrupted: run it again\n"


def test_interrupted_run_has_its_error_at_the_beginning_of_a_line(tmp_path: Path) -> None:
    """It replaces what the terminal shows of Ctrl-C."""
    shown = interrupted(tmp_path, "check", "--url", NOBODY, "--wait", "600", after="cannot connect\r\n")
    assert shown.startswith(f"{NOBODY}: waiting up to 600 s for the server: cannot connect\n")
    assert shown.endswith("\n\rerror: interrupted: run it again\n")


def test_piped_output_is_not_wrapped(command: Command) -> None:
    """Programs read one line for each message, however long."""
    name = "nowhere-" * 20
    [line] = command("validate", f"{name}.toml").stderr.splitlines()
    assert name in line


def test_a_progress_bar_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with a million documents, the remaining time is visible."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("dataloader.cli._progress.BAR_DELAY", 0)
    monkeypatch.setenv("COLUMNS", "80")
    with Progress(Output(), whole=2_040_012) as progress:
        progress("preferences: preferences", 1_000, 1_040_012)
        time.sleep(0.2)
        progress("preferences: preferences", 1_039_000, 1_040_012)
    shown = max(re.split(r"[\r\n]", capsys.readouterr().err), key=len)
    assert len(shown) <= 80
    assert " left" in shown


def test_every_command_has_a_next_step() -> None:
    """Those without their own are in the table; help is read to find out."""
    own = {"help", "generate", "reconcile", "init", "demo", "serve", "plan", "targets", "config", "card", "batches"}
    assert set(FOLLOWING) | own >= {*COMMANDS}
    assert {re.split(r"[ {]", text.partition("dataloader ")[2])[0] for text in FOLLOWING.values()} <= {*COMMANDS}


# Help.


@pytest.mark.parametrize("name", COMMANDS)
def test_help_never_breaks_a_word(name: str) -> None:
    """No line of help ends within an option or file name, at any width."""
    command = commands()[name]
    for width in (60, 80, 100):
        # click keeps the help option of the first context for the whole process.
        context = click.Context(command, info_name=name, terminal_width=width, help_option_names=["-h", "--help"])
        context.formatter_class = OurCommand.context_class.formatter_class
        shown = context.get_help()
        assert not re.search(r"[a-z]-$", shown, re.MULTILINE), shown
        assert "\N{NON-BREAKING HYPHEN}" not in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_groups_the_options(name: str) -> None:
    """A command's own options come first, then those for the target, the connection and the output."""
    command = commands()[name]
    assert isinstance(command, OurCommand)
    shown = help_text(command, name)
    at = [shown.find(f"\n{group}:\n") for group in ("Options", "Target", "Connection", "Output")]
    there = [each for each in at if each >= 0]
    assert there == sorted(there)
    assert shown.find("\nOutput:\n") > 0
    groups = {each.name: group_of(command, each) for each in command.params}
    assert groups["json"] == groups["no_color"] == "Output"
    assert groups.get("url", "Target") in {"Target", "Options"}


# Tables.


def test_tables_align_and_wrap_between_words() -> None:
    """Numbers are right-aligned; a long last column continues in the next line, at its start."""
    rows = [("spring", 1200, "a note " * 12), ("a", 3, "short")]
    lines = table(rows, ("batch", "cards", "note"))
    assert lines[0] == "batch   cards  note"
    assert lines[1].startswith("spring  1,200  a note a note")
    assert lines[2].startswith("               ")
    assert lines[-1] == "a           3  short"
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines[1:-1]).split()).endswith("a note")
    assert table([]) == []


# Completion.


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(command: Command, shell: str) -> None:
    """Each shell gets its script by the variable named in docs/completion.md."""
    done = command(env={"_DATALOADER_COMPLETE": f"{shell}_source"})
    assert done.code == ExitCode.OK
    assert "_DATALOADER_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("words", "finds"),
    [
        (["dataloader", "gen"], "generate"),
        (["dataloader", "help", "rev"], "revoke"),
        (["dataloader", "load", "--target", "pro"], "production"),
        (["dataloader", "generate", "x", "--snapset", "snapset_1"], "snapset_1a"),
        (["dataloader", "load", "--dry"], "--dry-run"),
    ],
)
def test_shell_completes_names(command: Command, tmp_path: Path, words: list[str], finds: str) -> None:
    """Commands, options, targets of the target file and snapsets."""
    (tmp_path / "dataloader.toml").write_text(
        '[target.production]\nurl = "http://127.0.0.1:1"\nenvironment = "production"\n'
    )
    env = {
        "_DATALOADER_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    assert finds in [line.partition(",")[2] for line in command(env=env).stdout.splitlines()]


def test_shell_completes_files(command: Command, tmp_path: Path) -> None:
    """If a file is expected, the shell completes file names itself."""
    generate("spring", {"empty": 1}, tmp_path)
    env = {"_DATALOADER_COMPLETE": "bash_complete", "COMP_WORDS": "dataloader load spr", "COMP_CWORD": "2"}
    assert command(env=env).stdout.splitlines() == ["file,spr"]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_narrow_terminal(here: Command, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """At 40 columns, only what must stay in one piece is longer: an example, a choice, an address."""
    monkeypatch.setenv("COLUMNS", "40")
    shown = here(*filter(None, [name]), "--help").stdout
    assert [line for line in shown.splitlines() if len(line) > 40 and not LONG.match(line)] == []
    if name == "load":
        assert "JOB_COMPLETION_INDEX" in shown.partition("--parts N")[2].partition("--all-cards")[0]


LONG = re.compile(r" +(dataloader |--\S+ \[\S+\]|https:)")


def test_group_help_never_breaks_a_word() -> None:
    """The help of the command group is formatted like that of commands."""
    assert cli.context_class is OurCommand.context_class
