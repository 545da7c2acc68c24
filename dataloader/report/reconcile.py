"""Reports of reconciliations: the verdicts on cards, and what to do about them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from dataloader.batch import ReturnedCard, Verdict
from dataloader.common import are, many, ranges, without_uuids
from dataloader.operations.reconcile import Reconciliation
from dataloader.report.model import SHOWN, Attention, Report, Share, Step, Table, Tone, table_of
from dataloader.report.notes import ALL_OF_THEM, SHOWN_RUNS, about

_SHARES = {
    Verdict.ENCODED: (Tone.GOOD, "are on one chip, without doubt"),
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
    Verdict.MISSING: "Ask the vendor; the rest of a delivery may be on its way.",
}
"""What to do about cards to encode again, the most serious first; the same as in docs/reconcile.md."""
_ROW = re.compile(r", (row|line) (\d+)")
_TODO_UNKNOWN = "Find out what these rows are: another batch's, a trial, or made up."
_TODO_SET_ASIDE = "These cards have been encoded again since. Make sure that the chips named here are destroyed."


def reconcile_report(
    found: Reconciliation, files: int, reconciled: Path, reencode: Path | None, target: str = " --target NAME"
) -> Report:
    """Return the report of a reconciliation.

    Args:
        found: the result of the reconciliation.
        files: the number of returned files.
        reconciled: the reconciled file.
        reencode: the workbook of cards to encode again, if any.
        target: the option for the target to load, preceded by a space.
    """
    spares = found.counts.spares_unused
    shares = [
        Share(verdict.value, found.counts[verdict] - (spares if verdict is Verdict.MISSING else 0), text, tone)
        for verdict, (tone, text) in _SHARES.items()
    ]
    return Report(
        about("Reconciliation", [found.manifest]),
        _verdict(found),
        Tone.GOOD if found.good else Tone.ATTENTION,
        (f"{many(found.rows, 'row')} in {many(files, 'file')} came back.",),
        "cards",
        (shares[0], Share("unused spares", spares, "were not needed", Tone.QUIET), *shares[1:]),
        tuple(_attention(found)),
        steps=tuple(_steps(found, reconciled, reencode, target)),
    )


def _steps(found: Reconciliation, reconciled: Path, reencode: Path | None, target: str) -> Iterator[Step]:
    if found.ready:
        count = "the card that is" if found.ready == 1 else f"the {found.ready:,} cards that are"
        yield Step(f"Load {count} encoded.", f"dataloader load {quote(str(reconciled))}{target}")
    if reencode is not None:
        text = f"Send {reencode} to the vendor. When it comes back, reconcile it, too."
        if found.counts.only_missing:
            text = (
                f"Ask the vendor whether the rest is on its way; otherwise send {reencode}. Reconcile what comes back."
            )
        if found.is_unclear:
            text = "Ask the vendor for a file that can be read, and reconcile it, before any card is encoded again."
        yield Step(text, "dataloader reconcile {batch} RETURNED")


def _verdict(found: Reconciliation) -> str:
    spares = found.counts.spares_unused
    parts = [f"{found.ready:,} of {many(found.ordered, 'ordered card')} {are(found.ready)} ready"]
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
    groups: dict[Verdict, dict[str, _Cards]] = {verdict: {} for verdict in _TODO}
    for card in found.ledger:
        if card.is_to_encode:
            alike = groups[card.verdict].setdefault(_ROW.sub("", without_uuids(card.reason)), _Cards(card))
            alike.numbers.append(card.card.number)
            alike.differ |= card.reason != alike.first.reason
    for verdict, todo in _TODO.items():
        if by_reason := groups[verdict]:
            tone, _ = _SHARES[verdict]
            shown = [*by_reason.items()][:SHOWN]
            table = _cards(f"Cards with the verdict {verdict}", shown)
            count = sum(len(alike.numbers) for alike in by_reason.values())
            left = count - sum(len(alike.numbers) for _, alike in shown)
            yield _matter(f"{many(count, 'card')} {verdict}", todo, tone, table, left)
    strays = found.ledger.strays
    if strays:
        rows, left = _folded((each.row.where, each.why, each.row.chip.uid) for each in strays)
        table = table_of(
            "Rows that match no card",
            {
                "Row": [where for where, _, _ in rows],
                "Chip": [chip for _, _, chip in rows],
                "What was found": [why for _, why, _ in rows],
            },
        )
        heading = f"{many(len(strays), 'row')} that {'matches' if len(strays) == 1 else 'match'} no card"
        chip = next((each.row.chip.uid for each in strays if each.row.chip.uid), "")
        find = f"dataloader card {chip} --in {quote(str(found.manifest.path.parent))}" if chip else ""
        yield replace(_matter(heading, _TODO_UNKNOWN, Tone.ATTENTION, table, left), command=find)
    aside = found.ledger.set_aside
    if aside:
        rows, left = _folded((where, text, "") for where, text in aside)
        table = Table("Rows that are set aside", ("Row", "What was found"), tuple(row[:2] for row in rows))
        yield _matter(f"{many(len(aside), 'row')} set aside", _TODO_SET_ASIDE, Tone.ATTENTION, table, left)
    if found.warnings:
        rows, left = _folded((each.where, each.rule, each.todo or "") for each in found.warnings)
        table = table_of(
            "Warnings",
            {
                "Where": [where for where, _, _ in rows],
                "What was found": [rule for _, rule, _ in rows],
                "What to do": [todo for _, _, todo in rows],
            },
        )
        yield _matter(many(len(found.warnings), "warning"), "", Tone.QUIET, table, left)


@dataclass
class _Cards:
    """Cards with the same finding."""

    first: ReturnedCard
    numbers: list[int] = field(default_factory=list)
    differ: bool = False
    """Whether their findings name different rows or UUIDs."""


def _cards(caption: str, groups: Sequence[tuple[str, _Cards]]) -> Table:
    """Return cards as a table; those with the same finding are one row."""
    alone = [len(cards.numbers) == 1 for _, cards in groups]
    return table_of(
        caption,
        {
            "Card": [ranges(sorted(cards.numbers), SHOWN_RUNS) for _, cards in groups],
            "UUID": [cards.first.card.uuid if one else "" for one, (_, cards) in zip(alone, groups, strict=True)],
            "Chip": [cards.first.chip if one else "" for one, (_, cards) in zip(alone, groups, strict=True)],
            "What was found": [reason if cards.differ else cards.first.reason for reason, cards in groups],
        },
    )


def _folded(found: Iterable[tuple[str, str, str]]) -> tuple[list[tuple[str, str, str]], int]:
    """Fold what was found in several rows of a file into one line.

    Args:
        found: the place, the finding, and details, which are omitted if they differ.

    Returns:
        At most :data:`SHOWN` lines, and the number of rows not shown.
    """
    groups: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for each in found:
        where, text, _ = each
        key = (_ROW.sub("", where), _ROW.sub("", without_uuids(text)))
        groups.setdefault(key, []).append(each)
    lines = []
    for (place, text), same in [*groups.items()][:SHOWN]:
        rows = [match for match in (_ROW.search(where) for where, _, _ in same) if match]
        if len(same) == 1 or len(rows) < len(same):
            lines += same
            continue
        numbers = sorted(int(match[2]) for match in rows)
        others = {other for _, _, other in same}
        lines.append(
            (f"{place}, {rows[0][1]}s {ranges(numbers, SHOWN_RUNS)}", text, others.pop() if len(others) == 1 else "")
        )
    return lines, sum(len(same) for same in [*groups.values()][SHOWN:])


def _matter(heading: str, todo: str, tone: Tone, table: Table, left: int) -> Attention:
    return Attention(heading, todo, tone, table=table, more=left, all_of_them=ALL_OF_THEM)
