"""Progress of a long command: bars on a terminal, lines elsewhere, JSON for machines."""

import json
import os
import pty
import select
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from dataloader.cli._output import Output
from dataloader.cli._progress import Progress
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import Source, load
from dataloader.target import Target
from tests.support.command import Command


def test_progress_line_has_step_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If stderr is not a terminal, progress is a line at intervals."""
    monkeypatch.setenv("DATALOADER_PROGRESS_INTERVAL", "0")
    progress = Progress(Output())
    progress("auth: user", 500, 2000)
    line = capsys.readouterr().err
    assert line.startswith("auth: user: 500 of 2,000 documents, ")
    assert line.endswith(" s left\n")


def test_step_of_unknown_size_is_shown_as_running(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the server does not report how far an index is, the line says that it is being built."""
    monkeypatch.setenv("DATALOADER_PROGRESS_INTERVAL", "0")
    Progress(Output())("auth: index of views", 0, 0)
    assert capsys.readouterr().err == "auth: index of views: running for 0 s\n"


def test_first_progress_line_comes_after_an_interval(capsys: pytest.CaptureFixture[str]) -> None:
    """It comes after 30 seconds, so that short steps do not fill logs."""
    progress = Progress(Output())
    for done in range(100):
        progress("auth: user", done, 100)
    assert capsys.readouterr().err == ""


def test_quiet_shows_no_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``--quiet`` prints no progress."""
    monkeypatch.setenv("DATALOADER_PROGRESS_INTERVAL", "0")
    output = Output()
    output.quiet = True
    Progress(output)("auth: user", 500, 2000)
    assert capsys.readouterr().err == ""


def test_json_progress_is_one_object_per_line(command: Command, tmp_path: Path) -> None:
    """With ``--log-format json``, every line on stderr is an object with time, level and message."""
    completed = command(
        *("generate", "big", "--cards", "3000", "--out", tmp_path, "--log-format", "json"),
        env={"DATALOADER_PROGRESS_INTERVAL": "0"},
    )
    assert completed.code == 0
    lines = [json.loads(line) for line in completed.stderr.splitlines()]
    assert [(line["done"], line["total"], line["unit"]) for line in lines] == [
        (cards, 3000, "cards") for cards in range(1000, 3001, 1000)
    ]
    assert all({"time", "level", "message", "step", "rate", "seconds_left"} <= line.keys() for line in lines)


def test_json_errors_have_an_exit_code(command: Command) -> None:
    """An error's line has its exit code."""
    completed = command("validate", "nowhere.batch.jsonl", "--log-format", "json")
    [line] = [json.loads(line) for line in completed.stderr.splitlines()]
    assert (completed.code, line["level"], line["exit_code"]) == (ExitCode.FILE, "error", ExitCode.FILE)
    assert "nowhere.batch.jsonl" in line["message"]


def test_building_an_index_has_progress(
    server: Server, target: Target, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While views are indexed, progress follows the server's task list if there is one."""
    monkeypatch.setattr("dataloader.replication.indexes.INDEX_LOOK", 0.0)
    steps: dict[str, list[tuple[int, int]]] = {}
    load(
        *(server, target, sources),
        on_progress=lambda step, done, total: steps.setdefault(step, []).append((done, total)),
    )
    name = f"{target.database(target.model.databases[-1])}: index of views"
    assert name in steps
    assert all(0 <= done <= total for done, total in steps[name])


def test_long_step_has_a_bar_on_a_terminal() -> None:
    """A step of more than a second shows a bar, and removes it at the end."""
    script = (
        "import time\n"
        "from dataloader.cli._output import Output\n"
        "from dataloader.cli._progress import Progress\n"
        "with Progress(Output()) as progress:\n"
        "    for done in range(15):\n"
        "        progress('auth: user', done, 100)\n"
        "        time.sleep(0.1)\n"
    )
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=follower, stdin=subprocess.DEVNULL)
    assert process.wait(30) == 0
    readable, _, _ = select.select([leader], [], [], 0)
    shown = os.read(leader, 65536).decode() if readable else ""
    os.close(follower)
    os.close(leader)
    assert "auth: user 1" in shown
    assert " of 100 documents, " in shown
    assert "/s, " in shown
