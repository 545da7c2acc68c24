"""Files for and from the card vendor: workbooks, layouts, chips, returned files.

What reads and writes workbooks is imported when it is first used: the process that opens a returned file needs none of
it, and importing it takes longer than reading the file.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import dataloader.vendor._openpyxl  # noqa: F401 - configures openpyxl before it is imported
from dataloader.vendor.check_value import check_value
from dataloader.vendor.chip_uid import (
    BLANK,
    MAKER,
    ByteOrder,
    CellKind,
    ChipUid,
    first_bytes,
    looks_like_chip,
    other_readings,
    plain_text,
    read_chip,
    reverse,
)
from dataloader.vendor.chips import CHIPS, Fit, check_chip
from dataloader.vendor.sheets import COLUMNS, SPARE

if TYPE_CHECKING:
    from dataloader.vendor.encryption import read_password
    from dataloader.vendor.templates import plain_template
    from dataloader.vendor.workbook import (
        BATCH_DIGEST_ROW,
        ROUND_ROW,
        WORKBOOK_SUFFIX,
        Again,
        Why,
        check_workbook,
        is_returned,
        read_batch,
        write_workbook,
    )
    from dataloader.vendor.xlsx import read_sheets, write_rows

__all__ = [
    "BATCH_DIGEST_ROW",
    "BLANK",
    "CHIPS",
    "COLUMNS",
    "MAKER",
    "ROUND_ROW",
    "SPARE",
    "WORKBOOK_SUFFIX",
    "Again",
    "ByteOrder",
    "CellKind",
    "ChipUid",
    "Fit",
    "Why",
    "check_chip",
    "check_value",
    "check_workbook",
    "first_bytes",
    "is_returned",
    "looks_like_chip",
    "other_readings",
    "plain_template",
    "plain_text",
    "read_batch",
    "read_chip",
    "read_password",
    "read_sheets",
    "reverse",
    "write_rows",
    "write_workbook",
]

_NAMES = {
    "encryption": ("read_password",),
    "templates": ("plain_template",),
    "workbook": (
        "BATCH_DIGEST_ROW",
        "ROUND_ROW",
        "WORKBOOK_SUFFIX",
        "Again",
        "Why",
        "check_workbook",
        "is_returned",
        "read_batch",
        "write_workbook",
    ),
    "xlsx": ("read_sheets", "write_rows"),
}
"""The names of each module that is imported when needed."""
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import the module that defines a name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
