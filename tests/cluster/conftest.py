"""The cluster for the tests of this folder."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from dataloader.target import resolve
from tests.cluster.nodes import ENVIRONMENT, Cluster
from tests.support.server import databases


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """The cluster; all nodes are connected before and after each test."""
    environment = {**ENVIRONMENT, "COUCHDB_URL": ENVIRONMENT["COUCHDB_NODES"]}
    cluster = Cluster(resolve(environment="ci", prefix=f"drill-{uuid4().hex[:12]}-", environ=environment))
    for index in range(len(cluster.nodes)):
        cluster.start(index)
    cluster.wait_until_whole()
    try:
        yield cluster
    finally:
        for index in range(len(cluster.nodes)):
            cluster.start(index)
        cluster.wait_until_whole()
        for database in databases(cluster.nodes[0], cluster.target).values():
            database.delete()
