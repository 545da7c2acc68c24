"""The command ``init``: write a target file."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TypeVar

import click

from dataloader.cli._command import command
from dataloader.cli._options import PATH
from dataloader.cli._output import Output, global_options
from dataloader.common import (
    CONFIG_FILE,
    DataloaderError,
    ExitCode,
    FileError,
    UsageError,
    did_you_mean,
    new_files,
)
from dataloader.couch import Server
from dataloader.operations import check as check_target
from dataloader.records.models import DEFAULT_MODEL, model_names
from dataloader.target import Environment, is_this_machine, read_targets, resolve, split_urls

Answer = TypeVar("Answer")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""As in the schema of the target file."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
"""A key of TOML that needs no quotation marks: https://toml.io/en/v1.0.0#keys."""
_FILE = """\
# The CouchDB servers that dataloader works on, by name. See `dataloader targets` and `dataloader config show`.

[target.{name}]
# http or https, the host and the port. A list names the nodes of one cluster. No user and no password here.
url = {url}
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
@click.option(
    "--url",
    multiple=True,
    metavar="URL",
    help="The server's URL, without user and password. Repeat it for each node of a cluster.",
)
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
    url: tuple[str, ...],
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
    if out.is_dir():
        raise FileError(str(out), rule="this is a folder", todo="name a new file in it")
    if out.exists():
        raise FileError(str(out), rule="already exists", todo="add the target to it with an editor, or give --out FILE")
    urls = _without_log_in([each for each in url if each]) or _ask(
        "--url", "URL of the server", "http://127.0.0.1:5984", lambda answer: _without_log_in([answer])
    )
    model = model or _ask_optional("Document model", DEFAULT_MODEL, model_names())
    environment = environment or _choose(
        "--environment",
        "What is the server for",
        # Only a server on this machine has a default, as with --url.
        Environment.DEVELOPMENT.value if all(map(is_this_machine, urls)) else None,
        [each.value for each in Environment],
    )
    name = name or environment
    if not _NAME.fullmatch(name):
        rule = "must be up to 64 letters a to z, digits, '.', '_' and '-', and begin with a letter or digit"
        raise UsageError(f"--name {name}", rule=rule, todo="choose another")
    # A target that can't be resolved is not written.
    address = resolve(url=urls, model=model, environment=environment).address
    output.secrets = address.secrets
    with new_files(out) as (stream,):
        key = name if _BARE.fullmatch(name) else f'"{name}"'
        # JSON's strings and arrays are TOML's, too.
        nodes = json.dumps(address.url if len(address.urls) == 1 else address.urls)
        stream.write(_FILE.format(name=key, url=nodes, model=model, environment=environment).encode())
    read_targets(out)
    problems = _problems(out, name)
    config = "" if out == Path(CONFIG_FILE) else f" --config {quote(str(out))}"
    output.result(
        {"file": str(out), "target": name, "ready": not problems, "problems": problems},
        [
            f"wrote {out}: target {name} at {', '.join(address.urls)} ({environment}, {model})",
            *(["ready"] if not problems else []),
        ],
    )
    output.warnings(problems)
    output.next(f"dataloader check --target {quote(name)}{config}")
    return ExitCode.OK


def _without_log_in(urls: list[str]) -> tuple[str, ...]:
    """Return the URLs of the nodes; a target file holds no user and password.

    Raises:
        UsageError: one is not a server's URL, or contains a user or password.
    """
    if any("@" in url for url in urls):
        todo = "leave them out; set COUCHDB_USER and COUCHDB_PASSWORD_FILE, or add `credentials` to the file"
        raise UsageError("the server's URL", rule="contains a user or password", todo=todo)
    return split_urls(urls)[0]


def _ask(option: str, question: str, default: str | None, check: Callable[[str], Answer]) -> Answer:
    """Ask on the terminal for a value that no option gives, until it passes a check.

    Raises:
        UsageError: there is no terminal.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(option, rule="is required without a terminal", todo="add it")

    def checked(answer: str) -> Answer:
        try:
            return check(answer)
        except UsageError as error:
            # click prints this, and asks again.
            raise click.UsageError(str(error)) from None

    answer: Answer = click.prompt(question, default=default, value_proc=checked, err=True)
    return answer


def _choose(option: str, question: str, default: str | None, choices: list[str]) -> str:
    def chosen(answer: str) -> str:
        if answer in choices:
            return answer
        todo = did_you_mean(answer, choices) or "type one of them"
        raise UsageError(repr(answer), rule=f"must be one of: {', '.join(choices)}", todo=todo)

    return _ask(option, f"{question} ({', '.join(choices)})", default, chosen)


def _ask_optional(question: str, default: str, choices: list[str]) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        return default
    return _choose("", question, default, choices)


def _problems(path: Path, name: str) -> list[str]:
    """Return what prevents a load, if the target can be checked at all."""
    try:
        target = resolve(target=name, config=path)
        return check_target(Server(target.address), target).problems
    except DataloaderError as error:
        return [str(error)]
