"""The command ``dataloader``, also as ``python -m dataloader``."""

import sys

from dataloader.common import ExitCode, memory_limit, too_little_memory

LEAST = 150_000_000
"""Bytes of address space below which not even the imports are reliable: Python may end without an error."""


def main() -> None:
    """Run the command line, unless there is too little memory to import it."""
    limit = memory_limit()
    if limit is not None and limit < LEAST:
        sys.stderr.write(f"error: {too_little_memory(MemoryError())}\n")
        sys.exit(ExitCode.FILE)
    from dataloader.cli import main as run_command  # noqa: PLC0415 - only with enough memory

    run_command()


if __name__ == "__main__":
    main()
