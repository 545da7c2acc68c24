"""Export a batch in the layout of a vendor's tool."""

import csv
from collections.abc import Callable, Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape

from dataloader.batch import BatchHeader, Card, Manifest
from dataloader.common import InputError, Problem, UsageError, explain, is_valid, new_files, raise_problems
from dataloader.vendor import (
    SPARE,
    WORKBOOK_SUFFIX,
    check_value,
    read_sheets,
    write_rows,
    write_workbook,
)
from dataloader.vendor.layouts import Layout, get_layout, layout_names

STANDARD = "standard"
"""The layout of the workbook that generate writes."""
UUID_SCHEMA = "common/uuid"

_FIELDS: dict[str, Callable[[Card, bool], str]] = {
    "number": lambda card, _: str(card.number),
    "uuid": lambda card, _: card.uuid,
    "check": lambda card, _: check_value(card.uuid),
    "snapset": lambda card, _: card.snapset,
    "result": lambda _, spare: SPARE if spare else "",
    "label": lambda card, spare: f"{card.number} {SPARE}" if spare else str(card.number),
}


def all_layouts() -> list[str]:
    """Return the names of all layouts, the standard one first."""
    return [STANDARD, *layout_names()]


def export_path(header: BatchHeader, layout: str, out: Path) -> Path:
    """Return the path of the file that a batch is exported to.

    Args:
        header: the batch.
        layout: the layout's name.
        out: a folder, which may not exist yet; or a file, recognized by its suffix.

    Raises:
        UsageError: the suffix does not match the layout.
    """
    suffix = WORKBOOK_SUFFIX if layout == STANDARD else get_layout(layout).suffix
    kind = suffix[suffix.rindex(".") :]
    if out.is_dir() or out.suffix.lower() not in {".csv", ".xlsx"}:
        return out / f"{header.name}{suffix}"
    if out.suffix.lower() != kind:
        raise UsageError(
            f"--out {out}", rule=f"layout {layout} is a {kind} file", todo="use this suffix, or name a folder"
        )
    return out


def export(
    manifest: Manifest,
    layout: str,
    path: Path,
    *,
    password: str | None = None,
    on_card: Callable[[], None] = lambda: None,
) -> None:
    """Write a batch in a layout; unless encrypted, the same batch gives the same bytes.

    Args:
        manifest: the batch.
        layout: the layout's name.
        path: the file to write; see :func:`export_path`.
        password: encrypts a workbook; None for a plain one.
        on_card: called for each written card.

    Raises:
        UsageError: the layout can't be encrypted.
        FileError: the file already exists, or can't be written; or the manifest can't be read.
        InputError: the manifest has changed since it was checked.
    """
    chosen = None if layout == STANDARD else get_layout(layout)
    if password is not None and chosen is not None and not chosen.is_workbook:
        raise UsageError(
            "--password-file", rule=f"layout {layout} is text, which can't be encrypted", todo="choose a workbook"
        )

    def counted() -> Iterator[Card]:
        for card in manifest.cards():
            on_card()
            yield card

    with new_files(path) as (stream,):
        if chosen is None:
            write_workbook(stream, manifest.header, counted(), password)
        elif chosen.is_workbook:
            _write_sheet(stream, chosen, manifest.header, counted(), password)
        else:
            _write_csv(stream, chosen, manifest.header, counted())


def check_export(path: Path, layout: Layout, password: str | None = None) -> int:
    """Check an exported workbook: its titles, and that each row has a unique UUID.

    Args:
        path: the workbook.
        layout: its layout.
        password: its password; ignored if it is not encrypted.

    Returns:
        The number of cards.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    todo = "export it again"
    [[heads, *rows]] = read_sheets(path, (layout.sheet,), password, todo)
    titles = [column.title for column in layout.columns]
    if [str(cell) for cell in heads[: len(titles)]] != titles:
        raise InputError(Problem(f"{path}, row 1", f"the columns are not {', '.join(titles)}", todo))
    at = next(index for index, column in enumerate(layout.columns) if column.field == "uuid")
    valid = is_valid(UUID_SCHEMA)
    seen: dict[str, int] = {}
    problems: list[Problem] = []
    for number, row in enumerate(rows, 2):
        uuid = str(row[at])
        if uuid in seen:
            problems.append(Problem(f"{path}, row {number}", f"UUID {uuid} is also in row {seen[uuid]}", todo))
        if not valid(uuid):
            problems += [Problem(f"{path}, row {number}", rule, todo) for rule in explain(UUID_SCHEMA, uuid)]
        seen[uuid] = number
    raise_problems(problems)
    return len(rows)


def _rows(layout: Layout, header: BatchHeader, cards: Iterable[Card]) -> Iterator[list[str]]:
    spares = header.spare_runs
    columns = [(None if column.field is None else _FIELDS[column.field], column.text) for column in layout.columns]
    for card in cards:
        is_spare = any(card.number in run for run in spares)
        yield [constant if of_card is None else of_card(card, is_spare) for of_card, constant in columns]


def _write_csv(stream: IO[bytes], layout: Layout, header: BatchHeader, cards: Iterable[Card]) -> None:
    lines = TextIOWrapper(stream, "utf-8", newline="", write_through=False)
    # RFC 4180: lines end with CRLF, and cells are quoted if necessary.
    writer = csv.writer(lines, delimiter=layout.delimiter or ",", lineterminator="\r\n")
    writer.writerow([column.title for column in layout.columns])
    writer.writerows(_rows(layout, header, cards))
    lines.detach()


def _write_sheet(
    stream: IO[bytes], layout: Layout, header: BatchHeader, cards: Iterable[Card], password: str | None
) -> None:
    from dataloader.vendor import plain_template  # noqa: PLC0415 - importing openpyxl takes long

    template = plain_template(header, layout.sheet, [(column.title, column.width) for column in layout.columns])
    rows = (tuple(map(escape, row)) for row in _rows(layout, header, cards))
    write_rows(stream, template, rows, header.cards, password)
