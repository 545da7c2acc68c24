"""Verification: asking for each card what the real servers ask when it is tapped.

The views are asked by key and the documents by ID, as the Preferences Server and the authorization
server do, a few hundred cards a request; each answer is checked against the schema of its kind.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from dataloader.batch import CardFile
from dataloader.common import (
    Document,
    OnProgress,
    VerifyError,
    certifies_itself,
    content,
    content_hash,
    explain,
    is_valid,
    no_progress,
    prepare,
    rank,
)
from dataloader.couch import Database, NotFoundError, Server
from dataloader.operations.sources import card_entries, refuse_twice
from dataloader.records import Snapsets
from dataloader.records.models import Entry, Kind, Lookup, Model
from dataloader.records.views import DESIGN
from dataloader.replication import chunks, in_parallel
from dataloader.target import Target, guard


class VerifyVerdict(StrEnum):
    """What the servers would find for a card; the later in this list, the more it counts."""

    OK = "ok"
    """Exactly what the batch says."""
    OUTDATED = "outdated"
    """All that is needed, as an earlier load brought it from another snapset, untouched since."""
    CHANGED = "changed"
    """All that is needed, changed by its owner since."""
    REVOKED = "revoked"
    """Deleted, or marked as revoked: the card no longer works, as somebody wanted."""
    MISSING = "missing"
    """Never loaded."""
    WRONG = "wrong"
    """An answer that the servers can't use."""


@dataclass(frozen=True, slots=True)
class CardVerdict:
    """The verdict on one card."""

    uuid: str
    verdict: VerifyVerdict
    reason: str = ""
    is_odd: bool = False
    """Whether nobody may have meant it: the preference set is deleted, and the card still lets in."""


@dataclass
class VerifyResult:
    """The verdicts on batches."""

    verdicts: Counter[VerifyVerdict] = field(default_factory=Counter)
    answers: int = 0
    """Answers of the server that were checked."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether every card works, or was stopped on purpose."""
        return not self.verdicts[VerifyVerdict.MISSING] and not self.verdicts[VerifyVerdict.WRONG]


OnVerdict = Callable[[CardFile, CardVerdict], None]
"""Called for each card whose verdict is not ``ok``."""


def no_verdict(manifest: CardFile, verdict: CardVerdict) -> None:
    """Note nothing."""


def verify(
    server: Server,
    target: Target,
    manifests: Sequence[CardFile],
    snapsets: Snapsets,
    *,
    sample: int | None = None,
    on_progress: OnProgress = no_progress,
    on_verdict: OnVerdict = no_verdict,
) -> VerifyResult:
    """Ask the server for every card of the batches.

    Args:
        server: the target's server.
        target: the target.
        manifests: the batches.
        snapsets: the snapsets that the cards start with.
        sample: how many cards to ask for, chosen at random from each batch; None for all.
        on_progress: told of each batch of answers.
        on_verdict: told of each card whose verdict is not ``ok``.

    Raises:
        InputError: a batch is given twice.
        DataloaderError: the server can't be asked.
        VerifyError: a database or a view is not there.
        ProtectedError: a database was loaded as something more protected.
    """
    start = time.monotonic()
    refuse_twice(manifests)
    server.welcome()
    guard(server, target)
    result = VerifyResult()
    asker = _Asker(server, target)
    for manifest in manifests:
        entries = card_entries(manifest, snapsets.of(target.model.name))
        total = manifest.count
        if sample is not None and sample < total:
            chosen = frozenset(Random().sample(range(total), sample))  # noqa: S311 - a sample, not a secret
            entries = (entry for at, entry in enumerate(entries) if at in chosen)
            total = sample
        done = 0
        for verdicts in in_parallel(asker.ask, chunks(entries)):
            for verdict in verdicts:
                result.verdicts[verdict.verdict] += 1
                if verdict.verdict is not VerifyVerdict.OK:
                    on_verdict(manifest, verdict)
            result.answers += len(verdicts) * len(target.model.lookups)
            done += len(verdicts)
            on_progress(f"{manifest.header.name}: cards", done, total)
    result.seconds = time.monotonic() - start
    return result


class _Asker:
    """Asks for a chunk of cards, every lookup of the model."""

    def __init__(self, server: Server, target: Target) -> None:
        self._model: Model = target.model
        self._databases = {name: server.database(target.database(name)) for name in target.model.databases}
        self._markings = {each.kind: each.marking for each in target.model.revoking}

    def ask(self, entries: list[Entry]) -> list[CardVerdict]:
        worst = {entry.key: CardVerdict(entry.key, VerifyVerdict.OK) for entry in entries}
        for lookup in self._model.lookups:
            # A card without its token has no user either, for the view that goes by tokens: once is enough.
            explained = {
                uuid for uuid, found in worst.items() if found.verdict in {VerifyVerdict.REVOKED, VerifyVerdict.MISSING}
            }
            for verdict in self._look_up(lookup, entries, explained):
                if _order(verdict.verdict) > _order(worst[verdict.uuid].verdict):
                    worst[verdict.uuid] = verdict
        return list(worst.values())

    def _look_up(self, lookup: Lookup, entries: list[Entry], explained: Collection[str]) -> Iterator[CardVerdict]:
        database = self._databases[lookup.database]
        rows = self._rows(database, lookup, [entry.key for entry in entries])
        first = next(iter(lookup.kinds.values()))
        absent: dict[str, list[Entry]] = {}
        for entry in entries:
            found = rows.get(entry.key, [])
            if not found:
                absent.setdefault(first, []).append(entry)
            elif len(found) > 1:
                yield CardVerdict(entry.key, VerifyVerdict.WRONG, f"{_name(lookup)} has {len(found)} answers, not one")
            else:
                yield from self._check(lookup, entry, found[0], absent)
        for kind_name, without in absent.items():
            yield from self._explain_absent(lookup, self._model.kind(kind_name), without, explained)

    def _rows(self, database: Database, lookup: Lookup, keys: list[str]) -> dict[str, list[dict[str, Any]]]:
        if lookup.view is None:
            try:
                leaves = database.leaves(keys)
            except NotFoundError as error:
                raise VerifyError(
                    f"database {database.name}", rule="is not there", todo="load the target first"
                ) from error
            # Of several versions side by side, the servers are shown one.
            return {
                key: [{"doc": max(live, key=rank)}]
                for key, found in leaves.items()
                if (live := [leaf for leaf in found if not leaf.get("_deleted")])
            }
        try:
            answer = database.view(DESIGN, lookup.view, keys, include_docs=lookup.include_docs)
        except NotFoundError as error:
            rule = f"has no view {lookup.view}" if database.exists() else "is not there"
            raise VerifyError(f"database {database.name}", rule=rule, todo="load the target first") from error
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in answer:
            rows.setdefault(row["key"], []).append(row)
        return rows

    def _check(
        self, lookup: Lookup, entry: Entry, row: dict[str, Any], absent: dict[str, list[Entry]]
    ) -> Iterator[CardVerdict]:
        for place, kind_name in lookup.kinds.items():
            document = _at(row, place)
            if document is None:
                absent.setdefault(kind_name, []).append(entry)
                return
            kind = self._model.kind(kind_name)
            expected = prepare(kind.document(entry))
            if document.get("_id") == expected.id and content_hash(document) == expected.hash:
                continue
            said = content(document)
            schema = f"{self._model.name}/{kind_name}"
            if document.get("_id") != expected.id:
                reason = f"{_name(lookup)} leads to document {document.get('_id')}, not {expected.id}"
                yield CardVerdict(entry.key, VerifyVerdict.WRONG, reason)
            elif not is_valid(schema)(said):
                # A person's preferences, or password, are not for a report.
                rules = explain(schema, said, secrets=True)
                reason = f"{_name(lookup)}, document {expected.id}: {rules[0] if rules else 'breaks its schema'}"
                yield CardVerdict(entry.key, VerifyVerdict.WRONG, reason)
            elif (marking := self._markings.get(kind_name)) and marking.is_marked(said):
                yield CardVerdict(entry.key, VerifyVerdict.REVOKED, f"document {expected.id} is marked as revoked")
            elif certifies_itself(document):
                yield CardVerdict(entry.key, VerifyVerdict.OUTDATED, f"document {expected.id} is of an earlier load")
            else:
                yield CardVerdict(entry.key, VerifyVerdict.CHANGED, f"document {expected.id} has been changed")

    def _explain_absent(
        self, lookup: Lookup, kind: Kind, absent: list[Entry], explained: Collection[str]
    ) -> Iterator[CardVerdict]:
        """Tell the cards that were never loaded from those that were stopped on purpose, and both from the rest."""
        leaves = self._databases[kind.database].leaves([kind.id(entry.key) for entry in absent])
        for entry in absent:
            doc_id = kind.id(entry.key)
            found = leaves[doc_id]
            if not found:
                yield CardVerdict(entry.key, VerifyVerdict.MISSING, f"document {doc_id} is not there")
            elif all(leaf.get("_deleted") for leaf in found):
                is_odd = kind.name not in self._markings and entry.key not in explained
                which = "has been deleted, and the card itself is not revoked" if is_odd else "has been deleted"
                yield CardVerdict(entry.key, VerifyVerdict.REVOKED, f"document {doc_id} {which}", is_odd)
            elif entry.key not in explained:
                reason = f"{_name(lookup)} does not find document {doc_id}, which is there"
                yield CardVerdict(entry.key, VerifyVerdict.WRONG, reason)


def _order(verdict: VerifyVerdict) -> int:
    return list(VerifyVerdict).index(verdict)


def _name(lookup: Lookup) -> str:
    return f"view {lookup.view}" if lookup.view else f"database {lookup.database}"


def _at(row: dict[str, Any], place: str) -> Document | None:
    found: Any = row
    for part in place.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) and not found.get("_deleted") else None
