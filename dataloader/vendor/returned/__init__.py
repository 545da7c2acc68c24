"""Read returned files as rows of cells, with columns recognized by their titles.

Nothing in a returned file is trusted: it comes by mail from another machine.
"""

from dataloader.vendor.returned.card_list import read_named
from dataloader.vendor.returned.columns import KEYS, UUID_LIKE
from dataloader.vendor.returned.grid import Cell, text_of
from dataloader.vendor.returned.opening import open_returned
from dataloader.vendor.returned.options import Reading
from dataloader.vendor.returned.table import MAX_CELL, SPARE, ReturnedRow, ReturnedTable, unread_columns
from dataloader.vendor.returned.words import is_failure, says_failed, says_not_encoded
from dataloader.vendor.returned.workbook_file import check_safe

__all__ = [
    "KEYS",
    "MAX_CELL",
    "SPARE",
    "UUID_LIKE",
    "Cell",
    "Reading",
    "ReturnedRow",
    "ReturnedTable",
    "check_safe",
    "is_failure",
    "open_returned",
    "read_named",
    "says_failed",
    "says_not_encoded",
    "text_of",
    "unread_columns",
]
