"""How databases are laid out in a cluster."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseLayout:
    """How a database is laid out when it is created; None leaves it to what is sensible, or to the server."""

    shards: int | None = None
    """CouchDB's ``q``."""
    replicas: int | None = None
    """CouchDB's ``n``."""


DEFAULT_LAYOUT = DatabaseLayout()


def sensible_shards(documents: int) -> int | None:
    """Return the number of shards for a database of as many documents; None for the server's default.

    A shard does well up to some millions of documents, and each is a writer and an indexer of its own:
    https://docs.couchdb.org/en/3.5.0/cluster/sharding.html.
    """
    return next((shards for limit, shards in ((1_000_000, None), (10_000_000, 8)) if documents <= limit), 16)
