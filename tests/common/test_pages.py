"""Documentation pages that messages refer to."""

import re
from pathlib import Path

import pytest

from dataloader.common import page
from dataloader.common.pages import DOCUMENTATION

ROOT = Path(__file__).parents[2]
NAMED = {
    match["name"]
    for path in (ROOT / "dataloader").rglob("*.py")
    for match in re.finditer(r"\bpage\([\"'](?P<name>[^\"']+)[\"']\)", path.read_text("utf-8"))
}


def test_documentation_address_is_defined_once() -> None:
    """No other file of the package contains it, or the path of a page in the source tree."""
    for path in (ROOT / "dataloader").rglob("*.py"):
        if path.name != "pages.py":
            text = path.read_text("utf-8")
            assert DOCUMENTATION not in text, path
            assert not re.search(r"(?:error\(|warn\(|help=|rule=|todo=)[^\n]*\bdocs/\w+\.md", text), path


def test_some_messages_name_pages() -> None:
    """The other test is not empty."""
    assert {"second-round.md", "layouts.md", "reference.md#windows"} <= NAMED


@pytest.mark.parametrize("name", sorted(NAMED))
def test_named_pages_exist(name: str) -> None:
    """Each page that a message names exists, with its heading."""
    file, _, heading = name.partition("#")
    text = (ROOT / "docs" / file).read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert not heading or heading in {each.lower().replace(" ", "-") for each in headings}
    assert page(name) == f"{DOCUMENTATION}{name}"
