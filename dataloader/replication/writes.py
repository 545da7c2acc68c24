"""Compare-and-swap: change existing documents without losing acknowledged edits.

An existing document is changed only by an ordinary write as the child of the revision that was read, which the server
rejects if somebody else was faster. In a cluster each copy compares by itself, so two clients writing to different
copies can both be accepted and create a conflict. If written with ``w`` = the number of copies, a document that the
reply reports as written is on every copy, and no other write was accepted in conflict with it. All others are read back
at once, with all leaves, from all copies (https://docs.couchdb.org/en/3.5.0/api/database/bulk-api.html#db-bulk-docs).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dataloader.common import Document, content_hash, rank
from dataloader.couch import Database


@dataclass(frozen=True, slots=True)
class Written:
    """The result of one ordinary write.

    Exactly one of these holds:

    - ``is_plain``: it is on every copy, and no other write is in conflict with it;
    - it is not plain: ``reason`` is the server's answer, and ``leaves`` what is stored now. The write may still be
    there: alone (a node was down, or a retry collided with the first attempt; see ``own``), or in conflict with another
    leaf. The caller decides from the leaves what to do.
    """

    document: Document
    """The document that was sent."""
    rev: str = ""
    """The revision returned by the server, whether for all copies or fewer; empty if there was none."""
    reason: str = ""
    """Empty if plain; else ``accepted`` (on too few copies), ``conflict``, or another error with its reason."""
    leaves: tuple[Document, ...] = ()
    """If not plain: every leaf on every copy that could be read, with ``_rev`` and ``_revisions``."""

    @property
    def is_plain(self) -> bool:
        """Whether it is on every copy, and no other write is in conflict with it."""
        return not self.reason

    @property
    def is_conflict(self) -> bool:
        """Whether the server rejected it because the document has been changed since."""
        return self.reason == "conflict"

    @property
    def own(self) -> Document | None:
        """The leaf created by this write; None if there is none: rejected, or already replaced.

        Equal content on top of the same revision counts as its own, since CouchDB gives both the same revision.
        """
        if self.rev:
            return next((leaf for leaf in self.leaves if leaf["_rev"] == self.rev), None)
        written = content_hash(self.document)
        parent = self.document.get("_rev")
        for leaf in self.leaves:
            is_child = parent is None or rank(leaf)[0] == rank(self.document)[0] + 1
            if is_child and content_hash(leaf) == written:
                return leaf
        return None


def write_over(database: Database, documents: Sequence[Document]) -> list[Written]:
    """Write documents as children of their ``_rev`` to all copies, and read back at once what is in doubt.

    Safe to retry after a lost reply: a write that already exists is rejected as a conflict, and found among the leaves.

    Args:
        database: the database.
        documents: whole documents, including deletions, with the ``_rev`` that each replaces (none if there is no
            document, or only a deleted one). Several may have the same ``_id``, to replace several of its leaves; these
            are sent in separate requests, one after the other.

    Returns:
        The result of each, in the order of ``documents``. Nothing is decided here: the caller decides whether other
        writes win.

    Raises:
        ProtocolError: a reply does not cover each document exactly once; nothing is known about these writes.
        DataloaderError: the server failed after the last retry, or refused.
    """
    found: list[Written | None] = [None] * len(documents)
    left = list(range(len(documents)))
    while left:
        turn: dict[str, int] = {}
        for at in left:
            turn.setdefault(documents[at]["_id"], at)
        left = [at for at in left if turn[documents[at]["_id"]] != at]
        for at, written in zip(turn.values(), _write(database, [documents[at] for at in turn.values()]), strict=True):
            found[at] = written
    return [each for each in found if each is not None]


def _write(database: Database, documents: Sequence[Document]) -> list[Written]:
    replies = database.swap(documents)
    in_doubt = [document["_id"] for document, reply in zip(documents, replies, strict=True) if not reply.is_on_all]
    leaves = database.leaves(in_doubt, all_copies=True)
    found = []
    for document, reply in zip(documents, replies, strict=True):
        if reply.is_on_all:
            found.append(Written(document, reply.rev))
            continue
        if reply.rev:
            reason = "accepted"
        else:
            reason = "conflict" if reply.error == "conflict" else f"{reply.error}: {reply.reason}"
        found.append(Written(document, reply.rev, reason, tuple(leaves[document["_id"]])))
    return found
