"""Drills: back up, restore elsewhere, compare leaf by leaf, check cards, and delete the copy.

A backup that was never restored proves nothing. A drill answers two questions: how much data would be lost if the
databases were lost now, and how long does it take to restore them?
"""

import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from shutil import rmtree
from socket import gethostname
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import uuid4

from dataloader.archive import Backup, BackupHeader, Group, Section
from dataloader.batch import CardFile
from dataloader.common import OnProgress, temporary_root
from dataloader.couch import Database, Server
from dataloader.operations.backup import back_up, identity_of, was_set_back
from dataloader.operations.backups import newest_of, note_verified, read_backups
from dataloader.operations.card_verdicts import VerifyVerdict
from dataloader.operations.restore import restore_backup
from dataloader.operations.verify import verify
from dataloader.records import Snapsets
from dataloader.target import Target

_PREFIX = "drill-"
"""How the names of the copies begin; the machine and the process follow."""
_FOLDER = "dataloader-drill-"
"""The same for temporary folders."""
_MACHINE_ID = Path("/etc/machine-id")
_PROCESSES = Path("/proc/self/ns/pid")
_DAY = 86_400
NAMED = 20
"""Differences to name; all are counted."""
_STORAGE_FIELDS = ("digest", "revpos", "length", "encoding", "encoded_length")
"""Members of an attachment that depend on the server."""


class _Number(NamedTuple):
    """A number as it is written: 1.0 is not 1, and 30 digits are all compared."""

    text: str


@dataclass
class DrillResult:
    """The result of a drill."""

    header: BackupHeader
    path: Path | None
    """The path of the backup."""
    size: int
    steps: dict[str, float] = field(default_factory=dict)
    """Seconds of each step, in order."""
    last_backup: str | None = None
    """When the newest backup before this drill was made; None if there is none."""
    changes_at_risk: int = 0
    """Documents that have changed since then, and would have been lost."""
    leaves: int = 0
    """The number of compared leaves."""
    differences: list[str] = field(default_factory=list)
    difference_count: int = 0
    cards: int = 0
    """The number of cards checked in the copy."""
    synchronized: bool = True
    """Whether the nodes of a cluster had the same copies; otherwise the backup may lack changes."""
    leftovers: list[str] = field(default_factory=list)
    """Databases of killed drills that were deleted."""
    cards_not_working: int = 0
    """Cards that do not work in the copy, though they do in the target."""
    cards_broken: int = 0
    """Cards that work neither in the copy nor in the target."""

    @property
    def seconds_to_restore(self) -> float:
        """Seconds from the backup file to databases that answer."""
        return self.steps.get("restore", 0.0)

    @property
    def good(self) -> bool:
        """Whether the copy equals the backup, and every card that works in the target works in it."""
        return not self.difference_count and not self.cards_not_working


def drill(
    server: Server,
    target: Target,
    *,
    folder: Path | None = None,
    password: str | None = None,
    manifests: Sequence[CardFile] = (),
    snapsets: Snapsets | None = None,
    sample: int | None = None,
    on_progress: OnProgress | None = None,
) -> DrillResult:
    """Back up a target, restore it under another prefix, compare, check cards, and delete the copy.

    Args:
        server: the target's server.
        target: the target; it is only read.
        folder: where backups are kept, including the drill's own; None keeps none.
        password: encrypts and decrypts backups.
        manifests: the batches whose cards are checked in the copy.
        snapsets: the snapsets of their cards.
        sample: how many cards of each batch to check; None for all.
        on_progress: called with the progress of each step.

    Raises:
        DataloaderError: a step failed; the copy has been deleted.
    """
    copy = replace(target, prefix=f"{_PREFIX}{machine_name()}-{os.getpid()}-{uuid4().hex[:4]}-{target.prefix}")
    temporary_files = temporary_root()
    server.welcome()
    leftovers = _remove_leftovers(server, target, temporary_files)
    stored = [] if folder is None else read_backups(folder, password)[0]
    last = newest_of(stored, target)
    if last is not None and not _is_of(server, target, last.header):
        last = None
    with TemporaryDirectory(dir=temporary_files, prefix=f"{_FOLDER}{machine_name()}-{os.getpid()}-") as temporary:
        changes = _changes_since(server, target, None if last is None else last.header)
        steps: dict[str, float] = {}
        where = Path(temporary) / "drill.backup.zst" if folder is None else folder
        with _timed(steps, "backup"):
            made = back_up(server, target, where, password=password, on_progress=on_progress)
        backup = Backup(made.path, password)
        result = DrillResult(
            made.header,
            None if folder is None else made.path,
            made.size,
            steps,
            None if last is None else last.header.created,
            changes,
            synchronized=bool(made.synchronized),
            leftovers=leftovers,
        )
        try:
            with _timed(steps, "restore"):
                restored = restore_backup(server, copy, [backup], on_progress=on_progress)
            for lost in restored.missing:
                _differ(result, f"{lost.database}, document {lost.id}: missing")
            with _timed(steps, "read back"):
                back = back_up(server, copy, Path(temporary) / "copy.backup.zst", password=password)
            with _timed(steps, "compare"):
                _compare(result, backup, Backup(back.path, password))
            if manifests and snapsets is not None:
                with _timed(steps, "verify cards"):
                    _check_cards(result, server, (target, copy), manifests, snapsets, sample, on_progress)
        finally:
            with _timed(steps, "remove"):
                _remove(server, copy)
    if folder is not None and result.good:
        note_verified(backup, result.seconds_to_restore)
    return result


@contextmanager
def _timed(steps: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        steps[name] = round(time.monotonic() - start, 3)


def machine_name() -> str:
    """Return a short name of what shares process IDs with this process: this machine, or this container.

    Containers may have the same host name, but then each has a PID namespace of its own (Linux, pid_namespaces(7)).
    """
    known = [gethostname()]
    for read in (_MACHINE_ID.read_text, _PROCESSES.readlink):
        with suppress(OSError):
            known.append(str(read()).strip())
    return sha256(" ".join(known).encode()).hexdigest()[:8]


def _is_running(pid: int) -> bool:
    """Return whether another process with this ID runs: each start of one container may have the same, such as 1."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _remove_leftovers(server: Server, target: Target, temporary_files: Path) -> list[str]:
    """Delete the copies of the target that killed drills left, and their temporary folders.

    The process of a drill on another machine can't be seen, so its copies are left for a day.

    Returns:
        The names of the databases.
    """
    for folder in temporary_files.glob(f"{_FOLDER}{machine_name()}-*"):
        pid = folder.name.removeprefix(f"{_FOLDER}{machine_name()}-").partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            rmtree(folder, ignore_errors=True)
    names = "|".join(re.escape(target.database(name)) for name in target.model.databases)
    pattern = re.compile(rf"{_PREFIX}(?P<machine>[0-9a-f]{{8}})-(?P<pid>[0-9]+)-[0-9a-f]{{4}}-(?:{names})")
    leftovers = []
    for name in server.databases():
        match = pattern.fullmatch(name)
        if match is None:
            continue
        database = server.database(name)
        if match["machine"] == machine_name():
            is_left = not _is_running(int(match["pid"]))
        else:
            is_left = _is_old(server, database)
        if is_left:
            database.delete()
            leftovers.append(name)
    return leftovers


def _is_old(server: Server, database: Database) -> bool:
    """Return whether a database was created more than a day ago, by the server's clock."""
    created = identity_of(database, database.info() or {})
    now = server.time()
    return now is not None and created.isdecimal() and 0 < int(created) < now.timestamp() - _DAY


def _is_of(server: Server, target: Target, header: BackupHeader) -> bool:
    """Return whether a backup is of the databases as they are, and not of earlier ones or of a later state."""
    for state in header.databases:
        database = server.database(target.database(state.name))
        info = database.info()
        if info is None or state.identity not in {"", identity_of(database, info)} or was_set_back(state, info):
            return False
    return True


def _remove(server: Server, copy: Target) -> None:
    for name in copy.model.databases:
        server.database(copy.database(name)).delete()


def _changes_since(server: Server, target: Target, header: BackupHeader | None) -> int:
    """Return how many documents have changed since a backup; all of them if there is none."""
    changed = 0
    for name in target.model.databases:
        database = server.database(target.database(name))
        state = None if header is None else header.state(name)
        since = "0" if state is None else state.sequence
        changed += sum(1 for _ in database.all_changes(since)) if database.exists() else 0
    return changed


def _compare(result: DrillResult, backup: Backup, back: Backup) -> None:
    """Compare a copy with the backup, leaf by leaf."""
    result.leaves = backup.header.leaves
    if backup.header.seal == back.header.seal:
        # Every byte of every leaf and of the settings is equal.
        return
    for state in backup.header.databases:
        wanted, found = backup.documents(state.name), back.documents(state.name)
        for difference in _differences(wanted, found):
            _differ(result, f"{state.name}, {difference}")
    theirs = back.sections()
    for name, section in backup.sections().items():
        if section.security != theirs[name].security or _remembered(section) != _remembered(theirs[name]):
            _differ(result, f"{name}: _security or _local/dataloader differ")
        if (limits := (section.settings.get("revs_limit"), theirs[name].settings.get("revs_limit")))[0] != limits[1]:
            _differ(result, f"{name}: _revs_limit is {limits[1]}, not {limits[0]}")


def _remembered(section: Section) -> dict[str, Any]:
    """Return a database's record of loads; its environment is the drill's own if it had none."""
    return {key: value for key, value in (section.local or {}).items() if key != "environment" and value}


def _differ(result: DrillResult, difference: str) -> None:
    result.difference_count += 1
    result.differences += [difference][: NAMED - len(result.differences)]


def _differences(wanted: Iterator[Group], found: Iterator[Group]) -> Iterator[str]:
    for one, other in zip_longest(wanted, found):
        if one is None or other is None or one[0] != other[0]:
            # From here on, nothing matches.
            key = min(each[0] for each in (one, other) if each is not None)
            yield f"document {key[1]}: only in {'the copy' if one is None or one[0] != key else 'the backup'}"
            return
        if one[1] != other[1] and list(map(_content, one[1])) != list(map(_content, other[1])):
            yield f"document {one[0][1]}: differs"


def _content(line: bytes) -> Any:
    """Return a leaf without how the server stores attachments, with its numbers as they are written."""
    try:
        document = json.loads(line, parse_int=_Number, parse_float=_Number)
    except RecursionError:
        # Nested too deeply for the parser.
        return line
    for attachment in document.get("_attachments", {}).values():
        for name in _STORAGE_FIELDS:
            attachment.pop(name, None)
    return document


def _check_cards(
    result: DrillResult,
    server: Server,
    targets: tuple[Target, Target],
    manifests: Sequence[CardFile],
    snapsets: Snapsets,
    sample: int | None,
    on_progress: OnProgress | None,
) -> None:
    target, copy = targets
    not_working: set[tuple[str, str]] = set()

    def note(manifest: CardFile, verdict: Any) -> None:
        if verdict.verdict in {VerifyVerdict.MISSING, VerifyVerdict.WRONG}:
            not_working.add((manifest.header.name, verdict.uuid))

    checked = verify(server, copy, manifests, snapsets, sample=sample, on_progress=on_progress, on_verdict=note)
    result.cards = checked.verdicts.total()
    if not_working:
        # A card that was never loaded cannot work in a copy either.
        in_copy = set(not_working)
        not_working.clear()
        verify(server, target, manifests, snapsets, on_progress=on_progress, on_verdict=note)
        result.cards_not_working = len(in_copy - not_working)
        result.cards_broken = len(in_copy & not_working)
