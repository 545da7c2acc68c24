"""The number of shards and copies of databases in a cluster."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseLayout:
    """The layout of a new database; None for a sensible default, or the server's."""

    shards: int | None = None
    """CouchDB's ``q``."""
    replicas: int | None = None
    """CouchDB's ``n``."""


DEFAULT_LAYOUT = DatabaseLayout()


def sensible_shards(documents: int) -> int | None:
    """Return a good number of shards for a number of documents; None for the server's default.

    A shard can hold some millions of documents, and each has its own writer and indexer:
    https://docs.couchdb.org/en/3.5.0/cluster/sharding.html.
    """
    return next((shards for limit, shards in ((1_000_000, None), (10_000_000, 8)) if documents <= limit), 16)
