"""The pipeline to the server: concurrent requests, in an order that keeps each card's documents consistent."""

import time
from collections.abc import Callable
from threading import Event, Lock

from dataloader.common import prepare
from dataloader.couch import Server
from dataloader.operations import Source, load
from dataloader.operations.generate import Batch
from dataloader.operations.sources import batch_sources
from dataloader.records import Snapsets
from dataloader.replication import batches, in_parallel
from dataloader.target import Target
from tests.support.proxy import Forward, Hook, Proxy, Reply, Request
from tests.support.server import get


def test_results_come_in_the_order_of_the_items() -> None:
    """Whichever item is finished first."""
    second_done = Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(10)
        if item == 1:
            second_done.set()
        return item * 10

    assert list(in_parallel(work, range(40))) == [item * 10 for item in range(40)]


def test_item_waits_for_its_dependencies() -> None:
    """Other items start at once."""
    done: set[tuple[str, int]] = set()
    begun_early: list[tuple[str, int]] = []
    lock = Lock()
    letters = [(letter, number) for letter in "abc" for number in range(3)]

    def work(item: tuple[str, int]) -> tuple[str, int]:
        letter, number = item
        with lock:
            if letter != "a" and (chr(ord(letter) - 1), number) not in done:
                begun_early.append(item)
        time.sleep(0.01)
        with lock:
            done.add(item)
        return item

    def waits_for(earlier: tuple[str, int], later: tuple[str, int]) -> bool:
        return earlier[0] < later[0] and earlier[1] <= later[1]

    assert list(in_parallel(work, letters, waits_for=waits_for)) == letters
    assert begun_early == []


def test_item_waits_for_nothing_else() -> None:
    """``c`` waits for ``a`` only, so it starts while ``b`` is still running."""
    begun = Event()

    def work(item: str) -> str:
        if item == "c":
            begun.set()
        if item == "b":
            assert begun.wait(10)
        return item

    assert list(in_parallel(work, "abc", waits_for=lambda earlier, later: (earlier, later) == ("a", "c"))) == [*"abc"]


def test_batches_are_limited_by_number_and_size() -> None:
    """At most 500 documents and four megabytes."""
    small = [prepare({"_id": f"{number:04}"}) for number in range(1100)]
    assert [len(batch) for batch in batches(small)] == [500, 500, 100]
    large = [prepare({"_id": f"{number}", "text": "x" * 1_500_000}) for number in range(5)]
    assert [len(batch) for batch in batches(large)] == [2, 2, 1]


def test_card_has_no_access_before_its_preferences_are_written(
    proxied: Callable[[Hook], tuple[Server, Proxy]], batch: Batch, target: Target, snapsets: Snapsets
) -> None:
    """While a card's preference set is being written, documents that refer to it are not sent yet."""
    sources = batch_sources(target, [batch.manifest], snapsets)
    first, last = sources[0], sources[-1]
    early: list[Request] = []
    writing = Event()

    def hold_first(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs":
            held = next(iter(first.documents()))["_id"].encode() in request.body and not writing.is_set()
            if _names(request, last) and not writing.is_set():
                early.append(request)
            if held and _names(request, first) and not _names(request, last):
                reply = forward(request)
                writing.wait(0.3)
                writing.set()
                return reply
        return forward(request)

    server, _ = proxied(hold_first)
    result = load(server, target, sources)
    assert early == []
    assert writing.is_set()
    assert result.documents == sum(source.count for source in sources)
    assert get(server.database(target.database(last.database)), next(iter(last.documents()))["_id"])


def _names(request: Request, source: Source) -> bool:
    ids = {document["_id"] for document in source.documents()}
    return any(document["_id"] in ids for document in request.data()["docs"])
