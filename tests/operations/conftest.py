"""Fixtures of the tests of loads: two snapsets, a batch with them, and loading it."""

import pytest

from dataloader.batch import Manifest
from dataloader.couch import Server
from dataloader.operations import LoadOptions, LoadResult, all_sources, generate, load
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.loading import SHARES, SIZES, Bring, Scene
from tests.support.records import write_snapsets
from tests.support.server import Proxied


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Snapsets]:
    """Three versions of two snapsets; one of these differs, which affects its own document and its cards'."""
    folder = tmp_path_factory.mktemp("snapsets")
    return [write_snapsets(folder / f"version-{size}", SIZES | {"large": size}) for size in (SIZES["large"], 20, 22)]


@pytest.fixture(scope="module")
def sizes(versions: list[Snapsets]) -> Snapsets:
    """The first version."""
    return versions[0]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of six cards with these snapsets."""
    return generate("few", SHARES, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def bring_all(server: Server, target: Target, few: Manifest) -> Bring:
    """Load the six cards and the views."""

    def bring_all(snapsets: Snapsets, **options: bool) -> LoadResult:
        return load(server, target, all_sources(target, [few], snapsets), LoadOptions(**options))

    return bring_all


@pytest.fixture
def scene(server: Server, target: Target, few: Manifest, versions: list[Snapsets], proxied: Proxied) -> Scene:
    """The target before the first load of the six cards."""
    return Scene(server, target, few, versions, proxied)
