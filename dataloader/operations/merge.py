"""Merge preference sets that are in conflict because two people, or one on two computers, edited them at once.

Each leaf is compared with what a load wrote before it was edited. Where the leaves changed different terms, one
revision with all changes replaces them; where they changed the same term differently, somebody has to choose.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from dataloader.common import (
    DataloaderError,
    Document,
    NodesError,
    OnProgress,
    UsageError,
    content,
    listed,
    live_leaves,
    rank,
    tell_how_far,
)
from dataloader.couch import Rejection, Server
from dataloader.operations.card_answers import missing
from dataloader.operations.changes import ABSENT, ChangedTerm, LoadedSets, Term, changed_terms, preferences_in
from dataloader.operations.identity import Identities
from dataloader.operations.plan import card_key, plan
from dataloader.operations.sources import Source
from dataloader.records.models import Role
from dataloader.replication import Finding, Outcome, State, chunks, superseded, write_over
from dataloader.target import Target, guard


@dataclass(frozen=True, slots=True)
class Branch:
    """A leaf of a preference set in conflict."""

    leaf: Document
    changed: tuple[ChangedTerm, ...] | None
    """What was changed since a load wrote it; None if the server no longer has that."""

    @property
    def rev(self) -> str:
        """Its revision."""
        return str(self.leaf["_rev"])

    @property
    def short_rev(self) -> str:
        """The first characters of the revision, which are enough to choose it."""
        return self.rev[: self.rev.index("-") + 1 + _SHOWN_DIGITS]

    def changed_text(self, *, values: bool) -> str:
        """Return what was changed, in words.

        Args:
            values: whether to include the new values, which are personal.
        """
        if self.changed is None:
            return "what it changed is unknown: the server no longer has the loaded version"
        said = [each.shown if values else each.term.shown for each in self.changed]
        return f"changed {listed(said)}" if said else "changed nothing"


_SHOWN_DIGITS = 8


@dataclass(frozen=True, slots=True)
class SetInConflict:
    """A card's preference set with several leaves."""

    database: str
    """Without the target's prefix."""
    branches: tuple[Branch, ...]
    """The one that the servers return first."""
    kept: Branch | None = None
    """The one whose values to keep where the branches differ."""

    @property
    def id(self) -> str:
        """The document's ``_id``."""
        return str(self.branches[0].leaf["_id"])

    @property
    def key(self) -> str:
        """The card's UUID."""
        return card_key(self.id)

    @property
    def clashes(self) -> list[Term]:
        """The terms that several branches changed, to different values."""
        after: dict[Term, set[bytes]] = {}
        for branch in self.branches:
            for each in branch.changed or ():
                after.setdefault(each.term, set()).add(each.after)
        return sorted(term for term, values in after.items() if len(values) > 1)

    @property
    def is_comparable(self) -> bool:
        """Whether the branches differ in known changes of terms only."""
        rests = {msgspec.json.encode(_without_terms(each.leaf), order="sorted") for each in self.branches}
        return len(rests) == 1 and all(each.changed is not None for each in self.branches)

    @property
    def base(self) -> Branch:
        """The branch that gets the changes of the others, or replaces them."""
        return self.branches[0] if self.kept is None or self.is_comparable else self.kept

    @property
    def merged(self) -> Document | None:
        """The document with all changes, as a child of the base; None if somebody has to choose."""
        if self.kept is None and (self.clashes or not self.is_comparable):
            return None
        found = _copied(_whole(self.base.leaf))
        if self.is_comparable:
            # The last change to a term counts.
            for branch in (*self.branches, *([self.kept] if self.kept else [])):
                for each in branch.changed or ():
                    _set(found, each)
        return found

    @property
    def others(self) -> list[Document]:
        """The leaves to delete once the merged revision is there."""
        return [branch.leaf for branch in self.branches if branch is not self.base]

    @property
    def choice_text(self) -> str:
        """What somebody has to choose, in words; empty if the set can be merged."""
        if self.merged is not None:
            return ""
        if self.clashes and self.is_comparable:
            who = "both" if len(self.branches) == 2 else "several"  # noqa: PLR2004 - what both means
            return f"{who} changed {listed([each.shown for each in self.clashes])}; choose one"
        return "cannot be compared term by term; choose the one to keep whole"


@dataclass
class MergeResult:
    """The result of merging."""

    merged: list[SetInConflict] = field(default_factory=list)
    open: list[SetInConflict] = field(default_factory=list)
    """Somebody has to choose, the set was edited meanwhile, or the server rejected a write."""
    rejections: list[Rejection] = field(default_factory=list)
    """Why the server rejected writes."""
    leftovers: int = 0
    """Documents that a load repairs."""
    unused: list[str] = field(default_factory=list)
    """The beginnings of revisions to keep that match no set in conflict, such as one that is merged already."""
    nodes_away: tuple[str, ...] = ()
    """Nodes of the cluster that were down at the end."""
    short_of_copies: bool = False
    """Whether the cluster reported a write with fewer copies than requested."""


class Conflicts:
    """Collects preference sets of cards that are in conflict, from the findings of a plan.

    Pass it to :func:`dataloader.operations.plan` as ``on_finding``.
    """

    def __init__(self, server: Server, target: Target) -> None:
        """Start with none.

        Args:
            server: asked for what was loaded.
            target: the target.
        """
        self.found: list[SetInConflict] = []
        self._loaded = LoadedSets(server, target)

    def __call__(self, source: Source, finding: Finding, what: State | Outcome) -> None:
        """Note a set in conflict, and what was changed in each leaf.

        Raises:
            DataloaderError: the server can't be reached.
        """
        if what is not State.CONFLICT or source.role is not Role.CARD:
            return
        if preferences_in(orjson.loads(finding.document.body)) is not None:
            leaves = sorted(finding.live, key=rank, reverse=True)
            branches = tuple(_branch(self._loaded, source, finding, leaf) for leaf in leaves)
            self.found.append(SetInConflict(source.database, branches))


def find_conflicts(
    server: Server,
    target: Target,
    sources: Sequence[Source],
    *,
    keep: Collection[str] = (),
    on_progress: OnProgress | None = None,
) -> MergeResult:
    """Find the preference sets of cards that are in conflict, and what was changed in each leaf; writes nothing.

    Args:
        server: the target's server.
        target: the target.
        sources: the sources of the cards' documents.
        keep: the beginnings of revisions whose values to keep where the leaves differ.
        on_progress: called after each batch.

    Raises:
        UsageError: a beginning in ``keep`` matches several leaves in conflict.
        ProtocolError: a database does not exist.
        ProtectedError: a database was loaded as a more protected environment.
        DataloaderError: the server can't be reached.
    """
    result = MergeResult()
    conflicts = Conflicts(server, target)

    def note(source: Source, finding: Finding, what: State | Outcome) -> None:
        result.leftovers += what is State.LEFTOVER
        conflicts(source, finding, what)

    of_cards = [each for each in sources if each.role is Role.CARD]
    planned = plan(server, target, of_cards, on_progress=on_progress, on_finding=note)
    for name in planned.missing_databases:
        raise missing(server.database(name))
    result.open = conflicts.found
    result.unused = [beginning for beginning in keep if not _keep(result.open, beginning)]
    return result


def _branch(loaded: LoadedSets, source: Source, finding: Finding, leaf: Document) -> Branch:
    before = loaded.before(source, finding, leaf)
    changed = None if before is None else tuple(changed_terms(before, preferences_in(leaf) or {}))
    return Branch(leaf, changed)


def _keep(found: list[SetInConflict], beginning: str) -> bool:
    """Note which revision to keep; return whether there is one."""
    matches = [
        (at, branch) for at, each in enumerate(found) for branch in each.branches if branch.rev.startswith(beginning)
    ]
    if len(matches) > 1:
        rule = "matches several revisions"
        raise UsageError(f"--keep {beginning}", rule=rule, todo="give more of its characters")
    for at, branch in matches:
        found[at] = SetInConflict(found[at].database, found[at].branches, branch)
    return bool(matches)


def merge(server: Server, target: Target, found: MergeResult, *, on_progress: OnProgress | None = None) -> MergeResult:
    """Merge the preference sets that can be; the others stay as they are.

    First the merged revision is written, with all changes; only then are the other leaves deleted. So nothing is lost
    if it is interrupted, and running it again continues.

    Args:
        server: the target's server.
        target: the target.
        found: the conflicts.
        on_progress: called after each batch.

    Raises:
        NodesError: a node of the cluster is down; nothing is written.
        ProtectedError: a database was loaded as a more protected environment.
        ProtocolError: a database was recreated or restored meanwhile.
        DataloaderError: the server failed after all retries, or refused.
    """
    result = MergeResult(
        open=[each for each in found.open if each.merged is None], leftovers=found.leftovers, unused=found.unused
    )
    ready = [each for each in found.open if each.merged is not None]
    if ready and (away := server.nodes().away):
        raise NodesError(
            ", ".join(sorted(away)),
            rule="is down; existing documents are not changed",
            todo="start it, then run it again",
        )
    identities = Identities(server, target)
    try:
        for some in chunks(ready, _AT_ONCE):
            # Check with every batch: somebody may have marked a database as more protected meanwhile.
            guard(server, target)
            for name in dict.fromkeys(each.database for each in some):
                _merge(server, target, name, [each for each in some if each.database == name], result)
            identities.note_writes()
            if on_progress is not None:
                on_progress("merging", len(result.merged), len(ready))
        if ready:
            identities.check("preference sets were merged")
            result.nodes_away, result.short_of_copies = server.nodes().away, server.short_of_copies
    except DataloaderError as error:
        tell_how_far(error, len(result.merged), len(ready), "documents", has_written=True)
        raise
    return result


_AT_ONCE = 100
"""Sets to write before their other leaves are deleted."""


def _merge(server: Server, target: Target, name: str, sets: list[SetInConflict], result: MergeResult) -> None:
    database = server.database(target.database(name))
    # It may be there already: written by a run that was interrupted, or kept as it is.
    done = [each for each in sets if each.merged == _whole(each.base.leaf)]
    missing = [each for each in sets if each not in done]
    for each, written in zip(missing, write_over(database, [each.merged or {} for each in missing]), strict=True):
        # Where it is not there, somebody has edited the set meanwhile, and the next run finds out what.
        if written.is_plain or written.own:
            done.append(each)
        elif not written.is_conflict:
            result.rejections.append(Rejection(each.id, written.reason))
    others = [leaf for each in done for leaf in each.others]
    # The deletion keeps what it deletes.
    deleted = write_over(database, [{**superseded(leaf), "document": content(leaf)} for leaf in others])
    still = [each for each in deleted if not each.is_plain and len(live_leaves(each.leaves)) > 1]
    result.rejections += [Rejection(each.document["_id"], each.reason) for each in still if not each.is_conflict]
    stay = {each.document["_id"] for each in still}
    result.merged += [each for each in done if each.id not in stay]
    result.open += [each for each in sets if each not in done or each.id in stay]


def _whole(leaf: Document) -> Document:
    return {key: value for key, value in leaf.items() if key != "_revisions"}


def _copied(document: Document) -> Document:
    # deepcopy() fails for a value that is nested more deeply than Python's stack, which an owner may write.
    found: Document = msgspec.json.decode(msgspec.json.encode(document))
    return found


def _contexts(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the contexts of the preference set in a document, which may have any form."""
    flat = (preferences_in(document) or {}).get("flat")
    contexts = flat.get("contexts") if isinstance(flat, dict) else None
    for name, context in (contexts if isinstance(contexts, dict) else {}).items():
        if isinstance(context, dict) and isinstance(context.get("preferences"), dict):
            yield name, context["preferences"]


def _without_terms(leaf: Document) -> Document:
    rest = _copied(content(leaf))
    for _, preferences in _contexts(rest):
        preferences.clear()
    return rest


def _set(document: Document, changed: ChangedTerm) -> None:
    # Every branch may have removed a whole context.
    preferences = dict(_contexts(document)).get(changed.term.context, {})
    if changed.after == ABSENT:
        preferences.pop(changed.term.term, None)
    else:
        preferences[changed.term.term] = msgspec.json.decode(changed.after)
