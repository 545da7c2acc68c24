"""TLS: trusted certificates, explanations of failed handshakes, and finding out whether a port speaks TLS."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from dataloader.common import CredentialsError, DataloaderError, FileError, UnreachableError, read_file
from dataloader.couch.address import Tls

_PROBE_TIMEOUT = 2.0
"""Seconds to wait for a port to show which protocol it speaks."""
MAX_PEM = 10_000_000
"""The largest certificate file, in bytes; a system's CA bundle has less than one million."""
_PORTS = {"http": 80, "https": 443}

Diagnosis = tuple[type[DataloaderError], str, str]
"""The error class, what is wrong, and what to do."""

_NO_TLS: Diagnosis = (
    UnreachableError,
    "the server does not use TLS",
    "write the URL with http:// or correct the port",
)
_ONLY_TLS: Diagnosis = (UnreachableError, "the server requires TLS", "write the URL with https://")

_AUTHORITY = "give its CA certificate with --ca-file, or ca_file in the target file"
# OpenSSL's X509_V_ERR_…, https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/#error-codes.
_VERIFYING = {
    9: ("its certificate is not valid yet", "check this machine's clock"),
    10: ("its certificate has expired", "renew it, or check this machine's clock"),
    18: ("its certificate is self-signed", f"if it is the right one, {_AUTHORITY}"),
    **dict.fromkeys((2, 19, 20, 21), ("its certificate is from an unknown authority", _AUTHORITY)),
    **dict.fromkeys(
        (62, 64), ("its certificate is for another host name", "use a host name that the certificate lists")
    ),
}
# TLS alerts (RFC 8446, 6.2) as OpenSSL names them, sent to a client without a certificate or with one that the server
# rejects. Before TLS 1.3 there is no alert of its own for a missing certificate.
_WANTS_CERTIFICATE = "CERTIFICATE_REQUIRED"
_BREAKS_OFF = "HANDSHAKE_FAILURE"
_BAD_CERTIFICATE = (
    *("BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED", "CERTIFICATE_EXPIRED"),
    *("CERTIFICATE_UNKNOWN", "UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR"),
)
_CLIENT_CERTIFICATE = "give --client-cert and --client-key, or client_cert and client_key in the target file"


def context(how: Tls) -> ssl.SSLContext:
    """Return the TLS context for connections.

    Raises:
        FileError: a file can't be read, or has the wrong content.
    """
    made = _trusting(how.ca_file)
    if how.insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        # The operator has already seen our own warning.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    if how.client_cert is not None:
        _show(made, how.client_cert, how.client_key)
    return made


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        return ssl.create_default_context()
    todo = "give a CA certificate in PEM form"
    data = read_file(ca_file, MAX_PEM, todo)
    wrong = FileError(str(ca_file), rule="contains no certificate in PEM form", todo=todo)
    # Without any, the system's CAs would be trusted.
    if b"BEGIN" not in data:
        raise wrong
    try:
        # Comments between certificates may be in any encoding.
        return ssl.create_default_context(cadata=data.decode("ascii", "ignore"))
    except ssl.SSLError as error:
        raise wrong from error


def _show(made: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    for path, todo in ((certificate, "name the client certificate"), (key or certificate, "name its key")):
        # OpenSSL opens the file itself; this checks that it can be read and is not a pipe.
        read_file(path, MAX_PEM, todo)
    where = str(key or certificate)

    def passphrase() -> str:
        # There may be nobody to type it.
        raise FileError(
            where, rule="contains an encrypted key", todo="use a key without a passphrase, in a file of mode 0600"
        )

    try:
        made.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise FileError(
                where, rule=f"does not contain the key of {certificate}", todo="give a certificate and its own key"
            ) from error
        with_key = "" if key else " with its key"
        rule = f"contains no certificate{with_key} in PEM form" if key is None else "one of them is not in PEM form"
        what = str(certificate) if key is None else f"{certificate} and {key}"
        raise FileError(what, rule=rule, todo="name a client certificate and its key") from error


def is_end(error: ssl.SSLError) -> bool:
    """Return whether the server just closed the connection, as it does when it restarts."""
    return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def explain(error: ssl.SSLError) -> Diagnosis:
    """Explain why a TLS connection failed."""
    reason = error.reason or ""
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
        return _NO_TLS
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _VERIFYING:
        return UnreachableError, *_VERIFYING[error.verify_code]
    if _WANTS_CERTIFICATE in reason:
        return CredentialsError, "the server requires a client certificate", _CLIENT_CERTIFICATE
    if _BREAKS_OFF in reason:
        rule = "the server aborts the TLS handshake; it may require a client certificate"
        return UnreachableError, rule, _CLIENT_CERTIFICATE
    if any(alert in reason for alert in _BAD_CERTIFICATE):
        alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
        rule = f"the server does not accept the client certificate: {alert}"
        return CredentialsError, rule, "use one from an authority that the server trusts"
    return UnreachableError, f"the TLS connection failed: {error}", "see the server's log"


def look_into(url: str, made: ssl.SSLContext | None) -> Diagnosis | None:
    """Find out why a server closes a connection without a reply, by opening one more and sending no request.

    The server may speak TLS although its URL says http, or HTTP although it says https. Or it may have rejected the
    client certificate: with TLS 1.3, the server sees it only after the client considers the handshake complete, and its
    alert is lost if the client is already sending.

    Args:
        url: the server's URL.
        made: the TLS context.

    Returns:
        What is wrong; None if it is something else.
    """
    parts = urlsplit(url)
    if made is not None:
        if _said(url, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/"):
            return _NO_TLS
        return _complaint(url, made)
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=parts.hostname).do_handshake()
    # The line end makes servers of other protocols answer at once. TLS (RFC 8446, 5.1) answers with a handshake record
    # (22) or an alert (21), followed by the major version, 3.
    return _ONLY_TLS if _said(url, outgoing.read() + b"\r\n\r\n")[:2] in {b"\x15\x03", b"\x16\x03"} else None


def _complaint(url: str, made: ssl.SSLContext) -> Diagnosis | None:
    host = urlsplit(url).hostname
    try:
        with _connected(url) as plain, made.wrap_socket(plain, server_hostname=host) as connection:
            connection.recv(1)
    except OSError as error:
        if isinstance(error, ssl.SSLError) and not is_end(error):
            return explain(error)
    return None


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or _PORTS[parts.scheme]), _PROBE_TIMEOUT)


def _said(url: str, greeting: bytes) -> bytes:
    """Return the first bytes that a server sends after a greeting; empty if it sends nothing."""
    try:
        with _connected(url) as connection:
            connection.sendall(greeting)
            return connection.recv(16)
    except OSError:
        return b""
