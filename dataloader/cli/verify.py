"""The command ``verify``: check that every card works."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from dataloader.batch import Card, CardFile, Reconciled, revocations_path
from dataloader.cli._cards import CardLines
from dataloader.cli._command import command
from dataloader.cli._details import Write, details_file, details_option
from dataloader.cli._history import read_history
from dataloader.cli._manifests import (
    get_manifests,
    left_out_json,
    left_out_text,
    rounds_json,
    rounds_text,
    tell_of_reconciled,
)
from dataloader.cli._options import (
    HistoryOptions,
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    history_options,
    manifest_argument,
    report_options,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.common import ExitCode, many, now
from dataloader.operations import (
    CardVerdict,
    VerifyResult,
    VerifyVerdict,
    working_nevertheless,
)
from dataloader.operations import verify as verify_cards
from dataloader.report import History, Moment, Noted, verify_report

SHOWN = 20
"""Revoked cards that work to name on the screen."""


@command(short_help="Check that every card works.")
@manifest_argument(required=True)
@target_options
@snapset_options
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Check only N cards of each batch, chosen at random."
)
@details_option("card that is not as it was minted")
@report_options
@history_options
@global_options
@click.pass_obj
def verify(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    report_options: ReportOptions,
    history_options: HistoryOptions,
    manifests: tuple[Path, ...],
    sample: int | None,
    details: Path | None,
) -> ExitCode:
    """Check that every card works, and that no revoked card is still served.

    \b
    Example:
      dataloader verify batches/spring.reconciled.jsonl --target production --sample 200
    """
    earlier = read_history(history_options, report_options, lambda data: {"": data["verdicts"]})
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    read = get_manifests(manifests)
    rounds = tell_of_reconciled(output, read)
    server = get_server(target)
    time = now()
    progress = Progress(output, "cards", whole=sum(min(each.count, sample or each.count) for each in read))
    with (
        reporting(output, report_options, "Verification", read, target, server) as report,
        details_file(output, details) as write,
    ):
        verdicts = _Verdicts(output, write)
        with progress:
            result = verify_cards(
                server, target, read, snapsets, sample=sample, on_progress=progress, on_verdict=verdicts
            )
            listed = [(each, card) for each, cards in working_nevertheless(server, target, read) for card in cards]
        still = {"revoked_but_working": len(listed)}
        output.result(
            {"time": time, **verify_json(result), **still, "left_out": left_out_json(read), **rounds_json(rounds)},
            [*left_out_text(read), *rounds_text(rounds), *verify_text(result)],
        )
        output.warnings(verdicts.cards.lines(), in_report=True)
        output.warnings([_still_text(*each) for each in listed[:SHOWN]], in_report=True)
        code = ExitCode.OK if result.good and not listed else ExitCode.VERIFY
        moment = Moment(time, {each.value: result.verdicts[each] for each in VerifyVerdict})
        history = History("Over time", (*earlier.get("", ()), moment))
        report(lambda: replace(verify_report(read, result, verdicts.noted, len(listed)), histories=(history,)), code)
    wrong = []
    if listed:
        count = f"{many(len(listed), 'revoked card')} {'works' if len(listed) == 1 else 'work'}"
        wrong.append(f"{count} (load the batch: that revokes what is on the list)")
    if not result.good:
        bad = result.verdicts[VerifyVerdict.MISSING] + result.verdicts[VerifyVerdict.WRONG]
        wrong.append(f"{many(bad, 'card')} would not work ({_advice(read, result)})")
    if wrong:
        output.error("; ".join(wrong), code)
    return code


def _still_text(manifest: CardFile, card: Card) -> str:
    return f"batch {manifest.header.name}, card {card.number}: works, but is on the list {revocations_path(manifest)}"


def _advice(manifests: Sequence[CardFile], result: VerifyResult) -> str:
    """Return what to do about cards that do not work."""
    parts = []
    if result.verdicts[VerifyVerdict.MISSING]:
        in_doubt = any(not isinstance(each, Reconciled) for each in manifests)
        which = "the missing cards that came back encoded" if in_doubt else "the batch, for the missing cards"
        parts.append(f"load {which}")
    if result.verdicts[VerifyVerdict.WRONG]:
        parts.append("run the commands named for the wrong ones, or inspect their documents")
    return "; ".join(parts)


class _Verdicts:
    """Collects results for cards: the first few for the screen, more for the report, all for the file."""

    def __init__(self, output: Output, write: Write) -> None:
        self._write = write
        self.cards = CardLines(output.full)
        self.noted: Noted[CardVerdict] = Noted()

    def __call__(self, manifest: CardFile, card: CardVerdict) -> None:
        self._write(
            {
                "batch": manifest.header.name,
                "uuid": card.uuid,
                "verdict": card.verdict.value,
                "reason": card.reason,
                "fix": card.fix(manifest),
            }
        )
        if card.verdict in {VerifyVerdict.MISSING, VerifyVerdict.WRONG}:
            self.noted(card.verdict, card)
        elif not card.is_odd:
            return
        self.cards(manifest, card.uuid, card.told(manifest))


def verify_json(result: VerifyResult) -> dict[str, Any]:
    """Return the verdicts as JSON data."""
    return {
        "verdicts": {verdict.value: result.verdicts[verdict] for verdict in VerifyVerdict},
        "cards": result.verdicts.total(),
        "answers": result.answers,
        "seconds": round(result.seconds, 3),
    }


def verify_text(result: VerifyResult) -> Iterator[str]:
    """Yield the verdicts as lines."""
    parts = [f"{result.verdicts[verdict]:,} {verdict.value}" for verdict in VerifyVerdict if result.verdicts[verdict]]
    yield f"checked {many(result.verdicts.total(), 'card')} in {result.seconds:.1f} s: {', '.join(parts) or 'none'}"
