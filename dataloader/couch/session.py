"""One HTTP session for the whole tool, over urllib3, in the place of couchdb-python's own."""

import io
import random
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import couchdb.http
import orjson
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidHeader,
    LocationParseError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from dataloader import __version__
from dataloader.errors import (
    CredentialsError,
    DataloaderError,
    FileError,
    ProtocolError,
    TooLargeError,
    UnreachableError,
)
from dataloader.settings import (
    CONNECT_TIMEOUT,
    CONNECTIONS,
    RETRY_AFTER_MAX,
    RETRY_JITTER,
    RETRY_WAIT_MAX,
    Patience,
)

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that a repeat is known to cure."""

_AGAIN = "what was written stays written; run it again and it goes on from there"


class _Retry(urllib3.Retry):
    """urllib3's retries, with a limit for the whole run and one for what a server may ask us to wait."""

    deadline: "Deadline"
    timeouts: int
    """How many more time-outs are followed by a repeat."""

    def new(self, **kw: Any) -> Self:
        other = super().new(**kw)
        other.deadline = self.deadline
        other.timeouts = self.timeouts
        return other

    def increment(self, *args: Any, **kw: Any) -> Self:
        error = kw.get("error")
        timeouts = self.timeouts - isinstance(error, ReadTimeoutError)
        if timeouts < 0 or isinstance(error, SSLError) or self.deadline.passed():
            # A certificate does not become good by asking again.
            return urllib3.Retry.increment(self.new(total=0), *args, **kw)
        other = super().increment(*args, **kw)
        other.timeouts = timeouts
        return other

    def get_retry_after(self, response: Any) -> float | None:
        try:
            wait = super().get_retry_after(response)
        except InvalidHeader:
            return None
        return None if wait is None else self.deadline.grant(wait)

    def get_backoff_time(self) -> float:
        # urllib3's own formula lets the first repeat go without a wait.
        wait = min(self.backoff_factor * 2 ** (len(self.history) - 1), self.backoff_max)
        return self.deadline.grant(wait + random.uniform(0, self.backoff_jitter))  # noqa: S311 - no secret


class Deadline:
    """What is left of the time that a run's requests may wait before they are repeated."""

    def __init__(self, patience: Patience) -> None:
        self._left = patience.total
        self._waits = patience.wait > 0

    def passed(self) -> bool:
        """Tell whether nothing is left."""
        return self._left <= 0

    def grant(self, wait: float) -> float:
        """Take a wait, in seconds, off the time that is left, and return how long it may be."""
        if not self._waits:
            return 0.0
        granted = max(0.0, min(wait, RETRY_AFTER_MAX, self._left))
        self._left -= granted
        return granted


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to get in; never printed with its credentials."""

    url: str
    """The server's URL without credentials and without a slash at the end."""
    user: str | None = None
    password: str | None = None
    ca_file: Path | None = None

    def __repr__(self) -> str:
        """Show the address without the credentials."""
        return f"Address({self.url!r}, user={self.user!r})"


class Session:
    """An HTTP session with the interface of ``couchdb.http.Session``.

    Bodies that are bytes are sent as they are, anything else as JSON. The pool is safe to use from
    several threads.
    """

    def __init__(self, address: Address, patience: Patience) -> None:
        self._address = address
        self._patience = patience
        self._deadline = Deadline(patience)
        self._headers = {"Accept": "application/json", "User-Agent": f"gpii-dataloader/{__version__}"}
        if address.user is not None:
            pair = f"{address.user}:{address.password or ''}".encode()
            self._headers["Authorization"] = f"Basic {b64encode(pair).decode('ascii')}"
        options: dict[str, Any] = {}
        if address.url.startswith("https:"):
            options["ssl_context"] = _tls(address.ca_file)
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, block=True, **options)

    def request(
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
    ) -> tuple[int, Mapping[str, str], io.BytesIO]:
        """Make a request, repeating it while the failure is one that passes.

        Args:
            method: the HTTP method.
            url: the whole URL.
            body: bytes, or anything that JSON can hold, or None.
            headers: more headers.
            credentials: ignored.
            num_redirects: ignored.
            greeting: whether it is the first request, by which a wrong address shows: where nobody answers, it is
                repeated only once.
            timeout: seconds to wait for the reply, if not as long as set; running out of them is not repeated.

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
        all_headers = {**self._headers, **(headers or {})}
        if body is not None:
            all_headers["Content-Type"] = "application/json"
            if not isinstance(body, bytes):
                body = orjson.dumps(body)
        retry = _Retry(
            total=self._patience.retries,
            connect=1 if greeting else None,
            redirect=False,
            allowed_methods=None,
            status_forcelist=_PASSING,
            raise_on_status=False,
            backoff_factor=self._patience.wait,
            backoff_max=RETRY_WAIT_MAX,
            backoff_jitter=RETRY_JITTER,
        )
        retry.deadline = self._deadline
        retry.timeouts = 0 if timeout is not None else 1 if greeting else self._patience.retries
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=all_headers,
                retries=retry,
                redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=timeout or self._patience.timeout),
            )
        except HTTPError as error:
            raise self._unreachable(error) from error
        data = response.data
        if response.status >= 300:  # noqa: PLR2004
            self._refuse(method, url, response, data)
        return response.status, response.headers, io.BytesIO(data)

    def _unreachable(self, error: HTTPError) -> DataloaderError:
        where = self._address.url
        cause: BaseException | None = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(error, LocationParseError):
            return UnreachableError(where, rule="is not a URL", todo="write it as http://HOST:PORT")
        if isinstance(cause, NameResolutionError):
            return UnreachableError(where, rule="there is no host of this name", todo="correct the URL")
        if isinstance(cause, SSLError):
            return UnreachableError(
                where,
                rule=f"the TLS connection failed: {cause}",
                todo="correct the URL or name the authority's ca_file",
            )
        if isinstance(cause, ReadTimeoutError):
            return TimedOutError(
                where, rule=f"no reply within {self._patience.timeout:g} seconds, to the last retry", todo=_AGAIN
            )
        if isinstance(cause, NewConnectionError | ConnectTimeoutError):
            return UnreachableError(where, rule="nothing answers there", todo="start the server or correct the URL")
        return UnreachableError(where, rule=f"the connection failed, to the last retry: {cause}", todo=_AGAIN)

    def _refuse(self, method: str, url: str, response: urllib3.BaseHTTPResponse, data: bytes) -> None:
        status = response.status
        try:
            reply = orjson.loads(data)
        except ValueError:
            reply = None
        error, reason = (reply.get("error"), reply.get("reason")) if isinstance(reply, dict) else (None, None)
        what = f"{method} {urlsplit(url).path} at {self._address.url}"
        said = f"{status} {error or response.reason or ''}" + (f", {reason}" if reason else "")
        if status in {401, 403}:
            if self._address.user is None:
                rule, todo = "the server wants a user name and a password", "set COUCHDB_USER and COUCHDB_PASSWORD"
            elif "temporarily locked" in str(reason):
                rule = f"user {self._address.user} is locked out for a while after wrong passwords"
                todo = "correct the password and wait some minutes"
            elif status == 401 and "admin" not in str(reason):  # noqa: PLR2004
                rule = f"the server does not accept the password of user {self._address.user}"
                todo = "correct the user name or the password"
            else:
                rule = f"user {self._address.user} may not do this ({said})"
                todo = "use a server admin, or have one create the databases"
            raise CredentialsError(what, rule=rule, todo=todo)
        if status == 413:  # noqa: PLR2004
            raise TooLargeError(what, rule=f"the request is too large ({said})", todo="raise the server's limit")
        if status < 400:  # noqa: PLR2004
            target = urlsplit(response.headers.get("Location", "")).netloc or "another page"
            raise ProtocolError(
                what,
                rule=f"a redirect ({status}) to {target}, as log-in pages do",
                todo="use the address of CouchDB itself",
            )
        if status in _PASSING:
            raise UnreachableError(what, rule=f"the server answers {said}, to the last retry", todo=_AGAIN)
        if reply is None:
            raise not_couchdb(self._address.url, f"it answers {said}")
        known = {404: NotFoundError, 409: ConflictError, 412: PreconditionError}.get(status, ProtocolError)
        raise known(what, rule=f"the server answers {said}", todo="see the server's log")


class NotFoundError(ProtocolError, couchdb.http.ResourceNotFound):
    """404, as couchdb-python's classes expect it, and one line for people where nobody does."""


class ConflictError(ProtocolError, couchdb.http.ResourceConflict):
    """409, likewise."""


class PreconditionError(ProtocolError, couchdb.http.PreconditionFailed):
    """412, likewise."""


class TimedOutError(UnreachableError):
    """A reply did not come in time."""


def not_couchdb(url: str, why: str) -> ProtocolError:
    """Return the error for a server that is something else."""
    return ProtocolError(url, rule=f"this is not a CouchDB server: {why}", todo="correct the URL")


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except ssl.SSLError as error:
        raise FileError(
            str(ca_file), rule="holds no certificate in PEM form", todo="name the authority's certificate"
        ) from error
    except OSError as error:
        raise FileError.of(error, ca_file, "name the authority's certificate") from error
