"""What a target allows, as tried by an anonymous client and according to ``_security``."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dataloader.common import ExitCode, now
from dataloader.couch import Address, Server, Tls
from dataloader.embedded import EmbeddedServer
from dataloader.operations import Source, all_sources, check_security, load, site_sources
from dataloader.records import Site, Snapsets, client_ids_of, new_secret, site_documents
from dataloader.records.models import DEFAULT_MODEL, get_model
from dataloader.target import Environment, Target
from tests.support.command import Command
from tests.support.loading import plant_load
from tests.support.proxy import Forward, Hook, Proxy, Reply, Request
from tests.support.server import OUTSIDE_URL, QUICK, databases, sequences, snapshot

UNAUTHORIZED = Reply.json(401, {"error": "unauthorized", "reason": "You are not authorized to access this db."})
LOG_IN = Reply(302, b"", {"Location": "/login"})

Through = Callable[[Hook], tuple[Server, Proxy]]


@pytest.fixture
def model_name() -> str:
    """One model; nothing here depends on it."""
    return DEFAULT_MODEL


@pytest.fixture
def loaded(server: Server, target: Target, snapsets: Snapsets) -> Target:
    """Snapsets and views are loaded, with a site's credentials, without which a check warns."""
    plant_load(server, target, [*all_sources(target, [], snapsets), *let_in(target)])
    return target


def let_in(target: Target) -> list[Source]:
    """Return the sources of a site's credentials."""
    documents = site_documents(target.model, client_ids_of("library")[0], Site("Library", now()), new_secret())
    return site_sources(target.model, "library", documents)


def names(target: Target) -> list[str]:
    """Return the names of the target's databases."""
    return [target.database(name) for name in target.model.databases]


def stranger(answers: Callable[[Request], Reply | None]) -> Hook:
    """Return a hook that answers anonymous requests, which never reach the real server."""

    def hook(request: Request, forward: Forward) -> Reply:
        if "Authorization" in request.headers:
            return forward(request)
        return answers(request) or UNAUTHORIZED

    return hook


def told(security: Any) -> Hook:
    """Return a hook that answers for ``_security``."""

    def hook(request: Request, forward: Forward) -> Reply:
        return Reply.json(200, security) if request.endpoint == "_security" else forward(request)

    return hook


def test_closed_server_is_reported_as_closed(run_here: Command, server: Server, loaded: Target) -> None:
    """Exit code 0, a line for each database, and the check writes nothing."""
    before = snapshot(server, loaded), sequences(server, loaded)
    done = run_here("check", "--security")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    members = "role _admin" if OUTSIDE_URL else "unknown"
    for name in names(loaded):
        assert f"anonymous clients  {name}: no access; members: {members}\n" in done.stdout
    assert done.stdout.endswith("\nready\n")
    assert (snapshot(server, loaded), sequences(server, loaded)) == before
    data = run_here("check", "--security", "--json").data
    circle = {"names": [], "roles": ["_admin"]}
    rules = {"admins": circle, "members": circle} if OUTSIDE_URL else None
    assert data["security"] == {
        "anonymous_user": None,
        "anonymous_admin": False,
        "anonymous_names_databases": False,
        "plain_http": [],
        "unverified": False,
        "databases": {
            name: {"anonymous_reads": False, "anonymous_writes": False, "rules": rules, "samples": []}
            for name in names(loaded)
        },
    }
    assert data["problems"] == []


def test_without_the_option_nothing_is_tried(run_here: Command, loaded: Target, proxied: Through) -> None:
    """The check only uses its own credentials."""
    _, proxy = proxied(lambda request, forward: forward(request))
    assert "security" not in run_here("check", "--json", url=proxy.url).data
    assert all("Authorization" in request.headers for request in proxy.requests)


def test_missing_databases_are_no_security_problem(run_here: Command, target: Target) -> None:
    """The server itself is still checked."""
    done = run_here("check", "--security", "--json")
    assert (done.code, done.data["security"]["databases"]) == (ExitCode.OK, {})


def test_server_without_an_admin_is_open(here: Command, snapsets: Snapsets) -> None:
    """Exit code 9; the first line says what to do, and the others which databases are open."""
    with EmbeddedServer(None) as embedded:
        address = Address(embedded.url)
        target = Target(address, get_model(DEFAULT_MODEL), Environment.DEVELOPMENT)
        own = Server(address, QUICK)
        load(own, target, [*all_sources(target, [], snapsets), *let_in(target)])
        before = snapshot(own, target), sequences(own, target)
        done = here("check", "--security", "--url", embedded.url, "--json")
        assert (snapshot(own, target), sequences(own, target)) == before
    assert done.code == ExitCode.ATTENTION
    assert done.data["security"]["anonymous_admin"] is True
    first, second, *rest = done.data["problems"]
    assert first.startswith("everyone who can reach the server is an admin; set an admin's password ")
    assert second.startswith("an anonymous client can list the databases; ")
    for name, problem in zip(("preferences", "auth"), rest, strict=True):
        assert problem.startswith(f"an anonymous client can read and write {name}; set members in its _security ")


@pytest.mark.skipif(not OUTSIDE_URL, reason="PouchDB Server has no _security; COUCHDB_URL names no other")
@pytest.mark.parametrize("anybody", [{}, {"members": {"names": [], "roles": []}}])
def test_database_without_members_is_open(
    run_here: Command, server: Server, loaded: Target, anybody: dict[str, Any]
) -> None:
    """The real server lets anyone in; this is tried without writing anything."""
    first, *others = databases(server, loaded).values()
    first._resource.put("_security", body=anybody)
    before = snapshot(server, loaded), sequences(server, loaded)
    done = run_here("check", "--security", "--json")
    assert done.code == ExitCode.ATTENTION
    [problem] = done.data["problems"]
    assert problem.startswith(f"an anonymous client can read and write {first.name}; set members in its _security ")
    found = done.data["security"]["databases"]
    assert [(found[each.name]["anonymous_reads"], found[each.name]["anonymous_writes"]) for each in others] == [
        (False, False) for _ in others
    ]
    assert (snapshot(server, loaded), sequences(server, loaded)) == before


@pytest.mark.parametrize(
    ("reads", "writes", "says"),
    [(True, True, "read and write"), (True, False, "read"), (False, True, "write"), (False, False, None)],
)
def test_anonymous_read_and_write_are_distinguished(
    run_here: Command, loaded: Target, proxied: Through, *, reads: bool, writes: bool, says: str | None
) -> None:
    """Reading alone is a problem, too; the report says what is open."""

    def answers(request: Request) -> Reply | None:
        if request.endpoint == "_bulk_docs" and request.data() == {"docs": []}:
            return Reply.json(201, []) if writes else None
        if request.endpoint == "_all_docs":
            return Reply.json(200, {"total_rows": 1, "offset": 0, "rows": []}) if reads else None
        return None

    _, proxy = proxied(stranger(answers))
    done = run_here("check", "--security", "--json", url=proxy.url)
    assert done.code == (ExitCode.ATTENTION if says else ExitCode.OK)
    open_ones = [f"an anonymous client can {says} {name};" for name in names(loaded)] if says else []
    assert [problem.partition(";")[0] + ";" for problem in done.data["problems"]] == open_ones
    tried = [request for request in proxy.requests if "Authorization" not in request.headers]
    # At most two requests for each database, neither of which fetches or changes anything.
    assert len(tried) == 2 + 2 * len(names(loaded))


@pytest.mark.parametrize("page", [LOG_IN, Reply(200, b"<html>", {"Content-Type": "text/html"}), Reply(405, b"")])
def test_log_in_page_closes_a_server(run_here: Command, loaded: Target, proxied: Through, page: Reply) -> None:
    """A proxy that redirects anonymous clients closes the server, though not in CouchDB's words."""
    _, proxy = proxied(stranger(lambda _: page))
    done = run_here("check", "--security", "--json", url=proxy.url)
    assert (done.code, done.data["problems"]) == (ExitCode.OK, [])


def test_proxy_that_adds_credentials_is_detected(run_here: Command, loaded: Target, proxied: Through) -> None:
    """Anonymous clients are then logged in as somebody."""

    def answers(request: Request) -> Reply | None:
        if request.path == "/_session":
            return Reply.json(200, {"ok": True, "userCtx": {"name": "proxy", "roles": []}})
        return None

    _, proxy = proxied(stranger(answers))
    done = run_here("check", "--security", "--json", url=proxy.url)
    assert done.code == ExitCode.ATTENTION
    [problem] = done.data["problems"]
    assert problem.startswith("an anonymous client is logged in as user proxy; ")


@pytest.mark.parametrize("security", [{}, {"members": {"names": [], "roles": []}}, {"members": None, "admins": 1}])
def test_database_open_to_every_user_is_reported(
    run_here: Command, loaded: Target, proxied: Through, security: dict[str, Any]
) -> None:
    """Anonymous clients are refused by the server, but anyone who logs in can read: exit code 9."""
    _, proxy = proxied(told(security))
    done = run_here("check", "--security", "--json", url=proxy.url)
    assert done.code == ExitCode.ATTENTION
    for name, problem in zip(names(loaded), done.data["problems"], strict=True):
        assert problem.startswith(f"every user of the server can read and write {name}, ")
        assert f"PUT /{name}/_security with " in problem


def test_members_and_admins_are_listed(run_here: Command, loaded: Target, proxied: Through) -> None:
    """As text and JSON."""
    security = {"admins": {"names": ["boss"]}, "members": {"names": ["prefs-server"], "roles": ["pilots"]}}
    _, proxy = proxied(told(security))
    done = run_here("check", "--security", url=proxy.url)
    assert done.code == ExitCode.OK
    assert done.stdout.count("; members: prefs-server, role pilots\n") == len(names(loaded))
    data = run_here("check", "--security", "--json", url=proxy.url).data
    assert data["security"]["databases"][names(loaded)[0]]["rules"] == {
        "admins": {"names": ["boss"], "roles": []},
        "members": {"names": ["prefs-server"], "roles": ["pilots"]},
    }


def test_unencrypted_http_is_reported(server: Server, loaded: Target) -> None:
    """Passwords and preferences are readable on the network; not on the same machine or with https."""
    for url, others, found in (
        ("http://db.example.org:5984", (), ["http://db.example.org:5984"]),
        ("https://a.example.org", ("http://b.example.org", "http://127.0.0.1:5984"), ["http://b.example.org"]),
        ("https://db.example.org", (), []),
        ("http://localhost:5984", (), []),
    ):
        elsewhere = replace(loaded, address=replace(loaded.address, url=url, others=others))
        result = check_security(server, elsewhere)
        assert result.plain_http == found
        assert result.exit_code == (ExitCode.ATTENTION if found else ExitCode.OK)
        assert [problem.partition(" ")[0] for problem in result.problems] == found


def test_unverified_certificate_is_reported(address: Address, loaded: Target) -> None:
    """An unverified server gets the password."""
    insecure = replace(address, tls=Tls(insecure=True))
    result = check_security(Server(insecure, QUICK), replace(loaded, address=insecure))
    assert result.problems == [
        "the server's certificate is not verified, so it may be an impostor; name its CA with ca_file"
    ]


def test_sample_data_in_production_is_reported(run_here: Command, target: Target) -> None:
    """In a database that was seeded before it became production; the report names what to delete."""
    assert run_here("seed").code == ExitCode.OK
    assert run_here("check", "--security").code == ExitCode.OK
    done = run_here("check", "--security", "--json", "--environment", "production")
    assert done.code == ExitCode.ATTENTION
    preferences, auth = (done.data["security"]["databases"][name]["samples"] for name in names(target))
    assert preferences == ["alice", "carla", "vicky"]
    assert "user-sam" in auth
    assert f"{names(target)[1]} holds {len(auth)} documents of sample data (" in done.stderr
    assert "holds 3 documents of sample data (alice, carla, vicky), whose passwords are public" in done.stderr


def test_security_check_requires_credentials(here: Command, loaded: Target, proxied: Through) -> None:
    """Without credentials the check fails as usual: exit code 6."""
    options = ("--url", loaded.address.url, "--prefix", loaded.prefix)
    assert here("check", "--security", *options).code == ExitCode.CREDENTIALS
