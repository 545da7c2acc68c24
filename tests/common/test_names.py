"""Names never leave their folder, and what is written there is for its owner only: every command that writes files."""

import csv
import os
import re
import stat
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from dataloader.batch import read_manifest
from dataloader.common import ExitCode
from dataloader.records import read_snapsets
from dataloader.vendor.layouts import get_layout, layout_names
from tests.support.command import Command
from tests.support.returned_files import good_rows, write_csv

BAD_NAMES = ["../x", "/tmp/x", "a/b", "a\\b", "..", ".", "nul\0x", "CON", "aux.x", "x.", "x ", "=1+1", "+1", "-1", "@a"]
SNAPSET = '{flat: {contexts: {"gpii-default": {preferences: {}}}}}'


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """The folder that nothing may leave, one below the test's."""
    folder = tmp_path / "a" / "inside"
    folder.mkdir(parents=True)
    return folder


def files(folder: Path) -> set[str]:
    """Return every file at any depth."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_name_leads_out_of_its_folder(here: Command, tmp_path: Path, inside: Path, name: str) -> None:
    """Of a batch, or of what is made of one: refused, and nothing is written anywhere."""
    assert here("generate", "good", "--cards", "3", "--out", inside).code == ExitCode.OK
    before = files(tmp_path)
    calls = [
        ("generate", "--cards", "3", "--out", inside, "--", name),
        ("reconcile", inside / "good.batch.jsonl", inside / "good.xlsx", f"--name={name}", "--out", inside),
    ]
    for call in calls:
        assert here(*call).code == ExitCode.INPUT, call
        assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["a b", "=1+1", "-a", "@a", "1a", "a.b", "a\u2028", "ä", "x" * 65])
def test_a_snapset_is_named_by_letters(here: Command, inside: Path, name: str) -> None:
    """Its name gets into IDs, manifests and workbooks; none begins as a formula does."""
    (inside / f"{name}.json5").write_text(SNAPSET)
    for call in (("validate", inside), ("generate", "good", "--cards", "3", "--snapsets", inside)):
        done = here(*call)
        assert (done.code, "is no name for a snapset" in done.stderr) == (ExitCode.INPUT, True)


def test_what_is_written_is_for_its_owner_only(here: Command, inside: Path) -> None:
    """Even where the machine lets everybody read and write: whoever has a UUID has that person's preferences."""
    batch, returned = inside / "good.batch.jsonl", inside.parent / "returned.csv"
    before = os.umask(0)
    try:
        assert here("generate", "good", "--cards", "3", "--out", inside).code == ExitCode.OK
        write_csv(returned, good_rows(read_manifest(batch)))
        for call in (
            ("reconcile", batch, returned, "--out", inside, "--details", inside / "rows", "--report", inside / "r"),
            *(("export", batch, "--layout", each, "--out", inside / each) for each in ["standard", *layout_names()]),
        ):
            assert here(*call).code == ExitCode.OK
    finally:
        os.umask(before)
    written = [path for path in inside.rglob("*") if path.is_file()]
    assert len(written) >= 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}


def texts(path: Path, layout: str) -> Iterator[str]:
    """Yield the texts of every cell of an exported file, and see that none is a formula."""
    if path.suffix == ".csv":
        delimiter = get_layout(layout).delimiter or ","
        yield from (
            cell for row in csv.reader(StringIO(path.read_text("utf-8-sig")), delimiter=delimiter) for cell in row
        )
        return
    with ZipFile(path) as archive:
        for name in archive.namelist():
            if "/worksheets/" in name:
                assert not re.search(rb"<f[\s/>]", archive.read(name))


@pytest.mark.parametrize("layout", ["standard", *layout_names()])
def test_no_cell_begins_as_a_formula_does(here: Command, inside: Path, layout: str) -> None:
    """In a workbook cells are text; in CSV nothing of ours begins with what a spreadsheet program calculates."""
    snapset = next(iter(read_snapsets())).name
    assert here("generate", "0-good", "--cards", "30", "--snapset", snapset, "--out", inside).code == ExitCode.OK
    done = here("export", inside / "0-good.batch.jsonl", "--layout", layout, "--out", inside / "out")
    assert done.code == ExitCode.OK
    [path] = (inside / "out").iterdir()
    for text in texts(path, layout):
        assert text[:1] not in {"=", "+", "-", "@", "\t", "\r"}, text
