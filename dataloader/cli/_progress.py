"""How far a step has come: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import TYPE_CHECKING, Any

from dataloader.cli._output import Output
from dataloader.common import progress_interval

if TYPE_CHECKING:
    from tqdm import tqdm

BAR_DELAY = 1.0
"""Seconds that a step has to take before it gets a bar."""


class Progress:
    """Progress of one step after another, on stderr.

    Args:
        output: how the command prints.
        unit: what is counted.
    """

    def __init__(self, output: Output, unit: str = "documents") -> None:
        self._output = output
        self._unit = unit
        self._shows_bar = sys.stderr is not None and sys.stderr.isatty() and not output.log_json
        self._interval = progress_interval()
        self._step = ""
        self._start = self._last = time.monotonic()
        self._bar: tqdm[Any] | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show how far a step has come."""
        if self._output.quiet:
            return
        if step != self._step:
            self.close()
            self._step = step
            self._start = time.monotonic()
        if self._shows_bar:
            self._draw(done, total)
        elif time.monotonic() - self._last >= self._interval:
            self._tell(done, total)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 - keeps --version quick

            self._bar = tqdm(total=total or None, desc=self._step, unit=f" {self._unit}", delay=BAR_DELAY, leave=False)
        # An index grows while documents come in.
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)

    def _tell(self, done: int, total: int) -> None:
        self._last = time.monotonic()
        rate = done / max(self._last - self._start, 0.001)
        left = (total - done) / rate if rate else None
        time_left = "" if left is None else f", {left:,.0f} s left"
        # A server may not tell how far it has come.
        how_far = f"{done:,} of {total:,} {self._unit}, {rate:,.0f} a second{time_left}" if total else "under way"
        self._output.log(
            "info",
            f"{self._step}: {how_far}",
            step=self._step,
            done=done,
            total=total,
            unit=self._unit,
            rate=round(rate, 1),
            seconds_left=None if left is None else round(left, 1),
        )
