"""Marks for tests that run for one document model only; the others run for each."""

import pytest

from dataloader.records.models import DEFAULT_MODEL

ONE_MODEL = pytest.mark.parametrize("model_name", [DEFAULT_MODEL])
"""The test does not depend on the model."""
TOKEN_MODEL = pytest.mark.parametrize("model_name", ["gpii-token"])
"""The test is about what only the model gpii-token has."""
KEY_MODEL = pytest.mark.parametrize("model_name", ["gpii-key"])
"""The test is about what only the model gpii-key has."""
