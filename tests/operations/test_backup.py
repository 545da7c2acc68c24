"""Backups and restores: everything is restored, nothing newer is lost, and damaged files are refused."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from dataloader.archive import Backup, BackupHeader, BodyWriter, DatabaseState, finish
from dataloader.archive.backup_file import grouped
from dataloader.archive.frames import MAX_FRAME
from dataloader.common import (
    DataloaderError,
    ExitCode,
    FileError,
    InputError,
    ProtectedError,
    ProtocolError,
    TooLargeError,
    UnreachableError,
)
from dataloader.couch import Server
from dataloader.couch.replies import MAX_WITH_ATTACHMENTS
from dataloader.operations import Outcome, Source, back_up, load, restore_backup
from dataloader.operations import backup as backup_module
from dataloader.target import Environment, Target
from tests.support.backups import (
    VARIED,
    copy,
    everything,
    frames_of,
    leaves_in,
    lines_of,
    plant,
    settings,
)
from tests.support.command import Command
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.proxy import Forward, Hangup, Hook, Reply, Request
from tests.support.server import Proxied, agreed, databases, delete, get, put

__all__ = ["copy"]


@pytest.fixture
def varied(server: Server, target: Target) -> Target:
    """A target with every kind of document, including deleted and conflicting ones."""
    for database in databases(server, target).values():
        database.create(shards=4)
        plant(database, VARIED)
        database.put_local("dataloader", {"environment": "ci", "snapsets": ["abc"]})
        if database.names_leaves:
            database.put_security({"members": {"names": ["reader"], "roles": []}, "admins": {"names": [], "roles": []}})
            database.set_revs_limit(77)
    return target


def test_restore_restores_everything(server: Server, varied: Target, copy: Target, tmp_path: Path) -> None:
    """All leaves with histories and attachments, design documents, settings, and the environment record."""
    result = back_up(server, varied, tmp_path / "all.backup.zst")
    restored = restore_backup(server, copy, [Backup(result.path)])
    assert agreed(server, lambda: everything(server, copy)) == everything(server, varied)
    for name, database in databases(server, copy).items():
        assert settings(database) == settings(databases(server, varied)[name])
        assert get(database, "_local/dataloader")["snapsets"] == ["abc"]
        assert get(database, "_local/dataloader")["environment"] == "ci"
    assert restored.good
    assert restored.leaves == result.header.leaves == len(VARIED) * len(varied.model.databases)


def test_every_card_works_after_a_restore(
    server: Server, target: Target, copy: Target, sources: list[Source], tmp_path: Path
) -> None:
    """A loaded target is the same after a restore, and a load into the copy has nothing to do."""
    load(server, target, sources)
    restore_backup(server, copy, [Backup(back_up(server, target, tmp_path / "a.backup.zst").path)])
    assert agreed(server, lambda: everything(server, copy)) == everything(server, target)
    again = load(server, copy, sources)
    assert again.count(Outcome.UNCHANGED) == again.documents


@ONE_MODEL
def test_backup_can_be_read_with_zstd_and_is_private(server: Server, varied: Target, tmp_path: Path) -> None:
    """The file is JSON Lines in zstd with mode 0600, sorted by ID, design documents last."""
    path = tmp_path / "all.backup.zst"
    back_up(server, varied, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    header, *lines = lines_of(path)
    assert header["format"] == "dataloader-backup"
    ids = [line["_id"] for line in lines if "_id" in line]
    per_database = ["edited", "gone", "picture", "plain", "torn", "torn", "torn", "_design/own"]
    assert ids == per_database * len(varied.model.databases)
    assert lines[-1]["end"] is True
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@ONE_MODEL
def test_backups_of_an_unchanged_database_differ_only_in_the_header(
    server: Server, varied: Target, tmp_path: Path
) -> None:
    """All bytes after the header are equal; of an encrypted one, the seal is."""
    one, other = (back_up(server, varied, tmp_path / f"{name}.backup.zst") for name in ("one", "other"))
    assert frames_of(one.path)[1:] == frames_of(other.path)[1:]
    assert frames_of(one.path)[0] != frames_of(other.path)[0]
    encrypted = back_up(server, varied, tmp_path / "encrypted.backup.zst", password="sesame")
    assert encrypted.header.seal == one.header.seal


@ONE_MODEL
def test_backup_keeps_numbers_exactly(server: Server, target: Target, tmp_path: Path) -> None:
    """A backup contains the server's bytes, whatever a JSON library would change."""
    for database in databases(server, target).values():
        database.create()
        database.write([b'{"_id":"a","_rev":"1-a","n":[1.0,1e3,12345678901234567890,0.1]}'])
    path = back_up(server, target, tmp_path / "a.backup.zst").path
    database = databases(server, target)[target.model.databases[0]]
    stored = database._resource.get("a")[2].read().decode()
    numbers = stored[stored.index("[") : stored.index("]") + 1]
    [*_, lines] = [list(Backup(path).documents(target.model.databases[0]))]
    assert numbers in lines[0][1][0].decode()


@THOROUGH
@ONE_MODEL
def test_backup_of_many_runs_is_merged_in_order(
    server: Server, target: Target, copy: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents from several pages and runs, some of them edited in between, are written once, in order."""
    monkeypatch.setattr("dataloader.archive.spool.RUN_BYTES", 8_000)
    monkeypatch.setattr(backup_module, "PAGE_ROWS", 30)
    monkeypatch.setattr(backup_module, "FETCHED", 7)
    for database in databases(server, target).values():
        database.create()
        # They are not written in the order of their IDs.
        plant(database, [{"_id": f"{(at * 37) % 101:03}", "_rev": "1-a", "at": at} for at in range(101)])
    path = back_up(server, target, tmp_path / "a.backup.zst").path
    ids = [line["_id"] for line in lines_of(path) if "_id" in line]
    assert ids == [f"{at:03}" for at in range(101)] * len(target.model.databases)
    restore_backup(server, copy, [Backup(path)])
    assert agreed(server, lambda: everything(server, copy)) == everything(server, target)


@ONE_MODEL
def test_backup_refuses_to_overwrite(server: Server, varied: Target, tmp_path: Path) -> None:
    """An existing file is kept."""
    path = tmp_path / "all.backup.zst"
    path.write_text("mine")
    with pytest.raises(FileError, match="already exists"):
        back_up(server, varied, path)
    assert path.read_text() == "mine"


@ONE_MODEL
def test_backup_of_a_missing_database_is_an_error(server: Server, target: Target, tmp_path: Path) -> None:
    """Nothing is written if the target does not exist."""
    with pytest.raises(DataloaderError, match="does not exist"):
        back_up(server, target, tmp_path / "a.backup.zst")
    assert list(tmp_path.iterdir()) == []


@THOROUGH
@ONE_MODEL
def test_backup_into_a_folder_is_named_after_model_and_time(server: Server, varied: Target, tmp_path: Path) -> None:
    """A backup to a folder gets its own file name."""
    result = back_up(server, varied, tmp_path)
    assert result.path.parent == tmp_path
    assert result.path.name.startswith(f"{varied.prefix}{varied.model.name}-")
    assert result.path.name.endswith("Z.backup.zst")


@ONE_MODEL
def test_backups_of_one_second_have_different_names(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one in the same folder gets a number; an incremental one has another name anyway."""
    monkeypatch.setattr(backup_module, "now", lambda: "2026-03-02T09:15:07.123Z")
    first = backup_module.backup_path(tmp_path, target, incremental=False)
    first.touch()
    second = backup_module.backup_path(tmp_path, target, incremental=False)
    second.symlink_to("nowhere")
    third = backup_module.backup_path(tmp_path, target, incremental=False)
    stem = f"{target.prefix}{target.model.name}-20260302T091507Z"
    names = [f"{stem}.backup.zst", f"{stem}-2.backup.zst", f"{stem}-3.backup.zst"]
    assert [first.name, second.name, third.name] == names
    assert backup_module.backup_path(tmp_path, target, incremental=True).name == f"{stem}-incremental.backup.zst"


# Incremental backups


@ONE_MODEL
def test_incremental_backups_restore_the_last_state(
    server: Server, varied: Target, copy: Target, tmp_path: Path
) -> None:
    """A full backup and two increments restore the current databases; an increment contains only changes."""
    full = back_up(server, varied, tmp_path / "full.backup.zst").path
    for database in databases(server, varied).values():
        put(database, {**get(database, "plain"), "value": "new"})
        delete(database, "edited")
    first = back_up(server, varied, tmp_path / "first.backup.zst", base=Backup(full)).path
    for database in databases(server, varied).values():
        put(database, {"_id": "late"})
        put(database, {**get(database, "plain"), "value": "newer"})
    second = back_up(server, varied, tmp_path / "second.backup.zst", base=Backup(first))
    assert {line["_id"] for line in lines_of(second.path) if "_id" in line} == {"late", "plain"}
    result = restore_backup(server, copy, [Backup(full), Backup(first), Backup(second.path)])
    assert agreed(server, lambda: everything(server, copy)) == everything(server, varied)
    assert result.good


@ONE_MODEL
def test_restore_refuses_a_chain_with_a_gap(server: Server, varied: Target, copy: Target, tmp_path: Path) -> None:
    """An increment without its full backup, or after another one, is refused."""
    full = back_up(server, varied, tmp_path / "full.backup.zst").path
    first = back_up(server, varied, tmp_path / "first.backup.zst", base=Backup(full)).path
    second = back_up(server, varied, tmp_path / "second.backup.zst", base=Backup(first)).path
    for files in ([first], [full, second], [full, full], [full, second, first]):
        with pytest.raises(InputError, match=r"give the full backup first"):
            restore_backup(server, copy, [Backup(path) for path in files])
    assert not any(database.exists() for database in databases(server, copy).values())


@ONE_MODEL
def test_increment_whose_full_backup_is_missing_has_a_warning(
    run_here: Command, server: Server, varied: Target, tmp_path: Path
) -> None:
    """It may be in another folder; but if it is lost, no further increment can be restored."""
    full = back_up(server, varied, tmp_path / "full.backup.zst")
    first = back_up(server, varied, tmp_path / "first.backup.zst", base=Backup(full.path)).path
    assert run_here("backup", tmp_path / "second.backup.zst", "--since", first).stderr == ""
    full.path.unlink()
    done = run_here("backup", tmp_path / "third.backup.zst", "--since", first)
    assert done.code == ExitCode.OK
    needed = f"{first}: needs the backup of {full.header.created} to be restored, which is not in {tmp_path} ("
    assert f"warning: {needed}" in done.stderr


@ONE_MODEL
def test_increment_of_a_recreated_database_is_refused(server: Server, varied: Target, tmp_path: Path) -> None:
    """The sequence of a deleted database is meaningless in its successor."""
    if not server.database("any").names_leaves:
        pytest.skip("PouchDB Server does not tell one database from its successor")
    full = Backup(back_up(server, varied, tmp_path / "full.backup.zst").path)
    header = replace(full.header, databases=tuple(replace(each, identity="1") for each in full.header.databases))
    full.header = header
    with pytest.raises(InputError, match="recreated since"):
        back_up(server, varied, tmp_path / "first.backup.zst", base=full)


@ONE_MODEL
def test_increment_of_a_database_that_was_set_back_is_refused(server: Server, varied: Target, tmp_path: Path) -> None:
    """After a volume snapshot was restored, CouchDB would skip what is written until the backup's sequence."""
    if any(database.copies > 1 for database in databases(server, varied).values()):
        pytest.skip("each copy counts its own updates")
    full = Backup(back_up(server, varied, tmp_path / "full.backup.zst").path)
    later = tuple(replace(each, sequence=f"{10**6}-{each.sequence}") for each in full.header.databases)
    full.header = replace(full.header, databases=later)
    with pytest.raises(InputError, match=r"is newer than .*, which was restored to an earlier state since"):
        back_up(server, varied, tmp_path / "first.backup.zst", base=full)


@ONE_MODEL
def test_increment_of_a_backup_that_is_deleted_meanwhile_is_refused(
    server: Server, varied: Target, tmp_path: Path
) -> None:
    """It could never be restored; another job may prune the folder while the backup is checked."""
    full = Backup(back_up(server, varied, tmp_path / "full.backup.zst").path)

    def delete_it(step: str, *_: int) -> None:
        if step.startswith("checking"):
            full.path.unlink(missing_ok=True)

    with pytest.raises(InputError, match=r"full.backup.zst: was deleted while it was being continued"):
        back_up(server, varied, tmp_path / "first.backup.zst", base=full, on_progress=delete_it)
    assert not (tmp_path / "first.backup.zst").exists()


@ONE_MODEL
def test_increment_of_another_target_is_refused(
    server: Server, target: Target, varied: Target, copy: Target, tmp_path: Path
) -> None:
    """Even if its databases were created in the same second."""
    for database in databases(server, copy).values():
        database.create()
    full = Backup(back_up(server, varied, tmp_path / "full.backup.zst").path)
    there = Backup(back_up(server, copy, tmp_path / "copy.backup.zst").path)
    full.header = replace(there.header, prefix=full.header.prefix)
    with pytest.raises(InputError, match=f"with the prefix '{target.prefix}', not"):
        back_up(server, copy, tmp_path / "first.backup.zst", base=full)


@ONE_MODEL
def test_database_recreated_during_a_backup_is_an_error(server: Server, varied: Target, tmp_path: Path) -> None:
    """A backup never mixes the documents of two databases with the same name."""
    if not server.database("any").names_leaves:
        pytest.skip("PouchDB Server does not tell one database from its successor")
    path = tmp_path / "a.backup.zst"
    recreated: list[str] = []

    def recreate(*_: object) -> None:
        for database in [] if recreated else databases(server, varied).values():
            recreated.append(database.name)
            # An identity is a time in seconds.
            time.sleep(1.1)
            database.delete()
            database.create()
            put(database, {"_id": "of the second"})

    with pytest.raises(ProtocolError, match="created again while it was read"):
        back_up(server, varied, path, on_progress=recreate)
    assert recreated
    assert not path.exists()
    result = back_up(server, varied, path)
    assert {line["_id"] for line in lines_of(path) if "_id" in line} == {"of the second"}
    assert not result.resumed


@ONE_MODEL
def test_database_deleted_during_a_backup_is_an_error(
    server: Server, varied: Target, tmp_path: Path, proxied: Proxied
) -> None:
    """The error says that somebody deleted it, and no file is written."""

    def delete_first(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_get":
            for database in databases(server, varied).values():
                database.delete()
        return forward(request)

    through, _ = proxied(delete_first)
    with pytest.raises(ProtocolError, match="find out who deleted it"):
        back_up(through, replace(varied, address=through.address), tmp_path / "a.backup.zst")
    assert not (tmp_path / "a.backup.zst").exists()


# Encryption


@ONE_MODEL
def test_encrypted_backup_needs_its_password(server: Server, varied: Target, copy: Target, tmp_path: Path) -> None:
    """The file reveals nothing; a wrong password is refused, the right one restores everything."""
    path = back_up(server, varied, tmp_path / "a.backup.zst", password="sesame").path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    data = path.read_bytes()
    assert data.startswith(b"dataloader-backup-encrypted 1 ")
    assert b"torn" not in data
    assert b"\x28\xb5\x2f\xfd" not in data, "a zstd frame shows"
    with pytest.raises(InputError, match="is encrypted"):
        Backup(path)
    with pytest.raises(InputError, match="cannot be decrypted"):
        Backup(path, "open")
    restore_backup(server, copy, [Backup(path, "sesame")])
    assert agreed(server, lambda: everything(server, copy)) == everything(server, varied)


@THOROUGH
@ONE_MODEL
def test_encrypted_backup_cannot_be_edited(server: Server, varied: Target, tmp_path: Path) -> None:
    """A changed, missing or repeated frame is detected; there is no digest that an attacker could recompute."""
    path = back_up(server, varied, tmp_path / "a.backup.zst", password="sesame").path
    data = path.read_bytes()
    start = data.index(b"\n") + 1
    frames = []
    at = start
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4])
        frames.append(data[at:end])
        at = end
    for edited in (
        [*frames[:2], frames[1], *frames[2:]],
        [frames[0], *frames[2:]],
        [frames[0], frames[2], frames[1], *frames[3:]],
        [*frames[:2], frames[2][:9] + bytes([frames[2][9] ^ 1]) + frames[2][10:], *frames[3:]],
        frames[:-1],
    ):
        path.unlink()
        path.write_bytes(data[:start] + b"".join(edited))
        with pytest.raises(InputError, match="block"):
            list(Backup(path, "sesame").check())


# Damaged files


def _damaged(frames: list[bytes], foreign: list[bytes]) -> dict[str, tuple[bytes, str]]:
    whole = b"".join(frames)
    middle = len(b"".join(frames[:3]))
    return {
        "cut off within a block": (whole[: middle - 3], r"block 2: is truncated"),
        "cut off between blocks": (b"".join(frames[:-1]), r"block \d+: is missing"),
        "only a header": (frames[0], r"block 1: is missing"),
        "reordered": (b"".join([*frames[:1], frames[2], frames[1], *frames[3:]]), r"block 1: is in the wrong place"),
        "left out": (b"".join([*frames[:2], *frames[3:]]), r"block 2: is in the wrong place"),
        "repeated": (b"".join([*frames[:2], frames[1], *frames[2:]]), r"block 2: is in the wrong place"),
        "foreign block": (b"".join([*frames[:2], foreign[2], *frames[3:]]), r"block \d+: does not match the header"),
        "foreign header": (b"".join([foreign[0], *frames[1:]]), r"block \d+: does not match the header"),
        "edited": (whole[: middle - 20] + b"\0\0\0" + whole[middle - 17 :], r"block 2: is damaged"),
        "appended": (whole + frames[1], r"block \d+: comes after the end"),
        "another file": (b'{"name": "not a backup"}\n' * 20, r"is not a backup"),
        "empty": (b"", r"is not a backup"),
    }


_QUICK = {"cut off within a block", "reordered", "foreign block", "edited"}


@ONE_MODEL
@pytest.mark.parametrize(
    "how",
    [pytest.param(how, marks=[] if how in _QUICK else THOROUGH) for how in _damaged([b"x"] * 5, [b"y"] * 5)],
)
def test_restore_refuses_a_damaged_file_before_writing(
    server: Server, varied: Target, copy: Target, tmp_path: Path, how: str
) -> None:
    """The error names the block, and no database is created."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    for database in databases(server, varied).values():
        put(database, {"_id": "other"})
    foreign = back_up(server, varied, tmp_path / "b.backup.zst").path
    data, message = _damaged(frames_of(path), frames_of(foreign))[how]
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        restore_backup(server, copy, [Backup(path)])
    assert not any(database.exists() for database in databases(server, copy).values())
    # Nor is it continued.
    with pytest.raises(InputError, match=message):
        back_up(server, varied, tmp_path / "c.backup.zst", base=Backup(path))


# Where it may go


@ONE_MODEL
@pytest.mark.parametrize("where", [pytest.param(Environment.CI, marks=THOROUGH), Environment.STAGING])
def test_restore_refuses_a_less_protected_target(
    server: Server, varied: Target, copy: Target, tmp_path: Path, where: Environment
) -> None:
    """Production data is restored to production only."""
    path = back_up(server, replace(varied, environment=Environment.PRODUCTION), tmp_path / "a.backup.zst").path
    with pytest.raises(ProtectedError, match=f"refusing to restore it as {where}"):
        restore_backup(server, replace(copy, environment=where), [Backup(path)])
    assert not any(database.exists() for database in databases(server, copy).values())


@THOROUGH
@ONE_MODEL
def test_restore_refuses_development_data_in_production(
    server: Server, varied: Target, copy: Target, tmp_path: Path
) -> None:
    """Data that may include samples and passwords is refused in production."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    with pytest.raises(ProtectedError, match="never in production"):
        restore_backup(server, replace(copy, environment=Environment.PRODUCTION), [Backup(path)])


@ONE_MODEL
def test_restore_refuses_a_database_in_use(server: Server, varied: Target, copy: Target, tmp_path: Path) -> None:
    """Without --merge, nothing is written to a database with documents."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    last = databases(server, copy)[copy.model.databases[-1]]
    last.create()
    put(last, {"_id": "mine"})
    with pytest.raises(ProtectedError, match="is not empty"):
        restore_backup(server, copy, [Backup(path)])
    assert list(leaves_in(last)) == ["mine"]


# Merging


@ONE_MODEL
def test_merge_keeps_everything_newer(server: Server, varied: Target, tmp_path: Path) -> None:
    """Lost documents are restored; edits, deletions and recreated documents since the backup are kept."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    database = databases(server, varied)[varied.model.databases[0]]
    put(database, {**get(database, "plain"), "value": "newer"})
    delete(database, "edited")
    before = leaves_in(database)
    database.delete()
    database.create()
    # As after a disaster in which other writers have recreated some documents.
    plant(database, [*before["plain"], *before["edited"], {"_id": "torn", "_rev": f"1-{'0' * 32}", "value": "own"}])
    result = restore_backup(server, varied, [Backup(path)], merge=True)
    after = agreed(server, lambda: leaves_in(database))
    assert {key: after[key] for key in ("plain", "edited", "gone", "picture")} == {
        key: before[key] for key in ("plain", "edited", "gone", "picture")
    }
    assert [leaf["value"] for leaf in after["torn"]] == ["own"]
    assert result.good
    # PouchDB treats an ancestor as missing; then the document is kept, too.
    assert {"torn"} <= {each.id for each in result.kept} <= {"torn", "plain", "edited"}


@ONE_MODEL
def test_merge_restores_the_settings_of_a_missing_database(server: Server, varied: Target, tmp_path: Path) -> None:
    """A database that a merge creates is not open to everyone; one that is in use keeps its settings."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    database = databases(server, varied)[varied.model.databases[0]]
    stood = settings(database)
    database.delete()
    restore_backup(server, varied, [Backup(path)], merge=True)
    assert settings(database) == stood
    if "_revs_limit" in stood:
        database.set_revs_limit(99)
        delete(database, "plain")
        restore_backup(server, varied, [Backup(path)], merge=True)
        assert settings(database) == {**stood, "_revs_limit": 99}


@THOROUGH
@ONE_MODEL
def test_merge_updates_an_older_document(server: Server, varied: Target, tmp_path: Path) -> None:
    """A document that is an ancestor of the backup's is updated to it without a conflict."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    database = databases(server, varied)[varied.model.databases[0]]
    wanted = leaves_in(database)["edited"]
    database.delete()
    database.create()
    plant(database, [{"_id": "edited", "_rev": f"1-{'a' * 32}", "value": 1}])
    restore_backup(server, varied, [Backup(path)], merge=True)
    assert agreed(server, lambda: leaves_in(database)["edited"]) == wanted


@ONE_MODEL
def test_merge_keeps_a_concurrent_edit(server: Server, varied: Target, tmp_path: Path, proxied: Proxied) -> None:
    """An edit between the read and the write wins over the backup."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    database = databases(server, varied)[varied.model.databases[0]]
    database.delete()
    database.create()
    plant(database, [{"_id": "edited", "_rev": f"1-{'a' * 32}", "value": 1}])
    edited: list[str] = []

    def edit_first(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and b'"edited"' in request.body and not edited:
            edited.append(put(database, {"_id": "edited", "_rev": f"1-{'a' * 32}", "value": "the owner's"}))
        return forward(request)

    through, _ = proxied(edit_first)
    result = restore_backup(through, replace(varied, address=through.address), [Backup(path)], merge=True)
    assert edited
    assert get(database, "edited")["value"] == "the owner's"
    assert [each.id for each in result.kept] == ["edited"]


@ONE_MODEL
def test_merge_keeps_a_document_created_concurrently(
    server: Server, varied: Target, tmp_path: Path, proxied: Proxied
) -> None:
    """A document that somebody creates between the read and the write wins over the backup's."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    database = databases(server, varied)[varied.model.databases[0]]
    database.delete()
    database.create()
    created: list[str] = []

    def create_first(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and b'"plain"' in request.body and not created:
            created.append(put(database, {"_id": "plain", "value": "the owner's"}))
        return forward(request)

    through, _ = proxied(create_first)
    result = restore_backup(through, replace(varied, address=through.address), [Backup(path)], merge=True)
    assert created
    assert get(database, "plain")["value"] == "the owner's"
    assert "conflict" not in json.dumps(get(database, "plain", conflicts="true"))
    assert [each.id for each in result.kept] == ["plain"]


@ONE_MODEL
def test_restore_twice_writes_nothing_new(server: Server, varied: Target, copy: Target, tmp_path: Path) -> None:
    """If the last reply of a run was lost, running it again changes nothing."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    restore_backup(server, copy, [Backup(path)])
    stood = agreed(server, lambda: everything(server, copy))
    assert restore_backup(server, copy, [Backup(path)]).good
    assert agreed(server, lambda: everything(server, copy)) == stood
    assert restore_backup(server, copy, [Backup(path)], merge=True).written == 0
    assert agreed(server, lambda: everything(server, copy)) == stood


@ONE_MODEL
@pytest.mark.parametrize("change", ["edit", "deletion", "new document"])
def test_restore_refuses_a_database_changed_since(
    server: Server, varied: Target, copy: Target, tmp_path: Path, change: str
) -> None:
    """After a change, a restored database is in use, and restoring again is refused."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    restore_backup(server, copy, [Backup(path)])
    database = databases(server, copy)["preferences"]
    if change == "edit":
        put(database, {**get(database, "edited"), "more": 1})
    elif change == "deletion":
        delete(database, "edited")
    else:
        put(database, {"_id": "mine"})
    with pytest.raises(ProtectedError, match="is not empty"):
        restore_backup(server, copy, [Backup(path)])


@ONE_MODEL
@pytest.mark.parametrize("first_run", ["complete", "interrupted"])
def test_restore_twice_keeps_settings_changed_since(
    server: Server, varied: Target, copy: Target, tmp_path: Path, first_run: str
) -> None:
    """Permissions, the limit of revisions and the record of loads are restored once, however often it is run."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    if first_run == "interrupted":
        with pytest.raises(_Killed):
            restore_backup(server, copy, [Backup(path)], on_ready=lambda: next(_killing(0)))
    else:
        restore_backup(server, copy, [Backup(path)])
    database = databases(server, copy)["preferences"]
    marker = get(database, "_local/dataloader")
    database.put_local("dataloader", {**marker, "snapsets": ["loaded since"]})
    security = {"members": {"names": ["auditor"], "roles": []}, "admins": {"names": [], "roles": []}}
    if database.names_leaves:
        database.put_security(security)
        database.set_revs_limit(55)
    assert restore_backup(server, copy, [Backup(path)]).good
    assert get(database, "_local/dataloader")["snapsets"] == ["loaded since"]
    if database.names_leaves:
        assert {"_security": security, "_revs_limit": 55}.items() <= settings(database).items()


@ONE_MODEL
def test_restore_refuses_a_database_that_was_merged_into(
    server: Server, varied: Target, copy: Target, tmp_path: Path
) -> None:
    """After an interrupted merge, the same backup is not restored over a database in use."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    for database in databases(server, copy).values():
        database.create()
        put(database, {"_id": "mine"})
    with pytest.raises(_Killed):
        restore_backup(server, copy, [Backup(path)], merge=True, on_ready=lambda: next(_killing(0)))
    with pytest.raises(ProtectedError, match="is not empty"):
        restore_backup(server, copy, [Backup(path)])
    assert restore_backup(server, copy, [Backup(path)], merge=True).good


@ONE_MODEL
def test_restore_restores_empty_permissions(server: Server, target: Target, copy: Target, tmp_path: Path) -> None:
    """``{}`` lets everyone in, and is not what a new database has."""
    for database in databases(server, target).values():
        database.create()
    if not database.names_leaves:
        pytest.skip("PouchDB has no permissions")
    for database in databases(server, target).values():
        database.put_security({})
    path = back_up(server, target, tmp_path / "a.backup.zst").path
    restore_backup(server, copy, [Backup(path)])
    for database in databases(server, copy).values():
        assert settings(database)["_security"] == {}


# Interruptions


class _Killed(BaseException):
    """Simulates a killed process."""


def _killing(after: int) -> Iterator[None]:
    for _ in range(after):
        yield None
    raise _Killed


@ONE_MODEL
@pytest.mark.parametrize("after", [pytest.param(3, marks=THOROUGH), 6])
def test_backup_continues_after_an_interruption(
    server: Server, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """A killed backup resumes where it stopped, includes later changes, and ends complete."""
    monkeypatch.setattr("dataloader.archive.spool.RUN_SECONDS", 0)
    monkeypatch.setattr(backup_module, "PAGE_ROWS", 20)
    for database in databases(server, target).values():
        database.create()
        plant(database, [{"_id": f"{at:03}", "_rev": "1-a"} for at in range(100)])
    steps = _killing(after)
    path = tmp_path / "a.backup.zst"
    with pytest.raises(_Killed):
        back_up(server, target, path, on_progress=lambda *_: next(steps))
    assert not path.exists()
    for database in databases(server, target).values():
        put(database, {"_id": "late"})
        put(database, {**get(database, "001"), "value": "new"})
    result = back_up(server, target, path)
    assert result.resumed
    lines = [line for line in lines_of(path) if "_id" in line]
    assert len(lines) == 101 * len(target.model.databases)
    assert {line.get("value") for line in lines if line["_id"] == "001"} == {"new"}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


KILLED_WHEN_COMPLETE = """
import os, signal
from dataloader.common import files
files._sync_folder = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
from dataloader.cli import main
main()
"""


@ONE_MODEL
@pytest.mark.parametrize("where", ["a.backup.zst", "backups/"])
def test_next_backup_deletes_what_one_left_that_was_killed_when_complete(
    server: Server, varied: Target, on_target: list[str], credentials: dict[str, str], tmp_path: Path, where: str
) -> None:
    """The file has its name and is whole; the rest is deleted by whatever backup runs next, and never continued."""
    (tmp_path / "backups").mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHEN_COMPLETE, "backup", where, *on_target],
        check=False,
        cwd=tmp_path,
        env={**os.environ, **credentials},
    )
    assert killed.returncode == -signal.SIGKILL
    folder = (tmp_path / where).parent if where.endswith("zst") else tmp_path / where
    [path] = folder.glob("*.backup.zst")
    assert sum(Backup(path).check()) == Backup(path).header.leaves
    assert list(folder.glob(".*.partial"))
    if where.endswith("zst"):
        with pytest.raises(FileError, match="already exists"):
            back_up(server, varied, path)
        assert not list(folder.glob(".*"))
    else:
        assert not back_up(server, varied, folder, base=Backup(path)).resumed
    assert not list(folder.glob(".*"))


@THOROUGH
@ONE_MODEL
def test_document_with_many_leaves_is_read_and_written_in_parts(
    server: Server, target: Target, copy: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxied: Proxied
) -> None:
    """CouchDB takes minutes to return thousands of conflicts at once, or to add them in ascending order."""
    monkeypatch.setattr(backup_module, "LEAVES", 10)
    monkeypatch.setattr(import_module("dataloader.operations.restore"), "LEAVES", 10)
    monkeypatch.setattr("dataloader.couch.database.LEAVES", 10)
    [name, *_] = target.model.databases
    for database in databases(server, target).values():
        database.create()
    database = databases(server, target)[name]
    photo = {"photo": {"content_type": "image/png", "data": "iVBORw0KGgo="}}
    plant(
        database,
        [
            {"_id": "torn", "_rev": f"1-{at:032}", "value": at, "_attachments": photo, "_deleted": at % 2 == 0}
            for at in range(25)
        ],
    )
    asked: list[int] = []
    written: list[list[str]] = []

    def count(request: Request, forward: Forward) -> Reply:
        if "open_revs" in request.target:
            asked.append(request.target.count("1-0000"))
        if request.endpoint == "_bulk_docs" and request.data()["docs"]:
            written.append([each["_rev"] for each in request.data()["docs"]])
        return forward(request)

    through, _ = proxied(count)
    path = back_up(through, replace(target, address=through.address), tmp_path / "a.backup.zst").path
    if database.names_leaves:
        assert asked == [10, 10, 5]
    restore_backup(through, replace(copy, address=through.address), [Backup(path)])
    assert list(map(len, written)) == [10, 10, 5]
    revs = [rev for each in written for rev in each]
    assert revs == sorted(revs, reverse=True)
    assert agreed(server, lambda: everything(server, copy)) == everything(server, target)


@ONE_MODEL
@pytest.mark.parametrize("after", [pytest.param(0, marks=THOROUGH), 1])
def test_restore_continues_after_an_interruption(
    server: Server, varied: Target, copy: Target, tmp_path: Path, after: int
) -> None:
    """A killed restore is completed by the same command; another backup is refused until then."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    other = back_up(server, varied, tmp_path / "b.backup.zst").path
    steps = _killing(after)

    def progress(step: str, *_: object) -> None:
        if not step.startswith("checking"):
            next(steps)

    with pytest.raises(_Killed):
        restore_backup(server, copy, [Backup(path)], on_progress=progress)
    with pytest.raises(ProtectedError, match="part of another backup"):
        restore_backup(server, copy, [Backup(other)])
    assert restore_backup(server, copy, [Backup(path)]).good
    assert agreed(server, lambda: everything(server, copy)) == everything(server, varied)


@ONE_MODEL
def test_load_warns_if_a_restore_was_interrupted(
    run: Command, server: Server, varied: Target, copy: Target, tmp_path: Path
) -> None:
    """Cards work then, but without what their owners had changed."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path

    def interrupt() -> None:
        raise _Killed

    with pytest.raises(_Killed):
        restore_backup(server, copy, [Backup(path)], on_ready=interrupt)
    load = ("load", "--snapsets-only", "--prefix", copy.prefix, "--json")
    assert run(*load).data["warnings"] == [
        f"database {database.name}: a backup was being restored into it, and is not complete (run the same restore "
        "again: until then, cards lack what their owners had changed)"
        for database in databases(server, copy).values()
    ]
    assert restore_backup(server, copy, [Backup(path)]).good
    assert run(*load).data["warnings"] == []


@ONE_MODEL
def test_two_restores_at_once_are_an_error(
    server: Server, varied: Target, copy: Target, tmp_path: Path, proxied: Proxied
) -> None:
    """Of two backups that are restored into the same empty databases, one does not say that it is there."""
    one, other = (back_up(server, varied, tmp_path / f"{name}.backup.zst").path for name in ("one", "other"))
    begun: list[str] = []

    def restore_other(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and not begun:
            begun.append(request.path)
            assert restore_backup(server, copy, [Backup(other)]).good
        return forward(request)

    through, _ = proxied(restore_other)
    with pytest.raises(ProtocolError, match="now also holds another backup"):
        restore_backup(through, replace(copy, address=through.address), [Backup(one)])
    assert begun


@THOROUGH
@ONE_MODEL
def test_two_backups_to_one_file_at_once_are_refused(server: Server, varied: Target, tmp_path: Path) -> None:
    """The second one fails with a message, and the first one succeeds."""
    path = tmp_path / "a.backup.zst"
    refused: list[str] = []

    def second(*_: object) -> None:
        if not refused:
            with pytest.raises(FileError, match="another backup") as error:
                back_up(server, varied, path)
            refused.append(str(error.value))

    assert back_up(server, varied, path, on_progress=second).header.documents
    assert refused


@ONE_MODEL
def test_full_disk_leaves_no_partial_backup(
    server: Server, varied: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is one clear error, and there is no file under the final name."""
    real = os.fsync

    def no_room(descriptor: int) -> None:
        real(descriptor)
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.backup.zst"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_room)
        with pytest.raises(FileError, match="no space left"):
            back_up(server, varied, path)
    assert not path.exists()
    assert back_up(server, varied, path).header.documents


# Faults of the server and the network


@ONE_MODEL
def test_backup_and_restore_retry_faults(
    server: Server, varied: Target, copy: Target, tmp_path: Path, proxied: Proxied
) -> None:
    """Each request fails in one way or another, until it is repeated, and both backup and restore are complete."""
    seen = Counter[tuple[str, str, bytes]]()

    def fail_often(request: Request, forward: Forward) -> Reply:
        same = (request.method, request.target, request.body)
        seen[same] += 1
        if seen[same] % 2 == 0 or request.endpoint == "":
            return forward(request)
        kind = len(seen) % 4
        if kind == 0:
            raise Hangup
        if kind == 1:
            return Reply.json(503, {"error": "busy"})
        if kind == 2:
            forward(request)
            return Reply.json(500, {"error": "timeout"})
        reply = forward(request)
        return replace(reply, cut=len(reply.body) // 2)

    through, proxy = proxied(fail_often)
    path = back_up(through, replace(varied, address=through.address), tmp_path / "a.backup.zst").path
    result = restore_backup(through, replace(copy, address=through.address), [Backup(path)])
    assert result.good
    assert len(proxy.requests) > 20
    assert agreed(server, lambda: everything(server, copy)) == everything(server, varied)


@ONE_MODEL
def test_backup_never_loses_a_document_that_the_server_withholds(
    server: Server, varied: Target, tmp_path: Path, proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leaf that the changes feed lists but _bulk_get omits is requested again, and is then an error."""
    monkeypatch.setattr(backup_module, "_WAIT", 0)

    def withhold(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint != "_bulk_get":
            return reply
        results = [
            {**each, "docs": [doc for doc in each["docs"] if "value" not in doc.get("ok", {}) or each["id"] != "plain"]}
            for each in reply.data()["results"]
        ]
        return Reply.json(200, {"results": results})

    through, _ = proxied(withhold)
    with pytest.raises(UnreachableError, match="document plain"):
        back_up(through, replace(varied, address=through.address), tmp_path / "a.backup.zst")
    assert not (tmp_path / "a.backup.zst").exists()


@THOROUGH
@ONE_MODEL
def test_backup_reads_the_changes_feed_to_its_end(
    server: Server, varied: Target, tmp_path: Path, proxied: Proxied
) -> None:
    """A page that says that more follows is not the last one, however short."""

    def one_at_a_time(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_changes":
            request = replace(request, target=re.sub("limit=[0-9]+", "limit=1", request.target))
            reply = forward(request)
            data = reply.data()
            # PouchDB does not say how many follow.
            data.setdefault("pending", len(data["results"]))
            return Reply.json(200, data)
        return forward(request)

    through, _ = proxied(one_at_a_time)
    result = back_up(through, replace(varied, address=through.address), tmp_path / "a.backup.zst")
    assert result.header.leaves == len(VARIED) * len(varied.model.databases)


@ONE_MODEL
@pytest.mark.parametrize("incremental", [False, True])
def test_backup_notices_that_the_changes_feed_skips_documents(
    server: Server,
    varied: Target,
    tmp_path: Path,
    proxied: Proxied,
    monkeypatch: pytest.MonkeyPatch,
    *,
    incremental: bool,
) -> None:
    """The database says how many documents it has, and the first page how many follow."""
    if any(database.copies > 1 for database in databases(server, varied).values()):
        pytest.skip("each copy counts for itself")
    monkeypatch.setattr(backup_module, "FIRST_ROWS", 2)
    base = None
    skip = _skipping(first="0")
    if incremental:
        base = Backup(back_up(server, varied, tmp_path / "a.backup.zst").path)
        skip = _skipping(first=base.header.databases[0].sequence)
        for database in databases(server, varied).values():
            plant(database, [{"_id": f"new-{number}", "_rev": "1-a"} for number in range(5)])
    through, _ = proxied(skip)
    with pytest.raises(ProtocolError, match="its changes feed listed"):
        back_up(through, replace(varied, address=through.address), tmp_path / "b.backup.zst", base=base)
    assert not (tmp_path / "b.backup.zst").exists()


def _skipping(first: str) -> Hook:
    """Return a hook that leaves a change out of each page except the first; like CouchDB, it says how many follow.

    Args:
        first: the sequence that the first page starts after.
    """

    def skip(request: Request, forward: Forward) -> Reply:
        if request.endpoint != "_changes":
            return forward(request)
        data = forward(request).data()
        rest = forward(replace(request, target=re.sub("limit=[0-9]+", "limit=1000", request.target))).data()
        data["pending"] = len(rest["results"]) - len(data["results"])
        if parse_qs(urlsplit(request.target).query)["since"] != [first]:
            del data["results"][:1]
        return Reply.json(200, data)

    return skip


@ONE_MODEL
def test_restore_detects_a_leaf_that_the_server_lost(
    server: Server, varied: Target, copy: Target, tmp_path: Path, proxied: Proxied
) -> None:
    """A server that acknowledges a write and loses it is detected by the comparison."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path

    def lose(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs":
            body = request.data()
            body["docs"] = [each for each in body["docs"] if each["_id"] != "torn" or each.get("value") != "d"]
            request = replace(request, body=json.dumps(body).encode())
        return forward(request)

    through, _ = proxied(lose)
    result = restore_backup(through, replace(copy, address=through.address), [Backup(path)])
    assert not result.good
    assert {each.id for each in result.missing} == {"torn"}


@ONE_MODEL
def test_document_too_large_is_named(
    server: Server, varied: Target, copy: Target, tmp_path: Path, proxied: Proxied
) -> None:
    """A document that the server rejects as too large is named, and the others are restored."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path

    def refuse(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and b'"picture"' in request.body:
            return Reply.json(413, {"error": "too_large", "reason": "the request entity is too large"})
        return forward(request)

    through, _ = proxied(refuse)
    result = restore_backup(through, replace(copy, address=through.address), [Backup(path)])
    assert {each.id for each in result.failures} == {"picture"}
    assert result.missing_count == len(copy.model.databases)
    others = set(leaves_in(databases(server, copy)[copy.model.databases[0]]))
    assert others == {each["_id"] for each in VARIED} - {"picture"}


@ONE_MODEL
def test_restore_counts_a_rejected_document_once(
    server: Server, varied: Target, copy: Target, tmp_path: Path, proxied: Proxied, run: Command
) -> None:
    """It is named once, with the limit to raise, and not called missing, too; exit code 10."""
    path = back_up(server, varied, tmp_path / "a.backup.zst").path
    first = varied.model.databases[0]

    def refuse(request: Request, forward: Forward) -> Reply:
        if f"{copy.prefix}{first}/_bulk_docs" in request.path and b'"picture"' in request.body:
            return Reply.json(413, {"error": "document_too_large", "reason": "picture"})
        return forward(request)

    _, proxy = proxied(refuse)
    done = run("restore", path, "--prefix", copy.prefix, url=proxy.url)
    assert done.code == ExitCode.VERIFY
    assert ": 1 document missing\n" in done.stdout
    [warning, error] = [line for line in done.stderr.splitlines() if line.startswith(("warning: ", "error: "))]
    assert warning.startswith("warning: document picture: rejected by the server: POST ")
    assert warning.endswith(" (raise [couchdb] max_document_size in the server's configuration)")
    todo = "(correct what the server rejects, then run it again)"
    assert error == f"error: 1 document of the backup missing after the restore {todo}"


@ONE_MODEL
def test_backup_names_a_document_that_is_too_large(
    server: Server, varied: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One document with more attachments than a reply may have is an error that names it, with what to do."""
    database = databases(server, varied)[varied.model.databases[0]]
    data = b64encode(os.urandom(4_000)).decode()
    put(database, {"_id": "film", "_attachments": {"a": {"content_type": "video/ogg", "data": data}}})
    monkeypatch.setattr("dataloader.couch.session.most_bytes", lambda _: 3_000)
    monkeypatch.setattr("dataloader.couch.database.MAX_WITH_ATTACHMENTS", 3_000)
    with pytest.raises(TooLargeError, match=r"document film: has over .* \(remove attachments from it, or copy"):
        back_up(server, varied, tmp_path / "a.backup.zst")
    assert not (tmp_path / "a.backup.zst").exists()


def test_block_with_the_largest_document_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small documents before the largest one do not make a block too large for reading, nor do its conflicts."""
    largest = 5_000_000
    monkeypatch.setattr("dataloader.archive.frames.MAX_FRAME", largest + (MAX_FRAME - MAX_WITH_ATTACHMENTS))
    path = tmp_path / "a.backup.zst"
    lines = [b'{"_id":"a","v":"%s"}' % (b"x" * 999_000), *[b'{"_id":"b","v":"%s"}' % (b"x" * (largest - 20))] * 3]
    with path.open("wb") as stream, (tmp_path / "body").open("w+b") as body:
        writer = BodyWriter(body, None)
        counts = writer.write("gpii", grouped(lines))
        blocks, seal = writer.end()
        state = DatabaseState("gpii", "1", "", *counts)
        finish(
            stream,
            BackupHeader("2026-01-01T00:00:00Z", "", "", "", "", "", "", (state,), blocks=blocks, seal=seal),
            body,
            None,
        )
    assert list(Backup(path).documents("gpii")) == list(grouped(lines))


@THOROUGH
@ONE_MODEL
def test_reply_too_large_is_requested_in_parts(
    server: Server, varied: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large documents are requested in smaller batches, so that memory use stays low."""
    monkeypatch.setattr("dataloader.couch.session.most_bytes", lambda path: 900 if "_bulk_get" in path else 10**7)
    result = back_up(server, varied, tmp_path / "a.backup.zst")
    assert result.header.leaves == len(VARIED) * len(varied.model.databases)


@ONE_MODEL
@pytest.mark.parametrize("refused", ["_membership", "_sync_shards"])
def test_backup_of_a_cluster_by_a_non_admin_promises_less(
    server: Server, varied: Target, tmp_path: Path, proxied: Proxied, run: Command, refused: str
) -> None:
    """Without the right to let the nodes synchronize their copies, there is a backup, and the exit code tells."""
    nodes = ["couchdb@one", "couchdb@two", "couchdb@three"]

    def cluster(request: Request, forward: Forward) -> Reply:
        if request.path == f"/{refused}" or request.endpoint == refused:
            return Reply.json(401, {"error": "unauthorized", "reason": "You are not a server admin."})
        if request.path == "/_membership":
            return Reply.json(200, {"all_nodes": nodes, "cluster_nodes": nodes})
        reply = forward(request)
        if request.method == "GET" and request.endpoint == "" and request.path != "/":
            return Reply.json(200, {**reply.data(), "cluster": {"q": 2, "n": 3, "w": 2, "r": 2}})
        return reply

    through, proxy = proxied(cluster)
    result = back_up(through, replace(varied, address=through.address), tmp_path / "a.backup.zst")
    assert result.synchronized is None
    done = run("backup", tmp_path / "b.backup.zst", "--json", url=proxy.url)
    assert (done.code, done.data["synchronized"]) == (ExitCode.NODES, None)
    assert "only a server admin" in done.data["error"]
    assert Backup(tmp_path / "b.backup.zst").header.leaves == result.header.leaves > 0


# The command line


@ONE_MODEL
def test_backup_and_restore_on_the_command_line(
    run: Command, server: Server, varied: Target, copy: Target, tmp_path: Path
) -> None:
    """Each prints its result, as text and JSON."""
    password = tmp_path / "password"
    password.write_text("sesame\n")
    password.chmod(0o600)
    folder = tmp_path / "backups"
    assert run("backup", f"{folder}/", "--password-file", password).code == ExitCode.OK
    assert [path.name.endswith(".backup.zst") for path in folder.iterdir()] == [True], "a slash makes a folder"
    made = run("backup", tmp_path / "a.backup.zst", "--password-file", password, "--json")
    assert made.code == ExitCode.OK, made.stderr
    assert made.data["leaves"] == len(VARIED) * len(varied.model.databases)
    restored = run("restore", tmp_path / "a.backup.zst", "--password-file", password, "--prefix", copy.prefix)
    assert restored.code == ExitCode.OK, restored.stderr
    assert "every revision is there" in restored.stdout
    assert everything(server, copy) == everything(server, varied)


@ONE_MODEL
def test_restore_into_production_asks(
    run_here: Command, server: Server, varied: Target, copy: Target, tmp_path: Path
) -> None:
    """Without a terminal it is refused, and nothing is written; so is a restore that may reactivate revoked cards."""
    path = back_up(server, replace(varied, environment=Environment.PRODUCTION), tmp_path / "a.backup.zst").path
    there = ["--prefix", copy.prefix, "--environment", "production"]
    bare = run_here("restore", path, *there)
    assert bare.code == ExitCode.USAGE
    assert "revoked since the backup would work again" in bare.stderr
    refused = run_here("restore", path, *there, "--no-revocations")
    assert refused.code == ExitCode.USAGE
    where = f"{copy.address.url} (production, {copy.model.name}, prefix {copy.prefix})"
    assert f" into {where}: refusing to continue without confirmation" in refused.stderr
    assert not any(database.exists() for database in databases(server, copy).values())
    done = run_here("restore", path, *there, "--no-revocations", "--yes")
    assert done.code == ExitCode.OK, done.stderr
