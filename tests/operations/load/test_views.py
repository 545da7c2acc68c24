"""Loading design documents."""

import json

from dataloader.batch import Manifest
from dataloader.couch import Database, Server
from dataloader.operations import Outcome
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.loading import DESIGN, Bring, outcomes
from tests.support.marks import KEY_MODEL
from tests.support.records import (
    VIEWS,
    digest,
)
from tests.support.server import databases, delete, get, put


class TestViews:
    """The design document belongs to the servers, not to a user."""

    def test_outdated_views_wait_for_update(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets
    ) -> None:
        """An earlier version's views are reported and kept; --update replaces them."""
        database = _design_database(server, target)
        database.create()
        old = {"_id": DESIGN, "language": "javascript", "views": {"findOld": {"map": "function (doc) { emit(1); }"}}}
        old_rev = f"1-{digest(old)}"
        assert database.write([json.dumps({**old, "_rev": old_rev}).encode()]) == []

        first = bring_all(sizes)
        assert (first.count(Outcome.OUTDATED), first.needs_attention, first.views_built) == (1, 1, 0)
        assert get(database, DESIGN) == {**old, "_rev": old_rev}

        second = bring_all(sizes, update=True)
        assert outcomes(second) == {"updated": 1, "unchanged": second.documents - 1}
        stored = get(database, DESIGN, revs="true")
        assert sorted(stored["views"]) == _view_names(target)
        assert stored["_revisions"]["ids"][1:] == [old_rev[2:]]
        assert second.views_built == len(_view_names(target))

    @KEY_MODEL
    def test_foreign_views_wait_for_replace_views(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """Other views are kept, with exit code 9, until --replace-views; no conflict is created."""
        database = _design_database(server, target)
        database.create()
        views = {name: {"map": "function (doc) { emit(doc._id, 1); }"} for name in _view_names(target)[:2]}
        rev = put(database, {"_id": DESIGN, "language": "javascript", "views": views})

        done = run("load", few.path, "--snapsets", sizes.folder, "--json")
        assert (done.code, done.data["foreign"], done.data["views_built"]) == (9, 1, 2)
        assert f"{database.name}, document {DESIGN}: foreign" in done.stderr
        assert bring_all(sizes, update=True).count(Outcome.FOREIGN) == 1
        assert (get(database, DESIGN)["_rev"], get(database, DESIGN)["views"]) == (rev, views)

        result = bring_all(sizes, replace_views=True)
        assert outcomes(result) == {"updated": 1, "unchanged": result.documents - 1}
        stored = get(database, DESIGN, revs="true", conflicts="true")
        assert sorted(stored["views"]) == _view_names(target)
        assert (stored["_revisions"]["start"], stored["_revisions"]["ids"][1:]) == (2, [rev[2:]])
        assert "_conflicts" not in stored

    def test_edited_views_wait_for_replace_views(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets
    ) -> None:
        """Views that somebody has edited are kept, and replaced only on request."""
        bring_all(sizes)
        database = _design_database(server, target)
        document = get(database, DESIGN)
        document["views"]["another"] = {"map": "function (doc) { emit(doc._id, 1); }"}
        put(database, document)
        edited = get(database, DESIGN)

        assert bring_all(sizes, update=True).count(Outcome.EDITED) == 1
        assert get(database, DESIGN) == edited
        result = bring_all(sizes, replace_views=True)
        assert outcomes(result) == {"updated": 1, "unchanged": result.documents - 1}
        assert sorted(get(database, DESIGN)["views"]) == _view_names(target)

    @KEY_MODEL
    def test_edited_design_document_without_a_view_needs_attention(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets, few: Manifest, run: Command
    ) -> None:
        """Without findInfoByAccessToken, the servers accept no token; load and verify say so."""
        bring_all(sizes)
        database = _design_database(server, target)
        document = get(database, DESIGN)
        del document["views"]["findInfoByAccessToken"]
        put(database, document)

        done = run("load", few.path, "--snapsets", sizes.folder, "--json")
        assert (done.code, done.data["edited"]) == (9, 1)
        assert done.data["missing_views"] == {database.name: ["findInfoByAccessToken"]}
        todo = "load with --update or, if others changed it, with --replace-views"
        lacks = "its design document was kept, and lacks findInfoByAccessToken; cards may not work"
        assert f"database {database.name}: {lacks} ({todo})\n" in done.stderr
        done = run("verify", few.path, "--snapsets", sizes.folder)
        assert done.code == 7
        assert f"error: database {database.name}: has no view findInfoByAccessToken (load" in done.stderr

        bring_all(sizes, replace_views=True)
        assert run("verify", few.path, "--snapsets", sizes.folder).code == 0

    def test_deleted_views_are_restored(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets
    ) -> None:
        """Without its views a server finds no cards, so the next load restores them."""
        bring_all(sizes)
        database = _design_database(server, target)
        delete(database, DESIGN)
        result = bring_all(sizes)
        assert outcomes(result) == {"updated": 1, "unchanged": result.documents - 1}
        assert result.views_built == len(_view_names(target))
        stored = get(database, DESIGN)
        assert sorted(stored["views"]) == _view_names(target)
        assert stored["_rev"].startswith("3-")
        assert bring_all(sizes).count(Outcome.UNCHANGED) == result.documents

    def test_other_design_documents_are_kept(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets
    ) -> None:
        """An operator's own design document is kept, whatever is replaced."""
        database = _design_database(server, target)
        database.create()
        put(database, {"_id": "_design/own", "views": {"all": {"map": "function (doc) { emit(doc._id, null); }"}}})
        before = get(database, "_design/own")
        result = bring_all(sizes, update=True, replace_views=True)
        assert outcomes(result) == {"created": result.documents}
        assert get(database, "_design/own") == before


def _design_database(server: Server, target: Target) -> Database:
    return databases(server, target)[target.model.databases[-1]]


def _view_names(target: Target) -> list[str]:
    return sorted(VIEWS[target.model.name])
