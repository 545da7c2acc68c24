"""Dropping databases: only those with a development or ci record are deleted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import ONE_MODEL
from tests.support.proxy import Forward, Hangup, Reply, Request
from tests.support.server import Proxied, put

pytestmark = ONE_MODEL
MARKER = "_local/dataloader"


@pytest.fixture
def names(server: Server, target: Target) -> Iterator[dict[str, str]]:
    """Databases with the target's prefix, by the environment they remember; deleted afterwards."""
    made = {each: f"{target.prefix}x-{each}" for each in ("development", "ci", "staging", "production", "nothing")}
    yield made
    for name in made.values():
        server.database(name).delete()


def make(server: Server, names: dict[str, str], *environments: str) -> None:
    """Create databases that remember environments."""
    for environment in environments:
        database = server.database(names[environment])
        database.create()
        if environment != "nothing":
            put(database, {"_id": MARKER, "environment": environment})


def test_development_and_ci_databases_are_dropped(
    run_here: Command, server: Server, names: dict[str, str], target: Target
) -> None:
    """Those with the prefix; databases without a record are kept and reported."""
    make(server, names, "development", "ci", "nothing")
    done = run_here("drop", "--yes", "--json")
    assert done.code == ExitCode.ATTENTION
    assert sorted(done.data["dropped"]) == sorted([names["ci"], names["development"]])
    assert done.data["kept"] == [names["nothing"]]
    assert [server.database(names[each]).exists() for each in ("development", "ci", "nothing")] == [False, False, True]


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_protected_database_stops_drop(
    run_here: Command, server: Server, names: dict[str, str], environment: str
) -> None:
    """Nothing is deleted, whatever environment is given."""
    make(server, names, "development", environment)
    done = run_here("drop", "--yes")
    assert done.code == ExitCode.PROTECTED
    assert f"holds {environment} data, so nothing with this prefix is deleted" in done.stderr
    assert server.database(names["development"]).exists()
    assert run_here("drop", "--yes", "--environment", environment).code == ExitCode.PROTECTED


def test_prefix_without_databases_is_an_error(
    run_here: Command, server: Server, names: dict[str, str], target: Target
) -> None:
    """It may be mistyped, so that the databases would stay: a similar prefix is suggested. --if-exists allows it."""
    server.database(f"{target.prefix}auth").create()
    # The last option counts.
    mistyped = ("drop", "--yes", "--prefix", f"{target.prefix[:-1]}x-")
    try:
        done = run_here(*mistyped)
        assert (done.code, done.stdout) == (ExitCode.USAGE, "")
        assert (
            f"error: prefix {target.prefix[:-1]}x-: no database at {target.address.url} has this prefix; "
            in done.stderr
        )
        assert f"did you mean {target.prefix}? (if there need not be one, add --if-exists)" in done.stderr
        allowed = run_here(*mistyped, "--if-exists", "--json")
        assert (allowed.code, allowed.data["dropped"]) == (ExitCode.OK, [])
        assert server.database(f"{target.prefix}auth").exists()
    finally:
        server.database(f"{target.prefix}auth").delete()


@pytest.mark.parametrize("mistyped", ["a", "au", "auth"])
def test_drop_spares_a_database_whose_own_name_begins_like_the_prefix(
    run_here: Command, server: Server, target: Target, mistyped: str
) -> None:
    """What precedes a database's own name is its prefix: `pref` is none of `preferences`."""
    database = server.database(f"{target.prefix}auth")
    database.create()
    put(database, {"_id": MARKER, "environment": "ci"})
    try:
        done = run_here("drop", "--yes", "--prefix", target.prefix + mistyped)
        assert (done.code, done.stdout) == (ExitCode.USAGE, "")
        assert f"has this prefix; did you mean {target.prefix}?" in done.stderr
        assert database.exists()
        # A beginning of the prefix is enough.
        assert run_here("drop", "--yes", "--json", "--prefix", target.prefix[:-1]).data["dropped"] == [database.name]
    finally:
        database.delete()


def test_database_that_another_run_deletes_meanwhile_is_not_kept(
    run_here: Command, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was still listed."""
    monkeypatch.setattr(Server, "databases", lambda _: [f"{target.prefix}auth"])
    done = run_here("drop", "--yes", "--if-exists", "--json")
    assert (done.code, done.data["dropped"], done.data["kept"]) == (ExitCode.OK, [], [])


@pytest.mark.parametrize("environment", ["production", "nothing", "ci"])
def test_database_that_is_recreated_while_it_is_deleted_is_kept(
    run_here: Command, server: Server, names: dict[str, str], proxied: Proxied, environment: str
) -> None:
    """The first attempt succeeds, but its reply is lost; the next one would delete somebody else's new database."""
    make(server, names, "ci")
    database = server.database(names["ci"])
    if environment == "ci" and not database.names_leaves:
        pytest.skip("PouchDB Server does not tell one database from its successor")
    lost: list[Reply] = []

    def lose_reply(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.method == "DELETE" and not lost:
            lost.append(reply)
            database.create()
            if environment != "nothing":
                put(database, {"_id": MARKER, "environment": environment})
            raise Hangup
        if lost and (request.method, request.path) == ("GET", f"/{database.name}"):
            # CouchDB tells databases apart by the second of their creation.
            return Reply.json(200, {**reply.data(), "instance_start_time": "1"})
        return reply

    through, _ = proxied(lose_reply)
    done = run_here("drop", "--yes", url=through.address.url)
    assert database.exists()
    if environment == "production":
        assert done.code == ExitCode.PROTECTED
    else:
        assert done.code == ExitCode.PROTOCOL
        assert "was recreated by somebody else, and is not deleted (run it again)" in done.stderr


def test_lost_reply_to_a_deletion_changes_nothing(
    run_here: Command, server: Server, names: dict[str, str], proxied: Proxied
) -> None:
    """The database is gone, and listed as deleted."""
    make(server, names, "ci")
    lost: list[Reply] = []

    def lose_reply(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.method == "DELETE" and not lost:
            lost.append(reply)
            raise Hangup
        return reply

    through, _ = proxied(lose_reply)
    done = run_here("drop", "--yes", "--json", url=through.address.url)
    assert (done.code, done.data["dropped"]) == (ExitCode.OK, [names["ci"]])


def test_prefixes_that_exist_are_named(run_here: Command, server: Server, target: Target) -> None:
    """If none is similar."""
    server.database(f"{target.prefix}auth").create()
    try:
        done = run_here("drop", "--yes", "--prefix", "zzzz-")
        assert done.code == ExitCode.USAGE
        assert "; the prefixes there are " in done.stderr
        assert "did you mean" not in done.stderr
    finally:
        server.database(f"{target.prefix}auth").delete()


def test_drop_asks_first_and_requires_a_prefix(
    here: Command, run_here: Command, server: Server, names: dict[str, str], target: Target
) -> None:
    """Without a terminal and --yes, nothing is deleted; without a prefix, everything would be."""
    make(server, names, "ci")
    done = run_here("drop")
    assert done.code == ExitCode.USAGE
    assert "refusing to continue without confirmation (add --yes)" in done.stderr
    assert server.database(names["ci"]).exists()
    assert here("drop", "--url", target.address.url, "--yes").code == ExitCode.USAGE
    Path("dataloader.toml").write_text(f'[target.ci]\nurl = "{target.address.url}"\nenvironment = "ci"\n')
    bare = here("drop", "--target", "ci", "--yes")
    assert (bare.code, "give --url and --prefix" in bare.stderr) == (ExitCode.USAGE, True), "it excludes --prefix"
