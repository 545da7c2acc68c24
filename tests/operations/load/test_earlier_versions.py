"""Stored content that a load may replace: what loads wrote, whatever its revision, and nothing by users."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dataloader.archive import Backup
from dataloader.batch import Manifest
from dataloader.common import ExitCode, UsageError
from dataloader.couch import Database, Server
from dataloader.operations import (
    LoadOptions,
    LoadResult,
    Outcome,
    VerifyVerdict,
    all_sources,
    back_up,
    generate,
    load,
    plan,
    restore_backup,
    verify,
)
from dataloader.records import Snapsets
from dataloader.replication import State, version_digest
from dataloader.target import Target, add_versions, read_marker
from tests.support.backups import plant
from tests.support.command import Command
from tests.support.marks import EACH_MODEL, KEY_MODEL, ONE_MODEL, TOKEN_MODEL
from tests.support.records import FONT_SIZE, Place, access_of, flat, preferences_of, write_snapsets
from tests.support.server import databases, delete, get, put

CARDS = 3
Bring = Callable[..., LoadResult]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Snapsets]:
    """Three versions of a snapset, the newest last."""
    folder = tmp_path_factory.mktemp("snapsets")
    return [write_snapsets(folder / f"version-{size}", {"large": size}) for size in (18, 20, 22)]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of three cards that start with the snapset."""
    return generate("few", {"large": CARDS}, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def place(target: Target, few: Manifest) -> Place:
    """The location of the preference set of the batch's first card."""
    return preferences_of(target.model.name, next(few.cards()).uuid)


@pytest.fixture
def database(server: Server, target: Target, place: Place) -> Database:
    """The database of the preference sets."""
    return databases(server, target)[place.database]


@pytest.fixture
def bring(server: Server, target: Target, few: Manifest) -> Bring:
    """Load the cards with a version of the snapset, without the views."""

    def bring(snapsets: Snapsets, **options: bool) -> LoadResult:
        *sources, _ = all_sources(target, [few], snapsets)
        return load(server, target, sources, LoadOptions(**options))

    return bring


def change(database: Database, doc_id: str, size: float) -> None:
    """Edit a preference set as a Preferences Server does."""
    document = get(database, doc_id)
    flat(document)[FONT_SIZE] = size
    put(database, document)


def truncate(database: Database, doc_id: str, size: float | None = None) -> None:
    """Make a document look like with ``_revs_limit`` 1: a leaf of a later generation, without a history."""
    document = get(database, doc_id)
    if size is not None:
        flat(document)[FONT_SIZE] = size
    for leaf in database.leaves([doc_id])[doc_id]:
        database._resource.post("_purge", body={doc_id: [leaf["_rev"]]})
    generation = int(document["_rev"].partition("-")[0]) + 1
    document |= {"_rev": f"{generation}-{'c' * 32}", "_revisions": {"start": generation, "ids": ["c" * 32]}}
    assert database.write([json.dumps(document).encode()]) == []


@EACH_MODEL
def test_updated_documents_can_be_updated_again(
    bring: Bring, versions: list[Snapsets], database: Database, place: Place
) -> None:
    """The server chooses the revision of an update, so it proves nothing; the content is still recognized."""
    bring(versions[0])
    for version, size in zip(versions[1:], (20, 22), strict=True):
        assert bring(version, update=True).count(Outcome.UPDATED) == 1 + CARDS
        assert flat(get(database, place.id))[FONT_SIZE] == size
        again = bring(version)
        assert again.count(Outcome.UNCHANGED) == again.documents


@ONE_MODEL
def test_content_decides_if_there_is_no_history(
    server: Server, bring: Bring, versions: list[Snapsets], database: Database, few: Manifest, target: Target
) -> None:
    """With ``_revs_limit`` 1, an edited set is edited, not foreign, and an unedited one is updated."""
    if server.welcome().product != "CouchDB":
        pytest.skip("this server can't purge")
    bring(versions[0])
    bring(versions[1], update=True)
    edited, untouched, _ = (preferences_of(target.model.name, card.uuid).id for card in few.cards())
    truncate(database, edited, 40)
    truncate(database, untouched)

    result = bring(versions[2], update=True)

    assert (result.count(Outcome.EDITED), result.count(Outcome.FOREIGN)) == (1, 0)
    assert result.count(Outcome.UPDATED) == 1 + CARDS - 1
    assert flat(get(database, edited))[FONT_SIZE] == 40
    assert flat(get(database, untouched))[FONT_SIZE] == 22


@ONE_MODEL
def test_set_that_was_changed_back_is_updated(
    bring: Bring, versions: list[Snapsets], database: Database, place: Place
) -> None:
    """Its owner loses nothing: the content is exactly that of a load."""
    bring(versions[0])
    change(database, place.id, 40)
    assert bring(versions[1], update=True).count(Outcome.EDITED) == 1
    change(database, place.id, 18)
    assert bring(versions[1], update=True).count(Outcome.UPDATED) == 1


@ONE_MODEL
def test_database_without_a_record_keeps_what_it_cannot_prove(
    bring: Bring, versions: list[Snapsets], database: Database, place: Place
) -> None:
    """A replica has no record of versions: first revisions prove themselves, everything else counts as edited."""
    bring(versions[0])
    change(database, place.id, 20)
    database._resource.delete(["_local", "dataloader"], rev=get(database, "_local/dataloader")["_rev"])
    result = bring(versions[2], update=True)
    assert (result.count(Outcome.EDITED), result.count(Outcome.UPDATED)) == (1, 1 + CARDS - 1)
    assert flat(get(database, place.id))[FONT_SIZE] == 20


@ONE_MODEL
def test_older_snapset_does_not_roll_back(
    server: Server, target: Target, few: Manifest, bring: Bring, versions: list[Snapsets]
) -> None:
    """A colleague's older folder is reported by plan and load, and refused with --update unless requested."""
    bring(versions[0])
    bring(versions[1], update=True)
    old = all_sources(target, [few], versions[0])
    assert plan(server, target, old).older_snapsets == ["large"]
    assert bring(versions[0]).older_snapsets == ["large"]
    with pytest.raises(UsageError, match=r"snapset large: is older .*--older-snapsets"):
        bring(versions[0], update=True)
    assert bring(versions[1]).older_snapsets == []

    result = bring(versions[0], update=True, older_snapsets=True)

    assert result.count(Outcome.UPDATED) == 1 + CARDS
    # From now on it is the last loaded version.
    assert bring(versions[0], update=True).older_snapsets == []
    assert bring(versions[1]).older_snapsets == ["large"]


class TestSnapsetsOfOthers:
    """A snapset's own document that GPII's loader or others have deleted or overwritten."""

    @pytest.mark.parametrize("how", ["deleted", "overwritten", "made anew"])
    @KEY_MODEL
    def test_snapset_is_restored_if_servers_refuse_edits(
        self, bring: Bring, versions: list[Snapsets], database: Database, target: Target, how: str
    ) -> None:
        """In gpii-key, no user can have changed a snapset, so every load restores ours; exit code 0."""
        meddle(bring, versions, database, target, how)
        result = bring(versions[0])
        assert (result.count(Outcome.UPDATED), result.needs_attention) == (1, 0)
        assert flat(get(database, preferences_of(target.model.name, "large").id))[FONT_SIZE] == 18

    @pytest.mark.parametrize("how", ["deleted", "overwritten", "made anew"])
    @TOKEN_MODEL
    def test_snapset_waits_for_replace_snapsets(
        self, bring: Bring, versions: list[Snapsets], database: Database, target: Target, how: str
    ) -> None:
        """In gpii-token it is kept until --replace-snapsets; cards and users are not affected."""
        meddle(bring, versions, database, target, how)
        assert bring(versions[0]).count(Outcome.UPDATED) == 0
        result = bring(versions[0], replace_snapsets=True)
        assert (result.count(Outcome.UPDATED), result.needs_attention) == (1, 0)
        assert result.count(Outcome.UNCHANGED) == result.documents - 1
        assert flat(get(database, "large"))[FONT_SIZE] == 18


def meddle(bring: Bring, versions: list[Snapsets], database: Database, target: Target, how: str) -> None:
    """Load, then change the snapset's own document as another loader would."""
    doc_id = preferences_of(target.model.name, "large").id
    if how == "made anew":
        database.create()
        wanted = flat_document(target, 14)
        put(database, {**wanted, "_id": doc_id})
        return
    bring(versions[0])
    if how == "deleted":
        delete(database, doc_id)
    else:
        change(database, doc_id, 14)


def flat_document(target: Target, size: float) -> dict[str, Any]:
    """Return a snapset's document as another loader might have written it."""
    preferences = {"flat": {"contexts": {"gpii-default": {"name": "Default", "preferences": {FONT_SIZE: size}}}}}
    return {"value": preferences} if target.model.name == "gpii-token" else {"preferences": preferences}


@EACH_MODEL
def test_refused_update_asks_no_question(
    server: Server, target: Target, few: Manifest, versions: list[Snapsets], run_here: Command
) -> None:
    """What would be refused anyway needs no confirmation."""
    for snapsets in versions[:2]:
        load(server, target, all_sources(target, [few], snapsets), LoadOptions(update=True))
    done = run_here("load", few.path, "--snapsets", versions[0].folder, "--update")
    assert done.code == ExitCode.USAGE
    assert done.stderr.startswith("error: snapset large: is older than the version loaded last, ")


def test_one_command_takes_over_another_loaders_database(
    server: Server, target: Target, few: Manifest, versions: list[Snapsets], run_here: Command
) -> None:
    """Views and snapsets written by GPII's loader are replaced, exit code 0; a user's set is kept."""
    place = preferences_of(target.model.name, next(few.cards()).uuid)
    name = target.model.databases[-1]
    for database in databases(server, target).values():
        database.create()
    there = databases(server, target)
    views = {"language": "javascript", "views": {"findOther": {"map": "function (doc) { emit(doc._id, 1); }"}}}
    put(there[name], {"_id": "_design/views", **views})
    snapset = preferences_of(target.model.name, "large")
    put(there[snapset.database], {**flat_document(target, 14), "_id": snapset.id})
    persons = {**flat_document(target, 40), "_id": place.id}
    put(there[place.database], persons)

    options = ("--replace-snapsets", "--replace-views", "--update", "--yes", "--json")
    done = run_here("load", "--snapsets-only", "--snapsets", versions[0].folder, *options)

    assert (done.code, done.data["updated"], done.data["foreign"]) == (0, 2, 0)
    assert flat(get(there[snapset.database], snapset.id))[FONT_SIZE] == 18
    assert "findOther" not in get(there[name], "_design/views")["views"]
    stored = get(there[place.database], place.id)
    assert {**persons, "_rev": stored["_rev"]} == stored


@EACH_MODEL
def test_snapsets_missing_in_the_folder_are_reported(
    server: Server, target: Target, few: Manifest, bring: Bring, versions: list[Snapsets], tmp_path: Any
) -> None:
    """Plan and load name a snapset that an earlier load wrote and the folder no longer contains."""
    more = write_snapsets(tmp_path / "more", {"large": 18, "retired": 30})
    bring(more)
    sources = all_sources(target, [few], versions[0])
    assert plan(server, target, sources).unlisted_snapsets == ["retired"]
    assert bring(versions[0]).unlisted_snapsets == ["retired"]
    assert bring(more).unlisted_snapsets == []


class TestEarlierVersion:
    """A database loaded by an earlier version of this tool, with tokens that name users, and users."""

    @pytest.fixture
    def users(self, server: Server, target: Target, few: Manifest, bring: Bring, versions: list[Snapsets]) -> Database:
        """The database of tokens and users; one user was edited."""
        bring(versions[0])
        database = databases(server, target)["auth"]
        for number, card in enumerate(few.cards()):
            token = get(database, access_of(target.model.name, card.uuid).id)
            put(database, {**token, "userId": f"user-{card.uuid}"})
            user = {"_id": f"user-{card.uuid}", "type": "user", "defaultGpiiToken": card.uuid}
            put(database, {**user, "name": "carla"} if number == 0 else user)
        return database

    @TOKEN_MODEL
    def test_update_migrates_earlier_tokens(
        self,
        users: Database,
        few: Manifest,
        bring: Bring,
        versions: list[Snapsets],
        server: Server,
        target: Target,
    ) -> None:
        """Tokens are outdated until --update; then users are deleted, except an edited one, which is reported."""
        marker = get(users, "_local/dataloader")
        # An earlier version recorded only the environment; its tokens' revisions proved themselves.
        old = {**get(users, access_of(target.model.name, next(few.cards()).uuid).id)}
        digests = [version_digest({key: value for key, value in old.items() if key != "_rev"})]
        put(users, {**marker, "versions": {"card gpiiToken": [*digests, *marker["versions"]["card gpiiToken"]]}})

        *sources, _ = all_sources(target, [few], versions[0])
        planned = plan(server, target, sources)
        assert planned.states["auth"]["gpiiToken"] == {State.OUTDATED: CARDS}
        assert planned.states["auth"]["user"] == {State.OUTDATED: CARDS - 1, State.FOREIGN: 1}
        before = bring(versions[0])
        assert before.outcomes["auth"]["gpiiToken"] == {Outcome.OUTDATED: CARDS}
        assert before.outcomes["auth"]["user"] == {Outcome.OUTDATED: CARDS - 1, Outcome.FOREIGN: 1}

        result = bring(versions[0], update=True)

        assert result.outcomes["auth"]["gpiiToken"][Outcome.UPDATED] == CARDS
        assert result.outcomes["auth"]["user"][Outcome.REMOVED] == CARDS - 1
        for number, card in enumerate(few.cards()):
            assert get(users, access_of(target.model.name, card.uuid).id)["userId"] is None
            there = [
                leaf for leaf in users.leaves([f"user-{card.uuid}"])[f"user-{card.uuid}"] if "_deleted" not in leaf
            ]
            assert len(there) == (number == 0)
        assert State.OUTDATED not in plan(server, target, sources).states["auth"].get("user", {})
        again = bring(versions[0], update=True)
        assert again.outcomes["auth"]["gpiiToken"][Outcome.UNCHANGED] == CARDS


@ONE_MODEL
def test_verify_recognizes_an_updated_set(
    server: Server, target: Target, few: Manifest, versions: list[Snapsets]
) -> None:
    """The server chose its revision; with newer snapsets, verify calls the set outdated, not edited."""
    load(server, target, all_sources(target, [few], versions[0]))
    load(server, target, all_sources(target, [few], versions[1]), LoadOptions(update=True))
    assert verify(server, target, [few], versions[2]).verdicts == {VerifyVerdict.OUTDATED: CARDS}


@EACH_MODEL
def test_update_after_a_merge_recognises_what_was_outdated(
    server: Server,
    target: Target,
    bring: Bring,
    versions: list[Snapsets],
    database: Database,
    place: Place,
    tmp_path: Path,
) -> None:
    """Documents that a merge restores are outdated, not edited: the database remembers the backup's versions, too."""
    bring(versions[0])
    bring(versions[1], update=True)
    backup = Backup(back_up(server, target, tmp_path / "a.backup.zst").path)
    for name in target.model.databases:
        server.database(target.database(name)).delete()
    *sources, _ = all_sources(target, [generate("other", {"large": 2}, tmp_path).manifest], versions[2])
    load(server, target, sources)
    restore_backup(server, target, [backup], merge=True)
    newest = read_marker(database).versions
    result = bring(versions[2], update=True)
    assert (result.count(Outcome.EDITED), result.older_snapsets) == (0, [])
    assert result.count(Outcome.UPDATED) == CARDS
    assert flat(get(database, place.id))[FONT_SIZE] == 22
    assert read_marker(database).versions == newest


@ONE_MODEL
@pytest.mark.parametrize("is_deleted", [False, True])
@pytest.mark.parametrize("update", [False, True])
def test_merge_restores_what_an_owner_did_to_a_set_that_was_loaded_again(
    server: Server,
    target: Target,
    bring: Bring,
    versions: list[Snapsets],
    database: Database,
    place: Place,
    tmp_path: Path,
    *,
    update: bool,
    is_deleted: bool,
) -> None:
    """After a loss, cards are loaded again first, with newer snapsets; an owner's edit or deletion still wins."""
    bring(versions[0])
    if is_deleted:
        delete(database, place.id)
    else:
        change(database, place.id, 40)
    backup = Backup(back_up(server, target, tmp_path / "a.backup.zst").path)
    for name in target.model.databases:
        server.database(target.database(name)).delete()
    bring(versions[0 if update else 1])
    if update:
        bring(versions[1], update=True)

    assert restore_backup(server, target, [backup], merge=True).good

    live = [each for each in database.leaves([place.id])[place.id] if not each.get("_deleted")]
    assert [flat(each)[FONT_SIZE] for each in live] == ([] if is_deleted else [40])
    result = bring(versions[1])
    assert result.count(Outcome.DELETED if is_deleted else Outcome.EDITED) == 1
    assert result.count(Outcome.UNCHANGED) == result.documents - 1


@ONE_MODEL
def test_merge_keeps_a_set_whose_first_revisions_are_unknown(
    server: Server,
    target: Target,
    bring: Bring,
    versions: list[Snapsets],
    database: Database,
    place: Place,
    tmp_path: Path,
) -> None:
    """With a small ``_revs_limit``, an owner who took an edit back looks like a load; the edit must not return."""
    bring(versions[0])
    loaded = get(database, place.id)
    change(database, place.id, 40)
    backup = Backup(back_up(server, target, tmp_path / "a.backup.zst").path)
    for name in target.model.databases:
        server.database(target.database(name)).delete()
    bring(versions[0])
    rev = f"3-{'b' * 32}"
    plant(database, [{**loaded, "_rev": rev, "_revisions": {"start": 3, "ids": ["b" * 32]}}])

    restore_backup(server, target, [backup], merge=True)

    assert get(database, place.id)["_rev"] == rev


@pytest.mark.parametrize(
    ("living", "restored", "merged"),
    [
        ([], ["a", "b"], ["a", "b"]),
        # The backup is older, and knows of another version.
        (["b", "c"], ["a", "b"], ["a", "b", "c"]),
        (["a", "b"], ["b", "a"], ["a", "b"]),
        # The backup continues from what the database has.
        (["a", "b"], ["b", "c"], ["a", "b", "c"]),
        # They know nothing of each other.
        (["c"], ["a", "b"], ["a", "b", "c"]),
    ],
)
@ONE_MODEL
def test_merged_versions_keep_their_order(
    server: Server, target: Target, living: list[str], restored: list[str], merged: list[str]
) -> None:
    """The newest version of a database in use stays the newest, unless the backup continues from it."""
    database = server.database(target.database(target.model.databases[0]))
    database.create()
    database.put_local("dataloader", {"environment": "ci", "versions": {"snapset x": living, "own": ["z"]}})
    add_versions(database, {"snapset x": restored, "new": ["y"]})
    assert read_marker(database).versions == {"snapset x": tuple(merged), "own": ("z",), "new": ("y",)}
