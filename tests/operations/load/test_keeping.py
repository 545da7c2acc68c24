"""Documents that a load keeps: edited, deleted, foreign, in conflict."""

import json
from pathlib import Path

import pytest

from dataloader.batch import Manifest
from dataloader.common import shorten_uuids
from dataloader.couch import Server
from dataloader.operations import Outcome, Source
from dataloader.records import Snapsets
from dataloader.replication import Finding, State
from dataloader.target import Target
from tests.support.command import Command
from tests.support.loading import CHANGED, Bring, card, change, found_at, outcomes
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.records import (
    FONT_SIZE,
    Place,
    access_of,
    digest,
    documents,
    expected,
    flat,
    preferences_of,
)
from tests.support.server import databases, delete, get, put, sequences, snapshot


class TestWhatPeopleDid:
    """What a person has changed or deleted is theirs."""

    @pytest.mark.parametrize("options", [{}, {"update": True}, {"update": True, "replace_views": True}])
    def test_an_edited_preference_set_is_kept(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest, options: dict[str, bool]
    ) -> None:
        """A set that its owner has changed through the Preferences Server stays as it is, and is counted."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        change(server, target, place, 30)
        before = snapshot(server, target)

        result = bring(sizes, **options)

        assert snapshot(server, target) == before
        assert flat(found_at(server, target, place))[FONT_SIZE] == 30
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}
        assert result.needs_attention == 0

    @pytest.mark.parametrize("update", [False, True])
    def test_an_edited_preference_set_is_kept_when_its_snapset_changes(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        *,
        update: bool,
    ) -> None:
        """A new version of a snapset is for those who still have the old one; not for who has made a set their own."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        change(server, target, place, 30)
        before = found_at(server, target, place)

        result = bring(changed, update=update)

        assert found_at(server, target, place) == before
        rest = {"updated" if update else "outdated": CHANGED - 1, "edited": 1}
        assert outcomes(result) == {**rest, "unchanged": result.documents - CHANGED}

    @KEY_MODEL
    def test_an_edited_set_is_no_failure(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """The command ends with 0 and no warning: people are meant to change their sets."""
        bring_all(sizes)
        change(server, target, preferences_of(target.model.name, card(few, "large")), 30)
        done = run("load", few.path, "--snapsets", sizes.folder, "--json")
        assert (done.code, done.stderr) == (0, "")
        assert (done.data["edited"], done.data["created"]) == (1, 0)

    @pytest.mark.parametrize("options", [{}, {"update": True}, {"update": True, "replace_views": True}])
    def test_a_revoked_card_does_not_come_back(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest, options: dict[str, bool]
    ) -> None:
        """A token or key that somebody has deleted stays deleted."""
        bring(sizes)
        place = access_of(target.model.name, card(few, "large"))
        delete(databases(server, target)[place.database], place.id)
        before = snapshot(server, target), sequences(server, target)

        result = bring(sizes, **options)

        assert (snapshot(server, target), sequences(server, target)) == before
        assert place.id not in before[0][place.database]
        assert outcomes(result) == {"deleted": 1, "unchanged": result.documents - 1}
        assert result.needs_attention == 0

    @pytest.mark.parametrize("update", [False, True])
    def test_a_deleted_set_stays_deleted_when_its_snapset_changes(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        *,
        update: bool,
    ) -> None:
        """Other content is no reason to bring back what somebody has deleted."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        delete(databases(server, target)[place.database], place.id)
        result = bring(changed, update=update)
        assert place.id not in snapshot(server, target)[place.database]
        assert result.count(Outcome.DELETED) == 1

    def test_a_set_made_anew_is_kept(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """What a person puts where a deleted document was is theirs."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        database = databases(server, target)[place.database]
        document = get(database, place.id)
        delete(database, place.id)
        del document["_rev"]
        flat(document)[FONT_SIZE] = 9
        put(database, document)
        before = get(database, place.id)
        result = bring(sizes, update=True)
        assert get(database, place.id) == before
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}

    def test_what_the_servers_write_at_run_time_is_left_alone(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets
    ) -> None:
        """Grants, codes, access tokens and local documents are the same before and after, to the revision."""
        bring(sizes)
        types = {
            "gpii-token": (
                "onboardedSolutionAuthorization",
                "webPrefsConsumerAuthorization",
                "privilegedPrefsCreatorAuthorization",
                "gpiiAppInstallationAuthorization",
                "authCode",
            ),
            "gpii-key": ("gpiiAppInstallationAuthorization", "gpiiAppInstallationClient", "clientCredential"),
        }[target.model.name]
        name = target.model.databases[-1]
        database = databases(server, target)[name]
        ids = [f"at-run-time-{number}" for number in range(len(types))]
        for doc_id, kind in zip(ids, types, strict=True):
            put(database, {"_id": doc_id, "type": kind, "accessToken": f"secret-{doc_id}", "revoked": False})
        put(database, {"_id": "_local/checkpoint", "seq": 17})
        before = [get(database, doc_id) for doc_id in (*ids, "_local/checkpoint")]

        result = bring(changed, update=True, replace_views=True)

        assert result.count(Outcome.UPDATED) == CHANGED
        assert [get(database, doc_id) for doc_id in (*ids, "_local/checkpoint")] == before


class TestWhatOthersWrote:
    """Documents under our IDs that are not ours, and versions side by side."""

    @pytest.mark.parametrize("changes", [0, 2], ids=["generation 1", "generation 3"])
    @pytest.mark.parametrize("options", [{}, {"update": True, "replace_views": True}])
    def test_a_foreign_document_is_reported_and_left(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        few: Manifest,
        changes: int,
        options: dict[str, bool],
    ) -> None:
        """Somebody else's document under a card's ID is not written over, nor hidden behind a conflict."""
        place = access_of(target.model.name, card(few, "large"))
        database = databases(server, target)[place.database]
        database.create()
        rev = put(database, {"_id": place.id, "type": "note", "text": "0"})
        for number in range(changes):
            rev = put(database, {"_id": place.id, "type": "note", "text": str(number + 1), "_rev": rev})
        noted: list[tuple[str, str, State]] = []

        def on_finding(source: Source, finding: Finding, what: State | Outcome) -> None:
            assert what is Outcome.FOREIGN
            noted.append((source.database, finding.document.id, finding.state))

        result = bring(sizes, on_finding=on_finding, **options)

        document = get(database, place.id, conflicts="true")
        assert document == {"_id": place.id, "_rev": rev, "type": "note", "text": str(changes)}
        assert outcomes(result) == {"foreign": 1, "created": result.documents - 1}
        assert noted == [(place.database, place.id, State.FOREIGN)]
        assert result.needs_attention == 1

    @TOKEN_MODEL
    def test_a_foreign_document_is_told_on_the_command_line(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        run: Command,
        tmp_path: Path,
    ) -> None:
        """The exit code is 9, a line names the document and what to do, and the file of details holds it."""
        place = access_of(target.model.name, card(few, "large"))
        database = databases(server, target)[place.database]
        database.create()
        rev = put(database, {"_id": place.id, "type": "note"})
        details = tmp_path / "details.jsonl"
        arguments = ("load", few.path, "--snapsets", sizes.folder)
        done = run(*arguments, "--details", details, "--json")
        assert done.code == 9
        assert (
            f"{target.database(place.database)}, document {shorten_uuids(place.id)}: foreign (not written by this tool"
            in done.stderr
        )
        assert "error: 1 document needs a decision\n" in done.stderr
        assert (done.data["foreign"], done.data["created"]) == (1, done.data["documents"] - 1)
        [line] = map(json.loads, details.read_text("utf-8").splitlines())
        wanted = documents(target.model.name, card(few, "large"), {}, few.header.created, card=True)
        assert line == {
            "database": target.database(place.database),
            "kind": "gpiiToken" if target.model.name == "gpii-token" else "gpiiKey",
            "_id": place.id,
            "state": "foreign",
            "revision": f"1-{digest(wanted[place.database][place.id])}",
            "leaves": [rev],
        }
        assert (get(database, place.id)["_rev"], get(database, place.id)["type"]) == (rev, "note")

        again = run(*arguments)
        assert again.code == 9
        assert "--details FILE lists all" in again.stderr

    def test_the_same_content_put_by_somebody_else_is_unchanged(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """A document that came by another way and says the same needs nothing."""
        wanted = expected(target.model.name, [few.path], sizes.folder)
        for name, database in databases(server, target).items():
            database.create()
            for document in wanted[name].values():
                put(database, document)
        before = snapshot(server, target)
        result = bring(sizes)
        assert snapshot(server, target) == before
        assert outcomes(result) == {"unchanged": result.documents}

    @pytest.mark.parametrize("update", [False, True])
    def test_a_conflict_is_reported_and_left(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        *,
        update: bool,
    ) -> None:
        """Where replication has brought two versions, a person chooses: both are there afterwards."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        first, second = _conflict(server, target, place)
        before = databases(server, target)[place.database].leaves([place.id])

        result = bring(changed, update=update)

        assert databases(server, target)[place.database].leaves([place.id]) == before
        assert {leaf["_rev"] for leaf in before[place.id]} == {first, second}
        assert (result.count(Outcome.CONFLICT), result.needs_attention) == (1, 1 if update else CHANGED)

    def test_a_conflict_that_was_resolved_is_none(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """After a person has deleted one of two versions, the other is an edit like any."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        first, second = _conflict(server, target, place)
        assert bring(sizes).count(Outcome.CONFLICT) == 1
        databases(server, target)[place.database]._resource.delete(place.id, rev=second)
        result = bring(sizes, update=True)
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}
        assert found_at(server, target, place)["_rev"] == first


def _conflict(server: Server, target: Target, place: Place) -> tuple[str, str]:
    """Put two edits side by side, as replication between two servers does; return their revisions."""
    database = databases(server, target)[place.database]
    document = get(database, place.id)
    ours = document["_rev"].partition("-")[2]
    revisions = []
    for number in (1, 2):
        flat(document)[FONT_SIZE] = 30 + number
        digits = str(number) * 32
        history = {"start": 2, "ids": [digits, ours]}
        revisions.append(f"2-{digits}")
        body = {**document, "_rev": revisions[-1], "_revisions": history}
        assert database.write([json.dumps(body).encode()]) == []
    return revisions[0], revisions[1]
