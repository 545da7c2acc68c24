"""An HTTP proxy in front of a real server, with a hook that may answer, change or drop requests and replies.

It simulates what a real network or server does only by chance: a request that is held until something else has
happened, a row of a reply with an error, a connection that is closed midway. Everything else is forwarded unchanged.

    def refuse_large(request: Request, forward: Forward) -> Reply:
        if len(request.body) > 10_000:
            return Reply.json(413, {"error": "too_large", "reason": "the request entity is too large"})
        return forward(request)

    with Proxy("http://127.0.0.1:5984", refuse_large) as proxy:
        ...  # talk to proxy.url, then look at proxy.requests
"""

import json
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any, Self
from urllib.parse import unquote, urlsplit

# RFC 9110, 7.6.1: headers of a single connection. Lengths and the server's name are set anew.
_ONE_CONNECTION = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("content-length", "host", "server", "date"),
    }
)
_TIMEOUT = 120.0
"""Seconds to wait for the real server; no test takes as long."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read completely."""

    method: str
    target: str
    """Path and query exactly as in the request."""
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The decoded path without the query."""
        return unquote(urlsplit(self.target).path)

    @property
    def database(self) -> str:
        """The first part of the path: a database, or ``_session`` and the like."""
        return self.path.split("/")[1]

    @property
    def endpoint(self) -> str:
        """The path after the database: ``_bulk_docs``, a document's ID, or nothing."""
        return "/".join(self.path.split("/")[2:])

    def data(self) -> Any:
        """Return the decoded JSON body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, read completely."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Send only this many bytes of the body, then close the connection."""
    cut_head: int | None = None
    """Send only this many bytes of the status line and headers, then close the connection."""

    @classmethod
    def json(cls, status: int, data: Any, **headers: str) -> "Reply":
        """Create a reply like CouchDB's; an underscore in a header's name stands for a hyphen."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(data).encode(), {"Content-Type": "application/json", **named})

    def data(self) -> Any:
        """Return the decoded JSON body."""
        return json.loads(self.body)


class Hangup(Exception):  # noqa: N818 - not an error: the test wants it
    """Raised by a hook: the connection is reset, and the client gets no reply."""


Forward = Callable[[Request], Reply]
"""Forwards a request to the real server."""
Hook = Callable[[Request, Forward], Reply]
"""Answers a request, itself or with the real server's reply; called from several threads at once."""


def pass_on(request: Request, forward: Forward) -> Reply:
    """Forward the request: the hook of a proxy that only observes."""
    return forward(request)


class Proxy:
    """A proxy on this machine that runs during a ``with`` block.

    Args:
        upstream: the real server's URL, http only.
        hook: what to do with each request; may be replaced at any time.
        tls: the TLS context for clients, if any.
    """

    def __init__(self, upstream: str, hook: Hook = pass_on, tls: ssl.SSLContext | None = None) -> None:
        self.hook = hook
        self.tls = tls
        self.requests: list[Request] = []
        """All requests received, in order."""
        self._errors: list[Exception] = []
        self._upstream = urlsplit(upstream)
        self._lock = Lock()
        # Bound but not listening, it keeps the port while the proxy refuses connections.
        self._reserved = _reserve_port()
        self._port: int = self._reserved.getsockname()[1]
        self._server = _Server(self, self._port)
        self._thread = Thread(target=_serve, args=[self._server], name="proxy")
        self._closed: list[tuple[_Server, Thread]] = []

    @property
    def url(self) -> str:
        """The proxy's URL; used instead of the real server's."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self._port}{self._upstream.path.rstrip('/')}"

    def refuse(self) -> None:
        """Close all connections and refuse new ones, as if nothing were listening."""
        with self._lock:
            if self._closed and self._closed[-1][0] is self._server:
                return
            self._closed.append((self._server, self._thread))
        self._server.shutdown()
        self._server.socket.close()
        self._server.end_connections()

    def listen(self) -> None:
        """Accept connections again."""
        with self._lock:
            if not self._closed or self._closed[-1][0] is not self._server:
                return
            self._server = _Server(self, self._port)
            self._thread = Thread(target=_serve, args=[self._server], name="proxy")
            self._thread.start()

    def count(self, method: str, endpoint: str) -> int:
        """Return the number of requests of a method to an endpoint, such as ``_bulk_docs``."""
        with self._lock:
            return sum(request.method == method and request.endpoint == endpoint for request in self.requests)

    def answer(self, request: Request) -> Reply:
        """Answer a received request."""
        with self._lock:
            self.requests.append(request)
        try:
            return self.hook(request, self._forward)
        except Hangup:
            raise
        except Exception as error:
            # A bug in a hook is the test's fault, and must not look like a network failure.
            with self._lock:
                self._errors.append(error)
            raise Hangup from error

    def _forward(self, request: Request) -> Reply:
        upstream = HTTPConnection(self._upstream.hostname or "", self._upstream.port or 80, timeout=_TIMEOUT)
        try:
            upstream.request(request.method, request.target, request.body or None, _passed_on(request.headers))
            response = upstream.getresponse()
            return Reply(response.status, response.read(), _passed_on(dict(response.getheaders())))
        except (OSError, HTTPException) as error:
            raise Hangup from error
        finally:
            upstream.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server, thread in {**dict(self._closed), self._server: self._thread}.items():
            server.shutdown()
            server.end_connections()
            server.server_close()
            thread.join()
        self._reserved.close()
        if self._errors:
            raise ExceptionGroup("the proxy's hook failed", self._errors)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _ONE_CONNECTION}


def _reserve_port() -> socket.socket:
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved


def _serve(server: "_Server") -> None:
    server.serve_forever(poll_interval=0.01)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_port = True
    request_queue_size = 64

    def __init__(self, proxy: Proxy, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._open_lock = Lock()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, client = super().get_request()
        if self.proxy.tls is not None:
            # The handshake is the connection's own thread's business.
            connection = self.proxy.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, client

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER):
            # To be reset; an orderly shutdown first would make it a normal close.
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def end_connections(self) -> None:
        """Close idle connections: each blocks a thread."""
        with self._open_lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # No delay between headers and body.
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            super().handle()

    def _answer(self) -> None:
        if self.headers.get("Transfer-Encoding"):
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # The client was killed while sending; nothing of it may reach the server.
            self._reset()
            return
        request = Request(self.command, self.path, dict(self.headers.items()), body)
        try:
            reply = self.server.proxy.answer(request)
        except Hangup:
            self._reset()
            return
        if reply.cut_head is not None:
            head = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
            self.wfile.write(
                f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}\r\n{head}".encode()[: reply.cut_head]
            )
            self._end()
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body[: reply.cut])
        if reply.cut is not None:
            self._end()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_COPY = _answer  # noqa: N815 - http.server's names

    def _end(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _reset(self) -> None:
        # Linger time 0: closing sends a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Print nothing."""
