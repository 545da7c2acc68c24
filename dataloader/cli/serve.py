"""The command ``serve``: run the embedded server."""

from contextlib import ExitStack, suppress
from os import environ
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from dataloader.cli._command import command
from dataloader.cli._options import PATH
from dataloader.cli._output import Output, global_options
from dataloader.cli.seed import log_in_text, log_ins
from dataloader.common import (
    ENV_PASSWORD,
    ENV_PASSWORD_FILE,
    ENV_USER,
    EmbeddedServerError,
    ExitCode,
    UsageError,
)
from dataloader.couch import Server
from dataloader.embedded import EmbeddedServer, install, is_installed
from dataloader.operations import DEFAULT_SEED, load, seed_sources
from dataloader.records import read_snapsets
from dataloader.records.models import DEFAULT_MODEL, model_names
from dataloader.target import Environment, resolve

DEFAULT_PORT = 5984
"""CouchDB's own."""


@command(short_help="Run the embedded server, for trying out, development and CI.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    metavar="N",
    help="The port; 0 chooses a free one (default: 5984).",
)
@click.option("--data", type=PATH, metavar="DIR", help="Where the databases are kept (default: ./couchdb-data).")
@click.option("--memory", is_flag=True, help="Keep the databases in memory only.")
@click.option(
    "--admin", metavar="NAME", help="Require a log-in: this user, with the password in COUCHDB_PASSWORD(_FILE)."
)
@click.option("--seed", is_flag=True, help="Load snapsets, views, sample data and invented users before it is ready.")
@click.option(
    "--users", type=int, default=0, metavar="N", help="With --seed: how many people to invent (default: none)."
)
@click.option(
    "--model", type=click.Choice(model_names()), help=f"With --seed: the document model (default: {DEFAULT_MODEL})."
)
@global_options
@click.pass_obj
def serve(
    output: Output,
    /,
    *,
    port: int,
    data: Path | None,
    memory: bool,
    admin: str | None,
    seed: bool,
    users: int,
    model: str | None,
) -> None:
    """Run the embedded server until Ctrl-C: a PouchDB Server, which supports CouchDB's API.

    It is for trying things out, development and CI; for production, use Apache CouchDB. It listens only on this
    machine. If COUCHDB_USER and a password are set, or with --admin, it requires this log-in.

    With --seed, it is filled with development data first. With --json, it prints how to connect when it is ready, so
    that CI needs only one command.

    \b
    Example:
      dataloader serve --port 5984 --memory
    """
    if memory and data is not None:
        raise UsageError("--memory --data", rule="cannot be combined", todo="leave one out")
    if (users or model) and not seed:
        raise UsageError("--users, --model", rule="need --seed", todo="add --seed, or leave them out")
    with ExitStack() as stack:
        if not is_installed():
            output.say("setting up the embedded server (the first time only) …")
        install()
        folder = None if memory else data or Path("couchdb-data")
        account = _admin(output, admin)
        server = stack.enter_context(EmbeddedServer(folder, port=port, admin=account))
        where = "memory" if folder is None else str(folder)
        stored = "in memory" if folder is None else f"data in {folder}"
        facts: dict[str, Any] = {"url": server.url, "data": where}
        lines = [f"ready at {server.url} ({stored}; Ctrl-C stops it)"]
        if seed:
            more, text = _seed(server.url, account, model or DEFAULT_MODEL, users)
            facts |= more
            lines = [*text, *lines]
        # Whoever reads that it is ready may stop it at once.
        with suppress(KeyboardInterrupt):
            output.result(facts, lines)
            output.finish(ExitCode.OK)
            server.wait()
            raise EmbeddedServerError(server.url, rule="the server stopped unexpectedly", todo="start it again")


def _seed(url: str, account: tuple[str, str] | None, model: str, users: int) -> tuple[dict[str, Any], list[str]]:
    """Fill the server with development data; return how to connect, as JSON data and as lines."""
    login = {} if account is None else {ENV_USER: account[0], ENV_PASSWORD: account[1]}
    target = resolve(url=url, model=model, environment=Environment.CI, environ=login)
    snapsets = read_snapsets(None, model)
    result = load(Server(target.address), target, seed_sources(target, snapsets, users=users))
    people = log_ins(target, snapsets, users, DEFAULT_SEED)
    facts = {
        "host": urlsplit(url).hostname,
        "port": urlsplit(url).port,
        "user": None if account is None else account[0],
        "model": model,
        "environment": target.environment.value,
        "databases": [target.database(name) for name in target.model.databases],
        "documents": result.documents,
        "users": people,
    }
    return facts, [f"seeded {result.documents:,} documents (model {model})", *log_in_text(people)]


def _admin(output: Output, name: str | None) -> tuple[str, str] | None:
    # A target with the same settings finds the password where every other command does.
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
