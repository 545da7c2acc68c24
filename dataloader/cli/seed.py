"""The command for development data: seed."""

from pathlib import Path

import click

from dataloader.cli._command import command
from dataloader.cli._options import (
    SnapsetOptions,
    TargetOptions,
    WriteOptions,
    get_server,
    get_snapsets,
    get_target,
    snapset_options,
    target_options,
    write_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._write import carry_out, load_details
from dataloader.common import ExitCode
from dataloader.operations import DEFAULT_SEED, seed_sources


@command(short_help="Load development data; never into staging or production.")
@target_options
@snapset_options
@click.option("--users", type=int, default=0, metavar="N", help="How many people with log-ins to invent; default none.")
@click.option("--seed", type=int, default=DEFAULT_SEED, metavar="S", help="What they are invented from; default 0.")
@write_options
@load_details
@global_options
@click.pass_obj
def seed(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    write_options: WriteOptions,
    users: int,
    seed: int,
    details: Path | None,
) -> ExitCode:
    """Seed a development or CI target: views, snapsets, the sample data, and invented users.

    The same seed gives the same users. Staging and production targets refuse it, whatever the flags.

    \b
    Example:
      dataloader seed --url http://127.0.0.1:5984 --users 50
    """
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    sources = seed_sources(target, snapsets, users=users, seed=seed)
    _, _, code = carry_out(output, get_server(target), target, sources, details, write_options)
    return code
