"""Fast command line processes: a process that has imported everything forks for each command.

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
from typing import Any, Self

from tests.support.command import Completed

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
        with TemporaryDirectory(prefix="forked-") as folder, socket.socket(socket.AF_UNIX) as connection:
            stdout, stderr = Path(folder) / "stdout", Path(folder) / "stderr"
            connection.settimeout(timeout)
            connection.connect(self._address)
            call = {
                "arguments": list(arguments),
                "env": dict(env),
                "cwd": str(cwd),
                "output": [*map(str, (stdout, stderr))],
            }
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.write(f"{json.dumps(call)}\n")
                stream.flush()
                pid = int(stream.readline())
                try:
                    status = int(stream.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(list(arguments), timeout) from None
            return Completed(os.waitstatus_to_exitcode(status), *map(_text, (stdout, stderr)))


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
            with connection:
                _wait_for(connection)
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


def _wait_for(connection: socket.socket) -> None:
    """Run a requested command in a child process; reply with its process ID, later with its status."""
    with connection.makefile("rw", encoding="utf-8") as stream:
        call = json.loads(stream.readline())
        pid = os.fork()
        if pid == 0:
            connection.close()
            _run(call)
        for number in (pid, os.waitpid(pid, 0)[1]):
            stream.write(f"{number}\n")
            stream.flush()


def _run(call: dict[str, Any]) -> None:
    """Run the command in this process; does not return."""
    code = 1
    try:
        os.chdir(call["cwd"])
        os.environ.clear()
        os.environ.update(call["env"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(call["output"], 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from dataloader.cli import main

        sys.argv = ["dataloader", *call["arguments"]]
        main()
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
