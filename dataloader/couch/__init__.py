"""The CouchDB client.

The object model is couchdb-python's (``couchdb.Server``, ``couchdb.Database``). Its HTTP layer is replaced by
:class:`Session`, which adds a connection pool, timeouts, retries, TLS and bodies of bytes.
"""

import dataloader.couch._couchdb  # noqa: F401 - imports couchdb quickly
from dataloader.couch.address import Address, Tls
from dataloader.couch.database import LEAVES, Database, Rejection
from dataloader.couch.facts import Nodes, Welcome
from dataloader.couch.failures import LargeReplyError
from dataloader.couch.feed import FeedPage, FeedRow, RawLeaf
from dataloader.couch.replies import ConflictError, NotFoundError
from dataloader.couch.server import Server
from dataloader.couch.session import Request
from dataloader.couch.watching import Attempt, Retry

__all__ = [
    "LEAVES",
    "Address",
    "Attempt",
    "ConflictError",
    "Database",
    "FeedPage",
    "FeedRow",
    "LargeReplyError",
    "Nodes",
    "NotFoundError",
    "RawLeaf",
    "Rejection",
    "Request",
    "Retry",
    "Server",
    "Tls",
    "Welcome",
]
