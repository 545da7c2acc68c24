"""Sites: the documents that let a site's pilot computers in, in the shape of each document model.

The shapes were tried against the real servers of their time. With model ``gpii-token`` a site is one document in
``auth``; with ``gpii-key`` it is a client and its credential in ``gpii``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4

from dataloader.common import Document
from dataloader.records.models import Model

CLIENT = "gpiiAppInstallationClient"
CREDENTIAL = "clientCredential"


@dataclass(frozen=True, slots=True)
class Site:
    """What a site's pilot computers are, and may do."""

    name: str
    """The name that people see."""
    created: str
    """When its credentials were made: ISO 8601 in UTC with milliseconds and Z."""
    allowed_ips: tuple[str, ...] = ()
    """The address blocks that its computers ask from; empty for any. Model ``gpii-key`` only."""
    allowed_terms: tuple[str, ...] = ()
    """The terms that its computers may write; empty for any. Model ``gpii-key`` only."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What a pilot computer sends to be let in; both are UUIDs, version 4."""

    client_id: str
    client_secret: str


def new_secret() -> Secret:
    """Make a secret that nobody can guess."""
    return Secret(str(uuid4()), str(uuid4()))


MOST_LIVES = 100
"""How often a site can be revoked and created again: a document that was deleted is not used again."""


def client_ids_of(site: str) -> list[str]:
    """Return the ``_id`` of a site's client, and of those that follow it where it was revoked and created again.

    They are UUIDs that the site's short name gives, so that it is found again by that. They are no secret: what lets a
    computer in is made at random.
    """
    digests = (sha256(f"dataloader site {site} {life}".encode()).digest() for life in range(MOST_LIVES))
    return [str(UUID(bytes=digest[:16], version=4)) for digest in digests]


def has_credentials_apart(model: Model) -> bool:
    """Return whether a client's credential is a document of its own."""
    return model.name == "gpii-key"


def client_database(model: Model) -> str:
    """Return the database, without prefix, that clients are in."""
    return "gpii" if has_credentials_apart(model) else "auth"


def site_documents(model: Model, client_id: str, what: Site, secret: Secret) -> list[Document]:
    """Return the documents of a site, the client first.

    Args:
        model: the document model.
        client_id: the client's ``_id``, one of ``client_ids_of``.
        what: what its computers are.
        secret: what they send.
    """
    if not has_credentials_apart(model):
        return [
            {
                "_id": client_id,
                "type": CLIENT,
                "name": what.name,
                "oauth2ClientId": secret.client_id,
                "oauth2ClientSecret": secret.client_secret,
            }
        ]
    return [
        {
            "_id": client_id,
            "type": CLIENT,
            "schemaVersion": "0.2",
            "name": what.name,
            "computerType": "public",
            "timestampCreated": what.created,
            "timestampUpdated": None,
        },
        credential_document(client_id, what, secret),
    ]


def credential_document(client_id: str, what: Site, secret: Secret) -> Document:
    """Return a new credential of a client, of model ``gpii-key``."""
    return {
        "_id": str(uuid4()),
        "type": CREDENTIAL,
        "schemaVersion": "0.2",
        "clientId": client_id,
        "oauth2ClientId": secret.client_id,
        "oauth2ClientSecret": secret.client_secret,
        "allowedIPBlocks": _or_none(what.allowed_ips),
        "allowedPrefsToWrite": _or_none(what.allowed_terms),
        "isCreateGpiiKeyAllowed": False,
        "isCreatePrefsSafeAllowed": False,
        "revoked": False,
        "revokedReason": None,
        "timestampCreated": what.created,
        "timestampRevoked": None,
    }


def _or_none(found: Sequence[str]) -> list[str] | None:
    # An empty list would allow nothing.
    return list(found) or None
