"""Check a target before using it: reachability, permissions, and its content."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dataloader.common import ExitCode, prepare
from dataloader.couch import Nodes, Server, Welcome
from dataloader.operations.credentials import clients_of
from dataloader.operations.plan import rules_of
from dataloader.operations.sources import Source, design_sources
from dataloader.records import client_database
from dataloader.replication import State, classify
from dataloader.target import Environment, Target, less_protected, read_marker

_STUCK = (State.EDITED, State.FOREIGN, State.CONFLICT)
"""States of views that a load does not change."""


class CheckProblem(NamedTuple):
    """Something that prevents a load, or that the operator should know."""

    code: ExitCode
    """The exit code if it is the only finding."""
    problem: str
    """What it is, and what to do."""


@dataclass
class DatabaseCheck:
    """One database of the model on the target."""

    name: str
    """The full name."""
    exists: bool
    documents: int = 0
    remembers: Environment | None = None
    """The environment that it was first loaded as; None if it has never been loaded by this tool."""
    partitioned: bool = False
    """Whether it only accepts IDs with a partition, which no document of ours has."""
    clients: int | None = None
    """The number of clients of pilot computers; None if it is not the database of clients, or has no views."""
    views: State | None = None
    """The worst state of its design documents; None if the model has none for it."""


@dataclass
class CheckResult:
    """The result of a check."""

    welcome: Welcome
    user: str | None
    admin: bool
    nodes: Nodes
    unanswering: dict[str, str] = field(default_factory=dict)
    """The target's URLs that don't answer although another one does, with the reason."""
    databases: list[DatabaseCheck] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What prevents a load, and what to do; empty for a target that is ready."""
    exit_code: ExitCode = ExitCode.OK


def check(server: Server, target: Target) -> CheckResult:
    """Check a target; writes nothing.

    Raises:
        UnreachableError: nothing answers.
        ProtocolError: the server is not a CouchDB, or the nodes do not belong to one cluster.
        CredentialsError: the server rejects the password, or requires one.
        ProtectedError: a database remembers an environment that this version does not know.
    """
    welcome = server.welcome()
    user, admin = server.user()
    unanswering = server.session.unanswering() if server.address.others else {}
    result = CheckResult(welcome, user, admin, server.nodes(), unanswering)
    designs = {source.database: source for source in design_sources(target.model)}
    for name in target.model.databases:
        database = server.database(target.database(name))
        info = database.info()
        found = DatabaseCheck(database.name, exists=info is not None)
        result.databases.append(found)
        if info is not None:
            found.documents = int(info.get("doc_count", 0))
            found.remembers = read_marker(database).environment
            found.partitioned = bool(info.get("partitioned"))
        if name in designs:
            found.views = State.ABSENT if info is None else _views(server, target, designs[name])
        if name == client_database(target.model) and found.views is State.UNCHANGED:
            found.clients = len(clients_of(database, target.model))
    _judge(result, target)
    return result


def _views(server: Server, target: Target, source: Source) -> State:
    database = server.database(target.database(source.database))
    documents = [prepare(document) for document in source.documents()]
    found = classify(database, documents, rules_of(source, read_marker(database)))
    states = [finding.state for finding in found if finding.state is not State.UNCHANGED]
    return states[0] if states else State.UNCHANGED


def _judge(result: CheckResult, target: Target) -> None:
    """Collect what prevents a load; of several problems, the first one gives the exit code."""
    for code, problem in (
        *_rights(result),
        *_memories(result, target),
        *_partitions(result),
        *_views_found(result),
        *_clients(result),
        *_nodes(result),
        *_urls(result),
    ):
        result.problems.append(problem)
        result.exit_code = result.exit_code or code


def _rights(result: CheckResult) -> Iterator[CheckProblem]:
    if not result.admin:
        missing = [database.name for database in result.databases if not database.exists]
        who = f"user {result.user}" if result.user else "an anonymous client"
        wanted = f"create {' and '.join(missing)} or " if missing else ""
        yield CheckProblem(
            ExitCode.CREDENTIALS,
            f"{who} is not a server admin and can't {wanted}write views; use an admin's credentials",
        )


def _memories(result: CheckResult, target: Target) -> Iterator[CheckProblem]:
    for database in result.databases:
        if less_protected(target, database.remembers):
            yield CheckProblem(
                ExitCode.PROTECTED,
                f"{database.name} holds {database.remembers} data, and commands refuse to treat it as "
                f"{target.environment}; use --environment {database.remembers}, or other databases",
            )
        elif database.remembers not in {None, target.environment}:
            yield CheckProblem(
                ExitCode.OK,
                f"{database.name} was loaded as {database.remembers}, and may hold sample data and log-ins from then; "
                f"a load makes it {target.environment} for good",
            )


def _partitions(result: CheckResult) -> Iterator[CheckProblem]:
    for database in result.databases:
        if database.partitioned:
            yield CheckProblem(
                ExitCode.PROTOCOL,
                f"{database.name} is partitioned, and rejects our documents, whose _ids name no partition; "
                "delete it, and a load creates it without partitions",
            )


def _clients(result: CheckResult) -> Iterator[CheckProblem]:
    for database in result.databases:
        if database.clients == 0:
            yield CheckProblem(
                ExitCode.OK,
                f"{database.name} has no client, so no pilot computer gets a token "
                "(`dataloader credentials create SITE --name TEXT --out DIR` creates one)",
            )


def _views_found(result: CheckResult) -> Iterator[CheckProblem]:
    for database in result.databases:
        if database.views is State.CONFLICT:
            yield CheckProblem(
                ExitCode.ATTENTION,
                f"the views of {database.name} are in conflict; "
                "inspect the conflicts of its _design/views, and delete all but one",
            )
        elif database.views in _STUCK:
            yield CheckProblem(
                ExitCode.ATTENTION,
                f"the views of {database.name} are not ours, and loads do not change them; inspect its _design/views, "
                "then replace them with `dataloader load --replace-views`",
            )
        elif database.views is State.OUTDATED:
            yield CheckProblem(
                ExitCode.OK,
                f"the views of {database.name} are from an earlier version; `dataloader load --update` replaces them",
            )


def _nodes(result: CheckResult) -> Iterator[CheckProblem]:
    if result.nodes.away:
        away = ", ".join(result.nodes.away)
        yield CheckProblem(ExitCode.NODES, f"down: {away}; start the node, or wait until it is up")


def _urls(result: CheckResult) -> Iterator[CheckProblem]:
    for url, why in result.unanswering.items():
        yield CheckProblem(ExitCode.OK, f"{url}: {why}; meanwhile, requests go to the target's other nodes")
