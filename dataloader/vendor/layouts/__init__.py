"""Layouts: how the cards of a batch are written for the tools that vendors use.

Each is a JSON5 file beside this module, named after the layout; a new file here is a new layout, and
``export --layout FILE`` takes one from elsewhere. The workbook (:mod:`dataloader.vendor.workbook`) is one more, which
has locks and instructions, too, and so is no such file.
"""

from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from dataloader.common import Problem, explain, layouts_dir, page, raise_problems, read_json5

__all__ = ["SUFFIX", "Layout", "LayoutColumn", "get_layout", "is_own", "layout_names", "layout_of", "uuid_titles"]

SCHEMA = "files/layout"
SUFFIX = ".json5"


@dataclass(frozen=True, slots=True)
class LayoutColumn:
    """A column of a layout."""

    title: str
    field: str | None
    """What of a card stands there: ``number``, ``uuid``, ``check``, ``snapset``, ``result`` or ``label``."""
    text: str
    """The text for every card, if the column has no field."""
    width: int
    """Characters; of meaning in a workbook only."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the cards of a batch are written."""

    name: str
    description: str
    suffix: str
    """What stands behind the batch's name in the name of the file."""
    columns: tuple[LayoutColumn, ...]
    delimiter: str | None = None
    """Between the cells of a line of CSV; None for a workbook."""
    sheet: str = ""
    """The name of a workbook's sheet."""

    @property
    def is_workbook(self) -> bool:
        """Whether it is a workbook; else it is CSV."""
        return self.delimiter is None


@cache
def layout_names() -> list[str]:
    """Return the names of the layouts that are files, sorted."""
    return sorted(path.stem for path in layouts_dir().glob(f"*{SUFFIX}"))


@cache
def get_layout(name: str) -> Layout:
    """Return a layout.

    Args:
        name: the name of one beside this module, or the path of a file of one's own, which ends in ``.json5``.

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
    return Layout(name=path.stem, columns=columns, **data)


def is_own(name: str) -> bool:
    """Return whether a layout is a file of one's own."""
    return name.endswith(SUFFIX)


def layout_of(path: Path) -> Layout | None:
    """Return the layout of an exported workbook, by its file's name; None for one that generate wrote."""
    layouts = map(get_layout, layout_names())
    return next((each for each in layouts if each.is_workbook and path.name.lower().endswith(each.suffix)), None)


def uuid_titles() -> list[str]:
    """Return the titles of the columns that hold the UUID, of all layouts: what comes back is found by them."""
    columns = chain.from_iterable(get_layout(name).columns for name in layout_names())
    return list(dict.fromkeys(column.title for column in columns if column.field == "uuid"))
