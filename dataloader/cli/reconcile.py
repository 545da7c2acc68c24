"""The command ``reconcile``: compare the vendor's file with the batch."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click
import orjson

from dataloader.batch import (
    Manifest,
    Reconciled,
    ReturnedCard,
    Verdict,
    find_reconciled,
    read_manifest,
    read_reconciled,
)
from dataloader.cli._command import command
from dataloader.cli._manifests import check_order
from dataloader.cli._next import on_any_target, only_target
from dataloader.cli._options import PATH, ReportOptions, report_options
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.cli._table import table
from dataloader.cli._vendor import ENCRYPTED, get_password, password_option
from dataloader.common import (
    ExitCode,
    InputError,
    Problem,
    UsageError,
    are,
    did_you_mean,
    many,
    new_files,
    page,
    ranges,
)
from dataloader.operations import check_name
from dataloader.operations.reconcile import Reconciliation, Results, ReturnedFile, details, results_in, write_results
from dataloader.operations.reconcile import reconcile as reconcile_batch
from dataloader.report import reconcile_report
from dataloader.vendor import ByteOrder
from dataloader.vendor.returned import KEYS, Reading

SHOWN_RUNS = 8
"""Runs of cards or rows to name on the screen; the rest are counted."""


def _named(values: tuple[str, ...]) -> dict[str, str]:
    """Return the titles of columns by key, as named by the operator."""
    named: dict[str, str] = {}
    for value in values:
        key, equals, title = value.partition("=")
        if not equals or key not in KEYS:
            rule = f"must be KEY=TITLE, KEY one of {', '.join(KEYS)}"
            if not equals and value in KEYS:
                todo = f'write {value}="ITS TITLE"'
            elif not equals:
                todo = f"write {quote(f'uuid={value}')} if the UUIDs are below that title"
            elif title in KEYS:
                todo = f"write {quote(f'{title}={key}')}"
            else:
                todo = did_you_mean(key, KEYS) or "correct it"
            raise UsageError(f"--column {value}", rule=rule, todo=todo)
        if key in named:
            raise UsageError(
                f"--column {value}",
                rule=f"{key} is given twice",
                todo="give each column once; if files differ, rename their titles",
            )
        named[key] = title
    if named.get("uuid") == "":
        raise UsageError("--column uuid=", rule="rows cannot be matched without UUIDs", todo="name the column")
    return named


@command(short_help="Compare the vendor's file with the batch.")
@click.argument("manifest", type=PATH, metavar="MANIFEST")
@click.argument("returned", nargs=-1, type=PATH, metavar="RETURNED...")
@click.option(
    "--again",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="A returned file of cards that were encoded again: it replaces what earlier files say about them.",
)
@click.option(
    "--previous",
    type=PATH,
    metavar="FILE",
    help="The reconciled file of the round before (default: the newest one next to the manifest). "
    "Cards that no returned file mentions keep their verdicts from it.",
)
@click.option("--no-previous", is_flag=True, help="Ignore earlier rounds: only the files given count.")
@click.option("--out", type=PATH, metavar="DIR", help="The folder to write to (default: the folder of the manifest).")
@click.option("--name", metavar="NAME", help="The name of the files (default: the name of the batch).")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="KEY=TITLE",
    help=f"The title of a column that the vendor renamed; KEY is {', '.join(KEYS[:-1])} or {KEYS[-1]}. "
    "An empty TITLE means that there is no such column.",
)
@click.option(
    "--include-hidden", is_flag=True, help="Also count rows that are hidden, filtered out, struck through or invisible."
)
@click.option(
    "--byte-order",
    type=click.Choice([each.value for each in ByteOrder]),
    default=ByteOrder.MSB.value,
    help="The byte order of chip UIDs: the byte that the chip sends first comes first (msb, the default) "
    "or last (lsb).",
)
@password_option("The file with the password of encrypted workbooks; the new workbook is encrypted with it, too.")
@click.option(
    "--details",
    type=PATH,
    metavar="FILE",
    help="Write a line of JSON for every card that is not encoded, every unknown row and every warning to a new file.",
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
    returned: tuple[Path, ...],
    again: tuple[Path, ...],
    previous: Path | None,
    no_previous: bool,
    out: Path | None,
    name: str | None,
    columns: tuple[str, ...],
    include_hidden: bool,
    byte_order: str,
    password_file: Path | None,
    details: Path | None,
) -> ExitCode:
    """Compare the vendor's returned files with a batch, and give each card a verdict.

    Accepts workbooks (.xlsx) and CSV, with rows and columns in any order; several files of one batch are combined. Each
    card is encoded, failed, missing, altered or duplicate, and nothing in doubt counts as encoded.

    Writes NAME.reconciled.jsonl, from which `load` loads only the encoded cards, and NAME.reencode.xlsx with the cards
    to encode again. Later rounds are numbered (NAME.reconciled.2.jsonl). Existing files are never overwritten.

    \b
    Example:
      dataloader reconcile batches/spring.batch.jsonl mail/spring.xlsx
    """
    named = _named(columns)
    check_order(manifest, (*returned, *again))
    if not returned and not again:
        raise UsageError("no returned file", rule="there is nothing to compare", todo="name what the vendor sent back")
    batch = read_manifest(manifest)
    name = name or batch.header.name
    check_name(name)
    folder = out or manifest.parent
    newest = find_reconciled(batch, manifest.parent, folder)
    before = _previous(batch, newest, previous, no_previous=no_previous)
    password = get_password(output, password_file)
    files = [ReturnedFile(path) for path in returned] + [ReturnedFile(path, again=True) for path in again]
    progress = Progress(output, "rows")
    rows = 0

    def on_rows(count: int) -> None:
        nonlocal rows
        rows += count
        progress("reading", rows, 0)

    with reporting(output, report_options, "Reconciliation", [batch]) as report:
        with progress:
            found = reconcile_batch(
                batch,
                files,
                Reading(named, password, cards=batch.header.cards, include_hidden=include_hidden),
                byte_order=ByteOrder(byte_order),
                previous=before,
                on_rows=on_rows,
            )
        found.round = max(found.round, newest.round + 1 if newest else 1)
        results = results_in(folder, name, found.round)
        _write_details(found, details)
        has_reencode = write_results(found, results, password)
        reencode = results.reencode if has_reencode else None
        output.result(
            reconcile_json(found, results, has_reencode=has_reencode),
            _text(found, len(files), results, has_reencode=has_reencode, encrypted=password is not None),
        )
        code = ExitCode.OK if found.good else ExitCode.RETURNED
        report(lambda: reconcile_report(found, len(files), results.reconciled, reencode, only_target()), code)
    _tell(output, found, details)
    output.next(_next(found, results, manifest, files, has_reencode=has_reencode))
    return code


def _next(
    found: Reconciliation, results: Results, manifest: Path, files: Sequence[ReturnedFile], *, has_reencode: bool
) -> str:
    """Return what to do next."""
    if found.good:
        # Loading writes, and the target is not known.
        return on_any_target(f"dataloader plan {quote(str(results.reconciled))}")
    repeat = f"dataloader reconcile {quote(str(manifest))}"
    if not has_reencode or found.is_unclear:
        typed = " ".join(f"{'--again ' if each.again else ''}{quote(str(each.path))}" for each in files)
        return f"correct the file, then {repeat} {typed}"
    if found.counts.only_missing:
        return f"ask the vendor whether the rest is on its way, then {repeat} RETURNED"
    return f"send {results.reencode} to the vendor, then {repeat} RETURNED"


def _previous(batch: Manifest, newest: Reconciled | None, path: Path | None, *, no_previous: bool) -> Reconciled | None:
    """Return the reconciled file of the previous round, None if there is none or it is not wanted."""
    if path is None:
        return None if no_previous else newest
    if no_previous:
        raise UsageError("--previous --no-previous", rule="cannot be combined", todo="leave one out")
    found = read_reconciled(path)
    if found.header.digest != batch.header.digest:
        name = found.header.name
        other = f", not {batch.header.name}" if name != batch.header.name else ""
        rule = f"belongs to batch {name}{other}" if other else f"belongs to another batch of the name {name}"
        raise InputError(Problem(str(path), rule, "give the reconciled file of this batch"))
    return found


def _write_details(found: Reconciliation, path: Path | None) -> None:
    if path is not None:
        with new_files(path) as (stream,):
            stream.writelines(orjson.dumps(record) + b"\n" for record in details(found))


def reconcile_json(found: Reconciliation, results: Results, *, has_reencode: bool) -> dict[str, Any]:
    """Return the result of a reconciliation as JSON data."""
    previous = found.ledger.previous
    return {
        "cards": found.manifest.header.cards,
        "ordered": found.ordered,
        "ready": found.ready,
        "to_encode": found.to_encode,
        "spares_unused": found.counts.spares_unused,
        **{verdict.value: found.counts[verdict] for verdict in Verdict},
        "unknown": found.unknown,
        "snapsets": {
            snapset: {
                "ordered": share.ordered,
                "ready": share.ready,
                "to_encode": share.to_encode,
                "spares_unused": share.spares_unused,
            }
            for snapset, share in found.shares.items()
        },
        "rows": found.rows,
        "round": found.round,
        "previous": str(previous.path) if previous else None,
        "taken_over": found.ledger.taken_over,
        "set_aside": len(found.ledger.set_aside),
        "name": found.manifest.header.name,
        "digest": found.manifest.header.digest,
        "reconciled": str(results.reconciled),
        "reencode": str(results.reencode) if has_reencode else None,
    }


def _text(found: Reconciliation, files: int, results: Results, *, has_reencode: bool, encrypted: bool) -> Iterator[str]:
    header, previous = found.manifest.header, found.ledger.previous
    ordered = many(found.ordered, "ordered card")
    yield _answer(f"{found.ready:,} of {ordered} {are(found.ready)} ready", found.to_encode, found.counts.spares_unused)
    if len(found.shares) > 1:
        for snapset, share in found.shares.items():
            title = header.titles.get(snapset)
            shown = f"{snapset} ({title})" if title else snapset
            yield _answer(
                f"  {shown}: {share.ready:,} of {share.ordered:,} ready", share.to_encode, share.spares_unused
            )
    count = f"{many(header.cards, 'card')}, {many(found.rows, 'row')} in {many(files, 'file')}"
    yield f"batch {header.name}, round {found.round}: {count}"
    if previous and found.ledger.taken_over:
        yield f"{many(found.ledger.taken_over, 'card')} as in {previous.path} (round {previous.round})"
    spares = found.counts.spares_unused
    rows: list[tuple[object, ...]] = [
        (found.counts[verdict], verdict.value + (f" ({many(spares, 'unused spare')})" if spares else ""))
        if verdict is Verdict.MISSING
        else (found.counts[verdict], verdict.value)
        for verdict in Verdict
        if found.counts[verdict]
    ]
    if found.unknown:
        rows.append((found.unknown, "unknown (rows that match no card)"))
    yield from table(rows)
    todo = "load this, not the manifest" if found.counts[Verdict.ENCODED] else "no card is encoded: nothing to load"
    yield f"reconciled  {results.reconciled}  ({todo})"
    if has_reencode:
        cards = many(found.to_encode, "card")
        yield f"reencode    {results.reencode}  ({cards} to encode again{ENCRYPTED if encrypted else ''})"


def _answer(ready: str, to_encode: int, spares: int) -> str:
    parts = [ready]
    parts += [f"{to_encode:,} to encode again"] if to_encode else []
    parts += [f"{many(spares, 'spare')} unused"] if spares else []
    return "; ".join(parts)


_PARTICULAR = re.compile(r", (row|line) \d+|“[^”]*”|\S*\d\S*")
"""What may differ between messages of one kind: rows, cells, UUIDs, chip UIDs and card numbers."""
_ROW = re.compile(r", (row|line) (\d+)")
_BEGIN = re.compile(r"\A([^:]*), (?:row|line) \d+(?=: )")


def _tell(output: Output, found: Reconciliation, path: Path | None) -> None:
    """List the cards and rows that need attention; equal ones in one line, and only the first few lines."""
    lines = [*_card_lines(found), *_row_lines(found)]
    lines += _grouped(
        (warning.where, f"{warning.rule}{f' ({warning.todo})' if warning.todo else ''}") for warning in found.warnings
    )
    output.warnings(lines, in_report=True)
    hint = "" if path else "; --details FILE lists all"
    if aside := found.ledger.chips_aside:
        chips = f"{many(len(aside), 'chip')} of cards that were encoded again must not be handed out"
        output.warn(f"{chips}: make sure that nobody gets a card twice{hint}")
    if found.good:
        return
    parts = []
    if found.to_encode:
        count = f"{found.to_encode:,} of {many(found.ordered, 'ordered card')}"
        missing = f"{count} {are(found.to_encode)} missing; ask the vendor before you have any encoded again"
        parts.append(missing if found.counts.only_missing else f"{count} must be encoded again")
    bad = found.counts[Verdict.DUPLICATE] + found.counts[Verdict.ALTERED]
    if bad:
        parts.append(f"the chips of {many(bad, 'card')} must be destroyed")
    if found.unknown:
        parts.append(f"{many(found.unknown, 'row')} {'matches' if found.unknown == 1 else 'match'} no card")
    output.error(f"{'; '.join(parts)} (what to do: {page('second-round.md')}{hint})", ExitCode.RETURNED)


def _card_lines(found: Reconciliation) -> Iterator[str]:
    """Yield a line for each kind of reason why cards are not encoded, with their numbers."""
    groups: dict[tuple[Verdict, str, bool], list[ReturnedCard]] = {}
    for each in found.ledger:
        if each.is_to_encode:
            # Many vendors do not list unused spares.
            is_unneeded = each.verdict is Verdict.MISSING and not found.to_encode
            is_unneeded &= found.manifest.header.is_spare(each.card.number)
            key = (each.verdict, _PARTICULAR.sub("", each.reason), is_unneeded)
            groups.setdefault(key, []).append(each)
    for (verdict, _, is_unneeded), cards in groups.items():
        first = cards[0]
        kind, more = ("spare", "; not needed") if is_unneeded else ("card", "")
        if len(cards) == 1:
            yield f"{kind} {first.card.number} ({first.card.uuid}): {verdict}: {first.reason}{more}"
        else:
            numbers = ranges([each.card.number for each in cards], SHOWN_RUNS)
            yield f"{kind}s {numbers}: {verdict}: {_one_of([each.reason for each in cards])}{more}"


def _row_lines(found: Reconciliation) -> Iterator[str]:
    return _grouped((stray.row.where, f"unknown: {stray.why}") for stray in found.ledger.strays)


def _grouped(lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield lines; those of one kind about several rows of a file are joined to one."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for where, text in lines:
        groups.setdefault((_ROW.sub("", where), _PARTICULAR.sub("", text)), []).append((where, text))
    for (place, _), rows in groups.items():
        if len(rows) == 1:
            yield f"{rows[0][0]}: {rows[0][1]}"
        else:
            found = [match for where, _ in rows if (match := _ROW.search(where))]
            at = f", {found[0][1]}s {ranges(sorted({int(match[2]) for match in found}), SHOWN_RUNS)}" if found else ""
            yield f"{place}{at}: {_one_of([text for _, text in rows])}"


def _one_of(texts: Sequence[str]) -> str:
    """Return the first of several texts of one kind, and how many differ in more than the row at the start."""
    kinds = {_BEGIN.sub("\\1", text) for text in texts}
    if len(kinds) > 1:
        return f"{texts[0]} (and {len(kinds) - 1:,} more like it)"
    return texts[0] if len({*texts}) == 1 else kinds.pop()
