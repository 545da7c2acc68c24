"""Model ``gpii-token``: the servers of 1 November 2017 to 15 May 2018.

The Preferences Server reads ``preferences``, with one document for each card and snapset; the authorization server
reads ``auth``, with a token for each card.

Cards have no user document: if there is one, the servers of 2017 filter the card's settings by what the user has
granted, which is nothing (docs/servers.md). Only people who log in with a password, in development data, have users.
"""

from collections.abc import Mapping

from dataloader.common import Document
from dataloader.records.models.base import Entry, Kind, Lookup, Model, Revoking, Role

_TOKEN_ROLES = frozenset({Role.CARD, Role.PERSON})
_USER_ROLES = frozenset({Role.PERSON})


def _same(key: str) -> str:
    return key


def _user_id(key: str) -> str:
    return f"user-{key}"


def _token_id(key: str) -> str:
    return f"gpiiToken-{key}"


def _preferences(entry: Entry) -> Document:
    return {"_id": entry.key, "value": entry.preferences}


def _user(entry: Entry) -> Document:
    user: Document = {"_id": _user_id(entry.key), "type": "user", "defaultGpiiToken": entry.key}
    if entry.login is not None:
        user |= {"name": entry.login.name, "password": entry.login.password}
    return user


def _token(entry: Entry) -> Document:
    return {
        "_id": _token_id(entry.key),
        "type": "gpiiToken",
        "gpiiToken": entry.key,
        "userId": _user_id(entry.key) if entry.role is Role.PERSON else None,
    }


_CARD_USER = Kind("user", "auth", _user_id, _user, frozenset({Role.CARD}))
"""What cards had before we knew that the servers of 2017 filter by it."""


def _serves(found: Mapping[str, Document | None]) -> bool:
    # /preferences and /UUID/settings/DEVICE are open, and require no token.
    return found["preferences"] is not None


def _misleads(kind: str, key: str, document: Document) -> str:
    if kind == "gpiiToken" and document["gpiiToken"] != key:
        return f"is the token of {document['gpiiToken']}, not {key}"
    return ""


MODEL = Model(
    name="gpii-token",
    databases=("preferences", "auth"),
    # The token comes last: it gives access, so everything that it refers to must already exist.
    kinds=(
        Kind("preferences", "preferences", _same, _preferences),
        Kind("user", "auth", _user_id, _user, _USER_ROLES),
        Kind("gpiiToken", "auth", _token_id, _token, _TOKEN_ROLES),
    ),
    lookups=(
        Lookup("auth", "findGpiiToken", include_docs=False, kinds={"value": "gpiiToken"}),
        Lookup("preferences", None, include_docs=True, kinds={"doc": "preferences"}),
    ),
    access_views=(("auth", "findClientByOauth2ClientId"), ("auth", "findAuthorizationByAccessToken")),
    # Without the preference set, every path of every server answers 404; without the token, there is no access token.
    # The servers of 2017 let anyone write the set again (PUT /preferences/UUID) on top of its tombstone, whose content
    # is then lost in compaction. Nobody writes tokens, so the token's tombstone also keeps the set.
    revoking=(Revoking("preferences", holds_set=True), Revoking("gpiiToken", keeps=("preferences",))),
    serves=_serves,
    misleads=_misleads,
    former={"gpiiToken": _CARD_USER},
)
