"""Fixtures of the tests of load: two snapsets, a batch with them, and loading it."""

from typing import Any

import pytest

from dataloader.batch import Manifest
from dataloader.couch import Server
from dataloader.operations import LoadResult, all_sources, generate, load
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.loading import SHARES, SIZES, Bring
from tests.support.records import (
    write_snapsets,
)


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """Two snapsets for these tests."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "sizes", SIZES)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """The same with one snapset edited, which affects the snapset's document and three cards."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "changed", SIZES | {"large": 20})


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of six cards with these snapsets."""
    return generate("few", SHARES, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def bring(server: Server, target: Target, few: Manifest) -> Bring:
    """Load the six cards, without the views, whose indexes take longest: ``bring(snapsets, update=True)``."""

    def bring(snapsets: Snapsets, through: Server = server, **options: Any) -> LoadResult:
        *sources, _ = all_sources(target, [few], snapsets)
        return load(through, target, sources, **options)

    return bring


@pytest.fixture
def bring_all(server: Server, target: Target, few: Manifest) -> Bring:
    """Load the six cards and the views."""

    def bring_all(snapsets: Snapsets, **options: Any) -> LoadResult:
        return load(server, target, all_sources(target, [few], snapsets), **options)

    return bring_all
