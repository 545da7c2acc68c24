"""TLS with test certificate authorities: trust, its errors, and client certificates."""

import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from dataloader.common import ExitCode, ProtectedError, UnreachableError
from dataloader.couch import Address, Server, Tls
from dataloader.couch.session import Session
from dataloader.target import Target, resolve
from tests.support.command import Command, Completed
from tests.support.marks import THOROUGH
from tests.support.proxy import Proxy, Reply
from tests.support.raw_server import RawServer
from tests.support.server import QUICK, snapshot

NOBODY = "http://127.0.0.1:9"
HERE = "127.0.0.1"
GREETING = Reply.json(200, {"couchdb": "Welcome", "version": "3.5.0"})
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
AUTHORITY = "give its CA certificate with --ca-file, or ca_file in the target file"


@dataclass(frozen=True)
class Authority:
    """A test certificate authority, with its certificate as a file."""

    ca: trustme.CA
    file: Path

    def issue(self, *names: str, **options: Any) -> trustme.LeafCert:
        """Issue a certificate."""
        return self.ca.issue_cert(*names, **options)


def _authority(folder: Path) -> Authority:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    return Authority(ca, folder / "ca.pem")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that signs server certificates."""
    return _authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that signs client certificates."""
    return _authority(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> trustme.LeafCert:
    """A valid certificate for this machine."""
    return authority.issue(HERE, "localhost")


def speaking(certificate: trustme.LeafCert, clients: Authority | None = None) -> ssl.SSLContext:
    """Return the TLS context of a server; with ``clients``, it requires client certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def write_client(folder: Path, certificate: trustme.LeafCert) -> tuple[Path, Path]:
    """Write a client certificate and its key as separate files."""
    cert, key = folder / "client.pem", folder / "client.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    key.write_bytes(certificate.private_key_pem.bytes())
    key.chmod(0o600)
    return cert, key


@pytest.fixture
def told(here: Command) -> Callable[..., str]:
    """Run ``check`` on a server, and return its one-line error: ``told(url, option…)``."""

    def told(url: str, *options: object, code: ExitCode = ExitCode.UNREACHABLE) -> str:
        completed = here("check", "--url", url, *options)
        assert (completed.code, completed.stdout) == (code, ""), completed.stderr
        *warnings, line = completed.stderr.splitlines()
        assert all(warning.startswith("warning: ") for warning in warnings)
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return told


def greeting(*_: object) -> Reply:
    """Answer as CouchDB does."""
    return GREETING


# Whom to trust.


@pytest.fixture
def load(
    here: Command, given: tuple[Path, Path], target: Target, credentials: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Completed]:  # fmt: skip
    """Load the small batch: ``load("--url", url, …)``."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    manifest, snapsets = given
    return lambda *options: here("load", manifest, "--snapsets", snapsets, *options, "--json")


def test_load_with_client_certificate(
    load: Callable[..., Completed], here: Command, server: Server, target: Target, authority: Authority,
    clients: Authority, certificate: trustme.LeafCert, tmp_path: Path,
) -> None:  # fmt: skip
    """By options and by a target file; a plain load then finds nothing left to do."""
    cert, key = write_client(tmp_path, clients.issue("loader@example.org"))
    on_target = ("--prefix", target.prefix, "--model", target.model.name, "--environment", "ci")
    with Proxy(target.address.url, tls=speaking(certificate, clients)) as proxy:
        tls = ("--ca-file", authority.file, "--client-cert", cert, "--client-key", key)
        completed = load("--url", proxy.url, *tls, *on_target)
        assert (completed.code, completed.stderr) == (ExitCode.OK, "")
        assert completed.data["created"] == completed.data["documents"]
        there = snapshot(server, target)
        (tmp_path / "tls.toml").write_text(
            f'[target.tls]\nurl = "{proxy.url}"\nenvironment = "ci"\nmodel = "{target.model.name}"\n'
            f'prefix = "{target.prefix}"\nca_file = "{authority.file}"\nclient_cert = "client.pem"\n'
            'client_key = "client.key"\n'
        )
        named = ("--target", "tls", "--config", tmp_path / "tls.toml")
        assert load(*named).data["unchanged"] == completed.data["documents"]
        checked = here("check", *named)
    assert checked.code == ExitCode.OK
    assert f"at {proxy.url}\n" in checked.stdout
    assert load("--url", target.address.url, *on_target).data["unchanged"] == completed.data["documents"]
    assert snapshot(server, target) == there


@THOROUGH
def test_tls_nodes_are_tried_in_turn(authority: Authority, certificate: trustme.LeafCert) -> None:
    """One authority signs for all of them; a node that hangs in the handshake is skipped."""
    quick = replace(QUICK, connect=0.3)
    with RawServer(b"") as dead, Proxy(NOBODY, greeting, speaking(certificate)) as proxy:
        address = Address(dead.url.replace("http:", "https:"), tls=Tls(authority.file), others=(proxy.url,))
        assert Server(address, quick).welcome().version == "3.5.0"
    assert proxy.requests


def test_client_certificate_and_key_in_one_file(
    authority: Authority, clients: Authority, certificate: trustme.LeafCert, tmp_path: Path
) -> None:
    """Some tools write them into one file."""
    both = tmp_path / "both.pem"
    both.write_bytes(clients.issue("loader@example.org").private_key_and_cert_chain_pem.bytes())
    with Proxy(NOBODY, greeting, speaking(certificate, clients)) as proxy:
        assert Server(Address(proxy.url, tls=Tls(authority.file, both)), QUICK).welcome().version == "3.5.0"


# What is wrong with a server.


def test_each_certificate_error_has_its_own_message(told: Callable[..., str], authority: Authority) -> None:
    """Expired, not valid yet, wrong host, self-signed, unknown authority: each says what to do."""
    itself = authority.ca
    own = trustme.CA()
    cases: list[tuple[ssl.SSLContext, Path | None, str]] = [
        (
            speaking(authority.issue(HERE, not_after=YESTERDAY)),
            authority.file,
            "its certificate has expired (renew it, or check this machine's clock)",
        ),
        (
            speaking(authority.issue(HERE, not_before=datetime.now(UTC) + timedelta(days=1))),
            authority.file,
            "its certificate is not valid yet (check this machine's clock)",
        ),
        (
            speaking(authority.issue("couchdb.example.org")),
            authority.file,
            "its certificate is for another host name (use a host name that the certificate lists)",
        ),
        (
            speaking(own.issue_cert(HERE)),
            authority.file,
            f"its certificate is from an unknown authority ({AUTHORITY})",
        ),
        (
            speaking(itself.issue_cert(HERE)),
            None,
            f"its certificate is from an unknown authority ({AUTHORITY})",
        ),
        (
            self_signed(own),
            authority.file,
            f"its certificate is self-signed (if it is the right one, {AUTHORITY})",
        ),
    ]
    for context, ca_file, says in cases:
        with Proxy(NOBODY, greeting, context) as proxy:
            assert told(proxy.url, *(["--ca-file", ca_file] if ca_file else [])) == f"{proxy.url}: {says}"
        assert proxy.requests == []


def self_signed(ca: trustme.CA) -> ssl.SSLContext:
    """Return the TLS context of a server with a self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ca.cert_pem.tempfile() as cert, ca.private_key_pem.tempfile() as key:
        context.load_cert_chain(cert, key)
    return context


def test_certificate_for_another_host_is_rejected(authority: Authority) -> None:
    """A name that the certificate does not list is rejected, whoever signed it."""
    with Proxy(NOBODY, greeting, speaking(authority.issue("localhost"))) as proxy:
        named = proxy.url.replace(HERE, "localhost")
        assert Server(Address(named, tls=Tls(authority.file)), QUICK).welcome().version == "3.5.0"
        with pytest.raises(UnreachableError, match="its certificate is for another host name"):
            Server(Address(proxy.url, tls=Tls(authority.file)), QUICK).welcome()


def test_untrusted_node_is_an_error(authority: Authority, certificate: trustme.LeafCert) -> None:
    """An invalid certificate does not count as a node that is down: it is reported at once, and nothing is sent."""
    stranger = speaking(trustme.CA().issue_cert(HERE))
    with Proxy(NOBODY, greeting, stranger) as bad, Proxy(NOBODY, greeting, speaking(certificate)) as good:
        for url, others in ((bad.url, (good.url,)), ("https://127.0.0.1:9", (bad.url,))):
            address = Address(url, "admin", "secret", Tls(authority.file), others)
            with pytest.raises(UnreachableError, match="from an unknown authority"):
                Session(address, QUICK).request("GET", f"{url}/")
        assert (bad.requests, good.requests) == ([], [])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_wrong_scheme_is_reported_at_once(
    told: Callable[..., str], monkeypatch: pytest.MonkeyPatch, certificate: trustme.LeafCert, scheme: str
) -> None:
    """Even with the usual waits, http instead of https is one line, without delay."""
    monkeypatch.delenv("DATALOADER_RETRY_WAIT")
    sleeps: list[float] = []
    monkeypatch.setattr("time.sleep", sleeps.append)
    with Proxy(NOBODY, greeting, None if scheme == "https" else speaking(certificate)) as proxy:
        url = re.sub("^https?", scheme, proxy.url)
        assert (
            told(url)
            == {
                "http": f"{url}: the server requires TLS (write the URL with https://)",
                "https": f"{url}: the server does not use TLS (write the URL with http:// or correct the port)",
            }[scheme]
        )
    assert sleeps == []


def test_failure_is_examined_only_once(told: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The additional connection that finds the cause is not made before every retry."""
    looked: list[str] = []
    monkeypatch.setattr("dataloader.couch.tls.look_into", lambda url, _: looked.append(url))
    with RawServer(b"") as server:
        assert "the connection failed after" in told(server.url)
        assert looked == [server.url]
    assert len(server.requests) == 1 + QUICK.retries


def test_plain_port_that_waits_for_a_line_is_recognized(
    told: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain server that lets the TLS handshake hang is found after one timeout, not two."""
    monkeypatch.setenv("DATALOADER_CONNECT_TIMEOUT", "0.5")
    with RawServer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as server:
        url = server.url.replace("http:", "https:")
        assert "the server does not use TLS" in told(url)


def test_other_tls_error_is_reported_as_it_is(told: Callable[..., str]) -> None:
    """Any other alert of a server ends the command at once, with its text."""

    def complain(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1)
            # RFC 8446, 6: an alert, fatal, internal_error.
            connection.sendall(bytes([21, 3, 3, 0, 2, 2, 80]))
            connection.recv(100_000)

    with socket.create_server((HERE, 0)) as listener:
        thread = Thread(target=complain, args=[listener])
        thread.start()
        line = told(f"https://{HERE}:{listener.getsockname()[1]}")
        thread.join()
    assert "the TLS connection failed: " in line
    assert "internal error" in line
    assert line.endswith("(see the server's log)")


# Client certificates.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_server_that_requires_a_client_certificate(
    told: Callable[..., str], authority: Authority, clients: Authority, certificate: trustme.LeafCert,
    tmp_path: Path, version: ssl.TLSVersion,
) -> None:  # fmt: skip
    """No certificate, and one that the server rejects, each have a message with what to do."""
    context = speaking(certificate, clients)
    context.maximum_version = version
    todo = "(give --client-cert and --client-key, or client_cert and client_key in the target file)"
    if version is ssl.TLSVersion.TLSv1_3:
        code, rule = ExitCode.CREDENTIALS, "the server requires a client certificate"
    else:
        code = ExitCode.UNREACHABLE
        rule = "the server aborts the TLS handshake; it may require a client certificate"
    with Proxy(NOBODY, greeting, context) as proxy:
        # The alert is often lost.
        for _ in range(5):
            assert told(proxy.url, "--ca-file", authority.file, code=code) == f"{proxy.url}: {rule} {todo}"
        for certificate_, alert in (
            (authority.issue("loader@example.org"), "unknown ca"),
            (clients.issue("loader@example.org", not_after=YESTERDAY), "certificate expired"),
        ):
            cert, key = write_client(tmp_path, certificate_)
            options = ("--ca-file", authority.file, "--client-cert", cert, "--client-key", key)
            assert told(proxy.url, *options, code=ExitCode.CREDENTIALS) == (
                f"{proxy.url}: the server does not accept the client certificate: {alert} "
                "(use one from an authority that the server trusts)"
            )
    assert proxy.requests == []


def test_invalid_certificate_files_are_reported(
    told: Callable[..., str], authority: Authority, clients: Authority, tmp_path: Path
) -> None:
    """Missing, empty, the wrong key, an encrypted key: each error names its file, before any request."""
    url = "https://127.0.0.1:9"
    cert, key = write_client(tmp_path, clients.issue("loader@example.org"))
    other = tmp_path / "other.key"
    other.write_bytes(clients.issue("another@example.org").private_key_pem.bytes())
    other.chmod(0o600)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        load_pem_private_key(key.read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase")
        )
    )
    locked.chmod(0o600)
    empty, missing = tmp_path / "empty.pem", tmp_path / "missing.pem"
    empty.write_bytes(b"")
    empty.chmod(0o600)
    cases: list[tuple[list[object], str]] = [
        (["--ca-file", missing], f"{missing}: no such file or folder (give a CA certificate in PEM form)"),
        (["--ca-file", empty], f"{empty}: contains no certificate in PEM form (give a CA certificate in PEM form)"),
        (["--ca-file", key], f"{key}: contains no certificate in PEM form (give a CA certificate in PEM form)"),
        (["--client-cert", missing], f"{missing}: no such file or folder (name the client certificate)"),
        (["--client-cert", cert, "--client-key", missing], f"{missing}: no such file or folder (name its key)"),
        (
            ["--client-cert", cert],
            f"{cert}: contains no certificate with its key in PEM form (name a client certificate and its key)",
        ),
        (
            ["--client-cert", cert, "--client-key", empty],
            f"{cert} and {empty}: one of them is not in PEM form (name a client certificate and its key)",
        ),
        (
            ["--client-cert", cert, "--client-key", other],
            f"{other}: does not contain the key of {cert} (give a certificate and its own key)",
        ),
        (
            ["--client-cert", cert, "--client-key", locked],
            f"{locked}: contains an encrypted key (use a key without a passphrase, in a file of mode 0600)",
        ),
    ]
    for options, says in cases:
        assert told(url, *options, code=ExitCode.FILE) == says


def test_tls_options_that_do_not_fit_are_rejected(told: Callable[..., str], tmp_path: Path) -> None:
    """A CA certificate without TLS, or a key without a certificate, is a mistake."""
    for option in ("--ca-file", "--client-cert"):
        assert told("http://127.0.0.1:9", option, "x.pem", code=ExitCode.USAGE) == (
            f"{option}: only applies to https (write the URL with https://)"
        )
    assert told("http://127.0.0.1:9", "--insecure", code=ExitCode.USAGE).startswith("--insecure: only applies")
    assert told("https://127.0.0.1:9", "--client-key", "x.pem", code=ExitCode.USAGE) == (
        "--client-key: needs its certificate (add --client-cert)"
    )


# Without verification.


def test_insecure_is_a_warning_every_time(
    here: Command, given: tuple[Path, Path], target: Target, credentials: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """``--insecure`` accepts any certificate, and warns on stderr, also with --quiet and --json."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    context = speaking(trustme.CA().issue_cert("another.example.org", not_after=YESTERDAY))
    with Proxy(target.address.url, tls=context) as proxy:
        options = ("--url", proxy.url, "--prefix", target.prefix, "--model", target.model.name)
        for flags in ((), ("--quiet",), ("--json",), ("--json", "--quiet")):
            completed = here("check", *options, "--insecure", *flags)
            assert completed.code == ExitCode.OK
            assert completed.stderr == (
                "warning: --insecure: the server's identity is not verified, so anyone on the network path can "
                "read and change everything, including the password\n"
            )
        assert here("check", *options).code == ExitCode.UNREACHABLE


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_protected_target_requires_verification(here: Command, tmp_path: Path, environment: str) -> None:
    """Staging and production targets refuse ``--insecure``, by option or in the target file."""
    url = "https://127.0.0.1:9"
    todo = "(give the server's CA certificate with --ca-file, or ca_file in the target file)"
    path = tmp_path / "dataloader.toml"
    path.write_text(f'[target.a]\nurl = "{url}"\nenvironment = "{environment}"\ninsecure = true\n')
    by_file = here("check", "--target", "a")
    by_option = here("check", "--url", url, "--environment", environment, "--insecure")
    assert by_file.code == by_option.code == ExitCode.PROTECTED
    assert by_option.stderr == f"error: --insecure at {url}: never in {environment} {todo}\n"
    assert by_file.stderr == f"error: dataloader.toml, target a: insecure at {url}: never in {environment} {todo}\n"
    with pytest.raises(ProtectedError):
        resolve(url=url, environment=environment, tls=Tls(insecure=True))
    assert resolve(url=url, environment="ci", tls=Tls(insecure=True)).warnings


def test_target_file_can_turn_verification_off(tmp_path: Path) -> None:
    """With the same warning, which names the target; turned on, it has no effect."""
    path = tmp_path / "dataloader.toml"
    for value in ("true", "false"):
        path.write_text(
            f'[target.a]\nurl = "https://127.0.0.1:9"\nenvironment = "ci"\ninsecure = {value}\n'
            '[target.b]\nurl = "https://b"\nenvironment = "production"\ninsecure = false\n'
        )
        target = resolve(target="a", config=path)
        assert target.address.tls == Tls(insecure=value == "true")
        assert [warning.partition(":")[0] for warning in target.warnings] == (
            [f"{path}, target a"] if value == "true" else []
        )
        assert resolve(target="b", config=path).warnings == ()
