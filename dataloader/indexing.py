"""Indexes: having the servers' views built before the first person taps a card."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from dataloader.couch import Database, NotFoundError, Server
from dataloader.settings import INDEX_LOOK, INDEX_WAIT
from dataloader.targets import Target
from dataloader.views import design_documents


def build_views(server: Server, target: Target, on_progress: Callable[[str, int, int], None]) -> int:
    """Query every view of a target, so that its index is built.

    Args:
        server: the target's server.
        target: the target.
        on_progress: told which index it is, how many changes it has seen to, and of how many.

    Returns:
        How many views are ready.
    """
    views = [
        (server.database(target.database(name)), document["_id"].removeprefix("_design/"), view)
        for name in target.model.databases
        for document in design_documents(target.model, name)
        for view in document["views"]
    ]
    built = 0
    for database, design, view in views:
        try:
            _build(server, database, design, view, on_progress)
        except NotFoundError:
            # A design document that is not ours was kept, and lacks this view; it has been reported.
            continue
        built += 1
    return built


def _build(
    server: Server, database: Database, design: str, view: str, on_progress: Callable[[str, int, int], None]
) -> None:
    """Wait until a view's index is built, however long that takes, and show how far it has come."""
    executor = ThreadPoolExecutor(1)
    waits = True
    try:
        built = False
        while not built:
            building = executor.submit(database.build_view, design, view, INDEX_WAIT)
            while wait([building], INDEX_LOOK).not_done:
                done, total = server.indexing(database.name)
                on_progress(f"{database.name}: index of {design}", done, total)
            built = building.result()
    except KeyboardInterrupt:
        # The server goes on building; nobody waits for its answer.
        waits = False
        raise
    finally:
        executor.shutdown(wait=waits)
