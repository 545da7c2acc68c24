"""Revoking cards: that they stop working and stay so, and that they come back with everything they had."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import pytest

from dataloader.batch import Card, Manifest
from dataloader.common import ExitCode, ProtectedError, ProtocolError, UnreachableError, UsageError, explain
from dataloader.couch import Database, Server
from dataloader.operations import (
    CardOutcome,
    RevokeOutcome,
    RevokeResult,
    Source,
    VerifyVerdict,
    all_sources,
    generate,
    load,
    restore,
    revoke,
    verify,
)
from dataloader.operations import Outcome as LoadOutcome
from dataloader.operations.revoke import ROUNDS
from dataloader.records import Snapsets
from dataloader.records.models import get_model
from dataloader.target import Environment, Target, remembered
from tests.support.command import Command
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.proxy import Forward, Hangup, Hook, Reply, Request
from tests.support.records import FONT_SIZE, Json, Place, access_of, flat, preferences_of, write_snapsets
from tests.support.server import Proxied, agreed, databases, delete, get, put, sequences, snapshot

CARDS = 5
LIMIT = 60.0
"""Seconds after which a test that waits for something has failed."""


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """One snapset."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "large", {"large": 18})


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of five cards that start with the snapset."""
    return generate("few", {"large": CARDS}, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def cards(few: Manifest) -> list[Card]:
    """The cards of the batch."""
    return list(few.cards())


@pytest.fixture
def documents(target: Target, few: Manifest, sets: Snapsets) -> list[Source]:
    """The sources of a load without the views, whose indexes take longest."""
    *sources, _ = all_sources(target, [few], sets)
    return sources


@pytest.fixture
def empty(server: Server, target: Target) -> None:
    """The databases are there, and no card in them."""
    for database in databases(server, target).values():
        database.create()


@pytest.fixture
def loaded(server: Server, target: Target, documents: list[Source], empty: None) -> None:
    """The batch is there as it was loaded, without views."""
    for source in documents:
        database = databases(server, target)[source.database]
        assert database.write([each.write() for each in source.prepared()]) == []


@pytest.fixture
def start(
    process: Callable[..., Any], target: Target, on_target: list[str], credentials: dict[str, str]
) -> Callable[..., Any]:
    """Start a command on the test's target as a process of its own: ``start("revoke", path, url=proxy.url)``."""

    def start(*arguments: object, url: str = target.address.url, **options: Any) -> Any:
        on = (url if option == target.address.url else option for option in on_target)
        return process(*arguments, *on, env=credentials, **options)

    return start


@pytest.fixture
def places(target: Target, cards: list[Card]) -> list[Place]:
    """Where the documents of the second card are that revoking it concerns, what lets it in first."""
    key = cards[1].uuid
    return [access_of(target.model.name, key)]


def at(server: Server, target: Target, place: Place) -> Database:
    """Return the database that a document is in."""
    return databases(server, target)[place.database]


def plain(document: Json) -> Json:
    """Return a document without its revision."""
    return {name: value for name, value in document.items() if name == "_id" or not name.startswith("_")}


def contents(server: Server, target: Target) -> dict[str, dict[str, Json]]:
    """Return every document that is live, without its revision, and see that none is in conflict."""
    found = snapshot(server, target)
    assert not any("_conflicts" in each for documents in found.values() for each in documents.values())
    return {name: {doc_id: plain(each) for doc_id, each in documents.items()} for name, documents in found.items()}


def leaves(server: Server, target: Target, place: Place, *, live: bool) -> list[Json]:
    """Return a document's leaves that are, or are not, live."""
    found = at(server, target, place).leaves([place.id])[place.id]
    return [leaf for leaf in found if bool(leaf.get("_deleted")) != live]


def is_revoked(server: Server, target: Target, place: Place) -> bool:
    """Tell whether no version of a document lets a card in."""
    return all(leaf.get("revoked") for leaf in leaves(server, target, place, live=True))


def change(server: Server, target: Target, place: Place, rev: str | None = None, **members: Any) -> Json:
    """Change members of a document, as somebody at a console does; return what it says then."""
    database = at(server, target, place)
    document = {**get(database, place.id, **({} if rev is None else {"rev": rev})), **members}
    put(database, document)
    return plain(document)


def counts(result: RevokeResult) -> dict[RevokeOutcome, int]:
    """Return the outcomes that have come up."""
    return {outcome: count for outcome, count in result.outcomes.items() if count}


def compact(database: Database) -> None:
    """Have the server throw away what it keeps of revisions that are no leaves."""
    database._resource.post("_compact", body={})
    deadline = time.monotonic() + LIMIT
    while (database.info() or {}).get("compact_running"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def once(matches: Callable[[Request], bool], *, before: Callable[[], object]) -> Hook:
    """Return a hook that does something just before the first request of a kind."""
    lock = Lock()
    waiting = [True]

    def hook(request: Request, forward: Forward) -> Reply:
        with lock:
            now = waiting[0] and matches(request)
            waiting[0] = waiting[0] and not now
        if now:
            before()
        return forward(request)

    return hook


def writes(request: Request, place: Place | None = None) -> bool:
    """Tell whether a request writes documents, or one of that place."""
    return request.endpoint == "_bulk_docs" and (
        place is None or any(each["_id"] == place.id for each in request.data()["docs"])
    )


@pytest.mark.usefixtures("loaded")
class TestRevoking:
    """Cards that have been loaded."""

    @TOKEN_MODEL
    def test_token_and_user_are_deleted_and_kept_in_their_tombstones(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """They are gone; what they were, why and when stands in what is left; nothing else is touched."""
        before = contents(server, target)

        result = revoke(server, target, few, cards[1:2], "  lost on the way ")

        assert counts(result) == {RevokeOutcome.REVOKED: 1}
        after = contents(server, target)
        for place in places:
            was = before[place.database].pop(place.id)
            [tombstone] = leaves(server, target, place, live=False)
            assert explain("common/tombstone", {**plain(tombstone), "_deleted": True}) == []
            assert (tombstone["document"], tombstone["revokedReason"]) == (was, "lost on the way")
            assert tombstone["_revisions"]["start"] == 2
        assert after == before

    @KEY_MODEL
    def test_a_key_is_marked(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """It says that it is revoked, why and when, and is otherwise as it was; nothing else is touched."""
        before = contents(server, target)

        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}

        after = contents(server, target)
        [place] = places
        was, key = before[place.database].pop(place.id), after[place.database].pop(place.id)
        assert explain("gpii-key/gpiiKey", key) == []
        assert key["timestampUpdated"] > was["timestampCreated"]
        assert key == {**was, "revoked": True, "revokedReason": "lost", "timestampUpdated": key["timestampUpdated"]}
        assert after == before

    def test_revoking_again_writes_nothing(
        self, server: Server, target: Target, few: Manifest, cards: list[Card]
    ) -> None:
        """A second time changes no document, not even its reason or time, and is told as such."""
        revoke(server, target, few, cards[:2], "lost")
        before = snapshot(server, target), sequences(server, target)
        assert counts(revoke(server, target, few, cards[:2], "stolen")) == {RevokeOutcome.ALREADY_REVOKED: 2}
        assert (snapshot(server, target), sequences(server, target)) == before
        result = revoke(server, target, few, cards[:3], "stolen")
        assert counts(result) == {RevokeOutcome.ALREADY_REVOKED: 2, RevokeOutcome.REVOKED: 1}

    def test_each_card_is_told(self, server: Server, target: Target, few: Manifest, cards: list[Card]) -> None:
        """What became of each card, in their order; and how far it has come."""
        told: list[CardOutcome] = []
        progress: list[tuple[str, int, int]] = []
        revoke(
            server,
            target,
            few,
            cards[1:3],
            "lost",
            on_outcome=told.append,
            on_progress=lambda *each: progress.append(each),
        )
        assert told == [CardOutcome(card, RevokeOutcome.REVOKED) for card in cards[1:3]]
        assert progress == [("few: cards", 2, 2)]

    @pytest.mark.parametrize("update", [False, True])
    def test_later_loads_leave_it_so(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        documents: list[Source],
        *,
        update: bool,
    ) -> None:
        """A load, updating or not, writes nothing, and counts what was revoked as deleted, or as changed."""
        revoke(server, target, few, cards[:2], "lost")
        before = snapshot(server, target), sequences(server, target)
        again = load(server, target, documents, update=update)
        assert (snapshot(server, target), sequences(server, target)) == before
        kept = {"gpii-token": (LoadOutcome.DELETED, 2), "gpii-key": (LoadOutcome.EDITED, 2)}[target.model.name]
        assert again.count(kept[0]) == kept[1]
        assert again.count(LoadOutcome.UNCHANGED) == again.documents - kept[1]
        assert again.needs_attention == 0

    def test_it_comes_back_as_it_was(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], documents: list[Source]
    ) -> None:
        """Revoked and brought back, again and again, it is what was loaded; to a load it is unchanged."""
        before = contents(server, target)
        for _ in range(2):
            revoke(server, target, few, cards[:2], "lost")
            assert contents(server, target) != before
            result = restore(server, target, few, cards[:3])
            assert counts(result) == {RevokeOutcome.RESTORED: 2, RevokeOutcome.NOT_REVOKED: 1}
            assert contents(server, target) == before
        stood = sequences(server, target)
        assert counts(restore(server, target, few, cards)) == {RevokeOutcome.NOT_REVOKED: CARDS}
        again = load(server, target, documents, update=True)
        assert again.count(LoadOutcome.UNCHANGED) == again.documents
        assert sequences(server, target) == stood

    @pytest.mark.parametrize("compacted", [False, True])
    def test_it_comes_back_with_what_people_had_changed(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        *,
        compacted: bool,
    ) -> None:
        """Changes from before the revocation come back, though the server has thrown old revisions away."""
        changes: dict[str, dict[str, Any]] = {
            "gpii-token": {"name": "ann", "password": "hers", "number": 1.5},
            "gpii-key": {"prefsSetId": "at-work", "timestampUpdated": "2021-02-03T17:05:09.250Z"},
        }
        wanted = change(server, target, places[-1], **changes[target.model.name])
        before = contents(server, target)
        assert before[places[-1].database][places[-1].id] == wanted
        revoke(server, target, few, cards[:2], "lost")
        if compacted:
            compact(at(server, target, places[-1]))

        assert counts(restore(server, target, few, cards[:2])) == {RevokeOutcome.RESTORED: 2}

        after = contents(server, target)
        if compacted and target.model.name == "gpii-key":
            # When a key was changed last stands nowhere else; then it is now.
            key = after[places[-1].database][places[-1].id]
            assert key["timestampUpdated"] > wanted["timestampUpdated"]
            key["timestampUpdated"] = wanted["timestampUpdated"]
        assert after == before

    def test_what_people_change_meanwhile_stays(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """The preference set of a revoked card is its owner's; so is what a server changes in a revoked key."""
        revoke(server, target, few, cards[1:2], "lost")
        place = preferences_of(target.model.name, cards[1].uuid)
        document = get(at(server, target, place), place.id)
        flat(document)[FONT_SIZE] = 30
        put(at(server, target, place), document)
        if target.model.name == "gpii-key":
            change(server, target, places[0], prefsSetId="at-work")
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}

        restore(server, target, few, cards[1:2])

        assert flat(get(at(server, target, place), place.id))[FONT_SIZE] == 30
        if target.model.name == "gpii-key":
            key = get(at(server, target, places[0]), places[0].id)
            assert (key["prefsSetId"], key["revoked"], key["revokedReason"]) == ("at-work", False, None)
            assert key["timestampUpdated"] > key["timestampCreated"]

    @pytest.mark.parametrize("compacted", [False, True])
    def test_a_card_that_was_stopped_by_hand_comes_back(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        *,
        compacted: bool,
    ) -> None:
        """Deleted at a console, it counts as revoked, and comes back as it was; as minted where nobody knows."""
        before = contents(server, target)
        changes = {"gpii-token": {"name": "ann", "password": "hers"}, "gpii-key": {"prefsSetId": "at-work"}}
        wanted = change(server, target, places[-1], **changes[target.model.name])
        for place in places:
            delete(at(server, target, place), place.id)
        if compacted:
            compact(at(server, target, places[-1]))
        stood = sequences(server, target)
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}
        assert sequences(server, target) == stood

        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}

        if not compacted:
            before[places[-1].database][places[-1].id] = wanted
        assert contents(server, target) == before

    def test_a_deletion_that_keeps_the_document_is_enough(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Some programs delete by setting ``_deleted`` in the whole document; then that is what comes back."""
        before = contents(server, target)
        database = at(server, target, places[0])
        deleted = {**get(database, places[0].id), "_deleted": True, "note": "kept"}
        assert database.edit([deleted]) == []
        compact(database)
        restore(server, target, few, cards[1:2])
        before[places[0].database][places[0].id]["note"] = "kept"
        assert contents(server, target) == before

    @KEY_MODEL
    def test_a_key_that_was_marked_and_deleted_comes_back_unmarked(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Whoever stopped it in two ways, it works again."""
        before = contents(server, target)
        revoke(server, target, few, cards[1:2], "lost")
        delete(at(server, target, places[0]), places[0].id)
        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        assert contents(server, target) == before

    def test_a_document_of_another_type_is_left_alone(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """What somebody has put in the place of a token or a key is theirs; the other cards are revoked."""
        theirs = change(server, target, places[0], type="note")
        told: list[CardOutcome] = []
        result = revoke(server, target, few, cards[:2], "lost", on_outcome=told.append)
        assert counts(result) == {RevokeOutcome.REVOKED: 1, RevokeOutcome.FOREIGN: 1}
        assert result.needs_attention == 1
        assert [each.reason for each in told] == ["", f"document {places[0].id} is of another type, and left as it is"]
        assert plain(get(at(server, target, places[0]), places[0].id)) == theirs


class TestNotLoaded:
    """Cards that have not been loaded yet."""

    @pytest.mark.usefixtures("empty")
    @pytest.mark.parametrize("update", [False, True])
    def test_a_later_load_leaves_it_revoked(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        documents: list[Source],
        *,
        update: bool,
    ) -> None:
        """The load brings the preference set only; brought back, the card is as if it had been loaded."""
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.BARRED: 1}
        stood = sequences(server, target)
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}
        assert sequences(server, target) == stood

        result = load(server, target, documents, update=update)

        assert result.needs_attention == 0
        assert result.count(LoadOutcome.CREATED) == result.documents - len(places)
        assert all(is_revoked(server, target, place) for place in places)
        if target.model.name == "gpii-key":
            assert explain("gpii-key/gpiiKey", plain(get(at(server, target, places[0]), cards[1].uuid))) == []
        else:
            for place in places:
                [tombstone] = leaves(server, target, place, live=False)
                assert explain("common/tombstone", {**plain(tombstone), "_deleted": True}) == []
        assert counts(restore(server, target, few, cards)) == {
            RevokeOutcome.RESTORED: 1,
            RevokeOutcome.NOT_REVOKED: CARDS - 1,
        }
        result = load(server, target, documents)
        assert result.count(LoadOutcome.UNCHANGED) == result.documents

    @pytest.mark.usefixtures("empty")
    def test_what_was_never_there_is_not_brought_back(
        self, server: Server, target: Target, few: Manifest, cards: list[Card]
    ) -> None:
        """Undoing is no way to load a card."""
        stood = sequences(server, target)
        assert counts(restore(server, target, few, cards)) == {RevokeOutcome.NOT_LOADED: CARDS}
        assert (sequences(server, target), contents(server, target)) == (stood, {name: {} for name in stood})

    @pytest.mark.usefixtures("empty")
    @pytest.mark.parametrize("first", ["load", "revocation"])
    def test_a_load_at_the_same_moment_does_not_bring_it(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        documents: list[Source],
        proxied: Proxied,
        first: str,
    ) -> None:
        """Both have found nothing; whoever writes first, the card is revoked, and nothing is in conflict."""
        if first == "load":
            through, _ = proxied(once(writes, before=lambda: load(server, target, documents)))
            assert counts(revoke(through, target, few, cards[1:2], "lost")) == {RevokeOutcome.BARRED: 1}
        else:
            hook = once(
                lambda request: writes(request, places[0]),
                before=lambda: revoke(server, target, few, cards[1:2], "lost"),
            )
            through, _ = proxied(hook)
            load(through, target, documents)
        contents(server, target)
        assert all(is_revoked(server, target, place) for place in places)
        load(server, target, documents, update=True)
        assert all(is_revoked(server, target, place) for place in places)
        restore(server, target, few, cards[1:2])
        assert load(server, target, documents).count(LoadOutcome.UNCHANGED) == sum(each.count for each in documents)

    def test_a_target_without_databases_is_an_error(
        self, server: Server, target: Target, few: Manifest, cards: list[Card]
    ) -> None:
        """A wrong prefix, or address, is told as such, and no database is made."""
        name = target.database(target.model.databases[0])
        rule = rf"database {name}: is not there \(correct the prefix"
        with pytest.raises(ProtocolError, match=rule):
            revoke(server, target, few, cards, "lost")
        with pytest.raises(ProtocolError, match=rule):
            restore(server, target, few, cards)
        assert not server.database(name).exists()

    def test_a_reproducible_batch_is_refused_in_production(
        self, server: Server, target: Target, tmp_path: Path
    ) -> None:
        """As every command does; nothing is asked or written."""
        manifest = generate("seeded", {"empty": 2}, tmp_path, seed=1).manifest
        production = Target(target.address, target.model, Environment.PRODUCTION, target.prefix)
        with pytest.raises(ProtectedError, match=r"reproducible batch seeded"):
            revoke(server, production, manifest, list(manifest.cards()), "lost")

    @pytest.mark.usefixtures("empty")
    def test_the_environment_is_remembered(
        self, server: Server, target: Target, few: Manifest, run_here: Command
    ) -> None:
        """What is said first holds; a less protected one is refused, and a more protected one is warned of."""
        arguments = ("revoke", few.path, "--card", "2", "--reason", "lost", "--yes")
        assert run_here(*arguments).code == ExitCode.OK
        assert {remembered(each) for each in databases(server, target).values()} == {Environment.CI}
        done = run_here(*arguments, "--environment", "development")
        assert (done.code, done.stdout) == (ExitCode.PROTECTED, "")
        done = run_here(*arguments, "--environment", "production", "--json")
        assert (done.code, done.data["already_revoked"]) == (ExitCode.OK, 1)
        assert done.data["raised"] == dict.fromkeys(map(target.database, target.model.databases), "ci")
        assert "was loaded as ci" in done.stderr
        assert {remembered(each) for each in databases(server, target).values()} == {Environment.PRODUCTION}

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 501, "two\nlines", "a\x1b[31m"])
    def test_a_reason_is_one_line(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], reason: str
    ) -> None:
        """It is shown to people later on."""
        with pytest.raises(UsageError, match="--reason: is one line of 1 to 500 characters"):
            revoke(server, target, few, cards, reason)


@pytest.mark.usefixtures("loaded")
class TestConflicts:
    """Documents of which several versions stand side by side."""

    def versions(self, server: Server, target: Target, place: Place) -> Json:
        """Bring versions into a document beside the first; return what the servers show of it."""
        database = at(server, target, place)
        document = plain(get(database, place.id))
        bodies = [{**document, "note": note, "_rev": f"1-{rev * 32}"} for note, rev in (("b", "0"), ("c", "f"))]
        assert database.write([json.dumps(each).encode() for each in bodies]) == []
        return plain(get(database, place.id))

    def test_every_version_is_revoked_and_the_one_that_was_shown_comes_back(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """No losing version comes to life when the one that is shown goes."""
        shown = [self.versions(server, target, place) for place in places]

        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}

        for place in places:
            assert is_revoked(server, target, place)
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}
        assert counts(restore(server, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        for place, document in zip(places, shown, strict=True):
            assert plain(get(at(server, target, place), place.id)) == document
            notes = [leaf["document"].get("note") for leaf in leaves(server, target, place, live=False)]
            assert {None, "b"} <= {*notes}

    @KEY_MODEL
    def test_one_of_two_revocations_is_left(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place]
    ) -> None:
        """Two people who revoke a key on two nodes leave two versions: the one that is shown stays, revoked."""
        before = contents(server, target)
        [place] = places
        database = at(server, target, place)
        key = get(database, place.id, revs="true")
        for name, digit in (("ann", "1"), ("bob", "2")):
            version = {
                **plain(key),
                "revoked": True,
                "revokedReason": f"lost, says {name}",
                "_rev": f"2-{digit * 32}",
                "_revisions": {"start": 2, "ids": [digit * 32, *key["_revisions"]["ids"]]},
            }
            assert database.write([json.dumps(version).encode()]) == []
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}
        [left] = leaves(server, target, place, live=True)
        assert left["revokedReason"] == "lost, says bob"
        assert counts(revoke(server, target, few, cards[1:2], "lost")) == {RevokeOutcome.ALREADY_REVOKED: 1}
        restore(server, target, few, cards[1:2])
        assert contents(server, target) == before


@pytest.mark.usefixtures("loaded")
class TestOthers:
    """People and other runs at the same moment, and servers that fail."""

    def test_an_edit_in_between_is_kept(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
    ) -> None:
        """Somebody changes the document between the reading and the writing: it is revoked with that change."""
        wanted: list[Json] = []
        hook = once(
            lambda request: writes(request, places[-1]),
            before=lambda: wanted.append(change(server, target, places[-1], note="theirs")),
        )
        through, _ = proxied(hook)
        assert counts(revoke(through, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}
        assert all(is_revoked(server, target, place) for place in places)
        contents(server, target)
        restore(server, target, few, cards[1:2])
        after = plain(get(at(server, target, places[-1]), places[-1].id))
        assert after == wanted[0]

    def test_an_edit_between_an_undo_is_kept(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
    ) -> None:
        """Somebody makes the document anew, or changes it, while it is being brought back: theirs stays."""
        revoke(server, target, few, cards[1:2], "lost")
        place = places[-1]

        def theirs() -> None:
            if target.model.name == "gpii-key":
                change(server, target, place, prefsSetId="theirs")
            else:
                put(at(server, target, place), {"_id": place.id, "type": "user", "defaultGpiiToken": "theirs"})

        through, _ = proxied(once(writes, before=theirs))
        assert counts(restore(through, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        assert not is_revoked(server, target, place)
        after = contents(server, target)[place.database][place.id]
        assert "theirs" in {after.get("defaultGpiiToken"), after.get("prefsSetId")}

    def test_a_reply_that_is_lost_does_no_harm(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], places: list[Place], proxied: Proxied
    ) -> None:
        """What was written though nobody heard of it is not written again, and counts as done."""
        before = contents(server, target)
        lost: set[bytes] = set()

        def lose(request: Request, forward: Forward) -> Reply:
            reply = forward(request)
            if writes(request) and request.body not in lost:
                lost.add(request.body)
                raise Hangup
            return reply

        through, _ = proxied(lose)
        assert counts(revoke(through, target, few, cards[1:2], "lost")) == {RevokeOutcome.REVOKED: 1}
        for place in places:
            [leaf] = at(server, target, place).leaves([place.id])[place.id]
            assert leaf["_revisions"]["start"] == 2
        assert counts(restore(through, target, few, cards[1:2])) == {RevokeOutcome.RESTORED: 1}
        assert contents(server, target) == before
        assert len(lost) == 2 * len(places)

    @pytest.mark.parametrize("undo", [False, True])
    def test_two_at_once_come_to_the_same(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
        *,
        undo: bool,
    ) -> None:
        """Both have read before either writes: the cards are revoked, or back, once, and nothing is in conflict."""
        before = contents(server, target)
        if undo:
            revoke(server, target, few, cards[1:3], "lost")
        both = Barrier(2, timeout=LIMIT)
        servers = [proxied(once(writes, before=both.wait))[0] for _ in range(2)]
        with ThreadPoolExecutor(2) as executor:
            if undo:
                runs = [executor.submit(restore, each, target, few, cards[1:3]) for each in servers]
            else:
                runs = [
                    executor.submit(revoke, each, target, few, cards[1:3], f"lost, says {name}")
                    for each, name in zip(servers, ("ann", "bob"), strict=True)
                ]
            results = [counts(run.result()) for run in runs]
        assert results == [{RevokeOutcome.RESTORED if undo else RevokeOutcome.REVOKED: 2}] * 2
        assert all(is_revoked(server, target, place) != undo for place in places)
        assert (contents(server, target) == before) == undo
        restore(server, target, few, cards[1:3])
        assert contents(server, target) == before

    def test_two_at_once_before_the_load_come_to_the_same(
        self,
        server: Server,
        target: Target,
        sets: Snapsets,
        proxied: Proxied,
        tmp_path: Path,
    ) -> None:
        """Both find nothing, and give other reasons: one version is left, or none."""
        other = generate("other", {"large": 2}, tmp_path).manifest
        both = Barrier(2, timeout=LIMIT)
        servers = [proxied(once(writes, before=both.wait))[0] for _ in range(2)]
        with ThreadPoolExecutor(2) as executor:
            runs = [
                executor.submit(revoke, each, target, other, list(other.cards()), f"lost, says {name}")
                for each, name in zip(servers, ("ann", "bob"), strict=True)
            ]
            for run in runs:
                assert set(counts(run.result())) <= {RevokeOutcome.BARRED, RevokeOutcome.REVOKED}
        contents(server, target)
        *sources, _ = all_sources(target, [other], sets)
        assert load(server, target, sources).needs_attention == 0
        for card in other.cards():
            assert is_revoked(server, target, access_of(target.model.name, card.uuid))

    def test_a_run_that_fails_half_way_is_gone_on_with(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
    ) -> None:
        """What lets a card in goes first; the next run does the rest, and undoing begins with what comes last."""
        before = contents(server, target)

        def fail_at(place: Place) -> Hook:
            return lambda request, forward: Reply(503) if writes(request, place) else forward(request)

        through, proxy = proxied(fail_at(places[-1]))
        with pytest.raises(UnreachableError, match="run it again to continue"):
            revoke(through, target, few, cards[:2], "lost")
        for place, following in pairwise(places):
            assert is_revoked(server, target, place)
            assert not is_revoked(server, target, following)
        assert counts(revoke(server, target, few, cards[:2], "lost")) == {RevokeOutcome.REVOKED: 2}
        proxy.hook = fail_at(places[0])
        with pytest.raises(UnreachableError):
            restore(through, target, few, cards[:2])
        assert is_revoked(server, target, places[0])
        assert not any(is_revoked(server, target, place) for place in places[1:])
        assert counts(restore(server, target, few, cards[:2])) == {RevokeOutcome.RESTORED: 2}
        assert contents(server, target) == before

    def test_a_document_that_others_go_on_changing_is_given_up(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        cards: list[Card],
        places: list[Place],
        proxied: Proxied,
    ) -> None:
        """After a good many attempts it is told, and the other cards are revoked."""
        numbers = iter(range(1000))

        def change_first(request: Request, forward: Forward) -> Reply:
            if writes(request, places[0]):
                change(server, target, places[0], note=next(numbers))
            return forward(request)

        through, _ = proxied(change_first)
        told: list[CardOutcome] = []
        result = revoke(through, target, few, cards[:2], "lost", on_outcome=told.append)
        assert counts(result) == {RevokeOutcome.REVOKED: 1, RevokeOutcome.FAILED: 1}
        assert told[1].reason == f"others go on changing document {places[0].id}"
        assert next(numbers) == ROUNDS

    def test_a_document_that_the_server_does_not_take_is_told(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        places: list[Place],
        proxied: Proxied,
        run_here: Command,
    ) -> None:
        """Its card has failed, with what the server says, and the exit code asks for attention."""

        def forbid(request: Request, forward: Forward) -> Reply:
            if not writes(request):
                return forward(request)
            refused = [each["_id"] for each in request.data()["docs"]]
            return Reply.json(201, [{"id": each, "error": "forbidden", "reason": "not today"} for each in refused])

        _, proxy = proxied(forbid)
        done = run_here("revoke", few.path, "--card", "2", "--reason", "lost", "--yes", url=proxy.url)
        assert done.code == ExitCode.ATTENTION
        assert "card 2  failed\n" in done.stdout
        first, last = done.stderr.splitlines()
        assert first.startswith("warning: card 2: document ")
        assert first.endswith(" was not taken by the server: forbidden: not today")
        assert last == "error: 1 card needs a person's attention (see to the documents that are named)"
        assert not any(is_revoked(server, target, place) for place in places)

    def test_a_node_that_is_away_is_told(self, few: Manifest, proxied: Proxied, run_here: Command) -> None:
        """The cards are revoked, and the exit code says that copies may be short."""
        nodes = {"all_nodes": ["couchdb@one"], "cluster_nodes": ["couchdb@one", "couchdb@two"]}

        def away(request: Request, forward: Forward) -> Reply:
            return Reply.json(200, nodes) if request.path == "/_membership" else forward(request)

        _, proxy = proxied(away)
        done = run_here("revoke", few.path, "--card", "2", "--reason", "lost", "--yes", "--json", url=proxy.url)
        assert (done.code, done.data["revoked"], done.data["nodes_away"]) == (ExitCode.NODES, 1, ["couchdb@two"])
        assert done.stderr.startswith("error: couchdb@two: away from the cluster")


@contextmanager
def terminal(answer: str) -> Iterator[Any]:
    """Give a terminal on which somebody has typed an answer."""
    import os
    import pty

    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        yield theirs
    finally:
        os.close(ours)
        os.close(theirs)


class TestCommand:
    """The command line."""

    @TOKEN_MODEL
    def test_as_the_servers_see_it(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], sets: Snapsets, run_here: Command
    ) -> None:
        """Loaded, revoked, loaded again, brought back: verify says at each step what it should."""
        snapsets = ("--snapsets", sets.folder)
        assert run_here("load", few.path, *snapsets).code == ExitCode.OK

        def verdicts() -> dict[VerifyVerdict, int]:
            return agreed(server, lambda: dict(verify(server, target, [few], sets).verdicts))

        done = run_here("revoke", few.path, "--card", "2", "--uuid", cards[2].uuid.upper(), "--reason", "lost", "--yes")
        assert (done.code, done.stderr) == (ExitCode.OK, "")
        assert done.stdout.splitlines()[:2] == [
            "card 2  revoked: it no longer works",
            "card 3  revoked: it no longer works",
        ]
        assert done.stdout.splitlines()[2].endswith(": 2 revoked")
        assert verdicts() == {VerifyVerdict.OK: CARDS - 2, VerifyVerdict.REVOKED: 2}
        assert run_here("load", few.path, *snapsets, "--update", "--yes").code == ExitCode.OK
        assert verdicts() == {VerifyVerdict.OK: CARDS - 2, VerifyVerdict.REVOKED: 2}
        done = run_here("revoke", few.path, "--card", "2", "--card", "3", "--card", "4", "--undo", "--yes", "--json")
        assert (done.code, done.stderr) == (ExitCode.OK, "")
        assert (done.data["restored"], done.data["not_revoked"], done.data["cards"]) == (2, 1, 3)
        assert done.data["outcomes"][0] == {"number": 2, "outcome": "restored", "reason": ""}
        assert verdicts() == {VerifyVerdict.OK: CARDS}

    @KEY_MODEL
    def test_verify_sees_a_key_that_was_revoked(
        self, server: Server, target: Target, few: Manifest, cards: list[Card], sets: Snapsets
    ) -> None:
        """Marked, then brought back."""
        load(server, target, all_sources(target, [few], sets))
        revoke(server, target, few, cards[:2], "lost")
        found = agreed(server, lambda: dict(verify(server, target, [few], sets).verdicts))
        assert found == {VerifyVerdict.OK: CARDS - 2, VerifyVerdict.REVOKED: 2}
        restore(server, target, few, cards[:2])
        assert agreed(server, lambda: dict(verify(server, target, [few], sets).verdicts)) == {VerifyVerdict.OK: CARDS}

    @KEY_MODEL
    @pytest.mark.usefixtures("loaded")
    @pytest.mark.parametrize(("answer", "code"), [("y\n", ExitCode.OK), ("n\n", 130), ("\n", 130)])
    def test_it_asks_first(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        places: list[Place],
        start: Callable[..., Any],
        answer: str,
        code: int,
    ) -> None:
        """On a terminal it says how many cards, where, and goes on when it is told to."""
        with terminal(answer) as stdin:
            asked = start("revoke", few.path, "--card", "2", "--reason", "lost", "--json", stdin=stdin)
            stdout, stderr = asked.communicate(timeout=LIMIT)
        assert asked.returncode == code
        said = (
            f"card 2 of batch few will stop working, at {target.address.url} (model gpii-key, environment ci). Go on?"
        )
        assert stderr.startswith(said)
        assert is_revoked(server, target, places[0]) == (code == ExitCode.OK)
        assert ("error" in json.loads(stdout)) == (code != ExitCode.OK)

    @KEY_MODEL
    @pytest.mark.usefixtures("loaded")
    def test_without_a_terminal_it_wants_to_be_told(
        self, server: Server, target: Target, few: Manifest, run_here: Command
    ) -> None:
        """Nobody can answer: exit code 2, and what to do."""
        stood = sequences(server, target)
        done = run_here("revoke", few.path, "--card", "2", "--card", "4", "--undo")
        assert (done.code, done.stdout) == (ExitCode.USAGE, "")
        assert done.stderr.startswith(
            "error: there is no terminal to ask on: 2 cards (2, 4) of batch few will work again"
        )
        assert done.stderr.endswith("(add --yes to go on without asking)\n")
        assert sequences(server, target) == stood

    @KEY_MODEL
    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("--card", "2"), ExitCode.USAGE, "--reason: is missing"),
            (("--card", "2", "--reason", " "), ExitCode.USAGE, "--reason: is one line"),
            (("--card", "2", "--reason", "lost", "--undo"), ExitCode.USAGE, "--undo --reason: exclude each other"),
            (("--reason", "lost"), ExitCode.USAGE, "no card: the cards must be named"),
            (("--card", "2", "--card", "99", "--reason", "lost"), ExitCode.INPUT, "--card 99: is not a card of "),
        ],
    )
    @pytest.mark.usefixtures("empty")
    def test_a_wrong_call_writes_nothing(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        run_here: Command,
        arguments: tuple[str, ...],
        code: ExitCode,
        says: str,
    ) -> None:
        """Everything is checked before anything is written: not even the card that is right is revoked."""
        done = run_here("revoke", few.path, *arguments, "--yes")
        assert (done.code, done.stdout) == (code, "")
        assert done.stderr.startswith(f"error: {says}")
        assert contents(server, target) == {name: {} for name in get_model("gpii-key").databases}
