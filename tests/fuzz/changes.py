"""Changes of inputs: pure functions of what is to be changed and of the choices that are made.

The choices are a list of numbers, so that whatever draws numbers can drive them: hypothesis, atheris, a thread that
must not draw by itself.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

MAX_REPEAT = 2_000
"""How often a piece is repeated: enough to be nested too deeply."""
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
"""What a value may be that nobody has thought of."""


class Choices:
    """Numbers that were drawn, one after the other; zeros when they are used up."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = iter(numbers)

    def below(self, limit: int) -> int:
        """Return a number from 0 up to a limit, which is not in it."""
        return next(self._numbers, 0) % limit if limit > 0 else 0

    def of(self, values: Sequence[Any]) -> Any:
        """Return one of some values."""
        return values[self.below(len(values))]


def edit(data: bytes, choices: Choices, tokens: Sequence[bytes]) -> bytes:
    """Return bytes with one change."""
    at = choices.below(len(data) + 1)
    end = min(len(data), at + choices.of([0, 1, 2, 5, 20, 100, len(data)]))
    other = choices.below(len(data) + 1)
    piece = choices.of([*tokens, data[at:end][:20], b"[", b"("])
    flipped = bytes([data[at] ^ 1 << choices.below(8)]) if data[at:] else b""
    changes: list[Callable[[], tuple[int, bytes, int]]] = [
        # Up to where the data stays, what comes then, and from where it goes on.
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
    """Return a document of JSON with a change in its data; as it is where it can't be read."""
    try:
        return json.dumps(change(load(text), choices), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def change_line(data: bytes, choices: Choices) -> bytes:
    """Return lines of JSON with a change in one line's data, the first one as often as all others."""
    lines = data.split(b"\n")
    at = choices.of([0, choices.below(len(lines))])
    try:
        changed = change(json.loads(lines[at]), choices)
        lines[at] = json.dumps(changed, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")
    except (ValueError, RecursionError):
        return data
    return b"\n".join(lines)
