"""What a whole cold load is compared with: bare writing of the documents, then bare index building."""

import json
import time
from collections.abc import Iterator, Sequence

from bench.bare import Bare, send_all
from bench.ceiling import bodies
from dataloader.common import Document
from dataloader.couch import Address, Database
from dataloader.records.models import Model
from dataloader.records.views import design_documents


def write_and_index(
    address: Address, database: Database, documents: list[bytes], setting: tuple[int, int], model: Model
) -> float:
    """Return the seconds to write documents and views to an existing database, and to build the indexes.

    Args:
        address: the server's.
        database: the model's only one.
        documents: the serialised documents, ordered by ``_id``.
        setting: documents per request, and connections.
        model: the document model.
    """
    size, connections = setting
    designs = design_documents(model, model.databases[0])
    start = time.perf_counter()
    send_all(
        address, [Bare("POST", f"/{database.name}/_bulk_docs", body) for body in bodies(documents, size)], connections
    )
    send_all(address, _views(database, designs), 1)
    return time.perf_counter() - start


def _views(database: Database, designs: Sequence[Document]) -> Iterator[Bare]:
    for design in designs:
        path = f"/{database.name}/{design['_id']}"
        yield Bare("PUT", path, json.dumps(design).encode())
        # A request for one view builds all views of its design document.
        yield Bare("GET", f"{path}/_view/{next(iter(design['views']))}?limit=1")
