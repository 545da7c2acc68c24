"""The command ``backups``: list the backups in a folder, and delete old ones."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

import click

from dataloader.archive import Unfinished, continued_in, remove_finished
from dataloader.cli._command import command
from dataloader.cli._next import on_any_target, option_words
from dataloader.cli._options import PATH
from dataloader.cli._output import Output, global_options
from dataloader.cli.backup import get_password, password_option, size_of
from dataloader.common import ExitCode, UsageError, many
from dataloader.operations import (
    KeepRules,
    KeptBackup,
    StoredBackup,
    choose_kept,
    prune,
    read_backups,
    without_base,
)

USUAL = "--keep-hourly 24 --keep-daily 7 --keep-weekly 8"
"""The rules to propose."""
_DAY = 86_400
"""Seconds; clocks and time zones differ by less."""
_RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


def _keep_options(function: Any) -> Any:
    for rule in reversed(_RULES):
        what = "newest backups" if rule == "last" else f"newest {rule} backups"
        function = click.option(
            f"--keep-{rule}", type=click.IntRange(min=0), default=0, metavar="N", help=f"With prune: keep the N {what}."
        )(function)
    return function


@command(short_help="List backups, or delete old ones.")
@click.argument("action", type=click.Choice(["list", "prune"]), metavar="list|prune")
@click.argument("folder", type=PATH, metavar="DIR")
@password_option
@_keep_options
@click.option("--dry-run", is_flag=True, help="With prune: only say what would be deleted.")
@global_options
@click.pass_obj
def backups(
    output: Output, /, *, action: str, folder: Path, password_file: Path | None, dry_run: bool, **keep: int
) -> ExitCode:
    """List the backups in a folder (age, size, last restore in a drill), or delete those that no rule keeps.

    The rules are restic's: --keep-daily 7 keeps the newest backup of each of the last 7 days that have one. Backups
    that a kept incremental backup continues are kept with it.

    \b
    Example:
      dataloader backups list backups/
      dataloader backups prune backups/ --keep-hourly 24 --keep-daily 7 --keep-weekly 8
    """
    stored, unreadable = read_backups(folder, get_password(output, password_file))
    lacking = without_base(stored)
    if action == "list":
        if dry_run or any(keep.values()):
            raise UsageError("backups list", rule="takes no rules", todo="use `dataloader backups prune`")
        _, unfinished = remove_finished(folder, dry_run=True)
        output.result(
            {
                "backups": [_json(each, restorable=each not in lacking) for each in stored],
                "unfinished": [str(each.path) for each in unfinished],
            },
            _listing(stored, unreadable=bool(unreadable)),
        )
        if not (unreadable or lacking):
            output.next(_next(folder, has_backups=bool(stored)))
    else:
        rules = KeepRules(**{rule: keep[f"keep_{rule}"] for rule in _RULES})
        kept = choose_kept(stored, rules, continued_in(folder))
        if not dry_run:
            prune(kept)
        leftovers, unfinished = remove_finished(folder, dry_run=dry_run)
        output.result(
            {**_pruned_json(kept, dry_run=dry_run), "leftovers": [str(each) for each in leftovers]},
            _pruned_text(kept, leftovers, dry_run=dry_run),
        )
    for each in unreadable:
        output.warn(each.reason)
    for left in unfinished:
        output.warn(_unfinished_text(left))
    for backup in lacking:
        output.warn(
            f"{backup.path}: cannot be restored, because the backup of {backup.header.base_created} that it continues "
            "cannot be read or is missing (put it back, or delete this one, too)"
        )
    if unreadable:
        output.error(f"{many(len(unreadable), 'backup')} in {folder} cannot be read", ExitCode.ATTENTION)
    if unreadable or lacking:
        return ExitCode.ATTENTION
    return ExitCode.OK


def _next(folder: Path, *, has_backups: bool) -> str:
    """Return what to type after the list: delete old backups, or make the first one."""
    password = option_words(click.get_current_context(), "password_file")
    if has_backups:
        return f"dataloader backups prune {quote(str(folder))} {USUAL} --dry-run{password}"
    return on_any_target(f"dataloader backup {quote(f'{folder}/')}{password}")


def _json(backup: StoredBackup, *, restorable: bool) -> dict[str, Any]:
    header, verified = backup.header, backup.verified
    return {
        "file": str(backup.path),
        "created": header.created,
        "age_seconds": round(_age(backup)),
        "bytes": backup.size,
        "prefix": header.prefix,
        "model": header.model,
        "environment": header.environment,
        "documents": header.documents,
        "incremental": header.base is not None,
        "restorable": restorable,
        "verified": None if verified is None else verified.time,
        "seconds_to_restore": None if verified is None else verified.seconds,
    }


def _unfinished_text(unfinished: Unfinished) -> str:
    age = age_of(max(0.0, time.time() - unfinished.modified))
    what = f"{size_of(unfinished.size)} of an interrupted backup, {age} old"
    return f"{unfinished.path}: {what} (run the same backup again to continue it, or delete the folder)"


def _age(backup: StoredBackup) -> float:
    return (datetime.now(UTC) - backup.created).total_seconds()


def _old(backup: StoredBackup) -> str:
    age = _age(backup)
    return f"{age_of(age)} old" if age > -_DAY else "in the future: a clock was wrong"


def age_of(seconds: float) -> str:
    """Format an age: ``40 s``, ``5 min``, ``3 h``, ``12 days``."""
    for unit, size, limit in (("s", 1, 60), ("min", 60, 3_600), ("h", 3_600, 172_800)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def _listing(stored: Sequence[StoredBackup], *, unreadable: bool) -> Iterator[str]:
    if not stored:
        yield "no backup that can be read" if unreadable else "no backups"
        return
    # The names are too long for a column.
    for each in stored:
        drill = "never drilled" if each.verified is None else f"drilled {each.verified.time[:16].replace('T', ' ')} UTC"
        kind = "full" if each.header.base is None else "incremental"
        yield f"{each.path.name} ({kind})"
        yield (
            f"  {each.created:%Y-%m-%d %H:%M} UTC, {_old(each)}, "
            f"{many(each.header.documents, 'document')}, {size_of(each.size)}, {drill}"
        )


def _pruned_json(kept: Sequence[KeptBackup], *, dry_run: bool) -> dict[str, Any]:
    return {
        "kept": [{"file": str(each.backup.path), "reasons": list(each.reasons)} for each in kept if each.reasons],
        "deleted": [str(each.backup.path) for each in kept if not each.reasons],
        "dry_run": dry_run,
    }


def _pruned_text(kept: Sequence[KeptBackup], leftovers: Sequence[Path], *, dry_run: bool) -> Iterator[str]:
    for each in kept:
        if each.reasons:
            yield f"keep    {each.backup.path.name} ({', '.join(each.reasons)})"
        else:
            yield f"{'delete ' if dry_run else 'deleted'} {each.backup.path.name}"
    for path in leftovers:
        yield f"{'delete ' if dry_run else 'deleted'} {path.name} (left by a killed backup)"
    gone = [each.backup for each in kept if not each.reasons]
    verb = "would delete" if dry_run else "deleted"
    freed = size_of(sum(each.size for each in gone))
    yield f"{verb} {many(len(gone), 'backup')} of {len(kept):,}, {freed}"
