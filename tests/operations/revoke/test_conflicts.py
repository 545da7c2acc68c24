"""Revoking documents with several live leaves."""

import json

import pytest

from dataloader.batch import Card, Manifest
from dataloader.couch import Server
from dataloader.operations import (
    LoadOptions,
    RevokeOutcome,
    Source,
    load,
    restore,
    revoke,
)
from dataloader.operations import Outcome as LoadOutcome
from dataloader.target import Target
from tests.support.marks import KEY_MODEL
from tests.support.records import Json, Place
from tests.support.revoking import (
    at,
    contents,
    counts,
    is_revoked,
    leaves,
    plain,
)
from tests.support.server import get


@pytest.mark.usefixtures("loaded")
class TestConflicts:
    """Documents in conflict."""

    def versions(self, server: Server, target: Target, place: Place) -> Json:
        """Create versions in conflict with the first one; return the winner."""
        database = at(server, target, place)
        document = plain(get(database, place.id))
        bodies = [{**document, "note": note, "_rev": f"1-{rev * 32}"} for note, rev in (("b", "0"), ("c", "f"))]
        assert database.write([json.dumps(each).encode() for each in bodies]) == []
        return plain(get(database, place.id))

    def test_every_version_is_revoked_and_the_winner_is_restored(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """No losing version becomes the winner when the winner is deleted."""
        shown = [self.versions(server, target, place) for place in places]

        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}

        for place in places:
            assert is_revoked(server, target, place)
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}
        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        for place, document in zip(places, shown, strict=True):
            assert plain(get(at(server, target, place), place.id)) == document
            notes = [leaf["document"].get("note") for leaf in leaves(server, target, place, live=False)]
            assert {None, "b"} <= {*notes}

    @pytest.mark.parametrize("digit", ["0", "f"])
    def test_load_keeps_a_restored_card(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        documents: list[Source],
        digit: str,
    ) -> None:
        """The tombstone of the losing version is still there; a load does not treat it as a deletion."""
        before = contents(server, target)
        for place in places:
            database = at(server, target, place)
            again = {**plain(get(database, place.id)), "_rev": f"1-{digit * 32}"}
            assert database.write([json.dumps(again).encode()]) == []
        revoke(server, target, few, cards[1:2], "lost")
        load(server, target, documents, LoadOptions(update=True))
        assert all(is_revoked(server, target, place) for place in places)
        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        assert all(leaves(server, target, place, live=False) for place in places)

        result = load(server, target, documents, LoadOptions(update=True))
        assert result.count(LoadOutcome.UNCHANGED) == sum(each.count for each in documents)
        assert (result.repaired, contents(server, target)) == (0, before)
        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.NOT_REVOKED: 1}

        revoke(server, target, few, cards[1:2], "lost again")
        assert all(is_revoked(server, target, place) for place in places)
        restore(server, target, few, cards[1:2])
        assert contents(server, target) == before

    @KEY_MODEL
    def test_conflicting_revocations_leave_one(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Two people who revoke a key on two nodes create two versions: the winner stays, revoked."""
        before = contents(server, target)
        [place] = places
        database = at(server, target, place)
        key = get(database, place.id, revs="true")
        for name, digit in (("ann", "1"), ("bob", "2")):
            version = {
                **plain(key),
                "revoked": True,
                "revokedReason": f"lost, says {name}",
                "_rev": f"2-{digit * 32}",
                "_revisions": {"start": 2, "ids": [digit * 32, *key["_revisions"]["ids"]]},
            }
            assert database.write([json.dumps(version).encode()]) == []
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}
        [left] = leaves(server, target, place, live=True)
        assert left["revokedReason"] == "lost, says bob"
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}
        restore(server, target, few, cards[1:2])
        assert contents(server, target) == before
