"""Verify what the real servers would find for each card.

The answers are read for many cards at once (``card_answers``), and for a sample with the servers' own requests;
``card_verdicts`` turns them into verdicts.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from dataloader.batch import CardFile
from dataloader.common import BATCH_DOCUMENTS, CONNECTIONS, OnProgress
from dataloader.couch import Server
from dataloader.operations.card_answers import CardReader
from dataloader.operations.card_verdicts import CardVerdict, VerifyVerdict, judge
from dataloader.operations.identity import Identities
from dataloader.operations.sources import card_entries, refuse_twice
from dataloader.records import Snapsets
from dataloader.records.models import Entry
from dataloader.replication import chunks, in_parallel
from dataloader.target import Target, guard

ASKED_EXACTLY = 200
"""Cards of each batch, chosen at random, that are checked with the servers' own requests."""


@dataclass
class VerifyResult:
    """The verdicts on batches."""

    verdicts: Counter[VerifyVerdict] = field(default_factory=Counter)
    answers: int = 0
    """The number of checked answers of the server."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether every card works, or was revoked on purpose."""
        return not self.verdicts[VerifyVerdict.MISSING] and not self.verdicts[VerifyVerdict.WRONG]


OnVerdict = Callable[[CardFile, CardVerdict], None]
"""Called for each card whose verdict is not ``ok``."""


def verify(
    server: Server,
    target: Target,
    manifests: Sequence[CardFile],
    snapsets: Snapsets,
    *,
    sample: int | None = None,
    exactly: int = ASKED_EXACTLY,
    on_progress: OnProgress | None = None,
    on_verdict: OnVerdict | None = None,
) -> VerifyResult:
    """Check every card of the batches on the server.

    Args:
        server: the target's server.
        target: the target.
        manifests: the batches.
        snapsets: the snapsets that the cards start with.
        sample: how many cards of each batch to check, chosen at random; None for all.
        exactly: how many of these cards, chosen at random, to check with the servers' own requests.
        on_progress: called after each batch of answers.
        on_verdict: called for each card whose verdict is not ``ok``.

    Raises:
        InputError: a batch is given twice.
        DataloaderError: the server can't be reached.
        ProtocolError: a database or a view is missing.
        ProtocolError: a database was recreated or restored meanwhile.
        ProtectedError: a database was loaded as a more protected environment.
    """
    start = time.monotonic()
    refuse_twice(manifests)
    server.welcome()
    markers = guard(server, target).markers.values()
    identities = Identities(server, target)
    result = VerifyResult()
    reader = CardReader(server, target, frozenset().union(*(marker.brought for marker in markers)))
    reader.require_access()

    def ask(some: list[tuple[Entry, bool]]) -> list[CardVerdict]:
        entries = [entry for entry, _ in some]
        real = frozenset(entry.key for entry, is_real in some if is_real)
        return [judge(target.model, answers) for answers in reader.read(entries, real)]

    for manifest in manifests:
        done = 0
        chosen, total = _choose(manifest, snapsets.of(target.model.name), sample, exactly)
        # Even for few cards, all connections are used.
        size = min(BATCH_DOCUMENTS, -(-total // CONNECTIONS))
        for verdicts in in_parallel(ask, chunks(chosen, size)):
            for verdict in verdicts:
                result.verdicts[verdict.verdict] += 1
                if verdict.verdict is not VerifyVerdict.OK and on_verdict is not None:
                    on_verdict(manifest, verdict)
            result.answers += len(verdicts) * len(target.model.lookups)
            done += len(verdicts)
            if on_progress is not None:
                on_progress(f"{manifest.header.name}: cards", done, total)
    identities.check("its cards were checked")
    result.seconds = time.monotonic() - start
    return result


def _choose(
    manifest: CardFile, snapsets: Snapsets, sample: int | None, exactly: int
) -> tuple[Iterator[tuple[Entry, bool]], int]:
    """Return the cards of a batch, or a sample, each with whether to use the servers' requests; and their number."""
    cards: Sequence[int] = range(manifest.count)
    if sample is not None and sample < len(cards):
        cards = Random().sample(cards, sample)  # noqa: S311 - a sample, not a secret
    real = frozenset(Random().sample(cards, min(exactly, len(cards))))  # noqa: S311 - a sample, not a secret
    wanted = cards if isinstance(cards, range) else frozenset(cards)
    entries = enumerate(card_entries(manifest, snapsets))
    return ((entry, at in real) for at, entry in entries if at in wanted), len(cards)
