"""The page docs/faults.md: the outcomes of all faults, as found by the tests."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.faults.injection import COLUMNS, FAULTS, column
from tests.faults.matrix import Outcome

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
SAME = "✓"
"""Stands for the same outcome as without the fault."""

Cells = dict[str, dict[str, str]]
"""The outcomes by kind of request and column."""


def cells(outcomes: Iterable[Outcome]) -> Cells:
    """Return the outcomes of a scenario: for a single fault, and after a comma for a permanent one if different."""
    codes: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for each in outcomes:
        way = each.case.way
        cell = codes.setdefault((way.asked.kind, column(each.case.fault)), (set(), set()))
        cell[way.for_good].add(SAME if each.again is None else str(int(each.first.code)))
    found: Cells = {}
    for (kind, name), both in codes.items():
        once, for_good = (" or ".join(sorted(each, key=lambda code: (code != SAME, code))) for each in both)
        found.setdefault(kind, {})[name] = once if once == for_good else f"{once}, {for_good}"
    return found


def table(found: Cells) -> str:
    """Return the table of one scenario."""
    rows = [f"| request | {' | '.join(COLUMNS)} |", f"| --- |{' :---: |' * len(COLUMNS)}"]
    rows += [f"| `{kind}` | {' | '.join(cell.get(name, '') for name in COLUMNS)} |" for kind, cell in found.items()]
    return "\n".join(rows)


def tables(scenarios: Mapping[str, Cells]) -> str:
    """Return the tables of all scenarios, each with a heading."""
    return "\n\n".join(f"#### {title(name)}\n\n{table(found)}" for name, found in scenarios.items())


def title(scenario: str) -> str:
    """Return the heading of a scenario."""
    command, _, when = scenario.partition(", ")
    return f"`{command}`" + (f", {when}" if when else "")


def read_tables(text: str) -> dict[str, Cells]:
    """Parse the tables of the page, by heading."""
    found: dict[str, Cells] = {}
    for heading, rows in re.findall(r"^#### (.+)\n\n((?:\|.*\n?)+)", text, re.MULTILINE):
        (_, *columns), _, *lines = ([cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines())
        found[heading] = {kind.strip("`"): dict(zip(columns, line, strict=True)) for kind, *line in lines}
    return found


def legend() -> str:
    """Return a table of the faults with their descriptions."""
    rows = [f"| {name} | {fault.says} |" for name, fault in FAULTS.items()]
    return "\n".join(["| fault | what happens |", "| --- | --- |", *rows])


def part(text: str, name: str) -> str:
    """Return the part of a text between ``<!-- NAME -->`` and the next ``<!-- end -->``."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    return "" if found is None else found[1].strip()


def with_part(text: str, name: str, new: str) -> str:
    """Replace the part of a text between ``<!-- NAME -->`` and the next ``<!-- end -->``.

    Raises:
        ValueError: the markers are missing.
    """
    place = re.compile(rf"(?<=<!-- {re.escape(name)} -->\n).*?(?=<!-- end -->)", re.DOTALL)
    if len(place.findall(text)) != 1:
        raise ValueError(f"{PAGE.name} must hold <!-- {name} --> and <!-- end --> once, on lines of their own")
    return place.sub(lambda _: f"\n{new}\n\n", text)
