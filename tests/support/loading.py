"""Batches to load, and reading targets afterwards."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dataloader.batch import Manifest
from dataloader.couch import Database, Server
from dataloader.operations import LoadOptions, LoadResult, Outcome, Source, all_sources, load, snapset_sources
from dataloader.operations.plan import OnFinding
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.records import (
    FONT_SIZE,
    Contents,
    Json,
    Place,
    access_of,
    digest,
    expected,
    flat,
    preferences_of,
)
from tests.support.server import Proxied, databases, delete, get, put, sequences, snapshot

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


@dataclass(frozen=True, slots=True)
class Scene:
    """A target, a batch, versions of its snapsets, and a card whose documents change between loads or during one."""

    server: Server
    target: Target
    batch: Manifest
    versions: Sequence[Snapsets]
    proxied: Proxied

    @property
    def uuid(self) -> str:
        """The UUID of the card, the first with the snapset that differs between the versions."""
        return card(self.batch, "large")

    @property
    def place(self) -> Place:
        """The location of its preference set."""
        return preferences_of(self.target.model.name, self.uuid)

    @property
    def access(self) -> Place:
        """The location of its token or key."""
        return access_of(self.target.model.name, self.uuid)

    @property
    def database(self) -> Database:
        """The database of the preference sets."""
        return self.at(self.place)

    @property
    def databases(self) -> dict[str, Database]:
        """The target's databases by name without prefix."""
        return databases(self.server, self.target)

    def at(self, place: Place) -> Database:
        """Return the database of a location."""
        return self.databases[place.database]

    def sources(self, version: int, *, views: bool = False) -> list[Source]:
        """Return the sources of a load; without the views, whose indexes take longest, unless they are wanted."""
        sources = all_sources(self.target, [self.batch], self.versions[version])
        return sources if views else sources[:-1]

    def load(
        self,
        version: int,
        through: Server | None = None,
        *,
        snapsets_only: bool = False,
        views: bool = False,
        on_finding: OnFinding | None = None,
        **options: bool,
    ) -> LoadResult:
        """Load the batch with a version of the snapsets, or the snapsets alone."""
        sources = self.sources(version, views=views)
        if snapsets_only:
            sources = snapset_sources(self.target.model, self.versions[version])
        return load(through or self.server, self.target, sources, LoadOptions(**options), on_finding=on_finding)

    def wanted(self, version: int) -> Contents:
        """Return every document that a load writes, except the views."""
        return expected(self.target.model.name, [self.batch.path], self.versions[version].folder)

    def brought(self, version: int) -> Json:
        """Return the preference set as a load writes it, without its revision."""
        return self.wanted(version)[self.place.database][self.place.id]

    def stored(self) -> Json:
        """Return the preference set."""
        return get(self.database, self.place.id)

    def change(self, size: float) -> str:
        """Edit the preference set as a Preferences Server does."""
        return change(self.server, self.target, self.place, size)

    def delete(self, place: Place) -> None:
        """Delete a document as an administrator does."""
        delete(self.at(place), place.id)

    def live(self) -> dict[str, dict[str, Any]]:
        """Return the preference set's leaves that are not deleted, by revision."""
        leaves = self.database.leaves([self.place.id])[self.place.id]
        return {leaf["_rev"]: leaf for leaf in leaves if not leaf.get("_deleted")}

    def size(self) -> float:
        """Return the font size in the winning revision of the preference set."""
        size: float = flat(self.stored())[FONT_SIZE]
        return size

    def sizes(self) -> list[float | None]:
        """Return the font size in each card's set as the servers show it, None if missing; check for conflicts."""
        found: list[float | None] = []
        for live in self.live_sets():
            assert len(live) <= 1, f"{live[0]['_id']} is in conflict"
            found.append(flat(live[0])[FONT_SIZE] if live else None)
        return found

    def live_sets(self) -> list[list[dict[str, Any]]]:
        """Return the leaves of each card's set that are not deleted, of all copies."""
        ids = [preferences_of(self.target.model.name, each.uuid).id for each in self.batch.cards()]
        leaves = self.database.leaves(ids, all_copies=True)
        return [[leaf for leaf in leaves[doc_id] if not leaf.get("_deleted")] for doc_id in ids]

    def snapshot(self) -> dict[str, Any]:
        """Return everything in the target: documents with their revisions and conflicts."""
        return snapshot(self.server, self.target)

    def contents(self) -> Contents:
        """Return every document except the views, without revisions."""
        return contents(self.server, self.target)

    def sequences(self) -> dict[str, int]:
        """Return the update sequences, which each write changes."""
        return sequences(self.server, self.target)

    def conflicts(self) -> list[str]:
        """Return the IDs of documents with several live revisions."""
        return [doc_id for found in self.snapshot().values() for doc_id, each in found.items() if "_conflicts" in each]

    def lost(self) -> list[int]:
        """Return, for each version, how many documents differ from it."""
        stored = self.snapshot()
        found = []
        for version in range(len(self.versions)):
            wanted = self.wanted(version)
            assert {name: set(each) for name, each in stored.items()} == {
                name: set(each) for name, each in wanted.items()
            }
            found.append(
                sum(
                    digest(document) != digest(stored[name][doc_id])
                    for name, documents in wanted.items()
                    for doc_id, document in documents.items()
                )
            )
        return found
