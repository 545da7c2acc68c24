"""The option ``--details``: a file with a line of JSON for each finding."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from dataloader.cli._options import PATH
from dataloader.cli._output import Output
from dataloader.common import new_files

Function = TypeVar("Function", bound=Callable[..., Any])

Write = Callable[[dict[str, Any]], object]
"""Writes a line of JSON."""


def details_option(what: str) -> Callable[[Function], Function]:
    """Add the option for the file.

    Args:
        what: what each line is about: ``document that …``.
    """
    return click.option(
        "--details", type=PATH, metavar="FILE", help=f"Write a line of JSON for each {what}, to a new file."
    )


@contextmanager
def details_file(output: Output, path: Path | None) -> Iterator[Write]:
    """Open the new file, and yield what writes a line to it; without a path, nothing is written.

    Raises:
        FileError: it already exists, or can't be written.
    """
    if path is None:
        yield lambda _: None
        return
    with new_files(path) as (stream,):
        yield lambda record: stream.write(orjson.dumps(output.cleaned(record)) + b"\n")
