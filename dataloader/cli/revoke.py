"""The command ``revoke``: make lost cards stop working, or work again."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from dataloader.batch import (
    Card,
    CardFile,
    Named,
    Reconciled,
    Verdict,
    choose,
    note_restored,
    note_revoked,
    one_at_a_time,
)
from dataloader.cli._command import command
from dataloader.cli._confirm import cancelled, confirmed
from dataloader.cli._details import details_file, details_option
from dataloader.cli._manifests import find_beside, get_manifests, rounds_json, rounds_text
from dataloader.cli._options import (
    PATH,
    ReportOptions,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    raised_text,
    report_options,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options, tell_of_copies, tell_of_decisions
from dataloader.cli._progress import Progress
from dataloader.cli._report import reporting
from dataloader.cli._table import table
from dataloader.common import ExitCode, UsageError, listed, many
from dataloader.operations import (
    CardOutcome,
    FoundBatch,
    RevokeOutcome,
    RevokeResult,
    check_reason,
    find_card,
    refuse_seeded,
    require_databases,
    restore,
)
from dataloader.operations import revoke as revoke_cards
from dataloader.report import revoke_report
from dataloader.target import Target
from dataloader.vendor.returned import read_named

SHOWN_CARDS = 20
"""Cards that are named on the screen."""
_RANGE = re.compile(r"[0-9]{1,7} *(-|to|\.\.) *[0-9]{1,7}")
"""A range of cards, which only a file may name."""
_NUMBER = re.compile(r"[0-9]{1,7}")
"""A card's number; the beginning of a UUID with digits only has to be longer."""


_SAID = {
    RevokeOutcome.REVOKED: "revoked: it no longer works",
    RevokeOutcome.ALREADY_REVOKED: "is already revoked",
    RevokeOutcome.BARRED: "revoked before it was loaded: a load will not make it work",
    RevokeOutcome.RESTORED: "works again, with everything that it had",
    RevokeOutcome.NOT_REVOKED: "was not revoked",
    RevokeOutcome.NOT_LOADED: "was never loaded",
    RevokeOutcome.FOREIGN: "not revoked: a document of another type has its ID",
    RevokeOutcome.FAILED: "failed",
}


@command(short_help="Revoke lost cards, or restore them.")
@click.argument("manifest_path", type=PATH, metavar="MANIFEST")
@target_options
@click.option(
    "--card",
    "names",
    multiple=True,
    metavar="NUMBER|UUID|CHIP",
    help="A card's number, its UUID or at least 4 characters of its beginning, or the UID of its chip; repeatable.",
)
@click.option("--uuid", "uuids", multiple=True, metavar="UUID", help="A card's UUID; repeatable.")
@click.option(
    "--file",
    type=PATH,
    metavar="FILE",
    help="A file that lists cards by number, range or UUID: text, CSV or a workbook.",
)
@click.option("--reason", metavar="TEXT", help="Why; kept with the revoked documents. Required unless --undo is given.")
@click.option("--undo", is_flag=True, help="Restore the cards with everything that they had.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@snapset_options
@details_option("card")
@report_options
@global_options
@click.pass_obj
def revoke(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    report_options: ReportOptions,
    manifest_path: Path,
    names: tuple[str, ...],
    uuids: tuple[str, ...],
    file: Path | None,
    reason: str | None,
    undo: bool,
    yes: bool,
    details: Path | None,
) -> ExitCode:
    """Make lost, stolen or returned cards of a batch stop working. Their preference sets are kept.

    If there is a reconciled file next to the manifest, the command warns about cards that are not known to be encoded.

    Later loads leave revoked cards revoked. A card that is not loaded yet can be revoked, too. With --undo, the cards
    work again. Running the command again repairs cards that an earlier version revoked, or that a server has restored.

    \b
    Example:
      dataloader revoke batches/spring.batch.jsonl --target production --card 17 --card 204 --reason "lost"
    """
    reason = _reason(reason, undo=undo)
    target = get_target(output, target_options)
    snapsets = get_snapsets(output, snapset_options, target)
    [manifest] = get_manifests([manifest_path])
    rounds = [] if isinstance(manifest, Reconciled) else [*filter(None, [find_beside(output, manifest)])]
    known = (manifest,) if isinstance(manifest, Reconciled) else tuple(rounds)
    numbers = [int(name) for name in names if _NUMBER.fullmatch(name)]
    others = [_named(manifest, known, name) for name in names if not _NUMBER.fullmatch(name)]
    cards = choose(manifest, numbers, uuids, [*others, *(read_named(file, manifest.header.name) if file else ())])
    output.warnings(line for each in rounds for line in _not_encoded(each, {card.number for card in cards}))
    server = get_server(target)
    if not yes and not confirmed(_question(target, manifest, cards, undo=undo)):
        return cancelled(output)
    outcomes: list[CardOutcome] = []
    progress = Progress(output, "cards")
    hooks: dict[str, Any] = {"on_progress": progress, "on_outcome": outcomes.append, "snapsets": snapsets}
    with (
        reporting(output, report_options, "Revocation", [manifest], target, server, writes=True) as report,
        details_file(output, details) as write,
    ):
        with progress, one_at_a_time(manifest):
            if undo:
                result = restore(server, target, manifest, cards, **hooks)
                still = {RevokeOutcome.FAILED, RevokeOutcome.FOREIGN}
                done = [each.card for each in outcomes if each.outcome not in still]
                note_restored(manifest, done, target.environment)
            else:
                # A batch that the target refuses has no list either.
                refuse_seeded(target, [manifest])
                # Nor has one for a mistyped prefix: a later load would revoke the cards in the right databases.
                require_databases(server, target)
                note_revoked(manifest, cards, reason, target.environment)
                result = revoke_cards(server, target, manifest, cards, reason, **hooks)
        for each in outcomes:
            write(_outcome(each))
        output.result(
            {**_revoke_json(result, outcomes), **rounds_json(rounds)},
            [*rounds_text(rounds), *_revoke_text(result, outcomes)],
        )
        output.warnings(raised_text(target, result.raised))
        code = _revoke_code(output, result, outcomes)
        report(lambda: revoke_report(manifest, result, outcomes, reason, undo=undo), code)
    return code


def _named(manifest: CardFile, rounds: tuple[Reconciled, ...], name: str) -> Named:
    """Return the card that is named by something else than its number.

    Raises:
        InputError: none is named so, or several are.
    """
    todo = "correct it, or give the manifest of the card's own batch"
    if _RANGE.fullmatch(name) or "," in name:
        todo = "repeat --card for each, or write the range in a file for --file"
    [found] = find_card([FoundBatch(manifest, rounds)], name, todo)
    return Named(f"--card {name}", uuid=found.card.uuid)


def _outcome(each: CardOutcome) -> dict[str, Any]:
    return {
        "number": each.card.number,
        "uuid": each.card.uuid,
        "outcome": each.outcome.value,
        "reason": each.reason,
    }


def _reason(reason: str | None, *, undo: bool) -> str:
    if undo and reason is not None:
        raise UsageError("--undo --reason", rule="cannot be combined", todo="leave --reason out")
    if not undo and reason is None:
        raise UsageError("--reason", rule="is missing", todo='say why, as in --reason "lost"')
    return "" if reason is None else check_reason(reason)


def _question(target: Target, manifest: CardFile, cards: Sequence[Card], *, undo: bool) -> str:
    numbers = ", ".join(str(card.number) for card in cards[:SHOWN_CARDS])
    more = f", and {len(cards) - SHOWN_CARDS:,} more" if len(cards) > SHOWN_CARDS else ""
    which = f"card {numbers}" if len(cards) == 1 else f"{len(cards):,} cards ({numbers}{more})"
    will = "will work again" if undo else "will stop working"
    return f"{which} of batch {manifest.header.name} {will} at {target.where}"


def _not_encoded(found: Reconciled, numbers: Collection[int]) -> Iterator[str]:
    """Yield a warning for those of the cards that did not come back encoded: nobody should have them."""
    named = [
        str(each.card.number)
        for each in found.verdicts()
        if each.card.number in numbers and each.verdict is not Verdict.ENCODED
    ]
    if named:
        which = "card" if len(named) == 1 else "cards"
        yield (
            f"{which} {listed(named, SHOWN_CARDS)} did not come back encoded, according to {found.path} "
            f"(round {found.round})"
        )


def _revoke_json(result: RevokeResult, outcomes: Sequence[CardOutcome]) -> dict[str, Any]:
    return {
        **{outcome.value: result.outcomes[outcome] for outcome in RevokeOutcome},
        "cards": result.outcomes.total(),
        "outcomes": [
            {"number": each.card.number, "outcome": each.outcome.value, "reason": each.reason} for each in outcomes
        ],
        "nodes_away": list(result.nodes_away),
        "short_of_copies": result.short_of_copies,
        "raised": {name: environment.value for name, environment in result.raised.items()},
        "seconds": round(result.seconds, 3),
    }


def _revoke_text(result: RevokeResult, outcomes: Sequence[CardOutcome]) -> Iterator[str]:
    yield from table([(f"card {each.card.number}", _said(each)) for each in outcomes[:SHOWN_CARDS]])
    if len(outcomes) > SHOWN_CARDS:
        yield f"and {len(outcomes) - SHOWN_CARDS:,} more cards (--json and --details FILE list all)"
    parts = [
        f"{count:,} {outcome.value.replace('_', ' ')}"
        for outcome in RevokeOutcome
        if (count := result.outcomes[outcome])
    ]
    yield f"{many(result.outcomes.total(), 'card')} in {result.seconds:.1f} s: {', '.join(parts)}"


def _said(card: CardOutcome) -> str:
    if card.outcome is RevokeOutcome.RESTORED and card.reason:
        return "is no longer revoked"
    return _SAID[card.outcome]


def _revoke_code(output: Output, result: RevokeResult, outcomes: Sequence[CardOutcome]) -> ExitCode:
    output.warnings(f"card {each.card.number}: {each.reason}" for each in outcomes if each.reason)
    decisions = tell_of_decisions(output, result.needs_attention, "card", " (inspect the documents named above)")
    copies = tell_of_copies(output, result.nodes_away, short=result.short_of_copies)
    return decisions or copies
