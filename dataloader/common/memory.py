"""The memory limit of this process, and errors that say that it is too low."""

import errno
import sys

if sys.platform != "win32":
    # Imported at the start: when memory is short, there may not be enough left to import it.
    import resource

ENOUGH = 400_000_000
"""Bytes of address space that are enough for any command; opening a large workbook takes more."""


def memory_limit() -> int | None:
    """Return the limit of this process's address space in bytes (``ulimit -v``), None if there is none."""
    if sys.platform == "win32":
        return None
    limits = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    return min(limits, default=None)


def raise_if_short(error: ValueError) -> None:
    """Raise MemoryError if orjson reports too little memory as a ValueError.

    Raises:
        MemoryError: memory is short.
    """
    if str(error).startswith("Not enough memory"):
        raise MemoryError from error


def has_too_little_memory() -> bool:
    """Return whether the limit of this process's address space is too low for a command that talks to a server."""
    limit = memory_limit()
    return limit is not None and limit < ENOUGH


def too_little_memory(error: BaseException) -> str | None:
    """Return what to say about an unexpected error that is due to too little memory; None for other errors.

    If the limit is too low even for importing libraries, any error may be due to it.
    """
    limit = memory_limit()
    if limit is not None and has_too_little_memory():
        enough = f"at least {ENOUGH // 1_000_000:,} MB are needed (raise the limit: ulimit -v {ENOUGH // 1_000})"
        return f"memory is limited to {limit // 1_000_000:,} MB (ulimit -v), and {enough}"
    no_thread = isinstance(error, RuntimeError) and str(error) == "can't start new thread"
    if isinstance(error, MemoryError) or no_thread or getattr(error, "errno", None) == errno.ENOMEM:
        if limit is not None:
            return f"memory is limited to {limit // 1_000_000:,} MB (ulimit -v), which is not enough (raise the limit)"
        return "there was not enough memory (close other programs, or use a machine with more memory)"
    return None
