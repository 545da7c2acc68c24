"""Replies to changes of a database: a page that a proxy sends with 200 is no success."""

from collections.abc import Callable

import pytest

from dataloader.common import ProtocolError
from dataloader.couch import Database
from dataloader.target import Target
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied

PAGE = Reply(201, b"<title>Welcome</title>", {"Content-Type": "text/html"})
CHANGES: dict[str, Callable[[Database], object]] = {
    "create": lambda database: database.create(),
    "delete": lambda database: database.delete(),
    "local": lambda database: database.put_local("any", {}),
    "permissions": lambda database: database.put_security({}),
    "limit": lambda database: database.set_revs_limit(10),
    "index": lambda database: database.build_view("views", "any", 1.0),
}


@pytest.mark.parametrize(
    "reply", [PAGE, Reply.json(200, {"error": "unknown"}), Reply.json(200, {"ok": False})], ids=["page", "error", "no"]
)
@pytest.mark.parametrize("change", CHANGES)
def test_other_reply_to_a_change_is_an_error(proxied: Proxied, target: Target, change: str, reply: Reply) -> None:
    """Otherwise a restore would report permissions that it never set."""

    def hook(request: Request, forward: Forward) -> Reply:
        return reply

    server, _ = proxied(hook)
    with pytest.raises(ProtocolError, match="this is not a CouchDB server"):
        CHANGES[change](server.database(target.database("auth")))
