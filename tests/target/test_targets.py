"""Targets: which CouchDB is used, with which credentials, and keeping these secret."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.cli import run
from dataloader.common import (
    DataloaderError,
    ExitCode,
    FileError,
    InputError,
    ProtectedError,
    UsageError,
    data_dir,
    page,
)
from dataloader.couch import Tls
from dataloader.records.models import get_model, model_names
from dataloader.target import Environment, Target, read_targets, resolve
from dataloader.target.targets import TARGETS_SCHEMA

LOCAL = "http://127.0.0.1:5984"
SECRET = "hunter2"
ENVIRONMENTS = ["development", "ci", "staging", "production"]
FORM = "write it as http://HOST:PORT or https://HOST"
CREDENTIALS = {"COUCHDB_USER": "admin", "COUCHDB_PASSWORD": SECRET}

WriteTargets = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteTargets:
    """Write a target file: ``write(text)``."""

    def write(text: str) -> Path:
        path = tmp_path / "dataloader.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def found(*, environ: dict[str, str] | None = None, **options: Any) -> Target:
    """Resolve a target with given environment variables."""
    return resolve(environ=environ or {}, **options)


def refused(kind: type[DataloaderError], *, environ: dict[str, str] | None = None, **options: Any) -> str:
    """Return the error message of resolving a target; check that it never contains the password."""
    with pytest.raises(kind) as caught:
        found(environ=environ, **options)
    message = str(caught.value)
    assert SECRET not in message
    assert SECRET not in repr(caught.value)
    return message


# From a URL.


def test_local_url_is_a_development_server_with_the_default_model() -> None:
    """A URL on this machine is enough."""
    target = found(url=LOCAL)
    assert (target.address.url, target.address.user, target.address.password) == (LOCAL, None, None)
    assert (target.model, target.environment, target.prefix) == (get_model("gpii-token"), "development", "")
    assert target.warnings == ()


@pytest.mark.parametrize("model", model_names())
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_url_with_model_environment_and_prefix(model: str, environment: str) -> None:
    """Everything in the target file can also be given as an option."""
    target = found(url=LOCAL, model=model, environment=environment, prefix="ci_7-")
    assert (target.model.name, target.environment) == (model, environment)
    assert [target.database(name) for name in target.model.databases] == [
        f"ci_7-{name}" for name in get_model(model).databases
    ]
    assert target.where == f"{LOCAL} ({environment}, {model}, prefix ci_7-)"
    assert replace(target, prefix="").where == f"{LOCAL} ({environment}, {model})"


def test_url_from_the_environment_is_the_default() -> None:
    """COUCHDB_URL is used if there is no --url."""
    environ = {"COUCHDB_URL": LOCAL}
    assert found(environ=environ).address.url == LOCAL
    assert found(environ=environ, url="http://localhost:1").address.url == "http://localhost:1"


@pytest.mark.parametrize("environ", [{}, {"COUCHDB_URL": ""}])
def test_missing_target_is_an_error(environ: dict[str, str]) -> None:
    """No server is guessed; the error lists the ways to give one."""
    assert refused(UsageError, environ=environ) == (
        "no target: a command needs to know its server (give --target, --url or COUCHDB_URL)"
    )


def test_empty_url_is_an_error() -> None:
    """--url with an unset shell variable does not fall back to COUCHDB_URL."""
    message = refused(UsageError, url="", environ={"COUCHDB_URL": LOCAL})
    assert message == f"the server's URL: is not the http or https URL of a server ({FORM})"


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("http://localhost:5984/", "http://localhost:5984"),
        ("https://localhost", "https://localhost"),
        ("  http://localhost:5984\n", "http://localhost:5984"),
        ("HTTP://LOCALHOST:5984/Path", "http://localhost:5984/Path"),
        ("http://127.0.0.1/couchdb/", "http://127.0.0.1/couchdb"),
        ("http://127.0.0.1:80/a/b%2Fc", "http://127.0.0.1:80/a/b%2Fc"),
        ("http://[::1]:5984", "http://[::1]:5984"),
        ("http://[::1]", "http://[::1]"),
        ("http://admin@[::1]:5984/", "http://[::1]:5984"),
    ],
)
def test_url_is_normalized(url: str, bare: str) -> None:
    """Trailing slashes, spaces and the case of the host do not matter."""
    assert found(url=url).address.url == bare


# Invalid IPv6, ports and schemes, and passwords with special characters.
BAD_URLS = [
    "localhost:5984",
    "//admin:hunter2@localhost:5984",
    "ftp://admin:hunter2@localhost",
    "http://",
    "http://admin:hunter2@",
    "http://:5984",
    "http://admin:hunter2@localhost:port",
    "http://admin:hunter2@localhost:99999",
    "http://admin:hunter2@localhost:-1",
    "http://admin:hunter2@[::1",
    "http://admin:hunter2@loc alhost",
    "http://admin:hunter2@lo\0calhost",
    "http://admin:hunter2@localhost?hunter2",
    "http://admin:hunter2@localhost#hunter2",
    "http://admin:hunter2#@localhost",
    "http://admin:hunter2?@localhost",
    "http://admin:pass/hunter2@localhost",
    "http://admin:1234/hunter2@localhost:5984",
    "http://admin:1234#hunter2@localhost:5984",
    "http://admin:1234?hunter2@localhost:5984",
    "http://admin:1234/hunter2:x@localhost",
    "http://admin:hunter2@localhost/a b",
    "http://:hunter2@localhost",
]


@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize("environment", [None, "ci"])
def test_invalid_url_is_rejected_without_its_password(url: str, environment: str | None) -> None:
    """Wherever a password is in an invalid URL, the error explains the format and does not repeat it."""
    for options in ({"url": url}, {"environ": {"COUCHDB_URL": url}}):
        message = refused(UsageError, environment=environment, **options)
        assert message.startswith("the server's URL: ")
        known = (
            FORM,
            "did you mean http://localhost:5984 or",
            "has a password but no user (put the user before the colon)",
            "/ as %2F, ? as %3F, [ as %5B",
        )
        assert any(each in message for each in known)


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.text("/@:#?[]% ab1", max_size=12))
def test_errors_never_contain_passwords(before: str, after: str) -> None:
    """Even a password that makes the URL invalid is not repeated."""
    try:
        target = found(url=f"http://admin:{before}{SECRET}{after}@localhost:5984")
    except UsageError as error:
        assert SECRET not in str(error)  # noqa: PT017 - it may also be taken
    except ProtectedError as error:
        assert SECRET not in str(error)  # noqa: PT017 - as above
    else:
        assert SECRET not in repr(target)
        assert SECRET not in target.address.url


# Several nodes.


def test_several_urls_are_nodes_of_one_cluster() -> None:
    """They are kept in order, without duplicates; user and password are given once and used for all."""
    urls = ["http://127.0.0.1:1", f"http://admin:{SECRET}@127.0.0.1:2/", "http://127.0.0.1:1/", "http://127.0.0.1:3"]
    for options in ({"url": urls}, {"environ": {"COUCHDB_URL": " ".join(urls)}}):
        address = found(**options).address
        assert address.urls == ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
        assert (address.url, address.others) == (address.urls[0], address.urls[1:])
        assert (address.user, address.password) == ("admin", SECRET)
        assert SECRET not in repr(address)
        assert "http://127.0.0.1:3" in repr(address)
    assert found(url=urls).warnings


def test_urls_that_do_not_match_are_rejected() -> None:
    """Two users, or http and https, mean two servers or a mistake."""
    for environ in (True, False):

        def told(*urls: str, environ: bool = environ) -> str:
            return refused(UsageError, **({"environ": {"COUCHDB_URL": " ".join(urls)}} if environ else {"url": urls}))

        assert told(f"http://a:{SECRET}@127.0.0.1:1", f"http://b:{SECRET}@127.0.0.1:2") == (
            "the server's URL: has different users or passwords for its nodes "
            "(give it once; all nodes of a cluster share it)"
        )
        assert told(LOCAL, "https://127.0.0.1:6984") == (
            "the server's URL: is http for one node and https for another "
            "(use the same scheme for all nodes of a cluster)"
        )
        assert told(LOCAL, f"http://admin:{SECRET}@b:c").startswith("the server's URL: is not a URL")


def test_one_remote_node_requires_an_environment() -> None:
    """The rule applies to each node."""
    assert refused(ProtectedError, url=[LOCAL, "http://couchdb2:5984"]).startswith(
        "http://couchdb2:5984: remote server, so say what it is for"
    )
    assert found(url=[LOCAL, "http://couchdb2:5984"], environment="staging").address.others == ("http://couchdb2:5984",)


def test_target_file_can_list_nodes(write: WriteTargets) -> None:
    """A list of URLs instead of one."""
    path = write(f'[target.a]\nurl = ["{LOCAL}/", "http://couchdb2"]\n{ENVIRONMENT}')
    assert found(target="a", config=path).address.urls == (LOCAL, "http://couchdb2")
    for urls, says in (
        ("[]", "should be non-empty"),
        ("[1]", "must be a string"),
        (f'["http://admin:{SECRET}@a"]', "its url contains a user or password (remove them, and use `credentials`)"),
        ('["http://a", "https://b"]', "its url is http for one node and https for another"),
    ):
        assert says in refused(InputError, target="a", config=write(f"[target.a]\nurl = {urls}\n{ENVIRONMENT}"))


# Another machine.


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "couchdb.localhost", "127.0.0.1", "127.8.9.1", "[::1]", "[0:0:0:0:0:0:0:1]"]
)
def test_local_url_needs_no_environment(host: str) -> None:
    """URLs of this machine are development servers by default."""
    assert found(url=f"http://{host}:5984").environment is Environment.DEVELOPMENT


@pytest.mark.parametrize(
    "host",
    [
        "couchdb",
        "example.org",
        "localhost.example.org",
        "notlocalhost",
        "10.0.0.1",
        "192.168.1.1",
        "0.0.0.0",
        "128.0.0.1",
        "[::2]",
        "[2001:db8::1]",
        "127.0.0.1.example.org",
        "localhost.",
    ],
)
def test_remote_url_requires_an_environment(host: str) -> None:
    """Production is never mistaken for something else."""
    url = f"http://admin:{SECRET}@{host}:5984"
    assert refused(ProtectedError, url=url) == (
        f"http://{host}:5984: remote server, so say what it is for "
        "(add --environment development|ci|staging|production)"
    )
    assert refused(ProtectedError, environ={"COUCHDB_URL": url}).startswith(f"http://{host}:5984: ")
    for environment in ENVIRONMENTS:
        assert found(url=url, environment=environment).environment == environment


def test_protected_target_refuses_sample_data() -> None:
    """Sample data and seeded batches are refused in staging and production, and nowhere else."""
    for environment in ("development", "ci"):
        found(url=LOCAL, environment=environment).refuse("sample data", "do something else")
    for environment in ("staging", "production"):
        url = f"http://admin:{SECRET}@127.0.0.1:5984"
        with pytest.raises(ProtectedError) as caught:
            found(url=url, environment=environment).refuse("sample data", "do something else")
        assert str(caught.value) == f"sample data at {LOCAL}: never in {environment} (do something else)"
        assert caught.value.exit_code is ExitCode.PROTECTED


# Prefixes.


@pytest.mark.parametrize("prefix", ["", "a", "ci_", "test-7-", "a0_$()+-"])
def test_prefix_is_added_to_each_database_name(prefix: str) -> None:
    """A prefix may have the same characters as a database name."""
    assert found(url=LOCAL, prefix=prefix).database("auth") == f"{prefix}auth"


@pytest.mark.parametrize("prefix", ["A", "_ci", "1a", "a/b", "a b", "a%2f", "ä", "a\n", "-", "../"])
def test_invalid_prefix_is_rejected(prefix: str) -> None:
    """The error lists the allowed characters."""
    with pytest.raises(UsageError) as caught:
        found(url=LOCAL, prefix=prefix)
    assert str(caught.value) == (
        f"--prefix {prefix.strip()}: database names begin with a lower-case letter and contain only those, digits and "
        "_ $ ( ) + - (choose another)"
    )


# Credentials.


@pytest.mark.parametrize(
    ("url", "user", "password"),
    [
        (f"http://admin:{SECRET}@localhost", "admin", SECRET),
        ("http://admin:p%40ss%3A%2F%25%20%C3%BC@localhost", "admin", "p@ss:/% ü"),
        ("http://ad%2Fmin%40example.org:x@localhost", "ad/min@example.org", "x"),
        ("http://admin:a@b:c@localhost", "admin", "a@b:c"),
        ("http://admin:a:b@[::1]:5984", "admin", "a:b"),
    ],
)
def test_url_can_contain_user_and_password(url: str, user: str, password: str) -> None:
    """Percent-encoded or not, they are removed from the URL; on the command line they cause a warning."""
    for options in ({"url": url}, {"environ": {"COUCHDB_URL": url}}):
        target = found(**options)
        assert (target.address.user, target.address.password) == (user, password)
        assert password not in target.address.url
        assert target.warnings == (
            ("the password in --url is visible to everyone on this machine; use COUCHDB_PASSWORD_FILE",)
            if "url" in options
            else ()
        )


def test_credentials_from_the_environment() -> None:
    """They are used if the URL has none."""
    target = found(url=LOCAL, environ=CREDENTIALS)
    assert (target.address.user, target.address.password, target.warnings) == ("admin", SECRET, ())
    target = found(url="http://other:theirs@localhost", environ=CREDENTIALS)
    assert (target.address.user, target.address.password) == ("other", "theirs")


def test_user_in_the_url_with_password_from_the_environment(tmp_path: Path) -> None:
    """The password can be in a safer place than the user."""
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    for environ in ({"COUCHDB_PASSWORD": SECRET}, {"COUCHDB_PASSWORD_FILE": str(file)}):
        target = found(url="http://loader@localhost", environ=environ)
        assert (target.address.user, target.address.password) == ("loader", SECRET)
    assert found(url="http://loader@localhost").address.password is None


def test_password_without_user_is_an_error(tmp_path: Path) -> None:
    """Half of the credentials is a mistake, not anonymous access."""
    file = tmp_path / "password"
    file.write_text(SECRET)
    for environ in ({"COUCHDB_PASSWORD": SECRET}, {"COUCHDB_PASSWORD_FILE": str(file)}):
        message = refused(UsageError, url=LOCAL, environ=environ)
        assert message == "COUCHDB_PASSWORD: is set without a user (set COUCHDB_USER too)"


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b" hunter 2 \n", " hunter 2 "),
        ("hünter2\n".encode(), "hünter2"),
    ],
)
def test_password_file_without_its_line_end(tmp_path: Path, content: bytes, password: str) -> None:
    """A line end is not part of the password; spaces are."""
    file = tmp_path / "password"
    file.write_bytes(content)
    environ = {"COUCHDB_USER": "admin", "COUCHDB_PASSWORD_FILE": str(file)}
    assert found(url=LOCAL, environ=environ).address.password == password
    # The variable takes precedence over the file.
    assert found(url=LOCAL, environ={**environ, "COUCHDB_PASSWORD": "x"}).address.password == "x"


def test_unreadable_password_file_is_a_file_error(tmp_path: Path) -> None:
    """A missing file, or one that is not text."""
    for path, content, reason in (
        (tmp_path / "none", None, "no such file or folder"),
        (tmp_path, None, "this is a folder"),
        (tmp_path / "binary", b"\xff\xfehunter2", "is not UTF-8 text"),
    ):
        if content is not None:
            path.write_bytes(content)
        message = refused(FileError, url=LOCAL, environ={"COUCHDB_USER": "admin", "COUCHDB_PASSWORD_FILE": str(path)})
        assert message == f"{path}: {reason} (name the file that holds the password)"


def test_password_is_never_printed() -> None:
    """Neither a target nor its address shows the password."""
    target = found(url=f"http://admin:{SECRET}@localhost")
    for text in (repr(target), str(target), f"{target.address}", repr(target.address), f"{target!s:>10}"):
        assert SECRET not in text
    assert repr(target.address) == "Address('http://localhost', user='admin')"


# From a target file.

FILE = """
[target.local]
url = "http://127.0.0.1:5984/"
environment = "development"

[target.production]
url = "https://couchdb.example.org:6984"
environment = "production"
model = "gpii-key"
prefix = "pilot_"
ca_file = "ca.pem"
credentials = { user_env = "LOADER", password_env = "LOADER_PASSWORD" }

[target.secrets]
url = "https://[2001:db8::1]"
environment = "staging"
credentials = { user = "loader", password_file = "secrets/password" }
"""


def test_target_is_found_by_name(write: WriteTargets, tmp_path: Path) -> None:
    """All its options are used; paths are relative to the target file."""
    folder = tmp_path / "etc"
    folder.mkdir()
    path = write(FILE).rename(folder / "dataloader.toml")
    local = found(target="local", config=path)
    assert (local.address.url, local.model.name, local.environment) == (LOCAL, "gpii-token", "development")
    assert (local.prefix, local.address.tls, local.address.user) == ("", Tls(), None)
    environ = {"LOADER": "loader", "LOADER_PASSWORD": SECRET, "COUCHDB_USER": "other", "COUCHDB_PASSWORD": "theirs"}
    production = found(target="production", config=path, environ=environ)
    assert (production.address.url, production.model.name) == ("https://couchdb.example.org:6984", "gpii-key")
    assert (production.environment, production.prefix) == ("production", "pilot_")
    assert (production.address.user, production.address.password) == ("loader", SECRET)
    assert production.address.tls == Tls(ca_file=folder / "ca.pem")
    assert production.environment.protected
    (folder / "secrets").mkdir()
    (folder / "secrets/password").write_text(f"{SECRET}\n")
    secrets = found(target="secrets", config=path, environ={"COUCHDB_USER": "other", "COUCHDB_PASSWORD": "theirs"})
    assert secrets.address.url == "https://[2001:db8::1]"
    assert (secrets.address.user, secrets.address.password) == ("loader", SECRET)


def test_target_without_credentials_uses_the_environment(write: WriteTargets) -> None:
    """Credentials may be left to environment variables."""
    target = found(target="local", config=write(FILE), environ=CREDENTIALS)
    assert (target.address.user, target.address.password) == ("admin", SECRET)


def test_target_file_location(write: WriteTargets, tmp_path: Path) -> None:
    """--config, DATALOADER_CONFIG, or dataloader.toml in the current folder."""
    usual = write(FILE)
    other = tmp_path / "other.toml"
    other.write_text('[target.local]\nurl = "http://localhost:1"\nenvironment = "ci"\n')
    third = tmp_path / "third.toml"
    third.write_text('[target.local]\nurl = "http://localhost:2"\nenvironment = "ci"\n')
    environ = {"DATALOADER_CONFIG": str(other), "COUCHDB_URL": "http://localhost:3"}
    assert Path.cwd() == usual.parent
    assert found(target="local").address.url == LOCAL
    assert found(target="local", environ=environ).address.url == "http://localhost:1"
    assert found(target="local", environ=environ, config=third).address.url == "http://localhost:2"


def test_target_file_may_have_a_byte_order_mark(write: WriteTargets) -> None:
    """Some editors add one."""
    assert found(target="local", config=write(f"\ufeff{FILE}")).address.url == LOCAL


@pytest.mark.parametrize("option", ["url", "model", "environment", "prefix"])
def test_target_cannot_be_combined_with_url_options(write: WriteTargets, option: str) -> None:
    """Options of the target file can't be changed on the command line, not even to empty values."""
    for value in ("x", ""):
        options: dict[str, Any] = {option: value}
        assert refused(UsageError, target="local", config=write(FILE), **options) == (
            f"--target local: cannot be combined with --{option} "
            "(leave it out, since the target file sets it; or give --url instead of --target)"
        )


@pytest.mark.parametrize(
    ("name", "todo"),
    [
        ("prod", "did you mean production?"),
        ("Local", "did you mean local?"),
        ("", "must be one of: local, production, secrets"),
    ],
)
def test_unknown_target_lists_the_known_ones(write: WriteTargets, name: str, todo: str) -> None:
    """A typo in a target's name never leads to another server."""
    path = write(FILE)
    assert refused(InputError, target=name, config=path, environ={"COUCHDB_URL": LOCAL}) == (
        f'{path}: no target "{name}" ({todo})'
    )


@pytest.mark.parametrize(
    "environ", [{}, {"LOADER": "loader"}, {"LOADER_PASSWORD": SECRET}, {"LOADER": "", "LOADER_PASSWORD": ""}]
)
def test_missing_credential_variables_are_an_error(write: WriteTargets, environ: dict[str, str]) -> None:
    """The error names the variables and the target; no other credentials are used."""
    path = write(FILE)
    assert refused(UsageError, target="production", config=path, environ={**CREDENTIALS, **environ}) == (
        f"{path}, target production: LOADER and LOADER_PASSWORD are not set (set both in the environment)"
    )


SEE = f"(see {page('reference.md#targets')})"
URL = 'url = "http://a"\n'
ENVIRONMENT = 'environment = "ci"\n'

WAYS = "its credentials must be user and password_file, user_env and password_env, or netrc (give one of these)"

WRONG: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", [f": 'target' is missing {SEE}"]),
    "no targets": ("[target]\n", [f": target: the value should be non-empty {SEE}"]),
    "a misspelt option": (
        f'[target.a]\n{URL}enviroment = "ci"\n',
        ['target a: unknown option "enviroment" (did you mean environment?)'],
    ),
    "a misspelt table": (
        f"[targets.a]\n{URL}{ENVIRONMENT}",
        [': unknown table "targets" (write each target as [target.NAME])'],
    ),
    "no environment": (f"[target.a]\n{URL}", [f": target.a: 'environment' is missing {SEE}"]),
    "a misspelt environment": (
        f'[target.a]\n{URL}environment = "prod"\n',
        [
            (
                f": target.a.environment: the value must be one of: {', '.join(ENVIRONMENTS)}; "
                f"did you mean production? {SEE}"
            )
        ],
    ),
    "a misspelt model": (
        f'[target.a]\n{URL}{ENVIRONMENT}model = "gpii"\n',
        ['target a: no model "gpii" (did you mean gpii-key?)'],
    ),
    "a password": (
        f'[target.a]\n{URL}{ENVIRONMENT}password = "{SECRET}"\n',
        ['target a: unknown option "password" (use `credentials`; ' + SEE[1:]],
    ),
    "a password among the credentials": (
        f'[target.a]\n{URL}{ENVIRONMENT}credentials = {{ user = "admin", password = "{SECRET}" }}\n',
        [
            (
                "target a: its credentials contain a password "
                "(use password_file, the path of a file with the password, or password_env)"
            )
        ],
    ),
    "no scheme": (
        f'[target.a]\nurl = "127.0.0.1:5984"\n{ENVIRONMENT}',
        [
            (
                "target a: its url is not the http or https URL of a server "
                "(did you mean http://127.0.0.1:5984 or https://127.0.0.1:5984?)"
            )
        ],
    ),
    "a prefix with capitals": (
        f'[target.a]\n{URL}{ENVIRONMENT}prefix = "CI-"\n',
        [
            (
                "target a: its prefix is not allowed: database names begin with a lower-case letter and contain only "
                "those, digits and _ $ ( ) + - (choose another)"
            )
        ],
    ),
    "a target without a name": (
        f"[target]\n{URL}",
        [': option "url" belongs to no target (write each target as [target.NAME])'],
    ),
    "credentials in one": (
        f'[target.a]\n{URL}{ENVIRONMENT}credentials = "admin:{SECRET}"\n',
        [f": target.a.credentials: the value must be an object {SEE}"],
    ),
    "half of the credentials": (
        f'[target.a]\n{URL}{ENVIRONMENT}credentials = {{ user = "admin", password_env = "{SECRET}" }}\n',
        [f"target a: {WAYS}"],
    ),
    "a key without a certificate": (
        f'[target.c]\nurl = "https://a"\n{ENVIRONMENT}client_key = "k"\n',
        [f": target.c: 'client_key' needs 'client_cert', too {SEE}"],
    ),
    "a CA file for http": (
        f'[target.a]\n{URL}{ENVIRONMENT}ca_file = "ca.pem"\ninsecure = true\n',
        [
            "target a: its ca_file only applies to https (write the url with https://)",
            "target a: its insecure only applies to https (write the url with https://)",
        ],
    ),
    "three kinds of credentials": (
        f'[target.a]\n{URL}{ENVIRONMENT}credentials = {{ netrc = true, user = "u", password_file = "p" }}\n',
        [f"target a: {WAYS}"],
    ),
    "no credentials": (
        f"[target.a]\n{URL}{ENVIRONMENT}credentials = {{}}\n",
        [f"target a: {WAYS}"],
    ),
    "an impossible port": (
        f'[target.a]\nurl = "http://a:99999"\n{ENVIRONMENT}[target.b]\nurl = "http://b:99999"\n{ENVIRONMENT}',
        [f"target a: its url is not a URL ({FORM})", f"target b: its url is not a URL ({FORM})"],
    ),
    "no TOML": (
        "[target.a\n",
        [": is not TOML: Expected ']' at the end of a table declaration (at line 1, column 10) (correct the syntax)"],
    ),
    "no TOML, with a password": (
        f"[target.a]\nurl = http://admin:{SECRET}@a\n",
        [": is not TOML: Invalid value (at line 2, column 7) (correct the syntax)"],
    ),
    "a long line": (f"{'a.' * 45_000}b = 1", ["line 1: is longer than 10,000 characters (correct the syntax)"]),
    "nested deeply": (f"a = {'[' * 5000}", [": is nested too deeply (correct the syntax)"]),
    "paths with control characters": (
        f'[target.a]\nurl = "https://a"\nca_file = "a\\u0000"\nsnapsets = "\\n"\n{ENVIRONMENT}',
        [f": target.a.{name}: the value has a character that is not allowed {SEE}" for name in ("ca_file", "snapsets")],
    ),
    "a huge number": (f"a = {'9' * 5000}", [": has a number with too many digits (correct the syntax)"]),
}


@pytest.mark.parametrize(("text", "problems"), WRONG.values(), ids=WRONG)
def test_target_file_reports_every_problem(write: WriteTargets, text: str, problems: list[str]) -> None:
    """Problems of all targets are reported by name, without secrets, whichever target is requested."""
    path = write(text)
    lines = refused(InputError, target="a", config=path).splitlines()
    assert [line.removeprefix(str(path)).removeprefix(", ") for line in lines] == problems


def test_target_file_must_not_contain_a_password(write: WriteTargets) -> None:
    """The error does not repeat it."""
    path = write(f'[target.a]\nurl = "http://admin:{SECRET}@localhost:5984"\n{ENVIRONMENT}')
    assert refused(InputError, target="a", config=path) == (
        f"{path}, target a: its url contains a user or password (remove them, and use `credentials`)"
    )


def test_unreadable_target_file_is_a_file_error(tmp_path: Path) -> None:
    """A missing file, or one that is not text; the error says what else to do."""
    todo = "(write one with `dataloader init`, name it with --config, or give --url)"
    assert refused(FileError, target="a") == f"dataloader.toml: no such file or folder {todo}"
    assert refused(FileError, target="a", config=tmp_path) == f"{tmp_path}: this is a folder {todo}"
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe[target]")
    assert refused(InputError, target="a", config=binary) == f"{binary}: is not UTF-8 text (save it as UTF-8)"


@pytest.mark.parametrize("model", model_names())
def test_target_file_accepts_every_model(write: WriteTargets, model: str) -> None:
    """A new model can be used at once."""
    path = write(f'[target.a]\n{URL}{ENVIRONMENT}model = "{model}"\n')
    assert found(target="a", config=path).model is get_model(model)


def test_sample_target_file_is_valid() -> None:
    """The sample shows every environment and option, and each of its targets can be resolved."""
    path = data_dir("samples") / "dataloader.toml"
    targets = read_targets(path)
    assert {table["environment"] for table in targets.values()} == set(ENVIRONMENTS)
    properties = json.loads((data_dir("schemas") / f"{TARGETS_SCHEMA}.schema.json").read_text())["$defs"]
    assert set().union(*targets.values()) == properties["target"]["properties"].keys()
    credentials = [table.get("credentials", {}) for table in targets.values()]
    assert set().union(*credentials) == properties["credentials"]["properties"].keys()
    for name, table in targets.items():
        if not {"password_file", "netrc"} & table.get("credentials", {}).keys():
            assert found(target=name, config=path, environ=CREDENTIALS).environment == table["environment"]


# On the command line.


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "message"),
    [
        ([], {}, ExitCode.USAGE, "no target: a command needs to know its server"),
        (
            ["--url", f"http://admin:{SECRET}@example.org"],
            {},
            ExitCode.PROTECTED,
            "http://example.org: remote server",
        ),
        (
            [],
            {"COUCHDB_URL": f"http://admin:{SECRET}@example.org"},
            ExitCode.PROTECTED,
            "http://example.org: remote server",
        ),
        (["--url", f"http://a:{SECRET}@b:c"], {}, ExitCode.USAGE, "the server's URL: is not a URL"),
        (["--url", LOCAL, "--environment", "prod"], {}, ExitCode.USAGE, "'prod' must be one of: development, ci"),
        (["--url", LOCAL, "--model", "gpii"], {}, ExitCode.USAGE, "'gpii' must be one of: gpii-token, gpii-key"),
        (["--url", LOCAL, "--prefix", "A"], {}, ExitCode.USAGE, "--prefix A: database names begin with"),
        (["--target", "a"], {}, ExitCode.FILE, "dataloader.toml: no such file or folder"),
        (["--target", "a", "--url", LOCAL], {}, ExitCode.USAGE, "--target a: cannot be combined"),
        (["--url", LOCAL], {"COUCHDB_PASSWORD": SECRET}, ExitCode.USAGE, "COUCHDB_PASSWORD: is set without a user"),
    ],
)
def test_unresolved_target_stops_a_command_first(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environ: dict[str, str],
    code: ExitCode,
    message: str,
) -> None:
    """The exit code and message say what is wrong; no password is printed, not even with --debug."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert run(["check", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert run(["--debug", "check", *arguments]) == code
    assert SECRET not in printed.err + capsys.readouterr().err


def test_environment_is_read_when_resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables set after the program has started count."""
    monkeypatch.setenv("COUCHDB_URL", LOCAL)
    monkeypatch.setitem(os.environ, "COUCHDB_USER", "late")
    target = resolve()
    assert (target.address.url, target.address.user) == (LOCAL, "late")
    assert re.fullmatch(r"Address\('http://127\.0\.0\.1:5984', user='late'\)", repr(target.address))
