"""Compare the vendor's returned files with a batch, and give each card a verdict.

The rules are tables in docs/reconcile.md: which card a row belongs to (:func:`rows.whose`), what it means
(:func:`rows.understand`), and the verdict from a card's rows (:func:`verdicts.judge`).
"""

import gc
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from dataloader.batch import Counts, Manifest, Reconciled, ReturnedCard, Verdict
from dataloader.common import InputError, Problem, listed, many, raise_problems, ranges, short
from dataloader.operations.reconcile.card_index import CardIndex
from dataloader.operations.reconcile.ledger import Ledger
from dataloader.operations.reconcile.rows import (
    OK,
    SHOWN,
    Delivery,
    Row,
    Said,
    TableInput,
    Whose,
    deliveries,
    lists_all,
    understand,
    uuids_of,
    whose,
)
from dataloader.vendor import BATCH_DIGEST_ROW, ROUND_ROW, ByteOrder, CellKind, looks_like_chip, plain_text
from dataloader.vendor.returned import (
    KEYS,
    UUID_LIKE,
    Reading,
    ReturnedRow,
    ReturnedTable,
    check_named,
    is_count,
    is_neutral,
    is_remark,
    may_sort,
    offers_choice,
    open_returned,
    reports_failure,
    result_word,
    says_failed,
    says_no,
    says_result,
    text_of,
    unlike_rows,
    unread_columns,
)

MAX_ROWS_DIGITS = 9
"""The most digits of a count of rows."""
UUID_LENGTH = 36
SHOWN_NOTES = 5
"""Different notes to name."""
SHOWN_RUNS = 20
"""Runs of rows to name."""
_NO_COUNTS = re.compile(r"(?<!\d)\d++(?:[.,]\d++)?\s*+%|\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{2,4}|\d\d?:\d\d(?::\d\d)?")
"""Percentages, dates and times."""
_NO_PERCENT = re.compile(r"(?<![\d.,])0+(?:[.,]0+)?\s*%")
_NO_TOTAL = re.compile(r"[^\W\d_]|\d{7}")
"""A letter or a long number, which totals without words do not have."""
_COUNT = re.compile(r"\s*[0-9]{1,6}(?:\s+[^\W\d_]+)?\s*")
"""A count of cards in the place of a result, as in a row of totals: ``10 cards``."""
_CHECK = re.compile("[B-DF-HJ-NP-TV-XZ]{6}")
"""A check value; words have vowels."""
_CHIP_PART = re.compile(r"[0-9A-F]{7}|(?:[0-9A-F]{2}\W){3}", re.IGNORECASE)
"""What is left of a damaged chip UID."""
_UUID_PART = re.compile("[0-9a-f]{8}|[0-9a-f]{4}-[0-9a-f]{4}", re.IGNORECASE)
"""What is left of a damaged UUID; words and totals in its column do not have it."""
_AT_END = re.compile(r"[0-9]+\Z")
_TAIL = 4
"""Characters at the end of chip UIDs to compare."""
_MIN_COUNTED = 2
"""The fewest chip UIDs that continue a series; one may be a chance."""
_MIN_AFFECTED = 5
"""The fewest rows with the same fault that are no mistake in single rows."""
MAX_DIGITS = 3
"""The most digits of the number of a round."""

OnRows = Callable[[int], object]
"""Called now and then with the number of additional rows read."""


@dataclass(frozen=True, slots=True)
class ReturnedFile:
    """A returned file."""

    path: Path
    again: bool = False
    """Whether its cards were encoded again: it replaces what earlier files say about them."""


@dataclass(frozen=True, slots=True)
class SnapsetResult:
    """The results for the cards of one snapset."""

    ordered: int
    """The number of cards without spares."""
    encoded: int
    """The number of encoded cards, including spares."""
    spares_unused: int

    @property
    def ready(self) -> int:
        """Ordered cards that are encoded, or replaced by an encoded spare."""
        return min(self.ordered, self.encoded)

    @property
    def to_encode(self) -> int:
        """Cards that are still needed."""
        return self.ordered - self.ready


@dataclass(slots=True)
class Reconciliation:
    """The result of a reconciliation."""

    manifest: Manifest
    ledger: Ledger
    counts: Counts
    rows: int
    round: int
    """The number of this reconciliation, from 1: one more than that of the last."""
    warnings: list[Problem] = field(default_factory=list)
    """Warnings that change no verdict."""
    shares: dict[str, SnapsetResult] = field(default_factory=dict)
    """The results by snapset."""
    again: list[ReturnedCard] = field(default_factory=list)
    """The cards to encode again, by number: no more than are needed."""
    is_unclear: bool = False
    """Whether most cards are in doubt because of how the file was written, so that another file may help."""

    @property
    def unknown(self) -> int:
        """The number of rows that match no card."""
        return len(self.ledger.strays)

    @property
    def ordered(self) -> int:
        """The number of ordered cards: all but the spares."""
        return sum(share.ordered for share in self.shares.values())

    @property
    def ready(self) -> int:
        """The number of ordered cards that are encoded, or replaced by a spare."""
        return sum(share.ready for share in self.shares.values())

    @property
    def to_encode(self) -> int:
        """The number of cards to encode again."""
        return len(self.again)

    @property
    def good(self) -> bool:
        """Whether every ordered card is ready, no chip must be destroyed, and every row matches a card."""
        bad = self.counts[Verdict.DUPLICATE] + self.counts[Verdict.ALTERED]
        return not self.to_encode and not self.unknown and not bad


def reconcile(
    manifest: Manifest,
    files: Sequence[ReturnedFile],
    reading: Reading,
    *,
    byte_order: ByteOrder = ByteOrder.MSB,
    previous: Reconciled | None = None,
    on_rows: OnRows | None = None,
) -> Reconciliation:
    """Give each card of a batch a verdict.

    Args:
        manifest: the batch.
        files: the returned files; the order of files and rows does not matter, except that later files of cards encoded
            again replace earlier ones.
        reading: how to read them.
        byte_order: the byte order of chip UIDs.
        previous: the previous reconciliation, for cards that no file mentions.
        on_rows: called with the number of rows read.

    Raises:
        FileError: a file cannot be read.
        InputError: a file has no table of cards, is of another batch, is not safe to open, or has not been filled in.
    """
    with _without_collecting():
        return _reconcile(manifest, files, reading, byte_order, previous, on_rows)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Turn off garbage collection: the rows kept are no garbage, and looking for it takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _reconcile(
    manifest: Manifest,
    files: Sequence[ReturnedFile],
    reading: Reading,
    byte_order: ByteOrder,
    previous: Reconciled | None,
    on_rows: OnRows | None,
) -> Reconciliation:
    tables = _read(manifest, files, reading, previous, on_rows)
    index = CardIndex(manifest)
    ledger = Ledger(index, previous)
    told = deliveries([(each.source, each.round) for each in tables])
    _check_results(tables)
    _check_lists(tables, told)
    about_names = [*_check_names(manifest, tables, told, all_encoded=reading.columns.get("result") == "")]
    warnings: list[Problem] = []
    known = rows = good = bad = nearly = unclear = 0
    remarks: list[tuple[str, str]] = []
    skipped: list[tuple[str, str]] = []
    heading = place = ""
    for at, each in enumerate(tables, 1):
        delivery = told[each.round]
        is_list = lists_all(each.source, delivery.encoded or _encoded_before(told, previous))
        is_list |= any(each.source is table for table in delivery.repeated)
        table = TableInput(each.source, at, each.round, byte_order, delivery, is_list)
        # A heading may be above titles that are repeated.
        reader = _TableReader(ledger, index, table, heading if each.source.place == place else "")
        reader.read()
        heading, place = reader.heading, each.source.place
        known += reader.known
        rows += each.source.total
        warnings += [*_about_table(manifest, each, table, reader.known), *reader.warnings]
        remarks += [*each.source.remarks, *reader.remarks]
        skipped += reader.skipped
        good, bad = good + reader.good, bad + reader.bad
        nearly, unclear = nearly + reader.nearly, unclear + reader.unclear
        # The rows are in the ledger now.
        each.source.rows.clear()
    _check_forms(files, nearly, known)
    _check_filled(files, tables, known, ledger)
    if reading.columns.get("result") != "":
        _check_lists_of_some(manifest, tables, told, known)
    _check_remarks(remarks, good, bad)
    _check_counts(chain.from_iterable(each.source.failures for each in tables), bad)
    rule = "skipped: matches no card, and has neither a UUID nor a chip UID"
    warnings += [
        Problem(where, f"{rule}: {short(text, SHOWN)}")
        for where, text in skipped
        if text and not (is_count(text) and _are_totals(text, good, bad, rows=known))
    ]
    warnings += about_names
    counts = ledger.judge()
    warnings += [Problem(where, why) for where, why in ledger.warnings]
    warnings += _about_chips(ledger, byte_order)
    is_unclear = unclear >= _MIN_AFFECTED and unclear > good
    if is_unclear:
        rule = f"{many(unclear, 'row')} are in doubt only because a chip UID or result is not readable or is a formula"
        todo = "ask the vendor for a file without this fault before you have these cards encoded again"
        warnings.append(Problem(_names_of(files), rule, todo))
    last = max([each.round for each in tables] + ([previous.round + 1] if previous else []))
    found = Reconciliation(manifest, ledger, counts, rows, last, warnings, is_unclear=is_unclear)
    found.shares = _shares(manifest, ledger)
    found.again = _again(found)
    return found


def _about_chips(ledger: Ledger, byte_order: ByteOrder) -> Iterator[Problem]:
    """Yield the warning about the form of most chip UIDs, if any."""
    if ledger.chips_look_reversed:
        other = ByteOrder.LSB if byte_order is ByteOrder.MSB else ByteOrder.MSB
        rule = "they all end with 04, the manufacturer's code that 7-byte chip UIDs begin with"
        yield Problem("chip UIDs", rule, f"if their bytes are written in reverse: --byte-order {other}")
    elif odd := ledger.reversed_chips:
        rule = f"some begin with 04, the manufacturer's code, but these end with it: {listed(odd, shown=5)}"
        yield Problem("chip UIDs", rule, "their bytes may be reversed: ask the vendor")
    elif ledger.chips_look_cut:
        rule = "they all have 4 bytes and begin with 04, as chip UIDs of 7 bytes do"
        yield Problem("chip UIDs", rule, "check that the reader does not cut them off: ask the vendor")


@dataclass(frozen=True, slots=True)
class _Read:
    """A table that was read, and what is known about it."""

    path: Path
    source: ReturnedTable
    round: int


def _read(
    manifest: Manifest,
    files: Sequence[ReturnedFile],
    reading: Reading,
    previous: Reconciled | None,
    on_rows: OnRows | None,
) -> list[_Read]:
    """Read all tables, and number their rounds.

    Raises:
        InputError: a file cannot be read; or all are of a later round, and the first one is unknown.
    """
    paths = Counter(each.path.resolve() for each in files)
    if twice := next((each.path for each in files if paths[each.path.resolve()] > 1), None):
        raise InputError(Problem(str(twice), "is given more than once", "give each returned file once"))
    names = Counter(each.path.name for each in files)
    tables: list[_Read] = []
    last = previous.round if previous else 1
    for file in sorted(files, key=lambda each: each.again):
        place = file.path.name if names[file.path.name] == 1 else str(file.path)
        # A file is one round, however many sheets it has.
        again = last + 1
        with open_returned(file.path, place, reading) as sources:
            for source in sources:
                round_ = again if file.again else _round(manifest, source)
                last = max(last, round_)
                tables.append(_Read(file.path, source, round_))
                if on_rows:
                    on_rows(source.total)
    if tables:
        check_named(tables[0].path, [each.source for each in tables], reading.columns)
    if previous is None and tables and all(each.round > 1 for each in tables):
        rule = "holds only cards that were encoded again, and the results of the earlier rounds are missing"
        raise InputError(
            Problem(str(tables[0].path), rule, "give the earlier files, too, or --previous NAME.reconciled.jsonl")
        )
    return tables


def _round(manifest: Manifest, source: ReturnedTable) -> int:
    """Return the round that our workbook says it is for; 1 for any other file."""
    text = source.about.get(ROUND_ROW, "")
    ours = source.about.get(BATCH_DIGEST_ROW) == manifest.header.digest
    return int(text) if ours and text.isdecimal() and len(text) <= MAX_DIGITS and int(text) else 1


def _check_names(
    manifest: Manifest, tables: Sequence[_Read], told: Mapping[int, Delivery], *, all_encoded: bool
) -> Iterator[Problem]:
    """Yield warnings about tables whose names may sort the cards; without results, one may list those that failed.

    Args:
        manifest: the batch.
        tables: all tables.
        told: what the tables of each round contain.
        all_encoded: whether the operator says that tables without results only list encoded cards.

    Raises:
        InputError: there are no results, and the names differ in words that are not known to be harmless.
    """
    header = manifest.header
    known = [header.name, *header.snapsets, *header.titles.values()]
    for round_, delivery in told.items():
        sources = [(each, each.source) for each in tables if each.round == round_ and not each.source.rejects]
        found = [
            each for each, source in sources if (source.fills_result if delivery.fills_result else source.fills_chip)
        ]
        several = len({each.path for each in found}) > 1
        names = [
            " ".join(filter(None, (each.path.stem if several else "", each.source.sheet, each.source.above)))
            for each in found
        ]
        if not may_sort(names, known) or (all_encoded and not delivery.fills_result):
            continue
        shown = list(dict.fromkeys(short(name.strip(), SHOWN) for name in names if not is_neutral(name, known)))
        others = " and of the others" if any(is_neutral(name, known) for name in names) else ""
        which = f"the cards of {listed([f'“{name}”' for name in shown], 5)}{others}"
        if delivery.fills_result:
            todo = "check that these names and headings do not say otherwise"
            yield Problem(str(found[0].path), f"{which} count according to their results", todo)
            continue
        rule = "have no results, and their names and headings do not say which cards are encoded"
        todo = "if all are, add --column result=; otherwise leave out those that are not"
        raise InputError(Problem(str(found[0].path), f"{which} {rule}", todo))


def _check_lists_of_some(manifest: Manifest, tables: Sequence[_Read], told: Mapping[int, Delivery], known: int) -> None:
    """Reject a list of some cards without results whose name does not say what they are.

    Raises:
        InputError: it may list the cards that failed; the others could come in another file.
    """
    header = manifest.header
    names = [header.name, *header.snapsets, *header.titles.values()]
    ordered = header.cards - sum(header.spares.values())
    if known >= ordered or any(each.round > 1 or told[each.round].fills_result for each in tables):
        return
    for each in tables:
        source = each.source
        if source.fills_chip and not source.rejects and not is_neutral(f"{each.path.stem} {source.sheet}", names):
            rule = f"has no results, and lists only {known:,} of {many(ordered, 'ordered card')}: they may have failed"
            raise InputError(Problem(str(each.path), rule, "if they are encoded, add --column result="))


def _check_results(tables: Sequence[_Read]) -> None:
    """Reject results in the vendor's own words: most cards would be encoded again.

    Raises:
        InputError: more results are in other words than ``ok``, or none is ``ok`` or ``failed``, or all results of a
            table are answers such as ``yes``.
    """
    good = failed = 0
    others: list[tuple[_Read, int, str]] = []
    only_answers: list[_Read] = []
    for each in tables:
        first, before = len(others), good + failed
        for row in each.source.rows:
            if row.result == OK:
                good += 1
                continue
            text = plain_text(text_of(row.result)[0])
            word = result_word(text)
            good += word == OK
            failed += word == Said.FAILED
            if word not in {"", OK, Said.FAILED, Said.SPARE}:
                others.append((each, row.line, text))
        if good + failed == before and all(says_result(text, answers=True) for _, _, text in others[first:]):
            only_answers.append(each)
    # A word for a failure is understood, unless all results are such words.
    unknown = [each for each in others if not says_failed(each[2])] if good or failed else others
    # A table of answers would put the cards of others in doubt.
    ok = {*uuids_of([each.source for each in tables], OK)} if only_answers else set()
    answers = [
        (each, row.line, text_of(row.result)[0])
        for each in only_answers
        for row in each.source.rows
        if row.result != "" and row.uuid in ok
    ]
    if len(unknown) <= good and not answers:
        return
    table, line, word = (unknown if len(unknown) > good else answers)[0]
    where = f"{table.path}, {table.source.unit} {line}"
    if looks_like_chip(word):
        rule = f"its result is a chip UID ({short(word, SHOWN)}), as if the titles were shifted by a column"
        raise InputError(Problem(where, rule, "put each title above its column, and save it again"))
    rule = f"its result is “{short(word, SHOWN)}”"
    if len(unknown) <= good:
        sheet = f" of sheet {short(table.source.sheet, SHOWN)}" if table.source.sheet else ""
        rule += f", and no result in the table{sheet} is ok or failed"
    elif good:
        rule += f"; {len(unknown):,} results have such words, and only {good:,} {'is' if good == 1 else 'are'} ok"
    else:
        rule += f", and no result in any table is ok{'' if failed else ' or failed'}"
    todo = "if you know what the vendor's words mean, replace them by ok and failed; otherwise ask the vendor"
    raise InputError(Problem(where, rule, todo))


def _check_lists(tables: Sequence[_Read], told: Mapping[int, Delivery]) -> None:
    """Reject a table without results that lists some of the cards that other tables say are ok.

    Raises:
        InputError: it may list the good cards, or the others.
    """
    for each in tables:
        source, delivery = each.source, told[each.round]
        # Without results, chip UIDs say which cards are encoded, in any table.
        says = {"result"} if delivery.fills_result else {"result", "chip"}
        if source.keys & says or source.rejects or delivery.completed:
            continue
        ok = {*delivery.encoded}
        there = {*uuids_of([source])}
        if ok & there and ok - there:
            word = "ok" if delivery.fills_result else "encoded"
            count = f"{len(ok & there):,} of the {len(ok):,} cards that are {word} in other tables"
            rule = f"has no results, but lists {count}"
            todo = "leave it out; if these are the good cards, correct the results of the others, otherwise of these"
            raise InputError(
                Problem(f"{each.path}{f', sheet {short(source.sheet, SHOWN)}' if source.sheet else ''}", rule, todo)
            )


class _TableReader:
    """Adds the rows of one table to the ledger."""

    def __init__(self, ledger: Ledger, index: CardIndex, table: TableInput, heading: str = "") -> None:
        self.heading = heading
        """The last text between rows, which may say that the cards below it are not encoded."""
        self.known = 0
        """Rows that belong to a card."""
        self.good = self.bad = 0
        """Rows that mean encoded, and rows that mean failed or are in doubt."""
        self.nearly = 0
        """Rows whose UUID is a card's except for case, blanks or punctuation."""
        self.unclear = 0
        """Rows that may mean encoded, but have a chip UID or result that cannot be read."""
        self.remarks: list[tuple[str, str]] = []
        """Rows that match no card but mention a failure: where they are, and their text."""
        self.skipped: list[tuple[str, str]] = []
        """Rows that are not about a card, such as totals."""
        self.warnings: list[Problem] = []
        self._ledger = ledger
        self._index = index
        self._table = table
        self._notes: dict[str, int] = {}
        """Notes beside rows that mean encoded, with the first row of each."""
        self._noted = 0
        """The number of such rows."""
        self._answered: list[tuple[int, str]] = []
        """Such rows whose note is a negative answer, which says nothing if most have it."""
        self._confirmed = 0
        """The number of rows that mean encoded, with a note that says so, too: ``ok`` or a tick."""
        self._unconfirmed: list[int] = []
        """Rows that mean encoded, without a note."""
        self._looks: defaultdict[frozenset[tuple[str, str]], list[int]] = defaultdict(list)
        """Rows that mean encoded, or repeat such rows, by their unusual looks."""
        self._lengths: defaultdict[int, list[int]] = defaultdict(list)
        """Rows that mean encoded, by the number of hex digits of their chip UIDs."""
        self._counted: list[int] = []
        """Rows that mean encoded, with a chip UID that is that of the row before, and one more or less."""
        self._last_chip = ""

    def read(self) -> None:
        """Add all rows."""
        for cells in self._table.source.rows:
            row = understand(self._table, cells)
            text = ""
            if len(row.uuid) != UUID_LENGTH:
                text = "\t".join(filter(None, (text_of(cell)[0].strip() for cell in cells[1 : len(KEYS) + 1])))
                self._note_heading(row, text)
            if self._skips(row, text, text_of(cells.result)[0]):
                self.skipped.append((row.where, text))
                continue
            if self.heading and row.by_chip and row.said is Said.ENCODED:
                row.said, row.why = Said.DOUBTFUL, f"it has no result, and is below “{self.heading}”"
            found = self._whose(row, text)
            if row.said is Said.ENCODED and (beside := self._failure_beside(row, cells, found)):
                row.said, row.why = (
                    Said.DOUBTFUL,
                    f"it says “{short(beside, SHOWN)}” in the place of its snapset or check value",
                )
            self._note_looks_of(row, cells)
            if row.said is Said.ENCODED:
                self._note_encoded(row, cells)
            self.bad += row.said in {Said.FAILED, Said.DOUBTFUL}
            self.nearly += found.nearly
            is_formula = row.said is Said.DOUBTFUL and text_of(cells.result)[1] is CellKind.FORMULA
            self.unclear += is_formula or (row.said is Said.DOUBTFUL and row.why == row.chip.doubt)
            if text and row.number is None and row.number_text and not found.card and says_failed(text):
                self.remarks.append((row.where, text))
            self.known += bool(found.card)
            self._ledger.note(row, found)
            if found.card:
                self._check_snapset(row, cells, found.card)
        self._note_notes()
        self._note_unconfirmed()
        self._note_looks()
        self._note_lengths()
        self._note_counted()

    def _whose(self, row: Row, text: str) -> Whose:
        found = whose(row, self._index)
        if not (found.card or row.uuid.strip() or row.check) and row.said is Said.FAILED and row.number:
            # A correction: the number is enough for a doubt.
            found.card = row.number if row.number <= self._index.count else 0
            row.said, row.why = Said.DOUBTFUL, f"it says that card {row.number} failed, without its UUID"
        if not found.card and UUID_LIKE.search(text) and not UUID_LIKE.search(row.uuid):
            found.why = "its UUID is in the column of something else, or all its cells are in one"
        return found

    def _note_looks_of(self, row: Row, cells: ReturnedRow) -> None:
        is_listed = self._table.lists_all and row.uuid in self._table.delivery.encoded
        if self._table.source.has_looks and (row.said is Said.ENCODED or is_listed):
            self._looks[cells.look].append(row.line)

    def _note_encoded(self, row: Row, cells: ReturnedRow) -> None:
        self.good += 1
        note = text_of(cells.note)[0] if row.note else ""
        if not note:
            self._unconfirmed.append(row.line)
        elif row.warnings:
            pass
        elif is_remark(note):
            self._noted += 1
            if len(self._notes) < SHOWN_NOTES:
                self._notes.setdefault(row.note, row.line)
        elif says_result(note, answers=False):
            self._confirmed += 1
        elif says_no(note) and any(map(str.isalnum, note)):
            self._answered.append((row.line, row.note))
        if row.chip.uid:
            self._lengths[len(row.chip.uid)].append(row.line)
            if _counts(self._last_chip, row.chip.text):
                self._counted.append(row.line)
            self._last_chip = row.chip.text

    def _note_notes(self) -> None:
        """Warn about notes that are not understood."""
        if 2 * len(self._answered) <= self.good:
            self._noted += len(self._answered)
            for line, note in self._answered[:SHOWN_NOTES]:
                self._notes.setdefault(note, line)
        if self._notes:
            source = self._table.source
            shown = listed([f"“{note}” ({source.unit} {line})" for note, line in self._notes.items()])
            verbs = ("counts", "has") if self._noted == 1 else ("count", "have")
            rule = f"{many(self._noted, 'row')} {verbs[0]} as encoded, but {verbs[1]} a note"
            self.warnings.append(Problem(source.place, f"{rule}: {shown}", "check that it does not matter"))

    def _note_unconfirmed(self) -> None:
        """Warn about rows without the tick that most have in their notes: these cards may not have been checked."""
        if 0 < len(self._unconfirmed) < self._confirmed:
            source = self._table.source
            said = "counts as encoded, but has" if len(self._unconfirmed) == 1 else "count as encoded, but have"
            lines = f"{source.unit} {ranges(self._unconfirmed, SHOWN_RUNS)}"
            rule = f"{many(len(self._unconfirmed), 'row')} {said} no note, while most notes say ok: {lines}"
            self.warnings.append(Problem(source.place, rule, "check that it does not matter"))

    def _note_lengths(self) -> None:
        """Warn about chip UIDs that are longer or shorter than most."""
        if len(self._lengths) > 1:
            source = self._table.source
            *others, _ = sorted(self._lengths.values(), key=len)
            lines = sorted(chain.from_iterable(others))
            which = f"{many(len(lines), 'row')} {'has' if len(lines) == 1 else 'have'}"
            rule = f"{which} a chip UID of another length than most: {source.unit} {ranges(lines, SHOWN_RUNS)}"
            self.warnings.append(Problem(source.place, rule, "check that it is whole, and of the right type of chip"))

    def _note_counted(self) -> None:
        """Warn about chip UIDs that count up or down: a spreadsheet program does so if a cell is dragged."""
        if len(self._counted) >= _MIN_COUNTED:
            source = self._table.source
            rule = f"chip UIDs count up or down from row to row: {source.unit} {ranges(self._counted, SHOWN_RUNS)}"
            todo = "a spreadsheet program may have continued a series: ask the vendor for those that were read"
            self.warnings.append(Problem(source.place, rule, todo))

    def _note_looks(self) -> None:
        """Warn about rows that look different from most: a person may have marked them."""
        if others := unlike_rows(self._looks):
            source = self._table.source
            said = "counts as encoded, but looks" if len(others) == 1 else "count as encoded, but look"
            rule = f"{many(len(others), 'row')} {said} different from most: {source.unit} {ranges(others, SHOWN_RUNS)}"
            todo = "check that colours, bold text, boxes and the like do not mark cards that failed"
            self.warnings.append(Problem(source.place, rule, todo))

    def _note_heading(self, row: Row, text: str) -> None:
        if row.number is None and not row.chip.text and any(map(str.isalpha, text)):
            self.heading = "" if is_neutral(text) else short(text, SHOWN)

    def _skips(self, row: Row, text: str, result: str) -> bool:
        """Return whether a row is not about a card; note a failure that it mentions."""
        is_first = row.line == self._table.source.rows[0].line
        is_result = result_word(text) in {OK, Said.FAILED, Said.SPARE}
        is_known = row.number is not None or _UUID_PART.search(row.uuid) or row.chip.uid or row.chip.could_be
        if is_first and not (is_known or is_result):
            # It continues the titles above it, as in "(hex)" below Chip UID, and "ok or failed" below Result.
            rest = text.replace(result, "") if offers_choice(result) else text
            if any(map(str.isdigit, rest)) and says_failed(rest):
                self.remarks.append((row.where, text))
            return True
        is_no_card = self._is_no_card(row, text, result)
        if is_no_card and reports_failure(text):
            self.remarks.append((row.where, text))
        return is_no_card

    def _is_no_card(self, row: Row, text: str, result: str) -> bool:
        """Return whether a row is a line of totals, a remark or the like."""
        if not (row.uuid.strip() or row.number_text or _NO_TOTAL.search(text)):
            return True
        if UUID_LIKE.search(text) or _UUID_PART.search(row.uuid) or _CHECK.fullmatch(row.check):
            return False
        if row.chip.uid or _CHIP_PART.search(row.chip.text):
            return False
        if row.number is not None:
            # A card that is listed once more may have been set aside.
            return not 1 <= row.number <= self._index.count
        is_said = row.said is not Said.NOTHING and bool(row.table.source.keys & {"result", "chip"})
        return not is_said or bool(row.number_text.strip() or _COUNT.fullmatch(result))

    def _failure_beside(self, row: Row, cells: ReturnedRow, found: Whose) -> str:
        """Return the snapset or check value of a row if it is neither, but says that the card failed."""
        snapset = cells.snapset if found.card and cells.snapset != self._index.card(found.card).snapset else ""
        texts = (text_of(snapset)[0] if snapset else "", row.check if found.why else "")
        return next(filter(says_failed, filter(None, texts)), "")

    def _check_snapset(self, row: Row, cells: ReturnedRow, number: int) -> None:
        wanted = self._index.card(number).snapset
        if cells.snapset in (wanted, ""):
            return
        says = text_of(cells.snapset)[0].strip()
        if says and says != wanted:
            rule = f"its snapset is {short(says, SHOWN)}, but card {number} starts with {wanted}"
            self.warnings.append(Problem(row.where, rule, "the manifest counts"))


def _counts(before: str, chip: str) -> bool:
    """Return whether the number at the end of a chip UID is that of the UID before, and one more or less."""
    if before[:-_TAIL] != chip[:-_TAIL]:
        return False
    one, other = _AT_END.search(before[-_TAIL:]), _AT_END.search(chip[-_TAIL:])
    if one is None or other is None or before[: -len(one[0])] != chip[: -len(other[0])]:
        return False
    return abs(int(one[0]) - int(other[0])) == 1


def _check_remarks(remarks: Sequence[tuple[str, str]], good: int, bad: int) -> None:
    """Reject failures mentioned outside the cards' rows; correct totals are harmless.

    Raises:
        InputError: a failure is mentioned.
    """
    problems = []
    for where, text in remarks:
        numbers = _numbers_in(text)
        if not (numbers & {0, bad} and _are_totals(text, good, bad)):
            rule = f"says “{short(text, SHOWN)}”, outside the columns that are read"
            problems.append(Problem(where, rule, "if it is about cards, give them a result; then remove the text"))
    raise_problems(problems)


def _check_counts(failures: Iterable[tuple[str, str, int]], bad: int) -> None:
    """Reject counts of failures on other sheets that are higher than in the rows of cards.

    Raises:
        InputError: more cards failed than the rows say.
    """
    for where, title, count in failures:
        if count > bad:
            rule = f"counts {count:,} below “{short(title, SHOWN)}”, but {many(bad, 'row')} of cards say so"
            raise InputError(
                Problem(where, rule, "correct the results of these cards; then correct or remove the sheet")
            )


def _numbers_in(text: str) -> set[int]:
    text = _NO_COUNTS.sub(" ", _NO_PERCENT.sub(" 0 ", text))
    return {int(each) for each in re.findall(r"\d+", text) if len(each) <= MAX_ROWS_DIGITS}


def _are_totals(text: str, good: int, bad: int, rows: int = 0) -> bool:
    """Return whether all numbers in a text are correct totals."""
    return _numbers_in(text) <= {0, bad, good, good + bad, rows}


def _encoded_before(told: Mapping[int, Delivery], previous: Reconciled | None) -> set[str]:
    """Return the UUIDs that are encoded according to the other rounds, for a list in a round of its own."""
    before = previous.verdicts() if previous else ()
    return {
        *chain.from_iterable(each.encoded for each in told.values()),
        *(each.card.uuid for each in before if each.verdict is Verdict.ENCODED),
    }


def _about_table(manifest: Manifest, table: _Read, read: TableInput, known: int) -> list[Problem]:
    """Return warnings about a whole table.

    Raises:
        InputError: it says that it is of another batch, and none of its rows matches this one.
    """
    found = []
    source, header = table.source, manifest.header
    digest = source.about.get(BATCH_DIGEST_ROW) or source.about.get("Digest") or header.digest
    if digest != header.digest:
        rule = f"says that it is of batch {short(source.about.get('Name', ''), SHOWN)}, not {header.name}"
        if not known:
            raise InputError(Problem(str(table.path), rule, "give the manifest of its batch"))
        found.append(Problem(source.place, rule, "it has cards of this batch; check that it is the right file"))
    elif not known:
        rule = "has no row of a card of this batch" if source.total else "has no rows"
        found.append(Problem(source.place, rule, "check the file and the manifest"))
    if source.unread:
        count = "column was" if len(source.unread) == 1 else "columns were"
        rule = f"{len(source.unread)} {count} not recognized, and not read: {unread_columns(source)}"
        found.append(Problem(source.place, rule, "if one of them matters, name it with --column"))
    if source.ignored:
        shown = listed([each.removeprefix(source.place).lstrip(",: ") for each in source.ignored], shown=10)
        found.append(Problem(source.place, f"not read: {shown}", "check that it does not matter"))
    if source.hidden:
        one = source.hidden == 1
        rule = (
            f"{many(source.hidden, 'row')} {'is' if one else 'are'} hidden, filtered out, struck through or invisible"
        )
        found.append(
            Problem(source.place, rule, f"{'it does' if one else 'they do'} not count without --include-hidden")
        )
    if source.rejects and source.fills_result and not (source.is_named_so or source.about or table.round > 1):
        found.append(Problem(source.place, f"{source.rejects}, but its results count", "check that they are right"))
    return [*found, *_about_content(read)] if source.total else found


def _about_content(table: TableInput) -> list[Problem]:
    """Return warnings about a table without results or chip UIDs."""
    source = table.source
    found = []
    if not source.keys & {"result", "chip"}:
        rule = "lists cards without results or chip UIDs, so their results are in doubt"
        todo = "leave the file out if it does not matter"
        if table.lists_all:
            rule, todo = "only lists the cards, without results or chip UIDs", "check that it does not list failures"
        found.append(Problem(source.place, rule, todo))
    elif table.delivery.fills_result and not (
        "result" in source.keys or source.rejects or table.lists_all or table.delivery.completed
    ):
        rule = "has no results, though other tables have, so its cards are in doubt"
        found.append(Problem(source.place, rule, "leave it out if it does not matter"))
    elif not source.fills_result and not source.fills_chip:
        found.append(
            Problem(
                source.place,
                "has neither results nor chip UIDs: nobody has filled it in",
                "leave it out, or have it filled in",
            )
        )
    elif not source.fills_chip and not table.delivery.completed:
        rule = "has no chip UIDs, so a card on two chips would go unnoticed"
        found.append(Problem(source.place, rule, "ask the vendor for them"))
    return found


def _check_forms(files: Sequence[ReturnedFile], nearly: int, known: int) -> None:
    """Reject UUIDs in another form, such as upper case: all chips would have to be destroyed.

    Raises:
        InputError: most UUIDs are those of the cards in another form.
    """
    if nearly >= _MIN_AFFECTED and 2 * nearly > known:
        rule = f"{nearly:,} UUIDs are those of the cards except for case, blanks or punctuation"
        todo = "if a reader shows the right UUIDs on some cards, correct the file; otherwise have all encoded again"
        raise InputError(Problem(_names_of(files), rule, todo))


def _check_filled(files: Sequence[ReturnedFile], tables: Sequence[_Read], known: int, ledger: Ledger) -> None:
    """Reject files that say nothing about the batch: their results would count as the newest.

    Raises:
        InputError: nobody has filled them in, none of their rows matches a card, or the rows seem to be numbered anew.
    """
    which = _names_of(files)
    if not any(each.source.fills_result or each.source.fills_chip for each in tables):
        rule = "nobody has filled in a result or a chip UID, so there is nothing to compare; nothing was written"
        todo = "give the file that the vendor filled in; if other columns hold them, name them with --column"
        if not any(each.source.keys & {"result", "chip"} for each in tables):
            rule = "has no column of results or chip UIDs, so it does not say which cards are encoded"
            todo = 'if they have other titles: --column result="ITS TITLE" --column chip="ITS TITLE"'
        raise InputError(Problem(which, rule, todo))
    if not known:
        rule = "has no row of a card of this batch; nothing was written"
        raise InputError(Problem(which, rule, "check the file and the manifest"))
    renumbered, cards = ledger.renumbered
    if renumbered >= _MIN_AFFECTED and 2 * renumbered > cards:
        rule = f"{renumbered:,} of {many(cards, 'card')} have the number of another card beside their UUID"
        todo = "if the vendor has numbered the rows, and a reader shows the right UUIDs, add --column number="
        raise InputError(Problem(which, rule, todo))


def _names_of(files: Sequence[ReturnedFile]) -> str:
    return str(files[0].path) if len(files) == 1 else f"{files[0].path} and {many(len(files) - 1, 'other file')}"


def _shares(manifest: Manifest, ledger: Ledger) -> dict[str, SnapsetResult]:
    encoded = Counter(each.card.snapset for each in ledger if each.verdict is Verdict.ENCODED)
    unused = Counter(each.card.snapset for each in ledger if each.unused_spare)
    header = manifest.header
    return {
        snapset: SnapsetResult(count - header.spares.get(snapset, 0), encoded[snapset], unused[snapset])
        for snapset, count in header.snapsets.items()
    }


def _again(found: Reconciliation) -> list[ReturnedCard]:
    """Return the cards to encode again: as many of each snapset as needed.

    Ordered cards come before spares.
    """
    wanted = {snapset: share.to_encode for snapset, share in found.shares.items()}
    if not any(wanted.values()):
        return []
    candidates = [each for each in found.ledger if each.is_to_encode]
    candidates.sort(key=lambda each: (found.manifest.header.is_spare(each.card.number), each.card.number))
    chosen = []
    for each in candidates:
        if wanted[each.card.snapset]:
            wanted[each.card.snapset] -= 1
            chosen.append(each)
    return sorted(chosen, key=lambda each: each.card.number)
