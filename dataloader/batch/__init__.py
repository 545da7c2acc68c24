"""Batches of cards: minting, manifests, reconciled files, and choosing cards."""

from dataloader.batch.manifest import (
    CARD_SCHEMA,
    MANIFEST_SUFFIX,
    SEEDED_TIME,
    WHOLE,
    Card,
    CardFile,
    Header,
    Manifest,
    Part,
    check_count,
    read_manifest,
    write_manifest,
)
from dataloader.batch.mint import deal, mint, seeded_bytes
from dataloader.batch.reconciled import (
    RECONCILED_SUFFIX,
    Counts,
    Reconciled,
    ReturnedCard,
    Verdict,
    find_reconciled,
    is_reconciled,
    read_cards,
    read_reconciled,
    write_reconciled,
)
from dataloader.batch.selection import choose

__all__ = [
    "CARD_SCHEMA",
    "MANIFEST_SUFFIX",
    "RECONCILED_SUFFIX",
    "SEEDED_TIME",
    "WHOLE",
    "Card",
    "CardFile",
    "Counts",
    "Header",
    "Manifest",
    "Part",
    "Reconciled",
    "ReturnedCard",
    "Verdict",
    "check_count",
    "choose",
    "deal",
    "find_reconciled",
    "is_reconciled",
    "mint",
    "read_cards",
    "read_manifest",
    "read_reconciled",
    "seeded_bytes",
    "write_manifest",
    "write_reconciled",
]
