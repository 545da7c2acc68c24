"""Draws the pictures of the docs from what the program really does; ``make pictures`` runs it.

``docs/run.svg`` is what a terminal shows of the main job, ``docs/workbook.svg`` the first rows of a workbook, and
``docs/report.png`` a page of a report. A test compares the first two with what the program does now.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

import openpyxl

from dataloader.batch import read_manifest
from dataloader.embedded import EmbeddedServer, install
from dataloader.operations import generate
from dataloader.report import render
from tests.support.command_docs import ROOT
from tests.support.report_samples import every_kind
from tests.support.returned_files import fill_in, good_rows

RUN = ROOT / "docs" / "run.svg"
WORKBOOK = ROOT / "docs" / "workbook.svg"
REPORT = ROOT / "docs" / "report.png"
COMMANDS = (
    "dataloader generate spring --cards 500 --snapset snapset_1a=300 --snapset snapset_3=200 --out batches",
    "dataloader reconcile batches/spring.batch.jsonl mail/spring.xlsx --out batches",
    "dataloader load batches/spring.reconciled.jsonl --target production",
    "dataloader verify batches/spring.reconciled.jsonl --target production",
)
VENDOR = "# the vendor encodes the cards and sends the workbook back"
_SECONDS = re.compile(r"\d+\.\d s\b")
_LINE, _TOP, _LEFT = 20, 50, 20
_CHARACTER = 8.43
"""Pixels, the width of a character of 14 pixels."""
_COLOURS = {"$": "c", "#": "n"}
_STYLE = (
    'text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d7dde5;'
    "white-space:pre}.c{fill:#fff;font-weight:700}.n{fill:#8b96a5}"
)
_SHEET_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1c2430}.h{font-weight:700}.g{fill:#5a6878}"
    "rect{fill:#fff;stroke:#c9d0cb}.t{fill:#e9f4ee}.e{fill:#fdf8e8}.a{fill:#f1f3f2}"
)


def run_main_job() -> list[str]:
    """Run the main job on the embedded server; return what a terminal shows, a line each."""
    install()
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as name, EmbeddedServer(None) as server:
        folder = Path(name)
        (folder / "dataloader.toml").write_text(
            f'[target.production]\nurl = "{server.url}"\nenvironment = "production"\n'
        )
        for command in COMMANDS:
            lines.append(f"$ {command}")
            done = subprocess.run(
                [sys.executable, "-m", *command.split()],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            lines += done.stdout.splitlines()
            if command is COMMANDS[0]:
                lines.append(VENDOR)
                (folder / "mail").mkdir()
                rows = good_rows(read_manifest(folder / "batches" / "spring.batch.jsonl"))
                fill_in(folder / "batches" / "spring.xlsx", folder / "mail" / "spring.xlsx", rows)
    return lines


def without_times(text: str) -> str:
    """Return a text in which every time is the same."""
    return _SECONDS.sub("0.0 s", text)


def _head(width: int, height: int, title: str, description: str, style: str) -> list[str]:
    """Return how a picture begins, with its text for screen readers."""
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d">',
        f'  <title id="t">{title}</title>',
        f'  <desc id="d">{escape(description)}</desc>',
        f"  <style>{style}</style>",
    ]


def terminal(lines: list[str]) -> str:
    """Return lines as a picture of a terminal."""
    width = round(2 * _LEFT + _CHARACTER * max(map(len, lines)))
    height = _TOP + _LINE * len(lines)
    parts = [
        *_head(width, height, "The main job in a terminal", "; ".join(lines), _STYLE),
        f'  <rect width="{width}" height="{height}" rx="8" fill="#17202b"/>',
        *(f'  <circle cx="{x}" cy="18" r="5" fill="#5d6875"/>' for x in (20, 38, 56)),
    ]
    for at, line in enumerate(lines):
        kind = _COLOURS.get(line[:1])
        style = f' class="{kind}"' if kind else ""
        text = escape(line, quote=False)
        parts.append(f'  <text x="{_LEFT}" y="{_TOP + _LINE * at}"{style} xml:space="preserve">{text}</text>')
    return "\n".join([*parts, "</svg>", ""])


def workbook(shown: int = 5) -> str:
    """Return the first rows of a workbook as a picture; a seeded batch, so that it is the same each time."""
    with tempfile.TemporaryDirectory() as name:
        batch = generate("spring", {"snapset_1a": 300, "snapset_3": 200}, Path(name), seed=1)
        sheet = openpyxl.load_workbook(batch.workbook)["Cards"]
        rows = [[str(cell or "") for cell in row] for row in sheet.iter_rows(max_row=shown + 1, values_only=True)]
    titles = rows[0]
    widths = [8 * max(len(row[at]) for row in rows) + 24 for at in range(len(titles))]
    widths = [max(width, 96) for width in widths]
    described = (
        f"A sheet with the columns {', '.join(titles)}, and a row for each card. "
        "The vendor fills in Chip UID, Result and Note."
    )
    left, top, high = 40, 26, 28
    width, height = left + sum(widths) + 1, top + high * len(rows) + 1
    parts = [
        *_head(width, height, "The workbook for the vendor", described, _SHEET_STYLE),
        f'  <rect x="0.5" y="0.5" width="{left}" height="{top}" class="a"/>',
    ]
    x = left
    for at, wide in enumerate(widths):
        parts.append(f'  <rect x="{x + 0.5}" y="0.5" width="{wide}" height="{top}" class="a"/>')
        parts.append(f'  <text x="{x + wide / 2:g}" y="18" class="g" text-anchor="middle">{chr(ord("A") + at)}</text>')
        x += wide
    for number, row in enumerate(rows):
        y = top + high * number
        parts.append(f'  <rect x="0.5" y="{y + 0.5}" width="{left}" height="{high}" class="a"/>')
        parts.append(f'  <text x="{left / 2:g}" y="{y + 19}" class="g" text-anchor="middle">{number + 1}</text>')
        x = left
        for title, cell, wide in zip(titles, row, widths, strict=True):
            kind = "t" if number == 0 else "e" if title in {"Chip UID", "Result", "Note"} else ""
            style = f' class="{kind}"' if kind else ""
            parts.append(f'  <rect x="{x + 0.5}" y="{y + 0.5}" width="{wide}" height="{high}"{style}/>')
            bold = ' class="h"' if number == 0 else ""
            parts.append(f'  <text x="{x + 10}" y="{y + 19}"{bold}>{escape(cell, quote=False)}</text>')
            x += wide
    return "\n".join([*parts, "</svg>", ""])


def report() -> bytes:
    """Return the upper part of a report's page as a PNG."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        page = Path(name) / "report.html"
        page.write_bytes(render(every_kind(Path(name))["verify-bad"]))
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 860, "height": 1180})
        tab.goto(page.as_uri())
        picture = tab.screenshot()
        browser.close()
    return picture


def main() -> None:
    """Draw all of them."""
    RUN.write_text(terminal(run_main_job()), "utf-8")
    WORKBOOK.write_text(workbook(), "utf-8")
    REPORT.write_bytes(report())


if __name__ == "__main__":
    main()
