"""Replace views without delay: the new index is built first, so that cards keep working.

An index depends on the text of the views, not on the design document's name, in CouchDB
(https://docs.couchdb.org/en/3.5.0/api/ddoc/common.html#get--db-_design-ddoc-_info, ``signature``) and PouchDB. So the
new version is first written and queried under another name; when it replaces the old one, its index already exists. If
a run is killed in between, the next one removes the staged copy.
"""

from collections.abc import Sequence

import orjson

from dataloader.common import Document, OnProgress, Prepared, certifies_itself, live_leaves, prepare, rank
from dataloader.couch import Database, Server
from dataloader.records.models import Model
from dataloader.replication.conflicts import superseded
from dataloader.replication.indexes import build_index
from dataloader.replication.writes import write_over

STAGED_SUFFIX = "-next"
"""The suffix of a design document's name while its index is being built."""
_STAGED = {"dataloader": "staged"}
"""Marks the copy, so that any load recognizes it; an index does not depend on it."""


def stage(
    server: Server, model: Model, database: Database, designs: Sequence[Prepared], on_progress: OnProgress | None
) -> int:
    """Build the indexes of design documents that are about to replace others.

    Args:
        server: the server.
        model: the document model.
        database: the database.
        designs: the new design documents.
        on_progress: called with the progress of an index.

    Returns:
        The number of written documents; :func:`unstage` removes them.
    """
    copies: list[Document] = [
        {**orjson.loads(each.body), "_id": f"{each.id}{STAGED_SUFFIX}", **_STAGED} for each in designs
    ]
    leaves = database.leaves([copy["_id"] for copy in copies])
    written = 0
    for copy in copies:
        written += _put(database, copy, leaves[copy["_id"]])
        build_index(server, model, database, copy, on_progress)
    return written


def unstage(database: Database, ids: Sequence[str]) -> int:
    """Remove staged design documents, of this run or of a killed one.

    Args:
        database: the database.
        ids: the design documents.

    Returns:
        The number of deleted documents.
    """
    leaves = database.leaves([f"{doc_id}{STAGED_SUFFIX}" for doc_id in ids])
    ours = [leaf for found in leaves.values() for leaf in found if _is_staged(leaf)]
    # A copy that somebody else has changed is not ours any more; a deleted one is gone.
    return sum(bool(each.rev) for each in write_over(database, [superseded(leaf) for leaf in ours])) if ours else 0


def _put(database: Database, copy: Document, leaves: Sequence[Document]) -> int:
    """Write a copy, unless it already exists or the name is taken; return how many were written."""
    live = live_leaves(leaves)
    if any(leaf.get("views") == copy["views"] or not _is_staged(leaf) for leaf in live):
        return 0
    if not leaves:
        return 1 - len(database.write([prepare(copy).write()]))
    revision = {"_rev": max(live, key=rank)["_rev"]} if live else {}
    # Another run may stage the same copy: it does not matter whose it is.
    [written] = write_over(database, [{**copy, **revision}])
    return bool(written.rev)


def _is_staged(leaf: Document) -> bool:
    """Return whether a load wrote a leaf; earlier versions of this tool gave it a revision that proves itself."""
    return not leaf.get("_deleted") and (leaf.get("dataloader") == _STAGED["dataloader"] or certifies_itself(leaf))
