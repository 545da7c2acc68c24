"""One HTTP session for the whole tool, over urllib3, in the place of couchdb-python's own."""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit

import orjson
import urllib3
from urllib3.exceptions import HTTPError

from dataloader.common import CONNECTIONS, VERSION, CredentialsError, Patience, ProtocolError
from dataloader.couch import tls
from dataloader.couch.address import Address
from dataloader.couch.cluster import Origin, origin
from dataloader.couch.failures import AGAIN, CUT, LAST, CutError, Failure, failure_of, raise_failures, shown
from dataloader.couch.replies import Body, is_cut, read_body, refusal, said
from dataloader.couch.retries import Deadline, Repeats, Turns

_BUSY = frozenset({408, 429})
"""Statuses that a repeat at the same node is known to cure."""
_IN_TROUBLE = frozenset({500, 502, 503, 504})
"""Statuses that a repeat is known to cure, best at another node."""

Answer = tuple[int, Mapping[str, str], Body]
"""Status, headers, and the body, read to its end."""


class Session:
    """An HTTP session with the interface of ``couchdb.http.Session``.

    Bodies that are bytes are sent as they are, anything else as JSON. Each node has a pool of connections;
    they are safe to use from several threads.
    """

    def __init__(self, address: Address, patience: Patience) -> None:
        self._address = address
        self._patience = patience
        self._deadline = Deadline(patience.total)
        self._turns = Turns(address.urls)
        self._origins: dict[str, Origin] = {}
        self._headers = {"Accept": "application/json", "User-Agent": f"gpii-dataloader/{VERSION}"}
        if address.user is not None:
            # What is not UTF-8 in the environment goes out as it came in.
            pair = f"{address.user}:{address.password or ''}".encode(errors="surrogateescape")
            self._headers["Authorization"] = f"Basic {b64encode(pair).decode('ascii')}"
        self._tls = tls.context(address.tls) if address.url.startswith("https:") else None
        options: dict[str, Any] = {} if self._tls is None else {"ssl_context": self._tls}
        self._pools = urllib3.PoolManager(len(address.urls), maxsize=CONNECTIONS, block=True, **options)

    def request(  # noqa: PLR0913 - couchdb-python's six, and ours
        self,
        method: str,
        url: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        credentials: object = None,  # noqa: ARG002 - couchdb-python passes it; ours stand in the headers
        num_redirects: int = 0,  # noqa: ARG002 - we follow none: a redirect is a log-in page, not a database
        *,
        greeting: bool = False,
        timeout: float | None = None,
        unreadable: Callable[[Body], str | None] | None = None,
    ) -> Answer:
        """Make a request, repeating it while the failure is one that passes, at another node where there is one.

        Args:
            method: the HTTP method.
            url: the whole URL, at the first node.
            body: bytes, or anything that JSON can hold, or None.
            headers: more headers.
            credentials: ignored.
            num_redirects: ignored.
            greeting: whether it is the first request, by which a wrong address shows: where nobody answers, it is
                repeated only once.
            timeout: seconds to wait for the reply, if not as long as set; running out of them is not repeated.
            unreadable: says which document a reply is about that the server has and can't read, and why. In a
                cluster that passes like a failure of the whole request, which it is not.

        Returns:
            The status, the headers and the body, read to its end.

        Raises:
            UnreachableError: no reply, or one that says the server is in trouble, to the last retry.
            CredentialsError: 401 or 403.
            TooLargeError: 413.
            ProtocolError: a redirect, or a status that this request should not get.
            NotFoundError: 404.
            ConflictError: 409.
            PreconditionError: 412.
        """
        sent, all_headers = self._prepared(body, headers)
        path = url.removeprefix(self._address.url)
        limit = 1 if greeting else None
        repeats = Repeats(self._patience, self._deadline, connects=limit, timeouts=limit)
        failures: dict[str, Failure] = {}
        node = self._turns.next()
        while True:
            start = time.monotonic()
            outcome = self._strange(node, _asked(method, path), timeout) or self._try(
                node, method, path, sent, all_headers, timeout, unreadable
            )
            if not isinstance(outcome, Failure):
                return outcome
            if greeting and node not in failures:
                outcome = self._look_into(node, outcome)
            # The last one is told of, and the others beside it.
            failures.pop(node, None)
            failures[node] = outcome
            if not outcome.busy:
                self._turns.failed(node, start)
            if outcome.timed_out and timeout is not None:
                # As was to be expected, so nothing is lost.
                raise_failures(failures)
            self._deadline.lose(start)
            if outcome.final or not self._deadline.left():
                raise_failures(failures)
            fresh = None if outcome.busy else self._turns.fresh(failures)
            if fresh is None:
                if not repeats.grant(connecting=outcome.connecting, timed_out=outcome.timed_out):
                    raise_failures(failures)
                repeats.wait(outcome.retry_after)
                fresh = self._turns.next(avoid=node if outcome.connecting else None)
            node = fresh

    def unanswering(self) -> dict[str, str]:
        """Ask each node who it is, once; return those that don't answer, with why.

        Raises:
            ProtocolError: they are not of one cluster.
        """
        failures: dict[str, str] = {}
        for node in self._address.urls:
            try:
                outcome = self._strange(node, "", None) or self._try(node, "GET", "/", None, self._headers, None)
            except CredentialsError:
                continue
            if isinstance(outcome, Failure):
                failures[node] = outcome.rule.replace(LAST, "")
        return failures

    def _strange(self, node: str, asked: str, timeout: float | None) -> Failure | None:
        """See that a node which has not been asked yet is of the cluster of those that have been.

        Returns:
            Why it could not be asked, if it could not.

        Raises:
            ProtocolError: it is of another.
        """
        if not self._address.others or node in self._origins:
            return None
        found = origin(lambda path: self._try(node, "GET", path, None, self._headers, timeout))
        if isinstance(found, Failure):
            # What was to be asked for is what the operator knows of.
            return replace(found, asked=asked if found.asked else "")
        for url, other in self._origins.copy().items():
            if not found.may_be_one_with(other):
                rule = "are not nodes of one cluster"
                raise ProtocolError(
                    f"{url}, {node}", rule=rule, todo="give the URLs of one cluster's nodes, or one URL"
                )
        self._origins[node] = found
        return None

    def _look_into(self, node: str, failure: Failure) -> Failure:
        """Find out whether a failure of the first request has a reason that asking again does not change."""
        if not failure.dropped and not (failure.timed_out and self._tls):
            return failure
        found = tls.look_into(node, self._tls)
        if found is None:
            return failure
        kind, rule, todo = found
        return replace(failure, kind=kind, rule=rule, todo=todo, final=True)

    def _prepared(self, body: object, headers: Mapping[str, str] | None) -> tuple[bytes | None, Mapping[str, str]]:
        """Return a body and headers as they are sent."""
        all_headers = {**self._headers, **(headers or {})}
        if body is None:
            return None, all_headers
        all_headers["Content-Type"] = "application/json"
        return body if isinstance(body, bytes) else orjson.dumps(body), all_headers

    def _try(
        self,
        node: str,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: float | None,
        unreadable: Callable[[Body], str | None] | None = None,
    ) -> Answer | Failure:
        """Make a request once."""
        read = timeout or self._patience.timeout
        start = time.monotonic()
        try:
            response = self._pools.request(
                method,
                node + path,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=self._patience.connect, read=read),
            )
            # What a pool without HTTP/2 gives.
            data = read_body(cast(urllib3.HTTPResponse, response), node, max(self._patience.total, read))
            if is_cut(method, response, data):
                raise CutError(CUT)
        except HTTPError as error:
            waited = read if time.monotonic() - start >= read else self._patience.connect
            return failure_of(error, waited, self._address.secrets)
        asked = _asked(method, path)
        status = response.status
        if status in _BUSY or status in _IN_TROUBLE:
            return Failure(
                f"the server answers {said(self._address, response, data)}{LAST}",
                AGAIN,
                asked=asked,
                busy=status in _BUSY,
                retry_after=response.headers.get("Retry-After"),
            )
        if status >= 300:  # noqa: PLR2004
            self._turns.answered(node)
            raise refusal(self._address, f"{asked}{node}", response, data)
        if unreadable is not None and (document := unreadable(data)) is not None:
            rule = f"the server can't read {shown(self._address.secrets.hide_in_theirs(document))}{LAST}"
            return Failure(rule, AGAIN, asked=asked)
        self._turns.answered(node)
        return status, response.headers, data


def _asked(method: str, path: str) -> str:
    return f"{method} {urlsplit(path).path} at "
