"""Revoking: a card that stops working, and one that works again.

A document is read, changed and written on top of what was read, as a person would; where somebody else was
quicker, it is read again. So it can be repeated, interrupted, or run twice at once, and comes to the same end.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from dataloader.batch import Card, CardFile
from dataloader.common import (
    DataloaderError,
    Document,
    OnProgress,
    ProtocolError,
    UsageError,
    no_progress,
    now,
    tell_how_far,
)
from dataloader.couch import Database, Rejection, Server
from dataloader.operations.sources import refuse_seeded
from dataloader.records.models import Entry, Kind, Model, Revoking, Role
from dataloader.replication import MAX_REASON, Change, chunks, in_parallel, restored, revoked
from dataloader.target import Environment, Target, guard, remember

ROUNDS = 20
"""How often a document is read and written before it is given up, where others go on changing it."""


class RevokeOutcome(StrEnum):
    """What became of a card; each has one."""

    REVOKED = "revoked"
    ALREADY_REVOKED = "already_revoked"
    BARRED = "barred"
    """It had not been loaded, and will not work when it is."""
    RESTORED = "restored"
    NOT_REVOKED = "not_revoked"
    """It was to be brought back, and was there."""
    NOT_LOADED = "not_loaded"
    """It was to be brought back, and had never been there."""
    FOREIGN = "foreign"
    """A document that is not ours stands under one of its IDs."""
    FAILED = "failed"


NEEDS_ATTENTION = (RevokeOutcome.FOREIGN, RevokeOutcome.FAILED)
"""Outcomes after which the card is not as it was wanted."""


@dataclass
class RevokeResult:
    """What was done to the cards."""

    outcomes: Counter[RevokeOutcome] = field(default_factory=Counter)
    nodes_away: tuple[str, ...] = ()
    """Nodes of the cluster that were away before or after."""
    short_of_copies: bool = False
    """Whether the server said of a write that it made fewer copies than wanted."""
    raised: dict[str, Environment] = field(default_factory=dict)
    """Databases that were loaded as something less protected, and are more so from now on: what they were."""
    seconds: float = 0.0

    @property
    def needs_attention(self) -> int:
        """How many cards a person has to look at."""
        return sum(self.outcomes[outcome] for outcome in NEEDS_ATTENTION)


@dataclass
class CardOutcome:
    """What became of one card, and why where that is not plain."""

    card: Card
    outcome: RevokeOutcome
    reason: str = ""


OnOutcome = Callable[[CardOutcome], None]
"""Called for each card."""


def no_outcome(outcome: CardOutcome) -> None:
    """Note nothing."""


def revoke(
    server: Server,
    target: Target,
    manifest: CardFile,
    cards: Sequence[Card],
    reason: str,
    *,
    on_progress: OnProgress = no_progress,
    on_outcome: OnOutcome = no_outcome,
) -> RevokeResult:
    """Have cards stop working; their preference sets are kept. One that is not loaded yet will not work then either.

    Args:
        server: the target's server.
        target: the target.
        manifest: the batch.
        cards: which of its cards.
        reason: why; kept with what is revoked.
        on_progress: told of each batch of cards.
        on_outcome: told of each card.

    Raises:
        UsageError: the reason is empty, too long, or more than a line.
        ProtectedError: a reproducible batch, for a staging or production target; or a database was loaded as
            something more protected.
        ProtocolError: a database is not there.
        DataloaderError: the server failed to the last retry, or refused; what was done stays done, and
            running it again goes on from there.
    """
    reason = check_reason(reason)
    moment = now()
    run = _Run(
        server,
        target,
        target.model.revoking,
        lambda step, wanted, leaves, _: revoked(wanted, step.marking, leaves, reason, moment),
        _came_to_revoked,
    )
    return run.see_to(manifest, cards, on_progress, on_outcome)


def restore(
    server: Server,
    target: Target,
    manifest: CardFile,
    cards: Sequence[Card],
    *,
    on_progress: OnProgress = no_progress,
    on_outcome: OnOutcome = no_outcome,
) -> RevokeResult:
    """Have revoked cards work again, with everything that they had, whoever revoked them and how.

    Args:
        server: the target's server.
        target: the target.
        manifest: the batch.
        cards: which of its cards.
        on_progress: told of each batch of cards.
        on_outcome: told of each card.

    Raises:
        ProtectedError: a reproducible batch, for a staging or production target; or a database was loaded as
            something more protected.
        ProtocolError: a database is not there.
        DataloaderError: as with :func:`revoke`.
    """
    moment = now()
    run = _Run(
        server,
        target,
        target.model.revoking[::-1],
        lambda step, wanted, leaves, database: restored(wanted, step.marking, leaves, database.revision, moment),
        _came_to_restored,
        looks_at_sets=True,
    )
    return run.see_to(manifest, cards, on_progress, on_outcome)


def check_reason(reason: str) -> str:
    """Return a reason without blanks around it.

    Raises:
        UsageError: it is empty, too long, or more than a line.
    """
    reason = reason.strip()
    if not (0 < len(reason) <= MAX_REASON and reason.isprintable()):
        raise UsageError(
            "--reason", rule=f"is one line of 1 to {MAX_REASON} characters", todo='give one, as in --reason "lost"'
        )
    return reason


@dataclass
class _Seen:
    """What was found of one card, and done to it."""

    card: Card
    there: int = 0
    """Documents that were there in some form, be it as a deletion."""
    edited: int = 0
    """Documents that were changed, or deleted."""
    made: int = 0
    """Documents that were written with a revision made up for them."""
    foreign: str = ""
    failed: str = ""
    lacks: str = ""
    """What it needs to work, and has not."""


def _came_to_revoked(seen: _Seen) -> RevokeOutcome:
    if seen.edited:
        return RevokeOutcome.REVOKED
    return RevokeOutcome.BARRED if seen.made else RevokeOutcome.ALREADY_REVOKED


def _came_to_restored(seen: _Seen) -> RevokeOutcome:
    if seen.edited or seen.made:
        return RevokeOutcome.RESTORED
    return RevokeOutcome.NOT_REVOKED if seen.there else RevokeOutcome.NOT_LOADED


class _Run:
    """One run of revoking, or of bringing back."""

    def __init__(
        self,
        server: Server,
        target: Target,
        steps: Sequence[Revoking],
        change: Callable[[Revoking, Document, Sequence[Document], Database], Change],
        came_to: Callable[[_Seen], RevokeOutcome],
        *,
        looks_at_sets: bool = False,
    ) -> None:
        self._server = server
        self._target = target
        self._model: Model = target.model
        self._steps = steps
        self._change = change
        self._came_to = came_to
        self._looks_at_sets = looks_at_sets
        self._databases = {name: server.database(target.database(name)) for name in target.model.databases}

    def see_to(
        self, manifest: CardFile, cards: Sequence[Card], on_progress: OnProgress, on_outcome: OnOutcome
    ) -> RevokeResult:
        start = time.monotonic()
        refuse_seeded(self._target, [manifest])
        result = RevokeResult()
        work = partial(self._see_to, manifest.header.created)
        done = 0
        try:
            self._server.welcome()
            memory = guard(self._server, self._target)
            result.nodes_away, result.raised = self._server.nodes().away, memory.raised(self._target)
            self._require_databases()
            remember(self._server, self._target, memory)
            for outcomes in in_parallel(work, chunks(cards)):
                for each in outcomes:
                    result.outcomes[each.outcome] += 1
                    on_outcome(each)
                done += len(outcomes)
                on_progress(f"{manifest.header.name}: cards", done, len(cards))
            result.nodes_away = tuple(sorted({*result.nodes_away, *self._server.nodes().away}))
        except DataloaderError as error:
            tell_how_far(error, done, len(cards), "cards")
            raise
        result.short_of_copies = self._server.short_of_copies
        result.seconds = time.monotonic() - start
        return result

    def _require_databases(self) -> None:
        for database in self._databases.values():
            if not database.exists():
                todo = "correct the prefix or the address, or load the target first"
                raise ProtocolError(f"database {database.name}", rule="is not there", todo=todo)

    def _see_to(self, created: str, cards: Sequence[Card]) -> list[CardOutcome]:
        seen = {card.uuid: _Seen(card) for card in cards}
        for step in self._steps:
            kind = self._model.kind(step.kind)
            self._settle(step, kind, {kind.id(key): (_document(kind, key, created), seen[key]) for key in seen})
        if self._looks_at_sets:
            self._look_at_sets(seen)
        return [self._outcome(each) for each in seen.values()]

    def _look_at_sets(self, seen: Mapping[str, "_Seen"]) -> None:
        """Find the cards that are to work again and have no preference set to work with."""
        revoked_kinds = {step.kind for step in self._steps}
        for kind in self._model.kinds:
            if kind.name in revoked_kinds or Role.CARD not in kind.roles:
                continue
            leaves = self._databases[kind.database].leaves([kind.id(key) for key in seen])
            for key, each in seen.items():
                found = leaves[kind.id(key)]
                if each.there and not found:
                    each.lacks = "its preference set is not there; load the batch"
                elif each.there and all(leaf.get("_deleted") for leaf in found):
                    each.lacks = "its preference set has been deleted, and does not come back"

    def _settle(self, step: Revoking, kind: Kind, documents: dict[str, tuple[Document, _Seen]]) -> None:
        """Read documents and write what has to be changed, until a reading finds nothing that has to be."""
        database = self._databases[kind.database]
        for turn in range(ROUNDS):
            leaves = database.leaves(list(documents))
            changes = {
                doc_id: self._change(step, wanted, leaves[doc_id], database)
                for doc_id, (wanted, _) in documents.items()
            }
            for doc_id, (_, seen) in documents.items():
                seen.there += turn == 0 and bool(leaves[doc_id])
                if changes[doc_id].foreign:
                    seen.foreign = f"document {doc_id} is of another type, and left as it is"
            documents = {each: found for each, found in documents.items() if changes[each].edits or changes[each].made}
            for rejection in _write(database, [changes[each] for each in documents]):
                _, seen = documents.pop(rejection.id)
                seen.failed = f"document {rejection.id} was not taken by the server: {rejection.reason}"
            for doc_id, (_, seen) in documents.items():
                seen.edited += bool(changes[doc_id].edits)
                seen.made += bool(changes[doc_id].made)
            if not documents:
                return
        for doc_id, (_, seen) in documents.items():
            seen.failed = f"others go on changing document {doc_id}"

    def _outcome(self, seen: _Seen) -> CardOutcome:
        if seen.failed:
            return CardOutcome(seen.card, RevokeOutcome.FAILED, seen.failed)
        if seen.foreign:
            return CardOutcome(seen.card, RevokeOutcome.FOREIGN, seen.foreign)
        return CardOutcome(seen.card, self._came_to(seen), seen.lacks)


def _document(kind: Kind, key: str, created: str) -> Document:
    """Return the document that a load makes for a card; a kind that is revoked does not hold the preference set."""
    return kind.document(Entry(key, {}, created, Role.CARD))


def _write(database: Database, changes: Sequence[Change]) -> list[Rejection]:
    """Write changes; return a rejection for each document that the server did not take."""
    edits = [edit for change in changes for edit in change.edits]
    made = [each for change in changes for each in change.made]
    rejections = (database.edit(edits) if edits else []) + (database.write(made) if made else [])
    return list({rejection.id: rejection for rejection in rejections}.values())
