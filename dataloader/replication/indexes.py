"""Build the indexes of the servers' views before the first person taps a card."""

import time
from concurrent.futures import ThreadPoolExecutor, wait

from dataloader.common import INDEX_LOOK, INDEX_STILL, INDEX_WAIT, Document, OnProgress, UnreachableError
from dataloader.couch import Database, NotFoundError, Server
from dataloader.records.views import design_documents
from dataloader.target import Target


def build_views(server: Server, target: Target, on_progress: OnProgress | None) -> int:
    """Query every view of a target, so that its index is built.

    Args:
        server: the target's server.
        target: the target.
        on_progress: called with the name of the index, the number of processed changes, and the total.

    Returns:
        The number of built views.

    Raises:
        UnreachableError: the server still fails after the last retry, or an index makes no progress for half an hour.
    """
    return sum(
        build_index(server, server.database(target.database(name)), document, on_progress)
        for name in target.model.databases
        for document in design_documents(target.model, name)
    )


def build_index(server: Server, database: Database, document: Document, on_progress: OnProgress | None) -> int:
    """Query every view of a design document; see :func:`build_views`."""
    built = 0
    for view in document["views"]:
        try:
            _build(server, database, document["_id"].removeprefix("_design/"), view, on_progress)
        except NotFoundError:
            # A foreign design document was kept, and lacks this view; it has been reported.
            continue
        built += 1
    return built


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
