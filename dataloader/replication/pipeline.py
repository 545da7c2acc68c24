"""Carrying a stream of documents to the server in batches, several requests at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from dataloader.common import BATCH_DOCUMENTS, CONNECTIONS, Prepared

MAX_BATCH_BYTES = 4_000_000
"""Bytes of documents in a request, well under what servers and proxies refuse."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def chunks(items: Iterable[Item], size: int = BATCH_DOCUMENTS) -> Iterator[list[Item]]:
    """Cut a stream into lists of at most ``size`` items."""
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def batches(documents: Iterable[Prepared], size: int = BATCH_DOCUMENTS) -> Iterator[list[Prepared]]:
    """Cut a stream into lists of at most ``size`` documents and four megabytes."""
    batch: list[Prepared] = []
    weight = 0
    for document in documents:
        if batch and (len(batch) >= size or weight + len(document.body) > MAX_BATCH_BYTES):
            yield batch
            batch, weight = [], 0
        batch.append(document)
        weight += len(document.body)
    if batch:
        yield batch


def _independent(earlier: object, later: object) -> bool:  # noqa: ARG001 - the form of the question
    return False


def in_parallel(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int = CONNECTIONS,
    *,
    waits_for: Callable[[Item, Item], bool] = _independent,
) -> Iterator[Result]:
    """Do work on items in several threads; results come in the order of the items.

    Only a few items are held at any time, so that a stream of any length can go through. The first
    error ends it: what has not begun by then is not begun, and what has is waited for. An interruption
    does not wait, since a server that hangs could hold it up for minutes.

    Args:
        work: what to do with an item.
        items: the items.
        workers: how many threads.
        waits_for: tells whether an earlier item, the first argument, must be done before a later one is begun.
    """
    pending: deque[tuple[Item, Future[Result]]] = deque()
    executor = ThreadPoolExecutor(workers, thread_name_prefix="dataloader")
    wait = True
    try:
        for item in items:
            while len(pending) >= 2 * workers or any(waits_for(earlier, item) for earlier, _ in pending):
                yield pending.popleft()[1].result()
            pending.append((item, executor.submit(work, item)))
        while pending:
            yield pending.popleft()[1].result()
    except (KeyboardInterrupt, GeneratorExit):
        wait = False
        raise
    finally:
        executor.shutdown(wait=wait, cancel_futures=True)
