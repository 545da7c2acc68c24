"""The command ``seed``: load development data."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from shlex import quote

import click

from dataloader.cli._command import command
from dataloader.cli._options import (
    PATH,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._table import table
from dataloader.cli._write import carry_out, load_details, write_options
from dataloader.common import ExitCode, new_files
from dataloader.operations import DEFAULT_SEED, LoadOptions, invented_people, seed_sources
from dataloader.records import Snapsets
from dataloader.target import Target

SHOWN_PEOPLE = 20
"""Log-ins to show on the screen."""


@command(short_help="Load development data; never into staging or production.")
@target_options
@snapset_options
@click.option("--users", type=int, default=0, metavar="N", help="How many people to invent (default: none).")
@click.option(
    "--seed",
    type=int,
    default=DEFAULT_SEED,
    metavar="S",
    help="The seed of the invented people (default: 0); the same seed invents the same people.",
)
@click.option(
    "--env-file",
    type=PATH,
    metavar="FILE",
    help="Write the log-ins to a new file, as lines GPII_USER_1_NAME=… for a shell or for Docker.",
)
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
    write_options: LoadOptions,
    users: int,
    seed: int,
    env_file: Path | None,
    details: Path | None,
) -> ExitCode:
    """Seed a development or CI target: views, snapsets, the sample data, and invented users.

    Prints the log-ins of the invented users. Staging and production targets refuse it, whatever the options.

    \b
    Example:
      dataloader seed --url http://127.0.0.1:5984 --users 50
    """
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    sources = seed_sources(target, snapsets, users=users, seed=seed)
    people = log_ins(target, snapsets, users, seed)
    with ExitStack() as stack:
        stream = None if env_file is None else stack.enter_context(new_files(env_file))[0]
        _, _, code = carry_out(
            output,
            get_server(target),
            target,
            sources,
            write_options,
            details=details,
            data={"users": people},
            lines=log_in_text(people),
        )
        if stream is not None:
            stream.write(env_text(people).encode())
    return code


def log_ins(target: Target, snapsets: Snapsets, users: int, seed: int) -> list[dict[str, str]]:
    """Return the log-ins of the seeded people, or their keys if the model has no log-ins."""
    has_users = any(kind.name == "user" for kind in target.model.kinds)
    return [
        {
            "key": entry.key,
            **(
                {"name": entry.login.name, "password": entry.login.password, "email": entry.login.email}
                if has_users and entry.login is not None
                else {}
            ),
        }
        for entry in invented_people(users, seed, snapsets.of(target.model.name))
    ]


def log_in_text(people: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the log-ins as a table."""
    heads = [each for each in ("name", "password", "email", "key") if people and each in people[0]]
    lines = table([tuple(each[head] for head in heads) for each in people[:SHOWN_PEOPLE]], heads)
    more = len(people) - SHOWN_PEOPLE
    return [*lines, *([f"and {more:,} more (--json lists all)"] if more > 0 else [])]


def env_text(people: Sequence[Mapping[str, str]]) -> str:
    """Return the log-ins as lines for an environment file: ``GPII_USER_1_NAME=…``."""
    return "".join(
        f"GPII_USER_{number}_{member.upper()}={quote(value)}\n"
        for number, each in enumerate(people, 1)
        for member, value in each.items()
    )
