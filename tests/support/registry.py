"""Every command, by the registry, and how it is called: what walks the registry tests a command that is added, too."""

from collections.abc import Sequence
from pathlib import Path

import click

from dataloader.cli import COMMANDS, cli


def parameters(name: str) -> set[str | None]:
    """Return the names of a command's arguments and options."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return {parameter.name for parameter in command.params}


SERVER_COMMANDS = [name for name in COMMANDS if "url" in parameters(name) and name not in {"config", "init"}]
"""Every command that needs a server; config and init only name one."""
REQUIRED: dict[str, Sequence[object]] = {
    "revoke": ("--card", "1", "--reason", "lost", "--yes"),
    "card": ("1",),
    "credentials": ("list",),
    "tokens": ("prune",),
    "snapsets": ("diff",),
    "drop": ("--prefix", "ci-42-", "--yes"),
}
"""What a command has to be given besides its server, its manifests and its snapsets."""


def arguments(name: str, manifest: Path, snapsets: Path) -> list[object]:
    """Return what a command has to be given besides its server."""
    taken = parameters(name)
    return [
        *([manifest] if {"manifests", "manifest_path"} & taken else []),
        *(["--in", manifest.parent] if name == "card" else []),
        *([manifest.parent] if name == "batches" else []),
        *(["--snapsets", snapsets] if "snapsets_dir" in taken else []),
        *REQUIRED.get(name, ()),
    ]
