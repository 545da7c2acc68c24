"""Reports of revocations: the cards that no longer work, and those that were restored."""

from collections.abc import Sequence

from dataloader.batch import CardFile
from dataloader.common import many
from dataloader.operations import CardOutcome, RevokeOutcome, RevokeResult
from dataloader.report.model import SHOWN, Attention, Report, Share, Tone, table_of
from dataloader.report.notes import ALL_OF_THEM, about

_OUTCOMES = {
    RevokeOutcome.REVOKED: (Tone.GOOD, "no longer work"),
    RevokeOutcome.ALREADY_REVOKED: (Tone.QUIET, "were revoked before"),
    RevokeOutcome.BARRED: (Tone.GOOD, "are not loaded, and will not work when they are"),
    RevokeOutcome.RESTORED: (Tone.GOOD, "work again, with everything that they had"),
    RevokeOutcome.NOT_REVOKED: (Tone.QUIET, "were not revoked"),
    RevokeOutcome.NOT_LOADED: (Tone.ATTENTION, "were never loaded"),
    RevokeOutcome.FOREIGN: (Tone.BAD, "were not revoked: a document of another type has their ID"),
    RevokeOutcome.FAILED: (Tone.BAD, "failed"),
}


def revoke_report(
    manifest: CardFile, result: RevokeResult, outcomes: Sequence[CardOutcome], reason: str, *, undo: bool
) -> Report:
    """Return the report of a revocation.

    Args:
        manifest: the batch.
        result: the outcomes.
        outcomes: the outcome of each card.
        reason: why cards were revoked; empty for cards that were restored.
        undo: whether cards were restored.
    """
    bad = result.needs_attention
    needs = f"{many(bad, 'card')} {'needs' if bad == 1 else 'need'} a decision."
    done = "restored" if undo else "revoked"
    cards = result.outcomes.total()
    shown = outcomes[:SHOWN]
    columns = {
        "Card": [f"{each.card.number:,}" for each in shown],
        "UUID": [each.card.uuid for each in shown],
        "Outcome": [each.outcome.value.replace("_", " ") for each in shown],
        "What was found": [each.reason for each in shown],
    }
    whole = Attention(
        f"{many(cards, 'card')} that {'was' if cards == 1 else 'were'} asked for",
        "Inspect the documents of those that failed." if bad else "Nothing has to be done.",
        Tone.BAD if bad else Tone.QUIET,
        table=table_of("Cards", columns),
        more=len(outcomes) - len(shown),
        all_of_them=ALL_OF_THEM,
    )
    return Report(
        about("Restoring" if undo else "Revocation", [manifest]),
        needs if bad else f"{many(cards, 'card')} {done}.",
        Tone.BAD if bad else Tone.GOOD,
        (f"Reason: {reason}",) if reason else (),
        "cards",
        tuple(
            Share(each.value.replace("_", " "), result.outcomes[each], text, tone)
            for each, (tone, text) in _OUTCOMES.items()
        ),
        (whole,),
    )
