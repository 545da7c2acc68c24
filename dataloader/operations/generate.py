"""Mint a batch: the manifest, and the workbook made from it."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from unicodedata import combining, normalize

from dataloader.batch import (
    MANIFEST_SUFFIX,
    SEEDED_TIME,
    BatchHeader,
    Card,
    Manifest,
    check_count,
    deal,
    mint,
    seeded_bytes,
    write_manifest,
)
from dataloader.common import MAX_SAFE_INTEGER, InputError, Problem, many, new_files, now
from dataloader.records import EMPTY, Snapsets
from dataloader.vendor import WORKBOOK_SUFFIX, write_workbook

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file; what follows the first dot does not matter.
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(\.|\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Batch:
    """A minted batch and its files."""

    manifest: Manifest
    workbook: Path


def share_out(cards: int, wanted: Mapping[str, int | None], snapsets: Snapsets) -> dict[str, int]:
    """Return how many cards start with each snapset.

    Args:
        cards: the number of cards in the batch.
        wanted: counts by snapset; None for the one that gets the rest. If empty, all cards start empty.
        snapsets: the known snapsets.

    Raises:
        InputError: the counts do not add up, or there is no such snapset.
    """
    check_count(cards)
    problems = [problem for name in wanted for problem in snapsets.problems_of(name, "--snapset")]
    problems += [
        Problem(f"--snapset {name}={count}", "a count must be 1 or more", "correct it or leave the snapset out")
        for name, count in wanted.items()
        if count is not None and count < 1
    ]
    if problems:
        raise InputError(problems)
    counted = sum(count for count in wanted.values() if count is not None)
    rest = [name for name, count in wanted.items() if count is None]
    if not wanted:
        return {EMPTY: cards}
    if len(rest) > 1 or (rest and counted >= cards) or (not rest and counted != cards):
        said = " ".join(name if count is None else f"{name}={count}" for name, count in wanted.items())
        raise InputError(Problem(f"--snapset {said}", _sum_rule(cards, counted, len(rest)), "correct the counts"))
    return {name: cards - counted if count is None else count for name, count in wanted.items()}


def _sum_rule(cards: int, counted: int, uncounted: int) -> str:
    """Return why counts of snapsets do not match the number of cards."""
    if uncounted > 1:
        return "only one snapset may have no count; it gets the remaining cards"
    difference = f"{abs(cards - counted):,} {'short of' if counted < cards else 'more than'} {cards:,}"
    if uncounted:
        return f"the counts add up to {counted:,}, which leaves none of {many(cards, 'card')} for the other snapset"
    return f"the counts add up to {counted:,}, {difference}"


def spares_of(shares: Mapping[str, int], portion: Fraction) -> dict[str, int]:
    """Return the number of additional spares for each snapset, rounded up; without zeros.

    Args:
        shares: the number of cards for each snapset, without spares.
        portion: the number of spares per card.
    """
    return {name: ceil(count * portion) for name, count in shares.items() if portion}


MAX_PROPOSED = 100
"""Characters of an invalid name to propose a valid one from."""


def check_name(name: str) -> None:
    """Check a batch's name, which is used for files.

    Raises:
        InputError: it is empty, could leave its folder, or is not a valid file name for the vendor.
    """
    if _NAME.match(name) and (_DEVICE.match(name) or name.endswith(".")):
        raise InputError(
            Problem(
                f"batch name {name!r}",
                "is a reserved name on Windows, or ends with a dot; a vendor could not open its files",
                "choose another",
            )
        )
    if not _NAME.match(name):
        rule = "must be up to 100 letters a to z, digits, '.', '_' and '-', and begin with a letter or digit"
        near = _valid_name(name)
        raise InputError(Problem(f"batch name {name!r}", rule, f"choose another{f', such as {near}' if near else ''}"))


def _valid_name(name: str) -> str:
    """Return a valid name similar to an invalid one; empty if there is none."""
    plain = "".join(each for each in normalize("NFKD", name[:MAX_PROPOSED]) if not combining(each))
    near = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("._-")
    return near if _NAME.match(near) else ""


def generate(
    name: str,
    shares: Mapping[str, int],
    folder: Path,
    *,
    spares: Mapping[str, int] | None = None,
    titles: Mapping[str, str] | None = None,
    seed: int | None = None,
    password: str | None = None,
    on_card: Callable[[], None] = lambda: None,
) -> Batch:
    """Mint a batch and write its manifest and workbook.

    Args:
        name: the batch's name.
        shares: the number of cards for each snapset, without spares.
        folder: the folder of the files.
        spares: the number of additional spares by snapset.
        titles: display names of snapsets, for workbooks.
        seed: for a reproducible batch; staging and production targets refuse it.
        password: encrypts the workbook; None for a plain one.
        on_card: called for each card written to each file, twice per card.

    Raises:
        InputError: the name, the number of cards or the seed can't be used.
        FileError: a file already exists, or can't be written.
    """
    check_name(name)
    spares = spares or {}
    dealt = {snapset: count + spares.get(snapset, 0) for snapset, count in shares.items()}
    count = sum(dealt.values())
    check_count(count)
    if seed is not None and not 0 <= seed <= MAX_SAFE_INTEGER:
        raise InputError(Problem(f"seed {seed}", "must be between 0 and 2**53 - 1", "choose another"))
    manifest_path, workbook_path = folder / f"{name}{MANIFEST_SUFFIX}", folder / f"{name}{WORKBOOK_SUFFIX}"
    created = now() if seed is None else SEEDED_TIME
    header = BatchHeader(name, created, count, dealt, "", seed, spares, titles or {})
    uuids = mint(count, os.urandom if seed is None else seeded_bytes(seed))

    def counted(card: Card) -> Card:
        on_card()
        return card

    with new_files(manifest_path, workbook_path) as (manifest, workbook):
        header = write_manifest(manifest, header, map(counted, deal(uuids, dealt)))
        manifest.flush()
        written = Manifest(Path(manifest.name), header)
        write_workbook(workbook, header, map(counted, written.cards()), password=password)
    return Batch(Manifest(manifest_path, header), workbook_path)
