"""Replacing views: queries are answered without delay, and nothing is left behind."""

import json
from pathlib import Path

import couchdb.http
import pytest

from dataloader.batch import read_manifest
from dataloader.common import Document, UnreachableError, prepare
from dataloader.couch import Database, Server
from dataloader.operations import LoadOptions, Outcome, Source, all_sources, load
from dataloader.records import read_snapsets
from dataloader.records.views import design_documents
from dataloader.replication import stage, unstage
from dataloader.target import Target
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied, databases, get, put, sequences, snapshot

DESIGN = "_design/views"
STAGED = "_design/views-next"


@pytest.fixture
def small(target: Target, given: tuple[Path, Path]) -> list[Source]:
    """The documents of a small batch."""
    manifest, snapsets = given
    return all_sources(target, [read_manifest(manifest)], read_snapsets(snapsets))


@pytest.fixture
def database(server: Server, target: Target) -> Database:
    """The database that the servers query."""
    return databases(server, target)[target.model.databases[-1]]


@pytest.fixture
def ours(target: Target) -> Document:
    """The design document that a load writes."""
    [document] = design_documents(target.model, target.model.databases[-1])
    return document


def earlier(design: Document) -> Document:
    """Return a design document as an earlier version might have had it: no view emits anything."""
    nothing = {"map": "function (doc) { return; }"}
    return {**design, "views": dict.fromkeys(design["views"], nothing)}


@pytest.fixture
def outdated(server: Server, target: Target, small: list[Source], database: Database, ours: Document) -> None:
    """A loaded target with the views of an earlier version, with built indexes."""
    database.create()
    assert database.write([prepare(earlier(ours)).write()]) == []
    load(server, target, small)


def rows(database: Database, view: str, **options: str) -> int:
    """Return the number of rows in a view."""
    path = [*DESIGN.split("/"), "_view", view]
    _, _, data = database._resource.get(path, **options)
    return len(json.loads(data.read())["rows"])


def lookup_view(target: Target) -> str:
    """Return a view that has one row for each card."""
    return next(lookup.view for lookup in target.model.lookups if lookup.view)


@pytest.mark.usefixtures("outdated")
def test_index_is_built_before_new_views_are_used(
    proxied: Proxied, server: Server, target: Target, small: list[Source], database: Database
) -> None:
    """As soon as the servers see the new views, queries return everything without building an index."""
    view = lookup_view(target)
    assert rows(database, view) == 0
    found = []

    def look_at_once(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        documents = request.data()["docs"] if request.endpoint == "_bulk_docs" else []
        if any(each["_id"] == DESIGN for each in documents):
            # The answer contains only what is already indexed: https://docs.couchdb.org/en/3.5.0/api/ddoc/views.html.
            found.append(rows(database, view, stale="ok"))
        return reply

    through, proxy = proxied(look_at_once)
    result = load(through, target, small, LoadOptions(update=True))
    assert result.count(Outcome.UPDATED) == 1
    assert found == [rows(database, view)]
    assert found != [0]
    staged = [request for request in proxy.requests if request.endpoint.startswith(f"{STAGED}/_view/")]
    assert {request.endpoint.partition("/_view/")[2] for request in staged} == target.model.card_views


@pytest.mark.usefixtures("outdated")
def test_staged_views_are_removed(server: Server, target: Target, small: list[Source], database: Database) -> None:
    """Neither the second name nor any further work is left."""
    load(server, target, small, LoadOptions(update=True))
    assert [each for each in snapshot(server, target)[target.model.databases[-1]] if each.startswith("_design/")] == [
        DESIGN
    ]
    before = sequences(server, target)
    assert load(server, target, small, LoadOptions(update=True)).count(Outcome.UNCHANGED) == sum(
        each.count for each in small
    )
    assert sequences(server, target) == before


@pytest.mark.usefixtures("outdated")
def test_staged_views_of_a_killed_run_are_cleaned_up(
    proxied: Proxied, server: Server, target: Target, small: list[Source], database: Database, ours: Document
) -> None:
    """The next update uses what was staged; leftovers are removed by any load."""

    def broken(request: Request, forward: Forward) -> Reply:
        if request.endpoint.startswith(f"{STAGED}/_view/"):
            return Reply.json(503, {"error": "nodedown", "reason": "gone"})
        return forward(request)

    through, _ = proxied(broken)
    with pytest.raises(UnreachableError):
        load(through, target, small, LoadOptions(update=True))
    assert get(database, STAGED)["views"] == ours["views"]
    # Another update may be about to use it.
    load(server, target, small)
    assert get(database, STAGED)["views"] == ours["views"]
    load(server, target, small, LoadOptions(update=True))
    assert get(database, DESIGN)["views"] == ours["views"]
    stage(server, target.model, database, [prepare(ours)], None)
    assert get(database, STAGED)["views"] == ours["views"]
    load(server, target, small)
    with pytest.raises(couchdb.http.ResourceNotFound):
        get(database, STAGED)


@pytest.mark.usefixtures("outdated")
def test_foreign_design_document_under_the_staging_name_is_kept(
    server: Server, target: Target, small: list[Source], database: Database, ours: Document
) -> None:
    """The views are then replaced without building their indexes first."""
    theirs = {"_id": STAGED, "language": "javascript", "views": {"mine": {"map": "function (doc) { emit(doc._id); }"}}}
    rev = put(database, theirs)
    assert load(server, target, small, LoadOptions(update=True)).count(Outcome.UPDATED) == 1
    assert get(database, DESIGN)["views"] == ours["views"]
    assert get(database, STAGED) == {**theirs, "_rev": rev}


def test_earlier_version_can_be_staged_again(
    server: Server, target: Target, database: Database, ours: Document
) -> None:
    """Each time a version is staged it exists, whatever was staged before, and is removed afterwards."""
    database.create()
    for version in (ours, earlier(ours), ours, earlier(ours)):
        assert stage(server, target.model, database, [prepare(version)], None) == 1
        assert stage(server, target.model, database, [prepare(version)], None) == 0
        assert get(database, STAGED)["views"] == version["views"]
        assert unstage(database, [DESIGN]) == 1
        assert unstage(database, [DESIGN]) == 0
        with pytest.raises(couchdb.http.ResourceNotFound):
            get(database, STAGED)
