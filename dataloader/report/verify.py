"""Reports of verify runs: what the servers would find for each card."""

from collections.abc import Sequence

from dataloader.batch import CardFile
from dataloader.common import are, many
from dataloader.operations import CardVerdict, VerifyResult, VerifyVerdict
from dataloader.report.cards import NOT_WORKING, attention
from dataloader.report.model import Report, Share, Tone
from dataloader.report.notes import ALL_OF_THEM, Noted, about, left_out

_VERDICTS = {
    VerifyVerdict.OK: (Tone.GOOD, "work, exactly as minted"),
    VerifyVerdict.OUTDATED: (Tone.GOOD, "work, with an older version of their snapset"),
    VerifyVerdict.EDITED: (Tone.GOOD, "work; their owners have edited the preferences"),
    VerifyVerdict.REVOKED: (Tone.QUIET, "no longer work, because somebody deleted or revoked them"),
    VerifyVerdict.MISSING: (Tone.BAD, "were never loaded"),
    VerifyVerdict.WRONG: (Tone.BAD, "do not work as they should, or are revoked and still work"),
}


def verify_report(
    manifests: Sequence[CardFile], result: VerifyResult, noted: Noted[CardVerdict], still: int = 0
) -> Report:
    """Return the report of a verify run.

    Args:
        manifests: the batches.
        result: the verdicts.
        noted: cards that do not work, by verdict.
        still: the number of cards that work although a list says that they are revoked.
    """
    bad = sum(result.verdicts[verdict] for verdict in NOT_WORKING)
    return Report(
        about("Verification", manifests),
        _verdict(result, bad, still),
        Tone.BAD if bad or still else Tone.GOOD if result.verdicts.total() else Tone.ATTENTION,
        (_asked(manifests, result), *left_out(manifests)),
        "cards",
        tuple(Share(each.value, result.verdicts[each], text, tone) for each, (tone, text) in _VERDICTS.items()),
        tuple(attention(manifests, result.verdicts, noted, NOT_WORKING, ALL_OF_THEM)),
    )


def _verdict(result: VerifyResult, bad: int, still: int) -> str:
    cards, revoked = result.verdicts.total(), result.verdicts[VerifyVerdict.REVOKED]
    if not cards:
        return "No cards were checked."
    if bad:
        return f"{bad:,} of {many(cards, 'card')} would not work."
    if still:
        return f"{many(still, 'revoked card')} {'works' if still == 1 else 'work'}."
    if revoked:
        ready = cards - revoked
        return f"{many(ready, 'card')} {are(ready)} ready; {revoked:,} {are(revoked)} revoked."
    return f"All {many(cards, 'card')} are ready." if cards > 1 else "The one card is ready."


def _asked(manifests: Sequence[CardFile], result: VerifyResult) -> str:
    cards, every = result.verdicts.total(), sum(manifest.count for manifest in manifests)
    which = "every card" if cards == every else f"{many(cards, 'card')}, chosen at random from {every:,},"
    return f"Checked what the real servers find for {which} when a card is tapped."
