"""Running a contestant as a process of its own, and what the operating system says it took."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

# A process begins with the memory peak of the one that started it, and the benchmark itself is large; so a small
# process stands between.
_BETWEEN = """
import json, os, subprocess, sys, time
start = time.perf_counter()
child = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(child.pid, 0)
wall = time.perf_counter() - start
with open(sys.argv[1], "w") as result:
    json.dump([os.waitstatus_to_exitcode(status), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss], result)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a process took."""

    wall: float
    """Seconds from start to end."""
    cpu: float
    """Seconds of processor time, user and system."""
    peak: float
    """Megabytes (of 1,000,000 bytes) of memory at the most."""
    output: str
    """What it printed on stdout."""


def run(
    arguments: Sequence[str], folder: Path, *, env: Mapping[str, str] | None = None, stdin: Path | None = None
) -> Measured:
    """Run a process to its end.

    Args:
        arguments: the command.
        folder: where the measurement may be written.
        env: more environment variables.
        stdin: a file that it reads.

    Raises:
        SystemExit: it failed; what it printed on stderr is repeated.
    """
    note = folder / "measured.json"
    with TemporaryFile() as output, TemporaryFile() as errors, Path(stdin or os.devnull).open("rb") as source:
        subprocess.run(  # noqa: S603 - the benchmark's own contestants
            python("-I", "-S", "-c", _BETWEEN, str(note), *arguments),
            stdin=source,
            stdout=output,
            stderr=errors,
            env={**os.environ, **(env or {})},
            check=True,
        )
        code, wall, cpu, peak = json.loads(note.read_text())
        output.seek(0)
        errors.seek(0)
        if code:
            sys.exit(f"{arguments[0]} … ended with {code}: {errors.read().decode()[-2000:]}")
        # Linux counts ru_maxrss in KiB.
        return Measured(wall, cpu, peak * 1024 / 1e6, output.read().decode())


def python(*arguments: str) -> list[str]:
    """Return the command that runs this Python."""
    return [sys.executable, *arguments]
