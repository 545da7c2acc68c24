"""Views that take the place of others: their index is built before, so that nobody who taps a card waits for it.

An index belongs to the views' text and not to the design document's name, on CouchDB
(https://docs.couchdb.org/en/3.5.0/api/ddoc/common.html#get--db-_design-ddoc-_info, ``signature``) as on PouchDB. So
the new version is put under a second name first, and asked there; when it takes the first one's place, its index is
there already. A run that is killed in between leaves the second one, and the next run takes it away.
"""

from collections.abc import Sequence

import orjson

from dataloader.common import Document, OnProgress, Prepared, certifies_itself, prepare, rank
from dataloader.couch import Database, Server
from dataloader.replication.conflicts import superseded
from dataloader.replication.indexes import build_index
from dataloader.replication.writes import write_over

STAGED_SUFFIX = "-next"
"""Behind a design document's name, as long as its index is being built."""
_STAGED = {"dataloader": "staged"}
"""What the copy says, so that any load can tell that it is a load's; an index does not depend on it."""


def stage(server: Server, database: Database, designs: Sequence[Prepared], on_progress: OnProgress | None) -> int:
    """Have the indexes of design documents built that are to take the place of others.

    Args:
        server: the server.
        database: where.
        designs: the design documents, as they are going to be.
        on_progress: told how far an index has come.

    Returns:
        How many documents were written; :func:`unstage` takes them away.
    """
    copies: list[Document] = [
        {**orjson.loads(each.body), "_id": f"{each.id}{STAGED_SUFFIX}", **_STAGED} for each in designs
    ]
    leaves = database.leaves([copy["_id"] for copy in copies])
    written = 0
    for copy in copies:
        written += _put(database, copy, leaves[copy["_id"]])
        build_index(server, database, copy, on_progress)
    return written


def unstage(database: Database, ids: Sequence[str]) -> int:
    """Take away what was staged for design documents, by this run or by one that was killed.

    Args:
        database: where.
        ids: the design documents.

    Returns:
        How many documents were deleted.
    """
    leaves = database.leaves([f"{doc_id}{STAGED_SUFFIX}" for doc_id in ids])
    ours = [leaf for found in leaves.values() for leaf in found if _is_staged(leaf)]
    # One that somebody else has changed or deleted meanwhile is not ours any more, or gone already.
    return sum(bool(each.rev) for each in write_over(database, [superseded(leaf) for leaf in ours])) if ours else 0


def _put(database: Database, copy: Document, leaves: Sequence[Document]) -> int:
    """Write a copy, unless it is there already or somebody else has the name; return how many were written."""
    live = [leaf for leaf in leaves if not leaf.get("_deleted")]
    if any(leaf.get("views") == copy["views"] or not _is_staged(leaf) for leaf in live):
        return 0
    if not leaves:
        return 1 - len(database.write([prepare(copy).write()]))
    revision = {"_rev": max(live, key=rank)["_rev"]} if live else {}
    # Another run that stages the same has the same right: whose copy it is does not matter.
    [written] = write_over(database, [{**copy, **revision}])
    return bool(written.rev)


def _is_staged(leaf: Document) -> bool:
    """Return whether a load put a leaf there; earlier versions of this tool gave it a revision that proves itself."""
    return not leaf.get("_deleted") and (leaf.get("dataloader") == _STAGED["dataloader"] or certifies_itself(leaf))
