"""Random changes of inputs, as pure functions of the input and a list of choices.

The choices are numbers, so any source can provide them: hypothesis, atheris, or a thread that can't draw itself.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

MAX_REPEAT = 2_000
"""How often a piece is repeated: enough to exceed every nesting limit."""
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**40, 1.5, -0.0, 1e308, float("inf"), float("nan")),
    *(
        "",
        " ",
        "\0",
        "\u2028",
        "a" * 5_000,
        "../../etc/passwd",
        "2020-11-23T00:00:00.000Z",
        "1",
        "é",
        "CON",
        "_id",
        "1-a",
    ),
    *([], {}, [[]], [None], {"": {}}, {"a": None}, ["a", "a"], {"__proto__": 1, "_id": "_design/views"}, [1, "a"]),
)
"""Unusual values to replace others with."""


class Choices:
    """A sequence of drawn numbers; zeros after the end."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = iter(numbers)

    def below(self, limit: int) -> int:
        """Return a number from 0 to ``limit``, exclusive."""
        return next(self._numbers, 0) % limit if limit > 0 else 0

    def of(self, values: Sequence[Any]) -> Any:
        """Return one of the values."""
        return values[self.below(len(values))]


def edit(data: bytes, choices: Choices, tokens: Sequence[bytes]) -> bytes:
    """Return bytes with one change."""
    at = choices.below(len(data) + 1)
    end = min(len(data), at + choices.of([0, 1, 2, 5, 20, 100, len(data)]))
    other = choices.below(len(data) + 1)
    piece = choices.of([*tokens, data[at:end][:20], b"[", b"("])
    flipped = bytes([data[at] ^ 1 << choices.below(8)]) if data[at:] else b""
    changes: list[Callable[[], tuple[int, bytes, int]]] = [
        # What is kept up to a position, what is inserted, and where the rest starts.
        lambda: (at, b"", end),
        lambda: (at, b"", len(data)),
        lambda: (0, data[end:] + data[at:end] + data[:at], len(data)),
        lambda: (at, bytes(choices.below(256) for _ in range(choices.below(12))), end),
        lambda: (at, piece, choices.of([at, end])),
        lambda: (at, piece * choices.of([2, 10, MAX_REPEAT]), at),
        lambda: (end, data[at:end], end),
        lambda: (other, data[at:end], end),
        lambda: (at, flipped, at + 1),
    ]
    chosen: Callable[[], tuple[int, bytes, int]] = choices.of(changes)
    before, new, after = chosen()
    return data[:before] + new + data[after:]


def change(value: Any, choices: Choices, odd: Sequence[Any] = ODD, depth: int = 0) -> Any:
    """Return JSON data with one change, at any level."""
    if not isinstance(value, dict | list) or not value or choices.below(10) == depth:
        return choices.of(odd)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    at = choices.of(sorted(value) if isinstance(value, dict) else range(len(value)))
    kind = choices.of(["within", "within", "within", "drop", "add", "rename"])
    if kind == "within":
        copy[at] = change(value[at], choices, odd, depth + 1)
    elif kind == "drop":
        del copy[at]
    elif isinstance(copy, list):
        copy.insert(at, value[at] if kind == "add" else choices.of(odd))
    else:
        copy[choices.of(["", "a", "_id", "_rev", "error", "type"])] = choices.of(odd) if kind == "add" else copy.pop(at)
    return copy


def change_document(text: str, choices: Choices, load: Callable[[str], Any]) -> str:
    """Return a JSON document with one change in its data; unchanged if it can't be parsed."""
    try:
        return json.dumps(change(load(text), choices), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def change_line(data: bytes, choices: Choices) -> bytes:
    """Return JSON lines with a change in the data of one; the first line is chosen half the time."""
    lines = data.split(b"\n")
    at = choices.of([0, choices.below(len(lines))])
    try:
        changed = change(json.loads(lines[at]), choices)
        lines[at] = json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    except (ValueError, RecursionError):
        return data
    return b"\n".join(lines)
