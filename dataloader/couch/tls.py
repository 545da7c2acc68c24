"""TLS: whom to trust, what is wrong where trust is refused, and which protocol a port speaks."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from dataloader.errors import DataloaderError, FileError, UnreachableError

_PROBE_TIMEOUT = 2.0
"""Seconds to wait for a port to show which protocol it speaks."""
_PORTS = {"http": 80, "https": 443}


def context(ca_file: Path | None) -> ssl.SSLContext:
    """Return what connections are made with.

    Args:
        ca_file: the certificates of the authorities to trust, in place of the system's.

    Raises:
        FileError: the file can't be read or holds no certificate.
    """
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except ssl.SSLError as error:
        raise FileError(
            str(ca_file), rule="holds no certificate in PEM form", todo="name the authority's certificate"
        ) from error
    except OSError as error:
        raise FileError.of(error, ca_file, "name the authority's certificate") from error


def is_end(error: ssl.SSLError) -> bool:
    """Tell whether the other side just ended the connection, as one that is being restarted does."""
    return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def explain(error: ssl.SSLError) -> tuple[type[DataloaderError], str, str]:
    """Return the kind of error that a failed handshake is, what is wrong, and what to do."""
    if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
        return UnreachableError, *NO_TLS
    return UnreachableError, f"the TLS connection failed: {error}", "correct the URL or name the authority's ca_file"


NO_TLS = ("what answers there does not speak TLS", "write the URL with http:// or correct the port")
ONLY_TLS = ("what answers there speaks TLS", "write the URL with https://")


def other_protocol(url: str) -> tuple[str, str] | None:
    """Find out whether a port speaks TLS where its URL says http, or http where it says https.

    Nothing secret is sent.

    Returns:
        What is wrong and what to do; None where that is not it.
    """
    parts = urlsplit(url)
    if parts.scheme == "https":
        return NO_TLS if _said(url, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/") else None
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=parts.hostname).do_handshake()
    # The end of a line has a server of another protocol answer at once. TLS: RFC 8446, 5.1: a handshake record (22) or
    # an alert (21), and then the version, 3 and something.
    return ONLY_TLS if _said(url, outgoing.read() + b"\r\n\r\n")[:2] in {b"\x15\x03", b"\x16\x03"} else None


def _said(url: str, greeting: bytes) -> bytes:
    """Return the beginning of what a server says to a greeting; nothing where it does not."""
    parts = urlsplit(url)
    address = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        with socket.create_connection(address, _PROBE_TIMEOUT) as connection:
            connection.sendall(greeting)
            return connection.recv(16)
    except OSError:
        return b""
