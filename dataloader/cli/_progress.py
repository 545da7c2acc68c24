"""Show progress: one bar on a terminal, otherwise a line at intervals."""

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from dataloader.cli._output import Output
from dataloader.cli._table import MAX_WIDTH
from dataloader.common import progress_interval

if TYPE_CHECKING:
    from tqdm import tqdm

BAR_DELAY = 1.0
"""Seconds that a run must take before it gets a bar."""
_BAR = 12
"""The width of a bar in columns, if there is enough space."""
_LEAST = 4
"""The minimum width of a bar; with less space, there is none."""


class Progress:
    """Shows the progress of a run's steps, one after another, on stderr; as a context manager, removes the bar.

    Args:
        output: how the command prints.
        unit: what is counted: documents, cards.
        whole: the total of all steps; None if unknown, and then each step has its own total.
    """

    def __init__(self, output: Output, unit: str = "documents", whole: int | None = None) -> None:
        self._output = output
        self._unit = unit
        self._whole = whole
        self._shows_bar = sys.stderr is not None and sys.stderr.isatty() and not output.log_json
        self._interval = progress_interval()
        self._step = ""
        self._steps: dict[str, int] = {}
        """The progress of each step, by name."""
        self._start = self._last = time.monotonic()
        self._bar: tqdm[Any] | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show the progress of a step.

        Args:
            step: the name of the step: ``auth: gpiiToken``.
            done: how many are done.
            total: out of how many; 0 if unknown.
        """
        if self._output.quiet:
            return
        database, _, kind = step.partition(": ")
        if database == kind:
            step = kind
        if step != self._step and not self._counts(total):
            self._start = time.monotonic()
        self._step = step
        if self._counts(total):
            self._steps[step] = done
            done, total = min(sum(self._steps.values()), self._whole or 0), self._whole or 0
        if self._shows_bar:
            self._draw(done, total)
        elif time.monotonic() - self._last >= self._interval:
            self._tell(done, total)

    def _counts(self, total: int) -> bool:
        """Return whether a step counts towards the total; building an index does not."""
        return self._whole is not None and 0 < total <= self._whole and "index" not in self._step

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar, before anything else is printed."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _draw(self, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 - keeps --version quick

            self._bar = tqdm(total=total or None, bar_format="{desc}", delay=BAR_DELAY, leave=False, dynamic_ncols=True)
        # An index grows while documents are written.
        self._bar.total = total or None
        percent = f" {100 * done // total} %" if total else ""
        self._bar.set_description_str(f"{self._step}{percent}", refresh=False)
        self._bar.unit = self._how_far(done, total).replace(" a second", "/s")
        room = shutil.get_terminal_size((MAX_WIDTH, 24)).columns - len(f"{self._bar.desc} || {self._bar.unit} ")
        bar = f" |{{bar:{min(room, _BAR)}}}|" if total and room >= _LEAST else ""
        self._bar.bar_format = f"{{desc}}{bar} {{unit}}"
        self._bar.n = done
        self._bar.update(0)

    def _rate(self, done: int) -> float:
        return done / max(time.monotonic() - self._start, 0.001)

    def _how_far(self, done: int, total: int) -> str:
        # A server may not report its progress.
        if not total:
            return f"running for {_duration(time.monotonic() - self._start)}"
        rate = self._rate(done)
        left = f", {_duration((total - done) / rate)} left" if rate else ""
        return f"{done:,} of {total:,} {self._unit}, {rate:,.0f} a second{left}"

    def _tell(self, done: int, total: int) -> None:
        self._last = time.monotonic()
        rate = self._rate(done)
        self._output.log(
            "info",
            f"{self._step}: {self._how_far(done, total)}",
            step=self._step,
            done=done,
            total=total,
            unit=self._unit,
            rate=round(rate, 1),
            seconds_left=round((total - done) / rate, 1) if rate and total else None,
        )


def _duration(seconds: float) -> str:
    """Format a duration: ``40 s``, ``3 min``."""
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"  # noqa: PLR2004 - two minutes
