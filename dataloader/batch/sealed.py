"""Sealed files: a header line, then a line for each card, all JSON; every change of a byte is detected.

The header's digest is the SHA-256 of the bytes of all later lines; its seal is that of its own other fields.
Manifests and reconciled files are sealed files.
"""

from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import orjson

from dataloader.common import FileError, InputError, Problem, explain, raise_if_short, require_file

MAX_LINE = 100_000
"""The longest line in bytes; longer ones are not read into memory."""
MAX_HEADER = 2 * MAX_LINE
"""The longest header in bytes; the header of a reconciled file contains that of the manifest."""
MAX_PROBLEMS = 1000
"""The most problems of one file to keep; more are counted."""
NO_DIGEST = f"sha256:{'0' * 64}"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of sealed file."""

    name: str
    """Its name in messages: ``manifest``."""
    format: str
    """The value of ``format`` in its header."""
    version: int
    schema: str
    """The schema of its header."""
    suffix: str
    writer: str
    """The command that writes it."""
    restore: str
    """What to do if a file is damaged."""

    def fields(self, where: str, line: bytes) -> dict[str, Any]:
        """Parse a header line.

        Args:
            where: the file and line, for errors.
            line: the line.

        Raises:
            InputError: it is not a header of this kind, or has another version.
        """
        if changed := _changed_by_editor(line):
            raise InputError(Problem(where, changed, self.restore))
        fields = parse(line)
        if not isinstance(fields, dict) or fields.get("format") != self.format:
            other = _other_kind(line, fields)
            rule = f"this is a {other}, not a {self.name}" if other else f"is not the header of a {self.name}"
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
        """Yield the lines of the cards; the last one only if the digest matches.

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
            FileError: it is not a regular file.
            OSError: it cannot be read.
        """
        require_file(path)
        return path.open("rb")


_BEGINNINGS = {
    b"PK\x03\x04": "workbook",
    b"\xd0\xcf\x11\xe0": "encrypted workbook",
    b"\x28\xb5\x2f\xfd": "backup",
    b"dataloader-backup": "backup",
    b"[target.": "target file",
}
"""The first bytes of files that are given by mistake."""
_FORMATS = {"dataloader-batch": "manifest", "dataloader-reconciled": "reconciled file", "dataloader-backup": "backup"}
"""Other kinds of file, by the value of ``format``."""


def _other_kind(line: bytes, fields: Any) -> str:
    """Return which other kind of file begins with a line; empty if that is not known."""
    named = fields.get("format") if isinstance(fields, dict) else None
    if isinstance(named, str) and named in _FORMATS:
        return _FORMATS[named]
    if isinstance(fields, dict) and {"uuid", "revoked"} <= fields.keys():
        return "list of revoked cards"
    return next((kind for beginning, kind in _BEGINNINGS.items() if line.startswith(beginning)), "")


def _changed_by_editor(line: bytes) -> str:
    """Return how a text editor, or a transfer as text, has changed a file; empty if it has not."""
    if line.startswith((BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE)):
        return "an editor has saved the file with a byte order mark"
    return "the line ends were changed, as a transfer in text mode does" if line.endswith(b"}\r\n") else ""


def parse(line: bytes) -> Any:
    """Parse a line of JSON; None if it is not valid."""
    try:
        return orjson.loads(line)
    except ValueError as error:
        raise_if_short(error)
        return None


def sealed(fields: dict[str, Any]) -> bytes:
    """Return a header line with its seal; the same header always gives the same line."""
    fields["seal"] = f"sha256:{sha256(orjson.dumps(fields)).hexdigest()}"
    return orjson.dumps(fields) + b"\n"


def write_sealed(stream: IO[bytes], header: Callable[[str], bytes], lines: Iterable[bytes]) -> str:
    """Write a sealed file; return its digest, which is added to the header at the end.

    Args:
        stream: the output; must be seekable.
        header: returns the header line for a digest.
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
