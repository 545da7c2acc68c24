"""The command ``validate``: check files without a server."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import click

from dataloader.cli._command import command
from dataloader.cli._next import on_any_target
from dataloader.cli._options import PATH, SnapsetOptions, get_snapsets, snapset_options
from dataloader.cli._output import Output, global_options
from dataloader.cli._vendor import get_password, password_option
from dataloader.common import ExitCode, InputError, Problem
from dataloader.operations import Checked
from dataloader.operations import validate as validate_files
from dataloader.records.models import model_names

_NEXT = {
    "reconciled file": "dataloader plan {path}",
    "manifest": "dataloader plan {path}",
    "target file": "dataloader targets --config {path}",
    "workbook": "send {path} to the vendor",
}
"""The next step after each kind of file, the most useful first."""


@command(short_help="Check files; no server needed.")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@password_option("The file with the password of encrypted workbooks.")
@snapset_options
@global_options
@click.pass_obj
def validate(
    output: Output,
    /,
    *,
    snapset_options: SnapsetOptions,
    paths: tuple[Path, ...],
    password_file: Path | None,
) -> ExitCode:
    """Check files, and report every problem, not only the first. Folders are checked recursively.

    It knows manifests, reconciled files, lists of revoked cards, workbooks, snapsets, layouts, sample data and target
    files.

    \b
    Example:
      dataloader validate batches/spring.batch.jsonl my-snapsets dataloader.toml
    """
    snapsets = get_snapsets(output, snapset_options)
    found = list(
        validate_files(paths, snapsets, strict=snapset_options.strict, password=get_password(output, password_file))
    )
    if not found:
        where = " ".join(map(str, paths))
        raise InputError(Problem(where, "contains no file that can be checked", "name a file, or another folder"))
    for checked in found:
        output.warnings(checked.warnings)
    problems = sum(checked.total_problems or len(checked.problems) for checked in found)
    data = {
        "files": [
            {
                "path": str(checked.path),
                "kind": checked.kind,
                "valid": not checked.problems,
                "summary": checked.summary,
                "problems": [str(problem) for problem in checked.problems],
                "warnings": [str(problem) for problem in checked.warnings],
            }
            for checked in found
        ],
        "problems": problems,
    }
    good = [checked for checked in found if not checked.problems]
    output.result(data, [f"ok  {checked.path}: {checked.kind}, {checked.summary}" for checked in good])
    for checked in found:
        if checked.problems:
            error = InputError(checked.problems, total=checked.total_problems or len(checked.problems))
            output.error(str(error), ExitCode.INPUT)
    if problems:
        return ExitCode.INPUT
    _tell_next(output, good)
    return ExitCode.OK


def _tell_next(output: Output, good: Sequence[Checked]) -> None:
    """Print what to do with the first file that a command takes, or with snapsets."""
    for kind, then in _NEXT.items():
        for checked in good:
            if checked.kind == kind:
                command = then.format(path=quote(str(checked.path)))
                output.next(on_any_target(command) if " plan " in then else command)
                return
    folders = [checked.path.parent for checked in good if checked.kind == "snapset"]
    if folders:
        folder = folders[0].parent if folders[0].name in model_names() else folders[0]
        output.next(on_any_target(f"dataloader snapsets diff --snapsets {quote(str(folder))}"))
