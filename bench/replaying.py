"""A command's own requests without the command: the upper bound of what it can reach.

A ratio to a bare request mixes two things: the requests that the command cannot do without, and the time it takes by
itself. Sending the same requests bare tells them apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus

from bench.bare import Bare, send_all
from dataloader.couch import Address, Database
from tests.support.proxy import Forward, Proxy, Reply, Request

_WORK = frozenset({"GET", "POST"})
"""Everything but a few small writes that can't be repeated."""


def record(address: Address, command: Callable[[Address], object]) -> list[Bare]:
    """Run a command through a proxy; return its requests that the server answered without an error.

    Args:
        address: the server's.
        command: runs the command, with the address to give it.
    """
    found: list[Bare] = []

    def note(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        good = reply.status in {HTTPStatus.OK, HTTPStatus.CREATED} and b'"error"' not in reply.body
        if good and request.method in _WORK:
            found.append(Bare(request.method, request.target, request.body or None))
        return reply

    with Proxy(address.url, note) as proxy:
        command(replace(address, url=proxy.url))
    return found


def replay(
    address: Address, requests: Sequence[Bare], connections: int, *, of: Database, to: Database | None = None
) -> float:
    """Send recorded requests as fast as the server answers them; return how many seconds it took.

    Args:
        address: the server's.
        requests: the requests, in order.
        connections: how many.
        of: the database they were sent to.
        to: another one with the same documents, for requests that change them.
    """
    if to is not None:
        requests = [each._replace(path=each.path.replace(f"/{of.name}/", f"/{to.name}/")) for each in requests]
    return send_all(address, requests, connections)
