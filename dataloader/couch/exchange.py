"""Limit the duration and size of one exchange, whatever the server sends.

A read timeout alone does not end a reply: it restarts with every byte, and urllib3 reads status lines, headers, chunk
sizes and trailers for as long as they arrive. So the sockets themselves enforce the limits.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection


class LimitError(Exception):
    """A reply breaks a limit; not a urllib3 or network error, so that nothing in between handles it."""


class OverdueError(LimitError):
    """A reply takes too long."""


class OversizeError(LimitError):
    """A reply is too large."""


class Exchange:
    """The limits of a running request.

    Args:
        part: seconds until the headers are complete, and between two parts of the body.
        whole: seconds for the whole exchange.
        most: the largest reply in bytes, including its headers.
    """

    def __init__(self, part: float, whole: float, most: int) -> None:
        self.received = 0
        """Bytes of the reply so far."""
        self._part = part
        self._whole = whole
        self._most = most
        self._end = time.monotonic() + whole
        self._head_end: float | None = None
        self._has_head = False

    def head_is_complete(self) -> None:
        """Record that the status line and headers are complete."""
        self._has_head = True

    def wait(self) -> float:
        """Return how many seconds to wait for the next bytes.

        Raises:
            OverdueError: the time is up.
        """
        now = time.monotonic()
        if self._head_end is None:
            # Starts now that the request has been sent.
            self._head_end = now + self._part
        left = self._end - now if self._has_head else min(self._head_end, self._end) - now
        if left <= 0:
            raise self._overdue()
        return min(left, self._part)

    def _overdue(self) -> OverdueError:
        if self._has_head:
            return OverdueError(f"the reply is not complete after {self._whole:g} seconds")
        return OverdueError(f"no reply within {min(self._part, self._whole):g} seconds")

    def count(self, received: int) -> None:
        """Count received bytes.

        Raises:
            OversizeError: there are too many.
        """
        self.received += received
        if self.received > self._most:
            raise OversizeError(f"its reply is larger than {self._most:,} bytes")


_thread = local()


@contextmanager
def limited(exchange: Exchange) -> Iterator[Exchange]:
    """Make the sockets that this thread reads from enforce the limits of an exchange."""
    _thread.exchange = exchange
    try:
        yield exchange
    finally:
        _thread.exchange = None


def _receive(connection: socket.socket, receive: Callable[..., int], *arguments: Any) -> int:
    """Receive bytes within the limits of the exchange of this thread, if there is one."""
    exchange: Exchange | None = getattr(_thread, "exchange", None)
    if exchange is None:
        return receive(*arguments)
    connection.settimeout(exchange.wait())
    try:
        received = receive(*arguments)
    except TimeoutError:
        exchange.wait()
        raise
    exchange.count(received)
    return received


class _Socket(socket.socket):
    def recv_into(self, *arguments: Any) -> int:
        return _receive(self, super().recv_into, *arguments)


class _TlsSocket(ssl.SSLSocket):
    def recv_into(self, *arguments: Any) -> int:
        return _receive(self, super().recv_into, *arguments)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        plain = super()._new_conn()
        timeout = plain.gettimeout()
        made = _Socket(fileno=plain.detach())
        made.settimeout(timeout)
        return made


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


def make_pools(nodes: int, connections: int, tls: ssl.SSLContext | None) -> urllib3.PoolManager:
    """Return connection pools whose sockets enforce the limits.

    Args:
        nodes: the number of servers.
        connections: the maximum number of connections to each.
        tls: the TLS context, if any.
    """
    options: dict[str, Any] = {}
    if tls is not None:
        tls.sslsocket_class = _TlsSocket
        options = {"ssl_context": tls}
    pools = urllib3.PoolManager(nodes, maxsize=connections, block=True, **options)
    pools.pool_classes_by_scheme = {**pools.pool_classes_by_scheme, "http": _Pool}
    return pools
