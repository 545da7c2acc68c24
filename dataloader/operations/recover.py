"""Recover a lost manifest from the workbook that was sent to the vendor."""

from pathlib import Path

import orjson

from dataloader.batch import MANIFEST_SUFFIX, Manifest, write_manifest
from dataloader.common import InputError, Problem, explain, new_files, raise_problems
from dataloader.operations.generate import check_name
from dataloader.vendor import read_batch

_SENT = "give the workbook that was sent to the vendor"


def recover(path: Path, folder: Path | None = None, *, password: str | None = None) -> Manifest:
    """Write the manifest of a batch again.

    The digest in the workbook proves that the cards are those of the batch: every number, UUID and snapset.

    Args:
        path: the workbook, as it was sent, or filled in since.
        folder: where the manifest goes; default: the folder of the workbook.
        password: the workbook's password; ignored if it is not encrypted.

    Returns:
        The manifest.

    Raises:
        FileError: the workbook cannot be read, or the manifest already exists or cannot be written.
        InputError: the workbook does not contain a whole batch, or a cell was changed.
    """
    header, cards = read_batch(path, password)
    check_name(header.name)
    broken = explain("files/manifest-header", orjson.loads(header.line()))
    raise_problems(Problem(f"{path}, sheet Batch", rule, _SENT) for rule in broken)
    target = (folder or path.parent) / f"{header.name}{MANIFEST_SUFFIX}"
    with new_files(target) as (stream,):
        written = write_manifest(stream, header, cards)
        if written.digest != header.digest:
            rule = "the digest is not that of its cards: a cell was changed"
            raise InputError(Problem(str(path), rule, _SENT))
    return Manifest(target, written)
