"""A cluster in which the copy that answers lags behind the others."""

import json
from collections.abc import Callable

import pytest

from dataloader.batch import Manifest
from dataloader.common import ProtocolError
from dataloader.couch import Server
from dataloader.operations import Outcome, Source, all_sources, load
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.proxy import Forward, Hook, Proxy, Reply, Request
from tests.support.server import databases, get, put, snapshot

NODES = ["couchdb@one", "couchdb@two", "couchdb@three"]


def behind(request: Request, forward: Forward) -> Reply:
    """Answer like a cluster whose answering copy has none of the documents yet."""
    if request.path == "/":
        return Reply.json(200, {"couchdb": "Welcome", "version": "3.5.0"})
    if request.path == "/_membership":
        return Reply.json(200, {"all_nodes": NODES, "cluster_nodes": NODES})
    if request.path.endswith("/_revs_diff"):
        return Reply.json(200, {each: {"missing": revs} for each, revs in json.loads(request.body).items()})
    return forward(request)


def test_document_missing_in_one_copy_is_not_absent(
    server: Server,
    target: Target,
    manifest: Manifest,
    snapsets: Snapsets,
    sources: list[Source],
    proxied: Callable[[Hook], tuple[Server, Proxy]],
) -> None:
    """A node that was down answers that nothing exists; nothing that the others have is overwritten."""
    load(server, target, sources)
    kind = target.model.kinds[0]
    database = databases(server, target)[kind.database]
    card = next(manifest.cards())
    # A document with other content; a first revision of ours would be in conflict with it.
    foreign = get(database, kind.id(card.uuid)) | {"note": "somebody's"}
    put(database, foreign)
    before = snapshot(server, target)

    through, _ = proxied(behind)
    result = load(through, target, all_sources(target, [manifest], snapsets))

    assert result.count(Outcome.CREATED) == 0
    assert result.count(Outcome.EDITED) == 1
    assert result.count(Outcome.UNCHANGED) == result.documents - 1
    assert snapshot(server, target) == before


def test_document_that_disappears_between_reads_is_not_absent(
    server: Server,
    target: Target,
    manifest: Manifest,
    snapsets: Snapsets,
    sources: list[Source],
    proxied: Callable[[Hook], tuple[Server, Proxy]],
) -> None:
    """One copy names its revisions and is gone when all are read: written as absent, it would be a conflict."""
    load(server, target, sources)
    kind = target.model.kinds[0]
    doc_id = kind.id(next(manifest.cards()).uuid)
    before = snapshot(server, target)
    revs = {each.id: each.rev for source in sources for each in source.prepared()} | {doc_id: f"2-{'a' * 32}"}

    def deny(request: Request, forward: Forward) -> Reply:
        if request.path == "/":
            return Reply.json(200, {"couchdb": "Welcome", "version": "3.5.0"})
        if request.endpoint == "_revs_diff":
            said = {
                each: {"missing": asked, "possible_ancestors": [revs[each]]} for each, asked in request.data().items()
            }
            return Reply.json(200, said)
        if request.endpoint.startswith("_bulk_get"):
            gone = {"error": {"error": "not_found", "reason": "missing", "rev": "undefined"}}
            asked = [each["id"] for each in request.data()["docs"]]
            return Reply.json(200, {"results": [{"id": each, "docs": [gone]} for each in asked]})
        return forward(request)

    through, _ = proxied(deny)
    with pytest.raises(
        ProtocolError, match=f"document {doc_id} .*names revisions of it, then says that it does not exist"
    ):
        load(through, target, all_sources(target, [manifest], snapsets))
    assert snapshot(server, target) == before
