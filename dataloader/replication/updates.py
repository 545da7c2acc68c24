"""Updates: replacing outdated documents by compare-and-swap, and giving way to whoever was quicker."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import orjson

from dataloader.common import Document, rank
from dataloader.couch import Database, Rejection
from dataloader.replication.conflicts import ROUNDS, repair, superseded
from dataloader.replication.states import Finding, KindRules, Outcome, State, judge
from dataloader.replication.writes import Written, write_over


class Updated(NamedTuple):
    """What came of an update."""

    outcomes: list[Outcome]
    """One a finding, in their order."""
    rejections: list[Rejection]
    """Why documents failed."""
    written: int
    """How many revisions were written, deletions included."""


def update(
    database: Database,
    findings: Sequence[Finding],
    get_rules: Callable[[], KindRules],
    replaced: Collection[State],
) -> Updated:
    """Replace documents with what is to be loaded, unless somebody else writes them meanwhile.

    Args:
        database: where.
        findings: the documents, each in one of the states in ``replaced``, with its leaves.
        get_rules: asks how documents are judged, which changes where another load brings a version meanwhile.
        replaced: the states in which a document is replaced; what turns out to be in another is kept.

    Returns:
        What came of each.

    Raises:
        ProtocolError: a reply does not answer for each document exactly once.
        DataloaderError: the server failed after the last retry, or refused.
    """
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
                # Another load, with other input, was quicker.
                left.append(at)
            elif finding.state in replaced or finding.state is State.ABSENT:
                outcomes[at] = Outcome.FAILED
                rejections.append(Rejection(finding.document.id, reply.reason))
        if not left:
            break
    return Updated(outcomes, rejections, total)


def outcome_of(state: State) -> Outcome:
    """Return what to say about a document that a load left in a state."""
    if state is State.ABSENT:
        # Purged, or its database recreated, since it was read.
        return Outcome.FAILED
    # What could not be repaired is reported as what it looks like.
    return Outcome.CONFLICT if state is State.LEFTOVER else Outcome(state)


def _edits(finding: Finding) -> list[Document]:
    """Return the writes that put a document's new content in the place of its leaves."""
    document: Document = orjson.loads(finding.document.body)
    live = finding.live
    if not live:
        # Without ``_rev``: CouchDB takes a new revision of a deleted document only so.
        return [document]
    shown = max(live, key=rank)
    return [{**document, "_rev": shown["_rev"]}, *(superseded(leaf) for leaf in live if leaf is not shown)]


def _see(
    database: Database, findings: Sequence[Finding], replies: dict[str, Written], rules: KindRules
) -> tuple[list[Finding], int]:
    """Judge documents anew from the leaves that came with the reply, and give way where that is needed."""
    judged = [judge(database, finding.document, replies[finding.document.id].leaves, rules) for finding in findings]
    return repair(database, judged, rules)
