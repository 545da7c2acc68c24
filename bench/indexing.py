"""What a whole cold load is measured against: documents at the ceiling, and then the index, and nothing else."""

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
    """Return the seconds of writing documents to a database that is there, then its views, and of building them.

    Args:
        address: the server's.
        database: the model's only one.
        documents: the documents, serialised, in order of ``_id``.
        setting: documents a request, and connections.
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
        # One view's rows have all views of the design document built.
        yield Bare("GET", f"{path}/_view/{next(iter(design['views']))}?limit=1")
