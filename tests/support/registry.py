"""Every registered command and how to call it, so that tests include new commands automatically."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

import click

from dataloader.archive import SUFFIX, BackupHeader, BodyWriter, DatabaseState, Section, finish
from dataloader.cli import COMMANDS, cli
from dataloader.common import VERSION
from dataloader.records.models import DEFAULT_MODEL, get_model


def parameters(name: str) -> set[str | None]:
    """Return the names of a command's arguments and options."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return {parameter.name for parameter in command.params}


SERVER_COMMANDS = [name for name in COMMANDS if "url" in parameters(name) and name not in {"config", "init"}]
"""Every command that needs a server; config and init only name one."""
REQUIRED: dict[str, Sequence[object]] = {
    "revoke": ("--card", "1", "--reason", "lost", "--yes"),
    "merge": ("--yes",),
    "card": ("1",),
    "credentials": ("list",),
    "tokens": ("prune",),
    "snapsets": ("diff",),
    "drop": ("--prefix", "ci-42-", "--if-exists", "--yes"),
    "restore": ("--yes",),
    "taps": ("--rate", "2", "--for", "1s"),
}
"""Arguments that a command needs besides its server, manifests and snapsets."""


@cache
def _folder() -> Path:
    """Return a folder outside the project for files that commands need or write."""
    return Path(mkdtemp(prefix="dataloader-tests-"))


def empty_backup(model: str = DEFAULT_MODEL) -> Path:
    """Return a backup of a development target without documents."""
    path = _folder() / f"{model}{SUFFIX}"
    if not path.exists():
        body = BytesIO()
        writer = BodyWriter(body, None)
        databases = get_model(model).databases
        for name in databases:
            writer.section(name, Section())
        blocks, seal = writer.end()
        states = tuple(DatabaseState(name, "0", "") for name in databases)
        of = ("2026-11-01T00:00:00.000Z", model, "development", "http://127.0.0.1", "", "", VERSION)
        header = BackupHeader(*of, states)
        with path.open("wb") as stream:
            finish(stream, replace(header, blocks=blocks, seal=seal), body, None)
    return path


def arguments(name: str, manifest: Path, snapsets: Path, model: str = DEFAULT_MODEL) -> list[object]:
    """Return the arguments of a command, except for its server."""
    taken = parameters(name)
    return [
        *([manifest] if {"manifests", "manifest_path"} & taken else []),
        *(["--in", manifest.parent] if name == "card" else []),
        *([manifest.parent] if name == "batches" else []),
        *(["--snapsets", snapsets] if "snapsets_dir" in taken else []),
        *([_folder() / f"{uuid4()}{SUFFIX}"] if name == "backup" else []),
        *([empty_backup(model)] if name == "restore" else []),
        *REQUIRED.get(name, ()),
    ]


NEVER_RETRIES = {"taps"}
"""Commands for which a failed request is a result; the others fail only after some retries."""
