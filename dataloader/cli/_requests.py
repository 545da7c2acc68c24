"""Show a command's requests: each retry, and with --debug each request."""

import time
from threading import Lock

from dataloader.cli._output import Output
from dataloader.common import shorten_uuids
from dataloader.couch import Attempt, Retry

_SILENCE = 1.0
"""Seconds in which the same retry of another concurrent request is not shown again."""


class Requests:
    """Shows retries on stderr, and with --debug a line for each request.

    Args:
        output: how the command prints.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._shown: dict[tuple[str, str], float] = {}
        self._lock = Lock()

    def retry(self, retry: Retry) -> None:
        """Show a retry if there is a noticeable wait."""
        if self._output.quiet or (not retry.wait and retry.lost < _SILENCE):
            return
        now = time.monotonic()
        with self._lock:
            if now - self._shown.get((retry.node, retry.why), -_SILENCE) < _SILENCE:
                return
            self._shown[retry.node, retry.why] = now
        self._output.log(
            "info",
            f"{retry.node}: {retry.why}, retrying {_in(retry.wait)}, giving up in {_seconds(retry.gives_up)}",
            node=retry.node,
            why=retry.why,
            wait=round(retry.wait, 1),
            gives_up=round(retry.gives_up, 1),
        )

    def attempt(self, attempt: Attempt) -> None:
        """Show a request, with --debug; UUIDs in its path are shortened."""
        if not self._output.debug:
            return
        path = shorten_uuids(attempt.path)
        self._output.log(
            "info",
            f"{attempt.method} {path} {attempt.outcome} {attempt.milliseconds:,} ms {attempt.received:,} bytes",
            method=attempt.method,
            path=path,
            outcome=attempt.outcome,
            milliseconds=attempt.milliseconds,
            bytes=attempt.received,
        )


def _in(seconds: float) -> str:
    return f"in {_seconds(seconds)}" if round(seconds, 1) else "now"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s".replace(".0 s", " s")  # noqa: PLR2004 - two digits
