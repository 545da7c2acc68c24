"""The contents of databases: document models, views, snapsets and samples."""

from dataloader.records.samples import read_samples
from dataloader.records.sites import (
    CLIENT,
    CREDENTIAL,
    Secret,
    Site,
    client_database,
    client_ids_of,
    credential_document,
    has_credentials_apart,
    new_secret,
    site_documents,
)
from dataloader.records.snapsets import EMPTY, Snapset, Snapsets, copy_snapsets, read_snapset, read_snapsets
from dataloader.records.templates import ANY_CARD, Templates
from dataloader.records.wording import in_words, members

__all__ = [
    "ANY_CARD",
    "CLIENT",
    "CREDENTIAL",
    "EMPTY",
    "Secret",
    "Site",
    "Snapset",
    "Snapsets",
    "Templates",
    "client_database",
    "client_ids_of",
    "copy_snapsets",
    "credential_document",
    "has_credentials_apart",
    "in_words",
    "members",
    "new_secret",
    "read_samples",
    "read_snapset",
    "read_snapsets",
    "site_documents",
]
