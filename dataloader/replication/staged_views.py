"""Views that take the place of others: their index is built before, so that nobody who taps a card waits for it.

An index belongs to the views' text and not to the design document's name, on CouchDB
(https://docs.couchdb.org/en/3.5.0/api/ddoc/common.html#get--db-_design-ddoc-_info, ``signature``) as on PouchDB. So
the new version is put under a second name first, and asked there; when it takes the first one's place, its index is
there already. A run that is killed in between leaves the second one, and the next run takes it away.
"""

from collections.abc import Callable, Sequence

import orjson

from dataloader.common import Document, Prepared, certifies_itself, history, prepare, rank
from dataloader.couch import Database, Server
from dataloader.replication.conflicts import deletion_of
from dataloader.replication.indexes import build_index

STAGED_SUFFIX = "-next"
"""Behind a design document's name, as long as its index is being built."""


def stage(
    server: Server, database: Database, designs: Sequence[Prepared], on_progress: Callable[[str, int, int], None]
) -> int:
    """Have the indexes of design documents built that are to take the place of others.

    Args:
        server: the server.
        database: where.
        designs: the design documents, as they are going to be.
        on_progress: told how far an index has come.

    Returns:
        How many documents were written; :func:`unstage` takes them away.
    """
    copies: list[Document] = [{**orjson.loads(each.body), "_id": f"{each.id}{STAGED_SUFFIX}"} for each in designs]
    leaves = database.leaves([copy["_id"] for copy in copies])
    bodies = [body for copy in copies if (body := _body(copy, leaves[copy["_id"]])) is not None]
    written = len(bodies) - len(database.write(bodies)) if bodies else 0
    for copy in copies:
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
    ours = [leaf for found in leaves.values() for leaf in found if certifies_itself(leaf)]
    return len(ours) - len(database.write([deletion_of(leaf) for leaf in ours])) if ours else 0


def _body(copy: Document, leaves: Sequence[Document]) -> bytes | None:
    """Return what has to be written for a copy to be there; None where it is, or where somebody else has the name."""
    live = [leaf for leaf in leaves if not leaf.get("_deleted")]
    if any(leaf.get("views") == copy["views"] or not certifies_itself(leaf) for leaf in live):
        return None
    if not leaves:
        return prepare(copy).write()
    newest = max(live or leaves, key=rank)
    # Servers tell revisions apart by their hashes, so a version that comes back must not have the one that it had.
    return prepare({**copy, "after": newest["_rev"]}).write_child(history(newest))[1]
