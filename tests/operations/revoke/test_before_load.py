"""Revoking cards before they are loaded."""

from pathlib import Path

import pytest

from dataloader.batch import Card, Manifest
from dataloader.common import ExitCode, ProtectedError, ProtocolError, UsageError, explain
from dataloader.couch import Server
from dataloader.operations import (
    CardOutcome,
    LoadOptions,
    RevokeOutcome,
    Source,
    generate,
    load,
    restore,
    revoke,
)
from dataloader.operations import Outcome as LoadOutcome
from dataloader.records import Snapsets
from dataloader.target import Environment, Target, read_marker
from tests.support.command import Command
from tests.support.marks import TOKEN_MODEL
from tests.support.records import Place, access_of
from tests.support.revoking import CARDS, at, contents, counts, is_revoked, leaves, once, plain, writes
from tests.support.server import Proxied, databases, get, sequences


class TestNotLoaded:
    """Cards that have not been loaded yet."""

    @pytest.mark.usefixtures("empty")
    @pytest.mark.parametrize("update", [False, True])
    def test_later_load_keeps_the_card_revoked(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        documents: list[Source],
        sets: Snapsets,
        *,
        update: bool,
    ) -> None:
        """The load writes nothing that makes it work; once restored, the card is as if it had been loaded."""
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.BARRED: 1}
        stood = sequences(server, target)
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}
        assert sequences(server, target) == stood

        result = load(server, target, documents, LoadOptions(update=update))

        assert result.needs_attention == 0
        assert result.count(LoadOutcome.CREATED) == result.documents - len(places)
        assert all(is_revoked(server, target, place) for place in places)
        if target.model.name == "gpii-key":
            assert explain("gpii-key/gpiiKey", plain(get(at(server, target, places[0]), cards[1].uuid))) == []
        else:
            for place in places:
                [tombstone] = leaves(server, target, place, live=False)
                assert explain("common/tombstone", {**plain(tombstone), "_deleted": True}) == []
        assert counts(restore(server, target, few, cards, snapsets=sets)) == {
            RevokeOutcome.RESTORED: 1,
            RevokeOutcome.NOT_REVOKED: CARDS - 1,
        }
        result = load(server, target, documents)
        assert result.count(LoadOutcome.UNCHANGED) == result.documents

    @TOKEN_MODEL
    @pytest.mark.usefixtures("empty")
    def test_restore_requires_the_snapset(
        self, server: Server, target: Target, few: Manifest, cards: list[Card]
    ) -> None:
        """Nothing was loaded, so nothing was kept."""
        revoke(server, target, few, cards[1:2], "lost")
        told: list[CardOutcome] = []
        restore(server, target, few, cards[1:2], on_outcome=told.append)
        reason = "its preference set was never loaded; name the folder of its snapset with --snapsets"
        assert told == [CardOutcome(cards[1], RevokeOutcome.FAILED, reason)]
        assert is_revoked(server, target, access_of(target.model.name, cards[1].uuid))

    @pytest.mark.usefixtures("empty")
    def test_undo_does_not_create_what_never_existed(
        self, server: Server, target: Target, few: Manifest, cards: list[Card]
    ) -> None:
        """It is no way to load a card."""
        stood = sequences(server, target)
        assert counts(restore(server, target, few, cards)) == {RevokeOutcome.NOT_LOADED: CARDS}
        assert (sequences(server, target), contents(server, target)) == (stood, {name: {} for name in stood})

    @pytest.mark.usefixtures("empty")
    @pytest.mark.parametrize("first", ["load", "revocation"])
    def test_concurrent_load_does_not_create_the_card(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        documents: list[Source],
        sets: Snapsets,
        proxied: Proxied,
        first: str,
    ) -> None:
        """Both have found nothing; whichever writes first, the card is revoked, without a conflict."""
        way_in = access_of(target.model.name, cards[1].uuid)
        if first == "load":
            through, _ = proxied(once(writes, before=lambda: load(server, target, documents)))
            revoke(through, target, few, cards[1:2], "lost", snapsets=sets)
        else:
            hook = once(
                lambda request: writes(request, way_in),
                before=lambda: revoke(server, target, few, cards[1:2], "lost", snapsets=sets),
            )
            through, _ = proxied(hook)
            load(through, target, documents)
        contents(server, target)
        assert is_revoked(server, target, way_in)
        load(server, target, documents, LoadOptions(update=True))
        assert is_revoked(server, target, way_in)
        restore(server, target, few, cards[1:2], snapsets=sets)
        assert load(server, target, documents).count(LoadOutcome.UNCHANGED) == sum(each.count for each in documents)

    def test_target_without_databases_is_an_error(
        self, server: Server, target: Target, few: Manifest, cards: list[Card]
    ) -> None:
        """A wrong prefix or address is reported as such, and no database is created."""
        name = target.database(target.model.databases[0])
        rule = rf"database {name}: does not exist \(load the target first"
        with pytest.raises(ProtocolError, match=rule):
            revoke(server, target, few, cards, "lost")
        with pytest.raises(ProtocolError, match=rule):
            restore(server, target, few, cards)
        assert not server.database(name).exists()

    def test_seeded_batch_is_refused_in_production(self, server: Server, target: Target, tmp_path: Path) -> None:
        """As with every command; no request is made."""
        manifest = generate("seeded", {"empty": 2}, tmp_path, seed=1).manifest
        production = Target(target.address, target.model, Environment.PRODUCTION, target.prefix)
        with pytest.raises(ProtectedError, match=r"reproducible batch seeded"):
            revoke(server, production, manifest, list(manifest.cards()), "lost")

    @pytest.mark.usefixtures("empty")
    def test_environment_is_recorded(self, server: Server, target: Target, few: Manifest, run_here: Command) -> None:
        """The first environment is recorded; a less protected one is refused, a more protected one is a warning."""
        arguments = ("revoke", few.path, "--card", "2", "--reason", "lost", "--yes")
        assert run_here(*arguments).code == ExitCode.OK
        assert {read_marker(each).environment for each in databases(server, target).values()} == {Environment.CI}
        done = run_here(*arguments, "--environment", "development")
        assert (done.code, done.stdout) == (ExitCode.PROTECTED, "")
        done = run_here(*arguments, "--environment", "production", "--json")
        assert (done.code, done.data["already_revoked"]) == (ExitCode.OK, 1)
        assert done.data["raised"] == dict.fromkeys(map(target.database, target.model.databases), "ci")
        assert "was loaded as ci" in done.stderr
        assert {read_marker(each).environment for each in databases(server, target).values()} == {
            Environment.PRODUCTION
        }

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "two\nlines", "a\x1b[31m"])
    def test_reason_must_be_one_line(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], reason: str
    ) -> None:
        """It is shown to people later."""
        with pytest.raises(UsageError, match="--reason: must be one line of 1 to 500 characters"):
            revoke(server, target, few, cards, reason)
