"""Verifying what the servers would find for each card."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dataloader.batch import Manifest
from dataloader.common import ExitCode, ProtocolError, TooLargeError
from dataloader.couch import Server
from dataloader.couch.replies import MAX_REPLIES
from dataloader.operations import (
    CardVerdict,
    Outcome,
    Source,
    VerifyVerdict,
    all_sources,
    card_answers,
    generate,
    load,
    plan,
    restore,
    revoke,
    verify,
)
from dataloader.records import Snapsets
from dataloader.replication import Finding, State
from dataloader.target import Target
from tests.support.command import Command
from tests.support.loading import plant_load
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.proxy import Forward, Reply, Request, pass_on
from tests.support.records import FONT_SIZE, Place, access_of, flat, preferences_of, write_snapsets
from tests.support.revoking import at, change
from tests.support.server import CARDS, Proxied, databases, delete, get, put, sequences, snapshot

DESIGN = "_design/views"
LINKED = {"findPrefsSafeByGpiiKey"}
"""Views whose rows refer to another document."""

Verify = Callable[[], dict[str, CardVerdict]]


@pytest.fixture
def loaded(server: Server, target: Target, sources: list[Source]) -> None:
    """The batch is loaded and unchanged."""
    plant_load(server, target, sources)


@pytest.fixture
def keys(manifest: Manifest) -> list[str]:
    """The UUIDs of the batch's cards."""
    return [card.uuid for card in manifest.cards()]


@pytest.fixture
def verdicts(server: Server, target: Target, manifest: Manifest, snapsets: Snapsets) -> Verify:
    """Return a function that verifies the batch by ranges and returns the verdicts other than ok, by UUID."""

    def verdicts() -> dict[str, CardVerdict]:
        found: dict[str, CardVerdict] = {}
        result = verify(
            server, target, [manifest], snapsets, exactly=0, on_verdict=lambda _, each: found.update({each.uuid: each})
        )
        assert result.verdicts.total() == CARDS
        assert result.verdicts[VerifyVerdict.OK] == CARDS - len(found)
        assert result.good == (
            not {each.verdict for each in found.values()} & {VerifyVerdict.MISSING, VerifyVerdict.WRONG}
        )
        return found

    return verdicts


def remove(server: Server, target: Target, place: Place) -> None:
    """Delete a document, as an administrator would."""
    delete(at(server, target, place), place.id)


@pytest.mark.usefixtures("loaded")
class TestCards:
    """Verdicts on cards."""

    def test_loaded_batch_is_ok(self, server: Server, target: Target, manifest: Manifest, snapsets: Snapsets) -> None:
        """Every answer matches the batch; each query of the servers is made."""
        result = verify(server, target, [manifest], snapsets)
        assert {**result.verdicts} == {VerifyVerdict.OK: CARDS}
        assert result.answers == CARDS * {"gpii-token": 2, "gpii-key": 1}[target.model.name]
        assert result.good

    def test_verify_writes_nothing(self, server: Server, target: Target, verdicts: Verify) -> None:
        """Documents, revisions and update sequences are unchanged."""
        before = snapshot(server, target), sequences(server, target)
        assert verdicts() == {}
        assert (snapshot(server, target), sequences(server, target)) == before

    def test_sample_uses_the_servers_queries(
        self, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied, keys: list[str]
    ) -> None:
        """The sample is queried by ``key="…"`` with linked documents and its sets by ID; others by ranges, without."""
        through, proxy = proxied(pass_on)
        assert verify(through, target, [manifest], snapsets, exactly=5).verdicts[VerifyVerdict.OK] == CARDS
        singly: dict[str, set[str]] = {}
        ranges: set[str] = set()
        for request in proxy.requests:
            query = parse_qs(urlsplit(request.target).query)
            if "start_key" in query:
                ranges.add(request.endpoint)
                assert ("include_docs" in query) == (request.endpoint == "_all_docs")
            elif "key" in query and json.loads(query["key"][0]):
                singly.setdefault(request.endpoint, set()).add(json.loads(query["key"][0]))
                assert ("include_docs" in query) == (request.endpoint.rpartition("/")[2] in LINKED)
            elif request.endpoint in keys:
                singly.setdefault("ID", set()).add(request.endpoint)
        views = {f"{DESIGN}/_view/{each.view}" for each in target.model.lookups if each.view}
        assert ranges == views | {"_all_docs"}
        assert set(singly) == {f"{DESIGN}/_view/{each.view}" if each.view else "ID" for each in target.model.lookups}
        [sample] = {frozenset(each) for each in singly.values()}
        assert len(sample) == 5
        assert sample < set(keys)

    def test_set_changed_by_its_owner_is_edited(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """The card works, and is counted separately."""
        place = preferences_of(target.model.name, keys[7])
        document = get(at(server, target, place), place.id)
        flat(document)[FONT_SIZE] = 40
        put(at(server, target, place), document)
        assert verdicts() == {keys[7]: CardVerdict(keys[7], VerifyVerdict.EDITED, f"document {place.id} was edited")}

    @KEY_MODEL
    def test_deleted_key_is_revoked(self, server: Server, target: Target, keys: list[str], verdicts: Verify) -> None:
        """A card whose key was deleted does not work any more, on purpose."""
        place = access_of(target.model.name, keys[3])
        remove(server, target, place)
        assert verdicts() == {
            keys[3]: CardVerdict(keys[3], VerifyVerdict.REVOKED, f"document {place.id} has been deleted")
        }

    @TOKEN_MODEL
    def test_deleted_token_alone_is_wrong(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify, manifest: Manifest
    ) -> None:
        """The servers of 2017 give the set to anyone, with or without a token; revoking the card fixes it."""
        place = access_of(target.model.name, keys[3])
        remove(server, target, place)
        found = verdicts()[keys[3]]
        reason = f"document {place.id} has been deleted, and the servers still give the card its settings"
        assert found == CardVerdict(keys[3], VerifyVerdict.WRONG, reason, needs_revoking=True)
        [card] = [card for card in manifest.cards() if card.uuid == keys[3]]
        assert found.fix(manifest) == f'dataloader revoke {manifest.path} --uuid {keys[3]} --reason "revoked before"'
        revoke(server, target, manifest, [card], "revoked before")
        assert verdicts()[keys[3]].verdict is VerifyVerdict.REVOKED

    def test_deleted_set_is_revoked(self, server: Server, target: Target, keys: list[str], verdicts: Verify) -> None:
        """A card whose preference set was deleted gets nothing; that may be a mistake, so it is reported."""
        place = preferences_of(target.model.name, keys[3])
        remove(server, target, place)
        reason = f"document {place.id} has been deleted, and the card itself is not revoked"
        assert verdicts() == {keys[3]: CardVerdict(keys[3], VerifyVerdict.REVOKED, reason, is_odd=True)}

    @TOKEN_MODEL
    def test_card_with_all_documents_deleted_is_revoked(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """Token and preference set deleted together count as one revoked card."""
        for place in (
            Place("auth", f"gpiiToken-{keys[3]}"),
            Place("preferences", keys[3]),
        ):
            remove(server, target, place)
        assert {uuid: each.verdict for uuid, each in verdicts().items()} == {keys[3]: VerifyVerdict.REVOKED}

    @KEY_MODEL
    @pytest.mark.parametrize("reason", ["lost", None])
    def test_key_only_marked_as_revoked_is_wrong(
        self,
        server: Server,
        target: Target,
        keys: list[str],
        verdicts: Verify,
        manifest: Manifest,
        reason: str | None,
    ) -> None:
        """No server reads ``revoked``, which is all that an earlier version set; revoking again fixes it."""
        change(server, target, Place("gpii", keys[3]), revoked=True, revokedReason=reason)
        marked = f"document {keys[3]} is marked as revoked"
        said = f"{marked}, and the servers still give the card its settings"
        assert verdicts() == {keys[3]: CardVerdict(keys[3], VerifyVerdict.WRONG, said, needs_revoking=True)}
        [card] = [card for card in manifest.cards() if card.uuid == keys[3]]
        revoke(server, target, manifest, [card], "revoked before")
        assert verdicts() == {keys[3]: CardVerdict(keys[3], VerifyVerdict.REVOKED, marked)}
        assert get(databases(server, target)["gpii"], keys[3])["revokedReason"] == reason or "revoked before"

    @KEY_MODEL
    def test_revoked_key_with_a_recreated_safe_is_wrong(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify, manifest: Manifest
    ) -> None:
        """Revoked cards are checked with the servers' queries: only cards that get nothing count as revoked."""
        [card] = [card for card in manifest.cards() if card.uuid == keys[3]]
        revoke(server, target, manifest, [card], "lost")
        safe = get(databases(server, target)["gpii"], f"prefsSafe-{keys[3]}")
        del safe["_rev"]
        put(databases(server, target)["gpii"], {**safe, "_id": f"revoked-prefsSafe-{keys[3]}"})
        assert verdicts()[keys[3]].verdict is VerifyVerdict.WRONG

    def test_revoked_card_next_to_a_wrong_one(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """Each card has its own verdict."""
        remove(server, target, preferences_of(target.model.name, keys[0]))
        change(server, target, preferences_of(target.model.name, keys[1]), extra=1)
        assert {uuid: each.verdict for uuid, each in verdicts().items()} == {
            keys[0]: VerifyVerdict.REVOKED,
            keys[1]: VerifyVerdict.WRONG,
        }

    def test_set_of_an_invalid_form_is_wrong(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """A preference set that the Preferences Server can't read is reported with the broken rule."""
        place = preferences_of(target.model.name, keys[7])
        member = "value" if target.model.name == "gpii-token" else "preferences"
        invalid: dict[str, Any] = {member: {"flat": {"contexts": {}}}}
        change(server, target, place, **invalid)
        found = verdicts()
        assert {uuid: each.verdict for uuid, each in found.items()} == {keys[7]: VerifyVerdict.WRONG}
        assert f"document {place.id}: {member}.flat.contexts: 'gpii-default' is missing" in (found[keys[7]].reason)

    def test_token_or_key_of_an_invalid_form_is_wrong(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """An unknown member is reported with the broken rule."""
        change(server, target, access_of(target.model.name, keys[7]), colour="red")
        found = verdicts()
        assert {uuid: each.verdict for uuid, each in found.items()} == {keys[7]: VerifyVerdict.WRONG}
        assert "unknown member 'colour'" in found[keys[7]].reason

    def test_token_or_key_of_another_type_is_wrong(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """A document that its view does not find gives no access."""
        place = access_of(target.model.name, keys[7])
        change(server, target, place, type="other")
        found = verdicts()
        assert {uuid: each.verdict for uuid, each in found.items()} == {keys[7]: VerifyVerdict.WRONG}
        assert f"does not find document {place.id}, which exists" in found[keys[7]].reason

    @TOKEN_MODEL
    def test_second_token_is_wrong(self, server: Server, target: Target, keys: list[str], verdicts: Verify) -> None:
        """Two answers are useless for servers that expect one."""
        second = {"_id": "gpiiToken-second", "type": "gpiiToken", "gpiiToken": keys[7], "userId": None}
        put(databases(server, target)["auth"], second)
        assert verdicts() == {
            keys[7]: CardVerdict(keys[7], VerifyVerdict.WRONG, "view findGpiiToken has 2 answers, not one")
        }

    @TOKEN_MODEL
    def test_token_with_another_key_is_wrong(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """A token that matches another key gives its own card no access."""
        change(server, target, Place("auth", f"gpiiToken-{keys[7]}"), gpiiToken="another")
        assert {uuid: each.verdict for uuid, each in verdicts().items()} == {keys[7]: VerifyVerdict.WRONG}

    @KEY_MODEL
    @pytest.mark.parametrize("safe", ["prefsSafe-nobodys", "prefsSafe-snapset_1a"])
    def test_key_with_another_safe_is_wrong(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify, safe: str
    ) -> None:
        """A key must refer to its own card's safe, not to another's or a missing one."""
        change(server, target, Place("gpii", keys[7]), prefsSafeId=safe)
        assert {uuid: each.verdict for uuid, each in verdicts().items()} == {keys[7]: VerifyVerdict.WRONG}

    @KEY_MODEL
    def test_key_without_a_safe_is_wrong(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """A key without the ID of its safe gives nothing."""
        change(server, target, Place("gpii", keys[7]), prefsSafeId=None)
        assert {uuid: each.verdict for uuid, each in verdicts().items()} == {keys[7]: VerifyVerdict.WRONG}

    @pytest.mark.parametrize(("shown", "verdict"), [("f", VerifyVerdict.EDITED), ("0", VerifyVerdict.WRONG)])
    def test_conflict_that_a_load_repairs_is_reported(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify, shown: str, verdict: VerifyVerdict
    ) -> None:
        """An edit in conflict with a load's revision: the card works if the edit wins, otherwise the edit is hidden."""
        place = preferences_of(target.model.name, keys[7])
        document = get(at(server, target, place), place.id)
        flat(document)[FONT_SIZE] = 40
        other = {**document, "_rev": f"1-{shown * 32}"}
        assert at(server, target, place).write([json.dumps(other).encode()]) == []
        found = verdicts()
        assert set(found) == {keys[7]}
        assert found[keys[7]].verdict is verdict
        assert found[keys[7]].needs_loading
        assert found[keys[7]].is_odd or verdict is VerifyVerdict.WRONG

    def test_deletion_in_conflict_with_a_load_is_reported(
        self, server: Server, target: Target, keys: list[str], verdicts: Verify
    ) -> None:
        """Deleted on a disconnected node, the document is still served; a load deletes it."""
        place = preferences_of(target.model.name, keys[7])
        digits = "e" * 32
        theirs = {"_id": place.id, "_rev": f"2-{digits}", "_deleted": True}
        theirs["_revisions"] = {"start": 2, "ids": [digits, "d" * 32]}
        assert at(server, target, place).write([json.dumps(theirs).encode()]) == []
        found = verdicts()[keys[7]]
        assert (found.verdict, found.needs_loading) == (VerifyVerdict.WRONG, True)

    def test_verify_reports_exactly_what_a_load_repairs(
        self, server: Server, target: Target, sources: list[Source], keys: list[str], verdicts: Verify
    ) -> None:
        """Verify classifies leaves by the rules of a load, which finds nothing to do afterwards."""
        deleted, ours = {"_deleted": True}, {"_deleted": True, "dataloader": "superseded"}
        # In conflict with the loaded set: a user's set with this font size (0: the same set), or a deletion.
        cases: list[list[int | dict[str, Any]]] = [[40], [40, 41], [deleted], [0], [ours], [40, ours], [deleted, ours]]
        places = [preferences_of(target.model.name, key) for key in keys[: len(cases) + 1]]
        for place, leaves in zip(places, cases, strict=False):
            body = []
            for leaf, digit in zip(leaves, "f0", strict=False):
                document = leaf if isinstance(leaf, dict) else get(at(server, target, place), place.id)
                if isinstance(leaf, int) and leaf:
                    flat(document)[FONT_SIZE] = leaf
                body.append(json.dumps({**document, "_id": place.id, "_rev": f"1-{digit * 32}"}).encode())
            assert at(server, target, place).write(body) == []
        last = at(server, target, places[-1])
        assert last.edit([{"_id": places[-1].id, "_rev": get(last, places[-1].id)["_rev"], **ours}]) == []

        leftover: set[str] = set()

        def note(_: Source, finding: Finding, state: State | Outcome) -> None:
            if state is State.LEFTOVER:
                leftover.add(finding.document.id[-36:])

        plan(server, target, sources, on_finding=note)
        found = verdicts()
        assert {uuid for uuid, each in found.items() if each.needs_loading} == leftover
        assert [keys.index(uuid) for uuid in sorted(leftover)] == [0, 1, 2, 3, 5, 6, 7]
        assert load(server, target, sources).repaired == len(leftover)
        assert not any(each.needs_loading for each in verdicts().values())

    @pytest.mark.parametrize("members", [{}, {"note": "theirs"}])
    def test_live_leaf_in_conflict_with_a_revocation_is_wrong(
        self,
        server: Server,
        target: Target,
        manifest: Manifest,
        keys: list[str],
        verdicts: Verify,
        members: dict[str, str],
    ) -> None:
        """Written on a node that was disconnected during the revocation; revoking again fixes it."""
        card = next(each for each in manifest.cards() if each.uuid == keys[7])
        places = [preferences_of(target.model.name, keys[7]), access_of(target.model.name, keys[7])]
        before = [get(at(server, target, place), place.id, revs="true") for place in places]
        revoke(server, target, manifest, [card], "lost")
        digits = "f" * 32
        for place, document in zip(places, before, strict=True):
            theirs = {**document, **members, "_rev": f"2-{digits}"}
            theirs["_revisions"] = {"start": 2, "ids": [digits, *document["_revisions"]["ids"]]}
            assert at(server, target, place).write([json.dumps(theirs).encode()]) == []
        found = verdicts()
        assert set(found) == {keys[7]}
        assert (found[keys[7]].verdict, found[keys[7]].needs_revoking) == (VerifyVerdict.WRONG, True)
        assert found[keys[7]].fix(manifest).startswith(f"dataloader revoke {manifest.path} --uuid {keys[7]} --reason")
        revoke(server, target, manifest, [card], "revoked before")
        assert {uuid: each.verdict for uuid, each in verdicts().items()} == {keys[7]: VerifyVerdict.REVOKED}
        if not members:
            restore(server, target, manifest, [card])
            assert verdicts() == {}


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("way", ["ranges", "keys", "exactly"])
def test_every_query_method_gives_the_same_verdicts(
    server: Server,
    target: Target,
    manifest: Manifest,
    snapsets: Snapsets,
    keys: list[str],
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cards of all kinds in one batch have the same verdicts by ranges, by keys if ranges are too large, and singly."""
    model = target.model.name
    access, preferences = access_of(model, "").database, preferences_of(model, "").database
    others = generate("others", {"empty": 20}, manifest.path.parent).manifest
    load(server, target, all_sources(target, [others], snapsets))
    for key in keys[:2]:
        remove(server, target, preferences_of(model, key))
    remove(server, target, preferences_of(model, keys[2]))
    for key in keys[3:5]:
        place = preferences_of(model, key)
        document = get(at(server, target, place), place.id)
        flat(document)[FONT_SIZE] = 40
        put(at(server, target, place), document)
    change(server, target, preferences_of(model, keys[5]), extra=1)
    change(server, target, access_of(model, keys[6]), type="other")
    change(server, target, access_of(model, keys[7]), colour="red")
    place = preferences_of(model, keys[8])
    document = {**get(at(server, target, place), place.id), "_rev": f"1-{'f' * 32}"}
    flat(document)[FONT_SIZE] = 40
    assert at(server, target, place).write([json.dumps(document).encode()]) == []
    # IDs that sort between the cards' and are not cards.
    for database in {access, preferences}:
        put(databases(server, target)[database], {"_id": f"{keys[9]}-", "type": "gpiiKey"})
    if way == "keys":
        monkeypatch.setattr(card_answers, "FEW", 0)
        monkeypatch.setattr(card_answers, "SPARSE", 0)
    found: dict[str, CardVerdict] = {}
    verify(
        server,
        target,
        [manifest],
        snapsets,
        exactly=CARDS if way == "exactly" else 0,
        on_verdict=lambda _, each: found.update({each.uuid: each}),
    )
    revoked, edited, wrong = VerifyVerdict.REVOKED, VerifyVerdict.EDITED, VerifyVerdict.WRONG
    assert [found.pop(key).verdict for key in keys[:9]] == [
        *(revoked, revoked, revoked, edited, edited, wrong, wrong, wrong, edited)
    ]
    assert not found


class TestWhatIsMissing:
    """Batches, databases and views that have not been loaded."""

    def test_cards_that_were_never_loaded_are_missing(
        self, server: Server, target: Target, snapsets: Snapsets, verdicts: Verify, keys: list[str]
    ) -> None:
        """A target with its views but no cards of the batch: every card is missing."""
        load(server, target, all_sources(target, [], snapsets))
        found = verdicts()
        assert set(found) == set(keys)
        assert {each.verdict for each in found.values()} == {VerifyVerdict.MISSING}

    def test_incomplete_card_is_missing(
        self, server: Server, target: Target, manifest: Manifest, snapsets: Snapsets, verdicts: Verify, keys: list[str]
    ) -> None:
        """After a load that stopped before its last kind of document, no card works yet."""
        last = target.model.kinds[-1].name
        sources = all_sources(target, [manifest], snapsets)
        load(server, target, [source for source in sources if source.kind != last])
        found = verdicts()
        assert {uuid: each.reason for uuid, each in found.items()} == {
            uuid: f"document {access_of(target.model.name, uuid).id} does not exist" for uuid in keys
        }
        assert {each.verdict for each in found.values()} == {VerifyVerdict.MISSING}

    @pytest.mark.parametrize("there", [0, 1])
    def test_missing_database_is_an_error(
        self, server: Server, target: Target, manifest: Manifest, snapsets: Snapsets, there: int
    ) -> None:
        """A target without its databases is one error, not one for each card."""
        for name in list(databases(server, target))[:there]:
            server.database(target.database(name)).create()
        with pytest.raises(ProtocolError, match=r"database test-.*: (has no view find.*|does not exist) \(load the"):
            verify(server, target, [manifest], snapsets)

    @TOKEN_MODEL
    def test_missing_preferences_database_is_an_error(
        self, server: Server, target: Target, manifest: Manifest, snapsets: Snapsets, sources: list[Source]
    ) -> None:
        """Even if the views exist."""
        load(server, target, sources)
        name = target.database("preferences")
        server.database(name).delete()
        with pytest.raises(ProtocolError, match=rf"database {name}: does not exist \(load the target first, or"):
            verify(server, target, [manifest], snapsets)

    @KEY_MODEL
    def test_missing_views_are_an_error(
        self, server: Server, target: Target, manifest: Manifest, sources: list[Source], run: Command
    ) -> None:
        """Without its views, a server finds no cards: exit code 7, as everywhere, and the message says to load."""
        load(server, target, sources[:-1])
        done = run("verify", manifest.path)
        assert done.code == ExitCode.PROTOCOL
        database = target.database(target.model.databases[-1])
        _, view = target.model.access_views[0]
        todo = "load the target, with --replace-views if somebody has changed its views; or correct the model or the "
        assert done.stderr == f"error: database {database}: has no view {view} ({todo}prefix)\n"

    @pytest.mark.usefixtures("loaded")
    @pytest.mark.parametrize(
        "source",
        [
            pytest.param("if (doc.type === 'other') { emit(doc._id, doc); }", id="no card"),
            pytest.param("emit(doc.gpiiToken || doc._id, null);", id="other values"),
        ],
    )
    def test_view_of_somebody_else_is_wrong_for_every_card(
        self, server: Server, target: Target, verdicts: Verify, keys: list[str], source: str
    ) -> None:
        """It finds no card, or returns values that are useless for the servers; each card is reported."""
        database = databases(server, target)[target.model.databases[-1]]
        document = get(database, DESIGN)
        for view in document["views"].values():
            view["map"] = f"function (doc) {{ {source} }}"
        put(database, document)
        found = verdicts()
        assert set(found) == set(keys)
        assert {each.verdict for each in found.values()} == {VerifyVerdict.WRONG}


@pytest.mark.usefixtures("loaded")
class TestAsking:
    """Which cards are checked, and the command's output."""

    @pytest.mark.parametrize(("sample", "cards"), [(1, 1), (7, 7), (CARDS, CARDS), (CARDS + 5, CARDS)])
    def test_sample_size(
        self, server: Server, target: Target, manifest: Manifest, snapsets: Snapsets, sample: int, cards: int
    ) -> None:
        """As many cards of the batch as requested, and no more than it has."""
        result = verify(server, target, [manifest], snapsets, sample=sample)
        assert {**result.verdicts} == {VerifyVerdict.OK: cards}

    @KEY_MODEL
    def test_sample_is_drawn_again_from_each_batch(
        self,
        server: Server,
        target: Target,
        manifest: Manifest,
        snapsets: Snapsets,
        keys: list[str],
        tmp_path: Path,
        proxied: Proxied,
    ) -> None:
        """Each run draws other cards from every batch, none twice."""
        other = generate("other", {"empty": 30}, tmp_path / "other").manifest
        load(server, target, all_sources(target, [other], snapsets))
        through, proxy = proxied(pass_on)
        for _ in range(8):
            result = verify(through, target, [manifest, other], snapsets, sample=5)
            assert {**result.verdicts} == {VerifyVerdict.OK: 10}
        queries = [parse_qs(urlsplit(request.target).query) for request in proxy.requests]
        asked = [json.loads(query["key"][0]) for query in queries if "key" in query]
        # The views that let cards in are asked for no card.
        asked = [key for key in asked if key]
        assert len(asked) == 8 * 10
        assert all(len(set(asked[at : at + 5])) == 5 for at in range(0, len(asked), 5))
        assert sum(uuid in keys for uuid in asked) == 8 * 5
        assert len(set(asked) & set(keys)) > 5

    def test_verify_command_without_problems(self, manifest: Manifest, run: Command) -> None:
        """Exit code 0 and the counts."""
        done = run("verify", manifest.path, "--json")
        assert (done.code, done.stderr) == (0, "")
        assert done.data["verdicts"] == {
            **dict.fromkeys((verdict.value for verdict in VerifyVerdict), 0),
            "ok": CARDS,
        }
        assert done.data["cards"] == CARDS

    @TOKEN_MODEL
    def test_verify_command_names_cards_that_do_not_work(
        self, server: Server, target: Target, manifest: Manifest, keys: list[str], run: Command
    ) -> None:
        """Exit code 10, the counts, and a line for each such card; revoked and edited cards are fine."""
        change(server, target, preferences_of(target.model.name, keys[0]), extra=1)
        remove(server, target, access_of(target.model.name, keys[1]))
        remove(server, target, preferences_of(target.model.name, keys[1]))
        place = preferences_of(target.model.name, keys[2])
        document = get(at(server, target, place), place.id)
        flat(document)[FONT_SIZE] = 40
        put(at(server, target, place), document)

        done = run("verify", manifest.path)

        assert done.code == 10
        assert f"checked {CARDS} cards in " in done.stdout
        assert f" s: {CARDS - 3} ok, 1 edited, 1 revoked, 1 wrong\n" in done.stdout
        first, last = done.stderr.splitlines()
        assert first.startswith(f"warning: batch spring, card 1 ({keys[0][:8]}…): wrong: ")
        assert (
            last
            == "error: 1 card would not work (run the commands named for the wrong ones, or inspect their documents)"
        )

    @KEY_MODEL
    def test_revoked_card_is_no_failure(
        self, server: Server, target: Target, manifest: Manifest, keys: list[str], run: Command
    ) -> None:
        """Exit code 0: it was revoked on purpose."""
        remove(server, target, access_of(target.model.name, keys[1]))
        done = run("verify", manifest.path, "--json")
        assert (done.code, done.stderr) == (0, "")
        assert (done.data["verdicts"]["ok"], done.data["verdicts"]["revoked"]) == (CARDS - 1, 1)


def test_large_sets_of_a_few_owners_stop_nothing(
    server: Server, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a range of documents is larger than we read at once, they are read in smaller requests."""
    snapsets = write_snapsets(tmp_path / "snapsets", {"large": 18})
    manifest = generate("few", {"large": 40}, tmp_path).manifest
    sources = all_sources(target, [manifest], snapsets)
    load(server, target, sources)
    for card in [*manifest.cards()][:8]:
        place = preferences_of(target.model.name, card.uuid)
        document = get(databases(server, target)[place.database], place.id)
        flat(document)["http://registry.gpii.net/common/autostart"] = "x" * 9_000
        put(databases(server, target)[place.database], document)
    for kind in ("_all_docs", "_bulk_get"):
        monkeypatch.setitem(MAX_REPLIES, kind, 20_000)
    verdicts = verify(server, target, [manifest], snapsets, exactly=0).verdicts
    assert (verdicts[VerifyVerdict.OK], verdicts[VerifyVerdict.EDITED]) == (32, 8)
    assert plan(server, target, sources).count(State.EDITED) == 8
    # What a single document is too large for is named.
    monkeypatch.setitem(MAX_REPLIES, "_bulk_get", 5_000)
    with pytest.raises(TooLargeError, match=r"document .*its revisions in conflict are larger than"):
        verify(server, target, [manifest], snapsets, exactly=0)


@pytest.mark.parametrize("doc_id", [[], {}, 5, None])
def test_document_without_a_proper_id_is_no_document(
    server: Server, target: Target, given: tuple[Path, Path], run_here: Command, proxied: Proxied, doc_id: object
) -> None:
    """Whatever a row of a view contains, a card with it does not work."""
    manifest, folder = given
    assert run_here("load", manifest, "--snapsets", folder).code == ExitCode.OK

    def damage(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if "/_view/" not in request.path:
            return reply
        of_card = re.compile(rb'"_id":"(?:gpiiToken-)?[0-9a-f]{8}-[^"]+","_rev"')
        return replace(reply, body=of_card.sub(b'"_id":%s,"_rev"' % json.dumps(doc_id).encode(), reply.body))

    _, proxy = proxied(damage)
    done = run_here("verify", manifest, "--snapsets", folder, url=proxy.url)
    assert done.code == ExitCode.VERIFY, done.stderr
