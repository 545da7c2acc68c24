"""Fixtures of the tests of revoke: a small batch, loaded or not."""

from collections.abc import Callable
from typing import Any

import pytest

from dataloader.batch import Card, Manifest
from dataloader.couch import Server
from dataloader.operations import Source, all_sources, generate
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.records import Place, access_of, preferences_of, write_snapsets
from tests.support.revoking import CARDS
from tests.support.server import databases


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """One snapset."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "large", {"large": 18})


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of five cards with the snapset."""
    return generate("few", {"large": CARDS}, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def cards(few: Manifest) -> list[Card]:
    """The cards of the batch."""
    return list(few.cards())


@pytest.fixture
def documents(target: Target, few: Manifest, sets: Snapsets) -> list[Source]:
    """The sources of a load without the views, whose indexes take longest."""
    *sources, _ = all_sources(target, [few], sets)
    return sources


@pytest.fixture
def empty(server: Server, target: Target) -> None:
    """The databases exist and contain no cards."""
    for database in databases(server, target).values():
        database.create()


@pytest.fixture
def loaded(server: Server, target: Target, documents: list[Source], empty: None) -> None:
    """The batch is loaded and unchanged, without views."""
    for source in documents:
        database = databases(server, target)[source.database]
        assert database.write([each.write() for each in source.prepared()]) == []


@pytest.fixture
def start(
    process: Callable[..., Any], target: Target, on_target: list[str], credentials: dict[str, str]
) -> Callable[..., Any]:
    """Start a command on the test's target as a process: ``start("revoke", path, url=proxy.url)``."""

    def start(*arguments: object, url: str = target.address.url, **options: Any) -> Any:
        on = (url if option == target.address.url else option for option in on_target)
        return process(*arguments, *on, env=credentials, **options)

    return start


@pytest.fixture
def places(target: Target, cards: list[Card]) -> list[Place]:
    """The documents of the second card that revoking changes; the one that gives access is last."""
    key = cards[1].uuid
    own_set = [preferences_of(target.model.name, key)] if target.model.name == "gpii-token" else []
    return [*own_set, access_of(target.model.name, key)]
