"""Limits of an exchange: every reply is limited in time and size, and its form is checked."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from dataloader.common import ExitCode, Patience, ProtocolError, TooLargeError, UnreachableError
from dataloader.couch import Address, Attempt, Retry, Server
from dataloader.couch.replies import MAX_DOCUMENT, MAX_REPLIES, most_bytes
from dataloader.couch.session import Request, Session
from tests.support.command import Command
from tests.support.proxy import Proxy, Reply
from tests.support.raw_server import RawServer
from tests.support.server import QUICK

SHORT = Patience(timeout=0.3, retries=0, wait=0, total=0.5)
NOBODY = "http://127.0.0.1:9"


@contextmanager
def endless(head: bytes, part: bytes) -> Iterator[str]:
    """Run a server whose replies start with ``head`` and continue with ``part`` forever."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65_536)
                    connection.sendall(head)
                    while not over.is_set():
                        connection.sendall(part)
                        time.sleep(0.01)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "a header": (OK + b"X: ", b"x"),
    "headers": (OK, b"X: x\r\n"),
    "chunk size": (CHUNKED, b"0"),
    "chunk extension": (CHUNKED + b"1;", b"x"),
    "chunks": (CHUNKED, b"1\r\n \r\n"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: x\r\n"),
    "a trailer": (CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"x"),
    "body": (OK + b"Content-Length: 1000000\r\n\r\n", b" "),
    "body without length": (OK + b"\r\n", b" "),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_endless_reply_times_out(case: str) -> None:
    """Every byte arrives in time, in each part of a reply, but the reply never ends."""
    with endless(*ENDLESS[case]) as url, pytest.raises(UnreachableError) as caught:
        Session(Address(url), SHORT).send(Request("GET", "/db"))
    says = str(caught.value)
    assert any(
        each in says for each in ("no reply within 0.3 seconds", "is not complete after 0.5", "connection failed")
    )


@pytest.mark.parametrize("case", ["status line", "a header", "headers", "chunk size", "a trailer", "body"])
def test_endless_reply_exceeds_the_size_limit(case: str) -> None:
    """Sent fast, it does not fill the memory; nothing of it is parsed."""
    head, part = ENDLESS[case]
    head = head.replace(b"1000000", b"999999999")
    with endless(head, part * 1_000_000) as url, pytest.raises((TooLargeError, UnreachableError)) as caught:
        Session(Address(url), QUICK).send(Request("GET", "/_session"))
    assert "larger than 1,000,000 bytes" in str(caught.value) or "connection failed" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/", 1_000_000),
        ("/db", 1_000_000),
        ("/_session", 1_000_000),
        ("/_all_dbs", 16_000_000),
        ("/db/_bulk_get?revs=true", 32_000_000),
        ("/db/_design/views/_view/findGpiiToken?include_docs=true", 32_000_000),
        ("/db/_local/dataloader", 16_000_000),
        ("/db/_security", 1_000_000),
        ("/db/a-document", MAX_DOCUMENT),
    ],
)
def test_each_kind_of_request_has_a_size_limit(path: str, most: int) -> None:
    """A greeting is smaller than a batch of documents."""
    assert most_bytes(path) == most


def test_batch_is_halved_if_the_reply_is_too_large(
    monkeypatch: pytest.MonkeyPatch, server: Server, prefix: str
) -> None:
    """As after a 413; a single document that is too large is an error."""
    database = server.database(f"{prefix}gpii")
    database.create()
    ids = [f"document-{index}" for index in range(8)]
    assert database.edit([{"_id": each, "text": "x" * 1_000} for each in ids]) == []
    monkeypatch.setitem(MAX_REPLIES, "_bulk_get", 4_000)
    found = database.leaves(ids)
    assert [len(found[each]) for each in ids] == [1] * 8
    monkeypatch.setitem(MAX_REPLIES, "_bulk_get", 1_000)
    with pytest.raises(TooLargeError, match="document document-0: its revisions in conflict are larger than"):
        database.leaves(ids)


def test_compressed_reply_is_rejected() -> None:
    """It was not requested, and a small one may expand to a huge one."""
    reply = Reply(200, b"\x1f\x8b", {"Content-Encoding": "gzip", "Content-Type": "application/json"})
    with Proxy(NOBODY, lambda *_: reply) as proxy, pytest.raises(ProtocolError, match="its reply is compressed"):
        Session(Address(proxy.url), QUICK).send(Request("GET", "/"))


WRONG: dict[str, tuple[Callable[[Server], object], object, str]] = {
    "another type": (
        lambda server: server.database("db").leaves(["a"]),
        {"results": [{"id": "a", "docs": [{"ok": {"_id": "a", "_rev": 7}}]}]},
        "expected str, got int at _rev, in document a",
    ),
    "a member is missing": (lambda server: server.user(), {}, "object missing required field userCtx"),
    "a list where an object belongs": (
        lambda server: server.database("db").leaves(["a"]),
        [],
        "expected object, got array",
    ),
    "deep inside": (
        lambda server: server.nodes(),
        {"all_nodes": ["a", 1], "cluster_nodes": []},
        r"expected str, got int at all_nodes\[1\]",
    ),
    "an error with status 200, about a database": (
        # Not an empty database, which would be loaded without asking for documents.
        lambda server: server.database("db").info(),
        {"error": "internal_error", "reason": "no"},
        "object missing required field db_name",
    ),
    "an error with status 200, about permissions": (
        # Restored from a backup, it would open the database to everybody.
        lambda server: server.database("db").security(),
        {"error": "internal_error", "reason": "no"},
        "an error, although its status means success",
    ),
    "an error with status 200, about the nodes": (
        # Not a single node, to which an update needs no other copies.
        lambda server: server.nodes(),
        {"error": "internal_error", "reason": "no"},
        "object missing required field cluster_nodes",
    ),
    "a missing entry": (
        lambda server: server.database("db").leaves(["a", "b"]),
        {"results": [{"id": "a", "docs": [{"ok": {"_id": "a", "_rev": "1-a"}}]}]},
        "0 results for document b, which was asked for once",
    ),
    "an entry twice": (
        lambda server: server.database("db").leaves(["a"]),
        {"results": [{"id": "a", "docs": [{"ok": {"_id": "a", "_rev": "1-a"}}] * 2}]},
        "a revision occurs twice, in the result for document a",
    ),
    "a rejection of another document": (
        lambda server: server.database("db").write([b'{"_id":"a","_rev":"1-a"}']),
        [{"id": "b", "error": "forbidden", "reason": "no"}],
        "results for a document that was not asked for",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_reply_names_the_wrong_member(case: str) -> None:
    """The error says what is wrong and where; no traceback, no internal error."""
    ask, data, says = WRONG[case]
    reply = Reply.json(200, data)
    with Proxy(NOBODY, lambda *_: reply) as proxy, pytest.raises(ProtocolError, match=says):
        ask(Server(Address(proxy.url), QUICK))


def test_internal_error_is_not_blamed_on_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TypeError of ours while parsing a reply stays a TypeError."""

    def broken(data: memoryview) -> object:
        raise TypeError("ours")

    monkeypatch.setattr("dataloader.couch.parsing.user", broken)
    with Proxy(NOBODY, lambda *_: Reply.json(200, {})) as proxy, pytest.raises(TypeError, match="ours"):
        Server(Address(proxy.url), QUICK).user()


# What is reported about requests.


class Notes:
    """A watcher that records its calls."""

    def __init__(self) -> None:
        self.retries: list[Retry] = []
        self.attempts: list[Attempt] = []

    def retry(self, retry: Retry) -> None:
        """Record a retry."""
        self.retries.append(retry)

    def attempt(self, attempt: Attempt) -> None:
        """Record an attempt."""
        self.attempts.append(attempt)


def test_watcher_is_notified_of_attempts_and_retries() -> None:
    """A retry includes the next wait, and when the request gives up."""
    left = iter([Reply(503), Reply(503)])
    notes = Notes()
    patience = Patience(timeout=5, retries=4, wait=0.01, total=60)
    with Proxy(NOBODY, lambda *_: next(left, Reply.json(200, {"ok": True}))) as proxy:
        Session(Address(proxy.url), patience, notes).send(Request("POST", "/db/_bulk_docs?w=3", {}))
    assert [each.outcome for each in notes.attempts] == ["503", "503", "200"]
    assert {(each.method, each.path) for each in notes.attempts} == {("POST", "/db/_bulk_docs")}
    assert [(each.node, each.why) for each in notes.retries] == [("127.0.0.1", "503")] * 2
    assert all(0 < each.wait <= each.gives_up < 60 for each in notes.retries)


def test_retries_are_shown(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host, status, wait and remaining time on stderr; nothing with --quiet."""
    monkeypatch.setenv("DATALOADER_RETRY_WAIT", "0.01")
    monkeypatch.setenv("DATALOADER_RETRIES", "1")
    with Proxy(NOBODY, lambda *_: Reply(503)) as proxy:
        shown = here("check", "--url", proxy.url)
        quiet = here("check", "--url", proxy.url, "--quiet")
    [first, _] = shown.stderr.splitlines()
    assert re.fullmatch(r"127\.0\.0\.1: 503, retrying (now|in 0\.\d s), giving up in [\d.]+ s", first)
    assert shown.code == ExitCode.UNREACHABLE
    assert len(quiet.stderr.splitlines()) == 1


def test_debug_prints_each_request(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Method, path, status, milliseconds and bytes; no password, and no whole UUID."""
    monkeypatch.setenv("COUCHDB_USER", "admin")
    monkeypatch.setenv("COUCHDB_PASSWORD", "the-secret-1")
    with Proxy(NOBODY, lambda *_: Reply.json(401, {"error": "unauthorized"})) as proxy:
        done = here("check", "--url", f"{proxy.url}/12345678-1234-4123-8123-123456789012", "--debug")
    lines = [line for line in done.stderr.splitlines() if line.startswith("GET ")]
    assert len(lines) == 1
    words = lines[0].split()
    assert words[2] == "401"
    assert words[4::2] == ["ms", "bytes"]
    assert "the-secret-1" not in done.stderr


def test_wait_for_a_server_that_is_not_up_yet(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connection refused, 503, maintenance mode, then up; without ``--wait``, each is an error at once."""
    monkeypatch.setattr("dataloader.couch.server.UP_LOOK", 0.01)
    states = iter([Reply(503), Reply.json(404, {"status": "maintenance_mode"}), Reply.json(200, {"status": "ok"})])
    reply = Reply.json(200, {"couchdb": "Welcome", "version": "3.5.0"})
    asked = []

    def hook(request: object, forward: object) -> Reply:
        path = getattr(request, "path")  # noqa: B009 - any request
        asked.append(path)
        return next(states) if path == "/_up" else reply if path == "/" else Reply.json(404, {"error": "not_found"})

    with Proxy(NOBODY, hook) as proxy:
        here("check", "--url", proxy.url, "--wait", "30")
    assert asked[:4] == ["/_up", "/_up", "/_up", "/"]
    done = here("check", "--url", NOBODY, "--wait", "0.05")
    assert done.code == ExitCode.UNREACHABLE
    assert "the server is not up after 0.05 s: cannot connect" in done.stderr
    assert f"curl {NOBODY}/_up" in done.stderr


# What answers, and where.


@pytest.mark.parametrize(
    ("path", "reply", "says"),
    [
        ("/gpii", Reply.json(200, {"db_name": "gpii"}), "the URL ends in the name of a database"),
        ("/gpii", Reply.json(404, {"error": "not_found", "reason": "no_db_file"}), "no CouchDB answers at this path"),
        ("", Reply.json(200, {"couchdb": "Welcome", "version": "1.7.2"}), "CouchDB 1.7.2 is too old"),
        (
            "",
            Reply(301, b"", {"Location": "https://127.0.0.1:6984/"}),
            r"redirects http to https \(301\) \(write the URL as https://127.0.0.1:6984\)",
        ),
        (
            "",
            Reply(403, b"<title>Blocked</title>", {"Content-Type": "text/html"}),
            "a proxy, not CouchDB, answers 403 Forbidden, a page with the title “Blocked”",
        ),
    ],
)
def test_wrong_url_is_explained(path: str, reply: Reply, says: str) -> None:
    """The error gives the right URL if it is known."""
    with Proxy(NOBODY, lambda *_: reply) as proxy, pytest.raises(ProtocolError, match=says):
        Server(Address(f"{proxy.url}{path}", "admin", "secret"), QUICK).welcome()


def test_invalid_retry_after_is_ignored() -> None:
    """An impossible date, a number of 5,000 digits or a negative one: the usual wait is used."""
    for value in ("Sun, 99 Foo 99999 99:99:99 GMT", "9" * 5_000, "-1", "1e400", "Mon, 01 Jan 999999999 00:00:00 GMT"):
        left = iter([Reply(503, b"", {"Retry-After": value})])
        with Proxy(NOBODY, lambda *_, left=left: next(left, Reply.json(200, {}))) as proxy:
            patience = Patience(timeout=5, retries=1, wait=0.001, total=5)
            assert Session(Address(proxy.url), patience).send(Request("GET", "/"))[0] == 200


def test_normal_raw_reply_is_accepted() -> None:
    """No limit affects a reply that ends normally."""
    with RawServer(OK + b"Content-Length: 2\r\n\r\n{}") as server:
        assert Session(Address(server.url), QUICK).send(Request("GET", "/"))[2].json() == {}
