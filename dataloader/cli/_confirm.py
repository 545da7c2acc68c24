"""Ask for confirmation."""

import sys

import click

from dataloader.cli._output import Output
from dataloader.cli._wrap import wrapped
from dataloader.common import ExitCode, UsageError


def cancelled(output: Output, what: str = "written") -> ExitCode:
    """Print that nothing was done, because the answer was no, and return the exit code."""
    output.error(f"cancelled: nothing was {what}", ExitCode.INTERRUPTED)
    return ExitCode.INTERRUPTED


def confirmed(question: str) -> bool:
    """Ask on the terminal; Ctrl-C means no.

    Raises:
        UsageError: there is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(question, rule="refusing to continue without confirmation", todo="add --yes")
    try:
        # click would not wrap the line.
        asked = "\n".join(wrapped(f"{question}. Continue? [y/N]:"))
        return click.confirm(asked, show_default=False, prompt_suffix=" ", err=True)
    except click.Abort:
        # The terminal shows ^C behind the question.
        click.echo(err=True)
        return False
