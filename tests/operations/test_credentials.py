"""Credentials of sites: their pilot computers get access with each model, and lose it when revoked."""

import json
import stat
from pathlib import Path
from uuid import UUID

import pytest

from dataloader.common import ExitCode, explain
from dataloader.couch import Server
from dataloader.operations import create_files, free_client_id, load, site_sources
from dataloader.records import Site, client_database
from dataloader.target import Target
from tests.support.command import Command, Completed
from tests.support.marks import ONE_MODEL
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied, databases, snapshot

NAME = "Example Library"


@pytest.fixture
def create(run_here: Command, tmp_path: Path) -> Command:
    """Create the credentials of a site on the target: ``create("library", …)``."""

    def create(site: str, *options: object) -> object:
        return run_here("credentials", "create", site, "--name", NAME, "--out", tmp_path / "secrets", *options)

    return create  # type: ignore[return-value]


def secret_of(path: Path) -> dict[str, str]:
    """Return the secret in an installer file."""
    data = json.loads(path.read_text())
    assert explain("files/site-credentials", data) == []
    found: dict[str, str] = data["clientCredentials"]
    return found


def clients(server: Server, target: Target) -> list[dict[str, object]]:
    """Return the documents that give pilot computers access."""
    stored = snapshot(server, target)[client_database(target.model)].values()
    kind = "clientCredential" if target.model.name == "gpii-key" else "gpiiAppInstallationClient"
    return [each for each in stored if each.get("type") == kind]


def test_create_gives_a_site_access(
    create: Command, run_here: Command, server: Server, target: Target, tmp_path: Path
) -> None:
    """The documents follow their schemas, the installer file is private, and the secret is not printed."""
    done = create("library")
    assert done.code == ExitCode.OK
    path = tmp_path / "secrets" / "library.secret.json"
    secret = secret_of(path)
    assert all(str(UUID(value, version=4)) == value for value in secret.values())
    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
    [client] = clients(server, target)
    assert (client["oauth2ClientId"], client["oauth2ClientSecret"]) == (secret["client_id"], secret["client_secret"])
    assert secret["client_secret"] not in done.stdout + done.stderr
    stored = snapshot(server, target)[client_database(target.model)].values()
    for document in (each for each in stored if not each["_id"].startswith("_")):
        bare = {name: value for name, value in document.items() if name != "_rev"}
        assert explain(f"{target.model.name}/{bare['type']}", bare) == []
    titles, row = run_here("credentials", "list").stdout.splitlines()
    assert titles.split() == ["name", "client", "created", "addresses", "terms"]
    assert row.startswith(NAME)
    listed = run_here("credentials", "list", "--json")
    assert [each["name"] for each in listed.data["clients"]] == [NAME]
    assert secret["client_secret"] not in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("rotate", "library", "--allow-ip", "10.0.0.0/8"),
            "rotate: takes no --allow-ip (leave it out; it is for create)",
        ),
        (("revoke", "library", "--out", "x"), "revoke: takes no --out (leave it out; it is for create and rotate)"),
        (("create", "library", "--reason", "lost"), "create: takes no --reason (leave it out; it is for revoke)"),
        (("list", "library"), "list library: takes no site (leave it out)"),
    ],
)
def test_option_of_another_action_is_refused(here: Command, arguments: tuple[str, ...], says: str) -> None:
    """A new secret does not change the limits; an ignored --allow-ip would leave a site open."""
    done = here("credentials", *arguments, "--url", "http://127.0.0.1:1")
    assert (done.code, done.stderr) == (ExitCode.USAGE, f"error: credentials {says}\n")


def test_create_again_is_refused(create: Command, server: Server, target: Target) -> None:
    """A site has one secret; rotate replaces it."""
    assert create("library").code == ExitCode.OK
    before = clients(server, target)
    done = create("library", "--out", "elsewhere")
    assert done.code == ExitCode.INPUT
    assert "site library: already exists on this target (use `credentials rotate`" in done.stderr
    assert clients(server, target) == before
    assert not Path("elsewhere").exists()


@ONE_MODEL
def test_site_that_somebody_else_creates_meanwhile_is_refused(
    run_here: Command, server: Server, target: Target, tmp_path: Path, proxied: Proxied
) -> None:
    """Of two secrets of one client, one would not work, and no advice replaces the other."""
    others: list[str] = []

    def create_first(request: Request, forward: Forward) -> Reply:
        if request.method == "PUT" and not others:
            what = Site(NAME, "2018-03-01T10:00:00.000Z", (), ())
            client = free_client_id(server, target, "library")
            _, documents = create_files(target.model, "library", what, tmp_path / "theirs", client)
            load(server, target, site_sources(target.model, "library", documents))
            others.append(client)
        return forward(request)

    through, _ = proxied(create_first)
    options = ("--name", NAME, "--out", tmp_path / "mine")
    done = run_here("credentials", "create", "library", *options, url=through.address.url)
    assert others
    assert done.code == ExitCode.INPUT
    assert "site library: already exists on this target (use `credentials rotate`" in done.stderr
    [client] = clients(server, target)
    assert client["oauth2ClientSecret"] == secret_of(tmp_path / "theirs" / "library.secret.json")["client_secret"]


def test_credentials_created_offline_can_be_loaded(
    here: Command, run_here: Command, server: Server, target: Target, tmp_path: Path
) -> None:
    """Without a target, only files are written; ``load --documents`` loads them, any number of times."""
    done = here("credentials", "create", "library", "--name", NAME, "--model", target.model.name, "--out", tmp_path)
    assert done.code == ExitCode.OK, done.stderr
    path = tmp_path / "library.documents.json"
    first = run_here("load", "--documents", path, "--environment", "production", "--json")
    assert first.code == ExitCode.OK, first.stderr
    assert len(clients(server, target)) == 1
    again = run_here("load", "--documents", path, "--environment", "production", "--json")
    assert (again.code, again.data["created"]) == (ExitCode.OK, 0)


def test_revoked_site_can_be_created_again(create: Command, run_here: Command, server: Server, target: Target) -> None:
    """Nothing that gives it access is left, nor its secret; the new one is another client."""
    create("library")
    [old] = clients(server, target)
    done = run_here("credentials", "revoke", "library", "--yes", "--reason", "closed")
    assert done.code == ExitCode.OK
    assert clients(server, target) == []
    database = databases(server, target)[client_database(target.model)]
    for leaf in database.leaves([str(old["_id"])])[str(old["_id"])]:
        assert (leaf["_deleted"], leaf["revokedReason"]) == (True, "closed")
        assert "oauth2ClientSecret" not in leaf
    done = run_here("credentials", "revoke", "library")
    todo = "no site has any; use `dataloader credentials create`"
    assert done.code == ExitCode.INPUT, "there is nothing to confirm"
    assert done.stderr == f"error: site library: has no credentials on this target ({todo})\n"
    assert create("library", "--out", "again").code == ExitCode.OK
    [new] = clients(server, target)
    assert new["_id"] != old["_id"]


def test_rotate_invalidates_the_old_secret(
    create: Command, run_here: Command, server: Server, target: Target, tmp_path: Path
) -> None:
    """The new one is on disk before it is in the target, and the site's permissions are kept."""
    limits = ("--allow-ip", "10.1.0.0/16", "--allow-pref", "fontSize") if target.model.name == "gpii-key" else ()
    create("library", *limits)
    [old] = clients(server, target)
    done = run_here("credentials", "rotate", "library", "--out", tmp_path / "secrets", "--json")
    assert done.code == ExitCode.OK, done.stderr
    secret = secret_of(Path(done.data["secret_file"]))
    [new] = clients(server, target)
    assert new["oauth2ClientSecret"] == secret["client_secret"] != old["oauth2ClientSecret"]
    assert new["oauth2ClientId"] != old["oauth2ClientId"]
    if limits:
        assert new["allowedIPBlocks"] == ["10.1.0.0/16"]
        assert new["allowedPrefsToWrite"] == ["http://registry.gpii.net/common/fontSize"]
    assert len(run_here("credentials", "list", "--json").data["clients"]) == 1


@ONE_MODEL
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("create",), ExitCode.USAGE, "needs a site"),
        (("create", "a"), ExitCode.USAGE, "needs a folder for the secret file (add --out DIR)"),
        (("create", "a", "--out", "x"), ExitCode.USAGE, "needs the name that people see"),
        (("create", "../a", "--name", "A", "--out", "x"), ExitCode.INPUT, "choose another"),
        (("create", "a", "--name", "A", "--out", "x", "--allow-ip", "10.0.0.0/8"), ExitCode.USAGE, "can't limit"),
        (("revoke", "nowhere", "--yes"), ExitCode.PROTOCOL, "does not exist (load the target first"),
    ],
)
def test_missing_arguments_are_reported(
    run_here: Command, arguments: tuple[str, ...], code: ExitCode, says: str
) -> None:
    """In one line, and before any file is written."""
    done = run_here("credentials", *arguments)
    assert done.code == code
    assert says in done.stderr
    assert not Path("x").exists()


def test_check_warns_if_nobody_can_log_in(create: Command, run_here: Command) -> None:
    """Without a client in the target, no pilot computer gets a token."""
    run_here("load", "--snapsets-only")
    warned = run_here("check")
    assert warned.code == ExitCode.OK
    assert "has no client, so no pilot computer gets a token" in warned.stderr
    advised = warned.stderr.partition("`dataloader ")[2].partition("`")[0]
    assert run_here(*advised.replace("SITE", "river").split()).code == ExitCode.OK
    assert "has no client" not in run_here("check").stderr


def test_refused_revocation_is_an_error_with_the_reason(create: Command, run_here: Command, proxied: Proxied) -> None:
    """Somebody's rules in the database may refuse it; that is not a conflict with others."""
    assert create("river").code == ExitCode.OK

    def refuse(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and b'"_deleted"' in request.body:
            ids = [each["_id"] for each in request.data()["docs"]]
            return Reply.json(201, [{"id": each, "error": "forbidden", "reason": "no deletions"} for each in ids])
        return forward(request)

    _, proxy = proxied(refuse)
    done = run_here("credentials", "revoke", "river", "--reason", "closed", "--yes", url=proxy.url)
    assert done.code == ExitCode.ATTENTION, done
    assert "does not accept that it is deleted (forbidden: no deletions)" in done.stderr


@pytest.mark.parametrize("value", [5, True, {"10.0.0.0/8": 1}, "10.0.0.0/8", [5, None]])
def test_damaged_document_of_another_site_stops_nothing(
    create: Command, run_here: Command, server: Server, target: Target, value: object
) -> None:
    """Above all not a revocation."""
    assert create("river").code == ExitCode.OK
    [client] = clients(server, target)
    kept = {name: each for name, each in client.items() if name != "_rev"}
    [database] = [each for name, each in databases(server, target).items() if name == client_database(target.model)]
    damage = {"allowedIPBlocks": value, "allowedPrefsToWrite": value, "timestampCreated": value, "name": value}
    assert (
        database.edit([{**kept, "_id": "damaged", "clientId": "another", "oauth2ClientId": "another", **damage}]) == []
    )
    assert run_here("credentials", "list").code == ExitCode.OK
    assert run_here("check").code == ExitCode.OK
    done = run_here("credentials", "revoke", "river", "--reason", "closed", "--yes")
    assert done.code == ExitCode.OK, done.stderr
    assert [each["_id"] for each in clients(server, target)] == ["damaged"]


def test_view_of_others_is_an_error(create: Command, run_here: Command, proxied: Proxied) -> None:
    """What it returns must not be taken for the clients' documents, which are deleted by their IDs."""
    assert create("river").code == ExitCode.OK

    def others(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if "_view/findClientByOauth2ClientId" not in request.path:
            return reply
        rows = [{**row, "value": None} for row in reply.data()["rows"]]
        return Reply.json(200, {**reply.data(), "rows": rows})

    _, proxy = proxied(others)
    done = run_here("credentials", "revoke", "river", "--reason", "closed", "--yes", url=proxy.url)
    assert done.code == ExitCode.PROTOCOL, done
    assert "its view of clients is not ours (load with --snapsets-only --replace-views)" in done.stderr


def test_rotate_survives_a_lost_reply(
    create: Command, run_here: Command, server: Server, target: Target, proxied: Proxied, tmp_path: Path
) -> None:
    """The retry is rejected as a conflict, though the new secret was written; its file must not be deleted then."""
    create("river")
    lost: list[Request] = []

    def lose(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint == "_bulk_docs" and not lost:
            lost.append(request)
            return Reply.json(503, {"error": "unavailable"})
        return reply

    _, proxy = proxied(lose)
    done = run_here("credentials", "rotate", "river", "--out", tmp_path / "secrets", "--json", url=proxy.url)
    assert done.code == ExitCode.OK, done.stderr
    [new] = clients(server, target)
    assert new["oauth2ClientSecret"] == secret_of(Path(done.data["secret_file"]))["client_secret"]


@pytest.mark.parametrize("action", ["revoke", "rotate"])
def test_site_that_is_revoked_while_its_secret_is_rotated_has_no_access(
    create: Command, run_here: Command, server: Server, target: Target, proxied: Proxied, tmp_path: Path, action: str
) -> None:
    """Whichever of the two commands writes first."""
    create("river")
    commands = {
        "revoke": ("credentials", "revoke", "river", "--yes"),
        "rotate": ("credentials", "rotate", "river", "--out", tmp_path / "secrets"),
    }
    other = commands["rotate" if action == "revoke" else "revoke"]
    done: list[Completed] = []

    def meanwhile(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and not done:
            done.append(run_here(*other))
        return forward(request)

    _, proxy = proxied(meanwhile)
    done.append(run_here(*commands[action], url=proxy.url))
    assert [each.code for each in done] == [ExitCode.OK, ExitCode.OK if action == "revoke" else ExitCode.ATTENTION]
    assert clients(server, target) == []


@ONE_MODEL
@pytest.mark.parametrize("action", ["revoke", "rotate"])
def test_database_that_changes_its_purpose_meanwhile_is_not_touched(
    create: Command, run_here: Command, server: Server, target: Target, proxied: Proxied, tmp_path: Path, action: str
) -> None:
    """Its environment is read again just before it is written to."""
    create("river")
    before = clients(server, target)
    [database] = [each for name, each in databases(server, target).items() if name == client_database(target.model)]
    options = ("--yes",) if action == "revoke" else ("--out", tmp_path / "secrets")

    def mark(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if "_view/findClientByOauth2ClientId" in request.path:
            database.put_local("dataloader", {**database.local("dataloader"), "environment": "production"})
        return reply

    _, proxy = proxied(mark)
    done = run_here("credentials", action, "river", *options, url=proxy.url)
    assert done.code == ExitCode.PROTECTED, done
    assert clients(server, target) == before


@ONE_MODEL
@pytest.mark.parametrize("action", ["revoke", "rotate"])
def test_database_restored_meanwhile_is_an_error(
    create: Command, run_here: Command, target: Target, proxied: Proxied, tmp_path: Path, action: str
) -> None:
    """An older state gives access to what was revoked."""
    create("river")
    written: list[Request] = []
    options = ("--yes",) if action == "revoke" else ("--out", tmp_path / "secrets")

    def restored(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint == "_bulk_docs":
            written.append(request)
        elif written and not request.endpoint and request.database.endswith(client_database(target.model)):
            return Reply.json(200, {**reply.data(), "instance_start_time": "1"})
        return reply

    _, proxy = proxied(restored)
    done = run_here("credentials", action, "river", *options, url=proxy.url)
    assert done.code == ExitCode.PROTOCOL, done
    assert "was recreated or restored while" in done.stderr
