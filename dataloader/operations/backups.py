"""List the backups in a folder, and decide which to keep.

The rules are those of restic (https://restic.readthedocs.io/en/stable/060_forget.html): ``keep_daily=7`` keeps the
newest backup of each of the last seven days that have one; if there are fewer such days, the oldest backup of all is
kept, too. Hours and days are in UTC, so daylight saving time does not matter. An incremental backup needs the backups
that it continues, so these are kept with it.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from dataloader.archive import SUFFIX, Backup, BackupHeader
from dataloader.common import DataloaderError, FileError, UsageError, now, read_file
from dataloader.target import Target

VERIFIED_SUFFIX = ".verified.json"
"""The suffix of a note next to a backup: when a drill restored it."""
MAX_NOTE = 10_000
"""The largest such note in bytes."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of a drill with a backup."""

    digest: str
    time: str
    """ISO 8601 in UTC with milliseconds and Z."""
    seconds: float
    """How long the restore took."""
    leaves: int


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup in a folder."""

    path: Path
    size: int
    header: BackupHeader
    verified: Verified | None

    @property
    def created(self) -> datetime:
        """When its content was read."""
        return datetime.fromisoformat(self.header.created)

    @property
    def source(self) -> tuple[str, str, str, str]:
        """The target that it is a backup of: the URL, prefix, model and environment."""
        return self.header.url, self.header.prefix, self.header.model, self.header.environment


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file in a folder of backups that is not a backup, is damaged, or is encrypted with another password."""

    path: Path
    reason: str


def read_backups(folder: Path, password: str | None = None) -> tuple[list[StoredBackup], list[Unreadable]]:
    """Read the headers of the backups in a folder, oldest first.

    Raises:
        FileError: the folder can't be read.
    """
    found, unreadable = [], []
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    except OSError as error:
        raise FileError.of(error, folder, "name the folder that holds the backups") from error
    for path in paths:
        try:
            backup = Backup(path, password)
        except DataloaderError as error:
            unreadable.append(Unreadable(path, str(error)))
        else:
            found.append(StoredBackup(path, backup.size, backup.header, _verified(path, backup.header)))
    return sorted(found, key=lambda each: (each.created, each.path.name)), unreadable


def newest_of(backups: Sequence[StoredBackup], target: Target) -> StoredBackup | None:
    """Return the newest backup of a target, None if there is none."""
    source = target.address.url, target.prefix, target.model.name
    return next((each for each in reversed(backups) if each.source[:3] == source), None)


def without_base(backups: Sequence[StoredBackup]) -> list[StoredBackup]:
    """Return the incremental backups that cannot be restored, because one that they continue is missing."""
    headers = {each.header.digest: each.header for each in backups}
    whole: set[str] = set()
    lacking = []
    for each in backups:
        # If the clock was set back, the backup that it continues may come after it.
        chain = [each.header]
        while (last := chain[-1]).digest not in whole and last.base in headers:
            chain.append(headers[last.base])
        if last.digest in whole or last.base is None:
            whole.update(header.digest for header in chain)
        else:
            lacking.append(each)
    return lacking


def missing_base(backup: Backup, password: str | None = None) -> str | None:
    """Return when the backup was made that an incremental backup needs, and that is not in the same folder.

    It reads the headers of the backups there that it needs, and of few others.

    Args:
        backup: the incremental backup.
        password: the password of the backups, if they are encrypted.

    Returns:
        The time; None if all are there.
    """
    last, headers = backup.header, dict[str | None, BackupHeader]()
    paths = sorted(backup.path.parent.glob(f"*{SUFFIX}"), key=lambda path: path.name, reverse=True)
    # It usually continues those whose names come before its own.
    for path in sorted(paths, key=lambda path: path.name >= backup.path.name):
        if last.base is None:
            return None
        with suppress(DataloaderError):
            header = Backup(path, password).header
            headers[header.digest] = header
        while last.base in headers:
            last = headers.pop(last.base)
    return None if last.base is None else last.base_created


def _verified(path: Path, header: BackupHeader) -> Verified | None:
    try:
        verified = Verified(**orjson.loads(read_file(verified_path(path), MAX_NOTE, "remove it")))
    except (FileError, ValueError, TypeError):
        return None
    return verified if verified.digest == header.digest else None


def verified_path(path: Path) -> Path:
    """Return the path of the note about the last drill with a backup."""
    return path.with_name(path.name + VERIFIED_SUFFIX)


def note_verified(backup: Backup, seconds: float) -> None:
    """Write a note that a drill restored a backup.

    Raises:
        FileError: the note can't be written.
    """
    path = verified_path(backup.path)
    noted = Verified(backup.header.digest, now(), round(seconds, 3), backup.header.leaves)
    try:
        path.write_bytes(orjson.dumps(asdict(noted)) + b"\n")
        path.chmod(0o600)
    except OSError as error:
        raise FileError.of(error, path, "choose a folder that can be written to") from error


@dataclass(frozen=True, slots=True)
class KeepRules:
    """How many backups to keep of each kind; 0 keeps none for this reason."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


_BUCKETS: dict[str, Callable[[datetime], object]] = {
    "last": lambda time: time,
    "hourly": lambda time: (time.year, time.month, time.day, time.hour),
    "daily": lambda time: (time.year, time.month, time.day),
    "weekly": lambda time: time.isocalendar()[:2],
    "monthly": lambda time: (time.year, time.month),
    "yearly": lambda time: time.year,
}


@dataclass(frozen=True, slots=True)
class KeptBackup:
    """A backup, and the reasons to keep it; without a reason it is deleted."""

    backup: StoredBackup
    reasons: tuple[str, ...]


def choose_kept(
    backups: Sequence[StoredBackup], rules: KeepRules, continued: Collection[str] = frozenset()
) -> list[KeptBackup]:
    """Apply rules to backups, separately for each target.

    Args:
        backups: the backups.
        rules: what to keep.
        continued: the digests of backups that unfinished ones continue, which are kept, too.

    Returns:
        Each backup, oldest first, with the reasons to keep it. One that cannot be restored because its base is missing,
        or that was made in the future, is kept, and counts for no rule.

    Raises:
        UsageError: the rules keep nothing.
    """
    if not any(asdict(rules).values()):
        raise UsageError(
            "prune", rule="these rules keep no backup", todo="give --keep-daily 7 or another --keep- option"
        )
    reasons: dict[str, list[str]] = {each.header.digest: [] for each in backups}
    lacking = {each.header.digest for each in without_base(backups)}
    for digest in lacking:
        # Its base may be in another folder, or encrypted with another password.
        reasons[digest].append("base missing")
    # Made while a clock was wrong, it would be the newest for years; or it is this clock that is wrong.
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    ahead = {each.header.digest for each in backups if each.created > tomorrow}
    for digest in ahead:
        reasons[digest].append("in the future")
    for source in {each.source for each in backups}:
        # A copy of a file counts with it.
        mine = {each.header.digest: each for each in backups if each.source == source}
        restorable = (each for digest, each in mine.items() if digest not in lacking | ahead)
        newest_first = sorted(restorable, key=lambda each: each.created, reverse=True)
        for rule, wanted in asdict(rules).items():
            _keep(newest_first, rule, wanted, reasons)
    for digest in reasons.keys() & continued:
        reasons[digest].append("base")
    _keep_bases(backups, reasons)
    return [KeptBackup(each, tuple(reasons[each.header.digest])) for each in backups]


def _keep(newest_first: Sequence[StoredBackup], rule: str, wanted: int, reasons: dict[str, list[str]]) -> None:
    last: object = None
    for at, each in enumerate(newest_first):
        bucket = (rule, at) if rule == "last" else _BUCKETS[rule](each.created.astimezone(UTC))
        is_oldest = at == len(newest_first) - 1
        if wanted and (bucket != last or is_oldest):
            reasons[each.header.digest].append(rule)
            last = bucket
            wanted -= 1


def _keep_bases(backups: Sequence[StoredBackup], reasons: dict[str, list[str]]) -> None:
    """Keep what a kept incremental backup needs."""
    by_digest = {each.header.digest: each for each in backups}
    for each in backups:
        if not reasons[each.header.digest]:
            continue
        base = each.header.base
        while base is not None and base in by_digest:
            if "base" not in reasons[base]:
                reasons[base].append("base")
            base = by_digest[base].header.base


def prune(kept: Sequence[KeptBackup]) -> list[StoredBackup]:
    """Delete the backups that no rule keeps; return them.

    Raises:
        FileError: a backup can't be deleted; the earlier ones are already gone.
    """
    gone = [each.backup for each in kept if not each.reasons]
    # Delete an incremental backup before the ones that it continues.
    for backup in reversed(gone):
        try:
            backup.path.unlink(missing_ok=True)
            verified_path(backup.path).unlink(missing_ok=True)
        except OSError as error:
            raise FileError.of(error, backup.path, "make the folder writable, then run it again") from error
    return gone
