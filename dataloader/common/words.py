"""Format counts and lists for sentences."""

import re
from collections.abc import Callable, Iterable, Sequence

_HEX = "[0-9A-Fa-f\N{FULLWIDTH DIGIT ZERO}-\N{FULLWIDTH DIGIT NINE}]"
_HYPHEN = "[-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}]"
UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A UUID in the form in which we write it."""
_ANY_UUID = re.compile(f"(?<!{_HEX})({_HEX}{{8}})(?:{_HYPHEN}{_HEX}{{4}}){{3}}{_HYPHEN}{_HEX}{{12}}(?!{_HEX})")
"""A UUID, also if a program has changed its characters."""

SUGGESTED = 3
"""The most names to suggest for an unknown one."""
_ABBREVIATION = 3
"""The fewest characters of a name that are taken for its beginning."""


def many(count: int, one: str, more: str = "") -> str:
    """Return a count with its noun: ``1 card``, ``1,200 cards``."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def are(count: int) -> str:
    """Return ``is`` or ``are`` for a count."""
    return "is" if count == 1 else "are"


def listed(names: Sequence[str], shown: int = 5) -> str:
    """Join names for a sentence: ``a, b and c``; show the first ones of a long list and count the rest."""
    found = [*names]
    if len(found) > shown:
        found = [*found[: shown - 1], f"{len(found) - shown + 1:,} more"]
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def did_you_mean(name: str, known: Iterable[str], shown: Callable[[str], str] = str, cutoff: float = 0.6) -> str:
    """Return a question that suggests known names similar to an unknown one: ``did you mean snapset_1a?``.

    Case is ignored, and a name may be abbreviated. The result is empty if no name is similar.

    Args:
        name: the unknown name.
        known: the known names.
        shown: how to format a known name.
        cutoff: how similar two names must be, from 0 to 1.
    """
    from difflib import SequenceMatcher, get_close_matches  # noqa: PLC0415 - needed for mistakes only

    by_lower = {each.lower(): each for each in known}
    lower = name.lower()
    near = get_close_matches(lower, by_lower, n=SUGGESTED, cutoff=cutoff)
    likeness = {each: SequenceMatcher(None, each, lower).ratio() for each in near}
    nearest = [by_lower[each] for each in sorted(near) if likeness[each] == max(likeness.values())]
    if not nearest and len(lower) >= _ABBREVIATION:
        begun = [by_lower[each] for each in sorted(by_lower) if each.startswith(lower)]
        nearest = begun if len(begun) <= SUGGESTED else []
    return f"did you mean {' or '.join(map(shown, nearest))}?" if nearest else ""


def which_of(name: str, known: Sequence[str]) -> str:
    """Return what to write instead of an unknown name: a question that suggests similar ones, otherwise all of them."""
    return did_you_mean(name, known) or f"must be one of: {', '.join(known)}"


def shorten_uuids(text: str) -> str:
    """Cut UUIDs in a text to their first 8 digits: a whole UUID gives access to that person's preferences."""
    return _ANY_UUID.sub("\\1…", text)


def without_uuids(text: str) -> str:
    """Replace every UUID in a text by ``…``, so that equal texts about several cards can be grouped."""
    return _ANY_UUID.sub("…", text)


def card_numbers(numbers: Iterable[int]) -> str:
    """Return card numbers in ascending order, with runs folded: ``card 17``, ``cards 6 to 300, 305``."""
    found = [*numbers]
    return f"card{'' if len(found) == 1 else 's'} {ranges(found)}"


def ranges(numbers: Iterable[int], shown: int | None = None) -> str:
    """Return numbers in ascending order, with runs folded: ``6 to 300, 305``.

    Args:
        numbers: the numbers.
        shown: the number of runs to show before the rest are only counted; None for all.
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
