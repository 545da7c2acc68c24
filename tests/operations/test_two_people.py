"""A restore from the view of two users: one logged in an hour ago, one a minute ago.

The documents are those that an authorization server writes at run time.
"""

import fcntl
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dataloader.archive import Backup
from dataloader.batch import (
    Card,
    Manifest,
    note_restored,
    note_revoked,
    one_at_a_time,
    read_revocations,
    revocations,
    revocations_path,
)
from dataloader.common import ExitCode
from dataloader.couch import Database, Server
from dataloader.operations import Source, back_up, generate, restore, restore_backup, revocations_of, revoke_again
from dataloader.target import Environment, Target
from tests.support.backups import plant
from tests.support.command import Command
from tests.support.loading import plant_load
from tests.support.locks import use_flock
from tests.support.marks import EACH_MODEL, ONE_MODEL
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied, agreed, databases, get, put

CLIENT: dict[str, dict[str, Any]] = {
    "gpii-token": {
        "_id": "gpiiAppInstallationClient-1",
        "type": "gpiiAppInstallationClient",
        "name": "Library",
        "oauth2ClientId": "library",
        "oauth2ClientSecret": "secret",
        "userId": None,
    },
    "gpii-key": {
        "_id": "clientCredential-1",
        "type": "clientCredential",
        "schemaVersion": "0.2",
        "clientId": "gpiiAppInstallationClient-1",
        "oauth2ClientId": "library",
        "oauth2ClientSecret": "secret",
        "revoked": False,
    },
}
FIND_CARD = {"gpii-token": "findGpiiToken", "gpii-key": "findPrefsSafeByGpiiKey"}
FIND_TOKEN = {"gpii-token": "findAuthorizationByAccessToken", "gpii-key": "findInfoByAccessToken"}


def token(target: Target, name: str, card: Card) -> dict[str, Any]:
    """Return the document written by a log-in."""
    key = {"gpiiToken": card.uuid} if target.model.name == "gpii-token" else {"gpiiKey": card.uuid}
    return {
        "_id": f"gpiiAppInstallationAuthorization-{name}",
        "type": "gpiiAppInstallationAuthorization",
        "clientId": "gpiiAppInstallationClient-1",
        "clientCredentialId": "clientCredential-1",
        **key,
        "accessToken": name,
        "revoked": False,
        "timestampExpires": "2018-03-28T13:00:00.000Z",
    }


def login_database(server: Server, target: Target) -> Database:
    """Return the database that the authorization server writes to."""
    return databases(server, target)["auth" if target.model.name == "gpii-token" else "gpii"]


def find(server: Server, target: Target, view: str, key: str) -> list[Any]:
    """Query as the authorization server does."""
    path = ["_design", "views", "_view", view]

    def ask() -> list[Any]:
        reply = login_database(server, target)._resource.get(path, key=json.dumps(key))
        return list(json.loads(reply[2].read())["rows"])

    return agreed(server, ask)


def lose(server: Server, target: Target) -> None:
    """Delete the databases."""
    for database in databases(server, target).values():
        database.delete()


def lose_card(run_here: Command, manifest: Manifest, card: Card) -> None:
    """Revoke a card on the command line."""
    done = run_here("revoke", manifest.path, "--card", str(card.number), "--reason", "lost", "--yes")
    assert done.code == ExitCode.OK, done.stderr


@pytest.fixture
def loaded(server: Server, target: Target, sources: list[Source]) -> Target:
    """A target with a batch and a site's client."""
    plant_load(server, target, sources)
    put(login_database(server, target), CLIENT[target.model.name])
    return target


@EACH_MODEL
def test_user_logged_in_before_the_backup_stays_logged_in(
    server: Server, loaded: Target, manifest: Manifest, tmp_path: Path
) -> None:
    """After the restore the token works, and the user notices nothing."""
    card = next(iter(manifest.cards()))
    put(login_database(server, loaded), token(loaded, "an-hour-ago", card))
    backup = Backup(back_up(server, loaded, tmp_path / "a.backup.zst").path)
    lose(server, loaded)
    restore_backup(server, loaded, [backup])
    [row] = find(server, loaded, FIND_TOKEN[loaded.model.name], "an-hour-ago")
    assert row["value"]["authorization"]["accessToken"] == "an-hour-ago"


@EACH_MODEL
def test_user_logged_in_after_the_backup_logs_in_again(
    server: Server, loaded: Target, manifest: Manifest, tmp_path: Path
) -> None:
    """The token is gone; card and client are found, and a new token is accepted."""
    card = next(iter(manifest.cards()))
    backup = Backup(back_up(server, loaded, tmp_path / "a.backup.zst").path)
    put(login_database(server, loaded), token(loaded, "a-minute-ago", card))
    lose(server, loaded)
    restore_backup(server, loaded, [backup])
    assert find(server, loaded, FIND_TOKEN[loaded.model.name], "a-minute-ago") == []
    assert len(find(server, loaded, FIND_CARD[loaded.model.name], card.uuid)) == 1
    assert len(find(server, loaded, "findClientByOauth2ClientId", "library")) == 1
    put(login_database(server, loaded), token(loaded, "anew", card))
    assert len(find(server, loaded, FIND_TOKEN[loaded.model.name], "anew")) == 1


# Revoked cards


@EACH_MODEL
def test_restore_keeps_lost_cards_revoked(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest, tmp_path: Path
) -> None:
    """A card revoked after the backup is revoked again, as listed next to the manifest."""
    lost, other, *_ = manifest.cards()
    path = tmp_path / "a.backup.zst"
    back_up(server, loaded, path)
    view = FIND_CARD[loaded.model.name]
    lose_card(run_here, manifest, lost)
    revoked = find(server, loaded, view, lost.uuid)
    assert [each.card for each in read_revocations(manifest)] == [lost]
    lose(server, loaded)
    done = run_here("restore", path, "--batches", manifest.path.parent)
    assert done.code == ExitCode.OK, done.stderr
    assert "revoked 1 card again, as listed next to the manifests" in done.stdout
    after = find(server, loaded, view, lost.uuid)
    assert [row["value"] for row in after if loaded.model.name == "gpii-token"] == []
    assert len(after) == len(revoked)
    assert len(find(server, loaded, view, other.uuid)) == 1
    undone = run_here("revoke", manifest.path, "--card", str(lost.number), "--undo", "--yes")
    assert undone.code == ExitCode.OK
    assert read_revocations(manifest) == []


@EACH_MODEL
def test_restore_names_cards_that_were_found_after_the_backup(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest, tmp_path: Path
) -> None:
    """A card that is revoked in the backup and was restored since does not work; another one that was lost stays so."""
    lost, found, *_ = manifest.cards()
    lose_card(run_here, manifest, lost)
    lose_card(run_here, manifest, found)
    path = tmp_path / "a.backup.zst"
    back_up(server, loaded, path)
    undo = ("revoke", manifest.path, "--card", str(found.number), "--undo", "--yes")
    assert run_here(*undo).code == ExitCode.OK
    lose(server, loaded)
    done = run_here("restore", path, "--batches", manifest.path.parent)
    assert done.code == ExitCode.ATTENTION
    assert (
        f"warning: card {found.number} of batch spring: revoked in the backup, but restored since, according to "
        f"{revocations_path(manifest)} (`dataloader revoke {manifest.path} --card {found.number} --undo`)"
    ) in done.stderr
    assert "error: 1 card needs a decision: found since the backup, and revoked in it" in done.stderr
    assert f"card {lost.number} " not in done.stderr
    assert run_here(*undo).code == ExitCode.OK
    assert run_here("restore", path, "--merge", "--batches", manifest.path.parent).code == ExitCode.OK


@EACH_MODEL
def test_cards_are_revoked_again_before_views_exist(
    server: Server, loaded: Target, manifest: Manifest, tmp_path: Path
) -> None:
    """While the documents of a lost card are live, the design document does not exist."""
    lost = next(iter(manifest.cards()))
    backup = Backup(back_up(server, loaded, tmp_path / "a.backup.zst").path)
    note_revoked(manifest, [lost], "lost", loaded.environment)
    lose(server, loaded)
    seen: list[bool] = []

    def ready() -> None:
        seen.append("_design/views" in _ids(login_database(server, loaded)))
        assert revoke_again(server, loaded, [manifest]) == (1, 0)

    restore_backup(server, loaded, [backup], on_ready=ready)
    assert seen == [False]
    assert "_design/views" in _ids(login_database(server, loaded))


@ONE_MODEL
@pytest.mark.parametrize("size", [0, 300])
def test_list_that_is_cut_off_is_a_warning(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest, tmp_path: Path, size: int
) -> None:
    """A crash may have cut it off before a card was revoked, but a copy may lack any number of cards."""
    cards = list(manifest.cards())[:3]
    back_up(server, loaded, tmp_path / "a.backup.zst")
    note_revoked(manifest, cards, "lost", loaded.environment)
    path = revocations_path(manifest)
    path.write_bytes(path.read_bytes()[:size])
    assert len(read_revocations(manifest)) < len(cards)
    lose(server, loaded)
    said = f"warning: {path}: is empty, or its last line is cut off and does not count (if it is a copy, copy it again)"
    assert said in run_here("restore", tmp_path / "a.backup.zst", "--batches", manifest.path.parent).stderr
    assert said in run_here("load", manifest.path).stderr
    note_revoked(manifest, cards, "lost", loaded.environment)
    assert said not in run_here("load", manifest.path).stderr


@EACH_MODEL
def test_restore_revokes_cards_that_are_revoked_meanwhile(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest, tmp_path: Path, proxied: Proxied
) -> None:
    """A card that is added to the list while documents are written does not work afterwards."""
    lost, other, *_ = manifest.cards()
    path = tmp_path / "a.backup.zst"
    back_up(server, loaded, path)
    view = FIND_CARD[loaded.model.name]
    working = [row["value"] for row in find(server, loaded, view, lost.uuid)]
    lose(server, loaded)
    noted: list[Card] = []

    def revoke_meanwhile(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and not noted:
            noted.append(lost)
            note_revoked(manifest, noted, "lost", loaded.environment)
        return forward(request)

    through, _ = proxied(revoke_meanwhile)
    done = run_here("restore", path, "--batches", manifest.path.parent, url=through.address.url)
    assert done.code == ExitCode.OK, done.stderr
    assert noted
    assert [row["value"] for row in find(server, loaded, view, lost.uuid)] != working
    assert len(find(server, loaded, view, other.uuid)) == 1


@EACH_MODEL
def test_merge_revokes_cards_before_it_restores_them(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest, tmp_path: Path, proxied: Proxied
) -> None:
    """In a database in use, where the views exist already, a lost card does not work for a moment."""
    lost, other, *_ = manifest.cards()
    path = tmp_path / "a.backup.zst"
    back_up(server, loaded, path)
    view = FIND_CARD[loaded.model.name]
    working = [row["value"] for row in find(server, loaded, view, lost.uuid)]
    designs = {
        name: [get(database, doc_id) for doc_id in _ids(database) if doc_id.startswith("_design/")]
        for name, database in databases(server, loaded).items()
    }
    lose(server, loaded)
    for name, database in databases(server, loaded).items():
        database.create()
        plant(database, designs[name])
    note_revoked(manifest, [lost], "lost", loaded.environment)
    seen: list[object] = []
    looked: list[str] = []

    def look(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint == "_bulk_docs":
            seen.extend(row["value"] for row in find(server, loaded, view, lost.uuid))
            looked.append(request.path)
        return reply

    through, _ = proxied(look)
    done = run_here("restore", path, "--merge", "--batches", manifest.path.parent, url=through.address.url)
    assert done.code == ExitCode.OK, done.stderr
    assert len(looked) > 1
    assert working[0] not in seen
    assert len(find(server, loaded, view, other.uuid)) == 1


def _ids(database: Database) -> set[str]:
    return {row["id"] for row in json.loads(database._resource.get("_all_docs")[2].read())["rows"]}


@EACH_MODEL
def test_revocation_in_ci_does_not_affect_production(target: Target, manifest: Manifest) -> None:
    """A card revoked in a ci target is revoked in ci targets, and works in production."""
    card, other, *_ = manifest.cards()
    note_revoked(manifest, [card], "a test", "ci")
    note_revoked(manifest, [other], "lost", "production")

    def listed(environment: Environment) -> list[Card]:
        found = revocations_of(replace(target, environment=environment), [manifest])
        return [each.card for _, revocations in found for each in revocations]

    assert listed(Environment.PRODUCTION) == [other]
    assert listed(Environment.CI) == [card, other]


@EACH_MODEL
def test_load_after_a_loss_keeps_cards_revoked(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest
) -> None:
    """Loading the manifest again does not reactivate a revoked card."""
    lost = next(iter(manifest.cards()))
    lose_card(run_here, manifest, lost)
    revoked = find(server, loaded, FIND_CARD[loaded.model.name], lost.uuid)
    lose(server, loaded)
    done = run_here("load", manifest.path)
    assert done.code == ExitCode.OK, done.stderr
    after = find(server, loaded, FIND_CARD[loaded.model.name], lost.uuid)
    assert len(after) == len(revoked)
    checked = run_here("verify", manifest.path, "--json")
    assert checked.data["verdicts"]["revoked"] == 1


@EACH_MODEL
def test_verify_finds_listed_cards_that_work(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest, sources: list[Source]
) -> None:
    """A volume snapshot from before the revocation was restored, and knows nothing of it; a load revokes it again."""
    lost, other, *_ = manifest.cards()
    lose_card(run_here, manifest, lost)
    lose(server, loaded)
    plant_load(server, loaded, sources)
    note_revoked(manifest, [other], "a test", "development")
    report = manifest.path.with_name("verify.html")
    checked = run_here("verify", manifest.path, "--report", report, "--json")
    assert checked.code == ExitCode.VERIFY
    assert "1 revoked card works." in report.read_text()
    assert (checked.data["verdicts"]["revoked"], checked.data["revoked_but_working"]) == (0, 1)
    assert checked.data["error"] == "1 revoked card works (load the batch: that revokes what is on the list)"
    assert any(f"card {lost.number}: works, but is on the list" in each for each in checked.data["warnings"])
    never_loaded = generate("other", {"empty": 1}, manifest.path.parent).manifest.path
    assert run_here("verify", manifest.path, never_loaded).stderr.splitlines()[-1] == (
        "error: 1 revoked card works (load the batch: that revokes what is on the list); "
        "1 card would not work (load the missing cards that came back encoded)"
    )
    assert run_here("load", manifest.path).code == ExitCode.OK
    checked = run_here("verify", manifest.path, "--json")
    assert (checked.code, checked.data["revoked_but_working"]) == (ExitCode.OK, 0)


@EACH_MODEL
def test_load_does_not_revoke_a_card_that_was_restored_meanwhile(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest, proxied: Proxied
) -> None:
    """A card is found after a load has read the list, and before it revokes the listed cards."""
    lost = next(iter(manifest.cards()))
    view = FIND_CARD[loaded.model.name]
    working = [row["value"] for row in find(server, loaded, view, lost.uuid)]
    lose_card(run_here, manifest, lost)
    found: list[Card] = []

    def find_it(request: Request, forward: Forward) -> Reply:
        if not found:
            found.append(lost)
            with one_at_a_time(manifest):
                restore(server, loaded, manifest, found)
                note_restored(manifest, found, loaded.environment)
        return forward(request)

    through, _ = proxied(find_it)
    done = run_here("load", manifest.path, url=through.address.url)
    assert done.code == ExitCode.OK, done.stderr
    assert found
    assert [without_rev(row["value"]) for row in find(server, loaded, view, lost.uuid)] == list(
        map(without_rev, working)
    )


@EACH_MODEL
def test_load_revokes_cards_that_are_revoked_before_a_database_is_recreated(
    run_here: Command, server: Server, loaded: Target, manifest: Manifest, proxied: Proxied
) -> None:
    """The load starts again in the new database, which does not know that the card was revoked."""
    lost, other, *_ = manifest.cards()
    view = FIND_CARD[loaded.model.name]
    working = [row["value"] for row in find(server, loaded, view, lost.uuid)]
    lose(server, loaded)
    noted: list[Card] = []

    def recreate(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and not noted:
            noted.append(lost)
            note_revoked(manifest, noted, "lost", loaded.environment)
            lose(server, loaded)
        return forward(request)

    through, _ = proxied(recreate)
    done = run_here("load", manifest.path, url=through.address.url)
    assert done.code == ExitCode.OK, done.stderr
    assert noted
    assert [row["value"] for row in find(server, loaded, view, lost.uuid)] != working
    assert len(find(server, loaded, view, other.uuid)) == 1


@ONE_MODEL
def test_revoking_again_waits_for_other_commands(
    server: Server, loaded: Target, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another command restores a card, its list still names the card."""
    card = next(iter(manifest.cards()))
    note_revoked(manifest, [card], "lost", loaded.environment)
    waiting = Event()

    def lock(file: Any, how: int) -> None:
        if isinstance(file, int):
            waiting.set()
        fcntl.flock(file, how)

    with ThreadPoolExecutor(1) as pool:
        with one_at_a_time(manifest):
            use_flock(monkeypatch, revocations, lock)
            again = pool.submit(revoke_again, server, loaded, [manifest])
            assert waiting.wait(60)
            note_restored(manifest, [card], loaded.environment)
        assert again.result(60) == (0, 0)


def without_rev(value: Any) -> Any:
    """Return the value of a view without revisions."""
    if isinstance(value, dict):
        return {name: without_rev(each) for name, each in value.items() if name != "_rev"}
    return value
