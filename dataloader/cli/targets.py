"""The command ``targets``: the targets of the target file, and whether each can be reached."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote
from typing import Any

import click

from dataloader.cli._command import command
from dataloader.cli._options import PATH
from dataloader.cli._output import Output, global_options
from dataloader.cli._table import table
from dataloader.common import DataloaderError, ExitCode, FileError, target_file
from dataloader.couch import Server
from dataloader.records.models import DEFAULT_MODEL
from dataloader.target import read_targets, resolve


@command(short_help="List the targets, and whether each can be reached.")
@click.option("--config", type=PATH, metavar="FILE", help="The target file (default: dataloader.toml).")
@click.option("--offline", is_flag=True, help="Do not ask the servers.")
@global_options
@click.pass_obj
def targets(output: Output, /, *, config: Path | None, offline: bool) -> ExitCode:
    """List the targets of the target file with their environment, model and URL, and whether each can be reached.

    \b
    Example:
      dataloader targets
    """
    path = target_file(config)
    if not path.exists():
        todo = "write one with `dataloader init`, or name it with --config"
        raise FileError(str(path), rule="no such file", todo=todo)
    tables = read_targets(path)
    states: dict[str, tuple[str, str | None]] = {}
    if not offline:
        with ThreadPoolExecutor(max(len(tables), 1)) as executor:
            states = dict(zip(tables, executor.map(lambda name: _ask(path, name), tables), strict=True))
    found = [_json(name, entry, states.get(name)) for name, entry in tables.items()]
    rows = [(each["name"], each["environment"], each["model"], _where(each)) for each in found]
    output.result({"config": str(path), "targets": found}, table(rows, ("target", "environment", "model", "server")))
    given = "" if config is None else f" --config {quote(str(config))}"
    output.next(f"dataloader check --target {quote(next(iter(tables)))}{given}")
    return ExitCode.OK


def _ask(path: Path, name: str) -> tuple[str, str | None]:
    """Return what answers at a target, and what is wrong if nothing does."""
    try:
        welcome = Server(resolve(target=name, config=path).address).welcome()
    except DataloaderError as error:
        return "", error.rule or error.what
    return f"{welcome.product} {welcome.version}", None


def _json(name: str, entry: dict[str, Any], state: tuple[str, str | None] | None) -> dict[str, Any]:
    urls = [entry["url"]] if isinstance(entry["url"], str) else entry["url"]
    return {
        "name": name,
        "environment": entry["environment"],
        "model": entry.get("model", DEFAULT_MODEL),
        "urls": urls,
        **({} if state is None else {"reachable": state[1] is None, "server": state[0], "problem": state[1]}),
    }


def _where(found: dict[str, Any]) -> str:
    where = ", ".join(found["urls"])
    if "reachable" not in found:
        return where
    return f"{where}: {found['server'] if found['reachable'] else found['problem']}"
