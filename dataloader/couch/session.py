"""One HTTP session for all requests, built on urllib3; replaces couchdb-python's own."""

import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import cast
from urllib.parse import unquote, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from dataloader.common import CONNECTIONS, VERSION, CredentialsError, Patience, ProtocolError
from dataloader.couch import tls
from dataloader.couch.address import Address
from dataloader.couch.cluster import Origin, origin
from dataloader.couch.exchange import Exchange, OverdueError, OversizeError, limited, make_pools
from dataloader.couch.failures import AGAIN, CUT, CutError, Failure, LargeReplyError, failure_of, raise_failures, shown
from dataloader.couch.replies import Body, asked_for, is_cut, most_bytes, read_body, refusal, said
from dataloader.couch.retries import Deadline, Repeats, Turns
from dataloader.couch.watching import Attempt, Retry, Watcher

_BUSY = frozenset({408, 429})
"""Statuses after which a retry at the same node helps."""
_IN_TROUBLE = frozenset({500, 502, 503, 504})
"""Statuses after which a retry helps, preferably at another node."""
_NOT_MADE = "the request was not answered"

Reply = tuple[int, Mapping[str, str], Body]
"""Status, headers, and the complete body."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that any node can answer."""

    method: str
    path: str
    """The path with its query, relative to the node's URL."""
    body: object = None
    """Bytes, a value to encode as JSON, or None."""
    headers: Mapping[str, str] = field(default_factory=dict)
    greeting: bool = False
    """Whether it is the first request, which shows a wrong URL: if nothing answers, it is retried only once."""
    timeout: float | None = None
    """Seconds to wait for the reply, if not the default; a request that exceeds this is not retried."""
    accepts: frozenset[int] = frozenset()
    """Error statuses that are valid answers to this request."""
    unreadable: Callable[[Body], str | None] | None = None
    """Returns which document in a reply the server has but can't read, and why. In a cluster, this can pass,
    though the request itself did not fail."""
    most: int | None = None
    """The largest reply in bytes, if not the default for the path."""

    @property
    def asked(self) -> str:
        """The beginning of an error message about it."""
        return asked_for(self.method, self.path)


class Session:
    """An HTTP session with the interface of ``couchdb.http.Session``.

    Bodies that are bytes are sent as they are, anything else as JSON. Each node has a connection pool; pools are
    thread-safe.

    Args:
        address: the server's URLs and credentials.
        patience: timeouts and retries.
        watcher: notified of each attempt and each retry.
    """

    def __init__(self, address: Address, patience: Patience, watcher: Watcher | None = None) -> None:
        self._address = address
        self._patience = patience
        self._watcher = watcher
        self._deadline = Deadline(patience.total)
        self._turns = Turns(address.urls)
        self._names = _short_names(address.urls)
        self._origins: dict[str, Origin] = {}
        self.checks: dict[str, Callable[[], object]] = {}
        """Checks of databases by name; each raises an error if a write to its database must not be repeated."""
        self._headers = {"Accept": "application/json", "User-Agent": f"gpii-dataloader/{VERSION}"}
        if address.user is not None:
            # Bytes from the environment that are not UTF-8 are sent unchanged.
            pair = f"{address.user}:{address.password or ''}".encode(errors="surrogateescape")
            self._headers["Authorization"] = f"Basic {b64encode(pair).decode('ascii')}"
        self._tls = tls.context(address.tls) if address.url.startswith("https:") else None
        self._pools = make_pools(len(address.urls), CONNECTIONS, self._tls)

    def request(
        self,
        method: str,
        url: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        credentials: object = None,  # noqa: ARG002 - ours are in the headers
        num_redirects: int = 0,  # noqa: ARG002 - we follow none: a redirect is a log-in page, not a database
    ) -> Reply:
        """Make a request as couchdb-python does: with a complete URL, at the first node; see ``send``."""
        return self.send(Request(method, url.removeprefix(self._address.url), body, headers or {}))

    def send(self, request: Request) -> Reply:
        """Make a request; retry temporary failures, at another node if there is one.

        Returns:
            The status, headers and complete body.

        Raises:
            UnreachableError: after all retries, no reply or a server error.
            CredentialsError: 401 or 403.
            TooLargeError: 413, or the reply is too large.
            ProtocolError: a redirect, or an unexpected status.
            NotFoundError: 404.
            ConflictError: 409.
            PreconditionError: 412.
            DataloaderError: a write is not repeated, because the check of its database fails.
        """
        limit = 1 if request.greeting else None
        repeats = Repeats(self._patience, self._deadline, connects=limit, timeouts=limit)
        failures: dict[str, Failure] = {}
        attempts = 0
        node = self._turns.next()
        while True:
            start = time.monotonic()
            outcome = self._strange(node, request) or self._try(node, request)
            if not isinstance(outcome, Failure):
                return outcome
            if request.greeting and node not in failures:
                outcome = self._look_into(node, outcome)
            # Report the last failure, together with those of the other nodes.
            failures.pop(node, None)
            failures[node] = outcome
            if not outcome.busy:
                self._turns.failed(node, start)
            if outcome.timed_out and request.timeout is not None:
                # Expected, so it does not count as lost time.
                raise_failures(failures, attempts)
            self._deadline.lose(start)
            if outcome.final or not self._deadline.left():
                raise_failures(failures, attempts)
            node = self._next(node, failures, attempts, repeats, time.monotonic() - start)
            attempts += 1
            self._check(request)

    def _check(self, request: Request) -> None:
        """Check a database before a write to it is repeated: meanwhile, somebody may have replaced it by another."""
        name, _, rest = urlsplit(request.path).path.removeprefix("/").partition("/")
        check = self.checks.get(unquote(name))
        if check is not None and (request.method in {"PUT", "DELETE"} or rest == "_bulk_docs"):
            check()

    def _next(self, node: str, failures: Mapping[str, Failure], attempts: int, repeats: Repeats, lost: float) -> str:
        """Return the node for the next attempt, after waiting.

        Raises:
            DataloaderError: no attempts are left.
        """
        failure = failures[node]
        fresh = None if failure.busy else self._turns.fresh(failures)
        wait = 0.0
        if fresh is None:
            if not repeats.grant(connecting=failure.connecting, timed_out=failure.timed_out):
                raise_failures(failures, attempts)
            wait = repeats.next_wait(failure.retry_after)
        if self._watcher is not None:
            gives_up = repeats.gives_up(wait, lost, connecting=failure.connecting, timed_out=failure.timed_out)
            self._watcher.retry(Retry(self._names[node], failure.brief or failure.rule, wait, gives_up, lost))
        if fresh is not None:
            return fresh
        repeats.sleep(wait)
        return self._turns.next(avoid=node if failure.connecting else None)

    def unanswering(self) -> dict[str, str]:
        """Ask each node for its greeting, without retries; return those that don't answer, with the reason.

        Raises:
            ProtocolError: the nodes do not belong to the same cluster.
        """
        failures: dict[str, str] = {}
        request = Request("GET", "/")
        for node in self._address.urls:
            try:
                outcome = self._strange(node, request) or self._try(node, request)
            except CredentialsError:
                continue
            if isinstance(outcome, Failure):
                failures[node] = f"{outcome.rule}: {outcome.detail}" if outcome.detail else outcome.rule
        return failures

    def _strange(self, node: str, request: Request) -> Failure | None:
        """Check that a node asked for the first time belongs to the same cluster as the others.

        Returns:
            Why the check failed to get an answer, if it did.

        Raises:
            ProtocolError: it belongs to another cluster.
        """
        if not self._address.others or node in self._origins:
            return None
        found = origin(lambda path: self._try(node, Request("GET", path, timeout=request.timeout)))
        if isinstance(found, Failure):
            # Name the actual request, which the operator knows.
            return replace(found, asked=request.asked if found.asked else "")
        for url, other in self._origins.copy().items():
            if not found.may_be_one_with(other):
                rule = "are not nodes of one cluster"
                raise ProtocolError(
                    f"{url}, {node}", rule=rule, todo="give the URLs of one cluster's nodes, or one URL"
                )
        self._origins[node] = found
        return None

    def _look_into(self, node: str, failure: Failure) -> Failure:
        """Find out whether the first request failed for a reason that a retry does not change."""
        if not failure.dropped and not (failure.timed_out and self._tls):
            return failure
        found = tls.look_into(node, self._tls)
        if found is None:
            return failure
        kind, rule, todo = found
        return replace(failure, kind=kind, rule=rule, detail="", todo=todo, final=True)

    def _prepared(self, request: Request) -> tuple[bytes | None, Mapping[str, str]]:
        """Return a request's body and headers as they are sent."""
        headers = {**self._headers, **request.headers}
        if request.body is None:
            return None, headers
        headers["Content-Type"] = "application/json"
        body = request.body
        return body if isinstance(body, bytes) else msgspec.json.encode(body), headers

    def _try(self, node: str, request: Request) -> Reply | Failure:
        """Make one attempt, and notify the watcher."""
        read = request.timeout or self._patience.timeout
        exchange = Exchange(read, max(self._patience.total, read), request.most or most_bytes(request.path))
        start = time.monotonic()
        outcome = _NOT_MADE
        try:
            found = self._exchange(node, request, exchange)
            outcome = found.brief or found.rule if isinstance(found, Failure) else str(found[0].status)
        finally:
            if self._watcher is not None:
                took = round(1000 * (time.monotonic() - start))
                path = urlsplit(request.path).path
                self._watcher.attempt(Attempt(request.method, path, outcome, took, exchange.received))
        return found if isinstance(found, Failure) else self._judge(request, *found)

    def _exchange(
        self, node: str, request: Request, exchange: Exchange
    ) -> tuple[urllib3.BaseHTTPResponse, Body] | Failure:
        """Send a request once and read the complete reply."""
        body, headers = self._prepared(request)
        read = request.timeout or self._patience.timeout
        start = time.monotonic()
        try:
            with limited(exchange):
                response = self._pools.request(
                    request.method,
                    node + request.path,
                    body=body,
                    headers=headers,
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    timeout=urllib3.Timeout(connect=self._patience.connect, read=read),
                )
                exchange.head_is_complete()
                # The type that a pool without HTTP/2 returns.
                data = read_body(cast(urllib3.HTTPResponse, response), node)
            if is_cut(request.method, response, data):
                raise CutError(CUT)
        except OversizeError as error:
            raise LargeReplyError(
                f"{request.asked}{node}", rule=str(error), todo="check that it is a CouchDB"
            ) from error
        except (HTTPError, OverdueError) as error:
            waited = read if time.monotonic() - start >= read else self._patience.connect
            return failure_of(error, node, waited, self._address.secrets)
        return response, data

    def _judge(self, request: Request, response: urllib3.BaseHTTPResponse, data: Body) -> Reply | Failure:
        """Return a reply, or the failure that it reports.

        Raises:
            DataloaderError: the request was rejected.
        """
        status = response.status
        if status in _BUSY or status in _IN_TROUBLE:
            return Failure(
                said(self._address, response, data),
                AGAIN,
                asked=request.asked,
                brief=str(status),
                busy=status in _BUSY,
                retry_after=response.headers.get("Retry-After"),
            )
        if status >= 300 and status not in request.accepts:  # noqa: PLR2004
            self._turns.answered(data.node)
            raise refusal(self._address, request.method, request.path, response, data)
        if request.unreadable is not None and (document := request.unreadable(data)) is not None:
            rule = f"the server can't read {shown(self._address.secrets.hide_in_theirs(document))}"
            return Failure(rule, AGAIN, asked=request.asked, brief="a document can't be read")
        self._turns.answered(data.node)
        return status, response.headers, data


def _short_names(urls: tuple[str, ...]) -> dict[str, str]:
    """Return short names of nodes, for lines about retries."""
    hosts = {url: urlsplit(url).hostname or url for url in urls}
    counts = Counter(hosts.values())
    return {url: host if counts[host] == 1 else urlsplit(url).netloc for url, host in hosts.items()}
