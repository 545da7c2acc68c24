"""The public Python API: ``import dataloader``."""

import doctest
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dataloader
from dataloader.batch import read_manifest
from dataloader.couch import Address
from dataloader.operations import generate
from tests.support.returned_files import fill_in, good_rows

ROOT = Path(__file__).resolve().parents[2]


def test_docstring_examples_run(address: Address, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples of the package's docstring do what they show, on a real server."""
    monkeypatch.setenv("COUCHDB_USER", address.user or "")
    monkeypatch.setenv("COUCHDB_PASSWORD", address.password or "")
    given = {"folder": tmp_path, "returned": tmp_path / "back.xlsx", "url": address.url, "prefix": prefix}
    everything = doctest.DocTestParser().get_doctest(dataloader.__doc__ or "", given, "dataloader", None, 0)
    at = next(at for at, each in enumerate(everything.examples) if "dataloader.reconcile(" in each.source)
    flags = doctest.IGNORE_EXCEPTION_DETAIL | doctest.ELLIPSIS
    for examples in (everything.examples[:at], everything.examples[at:]):
        part = doctest.DocTest(examples, given, "dataloader", None, 0, None)
        part.globs = given
        assert doctest.DocTestRunner(optionflags=flags).run(part, clear_globs=False).failed == 0
        if not (tmp_path / "back.xlsx").exists():
            batch = read_manifest(tmp_path / "spring.batch.jsonl")
            fill_in(tmp_path / "spring.xlsx", tmp_path / "back.xlsx", good_rows(batch))


def test_every_function_has_an_example() -> None:
    """Every function of the API is called in the docstring."""
    functions = [name for name in dataloader.__all__ if name[0].islower()]
    assert {"mint", "plan", "load", "verify", "reconcile"} <= set(functions)
    examples = [name for name in functions if f"dataloader.{name}(" in (dataloader.__doc__ or "")]
    assert set(functions) - set(examples) == {"read_cards"}


def test_every_public_name_can_be_loaded() -> None:
    """``__all__``, ``dir()`` and the available names agree; other names raise AttributeError."""
    for name in dataloader.__all__:
        assert getattr(dataloader, name) is not None
        assert name in dir(dataloader)
    assert dataloader.mint is generate
    with pytest.raises(AttributeError, match="no attribute 'bake'"):
        _ = dataloader.bake  # type: ignore[attr-defined, unused-ignore]


def test_importing_has_no_side_effects() -> None:
    """``import dataloader`` imports none of its packages or libraries, and does not change the environment."""
    code = (
        "import os, sys; before = dict(os.environ), set(sys.modules); import importlib, typing; "
        "known = set(sys.modules); import dataloader; "
        "print(dict(os.environ) == before[0], sorted(set(sys.modules) - known))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout == "True ['dataloader']\n"


def test_version_matches_pyproject() -> None:
    """The version is defined in two places that agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert dataloader.__version__ == project["version"]
