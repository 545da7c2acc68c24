"""The server as a child process, which stops with its parent."""

import errno
import json
import os
import re
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryFile
from threading import Thread
from typing import IO, Self
from urllib.parse import urlsplit

from dataloader.common import EmbeddedServerError
from dataloader.embedded.installation import install, last_line
from dataloader.embedded.nodejs import environment, find_node

START_LIMIT = 30.0
"""Seconds in which the server must start to answer."""
STOP_LIMIT = 10.0
"""Seconds that the server may take to close its databases before it is killed."""


class EmbeddedServer:
    """A PouchDB Server as a child process; stops at the end of the block, or when this process ends for any reason.

    Args:
        data: the folder of the databases, created if necessary; None keeps them in memory.
        host: the address to listen on; any other than this machine's requires an admin.
        port: the port to listen on; 0 picks a free one.
        admin: name and password of the server admin; None gives everyone full access.
        users: names and passwords of users who are not admins.
    """

    def __init__(
        self,
        data: Path | None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        admin: tuple[str, str] | None = None,
        users: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._config = {
            "host": host,
            "port": port,
            "data": None if data is None else str(data.absolute()),
            "admin": None if admin is None else _account(admin),
            "users": [_account(user) for user in users],
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """The server's URL, without credentials.

        Raises:
            EmbeddedServerError: it is not running.
        """
        if self._url is None:
            raise EmbeddedServerError("the embedded server", rule="is not running", todo="start it first")
        return self._url

    def start(self, *, limit: float = START_LIMIT) -> Self:
        """Start the server, after installing it if necessary, and wait until it answers.

        Args:
            limit: seconds to wait for an answer; the installation has its own limit.

        Raises:
            EmbeddedServerError: it can't be installed, fails to start, or does not answer in time.
        """
        if self._process is not None:
            return self
        node = find_node()
        folder = install(node)
        self._errors = TemporaryFile()  # noqa: SIM115 - closed when the server stops
        self._process = subprocess.Popen(  # noqa: S603 - Node.js, and a file of ours
            [*node.node, str(folder / "server.js")],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(),
            # Ctrl-C is for this process, which may have something to finish; it stops the server afterwards.
            start_new_session=True,
        )
        try:
            self._url = self._wait_until_up(self._process, time.monotonic() + limit)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop the server after it has finished its requests and closed its databases; kill it after 10 s."""
        process = self._process
        if process is None:
            return
        _close(process.stdin)
        try:
            process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
        self._forget(process)

    def kill(self) -> None:
        """Kill the server at once, like a crash."""
        process = self._process
        if process is None:
            return
        process.kill()
        self._forget(process)

    def wait(self) -> int:
        """Wait until the server exits by itself or is killed by somebody else.

        Returns:
            Its exit code, or the negative signal number; 0 if it is not running.
        """
        return 0 if self._process is None else self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        for stream in (process.stdin, process.stdout, self._errors):
            _close(stream)
        self._process = self._errors = self._url = None

    def _wait_until_up(self, process: subprocess.Popen[bytes], deadline: float) -> str:
        reply = _first_line(process, json.dumps(self._config).encode() + b"\n", deadline)
        if reply is None:
            raise _not_started("it did not answer in time")
        if not reply:
            raise _not_started(self._last_words() or f"it ended with exit code {process.wait()}")
        message: dict[str, str] = json.loads(reply)
        if "error" in message:
            raise _not_started(message["error"])
        while not _is_up(message["url"]):
            if time.monotonic() > deadline:
                raise _not_started("it did not answer in time")
            time.sleep(0.05)
        return message["url"]

    def _last_words(self) -> str:
        if self._errors is None:
            return ""
        self._errors.seek(0)
        output = self._errors.read().decode(errors="replace")
        # Node.js prints a stack trace around the error, and its own version last.
        error = re.search(r"^\w*Error\b.*", output, re.MULTILINE)
        return error[0] if error else last_line(output)


def _account(account: tuple[str, str]) -> dict[str, str]:
    name, password = account
    return {"name": name, "password": password}


_PORT = re.compile(r"port \d+ of \S+ can't be opened")
"""What server.js says of a port."""
_DATA = re.compile(r"(?P<said>the data folder .* can't be (?:opened|written to))(?: \((?P<code>E[A-Z]+)\))?")
"""What server.js says of the folder of the databases."""


def _not_started(rule: str) -> EmbeddedServerError:
    todo = "stop what uses it, or choose another with --port" if _PORT.match(rule) else None
    if data := _DATA.match(rule):
        todo = "choose another with --data, or use --memory"
        if data["code"]:
            rule = f"{data['said']}: {os.strerror(getattr(errno, data['code'], errno.EIO)).lower()}"
    return EmbeddedServerError("the embedded server did not start", rule=rule, todo=todo)


def _first_line(process: subprocess.Popen[bytes], config: bytes, deadline: float) -> bytes | None:
    # In a thread, since reading from a pipe has no timeout on some systems. It ends with the process.
    lines: SimpleQueue[bytes] = SimpleQueue()

    def talk() -> None:
        if process.stdin is None or process.stdout is None:
            return
        # The server may exit before it reads this; whether it printed its first line shows that.
        with suppress(OSError):
            process.stdin.write(config)
            process.stdin.flush()
        lines.put(process.stdout.readline())

    Thread(target=talk, daemon=True).start()
    try:
        return lines.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        return None


def _is_up(url: str) -> bool:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/_up")
        return connection.getresponse().status == 200  # noqa: PLR2004 - 200 is 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _close(stream: IO[bytes] | None) -> None:
    if stream is None:
        return
    # There may be nobody left to read what is still to be written.
    with suppress(OSError):
        stream.close()
