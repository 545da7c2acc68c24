"""Revoking with concurrent edits and runs, and servers that fail."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from dataloader.batch import Card, Manifest
from dataloader.common import ExitCode, UnreachableError
from dataloader.couch import Server
from dataloader.operations import (
    CardOutcome,
    RevokeOutcome,
    all_sources,
    generate,
    load,
    restore,
    revoke,
)
from dataloader.operations.revoke import ROUNDS
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import TOKEN_MODEL
from tests.support.proxy import Forward, Hangup, Hook, Reply, Request, pass_on
from tests.support.records import Json, Place, access_of
from tests.support.revoking import LIMIT, at, change, contents, counts, is_revoked, leaves, once, plain, writes
from tests.support.server import Proxied, get, put, sequences


@pytest.mark.usefixtures("loaded")
class TestOthers:
    """Concurrent edits and runs, and servers that fail."""

    @pytest.mark.parametrize("which", [0, -1])
    def test_edit_in_between_is_kept(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
        which: int,
    ) -> None:
        """A document changed between the read and the write is revoked with that change."""
        wanted: list[Json] = []
        hook = once(
            lambda request: writes(request, places[which]),
            before=lambda: wanted.append(change(server, target, places[which], note="theirs")),
        )
        through, _ = proxied(hook)
        assert counts(revoke(through, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}
        assert all(is_revoked(server, target, place) for place in places)
        contents(server, target)
        restore(server, target, few, cards[1:2])
        after = plain(get(at(server, target, places[which]), places[which].id))
        assert after == wanted[0]

    def test_edit_during_an_undo_is_kept(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
    ) -> None:
        """A document that is recreated or changed while it is being restored is kept."""
        revoke(server, target, few, cards[1:2], "lost")
        place = places[-1]

        def theirs() -> None:
            if target.model.name == "gpii-key":
                change(server, target, place, prefsSetId="theirs")
            else:
                token = {"_id": place.id, "type": "gpiiToken", "gpiiToken": cards[1].uuid, "userId": "theirs"}
                put(at(server, target, place), token)

        through, _ = proxied(once(lambda request: writes(request, place), before=theirs))
        assert counts(restore(through, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        assert not is_revoked(server, target, place)
        after = contents(server, target)[place.database][place.id]
        assert "theirs" in {after.get("userId"), after.get("prefsSetId")}

    def test_lost_reply_is_harmless(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place], proxied: Proxied
    ) -> None:
        """A write whose reply was lost is not repeated, and counts as done."""
        before = contents(server, target)
        lost: set[bytes] = set()

        def lose(request: Request, forward: Forward) -> Reply:
            reply = forward(request)
            if writes(request) and request.body not in lost:
                lost.add(request.body)
                raise Hangup
            return reply

        through, _ = proxied(lose)
        assert counts(revoke(through, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}
        for place in places:
            [leaf] = at(server, target, place).leaves([place.id])[place.id]
            assert leaf["_revisions"]["start"] == 2
        assert counts(restore(through, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        assert contents(server, target) == before
        assert len(lost) == 2 * len(places)

    @pytest.mark.parametrize("undo", [False, True])
    def test_concurrent_runs_have_the_same_result(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
        *,
        undo: bool,
    ) -> None:
        """Both have read before either writes: the cards are revoked or restored once, without conflicts."""
        before = contents(server, target)
        if undo:
            revoke(server, target, few, cards[1:3], "lost")
        both = Barrier(2, timeout=LIMIT)
        servers = [proxied(once(writes, before=both.wait))[0] for _ in range(2)]
        with ThreadPoolExecutor(2) as executor:
            if undo:
                runs = [executor.submit(restore, each, target, few, cards[1:3]) for each in servers]
            else:
                runs = [
                    executor.submit(revoke, each, target, few, cards[1:3], f"lost, says {name}")
                    for each, name in zip(servers, ("ann", "bob"), strict=True)
                ]
            results = [counts(run.result()) for run in runs]
        assert results == [{RevokeOutcome.RESTORED if undo else RevokeOutcome.REVOKED: 2}] * 2
        assert all(is_revoked(server, target, place) != undo for place in places)
        assert (contents(server, target) == before) == undo
        restore(server, target, few, cards[1:3])
        assert contents(server, target) == before

    def test_concurrent_runs_before_the_load_have_the_same_result(
        self,
        server: Server,
        target: Target,
        sets: Snapsets,
        proxied: Proxied,
        tmp_path: Path,
    ) -> None:
        """Both find nothing, and give different reasons: one version is left, or none."""
        other = generate("other", {"large": 2}, tmp_path).manifest
        both = Barrier(2, timeout=LIMIT)
        servers = [proxied(once(writes, before=both.wait))[0] for _ in range(2)]
        with ThreadPoolExecutor(2) as executor:
            runs = [
                executor.submit(revoke, each, target, other, list(other.cards()), f"lost, says {name}")
                for each, name in zip(servers, ("ann", "bob"), strict=True)
            ]
            for run in runs:
                assert set(counts(run.result())) <= {RevokeOutcome.BARRED, RevokeOutcome.REVOKED}
        contents(server, target)
        *sources, _ = all_sources(target, [other], sets)
        assert load(server, target, sources).needs_attention == 0
        for card in other.cards():
            assert is_revoked(server, target, access_of(target.model.name, card.uuid))

    def test_failed_run_is_completed_by_running_again(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
    ) -> None:
        """The document that gives access is deleted last and restored last; the next run does the rest."""
        before = contents(server, target)

        def fail_at(place: Place) -> Hook:
            return lambda request, forward: Reply(503) if writes(request, place) else forward(request)

        through, _ = proxied(fail_at(places[-1]))
        with pytest.raises(UnreachableError, match="run it again to continue"):
            revoke(through, target, few, cards[:2], "lost")
        for place, following in pairwise(places):
            assert is_revoked(server, target, place)
            assert not is_revoked(server, target, following)
        assert counts(revoke(server, target, few, cards[:2], "lost")) == {RevokeOutcome.REVOKED: 2}
        with pytest.raises(UnreachableError):
            restore(through, target, few, cards[:2])
        assert is_revoked(server, target, places[-1])
        assert not any(is_revoked(server, target, place) for place in places[:-1])
        assert counts(restore(server, target, few, cards[:2])) == {RevokeOutcome.RESTORED: 2}
        assert contents(server, target) == before

    def test_document_that_keeps_changing_is_given_up(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
    ) -> None:
        """After many attempts it is reported, and the other cards are revoked."""
        numbers = iter(range(1000))

        def change_first(request: Request, forward: Forward) -> Reply:
            if writes(request, places[0]):
                change(server, target, places[0], note=next(numbers))
            return forward(request)

        through, _ = proxied(change_first)
        told: list[CardOutcome] = []
        result = revoke(through, target, few, cards[:2], "lost", on_outcome=told.append)
        assert counts(result) == {RevokeOutcome.REVOKED: 1, RevokeOutcome.FAILED: 1}
        assert told[1].reason == f"others keep changing document {places[0].id}"
        assert next(numbers) == ROUNDS

    def test_rejected_document_is_reported(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        places: list[Place],
        proxied: Proxied,
        run_here: Command,
    ) -> None:
        """Its card has failed, with the server's reason, and the exit code asks for a decision."""

        def forbid(request: Request, forward: Forward) -> Reply:
            if not writes(request):
                return forward(request)
            refused = [each["_id"] for each in request.data()["docs"]]
            return Reply.json(201, [{"id": each, "error": "forbidden", "reason": "not today"} for each in refused])

        _, proxy = proxied(forbid)
        done = run_here("revoke", few.path, "--card", "2", "--reason", "lost", "--yes", url=proxy.url)
        assert done.code == ExitCode.ATTENTION
        assert "card 2  failed\n" in done.stdout
        first, last = done.stderr.splitlines()
        assert first.startswith("warning: card 2: the server did not accept document ")
        assert first.endswith(": forbidden: not today")
        assert last == "error: 1 card needs a decision (inspect the documents named above)"
        assert not any(is_revoked(server, target, place) for place in places)

    def test_node_that_is_away_is_reported(self, few: Manifest, proxied: Proxied, run_here: Command) -> None:
        """The cards are revoked, and the exit code says that copies may be missing."""
        nodes = {
            "all_nodes": ["couchdb@one", "couchdb@three"],
            "cluster_nodes": ["couchdb@one", "couchdb@two", "couchdb@three"],
        }

        def away(request: Request, forward: Forward) -> Reply:
            return Reply.json(200, nodes) if request.path == "/_membership" else forward(request)

        _, proxy = proxied(away)
        done = run_here("revoke", few.path, "--card", "2", "--reason", "lost", "--yes", "--json", url=proxy.url)
        assert (done.code, done.data["revoked"], done.data["nodes_away"]) == (ExitCode.NODES, 1, ["couchdb@two"])
        assert done.stderr.startswith("error: couchdb@two: down")

    def test_nothing_is_written_while_most_nodes_are_away(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], proxied: Proxied
    ) -> None:
        """What one of three nodes accepts, the other two could override."""
        nodes = {"all_nodes": ["couchdb@one"], "cluster_nodes": ["couchdb@one", "couchdb@two", "couchdb@three"]}
        stood = sequences(server, target)
        through, _ = proxied(
            lambda request, forward: Reply.json(200, nodes) if request.path == "/_membership" else forward(request)
        )
        with pytest.raises(UnreachableError, match="2 of 3 nodes of the cluster: are down"):
            revoke(through, target, few, cards, "lost")
        assert sequences(server, target) == stood

    @TOKEN_MODEL
    def test_killed_run_is_completed_by_running_again(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
        start: Callable[..., Any],
        run_here: Command,
    ) -> None:
        """Killed between set and token: the set is gone, so the card gets nothing; both are kept at the end."""
        before = contents(server, target)
        _, proxy = proxied(pass_on)
        arguments = ("revoke", str(few.path), "--card", "2", "--reason", "lost", "--yes")
        victim: list[Any] = []

        def kill(request: Request, forward: Forward) -> Reply:
            if writes(request, places[-1]):
                victim[0].kill()
                raise Hangup
            return forward(request)

        proxy.hook = kill
        victim.append(start(*arguments, url=proxy.url))
        assert victim[0].wait(LIMIT) < 0
        assert [is_revoked(server, target, place) for place in places] == [True, False]
        done = run_here(*arguments, "--json")
        assert (done.code, done.data["revoked"], done.stderr) == (ExitCode.OK, 1, "")
        [tombstone] = leaves(server, target, places[-1], live=False)
        assert tombstone["kept"]["preferences"] == before["preferences"][cards[1].uuid]
        restore(server, target, few, cards[1:2])
        assert contents(server, target) == before

    def test_live_leaf_in_conflict_with_a_tombstone_gives_no_access(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Written on a node that was disconnected during the revocation: revoking again stops the card."""
        place = places[0]
        database = at(server, target, place)
        document = get(database, place.id, revs="true")
        revoke(server, target, few, cards[1:2], "lost")
        digit = "e" * 32
        theirs = {
            **plain(document),
            "note": "theirs",
            "_rev": f"2-{digit}",
            "_revisions": {"start": 2, "ids": [digit, *document["_revisions"]["ids"]]},
        }
        assert database.write([json.dumps(theirs).encode()]) == []
        assert not is_revoked(server, target, place)
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}
        assert all(is_revoked(server, target, each) for each in places)
