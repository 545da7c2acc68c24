"""The Makefile installs and runs what it should."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_extras_are_defined() -> None:
    """Pip only warns about an unknown extra, and installs nothing for it."""
    # EXTRAS := test$(comma)bench$(if …,$(comma)$(EMBEDDED))
    variables = dict(re.findall(r"^([A-Z]+) := (.*)$", MAKEFILE, re.MULTILINE))
    used = {*re.findall(r"'\.\[([a-z]+)\]'", MAKEFILE), "embedded"}
    used |= {*re.sub(r"\$\(if .*", "", variables["EXTRAS"]).split("$(comma)")}
    assert used == {"test", "bench", "fuzz", "embedded"}
    assert used <= PROJECT["project"]["optional-dependencies"].keys()


@pytest.mark.parametrize("tool", ["ruff check", "ruff format", "codespell", "lint-imports"])
def test_lint_runs(tool: str) -> None:
    """`make lint` runs every check that pre-commit runs."""
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    assert f"$(BIN)/{tool}" in recipe[1]


def test_every_test_is_in_one_of_two_runs() -> None:
    """What `make test` leaves out, `make test-rest` runs; `make test-all` runs both."""
    runs = re.findall(r"pytest -n \w+ (.*)$", MAKEFILE.replace("$(WORKERS)", "auto"), re.MULTILINE)
    selected = [re.search(r"-m '?([a-z ]+?)'?$", run) for run in runs if "fuzz" not in run]
    assert [each and each[1] for each in selected] == ["not thorough", None, "thorough"]
