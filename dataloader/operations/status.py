"""The status of batches: what the servers would find for each card, in counts."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dataloader.batch import CardFile, Reconciled, find_reconciled
from dataloader.common import OnProgress
from dataloader.couch import Server
from dataloader.operations.card_answers import LOAD_FIRST, not_created
from dataloader.operations.card_verdicts import CardVerdict, VerifyVerdict
from dataloader.operations.sources import refuse_twice
from dataloader.operations.verify import verify
from dataloader.records import Snapsets
from dataloader.target import Target, guard


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """The status of a batch; every checked card has one verdict."""

    name: str
    minted: int
    encoded: int | None
    """Encoded cards; None if no returned file has been reconciled."""
    verdicts: Counter[VerifyVerdict]

    @property
    def loaded(self) -> int:
        """Loaded cards, in any state."""
        return self.verdicts.total() - self.missing

    @property
    def edited(self) -> int:
        """Cards that their owners have edited."""
        return self.verdicts[VerifyVerdict.EDITED]

    @property
    def revoked(self) -> int:
        """Revoked cards."""
        return self.verdicts[VerifyVerdict.REVOKED]

    @property
    def missing(self) -> int:
        """Cards that have not been loaded."""
        return self.verdicts[VerifyVerdict.MISSING]

    @property
    def wrong(self) -> int:
        """Loaded cards that a server could not use."""
        return self.verdicts[VerifyVerdict.WRONG]


@dataclass
class StatusResult:
    """The status of several batches."""

    batches: list[BatchStatus] = field(default_factory=list)
    seconds: float = 0.0
    missing_databases: tuple[str, ...] = ()
    """All of the target's databases, before the first load; otherwise none."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may be a mistake: a target without databases."""
        return tuple(f"database {name} does not exist ({LOAD_FIRST})" for name in self.missing_databases[:1])

    @property
    def total(self) -> BatchStatus:
        """The total of all batches."""
        known = [each.encoded for each in self.batches if each.encoded is not None]
        encoded = sum(known) if known and len(known) == len(self.batches) else None
        verdicts = sum((each.verdicts for each in self.batches), Counter[VerifyVerdict]())
        return BatchStatus("total", sum(each.minted for each in self.batches), encoded, verdicts)


OnWrong = Callable[[CardFile, CardVerdict], None]
"""Called for each card that a server could not use, or whose state may be a mistake."""


def status(
    server: Server,
    target: Target,
    manifests: Sequence[CardFile],
    snapsets: Snapsets,
    *,
    on_progress: OnProgress | None = None,
    on_wrong: OnWrong | None = None,
) -> StatusResult:
    """Return the status of batches; writes nothing.

    Args:
        server: the target's server.
        target: the target.
        manifests: the batches; of a reconciled file, only encoded cards are checked.
        snapsets: the snapsets that the cards start with.
        on_progress: called after each batch of answers.
        on_wrong: called for each card that a server could not use, or whose state may be a mistake.

    Raises:
        InputError: a reconciled file next to a manifest is invalid, or a batch is given twice.
        DataloaderError: the server can't be reached.
        ProtectedError: a database was loaded as a more protected environment.
        ProtocolError: only some databases exist, or a view does not, as in the middle of the first load.
    """
    start = time.monotonic()
    refuse_twice(manifests)
    encoded = [count_encoded(each) for each in manifests]
    server.welcome()
    guard(server, target)
    result = StatusResult(missing_databases=not_created(server, target))

    def note(manifest: CardFile, verdict: CardVerdict) -> None:
        if (verdict.verdict is VerifyVerdict.WRONG or verdict.is_odd) and on_wrong is not None:
            on_wrong(manifest, verdict)

    for manifest, came_back in zip(manifests, encoded, strict=True):
        header = manifest.header
        verdicts = Counter({VerifyVerdict.MISSING: manifest.count})
        # Before the first load, there is nothing to read.
        if not result.missing_databases:
            verdicts = verify(server, target, [manifest], snapsets, on_progress=on_progress, on_verdict=note).verdicts
        result.batches.append(BatchStatus(header.name, header.cards, came_back, verdicts))
    result.seconds = time.monotonic() - start
    return result


def count_encoded(manifest: CardFile) -> int | None:
    """Return how many cards of a batch are encoded, None if unknown.

    The number comes from a reconciled file, or from the newest one that ``reconcile`` wrote next to the manifest.

    Raises:
        FileError: that file can't be read.
        InputError: that file is invalid.
    """
    if isinstance(manifest, Reconciled):
        return manifest.count
    found = find_reconciled(manifest)
    return None if found is None else found.count
