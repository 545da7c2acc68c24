"""Servers that are down, not CouchDB, refuse, fail or hang: one clear error, the right exit code, no secrets.

Every command that uses a server is tested with each of them.
"""

import re
import socket
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from urllib.parse import quote
from uuid import uuid4

import pytest

from dataloader.batch import Manifest, read_manifest
from dataloader.common import ExitCode, UnreachableError
from dataloader.couch import Database, Server
from dataloader.operations import Outcome, Source, all_sources, load
from dataloader.records import Snapsets, read_snapsets
from dataloader.target import Target
from tests.support.command import Command, Completed, failed
from tests.support.loading import plant_load
from tests.support.marks import ONE_MODEL, THOROUGH, crossed
from tests.support.proxy import Forward, Hangup, Hook, Proxy, Reply, Request, pass_on
from tests.support.raw_server import RawServer
from tests.support.registry import NEVER_RETRIES, SERVER_COMMANDS, arguments, parameters
from tests.support.server import OUTSIDE_URL, PLAIN_USER, delete, put, sequences, snapshot

USER = "somebody-else"
PASSWORD = "a sécret: 100%/with@signs"
GREETING = Reply.json(200, {"couchdb": "Welcome", "version": "3.5.0"})
NOBODY = "http://127.0.0.1:9"
"""Not used: these proxies answer themselves."""

Call = Callable[..., Completed]

EACH_COMMAND = pytest.mark.parametrize("name", SERVER_COMMANDS)
"""From the registry, so that new commands are tested, too."""


@pytest.fixture
def ask(here: Command, given: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run a command on a server with short timeouts, ``ask("load", url)``; check that it reveals no secrets."""
    monkeypatch.setenv("COUCHDB_USER", USER)
    monkeypatch.setenv("COUCHDB_PASSWORD", PASSWORD)
    monkeypatch.setenv("DATALOADER_RETRIES", "2")

    def ask(name: str, *options: object) -> Completed:
        completed = here(name, *arguments(name, *given), "--environment", "ci", *options)
        assert_keeps_secret(completed, USER, PASSWORD)
        return completed

    return ask


def assert_keeps_secret(completed: Completed, user: str, password: str) -> None:
    """Check that a password is not in the output, in any encoding that is sent to the server."""
    output = completed.stdout + completed.stderr
    pair = f"{user}:{password}".encode()
    for form in (password, quote(password), quote(password, safe=""), b64encode(pair).decode()):
        assert form not in output


def assert_fails(completed: Completed, code: ExitCode, says: str) -> None:
    """Check that a command failed with one line on stderr and nothing on stdout."""
    assert re.fullmatch(rf"error: [^\n]*{says}[^\n]*\n", completed.stderr), completed.stderr
    assert (completed.code, completed.stdout) == (code, "")


def always(reply: Reply) -> Hook:
    """Return a hook that always answers with the same reply."""
    return lambda *_: reply


def after_greeting(reply: Reply) -> Hook:
    """Return a hook that greets as CouchDB does and then always answers with the same reply."""
    return lambda request, _: GREETING if request.path == "/" else reply


def hang_up(request: Request, forward: Forward) -> Reply:
    """Reset the connection."""
    raise Hangup


@contextmanager
def silent(answers: Hook) -> Iterator[Proxy]:
    """Run a server that accepts every request and never answers those for which the hook hangs up."""
    over = Event()

    def hook(request: Request, forward: Forward) -> Reply:
        try:
            return answers(request, forward)
        except Hangup:
            over.wait(60)
            raise

    with Proxy(NOBODY, hook) as proxy:
        try:
            yield proxy
        finally:
            over.set()


@dataclass(frozen=True)
class Bad:
    """A server that no command can use."""

    hook: Hook
    code: ExitCode
    says: str
    """A regular expression for the error message."""


HTML = {"Content-Type": "text/html"}
PAGE = b"<!DOCTYPE html><title>Welcome</title>"
UNAUTHORIZED = {"error": "unauthorized", "reason": "Name or password is incorrect."}
LOCKED = {"error": "forbidden", "reason": "Account is temporarily locked due to multiple authentication failures"}
BAD = {
    "log-in page": Bad(
        always(Reply(302, b"", {"Location": "/login?next=%2F"})),
        ExitCode.PROTOCOL,
        r"the server redirects to another page \(302\), as log-in pages do",
    ),
    "log-in page elsewhere": Bad(
        always(Reply(307, b"", {"Location": "https://login.example.org/?token=1"})),
        ExitCode.PROTOCOL,
        r"the server redirects to login\.example\.org \(307\), as log-in pages do",
    ),
    "page": Bad(always(Reply(200, PAGE, HTML)), ExitCode.PROTOCOL, "not a CouchDB server: its reply is not JSON"),
    "a string that is not UTF-8": Bad(
        always(Reply(200, b'{"couchdb":"Welcome","version":"\xff"}')), ExitCode.PROTOCOL, "its reply is not JSON"
    ),
    "empty page": Bad(always(Reply(200)), ExitCode.PROTOCOL, "not a CouchDB server: its reply is not JSON"),
    "no such page": Bad(
        always(Reply(404, PAGE, HTML)),
        ExitCode.PROTOCOL,
        "not a CouchDB server: it answers 404 Not Found, a page with the title “Welcome”",
    ),
    "another's JSON": Bad(
        always(Reply.json(200, {"elasticsearch": "Welcome", "version": "1"})),
        ExitCode.PROTOCOL,
        "not a CouchDB server: it greets as something else",
    ),
    "a list": Bad(always(Reply.json(200, ["couchdb"])), ExitCode.PROTOCOL, "this is not a CouchDB server"),
    "another's error": Bad(
        always(Reply.json(404, {"error": "no route", "reason": "unknown"})), ExitCode.PROTOCOL, "404 no route, unknown"
    ),
    "bad request": Bad(always(Reply.json(400, {"error": "bad_request"})), ExitCode.PROTOCOL, "400 bad_request"),
    "greeting, then a page": Bad(after_greeting(Reply(200, PAGE, HTML)), ExitCode.PROTOCOL, "its reply is not JSON"),
    "greeting, then a log-in page": Bad(
        after_greeting(Reply(302, b"", {"Location": "/login"})), ExitCode.PROTOCOL, r"redirects to another page \(302\)"
    ),
    "greeting, then null": Bad(after_greeting(Reply.json(200, None)), ExitCode.PROTOCOL, "not a CouchDB server"),
    "greeting, then {}": Bad(after_greeting(Reply.json(200, {})), ExitCode.PROTOCOL, "not a CouchDB server"),
    "wrong password": Bad(
        always(Reply.json(401, UNAUTHORIZED)),
        ExitCode.CREDENTIALS,
        f"the server does not accept the password of user {USER}",
    ),
    "wrong password, by a proxy": Bad(
        always(Reply(401, PAGE, HTML)),
        ExitCode.CREDENTIALS,
        f"the server does not accept the password of user {USER}",
    ),
    "account locked": Bad(
        always(Reply.json(403, LOCKED)), ExitCode.CREDENTIALS, f"user {USER} is locked out for a while"
    ),
    "reset": Bad(hang_up, ExitCode.UNREACHABLE, "the connection failed after"),
    "truncated": Bad(always(Reply(200, GREETING.body, cut=5)), ExitCode.UNREACHABLE, "the connection failed after"),
    "greeting, then truncated": Bad(
        after_greeting(Reply(200, b'{"some": 1}', cut=3)),
        ExitCode.UNREACHABLE,
        "the connection failed after",
    ),
    **{
        f"{status} for ever": Bad(
            always(Reply(status, PAGE, HTML)),
            ExitCode.UNREACHABLE,
            f"a proxy, not CouchDB, answers {status} [A-Za-z ]+, a page with the title “Welcome” after",
        )
        for status in (408, 429, 500, 502, 503, 504)
    },
    "503 with Retry-After for ever": Bad(
        always(Reply(503, b"", {"Retry-After": "3600"})), ExitCode.UNREACHABLE, "the server answers 503"
    ),
}


@crossed("name, case", SERVER_COMMANDS, [*BAD], share=5, always=["check"])
def test_bad_server_is_reported_in_one_line(ask: Call, name: str, case: str) -> None:
    """Whatever answers instead of CouchDB, each command has the right exit code and says why."""
    bad = BAD[case]
    if (name, case) == ("taps", "greeting, then {}"):
        pytest.skip("to taps, a card that gets no usable answer is a result, with an exit code of its own")
    with Proxy(NOBODY, bad.hook) as proxy:
        completed = ask(name, "--url", proxy.url, "--json")
    assert completed.data == failed(completed.stderr.removeprefix("error: ").rstrip(), bad.code)
    says = bad.says.removesuffix(" after") if name in NEVER_RETRIES else bad.says
    assert_fails(replace(completed, stdout=""), bad.code, says)


@EACH_COMMAND
def test_unreachable_server_is_reported_in_one_line(ask: Call, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Port closed, unknown host, another protocol, or a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert_fails(ask(name, "--url", f"http://127.0.0.1:{port}"), ExitCode.UNREACHABLE, "cannot connect")
    assert_fails(ask(name, "--url", "http://nohost.invalid:5984"), ExitCode.UNREACHABLE, "there is no such host")
    with RawServer(b"SSH-2.0-OpenSSH_9.6\r\n") as server:
        says = "the connection failed" if name in NEVER_RETRIES else "the connection failed after"
        assert_fails(ask(name, "--url", server.url), ExitCode.UNREACHABLE, says)
    monkeypatch.setenv("DATALOADER_TIMEOUT", "0.05")
    for hook in (hang_up, lambda request, forward: GREETING if request.path == "/" else hang_up(request, forward)):
        with silent(hook) as proxy:
            # taps has its own timeout for answers.
            says = "no reply within" if name in NEVER_RETRIES else r"no reply within 0\.05 seconds"
            assert_fails(ask(name, "--url", proxy.url), ExitCode.UNREACHABLE, says)


def test_wrong_url_is_reported_at_once(ask: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing answers the first request, it is retried once only; a failing server gets every retry."""
    monkeypatch.setenv("DATALOADER_RETRIES", "50")
    monkeypatch.setenv("DATALOADER_TIMEOUT", "0.1")
    with silent(hang_up) as proxy:
        assert ask("check", "--url", proxy.url).code == ExitCode.UNREACHABLE
    assert len(proxy.requests) == 2
    monkeypatch.delenv("DATALOADER_TIMEOUT")
    monkeypatch.setenv("DATALOADER_RETRY_WAIT", "0.1")
    monkeypatch.setenv("DATALOADER_RETRY_TOTAL", "10")
    start = time.monotonic()
    assert ask("check", "--url", NOBODY).code == ExitCode.UNREACHABLE
    assert time.monotonic() - start < 5
    monkeypatch.setenv("DATALOADER_RETRY_WAIT", "0")
    for hook in (hang_up, always(Reply(503))):
        with Proxy(NOBODY, hook) as proxy:
            assert ask("check", "--url", proxy.url).code == ExitCode.UNREACHABLE
        assert len(proxy.requests) == 51


@pytest.mark.parametrize("case", BAD)
def test_debug_traceback_contains_no_secrets(ask: Call, case: str) -> None:
    """``--debug`` prints the traceback before the error, without any password."""
    bad = BAD[case]
    with Proxy(NOBODY, bad.hook) as proxy:
        completed = ask("check", "--url", proxy.url, "--debug")
    assert completed.code == bad.code
    assert "\nTraceback (most recent call last):\n" in f"\n{completed.stderr}"
    assert re.search(bad.says, completed.stderr.splitlines()[-1])


@pytest.mark.parametrize(
    "arguments", [("check", "{url}"), ("validate", "{url}"), ("generate", "x", "--cards", "{url}")]
)
def test_password_in_a_misplaced_url_is_masked(here: Command, arguments: tuple[str, ...]) -> None:
    """A URL given where none is expected is repeated without its password."""
    url = f"http://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:5984"
    for flags in ((), ("--json",), ("--debug",), ("--log-format", "json")):
        completed = here(*(each.format(url=url) for each in arguments), *flags)
        assert completed.code in {ExitCode.USAGE, ExitCode.FILE}
        assert_keeps_secret(completed, USER, PASSWORD)


@pytest.mark.parametrize("rest", ["127.0.0.1:99999", "127.0.0.1:port", "[::1", "127.0.0.1/?q=1", "127.0.0.1/#here"])
def test_invalid_url_is_not_repeated(here: Command, monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
    """A URL that can't be parsed can't be masked, so it is not shown."""
    url = f"http://{USER}:{quote(PASSWORD, safe='')}@{rest}"
    by_option = here("check", "--url", url, "--debug")
    monkeypatch.setenv("COUCHDB_URL", url)
    for completed in (by_option, here("check", "--debug")):
        assert completed.code == ExitCode.USAGE
        assert completed.stderr.splitlines()[-1].startswith("error: the server's URL: ")
        assert USER not in completed.stderr
        assert_keeps_secret(completed, USER, PASSWORD)


def test_password_in_the_url_works_with_a_warning(here: Command, target: Target) -> None:
    """It is used and not shown; the warning says that everyone on the machine can see it."""
    user, password = target.address.user or "", target.address.password or ""
    url = target.address.url.replace("http://", f"http://{quote(user, safe='')}:{quote(password, safe='')}@")
    completed = here("check", "--url", url, "--prefix", target.prefix, "--model", target.model.name)
    assert completed.code == ExitCode.OK
    assert "warning: the password in --url is visible to everyone on this machine" in completed.stderr
    assert f"at {target.address.url}\n" in completed.stdout
    assert_keeps_secret(completed, user, password)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in {"load", "check"} else THOROUGH) for name in SERVER_COMMANDS]
)
def test_process_fails_in_the_same_way(command: Command, given: tuple[Path, Path], name: str) -> None:
    """The process has the same exit code, error line and JSON object."""
    environment = {"COUCHDB_USER": USER, "COUCHDB_PASSWORD": PASSWORD}
    with Proxy(NOBODY, BAD["wrong password"].hook) as proxy:
        completed = command(name, *arguments(name, *given), "--url", proxy.url, "--json", env=environment)
    assert completed.code == completed.data["exit_code"] == ExitCode.CREDENTIALS
    assert completed.stderr == f"error: {completed.data['error']}\n"
    assert_keeps_secret(completed, USER, PASSWORD)


# Real servers that refuse.


@pytest.fixture
def somebody(server: Server) -> Iterator[tuple[str, str]]:
    """A user whose account a test may lock with wrong passwords, as CouchDB does after five."""
    if not OUTSIDE_URL:
        yield PLAIN_USER
        return
    users = server.database("_users")
    if not users.exists():
        users.create()
    name, password = f"somebody-{uuid4().hex}", "somebody's password"
    document = {"_id": f"org.couchdb.user:{name}", "name": name, "password": password, "roles": [], "type": "user"}
    put(users, document)
    yield name, password
    delete(users, f"org.couchdb.user:{name}")


@pytest.fixture
def loaded(server: Server, target: Target, given: tuple[Path, Path]) -> Target:
    """A target that an admin has loaded with the small batch."""
    manifest, snapsets = given
    sources = all_sources(target, [read_manifest(manifest)], read_snapsets(snapsets))
    plant_load(server, target, sources)
    return target


@ONE_MODEL
@EACH_COMMAND
def test_rejected_credentials_are_an_error(
    ask: Call, loaded: Target, server: Server, somebody: tuple[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A wrong password, no password and missing permissions end with code 6, and nothing is written."""
    before = sequences(server, loaded)
    options = ("--url", loaded.address.url, "--prefix", loaded.prefix)
    user, password = somebody

    monkeypatch.setenv("COUCHDB_USER", user)
    monkeypatch.setenv("COUCHDB_PASSWORD", "wrong")
    says = f"the server does not accept the password of user {user} .*correct the user name or the password"
    assert_fails(ask(name, *options), ExitCode.CREDENTIALS, says)

    monkeypatch.setenv("COUCHDB_PASSWORD", password)
    completed = ask(name, *options)
    assert_fails(completed, ExitCode.CREDENTIALS, f"user {user} may not do this .*use a server admin")
    assert_keeps_secret(completed, user, password)

    monkeypatch.delenv("COUCHDB_USER")
    monkeypatch.delenv("COUCHDB_PASSWORD")
    says = "the server requires a user name and a password .*set COUCHDB_USER and COUCHDB_PASSWORD"
    assert_fails(ask(name, *options), ExitCode.CREDENTIALS, says)
    assert sequences(server, loaded) == before


@pytest.mark.parametrize("name", [name for name in SERVER_COMMANDS if {"update", "users"} & parameters(name)])
def test_user_who_may_not_create_databases_is_told(
    ask: Call, server: Server, target: Target, plain_user: tuple[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """If the databases are missing, a user who is not an admin is told what to do; nothing is created."""
    monkeypatch.setenv("COUCHDB_USER", plain_user[0])
    monkeypatch.setenv("COUCHDB_PASSWORD", plain_user[1])
    completed = ask(name, "--url", target.address.url, "--prefix", target.prefix, "--model", target.model.name)
    assert_fails(completed, ExitCode.CREDENTIALS, "may not do this .*have one create the databases")
    assert not any(server.database(target.database(each)).exists() for each in target.model.databases)


def test_check_reports_a_user_who_is_not_admin(
    ask: Call, target: Target, plain_user: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``check`` still shows what it found, and that this user could not load it."""
    monkeypatch.setenv("COUCHDB_USER", plain_user[0])
    monkeypatch.setenv("COUCHDB_PASSWORD", plain_user[1])
    completed = ask("check", "--url", target.address.url, "--prefix", target.prefix, "--model", target.model.name)
    assert completed.code == ExitCode.CREDENTIALS
    assert f"user       {plain_user[0]}, not a server admin\n" in completed.stdout
    [line] = completed.stderr.splitlines()
    names = " and ".join(target.database(each) for each in target.model.databases)
    assert line.startswith(f"error: user {plain_user[0]} is not a server admin and can't create {names} or write views")


# Temporary failures.


class Flaky:
    """A hook that fails each request a few times, each time in another way, before it goes through."""

    def __init__(self, *faults: Hook) -> None:
        self._faults = faults
        self._seen: Counter[tuple[str, str, bytes]] = Counter()
        self._lock = Lock()

    def __call__(self, request: Request, forward: Forward) -> Reply:
        """Fail a request, or forward it."""
        key = request.method, request.target, request.body
        with self._lock:
            at = self._seen[key]
            self._seen[key] += 1
        return self._faults[at](request, forward) if at < len(self._faults) else forward(request)


def reply_lost(request: Request, forward: Forward) -> Reply:
    """Forward the request and drop the reply."""
    forward(request)
    raise Hangup


def reply_cut(request: Request, forward: Forward) -> Reply:
    """Forward the request and close the connection in the middle of the reply."""
    reply = forward(request)
    return Reply(reply.status, reply.body, reply.headers, cut=len(reply.body) // 2)


def timed_out_behind(request: Request, forward: Forward) -> Reply:
    """Forward the request and answer like a load balancer that did not wait for it."""
    forward(request)
    return Reply(504, PAGE, HTML)


PASSING: dict[str, Hook] = {
    **{str(status): always(Reply(status, PAGE, HTML)) for status in (408, 429, 500, 502, 503, 504)},
    "429, wait": always(Reply.json(429, {"error": "too_many_requests"}, Retry_After="1")),
    "503, wait": always(Reply(503, b"", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})),
    "503, wait for nonsense": always(Reply(503, b"", {"Retry-After": "soon"})),
    "reset": hang_up,
    "reply lost": reply_lost,
    "reply cut": reply_cut,
    "timed out behind": timed_out_behind,
}


@pytest.fixture
def small(target: Target, given: tuple[Path, Path]) -> list[Source]:
    """The documents of a small batch."""
    manifest, snapsets = given
    return all_sources(target, [read_manifest(manifest)], read_snapsets(snapsets))


ALIKE = {"408", "500", "502", "504", "429, wait", "503, wait for nonsense"}
"""Faults that are treated like another one."""


@ONE_MODEL
@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=THOROUGH) if fault in ALIKE else fault for fault in PASSING]
)
def test_load_retries_temporary_failures(
    proxied: Callable[[Hook], tuple[Server, Proxy]],
    server: Server,
    target: Target,
    small: list[Source],
    fault: str,
) -> None:
    """A load whose every request fails at first writes exactly what a load without failures writes, once."""
    through, proxy = proxied(Flaky(PASSING[fault]))
    result = load(through, target, small)
    assert result.needs_attention == 0
    assert len(proxy.requests) >= 2 * len({(each.method, each.target, each.body) for each in proxy.requests})
    there = snapshot(server, target)
    assert {name: len(documents) for name, documents in there.items()} == Counter(
        source.database for source in small for _ in range(source.count)
    )
    revisions = {document["_rev"] for documents in there.values() for document in documents.values()}
    assert all(revision.startswith("1-") for revision in revisions)
    assert not any("_conflicts" in document for documents in there.values() for document in documents.values())
    before = sequences(server, target)
    assert load(server, target, small).outcomes.keys() == result.outcomes.keys()
    assert sequences(server, target) == before


@THOROUGH
@ONE_MODEL
def test_every_command_retries_temporary_failures(
    here: Command, given: tuple[Path, Path], server: Server, target: Target, credentials: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With all kinds of failures, each command succeeds with its usual output."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    options = ("--model", target.model.name, "--prefix", target.prefix, "--environment", "ci", "--json")
    stages = [
        *("plan", "load", "verify", "merge", "check", "seed", "plan", "revoke", "status", "batches", "card"),
        *("snapsets", "credentials", "tokens", "backup", "drill", "drop", "restore"),
    ]
    told = []
    for hook in (pass_on, Flaky(hang_up, reply_lost, reply_cut, timed_out_behind, always(Reply(503)))):
        for database in target.model.databases:
            server.database(target.database(database)).delete()
        # The second load would obey the list of revoked cards.
        given[0].with_name("small.revoked.jsonl").unlink(missing_ok=True)
        with Proxy(target.address.url, hook) as proxy:
            completed = [
                here(name, *arguments(name, *given, target.model.name), "--url", proxy.url, *options) for name in stages
            ]
        assert [each.code for each in completed] == [ExitCode.OK] * len(stages)
        # The time of a backup is not a count.
        counts = ("absent", "created", "unchanged", "ok", "problems", "revoked", "dropped")
        told.append(
            [
                {name: each.data[name] for name in counts if not isinstance(each.data.get(name), str | None)}
                for each in completed
            ]
        )
    assert {*stages} == {*SERVER_COMMANDS} - NEVER_RETRIES
    assert told[0] == told[1]


@ONE_MODEL
def test_load_continues_after_a_server_failure(
    proxied: Callable[[Hook], tuple[Server, Proxy]], server: Server, target: Target, manifest: Manifest,
    snapsets: Snapsets,
) -> None:  # fmt: skip
    """A permanent failure stops the load with a message of how far it got; the next load does the rest."""
    sources = all_sources(target, [manifest], snapsets)
    total = sum(source.count for source in sources)

    def fail_at_tokens(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and b"gpiiToken-" in request.body:
            return Reply.json(503, {"error": "nodedown", "reason": "progress not possible"})
        return forward(request)

    through, _ = proxied(fail_at_tokens)
    with pytest.raises(UnreachableError) as caught:
        load(through, target, sources)
    seen = next(
        int(found[1]) for found in [re.search(rf"stopped after (\d+) of {total} documents", str(caught.value))] if found
    )
    assert "503 nodedown, progress not possible after 6 retries" in str(caught.value)
    assert "run it again to continue" in str(caught.value)
    assert sum(len(documents) for documents in snapshot(server, target).values()) == seen
    result = load(server, target, sources)
    assert (result.count(Outcome.UNCHANGED), result.count(Outcome.CREATED)) == (seen, total - seen)


def test_unreadable_document_is_not_treated_as_absent(
    proxied: Callable[[Hook], tuple[Server, Proxy]], server: Server, loaded: Target, given: tuple[Path, Path]
) -> None:
    """A document that the server can't read stops the run with its name, and is not overwritten."""
    for database in loaded.model.databases:
        for doc_id in (row for row in snapshot(server, loaded)[database] if not row.startswith("_")):
            put(server.database(loaded.database(database)), {**snapshot(server, loaded)[database][doc_id], "x": 1})
    before = sequences(server, loaded)

    def unreadable(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint != "_bulk_get":
            return reply
        results = reply.data()["results"]
        for result in results:
            error = {"id": result["id"], "rev": "undefined", "error": "internal_server_error", "reason": "timeout"}
            result["docs"] = [{"error": error}]
        return Reply.json(200, {"results": results})

    through, _ = proxied(unreadable)
    manifest, snapsets = given
    with pytest.raises(UnreachableError, match=r"can't read document .*: internal_server_error, timeout after"):
        load(through, loaded, all_sources(loaded, [read_manifest(manifest)], read_snapsets(snapsets)))
    assert sequences(server, loaded) == before


def unreadable_document(reply: Reply) -> Reply:
    """Change a reply so that its last document can't be read, in the form that CouchDB uses when a node fails."""
    error = {"error": "nodedown", "reason": "progress not possible"}
    data = reply.data()
    if "results" in data:
        data["results"][-1]["docs"] = [{"error": {"id": data["results"][-1]["id"], "rev": "undefined", **error}}]
    else:
        data["rows"][-1] = {"key": data["rows"][-1]["key"], **error}
    return Reply.json(200, data)


@pytest.mark.parametrize("times", [1, 2, None])
@pytest.mark.parametrize("asked", ["leaves", "revision", "all_docs"])
def test_unreadable_document_is_retried(
    proxied: Callable[[Hook], tuple[Server, Proxy]], server: Server, prefix: str, asked: str, times: int | None
) -> None:
    """As often as a failed request; then the error names it."""
    database = server.database(f"{prefix}gpii")
    database.create()
    put(database, {"_id": "there"})
    rev = put(database, {"_id": "second"})
    asking: dict[str, Callable[[Database], object]] = {
        "leaves": lambda each: each.leaves(["there", "second", "absent"])["second"][0]["_rev"],
        "revision": lambda each: (each.revision("second", rev) or {})["_rev"],
        "all_docs": lambda each: each.all_docs(["there", "second"])[1]["value"]["rev"],
    }
    failed = 0

    def fail(request: Request, forward: Forward) -> Reply:
        nonlocal failed
        reply = forward(request)
        if request.method == "POST" and failed != times:
            failed += 1
            return unreadable_document(reply)
        return reply

    through, proxy = proxied(fail)
    ask = asking[asked]
    if times is None:
        with pytest.raises(UnreachableError, match=r"nodedown, progress not possible after \d+ retr") as caught:
            ask(through.database(database.name))
        assert f"the server can't read document {'absent' if asked == 'leaves' else 'second'}: " in str(caught.value)
        assert len(proxy.requests) == 1 + through.patience.retries
    else:
        assert ask(through.database(database.name)) == rev
        assert len(proxy.requests) == 1 + times
