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
def test_check_values_never_change(uuid: str, value: str) -> None:
    """Workbooks that vendors already have stay valid."""
    assert check_value(uuid) == value


@pytest.mark.parametrize("edited", [UUID.upper(), f" {UUID}", f"{UUID} ", UUID[:-1], UUID.replace("-", "")])
def test_check_value_detects_any_edit(edited: str) -> None:
    """A card has exactly what was encoded, so even a space or a capital letter counts."""
    assert check_value(edited) != check_value(UUID)


def test_check_value_is_plain_text_in_spreadsheets() -> None:
    """Six consonants: not a number, date, formula or boolean."""
    found = {check_value(str(number)) for number in range(1000)}
    assert len(found) > 990
    assert {len(value) for value in found} == {LENGTH}
    assert set("".join(found)) == set(LETTERS)
