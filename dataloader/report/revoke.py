"""Reports of revocations: the cards that no longer work, and those that were restored."""

from collections.abc import Sequence

from dataloader.batch import CardFile
from dataloader.common import many
from dataloader.operations import CardOutcome, RevokeOutcome, RevokeResult
from dataloader.report.model import SHOWN, Attention, Report, Share, Table, Tone, table_of
from dataloader.report.notes import ALL_OF_THEM, about, fewer_copies

_OUTCOMES = {
    RevokeOutcome.REVOKED: (Tone.GOOD, "no longer work"),
    RevokeOutcome.ALREADY_REVOKED: (Tone.QUIET, "were already revoked"),
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
    failed = [each for each in outcomes if _OUTCOMES[each.outcome][0] in {Tone.BAD, Tone.ATTENTION}]
    attention = []
    if failed:
        attention.append(
            Attention(
                f"{many(len(failed), 'card')} not {done}",
                "Inspect the documents, then run the command again.",
                Tone.BAD if bad else Tone.ATTENTION,
                table=_table(f"Cards that were not {done}", failed),
                more=max(len(failed) - SHOWN, 0),
                all_of_them=ALL_OF_THEM,
            )
        )
    attention += fewer_copies(result.nodes_away, short=result.short_of_copies)
    others = [each for each in outcomes if each not in failed]
    tables = (_table("Cards by number", others),) if others else ()
    return Report(
        about("Restoring" if undo else "Revocation", [manifest]),
        needs if bad else f"{many(cards, 'card')} {done}.",
        Tone.BAD if bad else Tone.ATTENTION if attention else Tone.GOOD,
        (f"Reason: {reason}",) if reason else (),
        "cards",
        tuple(
            Share(each.value.replace("_", " "), result.outcomes[each], text, tone)
            for each, (tone, text) in _OUTCOMES.items()
        ),
        tuple(attention),
        tables,
    )


def _table(caption: str, outcomes: Sequence[CardOutcome]) -> Table:
    shown = outcomes[:SHOWN]
    columns = {
        "Card": [f"{each.card.number:,}" for each in shown],
        "UUID": [each.card.uuid for each in shown],
        "Outcome": [each.outcome.value.replace("_", " ") for each in shown],
        "What was found": [each.reason for each in shown],
    }
    return table_of(caption, columns)
