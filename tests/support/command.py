"""The command line as tests call it, and the result of a call."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Completed:
    """The exit code and the output of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        assert self.stdout, self
        data: dict[str, Any] = json.loads(self.stdout)
        return data


GOOD = {"format": 1, "ok": True, "warnings": []}
"""The members in the JSON of every successful command, besides its result."""


def failed(message: str, code: int) -> dict[str, Any]:
    """Return the JSON of a command that failed without a result."""
    return {"format": 1, "ok": False, "warnings": [], "error": message, "exit_code": int(code)}


Command = Callable[..., Completed]
"""Runs a command to completion: ``command("load", path, env={…})``."""
Process = Callable[..., "subprocess.Popen[str]"]
"""Starts a command and returns at once: ``process("serve")``."""
