"""The samples that people copy from are what dataloader itself writes or accepts."""

from pathlib import Path

from dataloader.common import data_dir
from dataloader.operations import generate, validate
from dataloader.records import Snapsets
from dataloader.vendor import check_workbook


def test_sample_batch_is_what_generate_writes(tmp_path: Path) -> None:
    """``generate demo --cards 12 … --seed 2020`` writes the sample manifest, byte for byte, and an equal workbook."""
    batch = generate("demo", {"snapset_1a": 6, "snapset_3": 4, "empty": 2}, tmp_path, seed=2020)
    assert (data_dir("samples") / "demo.batch.jsonl").read_bytes() == batch.manifest.path.read_bytes()
    assert check_workbook(data_dir("samples") / "demo.xlsx").cards == 12


def test_samples_are_valid(snapsets: Snapsets) -> None:
    """All files of samples/ are valid except returned files with faults on purpose; every kind of file is included."""
    folders = [path for path in data_dir("samples").iterdir() if path.name not in {"README.md", "returned"}]
    found = list(validate(sorted(folders), snapsets, strict=True))
    assert [str(problem) for checked in found for problem in checked.problems] == []
    assert {checked.kind for checked in found} == {
        "manifest",
        "workbook",
        "snapset",
        "sample data",
        "site credentials",
        "target file",
    }
