"""The command ``generate``: mint a batch of cards."""

import re
from fractions import Fraction
from pathlib import Path
from shlex import quote

import click

from dataloader.batch import BatchHeader
from dataloader.cli._command import command
from dataloader.cli._completion import complete_snapset
from dataloader.cli._options import PATH, SnapsetOptions, get_snapsets, snapset_options
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._vendor import (
    ENCRYPTED,
    card_counter,
    chip_option,
    counted,
    fit_data,
    fit_lines,
    get_fit,
    get_password,
    password_option,
)
from dataloader.common import MAX_CARDS, UsageError
from dataloader.operations import generate as generate_batch
from dataloader.operations import share_out, spares_of


def _wanted(values: tuple[str, ...]) -> dict[str, int | None]:
    wanted: dict[str, int | None] = {}
    for value in values:
        name, equals, count = value.partition("=")
        if name in wanted:
            raise UsageError(f"--snapset {value}", rule=f"{name} is given twice", todo="give each snapset once")
        if equals and not (count.isdecimal() and len(count) <= len(str(MAX_CARDS))):
            todo = "repeat --snapset for each snapset" if "," in count else "correct the count"
            raise UsageError(f"--snapset {value}", rule="must be NAME or NAME=COUNT", todo=todo)
        wanted[name] = int(count) if equals else None
    return wanted


_SPARES = re.compile(r"(?P<number>\d{1,7}(\.\d{1,6})?)(?P<percent>%?)\Z", re.ASCII)


def _portion(value: str | None, cards: int) -> Fraction:
    """Return the number of spares per card, from the value of --spares."""
    match = _SPARES.match(value or "0")
    if match is None or ("." in match["number"] and not match["percent"]):
        raise UsageError(
            f"--spares {value}", rule="must be a count or a percentage, such as 20 or 2%", todo="correct it"
        )
    return Fraction(match["number"]) / (100 if match["percent"] else max(cards, 1))


def _order(
    output: Output,
    cards: int,
    wanted: tuple[str, ...],
    spares: str | None,
    snapset_options: SnapsetOptions,
) -> tuple[dict[str, int], dict[str, int], dict[str, str]]:
    """Return the numbers of cards and of additional spares for each snapset, and the display names."""
    portion = _portion(spares, cards)
    snapsets = get_snapsets(output, snapset_options)
    shares = share_out(cards, _wanted(wanted), snapsets)
    chosen = ((name, snapsets.get(name)) for name in shares)
    titles = {name: each.title for name, each in chosen if each is not None and each.title != name}
    return shares, spares_of(shares, portion), titles


@command(short_help="Mint a batch of cards: its manifest and its workbook.")
@click.argument("name")
@click.option("--cards", type=int, required=True, metavar="N", help="How many cards, 1 to 1,000,000.")
@click.option(
    "--snapset",
    "wanted",
    multiple=True,
    metavar="S[=COUNT]",
    shell_complete=complete_snapset,
    help="The snapset that the cards start with (default: empty). Repeat it, with counts, for several; one of them may "
    "omit its count, and gets the rest.",
)
@click.option(
    "--spares",
    metavar="N|N%",
    help="Additional spare cards: a count, or a percentage of the cards; each snapset gets its share, rounded up.",
)
@chip_option
@password_option("Encrypt the workbook with the password in this file.")
@click.option(
    "--out", type=PATH, default=Path(), metavar="DIR", help="The folder to write to (default: the current folder)."
)
@click.option(
    "--seed",
    type=int,
    metavar="S",
    help="Make a reproducible batch, for development and CI; staging and production targets refuse it.",
)
@snapset_options
@global_options
@click.pass_obj
def generate(
    output: Output,
    /,
    *,
    snapset_options: SnapsetOptions,
    name: str,
    cards: int,
    wanted: tuple[str, ...],
    spares: str | None,
    out: Path,
    chip: str | None,
    seed: int | None,
    password_file: Path | None,
) -> None:
    """Mint a batch of cards.

    Writes NAME.batch.jsonl, the manifest, which is the only record of the batch (keep it), and NAME.xlsx, the workbook
    for the card vendor. Existing files are never overwritten.

    Spares are ordinary cards, the last ones of each snapset; the vendor encodes as many of them as needed.

    \b
    Example:
      dataloader generate spring --cards 500 --snapset snapset_1a=300 --snapset snapset_3 --spares 2% --out batches
    """
    shares, spare_shares, titles = _order(output, cards, wanted, spares, snapset_options)
    fit = get_fit(chip)
    password = get_password(output, password_file)
    count = sum((*shares.values(), *spare_shares.values()))
    with Progress(output, "cards") as progress:
        # Each card is written twice: to the manifest and to the workbook.
        on_card = card_counter(progress, count, writes=2)
        batch = generate_batch(
            name, shares, out, spares=spare_shares, titles=titles, seed=seed, password=password, on_card=on_card
        )
    header = batch.manifest.header
    output.result(
        {
            "name": header.name,
            "cards": header.cards,
            "snapsets": dict(header.snapsets),
            "spares": dict(header.spares),
            "created": header.created,
            "digest": header.digest,
            "manifest": str(batch.manifest.path),
            "workbook": str(batch.workbook),
            "encrypted": password is not None,
            **fit_data(fit),
        },
        [
            _minted(header),
            f"manifest  {batch.manifest.path}  (keep it: it is the only record of the cards)",
            f"workbook  {batch.workbook}  (for the vendor{'' if password is None else ENCRYPTED})",
            *fit_lines(fit),
        ],
    )
    output.next(
        f"send {batch.workbook} to the vendor, then dataloader reconcile {quote(str(batch.manifest.path))} RETURNED"
    )


def _minted(header: BatchHeader) -> str:
    dealt = ", ".join(f"{count:,} {each}" for each, count in header.snapsets.items())
    return f"minted {counted(header)}: {dealt}"
