"""Missing copies in a cluster: nodes that are down during a load, and writes with too few copies."""

from dataclasses import replace
from pathlib import Path

import pytest

from dataloader.batch import read_manifest
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import Source, all_sources, load
from dataloader.records import read_snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.proxy import Forward, Hook, Reply, Request
from tests.support.server import Proxied, databases, put

EXPECTED = ["couchdb@one", "couchdb@two", "couchdb@three"]


@pytest.fixture
def small(target: Target, given: tuple[Path, Path]) -> list[Source]:
    """The documents of a small batch."""
    manifest, snapsets = given
    return all_sources(target, [read_manifest(manifest)], read_snapsets(snapsets))


def absent_at(*times: int) -> Hook:
    """Return a hook that simulates three nodes; one is down at some of the checks."""
    asked = [0]

    def hook(request: Request, forward: Forward) -> Reply:
        if request.path != "/_membership":
            return forward(request)
        asked[0] += 1
        there = EXPECTED[:2] if asked[0] in times else EXPECTED
        return Reply.json(200, {"cluster_nodes": EXPECTED, "all_nodes": there})

    return hook


@pytest.mark.parametrize(
    ("look", "times", "away"),
    [
        (60.0, [1], ("couchdb@three",)),
        (0.0, [2], ("couchdb@three",)),
        (60.0, [2], ("couchdb@three",)),
        (0.0, [], ()),
    ],
    ids=["before", "during", "after", "never"],
)
def test_load_reports_a_node_that_was_away(
    proxied: Proxied,
    target: Target,
    small: list[Source],
    monkeypatch: pytest.MonkeyPatch,
    look: float,
    times: list[int],
    away: tuple[str, ...],
) -> None:
    """Before, between or after the writes: the load continues and reports the node at the end."""
    monkeypatch.setattr("dataloader.couch.server.NODES_LOOK", look)
    through, _ = proxied(absent_at(*times))
    result = load(through, target, small)
    assert result.nodes_away == away
    assert result.needs_attention == 0


def test_cluster_nodes_are_checked_rarely(proxied: Proxied, target: Target, small: list[Source]) -> None:
    """A load of a few seconds checks at the start and the end."""
    through, proxy = proxied(absent_at())
    load(through, target, small)
    assert sum(request.path == "/_membership" for request in proxy.requests) == 2


def test_single_node_is_not_checked_during_a_load(
    proxied: Proxied, target: Target, small: list[Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the load takes."""
    monkeypatch.setattr("dataloader.couch.server.NODES_LOOK", 0.0)
    alone = {"cluster_nodes": EXPECTED[:1], "all_nodes": EXPECTED[:1]}
    through, proxy = proxied(
        lambda request, forward: Reply.json(200, alone) if request.path == "/_membership" else forward(request)
    )
    load(through, target, small)
    assert sum(request.path == "/_membership" for request in proxy.requests) == 2


@pytest.mark.parametrize("endpoint", ["", "_local/dataloader", "_bulk_docs"])
def test_write_with_too_few_copies_is_reported(
    run: Command, proxied: Proxied, target: Target, given: tuple[Path, Path], endpoint: str
) -> None:
    """If any write returns 202, the load ends with its own exit code, with everything written."""

    def accepted(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        wanted = request.method in {"PUT", "POST"} and request.endpoint == endpoint
        return replace(reply, status=202) if wanted else reply

    _, proxy = proxied(accepted)
    manifest, snapsets = given
    done = run("load", manifest, "--snapsets", snapsets, "--json", url=proxy.url)
    assert (done.code, done.data["short_of_copies"], done.data["failed"]) == (ExitCode.NODES, True, 0)
    [line] = done.stderr.splitlines()
    assert line.startswith("error: the cluster made fewer copies than requested (202), as it does while")
    assert "everything has been written" in line
    again = run("load", manifest, "--snapsets", snapsets, "--json", url=proxy.url)
    assert (again.code, again.data["short_of_copies"], again.data["created"]) == (ExitCode.OK, False, 0)


def test_missing_copies_are_reported_with_documents_that_need_attention(
    run: Command, proxied: Proxied, server: Server, target: Target, given: tuple[Path, Path]
) -> None:
    """The documents determine the exit code; the node that was down is reported, too."""
    manifest, snapsets = given
    assert run("load", "--snapsets-only", "--snapsets", snapsets).code == ExitCode.OK
    database = databases(server, target)[target.model.databases[0]]
    uuid = next(card.uuid for card in read_manifest(manifest).cards())
    put(database, {"_id": target.model.kinds[0].id(uuid), "somebody's": "own"})
    _, proxy = proxied(absent_at(1, 2, 3))
    done = run("load", manifest, "--snapsets", snapsets, url=proxy.url)
    assert done.code == ExitCode.ATTENTION
    assert done.stderr.splitlines()[-2:] == [
        "error: 1 document needs a decision; --details FILE lists all",
        (
            "error: couchdb@three: down; some copies may be missing until it is up "
            "(everything has been written; start the node, and the cluster creates them by itself)"
        ),
    ]


def test_number_of_copies_is_read_with_other_information(proxied: Proxied) -> None:
    """One request tells both."""
    cluster = {"q": 2, "n": 3, "w": 2, "r": 2}
    information = {
        "db_name": "any",
        "update_seq": "0-g1",
        "doc_count": 0,
        "instance_start_time": "1",
        "cluster": cluster,
    }
    through, proxy = proxied(lambda *_: Reply.json(200, information))
    database = through.database("any")
    assert database.exists()
    assert (database.copies, len(proxy.requests)) == (3, 1)
