"""Reading a table into the ledger: a short way for rows that say what nearly all say, a long one for the rest."""

import re
from collections.abc import Callable
from pathlib import Path

from dataloader.common import InputError, Problem, short
from dataloader.operations.reconcile.ledger import Ledger
from dataloader.operations.reconcile.rows import SHOWN, Said, Standing, TableInput, understand, whose
from dataloader.vendor import ByteOrder, check_value
from dataloader.vendor.returned import KEYS, MAX_CELL, ReturnedRow, text_of

_CHIP = re.compile(r"[0-9A-Fa-f]{14}|[0-9A-Fa-f]{8}|[0-9A-Fa-f]{20}")
_OK = frozenset({"ok", "OK", "Ok"})
_NO_CHIPS = frozenset(bytes([filler]) * length for filler in (0, 255) for length in (4, 7, 10))
_STEP = 1000
"""Rows between two tellings of how many there are."""


class Reader:
    """Reads one table.

    Args:
        ledger: where the rows are noted.
        table: the table.
        max_rows: how many rows it may have.
    """

    def __init__(self, ledger: Ledger, table: TableInput, max_rows: int) -> None:
        self.rows = 0
        """Rows that were read."""
        self.known = 0
        """Those that are a card's."""
        self.warnings: list[Problem] = []
        self._ledger = ledger
        self._table = table
        self._max_rows = max_rows

    def read(self, path: Path, on_rows: Callable[[int], object]) -> None:
        """Read all rows.

        Args:
            path: the file, for errors.
            on_rows: told now and then how many more have been read.

        Raises:
            InputError: the file can't be read further, has far too many rows, or a cell that is far too long.
        """
        ledger, roll = self._ledger, self._ledger.roll
        count, backward = roll.count, self._table.byte_order is ByteOrder.LSB
        ledger.begin(self._table)
        run, usual = range(0), ""
        for cells in self._table.source.rows:
            self.rows += 1
            if self.rows % _STEP == 0:
                self._check_rows(path)
                on_rows(_STEP)
            line, number, uuid, check, snapset, chip, result, note = cells
            # What nearly every row is: text, its own number, UUID and check value, ok, and a chip UID of plain hex.
            if (
                type(number) is type(check) is type(snapset) is type(note) is str
                and type(result) is type(chip) is str
                and result in _OK
                and _CHIP.fullmatch(chip)
                and number.isdecimal()
                and len(number) < 8  # noqa: PLR2004 - the digits of a million
                and 0 < (card := int(number)) <= count
                and uuid == roll.uuid(card)
                and check == check_value(uuid)
                and len(note) <= MAX_CELL
            ):
                if card not in run:
                    run, usual = roll.run(card)
                uid = bytes.fromhex(chip)
                if snapset == usual and uid not in _NO_CHIPS:
                    ledger.note_plain(card, line, uid[::-1] if backward else uid)
                    self.known += 1
                    continue
            self._read_with_care(path, cells)
        on_rows(self.rows % _STEP)

    def _check_rows(self, path: Path) -> None:
        if self.rows > self._max_rows:
            rule = f"holds more than {self._max_rows:,} rows, far more than the cards of the batch"
            raise InputError(Problem(str(path), rule, "look whether it is the right file"))

    def _read_with_care(self, path: Path, cells: ReturnedRow) -> None:
        where = self._table.source.where(cells[0])
        for key, cell in zip(KEYS, cells[1:], strict=True):
            if isinstance(cell, str) and len(cell) > MAX_CELL:
                rule = f"the cell of the {key} holds {len(cell):,} characters; {MAX_CELL:,} are more than enough"
                raise InputError(Problem(f"{path}, {self._table.source.unit} {cells[0]}", rule, "have it shortened"))
        row = understand(self._table, cells)
        if not row.uuid.strip() and not row.check and not row.chip.text and row.said is Said.NOTHING:
            rule = f"has no UUID, check value, chip UID or result, and is left out: {row.number_text or row.note}"
            self.warnings.append(Problem(where, rule))
            return
        roll = self._ledger.roll
        found = whose(row, roll)
        self.known += bool(found.card)
        snapset, _ = text_of(cells[1 + KEYS.index("snapset")])
        if found.card and snapset.strip() and snapset != roll.snapset(found.card):
            says = f"its snapset says {short(snapset, SHOWN)}"
            rule = f"{says}, but card {found.card} starts with {roll.snapset(found.card)}"
            self.warnings.append(Problem(where, rule, "the manifest counts"))
        is_plain = found.standing is Standing.OWN and row.said is Said.ENCODED and not found.why and not row.warnings
        if found.card and is_plain:
            self._ledger.note_plain(found.card, cells[0], bytes.fromhex(row.chip.uid))
        else:
            self._ledger.note(row, found)
