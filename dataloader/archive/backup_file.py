"""Backup files: a header, blocks of lines each with a digest, and a seal.

    header   {"format": "dataloader-backup", "version": 1, "created": …, "databases": […], "seal": …, "digest": …}
    block    {"block": 1, "database": "auth", "kind": "database", "lines": 1, "sha256": …}, and its lines
    block    {"block": 2, "database": "auth", "kind": "documents", "lines": 2113, "sha256": …}, and its lines
    …
    end      {"end": true, "blocks": 2, "documents": 2113, "leaves": 2113, "seal": …}

Each is a frame of its own. In a block of documents, each line is one leaf, exactly as the server returns and accepts
it. The leaves are sorted by ``_id``, design documents last. The seal is a digest of the first lines of the blocks, so
missing, repeated, reordered and foreign blocks are detected. The blocks do not depend on when or where they were read:
two backups of an unchanged database differ only in their headers.

The digests detect accidents only: anyone who edits a backup can compute them again. An encrypted backup can't be
edited.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any

import msgspec
import orjson

from dataloader.archive.encryption import Lock
from dataloader.archive.frames import MAX_HEADER, USE_OTHER, FrameWriter, damaged, not_a_backup, read_frames
from dataloader.common import FileError, InputError, Problem, flattened, history, require_file

FORMAT = "dataloader-backup"
VERSION = 1
SUFFIX = ".backup.zst"
BLOCK_BYTES = 1_000_000
"""The size in bytes at which a block ends."""
_KINDS = frozenset({"database", "documents"})
_MAX_FIRST = 10_000
"""The longest first line of a block in bytes."""
_MARK = 32
"""Bytes that are kept of each checked block, to notice if the file changes afterwards."""

Key = tuple[bool, str]
"""The sort key of documents: whether it is a design document, and the ID."""
Group = tuple[Key, list[bytes]]
"""A document: its sort key, and a line for each leaf."""


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A database at the time of its backup."""

    name: str
    """Without the target's prefix."""
    sequence: str
    """The sequence up to which the changes feed was read; an incremental backup starts here."""
    identity: str
    """Distinguishes a database from a later one of the same name; empty if the server does not say."""
    documents: int = 0
    """Documents in the file, including deleted ones."""
    leaves: int = 0
    environment: str = ""
    """The environment that the database remembers; empty if there is none."""


@dataclass(frozen=True, slots=True)
class BackupHeader:
    """The header of a backup."""

    created: str
    """When its content was read: ISO 8601 in UTC with milliseconds and Z."""
    model: str
    environment: str
    """The most protected environment of the target and its databases."""
    url: str
    prefix: str
    server: str
    tool: str
    databases: tuple[DatabaseState, ...]
    base: str | None = None
    """The digest of the backup that this one continues; None for a full backup."""
    base_created: str | None = None
    blocks: int = 0
    seal: str = ""
    digest: str = ""
    """The digest of this header; an incremental backup names its base by it."""

    @property
    def documents(self) -> int:
        """Documents in the file, including deleted ones."""
        return sum(each.documents for each in self.databases)

    @property
    def leaves(self) -> int:
        """Leaves in the file."""
        return sum(each.leaves for each in self.databases)

    def state(self, name: str) -> DatabaseState | None:
        """Return the entry of a database."""
        return next((each for each in self.databases if each.name == name), None)


@dataclass(slots=True)
class Section:
    """A database's settings; None for those that its server does not have."""

    settings: dict[str, int] = field(default_factory=dict)
    """``q``, ``n`` and ``revs_limit``."""
    security: dict[str, Any] | None = None
    local: dict[str, Any] | None = None
    """``_local/dataloader``, without its revision."""


class _Head(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    rev: str = msgspec.field(name="_rev", default="")
    revisions: Any = msgspec.field(name="_revisions", default=None)


_HEAD = msgspec.json.Decoder(_Head)
_SECTION = msgspec.json.Decoder(Section)
_START = re.compile(rb'\{"_id":"([^"\\]+)","_rev":"([^"\\]+)"').match
"""How CouchDB begins a document; reading no more of it is much faster."""


def sort_key(doc_id: str) -> Key:
    """Return the sort key of a document."""
    return doc_id.startswith("_design/"), doc_id


def revision_of(line: bytes) -> str:
    """Return the revision of a leaf.

    Raises:
        msgspec.MsgspecError: the line is not a document.
    """
    start = _START(line)
    return _head(line).rev if start is None else start[2].decode()


def revisions_of(line: bytes) -> list[str]:
    """Return the revisions of a leaf's branch, the newest first.

    Raises:
        msgspec.MsgspecError: the line is not a document.
    """
    head = _head(line)
    return history({"_rev": head.rev, "_revisions": head.revisions})


def _head(line: bytes) -> _Head:
    try:
        return _HEAD.decode(line)
    except RecursionError:
        return _HEAD.decode(flattened(line))


def grouped(lines: Iterable[bytes]) -> Iterator[Group]:
    """Group leaves by document.

    Raises:
        msgspec.MsgspecError: a line is not a document.
    """
    current: str | None = None
    leaves: list[bytes] = []
    for line in lines:
        doc_id = _id_of(line)
        if doc_id != current:
            if current is not None:
                yield sort_key(current), leaves
            current, leaves = doc_id, []
        leaves.append(line)
    if current is not None:
        yield sort_key(current), leaves


def _id_of(line: bytes) -> str:
    start = _START(line)
    return _head(line).id if start is None else start[1].decode()


def _check_lines(content: bytes) -> None:
    # Only the last line of a block may be long; any number of short ones would fill the memory.
    if content.rfind(b"\n", 0, -1) > 2 * BLOCK_BYTES:
        raise ValueError(BLOCK_BYTES)
    for line in content[:-1].split(b"\n"):
        if _START(line) is None and not _head(line).rev:
            raise ValueError(line)


def _has_designs(content: bytes) -> bool:
    """Return whether a block has design documents, which are the last ones."""
    return sort_key(_id_of(content[content.rfind(b"\n", 0, -1) + 1 :]))[0]


class BodyWriter:
    """Writes the blocks of a backup, and counts them.

    Args:
        stream: the output; the header is added in front later.
        lock: encrypts them, if given.
    """

    def __init__(self, stream: IO[bytes], lock: Lock | None) -> None:
        # Frame 0 is the header.
        self._frames = FrameWriter(stream, lock, start=1)
        self._number = 1
        self._seal = sha256()
        self.documents = self.leaves = 0

    def section(self, database: str, section: Section) -> None:
        """Write the settings of a database."""
        self._block(database, "database", [msgspec.json.encode(section, order="sorted")])

    def write(self, database: str, groups: Iterable[Group]) -> tuple[int, int]:
        """Write documents, which must be sorted.

        Returns:
            The number of documents and of leaves.
        """
        documents = leaves = weight = 0
        lines: list[bytes] = []
        for _, group in groups:
            documents += 1
            leaves += len(group)
            for line in group:
                lines.append(line)
                weight += len(line)
                if weight >= BLOCK_BYTES:
                    self._block(database, "documents", lines)
                    lines, weight = [], 0
        if lines:
            self._block(database, "documents", lines)
        self.documents += documents
        self.leaves += leaves
        return documents, leaves

    def end(self) -> tuple[int, str]:
        """Write the end line; return the number of blocks and the seal."""
        blocks, seal = self._number - 1, self._seal.hexdigest()
        end = {"end": True, "blocks": blocks, "documents": self.documents, "leaves": self.leaves, "seal": seal}
        self._frames.write(orjson.dumps(end) + b"\n")
        return blocks, seal

    def _block(self, database: str, kind: str, lines: list[bytes]) -> None:
        content = b"\n".join(lines) + b"\n"
        first = orjson.dumps(
            {
                "block": self._number,
                "database": database,
                "kind": kind,
                "lines": len(lines),
                "sha256": sha256(content).hexdigest(),
            }
        )
        self._seal.update(first)
        self._frames.write(first + b"\n" + content)
        self._number += 1


def _header_line(header: BackupHeader) -> bytes:
    data = {"format": FORMAT, "version": VERSION, **asdict(header), "digest": ""}
    data["digest"] = sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return orjson.dumps(data) + b"\n"


def finish(stream: IO[bytes], header: BackupHeader, body: IO[bytes], lock: Lock | None) -> None:
    """Write a complete backup: the header, including its digest, followed by the body."""
    FrameWriter(stream, lock).write(_header_line(header))
    body.seek(0)
    copyfileobj(body, stream, 1_000_000)


class Backup:
    """A backup file; opening it reads the header only.

    Args:
        path: the file.
        password: decrypts it.

    Raises:
        FileError: it can't be read.
        InputError: it is not a backup, its header is damaged, or it is encrypted and the password is wrong.
    """

    def __init__(self, path: Path, password: str | None = None) -> None:
        self.path = path
        self._password = password
        self._marks: bytes | None = None
        try:
            self.header = self._read_header()
            self.size = path.stat().st_size
        except OSError as error:
            raise FileError.of(error, path, "name a backup file that can be read") from error

    def _read_header(self) -> BackupHeader:
        require_file(self.path)
        with self.path.open("rb") as stream:
            line = next(read_frames(self.path, stream, self._password, most_first=MAX_HEADER), b"")
        try:
            data = orjson.loads(line)
            if data.pop("format") != FORMAT:
                raise ValueError(FORMAT)
            if (version := data.pop("version")) != VERSION:
                problem = Problem(
                    str(self.path), f"has format version {version}", "use the version of dataloader that wrote it"
                )
                raise InputError(problem)
            header = msgspec.convert(data, BackupHeader)
            if datetime.fromisoformat(header.created).tzinfo is None:
                raise ValueError(header.created)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise not_a_backup(self.path) from error
        if orjson.loads(_header_line(header))["digest"] != header.digest:
            raise damaged(self.path, 0, "does not match its digest")
        return header

    def check(self) -> Iterator[int]:
        """Read the whole file, checking every digest, the seal, and the form of each line; yield each block's leaves.

        Raises:
            FileError: it can't be read.
            InputError: a block is damaged; names the first one.
        """
        names = {each.name for each in self.header.databases}
        left = set(names)
        number = 0
        for number, (first, content) in enumerate(self._blocks(), 1):
            is_documents = first["kind"] == "documents"
            try:
                if first["database"] not in names:
                    raise LookupError
                if is_documents:
                    _check_lines(content)
                else:
                    _SECTION.decode(content)
                    left.remove(first["database"])
            except (ValueError, LookupError) as error:
                raise damaged(self.path, number, "does not hold what a backup holds") from error
            yield first["lines"] if is_documents else 0
            del content
        if left:
            raise damaged(self.path, number, f"is the last, and none holds the settings of database {min(left)}")

    def sections(self) -> dict[str, Section]:
        """Return the settings of each database."""
        return {
            first["database"]: _SECTION.decode(content)
            for first, content in self._blocks()
            if first["kind"] == "database"
        }

    def documents(self, database: str, *, designs: bool | None = None) -> Iterator[Group]:
        """Yield the documents of a database in sorted order.

        Args:
            database: its name without prefix.
            designs: whether to yield design documents only, or all others; None for both.
        """

        def lines() -> Iterator[bytes]:
            for first, content in self._blocks():
                if (
                    first["database"] == database
                    and first["kind"] == "documents"
                    and (not designs or _has_designs(content))
                ):
                    # Strings may contain U+2028 and the like, so split at line feeds only.
                    yield from content[:-1].split(b"\n")

        return (group for group in grouped(lines()) if designs is None or group[0][0] is designs)

    def _blocks(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the first line and the lines of each block, checked; then check the end."""
        try:
            with self.path.open("rb") as stream:
                frames = read_frames(self.path, stream, self._password)
                next(frames)
                yield from self._checked(frames)
        except OSError as error:
            raise FileError.of(error, self.path, "check the disk; " + USE_OTHER) from error

    def _checked(self, frames: Iterator[bytes]) -> Iterator[tuple[dict[str, Any], bytes]]:
        seal = sha256()
        marks = bytearray()
        number = 0
        for number, frame in enumerate(frames, 1):
            line, _, content = frame.partition(b"\n") if frame.find(b"\n", 0, _MAX_FIRST) >= 0 else (b"", b"", b"")
            try:
                first = orjson.loads(line)
                if first.get("end") is True:
                    self._check_end(number, first, seal.hexdigest())
                    if next(frames, None) is not None:
                        raise damaged(self.path, number + 1, "comes after the end of the backup")
                    self._marks = bytes(marks)
                    return
                if first["block"] != number:
                    raise damaged(self.path, number, f"is in the wrong place (it is block {first['block']})")
                if first["kind"] not in _KINDS or not isinstance(first["database"], str):
                    raise ValueError(line)
                good = first["sha256"] == sha256(content).hexdigest() and first["lines"] == content.count(b"\n")
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise damaged(self.path, number, "is damaged") from error
            if not good:
                raise damaged(self.path, number, "does not match its digest")
            seal.update(line)
            marks += sha256(line).digest()
            if self._marks is not None and not self._marks.startswith(marks[-_MARK:], _MARK * (number - 1)):
                rule = "is not the one that was checked: the file has been replaced or edited meanwhile"
                raise InputError(Problem(f"{self.path}, block {number}", rule, "run it again"))
            yield first, content
        rule = f"the file ends after {number} of {self.header.blocks} blocks, without the end"
        raise damaged(self.path, number + 1, f"is missing: {rule}")

    def _check_end(self, number: int, end: dict[str, Any], seal: str) -> None:
        expected = (self.header.blocks, self.header.documents, self.header.leaves, self.header.seal)
        found = (number - 1, end["documents"], end["leaves"], seal)
        if found != expected or end["seal"] != seal or end["blocks"] != number - 1:
            raise damaged(
                self.path, number, "does not match the header: blocks are missing, or come from another backup"
            )
