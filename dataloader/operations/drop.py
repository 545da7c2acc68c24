"""Dropping: deleting the databases of a prefix, of development and CI only."""

from dataclasses import dataclass, field

from dataloader.common import ProtectedError, UsageError
from dataloader.couch import Server
from dataloader.target import Environment, Target, read_marker


@dataclass
class DropPlan:
    """Which databases have a prefix, and what may become of them."""

    dropped: dict[str, Environment] = field(default_factory=dict)
    """Databases that remember development or CI, and what they remember."""
    kept: list[str] = field(default_factory=list)
    """Databases that remember no environment, and so may not be dataloader's."""


def plan_drop(server: Server, target: Target) -> DropPlan:
    """Find the databases with a target's prefix; deletes nothing.

    What a database remembers counts, not what the target is said to be.

    Args:
        server: the target's server.
        target: the target, with a prefix.

    Raises:
        UsageError: the target has no prefix.
        ProtectedError: the target, or one of the databases, is for staging or production.
        CredentialsError: the user is not a server admin.
    """
    if not target.prefix:
        raise UsageError("no prefix", rule="every database would be deleted", todo="add --prefix, as in ci-42-")
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
    """Delete the databases of a plan; what each remembers is read again just before.

    Returns:
        Their names.

    Raises:
        ProtectedError: one has become a staging or production database.
        DataloaderError: the server failed after all retries, or refused.
    """
    done = []
    for name in plan.dropped:
        database = server.database(name)
        if database.exists() and _droppable(server, name) is not None:
            database.delete()
            done.append(name)
    return done
