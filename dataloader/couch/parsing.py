"""Parse CouchDB's replies, checking each against its type before use.

A server that is not CouchDB, or a proxy in front of one, may send anything. Each function parses one reply and raises
``FormError`` naming the wrong member, so our own bugs are never reported as the server's errors.
The documentation: https://docs.couchdb.org/en/3.5.0/api/.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from dataloader.common import IMPOSSIBLE, UUID, Document

T = TypeVar("T")

# CouchDB's own hashes are 32 hex digits; replicated revisions may have others.
_REVISION = re.compile(r"[0-9]{1,10}-\S+")
_REVISIONS = re.compile(rf"{_REVISION.pattern}(?: {_REVISION.pattern})*")
Revision: TypeAlias = Annotated[str, Meta(pattern=rf"^{_REVISION.pattern}$")]
Count: TypeAlias = Annotated[int, Meta(ge=0)]

_SEQUENCE = re.compile(r"([0-9]{1,18})(-\S*)?\Z")
_PATH = re.compile(r" - at `\$?\.?(?P<path>[^`]*)`$")


class FormError(ValueError):
    """A reply is JSON, but not what CouchDB sends; the message names the wrong member."""


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
    """The server's reply to ``GET /``."""

    product: str | None
    """``CouchDB`` or ``PouchDB Server``; None for anything else."""
    version: str
    database: str | None
    """The database's name, if the URL is that of a database."""


def greeting(data: memoryview) -> Greeting:
    """Parse the reply to ``GET /``."""
    said: _Greeting = _decode(data, _Greeting)
    product = "CouchDB" if said.couchdb is not None else "PouchDB Server" if said.pouchdb is not None else None
    return Greeting(product, said.version, said.db_name)


class _Context(Struct):
    name: str | None = None
    roles: list[str] = []


class _Session(Struct):
    context: _Context = field(name="userCtx")


def user(data: memoryview) -> tuple[str | None, bool]:
    """Parse ``_session``: return the user's name, and whether it is a server admin."""
    context = _decode(data, _Session).context
    return context.name, "_admin" in context.roles


class _Membership(Struct):
    expected: list[str] = field(name="cluster_nodes")
    connected: list[str] = field(name="all_nodes")


def membership(data: memoryview) -> tuple[list[str], list[str]]:
    """Parse ``_membership``: return the nodes of the cluster, and those that are connected."""
    found = _decode(data, _Membership)
    return found.expected, found.connected


class _Task(Struct):
    type: str = ""
    database: str | None = None
    done: int | None = field(name="changes_done", default=None)
    total: int | None = field(name="total_changes", default=None)


def indexing(data: memoryview, database: str) -> tuple[int, int]:
    """Parse ``_active_tasks``: return how many changes a database's indexers have processed, and the total."""
    tasks: list[_Task] = _decode(data, list[_Task])
    # There is a task for each shard: "shards/00000000-7fffffff/NAME.1700000000".
    mine = [
        (task.done or 0, task.total or 0)
        for task in tasks
        if task.type == "indexer" and str(task.database).rpartition("/")[2].startswith(f"{database}.")
    ]
    # Changes that arrive while an indexer runs are processed without being counted in the total.
    return sum(min(done, total) for done, total in mine), sum(total for _, total in mine)


class _Properties(Struct):
    partitioned: bool = False


class _Cluster(Struct):
    n: Annotated[int, Meta(ge=1)] = 1


class _Information(Struct):
    db_name: str
    doc_count: Count
    update_seq: int | str
    cluster: _Cluster = field(default_factory=_Cluster)
    props: _Properties = field(default_factory=_Properties)


def information(data: memoryview) -> dict[str, Any]:
    """Parse the information about a database; ``doc_count`` and ``update_seq`` are numbers.

    The result also has ``partitioned``, and ``copies``: the number of copies of each document, 1 for a single node.
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
    # Not ``Revision``, whose pattern would be most of the work: ``leaf_revisions`` checks all of them at once.
    missing: list[str]
    possible_ancestors: list[str] = []


def leaf_revisions(data: memoryview, ids: Sequence[str]) -> dict[str, list[str]]:
    """Parse ``_revs_diff`` about ``IMPOSSIBLE`` only: return the leaf revisions of each document.

    Args:
        data: the reply.
        ids: the documents; the reply has to name each, as the revision is always missing.
    """
    reply: dict[str, _Difference] = _decode(data, dict[str, _Difference])
    _each_once(reply, ids, "answers")
    for doc_id, answer in reply.items():
        if answer.missing != [IMPOSSIBLE]:
            raise FormError(f"revisions that were not asked about, in the answer for document {doc_id}")
        if len(answer.possible_ancestors) > 1:
            _distinct(answer.possible_ancestors, f"the answer for document {doc_id}")
    leaves = {doc_id: answer.possible_ancestors for doc_id, answer in reply.items()}
    found = [*chain.from_iterable(leaves.values())]
    text = " ".join(found)
    # None may contain the separator.
    if found and not (_REVISIONS.fullmatch(text) and text.count(" ") == len(found) - 1):
        wrong = next(doc_id for doc_id, revs in leaves.items() if not all(map(_REVISION.fullmatch, revs)))
        raise FormError(f"a leaf that is not a revision, in the answer for document {wrong}")
    return leaves


def missing(data: memoryview, asked: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Parse ``_revs_diff``: return the missing revisions of each document, without ``IMPOSSIBLE``.

    Args:
        data: the reply; it has to name each document.
        asked: the revisions asked about, by document, including ``IMPOSSIBLE``.
    """
    reply: dict[str, _Difference] = _decode(data, dict[str, _Difference])
    _each_once(reply, list(asked), "answers")
    found: dict[str, set[str]] = {}
    for doc_id, answer in reply.items():
        where = f"the answer for document {doc_id}"
        _distinct(answer.missing, where)
        if IMPOSSIBLE not in answer.missing or not set(answer.missing) <= set(asked[doc_id]):
            raise FormError(f"revisions that were not asked about, in {where}")
        found[doc_id] = set(answer.missing) - {IMPOSSIBLE}
    return found


def _distinct(revisions: Sequence[str], where: str) -> None:
    if len(revisions) != len(set(revisions)):
        raise FormError(f"a revision occurs twice, in {where}")


def mapping(data: memoryview) -> dict[str, Any]:
    """Parse an object with any members."""
    found: dict[str, Any] = _decode(data, dict[str, Any])
    return found


class _Done(Struct):
    ok: bool


def done(data: memoryview) -> None:
    """Parse the reply to a change, which says ``"ok": true``: a page by a proxy is no success."""
    if not _decode(data, _Done).ok:
        raise FormError("expected true at ok")


def security(data: memoryview) -> dict[str, Any]:
    """Parse ``_security``, which may have any members; without members of the database, it is open to everybody."""
    found = mapping(data)
    if "error" in found and not {"admins", "members"} & found.keys():
        raise FormError("an error, although its status means success")
    return found


class _Local(Struct):
    id: str = field(name="_id")
    rev: str = field(name="_rev")


def local(data: memoryview, name: str) -> dict[str, Any]:
    """Parse a ``_local`` document; it must have the requested ID, and a revision."""
    found = _decode(data, _Local)
    if found.id != f"_local/{name}":
        raise FormError("another document's _id")
    return mapping(data)


def names(data: memoryview) -> list[str]:
    """Parse a list of names, such as ``_all_dbs``."""
    found: list[str] = _decode(data, list[str])
    return found


Leaf: TypeAlias = tuple[str, Document | None, tuple[str, str]]
"""A document's ID, its content, and the error with its reason; empty if there is none."""


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
    """Parse a ``_bulk_get`` reply into its leaves.

    Args:
        data: the reply.
        ids: the requested documents.
        one: whether one specific revision was requested.
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
    """Check that a reply covers each requested document exactly once: a missing row would look absent or written."""
    named, ids = list(found), set(asked)
    if len(named) == len(asked) == len(ids) and ids == set(named):
        return
    # Something is wrong, or something was asked for twice.
    counts, wanted = Counter(named), Counter(asked)
    if counts == wanted:
        return
    for doc_id in wanted:
        if counts[doc_id] != wanted[doc_id]:
            raise FormError(f"{counts[doc_id]} {what} for document {doc_id}, which was asked for once")
    raise FormError(f"{what} for a document that was not asked for")


def _document(value: dict[str, Any], doc_id: str) -> _Stored:
    """Check the metadata of a stored document."""
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
    """Parse ``_all_docs``: return one row for each requested ID, in the same order."""
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
    """Parse the rows of a view, with any keys; each row has a key and an ``id``."""
    found: list[dict[str, Any]] = _decode(data, _Rows).rows
    for row in found:
        if not isinstance(row.get("id"), str) or "key" not in row:
            raise FormError("a row without id or key")
    return found


def rows(data: memoryview, keys: Sequence[object]) -> list[dict[str, Any]]:
    """Parse the rows of a view whose keys must be among the requested ones."""
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
    """Parse ``_all_docs`` with documents for a range of IDs, both ends included.

    Args:
        data: the reply; its IDs must ascend by code point, as ``_all_docs`` sorts them.
        start: the first ID of the range.
        end: the last ID of the range.

    Returns:
        One item for each row; None for a document that the server could not read.
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


def document(data: memoryview, doc_id: str, rev: str | None = None) -> Document:
    """Parse a document that was requested by its ID, and by its revision if one is given."""
    found: Document = _decode(data, dict[str, Any])
    if _document(found, doc_id).rev != (rev or found["_rev"]):
        raise FormError(f"another revision of document {doc_id}")
    return found


def rows_between(data: memoryview, start: str, end: str) -> list[dict[str, Any]]:
    """Parse the rows of a view for a range of UUIDs as keys, both ends included.

    Args:
        data: the reply. CouchDB sorts keys by ICU collation, which agrees with code points for UUIDs. Other keys may
            appear anywhere in between, so their order is not checked.
        start: the first key of the range, a UUID in lower case.
        end: the last key of the range.
    """
    found: list[dict[str, Any]] = _decode(data, _Rows).rows
    before = start
    for row in found:
        if "key" not in row:
            raise FormError("a row without a key")
        key = row["key"]
        if isinstance(key, str) and UUID.fullmatch(key):
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


def refused(data: memoryview, ids: Iterable[str]) -> list[tuple[str, str, str]]:
    """Parse a ``_bulk_docs`` reply: return the ID, error and reason of each rejected document.

    Args:
        data: the reply; with ``"new_edits": false`` it may omit documents that were written.
        ids: the documents that were sent; the reply names no others, and none twice.
    """
    found: list[_Written] = _decode(data, list[_Written])
    # Usually it names none, and nobody needs to know what was sent.
    named, asked = [each.id for each in found], set(ids if found else ())
    _each_once(named, [doc_id for doc_id in dict.fromkeys(named) if doc_id in asked], "results")
    return [(each.id, each.error, str(each.reason or "")) for each in found if each.error is not None]


class WriteReply(NamedTuple):
    """The server's answer about one document in a bulk write."""

    rev: str = ""
    """The new revision; empty if there was an error."""
    is_on_all: bool = False
    """Whether as many copies as requested were written; otherwise the server says ``accepted``."""
    error: str = ""
    """CouchDB's error, such as ``conflict`` or ``forbidden``."""
    reason: str = ""


def written(data: memoryview, ids: Sequence[str]) -> list[WriteReply]:
    """Parse a ``_bulk_docs`` reply: return one answer for each document, in the order of ``ids``.

    Args:
        data: the reply.
        ids: the documents that were sent, each once; the reply has to name each of them once.
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
