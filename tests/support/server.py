"""The server that the tests use: credentials, and reading and writing it without the tool's own code."""

import json
import os
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from dataloader.common import Patience
from dataloader.couch import Database, Server
from dataloader.target import Target
from tests.support.proxy import Hook, Proxy, Request

OUTSIDE_URL = os.environ.get("COUCHDB_URL")
"""The server to test with, instead of the embedded one."""
ADMIN = ("admin", "an admin's password, with ümlauts: 100%")
PLAIN_USER = ("reader", "a plain user's password")
QUICK = Patience(timeout=30, retries=6, wait=0, total=60)
"""Retries without waits."""
AGREEING = 5
"""Consecutive equal reads after which a cluster's nodes count as consistent."""
SYNCHRONIZED = 30
"""Seconds in which a cluster's nodes should have synchronized their copies."""
SHARES = {"snapset_1a": 6, "snapset_3": 4, "empty": 2}
"""The number of cards in the fixture ``batch`` for each snapset."""
CARDS = sum(SHARES.values())
"""The number of cards in it."""

Proxied = Callable[[Hook], tuple[Server, Proxy]]
"""Puts a proxy with a hook in front of the server; returns the server to use and the proxy."""
T = TypeVar("T")


def as_admin(request: Request, target: Target) -> Request:
    """Return a request with the real server's credentials instead of those sent."""
    pair = f"{target.address.user}:{target.address.password}".encode()
    return replace(request, headers={**request.headers, "Authorization": f"Basic {b64encode(pair).decode()}"})


def databases(server: Server, target: Target) -> dict[str, Database]:
    """Return the target's databases by name without prefix."""
    return {name: server.database(target.database(name)) for name in target.model.databases}


def get(database: Database, doc_id: str, **params: str) -> dict[str, Any]:
    """Get a document as a server does; raises couchdb.http.ResourceNotFound if missing."""
    _, _, data = database._resource.get(_path(doc_id), **params)
    document: dict[str, Any] = json.loads(data.read())
    return document


def put(database: Database, document: dict[str, Any]) -> str:
    """Put a document as the Preferences Server does, with its current revision; return the new one."""
    # Write all copies of a cluster (w), so that any node returns it; other servers ignore this.
    _, _, data = database._resource.put(_path(document["_id"]), body=document, w="3")
    return str(json.loads(data.read())["rev"])


def delete(database: Database, doc_id: str) -> None:
    """Delete a document as an administrator would."""
    database._resource.delete(_path(doc_id), rev=get(database, doc_id)["_rev"], w="3")


def _path(doc_id: str) -> list[str]:
    return doc_id.split("/") if doc_id.startswith(("_design/", "_local/")) else [doc_id]


def agreed(server: Server, read: Callable[[], T]) -> T:
    """Read until a cluster's nodes agree: any node may answer from a copy that lags behind."""
    found = read()
    agreeing = 0 if len(server.nodes().expected) > 1 else AGREEING
    end = time.monotonic() + 4 * SYNCHRONIZED
    while agreeing < AGREEING:
        assert time.monotonic() < end, "the nodes do not agree"
        again = read()
        agreeing = agreeing + 1 if again == found else 0
        found = again
    return found


def snapshot(server: Server, target: Target) -> dict[str, Any]:
    """Return everything in the target's databases: documents with their revisions and conflicts."""

    def read() -> dict[str, Any]:
        everything: dict[str, Any] = {}
        for name, database in databases(server, target).items():
            _, _, data = database._resource.get("_all_docs", include_docs="true", conflicts="true")
            everything[name] = {row["id"]: row["doc"] for row in json.loads(data.read())["rows"]}
        return everything

    for database in databases(server, target).values():
        # After a conflict, a cluster's copies may differ for seconds, and all answer the same meanwhile.
        server.synchronize(database.name, SYNCHRONIZED)
    return agreed(server, read)


def sequences(server: Server, target: Target) -> dict[str, int]:
    """Return the update sequences of the target's databases."""
    return agreed(server, lambda: {name: database.update_seq() for name, database in databases(server, target).items()})
