"""Parse replies for backups: the changes feed, and leaves as the exact bytes sent by the server.

A backup must not alter a document, but decoding and encoding JSON would change numbers such as ``1.0`` or one of thirty
digits. So documents are cut out of the reply without decoding them.
API facts: https://docs.couchdb.org/en/3.5.0/api/database/changes.html and ``bulk-api.html#post--db-_bulk_get``.
"""

from itertools import pairwise
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from dataloader.couch.failures import shown
from dataloader.couch.parsing import FormError

T = TypeVar("T")

_NOTHING = msgspec.Raw()


class FeedRow(NamedTuple):
    """A row of the changes feed (``style=all_docs``)."""

    id: str
    leaves: tuple[str, ...]
    """The document's leaf revisions, including deleted ones."""


class FeedPage(NamedTuple):
    """A page of the changes feed."""

    rows: list[FeedRow]
    last_seq: str
    """The sequence at which the next page starts."""
    pending: int | None
    """Number of rows after this page; None if the server does not say."""

    def is_last(self, limit: int) -> bool:
        """Return whether nothing follows; if the server does not say, a page that is not full is the last."""
        return self.pending == 0 or (self.pending is None and len(self.rows) < limit)


class RawLeaf(NamedTuple):
    """One leaf of a document, with its history and attachments."""

    rev: str
    json: bytes
    """The document as one line of JSON."""
    start: int
    """The generation of its revision; 0 without a history."""
    past: list[str]
    """The digests of its revision and the ones before, newest first; empty without a history."""
    lacks_attachments: bool
    """Whether the leaf has an attachment without its content."""

    @property
    def ancestors(self) -> frozenset[str]:
        """The revisions of its branch, including its own."""
        return frozenset((self.rev, *(f"{self.start - depth}-{digits}" for depth, digits in enumerate(self.past))))


class _Revision(msgspec.Struct):
    rev: str


class _Row(msgspec.Struct):
    id: str
    changes: Annotated[list[_Revision], msgspec.Meta(min_length=1)]


class _Page(msgspec.Struct):
    results: list[_Row]
    last_seq: str | int
    pending: int | None = None


class _Item(msgspec.Struct):
    ok: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


class _Result(msgspec.Struct):
    id: str
    docs: list[_Item]


class _Reply(msgspec.Struct):
    results: list[_Result]


class _Revisions(msgspec.Struct):
    start: int
    ids: list[str]


class _Meta(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    rev: str = msgspec.field(name="_rev")
    revisions: _Revisions | None = msgspec.field(name="_revisions", default=None)
    attachments: dict[str, dict[str, Any]] = msgspec.field(name="_attachments", default_factory=dict)


_PAGE = msgspec.json.Decoder(_Page)
_REPLY = msgspec.json.Decoder(_Reply)
_ITEMS = msgspec.json.Decoder(list[_Item])
_META = msgspec.json.Decoder(_Meta)
_NO_HISTORY = _Revisions(0, [])
_NUMBER = msgspec.json.Decoder(int)


def changes(data: memoryview) -> FeedPage:
    """Parse a page of the changes feed.

    Raises:
        FormError: the reply has another form.
    """
    page = _decoded(_PAGE, data, "a page of changes")
    rows = [FeedRow(row.id, tuple(each.rev for each in row.changes)) for row in page.results]
    return FeedPage(rows, str(page.last_seq), page.pending)


def raw_leaves(data: memoryview, ids: set[str]) -> tuple[dict[str, list[RawLeaf]], str | None]:
    """Parse a ``_bulk_get`` reply into leaves, by ID and ordered by revision.

    Args:
        data: the reply.
        ids: the requested documents.

    Returns:
        The leaves, and an error if there is a document that the server has but can't read now.

    Raises:
        FormError: the reply has another form, or is about another document.
    """
    found: dict[str, list[RawLeaf]] = {each: [] for each in ids}
    problem = None
    for result in _decoded(_REPLY, data, "the leaves of documents").results:
        if result.id not in found:
            raise FormError(f"a document that was not asked for: {shown(result.id)}")
        for item in result.docs:
            if item.ok == _NOTHING:
                problem = problem or _problem(result.id, item)
            else:
                found[result.id].append(raw_leaf(bytes(item.ok), result.id))
    for doc_id, leaves in found.items():
        if len(leaves) > 1:
            leaves.sort(key=lambda leaf: leaf.rev)
            if any(first.rev == second.rev for first, second in pairwise(leaves)):
                raise FormError(f"a revision occurs twice, in the leaves of document {shown(doc_id)}")
    return found, problem


def raw_revisions(data: memoryview, doc_id: str) -> list[RawLeaf]:
    """Parse the reply to a request for some revisions of a document (``open_revs``), without those that are missing.

    Raises:
        FormError: the reply has another form, or is about another document.
    """
    items = _decoded(_ITEMS, data, "revisions of a document")
    return [raw_leaf(bytes(item.ok), doc_id) for item in items if item.ok != _NOTHING]


def raw_leaf(data: bytes, doc_id: str) -> RawLeaf:
    """Parse one leaf.

    Raises:
        FormError: it is not a document, or the wrong one.
    """
    meta = _decoded(_META, data, "a document")
    if meta.id != doc_id:
        raise FormError(f"another document than {shown(doc_id)}")
    past = meta.revisions or _NO_HISTORY
    lacks = bool(meta.attachments) and any("data" not in each for each in meta.attachments.values())
    return RawLeaf(meta.rev, one_line(data), past.start, past.ids, lacks)


def one_line(data: bytes) -> bytes:
    """Return JSON without line breaks, which occur only between its tokens: inside a string they are escaped."""
    return data.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in data else data


def number(data: memoryview) -> int:
    """Parse a reply that is a number.

    Raises:
        FormError: it is not a number.
    """
    return _decoded(_NUMBER, data, "a number")


def _decoded(decoder: "msgspec.json.Decoder[T]", data: bytes | memoryview, what: str) -> T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise FormError(f"expected {what}: {error}") from error


def _problem(doc_id: str, item: _Item) -> str | None:
    said = {} if item.error == _NOTHING else msgspec.json.decode(item.error)
    # CouchDB nests the error, PouchDB may not.
    error = str(said.get("error") if isinstance(said, dict) else said)
    return None if error == "not_found" else f"document {doc_id}: {error}"
