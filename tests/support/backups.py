"""Databases with everything that a backup must keep, and reading them without the tool's own code."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import zstandard

from dataloader.couch import Database, NotFoundError, Server
from dataloader.records.models import get_model
from dataloader.target import Target
from tests.support.server import databases

HISTORY = {"start": 3, "ids": ["c" * 32, "b" * 32, "a" * 32]}
VARIED: list[dict[str, Any]] = [
    {"_id": "plain", "_rev": f"1-{'1' * 32}", "value": {"ä": "ü\n\u2028", "n": 1.5, "empty": None}},
    {"_id": "edited", "_rev": f"3-{'c' * 32}", "_revisions": HISTORY, "value": 3},
    # Conflicting versions by two users, and a third one that somebody deleted.
    {"_id": "torn", "_rev": f"2-{'d' * 32}", "_revisions": {"start": 2, "ids": ["d" * 32, "1" * 32]}, "value": "d"},
    {"_id": "torn", "_rev": f"2-{'e' * 32}", "_revisions": {"start": 2, "ids": ["e" * 32, "1" * 32]}, "value": "e"},
    {
        "_id": "torn",
        "_rev": f"3-{'f' * 32}",
        "_revisions": {"start": 3, "ids": ["f" * 32, "2" * 32, "1" * 32]},
        "_deleted": True,
        "why": "lost",
    },
    {"_id": "gone", "_rev": f"2-{'9' * 32}", "_revisions": {"start": 2, "ids": ["9" * 32, "8" * 32]}, "_deleted": True},
    {
        "_id": "picture",
        "_rev": f"1-{'7' * 32}",
        "_attachments": {"face.png": {"content_type": "image/png", "data": "iVBORw0KGgo="}},
    },
    {"_id": "_design/own", "_rev": f"1-{'6' * 32}", "views": {"all": {"map": "function (doc) { emit(doc._id); }"}}},
]
"""Documents as a replicator writes them."""


def plant(database: Database, documents: list[dict[str, Any]]) -> None:
    """Write documents with their given revisions."""
    _, _, data = database._resource.post("_bulk_docs", body={"new_edits": False, "docs": documents}, w="3")
    assert json.loads(data.read()) == []


def everything(server: Server, target: Target) -> dict[str, dict[str, list[Any]]]:
    """Return every leaf of a target's documents, with history and attachments, by database and ID."""
    return {name: leaves_in(database) for name, database in databases(server, target).items()}


def leaves_in(database: Database) -> dict[str, list[Any]]:
    """Return every leaf of a database's documents."""
    _, _, data = database._resource.get("_changes", style="all_docs")
    found = {}
    for row in json.loads(data.read())["results"]:
        leaves = []
        for change in row["changes"]:
            path = row["id"].split("/") if row["id"].startswith("_design/") else [row["id"]]
            _, _, leaf = database._resource.get(path, rev=change["rev"], revs="true", attachments="true")
            leaves.append(json.loads(leaf.read()))
        found[row["id"]] = sorted(leaves, key=lambda leaf: str(leaf["_rev"]))
    return found


def settings(database: Database) -> dict[str, Any]:
    """Return a database's settings, as far as the server has them."""
    found: dict[str, Any] = {}
    for name in ("_security", "_revs_limit"):
        try:
            found[name] = json.loads(database._resource.get(name)[2].read())
        except NotFoundError:
            continue
    cluster = (database.info() or {}).get("cluster", {})
    return found | {name: cluster[name] for name in ("q", "n") if name in cluster}


def lines_of(path: Path) -> list[Any]:
    """Return the lines of an unencrypted backup, as ``zstd -dc`` prints them."""
    with path.open("rb") as stream, zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True) as text:
        return [json.loads(line) for line in text.read().splitlines() if line]


def frames_of(path: Path) -> list[bytes]:
    """Return the frames of an unencrypted backup."""
    data, found = path.read_bytes(), []
    while data:
        one = zstandard.ZstdDecompressor().decompressobj()
        one.decompress(data)
        found.append(data[: len(data) - len(one.unused_data)])
        data = one.unused_data
    return found


def elsewhere(target: Target) -> Target:
    """Return a target with another prefix on the same server."""
    return replace(target, prefix=f"test-{uuid4().hex[:12]}-")


@pytest.fixture
def copy(server: Server, target: Target) -> Iterator[Target]:
    """Another target on the same server, to restore into."""
    other = elsewhere(target)
    yield other
    for name in get_model(other.model.name).databases:
        server.database(other.database(name)).delete()
