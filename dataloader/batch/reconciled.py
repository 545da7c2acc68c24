"""Reconciled files: a batch's cards, each with what became of it at the vendor's. The manifest is never changed.

``NAME.reconciled.jsonl`` holds a header line, then a line a card in the order of the manifest, all JSON. The
header holds the batch's own; its digest is the SHA-256 over the bytes of all lines behind it, its seal
that over its other fields. Where a command takes a manifest it takes such a file, too, and then has the
encoded cards only: :func:`read_cards` tells the two apart by what is in them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from dataloader.batch.manifest import (
    WHOLE,
    Card,
    CardFile,
    Header,
    Part,
    parse_header,
    read_manifest,
)
from dataloader.batch.sealed import MAX_HEADER, MAX_LINE, MAX_PROBLEMS, Kind, parse, sealed, write_sealed
from dataloader.common import DataloaderError, FileError, InputError, Problem, explain, is_valid

_STEM, _END = ".reconciled", ".jsonl"
RECONCILED_SUFFIX = f"{_STEM}{_END}"
CARD_SCHEMA = "files/reconciled-card"

_RESTORE = "restore the file from a copy, or run reconcile again; it must not be edited"
KIND = Kind(
    "reconciled file",
    "dataloader-reconciled",
    1,
    "files/reconciled-header",
    RECONCILED_SUFFIX,
    "reconcile",
    _RESTORE,
)


class Verdict(StrEnum):
    """What became of a card; the five add up to the batch."""

    ENCODED = "encoded"
    """It is on a chip, without a doubt."""
    FAILED = "failed"
    """It could not be encoded, or may not have been."""
    MISSING = "missing"
    """No row mentions it. Unused spares are counted here."""
    ALTERED = "altered"
    """Its row has another UUID, or one that contradicts the rest of the row."""
    DUPLICATE = "duplicate"
    """Its UUID is on two chips, or its chip is listed for two UUIDs."""


class ReturnedCard(NamedTuple):
    """A card, and what became of it. A tuple, since there may be a million."""

    card: Card
    verdict: Verdict
    chip: str = ""
    """The UID of its chip: hex digits, upper case, the byte first that the chip sends first. Empty if not known."""
    reason: str = ""
    """Why it is not encoded, and where that stands; empty if it is."""
    unused_spare: bool = False
    """Whether it is a spare that was not needed: missing, but nothing is wrong with it."""

    @property
    def is_to_encode(self) -> bool:
        """Whether it has to be encoded again."""
        return self.verdict is not Verdict.ENCODED and not self.unused_spare

    def line(self) -> bytes:
        """Return the card's line in a reconciled file; one card has one rendering only."""
        begin = self.card.line()[:-2]
        if self.verdict is Verdict.ENCODED and self.chip:
            return b'%s,"verdict":"encoded","chip":"%s"}\n' % (begin, self.chip.encode())
        fields: dict[str, Any] = {"verdict": self.verdict, "chip": self.chip or None}
        if self.reason:
            fields["reason"] = self.reason
        if self.unused_spare:
            fields["unused_spare"] = True
        return b"%s,%s\n" % (begin, orjson.dumps(fields)[1:])


@dataclass(frozen=True, slots=True)
class Counts:
    """How the cards of a batch came back."""

    verdicts: Mapping[Verdict, int]
    spares_unused: int = 0
    """How many of the missing are spares that were not needed."""

    def __getitem__(self, verdict: Verdict) -> int:
        return self.verdicts.get(verdict, 0)

    @property
    def left_out(self) -> dict[Verdict, int]:
        """How many cards there are of each verdict that is not loaded."""
        return {verdict: self[verdict] for verdict in Verdict if verdict is not Verdict.ENCODED}


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A reconciled file that has passed every check. To a load it is a manifest of the encoded cards."""

    path: Path
    header: Header
    """The batch's, with all its cards."""
    counts: Counts
    digest: str
    """``sha256:`` and 64 hex digits, over the card lines."""
    round: int = 1
    """The number of the reconciliation that wrote it: the highest of a batch is the newest."""

    @property
    def count(self) -> int:
        """How many cards are encoded."""
        return self.counts[Verdict.ENCODED]

    def cards(self, part: Part = WHOLE) -> Iterator[Card]:
        """Read the encoded cards, or a part of them, one at a time.

        Raises:
            FileError: the file can't be read.
            InputError: the file has changed since it was checked.
        """
        begin, end = part.bounds(self.count)
        at = 0
        for returned in self.verdicts():
            if returned.verdict is Verdict.ENCODED:
                if begin <= at < end:
                    yield returned.card
                at += 1

    def verdicts(self) -> Iterator[ReturnedCard]:
        """Read every card with what became of it, one at a time.

        Raises:
            FileError: the file can't be read.
            InputError: the file has changed since it was checked.
        """
        for line in KIND.cards(self.path, self.digest):
            returned = self._returned(line)
            if returned is None:
                raise KIND.changed(self.path)
            yield returned

    def _returned(self, line: bytes) -> ReturnedCard | None:
        """Return the card of a line, None where it is no line of this file any more."""
        try:
            returned = _returned(parse(line))
            known = returned.card.snapset in self.header.snapsets
        except (ValueError, LookupError, TypeError):
            return None
        return returned if known else None


def _returned(fields: dict[str, Any]) -> ReturnedCard:
    return ReturnedCard(
        Card(fields["number"], fields["uuid"], fields["snapset"]),
        Verdict(fields["verdict"]),
        fields["chip"] or "",
        fields.get("reason", ""),
        fields.get("unused_spare", False),
    )


def write_reconciled(
    stream: IO[bytes], header: Header, counts: Counts, cards: Iterable[ReturnedCard], round_: int = 1
) -> str:
    """Write a reconciled file; the digest is put into its header when the cards are through.

    Args:
        stream: where to; it must be able to seek.
        header: the batch's.
        counts: what the verdicts come to.
        cards: every card of the batch, in the order of the manifest.
        round_: the number of this reconciliation.

    Returns:
        The digest.
    """
    lines = (card.line() for card in cards)
    return write_sealed(stream, lambda digest: _header_line(header, counts, digest, round_), lines)


def _header_line(header: Header, counts: Counts, digest: str, round_: int) -> bytes:
    fields = {
        "format": KIND.format,
        "version": KIND.version,
        "round": round_,
        "batch": orjson.Fragment(header.line().rstrip()),
        "counts": {verdict.value: counts[verdict] for verdict in Verdict},
        "spares_unused": counts.spares_unused,
        "digest": digest,
    }
    return sealed(fields)


def read_cards(path: Path) -> CardFile:
    """Check a whole manifest, or a reconciled file: whichever it is.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    return read_reconciled(path) if is_reconciled(path) else read_manifest(path)


def find_reconciled(manifest: CardFile, *folders: Path) -> Reconciled | None:
    """Return the newest reconciled file of a batch, None if there is none: the one with the highest round.

    Args:
        manifest: the batch.
        folders: where to look; the folder of the manifest if none is given.

    Raises:
        FileError: it, or one with the batch's own name, cannot be read.
        InputError: it is invalid; or two files are of the same round, so that neither is the newest.
    """
    found: list[tuple[int, Path]] = []
    for folder in dict.fromkeys(each.resolve() for each in folders or (manifest.path.parent,)):
        for path in folder.glob(f"*{_STEM}*{_END}"):
            try:
                with path.open("rb") as stream:
                    each = _header(path, stream.readline(MAX_HEADER))
            except (OSError, DataloaderError):
                if re.fullmatch(rf"{re.escape(manifest.header.name)}\.reconciled(\.\d+)?\.jsonl", path.name):
                    return read_reconciled(path)
                # Another batch's, as likely as not.
                continue
            if each.header.digest == manifest.header.digest:
                found.append((each.round, path))
    if not found:
        return None
    newest = max(round_ for round_, _ in found)
    paths = sorted(path for round_, path in found if round_ == newest)
    if len(paths) > 1 and len({sha256(path.read_bytes()).digest() for path in paths}) > 1:
        rule = f"is of round {newest}, as is {paths[0]}, so that neither is the newest"
        raise InputError(Problem(str(paths[1]), rule, "give the one that counts, or move the other away"))
    return read_reconciled(paths[0])


def reconciled_name(name: str, round_: int) -> str:
    """Return the name of the reconciled file of a round: the first has no number."""
    return f"{name}{_STEM}{_END}" if round_ == 1 else f"{name}{_STEM}.{round_}{_END}"


def is_reconciled(path: Path) -> bool:
    """Tell whether a file says of itself that it is a reconciled one.

    Raises:
        FileError: the file can't be read.
    """
    try:
        with KIND.open(path) as stream:
            return stream.readline(MAX_HEADER).startswith(b'{"format":"%s"' % KIND.format.encode())
    except OSError as error:
        raise FileError.of(error, path, "give the path of a manifest or a reconciled file that can be read") from error


def read_reconciled(path: Path) -> Reconciled:
    """Check a whole reconciled file, in memory that does not grow with it.

    Raises:
        FileError: the file can't be read.
        InputError: with the problems found.
    """
    try:
        with KIND.open(path) as stream:
            found = _header(path, stream.readline(MAX_HEADER))
            _check_cards(found, stream)
    except OSError as error:
        raise KIND.unreadable(error, path) from error
    return found


def _header(path: Path, line: bytes) -> Reconciled:
    where = f"{path}, line 1"
    fields = KIND.fields(where, line)
    header, problems = parse_header(f"{where}, batch", orjson.dumps(fields["batch"]) + b"\n")
    counts = Counts({verdict: fields["counts"][verdict.value] for verdict in Verdict}, fields["spares_unused"])
    found = Reconciled(path, header, counts, fields["digest"], fields["round"])
    if sum(counts.verdicts.values()) != header.cards:
        problems.append(Problem(where, f"the verdicts do not add up to {header.cards} cards", _RESTORE))
    if _header_line(header, counts, found.digest, found.round) != line:
        rule = "the seal is not that of the header: the line has been changed or cut off"
        problems.append(Problem(where, rule, _RESTORE))
    if problems:
        raise InputError(problems)
    return found


def _check_cards(found: Reconciled, stream: IO[bytes]) -> None:
    """Check the lines behind the header.

    Raises:
        InputError: with the problems found, up to the first line that is none of ours.
    """
    digest, batch = sha256(), sha256()
    counts: Counter[Verdict] = Counter()
    valid = is_valid(CARD_SCHEMA)
    number = spares = 0
    problems: list[Problem] = []
    while line := stream.readline(MAX_LINE):
        number += 1
        where = f"{found.path}, line {number + 1}"
        digest.update(line)
        fields = parse(line) if line.endswith(b"\n") else None
        if fields is None:
            problems.append(
                Problem(where, "is not a whole line of JSON: the file has been changed or cut off", _RESTORE)
            )
            break
        if not valid(fields):
            problems += [Problem(where, rule, _RESTORE) for rule in explain(CARD_SCHEMA, fields)]
        else:
            returned = _returned(fields)
            batch.update(returned.card.line())
            counts[returned.verdict] += 1
            spares += returned.unused_spare
        if len(problems) >= MAX_PROBLEMS:
            break
    if not problems:
        problems = _check_sums(found, Counts(counts, spares), f"sha256:{digest.hexdigest()}", batch.hexdigest())
    if problems:
        raise InputError(problems)


def _check_sums(found: Reconciled, counts: Counts, digest: str, batch: str) -> list[Problem]:
    """Return what is wrong in a file whose every line is as it should be."""
    rules = []
    if digest != found.digest:
        rules.append("the digest in the header is not that of the cards: a line has been changed")
    elif f"sha256:{batch}" != found.header.digest:
        rules.append(f"the cards are not those of batch {found.header.name}")
    elif any(counts[verdict] != found.counts[verdict] for verdict in Verdict) or (
        counts.spares_unused != found.counts.spares_unused
    ):
        rules.append("the verdicts are not those that the header counts")
    return [Problem(str(found.path), rule, _RESTORE) for rule in rules]
