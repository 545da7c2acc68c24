"""Reports of the status of batches."""

from collections import Counter
from collections.abc import Sequence

from dataloader.batch import CardFile
from dataloader.common import are, many
from dataloader.operations import BatchStatus, CardVerdict, StatusResult, VerifyVerdict
from dataloader.report.cards import attention
from dataloader.report.model import Report, Share, Table, Tone
from dataloader.report.notes import Noted, about, left_out

_ALL_OF_THEM = "dataloader verify --details FILE lists all of them, a line of JSON each."
_SHARES = {
    VerifyVerdict.EDITED: ("edited", Tone.GOOD, "work; their owners have edited the preferences"),
    VerifyVerdict.OK: ("ready", Tone.GOOD, "work, exactly as minted"),
    VerifyVerdict.OUTDATED: ("outdated", Tone.GOOD, "work, with an older version of their snapset"),
    VerifyVerdict.REVOKED: ("revoked", Tone.QUIET, "no longer work, because somebody deleted or revoked them"),
    VerifyVerdict.MISSING: ("missing", Tone.ATTENTION, "not loaded yet"),
    VerifyVerdict.WRONG: ("wrong", Tone.BAD, "do not work as they should, or are revoked and still work"),
}
_COLUMNS = ("minted", "encoded", "loaded", "edited", "revoked", "missing", "wrong")


def status_report(manifests: Sequence[CardFile], result: StatusResult, noted: Noted[CardVerdict]) -> Report:
    """Return the report of the status of batches.

    Args:
        manifests: the batches.
        result: their status.
        noted: cards that a server could not use, under :attr:`Verdict.WRONG`.
    """
    total = result.total
    return Report(
        about("Status", manifests),
        _verdict(total),
        Tone.BAD if total.wrong else Tone.GOOD,
        tuple(left_out(manifests)),
        "cards",
        shares_of(total.verdicts),
        tuple(attention(manifests, total.verdicts, noted, [VerifyVerdict.WRONG], _ALL_OF_THEM)),
        (_by_batch(result),),
    )


def shares_of(verdicts: Counter[VerifyVerdict]) -> tuple[Share, ...]:
    """Return how many cards have each verdict."""
    return tuple(Share(label, verdicts[each], text, tone) for each, (label, tone, text) in _SHARES.items())


def _verdict(total: BatchStatus) -> str:
    cards = total.verdicts.total()
    if not cards:
        return "No cards were checked."
    if total.wrong:
        return f"{total.wrong:,} of {many(cards, 'card')} would not work."
    if not total.loaded:
        return f"None of the {many(cards, 'card')} are loaded yet." if cards > 1 else "The one card is not loaded yet."
    if cards == 1:
        how_many = "The one card is"
    elif total.loaded == cards:
        how_many = f"All {many(cards, 'card')} are"
    else:
        how_many = f"{total.loaded:,} of {many(cards, 'card')} {are(total.loaded)}"
    parts = [f"{how_many} loaded", f"{total.edited:,} {are(total.edited)} edited"]
    parts += [f"{total.revoked:,} {are(total.revoked)} revoked"] if total.revoked else []
    return f"{'; '.join(parts)}."


def _by_batch(result: StatusResult) -> Table:
    rows = [*result.batches, *([result.total] if len(result.batches) > 1 else [])]
    columns = [column for column in _COLUMNS if any(getattr(row, column) is not None for row in rows)]
    return Table(
        "Cards by batch",
        ("Batch", *(column.replace("_", " ").capitalize() for column in columns)),
        tuple((row.name, *(_number(getattr(row, column)) for column in columns)) for row in rows),
    )


def _number(count: int | None) -> int | str:
    return "unknown" if count is None else count
