"""The content of a report, for any command; independent of HTML."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

SHOWN = 200
"""Rows in a table of findings; the rest are counted."""


class Tone(StrEnum):
    """How good it is; shown by words and shapes, too, never by colour alone."""

    GOOD = "good"
    QUIET = "quiet"
    """Neither good nor bad: as a user wanted it."""
    ATTENTION = "attention"
    """Somebody has to do something."""
    BAD = "bad"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Share:
    """One part of a whole."""

    label: str
    count: int
    meaning: str
    """A short explanation of the label."""
    tone: Tone


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text with headings; the first column names the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns contain numbers, ignoring texts in place of missing ones."""
        return tuple(any(isinstance(row[at], int) for row in self.rows) for at in range(len(self.head)))

    @property
    def stacks(self) -> bool:
        """Whether rows are too wide for a narrow screen: several long texts, or many columns."""
        return len(self.head) > 3 or self.numeric.count(False) > 1  # noqa: PLR2004 - what fits


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart."""

    label: str
    """What it shows, in words."""
    value: float
    tone: Tone


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars over time, drawn as a picture; its labels have the same content."""

    caption: str
    unit: str
    """The unit of the values."""
    axis: str
    """The unit of the bars: ``seconds``."""
    bars: tuple[Bar, ...]

    @property
    def highest(self) -> float:
        """The highest value, above 0."""
        return max((bar.value for bar in self.bars), default=0) or 1


@dataclass(frozen=True, slots=True)
class Attention:
    """Things that need attention for one reason, and what to do about them."""

    heading: str
    todo: str = ""
    tone: Tone = Tone.ATTENTION
    items: tuple[str, ...] = ()
    """The findings, if they are not a table: one per line."""
    table: Table | None = None
    """The things by name, at most :data:`SHOWN`."""
    more: int = 0
    """The number of things not shown."""
    all_of_them: str = ""
    """Where to find those."""
    command: str = ""
    """The command to copy; ``{batch}``, ``{ready}`` and ``{target}`` are replaced by those of the run."""
    meaning: str = ""
    """What the heading means, as a sentence, if it does not say so itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """A next step."""

    text: str
    """What it does, as a sentence."""
    command: str
    """The command, as in :attr:`Attention.command`."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact about the run."""

    name: str
    value: str
    typed: bool = False
    """Whether it is something that was typed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number shown in large type."""

    number: int
    label: str


@dataclass(frozen=True, slots=True)
class Moment:
    """The result of one run in a history."""

    time: str
    """ISO 8601."""
    counts: Mapping[str, int]
    """Counts by name, the same in every run."""


@dataclass(frozen=True, slots=True)
class History:
    """The results of several runs."""

    caption: str
    moments: tuple[Moment, ...]
    """In any order; with fewer than two, nothing is drawn."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report."""

    about: str
    """The operation and its subject, as a heading: ``Load of batch spring``."""
    verdict: str
    """The result, in one sentence."""
    tone: Tone
    lead: tuple[str, ...] = ()
    """More about it, one paragraph each."""
    unit: str = "cards"
    """The unit of the shares."""
    shares: tuple[Share, ...] = ()
    """In the order of drawing; zeros are omitted."""
    attention: tuple[Attention, ...] = ()
    tables: tuple[Table, ...] = ()
    """Other facts."""
    facts: tuple[Fact, ...] = ()
    charts: tuple[Chart, ...] = ()
    where: str = ""
    """Target, environment, host and date: one line above the verdict."""
    figures: tuple[Figure, ...] = ()
    """Shown instead of the bar if one share is everything."""
    histories: tuple[History, ...] = ()
    """Charts of counts over time."""
    steps: tuple[Step, ...] = ()
    """The next steps, in order."""

    @property
    def total(self) -> int:
        """The total of the shares."""
        return sum(share.count for share in self.shares)

    def with_warnings(self, warnings: Sequence[str]) -> Self:
        """Return the report with the warnings of the run, without duplicates."""
        if not warnings:
            return self
        found = tuple(dict.fromkeys(warnings))
        heading = f"{len(found):,} warnings" if len(found) > 1 else "1 warning"
        return replace(self, attention=(*self.attention, Attention(heading, tone=Tone.QUIET, items=found)))

    def with_facts(self, facts: Iterable[Fact]) -> Self:
        """Return the report with facts of the run."""
        return replace(self, facts=(*self.facts, *facts))


def table_of(caption: str, columns: Mapping[str, Sequence[str]]) -> Table:
    """Return columns of texts with headings as a table; empty columns are omitted."""
    told = {head: cells for head, cells in columns.items() if any(cells)}
    return Table(caption, tuple(told), tuple(zip(*told.values(), strict=True)))
