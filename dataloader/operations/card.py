"""Find one card by its number, its UUID or the UID of its chip, for a help desk."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataloader.batch import WHOLE, BatchHeader, Card, CardFile, Part, Reconciled, ReturnedCard, Verdict
from dataloader.common import Document, InputError, Problem, listed
from dataloader.couch import Server
from dataloader.operations.batches import FoundBatch
from dataloader.operations.card_answers import not_created
from dataloader.operations.card_verdicts import CardVerdict, VerifyVerdict
from dataloader.operations.verify import verify
from dataloader.records import Snapsets
from dataloader.target import Target

_NUMBER = re.compile(r"[1-9][0-9]{0,6}\Z")
_PREFIX = re.compile(r"[0-9a-f]{4}[0-9a-f-]{0,32}\Z")
_SEPARATORS = re.compile(r"[\s:._-]")
_SHOWN = 3
"""Cards to name if several match."""
_CHIP = re.compile(r"(?:[0-9A-F]{8}|[0-9A-F]{14}|[0-9A-F]{20})\Z")


@dataclass(frozen=True, slots=True)
class FoundCard:
    """A card and the results of encoding it."""

    batch: FoundBatch
    card: Card
    rounds: tuple[tuple[Reconciled, ReturnedCard], ...]
    """The result of each round, the oldest first."""
    asked_chip: str = ""
    """The chip UID by which it was found; empty if it was found otherwise."""

    @property
    def chip(self) -> str:
        """The UID of its chip in the newest round that has one; empty if none has."""
        return next((returned.chip for _, returned in reversed(self.rounds) if returned.chip), "")

    @property
    def wrong_chip(self) -> str:
        """Why the chip by which it was found must not be used; empty if it may, or was not asked for."""
        if not self.asked_chip:
            return ""
        reconciled, newest = self.rounds[-1]
        if newest.verdict is not Verdict.ENCODED:
            return f"card {self.card.number} is {newest.verdict.value} in round {reconciled.round}"
        if newest.chip == self.asked_chip:
            return ""
        since = next(each.round for each, returned in self.rounds if returned.chip == newest.chip)
        on = f"chip {newest.chip}" if newest.chip else "another chip"
        return f"card {self.card.number} is on {on} since round {since}"


@dataclass(frozen=True, slots=True)
class CardState:
    """A card on a target."""

    verdict: VerifyVerdict
    reason: str = ""
    revoked_at: str = ""
    """When it was revoked, ISO 8601 in UTC; empty if it is not revoked, or if that is unknown."""
    revoked_reason: str = ""


def find_card(
    batches: Sequence[FoundBatch], what: str, todo: str = "give the folder of its manifest with --in"
) -> list[FoundCard]:
    """Find a card by its number, its UUID or the beginning of it, or the UID of its chip.

    Args:
        batches: the batches to search.
        what: a number, at least 4 characters of a UUID, or a chip UID with or without separators.
        todo: what to do if there is no such card.

    Returns:
        The card; or the cards with this number, one per batch.

    Raises:
        InputError: there is no such card, several UUIDs have this beginning, or the chip is listed for several cards.
        FileError: a file can no longer be read.
    """
    text = what.strip().lower()
    if _NUMBER.match(text):
        found = [(batch, card) for batch in batches for card in batch.manifest.cards() if card.number == int(text)]
        if found:
            return [_with_rounds(batch, card) for batch, card in found]
    found = []
    if _PREFIX.match(text):
        found = [(batch, card) for batch in batches for card in batch.manifest.cards() if card.uuid.startswith(text)]
    chip = _SEPARATORS.sub("", text).removeprefix("0x").upper()
    asked_chip = ""
    if not found and _CHIP.match(chip):
        found, asked_chip = [(batch, card) for batch in batches for card in _with_chip(batch, chip)], chip
    if not found:
        rule = f"no card has this number, UUID or chip UID in {_batches(batches)}"
        raise InputError(Problem(what if text else "an empty text", rule, todo))
    if len(found) > 1:
        cards = listed([f"card {card.number} of batch {batch.manifest.header.name}" for batch, card in found], _SHOWN)
        if asked_chip:
            raise InputError(Problem(what, f"this chip is listed for {cards}", "destroy it; give the number of a card"))
        raise InputError(Problem(what, f"{len(found)} cards match: {cards}", "give more of the UUID"))
    return [_with_rounds(batch, card, asked_chip) for batch, card in found]


def _batches(batches: Sequence[FoundBatch]) -> str:
    return "1 batch" if len(batches) == 1 else f"{len(batches):,} batches"


def _with_chip(batch: FoundBatch, chip: str) -> list[Card]:
    found = {
        returned.card.number: returned.card
        for each in batch.rounds
        for returned in each.verdicts()
        if chip in {returned.chip, *returned.other_chips}
    }
    return list(found.values())


def _with_rounds(batch: FoundBatch, card: Card, asked_chip: str = "") -> FoundCard:
    rounds = [
        (each, returned) for each in batch.rounds for returned in each.verdicts() if returned.card.uuid == card.uuid
    ]
    return FoundCard(batch, card, tuple(rounds), asked_chip)


@dataclass(frozen=True, slots=True)
class _OneCard:
    """A batch, and the requested card."""

    manifest: CardFile
    card: Card

    @property
    def path(self) -> Path:
        return self.manifest.path

    @property
    def header(self) -> BatchHeader:
        return self.manifest.header

    @property
    def count(self) -> int:
        return 1

    def cards(self, part: Part = WHOLE) -> Iterator[Card]:
        begin, end = part.bounds(1)
        yield from [self.card][begin:end]


def card_state(server: Server, target: Target, found: FoundCard, snapsets: Snapsets) -> CardState:
    """Return a card's state on a target; writes nothing.

    Raises:
        DataloaderError: the server can't be reached.
        ProtectedError: a database was loaded as a more protected environment.
        ProtocolError: only some databases exist, or a view does not.
    """
    server.welcome()
    if not_created(server, target):
        return CardState(VerifyVerdict.MISSING, "the target has not been loaded")
    told: list[CardVerdict] = []
    verify(
        server,
        target,
        [_OneCard(found.batch.manifest, found.card)],
        snapsets,
        on_verdict=lambda _, verdict: told.append(verdict),
    )
    if not told:
        return CardState(VerifyVerdict.OK)
    [verdict] = told
    at, why = _revoked(server, target, found.card) if verdict.verdict is VerifyVerdict.REVOKED else ("", "")
    return CardState(verdict.verdict, verdict.reason, at, why)


def _revoked(server: Server, target: Target, card: Card) -> tuple[str, str]:
    """Return when and why a card was revoked, as far as its documents say."""
    for revoking in target.model.revoking:
        kind = target.model.kind(revoking.kind)
        doc_id = kind.id(card.uuid)
        leaves: list[Document] = server.database(target.database(kind.database)).leaves([doc_id])[doc_id]
        for leaf in leaves:
            if leaf.get("revokedReason"):
                at = leaf.get("timestampRevoked") or leaf.get("timestampUpdated") or ""
                return str(at), str(leaf["revokedReason"])
    return "", ""
