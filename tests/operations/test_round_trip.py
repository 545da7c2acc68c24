"""Round trips: our workbook edited and saved by a spreadsheet program."""

from pathlib import Path

from dataloader.batch import Verdict
from dataloader.operations import generate
from dataloader.operations.generate import Batch
from dataloader.operations.reconcile import Reconciliation, ReturnedFile, reconcile
from dataloader.vendor.returned import Reading
from tests.support.office import Office
from tests.support.returned_files import CHIP, SAMPLES, SHARES, SPARES, fill_in, good_rows

DIGITS = "04917350286412"
"""A chip UID that looks like a number."""


def found_of(batch: Batch, path: Path) -> Reconciliation:
    """Reconcile a file with the batch."""
    return reconcile(batch.manifest, [ReturnedFile(path)], Reading(cards=batch.manifest.header.cards))


def verdicts(found: Reconciliation) -> list[tuple[int, Verdict, str]]:
    """Return the verdict of each card, with its chip."""
    return [(each.card.number, each.verdict, each.chip) for each in found.ledger]


def test_verdicts_survive_a_spreadsheet_program(office: Office, tmp_path: Path) -> None:
    """With every fault, saved as a workbook and as CSV, the verdicts are the same; from CSV to a workbook, as safe.

    A program that opens CSV converts what looks like a number. Such a chip UID is then in doubt, but nothing else.
    """
    batch = generate("library", SHARES, tmp_path, spares=SPARES)
    rows = good_rows(batch.manifest)
    for fault in SAMPLES["everything.xlsx"][0]:
        fault(rows)
    at = next(at for at, row in enumerate(rows) if row[0] == "14")
    rows[at][CHIP] = DIGITS
    filled = fill_in(batch.workbook, tmp_path / "filled.xlsx", rows)
    expected = verdicts(found_of(batch, filled))
    assert (14, Verdict.ENCODED, DIGITS) in expected
    assert {verdict for _, verdict, _ in expected} == {*Verdict}
    saved = office.save(filled, tmp_path / "saved.xlsx")
    assert verdicts(found_of(batch, saved)) == expected
    text = office.save(filled, tmp_path / "saved.csv")
    assert verdicts(found_of(batch, text)) == expected
    again = found_of(batch, office.save(text, tmp_path / "again.xlsx"))
    assert verdicts(again) == [
        (14, Verdict.FAILED, "") if number == 14 else (number, verdict, chip) for number, verdict, chip in expected
    ]
    reason = next(each.reason for each in again.ledger if each.card.number == 14)
    assert reason == (
        f"again.xlsx, row {at + 2}: the chip UID was turned into a number (4917350286412), probably by Excel: it could "
        f"be {DIGITS} if it has lost a leading zero, or 000478E8EAC44C if it is decimal, or 4CC4EAE8780400 if it is "
        "decimal with the bytes reversed"
    )
