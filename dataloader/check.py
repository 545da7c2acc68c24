"""Checking a target before anything is done to it: is it there, may we, and what is on it."""

from dataclasses import dataclass, field

from dataloader.classify import State, classify
from dataloader.couch import Nodes, Server, Welcome
from dataloader.errors import CredentialsError, ExitCode
from dataloader.revision import prepare
from dataloader.sources import Source, design_sources
from dataloader.targets import Target

_STUCK = (State.EDITED, State.FOREIGN, State.CONFLICTED)
"""States of views that a load leaves as they are."""


@dataclass
class DatabaseCheck:
    """One database of the model on the target."""

    name: str
    """With the target's prefix."""
    exists: bool
    documents: int = 0
    views: State | None = None
    """The state of its design documents, the worst of them; None where the model gives it none."""


@dataclass
class CheckResult:
    """What was found."""

    welcome: Welcome
    user: str | None
    admin: bool
    nodes: Nodes
    databases: list[DatabaseCheck] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What stands in the way of a load, and what to do; empty for a target that is ready."""
    exit_code: ExitCode = ExitCode.OK


def check(server: Server, target: Target) -> CheckResult:
    """Check a target; writes nothing.

    Raises:
        UnreachableError: nothing answers.
        ProtocolError: what answers is not a CouchDB.
        CredentialsError: the server does not accept the password, or lets nobody in without one.
    """
    welcome = server.welcome()
    user, admin = server.user()
    result = CheckResult(welcome, user, admin, server.nodes())
    designs = {source.database: source for source in design_sources(target.model)}
    for name in target.model.databases:
        database = server.database(target.database(name))
        info = database.info()
        found = DatabaseCheck(database.name, exists=info is not None)
        result.databases.append(found)
        if info is not None:
            found.documents = int(info.get("doc_count", 0))
        if name in designs:
            found.views = State.ABSENT if info is None else _views(server, target, designs[name], welcome)
    _judge(result)
    return result


def _views(server: Server, target: Target, source: Source, welcome: Welcome) -> State:
    documents = [prepare(document) for document in source.documents()]
    found = classify(
        server.database(target.database(source.database)),
        documents,
        source.schema,
        names_leaves=welcome.names_leaves,
    )
    states = [finding.state for finding in found if finding.state is not State.UNCHANGED]
    return states[0] if states else State.UNCHANGED


def _judge(result: CheckResult) -> None:
    missing = [database.name for database in result.databases if not database.exists]
    if not result.admin:
        who = f"user {result.user}" if result.user else "an anonymous client"
        wanted = f"create {' and '.join(missing)} or " if missing else ""
        result.problems.append(f"{who} is no server admin and can't {wanted}write views; use an admin's credentials")
        result.exit_code = CredentialsError.exit_code
    stuck = [database for database in result.databases if database.views in _STUCK]
    for database in stuck:
        if database.views is State.CONFLICTED:
            found = "are there in several versions, side by side"
            todo = "look at the conflicts of _design/views there and delete all but one"
        else:
            found = "are not ours and are left as they are"
            todo = "look at _design/views there, then `dataloader load --replace-views` puts ours in their place"
        result.problems.append(f"the views of {database.name} {found}; {todo}")
    result.problems += [
        f"the views of {database.name} are an earlier version's; `dataloader load --update` replaces them"
        for database in result.databases
        if database.views is State.OUTDATED
    ]
    if stuck and result.exit_code is ExitCode.OK:
        result.exit_code = ExitCode.ATTENTION
    if result.nodes.away:
        result.problems.append(f"away: {', '.join(result.nodes.away)}; start the node, or wait until it is back")
        if result.exit_code is ExitCode.OK:
            result.exit_code = ExitCode.NODES
