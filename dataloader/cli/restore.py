"""The command ``restore``: restore backups to a target."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import click

from dataloader.archive import Backup
from dataloader.batch import CardFile, revocations_path
from dataloader.cli._command import command
from dataloader.cli._confirm import cancelled, confirmed
from dataloader.cli._options import PATH, TargetOptions, get_server, get_target, raised_text, target_options
from dataloader.cli._output import Output, global_options, tell_of_copies, tell_of_decisions
from dataloader.cli._progress import Progress
from dataloader.cli.backup import get_password, password_option
from dataloader.common import ExitCode, UsageError, listed, many
from dataloader.operations import (
    RestoreResult,
    check_chain,
    list_warnings,
    manifests_with_revocations,
    restore_backup,
    revocations_of,
    revoke_again,
    revoked_nevertheless,
)
from dataloader.target import Environment, Target

SHOWN_DOCUMENTS = 20
"""Documents to name on the screen."""


@command(short_help="Restore backups into a target.")
@click.argument("files", nargs=-1, required=True, type=PATH, metavar="FILE...")
@target_options
@password_option
@click.option("--merge", is_flag=True, help="Add what is missing to databases that hold documents.")
@click.option(
    "--batches", type=PATH, metavar="DIR", help="The folder of the manifests and their lists of revoked cards."
)
@click.option("--no-revocations", is_flag=True, help="Let cards that were revoked since the backup work again.")
@click.option(
    "--shards", type=click.IntRange(1, 256), metavar="Q", help="Shards of new databases (default: as in the backup)."
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 16),
    metavar="N",
    help="Copies of each shard of new databases (default: as in the backup).",
)
@click.option("--yes", is_flag=True, help="Do not ask before restoring into production.")
@global_options
@click.pass_obj
def restore(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    files: tuple[Path, ...],
    password_file: Path | None,
    merge: bool,
    batches: Path | None,
    no_revocations: bool,
    shards: int | None,
    replicas: int | None,
    yes: bool,
) -> ExitCode:
    """Restore a backup and the incremental ones that follow it, then check that every revision is there.

    The databases must be empty or missing, or partly restored from the same files. With --merge they may be in use;
    documents that are newer than in the backup are not changed. Cards that were revoked since the backup stay revoked:
    --batches names the folder with the lists that `revoke` keeps next to the manifests.

    \b
    Example:
      dataloader restore backups/gpii-key-20180301T020000Z.backup.zst --target production --batches batches/
    """
    password = get_password(output, password_file)
    backups = [Backup(path, password) for path in files]
    target = get_target(output, target_options)
    check_chain(backups, target)
    if batches is not None and no_revocations:
        raise UsageError("--batches --no-revocations", rule="cannot be combined", todo="leave one out")
    if target.environment.protected and batches is None and not no_revocations:
        raise UsageError(
            f"restore into {target.environment}",
            rule="cards that were revoked since the backup would work again",
            todo="name the folder of the manifests with --batches, or add --no-revocations",
        )

    def manifests() -> Sequence[CardFile]:
        return [] if batches is None else manifests_with_revocations(batches)

    listed_early = manifests()
    output.warnings(list_warnings(listed_early))
    if not revocations_of(target, listed_early) and batches is not None:
        output.say(f"no revoked cards are listed next to the manifests in {batches}")
    server = get_server(target)
    if target.environment is Environment.PRODUCTION and not yes and not confirmed(_question(target, backups, merge)):
        return cancelled(output)
    progress = Progress(output)
    revoked = [0, 0]

    def apply_revocations() -> None:
        # A card may have been revoked since the start.
        again, undecided = revoke_again(server, target, manifests())
        revoked[:] = revoked[0] + again, undecided

    with progress:
        result = restore_backup(
            server,
            target,
            backups,
            merge=merge,
            shards=shards,
            replicas=replicas,
            on_ready=apply_revocations,
            on_progress=progress,
        )
        nevertheless = revoked_nevertheless(server, target, manifests())
    output.result({**restore_json(result), "revoked_again": revoked[0]}, _text(result, backups, revoked[0]))
    output.warnings(raised_text(target, result.raised))
    found = [
        f"card {card.number} of batch {manifest.header.name}: revoked in the backup, but restored since, according to "
        f"{revocations_path(manifest)} (`dataloader revoke {quote(str(manifest.path))} --card {card.number} --undo`)"
        for manifest, cards in nevertheless
        for card in cards
    ]
    output.warnings(found[:SHOWN_DOCUMENTS])
    return _code(output, result, revoked[1], len(found))


def _question(target: Target, backups: Sequence[Backup], merge: bool) -> str:  # noqa: FBT001 - as it was typed
    newest = backups[-1].header
    documents = many(sum(each.header.documents for each in backups), "document")
    how = "merge" if merge else "restore"
    return f"{how} {documents} of {newest.created} into {target.where}"


def restore_json(result: RestoreResult) -> dict[str, Any]:
    """Return the result of a restore as JSON data."""
    return {
        "complete": result.good,
        "documents": result.documents,
        "leaves": result.leaves,
        "written": result.written,
        "missing": result.missing_count,
        "kept": result.kept_count,
        "conflicts": result.conflict_count,
        "failed": result.failed,
        "created_databases": result.created_databases,
        "not_restored": list(result.not_restored),
        "views_built": result.views_built,
        "nodes_away": list(result.nodes_away),
        "short_of_copies": result.short_of_copies,
        "raised": {name: environment.value for name, environment in result.raised.items()},
        "seconds": round(result.seconds, 3),
        "seconds_checking": round(result.seconds_checking, 3),
        "seconds_writing": round(result.seconds_writing, 3),
        "seconds_comparing": round(result.seconds_comparing, 3),
        "seconds_indexing": round(result.seconds_indexing, 3),
    }


def _text(result: RestoreResult, backups: Sequence[Backup], revoked: int) -> Iterator[str]:
    for name in result.created_databases:
        yield f"created database {name}"
    if result.not_restored:
        yield f"not restored, because this server does not support it: {listed(result.not_restored)}"
    if revoked:
        yield f"revoked {many(revoked, 'card')} again, as listed next to the manifests"
    if result.kept_count:
        yield f"kept {many(result.kept_count, 'document')} that changed since the backup"
    if result.conflict_count:
        yield f"{many(result.conflict_count, 'document')} in conflict: the restored revision and another were edited"
    leaves = many(result.leaves, "revision")
    found = "every revision is there" if result.good and not result.kept_count else "nothing else is missing"
    end = found if result.good else f"{many(max(result.missing_count, result.failed), 'document')} missing"
    yield f"restored {many(result.documents, 'document')} ({leaves}) of {backups[-1].header.created}: {end}"
    yield (
        f"took {result.seconds:.1f} s: checking {result.seconds_checking:.1f} s, writing {result.seconds_writing:.1f} "
        f"s, comparing {result.seconds_comparing:.1f} s, building {many(result.views_built, 'view')} "
        f"{result.seconds_indexing:.1f} s"
    )


def _code(output: Output, result: RestoreResult, undecided: int, found: int) -> ExitCode:
    for each in result.kept[:SHOWN_DOCUMENTS]:
        output.warn(f"{each.database}, document {each.id}: kept, because it changed since the backup")
    for each in result.conflicts[:SHOWN_DOCUMENTS]:
        output.warn(f"{each.database}, document {each.id}: in conflict, because two people edited it")
    if undecided:
        output.error(
            f"{many(undecided, 'card')} could not be revoked again; use `dataloader revoke`", ExitCode.ATTENTION
        )
    for rejection in result.failures[:SHOWN_DOCUMENTS]:
        output.warn(f"document {rejection.id}: rejected by the server: {rejection.reason}")
    rejected = {rejection.id for rejection in result.failures}
    for lost in [each for each in result.missing if each.id not in rejected][:SHOWN_DOCUMENTS]:
        output.warn(f"{lost.database}, document {lost.id}: not there after the restore")
    if not result.good:
        count = many(max(result.missing_count, result.failed), "document")
        todo = "correct what the server rejects, then run it again" if result.failed else "run it again"
        output.error(f"{count} of the backup missing after the restore ({todo})", ExitCode.VERIFY)
        return ExitCode.VERIFY
    hint = ", edited on two branches during the restore (use `dataloader merge`)"
    torn = tell_of_decisions(output, result.conflict_count, "document", hint)
    code = tell_of_copies(output, result.nodes_away, short=result.short_of_copies)
    revived = tell_of_decisions(output, found, "card", ": found since the backup, and revoked in it")
    return ExitCode.ATTENTION if undecided else torn or revived or code
