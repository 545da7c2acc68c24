"""What all commands have in common."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from dataloader import __version__
from dataloader.batch import read_manifest
from dataloader.cli import COMMANDS
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import all_sources
from dataloader.operations.generate import Batch
from dataloader.records import read_snapsets
from dataloader.target import Target
from tests.support.command import Command, Completed, Process, failed
from tests.support.loading import plant_load
from tests.support.marks import ONE_MODEL, THOROUGH, crossed
from tests.support.proxy import Forward, Hangup, Proxy, Reply, Request
from tests.support.returned_files import fill_in, good_rows, write_csv
from tests.support.server import CARDS, get, put, sequences

WITH_EMBEDDED_SERVER = {"serve", "demo"}
"""Commands with their own server; they are tested elsewhere."""
TESTED = [name for name in COMMANDS if name not in WITH_EMBEDDED_SERVER]
HEAVY = {
    *("openpyxl", "couchdb", "jsonschema", "jsonschema_rs", "faker", "orjson", "json5", "urllib3", "referencing"),
    *("python_calamine", "tqdm", "platformdirs", "asyncio", "http", "xml", "json", "jinja2"),
}
"""Packages that are slow to import."""


@pytest.fixture
def succeed(
    here: Command,
    server: Server,
    target: Target,
    on_target: list[str],
    given: tuple[Path, Path],
    tmp_path: Path,
    credentials: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Completed]:
    """Run a command that must succeed: ``succeed("plan", before=["--json"], behind=["--quiet"])``.

    It runs in this process, or as ``command`` runs it.
    """
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    manifest, folder = given
    snapsets = ("--snapsets", folder)
    numbers = count()
    returned = write_csv(tmp_path / "returned.csv", good_rows(read_manifest(manifest)))

    target_file = tmp_path / "targets.toml"
    target_file.write_text(f'[target.here]\nurl = "{target.address.url}"\nenvironment = "ci"\n')

    def succeed(
        name: str, before: tuple[str, ...] = (), behind: tuple[str, ...] = (), *, command: Command = here
    ) -> Completed:
        arguments = {
            "generate": (f"batch-{next(numbers)}", "--cards", "3", "--out", tmp_path / "new"),
            "export": (manifest, "--layout", "csv", "--out", tmp_path / f"exported-{next(numbers)}"),
            "validate": (manifest, *snapsets),
            "snapsets": ("list", *snapsets),
            "reconcile": (manifest, returned, "--out", tmp_path / f"returned-{next(numbers)}"),
            "recover": (manifest.parent / "small.xlsx", "--out", tmp_path / f"recovered-{next(numbers)}"),
            "check": on_target,
            "plan": (manifest, *snapsets, *on_target),
            "load": (manifest, *snapsets, *on_target),
            "merge": (manifest, *snapsets, *on_target),
            "verify": (manifest, *snapsets, *on_target),
            "revoke": (manifest, *on_target, "--card", "1", "--reason", "lost", "--yes"),
            "status": (manifest, *snapsets, *on_target),
            "backup": (tmp_path / f"{next(numbers)}.backup.zst", *on_target),
            "restore": (tmp_path / "small.backup.zst", *on_target, "--merge"),
            "backups": ("list", tmp_path),
            "drill": on_target,
            "taps": (manifest, *on_target, "--for", "100ms"),
            "credentials": ("list", *on_target),
            "tokens": ("prune", *on_target),
            "drop": (*on_target, "--yes"),
            "seed": (*snapsets, *on_target, "--users", "2"),
            "help": ("load",),
            "batches": (manifest.parent, *snapsets, *on_target),
            "card": ("1", "--in", manifest.parent, *snapsets, *on_target),
            "targets": ("--config", target_file),
            "config": ("show", *on_target),
            "init": ("--url", target.address.url, "--environment", "ci", "--out", tmp_path / f"{next(numbers)}.toml"),
        }[name]
        first = server.database(target.database(target.model.databases[0]))
        after_load = {
            "merge",
            "verify",
            "revoke",
            "status",
            "batches",
            "backup",
            "restore",
            "drill",
            "taps",
            "credentials",
            "tokens",
            "drop",
        }
        if name in after_load and not first.exists():
            plant_load(server, target, all_sources(target, [read_manifest(manifest)], read_snapsets(folder)))
            small = tmp_path / "small.backup.zst"
            assert small.exists() or here("backup", small, *on_target).code == ExitCode.OK
        return command(*before, name, *arguments, *behind)

    return succeed


# Every command.


@ONE_MODEL
def test_main_job_as_processes(run: Command, command: Command, server: Server, target: Target, tmp_path: Path) -> None:
    """Mint, validate, check, plan, load, verify, load again, each as a process; then add sample data."""
    manifest = tmp_path / "spring.batch.jsonl"
    minted = command("generate", "spring", "--cards", "20", "--snapset", "snapset_1a=15", "--snapset", "empty")
    assert (minted.code, minted.stderr) == (ExitCode.OK, "")
    assert "minted 20 cards: 15 snapset_1a, 5 empty\n" in minted.stdout
    returned = fill_in(tmp_path / "spring.xlsx", tmp_path / "back.xlsx", good_rows(read_manifest(manifest)))
    reconciled = command("reconcile", manifest, returned)
    assert (reconciled.code, reconciled.stderr) == (ExitCode.OK, "")
    checked = command("validate", manifest, tmp_path / "spring.xlsx")
    assert (checked.code, checked.stderr, checked.stdout.count("ok  ")) == (ExitCode.OK, "", 2)
    assert run("check").code == ExitCode.OK
    planned = run("plan", manifest, "--json").data
    assert (planned["absent"], planned["documents"]) == (planned["documents"], planned["absent"])
    loaded = run("load", manifest)
    assert (loaded.code, loaded.stderr) == (ExitCode.OK, "")
    assert run("verify", manifest, "--json").data["verdicts"]["ok"] == 20
    before = sequences(server, target)
    again = run("load", manifest, "--json")
    assert (again.code, again.data["unchanged"], again.data["created"]) == (ExitCode.OK, planned["absent"], 0)
    assert sequences(server, target) == before
    seeded = run("seed", "--users", "3")
    assert (seeded.code, seeded.stderr) == (ExitCode.OK, "")
    assert run("verify", manifest).code == ExitCode.OK


@crossed("name, options", TESTED, ["before", "behind", "with --quiet"], share=3)
@ONE_MODEL
def test_json_is_one_object_on_stdout(succeed: Callable[..., Completed], name: str, options: str) -> None:
    """With ``--json`` before or after the command, stdout has one JSON object and stderr nothing."""
    flags = ("--json", "--quiet") if options == "with --quiet" else ("--json",)
    completed = succeed(name, (), flags) if options == "behind" else succeed(name, flags)
    assert (completed.code, completed.stderr) == (ExitCode.OK, "")
    assert isinstance(completed.data, dict)
    assert len(completed.stdout.splitlines()) == 1


@crossed("name, options", TESTED, ["before", "behind"], share=2)
@ONE_MODEL
def test_quiet_prints_nothing_on_success(succeed: Callable[..., Completed], name: str, options: str) -> None:
    """With ``--quiet`` before or after the command."""
    completed = succeed(name, ("--quiet",)) if options == "before" else succeed(name, (), ("--quiet",))
    assert completed == Completed(ExitCode.OK, "", "")


@crossed("name, options", TESTED, ["", "--debug", "--log-format=json"], share=3)
@ONE_MODEL
def test_success_is_reported_on_stdout_only(succeed: Callable[..., Completed], name: str, options: str) -> None:
    """Without options, and with ``--debug``."""
    completed = succeed(name, tuple(options.split()))
    # With --debug, there is a line for each request.
    lines = [each for each in completed.stderr.splitlines() if not re.fullmatch(r"[A-Z]+ /\S* \d+ .* bytes", each)]
    assert (completed.code, lines) == (ExitCode.OK, [])
    assert completed.stderr == "" or options == "--debug"
    assert completed.stdout.strip()


@THOROUGH
@pytest.mark.parametrize("name", TESTED)
@ONE_MODEL
def test_command_succeeds_in_a_new_process(succeed: Callable[..., Completed], new_process: Command, name: str) -> None:
    """Other tests use a process that has imported the modules of all commands."""
    completed = succeed(name, command=new_process)
    assert (completed.code, completed.stderr) == (ExitCode.OK, "")
    assert completed.stdout.strip()


def test_every_command_is_tested() -> None:
    """A new command must be added to these tests."""
    with_files_or_a_target = {
        *("generate", "export", "validate", "reconcile", "check", "plan", "load", "verify", "revoke", "status", "seed"),
        *("snapsets", "recover", "batches", "card", "targets", "config", "init", "help"),
        *("backup", "restore", "backups", "drill", "taps", "credentials", "tokens", "drop", "merge"),
    }
    assert {*COMMANDS} == with_files_or_a_target | WITH_EMBEDDED_SERVER


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_two_options(here: Command, name: str) -> None:
    """``-h`` and ``--help`` print the same to stdout, including the command's options."""
    completed = here(name, "--help")
    assert completed == here(name, "-h")
    assert (completed.code, completed.stderr) == (ExitCode.OK, "")
    assert completed.stdout.startswith(f"Usage: dataloader {name} [OPTIONS]")
    assert "\\b" not in completed.stdout


def test_no_command_prints_help(here: Command) -> None:
    """``dataloader`` alone lists every command, like ``--help``."""
    completed = here()
    assert completed == here("--help")
    assert (completed.code, completed.stderr) == (ExitCode.OK, "")
    assert all(f"\n  {name} " in completed.stdout for name in COMMANDS)


def test_version(command: Command) -> None:
    """``--version`` prints the version, and nothing else."""
    assert command("--version") == Completed(0, f"dataloader, version {__version__}\n", "")


# Mistakes on the command line.


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("frobnicate",), r"no such command 'frobnicate' \(see `dataloader --help`\)"),
        (("bake",), r"no such command 'bake'; did you mean backup\? \(see `dataloader --help`\)"),
        (("genrate",), r"no such command 'genrate'; did you mean generate\?"),
        (("help", "genrate"), r"no such command 'genrate'; did you mean generate\?"),
        (("generate", "x", "--crds", "1"), r"no such option --crds; did you mean --cards\? \(see `dataloader generate"),
        (("load", "--dryrun"), r"no such option --dryrun; did you mean --dry-run\?"),
        (
            ("generate", "x", "--cards", "1", "--frobnicate"),
            r"no such option --frobnicate \(see `dataloader generate --help`\)",
        ),
        (("generate", "x", "--cards", "1", "--colour"), r"no such option --colour; did you mean --no-color\?"),
        (("generate", "x"), "missing option '--cards'"),
        (("generate",), "missing argument 'NAME'"),
        (("generate", "x", "--cards", "many"), "'many' is not a whole number"),
        (("generate", "x", "--cards", "1,000"), "'1,000' is not a whole number; did you mean 1000[?]"),
        (("generate", "x", "--cards", "1", "--snapset", "empty=few"), "must be NAME or NAME=COUNT .correct the count"),
        (("generate", "x", "--cards", "2", "--snapset", "a=1,b=1"), "must be NAME or NAME=COUNT .repeat --snapset"),
        (("verify", "x", "--sample", "0"), "0 must be 1 or more "),
        (("taps", "x", "--rate", "0"), "'--rate': 0 must be from 0.1 to 10,000 "),
        (("backups",), "missing argument 'list.prune' "),
        (("taps", "x", "--max-p99", "500"), "--max-p99 500: has no unit .write 500ms or 500s"),
        (("--target", "x", "load"), "no such option --target; the options of a command come after it "),
        (("check", "--model", "gpii-card"), "'gpii-card' must be one of: gpii-token, gpii-key"),
        (("check", "--environment", "home"), "'home' must be one of: development"),
        (("check", "--model", "gpi-key"), r"; did you mean gpii-key\?"),
        (("check",), "no target: a command needs to know its server"),
        (("check", "--target", "a", "--url", "http://127.0.0.1"), "--target a: cannot be combined"),
        (("check", "--url", "http://127.0.0.1", "--prefix", "Big/"), "database names begin with a lower-case letter"),
        (("verify",), "missing argument 'MANIFEST...'"),
        (("--json",), "missing command"),
    ],
)
def test_usage_error_is_one_line_and_code_2(here: Command, arguments: tuple[str, ...], says: str) -> None:
    """The line says what is wrong and where to find help; with ``--json``, there is also one object."""
    completed = here(*arguments)
    assert completed.code == ExitCode.USAGE
    [line] = completed.stderr.splitlines()
    assert line.startswith("error: ")
    assert re.search(says, line), line
    with_json = here(*arguments, "--json")
    assert (with_json.code, with_json.data["exit_code"]) == (ExitCode.USAGE, ExitCode.USAGE)
    assert with_json.stderr == f"error: {with_json.data['error']}\n"


# Bugs, and unexpected ends.


def test_internal_error_is_one_line(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug ends with code 1 and asks to report it; the traceback is shown with --debug."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\nnothing")

    monkeypatch.setattr("dataloader.cli.generate.generate_batch", fail)
    arguments = ("generate", "spring", "--cards", "1")
    completed = here(*arguments)
    says = "internal error: ZeroDivisionError: by nothing (run again with --debug and report what it prints)"
    assert completed == Completed(ExitCode.INTERNAL, "", f"error: {says}\n")
    assert here(*arguments, "--json").data == failed(says, ExitCode.INTERNAL)
    with_traceback = here(*arguments, "--debug").stderr
    assert with_traceback.startswith("Traceback (most recent call last):\n")
    assert with_traceback.endswith(f"error: {says}\n")


def test_errors_go_to_stderr_with_json_on_stdout(here: Command) -> None:
    """With ``--json``, a failure is one object on stdout, with the same text as the line on stderr."""
    completed = here("--json", "validate", "nowhere.batch.jsonl")
    assert completed.data == failed(completed.stderr.removeprefix("error: ").rstrip(), ExitCode.FILE)
    assert completed.code == ExitCode.FILE


def test_file_name_that_is_not_text_is_escaped(command: Command, tmp_path: Path) -> None:
    """File names are bytes; those that are not UTF-8 cause no error, in text or JSON."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    minted = command("generate", "spring", "--cards", "2", "--out", folder, "--json")
    assert (minted.code, minted.data["cards"]) == (ExitCode.OK, 2)
    assert Path(minted.data["manifest"]).is_file()
    missing = command("validate", folder / "missing.batch.jsonl", "--json", "--log-format", "json")
    assert (missing.code, missing.data["exit_code"]) == (ExitCode.FILE, ExitCode.FILE)
    assert json.loads(missing.stderr)["message"] == missing.data["error"]


@ONE_MODEL
@pytest.mark.parametrize("flag", [(), pytest.param(("--json",), marks=THOROUGH)])
@pytest.mark.parametrize("at", ["tokens", "index"])
def test_ctrl_c_stops_a_load_at_once(
    process: Process, run: Command, target: Target, credentials: dict[str, str], batch: Batch, on_target: list[str],
    flag: tuple[str, ...], at: str,
) -> None:  # fmt: skip
    """Ctrl-C does not wait for a server that hangs: code 130 and one line; the next load does the rest."""
    hanging, over = Event(), Event()

    def hang(request: Request, forward: Forward) -> Reply:
        tokens = request.endpoint == "_bulk_docs" and b"gpiiToken-" in request.body
        if tokens if at == "tokens" else "/_view/" in request.endpoint:
            hanging.set()
            over.wait(60)
            raise Hangup
        return forward(request)

    with Proxy(target.address.url, hang) as proxy:
        try:
            options = [proxy.url if each == target.address.url else each for each in on_target]
            started = process("load", batch.manifest.path, *options, *flag, env=credentials)
            assert hanging.wait(30)
            started.send_signal(signal.SIGINT)
            stdout, stderr = started.communicate(timeout=10)
        finally:
            over.set()
    says = "interrupted: what was written is kept; run it again to continue"
    assert (started.returncode, stderr) == (ExitCode.INTERRUPTED, f"error: {says}\n")
    assert (json.loads(stdout) if flag else stdout) == (failed(says, ExitCode.INTERRUPTED) if flag else "")
    again = run("load", batch.manifest.path, "--json").data
    assert (again["created"] > 0, again["unchanged"] > 0) == (at == "tokens", True)
    assert run("verify", batch.manifest.path, "--json").data["verdicts"]["ok"] == CARDS


@THOROUGH
def test_ctrl_c_leaves_no_partial_batch(process: Process, tmp_path: Path) -> None:
    """Interrupted minting leaves no files."""
    started = process(
        *("generate", "huge", "--cards", "1000000", "--out", tmp_path / "batches"),
        env={"DATALOADER_PROGRESS_INTERVAL": "0"},
    )
    assert started.stderr is not None
    assert started.stderr.readline().startswith("writing: 1,000 of 1,000,000 cards")
    assert list((tmp_path / "batches").iterdir())
    started.send_signal(signal.SIGINT)
    _, stderr = started.communicate(timeout=30)
    assert started.returncode == ExitCode.INTERRUPTED
    assert stderr.splitlines()[-1].startswith("error: interrupted: ")
    assert list((tmp_path / "batches").iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        *(pytest.param(each, marks=THOROUGH) for each in ((), ("--help",))),
        ("load", "--help"),
        ("generate", "spring", "--cards", "2"),
    ],
)
def test_closed_pipe_is_no_error(process: Process, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """``dataloader … | head -0`` does its work and succeeds without a message."""
    reading, writing = os.pipe()
    os.close(reading)
    started = process(*arguments, stdout=writing)
    os.close(writing)
    _, stderr = started.communicate(timeout=30)
    assert (started.returncode, stderr) == (ExitCode.OK, "")
    assert (tmp_path / "spring.batch.jsonl").exists() == ("spring" in arguments)


@ONE_MODEL
def test_closed_pipe_does_not_change_the_exit_code(
    process: Process, run: Command, server: Server, target: Target, credentials: dict[str, str], on_target: list[str],
) -> None:  # fmt: skip
    """A load that needs attention has its exit code, even if nobody reads the output."""
    database = server.database(target.database("preferences"))
    database.create()
    put(database, {"_id": "snapset_3", "value": "another's"})
    reading, writing = os.pipe()
    os.close(reading)
    started = process("load", "--snapsets-only", *on_target, stdout=writing, stderr=writing, env=credentials)
    os.close(writing)
    assert started.wait(30) == ExitCode.ATTENTION
    assert get(database, "snapset_3")["value"] == "another's"
    assert get(database, "snapset_1a")["value"]


def test_full_output_is_reported(process: Process, tmp_path: Path) -> None:
    """If the result can't be written because the disk is full, that is a file error; the work is done."""
    with Path("/dev/full").open("w") as full:
        started = process("generate", "spring", "--cards", "2", stdout=full)
    _, stderr = started.communicate(timeout=30)
    says = "standard output: no space left on device (redirect it to a disk with free space)"
    assert (started.returncode, stderr) == (ExitCode.FILE, f"error: {says}\n")
    assert (tmp_path / "spring.batch.jsonl").exists()


@THOROUGH
def test_command_works_without_output(tmp_path: Path) -> None:
    """With stdout and stderr closed, a command does its work and has its exit code."""
    call = [sys.executable, "-m", "dataloader", "generate", "spring", "--cards", "2", "--json"]
    for code in (ExitCode.OK, ExitCode.FILE):
        done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *call], cwd=tmp_path, check=False, timeout=30)
        assert done.returncode == code
    assert (tmp_path / "spring.batch.jsonl").exists()


@pytest.mark.parametrize("arguments", [("--version",), ("bake",)])
def test_start_imports_only_what_is_needed(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """``--version`` and a mistyped command do not wait for large imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dataloader", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        # Coverage measurement needs its own libraries.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
        check=False,
        timeout=60,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "click" in imported
    assert not imported & HEAVY
