"""Drills: a copy is restored, compared, checked and deleted."""

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module
from pathlib import Path

import pytest

from dataloader.batch import Manifest
from dataloader.common import ExitCode, FileError
from dataloader.couch import Server
from dataloader.operations import Source, drill, generate, load, read_backups
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.backups import everything, plant
from tests.support.command import Command, Process
from tests.support.marks import EACH_MODEL, ONE_MODEL, THOROUGH
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied, databases, put

DRILL = import_module("dataloader.operations.drill")


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
    machine = DRILL.machine_name()
    # Of a process that had the same ID, as in a container that was started again.
    left = server.database(f"drill-{machine}-{os.getpid()}-0000-{target.database(target.model.databases[0])}")
    left.create()
    first = drill(server, target, folder=tmp_path, manifests=[manifest], snapsets=snapsets)
    assert first.good
    assert first.leaves == sum(len(leaves) for found in stood.values() for leaves in found.values())
    assert (first.cards, first.last_backup) == (manifest.count, None)
    assert first.leftovers == [left.name]
    assert not left.exists()
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


@THOROUGH
@ONE_MODEL
def test_drill_deletes_what_a_killed_one_left(
    process: Process,
    command: Command,
    server: Server,
    target: Target,
    on_target: list[str],
    credentials: dict[str, str],
    tmp_path: Path,
) -> None:
    """The next drill deletes the copy and the temporary files of a killed one, and nothing of a running one."""
    for database in databases(server, target).values():
        database.create()
        plant(database, [{"_id": f"{at:05}", "_rev": "1-a", "value": "x" * 500} for at in range(2_000)])
    name = target.database(target.model.databases[0])
    machine = DRILL.machine_name()
    # Of this process, which runs, and of another machine, a moment old.
    others = [f"drill-{machine}-{os.getpid()}-0000-{name}", f"drill-00000000-1-0000-{name}"]
    for other in others:
        server.database(other).create()
    environment = {**credentials, "TMPDIR": str(tmp_path)}
    try:
        started = process("drill", *on_target, env=environment)
        end = time.monotonic() + 60
        while not (left := sorted(set(_copies_of(server, name)) - set(others))) and time.monotonic() < end:
            time.sleep(0.02)
        started.kill()
        started.wait()
        assert left
        assert list(tmp_path.glob("dataloader-drill-*"))
        done = command("drill", *on_target, "--json", env=environment)
        assert done.code == ExitCode.OK, done.stderr
        assert set(done.data["leftovers"]) >= set(left)
        assert sorted(_copies_of(server, name)) == sorted(others)
        assert not list(tmp_path.glob("dataloader-drill-*"))
    finally:
        for other in _copies_of(server, name):
            server.database(other).delete()


@ONE_MODEL
def test_drill_leaves_the_copy_of_a_container_with_the_same_host_name(
    server: Server, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its processes can't be seen from here, as if they had ended."""
    for database in databases(server, target).values():
        database.create()
    namespace = tmp_path / "pid"
    namespace.symlink_to("pid:[1]")
    monkeypatch.setattr(DRILL, "_PROCESSES", namespace)
    other = server.database(
        f"drill-{DRILL.machine_name()}-{os.getpid()}-0000-{target.database(target.model.databases[0])}"
    )
    namespace.unlink()
    namespace.symlink_to("pid:[2]")
    other.create()
    try:
        assert drill(server, target).leftovers == []
        assert other.exists()
    finally:
        other.delete()


@ONE_MODEL
@pytest.mark.parametrize(("hours", "is_left"), [(20, False), (30, True)])
def test_age_of_a_copy_is_by_the_servers_clock(
    server: Server, target: Target, proxied: Proxied, hours: int, *, is_left: bool
) -> None:
    """A machine whose clock is ahead does not delete the copy of a drill that runs on another one."""
    for database in databases(server, target).values():
        database.create()
    other = server.database(f"drill-00000000-1-0000-{target.database(target.model.databases[0])}")
    other.create()
    created = datetime(2018, 3, 1, tzinfo=UTC)

    def at(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.path == f"/{other.name}" and request.method == "GET":
            return Reply.json(200, {**reply.data(), "instance_start_time": str(int(created.timestamp()))})
        if request.path == "/":
            shown = {"vendor": {"name": "The Apache Software Foundation"}, "version": "3.5.0", "couchdb": "Welcome"}
            headers = {"Date": format_datetime(created + timedelta(hours=hours), usegmt=True)}
            return Reply(200, json.dumps({**reply.data(), **shown}).encode(), {**reply.headers, **headers})
        return reply

    through, _ = proxied(at)
    through.welcome()
    try:
        assert DRILL._is_old(through, through.database(other.name)) == is_left
    finally:
        other.delete()


def _copies_of(server: Server, name: str) -> list[str]:
    return [each for each in _copies(server) if each.endswith(name)]


@ONE_MODEL
def test_drill_counts_nothing_since_a_backup_of_an_earlier_database(
    server: Server, target: Target, tmp_path: Path
) -> None:
    """After databases were recreated, the sequences of an older backup are meaningless."""
    for database in databases(server, target).values():
        database.create()
    if server.welcome().product != "CouchDB":
        pytest.skip("this server does not tell a database from an earlier one")
    assert drill(server, target, folder=tmp_path).good
    # The server's time of creation is in seconds.
    time.sleep(1.1)
    for database in databases(server, target).values():
        database.delete()
        database.create()
        put(database, {"_id": "new"})
    [path] = tmp_path.glob("*.backup.zst")
    path.rename(path.with_name("earlier.backup.zst"))
    again = drill(server, target, folder=tmp_path)
    assert again.last_backup is None
    assert again.changes_at_risk == len(target.model.databases)


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
    assert "data at risk when the drill began: everything (" in done.stdout
    assert "time to restore: " in done.stdout
    page = (tmp_path / "drill.html").read_text()
    assert "The restored copy matches the backup" in page
    assert "Time to restore" in page
    assert run_here("drill", "--json").data["good"] is True


@ONE_MODEL
def test_drill_names_cards_that_do_not_work_anyway(run_here: Command, tmp_path: Path) -> None:
    """They do not fail the drill, which is about the backup, but are not passed over in silence."""
    manifest = generate("spring", {"empty": 2}, tmp_path).manifest.path
    assert run_here("load", "--snapsets-only").code == ExitCode.OK
    done = run_here("drill", manifest, "--report", tmp_path / "drill.html")
    assert done.code == ExitCode.OK
    says = (
        "warning: 2 cards not working in the target either, so the drill does not count them (run `dataloader verify "
    )
    assert f"{says}{manifest} --url " in done.stderr
    assert "Not working in the target either" in (tmp_path / "drill.html").read_text()
    assert run_here("drill", manifest, "--json").data["cards_broken"] == 2


@ONE_MODEL
def test_drill_needs_a_folder_for_temporary_files(
    server: Server, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container with a read-only file system, the error says what to set, and no copy is left."""
    for database in databases(server, target).values():
        database.create()

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("dataloader.common.files.gettempdir", none)
    with pytest.raises(FileError, match=r"no folder for temporary files .* \(set TMPDIR"):
        drill(server, target)
    assert not [name for name in _copies(server) if name.endswith(target.database(target.model.databases[0]))]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.0", "1"),
        ("1e3", "1000.0"),
        (f"{10**29 + 1}", f"{10**29 + 2}"),
        ("0.1", "0.10"),
        ("-0.0", "0.0"),
        ("1", '"1"'),
    ],
)
def test_drill_compares_numbers_as_they_are_written(one: str, other: str) -> None:
    """A server that rounds them has not restored the document."""
    content = DRILL._content
    line = '{"_id":"a","_attachments":{"f":{"data":"eA==","revpos":%s}},"n":[%s]}'
    assert content((line % (1, one)).encode()) != content((line % (1, other)).encode())
    # How attachments are stored does not matter.
    assert content((line % (1, one)).encode()) == content((line % (2, one)).encode())
