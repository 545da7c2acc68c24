"""Short fuzzing of the readers: each accepts its input or raises one of our errors.

``make fuzz`` runs longer: ``FUZZ_SECONDS`` is the time for each subject.
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
from tests.support.marks import THOROUGH

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = 40
"""Inputs in a round; the short run is one round."""
FEW = {"returned workbook": 6, "workbook, as a file": 20, "workbook, by its parts": 20}
"""Inputs in a round for slow subjects."""
NUMBERS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=60)
"""The numbers that an input is made from."""
EACH_SUBJECT = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)


@EACH_SUBJECT
def test_fuzz_seeds_are_valid(subject: Subject, tmp_path: Path) -> None:
    """Otherwise fuzzing would never get past the first lines of a reader."""
    for seed in subject.seeds():
        assert examine(subject, subject.sealed(seed) if subject.sealed else seed, tmp_path)


@EACH_SUBJECT
def test_reader_accepts_its_input_or_reports_an_error(subject: Subject, tmp_path: Path) -> None:
    """Within the time limit, and only with an error of ours that names the file."""
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


def test_examine_reports_findings(tmp_path: Path) -> None:
    """A reader that raises another exception, or a very long error, is reported."""

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
def test_sealing_a_sealed_input_changes_nothing(numbers: list[int]) -> None:
    """Its digests are already correct."""
    for subject in SUBJECTS[:2]:
        assert subject.sealed is not None
        made = subject.sealed(make_input(subject, numbers))
        assert subject.sealed(made) == made


@THOROUGH
def test_inputs_are_varied_and_reproducible() -> None:
    """Some are valid, some are not; the same numbers give the same input."""
    random = Random(1)
    for subject in (each for each in SUBJECTS if each.suffix != ".xlsx"):
        drawn = [[random.randrange(2**32) for _ in range(60)] for _ in range(40)]
        made = [make_input(subject, numbers) for numbers in drawn]
        assert len(set(made)) > 20
        assert made[:5] == [make_input(subject, numbers) for numbers in drawn[:5]]
