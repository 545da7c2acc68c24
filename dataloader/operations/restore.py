"""Restore backups by replication: into empty databases, or into used ones without overwriting anything newer.

Documents are written with their revisions and histories (``"new_edits": false``), sorted by ``_id``. So a restore can
be repeated, and a killed one continues when it is run again; ``_local/dataloader-restore`` names the backup, and says
how far its restore has got. Afterwards the server is asked for every leaf of the backup (``_revs_diff``).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge as merged_in_order
from itertools import islice

import orjson

from dataloader.archive import Backup, DatabaseState, Group, Key, Section, revision_of, revisions_of
from dataloader.common import (
    UUID,
    DataloaderError,
    Document,
    InputError,
    OnProgress,
    Problem,
    ProtectedError,
    ProtocolError,
    history,
    live_leaves,
    tell_how_far,
)
from dataloader.couch import LEAVES, ConflictError, Database, NotFoundError, Rejection, Server
from dataloader.operations.backup import check_file
from dataloader.operations.identity import Identities
from dataloader.replication import (
    KindRules,
    build_views,
    chunks,
    in_parallel,
    is_ours,
    is_persons_deletion,
    is_revocation,
    superseded,
    write_over,
)
from dataloader.target import (
    MARKER,
    Environment,
    Target,
    add_versions,
    check_marker,
    guard,
    less_protected,
    most_protected,
    remember,
    versions_in,
)

WRITTEN = 1_000
"""Documents per request; measured as the fastest for sorted writes."""
MAX_REQUEST = 4_000_000
"""The most bytes of documents in a request."""
KEPT = 100
"""Documents to name; all are counted."""
RESTORE_MARKER = "dataloader-restore"
"""The ``_local`` document that says which backup was restored, and how far: its settings, everything."""

_UNFINISHED = "unfinished"
"""Its member that names the other backups whose merge has begun and not ended."""
_ATTEMPTS = 5
"""How often to repeat what another writer, or a lagging copy, may have undone."""
_WAIT = 0.1
"""Seconds before the first repetition; doubles each time."""

OnReady = Callable[[], None]
"""Called when all documents except the design documents are written, before any view can return them."""


@dataclass(frozen=True, slots=True)
class KeptDocument:
    """A document that a merge did not change."""

    database: str
    id: str


@dataclass
class RestoreResult:
    """The result of a restore."""

    created_databases: list[str] = field(default_factory=list)
    documents: int = 0
    """Documents in the backup."""
    leaves: int = 0
    written: int = 0
    """Leaves that were written."""
    missing: list[KeptDocument] = field(default_factory=list)
    missing_count: int = 0
    kept: list[KeptDocument] = field(default_factory=list)
    """Documents that a merge did not change, because they were edited on another branch."""
    kept_count: int = 0
    conflicts: list[KeptDocument] = field(default_factory=list)
    """Documents whose restored revision and another one were edited during a merge: both exist."""
    conflict_count: int = 0
    failures: list[Rejection] = field(default_factory=list)
    failed: int = 0
    not_restored: tuple[str, ...] = ()
    """Settings in the backup that the server does not have."""
    raised: dict[str, Environment] = field(default_factory=dict)
    nodes_away: tuple[str, ...] = ()
    short_of_copies: bool = False
    views_built: int = 0
    seconds: float = 0.0
    seconds_checking: float = 0.0
    """Of these, the seconds it took to check the files."""
    seconds_writing: float = 0.0
    seconds_comparing: float = 0.0
    seconds_indexing: float = 0.0

    @property
    def good(self) -> bool:
        """Whether every leaf of the backup exists, except those left out on purpose."""
        return not self.missing_count and not self.failed


def check_chain(backups: Sequence[Backup], target: Target) -> None:
    """Check that backups belong together, and may be restored to a target.

    Args:
        backups: a full backup, and the incremental ones made since, each from the one before it.
        target: where they are to go.

    Raises:
        InputError: a backup is missing, or of another model.
        ProtectedError: the target is less protected than the data, or must not have such data.
    """
    for before, backup in zip([None, *backups], backups, strict=False):
        header = backup.header
        expected = None if before is None else before.header.digest
        if header.base != expected:
            rule = (
                "is a full backup, but comes after another"
                if header.base is None
                else (f"continues the backup of {header.base_created}, which does not come before it")
            )
            raise InputError(Problem(str(backup.path), rule, "give the full backup first, then each one that follows"))
        if header.model != target.model.name:
            raise InputError(
                Problem(str(backup.path), f"is of model {header.model}, not {target.model.name}", "correct --model")
            )
        if sorted(each.name for each in header.databases) != sorted(target.model.databases):
            rule = f"names databases that model {header.model} does not have, or lacks some"
            raise InputError(Problem(str(backup.path), rule, "name a file that `dataloader backup` wrote"))
        environment = _environment(backup)
        if less_protected(target, environment):
            raise ProtectedError(
                str(backup.path),
                rule=f"holds {environment} data; refusing to restore it as {target.environment}",
                todo=f"restore it into a {environment} target",
            )
        if not environment.protected:
            target.refuse(
                f"{backup.path}, a backup of {environment} data (it may hold sample data and log-ins),",
                "restore it into a development or ci target",
            )


def _environment(backup: Backup) -> Environment:
    """Return the environment of a backup, whose databases must name known ones, too."""
    header = backup.header
    said = [header.environment, *(each.environment for each in header.databases if each.environment)]
    unknown = [each for each in said if each not in [*Environment]]
    if unknown:
        rule = f"is of environment {unknown[0]!r}, which this version does not know"
        raise InputError(Problem(str(backup.path), rule, "use the version of dataloader that wrote it"))
    return Environment(header.environment)


def restore_backup(
    server: Server,
    target: Target,
    backups: Sequence[Backup],
    *,
    merge: bool = False,
    shards: int | None = None,
    replicas: int | None = None,
    on_ready: OnReady | None = None,
    on_progress: OnProgress | None = None,
) -> RestoreResult:
    """Restore a backup, and compare it with the databases afterwards.

    Args:
        server: the target's server.
        target: the target.
        backups: a full backup, and the incremental ones made since, oldest first.
        merge: whether the databases may contain documents; nothing newer than the backup is overwritten.
        shards: shards of new databases; None for as many as in the backup.
        replicas: copies of each shard; None for as many as in the backup.
        on_ready: called before the design documents are written; in a merge, where the views may exist already, also
            before the first document is written.
        on_progress: called after each batch of documents.

    Raises:
        InputError: a file is damaged, or the files do not belong together; nothing has been written.
        ProtectedError: the target is less protected than the data, or a database is not empty.
        ProtocolError: a database was recreated or restored by somebody else meanwhile.
        DataloaderError: the server failed after all retries, or refused; running it again continues.
    """
    start = time.monotonic()
    check_chain(backups, target)
    result = RestoreResult()
    for backup in backups:
        check_file(backup, on_progress)
    result.seconds_checking = time.monotonic() - start
    try:
        server.welcome()
        memory = guard(server, target)
        result.raised = memory.raised(target)
        run = _Restore(server, target, backups, result, merge=merge, on_progress=on_progress)
        run.prepare(shards, replicas)
        remember(server, target, memory)
        run.remember_versions()
        if merge and on_ready is not None:
            on_ready()
        run.bring(designs=False)
        if on_ready is not None:
            on_ready()
        run.bring(designs=True)
        indexing = time.monotonic()
        result.views_built, _ = build_views(server, target, on_progress)
        result.seconds_indexing = time.monotonic() - indexing
        server.nodes()
        run.check_identities()
        run.end()
    except DataloaderError as error:
        tell_how_far(error, result.written, sum(each.header.leaves for each in backups), "leaves")
        raise
    result.nodes_away = tuple(sorted(server.seen_away))
    result.short_of_copies = server.short_of_copies
    result.seconds = time.monotonic() - start
    return result


def half_restored(databases: Iterable[Database]) -> list[str]:
    """Return the names of the databases into which a backup was being restored, and is not complete.

    Databases in use, into which one was being merged, do not count: their own documents are there.
    """
    markers = {each.name: _local(each, RESTORE_MARKER) for each in databases}
    return [name for name, marker in markers.items() if marker and not (marker.get("done") or marker.get("merge"))]


def documents_of(backups: Sequence[Backup], database: str, *, designs: bool | None = None) -> Iterator[Group]:
    """Yield the documents of a database in sorted order, each from the newest backup that has it."""
    if len(backups) == 1:
        yield from backups[0].documents(database, designs=designs)
        return
    runs = [_aged(backup.documents(database, designs=designs), -age) for age, backup in enumerate(backups)]
    previous: Key | None = None
    for key, _, leaves in merged_in_order(*runs):
        if key != previous:
            yield key, leaves
            previous = key


def _aged(groups: Iterator[Group], age: int) -> Iterator[tuple[Key, int, list[bytes]]]:
    return ((key, age, leaves) for key, leaves in groups)


class _Restore:
    """One run of a restore."""

    def __init__(
        self,
        server: Server,
        target: Target,
        backups: Sequence[Backup],
        result: RestoreResult,
        *,
        merge: bool,
        on_progress: OnProgress | None,
    ) -> None:
        self._backups = backups
        self._target = target
        self._server = server
        self._result = result
        self._merge = merge
        self._on_progress = on_progress
        self._continues = False
        """Whether an earlier run of the same merge was interrupted."""
        self._identities: list[Identities] = []
        self._is_cluster = len(server.nodes().expected) > 1
        self._states = backups[-1].header.databases
        self._sections = backups[-1].sections()
        self._of = backups[-1].header.digest
        self._databases = {each.name: server.database(target.database(each.name)) for each in self._states}
        self._totals = {
            each.name: sum(state.documents for backup in backups if (state := backup.header.state(each.name)))
            for each in self._states
        }

    def prepare(self, shards: int | None, replicas: int | None) -> None:
        """Create the databases with their settings, or check that they may be written; mark them as unfinished."""
        infos = {name: database.info() for name, database in self._databases.items()}
        if not self._merge and not self._is_begun(infos) and not self._is_done(infos):
            for name, database in self._databases.items():
                if infos[name] is not None:
                    self._refuse_full(database)
        for state in self._states:
            database = self._databases[state.name]
            section = self._sections[state.name]
            if infos[state.name] is None:
                settings = section.settings
                database.create(shards=shards or settings.get("q"), replicas=replicas or settings.get("n"))
                self._result.created_databases.append(database.name)
            # Somebody else may have created it, and marked it as more protected, since the first check.
            check_marker(database, self._target)
            is_new = _is_empty(database)
            of: dict[str, object] = {"backup": self._of, "merge": self._merge}
            settled = {**of, "settings": True}
            marker = _local(database, RESTORE_MARKER)
            if marker.items() >= settled.items():
                # An earlier run restored the settings; they may have been changed since.
                if self._merge and marker.get("done"):
                    _put_local(database, RESTORE_MARKER, {"done": False})
                self._continues |= not marker.get("done")
                continue
            others = _unfinished_merges(marker)
            self._continues |= self._merge and self._of in others
            others.discard(self._of)
            new = {**of, "settings": False, "done": False, _UNFINISHED: sorted(others)}
            _put_local(database, RESTORE_MARKER, new)
            # A merge changes nothing of a database in use besides its documents.
            if not self._merge or is_new:
                self._restore_section(database, section, state)
            _put_local(database, RESTORE_MARKER, settled)

    def _is_begun(self, infos: Mapping[str, object]) -> bool:
        """Return whether an earlier run of the same restore got this far, and did not finish.

        The first mark is set only after all databases were found free, and says last that it is done.
        """
        first = next(iter(self._databases))
        marker = {} if infos[first] is None else _local(self._databases[first], RESTORE_MARKER)
        return marker.get("backup") == self._of and not marker.get("merge") and not marker.get("done")

    def _is_done(self, infos: Mapping[str, object]) -> bool:
        """Return whether the databases equal the backup, as after a run whose last reply was lost."""
        return all(info is not None and self._holds_exactly(name) for name, info in infos.items())

    def _holds_exactly(self, name: str) -> bool:
        database = self._databases[name]
        documents = sum(1 for _ in islice(database.all_changes("0"), self._totals[name] + 1))
        if documents > self._totals[name]:
            return False
        for batch in _batches(documents_of(self._backups, name)):
            stored = _living(database, [key[1] for key, _ in batch])
            documents -= len(batch)
            for (_, doc_id), leaves in batch:
                if stored[doc_id] != {revision_of(line) for line in leaves}:
                    return False
        return documents == 0

    def _refuse_full(self, database: Database) -> None:
        if _is_empty(database):
            return
        marker = _local(database, RESTORE_MARKER)
        if not marker or marker.get("done") or marker.get("merge"):
            raise ProtectedError(
                f"database {database.name}",
                rule="is not empty",
                todo="restore under another --prefix, or use --merge to add what is missing",
            )
        if marker.get("backup") != self._of:
            raise ProtectedError(
                f"database {database.name}",
                rule="holds part of another backup, whose restore was not finished",
                todo="finish that restore, or drop the database",
            )

    def _restore_section(self, database: Database, section: Section, state: DatabaseState) -> None:
        """Restore the settings of a database; permissions come first."""
        lacks = set(self._result.not_restored)
        try:
            if section.security is not None:
                database.put_security(section.security)
        except NotFoundError:
            lacks.add("_security")
        try:
            if "revs_limit" in section.settings:
                database.set_revs_limit(section.settings["revs_limit"])
        except NotFoundError:
            lacks.add("revs_limit")
        if section.local is not None:
            environment = most_protected(self._target.environment, state.environment or self._target.environment)
            _put_local(database, MARKER, {**section.local, "environment": environment.value})
        self._result.not_restored = tuple(sorted(lacks))

    def remember_versions(self) -> None:
        """Let databases in use recognise what earlier loads brought to the restored documents."""
        for name, database in self._databases.items() if self._merge else ():
            add_versions(database, versions_in(self._sections[name].local or {}))

    def bring(self, *, designs: bool) -> None:
        """Write the documents, or the design documents, and compare."""
        for state in self._states:
            database = self._databases[state.name]
            start = time.monotonic()
            self._write(state.name, database, designs=designs)
            written = time.monotonic()
            # Comparing cannot notice later what has been found and is gone again.
            self._identities.append(Identities(self._server, self._target))
            self._compare(state.name, database, designs=designs)
            self._result.seconds_writing += written - start
            self._result.seconds_comparing += time.monotonic() - written

    def check_identities(self) -> None:
        """Check that the databases are still those that were compared, and that nobody else restored into them.

        Raises:
            ProtocolError: one was recreated or restored by somebody else.
        """
        for each in self._identities:
            each.check("the backup was restored")
        for database in () if self._merge else self._databases.values():
            # Another restore may have begun before this one had written anything.
            if _local(database, RESTORE_MARKER).get("backup", self._of) != self._of:
                raise ProtocolError(
                    f"database {database.name}",
                    rule="now also holds another backup, which was restored at the same time",
                    todo="find out who did that; then delete the database, and restore one of them",
                )

    def _groups(self, name: str, *, designs: bool) -> Iterator[Group]:
        return documents_of(self._backups, name, designs=designs)

    def _write(self, name: str, database: Database, *, designs: bool) -> None:
        work = self._write_missing if self._merge else self._write_all
        done = 0
        batches = _batches(self._groups(name, designs=designs))

        def write(batch: list[Group]) -> _Batch:
            # Check with every batch: somebody may have marked the database as more protected meanwhile.
            check_marker(database, self._target)
            return work(database, batch)

        for batch in in_parallel(write, batches):
            result = self._result
            result.documents += batch.documents
            result.leaves += batch.leaves
            result.written += batch.written
            result.failed += len(batch.failures)
            result.failures += batch.failures[: KEPT - len(result.failures)]
            result.kept_count += len(batch.kept)
            result.kept += [KeptDocument(database.name, each) for each in batch.kept][: KEPT - len(result.kept)]
            result.conflict_count += len(batch.conflicts)
            conflicts = [KeptDocument(database.name, each) for each in batch.conflicts]
            result.conflicts += conflicts[: KEPT - len(result.conflicts)]
            done += batch.documents
            if self._on_progress is not None:
                self._on_progress(f"writing {database.name}", done, max(done, self._totals[name]))
            self._server.watch_nodes()

    def _write_all(self, database: Database, groups: Sequence[Group]) -> "_Batch":
        failures = _write_leaves(database, [leaves for _, leaves in groups])
        count = sum(len(leaves) for _, leaves in groups)
        return _Batch(len(groups), count, count - len(failures), failures)

    def _write_missing(self, database: Database, groups: Sequence[Group]) -> "_Batch":
        """Write the leaves that a used database lacks, unless what it has is newer."""
        batch = _Batch(len(groups), sum(len(leaves) for _, leaves in groups))
        missing = _missing(database, groups)
        wanted = {key[1]: leaves for key, leaves in groups if key[1] in missing}
        rules = self._rules(database)
        others = _others(database, wanted)
        kept = [key for key in wanted if others[key] and not _give_way(database, others[key], wanted[key], rules)]
        restored = {key: leaves for key, leaves in wanted.items() if key not in kept}
        lines = [[line for line in leaves if revision_of(line) in missing[key]] for key, leaves in restored.items()]
        batch.failures = _write_leaves(database, lines)
        batch.written = sum(map(len, lines)) - len(batch.failures)
        if self._continues:
            # An earlier run may have been interrupted before it had settled these.
            restored |= {key[1]: leaves for key, leaves in groups if key[1] not in missing and UUID.search(key[1])}
        gave_way, batch.conflicts = self._settle(database, restored, missing)
        batch.kept = kept + gave_way
        return batch

    def _rules(self, database: Database) -> KindRules:
        return KindRules("", check_marker(database, self._target).brought)

    def _settle(
        self, database: Database, restored: Mapping[str, Sequence[bytes]], missing: Mapping[str, set[str]]
    ) -> tuple[list[str], list[str]]:
        """Delete what loads wrote in favour of an owner's edit in the backup, and that in favour of a newer edit.

        Each deletion is refused if somebody has written on top of the leaf since; then all leaves are read again.

        Args:
            database: the database.
            restored: the leaves of documents that are in the database, as in the backup.
            missing: the revisions of those that this run has written; only these may be deleted again.

        Returns:
            The documents whose restored leaves gave way, and those that have been edited on both branches.
        """
        left, kept, conflicts = dict(restored), set[str](), list[str]()
        for _ in range(_ATTEMPTS):
            others = _others(database, left)
            left = {key: leaves for key, leaves in left.items() if others[key]}
            rules = self._rules(database)
            edits: list[Document] = []
            for key, leaves in database.leaves(list(left), all_copies=True).items():
                written = missing.get(key, set())
                ours, rivals = _sides(leaves, left[key], written)
                if ours and rivals and _give_way(database, rivals, left[key], rules):
                    edits += map(superseded, live_leaves(rivals))
                    kept.discard(key)
                elif rivals:
                    ours = live_leaves(ours)
                    edits += [superseded(leaf) for leaf in ours if leaf["_rev"] in written]
                    is_torn = live_leaves(rivals) and any(leaf["_rev"] not in written for leaf in ours)
                    conflicts += [key] if is_torn else []
                    kept |= {key} if written else set()
            again = {each.document["_id"] for each in write_over(database, edits) if not each.is_plain}
            left = {key: left[key] for key in again if key not in conflicts}
            if not left:
                break
        conflicts += left
        return sorted(kept.difference(conflicts)), conflicts

    def _compare(self, name: str, database: Database, *, designs: bool) -> None:
        """Ask the server for every leaf of the backup."""
        result = self._result
        done = 0
        for groups, missing in in_parallel(
            lambda groups: (groups, self._lacks(database, groups)), _batches(self._groups(name, designs=designs))
        ):
            for (_, doc_id), _ in groups:
                if missing.get(doc_id):
                    result.missing_count += 1
                    result.missing += [KeptDocument(database.name, doc_id)][: KEPT - len(result.missing)]
            done += len(groups)
            if self._on_progress is not None:
                self._on_progress(f"comparing {database.name}", done, max(done, self._totals[name]))

    def _lacks(self, database: Database, groups: Sequence[Group]) -> dict[str, set[str]]:
        """Return the missing leaves, except those that a merge left out on purpose."""
        wanted = {key[1]: leaves for key, leaves in groups}
        missing = _missing(database, groups)
        for attempt in range(_ATTEMPTS if self._is_cluster else 0):
            if not missing:
                break
            # A copy may lag behind the others.
            time.sleep(_WAIT * 2**attempt)
            missing = _missing(database, [group for group in groups if group[0][1] in missing])
        if missing and self._merge:
            others = _others(database, {each: wanted[each] for each in missing})
            missing = {each: revs for each, revs in missing.items() if not others[each]}
        return missing

    def end(self) -> None:
        """Mark databases as finished, the first one last: until then, the restore can be resumed."""
        if self._result.good:
            for database in reversed(self._databases.values()):
                marker = _local(database, RESTORE_MARKER)
                if marker.get("backup") == self._of:
                    _put_local(database, RESTORE_MARKER, {"done": True})
                else:
                    # Another backup is being merged meanwhile.
                    others = _unfinished_merges(marker) - {self._of, str(marker.get("backup"))}
                    _put_local(database, RESTORE_MARKER, {_UNFINISHED: sorted(others)})


@dataclass
class _Batch:
    """The result for some documents."""

    documents: int
    leaves: int
    written: int = 0
    failures: list[Rejection] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def _batches(groups: Iterable[Group]) -> Iterator[list[Group]]:
    batch: list[Group] = []
    weight = count = 0
    for group in groups:
        size = sum(map(len, group[1]))
        if batch and (count >= WRITTEN or weight + size > MAX_REQUEST):
            yield batch
            batch, weight, count = [], 0, 0
        batch.append(group)
        weight += size
        count += len(group[1])
    if batch:
        yield batch


def _write_leaves(database: Database, documents: Sequence[list[bytes]]) -> list[Rejection]:
    """Write the leaves of documents; those of a document with very many a few per request, the last revision first.

    CouchDB finds the place of a leaf among its siblings from the first one on, in a time that grows with the square of
    those before it (``couch_key_tree:merge_extend``): for 10,000 in ascending order, that takes a quarter of an hour.
    """
    few = [leaf for leaves in documents if len(leaves) <= LEAVES for leaf in leaves]
    failures = database.write(few)
    for leaves in documents:
        if len(leaves) > LEAVES:
            for some in chunks(reversed(leaves), LEAVES):
                failures += database.write(some)
    return failures


def _missing(database: Database, groups: Sequence[Group]) -> dict[str, set[str]]:
    """Return the leaves of a backup that a database does not have, by document."""
    return database.lacks({key[1]: [revision_of(line) for line in leaves] for key, leaves in groups})


def _living(database: Database, ids: Sequence[str]) -> dict[str, set[str]]:
    """Return the revisions of the leaves of documents, including deleted ones."""
    if database.names_leaves and not database.has_copies:
        # Also of documents whose leaves are too many or too large for a reply. In a cluster, one copy would answer.
        return {doc_id: set(revs) for doc_id, revs in database.leaf_revisions(ids).items()}
    return {doc_id: {leaf["_rev"] for leaf in leaves} for doc_id, leaves in database.leaves(ids).items()}


def _others(database: Database, wanted: Mapping[str, Sequence[bytes]]) -> dict[str, list[Document]]:
    """Return the leaves that a database has, and a backup neither has nor continues; without deletions by loads.

    Args:
        database: the database.
        wanted: the leaves in the backup, by ``_id``.
    """
    found: dict[str, list[Document]] = {}
    ids = list(wanted)
    if database.names_leaves and not database.has_copies:
        # Also of documents whose leaves are too many or too large for a reply. In a cluster, one copy would answer.
        found = {
            doc_id: [{"_id": doc_id, "_rev": rev} for rev in revs]
            for doc_id, revs in database.leaf_revisions(ids).items()
        }
        ids = [doc_id for doc_id in ids if UUID.search(doc_id) and _lacking(found[doc_id], wanted[doc_id])]
    found |= database.leaves(ids, all_copies=True)
    return {doc_id: _lacking(found[doc_id], wanted[doc_id]) for doc_id in wanted}


def _lacking(leaves: Sequence[Document], lines: Sequence[bytes]) -> list[Document]:
    """Return the leaves that are neither in a backup nor older, except deletions by loads."""
    known = {revision_of(line) for line in lines}
    if all(leaf["_rev"] in known for leaf in leaves):
        return []
    known = {rev for line in lines for rev in revisions_of(line)}
    return [leaf for leaf in leaves if leaf["_rev"] not in known and not _is_superseded(leaf)]


def _sides(
    leaves: Sequence[Document], lines: Sequence[bytes], written: set[str]
) -> tuple[list[Document], list[Document]]:
    """Return the leaves of a document that were restored or continue what was, and those on other branches.

    Args:
        leaves: its leaves in the database.
        lines: its leaves in the backup.
        written: the revisions of those that were written; if none were, all were restored before.
    """
    restored = written or {revision_of(line) for line in lines}
    ours = [leaf for leaf in leaves if not restored.isdisjoint(history(leaf))]
    return ours, [leaf for leaf in _lacking(leaves, lines) if leaf not in ours]


def _give_way(database: Database, rivals: Sequence[Document], lines: Sequence[bytes], rules: KindRules) -> bool:
    """Return whether leaves on other branches give way: only loads wrote them, and the backup has an owner's.

    Args:
        database: the database.
        rivals: the leaves.
        lines: the leaves in the backup.
        rules: how to recognize what loads wrote.
    """
    return (
        UUID.search(rivals[0]["_id"]) is not None
        and any(_is_owners(line, rules) for line in lines)
        and all(_is_loaded(database, leaf, rules) for leaf in rivals)
    )


def _is_loaded(database: Database, leaf: Document, rules: KindRules) -> bool:
    """Return whether a leaf and everything before it are known to be the work of loads.

    If a revision between the first one and the leaf is not stored any more, an owner may have edited the document and
    taken that back, which has the content of a load, too.
    """
    if leaf.get("_deleted") or not is_ours(leaf, rules):
        return False
    past = history(leaf)
    between = (database.revision(leaf["_id"], rev) for rev in past[1:-1])
    return past[-1].startswith("1-") and all(
        # An undone revocation brings back what it revoked.
        each is not None and (is_revocation(each) or is_ours(each, rules))
        for each in between
    )


def _is_superseded(leaf: Document) -> bool:
    return bool(leaf.get("_deleted")) and not is_persons_deletion(leaf)


def _is_owners(line: bytes, rules: KindRules) -> bool:
    """Return whether a leaf in a backup is an owner's, or a deletion by one or for one."""
    try:
        leaf = orjson.loads(line)
    except ValueError:
        # No load writes what our parser can't hold.
        return True
    return is_persons_deletion(leaf) if leaf.get("_deleted") else not is_ours(leaf, rules)


def _is_empty(database: Database) -> bool:
    """Return whether a database holds no document and no deletion."""
    info = database.info() or {}
    # Permissions and settings count as updates, too. PouchDB does not count deleted documents.
    return not info.get("doc_count") and not info.get("doc_del_count", info.get("update_seq"))


def _local(database: Database, name: str) -> dict[str, object]:
    try:
        return database.local(name)
    except NotFoundError:
        return {}


def _unfinished_merges(marker: Mapping[str, object]) -> set[str]:
    """Return the digests of the backups whose merge has begun and not ended, according to a database's marker."""
    listed = marker.get(_UNFINISHED)
    found = set(map(str, listed)) if isinstance(listed, list) else set()
    return found | ({str(marker.get("backup"))} if marker.get("merge") and not marker.get("done") else set())


def _put_local(database: Database, name: str, fields: dict[str, object]) -> None:
    """Write members of a ``_local`` document, retrying on concurrent writes and lost replies."""
    for _ in range(_ATTEMPTS):
        stored = _local(database, name)
        if stored.items() >= fields.items():
            return
        with suppress(ConflictError):
            database.put_local(name, {**stored, **fields})
