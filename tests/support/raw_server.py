"""A TCP server that sends given bytes: for replies that no HTTP server sends."""

import socket
import time
from contextlib import suppress
from threading import Thread
from typing import Self


class RawServer:
    """Sends one reply after another, repeating the last, and closes the connection after each.

    Args:
        replies: the bytes of each reply, including status line and headers.
        pause: seconds before each byte after the headers; 0 sends all at once.
    """

    def __init__(self, *replies: bytes, pause: float = 0) -> None:
        self.requests: list[bytes] = []
        """All requests received, headers and body."""
        self._replies = replies
        self._pause = pause
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._thread = Thread(target=self._serve, name="raw server")

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Shutting down a listener wakes the thread that waits on it; closing alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                request = _read_request(connection)
                if request:
                    self.requests.append(request)
                    self._send(connection, self._replies[min(len(self.requests), len(self._replies)) - 1])

    def _send(self, connection: socket.socket, reply: bytes) -> None:
        if not self._pause:
            connection.sendall(reply)
            return
        head, end, body = reply.partition(b"\r\n\r\n")
        connection.sendall(head + end)
        for each in body:
            time.sleep(self._pause)
            connection.sendall(bytes([each]))


def _read_request(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as stream:
        head = b""
        length = 0
        while (line := stream.readline()).strip():
            head += line
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return head + line + stream.read(length)
