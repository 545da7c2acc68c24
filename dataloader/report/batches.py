"""Reports of the batches in a folder: their progress and next steps."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from shlex import quote

from dataloader.common import are, many
from dataloader.operations import BatchStatus, FoundBatch, VerifyVerdict, next_step
from dataloader.report.model import Attention, Report, Share, Table, Tone
from dataloader.report.status import shares_of

SHOWN_STEPS = 20
"""Batches whose next step has its own section; the rest are counted."""


def batches_report(folder: str, found: Sequence[FoundBatch], states: Mapping[str, BatchStatus], options: str) -> Report:
    """Return the report of the batches in a folder.

    Args:
        folder: the name of the folder.
        found: its batches.
        states: their status on a target, by the digests of their manifests; empty if no target is given.
        options: the options for this target, each preceded by a space.
    """
    again = sum(each.to_encode for each in found)
    verdicts = sum((each.verdicts for each in states.values()), Counter[VerifyVerdict]())
    wrong = verdicts[VerifyVerdict.WRONG]
    counts = _counts(found, states)
    return Report(
        f"Batches in folder {folder}",
        f"{many(wrong, 'card')} would not work." if wrong else counts,
        Tone.BAD if wrong else Tone.ATTENTION if again else Tone.GOOD if found else Tone.QUIET,
        (counts,) if wrong else (),
        shares=shares_of(verdicts) if states else _shares(found, again),
        attention=tuple(_steps(found, states, options)),
        tables=(_by_batch(found, states),),
    )


def _counts(found: Sequence[FoundBatch], states: Mapping[str, BatchStatus]) -> str:
    if not found:
        return "There are no batches in this folder."
    minted = sum(each.manifest.header.cards for each in found)
    parts = [f"{many(len(found), 'batch', 'batches')} with {many(minted, 'card')}"]
    encoded, again = sum(each.ready or 0 for each in found), sum(each.to_encode for each in found)
    parts += [f"{encoded:,} came back encoded"] if any(each.rounds for each in found) else ["nothing has come back yet"]
    parts += [f"{again:,} to encode again"] if again else []
    for name in ("loaded", "edited", "revoked", "wrong") if states else ():
        count = sum(getattr(each, name) for each in states.values())
        parts += [f"{count:,} {are(count)} {name}"] if count or name == "loaded" else []
    return f"{'; '.join(parts)}."


def _shares(found: Sequence[FoundBatch], again: int) -> tuple[Share, ...]:
    waiting = sum(each.manifest.header.cards for each in found if not each.rounds)
    spares = sum(each.newest.counts.spares_unused for each in found if each.newest)
    return (
        Share("encoded", sum(each.ready or 0 for each in found), "are on one chip, without doubt", Tone.GOOD),
        Share("unused spares", spares, "were not needed", Tone.QUIET),
        Share("at the vendor", waiting, "nothing of their batch has come back yet", Tone.QUIET),
        Share("to encode again", again, "failed, are missing, or something about them is in doubt", Tone.ATTENTION),
    )


def _steps(found: Sequence[FoundBatch], states: Mapping[str, BatchStatus], options: str) -> Iterator[Attention]:
    open_ = []
    for each in found:
        status = states.get(each.manifest.header.digest)
        step, tone = next_step(each, status, options), Tone.GOOD
        if step.command:
            heading, tone = _heading(each, status)
            todo = f"{step.words[:1].upper()}{step.words[1:]}, then reconcile what comes back." if step.words else ""
            open_.append(Attention(f"{each.manifest.header.name}: {heading}", todo, tone, command=step.command))
        if status is not None and status.wrong and tone is not Tone.BAD:
            # The next step is another one.
            heading = f"{each.manifest.header.name}: {many(status.wrong, 'card')} wrong"
            verify = f"dataloader verify {quote(str((each.newest or each.manifest).path))}{options}"
            open_.append(Attention(heading, "The command names the repair for each card.", Tone.BAD, command=verify))
    order = (Tone.BAD, Tone.ATTENTION, Tone.QUIET)
    open_.sort(key=lambda each: order.index(each.tone))
    yield from open_[:SHOWN_STEPS]
    if len(open_) > SHOWN_STEPS:
        rest = f"{many(len(open_) - SHOWN_STEPS, 'other batch', 'other batches')} with a next step"
        yield Attention(rest, "dataloader batches lists all of them.", Tone.QUIET)


def _heading(batch: FoundBatch, status: BatchStatus | None) -> tuple[str, Tone]:
    """Return what a batch is waiting for, and how serious that is."""
    if batch.newest is None:
        return "nothing has come back from the vendor", Tone.QUIET
    if batch.to_encode:
        return f"{many(batch.to_encode, 'card')} to encode again", Tone.ATTENTION
    if status is None:
        return f"{many(batch.newest.count, 'card')} to load", Tone.QUIET
    if status.wrong:
        return f"{many(status.wrong, 'card')} wrong", Tone.BAD
    return f"{many(batch.newest.count - status.loaded, 'encoded card')} not loaded", Tone.ATTENTION


def _by_batch(found: Sequence[FoundBatch], states: Mapping[str, BatchStatus]) -> Table:
    on_target = ("loaded", "edited", "revoked", "wrong") if states else ()
    rows: list[tuple[str | int, ...]] = []
    for each in found:
        status = states.get(each.manifest.header.digest)
        counts = tuple(getattr(status, name) for name in on_target)
        encoded = "unknown" if each.ready is None else each.ready
        header = each.manifest.header
        rows.append((header.name, header.cards, len(each.rounds), encoded, each.to_encode, *counts))
    head = ("Batch", "Cards", "Rounds", "Encoded", "To encode again", *(name.capitalize() for name in on_target))
    return Table("Cards by batch", head, tuple(rows))
