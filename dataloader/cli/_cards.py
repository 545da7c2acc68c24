"""What was found about cards, by their numbers: equal lines are one."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from dataloader.batch import CardFile
from dataloader.common import card_numbers, without_uuids

KEPT = 100_000
"""Cards that are kept for their lines; the others are counted."""


@dataclass
class CardLines:
    """Collects cards of batches and what was found about each."""

    full: bool = False
    """Whether each card has a line of its own, with its UUID."""
    _said: dict[str, tuple[CardFile, dict[str, str]]] = field(default_factory=dict, init=False)
    _count: int = field(default=0, init=False)

    def __call__(self, manifest: CardFile, uuid: str, said: str) -> None:
        """Add a card.

        Args:
            manifest: its batch.
            uuid: its UUID.
            said: what was found about it.
        """
        self._count += 1
        if self._count <= KEPT:
            self._said.setdefault(manifest.header.digest, (manifest, {}))[1][uuid] = said

    def lines(self) -> Iterator[str]:
        """Yield one line for cards with the same finding, in the order of the first of each.

        Reads the manifests of these cards.
        """
        for manifest, said in self._said.values():
            groups: dict[str, list[tuple[int, str]]] = {}
            for card in manifest.cards():
                if card.uuid in said:
                    key = card.uuid if self.full else without_uuids(said[card.uuid])
                    groups.setdefault(key, []).append((card.number, card.uuid))
            for key, cards in groups.items():
                where = f"batch {manifest.header.name}, {card_numbers(number for number, _ in cards)}"
                if len(cards) == 1:
                    [(_, uuid)] = cards
                    yield f"{where} ({uuid}): {said[uuid]}"
                else:
                    yield f"{where}: {key}"
        if self._count > KEPT:
            yield f"and {self._count - KEPT:,} more cards"
