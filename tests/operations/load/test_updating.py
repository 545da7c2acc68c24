"""Loading another version of a snapset, with and without ``--update``."""

import pytest

from dataloader.common import UsageError, shorten_uuids
from dataloader.operations import Outcome
from tests.support.command import Command
from tests.support.loading import CHANGED, Scene, outcomes
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.records import preferences_of
from tests.support.server import get, put


class TestOtherInput:
    """A load with snapsets that have changed since the last one."""

    @KEY_MODEL
    def test_outdated_documents_are_reported_and_kept(self, scene: Scene, run: Command) -> None:
        """Without --update, nothing is replaced; the exit code is 9, and the message says what to do."""
        scene.load(0, views=True)
        before = scene.snapshot(), scene.sequences()
        done = run("load", scene.batch.path, "--snapsets", scene.versions[1].folder, "--json")
        assert (scene.snapshot(), scene.sequences()) == before
        assert done.code == 9
        counts = {key: value for key, value in done.data.items() if key in {each.value for each in Outcome} and value}
        assert counts == {"outdated": CHANGED, "unchanged": done.data["documents"] - CHANGED}
        assert f": {CHANGED} documents outdated: " in done.stderr
        assert " (written by an earlier load from another snapset version, not edited; kept; " in done.stderr
        assert f"error: {CHANGED} documents need a decision" in done.stderr

    @TOKEN_MODEL
    def test_update_replaces_outdated_documents(self, scene: Scene, run: Command) -> None:
        """Each gets a child of its earlier revision, and no other document changes; the next load has nothing to do."""
        scene.load(0, views=True)
        before = scene.snapshot()
        arguments = ("load", scene.batch.path, "--snapsets", scene.versions[1].folder, "--update", "--yes", "--json")
        done = run(*arguments)
        assert (done.code, done.stderr) == (0, "")
        assert (done.data["updated"], done.data["unchanged"]) == (CHANGED, done.data["documents"] - CHANGED)

        after = scene.snapshot()
        assert scene.contents() == scene.wanted(1)
        replaced = {
            doc_id: document["_rev"]
            for name, found in after.items()
            for doc_id, document in found.items()
            if document != before[name][doc_id]
        }
        places = [
            preferences_of(scene.target.model.name, each.uuid)
            for each in scene.batch.cards()
            if each.snapset == "large"
        ]
        places.append(preferences_of(scene.target.model.name, "large"))
        assert set(replaced) == {place.id for place in places}
        for place in places:
            document = get(scene.at(place), place.id, revs="true", conflicts="true")
            # Written as the child of the stored revision, so the server chooses the revision.
            old, new = before[place.database][place.id]["_rev"], document["_rev"]
            assert document["_revisions"] == {"start": 2, "ids": [new[2:], old[2:]]}
            assert "_conflicts" not in document

        stood = scene.sequences()
        third = run(*arguments)
        assert (third.code, third.data["unchanged"]) == (0, third.data["documents"])
        assert (scene.snapshot(), scene.sequences()) == (after, stood)

    @TOKEN_MODEL
    def test_update_does_not_suggest_itself(self, scene: Scene, run: Command) -> None:
        """If something else needs a decision, only that is named, not what has just been replaced."""
        place = scene.access
        scene.at(place).create()
        put(scene.at(place), {"_id": place.id, "type": "note"})
        scene.load(0, views=True)
        done = run("load", scene.batch.path, "--snapsets", scene.versions[1].folder, "--update", "--yes", "--json")
        assert (done.code, done.data["updated"], done.data["foreign"]) == (9, CHANGED, 1)
        warning, error = done.stderr.splitlines()
        assert f"document {shorten_uuids(place.id)}: foreign (" in warning
        assert error.startswith("error: 1 document needs a decision")

    def test_update_can_be_reverted(self, scene: Scene) -> None:
        """With the earlier snapsets, documents are outdated again: reported, and replaced on request."""
        scene.load(0)
        scene.load(1, update=True)
        assert outcomes(scene.load(0))["outdated"] == CHANGED
        with pytest.raises(UsageError, match="snapset large: is older than the version loaded last"):
            scene.load(0, update=True)
        assert scene.load(0, update=True, older_snapsets=True).count(Outcome.UPDATED) == CHANGED
        assert scene.contents() == scene.wanted(0)
        assert scene.stored()["_rev"].startswith("3-")
        stood = scene.sequences()
        assert scene.load(0).needs_attention == 0
        assert scene.sequences() == stood

    def test_snapset_can_change_back_and_forth(self, scene: Scene) -> None:
        """However often, an update replaces it; an edit is still an edit."""
        for generation, version in enumerate((0, 1, 0, 1, 0), 1):
            result = scene.load(version, update=True, older_snapsets=True)
            assert result.needs_attention == 0
            assert scene.contents() == scene.wanted(version)
            assert scene.stored()["_rev"].startswith(f"{generation}-")
        scene.change(31)
        before = scene.stored()
        assert scene.load(1, update=True, older_snapsets=True).count(Outcome.EDITED) == 1
        assert scene.stored() == before

    def test_edit_after_an_update_is_kept(self, scene: Scene) -> None:
        """From both versions of the snapset."""
        scene.load(0)
        scene.load(1, update=True)
        scene.change(31)
        before = scene.stored()
        assert scene.load(1, update=True).count(Outcome.EDITED) == 1
        assert scene.load(0, update=True, older_snapsets=True).count(Outcome.EDITED) == 1
        assert scene.stored() == before

    def test_documents_missing_in_the_input_are_kept(self, scene: Scene) -> None:
        """A load never deletes: cards of a batch that is not given are kept."""
        scene.load(0)
        before = scene.snapshot()
        result = scene.load(0, snapsets_only=True, update=True, replace_views=True)
        assert result.count(Outcome.UNCHANGED) == result.documents
        assert scene.snapshot() == before
