"""Merges of a backup with loads, owners' edits and revocations at the worst moment.

A batch is loaded, an owner edits a set, and the databases are lost. The batch is loaded again with a newer snapset,
and then the backup is merged: the owner's edit replaces what the load wrote. Something else happens just before or
after a given request of the merge.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import couchdb.http
import pytest

from dataloader.archive import Backup
from dataloader.common import DataloaderError, ProtectedError
from dataloader.operations import Outcome, RestoreResult, back_up, restore, restore_backup, revoke
from dataloader.operations.restore import KeptDocument
from tests.support.loading import Scene
from tests.support.marks import EACH_MODEL, ONE_MODEL, THOROUGH
from tests.support.proxy import Forward, Hangup, Hook, Reply, Request
from tests.support.records import FONT_SIZE, flat
from tests.support.revoking import compact, is_revoked
from tests.support.server import get, put

OWNERS = 40
"""The font size in the backup, which the owner chose."""
LATER = 50
"""The font size that the owner chooses during the merge."""

Meanwhile = Callable[[Scene], object]


def restores(scene: Scene, request: Request) -> bool:
    """Return whether a request writes the owner's set from the backup."""
    return _writes(scene, request) and request.data().get("new_edits") is False


def replaces(scene: Scene, request: Request) -> bool:
    """Return whether a request deletes what a load wrote."""
    return _writes(scene, request) and request.data().get("new_edits") is not False


def _writes(scene: Scene, request: Request) -> bool:
    return request.endpoint == "_bulk_docs" and any(each["_id"] == scene.place.id for each in request.data()["docs"])


MOMENTS = [
    pytest.param(restores, False, id="before-restored"),
    pytest.param(restores, True, id="after-restored", marks=THOROUGH),
    pytest.param(replaces, False, id="before-replaced"),
    pytest.param(replaces, True, id="after-replaced", marks=THOROUGH),
]


@pytest.fixture
def backup(scene: Scene, tmp_path: Path) -> Backup:
    """A backup of an edited set; then a loss, and a load of the next version."""
    scene.load(0)
    scene.change(OWNERS)
    path = back_up(scene.server, scene.target, tmp_path / "a.backup.zst").path
    for database in scene.databases.values():
        database.delete()
    scene.load(1)
    return Backup(path)


def merge_while(
    scene: Scene, backup: Backup, matches: Callable[[Scene, Request], bool], meanwhile: Meanwhile, *, after: bool
) -> RestoreResult:
    """Merge a backup; something happens just before or after the first request that matches."""
    waiting = [True]

    def hook(request: Request, forward: Forward) -> Reply:
        now = waiting[0] and matches(scene, request)
        waiting[0] = waiting[0] and not now
        if now and not after:
            meanwhile(scene)
        reply = forward(request)
        if now and after:
            meanwhile(scene)
        return reply

    result = merge(scene, backup, hook)
    assert not waiting[0]
    return result


def merge(scene: Scene, backup: Backup, hook: Hook) -> RestoreResult:
    """Merge a backup through a proxy."""
    through, _ = scene.proxied(hook)
    return restore_backup(through, scene.target, [backup], merge=True)


def ids(found: Sequence[KeptDocument]) -> list[str]:
    """Return the IDs of documents in a result."""
    return [each.id for each in found]


@ONE_MODEL
@pytest.mark.parametrize(("matches", "after"), MOMENTS)
@pytest.mark.parametrize("update", [False, True])
def test_load_beside_a_merge_leaves_the_owners_set(
    scene: Scene, backup: Backup, matches: Callable[[Scene, Request], bool], *, after: bool, update: bool
) -> None:
    """Whatever a load writes meanwhile gives way to the owner's edit in the backup."""
    result = merge_while(scene, backup, matches, lambda scene: scene.load(2, update=update), after=after)
    assert [flat(each)[FONT_SIZE] for each in scene.live().values()] == [OWNERS]
    assert result.good
    assert scene.place.id not in ids(result.kept) + ids(result.conflicts)
    assert scene.load(2).repaired == 0


@ONE_MODEL
@pytest.mark.parametrize(("matches", "after"), MOMENTS)
def test_owner_who_saw_the_loaded_set_beside_a_merge(
    scene: Scene, backup: Backup, matches: Callable[[Scene, Request], bool], *, after: bool
) -> None:
    """An edit of the loaded set that the server acknowledges wins, and the merge reports it."""
    shown = scene.stored()
    flat(shown)[FONT_SIZE] = LATER
    acknowledged: list[str] = []

    def edit(scene: Scene) -> None:
        with suppress(couchdb.http.ResourceConflict):
            acknowledged.append(put(scene.database, shown))

    result = merge_while(scene, backup, matches, edit, after=after)
    assert bool(acknowledged) == (matches is restores or not after)
    assert [flat(each)[FONT_SIZE] for each in scene.live().values()] == [LATER if acknowledged else OWNERS]
    assert result.good
    assert (scene.place.id in ids(result.kept)) == bool(acknowledged)
    assert scene.load(1).count(Outcome.EDITED) == 1


@ONE_MODEL
def test_edits_of_both_sets_are_a_conflict(scene: Scene, backup: Backup) -> None:
    """One owner on two computers edits the loaded set and the restored one: both edits stay, and it is reported."""
    shown = scene.stored()
    flat(shown)[FONT_SIZE] = LATER

    def edit_both(scene: Scene) -> None:
        put(scene.database, shown)
        restored = next(each for each in scene.live().values() if flat(each)[FONT_SIZE] == OWNERS)
        put(scene.database, {**restored, "note": "edited"})

    result = merge_while(scene, backup, replaces, edit_both, after=False)
    assert ids(result.conflicts) == [scene.place.id]
    assert (result.good, scene.place.id in ids(result.kept)) == (True, False)
    assert sorted(flat(each)[FONT_SIZE] for each in scene.live().values()) == [OWNERS, LATER]
    assert scene.load(1).count(Outcome.CONFLICT) == 1


@ONE_MODEL
@pytest.mark.parametrize("compacted", [False, True])
def test_owner_who_took_an_edit_back_keeps_the_set(scene: Scene, backup: Backup, *, compacted: bool) -> None:
    """After the loss, the owner changes the loaded set and changes it back: that is newer than the backup."""
    size = scene.size()
    scene.change(LATER)
    rev = scene.change(size)
    if compacted:
        compact(scene.database)
    result = restore_backup(scene.server, scene.target, [backup], merge=True)
    assert list(scene.live()) == [rev]
    assert scene.place.id in ids(result.kept)


@ONE_MODEL
def test_sets_that_were_updated_twice_give_way(scene: Scene, backup: Backup) -> None:
    """Every revision before the stored one is a load's, too."""
    scene.load(0, update=True, older_snapsets=True)
    scene.load(2, update=True)
    assert scene.stored()["_rev"].startswith("3-")
    restore_backup(scene.server, scene.target, [backup], merge=True)
    assert [flat(each)[FONT_SIZE] for each in scene.live().values()] == [OWNERS]


@ONE_MODEL
def test_set_whose_revocation_was_undone_gives_way(scene: Scene, backup: Backup) -> None:
    """A card is lost and found after the loss of the databases: nobody has edited its set since."""
    found = [each for each in scene.batch.cards() if each.uuid == scene.uuid]
    revoke(scene.server, scene.target, scene.batch, found, "lost")
    restore(scene.server, scene.target, scene.batch, found)
    assert scene.stored()["_rev"].startswith("3-")
    restore_backup(scene.server, scene.target, [backup], merge=True)
    assert [flat(each)[FONT_SIZE] for each in scene.live().values()] == [OWNERS]


@ONE_MODEL
def test_interrupted_merge_continues(scene: Scene, backup: Backup) -> None:
    """A merge that stopped between the restored set and the deletion of the loaded one deletes it the next time."""

    def fail(request: Request, forward: Forward) -> Reply:
        if replaces(scene, request):
            raise Hangup
        return forward(request)

    with pytest.raises(DataloaderError):
        merge(scene, backup, fail)
    assert len(scene.live()) == 2
    assert restore_backup(scene.server, scene.target, [backup], merge=True).good
    assert [flat(each)[FONT_SIZE] for each in scene.live().values()] == [OWNERS]


@ONE_MODEL
@pytest.mark.parametrize("at_once", [False, True])
def test_interrupted_merge_continues_after_another_one(
    scene: Scene, backup: Backup, tmp_path: Path, *, at_once: bool
) -> None:
    """Also if the other one began before it, and ended afterwards."""
    other = Backup(back_up(scene.server, scene.target, tmp_path / "other.backup.zst").path)

    def fail(request: Request, forward: Forward) -> Reply:
        if replaces(scene, request):
            raise Hangup
        return forward(request)

    waiting = [True]

    def interrupted() -> None:
        if waiting.pop():
            with pytest.raises(DataloaderError):
                merge(scene, backup, fail)
            assert len(scene.live()) == 2
        waiting.append(False)

    if at_once:
        assert restore_backup(scene.server, scene.target, [other], merge=True, on_ready=interrupted).good
    else:
        interrupted()
        assert restore_backup(scene.server, scene.target, [other], merge=True).good
    assert restore_backup(scene.server, scene.target, [backup], merge=True).good
    assert [flat(each)[FONT_SIZE] for each in scene.live().values()] == [OWNERS]


@ONE_MODEL
def test_newer_backup_can_be_merged_afterwards(scene: Scene, tmp_path: Path) -> None:
    """The deletion of what a load wrote is nobody's change: the next backup still updates the set."""
    scene.load(0)
    scene.change(OWNERS)
    backups = [Backup(back_up(scene.server, scene.target, tmp_path / "a.backup.zst").path)]
    scene.change(LATER)
    backups += [Backup(back_up(scene.server, scene.target, tmp_path / "b.backup.zst").path)]
    for database in scene.databases.values():
        database.delete()
    scene.load(1)
    for backup, size in zip(backups, (OWNERS, LATER), strict=True):
        result = restore_backup(scene.server, scene.target, [backup], merge=True)
        assert [flat(each)[FONT_SIZE] for each in scene.live().values()] == [size]
        assert scene.place.id not in ids(result.kept)


@THOROUGH
@EACH_MODEL
@pytest.mark.parametrize(("matches", "after"), MOMENTS)
def test_card_revoked_during_a_merge_stays_revoked(
    scene: Scene, backup: Backup, matches: Callable[[Scene, Request], bool], *, after: bool
) -> None:
    """Whenever it is revoked, no leaf lets it in."""
    lost = next(each for each in scene.batch.cards() if each.uuid == scene.uuid)

    def lose(scene: Scene) -> None:
        revoke(scene.server, scene.target, scene.batch, [lost], "lost")

    result = merge_while(scene, backup, matches, lose, after=after)
    assert result.good
    assert is_revoked(scene.server, scene.target, scene.access)
    scene.load(1)
    assert is_revoked(scene.server, scene.target, scene.access)


@ONE_MODEL
def test_database_marked_as_production_while_it_is_created_is_not_restored_into(scene: Scene, backup: Backup) -> None:
    """Its record and its permissions stay as they are."""
    for database in scene.databases.values():
        database.delete()

    def mark(scene: Scene) -> None:
        put(scene.database, {"_id": "_local/dataloader", "environment": "production"})

    def creates(scene: Scene, request: Request) -> bool:
        return request.method == "PUT" and request.path == f"/{scene.database.name}"

    with pytest.raises(ProtectedError, match="holds production data"):
        merge_while(scene, backup, creates, mark, after=True)
    assert get(scene.database, "_local/dataloader")["environment"] == "production"
    assert not scene.live()
