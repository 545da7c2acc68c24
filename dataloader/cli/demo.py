"""The command ``demo``: the whole main job on the embedded server."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from dataloader.cli._command import command
from dataloader.cli._options import PATH, get_server
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._write import load_json
from dataloader.common import ExitCode, VerifyError
from dataloader.embedded import EmbeddedServer, install
from dataloader.operations import LoadResult, Outcome, VerifyVerdict, all_sources, generate, load, verify
from dataloader.records import read_snapsets
from dataloader.records.models import DEFAULT_MODEL, model_names
from dataloader.target import Environment, resolve

DEMO_CARDS = 500


DEMO_SNAPSETS = ("snapset_1a", "snapset_2b", "snapset_3", "snapset_4c", "snapset_4d")


@command(short_help="See the whole main job happen, on the embedded server.")
@click.option(
    "--cards", type=click.IntRange(len(DEMO_SNAPSETS), 100_000), default=DEMO_CARDS, metavar="N", help="Default 500."
)
@click.option("--model", type=click.Choice(model_names()), default=DEFAULT_MODEL, help="Default gpii-token.")
@click.option("--out", type=PATH, metavar="DIR", help="Where the files go; default demo/ and the time.")
@global_options
@click.pass_obj
def demo(output: Output, /, cards: int, model: str, out: Path | None) -> ExitCode:
    """Mint a batch, write its workbook, load it, verify it, and load it again, on the embedded server.

    \b
    Example:
      dataloader demo --cards 1000
    """
    now = datetime.now(UTC)
    folder = Path("demo") / now.strftime("%Y%m%d-%H%M%S") if out is None else out
    progress = Progress(output)
    snapsets = read_snapsets()
    share = cards // len(DEMO_SNAPSETS)
    shares = dict.fromkeys(DEMO_SNAPSETS, share) | {DEMO_SNAPSETS[-1]: cards - share * (len(DEMO_SNAPSETS) - 1)}
    output.say("setting up the embedded server, once, if it is not yet there …")
    install()
    with TemporaryDirectory(prefix="dataloader-demo-") as data, EmbeddedServer(Path(data)) as embedded:
        target = resolve(url=embedded.url, model=model, environment=Environment.DEVELOPMENT, environ={})
        server = get_server(target)
        output.say(f"server     PouchDB Server at {embedded.url}, in a temporary folder")
        batch = generate(f"demo-{now:%Y%m%d-%H%M%S}", shares, folder)
        output.say(f"generate   {cards:,} cards minted over {len(shares)} snapsets")
        sources = all_sources(target, [batch.manifest], snapsets)
        first = load(server, target, sources, on_progress=progress)
        output.say(f"load       {_told(first)}")
        checked = verify(server, target, [batch.manifest], snapsets, on_progress=progress)
        progress.close()
        output.say(
            f"verify     {checked.verdicts[VerifyVerdict.OK]:,} of {cards:,} cards answer as the real servers will ask"
        )
        before = [server.database(target.database(name)).update_seq() for name in target.model.databases]
        second = load(server, target, sources, on_progress=progress)
        after = [server.database(target.database(name)).update_seq() for name in target.model.databases]
        progress.close()
        output.say(f"load again {_told(second)}")
    output.result(
        {
            "manifest": str(batch.manifest.path),
            "workbook": str(batch.workbook),
            "cards": cards,
            "load": load_json(target, first),
            "verified": checked.verdicts[VerifyVerdict.OK],
            "load_again": load_json(target, second),
            "update_sequences_unchanged": before == after,
        },
        [
            "",
            f"The workbook for the card vendor:  {batch.workbook}",
            f"The batch's record, to be kept:    {batch.manifest.path}",
            f"1. minted   {cards:,} cards, each with its own UUID and one of {len(shares)} snapsets",
            (
                f"2. loaded   {first.count(Outcome.CREATED):,} documents into "
                f"{len(first.created_databases)} new databases, and built {first.views_built} views"
            ),
            f"3. verified {checked.verdicts[VerifyVerdict.OK]:,} of {cards:,} cards",
            (
                f"4. loaded again: {second.count(Outcome.CREATED)} created, "
                f"{second.count(Outcome.UNCHANGED):,} unchanged, "
                f"update sequences {'unchanged' if before == after else 'CHANGED'}"
            ),
        ],
    )
    if not checked.good or before != after or first.needs_attention or second.needs_attention:
        raise VerifyError("demo", rule="did not come out as it should", todo="run it again with --debug")
    return ExitCode.OK


def _told(result: LoadResult) -> str:
    parts = [f"{result.count(outcome):,} {outcome.value}" for outcome in Outcome if result.count(outcome)]
    return f"{result.documents:,} documents: {', '.join(parts)} ({result.seconds:.1f} s)"
