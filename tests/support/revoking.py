"""Helpers of the tests of revoke: reading, changing and compacting documents without the tool."""

import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from threading import Lock
from typing import Any

from dataloader.couch import Database, Server
from dataloader.operations import RevokeOutcome, RevokeResult
from dataloader.target import Target
from tests.support.proxy import Forward, Hook, Reply, Request
from tests.support.records import Json, Place
from tests.support.server import databases, get, put, snapshot

CARDS = 5
"""The number of cards in the fixture ``few``."""
LIMIT = 60.0
"""Seconds after which a waiting test fails."""


def at(server: Server, target: Target, place: Place) -> Database:
    """Return the database of a document."""
    return databases(server, target)[place.database]


def plain(document: Json) -> Json:
    """Return a document without its revision."""
    return {name: value for name, value in document.items() if name == "_id" or not name.startswith("_")}


def contents(server: Server, target: Target) -> dict[str, dict[str, Json]]:
    """Return every live document without its revision; check that none is in conflict."""
    found = snapshot(server, target)
    assert not any("_conflicts" in each for documents in found.values() for each in documents.values())
    return {name: {doc_id: plain(each) for doc_id, each in documents.items()} for name, documents in found.items()}


def leaves(server: Server, target: Target, place: Place, *, live: bool) -> list[Json]:
    """Return a document's leaves that are live, or that are not."""
    found = at(server, target, place).leaves([place.id])[place.id]
    return [leaf for leaf in found if bool(leaf.get("_deleted")) != live]


def is_revoked(server: Server, target: Target, place: Place) -> bool:
    """Return whether no leaf of a document lets the servers give its card anything."""
    live = leaves(server, target, place, live=True)
    return all(leaf.get("revoked") and leaf["prefsSafeId"].startswith("revoked-") for leaf in live)


def change(server: Server, target: Target, place: Place, rev: str | None = None, **members: Any) -> Json:
    """Change members of a document, as an administrator would; return its new content."""
    database = at(server, target, place)
    document = {**get(database, place.id, **({} if rev is None else {"rev": rev})), **members}
    put(database, document)
    return plain(document)


PHOTO = bytes(range(256)) * 8
"""The content of an attachment."""


def attach(server: Server, target: Target, place: Place, name: str, content: bytes) -> None:
    """Add an attachment to a document."""
    database = at(server, target, place)
    document = get(database, place.id)
    attachments = {**document.get("_attachments", {}), name: {"content_type": "image/x", "data": _base64(content)}}
    put(database, {**document, "_attachments": attachments})


def attached(server: Server, target: Target, place: Place) -> dict[str, bytes]:
    """Return a document's attachments by name."""
    document = get(at(server, target, place), place.id, attachments="true")
    return {name: b64decode(each["data"]) for name, each in document.get("_attachments", {}).items()}


def _base64(content: bytes) -> str:
    return b64encode(content).decode()


def counts(result: RevokeResult) -> dict[RevokeOutcome, int]:
    """Return the outcomes with their counts."""
    return {outcome: count for outcome, count in result.outcomes.items() if count}


def compact(database: Database) -> None:
    """Make the server discard the content of revisions that are not leaves."""
    database._resource.post("_compact", body={})
    deadline = time.monotonic() + LIMIT
    while (database.info() or {}).get("compact_running"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def once(matches: Callable[[Request], bool], *, before: Callable[[], object]) -> Hook:
    """Return a hook that does something just before the first request of a kind."""
    lock = Lock()
    waiting = [True]

    def hook(request: Request, forward: Forward) -> Reply:
        with lock:
            now = waiting[0] and matches(request)
            waiting[0] = waiting[0] and not now
        if now:
            before()
        return forward(request)

    return hook


def writes(request: Request, place: Place | None = None) -> bool:
    """Return whether a request writes documents, or the one at ``place``."""
    return request.endpoint == "_bulk_docs" and (
        place is None or any(each["_id"] == place.id for each in request.data()["docs"])
    )
