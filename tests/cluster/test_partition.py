"""A network partition: one node alone accepts an update while the others accept edits."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from dataloader.batch import CardFile, Manifest
from dataloader.common import Patience, UnreachableError
from dataloader.couch import Database, Server
from dataloader.operations import (
    CardVerdict,
    LoadOptions,
    LoadResult,
    Outcome,
    RevokeOutcome,
    VerifyVerdict,
    all_sources,
    generate,
    load,
    revoke,
    verify,
)
from dataloader.records import Snapsets
from tests.cluster.nodes import ONLY_WITH_A_CLUSTER, Cluster
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.records import FONT_SIZE, flat, preferences_of, write_snapsets
from tests.support.server import databases, delete, get, put

pytestmark = ONLY_WITH_A_CLUSTER

CARDS = 40
EDITED = range(20)
DELETED = range(20, 30)
QUICK = Patience(timeout=20, retries=4, wait=0.1, total=60)


@pytest.fixture
def versions(tmp_path: Path) -> list[Snapsets]:
    """Two versions of a snapset."""
    return [write_snapsets(tmp_path / f"version-{size}", {"large": size}) for size in (18, 20)]


@pytest.fixture
def batch(tmp_path: Path) -> Manifest:
    """A batch of forty cards."""
    return generate("apart", {"large": CARDS}, tmp_path / "batch").manifest


def bring(server: Server, cluster: Cluster, batch: Manifest, snapsets: Snapsets, *, update: bool = False) -> LoadResult:
    """Load the cards without the views, whose indexes take longest."""
    *sources, _ = all_sources(cluster.target, [batch], snapsets)
    return load(server, cluster.target, sources, LoadOptions(update=update))


def sets(cluster: Cluster, batch: Manifest, node: int) -> tuple[Database, list[str]]:
    """Return a node's database of the preference sets, and their IDs."""
    places = [preferences_of(cluster.target.model.name, card.uuid) for card in batch.cards()]
    return databases(cluster.nodes[node], cluster.target)[places[0].database], [place.id for place in places]


def alone_and_unaware(request: Request, forward: Forward) -> Reply:
    """Answer like a node that has not noticed yet that the others are gone."""
    reply = forward(request)
    if request.path == "/_membership":
        data = reply.data()
        return replace(reply, body=json.dumps({**data, "all_nodes": data["cluster_nodes"]}).encode())
    return reply


@pytest.mark.parametrize("aware", [True, False])
def test_edits_on_the_other_side_of_a_partition_survive_an_update(
    cluster: Cluster, batch: Manifest, versions: list[Snapsets], monkeypatch: pytest.MonkeyPatch, *, aware: bool
) -> None:
    """Whether or not the loader knew that nodes were down, each edit and deletion counts when they are back."""
    monkeypatch.setattr(import_module("dataloader.operations.load"), "NODES_WAIT", 0.0)
    bring(cluster.nodes[0], cluster, batch, versions[0])
    cluster.make_up_copies()
    cluster.stop(1)
    cluster.stop(2)
    if aware:
        result = bring(cluster.nodes[0], cluster, batch, versions[1], update=True)
        assert (result.count(Outcome.WAITING), result.count(Outcome.UPDATED)) == (1 + CARDS, 0)
    else:
        with Proxy(cluster.urls[0], alone_and_unaware) as proxy:
            address = replace(cluster.target.address, url=proxy.url, others=())
            result = bring(Server(address, QUICK), cluster, batch, versions[1], update=True)
        assert result.count(Outcome.UPDATED) == 1 + CARDS
        assert result.short_of_copies
    # The others are back without node 0, and accept edits and deletions.
    cluster.stop(0)
    cluster.start(1)
    cluster.start(2)
    cluster.wait_until_joined(1, 2)
    database, ids = sets(cluster, batch, 1)
    for number in EDITED:
        document = get(database, ids[number])
        flat(document)[FONT_SIZE] = 40 + number
        put(database, document)
    for number in DELETED:
        delete(database, ids[number])
    cluster.start(0)
    cluster.wait_until_whole()
    cluster.make_up_copies()

    result = bring(cluster.nodes[0], cluster, batch, versions[1])

    assert result.count(Outcome.CONFLICT) == result.count(Outcome.FAILED) == result.count(Outcome.WAITING) == 0
    database, ids = sets(cluster, batch, 2)
    leaves = database.leaves(ids, all_copies=True)
    for number, doc_id in enumerate(ids):
        live = [flat(leaf)[FONT_SIZE] for leaf in leaves[doc_id] if not leaf.get("_deleted")]
        wanted = {18, 20} if number >= DELETED.stop else {40 + number} if number in EDITED else set()
        assert len(live) == (number not in DELETED)
        assert set(live) <= wanted
    again = bring(cluster.nodes[1], cluster, batch, versions[1])
    assert (again.repaired, again.count(Outcome.EDITED), again.count(Outcome.DELETED)) == (0, 20, 10)


def test_card_revoked_during_a_partition_stays_revoked(
    cluster: Cluster, batch: Manifest, versions: list[Snapsets]
) -> None:
    """Revoking does not wait for the node that is down; writes that it accepted meanwhile give no card access."""
    *sources, views = all_sources(cluster.target, [batch], versions[0])
    load(cluster.nodes[0], cluster.target, [*sources, views])
    cluster.make_up_copies()
    cards = [*batch.cards()][:10]
    with pytest.raises(UnreachableError, match="2 of 3 nodes of the cluster"), cluster.alone(0):
        revoke(cluster.nodes[0], cluster.target, batch, cards, "lost")
    cluster.stop(0)
    result = revoke(cluster.nodes[1], cluster.target, batch, cards, "lost")
    assert result.outcomes == {RevokeOutcome.REVOKED: len(cards)}
    assert len(result.nodes_away) == 1
    cluster.stop(1)
    cluster.stop(2)
    cluster.start(0)
    database, ids = sets(cluster, batch, 0)
    for doc_id in ids[:5]:
        document = get(database, doc_id)
        flat(document)[FONT_SIZE] = 40
        put(database, document)
    cluster.start(1)
    cluster.start(2)
    cluster.wait_until_whole()
    cluster.make_up_copies()

    found: dict[str, CardVerdict] = {}

    def note(_: CardFile, verdict: CardVerdict) -> None:
        found[verdict.uuid] = verdict

    verify(cluster.nodes[1], cluster.target, [batch], versions[0], on_verdict=note)
    assert set(found) == {card.uuid for card in cards}
    assert all(each.verdict is VerifyVerdict.REVOKED or each.needs_revoking for each in found.values())
    assert revoke(cluster.nodes[2], cluster.target, batch, cards, "lost").needs_attention == 0
    verify(cluster.nodes[0], cluster.target, [batch], versions[0], on_verdict=note)
    assert {(each.verdict, each.is_odd) for each in found.values()} == {(VerifyVerdict.REVOKED, False)}
    assert load(cluster.nodes[0], cluster.target, sources).count(Outcome.CREATED) == 0
