"""Checking a target: reachability, permissions, and its content."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import all_sources, check, load
from dataloader.records import Snapsets
from dataloader.replication import State
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.proxy import Forward, Hook, Proxy, Reply, Request
from tests.support.records import digest
from tests.support.server import databases, delete, get, put, sequences

DESIGN = "_design/views"
# One model is enough for what does not depend on the model; any will do.
OLD = {"_id": DESIGN, "language": "javascript", "views": {"findOld": {"map": "function (doc) { emit(1); }"}}}


@pytest.fixture
def loaded(server: Server, target: Target, snapsets: Snapsets) -> int:
    """Load snapsets and views; return the number of documents."""
    return load(server, target, all_sources(target, [], snapsets)).documents


def with_views(target: Target) -> str:
    """Return the name of the model's database with views."""
    return target.model.databases[-1]


def states(server: Server, target: Target) -> dict[str, State | None]:
    """Return the state of each database's views."""
    return {each.name.removeprefix(target.prefix): each.views for each in check(server, target).databases}


class TestViews:
    """What check reports about databases and views."""

    def test_server_without_databases_is_ready(self, server: Server, target: Target, run: Command) -> None:
        """A load creates what is missing, so this is no problem; the check itself creates nothing."""
        done = run("check", "--json")
        assert (done.code, done.stderr) == (0, "")
        data = done.data
        assert data["databases"] == {
            target.database(name): {
                "exists": False,
                "documents": 0,
                "environment": None,
                "views": "absent" if name == with_views(target) else None,
            }
            for name in target.model.databases
        }
        assert data["problems"] == []
        assert (data["url"], data["model"]) == (target.address.url, target.model.name)
        assert (data["environment"], data["user"], data["admin"]) == ("ci", target.address.user, True)
        assert data["server"] in {"CouchDB", "PouchDB Server"}
        assert data["version"]
        assert data["nodes"]["away"] == []
        assert not any(database.exists() for database in databases(server, target).values())

    def test_loaded_target_is_ready(self, server: Server, target: Target, loaded: int, run: Command) -> None:
        """Databases with their documents, views that are up to date, and the conclusion that it is ready."""
        before = sequences(server, target)
        result = check(server, target)
        assert sum(each.documents for each in result.databases) == loaded
        assert all(each.exists for each in result.databases)
        assert states(server, target) == {
            name: State.UNCHANGED if name == with_views(target) else None for name in target.model.databases
        }
        done = run("check")
        assert done.code == 0
        # No client has access yet, which is a warning.
        [warning] = done.stderr.splitlines()
        assert "has no client, so no pilot computer gets a token" in warning
        assert sequences(server, target) == before
        run("credentials", "create", "library", "--name", "Library", "--out", "secrets")
        ready = run("check")
        assert (ready.code, ready.stderr) == (0, "")
        lines = ready.stdout.splitlines()
        assert lines[-1] == "ready"
        assert f"user       {target.address.user}, server admin" in lines
        assert sum(line.endswith(", views current") for line in lines) == 1

    @KEY_MODEL
    def test_outdated_views_are_reported_with_the_fix(self, server: Server, target: Target, run: Command) -> None:
        """An earlier version's views still work: exit code 0, and a line says how to update them."""
        database = databases(server, target)[with_views(target)]
        database.create()
        assert database.write([json.dumps({**OLD, "_rev": f"1-{digest(OLD)}"}).encode()]) == []
        assert states(server, target)[with_views(target)] is State.OUTDATED
        done = run("check")
        assert done.code == 0
        wanted = f"the views of {database.name} are from an earlier version; `dataloader load --update` replaces them"
        assert done.stderr == f"warning: {wanted}\n"
        assert "ready" not in done.stdout.splitlines()

    @TOKEN_MODEL
    @pytest.mark.parametrize("state", ["foreign", "edited"])
    def test_foreign_views_need_a_decision(
        self, server: Server, target: Target, snapsets: Snapsets, run: Command, state: str
    ) -> None:
        """Exit code 9, and a line that names the database and says what to do."""
        database = databases(server, target)[with_views(target)]
        if state == "foreign":
            database.create()
            put(database, OLD)
        else:
            load(server, target, all_sources(target, [], snapsets))
            put(database, {**get(database, DESIGN), "views": OLD["views"]})
        done = run("check", "--json")
        assert done.code == 9
        assert done.data["databases"][database.name]["views"] == state
        [problem] = done.data["problems"]
        assert problem.startswith(f"the views of {database.name} are not ours, and loads do not change them; ")
        assert done.stderr == f"error: {problem}\n"

    @KEY_MODEL
    @pytest.mark.usefixtures("loaded")
    def test_conflicting_views_need_a_decision(self, server: Server, target: Target, run: Command) -> None:
        """Exit code 9; no load resolves the conflict, so the line says to delete all versions but one."""
        database = databases(server, target)[with_views(target)]
        branch = {**OLD, "_rev": f"1-{'a' * 32}"}
        assert database.write([json.dumps(branch).encode()]) == []
        done = run("check", "--json")
        assert done.code == 9
        assert done.data["databases"][database.name]["views"] == "conflict"
        [problem] = done.data["problems"]
        assert problem == (
            f"the views of {database.name} are in conflict; "
            "inspect the conflicts of its _design/views, and delete all but one"
        )

    @TOKEN_MODEL
    @pytest.mark.usefixtures("loaded")
    def test_deleted_views_are_restored_by_the_next_load(self, server: Server, target: Target, run: Command) -> None:
        """The check shows that they are gone; a load can restore them."""
        delete(databases(server, target)[with_views(target)], DESIGN)
        done = run("check", "--json")
        assert (done.code, done.data["problems"]) == (0, [])
        assert done.data["databases"][target.database(with_views(target))]["views"] == "deleted"


class TestWho:
    """The user and its permissions."""

    @TOKEN_MODEL
    def test_user_without_permissions_is_told_what_is_missing(
        self, target: Target, run: Command, plain_user: tuple[str, str]
    ) -> None:
        """Exit code 6; the line names the user and the databases, and says who has permission."""
        name, password = plain_user
        done = run("check", "--json", env={"COUCHDB_USER": name, "COUCHDB_PASSWORD": password})
        assert done.code == 6
        missing = " and ".join(target.database(each) for each in target.model.databases)
        wanted = (
            f"user {name} is not a server admin and can't create {missing} or write views; use an admin's credentials"
        )
        assert done.stderr == f"error: {wanted}\n"
        assert (done.data["user"], done.data["admin"], done.data["problems"]) == (name, False, [wanted])

    @TOKEN_MODEL
    @pytest.mark.usefixtures("loaded")
    def test_user_without_access_to_a_database_is_told(self, run: Command, plain_user: tuple[str, str]) -> None:
        """Databases are for admins only by default; exit code 6, and what to do."""
        name, password = plain_user
        done = run("check", env={"COUCHDB_USER": name, "COUCHDB_PASSWORD": password})
        assert done.code == 6
        assert f"user {name} may not do this (403 forbidden" in done.stderr
        assert "use a server admin" in done.stderr
        assert password not in done.stderr + done.stdout

    @TOKEN_MODEL
    @pytest.mark.parametrize("password", ["wrong", "", "wröng: 100%"])
    def test_wrong_password_is_reported_without_it(self, run: Command, password: str) -> None:
        """Exit code 6; no message contains the password."""
        # An unknown user: CouchDB locks an account after some wrong passwords, and later tests need theirs.
        user = f"nobody-{uuid4().hex}"
        done = run("check", "--json", env={"COUCHDB_USER": user, "COUCHDB_PASSWORD": password})
        assert done.code == 6
        says = "the server does not accept the password of user" if password else "no password is given for user"
        assert f"{says} {user}" in done.stderr
        assert not password or password not in done.stderr + done.stdout
        assert done.data["exit_code"] == 6

    @TOKEN_MODEL
    def test_locked_account_is_told_to_wait(
        self, run: Command, proxied: Callable[[Hook], tuple[Server, Proxy]]
    ) -> None:
        """CouchDB locks an account after several wrong passwords: exit code 6, and the line says that it passes."""
        reason = "Account is temporarily locked due to multiple authentication failures"

        def locked(request: Request, forward: Forward) -> Reply:
            return Reply.json(403, {"error": "forbidden", "reason": reason})

        _, proxy = proxied(locked)
        done = run("check", url=proxy.url)
        assert done.code == 6
        assert "is locked out for a while after wrong passwords" in done.stderr
        assert "(correct the password and wait some minutes)" in done.stderr

    @TOKEN_MODEL
    def test_anonymous_client_is_told_to_log_in(self, run: Command) -> None:
        """Without credentials, the exit code is 6, and a line says that they are required."""
        done = run("check", env={"COUCHDB_USER": "", "COUCHDB_PASSWORD": ""})
        assert done.code == 6
        assert "COUCHDB_USER" in done.stderr or "use an admin's credentials" in done.stderr


@TOKEN_MODEL
class TestWhere:
    """The server's address."""

    def test_unreachable_server_is_reported(self, run: Command) -> None:
        """Exit code 5, the address, and what to do."""
        done = run("check", url="http://127.0.0.1:9")
        assert done.code == 5
        assert (
            "http://127.0.0.1:9: cannot connect (start the server or correct the URL; check with: curl http://127.0.0.1:9/_up)"
            in done.stderr
        )

    def test_other_web_server_is_reported(self, run: Command, proxied: Callable[[Hook], tuple[Server, Proxy]]) -> None:
        """A web server that is not CouchDB: exit code 7."""

        def welcome(request: Request, forward: Forward) -> Reply:
            return Reply(200, b"<html>It works!</html>", {"Content-Type": "text/html"})

        _, proxy = proxied(welcome)
        done = run("check", url=proxy.url)
        assert done.code == 7
        assert f"{proxy.url}: this is not a CouchDB server: its reply is not JSON (correct the URL)" in done.stderr


class TestNodes:
    """What check reports about a cluster."""

    @TOKEN_MODEL
    def test_node_that_is_away_is_named(self, run: Command, proxied: Callable[[Hook], tuple[Server, Proxy]]) -> None:
        """A node of the cluster that is not connected: exit code 11, its name, and what to do."""
        _, proxy = proxied(membership(["couchdb@one", "couchdb@two"], ["couchdb@one", "couchdb@two", "couchdb@three"]))
        done = run("check", "--json", url=proxy.url)
        assert done.code == 11
        assert done.data["nodes"] == {
            "expected": ["couchdb@one", "couchdb@two", "couchdb@three"],
            "connected": ["couchdb@one", "couchdb@two"],
            "away": ["couchdb@three"],
        }
        assert done.stderr == "error: down: couchdb@three; start the node, or wait until it is up\n"

    @TOKEN_MODEL
    def test_complete_cluster_is_ready(self, run: Command, proxied: Callable[[Hook], tuple[Server, Proxy]]) -> None:
        """All nodes are connected: exit code 0, and their number."""
        _, proxy = proxied(membership(["couchdb@one", "couchdb@two"], ["couchdb@two", "couchdb@one"]))
        done = run("check", url=proxy.url)
        assert (done.code, done.stderr) == (0, "")
        assert "nodes      2 of 2 are up" in done.stdout.splitlines()

    @TOKEN_MODEL
    def test_missing_permissions_determine_the_exit_code(
        self, target: Target, proxied: Callable[[Hook], tuple[Server, Proxy]]
    ) -> None:
        """All problems are reported; the exit code is that of the first one to fix."""
        through, _ = proxied(membership(["couchdb@one"], ["couchdb@one", "couchdb@two"], roles=[]))
        result = check(through, target)
        assert result.exit_code is ExitCode.CREDENTIALS
        assert len(result.problems) == 2


def membership(connected: list[str], expected: list[str], roles: list[str] | None = None) -> Hook:
    """Return a hook that answers for a cluster's nodes, and optionally for a user's roles."""

    def hook(request: Request, forward: Forward) -> Reply:
        if request.path == "/_membership":
            return Reply.json(200, {"all_nodes": connected, "cluster_nodes": expected})
        if request.path == "/_session" and roles is not None:
            return Reply.json(200, {"ok": True, "userCtx": {"name": "reader", "roles": roles}})
        return forward(request)

    return hook
