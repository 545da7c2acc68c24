"""Chips: their memory, and whether a card's record fits.

A card contains one NDEF record of type Text with its UUID. The format of the record: NFC Forum, NDEF 1.0, section 3.2,
and Text Record Type Definition 1.0, section 3.2.1; its place in memory, as a TLV: Type 2 Tag Operation 1.1, section
2.3.
"""

from dataclasses import dataclass
from uuid import UUID

from dataloader.common import InputError, Problem

LANGUAGE = "en"
"""The language code of the record: meaningless for a UUID, but required."""

_NDEF_TLV, _TERMINATOR_TLV = 0x03, 0xFE
_FLAGS = 0b1101_0001
"""The first and last record of the message, short, of a well-known type."""


@dataclass(frozen=True, slots=True)
class ChipType:
    """A kind of chip."""

    name: str
    """Its name on the command line."""
    title: str
    """The manufacturer's name."""
    memory: int
    """The most bytes of NDEF data, including the TLV."""


CHIPS = {
    chip.name: chip
    for chip in (
        # NXP, NTAG213/215/216 product data sheet (265330), title: "144/504/888 bytes user memory".
        ChipType("ntag213", "NTAG213", 144),
        ChipType("ntag215", "NTAG215", 504),
        ChipType("ntag216", "NTAG216", 888),
        # NXP, MF0ICU1 functional specification, memory organisation: data pages 4 to 15 of four bytes.
        ChipType("ultralight", "MIFARE Ultralight", 12 * 4),
        # NXP, AN1304 "NFC Type MIFARE Classic Tag Operation": sector 0 is the directory; each of the other 15 has three
        # blocks of 16 bytes for TLVs. A message with the longest TLV around it may have 716 bytes.
        ChipType("mifare-1k", "MIFARE Classic 1K", 15 * 3 * 16),
    )
}


@dataclass(frozen=True, slots=True)
class Fit:
    """The size of a record and the memory of a chip, in bytes."""

    chip: ChipType
    needed: int

    @property
    def left(self) -> int:
        """The free bytes."""
        return self.chip.memory - self.needed


def tag_data(uuid: str) -> bytes:
    """Return what a card needs of a chip's memory: a TLV with the message of one Text record, and the terminator."""
    payload = bytes([len(LANGUAGE)]) + LANGUAGE.encode("ascii") + uuid.encode("ascii")
    message = bytes([_FLAGS, 1, len(payload)]) + b"T" + payload
    # Both lengths take one byte: a UUID is short.
    return bytes([_NDEF_TLV, len(message)]) + message + bytes([_TERMINATOR_TLV])


def check_chip(chip: ChipType) -> Fit:
    """Check that a card's record fits on a chip; all UUIDs have the same length.

    Raises:
        InputError: it does not fit.
    """
    fit = Fit(chip, len(tag_data(str(UUID(int=0)))))
    if fit.left < 0:
        raise InputError(
            Problem(
                f"chip {chip.name}",
                f"holds {chip.memory} bytes, but a card needs {fit.needed}",
                "order a chip that holds more",
            )
        )
    return fit
