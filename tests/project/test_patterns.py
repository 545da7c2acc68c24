"""No pattern takes more than linear time: a long text from outside must not keep a command busy for hours."""

import ast
import re
import time
from collections import deque
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import dataloader
from tests.support.marks import THOROUGH

LENGTH = 6_000
"""Characters."""
LIMIT = 0.1
"""Seconds of processor time; a pattern with linear time takes a few thousandths."""
SHORT = {
    "dataloader.cli._command._OUTSIDE": "an error of the command line is shortened first",
    "dataloader.cli._wrap._OPTION": "lines to wrap consist of shortened parts and paths",
    "dataloader.cli.reconcile._PARTICULAR": "cells are shortened in messages",
    "dataloader.operations.reconcile.reconciliation._AT_END": "the last few characters of a chip UID",
    "dataloader.vendor.chip_uid._DECORATED": "longer texts are no chip UIDs",
}
"""Patterns for texts that are always short, and why."""
WHOLE = frozenset({"match", "fullmatch"})
PARTS = frozenset({"search", "sub", "findall", "finditer", "split"})
PIECES = (
    *" \t\n.,;:-_/\\\"'`(){}[]<>=+*#@&%$!?~|0129aAfFzxÄ中\N{NO-BREAK SPACE}\N{REPLACEMENT CHARACTER}\N{EN DASH}",
    *("a ", "A0", "?a", "0,", "0.", "0 ", "0-", "a:", ": ", "; ", "a=", "- ", "=a", "(a", "a)", '("', ":/", "a/", "/:"),
    *("card ", "UID", "no ", "max ", "<row ", "<c ", 'r="', "&amp;", "&#", "--a ", "1 to ", "“", "//", "0x", "i."),
)
"""What long texts consist of."""


def _patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes], frozenset[str]]]:
    """Yield the named patterns of all modules, and the methods that their modules call."""
    for found in walk_packages(dataloader.__path__, "dataloader."):
        if found.name.endswith("__main__"):
            continue
        module = import_module(found.name)
        tree = ast.parse(Path(str(module.__file__)).read_text())
        called = [
            (node.value.id, node.attr)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        ]
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern) and f"{found.name}.{name}" not in SHORT:
                yield f"{found.name}.{name}", value, frozenset(method for each, method in called if each == name)


def _texts(piece: str) -> Iterator[str]:
    for begin in ("", "a", "0", "UID", "card"):
        yield begin + piece * (LENGTH // len(piece)) + "\0"


def _seconds(pattern: re.Pattern[str] | re.Pattern[bytes], method: str, text: str) -> float:
    data = text.encode() if isinstance(pattern.pattern, bytes) else text
    arguments = (b"" if isinstance(data, bytes) else "", data) if method == "sub" else (data,)
    start = time.process_time()
    found = getattr(pattern, method)(*arguments)
    if method == "finditer":
        deque(found, maxlen=0)
    return time.process_time() - start


@THOROUGH
@pytest.mark.parametrize(("pattern", "methods"), [pytest.param(*each[1:], id=each[0]) for each in _patterns()])
def test_pattern_takes_linear_time(pattern: re.Pattern[str] | re.Pattern[bytes], methods: frozenset[str]) -> None:
    """With long texts of one character, word or tag."""
    for method in sorted(methods & (WHOLE | PARTS)):
        for piece in PIECES:
            for text in _texts(piece):
                # Once more, in case something disturbed it.
                quick = any(_seconds(pattern, method, text) < LIMIT for _ in range(2))
                assert quick, (method, piece)
