"""Loading in parts from several machines, and the layout of databases."""

import subprocess
import sys
from itertools import pairwise
from os import environ
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataloader.batch import Part
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import all_sources, generate, load
from dataloader.operations.generate import Batch
from dataloader.records import Snapsets
from dataloader.records.models import Role
from dataloader.target import Target, sensible_shards
from tests.support.command import Command
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.server import Proxied, databases, sequences, snapshot


def start(manifest: Path, part: str, on_target: list[str], credentials: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a load of one part, as on another machine."""
    return subprocess.Popen(
        [sys.executable, "-m", "dataloader", "load", str(manifest), "--part", part, "--quiet", *on_target],
        env={**environ, **credentials},
        stdin=subprocess.DEVNULL,
    )


@given(cards=st.integers(1, 1_000_000), count=st.integers(1, 5000))
def test_parts_cover_the_batch_exactly_once(cards: int, count: int) -> None:
    """Each card is in exactly one part, however many parts there are."""
    bounds = [Part(index, count).bounds(cards) for index in range(1, count + 1)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == cards
    assert all(before[1] == after[0] for before, after in pairwise(bounds))


@THOROUGH
@ONE_MODEL
def test_concurrent_parts_are_one_complete_load(
    server: Server,
    target: Target,
    tmp_path: Path,
    snapsets: Snapsets,
    on_target: list[str],
    credentials: dict[str, str],
) -> None:
    """Three processes load a part each, at once, then again in another order: a full load finds nothing to do."""
    batch = generate("parts", {"snapset_1a": 700, "empty": 401}, tmp_path / "batches")
    loaders = [start(batch.manifest.path, f"{index}/3", on_target, credentials) for index in (3, 1, 2)]
    assert [loader.wait(120) for loader in loaders] == [0, 0, 0]
    everything = snapshot(server, target)
    numbers = sequences(server, target)
    for index in (2, 3, 1):
        assert start(batch.manifest.path, f"{index}/3", on_target, credentials).wait(120) == 0

    result = load(server, target, all_sources(target, [batch.manifest], snapsets))

    kinds = [counts for kinds in result.outcomes.values() for counts in kinds.values()]
    assert {outcome.value for counts in kinds for outcome, count in counts.items() if count} == {"unchanged"}
    assert snapshot(server, target) == everything
    assert sequences(server, target) == numbers
    assert not any("_conflicts" in document for documents in everything.values() for document in documents.values())


def test_part_loads_only_its_cards(server: Server, target: Target, batch: Batch, snapsets: Snapsets) -> None:
    """Part 2 of 3 of twelve cards is cards 5 to 8."""
    load(server, target, all_sources(target, [batch.manifest], snapsets, Part(2, 3)))
    held = {doc_id for documents in snapshot(server, target).values() for doc_id in documents}
    kinds = [kind for kind in target.model.kinds if Role.CARD in kind.roles]
    shares = [[kind.id(card.uuid) in held for kind in kinds] for card in batch.manifest.cards()]
    assert all(all(share) for share in shares[4:8])
    assert not any(any(share) for share in shares[:4] + shares[8:])


@ONE_MODEL
def test_kubernetes_job_index_selects_the_part(
    command: Command, target: Target, batch: Batch, on_target: list[str], credentials: dict[str, str]
) -> None:
    """``--parts 3`` in the pod of index 0 is the first part; each card gives one document of each kind."""
    env = {**credentials, "JOB_COMPLETION_INDEX": "0"}
    completed = command("load", batch.manifest.path, "--parts", "3", "--json", *on_target, env=env)
    again = command("load", batch.manifest.path, "--part", "1/3", "--json", *on_target, env=credentials)
    assert (completed.code, again.code) == (0, 0)
    assert again.data["created"] == 0
    assert again.data["unchanged"] == completed.data["created"] == completed.data["documents"]


@pytest.mark.parametrize(
    ("options", "env", "said"),
    [
        (["--part", "0/3"], {}, "--part 0/3: must be K/N"),
        (["--part", "4/3"], {}, "--part 4/3: must be K/N"),
        (["--part", "half"], {}, "--part half: must be K/N"),
        (["--parts", "3"], {}, "JOB_COMPLETION_INDEX"),
        (["--parts", "3"], {"JOB_COMPLETION_INDEX": "3"}, "from 0 to 2, not '3'"),
        (["--part", "1/3", "--parts", "3"], {"JOB_COMPLETION_INDEX": "0"}, "cannot be combined"),
    ],
)
def test_invalid_part_is_rejected(
    command: Command, batch: Batch, options: list[str], env: dict[str, str], said: str
) -> None:
    """A mistake in the part is an error before any request is made."""
    completed = command("load", batch.manifest.path, "--url", "http://127.0.0.1:1", *options, env=env)
    assert completed.code == 2
    assert said in completed.stderr
    assert len(completed.stderr.splitlines()) == 1


def test_databases_get_the_requested_layout(
    run_here: Command, server: Server, target: Target, batch: Batch, proxied: Proxied
) -> None:
    """Shards and replicas are CouchDB's q and n; other servers ignore them."""
    through, proxy = proxied(lambda request, forward: forward(request))
    layout = ("--shards", "3", "--replicas", "1")
    assert run_here("load", batch.manifest.path, *layout, url=through.address.url).code == ExitCode.OK
    created = [each.target for each in proxy.requests if each.method == "PUT" and each.path.count("/") == 1]
    assert created == [f"/{target.database(name)}?q=3&n=1" for name in target.model.databases]
    for database in databases(server, target).values():
        info: dict[str, Any] = database.info() or {}
        if "cluster" in info:
            assert (info["cluster"]["q"], info["cluster"]["n"]) == (3, 1)
        assert info["doc_count"] > 0


def test_number_of_shards_grows_with_documents() -> None:
    """Up to a million documents, the server's default is used."""
    numbers = [sensible_shards(documents) for documents in (1, 1_000_000, 1_000_001, 10_000_000, 10_000_001)]
    assert numbers == [None, None, 8, 8, 16]
