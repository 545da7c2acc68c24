"""Find out what a load would do to each document, without writing."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dataloader.common import Document, OnProgress, content, is_valid, live_leaves, prepare
from dataloader.couch import Database, LargeReplyError, Server
from dataloader.operations.sources import Source, personas
from dataloader.records.models import Entry, Model, Role
from dataloader.replication import Finding, KindRules, Outcome, State, batches, classify, in_parallel
from dataloader.target import Environment, Marker, Memory, Target, guard

OnFinding = Callable[[Source, Finding, State | Outcome], None]
"""Called for each document that is neither absent nor unchanged, with its state in a plan or its outcome in a load."""


_UUID_LENGTH = 36


def step_name(source: Source) -> str:
    """Return the name of a source for progress messages."""
    return f"{source.database}: {source.kind}"


@dataclass
class Plan:
    """What a load would do: counts of states by database and kind of document."""

    missing_databases: list[str] = field(default_factory=list)
    """With the target's prefix."""
    raised: dict[str, Environment] = field(default_factory=dict)
    """Databases that were loaded as a less protected environment before, and which."""
    older_snapsets: list[str] = field(default_factory=list)
    """Snapsets older than the version that was loaded last."""
    unlisted_snapsets: list[str] = field(default_factory=list)
    """Snapsets on the target that are not in the folder."""
    states: dict[str, dict[str, Counter[State]]] = field(default_factory=dict)

    def count(self, state: State) -> int:
        """Return the number of documents in a state."""
        return sum(counts[state] for kinds in self.states.values() for counts in kinds.values())

    @property
    def documents(self) -> int:
        """The number of documents."""
        return sum(counts.total() for kinds in self.states.values() for counts in kinds.values())


def rules_of(source: Source, marker: Marker) -> KindRules:
    """Return how the documents of a source are classified in a database with its record."""
    return KindRules(source.schema, marker.brought, is_personal=source.is_personal)


def find_older_snapsets(target: Target, sources: Sequence[Source], memory: Memory) -> list[str]:
    """Return the names of snapsets older than the version loaded last, sorted."""
    found: set[str] = set()
    for source in sources:
        if source.role is not Role.SNAPSET:
            continue
        names = {label.removeprefix(f"{Role.SNAPSET.value} {source.kind} "): label for label in source.versions()}
        older = set(memory.markers[target.database(source.database)].older(source.versions()))
        found.update(name for name, label in names.items() if label in older)
    return sorted(found)


LISTED = 1_000
"""Documents in a range to read when looking for snapsets that are not in the folder."""


def find_unlisted_snapsets(
    target: Target, databases: Mapping[str, Database], sources: Sequence[Source], memory: Memory
) -> list[str]:
    """Return the sorted names of snapsets on the target that are not among the sources.

    A snapset is recognized by its document if its name is not a possible beginning of a UUID, or if a load of this tool
    wrote it. The result is empty if no source contains snapsets.
    """
    own = [source for source in sources if source.role is Role.SNAPSET]
    if not own:
        return []
    kind = target.model.kinds[0] if len(own) == 1 else target.model.kind(own[-1].kind)
    database = databases[kind.database]
    known = {document["_id"] for source in own if source.kind == kind.name for document in source.documents()}
    prefix = f"{Role.SNAPSET.value} {kind.name} "
    brought = {
        label.removeprefix(prefix) for label in memory.markers[database.name].versions if label.startswith(prefix)
    }
    found = {
        doc_id
        for doc_id, leaves in database.leaves(sorted({kind.id(name) for name in brought} - known)).items()
        if live_leaves(leaves)
    }
    valid = is_valid(f"{target.model.name}/{kind.name}")
    # Between UUIDs and the IDs of other kinds, and after those.
    for start, end in (("g", "prefsSafe-"), ("prefsSafe.", "\uffff")):
        there: list[Document] = []
        # Whatever is so large are not snapsets.
        with suppress(LargeReplyError):
            there = database.documents_range(start, end, limit=LISTED) or []
        found |= {each["_id"] for each in there if valid(content(each))}
    return sorted(found - known - personas())


def findings(database: Database, source: Source, rules: KindRules) -> Iterator[list[Finding]]:
    """Yield the states of a source's documents, one list per batch, in order."""
    return in_parallel(lambda batch: classify(database, batch, rules), batches(source.prepared()))


def find_former(database: Database, model: Model, source: Source, found: Sequence[Finding]) -> list[Finding]:
    """Find obsolete documents of earlier versions of this tool.

    Args:
        database: the database.
        model: the target's.
        source: the source of the documents.
        found: findings for some of them.

    Returns:
        The existing documents; one that nobody has edited is ``UNCHANGED``, and obsolete.
    """
    former = model.former.get(source.kind)
    if former is None or source.role is not Role.CARD:
        return []
    # A document with its first revision was written by this version, so there is nothing obsolete.
    is_ours = {State.UNCHANGED, State.OUTDATED}
    keys = [card_key(finding.document.id) for finding in found if finding.leaves and finding.state in is_ours]
    documents = [prepare(former.document(Entry(key, {}, "", Role.CARD))) for key in keys]
    rules = KindRules(f"{model.name}/{former.name}")
    return [each for each in classify(database, documents, rules) if not each.is_gone]


def card_key(doc_id: str) -> str:
    """Return the UUID at the end of the ID of a card's document."""
    return doc_id[-_UUID_LENGTH:]


def plan(
    server: Server,
    target: Target,
    sources: Sequence[Source],
    *,
    on_progress: OnProgress | None = None,
    on_finding: OnFinding | None = None,
) -> Plan:
    """Find out what a load would do; writes nothing.

    Raises:
        DataloaderError: the server can't be reached, or a document breaks its schema.
        ProtectedError: a database was loaded as a more protected environment.
    """
    server.welcome()
    memory = guard(server, target)
    result = Plan(raised=memory.raised(target), older_snapsets=find_older_snapsets(target, sources, memory))
    databases = {name: server.database(target.database(name)) for name in target.model.databases}
    # Requested once here, not later by several threads.
    server.nodes()
    missing = {name for name, database in databases.items() if not database.exists()}
    result.missing_databases = [databases[name].name for name in target.model.databases if name in missing]
    if not missing:
        result.unlisted_snapsets = find_unlisted_snapsets(target, databases, sources, memory)
    for source in sources:
        counts = result.states.setdefault(source.database, {}).setdefault(source.kind, Counter())
        done = 0
        found: Iterator[list[Finding]]
        if source.database in missing:
            found = ([Finding(each, State.ABSENT) for each in batch] for batch in batches(source.prepared()))
        else:
            rules = rules_of(source, memory.markers[target.database(source.database)])
            found = findings(databases[source.database], source, rules)
        for batch in found:
            told = [(source, counts, finding) for finding in batch]
            if source.database not in missing:
                told += _superfluous(databases[source.database], target, source, batch, result)
            for of, counted, finding in told:
                counted[finding.state] += 1
                if finding.state not in {State.ABSENT, State.UNCHANGED} and on_finding is not None:
                    on_finding(of, finding, finding.state)
            done += len(batch)
            if on_progress is not None:
                on_progress(step_name(source), done, source.count)
    return result


def _superfluous(
    database: Database, target: Target, source: Source, found: Sequence[Finding], result: Plan
) -> Iterator[tuple[Source, Counter[State], Finding]]:
    """Yield the documents that an update deletes, as outdated ones of their own kind, and edited ones."""
    for each in find_former(database, target.model, source, found):
        kind = target.model.former[source.kind].name
        state = State.OUTDATED if each.state is State.UNCHANGED else each.state
        counts = result.states[source.database].setdefault(kind, Counter())
        yield replace(source, kind=kind), counts, each._replace(state=state)
