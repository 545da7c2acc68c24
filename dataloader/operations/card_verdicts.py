"""Decide the verdict on a card: what the real servers would do with their answers.

Only this module decides it; ``card_answers`` finds the answers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from shlex import quote
from typing import TypeAlias

from dataloader.batch import CardFile
from dataloader.common import Document, content, explain, is_valid, live_leaves, says, says_as_is
from dataloader.operations.changes import preferences_in
from dataloader.records import Templates
from dataloader.records.models import Entry, Kind, Lookup, Model
from dataloader.replication import KindRules, is_ours, is_persons_deletion, is_revocation, must_go

Answer: TypeAlias = dict[str, Document | None]
"""What a row of a lookup gives the servers: a document of each expected kind, None if it is missing."""


class VerifyVerdict(StrEnum):
    """What the servers would find for a card, in increasing order of severity."""

    OK = "ok"
    """Everything matches the batch."""
    OUTDATED = "outdated"
    """Everything needed, from an earlier version of the snapset, and not edited."""
    EDITED = "edited"
    """Everything needed, edited by its owner."""
    REVOKED = "revoked"
    """Nothing, on purpose: deleted, or marked as revoked in a way that the servers obey."""
    MISSING = "missing"
    """Never loaded."""
    WRONG = "wrong"
    """An answer that the servers can't use, or must not get because the card is revoked."""


_ORDER = {verdict: at for at, verdict in enumerate(VerifyVerdict)}


@dataclass(frozen=True, slots=True)
class CardVerdict:
    """The verdict on one card."""

    uuid: str
    verdict: VerifyVerdict
    reason: str = ""
    is_odd: bool = False
    """Whether to report it although the card works, or was revoked."""
    needs_revoking: bool = False
    """Whether revoking the card (again) fixes it."""
    needs_loading: bool = False
    """Whether a load fixes it."""

    def fix(self, manifest: CardFile) -> str:
        """Return the command that fixes the card; empty if no command does."""
        if self.needs_revoking:
            return f'dataloader revoke {quote(str(manifest.path))} --uuid {self.uuid} --reason "revoked before"'
        return f"dataloader load {quote(str(manifest.path))}" if self.needs_loading else ""

    def told(self, manifest: CardFile) -> str:
        """Return the verdict and its reason in one line, with the command that fixes the card."""
        fix = self.fix(manifest)
        return f"{self.verdict.value}: {self.reason}{f' (run `{fix}`)' if fix else ''}"


@dataclass(frozen=True, slots=True)
class CardAnswers:
    """Everything that was read about one card."""

    entry: Entry
    templates: Mapping[str, Templates]
    """Make its documents as a load would create them, by kind."""
    found: list[list[Answer]]
    """For each lookup of the model, the rows with the card's key: exactly one, if all is well."""
    leaves: dict[str, list[Document]]
    """By kind, every leaf of each expected document that was not found (none if it never existed), and of each with
    several leaves."""
    brought: frozenset[str] = frozenset()
    """The digests of the versions that loads have written to the target."""

    def expected(self, kind: str) -> bytes:
        """Return the canonical JSON of a document as a load would create it."""
        return self.templates[kind].body(self.entry)

    def rules(self, model: Model, kind: Kind) -> KindRules:
        """Return how a load would classify the card's document of a kind."""
        return KindRules(f"{model.name}/{kind.name}", self.brought)

    def absent(self, lookup: Lookup, rows: list[Answer]) -> str | None:
        """Return the kind of the first document that a lookup should find but does not; None if it finds all."""
        if not rows:
            return next(iter(lookup.kinds.values()))
        if len(rows) == 1:
            for kind, document in rows[0].items():
                if document is None:
                    return kind
        return None


def judge(model: Model, answers: CardAnswers) -> CardVerdict:
    """Return the verdict on a card: the worst of its answers."""
    uuid = answers.entry.key
    if _is_as_loaded(answers):
        return CardVerdict(uuid, VerifyVerdict.OK)
    found: dict[str, Document | None] = {}
    for lookup, rows in zip(model.lookups, answers.found, strict=True):
        if len(rows) > 1:
            return CardVerdict(uuid, VerifyVerdict.WRONG, f"{_name(lookup)} has {len(rows)} answers, not one")
        for kind in lookup.kinds.values():
            found[kind] = rows[0].get(kind) if rows else None
    stopped = _stopped(model, answers, found)
    if stopped and model.serves(found):
        reason = f"{stopped}, and the servers still give the card its settings"
        return CardVerdict(uuid, VerifyVerdict.WRONG, reason, needs_revoking=True)
    if stopped:
        access = model.revoking[-1].kind
        is_odd = found[access] is not None and access not in _marked(model, found)
        which = f"{stopped}, and the card itself is not revoked" if is_odd else stopped
        return CardVerdict(uuid, VerifyVerdict.REVOKED, which, is_odd)
    verdicts = [CardVerdict(uuid, VerifyVerdict.OK), *_judge_documents(model, answers, found)]
    return max(verdicts, key=lambda each: (_ORDER[each.verdict], each.is_odd))


def _is_as_loaded(answers: CardAnswers) -> bool:
    """Return whether every document is exactly the expected one, by a fast comparison of bytes."""
    if answers.leaves:
        return False
    try:
        return all(
            len(rows) == 1
            and all(
                document is not None and says_as_is(document, answers.expected(kind))
                for kind, document in rows[0].items()
            )
            for rows in answers.found
        )
    except TypeError:
        return False


def _marked(model: Model, found: Mapping[str, Document | None]) -> list[str]:
    """Return the kinds whose documents say that the card is revoked."""
    return [kind for kind, document in found.items() if document is not None and _is_marked(model, kind, document)]


def _is_marked(model: Model, kind: str, document: Document) -> bool:
    """Return whether a document of a kind says that its card is revoked."""
    return any(each.kind == kind and each.marking and each.marking.is_marked(document) for each in model.revoking)


def _stopped(model: Model, answers: CardAnswers, found: Mapping[str, Document | None]) -> str:
    """Return how a card was revoked: a document is deleted, or says so. Empty if it was not."""
    for kind in _marked(model, found):
        return f"document {model.kind(kind).id(answers.entry.key)} is marked as revoked"
    # The document that gives access says most about it.
    for kind in reversed([*found]):
        leaves = answers.leaves.get(kind, ())
        deleted = [leaf for leaf in leaves if leaf.get("_deleted")]
        if found[kind] is None and len(deleted) == len(leaves) and any(map(is_persons_deletion, deleted)):
            return f"document {model.kind(kind).id(answers.entry.key)} has been deleted"
        # A conflicting revision, written on another node, does not undo a revocation.
        if found[kind] is not None and any(is_revocation(leaf) or _is_marked(model, kind, leaf) for leaf in leaves):
            return f"document {model.kind(kind).id(answers.entry.key)} was revoked"
    return ""


def _judge_documents(model: Model, answers: CardAnswers, found: Mapping[str, Document | None]) -> Iterator[CardVerdict]:
    for lookup in model.lookups:
        for name in lookup.kinds.values():
            document = found[name]
            kind = model.kind(name)
            if document is None:
                yield _judge_absence(lookup, kind, answers)
                # The document that it refers to is missing, too: once is enough.
                break
            verdict = _judge_document(model, lookup, kind, answers, document)
            if verdict is not None:
                yield verdict
            if len(leaves := answers.leaves.get(name, ())) > 1:
                yield _judge_conflict(model, kind, answers, document, leaves)


def _judge_document(
    model: Model, lookup: Lookup, kind: Kind, answers: CardAnswers, document: Document
) -> CardVerdict | None:
    """Return the verdict on a document that the servers would get; None if it matches the batch."""
    entry = answers.entry
    doc_id = kind.id(entry.key)
    if document.get("_id") != doc_id:
        reason = f"{_name(lookup)} leads to document {document.get('_id')}, not {doc_id}"
        return CardVerdict(entry.key, VerifyVerdict.WRONG, reason)
    if says(document, answers.expected(kind.name)):
        return None
    # Attachments belong to the owner; no server reads them.
    said = {name: value for name, value in content(document).items() if name != "_attachments"}
    schema = f"{model.name}/{kind.name}"
    if not is_valid(schema)(said):
        # A report must not contain a person's preferences or password.
        rules = explain(schema, said, secrets=True)
        reason = f"{_name(lookup)}, document {doc_id}: {rules[0] if rules else 'breaks its schema'}"
        return CardVerdict(entry.key, VerifyVerdict.WRONG, reason)
    if misleads := model.misleads(kind.name, entry.key, said):
        return CardVerdict(entry.key, VerifyVerdict.WRONG, f"document {doc_id} {misleads}")
    if is_ours(document, answers.rules(model, kind)):
        return CardVerdict(entry.key, VerifyVerdict.OUTDATED, f"document {doc_id} is from an earlier load")
    return CardVerdict(entry.key, VerifyVerdict.EDITED, f"document {doc_id} was edited")


def _judge_absence(lookup: Lookup, kind: Kind, answers: CardAnswers) -> CardVerdict:
    """Return the verdict on a card with a missing document; revoked cards have been handled before."""
    doc_id = kind.id(answers.entry.key)
    if not answers.leaves[kind.name]:
        return CardVerdict(answers.entry.key, VerifyVerdict.MISSING, f"document {doc_id} does not exist")
    if not live_leaves(answers.leaves[kind.name]):
        reason = f"document {doc_id} was deleted by two loads at the same time"
        return CardVerdict(answers.entry.key, VerifyVerdict.WRONG, reason, needs_loading=True)
    reason = f"{_name(lookup)} does not find document {doc_id}, which exists"
    return CardVerdict(answers.entry.key, VerifyVerdict.WRONG, reason)


def _judge_conflict(
    model: Model, kind: Kind, answers: CardAnswers, document: Document, leaves: Sequence[Document]
) -> CardVerdict:
    """Return the verdict on a document with several leaves: what a load would delete, or a conflict of edits."""
    entry, doc_id = answers.entry, document["_id"]
    live = [leaf["_rev"] for leaf in live_leaves(leaves)]
    gone = {
        leaf["_rev"]
        for leaf in must_go(answers.templates[kind.name].prepared(entry), leaves, answers.rules(model, kind))
    }
    if len(live) == 1 and not gone:
        return CardVerdict(entry.key, VerifyVerdict.OK)
    if gone.issuperset(live):
        reason = f"document {doc_id} was deleted, but is still served"
        return CardVerdict(entry.key, VerifyVerdict.WRONG, reason, needs_loading=True)
    if document["_rev"] in gone:
        reason = f"document {doc_id} was edited, but the servers return another revision of it"
        return CardVerdict(entry.key, VerifyVerdict.WRONG, reason, needs_loading=True)
    reason = f"document {doc_id} is in conflict: {len(live)} live revisions"
    if gone:
        return CardVerdict(entry.key, VerifyVerdict.EDITED, reason, is_odd=True, needs_loading=True)
    todo = "choose one, delete the others" if preferences_in(document) is None else "merge them with `dataloader merge`"
    reason = f"{reason}; {todo}"
    return CardVerdict(entry.key, VerifyVerdict.EDITED, reason, is_odd=True)


def _name(lookup: Lookup) -> str:
    return f"view {lookup.view}" if lookup.view else f"database {lookup.database}"
