"""Backup files, and the work folders of unfinished backups."""

from dataloader.archive.backup_file import (
    SUFFIX,
    Backup,
    BackupHeader,
    BodyWriter,
    DatabaseState,
    Group,
    Key,
    Section,
    finish,
    revision_of,
    revisions_of,
    sort_key,
)
from dataloader.archive.spool import Spool
from dataloader.archive.work_folder import Unfinished, continued_in, remove_finished

__all__ = [
    "SUFFIX",
    "Backup",
    "BackupHeader",
    "BodyWriter",
    "DatabaseState",
    "Group",
    "Key",
    "Section",
    "Spool",
    "Unfinished",
    "continued_in",
    "finish",
    "remove_finished",
    "revision_of",
    "revisions_of",
    "sort_key",
]
