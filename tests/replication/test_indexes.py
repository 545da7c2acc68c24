"""Indexes of views: waiting as long as they make progress."""

from threading import Event

import pytest

from dataloader.common import UnreachableError
from dataloader.couch import Server
from dataloader.operations import Source, all_sources, load
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.proxy import Forward, Hangup, Reply, Request
from tests.support.server import Proxied

LOOKS = 60
"""Number of checks until the growing index is built."""


@pytest.fixture
def without_cards(target: Target, snapsets: Snapsets) -> list[Source]:
    """The documents to load without a batch: the snapsets and the views."""
    return all_sources(target, [], snapsets)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on an index long before that many checks."""
    monkeypatch.setattr("dataloader.replication.indexes.INDEX_WAIT", 0.1)
    monkeypatch.setattr("dataloader.replication.indexes.INDEX_LOOK", 0.02)
    monkeypatch.setattr("dataloader.replication.indexes.INDEX_STILL", 0.5)


class Building:
    """A hook for a server that is building an index, and answers no query until checked often enough."""

    def __init__(self, target: Target, *, growth: int) -> None:
        self._names = [f"shards/0-f/{target.database(name)}.1700000000" for name in target.model.databases]
        self._growth = growth
        self._looks = 0
        self.over = Event()

    def __call__(self, request: Request, forward: Forward) -> Reply:
        """Report the progress of the index; let view queries time out while it is built."""
        if request.path == "/_active_tasks":
            self._looks += 1
            task = {"type": "indexer", "changes_done": 100 + self._growth * self._looks, "total_changes": 100_000}
            return Reply.json(200, [{**task, "database": name} for name in self._names])
        if "/_view/" in request.endpoint and self._looks < LOOKS:
            self.over.wait(30)
            raise Hangup
        return forward(request)


def test_load_waits_for_an_index_that_makes_progress(
    proxied: Proxied, target: Target, without_cards: list[Source]
) -> None:
    """However long it takes: each check with progress restarts the wait."""
    building = Building(target, growth=1)
    through, _ = proxied(building)
    try:
        assert load(through, target, without_cards).views_built > 0
    finally:
        building.over.set()


def test_load_gives_up_on_an_index_without_progress(
    proxied: Proxied, server: Server, target: Target, without_cards: list[Source]
) -> None:
    """A server that never builds the index does not block a load forever; all documents are written."""
    building = Building(target, growth=0)
    through, _ = proxied(building)
    total = sum(source.count for source in without_cards)
    try:
        with pytest.raises(UnreachableError, match="its index has not grown for") as caught:
            load(through, target, without_cards)
    finally:
        building.over.set()
    assert f"stopped after {total} of {total} documents" in str(caught.value)
    result = load(server, target, without_cards)
    assert (result.documents, result.needs_attention) == (total, 0)
    assert result.views_built > 0


def test_views_that_disappear_are_missing(proxied: Proxied, target: Target, without_cards: list[Source]) -> None:
    """Somebody deletes the design document after the load has seen it."""

    def deleted(request: Request, forward: Forward) -> Reply:
        if "/_view/" in request.endpoint:
            return Reply.json(404, {"error": "not_found", "reason": "deleted"})
        return forward(request)

    through, _ = proxied(deleted)
    result = load(through, target, without_cards)
    [missing] = result.missing_views.values()
    assert {*missing} == target.model.card_views
