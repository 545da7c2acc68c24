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
    """Documents that users have changed or deleted."""

    @pytest.mark.parametrize("options", [{}, {"update": True}, {"update": True, "replace_views": True}])
    def test_edited_set_is_kept(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest, options: dict[str, bool]
    ) -> None:
        """A set edited through the Preferences Server is kept and counted."""
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
    def test_edited_set_is_kept_when_its_snapset_changes(
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
        """A new version of a snapset is for owners who still have the old one, not for edited sets."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        change(server, target, place, 30)
        before = found_at(server, target, place)

        result = bring(changed, update=update)

        assert found_at(server, target, place) == before
        rest = {"updated" if update else "outdated": CHANGED - 1, "edited": 1}
        assert outcomes(result) == {**rest, "unchanged": result.documents - CHANGED}

    @KEY_MODEL
    def test_edited_set_is_no_failure(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """The command ends with 0 and no warning: users are meant to change their sets."""
        bring_all(sizes)
        change(server, target, preferences_of(target.model.name, card(few, "large")), 30)
        done = run("load", few.path, "--snapsets", sizes.folder, "--json")
        assert (done.code, done.stderr) == (0, "")
        assert (done.data["edited"], done.data["created"]) == (1, 0)

    @pytest.mark.parametrize("options", [{}, {"update": True}, {"update": True, "replace_views": True}])
    def test_revoked_card_is_not_restored(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest, options: dict[str, bool]
    ) -> None:
        """A deleted token or key stays deleted."""
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
    def test_deleted_set_stays_deleted_when_its_snapset_changes(
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
        """New content is no reason to restore a deleted set."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        delete(databases(server, target)[place.database], place.id)
        result = bring(changed, update=update)
        assert place.id not in snapshot(server, target)[place.database]
        assert result.count(Outcome.DELETED) == 1

    def test_recreated_set_is_kept(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """A document written by a user in place of a deleted one is kept."""
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

    def test_run_time_documents_of_the_servers_are_not_changed(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets
    ) -> None:
        """Grants, codes, access tokens and local documents have the same revisions as before."""
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
    """Foreign documents under our IDs, and conflicts."""

    @pytest.mark.parametrize("changes", [0, 2], ids=["generation 1", "generation 3"])
    @pytest.mark.parametrize("options", [{}, {"update": True, "replace_views": True}])
    def test_foreign_document_is_reported_and_kept(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        few: Manifest,
        changes: int,
        options: dict[str, bool],
    ) -> None:
        """A foreign document under a card's ID is neither overwritten nor hidden by a conflict."""
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
    def test_load_command_reports_a_foreign_document(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        run: Command,
        tmp_path: Path,
    ) -> None:
        """The exit code is 9, a line names the document and what to do, and the details contain it."""
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

    def test_same_content_by_another_writer_is_unchanged(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """A document with equal content needs no write, wherever it comes from."""
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
    def test_conflict_is_reported_and_kept(
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
        """After replication of two versions, a person has to decide: both still exist."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        first, second = _conflict(server, target, place)
        before = databases(server, target)[place.database].leaves([place.id])

        result = bring(changed, update=update)

        assert databases(server, target)[place.database].leaves([place.id]) == before
        assert {leaf["_rev"] for leaf in before[place.id]} == {first, second}
        assert (result.count(Outcome.CONFLICT), result.needs_attention) == (1, 1 if update else CHANGED)

    def test_resolved_conflict_is_an_edit(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """After one of two versions has been deleted, the other counts as an edit."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        first, second = _conflict(server, target, place)
        assert bring(sizes).count(Outcome.CONFLICT) == 1
        databases(server, target)[place.database]._resource.delete(place.id, rev=second)
        result = bring(sizes, update=True)
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}
        assert found_at(server, target, place)["_rev"] == first


def _conflict(server: Server, target: Target, place: Place) -> tuple[str, str]:
    """Create two conflicting edits, as replication between two servers does; return their revisions."""
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
