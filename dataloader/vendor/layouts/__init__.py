"""Layouts: the formats in which cards are exported for vendors' tools.

Each is a JSON5 file in this folder, named after the layout; adding a file adds a layout, and ``export --layout FILE``
uses one from elsewhere. The workbook (:mod:`dataloader.vendor.workbook`) is another layout, which has protection and
instructions, too, and so is no such file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from dataloader.common import InputError, Problem, explain, layouts_dir, page, raise_problems, read_json5

__all__ = ["Layout", "get_layout", "is_own", "layout_names", "layout_of", "uuid_titles"]

SCHEMA = "files/layout"
SUFFIX = ".json5"


@dataclass(frozen=True, slots=True)
class LayoutColumn:
    """A column of a layout."""

    title: str
    field: str | None
    """The field of the card: ``number``, ``uuid``, ``check``, ``snapset``, ``result`` or ``label``."""
    text: str
    """The text for every card, if the column has no field."""
    width: int
    """The width in characters; only used in workbooks."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The format in which cards are exported."""

    name: str
    description: str
    suffix: str
    """The part of the file name after the batch's name."""
    columns: tuple[LayoutColumn, ...]
    delimiter: str | None = None
    """The delimiter of CSV; None for a workbook."""
    sheet: str = ""
    """The name of a workbook's sheet."""

    @property
    def is_workbook(self) -> bool:
        """Whether it is a workbook; otherwise it is CSV."""
        return self.delimiter is None


@cache
def layout_names() -> list[str]:
    """Return the names of the layouts in this folder, sorted."""
    return sorted(path.stem for path in layouts_dir().glob(f"*{SUFFIX}"))


@cache
def get_layout(name: str) -> Layout:
    """Return a layout.

    Args:
        name: the name of a layout in this folder, or the path of a file, which ends in ``.json5``.

    Raises:
        InputError: its file breaks a rule of the schema.
        FileError: there is no such file.
    """
    path = Path(name) if is_own(name) else layouts_dir() / f"{name}{SUFFIX}"
    data: dict[str, Any] = read_json5(path)
    raise_problems(Problem(str(path), rule, f"see {page('own-layout.md')}") for rule in explain(SCHEMA, data))
    columns = tuple(
        LayoutColumn(each["title"], each.get("field"), each.get("text", ""), each.get("width", 16))
        for each in data.pop("columns")
    )
    titles = [column.title for column in columns]
    if is_own(name) and (
        rule := _misleads(titles, next(at for at, column in enumerate(columns) if column.field == "uuid"))
    ):
        raise InputError(Problem(str(path), f"columns: {rule}", "rename it, so that a returned file can be read"))
    return Layout(name=path.stem, columns=columns, **data)


def _misleads(titles: Sequence[str], uuid: int) -> str:
    """Return why a file with these titles would be misread when it comes back; empty if it would not."""
    from dataloader.vendor.returned.columns import find_columns  # noqa: PLC0415 - rarely needed

    found = find_columns([titles], {}, [titles[uuid]])
    if found is None or found.at["uuid"] == uuid:
        return found.problem[0] if found and found.problem else ""
    return f"“{titles[found.at['uuid']]}” would be read as the UUID, not “{titles[uuid]}”"


def is_own(name: str) -> bool:
    """Return whether a layout is a user's own file."""
    return name.endswith(SUFFIX)


def layout_of(path: Path) -> Layout | None:
    """Return the layout of an exported workbook by its file name; None for one that generate wrote."""
    layouts = map(get_layout, layout_names())
    return next((each for each in layouts if each.is_workbook and path.name.lower().endswith(each.suffix)), None)


def uuid_titles() -> list[str]:
    """Return the titles of the UUID columns of all layouts, by which returned files are recognized."""
    columns = chain.from_iterable(get_layout(name).columns for name in layout_names())
    return list(dict.fromkeys(column.title for column in columns if column.field == "uuid"))
