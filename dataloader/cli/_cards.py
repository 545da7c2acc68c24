"""Findings about cards by number; cards with the same finding share one line."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from dataloader.batch import CardFile
from dataloader.common import card_numbers, without_uuids

KEPT = 100_000
"""The most cards to keep for their lines; the others are counted."""


@dataclass
class CardLines:
    """Collects the findings about cards of batches."""

    full: bool = False
    """Whether each card has its own line, with its UUID."""
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
        """Yield one line for all cards with the same finding, in the order of first occurrence.

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
