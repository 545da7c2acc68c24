"""The changes feed, read to its end."""

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
