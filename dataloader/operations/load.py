"""Load documents: bring a target to the state described by the input.

Absent documents are created by replication from a batch on disk: the revision of each is computed from its content, so
a load can be repeated, interrupted, or run twice at once with the same result. Existing documents are changed by
compare-and-swap only, so no acknowledged edit is lost.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

from dataloader.common import (
    NODES_WAIT,
    DataloaderError,
    OnProgress,
    Prepared,
    ProtocolError,
    UsageError,
    live_leaves,
    tell_how_far,
)
from dataloader.couch import Database, NotFoundError, Rejection, Server
from dataloader.operations.identity import Identity
from dataloader.operations.plan import (
    OnFinding,
    card_key,
    find_former,
    find_older_snapsets,
    find_unlisted_snapsets,
    findings,
    rules_of,
    step_name,
)
from dataloader.operations.restore import half_restored
from dataloader.operations.sources import DESIGN_KIND, Source
from dataloader.records.models import Role
from dataloader.replication import (
    NEEDS_ATTENTION,
    Finding,
    KindRules,
    Outcome,
    State,
    batches,
    build_views,
    classify,
    in_parallel,
    outcome_of,
    repair,
    stage,
    superseded,
    unstage,
    update,
    write_over,
)
from dataloader.target import (
    Environment,
    Marker,
    Memory,
    Target,
    Versions,
    check_marker,
    guard,
    remember,
    sensible_shards,
)

KEPT_FAILURES = 100
"""Rejected documents to keep with their reasons; all are counted."""
FEW = 1_000
"""Documents of a source that can be read again quickly; with more, not all can collide with another write."""
TURNS = 3
"""How often to start a load again if a database was recreated or restored meanwhile."""
_AWAY_LOOK = 1.0
"""Seconds between checks of whether a node is up again."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Which existing documents a load may change, and the layout of databases that it has to create."""

    update: bool = False
    """Whether to replace outdated documents."""
    replace_views: bool = False
    """Whether to replace foreign design documents, too."""
    replace_snapsets: bool = False
    """Whether to replace snapsets' own documents that others have changed, deleted or written, too; if the model's
    servers refuse to change snapsets, they are replaced anyway."""
    older_snapsets: bool = False
    """Whether to update to older versions of snapsets than the last loaded ones."""
    shards: int | None = None
    """Shards of a new database, CouchDB's ``q``; None for a number that suits the documents."""
    replicas: int | None = None
    """Copies of each shard, CouchDB's ``n``; None for the server's default."""

    def replaced(self, target: Target, source: Source) -> frozenset[State]:
        """Return the states in which a document of a source is replaced."""
        states = {State.OUTDATED} if self.update else set()
        if source.kind == DESIGN_KIND:
            # A design document belongs to no user: a deleted one is restored.
            states |= {State.DELETED} | (_OTHERS if self.replace_views else set())
        elif source.role is Role.SNAPSET and (self.replace_snapsets or target.model.fixes_snapsets):
            states |= {State.DELETED} | _OTHERS
        return frozenset(states)


_OTHERS = {State.EDITED, State.FOREIGN, State.CONFLICT}


@dataclass
class LoadResult:
    """The result of a load."""

    outcomes: dict[str, dict[str, Counter[Outcome]]] = field(default_factory=dict)
    """Counts by database (without prefix) and kind of document."""
    created_databases: list[str] = field(default_factory=list)
    failures: list[Rejection] = field(default_factory=list)
    raised: dict[str, Environment] = field(default_factory=dict)
    """Databases that were loaded as a less protected environment before, and which."""
    older_snapsets: list[str] = field(default_factory=list)
    """Snapsets older than the version that was loaded last."""
    unlisted_snapsets: list[str] = field(default_factory=list)
    """Snapsets on the target that are not in the folder."""
    repaired: int = 0
    """Conflicting leaves of interrupted loads that were deleted, and documents deleted by such loads that were written
    again."""
    nodes_away: tuple[str, ...] = ()
    """Nodes of the cluster that were down before the load, during it, or after it."""
    short_of_copies: bool = False
    """Whether the server reported a write with fewer copies than requested."""
    views_built: int = 0
    half_restored: list[str] = field(default_factory=list)
    """Databases into which a backup was being restored, and is not complete."""
    missing_views: dict[str, list[str]] = field(default_factory=dict)
    """Views that a kept design document lacks, by the full name of their database."""
    seconds: float = 0.0
    seconds_indexing: float = 0.0
    """Of these, the seconds it took to build the views' indexes."""

    def count(self, outcome: Outcome) -> int:
        """Return the number of documents with an outcome."""
        return sum(counts[outcome] for kinds in self.outcomes.values() for counts in kinds.values())

    @property
    def documents(self) -> int:
        """The number of finished documents."""
        return sum(counts.total() for kinds in self.outcomes.values() for counts in kinds.values())

    @property
    def needs_attention(self) -> int:
        """The number of documents that need a decision."""
        return sum(self.count(outcome) for outcome in NEEDS_ATTENTION)


def load(
    server: Server,
    target: Target,
    sources: Sequence[Source],
    options: LoadOptions = LoadOptions(),
    *,
    before: Callable[[], bool] | None = None,
    on_progress: OnProgress | None = None,
    on_finding: OnFinding | None = None,
) -> LoadResult:
    """Load the documents of the sources to a target, and build the indexes of its views.

    Args:
        server: the target's server.
        target: the target.
        sources: what to load, in this order.
        options: what it may change besides adding documents.
        before: called once the databases exist, and again if one was recreated or restored; returns whether it may have
            written to them.
        on_progress: called after each batch.
        on_finding: called for each document that is neither absent nor unchanged.

    Raises:
        DataloaderError: the server failed after the last retry, or refused; what was written stays, and running the
            load again continues.
        ProtocolError: a database was repeatedly recreated or restored during the load.
        ProtectedError: a database was loaded as a more protected environment, or sample data is not allowed on the
            target.
        UsageError: an update to older versions of snapsets than the last loaded ones, unless allowed.
    """
    start = time.monotonic()
    for source in sources:
        if source.is_sample:
            target.refuse(f"sample data ({source.kind} of {source.origin})", "load manifests and snapsets only")
    run = _Run(server, target, sources, options, before, on_progress, on_finding)
    result = run.result
    try:
        run.carry_out()
    except DataloaderError as error:
        tell_how_far(error, result.documents, run.total, "documents", has_written=run.has_written)
        raise
    result.nodes_away = tuple(sorted(server.seen_away))
    result.short_of_copies = server.short_of_copies
    result.seconds = time.monotonic() - start
    return result


class _Run:
    """One run of a load."""

    def __init__(
        self,
        server: Server,
        target: Target,
        sources: Sequence[Source],
        options: LoadOptions,
        before: Callable[[], bool] | None,
        on_progress: OnProgress | None,
        on_finding: OnFinding | None,
    ) -> None:
        self.result = LoadResult()
        self.total = sum(source.count for source in sources)
        self.has_written = False
        """Whether something may have been written."""
        self._server = server
        self._target = target
        self._sources = sources
        self._options = options
        self._before = before
        self._on_progress = on_progress
        self._on_finding = on_finding
        self._databases = {name: server.database(target.database(name)) for name in target.model.databases}
        self._versions: dict[str, dict[str, str]] = {name: {} for name in self._databases}
        for source in sources:
            self._versions[source.database] |= source.versions()
        self._tallies = {source: _Tally() for source in sources}
        self._nodes = _AllNodes(server)
        self._begun: dict[str, Identity] = {}
        self._fresh: set[str] = set()
        self._written: Counter[str] = Counter()
        self._lost: set[str] = set()
        self._fetched: set[Source] = set()

    def carry_out(self) -> None:
        """Load everything; start again if a database was recreated or restored meanwhile."""
        self._server.welcome()
        for turn in range(TURNS):
            try:
                self._take_turn(is_first=turn == 0)
            except NotFoundError:
                # A database may be missing for a moment while somebody recreates it.
                if not self._begun or self._is_whole():
                    raise
                continue
            if self._is_whole():
                return
        names = sorted(database.name for database in self._databases.values())
        raise ProtocolError(
            f"{'database' if len(names) == 1 else 'one of the databases'} {', '.join(names)}",
            rule=f"was recreated or restored while it was loaded, {TURNS} times",
            todo="find out who does this, then run the load again",
        )

    def _take_turn(self, *, is_first: bool) -> None:
        memory = guard(self._server, self._target)
        if is_first:
            self._see_memory(memory)
        self._open_databases(fresh=is_first)
        if is_first and not self.result.created_databases:
            self.result.unlisted_snapsets = find_unlisted_snapsets(self._target, self._databases, self._sources, memory)
        remembers_anew = self._remember(memory)
        if self._before is not None and self._before():
            self._note_writes()
        self._bring()
        self._settle()
        if remembers_anew:
            # Another load that started at the same time may have written last.
            self._remember(guard(self._server, self._target))
        # A restore writes the views last.
        if self._has_new_views() and not self.result.created_databases:
            self.result.half_restored = half_restored(self._databases.values())
        documents_done = time.monotonic()
        self.result.views_built, self.result.missing_views = build_views(self._server, self._target, self._on_progress)
        self.result.seconds_indexing += time.monotonic() - documents_done
        self._server.nodes()

    def _has_new_views(self) -> bool:
        return any(kinds.get(DESIGN_KIND, Counter())[Outcome.CREATED] for kinds in self.result.outcomes.values())

    def _see_memory(self, memory: Memory) -> None:
        self.result.raised = memory.raised(self._target)
        older = find_older_snapsets(self._target, self._sources, memory)
        if self._options.update and not self._options.older_snapsets:
            refuse_older(older)
        self.result.older_snapsets = older
        if not self._options.older_snapsets:
            for name, versions in self._versions.items():
                for label in memory.markers[self._target.database(name)].older(versions):
                    # Loaded again, but not the newest.
                    del versions[label]

    def _remember(self, memory: Memory) -> bool:
        versions: dict[str, Versions] = {**self._versions}
        return remember(self._server, self._target, memory, versions)

    def _open_databases(self, *, fresh: bool) -> None:
        shards = self._options.shards or sensible_shards(self.total)
        one_node = len(self._server.nodes().expected) <= 1
        self._written.clear()
        self._fresh.clear()
        for name, database in self._databases.items():
            info = database.info()
            created = info is None and database.create(shards=shards, replicas=self._options.replicas)
            if created and database.name not in self.result.created_databases:
                self.result.created_databases.append(database.name)
            self._begun[name] = self._identity(database, info)
            # In a cluster, a node that was down may not know of updates; then only our own creation is proof.
            if fresh and self._begun[name].sequence == 0 and (created or one_node):
                self._fresh.add(name)

    def _note_writes(self) -> None:
        """Note that others have written to the databases since they were opened."""
        self._fresh.clear()
        for name, database in self._databases.items():
            self._begun[name] = replace(self._begun[name], sequence=self._identity(database).sequence)

    def _identity(self, database: Database, info: Mapping[str, Any] | None = None) -> Identity:
        info = info or database.info()
        if info is None:
            raise ProtocolError(
                f"database {database.name}", rule="was deleted while it was loaded", todo="run the load again"
            )
        if info["partitioned"]:
            raise ProtocolError(
                f"database {database.name}",
                rule="is partitioned, and the IDs of our documents name no partition",
                todo="use databases that are not partitioned, with another prefix",
            )
        return Identity.of(info)

    def _is_whole(self) -> bool:
        """Return whether the databases are still the loaded ones, with everything that was written."""
        return all(self._is_same(name) for name in self._databases)

    def _is_same(self, name: str) -> bool:
        database, begun = self._databases[name], self._begun[name]
        if name in self._lost:
            self._lost.discard(name)
            return False
        with suppress(NotFoundError):
            if check_marker(database, self._target).environment is None:
                return False
        # If another load wrote the same revisions, which counts once, the next check finds everything.
        return begun.is_same(database, self._written[name])

    def _bring(self) -> None:
        """Write the absent documents of the sources, and update outdated ones if requested.

        All sources go through one pipeline, so that the server does not idle between them.
        """
        done: Counter[Source] = Counter()
        for source in self._sources:
            self._counts(source)
            self._tallies[source].rewind()
        for batch in in_parallel(self._see_to, self._shares(), waits_for=_waits_for):
            source = batch.source
            counts, tally = self._counts(source), self._tallies[source]
            for finding, outcome in batch.outcomes:
                said, is_new = tally.add(outcome, counts)
                is_worth_telling = is_new and finding.state not in {State.ABSENT, State.UNCHANGED}
                if is_worth_telling and self._on_finding is not None:
                    self._on_finding(source, finding, said)
            for kind, finding, outcome in batch.former:
                self.result.outcomes[source.database].setdefault(kind, Counter())[outcome] += 1
                if self._on_finding is not None:
                    self._on_finding(replace(source, kind=kind), finding, outcome)
            self._written[source.database] += batch.written
            self.result.repaired += batch.repaired
            self.result.failures += batch.failures[: KEPT_FAILURES - len(self.result.failures)]
            done[source] += len(batch.outcomes)
            if self._on_progress is not None:
                self._on_progress(step_name(source), done[source], source.count)
            self._server.watch_nodes()

    def _counts(self, source: Source) -> Counter[Outcome]:
        return self.result.outcomes.setdefault(source.database, {}).setdefault(source.kind, Counter())

    def _shares(self) -> Iterator["_Share"]:
        seen: set[tuple[str, object]] = set()
        for source in self._sources:
            key = (source.kind, source.role)
            again = key in seen
            seen.add(key)
            # An untouched database holds no documents, except those written by this run: two batches with the same seed
            # may share UUIDs.
            fresh = source.database in self._fresh and not again
            start = 0
            for documents in batches(source.prepared()):
                yield _Share(source, documents, start, fresh=fresh, again=again)
                start += len(documents)

    def _see_to(self, share: "_Share") -> "_Done":
        source, database = share.source, self._databases[share.source.database]
        # Check with every batch: somebody may have marked the database as more protected meanwhile.
        marker = check_marker(database, self._target)
        if marker.environment is None:
            # It was recreated; its environment is recorded again before anything else is written.
            self._lost.add(source.database)
            self._remember(Memory({each.name: Marker() for each in self._databases.values()}))
        elif not marker.brought.issuperset(self._versions[source.database].values()):
            # Another load that started at the same time overwrote our record. Versions that are not recorded count as
            # edits, and two loads that mistake each other's versions for edits repair them badly.
            self._remember(Memory({each.name: Marker() for each in self._databases.values()}))
            marker = check_marker(database, self._target)
        rules = rules_of(source, marker)
        if share.fresh and source.database not in self._lost:
            found = [Finding(document, State.ABSENT) for document in share.documents]
        else:
            found = classify(database, share.documents, rules, fetch=source in self._fetched)
            self._note_fetched(source, found)
        return self._carry_out(database, source, found, rules)

    def _note_fetched(self, source: Source, found: Sequence[Finding]) -> None:
        """Record whether most documents of a source have to be fetched, as after an update."""
        hashes = [leaf["_rev"].partition("-")[2] for finding in found for leaf in finding.leaves]
        ours = {finding.document.hash for finding in found}
        if sum(each not in ours for each in hashes) > len(found) / 2:
            self._fetched.add(source)
        else:
            self._fetched.discard(source)

    def _carry_out(self, database: Database, source: Source, found: list[Finding], rules: KindRules) -> "_Done":
        done = _Done(source)
        replaced = self._options.replaced(self._target, source)
        self.has_written |= any(each.state in {State.ABSENT, State.LEFTOVER, *replaced} for each in found)
        waits = False
        if any(finding.state is State.LEFTOVER for finding in found):
            waits = not self._nodes.are_there()
            if not waits:
                found, done.repaired = repair(database, found, rules)
                done.written += done.repaired
        outcomes = self._create(database, found, done)
        outdated = [finding for finding in found if finding.state in replaced]
        if outdated and self._nodes.are_there():
            outcomes |= self._replace(database, outdated, replaced, done)
        elif outdated:
            outcomes |= dict.fromkeys((finding.document.id for finding in outdated), Outcome.WAITING)
        if source.kind == DESIGN_KIND and not waits:
            there = [each.document.id for each in found if each.state is State.UNCHANGED or each in outdated]
            done.written += unstage(database, there)
        self._remove_former(database, source, found, outcomes, done)
        for finding in found:
            if waits and finding.state is State.LEFTOVER:
                outcome = Outcome.WAITING
            else:
                outcome = outcomes.get(finding.document.id) or outcome_of(finding.state)
            done.outcomes.append((finding, outcome))
        return done

    def _rules(self, source: Source) -> KindRules:
        return rules_of(source, check_marker(self._databases[source.database], self._target))

    def _create(self, database: Database, found: Sequence[Finding], done: "_Done") -> dict[str, Outcome]:
        """Create absent documents by replication: another load of the same documents writes the same revisions."""
        absent = [finding.document for finding in found if finding.state is State.ABSENT]
        rejected = database.write([each.write() for each in absent]) if absent else []
        done.written += len(absent) - len(rejected)
        done.failures += rejected
        refused = {rejection.id for rejection in rejected}
        return {each.id: Outcome.FAILED if each.id in refused else Outcome.CREATED for each in absent}

    def _replace(
        self,
        database: Database,
        outdated: Sequence[Finding],
        replaced: frozenset[State],
        done: "_Done",
    ) -> dict[str, Outcome]:
        if done.source.kind == DESIGN_KIND:
            designs = [each.document for each in outdated]
            done.written += stage(self._server, self._target.model, database, designs, self._on_progress)
        updated = update(database, outdated, lambda: self._rules(done.source), replaced)
        done.written += updated.written
        done.failures += updated.rejections
        return {finding.document.id: outcome for finding, outcome in zip(outdated, updated.outcomes, strict=True)}

    def _remove_former(
        self,
        database: Database,
        source: Source,
        found: Sequence[Finding],
        outcomes: Mapping[str, Outcome],
        done: "_Done",
    ) -> None:
        """Delete obsolete documents of earlier versions whose documents have been updated since; keep edited ones."""
        there = find_former(database, self._target.model, source, found)
        ready = {
            card_key(finding.document.id)
            for finding in found
            if outcomes.get(finding.document.id, finding.state) in {Outcome.UPDATED, State.UNCHANGED}
        }
        gone = [each for each in there if each.state is State.UNCHANGED and card_key(each.document.id) in ready]
        removed: set[str] = set()
        if gone and self._options.update and self._nodes.are_there():
            leaves = database.leaves([each.document.id for each in gone], all_copies=True)
            edits = [superseded(leaf) for each in gone for leaf in live_leaves(leaves[each.document.id])]
            written = write_over(database, edits)
            done.written += sum(bool(each.rev) for each in written)
            removed = {each.document["_id"] for each in written if each.is_plain}
        for each in there:
            if each.document.id in removed:
                outcome = Outcome.REMOVED
            elif each.state is State.UNCHANGED:
                outcome = Outcome.OUTDATED
            else:
                outcome = outcome_of(each.state)
            done.former.append((self._target.model.former[source.kind].name, each, outcome))

    def _settle(self) -> None:
        """Check created documents again if somebody else wrote to a database during the load.

        Between the check and the write, another load with other input, or a person, may have created the same document;
        then ours has to be deleted. If a database counts only our own updates, that is unlikely, but possible: CouchDB
        counts two simultaneous writes of a document as one. So whatever can be checked quickly is always checked.
        """
        for name, database in self._databases.items():
            quiet = database.update_seq() == self._begun[name].sequence + self._written[name]
            for source in self._sources:
                tally = self._tallies[source]
                if source.database == name and tally.has(Outcome.CREATED) and not (quiet and source.count > FEW):
                    self._settle_source(database, source)

    def _settle_source(self, database: Database, source: Source) -> None:
        rules = self._rules(source)
        tally, counts = self._tallies[source], self._counts(source)
        done = 0
        for batch in findings(database, source, rules):
            created = [finding for at, finding in enumerate(batch, done) if tally.at(at) is Outcome.CREATED]
            doubtful = [each for each in created if each.state in {State.LEFTOVER, State.CONFLICT}]
            if not doubtful or not self._nodes.are_there():
                repaired, deleted = doubtful, 0
            else:
                repaired, deleted = repair(database, doubtful, rules)
            self._written[source.database] += deleted
            found = {finding.document.id: finding for finding in repaired}
            for at, finding in enumerate(batch, done):
                after = found.get(finding.document.id)
                if after is not None and after.state is not State.UNCHANGED:
                    outcome = Outcome.WAITING if after.state is State.LEFTOVER else outcome_of(after.state)
                    tally.correct(at, outcome, counts)
                    if self._on_finding is not None:
                        self._on_finding(source, after, outcome)
            done += len(batch)
            if self._on_progress is not None:
                self._on_progress(f"{step_name(source)}, checking again", done, source.count)


class _Tally:
    """The outcome of each document of a source, in order, so that counts can be corrected exactly."""

    _ALL = tuple(Outcome)

    def __init__(self) -> None:
        self._outcomes = bytearray()
        self._next = 0

    def rewind(self) -> None:
        """Start again with the first document."""
        self._next = 0

    def add(self, outcome: Outcome, counts: Counter[Outcome]) -> tuple[Outcome, bool]:
        """Record the outcome of the next document; return what to report, and whether it is new."""
        at = self._next
        self._next += 1
        if at == len(self._outcomes):
            self._outcomes.append(self._ALL.index(outcome))
            counts[outcome] += 1
            return outcome, True
        before = self.at(at)
        if outcome is before or (outcome is Outcome.UNCHANGED and before in {Outcome.CREATED, Outcome.UPDATED}):
            return before, False
        self.correct(at, outcome, counts)
        return outcome, True

    def at(self, at: int) -> Outcome:
        """Return the outcome of a document by its index."""
        return self._ALL[self._outcomes[at]]

    def has(self, outcome: Outcome) -> bool:
        """Return whether any document has an outcome."""
        return self._ALL.index(outcome) in self._outcomes

    def correct(self, at: int, outcome: Outcome, counts: Counter[Outcome]) -> None:
        """Change the outcome of a counted document."""
        counts[self.at(at)] -= 1
        counts[outcome] += 1
        self._outcomes[at] = self._ALL.index(outcome)


class _AllNodes:
    """Whether all nodes of a cluster are connected; otherwise no existing document is changed."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = Lock()
        self._given_up = False

    def are_there(self) -> bool:
        """Return whether they are; waits for missing nodes for a while, once per run."""
        with self._lock:
            end = time.monotonic() + NODES_WAIT
            while not self._given_up and self._server.nodes().away:
                self._given_up = time.monotonic() >= end
                if not self._given_up:
                    time.sleep(_AWAY_LOOK)
            return not self._given_up


@dataclass(frozen=True, slots=True)
class _Share:
    """A few documents of a source that are processed together."""

    source: Source
    documents: list[Prepared]
    start: int
    """The number of documents of the source before them."""
    fresh: bool
    """Whether none of them can exist."""
    again: bool
    """Whether an earlier source of this run may have the same documents."""


def _waits_for(earlier: _Share, later: _Share) -> bool:
    """Return whether documents must be written before others, which refer to them.

    Each source of a batch has the cards in the same order, so equal positions are equal cards.
    """
    if earlier.source is later.source:
        return False
    return later.again or earlier.start < later.start + len(later.documents)


@dataclass
class _Done:
    """The result of a share."""

    source: Source
    outcomes: list[tuple[Finding, Outcome]] = field(default_factory=list)
    written: int = 0
    repaired: int = 0
    failures: list[Rejection] = field(default_factory=list)
    former: list[tuple[str, Finding, Outcome]] = field(default_factory=list)
    """Obsolete documents of earlier versions: the kind, the document, and its outcome."""


def refuse_older(snapsets: Sequence[str]) -> None:
    """Refuse an update that would go back to snapsets older than those loaded last.

    Raises:
        UsageError: there are such snapsets.
    """
    if snapsets:
        are = "are older than the versions" if len(snapsets) > 1 else "is older than the version"
        raise UsageError(
            f"{'snapsets' if len(snapsets) > 1 else 'snapset'} {', '.join(snapsets)}",
            rule=f"{are} loaded last, which --update would roll back",
            todo="get the newest snapsets, or add --older-snapsets to go back",
        )
