"""The part of reports about cards that do not work, and what to do about them."""

from collections import Counter
from collections.abc import Iterable, Sequence

from dataloader.batch import CardFile
from dataloader.common import many, without_uuids
from dataloader.operations import CardVerdict, VerifyVerdict
from dataloader.report.model import Attention, Table, Tone, table_of
from dataloader.report.notes import Noted, card_names, folded_names

_TODO = {
    VerifyVerdict.WRONG: "Run the command below: it names the repair for each card. Then verify again.",
    VerifyVerdict.MISSING: "Load those that came back encoded, then verify again.",
}
_COMMANDS = {
    VerifyVerdict.WRONG: "dataloader verify {batch}{target}",
    VerifyVerdict.MISSING: "dataloader load {ready}{target}",
}
NOT_WORKING = tuple(_TODO)
"""The verdicts of cards that do not work, the most serious first."""


def attention(
    manifests: Sequence[CardFile],
    counts: Counter[VerifyVerdict],
    noted: Noted[CardVerdict],
    verdicts: Iterable[VerifyVerdict],
    all_of_them: str,
) -> list[Attention]:
    """Return the cards that need attention, with one table for each verdict.

    Args:
        manifests: the batches.
        counts: the number of cards with each verdict.
        noted: the first of them, by verdict.
        verdicts: the verdicts that need attention, the most serious first; from :data:`NOT_WORKING`.
        all_of_them: where to find those that are not shown.
    """
    found = [verdict for verdict in verdicts if counts[verdict]]
    names = card_names(manifests, {card.uuid for verdict in found for card in noted.of(verdict)})
    return [
        Attention(
            f"{many(counts[verdict], 'card')} {verdict}",
            _TODO[verdict],
            Tone.BAD,
            table=_table(verdict, noted.of(verdict), names),
            more=counts[verdict] - len(noted.of(verdict)),
            all_of_them=all_of_them,
            command=_COMMANDS[verdict],
        )
        for verdict in found
    ]


def _table(verdict: VerifyVerdict, cards: Sequence[CardVerdict], names: dict[str, str]) -> Table:
    """Return cards as a table; those with the same finding are one row."""
    groups: dict[str, list[CardVerdict]] = {}
    for card in cards:
        groups.setdefault(without_uuids(card.reason), []).append(card)
    rows = [
        (names.get(same[0].uuid, ""), same[0].uuid, same[0].reason)
        if len(same) == 1
        else (folded_names([names.get(card.uuid, "") for card in same]), "", reason)
        for reason, same in groups.items()
    ]
    columns = {
        "Card": [number for number, _, _ in rows],
        "UUID": [uuid for _, uuid, _ in rows],
        "What was found": [reason for _, _, reason in rows],
    }
    return table_of(f"Cards with the verdict {verdict}", columns)
