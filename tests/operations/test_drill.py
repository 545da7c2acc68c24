"""Drills: a copy is restored, compared, checked and deleted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dataloader.batch import Manifest
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import Source, drill, load, read_backups
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.backups import everything
from tests.support.command import Command
from tests.support.marks import EACH_MODEL, ONE_MODEL
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied, databases, put


def _copies(server: Server) -> list[str]:
    listed = json.loads(server.database("_all_dbs")._resource.get()[2].read())
    return [name for name in listed if name.startswith("drill-")]


@EACH_MODEL
def test_drill_verifies_a_restore_and_deletes_its_copy(
    server: Server, target: Target, sources: list[Source], manifest: Manifest, snapsets: Snapsets, tmp_path: Path
) -> None:
    """Every leaf and card is checked, the target is not changed, and the backup is marked as verified."""
    load(server, target, sources)
    stood = everything(server, target)
    first = drill(server, target, folder=tmp_path, manifests=[manifest], snapsets=snapsets)
    assert first.good
    assert first.leaves == sum(len(leaves) for found in stood.values() for leaves in found.values())
    assert (first.cards, first.last_backup) == (manifest.count, None)
    assert first.changes_at_risk == first.header.documents
    assert list(first.steps) == ["backup", "restore", "read back", "compare", "verify cards", "remove"]
    assert everything(server, target) == stood
    assert not [name for name in _copies(server) if name.endswith(target.database(target.model.databases[0]))]
    [stored], _ = read_backups(tmp_path)
    assert stored.verified is not None
    assert stored.verified.leaves == first.leaves


@ONE_MODEL
def test_drill_counts_data_at_risk(server: Server, target: Target, tmp_path: Path) -> None:
    """Documents that changed since the last backup would be lost now."""
    for database in databases(server, target).values():
        database.create()
        put(database, {"_id": "old"})
    (tmp_path / "old").mkdir()
    assert drill(server, target, folder=tmp_path / "old").good
    for database in databases(server, target).values():
        put(database, {"_id": "new"})
    [path] = (tmp_path / "old").glob("*.backup.zst")
    # Its own name contains the second.
    path.rename(path.with_name("earlier.backup.zst"))
    again = drill(server, target, folder=tmp_path / "old")
    assert again.changes_at_risk == len(target.model.databases)
    assert again.last_backup is not None


@ONE_MODEL
def test_drill_detects_a_copy_that_differs(server: Server, target: Target, tmp_path: Path, proxied: Proxied) -> None:
    """A server that stores a changed document is detected, and the copy is still deleted."""
    for database in databases(server, target).values():
        database.create()
        put(database, {"_id": "card", "value": "right"})

    def alter(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs":
            request = replace(request, body=request.body.replace(b"right", b"wrong"))
        return forward(request)

    through, _ = proxied(alter)
    result = drill(through, replace(target, address=through.address), folder=tmp_path)
    assert not result.good
    assert result.difference_count == len(target.model.databases)
    assert "document card: differs" in result.differences[0]
    assert read_backups(tmp_path)[0][0].verified is None
    assert not [name for name in _copies(server) if name.endswith(target.database(target.model.databases[0]))]


@ONE_MODEL
def test_drill_on_the_command_line(
    run_here: Command, server: Server, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both results are printed as text and JSON, and in the report."""
    for database in databases(server, target).values():
        database.create()
        put(database, {"_id": "card"})
    done = run_here("drill", "--report", tmp_path / "drill.html")
    assert done.code == ExitCode.OK, done.stderr
    assert "Data at risk when the drill began: everything (" in done.stdout
    assert "Time to restore: " in done.stdout
    page = (tmp_path / "drill.html").read_text()
    assert "The restored copy is the backup" in page
    assert "Time to restore" in page
    assert run_here("drill", "--json").data["good"] is True
