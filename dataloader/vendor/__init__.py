"""Files for and from the card vendor: workbooks, layouts, chips, returned files."""

from dataloader.vendor.check_value import check_value
from dataloader.vendor.chip_uid import BLANK, MAKER, ByteOrder, CellKind, ChipUid, plain_text, read_chip, reverse
from dataloader.vendor.chips import CHIPS, Fit, check_chip
from dataloader.vendor.encryption import read_password
from dataloader.vendor.sheets import COLUMNS, SPARE
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
    "is_returned",
    "plain_text",
    "read_batch",
    "read_chip",
    "read_password",
    "read_sheets",
    "reverse",
    "write_rows",
    "write_workbook",
]
