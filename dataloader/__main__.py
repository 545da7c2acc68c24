"""The command ``dataloader``, also as ``python -m dataloader``."""

import gc
import sys

from dataloader.common import ExitCode, memory_limit, too_little_memory

LEAST = 150_000_000
"""Bytes of address space below which not even the imports are reliable: Python may end without an error."""

OBJECTS = 50_000
"""New objects after which Python looks for cycles."""


def main() -> None:
    """Run the command line, unless there is too little memory to import it."""
    limit = memory_limit()
    if limit is not None and limit < LEAST:
        sys.stderr.write(f"error: {too_little_memory(MemoryError())}\n")
        sys.exit(ExitCode.FILE)
    # Cards and documents are many objects without cycles; looking for some as often as usual takes a tenth of the time.
    gc.set_threshold(OBJECTS)
    from dataloader.cli import main as run_command  # noqa: PLC0415 - only with enough memory

    run_command()


if __name__ == "__main__":
    main()
