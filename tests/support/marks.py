"""Marks that say in which runs, and for which document models, a test is included."""

from collections.abc import Iterable, Sequence
from itertools import product

import pytest

from dataloader.records.models import DEFAULT_MODEL

THOROUGH = pytest.mark.thorough
"""The test is slow and rarely finds what others miss: `make test-all` runs it, `make test` does not."""
EACH_MODEL = pytest.mark.each_model
"""The test depends on the model: `make test` runs it for each one, and other tests for the default model only."""
ONE_MODEL = pytest.mark.parametrize("model_name", [DEFAULT_MODEL])
"""The test does not depend on the model."""
TOKEN_MODEL = pytest.mark.parametrize("model_name", ["gpii-token"])
"""The test is about a feature of the model gpii-token only."""
KEY_MODEL = pytest.mark.parametrize("model_name", ["gpii-key"])
"""The test is about a feature of the model gpii-key only."""


def crossed(
    names: str, first: Sequence[object], second: Sequence[object], *, share: int, always: Iterable[object] = ()
) -> pytest.MarkDecorator:
    """Return a mark that parametrizes a test with all pairs; `make test` runs one of every ``share``.

    There, each value of both sides is still included; all pairs with values in ``always`` are run.
    """
    whole = {*always}
    return pytest.mark.parametrize(
        names,
        [
            pytest.param(one, other, marks=() if one in whole or (at + to) % share == 0 else THOROUGH)
            for (at, one), (to, other) in product(enumerate(first), enumerate(second))
        ],
    )
