"""Returned files that are workbooks (.xlsx), encrypted ones too: opened by a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from dataloader.common import InputError, Problem, require_file, short
from dataloader.vendor.returned.options import Reading
from dataloader.vendor.returned.table import ReturnedRow, ReturnedTable

MEMORY = 700_000_000
"""Bytes of address space that the process may take, whatever the batch: an interpreter, and a sheet."""
MEMORY_A_CARD = 3_000
SIZE = 200_000_000
"""Bytes that a workbook may unpack to, whatever the batch."""
SIZE_A_CARD = 2_000
GRACE = 10
"""Seconds that the process is given to come to its end by itself, once nothing more is wanted of it."""
MAX_SHEET = 31
"""Characters of a sheet's name, as spreadsheet programs have it."""
_MODULE = "dataloader.vendor.returned.sandbox"


FILE_SIZES = 60
"""How many times the size of a workbook it may take of memory, beyond :data:`MEMORY`, where the batch is not known."""


@contextmanager
def book_sources(path: Path, place: str, reading: Reading) -> Iterator[Iterator[ReturnedTable]]:
    """Read a workbook: a source for each sheet that holds a table of cards.

    The process starts to read at once; what it finds wrong is told when the sources are asked for.

    Raises:
        InputError: it is no workbook, holds no such table, or is not safe to open.
        OSError: it can't be read.
    """
    options = {
        "columns": dict(reading.columns),
        "uuid_titles": list(reading.uuid_titles),
        "password": reading.password,
        "memory": MEMORY + MEMORY_A_CARD * reading.cards,
        "size": SIZE + SIZE_A_CARD * reading.cards,
    }
    with _opening(path, options) as stream:
        yield _sources(path, place, stream)


def check_safe(path: Path, password: str | None = None) -> None:
    """See that a workbook can be opened in the memory that one of its size takes.

    A file that is no workbook is none that does harm, and passes.

    Raises:
        FileError: it is no regular file.
        InputError: it can't be opened so, or would expand to anything.
        OSError: it can't be read.
    """
    require_file(path)
    most = FILE_SIZES * path.stat().st_size
    options = {"columns": None, "password": password, "memory": MEMORY + most, "size": SIZE + most}
    with _opening(path, options) as stream:
        for record in _records(path, stream, only_unsafe=True):
            raise TypeError(record)


@contextmanager
def _opening(path: Path, options: dict[str, Any]) -> Iterator[IO[bytes]]:
    """Start the process that opens a workbook, and give what it writes."""
    with path.open("rb"):
        pass
    process = subprocess.Popen(  # noqa: S603 - the path is one argument, and no option
        [sys.executable, "-m", _MODULE, path.absolute()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # Where this very package is found, wherever the command was called.
        cwd=Path(__file__).parents[3],
    )
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
        # It has come to its end, or does when nobody reads what it writes.
        process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        process.kill()
        process.wait()


def _sources(path: Path, place: str, stream: IO[bytes]) -> Iterator[ReturnedTable]:
    """Yield the tables that the process tells of, the rows of each to be read before the next."""
    records = _records(path, stream)
    tables = 0
    record = next(records, None)
    while isinstance(record, dict):
        tables += 1
        pending: list[Any] = []

        def rows(pending: list[Any] = pending) -> Iterator[ReturnedRow]:
            for each in records:
                if isinstance(each, dict):
                    pending.append(each)
                    return
                yield from each

        source = ReturnedTable(
            place if tables == 1 else f"{place}, sheet {short(record['sheet'], MAX_SHEET)}",
            "row",
            frozenset(record["keys"]),
            record["fills_result"],
            record["fills_chip"],
            rows(),
            record["about"],
        )
        yield source
        for _ in source.rows:
            pass
        record = pending[0] if pending else None


def _records(path: Path, stream: IO[bytes], *, only_unsafe: bool = False) -> Iterator[Any]:
    """Yield what the process writes, up to its end.

    Raises:
        InputError: the process found something wrong, or did not come to its end.
    """
    for line in stream:
        record = orjson.loads(line)
        if isinstance(record, dict) and "problem" in record:
            if only_unsafe and "unsafe" not in record:
                return
            raise InputError(Problem(str(path), *record["problem"]))
        if isinstance(record, dict) and "end" in record:
            return
        yield record
    raise InputError(
        Problem(
            str(path),
            "could not be opened in the memory and time that a workbook like it takes",
            "look for cells far below or beside the cards, or have it saved as CSV",
        )
    )
