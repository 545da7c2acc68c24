"""The ledger: what all rows come to, card by card.

Most cards have one row, which says that they are on a chip, and nothing else is to be said of them. These are kept in
a few bytes each; only of the others are there rows to be judged.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from dataloader.batch import Card, Counts, ReturnedCard, Verdict
from dataloader.operations.reconcile.card_index import Roll
from dataloader.operations.reconcile.rows import Row, Said, Standing, TableInput, Whose
from dataloader.operations.reconcile.verdicts import CardJudgement, Claim, chips_of, counting, judge
from dataloader.vendor import MAKER, ChipUid

_SLOT = 11
"""Bytes that a chip is kept in: how many bytes its UID has, and these."""
_MAKER = int(MAKER, 16)
_MAKERS_LENGTH = 7
"""Bytes of a UID that begins with the maker's number."""
SHOWN_HOLDERS = 3
"""Rows that are named of a chip that stands in more."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A row that belongs to no card."""

    row: Row
    why: str


class Ledger:
    """What the rows say, to be noted row by row and judged at the end.

    Args:
        roll: the batch's cards.
    """

    def __init__(self, roll: Roll) -> None:
        self.roll = roll
        self.strays: list[Stray] = []
        """Rows that belong to no card."""
        self.warnings: list[tuple[str, str]] = []
        """Where, and what is to be noticed of rows and cards, though it changes no verdict."""
        self.set_aside: list[tuple[str, str]] = []
        self.chips_aside = 0
        """Where, and why, for rows that tell of an earlier round of encoding than the one that counts."""
        self._tables: list[TableInput] = []
        self._chips = bytearray(_SLOT * (roll.count + 1))
        self._table_of = array("I", bytes(4 * (roll.count + 1)))
        """Which table the one row of a card is in, counted from 1; 0 where it has none."""
        self._line_of = array("I", bytes(4 * (roll.count + 1)))
        self._claims: dict[int, list[Claim]] = {}
        self._judgements: dict[int, CardJudgement] = {}
        self._shared: dict[bytes, list[Row]] = {}
        """Chips that stand beside several UUIDs, and where."""
        self._chips_forward = self._chips_backward = 0

    def begin(self, table: TableInput) -> None:
        """Begin with another table; its index is that of the tables before it."""
        self._tables.append(table)

    def note_plain(self, number: int, line: int, chip: bytes) -> None:
        """Note a row that is a card's own beyond doubt, and says that it is on a chip.

        Args:
            number: the card's.
            line: the row's.
            chip: the bytes of its UID, the one first that the chip sends first.
        """
        if self._table_of[number] or number in self._claims:
            self._add(number, Claim(self._plain_row(number, len(self._tables), line, chip)))
            return
        self._table_of[number] = len(self._tables)
        self._line_of[number] = line
        self._chips[_SLOT * number : _SLOT * number + _SLOT] = _slot(chip)

    def note(self, row: Row, whose: Whose) -> None:
        """Note any row.

        Args:
            row: what it says.
            whose: whose it is.
        """
        if not whose.card:
            self.strays.append(Stray(row, whose.why))
            return
        self._add(whose.card, Claim(row, whose.standing, whose.why, bool(whose.lender)))
        if whose.lender:
            self._add(whose.lender, Claim(row, Standing.BORROWED, whose.why))

    def _add(self, number: int, claim: Claim) -> None:
        claims = self._claims.get(number)
        if claims is None:
            claims = self._claims[number] = []
            if self._table_of[number]:
                claims.append(Claim(self._row(number)))
                self._table_of[number] = 0
        claims.append(claim)

    def _chip(self, number: int) -> bytes:
        at = _SLOT * number
        return bytes(self._chips[at + 1 : at + 1 + self._chips[at]])

    def _plain_row(self, number: int, table: int, line: int, chip: bytes) -> Row:
        of = self._tables[table - 1]
        uid = chip.hex().upper()
        return Row(
            of.source.where(line),
            (of.index, line),
            of.round,
            number,
            str(number),
            self.roll.uuid(number),
            "",
            Said.ENCODED,
            ChipUid(uid, uid),
        )

    def judge(self) -> Counts:
        """Judge every card, once all rows have been noted; return what it comes to."""
        counted = {number: counting(claims) for number, claims in self._claims.items()}
        for number, claims in counted.items():
            judgement = judge(claims, is_spare=self.roll.is_spare(number))
            self._judgements[number] = judgement
            self.strays += [
                Stray(each.row, f"{each.why}, which has a good row of its own") for each in judgement.strays
            ]
            self.warnings += judgement.warnings
            if len(claims) < len(self._claims[number]):
                self._set_aside(number, claims)
        self._find_shared(counted)
        counts: Counter[Verdict] = Counter()
        unused = 0
        for number in range(1, self.roll.count + 1):
            verdict, is_unused = self._verdict(number)
            counts[verdict] += 1
            unused += is_unused
        return Counts(counts, unused)

    def _set_aside(self, number: int, counted: list[Claim]) -> None:
        for claim in self._claims[number]:
            row = claim.row
            if claim not in counted and row.said is not Said.NOTHING:
                todo = f"; chip {row.chip.uid} is not to be handed out" if row.chip.uid else ""
                self.chips_aside += bool(row.chip.uid)
                self.set_aside.append((row.where, f"card {number} was encoded again since{todo}"))

    @property
    def chips_look_reversed(self) -> bool:
        """Whether the UIDs of 7 bytes all end as they should begin, with the maker's number, once cards are judged."""
        return self._chips_backward > 0 and self._chips_forward == 0

    def _find_shared(self, counted: dict[int, list[Claim]]) -> None:
        """Find the chips that stand beside more than one UUID."""
        seen: set[bytes] = set()
        shared: set[bytes] = set()
        for slot, _ in self._held(counted):
            (shared if slot in seen else seen).add(slot)
            if slot[0] == _MAKERS_LENGTH:
                self._chips_backward += slot[_MAKERS_LENGTH] == _MAKER != slot[1]
                self._chips_forward += slot[_MAKERS_LENGTH] != _MAKER or slot[1] == _MAKER
        if shared:
            for slot, holder in self._held(counted):
                if slot in shared:
                    row = self._row(holder) if isinstance(holder, int) else holder
                    self._shared.setdefault(slot, []).append(row)
            for rows in self._shared.values():
                rows.sort(key=lambda row: row.order)

    def _held(self, counted: dict[int, list[Claim]]) -> Iterator[tuple[bytes, int | Row]]:
        """Yield each chip that a UUID stands beside, once a UUID, with a row that says so, or the card's number."""
        chips, tables = self._chips, self._table_of
        for number in range(1, self.roll.count + 1):
            at = _SLOT * number
            if tables[number] and chips[at]:
                yield bytes(chips[at : at + _SLOT]), number
        others = [each.row for each in self.strays]
        for claims in counted.values():
            for uid, row in chips_of(claims).items():
                yield _slot(bytes.fromhex(uid)), row
            others += [each.row for each in claims if each.standing is Standing.NAMED and not each.lends]
        held = {(row.uuid, row.chip.uid): row for row in others if row.said is Said.ENCODED and row.chip.uid}
        for (_, uid), row in held.items():
            yield _slot(bytes.fromhex(uid)), row

    def _row(self, number: int) -> Row:
        return self._plain_row(number, self._table_of[number], self._line_of[number], self._chip(number))

    def _verdict(self, number: int) -> tuple[Verdict, bool]:
        """Return a card's verdict, and whether it is an unused spare; quicker than all of it."""
        if not self._shared and self._table_of[number]:
            return Verdict.ENCODED, False
        returned = self._returned(self.roll.card(number))
        return returned.verdict, returned.unused_spare

    def __iter__(self) -> Iterator[ReturnedCard]:
        """Yield every card with what became of it, in the order of their numbers, once they are judged."""
        return map(self._returned, self.roll)

    def _returned(self, card: Card) -> ReturnedCard:
        number = card.number
        judgement = self._judgements.get(number)
        if judgement is None and not self._table_of[number]:
            return ReturnedCard(card, Verdict.MISSING, reason="it is in none of the returned files")
        if judgement is None:
            chip = self._chip(number).hex().upper()
            verdict, reason, unused = Verdict.ENCODED, "", False
        else:
            chip = judgement.chip
            verdict, reason, unused = judgement.verdict, judgement.reason, judgement.unused_spare
        if verdict is Verdict.ENCODED and chip and self._shared:
            rows = self._shared.get(_slot(bytes.fromhex(chip)))
            if rows:
                places = [row.where for row in rows[:SHOWN_HOLDERS]] + ["…"] * (len(rows) > SHOWN_HOLDERS)
                verdict = Verdict.DOUBLED
                reason = f"chip {chip} stands beside {len(rows)} UUIDs: {', '.join(places)}"
        return ReturnedCard(card, verdict, chip, reason, unused)


def _slot(chip: bytes) -> bytes:
    return bytes([len(chip)]) + chip.ljust(_SLOT - 1, b"\0")
