"""Revisions that prove themselves.

A document that this tool writes gets the revision ``N-HASH``, where HASH is the first 32 hex digits of
the SHA-256 of the document's canonical JSON without ``_rev``. Whoever holds the document can compute
HASH again and so tell whether it is still what a loader wrote.

The canonical form is UTF-8 JSON without blanks, keys sorted by code point at every level, and every
number in one form: a number without a fractional part is written as an integer (a JavaScript server
makes 1 of 1.0, an Erlang server keeps 1.0), any other as the shortest text that gives the same IEEE 754
double. Golden values in the tests pin it: if it changed, every document in the field would look foreign.
"""

from collections.abc import Mapping
from hashlib import sha256
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import orjson

Document: TypeAlias = dict[str, Any]
"""A JSON object as CouchDB stores it; ``_id`` is always there."""

DIGITS = 32
"""Hex digits of HASH; as many as CouchDB's own revisions have."""

IMPOSSIBLE = f"2147483647-{'0' * DIGITS}"
"""A revision that can't exist. CouchDB, asked for it, names the leaves that a document has."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that JavaScript, and so some of the servers, keeps exactly (ECMA-262, 21.1.2.6)."""

# What a server adds to a document's content when it hands it out.
_NOT_CONTENT = frozenset({"_rev", "_revisions", "_conflicts", "_deleted_conflicts", "_revs_info", "_local_seq"})


class Prepared(NamedTuple):
    """A document that is ready to be asked about and to be written."""

    id: str
    """The document's ``_id``."""
    hash: str
    """HASH of its content."""
    body: bytes
    """Its canonical JSON, without ``_rev``."""

    @property
    def rev(self) -> str:
        """The revision that a first load gives it."""
        return f"1-{self.hash}"

    def write(self) -> bytes:
        """Return the JSON for ``_bulk_docs`` with ``"new_edits": false``: first revision."""
        return b'{"_rev":"1-%s",%s' % (self.hash.encode(), self.body[1:])

    def write_child(self, ancestors: list[str]) -> tuple[str, bytes]:
        """Return the revision and JSON of this content as the child of the newest of ``ancestors``.

        Args:
            ancestors: full revisions of one branch, the newest first, without gaps.
        """
        generation = int(ancestors[0].partition("-")[0]) + 1
        rev = f"{generation}-{self.hash}"
        history = orjson.dumps(
            {"start": generation, "ids": [self.hash, *(ancestor.partition("-")[2] for ancestor in ancestors)]}
        )
        return rev, b'{"_rev":"%s","_revisions":%s,%s' % (rev.encode(), history, self.body[1:])


def normal(value: Any) -> Any:
    """Return JSON data with every number in its canonical form.

    Raises:
        ValueError: a number that JSON or JavaScript can't hold: infinite, not a number, or one beyond
            2**53 - 1, where a server may hand out 10000000000000000 for 1e16.
    """
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError(f"{value} is not a number in JSON")
        if value.is_integer():
            value = int(value)
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        raise ValueError(f"{value} is too large to be kept exactly (at most 2**53 - 1)")
    return value


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the canonical JSON of content whose numbers are :func:`normal`."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def prepare(document: Document) -> Prepared:
    """Make a document ready for loading; its numbers must be :func:`normal` and it has no ``_rev``."""
    body = canonical(document)
    return Prepared(document["_id"], sha256(body).hexdigest()[:DIGITS], body)


def content(stored: Mapping[str, Any]) -> Document:
    """Return what a stored document says, without what the server adds, in normal form."""
    try:
        normalised: Document = normal({key: value for key, value in stored.items() if key not in _NOT_CONTENT})
    except (ValueError, RecursionError):
        # Not ours, then: we never write such a number, nor nest so deep. It is still somebody's document.
        normalised = {key: value for key, value in stored.items() if key not in _NOT_CONTENT}
    return normalised


def content_hash(stored: Mapping[str, Any]) -> str:
    """Return HASH of a stored document's content."""
    try:
        return sha256(canonical(content(stored))).hexdigest()[:DIGITS]
    except TypeError:
        # Beyond what our JSON writer takes, which a person's document may be and ours never is.
        return ""


def says(stored: Mapping[str, Any], document: bytes) -> bool:
    """Tell whether a stored document has the content of one that is ready for loading.

    Args:
        stored: as the server hands it out.
        document: the canonical JSON of the other, without ``_rev``.
    """
    try:
        # As a rule the server leaves numbers alone, and then this is ten times quicker.
        if canonical({key: value for key, value in stored.items() if key not in _NOT_CONTENT}) == document:
            return True
        return canonical(content(stored)) == document
    except TypeError:
        # Beyond what our JSON writer takes, which a person's document may be and ours never is.
        return False


def certifies_itself(stored: Mapping[str, Any]) -> bool:
    """Tell whether a stored document, with its ``_rev``, is what a loader wrote, untouched since."""
    _, _, digits = str(stored.get("_rev", "")).partition("-")
    return not stored.get("_deleted") and bool(digits) and digits == content_hash(stored)


def history(stored: Mapping[str, Any]) -> list[str]:
    """Return a fetched document's branch as full revisions, newest first.

    Args:
        stored: a document fetched with ``revs=true``; without ``_revisions`` only its own is known.
    """
    revisions = stored.get("_revisions")
    if not isinstance(revisions, dict):
        return [str(stored["_rev"])]
    start = int(revisions["start"])
    if not str(stored["_rev"]).startswith(f"{start}-"):
        # PouchDB loses its way where two revisions of a branch have one hash, as when a version comes back.
        return [str(stored["_rev"])]
    return [f"{start - depth}-{digits}" for depth, digits in enumerate(revisions["ids"])]


def rank(leaf: Mapping[str, Any]) -> tuple[int, str]:
    """Order leaves as CouchDB does to choose the one that it shows: by generation, then by hash."""
    generation, _, digits = str(leaf["_rev"]).partition("-")
    return int(generation), digits
