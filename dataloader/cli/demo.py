"""The command ``demo``: the main job on the embedded server."""

import csv
import time
from codecs import getwriter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

import click

from dataloader.batch import Manifest, Reconciled, read_reconciled
from dataloader.cli._command import command
from dataloader.cli._options import PATH, get_server
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._write import load_json
from dataloader.common import ExitCode, FileError, VerifyError, many, new_files, temporary_root
from dataloader.embedded import EmbeddedServer, install, is_installed
from dataloader.operations import Outcome, VerifyVerdict, all_sources, generate, load, verify
from dataloader.operations.reconcile import ReturnedFile, reconcile, results_in, write_results
from dataloader.records import read_snapsets
from dataloader.records.models import DEFAULT_MODEL, model_names
from dataloader.report import Noted, Run, described, render, verify_report
from dataloader.target import Environment, resolve
from dataloader.vendor import check_value
from dataloader.vendor.returned import Reading

DEMO_CARDS = 500
DEMO_SNAPSETS = ("snapset_1a", "snapset_2b", "snapset_3", "snapset_4c", "snapset_4d")
DEMO_FAILED = 2
"""Cards that the demo's vendor fails to encode."""


@command(short_help="Run the whole job on the embedded server, to see how it works.")
@click.option(
    "--cards",
    type=click.IntRange(len(DEMO_SNAPSETS), 100_000),
    default=DEMO_CARDS,
    metavar="N",
    help="How many cards (default: 500).",
)
@click.option(
    "--model",
    type=click.Choice(model_names()),
    default=DEFAULT_MODEL,
    help=f"The document model (default: {DEFAULT_MODEL}).",
)
@click.option("--out", type=PATH, metavar="DIR", help="Where the files go (default: demo/ and the time).")
@click.option("--serve", is_flag=True, help="Leave the server running afterwards, until Ctrl-C.")
@global_options
@click.pass_obj
def demo(output: Output, /, cards: int, model: str, out: Path | None, *, serve: bool) -> ExitCode:
    """Mint a batch, encode it like a vendor, load and verify the result, and load it again, on the embedded server.

    Leaves the batch's files and a report to open.

    \b
    Example:
      dataloader demo --cards 1000
    """
    started, start = datetime.now(UTC), time.monotonic()
    folder = Path("demo") / started.strftime("%Y%m%d-%H%M%S") if out is None else out
    report = folder / "report.html"
    if report.exists():
        # Not only at the end, when everything else is done.
        rule = "already exists; dataloader never overwrites files"
        raise FileError(str(report), rule=rule, todo="choose another folder")
    progress = Progress(output)
    if not is_installed():
        output.say("setting up the embedded server (the first time only) …")
    install()
    with (
        TemporaryDirectory(dir=temporary_root(), prefix="dataloader-demo-") as data,
        EmbeddedServer(Path(data)) as embedded,
    ):
        target = resolve(url=embedded.url, model=model, environment=Environment.DEVELOPMENT, environ={})
        server = get_server(target)
        output.say(f"server      PouchDB Server at {embedded.url}, in a temporary folder")
        files, encoded = _prepare(output, cards, folder, f"demo-{started:%Y%m%d-%H%M%S}")
        snapsets = read_snapsets()
        sources = all_sources(target, [encoded], snapsets)
        with progress:
            first = load(server, target, sources, on_progress=progress)
        output.say(f"load        {first.count(Outcome.CREATED):,} documents created in {first.seconds:.1f} s")
        with progress:
            checked = verify(server, target, [encoded], snapsets, on_progress=progress)
        good = checked.verdicts[VerifyVerdict.OK] == encoded.count
        output.say(f"verify      {'every encoded card works' if good else 'some cards would not work'}")
        before = [server.database(target.database(name)).update_seq() for name in target.model.databases]
        with progress:
            second = load(server, target, sources, on_progress=progress)
        after = [server.database(target.database(name)).update_seq() for name in target.model.databases]
        output.say(f"load again  {'nothing to change' if before == after else 'CHANGED SOMETHING'}")
        run = Run("dataloader demo", [encoded], target, server.greeting, started, time.monotonic() - start, ExitCode.OK)
        with new_files(report) as (stream,):
            stream.write(render(described(verify_report([encoded], checked, Noted()), run)))
        if not good or before != after or first.needs_attention or second.needs_attention:
            raise VerifyError("demo", rule="did not have the expected result", todo="run it again with --debug")
        where = f" --url {embedded.url} --model {model}" if serve else ""
        output.result(
            {
                **files,
                "report": str(report),
                "url": embedded.url if serve else None,
                "cards": cards,
                "encoded": encoded.count,
                "load": load_json(target, first),
                "verified": checked.verdicts[VerifyVerdict.OK],
                "load_again": load_json(target, second),
                "update_sequences_unchanged": before == after,
            },
            [
                "",
                f"files       {folder}",
                f"report      {report}  (open it in a browser)",
                "",
                "Three commands to try:",
                f"  dataloader batches {quote(str(folder))}{where}",
                f"  dataloader card 1 --in {quote(str(folder))}{where}",
                f"  dataloader status {quote(files['reconciled'])}{where}" if serve else "  dataloader demo --serve",
            ],
        )
        if serve:
            # Whoever reads that it is serving may stop it at once.
            with suppress(KeyboardInterrupt):
                output.say(f"serving at {embedded.url} until Ctrl-C")
                output.finish(ExitCode.OK)
                embedded.wait()
    return ExitCode.OK


def _prepare(output: Output, cards: int, folder: Path, name: str) -> tuple[dict[str, str], Reconciled]:
    """Mint a batch, encode it like a vendor, and reconcile it; return the files by kind, and the encoded cards."""
    share = cards // len(DEMO_SNAPSETS)
    shares = dict.fromkeys(DEMO_SNAPSETS, share) | {DEMO_SNAPSETS[-1]: cards - share * (len(DEMO_SNAPSETS) - 1)}
    batch = generate(name, shares, folder)
    output.say(f"generate    {cards:,} cards over {len(shares)} snapsets, in a workbook for the vendor")
    returned = folder / f"{name}.returned.csv"
    _encode(batch.manifest, returned)
    results = results_in(folder, name)
    write_results(reconcile(batch.manifest, [ReturnedFile(returned)], Reading(cards=cards)), results)
    encoded = read_reconciled(results.reconciled)
    output.say(f"vendor      fails to encode {many(DEMO_FAILED, 'card')}, and sends back a list")
    output.say(f"reconcile   {encoded.count:,} cards are encoded; a new workbook holds the others")
    files = {
        "manifest": batch.manifest.path,
        "workbook": batch.workbook,
        "returned": returned,
        "reconciled": results.reconciled,
        "reencode": results.reencode,
    }
    return {kind: str(path) for kind, path in files.items()}, encoded


def _encode(manifest: Manifest, path: Path) -> None:
    """Write a returned file in which the first cards failed."""
    with new_files(path) as (stream,):
        lines = csv.writer(getwriter("utf-8")(stream))
        lines.writerow(["Card number", "UUID", "Check", "Snapset", "Chip UID", "Result"])
        for card in manifest.cards():
            failed = card.number <= DEMO_FAILED
            chip = "" if failed else f"04{card.number:08X}5A80"
            result = "failed" if failed else "ok"
            lines.writerow([card.number, card.uuid, check_value(card.uuid), card.snapset, chip, result])
