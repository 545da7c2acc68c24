"""Conflicts: resolving those that loads made, so that what a person wrote is what the servers show.

A load that is killed, a node that is cut off, or replication between clusters can leave a load's own leaf beside a
person's. Any later load repairs that by the same rules, in whatever order they meet; see :func:`must_go`.
"""

from collections.abc import Sequence

import orjson

from dataloader.common import Document
from dataloader.couch import Database
from dataloader.replication.states import SUPERSEDED, Finding, KindRules, State, judge, must_go
from dataloader.replication.writes import write_over

ROUNDS = 5
"""How often a document is read and written before it is given up, where others go on changing it."""


def repair(database: Database, findings: Sequence[Finding], rules: KindRules) -> tuple[list[Finding], int]:
    """Delete the leaves that loads left beside a person's leaf or deletion, or beside each other.

    A document whose leaves loads have deleted, all of them, and no person any, is written again.

    Args:
        database: where.
        findings: documents in state ``LEFTOVER``, with their leaves; others are returned as they are.
        rules: how they are judged.

    Returns:
        The findings after that, in their order, and how many leaves were deleted or written. A document is still
        ``LEFTOVER`` if the server refused the deletion, or if others kept changing it.
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
        # Beside the leaves that go, others may have come by now.
        leaves = database.leaves([found[at].document.id for at in left], all_copies=True)
        for at in left:
            found[at] = judge(database, found[at].document, leaves[found[at].document.id], rules)
        if not any(each.is_plain or each.is_conflict or each.rev for each in written):
            break
    return found, repaired


def _edits(finding: Finding, rules: KindRules) -> list[Document]:
    if finding.live:
        return [superseded(leaf) for leaf in must_go(finding.document, finding.leaves, rules)]
    # Without ``_rev``: CouchDB takes a new revision of a deleted document only so.
    return [orjson.loads(finding.document.body)]


def superseded(leaf: Document) -> Document:
    """Return the deletion of a load's own leaf, which says that it is no person's."""
    return {"_id": leaf["_id"], "_rev": leaf["_rev"], "_deleted": True, **SUPERSEDED}
