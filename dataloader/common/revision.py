"""Revisions computed from content.

Every document written by dataloader gets the revision ``N-HASH``, where HASH is the first 32 hex digits of the SHA-256
of the document's canonical JSON without ``_rev``. Anyone who has the document can compute HASH again, and so find out
whether it is unchanged since it was loaded.

The canonical form is UTF-8 JSON without spaces, with keys sorted by code point at every level, and with numbers in one
form: a number without a fractional part is written as an integer (a JavaScript server turns 1.0 into 1, an Erlang
server keeps 1.0), any other as the shortest text that gives the same IEEE 754 double. Golden values in the tests pin
it: if it changed, every loaded document would look foreign.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from math import isfinite
from typing import Any, NamedTuple, TypeAlias

import orjson

Document: TypeAlias = dict[str, Any]
"""A JSON object as CouchDB stores it, with an ``_id``."""

DIGITS = 32
"""Hex digits of HASH, as many as in CouchDB's own revisions."""

IMPOSSIBLE = f"2147483647-{'0' * DIGITS}"
"""A revision that can't exist. Asked about it, CouchDB names the leaves of the document."""

MAX_SAFE_INTEGER = 2**53 - 1
"""The largest integer that JavaScript, and so some servers, stores exactly (ECMA-262, 21.1.2.6)."""

# Members that a server adds to a document.
_NOT_CONTENT = frozenset({"_rev", "_revisions", "_conflicts", "_deleted_conflicts", "_revs_info", "_local_seq"})


_NOT_NORMAL = re.compile(rb'(?:":|[\[,])-?(?:[0-9]+[.eE]|[0-9]{16})')
"""Finds any number in JSON that may not be in canonical form, and some text that looks like one."""


class Prepared(NamedTuple):
    """A document that is ready to be compared and written."""

    id: str
    """The document's ``_id``."""
    hash: str
    """HASH of its content."""
    body: bytes
    """Its canonical JSON, without ``_rev``."""

    @property
    def rev(self) -> str:
        """The revision that the first load gives it."""
        return f"1-{self.hash}"

    def write(self) -> bytes:
        """Return the first revision as JSON for ``_bulk_docs`` with ``"new_edits": false``."""
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
    """Return JSON data with every number in canonical form.

    Raises:
        ValueError: a number that JSON or JavaScript can't hold: infinite, not a number, or beyond 2**53 - 1, where a
            server may return 10000000000000000 for 1e16.
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
    """Prepare a document for loading; its numbers must be :func:`normal`, and it must have no ``_rev``."""
    body = canonical(document)
    return Prepared(document["_id"], sha256(body).hexdigest()[:DIGITS], body)


def content(stored: Mapping[str, Any]) -> Document:
    """Return the content of a stored document in canonical form, without what the server adds."""
    plain = {key: value for key, value in stored.items() if key not in _NOT_CONTENT}
    try:
        # Looking at each value takes longer than everything else here.
        if _NOT_NORMAL.search(orjson.dumps(plain)):
            plain = normal(plain)
    except (TypeError, ValueError, RecursionError):
        # So it is not one of ours: we never write such a number, nor nest so deep. Somebody else's document may.
        pass
    return plain


def content_hash(stored: Mapping[str, Any]) -> str:
    """Return HASH for the content of a stored document."""
    try:
        return sha256(canonical(content(stored))).hexdigest()[:DIGITS]
    except TypeError:
        # Our JSON writer rejects it: somebody else's document may have such content, ours never does.
        return ""


def says(stored: Mapping[str, Any], document: bytes) -> bool:
    """Return whether a stored document has the content of one that is ready for loading.

    Args:
        stored: as the server returns it.
        document: the canonical JSON of the other document, without ``_rev``.
    """
    try:
        return says_as_is(stored, document) or canonical(content(stored)) == document
    except TypeError:
        # Our JSON writer rejects it: somebody else's document may have such content, ours never does.
        return False


def says_as_is(stored: Mapping[str, Any], document: bytes) -> bool:
    """Return whether :func:`says` is true without looking at each number; false if the server changed a number's form.

    Usually the server leaves numbers alone, and then this is ten times faster.

    Raises:
        TypeError: our JSON writer rejects the stored document.
    """
    return canonical({key: value for key, value in stored.items() if key not in _NOT_CONTENT}) == document


def certifies_itself(stored: Mapping[str, Any]) -> bool:
    """Return whether a stored document is unchanged since a loader wrote it: its ``_rev`` matches its content."""
    _, _, digits = str(stored.get("_rev", "")).partition("-")
    return not stored.get("_deleted") and bool(digits) and digits == content_hash(stored)


def history(stored: Mapping[str, Any]) -> list[str]:
    """Return the full revisions of a fetched document's branch, newest first.

    Args:
        stored: a document fetched with ``revs=true``; without ``_revisions``, only its own revision is known.
    """
    revisions = stored.get("_revisions")
    if not isinstance(revisions, dict):
        return [str(stored["_rev"])]
    start = int(revisions["start"])
    if not str(stored["_rev"]).startswith(f"{start}-"):
        # PouchDB gets it wrong if two revisions of a branch have the same hash, as when a content comes back.
        return [str(stored["_rev"])]
    return [f"{start - depth}-{digits}" for depth, digits in enumerate(revisions["ids"])]


def live_leaves(leaves: Iterable[Document]) -> list[Document]:
    """Return the leaves of a document that are not deletions."""
    return [leaf for leaf in leaves if not leaf.get("_deleted")]


def rank(leaf: Mapping[str, Any]) -> tuple[int, str]:
    """Return a sort key that orders leaves as CouchDB does to pick the winner: by generation, then by hash."""
    generation, _, digits = str(leaf["_rev"]).partition("-")
    return int(generation), digits
