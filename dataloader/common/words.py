"""Counts and lists in sentences."""

from collections.abc import Sequence


def many(count: int, one: str, more: str = "") -> str:
    """Return a count and what is counted: ``1 card``, ``1,200 cards``."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def are(count: int) -> str:
    """Return the verb for so many."""
    return "is" if count == 1 else "are"


def listed(names: Sequence[str], shown: int = 5) -> str:
    """Return names as a sentence has them: ``a, b and c``; of a long list the first ones, and how many more."""
    found = [*names]
    if len(found) > shown:
        found = [*found[: shown - 1], f"{len(found) - shown + 1:,} more"]
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))
