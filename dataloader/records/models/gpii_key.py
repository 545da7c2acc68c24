"""Model ``gpii-key``: schema version 0.2, July 2019 to 2020.

One database, ``gpii``, with a key and a preferences safe for each card; a snapset is such a pair, too.
"""

from collections.abc import Mapping

from dataloader.common import Document
from dataloader.records.models.base import Entry, Kind, Lookup, Marking, Model, Revoking, Role

SCHEMA_VERSION = "0.2"

REVOKED_PREFIX = "revoked-"
"""Prefix of the safe ID in a revoked key: the ID of a safe that does not exist, from which the old ID can be read.

No server reads ``revoked``. With such a safe, every client gets an empty set, nothing can be saved, and nobody can take
over the key (docs/servers.md). A safe ID that is null or missing crashes the flow manager.
"""


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
    return key.get("revoked") is True or _is_diverted(key)


def _is_diverted(key: Document) -> bool:
    return str(key.get("prefsSafeId")).startswith(REVOKED_PREFIX)


def _stops(key: Document) -> bool:
    return key.get("revoked") is True and _is_diverted(key)


def _revoked(key: Document, reason: str, time: str) -> Document:
    safe_id = key.get("prefsSafeId") or _safe_id(key["_id"])
    revoked: Document = {**key, "revoked": True, "revokedReason": reason, "timestampRevoked": time}
    if not _is_diverted(key):
        revoked["prefsSafeId"] = f"{REVOKED_PREFIX}{safe_id}"
    if key.get("revoked") is True:
        # Marked by an earlier version, which no server obeys; the time is in timestampUpdated.
        revoked["revokedReason"] = key.get("revokedReason") or reason
        revoked["timestampRevoked"] = key.get("timestampRevoked") or key.get("timestampUpdated") or time
    return revoked


def _not_revoked(key: Document, time: str) -> Document:
    restored = {**key, "revoked": False, "revokedReason": None}
    revoked_at = restored.pop("timestampRevoked", None)
    if _is_diverted(key):
        restored["prefsSafeId"] = key["prefsSafeId"].removeprefix(REVOKED_PREFIX)
    if revoked_at in {None, key.get("timestampUpdated")}:
        # As marked by an earlier version; it is unknown when the owner last changed it.
        restored["timestampUpdated"] = time
    return restored


def _serves(found: Mapping[str, Document | None]) -> bool:
    key = found["gpiiKey"]
    safe = found["prefsSafe"]
    return key is not None and safe is not None and safe.get("_id") == key.get("prefsSafeId")


def _misleads(kind: str, key: str, document: Document) -> str:
    if kind == "gpiiKey" and document["prefsSafeId"] != _safe_id(key):
        return f"leads to document {document['prefsSafeId']}, not {_safe_id(key)}"
    return ""


MODEL = Model(
    name="gpii-key",
    databases=("gpii",),
    # The key comes last: it gives access, so its safe must already exist.
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
    access_views=(("gpii", "findClientByOauth2ClientId"), ("gpii", "findInfoByAccessToken")),
    serves=_serves,
    misleads=_misleads,
    revoking=(Revoking("gpiiKey", Marking(_is_revoked, _stops, _revoked, _not_revoked)),),
    fixes_snapsets=True,
)
