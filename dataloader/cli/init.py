"""The command ``init``: write a target file."""

import re
import sys
from pathlib import Path
from shlex import quote

import click

from dataloader.cli._command import command
from dataloader.cli._options import PATH
from dataloader.cli._output import Output, global_options
from dataloader.common import CONFIG_FILE, DataloaderError, ExitCode, FileError, UsageError, new_files
from dataloader.couch import Server
from dataloader.operations import check as check_target
from dataloader.records.models import DEFAULT_MODEL, model_names
from dataloader.target import Environment, is_this_machine, read_targets, resolve

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""As in the schema of the target file."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
"""A key of TOML that needs no quotation marks: https://toml.io/en/v1.0.0#keys."""
_FILE = """\
# The CouchDB servers that dataloader works on, by name. See `dataloader targets` and `dataloader config show`.

[target.{name}]
# http or https, the host and the port. A list names the nodes of one cluster. No user and no password here.
url = "{url}"
# How cards become documents: gpii-token or gpii-key.
model = "{model}"
# What the server is for: development, ci, staging or production. Staging and production are protected.
environment = "{environment}"
# A prefix of the databases' names, if several targets share a server.
# prefix = "pilot_"
# The folder of the snapsets, if not the built-in ones; relative to this file.
# snapsets = "snapsets"
# The CA certificate that signed the server's, if the system does not trust it.
# ca_file = "/etc/ssl/example-ca.pem"
# The log-in: one of these. Without it, COUCHDB_USER and COUCHDB_PASSWORD are used, or else ~/.netrc.
# credentials = {{ user = "loader", password_file = "/run/secrets/couchdb-password" }}
# credentials = {{ user_env = "COUCHDB_USER", password_env = "COUCHDB_PASSWORD" }}
# credentials = {{ netrc = true }}
"""


@command(short_help="Write a target file, and check the target.")
@click.option("--url", metavar="URL", help="The server's URL, without user and password.")
@click.option("--model", type=click.Choice(model_names()), help=f"The document model (default: {DEFAULT_MODEL}).")
@click.option("--environment", type=click.Choice([each.value for each in Environment]), help="What the server is for.")
@click.option("--name", metavar="NAME", help="The target's name (default: its environment).")
@click.option("--out", type=PATH, default=Path(CONFIG_FILE), metavar="FILE", help=f"The file (default: {CONFIG_FILE}).")
@global_options
@click.pass_obj
def init(
    output: Output,
    /,
    *,
    url: str | None,
    model: str | None,
    environment: str | None,
    name: str | None,
    out: Path,
) -> ExitCode:
    """Write a commented target file and check the target. On a terminal, asks for what no option gives.

    An existing file is kept; add further targets to it with an editor.

    \b
    Example:
      dataloader init --url http://127.0.0.1:5984 --environment development
    """
    if out.exists():
        raise FileError(str(out), rule="already exists", todo="add the target to it with an editor, or give --out FILE")
    url = url or _ask("--url", "URL of the server", "http://127.0.0.1:5984")
    model = model or _ask_optional("Document model", DEFAULT_MODEL, model_names())
    environment = environment or _ask(
        "--environment",
        "What is the server for",
        # Only a server on this machine has a default, as with --url.
        Environment.DEVELOPMENT.value if is_this_machine(url) else None,
        [each.value for each in Environment],
    )
    name = name or environment
    if not _NAME.fullmatch(name):
        rule = "must be letters a to z, digits, '.', '_' and '-', and have at most 64"
        raise UsageError(f"--name {name}", rule=rule, todo="choose another")
    # A target that can't be resolved is not written.
    address = resolve(url=url, model=model, environment=environment).address
    output.secrets = address.secrets
    with new_files(out) as (stream,):
        key = name if _BARE.fullmatch(name) else f'"{name}"'
        stream.write(_FILE.format(name=key, url=address.url, model=model, environment=environment).encode())
    read_targets(out)
    problems = _problems(out, name)
    config = "" if out == Path(CONFIG_FILE) else f" --config {quote(str(out))}"
    output.result(
        {"file": str(out), "target": name, "ready": not problems, "problems": problems},
        [f"wrote {out}: target {name} at {address.url} ({environment}, {model})", *(["ready"] if not problems else [])],
    )
    output.warnings(problems)
    output.next(f"dataloader check --target {quote(name)}{config}")
    return ExitCode.OK


def _ask(option: str, question: str, default: str | None, choices: list[str] | None = None) -> str:
    """Ask on the terminal for a value that no option gives.

    Raises:
        UsageError: there is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(option, rule="is required without a terminal", todo="add it")
    kind = click.Choice(choices) if choices else None
    return str(click.prompt(question, default=default, type=kind, err=True))


def _ask_optional(question: str, default: str, choices: list[str]) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        return default
    return _ask("", question, default, choices)


def _problems(path: Path, name: str) -> list[str]:
    """Return what prevents a load, if the target can be checked at all."""
    try:
        target = resolve(target=name, config=path)
        return check_target(Server(target.address), target).problems
    except DataloaderError as error:
        return [str(error)]
