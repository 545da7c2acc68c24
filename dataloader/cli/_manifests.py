"""The manifests and reconciled files that commands are given, and the reconciled files that they find beside them."""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataloader.batch import CardFile, Reconciled, Verdict, find_reconciled, is_reconciled, read_cards
from dataloader.cli._output import Output
from dataloader.common import DataloaderError, FileError, InputError, Problem, ProtectedError, are, many
from dataloader.target import Target

_RECONCILED = re.compile(r"(?P<batch>[A-Za-z0-9._-]+)\.reconciled(\.[0-9]+)?\.jsonl")
"""The names of reconciled files."""
_TABLES = frozenset({".xlsx", ".xlsm", ".xls", ".ods", ".csv"})
"""The suffixes of returned files."""


def get_manifests(paths: Sequence[Path]) -> list[CardFile]:
    """Check manifests and reconciled files completely.

    Raises:
        FileError: a file can't be read, or is a folder.
        InputError: a file is not a manifest or reconciled file, or is invalid.
    """
    for path in paths:
        _check_kind(path)
    return [read_cards(path) for path in paths]


def _check_kind(path: Path) -> None:
    """Raise an error that says what a folder or another file of a batch is, and what to do with it."""
    if path.is_dir():
        todo = f"name a file in it; `dataloader batches {shlex.quote(str(path))}` lists its batches"
        raise FileError(str(path), rule="this is a folder", todo=todo)
    if (found := _RECONCILED.fullmatch(path.name)) and not [*path.parent.glob(f"{found['batch']}.reconciled*.jsonl")]:
        manifest = path.with_name(f"{found['batch']}.batch.jsonl")
        if manifest.is_file():
            rule = f"no such file; batch {found['batch']} has not been reconciled"
            todo = f"when it comes back: `dataloader reconcile {shlex.quote(str(manifest))} RETURNED`"
            raise FileError(str(path), rule=rule, todo=todo)
    if _is_table(path):
        kind = "CSV file" if path.suffix.lower() == ".csv" else "workbook"
        todo = "run `dataloader reconcile` first, and use the .reconciled.jsonl file that it writes"
        raise InputError(Problem(str(path), f"this is a {kind}", todo))


def check_order(manifest: Path, returned: Sequence[Path]) -> None:
    """Check that reconcile is given a manifest and returned files; say what other files are.

    Raises:
        FileError: one of them is a folder.
        InputError: a returned file or a reconciled file is given as the manifest, or one of the batch's own files as a
            returned one.
    """
    swapped = [path for path in returned if _is_of_batch(path) and not _is_reconciled(path)]
    if _is_table(manifest):
        if swapped:
            order = f"dataloader reconcile {shlex.quote(str(swapped[0]))} {shlex.quote(str(manifest))}"
            rule = f"this is a returned file, and {swapped[0]} is the manifest"
            raise InputError(Problem(str(manifest), rule, f"the manifest comes first: {order}"))
        rule = "this is a returned file, and the manifest is missing"
        raise InputError(Problem(str(manifest), rule, "name the manifest, NAME.batch.jsonl, before it"))
    if _is_reconciled(manifest):
        rule = "this is a reconciled file, which reconcile writes"
        raise InputError(Problem(str(manifest), rule, "give the batch's manifest, NAME.batch.jsonl"))
    for path in (manifest, *returned):
        if path.is_dir():
            raise FileError(str(path), rule="this is a folder", todo="name the files in it")
    for path in returned:
        if _is_of_batch(path):
            kind = "reconciled file, which reconcile writes" if _is_reconciled(path) else "manifest"
            todo = "name the files that the vendor sent back; --previous names an earlier reconciled file"
            raise InputError(Problem(str(path), f"this is a {kind}", todo))


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in _TABLES and path.is_file()


def _is_of_batch(path: Path) -> bool:
    return path.suffix == ".jsonl" and path.is_file()


def _is_reconciled(path: Path) -> bool:
    return _is_of_batch(path) and is_reconciled(path)


def tell_of_reconciled(output: Output, manifests: Sequence[CardFile]) -> list[Reconciled]:
    """Find the newest reconciled file next to each manifest, and print warnings about it.

    Warns about doubtful cards, about a given reconciled file that is not the newest or has no encoded cards, and if the
    one next to a manifest can't be used.

    Returns:
        The reconciled files found next to manifests, without those that were given.
    """
    rounds = []
    for each in manifests:
        if isinstance(each, Reconciled):
            if not each.count:
                output.warn(f"{each.path}: none of its cards is encoded; was the right returned file reconciled?")
            _tell_of_newer(output, each)
            continue
        found = find_beside(output, each)
        if found is None:
            continue
        rounds.append(found)
        if doubtful := each.header.cards - found.count - found.counts.spares_unused:
            output.warn(
                f"{each.path}: {doubtful:,} of its {each.header.cards:,} cards have not come back encoded, according "
                f"to {found.path}; use that file instead of the manifest to skip them"
            )
    return rounds


def find_beside(output: Output, manifest: CardFile) -> Reconciled | None:
    """Return the newest reconciled file next to a manifest; warn if it can't be used."""
    try:
        return find_reconciled(manifest)
    except DataloaderError as error:
        output.warn(f"cannot tell which cards of batch {manifest.header.name} came back encoded: {error}")
        return None


def newer_than(given: Reconciled) -> Reconciled | None:
    """Return the reconciled file of a later round, next to a given one; None if there is none."""
    with suppress(DataloaderError):
        # Other reconciled files than the given one may be invalid.
        newest = find_reconciled(given)
        return newest if newest is not None and newest.round > given.round else None
    return None


def _tell_of_newer(output: Output, given: Reconciled) -> None:
    if newest := newer_than(given):
        output.warn(f"{given.path}: is from round {given.round}; {newest.path} is newer (round {newest.round})")


def refuse_doubtful(target: Target, manifests: Sequence[CardFile]) -> None:
    """Reject batches with doubtful or missing cards for staging and production.

    A reconciled file contains encoded cards only, and is accepted. Unused spares are not in doubt.

    Raises:
        ProtectedError: a batch has such cards.
        FileError: the batch's reconciled file can't be read.
        InputError: the batch's reconciled file is invalid.
    """
    if not target.environment.protected:
        return
    for each in manifests:
        if isinstance(each, Reconciled):
            continue
        found = find_reconciled(each)
        if found is None:
            raise ProtectedError(
                str(each.path),
                rule=f"this batch has not been reconciled, and the target is {target.environment}",
                todo="run `dataloader reconcile` when it comes back, or add --all-cards to load every card",
            )
        if doubtful := each.header.cards - found.count - found.counts.spares_unused:
            raise ProtectedError(
                str(each.path),
                rule=f"{doubtful:,} of its {many(each.header.cards, 'card')} {are(doubtful)} not known to be encoded, "
                f"according to {found.path}, and the target is {target.environment}",
                todo=f"load {found.path} instead, or add --all-cards to load every card",
            )


def left_out_json(manifests: Sequence[CardFile]) -> dict[str, int]:
    """Return how many cards reconciled files omit, by verdict."""
    found = [each.counts.left_out for each in manifests if isinstance(each, Reconciled)]
    return {verdict.value: sum(counts[verdict] for counts in found) for verdict in Verdict if verdict != "encoded"}


def left_out_text(manifests: Sequence[CardFile]) -> Iterator[str]:
    """Yield a line for each reconciled file that omits cards."""
    for each in manifests:
        if isinstance(each, Reconciled) and each.count < each.header.cards:
            parts = [f"{count:,} {verdict.value}" for verdict, count in each.counts.left_out.items() if count]
            spares = each.counts.spares_unused
            unused = f" ({spares:,} of them unused spares)" if spares else ""
            left = f"{each.header.cards - each.count:,} of {each.header.cards:,} cards"
            yield f"batch {each.header.name}: skipped {left}, not encoded: {', '.join(parts)}{unused}"


def rounds_json(rounds: Sequence[Reconciled]) -> dict[str, Any]:
    """Return the reconciled files found next to manifests as JSON data; empty if there are none."""
    found = [
        {"batch": each.header.name, "file": str(each.path), "round": each.round, "encoded": each.count}
        for each in rounds
    ]
    return {"reconciled": found} if found else {}


def rounds_text(rounds: Sequence[Reconciled]) -> Iterator[str]:
    """Yield a line for each reconciled file found next to a manifest."""
    for each in rounds:
        came = f"{each.count:,} of {each.header.cards:,} cards came back encoded"
        yield f"batch {each.header.name}: {came} ({each.path}, round {each.round})"
