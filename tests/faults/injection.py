"""Faults of the connection or the server, injected into chosen requests.

The name of a request (``POST /DB/_bulk_docs``) does not depend on a target's prefix, document or view, so the same
kinds appear on every target and can be listed in a table.
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
"""Bodies of load balancers and proxies, for any status."""
LONGEST = 60.0
"""Seconds after which a late reply is given up, in case a test hangs."""


def kind_of(request: Request) -> str:
    """Return the name of a kind of request."""
    path = request.path
    if path != "/" and not path.startswith("/_"):
        endpoint = re.sub(r"(?<=/_view/).*", "VIEW", request.endpoint)
        path = "/DB" + (f"/{endpoint if endpoint.startswith('_') else 'ID'}" if endpoint else "")
    return f"{request.method} {path}"


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """A request in a form that identifies it in another run of the same command on another target."""

    kind: str
    documents: int
    """The number of documents it is about, according to its body."""
    rest: str
    """The rest of its content."""
    nth: int = 1
    """Its position among identical requests, from 1."""

    @classmethod
    def of(cls, request: Request, prefix: str) -> "Asked":
        """Describe a request, given the target's prefix."""
        target, body = (text.replace(prefix, "") for text in (unquote(request.target), request.body.decode()))
        return cls(kind_of(request), _documents(request.body), f"{target} {body}")


def _documents(body: bytes) -> int:
    data: Any = json.loads(body) if body else {}
    if not isinstance(data, dict):
        # _revs_limit is a number.
        return 0
    # _bulk_docs and _bulk_get have a list of documents, _all_docs and views a list of keys, _revs_diff has IDs.
    members: Any = data.get("docs", data.get("keys", data))
    return len(members)


def all_asked(requests: list[Request], prefix: str) -> list[Asked]:
    """Describe all requests of a run, grouped by kind; independent of their order."""
    seen: Counter[Asked] = Counter()
    found = []
    for request in requests:
        asked = Asked.of(request, prefix)
        seen[asked] += 1
        found.append(replace(asked, nth=seen[asked]))
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a request."""

    says: str
    """What happens, for the legend of the table."""
    hook: Callable[["Injector", Request, Forward], Reply]
    path: str = ""
    """The code path of the client, shared by faults that it treats alike; by default its own."""
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
    # In the middle of the first header, before the length.
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
"""Every fault, by name."""


def path_of(fault: str) -> str:
    """Return the code path of the client for a fault."""
    return FAULTS[fault].path or fault


FAILURE = "any failure"
COLUMNS = (FAILURE, "413", "202")
"""The columns of the table: all faults but two have the same results."""
PATHS: dict[str, list[str]] = {}
"""The failures, by code path of the client."""
for _name in FAULTS:
    if _name not in COLUMNS:
        PATHS.setdefault(path_of(_name), []).append(_name)


def column(fault: str) -> str:
    """Return the column of docs/faults.md for a fault."""
    return fault if fault in COLUMNS else FAILURE


@dataclass(frozen=True, slots=True)
class Way:
    """Which requests a fault affects."""

    asked: Asked
    for_good: bool
    """Whether all later requests of the same kind fail, too."""
    any_like_it: bool = False
    """Whether the first request of its kind may be used instead, if runs do not make the same requests."""


class Injector:
    """A hook that fails some requests and forwards the others."""

    def __init__(self, proxy: Proxy, fault: Fault, way: Way, prefix: str) -> None:
        self.proxy = proxy
        self.over = Event()
        """Set at the end of the run, when nothing waits for a late reply any more."""
        self.hits = 0
        self._fault = fault
        self._way = way
        self._prefix = prefix
        self._seen = 0
        self._lock = Lock()

    def __call__(self, request: Request, forward: Forward) -> Reply:
        """Fail a request, or forward it."""
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
        """Record that a connection was refused; once is enough, unless the fault is permanent."""
        if not self._way.for_good:
            self.proxy.listen()


@contextmanager
def injected(proxy: Proxy, fault: Fault, way: Way, prefix: str) -> Iterator[Injector]:
    """Inject a fault during a block; the client must be in this process."""
    injector = Injector(proxy, fault, way, prefix)
    connect = urllib3.util.connection.create_connection

    def watched(*args: Any, **options: Any) -> Any:
        # Only the client notices a refused connection: there is no server.
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
