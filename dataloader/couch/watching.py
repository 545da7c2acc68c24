"""What a session reports about its requests while they run, for a terminal or a log."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Retry:
    """A request failed and will be retried."""

    node: str
    """The node that failed: its host name, with the port if another node has the same name."""
    why: str
    """The status, such as ``503``, or the reason in a few words."""
    wait: float
    """Seconds until the retry."""
    gives_up: float
    """Seconds until the request fails for good, if every retry fails like this attempt."""
    lost: float
    """Duration of this attempt in seconds."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a request."""

    method: str
    path: str
    """Without the query, and without credentials."""
    outcome: str
    """The status, such as ``201``, or the reason it failed."""
    milliseconds: int
    received: int
    """Bytes of the reply, including its headers."""


class Watcher(Protocol):
    """Callbacks for each request and each retry; called from several threads."""

    def retry(self, retry: Retry) -> None:
        """Handle a retry that is about to happen."""

    def attempt(self, attempt: Attempt) -> None:
        """Handle an attempt that has finished."""
