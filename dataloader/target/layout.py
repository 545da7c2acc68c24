"""The number of shards of databases in a cluster."""


def sensible_shards(documents: int) -> int | None:
    """Return a good number of shards for a number of documents; None for the server's default.

    A shard can hold some millions of documents, and each has its own writer and indexer:
    https://docs.couchdb.org/en/3.5.0/cluster/sharding.html.
    """
    return next((shards for limit, shards in ((1_000_000, None), (10_000_000, 8)) if documents <= limit), 16)
