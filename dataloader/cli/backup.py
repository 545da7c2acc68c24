"""The command ``backup``: write every document of a target to a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from dataloader.archive import Backup
from dataloader.cli._command import command
from dataloader.cli._options import PATH, TargetOptions, get_server, get_target, target_options
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.common import ExitCode, FileError, UsageError, listed, many, read_password_file
from dataloader.operations import BackupResult, back_up, missing_base
from dataloader.target import readable_by_others

password_option = click.option(
    "--password-file", type=PATH, metavar="FILE", help="A file with the password that encrypts backups."
)


def get_password(output: Output, path: Path | None) -> str | None:
    """Read the password of backups, if one is given; warn if others can read it.

    Raises:
        FileError: the file can't be read.
        UsageError: it is empty.
    """
    if path is None:
        return None
    password = read_password_file(path)
    if not password:
        raise UsageError(f"--password-file {path}", rule="holds no password", todo="write one into it")
    output.warnings(readable_by_others(path))
    return password


@command(short_help="Back up every document of a target.")
@click.argument("where", type=click.Path(), metavar="FILE|DIR")
@target_options
@password_option
@click.option("--since", type=PATH, metavar="FILE", help="Write only what has changed since this backup.")
@global_options
@click.pass_obj
def backup(
    output: Output,
    /,
    *,
    target_options: TargetOptions,
    where: str,
    password_file: Path | None,
    since: Path | None,
) -> ExitCode:
    """Back up every document of a target's databases into one new file, readable only by you.

    It contains all leaf revisions (current, conflicting, deleted) with their histories, attachments, design documents,
    security objects and settings. In a folder, the file is named after the model and the time; a name that ends with a
    slash is a folder, created if necessary. An interrupted backup continues when the command is run again.

    \b
    Example:
      dataloader backup backups/ --target production
      dataloader backup backups/ --target production --since backups/gpii-key-20180301T020000Z.backup.zst
    """
    password = get_password(output, password_file)
    base = None if since is None else Backup(since, password)
    if base is not None and (lacking := missing_base(base, password)) is not None:
        needed = f"needs the backup of {lacking} to be restored, which is not in {base.path.parent}"
        output.warn(f"{base.path}: {needed} (if you do not have it any more, make a full backup, without --since)")
    target = get_target(output, target_options)
    server = get_server(target)
    with Progress(output) as progress:
        result = back_up(server, target, _place(where), password=password, base=base, on_progress=progress)
    output.result(backup_json(result), _text(result))
    if result.synchronized is None:
        output.error(
            "the nodes of the cluster were not synchronized, which only a server admin may request; the backup may "
            "lack changes that some nodes do not have (back up a cluster as a server admin)",
            ExitCode.NODES,
        )
        return ExitCode.NODES
    if not result.synchronized:
        nodes = f"{', '.join(result.nodes_away)}: down" if result.nodes_away else "the nodes' copies differ"
        output.error(
            f"{nodes}; the backup may lack changes that some nodes do not have (when all nodes are up, make another)",
            ExitCode.NODES,
        )
        return ExitCode.NODES
    return ExitCode.OK


def _place(where: str) -> Path:
    """Return the path of a backup; a missing folder is created.

    Raises:
        FileError: it can't be created.
    """
    path = Path(where)
    if where.endswith("/"):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FileError.of(error, path, "choose a folder that can be written to") from error
    return path


def backup_json(result: BackupResult) -> dict[str, Any]:
    """Return the result of a backup as JSON data."""
    header = result.header
    return {
        "file": str(result.path),
        "bytes": result.size,
        "created": header.created,
        "documents": header.documents,
        "leaves": header.leaves,
        "databases": {each.name: {"documents": each.documents, "leaves": each.leaves} for each in header.databases},
        "incremental": header.base is not None,
        "resumed": result.resumed,
        "digest": header.digest,
        "seal": header.seal,
        "not_kept": list(result.not_kept),
        "nodes_away": list(result.nodes_away),
        "synchronized": result.synchronized,
        "seconds": round(result.seconds, 3),
    }


def _text(result: BackupResult) -> Iterator[str]:
    header = result.header
    for each in header.databases:
        yield f"{header.prefix}{each.name}: {many(each.documents, 'document')}, {many(each.leaves, 'revision')}"
    if result.not_kept:
        yield f"not in the backup, because this server does not have it: {listed(result.not_kept)}"
    kind = "" if header.base is None else f", changes since {header.base_created}"
    yield f"{result.path}: {size_of(result.size)}, as of {header.created}{kind}, in {result.seconds:.1f} s"


def size_of(size: int) -> str:
    """Format a number of bytes: ``3.2 MB``."""
    number = float(size)
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:  # noqa: PLR2004 - the next unit
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.1f} GB"
