"""The command ``tokens``: delete access tokens that have expired."""

import click

from dataloader.cli._command import command
from dataloader.cli._options import TargetOptions, get_server, get_target, target_options
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.common import ExitCode, many
from dataloader.operations import prune_tokens


@command(short_help="Delete access tokens that have expired; for a cron job.")
@click.argument("action", type=click.Choice(["prune"]), metavar="prune")
@target_options
@global_options
@click.pass_obj
def tokens(output: Output, /, *, target_options: TargetOptions, action: str) -> ExitCode:  # noqa: ARG001 - the only one
    """Delete access tokens that have expired, and no others. Every log-in leaves one behind.

    Asks no questions, so that a cron job can run it, for example every hour.

    \b
    Example:
      dataloader tokens prune --target production --quiet
    """
    target = get_target(output, target_options)
    with Progress(output, "tokens") as progress:
        result = prune_tokens(get_server(target), target, on_progress=progress)
    output.result(
        {"deleted": result.deleted, "valid": result.valid, "undated": result.undated, "failed": result.failed},
        [f"deleted {many(result.deleted, 'expired access token')}"],
    )
    if result.undated:
        output.warn(f"kept {many(result.undated, 'access token')} without an expiry time")
    if result.failed:
        output.error(f"the server did not delete {many(result.failed, 'token')} (run it again)", ExitCode.ATTENTION)
        return ExitCode.ATTENTION
    return ExitCode.OK
