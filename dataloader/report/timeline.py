"""Counts over time, drawn as a small line chart."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dataloader.report.model import History, Moment, Table

WIDTH, HEIGHT = 420, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 136, 14, 30
_GAP = 17
"""The minimum distance between the labels of two lines, in points."""


@dataclass(frozen=True, slots=True)
class Line:
    """The line of one count."""

    label: str
    dashes: int
    """From 0, the solid one."""
    points: tuple[tuple[float, float], ...]
    label_y: float
    last: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """A line chart."""

    caption: str
    lines: tuple[Line, ...]
    most: int
    first: str
    last: str
    table: Table
    """The same numbers."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def draw(history: History) -> Timeline | None:
    """Return the chart of a history, None if there are fewer than two moments, or nothing but zeros.

    Counts that are always 0 are omitted.
    """
    moments = sorted(history.moments, key=lambda each: _seconds(each.time))
    if len(moments) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    labels = [label for label in moments[-1].counts if any(each.counts.get(label) for each in moments)]
    if not labels:
        return None
    most = max(each.counts.get(label, 0) for each in moments for label in labels)
    begin, end = _seconds(moments[0].time), _seconds(moments[-1].time)
    span = (end - begin) or 1.0
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    lines = []
    for at, label in enumerate(labels):
        points = tuple(
            (
                round(_LEFT + (right - _LEFT) * (_seconds(each.time) - begin) / span, 1),
                round(bottom - (bottom - _TOP) * each.counts.get(label, 0) / most, 1),
            )
            for each in moments
        )
        lines.append(Line(label, at % 5, points, points[-1][1], moments[-1].counts.get(label, 0)))
    return Timeline(
        history.caption,
        tuple(_apart(lines)),
        most,
        *_ends(moments),
        Table(
            history.caption,
            ("When", *(label.capitalize() for label in labels)),
            tuple((_minute(each), *(each.counts.get(label, 0) for label in labels)) for each in moments),
        ),
    )


def _ends(moments: Sequence[Moment]) -> tuple[str, str]:
    """Return the first and the last day; of one day, the minutes."""
    days = moments[0].time[:10], moments[-1].time[:10]
    return days if days[0] != days[1] else (_minute(moments[0]), _minute(moments[-1])[11:])


def _minute(moment: Moment) -> str:
    return f"{moment.time[:10]} {moment.time[11:16]}"


def _apart(lines: Sequence[Line]) -> list[Line]:
    """Move labels that would overlap, each as little as possible; they keep the order of the lines' ends."""
    order = sorted(lines, key=lambda each: each.label_y)
    top, bottom = float(_TOP), float(HEIGHT - _BOTTOM)
    placed = []
    for line in order:
        top = max(line.label_y, top)
        placed.append(top)
        top += _GAP
    for at in reversed(range(len(placed))):
        placed[at] = min(placed[at], bottom)
        bottom = placed[at] - _GAP
    at_label = {line.label: y for line, y in zip(order, placed, strict=True)}
    return [replace(each, label_y=round(at_label[each.label], 1)) for each in lines]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
