"""Classify documents on a target, and write them."""

from dataloader.replication.conflicts import repair, superseded
from dataloader.replication.indexes import build_views
from dataloader.replication.pipeline import batches, chunks, in_parallel
from dataloader.replication.staged_views import stage, unstage
from dataloader.replication.states import (
    NEEDS_ATTENTION,
    OUTCOMES,
    STATES,
    Explanation,
    Finding,
    KindRules,
    Outcome,
    Severity,
    State,
    classify,
    is_ours,
    is_persons_deletion,
    must_go,
)
from dataloader.replication.tombstones import (
    MAX_INLINE,
    MAX_REASON,
    Change,
    Revocation,
    attached,
    is_revocation,
    kept_document,
    kept_others,
    restored,
    restored_set,
    revoked,
    without_content,
)
from dataloader.replication.updates import outcome_of, update
from dataloader.replication.versions import version_digest
from dataloader.replication.writes import write_over

__all__ = [
    "MAX_INLINE",
    "MAX_REASON",
    "NEEDS_ATTENTION",
    "OUTCOMES",
    "STATES",
    "Change",
    "Explanation",
    "Finding",
    "KindRules",
    "Outcome",
    "Revocation",
    "Severity",
    "State",
    "attached",
    "batches",
    "build_views",
    "chunks",
    "classify",
    "in_parallel",
    "is_ours",
    "is_persons_deletion",
    "is_revocation",
    "kept_document",
    "kept_others",
    "must_go",
    "outcome_of",
    "repair",
    "restored",
    "restored_set",
    "revoked",
    "stage",
    "superseded",
    "unstage",
    "update",
    "version_digest",
    "without_content",
    "write_over",
]
