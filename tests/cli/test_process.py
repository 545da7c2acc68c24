"""Commands as processes: signals, and errors of their output."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

from dataloader.cli._output import Output
from dataloader.common import EmbeddedServerError, ExitCode, UsageError, printable
from dataloader.common.settings import Patience
from dataloader.embedded import install
from tests.support.command import Command, Process
from tests.support.marks import THOROUGH
from tests.support.proxy import Forward, Proxy, Reply, Request

NOBODY = "http://127.0.0.1:9"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_a_command_like_ctrl_c(
    process: Process, given: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    """The report is written, no hidden file is left, and the exit code is that of an interruption."""
    asked, over = Event(), Event()

    def hang(request: Request, forward: Forward) -> Reply:
        asked.set()
        over.wait(60)
        return Reply(503)

    manifest, snapsets = given
    with Proxy(NOBODY, hang) as proxy:
        try:
            running = process(
                *("load", manifest, "--snapsets", snapsets, "--url", proxy.url, "--environment", "ci"),
                *("--report", "report.html"),
            )
            assert asked.wait(60)
            running.send_signal(number)
            _, stderr = running.communicate(timeout=60)
        finally:
            over.set()
    assert running.returncode == ExitCode.INTERRUPTED
    assert stderr == "error: interrupted: what was written is kept; run it again to continue\n"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "module", ["dataloader.common", "dataloader.cli", "dataloader.cli.reconcile", "dataloader.vendor.returned"]
)
def test_signal_while_importing_is_an_interruption(tmp_path: Path, number: signal.Signals, module: str) -> None:
    """Before the command has read its arguments: the same exit code, one line, and no report."""
    code = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["dataloader", "reconcile", "none.batch.jsonl", "none.xlsx", "--report", "report.html"]
from dataloader.__main__ import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "error: interrupted: run it again\n")
    assert list(tmp_path.iterdir()) == []


def test_signal_in_a_callback_is_not_lost() -> None:
    """Python ignores an interrupt there, and prints a traceback."""
    code = f"""
import os, time, weakref
from dataloader import cli
class Thing: pass
thing = Thing()
callback = weakref.ref(thing, lambda _: os.kill(os.getpid(), {int(signal.SIGTERM)}))
def run(arguments):
    global thing
    try:
        thing = None
        time.sleep(600)
    except KeyboardInterrupt:
        return {int(ExitCode.INTERRUPTED)}
cli.run = run
cli.main([])
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "")


def test_missing_current_folder_is_one_line(tmp_path: Path) -> None:
    """Somebody has deleted it meanwhile."""
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; from dataloader.cli import main; os.rmdir({str(gone)!r}); main(['batches'])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60, cwd=gone
    )
    said = "error: the current folder: does not exist any more (change to another one)\n"
    assert (done.returncode, done.stderr) == (ExitCode.FILE, said)


def test_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As with nohup: closing the terminal does not stop the command."""
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from dataloader.cli import _prepare_process\n"
        "_prepare_process(); os.kill(os.getpid(), signal.SIGHUP); print('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "goes on\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize("option", ["--json", "--quiet", pytest.param("--log-format=json", marks=THOROUGH)])
def test_full_output_is_one_line(given: tuple[Path, Path], option: str) -> None:
    """If a result can't be written: exit code 4, and no traceback, not even when Python exits."""
    manifest, snapsets = given
    command = [sys.executable, "-m", "dataloader", "validate", str(manifest), "--snapsets", str(snapsets), option]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    if option == "--quiet":
        assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    else:
        assert done.returncode == ExitCode.FILE
        assert len(done.stderr.splitlines()) == 1
        assert "no space left on device" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_help_to_full_output_is_one_line() -> None:
    """Click prints the help itself."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "dataloader", "load", "--help"]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == ExitCode.FILE
    assert done.stderr == "error: standard output: no space left on device (redirect it to a disk with free space)\n"


def test_characters_that_cannot_be_encoded_are_escaped(command: Command, tmp_path: Path) -> None:
    """In text with a backslash, in JSON with its own escapes."""
    name = "größe-🔍.jsonl"
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    plain = command("validate", name, env=environment)
    assert plain.code == ExitCode.FILE
    assert "Traceback" not in plain.stderr
    assert "\\U0001f50d" in plain.stderr
    told = command("validate", name, "--json", env=environment)
    assert name in json.loads(told.stdout)["error"]


def test_text_from_outside_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and characters that reverse a line, in names and in text from servers."""
    output = Output()
    evil = "a\x1b[2J\x9b1m\u202eb\r\nc"
    output.say(evil)
    output.warn(evil)
    output.result({"evil": evil}, [evil])
    output.json = True
    output.result({"evil": evil}, [])
    output.finish(ExitCode.OK)
    captured = capsys.readouterr()
    for line in (captured.out + captured.err).splitlines():
        assert line.isprintable()
        assert "\x1b" not in line
    assert json.loads(captured.out.splitlines()[-1])["evil"] == evil
    assert printable("a\x1bb") == "a\\x1bb"


@pytest.mark.parametrize("value", ["1e10", "inf", "nan", "-1", "100001", "1e400"])
@pytest.mark.parametrize("name", ["DATALOADER_TIMEOUT", "DATALOADER_RETRIES", "DATALOADER_RETRY_TOTAL"])
def test_impossible_setting_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The error names the variable and its limit."""
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"{name}={value}: must be a number, .* at most 100,000"):
        Patience.from_environment()


def test_missing_home_folder_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container's user may have none; nothing is installed in a folder named ~."""
    for name in ("HOME", "XDG_CACHE_HOME", "DATALOADER_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(EmbeddedServerError, match=r"HOME is not set.*set HOME, or DATALOADER_CACHE_DIR"):
        install()
    assert list(tmp_path.iterdir()) == []
