"""What the real servers give a card that is loaded, revoked or restored, as documented in docs/servers.md."""

from collections.abc import Callable

import pytest

from dataloader.batch import Card, Manifest
from dataloader.couch import Server
from dataloader.operations import VerifyVerdict, all_sources, generate, load, restore, revoke, verify
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.records import Json, access_of, flat, preferences_of
from tests.support.server import databases, delete, get, put
from tests.support.servers import STATES, Given

SNAPSET = "snapset_4d"
Ask = Callable[[int], Given]


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> str:
    """Each server in turn, by the date of its merge."""
    found: str = request.param
    return found


@pytest.fixture
def model_name(state: str) -> str:
    """The model of the server."""
    return STATES[state][0]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of three cards."""
    return generate("small", {SNAPSET: 3}, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def cards(small: Manifest) -> list[Card]:
    """Its cards."""
    return list(small.cards())


@pytest.fixture
def ask(server: Server, target: Target, small: Manifest, snapsets: Snapsets, state: str, cards: list[Card]) -> Ask:
    """Load the batch; return a function that asks a server for one of its cards: ``ask(0)``."""
    load(server, target, all_sources(target, [small], snapsets))
    return lambda at: STATES[state][1](server, target, cards[at].uuid)


@pytest.fixture
def terms(snapsets: Snapsets, target: Target) -> Json:
    """The terms of the cards' snapset."""
    snapset = snapsets.of(target.model.name).get(SNAPSET)
    assert snapset is not None
    found: Json = snapset.preferences["flat"]["contexts"]["gpii-default"]["preferences"]
    return found


def edit(server: Server, target: Target, card: Card) -> Json:
    """Edit a card's set as its owner; return its terms."""
    place = preferences_of(target.model.name, card.uuid)
    document = get(databases(server, target)[place.database], place.id)
    flat(document)["http://registry.gpii.net/common/cursorSize"] = 0.5
    put(databases(server, target)[place.database], document)
    return flat(document)


def test_card_gets_its_settings_unless_it_is_revoked(
    server: Server, target: Target, small: Manifest, cards: list[Card], ask: Ask, terms: Json
) -> None:
    """Loaded, edited, revoked and restored, on each server."""
    assert ask(0) == Given(lets_in=True, settings=terms, openly=terms)
    edited = edit(server, target, cards[1])
    assert ask(1) == Given(lets_in=True, settings=edited, openly=edited)
    revoke(server, target, small, cards[:2], "lost")
    for at in (0, 1):
        given = ask(at)
        assert not given.settings
        assert not given.openly
        # A revoked key still gets a token, with an empty set.
        assert given.lets_in == (target.model.name == "gpii-key")
    restore(server, target, small, cards[:2])
    assert ask(0) == Given(lets_in=True, settings=terms, openly=terms)
    assert ask(1) == Given(lets_in=True, settings=edited, openly=edited)


def test_cards_revoked_by_earlier_versions_are_wrong_and_repaired(
    server: Server, target: Target, small: Manifest, cards: list[Card], ask: Ask, terms: Json, snapsets: Snapsets
) -> None:
    """Those only deleted the token, or marked the key, which no server reads; the card still gets its settings."""
    place = access_of(target.model.name, cards[0].uuid)
    database = databases(server, target)[place.database]
    if target.model.name == "gpii-token":
        delete(database, place.id)
    else:
        put(database, {**get(database, place.id), "revoked": True, "revokedReason": "lost"})
    assert ask(0).openly == terms
    assert verify(server, target, [small], snapsets).verdicts[VerifyVerdict.WRONG] == 1
    revoke(server, target, small, cards[:1], "lost")
    assert not ask(0).openly
    assert not ask(0).settings
    assert verify(server, target, [small], snapsets).verdicts[VerifyVerdict.REVOKED] == 1


@pytest.mark.parametrize("state", ["2017-11-01", "2018-01-30"])
def test_card_with_a_user_gets_nothing_in_2017(
    server: Server, target: Target, cards: list[Card], ask: Ask, terms: Json, state: str
) -> None:
    """Earlier versions loaded users: without grants, the filter removes everything from the set."""
    key, database = cards[0].uuid, databases(server, target)["auth"]
    put(database, {"_id": f"user-{key}", "type": "user", "defaultGpiiToken": key})
    put(database, {**get(database, f"gpiiToken-{key}"), "userId": f"user-{key}"})
    assert ask(0).settings == ({} if state == "2017-11-01" else terms)
