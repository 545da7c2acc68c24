"""Small models of the real GPII servers: the queries that each makes for a card, and what the card gets.

Verified with GPII/universal at the named commits, on CouchDB 3.5; docs/servers.md has the table.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import couchdb.http

from dataloader.couch import Server
from dataloader.target import Target
from tests.support.records import Json
from tests.support.server import databases, get


@dataclass(frozen=True, slots=True)
class Given:
    """What a server gives a card."""

    lets_in: bool
    """Whether ``POST /access_token`` returns a token."""
    settings: Json | None
    """The terms that the card's owner gets through the pilot computers; None if there is no way."""
    openly: Json | None
    """The terms that anyone gets without a bearer token; None for 404."""


def gives_2017(server: Server, target: Target, uuid: str) -> Given:
    """Make the queries of the servers merged on 2017-11-01 (679829561)."""
    openly = _set(server, target, uuid)
    users = [row["doc"] for row in _rows(server, target, "auth", "findUserByGpiiToken", uuid, docs=True)]
    # CouchDB includes no document for an _id of null; PouchDB includes the token itself, which is not a user.
    is_filtered = any(user is not None and user["type"] == "user" for user in users)
    settings = openly
    if is_filtered and openly is not None:
        grants = _rows(server, target, "auth", "findUserAuthorizedClientsByGpiiToken", uuid)
        settings = {term: value for term, value in openly.items() if grants}
    return Given(bool(_rows(server, target, "auth", "findGpiiToken", uuid)), settings, openly)


def gives_2018(server: Server, target: Target, uuid: str) -> Given:
    """Make the queries of the servers merged on 2018-01-30 (8f84cf12d)."""
    openly = _set(server, target, uuid)
    return Given(bool(_rows(server, target, "auth", "findGpiiToken", uuid)), openly, openly)


def gives_2020(server: Server, target: Target, uuid: str) -> Given:
    """Make the queries of the servers merged on 2020-11-23 (7518d0e4f), as a client that may not create keys."""
    rows = _rows(server, target, "gpii", "findPrefsSafeByGpiiKey", uuid, docs=True)
    if not rows:
        return Given(_document(server, target, "gpii", uuid) is not None, None, None)
    [row] = rows
    assert row["value"].get("_id"), "a key without prefsSafeId ends the flow manager's process"
    safe = row["doc"] if row["doc"] is not None and not row["doc"].get("_deleted") else None
    terms = {} if safe is None else _terms(safe["preferences"])
    return Given(_document(server, target, "gpii", uuid) is not None, terms, terms)


STATES: dict[str, tuple[str, Callable[[Server, Target, str], Given]]] = {
    "2017-11-01": ("gpii-token", gives_2017),
    "2018-01-30": ("gpii-token", gives_2018),
    "2020-11-23": ("gpii-key", gives_2020),
}
"""The servers by the date of their merge: their model, and a function that returns what a card gets."""


def _document(server: Server, target: Target, database: str, doc_id: str) -> Json | None:
    try:
        return get(databases(server, target)[database], doc_id)
    except couchdb.http.ResourceNotFound:
        return None


def _set(server: Server, target: Target, uuid: str) -> Json | None:
    document = _document(server, target, "preferences", uuid)
    return None if document is None else _terms(document["value"])


def _terms(preferences: Json) -> Json:
    terms: Json = preferences["flat"]["contexts"]["gpii-default"]["preferences"]
    return terms


def _rows(server: Server, target: Target, database: str, view: str, key: str, *, docs: bool = False) -> list[Any]:
    resource = databases(server, target)[database]._resource
    options = {"include_docs": "true"} if docs else {}
    _, _, data = resource.get(["_design", "views", "_view", quote(view)], key=json.dumps(key), **options)
    rows: list[Any] = json.loads(data.read())["rows"]
    return rows
