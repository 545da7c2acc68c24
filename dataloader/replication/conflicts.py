"""Resolve conflicts caused by loads, so that users' edits win.

A killed load, a disconnected node, or replication between clusters can leave a load's leaf in conflict with an edit.
Any later load repairs that by the same rules, in any order; see :func:`must_go`.
"""

from collections.abc import Sequence

import orjson

from dataloader.common import Document
from dataloader.couch import Database
from dataloader.replication.states import SUPERSEDED, Finding, KindRules, State, judge, must_go
from dataloader.replication.writes import write_over

ROUNDS = 5
"""How often to retry a document that others keep changing."""


def repair(database: Database, findings: Sequence[Finding], rules: KindRules) -> tuple[list[Finding], int]:
    """Delete leaves of loads that are in conflict with a user's leaf or deletion, or with each other.

    A document whose leaves were all deleted by loads, and none by a user, is written again.

    Args:
        database: the database.
        findings: documents in state ``LEFTOVER``, with their leaves; others are returned unchanged.
        rules: the rules for their kind.

    Returns:
        The findings afterwards, in the same order, and how many leaves were deleted or written. A document is still
        ``LEFTOVER`` if the server rejected the deletion, or if others kept changing it.
    """
    found = list(findings)
    repaired = 0
    for _ in range(ROUNDS):
        left = [at for at, finding in enumerate(found) if finding.state is State.LEFTOVER]
        edits = [edit for at in left for edit in _edits(found[at], rules)]
        if not edits:
            break
        written = write_over(database, edits)
        repaired += sum(each.is_plain for each in written)
        # New leaves may have appeared in conflict with those to be deleted.
        leaves = database.leaves([found[at].document.id for at in left], all_copies=True)
        for at in left:
            found[at] = judge(database, found[at].document, leaves[found[at].document.id], rules)
        if not any(each.is_plain or each.is_conflict or each.rev for each in written):
            break
    return found, repaired


def _edits(finding: Finding, rules: KindRules) -> list[Document]:
    if finding.live:
        return [superseded(leaf) for leaf in must_go(finding.document, finding.leaves, rules)]
    # Without ``_rev``: CouchDB accepts a new revision of a deleted document only like this.
    return [orjson.loads(finding.document.body)]


def superseded(leaf: Document) -> Document:
    """Return the deletion of a leaf that another one replaces, marked as not a user's."""
    return {"_id": leaf["_id"], "_rev": leaf["_rev"], "_deleted": True, **SUPERSEDED}
