"""The ledger: what all rows come to, card by card."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from dataloader.batch import Card, Counts, Reconciled, ReturnedCard, Verdict
from dataloader.common import listed
from dataloader.operations.reconcile.card_index import CardIndex
from dataloader.operations.reconcile.rows import Row, Said, Standing, Whose
from dataloader.operations.reconcile.verdicts import CardJudgement, Claim, counting, judge
from dataloader.vendor import MAKER, reverse

SHOWN_HOLDERS = 3
"""Rows that are named of a chip that is listed in more."""
_MAKERS_DIGITS = 14
"""Hex digits of a UID that begins with the maker's number."""


@dataclass(frozen=True, slots=True)
class Stray:
    """A row that belongs to no card."""

    row: Row
    why: str


class Holder(NamedTuple):
    """A UUID that a chip is listed with, and where."""

    order: tuple[int, int]
    where: str
    number: int
    """The card's number; 0 for a UUID of no card."""


class Ledger:
    """What the rows say: noted row by row, judged at the end.

    Args:
        index: the batch's cards.
        previous: what an earlier reconciliation found; it stands for cards that no row says anything about.
    """

    def __init__(self, index: CardIndex, previous: Reconciled | None = None) -> None:
        self.index = index
        self.previous = previous
        self.strays: list[Stray] = []
        """Rows that belong to no card."""
        self.warnings: list[tuple[str, str]] = []
        """Where, and what to notice of rows and cards, though it changes no verdict."""
        self.set_aside: list[tuple[str, str]] = []
        """Where, and why, for rows from an earlier round of encoding than the one that counts."""
        self.chips_aside: set[str] = set()
        """The chips on such rows."""
        self.taken_over = 0
        """How many cards are as the earlier reconciliation found them."""
        self._claims: defaultdict[int, list[Claim]] = defaultdict(list)
        self._returned: list[ReturnedCard] = []
        self._before: dict[int, ReturnedCard] = {}
        self._chips: dict[str, dict[str, Holder]] = {}
        """The UUIDs that each chip is listed with."""
        self._chips_forward = self._chips_backward = 0

    def note(self, row: Row, whose: Whose) -> None:
        """Note a row, and which card it belongs to."""
        if not whose.card:
            self.strays.append(Stray(row, whose.why))
            return
        self._claims[whose.card].append(Claim(row, whose.standing, whose.why, bool(whose.lender)))
        if whose.lender:
            self._claims[whose.lender].append(Claim(row, Standing.BORROWED, whose.why))

    def judge(self) -> Counts:
        """Judge every card, once all rows are noted; return how many there are of each verdict."""
        self._before = {each.card.number: each for each in self.previous.verdicts()} if self.previous else {}
        for card in self.index:
            claims = self._claims.get(card.number, ())
            before = self._before.get(card.number)
            if before is not None and not _says_anything(claims, before):
                self.taken_over += 1
                self._returned.append(before)
                if before.verdict is Verdict.ENCODED and before.chip:
                    self._hold(before.chip, card.uuid, Holder((0, card.number), self._earlier, card.number))
                continue
            self._returned.append(self._judged(card, claims, before))
        for stray in self.strays:
            if uid := stray.row.chip.uid:
                self._hold(uid, stray.row.uuid or stray.row.where, Holder(stray.row.order, stray.row.where, 0))
        self._find_shared()
        counts = Counter(each.verdict for each in self._returned)
        return Counts(counts, sum(each.unused_spare for each in self._returned))

    @property
    def _earlier(self) -> str:
        return self.previous.path.name if self.previous else ""

    def _judged(self, card: Card, claims: "list[Claim] | tuple[()]", before: ReturnedCard | None) -> ReturnedCard:
        counted = counting(claims)
        for claim in counted:
            row = claim.row
            if row.chip.uid and not (claim.standing is Standing.NAMED and claim.lends):
                owner = 0 if claim.standing is Standing.NAMED else card.number
                self._hold(row.chip.uid, row.uuid or row.where, Holder(row.order, row.where, owner))
        found: CardJudgement = judge(counted, is_spare=self.index.is_spare(card.number))
        self.strays += [Stray(each.row, f"{each.why}, which has a good row of its own") for each in found.strays]
        self.warnings += found.warnings
        is_again = any(claim.row.round > 1 for claim in counted)
        if len(counted) < len(claims):
            self._set_aside(card.number, [claim for claim in claims if claim not in counted])
        chip = found.chip
        if before is not None and before.verdict is Verdict.ENCODED and found.verdict is Verdict.ENCODED:
            chip = chip or before.chip
            if before.chip not in {"", chip}:
                if is_again:
                    self._aside(self._earlier, card.number, before.chip)
                else:
                    reason = f"it is on 2 chips: {before.chip} ({self._earlier}), {chip} ({counted[0].row.where})"
                    return ReturnedCard(card, Verdict.DUPLICATE, "", reason)
        return ReturnedCard(card, found.verdict, chip, found.reason, found.unused_spare)

    def _set_aside(self, number: int, claims: list[Claim]) -> None:
        seen: set[str] = set()
        for claim in sorted(claims, key=lambda claim: claim.row.order):
            if claim.row.said is not Said.NOTHING:
                uid = claim.row.chip.uid
                self._aside(claim.row.where, number, "" if uid in seen else uid)
                seen.add(uid)

    def _aside(self, where: str, number: int, chip: str) -> None:
        todo = f"; chip {chip} must not be handed out" if chip else ""
        if chip:
            self.chips_aside.add(chip)
        self.set_aside.append((where, f"card {number} was encoded again since{todo}"))

    def chips(self, number: int) -> list[str]:
        """Return the chips that a card was listed with, as far as they are known, once the cards are judged."""
        found = [claim.row.chip for claim in self._claims.get(number, ()) if claim.row.chip.text]
        chips = [chip.uid or chip.text for chip in found]
        before = self._before.get(number)
        return list(dict.fromkeys([*chips, *([before.chip] if before and before.chip else [])]))

    def _hold(self, chip: str, uuid: str, holder: Holder) -> None:
        holders = self._chips.setdefault(chip, {})
        if uuid not in holders or holder < holders[uuid]:
            holders[uuid] = holder
        if len(chip) == _MAKERS_DIGITS and len(holders) == 1:
            self._chips_backward += chip.endswith(MAKER) and not chip.startswith(MAKER)
            self._chips_forward += chip.startswith(MAKER) or not chip.endswith(MAKER)

    @property
    def chips_look_reversed(self) -> bool:
        """Whether all UIDs of 7 bytes end with the maker's number that they should begin with."""
        return self._chips_backward > 0 and self._chips_forward == 0

    def _find_shared(self) -> None:
        """Find cards that share a chip, or whose chips seem to be one; none of them counts as encoded."""
        shared = {chip for chip, holders in self._chips.items() if len(holders) > 1}
        related = self._related()
        if not shared and not related:
            return
        for at, each in enumerate(self._returned):
            if each.verdict is not Verdict.ENCODED:
                continue
            if each.chip in shared:
                reason = f"chip {each.chip} is listed for {self._listed(self._chips[each.chip])}"
            elif each.chip in related:
                reason = related[each.chip]
            else:
                continue
            self._returned[at] = ReturnedCard(each.card, Verdict.DUPLICATE, each.chip, reason)

    def _listed(self, holders: dict[str, Holder]) -> str:
        found = sorted(holders.values())
        cards = [f"card {each.number}" if each.number else "an unknown UUID" for each in found]
        places = [f"{card} ({each.where})" for card, each in zip(cards, found, strict=True)]
        return listed(places, SHOWN_HOLDERS)

    def _related(self) -> dict[str, str]:
        """Return the chips that are another one's UID in another form, and why: reversed, cut off or padded."""
        found: dict[str, str] = {}
        lengths = sorted({len(chip) for chip in self._chips})
        for chip, holders in self._chips.items():
            pairs = [(reverse(chip), "its bytes reversed")]
            for length in lengths[: lengths.index(len(chip))]:
                pairs += [(chip[:length], "bytes added at its end"), (chip[-length:], "bytes added at its front")]
                pairs += [(reverse(part), f"its bytes reversed, and {how}") for part, how in pairs[-2:]]
            for other, how in pairs:
                if other != chip and other in self._chips and {*self._chips[other]} != {*holders}:
                    first, second = (self._listed(self._chips[each]) for each in (other, chip))
                    both = f"chips {other} ({first}) and {chip} ({second})"
                    reason = f"{both} seem to be one: the second is the first with {how}"
                    found.setdefault(chip, reason)
                    found.setdefault(other, reason)
        return found

    def __iter__(self) -> Iterator[ReturnedCard]:
        """Yield every card with what became of it, in the order of their numbers, once they are judged."""
        return iter(self._returned)


def _says_anything(claims: "list[Claim] | tuple[()]", before: ReturnedCard) -> bool:
    """Return whether any row says something new about a card that an earlier reconciliation knows."""
    return any(
        claim.row.said not in {Said.NOTHING, Said.SPARE}
        or claim.standing not in {Standing.OWN, Standing.BORROWED}
        or claim.row.chip.uid not in {"", before.chip}
        for claim in claims
        if claim.standing is not Standing.BORROWED
    )
