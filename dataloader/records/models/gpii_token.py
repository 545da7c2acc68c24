"""Model ``gpii-token``: the deployment of 31 October 2017.

The Preferences Server reads ``preferences``, one document a card and one a snapset; the authorization
server reads ``auth``, a user and a token a card.
"""

from dataloader.common import Document
from dataloader.records.models.base import Entry, Kind, Lookup, Model, Revoking, Role

_PEOPLE = frozenset({Role.CARD, Role.PERSON})


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
        "userId": _user_id(entry.key),
    }


MODEL = Model(
    name="gpii-token",
    databases=("preferences", "auth"),
    # The token comes last: it is what lets a card in, so by then all that it leads to is there.
    kinds=(
        Kind("preferences", "preferences", _same, _preferences),
        Kind("user", "auth", _user_id, _user, _PEOPLE),
        Kind("gpiiToken", "auth", _token_id, _token, _PEOPLE),
    ),
    lookups=(
        Lookup("auth", "findGpiiToken", include_docs=False, kinds={"value": "gpiiToken"}),
        Lookup("auth", "findUserByGpiiToken", include_docs=True, kinds={"doc": "user"}),
        Lookup("preferences", None, include_docs=True, kinds={"doc": "preferences"}),
    ),
    # The token is what lets a card in: once it has gone, the card no longer works.
    revoking=(Revoking("gpiiToken"), Revoking("user")),
)
