"""One table written in random dialects is read with the same verdicts, or rejected.

A card must never get a better verdict than it has.
"""

import csv
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.batch import Manifest, Verdict
from dataloader.common import InputError
from dataloader.operations import generate
from dataloader.operations.reconcile import ReturnedFile, reconcile
from dataloader.vendor.returned import Reading
from tests.support.returned_files import (
    CHIP,
    NOTE,
    OTHER_UUID,
    RESULT,
    SAMPLES,
    TITLES,
    UUID,
    Rows,
    chip_of,
    good_rows,
    make_samples,
    row_of,
)

TRUTHS: dict[str, tuple[Verdict, Callable[[list[Any]], Rows]]] = {
    "good": (Verdict.ENCODED, lambda row: [row]),
    "failed": (Verdict.FAILED, lambda row: [[*row[:RESULT], "failed", ""]]),
    "another word": (Verdict.FAILED, lambda row: [[*row[:RESULT], "reworked", ""]]),
    "not encoded": (Verdict.FAILED, lambda row: [[*row[:NOTE], "NOT ENCODED"]]),
    "no chip": (Verdict.FAILED, lambda row: [[*row[:CHIP], "", "ok", ""]]),
    "half a chip": (Verdict.FAILED, lambda row: [[*row[:CHIP], row[CHIP][:9], "ok", ""]]),
    "gone": (Verdict.MISSING, lambda _: []),
    "blank": (Verdict.MISSING, lambda row: [[*row[:CHIP], "", "", ""]]),
    "another UUID": (Verdict.ALTERED, lambda row: [[row[0], OTHER_UUID, *row[2:]]]),
    "UUID in upper case": (Verdict.ALTERED, lambda row: [[row[0], row[UUID].upper(), *row[2:]]]),
    "another chip in the note": (Verdict.FAILED, lambda row: [[*row[:NOTE], "now on 04AABBCCDDEE80"]]),
    "invisible characters": (
        Verdict.FAILED,
        lambda row: [[*row[:NOTE], "NOT\N{SOFT HYPHEN} ENC\N{ZERO WIDTH SPACE}ODED"]],
    ),
    "two chips": (Verdict.DUPLICATE, lambda row: [row, [*row[:CHIP], f"0499{row[CHIP][4:]}", "ok", ""]]),
}
NAMES = {
    "ours": TITLES,
    "upper": [title.upper().replace(" ", "_") for title in TITLES],
    "marked": [f"{title}*:" for title in TITLES],
    "brackets": [f"{title} (text)" for title in TITLES],
    "invisible": [f"\N{ZERO WIDTH SPACE}{title[:3]}\N{SOFT HYPHEN}{title[3:]}" for title in TITLES],
    "misread": [
        title.encode().decode("cp1252")
        for title in ("Número de tarjeta", "UUID", "Prüfwert", "Snapset", "Chip-UID", "Prüfergebnis", "Observación")
    ],
    "German": ["Kartennummer", "UUID der Karte", "Prüfwert", "Snapset", "Chip-UID", "Ergebnis", "Bemerkung"],
    "French": ["N° de carte", "UUID", "Valeur de contrôle", "Snapset", "UID de la puce", "Résultat", "Remarques"],
    "Spanish": ["Número de tarjeta", "UUID", "Check", "Snapset", "UID del chip", "Resultado", "Observaciones"],
    "Dutch": ["Kaartnummer", "UUID", "Controlewaarde", "Snapset", "Chip UID", "Resultaat", "Opmerkingen"],
    "a tool's": ["Line", "Card UUID", "Checksum", "Preset", "NFC UID", "Encoding status", "Comments"],
    "unknown": ["A", "UUID", "B", "C", "Transponder", "Bewertung", "D"],
}
NOTATIONS: tuple[Callable[[str], str], ...] = (
    str,
    str.lower,
    lambda uid: ":".join(uid[at : at + 2] for at in range(0, len(uid), 2)),
    lambda uid: f"0x{uid}" if uid else uid,
    lambda uid: f"{uid}h" if uid else uid,
    lambda uid: "".join(f"{uid[at : at + 2]} " for at in range(0, len(uid), 2)),
)
MARKS = ("{}", '="{}"', "'{}", " {}")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "mac_roman", "cp850")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of ten cards."""
    return generate("truth", {"snapset_1a": 6, "empty": 4}, tmp_path_factory.mktemp("truth")).manifest


def written(folder: Path, source: random.Random, table: Rows) -> Path:
    """Write a table with its titles in a random dialect of CSV."""
    path = folder / "back.csv"
    is_quoted = source.random() < 0.5
    mark = "{}" if is_quoted else source.choice(MARKS)
    delimiter = source.choice(",;\t|")
    stream = io.StringIO(newline="")
    if mark == "{}":
        quoting: Any = csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL
        writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=source.choice(("\n", "\r\n")))
        writer.writerows(table)
    else:
        stream.write(
            "".join(delimiter.join([row[0], *(mark.format(cell) for cell in row[1:])]) + "\n" for row in table)
        )
    text = stream.getvalue()
    if source.random() < 0.2:
        text = "".join('"' + line.replace('"', '""') + '"\n' for line in text.splitlines())
    if source.random() < 0.2:
        text = f'"Tags" & Sons{delimiter} 5" tags\n\n{text}'
    path.write_bytes(text.encode(source.choice(ENCODINGS), errors="ignore"))
    return path


def book(folder: Path, source: random.Random, table: Rows) -> Path:
    """Write a table with its titles as one or more sheets of a workbook."""
    path = folder / "back.xlsx"
    workbook = openpyxl.Workbook()
    workbook.worksheets[0].append(["Report"])
    titles, rows = table[0], table[1:]
    at = source.randint(0, len(rows))
    parts = [rows] if source.random() < 0.5 else [rows[:at], rows[at:]]
    for number, part in enumerate(parts, 1):
        sheet = workbook.create_sheet(f"Box {number}")
        for _ in range(source.randint(0, 3)):
            sheet.append([])
        for row in [titles, *part]:
            sheet.append([None] * (number - 1) + row)
    workbook.save(path)
    return path


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), names=st.sampled_from([*NAMES]), is_book=st.sampled_from([False] * 5 + [True]))
def test_table_in_any_dialect_is_read_or_rejected(
    manifest: Manifest, tmp_path_factory: pytest.TempPathFactory, seed: int, names: str, *, is_book: bool
) -> None:
    """With any titles, order, quotation marks, encoding, sheets and chip UID notation."""
    source = random.Random(seed)
    truth: dict[int, Verdict] = {}
    rows: Rows = []
    cards = list(manifest.cards())
    for card in cards:
        name = source.choice([*TRUTHS, *["good"] * 8]) if card.number > 1 else "good"
        verdict, deed = TRUTHS[name]
        truth[card.number] = verdict
        rows += deed(row_of(card))
    source.shuffle(rows)
    notation = source.choice(NOTATIONS)
    order = source.sample(range(len(TITLES)), len(TITLES))
    shown = [[*row[:CHIP], notation(row[CHIP]), *row[RESULT:]] for row in rows]
    if source.random() < 0.2:
        at = source.randint(1, len(shown))
        shown = [*shown[:at], NAMES[names], *shown[at:]]
    table = [[row[column] for column in order] for row in [NAMES[names], *shown]]
    folder = tmp_path_factory.mktemp("dialect")
    path = (book if is_book else written)(folder, source, table)
    try:
        found = reconcile(manifest, [ReturnedFile(path)], Reading(cards=len(cards)))
    except InputError:
        return
    came_back = {each.card.number: each.verdict for each in found.ledger}
    better = {number for number, verdict in came_back.items() if verdict is Verdict.ENCODED is not truth[number]}
    assert not better
    if names not in {"unknown", "a tool's"}:
        assert came_back == truth
        assert {each.chip for each in found.ledger if each.verdict is Verdict.ENCODED} == {
            chip_of(number) for number, verdict in truth.items() if verdict is Verdict.ENCODED
        }


def test_few_dialects_are_rejected(manifest: Manifest, tmp_path: Path) -> None:
    """A reader that rejects everything would be useless."""
    refused = 0
    for seed in range(40):
        source = random.Random(seed)
        try:
            path = written(tmp_path, source, [TITLES, *good_rows(manifest)])
            assert reconcile(manifest, [ReturnedFile(path)], Reading(cards=10)).good
        except InputError:
            refused += 1
    assert refused <= 4


def test_samples_have_the_same_result_in_every_dialect(tmp_path: Path) -> None:
    """Each sample in several CSV dialects has its counts, or is rejected."""
    batch = make_samples(tmp_path / "samples")
    for name, (faults, counts) in SAMPLES.items():
        rows = good_rows(batch.manifest)
        for fault in faults:
            fault(rows)
        table = [TITLES, *([str(cell) for cell in row] for row in rows)]
        for seed in range(3):
            try:
                found = reconcile(
                    batch.manifest, [ReturnedFile(written(tmp_path, random.Random(seed), table))], Reading(cards=16)
                )
            except InputError:
                continue
            assert (*(found.counts[verdict] for verdict in Verdict), found.unknown) == counts, name
