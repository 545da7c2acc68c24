"""Revoked documents: the changes that revoke a document, and those that undo it.

A kind that its model marks is changed like any other document. A deleted one leaves a tombstone that contains the whole
document: CouchDB accepts a deletion with content (``"_deleted": true`` with other members,
https://docs.couchdb.org/en/3.5.0/api/document/common.html#delete--db-docid), and keeps it through compaction, as long
as nothing is written on top of it.
"""

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dataloader.common import Document, content_hash, history, is_valid, live_leaves, prepare, rank
from dataloader.records.models import Marking
from dataloader.replication.states import SUPERSEDED

SCHEMA = "common/tombstone"
MAX_REASON = 500
"""The longest reason in characters."""

MAX_INLINE = 1_000_000
"""The most bytes of a document's attachments to put into its tombstone, which must not become too large to write.

More stay attachments of the tombstone, as CouchDB allows (https://docs.couchdb.org/en/3.5.0/api/document/common.html,
"Attachments": a stub keeps what is stored). PouchDB drops the attachments of a deletion.
"""

GetRevision = Callable[[str, str], Document | None]
"""Fetches a revision of a document by ``_id`` and revision; None if the server no longer has it."""

Kept = Mapping[str, Document]
"""Other documents of the card in a tombstone, by kind."""


@dataclass(frozen=True, slots=True)
class Change:
    """The writes for one document."""

    edits: list[Document] = field(default_factory=list)
    """Children of existing revisions, in ordinary writes."""
    made: list[bytes] = field(default_factory=list)
    """Computed revisions for a document that has none, or only deleted ones."""
    foreign: bool = False
    """Whether a document of another type has its ID; that is not changed."""
    failed: str = ""
    """Why the card can't be processed."""
    note: str = ""
    """What to report about it."""

    @property
    def is_none(self) -> bool:
        """Whether there is nothing to write."""
        return not self.edits and not self.made


@dataclass(frozen=True, slots=True)
class Revocation:
    """Why and when cards are revoked."""

    reason: str
    time: str
    """ISO 8601 in UTC with milliseconds and Z."""


def revoked(
    wanted: Document,
    marking: Marking | None,
    leaves: Sequence[Document],
    revocation: Revocation,
    kept: Kept | None = None,
) -> Change:
    """Return the writes that revoke a document, including every leaf, so that none becomes the winner.

    Of several leaves of a document to be marked, the winner is marked and the others are deleted.

    Args:
        wanted: the document of the batch, without ``_rev``.
        marking: how the model marks it; None if it is deleted.
        leaves: its leaves on the server, complete with ``_rev`` and ``_revisions``; those to be deleted include the
            data of attachments.
        revocation: the reason and time.
        kept: other documents of the card to keep in the tombstone.
    """
    kept = kept or {}
    if not leaves:
        return Change(made=[_barred(wanted, marking, revocation, kept)])
    live = live_leaves(leaves)
    ours = [leaf for leaf in live if _is_of_type(leaf, wanted)]
    shown = max(ours, key=rank) if marking and ours else None
    edits = [_tombstone(leaf, revocation, kept) for leaf in ours if leaf is not shown]
    if marking and shown and not marking.stops(shown):
        edits.append({**marking.mark(_stored(shown), revocation.reason, revocation.time), "_rev": shown["_rev"]})
    made = [] if live or marking else _completed(leaves, revocation, kept)
    return Change(edits, made, foreign=len(ours) < len(live))


def restored(
    wanted: Document,
    marking: Marking | None,
    leaves: Sequence[Document],
    get_revision: GetRevision,
    time: str,
) -> Change:
    """Return the writes that restore a revoked document with everything it had; none if it is not revoked.

    Tombstones in conflict with a live leaf are replaced: otherwise a load would delete what was restored. If a deletion
    is restored, the others are replaced when its leaves are read again.

    Args:
        wanted: the document of the batch, without ``_rev``.
        marking: how the model marks it; None if it is deleted.
        leaves: its leaves on the server, complete with ``_rev`` and ``_revisions``.
        get_revision: fetches earlier revisions.
        time: the current time, ISO 8601 in UTC with milliseconds and Z.
    """
    live = live_leaves(leaves)
    if live:
        marked = [leaf for leaf in live if marking and _is_of_type(leaf, wanted) and marking.is_marked(leaf)]
        earlier = {leaf["_rev"]: [*_earlier(leaf, get_revision), wanted] for leaf in marked}
        edits = [{**_unmarked(leaf, marking, earlier[leaf["_rev"]], time), "_rev": leaf["_rev"]} for leaf in marked]
        return Change(edits, _lifted(leaves) if any(_is_of_type(leaf, wanted) for leaf in live) else [])
    if not leaves:
        return Change()
    leaf, document = _what_it_was(wanted, leaves, get_revision)
    return _over(leaf, leaves, _unmarked(_inline(document), marking, [wanted], time))


def restored_set(wanted: Document | None, leaves: Sequence[Document], kept: Document | None) -> Change:
    """Return the writes that restore the preference set of a revoked card; tombstones are replaced as by ``restored``.

    A set or deletion that a user has written while the card was revoked is kept. An edited set from before the
    revocation is then kept in conflict with it: anyone can write the one, and only the owner can tell which is right.

    Args:
        wanted: the document of the batch, without ``_rev``; None if unknown.
        leaves: its leaves on the server, complete with ``_rev`` and ``_revisions``.
        kept: the document as kept in another tombstone of the card, None if there is none.
    """
    live = live_leaves(leaves)
    tombstones = [leaf for leaf in leaves if is_revocation(leaf)]
    own = kept_document(tombstones)
    if live:
        shown = max(live, key=rank)
        before = own or kept
        theirs = before is not None and not _is_same(shown, before)
        note = "its preference set was written while the card was revoked, and is kept" if theirs else ""
        beside = _beside(kept, shown, leaves, wanted)
        return Change(made=[*_lifted(leaves), *beside], note=note + _IN_CONFLICT if theirs and beside else note)
    if not leaves or (not tombstones and kept is None):
        return Change()
    document = own or kept or wanted
    if document is None:
        return Change(failed="its preference set was never loaded; name the folder of its snapset with --snapsets")
    note = ""
    if own is not None and kept is not None and not _is_same(own, kept):
        note = "its preference set was written while the card was revoked; that version is restored"
    leaf = _newest_keeping(tombstones) or max(tombstones or leaves, key=rank)
    note += _IN_CONFLICT if note and _beside(kept, leaf, leaves, wanted) else ""
    change = _over(leaf, leaves, document)
    return Change(change.edits, change.made, note=note)


_IN_CONFLICT = "; the earlier set is kept in conflict with it (run `dataloader merge`)"


def _beside(kept: Document | None, shown: Document, leaves: Sequence[Document], wanted: Document | None) -> list[bytes]:
    """Return the write of the set from before a revocation, if its owner had edited it and it was overwritten since.

    Its generation is lower than that of the other one, which stays the winner.
    """
    others = [
        *live_leaves(leaves),
        *(_kept(leaf) for leaf in leaves if leaf.get("_deleted")),
        *([wanted] if wanted else []),
    ]
    past = history(shown)
    if kept is None or len(past) == 1 or any(_is_same(each, kept) for each in others):
        return []
    return [_made(kept, past[2:] or past[1:])]


def without_content(change: Change) -> Change:
    """Return the same change with tombstones that contain nothing, for a server that finds the others too large."""
    content = {"document", "kept"}
    return replace(
        change, edits=[{key: value for key, value in edit.items() if key not in content} for edit in change.edits]
    )


def attached(stored: Document) -> int:
    """Return the bytes of a document's attachments."""
    found = stored.get("_attachments", {}).values()
    return sum(each["length"] if "length" in each else len(b64decode(each["data"])) for each in found)


def is_revocation(leaf: Document) -> bool:
    """Return whether a deletion is a tombstone of a revocation."""
    return bool(leaf.get("_deleted")) and is_valid(SCHEMA)({**_plain(leaf), "_deleted": True})


def kept_document(leaves: Sequence[Document]) -> Document | None:
    """Return the document in the newest of its tombstones, None if there is none."""
    leaf = _newest_keeping(leaves)
    return None if leaf is None else _document_in(leaf)


def _document_in(leaf: Document) -> Document:
    """Return the document in a tombstone, with the attachments of the tombstone itself if their data is known."""
    kept = _inline(leaf).get("_attachments", {})
    document: Document = leaf["document"]
    return {**document, "_attachments": {**document.get("_attachments", {}), **kept}} if kept else document


def _newest_keeping(leaves: Sequence[Document]) -> Document | None:
    """Return the tombstone of the last winner, None if no tombstone contains its own document."""
    # With another ID, it would be written over that document.
    keeping = [leaf for leaf in leaves if is_revocation(leaf) and leaf.get("document", {}).get("_id") == leaf["_id"]]
    return max(keeping, key=_parents_rank, default=None)


def kept_others(leaves: Sequence[Document]) -> dict[str, Document]:
    """Return the other documents of the card in a document's tombstones, by kind."""
    found: dict[str, Document] = {}
    for leaf in sorted(leaves, key=rank):
        if is_revocation(leaf):
            found |= leaf.get("kept", {})
    return found


def _plain(stored: Document) -> Document:
    """Return the content of a stored document, without the database's members."""
    return {name: value for name, value in stored.items() if name == "_id" or not name.startswith("_")}


def _stored(stored: Document) -> Document:
    """Return the write that keeps a stored document unchanged, including its attachments."""
    attachments = stored.get("_attachments")
    return _plain(stored) | ({"_attachments": attachments} if attachments else {})


def _inline(stored: Document) -> Document:
    """Return a stored document with its attachments ready to be written again, if their data is known."""
    kept = {
        name: {"content_type": each["content_type"], "data": each["data"]}
        for name, each in stored.get("_attachments", {}).items()
        if "data" in each
    }
    return _plain(stored) | ({"_attachments": kept} if kept else {})


def _is_same(stored: Document, kept: Document) -> bool:
    """Return whether a stored document equals a kept one; attachments are compared by name, type and length."""

    def sizes(document: Document) -> dict[str, tuple[str, int]]:
        return {
            name: (each["content_type"], each["length"] if "length" in each else len(b64decode(each["data"])))
            for name, each in document.get("_attachments", {}).items()
        }

    if attached(stored) > MAX_INLINE:
        # These are not in any other copy.
        return content_hash(_plain(stored)) == content_hash(_plain(kept))
    return content_hash(_plain(stored)) == content_hash(_plain(kept)) and sizes(stored) == sizes(kept)


def _is_of_type(document: Any, wanted: Document) -> bool:
    """Return whether a document has the wanted one's type; without a type, its database has only one."""
    return isinstance(document, dict) and wanted.get("type") in {None, document.get("type")}


def _tombstone(leaf: Document, revocation: Revocation, kept: Kept) -> Document:
    """Return the deletion of a leaf, containing the document."""
    empty = _empty_tombstone(leaf["_id"], revocation, kept)
    stubs = {name: each for name, each in leaf.get("_attachments", {}).items() if "data" not in each}
    return {
        **empty,
        "_rev": leaf["_rev"],
        "document": _inline(leaf),
        **({"_attachments": stubs} if stubs else {}),
    }


def _empty_tombstone(doc_id: str, revocation: Revocation, kept: Kept) -> Document:
    tombstone: Document = {
        "_id": doc_id,
        "_deleted": True,
        "revokedReason": revocation.reason,
        "timestampRevoked": revocation.time,
    }
    return {**tombstone, "kept": dict(kept)} if kept else tombstone


def _completed(leaves: Sequence[Document], revocation: Revocation, kept: Kept) -> list[bytes]:
    """Return a tombstone that replaces one that does not contain everything it should."""
    if kept.keys() <= kept_others(leaves).keys():
        return []
    newest = max(leaves, key=rank)
    before = _stored(newest) if is_revocation(newest) else _empty_tombstone(newest["_id"], revocation, {})
    completed = {**before, "_deleted": True, "kept": {**before.get("kept", {}), **kept}}
    # CouchDB rejects an ordinary write of a deletion on top of a deletion.
    return [_made(completed, history(newest))]


def _barred(wanted: Document, marking: Marking | None, revocation: Revocation, kept: Kept) -> bytes:
    """Return the write that revokes a document that does not exist yet.

    It is the child of the revision that a load gives the document. So a later load writes a revision that the server
    already knows, and the document counts as changed since.
    """
    document = (
        marking.mark(wanted, revocation.reason, revocation.time)
        if marking
        else _empty_tombstone(wanted["_id"], revocation, kept)
    )
    return _made(document, [prepare(wanted).rev])


def _over(leaf: Document, leaves: Sequence[Document], document: Document) -> Change:
    """Return the write that restores a document in place of one of its deletions."""
    if leaf is max(leaves, key=rank):
        # Without ``_rev``: CouchDB accepts a new version of a deleted document only like this, while it is deleted.
        return Change([document])
    # CouchDB would put that on top of the highest deletion, whose content would be lost.
    return Change(made=[_made(document, history(leaf))])


def _lifted(leaves: Iterable[Document]) -> list[bytes]:
    """Return replacements of tombstones that no longer revoke their document; they keep the same content."""
    lifted = [
        ({**_plain(leaf), "_deleted": True, **SUPERSEDED}, history(leaf)) for leaf in leaves if is_revocation(leaf)
    ]
    # CouchDB rejects an ordinary write of a deletion on top of a deletion.
    return [_made(document, ancestors) for document, ancestors in lifted]


def _made(document: Document, ancestors: list[str]) -> bytes:
    """Return a document as the child of a revision; deterministic, so that two runs write the same.

    Its own revision must not prove itself: otherwise ``load --update`` would replace it as an earlier load's.
    """
    unlike = prepare({"_id": document["_id"], "document": document, "parent": ancestors[0]})
    return prepare(document)._replace(hash=unlike.hash).write_child(ancestors)[1]


def _unmarked(document: Document, marking: Marking | None, earlier: Iterable[Document], time: str) -> Document:
    """Return a document without its mark: an earlier revision if it differs only by the mark."""
    plain = _stored(document)
    if marking is None or not marking.is_marked(plain):
        return plain
    unmarked = marking.unmark(plain, time)
    for each in map(_stored, earlier):
        if not marking.is_marked(each) and marking.unmark(each, time) == unmarked:
            return each
    return unmarked


def _what_it_was(wanted: Document, leaves: Sequence[Document], get_revision: GetRevision) -> tuple[Document, Document]:
    """Return a deletion, and the last winner before it; as minted if nothing else is known."""
    # Of several leaves, the one with the highest revision was the winner: it was the deletion's parent.
    for leaf in sorted(leaves, key=_parents_rank, reverse=True):
        document = _kept(leaf)
        for found in [document] if _is_of_type(document, wanted) else _earlier(leaf, get_revision):
            if _is_of_type(found, wanted) and found.get("_id") == wanted["_id"]:
                return leaf, found
    return max(leaves, key=rank), wanted


def _kept(leaf: Document) -> Document:
    """Return the document in a deletion, or the deletion's own content."""
    if "document" in leaf and is_revocation(leaf):
        return _document_in(leaf)
    return _plain(leaf)


def _parents_rank(leaf: Document) -> tuple[int, str]:
    past = history(leaf)
    return rank({"_rev": past[1]}) if len(past) > 1 else (0, "")


def _earlier(leaf: Document, get_revision: GetRevision) -> list[Document]:
    """Return the revision before a leaf; None if the server no longer has it, or it is a deletion."""
    past = history(leaf)
    found = get_revision(leaf["_id"], past[1]) if len(past) > 1 else None
    return [] if found is None or found.get("_deleted") else [found]
