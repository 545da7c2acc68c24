"""A bare HTTP client: sends prepared requests over a few connections, and ignores the replies."""

import threading
import time
from base64 import b64encode
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPSConnection
from queue import Empty, SimpleQueue
from typing import NamedTuple
from urllib.parse import urlsplit

from dataloader.couch import Address

TIMEOUT = 3600
"""Seconds to wait for a reply; an index may be built first."""


class Bare(NamedTuple):
    """A request."""

    method: str
    path: str
    """Path and query, below the server's URL."""
    body: bytes | None = None


def send_all(address: Address, requests: Iterable[Bare], connections: int) -> float:
    """Send all requests over a number of connections; return how many seconds it took.

    Raises:
        RuntimeError: a request failed.
    """
    parts = urlsplit(address.url)
    pair = b64encode(f"{address.user}:{address.password}".encode()).decode("ascii")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Basic {pair}"} if address.user else {})
    left: SimpleQueue[Bare] = SimpleQueue()
    for request in requests:
        left.put(request)
    failures: list[str] = []

    def send() -> None:
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
        while True:
            try:
                request = left.get_nowait()
            except Empty:
                return
            connection.request(request.method, f"{parts.path}{request.path}", request.body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status not in {200, 201, 202} or b'"error"' in answer:
                failures.append(f"{response.status} {answer[:200]!r}")

    threads = [threading.Thread(target=send) for _ in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if failures:
        raise RuntimeError(failures[0])
    return seconds
