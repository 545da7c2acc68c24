"""Check values of UUIDs."""

import pytest

from dataloader.vendor import check_value
from dataloader.vendor.check_value import LENGTH, LETTERS

UUID = "6f1ed002-ab5c-4a9e-8bd6-6b9b53bd2f8d"


@pytest.mark.parametrize(
    ("uuid", "value"),
    [
        ("00000000-0000-4000-8000-000000000000", "XNLVVZ"),
        (UUID, "KRQJTC"),
        ("", "QDSQPW"),
    ],
)
def test_golden_values(uuid: str, value: str) -> None:
    """The values in workbooks that are in the field stay right."""
    assert check_value(uuid) == value


@pytest.mark.parametrize("edited", [UUID.upper(), f" {UUID}", f"{UUID} ", UUID[:-1], UUID.replace("-", "")])
def test_any_edit_changes_it(edited: str) -> None:
    """A card holds what it was encoded with, so even a blank or a capital counts."""
    assert check_value(edited) != check_value(UUID)


def test_its_letters_are_nothing_else_to_a_spreadsheet_program() -> None:
    """Six consonants: no number, no date, no formula, no truth value."""
    found = {check_value(str(number)) for number in range(1000)}
    assert len(found) > 990
    assert {len(value) for value in found} == {LENGTH}
    assert set("".join(found)) == set(LETTERS)
