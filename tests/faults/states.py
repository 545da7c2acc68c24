"""The complete state of a target, in a form that can be compared and restored."""

import json
from contextlib import suppress
from typing import Any, TypeAlias

import couchdb.http
import orjson

from dataloader.couch import Database, Server
from dataloader.replication.staged_views import STAGED_SUFFIX
from dataloader.target import Target
from tests.support.server import agreed, databases, put

State: TypeAlias = dict[str, dict[str, list[dict[str, Any]]] | None]
"""By database (None if it does not exist) and ID: every leaf with its content and history, including deletions."""
LOCAL = "_local/"


def state(server: Server, target: Target) -> State:
    """Read everything in a target: documents, design documents, deletions and local documents."""
    return agreed(
        server,
        lambda: {
            name: _everything(database) if database.exists() else None
            for name, database in databases(server, target).items()
        },
    )


def _everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    _, _, data = database._resource.get("_changes", style="all_docs")
    ids = [row["id"] for row in json.loads(data.read())["results"]]
    leaves = database.leaves(ids)
    assert all(leaves.values())
    documents = {
        each: sorted(found, key=lambda leaf: str(leaf["_rev"]))
        for each, found in leaves.items()
        # If staging fails, views are replaced without it; of a staged copy, only its deletion remains.
        if not (each.endswith(STAGED_SUFFIX) and all(leaf.get("_deleted") for leaf in found))
    }
    return documents | _local_documents(database)


def _local_documents(database: Database) -> dict[str, list[dict[str, Any]]]:
    # PouchDB Server lists none; ours is requested by name.
    ids = [f"{LOCAL}dataloader"]
    with suppress(couchdb.http.ResourceNotFound):
        _, _, data = database._resource.get("_local_docs")
        ids = [row["id"] for row in json.loads(data.read())["rows"]]
    found: dict[str, list[dict[str, Any]]] = {}
    for each in ids:
        with suppress(couchdb.http.ResourceNotFound):
            _, _, data = database._resource.get(each.split("/"))
            document = json.loads(data.read())
            # They have no history, and each server counts their revisions in its own way.
            found[each] = [{name: value for name, value in document.items() if name != "_rev"}]
    return found


def plant(server: Server, target: Target, wanted: State) -> None:
    """Restore a target's state by replication."""
    for name, database in databases(server, target).items():
        documents = wanted[name]
        if documents is None:
            continue
        database.create()
        replicated = [leaf for each, leaves in documents.items() if not each.startswith(LOCAL) for leaf in leaves]
        assert database.write([orjson.dumps(leaf) for leaf in replicated]) == []
        for each, [document] in ((each, leaves) for each, leaves in documents.items() if each.startswith(LOCAL)):
            assert put(database, {**document, "_id": each})


def clear(server: Server, target: Target) -> None:
    """Delete a target's databases."""
    for database in databases(server, target).values():
        database.delete()
