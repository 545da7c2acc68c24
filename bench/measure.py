"""Run a program as a separate process, and measure it with the operating system's counters."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

# A process inherits the memory peak of its parent, and the benchmark itself is large. So a small process starts it.
_BETWEEN = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(child.pid, 0)
wall = time.perf_counter() - start
with open(int(sys.argv[1]), "w") as result:
    json.dump([os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], result)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """The resources that a process used."""

    wall: float
    """Seconds from start to end."""
    cpu: float
    """Seconds of processor time, user and system."""
    peak: float
    """Peak memory in megabytes (1,000,000 bytes)."""
    output: str
    """Its output on stdout."""


def run(arguments: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: Path | None = None) -> Measured:
    """Run a process and wait for it. Several threads may do so at once.

    Args:
        arguments: the command.
        env: additional environment variables.
        stdin: a file for its stdin.

    Raises:
        SystemExit: it failed; the message repeats its stderr.
    """
    with (
        TemporaryFile() as note,
        TemporaryFile() as output,
        TemporaryFile() as errors,
        Path(stdin or os.devnull).open("rb") as source,
    ):
        subprocess.run(  # noqa: S603 - the benchmark's own contestants
            python("-I", "-S", "-c", _BETWEEN, str(note.fileno()), *arguments),
            stdin=source,
            stdout=output,
            stderr=errors,
            env={**os.environ, **(env or {})},
            pass_fds=[note.fileno()],
            check=True,
        )
        note.seek(0)
        code, wall, cpu, peak = json.load(note)
        output.seek(0)
        errors.seek(0)
        if code:
            sys.exit(f"{arguments[0]} … ended with {code}: {errors.read().decode()[-2000:]}")
        # Linux counts ru_maxrss in KiB.
        return Measured(wall, cpu, peak * 1024 / 1e6, output.read().decode())


def python(*arguments: str) -> list[str]:
    """Return the command that runs this Python."""
    return [sys.executable, *arguments]
