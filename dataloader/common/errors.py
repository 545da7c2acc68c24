"""Errors, and the exit code of each.

:class:`ExitCode` is the one table of exit codes; docs/reference.md shows it, and a test compares the two. Each error
class has one exit code. An error is one line: what is wrong (the file, row or document), the rule that was broken, and
what to do next.
"""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import ClassVar, Self

from dataloader.common.escaping import printable

SHOWN_PROBLEMS = 20
"""How many problems of one input are printed; the rest are counted."""

MAX_PART = 1_000
"""The longest what, rule or todo that is printed, in characters; names in an input may have any length."""


class ExitCode(IntEnum):
    """The exit codes, each with its meaning in one line."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        """Create a member whose value is the code, with its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    OK = 0, "success"
    INTERNAL = 1, "a bug in dataloader; run it again with --debug and report it"
    USAGE = 2, "the command line is wrong"
    INPUT = 3, "the input is wrong: a file, or a name or number that does not fit (batch, card, snapset, target)"
    FILE = 4, "a file cannot be read or written, or a file to be written already exists"
    UNREACHABLE = 5, "the server cannot be reached, or still failed after the last retry"
    CREDENTIALS = 6, "the server rejected the user name or password, or the user lacks permission"
    PROTOCOL = 7, "the server is not a CouchDB, the URL is wrong, or a database or view does not exist"
    PROTECTED = (
        8,
        "refused, to protect the target (sample data, seeded batch, missing or less protected environment)",
    )
    ATTENTION = (
        9,
        "something needs a decision: documents (outdated, foreign, conflict, failed), backups, security findings",
    )
    VERIFY = 10, "the server's answers do not match the batch, or a restored copy its backup"
    NODES = 11, "a node of the cluster is down; some copies may be missing until it is up"
    EMBEDDED = 12, "the embedded server cannot be installed or started"
    RETURNED = 13, "cards that came back from the vendor need attention (failed, missing, altered, duplicate, unknown)"
    BOUNDS = 14, "cards were served more slowly or less reliably than the given bounds (taps)"
    CHANGES = 15, "a load would change the target (plan --detailed-exitcode)"
    COMMAND = 16, "the command of taps --run failed, so the test does not count"
    INTERRUPTED = 130, "interrupted (Ctrl-C); run it again to continue"


def short(text: str, most: int) -> str:
    """Shorten text from outside for a message: one line, with control characters escaped.

    Args:
        text: the text.
        most: how many characters to keep.
    """
    line = printable(" ".join(text[: 4 * most].split()))
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[:most]}…"


class DataloaderError(Exception):
    """Base class of all errors that users may see.

    Args:
        what: what is wrong, naming the file and line, row, document or address.
        rule: the rule that was broken.
        todo: what the user can do next.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, what: str, *, rule: str | None = None, todo: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.rule = rule
        self.todo = todo

    def __str__(self) -> str:
        """Return the error as one line."""
        return _one_line(self.what, self.rule, self.todo)


def _one_line(what: str, rule: str | None, todo: str | None) -> str:
    """Return the error as one line, each part shortened if it is too long."""
    what, rule, todo = map(bounded, (what, rule, todo))
    return what + (f": {rule}" if rule else "") + (f" ({todo})" if todo else "")


def bounded(part: str | None) -> str:
    """Return a part of a message in one line, without its middle if it is too long."""
    text = printable(" ".join((part or "").split()))
    return text if len(text) <= MAX_PART else f"{text[: MAX_PART // 2]} … {text[-MAX_PART // 2 :]}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in an input: where it is, the rule it breaks, and what to do."""

    where: str
    rule: str
    todo: str | None = None

    def __str__(self) -> str:
        """Return the problem as one line."""
        return _one_line(self.where, self.rule, self.todo)


class InputError(DataloaderError):
    """An input file breaks rules; holds every problem found, not only the first."""

    exit_code = ExitCode.INPUT

    def __init__(self, problems: Problem | Sequence[Problem], *, total: int | None = None) -> None:
        found = [problems] if isinstance(problems, Problem) else list(problems)
        first = found[0]
        super().__init__(first.where, rule=first.rule, todo=first.todo)
        self.problems = found
        self.total = len(found) if total is None else total

    def __str__(self) -> str:
        """Return one line for each problem, and one that counts the problems not shown."""
        lines = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        if self.total > len(lines):
            lines.append(f"and {self.total - len(lines)} more problems")
        return "\n".join(lines)


class FileError(DataloaderError):
    """A file or folder cannot be read or written, or already exists."""

    exit_code = ExitCode.FILE

    @classmethod
    def of(cls, error: OSError, path: object, todo: str) -> "FileError":
        """Make the error for an OSError; suggest a similar file name if there is no such file."""
        if isinstance(error, FileNotFoundError):
            todo = _nearest(Path(str(path))) or todo
        rule = _OS_ERRORS.get(error.errno or 0) or (error.strerror or str(error)).lower()
        return cls(str(path), rule=rule, todo=todo)


_OS_ERRORS = {
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "this is a folder",
    errno.ENOTDIR: "not a folder",
}
"""The system's messages in our words."""


def _nearest(path: Path) -> str:
    """Return a question that suggests an existing file with a similar name; empty if there is none."""
    from dataloader.common.words import did_you_mean  # noqa: PLC0415 - needed for mistakes only

    try:
        known = [
            each.name
            for each in path.parent.iterdir()
            # A name with a suffix is that of a file, even if there is a folder dataloader beside dataloader.toml.
            if each.name != path.name and not each.name.startswith(".") and not (path.suffix and each.is_dir())
        ]
    except OSError:
        return ""
    # Names of files are alike for their suffixes alone.
    return did_you_mean(path.name, known, lambda name: str(path.parent / name), 0.8)


class UsageError(DataloaderError):
    """The command line, or the settings in the environment, are wrong."""

    exit_code = ExitCode.USAGE


class UnreachableError(DataloaderError):
    """The server cannot be reached, or kept failing until the retries were used up."""

    exit_code = ExitCode.UNREACHABLE


class CredentialsError(DataloaderError):
    """The server rejects the credentials, or the user lacks permission."""

    exit_code = ExitCode.CREDENTIALS


class ProtocolError(DataloaderError):
    """The server is not a CouchDB, or its reply is not what CouchDB sends."""

    exit_code = ExitCode.PROTOCOL


class TooLargeError(ProtocolError):
    """The server rejects a request as too large (413)."""


class ProtectedError(DataloaderError):
    """The operation is refused to protect the target."""

    exit_code = ExitCode.PROTECTED


class AttentionError(DataloaderError):
    """Documents need a decision, or the server rejected them."""

    exit_code = ExitCode.ATTENTION


class VerifyError(DataloaderError):
    """The server's answers do not match the batch."""

    exit_code = ExitCode.VERIFY


class NodesError(DataloaderError):
    """A node of the cluster is not connected."""

    exit_code = ExitCode.NODES


class EmbeddedServerError(DataloaderError):
    """The embedded server cannot be installed or started."""

    exit_code = ExitCode.EMBEDDED


def tell_how_far(error: DataloaderError, done: int, total: int, what: str, *, has_written: bool = False) -> None:
    """Add to an error how far the run got, and whether to run it again.

    Args:
        error: what stopped the run.
        done: how many were finished.
        total: out of how many.
        what: what is counted, such as ``documents``.
        has_written: whether something may have been written although nothing is finished. If this is false and ``done``
            is 0, the error is not changed.
    """
    if not done and (not has_written or " again" in (error.todo or "")):
        return
    parts = [error.todo, f"stopped after {done:,} of {total:,} {what}" if done else "documents already written stay"]
    if "run it again" not in (error.todo or ""):
        passes = isinstance(error, UnreachableError | NodesError)
        parts.append("run it again to continue" if passes else "once that is fixed, run it again to continue")
    error.todo = "; ".join(filter(None, parts))


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise one error that lists all problems; do nothing if there are none.

    Raises:
        InputError: with every problem.
    """
    found = list(problems)
    if found:
        raise InputError(found)
