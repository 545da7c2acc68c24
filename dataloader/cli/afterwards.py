"""Commands about cards that are out in the world: revoke, status."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from dataloader.choice import choose
from dataloader.cli.options import (
    PATH,
    get_manifests,
    get_server,
    get_snapsets,
    get_target,
    manifest_argument,
    raised_text,
    report_options,
    snapset_options,
    target_options,
)
from dataloader.cli.output import Output, global_options, table, tell_of_copies
from dataloader.cli.progress import Progress
from dataloader.cli.reporting import reporting
from dataloader.errors import ExitCode, UsageError
from dataloader.manifest import Card, CardFile
from dataloader.report.model import many
from dataloader.report.noted import Noted
from dataloader.report.status import status_report
from dataloader.revoke import CardOutcome, Outcome, RevokeResult, check_reason, restore
from dataloader.revoke import revoke as revoke_cards
from dataloader.status import BatchStatus, StatusResult
from dataloader.status import status as status_of
from dataloader.targets import Target
from dataloader.verify import CardVerdict, Verdict

SHOWN_CARDS = 20
"""Cards that are named on the screen."""

_SAID = {
    Outcome.REVOKED: "revoked: it no longer works",
    Outcome.ALREADY_REVOKED: "was revoked already",
    Outcome.BARRED: "revoked: it was not loaded yet, and will not work when it is",
    Outcome.RESTORED: "works again, with everything that it had",
    Outcome.NOT_REVOKED: "was not revoked",
    Outcome.NOT_LOADED: "was never loaded",
    Outcome.FOREIGN: "left as it is",
    Outcome.FAILED: "failed",
}


@click.command(short_help="Have lost cards stop working, or work again.")
@click.argument("manifest_path", type=PATH, metavar="MANIFEST")
@target_options
@click.option("--card", "numbers", type=int, multiple=True, metavar="N", help="A card's number; may be repeated.")
@click.option("--uuid", "uuids", multiple=True, metavar="UUID", help="A card's UUID; may be repeated.")
@click.option("--file", type=PATH, metavar="FILE", help="A text or CSV file with a card number or a UUID a line.")
@click.option("--reason", metavar="TEXT", help="Why; is kept with what is revoked. Needed unless --undo is given.")
@click.option("--undo", is_flag=True, help="Have the cards work again, with everything that they had.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@global_options
@click.pass_obj
def revoke(
    output: Output,
    /,
    manifest_path: Path,
    numbers: tuple[int, ...],
    uuids: tuple[str, ...],
    file: Path | None,
    reason: str | None,
    *,
    undo: bool,
    yes: bool,
    **options: Any,
) -> ExitCode:
    """Have cards of a batch stop working: lost, stolen, or given back. Their preference sets are kept.

    Later loads leave them so. A card that is not loaded yet will not work when it is. With --undo they work again.

    \b
    Example:
      dataloader revoke batches/spring.batch.jsonl --target production --card 17 --card 204 --reason "lost"
    """
    reason = _reason(reason, undo=undo)
    target = get_target(output, options)
    [manifest] = get_manifests([manifest_path])
    cards = choose(manifest, numbers, uuids, file)
    server = get_server(target)
    if not yes and not _confirmed(_question(target, manifest, cards, undo=undo)):
        output.error("not confirmed: nothing has been written", ExitCode.INTERRUPTED)
        return ExitCode.INTERRUPTED
    outcomes: list[CardOutcome] = []
    progress = Progress(output, "cards")
    hooks: dict[str, Any] = {"on_progress": progress, "on_outcome": outcomes.append}
    try:
        if undo:
            result = restore(server, target, manifest, cards, **hooks)
        else:
            result = revoke_cards(server, target, manifest, cards, reason, **hooks)
    finally:
        progress.close()
    output.result(_revoke_json(result, outcomes), _revoke_text(result, outcomes))
    output.warnings(raised_text(target, result.raised))
    return _revoke_code(output, result, outcomes)


def _reason(reason: str | None, *, undo: bool) -> str:
    if undo and reason is not None:
        raise UsageError("--undo --reason", rule="exclude each other", todo="leave --reason out")
    if not undo and reason is None:
        raise UsageError("--reason", rule="is missing", todo='say why, as in --reason "lost"')
    return "" if reason is None else check_reason(reason)


def _question(target: Target, manifest: CardFile, cards: Sequence[Card], *, undo: bool) -> str:
    numbers = ", ".join(str(card.number) for card in cards[:SHOWN_CARDS])
    more = f", and {len(cards) - SHOWN_CARDS:,} more" if len(cards) > SHOWN_CARDS else ""
    which = f"card {numbers}" if len(cards) == 1 else f"{len(cards):,} cards ({numbers}{more})"
    will = "will work again" if undo else "will stop working"
    where = f"{target.address.url} (model {target.model.name}, environment {target.environment})"
    return f"{which} of batch {manifest.header.name} {will}, at {where}. Go on?"


def _confirmed(question: str) -> bool:
    """Ask on the terminal.

    Raises:
        UsageError: there is none.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", rule=question, todo="add --yes to go on without asking")
    return click.confirm(question, err=True)


def _revoke_json(result: RevokeResult, outcomes: Sequence[CardOutcome]) -> dict[str, Any]:
    return {
        **{outcome.value: result.outcomes[outcome] for outcome in Outcome},
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
        yield f"and {len(outcomes) - SHOWN_CARDS:,} more cards (--json names all)"
    parts = [
        f"{count:,} {outcome.value.replace('_', ' ')}" for outcome in Outcome if (count := result.outcomes[outcome])
    ]
    yield f"{many(result.outcomes.total(), 'card')} in {result.seconds:.1f} s: {', '.join(parts)}"


def _said(card: CardOutcome) -> str:
    if card.outcome is Outcome.RESTORED and card.reason:
        return "is no longer revoked"
    return _SAID[card.outcome]


def _revoke_code(output: Output, result: RevokeResult, outcomes: Sequence[CardOutcome]) -> ExitCode:
    output.warnings(f"card {each.card.number}: {each.reason}" for each in outcomes if each.reason)
    if result.needs_attention:
        one = result.needs_attention == 1
        which = "1 card needs" if one else f"{result.needs_attention:,} cards need"
        output.error(f"{which} a person's attention (see to the documents that are named)", ExitCode.ATTENTION)
    code = tell_of_copies(output, result.nodes_away, short=result.short_of_copies)
    return ExitCode.ATTENTION if result.needs_attention else code


@click.command(short_help="See batches at a glance: loaded, in use, revoked, wrong.")
@manifest_argument(required=True)
@target_options
@snapset_options
@report_options
@global_options
@click.pass_obj
def status(
    output: Output,
    /,
    manifests: tuple[Path, ...],
    snapsets_dir: Path | None,
    *,
    strict: bool,
    **options: Any,
) -> ExitCode:
    """Show how batches stand: cards minted, encoded, loaded, in use, revoked, missing, and wrong.

    In use are cards whose owners have changed something. Cards that are not loaded yet are no failure here. How many
    are encoded is known from NAME.reconciled.jsonl, beside the manifest or given in its place.

    \b
    Example:
      dataloader status batches/spring.batch.jsonl --target production
    """
    target = get_target(output, options)
    snapsets = get_snapsets(output, snapsets_dir, strict=strict)
    read = get_manifests(manifests)
    lines: list[str] = []
    noted: Noted[CardVerdict] = Noted()

    def note(manifest: CardFile, card: CardVerdict) -> None:
        if card.verdict is Verdict.WRONG:
            noted(Verdict.WRONG, card)
        if len(lines) < SHOWN_CARDS:
            lines.append(f"batch {manifest.header.name}, card {card.uuid}: {card.verdict.value}: {card.reason}")

    server = get_server(target)
    progress = Progress(output, "cards")
    with reporting(output, options, "Status", read, target, server) as report:
        try:
            result = status_of(server, target, read, snapsets, on_progress=progress, on_wrong=note)
        finally:
            progress.close()
        output.result(_status_json(result), _status_text(result))
        for line in lines:
            output.warn(line)
        for batch in result.batches:
            if batch.encoded is not None and batch.loaded > batch.encoded:
                rest = f"of which {batch.encoded:,} have come back encoded"
                output.warn(f"batch {batch.name}: {batch.loaded:,} cards are loaded, {rest}; revoke those in doubt")
        wrong = result.total.wrong
        code = ExitCode.VERIFY if wrong else ExitCode.OK
        report(lambda: status_report(read, result, noted), code)
    if wrong:
        which = "1 card would not work (a person has to look at it)"
        if wrong > 1:
            which = f"{wrong:,} cards would not work (a person has to look at them)"
        output.error(which, code)
    return code


_COLUMNS = ("minted", "encoded", "loaded", "in_use", "revoked", "missing", "wrong")


def _status_json(result: StatusResult) -> dict[str, Any]:
    return {
        **_counts(result.total),
        "batches": [{"name": each.name, **_counts(each)} for each in result.batches],
        "seconds": round(result.seconds, 3),
    }


def _counts(batch: BatchStatus) -> dict[str, int | None]:
    return {column: getattr(batch, column) for column in _COLUMNS}


def _status_text(result: StatusResult) -> Iterator[str]:
    rows = [*result.batches, *([result.total] if len(result.batches) > 1 else [])]
    heads = ["batch", *(column.replace("_", " ") for column in _COLUMNS)]
    cells = [heads, *([each.name, *("?" if n is None else f"{n:,}" for n in _counts(each).values())] for each in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for name, *numbers in cells:
        yield "  ".join(
            [name.ljust(widths[0]), *(n.rjust(width) for n, width in zip(numbers, widths[1:], strict=True))]
        )
