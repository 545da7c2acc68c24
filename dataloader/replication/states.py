"""Classify documents on the server, with one request for a whole batch.

``_revs_diff`` is asked about an impossible revision, which makes CouchDB name the document's leaves
(https://docs.couchdb.org/en/3.5.0/api/database/misc.html#post--db-_revs_diff). Only documents for which that is not
enough are fetched, with all their leaves. PouchDB Server does not name leaves; there, all are fetched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from dataloader.common import (
    Document,
    Prepared,
    ProtocolError,
    certifies_itself,
    content,
    content_hash,
    history,
    is_valid,
    live_leaves,
    prepare,
    rank,
    says_as_is,
)
from dataloader.couch import Database
from dataloader.replication.versions import version_digest


class State(StrEnum):
    """The state of a document on the server, compared with the one to be loaded."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"
    EDITED = "edited"
    DELETED = "deleted"
    OUTDATED = "outdated"
    FOREIGN = "foreign"
    LEFTOVER = "leftover"
    CONFLICT = "conflict"


class Outcome(StrEnum):
    """The outcome of a document in a load; each has exactly one."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    EDITED = "edited"
    DELETED = "deleted"
    OUTDATED = "outdated"
    REMOVED = "removed"
    WAITING = "waiting"
    FOREIGN = "foreign"
    CONFLICT = "conflict"
    FAILED = "failed"


class Severity(StrEnum):
    """How serious a state or an outcome is."""

    GOOD = "good"
    QUIET = "quiet"
    """Neither good nor bad: as a user wanted it."""
    ATTENTION = "attention"
    """Somebody has to decide."""
    BAD = "bad"
    """It does not work, or is unknown."""


class Explanation(NamedTuple):
    """How a state or an outcome is explained."""

    meaning: str
    severity: Severity
    advice: str = ""
    """What to do; empty if nothing."""


_OUTDATED_ADVICE = "load with --update to replace what is outdated"
_FOREIGN_ADVICE = (
    "find out where they come from; if they are wrong, purge them (POST /DATABASE/_purge; deleting is not enough) and "
    "load again"
)
_CONFLICT_ADVICE = (
    "run `dataloader merge` for cards' preference sets; for any other document, decide which revision is right and "
    "delete the others (GET /DATABASE/DOCUMENT?conflicts=true names them)"
)

STATES: Mapping[State, Explanation] = {
    State.ABSENT: Explanation("do not exist yet; a load creates them", Severity.GOOD),
    State.UNCHANGED: Explanation("already exist, exactly as they should be", Severity.QUIET),
    State.EDITED: Explanation("edited by their owners since they were loaded; kept", Severity.QUIET),
    State.DELETED: Explanation("deleted since they were loaded; kept deleted", Severity.QUIET),
    State.OUTDATED: Explanation(
        "written by an earlier load from another snapset version, not edited", Severity.ATTENTION, _OUTDATED_ADVICE
    ),
    State.LEFTOVER: Explanation(
        "left in conflict or deleted by loads that were interrupted or ran at the same time",
        Severity.ATTENTION,
        "run the load again; it repairs them",
    ),
    State.FOREIGN: Explanation("not written by this tool", Severity.BAD, _FOREIGN_ADVICE),
    State.CONFLICT: Explanation("several live revisions, each edited by a person", Severity.BAD, _CONFLICT_ADVICE),
}
"""The meaning of each state, in display order."""

OUTCOMES: Mapping[Outcome, Explanation] = {
    Outcome.CREATED: Explanation("were absent and have been written", Severity.GOOD),
    Outcome.UPDATED: Explanation("were outdated and have been replaced", Severity.GOOD),
    Outcome.UNCHANGED: Explanation("already exist, exactly as they should be", Severity.QUIET),
    Outcome.EDITED: Explanation("edited by their owners since they were loaded; kept", Severity.QUIET),
    Outcome.DELETED: Explanation("deleted since they were loaded; kept deleted", Severity.QUIET),
    Outcome.OUTDATED: Explanation(
        "written by an earlier load from another snapset version, not edited; kept",
        Severity.ATTENTION,
        _OUTDATED_ADVICE,
    ),
    Outcome.REMOVED: Explanation("written by an earlier version and no longer needed; deleted", Severity.GOOD),
    Outcome.WAITING: Explanation(
        "not changed, because nodes of the cluster were down",
        Severity.QUIET,
        "run the load again when all nodes are up",
    ),
    Outcome.FOREIGN: Explanation("not written by this tool; kept", Severity.BAD, _FOREIGN_ADVICE),
    Outcome.CONFLICT: Explanation(
        "several live revisions, each edited by a person; kept", Severity.BAD, _CONFLICT_ADVICE
    ),
    Outcome.FAILED: Explanation("rejected by the server", Severity.BAD, "fix the cause, then load again"),
}
"""The meaning of each outcome, in display order."""

NEEDS_ATTENTION = tuple(
    outcome for outcome, said in OUTCOMES.items() if said.severity in {Severity.ATTENTION, Severity.BAD}
)
"""Outcomes of documents that are neither as requested nor as their owner wants them."""


@dataclass(frozen=True, slots=True)
class KindRules:
    """The rules for documents of one kind in one database."""

    schema: str
    """The name of their schema."""
    brought: frozenset[str] = frozenset()
    """The digests of the versions that loads have written to the database; see :func:`version_digest`."""
    is_personal: bool = True
    """Whether changes and deletions are the owner's; false for snapsets and design documents."""


class Finding(NamedTuple):
    """The state of one document."""

    document: Prepared
    state: State
    leaves: tuple[Document, ...] = ()
    """The leaves, if they had to be fetched: whole documents with ``_rev`` and ``_revisions``."""

    @property
    def live(self) -> list[Document]:
        """The leaves that are not deletions."""
        return live_leaves(self.leaves)

    @property
    def is_gone(self) -> bool:
        """Whether it does not exist: absent, or deleted by anyone."""
        return self.state in {State.ABSENT, State.DELETED} or (bool(self.leaves) and not self.live)


def classify(database: Database, batch: Sequence[Prepared], rules: KindRules, *, fetch: bool = False) -> list[Finding]:
    """Return the state of each document of a batch.

    Args:
        database: the database.
        batch: the documents to be loaded; each ``_id`` once.
        rules: the rules for their kind.
        fetch: whether to fetch all documents at once, because most have to be fetched anyway.

    Returns:
        One finding for each document, in the order of the batch.

    Raises:
        ProtocolError: the server contradicts itself about a document.
    """
    known: Sequence[State | None] = [None] * len(batch)
    there: Sequence[str] = ()
    if database.names_leaves and not fetch:
        known, there = _ask_revisions(database, batch)
    unknown = [document.id for document, state in zip(batch, known, strict=True) if state is None]
    # From all copies: if two clients wrote to different ones, each may have a leaf that the others do not have yet.
    leaves = database.leaves(unknown, all_copies=database.has_copies) if unknown else {}
    for doc_id in there:
        if not leaves[doc_id]:
            # Written as absent, it would be in conflict.
            raise ProtocolError(
                f"document {doc_id} in database {database.name}",
                rule="the server names revisions of it, then says that it does not exist",
                todo="run it again; if that does not help, check the nodes of the cluster",
            )
    return [
        Finding(document, state) if state is not None else judge(database, document, leaves[document.id], rules)
        for document, state in zip(batch, known, strict=True)
    ]


def _ask_revisions(database: Database, batch: Sequence[Prepared]) -> tuple[list[State | None], list[str]]:
    """Return the states that follow from the leaf revisions, None if unknown; and which of those documents exist."""
    found = database.leaf_revisions([document.id for document in batch])
    states: list[State | None] = []
    there: list[str] = []
    for document in batch:
        leaves = found[document.id]
        if not leaves:
            # In a cluster, one copy answers, and may lag behind; documents are read from a majority of the copies.
            states.append(None if database.has_copies else State.ABSENT)
        elif len(leaves) == 1 and leaves[0].partition("-")[2] == document.hash:
            # Of any generation: earlier versions of this tool wrote updates with such revisions.
            states.append(State.UNCHANGED)
        else:
            states.append(None)
            there.append(document.id)
    return states, there


def judge(database: Database, document: Prepared, leaves: Sequence[Document], rules: KindRules) -> Finding:
    """Return the state of one document from all its leaves.

    Args:
        database: the database, to read the first revision of an edited document.
        document: the document to be loaded.
        leaves: every leaf, including deletions, with ``_rev`` and ``_revisions``.
        rules: the rules for its kind.
    """
    return Finding(document, _judge(database, document, leaves, rules), tuple(leaves))


def _judge(  # noqa: PLR0911 - a decision table, a line a return
    database: Database, document: Prepared, leaves: Sequence[Document], rules: KindRules
) -> State:
    if not leaves:
        return State.ABSENT
    if len(leaves) == 1 and _is_as_it_should_be(leaves[0], document):
        return State.UNCHANGED
    live = live_leaves(leaves)
    if not live:
        # If no user deleted it, two loads did, each of which mistook the other's leaf for an edit.
        is_persons = not rules.is_personal or any(map(is_persons_deletion, leaves))
        return State.DELETED if is_persons else State.LEFTOVER
    theirs = [leaf for leaf in live if not is_ours(leaf, rules, document)]
    if must_go(document, leaves, rules):
        return State.LEFTOVER
    if len(theirs) > 1 or len(live) > 1:
        return State.CONFLICT
    [leaf] = live
    if content_hash(leaf) == document.hash:
        return State.UNCHANGED
    if not theirs:
        return State.OUTDATED
    past = history(leaf)
    if document.rev in past or _descends_from_ours(database, leaf, past, rules.schema):
        return State.EDITED
    return State.FOREIGN


def _is_as_it_should_be(leaf: Document, document: Prepared) -> bool:
    """Return whether a leaf is live and has a document's content, by a fast comparison of bytes."""
    try:
        return not leaf.get("_deleted") and says_as_is(leaf, document.body)
    except TypeError:
        return False


def is_ours(leaf: Document, rules: KindRules, document: Prepared | None = None) -> bool:
    """Return whether a live leaf has exactly the content of a load, whoever wrote it.

    Args:
        leaf: the leaf.
        rules: the rules for its kind.
        document: the document that this load would write, if known.
    """
    found = content_hash(leaf)
    if found and found in {leaf["_rev"].partition("-")[2], document.hash if document else ""}:
        return True
    return bool(rules.brought) and version_digest(leaf) in rules.brought


SUPERSEDED = {"dataloader": "superseded"}
"""The members that mark a deletion by a load, a merge or an undone revocation; it is not a user's."""


def is_persons_deletion(leaf: Document) -> bool:
    """Return whether a leaf is a deletion by a user, or by ``revoke`` for one; not by a load."""
    return bool(leaf.get("_deleted")) and not _is_superseded(leaf)


def _is_superseded(leaf: Document) -> bool:
    if leaf.get("dataloader") == SUPERSEDED["dataloader"]:
        return True
    # Earlier versions of this tool deleted with a revision computed from the deleted one.
    past = history(leaf)
    if len(past) < 2:  # noqa: PLR2004
        return False
    unlike = prepare({"_id": leaf["_id"], "_deleted": True, "parent": past[1]})
    return past[0].endswith(f"-{unlike.hash}")


def must_go(document: Prepared, leaves: Sequence[Document], rules: KindRules) -> list[Document]:
    """Return the live leaves that a load has to delete, so that a user's edit is the winner.

    A leaf with the content of a load is deleted in favour of a user's leaf or deletion. If several such leaves are in
    conflict only with each other, CouchDB's winner is kept, the same for every load.

    Args:
        document: the document to be loaded.
        leaves: all its leaves, including deletions.
        rules: the rules for its kind. A document that is not personal has no owner.
    """
    if len(leaves) < 2:  # noqa: PLR2004
        return []
    live = live_leaves(leaves)
    ours = [leaf for leaf in live if is_ours(leaf, rules, document)]
    if rules.is_personal and (len(ours) < len(live) or any(map(is_persons_deletion, leaves))):
        return ours
    if len(ours) < len(live):
        # Conflicting views or snapsets by others: somebody has to decide which the servers should use.
        return []
    return [leaf for leaf in ours if leaf is not max(ours, key=rank)]


def _descends_from_ours(database: Database, leaf: Document, past: list[str], schema: str) -> bool:
    """Return whether a document started as an earlier load's, with other content than this one's.

    Its first revision shows it, as long as the server has it. After compaction or with ``_revs_limit``, an edited
    document in our form counts as one: nobody else writes under these IDs.
    """
    root = past[-1]
    is_first = root.startswith("1-")
    if is_first and len(past) == 1:
        return False
    first = database.revision(leaf["_id"], root) if is_first else None
    if first is None:
        return is_valid(schema)(content(leaf))
    return certifies_itself(first)
