"""Chip UIDs: what is certain, what is in doubt, and what is concluded of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataloader.vendor import BLANK, ByteOrder, CellKind, plain_text, read_chip

UIDS = st.sampled_from([4, 7, 10]).flatmap(lambda length: st.binary(min_size=length, max_size=length))


@pytest.mark.parametrize(
    "text",
    [
        "04A2B3C4D5E680",
        "04a2b3c4d5e680",
        "04:a2:b3:c4:d5:e6:80",
        "04-A2-B3-C4-D5-E6-80",
        "04 A2 B3 C4 D5 E6 80",
        "04A2 B3C4 D5E6 80",
        "  04A2B3C4D5E680\n",
        "04\N{NO-BREAK SPACE}A2\N{NO-BREAK SPACE}B3C4D5E680",
    ],
)
def test_the_ways_of_writing_a_uid_are_one(text: str) -> None:
    """Case, colons, hyphens and blanks do not matter."""
    assert read_chip(text).uid == "04A2B3C4D5E680"
    assert read_chip(text).doubt == ""


@given(uid=UIDS, between=st.sampled_from(["", ":", "-", " "]), upper=st.booleans(), order=st.sampled_from(ByteOrder))
def test_any_uid_of_a_possible_length_is_read(uid: bytes, between: str, *, upper: bool, order: ByteOrder) -> None:
    """4, 7 or 10 bytes, in either order of bytes."""
    written = uid if order is ByteOrder.MSB else uid[::-1]
    text = written.hex(between) if between else written.hex()
    chip = read_chip(text.upper() if upper else text, order=order)
    is_padded = len(uid) > 4 and b"\0\0\0" in {uid[:3], uid[-3:]}
    is_part = len(uid) == 4 and uid[0] in {0x08, 0x88}
    if len(set(uid.hex())) == 1:
        assert (chip.uid, chip.doubt) == ("", f"the chip UID {chip.text} is a placeholder, not the UID of a chip")
    elif is_padded or is_part:
        assert chip.uid == ""
    else:
        assert (chip.uid, chip.doubt) == (uid.hex().upper(), "")


def test_an_empty_cell_is_no_chip_and_no_doubt() -> None:
    """Nothing is said, so that nothing is in doubt."""
    for text in ("", "  ", "\t"):
        assert read_chip(text) == BLANK == read_chip(text, CellKind.NUMBER)


TURNED = "the chip UID was turned into a"
EXCEL = "probably by Excel"
LENGTHS = "hex digits, not 8, 14 or 20"
PAIRS = "is not a chip UID: it is not hex digits in pairs"
OTHERS = "is not a chip UID: it has characters other than hex digits"
LOST = "the other digits are lost"
DECIMAL = "0003C0112D5A14 if it is decimal, or 145A2D11C00300 if it is decimal with the bytes reversed"
COULD = f"it could be 04123456789012 if it has lost a leading zero, or {DECIMAL}"


@pytest.mark.parametrize(
    ("text", "kind", "doubt"),
    [
        # What spreadsheet programs do.
        ("4.56E+12", CellKind.TEXT, f"{TURNED} number (4.56E+12), {EXCEL}; it probably began with 045, {LOST}"),
        (
            "4,123456E+12",
            CellKind.TEXT,
            f"{TURNED} number (4,123456E+12), {EXCEL}; it probably began with 0412345, {LOST}",
        ),
        ("1.2E+07", CellKind.TEXT, f"{TURNED} number (1.2E+07), {EXCEL}; it probably began with 1, {LOST}"),
        ("4.56E+120", CellKind.TEXT, f"{TURNED} number (4.56E+120), {EXCEL}; its digits are lost"),
        ("4123456789012", CellKind.NUMBER, f"{TURNED} number (4123456789012), {EXCEL}: {COULD}"),
        ("412", CellKind.NUMBER, f"{TURNED} number (412), {EXCEL}"),
        ("4.56E+40", CellKind.NUMBER, f"{TURNED} number (4.56E+40), {EXCEL}: its last digits are lost"),
        (
            "41234567890123456",
            CellKind.NUMBER,
            f"{TURNED} number (41234567890123456), {EXCEL}: its last digits are lost",
        ),
        ("1904-03-02", CellKind.DATE, f"{TURNED} date (1904-03-02), {EXCEL}"),
        ("TRUE", CellKind.BOOLEAN, f"{TURNED} boolean (TRUE), {EXCEL}"),
        (
            "04A2B3C4D5E680",
            CellKind.FORMULA,
            "the chip UID is a formula, and its stored value 04A2B3C4D5E680 may be outdated",
        ),
        # The same, when it was saved as CSV.
        ("4123456789012", CellKind.TEXT, f"the chip UID 4123456789012 has 13 {LENGTHS}: {COULD}"),
        (
            "A2B3C4D5E6801",
            CellKind.TEXT,
            f"the chip UID A2B3C4D5E6801 has 13 {LENGTHS}: it could be 0A2B3C4D5E6801 if it has lost a leading zero",
        ),
        ("1904-03-02", CellKind.TEXT, "1904-03-02 is not a chip UID: it is not hex digits in pairs"),
        ("01.04.2021", CellKind.TEXT, "01.04.2021 is not a chip UID: it is not hex digits in pairs"),
        # What people do.
        ("04A2B3C4D5E6", CellKind.TEXT, f"the chip UID 04A2B3C4D5E6 has 12 {LENGTHS}"),
        ("04A2B3C4D5E68O", CellKind.TEXT, f"04A2B3C4D5E68O {OTHERS}"),
        (
            "04:A2:B3-C4:D5:E6:80",
            CellKind.TEXT,
            f"04:A2:B3-C4:D5:E6:80 {PAIRS}",
        ),
        ("n/a", CellKind.TEXT, f"n/a {OTHERS}"),
        ("00:00:00:00", CellKind.TEXT, "the chip UID 00:00:00:00 is a placeholder, not the UID of a chip"),
        ('=HEX2DEC("04")', CellKind.TEXT, f'=HEX2DEC("04") {OTHERS}'),
    ],
)
def test_what_is_in_doubt_is_told_with_what_can_be_concluded(text: str, kind: CellKind, doubt: str) -> None:
    """A chip UID that was rewritten or mistyped never counts, however probable the right one is."""
    chip = read_chip(text, kind)
    assert (chip.uid, chip.doubt, chip.text) == ("", doubt, text)


def test_conclusions_know_the_byte_order() -> None:
    """A zero that is lost in front was part of the last byte, where UIDs are written from behind."""
    doubt = read_chip("801234567890A", order=ByteOrder.LSB).doubt
    assert doubt.endswith("it could be 0A896745230108 if it has lost a leading zero")
    assert read_chip("4.56E+12", order=ByteOrder.LSB).doubt.endswith("; its digits are lost")


@given(st.text(max_size=60), st.sampled_from(CellKind), st.sampled_from(ByteOrder))
def test_nothing_but_a_whole_uid_is_taken_for_one(text: str, kind: CellKind, order: ByteOrder) -> None:
    """Whatever stands in the cell, it is a UID without doubt, or in doubt without a UID, or nothing."""
    chip = read_chip(text, kind, order)
    if chip.uid:
        assert kind is CellKind.TEXT
        assert len(bytes.fromhex(chip.uid)) in {4, 7, 10}
        digits = "".join(each for each in plain_text(text).upper() if each in "0123456789ABCDEF")
        written = chip.uid if order is ByteOrder.MSB else bytes.fromhex(chip.uid)[::-1].hex().upper()
        # Marks of hex, such as 0x, are no digits of it.
        assert digits.endswith(written[-2:])
    assert bool(chip.uid) + bool(chip.doubt) == bool(plain_text(text))


def test_a_long_cell_is_repeated_in_part() -> None:
    """An error stays one line that can be read."""
    chip = read_chip("x" * 9000)
    assert len(chip.doubt) < 120
    assert len(chip.text) == 41
