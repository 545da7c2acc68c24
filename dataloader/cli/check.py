"""The command ``check``: whether a target is ready."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from dataloader.cli._command import command
from dataloader.cli._options import (
    TargetOptions,
    get_server,
    get_target,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.common import ExitCode
from dataloader.operations import (
    CheckResult,
    Circle,
    SecurityResult,
    check_security,
)
from dataloader.operations import check as check_target
from dataloader.target import Target


@command(short_help="Check that a target is ready.")
@target_options
@click.option(
    "--security",
    "with_security",
    is_flag=True,
    help="Also check what clients without credentials can read and write, and who else has access; writes nothing.",
)
@global_options
@click.pass_obj
def check(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    with_security: bool,
) -> ExitCode:
    """Check that a target is ready: server, credentials, databases, views, nodes.

    With --security, also checks that nobody else has access. Findings are listed first; the exit code is then 9.

    \b
    Example:
      dataloader check --target production --security
    """
    target = get_target(output, target_options)
    server = get_server(target)
    result = check_target(server, target)
    security = check_security(server, target) if with_security else None
    problems, code = result.problems, result.exit_code
    if security is not None:
        problems, code = [*security.problems, *problems], security.exit_code or code
    output.result(_check_json(target, result, security, problems), _check_text(target, result, security, problems))
    if code is ExitCode.OK:
        output.warnings(problems)
    else:
        output.error("\n".join(problems), code)
    return code


def _check_json(
    target: Target, result: CheckResult, security: SecurityResult | None, problems: list[str]
) -> dict[str, Any]:
    return {
        "url": target.address.url,
        "urls": {url: result.unanswering.get(url) for url in target.address.urls},
        "server": result.welcome.product,
        "version": result.welcome.version,
        "model": target.model.name,
        "environment": target.environment.value,
        "user": result.user,
        "admin": result.admin,
        "databases": {
            database.name: {
                "exists": database.exists,
                "documents": database.documents,
                "environment": None if database.remembers is None else database.remembers.value,
                "views": None if database.views is None else _views_word(database.views.value),
            }
            for database in result.databases
        },
        "nodes": {
            "expected": list(result.nodes.expected),
            "connected": list(result.nodes.connected),
            "away": list(result.nodes.away),
        },
        **({} if security is None else {"security": _security_json(security)}),
        "problems": problems,
    }


def _security_json(security: SecurityResult) -> dict[str, Any]:
    return {
        "anonymous_user": security.anonymous,
        "anonymous_admin": security.admin_party,
        "anonymous_names_databases": security.names_databases,
        "plain_http": security.plain_http,
        "unverified": security.unverified,
        "databases": {
            each.name: {
                "anonymous_reads": each.readable,
                "anonymous_writes": each.writable,
                "rules": None if each.rules is None else asdict(each.rules),
                "samples": each.samples,
            }
            for each in security.databases
        },
    }


def _views_word(state: str) -> str:
    return "current" if state == "unchanged" else state


def _check_text(
    target: Target, result: CheckResult, security: SecurityResult | None, problems: list[str]
) -> Iterator[str]:
    yield f"server     {result.welcome.product} {result.welcome.version} at {', '.join(target.address.urls)}"
    yield f"target     model {target.model.name}, environment {target.environment.value}"
    who = result.user or "anonymous"
    yield f"user       {who}, {'server admin' if result.admin else 'not a server admin'}"
    for database in result.databases:
        size = f"{database.documents:,} documents" if database.exists else "does not exist yet"
        views = f", views {_views_word(database.views.value)}" if database.views is not None else ""
        loaded_as = f", loaded as {database.remembers}" if database.remembers is not None else ""
        yield f"database   {database.name}: {size}{loaded_as}{views}"
    if result.nodes.expected:
        there = len(set(result.nodes.expected) - set(result.nodes.away))
        yield f"nodes      {there} of {len(result.nodes.expected)} are up"
    if security is not None:
        yield from _security_text(security)
    if not problems:
        yield "ready"


def _security_text(security: SecurityResult) -> Iterator[str]:
    if security.admin_party:
        yield "anonymous clients are server admins"
    for each in security.databases:
        may = [word for word, can in (("read", each.readable), ("write", each.writable)) if can]
        members = "unknown" if each.rules is None else _circle_text(each.rules.members)
        access = f"can {' and '.join(may)}" if may else "no access"
        yield f"anonymous clients  {each.name}: {access}; members: {members}"


def _circle_text(circle: Circle) -> str:
    return ", ".join([*circle.names, *(f"role {role}" for role in circle.roles)]) or "everybody"
