"""The verdict of a card from all its rows. Pure rules; docs/reconcile.md has them as a table."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from dataloader.batch import Verdict
from dataloader.common import many
from dataloader.operations.reconcile.rows import Row, Said, Standing
from dataloader.vendor.returned import is_remark

SHOWN_CHIPS = 4
"""Chips to name for a card that is on more."""


@dataclass(slots=True)
class Claim:
    """A row that concerns a card."""

    row: Row
    standing: Standing = Standing.OWN
    why: str = ""
    """What is wrong with it."""
    lends: bool = False
    """Whether its UUID is another card's."""


@dataclass(slots=True)
class CardJudgement:
    """The verdict of a card by its own rows; what other cards' rows say about its chip is added later."""

    verdict: Verdict
    chip: str = ""
    reason: str = ""
    unused_spare: bool = False
    warnings: list[tuple[str, str]] = field(default_factory=list)
    """Warnings, with their places, that do not change the verdict."""
    strays: list[Claim] = field(default_factory=list)
    """Rows with the card's number but no card's UUID, if the card has a good row of its own: they are unknown."""


def counting(claims: Sequence[Claim]) -> Sequence[Claim]:
    """Return the claims that count: those of the last round that mentions the card."""
    if len(claims) == 1:
        return claims
    last = max((claim.row.round for claim in claims if claim.row.said is not Said.NOTHING), default=None)
    return claims if last is None else [claim for claim in claims if claim.row.round == last]


def may_be_meant(row: Row, repeating: Container[int]) -> bool:
    """Return whether a row without a result may say something: it has a note, or its table repeats other cards."""
    return is_remark(row.note) or (row.table.index in repeating and not row.table.lists_all)


def listed_again(row: Row, where: str, what: str = "the card again") -> str:
    """Return the warning about a row without a result of a card that is encoded according to another place."""
    return f"lists {what} without a result{_noted(row)}; according to {where}, it is encoded"


def chips_of(claims: Sequence[Claim]) -> dict[str, Row]:
    """Return the chips listed with a card's UUID in rows that say it was encoded, with one row each."""
    chips: dict[str, Row] = {}
    for claim in claims:
        if claim.standing is not Standing.NAMED and claim.row.said is Said.ENCODED and claim.row.chip.uid:
            chips.setdefault(claim.row.chip.uid, claim.row)
    return chips


def judge(claims: Sequence[Claim], *, is_spare: bool, repeating: Container[int] = ()) -> CardJudgement:
    """Return the verdict from the claims that count (see :func:`counting`), in any order.

    Nothing in doubt counts as encoded.

    Args:
        claims: the claims.
        is_spare: whether the card is a spare.
        repeating: the numbers of tables that repeat encoded cards of others, so that an empty result may be meant.
    """
    if len(claims) == 1:
        [only] = claims
        row = only.row
        if only.standing is Standing.OWN and row.said is Said.ENCODED and not only.why and not row.warnings:
            return CardJudgement(Verdict.ENCODED, row.chip.uid)
    claims = sorted(claims, key=lambda claim: claim.row.order)
    own = [claim for claim in claims if claim.standing is Standing.OWN]
    said = {each: [claim.row for claim in own if claim.row.said is each] for each in Said}
    judgement = (
        _encoded(claims, said, repeating) if said[Said.ENCODED] else _not_encoded(claims, said, is_spare=is_spare)
    )
    judgement.warnings += [(claim.row.where, claim.why) for claim in own if claim.why]
    judgement.warnings += [(claim.row.where, warning) for claim in claims for warning in claim.row.warnings]
    return judgement


def _encoded(claims: Sequence[Claim], said: dict[Said, list[Row]], repeating: Container[int]) -> CardJudgement:
    """Return the verdict of a card with at least one row of its own that says it was encoded."""
    rows = said[Said.ENCODED]
    chips = chips_of(claims)
    chip = next(iter(chips), "")
    doubtful = [
        each.row
        for each in claims
        if each.standing is not Standing.NAMED
        and each.row.said is Said.DOUBTFUL
        # A hidden row that repeats a visible one adds nothing.
        and not (each.row.hidden and each.row.chip.uid in {"", chip})
    ]
    # In a table of chip UIDs that says ok, too, a failure without one is another attempt; else, it is about the card.
    tables = {row.table.index for row in rows if row.table.source.fills_chip}
    contradicting = [
        row
        for row in said[Said.FAILED]
        if (row.chip.uid == chip if row.chip.uid else not (row.table.source.fills_chip and row.table.index in tables))
    ]
    if len(chips) > 1:
        shown = [f"{uid} ({row.where})" for uid, row in list(chips.items())[:SHOWN_CHIPS]]
        more = ["…"] if len(chips) > SHOWN_CHIPS else []
        reason = f"it is on {many(len(chips), 'chip')}: {', '.join(shown + more)}"
        judgement = CardJudgement(Verdict.DUPLICATE, reason=reason)
    elif contradicting:
        what = f"chip {chip}" if contradicting[0].chip.uid else "it"
        reason = f"{contradicting[0].where} says that {what} failed, {rows[0].where} that it did not"
        if contradicting[0].table.index != rows[0].table.index:
            reason += "; if a second try worked, mark its file with --again"
        elif contradicting[0].table.source.fills_chip:
            reason += "; if that was an earlier try, remove its row"
        judgement = CardJudgement(Verdict.FAILED, chip, reason)
    elif doubtful:
        row = doubtful[0]
        reason = f"{row.where}: {row.why}; {rows[0].where} says that it is encoded, perhaps on another chip"
        judgement = CardJudgement(Verdict.FAILED, chip, reason)
    else:
        judgement = CardJudgement(Verdict.ENCODED, chip)
        judgement.warnings += [
            (row.where, f"says the same as {rows[0].where}")
            for row in rows[1:]
            # The result and the chip UID may be in separate tables.
            if bool(row.chip.uid) is bool(rows[0].chip.uid) or row.uuid not in row.table.delivery.completed
        ]
        judgement.warnings += [
            (row.where, f"says that it failed, without a chip UID; according to {rows[0].where}, it is encoded")
            for row in said[Said.FAILED]
            if not row.chip.uid
        ]
        judgement.warnings += [
            (row.where, listed_again(row, rows[0].where, "another chip" if is_other else "the card again"))
            for row in said[Said.NOTHING]
            for is_other in [bool(row.chip.text) and row.chip.uid != chip]
            if is_other or row.table is rows[0].table or may_be_meant(row, repeating)
        ]
        unused = f"says that it is an unused spare; according to {rows[0].where}, it is encoded"
        judgement.warnings += [(row.where, unused) for row in said[Said.SPARE]]
    for claim in claims:
        if claim.standing is Standing.NAMED and not claim.lends:
            judgement.strays.append(claim)
        elif claim.standing is not Standing.OWN:
            judgement.warnings.append((claim.row.where, claim.why))
    return judgement


def _not_encoded(claims: Sequence[Claim], said: dict[Said, list[Row]], *, is_spare: bool) -> CardJudgement:
    """Return the verdict of a card without a row that says it was encoded."""
    others = [claim for claim in claims if claim.standing in {Standing.NAMED, Standing.CONTRADICTED}]
    borrowed = [claim for claim in claims if claim.standing is Standing.BORROWED]
    failed = said[Said.DOUBTFUL] + said[Said.FAILED]
    if failed:
        row = failed[0]
        judgement = CardJudgement(Verdict.FAILED, row.chip.uid, f"{row.where}: {row.why}{_noted(row)}")
        judgement.warnings += [(claim.row.where, claim.why) for claim in others]
    elif others:
        claim = others[0]
        reason = f"{claim.row.where}: {claim.why}{_noted(claim.row)}"
        judgement = CardJudgement(Verdict.ALTERED, reason=reason)
    elif said[Said.SPARE]:
        row = said[Said.SPARE][0]
        if is_spare:
            return CardJudgement(Verdict.MISSING, reason=f"{row.where}: {row.why}", unused_spare=True)
        judgement = CardJudgement(
            Verdict.MISSING, reason=f"{row.where}: its result is spare, but it is a card that was ordered"
        )
    elif said[Said.NOTHING]:
        row = said[Said.NOTHING][0]
        # Without results, a spare without a chip is unused.
        unused = is_spare and row.by_chip
        judgement = CardJudgement(Verdict.MISSING, row.chip.uid, f"{row.where}: {row.why}{_noted(row)}", unused)
    elif borrowed:
        claim = borrowed[0]
        judgement = CardJudgement(Verdict.MISSING, reason=f"it has no row of its own; {claim.row.where}: {claim.why}")
    else:
        judgement = CardJudgement(Verdict.MISSING, reason="it is in none of the returned files")
    return judgement


def _noted(row: Row) -> str:
    return f" (note: {row.note})" if row.note and row.note not in row.why else ""
