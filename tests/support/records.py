"""The expected documents of cards and snapsets, written out by hand for comparison.

Nothing here uses the code that creates the documents: manifests and snapsets are read with ``json`` and ``json5``, and
revisions are computed with ``hashlib``.
"""

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import json5

from dataloader.records import Snapsets, read_snapsets

Json = dict[str, Any]
Contents = dict[str, dict[str, Json]]
"""Documents by database (without prefix) and ``_id``."""

EMPTY_SET: Json = {"flat": {"contexts": {"gpii-default": {"name": "Default preferences", "preferences": {}}}}}
UNDATED = "1970-01-01T00:00:00.000Z"


def token_documents(key: str, preferences: Json, *, card: bool) -> Contents:
    """Return the documents of a card or a snapset in the model gpii-token."""
    documents: Contents = {"preferences": {key: {"_id": key, "value": preferences}}, "auth": {}}
    if card:
        token = f"gpiiToken-{key}"
        documents["auth"] = {token: {"_id": token, "type": "gpiiToken", "gpiiToken": key, "userId": None}}
    return documents


def key_documents(key: str, preferences: Json, created: str, *, card: bool) -> Contents:
    """Return the documents of a card or a snapset in the model gpii-key."""
    return {
        "gpii": {
            key: {
                "_id": key,
                "type": "gpiiKey",
                "schemaVersion": "0.2",
                "prefsSafeId": f"prefsSafe-{key}",
                "prefsSetId": "gpii-default",
                "revoked": False,
                "revokedReason": None,
                "timestampCreated": created,
                "timestampUpdated": None,
            },
            f"prefsSafe-{key}": {
                "_id": f"prefsSafe-{key}",
                "type": "prefsSafe",
                "schemaVersion": "0.2",
                "prefsSafeType": "user" if card else "snapset",
                "name": key,
                "password": None,
                "email": None,
                "preferences": preferences,
                "timestampCreated": created,
                "timestampUpdated": None,
            },
        }
    }


def documents(model: str, key: str, preferences: Json, created: str, *, card: bool) -> Contents:
    """Return the documents of a card or a snapset."""
    if model == "gpii-token":
        return token_documents(key, preferences, card=card)
    return key_documents(key, preferences, created, card=card)


def merge(parts: Iterable[Contents]) -> Contents:
    """Merge the documents of several cards or snapsets."""
    whole: Contents = {}
    for part in parts:
        for database, found in part.items():
            whole.setdefault(database, {}).update(found)
    return whole


def snapset_file(folder: Path, name: str) -> tuple[Json, str]:
    """Return a snapset's content and creation time."""
    if name == "empty":
        return deepcopy(EMPTY_SET), UNDATED
    content = deepcopy(_read(folder / f"{name}.json5"))
    return content, content.pop("timestampCreated", UNDATED)


@cache
def _read(path: Path) -> Json:
    content: Json = json5.loads(path.read_text("utf-8"))
    return content


def expected(model: str, manifests: Iterable[Path], snapsets: Path) -> Contents:
    """Return every document that loading manifests and a folder of snapsets must create, except the views."""
    snapsets = snapsets / model if (snapsets / model).is_dir() else snapsets
    parts = [
        documents(model, path.stem, *snapset_file(snapsets, path.stem), card=False)
        for path in sorted(snapsets.glob("*.json5"))
    ]
    for manifest in manifests:
        header, *cards = map(json.loads, manifest.read_text("utf-8").splitlines())
        sets = {name: snapset_file(snapsets, name)[0] for name in header["snapsets"]}
        parts += [
            documents(model, card["uuid"], deepcopy(sets[card["snapset"]]), header["created"], card=True)
            for card in cards
        ]
    return merge(parts)


def digest(document: Mapping[str, Any]) -> str:
    """Return the hash in the revision of a document."""
    content = {key: value for key, value in document.items() if not key.startswith("_") or key == "_id"}
    canonical = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return sha256(canonical.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Place:
    """The location of a card's document."""

    database: str
    id: str


def preferences_of(model: str, key: str) -> Place:
    """Return the location of the preference set of a card or snapset."""
    return Place("preferences", key) if model == "gpii-token" else Place("gpii", f"prefsSafe-{key}")


def access_of(model: str, key: str) -> Place:
    """Return the location of the document that gives a card access."""
    return Place("auth", f"gpiiToken-{key}") if model == "gpii-token" else Place("gpii", key)


def flat(document: Json) -> Json:
    """Return the preferences in their document, of any model, for reading or changing."""
    holder = document["value"] if "value" in document else document["preferences"]
    preferences: Json = holder["flat"]["contexts"]["gpii-default"]["preferences"]
    return preferences


VIEWS = {
    "gpii-token": {
        "findUserByName",
        "findGpiiToken",
        "findUserByGpiiToken",
        "findClientByOauth2ClientId",
        "findClientBySolutionId",
        "findUserAuthorizableClients",
        "findUserAuthorizationsByGpiiToken",
        "findWebPrefsConsumerAuthorization",
        "findWebPrefsConsumerAuthorizationByAuthCode",
        "findOnboardedSolutionAuthorization",
        "findUserAuthorizedAuthorizationById",
        "findUserAuthorizedClientsByGpiiToken",
        "findPrivilegedPrefsCreatorAuthorizationById",
        "findPrivilegedPrefsCreatorAuthorizationByClientId",
        "findAuthorizationByAccessToken",
    },
    "gpii-key": {
        "findPrefsSafeByGpiiKey",
        "findClientByOauth2ClientId",
        "findInfoByAccessToken",
        "findSnapsetPrefsSafes",
        "findAllGpiiKeys",
        "findAccessTokenByExpires",
        "findDocsBySchemaVersion",
    },
}
"""The views that the servers query, by model."""

FONT_SIZE = "http://registry.gpii.net/common/fontSize"


def write_snapsets(folder: Path, sizes: Mapping[str, float]) -> Snapsets:
    """Write a folder of snapsets that differ only in the font size, and read it with the tool."""
    folder.mkdir()
    for name, size in sizes.items():
        context = {"name": "Default preferences", "preferences": {FONT_SIZE: size}}
        content = {
            "timestampCreated": "2020-11-23T00:00:00.000Z",
            "flat": {"name": name, "contexts": {"gpii-default": context}},
        }
        (folder / f"{name}.json5").write_text(json.dumps(content), "utf-8")
    return read_snapsets(folder)
