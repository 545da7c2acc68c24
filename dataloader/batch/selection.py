"""Select cards of a batch by number or UUID."""

from collections.abc import Sequence
from dataclasses import dataclass

from dataloader.batch.manifest import Card, CardFile
from dataloader.batch.reconciled import Reconciled
from dataloader.common import Problem, UsageError, raise_problems

_CORRECT = "correct it, or give the manifest of the card's own batch"


@dataclass(frozen=True, slots=True)
class Named:
    """A card given by its number, its UUID, or both."""

    where: str
    """The option, or the file and line, that names it."""
    number: int | None = None
    uuid: str | None = None


def choose(
    manifest: CardFile, numbers: Sequence[int], uuids: Sequence[str], listed: Sequence[Named] = ()
) -> list[Card]:
    """Return the selected cards, each once, in manifest order.

    Args:
        manifest: the batch.
        numbers: card numbers.
        uuids: UUIDs, in upper or lower case.
        listed: cards that a file lists.

    Raises:
        UsageError: no card is named.
        InputError: with everything that matches no card of the batch.
    """
    named = [Named(f"--card {number}", number=number) for number in numbers]
    named += [Named(f"--uuid {uuid}", uuid=uuid.strip().lower()) for uuid in uuids]
    named += listed
    if not named:
        raise UsageError("no card", rule="say which cards to revoke or restore", todo="add --card, --uuid or --file")
    wanted_numbers = {each.number for each in named if each.number is not None}
    wanted_uuids = {each.uuid for each in named if each.uuid is not None}
    found = [card for card in manifest.cards() if card.number in wanted_numbers or card.uuid in wanted_uuids]
    by_number = {card.number: card for card in found}
    by_uuid = {card.uuid: card for card in found}
    chosen: dict[int, Card] = {}
    problems = []
    for each in named:
        card = by_uuid.get(each.uuid) if each.uuid is not None else by_number.get(each.number or 0)
        if card is None:
            # A reconciled file contains the encoded cards only, but any card may be meant.
            todo = "give the batch's manifest" if isinstance(manifest, Reconciled) else _CORRECT
            problems.append(Problem(each.where, f"is not a card of {manifest.path}", todo))
        elif each.number not in {None, card.number}:
            problems.append(Problem(each.where, f"the UUID is that of card {card.number}, not {each.number}", _CORRECT))
        else:
            chosen[card.number] = card
    raise_problems(problems)
    return [chosen[number] for number in sorted(chosen)]
