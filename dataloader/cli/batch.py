"""Commands about files: generate, export, validate."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from dataloader.cli.options import PATH, get_snapsets, snapset_options
from dataloader.cli.output import Output, global_options
from dataloader.cli.progress import Progress
from dataloader.cli.vendor import ENCRYPTED, chip_option, fit_data, fit_lines, get_fit, get_password, password_option
from dataloader.errors import ExitCode, InputError, Problem, UsageError
from dataloader.export import STANDARD, all_layouts, export_path
from dataloader.export import export as export_batch
from dataloader.generate import generate as generate_batch
from dataloader.generate import share_out, spares_of
from dataloader.inputs import validate as validate_files
from dataloader.manifest import Header, read_manifest
from dataloader.report.model import many
from dataloader.settings import MAX_CARDS


def _wanted(values: tuple[str, ...]) -> dict[str, int | None]:
    wanted: dict[str, int | None] = {}
    for value in values:
        name, equals, count = value.partition("=")
        if name in wanted:
            raise UsageError(f"--snapset {value}", rule=f"{name} is given twice", todo="give each snapset once")
        if equals and not (count.isdecimal() and len(count) <= len(str(MAX_CARDS))):
            raise UsageError(f"--snapset {value}", rule="must be NAME or NAME=COUNT", todo="correct the count")
        wanted[name] = int(count) if equals else None
    return wanted


_SPARES = re.compile(r"(?P<number>\d{1,7}(\.\d{1,6})?)(?P<percent>%?)\Z", re.ASCII)


def _portion(value: str | None, cards: int) -> Fraction:
    """Return how many spares there are for a card, of what --spares says."""
    match = _SPARES.match(value or "0")
    if match is None or ("." in match["number"] and not match["percent"]):
        raise UsageError(f"--spares {value}", rule="must be a count or a percentage, as 20 or 2%", todo="correct it")
    return Fraction(match["number"]) / (100 if match["percent"] else max(cards, 1))


def _order(
    output: Output,
    cards: int,
    wanted: tuple[str, ...],
    spares: str | None,
    snapsets_dir: Path | None,
    *,
    strict: bool,
) -> tuple[dict[str, int], dict[str, int]]:
    """Return how many cards start with each snapset, and how many spares there are on top."""
    portion = _portion(spares, cards)
    shares = share_out(cards, _wanted(wanted), get_snapsets(output, snapsets_dir, strict=strict))
    return shares, spares_of(shares, portion)


@click.command(short_help="Mint a batch of cards: its manifest and its workbook.")
@click.argument("name")
@click.option("--cards", type=int, required=True, metavar="N", help="How many cards, 1 to 1,000,000.")
@click.option(
    "--snapset",
    "wanted",
    multiple=True,
    metavar="S[=COUNT]",
    help="The snapset that the cards start with; several with counts, one of them may do without. Default: empty.",
)
@click.option(
    "--spares",
    metavar="N|N%",
    help="Mint spare cards on top: a count, or a percentage of the cards; each snapset gets its share, rounded up.",
)
@chip_option
@password_option("Encrypt the workbook with the password in this file.")
@click.option(
    "--out", type=PATH, default=Path(), metavar="DIR", help="The folder to write to; default: the current one."
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
    name: str,
    *,
    cards: int,
    out: Path,
    chip: str | None,
    seed: int | None,
    password_file: Path | None,
    **options: Any,
) -> None:
    """Mint a batch of cards.

    Writes NAME.batch.jsonl, the manifest, which is the record of the batch: keep it. And NAME.xlsx, the
    workbook for the card vendor. Neither is ever written over another file.

    Spares are cards like the others, the last ones of each snapset's; the vendor encodes as many as are needed.

    \b
    Example:
      dataloader generate spring --cards 500 --snapset snapset_1a=300 --snapset snapset_3 --spares 2% --out batches
    """
    shares, spares = _order(output, cards, **options)
    fit = get_fit(chip)
    password = get_password(output, password_file)
    progress = Progress(output, "rows")
    rows = 0

    def on_card() -> None:
        nonlocal rows
        rows += 1
        if rows % 1000 == 0:
            progress("writing", rows, 2 * sum((*shares.values(), *spares.values())))

    batch = generate_batch(name, shares, out, spares=spares, seed=seed, password=password, on_card=on_card)
    progress.close()
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


def _minted(header: Header) -> str:
    dealt = ", ".join(f"{count:,} {each}" for each, count in header.snapsets.items())
    return f"minted {_counted(header)}: {dealt}"


def _counted(header: Header) -> str:
    spares = sum(header.spares.values())
    return f"{many(header.cards, 'card')}{f' ({spares:,} of them spares)' if spares else ''}"


@click.command(short_help="Write a batch again, in the layout of a vendor's tool.")
@click.argument("manifest", type=PATH)
@click.option(
    "--layout",
    type=click.Choice(all_layouts()),
    default=STANDARD,
    show_default=True,
    help="How the cards are written; docs/layouts.md says which tools take what.",
)
@chip_option
@password_option("Encrypt the workbook with the password in this file; not for CSV.")
@click.option(
    "--out",
    type=PATH,
    default=Path(),
    metavar="DIR|FILE",
    help="The folder, or the .xlsx or .csv file, to write to; default: the current folder.",
)
@global_options
@click.pass_obj
def export(
    output: Output,
    /,
    manifest: Path,
    layout: str,
    chip: str | None,
    password_file: Path | None,
    out: Path,
) -> None:
    """Write a batch again, in the layout of the tool that its vendor uses.

    The same batch comes out the same, byte for byte, unless it is encrypted. Nothing is minted, and no file
    is ever written over.

    \b
    Example:
      dataloader export batches/spring.batch.jsonl --layout tagwriter --out vendor
    """
    fit = get_fit(chip)
    password = get_password(output, password_file)
    batch = read_manifest(manifest)
    progress = Progress(output, "rows")
    rows = 0

    def on_card() -> None:
        nonlocal rows
        rows += 1
        if rows % 1000 == 0:
            progress("writing", rows, batch.header.cards)

    path = export_path(batch.header, layout, out)
    export_batch(batch, layout, path, password=password, on_card=on_card)
    progress.close()
    header = batch.header
    output.result(
        {
            "name": header.name,
            "cards": header.cards,
            "spares": dict(header.spares),
            "digest": header.digest,
            "layout": layout,
            "file": str(path),
            "encrypted": password is not None,
            **fit_data(fit),
        },
        [
            f"exported {_counted(header)} of batch {header.name}, layout {layout}",
            f"file      {path}  (for the vendor{'' if password is None else ENCRYPTED})",
            *fit_lines(fit),
        ],
    )


@click.command(short_help="Check files; no server needed.")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@password_option("The file with the password of encrypted workbooks.")
@snapset_options
@global_options
@click.pass_obj
def validate(
    output: Output,
    /,
    paths: tuple[Path, ...],
    password_file: Path | None,
    snapsets_dir: Path | None,
    *,
    strict: bool,
) -> ExitCode:
    """Check manifests, reconciled files, workbooks, snapsets, sample data and target files, by what they are.

    Every problem is found, not the first only. A folder is checked with all that is in it.

    \b
    Example:
      dataloader validate batches/spring.batch.jsonl my-snapsets dataloader.toml
    """
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    found = list(validate_files(paths, snapsets, strict=strict, password=get_password(output, password_file)))
    if not found:
        where = " ".join(map(str, paths))
        raise InputError(Problem(where, "holds no file that can be checked", "name a file, or another folder"))
    for checked in found:
        output.warnings(checked.warnings)
    problems = sum(checked.total_problems or len(checked.problems) for checked in found)
    data = {
        "files": [
            {
                "path": str(checked.path),
                "kind": checked.kind,
                "valid": not checked.problems,
                "summary": checked.summary,
                "problems": [str(problem) for problem in checked.problems],
                "warnings": [str(problem) for problem in checked.warnings],
            }
            for checked in found
        ],
        "problems": problems,
    }
    good = [checked for checked in found if not checked.problems]
    output.result(data, [f"ok  {checked.path}: {checked.kind}, {checked.summary}" for checked in good])
    for checked in found:
        if checked.problems:
            error = InputError(checked.problems, total=checked.total_problems or len(checked.problems))
            output.error(str(error), ExitCode.INPUT)
    return ExitCode.INPUT if problems else ExitCode.OK
