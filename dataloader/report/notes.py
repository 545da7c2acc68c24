"""Notes for a report during a run: the first of each kind, so that memory use is limited."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dataloader.batch import CardFile
from dataloader.common import listed, many, ranges
from dataloader.report.model import SHOWN, Attention

ALL_OF_THEM = "--details FILE lists all of them, a line of JSON each."
"""Where to find what is not shown."""

SHOWN_RUNS = 40
"""Runs of card numbers in a folded row; the rest are counted."""

T = TypeVar("T")


@dataclass
class Noted(Generic[T]):
    """Problems by kind: the first :data:`SHOWN` of each, and their number."""

    first: dict[str, list[T]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def __call__(self, matter: str, thing: T) -> None:
        """Add a note."""
        self.counts[matter] += 1
        if self.counts[matter] <= SHOWN:
            self.first.setdefault(matter, []).append(thing)

    def of(self, matter: str) -> list[T]:
        """Return the first notes of a kind."""
        return self.first.get(matter, [])


def card_names(manifests: Sequence[CardFile], uuids: Collection[str]) -> dict[str, str]:
    """Return the names of cards by UUID: their numbers, with the batch's name if there are several.

    Reads the manifests once; reads nothing if no card is requested.
    """
    wanted = frozenset(uuids)
    names: dict[str, str] = {}
    for manifest in manifests if wanted else ():
        before = f"{manifest.header.name}, " if len(manifests) > 1 else ""
        names |= {card.uuid: f"{before}{card.number:,}" for card in manifest.cards() if card.uuid in wanted}
    return names


def folded_names(names: Sequence[str]) -> str:
    """Join names of cards to one text, with runs of numbers folded: ``6 to 300``, ``spring, 6 to 300``."""
    by_batch: dict[str, list[int]] = {}
    for name in names:
        batch, _, number = name.rpartition(", ")
        if number.replace(",", "").isdecimal():
            by_batch.setdefault(batch, []).append(int(number.replace(",", "")))
    return "; ".join(
        (f"{batch}, " if batch else "") + ranges(sorted(numbers), SHOWN_RUNS) for batch, numbers in by_batch.items()
    )


def left_out(manifests: Sequence[CardFile]) -> list[str]:
    """Return a sentence for each reconciled file that omits cards."""
    return [
        f"Skipped {each.header.cards - each.count:,} of {many(each.header.cards, 'card')} of batch {each.header.name}, "
        "which are not encoded."
        for each in manifests
        if each.count < each.header.cards
    ]


def about(what: str, manifests: Sequence[CardFile]) -> str:
    """Return the operation and its subject, as a heading."""
    names = [manifest.header.name for manifest in manifests]
    if not names:
        return f"{what} of snapsets and views"
    return f"{what} of {'batch' if len(names) == 1 else 'batches'} {listed(names)}"


def fewer_copies(nodes_away: Sequence[str], *, short: bool) -> Iterator[Attention]:
    """Report that the cluster may lack copies of what was written.

    Args:
        nodes_away: nodes that were down before or after.
        short: whether the cluster reported a write with fewer copies than requested.
    """
    if nodes_away:
        yield Attention(
            f"{many(len(nodes_away), 'node')} of the cluster down",
            "Start the node. Some copies may be missing until then; the cluster creates them by itself.",
            items=tuple(nodes_away),
        )
    elif short:
        yield Attention(
            "Fewer copies than requested",
            "The cluster said so (202), as it does while a node is down. It creates the other copies by itself.",
            command="dataloader check{target}",
        )
