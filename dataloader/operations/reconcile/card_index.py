"""The cards of a batch, by number and by UUID."""

from collections.abc import Iterator

from dataloader.batch import Card, Manifest


class CardIndex:
    """Finds the cards of a batch, in about 250 bytes per card.

    Args:
        manifest: the batch.

    Raises:
        FileError: the manifest cannot be read.
        InputError: it has changed since it was checked.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._cards = list(manifest.cards())
        self._by_uuid = {card.uuid: card.number for card in self._cards}
        self._spares = frozenset(number for run in manifest.header.spare_runs for number in run)

    @property
    def count(self) -> int:
        """The number of cards."""
        return len(self._cards)

    def card(self, number: int) -> Card:
        """Return a card by its number, 1 to :attr:`count`."""
        return self._cards[number - 1]

    def uuid(self, number: int) -> str:
        """Return the UUID of a card."""
        return self._cards[number - 1].uuid

    def find(self, uuid: str) -> int:
        """Return the number of the card with exactly this UUID, or 0."""
        return self._by_uuid.get(uuid, 0)

    def is_spare(self, number: int) -> bool:
        """Return whether a card is a spare of the batch."""
        return number in self._spares

    def __iter__(self) -> Iterator[Card]:
        return iter(self._cards)
