"""What went wrong with a request, in words for people, and whether asking again may help."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
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

from dataloader.common import DataloaderError, Secrets, UnreachableError, many
from dataloader.couch import tls
from dataloader.couch.exchange import OverdueError

AGAIN = "documents already written stay; run it again to continue"
CUT = "the reply is cut off"
_SHOWN = 300
"""Characters of what a server says that are repeated in an error."""


class TimedOutError(UnreachableError):
    """A reply did not come in time."""


class CutError(ProtocolError):
    """A reply is not complete, which urllib3 could not tell."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed at a node."""

    rule: str
    todo: str
    detail: str = ""
    """What the network or the server says of it, if that is worth repeating."""
    brief: str = ""
    """The rule in a word or two, such as the status, for a line about a retry; empty where the rule is short."""
    kind: type[DataloaderError] = UnreachableError
    asked: str = ""
    """The request, where it matters: a server that is not there has none."""
    final: bool = False
    """Whether a retry cannot help."""
    connecting: bool = False
    """Whether there was no connection."""
    timed_out: bool = False
    dropped: bool = False
    """Whether the connection ended before anything that looks like a reply had come."""
    busy: bool = False
    """Whether to ask the same node again."""
    retry_after: str | None = None
    """When the server wants to be asked again, as its header says."""
    cause: Exception | None = None


def failure_of(  # noqa: PLR0911 - a decision table, a case a return
    error: HTTPError | OverdueError, node: str, waited: float, secrets: Secrets
) -> Failure:
    """Explain why a single attempt failed.

    Args:
        error: what the HTTP library raised.
        node: the URL of the node.
        waited: how many seconds the reply was waited for, if it was.
        secrets: what was sent, and may be in what came back.
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
        return replace(failure, rule="nothing answers there", detail="", todo=todo, connecting=True)
    if isinstance(error, ReadTimeoutError) or isinstance(cause, TimeoutError):
        rule = f"no reply within {waited:g} seconds"
        return replace(failure, rule=rule, detail="", kind=TimedOutError, timed_out=True, brief="timed out")
    if isinstance(error, SSLError) and isinstance(cause, ssl.SSLError) and not tls.is_end(cause):
        # A certificate does not become valid by asking again.
        kind, rule, todo = tls.explain(cause)
        return replace(failure, rule=rule, detail="", todo=todo, kind=kind, final=True)
    dropped = isinstance(cause, RemoteDisconnected | ConnectionError | BadStatusLine | ssl.SSLError)
    return replace(failure, dropped=dropped)


def _cause(error: HTTPError) -> BaseException:
    """Return what urllib3 found and wrapped."""
    return next((each for each in reversed(error.args) if isinstance(each, BaseException)), error)


def _in_words(cause: BaseException, secrets: Secrets) -> str:
    if isinstance(cause, IncompleteRead):
        return CUT
    text = str(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)
    if isinstance(cause, BadStatusLine) and not isinstance(cause, RemoteDisconnected):
        text = f"the reply is not HTTP: {text}"
    return shown(secrets.hide_in_theirs(text[:1].lower() + text[1:]))


def shown(text: str) -> str:
    """Return text of a server as it may be repeated: not too long; the terminal's output escapes the rest."""
    return text[:_SHOWN]


def raise_failures(failures: Mapping[str, Failure], retries: int) -> NoReturn:
    """Raise one error for a request that failed.

    Args:
        failures: the last failure of each node that was tried, the last node last.
        retries: how often the request was made again.

    Raises:
        DataloaderError: of the last failure's kind.
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
