"""Ranges of view rows and documents: the results, and invalid replies."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from dataloader.common import ProtocolError
from dataloader.couch import Database, NotFoundError, Server
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied, put

IDS = [f"{digit}0000000-0000-4000-8000-000000000000" for digit in "0123456789abcdef"]
BETWEEN = f"{IDS[5]} and more"
"""An ID that sorts between two UUIDs and is not one."""
VIEW = {"all": {"map": "function (doc) { emit(doc._id, {name: doc.name}); }"}}

Change = Callable[[list[dict[str, Any]]], object]


@pytest.fixture(scope="module")
def filled(server: Server) -> Any:
    """A database of documents with UUIDs and one without, and a view of all."""
    database = server.database(f"test-{uuid4().hex[:12]}-ranges")
    database.create()
    for doc_id in (*IDS, BETWEEN):
        put(database, {"_id": doc_id, "name": doc_id[:1]})
    put(database, {"_id": "_design/names", "views": VIEW})
    yield database
    database.delete()


def test_range_includes_both_ends(filled: Database) -> None:
    """Rows come without documents, and documents with their revisions, in order."""
    rows = filled.view_range("names", "all", IDS[2], IDS[6], limit=6)
    assert rows is not None
    assert [row["id"] for row in rows] == [*IDS[2:6], BETWEEN, IDS[6]]
    assert rows[0] == {"id": IDS[2], "key": IDS[2], "value": {"name": "2"}}
    documents = filled.documents_range(IDS[2], IDS[6], limit=6)
    assert documents is not None
    assert [(each["_id"], each["name"], each["_rev"][:2]) for each in documents] == [
        *((doc_id, doc_id[0], "1-") for doc_id in (*IDS[2:6], BETWEEN, IDS[6]))
    ]


def test_range_may_be_empty(filled: Database) -> None:
    """If there is nothing between the ends, there are no rows."""
    ends = ("f0000001-0000-4000-8000-000000000000", "f0000002-0000-4000-8000-000000000000")
    assert filled.view_range("names", "all", *ends, limit=0) == []
    assert filled.documents_range(*ends, limit=0) == []


def test_range_over_the_limit_returns_none(filled: Database) -> None:
    """One row too many gives no result at all, since a partial one could be mistaken for the whole."""
    assert filled.view_range("names", "all", IDS[2], IDS[6], limit=5) is None
    assert filled.documents_range(IDS[2], IDS[6], limit=5) is None


def test_range_includes_conflicts(filled: Database) -> None:
    """A document with other live leaves lists them."""
    assert filled.write([b'{"_id":"%s","_rev":"1-%s","name":"other"}' % (IDS[9].encode(), b"0" * 32)]) == []
    [document] = filled.documents_range(IDS[9], IDS[9], limit=1) or []
    assert document["name"] == "9"
    assert document["_conflicts"] == [f"1-{'0' * 32}"]


def test_view_by_key_and_shown_document(filled: Database) -> None:
    """The servers' requests: a row with and without its document, a document, and missing ones."""
    assert filled.view_by_key("names", "all", IDS[3], include_docs=False) == [
        {"id": IDS[3], "key": IDS[3], "value": {"name": "3"}}
    ]
    [row] = filled.view_by_key("names", "all", IDS[3], include_docs=True)
    assert row["doc"] == filled.shown(IDS[3])
    assert row["doc"]["name"] == "3"
    assert filled.view_by_key("names", "all", "none", include_docs=True) == []
    assert filled.shown("none") is None


def test_missing_view_or_database_is_an_error(filled: Database, server: Server) -> None:
    """No such view, no such database."""
    with pytest.raises(NotFoundError):
        filled.view_range("names", "none", IDS[0], IDS[1], limit=9)
    with pytest.raises(NotFoundError):
        server.database("test-ranges-none").documents_range(IDS[0], IDS[1], limit=9)


def another_key(rows: list[dict[str, Any]]) -> None:
    """Return a row for a document that was not requested."""
    rows[0]["id"] = rows[0]["key"] = IDS[1]
    if "doc" in rows[0]:
        rows[0]["doc"]["_id"] = IDS[1]


def behind_the_end(rows: list[dict[str, Any]]) -> None:
    """Continue after the end of the range."""
    rows[-1]["id"] = rows[-1]["key"] = IDS[7]
    if "doc" in rows[-1]:
        rows[-1]["doc"]["_id"] = IDS[7]


def backwards(rows: list[dict[str, Any]]) -> None:
    """Return rows in descending order."""
    rows.reverse()


def twice(rows: list[dict[str, Any]]) -> None:
    """Return a row twice."""
    rows.insert(1, rows[0])


def another_document(rows: list[dict[str, Any]]) -> None:
    """Return another document with a row."""
    rows[0]["doc"]["_id"] = IDS[4]


def without_key(rows: list[dict[str, Any]]) -> None:
    """Omit what a row is about."""
    del rows[0]["key"], rows[0]["id"]


def changing(change: Change) -> Callable[[Request, Forward], Reply]:
    """Return a hook that changes the rows of a reply."""

    def hook(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        data = reply.data()
        change(data["rows"])
        return Reply.json(reply.status, data)

    return hook


@pytest.mark.parametrize("change", [another_key, behind_the_end, backwards, without_key])
def test_unexpected_rows_are_rejected(filled: Database, proxied: Proxied, change: Change) -> None:
    """Rows outside the range or out of order are an error."""
    through, _ = proxied(changing(change))
    with pytest.raises(ProtocolError, match="not what CouchDB sends"):
        through.database(filled.name).view_range("names", "all", IDS[2], IDS[6], limit=9)


@pytest.mark.parametrize("change", [another_key, behind_the_end, backwards, twice, another_document, without_key])
def test_unexpected_documents_are_rejected(filled: Database, proxied: Proxied, change: Change) -> None:
    """Documents outside the range, out of order, duplicate or with another ID are an error."""
    through, _ = proxied(changing(change))
    with pytest.raises(ProtocolError, match="not what CouchDB sends"):
        through.database(filled.name).documents_range(IDS[2], IDS[6], limit=9)


def test_unreadable_document_is_omitted_from_a_range(filled: Database, proxied: Proxied) -> None:
    """A document that the server can't read just then is missing; the others are returned."""

    def unreadable(rows: list[dict[str, Any]]) -> None:
        rows[1]["doc"] = None

    through, _ = proxied(changing(unreadable))
    found = through.database(filled.name).documents_range(IDS[2], IDS[4], limit=9)
    assert [each["_id"] for each in found or []] == [IDS[2], IDS[4]]


def test_row_with_another_key_is_rejected(filled: Database, proxied: Proxied) -> None:
    """A row about another card is an error."""
    through, _ = proxied(changing(another_key))
    with pytest.raises(ProtocolError, match="not what CouchDB sends"):
        through.database(filled.name).view_by_key("names", "all", IDS[3], include_docs=False)


def test_document_with_another_id_is_rejected(filled: Database, proxied: Proxied) -> None:
    """A document with another ID than requested is an error."""

    def hook(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        return Reply.json(reply.status, {**reply.data(), "_id": IDS[4]})

    through, _ = proxied(hook)
    with pytest.raises(ProtocolError, match="not what CouchDB sends"):
        through.database(filled.name).shown(IDS[3])
