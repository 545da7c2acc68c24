"""Reports of reconciliations: the verdict of each card, and what to do about it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from dataloader.batch import ReturnedCard, Verdict
from dataloader.common import are, many
from dataloader.operations.reconcile import Reconciliation
from dataloader.report.model import SHOWN, Attention, Report, Share, Table, Tone, table_of
from dataloader.report.notes import ALL_OF_THEM, Noted, about

_SHARES = {
    Verdict.ENCODED: (Tone.GOOD, "are on chips, without a doubt"),
    Verdict.FAILED: (Tone.ATTENTION, "could not be encoded, or something about them is in doubt"),
    Verdict.MISSING: (Tone.ATTENTION, "no row mentions them"),
    Verdict.ALTERED: (Tone.BAD, "their rows have another UUID, or one that contradicts the rest of the row"),
    Verdict.DUPLICATE: (Tone.BAD, "their UUIDs are listed with two chips, or their chips with two UUIDs"),
}
_TODO = {
    Verdict.DUPLICATE: (
        "Two people could get one person's preferences. Have all of these cards encoded again, and destroy the chips."
    ),
    Verdict.ALTERED: ("The chip may carry the wrong UUID. Have these cards encoded again, and destroy the chips."),
    Verdict.FAILED: (
        "If you can get the right chip UID, correct the file and reconcile again; otherwise encode the card again."
    ),
    Verdict.MISSING: "Ask the vendor; the rest of a delivery in parts may be on its way.",
}
"""What to do about cards that are to be encoded again, the gravest first; docs/reconcile.md says the same."""
_TODO_UNKNOWN = "Find out what these rows are: another batch's, a trial, or made up."
_TODO_SET_ASIDE = "These cards have been encoded again since. See that the chips named here are destroyed."


def reconcile_report(found: Reconciliation, files: int, reconciled: Path, reencode: Path | None) -> Report:
    """Return the report of a reconciliation.

    Args:
        found: what became of the batch.
        files: how many files came back.
        reconciled: the reconciled file.
        reencode: the workbook of cards to encode again, if there is one.
    """
    spares = found.counts.spares_unused
    lead = [f"{many(found.rows, 'row')} in {many(files, 'file')} came back.", f"To load what is encoded: {reconciled}."]
    lead += [f"To send to the vendor again: {reencode}."] if reencode else []
    shares = [
        Share(verdict.value, found.counts[verdict] - (spares if verdict is Verdict.MISSING else 0), text, tone)
        for verdict, (tone, text) in _SHARES.items()
    ]
    return Report(
        about("Reconciliation", [found.manifest]),
        _verdict(found),
        Tone.GOOD if found.good else Tone.ATTENTION,
        tuple(lead),
        "cards",
        (shares[0], Share("unused spares", spares, "were not needed, and are left over", Tone.QUIET), *shares[1:]),
        tuple(_attention(found)),
    )


def _verdict(found: Reconciliation) -> str:
    spares = found.counts.spares_unused
    parts = [f"{found.ready:,} of {many(found.ordered, 'ordered card')} {are(found.ordered)} ready"]
    parts += [f"{found.to_encode:,} to encode again"] if found.to_encode else []
    parts += [f"{many(spares, 'spare')} unused"] if spares else []
    bad = found.counts[Verdict.DUPLICATE] + found.counts[Verdict.ALTERED]
    parts += [f"the chips of {many(bad, 'card')} must be destroyed"] if bad else []
    parts += (
        [f"{many(found.unknown, 'row')} {'matches' if found.unknown == 1 else 'match'} no card"]
        if found.unknown
        else []
    )
    return f"{'; '.join(parts)}."


def _attention(found: Reconciliation) -> Iterator[Attention]:
    noted: Noted[ReturnedCard] = Noted()
    for card in found.ledger:
        if card.is_to_encode:
            noted(card.verdict, card)
    for verdict, todo in _TODO.items():
        if count := noted.counts[verdict]:
            tone, _ = _SHARES[verdict]
            table = _cards(f"Cards with the verdict {verdict}", noted.of(verdict))
            yield _matter(f"{many(count, 'card')} {verdict}", todo, tone, table, count)
    strays = found.ledger.strays
    if strays:
        table = table_of(
            "Rows that match no card",
            {
                "Row": [each.row.where for each in strays[:SHOWN]],
                "Chip": [each.row.chip.uid for each in strays[:SHOWN]],
                "What was found": [each.why for each in strays[:SHOWN]],
            },
        )
        heading = f"{many(len(strays), 'row')} that {'matches' if len(strays) == 1 else 'match'} no card"
        yield _matter(heading, _TODO_UNKNOWN, Tone.ATTENTION, table, len(strays))
    aside = found.ledger.set_aside
    if aside:
        table = Table("Rows that are set aside", ("Row", "What was found"), tuple(aside[:SHOWN]))
        yield _matter(f"{many(len(aside), 'row')} set aside", _TODO_SET_ASIDE, Tone.ATTENTION, table, len(aside))
    if found.warnings:
        shown = found.warnings[:SHOWN]
        table = table_of(
            "What else is to be noticed",
            {
                "Where": [each.where for each in shown],
                "What was found": [each.rule for each in shown],
                "What to do": [each.todo or "" for each in shown],
            },
        )
        heading = f"{many(len(found.warnings), 'thing')} to notice"
        yield _matter(heading, "", Tone.QUIET, table, len(found.warnings))


def _cards(caption: str, cards: Sequence[ReturnedCard]) -> Table:
    return table_of(
        caption,
        {
            "Card": [f"{each.card.number:,}" for each in cards],
            "UUID": [each.card.uuid for each in cards],
            "Chip": [each.chip for each in cards],
            "What was found": [each.reason for each in cards],
        },
    )


def _matter(heading: str, todo: str, tone: Tone, table: Table, count: int) -> Attention:
    return Attention(heading, todo, tone, table=table, more=count - len(table.rows), all_of_them=ALL_OF_THEM)
