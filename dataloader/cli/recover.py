"""The command ``recover``: rebuild a lost manifest from the workbook that was sent."""

from pathlib import Path

import click

from dataloader.cli._command import command
from dataloader.cli._options import PATH
from dataloader.cli._output import Output, global_options
from dataloader.cli._vendor import counted, get_password, password_option
from dataloader.operations import recover as recover_manifest


@command(short_help="Rebuild a lost manifest from the workbook that was sent.")
@click.argument("workbooks", nargs=-1, required=True, type=PATH, metavar="WORKBOOK...")
@password_option("The file with the password of encrypted workbooks.")
@click.option("--out", type=PATH, metavar="DIR", help="The folder to write to (default: the folder of the workbook).")
@global_options
@click.pass_obj
def recover(output: Output, /, *, workbooks: tuple[Path, ...], password_file: Path | None, out: Path | None) -> None:
    """Rebuild lost manifests from the workbooks that generate wrote, one manifest for each.

    The workbook may have been filled in. Its digest proves that every card number, UUID and snapset is unchanged; if
    one was changed, nothing is written. Existing files are never overwritten.

    \b
    Example:
      dataloader recover mail/spring.xlsx --out batches
    """
    password = get_password(output, password_file)
    manifests = [recover_manifest(path, out, password=password) for path in workbooks]
    output.result(
        {
            "manifests": [
                {
                    "name": each.header.name,
                    "cards": each.header.cards,
                    "created": each.header.created,
                    "digest": each.header.digest,
                    "manifest": str(each.path),
                }
                for each in manifests
            ]
        },
        [f"recovered {counted(each.header)} of batch {each.header.name}: {each.path}" for each in manifests],
    )
