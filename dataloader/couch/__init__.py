"""Talking to CouchDB.

The object model is couchdb-python's (``couchdb.Server``, ``couchdb.Database``); its HTTP layer is
replaced by :class:`Session`, for a connection pool, time-outs, retries, TLS and bodies of bytes.
"""

from dataloader.couch.address import Address, Tls
from dataloader.couch.database import Database, Rejection
from dataloader.couch.replies import ConflictError, NotFoundError
from dataloader.couch.server import Nodes, Server, Welcome
from dataloader.couch.session import Session

__all__ = [
    "Address",
    "ConflictError",
    "Database",
    "Nodes",
    "NotFoundError",
    "Rejection",
    "Server",
    "Session",
    "Tls",
    "Welcome",
]
