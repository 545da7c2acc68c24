"""Counts and lists in sentences."""

from collections.abc import Iterable, Sequence


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that suggests what an unknown name may stand for: ``did you mean snapset_1a?``.

    It names those of the known names that are nearest, case aside; it is empty if none is near.
    """
    from difflib import SequenceMatcher, get_close_matches  # noqa: PLC0415 - needed for mistakes only

    by_lower = {each.lower(): each for each in known}
    lower = name.lower()
    near = get_close_matches(lower, by_lower, n=3)
    likeness = {each: SequenceMatcher(None, each, lower).ratio() for each in near}
    nearest = [by_lower[each] for each in sorted(near) if likeness[each] == max(likeness.values())]
    return f"did you mean {' or '.join(nearest)}?" if nearest else ""
