"""Loads: bringing a target to the state that the input describes.

A load is replication from a batch on disk: nothing is written before it is known to be absent, each
document has the revision that its content gives it, and so a load can be repeated, interrupted, or run
twice at once, and comes to the same end.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dataloader.common import DataloaderError, Document, OnProgress, Prepared, history, no_progress, rank, tell_how_far
from dataloader.couch import Database, Rejection, Server
from dataloader.operations.plan import OnFinding, findings, no_finding, step_name
from dataloader.operations.sources import DESIGN_KIND, Source
from dataloader.replication import (
    Finding,
    State,
    batches,
    build_views,
    classify,
    give_way,
    in_parallel,
    is_loaders,
    look_again,
    stage,
    unstage,
)
from dataloader.target import DEFAULT_LAYOUT, DatabaseLayout, Environment, Target, guard, remember, sensible_shards

KEPT_FAILURES = 100
"""Rejected documents that are kept with their reasons; all are counted."""


FEW = 1_000
"""Documents of a source that are looked at again in no time; more than these can't all meet another's in one write."""


class Outcome(StrEnum):
    """What became of a document; each has one."""

    CREATED = "created"
    UNCHANGED = "unchanged"
    EDITED = "edited"
    DELETED = "deleted"
    OUTDATED = "outdated"
    UPDATED = "updated"
    FOREIGN = "foreign"
    CONFLICTED = "conflicted"
    FAILED = "failed"


NEEDS_ATTENTION = (Outcome.OUTDATED, Outcome.FOREIGN, Outcome.CONFLICTED, Outcome.FAILED)
"""Outcomes after which the document is not there, nor changed by its owner."""


@dataclass
class LoadResult:
    """What a load did."""

    outcomes: dict[str, dict[str, Counter[Outcome]]] = field(default_factory=dict)
    """Counts by database (without prefix) and kind of document."""
    created_databases: list[str] = field(default_factory=list)
    failures: list[Rejection] = field(default_factory=list)
    raised: dict[str, Environment] = field(default_factory=dict)
    """Databases that were loaded as something less protected before, and as what."""
    nodes_away: tuple[str, ...] = ()
    """Nodes of the cluster that were away before the load, during it, or after it."""
    short_of_copies: bool = False
    """Whether the server said of a write that it made fewer copies than wanted."""
    views_built: int = 0
    seconds: float = 0.0
    seconds_indexing: float = 0.0
    """Of these, how many it took until the views' indexes were built."""

    def count(self, outcome: Outcome) -> int:
        """Return how many documents came to an outcome."""
        return sum(counts[outcome] for kinds in self.outcomes.values() for counts in kinds.values())

    @property
    def documents(self) -> int:
        """How many documents were seen to."""
        return sum(counts.total() for kinds in self.outcomes.values() for counts in kinds.values())

    @property
    def needs_attention(self) -> int:
        """How many documents a person has to look at."""
        return sum(self.count(outcome) for outcome in NEEDS_ATTENTION)


def load(
    server: Server,
    target: Target,
    sources: Sequence[Source],
    *,
    update: bool = False,
    replace_views: bool = False,
    layout: DatabaseLayout = DEFAULT_LAYOUT,
    on_progress: OnProgress = no_progress,
    on_finding: OnFinding = no_finding,
) -> LoadResult:
    """Bring a target to the state that the sources describe, and build the indexes of its views.

    Args:
        server: the target's server.
        target: the target.
        sources: what to bring, in this order.
        update: whether to replace what is outdated.
        replace_views: whether to replace design documents that are not ours, too; never anything else.
        layout: how databases are laid out that have to be created.
        on_progress: told of each batch.
        on_finding: told of each document that was neither absent nor unchanged.

    Raises:
        DataloaderError: the server failed to the last retry, or refused; what was written stays, and
            running the load again goes on from there.
        ProtectedError: a database was loaded as something more protected, or sample data for a target that
            never gets any.
    """
    start = time.monotonic()
    for source in sources:
        if source.is_sample:
            target.refuse(f"sample data ({source.kind} of {source.origin})", "load manifests and snapsets only")
    replaced = frozenset({State.OUTDATED} if update else ())
    # A design document is not a person's: one that was deleted comes back.
    views_replaced = replaced | {State.DELETED} | ({State.EDITED, State.FOREIGN} if replace_views else set())
    result = LoadResult()
    total = sum(source.count for source in sources)
    try:
        names_leaves = server.welcome().names_leaves
        memory = guard(server, target)
        result.raised = memory.raised(target)
        run = _Load(
            server,
            target,
            (replaced, views_replaced),
            result,
            names_leaves=names_leaves,
            one_node=len(server.nodes().expected) <= 1,
            on_progress=on_progress,
            on_finding=on_finding,
        )
        run.create_databases(layout, total)
        remembers_anew = remember(server, target, memory)
        run.bring(sources)
        run.settle(sources)
        if remembers_anew:
            # Another first load, which began at the same moment, may have had the last word.
            remember(server, target, guard(server, target))
        documents_done = time.monotonic()
        result.views_built = build_views(server, target, on_progress)
        result.seconds_indexing = time.monotonic() - documents_done
        server.nodes()
    except DataloaderError as error:
        tell_how_far(error, result.documents, total, "documents")
        raise
    result.nodes_away = tuple(sorted(server.seen_away))
    result.short_of_copies = server.short_of_copies
    result.seconds = time.monotonic() - start
    return result


class _Load:
    """One run of a load."""

    def __init__(
        self,
        server: Server,
        target: Target,
        replaced: tuple[frozenset[State], frozenset[State]],
        result: LoadResult,
        *,
        names_leaves: bool,
        one_node: bool,
        on_progress: OnProgress,
        on_finding: OnFinding,
    ) -> None:
        self.result = result
        self._one_node = one_node
        self._server = server
        self._names_leaves = names_leaves
        self._target = target
        self._replaced, self._views_replaced = replaced
        self._on_progress = on_progress
        self._on_finding = on_finding
        self._databases = {name: server.database(target.database(name)) for name in target.model.databases}
        self._start_seq: dict[str, int] = {}
        self._fresh: set[str] = set()
        self._written: Counter[str] = Counter()
        self._wrote: set[Source] = set()
        self._known_conflicts: set[str] = set()

    def create_databases(self, layout: DatabaseLayout, documents: int) -> None:
        shards = layout.shards or sensible_shards(documents)
        for name, database in self._databases.items():
            created = not database.exists() and database.create(shards=shards, replicas=layout.replicas)
            if created:
                self.result.created_databases.append(database.name)
            self._start_seq[name] = database.update_seq()
            # In a cluster, a node that was away may not know of updates; there only our own creation is proof.
            if self._start_seq[name] == 0 and (created or self._one_node):
                self._fresh.add(name)

    def bring(self, sources: Sequence[Source]) -> None:
        """Write what is absent of the sources, and update what is outdated where that is wanted.

        All of them go through one pipeline, so that the server has no pause where one ends and the next begins.
        """
        done: Counter[Source] = Counter()
        for batch in in_parallel(self._see_to, self._shares(sources), waits_for=_waits_for):
            source = batch.source
            counts = self._counts(source)
            for finding, outcome in batch.outcomes:
                counts[outcome] += 1
                if finding.state not in {State.ABSENT, State.UNCHANGED}:
                    self._on_finding(source, finding)
                if outcome is Outcome.CONFLICTED:
                    self._known_conflicts.add(finding.document.id)
            self._written[source.database] += batch.written
            if batch.written:
                self._wrote.add(source)
            self.result.failures += batch.failures[: KEPT_FAILURES - len(self.result.failures)]
            done[source] += len(batch.outcomes)
            self._on_progress(step_name(source), done[source], source.count)
            self._server.watch_nodes()

    def _counts(self, source: Source) -> Counter[Outcome]:
        return self.result.outcomes.setdefault(source.database, {}).setdefault(source.kind, Counter())

    def _shares(self, sources: Sequence[Source]) -> Iterator["_Share"]:
        seen: set[tuple[str, object]] = set()
        for source in sources:
            self._counts(source)
            key = (source.kind, source.role)
            again = key in seen
            seen.add(key)
            # Nothing can be there in a database that no update has ever reached, unless this run has put it
            # there: two batches may share UUIDs where they were made from one seed.
            fresh = source.database in self._fresh and not again
            start = 0
            for documents in batches(source.prepared()):
                yield _Share(source, documents, start, fresh=fresh, again=again)
                start += len(documents)

    def _see_to(self, share: "_Share") -> "_Done":
        source, database = share.source, self._databases[share.source.database]
        if share.fresh:
            found = [Finding(document, State.ABSENT) for document in share.documents]
        else:
            found = classify(database, share.documents, source.schema, names_leaves=self._names_leaves)
        return self._carry_out(database, source, found)

    def _carry_out(self, database: Database, source: Source, found: list[Finding]) -> "_Done":
        done = _Done(source)
        found = [self._made_one(database, source, finding, done) for finding in found]
        absent = [finding.document for finding in found if finding.state is State.ABSENT]
        rejected = database.write([each.write() for each in absent]) if absent else []
        done.written += len(absent) - len(rejected)
        done.failures += rejected
        refused = {rejection.id for rejection in rejected}
        replaced = self._views_replaced if source.kind == DESIGN_KIND else self._replaced
        outdated = [each for each in found if each.state in replaced]
        if source.kind == DESIGN_KIND:
            designs = [each.document for each in outdated]
            done.written += stage(self._server, database, designs, self._on_progress)
        updated = self._replace(database, source, outdated, done)
        if source.kind == DESIGN_KIND:
            there = [each.document.id for each in found if each.state is State.UNCHANGED or each in outdated]
            done.written += unstage(database, there)
        for finding in found:
            if finding.state is State.ABSENT:
                outcome = Outcome.FAILED if finding.document.id in refused else Outcome.CREATED
            else:
                outcome = updated.get(finding.document.id, Outcome(finding.state))
            done.outcomes.append((finding, outcome))
        return done

    def _made_one(self, database: Database, source: Source, finding: Finding, done: "_Done") -> Finding:
        """Leave one of several versions where loaders wrote all of them, and one was killed before it looked again."""
        if finding.state is not State.CONFLICTED or not all(map(is_loaders, finding.leaves)):
            return finding
        _, deletions = give_way(database, finding, source.schema, names_leaves=self._names_leaves)
        done.written += deletions
        [again] = look_again(database, [finding.document], source.schema, names_leaves=self._names_leaves)
        return again

    def _replace(
        self, database: Database, source: Source, outdated: list[Finding], done: "_Done"
    ) -> dict[str, Outcome]:
        """Write children of outdated documents, then look again: an edit may have come in between."""
        if not outdated:
            return {}
        bodies = {
            finding.document.id: finding.document.write_child(history(_newest(finding)))[1] for finding in outdated
        }
        rejected = database.write([bodies[finding.document.id] for finding in outdated])
        done.failures += rejected
        done.written += len(outdated) - len(rejected)
        outcomes = dict.fromkeys(bodies, Outcome.UPDATED) | {each.id: Outcome.FAILED for each in rejected}
        written = [finding.document for finding in outdated if outcomes[finding.document.id] is Outcome.UPDATED]
        known = {finding.document.id: {leaf["_rev"] for leaf in finding.leaves} for finding in outdated}
        for finding in look_again(database, written, source.schema, names_leaves=self._names_leaves):
            new = [leaf for leaf in finding.leaves if leaf["_rev"] not in known[finding.document.id]]
            if finding.state is State.CONFLICTED or (finding.live and not all(map(is_loaders, new))):
                outcomes[finding.document.id] = self._give_way(database, source, finding, new)
            elif finding.state is not State.UNCHANGED:
                # Changed or deleted on top of ours already: the edit stands, and ours is beneath it.
                outcomes[finding.document.id] = Outcome(finding.state)
        return outcomes

    def _give_way(
        self, database: Database, source: Source, finding: Finding, new: Sequence[Document] | None = None
    ) -> Outcome:
        state, deletions = give_way(database, finding, source.schema, names_leaves=self._names_leaves, new=new)
        self._written[source.database] += deletions
        return Outcome.UPDATED if state is State.UNCHANGED else Outcome(state)

    def settle(self, sources: Sequence[Source]) -> None:
        """Look again where somebody else wrote to a database during the load.

        Between the question and the write another loader, with other input, or a person may have written
        the same document; then two versions stand side by side, and ours has to give way. A database that
        counts no more updates than ours hardly has any of that: CouchDB counts two writes of a document as
        one only where they reach it together. So what takes no time is looked at all the same.
        """
        for name, database in self._databases.items():
            quiet = database.update_seq() == self._start_seq[name] + self._written[name]
            for source in sources:
                if source.database == name and not (quiet and (source not in self._wrote or source.count > FEW)):
                    self._settle(database, source)

    def _settle(self, database: Database, source: Source) -> None:
        counts = self._counts(source)
        done = 0
        for batch in findings(database, source, names_leaves=self._names_leaves):
            for finding in batch:
                if finding.state is not State.CONFLICTED or finding.document.id in self._known_conflicts:
                    continue
                outcome = self._give_way(database, source, finding)
                if outcome is not Outcome.UPDATED:
                    counts[outcome] += 1
                    counts[_written_as(counts)] -= 1
                    self._on_finding(source, finding)
            done += len(batch)
            self._on_progress(f"{step_name(source)}, looking again", done, source.count)


@dataclass(frozen=True, slots=True)
class _Share:
    """A few documents of a source, which are seen to together."""

    source: Source
    documents: list[Prepared]
    start: int
    """How many documents of the source come before them."""
    fresh: bool
    """Whether none of them can be there."""
    again: bool
    """Whether an earlier source of this run may have the same documents."""


def _waits_for(earlier: _Share, later: _Share) -> bool:
    """Tell whether documents have to be there before others: those of the same cards that these refer to.

    Each source of a batch has its cards in the same order, so that the same places are the same cards.
    """
    if earlier.source is later.source:
        return False
    return later.again or earlier.start < later.start + len(later.documents)


@dataclass
class _Done:
    """What became of a share."""

    source: Source
    outcomes: list[tuple[Finding, Outcome]] = field(default_factory=list)
    written: int = 0
    failures: list[Rejection] = field(default_factory=list)


def _written_as(counts: Counter[Outcome]) -> Outcome:
    """Return the outcome under which a document was counted that has turned out to be another's."""
    return next(each for each in (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED) if counts[each] > 0)


def _newest(finding: Finding) -> Document:
    """Return the leaf that a child is put on: the live one, or else the winning deletion."""
    return max(finding.live or finding.leaves, key=rank)
