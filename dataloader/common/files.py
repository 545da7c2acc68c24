"""Write files completely or not at all, and never over existing ones."""

import ctypes
import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import gettempdir, mkstemp
from typing import IO, Any

from dataloader.common.errors import FileError

MODE = 0o600
"""The mode of new files: anyone who has a UUID can read that person's preferences."""


_CHOOSE = "choose a writable folder with enough free space"
"""What to do if a file can't be written."""
MAX_PASSWORD_FILE = 10_000
"""The largest password file, in bytes."""

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""Error codes of a file system without hard links (link(2))."""
_NO_NOREPLACE = frozenset({errno.EINVAL, errno.ENOSYS})
"""Error codes of a system or file system that can't rename without replacing."""
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def temporary_root() -> Path:
    """Return the folder for temporary files: ``TMPDIR``, or the system's.

    Raises:
        FileError: no such folder can be written to, as in a container with a read-only file system.
    """
    try:
        return Path(gettempdir())
    except FileNotFoundError as error:
        rule = "no folder for temporary files can be written to"
        raise FileError(os.environ.get("TMPDIR", "/tmp"), rule=rule, todo="set TMPDIR to one") from error  # noqa: S108


def require_file(path: Path) -> None:
    """Reject a path that is not a regular file: reading a pipe, for example, could block forever.

    Raises:
        FileError: it is not a regular file.
        OSError: it does not exist, or can't be examined.
    """
    if path.is_dir():
        raise FileError(str(path), rule="this is a folder", todo="name a file in it")
    if not path.is_file():
        path.stat()
        raise FileError(str(path), rule="is not a regular file", todo="save it as a file first")


def read_file(path: Path, most: int, todo: str) -> bytes:
    """Read a whole regular file of limited size, without blocking on a pipe or filling the memory.

    Args:
        path: the file.
        most: the largest size, in bytes.
        todo: what the user can do if it can't be read.

    Raises:
        FileError: it can't be read, is not a regular file, or is too large.
    """
    try:
        # Opening a pipe would block until something writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileError(str(path), rule="is not a regular file", todo=todo)
            data = stream.read(most + 1)
    except PermissionError as error:
        raise FileError.of(error, path, "make it readable") from error
    except OSError as error:
        raise FileError.of(error, path, todo) from error
    if len(data) > most:
        raise FileError(str(path), rule=f"is larger than {most:,} bytes", todo=todo)
    return data


def read_text(path: Path, most: int, todo: str) -> str:
    """Read a whole text file in UTF-8 without its byte order mark; otherwise like ``read_file``."""
    try:
        return read_file(path, most, todo).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(str(path), rule="is not UTF-8 text", todo=todo) from error


def read_password_file(path: Path) -> str:
    """Read a password file, ignoring a byte order mark and trailing line ends.

    Raises:
        FileError: the file can't be read, or is not text.
    """
    return bare_password(read_text(path, MAX_PASSWORD_FILE, "name the file that holds the password"))


def bare_password(text: str) -> str:
    """Strip what editors and shells add to a password: a byte order mark and line ends."""
    return text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").strip("\r\n")


def files_below(folder: Path, unreadable: Callable[[OSError], None]) -> list[Path]:
    """Return what is in a folder and its subfolders, also behind links, each once, except hidden files; sorted.

    Args:
        folder: the folder.
        unreadable: called with the error for each folder that can't be read.
    """
    # A link may lead back to a folder above it, or to one beside it.
    seen = {os.path.realpath(folder)}
    paths: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        inside = {name: os.path.realpath(Path(root, name)) for name in sorted(folders) if not name.startswith(".")}
        # A file system has a folder that only root can read.
        new = {real: name for name, real in reversed(inside.items()) if real not in seen and name != "lost+found"}
        seen.update(new)
        folders[:] = new.values()
        # A folder with the name of a file is an error when it is read.
        paths += [Path(root, name) for name in (*folders, *names) if not name.startswith(".")]
    return sorted(paths)


@contextmanager
def new_files(*paths: Path, within: Path | None = None) -> Iterator[list[IO[bytes]]]:
    """Write several new files; after a crash at any moment, each is complete or missing.

    Each is written to a temporary file in the same folder, flushed to disk and renamed when the block ends, in the
    order of ``paths``. If the block raises, no files are left behind.

    Args:
        paths: the files.
        within: the folder for temporary files, on the same file system, if not that of each file.

    Raises:
        FileError: a file already exists, or can't be written.
    """
    current = paths[0]
    try:
        for current in paths:
            if current.exists() or current.is_symlink():
                raise _left_empty(current) if _is_empty(current) else _exists(current)
        with ExitStack() as stack:
            streams: list[IO[bytes]] = []
            for current in paths:
                _make_folder(current.parent)
                descriptor, temporary = mkstemp(dir=within or current.parent, prefix=f".{current.name}.")
                stack.callback(_remove, temporary)
                os.close(descriptor)
                streams.append(stack.enter_context(io.BufferedRandom(_NewFile(temporary, current))))
            # An error of the system's without the name of a file.
            current = paths[0].parent
            yield list(streams)
            for current, stream in zip(paths, streams, strict=True):  # noqa: B007 - the error's path, below
                stream.flush()
                os.fchmod(stream.fileno(), MODE)
                os.fsync(stream.fileno())
            with ExitStack() as undo:
                for current, stream in zip(paths, streams, strict=True):
                    _link(stream.name, current)
                    undo.callback(_remove, str(current))
                    _sync_folder(current.parent)
                undo.pop_all()
    except OSError as error:
        raise FileError.of(error, current, _CHOOSE) from error


class _NewFile(io.FileIO):
    """A temporary file; an error while it is written names the file that it will be."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, "r+b")
        self._path = path

    def write(self, data: Any) -> int:
        """Write some bytes."""
        try:
            return super().write(data)
        except OSError as error:
            raise FileError.of(error, self._path, _CHOOSE) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FileError(str(folder), rule="is not a folder", todo="choose another folder") from error


def _link(name: str, path: Path) -> None:
    # Unlike a rename, a link fails if the file has been created in the meantime.
    try:
        os.link(name, path)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_new(name, path)


def _rename_new(name: str, path: Path) -> None:
    """Rename a file without replacing an existing one, where there are no hard links (FAT, some network shares).

    Linux can do this atomically (https://man7.org/linux/man-pages/man2/rename.2.html, RENAME_NOREPLACE). Where the
    system or file system can't, create an empty file under the new name first: of several runs, only one can create it,
    and only that one continues.

    Raises:
        FileError: the name already exists.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_AT_FDCWD, os.fsencode(name), _AT_FDCWD, os.fsencode(path), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code == errno.EEXIST:
            raise _exists(path)
        if code not in _NO_NOREPLACE:
            raise OSError(code, os.strerror(code), str(path))
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE))
    except FileExistsError as error:
        raise _exists(path) from error
    try:
        Path(name).replace(path)
    except OSError:
        _remove(str(path))
        raise


def _exists(path: Path) -> FileError:
    if path.is_dir():
        return FileError(str(path), rule="this is a folder", todo="name a new file in it")
    return FileError(
        str(path),
        rule="already exists; dataloader never overwrites files",
        todo="choose another name or folder, or move it away",
    )


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.stat().st_size


def _left_empty(path: Path) -> FileError:
    return FileError(
        str(path),
        rule="already exists and is empty, as an interrupted run can leave it",
        todo="remove it, unless another run is writing it now",
    )


def _remove(name: str) -> None:
    Path(name).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
