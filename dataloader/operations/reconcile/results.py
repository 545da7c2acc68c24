"""Writing what a reconciliation comes to: the reconciled file, the workbook of cards to encode again, the details."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from dataloader.batch import RECONCILED_SUFFIX, Card, Header, Verdict, write_reconciled
from dataloader.common import FileError, new_files
from dataloader.operations.reconcile.reconciliation import Reconciliation
from dataloader.vendor import WORKBOOK_SUFFIX, Again, write_workbook

REENCODE_SUFFIX = f".reencode{WORKBOOK_SUFFIX}"
TODO = "give --name or --out, and all files that came back so far"


@dataclass(frozen=True, slots=True)
class Results:
    """Where the results are."""

    reconciled: Path
    reencode: Path


def results_in(folder: Path, name: str) -> Results:
    """Return where the results are going to be.

    Raises:
        FileError: one stands there already: an earlier run's, which is never overwritten.
    """
    results = Results(folder / f"{name}{RECONCILED_SUFFIX}", folder / f"{name}{REENCODE_SUFFIX}")
    for path in (results.reconciled, results.reencode):
        if path.exists() or path.is_symlink():
            raise FileError(str(path), rule="stands already and is never overwritten", todo=TODO)
    return results


def write_results(found: Reconciliation, results: Results, password: str | None = None) -> bool:
    """Write the results; the workbook only where cards are to be encoded again.

    Args:
        found: what became of the batch.
        results: where the files go.
        password: what the workbook is encrypted with; None for a plain one.

    Returns:
        Whether there is such a workbook.

    Raises:
        FileError: a file stands there already, or can't be written.
    """
    paths = [results.reconciled, results.reencode] if found.to_encode else [results.reconciled]
    with new_files(*paths) as streams:
        write_reconciled(streams[0], found.manifest.header, found.counts, found.ledger)
        if found.to_encode:
            numbers = array("I", (each.card.number for each in found.ledger if each.is_to_encode))
            again = Again(found.manifest.header, found.round + 1)
            write_workbook(streams[1], _part(found, numbers), _cards(found, numbers), password, again)
    return bool(found.to_encode)


def _cards(found: Reconciliation, numbers: "array[int]") -> Iterator[Card]:
    return map(found.ledger.roll.card, numbers)


def _part(found: Reconciliation, numbers: "array[int]") -> Header:
    """Return a header for a part of the batch; a spare that is in it is to be encoded like any other card."""
    digest = sha256()
    snapsets: Counter[str] = Counter()
    for card in _cards(found, numbers):
        digest.update(card.line())
        snapsets[card.snapset] += 1
    header = found.manifest.header
    return replace(header, cards=len(numbers), snapsets=snapsets, digest=f"sha256:{digest.hexdigest()}", spares={})


def details(found: Reconciliation) -> Iterator[dict[str, Any]]:
    """Yield an object for each card that is not encoded, each row that is no card's, and all that is to be noticed."""
    for each in found.ledger:
        if each.verdict is not Verdict.ENCODED:
            yield {
                "about": "card",
                "number": each.card.number,
                "uuid": each.card.uuid,
                "verdict": each.verdict.value,
                "chip": each.chip or None,
                "unused_spare": each.unused_spare,
                "reason": each.reason,
            }
    for stray in found.ledger.strays:
        yield {
            "about": "unknown row",
            "where": stray.row.where,
            "chip": stray.row.chip.uid or None,
            "reason": stray.why,
        }
    for where, why in found.ledger.set_aside:
        yield {"about": "row set aside", "where": where, "reason": why}
    for warning in found.warnings:
        yield {"about": "warning", "where": warning.where, "reason": warning.rule, "todo": warning.todo}
