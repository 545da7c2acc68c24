"""The work folder of a backup: what has been read so far, and where to resume.

Documents arrive in the order of the changes feed and are written in the order of ``_id``. They are collected in memory;
full runs are sorted and written to files, which are merged at the end. A document that was read twice is in two runs,
and the later one counts. So an interrupted backup resumes after its last run, at any later time.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from heapq import merge
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec
import orjson

from dataloader.archive.backup_file import Group, Key, grouped
from dataloader.archive.blocks import keep_large_blocks_apart
from dataloader.archive.encryption import Lock
from dataloader.archive.frames import FrameWriter, read_frames
from dataloader.archive.work_folder import LOCK, STATE, discard, encoded, is_finished, lock, read_state
from dataloader.common import FileError, InputError

RUN_BYTES = 28_000_000
"""The bytes that documents take in memory before a run is written."""
_OVERHEAD = 350
"""What a document takes there besides its content, for its key and lists; for a small one, that is the greater part."""
RUN_SECONDS = 20.0
"""Seconds after which a run is written, at the end of a page of changes: an interruption loses no more than that."""
MERGED = 16
"""Runs that are merged into one of the next level: so few are open at the end, however long a backup takes."""
_FRAME_BYTES = 64_000
_VERSION = 2
"""The version of the folder's content; another one's is started over."""


class Spool:
    """The work folder of one backup; only one process can use it at a time.

    Args:
        folder: the folder, created if necessary.
        of: what is being backed up; a folder for something else is started over.
        password: encrypts the runs, if given.

    Raises:
        FileError: another process is using the folder, or it can't be written.
    """

    def __init__(self, folder: Path, of: Mapping[str, Any], password: str | None = None) -> None:
        self.folder = folder
        # Runs written without a password are not continued with one.
        self._of = {**of, "encrypted": password is not None, "version": _VERSION}
        self._password = password
        self._lock = None if password is None else Lock.new(password)
        # The content of documents, and where each one's leaves begin and end in it: as an object each, small ones would
        # leave holes in the memory.
        self._content = bytearray()
        self._buffer: dict[Key, tuple[int, ...]] = {}
        self._weight = 0
        self._reading = ""
        self._since: dict[str, str] = {}
        self._reached: dict[str, str] = {}
        self._runs: dict[str, list[str]] = {}
        self._last = time.monotonic()
        self._file = ""
        self._held: IO[bytes] | None = None

    def __enter__(self) -> Self:
        keep_large_blocks_apart()
        try:
            self._held = lock(self.folder)
            if self._held is None:
                raise FileError(
                    str(self.folder),
                    rule="another backup to this file is running",
                    todo="wait for it, or choose another file",
                )
            self._take_up()
        except OSError as error:
            if self._held is not None:
                self._held.close()
            raise FileError.of(error, self.folder, "choose a writable folder with enough free space") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            if kind is None:
                with suppress(OSError):
                    discard(self.folder)
            self._held.close()

    def _take_up(self) -> None:
        state = read_state(self.folder)
        with suppress(LookupError, TypeError, AttributeError):
            if state["of"] == self._of and not is_finished(self.folder, state) and self._can_read(state["runs"]):
                self._runs, self._since = state["runs"], state["since"]
        kept = {name for runs in self._runs.values() for name in runs} | {STATE, LOCK}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()
        # So that the folder is known as one of a backup, also if this one is killed while it writes the first run.
        self._write_state()

    def _can_read(self, runs: Mapping[str, list[str]]) -> bool:
        """Return whether all runs exist, and are encrypted with the same password."""
        try:
            for names in runs.values():
                for name in names:
                    next(self._frames(name))
        except (OSError, InputError, StopIteration):
            return False
        return True

    def since(self, database: str) -> str | None:
        """Return the sequence up to which a database has been read; None if this is the first run."""
        return self._since.get(database)

    def add(self, database: str, key: Key, leaves: list[bytes]) -> None:
        """Add a document, replacing what was read of it before; databases come one after another.

        Raises:
            FileError: the disk is full.
        """
        if self._weight >= RUN_BYTES:
            self._keep(database)
        self._reading = database
        bounds = [len(self._content)]
        for leaf in leaves:
            self._content += leaf
            bounds.append(len(self._content))
        self._buffer[key] = tuple(bounds)
        self._weight = len(self._content) + _OVERHEAD * len(self._buffer)

    def reached(self, database: str, since: str, *, end: bool = False) -> None:
        """Record that a database has been read up to a sequence; write a run if it is time.

        Args:
            database: the database.
            since: the sequence.
            end: whether the database is complete.

        Raises:
            FileError: the disk is full.
        """
        self._reached[database] = since
        if end or time.monotonic() - self._last >= RUN_SECONDS:
            self._keep(database)

    def _keep(self, database: str) -> None:
        """Write a run, and where to resume: where the last page ended that is completely in runs."""
        try:
            if self._buffer:
                self._write_run(database)
            merged = self._merge_runs(database)
            if database in self._reached:
                self._since[database] = self._reached[database]
            self._write_state()
            # Only now does nothing need them.
            for name in merged:
                (self.folder / name).unlink()
        except OSError as error:
            raise FileError.of(error, self.folder, "free some space there, then run it again to continue") from error
        self._last = time.monotonic()

    def _write_run(self, database: str) -> None:
        self._add_run(database, 0, (leaves for _, leaves in self._in_memory()))
        self._buffer, self._content, self._weight = {}, bytearray(), 0

    def _merge_runs(self, database: str) -> list[str]:
        """Merge the newest runs of each level if there are many; return the names of those that were merged."""
        runs = self._runs.get(database, [])
        merged: list[str] = []
        level = 0
        # The levels fall from the oldest run to the newest.
        while len(tail := [name for name in runs if _level(name) == level]) >= MERGED:
            del runs[-len(tail) :]
            self._add_run(database, level + 1, (leaves for _, leaves in self._merge(tail, ())))
            merged += tail
            level += 1
        return merged

    def _add_run(self, database: str, level: int, documents: Iterable[list[bytes]]) -> None:
        """Write the newest run of a database; its documents are sorted."""
        runs = self._runs.setdefault(database, [])
        name = f"{database}.{level}.{len(runs):06}"
        with _private(self.folder / name, "wb") as stream:
            frames = FrameWriter(stream, self.new_lock())
            lines: list[bytes] = []
            weight = 0
            for line in chain.from_iterable(documents):
                lines.append(line)
                weight += len(line)
                if weight >= _FRAME_BYTES:
                    frames.write(b"\n".join(lines))
                    lines, weight = [], 0
            if lines:
                frames.write(b"\n".join(lines))
            stream.flush()
            os.fsync(stream.fileno())
        runs.append(name)

    def _write_state(self) -> None:
        new = self.folder / f"{STATE}.new"
        with _private(new, "wb") as stream:
            stream.write(orjson.dumps({"of": self._of, "since": self._since, "runs": self._runs, "file": self._file}))
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(self.folder / STATE)

    def finishing(self, name: str) -> None:
        """Record the name of the file that is about to be complete; once it exists, this folder is a leftover."""
        self._file = encoded(name)
        self._write_state()

    def merged(self, database: str) -> Iterator[Group]:
        """Yield the documents of a database in sorted order, each as last read."""
        # The newest documents are in memory.
        newest = self._in_memory() if self._reading == database else ()
        return self._merge(self._runs.get(database, []), newest)

    def _in_memory(self) -> Iterator[Group]:
        """Yield the documents in memory in sorted order."""
        for key in sorted(self._buffer):
            bounds = self._buffer[key]
            yield key, [bytes(self._content[start:end]) for start, end in pairwise(bounds)]

    def _merge(self, runs: Sequence[str], in_memory: Iterable[Group]) -> Iterator[Group]:
        if not runs:
            yield from in_memory
            return
        older = [self._read_run(name, age) for age, name in enumerate(reversed(runs), 1)]
        newest = ((key, 0, leaves) for key, leaves in in_memory)
        previous: Key | None = None
        for key, _, leaves in merge(newest, *older):
            if key != previous:
                yield key, leaves
                previous = key

    def _read_run(self, name: str, age: int) -> Iterator[tuple[Key, int, list[bytes]]]:
        lines = (line for frame in self._frames(name) for line in frame.split(b"\n"))
        try:
            for key, leaves in grouped(lines):
                yield key, age, leaves
        except (OSError, InputError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FileError(
                str(self.folder / name), rule="is damaged", todo=f"delete {self.folder} and run the backup again"
            ) from error

    def _frames(self, name: str) -> Iterator[bytes]:
        path = self.folder / name
        with path.open("rb") as stream:
            yield from read_frames(path, stream, self._password)

    def new_lock(self) -> Lock | None:
        """Return the lock of another file of this backup; None without a password."""
        return None if self._lock is None else self._lock.sibling(self._password or "")

    def body(self) -> IO[bytes]:
        """Return a new file in the folder for the blocks of the backup."""
        return _private(self.folder / "body", "w+b")


def _level(name: str) -> int:
    """Return how often the documents of a run were merged."""
    return int(name.rsplit(".", 2)[1])


def _private(path: Path, mode: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), mode)
