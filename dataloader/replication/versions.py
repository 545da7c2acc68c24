"""Versions: the content that loads have brought to a database, recognised whatever its revision.

An ordinary write gets its revision from the server, so the revision no longer proves whose content it is. The content
does: apart from the fields that are the card's own, a card's document that nobody has edited says what some snapset
version says. Each database remembers the digests of those versions (``dataloader.target.environments``).
"""

import re
from hashlib import sha256

from dataloader.common import DIGITS, Document, canonical, content

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OWN_TIME = "timestampCreated"
"""The batch's time, which belongs to the card and not to the snapset."""


def version_digest(document: Document) -> str:
    """Return the digest of a document's content apart from what is the card's own: its UUID and time of creation.

    Args:
        document: as it is to be loaded, or as it is stored. A document whose ``_id`` holds no UUID, such as a
            snapset's own, has nothing of a card's.

    Returns:
        32 hex digits; empty for content that no load could have brought.
    """
    return version_digest_of(content(document))


def version_digest_of(plain: Document) -> str:
    """Return :func:`version_digest` of a document's content."""
    try:
        body = canonical({key: value for key, value in plain.items() if key != _OWN_TIME})
    except TypeError:
        # Beyond what our JSON writer takes, which a person's document may be.
        return ""
    uuid = _UUID.search(plain["_id"])
    if uuid is not None:
        body = body.replace(uuid[0].encode(), b"UUID")
    return sha256(body).hexdigest()[:DIGITS]
