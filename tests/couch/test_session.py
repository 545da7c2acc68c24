"""The HTTP session with real HTTP servers: requests, retries, timeouts and errors."""

import json
import re
import socket
import time
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import couchdb
import couchdb.http
import pytest

from dataloader import __version__
from dataloader.common import (
    CONNECTIONS,
    CredentialsError,
    DataloaderError,
    ExitCode,
    Patience,
    ProtocolError,
    TooLargeError,
    UnreachableError,
)
from dataloader.couch import Address, ConflictError, Database, NotFoundError, Server, Tls
from dataloader.couch.failures import TimedOutError
from dataloader.couch.replies import MAX_REPLIES, PreconditionError
from dataloader.couch.session import Request as Asked
from dataloader.couch.session import Session
from dataloader.target import Target
from tests.support.command import Command
from tests.support.proxy import Forward, Hangup, Hook, Proxy, Reply, Request
from tests.support.raw_server import RawServer
from tests.support.server import QUICK, Proxied, get

NOBODY = "http://127.0.0.1:9"
OK = Reply.json(200, {"ok": True})


def always(reply: Reply) -> Hook:
    """Return a hook that always answers with the same reply."""
    return lambda *_: reply


def first(reply: Reply, *, times: int) -> Hook:
    """Return a hook that sends a reply to the first requests, and then succeeds."""
    left = iter([reply] * times)
    return lambda *_: next(left, OK)


@pytest.fixture
def database(server: Server, prefix: str) -> Database:
    """An empty database on the real server."""
    database = server.database(f"{prefix}gpii")
    database.create()
    return database


# Requests.


def test_request_headers() -> None:
    """User and password are sent as UTF-8 by HTTP Basic, with the program's name and version."""
    with Proxy(NOBODY, always(OK)) as proxy:
        Session(Address(proxy.url, "jürgen", "pass:wörd"), QUICK).request("GET", f"{proxy.url}/")
        Session(Address(proxy.url), QUICK).request("GET", f"{proxy.url}/")
    known, anonymous = (request.headers for request in proxy.requests)
    assert b64decode(known["Authorization"].removeprefix("Basic ")).decode() == "jürgen:pass:wörd"
    assert "Authorization" not in anonymous
    assert (known["Accept"], known["User-Agent"]) == ("application/json", f"gpii-dataloader/{__version__}")
    assert "Content-Type" not in known


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"name": "Größe 🔍"}, '{"name":"Größe 🔍"}'.encode()),
        (b'{"as": "it is"}', b'{"as": "it is"}'),
        ([], b"[]"),
        (b"x" * 3_000_000, b"x" * 3_000_000),
    ],
)
def test_request_body_is_sent_unchanged(body: object, sent: bytes) -> None:
    """Bytes are sent as they are, anything else as JSON; the length counts bytes, not characters."""
    with Proxy(NOBODY, always(OK)) as proxy:
        Session(Address(proxy.url), QUICK).request("POST", f"{proxy.url}/db", body)
    [request] = proxy.requests
    assert request.body == sent
    assert request.headers["Content-Length"] == str(len(sent))
    assert request.headers["Content-Type"] == "application/json"


def test_couchdb_python_works_on_the_session(address: Address, database: Database) -> None:
    """``couchdb.Server`` and ``couchdb.Database`` read, write and iterate, including non-ASCII text."""
    server = couchdb.Server(address.url, session=Session(address, QUICK))
    there = server[database.name]
    doc_id, _ = there.save({"_id": "größe/🔍 +%", "text": "ä €"})
    assert there[doc_id]["text"] == "ä €"
    there.put_attachment(there[doc_id], "{}", "a.json", "application/json")
    assert list(there) == [doc_id]
    with pytest.raises(couchdb.http.ResourceNotFound):
        there["another"]
    with pytest.raises(couchdb.http.ResourceConflict):
        there.save({"_id": doc_id})
    with pytest.raises(couchdb.http.PreconditionFailed):
        server.create(database.name)


def test_connections_are_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequential requests use one connection; concurrent ones at most eight."""
    with Proxy(NOBODY, always(OK)) as proxy:
        accepted: list[object] = []
        accept = proxy._server.process_request

        def count(connection: object, client: object) -> None:
            accepted.append(client)
            accept(connection, client)

        monkeypatch.setattr(proxy._server, "process_request", count)
        session = Session(Address(proxy.url), QUICK)
        for _ in range(5):
            session.request("GET", f"{proxy.url}/")
        assert len(accepted) == 1
        with ThreadPoolExecutor(3 * CONNECTIONS) as executor:
            list(executor.map(lambda _: session.request("GET", f"{proxy.url}/"), range(60)))
        assert len(accepted) <= CONNECTIONS
    assert len(proxy.requests) == 65


# Retries.


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_temporary_failure_is_retried(method: str, status: int) -> None:
    """Whatever the method, since every request can be repeated, with the same body each time."""
    with Proxy(NOBODY, first(Reply(status), times=3)) as proxy:
        _, _, data = Session(Address(proxy.url), QUICK).request(method, f"{proxy.url}/db", {"a": 1})
    assert json.load(data) == {"ok": True}
    assert [request.body for request in proxy.requests] == [b'{"a":1}'] * 4


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_number_of_retries_is_configurable(retries: int) -> None:
    """After the last retry, the error names the request, the status and what to do."""
    with Proxy(NOBODY, always(Reply.json(503, {"error": "nodedown", "reason": "no node"}))) as proxy:
        session = Session(Address(proxy.url), replace(QUICK, retries=retries))
        with pytest.raises(UnreachableError) as caught:
            session.request("POST", f"{proxy.url}/db/_bulk_docs?w=3")
    assert len(proxy.requests) == 1 + retries
    after = {0: "", 1: " after 1 retry"}.get(retries, f" after {retries} retries")
    assert str(caught.value) == (
        f"POST /db/_bulk_docs at {proxy.url}: the server answers 503 nodedown, no node{after} "
        "(documents already written stay; run it again to continue)"
    )


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("too_large", r": the request is too large: .* \(raise \[chttpd\] max_http_request_size in"),
        ("document_too_large", r": the document is too large: .* \(raise \[couchdb\] max_document_size in"),
        ("attachment_too_large", r": the attachment is too large: .* \(raise \[couchdb\] max_attachment_size in"),
        ("", r": the request is too large: .* \(raise the limit of the server, or of a proxy before it\)"),
    ],
)
def test_413_names_the_limit_to_raise(error: str, says: str) -> None:
    """CouchDB has one for documents, one for attachments, and one for requests; a proxy has its own."""
    refused = always(Reply.json(413, {"error": error, "reason": "x"}) if error else Reply(413, b"<html>too big</html>"))
    with Proxy(NOBODY, refused) as proxy, pytest.raises(TooLargeError, match=says):
        Session(Address(proxy.url), QUICK).request("POST", f"{proxy.url}/db/_bulk_docs")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, ProtocolError),
        (302, ProtocolError),
        (400, ProtocolError),
        (401, CredentialsError),
        (403, CredentialsError),
        (404, NotFoundError),
        (405, ProtocolError),
        (409, ConflictError),
        (412, PreconditionError),
        (413, TooLargeError),
        (501, ProtocolError),
    ],
)
def test_refusal_is_not_retried(status: int, error: type[DataloaderError]) -> None:
    """An error that a retry does not change is raised at once."""
    refused = always(Reply.json(status, {"error": "no", "reason": "never"}))
    with Proxy(NOBODY, refused) as proxy, pytest.raises(error) as caught:
        Session(Address(proxy.url), QUICK).request("GET", f"{proxy.url}/db")
    assert len(proxy.requests) == 1
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "status", "reply", "says"),
    [
        (
            None,
            401,
            {"error": "unauthorized", "reason": "Authentication required."},
            "requires a user name and a password",
        ),
        (None, 403, {"error": "forbidden", "reason": "no"}, "requires a user name and a password"),
        ("u", 401, {"error": "unauthorized", "reason": "Name or password is incorrect."}, "not accept the password of"),
        ("u", 401, {"error": "unauthorized", "reason": "You are not a server admin."}, "user u may not do this"),
        ("u", 401, None, "does not accept the password of user u"),
        ("u", 403, {"error": "forbidden", "reason": "You are not allowed to access this db."}, "may not do this"),
        (
            "u",
            403,
            {"error": "forbidden", "reason": "Account is temporarily locked"},
            "user u is locked out for a while",
        ),
    ],
)
def test_refused_user_gets_a_specific_error(user: str | None, status: int, reply: Any, says: str) -> None:
    """No credentials, wrong ones and missing permissions each have their own message."""
    with Proxy(NOBODY, always(Reply.json(status, reply))) as proxy, pytest.raises(CredentialsError, match=says):
        Session(Address(proxy.url, user, "secret"), QUICK).request("PUT", f"{proxy.url}/db")


BROKEN = {
    "cut in the headers": b"HTTP/1.1 200 OK\r\nContent-Type: application/js",
    "cut behind the status": b"HTTP/1.1 201 Created\r\n",
    "cut in the status": b"HTTP/1.1 40",
    "cut before the length": b"HTTP/1.1 404 Not Found\r\nServer: CouchDB/3.5.0\r\n",
    "cut in a length": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1",
    "cut in a body of no length": b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"ok":tr',
    "cut, its length mended": b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"ok":tr',
    "half an error": b'HTTP/1.0 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"error"',
    "Content-Length too long": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok":tr',
    "last chunk missing": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{"ok":true}\r\n',
    "chunk cut": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"ok":true}',
    "chunk without length": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{"ok":true}\r\n',
    "no HTTP": b"200 OK\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_truncated_reply_is_never_used(broken: bytes) -> None:
    """Wherever it is cut, even if a proxy has corrected its length, it is retried; if always, that is an error."""
    whole = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}'
    with RawServer(broken, broken, whole) as server:
        _, _, data = Session(Address(server.url), QUICK).request("POST", f"{server.url}/db", {"a": 1})
    assert data.read() == b'{"ok":true}'
    assert [request.endswith(b'{"a":1}') for request in server.requests] == [True] * 3
    with RawServer(broken) as server, pytest.raises(UnreachableError, match="the connection failed after"):
        Session(Address(server.url), QUICK).request("GET", f"{server.url}/db")
    assert len(server.requests) == 1 + QUICK.retries


def test_impossible_host_name_is_rejected(here: Command) -> None:
    """A label of more than 63 letters (RFC 1035, 2.3.4) is not a valid URL."""
    completed = here("check", "--url", f"http://{'a' * 64}.localhost:5984")
    assert completed.code == ExitCode.UNREACHABLE
    assert completed.stderr.endswith(".localhost:5984: is not a URL (write it as http://HOST:PORT)\n")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the reply is not HTTP: SSH-2.0-OpenSSH_9.6 (documents"),
        (b"", "remote end closed connection without response"),
        (BROKEN["Content-Length too long"], "the reply is truncated"),
        (BROKEN["chunk cut"], "the reply is truncated"),
        (b"\x1b[2J\x07\r\n", "the reply is not HTTP: \\x1b[2J\\x07 (documents"),
        (b"H" * 5000 + b"\r\n", "the reply is not HTTP: HHHHHHHH"),
        (b"HTTP/2 200\r\n\r\n", "the reply is not HTTP: HTTP/2"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n", "the reply is not HTTP (documents"),
    ],
)
def test_server_text_in_errors_is_readable(reply: bytes, says: str) -> None:
    """One line of limited length, without control characters."""
    with RawServer(reply) as server, pytest.raises(UnreachableError) as caught:
        Session(Address(server.url), replace(QUICK, retries=0)).request("GET", f"{server.url}/db")
    assert f": the connection failed: {says}" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_huge_reply_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply larger than any of CouchDB's does not fill the memory; the session stays usable."""
    monkeypatch.setitem(MAX_REPLIES, "db", 5_000_000)
    with Proxy(NOBODY, always(Reply(200, b"x" * 12_000_000))) as proxy:
        session = Session(Address(proxy.url), QUICK)
        for _ in range(CONNECTIONS + 1):
            with pytest.raises(ProtocolError, match="its reply is larger than 5,000,000 bytes"):
                session.request("GET", f"{proxy.url}/db")
        proxy.hook = always(Reply.json(200, ["x" * 4_900_000]))
        _, _, data = session.request("GET", f"{proxy.url}/db")
    assert data.json() == ["x" * 4_900_000]


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_reply_byte_by_byte_times_out(framing: str) -> None:
    """Each byte arrives in time, but the total time of a run's failures is limited."""
    chunks = b"1\r\nx\r\n" * 20_000 if "chunked" in framing else b"x" * 100_000
    reply = b"HTTP/1.1 200 OK\r\n%s\r\n\r\n%s" % (framing.encode(), chunks)
    start = time.monotonic()
    with RawServer(reply, pause=0.01) as server:
        session = Session(Address(server.url), Patience(timeout=5, retries=3, wait=0, total=0.3))
        with pytest.raises(TimedOutError) as caught:
            session.send(Asked("GET", "/db", timeout=0.2))
    assert "the reply is not complete after 0.3 seconds" in str(caught.value)
    assert len(server.requests) == 1
    assert time.monotonic() - start < 30


def test_closed_connection_is_replaced() -> None:
    """A server that closes idle connections costs at most one retry."""
    with RawServer(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}') as server:
        session = Session(Address(server.url), replace(QUICK, retries=1))
        for _ in range(3):
            session.request("GET", f"{server.url}/")
    assert len(server.requests) == 3


def test_timeout_is_retried() -> None:
    """After a timeout, the request is retried on a new connection; after all retries, the error says so."""
    asked: list[Request] = []
    over = Event()

    def silent_at_first(request: Request, forward: Forward) -> Reply:
        asked.append(request)
        if len(asked) <= silent:
            over.wait(60)
        return OK

    with Proxy(NOBODY, silent_at_first) as proxy:
        try:
            silent = 2
            session = Session(Address(proxy.url), replace(QUICK, timeout=0.2, retries=20))
            status, _, _ = session.request("GET", f"{proxy.url}/db")
            assert status == 200
            assert len(asked) >= 3
            asked.clear()
            silent = 99
            session = Session(Address(proxy.url), replace(QUICK, timeout=0.2, retries=1))
            with pytest.raises(TimedOutError, match=r"no reply within 0\.2 seconds after 1 retry"):
                session.request("GET", f"{proxy.url}/db")
            assert len(asked) == 2
        finally:
            over.set()


# Waits.


def gaps(patience: Patience, reply: Reply | None = None) -> list[float]:
    """Return the seconds between the requests to a server that always fails."""
    times: list[float] = []

    def note(request: Request, forward: Forward) -> Reply:
        times.append(time.monotonic())
        if reply is None:
            raise Hangup
        return reply

    with Proxy(NOBODY, note) as proxy, pytest.raises(UnreachableError):
        Session(Address(proxy.url), patience).request("GET", f"{proxy.url}/db")
    return [after - before for before, after in pairwise(times)]


@pytest.mark.parametrize("reply", [None, Reply(503)])
def test_waits_double_up_to_a_maximum(monkeypatch: pytest.MonkeyPatch, reply: Reply | None) -> None:
    """The first retry waits as configured, each further one twice as long, up to a maximum."""
    monkeypatch.setattr("dataloader.couch.retries.RETRY_JITTER", 0.0)
    monkeypatch.setattr("dataloader.couch.retries.RETRY_WAIT_MAX", 0.1)
    waits = gaps(Patience(retries=7, wait=0.03), reply)
    assert len(waits) == 7
    assert all(wait >= least for wait, least in zip(waits, (0.03, 0.06, 0.1, 0.1, 0.1, 0.1, 0.1), strict=True))
    # Without the maximum, it would be 1.92.
    assert waits[-1] < 1.9


def test_waits_have_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wait has a random part, so that many loaders do not retry at the same time."""
    monkeypatch.setattr("dataloader.couch.retries.RETRY_WAIT_MAX", 0.001)
    waits = gaps(Patience(retries=8, wait=0.001))
    assert max(waits) - min(waits) > 0.03


def test_retry_after_is_honoured() -> None:
    """``Retry-After`` replaces the shorter wait of the tool."""
    [wait] = gaps(Patience(retries=1, wait=0.001), Reply(429, b"", {"Retry-After": "1"}))
    assert wait >= 1


def test_total_wait_is_limited() -> None:
    """Whatever a server asks for, all requests of a run together wait no longer than configured."""
    patience = Patience(retries=50, wait=0.01, total=0.3)
    start = time.monotonic()
    with Proxy(NOBODY, always(Reply(503, b"", {"Retry-After": "3600"}))) as proxy:
        session = Session(Address(proxy.url), patience)
        for _ in range(3):
            with pytest.raises(UnreachableError):
                session.request("GET", f"{proxy.url}/db")
    assert 0.3 <= time.monotonic() - start < 5
    # One wait, cut to the remaining time, then none: each further request is made once.
    assert len(proxy.requests) == 4


def test_waiting_can_be_turned_off() -> None:
    """With ``DATALOADER_RETRY_WAIT=0``, retries happen at once, whatever the server asks for."""
    waits = gaps(Patience(retries=6, wait=0, total=4), Reply(503, b"", {"Retry-After": "3600"}))
    assert len(waits) == 6
    assert sum(waits) < 5


# Settings.


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("DATALOADER_TIMEOUT", "0", "must be a number, more than 0 and at most 100,000"),
        ("DATALOADER_TIMEOUT", "half a minute", "must be a number, more than 0 and at most 100,000"),
        ("DATALOADER_CONNECT_TIMEOUT", "0", "must be a number, more than 0 and at most 100,000"),
        ("DATALOADER_RETRIES", "-1", "must be a number, 0 or more and at most 100,000"),
        ("DATALOADER_RETRY_WAIT", "nan", "must be a number, 0 or more and at most 100,000"),
        ("DATALOADER_RETRY_TOTAL", "inf", "must be a number, 0 or more and at most 100,000"),
    ],
)
def test_invalid_setting_is_an_error(
    here: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    """The error is one line with the variable's name, before any request is made."""
    monkeypatch.setenv(name, value)
    completed = here("check", "--url", NOBODY)
    assert (completed.code, completed.stderr) == (
        ExitCode.USAGE,
        f"error: {name}={value}: {rule} (correct or unset it)\n",
    )


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable is used; an empty one is ignored."""
    values = {"TIMEOUT": "1.5", "CONNECT_TIMEOUT": "3", "RETRIES": "2", "RETRY_WAIT": "0.5", "RETRY_TOTAL": "7"}
    for name, value in values.items():
        monkeypatch.setenv(f"DATALOADER_{name}", value)
    assert Patience.from_environment() == Patience(timeout=1.5, retries=2, wait=0.5, total=7, connect=3)
    for name in values:
        monkeypatch.setenv(f"DATALOADER_{name}", "")
    assert Patience.from_environment() == Patience(timeout=30, retries=6, wait=0.25, total=300, connect=10)


def test_connect_timeout() -> None:
    """Connecting fails after ``DATALOADER_CONNECT_TIMEOUT`` seconds, whatever the timeout of replies."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        # Linux accepts one more than the backlog; the next one waits until these are accepted.
        address = listener.getsockname()
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        url = f"http://127.0.0.1:{address[1]}"
        start = time.monotonic()
        with pytest.raises(UnreachableError, match="cannot connect"):
            Session(Address(url), replace(QUICK, connect=0.2, retries=1)).request("GET", url)
        assert time.monotonic() - start < 10


def test_address_is_shown_without_its_password() -> None:
    """Neither ``repr`` nor ``str``, nor the ``repr`` of a target, shows the password."""
    address = Address("http://127.0.0.1", "admin", "the password", Tls(Path("ca.pem")))
    assert "the password" not in f"{address!r} {address}"


# The server's answers.


def test_user_and_nodes_of_the_server(address: Address, server: Server, plain_user: tuple[str, str]) -> None:
    """``user`` returns the name and whether it is a server admin; only admins may list the cluster's nodes."""
    assert server.user() == (address.user, True)
    reader = Server(Address(address.url, *plain_user), QUICK)
    assert reader.user() == (plain_user[0], False)
    assert reader.nodes().expected == ()
    assert server.nodes().away == ()


def test_create_and_delete_are_idempotent(server: Server, prefix: str) -> None:
    """Each succeeds, or returns the result, whoever did it."""
    database = server.database(f"{prefix}gpii")
    assert (database.exists(), database.info(), database.update_seq()) == (False, None, 0)
    assert database.create()
    assert not database.create()
    assert database.exists()
    database.delete()
    database.delete()
    assert not database.exists()


def test_write_returns_rejected_documents(proxied: Proxied, database: Database) -> None:
    """Rejected documents are returned with the reason; the others are written."""

    def reject(request: Request, forward: Forward) -> Reply:
        if request.endpoint != "_bulk_docs":
            return forward(request)
        documents = [each for each in request.data()["docs"] if each["_id"] != "b"]
        reply = forward(replace(request, body=json.dumps({"new_edits": False, "docs": documents}).encode()))
        return Reply.json(201, [*reply.data(), {"id": "b", "error": "forbidden", "reason": "no b"}])

    through, _ = proxied(reject)
    rejected = through.database(database.name).write(
        [b'{"_id":"%s","_rev":"1-%032x"}' % (each, 1) for each in (b"a", b"b", b"c")]
    )
    assert [(each.id, each.reason) for each in rejected] == [("b", "forbidden: no b")]
    assert get(database, "a")["_rev"] == get(database, "c")["_rev"] == f"1-{1:032x}"
    with pytest.raises(couchdb.http.ResourceNotFound):
        get(database, "b")


def test_database_that_disappears_is_an_error(
    here: Command, target: Target, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If somebody keeps deleting a database, the load creates it again, and finally fails with one line."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)

    def delete_first(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs":
            forward(replace(request, method="DELETE", target=f"/{request.database}", body=b""))
        return forward(request)

    with Proxy(target.address.url, delete_first) as proxy:
        completed = here(
            "load", "--snapsets-only", "--url", proxy.url, "--prefix", target.prefix, "--model", target.model.name
        )
    assert completed.code == ExitCode.PROTOCOL
    [line] = completed.stderr.splitlines()
    assert re.fullmatch(
        r"error: (one of the databases \S+, \S+|database \S+): was recreated or restored while it was loaded, 3 times "
        r"\(find out who does this, then run the load again\)",
        line,
    )
