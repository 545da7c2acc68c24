"""Every command that writes files keeps them in their folder, readable by their owner only."""

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
    """The folder for output, one below the test's own."""
    folder = tmp_path / "a" / "inside"
    folder.mkdir(parents=True)
    return folder


def files(folder: Path) -> set[str]:
    """Return all files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_cannot_leave_their_folder(here: Command, tmp_path: Path, inside: Path, name: str) -> None:
    """A path as the name of a batch or of an output is refused, and nothing is written."""
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
def test_snapset_names_are_restricted(here: Command, inside: Path, name: str) -> None:
    """Names get into IDs, manifests and workbooks; they cannot begin like a formula."""
    (inside / f"{name}.json5").write_text(SNAPSET)
    for call in (("validate", inside), ("generate", "good", "--cards", "3", "--snapsets", inside)):
        done = here(*call)
        assert (done.code, "is not a valid snapset name" in done.stderr) == (ExitCode.INPUT, True)


def test_output_files_are_private(here: Command, inside: Path) -> None:
    """Even with a permissive umask: anyone who has a UUID can read that person's preferences."""
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
def test_exported_cells_are_never_formulas(here: Command, inside: Path, layout: str) -> None:
    """In workbooks, cells are text; in CSV, nothing begins with a character that starts a formula."""
    snapset = next(iter(read_snapsets())).name
    assert here("generate", "0-good", "--cards", "30", "--snapset", snapset, "--out", inside).code == ExitCode.OK
    done = here("export", inside / "0-good.batch.jsonl", "--layout", layout, "--out", inside / "out")
    assert done.code == ExitCode.OK
    [path] = (inside / "out").iterdir()
    for text in texts(path, layout):
        assert text[:1] not in {"=", "+", "-", "@", "\t", "\r"}, text
