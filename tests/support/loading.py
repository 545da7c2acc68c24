"""Batches to load, and reading targets afterwards."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from dataloader.batch import Manifest
from dataloader.couch import Server
from dataloader.operations import LoadResult, Outcome, Source
from dataloader.target import Target
from tests.support.records import (
    FONT_SIZE,
    Contents,
    Place,
    flat,
)
from tests.support.server import databases, get, put, snapshot

SIZES = {"large": 18, "larger": 24.5}
SHARES = {"large": 3, "larger": 2, "empty": 1}
DESIGN = "_design/views"

Bring = Callable[..., LoadResult]
CHANGED = 1 + SHARES["large"]


def plant_load(server: Server, target: Target, sources: Sequence[Source]) -> None:
    """Leave what a load leaves in databases that do not exist, without its questions and without building indexes."""
    versions: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for source in sources:
        versions[source.database] |= {label: [digest] for label, digest in source.versions().items()}
    for name, database in databases(server, target).items():
        database.create()
        bodies = [each.write() for source in sources if source.database == name for each in source.prepared()]
        assert database.write(bodies) == []
        remembered = {"environment": target.environment.value, "versions": versions[name]}
        put(database, {"_id": "_local/dataloader", **remembered})


def card(manifest: Manifest, snapset: str) -> str:
    """Return the UUID of a batch's first card with a snapset."""
    return next(card.uuid for card in manifest.cards() if card.snapset == snapset)


def contents(server: Server, target: Target) -> Contents:
    """Return every document except the views, without revisions."""
    return {
        name: {
            doc_id: {key: value for key, value in document.items() if key != "_rev"}
            for doc_id, document in found.items()
            if doc_id != DESIGN
        }
        for name, found in snapshot(server, target).items()
    }


def outcomes(result: LoadResult) -> dict[str, int]:
    """Return a load's outcomes with their counts, over all databases and kinds."""
    return {outcome.value: result.count(outcome) for outcome in Outcome if result.count(outcome)}


def found_at(server: Server, target: Target, place: Place) -> dict[str, Any]:
    """Get a document."""
    return get(databases(server, target)[place.database], place.id)


def change(server: Server, target: Target, place: Place, size: float) -> str:
    """Edit a preference set as a Preferences Server does: get it, change it, and put it with its revision."""
    document = found_at(server, target, place)
    flat(document)[FONT_SIZE] = size
    return put(databases(server, target)[place.database], document)
