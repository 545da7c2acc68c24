"""Databases remember the environment that they were first loaded as; a less protected one is refused."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import couchdb.http
import pytest

from dataloader.common import ExitCode, ProtectedError, UnreachableError
from dataloader.couch import Server
from dataloader.operations import LoadResult, all_sources, load, plan
from dataloader.records import Snapsets
from dataloader.target import Environment, Target, guard, read_marker
from tests.support.command import Command
from tests.support.marks import ONE_MODEL
from tests.support.proxy import Forward, Hangup, Hook, Proxy, Reply, Request
from tests.support.registry import SERVER_COMMANDS, arguments
from tests.support.server import agreed, databases, get, put, sequences, snapshot

MARKER = "_local/dataloader"

Through = Callable[[Hook], tuple[Server, Proxy]]
"""A server behind a proxy."""


def as_(target: Target, environment: Environment) -> Target:
    """Return a target with another environment."""
    return replace(target, environment=environment)


def bring(server: Server, target: Target, snapsets: Snapsets) -> LoadResult:
    """Load the snapsets and the views."""
    return load(server, target, all_sources(target, [], snapsets))


def markers(server: Server, target: Target) -> set[str | None]:
    """Return the environments that the databases remember, read directly."""

    def read() -> set[str | None]:
        found: set[str | None] = set()
        for database in databases(server, target).values():
            try:
                found.add(get(database, MARKER)["environment"])
            except couchdb.http.ResourceNotFound:
                found.add(None)
        return found

    return agreed(server, read)


def mark(server: Server, target: Target, environment: str) -> None:
    """Write the record of what a database remembers, whatever it was."""
    for database in databases(server, target).values():
        known: dict[str, Any] = {}
        with suppress(couchdb.http.ResourceNotFound):
            known = get(database, MARKER)
        put(database, {**known, "_id": MARKER, "environment": environment})


def once(endpoint: str, action: Callable[[], None]) -> Hook:
    """Return a hook that does something before the first request to an endpoint."""
    left = [action]

    def hook(request: Request, forward: Forward) -> Reply:
        if request.endpoint == endpoint and request.method != "GET" and left:
            left.pop()()
        return forward(request)

    return hook


class TestRefusing:
    """A command with a less protected environment than the databases remember."""

    @ONE_MODEL
    @pytest.mark.parametrize("name", SERVER_COMMANDS)
    def test_every_command_refuses_a_less_protected_environment(
        self, here: Command, server: Server, target: Target, snapsets: Snapsets, given: tuple[Path, Path],
        credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str,
    ) -> None:  # fmt: skip
        """However the server is given: by address, name, environment variable or target file; nothing is written."""
        if name == "drop":
            pytest.skip("it takes a prefix in place of a target's databases, and has tests of its own")
        bring(server, as_(target, Environment.PRODUCTION), snapsets)
        before = snapshot(server, target), sequences(server, target)
        for variable, value in credentials.items():
            monkeypatch.setenv(variable, value)
        url = target.address.url
        by_name = url.replace("127.0.0.1", "localhost")
        config = Path("dataloader.toml")
        config.write_text(
            f'[target.tests]\nurl = "{by_name}"\nenvironment = "ci"\nmodel = "{target.model.name}"\n'
            f'prefix = "{target.prefix}"\n'
        )
        beside = ("--model", target.model.name, "--prefix", target.prefix)
        for said, options in (
            ("development", ("--url", url, *beside)),
            ("development", ("--url", by_name, *beside, "--environment", "development")),
            ("ci", ("--url", url, *beside, "--environment", "ci")),
            ("ci", ("--target", "tests")),
            ("ci", (*beside, "--environment", "ci")),
        ):
            if "--url" not in options:
                monkeypatch.setenv("COUCHDB_URL", by_name)
            done = here(name, *arguments(name, *given), *options)
            assert done.code == ExitCode.PROTECTED, done
            first, *_ = done.stderr.splitlines()
            assert first.startswith("error: ")
            assert f"{target.database(target.model.databases[0])} " in first
            assert "holds production data" in first
            assert f"to treat it as {said}" in first
            assert "use --environment production, or other databases" in first
        assert (snapshot(server, target), sequences(server, target)) == before
        assert markers(server, target) == {"production"}

    @ONE_MODEL
    @pytest.mark.parametrize("said", list(Environment))
    @pytest.mark.parametrize("remembers", list(Environment))
    def test_environments_are_ordered_by_protection(
        self, server: Server, target: Target, said: Environment, remembers: Environment
    ) -> None:
        """The same or a more protected environment is accepted; a less protected one is refused."""
        for database in databases(server, target).values():
            database.create()
        mark(server, target, remembers.value)
        wanted = as_(target, said)
        if list(Environment).index(said) < list(Environment).index(remembers):
            with pytest.raises(ProtectedError, match=f"holds {remembers} data; refusing to treat it as {said}"):
                guard(server, wanted)
        else:
            raised = remembers if said is not remembers else None
            names = {target.database(name) for name in target.model.databases}
            assert guard(server, wanted).raised(wanted) == (dict.fromkeys(names, raised) if raised else {})

    @ONE_MODEL
    def test_one_protected_database_is_enough_to_refuse(
        self, server: Server, target: Target, snapsets: Snapsets
    ) -> None:
        """If one database remembers an environment and the other does not exist, the other is not created."""
        first, *others = databases(server, target).values()
        first.create()
        put(first, {"_id": MARKER, "environment": "production"})
        with pytest.raises(ProtectedError, match=first.name):
            bring(server, target, snapsets)
        assert not any(database.exists() for database in others)

    @pytest.mark.parametrize("environment", ["qa", None, 7, {"a": 1}])
    @ONE_MODEL
    def test_unknown_environment_is_treated_as_protected(
        self, run_here: Command, server: Server, target: Target, environment: object
    ) -> None:
        """A later version may have more environments: nothing is done until somebody has inspected it."""
        for database in databases(server, target).values():
            database.create()
            put(database, {"_id": MARKER, "environment": environment})
        done = run_here("load", "--snapsets-only", "--environment", "production")
        assert done.code == ExitCode.PROTECTED
        assert f"its record _local/dataloader says environment {environment!r}, which this version" in done.stderr

    @ONE_MODEL
    def test_damaged_record_is_refused_with_a_repair_command(
        self, run_here: Command, server: Server, target: Target
    ) -> None:
        """A truncated write leaves a record without an environment."""
        for database in databases(server, target).values():
            database.create()
            put(database, {"_id": MARKER})
        done = run_here("load", "--snapsets-only", "--environment", "production")
        assert done.code == ExitCode.PROTECTED
        assert "its record _local/dataloader is damaged: it names no environment" in done.stderr
        url = re.escape(f"{target.address.url}/{target.prefix}")
        command = re.search(rf"curl -u ADMIN -X PUT {url}(\w+)/_local/dataloader .* -d '(.*)'", done.stderr)
        assert command is not None
        repaired = json.loads(command[2].replace("ENVIRONMENT", "production"))
        databases(server, target)[command[1]].put_local("dataloader", repaired)
        assert read_marker(databases(server, target)[command[1]]).environment is Environment.PRODUCTION

    @ONE_MODEL
    def test_user_without_read_permission_gets_a_credentials_error(
        self, run_here: Command, server: Server, target: Target, snapsets: Snapsets, plain_user: tuple[str, str]
    ) -> None:
        """Exit code 6, as for any other request."""
        bring(server, target, snapsets)
        name, password = plain_user
        done = run_here("plan", env={"COUCHDB_USER": name, "COUCHDB_PASSWORD": password})
        assert done.code == ExitCode.CREDENTIALS
        assert f"user {name} may not do this" in done.stderr


class TestRemembering:
    """The record that a load writes."""

    def test_first_load_records_the_environment_before_anything_else(
        self, target: Target, server: Server, snapsets: Snapsets, proxied: Through
    ) -> None:
        """A load that fails at its first document has already recorded the environment."""

        def no_documents(request: Request, forward: Forward) -> Reply:
            if request.endpoint == "_bulk_docs":
                raise Hangup
            return forward(request)

        through, _ = proxied(no_documents)
        with pytest.raises(UnreachableError):
            bring(through, as_(target, Environment.STAGING), snapsets)
        assert markers(server, target) == {"staging"}
        assert not any(snapshot(server, target).values())

    @pytest.mark.parametrize("call", [("load", "--snapsets-only"), ("seed",)])
    @ONE_MODEL
    def test_second_load_writes_no_record(
        self, run_here: Command, server: Server, target: Target, proxied: Through, call: tuple[str, ...]
    ) -> None:
        """The record is only read, at the start and with every batch; no update sequence changes."""
        assert run_here(*call).code == ExitCode.OK
        before = sequences(server, target)
        kept = [get(database, MARKER) for database in databases(server, target).values()]
        assert markers(server, target) == {"ci"}
        _, proxy = proxied(lambda request, forward: forward(request))
        assert run_here(*call, url=proxy.url).code == ExitCode.OK
        assert proxy.count("GET", MARKER) > len(kept)
        assert proxy.count("PUT", MARKER) == 0
        assert sequences(server, target) == before
        assert [get(database, MARKER) for database in databases(server, target).values()] == kept

    def test_databases_of_earlier_versions_are_recorded_by_the_next_load(
        self, server: Server, target: Target, snapsets: Snapsets
    ) -> None:
        """Commands that only read write no record; a load does, even if there is nothing else to do."""
        for database in databases(server, target).values():
            database.create()
        sources = all_sources(target, [], snapsets)
        plan(server, target, sources)
        assert markers(server, target) == {None}
        before = sequences(server, target)
        load(server, target, [])
        assert sequences(server, target) == before
        assert markers(server, target) == {"ci"}

    @ONE_MODEL
    def test_more_protected_environment_replaces_the_record_with_a_warning(
        self, run_here: Command, server: Server, target: Target
    ) -> None:
        """Earlier sample data is still there, so check, plan and load warn; there is no way back."""
        assert run_here("seed").code == ExitCode.OK
        names = [target.database(name) for name in target.model.databases]
        production = ("--environment", "production")
        warning = "was loaded as ci, and may hold sample data and log-ins from then"
        for call, makes in ((["check"], "ci"), (["plan"], "ci"), (["load", "--snapsets-only"], "production")):
            done = run_here(*call, *production)
            assert done.code == ExitCode.OK
            for database in names:
                assert f"warning: {database} {warning}" in done.stderr
            assert markers(server, target) == {makes}
        assert run_here("seed").code == ExitCode.PROTECTED
        again = run_here("load", "--snapsets-only", *production, "--json")
        assert (again.code, again.stderr, again.data["raised"]) == (ExitCode.OK, "", {})

    @ONE_MODEL
    def test_check_shows_the_remembered_environments(self, run_here: Command, target: Target) -> None:
        """In text and JSON; a more protected one than given is a problem with its own exit code."""
        assert run_here("load", "--snapsets-only", "--environment", "staging").code == ExitCode.OK
        done = run_here("check", "--environment", "staging")
        assert (done.code, done.stdout.count(", loaded as staging")) == (ExitCode.OK, 2)
        [warning] = done.stderr.splitlines()
        assert "has no client" in warning
        done = run_here("check", "--json")
        assert done.code == ExitCode.PROTECTED
        assert {each["environment"] for each in done.data["databases"].values()} == {"staging"}
        *problems, no_client = done.data["problems"]
        assert "has no client" in no_client
        assert len(problems) == len(target.model.databases)
        for problem in problems:
            assert "holds staging data, and commands refuse to treat it as ci" in problem


class TestAtTheSameMoment:
    """Two loads that are the first at the same time."""

    @ONE_MODEL
    def test_concurrent_loads_with_the_same_environment_succeed(
        self, target: Target, server: Server, snapsets: Snapsets, proxied: Through
    ) -> None:
        """The second one gets a conflict, reads the record again and continues."""
        told: list[Reply] = []

        def conflict(request: Request, forward: Forward) -> Reply:
            if request.method == "PUT" and request.endpoint == MARKER and len(told) < 2:
                told.append(forward(request))
                return Reply.json(409, {"error": "conflict", "reason": "Document update conflict"})
            return forward(request)

        through, _ = proxied(conflict)
        bring(through, target, snapsets)
        assert markers(server, target) == {"ci"}

    @ONE_MODEL
    def test_less_protected_concurrent_load_stops(
        self, target: Target, server: Server, snapsets: Snapsets, proxied: Through
    ) -> None:
        """It has written no document by then."""

        def created(request: Request, forward: Forward) -> Reply:
            reply = forward(request)
            if request.method == "PUT" and request.database == target.database(target.model.databases[-1]):
                mark(server, target, "production")
            return reply

        through, _ = proxied(created)
        with pytest.raises(ProtectedError, match="holds production data"):
            bring(through, target, snapsets)
        assert not any(snapshot(server, target).values())

    @ONE_MODEL
    @pytest.mark.parametrize("endpoint", ["_bulk_docs", MARKER])
    def test_nothing_is_written_again_to_a_database_marked_meanwhile(
        self, target: Target, server: Server, snapsets: Snapsets, proxied: Through, endpoint: str
    ) -> None:
        """Minutes may pass before a request that failed is repeated: neither sample data nor a record follows."""
        failed: list[Request] = []

        def fail(request: Request, forward: Forward) -> Reply:
            if request.endpoint == endpoint and request.method != "GET" and not failed:
                failed.append(request)
                mark(server, target, "production")
                raise Hangup
            return forward(request)

        through, _ = proxied(fail)
        with pytest.raises(ProtectedError, match="holds production data"):
            bring(through, target, snapsets)
        assert failed
        assert not any(snapshot(server, target).values())
        assert markers(server, target) == {"production"}

    @ONE_MODEL
    def test_more_protected_concurrent_load_wins(
        self, target: Target, server: Server, snapsets: Snapsets, proxied: Through
    ) -> None:
        """CouchDB accepts the last write of such a record, so the more protected load reads it again."""
        through, _ = proxied(once("_bulk_docs", lambda: mark(server, target, "development")))
        result = bring(through, as_(target, Environment.PRODUCTION), snapsets)
        assert result.needs_attention == 0
        assert markers(server, target) == {"production"}

    @ONE_MODEL
    def test_record_accepted_with_too_few_copies_is_valid(
        self, target: Target, server: Server, snapsets: Snapsets, proxied: Through
    ) -> None:
        """202 is as good as 201 here: the other copies follow when the nodes are back."""

        def accepted(request: Request, forward: Forward) -> Reply:
            reply = forward(request)
            return replace(reply, status=202) if request.endpoint == MARKER and reply.status == 201 else reply

        through, _ = proxied(accepted)
        bring(through, target, snapsets)
        assert markers(server, target) == {"ci"}
