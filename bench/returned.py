"""A returned file for the benchmark, and reconciling it within this process."""

from pathlib import Path

import openpyxl

from dataloader.batch import Manifest
from dataloader.operations.reconcile import ReturnedFile, reconcile, results_in, write_results
from dataloader.vendor import COLUMNS, check_value
from dataloader.vendor.returned import Reading


def write_returned(manifest: Manifest, path: Path) -> None:
    """Write a workbook as another program would, with every card encoded."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Cards")
    sheet.append([column.title for column in COLUMNS])
    for card in manifest.cards():
        uid = f"04{card.number:012X}"
        sheet.append([str(card.number), card.uuid, check_value(card.uuid), card.snapset, uid, "ok", ""])
    book.save(path)


def reconcile_and_write(manifest: Manifest, path: Path) -> None:
    """Read a returned file, judge every card, and write the reconciled file beside it."""
    found = reconcile(manifest, [ReturnedFile(path)], Reading(cards=manifest.header.cards))
    if not found.good:
        raise ValueError(path)
    write_results(found, results_in(path.parent, path.stem))
