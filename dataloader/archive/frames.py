"""Frames: the pieces of a backup file, each compressed, and encrypted if there is a password.

Without a password, the file is a sequence of zstd frames (RFC 8878), so ``zstd -dc FILE`` shows its content. With one,
each frame is encrypted and preceded by its length in four bytes, big-endian.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zstandard

from dataloader.archive.encryption import MAGIC, Lock
from dataloader.common import InputError, Problem

MAX_FRAME = 520_000_000
"""The largest frame in bytes, decompressed: a block that ends with the largest document that is read."""
MAX_HEADER = 1_000_000
"""The largest header of a backup in bytes, decompressed."""
_PART = 1_000
"""Bytes to decompress at once: at most 40 MB, since a block of 128 KB takes at least three bytes."""
_LEVEL = 3
_MAX_LINE = 1_000
_LENGTH = 4
USE_OTHER = "use another copy of this backup, or an older backup"


class FrameWriter:
    """Writes frames to a stream.

    Args:
        stream: the output.
        lock: encrypts them, if given.
        start: the number of the first frame; 0 at the beginning of the file.
    """

    def __init__(self, stream: IO[bytes], lock: Lock | None = None, start: int = 0) -> None:
        self._stream = stream
        self._lock = lock
        self._number = start
        self._compressor = zstandard.ZstdCompressor(_LEVEL)
        if lock is not None and start == 0:
            stream.write(lock.line)

    def write(self, content: bytes) -> None:
        """Write the next frame."""
        frame = self._compressor.compress(content)
        if self._lock is not None:
            frame = self._lock.seal(self._number, frame)
            self._stream.write(len(frame).to_bytes(_LENGTH))
        self._stream.write(frame)
        self._number += 1


def read_frames(path: Path, stream: IO[bytes], password: str | None, *, most_first: int = MAX_FRAME) -> Iterator[bytes]:
    """Yield the contents of a file's frames.

    Args:
        path: the file, for errors.
        stream: the file, at its start.
        password: decrypts them.
        most_first: the largest first frame in bytes, decompressed.

    Raises:
        InputError: a frame is damaged or truncated, or the password is missing or wrong.
    """
    start = stream.read(len(MAGIC))
    if start != MAGIC:
        yield from _plain(path, stream, start, most_first)
        return
    if password is None:
        raise InputError(Problem(str(path), "is encrypted", "give the file with its password: --password-file"))
    line = start + stream.readline(_MAX_LINE)
    try:
        lock = Lock.read(line, password)
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(Problem(f"{path}, first line", "is damaged", USE_OTHER)) from error
    yield from _encrypted(path, stream, lock)


def _plain(path: Path, stream: IO[bytes], start: bytes, most_first: int) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor()
    data = start
    number = 0
    while data := data or stream.read(_PART):
        one = decompressor.decompressobj()
        parts, size = [], 0
        try:
            while True:
                parts.append(one.decompress(data))
                size += len(parts[-1])
                if size > (MAX_FRAME if number else most_first):
                    raise damaged(path, number, f"is larger than {MAX_FRAME:,} bytes") if number else not_a_backup(path)
                if one.eof:
                    data = one.unused_data
                    break
                data = stream.read(_PART)
                if not data:
                    raise damaged(path, number, "is truncated")
        except zstandard.ZstdError as error:
            raise (damaged(path, number, "is damaged") if number else not_a_backup(path)) from error
        yield b"".join(parts)
        number += 1


def _encrypted(path: Path, stream: IO[bytes], lock: Lock) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor()
    number = 0
    while length := stream.read(_LENGTH):
        sealed = stream.read(min(int.from_bytes(length), MAX_FRAME))
        if len(length) < _LENGTH or len(sealed) < int.from_bytes(length):
            raise damaged(path, number, "is truncated")
        frame = lock.open(number, sealed)
        if frame is None:
            rule = "is damaged, or in the wrong place"
            if number == 0:
                raise InputError(
                    Problem(
                        str(path), "cannot be decrypted", "check --password-file; if it is right, the file is damaged"
                    )
                )
            raise damaged(path, number, rule)
        try:
            yield decompressor.decompress(frame, max_output_size=MAX_FRAME)
        except zstandard.ZstdError as error:
            raise damaged(path, number, "is damaged") from error
        number += 1


def damaged(path: Path, number: int, rule: str) -> InputError:
    """Return the error for a damaged block; block 0 is the header."""
    where = f"{path}, block {number}" if number else f"{path}, header"
    return InputError(Problem(where, rule, USE_OTHER))


def not_a_backup(path: Path) -> InputError:
    """Return the error for a file of another kind."""
    return InputError(Problem(str(path), "is not a backup of dataloader", "name a file that `dataloader backup` wrote"))
