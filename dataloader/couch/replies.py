"""Replies: whether one is whole, and what an error says."""

import io
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import couchdb.http
import orjson
import urllib3

from dataloader.common import CredentialsError, DataloaderError, ProtocolError, TooLargeError
from dataloader.couch import parsing
from dataloader.couch.address import Address
from dataloader.couch.failures import SlowError, shown

T = TypeVar("T")

MAX_REPLY = 256_000_000
"""Bytes, more than a reply to any of our requests has: a batch of documents, each far larger than a preference set."""
_PART = 1_000_000
"""Bytes of a reply that are read at once."""
_TITLE = re.compile(rb"<title>([^<]{1,200})</title>", re.IGNORECASE)


class Body(io.BytesIO):
    """A reply's body, read to its end."""

    def __init__(self, data: bytes, node: str) -> None:
        super().__init__(data)
        self.node = node
        """The URL of the node that it came from."""
        self._json: tuple[Any] | None = None

    def json(self) -> Any:
        """Return what the body says.

        Raises:
            ValueError: it is not JSON.
        """
        if self._json is None:
            self._json = (orjson.loads(self.getbuffer()),)
        return self._json[0]


def read_body(response: urllib3.HTTPResponse, node: str, most: float) -> Body:
    """Read a body to its end, and give the connection back.

    Args:
        response: the reply, of which the headers have been read.
        node: where it comes from.
        most: seconds that it may take, however steadily it comes.

    Raises:
        urllib3.exceptions.HTTPError: it does not come whole.
        ProtocolError: it is larger than any that CouchDB has for us.
    """
    data = bytearray()
    end = time.monotonic() + most
    try:
        # What has come, not a whole part: that could be long in coming.
        while part := response.read1(_PART):
            data += part
            if time.monotonic() > end:
                raise SlowError(f"the reply has no end yet after {most:g} seconds")
            if len(data) > MAX_REPLY:
                raise not_couchdb(node, f"its reply is larger than {MAX_REPLY:,} bytes")
    except BaseException:
        # What is left of it must not be taken for the next reply.
        response.close()
        raise
    finally:
        response.release_conn()
    return Body(bytes(data), node)


class NotFoundError(ProtocolError, couchdb.http.ResourceNotFound):
    """404, as couchdb-python's classes expect it, and one line for people where nobody does."""


class ConflictError(ProtocolError, couchdb.http.ResourceConflict):
    """409, likewise."""


class PreconditionError(ProtocolError, couchdb.http.PreconditionFailed):
    """412, likewise."""


def is_cut(method: str, response: urllib3.BaseHTTPResponse, body: Body) -> bool:
    """Tell whether something is missing from a reply that HTTP takes for a whole one.

    Where the connection ends inside the headers, those that came are taken for all, and the body is empty. Where
    something in between has made a length of its own, half a body is as good as a whole one; but half of an
    object or a list is no JSON.
    """
    if method == "HEAD" or response.status in {204, 304}:
        return False
    if not body.getbuffer():
        framed = "Content-Length" in response.headers or getattr(response, "chunked", False)
        return not framed and not 300 <= response.status < 400  # noqa: PLR2004
    if not response.headers.get("Content-Type", "").startswith("application/json"):
        return False
    try:
        body.json()
    except ValueError:
        return True
    return False


def said(address: Address, response: urllib3.BaseHTTPResponse, body: Body) -> str:
    """Return a reply's status with the reason that CouchDB gives."""
    error, reason = _error_and_reason(body)
    text = f"{response.status} {error or response.reason or ''}" + (f", {reason}" if reason else "")
    return shown(address.secrets.hide_in_theirs(text))


def refusal(address: Address, asked: str, response: urllib3.BaseHTTPResponse, body: Body) -> DataloaderError:
    """Return the error for a status that asking again does not change.

    Args:
        address: whose credentials were sent.
        asked: the request and where it went.
        response: the reply.
        body: its body.
    """
    status, text = response.status, said(address, response, body)
    if status in {401, 403}:
        rule, todo = _not_let_in(address, status, text, str(_error_and_reason(body)[1]))
        return CredentialsError(asked, rule=rule, todo=todo)
    if status == 413:  # noqa: PLR2004
        return TooLargeError(asked, rule=f"the request is too large ({text})", todo="raise the server's limit")
    if status < 400:  # noqa: PLR2004
        target = address.secrets.hide_in_theirs(_host(response.headers.get("Location", ""))) or "another page"
        rule, todo = f"a redirect ({status}) to {target}, as log-in pages do", "use the address of CouchDB itself"
        return ProtocolError(asked, rule=rule, todo=todo)
    try:
        body.json()
    except ValueError:
        return not_couchdb(body.node, f"it answers {text}{_title(address, body)}")
    known = {404: NotFoundError, 409: ConflictError, 412: PreconditionError}.get(status, ProtocolError)
    return known(asked, rule=f"the server answers {text}", todo="see the server's log")


def _not_let_in(address: Address, status: int, text: str, reason: str) -> tuple[str, str]:
    if address.user is None:
        return "the server wants a user name and a password", "set COUCHDB_USER and COUCHDB_PASSWORD"
    if address.password is None:
        return f"no password is given for user {address.user}", "set COUCHDB_PASSWORD or COUCHDB_PASSWORD_FILE"
    if "temporarily locked" in reason:
        rule = f"user {address.user} is locked out for a while after wrong passwords"
        return rule, "correct the password and wait some minutes"
    if status == 401 and "admin" not in reason:  # noqa: PLR2004
        rule = f"the server does not accept the password of user {address.user}"
        return rule, "correct the user name or the password"
    return f"user {address.user} may not do this ({text})", "use a server admin, or have one create the databases"


def _host(location: str) -> str:
    """Return whom a redirect leads to, without credentials; nothing for the same server."""
    try:
        return urlsplit(location).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _title(address: Address, body: Body) -> str:
    """Return what a page calls itself: proxies say so what they miss, such as a client's certificate."""
    found = _TITLE.search(body.getbuffer())
    if found is None:
        return ""
    title = address.secrets.hide_in_theirs(found[1].decode(errors="replace").strip())
    return f", a page with the title “{shown(title)}”"


def _error_and_reason(body: Body) -> tuple[Any, Any]:
    try:
        reply = body.json()
    except ValueError:
        return None, None
    return (reply.get("error"), reply.get("reason")) if isinstance(reply, dict) else (None, None)


def not_couchdb(url: str, why: str) -> ProtocolError:
    """Return the error for a server that is something else."""
    return ProtocolError(url, rule=f"this is not a CouchDB server: {why}", todo="correct the URL")


def read(body: Body, form: Callable[[Any], T]) -> T:
    """Return what a reply says.

    Raises:
        ProtocolError: it is not JSON, or has not the form.
    """
    try:
        value = body.json()
    except ValueError as error:
        raise not_couchdb(body.node, "its reply is not JSON") from error
    try:
        return form(value)
    except parsing.MALFORMED as error:
        raise not_couchdb(body.node, "its reply has another form") from error
