"""Work folders of backups: one process at a time uses one, and those that killed backups left are found again.

A work folder is next to the backup, ``.NAME.partial``. ``state.json`` says how far the backup has got, and finally
the name of the file that is about to be complete. If that file exists, the folder is only a leftover.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote_to_bytes

import orjson

from dataloader.common import FileError

LOCK = "lock"
STATE = "state.json"
SUFFIX = ".partial"
_BEGINNING = {LOCK, STATE, f"{STATE}.new"}
"""What a work folder holds before the first run is kept."""
_ATTEMPTS = 5
"""How often to try to lock a folder: somebody who only looks at it holds it for a moment."""
_WAIT = 0.1
"""Seconds between two attempts."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The work folder of an interrupted backup, which continues if it is run again."""

    path: Path
    size: int
    """Bytes in it."""
    modified: float
    """When it was last written to: seconds since the epoch."""


def lock(folder: Path) -> IO[bytes] | None:
    """Lock a work folder until the returned stream is closed; None if another process is using it.

    Raises:
        OSError: the folder can't be written to.
    """
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_WAIT)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            held = _try(folder)
            if held is not None:
                return held
    return None


def _try(folder: Path, mode: str = "wb", how: int = fcntl.LOCK_EX) -> IO[bytes] | None:
    path = folder / LOCK
    held: IO[bytes] = path.open(mode)
    try:
        fcntl.flock(held, how | fcntl.LOCK_NB)
        # Its last user may have deleted it just now.
        if os.path.samestat(os.fstat(held.fileno()), path.stat()):
            return held
    except BlockingIOError:
        pass
    except BaseException:
        held.close()
        raise
    held.close()
    return None


def discard(folder: Path) -> None:
    """Delete a locked work folder; the lock last, so that nobody starts to use what is being deleted.

    Raises:
        OSError: something in it can't be deleted.
    """
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink()
    (folder / LOCK).unlink()
    # Another process may have locked it anew.
    with suppress(OSError):
        folder.rmdir()


def read_state(folder: Path) -> dict[str, Any]:
    """Return the state of a work folder; empty if there is none, or it is damaged."""
    with suppress(FileNotFoundError, ValueError):
        state = orjson.loads((folder / STATE).read_bytes())
        if isinstance(state, dict):
            return state
    return {}


def encoded(name: str) -> str:
    """Return a file's name as the state has it: names may be bytes that are not UTF-8."""
    return quote(os.fsencode(name))


def is_finished(folder: Path, state: dict[str, Any]) -> bool:
    """Return whether the backup of a work folder is complete under its final name."""
    name = os.fsdecode(unquote_to_bytes(str(state.get("file", ""))))
    path = folder.parent / name
    # Where files can't be linked, the name is first that of an empty file.
    return bool(name) and path.is_file() and path.stat().st_size > 0


def continued_in(parent: Path) -> set[str]:
    """Return the digests of the backups that running and interrupted ones in a folder continue."""
    found: set[str] = set()
    for folder in parent.glob(f".*{SUFFIX}"):
        with suppress(OSError, LookupError, TypeError, AttributeError):
            state = read_state(folder)
            if not is_finished(folder, state):
                found.add(state["of"]["base"])
    return found


def remove_finished(parent: Path, *, dry_run: bool = False) -> tuple[list[Path], list[Unfinished]]:
    """Delete the work folders of killed backups that were complete, or had not kept anything.

    Args:
        parent: the folder of the backups.
        dry_run: whether to delete nothing.

    Returns:
        The deleted folders, and those of interrupted backups. Folders that another process uses are in neither.

    Raises:
        FileError: a folder can't be read or deleted.
    """
    removed, unfinished = [], []
    for folder in sorted(parent.glob(f".*{SUFFIX}")):
        try:
            with _locked(folder) as is_free:
                if not is_free:
                    continue
                state = read_state(folder)
                files = list(folder.iterdir())
                if not state and not {each.name for each in files} <= _BEGINNING:
                    # It may be somebody else's.
                    continue
                begun = state.get("runs") == {} and "of" in state
                if state and not begun and not is_finished(folder, state):
                    stats = [each.stat() for each in files]
                    modified = max(each.st_mtime for each in stats)
                    unfinished.append(Unfinished(folder, sum(each.st_size for each in stats), modified))
                    continue
                removed.append(folder)
                if not dry_run:
                    discard(folder)
        except OSError as error:
            raise FileError.of(error, folder, "delete it, unless a backup is running") from error
    return removed, unfinished


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock a folder without creating anything; yield whether it is a work folder of this user that nobody is using."""
    try:
        # On NFS, only what is open for writing can be locked exclusively.
        held = _try(folder, "r+b")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        held = None
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        held = _try(folder, "rb", fcntl.LOCK_SH)
    try:
        yield held is not None
    finally:
        if held is not None:
            held.close()
