"""Manifests: the record of a batch, minted once and never changed.

``NAME.batch.jsonl`` contains a header line, then one line for each card, all JSON. The cards are sorted by UUID and
numbered in that order from 1, so that every kind of document made from them is streamed to the server in the order of
``_id``. The header's digest is the SHA-256 of the bytes of all later lines, its seal that of its own other fields:
every change of a byte is detected.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from dataloader.batch.sealed import MAX_LINE, MAX_PROBLEMS, FileKind, parse, sealed, write_sealed
from dataloader.common import MAX_CARDS, InputError, Problem, explain, is_valid

MANIFEST_SUFFIX = ".batch.jsonl"


CARD_SCHEMA = "files/manifest-card"


SEEDED_TIME = "2000-01-01T00:00:00.000Z"
"""The creation time of a seeded batch; fixed, so that the same seed gives the same file."""


_RESTORE = "restore it from a copy, or with dataloader recover; it must not be edited"


KIND = FileKind("manifest", "dataloader-batch", 1, "files/manifest-header", MANIFEST_SUFFIX, "generate", _RESTORE)


class Card(NamedTuple):
    """One RFID card."""

    number: int
    """Its number in the batch, from 1."""
    uuid: str
    """Version 4, lower case, with hyphens."""
    snapset: str
    """The snapset that its owner starts with."""

    def line(self) -> bytes:
        """Return the card's line in a manifest; the same card always gives the same line."""
        return b'{"number":%d,"uuid":"%s","snapset":"%s"}\n' % (
            self.number,
            self.uuid.encode(),
            self.snapset.encode(),
        )


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """The header of a manifest."""

    name: str
    created: str
    """When the batch was minted: ISO 8601 in UTC with milliseconds and Z."""
    cards: int
    snapsets: Mapping[str, int]
    """The number of cards for each snapset."""
    digest: str
    """``sha256:`` and 64 hex digits, over the card lines."""
    seed: int | None = None
    """The seed of a reproducible batch; for development and CI only."""
    spares: Mapping[str, int] = field(default_factory=dict)
    """The number of spares for each snapset: the last cards of its run."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """The display names of the snapsets that have one."""

    @property
    def spare_runs(self) -> tuple[range, ...]:
        """The numbers of the spares, one run for each snapset that has some."""
        runs, end = [], 1
        for snapset, count in self.snapsets.items():
            end += count
            if self.spares.get(snapset):
                runs.append(range(end - self.spares[snapset], end))
        return tuple(runs)

    def is_spare(self, number: int) -> bool:
        """Return whether a card is a spare, by its number."""
        return any(number in run for run in self.spare_runs)

    def line(self) -> bytes:
        """Return the header's line in a manifest; the same header always gives the same line."""
        fields = {
            "format": KIND.format,
            "version": KIND.version,
            "name": self.name,
            "created": self.created,
            "cards": self.cards,
            "snapsets": dict(self.snapsets),
            "digest": self.digest,
        }
        if self.spares:
            fields["spares"] = dict(self.spares)
        if self.titles:
            fields["titles"] = dict(self.titles)
        if self.seed is not None:
            fields["seed"] = self.seed
        return sealed(fields)


def write_manifest(stream: IO[bytes], header: BatchHeader, cards: Iterable[Card]) -> BatchHeader:
    """Write a manifest; the digest is added to the header at the end.

    Returns:
        The header as written.
    """
    lines = (card.line() for card in cards)
    return replace(header, digest=write_sealed(stream, lambda digest: replace(header, digest=digest).line(), lines))


@dataclass(frozen=True, slots=True)
class Part:
    """A part of each batch for one of several machines: ``index`` (from 1) of ``count``."""

    index: int = 1
    count: int = 1

    def bounds(self, cards: int) -> tuple[int, int]:
        """Return the range of positions of the part in a batch, from 0, end excluded.

        A part is one run of cards, so that each machine writes to its own range of the database.
        """
        return (self.index - 1) * cards // self.count, self.index * cards // self.count


WHOLE = Part()


class CardFile(Protocol):
    """A checked file of cards to load: a manifest, or a reconciled file."""

    @property
    def path(self) -> Path:
        """The path of the file."""

    @property
    def header(self) -> BatchHeader:
        """The header of its batch."""

    @property
    def count(self) -> int:
        """The number of cards to load; at most the number of cards in the batch."""

    def cards(self, part: Part = WHOLE) -> Iterator[Card]:
        """Yield the cards, or a part of them, sorted by UUID.

        Raises:
            FileError: the file can't be read.
            InputError: the file has changed since it was checked.
        """


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checked manifest."""

    path: Path
    header: BatchHeader

    @property
    def count(self) -> int:
        """The number of cards."""
        return self.header.cards

    def cards(self, part: Part = WHOLE) -> Iterator[Card]:
        """Yield the cards, or a part of them.

        Raises:
            FileError: the file can't be read.
            InputError: the file has changed since it was checked.
        """
        begin, end = part.bounds(self.header.cards)
        for at, line in enumerate(KIND.cards(self.path, self.header.digest)):
            if begin <= at < end:
                card = self._card(line)
                if card is None:
                    raise KIND.changed(self.path)
                yield card

    def _card(self, line: bytes) -> Card | None:
        """Parse the line of a card; None if it is no longer a line of this batch."""
        fields = parse(line)
        try:
            card = Card(fields["number"], fields["uuid"], fields["snapset"])
            known = card.snapset in self.header.snapsets
        except (ValueError, LookupError, TypeError):
            return None
        return card if known else None


def read_manifest(path: Path) -> Manifest:
    """Check a whole manifest in constant memory.

    Raises:
        FileError: the file can't be read.
        InputError: with every problem found.
    """
    try:
        with KIND.open(path) as stream:
            header, first = parse_header(f"{path}, line 1", stream.readline(MAX_LINE))
            check = _Check(path, header)
            while line := stream.readline(MAX_LINE):
                check.line(line)
                if check.hopeless:
                    break
            problems, total = check.end()
            problems, total = first + problems, total + len(first)
            if check.doubtful:
                stream.seek(0)
                named = _name_doubles(path, stream, check.doubtful)
                problems, total = named + problems, total + len(named)
    except OSError as error:
        raise KIND.unreadable(error, path) from error
    if problems:
        raise InputError(problems, total=total)
    return Manifest(path, header)


def parse_header(where: str, line: bytes) -> tuple[BatchHeader, list[Problem]]:
    """Parse a header line; return it with the problems that do not make it unreadable.

    Args:
        where: the file and line, for errors.
        line: the line, with its line end.

    Raises:
        InputError: it is not a header of a known format.
    """
    broken: list[str] = []
    fields = KIND.fields(where, line)
    names = ("name", "created", "cards", "snapsets", "digest", "seed", "spares", "titles")
    header = BatchHeader(**{name: fields[name] for name in names if name in fields})
    if sum(header.snapsets.values()) != header.cards:
        broken = [f"the snapsets add up to {sum(header.snapsets.values())} cards, not {header.cards}"]
    broken += [
        f"{count} spares start with {snapset}, but {header.snapsets.get(snapset, 0)} cards"
        for snapset, count in header.spares.items()
        if count > header.snapsets.get(snapset, 0)
    ]
    if header.line() != line:
        broken.append("the seal does not match the header: the line was changed or truncated")
    return header, [Problem(where, rule, _RESTORE) for rule in broken]


class _Check:
    """What to remember while reading the lines of a manifest."""

    def __init__(self, path: Path, header: BatchHeader) -> None:
        self.doubtful: set[str] = set()
        """UUIDs that may occur twice."""
        self.hopeless = False
        """Whether the rest can't be lines of a manifest."""
        self._path = path
        self._header = header
        self._digest = sha256()
        self._valid = is_valid(CARD_SCHEMA)
        self._line = 1
        self._previous = ""
        self._highest = ""
        self._counts: Counter[str] = Counter()
        self._problems: list[Problem] = []
        self._total = 0

    def _problem(self, where: str, rule: str) -> None:
        self._total += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(Problem(where, rule, _RESTORE))

    def line(self, line: bytes) -> None:
        self._line += 1
        self._digest.update(line)
        where = f"{self._path}, line {self._line}"
        if not line.endswith(b"\n"):
            self.hopeless = len(line) >= MAX_LINE
            rule = f"is longer than {MAX_LINE:,} bytes" if self.hopeless else "is incomplete: the file was truncated"
            self._problem(where, rule)
            return
        fields = parse(line)
        if fields is None:
            self._problem(where, "is not JSON")
            return
        if not self._valid(fields):
            # Explaining is slow, and nobody reads the thousandth explanation.
            for rule in explain(CARD_SCHEMA, fields) if self._total < MAX_PROBLEMS else [""]:
                self._problem(where, rule)
            return
        number, uuid, snapset = fields["number"], fields["uuid"], fields["snapset"]
        if number != self._line - 1:
            self._problem(where, f"card number {number} is where number {self._line - 1} should be")
        if uuid <= self._highest and len(self.doubtful) < MAX_PROBLEMS:
            self.doubtful |= {uuid, self._highest}
        if uuid < self._previous:
            self._problem(where, f"UUID {uuid} is out of order: lines were moved")
        self._previous = uuid
        self._highest = max(uuid, self._highest)
        self._counts[snapset] += 1

    def end(self) -> tuple[list[Problem], int]:
        where = str(self._path)
        cards = self._line - 1
        if cards != self._header.cards and not self.hopeless:
            self._problem(where, f"holds {cards} cards, but its header says {self._header.cards}")
        if not self._problems and not self.doubtful and dict(self._counts) != dict(self._header.snapsets):
            self._problem(where, "the numbers of cards for each snapset do not match the header")
        if f"sha256:{self._digest.hexdigest()}" != self._header.digest:
            self._problem(where, "the digest in the header does not match the cards: a line was changed")
        return self._problems, self._total


def _name_doubles(path: Path, stream: IO[bytes], doubtful: set[str]) -> list[Problem]:
    lines: dict[str, list[int]] = {uuid: [] for uuid in doubtful}
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        fields = parse(line)
        uuid = fields.get("uuid") if isinstance(fields, dict) else None
        if isinstance(uuid, str) and uuid in lines:
            lines[uuid].append(number)
    return [
        Problem(f"{path}, lines {' and '.join(map(str, numbers))}", f"UUID {uuid} occurs more than once", _RESTORE)
        for uuid, numbers in sorted(lines.items())
        if len(numbers) > 1
    ]


def check_count(cards: int) -> None:
    """Check the number of cards of a batch.

    Raises:
        InputError: it is not from 1 to 1,000,000.
    """
    if not 1 <= cards <= MAX_CARDS:
        todo = "make several batches" if cards > MAX_CARDS else "correct the number"
        raise InputError(Problem(f"{cards:,} cards", f"a batch has 1 to {MAX_CARDS:,} cards", todo))
