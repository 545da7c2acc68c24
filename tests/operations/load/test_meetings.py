"""Loads with concurrent writers: another load, replication from another cluster, a database without histories."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier, BrokenBarrierError, Lock

import pytest

from dataloader.batch import Manifest
from dataloader.couch import Database, Server
from dataloader.operations import LoadResult, Outcome, Source, all_sources, generate, load
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.proxy import Forward, Hook, Reply, Request, pass_on
from tests.support.records import FONT_SIZE, flat, preferences_of, write_snapsets
from tests.support.server import Proxied, databases, delete, get, put

pytestmark = ONE_MODEL

MANY = 1_200
FEW = 8


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Snapsets]:
    """Three versions of a snapset."""
    folder = tmp_path_factory.mktemp("snapsets")
    return [write_snapsets(folder / f"version-{size}", {"large": size}) for size in (18, 20, 22)]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of a few cards."""
    return generate("few", {"large": FEW}, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch with several requests for each kind of document."""
    return generate("many", {"large": MANY}, tmp_path_factory.mktemp("batch")).manifest


def without_views(target: Target, manifest: Manifest, snapsets: Snapsets) -> list[Source]:
    """Return the sources of a load except the views, whose indexes take longest."""
    *sources, _ = all_sources(target, [manifest], snapsets)
    return sources


def sizes(server: Server, target: Target, manifest: Manifest) -> list[float | None]:
    """Return the font size in each card's set as the servers show it, None if missing; check for conflicts."""
    places = [preferences_of(target.model.name, card.uuid) for card in manifest.cards()]
    database = databases(server, target)[places[0].database]
    found: list[float | None] = []
    leaves = database.leaves([place.id for place in places], all_copies=True)
    for place in places:
        live = [leaf for leaf in leaves[place.id] if not leaf.get("_deleted")]
        assert len(live) <= 1, f"{place.id} is in conflict"
        found.append(flat(live[0])[FONT_SIZE] if live else None)
    return found


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


def meet(
    target: Target, manifest: Manifest, versions: list[Snapsets], proxied: Proxied
) -> list[tuple[LoadResult, int]]:
    """Update to two versions at once; return each result, and the number of requests each made."""
    meeting = Meeting()
    ends = [proxied(meeting.hook()) for _ in versions]
    with ThreadPoolExecutor(2) as executor:
        runs = [
            executor.submit(
                load, through, target, without_views(target, manifest, snapsets), update=True, older_snapsets=True
            )
            for (through, _), snapsets in zip(ends, versions, strict=True)
        ]
        return [(run.result(), len(proxy.requests)) for run, (_, proxy) in zip(runs, ends, strict=True)]


@THOROUGH
@pytest.mark.parametrize("same", [True, False], ids=["one version", "two versions"])
def test_concurrent_updates_make_few_additional_requests(
    server: Server, target: Target, many: Manifest, versions: list[Snapsets], proxied: Proxied, *, same: bool
) -> None:
    """Disputed documents are read and written in batches, not one by one."""
    load(server, target, without_views(target, many, versions[0]))
    through, alone = proxied(pass_on)
    load(through, target, without_views(target, many, versions[1]), update=True)
    load(server, target, without_views(target, many, versions[0]), update=True, older_snapsets=True)

    both = meet(target, many, [versions[1], versions[1 if same else 2]], proxied)

    # Each sees at most one refusal of each batch, reads it, and writes it again or gives way.
    assert max(requests for _, requests in both) <= 3 * len(alone.requests)
    assert all(result.count(Outcome.FAILED) == result.count(Outcome.CONFLICT) == 0 for result, _ in both)
    found = sizes(server, target, many)
    assert set(found) <= ({20} if same else {20, 22})
    assert len(found) == MANY


def replicate(server: Server, source: Target, target: Target, manifest: Manifest) -> None:
    """Replicate every leaf of the cards' documents from one target to another, as CouchDB does."""
    kinds = source.model.kinds
    for name, database in databases(server, source).items():
        ids = [kind.id(card.uuid) for card in manifest.cards() for kind in kinds if kind.database == name]
        leaves = [json.dumps(leaf) for found in database.leaves(ids).values() for leaf in found]
        assert databases(server, target)[name].write([leaf.encode() for leaf in leaves]) == []


@pytest.mark.parametrize(
    "next_load", ["where the update was", "on the other side", "on the other side, of the older version"]
)
def test_edits_in_a_replicated_cluster_survive_an_update(
    server: Server, target: Target, few: Manifest, versions: list[Snapsets], next_load: str, prefix: str
) -> None:
    """Of two clusters that replicate both ways, one is updated while people edit in the other: the edits win."""
    other = Target(target.address, target.model, target.environment, f"{prefix}other-")
    sides = [target, other]
    try:
        for side in sides:
            load(server, side, without_views(side, few, versions[0]))
        ids = [preferences_of(target.model.name, card.uuid) for card in few.cards()]
        there = databases(server, other)[ids[0].database]
        load(server, target, without_views(target, few, versions[1]), update=True)
        for number, place in enumerate(ids[:5]):
            # With one edit or several: either side's revision may be the winner.
            for times in range(1 + number % 2):
                document = get(there, place.id)
                flat(document)[FONT_SIZE] = 40 + number + times / 2
                put(there, document)
        delete(there, ids[5].id)
        wanted = [40, 41.5, 42, 43.5, 44, None, 20, 20]
        for one, two in ((target, other), (other, target)):
            replicate(server, one, two, few)
        side = target if next_load == "where the update was" else other
        version = versions[0 if "older" in next_load else 1]
        result = load(server, side, without_views(side, few, version), update="older" not in next_load)
        if "older" in next_load:
            # This side's database does not know the new version: kept and reported until a load knows it.
            assert result.count(Outcome.CONFLICT) > 0
            load(server, target, without_views(target, few, versions[1]))
        else:
            assert result.count(Outcome.CONFLICT) == 0
            assert result.repaired == 6
        for one, two in ((target, other), (other, target)):
            replicate(server, one, two, few)

        for side in sides:
            assert sizes(server, side, few) == wanted
            again = load(server, side, without_views(side, few, versions[1]))
            assert again.repaired == again.count(Outcome.CONFLICT) == 0
            assert (again.count(Outcome.EDITED), again.count(Outcome.DELETED)) == (5, 1)
            assert sizes(server, side, few) == wanted
    finally:
        for database in databases(server, other).values():
            database.delete()


class TestOneRevision:
    """A database that keeps one revision of each document (``_revs_limit`` 1), so histories prove nothing."""

    @pytest.fixture
    def limited(self, server: Server, target: Target, few: Manifest, versions: list[Snapsets]) -> Database:
        """The database of the sets, loaded, and limited from then on."""
        load(server, target, without_views(target, few, versions[0]))
        for database in databases(server, target).values():
            if database.revs_limit() is None:
                pytest.skip("this server has no _revs_limit")
            database.set_revs_limit(1)
        place = preferences_of(target.model.name, next(few.cards()).uuid)
        return databases(server, target)[place.database]

    def test_edited_sets_stay_edited(
        self, server: Server, target: Target, few: Manifest, versions: list[Snapsets], limited: Database
    ) -> None:
        """However often they are edited and others are updated, no set becomes foreign or is overwritten."""
        ids = [preferences_of(target.model.name, card.uuid).id for card in few.cards()]
        for number, version in enumerate((1, 2, 1, 2)):
            document = get(limited, ids[number])
            flat(document)[FONT_SIZE] = 40 + number
            put(limited, document)
            if number == 0:
                delete(limited, ids[-1])
            result = load(
                server, target, without_views(target, few, versions[version]), update=True, older_snapsets=True
            )
            assert result.count(Outcome.EDITED) == number + 1
            assert (result.count(Outcome.FOREIGN), result.count(Outcome.CONFLICT), result.repaired) == (0, 0, 0)
            assert result.count(Outcome.DELETED) == 1
        assert sizes(server, target, few) == [40, 41, 42, 43, 22, 22, 22, None]

    def test_concurrent_updates_delete_nothing(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        versions: list[Snapsets],
        limited: Database,
        proxied: Proxied,
    ) -> None:
        """Of two versions of a set, one is left."""
        document = get(limited, preferences_of(target.model.name, next(few.cards()).uuid).id)
        flat(document)[FONT_SIZE] = 40
        put(limited, document)
        for _ in range(3):
            both = meet(target, few, versions[1:], proxied)
            assert [result.count(Outcome.EDITED) for result, _ in both] == [1, 1]
            first, *others = sizes(server, target, few)
            assert first == 40
            assert set(others) <= {20, 22}
            load(server, target, without_views(target, few, versions[0]), update=True, older_snapsets=True)
            assert sizes(server, target, few) == [40, *[18] * (FEW - 1)]
