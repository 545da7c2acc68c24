"""Tables in the output of commands."""

import shutil
import textwrap
from collections.abc import Iterable, Sequence

MAX_WIDTH = 80
"""The width of a table in columns, unless the terminal is wider."""
_NARROWEST = 16
"""The minimum width of the last column of a table."""


def table(rows: Iterable[Sequence[object]], heads: Sequence[str] = ()) -> list[str]:
    """Format rows as lines with aligned columns: numbers to the right, the last column wrapped between words.

    Args:
        rows: the cells; whole numbers get thousands separators.
        heads: the titles of the columns; empty for a table without titles.
    """
    all_ = [*rows]
    if not all_:
        return []
    found = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in all_]
    numeric = [all(isinstance(row[at], int) or row[at] == "?" for row in all_) for at in range(len(found[0]))]
    cells = [[*heads], *found] if heads else found
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    before = sum(widths[:-1]) + 2 * (len(widths) - 1)
    most = max(shutil.get_terminal_size((MAX_WIDTH, 24)).columns, MAX_WIDTH)
    last = max(most - before, _NARROWEST)
    lines: list[str] = []
    for row in cells:
        parts = textwrap.wrap(row[-1], last, break_long_words=False, break_on_hyphens=False) or [""]
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        if widths[-1] > last or not numeric[-1]:
            padded[-1] = parts[0]
        lines.append("  ".join(padded).rstrip())
        lines += [" " * before + part for part in parts[1:]]
    return lines
