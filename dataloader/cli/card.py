"""The command ``card``: show everything about one card."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click

from dataloader.batch import Verdict
from dataloader.cli._command import command
from dataloader.cli._next import on_any_target, option_words, target_words
from dataloader.cli._options import (
    PATH,
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.common import ExitCode, InputError, Problem
from dataloader.operations import CardState, FoundCard, VerifyVerdict, card_state, find_batches, find_card
from dataloader.target import Target

SHOWN = 3
"""Cards with one number to name commands for."""


@command(short_help="Show what is known about one card.")
@click.argument("what", metavar="NUMBER|UUID|CHIP")
@click.option(
    "--in",
    "folder",
    type=PATH,
    default=Path(),
    metavar="DIR",
    help="The folder of the manifests (default: the current folder).",
)
@target_options
@snapset_options
@click.option("--full", is_flag=True, help="Show the whole UUID instead of its first 8 characters.")
@global_options
@click.pass_obj
def card(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    what: str,
    folder: Path,
    full: bool,
) -> ExitCode:
    """Show what is known about one card: batch, snapset, chip, and the result of each round.

    Find the card by its number, its UUID or at least 4 characters of its beginning, or the UID of its chip; a chip that
    was replaced is a warning. With a target, also show whether the card works there, and when and why it was revoked.

    \b
    Example:
      dataloader card 04A2B3C4D5E6F7 --in batches --target production
    """
    output.full = full
    batches = find_batches(folder)
    if not batches.batches:
        nothing = Problem(str(folder), "contains no batches", "name the folder of the manifests with --in")
        raise InputError([*batches.problems] or nothing)
    found = find_card(batches.batches, what)
    states: list[CardState] | None = None
    target: Target | None = None
    if target_options.is_named:
        target = get_target(output, target_options)
        snapsets = get_snapsets(output, snapset_options, target)
        server = get_server(target)
        states = [card_state(server, target, each, snapsets) for each in found]
    output.result(
        {"cards": [_json(output, each, None if states is None else states[at]) for at, each in enumerate(found)]},
        [
            line
            for at, each in enumerate(found)
            for line in _text(each, target, None if states is None else states[at], is_first=at == 0)
        ],
    )
    for each in found:
        if why := each.wrong_chip:
            output.warn(f"chip {each.asked_chip} must not be used: {why} (destroy it)")
    output.next(_next(found, states))
    return ExitCode.OK


def _next(found: Sequence[FoundCard], states: Sequence[CardState] | None) -> str:
    """Return what to type next: which card is meant, how it or its batch is, or how to revoke it or make it work."""
    context = click.get_current_context()
    target = target_words(context)
    folder = option_words(context, "folder")
    named = [f"dataloader card {each.card.uuid[:8]}{folder}" for each in found]
    if len(found) > 1:
        return "; or ".join(f"{each}{target}" for each in named[:SHOWN])
    if states is None:
        return on_any_target(named[0])
    if states[0].verdict is VerifyVerdict.MISSING:
        where = quote(str(context.params["folder"]))
        return f"dataloader batches{'' if where == '.' else f' {where}'}{target}"
    path, number = found[0].batch.manifest.path, found[0].card.number
    then = "--undo" if states[0].verdict is VerifyVerdict.REVOKED else "--reason lost"
    return f"dataloader revoke {quote(str(path))} --card {number} {then}{target}"


def _json(output: Output, found: FoundCard, state: CardState | None) -> dict[str, Any]:
    return {
        "batch": found.batch.manifest.header.name,
        "manifest": str(found.batch.manifest.path),
        "number": found.card.number,
        "uuid": output.shown(found.card.uuid),
        "snapset": found.card.snapset,
        "spare": found.batch.manifest.header.is_spare(found.card.number),
        "chip": found.chip or None,
        "wrong_chip": found.asked_chip if found.wrong_chip else None,
        "rounds": [
            {
                "file": str(each.path),
                "round": each.round,
                "verdict": returned.verdict.value,
                "chip": returned.chip or None,
                "reason": output.shown(returned.reason),
                "unused_spare": returned.unused_spare,
            }
            for each, returned in found.rounds
        ],
        **(
            {}
            if state is None
            else {
                "state": state.verdict.value,
                "reason": output.shown(state.reason),
                "revoked_at": state.revoked_at or None,
                "revoked_reason": state.revoked_reason or None,
            }
        ),
    }


def _text(found: FoundCard, target: Target | None, state: CardState | None, *, is_first: bool) -> Iterator[str]:
    if not is_first:
        yield ""
    header = found.batch.manifest.header
    spare = ", a spare" if header.is_spare(found.card.number) else ""
    yield f"card {found.card.number:,} ({found.card.uuid}) of batch {header.name}{spare}"
    yield f"manifest  {found.batch.manifest.path}"
    yield f"snapset   {found.card.snapset}"
    yield f"chip      {found.chip or 'not known'}"
    if not found.rounds:
        yield "vendor    nothing has come back"
    for each, returned in found.rounds:
        said = "unused spare" if returned.unused_spare else returned.verdict.value
        why = f": {returned.reason}" if returned.reason and returned.verdict is not Verdict.ENCODED else ""
        yield f"round {each.round:<3} {said}{why}  ({each.path})"
    if state is not None and target is not None:
        why = f": {state.reason}" if state.reason else ""
        yield f"state     {state.verdict.value}{why}  ({target.environment} at {target.address.url})"
        if state.revoked_reason:
            yield f"revoked   {state.revoked_at or 'at an unknown time'}: {state.revoked_reason}"
