"""Several node URLs: the next one is used if a node is down, and a node that is down costs little time."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dataloader.common import CONNECTIONS, DataloaderError, ExitCode, Patience, ProtocolError, UnreachableError
from dataloader.couch import Address, NotFoundError, Server
from dataloader.couch.failures import TimedOutError
from dataloader.couch.session import Request as Asked
from dataloader.couch.session import Session
from dataloader.target import Target
from tests.support.command import Command, Completed
from tests.support.proxy import Forward, Hangup, Hook, Proxy, Reply, Request, pass_on
from tests.support.raw_server import RawServer
from tests.support.server import QUICK, snapshot

DEAD = "http://127.0.0.1:9"
DEAD_TOO = "http://127.0.0.1:11"
OK = Reply.json(200, {"ok": True})
UNTOLD = Reply.json(401, {"error": "unauthorized", "reason": "You are not a server admin."})
HTML = {"Content-Type": "text/html"}
LONG = replace(QUICK, wait=60)
"""A wait before a retry that is long enough to be noticed."""

Nodes = Callable[..., list[Proxy]]


def always(reply: Reply) -> Hook:
    """Return a hook that always answers with the same reply."""
    return lambda *_: reply


def hang_up(request: Request, forward: Forward) -> Reply:
    """Reset the connection."""
    raise Hangup


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Run servers with their own hooks: ``nodes(hook, hook)``."""
    with ExitStack() as stack:
        yield lambda *hooks: [stack.enter_context(Proxy(DEAD, hook)) for hook in hooks]


def session(*urls: str, patience: Patience = QUICK) -> Session:
    """Return a session with several nodes."""
    return Session(Address(urls[0], others=urls[1:]), patience)


def asked(proxy: Proxy) -> list[str]:
    """Return the paths requested from a node, except for checks of its cluster."""
    return [request.target for request in proxy.requests if not request.path.endswith("/_membership")]


def one_by_one(*replies: Reply) -> Hook:
    """Return a hook that sends one reply after another, and does not name its cluster."""
    left = iter(replies)
    return lambda request, _: UNTOLD if request.path == "/_membership" else next(left)


def ask(asking: Session, path: str = "/db", **options: Any) -> int:
    """Make a request, and return the status."""
    status, _, _ = asking.send(Asked("GET", path, **options))
    return status


@contextmanager
def hanging() -> Iterator[Hook]:
    """A hook that answers only at the end of the test, like a node that hangs."""
    over = Event()

    def hang(request: Request, forward: Forward) -> Reply:
        over.wait(60)
        raise Hangup

    try:
        yield hang
    finally:
        over.set()


FAULTS: dict[str, Hook] = {
    **{str(status): always(Reply(status, b"<html>", HTML)) for status in (500, 502, 503, 504)},
    "503, wait": always(Reply(503, b"", {"Retry-After": "60"})),
    "reset": hang_up,
    "cut": always(Reply(200, b'{"ok": true}', cut=5)),
    "half": always(Reply(200, b'{"ok": tr', {"Content-Type": "application/json"})),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_request_is_retried_at_the_next_node(nodes: Nodes, fault: str) -> None:
    """At once, whatever the failure; later requests avoid the failed node."""
    bad, good = nodes(FAULTS[fault], always(OK))
    asking = session(bad.url, good.url, patience=LONG)
    for _ in range(3):
        assert ask(asking, "/db/_all_docs?limit=1") == 200
    assert len(bad.requests) == 1
    assert asked(good) == ["/db/_all_docs?limit=1"] * 3


def test_node_that_is_down_is_skipped(nodes: Nodes) -> None:
    """The first node that accepts connections and whose name resolves answers."""
    (good,) = nodes(always(OK))
    for dead in ([DEAD], [DEAD, DEAD_TOO], ["http://nohost.invalid:5984", DEAD]):
        for patience in (LONG, replace(LONG, retries=0)):
            assert ask(session(*dead, good.url, patience=patience), greeting=True) == 200
            assert ask(session(*dead, good.url, patience=patience)) == 200


def test_each_node_has_its_own_path(nodes: Nodes) -> None:
    """One node may be behind a proxy under a path."""
    (good,) = nodes(always(OK))
    assert ask(session(f"{DEAD}/couchdb", good.url)) == 200
    assert ask(session(DEAD, f"{good.url}/couchdb")) == 200
    assert asked(good) == ["/db", "/couchdb/db"]


@pytest.mark.parametrize("status", [408, 429])
def test_busy_node_is_retried(nodes: Nodes, status: int) -> None:
    """A 429 is not avoided by asking another node."""
    busy, other = nodes(one_by_one(Reply(status), Reply(status), OK), always(OK))
    assert ask(session(busy.url, other.url)) == 200
    assert (len(asked(busy)), len(other.requests)) == (3, 0)


def test_refusal_is_final_for_all_nodes(nodes: Nodes) -> None:
    """An error that is not the node's fault is not retried at other nodes."""
    first, other = nodes(always(Reply.json(404, {"error": "not_found", "reason": "missing"})), always(OK))
    with pytest.raises(NotFoundError, match=f"GET /db at {first.url}: the server answers 404 not_found, missing"):
        ask(session(first.url, other.url))
    assert other.requests == []


@pytest.mark.parametrize("retries", [0, 2])
def test_retries_do_not_count_the_first_try_of_each_node(nodes: Nodes, retries: int) -> None:
    """``DATALOADER_RETRIES`` counts only tries at nodes that have already failed."""
    proxies = nodes(*[always(Reply(503))] * 3)
    with pytest.raises(UnreachableError):
        ask(session(*(proxy.url for proxy in proxies), patience=replace(QUICK, retries=retries)))
    assert sum(len(proxy.requests) for proxy in proxies) == 3 + retries
    assert all(proxy.requests for proxy in proxies)


def test_error_names_every_node_tried(nodes: Nodes) -> None:
    """Together if they failed for the same reason, otherwise each with its own."""
    one, other = nodes(always(Reply.json(503, {"error": "nodedown", "reason": "no"})), hang_up)
    patience = replace(QUICK, retries=0)
    with pytest.raises(UnreachableError) as caught:
        ask(session(DEAD, DEAD_TOO, patience=patience))
    assert str(caught.value) == (
        f"{DEAD}, {DEAD_TOO}: cannot connect (start the server or correct the URL; check with: curl {DEAD_TOO}/_up)"
    )
    with pytest.raises(UnreachableError) as caught:
        ask(session(DEAD, one.url, patience=patience))
    assert str(caught.value) == (
        f"GET /db at {one.url}: the server answers 503 nodedown, no after 1 retry; "
        f"{DEAD}: cannot connect (documents already written stay; run it again to continue)"
    )
    with pytest.raises(
        UnreachableError, match=f"^{other.url}: the connection failed after 1 retry: .*; {one.url}: the server answer"
    ):
        ask(session(one.url, other.url, patience=patience))
    with pytest.raises(UnreachableError, match=f"^GET /db at {one.url}: .* no after 2 retries; {other.url}: the conn"):
        ask(session(one.url, other.url, patience=replace(QUICK, retries=1)))


# A node that hangs.


def test_hanging_node_costs_one_timeout(nodes: Nodes) -> None:
    """Requests in progress wait for it at the same time, once each; later ones don't."""
    with hanging() as hang:
        hung, good = nodes(hang, always(OK))
        asking = session(hung.url, good.url, patience=replace(QUICK, timeout=1.0))
        start = time.monotonic()
        with ThreadPoolExecutor(CONNECTIONS) as executor:
            assert [*executor.map(lambda at: ask(asking, f"/{at}"), range(400))] == [200] * 400
        took = time.monotonic() - start
    assert len(hung.requests) <= CONNECTIONS
    assert len(asked(good)) == 400
    # Two timeouts in sequence would take 2 seconds; the margin is for a busy machine.
    assert 1 <= took < 1 + 5


def test_one_request_checks_whether_a_node_is_back(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, one request tries the avoided node, and the others stay elsewhere."""
    monkeypatch.setattr("dataloader.couch.retries.AWAY_FACTOR", 1)
    monkeypatch.setattr("dataloader.couch.retries.AWAY_MIN", 0.6)
    with hanging() as hang:
        hung, good = nodes(hang, always(OK))
        asking = session(hung.url, good.url, patience=replace(QUICK, timeout=0.5))
        ask(asking, "/first")
        assert len(hung.requests) == 1
        time.sleep(0.7)
        with ThreadPoolExecutor(CONNECTIONS) as executor:
            assert [*executor.map(lambda at: ask(asking, f"/{at}"), range(CONNECTIONS))] == [200] * CONNECTIONS
        assert len(hung.requests) == 2
        assert len(asked(good)) == 1 + CONNECTIONS


def test_recovered_node_is_used_again(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first node is preferred as soon as it answers again."""
    monkeypatch.setattr("dataloader.couch.retries.AWAY_MIN", 0.05)
    first, other = nodes(always(Reply(503)), always(OK))
    asking = session(first.url, other.url)
    assert ask(asking) == 200
    first.hook = always(OK)
    time.sleep(0.3)
    for _ in range(3):
        ask(asking)
    assert (len(asked(first)), len(asked(other))) == (3, 1)


def test_temporary_failure_does_not_return_to_a_hanging_node(nodes: Nodes) -> None:
    """While one node hangs, a temporary failure of the other is retried there."""
    with hanging() as hang:
        hung, good = nodes(hang, one_by_one(OK, Reply(503), Reply(500), OK))
        asking = session(hung.url, good.url, patience=replace(QUICK, timeout=0.3))
        assert [ask(asking), ask(asking)] == [200, 200]
        assert (len(hung.requests), len(asked(good))) == (1, 4)


def test_nodes_that_are_all_down_are_tried_in_turn(nodes: Nodes) -> None:
    """Each gets its share of the retries, and the first that recovers answers."""
    (slow,) = nodes(one_by_one(Reply(503), Reply(503), Reply(503), OK))
    assert ask(session(DEAD, slow.url)) == 200
    assert len(asked(slow)) == 4


def test_slow_node_gets_its_share_of_retries(nodes: Nodes) -> None:
    """A node that refuses connections takes only every second retry from one that timed out."""
    with hanging() as hang:
        (slow,) = nodes(hang)
        asking = session(DEAD, slow.url, patience=replace(QUICK, timeout=0.3, retries=2))
        with pytest.raises(TimedOutError):
            ask(asking)
        assert len(slow.requests) == 2


def test_expected_timeout_is_not_retried(nodes: Nodes) -> None:
    """Waiting for an index repeats the request itself; if the node hangs, at another node."""
    with hanging() as hang:
        hung, good = nodes(hang, always(OK))
        asking = session(hung.url, good.url, patience=replace(QUICK, total=0.1))
        with pytest.raises(TimedOutError):
            ask(asking, timeout=0.2)
        assert good.requests == []
        assert ask(asking, timeout=0.2) == 200
        # It did not count as lost time, so the next request can be retried.
        good.hook = one_by_one(Reply(503), OK)
        assert ask(asking) == 200


# Which cluster they belong to.


def member(uuid: str, *names: str) -> Hook:
    """Return a hook that answers as a node of a cluster does."""

    def answer(request: Request, forward: Forward) -> Reply:
        if request.path == "/_membership":
            return Reply.json(200, {"all_nodes": [*names], "cluster_nodes": [*names]}) if names else UNTOLD
        context = {"userCtx": {"name": "admin", "roles": ["_admin"]}}
        return Reply.json(200, {"couchdb": "Welcome", "uuid": uuid, "version": "3.5.0", **context})

    return answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (member("1", "a@host", "b@host"), member("2", "a@host", "b@host")),
        # A node that is about to join, or has just left.
        (member("1", "a@host", "b@host"), member("2", "a@host", "b@host", "c@host")),
        (member("1", "couchdb@127.0.0.1"), member("1", "couchdb@127.0.0.1")),
        (member("1"), member("2")),
        (member("1", "a@host", "b@host"), member("2")),
        (always(OK), always(Reply(200, b"<html>", HTML))),
    ],
)
def test_nodes_of_one_cluster_are_accepted(nodes: Nodes, one: Hook, other: Hook) -> None:
    """They are recognized by the names of the cluster's nodes; without names, they are trusted."""
    first, second = nodes(one, other)
    asking = session(first.url, second.url)
    assert ask(asking) == 200
    first.hook = hang_up
    assert ask(asking) == 200
    assert len(second.requests) in {2, 3}


def test_node_that_fails_the_cluster_check_is_skipped(nodes: Nodes) -> None:
    """It counts as failed like any other, and the error is about the actual request."""

    def half(request: Request, forward: Forward) -> Reply:
        return member("1", "a@host")(request, forward) if request.path == "/_membership" else Reply(503)

    bad, good = nodes(half, always(OK))
    assert ask(session(bad.url, good.url)) == 200
    with pytest.raises(UnreachableError, match=f"^GET /db at {bad.url}: the server answers 503"):
        ask(session(DEAD, bad.url, patience=replace(QUICK, retries=0)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (member("1", "a@host", "b@host"), member("1", "c@host", "d@host")),
        (member("1", "a@host", "b@host"), member("1", "couchdb@127.0.0.1")),
        (member("1", "couchdb@127.0.0.1"), member("2", "couchdb@127.0.0.1")),
    ],
)
def test_nodes_of_two_clusters_are_rejected(nodes: Nodes, one: Hook, other: Hook) -> None:
    """Otherwise each would get half of a load: the second is asked for nothing else."""
    first, second = nodes(one, other)
    asking = session(first.url, second.url)
    assert ask(asking) == 200
    first.hook = hang_up
    with pytest.raises(ProtocolError) as caught:
        ask(asking)
    assert str(caught.value) == (
        f"{first.url}, {second.url}: are not nodes of one cluster (give the URLs of one cluster's nodes, or one URL)"
    )
    assert {request.path for request in second.requests} == {"/_membership", "/"}


# Whole commands.


@pytest.fixture
def load(
    here: Command, given: tuple[Path, Path], target: Target, credentials: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Completed]:  # fmt: skip
    """Load the small batch using several URLs: ``load(url, url)``."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    manifest, snapsets = given

    def load(*urls: str) -> Completed:
        nodes = [each for url in urls for each in ("--url", url)]
        rest = ("--prefix", target.prefix, "--model", target.model.name, "--environment", "ci", "--json")
        return here("load", manifest, "--snapsets", snapsets, *nodes, *rest)

    return load


def test_load_continues_when_nodes_go_down(load: Callable[..., Completed], server: Server, target: Target) -> None:
    """First one node, then the other closes connections during a load: the result is the same."""
    seen = 0

    def until(last: int) -> Hook:
        def hook(request: Request, forward: Forward) -> Reply:
            nonlocal seen
            seen += 1
            if seen > last:
                raise Hangup
            return forward(request)

        return hook

    with Proxy(target.address.url, until(8)) as one, Proxy(target.address.url) as other:
        completed = load(DEAD, one.url, other.url)
    assert (completed.code, completed.stderr) == (ExitCode.OK, "")
    assert completed.data["created"] == completed.data["documents"]
    assert len(one.requests) >= 9
    assert other.requests
    there = snapshot(server, target)
    with Proxy(target.address.url, pass_on) as whole:
        assert load(whole.url).data["unchanged"] == completed.data["documents"]
    assert snapshot(server, target) == there


def test_load_with_no_node_left_names_them_all(load: Callable[..., Completed], target: Target) -> None:
    """The error is one line."""
    completed = load(DEAD, DEAD_TOO)
    assert completed.code == ExitCode.UNREACHABLE
    named, _, said = completed.stderr.removeprefix("error: ").partition(": cannot connect ")
    assert (set(named.split(", ")), bool(said)) == ({DEAD, DEAD_TOO}, True)


def test_check_reports_each_node(
    here: Command, target: Target, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is down is a warning with its URL, and the target is ready. Two separate servers are an error."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    options = ("--prefix", target.prefix, "--model", target.model.name, "--environment", "ci")
    urls = ("--url", DEAD, "--url", target.address.url)
    completed = here("check", *urls, *options)
    assert completed.code == ExitCode.OK
    assert completed.stderr == (
        f"warning: {DEAD}: cannot connect; meanwhile, requests go to the target's other nodes\n"
    )
    assert f" at {DEAD}, {target.address.url}\n" in completed.stdout
    data = here("check", *urls, *options, "--json").data
    assert data["urls"] == {DEAD: "cannot connect", target.address.url: None}
    with Proxy(target.address.url, hang_up) as down:
        reset = here("check", "--url", target.address.url, "--url", down.url, *options)
    assert f"warning: {down.url}: the connection failed: " in reset.stderr
    with Proxy(DEAD, member("1", "a@a", "b@b")) as one, Proxy(DEAD, member("2", "c@c", "d@d")) as two:
        completed = here("check", "--url", one.url, "--url", two.url, *options)
    assert completed.code == ExitCode.PROTOCOL
    assert "are not nodes of one cluster" in completed.stderr


# The total time limit.


def test_timeouts_count_against_the_total_limit(nodes: Nodes) -> None:
    """Timeouts are lost time like waits; once the limit is reached, nothing is retried."""
    with hanging() as hang:
        (hung,) = nodes(hang)
        asking = session(hung.url, patience=Patience(timeout=0.3, retries=50, wait=0, total=0.8))
        start = time.monotonic()
        with pytest.raises(TimedOutError):
            ask(asking)
        assert len(hung.requests) == 3
        with pytest.raises(TimedOutError):
            ask(asking)
        assert len(hung.requests) == 4
        assert time.monotonic() - start < 10


def test_concurrent_lost_time_counts_once(nodes: Nodes) -> None:
    """Eight requests that hang together cost the run one timeout, and each is retried."""
    with hanging() as hang:
        (hung,) = nodes(hang)
        asking = session(hung.url, patience=Patience(timeout=0.5, retries=1, wait=0, total=2.5))

        def fail(_: int) -> type[DataloaderError]:
            with pytest.raises(TimedOutError) as caught:
                ask(asking)
            return caught.type

        with ThreadPoolExecutor(CONNECTIONS) as executor:
            assert [*executor.map(fail, range(CONNECTIONS))] == [TimedOutError] * CONNECTIONS
        assert len(hung.requests) == 2 * CONNECTIONS


# Replies that are complete.


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<title>Welcome</title>",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.0 302 Found\r\nLocation: /login\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_html_page_is_not_a_truncated_reply(here: Callable[..., Completed], reply: bytes) -> None:
    """A complete page that is not JSON is an error at once."""
    with RawServer(reply) as server:
        completed = here("check", "--url", server.url)
    assert completed.code == ExitCode.PROTOCOL
    assert len(server.requests) == 1


def test_reply_without_a_body_is_complete() -> None:
    """A 204 has no body, whatever its headers say."""
    with RawServer(b"HTTP/1.1 204 No Content\r\n\r\n") as server:
        status, _, data = Session(Address(server.url), QUICK).request("GET", f"{server.url}/db")
    assert (status, data.read()) == (204, b"")


def test_environment_that_is_not_utf_8_is_sent_unchanged(tmp_path: Path) -> None:
    """A password in another encoding is left to the server, and is no internal error."""
    with Proxy(DEAD, always(OK)) as proxy:
        Session(Address(proxy.url, "admin", b"p\xe4ss".decode(errors="surrogateescape")), QUICK).request(
            "GET", f"{proxy.url}/"
        )
    assert proxy.requests[0].headers["Authorization"] == "Basic YWRtaW46cORzcw=="
