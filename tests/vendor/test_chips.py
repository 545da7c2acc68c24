"""Chips: how much of their memory a card's record needs."""

import pytest

from dataloader.common import ExitCode, InputError
from dataloader.vendor import CHIPS, check_chip
from dataloader.vendor.chips import ChipType, tag_data, text_message

UUID = "6f1ed002-ab5c-4a9e-8bd6-6b9b53bd2f8d"


def test_text_record_follows_the_nfc_forum() -> None:
    """Header, type, language code and text are in their places; a reader gets the text back."""
    assert text_message("Hi") == bytes.fromhex("d1 01 05 54 02 65 6e 48 69")
    assert tag_data(text_message("Hi")) == bytes.fromhex("03 09 d1 01 05 54 02 65 6e 48 69 fe")
    assert text_message("\N{LATIN SMALL LETTER A WITH DIAERESIS}", "de") == bytes.fromhex("d1 01 05 54 02 64 65 c3 a4")


@pytest.mark.parametrize(("length", "needed"), [(247, 257), (248, 260), (252, 264), (253, 268), (600, 615)])
def test_long_texts_use_longer_length_fields(length: int, needed: int) -> None:
    """From 255 bytes of message, the TLV's length takes three bytes; from 256 of payload, the record's takes four."""
    message = text_message("x" * length)
    data = tag_data(message)
    assert len(data) == needed
    assert data.count(message) == 1
    assert data.endswith(message + b"\xfe")
    if len(message) < 255:
        assert data[:2] == bytes([3, len(message)])
    else:
        assert data[:4] == b"\x03\xff" + len(message).to_bytes(2)
    payload = length + 3
    if payload <= 255:
        assert message[:4] == bytes([0xD1, 1, payload]) + b"T"
    else:
        assert message[:7] == bytes([0xC1, 1]) + payload.to_bytes(4) + b"T"


def test_uuid_record_takes_46_bytes() -> None:
    """All UUIDs have the same length, so one check is enough for the batch."""
    assert len(tag_data(text_message(UUID))) == 46
    for chip in CHIPS.values():
        assert check_chip(chip).needed == check_chip(chip, UUID).needed == 46


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


def test_mifare_classic_holds_the_longest_message_of_its_data_sheet() -> None:
    """716 bytes of message take 720 with the longer length field and the terminator."""
    text = "x" * (716 - len(text_message("x" * 700)) + 700)
    assert len(text_message(text)) == 716
    assert len(tag_data(text_message(text))) == 721
