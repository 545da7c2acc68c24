"""The ledger: collects all rows, card by card."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from dataloader.batch import Card, Counts, Reconciled, ReturnedCard, Verdict
from dataloader.common import listed
from dataloader.operations.reconcile.card_index import CardIndex
from dataloader.operations.reconcile.rows import Row, Said, Standing, Whose
from dataloader.operations.reconcile.verdicts import CardJudgement, Claim, counting, judge, listed_again, may_be_meant
from dataloader.vendor import MAKER, first_bytes, other_readings, reverse

SHOWN_HOLDERS = 3
"""Rows to name for a chip that is listed in more."""
_MIN_CUT = 3
"""The fewest chips from which a pattern of their UIDs is no chance."""
_SHORT_DIGITS = 8
"""Hex digits of a UID of 4 bytes."""
_MAKERS_DIGITS = 14
"""Hex digits of a UID that begins with the manufacturer's code."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A row that matches no card."""

    row: Row
    why: str


class Holder(NamedTuple):
    """A UUID that a chip is listed with, and where."""

    order: tuple[int, int]
    number: int
    """The card's number; 0 for a UUID that matches no card."""
    uuid: str
    """The row's place if it has no UUID, as part of a message."""
    row: Row | None
    """The row; None for a chip of the earlier reconciliation."""


class Ledger:
    """Collects rows one by one, and gives verdicts at the end.

    Args:
        index: the batch's cards.
        previous: the results of the previous reconciliation, for cards that no row mentions.
    """

    def __init__(self, index: CardIndex, previous: Reconciled | None = None) -> None:
        self.index = index
        self.previous = previous
        self.strays: list[Stray] = []
        """Rows that match no card."""
        self.warnings: list[tuple[str, str]] = []
        """Warnings about rows and cards, with their places, that change no verdict."""
        self.set_aside: list[tuple[str, str]] = []
        """Rows of an earlier round of encoding that a later one replaces, with the reason."""
        self.chips_aside: set[str] = set()
        """The chips in such rows."""
        self.taken_over = 0
        """The number of cards whose verdict comes from the previous reconciliation."""
        self._claims: defaultdict[int, list[Claim]] = defaultdict(list)
        self._returned: list[ReturnedCard] = []
        self._before: dict[int, ReturnedCard] = {}
        self._to_destroy: set[str] = set()
        """Chips of cards that earlier rounds found not to be encoded."""
        self._chips: dict[str, Holder] = {}
        """The first UUID listed with each chip."""
        self._shared: dict[str, dict[str, Holder]] = {}
        """All UUIDs of chips that are listed with several."""
        self._repeating: set[int] = set()
        """The numbers of tables that repeat encoded cards of others."""
        self._perhaps: defaultdict[str, list[Holder]] = defaultdict(list)
        """Rows with a doubtful chip UID, by its possible readings."""

    def note(self, row: Row, whose: Whose) -> None:
        """Add a row, and the card that it belongs to."""
        if not whose.card:
            self.strays.append(Stray(row, whose.why))
            return
        self._claims[whose.card].append(Claim(row, whose.standing, whose.why, bool(whose.lender)))
        if whose.lender:
            self._claims[whose.lender].append(Claim(row, Standing.BORROWED, whose.why))

    def judge(self) -> Counts:
        """Give each card its verdict, after all rows have been added; return the counts."""
        self._before = {each.card.number: each for each in self.previous.verdicts()} if self.previous else {}
        self._to_destroy = {
            chip
            for each in self._before.values()
            if each.verdict is not Verdict.ENCODED
            for chip in (each.chip, *each.other_chips)
        }
        self._to_destroy |= self._shared_before()
        self._repeating = self._tables_that_repeat()
        for card in self.index:
            claims = self._claims.get(card.number, ())
            before = self._before.get(card.number)
            if before is not None and not _says_anything(claims, before):
                self.taken_over += 1
                self._returned.append(before)
                if before.verdict is Verdict.ENCODED:
                    self._note_empty(claims, self._earlier)
                if before.verdict is Verdict.ENCODED and before.chip:
                    self._hold(before.chip, Holder((0, card.number), card.number, card.uuid, None))
                continue
            self._returned.append(self._judged(card, claims, before))
        for stray in self.strays:
            self._hold_row(stray.row, 0)
        self._find_shared()
        self._note_other_chips()
        counts = Counter(each.verdict for each in self._returned)
        return Counts(counts, sum(each.unused_spare for each in self._returned))

    def _tables_that_repeat(self) -> set[int]:
        """Return the tables that list cards as encoded that an earlier table or reconciliation has as encoded, too."""
        found: set[int] = set()
        for number, claims in self._claims.items():
            before = self._before.get(number)
            if before is None and len(claims) == 1:
                continue
            tables = sorted({claim.row.table.index for claim in claims if claim.row.said is Said.ENCODED})
            found.update(tables if before is not None and before.verdict is Verdict.ENCODED else tables[1:])
        return found

    def _note_empty(self, claims: Sequence[Claim], where: str) -> None:
        """Warn about rows without a result that may take an encoded card back."""
        for claim in claims:
            if claim.row.said is Said.NOTHING and may_be_meant(claim.row, self._repeating):
                self.warnings.append((claim.row.where, listed_again(claim.row, where)))

    @property
    def _earlier(self) -> str:
        return self.previous.path.name if self.previous else ""

    def _judged(self, card: Card, claims: "list[Claim] | tuple[()]", before: ReturnedCard | None) -> ReturnedCard:
        counted = counting(claims)
        for claim in counted:
            if not (claim.standing is Standing.NAMED and claim.lends):
                self._hold_row(claim.row, 0 if claim.standing is Standing.NAMED else card.number)
        found: CardJudgement = judge(counted, is_spare=self.index.is_spare(card.number), repeating=self._repeating)
        self.strays += [Stray(each.row, f"{each.why}, which has a good row of its own") for each in found.strays]
        self.warnings += found.warnings
        chip = found.chip
        aside = [claim for claim in claims if claim not in counted] if len(counted) < len(claims) else []
        self._set_aside(card.number, aside, chip)
        if found.verdict is Verdict.ENCODED:
            self._note_empty([each for each in aside if each.row.round > counted[0].row.round], counted[0].row.where)
        if chip and found.verdict is Verdict.ENCODED and (aside or chip in self._to_destroy):
            earlier = {claim.row.chip.uid for claim in aside} - {""}
            failed = {claim.row.chip.uid for claim in aside if claim.row.said is not Said.ENCODED}
            if chip in self._to_destroy | failed or (chip in earlier and len(earlier) > 1):
                rule = f"card {card.number} is on chip {chip}, which was to be destroyed after an earlier round"
                self.warnings.append((counted[0].row.where, f"{rule}: make sure that it has only this card's UUID"))
        if before is not None and before.verdict is Verdict.ENCODED and found.verdict is Verdict.ENCODED:
            chip = chip or before.chip
            if before.chip not in {"", chip}:
                if any(claim.row.round > 1 for claim in counted):
                    self._aside(self._earlier, card.number, before.chip)
                else:
                    reason = f"it is on 2 chips: {before.chip} ({self._earlier}), {chip} ({counted[0].row.where})"
                    return ReturnedCard(card, Verdict.DUPLICATE, "", reason)
        return ReturnedCard(card, found.verdict, chip, found.reason, found.unused_spare)

    def _shared_before(self) -> set[str]:
        """Return the chips that rows of an earlier round list with several UUIDs."""
        rows = [claim.row for claims in self._claims.values() for claim in claims]
        last = max((row.round for row in rows), default=1)
        uuids: dict[str, str] = {}
        earlier = ((row.chip.uid, row.uuid) for row in rows if row.round < last and row.chip.uid)
        return {chip for chip, uuid in earlier if uuids.setdefault(chip, uuid) != uuid}

    def _set_aside(self, number: int, claims: list[Claim], chip: str) -> None:
        seen = {chip}
        for claim in sorted(claims, key=lambda claim: claim.row.order):
            if claim.row.said is not Said.NOTHING:
                uid = claim.row.chip.uid
                self._aside(claim.row.where, number, "" if uid in seen else uid)
                seen.add(uid)

    def _aside(self, where: str, number: int, chip: str) -> None:
        todo = f"; do not hand out chip {chip}" if chip else ""
        if chip:
            self.chips_aside.add(chip)
        self.set_aside.append((where, f"card {number} was encoded again later{todo}"))

    def chips(self, number: int) -> list[str]:
        """Return the known chips that a card was listed with, after the verdicts."""
        found = [claim.row.chip for claim in self._claims.get(number, ()) if claim.row.chip.text]
        chips = [chip.uid or chip.text for chip in found]
        before = self._before.get(number)
        return list(dict.fromkeys([*chips, *filter(None, (before.chip, *before.other_chips) if before else ())]))

    def _note_other_chips(self) -> None:
        """Record the chips that must be destroyed for each card that is not encoded."""
        for at, each in enumerate(self._returned):
            if each.verdict is not Verdict.ENCODED and (chips := self.chips(each.card.number)):
                known = {claim.row.chip.uid for claim in self._claims.get(each.card.number, ())}
                if before := self._before.get(each.card.number):
                    known |= {before.chip, *before.other_chips}
                others = tuple(chip for chip in chips if chip in known and chip != each.chip)
                self._returned[at] = each._replace(other_chips=others)

    def _hold_row(self, row: Row, number: int) -> None:
        if row.chip.uid:
            self._hold(row.chip.uid, _holder(row, number))
        for uid in row.chip.could_be:
            self._perhaps[uid].append(_holder(row, number))

    def _hold(self, chip: str, holder: Holder) -> None:
        first = self._chips.setdefault(chip, holder)
        if first is holder:
            return
        if first.uuid != holder.uuid or chip in self._shared:
            holders = self._shared.setdefault(chip, {first.uuid: first})
            if holder.order < holders.setdefault(holder.uuid, holder).order:
                holders[holder.uuid] = holder
        elif holder.order < first.order:
            self._chips[chip] = holder

    def _holders(self, chip: str) -> dict[str, Holder]:
        """Return the UUIDs that a chip is listed with, and where."""
        first = self._chips[chip]
        return self._shared.get(chip, {first.uuid: first})

    @property
    def renumbered(self) -> tuple[int, int]:
        """How many cards have other card numbers beside their UUIDs, without a check value, and of how many."""
        wrong = sum(
            any(claim.standing is Standing.CONTRADICTED and not claim.row.check for claim in claims)
            for claims in self._claims.values()
        )
        return wrong, len(self._claims)

    @property
    def chips_look_reversed(self) -> bool:
        """Whether all UIDs of 7 bytes end with the manufacturer's code that they should begin with."""
        chips = [chip for chip in self._chips if len(chip) == _MAKERS_DIGITS]
        return bool(chips) and all(map(_looks_reversed, chips))

    @property
    def chips_look_cut(self) -> bool:
        """Whether several UIDs have 4 bytes, and all begin as those of 7 bytes do."""
        return len(self._chips) >= _MIN_CUT and all(
            len(chip) == _SHORT_DIGITS and chip.startswith(MAKER) for chip in self._chips
        )

    @property
    def reversed_chips(self) -> list[str]:
        """The chips that look reversed, with their cards, if some others do not."""
        chips = [chip for chip in self._chips if len(chip) == _MAKERS_DIGITS]
        found = [chip for chip in chips if _looks_reversed(chip)]
        is_usual = any(chip.startswith(MAKER) for chip in chips)
        return [f"{chip}, {self._listed(chip)}" for chip in found] if is_usual else []

    def _find_shared(self) -> None:
        """Find cards that share a chip, or whose chips seem to be the same; none of them counts as encoded."""
        related = self._related()
        if not self._shared and not related and not self._perhaps:
            return
        firsts = first_bytes(self._perhaps)
        for at, each in enumerate(self._returned):
            if each.verdict is not Verdict.ENCODED:
                continue
            if each.chip in self._shared:
                reason = f"chip {each.chip} is listed for {self._listed(each.chip)}"
            elif each.chip in related:
                reason = related[each.chip]
            elif (other := self._possible_other(each, firsts)) is not None:
                whose = f"card {other.number}" if other.number else "an unknown UUID"
                where = other.row.where if other.row else self._earlier
                reason = f"chip {each.chip} may be listed for {whose}, too ({where})"
            else:
                continue
            self._returned[at] = ReturnedCard(each.card, Verdict.DUPLICATE, each.chip, reason)

    def _possible_other(self, card: ReturnedCard, firsts: Container[int]) -> Holder | None:
        """Return a row of another card whose doubtful chip UID may be this card's; their first bytes save time."""
        if not card.chip or not self._perhaps:
            return None
        readings = chain([card.chip], (uid for uid, _ in other_readings(card.chip, firsts)))
        holders = chain.from_iterable(self._perhaps.get(uid, ()) for uid in readings)
        return next((holder for holder in holders if holder.number != card.card.number), None)

    def _listed(self, chip: str) -> str:
        found = sorted(self._holders(chip).values(), key=lambda holder: holder.order)
        cards = [f"card {each.number}" if each.number else "an unknown UUID" for each in found]
        wheres = [each.row.where if each.row else self._earlier for each in found]
        places = [f"{card} ({where})" for card, where in zip(cards, wheres, strict=True)]
        return listed(places, SHOWN_HOLDERS)

    def _related(self) -> dict[str, str]:
        """Return the chips whose UID is another one in a different form, and why: read differently, or cut off."""
        found: dict[str, str] = {}
        lengths = sorted({len(chip) for chip in self._chips})
        shorter = {length: lengths[:at] for at, length in enumerate(lengths)}
        firsts = first_bytes(self._chips)
        for chip in self._chips:
            pairs = [*other_readings(chip, firsts)]
            for length in shorter[len(chip)]:
                cut = [(chip[:length], "bytes added at its end"), (chip[-length:], "bytes added at its front")]
                pairs += cut + [(reverse(part), f"its bytes reversed, and {how}") for part, how in cut]
            for other, how in pairs:
                if other != chip and other in self._chips and {*self._holders(other)} != {*self._holders(chip)}:
                    first, second = self._listed(other), self._listed(chip)
                    both = f"chips {other} ({first}) and {chip} ({second})"
                    reason = f"{both} seem to be the same: the second is the first with {how}"
                    found.setdefault(chip, reason)
                    found.setdefault(other, reason)
        return found

    def __iter__(self) -> Iterator[ReturnedCard]:
        """Yield every card with its verdict, in the order of the cards."""
        return iter(self._returned)


def _looks_reversed(chip: str) -> bool:
    return chip.endswith(MAKER) and not chip.startswith(MAKER)


def _holder(row: Row, number: int) -> Holder:
    return Holder((row.table.index, row.line), number, row.uuid or row.where, row)


def _says_anything(claims: "list[Claim] | tuple[()]", before: ReturnedCard) -> bool:
    """Return whether any row adds something to what the previous reconciliation says about a card."""
    return any(
        claim.row.said not in {Said.NOTHING, Said.SPARE}
        or claim.standing not in {Standing.OWN, Standing.BORROWED}
        or claim.row.chip.uid not in {"", before.chip}
        for claim in claims
        if claim.standing is not Standing.BORROWED
    )
