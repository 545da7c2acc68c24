"""Reconciling: what became of each card at the vendor's, from the manifest and the files that came back.

The rules stand as tables in docs/reconcile.md: whose a row is (:func:`rows.whose`), what it says
(:func:`rows.understand`), and what the rows of a card come to (:func:`judging.judge`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dataloader.batch import Counts, Manifest
from dataloader.common import InputError, Problem, short
from dataloader.operations.reconcile.card_index import Roll
from dataloader.operations.reconcile.ledger import Ledger
from dataloader.operations.reconcile.reader import Reader
from dataloader.operations.reconcile.rows import SHOWN, TableInput
from dataloader.vendor import BATCH_DIGEST_ROW, ROUND_ROW, ByteOrder
from dataloader.vendor.returned import Reading, ReturnedTable, open_returned

MAX_DIGITS = 3
"""Of the number of a round of encoding."""

OnRows = Callable[[int], None]
"""Called now and then with how many more rows have been read."""


def no_rows(rows: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class ReturnedFile:
    """A file that came back."""

    path: Path
    again: bool = False
    """Whether it tells of cards that were encoded again: what it says of a card takes the place of what others say."""


@dataclass(slots=True)
class Reconciliation:
    """What became of a batch."""

    manifest: Manifest
    ledger: Ledger
    counts: Counts
    rows: int
    round: int
    """The last round of encoding that the files tell of, from 1."""
    warnings: list[Problem] = field(default_factory=list)
    """What is to be noticed, though it changes no verdict."""

    @property
    def unknown(self) -> int:
        """How many rows belong to no card."""
        return len(self.ledger.strays)

    @property
    def to_encode(self) -> int:
        """How many cards have to be encoded again."""
        return sum(self.counts.left_out.values()) - self.counts.spares_unused

    @property
    def good(self) -> bool:
        """Whether every card is encoded or an unused spare, and every row a card's."""
        return not self.to_encode and not self.unknown


def reconcile(
    manifest: Manifest,
    files: Sequence[ReturnedFile],
    reading: Reading,
    *,
    byte_order: ByteOrder = ByteOrder.MSB,
    on_rows: OnRows = no_rows,
) -> Reconciliation:
    """Find out what became of each card of a batch.

    Args:
        manifest: the batch.
        files: what came back, all of it; neither the order of files nor that of rows matters, but for files of
            cards that were encoded again, of which the later ones take the place of the earlier.
        reading: how to read them.
        byte_order: how chip UIDs are written in them.
        on_rows: told of rows that have been read.

    Raises:
        FileError: a file can't be read.
        InputError: one is no table of cards, of another batch, or not safe to open.
    """
    names = Counter(each.path.name for each in files)
    warnings: list[Problem] = []
    rows = tables = 0
    last_round = 1
    with ExitStack() as stack:
        ordered = sorted(files, key=lambda each: each.again)
        labels = [each.path.name if names[each.path.name] == 1 else str(each.path) for each in ordered]
        # The first file is opened, by a process of its own, while the manifest is read here.
        opened = stack.enter_context(open_returned(ordered[0].path, labels[0], reading))
        ledger = Ledger(Roll(manifest))
        for at, file in enumerate(ordered):
            if at:
                opened = stack.enter_context(open_returned(file.path, labels[at], reading))
            again = last_round + 1
            for source in opened:
                # A file is a round, whatever number of sheets it has.
                round_ = again if file.again else _round(manifest, source)
                last_round = max(last_round, round_)
                tables += 1
                reader = Reader(ledger, TableInput(source, tables, round_, byte_order), reading.max_rows)
                reader.read(file.path, on_rows)
                rows += reader.rows
                warnings += [*_about_table(manifest, file.path, source, reader), *reader.warnings]
            stack.close()
    counts = ledger.judge()
    warnings += [Problem(where, why) for where, why in ledger.warnings]
    if ledger.chips_look_reversed:
        other = ByteOrder.LSB if byte_order is ByteOrder.MSB else ByteOrder.MSB
        rule = "they all end with 04, the maker's number that chip UIDs of 7 bytes begin with"
        warnings.append(Problem("chip UIDs", rule, f"if they are written the other way round: --byte-order {other}"))
    return Reconciliation(manifest, ledger, counts, rows, last_round, warnings)


def _round(manifest: Manifest, source: ReturnedTable) -> int:
    """Return the round of encoding that a workbook of ours says it is for; 1 for any other file."""
    text = source.about.get(ROUND_ROW, "")
    ours = source.about.get(BATCH_DIGEST_ROW) == manifest.header.digest
    return int(text) if ours and text.isdecimal() and len(text) <= MAX_DIGITS and int(text) else 1


def _about_table(manifest: Manifest, path: Path, source: ReturnedTable, reader: Reader) -> list[Problem]:
    """Return what is to be noticed about a whole table.

    Raises:
        InputError: it says that it is of another batch, and none of its rows is this one's.
    """
    found = []
    header = manifest.header
    digest = source.about.get(BATCH_DIGEST_ROW) or source.about.get("Digest") or header.digest
    if digest != header.digest:
        rule = f"says that it is of batch {short(source.about.get('Name', ''), SHOWN)}, not of this {header.name}"
        if not reader.known:
            raise InputError(Problem(str(path), rule, "give the manifest of its batch"))
        found.append(Problem(source.place, rule, "though it has cards of this one; look whether it is the right file"))
    elif not reader.known:
        rule = "holds no row of a card of this batch" if reader.rows else "holds no rows"
        found.append(Problem(source.place, rule, "look whether it is the right file, and the right manifest"))
    if not source.fills_result and not source.fills_chip:
        found.append(Problem(source.place, "holds neither results nor chip UIDs", "nobody has filled it in yet"))
    elif not source.fills_chip:
        rule = "holds no chip UIDs, so that a card on two chips goes unnoticed"
        found.append(Problem(source.place, rule, "ask the vendor for them"))
    return found
