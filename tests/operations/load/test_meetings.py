"""Loads with concurrent writers: another load, replication from another cluster, a database without histories."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Lock

import pytest

from dataloader.batch import Manifest
from dataloader.operations import LoadResult, Outcome, generate
from tests.support.loading import Scene, change
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.proxy import Forward, Hook, Reply, Request, pass_on
from tests.support.records import preferences_of

pytestmark = ONE_MODEL

MANY = 1_200
FEW = 8


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of a few cards."""
    return generate("few", {"large": FEW}, tmp_path_factory.mktemp("batch")).manifest


class Meeting:
    """Makes two loads write each batch at the same time, after both have read it."""

    def __init__(self) -> None:
        self._barriers: dict[tuple[str, str], Barrier] = {}
        self._lock = Lock()

    def hook(self) -> Hook:
        """Return the hook of one of the two loads."""
        met: set[tuple[str, str]] = set()

        def hook(request: Request, forward: Forward) -> Reply:
            if request.endpoint == "_bulk_docs" and request.data().get("new_edits", True):
                key = (request.database, request.data()["docs"][0]["_id"])
                with self._lock:
                    barrier = self._barriers.setdefault(key, Barrier(2, timeout=2))
                    is_first = key not in met
                    met.add(key)
                if is_first:
                    # What only one of them writes, after the first meeting, does not wait forever.
                    with suppress(BrokenBarrierError):
                        barrier.wait()
            return forward(request)

        return hook


def meet(scene: Scene, versions: Sequence[int]) -> list[tuple[LoadResult, int]]:
    """Update to two versions at once; return each result, and the number of requests each made."""
    meeting = Meeting()
    ends = [scene.proxied(meeting.hook()) for _ in versions]
    with ThreadPoolExecutor(2) as executor:
        runs = [
            executor.submit(scene.load, version, through, update=True, older_snapsets=True)
            for version, (through, _) in zip(versions, ends, strict=True)
        ]
        return [(run.result(), len(proxy.requests)) for run, (_, proxy) in zip(runs, ends, strict=True)]


@THOROUGH
@pytest.mark.parametrize("same", [True, False], ids=["one version", "two versions"])
def test_concurrent_updates_make_few_additional_requests(scene: Scene, tmp_path: Path, *, same: bool) -> None:
    """Disputed documents are read and written in batches, not one by one."""
    # Several requests for each kind of document.
    scene = replace(scene, batch=generate("many", {"large": MANY}, tmp_path / "many").manifest)
    scene.load(0)
    through, alone = scene.proxied(pass_on)
    scene.load(1, through, update=True)
    scene.load(0, update=True, older_snapsets=True)

    both = meet(scene, [1, 1 if same else 2])

    # Each sees at most one refusal of each batch, reads it, in a cluster from every copy, and writes it again or gives
    # way. Many requests of a load alone do not depend on the number of documents.
    additional = max(requests for _, requests in both) - len(alone.requests)
    assert additional <= MANY // 5
    assert all(result.count(Outcome.FAILED) == result.count(Outcome.CONFLICT) == 0 for result, _ in both)
    found = scene.sizes()
    assert set(found) <= ({20} if same else {20, 22})
    assert len(found) == MANY


def replicate(source: Scene, other: Scene) -> None:
    """Replicate every leaf of the cards' documents from one target to another, as CouchDB does."""
    kinds = source.target.model.kinds
    for name, database in source.databases.items():
        ids = [kind.id(card.uuid) for card in source.batch.cards() for kind in kinds if kind.database == name]
        leaves = [json.dumps(leaf) for found in database.leaves(ids).values() for leaf in found]
        assert other.databases[name].write([leaf.encode() for leaf in leaves]) == []


@pytest.mark.parametrize(
    "next_load", ["where the update was", "on the other side", "on the other side, of the older version"]
)
def test_edits_in_a_replicated_cluster_survive_an_update(scene: Scene, next_load: str) -> None:
    """Of two clusters that replicate both ways, one is updated while people edit in the other: the edits win."""
    other = replace(scene, target=replace(scene.target, prefix=f"{scene.target.prefix}other-"))
    try:
        for side in (scene, other):
            side.load(0)
        places = [preferences_of(scene.target.model.name, card.uuid) for card in scene.batch.cards()]
        scene.load(1, update=True)
        for number, place in enumerate(places[:5]):
            # With one edit or several: either side's revision may be the winner.
            for times in range(1 + number % 2):
                change(other.server, other.target, place, 40 + number + times / 2)
        other.delete(places[5])
        wanted = [40, 41.5, 42, 43.5, 44, None, 20, 20]
        replicate(scene, other)
        replicate(other, scene)
        side = scene if next_load == "where the update was" else other
        is_older = "older" in next_load
        result = side.load(0 if is_older else 1, update=not is_older)
        if is_older:
            # This side's database does not know the new version: kept and reported until a load knows it.
            assert result.count(Outcome.CONFLICT) > 0
            scene.load(1)
        else:
            assert result.count(Outcome.CONFLICT) == 0
            assert result.repaired == 6
        replicate(scene, other)
        replicate(other, scene)

        for side in (scene, other):
            assert side.sizes() == wanted
            again = side.load(1)
            assert again.repaired == again.count(Outcome.CONFLICT) == 0
            assert (again.count(Outcome.EDITED), again.count(Outcome.DELETED)) == (5, 1)
            assert side.sizes() == wanted
    finally:
        for database in other.databases.values():
            database.delete()


class TestOneRevision:
    """A database that keeps one revision of each document (``_revs_limit`` 1), so histories prove nothing."""

    @pytest.fixture
    def limited(self, scene: Scene) -> Scene:
        """Databases that are loaded, and limited from then on."""
        scene.load(0)
        for database in scene.databases.values():
            if database.revs_limit() is None:
                pytest.skip("this server has no _revs_limit")
            database.set_revs_limit(1)
        return scene

    def test_edited_sets_stay_edited(self, limited: Scene) -> None:
        """However often they are edited and others are updated, no set becomes foreign or is overwritten."""
        places = [preferences_of(limited.target.model.name, card.uuid) for card in limited.batch.cards()]
        for number, version in enumerate((1, 2, 1, 2)):
            change(limited.server, limited.target, places[number], 40 + number)
            if number == 0:
                limited.delete(places[-1])
            result = limited.load(version, update=True, older_snapsets=True)
            assert result.count(Outcome.EDITED) == number + 1
            assert (result.count(Outcome.FOREIGN), result.count(Outcome.CONFLICT), result.repaired) == (0, 0, 0)
            assert result.count(Outcome.DELETED) == 1
        assert limited.sizes() == [40, 41, 42, 43, 22, 22, 22, None]

    def test_concurrent_updates_delete_nothing(self, limited: Scene) -> None:
        """Of two versions of a set, one is left."""
        limited.change(40)
        for _ in range(3):
            both = meet(limited, [1, 2])
            assert [result.count(Outcome.EDITED) for result, _ in both] == [1, 1]
            # Nodes that synchronize may bring a deleted revision back, because a deletion without ancestors does not
            # say what it deletes. The next load deletes it again.
            if limited.database.copies == 1:
                first, *others = limited.sizes()
                assert first == 40
                assert set(others) <= {20, 22}
            loads = 1 if limited.database.copies == 1 else 5
            for left in reversed(range(loads)):
                limited.load(0, update=True, older_snapsets=True)
                # Slow nodes may bring it back after that load, too.
                if not left or all(len(live) <= 1 for live in limited.live_sets()):
                    break
            assert limited.sizes() == [40, *[18] * (FEW - 1)]
