"""No command reveals a secret, in success or failure, in anything that it prints or writes.

The commands come from the registry. A new one must be added here, or the tests fail.
"""

import html
import json
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import markupsafe
import orjson
import pytest

from dataloader.archive import SUFFIX
from dataloader.batch import read_manifest
from dataloader.cli import COMMANDS
from dataloader.common import ExitCode, Secrets, data_dir
from dataloader.couch import Server
from dataloader.operations import all_sources
from dataloader.records import read_snapsets
from dataloader.records.models import DEFAULT_MODEL, Role
from dataloader.target import Target
from tests.support.command import Command, Completed, Process
from tests.support.loading import plant_load
from tests.support.marks import THOROUGH, crossed
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.raw_server import RawServer
from tests.support.registry import SERVER_COMMANDS, arguments, parameters
from tests.support.secrets_kept import contents, echo, found_in, secret
from tests.support.server import ADMIN, as_admin, databases, get, put

USER = "somebody"
ENVIRONMENT = "Qx7environmentZ"
"""The core of each secret; see ``secret``."""
IN_FILE = "Qx7passwordfileZ"
IN_URL = "Qx7insideurlZ"
IN_NETRC = "Qx7netrcentryZ"
IN_TARGET = "Qx7targetfileZ"
OF_A_PERSON = "Qx7somepersonZ"
OF_A_WORKBOOK = "Qx7workbookZ"
OF_A_BACKUP = "Qx7somebackupZ"
NOBODY = "http://127.0.0.1:9"
EACH_COMMAND = pytest.mark.parametrize("name", SERVER_COMMANDS)
LOUD = (("--debug", "--log-format", "json"), ("--debug", "--json"))
"""The most verbose options."""


class Watch:
    """Runs commands and checks everything that they print and write."""

    def __init__(self, here: Command, folder: Path) -> None:
        self._here = here
        self._folder = folder
        self._ours: set[Path] = set()
        self.codes: set[int] = set()

    def file(self, name: str, content: str) -> Path:
        """Write a file that may contain secrets, because they come from it."""
        path = self._folder / name
        path.write_text(content, "utf-8")
        path.chmod(0o600)
        self._ours.add(path)
        return path

    def run(self, *call: object, cores: tuple[str, ...]) -> Completed:
        """Run a command; check that it reveals no secret, and has no internal error."""
        completed = self._here(*call)
        self.look(completed, cores)
        assert completed.code != ExitCode.INTERNAL, completed
        self.codes.add(completed.code)
        return completed

    def look(self, completed: Completed, cores: tuple[str, ...]) -> None:
        """Check that secrets are in no output and no written file."""
        for text in (completed.stdout, completed.stderr):
            assert not found_in(text.encode(errors="surrogateescape"), cores), text
        for path in self._folder.rglob("*"):
            if path.is_file() and path not in self._ours:
                for content in contents(path):
                    assert not found_in(content, cores), path


@pytest.fixture
def watch(here: Command, tmp_path: Path) -> Watch:
    """Runs commands in this process, in their own folder."""
    return Watch(here, tmp_path)


@pytest.fixture
def model_name() -> str:
    """One model, for tests that do not depend on it."""
    return DEFAULT_MODEL


@pytest.fixture
def call(given: tuple[Path, Path], tmp_path: Path) -> Callable[[str], list[object]]:
    """Return the arguments of a command, including every output file: ``call("load")``."""
    numbers = iter(range(10_000))

    def call(name: str) -> list[object]:
        taken = parameters(name)
        written = {"details": "--details", "report": "--report"}
        files = [(option, tmp_path / f"{next(numbers)}.html") for member, option in written.items() if member in taken]
        flags = ["--security"] if "with_security" in taken else ["--full"] if "full" in taken else []
        return [name, *arguments(name, *given), *(each for pair in files for each in pair), *flags]

    return call


@pytest.fixture
def in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set user and password by environment variables."""
    monkeypatch.setenv("COUCHDB_USER", USER)
    monkeypatch.setenv("COUCHDB_PASSWORD", secret(ENVIRONMENT))
    monkeypatch.setenv("DATALOADER_RETRIES", "1")
    monkeypatch.setenv("DATALOADER_RETRY_WAIT", "0")


def test_secrets_would_be_found() -> None:
    """In every encoding of a password: the other tests can fail."""
    said = echo(USER, secret(ENVIRONMENT))
    for word in said.split(" ")[1:]:
        assert found_in(word.encode(), [ENVIRONMENT]) == [ENVIRONMENT]
    assert found_in(json.dumps(secret(IN_FILE)).encode(), [ENVIRONMENT, IN_FILE]) == [IN_FILE]
    for before in ("", "a", "ab"):
        assert found_in(orjson.dumps([quote(before + secret(IN_URL))]), [IN_URL]) == [IN_URL]


@pytest.mark.parametrize(
    "password", ["correct horse 1", "ä:/%@ü&<'\"\\\n1", "p\udce4ssword1", "12345678", "x" * 300 + "1"]
)
def test_password_is_masked_in_every_encoding(password: str) -> None:
    """Plain, percent-encoded, escaped for JSON, Python or HTML, read as Latin-1, in base64."""
    raw = password.encode(errors="surrogateescape")
    secrets = Secrets(USER, password)
    for form in (
        *(password, json.dumps(password)[1:-1], repr(password)[1:-1], repr(raw)[2:-1], raw.decode("latin-1")),
        *(quote(raw), quote(raw, safe=""), html.escape(password), str(markupsafe.escape(password))),
        *(b64encode(raw).decode(), b64encode(USER.encode() + b":" + raw).decode()),
    ):
        assert secrets.hide(f"a{form}b {form}") == secrets.hide_in_theirs(f"a{form}b {form}") == "a***b ***"
    data = {"a": [password, 12345678, None, {password: True}]}
    assert secrets.hide_in_data(data) == {"a": ["***", 12345678, None, {"***": True}]}


@pytest.mark.parametrize("password", ["admin", "production", "a", "5984"])
def test_common_word_is_masked_in_server_text_only(password: str) -> None:
    """In our own text, masking would reveal it; in a server's text it is masked as a separate word."""
    secrets = Secrets(USER, password)
    ours = f"{password} and {password}"
    assert secrets.hide(ours) == ours
    assert secrets.hide_in_theirs(f"not {password}, {USER}") == f"not ***, {USER}"
    if len(password) < 8:
        assert secrets.hide_in_theirs(f"x{password}x") == f"x{password}x"
    assert secrets.hide(b64encode(f"{USER}:{password}".encode()).decode()) == "***"


@pytest.mark.parametrize("password", [None, ""])
def test_without_a_password_nothing_is_masked(password: str | None) -> None:
    """The text is unchanged."""
    secrets = Secrets(USER, password)
    for hide in (secrets.hide, secrets.hide_in_theirs, secrets.hide_in_data):
        assert hide("somebody: ***") == "somebody: ***"


# Sources of passwords.


@pytest.fixture
def sources(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], list[object]]:
    """Put a password in one of its sources, and return the options: ``sources("netrc", url)``."""

    def put_it(source: str, url: str) -> list[object]:
        rest: list[object] = ["--environment", "ci"]
        if source == "environment":
            monkeypatch.setenv("COUCHDB_USER", USER)
            monkeypatch.setenv("COUCHDB_PASSWORD", secret(ENVIRONMENT))
        elif source == "file":
            monkeypatch.setenv("COUCHDB_USER", USER)
            monkeypatch.setenv("COUCHDB_PASSWORD_FILE", str(watch.file("password", secret(IN_FILE))))
        elif source in {"url", "environment's url"}:
            url = url.replace("http://", f"http://{USER}:{quote(secret(IN_URL), safe='')}@")
            if source != "url":
                monkeypatch.setenv("COUCHDB_URL", url)
                return rest
        elif source == "netrc":
            entry = f'machine 127.0.0.1 login {USER} password "{secret(IN_NETRC)}"\n'
            monkeypatch.setenv("NETRC", str(watch.file("netrc", entry)))
        else:
            reference = 'user_env = "LOADER", password_env = "LOADER_PASSWORD"'
            if source == "target file's file":
                watch.file("target-password", secret(IN_TARGET))
                reference = f'user = "{USER}", password_file = "target-password"'
            monkeypatch.setenv("LOADER", USER)
            monkeypatch.setenv("LOADER_PASSWORD", secret(IN_TARGET))
            text = f'[target.t]\nurl = "{url}"\nenvironment = "ci"\ncredentials = {{ {reference} }}\n'
            return ["--target", "t", "--config", watch.file("targets.toml", text)]
        return ["--url", url, *rest]

    return put_it


SOURCES = {
    "environment": ENVIRONMENT,
    "file": IN_FILE,
    "url": IN_URL,
    "environment's url": IN_URL,
    "netrc": IN_NETRC,
    "target file's file": IN_TARGET,
    "target file's variables": IN_TARGET,
}


@pytest.mark.parametrize("source", SOURCES)
def test_password_from_any_source_goes_to_the_server_only(
    watch: Watch, sources: Callable[[str, str], list[object]], monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """With a server that echoes what it was sent, one that is down, and one that is not CouchDB."""
    monkeypatch.setenv("DATALOADER_RETRIES", "0")
    core = SOURCES[source]
    said = echo(USER, secret(core))
    for status in (401, 403, 400, 404, 500):
        with Proxy(NOBODY, lambda *_, status=status: Reply.json(status, {"error": said, "reason": said})) as proxy:
            options = sources(source, proxy.url)
            for flags in LOUD:
                watch.run("check", *options, *flags, cores=(core,))
        # It was read from there.
        assert all("Authorization" in request.headers for request in proxy.requests)
    options = sources(source, NOBODY)
    watch.run("check", *options, "--debug", cores=(core,))
    assert watch.codes == {ExitCode.CREDENTIALS, ExitCode.PROTOCOL, ExitCode.UNREACHABLE}


@pytest.mark.parametrize("misplaced", ["http://{}@127.0.0.1:5984", "http:/{}@127.0.0.1", "{}@127.0.0.1:5984"])
def test_misplaced_url_is_repeated_without_its_password(watch: Watch, misplaced: str) -> None:
    """As an argument or the name of a target, with or without its scheme."""
    watch.file("dataloader.toml", '[target.a]\nurl = "http://h"\nenvironment = "ci"\n')
    url = misplaced.format(f"{USER}:{IN_URL}")
    for call in (("check", url), ("check", "--target", url), ("load", url, "--target", "a"), (url,)):
        for flags in LOUD:
            watch.run(*call, *flags, cores=(IN_URL,))


@pytest.mark.parametrize(
    "misplaced",
    [
        "http://admin:open {}@h:5984",
        "http://admin:it's {}@h",
        "http://admin:a(b {})d@h",
        "--bogus=HTTPS://admin:two more {}@h",
    ],
)
def test_misplaced_password_with_spaces_is_not_repeated(watch: Watch, misplaced: str) -> None:
    """The shell passes a URL in quotes on as it is."""
    for call in (("check",), ("check", "--model"), ("validate",), ()):
        watch.run(*call, misplaced.format(IN_URL), cores=(IN_URL,))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataloader.toml", '[target.a]\nurl = "http://u:{}@h"\nenvironment = "ci"\n'),
        ("dataloader.toml", '[target.a]\nurl = "http://h"\nenvironment = "ci"\ncredentials = "{}"\n'),
        ("dataloader.toml", '[target.a]\nurl = "http://h"\nenvironment = "ci"\npassword = {}\n'),
        ("netrc", "machine 127.0.0.1 login u password {} surplus\n"),
        ("site.json", '{{"site": "a", "clientCredentials": {{"client_id": 1, "client_secret": ["{}"]}}}}'),
        ("site.json", '{{"site": "a", "client_secret": "{}"}}'),
        ("auth.json5", '[{{"_id": "user-a", "type": "user", "name": 1, "password": "{}", "x": 2}}]'),
        ("auth.json5", '[{{"_id": "user-a", "type": "user", "name": "a", "password": ["{}"]}}]'),
        ("auth.json5", '[{{"_id": "a", "oauth2ClientSecret": "{}"}}]'),
        ("gpii.json5", '[{{"_id": "a", "type": "clientCredential", "oauth2ClientSecret": {{"a": "{}"}}}}]'),
    ],
)
def test_invalid_file_is_reported_without_its_secret(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    """The error names the place and the rule."""
    for model in ("gpii-token", "gpii-key"):
        (Path.cwd() / model).mkdir(exist_ok=True)
    folder = {"auth.json5": "gpii-token/", "gpii.json5": "gpii-key/"}.get(name, "")
    path = watch.file(f"{folder}{name}", content.format(secret(IN_FILE)))
    if name == "netrc":
        monkeypatch.setenv("NETRC", str(path))
        calls: list[tuple[object, ...]] = [("check", "--url", NOBODY)]
    else:
        calls = [("validate", path), *([("check", "--target", "a")] if name.endswith(".toml") else [])]
    for each in calls:
        for flags in LOUD:
            assert watch.run(*each, *flags, cores=(IN_FILE,)).code == ExitCode.INPUT


# Replies of servers.


@pytest.fixture
def loaded(server: Server, target: Target, given: tuple[Path, Path]) -> Target:
    """A target with the given batch."""
    manifest, folder = given
    plant_load(server, target, all_sources(target, [read_manifest(manifest)], read_snapsets(folder)))
    return target


def replies() -> Iterator[Reply]:
    """Yield replies that echo the request, in every place."""
    said = echo(USER, secret(ENVIRONMENT))
    ascii_said = quote(said, safe=" %")
    for status in (400, 401, 403, 404, 409, 412, 413, 429, 500, 503):
        yield Reply.json(status, {"error": said, "reason": said})
    for status in (200, 401, 500):
        yield Reply(status, f"<html>{said}".encode(), {"Content-Type": "text/html", "WWW-Authenticate": ascii_said})
    yield Reply(302, b"", {"Location": f"http://{USER}:{quote(secret(ENVIRONMENT), safe='')}@127.0.0.1/{ascii_said}"})
    yield Reply(302, b"", {"Location": f"http://{quote(secret(ENVIRONMENT), safe='')}/"})
    yield Reply(503, b"", {"Retry-After": ascii_said})
    yield Reply.json(200, {"couchdb": said, "version": said, "express-pouchdb": said})


@crossed("name, first", SERVER_COMMANDS, ["error", "greeting"], share=2, always=["check"])
@pytest.mark.usefixtures("in_environment")
def test_error_that_echoes_the_password_is_masked(
    watch: Watch, call: Callable[[str], list[object]], loaded: Target, name: str, first: str
) -> None:
    """Every error reply, at once or after the greeting."""
    # Errors are handled in one place for all commands: one of each kind is enough, except for one command.
    for at, reply in enumerate(replies() if name == "check" else [*replies()][::4]):

        def hook(request: Request, forward: Forward, reply: Reply = reply) -> Reply:
            if first == "greeting" and request.path == "/":
                return Reply.json(200, {"couchdb": "Welcome", "version": "3.5.0"})
            return reply

        with Proxy(NOBODY, hook) as proxy:
            options = ("--url", proxy.url, "--environment", "ci")
            watch.run(*call(name), *options, *LOUD[at % 2], cores=(ENVIRONMENT,))
    assert {ExitCode.PROTOCOL, ExitCode.UNREACHABLE} <= watch.codes


@pytest.mark.usefixtures("in_environment")
def test_invalid_http_that_echoes_the_password_is_masked(watch: Watch, call: Callable[[str], list[object]]) -> None:
    """A status line, header or length with the password."""
    said = echo(USER, secret(ENVIRONMENT)).encode()
    for sent in (
        b"HTTP/1.1 400 " + said + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 401 " + said + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 " + said + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 " + said + b"\r\nContent-Length: 0\r\n\r\n",
        said + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + said + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + said + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 300\r\n\r\n" + said.ljust(300),
        b"HTTP/1.1 200 OK\r\n" + said + b"\r\n\r\n{}",
    ):
        with RawServer(sent) as server:
            for flags in LOUD:
                watch.run(*call("check"), "--url", server.url, *flags, cores=(ENVIRONMENT,))


MEMBERS = {
    "version": {"version", "uuid", "vendor"},
    "names": {"name", "roles", "names"},
    "nodes": {"all_nodes", "cluster_nodes"},
    "revisions": {"rev", "_rev", "possible_ancestors", "ids"},
    "documents": {"id", "_id", "key"},
    "types": {"type", "value", "environment", "database"},
    "sequence": {"update_seq", "db_name", "doc_count"},
}
"""Members of valid replies in which a server may say anything."""


def replaced(data: Any, members: set[str], said: str) -> Any:
    """Return data with some members replaced by another text, at any level."""
    if isinstance(data, dict):
        return {
            key: _said(value, said) if key in members else replaced(value, members, said) for key, value in data.items()
        }
    return [replaced(each, members, said) for each in data] if isinstance(data, list) else data


def _said(value: Any, said: str) -> Any:
    return [said, *value] if isinstance(value, list) else said


@crossed("name, members", SERVER_COMMANDS, [*MEMBERS], share=len(MEMBERS), always=["load"])
def test_valid_reply_that_echoes_the_password_is_masked(
    watch: Watch, call: Callable[[str], list[object]], loaded: Target, on_target: list[str],
    credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str, members: str,
) -> None:  # fmt: skip
    """Real replies with the password in information about the server and documents; no traceback either."""
    del credentials
    core = ENVIRONMENT
    said = echo(USER, secret(core))
    monkeypatch.setenv("COUCHDB_USER", USER)
    monkeypatch.setenv("COUCHDB_PASSWORD", secret(core))

    def hook(request: Request, forward: Forward) -> Reply:
        reply = forward(as_admin(request, loaded))
        try:
            data = json.loads(reply.body)
        except ValueError:
            return reply
        return Reply(reply.status, json.dumps(replaced(data, MEMBERS[members], said)).encode(), reply.headers)

    with Proxy(loaded.address.url, hook) as proxy:
        options = [proxy.url if each == loaded.address.url else each for each in on_target]
        watch.run(*call(name), *options, *LOUD[len(members) % 2], cores=(core,))
    assert proxy.requests


@EACH_COMMAND
def test_rejection_that_echoes_the_password_is_masked(
    watch: Watch, call: Callable[[str], list[object]], target: Target, on_target: list[str],
    monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:  # fmt: skip
    """Rows with errors, in replies to writes and reads."""
    said = echo(USER, secret(ENVIRONMENT))
    monkeypatch.setenv("COUCHDB_USER", USER)
    monkeypatch.setenv("COUCHDB_PASSWORD", secret(ENVIRONMENT))

    def hook(request: Request, forward: Forward) -> Reply:
        reply = forward(as_admin(request, target))
        if request.endpoint == "_bulk_docs":
            return Reply.json(201, [{"id": said, "error": said, "reason": said}])
        if request.endpoint == "_bulk_get":
            rows = [{"id": each["id"], "docs": [{"error": {"error": said, "reason": said, "id": said}}]}
                    for each in request.data()["docs"]]  # fmt: skip
            return Reply.json(200, {"results": rows})
        return reply

    with Proxy(target.address.url, hook) as proxy:
        options = [proxy.url if each == target.address.url else each for each in on_target]
        for flags in LOUD:
            watch.run(*call(name), *options, *flags, cores=(ENVIRONMENT,))


# Success.


def changes(password: str) -> list[dict[str, Any]]:
    """Return documents as changed by users or other software."""
    return [
        {"name": "alice", "password": password, "email": password},
        {"name": 1, "password": [password]},
        {"password": {"a": password}, "type": password},
        {"password": password, "revoked": password},
        {"name": password, "email": [password], "preferences": {"flat": {"password": password}}},
    ]


@THOROUGH
@pytest.mark.parametrize("model_name", ["gpii-token", "gpii-key"])
def test_passwords_in_documents_are_not_shown(
    watch: Watch, call: Callable[[str], list[object]], server: Server, loaded: Target, on_target: list[str],
    credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch, given: tuple[Path, Path],
) -> None:  # fmt: skip
    """Edited, foreign and invalid documents contain a password; no command shows it."""
    for variable, value in credentials.items():
        monkeypatch.setenv(variable, value)
    manifest = read_manifest(given[0])
    uuids = [card.uuid for card in manifest.cards()]
    password = secret(OF_A_PERSON)
    for uuid, change in zip(
        uuids,
        changes(password),
        strict=True,
    ):
        for kind in loaded.model.kinds:
            if Role.CARD in kind.roles:
                database = databases(server, loaded)[kind.database]
                put(database, {**get(database, kind.id(uuid)), **change})
    # The admin's password is searched for by its core, too.
    cores = (OF_A_PERSON, ADMIN[1][:-8]) if credentials.get("COUCHDB_PASSWORD") == ADMIN[1] else (OF_A_PERSON,)
    for name in sorted(SERVER_COMMANDS, key=["revoke"].count):
        for flags in LOUD:
            watch.run(*call(name), *on_target, *flags, cores=cores)
    assert ExitCode.VERIFY in watch.codes


RETURNED = data_dir("samples") / "returned"
BATCH = RETURNED / "library.batch.jsonl"
OTHERS: dict[str, list[list[object]]] = {
    "generate": [["spring", "--cards", "3"], ["bad/name", "--cards", "3"], ["spring", "--cards", "3"]],
    "validate": [["."], ["nowhere"]],
    "targets": [[], ["--config", "nowhere.toml"]],
    "config": [["show"], ["show", "--target", "nowhere"]],
    "init": [["--environment", "ci"], ["--url", "nowhere", "--environment", "ci"]],
    "help": [["load"], ["nowhere"]],
    "serve": [["--admin", USER, "--data", "/dev/null/nowhere"], ["--memory", "--data", "."]],
    "demo": [["--cards", "4"]],
    "export": [[BATCH], [BATCH, "--layout", "csv"], ["nowhere"]],
    "recover": [[data_dir("samples") / "demo.xlsx", "--out", "recovered"], ["nowhere.xlsx"]],
    "backups": [["list", "."], ["prune", ".", "--keep-last", "1", "--dry-run"], ["list", "nowhere"]],
    "reconcile": [[BATCH, RETURNED / "everything.xlsx", "--out", "back", "--details", "rows.jsonl"], [BATCH, BATCH]],
}
"""The arguments of commands that need no server of ours."""


def test_every_command_is_covered() -> None:
    """A new command must be added here with its arguments."""
    assert {*OTHERS, *SERVER_COMMANDS} == set(COMMANDS)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.usefixtures("in_environment")
def test_commands_without_a_server_do_not_reveal_the_environment(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Even if they do not use it."""
    monkeypatch.setenv("COUCHDB_URL", f"http://{USER}:{quote(secret(IN_URL), safe='')}@127.0.0.1:1")
    for each in OTHERS[name]:
        for flags in LOUD[: 1 if name == "demo" else 2]:
            watch.run(name, *each, *flags, cores=(ENVIRONMENT, IN_URL))


OF_WORKBOOKS: dict[str, list[object]] = {
    "generate": ["winter", "--cards", "3", "--out", "new"],
    "reconcile": ["autumn.batch.jsonl", "autumn.xlsx", "--out", "back"],
    "recover": ["autumn.xlsx", "--out", "recovered"],
    "export": ["autumn.batch.jsonl", "--layout", "gototags", "--out", "vendor"],
    "validate": ["autumn.xlsx", "autumn.batch.jsonl"],
}
"""The arguments of commands with the password of a workbook."""
OF_BACKUPS = ("backup", "restore", "backups", "drill")
"""Commands with the password of a backup."""


def test_every_command_with_a_password_file_is_covered() -> None:
    """A new one must be added here."""
    assert {*OF_WORKBOOKS, *OF_BACKUPS} == {name for name in COMMANDS if "password_file" in parameters(name)}


@THOROUGH
@pytest.mark.parametrize("name", OF_WORKBOOKS)
def test_workbook_password_is_only_in_its_file(watch: Watch, name: str) -> None:
    """The right one, a wrong one, and one for an unencrypted workbook."""
    right = watch.file("right", secret(OF_A_WORKBOOK))
    wrong = watch.file("wrong", secret(IN_FILE))
    watch.run("generate", "autumn", "--cards", "3", "--password-file", right, cores=(OF_A_WORKBOOK,))
    for password in (wrong, right, right):
        for flags in LOUD:
            watch.run(name, *OF_WORKBOOKS[name], "--password-file", password, *flags, cores=(OF_A_WORKBOOK, IN_FILE))


@THOROUGH
@pytest.mark.parametrize("name", OF_BACKUPS)
def test_backup_password_is_only_in_its_file(
    watch: Watch, loaded: Target, on_target: list[str], credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path, name: str,
) -> None:  # fmt: skip
    """Right or wrong, it is not in the output, a backup, or on the server of a drill."""
    del loaded
    for variable, value in credentials.items():
        monkeypatch.setenv(variable, value)
    right = watch.file("right", secret(OF_A_BACKUP))
    wrong = watch.file("wrong", secret(IN_FILE))
    made = tmp_path / f"made{SUFFIX}"
    cores = (OF_A_BACKUP, IN_FILE)
    assert watch.run("backup", made, *on_target, "--password-file", right, cores=cores).code == ExitCode.OK
    calls: dict[str, list[object]] = {
        "backup": [tmp_path, *on_target, "--since", made],
        "restore": [made, *on_target, "--merge"],
        "backups": ["list", tmp_path],
        "drill": [*on_target],
    }
    codes: dict[Path, set[int]] = {wrong: set(), right: set()}
    for number, (password, flags) in enumerate(product((wrong, right), LOUD)):
        if name == "backup":
            # In a folder, two backups of the same second would have the same name.
            calls[name][0] = tmp_path / f"{number}{SUFFIX}"
        done = watch.run(name, *calls[name], "--password-file", password, *flags, cores=cores)
        codes[password].add(done.code)
    assert codes[right] == {ExitCode.OK}
    # Only a drill reads nothing that was encrypted with another password.
    assert (ExitCode.OK in codes[wrong]) == (name == "drill")


# Other processes.


@THOROUGH
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.usefixtures("in_environment")
def test_embedded_servers_password_is_not_in_the_process_list(process: Process) -> None:
    """Neither in the arguments nor in the environment of the child; a log-in requires it."""
    serving = process("serve", "--memory", "--port", "0", "--json")
    assert serving.stdout is not None
    json.loads(serving.stdout.readline())
    family = [serving.pid, *children(serving.pid)]
    assert len(family) > 1
    for pid in family:
        assert not found_in(Path(f"/proc/{pid}/cmdline").read_bytes(), [ENVIRONMENT])
        if pid != serving.pid:
            assert not found_in(Path(f"/proc/{pid}/environ").read_bytes(), [ENVIRONMENT])
    os.kill(serving.pid, signal.SIGINT)
    _, stderr = serving.communicate(timeout=30)
    assert not found_in(stderr.encode(), [ENVIRONMENT])


def children(pid: int) -> list[int]:
    """Return the child processes of a process, recursively."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += [int(status.parent.name), *children(int(status.parent.name))]
    return found
