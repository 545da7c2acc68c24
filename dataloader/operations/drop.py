"""Delete the development and CI databases with a prefix."""

from dataclasses import dataclass, field

from dataloader.common import ProtectedError, UsageError
from dataloader.couch import Server
from dataloader.target import Environment, Target, read_marker


@dataclass
class DropPlan:
    """The databases with a prefix, and which of them may be deleted."""

    dropped: dict[str, Environment] = field(default_factory=dict)
    """Development and CI databases, with the environment they remember."""
    kept: list[str] = field(default_factory=list)
    """Databases that remember no environment, so they may not belong to dataloader."""


def plan_drop(server: Server, target: Target) -> DropPlan:
    """Find the databases with a target's prefix; deletes nothing.

    The environment that a database remembers counts, not the target's.

    Args:
        server: the target's server.
        target: the target, with a prefix.

    Raises:
        UsageError: the target has no prefix.
        ProtectedError: the target, or one of the databases, is for staging or production.
        CredentialsError: the user is not a server admin.
    """
    if not target.prefix:
        raise UsageError("no prefix", rule="every database would be deleted", todo="add --prefix, such as ci-42-")
    target.refuse(f"dropping {target.prefix}*", "delete databases of staging and production by hand")
    server.welcome()
    plan = DropPlan()
    for name in server.databases():
        if name.startswith(target.prefix):
            environment = _droppable(server, name)
            if environment is None:
                plan.kept.append(name)
            else:
                plan.dropped[name] = environment
    return plan


def _droppable(server: Server, name: str) -> Environment | None:
    environment = read_marker(server.database(name)).environment
    if environment is not None and environment.protected:
        raise ProtectedError(
            f"database {name} at {server.address.url}",
            rule=f"holds {environment} data, so nothing with this prefix is deleted",
            todo="give a longer prefix",
        )
    return environment


def drop(server: Server, plan: DropPlan) -> list[str]:
    """Delete the databases of a plan, checking the environment of each again just before.

    Returns:
        Their names.

    Raises:
        ProtectedError: a database has become staging or production.
        DataloaderError: the server failed after all retries, or refused.
    """
    done = []
    for name in plan.dropped:
        database = server.database(name)
        if database.exists() and _droppable(server, name) is not None:
            database.delete()
            done.append(name)
    return done
