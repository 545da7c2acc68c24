"""Sealed files: a header line, then a line for each card, all JSON, so that no byte can change unnoticed.

The header's digest is the SHA-256 of the bytes of all lines after it; its seal is that of its own other fields.
Manifests and reconciled files are sealed files.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import orjson

from dataloader.common import FileError, InputError, Problem, explain, raise_if_short, require_file

MAX_LINE = 100_000
"""Bytes; a longer line is no line of ours, and is not read into memory."""
MAX_HEADER = 2 * MAX_LINE
"""Bytes; the header of a reconciled file holds that of the manifest."""
MAX_PROBLEMS = 1000
"""Problems of one file that are kept; more are counted."""
NO_DIGEST = f"sha256:{'0' * 64}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of sealed file."""

    name: str
    """As messages call it: ``manifest``."""
    format: str
    """The member ``format`` of its header."""
    version: int
    schema: str
    """The schema of its header."""
    suffix: str
    writer: str
    """The command that writes it."""
    restore: str
    """What to do about a file that is damaged."""

    def fields(self, where: str, line: bytes) -> dict[str, Any]:
        """Return the members of a header line.

        Args:
            where: where the line is, for errors.
            line: the line.

        Raises:
            InputError: it is no header of this kind, or of another version.
        """
        fields = parse(line)
        if not isinstance(fields, dict) or fields.get("format") != self.format:
            rule = f"is not the header of a {self.name}"
            raise InputError(Problem(where, rule, f"give a NAME{self.suffix} written by {self.writer}"))
        if fields.get("version") != self.version:
            rule = f"has format version {fields.get('version')!r}; this program reads version {self.version}"
            raise InputError(Problem(where, rule, "use the program that wrote it, or a newer one"))
        broken = explain(self.schema, fields)
        if broken:
            raise InputError([Problem(where, rule, self.restore) for rule in broken])
        return fields

    def unreadable(self, error: OSError, path: Path) -> FileError:
        """Return the error for a file that cannot be read."""
        return FileError.of(error, path, f"give the path of a {self.name}, NAME{self.suffix}, that can be read")

    def changed(self, path: Path) -> InputError:
        """Return the error for a file that changed after it was checked."""
        return InputError(Problem(str(path), "has changed since it was checked", self.restore))

    def cards(self, path: Path, digest: str) -> Iterator[bytes]:
        """Yield the lines of the cards; the last only if they are those of the digest.

        Raises:
            FileError: the file cannot be read.
            InputError: it has changed since it was checked.
        """
        hashed = sha256()
        try:
            with path.open("rb") as stream:
                stream.readline(MAX_HEADER)
                while line := stream.readline(MAX_LINE):
                    hashed.update(line)
                    yield line
        except OSError as error:
            raise self.unreadable(error, path) from error
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise self.changed(path)

    def open(self, path: Path) -> IO[bytes]:
        """Open a file to check it.

        Raises:
            FileError: it is no regular file.
            OSError: it cannot be read.
        """
        require_file(path)
        return path.open("rb")


def parse(line: bytes) -> Any:
    """Return the JSON of a line, None if it is none."""
    try:
        return orjson.loads(line)
    except ValueError as error:
        raise_if_short(error)
        return None


def sealed(fields: dict[str, Any]) -> bytes:
    """Return a header line with its seal; one header has one rendering only."""
    fields["seal"] = f"sha256:{sha256(orjson.dumps(fields)).hexdigest()}"
    return orjson.dumps(fields) + b"\n"


def write_sealed(stream: IO[bytes], header: Callable[[str], bytes], lines: Iterable[bytes]) -> str:
    """Write a sealed file; return its digest, which goes into the header when the lines are through.

    Args:
        stream: where to; it must be able to seek.
        header: makes the header line of a digest.
        lines: the lines of the cards.
    """
    start = stream.tell()
    stream.write(header(NO_DIGEST))
    hashed = sha256()
    for line in lines:
        hashed.update(line)
        stream.write(line)
    end = stream.tell()
    digest = f"sha256:{hashed.hexdigest()}"
    stream.seek(start)
    stream.write(header(digest))
    stream.seek(end)
    return digest
