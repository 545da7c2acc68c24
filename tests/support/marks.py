"""Marks that say when a test runs, and for which document models."""

from collections.abc import Iterable, Sequence
from itertools import product

import pytest

from dataloader.records.models import DEFAULT_MODEL

THOROUGH = pytest.mark.thorough
"""The test takes long and seldom finds what others miss: `make test-all` runs it, `make test` does not."""
EACH_MODEL = pytest.mark.each_model
"""The test depends on the model: `make test` runs it for each one. Others run there for the default model only."""
ONE_MODEL = pytest.mark.parametrize("model_name", [DEFAULT_MODEL])
"""The test does not depend on the model."""
TOKEN_MODEL = pytest.mark.parametrize("model_name", ["gpii-token"])
"""The test is about what only the model gpii-token has."""
KEY_MODEL = pytest.mark.parametrize("model_name", ["gpii-key"])
"""The test is about what only the model gpii-key has."""


def crossed(
    names: str, first: Sequence[object], second: Sequence[object], *, share: int, always: Iterable[object] = ()
) -> pytest.MarkDecorator:
    """Return the mark that runs a test for each pair; `make test` runs one of ``share``, in turns.

    There, each value of both sides still comes up; ``always`` names values of the first side whose every pair is run.
    """
    whole = {*always}
    return pytest.mark.parametrize(
        names,
        [
            pytest.param(one, other, marks=() if one in whole or (at + to) % share == 0 else THOROUGH)
            for (at, one), (to, other) in product(enumerate(first), enumerate(second))
        ],
    )
