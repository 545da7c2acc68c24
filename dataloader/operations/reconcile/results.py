"""Write the results of a reconciliation: the reconciled file, the workbook to encode again, the details."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from dataloader.batch import BatchHeader, Card, Verdict, reconciled_name, write_reconciled
from dataloader.common import FileError, new_files
from dataloader.operations.reconcile.reconciliation import Reconciliation
from dataloader.vendor import WORKBOOK_SUFFIX, Again, Why, write_workbook


@dataclass(frozen=True, slots=True)
class Results:
    """The paths of the results."""

    reconciled: Path
    reencode: Path


def results_in(folder: Path, name: str, round_: int = 1) -> Results:
    """Return the paths for the results of a round; from the second on, names contain its number."""
    number = "" if round_ == 1 else f".{round_}"
    return Results(folder / reconciled_name(name, round_), folder / f"{name}.reencode{number}{WORKBOOK_SUFFIX}")


def write_results(found: Reconciliation, results: Results, password: str | None = None) -> bool:
    """Write the results; the workbook only if cards must be encoded again.

    Args:
        found: the result of the reconciliation.
        results: the paths of the files.
        password: encrypts the workbook; None for a plain one.

    Returns:
        Whether the workbook was written.

    Raises:
        FileError: a file already exists, or cannot be written.
    """
    paths = [results.reconciled, results.reencode] if found.again else [results.reconciled]
    try:
        with new_files(*paths) as streams:
            write_reconciled(streams[0], found.manifest.header, found.counts, found.ledger, found.round)
            if found.again:
                _write_again(streams[1], found, password)
    except FileError as error:
        if results.reconciled.exists():
            # Moving it away would lose a round.
            error.todo = f"if another run has just written it, run this one again; otherwise {error.todo}"
        raise
    return bool(found.again)


def _write_again(stream: IO[bytes], found: Reconciliation, password: str | None) -> None:
    cards = [each.card for each in found.again]
    whys = {
        each.card.number: Why(_why(each.verdict, each.reason), found.ledger.chips(each.card.number))
        for each in found.again
    }
    write_workbook(stream, _part(found, cards), cards, password, Again(found.manifest.header, found.round + 1, whys))


def _why(verdict: Verdict, reason: str) -> str:
    return f"{verdict.value}: {reason}" if reason else verdict.value


def _part(found: Reconciliation, cards: list[Card]) -> BatchHeader:
    """Return a header for a part of the batch, in which spares are encoded like other cards."""
    digest = sha256()
    for card in cards:
        digest.update(card.line())
    snapsets = Counter(card.snapset for card in cards)
    header = found.manifest.header
    return replace(header, cards=len(cards), snapsets=snapsets, digest=f"sha256:{digest.hexdigest()}", spares={})


def details(found: Reconciliation) -> Iterator[dict[str, Any]]:
    """Yield an object for each card that is not encoded, each unknown row, and each warning."""
    again = {each.card.number for each in found.again}
    for each in found.ledger:
        if each.verdict is not Verdict.ENCODED:
            yield {
                "about": "card",
                "number": each.card.number,
                "uuid": each.card.uuid,
                "verdict": each.verdict.value,
                "chip": each.chip or None,
                "unused_spare": each.unused_spare,
                "to_encode": each.card.number in again,
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
