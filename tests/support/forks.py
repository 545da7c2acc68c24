"""Fast processes: one that has imported everything forks for each command, and for each workbook to open.

Imports take most of the time of a short command. ``pytest --real-processes`` starts a new Python for each, as ``make
test-all`` does to measure coverage. Signals, output streams and start-up are always tested with new processes (the
fixtures ``process`` and ``new_process``), and each command once.
"""

import gc
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Self

from tests.support.command import Completed

NOTHING = Path(os.devnull)
COMMAND = "dataloader.cli"
SANDBOX = "dataloader.vendor.returned.sandbox"
READ_AT_START = ("PYTHON", "LC_", "LANG", "COVERAGE_", "MALLOC_")
"""Variables that Python reads at startup: a command with one of them needs a new Python."""


class Forks:
    """Starts commands during a ``with`` block; several at once if necessary."""

    def __enter__(self) -> Self:
        """Start the process that forks."""
        self._folder = TemporaryDirectory(prefix="forks-")
        self._address = str(Path(self._folder.name) / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self._address)
            listener.listen(64)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forks", str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                cwd=Path(__file__).resolve().parents[2],
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._folder.cleanup()

    def run(self, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float) -> Completed:
        """Run a command to completion.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds and was killed.
        """
        with TemporaryDirectory(prefix="forked-") as folder:
            stdout, stderr = Path(folder) / "stdout", Path(folder) / "stderr"
            with NOTHING.open("rb") as nothing, stdout.open("ab") as output, stderr.open("ab") as errors:
                code = self.run_with((nothing, output, errors), arguments, env, cwd, timeout)
            return Completed(code, *map(_text, (stdout, stderr)))

    def run_with(
        self,
        streams: Sequence[IO[bytes]],
        arguments: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        timeout: float,
    ) -> int:
        """Run a command with the given stdin, stdout and stderr, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds and was killed.
        """
        process = self._start(COMMAND, arguments, env, cwd, streams)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise

    def open_workbook(self, path: Path) -> "Fork":
        """Start the process that opens a workbook, like ``dataloader.vendor.returned.workbook_file``."""
        (stdin, to_stdin), (from_stdout, stdout) = _pipe(), _pipe()
        with stdin, stdout, NOTHING.open("ab") as stderr:
            process = self._start(SANDBOX, [str(path.absolute())], os.environ, Path.cwd(), (stdin, stdout, stderr))
        process.stdin, process.stdout = to_stdin, from_stdout
        return process

    def _start(
        self, module: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, streams: Sequence[IO[bytes]]
    ) -> "Fork":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._address)
        socket.send_fds(connection, [b"\n"], [each.fileno() for each in streams])
        return Fork(connection, {"module": module, "arguments": [*arguments], "env": {**env}, "cwd": str(cwd)})


class Fork:
    """A forked process, with the methods of ``subprocess.Popen`` that are used."""

    stdin: IO[bytes]
    stdout: IO[bytes]

    def __init__(self, connection: socket.socket, call: Mapping[str, Any]) -> None:
        self._connection = connection
        self._stream = connection.makefile("rw", encoding="utf-8")
        self._stream.write(f"{json.dumps(call)}\n")
        self._stream.flush()
        self._pid = int(self._stream.readline())
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds.
        """
        if self._code is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired([], timeout or 0)
            self._code = os.waitstatus_to_exitcode(int(self._stream.readline()))
            self._stream.close()
            self._connection.close()
        return self._code

    def kill(self) -> None:
        """Kill the process, unless it has ended."""
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    """Return the two ends of a new pipe: what is written to the second can be read from the first."""
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")


def _text(path: Path) -> str:
    # Like subprocess with text=True: line ends of every system are accepted.
    return path.read_text(errors="strict")


def skip_slow_imports() -> None:
    """Leave out what takes a second to import, and is not used.

    jsonschema imports the grammars of rfc3987-syntax for a check of formats if they are installed, as they are with the
    tools of the tests.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type] # None makes an import fail


def _serve(listener: socket.socket) -> None:
    """Fork for each call until stdin ends."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _, streams, _, _ = socket.recv_fds(connection, 1, 3)
            with connection:
                _wait_for(connection, streams)
            os._exit(0)
        connection.close()
        _reap()


def _reap() -> None:
    """Collect child processes that have exited."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _wait_for(connection: socket.socket, streams: Sequence[int]) -> None:
    """Run a requested command in a child process; reply with its process ID, later with its status."""
    with connection.makefile("rw", encoding="utf-8") as stream:
        call = json.loads(stream.readline())
        pid = os.fork()
        if pid == 0:
            connection.close()
            _run(call, streams)
        for each in streams:
            # The end of its output is the end of the process.
            os.close(each)
        stream.write(f"{pid}\n")
        stream.flush()
        stream.write(f"{os.waitpid(pid, 0)[1]}\n")


def _run(call: dict[str, Any], streams: Sequence[int]) -> None:
    """Run the command in this process; does not return."""
    code = 1
    try:
        os.chdir(call["cwd"])
        os.environ.clear()
        os.environ.update(call["env"])
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        # Python asks only once whether a stream is a terminal or a file.
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["dataloader", *call["arguments"]]
        import_module(call["module"]).main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - a process ends with a traceback
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Import everything, and serve requests."""
    skip_slow_imports()
    import dataloader

    for module in pkgutil.walk_packages(dataloader.__path__, "dataloader."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    # Collections in the commands would copy all of this.
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        _serve(listener)


if __name__ == "__main__":
    main()
