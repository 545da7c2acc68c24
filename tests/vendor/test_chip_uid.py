"""Chip UIDs: valid ones, doubtful ones, and hints about the correct one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataloader.vendor import BLANK, ByteOrder, CellKind, plain_text, read_chip
from dataloader.vendor.chip_uid import decoration

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
        "04\u2011A2\u2011B3\u2011C4\u2011D5\u2011E6\u201180",
        "  04A2B3C4D5E680\n",
        "04\N{NO-BREAK SPACE}A2\N{NO-BREAK SPACE}B3C4D5E680",
    ],
)
def test_notations_of_a_chip_uid_are_equal(text: str) -> None:
    """Case, colons, hyphens and spaces do not matter."""
    assert read_chip(text).uid == "04A2B3C4D5E680"
    assert read_chip(text).doubt == ""


@given(uid=UIDS, between=st.sampled_from(["", ":", "-", " "]), upper=st.booleans(), order=st.sampled_from(ByteOrder))
def test_chip_uids_of_every_length_are_read(uid: bytes, between: str, *, upper: bool, order: ByteOrder) -> None:
    """4, 7 or 10 bytes, in either byte order."""
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


def test_empty_cell_has_no_chip_uid() -> None:
    """It is not in doubt either."""
    for text in ("", "  ", "\t"):
        assert read_chip(text) == BLANK == read_chip(text, CellKind.NUMBER)


TURNED = "the chip UID was turned into a"
EXCEL = "probably by Excel"
LENGTHS = "hex digits, not 8, 14 or 20"
PAIRS = "is not a chip UID: its hex digits are not in pairs"
OTHERS = "is not a chip UID: it has characters other than hex digits"
LOST = "the other digits are lost"
DECIMAL = "0003C0112D5A14 if it is decimal, or 145A2D11C00300 if it is decimal with the bytes reversed"
COULD = f"it could be 04123456789012 if it has lost a leading zero, or {DECIMAL}"


@pytest.mark.parametrize(
    ("text", "kind", "doubt"),
    [
        # Changes by spreadsheet programs.
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
        # The same, saved as CSV.
        ("4123456789012", CellKind.TEXT, f"the chip UID 4123456789012 has 13 {LENGTHS}: {COULD}"),
        (
            "A2B3C4D5E6801",
            CellKind.TEXT,
            f"the chip UID A2B3C4D5E6801 has 13 {LENGTHS}: it could be 0A2B3C4D5E6801 if it has lost a leading zero",
        ),
        ("1904-03-02", CellKind.TEXT, "1904-03-02 is not a chip UID: its hex digits are not in pairs"),
        ("01.04.2021", CellKind.TEXT, "01.04.2021 is not a chip UID: its hex digits are not in pairs"),
        # Mistakes by people.
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
def test_doubtful_chip_uid_comes_with_a_hint(text: str, kind: CellKind, doubt: str) -> None:
    """A chip UID that was changed or mistyped never counts, however likely the right one is."""
    chip = read_chip(text, kind)
    assert (chip.uid, chip.doubt, chip.text) == ("", doubt, text)


def test_hints_respect_the_byte_order() -> None:
    """With reversed bytes, a missing leading zero belongs to the last byte."""
    doubt = read_chip("801234567890A", order=ByteOrder.LSB).doubt
    assert doubt.endswith("it could be 0A896745230108 if it has lost a leading zero")
    assert read_chip("4.56E+12", order=ByteOrder.LSB).doubt.endswith("; its digits are lost")


@given(st.text(max_size=60), st.sampled_from(CellKind), st.sampled_from(ByteOrder))
def test_only_complete_chip_uids_are_accepted(text: str, kind: CellKind, order: ByteOrder) -> None:
    """Any cell is a UID without doubt, in doubt without a UID, or empty."""
    chip = read_chip(text, kind, order)
    if chip.uid:
        assert kind is CellKind.TEXT
        assert len(bytes.fromhex(chip.uid)) in {4, 7, 10}
        digits = "".join(each for each in plain_text(text).upper() if each in "0123456789ABCDEF")
        written = chip.uid if order is ByteOrder.MSB else bytes.fromhex(chip.uid)[::-1].hex().upper()
        # Hex notation such as 0x is not part of the digits.
        assert digits.endswith(written[-2:])
    assert bool(chip.uid) + bool(chip.doubt) == bool(plain_text(text))


def test_long_cell_is_shortened_in_errors() -> None:
    """An error remains one readable line."""
    chip = read_chip("x" * 9000)
    assert len(chip.doubt) < 120
    assert len(chip.text) == 41


def test_long_cell_has_no_words_beside_a_uid() -> None:
    """Otherwise, looking for them would take hours."""
    assert decoration("CSN 04A2B3C4D5E680") == "CSN "
    assert decoration(f"CSN 04A2B3C4D5E680{' ' * 100_000}!") == ""
    assert decoration(f"G{' ' * 100_000}!") == ""
    assert read_chip(f"UID{' ' * 100_000}!").uid == ""
