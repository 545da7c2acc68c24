"""Retry policy: how often, how long to wait, at which node, and for how long in total."""

import random
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock

import urllib3
from urllib3.exceptions import InvalidHeader

from dataloader.common import RETRY_AFTER_MAX, RETRY_JITTER, RETRY_WAIT_MAX, Patience

AWAY_MIN = 1.0
"""Seconds for which a failed node is avoided at least, if there are others."""
_MAX_RETRY_AFTER = 100
"""The longest ``Retry-After`` header that is read, in characters: a date has 29, a sensible number fewer."""
AWAY_FACTOR = 10
"""A failed node is avoided for this many times the duration of its failure, so checking it costs little time."""


class Deadline:
    """The time that a run has lost to failed requests and waits before retries, with a limit for the total.

    Time lost by several concurrent requests counts once.
    """

    def __init__(self, total: float) -> None:
        self._total = total
        self._lost: list[tuple[float, float]] = []
        """Start and end times of lost intervals, in order, without overlap."""
        self._lock = Lock()

    def lose(self, start: float) -> None:
        """Count the time since ``start`` (monotonic clock) as lost."""
        with self._lock:
            while self._lost and self._lost[-1][1] >= start:
                start = min(start, self._lost.pop()[0])
            self._lost.append((start, time.monotonic()))

    def left(self) -> float:
        """Return how many more seconds may be lost."""
        with self._lock:
            return max(0.0, self._total - sum(end - start for start, end in self._lost))


class Repeats:
    """The retries left for one request, and how long to wait before each.

    Only retries at nodes already tried are counted; each further node gets one try of its own.

    Args:
        patience: the settings.
        deadline: the deadline of the run.
        connects: the number of retries after failures to connect, if fewer than after other failures.
        timeouts: the number of consecutive timeouts after which a node is not tried again.
    """

    def __init__(
        self, patience: Patience, deadline: Deadline, *, connects: int | None = None, timeouts: int | None = None
    ) -> None:
        self._patience = patience
        self._deadline = deadline
        self._left = patience.retries
        self._connects = patience.retries if connects is None else connects
        self._timeouts = patience.retries if timeouts is None else timeouts
        self._waits = 0

    def grant(self, *, connecting: bool, timed_out: bool) -> bool:
        """Return whether another retry is allowed after a failure, and count it."""
        self._left -= 1
        self._connects -= connecting
        self._timeouts -= timed_out
        return min(self._left, self._connects, self._timeouts) >= 0

    def next_wait(self, retry_after: str | None) -> float:
        """Return the seconds to wait now: what the server asks for, otherwise twice the last wait.

        Args:
            retry_after: the value of the reply's header, if any.
        """
        wait = _asked_for(retry_after)
        if not wait:
            wait = self._own_wait(self._waits) + random.uniform(0, RETRY_JITTER)  # noqa: S311 - no secret
        self._waits += 1
        return min(wait, RETRY_AFTER_MAX, self._deadline.left()) if self._patience.wait > 0 else 0.0

    def _own_wait(self, waits: int) -> float:
        # After a few doublings the maximum is reached; larger powers would overflow a float.
        return min(self._patience.wait * 2.0 ** min(waits, 32), RETRY_WAIT_MAX)

    def gives_up(self, wait: float, attempt: float, *, connecting: bool, timed_out: bool) -> float:
        """Return the seconds after which the request fails for good, if it keeps failing in the same way.

        Args:
            wait: the seconds to wait now.
            attempt: the duration of each attempt in seconds.
            connecting: whether it fails to connect.
            timed_out: whether it times out.
        """
        left = [self._left, *([self._connects] if connecting else []), *([self._timeouts] if timed_out else [])]
        retries = max(0, min(left))
        waits = range(self._waits, self._waits + retries)
        more = sum(map(self._own_wait, waits)) if self._patience.wait > 0 else 0.0
        return min(wait + more + attempt * (retries + 1), self._deadline.left())

    def sleep(self, wait: float) -> None:
        """Wait."""
        if wait > 0:
            start = time.monotonic()
            time.sleep(wait)
            self._deadline.lose(start)


def _asked_for(retry_after: str | None) -> float:
    if retry_after is None or len(retry_after) > _MAX_RETRY_AFTER:
        return 0.0
    try:
        return urllib3.Retry().parse_retry_after(retry_after)
    except (InvalidHeader, ValueError, OverflowError):
        # A date that does not exist.
        return 0.0


@dataclass
class _Node:
    url: str
    away: float = 0.0
    """How many seconds to avoid it since it failed; 0 if it has not."""
    until: float = 0.0
    """When that time is over, by the monotonic clock."""


class Turns:
    """Pick the node for each request: the first one, or the next if a node is avoided because it failed.

    When a node's time is over, a single request finds out whether it is back; the others stay where they are.

    Args:
        urls: the nodes of one cluster, the preferred one first.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._nodes = {url: _Node(url) for url in urls}
        self._lock = Lock()

    def next(self, avoid: str | None = None) -> str:
        """Return the node to ask: the first one not avoided, otherwise the one whose time is over soonest.

        Args:
            avoid: a node to ask only if there is no other.
        """
        with self._lock:
            now = time.monotonic()
            among = [node for node in self._nodes.values() if node.url != avoid] or [*self._nodes.values()]
            return self._ask(min(among, key=lambda node: max(node.until, now)), now)

    def fresh(self, tried: Collection[str]) -> str | None:
        """Return a node that a request has not tried and that is not avoided; None if there is none."""
        with self._lock:
            now = time.monotonic()
            for node in self._nodes.values():
                if node.url not in tried and node.until <= now:
                    return self._ask(node, now)
            return None

    def _ask(self, node: _Node, now: float) -> str:
        if node.away and node.until <= now:
            # This request finds out whether the node is back.
            node.until = now + node.away
        return node.url

    def failed(self, url: str, start: float) -> None:
        """Record that a request, started at ``start``, failed at a node."""
        now = time.monotonic()
        with self._lock:
            node = self._nodes[url]
            node.away = max(AWAY_MIN, AWAY_FACTOR * (now - start))
            node.until = now + node.away

    def answered(self, url: str) -> None:
        """Record that a node answered as it should."""
        with self._lock:
            self._nodes[url].away = self._nodes[url].until = 0.0
