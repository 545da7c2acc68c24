"""Model ``gpii-key``: schema version 0.2, 2018 to 2020.

One database, ``gpii``, a key and a preferences safe a card; a snapset is such a pair too.
"""

from dataloader.common import Document
from dataloader.records.models.base import Entry, Kind, Lookup, Marking, Model, Revoking, Role

SCHEMA_VERSION = "0.2"


def _same(key: str) -> str:
    return key


def _safe_id(key: str) -> str:
    return f"prefsSafe-{key}"


def _safe(entry: Entry) -> Document:
    login = entry.login
    return {
        "_id": _safe_id(entry.key),
        "type": "prefsSafe",
        "schemaVersion": SCHEMA_VERSION,
        "prefsSafeType": "snapset" if entry.role is Role.SNAPSET else "user",
        "name": entry.key if login is None else login.name,
        "password": None if login is None else login.password,
        "email": None if login is None else login.email,
        "preferences": entry.preferences,
        "timestampCreated": entry.created,
        "timestampUpdated": None,
    }


def _key(entry: Entry) -> Document:
    return {
        "_id": entry.key,
        "type": "gpiiKey",
        "schemaVersion": SCHEMA_VERSION,
        "prefsSafeId": _safe_id(entry.key),
        "prefsSetId": "gpii-default",
        "revoked": False,
        "revokedReason": None,
        "timestampCreated": entry.created,
        "timestampUpdated": None,
    }


def _is_revoked(key: Document) -> bool:
    return key.get("revoked") is True


def _revoked(key: Document, reason: str, time: str) -> Document:
    return {**key, "revoked": True, "revokedReason": reason, "timestampUpdated": time}


def _not_revoked(key: Document, time: str) -> Document:
    return {**key, "revoked": False, "revokedReason": None, "timestampUpdated": time}


MODEL = Model(
    name="gpii-key",
    databases=("gpii",),
    # The key comes last: it is what lets a card in, so by then its safe is there.
    kinds=(
        Kind("prefsSafe", "gpii", _safe_id, _safe),
        Kind("gpiiKey", "gpii", _same, _key),
    ),
    lookups=(
        Lookup(
            "gpii",
            "findPrefsSafeByGpiiKey",
            include_docs=True,
            kinds={"value.gpiiKey": "gpiiKey", "doc": "prefsSafe"},
        ),
    ),
    revoking=(Revoking("gpiiKey", Marking(_is_revoked, _revoked, _not_revoked)),),
    fixes_snapsets=True,
)
