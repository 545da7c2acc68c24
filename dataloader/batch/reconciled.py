"""Reconciled files: a batch's cards with the result of encoding. The manifest is never changed.

``NAME.reconciled.jsonl`` contains a header line, then one line for each card in manifest order, all JSON. The header
includes the batch's own header; its digest is the SHA-256 of the bytes of all later lines, its seal that of its other
fields. Commands that take a manifest also take a reconciled file, and then use the encoded cards only:
:func:`read_cards` recognizes each by its content.
"""

import os
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
    BatchHeader,
    Card,
    CardFile,
    Part,
    parse_header,
    read_manifest,
)
from dataloader.batch.sealed import MAX_HEADER, MAX_LINE, MAX_PROBLEMS, FileKind, parse, sealed, write_sealed
from dataloader.common import DataloaderError, FileError, InputError, Problem, explain, is_valid

_STEM, _END = ".reconciled", ".jsonl"
RECONCILED_SUFFIX = f"{_STEM}{_END}"
CARD_SCHEMA = "files/reconciled-card"

_RESTORE = "restore the file from a copy, or run reconcile again; it must not be edited"
KIND = FileKind(
    "reconciled file",
    "dataloader-reconciled",
    1,
    "files/reconciled-header",
    RECONCILED_SUFFIX,
    "reconcile",
    _RESTORE,
)


class Verdict(StrEnum):
    """The result of encoding a card; the five counts add up to the batch."""

    ENCODED = "encoded"
    """It is on a chip, without any doubt."""
    FAILED = "failed"
    """It could not be encoded, or may not have been."""
    MISSING = "missing"
    """No row mentions it; includes unused spares."""
    ALTERED = "altered"
    """Its row has another UUID, or one that contradicts the rest of the row."""
    DUPLICATE = "duplicate"
    """Its UUID is on two chips, or its chip is listed for two UUIDs."""


class ReturnedCard(NamedTuple):
    """A card and the result of encoding it. A tuple, since there may be a million."""

    card: Card
    verdict: Verdict
    chip: str = ""
    """The UID of its chip: upper-case hex digits, in the order in which the chip sends the bytes. Empty if unknown."""
    reason: str = ""
    """Why it is not encoded, and where the file says so; empty if it is."""
    unused_spare: bool = False
    """Whether it is an unused spare: missing, but nothing is wrong."""
    other_chips: tuple[str, ...] = ()
    """The UIDs of more chips that it was listed with, if it is not encoded."""

    @property
    def is_to_encode(self) -> bool:
        """Whether it has to be encoded again."""
        return self.verdict is not Verdict.ENCODED and not self.unused_spare

    def line(self) -> bytes:
        """Return the card's line in a reconciled file; the same card always gives the same line."""
        begin = self.card.line()[:-2]
        if self.verdict is Verdict.ENCODED and self.chip:
            return b'%s,"verdict":"encoded","chip":"%s"}\n' % (begin, self.chip.encode())
        fields: dict[str, Any] = {"verdict": self.verdict, "chip": self.chip or None}
        if self.reason:
            fields["reason"] = self.reason
        if self.unused_spare:
            fields["unused_spare"] = True
        if self.other_chips:
            fields["other_chips"] = self.other_chips
        return b"%s,%s\n" % (begin, orjson.dumps(fields)[1:])


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of cards with each verdict."""

    verdicts: Mapping[Verdict, int]
    spares_unused: int = 0
    """How many of the missing cards are unused spares."""

    def __getitem__(self, verdict: Verdict) -> int:
        return self.verdicts.get(verdict, 0)

    @property
    def left_out(self) -> dict[Verdict, int]:
        """How many cards have each verdict that is not loaded."""
        return {verdict: self[verdict] for verdict in Verdict if verdict is not Verdict.ENCODED}

    @property
    def only_missing(self) -> bool:
        """Whether nothing is wrong with any card that came back: the others may be on their way."""
        return not any(count for verdict, count in self.left_out.items() if verdict is not Verdict.MISSING)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A checked reconciled file. A load uses it like a manifest of the encoded cards."""

    path: Path
    header: BatchHeader
    """The header of the batch, which counts all its cards."""
    counts: Counts
    digest: str
    """``sha256:`` and 64 hex digits, over the card lines."""
    round: int = 1
    """The number of the reconciliation that wrote it; the highest is the newest."""

    @property
    def count(self) -> int:
        """The number of encoded cards."""
        return self.counts[Verdict.ENCODED]

    def cards(self, part: Part = WHOLE) -> Iterator[Card]:
        """Yield the encoded cards, or a part of them.

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
        """Yield every card with the result of encoding it.

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
        """Parse the line of a card; None if it is no longer a line of this file."""
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
        tuple(fields.get("other_chips", ())),
    )


def write_reconciled(
    stream: IO[bytes], header: BatchHeader, counts: Counts, cards: Iterable[ReturnedCard], round_: int = 1
) -> str:
    """Write a reconciled file; the digest is added to the header at the end.

    Args:
        stream: the output; must be seekable.
        header: the header of the batch.
        counts: the number of cards with each verdict.
        cards: all cards of the batch, in manifest order.
        round_: the number of this reconciliation.

    Returns:
        The digest.
    """
    lines = (card.line() for card in cards)
    return write_sealed(stream, lambda digest: _header_line(header, counts, digest, round_), lines)


def _header_line(header: BatchHeader, counts: Counts, digest: str, round_: int) -> bytes:
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
    """Check a whole manifest or reconciled file, recognized by its content.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    return read_reconciled(path) if is_reconciled(path) else read_manifest(path)


def find_reconciled(manifest: CardFile, *folders: Path) -> Reconciled | None:
    """Return the newest reconciled file of a batch, the one with the highest round; None if there is none.

    Args:
        manifest: the batch.
        folders: where to look; by default the folder of the manifest.

    Raises:
        FileError: it, or one with the batch's own name, cannot be read.
        InputError: it is invalid; or two files have the same round, so neither is the newest.
    """
    found: list[tuple[int, Path]] = []
    for folder in {os.path.realpath(each): each for each in folders or (manifest.path.parent,)}.values():
        for path in folder.glob(f"*{_STEM}*{_END}"):
            try:
                with KIND.open(path) as stream:
                    each = _header(path, stream.readline(MAX_HEADER))
            except (OSError, DataloaderError):
                if re.fullmatch(rf"{re.escape(manifest.header.name)}\.reconciled(\.\d+)?\.jsonl", path.name):
                    return read_reconciled(path)
                # Probably another batch's.
                continue
            if each.header.digest == manifest.header.digest:
                found.append((each.round, path))
    if not found:
        return None
    newest = max(round_ for round_, _ in found)
    paths = sorted(path for round_, path in found if round_ == newest)
    if len(paths) > 1 and len({sha256(path.read_bytes()).digest() for path in paths}) > 1:
        rule = f"is from round {newest}, like {paths[0]}; neither is the newest"
        raise InputError(Problem(str(paths[1]), rule, "give the right one, or move the other away"))
    return read_reconciled(paths[0])


def reconciled_name(name: str, round_: int) -> str:
    """Return the name of the reconciled file of a round; the first has no number."""
    return f"{name}{_STEM}{_END}" if round_ == 1 else f"{name}{_STEM}.{round_}{_END}"


def is_reconciled(path: Path) -> bool:
    """Return whether a file's header says that it is a reconciled file.

    Raises:
        FileError: the file can't be read.
    """
    try:
        with KIND.open(path) as stream:
            return stream.readline(MAX_HEADER).startswith(b'{"format":"%s"' % KIND.format.encode())
    except OSError as error:
        raise FileError.of(error, path, "give the path of a manifest or a reconciled file that can be read") from error


def read_reconciled(path: Path) -> Reconciled:
    """Check a whole reconciled file in constant memory.

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
        rule = "the seal does not match the header: the line was changed or truncated"
        problems.append(Problem(where, rule, _RESTORE))
    if problems:
        raise InputError(problems)
    return found


def _check_cards(found: Reconciled, stream: IO[bytes]) -> None:
    """Check the lines after the header.

    Raises:
        InputError: with the problems found, up to the first line that can't be parsed.
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
                Problem(where, "is not a complete line of JSON: the file was changed or truncated", _RESTORE)
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
    """Return the problems of a file whose lines are all valid."""
    rules = []
    if digest != found.digest:
        rules.append("the digest in the header does not match the cards: a line was changed")
    elif f"sha256:{batch}" != found.header.digest:
        rules.append(f"the cards are not those of batch {found.header.name}")
    elif any(counts[verdict] != found.counts[verdict] for verdict in Verdict) or (
        counts.spares_unused != found.counts.spares_unused
    ):
        rules.append("the numbers of cards for each verdict do not match the header")
    return [Problem(str(found.path), rule, _RESTORE) for rule in rules]
