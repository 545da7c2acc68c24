"""Counts and lists in sentences."""

import re
from collections.abc import Callable, Iterable, Sequence

_UUID = re.compile(r"(?<![0-9A-Fa-f])([0-9A-Fa-f]{8})(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")


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


def did_you_mean(name: str, known: Iterable[str], shown: Callable[[str], str] = str) -> str:
    """Return a question that suggests what an unknown name may stand for: ``did you mean snapset_1a?``.

    It names those of the known names that are nearest, case aside; it is empty if none is near.

    Args:
        name: the unknown name.
        known: the known ones.
        shown: how a known name is shown.
    """
    from difflib import SequenceMatcher, get_close_matches  # noqa: PLC0415 - needed for mistakes only

    by_lower = {each.lower(): each for each in known}
    lower = name.lower()
    near = get_close_matches(lower, by_lower, n=3)
    likeness = {each: SequenceMatcher(None, each, lower).ratio() for each in near}
    nearest = [by_lower[each] for each in sorted(near) if likeness[each] == max(likeness.values())]
    return f"did you mean {' or '.join(map(shown, nearest))}?" if nearest else ""


def shorten_uuids(text: str) -> str:
    """Return a text whose UUIDs are cut to their first 8 digits: whoever has a whole one has that person's card."""
    return _UUID.sub("\\1…", text)


def without_uuids(text: str) -> str:
    """Return a text whose UUIDs are all the same, ``…``, so that equal texts about several cards can be grouped."""
    return _UUID.sub("…", text)


def card_numbers(numbers: Iterable[int]) -> str:
    """Return card numbers in ascending order, runs of them folded: ``card 17``, ``cards 6 to 300, 305``."""
    found = [*numbers]
    return f"card{'' if len(found) == 1 else 's'} {ranges(found)}"


def ranges(numbers: Iterable[int], shown: int | None = None) -> str:
    """Return numbers in ascending order, runs of them folded: ``6 to 300, 305``.

    Args:
        numbers: the numbers.
        shown: after how many runs the rest are only counted; None for all of them.
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = [
        f"{first:,}" if first == last else f"{first:,} to {last:,}" if last > first + 1 else f"{first:,}, {last:,}"
        for first, last in runs[:shown]
    ]
    rest = sum(last - first + 1 for first, last in runs[len(parts) :])
    return ", ".join(parts) + (f" and {rest:,} more" if rest else "")
