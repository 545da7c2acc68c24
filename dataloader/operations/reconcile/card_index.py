"""The roll: a batch's cards, so that a row finds its own, in little more memory than their UUIDs take."""

from bisect import bisect_left
from collections.abc import Iterator

from dataloader.batch import Card, Manifest

_LENGTH = 36
"""Characters of a UUID."""


class Roll:
    """The cards of a batch by number and by UUID.

    Cards are numbered in the order of their UUIDs, so that one text holds all of these, and is searched by halves.

    Args:
        manifest: the batch.

    Raises:
        FileError: the manifest can't be read.
        InputError: it has changed since it was checked.
    """

    def __init__(self, manifest: Manifest) -> None:
        uuids: list[str] = []
        blocks: list[str] = []
        self._starts: list[int] = []
        self._snapsets: list[str] = []
        snapset = None
        for card in manifest.cards():
            if card.snapset != snapset:
                snapset = card.snapset
                self._starts.append(card.number)
                self._snapsets.append(snapset)
            uuids.append(card.uuid)
            if len(uuids) == 1000:  # noqa: PLR2004 - a block of 36 KB
                blocks.append("".join(uuids))
                uuids.clear()
        self._text = "".join([*blocks, *uuids])
        self._spares = manifest.header.spare_runs
        self.count = len(self._text) // _LENGTH
        """How many cards there are."""

    def uuid(self, number: int) -> str:
        """Return the UUID of the card of a number, 1 to :attr:`count`."""
        return self._text[_LENGTH * (number - 1) : _LENGTH * number]

    def find(self, uuid: str) -> int:
        """Return the number of the card that has a UUID, exactly as it is; 0 if none has."""
        if len(uuid) != _LENGTH:
            return 0
        at = bisect_left(_Ordered(self), uuid)
        return at + 1 if at < self.count and self.uuid(at + 1) == uuid else 0

    def snapset(self, number: int) -> str:
        """Return the snapset of a card."""
        return self.run(number)[1]

    def run(self, number: int) -> tuple[range, str]:
        """Return the numbers of the cards beside one that start with the same snapset, and that snapset."""
        at = bisect_left(self._starts, number + 1)
        end = self._starts[at] if at < len(self._starts) else self.count + 1
        return range(self._starts[at - 1], end), self._snapsets[at - 1]

    def card(self, number: int) -> Card:
        """Return a card."""
        return Card(number, self.uuid(number), self.snapset(number))

    def is_spare(self, number: int) -> bool:
        """Tell whether a card is one of the batch's spares."""
        return any(number in run for run in self._spares)

    def __iter__(self) -> Iterator[Card]:
        ends = [*self._starts[1:], self.count + 1]
        for start, end, snapset in zip(self._starts, ends, self._snapsets, strict=True):
            for number in range(start, end):
                yield Card(number, self.uuid(number), snapset)


class _Ordered:
    """The UUIDs as bisect wants them."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll

    def __len__(self) -> int:
        return self._roll.count

    def __getitem__(self, at: int) -> str:
        return self._roll.uuid(at + 1)
