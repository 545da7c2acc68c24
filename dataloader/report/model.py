"""What a report holds, whatever the command: nothing here knows of HTML."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

SHOWN = 200
"""Rows of a table of what needs attention; the rest are counted."""


class Tone(StrEnum):
    """How good it is; each is told by words and shapes, too, never by its colour alone."""

    GOOD = "good"
    QUIET = "quiet"
    """Neither good nor bad: as somebody wanted it."""
    ATTENTION = "attention"
    """A person has to do something."""
    BAD = "bad"
    """It does not work."""


@dataclass(frozen=True, slots=True)
class Share:
    """One part of a whole."""

    label: str
    count: int
    meaning: str
    """A few words, for those who do not know the label."""
    tone: Tone


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings; the first column names the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str | int, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, a text in place of one aside."""
        return tuple(any(isinstance(row[at], int) for row in self.rows) for at in range(len(self.head)))

    @property
    def stacks(self) -> bool:
        """Whether there is too much in a row for a narrow screen: long texts side by side, or many columns."""
        return len(self.head) > 3 or self.numeric.count(False) > 1  # noqa: PLR2004 - what fits


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart."""

    label: str
    """What it says, in words."""
    value: float
    tone: Tone


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars over time, drawn as a picture; its labels say the same in words."""

    caption: str
    unit: str
    """Of the values."""
    axis: str
    """What the bars are: ``seconds``."""
    bars: tuple[Bar, ...]

    @property
    def highest(self) -> float:
        """The highest value, more than 0."""
        return max((bar.value for bar in self.bars), default=0) or 1


@dataclass(frozen=True, slots=True)
class Attention:
    """Things that need attention for one reason, and what to do about all of them."""

    heading: str
    todo: str = ""
    tone: Tone = Tone.ATTENTION
    items: tuple[str, ...] = ()
    """What is the matter, where that is no table: a line each."""
    table: Table | None = None
    """The things by name, at most :data:`SHOWN`."""
    more: int = 0
    """How many there are besides."""
    all_of_them: str = ""
    """Where those are to be had."""
    command: str = ""
    """What to type, for a person to copy; ``{batch}`` and ``{target}`` stand for the run's own."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do next."""

    text: str
    """What it does, as a sentence."""
    command: str
    """What to type, as in :attr:`Attention.command`."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something about the run."""

    name: str
    value: str
    typed: bool = False
    """Whether it is what somebody typed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is shown large."""

    number: int
    label: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What an earlier run found, or this one."""

    time: str
    """ISO 8601."""
    counts: Mapping[str, int]
    """By what is counted, the same in every run."""


@dataclass(frozen=True, slots=True)
class History:
    """What several runs found."""

    caption: str
    moments: tuple[Moment, ...]
    """In any order; nothing is drawn of fewer than two."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report."""

    about: str
    """What was done to what, as a heading: ``Load of batch spring``."""
    verdict: str
    """What came of it, in one plain sentence."""
    tone: Tone
    lead: tuple[str, ...] = ()
    """More of it, a paragraph each."""
    unit: str = "cards"
    """What is counted."""
    shares: tuple[Share, ...] = ()
    """In the order in which they are drawn; those of nothing are left out."""
    attention: tuple[Attention, ...] = ()
    tables: tuple[Table, ...] = ()
    """What else there is to know."""
    facts: tuple[Fact, ...] = ()
    charts: tuple[Chart, ...] = ()
    where: str = ""
    """The target, its environment and host, and the date: one line above the verdict."""
    figures: tuple[Figure, ...] = ()
    """What is shown in place of the bar where one share is all."""
    histories: tuple[History, ...] = ()
    """How counts came about, a chart each."""
    steps: tuple[Step, ...] = ()
    """What to do next, in this order."""

    @property
    def total(self) -> int:
        """The whole that the shares are parts of."""
        return sum(share.count for share in self.shares)

    def with_warnings(self, warnings: Sequence[str]) -> Self:
        """Return the report with the warnings of the run, each once."""
        if not warnings:
            return self
        found = tuple(dict.fromkeys(warnings))
        heading = f"{len(found):,} warnings" if len(found) > 1 else "1 warning"
        return replace(self, attention=(*self.attention, Attention(heading, tone=Tone.QUIET, items=found)))

    def with_facts(self, facts: Iterable[Fact]) -> Self:
        """Return the report with facts of the run."""
        return replace(self, facts=(*self.facts, *facts))


def table_of(caption: str, columns: Mapping[str, Sequence[str]]) -> Table:
    """Return columns of texts, each under its heading, as a table; without those that say nothing."""
    told = {head: cells for head, cells in columns.items() if any(cells)}
    return Table(caption, tuple(told), tuple(zip(*told.values(), strict=True)))
