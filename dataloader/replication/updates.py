"""Update outdated documents by compare-and-swap, keeping concurrent edits."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import orjson

from dataloader.common import Document, rank
from dataloader.couch import Database, Rejection
from dataloader.replication.conflicts import ROUNDS, repair, superseded
from dataloader.replication.pipeline import chunks
from dataloader.replication.states import Finding, KindRules, Outcome, State, judge
from dataloader.replication.writes import Written, write_over


class Updated(NamedTuple):
    """The result of an update."""

    outcomes: list[Outcome]
    """One outcome for each finding, in order."""
    rejections: list[Rejection]
    """Why documents failed."""
    written: int
    """The number of written revisions, including deletions."""


def update(
    database: Database,
    findings: Sequence[Finding],
    get_rules: Callable[[], KindRules],
    replaced: Collection[State],
) -> Updated:
    """Replace documents by those to be loaded, unless somebody else writes them meanwhile.

    Args:
        database: the database.
        findings: the documents, in states of ``replaced``, with their leaves.
        get_rules: returns the rules, which change if another load records a version meanwhile.
        replaced: the states in which a document is replaced; documents found in other states are kept.

    Returns:
        The result for each document.

    Raises:
        ProtocolError: a reply does not cover each document exactly once.
        DataloaderError: the server failed after the last retry, or refused.
    """
    size = CLUSTER_BATCH if database.copies > 1 else len(findings)
    parts = [_update(database, some, get_rules, replaced) for some in chunks(findings, size)]
    return Updated(
        [outcome for part in parts for outcome in part.outcomes],
        [rejection for part in parts for rejection in part.rejections],
        sum(part.written for part in parts),
    )


CLUSTER_BATCH = 25
"""Documents to update at once if they have copies.

Each batch is finished before the next begins: an owner whose edit met the update on another copy may be shown the
update until it is deleted again, and edit that, too.
"""


def _update(
    database: Database, findings: Sequence[Finding], get_rules: Callable[[], KindRules], replaced: Collection[State]
) -> Updated:
    found = list(findings)
    outcomes = [Outcome.UPDATED] * len(found)
    rejections: list[Rejection] = []
    total = 0
    left = list(range(len(found)))
    for _ in range(ROUNDS):
        for at in left:
            outcomes[at] = Outcome.UPDATED
        written = write_over(database, [edit for at in left for edit in _edits(found[at])])
        total += sum(bool(each.rev) for each in written)
        doubtful = {each.document["_id"]: each for each in written if not each.is_plain}
        again = [at for at in left if found[at].document.id in doubtful]
        if not again:
            break
        judged, deleted = _see(database, [found[at] for at in again], doubtful, get_rules())
        total += deleted
        left = []
        for at, finding in zip(again, judged, strict=True):
            found[at] = finding
            reply = doubtful[finding.document.id]
            outcomes[at] = Outcome.UPDATED if finding.state is State.UNCHANGED else outcome_of(finding.state)
            if finding.state in replaced and (reply.is_conflict or reply.rev):
                # Another load with other input was faster.
                left.append(at)
            elif finding.state in replaced or finding.state is State.ABSENT:
                outcomes[at] = Outcome.FAILED
                rejections.append(Rejection(finding.document.id, reply.reason))
        if not left:
            break
    return Updated(outcomes, rejections, total)


def outcome_of(state: State) -> Outcome:
    """Return the outcome of a document that a load left in a state."""
    if state is State.ABSENT:
        # Purged, or its database was recreated, since it was read.
        return Outcome.FAILED
    # What could not be repaired is reported as what it looks like.
    return Outcome.CONFLICT if state is State.LEFTOVER else Outcome(state)


def _edits(finding: Finding) -> list[Document]:
    """Return the writes that replace a document's leaves by the new content."""
    document: Document = orjson.loads(finding.document.body)
    live = finding.live
    if not live:
        # Without ``_rev``: CouchDB accepts a new revision of a deleted document only like this.
        return [document]
    shown = max(live, key=rank)
    return [{**document, "_rev": shown["_rev"]}, *(superseded(leaf) for leaf in live if leaf is not shown)]


def _see(
    database: Database, findings: Sequence[Finding], replies: dict[str, Written], rules: KindRules
) -> tuple[list[Finding], int]:
    """Classify documents again by the leaves in the reply, and resolve conflicts if necessary."""
    judged = [judge(database, finding.document, replies[finding.document.id].leaves, rules) for finding in findings]
    return repair(database, judged, rules)
