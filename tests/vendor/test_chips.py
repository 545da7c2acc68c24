"""Chips: how much of their memory a card's record needs."""

import pytest

from dataloader.common import ExitCode, InputError
from dataloader.vendor import CHIPS, check_chip
from dataloader.vendor.chips import ChipType, tag_data


def test_text_record_follows_the_nfc_forum() -> None:
    """Header, type, language code and text are in their places."""
    assert tag_data("Hi") == bytes.fromhex("03 09 d1 01 05 54 02 65 6e 48 69 fe")


def test_uuid_record_takes_46_bytes() -> None:
    """All UUIDs have the same length, so one check is enough for the batch."""
    assert len(tag_data("6f1ed002-ab5c-4a9e-8bd6-6b9b53bd2f8d")) == 46
    assert {check_chip(chip).needed for chip in CHIPS.values()} == {46}


@pytest.mark.parametrize(
    ("name", "memory", "left"),
    [
        ("ntag213", 144, 98),
        ("ntag215", 504, 458),
        ("ntag216", 888, 842),
        ("ultralight", 48, 2),
        ("mifare-1k", 720, 674),
    ],
)
def test_record_fits_on_each_chip(name: str, memory: int, left: int) -> None:
    """The free bytes are reported."""
    fit = check_chip(CHIPS[name])
    assert (fit.chip.name, fit.chip.memory, fit.left) == (name, memory, left)


def test_record_that_does_not_fit_is_rejected() -> None:
    """One byte too many is too many."""
    assert check_chip(ChipType("tiny", "Tiny", 46)).left == 0
    with pytest.raises(InputError) as caught:
        check_chip(ChipType("tiny", "Tiny", 45))
    assert str(caught.value) == "chip tiny: holds 45 bytes, but a card needs 46 (order a chip that holds more)"
    assert caught.value.exit_code is ExitCode.INPUT
