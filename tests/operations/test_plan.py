"""Plans: what a load would do, without doing it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dataloader.batch import Manifest
from dataloader.common import InputError, shorten_uuids
from dataloader.couch import Server
from dataloader.operations import LoadOptions, Outcome, Plan, Source, all_sources, generate, load, plan
from dataloader.records import Snapsets
from dataloader.replication import Finding, State
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.records import FONT_SIZE, Place, access_of, digest, documents, flat, preferences_of, write_snapsets
from tests.support.server import databases, delete, get, put, sequences, snapshot

SIZES = {"large": 18, "larger": 24.5}
# One model is enough for what does not depend on the model; any will do.


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """Two snapsets for these tests."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "sizes", SIZES)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """The same with one snapset edited, with which two cards start."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "changed", SIZES | {"larger": 30})


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of eight cards."""
    return generate("few", {"large": 6, "larger": 2}, tmp_path_factory.mktemp("batch")).manifest


def counts(result: Plan) -> dict[str, int]:
    """Return the counts of a plan's states."""
    return {state.value: result.count(state) for state in State if result.count(state)}


def meddle(server: Server, target: Target, few: Manifest, sizes: Snapsets) -> dict[str, Place]:
    """Load, then change five cards in different ways; return the documents of each state."""
    keys = [card.uuid for card in few.cards()]
    model = target.model.name
    places = {
        "foreign": access_of(model, keys[0]),
        "edited": preferences_of(model, keys[1]),
        "deleted": access_of(model, keys[2]),
        "conflict": preferences_of(model, keys[3]),
        "absent": preferences_of(model, keys[4]),
    }
    found = databases(server, target)
    for database in found.values():
        database.create()
    put(found[places["foreign"].database], {"_id": places["foreign"].id, "type": "note"})
    *sources, _ = all_sources(target, [few], sizes)
    absent = places["absent"].id
    load(server, target, [_without(source, absent) for source in sources])

    edited = get(found[places["edited"].database], places["edited"].id)
    flat(edited)[FONT_SIZE] = 40
    put(found[places["edited"].database], edited)
    delete(found[places["deleted"].database], places["deleted"].id)
    document = get(found[places["conflict"].database], places["conflict"].id)
    flat(document)[FONT_SIZE] = 41
    put(found[places["conflict"].database], document)
    flat(document)[FONT_SIZE] = 42
    branch = {**document, "_rev": f"1-{'a' * 32}"}
    assert found[places["conflict"].database].write([json.dumps(branch).encode()]) == []
    return places


def _without(source: Source, doc_id: str) -> Source:
    documents = lambda: (each for each in source.documents() if each["_id"] != doc_id)  # noqa: E731
    return replace(source, documents=documents, cards=None)


def test_everything_is_absent_on_an_empty_server(server: Server, target: Target, sources: list[Source]) -> None:
    """All databases are missing and all documents absent; a plan creates none."""
    result = plan(server, target, sources)
    assert result.missing_databases == [target.database(name) for name in target.model.databases]
    assert counts(result) == {"absent": result.documents}
    assert result.documents == sum(source.count for source in sources)
    assert not any(database.exists() for database in databases(server, target).values())


def test_missing_database_is_named(server: Server, target: Target, sources: list[Source]) -> None:
    """Documents of existing databases are checked; those of missing ones are absent."""
    first, *rest = target.model.databases
    server.database(target.database(first)).create()
    result = plan(server, target, sources)
    assert result.missing_databases == [target.database(name) for name in rest]
    assert counts(result) == {"absent": result.documents}


def test_nothing_to_do_after_a_load(server: Server, target: Target, sources: list[Source]) -> None:
    """Every document is unchanged, and no database is missing."""
    loaded = load(server, target, sources)
    result = plan(server, target, sources)
    assert result.missing_databases == []
    assert counts(result) == {"unchanged": loaded.documents}
    assert {
        name: {kind: states.total() for kind, states in kinds.items()} for name, kinds in result.states.items()
    } == {name: {kind: outcomes.total() for kind, outcomes in kinds.items()} for name, kinds in loaded.outcomes.items()}


def test_every_state_is_counted(
    server: Server, target: Target, few: Manifest, sizes: Snapsets, changed: Snapsets
) -> None:
    """States are counted by database and kind; documents that need a decision are listed with their leaves."""
    places = meddle(server, target, few, sizes)
    named: list[tuple[str, str, str, int]] = []

    def on_finding(source: Source, finding: Finding, what: State | Outcome) -> None:
        assert what is finding.state
        named.append((source.database, finding.document.id, finding.state.value, len(finding.leaves)))

    result = plan(server, target, all_sources(target, [few], changed), on_finding=on_finding)

    # The snapset's own document and its two cards' sets; then the edits, and the views.
    outdated = 3
    assert counts(result) == {
        "absent": 2,
        "outdated": outdated,
        **dict.fromkeys(("foreign", "edited", "deleted", "conflict"), 1),
        "unchanged": result.documents - 2 - outdated - 4,
    }
    preferences, access = places["edited"], places["foreign"]
    kinds = ("preferences", "gpiiToken") if target.model.name == "gpii-token" else ("prefsSafe", "gpiiKey")
    assert {**result.states[preferences.database][kinds[0]]} == {
        State.ABSENT: 1,
        State.OUTDATED: outdated,
        State.EDITED: 1,
        State.CONFLICT: 1,
        State.UNCHANGED: len(SIZES) + 8 - outdated - 3,
    }
    snapset_keys = len(SIZES) if target.model.name == "gpii-key" else 0
    assert {**result.states[access.database][kinds[1]]} == {
        State.FOREIGN: 1,
        State.DELETED: 1,
        State.UNCHANGED: snapset_keys + 8 - 2,
    }
    by_state = {state: (database, doc_id, leaves) for database, doc_id, state, leaves in named if state != "outdated"}
    assert by_state == {
        state: (place.database, place.id, 2 if state == "conflict" else 1)
        for state, place in places.items()
        if state != "absent"
    }
    assert len(named) == 4 + outdated


def test_plan_writes_nothing(server: Server, target: Target, few: Manifest, sizes: Snapsets, changed: Snapsets) -> None:
    """Documents, revisions, update sequences and databases are unchanged."""
    meddle(server, target, few, sizes)
    before = snapshot(server, target), sequences(server, target)
    plan(server, target, all_sources(target, [few], changed))
    assert (snapshot(server, target), sequences(server, target)) == before


def test_load_does_what_the_plan_said(
    server: Server, target: Target, few: Manifest, sizes: Snapsets, changed: Snapsets
) -> None:
    """Absent documents are created, outdated ones updated on request, and the others left as the plan found them."""
    meddle(server, target, few, sizes)
    sources = all_sources(target, [few], changed)
    planned = counts(plan(server, target, sources))
    result = load(server, target, sources, LoadOptions(update=True))
    done = {outcome.value: result.count(outcome) for outcome in Outcome if result.count(outcome)}
    done["absent"], done["outdated"] = done.pop("created"), done.pop("updated")
    assert done == planned


def test_invalid_document_stops_a_plan(server: Server, target: Target) -> None:
    """A plan validates everything that a load would write."""
    kind = target.model.kinds[0]
    schema = f"{target.model.name}/{kind.name}"
    broken = Source(kind.database, kind.name, schema, "here", 1, lambda: iter([{"_id": "broken", "type": "other"}]))
    with pytest.raises(InputError, match=rf"here, document broken: .*schemas/{schema}"):
        plan(server, target, [broken])


@TOKEN_MODEL
def test_plan_command_reports_what_a_load_would_do(
    server: Server,
    target: Target,
    few: Manifest,
    sizes: Snapsets,
    changed: Snapsets,
    run: Command,
    tmp_path: Path,
) -> None:
    """Counts on stdout, problems on stderr, a line for each such document in the details; exit code 0."""
    places = meddle(server, target, few, sizes)
    before = snapshot(server, target), sequences(server, target)
    details = tmp_path / "plan.jsonl"

    done = run("plan", few.path, "--snapsets", changed.folder, "--details", details, "--json")

    assert done.code == 0
    assert (snapshot(server, target), sequences(server, target)) == before
    data = done.data
    assert data["missing_databases"] == []
    assert {state: data[state] for state in places} == dict.fromkeys(places, 1) | {"absent": 2}
    assert data["outdated"] == 3
    assert sum(data[state.value] for state in State) == data["documents"]
    assert (
        sum(c for kinds in data["databases"].values() for states in kinds.values() for c in states.values())
        == (data["documents"])
    )
    assert set(data["databases"]) == {target.database(name) for name in target.model.databases}
    for state in ("foreign", "conflict"):
        shown = shorten_uuids(places[state].id)
        assert f"{target.database(places[state].database)}, document {shown}: {state} (" in done.stderr
    assert ": 3 documents outdated: " in done.stderr
    assert " (written by an earlier load from another snapset version, not edited; " in done.stderr
    assert len(done.stderr.splitlines()) == 3

    lines = {line["_id"]: line for line in map(json.loads, details.read_text("utf-8").splitlines())}
    assert sorted(line["state"] for line in lines.values()) == [
        *("conflict", "deleted", "edited", "foreign", "outdated", "outdated", "outdated")
    ]
    key = places["foreign"].id.removeprefix("gpiiToken-")
    ours = documents(target.model.name, key, {}, few.header.created, card=True)[places["foreign"].database]
    assert lines[places["foreign"].id] == {
        "database": target.database(places["foreign"].database),
        "kind": "gpiiToken" if target.model.name == "gpii-token" else "gpiiKey",
        "_id": places["foreign"].id,
        "state": "foreign",
        "revision": f"1-{digest(ours[places['foreign'].id])}",
        "leaves": [get(databases(server, target)[places["foreign"].database], places["foreign"].id)["_rev"]],
    }
    assert len(lines[places["conflict"].id]["leaves"]) == 2


@KEY_MODEL
def test_plan_command_on_an_empty_server(
    server: Server, target: Target, few: Manifest, sizes: Snapsets, run: Command
) -> None:
    """It prints the databases and the number of documents that a load would create, and creates none."""
    done = run("plan", few.path, "--snapsets", sizes.folder)
    assert (done.code, done.stderr) == (0, "")
    for name in target.model.databases:
        assert f"would create database {target.database(name)}\n" in done.stdout
    total = sum(source.count for source in all_sources(target, [few], sizes))
    assert done.stdout.endswith(f"{total:,} documents: a load would create {total:,}\n")
    assert not any(database.exists() for database in databases(server, target).values())


@TOKEN_MODEL
def test_details_never_overwrite_a_file(few: Manifest, sizes: Snapsets, run: Command, tmp_path: Path) -> None:
    """An existing file is kept: exit code 4."""
    details = tmp_path / "plan.jsonl"
    details.write_text("mine")
    done = run("plan", few.path, "--snapsets", sizes.folder, "--details", details)
    assert done.code == 4
    assert f"error: {details}: already exists; dataloader never overwrites files" in done.stderr
    assert details.read_text() == "mine"
