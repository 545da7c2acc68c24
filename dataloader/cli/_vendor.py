"""Options of the commands that write files for the vendor: the chip, and the password of a workbook."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import click

from dataloader.batch import BatchHeader
from dataloader.cli._options import PATH
from dataloader.cli._output import Output
from dataloader.cli._progress import Progress
from dataloader.common import many
from dataloader.target import readable_by_others
from dataloader.vendor import CHIPS, Fit, check_chip, read_password

ENCRYPTED = "; encrypted: send the password separately"
_SHOW_EACH = 1_000
"""Cards after which to show the progress."""
Function = TypeVar("Function", bound=Callable[..., Any])


def chip_option(function: Function) -> Function:
    """Add the option for the vendor's chip."""
    return click.option(
        "--chip", type=click.Choice(list(CHIPS)), help="Check that a card's record fits on chips of this kind."
    )(function)


def password_option(text: str) -> Callable[[Function], Function]:
    """Add the option for a workbook's password file; ``text`` is its help."""
    return click.option("--password-file", type=PATH, metavar="FILE", help=text)


def get_fit(name: str | None) -> Fit | None:
    """Check that a card's record fits on the chip, if one is given."""
    return None if name is None else check_chip(CHIPS[name])


def get_password(output: Output, path: Path | None) -> str | None:
    """Read a workbook's password from a file, if given; warn if others can read it."""
    if path is None:
        return None
    password = read_password(path)
    output.warnings(readable_by_others(path))
    return password


def fit_data(fit: Fit | None) -> dict[str, Any]:
    """Return how a record fits, as JSON data."""
    if fit is None:
        return {}
    return {"chip": {"name": fit.chip.name, "memory": fit.chip.memory, "needed": fit.needed, "left": fit.left}}


def fit_lines(fit: Fit | None) -> list[str]:
    """Return how a record fits, as text."""
    if fit is None:
        return []
    chip = fit.chip
    return [f"chip      {chip.title}: a card takes {fit.needed} of its {chip.memory} bytes, {fit.left} are left"]


def card_counter(progress: Progress, cards: int, *, writes: int = 1) -> Callable[[], None]:
    """Return a function to call for each written card, which shows the progress now and then.

    Args:
        progress: shows it.
        cards: the total.
        writes: how often each card is written.
    """
    written = count(1)

    def on_card() -> None:
        done = next(written)
        if done % (_SHOW_EACH * writes) == 0:
            progress("writing", done // writes, cards)

    return on_card


def counted(header: BatchHeader) -> str:
    spares = sum(header.spares.values())
    return f"{many(header.cards, 'card')}{f' ({spares:,} of them spares)' if spares else ''}"
