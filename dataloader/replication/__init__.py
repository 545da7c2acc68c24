"""States of documents on a target, and how documents are written."""

from dataloader.replication.conflicts import give_way, is_loaders, look_again
from dataloader.replication.indexes import build_views
from dataloader.replication.pipeline import batches, chunks, in_parallel
from dataloader.replication.staged_views import stage, unstage
from dataloader.replication.states import Finding, State, classify
from dataloader.replication.tombstones import MAX_REASON, Change, restored, revoked
from dataloader.replication.writes import Written, write_over

__all__ = [
    "MAX_REASON",
    "Change",
    "Finding",
    "State",
    "Written",
    "batches",
    "build_views",
    "chunks",
    "classify",
    "give_way",
    "in_parallel",
    "is_loaders",
    "look_again",
    "restored",
    "revoked",
    "stage",
    "unstage",
    "write_over",
]
