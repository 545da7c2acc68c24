"""Start the command line fast, so that many processes can be started and killed.

A process that has imported everything forks for each command. Small requests and files give a small batch many moments
at which a command can be killed.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self
from unittest import mock

DOCUMENTS = 5
"""Documents per request."""
RUN_BYTES = 10_000
"""Bytes in a temporary file of a backup."""
CHANGES = frozenset(f"os.{name}" for name in ("link", "mkdir", "remove", "rename", "rmdir", "truncate"))
"""Audit events of changes of files, besides opening a file to write to it."""


class QuickStart:
    """Starts commands, one at a time, during a ``with`` block.

    Args:
        folder: the current folder of the commands.
        environment: additional environment variables.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._said = folder / "said.txt"
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, __file__, str(self._said)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, **environment},
        )

    def start(self, *arguments: object, die_at: int = 0) -> int:
        """Start a command and return its process ID; call ``wait`` before the next one.

        Args:
            arguments: the command line.
            die_at: the change of a file, counted from 1, just before which the process kills itself; 0 for none.
        """
        _write(self._process.stdin, {"arguments": [*map(str, arguments)], "die_at": die_at})
        return int(self._read())

    def wait(self) -> tuple[int, str]:
        """Wait for the command; return its exit code, or the negative signal number, and stderr.

        Until this is called, the process ID is not reused, even if the process has ended.
        """
        _write(self._process.stdin, None)
        code = os.waitstatus_to_exitcode(int(self._read()))
        return code, self._said.read_text("utf-8")

    def run(self, *arguments: object, die_at: int = 0) -> tuple[int, str]:
        """Run a command to its end."""
        self.start(*arguments, die_at=die_at)
        return self.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


def _write(stream: IO[str] | None, data: object) -> None:
    assert stream is not None
    stream.write(f"{json.dumps(data)}\n")
    stream.flush()


def _die_at(left: int) -> None:
    """Kill this process just before it changes files for the given time; never if that is 0."""

    def watch(event: str, arguments: Sequence[Any]) -> None:
        nonlocal left
        if event == "open":
            path, _, flags = arguments
            # A folder is opened to create a nameless file in it, which nobody finds afterwards.
            is_change = isinstance(path, str) and flags & (os.O_WRONLY | os.O_RDWR) and not Path(path).is_dir()
        else:
            is_change = event in CHANGES
        # openpyxl's own temporary files do not matter.
        if is_change and Path(arguments[0]).parent != elsewhere:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    elsewhere = Path(tempfile.gettempdir())
    if left:
        sys.addaudithook(watch)


def _serve(said: str, run: Any) -> None:
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            with Path(said).open("w") as errors:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(errors.fileno(), 2)
                call = json.loads(line)
                _die_at(call["die_at"])
                code = run(call["arguments"])
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
        print(pid, flush=True)  # noqa: T201 - read by the parent
        sys.stdin.readline()
        print(os.waitpid(pid, 0)[1], flush=True)  # noqa: T201 - read by the parent


def main() -> None:
    """Import everything, and start the commands that are read from stdin."""
    from dataloader.common import settings

    settings.BATCH_DOCUMENTS = DOCUMENTS
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from importlib import import_module

    sizes = {"operations.backup": ("FIRST_ROWS", "PAGE_ROWS", "FETCHED"), "operations.restore": ("WRITTEN",)}
    for module, names in sizes.items():
        for name in names:
            setattr(import_module(f"dataloader.{module}"), name, DOCUMENTS)
    import_module("dataloader.archive.spool").RUN_BYTES = RUN_BYTES  # type: ignore[attr-defined]
    from dataloader.cli import COMMANDS, run

    for name in {*COMMANDS}:
        import_module(f"dataloader.cli.{name}")
    with mock.patch("dataloader.operations.revoke.now", return_value="2020-11-23T00:00:00.000Z"):
        _serve(sys.argv[1], run)


if __name__ == "__main__":
    main()
