"""Running a contestant as a process of its own, and what the operating system says it took."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile


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


def run(arguments: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: Path | None = None) -> Measured:
    """Run a process to its end.

    Raises:
        SystemExit: it failed; what it printed on stderr is repeated.
    """
    with TemporaryFile() as output, TemporaryFile() as errors, open(stdin or os.devnull, "rb") as source:  # noqa: PTH123
        start = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - the benchmark's own contestants
            list(arguments), stdin=source, stdout=output, stderr=errors, env={**os.environ, **(env or {})}
        )
        # The resource use of this one child, which subprocess does not give.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{arguments[0]} … ended with {process.returncode}: {errors.read().decode()[-2000:]}")
        # Linux counts ru_maxrss in KiB.
        peak = usage.ru_maxrss * 1024 / 1e6
        return Measured(wall, usage.ru_utime + usage.ru_stime, peak, output.read().decode())


def python(*arguments: str) -> list[str]:
    """Return the command that runs this Python."""
    return [sys.executable, *arguments]
