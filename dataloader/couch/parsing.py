"""What CouchDB's replies look like; nothing is taken from one before it was checked against its type.

A server that is something else, or a proxy in front of one, may answer anything. Each function parses one reply and
raises ``FormError`` naming the member that is wrong; an error of ours is never reported as the server's.
The documentation: https://docs.couchdb.org/en/3.5.0/api/.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from dataloader.common import IMPOSSIBLE, Document

T = TypeVar("T")

# CouchDB's own hashes are 32 hex digits; a replicator may bring others.
Revision: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{1,10}-\S+$")]
Count: TypeAlias = Annotated[int, Meta(ge=0)]

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_SEQUENCE = re.compile(r"([0-9]{1,18})(-\S*)?\Z")
_PATH = re.compile(r" - at `\$?\.?(?P<path>[^`]*)`$")


class FormError(ValueError):
    """A reply is JSON, but not what CouchDB sends; names the member that is wrong."""


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _decode(data: bytes | memoryview, kind: Any) -> Any:
    try:
        return _decoder(kind).decode(data)
    except (msgspec.ValidationError, RecursionError) as error:
        raise FormError(_in_words(error)) from error


def _convert(value: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        raise FormError(f"{_in_words(error)}, in {where}") from error


def _in_words(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = str(error).replace("`", "").replace("$.", "")
    match = _PATH.search(str(error))
    if match is not None:
        text = f"{_PATH.sub('', str(error)).replace('`', '')} at {match['path']}"
    return text[:1].lower() + text[1:]


class _Greeting(Struct):
    couchdb: Any = None
    pouchdb: Any = field(name="express-pouchdb", default=None)
    version: str = ""
    db_name: str | None = None


class Greeting(Struct):
    """Who answers at the server's URL."""

    product: str | None
    """``CouchDB`` or ``PouchDB Server``; None for anything else."""
    version: str
    database: str | None
    """The database's name, where the URL is that of a database."""


def greeting(data: memoryview) -> Greeting:
    """Return who answers."""
    said: _Greeting = _decode(data, _Greeting)
    product = "CouchDB" if said.couchdb is not None else "PouchDB Server" if said.pouchdb is not None else None
    return Greeting(product, said.version, said.db_name)


class _Context(Struct):
    name: str | None = None
    roles: list[str] = []


class _Session(Struct):
    context: _Context = field(name="userCtx")


def user(data: memoryview) -> tuple[str | None, bool]:
    """Return from ``_session`` the user's name, and whether it is a server admin."""
    context = _decode(data, _Session).context
    return context.name, "_admin" in context.roles


class _Membership(Struct):
    expected: list[str] = field(name="cluster_nodes", default_factory=list)
    connected: list[str] = field(name="all_nodes", default_factory=list)


def membership(data: memoryview) -> tuple[list[str], list[str]]:
    """Return from ``_membership`` the nodes that belong to the cluster, and those that are connected."""
    found = _decode(data, _Membership)
    return found.expected, found.connected


class _Task(Struct):
    type: str = ""
    database: str | None = None
    done: int | None = field(name="changes_done", default=None)
    total: int | None = field(name="total_changes", default=None)


def indexing(data: memoryview, database: str) -> tuple[int, int]:
    """Return from ``_active_tasks`` how many changes a database's indexers have processed, and of how many."""
    tasks: list[_Task] = _decode(data, list[_Task])
    # A task is of one shard: "shards/00000000-7fffffff/NAME.1700000000".
    mine = [
        (task.done or 0, task.total or 0)
        for task in tasks
        if task.type == "indexer" and str(task.database).rpartition("/")[2].startswith(f"{database}.")
    ]
    # What comes in while an indexer runs is done without having been counted.
    return sum(min(done, total) for done, total in mine), sum(total for _, total in mine)


class _Properties(Struct):
    partitioned: bool = False


class _Cluster(Struct):
    n: Annotated[int, Meta(ge=1)] = 1


class _Information(Struct):
    doc_count: Count = 0
    update_seq: int | str = 0
    cluster: _Cluster = field(default_factory=_Cluster)
    props: _Properties = field(default_factory=_Properties)


def information(data: memoryview) -> dict[str, Any]:
    """Return what is known of a database; ``doc_count`` and ``update_seq`` are numbers.

    Added are ``partitioned``, and ``copies``: how many a document has; 1 where the server has no copies.
    """
    reply: dict[str, Any] = _decode(data, dict[str, Any])
    known = _convert(reply, _Information, "the database's information")
    sequence = _SEQUENCE.match(str(known.update_seq))
    if sequence is None:
        raise FormError("expected a number, or text that begins with one, at update_seq")
    return {
        **reply,
        "doc_count": known.doc_count,
        "update_seq": int(sequence[1]),
        "partitioned": known.props.partitioned,
        "copies": known.cluster.n,
    }


class _Difference(Struct):
    missing: list[Revision]
    possible_ancestors: list[Revision] = []


def differences(data: memoryview, asked: Mapping[str, Sequence[str]]) -> dict[str, dict[str, list[str]]]:
    """Return from ``_revs_diff`` the revisions by document: ``missing``, and ``possible_ancestors``.

    Args:
        data: the reply; it has to answer for each document, since each has a revision that is always missing.
        asked: the revisions that were asked about, by document, ``IMPOSSIBLE`` among them.
    """
    reply: dict[str, _Difference] = _decode(data, dict[str, _Difference])
    _each_once(reply, list(asked), "answers")
    found: dict[str, dict[str, list[str]]] = {}
    for doc_id, answer in reply.items():
        where = f"the answer for document {doc_id}"
        for revisions in (answer.missing, answer.possible_ancestors):
            _distinct(revisions, where)
        if IMPOSSIBLE not in answer.missing or not set(answer.missing) <= set(asked[doc_id]):
            raise FormError(f"other revisions than were asked about, in {where}")
        found[doc_id] = {"missing": answer.missing, "possible_ancestors": answer.possible_ancestors}
    return found


def _distinct(revisions: Sequence[str], where: str) -> None:
    if len(revisions) != len(set(revisions)):
        raise FormError(f"a revision is there twice, in {where}")


def mapping(data: memoryview) -> dict[str, Any]:
    """Return an object with any members."""
    found: dict[str, Any] = _decode(data, dict[str, Any])
    return found


class _Local(Struct):
    id: str = field(name="_id")
    rev: str = field(name="_rev")


def local(data: memoryview, name: str) -> dict[str, Any]:
    """Return a ``_local`` document, which has the ID that was asked for and a revision."""
    found = _decode(data, _Local)
    if found.id != f"_local/{name}":
        raise FormError("another document's _id")
    return mapping(data)


def names(data: memoryview) -> list[str]:
    """Return a list of names, such as ``_all_dbs``."""
    found: list[str] = _decode(data, list[str])
    return found


Leaf: TypeAlias = tuple[str, Document | None, tuple[str, str]]
"""An ID, and the document or the error and its reason; these are empty where there is none."""


class _Refused(Struct):
    error: str
    reason: Any = None


class _Got(Struct):
    ok: dict[str, Any] | None = None
    error: _Refused | None = None


class _Result(Struct):
    id: str
    docs: list[_Got]


class _Results(Struct):
    results: list[_Result]


class _Revisions(Struct):
    start: Annotated[int, Meta(ge=1)]
    ids: Annotated[list[str], Meta(min_length=1)]


class _Stored(Struct):
    id: str = field(name="_id")
    rev: Revision = field(name="_rev")
    deleted: bool = field(name="_deleted", default=False)
    revisions: _Revisions | None = field(name="_revisions", default=None)
    conflicts: list[Revision] = field(name="_conflicts", default_factory=list)


def leaves(data: memoryview, ids: Sequence[str], *, one: bool = False) -> list[Leaf]:
    """Return what ``_bulk_get`` says of each leaf.

    Args:
        data: the reply.
        ids: the documents that were asked for.
        one: whether a single revision was asked for.
    """
    results: list[_Result] = _decode(data, _Results).results
    _each_once((result.id for result in results), ids, "results")
    found: list[Leaf] = []
    for result in results:
        where = f"the result for document {result.id}"
        if not result.docs or (one and len(result.docs) != 1):
            raise FormError(f"{len(result.docs)} revisions in {where}")
        rows = [_leaf(each, result.id, where) for each in result.docs]
        _distinct([document["_rev"] for _, document, _ in rows if document is not None], where)
        found += rows
    return found


def _leaf(row: _Got, doc_id: str, where: str) -> Leaf:
    if row.ok is not None:
        _document(row.ok, doc_id)
        return doc_id, row.ok, ("", "")
    if row.error is None:
        raise FormError(f"neither ok nor error, in {where}")
    return doc_id, None, (row.error.error, str(row.error.reason))


def _each_once(found: Iterable[str], asked: Sequence[str], what: str) -> None:
    """See that a reply is about what was asked, each document once: a missing one is neither absent nor written."""
    counts, wanted = Counter(iter(found)), Counter(asked)
    if counts == wanted:
        return
    for doc_id in wanted:
        if counts[doc_id] != wanted[doc_id]:
            raise FormError(f"{counts[doc_id]} {what} for document {doc_id}, which was asked for once")
    raise FormError(f"{what} for a document that was not asked for")


def _document(value: dict[str, Any], doc_id: str) -> _Stored:
    """Check what a stored document has besides its content."""
    where = f"document {doc_id}"
    stored = _convert(value, _Stored, where)
    if stored.id != doc_id:
        raise FormError(f"another document's _id, in {where}")
    if stored.revisions is not None and len(stored.revisions.ids) > stored.revisions.start:
        raise FormError(f"more revisions than _revisions.start says, in {where}")
    return stored


class _Value(Struct):
    rev: Revision
    deleted: bool = False


class _Row(Struct):
    key: str
    error: str | None = None
    value: _Value | None = None
    doc: dict[str, Any] | None = None


class _Rows(Struct):
    rows: list[dict[str, Any]]


def rows_of_documents(data: memoryview, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return from ``_all_docs`` a row for each ID that was asked for, in their order."""
    rows: list[dict[str, Any]] = _decode(data, _Rows).rows
    if len(rows) != len(ids):
        raise FormError(f"{len(rows)} rows where {len(ids)} were asked for")
    for doc_id, row in zip(ids, rows, strict=True):
        found = _convert(row, _Row, f"the row of document {doc_id}")
        if found.key != doc_id:
            raise FormError(f"another key in the row of document {doc_id}")
        if found.error is None and found.doc is not None:
            _document(found.doc, doc_id)
        elif found.error is None and found.value is None:
            raise FormError(f"neither value nor error in the row of document {doc_id}")
    return rows


def any_rows(data: memoryview) -> list[dict[str, Any]]:
    """Return the rows of a view, whatever their keys are; each has one, and an ``id``."""
    found: list[dict[str, Any]] = _decode(data, _Rows).rows
    for row in found:
        if not isinstance(row.get("id"), str) or "key" not in row:
            raise FormError("a row without id or key")
    return found


def rows(data: memoryview, keys: Sequence[object]) -> list[dict[str, Any]]:
    """Return the rows of a view, whose keys are among those that were asked for."""
    found: list[dict[str, Any]] = _decode(data, _Rows).rows
    if all(isinstance(key, str) for key in keys):
        asked = set(keys)
        for row in found:
            if "key" not in row or not isinstance(row["key"], str) or row["key"] not in asked:
                raise FormError("a row with a key that was not asked for")
    return found


class _DocumentRow(Struct):
    id: str
    doc: dict[str, Any] | None = None


class _DocumentRows(Struct):
    rows: list[_DocumentRow]


def documents_between(data: memoryview, start: str, end: str) -> list[Document | None]:
    """Return from ``_all_docs`` with documents those of a range of IDs, both ends included.

    Args:
        data: the reply; its IDs are ascending by code point, which is how ``_all_docs`` sorts them.
        start: the first ID of the range.
        end: the last.

    Returns:
        An item for each row; None where the server could not read the document just then.
    """
    rows: list[_DocumentRow] = _decode(data, _DocumentRows).rows
    before = ""
    for row in rows:
        if not (before < row.id and start <= row.id <= end):
            raise FormError(f"row {row.id} is outside the range or out of order")
        before = row.id
        if row.doc is not None:
            _document(row.doc, row.id)
    return [row.doc for row in rows]


def document(data: memoryview, doc_id: str) -> Document:
    """Return a document that was asked for by itself."""
    found: Document = _decode(data, dict[str, Any])
    _document(found, doc_id)
    return found


def rows_between(data: memoryview, start: str, end: str) -> list[dict[str, Any]]:
    """Return the rows of a view whose keys lie in a range of UUIDs, both ends included.

    Args:
        data: the reply. CouchDB sorts the keys by ICU's rules, which agree with code points where all are UUIDs;
            other keys can stand anywhere between, so their order is not checked.
        start: the first key of the range, a UUID in lower case.
        end: the last.
    """
    found: list[dict[str, Any]] = _decode(data, _Rows).rows
    before = start
    for row in found:
        if "key" not in row:
            raise FormError("a row without a key")
        key = row["key"]
        if isinstance(key, str) and _UUID.match(key):
            if not before <= key <= end:
                raise FormError(f"row {key} is outside the range or out of order")
            before = key
    return found


class _Written(Struct):
    id: str
    rev: Revision | None = None
    accepted: bool = False
    error: str | None = None
    reason: Any = None


def refused(data: memoryview, ids: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return from ``_bulk_docs`` the documents that were not accepted: the ID, the error and its reason.

    Args:
        data: the reply; with ``"new_edits": false`` it need not name what was written.
        ids: the documents that were to be written; the reply names no other, and none twice.
    """
    found: list[_Written] = _decode(data, list[_Written])
    named, asked = [each.id for each in found], set(ids)
    _each_once(named, [doc_id for doc_id in dict.fromkeys(named) if doc_id in asked], "results")
    return [(each.id, each.error, str(each.reason or "")) for each in found if each.error is not None]


class WriteReply(NamedTuple):
    """What a server says of one document that it was asked to write."""

    rev: str = ""
    """The new revision; empty where there is an error."""
    is_on_all: bool = False
    """Whether it is on as many copies as were asked for; else the server calls it ``accepted``."""
    error: str = ""
    """CouchDB's word, such as ``conflict`` or ``forbidden``."""
    reason: str = ""


def written(data: memoryview, ids: Sequence[str]) -> list[WriteReply]:
    """Return from an ordinary ``_bulk_docs`` what it says of each document, in the order of ``ids``.

    Args:
        data: the reply.
        ids: the documents that were to be written, each once; the reply has to name each of them once.
    """
    found: list[_Written] = _decode(data, list[_Written])
    _each_once((each.id for each in found), ids, "results")
    replies = {each.id: _reply(each) for each in found}
    return [replies[doc_id] for doc_id in ids]


def _reply(row: _Written) -> WriteReply:
    if row.error is not None:
        return WriteReply(error=row.error, reason=str(row.reason or ""))
    if row.rev is None:
        raise FormError(f"neither rev nor error, in the result for document {row.id}")
    return WriteReply(row.rev, is_on_all=not row.accepted)
