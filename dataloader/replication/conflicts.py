"""Giving way: what a load does where somebody else wrote the same document at the same moment.

Between the question and the write another loader, with other input, or a person may have written it; then two
versions stand side by side. A load looks again, and deletes its own where the other one is a person's.
"""

from collections.abc import Sequence

from dataloader.common import Document, Prepared, certifies_itself, history, prepare, rank
from dataloader.couch import Database
from dataloader.replication.states import Finding, State, classify, judge


def look_again(database: Database, documents: Sequence[Prepared], schema: str, *, names_leaves: bool) -> list[Finding]:
    """Find the states of documents that have just been written, deletions beside them included."""
    if names_leaves:
        return classify(database, documents, schema, names_leaves=True)
    # Asked for documents, PouchDB shows no leaf that is deleted.
    leaves = database.leaves([document.id for document in documents])
    return [judge(database, document, leaves[document.id], schema) for document in documents]


def give_way(
    database: Database, finding: Finding, schema: str, *, names_leaves: bool, new: Sequence[Document] | None = None
) -> tuple[State, int]:
    """Delete the leaves that loaders wrote where they stand beside a person's, and see what is left.

    A person's may be a deletion: a card that was revoked must not come back. Where loaders wrote all
    of them, the one that every server shows is kept. So all loaders that meet here delete the same ones.

    Args:
        database: where.
        finding: the document's state, with the leaves.
        schema: the name of the schema that it follows.
        names_leaves: whether the server's ``_revs_diff`` names leaves.
        new: the leaves that were not there before, if it is known which; an old deletion means nothing.

    Returns:
        The document's state after that, and how many leaves were deleted.
    """
    ours = [leaf for leaf in finding.live if certifies_itself(leaf)]
    if all(map(is_loaders, finding.leaves if new is None else new)):
        ours.remove(max(ours, key=rank))
    if ours:
        database.write([deletion_of(leaf) for leaf in ours])
    [again] = classify(database, [finding.document], schema, names_leaves=names_leaves)
    return again.state, len(ours)


def is_loaders(leaf: Document) -> bool:
    """Tell whether a loader wrote a leaf, be it a document or a deletion."""
    if not leaf.get("_deleted"):
        return certifies_itself(leaf)
    past = history(leaf)
    return len(past) > 1 and past[0].endswith(f"-{_deletion(leaf['_id'], past[1]).hash}")


def _deletion(doc_id: str, parent: str) -> Prepared:
    """Return the deletion of a revision, the same whoever makes it, and another for each revision.

    Servers tell revisions apart by their hashes: of two deletions with one hash, the second would be
    taken for the first, and what it was to delete would stay.
    """
    unlike = prepare({"_id": doc_id, "_deleted": True, "parent": parent})
    return prepare({"_id": doc_id, "_deleted": True})._replace(hash=unlike.hash)


def deletion_of(leaf: Document) -> bytes:
    """Return the deletion of a leaf as it is written."""
    past = history(leaf)
    return _deletion(leaf["_id"], past[0]).write_child(past)[1]
