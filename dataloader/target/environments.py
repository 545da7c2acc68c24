"""What databases remember: the environment that each was first loaded as, and the versions that loads brought.

Both are in ``_local/dataloader`` of each database, and so are the same by whatever name or address the server is
reached. A ``_local`` document is not replicated, is in no view, and counts as no update:
https://docs.couchdb.org/en/3.5.0/api/local.html.

The environment keeps anybody from saying a lesser one. The versions are digests of content (see
``dataloader.replication.version_digest``): they tell a document that nobody has edited from one that somebody has, and
a snapset that is older than the one last loaded from one that is newer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dataloader.common import ProtectedError
from dataloader.couch import ConflictError, Database, NotFoundError, Server
from dataloader.target.targets import Environment, Target

MARKER = "dataloader"
"""The name of the document, below ``_local/``."""
_ENVIRONMENT = "environment"
_VERSIONS = "versions"
_ATTEMPTS = 5
"""How often a mark is made that somebody else, or a copy that is behind, takes back."""


Versions = Mapping[str, str]
"""The digest of the version that a load brings, by what it is a version of."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What one database remembers."""

    environment: Environment | None = None
    """None where there is no database yet, or no load of this tool has been there."""
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The digests of every version that a load has brought, by what they are versions of; the last loaded is last."""

    @property
    def brought(self) -> frozenset[str]:
        """The digests of all versions."""
        return frozenset(digest for digests in self.versions.values() for digest in digests)

    def older(self, versions: Versions) -> list[str]:
        """Return of what there has been a newer version than the one given."""
        return [label for label, digest in versions.items() if digest in self.versions.get(label, ())[:-1]]

    def with_versions(self, versions: Versions) -> dict[str, list[str]]:
        """Return the versions as they are remembered once these have been brought."""
        return {
            **{label: list(digests) for label, digests in self.versions.items()},
            **{
                label: [*(each for each in self.versions.get(label, ()) if each != digest), digest]
                for label, digest in versions.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Memory:
    """What the databases of a target remember."""

    markers: Mapping[str, Marker]
    """By the databases' names with prefix."""

    @property
    def environments(self) -> Mapping[str, Environment | None]:
        """The environments, by the databases' names with prefix."""
        return {name: marker.environment for name, marker in self.markers.items()}

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
    names = map(target.database, target.model.databases)
    return Memory({name: check_marker(server.database(name), target) for name in names})


def check_marker(database: Database, target: Target) -> Marker:
    """Return what a database of a target remembers; see :func:`guard`.

    Raises:
        ProtectedError: it was loaded as something more protected than the target is said to be.
        DataloaderError: the server can't be asked, or does not let this user read.
    """
    marker = read_marker(database)
    _refuse(database.name, marker.environment, target)
    return marker


def remember(server: Server, target: Target, memory: Memory, versions: Mapping[str, Versions] | None = None) -> bool:
    """Have the databases, which exist by now, remember the target's environment and what is brought to them.

    Called before the first document is written, so that a load that is killed has done it.

    Args:
        server: the target's server.
        target: the target.
        memory: what ``guard`` found; where that says it all already, nothing is asked or written.
        versions: what is brought, by database without prefix.

    Returns:
        Whether anything was written.

    Raises:
        ProtectedError: somebody else has loaded a database in the meantime, as something more protected.
        DataloaderError: the server can't be asked, or does not let this user write.
    """
    new = {
        target.database(name): brought
        for name in target.model.databases
        if not _says(memory.markers[target.database(name)], target, brought := (versions or {}).get(name, {}))
    }
    for name, brought in new.items():
        _mark(server.database(name), target, brought)
    return bool(new)


def _says(marker: Marker, target: Target, versions: Versions) -> bool:
    return marker.environment is target.environment and all(
        marker.versions.get(label, ())[-1:] == (digest,) for label, digest in versions.items()
    )


def read_marker(database: Database) -> Marker:
    """Return what a database remembers; nothing where it remembers nothing or does not exist.

    Raises:
        ProtectedError: the environment that it remembers is none that this program knows.
        DataloaderError: the server can't be asked, or does not let this user read.
    """
    return _marker(database, _read(database))


def remembered(database: Database) -> Environment | None:
    """Return the environment that a database remembers; see :func:`read_marker`."""
    return read_marker(database).environment


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
            rule=f"holds {environment} data; refusing to treat it as {target.environment}",
            todo=f"use --environment {environment}, or other databases with --prefix",
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
            rule=f"its record _local/{MARKER} says environment {said!r}, which this version does not know"
            if _ENVIRONMENT in marker
            else f"its record _local/{MARKER} is damaged: it names no environment",
            todo="use the newest version of dataloader; if the record is damaged, write it again with what the "
            f"database is for ({', '.join(Environment)}): {_repair(database, marker)}",
        ) from error


def _repair(database: Database, marker: Mapping[str, object]) -> str:
    """Return the command that writes a record again."""
    rev = marker.get("_rev")
    revision = f'"_rev": "{rev}", ' if isinstance(rev, str) else ""
    document = f'{{{revision}"{_ENVIRONMENT}": "ENVIRONMENT"}}'
    return f"curl -u ADMIN -X PUT {database.url}/_local/{MARKER} -H 'Content-Type: application/json' -d '{document}'"


def _marker(database: Database, marker: Mapping[str, object]) -> Marker:
    versions = marker.get(_VERSIONS)
    known = {
        str(label): tuple(map(str, digests))
        for label, digests in (versions.items() if isinstance(versions, dict) else ())
        if isinstance(digests, list)
    }
    return Marker(_environment(database, marker), known)


def _mark(database: Database, target: Target, versions: Versions) -> None:
    # CouchDB takes any write of a _local document, whatever revision it names: of two loaders that are the
    # first at the same time, the last one counts. So each looks again, and the more protected one insists.
    for _ in range(_ATTEMPTS):
        stored = _read(database)
        marker = _marker(database, stored)
        _refuse(database.name, marker.environment, target)
        if _says(marker, target, versions):
            return
        said = {_ENVIRONMENT: target.environment.value}
        try:
            database.put_local(MARKER, {**stored, **said, _VERSIONS: marker.with_versions(versions)})
        except ConflictError:
            # PouchDB does look at the revision, and somebody else was quicker.
            continue
