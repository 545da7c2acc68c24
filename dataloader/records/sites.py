"""Sites: the documents that let a site's pilot computers log in, for each document model.

Their form was tested with the servers of each period. With model ``gpii-token``, a site is one document in ``auth``;
with ``gpii-key``, a client and its credential in ``gpii``.
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
    """A site, and what its pilot computers may do."""

    name: str
    """The display name."""
    created: str
    """When its credentials were created: ISO 8601 in UTC with milliseconds and Z."""
    allowed_ips: tuple[str, ...] = ()
    """The address blocks that its computers connect from; empty for any. Model ``gpii-key`` only."""
    allowed_terms: tuple[str, ...] = ()
    """The terms that its computers may write; empty for any. Model ``gpii-key`` only."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What a pilot computer logs in with; both are UUIDs, version 4."""

    client_id: str
    client_secret: str


def new_secret() -> Secret:
    """Create a random secret."""
    return Secret(str(uuid4()), str(uuid4()))


MOST_LIVES = 100
"""How often a site can be revoked and created again; each time needs a new ``_id``."""


def client_ids_of(site: str) -> list[str]:
    """Return the ``_id`` of a site's client, followed by those for after it is revoked and created again.

    They are UUIDs computed from the site's short name, so that the site can be found again. They are not secret; the
    secret that its computers log in with is random.
    """
    digests = (sha256(f"dataloader site {site} {life}".encode()).digest() for life in range(MOST_LIVES))
    return [str(UUID(bytes=digest[:16], version=4)) for digest in digests]


def has_credentials_apart(model: Model) -> bool:
    """Return whether a client's credential is a separate document."""
    return model.name == "gpii-key"


def client_database(model: Model) -> str:
    """Return the database of clients, without prefix."""
    return "gpii" if has_credentials_apart(model) else "auth"


def site_documents(model: Model, client_id: str, what: Site, secret: Secret) -> list[Document]:
    """Return the documents of a site, the client first.

    Args:
        model: the document model.
        client_id: the client's ``_id``, one of ``client_ids_of``.
        what: the site.
        secret: what its computers log in with.
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
    """Return a new credential of a client (model ``gpii-key``)."""
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
