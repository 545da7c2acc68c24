"""Versions: recognize loaded content whatever its revision.

The server chooses the revision of an ordinary write, so it does not prove where the content comes from. The content
does: apart from the card's own fields, an unedited document has the content of some version of a snapset. Each database
remembers the digests of those versions (``dataloader.target.environments``).
"""

from hashlib import sha256

from dataloader.common import DIGITS, UUID, Document, canonical, content

_OWN_TIME = "timestampCreated"
"""The batch's creation time, which belongs to the card and not to the snapset."""


def version_digest(document: Document) -> str:
    """Return the digest of a document's content without the card's own UUID and creation time.

    Args:
        document: the document to be loaded, or as stored. A document whose ``_id`` contains no UUID, such as a
            snapset's own, has no such fields.

    Returns:
        32 hex digits; empty for content that no load can have written.
    """
    plain = content(document)
    try:
        body = canonical({key: value for key, value in plain.items() if key != _OWN_TIME})
    except TypeError:
        # Our JSON writer rejects it; somebody else's document may have such content.
        return ""
    uuid = UUID.search(plain["_id"])
    if uuid is not None:
        body = body.replace(uuid[0].encode(), b"UUID")
    return sha256(body).hexdigest()[:DIGITS]
