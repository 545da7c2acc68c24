"""What a session tells of its requests while they run, for a terminal or a log."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Retry:
    """A request failed and is going to be made again."""

    node: str
    """The node that failed: its host name, with the port where another node has the same name."""
    why: str
    """The status, ``503``, or what is wrong in a few words."""
    wait: float
    """Seconds until the request is made again."""
    gives_up: float
    """Seconds after which the request fails for good, if every retry fails as this attempt did."""
    lost: float
    """Seconds that this attempt took."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was made, once."""

    method: str
    path: str
    """Without the query, and without credentials."""
    outcome: str
    """The status, ``201``, or what went wrong."""
    milliseconds: int
    received: int
    """Bytes of the reply, its head included."""


class Watcher(Protocol):
    """Is told of each request and of each retry; from several threads at once."""

    def retry(self, retry: Retry) -> None:
        """Take note that a request is going to be made again."""

    def attempt(self, attempt: Attempt) -> None:
        """Take note of a request."""
