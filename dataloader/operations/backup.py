"""Back up every document of a target's databases, with all leaves, to one file.

The changes feed lists the documents and their leaves. Documents are fetched while it is read, and again if they are
listed again, up to the end of the feed. The leaves of each document are compared with the feed.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, count
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from dataloader.archive import (
    SUFFIX,
    Backup,
    BackupHeader,
    BodyWriter,
    DatabaseState,
    Section,
    Spool,
    finish,
    remove_finished,
    sort_key,
)
from dataloader.common import (
    NODES_WAIT,
    VERSION,
    FileError,
    InputError,
    OnProgress,
    Problem,
    ProtocolError,
    UnreachableError,
    new_files,
    now,
)
from dataloader.couch import LEAVES, Database, FeedPage, FeedRow, NotFoundError, RawLeaf, Server
from dataloader.operations.card_answers import missing
from dataloader.replication import chunks, in_parallel
from dataloader.target import MARKER, Memory, Target, guard, most_protected

PAGE_ROWS = 25_000
"""Rows of the changes feed per request."""
FIRST_ROWS = 1_000
"""Rows of the first request."""
FETCHED = 500
"""Documents per request."""
_ROUNDS = 6
"""How often to fetch a document whose leaves differ from the feed: a copy may lag behind."""
_WAIT = 0.2
"""Seconds before the first retry of that; doubles each time."""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """The result of a backup."""

    path: Path
    header: BackupHeader
    size: int
    """Size of the file in bytes."""
    not_kept: tuple[str, ...]
    """Settings that the server does not have, so the backup does not contain them."""
    nodes_away: tuple[str, ...]
    synchronized: bool | None
    """Whether the nodes of the cluster had the same copies; otherwise the backup may lack changes.

    None if this user may not ask them.
    """
    resumed: bool
    """Whether an interrupted backup was continued."""
    seconds: float


def backup_path(where: Path, target: Target, *, incremental: bool) -> Path:
    """Return the file to write: ``where`` itself, or a new name in it if it is a folder."""
    if not where.is_dir():
        return where
    stamp = now().replace("-", "").replace(":", "").partition(".")[0]
    name = f"{_stem(target)}-{stamp}Z{'-incremental' if incremental else ''}"
    # Two backups may begin in the same second.
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(path for each in names if not os.path.lexists(path := where / f"{each}{SUFFIX}"))


def _stem(target: Target) -> str:
    return f"{target.prefix}{target.model.name}"


def back_up(
    server: Server,
    target: Target,
    where: Path,
    *,
    password: str | None = None,
    base: Backup | None = None,
    on_progress: OnProgress | None = None,
) -> BackupResult:
    """Write a backup of a target's databases.

    Args:
        server: the target's server.
        target: the target.
        where: the new file, or a folder for it. An interrupted backup to the same file is continued.
        password: encrypts the file, if given.
        base: an earlier backup; only changes since then are written.
        on_progress: called after each batch of documents.

    Raises:
        FileError: the file exists, or can't be written.
        InputError: the base is a backup of another target, damaged, or was deleted meanwhile.
        ProtocolError: a database does not exist, or was created again meanwhile.
        ProtectedError: a database belongs to a more protected environment than the target.
        DataloaderError: the server failed after all retries, or refused; running it again continues.
    """
    start = time.monotonic()
    path = backup_path(where, target, incremental=base is not None)
    with suppress(FileError):
        remove_finished(path.parent)
    if path.exists() or path.is_symlink():
        raise FileError(
            str(path), rule="already exists; dataloader never overwrites files", todo="choose another name or folder"
        )
    server.welcome()
    memory = guard(server, target)
    sources = [_source(server, target, name, memory) for name in target.model.databases]
    if base is not None:
        _check_base(base, target, sources)
        # What continues a damaged backup could never be restored.
        check_file(base, on_progress)
    folder = path.with_name(f".{path.name if where == path else _stem(target)}.partial")
    with Spool(folder, _described(target, base, sources), password) as spool:
        resumed = any(spool.since(each.name) is not None for each in sources)
        read = [_read(server, spool, each, base, on_progress, is_last=each is sources[-1]) for each in sources]
        with _room_in(spool.folder), spool.body() as body:
            lock = spool.new_lock()
            states, end, lacks = _write_body(BodyWriter(body, lock), spool, sources, read)
            body.flush()
            away = server.nodes().away
            header = _header(server, target, base, states, end, moment=min(each.moment for each in read))
            # While it was checked, nothing told `prune` that it would be continued.
            if base is not None and not base.path.exists():
                rule = "was deleted while it was being continued"
                raise InputError(Problem(str(base.path), rule, "make a full backup, without --since"))
            spool.finishing(path.name)
            with new_files(path, within=spool.folder) as (stream,):
                finish(stream, header, body, lock)
    # Read back, so that the digest is that of the file.
    written = Backup(path, password)
    return BackupResult(
        path,
        written.header,
        written.size,
        lacks,
        away,
        _all([each.synchronized for each in read]),
        resumed,
        time.monotonic() - start,
    )


class _Source(NamedTuple):
    """A database to read."""

    name: str
    """Without the target's prefix."""
    database: Database
    info: dict[str, Any]
    identity: str
    environment: str
    """The environment that it remembers; empty if there is none."""


def _source(server: Server, target: Target, name: str, memory: Memory) -> _Source:
    database = server.database(target.database(name))
    info = _info(database)
    environment = memory.environments[database.name] or ""
    return _Source(name, database, info, identity_of(database, info), str(environment))


def _described(target: Target, base: Backup | None, sources: Sequence[_Source]) -> dict[str, Any]:
    """Return what distinguishes this backup from others, so that only the same one is continued."""
    return {
        "url": target.address.url,
        "prefix": target.prefix,
        "model": target.model.name,
        "base": None if base is None else base.header.digest,
        "identities": {each.name: each.identity for each in sources},
    }


def check_file(backup: Backup, on_progress: OnProgress | None) -> None:
    """Read a whole backup, and check it.

    Raises:
        FileError: it can't be read.
        InputError: a block is damaged; names the first one.
    """
    done = 0
    for leaves in backup.check():
        done += leaves
        if on_progress is not None:
            on_progress(f"checking {backup.path.name}", done, backup.header.leaves)


def _all(answers: Sequence[bool | None]) -> bool | None:
    """Return whether all answers are yes; None if some are unknown, and none is no."""
    return False if False in answers else None if None in answers else True


def identity_of(database: Database, info: Mapping[str, Any]) -> str:
    """Return what distinguishes a database from a later one of the same name; empty if the server does not say."""
    return str(info.get("instance_start_time", "")) if database.names_leaves else ""


def _info(database: Database) -> dict[str, Any]:
    info = database.info()
    if info is None:
        raise missing(database)
    return info


def was_set_back(state: DatabaseState, info: Mapping[str, Any]) -> bool:
    """Return whether a database is known to be older than a backup of it, as after restoring a volume snapshot.

    CouchDB does not refuse a sequence that the database has not reached, but skips what is written until then.
    """
    sequence = state.sequence.partition("-")[0]
    # Each copy counts its own updates.
    return info["copies"] == 1 and sequence.isdecimal() and int(sequence) > info["update_seq"]


def _check_base(base: Backup, target: Target, sources: Sequence[_Source]) -> None:
    header = base.header
    if header.model != target.model.name or any(header.state(each.name) is None for each in sources):
        raise InputError(Problem(str(base.path), f"is a backup of model {header.model}", "make a full backup"))
    if header.prefix != target.prefix:
        # Databases that were created in the same second have the same identity.
        rule = f"was made from databases with the prefix {header.prefix!r}, not {target.prefix!r}"
        raise InputError(Problem(str(base.path), rule, "make a full backup, without --since"))
    for each in sources:
        state = header.state(each.name)
        if state is not None and state.identity != each.identity:
            rule = f"was made from an earlier database {each.database.name}, which has been recreated since"
            raise InputError(Problem(str(base.path), rule, "make a full backup, without --since"))
        if state is not None and was_set_back(state, each.info):
            rule = f"is newer than {each.database.name}, which was restored to an earlier state since"
            raise InputError(Problem(str(base.path), rule, "make a full backup, without --since"))


class _Page(NamedTuple):
    """The end of a page of the changes feed."""

    sequence: str
    moment: str
    """A time before it was requested."""
    end: bool


class _Read(NamedTuple):
    """A database that was read."""

    sequence: str
    """The sequence up to which it was read."""
    moment: str
    """A time at which it had that sequence."""
    synchronized: bool | None
    """Whether all its nodes had the same copies; None if unknown."""
    least: int
    """The documents that the feed must have listed; 0 if unknown."""


class _Reading:
    """Reads one database into the spool."""

    def __init__(self, source: _Source, spool: Spool, on_progress: OnProgress | None, *, is_last: bool) -> None:
        self._name, self._database = source.name, source.database
        self._spool = spool
        self._on_progress = on_progress
        self._is_last = is_last
        self.least = 0
        """The documents that the feed announced with the first page: each is listed once, or later if it is edited."""

    def read(self, since: str, total: int) -> tuple[str, str]:
        """Read the changes feed to its end, including the documents.

        Returns:
            The sequence, and the time at which the database had it.
        """
        done = 0
        page = _Page(since, now(), end=False)
        for fetched in in_parallel(self._fetch, self._requests(since)):
            if isinstance(fetched, _Page):
                page = fetched
                self._spool.reached(self._name, page.sequence, end=page.end and not self._is_last)
                continue
            for doc_id, leaves in fetched.items():
                self._spool.add(self._name, sort_key(doc_id), [leaf.json for leaf in leaves])
            done += len(fetched)
            if self._on_progress is not None:
                self._on_progress(f"reading {self._database.name}", done, max(total, done) if total else 0)
        return page.sequence, page.moment

    def _requests(self, since: str) -> Iterator[list[FeedRow] | _Page]:
        """Yield what to fetch, page by page; the next page is read while documents are fetched."""
        reader = ThreadPoolExecutor(1, thread_name_prefix="dataloader-changes")
        try:
            # After a short first page, fetching documents starts early.
            limit = min(FIRST_ROWS, PAGE_ROWS)
            waiting = reader.submit(self._page, since, limit)
            while True:
                moment, changes = waiting.result()
                end = changes.is_last(limit)
                self.least = self.least or len(changes.rows) + (changes.pending or 0)
                if not end:
                    if changes.last_seq == since:
                        raise ProtocolError(
                            f"database {self._database.name}",
                            rule="its changes feed says that more changes follow, but returns none",
                            todo="run it again; see the server's log",
                        )
                    since, limit = changes.last_seq, PAGE_ROWS
                    waiting = reader.submit(self._page, since, limit)
                # CouchDB finds neighbours sooner than documents in the order of their changes. The sort is stable, so
                # the last entry of a document that is listed twice stays the last.
                yield from chunks(sorted(changes.rows, key=attrgetter("id")), FETCHED)
                yield _Page(changes.last_seq, moment, end)
                if end:
                    return
        finally:
            reader.shutdown(wait=False, cancel_futures=True)

    def _page(self, since: str, limit: int) -> tuple[str, FeedPage]:
        # A time before the request, so that nothing that happened until then is missing.
        return now(), self._database.changes(since, limit)

    def _fetch(self, request: list[FeedRow] | _Page) -> dict[str, list[RawLeaf]] | _Page:
        if isinstance(request, _Page):
            return request
        # In a cluster, a page may list a document twice; the last entry counts.
        wanted = {change.id: change.leaves for change in request}
        found = self._leaves(wanted)
        attempt = 0
        while lacking := self._lacking(wanted, found):
            if attempt == _ROUNDS:
                doc_id, lost = lacking.popitem()
                raise UnreachableError(
                    f"database {self._database.name}, document {doc_id}",
                    rule=f"the server lists revision {lost[0]} but does not return it",
                    todo="check that all nodes are up, then run it again; it continues from there",
                )
            time.sleep(_WAIT * 2**attempt)
            attempt += 1
            found.update(self._leaves({doc_id: wanted[doc_id] for doc_id in lacking}))
        return found

    def _leaves(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, list[RawLeaf]]:
        """Fetch all leaves of documents, those of documents with very many by their revisions."""
        large = [doc_id for doc_id, revs in wanted.items() if len(revs) > LEAVES and self._database.names_leaves]
        found = self._database.raw_leaves([each for each in wanted if each not in large] if large else list(wanted))
        found.update((doc_id, self._database.raw_revisions(doc_id, wanted[doc_id])) for doc_id in large)
        return found

    def _lacking(
        self, wanted: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[RawLeaf]]
    ) -> dict[str, list[str]]:
        """Return the listed revisions that the server did not return although it has them, by document."""
        lacking = {doc_id: lost for doc_id, revs in wanted.items() if (lost := _unknown(revs, found[doc_id]))}
        # After an edit, a history may no longer reach back to a listed revision (``_revs_limit``).
        doubtful = {
            doc_id: old for doc_id, lost in lacking.items() if (old := _possibly_forgotten(lost, found[doc_id]))
        }
        for doc_id, gone in (self._database.lacks(doubtful) if doubtful else {}).items():
            lacking[doc_id] = [rev for rev in lacking[doc_id] if rev not in gone]
        return {doc_id: lost for doc_id, lost in lacking.items() if lost}


def _read(
    server: Server, spool: Spool, source: _Source, base: Backup | None, on_progress: OnProgress | None, *, is_last: bool
) -> _Read:
    """Read a database, from where an interrupted run or the base ended; in a cluster, also what nodes synchronize."""
    known = None if base is None else base.header.state(source.name)
    since = spool.since(source.name) or ("0" if known is None else known.sequence)
    total = source.info["doc_count"] + source.info.get("doc_del_count", 0) if known is None else 0
    reading = _Reading(source, spool, on_progress, is_last=is_last)
    sequence, moment = reading.read(since, total)
    nodes = server.nodes().expected
    # None if this user may not ask for the nodes.
    synchronized = None if not nodes and source.info["copies"] > 1 else True
    if len(nodes) > 1:
        # The feed is read from one copy of each document, which may lack what the others have.
        moment = now()
        synchronized = server.synchronize(source.database.name, NODES_WAIT)
        sequence, _ = reading.read(sequence, 0)
    info = _info(source.database)
    if identity_of(source.database, info) != source.identity:
        raise ProtocolError(
            f"database {source.database.name}",
            rule="was deleted and created again while it was read",
            todo="run it again; it starts over",
        )
    # Each copy counts its own documents and changes, and what is purged is not listed any more.
    is_counted = info["copies"] == 1 and info.get("purge_seq") == source.info.get("purge_seq")
    return _Read(sequence, moment, synchronized, max(reading.least, total) if is_counted else 0)


def _unknown(revs: Sequence[str], leaves: Sequence[RawLeaf]) -> list[str]:
    """Return listed revisions that are neither a leaf nor an ancestor of one."""
    if len(revs) == len(leaves) == 1 and revs[0] == leaves[0].rev:
        return []
    known = frozenset(chain.from_iterable(leaf.ancestors for leaf in leaves))
    return [rev for rev in revs if rev not in known]


def _possibly_forgotten(revs: Sequence[str], leaves: Sequence[RawLeaf]) -> list[str]:
    """Return revisions that are older than all that some leaf's history names."""
    reach = max((min(map(_generation, leaf.ancestors)) for leaf in leaves), default=0)
    return [rev for rev in revs if _generation(rev) < reach]


def _generation(rev: str) -> int:
    return int(rev.partition("-")[0])


@contextmanager
def _room_in(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError.of(error, folder, "free some space there, then run it again to continue") from error


def _write_body(
    writer: BodyWriter, spool: Spool, sources: Sequence[_Source], read: Sequence[_Read]
) -> tuple[tuple[DatabaseState, ...], tuple[int, str], tuple[str, ...]]:
    """Write the blocks.

    Returns:
        The states of the databases; the number of blocks, and the seal; the settings that the server does not have.
    """
    lacks: set[str] = set()
    states = []
    for source, (sequence, _, _, least) in zip(sources, read, strict=True):
        section = read_section(source.database, source.info)
        lacks |= set(not_kept(section))
        writer.section(source.name, section)
        documents, leaves = writer.write(source.name, spool.merged(source.name))
        if documents < least:
            raise ProtocolError(
                f"database {source.database.name}",
                rule=f"its changes feed listed {documents:,} of {least:,} documents",
                todo=f"delete {spool.folder}, and run it again; see the server's log",
            )
        states.append(DatabaseState(source.name, sequence, source.identity, documents, leaves, source.environment))
    return tuple(states), writer.end(), tuple(sorted(lacks))


def read_section(database: Database, info: dict[str, Any]) -> Section:
    """Read the settings of a database."""
    cluster = info.get("cluster", {})
    settings = {name: int(cluster[name]) for name in ("q", "n") if name in cluster}
    limit = database.revs_limit()
    if limit is not None:
        settings["revs_limit"] = limit
    try:
        security = database.security()
    except NotFoundError:
        security = None
    try:
        local = {key: value for key, value in database.local(MARKER).items() if key not in {"_id", "_rev"}}
    except NotFoundError:
        local = None
    return Section(settings, security, local)


def not_kept(section: Section) -> list[str]:
    """Return the settings that a server does not have; PouchDB Server has none."""
    lacks = [name for name in ("q", "n", "revs_limit") if name not in section.settings]
    return lacks + (["_security"] if section.security is None else [])


def _header(
    server: Server,
    target: Target,
    base: Backup | None,
    states: tuple[DatabaseState, ...],
    end: tuple[int, str],
    *,
    moment: str,
) -> BackupHeader:
    greeting = server.greeting
    blocks, seal = end
    return BackupHeader(
        created=moment,
        model=target.model.name,
        environment=most_protected(
            target.environment, *(each.environment for each in states if each.environment)
        ).value,
        url=target.address.url,
        prefix=target.prefix,
        server="" if greeting is None else f"{greeting.product} {greeting.version}".strip(),
        tool=VERSION,
        databases=states,
        base=None if base is None else base.header.digest,
        base_created=None if base is None else base.header.created,
        blocks=blocks,
        seal=seal,
    )
