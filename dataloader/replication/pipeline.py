"""Send a stream of documents to the server in batches, with several concurrent requests."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from dataloader.common import BATCH_DOCUMENTS, CONNECTIONS, Prepared

MAX_BATCH_BYTES = 4_000_000
"""The most bytes of documents in a request, well below the limits of servers and proxies."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def chunks(items: Iterable[Item], size: int = BATCH_DOCUMENTS) -> Iterator[list[Item]]:
    """Split a stream into lists of at most ``size`` items."""
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def batches(documents: Iterable[Prepared]) -> Iterator[list[Prepared]]:
    """Split a stream into lists of at most :data:`BATCH_DOCUMENTS` documents and four megabytes."""
    batch: list[Prepared] = []
    weight = 0
    for document in documents:
        if batch and (len(batch) >= BATCH_DOCUMENTS or weight + len(document.body) > MAX_BATCH_BYTES):
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
    """Process items in several threads; yield the results in the order of the items.

    Only a few items are held at any time, so streams of any length are possible. The first error stops it: running
    items are waited for, and no new ones are started. An interruption does not wait, since a server that hangs could
    delay it for minutes.

    Args:
        work: processes an item.
        items: the items.
        workers: the number of threads.
        waits_for: returns whether an earlier item, the first argument, must be finished before a later one starts.
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
