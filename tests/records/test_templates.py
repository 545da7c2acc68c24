"""Templates: every document is the same as if it had been made for its card alone."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataloader.common import Document, prepare
from dataloader.records.models import Entry, Kind, Role, get_model, model_names
from dataloader.records.templates import ANY_CARD, Templates
from tests.support.marks import THOROUGH

CREATED = "2026-01-01T00:00:00.000Z"
KINDS = [
    pytest.param(kind, id=f"{name} {kind.name}")
    for name in model_names()
    for kind in get_model(name).kinds
    if Role.CARD in kind.roles
]


def preferences(*values: object) -> dict[str, Any]:
    """Return a preference set with some values."""
    said = {f"http://example.org/{at}": str(value) for at, value in enumerate(values)}
    return {"flat": {"contexts": {"gpii-default": {"preferences": said}}}}


def accept(_: Document) -> None:
    """Accept any document."""


@THOROUGH
@pytest.mark.parametrize("kind", KINDS)
@given(uuids=st.lists(st.uuids(version=4).map(str), min_size=1, max_size=4), text=st.text())
def test_template_makes_the_same_document(kind: Kind, uuids: list[str], text: str) -> None:
    """Any UUID and any text in the preference set gives the same bytes and hash as the document itself."""
    templates = Templates(kind, accept)
    for content in (preferences(text), preferences(text, "more")):
        for uuid in uuids:
            entry = Entry(uuid, content, CREATED, Role.CARD)
            assert templates.prepared(entry) == prepare(kind.document(entry))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", [ANY_CARD, "ffffffff-ffff-4fff-bfff-ffffffffffff"])
def test_preference_set_may_contain_the_placeholder(kind: Kind, said: str) -> None:
    """A UUID in the preference set that is the placeholder stays as it is."""
    entry = Entry("11111111-1111-4111-8111-111111111111", preferences(said), CREATED, Role.CARD)
    assert Templates(kind, accept).prepared(entry) == prepare(kind.document(entry))


@pytest.mark.parametrize("kind", KINDS)
def test_preference_set_that_is_gone_is_not_taken_for_a_new_one(kind: Kind) -> None:
    """Sets that live only as long as their entry may have the same address in memory."""

    def entries() -> Iterator[Entry]:
        for number in range(50):
            yield Entry("11111111-1111-4111-8111-111111111111", preferences(number), CREATED, Role.CARD)

    templates = Templates(kind, accept)
    found = [templates.prepared(entry) for entry in entries()]
    assert found == [prepare(kind.document(entry)) for entry in entries()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["snapset_1a", "11111111-1111-4111-8111-11111111111", 'a"b'])
def test_key_that_is_no_uuid_is_validated(kind: Kind, key: str) -> None:
    """The schema is asked about each such document; about those of cards, once for each snapset."""
    seen: list[str] = []
    templates = Templates(kind, lambda document: seen.append(document["_id"]))
    content = preferences("any")
    for uuid in ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"):
        templates.prepared(Entry(uuid, content, CREATED, Role.CARD))
    assert len(seen) == 1
    entry = Entry(key, content, CREATED, Role.CARD)
    assert templates.prepared(entry) == prepare(kind.document(entry))
    assert seen[1:] == [kind.id(key)]
