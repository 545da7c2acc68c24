"""What reports say of cards: those that would not work, and what to do about them."""

from collections import Counter
from collections.abc import Iterable, Sequence

from dataloader.batch import CardFile
from dataloader.common import many
from dataloader.operations import CardVerdict, VerifyVerdict
from dataloader.report.model import Attention, Table, Tone
from dataloader.report.notes import Noted, card_names

_TODO = {
    VerifyVerdict.WRONG: "Have somebody look at the document that is named, then verify again.",
    VerifyVerdict.MISSING: "Load the batch, then verify again.",
}
NOT_WORKING = tuple(_TODO)
"""The verdicts on cards that would not work, the gravest first."""


def attention(
    manifests: Sequence[CardFile],
    counts: Counter[VerifyVerdict],
    noted: Noted[CardVerdict],
    verdicts: Iterable[VerifyVerdict],
    all_of_them: str,
) -> list[Attention]:
    """Return the cards that need attention, a table for each verdict that has come up.

    Args:
        manifests: their batches.
        counts: how many cards have each verdict.
        noted: the first of them, by their verdicts.
        verdicts: which verdicts need attention, the gravest first; of :data:`NOT_WORKING`.
        all_of_them: where those are to be had that are not shown.
    """
    found = [verdict for verdict in verdicts if counts[verdict]]
    names = card_names(manifests, {card.uuid for verdict in found for card in noted.of(verdict)})
    return [
        Attention(
            f"{many(counts[verdict], 'card')} {verdict}",
            _TODO[verdict],
            Tone.BAD,
            table=Table(
                f"Cards with the verdict {verdict}",
                ("Card", "UUID", "What was found"),
                tuple((names.get(card.uuid, ""), card.uuid, card.reason) for card in noted.of(verdict)),
            ),
            more=counts[verdict] - len(noted.of(verdict)),
            all_of_them=all_of_them,
        )
        for verdict in found
    ]
