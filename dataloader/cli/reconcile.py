"""Commands about what comes back from the vendor: reconcile."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

import click
import orjson

from dataloader.batch import Verdict, read_manifest
from dataloader.cli._command import command
from dataloader.cli._options import PATH, ReportOptions, report_options
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.cli._table import table
from dataloader.cli._vendor import ENCRYPTED, get_password, password_option
from dataloader.common import SHOWN_PROBLEMS, ExitCode, UsageError, many, new_files
from dataloader.operations import check_name
from dataloader.operations.reconcile import Reconciliation, Results, ReturnedFile, details, results_in, write_results
from dataloader.operations.reconcile import reconcile as reconcile_batch
from dataloader.report import reconcile_report
from dataloader.vendor import ByteOrder
from dataloader.vendor.returned import KEYS, Reading


def _named(values: tuple[str, ...]) -> dict[str, str]:
    """Return the titles of columns by key, as the operator has named them."""
    named: dict[str, str] = {}
    for value in values:
        key, equals, title = value.partition("=")
        if not equals or key not in KEYS:
            raise UsageError(
                f"--column {value}", rule=f"must be KEY=TITLE, KEY one of {', '.join(KEYS)}", todo="correct it"
            )
        if key in named:
            raise UsageError(f"--column {value}", rule=f"{key} is given twice", todo="give each column once")
        named[key] = title
    if named.get("uuid") == "":
        raise UsageError("--column uuid=", rule="without UUIDs, no row is a card's for certain", todo="name the column")
    return named


@command(short_help="Tell what became of each card at the vendor's.")
@click.argument("manifest", type=PATH, metavar="MANIFEST")
@click.argument("returned", nargs=-1, required=True, type=PATH, metavar="RETURNED...")
@click.option(
    "--again",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="A returned file of cards that were encoded again: it takes the place of what the others say of them.",
)
@click.option(
    "--out", type=PATH, metavar="DIR", help="The folder to write to; default: the one that the manifest is in."
)
@click.option("--name", metavar="NAME", help="What the files are called; default: the batch's name.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="KEY=TITLE",
    help=f"The title of a column that the vendor has renamed; KEY is {', '.join(KEYS[:-1])} or {KEYS[-1]}. "
    "An empty TITLE leaves the column out.",
)
@click.option(
    "--byte-order",
    type=click.Choice([each.value for each in ByteOrder]),
    default=ByteOrder.MSB.value,
    help="How chip UIDs are written: from the byte that the chip sends first (msb, the default) or last (lsb).",
)
@password_option("The file with the password of encrypted workbooks; the one written is encrypted with it, too.")
@click.option(
    "--details",
    type=PATH,
    metavar="FILE",
    help="Write a line of JSON for every card that is not encoded, every row and warning to a new file.",
)
@report_options
@global_options
@click.pass_obj
def reconcile(
    output: Output,
    /,
    *,
    report_options: ReportOptions,
    manifest: Path,
    name: str | None,
    out: Path | None,
    returned: tuple[Path, ...],
    again: tuple[Path, ...],
    columns: tuple[str, ...],
    byte_order: str,
    password_file: Path | None,
    details: Path | None,
) -> ExitCode:
    """Tell what became of each card of a batch, from its manifest and the files that the vendor sent back.

    Takes workbooks (.xlsx) and CSV, in any order of rows and columns; several files of one batch are taken together.
    Each card is encoded, failed, missing, altered or doubled, and nothing that is in doubt counts as encoded.

    Writes NAME.reconciled.jsonl, which load takes in the manifest's place and loads the encoded cards of, and
    NAME.reencode.xlsx with the cards to encode again. Neither is ever written over another file.

    \b
    Example:
      dataloader reconcile batches/spring.batch.jsonl mail/spring.xlsx --out batches/returned
    """
    named = _named(columns)
    batch = read_manifest(manifest)
    name = name or batch.header.name
    check_name(name)
    results = results_in(out or manifest.parent, name)
    password = get_password(output, password_file)
    files = [ReturnedFile(path) for path in returned] + [ReturnedFile(path, again=True) for path in again]
    progress = Progress(output, "rows")
    rows = 0

    def on_rows(count: int) -> None:
        nonlocal rows
        rows += count
        progress("reading", rows, 0)

    with reporting(output, report_options, "Reconciliation", [batch]) as report:
        try:
            found = reconcile_batch(
                batch,
                files,
                Reading(named, password, cards=batch.header.cards),
                byte_order=ByteOrder(byte_order),
                on_rows=on_rows,
            )
        finally:
            progress.close()
        _write_details(found, details)
        has_reencode = write_results(found, results, password)
        reencode = results.reencode if has_reencode else None
        output.result(
            reconcile_json(found, results, has_reencode=has_reencode),
            _text(found, len(files), results, has_reencode=has_reencode, encrypted=password is not None),
        )
        code = ExitCode.OK if found.good else ExitCode.RETURNED
        report(lambda: reconcile_report(found, len(files), results.reconciled, reencode), code)
    _tell(output, found, details)
    output.next(
        f"dataloader load {quote(str(results.reconciled))} --target NAME"
        if found.good
        else f"send {results.reencode} to the vendor, then dataloader reconcile again with what comes back"
        if has_reencode
        else f"dataloader reconcile {quote(str(manifest))} with a corrected file"
    )
    return code


def _write_details(found: Reconciliation, path: Path | None) -> None:
    if path is not None:
        with new_files(path) as (stream,):
            stream.writelines(orjson.dumps(record) + b"\n" for record in details(found))


def reconcile_json(found: Reconciliation, results: Results, *, has_reencode: bool) -> dict[str, Any]:
    """Return what became of a batch as data."""
    return {
        "cards": found.manifest.header.cards,
        **{verdict.value: found.counts[verdict] for verdict in Verdict},
        "unknown": found.unknown,
        "spares_unused": found.counts.spares_unused,
        "to_encode": found.to_encode,
        "rows": found.rows,
        "set_aside": len(found.ledger.set_aside),
        "name": found.manifest.header.name,
        "digest": found.manifest.header.digest,
        "reconciled": str(results.reconciled),
        "reencode": str(results.reencode) if has_reencode else None,
    }


def _text(found: Reconciliation, files: int, results: Results, *, has_reencode: bool, encrypted: bool) -> Iterator[str]:
    header = found.manifest.header
    count = f"{files} files" if files > 1 else "1 file"
    yield f"batch {header.name}: {many(header.cards, 'card')}, {many(found.rows, 'row')} in {count}"
    spares = found.counts.spares_unused
    rows: list[tuple[object, ...]] = [
        (found.counts[verdict], verdict.value + (f" ({spares:,} of them unused spares)" if spares else ""))
        if verdict is Verdict.MISSING
        else (found.counts[verdict], verdict.value)
        for verdict in Verdict
        if found.counts[verdict]
    ]
    if found.unknown:
        rows.append((found.unknown, "unknown (rows that are no card's)"))
    yield from table(rows)
    yield f"reconciled  {results.reconciled}  (load takes it, and loads the encoded cards)"
    if has_reencode:
        cards = f"{found.to_encode:,} cards" if found.to_encode > 1 else "1 card"
        yield f"reencode    {results.reencode}  ({cards} to encode again{ENCRYPTED if encrypted else ''})"


def _tell(output: Output, found: Reconciliation, path: Path | None) -> None:
    """Name the first cards and rows that need attention, and say how many there are."""
    shown = 0
    for each in found.ledger:
        if each.is_to_encode:
            output.warn(f"card {each.card.number}: {each.verdict.value}: {each.reason}", in_report=True)
            shown += 1
        if shown == SHOWN_PROBLEMS:
            break
    output.warnings(f"{stray.row.where}: unknown: {stray.why}" for stray in found.ledger.strays)
    output.warnings(found.warnings, in_report=True)
    if aside := found.ledger.chips_aside:
        chips = (
            "1 chip of a card that was encoded again is"
            if aside == 1
            else f"{aside:,} chips of cards that were encoded again are"
        )
        hint = "" if path else "; --details FILE names all"
        output.warn(f"{chips} not to be handed out: see that nobody gets a card twice{hint}")
    if found.good:
        return
    parts = []
    if found.to_encode:
        count = f"{found.to_encode:,} of {found.manifest.header.cards:,} cards"
        parts.append(f"{count} {'are' if found.to_encode > 1 else 'is'} to be encoded again")
    if found.unknown:
        parts.append(f"{found.unknown:,} rows are no card's" if found.unknown > 1 else "1 row is no card's")
    hint = "" if path else "; --details FILE lists all"
    output.error(f"{' and '.join(parts)} (docs/reconcile.md says what to do about each{hint})", ExitCode.RETURNED)
