"""Replies: check that they are complete, and turn errors into messages."""

import io
import re
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import couchdb.http
import msgspec
import urllib3

from dataloader.common import (
    CredentialsError,
    DataloaderError,
    ProtocolError,
    TooLargeError,
    flattened,
    without_large_numbers,
)
from dataloader.couch import parsing
from dataloader.couch.address import Address
from dataloader.couch.failures import NOT_HTTP, CutError, shown

T = TypeVar("T")

MEGABYTE = 1_000_000
MAX_REPLIES = {
    **dict.fromkeys(("_bulk_get", "_all_docs", "_view"), 32 * MEGABYTE),
    **dict.fromkeys(("_revs_diff", "_bulk_docs", "_all_dbs", "_active_tasks", "_local"), 16 * MEGABYTE),
    **dict.fromkeys(("", "_up", "_session", "_membership", "_security"), MEGABYTE),
}
"""The largest reply in bytes, by kind of request: a batch of documents, one line for each document, a few facts."""
MAX_DOCUMENT = 16 * MEGABYTE
"""The largest reply to any other request, in bytes; CouchDB accepts documents of 8 MB."""
MAX_WITH_ATTACHMENTS = 512 * MEGABYTE
"""The largest reply about one document with its attachments, in bytes."""
_PART = 1_000_000
"""Bytes of a reply to read at once."""
_TITLE = re.compile(rb"<title>([^<]{1,200})</title>", re.IGNORECASE)


_SKIM = msgspec.json.Decoder(msgspec.Raw)


class Body(io.BytesIO):
    """A reply's complete body."""

    def __init__(self, data: bytes, node: str) -> None:
        super().__init__(data)
        self.node = node
        """The URL of the node that sent it."""
        self.whole: bytes | None = None
        """The body as it was sent, if parts had to be left out, because our parser can't hold them."""
        self._is_json: bool | None = None

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON; checking keeps none of it in memory."""
        if self._is_json is None:
            # The error keeps a view of the body, which must not be changed before that is gone.
            with suppress(RecursionError):
                self._is_json = _is_json(self.getbuffer())
        if self._is_json is None:
            self.whole = self.getvalue()
            self.seek(0)
            self.truncate()
            self.write(flattened(self.whole))
            self._is_json = _is_json(self.getbuffer())
        return self._is_json

    def leave_out_numbers(self) -> None:
        """Leave out numbers that are too large for our parser, which a user can store in a document of their own."""
        data = without_large_numbers(self.getvalue())
        if len(data) < len(self.getbuffer()):
            self.whole = self.whole or self.getvalue()
            self.seek(0)
            self.truncate()
            self.write(data)

    def json(self) -> Any:
        """Return the body, decoded.

        Raises:
            ValueError: it is not JSON.
        """
        return msgspec.json.decode(self.getbuffer())


def _is_json(data: memoryview) -> bool:
    try:
        _SKIM.decode(data)
    except msgspec.DecodeError:
        return False
    return True


def most_bytes(path: str) -> int:
    """Return the largest reply to a request for a path, in bytes."""
    parts = urlsplit(path).path.strip("/").split("/")
    kinds = (part for part in parts[:-3:-1] if part in MAX_REPLIES)
    if len(parts) == 1:
        # About a server or a database: a few facts.
        return MAX_REPLIES.get(parts[0], MEGABYTE)
    return MAX_REPLIES.get(next(kinds, "another"), MAX_DOCUMENT)


def read_body(response: urllib3.HTTPResponse, node: str) -> Body:
    """Read a complete body, and release the connection.

    Args:
        response: the reply; its headers have been read.
        node: the URL of the node.

    Raises:
        urllib3.exceptions.HTTPError: it is incomplete.
        LimitError: it breaks a limit of the exchange.
        ProtocolError: it is compressed, although that was not requested.
    """
    data = bytearray()
    try:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise not_couchdb(node, "its reply is compressed, which was not asked for")
        # CouchDB sends each row as a chunk of its own, so many are read at once.
        while part := response.read(_PART, decode_content=False):
            data += part
    except ValueError as error:
        response.close()
        raise CutError(NOT_HTTP) from error  # such as a chunk of a negative size
    except BaseException:
        # The rest of it must not be read as the next reply.
        response.close()
        raise
    finally:
        response.release_conn()
    return Body(bytes(data), node)


class NotFoundError(ProtocolError, couchdb.http.ResourceNotFound):
    """404; also the class that couchdb-python expects."""


class ConflictError(ProtocolError, couchdb.http.ResourceConflict):
    """409."""


class PreconditionError(ProtocolError, couchdb.http.PreconditionFailed):
    """412."""


def is_cut(method: str, response: urllib3.BaseHTTPResponse, body: Body) -> bool:
    """Return whether a reply is truncated although it is complete by the rules of HTTP.

    If the connection ends inside the headers, the body is empty. If a proxy in between sets its own length, half a body
    looks complete; but half an object or list is not JSON.
    """
    if method == "HEAD" or response.status in {204, 304}:
        return False
    if not body.getbuffer():
        framed = "Content-Length" in response.headers or getattr(response, "chunked", False)
        return not framed and not 300 <= response.status < 400  # noqa: PLR2004
    return response.headers.get("Content-Type", "").startswith("application/json") and not body.is_json


def said(address: Address, response: urllib3.BaseHTTPResponse, body: Body) -> str:
    """Return the status with CouchDB's reason or a proxy's title, and whether CouchDB or a proxy sent it."""
    answer = _answer(address, response, body)
    return f"a proxy, not CouchDB, answers {answer}" if _is_page(response) else f"the server answers {answer}"


def _answer(address: Address, response: urllib3.BaseHTTPResponse, body: Body) -> str:
    error, reason = _error_and_reason(body)
    text = f"{response.status} {error or response.reason or ''}".rstrip() + (f", {reason}" if reason else "")
    return shown(address.secrets.hide_in_theirs(text)) + _title(address, body)


def _is_page(response: urllib3.BaseHTTPResponse) -> bool:
    return response.headers.get("Content-Type", "").startswith("text/html")


# https://docs.couchdb.org/en/3.5.0/config/couchdb.html and config/http.html
_TOO_LARGE = {
    "document_too_large": ("document", "[couchdb] max_document_size in the server's configuration"),
    "attachment_too_large": ("attachment", "[couchdb] max_attachment_size in the server's configuration"),
    "too_large": ("request", "[chttpd] max_http_request_size in the server's configuration"),
}
"""What is too large, and which limit to raise, by the error of CouchDB."""


def refusal(
    address: Address, method: str, path: str, response: urllib3.BaseHTTPResponse, body: Body
) -> DataloaderError:
    """Return the error for a status that a retry does not change.

    Args:
        address: the server's address, with the credentials that were sent.
        method: the method of the request.
        path: the path of the request, with its query.
        response: the reply.
        body: its body.
    """
    asked = f"{asked_for(method, path)}{body.node}"
    status, text = response.status, said(address, response, body)
    if status == HTTPStatus.FORBIDDEN and _is_page(response):
        todo = "use CouchDB's own address, or ask whoever runs the proxy to let this machine through"
        return ProtocolError(asked, rule=text, todo=todo)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        rule, todo = _not_let_in(address, status, _answer(address, response, body), str(_error_and_reason(body)[1]))
        return CredentialsError(asked, rule=rule, todo=todo)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        other = ("request", "the limit of the server, or of a proxy before it")
        what, limit = _TOO_LARGE.get(str(_error_and_reason(body)[0]), other)
        return TooLargeError(asked, rule=f"the {what} is too large: {text}", todo=f"raise {limit}")
    if status < HTTPStatus.BAD_REQUEST:
        return _redirect(address, asked, response, body)
    if not body.is_json:
        return not_couchdb(body.node, f"it answers {_answer(address, response, body)}")
    known = {404: NotFoundError, 409: ConflictError, 412: PreconditionError}.get(status, ProtocolError)
    gone = known is NotFoundError and "database does not exist" in text.lower()
    todo = "find out who deleted it, then run it again" if gone else "see the server's log"
    return known(asked, rule=text, todo=todo)


def _redirect(address: Address, asked: str, response: urllib3.BaseHTTPResponse, body: Body) -> ProtocolError:
    location = response.headers.get("Location", "")
    here, there = urlsplit(body.node), _parts(location)
    if (here.scheme, here.hostname, there.scheme) == ("http", there.hostname, "https"):
        rule = f"the server redirects http to https ({response.status})"
        port = "" if there.port in {None, 443} else f":{there.port}"
        return ProtocolError(asked, rule=rule, todo=f"write the URL as https://{here.hostname}{port}")
    netloc = there.netloc.rpartition("@")[2]
    target = shown(address.secrets.hide_in_theirs(netloc)) or "another page"
    rule = f"the server redirects to {target} ({response.status}), as log-in pages do"
    return ProtocolError(asked, rule=rule, todo="use the address of CouchDB itself")


def asked_for(method: str, path: str) -> str:
    """Return the beginning of an error message about a request."""
    return f"{method} {urlsplit(path).path} at "


def _not_let_in(address: Address, status: int, text: str, reason: str) -> tuple[str, str]:
    if address.user is None:
        return "the server requires a user name and a password", "set COUCHDB_USER and COUCHDB_PASSWORD"
    if address.password is None:
        return f"no password is given for user {address.user}", "set COUCHDB_PASSWORD or COUCHDB_PASSWORD_FILE"
    if "temporarily locked" in reason:
        rule = f"user {address.user} is locked out for a while after wrong passwords"
        return rule, "correct the password and wait some minutes"
    if status == 401 and "admin" not in reason:  # noqa: PLR2004
        rule = f"the server does not accept the password of user {address.user}"
        return rule, "correct the user name or the password"
    return f"user {address.user} may not do this ({text})", "use a server admin, or have one create the databases"


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return urlsplit("")
    return parts


def _title(address: Address, body: Body) -> str:
    """Return the title of an HTML page: a proxy may say what it requires, such as a client certificate."""
    found = _TITLE.search(body.getbuffer())
    if found is None:
        return ""
    title = address.secrets.hide_in_theirs(found[1].decode(errors="replace").strip())
    return f", a page with the title “{shown(title)}”"


class _Refusal(msgspec.Struct):
    error: Any = None
    reason: Any = None


def _error_and_reason(body: Body) -> tuple[Any, Any]:
    try:
        reply = msgspec.json.decode(body.getbuffer(), type=_Refusal)
    except (ValueError, RecursionError):
        return None, None
    return reply.error, reply.reason


def is_allowed(ask: Callable[[], object]) -> bool:
    """Make a request, and return whether this user may make it."""
    try:
        ask()
    except TooLargeError:
        # Not a question of permissions.
        raise
    except (CredentialsError, ProtocolError):
        # Refused, or redirected to a log-in page.
        return False
    return True


def not_couchdb(url: str, why: str) -> ProtocolError:
    """Return the error for a server that is not CouchDB."""
    return ProtocolError(url, rule=f"this is not a CouchDB server: {why}", todo="correct the URL")


def read(body: Body, form: Callable[[memoryview], T]) -> T:
    """Parse a reply.

    Args:
        body: the reply's body.
        form: parses it; a function of ``parsing``.

    Raises:
        ProtocolError: it is not JSON, or not what CouchDB sends.
    """
    if not body.is_json:
        raise not_couchdb(body.node, "its reply is not JSON")
    try:
        # Almost no reply has such a number, so they are looked for only in one that can't be parsed.
        with suppress(parsing.FormError):
            return form(body.getbuffer())
        body.leave_out_numbers()
        return form(body.getbuffer())
    except parsing.FormError as error:
        raise not_couchdb(body.node, f"its reply is not what CouchDB sends: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_couchdb(body.node, "its reply is not JSON") from error
