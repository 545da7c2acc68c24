"""Start the command line fast, so that many processes can be started and killed.

A process that has imported everything forks for each command. Small requests give a small load many moments.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self
from unittest import mock

DOCUMENTS = 5
"""Documents per request."""


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

    def start(self, *arguments: object) -> int:
        """Start a command and return its process ID; call ``wait`` before the next one."""
        _write(self._process.stdin, [*map(str, arguments)])
        return int(self._read())

    def wait(self) -> tuple[int, str]:
        """Wait for the command; return its exit code, or the negative signal number, and stderr.

        Until this is called, the process ID is not reused, even if the process has ended.
        """
        _write(self._process.stdin, None)
        code = os.waitstatus_to_exitcode(int(self._read()))
        return code, self._said.read_text("utf-8")

    def run(self, *arguments: object) -> tuple[int, str]:
        """Run a command to its end."""
        self.start(*arguments)
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


def _serve(said: str, run: Any) -> None:
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            with Path(said).open("w") as errors:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(errors.fileno(), 2)
                code = run(json.loads(line))
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

    from dataloader.cli import COMMANDS, run

    for name in {*COMMANDS}:
        import_module(f"dataloader.cli.{name}")
    with mock.patch("dataloader.operations.revoke.now", return_value="2020-11-23T00:00:00.000Z"):
        _serve(sys.argv[1], run)


if __name__ == "__main__":
    main()
