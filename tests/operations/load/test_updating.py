"""Loading another version of a snapset, with and without ``--update``."""

import pytest

from dataloader.batch import Manifest
from dataloader.common import UsageError, shorten_uuids
from dataloader.couch import Server
from dataloader.operations import Outcome, load, snapset_sources
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.loading import CHANGED, Bring, card, change, contents, found_at, outcomes
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.records import (
    access_of,
    expected,
    preferences_of,
)
from tests.support.server import databases, get, put, sequences, snapshot


class TestOtherInput:
    """A load with snapsets that have changed since the last one."""

    @KEY_MODEL
    def test_outdated_documents_are_reported_and_kept(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """Without --update, nothing is replaced; the exit code is 9, and the message says what to do."""
        bring_all(sizes)
        before = snapshot(server, target), sequences(server, target)
        done = run("load", few.path, "--snapsets", changed.folder, "--json")
        assert (snapshot(server, target), sequences(server, target)) == before
        assert done.code == 9
        counts = {key: value for key, value in done.data.items() if key in {each.value for each in Outcome} and value}
        assert counts == {"outdated": CHANGED, "unchanged": done.data["documents"] - CHANGED}
        assert (
            done.stderr.count(": outdated (written by an earlier load from another snapset version, not edited; kept; ")
            == CHANGED
        )
        assert f"error: {CHANGED} documents need a decision" in done.stderr

    @TOKEN_MODEL
    def test_update_replaces_outdated_documents(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """Each gets a child of its earlier revision, and no other document changes; the next load has nothing to do."""
        bring_all(sizes)
        before = snapshot(server, target)
        arguments = ("load", few.path, "--snapsets", changed.folder, "--update", "--yes", "--json")
        done = run(*arguments)
        assert (done.code, done.stderr) == (0, "")
        assert (done.data["updated"], done.data["unchanged"]) == (CHANGED, done.data["documents"] - CHANGED)

        after = snapshot(server, target)
        assert contents(server, target) == expected(target.model.name, [few.path], changed.folder)
        replaced = {
            doc_id: document["_rev"]
            for name, found in after.items()
            for doc_id, document in found.items()
            if document != before[name][doc_id]
        }
        places = [preferences_of(target.model.name, each.uuid) for each in few.cards() if each.snapset == "large"]
        places.append(preferences_of(target.model.name, "large"))
        assert set(replaced) == {place.id for place in places}
        for place in places:
            document = get(databases(server, target)[place.database], place.id, revs="true", conflicts="true")
            # Written as the child of the stored revision, so the server chooses the revision.
            old, new = before[place.database][place.id]["_rev"], document["_rev"]
            assert document["_revisions"] == {"start": 2, "ids": [new[2:], old[2:]]}
            assert "_conflicts" not in document

        stood = sequences(server, target)
        third = run(*arguments)
        assert (third.code, third.data["unchanged"]) == (0, third.data["documents"])
        assert (snapshot(server, target), sequences(server, target)) == (after, stood)

    @TOKEN_MODEL
    def test_update_does_not_suggest_itself(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """If something else needs a decision, only that is named, not what has just been replaced."""
        place = access_of(target.model.name, card(few, "large"))
        databases(server, target)[place.database].create()
        put(databases(server, target)[place.database], {"_id": place.id, "type": "note"})
        bring_all(sizes)
        done = run("load", few.path, "--snapsets", changed.folder, "--update", "--yes", "--json")
        assert (done.code, done.data["updated"], done.data["foreign"]) == (9, CHANGED, 1)
        warning, error = done.stderr.splitlines()
        assert f"document {shorten_uuids(place.id)}: foreign (" in warning
        assert error.startswith("error: 1 document needs a decision")

    def test_update_can_be_reverted(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets, few: Manifest
    ) -> None:
        """With the earlier snapsets, documents are outdated again: reported, and replaced on request."""
        bring(sizes)
        bring(changed, update=True)
        assert outcomes(bring(sizes))["outdated"] == CHANGED
        with pytest.raises(UsageError, match="snapset large: is older than the version that was loaded last"):
            bring(sizes, update=True)
        assert bring(sizes, update=True, older_snapsets=True).count(Outcome.UPDATED) == CHANGED
        assert contents(server, target) == expected(target.model.name, [few.path], sizes.folder)
        place = preferences_of(target.model.name, card(few, "large"))
        assert found_at(server, target, place)["_rev"].startswith("3-")
        stood = sequences(server, target)
        assert bring(sizes).needs_attention == 0
        assert sequences(server, target) == stood

    def test_snapset_can_change_back_and_forth(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets, few: Manifest
    ) -> None:
        """However often, an update replaces it; an edit is still an edit."""
        place = preferences_of(target.model.name, card(few, "large"))
        for generation, version in enumerate((sizes, changed, sizes, changed, sizes), 1):
            result = bring(version, update=True, older_snapsets=True)
            assert result.needs_attention == 0
            assert contents(server, target) == expected(target.model.name, [few.path], version.folder)
            assert found_at(server, target, place)["_rev"].startswith(f"{generation}-")
        change(server, target, place, 31)
        before = found_at(server, target, place)
        assert bring(changed, update=True, older_snapsets=True).count(Outcome.EDITED) == 1
        assert found_at(server, target, place) == before

    def test_edit_after_an_update_is_kept(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets, few: Manifest
    ) -> None:
        """From both versions of the snapset."""
        bring(sizes)
        bring(changed, update=True)
        place = preferences_of(target.model.name, card(few, "large"))
        change(server, target, place, 31)
        before = found_at(server, target, place)
        assert bring(changed, update=True).count(Outcome.EDITED) == 1
        assert bring(sizes, update=True, older_snapsets=True).count(Outcome.EDITED) == 1
        assert found_at(server, target, place) == before

    def test_documents_missing_in_the_input_are_kept(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets
    ) -> None:
        """A load never deletes: cards of a batch that is not given are kept."""
        bring(sizes)
        before = snapshot(server, target)
        result = load(server, target, snapset_sources(target.model, sizes), update=True, replace_views=True)
        assert result.count(Outcome.UNCHANGED) == result.documents
        assert snapshot(server, target) == before
