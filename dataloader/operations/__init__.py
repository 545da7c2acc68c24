"""The operations behind the commands: a function from data to a result, one file each."""

from dataloader.operations.backup import BackupResult, back_up
from dataloader.operations.backups import (
    KeepRules,
    KeptBackup,
    StoredBackup,
    choose_kept,
    missing_base,
    prune,
    read_backups,
    without_base,
)
from dataloader.operations.batches import Folder, FoundBatch, find_batches, next_step
from dataloader.operations.card import CardState, FoundCard, card_state, find_card
from dataloader.operations.card_verdicts import CardVerdict, VerifyVerdict
from dataloader.operations.changes import ABSENT, ChangedTerm, Changes, Edits, Term, value_text
from dataloader.operations.check import CheckResult, check
from dataloader.operations.credentials import (
    FoundClient,
    check_site,
    create_files,
    find_clients,
    find_site,
    free_client_id,
    prepare_rotation,
    revoke_site,
    rotate,
    site_sources,
)
from dataloader.operations.documents import document_sources
from dataloader.operations.drill import DrillResult, drill
from dataloader.operations.drop import drop, plan_drop
from dataloader.operations.export import STANDARD, all_layouts, export, export_path
from dataloader.operations.generate import check_name, generate, share_out, spares_of
from dataloader.operations.load import LoadOptions, LoadResult, load, refuse_older
from dataloader.operations.merge import Branch, Conflicts, MergeResult, SetInConflict, find_conflicts, merge
from dataloader.operations.plan import Plan, plan
from dataloader.operations.recover import recover
from dataloader.operations.restore import RestoreResult, check_chain, restore_backup
from dataloader.operations.revocations import (
    list_warnings,
    manifests_with_revocations,
    revocations_of,
    revoke_again,
    revoked_nevertheless,
    working_nevertheless,
)
from dataloader.operations.revoke import (
    CardOutcome,
    RevokeOutcome,
    RevokeResult,
    check_reason,
    require_databases,
    restore,
    revoke,
)
from dataloader.operations.security import Circle, SecurityResult, check_security
from dataloader.operations.seed import DEFAULT_SEED, invented_people, seed_sources
from dataloader.operations.snapsets import Difference, difference, target_differences
from dataloader.operations.sources import (
    DESIGN_KIND,
    Source,
    all_sources,
    design_sources,
    entry_sources,
    refuse_seeded,
    snapset_sources,
)
from dataloader.operations.status import BatchStatus, StatusResult, status
from dataloader.operations.taps import QUANTILES, TapsResult, check_bounds, parse_part, parse_time, tap_cards
from dataloader.operations.tokens import prune_tokens
from dataloader.operations.validate import Checked, validate
from dataloader.operations.verify import VerifyResult, verify
from dataloader.replication import Outcome

__all__ = [
    "ABSENT",
    "DEFAULT_SEED",
    "DESIGN_KIND",
    "QUANTILES",
    "STANDARD",
    "BackupResult",
    "BatchStatus",
    "Branch",
    "CardOutcome",
    "CardState",
    "CardVerdict",
    "ChangedTerm",
    "Changes",
    "CheckResult",
    "Checked",
    "Circle",
    "Conflicts",
    "Difference",
    "DrillResult",
    "Edits",
    "Folder",
    "FoundBatch",
    "FoundCard",
    "FoundClient",
    "KeepRules",
    "KeptBackup",
    "LoadOptions",
    "LoadResult",
    "MergeResult",
    "Outcome",
    "Plan",
    "RestoreResult",
    "RevokeOutcome",
    "RevokeResult",
    "SecurityResult",
    "SetInConflict",
    "Source",
    "StatusResult",
    "StoredBackup",
    "TapsResult",
    "Term",
    "VerifyResult",
    "VerifyVerdict",
    "all_layouts",
    "all_sources",
    "back_up",
    "card_state",
    "check",
    "check_bounds",
    "check_chain",
    "check_name",
    "check_reason",
    "check_security",
    "check_site",
    "choose_kept",
    "create_files",
    "design_sources",
    "difference",
    "document_sources",
    "drill",
    "drop",
    "entry_sources",
    "export",
    "export_path",
    "find_batches",
    "find_card",
    "find_clients",
    "find_conflicts",
    "find_site",
    "free_client_id",
    "generate",
    "invented_people",
    "list_warnings",
    "load",
    "manifests_with_revocations",
    "merge",
    "missing_base",
    "next_step",
    "parse_part",
    "parse_time",
    "plan",
    "plan_drop",
    "prepare_rotation",
    "prune",
    "prune_tokens",
    "read_backups",
    "recover",
    "refuse_older",
    "refuse_seeded",
    "require_databases",
    "restore",
    "restore_backup",
    "revocations_of",
    "revoke",
    "revoke_again",
    "revoke_site",
    "revoked_nevertheless",
    "rotate",
    "seed_sources",
    "share_out",
    "site_sources",
    "snapset_sources",
    "spares_of",
    "status",
    "tap_cards",
    "target_differences",
    "validate",
    "value_text",
    "verify",
    "without_base",
    "working_nevertheless",
]
