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

from dataloader.common import DataloaderError, Secrets, UnreachableError
from dataloader.couch import tls

LAST = ", to the last retry"
AGAIN = "what was written stays written; run it again and it goes on from there"
CUT = "the reply is cut off"
_SHOWN = 300
"""Characters of what a server says that are repeated in an error."""


class TimedOutError(UnreachableError):
    """A reply did not come in time."""


class CutError(ProtocolError):
    """A reply has an end, but not its own: urllib3 could not tell that something is missing."""


class SlowError(HTTPError):
    """A reply goes on and on, a little at a time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed at a node."""

    rule: str
    todo: str
    kind: type[DataloaderError] = UnreachableError
    asked: str = ""
    """The request, where it matters: a server that is not there has none."""
    final: bool = False
    """Whether asking again is of no use."""
    connecting: bool = False
    """Whether no connection came about."""
    timed_out: bool = False
    dropped: bool = False
    """Whether the connection ended before anything that looks like a reply had come."""
    busy: bool = False
    """Whether this node is to be asked again."""
    retry_after: str | None = None
    """When the server wants to be asked again, as its header says."""
    cause: HTTPError | None = None


def failure_of(error: HTTPError, waited: float, secrets: Secrets) -> Failure:
    """Explain what urllib3 says.

    Args:
        error: what it raised for a single attempt.
        waited: how many seconds the reply was waited for, if it was.
        secrets: what was sent, and may be in what came back.
    """
    cause = _cause(error)
    failure = Failure(f"the connection failed{LAST}: {_in_words(cause, secrets)}", AGAIN, cause=error)
    if isinstance(error, LocationParseError):
        return replace(failure, rule="is not a URL", todo="write it as http://HOST:PORT", final=True)
    if isinstance(error, NameResolutionError):
        return replace(failure, rule="there is no host of this name", todo="correct the URL", connecting=True)
    if isinstance(error, ConnectTimeoutError):
        todo = "start the server or correct the URL"
        return replace(failure, rule="nothing answers there", todo=todo, connecting=True)
    if isinstance(error, ReadTimeoutError | SlowError) or isinstance(cause, TimeoutError):
        rule = str(error) if isinstance(error, SlowError) else f"no reply within {waited:g} seconds"
        return replace(failure, rule=f"{rule}{LAST}", kind=TimedOutError, timed_out=True)
    if isinstance(error, SSLError) and isinstance(cause, ssl.SSLError) and not tls.is_end(cause):
        # A certificate does not become good by asking again.
        kind, rule, todo = tls.explain(cause)
        return replace(failure, rule=rule, todo=todo, kind=kind, final=True)
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
        text = f"what comes back is no HTTP: {text}"
    return shown(secrets.hide_in_theirs(text[:1].lower() + text[1:]))


def shown(text: str) -> str:
    """Return what a server says as it may be repeated: not too long, and with nothing that a terminal obeys."""
    return "".join(each if each.isprintable() else " " for each in text[:_SHOWN])


def raise_failures(failures: Mapping[str, Failure]) -> NoReturn:
    """Raise one error for what went wrong with a request.

    Args:
        failures: the last failure of each node that was tried, the last node last.

    Raises:
        DataloaderError: of the last failure's kind.
    """
    *others, node = failures
    last = failures[node]
    where, rule = node, last.rule
    if all(failures[url].rule == rule for url in others):
        where = ", ".join(failures)
    else:
        rule += "".join(f"; {url}: {failures[url].rule}" for url in others)
    raise last.kind(f"{last.asked}{where}", rule=rule, todo=last.todo) from last.cause
