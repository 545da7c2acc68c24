"""Faults on the way to a server, each put in the way of a chosen request.

What a request is called (``POST /DB/_bulk_docs``) does not depend on a target's prefix, nor on which document or
view it is about, so that the same kinds come up on every target, and a table can be made of them.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Event, Lock
from typing import Any
from unittest import mock
from urllib.parse import unquote

import urllib3.util.connection

from tests.support.proxy import Forward, Hangup, Hook, Proxy, Reply, Request

PAGE = Reply(0, b"<!DOCTYPE html><title>Out of order</title>", {"Content-Type": "text/html"})
"""What balancers and proxies say, of any status."""
LONGEST = 60.0
"""Seconds after which a reply that comes too late is given up, should a test hang."""


def kind_of(request: Request) -> str:
    """Return what a request is called."""
    path = request.path
    if path != "/" and not path.startswith("/_"):
        endpoint = re.sub(r"(?<=/_view/).*", "VIEW", request.endpoint)
        path = "/DB" + (f"/{endpoint if endpoint.startswith('_') else 'ID'}" if endpoint else "")
    return f"{request.method} {path}"


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """A request as it can be found again in another run of the same command on another target."""

    kind: str
    documents: int
    """How many documents it is about, as far as its body says."""
    rest: str
    """The rest of what it says."""
    nth: int = 1
    """The how many-th it is of those that are alike, from 1."""

    @classmethod
    def of(cls, request: Request, prefix: str) -> "Asked":
        """Describe a request on a target with a prefix."""
        target, body = (text.replace(prefix, "") for text in (unquote(request.target), request.body.decode()))
        return cls(kind_of(request), _documents(request.body), f"{target} {body}")


def _documents(body: bytes) -> int:
    data = json.loads(body) if body else {}
    # _bulk_docs and _bulk_get have a list of documents, _all_docs and views one of keys; _revs_diff has IDs.
    return len(data.get("docs", data.get("keys", data)))


def all_asked(requests: list[Request], prefix: str) -> list[Asked]:
    """Describe all requests of a run, each kind together; the order is the same whatever that of the requests."""
    seen: Counter[Asked] = Counter()
    found = []
    for request in requests:
        asked = Asked.of(request, prefix)
        seen[asked] += 1
        found.append(replace(asked, nth=seen[asked]))
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with a request."""

    says: str
    """What happens, for the table's legend."""
    hook: Callable[["Injector", Request, Forward], Reply]
    path: str = ""
    """The client's way through it, shared by faults that are all the same to it; by default one of its own."""
    slow: bool = False
    """Whether it lasts longer than the client waits."""


def _refuse(injector: "Injector", request: Request, forward: Forward) -> Reply:
    injector.proxy.refuse()
    raise Hangup


def _reset_before(injector: "Injector", request: Request, forward: Forward) -> Reply:
    raise Hangup


def _reset_after(injector: "Injector", request: Request, forward: Forward) -> Reply:
    forward(request)
    raise Hangup


def _cut_head(injector: "Injector", request: Request, forward: Forward) -> Reply:
    # In the middle of the first header, the length not being there yet.
    return replace(forward(request), cut_head=len("HTTP/1.1 200 OK\r\nCache"))


def _cut_body(injector: "Injector", request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    return replace(reply, cut=len(reply.body) // 2)


def _late(injector: "Injector", request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    injector.over.wait(LONGEST)
    return reply


def _says(status: int, error: str, **headers: str) -> Callable[["Injector", Request, Forward], Reply]:
    return lambda *_: Reply.json(status, {"error": error, "reason": "put in"}, **headers)


def _page(status: int) -> Callable[["Injector", Request, Forward], Reply]:
    return lambda *_: replace(PAGE, status=status)


def _not_waited_for(injector: "Injector", request: Request, forward: Forward) -> Reply:
    forward(request)
    return replace(PAGE, status=504)


def _accepted(injector: "Injector", request: Request, forward: Forward) -> Reply:
    reply = forward(request)
    return replace(reply, status=202) if reply.status < 300 else reply


FAULTS = {
    "refused": Fault("the connection closes, and new ones are refused", _refuse),
    "reset": Fault("the connection is reset before the server gets the request", _reset_before),
    "reset after": Fault("the server handles the request; the connection is reset before the reply", _reset_after),
    "head cut": Fault("the reply ends within its headers", _cut_head),
    "body cut": Fault("the reply ends in the middle of its body", _cut_body),
    "late": Fault("the server handles the request; the reply comes after the timeout", _late, slow=True),
    "408": Fault("408 Request Timeout, as HTML", _page(408), "busy"),
    "413": Fault("413 Content Too Large, as CouchDB's JSON", _says(413, "too_large")),
    "429": Fault(
        "429 Too Many Requests, with `Retry-After: 3600`", _says(429, "too_many_requests", Retry_After="3600"), "busy"
    ),
    "500": Fault("500 Internal Server Error, as CouchDB's JSON", _says(500, "internal_server_error"), "5xx"),
    "502": Fault("502 Bad Gateway, as HTML", _page(502), "5xx"),
    "503": Fault("503 Service Unavailable, as CouchDB's JSON", _says(503, "nodedown"), "5xx"),
    "504": Fault("504 Gateway Timeout, as HTML; the server handles the request", _not_waited_for, "5xx"),
    "202": Fault("the server handles the request; 202 Accepted instead of 200 or 201", _accepted),
}
"""Every fault by its name."""
FAILURE = "any failure"
COLUMNS = (FAILURE, "413", "202")
"""What faults come to: all but two of them come to the same."""
PATHS: dict[str, list[str]] = {}
"""The failures by the client's ways through them."""
for _name, _fault in FAULTS.items():
    if _name not in COLUMNS:
        PATHS.setdefault(_fault.path or _name, []).append(_name)


def column(fault: str) -> str:
    """Return the column of docs/faults.md that a fault belongs to."""
    return fault if fault in COLUMNS else FAILURE


@dataclass(frozen=True, slots=True)
class Way:
    """Which requests a fault is put in the way of."""

    asked: Asked
    for_good: bool
    """Whether all later ones of its kind are hit, too."""
    any_like_it: bool = False
    """Whether the first one of its kind is as good, as where a server does not get the same ones each time."""


class Injector:
    """A hook that puts a fault in the way of some requests and passes on the others."""

    def __init__(self, proxy: Proxy, fault: Fault, way: Way, prefix: str) -> None:
        self.proxy = proxy
        self.over = Event()
        """Set when the run is over, and nobody waits for a late reply any more."""
        self.hits = 0
        self._fault = fault
        self._way = way
        self._prefix = prefix
        self._seen = 0
        self._lock = Lock()

    def __call__(self, request: Request, forward: Forward) -> Reply:
        """Fail a request, or pass it on."""
        asked = Asked.of(request, self._prefix)
        if asked.kind != self._way.asked.kind:
            return forward(request)
        with self._lock:
            self._seen += self._way.any_like_it or asked == replace(self._way.asked, nth=1)
            nth = 1 if self._way.any_like_it else self._way.asked.nth
            hit = self._seen >= nth and (self._way.for_good or not self.hits)
            self.hits += hit
        return self._fault.hook(self, request, forward) if hit else forward(request)

    def refused(self) -> None:
        """Take note that somebody has been refused; once is enough, unless it is to be for good."""
        if not self._way.for_good:
            self.proxy.listen()


@contextmanager
def injected(proxy: Proxy, fault: Fault, way: Way, prefix: str) -> Iterator[Injector]:
    """Put a fault in the way, from the beginning of a block to its end; the client has to be in this process."""
    injector = Injector(proxy, fault, way, prefix)
    connect = urllib3.util.connection.create_connection

    def watched(*args: Any, **options: Any) -> Any:
        # Only the client sees that a connection is refused: there is nobody on the other side.
        try:
            return connect(*args, **options)
        except ConnectionRefusedError:
            injector.refused()
            raise

    before: Hook = proxy.hook
    proxy.hook = injector
    try:
        with mock.patch.object(urllib3.util.connection, "create_connection", watched):
            yield injector
    finally:
        injector.over.set()
        proxy.listen()
        proxy.hook = before
