"""Delete the development and CI databases with a prefix."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from dataloader.common import ProtectedError, ProtocolError, UsageError, did_you_mean, listed
from dataloader.couch import Database, Server
from dataloader.operations.backup import identity_of
from dataloader.records.models import get_model, model_names
from dataloader.target import Environment, Target, read_marker


@dataclass
class DropPlan:
    """The databases with a prefix, and which of them may be deleted."""

    dropped: dict[str, Environment] = field(default_factory=dict)
    """Development and CI databases, with the environment they remember."""
    kept: list[str] = field(default_factory=list)
    """Databases that remember no environment, so they may not belong to dataloader."""
    identities: dict[str, str] = field(default_factory=dict)
    """What distinguishes those to be deleted from later ones of the same name."""


def plan_drop(server: Server, target: Target, *, if_exists: bool = False) -> DropPlan:
    """Find the databases with a target's prefix; deletes nothing.

    The environment that a database remembers counts, not the target's.

    Args:
        server: the target's server.
        target: the target, with a prefix.
        if_exists: whether it is fine if there is no such database.

    Raises:
        UsageError: the target has no prefix, or no database has it.
        ProtectedError: the target, or one of the databases, is for staging or production.
        CredentialsError: the user is not a server admin.
    """
    target.refuse(f"dropping {target.prefix}*", "delete databases of staging and production by hand")
    if not target.prefix:
        todo = "give --url and --prefix, such as ci-42-, or a target whose entry in the target file has a prefix"
        raise UsageError("no prefix", rule="every database would be deleted", todo=todo)
    server.welcome()
    plan = DropPlan()
    names = server.databases()
    for name in names:
        if _has_prefix(name, target.prefix):
            environment = _droppable(server, name)
            info = server.database(name).info()
            if info is None:
                continue  # Another run has just deleted it.
            if environment is None:
                plan.kept.append(name)
            else:
                plan.dropped[name] = environment
                plan.identities[name] = identity_of(server.database(name), info)
    # A mistyped prefix must not pass for success: the databases would stay for ever.
    if not (plan.dropped or plan.kept or if_exists):
        raise UsageError(
            f"prefix {target.prefix}",
            rule=f"no database at {server.address.url} has this prefix; {_suggestion(target.prefix, names)}",
            todo="if there need not be one, add --if-exists",
        )
    return plan


def _has_prefix(name: str, prefix: str) -> bool:
    """Return whether a database was created with a prefix, or one that begins with it.

    `pref` is no prefix of the database `preferences`, nor `ci-42-p` one of `ci-42-preferences`.
    """
    own = [name.removesuffix(each) for each in _databases() if name.endswith(each)]
    return name.startswith(prefix) if not own else any(each.startswith(prefix) for each in own)


def _databases() -> list[str]:
    """Return the names of all models' databases, without prefix."""
    return sorted({database for each in model_names() for database in get_model(each).databases})


def _suggestion(prefix: str, names: Sequence[str]) -> str:
    """Return a question that suggests a prefix of other databases, or their prefixes."""
    found = {name.removesuffix(each) for name in names for each in _databases() if name.endswith(each)} - {""}
    return did_you_mean(prefix, found, cutoff=0.75) or (
        f"the prefixes there are {listed(sorted(found))}" if found else "no database there has a prefix"
    )


def _droppable(server: Server, name: str) -> Environment | None:
    environment = read_marker(server.database(name)).environment
    if environment is not None and environment.protected:
        raise ProtectedError(
            f"database {name} at {server.address.url}",
            rule=f"holds {environment} data, so nothing with this prefix is deleted",
            todo="give a longer prefix, or delete databases of staging and production by hand",
        )
    return environment


def drop(server: Server, plan: DropPlan) -> list[str]:
    """Delete the databases of a plan, checking just before each attempt that each is still the same.

    Returns:
        Their names.

    Raises:
        ProtectedError: a database has become staging or production.
        ProtocolError: a database was recreated since it was listed.
        DataloaderError: the server failed after all retries, or refused.
    """
    done = []
    for name in plan.dropped:
        database = server.database(name)
        if database.exists():
            check = partial(_check, server, database, plan)
            server.check_again(name, check)
            check()
            database.delete()
            done.append(name)
    return done


def _check(server: Server, database: Database, plan: DropPlan) -> None:
    environment, info = _droppable(server, database.name), database.info()
    if info is None:
        # Deleted, by an attempt whose reply was lost or by another run.
        return
    if environment is None or identity_of(database, info) != plan.identities[database.name]:
        raise ProtocolError(
            f"database {database.name}", rule="was recreated by somebody else, and is not deleted", todo="run it again"
        )
