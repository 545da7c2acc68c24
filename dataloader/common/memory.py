"""How much memory this process may use, and errors that say that it was too little."""

import errno
import sys

if sys.platform != "win32":
    # At the beginning: where memory is short there may not be enough left to load it.
    import resource

ENOUGH = 400_000_000
"""Bytes of address space that every command gets along with; opening a large workbook takes more."""


def memory_limit() -> int | None:
    """Return how many bytes of address space this process may use, None if that is not limited (``ulimit -v``)."""
    if sys.platform == "win32":
        return None
    limits = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    return min(limits, default=None)


def raise_if_short(error: ValueError) -> None:
    """Raise MemoryError for what orjson says where memory is short; a text is not to blame then.

    Raises:
        MemoryError: memory is short.
    """
    if str(error).startswith("Not enough memory"):
        raise MemoryError from error


def too_little_memory(error: BaseException) -> str | None:
    """Return what to say of an unexpected error that comes of too little memory, None if it is of another kind.

    Where the limit is so low that even libraries cannot be loaded, any error may come of it.
    """
    limit = memory_limit()
    if limit is not None and limit < ENOUGH:
        enough = f"at least {ENOUGH // 1_000_000:,} MB are needed (raise the limit: ulimit -v {ENOUGH // 1_000})"
        return f"memory is limited to {limit // 1_000_000:,} MB (ulimit -v), and {enough}"
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return "there was not enough memory (end other programs, or use a machine with more memory)"
    return None
