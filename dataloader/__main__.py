"""The command ``dataloader``, also as ``python -m dataloader``."""

import gc
import os
import signal
import sys
from types import FrameType

LEAST = 150_000_000
"""Bytes of address space below which not even the imports are reliable: Python may end without an error."""

OBJECTS = 50_000
"""New objects after which Python looks for cycles."""

_INTERRUPTED = 130
"""``ExitCode.INTERRUPTED``, which is not imported yet."""


def main() -> None:
    """Run the command line, unless there is too little memory to import it, or a signal comes meanwhile."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A signal that is ignored, as by nohup, stays ignored.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    # Everything is imported after the signals are set.
    from dataloader.common import ExitCode, memory_limit, too_little_memory  # noqa: PLC0415

    limit = memory_limit()
    if limit is not None and limit < LEAST:
        sys.stderr.write(f"error: {too_little_memory(MemoryError())}\n")
        sys.exit(ExitCode.FILE)
    # Cards and documents are many objects without cycles; looking for some as often as usual takes a tenth of the time.
    gc.set_threshold(OBJECTS)
    from dataloader.cli import main as run_command  # noqa: PLC0415 - only with enough memory

    run_command()


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a handler
    """End the process at once: no command has begun."""
    os.write(2, b"error: interrupted: run it again\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
