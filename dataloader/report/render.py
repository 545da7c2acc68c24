"""Render a report as one self-contained page: HTML with its style and pictures, without scripts.

The page loads nothing from elsewhere, so it can be mailed, printed and kept. All text is escaped, and UUIDs are
shortened everywhere: anyone who has a whole one can get that person's preferences.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from dataloader.report.model import Report, Share
from dataloader.report.timeline import draw

if TYPE_CHECKING:
    from jinja2 import Template

PATTERNS = {
    **dict.fromkeys(("created", "absent", "ok", "ready", "encoded", "loaded"), 0),
    **dict.fromkeys(("unchanged", "unused spares"), 1),
    "edited": 2,
    **dict.fromkeys(("deleted", "revoked"), 3),
    "outdated": 4,
    **dict.fromkeys(("missing", "waiting", "can be merged"), 5),
    **dict.fromkeys(("updated", "leftover", "merged"), 6),
    **dict.fromkeys(("foreign", "altered"), 7),
    **dict.fromkeys(("conflict", "duplicate", "to choose"), 8),
    **dict.fromkeys(("failed", "wrong", "not merged"), 9),
    "to encode again": 5,
    **dict.fromkeys(("removed", "at the vendor"), 10),
}
"""The pattern of each label: equal meanings have the same one in every report."""
COUNT = 11
"""The number of patterns."""
THINNEST = 2
"""Percent of the picture's width; smaller shares are drawn with this width, so that they are visible on a phone."""

# A UUID, complete or edited, with or without hyphens.
_UUID = re.compile(
    r"(?<![0-9A-Za-z])(?:"
    r"(?:[0-9A-Fa-f]{8}|(?=[A-Za-z]*[0-9])[0-9A-Za-z]{6,10})(?:-[0-9A-Za-z]{2,16}){3,6}"
    r"|[0-9A-Fa-f]{8}(?:[ _.:]?[0-9A-Fa-f]{4}){3}[ _.:]?[0-9A-Fa-f]{12}(?![0-9A-Za-z])"
    r")"
)
_TYPED = re.compile(r"(`[^`]+`|--[a-z][a-z-]*)")
"""What is typed, within a sentence: a command between backticks, or an option."""
_CHIP = re.compile(r"[0-9A-F]{8}(?:[0-9A-F]{6}){0,2}\Z")
_SHORT = 8
"""The number of characters of a UUID to show."""
# Control characters, and those that change the text direction (Unicode Standard Annex 9, section 2).
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Segment:
    """A share as drawn; positions in percent of the picture's width."""

    share: Share
    pattern: int
    """From 0, the solid one; labels without their own get one by position."""
    x: float
    width: float
    percent: str


def render(report: Report, *, full: bool = False) -> bytes:
    """Render a report as a page, in UTF-8.

    Args:
        report: what it says.
        full: whether to show whole UUIDs.
    """
    parts = segments(report)
    page = _template(full=full).render(
        report=report,
        segments=parts,
        widened=any(_is_widened(part, report.total) for part in parts),
        timelines=[*filter(None, map(draw, report.histories))],
    )
    # A file name may not be valid text.
    return page.encode("utf-8", "backslashreplace")


@cache
def _template(*, full: bool) -> "Template":
    # Importing Jinja takes longer than most runs without a report.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_clean if full else _shortened,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = "{:,}".format
    environment.filters["typed"] = lambda text: _TYPED.split(str(text))
    environment.tests["chip"] = lambda cell: isinstance(cell, str) and _CHIP.match(cell) is not None
    return environment.get_template("page.html.j2")


def segments(report: Report) -> list[Segment]:
    """Return the shares as drawn, side by side, without zeros."""
    drawn = [(at, share) for at, share in enumerate(report.shares) if share.count]
    raw = [max(100 * share.count / report.total, THINNEST) for _, share in drawn]
    found, x = [], 0.0
    for (at, share), width in zip(drawn, raw, strict=True):
        drawn_width = 100 * width / sum(raw)
        pattern = PATTERNS.get(share.label, COUNT + at)
        found.append(Segment(share, pattern, round(x, 3), round(drawn_width, 3), percent(share.count, report.total)))
        x += drawn_width
    return found


def _is_widened(part: Segment, total: int) -> bool:
    return 100 * part.share.count / total < THINNEST


def percent(count: int, total: int) -> str:
    """Format a share in percent; only all is 100 %, and only nothing is 0 %."""
    value = 100 * count / total
    if count == total:
        return "100 %"
    if value < 0.1:  # noqa: PLR2004 - the least that is shown
        return "< 0.1 %"
    return "> 99.9 %" if value > 99.9 else f"{value:.1f} %"  # noqa: PLR2004 - the most, short of all


def _clean(value: object) -> object:
    """Remove characters that are not text, or change its direction, from what is put into the page."""
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", value) if _is_plain(value) else value


def _shortened(value: object) -> object:
    """Do the same, and shorten UUIDs."""
    if not _is_plain(value):
        return value
    return _UUID.sub(lambda match: f"{match[0][:_SHORT]}…", str(_clean(value)))


def _is_plain(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and not hasattr(value, "__html__")
