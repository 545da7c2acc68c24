"""Files that are written whole or not at all, and never over another."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from dataloader.errors import FileError

MODE = 0o600
"""What is minted is a secret of a kind: whoever has a UUID has that person's preferences."""


@contextmanager
def new_files(*paths: Path) -> Iterator[list[IO[bytes]]]:
    """Write several new files so that, after a crash at any moment, each is whole or not there.

    Each is written beside its final place, flushed to the disk, and given its name when the block ends,
    in the order of ``paths``. Nothing is left of them when the block raises.

    Raises:
        FileError: one of them exists already, or can't be written.
    """
    for path in paths:
        if path.exists() or path.is_symlink():
            raise _exists(path)
    with ExitStack() as stack:
        streams: list[IO[bytes]] = []
        current = paths[0]
        try:
            for current in paths:
                current.parent.mkdir(parents=True, exist_ok=True)
                temporary = NamedTemporaryFile(dir=current.parent, prefix=f".{current.name}.", delete=False)  # noqa: SIM115
                stack.callback(_remove, temporary.name)
                streams.append(stack.enter_context(temporary))
            yield list(streams)
            for current, stream in zip(paths, streams, strict=True):  # noqa: B007 - as above
                stream.flush()
                os.fchmod(stream.fileno(), MODE)
                os.fsync(stream.fileno())
            for current, stream in zip(paths, streams, strict=True):
                # A link, unlike a rename, fails where somebody has made the file in the meantime.
                os.link(stream.name, current)
                _sync_folder(current.parent)
        except FileExistsError as error:
            raise _exists(current) from error
        except OSError as error:
            raise FileError.of(error, current, "choose a folder that can be written to, with room in it") from error


def _exists(path: Path) -> FileError:
    return FileError(
        str(path), rule="stands already and is never overwritten", todo="choose another name or folder, or move it away"
    )


def _remove(name: str) -> None:
    Path(name).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
