"""The ceiling: documents serialised beforehand, in order of ``_id``, posted by a bare HTTP client."""

import json
import threading
import time
from base64 import b64encode
from http.client import HTTPConnection, HTTPSConnection
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

from dataloader.couch import Address, Database

SETTINGS = ((500, 8), (1000, 4), (1000, 8), (2000, 4))
"""Documents a request and connections that are tried."""


def bodies(documents: list[bytes], size: int) -> list[bytes]:
    """Return requests of ``size`` documents each."""
    return [
        b'{"new_edits":false,"docs":[%s]}' % b",".join(documents[at : at + size])
        for at in range(0, len(documents), size)
    ]


def post_all(address: Address, path: str, requests: list[bytes], connections: int) -> float:
    """Post all requests over as many connections; return the seconds that it took.

    Raises:
        RuntimeError: the server answered anything but that it has taken them.
    """
    parts = urlsplit(address.url)
    pair = b64encode(f"{address.user}:{address.password}".encode()).decode("ascii")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Basic {pair}"} if address.user else {})
    left: SimpleQueue[bytes] = SimpleQueue()
    for request in requests:
        left.put(request)
    failures: list[str] = []

    def post() -> None:
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=60)
        while True:
            try:
                body = left.get_nowait()
            except Empty:
                return
            connection.request("POST", f"{parts.path}{path}", body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status not in {201, 202} or b'"error"' in answer:
                failures.append(f"{response.status} {answer[:200]!r}")

    threads = [threading.Thread(target=post) for _ in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if failures:
        raise RuntimeError(failures[0])
    return seconds


def ceiling(address: Address, database: Database, documents: list[bytes], size: int, connections: int) -> float:
    """Return the documents a second that the server takes."""
    seconds = post_all(address, f"/{database.name}/_bulk_docs", bodies(documents, size), connections)
    return len(documents) / seconds


def one_by_one(address: Address, database: Database, documents: list[bytes]) -> float:
    """Return the documents a second of one POST a document, over one connection."""
    singles = [json.dumps({k: v for k, v in json.loads(each).items() if k != "_rev"}).encode() for each in documents]
    return len(documents) / post_all(address, f"/{database.name}", singles, 1)
