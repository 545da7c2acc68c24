r"""No acknowledged edit is lost when editors and ``load --update`` work on the same cards at once.

At the end, every edit that the server acknowledged is in the winning revision. If nodes of a cluster hang and stop, it
may instead be in a conflict between two users, which the next load reports.

To run it for ten minutes on the server or cluster at ``COUCHDB_URL``, and print the table:

    EDITORS_SECONDS=600 COUCHDB_URL=… COUCHDB_USER=… COUCHDB_PASSWORD=… \
      pytest -s tests/faults/test_acknowledged_edits.py

With ``COUCHDB_HANG_NODE``, ``COUCHDB_STOP_NODE`` and ``COUCHDB_START_NODE`` (see tests/cluster), nodes of a cluster of
``COUCHDB_NODE_COUNT`` nodes hang and stop during the run.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from threading import Event

from dataloader.batch import Manifest
from dataloader.common import DataloaderError, Patience
from dataloader.couch import Database, Request, Server
from dataloader.operations import LoadOptions, Outcome, Source, all_sources, generate, load
from dataloader.records import Snapsets
from dataloader.replication import Finding, State
from dataloader.target import Target
from tests.support.editors import Editor, Tally
from tests.support.marks import THOROUGH, TOKEN_MODEL
from tests.support.records import preferences_of, write_snapsets
from tests.support.server import AGREEING, databases

pytestmark = THOROUGH

SECONDS = float(os.environ.get("EDITORS_SECONDS", "20"))
HANG, STOP, START = (os.environ.get(f"COUCHDB_{what}_NODE") for what in ("HANG", "STOP", "START"))
NODES = int(os.environ.get("COUCHDB_NODE_COUNT", "3"))
EDITORS = 5
LOOPS = 2
"""Concurrent update loops; each switches between the versions of the snapset."""
CARDS = 150
"""Cards in a round. An edited card is never updated again, so each round has its own cards."""
ROUND = 6.0
"""Duration of a round in seconds."""
DISTURBED = 60.0
"""Seconds of a round in which nodes hang and stop."""
AWAY = 6.0
"""Seconds for which a node hangs or is stopped, and between two such events."""
QUICK = Patience(timeout=20, retries=4, wait=0.1, total=60)
IMPATIENT = Patience(timeout=10, retries=0, wait=0, total=10)
"""An editor's server does not retry requests."""


def _sources(target: Target, manifest: Manifest, snapsets: Snapsets) -> list[Source]:
    # Without the views: their indexes take longest, and nobody queries them here.
    *sources, _ = all_sources(target, [manifest], snapsets)
    return sources


def _update(server: Server, target: Target, variants: list[list[Source]], over: Event, tally: Tally) -> None:
    """Update to one version after another until it is over."""
    for sources in cycle(variants):
        if over.is_set():
            return
        try:
            result = load(server, target, sources, LoadOptions(update=True, older_snapsets=True))
        except DataloaderError as error:
            tally.loads[type(error).__name__] += 1
        else:
            tally.loads["waiting" if result.count(Outcome.WAITING) else "done"] += 1


def _disturb(faults: Iterator[tuple[str, int]], over: Event) -> None:
    """Make one node after another hang or stop for a while; at the end, all are back."""
    while not over.wait(AWAY):
        command, node = next(faults)
        subprocess.run(f"{command} {node}", shell=True, check=True, stdout=subprocess.DEVNULL)
        over.wait(AWAY)
        subprocess.run(f"{START} {node}", shell=True, check=True, stdout=subprocess.DEVNULL)


def _round(
    target: Target,
    manifest: Manifest,
    versions: list[Snapsets],
    tally: Tally,
    seconds: float,
    faults: Iterator[tuple[str, int]] | None,
) -> None:
    """Load new cards, edit and update them at once, and count what happens to the edits.

    Nodes hang and stop during this, but not during the count: edits that only an absent node has are not lost.
    """
    server = Server(target.address, QUICK)
    variants = [_sources(target, manifest, snapsets) for snapsets in versions]
    _settled(server, target, variants[0])
    ids = [preferences_of(target.model.name, card.uuid).id for card in manifest.cards()]
    name = preferences_of(target.model.name, ids[0]).database
    over = Event()
    editors = [
        # Each card has one owner, so that no two users collide.
        Editor(
            f"{manifest.header.name}-{number}",
            databases(Server(target.address, IMPATIENT), target)[name],
            ids[number::EDITORS],
        )
        for number in range(EDITORS)
    ]
    with ThreadPoolExecutor(EDITORS + LOOPS + 1) as executor:
        running = [executor.submit(_disturb, faults, over)] if faults else []
        running += [executor.submit(editor.edit, over) for editor in editors]
        running += [
            executor.submit(_update, Server(target.address, QUICK), target, variants[at:] + variants[:at], over, tally)
            for at in range(1, LOOPS + 1)
        ]
        time.sleep(seconds)
        over.set()
        for each in running:
            each.result()
    database = databases(server, target)[name]
    _await_copies(server, database, ids)
    conflicts = _settled(server, target, variants[0])
    tally.count(database, editors, conflicts)


def _is_making_up_copies(server: Server) -> bool:
    """Return whether a node of a cluster is down, or still has copies to send to others."""
    nodes = server.nodes()
    if len(nodes.expected) <= 1:
        return False
    systems = [server.session.send(Request("GET", f"/_node/{node}/_system"))[2].json() for node in nodes.connected]
    return bool(nodes.away) or any(system["internal_replication_jobs"] for system in systems)


def _await_copies(server: Server, database: Database, ids: list[str]) -> None:
    """Wait until the nodes of a cluster have made up their copies."""
    end = time.monotonic() + 180
    agreeing = 0
    while agreeing < AGREEING:
        with suppress(DataloaderError):
            if _is_making_up_copies(server):
                agreeing = 0
            revisions = [
                {doc_id: sorted(leaf["_rev"] for leaf in leaves) for doc_id, leaves in found.items()}
                for found in (database.leaves(ids), database.leaves(ids, all_copies=True))
            ]
            agreeing = agreeing + 1 if revisions[0] == revisions[1] else 0
        assert time.monotonic() < end, "the copies do not agree"


def _settled(server: Server, target: Target, sources: list[Source]) -> set[str]:
    """Load until all nodes are there and nothing is left to repair; return the documents reported as conflicts."""
    end = time.monotonic() + 180
    while True:
        conflicts: set[str] = set()

        def note(_: Source, finding: Finding, what: State | Outcome, found: set[str] = conflicts) -> None:
            if what is Outcome.CONFLICT:
                found.add(finding.document.id)

        with suppress(DataloaderError):
            result = load(server, target, sources, on_finding=note)
            if not result.count(Outcome.WAITING) and not result.repaired and not server.nodes().away:
                return conflicts
        assert time.monotonic() < end, "the cluster does not come back"
        time.sleep(1)


@TOKEN_MODEL
def test_every_acknowledged_edit_is_in_the_winning_revision(target: Target, tmp_path: Path) -> None:
    """Five editors and two loops of updates at once, round after round."""
    versions = [write_snapsets(tmp_path / f"version-{size}", {"large": size}) for size in (18, 20, 22)]
    tally = Tally()
    faults = (
        cycle((command, node) for node in range(NODES) for command in (HANG, STOP)) if HANG and STOP and START else None
    )
    end = time.monotonic() + SECONDS
    for number in range(1_000_000):
        left = end - time.monotonic()
        if left <= 0:
            break
        manifest = generate(f"round-{number}", {"large": CARDS}, tmp_path / "batches").manifest
        _round(target, manifest, versions, tally, min(DISTURBED if faults else ROUND, left), faults)
    print(  # noqa: T201 - the table is what a run by hand is for
        f"\nedits acknowledged {tally.acknowledged:,}, refused {tally.refused:,}, failed {tally.failed:,}; "
        f"lost {len(tally.lost)}, in a conflict between two persons {tally.in_conflict}; loads {dict(tally.loads)}"
    )
    assert tally.lost == []
    assert faults is not None or tally.in_conflict == 0
    assert tally.acknowledged > 0
    assert tally.loads["done"] > 0
