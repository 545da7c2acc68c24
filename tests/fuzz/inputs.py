"""Inputs for the fuzzers: valid files with a few changes, and matching digests."""

from collections.abc import Sequence
from functools import cache

import json5

from tests.fuzz.changes import Choices, change_document, change_line, edit
from tests.fuzz.subjects import SUBJECTS, Subject

MAX_EDITS = 8


@cache
def _seeds(name: str) -> list[bytes]:
    return next(each.seeds() for each in SUBJECTS if each.name == name)


@cache
def _loaded(text: str) -> object:
    return json5.loads(text)


def make_input(subject: Subject, numbers: Sequence[int]) -> bytes:
    """Return the input of a subject that a list of numbers stands for."""
    choices = Choices(numbers)
    data: bytes = choices.of(_seeds(subject.name))
    if subject.form == "lines":
        for _ in range(choices.below(4)):
            data = change_line(data, choices)
    elif subject.form == "document":
        for _ in range(choices.below(3)):
            text = change_document(data.decode(errors="replace"), choices, _loaded)
            data = text.encode(errors="surrogatepass")
    edits = [0, 0, 1, 1, 2, MAX_EDITS] if subject.form != "bytes" else [1, 1, 2, 3, MAX_EDITS]
    for _ in range(choices.of(edits)):
        data = edit(data, choices, subject.tokens)
    return subject.sealed(data) if subject.sealed is not None and choices.below(10) else data
