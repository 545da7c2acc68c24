"""Commands with the embedded server: serve, demo."""

import signal
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import click

from dataloader.cli.loading import load_json
from dataloader.cli.options import PATH, get_server
from dataloader.cli.output import Output, global_options
from dataloader.cli.progress import Progress
from dataloader.embedded import EmbeddedServer, install
from dataloader.errors import EmbeddedServerError, ExitCode, UsageError, VerifyError
from dataloader.generate import generate
from dataloader.load import LoadResult, Outcome, load
from dataloader.models import DEFAULT_MODEL, model_names
from dataloader.settings import ENV_PASSWORD, ENV_PASSWORD_FILE, ENV_USER
from dataloader.snapsets import read_snapsets
from dataloader.sources import all_sources
from dataloader.targets import Environment, resolve
from dataloader.verify import Verdict, verify

DEFAULT_PORT = 5984
"""CouchDB's own."""
DEMO_CARDS = 500
DEMO_SNAPSETS = ("snapset_1a", "snapset_2b", "snapset_3", "snapset_4c", "snapset_5")


@click.command(short_help="Run the embedded server, for trying out, development and CI.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, metavar="N", help="0 for any; default 5984."
)
@click.option("--data", type=PATH, metavar="DIR", help="Where the databases are kept; default ./couchdb-data.")
@click.option("--memory", is_flag=True, help="Keep the databases in memory only.")
@click.option("--admin", metavar="NAME", help="Want a log-in: this user, with the password of COUCHDB_PASSWORD(_FILE).")
@global_options
@click.pass_obj
def serve(output: Output, /, port: int, data: Path | None, *, memory: bool, admin: str | None) -> None:
    """Run the embedded server until Ctrl-C: a PouchDB Server, which speaks CouchDB's protocol.

    It is for trying out, development and CI; production is Apache CouchDB. It listens on this machine
    only. With COUCHDB_USER and a password set, or with --admin, it wants these.

    \b
    Example:
      dataloader serve --port 5984 --memory
    """
    if memory and data is not None:
        raise UsageError("--memory --data", rule="exclude each other", todo="leave one out")
    with ExitStack() as stack:
        signal.signal(signal.SIGTERM, _stop)
        output.say("setting up the embedded server, once, if it is not yet there …")
        install()
        folder = None if memory else data or Path("couchdb-data")
        server = stack.enter_context(EmbeddedServer(folder, port=port, admin=_admin(output, admin)))
        where = "memory" if folder is None else str(folder)
        output.result({"url": server.url, "data": where}, [f"serving {where} at {server.url}  (Ctrl-C ends it)"])
        server.wait()
        raise EmbeddedServerError(server.url, rule="the server has ended by itself", todo="start it again")


def _stop(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _admin(output: Output, name: str | None) -> tuple[str, str] | None:
    # A target of the same settings finds the password where every other command does.
    from os import environ  # noqa: PLC0415

    settings = {key: environ[key] for key in (ENV_PASSWORD, ENV_PASSWORD_FILE, ENV_USER) if environ.get(key)}
    if name is not None:
        settings[ENV_USER] = name
    target = resolve(url="http://127.0.0.1", environ=settings)
    output.warnings(target.warnings)
    address = target.address
    if address.user is None:
        return None
    if not address.password:
        raise UsageError(
            f"--admin {address.user}", rule="needs a password", todo=f"set {ENV_PASSWORD} or {ENV_PASSWORD_FILE}"
        )
    return address.user, address.password


@click.command(short_help="See the whole main job happen, on the embedded server.")
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
            f"verify     {checked.verdicts[Verdict.OK]:,} of {cards:,} cards answer as the real servers will ask"
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
            "verified": checked.verdicts[Verdict.OK],
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
            f"3. verified {checked.verdicts[Verdict.OK]:,} of {cards:,} cards",
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
