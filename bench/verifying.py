"""What ``verify`` is compared with: bare reads of the same rows, by ranges and by keys."""

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from bench.bare import Bare, send_all
from dataloader.common import BATCH_DOCUMENTS, CONNECTIONS
from dataloader.couch import Address, Database
from dataloader.records.models import Lookup, Model
from dataloader.records.views import DESIGN


def by_ranges(address: Address, database: Database, model: Model, keys: Sequence[str]) -> float:
    """Return the cards per second when reading all rows and documents that ``verify`` needs by ranges.

    Args:
        address: the server's.
        database: the model's only one.
        model: the document model.
        keys: the cards' UUIDs, sorted.
    """
    requests = [
        Bare("GET", f"/{database.name}/{path}?{urlencode(query)}")
        for some in _cut(keys)
        for lookup in model.lookups
        for path, query in _ranges(model, lookup, some)
    ]
    return len(keys) / send_all(address, requests, CONNECTIONS)


def by_keys(address: Address, database: Database, model: Model, keys: Sequence[str]) -> float:
    """Return the cards per second when asking the views by keys, with linked documents; slow in CouchDB."""
    requests = [
        Bare("POST", f"/{database.name}/{_view(lookup)}?include_docs=true", json.dumps({"keys": some}).encode())
        for some in _cut(keys)
        for lookup in model.lookups
    ]
    return len(keys) / send_all(address, requests, CONNECTIONS)


def _cut(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[at : at + BATCH_DOCUMENTS] for at in range(0, len(keys), BATCH_DOCUMENTS)]


def _view(lookup: Lookup) -> str:
    return f"_design/{DESIGN}/_view/{lookup.view}"


def _ranges(model: Model, lookup: Lookup, keys: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Return path and query for the view's rows, and for the documents that they refer to."""
    kind = model.kind(lookup.kinds["doc"])
    return [
        (_view(lookup), {"start_key": json.dumps(keys[0]), "end_key": json.dumps(keys[-1])}),
        (
            "_all_docs",
            {
                "include_docs": "true",
                "start_key": json.dumps(kind.id(keys[0])),
                "end_key": json.dumps(kind.id(keys[-1])),
            },
        ),
    ]
