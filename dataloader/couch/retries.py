"""Repeating requests: how often, after what wait, at which node, and for how long in all."""

import random
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from threading import Lock

import urllib3
from urllib3.exceptions import InvalidHeader

from dataloader.common import RETRY_AFTER_MAX, RETRY_JITTER, RETRY_WAIT_MAX, Patience

AWAY_MIN = 1.0
"""Seconds that a node which failed is left alone at least, while others are there."""
_MAX_RETRY_AFTER = 100
"""Characters of a ``Retry-After`` header that is read: a date has 29, a sensible number fewer."""
AWAY_FACTOR = 10
"""A node is left alone this many times as long as its failure took: finding out whether it is back costs little."""


class Deadline:
    """What a run has lost to failed requests and to the waits before their repeats; there is a limit for all of it.

    Time that several requests lose side by side counts once.
    """

    def __init__(self, total: float) -> None:
        self._total = total
        self._lost: list[tuple[float, float]] = []
        """Beginnings and ends, in order, without overlap."""
        self._lock = Lock()

    def lose(self, start: float) -> None:
        """Count the time from a moment of the monotonic clock until now."""
        with self._lock:
            while self._lost and self._lost[-1][1] >= start:
                start = min(start, self._lost.pop()[0])
            self._lost.append((start, time.monotonic()))

    def left(self) -> float:
        """Return how many seconds may still be lost."""
        with self._lock:
            return max(0.0, self._total - sum(end - start for start, end in self._lost))


class Repeats:
    """How often one request may still be repeated, and how long it waits for it.

    What is counted are the repeats at nodes that it has been to already; each further node is tried once besides.

    Args:
        patience: the settings.
        deadline: the run's.
        connects: how many failures to connect are followed by a repeat, if not as many as others.
        timeouts: how many timeouts in a row stop a node.
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
        """Tell whether one more repeat is granted after a failure, and count it."""
        self._left -= 1
        self._connects -= connecting
        self._timeouts -= timed_out
        return min(self._left, self._connects, self._timeouts) >= 0

    def next_wait(self, retry_after: str | None) -> float:
        """Return the seconds to wait now: what the server asks for, or else twice as many as the last time.

        Args:
            retry_after: what the reply's header says, if there is one.
        """
        wait = _asked_for(retry_after)
        if not wait:
            wait = self._own_wait(self._waits) + random.uniform(0, RETRY_JITTER)  # noqa: S311 - no secret
        self._waits += 1
        return min(wait, RETRY_AFTER_MAX, self._deadline.left()) if self._patience.wait > 0 else 0.0

    def _own_wait(self, waits: int) -> float:
        # Beyond a few doublings it is the longest one anyway, and the power would not fit a float.
        return min(self._patience.wait * 2.0 ** min(waits, 32), RETRY_WAIT_MAX)

    def gives_up(self, wait: float, attempt: float, *, connecting: bool, timed_out: bool) -> float:
        """Return the seconds after which the request fails for good, if it goes on failing as it did.

        Args:
            wait: the seconds to wait now.
            attempt: the seconds that each attempt takes.
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
        # No time that there is.
        return 0.0


@dataclass
class _Node:
    url: str
    away: float = 0.0
    """How many seconds it is left alone for, since it failed; 0 where it did not."""
    until: float = 0.0
    """When that is over, by the monotonic clock."""


class Turns:
    """Whose turn it is to be asked: the first node, or the next while one is left alone because it failed.

    When a node's time is over, a single request finds out whether it is back; the others go on where they are.

    Args:
        urls: the nodes of one cluster, the preferred one first.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._nodes = {url: _Node(url) for url in urls}
        self._lock = Lock()

    def next(self, avoid: str | None = None) -> str:
        """Return the node to ask: the first that is not left alone, or else the one that is for the shortest time.

        Args:
            avoid: a node to ask only where there is no other.
        """
        with self._lock:
            now = time.monotonic()
            among = [node for node in self._nodes.values() if node.url != avoid] or [*self._nodes.values()]
            return self._ask(min(among, key=lambda node: max(node.until, now)), now)

    def fresh(self, tried: Collection[str]) -> str | None:
        """Return a node that a request has not tried and that is not left alone, None where there is none."""
        with self._lock:
            now = time.monotonic()
            for node in self._nodes.values():
                if node.url not in tried and node.until <= now:
                    return self._ask(node, now)
            return None

    def _ask(self, node: _Node, now: float) -> str:
        if node.away and node.until <= now:
            # This one finds out whether it is back.
            node.until = now + node.away
        return node.url

    def failed(self, url: str, start: float) -> None:
        """Take note that a request to a node failed, and when it had begun."""
        now = time.monotonic()
        with self._lock:
            node = self._nodes[url]
            node.away = max(AWAY_MIN, AWAY_FACTOR * (now - start))
            node.until = now + node.away

    def answered(self, url: str) -> None:
        """Take note that a node has answered as it should."""
        with self._lock:
            self._nodes[url].away = self._nodes[url].until = 0.0
