"""The command ``drop``: delete development and CI databases with a prefix."""

import click

from dataloader.cli._command import command
from dataloader.cli._confirm import cancelled, confirmed
from dataloader.cli._options import TargetOptions, get_server, get_target, target_options
from dataloader.cli._output import Output, global_options
from dataloader.common import ExitCode, listed, many
from dataloader.operations import drop as drop_databases
from dataloader.operations import plan_drop


@command(short_help="Delete the databases with a prefix; development and CI only.")
@target_options
@click.option("--if-exists", is_flag=True, help="Succeed if there is no database with the prefix.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@global_options
@click.pass_obj
def drop(output: Output, /, *, target_options: TargetOptions, if_exists: bool, yes: bool) -> ExitCode:
    """Delete every database with a prefix, for example at the end of a CI job.

    The beginning of a prefix is enough: `ci-` deletes the databases with the prefixes `ci-42-` and `ci-43-`.

    Only databases that remember development or CI as their environment are deleted. If one was loaded as staging or
    production, nothing is deleted; one without a recorded environment is kept.

    If there is no database with the prefix, it may be mistyped, and the exit code is 2. Use --if-exists in scripts that
    may run twice, or after a job that failed early.

    \b
    Example:
      dataloader drop --prefix ci-42- --url http://127.0.0.1:5984 --yes
    """
    target = get_target(output, target_options)
    server = get_server(target)
    plan = plan_drop(server, target, if_exists=if_exists)
    if plan.dropped and not yes:
        what = many(len(plan.dropped), "database")
        if not confirmed(f"{what} at {target.address.url} will be deleted: {listed(list(plan.dropped))}"):
            return cancelled(output, "deleted")
    dropped = drop_databases(server, plan)
    output.result(
        {"dropped": dropped, "kept": plan.kept},
        [f"deleted {many(len(dropped), 'database')}" + (":" if dropped else ""), *(f"  {each}" for each in dropped)],
    )
    if plan.kept:
        output.error(
            f"kept {many(len(plan.kept), 'database')} without a recorded environment: {listed(plan.kept)} "
            "(delete by hand what is not needed)",
            ExitCode.ATTENTION,
        )
        return ExitCode.ATTENTION
    return ExitCode.OK
