"""Read returned files as rows of cells, with columns recognized by their titles.

Nothing in a returned file is trusted: it comes by mail from another machine.

Modules are imported when they are first used: the process that opens a workbook needs only a few of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataloader.vendor.returned.card_list import read_named
    from dataloader.vendor.returned.columns import KEYS, UUID_LIKE
    from dataloader.vendor.returned.grid import Cell, text_of, unlike_rows
    from dataloader.vendor.returned.opening import open_returned
    from dataloader.vendor.returned.options import Reading
    from dataloader.vendor.returned.table import (
        ReturnedRow,
        ReturnedTable,
        check_named,
        mark_of_chip,
        mark_of_number,
        unread_columns,
    )
    from dataloader.vendor.returned.words import (
        is_count,
        is_failure,
        is_neutral,
        is_remark,
        may_sort,
        offers_choice,
        reports_failure,
        result_word,
        says_failed,
        says_no,
        says_not_encoded,
        says_nothing,
        says_result,
    )
    from dataloader.vendor.returned.workbook_file import check_safe

__all__ = [
    "KEYS",
    "UUID_LIKE",
    "Cell",
    "Reading",
    "ReturnedRow",
    "ReturnedTable",
    "check_named",
    "check_safe",
    "is_count",
    "is_failure",
    "is_neutral",
    "is_remark",
    "mark_of_chip",
    "mark_of_number",
    "may_sort",
    "offers_choice",
    "open_returned",
    "read_named",
    "reports_failure",
    "result_word",
    "says_failed",
    "says_no",
    "says_not_encoded",
    "says_nothing",
    "says_result",
    "text_of",
    "unlike_rows",
    "unread_columns",
]

_NAMES = {
    "card_list": ("read_named",),
    "columns": ("KEYS", "UUID_LIKE"),
    "grid": ("Cell", "text_of", "unlike_rows"),
    "opening": ("open_returned",),
    "options": ("Reading",),
    "table": ("ReturnedRow", "ReturnedTable", "check_named", "mark_of_chip", "mark_of_number", "unread_columns"),
    "words": (
        "is_count",
        "is_failure",
        "is_neutral",
        "is_remark",
        "may_sort",
        "offers_choice",
        "reports_failure",
        "result_word",
        "says_failed",
        "says_no",
        "says_not_encoded",
        "says_nothing",
        "says_result",
    ),
    "workbook_file": ("check_safe",),
}
"""The names of each module that is imported when needed."""
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module that defines a name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
