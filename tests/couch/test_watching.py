"""Watching a long command: bars on a terminal, lines elsewhere, JSON for machines."""

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


def test_a_line_of_progress_says_step_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where stderr is no terminal, a line now and then tells how far it has come."""
    monkeypatch.setenv("DATALOADER_PROGRESS_INTERVAL", "0")
    progress = Progress(Output())
    progress("auth: user", 500, 2000)
    line = capsys.readouterr().err
    assert line.startswith("auth: user: 500 of 2,000 documents, ")
    assert line.endswith(" s left\n")


def test_a_step_of_unknown_size_is_told_as_under_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not tell how far an index has come is at least said to be at it."""
    monkeypatch.setenv("DATALOADER_PROGRESS_INTERVAL", "0")
    Progress(Output())("auth: index of views", 0, 0)
    assert capsys.readouterr().err == "auth: index of views: under way\n"


def test_no_line_comes_before_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    """The first line comes after 30 seconds, so that quick steps leave logs alone."""
    progress = Progress(Output())
    for done in range(100):
        progress("auth: user", done, 100)
    assert capsys.readouterr().err == ""


def test_quiet_shows_no_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``--quiet`` is quiet."""
    monkeypatch.setenv("DATALOADER_PROGRESS_INTERVAL", "0")
    output = Output()
    output.quiet = True
    Progress(output)("auth: user", 500, 2000)
    assert capsys.readouterr().err == ""


def test_progress_for_machines_is_a_json_object_a_line(command: Command, tmp_path: Path) -> None:
    """``--log-format json`` makes every line on stderr an object with time, level and message."""
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


def test_errors_for_machines_are_json_too(command: Command) -> None:
    """An error's line has its exit code."""
    completed = command("validate", "nowhere.batch.jsonl", "--log-format", "json")
    [line] = [json.loads(line) for line in completed.stderr.splitlines()]
    assert (completed.code, line["level"], line["exit_code"]) == (ExitCode.FILE, "error", ExitCode.FILE)
    assert "nowhere.batch.jsonl" in line["message"]


def test_building_an_index_is_a_step_too(
    server: Server, target: Target, sources: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server builds the views' indexes, progress goes on, by the server's own task list where it has one."""
    monkeypatch.setattr("dataloader.replication.indexes.INDEX_LOOK", 0.0)
    steps: dict[str, list[tuple[int, int]]] = {}
    load(
        *(server, target, sources),
        on_progress=lambda step, done, total: steps.setdefault(step, []).append((done, total)),
    )
    name = f"{target.database(target.model.databases[-1])}: index of views"
    assert name in steps
    assert all(0 <= done <= total for done, total in steps[name])


def test_a_long_step_has_a_bar_on_a_terminal() -> None:
    """On a terminal a step that takes longer than a second shows a bar, and takes it away again."""
    script = (
        "import time\n"
        "from dataloader.cli._output import Output\n"
        "from dataloader.cli._progress import Progress\n"
        "progress = Progress(Output())\n"
        "for done in range(15):\n"
        "    progress('auth: user', done, 100)\n"
        "    time.sleep(0.1)\n"
        "progress.close()\n"
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
    assert " a second, " in shown
