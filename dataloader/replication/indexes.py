"""Build the indexes of the servers' views before the first person taps a card."""

import time
from concurrent.futures import ThreadPoolExecutor, wait

from dataloader.common import INDEX_LOOK, INDEX_STILL, INDEX_WAIT, Document, OnProgress, UnreachableError
from dataloader.couch import Database, NotFoundError, Server
from dataloader.records.models import Model
from dataloader.records.views import design_documents
from dataloader.target import Target


def build_views(server: Server, target: Target, on_progress: OnProgress | None) -> tuple[int, dict[str, list[str]]]:
    """Build the indexes of a target's views; see :func:`build_index`.

    Args:
        server: the target's server.
        target: the target.
        on_progress: called with the name of the index, the number of processed changes, and the total.

    Returns:
        The number of built views, and those that do not exist, by the full name of their database.

    Raises:
        UnreachableError: the server still fails after the last retry, or an index makes no progress for half an hour.
    """
    built = 0
    missing: dict[str, list[str]] = {}
    for name in target.model.databases:
        database = server.database(target.database(name))
        for document in design_documents(target.model, name):
            absent = build_index(server, target.model, database, document, on_progress)
            built += len(document["views"]) - len(absent)
            if absent:
                missing.setdefault(database.name, []).extend(absent)
    return built, missing


def build_index(
    server: Server, model: Model, database: Database, document: Document, on_progress: OnProgress | None
) -> list[str]:
    """Query the views of a design document that the servers need for a card, so that its index is built.

    In CouchDB, the views of a design document share an index
    (https://docs.couchdb.org/en/3.5.0/ddocs/views/intro.html). In PouchDB, each has its own, and the first query builds
    that of any other view.

    Returns:
        The views that do not exist: somebody else wrote or edited the design document, and it was kept.

    Raises:
        UnreachableError: see :func:`build_views`.
    """
    stored = (database.shown(document["_id"]) or {}).get("views")
    there = [view for view in document["views"] if isinstance(stored, dict) and _is_view(stored.get(view))]
    for view in [each for each in there if each in model.card_views]:
        try:
            _build(server, database, document["_id"].removeprefix("_design/"), view, on_progress)
        except NotFoundError:
            there.remove(view)
    return [view for view in document["views"] if view not in there]


def _is_view(value: object) -> bool:
    return isinstance(value, dict) and "map" in value


def _build(server: Server, database: Database, design: str, view: str, on_progress: OnProgress | None) -> None:
    """Wait for a view's index as long as it makes progress, and report the progress."""
    executor = ThreadPoolExecutor(1)
    seen, since = (0, 0), time.monotonic()
    try:
        built = False
        while not built:
            building = executor.submit(database.build_view, design, view, INDEX_WAIT)
            while wait([building], INDEX_LOOK).not_done:
                done, total = server.indexing(database.name)
                if (done, total) != seen:
                    seen, since = (done, total), time.monotonic()
                if on_progress is not None:
                    on_progress(f"{database.name}: index of {design}", done, total)
            built = building.result()
            if not built and time.monotonic() - since > INDEX_STILL:
                raise UnreachableError(
                    f"database {database.name}, view {view}",
                    rule=f"its index has not grown for {INDEX_STILL:,.0f} seconds",
                    todo="see the server's log",
                )
    finally:
        # After an interruption or another error, don't wait for a reply that may take long.
        executor.shutdown(wait=False)
