"""Ask for confirmation."""

import sys

import click

from dataloader.common import UsageError


def confirmed(question: str) -> bool:
    """Ask on the terminal.

    Raises:
        UsageError: there is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(question, rule="refusing to continue without confirmation", todo="add --yes")
    return click.confirm(f"{question}. Continue?", err=True)
