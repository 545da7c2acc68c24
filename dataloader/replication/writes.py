"""Compare-and-swap: changing documents that exist, so that no acknowledged edit is lost.

A document that exists is changed only by an ordinary write on top of the revision that was read, which the server
refuses where somebody was quicker. In a cluster each copy compares for itself, so two writers that meet on different
copies can both be accepted and leave two leaves. Written with ``w`` = the number of copies, a document that the reply
calls written is on every copy, and nobody else's write can have been taken beside it. All others are read at once,
with all leaves, from all copies (https://docs.couchdb.org/en/3.5.0/api/database/bulk-api.html#db-bulk-docs).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dataloader.common import Document, content_hash, rank
from dataloader.couch import Database
from dataloader.replication.pipeline import chunks


@dataclass(frozen=True, slots=True)
class Written:
    """What came of one ordinary write.

    Exactly one of these holds:

    - ``is_plain``: it is on every copy, and no other write was taken beside it;
    - it is not plain: ``reason`` says what the server answered, and ``leaves`` what is stored now. The write may
      still be there: alone (a copy was away, or a repeated request met its own first try; see ``own``), or beside
      another leaf. The caller decides from the leaves what to do.
    """

    document: Document
    """What was to be written."""
    rev: str = ""
    """The revision that the server gave it, whether on all copies or on fewer; empty where it gave none."""
    reason: str = ""
    """Empty where it is plain; else ``accepted`` (on too few copies), ``conflict``, or another error and its reason."""
    leaves: tuple[Document, ...] = ()
    """Where it is not plain: every leaf on every copy that could be read, with ``_rev`` and ``_revisions``."""

    @property
    def is_plain(self) -> bool:
        """Whether it is on every copy, and nothing else was written beside it."""
        return not self.reason

    @property
    def is_conflict(self) -> bool:
        """Whether the server refused it because the document has another revision by now."""
        return self.reason == "conflict"

    @property
    def own(self) -> Document | None:
        """The leaf that this write left, None where there is none: refused, or already superseded by somebody.

        Equal content on top of the same revision counts as its own, for CouchDB gives both the same revision.
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
    """Write documents on top of the revisions that they carry, to all copies, and read at once what is in doubt.

    Safe to repeat, as the client does where a reply is lost: a write that is already there is refused as a
    conflict, and found among the leaves.

    Args:
        database: where.
        documents: whole documents, deletions included, with the ``_rev`` that each replaces (none where there is no
            document, or only a deleted one). Several may have the same ``_id``, to replace several leaves of it;
            these go in requests one after the other.

    Returns:
        What came of each, in the order of ``documents``. Nothing is decided here: a caller sees for itself whether
        what somebody else wrote wins.

    Raises:
        ProtocolError: a reply does not answer for each document exactly once; nothing is known of these writes.
        DataloaderError: the server failed after the last retry, or refused.
    """
    found: list[Written | None] = [None] * len(documents)
    left = list(range(len(documents)))
    while left:
        turn: dict[str, int] = {}
        for at in left:
            turn.setdefault(documents[at]["_id"], at)
        left = [at for at in left if turn[documents[at]["_id"]] != at]
        for some in chunks(turn.values(), CLUSTER_BATCH if database.copies > 1 else len(documents)):
            for at, written in zip(some, _write(database, [documents[at] for at in some]), strict=True):
                found[at] = written
    return [each for each in found if each is not None]


CLUSTER_BATCH = 100
"""Documents a request where documents have copies: what is in doubt is read the sooner, before anybody builds on it."""


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
