"""Messages and docs are in plain English, without phrases that read as if translated."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PHRASES = {
    "is there already stays": "existing documents are never changed",
    "is never overwritten": "dataloader never overwrites files",
    "choose of": "must be one of",
    "what stands there": "must be one of",
    "is not one of": "must be one of",
    "seen to before": "stopped after 3 of 9 documents",
    "were seen to": "stopped after 3 of 9 documents",
    "to the last retry": "after 6 retries",
    "cards asked for": "checked 491 cards",
    "left out of what is": "skipped",
    "of which": "two sentences, or numbers with labels",
    "in the manifest's place": "instead of the manifest",
    "stands beside": "is listed for two cards",
    "has made the number": "was turned into a number",
    "which is none of": "must be ok, failed or spare",
    "that are no card's": "rows that match no card",
    "is no card's": "matches no card",
    "is doubled": "is a duplicate",
    "doubled,": "duplicate",
    "doubled or": "duplicate",
    "is not to be taken for": "refusing to treat it as",
    "what it is for must be said": "say what it is for with --environment",
    "no terminal to ask on": "refusing to continue without confirmation; add --yes",
    "stands alone": "cannot be combined with",
    "strangers": "anonymous clients",
    "Ctrl-C ends": "Ctrl-C stops it",
    "have lost cards stop": "revoke lost cards",
    "ask as the real servers": "check that every card works",
    "what became of each card": "compare the vendor's file with the batch",
    "term for an error": "as an error",
    "only as an exit code": "print no results",
    "just so": "may carry the wrong UUID",
    "is to be had": "if you can get",
    "have it encoded again": "encode the card again",
    "a person's attention": "needs a decision",
    "a person has to look": "inspect it",
    "tell of a target": "check that a target is ready",
    "is the matter with": "why",
    "is said of": "mentions",
    "likewise": "say it again, or leave it out",
    "versions side by side": "conflict",
    "is away": "is down",
    "are away": "are down",
    "was away": "was down",
    "were away": "were down",
}
"""What to write instead of each phrase."""
ANY = re.compile("|".join(rf"\b{re.escape(phrase)}(?!\w)" for phrase in PHRASES), re.IGNORECASE)


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each string in Python code with its line: messages, help texts and docstrings."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each docstring in Python code with its line; other strings of a test may be what a library says."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the text of a file that people read, with line numbers."""
    if "tests" in path.relative_to(ROOT).parts:
        yield from docstrings(path)
    elif path.suffix == ".py":
        yield from messages(path)
    else:
        # A phrase may span two lines.
        yield 1, path.read_text("utf-8")


FOLDERS = ("dataloader", "docs", "schemas", "snapsets", "samples", "deploy", "bench")
SUFFIXES = {".py", ".md", ".j2", ".json", ".json5", ".toml", ".js"}
FILES = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *(each for folder in FOLDERS for each in (ROOT / folder).rglob("*")),
        *(ROOT / "tests").rglob("*.py"),
    ]
    if path.suffix in SUFFIXES and "node_modules" not in path.parts
)


def found(text: str) -> list[str]:
    """Return the phrases found in a text."""
    return [match[0].lower() for match in ANY.finditer(" ".join(text.split()))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_file_is_in_plain_english(path: Path) -> None:
    """The file contains none of the phrases."""
    wrong = [f"{path.name}:{line}: {phrase!r}" for line, text in texts(path) for phrase in found(text)]
    assert wrong == []


def test_phrases_are_found() -> None:
    """A phrase is found in capitals, broken over lines, and in a docstring."""
    assert found("Cards of\nwhich one is Doubled; undoubled, they") == ["of which", "is doubled"]
    assert len(FILES) > 100
