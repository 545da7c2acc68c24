"""What is the matter with a document on the server: one question for a whole batch.

``_revs_diff`` is asked about our revision and one that can't exist, to which CouchDB answers with the
document's leaves (https://docs.couchdb.org/en/3.5.0/api/database/misc.html#post--db-_revs_diff). Only the
few documents that this leaves open are fetched. PouchDB Server does not name leaves; it is asked for the
documents themselves.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from dataloader.common import (
    Document,
    Prepared,
    certifies_itself,
    content,
    content_hash,
    history,
    is_valid,
)
from dataloader.couch import Database


class State(StrEnum):
    """What a document on the server is, seen from the one that is to be loaded."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"
    EDITED = "edited"
    """Changed by somebody since a loader wrote it."""
    DELETED = "deleted"
    OUTDATED = "outdated"
    """What a loader wrote, untouched, from other input."""
    FOREIGN = "foreign"
    """Not written by a loader."""
    CONFLICTED = "conflicted"
    """Several versions stand side by side."""


class Finding(NamedTuple):
    """The state of one document."""

    document: Prepared
    state: State
    leaves: tuple[Document, ...] = ()
    """The leaves, where they had to be fetched: whole documents with ``_rev`` and ``_revisions``."""

    @property
    def live(self) -> list[Document]:
        """The leaves that are not deletions."""
        return [leaf for leaf in self.leaves if not leaf.get("_deleted")]


def classify(database: Database, batch: Sequence[Prepared], schema: str, *, names_leaves: bool) -> list[Finding]:
    """Find the state of each document of a batch.

    Args:
        database: where.
        batch: the documents, as they would be loaded; each ``_id`` once.
        schema: the name of the schema that they follow.
        names_leaves: whether the server's ``_revs_diff`` names leaves.

    Returns:
        A finding a document, in the order of the batch.
    """
    known = _ask_revisions(database, batch) if names_leaves else _ask_documents(database, batch)
    leaves = database.leaves([document.id for document, state in zip(batch, known, strict=True) if state is None])
    return [
        Finding(document, state)
        if state is not None
        else judge(database, document, leaves.get(document.id, []), schema)
        for document, state in zip(batch, known, strict=True)
    ]


def _ask_revisions(database: Database, batch: Sequence[Prepared]) -> list[State | None]:
    reply = database.revs_diff({document.id: document.rev for document in batch})
    states: list[State | None] = []
    for document in batch:
        answer = reply[document.id]
        leaves = answer["possible_ancestors"]
        if not leaves and document.rev in answer["missing"]:
            # In a cluster one copy answers, and it may be behind; documents are read from most of the copies.
            states.append(None if database.has_copies else State.ABSENT)
        elif len(leaves) == 1 and leaves[0].partition("-")[2] == document.hash:
            # Of any generation: an update writes the same content as a child.
            states.append(State.UNCHANGED)
        else:
            states.append(None)
    return states


def _ask_documents(database: Database, batch: Sequence[Prepared]) -> list[State | None]:
    states: list[State | None] = []
    for document, row in zip(batch, database.all_docs([document.id for document in batch]), strict=True):
        stored = row.get("doc") or {}
        if "error" in row:
            states.append(State.ABSENT)
        elif stored.get("_rev", "").partition("-")[2] == document.hash and not stored.get("_conflicts"):
            states.append(State.UNCHANGED)
        else:
            states.append(None)
    return states


def judge(database: Database, document: Prepared, leaves: list[Document], schema: str) -> Finding:
    """Find the state of one document from all its leaves."""
    return Finding(document, _judge(database, document, leaves, schema), tuple(leaves))


def _judge(  # noqa: PLR0911 - a decision table, a line a return
    database: Database, document: Prepared, leaves: list[Document], schema: str
) -> State:
    live = [leaf for leaf in leaves if not leaf.get("_deleted")]
    if not leaves:
        return State.ABSENT
    if not live:
        return State.DELETED
    if len(live) > 1:
        return State.CONFLICTED
    [leaf] = live
    if content_hash(leaf) == document.hash:
        return State.UNCHANGED
    if certifies_itself(leaf):
        return State.OUTDATED
    past = history(leaf)
    if document.rev in past or _descends_from_ours(database, leaf, past, schema):
        return State.EDITED
    return State.FOREIGN


def _descends_from_ours(database: Database, leaf: Document, past: list[str], schema: str) -> bool:
    """Tell whether a document began as an earlier load's, of other content than this one's.

    Its first revision tells, as long as the server has it. Once compaction has taken that away, a
    changed document that still has the form of ours is taken for one: nobody else writes under these IDs.
    """
    root = past[-1]
    if len(past) == 1:
        return False
    first = database.revision(leaf["_id"], root) if root.startswith("1-") else None
    if first is None:
        return is_valid(schema)(content(leaf))
    return certifies_itself(first)
