"""The ceiling: a bare HTTP client posts serialised documents, ordered by ``_id``."""

import json

from bench.bare import Bare, send_all
from dataloader.couch import Address, Database

SETTINGS = ((500, 8), (1000, 4), (1000, 8), (2000, 4))
"""Documents per request, and connections, to try."""


def bodies(documents: list[bytes], size: int) -> list[bytes]:
    """Return requests of ``size`` documents each."""
    return [
        b'{"new_edits":false,"docs":[%s]}' % b",".join(documents[at : at + size])
        for at in range(0, len(documents), size)
    ]


def ceiling(address: Address, database: Database, documents: list[bytes], size: int, connections: int) -> float:
    """Return how many documents per second the server accepts."""
    path = f"/{database.name}/_bulk_docs"
    return len(documents) / send_all(
        address, [Bare("POST", path, body) for body in bodies(documents, size)], connections
    )


def one_by_one(address: Address, database: Database, documents: list[bytes]) -> float:
    """Return the documents per second with one POST per document, over one connection."""
    singles = [json.dumps({k: v for k, v in json.loads(each).items() if k != "_rev"}).encode() for each in documents]
    return len(documents) / send_all(address, [Bare("POST", f"/{database.name}", each) for each in singles], 1)
