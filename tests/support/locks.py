"""File locks as network shares have them."""

import errno
import fcntl
import os
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import IO

import pytest

Flock = Callable[[int | IO[bytes], int], None]
"""``fcntl.flock``."""


def flock_of_nfs(file: int | IO[bytes], how: int) -> None:
    """Lock as NFS does: exclusively only what is open for writing (https://man7.org/linux/man-pages/man2/flock.2.html).

    Raises:
        OSError: the file can't be locked.
    """
    if how & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    fcntl.flock(file, how)


def without_locks(file: int | IO[bytes], how: int) -> None:
    """Refuse to lock, like a share without a lock manager.

    Raises:
        OSError: always.
    """
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def use_flock(monkeypatch: pytest.MonkeyPatch, module: ModuleType, flock: Flock) -> None:
    """Replace the locks that a module uses."""
    names = {name: getattr(fcntl, name) for name in ("LOCK_EX", "LOCK_SH", "LOCK_NB")}
    monkeypatch.setattr(module, "fcntl", SimpleNamespace(flock=flock, **names))
