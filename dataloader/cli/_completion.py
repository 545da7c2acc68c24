"""Shell completion: names of commands, targets, snapsets and files."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem


def complete_command(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """Complete the name of a command, with its description."""
    group = ctx.find_root().command
    if not isinstance(group, click.Group):
        return []
    found = []
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name) if name.startswith(incomplete) else None
        if command is not None:
            found.append(CompletionItem(name, help=command.get_short_help_str()))
    return found


def complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """Complete the name of a target in the target file."""
    import tomllib  # noqa: PLC0415 - needed for completion only

    from dataloader.common import target_file  # noqa: PLC0415 - needed for completion only

    try:
        targets = tomllib.loads(target_file(ctx.params.get("config")).read_text("utf-8-sig"))["target"]
        return [
            CompletionItem(name, help=f"{table['environment']} at {table['url']}")
            for name, table in targets.items()
            if name.startswith(incomplete)
        ]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # Errors in the file can't be shown here.
        return []


def complete_snapset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001 - click's signature
    """Complete the name of a snapset in the current folder of snapsets."""
    from dataloader.common import DataloaderError  # noqa: PLC0415 - needed for completion only
    from dataloader.records import read_snapsets  # noqa: PLC0415 - needed for completion only

    folder = ctx.params.get("snapsets_dir")
    try:
        snapsets = read_snapsets(None if folder is None else Path(folder))
    except DataloaderError:
        return []
    found = []
    for name in snapsets.names():
        snapset = snapsets.get(name)
        if name.startswith(incomplete) and snapset is not None:
            found.append(CompletionItem(name, help=snapset.title))
    return found
