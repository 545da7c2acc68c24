"""The command ``help``: show the help of a command."""

import click

from dataloader.cli._command import command, no_such_command
from dataloader.cli._completion import complete_command
from dataloader.cli._output import Output, global_options


@command(short_help="Show the help of a command.")
@click.argument("name", required=False, metavar="[COMMAND]", shell_complete=complete_command)
@global_options
@click.pass_obj
def help(output: Output, /, name: str | None) -> None:  # noqa: A001 - the command's name
    """Show the help of a command, like COMMAND --help, or the list of commands.

    \b
    Example:
      dataloader help load
    """
    context = click.get_current_context()
    group = context.find_root().command
    if not isinstance(group, click.Group):  # pragma: no cover - the command line is a group
        raise TypeError(group)
    asked: click.Command | None = group if name is None else group.get_command(context, name)
    if asked is None:
        raise click.UsageError(no_such_command(str(name), group.list_commands(context)), context.find_root())
    info = context.find_root().info_name if name is None else name
    parent = None if name is None else context.find_root()
    text = asked.get_help(asked.context_class(asked, info_name=info, parent=parent))
    output.result({"help": text}, text.splitlines())
