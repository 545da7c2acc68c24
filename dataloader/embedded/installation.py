"""Install the server's packages with npm, once, in the user's cache."""

import os
import re
import subprocess
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from platformdirs import user_cache_path

from dataloader.common import ENV_CACHE_DIR, EmbeddedServerError
from dataloader.embedded.nodejs import Node, environment, find_node

INSTALL_LIMIT = 600.0
"""Timeout for npm in seconds."""

_FILES = ("package.json", "package-lock.json", "server.js")
_NPM_CI = (
    *("ci", "--omit=dev", "--omit=optional", "--no-audit", "--no-fund", "--no-update-notifier"),
    # No install scripts: LevelDB comes prebuilt and is found at run time.
    "--ignore-scripts",
    *("--loglevel=error", "--logs-max=0"),
)


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
    return {name: files(__package__).joinpath(name).read_bytes() for name in _FILES}


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
            env=environment(),
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
    return said[1].strip() if said else last_line(output)


def last_line(output: str) -> str:
    """Return the last line of a program's output that is not empty; empty if there is none."""
    lines = [line.strip() for line in output.splitlines()]
    return next((line for line in reversed(lines) if line), "")
