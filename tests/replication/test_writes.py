"""Compare-and-swap writes: clearly accepted ones, and those that are read back because they were not."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from dataloader.common import Document, ProtocolError, prepare
from dataloader.couch import Database, Server
from dataloader.replication import write_over
from tests.support.proxy import Forward, Hook, Reply, Request
from tests.support.server import Proxied, get, put

IDS = ["one", "two", "three"]


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """A database with three documents."""
    database = server.database(f"test-{uuid4().hex[:12]}")
    database.create()
    database.write([prepare({"_id": each, "size": 1}).write() for each in IDS])
    yield database
    database.delete()


def grown(database: Database, *ids: str, size: int = 2) -> list[Document]:
    """Return the documents as stored, each with another size."""
    return [{**get(database, each), "size": size} for each in ids]


def changed(edit: Callable[[list[Any]], object]) -> Hook:
    """Return a hook that changes the reply to an ordinary write."""

    def hook(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint != "_bulk_docs":
            return reply
        rows = json.loads(reply.body)
        edit(rows)
        return replace(reply, body=json.dumps(rows).encode())

    return hook


def test_accepted_write_returns_its_revision(database: Database) -> None:
    """Documents that nobody else has changed are written with the server's revision."""
    written = write_over(database, grown(database, *IDS))

    assert [(each.document["_id"], each.is_plain, each.leaves) for each in written] == [
        (each, True, ()) for each in IDS
    ]
    for each in written:
        stored = get(database, each.document["_id"])
        assert (stored["_rev"], stored["size"]) == (each.rev, 2)


def test_concurrent_edit_is_kept_and_returned(database: Database) -> None:
    """A document changed since it was read is refused, and the other edit is returned."""
    documents = grown(database, *IDS)
    put(database, {**get(database, "two"), "size": 30})

    first, second, third = write_over(database, documents)

    assert first.is_plain
    assert third.is_plain
    assert (second.is_conflict, second.rev, second.own) == (True, "", None)
    [leaf] = second.leaves
    assert (leaf["size"], leaf["_rev"]) == (30, get(database, "two")["_rev"])
    assert leaf["_revisions"]["start"] == 2


def test_concurrent_deletion_is_returned(database: Database) -> None:
    """A deletion is a leaf like any other."""
    [document] = grown(database, "one")
    write_over(database, [{"_id": "one", "_rev": document["_rev"], "_deleted": True}])

    [written] = write_over(database, [document])

    assert written.is_conflict
    assert [leaf.get("_deleted") for leaf in written.leaves] == [True]


def test_lost_reply_is_not_a_conflict_with_itself(database: Database, proxied: Proxied) -> None:
    """The retry is refused, and the first attempt's write is found among the leaves."""
    lost: list[Request] = []

    def lose_first(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint == "_bulk_docs" and not lost:
            lost.append(request)
            return replace(reply, cut=0)
        return reply

    through, _ = proxied(lose_first)
    [written] = write_over(through.database(database.name), grown(database, "one"))

    assert (written.is_plain, written.is_conflict) == (False, True)
    assert written.own is not None
    assert written.own["_rev"] == get(database, "one")["_rev"]


def test_write_with_too_few_copies_is_read_back(database: Database, proxied: Proxied) -> None:
    """202 does not count as clearly accepted."""
    through, _ = proxied(changed(lambda rows: rows[1].update(accepted=True)))

    first, second = write_over(through.database(database.name), grown(database, "one", "two"))

    assert first.is_plain
    assert (second.is_plain, second.reason) == (False, "accepted")
    assert [leaf["_rev"] for leaf in second.leaves] == [second.rev]
    assert second.own == second.leaves[0]


def test_failed_write_returns_what_is_stored(database: Database, proxied: Proxied) -> None:
    """A document that the server failed to write is neither written nor absent."""

    def fail(rows: list[Any]) -> None:
        rows[0] = {"id": "one", "error": "internal_server_error", "reason": "no copy answered"}

    through, _ = proxied(changed(fail))
    [written] = write_over(through.database(database.name), grown(database, "one"))

    assert written.reason == "internal_server_error: no copy answered"
    assert [leaf["size"] for leaf in written.leaves] == [2]


def swap_ids(rows: list[Any]) -> None:
    """Make a reply name a document that was not sent."""
    rows[0]["id"] = "four"


@pytest.mark.parametrize(
    "edit",
    [lambda rows: rows.pop(), lambda rows: rows.append(rows[0]), swap_ids, list.clear],
    ids=["missing", "twice", "unknown", "empty"],
)
def test_reply_that_does_not_match_the_write_is_an_error(
    database: Database, proxied: Proxied, edit: Callable[[list[Any]], object]
) -> None:
    """A missing, duplicate or unknown entry proves nothing: neither written nor refused."""
    through, _ = proxied(changed(edit))

    with pytest.raises(ProtocolError):
        write_over(through.database(database.name), grown(database, *IDS))


@pytest.mark.parametrize("edit", ["missing", "twice", "unknown", "same leaf twice", "no leaf"])
def test_leaves_that_do_not_match_the_request_are_an_error(database: Database, proxied: Proxied, edit: str) -> None:
    """A document missing in the reply is not absent, and a duplicate leaf is not two."""

    def hook(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint != "_bulk_get":
            return reply
        results = json.loads(reply.body)["results"]
        if edit == "missing":
            results.pop()
        elif edit == "twice":
            results.append(results[0])
        elif edit == "unknown":
            results.append({"id": "four", "docs": [{"error": {"error": "not_found", "reason": "missing"}}]})
        elif edit == "same leaf twice":
            results[0]["docs"] *= 2
        else:
            results[0]["docs"] = []
        return replace(reply, body=json.dumps({"results": results}).encode())

    through, _ = proxied(hook)

    with pytest.raises(ProtocolError):
        through.database(database.name).leaves(IDS)


def test_several_leaves_of_a_document_are_written_one_by_one(database: Database) -> None:
    """Each leaf of a conflict can be replaced in one call, with its own reply."""
    for size in (2, 3):
        _, body = prepare({"_id": "one", "size": size}).write_child([prepare({"_id": "one", "size": 1}).rev])
        database.write([body])
    leaves = database.leaves(["one"])["one"]
    assert len(leaves) == 2

    written = write_over(database, [{"_id": "one", "_rev": leaf["_rev"], "size": 10 * leaf["size"]} for leaf in leaves])

    assert all(each.is_plain for each in written)
    assert {leaf["_rev"]: leaf["size"] for leaf in database.leaves(["one"])["one"]} == {
        each.rev: 10 * leaf["size"] for each, leaf in zip(written, leaves, strict=True)
    }


def test_all_copies_are_written_and_read(database: Database, proxied: Proxied) -> None:
    """Writes, and reads in doubt, ask for as many copies as the database has."""

    def three_copies(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.method == "GET" and request.endpoint == "":
            return replace(reply, body=json.dumps({**json.loads(reply.body), "cluster": {"n": 3}}).encode())
        return reply

    through, proxy = proxied(three_copies)
    documents = grown(database, "one", "two")
    put(database, {**get(database, "two"), "size": 30})

    write_over(through.database(database.name), documents)

    assert [each.target.partition("?")[2] for each in proxy.requests if each.endpoint == "_bulk_docs"] == ["w=3"]
    assert [each.target.partition("?")[2] for each in proxy.requests if each.endpoint == "_bulk_get"] == [
        "revs=true&r=3"
    ]


def test_id_that_contains_the_password_is_matched(database: Database, proxied: Proxied) -> None:
    """A password that occurs in IDs is masked in the server's text, but the refused document is still found."""

    def refuse(rows: list[Any]) -> None:
        rows[:] = [{"id": "user-one", "error": "forbidden", "reason": "user may not"}]

    through, _ = proxied(changed(refuse))
    # The proxy's server is in this process; only the masking matters.
    through.address = replace(through.address, password="user")

    [rejection] = through.database(database.name).write([prepare({"_id": "user-one"}).write()])

    assert rejection.id == "user-one"
    assert "user" not in rejection.reason
