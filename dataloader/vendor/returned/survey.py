"""Examine an unrecognized column: it could be one that matters."""

import re
from collections import Counter
from collections.abc import Container
from contextlib import suppress
from textwrap import wrap
from typing import NamedTuple

from dataloader.common import many, short
from dataloader.vendor.check_value import check_value
from dataloader.vendor.chip_uid import is_decimal, looks_like_chip, numbers_of
from dataloader.vendor.returned.columns import UUID_LIKE, mentions_result, plain, suggest_title, understand_title
from dataloader.vendor.returned.words import (
    asks_amount,
    asks_failed,
    denies_failure,
    is_mark,
    says_failed,
    says_good,
    says_no,
    says_nothing,
    says_result,
)

_SHOWN = 40
"""The most characters of a cell to repeat in messages."""
_MAX_KINDS = 5
"""The most different texts for a column that may sort cards into categories."""
_MAX_SEEN = 1000
"""The most texts to remember; with more, they are rarely repeated."""
_SHORTEST_UUID = 32
"""The characters of a UUID without hyphens."""
_BARE_UUID = re.compile(r"(?<![0-9a-f])([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})(?![0-9a-f])")
_COUNTER = re.compile(r"[0-9]{1,9}\.?")
_CHECK = 6
"""The characters of a check value."""
_SHORTEST_DECIMAL = 8
"""The fewest digits of a chip UID, in hex or as a decimal number."""
_LONGEST_DECIMAL = 25
"""The most; Python refuses to convert thousands of digits."""


class PossibleColumn(NamedTuple):
    """What an unrecognized column could be."""

    key: str
    """One of our columns: ``result``, ``chip`` or ``uuid``."""
    line: int
    """The row that says so; 0 for the whole column."""
    text: str


class Survey:
    """The content of one column.

    Args:
        name: its name in messages.
        title: its title, empty if it has none.
        unit: the word for a row.
    """

    def __init__(self, name: str, title: str, unit: str) -> None:
        self.name = name
        self.title = title
        self._unit = unit
        means = understand_title(title)
        self.is_unneeded = means == ("", False)
        """Whether its title is known not to matter."""
        self._is_result = means is not None and means[0] == "result"
        self._is_ours = means == ("result", True)
        self._asks_good = self._is_result or says_good(title) or asks_amount(title)
        self._asks_failed = asks_failed(title)
        self._is_about_encoding = says_good(title) or "encoding" in plain(title)
        self._filled = 0
        """Cards with any content in it."""
        self._told = 0
        """Cards with content that means something, unlike ``n/a``."""
        self._own = 0
        """Cards with their own UUID in it."""
        self._own_chips = 0
        """Cards with their whole chip UID in it."""
        self._repeats = 0
        """Cards with their own UUID or chip UID in it, or the start or end of it."""
        self._failed: PossibleColumn | None = None
        self._result: PossibleColumn | None = None
        self._chip: PossibleColumn | None = None
        self._uuid: PossibleColumn | None = None
        self._is_number: Counter[bool] = Counter()
        """Whether decimal numbers are the row's own chip UID."""
        self._said = 0
        """Texts with a meaning."""
        self._says_good = False
        """Whether any text is a result, such as ``ok``; answers such as ``yes`` are in many columns."""
        self._has_marks = False
        """Whether any text is only a mark."""
        self._all_results = True
        self._all_decimal = True
        self._counts = True
        """Whether it counts rows, so that it says nothing: 0, 1, 2."""
        self._last: int | None = None
        """The last number of a column that counts."""
        self._seen: dict[str, int] = {}
        """Texts examined before, with their first rows: most columns repeat a few."""

    def is_worth_naming(self, cards: int) -> bool:
        """Return whether it may matter to people: it has a title or content, and is not known to be unneeded.

        One that counts rows, repeats each UUID or chip UID, or denies all failures, says nothing new. Columns that are
        usually unneeded are named if they answer a question differently (``Locked``), say of some cards only when they
        were encoded, or say nothing of a few.

        Args:
            cards: the number of rows of cards.
        """
        if not self.is_unneeded:
            denies_all = (
                self._asks_failed and bool(self._seen) and all(denies_failure(text, self.title) for text in self._seen)
            )
            says_nothing_new = denies_all or (self._counts and len(self._seen) > 1) or 0 < cards == self._repeats
            return bool(self.title.strip() or self._seen) and not says_nothing_new
        answers = all(says_nothing(text) or is_mark(text) or says_result(text, answers=True) for text in self._seen)
        # What is missing for a few cards may not have been done for them.
        lacks_few = cards < 2 * self._told < 2 * cards
        return (answers and self._kinds(cards) > 1) or self._is_partial(cards) or lacks_few

    def _kinds(self, cards: int) -> int:
        """Return the number of different texts, and nothing counts as one."""
        return len({text.casefold() for text in self._seen}) + (self._filled < cards)

    def _is_partial(self, cards: int) -> bool:
        """Return whether it is about the encoding, and filled in for some cards only."""
        return self._is_about_encoding and 0 < self._told < cards

    def shown(self, cards: int) -> str:
        """Return its name in warnings, with a similar title of ours, or the few texts that sort cards.

        Args:
            cards: the number of rows of cards.
        """
        near = suggest_title(self.title) if self.title else ""
        kinds = [f"“{short(text, _SHOWN)}” from {self._unit} {line}" for text, line in self._seen.items()]
        sorts = 1 < len(kinds) + (self._filled < cards) <= _MAX_KINDS
        if sorts and self._filled < cards:
            kinds.append(f"nothing in {cards - self._filled:,} of {many(cards, 'row')}")
        what = "; ".join(filter(None, (near, ", ".join(kinds) if sorts else "")))
        if not what and 0 < self._told < cards and (self.is_unneeded or self._is_about_encoding):
            what = f"nothing in {cards - self._told:,} of {many(cards, 'row')}"
        return f"{self.name} ({what})" if what else self.name

    def see(self, line: int, text: str, uuid: str, chip: str, *, may_count: bool = True) -> None:
        """Examine a cell that is not empty.

        Args:
            line: the number of its row.
            text: its text.
            uuid: the UUID of the row, empty if it has none.
            chip: the chip UID of the row.
            may_count: whether the row may count as encoded; in others, results contradict nothing.
        """
        if uuid and may_count:
            self._filled += 1
            self._told += len(text) >= _SHORTEST_DECIMAL or not says_nothing(text)
        self._see_ids(line, text, uuid, chip, may_count=may_count)
        if self._counts:
            number = int(text.rstrip(".")) if _COUNTER.fullmatch(text) else -1
            self._counts = number >= 0 if self._last is None else number == self._last + 1
            self._last = number
        if text in self._seen or not may_count:
            return
        if len(self._seen) < _MAX_SEEN:
            self._seen[text] = line
        found = PossibleColumn("result", line, short(text, _SHOWN))
        if self._failed is None and self._fails(text):
            self._failed = found
        if not says_nothing(text):
            self._said += 1
            is_result = says_result(text, answers=True)
            self._result = self._result or (found if is_result else None)
            self._all_results &= is_result
            self._says_good |= is_result and says_result(text, answers=False)
            self._has_marks |= is_mark(text)
            self._all_decimal &= is_decimal(text) and len(text) >= _SHORTEST_DECIMAL

    def _see_ids(self, line: int, text: str, uuid: str, chip: str, *, may_count: bool) -> None:
        """Look for UUIDs and chip UIDs in a cell."""
        if uuid and len(text) >= _SHORTEST_UUID and (uuids := _uuids_in(text)):
            if {*uuids} == {uuid}:
                self._own += may_count
                self._repeats += may_count
            else:
                # A UUID in an unusual form would be shown whole.
                shown = text if UUID_LIKE.search(text) else next(each for each in uuids if each != uuid)
                self._uuid = self._uuid or PossibleColumn("uuid", line, short(shown, _SHOWN))
        is_own = bool(chip) and len(text) >= _SHORTEST_DECIMAL and _is_same(_bare(text), _bare(chip))
        if chip and may_count and text.isdecimal() and _SHORTEST_DECIMAL <= len(text) <= _LONGEST_DECIMAL:
            is_number = int(text) in numbers_of(chip)
            self._is_number[is_number] += 1
            is_own |= is_number
        is_own |= bool(uuid) and len(text) == _CHECK and text.upper() == check_value(uuid)
        is_own |= bool(uuid) and _SHORTEST_DECIMAL <= len(text) < _SHORTEST_UUID and _is_same(_bare(text), _bare(uuid))
        if is_own:
            self._repeats += may_count
            self._own_chips += may_count and bool(uuid) and len(_bare(text)) == len(_bare(chip))
        elif self._chip is None and looks_like_chip(text):
            self._chip = PossibleColumn("chip", line, short(text, _SHOWN))

    def _fails(self, text: str) -> bool:
        """Return whether a text in the column means that a card failed."""
        if self._asks_good and says_no(text):
            return True
        if says_nothing(text) or (self._asks_failed and denies_failure(text, self.title)):
            return False
        return says_failed(text) or self._asks_failed or (self._is_result and not says_result(text, answers=True))

    def _sorts(self, cards: int, *, results: bool) -> bool:
        """Return whether it sorts the cards like results, if its title or content suggests that or there are none."""
        # A mark in a few rows may be a footnote.
        by_marks = self._has_marks and (len(self._seen) > 1 or 2 * self._told > cards)
        like_results = self._asks_good or self._says_good or by_marks or mentions_result(self.title)
        if self.is_unneeded or (results and not like_results):
            return self._is_partial(cards) and not results
        return 1 < len(self._seen) + (self._filled < cards) <= min(_MAX_KINDS, cards - 1)

    def matters(self, named: Container[str], cards: int, *, results: bool, chips: int) -> PossibleColumn | None:
        """Return which of our columns it could be, None if it does not matter.

        Args:
            named: the columns named by the operator.
            cards: the number of rows of cards.
            results: whether our column of results is filled in.
            chips: the number of these rows with anything in our column of chip UIDs.
        """
        found: list[PossibleColumn | None] = []
        # A password of all chips is no chip UID. One UUID in all rows may be on all chips.
        is_constant = len(self._seen) == 1 and self._filled == cards > 1
        # Our own column cannot be replaced by another one if it contradicts it.
        contradicts = self._is_ours and self._failed is not None and says_failed(self._failed.text)
        if "result" not in named or contradicts:
            found.append(self._failed)
        if "result" not in named:
            # The same good result for all cards changes nothing.
            says_all_good = is_constant and not any(map(says_no, self._seen))
            is_result = self._all_results and not (results or self.is_unneeded or says_all_good)
            found.append(self._result if is_result else None)
        if "chip" not in named:
            found.append(None if is_constant else self._chip)
            # A column with the chips' numbers must have all of them.
            is_decimal_chip = len(self._is_number) > 1 or (self._said and self._all_decimal and not chips)
            found.append(PossibleColumn("chip", 0, "digits only") if is_decimal_chip else None)
            # If most were read back, the others may not be readable.
            is_partial = self._own_chips < chips < 2 * self._own_chips
            found.append(PossibleColumn("chip", 0, "nothing in some rows") if is_partial else None)
        if "uuid" not in named:
            found.append(self._uuid)
            found.append(PossibleColumn("uuid", 0, "nothing in some rows") if 0 < self._own < cards else None)
        if "result" not in named and self._sorts(cards, results=results):
            kinds = [short(each, _SHOWN) for each in sorted(self._seen)[:_MAX_KINDS]]
            found.append(PossibleColumn("result", 0, "”, “".join(kinds + ["nothing"] * (self._filled < cards))))
        return next((each for each in found if each is not None), None)


def _uuids_in(text: str) -> list[str]:
    """Return the UUIDs in a text: as usual, without hyphens, or as the bytes of a text record."""
    found = UUID_LIKE.findall(text)
    if not found:
        found = ["-".join(parts) for parts in _BARE_UUID.findall(text.lower())]
    if not found:
        with suppress(ValueError):
            found = UUID_LIKE.findall(bytes.fromhex(re.sub(r"0x|[\W_]", "", text)).decode("latin-1"))
    return found


def _is_same(text: str, uid: str) -> bool:
    """Return whether a text is a chip UID or UUID, or an end of it, perhaps with its bytes reversed."""
    return len(text) <= len(uid) and any(
        uid.startswith(each) or uid.endswith(each) for each in (text, "".join(wrap(text, 2)[::-1]))
    )


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).upper()
