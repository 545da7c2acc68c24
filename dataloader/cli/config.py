"""The command ``config``: which settings apply, and where each comes from."""

from os import environ
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from dataloader.cli._command import command
from dataloader.cli._next import INIT, option_words, target_words
from dataloader.cli._options import TargetOptions, target_options
from dataloader.cli._output import Output, global_options
from dataloader.cli._table import table
from dataloader.common import (
    ENV_CONFIG,
    ENV_PASSWORD,
    ENV_PASSWORD_FILE,
    ENV_RETRIES,
    ENV_RETRY_TOTAL,
    ENV_TIMEOUT,
    ENV_URL,
    ENV_USER,
    ExitCode,
    Patience,
    target_file,
)
from dataloader.target import Target, is_this_machine, read_targets

_SHOWN = ("url", "model", "environment", "prefix", "snapsets", "ca_file", "client_cert", "client_key", "insecure")
_UNSET = "default"


@command(short_help="Show which settings apply, and where each comes from.")
@click.argument("action", type=click.Choice(["show"]), default="show", metavar="show")
@target_options
@global_options
@click.pass_obj
def config(output: Output, /, *, target_options: TargetOptions, action: str) -> ExitCode:  # noqa: ARG001 - the only one
    """Show the target and settings that a command with the same options would use, and where each comes from.

    Passwords are never shown. No server is contacted.

    \b
    Example:
      dataloader config show --target production
    """
    path = target_file(target_options.config)
    rows = [("target file", str(path) if path.is_file() else f"{path} (no such file)", _source_of_file(target_options))]
    named = target_options.is_named
    if named:
        target = target_options.resolve()
        output.secrets = target.address.secrets
        entry = read_targets(path)[target_options.target] if target_options.target else None
        rows += _of_target(target, target_options, path, entry)
        for warning in target.warnings:
            output.warn(warning)
    elif path.is_file():
        rows.append(("targets", ", ".join(read_targets(path)), str(path)))
    rows += _patience()
    output.result(
        {"settings": [{"name": name, "value": value, "source": source} for name, value, source in rows]},
        table([(name, value, f"({source})") for name, value, source in rows]),
    )
    context = click.get_current_context()
    targets = f"dataloader targets{option_words(context, 'config')}" if path.is_file() else INIT
    output.next(f"dataloader check{target_words(context)}" if named else targets)
    return ExitCode.OK


def _source_of_file(options: TargetOptions) -> str:
    if options.config is not None:
        return "--config"
    return ENV_CONFIG if environ.get(ENV_CONFIG) else _UNSET


def _of_target(
    target: Target, options: TargetOptions, path: Path, entry: dict[str, Any] | None
) -> list[tuple[str, str, str]]:
    values: dict[str, str] = {
        "url": ", ".join(target.address.urls),
        "model": target.model.name,
        "environment": target.environment.value,
        "prefix": target.prefix or "none",
        **({} if target.snapsets is None else {"snapsets": str(target.snapsets)}),
        **{
            name: str(value)
            for name in ("ca_file", "client_cert", "client_key", "insecure")
            if (value := getattr(target.address.tls, name))
        },
    }
    where = f"{path}, target {options.target}"
    rows = [(name, value, _source(name, target, entry, where)) for name, value in values.items() if name in _SHOWN]
    who = _who(target, entry, where)
    user_from = ENV_USER if who in {ENV_PASSWORD, ENV_PASSWORD_FILE} else who
    rows.append(("user", target.address.user or "none", user_from))
    rows.append(("password", *(("set (not shown)", who) if target.address.password else ("none", _UNSET))))
    return rows


def _source(name: str, target: Target, entry: dict[str, Any] | None, where: str) -> str:
    if entry is not None:
        return where if name in entry else _UNSET
    context = click.get_current_context()
    if context.get_parameter_source(name) is ParameterSource.COMMANDLINE and context.params.get(name):
        return f"--{name.replace('_', '-')}"
    if name == "url":
        return ENV_URL
    if name == "environment" and is_this_machine(target.address.url):
        return "default on this machine"
    return _UNSET


def _who(target: Target, entry: dict[str, Any] | None, where: str) -> str:
    """Return where the user and password come from."""
    user = target.address.user
    named = {} if entry is None else entry.get("credentials", {})
    given = {
        "--url": click.get_current_context().params.get("url") or (),
        ENV_URL: environ.get(ENV_URL, "").split() if entry is None else (),
    }
    candidates = [
        *(f"{where}: {member}" for member in ("password_file", "password_env", "netrc") if member in named),
        *([_UNSET] if user is None else []),
        *(source for source, urls in given.items() if any("@" in url for url in urls)),
        *(name for name in (ENV_PASSWORD, ENV_PASSWORD_FILE) if environ.get(ENV_USER) == user and environ.get(name)),
        *([ENV_USER] if environ.get(ENV_USER) == user and target.address.password is None else []),
        ".netrc",
    ]
    return candidates[0]


def _patience() -> list[tuple[str, str, str]]:
    patience = Patience.from_environment()
    settings = (
        ("timeout", f"{patience.timeout:g} s", ENV_TIMEOUT),
        ("retries", f"{patience.retries:g}", ENV_RETRIES),
        ("retry total", f"{patience.total:g} s", ENV_RETRY_TOTAL),
    )
    return [(name, value, variable if environ.get(variable) else _UNSET) for name, value, variable in settings]
