"""Restored cards work again, with everything that they had."""

import json
from typing import Any

import pytest

from dataloader.batch import Card, Manifest
from dataloader.couch import Server
from dataloader.operations import (
    CardOutcome,
    LoadOptions,
    RevokeOutcome,
    Source,
    load,
    restore,
    revoke,
)
from dataloader.operations import Outcome as LoadOutcome
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.marks import KEY_MODEL, THOROUGH, TOKEN_MODEL
from tests.support.proxy import Forward, Reply, Request
from tests.support.records import FONT_SIZE, Place, flat, preferences_of
from tests.support.revoking import (
    CARDS,
    PHOTO,
    at,
    attach,
    attached,
    change,
    compact,
    contents,
    counts,
    is_revoked,
    leaves,
    plain,
)
from tests.support.server import Proxied, databases, delete, get, put, sequences


@pytest.mark.usefixtures("loaded")
class TestRestoring:
    """Cards that were loaded and revoked."""

    def test_card_is_restored_unchanged(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], documents: list[Source]
    ) -> None:
        """Revoked and restored repeatedly, it equals what was loaded; for a load it is unchanged."""
        before = contents(server, target)
        for _ in range(2):
            revoke(server, target, few, cards[:2], "lost")
            assert contents(server, target) != before
            result = restore(server, target, few, cards[:3])
            assert counts(result) == {RevokeOutcome.RESTORED: 2, RevokeOutcome.NOT_REVOKED: 1}
            assert contents(server, target) == before
        stood = sequences(server, target)
        assert counts(restore(server, target, few, cards)) == {RevokeOutcome.NOT_REVOKED: CARDS}
        again = load(server, target, documents, LoadOptions(update=True))
        assert again.count(LoadOutcome.UNCHANGED) == again.documents
        assert sequences(server, target) == stood

    @pytest.mark.parametrize("compacted", [False, True])
    def test_edits_are_restored(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        *,
        compacted: bool,
    ) -> None:
        """Settings, members and attachments from before the revocation, even after a compaction."""
        own_set = preferences_of(target.model.name, cards[1].uuid)
        document = get(at(server, target, own_set), own_set.id)
        flat(document)[FONT_SIZE] = 30
        put(at(server, target, own_set), {**document, "note": "hers"})
        members: dict[str, dict[str, Any]] = {
            "gpii-token": {"number": 1.5},
            "gpii-key": {"timestampUpdated": "2021-02-03T17:05:09.250Z"},
        }
        change(server, target, places[-1], **members[target.model.name])
        for place in {own_set, places[-1]}:
            attach(server, target, place, "photo.bin", PHOTO)
        before = contents(server, target)
        for _ in range(2):
            assert counts(revoke(server, target, few, cards[:2], "lost")) == {RevokeOutcome.REVOKED: 2}
            if compacted:
                for database in databases(server, target).values():
                    compact(database)
            assert counts(restore(server, target, few, cards[:2])) == {RevokeOutcome.RESTORED: 2}
            assert contents(server, target) == before
            for place in {own_set, places[-1]}:
                assert attached(server, target, place) == {"photo.bin": PHOTO}

    @THOROUGH
    @pytest.mark.parametrize(("size", "times"), [(1_500_000, 2), (9_000_000, 1)])
    def test_card_with_large_attachments_is_revoked_and_restored(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place], size: int,
        times: int,
    ) -> None:  # fmt: skip
        """They are too large for a tombstone or for a reply about documents; other cards are not held up either."""
        photo = bytes(size)
        for place in places:
            attach(server, target, place, "photo.bin", photo)
        before = contents(server, target)
        for _ in range(times):
            assert counts(revoke(server, target, few, cards[:2], "lost")) == {RevokeOutcome.REVOKED: 2}
            for database in databases(server, target).values():
                compact(database)
            told: list[CardOutcome] = []
            result = restore(server, target, few, cards[:2], on_outcome=told.append)
            assert counts(result) == {RevokeOutcome.RESTORED: 2}
            assert not any(each.reason for each in told)
            assert contents(server, target) == before
            for place in places:
                assert attached(server, target, place) == {"photo.bin": photo}

    @TOKEN_MODEL
    def test_card_with_too_large_a_set_is_revoked(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place], proxied: Proxied
    ) -> None:
        """A lost card must stop working, even if what it had cannot be kept; that is reported."""

        def limit(request: Request, forward: Forward) -> Reply:
            if (
                request.endpoint == "_bulk_docs"
                and b'"revokedReason"' in request.body
                and b'"document"' in request.body
            ):
                return Reply.json(413, {"error": "document_too_large", "reason": "too large"})
            return forward(request)

        through, _ = proxied(limit)
        told: list[CardOutcome] = []
        result = revoke(through, target, few, cards[1:2], "lost", on_outcome=told.append)
        assert counts(result) == {RevokeOutcome.REVOKED: 1}
        assert all(is_revoked(server, target, place) for place in places)
        assert "is too large to be kept" in told[0].reason

    @TOKEN_MODEL
    def test_set_written_while_revoked_is_kept(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place], sets: Snapsets
    ) -> None:
        """A server of 2017 lets anyone write it again; undoing keeps that set and reports it."""
        revoke(server, target, few, cards[1:2], "lost")
        theirs = {"_id": places[0].id, "value": {"flat": {"contexts": {"gpii-default": {"preferences": {}}}}}}
        put(at(server, target, places[0]), theirs)
        told: list[CardOutcome] = []
        restore(server, target, few, cards[1:2], snapsets=sets, on_outcome=told.append)
        assert told == [
            CardOutcome(
                cards[1],
                RevokeOutcome.RESTORED,
                "its preference set was written while the card was revoked, and is kept",
            )
        ]
        assert contents(server, target)["preferences"][places[0].id] == theirs

    @TOKEN_MODEL
    def test_set_written_while_revoked_is_revoked_again(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place], sets: Snapsets
    ) -> None:
        """Revoking again stops the card; undoing restores the last set and reports it."""
        revoke(server, target, few, cards[1:2], "lost")
        theirs = {"_id": places[0].id, "value": {"flat": {"contexts": {"gpii-default": {"preferences": {}}}}}}
        put(at(server, target, places[0]), theirs)
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}
        assert all(is_revoked(server, target, place) for place in places)
        told: list[CardOutcome] = []
        restore(server, target, few, cards[1:2], snapsets=sets, on_outcome=told.append)
        assert told[0].reason == "its preference set was written while the card was revoked; that version is restored"
        assert contents(server, target)["preferences"][places[0].id] == theirs

    @TOKEN_MODEL
    @pytest.mark.parametrize("again", [False, True])
    def test_edited_set_overwritten_while_revoked_is_kept_in_conflict(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        sets: Snapsets,
        *,
        again: bool,
    ) -> None:
        """A stranger can write a set for a revoked card; that must not cost its owner their own."""
        place = preferences_of(target.model.name, cards[1].uuid)
        edited = plain(get(at(server, target, place), place.id))
        flat(edited)[FONT_SIZE] = 30
        put(at(server, target, place), {**edited, "_rev": get(at(server, target, place), place.id)["_rev"]})
        revoke(server, target, few, cards[1:2], "lost")
        database = at(server, target, places[0])
        theirs = {"_id": places[0].id, "value": {"flat": {"contexts": {"gpii-default": {"preferences": {}}}}}}
        put(database, theirs)
        compact(database)
        if again:
            revoke(server, target, few, cards[1:2], "lost")
        told: list[CardOutcome] = []

        restore(server, target, few, cards[1:2], snapsets=sets, on_outcome=told.append)

        compact(database)
        assert told[0].reason.endswith("; the earlier set is kept in conflict with it (run `dataloader merge`)")
        assert plain(get(database, places[0].id)) == theirs
        found = [plain(leaf) for leaf in leaves(server, target, places[0], live=True)]
        assert edited in found
        assert counts(restore(server, target, few, cards[1:2], snapsets=sets)) == {RevokeOutcome.NOT_REVOKED: 1}
        assert len(found) == len(leaves(server, target, places[0], live=True)) == 2

    @TOKEN_MODEL
    def test_set_with_an_overwritten_tombstone_is_restored_from_the_token(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Written again, deleted by hand, compacted: only the token's tombstone still contains it."""
        before = contents(server, target)
        revoke(server, target, few, cards[1:2], "lost")
        database = at(server, target, places[0])
        put(database, {"_id": places[0].id, "value": {}})
        delete(database, places[0].id)
        compact(database)
        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        assert contents(server, target) == before

    @KEY_MODEL
    def test_edits_while_revoked_are_kept(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """The preference set of a revoked card belongs to its owner; edits of a revoked key are kept, too."""
        revoke(server, target, few, cards[1:2], "lost")
        place = preferences_of(target.model.name, cards[1].uuid)
        document = get(at(server, target, place), place.id)
        flat(document)[FONT_SIZE] = 30
        put(at(server, target, place), document)
        change(server, target, places[0], prefsSetId="at-work")
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}

        restore(server, target, few, cards[1:2])

        assert flat(get(at(server, target, place), place.id))[FONT_SIZE] == 30
        key = get(at(server, target, places[0]), places[0].id)
        assert (key["prefsSetId"], key["revoked"], key["revokedReason"]) == ("at-work", False, None)
        assert key["prefsSafeId"] == place.id

    @KEY_MODEL
    def test_safe_created_by_a_server_is_found(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Its ID is random, so it can't be computed from the card's."""
        change(server, target, places[0], prefsSafeId="5d3bd42c-4a9f-4b8a-9a60-6a3a1fbd6a11")
        before = contents(server, target)
        revoke(server, target, few, cards[1:2], "lost")
        compact(at(server, target, places[0]))
        restore(server, target, few, cards[1:2])
        assert contents(server, target) == before

    @pytest.mark.parametrize("compacted", [False, True])
    def test_card_deleted_by_hand_is_restored(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        *,
        compacted: bool,
    ) -> None:
        """A token or key deleted by hand is restored unchanged; as minted if its content is gone."""
        before = contents(server, target)
        wanted = change(server, target, places[-1], note="hers")
        delete(at(server, target, places[-1]), places[-1].id)
        if compacted:
            compact(at(server, target, places[-1]))

        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}

        if not compacted:
            before[places[-1].database][places[-1].id] = wanted
        assert contents(server, target) == before

    def test_deletion_that_contains_the_document_is_enough(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Some programs delete by setting ``_deleted`` in the whole document; that content is restored."""
        before = contents(server, target)
        place = places[-1]
        database = at(server, target, place)
        deleted = {**get(database, place.id), "_deleted": True, "note": "kept"}
        assert database.edit([deleted]) == []
        compact(database)
        restore(server, target, few, cards[1:2])
        before[place.database][place.id]["note"] = "kept"
        assert contents(server, target) == before

    @KEY_MODEL
    def test_key_that_was_marked_and_deleted_is_restored_unmarked(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """However it was stopped, it works again."""
        before = contents(server, target)
        revoke(server, target, few, cards[1:2], "lost")
        delete(at(server, target, places[0]), places[0].id)
        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        assert contents(server, target) == before

    @TOKEN_MODEL
    def test_tombstone_that_names_another_card_restores_nothing_there(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Whoever wrote a tombstone, undoing it writes to the card's own documents only."""
        other = preferences_of(target.model.name, cards[3].uuid)
        delete(at(server, target, other), other.id)
        before = at(server, target, other).leaves([other.id])
        revoke(server, target, few, cards[1:2], "lost")
        for place in places:
            [tombstone] = at(server, target, place).leaves([place.id])[place.id]
            for document in (tombstone["document"], *tombstone.get("kept", {}).values()):
                document |= {"_id": other.id, "value": {"flat": {}}}
            past = {"start": 9, "ids": ["9" * 32, "8" * 32]}
            forged = {**tombstone, "_rev": f"9-{'9' * 32}", "_revisions": past}
            assert at(server, target, place).write([json.dumps(forged).encode()]) == []
        restore(server, target, few, cards[1:2])
        assert at(server, target, other).leaves([other.id]) == before
