"""Printing, for all commands: results to stdout, everything else to stderr."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dataloader.common import SHOWN_PROBLEMS, ExitCode, FileError, many, printable, printable_json, shorten_uuids

if TYPE_CHECKING:
    from dataloader.common import Secrets

Function = TypeVar("Function", bound=Callable[..., Any])
Data = TypeVar("Data")

FORMAT = 1
"""The version of the JSON output: within a version, the meaning of members does not change."""

_STYLES: dict[str, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "next": {"fg": "green", "bold": True},
}
"""The colours of labels."""

_WORD = re.compile(r"https?://?(?:[^\n:]|:(?! )){1,200}@|(?:(?!https?:/)\S)+", re.IGNORECASE)
"""A word, or a URL up to its host: a password that is typed carelessly may have spaces.

A colon and a space end a server's URL in messages.
"""


class Output:
    """Prints the output of a command, as text or as one JSON object."""

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.debug = False
        self.log_json = False
        self.no_color = False
        self.has_next = False
        """Whether the next step has been printed."""
        self.secrets: Secrets | None = None
        """Secrets to mask in all output, once known."""
        self.wait: float | None = None
        """Seconds to wait for a server to come up."""
        self.full = False
        """Whether to show whole UUIDs."""
        self.warned: list[str] = []
        """The warnings so far."""
        self.noticed: list[str] = []
        """Warnings that a report does not show elsewhere."""
        self._errors: list[str] = []
        self._result: dict[str, Any] | None = None

    def result(self, data: dict[str, Any], text: Iterable[str]) -> None:
        """Print a command's result as text, or keep the data for :meth:`finish`."""
        self._result = data
        if not self.json and not self.quiet:
            for line in text:
                _print(self.shown(self.cleaned(line)))

    def finish(self, code: int) -> None:
        """Print the JSON object of a run, with --json; does nothing when called again.

        Raises:
            FileError: it can't be written.
        """
        if not self.json:
            return
        self.json, self.quiet = False, True
        envelope: dict[str, Any] = {"format": FORMAT, "ok": code == ExitCode.OK, "warnings": self.warned}
        if self._errors:
            envelope |= {"error": "\n".join(self._errors), "exit_code": int(code)}
        _print(_as_json({**envelope, **self.cleaned(self._result or {})}), is_json=True)

    def shown(self, text: str) -> str:
        """Return a text for display, with shortened UUIDs unless whole ones are requested."""
        return text if self.full else shorten_uuids(text)

    def log(self, level: str, message: str, **fields: object) -> None:
        """Print a line on stderr: the message, or a JSON object for machines."""
        message = self.shown(self.masked(message))
        if self.log_json:
            from datetime import UTC, datetime  # noqa: PLC0415 - keeps --version quick

            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = _as_json({"time": time, "level": level, "message": message, **self.cleaned(fields)})
            _print(line, err=True, is_json=True)
        else:
            _print(message, err=True, label="" if level == "info" else level, in_colour=self.in_colour)

    @property
    def in_colour(self) -> bool:
        """Whether stderr is in colour: on a terminal, unless ``--no-color``, ``NO_COLOR`` or ``TERM=dumb``.

        See https://no-color.org.
        """
        if self.no_color or environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
            return False
        return sys.stderr is not None and sys.stderr.isatty()

    def cleaned(self, data: Data) -> Data:
        """Mask the password in a text or JSON data, since others may have put it there."""
        if self.secrets is None:
            return data
        cleaned: Data = self.secrets.hide_in_data(data)
        return cleaned

    def masked(self, text: str) -> str:
        """Mask secrets in a text, including those of a misplaced URL that is repeated."""
        return self.cleaned(_WORD.sub(_without_credentials, text) if "@" in text else text)

    def say(self, line: str) -> None:
        """Print a message that is not a result."""
        if not self.quiet and not self.json:
            self.log("info", line)

    @property
    def _is_watched(self) -> bool:
        """Whether a person reads stderr on a terminal, and wants text."""
        return not (self.quiet or self.json or self.log_json) and sys.stderr is not None and sys.stderr.isatty()

    def next(self, *commands: str) -> None:
        """Print what to type next in one line, on a terminal."""
        self.has_next = True
        if self._is_watched:
            self.log("next", "; or ".join(commands))

    def wrote(self, what: str, path: Path) -> None:
        """Print which file has been written besides the result, on a terminal."""
        if self._is_watched:
            self.log("info", f"{what}  {path}")

    def warn(self, line: str, *, in_report: bool = False) -> None:
        """Print a warning, in every mode.

        Args:
            line: the warning.
            in_report: whether a report shows it elsewhere, such as in a table.
        """
        self.warned.append(self.shown(self.masked(line)))
        if not in_report:
            self.noticed.append(line)
        self.log("warning", line)

    def warnings(self, lines: Iterable[object], *, in_report: bool = False) -> None:
        """Print several warnings, the first few in full."""
        found = [str(line) for line in lines]
        for line in found[:SHOWN_PROBLEMS]:
            self.warn(line, in_report=in_report)
        if len(found) > SHOWN_PROBLEMS:
            self.warn(f"and {len(found) - SHOWN_PROBLEMS} more", in_report=in_report)

    def traceback(self) -> None:
        """Print the traceback of the current error, with --debug."""
        if self.debug:
            import traceback  # noqa: PLC0415 - keeps --version quick

            for line in self.masked(traceback.format_exc()).splitlines():
                _print(line, err=True)

    def error(self, message: str, code: ExitCode) -> None:
        """Print an error; with --json, it is in the object on stdout, too."""
        for line in message.splitlines():
            self.log("error", line, exit_code=int(code))
            self._errors.append(self.shown(self.masked(line)))


def _without_credentials(word: re.Match[str]) -> str:
    """Return a word with the user and password of a URL masked, or with the password alone if there is no scheme."""
    before, _, rest = word[0].partition(":")
    credentials, at, host = rest.rpartition("@")
    # A path made from a URL has only one slash.
    slashes = "//"[: len(credentials) - len(credentials.lstrip("/"))]
    return f"{before}:{slashes}***@{host}" if at else word[0]


def _as_json(data: dict[str, Any]) -> str:
    import json  # noqa: PLC0415 - keeps --version quick

    return json.dumps(data, ensure_ascii=False)


def _print(line: str, *, err: bool = False, is_json: bool = False, label: str = "", in_colour: bool = False) -> None:
    """Print a line; the only place where text reaches a terminal, with control characters escaped.

    Args:
        line: the line.
        err: whether to print to stderr.
        is_json: whether the line is JSON.
        label: the label before it: ``error``.
        in_colour: whether the label is in colour.
    """
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    shown = printable_json(line, encoding) if is_json else printable(line)
    try:
        shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        label = f"{label}:" if label else ""
        lines = [f"{label} {shown}" if label else shown]
        if not is_json and stream is not None and stream.isatty():
            from dataloader.cli._wrap import next_lines, wrapped  # noqa: PLC0415 - keeps --version quick

            lines = next_lines(shown, label) if label == "next:" else wrapped(lines[0])
        for each in lines:
            is_first = label and in_colour and each is lines[0]
            click.echo(click.style(label, **_STYLES[label[:-1]]) + each[len(label) :] if is_first else each, err=err)
    except OSError as error:
        # If the reader has closed the pipe, the command still does its work and has its exit code.
        if not err and not isinstance(error, BrokenPipeError):
            raise FileError.of(error, "standard output", "redirect it to a disk with free space") from error


def _switch(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def switch(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:  # noqa: ARG001, FBT001 - click's
        if value:
            setattr(ctx.ensure_object(Output), name, True)

    return switch


def _log_format(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:  # noqa: ARG001 - click's
    if value is not None:
        ctx.ensure_object(Output).log_json = value == "json"


def global_options(function: Function) -> Function:
    """Add the options that are allowed before and after any command."""
    function = click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        expose_value=False,
        is_eager=True,
        callback=_log_format,
        help="The format of stderr: text (the default), or one JSON object a line.",
    )(function)
    for name, text in (
        ("debug", "Print a line for each request, and tracebacks."),
        ("quiet", "Print no results; errors go to stderr."),
        ("no-color", "Print no colours; NO_COLOR in the environment does the same."),
        ("json", "Print one JSON object on stdout instead of text."),
    ):
        function = click.option(
            f"--{name}",
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_switch(name.replace("-", "_")),
            help=text,
        )(function)
    return function


def tell_of_decisions(output: Output, count: int, noun: str, hint: str) -> ExitCode:
    """Print an error if any documents or cards need a decision, with a hint where they are; return the exit code."""
    if not count:
        return ExitCode.OK
    output.error(f"{many(count, noun)} {'needs' if count == 1 else 'need'} a decision{hint}", ExitCode.ATTENTION)
    return ExitCode.ATTENTION


def tell_of_copies(output: Output, nodes_away: Sequence[str], *, short: bool) -> ExitCode:
    """Print a warning if the cluster may lack copies of what was written, and return the exit code.

    Args:
        output: how the command prints.
        nodes_away: nodes that were down before or after.
        short: whether the cluster reported a write with fewer copies than requested.
    """
    if nodes_away:
        output.error(
            f"{', '.join(nodes_away)}: down; some copies may be missing until it is up "
            "(everything has been written; start the node, and the cluster creates them by itself)",
            ExitCode.NODES,
        )
    elif short:
        output.error(
            "the cluster made fewer copies than requested (202), as it does while a node is down "
            "(everything has been written; see `dataloader check`; the cluster creates them by itself)",
            ExitCode.NODES,
        )
    return ExitCode.NODES if nodes_away or short else ExitCode.OK
