"""The command ``snapsets``: what each snapset sets, in words, and a copy of them to edit."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click

from dataloader.cli._command import command
from dataloader.cli._completion import complete_snapset
from dataloader.cli._next import option_words, target_words
from dataloader.cli._options import (
    SnapsetOptions,
    TargetOptions,
    get_server,
    get_snapsets,
    get_target,
    snapset_options,
    target_options,
)
from dataloader.cli._output import Output, global_options
from dataloader.cli._table import table
from dataloader.common import ExitCode, InputError, UsageError, many
from dataloader.operations import Difference, difference, target_differences
from dataloader.records import Snapset, Snapsets, copy_snapsets, in_words
from dataloader.records.models import DEFAULT_MODEL


@command(short_help="Describe snapsets in words, compare or copy them.")
@click.argument("action", type=click.Choice(["list", "show", "diff", "copy"]), metavar="list|show|diff|copy")
@click.argument("names", nargs=-1, metavar="[NAME|DIR]...", shell_complete=complete_snapset)
@target_options
@snapset_options
@global_options
@click.pass_obj
def snapsets(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    snapset_options: SnapsetOptions,
    action: str,
    names: tuple[str, ...],
) -> ExitCode:
    """Describe snapsets in words. `diff A B` compares two; `diff` with a target compares the target with the folder.

    `copy DIR` copies the snapsets of all models to a new folder, to edit them there.

    Snapsets are those of the target's model, or of --model (default: gpii-token).

    \b
    Example:
      dataloader snapsets diff --target production
    """
    target = get_target(output, target_options) if target_options.is_named else None
    if action == "copy":
        return _copy(output, snapset_options.snapsets_dir or (None if target is None else target.snapsets), names)
    model = (target_options.model or DEFAULT_MODEL) if target is None else target.model.name
    found = get_snapsets(output, snapset_options, target).of(model)
    if action == "diff" and not names:
        if target is None:
            raise UsageError("diff", rule="needs two snapsets, or a target", todo="give two names, or --target")
        differences = target_differences(get_server(target), target, found)
        output.result({"differences": [_difference_json(each) for each in differences]}, _difference_text(differences))
        output.next(f"dataloader plan{target_words(click.get_current_context())} --diff")
        return ExitCode.OK
    if len(names) != {"list": 0, "show": 1, "diff": 2}[action]:
        rule = {"list": "takes no names", "show": "takes one snapset", "diff": "takes two snapsets"}[action]
        raise UsageError(action, rule=rule, todo="see `dataloader snapsets --help`")
    chosen = [_get(found, name) for name in names] or list(found)
    if action == "diff":
        first, second = chosen
        each = difference(f"{first.name}, {second.name}", first.preferences, second.preferences, model)
        output.result({"differences": [_difference_json(each)]}, _difference_text([] if each.is_none else [each]))
        return ExitCode.OK
    output.result(
        {"model": model, "snapsets": [_snapset_json(each, model) for each in chosen]},
        _list_text(chosen, model, found.folder) if action == "list" else _show_text(chosen[0], model),
    )
    if action == "list" and chosen:
        output.next(f"dataloader snapsets show {chosen[0].name}{target_words(click.get_current_context())}")
    elif action == "show":
        folder = option_words(click.get_current_context(), "snapsets_dir")
        output.next(f"dataloader generate trial --cards 10 --snapset {chosen[0].name}{folder}")
    return ExitCode.OK


def _copy(output: Output, folder: Path | None, names: Sequence[str]) -> ExitCode:
    if len(names) != 1:
        raise UsageError("copy", rule="takes one new folder", todo="name it: dataloader snapsets copy corrected")
    to = Path(names[0])
    count = copy_snapsets(folder, to)
    output.result({"folder": str(to), "copied": count}, [f"copied {many(count, 'snapset')} to {to}"])
    output.next(f"edit them, then dataloader validate {quote(str(to))}")
    return ExitCode.OK


def _get(found: Snapsets, name: str) -> Snapset:
    snapset = found.get(name)
    if snapset is None:
        raise InputError(list(found.problems_of(name, "snapsets")))
    return snapset


def _snapset_json(snapset: Snapset, model: str) -> dict[str, Any]:
    return {"name": snapset.name, "title": snapset.title, "sets": in_words(snapset.preferences, model)}


def _list_text(chosen: Sequence[Snapset], model: str, folder: Path) -> list[str]:
    if not chosen:
        return [f"{folder} contains no snapsets of model {model}"]
    return table([(each.name, each.title, "; ".join(in_words(each.preferences, model).values())) for each in chosen])


def _show_text(snapset: Snapset, model: str) -> Iterator[str]:
    yield f"{snapset.name}  {snapset.title}  (model {model})"
    for said in in_words(snapset.preferences, model).values() or ["no settings"]:
        yield f"  {said}"


def _difference_json(each: Difference) -> dict[str, Any]:
    return {"name": each.name, "removed": each.removed, "added": each.added, "missing": each.is_missing}


def _difference_text(differences: Sequence[Difference]) -> Iterator[str]:
    for each in differences:
        yield f"{each.name}{': not on the target' if each.is_missing else ''}"
        yield from (f"  - {said}" for said in each.removed)
        yield from (f"  + {said}" for said in each.added)
    if not differences:
        yield "no differences"
