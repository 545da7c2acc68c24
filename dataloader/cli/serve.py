"""The command ``serve``: run the embedded server."""

from contextlib import ExitStack, suppress
from pathlib import Path

import click

from dataloader.cli._command import command
from dataloader.cli._options import PATH
from dataloader.cli._output import Output, global_options
from dataloader.common import (
    ENV_PASSWORD,
    ENV_PASSWORD_FILE,
    ENV_USER,
    EmbeddedServerError,
    ExitCode,
    UsageError,
)
from dataloader.embedded import EmbeddedServer, install
from dataloader.target import resolve

DEFAULT_PORT = 5984
"""CouchDB's own."""


@command(short_help="Run the embedded server, for trying out, development and CI.")
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
        raise UsageError("--memory --data", rule="cannot be combined", todo="leave one out")
    with ExitStack() as stack:
        output.say("setting up the embedded server, once, if it is not yet there …")
        install()
        folder = None if memory else data or Path("couchdb-data")
        server = stack.enter_context(EmbeddedServer(folder, port=port, admin=_admin(output, admin)))
        where = "memory" if folder is None else str(folder)
        stored = "in memory" if folder is None else f"data in {folder}"
        output.result({"url": server.url, "data": where}, [f"ready at {server.url} ({stored}; Ctrl-C stops it)"])
        output.finish(ExitCode.OK)
        with suppress(KeyboardInterrupt):
            server.wait()
            raise EmbeddedServerError(server.url, rule="the server ended by itself", todo="start it again")


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
