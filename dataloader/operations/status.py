"""Status: batches at a glance, by what the servers would find for each card."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dataloader.batch import CardFile, Reconciled, find_reconciled
from dataloader.common import OnProgress
from dataloader.couch import Server
from dataloader.operations.card_verdicts import CardVerdict, VerifyVerdict
from dataloader.operations.sources import refuse_twice
from dataloader.operations.verify import verify
from dataloader.records import Snapsets
from dataloader.target import Target, guard


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How a batch stands; every card asked for has one verdict."""

    name: str
    minted: int
    encoded: int | None
    """Cards that came back encoded; None where no returned file has been reconciled."""
    verdicts: Counter[VerifyVerdict]

    @property
    def loaded(self) -> int:
        """Cards that are there, in whatever state."""
        return self.verdicts.total() - self.missing

    @property
    def edited(self) -> int:
        """Cards whose owners have changed something."""
        return self.verdicts[VerifyVerdict.EDITED]

    @property
    def revoked(self) -> int:
        """Cards that somebody has stopped."""
        return self.verdicts[VerifyVerdict.REVOKED]

    @property
    def missing(self) -> int:
        """Cards that have not been loaded."""
        return self.verdicts[VerifyVerdict.MISSING]

    @property
    def wrong(self) -> int:
        """Cards that are there, and that a server could not use."""
        return self.verdicts[VerifyVerdict.WRONG]


@dataclass
class StatusResult:
    """How batches stand."""

    batches: list[BatchStatus] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> BatchStatus:
        """All batches together."""
        known = [each.encoded for each in self.batches if each.encoded is not None]
        encoded = sum(known) if known and len(known) == len(self.batches) else None
        verdicts = sum((each.verdicts for each in self.batches), Counter[VerifyVerdict]())
        return BatchStatus("total", sum(each.minted for each in self.batches), encoded, verdicts)


OnWrong = Callable[[CardFile, CardVerdict], None]
"""Called for each card that a server could not use, or whose state nobody may have meant."""


def status(
    server: Server,
    target: Target,
    manifests: Sequence[CardFile],
    snapsets: Snapsets,
    *,
    on_progress: OnProgress | None = None,
    on_wrong: OnWrong | None = None,
) -> StatusResult:
    """Find how batches stand; writes nothing.

    Args:
        server: the target's server.
        target: the target.
        manifests: the batches; of a reconciled file, the encoded cards are asked for.
        snapsets: the snapsets that the cards start with.
        on_progress: told of each batch of answers.
        on_wrong: told of each card that a server could not use, or whose state nobody may have meant.

    Raises:
        InputError: a reconciled file beside a manifest is wrong, or a batch is given twice.
        DataloaderError: the server can't be asked.
        ProtectedError: a database was loaded as something more protected.
        VerifyError: the databases are there and a view is not, as in the middle of the first load.
    """
    start = time.monotonic()
    refuse_twice(manifests)
    encoded = [count_encoded(each) for each in manifests]
    server.welcome()
    guard(server, target)
    result = StatusResult()
    # Before the first load there is nothing to ask.
    is_there = all(server.database(target.database(name)).exists() for name in target.model.databases)

    def note(manifest: CardFile, verdict: CardVerdict) -> None:
        if (verdict.verdict is VerifyVerdict.WRONG or verdict.is_odd) and on_wrong is not None:
            on_wrong(manifest, verdict)

    for manifest, came_back in zip(manifests, encoded, strict=True):
        header = manifest.header
        verdicts = Counter({VerifyVerdict.MISSING: manifest.count})
        if is_there:
            verdicts = verify(server, target, [manifest], snapsets, on_progress=on_progress, on_verdict=note).verdicts
        result.batches.append(BatchStatus(header.name, header.cards, came_back, verdicts))
    result.seconds = time.monotonic() - start
    return result


def count_encoded(manifest: CardFile) -> int | None:
    """Return how many cards of a batch are encoded, None where that is not known.

    A reconciled file knows; so does the last one that ``reconcile`` wrote beside the manifest.

    Raises:
        FileError: that file can't be read.
        InputError: that file is wrong.
    """
    if isinstance(manifest, Reconciled):
        return manifest.count
    found = find_reconciled(manifest)
    return None if found is None else found.count
