"""The result of a load is true at its end, whatever was done to the databases and the cluster meanwhile."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Lock

import pytest

from dataloader.batch import Manifest, note_revoked
from dataloader.common import ExitCode, ProtectedError, ProtocolError
from dataloader.couch import Database, Server
from dataloader.operations import LoadOptions, Outcome, Source, all_sources, generate, load, verify
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import ONE_MODEL
from tests.support.proxy import Forward, Hook, Reply, Request
from tests.support.records import preferences_of, write_snapsets
from tests.support.server import Proxied, databases, get, put

pytestmark = ONE_MODEL

CARDS = 1_200
NODES = ["couchdb@one", "couchdb@two", "couchdb@three"]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Snapsets]:
    """Two versions of a snapset."""
    folder = tmp_path_factory.mktemp("snapsets")
    return [write_snapsets(folder / f"version-{size}", {"large": size}) for size in (18, 20)]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch with several requests for each kind of document."""
    return generate("many", {"large": CARDS}, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of three cards."""
    return generate("few", {"large": 3}, tmp_path_factory.mktemp("batch")).manifest


def without_views(target: Target, manifest: Manifest, snapsets: Snapsets) -> list[Source]:
    """Return the sources of a load except the views, whose indexes take longest."""
    *sources, _ = all_sources(target, [manifest], snapsets)
    return sources


def at_write(number: int, action: Callable[[], object]) -> Hook:
    """Return a hook that does something once, just before a write of documents."""
    lock, count = Lock(), [0]

    def hook(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs":
            with lock:
                count[0] += 1
                if count[0] == number:
                    action()
        return forward(request)

    return hook


def recreate(database: Database) -> None:
    """Delete a database and create it again, empty."""
    database.delete()
    # The load may be faster, and finds it missing.
    database.create()


def stored(database: Database) -> int:
    """Return the number of documents in a database."""
    info = database.info()
    assert info is not None
    count: int = info["doc_count"]
    return count


@pytest.mark.parametrize("number", [2, 4])
def test_database_recreated_during_a_load_is_loaded_again(
    server: Server, target: Target, many: Manifest, versions: list[Snapsets], proxied: Proxied, number: int
) -> None:
    """Success means that every document exists; the environment is recorded again, too."""
    database = databases(server, target)["preferences"]
    through, _ = proxied(at_write(number, lambda: recreate(database)))

    result = load(through, target, without_views(target, many, versions[0]))

    assert stored(database) == 1 + CARDS
    assert stored(databases(server, target)["auth"]) == CARDS
    assert result.count(Outcome.CREATED) + result.count(Outcome.UNCHANGED) == result.documents
    assert get(database, "_local/dataloader")["environment"] == "ci"


@pytest.mark.parametrize("number", [3, 5])
def test_listed_card_stays_revoked_when_databases_are_recreated(
    server: Server, target: Target, versions: list[Snapsets], proxied: Proxied, run_here: Command, tmp_path: Path,
    number: int,
) -> None:  # fmt: skip
    """The load writes all cards again; that a card is revoked, only the list next to the manifest knows then."""
    manifest = generate("few", {"large": 3}, tmp_path).manifest
    note_revoked(manifest, [*manifest.cards()][:1], "lost", target.environment)
    _, proxy = proxied(at_write(number, lambda: [*map(recreate, databases(server, target).values())]))

    done = run_here("load", manifest.path, "--snapsets", versions[0].folder, url=proxy.url)

    assert done.code == ExitCode.OK, done.stderr
    assert verify(server, target, [manifest], versions[0], exactly=0).verdicts == {"ok": 2, "revoked": 1}


def test_database_recreated_repeatedly_is_an_error(
    server: Server, target: Target, few: Manifest, versions: list[Snapsets], proxied: Proxied
) -> None:
    """A load that can't keep what it wrote does not succeed."""
    database = databases(server, target)["preferences"]

    def hook(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and request.database == database.name:
            recreate(database)
        return forward(request)

    through, _ = proxied(hook)
    with pytest.raises(ProtocolError, match="was recreated or restored while it was loaded, 3 times"):
        load(through, target, without_views(target, few, versions[0]))


def test_older_backup_restored_during_a_load_is_loaded_again(
    server: Server, target: Target, many: Manifest, versions: list[Snapsets], proxied: Proxied
) -> None:
    """A backup restored with its own record: documents are gone, and the update sequence reveals it."""
    sources = without_views(target, many, versions[0])
    database = databases(server, target)["preferences"]
    load(server, target, sources[:1])
    lost: list[str] = []

    def restored(request: Request, forward: Forward) -> Reply:
        # The second write to this database is lost, as if an older file had been restored just after it.
        if request.endpoint == "_bulk_docs" and request.database == database.name and not lost:
            lost.extend(each["_id"] for each in request.data()["docs"])
            return Reply.json(201, [])
        return forward(request)

    through, _ = proxied(restored)
    result = load(through, target, sources)

    assert len(lost) > 1
    assert stored(database) == 1 + CARDS
    assert result.count(Outcome.CREATED) == result.documents - 1


def test_environment_is_checked_with_every_batch(
    server: Server, target: Target, many: Manifest, versions: list[Snapsets], proxied: Proxied
) -> None:
    """A database marked as production during the load gets no further batch."""
    database = databases(server, target)["preferences"]

    def mark() -> None:
        put(database, {**get(database, "_local/dataloader"), "environment": "production"})

    through, proxy = proxied(at_write(1, mark))
    with pytest.raises(ProtectedError, match="holds production data; refusing to treat it as ci"):
        load(through, target, without_views(target, many, versions[0]))
    # Batches already in progress may still be written.
    assert proxy.count("POST", "_bulk_docs") < 2 * CARDS / 500


def test_record_overwritten_by_another_load_is_restored(
    server: Server, target: Target, many: Manifest, versions: list[Snapsets], proxied: Proxied
) -> None:
    """Of two loads that start at once, one may overwrite the other's record; it is restored with the next batch.

    Versions that are not recorded count as edits forever, also if the load is killed.
    """
    database = databases(server, target)["preferences"]
    load(server, target, without_views(target, many, versions[0]))
    before = get(database, "_local/dataloader")["versions"]
    lock, writes = Lock(), [0]

    def hook(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs":
            with lock:
                writes[0] += 1
                if writes[0] == 1:
                    put(database, {**get(database, "_local/dataloader"), "versions": before})
                elif writes[0] > 2:
                    return Reply.json(400, {"error": "bad_request", "reason": "the load ends here"})
        return forward(request)

    through, _ = proxied(hook)
    with pytest.raises(ProtocolError, match="the load ends here"):
        load(through, target, without_views(target, many, versions[1]), LoadOptions(update=True))

    after = get(database, "_local/dataloader")["versions"]
    assert all(len(after[label]) == len(before[label]) + 1 for label in before)


def test_partitioned_database_is_refused(
    server: Server, target: Target, few: Manifest, versions: list[Snapsets], proxied: Proxied
) -> None:
    """Running the load again would not help, and the error does not suggest it."""
    databases(server, target)["preferences"].create()

    def partitioned(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.method == "GET" and request.endpoint == "" and request.database == target.database("preferences"):
            return replace(reply, body=json.dumps({**reply.data(), "props": {"partitioned": True}}).encode())
        return reply

    through, proxy = proxied(partitioned)
    with pytest.raises(ProtocolError, match=r"is partitioned.*use databases that are not partitioned"):
        load(through, target, without_views(target, few, versions[0]))
    assert proxy.count("POST", "_bulk_docs") == 0


class TestNodesDown:
    """A cluster with a node that is down: creating continues, changes wait."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wait for nodes only briefly."""
        monkeypatch.setattr(import_module("dataloader.operations.load"), "NODES_WAIT", 0.0)

    @staticmethod
    def short(request: Request, forward: Forward) -> Reply:
        """Answer like a cluster of three nodes with one down."""
        if request.path == "/_membership":
            return Reply.json(200, {"all_nodes": NODES[:2], "cluster_nodes": NODES})
        return forward(request)

    def test_updates_wait_and_creating_continues(
        self, server: Server, target: Target, few: Manifest, versions: list[Snapsets], proxied: Proxied
    ) -> None:
        """The missing copy could accept a conflicting edit; absent documents can still be written."""
        snapsets, *_ = without_views(target, few, versions[0])
        load(server, target, [snapsets])
        sources = without_views(target, few, versions[1])
        through, _ = proxied(self.short)

        result = load(through, target, sources, LoadOptions(update=True))

        assert (result.count(Outcome.WAITING), result.count(Outcome.UPDATED)) == (1, 0)
        assert result.count(Outcome.CREATED) == result.documents - 1
        assert result.nodes_away == ("couchdb@three",)
        assert load(server, target, sources, LoadOptions(update=True)).count(Outcome.UPDATED) == 1

    def test_exit_code_is_that_of_a_missing_node(
        self, run_here: Command, few: Manifest, versions: list[Snapsets], proxied: Proxied
    ) -> None:
        """No decision is needed: the same command does the rest when the node is back."""
        load_old = ("load", few.path, "--all-cards", "--snapsets", versions[0].folder)
        assert run_here(*load_old).code == ExitCode.OK
        _, proxy = proxied(self.short)
        done = run_here(
            "load", few.path, "--snapsets", versions[1].folder, "--update", "--yes", "--json", url=proxy.url
        )
        assert done.code == ExitCode.NODES, done.stderr
        assert done.data["waiting"] == 1 + 3

    def test_repairs_wait_too(
        self, server: Server, target: Target, few: Manifest, versions: list[Snapsets], proxied: Proxied
    ) -> None:
        """Nothing is deleted while a copy is missing."""
        load(server, target, without_views(target, few, versions[0]))
        place = preferences_of(target.model.name, next(few.cards()).uuid)
        database = databases(server, target)[place.database]
        deleted = {"_id": place.id, "_rev": f"1-{'d' * 32}", "_deleted": True}
        assert database.write([json.dumps(deleted).encode()]) == []
        through, _ = proxied(self.short)

        assert load(through, target, without_views(target, few, versions[0])).count(Outcome.WAITING) == 1
        assert get(database, place.id)
        result = load(server, target, without_views(target, few, versions[0]))
        assert (result.count(Outcome.DELETED), result.repaired) == (1, 1)
