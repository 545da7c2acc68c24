"""The state of a document, for every possible history on the server."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from dataloader.common import prepare
from dataloader.couch import Database, Server
from dataloader.replication import Finding, KindRules, State, classify
from tests.support.proxy import Hook, Proxy, pass_on
from tests.support.records import digest
from tests.support.server import SYNCHRONIZED, delete, get, put

KEY = str(uuid4())
SCHEMA = "gpii-token/preferences"


def preference_set(size: float) -> dict[str, Any]:
    """Return a document in our form."""
    context = {"name": "Default preferences", "preferences": {"http://registry.gpii.net/common/fontSize": size}}
    return {"_id": KEY, "value": {"flat": {"contexts": {"gpii-default": context}}}}


OURS = preference_set(18)
EARLIER = preference_set(14)
PERSONS = preference_set(30)
ANOTHERS = {"_id": KEY, "type": "note", "text": "nothing of ours"}
MADE = digest(OURS)
MADE_EARLIER = digest(EARLIER)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A branch of a document, as replication writes it."""

    content: dict[str, Any]
    revisions: tuple[str, ...]
    """Hashes, newest first; the oldest is of generation 1."""
    deleted: bool = False

    def document(self) -> dict[str, Any]:
        """Return the leaf for ``_bulk_docs``."""
        generation = len(self.revisions)
        history = {"start": generation, "ids": list(self.revisions)}
        document = {**self.content, "_rev": f"{generation}-{self.revisions[0]}", "_revisions": history}
        return {"_id": KEY, **document, "_deleted": True} if self.deleted else document


def made_up(number: int) -> str:
    """Return a hash as a server would generate it."""
    return f"{number:x}" * 32


@pytest.fixture
def database(server: Server, prefix: str) -> Database:
    """Return a new, empty database."""
    database = server.database(f"{prefix}preferences")
    database.create()
    return database


def state_of(server: Server, database: Database, schema: str = SCHEMA) -> Finding:
    """Return the state of the document under ``KEY``, compared with the one to be loaded."""
    [finding] = classify(database, [prepare(OURS)], KindRules(schema))
    return finding


def replicate(database: Database, *leaves: Leaf) -> None:
    """Write branches to a database."""
    assert database.write([json.dumps(leaf.document()).encode() for leaf in leaves]) == []


LOADED = Leaf(OURS, (MADE,))
LOADED_EARLIER = Leaf(EARLIER, (MADE_EARLIER,))
EDITED = Leaf(PERSONS, (made_up(2), MADE))
REVOKED = {"revokedReason": "lost", "timestampRevoked": "2021-02-03T17:05:09.250Z"}

HISTORIES = {
    "never there": ((), State.ABSENT),
    "loaded": ((LOADED,), State.UNCHANGED),
    "updated by a load": ((Leaf(OURS, (MADE, MADE_EARLIER)),), State.UNCHANGED),
    "the same, put by somebody else": ((Leaf(OURS, (made_up(1),)),), State.UNCHANGED),
    "the same, reached by editing": ((Leaf(OURS, (made_up(3), made_up(2), MADE)),), State.UNCHANGED),
    "edited": ((EDITED,), State.EDITED),
    "edited, of another form now": ((Leaf(ANOTHERS, (made_up(2), MADE)),), State.EDITED),
    "edited after an earlier load": ((LOADED_EARLIER, Leaf(PERSONS, (made_up(2), MADE_EARLIER))), State.EDITED),
    "edited after a load whose body is gone": ((Leaf(PERSONS, (made_up(2), made_up(1))),), State.EDITED),
    "deleted": ((Leaf({}, (made_up(2), MADE), deleted=True),), State.DELETED),
    "deleted on every branch": (
        (Leaf({}, (made_up(2), MADE), deleted=True), Leaf({}, (made_up(3), made_up(1)), deleted=True)),
        State.DELETED,
    ),
    "deleted by loads that took each other for persons": (
        (
            Leaf({"dataloader": "superseded"}, (made_up(2), MADE), deleted=True),
            Leaf({"dataloader": "superseded"}, (made_up(3), MADE_EARLIER), deleted=True),
        ),
        State.LEFTOVER,
    ),
    "deleted by a load and by a person": (
        (
            Leaf({"dataloader": "superseded"}, (made_up(2), MADE), deleted=True),
            Leaf({}, (made_up(3), MADE_EARLIER), deleted=True),
        ),
        State.DELETED,
    ),
    "deleted and made anew": ((Leaf(PERSONS, (made_up(3), made_up(2), MADE)),), State.EDITED),
    "loaded earlier from other content": ((LOADED_EARLIER,), State.OUTDATED),
    "updated earlier to other content": ((Leaf(EARLIER, (MADE_EARLIER, made_up(2), MADE)),), State.OUTDATED),
    "somebody else's": ((Leaf(ANOTHERS, (made_up(1),)),), State.FOREIGN),
    "somebody else's, of our form": ((Leaf(PERSONS, (made_up(1),)),), State.FOREIGN),
    "somebody else's, changed often": ((Leaf(ANOTHERS, (made_up(3), made_up(2), made_up(1))),), State.FOREIGN),
    "somebody else's, turned into our form": (
        (Leaf(ANOTHERS, (made_up(1),)), Leaf(PERSONS, (made_up(2), made_up(1)))),
        State.FOREIGN,
    ),
    "ours beside an edit": ((LOADED_EARLIER, Leaf(PERSONS, (made_up(1),))), State.LEFTOVER),
    "ours wins over another": ((Leaf(OURS, (MADE, MADE_EARLIER)), Leaf(PERSONS, (made_up(1),))), State.LEFTOVER),
    "two edits": ((EDITED, Leaf(ANOTHERS, (made_up(3), MADE))), State.CONFLICT),
    "two edits beside ours": ((LOADED_EARLIER, EDITED, Leaf(ANOTHERS, (made_up(3), MADE))), State.LEFTOVER),
    "two earlier loads": ((LOADED, LOADED_EARLIER), State.LEFTOVER),
    "ours beside a person's deletion": ((LOADED, Leaf({}, (made_up(2), made_up(1)), deleted=True)), State.LEFTOVER),
    "ours beside a deletion of ours": (
        (LOADED, Leaf({"dataloader": "superseded"}, (made_up(2), made_up(1)), deleted=True)),
        State.UNCHANGED,
    ),
    "ours beside a revocation": (
        (LOADED, Leaf(REVOKED, (made_up(2), made_up(1)), deleted=True)),
        State.LEFTOVER,
    ),
    "ours beside a revocation that was undone": (
        (LOADED, Leaf({**REVOKED, "dataloader": "superseded"}, (made_up(3), made_up(2), made_up(1)), deleted=True)),
        State.UNCHANGED,
    ),
    "edited, beside a revocation": ((EDITED, Leaf(REVOKED, (made_up(3), made_up(1)), deleted=True)), State.EDITED),
    "edited, our branch deleted": (
        (EDITED, Leaf({}, (made_up(3), digest(PERSONS), MADE), deleted=True)),
        State.EDITED,
    ),
    "edited, beside a person's deletion": ((EDITED, Leaf({}, (made_up(3), made_up(1)), deleted=True)), State.EDITED),
    "earlier, beside a person's deletion": (
        (LOADED_EARLIER, Leaf({}, (made_up(2), made_up(1)), deleted=True)),
        State.LEFTOVER,
    ),
    "earlier, beside a deletion of ours": (
        (LOADED_EARLIER, Leaf({"dataloader": "superseded"}, (made_up(2), made_up(1)), deleted=True)),
        State.OUTDATED,
    ),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_every_history_has_its_state(server: Server, database: Database, history: str) -> None:
    """A replicated document is classified by its leaves, and by how each branch started."""
    leaves, state = HISTORIES[history]
    replicate(database, *leaves)
    assert state_of(server, database).state is state


def test_changes_through_the_server_are_detected(server: Server, database: Database) -> None:
    """An edit, a deletion, a recreated document, and an edit that was reverted, by ordinary requests."""
    replicate(database, LOADED)
    rev = put(database, {**PERSONS, "_rev": get(database, KEY)["_rev"]})
    assert state_of(server, database).state is State.EDITED
    put(database, {**OURS, "_rev": rev})
    assert state_of(server, database).state is State.UNCHANGED
    delete(database, KEY)
    assert state_of(server, database).state is State.DELETED
    put(database, PERSONS)
    assert state_of(server, database).state is State.EDITED


@pytest.mark.parametrize("size", ["18.0", "1.8e1", "180e-1"])
def test_number_in_another_notation_is_unchanged(server: Server, database: Database, size: str) -> None:
    """A server that stores 18.0 for 18 has not changed the document."""
    body = json.dumps(OURS).replace(": 18}", f": {size}}}").encode()
    database._resource.put(KEY, body=body, w="3")
    assert state_of(server, database).state is State.UNCHANGED


@pytest.mark.parametrize("number", [2**53 + 2, 2**64 + 2**20, 10**30], ids=["2**53", "2**64", "10**30"])
def test_number_that_we_never_write_is_accepted_in_foreign_documents(
    server: Server, database: Database, number: int
) -> None:
    """A document with a number beyond JavaScript or a double is foreign like any other."""
    rev = put(database, ANOTHERS)
    body = json.dumps({**ANOTHERS, "_rev": rev, "number": 0}).replace('"number": 0', f'"number": {number}')
    database._resource.put(KEY, body=body.encode(), w="3")
    assert state_of(server, database).state is State.FOREIGN


def test_attachment_is_an_edit(server: Server, database: Database) -> None:
    """A document with an attachment is edited, even if its members are unchanged."""
    replicate(database, LOADED)
    rev = get(database, KEY)["_rev"]
    database._resource.put([KEY, "photo.txt"], body=b'"abc"', headers={}, rev=rev, w="3")
    assert state_of(server, database).state is State.EDITED


def test_branch_without_its_first_revision_is_classified_by_form(server: Server, database: Database) -> None:
    """If the first revision's body is gone, a document in our form counts as ours, and another does not."""
    replicate(database, Leaf(PERSONS, (made_up(2), made_up(1))))
    assert state_of(server, database, SCHEMA).state is State.EDITED
    assert state_of(server, database, "gpii-token/user").state is State.FOREIGN


def test_findings_are_in_the_order_of_the_batch(server: Server, database: Database) -> None:
    """Whatever the order of the server's reply."""
    documents = [{**OURS, "_id": str(uuid4())} for _ in range(40)]
    put(database, {**documents[7], "value": PERSONS["value"]})
    assert database.write([prepare(each).write() for each in documents[10:30]]) == []
    delete(database, documents[12]["_id"])
    wanted = [State.ABSENT] * 10 + [State.UNCHANGED] * 20 + [State.ABSENT] * 10
    wanted[7], wanted[12] = State.FOREIGN, State.DELETED

    found = classify(database, [prepare(each) for each in documents], KindRules(SCHEMA))

    assert [finding.document.id for finding in found] == [each["_id"] for each in documents]
    assert [finding.state for finding in found] == wanted


def test_reading_states_changes_nothing(server: Server, database: Database) -> None:
    """Leaves and update sequence are the same as before."""
    replicate(database, EDITED, Leaf(ANOTHERS, (made_up(3), MADE)))
    server.synchronize(database.name, SYNCHRONIZED)
    before = database.leaves([KEY]), database.update_seq()
    assert state_of(server, database).state is State.CONFLICT
    assert (database.leaves([KEY]), database.update_seq()) == before


def test_unchanged_documents_are_not_fetched(
    server: Server, database: Database, proxied: Callable[[Hook], tuple[Server, Proxy]]
) -> None:
    """An unedited batch takes one request; an edited document takes one more."""
    documents = [prepare({**OURS, "_id": str(uuid4())}) for _ in range(50)]
    assert database.write([each.write() for each in documents]) == []
    # A copy that lags behind would make it look again.
    server.synchronize(database.name, SYNCHRONIZED)
    through, proxy = proxied(pass_on)
    if not through.welcome().names_leaves:
        pytest.skip("this server does not name leaves, so that everything has to be fetched")
    asked = through.database(database.name)

    classify(asked, documents, KindRules(SCHEMA))
    assert [request.endpoint for request in proxy.requests[1:]] == ["_revs_diff"]

    edited = documents[3].id
    put(database, {**PERSONS, "_id": edited, "_rev": get(database, edited)["_rev"]})
    classify(asked, documents, KindRules(SCHEMA))
    asked_later = [request.endpoint for request in proxy.requests[2:]]
    # Before a fetch, it asks once for the nodes and, in a cluster, for the number of copies.
    assert [endpoint for endpoint in asked_later if endpoint] == ["_revs_diff", "_bulk_get"]
    assert asked_later.count("") <= 2
    assert [each["id"] for each in proxy.requests[-1].data()["docs"]] == [edited]
