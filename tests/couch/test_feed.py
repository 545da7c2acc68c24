"""The changes feed, read to its end, and replies that name leaves."""

import json

import pytest

from dataloader.common import IMPOSSIBLE
from dataloader.couch import feed, parsing
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied

MANY = 5
"""Pages after which a test gives up."""


def test_feed_of_a_busy_database_ends(proxied: Proxied, prefix: str) -> None:
    """What is written while it is read does not prolong it, however fast; a drill counted changes for ever."""

    def write_first(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_changes" and proxy.count("GET", "_changes") < MANY:
            direct.swap([{"_id": f"edit-{proxy.count('GET', '_changes')}"}])
        return forward(request)

    server, proxy = proxied(write_first)
    direct = server.database(f"{prefix}gpii")
    direct.create()
    direct.swap([{"_id": "first"}])
    assert {row.id for row in direct.all_changes("0")} == {"first", "edit-1"}
    assert proxy.count("GET", "_changes") == 1


def test_feed_that_stands_still_ends(proxied: Proxied, prefix: str) -> None:
    """A server that always says that more follows, and always returns the same."""

    def repeat(request: Request, forward: Forward) -> Reply:
        rows = [{"seq": "1", "id": "a", "changes": [{"rev": "1-a"}]}] if proxy.count("GET", "_changes") < MANY else []
        return Reply.json(200, {"results": rows, "last_seq": "1", "pending": 9})

    server, proxy = proxied(repeat)
    assert [row.id for row in server.database(f"{prefix}gpii").all_changes("0")] == ["a", "a"]
    assert proxy.count("GET", "_changes") == 2


@pytest.mark.parametrize("revs", [[""], ["1-a 2-b"], ["1-a", ""], ["a"], ["1-"]])
def test_leaf_that_is_not_a_revision_is_an_error(revs: list[str]) -> None:
    """Also where the leaves of all documents are checked at once."""
    answers = {"x": ["1-a"], "y": revs, "z": ["2-b", "2-c"]}
    reply = {key: {"missing": [IMPOSSIBLE], "possible_ancestors": each} for key, each in answers.items()}
    with pytest.raises(parsing.FormError, match="in the answer for document y"):
        parsing.leaf_revisions(memoryview(json.dumps(reply).encode()), list(reply))


def test_only_leaf_that_is_empty_is_an_error() -> None:
    """Joined with no other, it leaves nothing to check."""
    reply = {"x": {"missing": [IMPOSSIBLE], "possible_ancestors": [""]}}
    with pytest.raises(parsing.FormError, match="a leaf that is not a revision, in the answer for document x"):
        parsing.leaf_revisions(memoryview(json.dumps(reply).encode()), ["x"])


def test_document_without_leaves_in_the_feed_is_an_error() -> None:
    """A backup would leave it out."""
    page = {"results": [{"id": "x", "changes": []}], "last_seq": "1"}
    with pytest.raises(parsing.FormError, match="expected a page of changes"):
        feed.changes(memoryview(json.dumps(page).encode()))


def test_leaf_that_is_there_twice_is_an_error() -> None:
    """It would be written to a backup twice."""
    docs = [{"ok": {"_id": "x", "_rev": rev}} for rev in ("1-a", "2-b", "1-a")]
    reply = {"results": [{"id": "x", "docs": docs}]}
    with pytest.raises(parsing.FormError, match="a revision occurs twice, in the leaves of document x"):
        feed.raw_leaves(memoryview(json.dumps(reply).encode()), {"x"})
