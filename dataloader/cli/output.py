"""What every command shares in printing: results to stdout, everything else to stderr."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dataloader.errors import SHOWN_PROBLEMS, ExitCode

if TYPE_CHECKING:
    from tqdm import tqdm

Function = TypeVar("Function", bound=Callable[..., Any])

BAR_DELAY = 1.0
"""Seconds that a step has to take before it gets a progress bar."""


class Output:
    """How a command prints: as text, or as one JSON object."""

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.debug = False
        self._has_result = False

    def result(self, data: dict[str, Any], text: Iterable[str]) -> None:
        """Print a command's result: the data as JSON, or else the lines of text."""
        if self.json:
            import orjson  # noqa: PLC0415 - keeps --version quick

            click.echo(orjson.dumps(data).decode())
        elif not self.quiet:
            for line in text:
                click.echo(line)
        self._has_result = True

    def say(self, line: str) -> None:
        """Tell people something that is no result."""
        if not self.quiet and not self.json:
            click.echo(line, err=True)

    def warn(self, line: str) -> None:
        """Warn, in every mode."""
        click.echo(f"warning: {line}", err=True)

    def warnings(self, lines: Iterable[object]) -> None:
        """Warn of many things, the first few in full."""
        found = [str(line) for line in lines]
        for line in found[:SHOWN_PROBLEMS]:
            self.warn(line)
        if len(found) > SHOWN_PROBLEMS:
            self.warn(f"and {len(found) - SHOWN_PROBLEMS} more")

    def error(self, message: str, code: ExitCode, *, shown: bool = False) -> None:
        """Print an error; with --json as the one object on stdout, too, unless a result stands there."""
        if not shown:
            for line in message.splitlines():
                click.echo(f"error: {line}", err=True)
        if self.json and not self._has_result:
            self.result({"error": message, "exit_code": int(code)}, ())


class Progress:
    """Progress bars on stderr, one a step; none where stderr is no terminal."""

    def __init__(self, output: Output, unit: str = "documents") -> None:
        self._shown = sys.stderr.isatty() and not output.quiet
        self._unit = unit
        self._step = ""
        self._bar: tqdm[Any] | None = None

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show how far a step has come."""
        if not self._shown:
            return
        if self._bar is None or step != self._step:
            self.close()
            from tqdm import tqdm  # noqa: PLC0415 - keeps --version quick

            self._bar = tqdm(total=total, desc=step, unit=f" {self._unit}", delay=BAR_DELAY, leave=False)
            self._step = step
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _switch(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def switch(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's
        if value:
            setattr(ctx.ensure_object(Output), name, True)

    return switch


def global_options(function: Function) -> Function:
    """Add the options that stand before or behind any command."""
    for name, text in (
        ("debug", "Print tracebacks."),
        ("quiet", "Print results and errors only as an exit code and on stderr."),
        ("json", "Print one JSON object on stdout and nothing else there."),
    ):
        function = click.option(
            f"--{name}", is_flag=True, expose_value=False, is_eager=True, callback=_switch(name), help=text
        )(function)
    return function


def table(rows: Iterable[tuple[object, ...]]) -> list[str]:
    """Return rows as lines with aligned columns; numbers to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    numeric = [isinstance(cell, int) for row in [*rows][:1] for cell in row] if isinstance(rows, list) else []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))] if cells else []
    return [
        "  ".join(
            cell.rjust(width) if column < len(numeric) and numeric[column] else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
