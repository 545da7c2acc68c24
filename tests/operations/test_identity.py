"""A database that somebody recreates or restores while a command works on it: never exit code 0."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dataloader.archive import Backup
from dataloader.batch import Manifest
from dataloader.common import ProtectedError, ProtocolError
from dataloader.couch import Server
from dataloader.operations import all_sources, back_up, generate, load, restore, restore_backup, revoke, verify
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.backups import copy
from tests.support.marks import ONE_MODEL
from tests.support.proxy import Forward, Hook, Reply, Request
from tests.support.records import write_snapsets
from tests.support.server import Proxied, databases

__all__ = ["copy"]

pytestmark = ONE_MODEL

# For a moment, CouchDB may not find a database that has just been recreated.
MESSAGE = r"was recreated or restored while .*run it again|find out who deleted it, then run it again"


@pytest.fixture
def snapsets(tmp_path: Path) -> Snapsets:
    """A folder with one snapset."""
    return write_snapsets(tmp_path / "snapsets", {"large": 18})


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """A batch of three cards."""
    return generate("few", {"large": 3}, tmp_path).manifest


def at_the_end(action: Callable[[], object], after: str) -> Hook:
    """Return a hook that does something once, just before a command asks for the databases at its end.

    Args:
        action: what to do.
        after: the last kind of request before that.
    """
    seen = [False, False]

    def hook(request: Request, forward: Forward) -> Reply:
        if request.endpoint.startswith(after):
            seen[0] = True
        elif seen == [True, False] and not request.endpoint and request.method == "GET" and request.database[0] != "_":
            seen[1] = True
            action()
        return forward(request)

    return hook


def recreated(server: Server, target: Target) -> Callable[[], None]:
    """Return a function that recreates a target's databases, empty."""

    def act() -> None:
        for database in databases(server, target).values():
            database.delete()
            database.create()

    return act


@pytest.fixture
def loaded(server: Server, target: Target, manifest: Manifest, snapsets: Snapsets) -> None:
    """The batch is loaded."""
    load(server, target, all_sources(target, [manifest], snapsets))


@pytest.mark.usefixtures("loaded")
def test_verify_and_revoke_end_with_an_error(
    server: Server, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied
) -> None:
    """The cards that were read or revoked are gone, so saying that they are well would be wrong."""
    cards = list(manifest.cards())
    through, _ = proxied(at_the_end(recreated(server, target), "_all_docs"))
    with pytest.raises(ProtocolError, match=MESSAGE):
        verify(through, target, [manifest], snapsets, exactly=0)
    load(server, target, all_sources(target, [manifest], snapsets))
    through, _ = proxied(at_the_end(recreated(server, target), "_bulk_docs"))
    with pytest.raises(ProtocolError, match=MESSAGE):
        revoke(through, target, manifest, cards, "lost")
    revoke(server, target, manifest, cards, "lost")
    through, _ = proxied(at_the_end(recreated(server, target), "_bulk_docs"))
    with pytest.raises(ProtocolError, match=MESSAGE):
        restore(through, target, manifest, cards, snapsets=snapsets)


@pytest.mark.usefixtures("loaded")
def test_restore_does_not_call_itself_complete(
    server: Server, target: Target, copy: Target, proxied: Proxied, tmp_path: Path
) -> None:
    """A restore whose database was recreated after the comparison can simply be run again."""
    path = tmp_path / "a.backup.zst"
    back_up(server, target, path)
    through, _ = proxied(at_the_end(recreated(server, copy), "_design"))
    with pytest.raises(ProtocolError, match=MESSAGE):
        restore_backup(through, copy, [Backup(path)])
    assert restore_backup(server, copy, [Backup(path)]).good


@pytest.mark.usefixtures("loaded")
def test_state_from_before_a_revocation_is_noticed(
    server: Server, target: Target, manifest: Manifest, proxied: Proxied
) -> None:
    """A backup of the last night may have as many updates as the database had when the revocation began."""
    if max(each.copies for each in databases(server, target).values()) > 1:
        pytest.skip("each copy counts its own updates, and another one may answer")
    begun = {each.name: each.update_seq() for each in databases(server, target).values()}
    written = set()

    def hook(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint == "_bulk_docs":
            written.add(request.database)
        elif request.database in written and not request.endpoint and request.method == "GET":
            if begun[request.database] < 0:
                return Reply.json(200, {**reply.data(), "update_seq": str(-begun[request.database])})
            # The writes are seen once.
            begun[request.database] *= -1
        return reply

    through, _ = proxied(hook)
    with pytest.raises(ProtocolError, match=MESSAGE):
        revoke(through, target, manifest, [*manifest.cards()], "lost")


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("undo", [False, True])
def test_database_marked_as_production_meanwhile_is_not_changed(
    server: Server, target: Target, manifest: Manifest, proxied: Proxied, *, undo: bool
) -> None:
    """The environment is read again with every batch of cards."""
    cards = list(manifest.cards())
    if undo:
        revoke(server, target, manifest, cards, "lost")
    before = {each.name: each.update_seq() for each in databases(server, target).values()}

    def mark(request: Request, forward: Forward) -> Reply:
        if request.method == "GET" and request.database.endswith("auth") and not request.endpoint:
            for each in databases(server, target).values():
                each.put_local("dataloader", {**each.local("dataloader"), "environment": "production"})
        return forward(request)

    through, _ = proxied(mark)
    with pytest.raises(ProtectedError):
        _ = restore(through, target, manifest, cards) if undo else revoke(through, target, manifest, cards, "lost")
    assert {each.name: each.update_seq() for each in databases(server, target).values()} == before
