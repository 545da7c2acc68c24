"""Revoked cards stop working and stay revoked."""

from dataclasses import replace

import pytest

from dataloader.batch import Card, Manifest
from dataloader.common import explain
from dataloader.couch import Server
from dataloader.operations import (
    CardOutcome,
    LoadOptions,
    RevokeOutcome,
    Source,
    load,
    revoke,
)
from dataloader.operations import Outcome as LoadOutcome
from dataloader.target import Target
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.proxy import Forward, Reply, Request
from tests.support.records import Place
from tests.support.revoking import at, change, contents, counts, leaves, plain, writes
from tests.support.server import QUICK, Proxied, as_admin, get, sequences, snapshot


@pytest.mark.usefixtures("loaded")
class TestRevoking:
    """Cards that were loaded."""

    @TOKEN_MODEL
    def test_set_and_token_are_deleted_and_kept_in_the_tokens_tombstone(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """A server may write the set again on top of its tombstone; nobody writes tokens."""
        before = contents(server, target)

        result = revoke(server, target, few, cards[1:2], "  lost on the way ")

        assert counts(result) == {RevokeOutcome.REVOKED: 1}
        after = contents(server, target)
        own_set, token = (before[place.database].pop(place.id) for place in places)
        assert after == before
        [of_set], [of_token] = (leaves(server, target, place, live=False) for place in places)
        for tombstone, was in ((of_set, own_set), (of_token, token)):
            assert explain("common/tombstone", {**plain(tombstone), "_deleted": True}) == []
            assert (tombstone["document"], tombstone["revokedReason"]) == (was, "lost on the way")
            assert tombstone["_revisions"]["start"] == 2
        assert of_token["kept"] == {"preferences": own_set}
        assert "kept" not in of_set

    @KEY_MODEL
    def test_revoked_key_refers_to_a_missing_safe(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """No server reads ``revoked``; the old safe ID can be read from the new one. Nothing else is changed."""
        before = contents(server, target)

        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}

        after = contents(server, target)
        [place] = places
        was, key = before[place.database].pop(place.id), after[place.database].pop(place.id)
        assert explain("gpii-key/gpiiKey", key) == []
        assert key.pop("timestampRevoked") > was["timestampCreated"]
        assert key == {
            **was,
            "revoked": True,
            "revokedReason": "lost",
            "prefsSafeId": f"revoked-prefsSafe-{cards[1].uuid}",
        }
        assert key["prefsSafeId"] not in before["gpii"]
        assert after == before

    def test_revoking_again_writes_nothing(
        self, server: Server, target: Target, few: Manifest, cards: list[Card]
    ) -> None:
        """The second time, no document is changed, not even its reason or time, and the result says so."""
        revoke(server, target, few, cards[:2], "lost")
        before = snapshot(server, target), sequences(server, target)
        assert counts(revoke(server, target, few, cards[:2], "stolen")) == {RevokeOutcome.ALREADY_REVOKED: 2}
        assert (snapshot(server, target), sequences(server, target)) == before
        result = revoke(server, target, few, cards[:3], "stolen")
        assert counts(result) == {RevokeOutcome.ALREADY_REVOKED: 2, RevokeOutcome.REVOKED: 1}

    def test_each_card_has_an_outcome(self, server: Server, target: Target, few: Manifest, cards: list[Card]) -> None:
        """In the order of the cards, with progress."""
        told: list[CardOutcome] = []
        progress: list[tuple[str, int, int]] = []
        revoke(
            server,
            target,
            few,
            cards[1:3],
            "lost",
            on_outcome=told.append,
            on_progress=lambda *each: progress.append(each),
        )
        assert told == [CardOutcome(card, RevokeOutcome.REVOKED) for card in cards[1:3]]
        assert progress == [("few: cards", 2, 2)]

    @pytest.mark.parametrize("update", [False, True])
    def test_later_loads_keep_cards_revoked(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        documents: list[Source],
        *,
        update: bool,
    ) -> None:
        """A load, with or without update, writes nothing, and counts revoked documents as deleted or edited."""
        revoke(server, target, few, cards[:2], "lost")
        before = snapshot(server, target), sequences(server, target)
        again = load(server, target, documents, LoadOptions(update=update))
        assert (snapshot(server, target), sequences(server, target)) == before
        kept = {"gpii-token": (LoadOutcome.DELETED, 4), "gpii-key": (LoadOutcome.EDITED, 2)}[target.model.name]
        assert again.count(kept[0]) == kept[1]
        assert again.count(LoadOutcome.UNCHANGED) == again.documents - kept[1]
        assert again.needs_attention == 0

    def test_document_of_another_type_is_not_changed(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """A foreign document in place of a token or key is kept; the other cards are revoked."""
        place = places[-1]
        theirs = change(server, target, place, type="note")
        told: list[CardOutcome] = []
        result = revoke(server, target, few, cards[:2], "lost", on_outcome=told.append)
        assert counts(result) == {RevokeOutcome.REVOKED: 1, RevokeOutcome.FOREIGN: 1}
        assert result.needs_attention == 1
        assert [each.reason for each in told] == ["", f"document {place.id} is of another type, and was not changed"]
        assert plain(get(at(server, target, place), place.id)) == theirs

    def test_ids_that_contain_the_password_are_matched(
        self, target: Target, few: Manifest, cards: list[Card], proxied: Proxied
    ) -> None:
        """Secrets are masked in output, not in comparisons: a refused write is matched to its card."""

        def refuse(request: Request, forward: Forward) -> Reply:
            if not writes(request):
                return forward(as_admin(request, target))
            refused = [each["_id"] for each in request.data()["docs"]]
            return Reply.json(201, [{"id": each, "error": "forbidden", "reason": f"not {each}"} for each in refused])

        through, _ = proxied(refuse)
        wary = Server(replace(through.address, password=cards[1].uuid), QUICK)
        told: list[CardOutcome] = []
        assert counts(revoke(wary, target, few, cards[1:2], "lost", on_outcome=told.append)) == {
            RevokeOutcome.FAILED: 1
        }
        assert f"{cards[1].uuid}: forbidden: not " in told[0].reason
        assert told[0].reason.endswith("***")
