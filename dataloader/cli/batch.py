"""Commands about files: generate, validate."""

from pathlib import Path

import click

from dataloader.cli.options import PATH, get_snapsets, snapset_options
from dataloader.cli.output import Output, global_options
from dataloader.cli.progress import Progress
from dataloader.errors import ExitCode, InputError, Problem, UsageError
from dataloader.generate import generate as generate_batch
from dataloader.generate import share_out
from dataloader.inputs import validate as validate_files
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
    cards: int,
    wanted: tuple[str, ...],
    out: Path,
    seed: int | None,
    snapsets_dir: Path | None,
    *,
    strict: bool,
) -> None:
    """Mint a batch of cards.

    Writes NAME.batch.jsonl, the manifest, which is the record of the batch: keep it. And NAME.xlsx, the
    workbook for the card vendor. Neither is ever written over another file.

    \b
    Example:
      dataloader generate spring --cards 500 --snapset snapset_1a=300 --snapset snapset_3 --out batches
    """
    shares = share_out(cards, _wanted(wanted), get_snapsets(output, snapsets_dir, strict=strict))
    progress = Progress(output, "rows")
    rows = 0

    def on_card() -> None:
        nonlocal rows
        rows += 1
        if rows % 1000 == 0:
            progress("writing", rows, 2 * cards)

    batch = generate_batch(name, shares, out, seed=seed, on_card=on_card)
    progress.close()
    header = batch.manifest.header
    dealt = ", ".join(f"{count:,} {each}" for each, count in header.snapsets.items())
    output.result(
        {
            "name": header.name,
            "cards": header.cards,
            "snapsets": dict(header.snapsets),
            "created": header.created,
            "digest": header.digest,
            "manifest": str(batch.manifest.path),
            "workbook": str(batch.workbook),
        },
        [
            f"minted {header.cards:,} cards: {dealt}",
            f"manifest  {batch.manifest.path}  (keep it: it is the only record of the cards)",
            f"workbook  {batch.workbook}  (for the vendor)",
        ],
    )


@click.command(short_help="Check files; no server needed.")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@snapset_options
@global_options
@click.pass_obj
def validate(output: Output, /, paths: tuple[Path, ...], snapsets_dir: Path | None, *, strict: bool) -> ExitCode:
    """Check manifests, reconciled files, workbooks, snapsets, sample data and target files, by what they are.

    Every problem is found, not the first only. A folder is checked with all that is in it.

    \b
    Example:
      dataloader validate batches/spring.batch.jsonl my-snapsets dataloader.toml
    """
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    found = list(validate_files(paths, snapsets, strict=strict))
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
