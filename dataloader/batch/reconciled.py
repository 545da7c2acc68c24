"""Reconciled files: a batch's cards, each with what became of it at the vendor's. The manifest is never changed.

``NAME.reconciled.jsonl`` holds a header line, then a line a card in the order of the manifest, all JSON. The
header holds the batch's own; its digest is the SHA-256 over the bytes of all lines behind it, its seal
that over its other fields. Where a command takes a manifest it takes such a file, too, and then has the
encoded cards only: :func:`read_cards` tells the two apart by what is in them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from glob import escape
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from dataloader.batch.manifest import (
    MAX_LINE,
    MAX_PROBLEMS,
    WHOLE,
    Card,
    CardFile,
    Header,
    Part,
    parse_header,
    read_manifest,
)
from dataloader.common import DataloaderError, FileError, InputError, Problem, explain, is_valid, require_file

RECONCILED_SUFFIX = ".reconciled.jsonl"
FORMAT = "dataloader-reconciled"
VERSION = 1
HEADER_SCHEMA = "files/reconciled-header"
CARD_SCHEMA = "files/reconciled-card"

_NO_DIGEST = f"sha256:{'0' * 64}"
_RESTORE = "take the file that reconcile wrote, or run reconcile again; it is never edited"
_MAX_HEADER = 2 * MAX_LINE
"""Bytes; the header of a manifest is within it."""


class Verdict(StrEnum):
    """What became of a card; the five add up to the batch."""

    ENCODED = "encoded"
    """It is on a chip, without a doubt."""
    FAILED = "failed"
    """It could not be encoded, or may not have been."""
    MISSING = "missing"
    """Nothing is said of it. Unused spares are among these."""
    ALTERED = "altered"
    """Its row is there, but the UUID is not the card's any more, or contradicts what stands beside it."""
    DOUBLED = "doubled"
    """Its UUID stands beside two chips, or its chip beside two UUIDs."""


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
        digest = sha256()
        try:
            with self.path.open("rb") as stream:
                stream.readline(_MAX_HEADER)
                while line := stream.readline(MAX_LINE):
                    digest.update(line)
                    returned = self._returned(line)
                    if returned is None:
                        break
                    yield returned
        except OSError as error:
            raise _unreadable(error, self.path) from error
        if f"sha256:{digest.hexdigest()}" != self.digest:
            raise InputError(Problem(str(self.path), "has changed since it was checked", _RESTORE))

    def _returned(self, line: bytes) -> ReturnedCard | None:
        """Return the card of a line, None where it is no line of this file any more."""
        try:
            returned = _returned(orjson.loads(line))
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


def write_reconciled(stream: IO[bytes], header: Header, counts: Counts, cards: Iterable[ReturnedCard]) -> str:
    """Write a reconciled file; the digest is put into its header when the cards are through.

    Args:
        stream: where to; it must be able to seek.
        header: the batch's.
        counts: what the verdicts come to.
        cards: every card of the batch, in the order of the manifest.

    Returns:
        The digest.
    """
    start = stream.tell()
    stream.write(_header_line(header, counts, _NO_DIGEST))
    hashed = sha256()
    for card in cards:
        line = card.line()
        hashed.update(line)
        stream.write(line)
    end = stream.tell()
    digest = f"sha256:{hashed.hexdigest()}"
    stream.seek(start)
    stream.write(_header_line(header, counts, digest))
    stream.seek(end)
    return digest


def _header_line(header: Header, counts: Counts, digest: str) -> bytes:
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "batch": orjson.Fragment(header.line().rstrip()),
        "counts": {verdict.value: counts[verdict] for verdict in Verdict},
        "spares_unused": counts.spares_unused,
        "digest": digest,
    }
    fields["seal"] = f"sha256:{sha256(orjson.dumps(fields)).hexdigest()}"
    return orjson.dumps(fields) + b"\n"


def read_cards(path: Path) -> CardFile:
    """Check a whole manifest, or a reconciled file: whichever it is.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    return read_reconciled(path) if is_reconciled(path) else read_manifest(path)


def find_reconciled(manifest: CardFile) -> Reconciled | None:
    """Return the last reconciled file of a batch that lies beside its manifest, None where there is none.

    Each round of encoding may have left one, under names that begin with the batch's.

    Raises:
        FileError: the one with the batch's own name can't be read.
        InputError: it is wrong.
    """
    there = manifest.path.parent.glob(f"{escape(manifest.header.name)}*{RECONCILED_SUFFIX}")
    for path in sorted(there, key=lambda each: each.stat().st_mtime_ns, reverse=True):
        try:
            found = read_reconciled(path)
        except DataloaderError:
            if path.name == f"{manifest.header.name}{RECONCILED_SUFFIX}":
                raise
            # Another batch's, as likely as not.
            continue
        if found.header.digest == manifest.header.digest:
            return found
    return None


def is_reconciled(path: Path) -> bool:
    """Tell whether a file says of itself that it is a reconciled one.

    Raises:
        FileError: the file can't be read.
    """
    try:
        require_file(path)
        with path.open("rb") as stream:
            return stream.readline(_MAX_HEADER).startswith(b'{"format":"%s"' % FORMAT.encode())
    except OSError as error:
        raise _unreadable(error, path) from error


def read_reconciled(path: Path) -> Reconciled:
    """Check a whole reconciled file, in memory that does not grow with it.

    Raises:
        FileError: the file can't be read.
        InputError: with the problems found.
    """
    try:
        require_file(path)
        with path.open("rb") as stream:
            found = _header(path, stream.readline(_MAX_HEADER))
            _check_cards(found, stream)
    except OSError as error:
        raise _unreadable(error, path) from error
    return found


def _unreadable(error: OSError, path: Path) -> FileError:
    return FileError.of(
        error, path, f"give the path of a file that can be read, NAME.batch.jsonl or NAME{RECONCILED_SUFFIX}"
    )


def _header(path: Path, line: bytes) -> Reconciled:
    where = f"{path}, line 1"
    try:
        fields = orjson.loads(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise InputError(
            Problem(
                where, "is not the header of a reconciled file", f"give a NAME{RECONCILED_SUFFIX} written by reconcile"
            )
        )
    if fields.get("version") != VERSION:
        raise InputError(
            Problem(
                where,
                f"format version {fields.get('version')!r} is not {VERSION}, the one that this program reads",
                "use the program that wrote it, or a newer one",
            )
        )
    broken = explain(HEADER_SCHEMA, fields)
    if broken:
        raise InputError([Problem(where, rule, _RESTORE) for rule in broken])
    header, problems = parse_header(f"{where}, batch", orjson.dumps(fields["batch"]) + b"\n")
    counts = Counts({verdict: fields["counts"][verdict.value] for verdict in Verdict}, fields["spares_unused"])
    found = Reconciled(path, header, counts, fields["digest"])
    if sum(counts.verdicts.values()) != header.cards:
        problems.append(Problem(where, f"the verdicts do not add up to {header.cards} cards", _RESTORE))
    if _header_line(header, counts, found.digest) != line:
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
        try:
            fields = orjson.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            fields = None
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
