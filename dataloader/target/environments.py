"""What databases remember: the environment they were first loaded as, and the versions loaded into them.

Both are in ``_local/dataloader`` of each database, so they do not depend on the name or address used for the server. A
``_local`` document is not replicated, appears in no view, and does not change the update sequence:
https://docs.couchdb.org/en/3.5.0/api/local.html.

The environment prevents anyone from later declaring a less protected one. The versions are digests of content (see
``dataloader.replication.version_digest``): they show whether a document has been edited, and whether a snapset is older
or newer than the one last loaded.
"""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from dataloader.common import ProtectedError
from dataloader.couch import ConflictError, Database, NotFoundError, Server
from dataloader.target.targets import Environment, Target

MARKER = "dataloader"
"""The document's name, without ``_local/``."""
_ENVIRONMENT = "environment"
_VERSIONS = "versions"
_REVISION = re.compile(r"[0-9]+-[0-9a-z]+")
_ATTEMPTS = 5
"""How often to write the record again if another client, or an outdated copy, reverts it."""
_LOOK_AGAIN = 0.1
"""Seconds after which a client that read the record before it was written has written it, too."""

Versions = Mapping[str, str]
"""The digest of each version that a load writes, by its subject."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What one database remembers."""

    environment: Environment | None = None
    """None if the database does not exist, or has never been loaded by this tool."""
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The digests of all loaded versions, by subject, the last loaded one last."""

    @property
    def brought(self) -> frozenset[str]:
        """The digests of all versions."""
        return frozenset(digest for digests in self.versions.values() for digest in digests)

    def older(self, versions: Versions) -> list[str]:
        """Return the subjects whose newest loaded version is newer than the given one."""
        return [label for label, digest in versions.items() if digest in self.versions.get(label, ())[:-1]]

    def with_versions(self, versions: Versions) -> dict[str, list[str]]:
        """Return the record's versions, updated with those given."""
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
    """By full database name."""

    @property
    def environments(self) -> Mapping[str, Environment | None]:
        """The environments, by full database name."""
        return {name: marker.environment for name, marker in self.markers.items()}

    def raised(self, target: Target) -> dict[str, Environment]:
        """Return the databases that were loaded as a less protected environment than the target's."""
        return {
            name: environment
            for name, environment in self.environments.items()
            if environment is not None and _order(environment) < _order(target.environment)
        }


def guard(server: Server, target: Target) -> Memory:
    """Check that no database of a target remembers a more protected environment; one small request each.

    Every function with a target calls this first, before any other request except for the greeting. From then on, the
    server checks it again before any write is repeated.

    Returns:
        What the databases remember.

    Raises:
        ProtectedError: a database was loaded as a more protected environment than the target's.
        DataloaderError: the server can't be reached, or does not let this user read.
    """
    databases = [server.database(target.database(name)) for name in target.model.databases]
    for each in databases:
        server.check_again(each.name, partial(check_marker, each, target))
    return Memory({each.name: check_marker(each, target) for each in databases})


def check_marker(database: Database, target: Target) -> Marker:
    """Return what a database of a target remembers, if the target's environment is allowed; see :func:`guard`.

    Raises:
        ProtectedError: it was loaded as a more protected environment than the target's.
        DataloaderError: the server can't be reached, or does not let this user read.
    """
    marker = read_marker(database)
    _refuse(database.name, marker.environment, target)
    return marker


def remember(server: Server, target: Target, memory: Memory, versions: Mapping[str, Versions] | None = None) -> bool:
    """Record the target's environment and the loaded versions in its databases, which must exist.

    Called before the first document is written, so that the record exists even if the load is killed.

    Args:
        server: the target's server.
        target: the target.
        memory: what ``guard`` found; if that includes everything, no request is made.
        versions: the versions to be loaded, by database name without prefix.

    Returns:
        Whether anything was written.

    Raises:
        ProtectedError: somebody else has since loaded a database as a more protected environment.
        DataloaderError: the server can't be reached, or does not let this user write.
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


def add_versions(database: Database, restored: Mapping[str, Sequence[str]]) -> None:
    """Add the versions that a backup remembers to those of a database, whose marker must exist.

    Without them, restored documents of an earlier version would count as edited. The database's own newest version
    stays the newest, unless the backup continues from it.

    Args:
        database: the database.
        restored: the digests of the backup's versions by subject, the last loaded one last.

    Raises:
        DataloaderError: the server can't be reached, or does not let this user write.
    """
    for _ in range(_ATTEMPTS):
        stored = _read(database)
        known = versions_in(stored)
        merged = {**known, **{label: _merged(known.get(label, ()), digests) for label, digests in restored.items()}}
        if merged == known:
            return
        with suppress(ConflictError):
            database.put_local(MARKER, {**stored, _VERSIONS: merged})
        if database.names_leaves:
            time.sleep(_LOOK_AGAIN)


def _merged(living: Sequence[str], restored: Sequence[str]) -> tuple[str, ...]:
    """Merge two histories of one subject."""
    earlier, later = restored, living
    if living and living[-1] in restored and restored[-1] not in living:
        earlier, later = living, restored
    return (*(each for each in earlier if each not in later), *later)


def read_marker(database: Database) -> Marker:
    """Return what a database remembers; an empty record if there is none or the database does not exist.

    Raises:
        ProtectedError: this version does not know the environment that it remembers.
        DataloaderError: the server can't be reached, or does not let this user read.
    """
    return _marker(database, _read(database))


def less_protected(target: Target, environment: Environment | None) -> bool:
    """Return whether a target's environment is less protected than the one a database remembers."""
    return environment is not None and _order(target.environment) < _order(environment)


def most_protected(*environments: str) -> Environment:
    """Return the most protected of several environments."""
    return max(map(Environment, environments), key=_order)


def _order(environment: Environment) -> int:
    # They are defined in this order.
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
    """Return the command that repairs a damaged record."""
    rev = marker.get("_rev")
    # It may be copied to a shell, so nothing else may be in it.
    revision = f'"_rev": "{rev}", ' if isinstance(rev, str) and _REVISION.fullmatch(rev) else ""
    document = f'{{{revision}"{_ENVIRONMENT}": "ENVIRONMENT"}}'
    return f"curl -u ADMIN -X PUT {database.url}/_local/{MARKER} -H 'Content-Type: application/json' -d '{document}'"


def _marker(database: Database, marker: Mapping[str, object]) -> Marker:
    return Marker(_environment(database, marker), versions_in(marker))


def versions_in(marker: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """Return the versions that a record names, by subject, the last loaded one last."""
    versions = marker.get(_VERSIONS)
    return {
        str(label): tuple(map(str, digests))
        for label, digests in (versions.items() if isinstance(versions, dict) else ())
        if isinstance(digests, list)
    }


def _mark(database: Database, target: Target, versions: Versions) -> None:
    # CouchDB accepts any write of a _local document, whatever its revision: if two loads are first at the same time,
    # the last write wins. So each reads it again a moment later, and the more protected one writes again.
    for attempt in range(_ATTEMPTS):
        stored = _read(database)
        marker = _marker(database, stored)
        _refuse(database.name, marker.environment, target)
        is_known = marker.environment is target.environment and marker.brought.issuperset(versions.values())
        if _says(marker, target, versions) or (attempt and is_known):
            return
        said = {_ENVIRONMENT: target.environment.value}
        try:
            database.put_local(MARKER, {**stored, **said, _VERSIONS: marker.with_versions(versions)})
        except ConflictError:
            # PouchDB does check the revision, and somebody else was faster.
            continue
        if database.names_leaves:
            time.sleep(_LOOK_AGAIN)
