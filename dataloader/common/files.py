"""Files that are written whole or not at all, and never over another."""

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from dataloader.common.errors import FileError

MODE = 0o600
"""What is minted is a secret of a kind: whoever has a UUID has that person's preferences."""


MAX_PASSWORD_FILE = 10_000
"""Bytes of a file that contains a password."""

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a file system answers that knows no hard links (link(2))."""
_NO_NOREPLACE = frozenset({errno.EINVAL, errno.ENOSYS})
"""What a file system or a system answers that can't rename without replacing."""
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def require_file(path: Path) -> None:
    """Refuse what is no regular file: a folder, or a pipe, which could keep its reader waiting for ever.

    Raises:
        FileError: it is something else.
        OSError: it is not there, or can't be looked at.
    """
    if not path.is_file():
        path.stat()
        raise FileError(str(path), rule="is not a regular file", todo="save it as a file first")


def read_file(path: Path, most: int, todo: str) -> bytes:
    """Read a whole file: a regular one of a limited size, so that nothing waits for a pipe or fills the memory.

    Args:
        path: the file.
        most: the bytes that it may have.
        todo: what the user can do where it can't be read.

    Raises:
        FileError: it can't be read, is not a regular file, or is larger.
    """
    try:
        # Opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileError(str(path), rule="is not a regular file", todo=todo)
            data = stream.read(most + 1)
    except OSError as error:
        raise FileError.of(error, path, todo) from error
    if len(data) > most:
        raise FileError(str(path), rule=f"is larger than {most:,} bytes", todo=todo)
    return data


def read_text(path: Path, most: int, todo: str) -> str:
    """Read a whole text file in UTF-8, without its byte order mark; otherwise like ``read_file``."""
    try:
        return read_file(path, most, todo).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(str(path), rule="is not UTF-8 text", todo=todo) from error


def read_password_file(path: Path) -> str:
    """Read a password from a file that contains nothing else but perhaps a byte order mark and line ends.

    Raises:
        FileError: the file can't be read, or is not text.
    """
    return bare_password(read_text(path, MAX_PASSWORD_FILE, "name the file that holds the password"))


def bare_password(text: str) -> str:
    """Return a password without what editors and shells put around it: a byte order mark, line ends."""
    return text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").strip("\r\n")


@contextmanager
def new_files(*paths: Path) -> Iterator[list[IO[bytes]]]:
    """Write several new files so that, after a crash at any moment, each is whole or not there.

    Each is written beside its final place, flushed to the disk, and given its name when the block ends,
    in the order of ``paths``. Nothing is left of them when the block raises.

    Raises:
        FileError: one of them exists already, or can't be written.
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
                temporary = NamedTemporaryFile(dir=current.parent, prefix=f".{current.name}.", delete=False)  # noqa: SIM115
                stack.callback(_remove, temporary.name)
                streams.append(stack.enter_context(temporary))
            # Which of the files it is that can't be written, the system does not say.
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
        raise FileError.of(error, current, "choose a folder that can be written to, with room in it") from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FileError(str(folder), rule="is not a folder", todo="choose another folder") from error


def _link(name: str, path: Path) -> None:
    # A link, unlike a rename, fails where somebody has made the file in the meantime.
    try:
        os.link(name, path)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_new(name, path)


def _rename_new(name: str, path: Path) -> None:
    """Give a file its final name, unless that exists, where hard links do not (FAT, some network shares).

    Linux can rename so (https://man7.org/linux/man-pages/man2/rename.2.html, RENAME_NOREPLACE), which leaves no moment
    in which a crash could leave half of it. Where the file system or the system cannot, the name is claimed first with
    an empty file: only one of several runs can create it, and only that one goes on.

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
