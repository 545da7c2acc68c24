"""Commands with the embedded server: ``serve`` and ``demo``, as processes."""

import json
import re
import signal
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from dataloader.batch import read_manifest, read_reconciled
from dataloader.common import CredentialsError, ExitCode, UnreachableError
from dataloader.couch import Address, Server
from dataloader.embedded import EmbeddedServer
from tests.support.command import Command, Process, failed
from tests.support.marks import THOROUGH
from tests.support.server import QUICK

PASSWORD = "a pässword: 100%"
LOGIN = {"COUCHDB_USER": "jürgen", "COUCHDB_PASSWORD": PASSWORD}


def url_of(serving: subprocess.Popen[str]) -> str:
    """Return the URL that ``serve`` prints when it is ready."""
    assert serving.stdout is not None
    line = serving.stdout.readline()
    assert re.fullmatch(r"ready at \S+ \((in memory|data in .+); Ctrl-C stops it\)\n", line), line
    return line.split()[2]


def url_told(stderr: str) -> str:
    """Return the URL of the server in ``demo``'s output."""
    [line] = [line for line in stderr.splitlines() if line.startswith("server ")]
    return next(word.rstrip(",") for word in line.split() if word.startswith("http://"))


def answers(url: str) -> bool:
    """Return whether a server answers."""
    try:
        return Server(Address(url), QUICK).welcome().product == "PouchDB Server"
    except UnreachableError:
        return False


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port in use by something else."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, *(pytest.param(each, marks=THOROUGH) for each in (signal.SIGINT, signal.SIGHUP))],
)
def test_serve_runs_until_stopped(process: Process, tmp_path: Path, number: signal.Signals) -> None:
    """It prints its URL, answers, and stops on Ctrl-C, SIGTERM and SIGHUP, with its Node.js process and code 0."""
    serving = process("serve", "--port", "0", "--memory")
    url = url_of(serving)
    assert answers(url)
    assert Server(Address(url), QUICK).database("anything").create()
    serving.send_signal(number)
    stdout, stderr = serving.communicate(timeout=30)
    assert (serving.returncode, stdout) == (ExitCode.OK, "")
    assert "error" not in stderr
    assert not answers(url)
    assert list(tmp_path.iterdir()) == []


@THOROUGH
def test_serve_json_prints_its_url(process: Process) -> None:
    """With ``--json``, the only line on stdout is an object with the URL, printed as soon as it answers."""
    serving = process("serve", "--port", "0", "--memory", "--json")
    assert serving.stdout is not None
    told = json.loads(serving.stdout.readline())
    assert told["data"] == "memory"
    assert answers(told["url"])
    serving.terminate()
    stdout, stderr = serving.communicate(timeout=30)
    assert (stdout, stderr, serving.returncode) == ("", "", ExitCode.OK)


@THOROUGH
def test_served_folder_is_persistent(process: Process, tmp_path: Path) -> None:
    """The databases in the folder of ``--data``, by default ``couchdb-data``, still exist the next time."""
    for options, is_new in (((), True), (("--data", tmp_path / "couchdb-data"), False)):
        serving = process("serve", "--port", "0", *options)
        assert Server(Address(url_of(serving)), QUICK).database("cards").create() is is_new
        serving.terminate()
        assert serving.wait(30) == ExitCode.OK
    assert [path.name for path in tmp_path.iterdir()] == ["couchdb-data"]


@THOROUGH
def test_port_in_use_is_an_error(command: Command, taken_port: int) -> None:
    """The error names the port."""
    completed = command("serve", "--port", taken_port, "--memory", "--json")
    assert completed.code == ExitCode.EMBEDDED
    [line] = completed.stderr.splitlines()
    assert line.startswith("error: the embedded server did not start: ")
    assert str(taken_port) in line
    assert line.endswith(" (stop what uses it, or choose another with --port)")
    assert completed.data == failed(line.removeprefix("error: "), ExitCode.EMBEDDED)


def test_data_folder_that_cannot_be_written_is_an_error(command: Command, tmp_path: Path) -> None:
    """In words, not as the system's code; and what to do."""
    (tmp_path / "file").touch()
    completed = command("serve", "--port", 0, "--data", tmp_path / "file" / "data")
    assert completed.code == ExitCode.EMBEDDED
    assert completed.stderr == (
        f"error: the embedded server did not start: the data folder {tmp_path}/file/data can't be written to: "
        "not a directory (choose another with --data, or use --memory)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (("--memory", "--data", "here"), {}, "--memory --data: cannot be combined"),
        (("--port", "65536"), {}, "65536 must be from 0 to 65,535"),
        (("--admin", "admin"), {}, "--admin admin: needs a password"),
        ((), {"COUCHDB_USER": "admin"}, "--admin admin: needs a password"),
        ((), {"COUCHDB_PASSWORD": PASSWORD}, "COUCHDB_PASSWORD: is set without a user"),
    ],
)
def test_conflicting_serve_options_are_rejected(
    here: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    says: str,
) -> None:
    """So is an admin without a password; nothing starts."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    completed = here("serve", *arguments, "--quiet")
    assert (completed.code, completed.stdout) == (ExitCode.USAGE, "")
    [line] = completed.stderr.splitlines()
    assert says in line
    assert PASSWORD not in line
    assert list(tmp_path.iterdir()) == []


@THOROUGH
@pytest.mark.parametrize("way", ["password", "option and password file"])
def test_serve_with_credentials_requires_them(process: Process, tmp_path: Path, way: str) -> None:
    """Everything but the greeting requires the user and password given at the start."""
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n", "utf-8")
    options, environment = {
        "password": ((), LOGIN),
        "option and password file": (("--admin", "jürgen"), {"COUCHDB_PASSWORD_FILE": str(secret)}),
    }[way]
    serving = process("serve", "--port", "0", "--memory", *options, env=environment)
    url = url_of(serving)
    assert Server(Address(url, "jürgen", PASSWORD), QUICK).user() == ("jürgen", True)
    for address in (Address(url), Address(url, "jürgen", "another"), Address(url, "admin", PASSWORD)):
        with pytest.raises(CredentialsError):
            Server(address, QUICK).database("cards").create()
    serving.terminate()
    _, stderr = serving.communicate(timeout=30)
    assert PASSWORD not in stderr


@THOROUGH
def test_server_that_exits_is_an_error(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Node.js exits, ``serve`` fails."""
    wait = EmbeddedServer.wait

    def kill_first(server: EmbeddedServer) -> int:
        assert server._process is not None
        server._process.kill()
        return wait(server)

    monkeypatch.setattr(EmbeddedServer, "wait", kill_first)
    completed = here("serve", "--port", "0", "--memory", "--quiet")
    assert completed.code == ExitCode.EMBEDDED
    assert "the server stopped unexpectedly (start it again)" in completed.stderr


def test_demo_runs_the_main_job(command: Command, tmp_path: Path, model_name: str) -> None:
    """There are files and a report, and encoded cards work; server and databases are gone afterwards."""
    (tmp_path / "temporary").mkdir()
    completed = command("demo", "--cards", "23", "--model", model_name, env={"TMPDIR": str(tmp_path / "temporary")})
    assert completed.code == ExitCode.OK
    assert not answers(url_told(completed.stderr))
    assert list((tmp_path / "temporary").iterdir()) == []
    [folder] = (tmp_path / "demo").iterdir()
    [manifest] = folder.glob("*.batch.jsonl")
    [workbook] = folder.glob("demo-*[0-9].xlsx")
    [reconciled] = folder.glob("*.reconciled.jsonl")
    assert len([*folder.glob("*.reencode.xlsx")]) == 1
    assert read_manifest(manifest).header.cards == 23
    assert read_reconciled(reconciled).count == 21
    assert zipfile.is_zipfile(workbook)
    assert "All 21 cards are ready." in (folder / "report.html").read_text("utf-8")
    assert "error" not in completed.stderr
    assert "warning" not in completed.stderr
    told = completed.stderr + completed.stdout
    assert [told.count(f" {number} ") for number in ("23", "21")] == [1, 1], "each number is printed once"
    tries = [line.split() for line in completed.stdout.splitlines() if line.startswith("  dataloader ")]
    assert len(tries) == 3
    for _, *words in tries[:2]:
        assert command(*words).code == ExitCode.OK


@THOROUGH
def test_demo_json(command: Command, tmp_path: Path) -> None:
    """Both loads are in the JSON; a target in the environment is ignored."""
    completed = command(
        *("demo", "--cards", "23", "--out", tmp_path / "here", "--json"),
        env={**LOGIN, "COUCHDB_URL": "http://nohost.invalid"},
    )
    assert (completed.code, completed.stderr) == (ExitCode.OK, "")
    told = completed.data
    assert (told["cards"], told["encoded"], told["verified"], told["update_sequences_unchanged"]) == (23, 21, 21, True)
    assert told["load"]["created"] == told["load"]["documents"] == told["load_again"]["unchanged"]
    assert (told["load_again"]["created"], told["load_again"]["created_databases"]) == (0, [])
    assert {Path(told[name]).parent for name in ("manifest", "workbook", "report")} == {tmp_path / "here"}
    assert sum(read_manifest(Path(told["manifest"])).header.snapsets.values()) == 23


@THOROUGH
def test_demo_can_leave_its_server_running(process: Process, command: Command) -> None:
    """With ``--serve``, the server answers until Ctrl-C, and the suggested commands work."""
    running = process("demo", "--cards", "6", "--serve")
    assert running.stderr is not None
    assert running.stdout is not None
    line = next(line for line in iter(running.stderr.readline, "") if line.startswith("serving at "))
    assert answers(line.split()[2])
    tries: list[list[str]] = []
    while len(tries) < 3:
        words = running.stdout.readline().split()
        tries += [words[1:]] if words[:1] == ["dataloader"] else []
    for words in tries:
        assert command(*words).code == ExitCode.OK
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == ExitCode.OK
    assert not answers(line.split()[2])


def test_serve_seed_is_one_command_for_ci(process: Process, model_name: str) -> None:
    """When the line of JSON is printed, the data is loaded; the line says how to reach it."""
    running = process("serve", "--memory", "--port", "0", "--seed", "--users", "2", "--model", model_name, "--json")
    assert running.stdout is not None
    told = json.loads(running.stdout.readline())
    assert (told["ok"], told["model"], told["environment"], len(told["users"])) == (True, model_name, "ci", 2)
    assert told["url"].endswith(f":{told['port']}")
    for name in told["databases"]:
        with urlopen(f"{told['url']}/{name}", timeout=10) as answer:
            assert json.load(answer)["doc_count"] > 0
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == ExitCode.OK


def test_seed_options_require_seed(here: Command) -> None:
    """``--users`` alone would have no effect."""
    done = here("serve", "--memory", "--users", "2")
    assert (done.code, "add --seed" in done.stderr) == (ExitCode.USAGE, True)


@THOROUGH
def test_ctrl_c_stops_the_demo_and_its_server(process: Process, tmp_path: Path) -> None:
    """An interrupted demo ends with code 130 and stops its server."""
    running = process("demo", "--cards", "5000")
    assert running.stderr is not None
    said = iter(running.stderr.readline, "")
    url = url_told(next(line for line in said if line.startswith("server ")))
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == ExitCode.INTERRUPTED
    assert not answers(url)


def test_demo_needs_a_card_for_each_snapset(here: Command) -> None:
    """Fewer cards than snapsets are rejected."""
    completed = here("demo", "--cards", "4")
    assert completed.code == ExitCode.USAGE
    assert "4 must be from 5 to 100,000" in completed.stderr


def test_demo_into_the_folder_of_an_earlier_one_is_refused_at_once(here: Command, tmp_path: Path) -> None:
    """Not after the whole job, at the report."""
    (tmp_path / "report.html").write_text("")
    completed = here("demo", "--out", tmp_path)
    assert (completed.code, completed.stdout) == (ExitCode.FILE, "")
    rule = "already exists; dataloader never overwrites files (choose another folder)"
    assert completed.stderr == f"error: {tmp_path / 'report.html'}: {rule}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
