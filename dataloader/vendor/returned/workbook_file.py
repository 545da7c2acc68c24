"""Read workbooks (.xlsx), including encrypted ones, in a separate process with limits."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from dataloader.common import InputError, Problem, memory_limit, require_file
from dataloader.vendor.returned.grid import Grid, GridRow
from dataloader.vendor.returned.options import Reading

MEMORY = 700_000_000
"""Address space of the process in bytes, for any batch: an interpreter, and a sheet."""
MEMORY_A_CARD = 3_000
SIZE = 200_000_000
"""Bytes that a workbook may unpack to, for any batch."""
SIZE_A_CARD = 2_000
FILE_SIZES = 60
"""The memory, beyond :data:`MEMORY`, as a multiple of the workbook's size, if the batch is unknown."""
GRACE = 10
"""Seconds that the process has to exit by itself once it is no longer needed."""
_MODULE = "dataloader.vendor.returned.sandbox"


@contextmanager
def book_grids(path: Path, reading: Reading) -> Iterator[Iterator[Grid]]:
    """Open a workbook: a grid for each sheet.

    The process starts to read at once; its errors are raised when the grids are read.

    Raises:
        InputError: it is not a workbook, or not safe to open.
        OSError: it cannot be read.
    """
    memory = MEMORY + MEMORY_A_CARD * reading.cards
    options = {
        "rows": True,
        "password": reading.password,
        "memory": memory,
        "size": SIZE + SIZE_A_CARD * reading.cards,
    }
    with _opening(path, options) as stream:
        yield _grids(_records(path, stream, memory))


def check_safe(path: Path, password: str | None = None) -> None:
    """Check that a workbook can be opened with the memory allowed for its size.

    A file that is not a workbook is harmless and passes.

    Raises:
        FileError: it is not a regular file.
        InputError: it cannot be opened, or would expand too much.
        OSError: it cannot be read.
    """
    require_file(path)
    most = FILE_SIZES * path.stat().st_size
    options = {"rows": False, "password": password, "memory": MEMORY + most, "size": SIZE + most}
    with _opening(path, options) as stream:
        for record in _records(path, stream, MEMORY + most, only_unsafe=True):
            raise TypeError(record)


def _start(path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - the path is one argument, not an option
        [sys.executable, "-m", _MODULE, path.absolute()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Import this very package, wherever the command was called.
        cwd=Path(__file__).parents[3],
    )


@contextmanager
def _opening(path: Path, options: dict[str, Any]) -> Iterator[IO[bytes]]:
    """Start the process that opens a workbook, and yield its output."""
    with path.open("rb"):
        pass
    try:
        process = _start(path)
    except (MemoryError, BlockingIOError) as error:
        raise InputError(Problem(str(path), *_too_little(options["memory"]))) from error
    if process.stdin is None or process.stdout is None:  # pragma: no cover - they were asked for
        raise TypeError
    patience = GRACE
    try:
        with suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(orjson.dumps(options) + b"\n")
        yield process.stdout
    except KeyboardInterrupt:
        patience = 0
        raise
    finally:
        # It has exited, or does when nobody reads its output.
        process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        process.kill()
        process.wait()


def _grids(records: Iterator[Any]) -> Iterator[Grid]:
    """Yield the sheets in the process's output; read the rows of each before the next."""
    record = next(records, None)
    while record is not None:
        sheet = _Rows(records)
        yield Grid(
            record["sheet"],
            "row",
            iter(sheet),
            record["hidden"],
            record["about"],
            frozenset(record["hidden_columns"]),
            [(ref, text) for ref, text in record["comments"]],
            record["conditional"],
        )
        for _ in sheet:
            pass
        record = sheet.after


class _Rows:
    """The rows of one sheet."""

    def __init__(self, records: Iterator[Any]) -> None:
        self.after: dict[str, Any] | None = None
        """The record after the last row, once that was read."""
        self._records = records
        self._rows = self._all()

    def __iter__(self) -> Iterator[GridRow]:
        return self._rows

    def _all(self) -> Iterator[GridRow]:
        for record in self._records:
            if isinstance(record, dict):
                self.after = record
                return
            for number, hidden, unseen, looks, cells in record:
                if unseen or looks:
                    yield GridRow(number, cells, hidden, dict(unseen), dict(looks))
                else:
                    yield GridRow(number, cells, hidden)


def _records(path: Path, stream: IO[bytes], memory: int, *, only_unsafe: bool = False) -> Iterator[Any]:
    """Yield the process's output to its end.

    Raises:
        InputError: the process reported a problem, or did not finish.
    """
    is_short = False
    for line in stream:
        record = orjson.loads(line)
        if isinstance(record, dict) and "problem" in record:
            if only_unsafe and "unsafe" not in record:
                return
            raise InputError(Problem(str(path), *record["problem"]))
        if isinstance(record, dict) and "memory" in record:
            is_short = True
            break
        if isinstance(record, dict) and "end" in record:
            return
        yield record
    limit = memory_limit()
    if limit is not None and limit < memory:
        raise InputError(Problem(str(path), *_too_little(memory)))
    rule = "needs more memory than a workbook of its size should" if is_short else (
        "could not be opened within the memory and time that a workbook of its size takes"
    )  # fmt: skip
    raise InputError(Problem(str(path), rule, "look for cells far below or beside the cards, or have it saved as CSV"))


def _too_little(memory: int) -> tuple[str, str]:
    limit = memory_limit()
    most = f" to {limit // 1_000_000:,} MB" if limit is not None else ""
    return (
        f"memory is limited{most} (ulimit -v), and opening a workbook may need {memory // 1_000_000:,} MB",
        "raise the limit, or have it saved as CSV",
    )
