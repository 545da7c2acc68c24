"""Credentials: where they are found, warnings about unsafe places, and keeping them secret."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataloader.common import DataloaderError, ExitCode, FileError, InputError, Patience, UsageError
from dataloader.couch import Tls
from dataloader.couch.session import Session
from dataloader.target import Target, resolve
from dataloader.target.credentials import Credentials, from_netrc
from tests.support.command import Command
from tests.support.proxy import Proxy, Reply

SECRET = "hunter2"
LOCAL = "http://127.0.0.1:5984"
NETRC = f"""\
# Of several servers.
machine couchdb.example.org login loader password {SECRET}
machine 127.0.0.1
    login admin
    password "{SECRET} with blanks, # and €"
machine half.example.org login nobody
default login anonymous password {SECRET}
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file that others can't read: ``write(text)``."""

    def write(text: str | bytes, name: str = ".netrc", mode: int = 0o600) -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    return write


def found(url: Any = LOCAL, *, environ: dict[str, str] | None = None, **options: Any) -> Target:
    """Resolve a target with given environment variables."""
    if "target" not in options:
        options = {"url": url, "environment": "ci", **options}
    return resolve(environ=environ or {}, **options)


def who(target: Target) -> tuple[str | None, str | None]:
    """Return user and password."""
    return target.address.user, target.address.password


def refused(kind: type[DataloaderError], **options: Any) -> str:
    """Return the error message of resolving a target; check that it never contains the password."""
    with pytest.raises(kind) as caught:
        found(**options)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None or SECRET not in str(caught.value.__cause__)
    return str(caught.value)


# .netrc.


def test_netrc_is_used_by_default(write: Write, tmp_path: Path) -> None:
    """It is named by ``NETRC`` or in the home folder; the host selects the entry, whatever the port or scheme."""
    path = write(NETRC)
    for environ in ({"NETRC": str(path)}, {"HOME": str(tmp_path)}, {"HOME": str(tmp_path), "NETRC": ""}):
        assert who(found(environ=environ)) == ("admin", f"{SECRET} with blanks, # and €")
        assert who(found("https://COUCHDB.example.org/db", environ=environ)) == ("loader", SECRET)
        assert who(found(environ={**environ, "COUCHDB_URL": LOCAL}, url=None))[0] == "admin"
        assert found(environ=environ).warnings == ()


def test_netrc_has_the_lowest_priority(write: Write) -> None:
    """User and password in the URL or environment come first; a user alone selects that user's entry."""
    netrc = {"NETRC": str(write(NETRC))}
    assert who(found("http://other:theirs@127.0.0.1", environ=netrc)) == ("other", "theirs")
    environ = {**netrc, "COUCHDB_USER": "other", "COUCHDB_PASSWORD": "theirs"}
    assert who(found(environ=environ)) == ("other", "theirs")
    assert who(found(environ={**netrc, "COUCHDB_USER": "other"})) == ("other", None)
    assert who(found("http://other@127.0.0.1", environ=netrc)) == ("other", None)
    for user in ({"url": "http://loader@couchdb.example.org"}, {"url": "http://couchdb.example.org"}):
        assert who(found(**user, environ={**netrc, "COUCHDB_USER": "loader"})) == ("loader", SECRET)


def test_netrc_default_entry_is_ignored(write: Write, tmp_path: Path) -> None:
    """It is not sent to any host; incomplete entries are ignored, and the file need not exist."""
    netrc = {"NETRC": str(write(NETRC))}
    assert who(found("http://another.example.org", environ=netrc)) == (None, None)
    assert who(found("http://half.example.org", environ=netrc)) == (None, None)
    assert who(found(environ={"HOME": str(tmp_path / "nowhere")})) == (None, None)
    missing = tmp_path / "missing"
    assert refused(FileError, environ={"NETRC": str(missing)}) == (
        f"{missing}: no such file or folder (correct or unset NETRC)"
    )


def test_cluster_nodes_share_one_netrc_entry(write: Write) -> None:
    """An entry for one node is used for all; different entries are an error."""
    path = write(
        f"machine a login u password {SECRET}\nmachine b login u password {SECRET}\nmachine c login u password x"
    )
    environ = {"NETRC": str(path)}
    assert who(found(["http://a", "http://b", "http://d"], environ=environ)) == ("u", SECRET)
    assert who(found(["http://d", "http://a:1", "http://a:2"], environ=environ)) == ("u", SECRET)
    assert refused(UsageError, url=["http://a", "http://c"], environ=environ) == (
        f"{path}: has different users or passwords for its nodes (use the same for all nodes of a cluster)"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"machine 127.0.0.1 login admin password my {SECRET}\n", 1),
        (f"machine 127.0.0.1\nlogin admin\npasswort {SECRET}\n", 3),
        (f"\n{SECRET}\n", 2),
        (f"macdef x\n{SECRET}", 2),
    ],
)
def test_malformed_netrc_is_reported_with_its_line(
    write: Write, here: Command, monkeypatch: pytest.MonkeyPatch, text: str, line: int
) -> None:
    """The error names the file and line, and never repeats the content, not even in a traceback."""
    path = write(text)
    told = refused(InputError, environ={"NETRC": str(path)})
    assert told.startswith(f"{path}, line ")
    # Input up to a line end counts as read.
    assert int(told.removeprefix(f"{path}, line ").partition(":")[0]) in {line, line + 1}
    assert told.endswith(": is not valid in a .netrc file (quote values that contain spaces)")
    monkeypatch.setenv("NETRC", str(path))
    completed = here("check", "--url", LOCAL, "--debug")
    assert completed.code == ExitCode.INPUT
    assert "Traceback" in completed.stderr
    assert SECRET not in completed.stderr


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=60), st.text('machine login password default"\\ \n#a127.0', max_size=60).map(str.encode)
    )
)
def test_any_netrc_is_read_or_rejected(tmp_path: Path, content: bytes) -> None:
    """No content causes an internal error."""
    path = tmp_path / "netrc"
    path.write_bytes(content)
    try:
        entry = from_netrc(path, ["127.0.0.1"])
    except InputError:
        return
    assert entry is None or (entry.user and entry.password)


def test_target_file_can_refer_to_netrc(write: Write, tmp_path: Path) -> None:
    """To the default one, or to one in the same folder; if it has no entry, the error says how to write one."""
    usual, beside = write(NETRC), write("machine a login beside password theirs", "etc.netrc")
    config = tmp_path / "dataloader.toml"

    def target(url: str, netrc: str) -> dict[str, Any]:
        config.write_text(f'[target.a]\nurl = "{url}"\nenvironment = "ci"\ncredentials = {{ netrc = {netrc} }}\n')
        return {"target": "a", "config": config, "environ": {"NETRC": str(usual), "COUCHDB_USER": "x"}}

    assert who(found(**target("http://couchdb.example.org", "true"))) == ("loader", SECRET)
    assert who(found(**target("http://a", '"etc.netrc"'))) == ("beside", "theirs")
    assert refused(UsageError, **target("http://b", '"etc.netrc"')) == (
        f"{config}, target a: {beside} has no login and password for b "
        "(add to it: machine HOST login USER password PASSWORD)"
    )
    assert refused(UsageError, **{**target("http://b", "true"), "environ": {}}).startswith(
        f"{config}, target a: .netrc has no login and password for b"
    )
    assert "no such file" in refused(FileError, **target("http://b", '"missing"'))
    assert "should not be valid under" in refused(InputError, **target("http://b", "false"))


def test_target_without_credentials_uses_netrc(write: Write, tmp_path: Path) -> None:
    """If the environment has no credentials either, ``.netrc`` is used."""
    config = tmp_path / "dataloader.toml"
    config.write_text('[target.a]\nurl = "http://couchdb.example.org"\nenvironment = "ci"\n')
    assert who(found(target="a", config=config, environ={"NETRC": str(write(NETRC))})) == ("loader", SECRET)


# Files that others can read.


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o444])
def test_secret_readable_by_others_is_a_warning(write: Write, here: Command, tmp_path: Path, mode: int) -> None:
    """Password files, ``.netrc`` and certificate keys are named in a warning, and the command continues."""
    netrc, password = write(NETRC, mode=mode), write(SECRET, "password", mode)
    for path, environ in (
        (netrc, {"NETRC": str(netrc)}),
        (password, {"COUCHDB_USER": "admin", "COUCHDB_PASSWORD_FILE": str(password)}),
    ):
        assert found(environ=environ).warnings == (
            f"{path} holds a secret, and others on this machine can read it; chmod 600 it",
        )
        path.chmod(0o600)
        assert found(environ=environ).warnings == ()
    password.chmod(mode)
    config = tmp_path / "dataloader.toml"
    config.write_text(
        f'[target.a]\nurl = "{LOCAL}"\nenvironment = "ci"\n'
        'credentials = { user = "admin", password_file = "password" }\n'
    )
    assert len(found(target="a", config=config).warnings) == 1
    certificate, key = write("", "client.pem", mode), write("", "client.key", mode)
    for tls, path in ((Tls(client_cert=certificate), certificate), (Tls(None, certificate, key), key)):
        [warning] = found("https://127.0.0.1", tls=tls).warnings
        assert warning.startswith(f"{path} holds a secret, and others")


def test_secret_of_another_user_is_for_its_group(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's secret belongs to root and is readable by a group; only for the whole world is it a warning."""
    path = write(SECRET, "password", 0o440)
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    environ = {"COUCHDB_USER": "admin", "COUCHDB_PASSWORD_FILE": str(path)}
    assert found(environ=environ).warnings == ()
    path.chmod(0o444)
    assert len(found(environ=environ).warnings) == 1


def test_credentials_warning_does_not_stop_a_command(
    write: Write, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warning goes to stderr, and the password is used."""
    monkeypatch.setenv("COUCHDB_USER", "admin")
    monkeypatch.setenv("COUCHDB_PASSWORD_FILE", str(write(SECRET, "password", 0o644)))
    with Proxy("http://127.0.0.1:9", lambda *_: Reply.json(401, {})) as proxy:
        completed = here("check", "--url", proxy.url)
    assert completed.code == ExitCode.CREDENTIALS
    assert "/password holds a secret, and others on this machine can read it" in completed.stderr
    assert "Authorization" in proxy.requests[0].headers
    assert SECRET not in completed.stderr


@pytest.mark.parametrize("kind", ["pipe", "named pipe", "device", "folder"])
@pytest.mark.parametrize("name", ["COUCHDB_PASSWORD_FILE", "NETRC", "DATALOADER_CONFIG"])
def test_credential_files_must_be_regular_files(tmp_path: Path, kind: str, name: str) -> None:
    """A pipe without a writer would block, and /dev/zero would fill the memory."""
    reading, writing = os.pipe()
    path = {"pipe": f"/dev/fd/{reading}", "named pipe": str(tmp_path / "fifo"), "device": "/dev/zero"}.get(
        kind, str(tmp_path)
    )
    if kind == "named pipe":
        os.mkfifo(path)
    environ = {"COUCHDB_USER": "admin", name: path}
    options: dict[str, Any] = {"target": "any"} if name == "DATALOADER_CONFIG" else {"url": LOCAL}
    with pytest.raises(FileError, match=r"(is not a regular file|this is a folder)"):
        resolve(environ=environ, **options)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("name", ["COUCHDB_PASSWORD_FILE", "NETRC"])
def test_large_credential_file_is_rejected(write: Write, name: str) -> None:
    """It is not read completely."""
    path = write("x" * 2_000_000, "large")
    says = refused(FileError, environ={"COUCHDB_USER": "admin", name: str(path)})
    assert f"{path}: is larger than " in says


def test_byte_order_mark_and_line_ends_are_stripped_from_passwords(write: Write) -> None:
    """Editors and shells add them to files and variables."""
    path = write(f"\ufeff{SECRET}\r\n", "password")
    for environ in ({"COUCHDB_PASSWORD_FILE": str(path)}, {"COUCHDB_PASSWORD": f"\ufeff{SECRET}\r\n"}):
        assert who(found(environ={"COUCHDB_USER": "admin", **environ})) == ("admin", SECRET)


def test_empty_password_file_is_an_error(write: Write) -> None:
    """A file that has not been filled in does not mean an empty password."""
    path = write("\n", "password")
    environ = {"COUCHDB_USER": "admin", "COUCHDB_PASSWORD_FILE": str(path)}
    assert refused(FileError, environ=environ) == f"{path}: is empty (name the file that holds the password)"


# Told to nobody.


def test_credentials_are_never_printed() -> None:
    """Objects with credentials may show the user, never the password."""
    target = found(f"http://admin:{SECRET}@127.0.0.1")
    for each in (Credentials("admin", SECRET), target, target.address):
        assert SECRET not in f"{each!r} {each}"
        assert "admin" in repr(each)


def test_user_with_a_colon_is_refused_without_the_password(write: Write) -> None:
    """No server accepts such a name, and errors name the user."""
    both = f"admin:{SECRET}"
    advice = "the user name: contains a colon (set COUCHDB_USER to the name only, and COUCHDB_PASSWORD or COUCHDB_"
    for environ in ({"COUCHDB_USER": both}, {"COUCHDB_USER": both, "COUCHDB_PASSWORD": "x"}):
        assert refused(UsageError, environ=environ).startswith(advice)
    assert refused(UsageError, url=f"http://{quote(both)}@127.0.0.1").startswith(advice)
    netrc = write(f'machine 127.0.0.1 login "{both}" password x')
    assert refused(UsageError, environ={"NETRC": str(netrc)}).startswith(advice)


def test_credentials_are_not_sent_to_a_redirect() -> None:
    """Redirects are not followed, so the other server gets nothing."""
    with (
        Proxy("http://127.0.0.1:9", lambda *_: Reply.json(200, {})) as elsewhere,
        Proxy("http://127.0.0.1:9", lambda *_: Reply(307, b"", {"Location": f"{elsewhere.url}/"})) as proxy,
    ):
        address = found(proxy.url.replace("http://", f"http://admin:{SECRET}@")).address
        with pytest.raises(DataloaderError, match="redirects to"):
            Session(address, Patience()).request("POST", f"{proxy.url}/db", {})
    assert elsewhere.requests == []
