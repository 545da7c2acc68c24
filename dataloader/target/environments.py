"""What databases remember: the environment that each was first loaded as, so that nobody says a lesser one.

It stands in ``_local/dataloader`` of each database, and so it is the same by whatever name or address the
server is reached. A ``_local`` document is not replicated, is in no view, and counts as no update:
https://docs.couchdb.org/en/3.5.0/api/local.html.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dataloader.common import ProtectedError
from dataloader.couch import ConflictError, Database, NotFoundError, Server
from dataloader.target.targets import Environment, Target

MARKER = "dataloader"
"""The name of the document, below ``_local/``."""
_ENVIRONMENT = "environment"
_ATTEMPTS = 5
"""How often a mark is made that somebody else, or a copy that is behind, takes back."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the databases of a target remember."""

    environments: Mapping[str, Environment | None]
    """By the databases' names with prefix; None where there is no database yet, or no load of this tool has been."""

    def raised(self, target: Target) -> dict[str, Environment]:
        """Return the databases that were loaded as something less protected than the target now is."""
        return {
            name: environment
            for name, environment in self.environments.items()
            if environment is not None and _order(environment) < _order(target.environment)
        }


def guard(server: Server, target: Target) -> Memory:
    """See that no database of a target remembers a more protected environment; one small request each.

    Every function that is given a target calls it before it does anything else there but ask who answers.

    Returns:
        What the databases remember.

    Raises:
        ProtectedError: one was loaded as something more protected than the target is said to be.
        DataloaderError: the server can't be asked, or does not let this user read.
    """
    memory = Memory({name: remembered(server.database(name)) for name in map(target.database, target.model.databases)})
    for name, environment in memory.environments.items():
        _refuse(name, environment, target)
    return memory


def remember(server: Server, target: Target, memory: Memory) -> bool:
    """Have the databases, which are there by now, remember the target's environment.

    Called before the first document is written, so that a load that is killed has done it.

    Args:
        server: the target's server.
        target: the target.
        memory: what ``guard`` found; where that is the environment already, nothing is asked or written.

    Returns:
        Whether anything was written.

    Raises:
        ProtectedError: somebody else has loaded a database in the meantime, as something more protected.
        DataloaderError: the server can't be asked, or does not let this user write.
    """
    new = [name for name, environment in memory.environments.items() if environment is not target.environment]
    for name in new:
        _mark(server.database(name), target)
    return bool(new)


def remembered(database: Database) -> Environment | None:
    """Return the environment that a database remembers, None where it has none or is not there.

    Raises:
        ProtectedError: what it remembers is nothing that this program knows.
        DataloaderError: the server can't be asked, or does not let this user read.
    """
    return _environment(database, _read(database))


def less_protected(target: Target, environment: Environment | None) -> bool:
    """Tell whether a target is said to be less protected than a database remembers."""
    return environment is not None and _order(target.environment) < _order(environment)


def most_protected(*environments: str) -> Environment:
    """Return the most protected of some environments."""
    return max(map(Environment, environments), key=_order)


def _order(environment: Environment) -> int:
    # They are listed in this order.
    return list(Environment).index(environment)


def _refuse(name: str, environment: Environment | None, target: Target) -> None:
    if less_protected(target, environment):
        raise ProtectedError(
            f"database {name} at {target.address.url}",
            rule=f"was loaded as {environment}, and is not to be taken for {target.environment}",
            todo=f"say environment {environment}, or use other databases, with a prefix of their own",
        )


def _read(database: Database) -> dict[str, object]:
    try:
        return database.local(MARKER)
    except NotFoundError:
        return {}


def _environment(database: Database, marker: Mapping[str, object]) -> Environment | None:
    said = marker.get(_ENVIRONMENT)
    if not marker:
        return None
    try:
        return Environment(str(said))
    except ValueError as error:
        raise ProtectedError(
            f"database {database.name}",
            rule=f"its _local/{MARKER} holds no environment that this program knows",
            todo="use the newest version of this program, or look at that document and correct it",
        ) from error


def _mark(database: Database, target: Target) -> None:
    # CouchDB takes any write of a _local document, whatever revision it names: of two loaders that are the
    # first at the same time, the last one counts. So each looks again, and the more protected one insists.
    for _ in range(_ATTEMPTS):
        marker = _read(database)
        environment = _environment(database, marker)
        _refuse(database.name, environment, target)
        if environment is target.environment:
            return
        try:
            database.put_local(MARKER, {**marker, _ENVIRONMENT: target.environment.value})
        except ConflictError:
            # PouchDB does look at the revision, and somebody else was quicker.
            continue
