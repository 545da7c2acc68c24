"""The command ``export``: write a batch in a vendor's layout."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from dataloader.batch import read_manifest
from dataloader.cli._command import command
from dataloader.cli._options import PATH
from dataloader.cli._output import Output, global_options
from dataloader.cli._progress import Progress
from dataloader.cli._vendor import (
    ENCRYPTED,
    card_counter,
    chip_option,
    counted,
    fit_data,
    fit_lines,
    get_fit,
    get_password,
    password_option,
)
from dataloader.common import page
from dataloader.operations import STANDARD, all_layouts, export_path
from dataloader.operations import export as export_batch
from dataloader.vendor.layouts import is_own

_OWN = "FILE.json5"


def _layout(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Check the name of a layout; a user's own file is read when it is used."""
    return value if is_own(value) else str(click.Choice([*all_layouts(), _OWN]).convert(value, parameter, context))


def _complete_layout(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    found = click.Choice(all_layouts()).shell_complete(context, parameter, incomplete)
    return found or [CompletionItem(incomplete, type="file")]


@command(
    short_help="Write a batch again, in the layout of a vendor's tool.",
    epilog=f"Which layout is for which tool: {page('layouts.md')}",
)
@click.argument("manifest", type=PATH)
@click.option(
    "--layout",
    callback=_layout,
    shell_complete=_complete_layout,
    metavar=f"[{'|'.join([*all_layouts(), _OWN])}]",
    default=STANDARD,
    show_default=True,
    help="The layout, or a file with a layout of your own.",
)
@chip_option
@password_option("Encrypt the workbook with the password in this file; not for CSV.")
@click.option(
    "--out",
    type=PATH,
    default=Path(),
    metavar="DIR|FILE",
    help="The folder, or the .xlsx or .csv file, to write to (default: the current folder).",
)
@global_options
@click.pass_obj
def export(
    output: Output,
    /,
    manifest: Path,
    layout: str,
    chip: str | None,
    password_file: Path | None,
    out: Path,
) -> None:
    """Write a batch again, in the layout of a vendor's tool.

    Nothing is minted: the same batch gives the same file, byte for byte, unless it is encrypted. Existing files are
    never overwritten.

    \b
    Example:
      dataloader export batches/spring.batch.jsonl --layout tagwriter --out vendor
    """
    fit = get_fit(chip)
    password = get_password(output, password_file)
    batch = read_manifest(manifest)
    header = batch.header
    path = export_path(header, layout, out)
    with Progress(output, "cards") as progress:
        export_batch(batch, layout, path, password=password, on_card=card_counter(progress, header.cards))
    output.result(
        {
            "name": header.name,
            "cards": header.cards,
            "spares": dict(header.spares),
            "digest": header.digest,
            "layout": layout,
            "file": str(path),
            "encrypted": password is not None,
            **fit_data(fit),
        },
        [
            f"exported {counted(header)} of batch {header.name}, layout {layout}",
            f"file      {path}  (for the vendor{'' if password is None else ENCRYPTED})",
            *fit_lines(fit),
        ],
    )
