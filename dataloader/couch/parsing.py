"""The forms that CouchDB's replies have; what is taken out of one has been looked at.

A server that is something else, or a proxy before one, may answer anything. Each function takes one reply apart,
which is JSON, and raises one of ``MALFORMED`` where it is not as the documentation has it:
https://docs.couchdb.org/en/3.5.0/api/.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from dataloader.common import IMPOSSIBLE, Document

MALFORMED = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What taking a reply apart ends with that has another form."""

# CouchDB's own hashes are 32 hex digits; a replicator may bring others.
_REVISION = re.compile(r"[0-9]{1,10}-\S+\Z")
_SEQUENCE = re.compile(r"([0-9]{1,18})(-\S*)?\Z")


def _is(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError
    return value


def _texts(value: Any) -> list[str]:
    return [_is(each, str) for each in _is(value, list)]


def _revision(value: Any) -> str:
    if not _REVISION.match(value):
        raise ValueError
    text: str = value
    return text


def greeting(reply: Any) -> tuple[str, str] | None:
    """Return a server's product and version; None for one that is neither CouchDB nor PouchDB Server."""
    for member, product in (("couchdb", "CouchDB"), ("express-pouchdb", "PouchDB Server")):
        if member in reply:
            return product, str(reply.get("version", ""))
    return None


def user(reply: Any) -> tuple[str | None, bool]:
    """Return from ``_session`` the user's name, and whether it is a server admin."""
    context = _is(reply["userCtx"], dict)
    name = context.get("name")
    return name if name is None else _is(name, str), "_admin" in _texts(context.get("roles", []))


def membership(reply: Any) -> tuple[list[str], list[str]]:
    """Return from ``_membership`` the nodes that belong to the cluster, and those that are connected."""
    return _texts(reply.get("cluster_nodes", [])), _texts(reply.get("all_nodes", []))


def indexing(reply: Any, database: str) -> tuple[int, int]:
    """Return from ``_active_tasks`` how many changes a database's indexers have seen to, and of how many."""
    # A task is of one shard: "shards/00000000-7fffffff/NAME.1700000000".
    mine = [
        (_is(task["changes_done"], int), _is(task["total_changes"], int))
        for task in _is(reply, list)
        if task.get("type") == "indexer" and str(task.get("database")).rpartition("/")[2].startswith(f"{database}.")
    ]
    # What comes in while an indexer runs is done without having been counted.
    return sum(min(done, total) for done, total in mine), sum(total for _, total in mine)


def information(reply: Any) -> dict[str, Any]:
    """Return what is known of a database; ``doc_count`` and ``update_seq`` are numbers."""
    sequence = _SEQUENCE.match(str(_is(reply, dict).get("update_seq", 0)))
    if sequence is None:
        raise ValueError
    return {**reply, "doc_count": _is(reply.get("doc_count", 0), int), "update_seq": int(sequence[1])}


def copies(reply: Any) -> int:
    """Return from what is known of a database how many copies a document has; 1 where the server has no copies."""
    cluster = reply.get("cluster", {})
    found: int = _is(cluster.get("n", 1), int)
    if found < 1:
        raise ValueError
    return found


def differences(reply: Any, asked: Mapping[str, Collection[str]]) -> dict[str, dict[str, list[str]]]:
    """Return from ``_revs_diff`` the revisions by document: ``missing``, and ``possible_ancestors``.

    Args:
        reply: the reply; it has to answer for each document, since each has a revision that is always missing.
        asked: the revisions that were asked about, by document, ``IMPOSSIBLE`` among them.
    """
    if _is(reply, dict).keys() != asked.keys():
        raise ValueError
    found: dict[str, dict[str, list[str]]] = {}
    for doc_id, answer in reply.items():
        missing, ancestors = (_distinct(answer.get(member, [])) for member in ("missing", "possible_ancestors"))
        if IMPOSSIBLE not in missing or not set(missing) <= set(asked[doc_id]):
            raise ValueError
        found[doc_id] = {"missing": missing, "possible_ancestors": ancestors}
    return found


def _distinct(value: Any) -> list[str]:
    """Return revisions, each of which is there once."""
    found = [_revision(each) for each in _is(value, list)]
    if len(found) != len(set(found)):
        raise ValueError
    return found


def mapping(reply: Any) -> dict[str, Any]:
    """Return an object of whatever members."""
    found: dict[str, Any] = _is(reply, dict)
    return found


def listing(reply: Any) -> list[Any]:
    """Return a list of whatever members."""
    found: list[Any] = _is(reply, list)
    return found


Leaf = tuple[str, Document | None, tuple[str, str]]
"""An ID, and the document or the error and its reason; these are empty where there is none."""


def leaves(reply: Any, ids: Sequence[str], *, one: bool = False) -> list[Leaf]:
    """Return what ``_bulk_get`` says of each leaf.

    Args:
        reply: the reply; it has to answer for each document once, with distinct leaves.
        ids: the documents that were asked for, each once.
        one: whether a single revision was asked for.
    """
    found: list[Leaf] = []
    results = _is(reply["results"], list)
    if sorted(_is(result["id"], str) for result in results) != sorted(ids):
        raise LookupError
    for result in results:
        doc_id = result["id"]
        rows = [_leaf(each, doc_id) for each in _is(result["docs"], list)]
        # One leaf, or an error in its place, stands for each document that was asked for.
        if not rows or (one and len(rows) != 1):
            raise LookupError
        _distinct([document["_rev"] for _, document, _ in rows if document is not None])
        found += rows
    return found


def _leaf(row: Any, doc_id: str) -> Leaf:
    if "ok" in row:
        return doc_id, _document(row["ok"], doc_id), ("", "")
    error = row["error"]
    return doc_id, None, (_is(error["error"], str), str(error.get("reason")))


def _document(value: Any, doc_id: str) -> Document:
    """Check what a stored document has besides its content."""
    _revision(value["_rev"])
    if value["_id"] != doc_id or not isinstance(value.get("_deleted", False), bool):
        raise ValueError
    if "_revisions" in value:
        ids = _texts(value["_revisions"]["ids"])
        if not 0 < len(ids) <= _is(value["_revisions"]["start"], int):
            raise ValueError
    for conflict in value.get("_conflicts", []):
        _revision(conflict)
    document: Document = value
    return document


def rows_of_documents(reply: Any, ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return from ``_all_docs`` a row for each ID that was asked for, in their order."""
    rows = _is(reply["rows"], list)
    for doc_id, row in zip(ids, rows, strict=True):
        if row["key"] != doc_id:
            raise ValueError
        if "error" in row:
            _is(row["error"], str)
        elif row.get("doc") is not None:
            _document(row["doc"], doc_id)
        else:
            _revision(row["value"]["rev"])
    return list(rows)


def rows(reply: Any, keys: Sequence[object]) -> list[dict[str, Any]]:
    """Return the rows of a view, whose keys are among those that were asked for."""
    if all(isinstance(key, str) for key in keys):
        asked = set(keys)
        if not all(row["key"] in asked for row in _is(reply["rows"], list)):
            raise ValueError
    return [_is(row, dict) for row in _is(reply["rows"], list)]


def errors(reply: Any, ids: Sequence[str] = ()) -> list[tuple[str, str, str]]:
    """Return from ``_bulk_docs`` the documents that were not taken: the ID, the error and its reason.

    Args:
        reply: the reply; with ``"new_edits": false`` it need not name what was written.
        ids: the documents that were to be written; the reply names no other, and none more often.
    """
    _none_unknown([_is(each["id"], str) for each in _is(reply, list)], ids)
    return [(each["id"], _is(each["error"], str), str(each.get("reason", ""))) for each in reply if "error" in each]


class WriteReply(NamedTuple):
    """What a server says of one document that it was asked to write."""

    rev: str = ""
    """The new revision; empty where there is an error."""
    is_on_all: bool = False
    """Whether it is on as many copies as were asked for; else the server calls it ``accepted``."""
    error: str = ""
    """CouchDB's word, such as ``conflict`` or ``forbidden``."""
    reason: str = ""


def written(reply: Any, ids: Sequence[str]) -> list[WriteReply]:
    """Return from an ordinary ``_bulk_docs`` what it says of each document, in the order of ``ids``.

    Args:
        reply: the reply.
        ids: the documents that were to be written, each once; the reply has to name each of them once.
    """
    found = {_is(each["id"], str): _written(each) for each in _is(reply, list)}
    if len(reply) != len(found) or found.keys() != set(ids):
        raise ValueError
    return [found[doc_id] for doc_id in ids]


def _written(row: Any) -> WriteReply:
    if "error" in row:
        return WriteReply(error=_is(row["error"], str), reason=str(row.get("reason", "")))
    return WriteReply(_revision(row["rev"]), is_on_all=row.get("accepted", False) is False)


def _none_unknown(found: Sequence[str], asked: Sequence[str]) -> None:
    """Raise an error where a reply names something that was not asked about, or more often than it was."""
    if Counter(found) - Counter(asked):
        raise ValueError
