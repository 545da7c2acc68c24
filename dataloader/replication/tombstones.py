"""Revoked documents: what is written in the place of one, and how that is turned back.

A kind of document that its model marks is changed like any other. One that is deleted leaves a tombstone that
keeps the document whole: CouchDB takes a deletion with content (``"_deleted": true`` beside other members,
https://docs.couchdb.org/en/3.5.0/api/document/common.html#delete--db-docid), and keeps it through compaction.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataloader.common import Document, history, is_valid, prepare, rank
from dataloader.records.models import Marking

SCHEMA = "common/tombstone"
MAX_REASON = 500
"""Characters of a reason."""

GetRevision = Callable[[str, str], Document | None]
"""Fetches a document's revision by ``_id`` and revision, None where the server no longer has it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be written to one document."""

    edits: list[Document] = field(default_factory=list)
    """Children of what is there, as a person writes them."""
    made: list[bytes] = field(default_factory=list)
    """Revisions made up for a document that is not there yet."""
    foreign: bool = False
    """Whether something of another type stands in its place, which is left alone."""


def revoked(wanted: Document, marking: Marking | None, leaves: Sequence[Document], reason: str, time: str) -> Change:
    """Return what revokes a document: every version of it, so that none comes back to life.

    Of several versions of a document that is marked, the one that the servers show is, and the others are deleted.

    Args:
        wanted: the document that the batch makes, without ``_rev``.
        marking: how the model marks it; None where it is deleted.
        leaves: its leaves on the server, whole, with ``_rev`` and ``_revisions``.
        reason: why.
        time: when, ISO 8601 in UTC with milliseconds and Z.
    """
    if not leaves:
        return Change(made=[_barred(wanted, marking, reason, time)])
    live = [leaf for leaf in leaves if not leaf.get("_deleted")]
    ours = [leaf for leaf in live if _is_of_type(leaf, wanted)]
    shown = max(ours, key=rank) if marking and ours else None
    edits = [_tombstone(leaf, reason, time) for leaf in ours if leaf is not shown]
    if marking and shown and not marking.is_marked(shown):
        edits.append({**marking.mark(_plain(shown), reason, time), "_rev": shown["_rev"]})
    return Change(edits, foreign=len(ours) < len(live))


def restored(
    wanted: Document, marking: Marking | None, leaves: Sequence[Document], get_revision: GetRevision, time: str
) -> Change:
    """Return what brings a revoked document back with everything it had; nothing for one that is not revoked.

    Args:
        wanted: the document that the batch makes, without ``_rev``.
        marking: how the model marks it; None where it is deleted.
        leaves: its leaves on the server, whole, with ``_rev`` and ``_revisions``.
        get_revision: asks for what it was before.
        time: the present, ISO 8601 in UTC with milliseconds and Z.
    """
    live = [leaf for leaf in leaves if not leaf.get("_deleted")]
    if live:
        marked = [leaf for leaf in live if marking and _is_of_type(leaf, wanted) and marking.is_marked(leaf)]
        earlier = {leaf["_rev"]: [*_earlier(leaf, get_revision), wanted] for leaf in marked}
        edits = [{**_unmarked(leaf, marking, earlier[leaf["_rev"]], time), "_rev": leaf["_rev"]} for leaf in marked]
        return Change(edits)
    if not leaves:
        return Change()
    leaf, document = _what_it_was(wanted, leaves, get_revision)
    document = _unmarked(document, marking, [wanted], time)
    if leaf is max(leaves, key=rank):
        # Without ``_rev``: CouchDB takes a new version of a deleted document only so, and only while it is deleted.
        return Change([document])
    # It would put that on top of the highest deletion, and what that keeps would be lost.
    return Change(made=[_made(document, history(leaf))])


def _plain(stored: Document) -> Document:
    """Return what a stored document says, as it is, without what is the database's."""
    return {name: value for name, value in stored.items() if name == "_id" or not name.startswith("_")}


def _is_of_type(document: Any, wanted: Document) -> bool:
    return isinstance(document, dict) and document.get("type") == wanted.get("type")


def _tombstone(leaf: Document, reason: str, time: str) -> Document:
    """Return the deletion of a leaf, which keeps it."""
    return {**_empty_tombstone(leaf["_id"], reason, time), "_rev": leaf["_rev"], "document": _plain(leaf)}


def _empty_tombstone(doc_id: str, reason: str, time: str) -> Document:
    return {"_id": doc_id, "_deleted": True, "revokedReason": reason, "timestampRevoked": time}


def _barred(wanted: Document, marking: Marking | None, reason: str, time: str) -> bytes:
    """Return what revokes a document that is not there yet.

    It is the child of the revision that a load gives the document. So a load, now or later, writes what the
    server takes for known, and changed since.
    """
    document = marking.mark(wanted, reason, time) if marking else _empty_tombstone(wanted["_id"], reason, time)
    return _made(document, [prepare(wanted).rev])


def _made(document: Document, ancestors: list[str]) -> bytes:
    """Return a document as the child of a revision, the same whoever makes it.

    Its own revision must not prove itself: it would be an earlier load's, and ``load --update`` would replace it.
    """
    unlike = prepare({"_id": document["_id"], "document": document, "parent": ancestors[0]})
    return prepare(document)._replace(hash=unlike.hash).write_child(ancestors)[1]


def _unmarked(document: Document, marking: Marking | None, earlier: Iterable[Document], time: str) -> Document:
    """Return a document without its mark: one of the earlier ones where it differs from that by the mark only."""
    plain = _plain(document)
    if marking is None or not marking.is_marked(plain):
        return plain
    unmarked = marking.unmark(plain, time)
    for each in map(_plain, earlier):
        if not marking.is_marked(each) and marking.unmark(each, time) == unmarked:
            return each
    return unmarked


def _what_it_was(wanted: Document, leaves: Sequence[Document], get_revision: GetRevision) -> tuple[Document, Document]:
    """Return a deletion, and the document as the servers last showed it before; as minted, if nobody knows better."""
    # Of several versions the servers show the one with the highest revision: that was the deletion's parent.
    for leaf in sorted(leaves, key=_parents_rank, reverse=True):
        document = _kept(leaf)
        for found in [document] if _is_of_type(document, wanted) else _earlier(leaf, get_revision):
            if _is_of_type(found, wanted) and found.get("_id") == wanted["_id"]:
                return leaf, found
    return max(leaves, key=rank), wanted


def _kept(leaf: Document) -> Document:
    """Return the document that a deletion keeps, or else what the deletion itself says."""
    plain = _plain(leaf)
    if "document" in plain and is_valid(SCHEMA)({**plain, "_deleted": True}):
        kept: Document = plain["document"]
        return kept
    return plain


def _parents_rank(leaf: Document) -> tuple[int, str]:
    past = history(leaf)
    return rank({"_rev": past[1]}) if len(past) > 1 else (0, "")


def _earlier(leaf: Document, get_revision: GetRevision) -> list[Document]:
    """Return the revision before a leaf, unless the server no longer has it, or it is a deletion."""
    past = history(leaf)
    found = get_revision(leaf["_id"], past[1]) if len(past) > 1 else None
    return [] if found is None or found.get("_deleted") else [found]
