"""Explain why a request failed, and whether a retry may help."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected, UnknownProtocol
from typing import NoReturn

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from dataloader.common import DataloaderError, Secrets, TooLargeError, UnreachableError, many
from dataloader.couch import tls
from dataloader.couch.exchange import OverdueError

AGAIN = "documents already written stay; run it again to continue"
CUT = "the reply is truncated"
NOT_HTTP = "the reply is not HTTP"
_SHOWN = 300
"""The most characters of a server's text to repeat in an error."""


class TimedOutError(UnreachableError):
    """The reply did not arrive in time."""


class LargeReplyError(TooLargeError):
    """The reply is larger than we read, though the request was not too large for the server."""


class CutError(ProtocolError):
    """The reply is incomplete, or not HTTP, in a way that urllib3 does not notice."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request to a node failed."""

    rule: str
    todo: str
    detail: str = ""
    """What the network or the server said, if it is worth repeating."""
    brief: str = ""
    """The reason in a word or two, such as the status, for a line about a retry; empty if the rule is short enough."""
    kind: type[DataloaderError] = UnreachableError
    asked: str = ""
    """The request, if it matters for the message."""
    final: bool = False
    """Whether retries cannot help."""
    connecting: bool = False
    """Whether no connection was made."""
    timed_out: bool = False
    dropped: bool = False
    """Whether the connection was closed before anything like a reply arrived."""
    busy: bool = False
    """Whether to retry at the same node."""
    retry_after: str | None = None
    """The server's Retry-After header."""
    cause: Exception | None = None


def failure_of(  # noqa: PLR0911 - a decision table, a case a return
    error: HTTPError | OverdueError, node: str, waited: float, secrets: Secrets
) -> Failure:
    """Explain why one attempt failed.

    Args:
        error: the exception of the HTTP library.
        node: the URL of the node.
        waited: seconds spent waiting for the reply, if any.
        secrets: the secrets sent, which may be echoed in the reply.
    """
    if isinstance(error, OverdueError):
        return Failure(str(error), AGAIN, kind=TimedOutError, timed_out=True, brief="timed out", cause=error)
    cause = _cause(error)
    failure = Failure("the connection failed", AGAIN, detail=_in_words(cause, secrets), cause=error)
    if isinstance(error, LocationParseError):
        return replace(failure, rule="is not a URL", detail="", todo="write it as http://HOST:PORT", final=True)
    if isinstance(error, NameResolutionError):
        return replace(failure, rule="there is no such host", detail="", todo="correct the URL", connecting=True)
    if isinstance(error, ConnectTimeoutError):
        todo = f"start the server or correct the URL; check with: curl {node}/_up"
        return replace(failure, rule="cannot connect", detail="", todo=todo, connecting=True)
    if isinstance(error, ReadTimeoutError) or isinstance(cause, TimeoutError):
        rule = f"no reply within {waited:g} seconds"
        return replace(failure, rule=rule, detail="", kind=TimedOutError, timed_out=True, brief="timed out")
    if isinstance(error, SSLError) and isinstance(cause, ssl.SSLError) and not tls.is_end(cause):
        # A retry does not make a certificate valid.
        kind, rule, todo = tls.explain(cause)
        return replace(failure, rule=rule, detail="", todo=todo, kind=kind, final=True)
    dropped = isinstance(cause, RemoteDisconnected | ConnectionError | BadStatusLine | ssl.SSLError)
    return replace(failure, dropped=dropped)


def _cause(error: HTTPError) -> BaseException:
    """Return the exception that urllib3 wrapped."""
    return next((each for each in reversed(error.args) if isinstance(each, BaseException)), error)


def _in_words(cause: BaseException, secrets: Secrets) -> str:
    if isinstance(cause, IncompleteRead):
        return CUT
    text = str(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)
    if isinstance(cause, BadStatusLine | UnknownProtocol) and not isinstance(cause, RemoteDisconnected):
        text = f"{NOT_HTTP}: {text}"
    return shown(secrets.hide_in_theirs(text[:1].lower() + text[1:]))


def shown(text: str) -> str:
    """Shorten a text from a server so that it can be repeated; control characters are escaped on output."""
    return text[:_SHOWN]


def raise_failures(failures: Mapping[str, Failure], retries: int) -> NoReturn:
    """Raise one error for a request that failed at all nodes.

    Args:
        failures: the last failure of each node that was tried, the last node last.
        retries: the number of retries.

    Raises:
        DataloaderError: of the class of the last failure.
    """
    *others, node = failures
    last = failures[node]
    after = "" if last.final or last.connecting or not retries else f" after {many(retries, 'retry', 'retries')}"
    where, rule = node, f"{last.rule}{after}{f': {last.detail}' if last.detail else ''}"
    if all(failures[url].rule == last.rule for url in others):
        where = ", ".join(failures)
    else:
        rule += "".join(f"; {url}: {failures[url].rule}" for url in others)
    raise last.kind(f"{last.asked}{where}", rule=rule, todo=last.todo) from last.cause
