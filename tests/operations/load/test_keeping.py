"""Documents that a load keeps: edited, deleted, foreign, in conflict."""

import json
from pathlib import Path
from typing import Any

import pytest

from dataloader.common import shorten_uuids
from dataloader.operations import Outcome, Source
from dataloader.replication import Finding, State
from tests.support.command import Command
from tests.support.loading import CHANGED, Scene, outcomes
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.records import FONT_SIZE, digest, documents, flat
from tests.support.server import get, put

REPLACE = {"update": True, "replace_views": True}
EACH_WAY = pytest.mark.parametrize(
    "options", [{}, {"update": True}, REPLACE], ids=["load", "update", "update and views"]
)
EACH_UPDATE = pytest.mark.parametrize("update", [False, True])


class TestWhatPeopleDid:
    """Documents that users have changed or deleted."""

    @EACH_WAY
    def test_edited_set_is_kept(self, scene: Scene, options: dict[str, Any]) -> None:
        """A set edited through the Preferences Server is kept and counted."""
        scene.load(0)
        scene.change(30)
        before = scene.snapshot()

        result = scene.load(0, **options)

        assert scene.snapshot() == before
        assert scene.size() == 30
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}
        assert result.needs_attention == 0

    @EACH_UPDATE
    def test_edited_set_is_kept_when_its_snapset_changes(self, scene: Scene, *, update: bool) -> None:
        """A new version of a snapset is for owners who still have the old one, not for edited sets."""
        scene.load(0)
        scene.change(30)
        before = scene.stored()

        result = scene.load(1, update=update)

        assert scene.stored() == before
        rest = {"updated" if update else "outdated": CHANGED - 1, "edited": 1}
        assert outcomes(result) == {**rest, "unchanged": result.documents - CHANGED}

    @KEY_MODEL
    def test_edited_set_is_no_failure(self, scene: Scene, run: Command) -> None:
        """The command ends with 0 and no warning: users are meant to change their sets."""
        scene.load(0, views=True)
        scene.change(30)
        done = run("load", scene.batch.path, "--snapsets", scene.versions[0].folder, "--json")
        assert (done.code, done.stderr) == (0, "")
        assert (done.data["edited"], done.data["created"]) == (1, 0)

    @EACH_WAY
    def test_revoked_card_is_not_restored(self, scene: Scene, options: dict[str, Any]) -> None:
        """A deleted token or key stays deleted."""
        scene.load(0)
        scene.delete(scene.access)
        before = scene.snapshot(), scene.sequences()

        result = scene.load(0, **options)

        assert (scene.snapshot(), scene.sequences()) == before
        assert scene.access.id not in before[0][scene.access.database]
        assert outcomes(result) == {"deleted": 1, "unchanged": result.documents - 1}
        assert result.needs_attention == 0

    @EACH_UPDATE
    def test_deleted_set_stays_deleted_when_its_snapset_changes(self, scene: Scene, *, update: bool) -> None:
        """New content is no reason to restore a deleted set."""
        scene.load(0)
        scene.delete(scene.place)
        result = scene.load(1, update=update)
        assert scene.place.id not in scene.snapshot()[scene.place.database]
        assert result.count(Outcome.DELETED) == 1

    def test_recreated_set_is_kept(self, scene: Scene) -> None:
        """A document written by a user in place of a deleted one is kept."""
        scene.load(0)
        document = scene.stored()
        scene.delete(scene.place)
        del document["_rev"]
        flat(document)[FONT_SIZE] = 9
        put(scene.database, document)
        before = scene.stored()
        result = scene.load(0, update=True)
        assert scene.stored() == before
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}

    def test_run_time_documents_of_the_servers_are_not_changed(self, scene: Scene) -> None:
        """Grants, codes, access tokens and local documents have the same revisions as before."""
        scene.load(0)
        types = {
            "gpii-token": (
                "onboardedSolutionAuthorization",
                "webPrefsConsumerAuthorization",
                "privilegedPrefsCreatorAuthorization",
                "gpiiAppInstallationAuthorization",
                "authCode",
            ),
            "gpii-key": ("gpiiAppInstallationAuthorization", "gpiiAppInstallationClient", "clientCredential"),
        }[scene.target.model.name]
        database = scene.databases[scene.target.model.databases[-1]]
        ids = [f"at-run-time-{number}" for number in range(len(types))]
        for doc_id, kind in zip(ids, types, strict=True):
            put(database, {"_id": doc_id, "type": kind, "accessToken": f"secret-{doc_id}", "revoked": False})
        put(database, {"_id": "_local/checkpoint", "seq": 17})
        before = [get(database, doc_id) for doc_id in (*ids, "_local/checkpoint")]

        result = scene.load(1, update=True, replace_views=True)

        assert result.count(Outcome.UPDATED) == CHANGED
        assert [get(database, doc_id) for doc_id in (*ids, "_local/checkpoint")] == before


class TestWhatOthersWrote:
    """Foreign documents under our IDs, and conflicts."""

    @pytest.mark.parametrize("changes", [0, 2], ids=["generation 1", "generation 3"])
    @pytest.mark.parametrize("options", [{}, REPLACE], ids=["load", "update and views"])
    def test_foreign_document_is_reported_and_kept(self, scene: Scene, options: dict[str, Any], changes: int) -> None:
        """A foreign document under a card's ID is neither overwritten nor hidden by a conflict."""
        place = scene.access
        database = scene.at(place)
        database.create()
        rev = put(database, {"_id": place.id, "type": "note", "text": "0"})
        for number in range(changes):
            rev = put(database, {"_id": place.id, "type": "note", "text": str(number + 1), "_rev": rev})
        noted: list[tuple[str, str, State]] = []

        def on_finding(source: Source, finding: Finding, what: State | Outcome) -> None:
            assert what is Outcome.FOREIGN
            noted.append((source.database, finding.document.id, finding.state))

        result = scene.load(0, on_finding=on_finding, **options)

        document = get(database, place.id, conflicts="true")
        assert document == {"_id": place.id, "_rev": rev, "type": "note", "text": str(changes)}
        assert outcomes(result) == {"foreign": 1, "created": result.documents - 1}
        assert noted == [(place.database, place.id, State.FOREIGN)]
        assert result.needs_attention == 1

    @TOKEN_MODEL
    def test_load_command_reports_a_foreign_document(self, scene: Scene, run: Command, tmp_path: Path) -> None:
        """The exit code is 9, a line names the document and what to do, and the details contain it."""
        place = scene.access
        database = scene.at(place)
        database.create()
        rev = put(database, {"_id": place.id, "type": "note"})
        details = tmp_path / "details.jsonl"
        arguments = ("load", scene.batch.path, "--snapsets", scene.versions[0].folder)
        done = run(*arguments, "--details", details, "--json")
        assert done.code == 9
        assert f"{database.name}, document {shorten_uuids(place.id)}: foreign (not written by this tool" in done.stderr
        assert "error: 1 document needs a decision\n" in done.stderr
        assert (done.data["foreign"], done.data["created"]) == (1, done.data["documents"] - 1)
        [line] = map(json.loads, details.read_text("utf-8").splitlines())
        wanted = documents(scene.target.model.name, scene.uuid, {}, scene.batch.header.created, card=True)
        assert line == {
            "database": database.name,
            "kind": "gpiiToken" if scene.target.model.name == "gpii-token" else "gpiiKey",
            "_id": place.id,
            "state": "foreign",
            "revision": f"1-{digest(wanted[place.database][place.id])}",
            "leaves": [rev],
        }
        assert (get(database, place.id)["_rev"], get(database, place.id)["type"]) == (rev, "note")

        again = run(*arguments)
        assert again.code == 9
        assert "--details FILE lists all" in again.stderr

    def test_same_content_by_another_writer_is_unchanged(self, scene: Scene) -> None:
        """A document with equal content needs no write, wherever it comes from."""
        wanted = scene.wanted(0)
        for name, database in scene.databases.items():
            database.create()
            for document in wanted[name].values():
                put(database, document)
        before = scene.snapshot()
        result = scene.load(0)
        assert scene.snapshot() == before
        assert outcomes(result) == {"unchanged": result.documents}

    @EACH_UPDATE
    def test_conflict_is_reported_and_kept(self, scene: Scene, *, update: bool) -> None:
        """After replication of two versions, a person has to decide: both still exist."""
        scene.load(0)
        revisions = _conflict(scene)
        before = scene.live()

        result = scene.load(1, update=update)

        assert scene.live() == before
        assert {*before} == {*revisions}
        assert (result.count(Outcome.CONFLICT), result.needs_attention) == (1, 1 if update else CHANGED)

    def test_resolved_conflict_is_an_edit(self, scene: Scene) -> None:
        """After one of two versions has been deleted, the other counts as an edit."""
        scene.load(0)
        first, second = _conflict(scene)
        assert scene.load(0).count(Outcome.CONFLICT) == 1
        scene.database._resource.delete(scene.place.id, rev=second, w="3")
        result = scene.load(0, update=True)
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}
        assert scene.stored()["_rev"] == first


def _conflict(scene: Scene) -> tuple[str, str]:
    """Create two conflicting edits, as replication between two servers does; return their revisions."""
    document = scene.stored()
    ours = document["_rev"].partition("-")[2]
    revisions = []
    for number in (1, 2):
        flat(document)[FONT_SIZE] = 30 + number
        digits = str(number) * 32
        history = {"start": 2, "ids": [digits, ours]}
        revisions.append(f"2-{digits}")
        body = {**document, "_rev": revisions[-1], "_revisions": history}
        assert scene.database.write([json.dumps(body).encode()]) == []
    return revisions[0], revisions[1]
