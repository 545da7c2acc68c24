"""A short hunt for inputs that a reader does not take, and does not refuse either.

``make fuzz`` hunts longer: ``FUZZ_SECONDS`` is how long for each subject.
"""

import os
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataloader.common import FileError
from tests.fuzz.inputs import make_input
from tests.fuzz.subjects import SUBJECTS, Finding, Subject, examine

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = 40
"""How many inputs a round has; a short hunt is one round."""
FEW = {"returned workbook": 6, "workbook, as a file": 20, "workbook, by its parts": 20}
"""Of subjects that take their time."""
NUMBERS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=60)
"""What an input is made from."""
EACH_SUBJECT = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)


@EACH_SUBJECT
def test_every_seed_is_taken(subject: Subject, tmp_path: Path) -> None:
    """What the inputs are made from is right, or the hunt would never get past the first lines of a reader."""
    for seed in subject.seeds():
        assert examine(subject, subject.sealed(seed) if subject.sealed else seed, tmp_path)


@EACH_SUBJECT
def test_a_reader_takes_its_input_or_says_what_is_wrong(subject: Subject, tmp_path: Path) -> None:
    """In bounded time, with an error of ours that names the file, and with no other."""
    end = time.monotonic() + SECONDS

    @settings(
        deadline=None,
        max_examples=FEW.get(subject.name, EXAMPLES),
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(numbers=NUMBERS)
    def hunt(numbers: list[int]) -> None:
        examine(subject, make_input(subject, numbers), tmp_path)

    hunt()
    while time.monotonic() < end:
        hunt()


class TalkativeError(FileError):
    """An error that repeats its whole input."""

    def __str__(self) -> str:
        return 300_000 * "y"


def test_a_finding_is_found(tmp_path: Path) -> None:
    """A reader that ends with anything but an error of ours, or says too much, is reported."""

    def broken(path: Path) -> None:
        if b"x" in path.read_bytes():
            raise KeyError("x")
        raise TalkativeError("y")

    subject = Subject("broken", "", broken, lambda: [b"abc"])
    with pytest.raises(KeyError):
        examine(subject, b"x", tmp_path)
    with pytest.raises(Finding, match="an error of 1 lines, 300,000 characters"):
        examine(subject, b"y", tmp_path)


@settings(max_examples=50, deadline=None, database=None)
@given(numbers=NUMBERS)
def test_a_sealed_input_is_sealed(numbers: list[int]) -> None:
    """Its digests are right as it is, so that sealing it again changes nothing."""
    for subject in SUBJECTS[:2]:
        assert subject.sealed is not None
        made = subject.sealed(make_input(subject, numbers))
        assert subject.sealed(made) == made


def test_inputs_are_of_every_kind() -> None:
    """Some are taken, some are not; the numbers decide, and the same ones make the same input."""
    random = Random(1)
    for subject in (each for each in SUBJECTS if each.suffix != ".xlsx"):
        drawn = [[random.randrange(2**32) for _ in range(60)] for _ in range(40)]
        made = [make_input(subject, numbers) for numbers in drawn]
        assert len(set(made)) > 20
        assert made[:5] == [make_input(subject, numbers) for numbers in drawn[:5]]
