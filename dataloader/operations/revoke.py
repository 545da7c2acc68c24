"""Revoke cards, so that they stop working, and restore them.

A document is read, changed, and written as the child of what was read; if somebody else was faster, it is read again,
with all leaves from all copies. So a run can be repeated, interrupted, or run twice at once with the same result.

Unlike a load's update, a revocation cannot wait for a missing copy. It is written as long as most of the nodes are up,
and reports that a copy is missing. ``verify``, or revoking again, checks it once the node is up.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import Any

from dataloader.batch import Card, CardFile
from dataloader.common import (
    DataloaderError,
    Document,
    OnProgress,
    UnreachableError,
    UsageError,
    live_leaves,
    now,
    tell_how_far,
)
from dataloader.couch import Database, Nodes, Server
from dataloader.operations.card_answers import missing
from dataloader.operations.identity import Identities
from dataloader.operations.sources import refuse_seeded
from dataloader.records import Snapsets
from dataloader.records.models import Entry, Kind, Model, Revoking, Role
from dataloader.replication import (
    MAX_INLINE,
    MAX_REASON,
    Change,
    Revocation,
    attached,
    chunks,
    in_parallel,
    is_revocation,
    kept_document,
    kept_others,
    restored,
    restored_set,
    revoked,
    without_content,
    write_over,
)
from dataloader.target import Environment, Target, guard, remember

ROUNDS = 20
"""How often to retry a document that others keep changing."""


class RevokeOutcome(StrEnum):
    """The outcome of a card; each card has exactly one."""

    REVOKED = "revoked"
    ALREADY_REVOKED = "already_revoked"
    BARRED = "barred"
    """It was not loaded, and will not work when it is."""
    RESTORED = "restored"
    NOT_REVOKED = "not_revoked"
    """It was to be restored, but was not revoked."""
    NOT_LOADED = "not_loaded"
    """It was to be restored, but has never existed."""
    FOREIGN = "foreign"
    """There is a foreign document under one of its IDs."""
    FAILED = "failed"


NEEDS_ATTENTION = (RevokeOutcome.FOREIGN, RevokeOutcome.FAILED)
"""Outcomes that differ from what was requested."""


@dataclass
class RevokeResult:
    """The result of revoking or restoring cards."""

    outcomes: Counter[RevokeOutcome] = field(default_factory=Counter)
    nodes_away: tuple[str, ...] = ()
    """Nodes of the cluster that were down before or after."""
    short_of_copies: bool = False
    """Whether the server reported a write with fewer copies than requested."""
    raised: dict[str, Environment] = field(default_factory=dict)
    """Databases that were loaded as a less protected environment before, and which."""
    seconds: float = 0.0

    @property
    def needs_attention(self) -> int:
        """The number of cards that need a decision."""
        return sum(self.outcomes[outcome] for outcome in NEEDS_ATTENTION)


@dataclass
class CardOutcome:
    """The outcome of one card, with the reason if there is one."""

    card: Card
    outcome: RevokeOutcome
    reason: str = ""


OnOutcome = Callable[[CardOutcome], None]
"""Called for each card."""


def revoke(
    server: Server,
    target: Target,
    manifest: CardFile,
    cards: Sequence[Card],
    reason: str,
    *,
    snapsets: Snapsets | None = None,
    on_progress: OnProgress | None = None,
    on_outcome: OnOutcome | None = None,
) -> RevokeResult:
    """Revoke cards, so that they stop working; their preference sets are kept.

    Cards can be revoked before they are loaded.

    Args:
        server: the target's server.
        target: the target.
        manifest: the batch.
        cards: the cards of the batch to revoke.
        reason: the reason, stored with the revoked documents.
        snapsets: the snapsets of cards that are not loaded yet; None if unknown.
        on_progress: called after each batch of cards.
        on_outcome: called for each card.

    Raises:
        UsageError: the reason is empty, too long, or has several lines.
        ProtectedError: a seeded batch, and the target is staging or production; or a database was loaded as a more
            protected environment.
        ProtocolError: a database does not exist, or was recreated or restored meanwhile.
        UnreachableError: most of the cluster's nodes are down.
        DataloaderError: the server failed after all retries, or refused; what was done stays done, and running it again
            continues.
    """
    revocation = Revocation(check_reason(reason), now())
    return _Revoking(server, target, manifest, snapsets, revocation).run(cards, on_progress, on_outcome)


def restore(
    server: Server,
    target: Target,
    manifest: CardFile,
    cards: Sequence[Card],
    *,
    snapsets: Snapsets | None = None,
    on_progress: OnProgress | None = None,
    on_outcome: OnOutcome | None = None,
) -> RevokeResult:
    """Restore revoked cards with everything that they had, however they were revoked.

    Documents written while a card was revoked are kept and reported.

    Args:
        server: the target's server.
        target: the target.
        manifest: the batch.
        cards: the cards of the batch to restore.
        snapsets: the snapsets of cards that were revoked before they were loaded; None if unknown.
        on_progress: called after each batch of cards.
        on_outcome: called for each card.

    Raises:
        ProtectedError: a seeded batch, and the target is staging or production; or a database was loaded as a more
            protected environment.
        ProtocolError: a database does not exist, or was recreated or restored meanwhile.
        DataloaderError: see :func:`revoke`.
    """
    return _Restoring(server, target, manifest, snapsets).run(cards, on_progress, on_outcome)


def require_databases(server: Server, target: Target) -> None:
    """Check that a target's databases exist, before anything is noted of cards that are to be revoked there.

    Raises:
        ProtocolError: a database does not exist, as with a mistyped prefix.
        DataloaderError: the server can't be reached, or refuses.
    """
    server.welcome()
    for name in target.model.databases:
        database = server.database(target.database(name))
        if not database.exists():
            raise missing(database)


def check_reason(reason: str) -> str:
    """Return a reason without surrounding spaces.

    Raises:
        UsageError: it is empty, too long, or has several lines.
    """
    reason = reason.strip()
    if not (0 < len(reason) <= MAX_REASON and reason.isprintable()):
        raise UsageError(
            "--reason", rule=f"must be one line of 1 to {MAX_REASON} characters", todo='such as --reason "lost"'
        )
    return reason


@dataclass
class _Seen:
    """What was found and done for one card."""

    card: Card
    there: int = 0
    """Documents that existed in some form, including deletions."""
    edited: int = 0
    """Documents that were changed or deleted."""
    made: int = 0
    """Documents that were written with a computed revision."""
    kept: dict[str, Document] = field(default_factory=dict)
    """Documents of the card by kind, as kept by tombstones."""
    foreign: str = ""
    failed: str = ""
    note: str = ""
    """What to report about the card."""


class _Run:
    """One run of revoking or restoring."""

    def __init__(self, server: Server, target: Target, manifest: CardFile, snapsets: Snapsets | None) -> None:
        self._server = server
        self._target = target
        self._model: Model = target.model
        self._manifest = manifest
        self._snapsets = None if snapsets is None else snapsets.of(target.model.name)
        self._databases = {name: server.database(target.database(name)) for name in target.model.databases}
        self._has_written = False

    def run(self, cards: Sequence[Card], on_progress: OnProgress | None, on_outcome: OnOutcome | None) -> RevokeResult:
        start = time.monotonic()
        refuse_seeded(self._target, [self._manifest])
        result = RevokeResult()
        done = 0
        try:
            self._server.welcome()
            memory = guard(self._server, self._target)
            nodes = self._server.nodes()
            _require_most(nodes)
            result.nodes_away, result.raised = nodes.away, memory.raised(self._target)
            require_databases(self._server, self._target)
            identities = Identities(self._server, self._target)
            remember(self._server, self._target, memory)
            for outcomes in in_parallel(self._see_to, chunks(cards)):
                for each in outcomes:
                    result.outcomes[each.outcome] += 1
                    if on_outcome is not None:
                        on_outcome(each)
                done += len(outcomes)
                identities.note_writes()
                if on_progress is not None:
                    on_progress(f"{self._manifest.header.name}: cards", done, len(cards))
            identities.check("cards were revoked or restored")
            result.nodes_away = tuple(sorted({*result.nodes_away, *self._server.nodes().away}))
        except DataloaderError as error:
            tell_how_far(error, done, len(cards), "cards", has_written=self._has_written)
            raise
        result.short_of_copies = self._server.short_of_copies
        result.seconds = time.monotonic() - start
        return result

    def _see_to(self, cards: Sequence[Card]) -> list[CardOutcome]:
        # Check with every batch: somebody may have marked a database as more protected meanwhile.
        guard(self._server, self._target)
        seen = {card.uuid: _Seen(card) for card in cards}
        self._work(seen)
        return [self._outcome(each) for each in seen.values()]

    def _work(self, seen: Mapping[str, _Seen]) -> None:
        raise NotImplementedError

    def _came_to(self, seen: _Seen) -> RevokeOutcome:
        raise NotImplementedError

    def _wanted(self, kind: Kind, seen: _Seen) -> Document:
        """Return the document that a load would write for a card; with an empty set if its snapset is unknown."""
        return kind.document(Entry(seen.card.uuid, self._minted(seen) or {}, self._manifest.header.created, Role.CARD))

    def _minted(self, seen: _Seen) -> Mapping[str, Any] | None:
        snapset = None if self._snapsets is None else self._snapsets.get(seen.card.snapset)
        return None if snapset is None else snapset.preferences

    def _settle(
        self,
        kind: Kind,
        seen: Mapping[str, _Seen],
        change: Callable[[_Seen, list[Document]], Change],
        *,
        with_attachments: Callable[[Document], bool] | None = None,
    ) -> dict[str, list[Document]]:
        """Read the documents of a kind and write changes, until there is nothing left to change.

        Returns:
            The leaves of each document, by the card's UUID, as last read.
        """
        database = self._databases[kind.database]
        ids = {kind.id(key): key for key in seen}
        last: dict[str, list[Document]] = {}
        for turn in range(ROUNDS):
            leaves = database.leaves(list(ids), all_copies=True)
            changes: dict[str, Change] = {}
            for doc_id, key in ids.items():
                found = leaves[doc_id]
                if with_attachments is not None:
                    found = [_with_attachments(database, leaf, with_attachments) for leaf in found]
                last[key] = found
                changes[doc_id] = change(seen[key], found)
                seen[key].there += turn == 0 and bool(found)
                seen[key].note = seen[key].note or changes[doc_id].note
                seen[key].failed = seen[key].failed or changes[doc_id].failed
                if changes[doc_id].foreign:
                    seen[key].foreign = f"document {doc_id} is of another type, and was not changed"
            ids = {doc_id: key for doc_id, key in ids.items() if not changes[doc_id].is_none}
            refused, bare = self._write_any(database, {doc_id: changes[doc_id] for doc_id in ids})
            for doc_id in bare:
                seen[ids[doc_id]].note = f"document {doc_id} is too large to be kept, and is lost after a compaction"
            for doc_id, reason in refused.items():
                seen[ids.pop(doc_id)].failed = f"the server did not accept document {doc_id}: {reason}"
            for doc_id, key in ids.items():
                seen[key].edited += bool(changes[doc_id].edits) or bool(last[key])
                seen[key].made += bool(changes[doc_id].made) and not last[key]
            if not ids:
                return last
        for doc_id, key in ids.items():
            seen[key].failed = f"others keep changing document {doc_id}"
        return last

    def _write_any(self, database: Database, changes: Mapping[str, Change]) -> tuple[dict[str, str], list[str]]:
        """Write changes, without the content of tombstones that the server finds too large.

        A lost card must stop working, whatever somebody has put into its documents.

        Returns:
            The reasons for rejected documents, by ``_id``; and the documents whose content is not kept.
        """
        refused = self._write(database, list(changes.values()))
        large = [doc_id for doc_id, reason in refused.items() if reason.startswith("too_large")]
        bare = [doc_id for doc_id in large if not self._write(database, [without_content(changes[doc_id])])]
        return {doc_id: reason for doc_id, reason in refused.items() if doc_id not in bare}, bare

    def _write(self, database: Database, changes: Sequence[Change]) -> dict[str, str]:
        """Write changes; return the reasons for rejected documents, by ``_id``."""
        edits = [edit for change in changes for edit in change.edits]
        made = [each for change in changes for each in change.made]
        self._has_written |= bool(edits or made)
        refused = {each.id: each.reason for each in database.write(made)} if made else {}
        for written in write_over(database, edits) if edits else ():
            if not written.is_plain and not written.is_conflict and not written.rev:
                refused[written.document["_id"]] = written.reason
        return refused

    def _outcome(self, seen: _Seen) -> CardOutcome:
        if seen.failed:
            return CardOutcome(seen.card, RevokeOutcome.FAILED, seen.failed)
        if seen.foreign:
            return CardOutcome(seen.card, RevokeOutcome.FOREIGN, seen.foreign)
        return CardOutcome(seen.card, self._came_to(seen), seen.note)


class _Revoking(_Run):
    """Revokes cards."""

    def __init__(
        self,
        server: Server,
        target: Target,
        manifest: CardFile,
        snapsets: Snapsets | None,
        revocation: Revocation,
    ) -> None:
        super().__init__(server, target, manifest, snapsets)
        self._revocation = revocation

    def _work(self, seen: Mapping[str, _Seen]) -> None:
        steps = self._model.revoking
        for step in steps:
            self._take(step, seen)
        # Until the token was deleted, a server could write the set again.
        left = {key: each for key, each in seen.items() if not each.failed}
        for step in steps[:-1]:
            if step.holds_set:
                self._take(step, left)

    def _take(self, step: Revoking, seen: Mapping[str, _Seen]) -> None:
        kind = self._model.kind(step.kind)
        leaves = self._settle(
            kind, seen, partial(self._change, step, kind), with_attachments=_is_copied if step.marking is None else None
        )
        for key, found in leaves.items():
            document = kept_document(found)
            if document is not None:
                seen[key].kept[kind.name] = document

    def _change(self, step: Revoking, kind: Kind, seen: _Seen, leaves: list[Document]) -> Change:
        kept = {name: seen.kept[name] for name in step.keeps if name in seen.kept}
        return revoked(self._wanted(kind, seen), step.marking, leaves, self._revocation, kept)

    def _came_to(self, seen: _Seen) -> RevokeOutcome:
        if seen.edited:
            return RevokeOutcome.REVOKED
        return RevokeOutcome.BARRED if seen.made else RevokeOutcome.ALREADY_REVOKED


class _Restoring(_Run):
    """Restores cards."""

    def __init__(self, server: Server, target: Target, manifest: CardFile, snapsets: Snapsets | None) -> None:
        super().__init__(server, target, manifest, snapsets)
        self._time = now()

    def _work(self, seen: Mapping[str, _Seen]) -> None:
        for step in self._model.revoking:
            if step.keeps:
                kind = self._model.kind(step.kind)
                leaves = self._databases[kind.database].leaves([kind.id(key) for key in seen], all_copies=True)
                for key, each in seen.items():
                    # A document with another card's ID would be written over that.
                    each.kept |= {
                        name: document
                        for name, document in kept_others(leaves[kind.id(key)]).items()
                        if name in step.keeps and document["_id"] == self._model.kind(name).id(key)
                    }
        for kind in self._model.former.values():
            self._settle(kind, seen, lambda _, leaves: _undone(leaves))
        for step in self._model.revoking:
            kind = self._model.kind(step.kind)
            # A card must not get access before its set exists.
            left = {key: each for key, each in seen.items() if not each.failed}
            self._settle(
                kind, left, partial(self._change, step, kind), with_attachments=lambda leaf: bool(leaf.get("_deleted"))
            )
        self._look_at_sets(seen)

    def _change(self, step: Revoking, kind: Kind, seen: _Seen, leaves: list[Document]) -> Change:
        wanted = self._wanted(kind, seen)
        if step.holds_set:
            return restored_set(wanted if self._minted(seen) else None, leaves, seen.kept.get(kind.name))
        return restored(wanted, step.marking, leaves, self._databases[kind.database].revision, self._time)

    def _came_to(self, seen: _Seen) -> RevokeOutcome:
        if seen.edited or seen.made:
            return RevokeOutcome.RESTORED
        return RevokeOutcome.NOT_REVOKED if seen.there else RevokeOutcome.NOT_LOADED

    def _look_at_sets(self, seen: Mapping[str, _Seen]) -> None:
        """Find the restored cards that have no preference set."""
        marked = {step.kind for step in self._model.revoking if not step.holds_set}
        for kind in self._model.kinds:
            if kind.name in marked or Role.CARD not in kind.roles:
                continue
            leaves = self._databases[kind.database].leaves([kind.id(key) for key in seen], all_copies=True)
            for key, each in seen.items():
                found = leaves[kind.id(key)]
                if not each.there or each.note:
                    continue
                if not found:
                    each.note = "its preference set does not exist; load the batch"
                elif not live_leaves(found):
                    each.note = "its preference set has been deleted, and is not restored"


def _undone(leaves: Sequence[Document]) -> Change:
    """Return the change that restores a document deleted by a revocation, and only by one."""
    if (live_leaves(leaves) or all(is_revocation(leaf) for leaf in leaves)) and kept_document(leaves) is not None:
        return replace(restored_set(None, leaves, None), note="")
    return Change()


def _require_most(nodes: Nodes) -> None:
    """Check that most of a cluster's nodes are up.

    Raises:
        UnreachableError: they are not; writes could be overruled by the missing ones.
    """
    if nodes.expected and 2 * len(nodes.away) >= len(nodes.expected):
        raise UnreachableError(
            f"{len(nodes.away)} of {len(nodes.expected)} nodes of the cluster",
            rule="are down",
            todo="start most of them, then run it again",
        )


def _is_copied(leaf: Document) -> bool:
    """Return whether the attachments of a leaf are copied into its tombstone."""
    return not leaf.get("_deleted") and attached(leaf) <= MAX_INLINE


def _with_attachments(database: Database, leaf: Document, wanted: Callable[[Document], bool]) -> Document:
    """Return a leaf with the data of its attachments, if wanted; PouchDB's tombstones have no others."""
    if not leaf.get("_attachments") or not (wanted(leaf) or (not database.names_leaves and not leaf.get("_deleted"))):
        return leaf
    whole = database.with_attachments(leaf["_id"], leaf["_rev"])
    return leaf if whole is None else {**leaf, "_attachments": whole.get("_attachments", {})}
