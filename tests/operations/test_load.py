"""Loads: what they bring, what they leave alone, and what they say of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataloader.batch import Manifest, read_manifest
from dataloader.common import InputError, ProtectedError, UsageError, data_dir, shorten_uuids
from dataloader.couch import Database, Rejection, Server
from dataloader.operations import LoadResult, Outcome, Source, all_sources, generate, load, snapset_sources
from dataloader.operations.load import KEPT_FAILURES
from dataloader.records import Snapsets, read_snapsets
from dataloader.replication import Finding, State
from dataloader.target import Environment, Target
from tests.support.command import Command
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.proxy import Forward, Hook, Reply, Request, pass_on
from tests.support.records import (
    FONT_SIZE,
    VIEWS,
    Contents,
    Place,
    access_of,
    digest,
    documents,
    expected,
    flat,
    preferences_of,
    write_snapsets,
)
from tests.support.server import Proxied, databases, delete, get, put, sequences, snapshot

SIZES = {"large": 18, "larger": 24.5}
SHARES = {"large": 3, "larger": 2, "empty": 1}
DESIGN = "_design/views"
# For what does not depend on the model, one of them; it need not be the same for all.

Bring = Callable[..., LoadResult]


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """Two snapsets of the tests' own."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "sizes", SIZES)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Snapsets:
    """The same snapsets after somebody has changed one of them: other content for one snapset and three cards."""
    return write_snapsets(tmp_path_factory.mktemp("snapsets") / "changed", SIZES | {"large": 20})


CHANGED = 1 + SHARES["large"]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of six cards over the tests' own snapsets."""
    return generate("few", SHARES, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def bring(server: Server, target: Target, few: Manifest) -> Bring:
    """Load the six cards, without the views, whose indexes take longest: ``bring(snapsets, update=True)``."""

    def bring(snapsets: Snapsets, through: Server = server, **options: Any) -> LoadResult:
        *sources, _ = all_sources(target, [few], snapsets)
        return load(through, target, sources, **options)

    return bring


@pytest.fixture
def bring_all(server: Server, target: Target, few: Manifest) -> Bring:
    """Load the six cards and the views."""

    def bring_all(snapsets: Snapsets, **options: Any) -> LoadResult:
        return load(server, target, all_sources(target, [few], snapsets), **options)

    return bring_all


def card(manifest: Manifest, snapset: str) -> str:
    """Return the UUID of a batch's first card with a snapset."""
    return next(card.uuid for card in manifest.cards() if card.snapset == snapset)


def contents(server: Server, target: Target) -> Contents:
    """Return every document but the views, without revisions."""
    return {
        name: {
            doc_id: {key: value for key, value in document.items() if key != "_rev"}
            for doc_id, document in found.items()
            if doc_id != DESIGN
        }
        for name, found in snapshot(server, target).items()
    }


def outcomes(result: LoadResult) -> dict[str, int]:
    """Return a load's outcomes that have come up, over all databases and kinds."""
    return {outcome.value: result.count(outcome) for outcome in Outcome if result.count(outcome)}


def found_at(server: Server, target: Target, place: Place) -> dict[str, Any]:
    """Get a document."""
    return get(databases(server, target)[place.database], place.id)


def change(server: Server, target: Target, place: Place, size: float) -> str:
    """Change a preference set as a Preferences Server does: get it, change it, put all of it under its revision."""
    document = found_at(server, target, place)
    flat(document)[FONT_SIZE] = size
    return put(databases(server, target)[place.database], document)


class TestWhatIsBrought:
    """A load into an empty target."""

    def test_brings_exactly_the_records(
        self, server: Server, target: Target, sources: list[Source], manifest: Manifest
    ) -> None:
        """Every document is there as the records are written down, and no other; times are the batch's own."""
        result = load(server, target, sources)

        stored = contents(server, target)
        assert stored == expected(target.model.name, [manifest.path], data_dir("snapsets"))
        views = 1
        assert result.documents == sum(map(len, stored.values())) + views
        assert {kind for kinds in result.outcomes.values() for kind in kinds} == {
            "gpii-token": {"preferences", "gpiiToken", "design document"},
            "gpii-key": {"prefsSafe", "gpiiKey", "design document"},
        }[target.model.name]
        assert outcomes(result) == {"created": result.documents}
        assert result.created_databases == [target.database(name) for name in target.model.databases]
        assert result.needs_attention == 0

    def test_gives_each_document_the_revision_of_its_content(
        self, server: Server, target: Target, sources: list[Source]
    ) -> None:
        """The revision can be computed by whoever holds the document, with SHA-256 and sorted keys."""
        load(server, target, sources)
        for found in snapshot(server, target).values():
            for document in found.values():
                assert document["_rev"] == f"1-{digest(document)}"

    def test_stores_the_views_last(
        self, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied
    ) -> None:
        """Views come when all cards are there, so that no index is built while they are written."""
        through, proxy = proxied(pass_on)
        load(through, target, all_sources(target, [manifest], snapsets))
        writes = [request.data()["docs"] for request in proxy.requests if request.endpoint == "_bulk_docs"]
        assert [each["_id"] for each in writes[-1]] == [DESIGN]
        queries = [at for at, request in enumerate(proxy.requests) if "/_view/" in request.path]
        last = max(at for at, request in enumerate(proxy.requests) if request.endpoint == "_bulk_docs")
        assert len(queries) == len(writes[-1][0]["views"])
        assert min(queries) > last

    def test_asks_nothing_of_a_new_database(
        self, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied
    ) -> None:
        """Nothing can be there, so nothing is asked: until its last write, a first load is writes only."""
        through, proxy = proxied(pass_on)
        load(through, target, all_sources(target, [manifest], snapsets))
        sent = [request.endpoint for request in proxy.requests if request.method == "POST"]
        last = max(at for at, endpoint in enumerate(sent) if endpoint == "_bulk_docs")
        assert set(sent[:last]) == {"_bulk_docs"}

    def test_takes_a_database_that_is_there_and_empty(
        self, server: Server, target: Target, sources: list[Source], manifest: Manifest
    ) -> None:
        """A database that an administrator has made beforehand is filled, not made again."""
        for database in databases(server, target).values():
            database.create()
        result = load(server, target, sources)
        assert result.created_databases == []
        assert outcomes(result) == {"created": result.documents}
        assert contents(server, target) == expected(target.model.name, [manifest.path], data_dir("snapsets"))

    def test_fills_up_a_database_that_others_use(self, server: Server, target: Target, sources: list[Source]) -> None:
        """What else is in a database stays, and is in nobody's way."""
        others = {}
        for name, database in databases(server, target).items():
            database.create()
            put(database, {"_id": "somebody-elses", "type": "note"})
            others[name] = get(database, "somebody-elses")
        result = load(server, target, sources)
        assert outcomes(result) == {"created": result.documents}
        for name, database in databases(server, target).items():
            assert get(database, "somebody-elses") == others[name]

    def test_brings_several_batches(
        self, server: Server, target: Target, manifest: Manifest, few: Manifest, tmp_path: Path
    ) -> None:
        """Two manifests in one load come to what one load of each would come to."""
        folder = write_snapsets(tmp_path / "all", SIZES).folder
        shutil.copytree(data_dir("snapsets") / target.model.name, folder, dirs_exist_ok=True)
        result = load(server, target, all_sources(target, [manifest, few], read_snapsets(folder)))
        assert contents(server, target) == expected(target.model.name, [manifest.path, few.path], folder)
        assert outcomes(result) == {"created": result.documents}

    @TOKEN_MODEL
    def test_brings_snapsets_and_views_without_a_batch(self, server: Server, target: Target, run: Command) -> None:
        """A target can be set up before there are cards."""
        done = run("load", "--snapsets-only", "--json")
        assert (done.code, done.stderr) == (0, "")
        stored = contents(server, target)
        assert stored == expected(target.model.name, [], data_dir("snapsets"))
        assert done.data["created"] == done.data["documents"] == sum(map(len, stored.values())) + 1
        assert done.data["views_built"] == {"gpii-token": 15, "gpii-key": 7}[target.model.name]

    def test_loads_from_the_command_line(
        self,
        server: Server,
        target: Target,
        manifest: Manifest,
        run: Command,
    ) -> None:
        """The command brings the records, says how many, and the second time that none was left to bring."""
        first = run("load", manifest.path)
        assert (first.code, first.stderr) == (0, "")
        after_first = snapshot(server, target), sequences(server, target)
        assert contents(server, target) == expected(target.model.name, [manifest.path], data_dir("snapsets"))
        total = sum(len(found) for found in after_first[0].values())
        for name in target.model.databases:
            assert f"created database {target.database(name)}\n" in first.stdout
        assert f"{total:,} documents in " in first.stdout
        assert f": {total:,} created; " in first.stdout

        second = run("load", manifest.path, "--json")
        assert (second.code, second.stderr) == (0, "")
        assert (second.data["created"], second.data["unchanged"]) == (0, total)
        assert second.data["created_databases"] == []
        assert (snapshot(server, target), sequences(server, target)) == after_first


def _counts(result: LoadResult) -> dict[str, dict[str, int]]:
    return {
        database: {kind: counts.total() for kind, counts in kinds.items()}
        for database, kinds in result.outcomes.items()
    }


class TestAgain:
    """A load of what has been loaded."""

    def test_writes_nothing(
        self, server: Server, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied
    ) -> None:
        """Nothing is created, no write is sent, update sequences stand still, every revision is the same."""
        sources = all_sources(target, [manifest], snapsets)
        load(server, target, sources)
        before = snapshot(server, target), sequences(server, target)
        through, proxy = proxied(pass_on)

        for update, replace_views in ((False, False), (True, False), (True, True)):
            result = load(through, target, sources, update=update, replace_views=replace_views)
            assert outcomes(result) == {"unchanged": result.documents}
            assert (snapshot(server, target), sequences(server, target)) == before
        assert proxy.count("POST", "_bulk_docs") == 0
        assert {request.method for request in proxy.requests} == {"GET", "POST"}

    def test_outcomes_add_up(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """Each document has one outcome, whatever has become of the others."""
        bring_all(sizes)
        change(server, target, preferences_of(target.model.name, card(few, "large")), 30)
        place = access_of(target.model.name, card(few, "larger"))
        delete(databases(server, target)[place.database], place.id)
        total: dict[str, dict[str, int]] = {}
        for source in all_sources(target, [few], sizes):
            kinds = total.setdefault(source.database, {})
            kinds[source.kind] = kinds.get(source.kind, 0) + source.count

        result = bring_all(sizes)

        assert _counts(result) == total
        assert outcomes(result) == {"edited": 1, "deleted": 1, "unchanged": result.documents - 2}

    def test_progress_reaches_the_end_of_each_step(self, server: Server, target: Target, sources: list[Source]) -> None:
        """Each step says how many documents it has, and comes to that number."""
        seen: dict[str, tuple[int, int]] = {}

        def on_progress(step: str, done: int, total: int) -> None:
            seen[step] = done, total

        load(server, target, sources, on_progress=on_progress)
        assert seen
        assert all(done == total for done, total in seen.values())


class TestWhatPeopleDid:
    """What a person has changed or deleted is theirs."""

    @pytest.mark.parametrize("options", [{}, {"update": True}, {"update": True, "replace_views": True}])
    def test_an_edited_preference_set_is_kept(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest, options: dict[str, bool]
    ) -> None:
        """A set that its owner has changed through the Preferences Server stays as it is, and is counted."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        change(server, target, place, 30)
        before = snapshot(server, target)

        result = bring(sizes, **options)

        assert snapshot(server, target) == before
        assert flat(found_at(server, target, place))[FONT_SIZE] == 30
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}
        assert result.needs_attention == 0

    @pytest.mark.parametrize("update", [False, True])
    def test_an_edited_preference_set_is_kept_when_its_snapset_changes(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        *,
        update: bool,
    ) -> None:
        """A new version of a snapset is for those who still have the old one; not for who has made a set their own."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        change(server, target, place, 30)
        before = found_at(server, target, place)

        result = bring(changed, update=update)

        assert found_at(server, target, place) == before
        rest = {"updated" if update else "outdated": CHANGED - 1, "edited": 1}
        assert outcomes(result) == {**rest, "unchanged": result.documents - CHANGED}

    @KEY_MODEL
    def test_an_edited_set_is_no_failure(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """The command ends with 0 and no warning: people are meant to change their sets."""
        bring_all(sizes)
        change(server, target, preferences_of(target.model.name, card(few, "large")), 30)
        done = run("load", few.path, "--snapsets", sizes.folder, "--json")
        assert (done.code, done.stderr) == (0, "")
        assert (done.data["edited"], done.data["created"]) == (1, 0)

    @pytest.mark.parametrize("options", [{}, {"update": True}, {"update": True, "replace_views": True}])
    def test_a_revoked_card_does_not_come_back(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest, options: dict[str, bool]
    ) -> None:
        """A token or key that somebody has deleted stays deleted."""
        bring(sizes)
        place = access_of(target.model.name, card(few, "large"))
        delete(databases(server, target)[place.database], place.id)
        before = snapshot(server, target), sequences(server, target)

        result = bring(sizes, **options)

        assert (snapshot(server, target), sequences(server, target)) == before
        assert place.id not in before[0][place.database]
        assert outcomes(result) == {"deleted": 1, "unchanged": result.documents - 1}
        assert result.needs_attention == 0

    @pytest.mark.parametrize("update", [False, True])
    def test_a_deleted_set_stays_deleted_when_its_snapset_changes(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        *,
        update: bool,
    ) -> None:
        """Other content is no reason to bring back what somebody has deleted."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        delete(databases(server, target)[place.database], place.id)
        result = bring(changed, update=update)
        assert place.id not in snapshot(server, target)[place.database]
        assert result.count(Outcome.DELETED) == 1

    def test_a_set_made_anew_is_kept(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """What a person puts where a deleted document was is theirs."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        database = databases(server, target)[place.database]
        document = get(database, place.id)
        delete(database, place.id)
        del document["_rev"]
        flat(document)[FONT_SIZE] = 9
        put(database, document)
        before = get(database, place.id)
        result = bring(sizes, update=True)
        assert get(database, place.id) == before
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}

    def test_what_the_servers_write_at_run_time_is_left_alone(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets
    ) -> None:
        """Grants, codes, access tokens and local documents are the same before and after, to the revision."""
        bring(sizes)
        types = {
            "gpii-token": (
                "onboardedSolutionAuthorization",
                "webPrefsConsumerAuthorization",
                "privilegedPrefsCreatorAuthorization",
                "gpiiAppInstallationAuthorization",
                "authCode",
            ),
            "gpii-key": ("gpiiAppInstallationAuthorization", "gpiiAppInstallationClient", "clientCredential"),
        }[target.model.name]
        name = target.model.databases[-1]
        database = databases(server, target)[name]
        ids = [f"at-run-time-{number}" for number in range(len(types))]
        for doc_id, kind in zip(ids, types, strict=True):
            put(database, {"_id": doc_id, "type": kind, "accessToken": f"secret-{doc_id}", "revoked": False})
        put(database, {"_id": "_local/checkpoint", "seq": 17})
        before = [get(database, doc_id) for doc_id in (*ids, "_local/checkpoint")]

        result = bring(changed, update=True, replace_views=True)

        assert result.count(Outcome.UPDATED) == CHANGED
        assert [get(database, doc_id) for doc_id in (*ids, "_local/checkpoint")] == before


class TestWhatOthersWrote:
    """Documents under our IDs that are not ours, and versions side by side."""

    @pytest.mark.parametrize("changes", [0, 2], ids=["generation 1", "generation 3"])
    @pytest.mark.parametrize("options", [{}, {"update": True, "replace_views": True}])
    def test_a_foreign_document_is_reported_and_left(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        few: Manifest,
        changes: int,
        options: dict[str, bool],
    ) -> None:
        """Somebody else's document under a card's ID is not written over, nor hidden behind a conflict."""
        place = access_of(target.model.name, card(few, "large"))
        database = databases(server, target)[place.database]
        database.create()
        rev = put(database, {"_id": place.id, "type": "note", "text": "0"})
        for number in range(changes):
            rev = put(database, {"_id": place.id, "type": "note", "text": str(number + 1), "_rev": rev})
        noted: list[tuple[str, str, State]] = []

        def on_finding(source: Source, finding: Finding, what: State | Outcome) -> None:
            assert what is Outcome.FOREIGN
            noted.append((source.database, finding.document.id, finding.state))

        result = bring(sizes, on_finding=on_finding, **options)

        document = get(database, place.id, conflicts="true")
        assert document == {"_id": place.id, "_rev": rev, "type": "note", "text": str(changes)}
        assert outcomes(result) == {"foreign": 1, "created": result.documents - 1}
        assert noted == [(place.database, place.id, State.FOREIGN)]
        assert result.needs_attention == 1

    @TOKEN_MODEL
    def test_a_foreign_document_is_told_on_the_command_line(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        run: Command,
        tmp_path: Path,
    ) -> None:
        """The exit code is 9, a line names the document and what to do, and the file of details holds it."""
        place = access_of(target.model.name, card(few, "large"))
        database = databases(server, target)[place.database]
        database.create()
        rev = put(database, {"_id": place.id, "type": "note"})
        details = tmp_path / "details.jsonl"
        arguments = ("load", few.path, "--snapsets", sizes.folder)
        done = run(*arguments, "--details", details, "--json")
        assert done.code == 9
        assert (
            f"{target.database(place.database)}, document {shorten_uuids(place.id)}: foreign (not written by this tool"
            in done.stderr
        )
        assert "error: 1 document needs a decision\n" in done.stderr
        assert (done.data["foreign"], done.data["created"]) == (1, done.data["documents"] - 1)
        [line] = map(json.loads, details.read_text("utf-8").splitlines())
        wanted = documents(target.model.name, card(few, "large"), {}, few.header.created, card=True)
        assert line == {
            "database": target.database(place.database),
            "kind": "gpiiToken" if target.model.name == "gpii-token" else "gpiiKey",
            "_id": place.id,
            "state": "foreign",
            "revision": f"1-{digest(wanted[place.database][place.id])}",
            "leaves": [rev],
        }
        assert (get(database, place.id)["_rev"], get(database, place.id)["type"]) == (rev, "note")

        again = run(*arguments)
        assert again.code == 9
        assert "--details FILE lists all" in again.stderr

    def test_the_same_content_put_by_somebody_else_is_unchanged(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """A document that came by another way and says the same needs nothing."""
        wanted = expected(target.model.name, [few.path], sizes.folder)
        for name, database in databases(server, target).items():
            database.create()
            for document in wanted[name].values():
                put(database, document)
        before = snapshot(server, target)
        result = bring(sizes)
        assert snapshot(server, target) == before
        assert outcomes(result) == {"unchanged": result.documents}

    @pytest.mark.parametrize("update", [False, True])
    def test_a_conflict_is_reported_and_left(
        self,
        server: Server,
        target: Target,
        bring: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        *,
        update: bool,
    ) -> None:
        """Where replication has brought two versions, a person chooses: both are there afterwards."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        first, second = _conflict(server, target, place)
        before = databases(server, target)[place.database].leaves([place.id])

        result = bring(changed, update=update)

        assert databases(server, target)[place.database].leaves([place.id]) == before
        assert {leaf["_rev"] for leaf in before[place.id]} == {first, second}
        assert (result.count(Outcome.CONFLICT), result.needs_attention) == (1, 1 if update else CHANGED)

    def test_a_conflict_that_was_resolved_is_none(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """After a person has deleted one of two versions, the other is an edit like any."""
        bring(sizes)
        place = preferences_of(target.model.name, card(few, "large"))
        first, second = _conflict(server, target, place)
        assert bring(sizes).count(Outcome.CONFLICT) == 1
        databases(server, target)[place.database]._resource.delete(place.id, rev=second)
        result = bring(sizes, update=True)
        assert outcomes(result) == {"edited": 1, "unchanged": result.documents - 1}
        assert found_at(server, target, place)["_rev"] == first


def _conflict(server: Server, target: Target, place: Place) -> tuple[str, str]:
    """Put two edits side by side, as replication between two servers does; return their revisions."""
    database = databases(server, target)[place.database]
    document = get(database, place.id)
    ours = document["_rev"].partition("-")[2]
    revisions = []
    for number in (1, 2):
        flat(document)[FONT_SIZE] = 30 + number
        digits = str(number) * 32
        history = {"start": 2, "ids": [digits, ours]}
        revisions.append(f"2-{digits}")
        body = {**document, "_rev": revisions[-1], "_revisions": history}
        assert database.write([json.dumps(body).encode()]) == []
    return revisions[0], revisions[1]


class TestOtherInput:
    """A load from snapsets that have changed since the last one."""

    @KEY_MODEL
    def test_what_is_outdated_is_reported_and_left(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """Without --update nothing is replaced; the exit code is 9, and the message says how to go on."""
        bring_all(sizes)
        before = snapshot(server, target), sequences(server, target)
        done = run("load", few.path, "--snapsets", changed.folder, "--json")
        assert (snapshot(server, target), sequences(server, target)) == before
        assert done.code == 9
        counts = {key: value for key, value in done.data.items() if key in {each.value for each in Outcome} and value}
        assert counts == {"outdated": CHANGED, "unchanged": done.data["documents"] - CHANGED}
        assert (
            done.stderr.count(": outdated (written by an earlier load from another snapset version, not edited; kept; ")
            == CHANGED
        )
        assert f"error: {CHANGED} documents need a decision" in done.stderr

    @TOKEN_MODEL
    def test_what_is_outdated_is_replaced_on_request(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """With --update each gets a child of the earlier revision, nobody else anything; then there is peace."""
        bring_all(sizes)
        before = snapshot(server, target)
        arguments = ("load", few.path, "--snapsets", changed.folder, "--update", "--yes", "--json")
        done = run(*arguments)
        assert (done.code, done.stderr) == (0, "")
        assert (done.data["updated"], done.data["unchanged"]) == (CHANGED, done.data["documents"] - CHANGED)

        after = snapshot(server, target)
        assert contents(server, target) == expected(target.model.name, [few.path], changed.folder)
        replaced = {
            doc_id: document["_rev"]
            for name, found in after.items()
            for doc_id, document in found.items()
            if document != before[name][doc_id]
        }
        places = [preferences_of(target.model.name, each.uuid) for each in few.cards() if each.snapset == "large"]
        places.append(preferences_of(target.model.name, "large"))
        assert set(replaced) == {place.id for place in places}
        for place in places:
            document = get(databases(server, target)[place.database], place.id, revs="true", conflicts="true")
            # Written on top of what was there, as a person writes: the server gives the revision.
            old, new = before[place.database][place.id]["_rev"], document["_rev"]
            assert document["_revisions"] == {"start": 2, "ids": [new[2:], old[2:]]}
            assert "_conflicts" not in document

        stood = sequences(server, target)
        third = run(*arguments)
        assert (third.code, third.data["unchanged"]) == (0, third.data["documents"])
        assert (snapshot(server, target), sequences(server, target)) == (after, stood)

    @TOKEN_MODEL
    def test_an_update_does_not_advise_what_it_does(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """Where something else needs a look, it alone is named, not what has just been replaced."""
        place = access_of(target.model.name, card(few, "large"))
        databases(server, target)[place.database].create()
        put(databases(server, target)[place.database], {"_id": place.id, "type": "note"})
        bring_all(sizes)
        done = run("load", few.path, "--snapsets", changed.folder, "--update", "--yes", "--json")
        assert (done.code, done.data["updated"], done.data["foreign"]) == (9, CHANGED, 1)
        warning, error = done.stderr.splitlines()
        assert f"document {shorten_uuids(place.id)}: foreign (" in warning
        assert error.startswith("error: 1 document needs a decision")

    def test_an_update_can_be_taken_back(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets, few: Manifest
    ) -> None:
        """The earlier snapsets, loaded again, are outdated's other way: reported, and replaced on request."""
        bring(sizes)
        bring(changed, update=True)
        assert outcomes(bring(sizes))["outdated"] == CHANGED
        with pytest.raises(UsageError, match="snapset large: is older than the version that was loaded last"):
            bring(sizes, update=True)
        assert bring(sizes, update=True, older_snapsets=True).count(Outcome.UPDATED) == CHANGED
        assert contents(server, target) == expected(target.model.name, [few.path], sizes.folder)
        place = preferences_of(target.model.name, card(few, "large"))
        assert found_at(server, target, place)["_rev"].startswith("3-")
        stood = sequences(server, target)
        assert bring(sizes).needs_attention == 0
        assert sequences(server, target) == stood

    def test_versions_may_come_and_go(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets, few: Manifest
    ) -> None:
        """However often a snapset is changed back and forth, an update replaces it; an edit then is an edit."""
        place = preferences_of(target.model.name, card(few, "large"))
        for generation, version in enumerate((sizes, changed, sizes, changed, sizes), 1):
            result = bring(version, update=True, older_snapsets=True)
            assert result.needs_attention == 0
            assert contents(server, target) == expected(target.model.name, [few.path], version.folder)
            assert found_at(server, target, place)["_rev"].startswith(f"{generation}-")
        change(server, target, place, 31)
        before = found_at(server, target, place)
        assert bring(changed, update=True, older_snapsets=True).count(Outcome.EDITED) == 1
        assert found_at(server, target, place) == before

    def test_an_update_that_was_edited_is_the_persons(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets, changed: Snapsets, few: Manifest
    ) -> None:
        """A set changed after an update is kept from either version of the snapset."""
        bring(sizes)
        bring(changed, update=True)
        place = preferences_of(target.model.name, card(few, "large"))
        change(server, target, place, 31)
        before = found_at(server, target, place)
        assert bring(changed, update=True).count(Outcome.EDITED) == 1
        assert bring(sizes, update=True, older_snapsets=True).count(Outcome.EDITED) == 1
        assert found_at(server, target, place) == before

    def test_documents_that_are_gone_from_the_input_stay(
        self, server: Server, target: Target, bring: Bring, sizes: Snapsets
    ) -> None:
        """A load brings and never takes away: a batch left out of it keeps its cards."""
        bring(sizes)
        before = snapshot(server, target)
        result = load(server, target, snapset_sources(target.model, sizes), update=True, replace_views=True)
        assert result.count(Outcome.UNCHANGED) == result.documents
        assert snapshot(server, target) == before


class TestInputs:
    """What a load refuses before it writes."""

    @TOKEN_MODEL
    def test_the_same_batch_twice_is_refused(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        run: Command,
        tmp_path: Path,
    ) -> None:
        """A manifest given twice, under whatever name, is a slip: exit code 3, and nothing is made."""
        copy = tmp_path / "copy.batch.jsonl"
        shutil.copy(few.path, copy)
        with pytest.raises(InputError, match="holds the same cards as"):
            all_sources(target, [few, read_manifest(copy)], sizes)
        done = run("load", few.path, copy, "--snapsets", sizes.folder)
        assert done.code == 3
        assert f"error: {copy}: holds the same cards as {few.path} (give it once)\n" in done.stderr
        assert _existing(server, target) == []

    @KEY_MODEL
    def test_an_unknown_snapset_is_refused(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        run: Command,
    ) -> None:
        """A batch whose snapsets are not in the folder is refused with the names that are; nothing is made."""
        done = run("load", few.path)
        assert done.code == 3
        for name in ("large", "larger"):
            assert f"error: {few.path}: there is no snapset {name!r} in " in done.stderr
        assert "must be one of: empty, snapset_1a," in done.stderr
        assert _existing(server, target) == []

    @TOKEN_MODEL
    @pytest.mark.parametrize(
        ("command_name", "environment"), [("load", "staging"), ("load", "production"), ("plan", "production")]
    )
    def test_a_seeded_batch_is_refused_where_people_are(
        self,
        server: Server,
        target: Target,
        run: Command,
        tmp_path: Path,
        command_name: str,
        environment: str,
    ) -> None:
        """UUIDs that can be guessed never reach staging or production: exit code 8, and no database is made."""
        seeded = generate("guessed", {"snapset_1a": 3}, tmp_path, seed=7).manifest
        done = run(command_name, seeded.path, "--environment", environment)
        assert done.code == 8
        assert "reproducible batch guessed (its UUIDs can be guessed)" in done.stderr
        assert f"never in {environment} (mint a batch without --seed)" in done.stderr
        assert done.stdout == ""
        assert _existing(server, target) == []

    @pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
    def test_a_seeded_batch_beside_others_is_refused_too(
        self, target: Target, few: Manifest, sizes: Snapsets, tmp_path: Path, environment: Environment
    ) -> None:
        """One such batch among good ones is enough."""
        seeded = generate("guessed", {"large": 3}, tmp_path, seed=7).manifest
        protected = replace(target, environment=environment)
        assert all_sources(protected, [few], sizes)
        with pytest.raises(ProtectedError, match="reproducible batch guessed"):
            all_sources(protected, [few, seeded], sizes)

    @pytest.mark.parametrize("fresh", [True, False])
    def test_two_seeded_batches_may_share_cards(
        self, server: Server, target: Target, sizes: Snapsets, tmp_path: Path, *, fresh: bool
    ) -> None:
        """Batches of one seed with other snapsets hold the same UUIDs: the first one's stand, without conflicts."""
        one = generate("one", {"large": 4}, tmp_path, seed=7).manifest
        two = generate("two", {"larger": 4}, tmp_path, seed=7).manifest
        assert [card.uuid for card in one.cards()] == [card.uuid for card in two.cards()]
        if not fresh:
            load(server, target, all_sources(target, [], sizes))

        result = load(server, target, all_sources(target, [one, two], sizes))

        assert contents(server, target) == expected(target.model.name, [one.path], sizes.folder)
        assert _conflicts(server, target) == []
        assert outcomes(result)["outdated"] == 4

    def test_a_broken_document_is_never_written(
        self, server: Server, target: Target, few: Manifest, sizes: Snapsets
    ) -> None:
        """A document that breaks its schema stops the load, which names the rule."""
        sources = all_sources(target, [few], sizes)
        broken = [replace(each, documents=lambda: iter([{"_id": "broken", "type": "other"}])) for each in sources]
        with pytest.raises(InputError, match=r"document broken: .*schemas/"):
            load(server, target, broken)
        assert all(found == {} for found in snapshot(server, target).values())


def _existing(server: Server, target: Target) -> list[str]:
    return [database.name for database in databases(server, target).values() if database.exists()]


def _conflicts(server: Server, target: Target) -> list[str]:
    return [
        doc_id
        for found in snapshot(server, target).values()
        for doc_id, document in found.items()
        if "_conflicts" in document
    ]


class TestWriting:
    """Writes that the server does not take as they come."""

    @pytest.mark.parametrize("limit", [1_500, 5_000])
    def test_a_request_too_large_is_halved(
        self, server: Server, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied, limit: int
    ) -> None:
        """Where a server or proxy refuses large requests (413), everything comes in smaller ones, and once only."""
        taken: list[Request] = []
        refused: list[Request] = []

        def refuse_large(request: Request, forward: Forward) -> Reply:
            if request.method == "POST" and len(request.body) > limit and not _holds(request, DESIGN):
                refused.append(request)
                return TOO_LARGE
            taken.append(request)
            return forward(request)

        through, _ = proxied(refuse_large)
        result = load(through, target, all_sources(target, [manifest], snapsets))

        assert outcomes(result) == {"created": result.documents}
        assert contents(server, target) == expected(target.model.name, [manifest.path], data_dir("snapsets"))
        written = [each["_id"] for request in taken if _is_write(request) for each in request.data()["docs"]]
        places = [each for found in snapshot(server, target).values() for each in found]
        assert sorted(written) == sorted(places)
        assert len(refused) >= len(target.model.kinds)
        again = load(through, target, all_sources(target, [manifest], snapsets))
        assert outcomes(again) == {"unchanged": again.documents}

    @KEY_MODEL
    def test_one_document_that_is_too_large_is_told(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        proxied: Proxied,
        run: Command,
    ) -> None:
        """A document beyond the server's limit fails by itself, with the reason; the others are there; exit code 9."""
        place = preferences_of(target.model.name, card(few, "larger"))

        def refuse_one(request: Request, forward: Forward) -> Reply:
            return TOO_LARGE if _holds(request, place.id) else forward(request)

        _, proxy = proxied(refuse_one)
        done = run("load", few.path, "--snapsets", sizes.folder, "--json", url=proxy.url)

        assert done.code == 9
        assert (done.data["failed"], done.data["created"]) == (1, done.data["documents"] - 1)
        assert f"warning: document {shorten_uuids(place.id)}: not accepted by the server: " in done.stderr
        assert "the request is too large: the server answers 413 too_large" in done.stderr
        assert "error: 1 document needs a decision" in done.stderr
        wanted = expected(target.model.name, [few.path], sizes.folder)
        del wanted[place.database][place.id]
        assert contents(server, target) == wanted

        assert load(server, target, all_sources(target, [few], sizes)).count(Outcome.CREATED) == 1
        assert contents(server, target) == expected(target.model.name, [few.path], sizes.folder)

    @pytest.mark.parametrize("update", [False, True])
    def test_a_rejected_document_is_told(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        bring: Bring,
        sizes: Snapsets,
        changed: Snapsets,
        proxied: Proxied,
        *,
        update: bool,
    ) -> None:
        """A document that a validation function of the database rejects has failed, with the function's words."""
        place = preferences_of(target.model.name, card(few, "large"))
        if update:
            bring(sizes)
        through, _ = proxied(rejecting({place.id}))
        result = bring(changed, through, update=update)
        assert outcomes(result) == {
            "failed": 1,
            **({"updated": CHANGED - 1, "unchanged": result.documents - CHANGED} if update else {}),
            **({} if update else {"created": result.documents - 1}),
        }
        assert result.failures == [Rejection(place.id, "forbidden: not in this database")]
        assert result.needs_attention == 1
        wanted = expected(target.model.name, [few.path], changed.folder)
        if update:
            flat(wanted[place.database][place.id])[FONT_SIZE] = SIZES["large"]
        else:
            del wanted[place.database][place.id]
        assert contents(server, target) == wanted

    @TOKEN_MODEL
    def test_rejections_are_told_on_the_command_line(
        self,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        proxied: Proxied,
        run: Command,
    ) -> None:
        """A line for the document with the server's reason, and exit code 9."""
        doc_id = access_of(target.model.name, card(few, "large")).id
        _, proxy = proxied(rejecting({doc_id}))
        done = run("load", few.path, "--snapsets", sizes.folder, "--json", url=proxy.url)
        assert done.code == 9
        assert done.data["failed"] == 1
        # A card's UUID lets people in, and is cut short where others may read it.
        shown = f"{doc_id[:-28]}…"
        expected_line = f"warning: document {shown}: not accepted by the server: forbidden: not in this database\n"
        assert expected_line in done.stderr

    @TOKEN_MODEL
    def test_all_rejections_are_counted_and_the_first_are_kept(
        self, target: Target, sizes: Snapsets, tmp_path: Path, proxied: Proxied
    ) -> None:
        """Where a database takes nothing, memory holds a hundred reasons, and the count is right."""
        many = generate("many", {"large": 150}, tmp_path / "many").manifest
        sources = all_sources(target, [many], sizes)
        through, _ = proxied(rejecting(None))
        result = load(through, target, sources)
        assert outcomes(result) == {"failed": 2 + 2 * 150 + 1}
        assert len(result.failures) == KEPT_FAILURES

    @TOKEN_MODEL
    def test_a_server_that_gives_up_is_told_with_how_far_it_came(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        proxied: Proxied,
        run: Command,
    ) -> None:
        """The exit code is 5, the error says how many documents were seen to, and a load from there completes it."""
        place = access_of(target.model.name, card(few, "large"))

        def fail(request: Request, forward: Forward) -> Reply:
            return Reply.json(503, {"error": "busy"}) if _holds(request, place.id) else forward(request)

        _, proxy = proxied(fail)
        done = run("load", few.path, "--snapsets", sizes.folder, "--json", url=proxy.url)

        assert done.code == 5
        total = len(SIZES) + 6 * 2 + 1 if target.model.name == "gpii-token" else (len(SIZES) + 6) * 2 + 1
        seen = total - 6 - 1
        assert "the server answers 503 busy after 6 retries" in done.stderr
        assert f"run it again to continue; stopped after {seen} of {total} documents" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.data["exit_code"] == 5
        result = load(server, target, all_sources(target, [few], sizes))
        assert outcomes(result) == {"created": 7, "unchanged": seen}
        assert contents(server, target) == expected(target.model.name, [few.path], sizes.folder)


TOO_LARGE = Reply.json(413, {"error": "too_large", "reason": "the request entity is too large"})


def _is_write(request: Request) -> bool:
    return request.endpoint == "_bulk_docs"


def _holds(request: Request, doc_id: str) -> bool:
    return _is_write(request) and doc_id in {each["_id"] for each in request.data()["docs"]}


def rejecting(ids: set[str] | None) -> Hook:
    """Return a hook that answers for some documents, or for all, as a validation function that rejects them would."""

    def hook(request: Request, forward: Forward) -> Reply:
        if not _is_write(request):
            return forward(request)
        data = request.data()
        rejected = [each for each in data["docs"] if ids is None or each["_id"] in ids]
        data["docs"] = [each for each in data["docs"] if each not in rejected]
        reply = forward(replace(request, body=json.dumps(data).encode())) if data["docs"] else Reply.json(201, [])
        rows = [
            {"id": each["_id"], "rev": each["_rev"], "error": "forbidden", "reason": "not in this database"}
            for each in rejected
        ]
        return Reply.json(201, reply.data() + rows)

    return hook


class TestViews:
    """The design document, which is the servers', not a person's."""

    def test_an_outdated_design_document_waits_for_update(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets
    ) -> None:
        """An earlier version's views are reported and left; --update puts this version's in their place."""
        database = _design_database(server, target)
        database.create()
        old = {"_id": DESIGN, "language": "javascript", "views": {"findOld": {"map": "function (doc) { emit(1); }"}}}
        old_rev = f"1-{digest(old)}"
        assert database.write([json.dumps({**old, "_rev": old_rev}).encode()]) == []

        first = bring_all(sizes)
        assert (first.count(Outcome.OUTDATED), first.needs_attention, first.views_built) == (1, 1, 0)
        assert get(database, DESIGN) == {**old, "_rev": old_rev}

        second = bring_all(sizes, update=True)
        assert outcomes(second) == {"updated": 1, "unchanged": second.documents - 1}
        stored = get(database, DESIGN, revs="true")
        assert sorted(stored["views"]) == _view_names(target)
        assert stored["_revisions"]["ids"][1:] == [old_rev[2:]]
        assert second.views_built == len(_view_names(target))

    @KEY_MODEL
    def test_a_foreign_design_document_waits_for_replace_views(
        self,
        server: Server,
        target: Target,
        bring_all: Bring,
        sizes: Snapsets,
        few: Manifest,
        run: Command,
    ) -> None:
        """Somebody else's views stay, with exit code 9, until --replace-views is said; no conflict comes of it."""
        database = _design_database(server, target)
        database.create()
        views = {name: {"map": "function (doc) { emit(doc._id, 1); }"} for name in _view_names(target)[:2]}
        rev = put(database, {"_id": DESIGN, "language": "javascript", "views": views})

        done = run("load", few.path, "--snapsets", sizes.folder, "--json")
        assert (done.code, done.data["foreign"], done.data["views_built"]) == (9, 1, 2)
        assert f"{database.name}, document {DESIGN}: foreign" in done.stderr
        assert bring_all(sizes, update=True).count(Outcome.FOREIGN) == 1
        assert (get(database, DESIGN)["_rev"], get(database, DESIGN)["views"]) == (rev, views)

        result = bring_all(sizes, replace_views=True)
        assert outcomes(result) == {"updated": 1, "unchanged": result.documents - 1}
        stored = get(database, DESIGN, revs="true", conflicts="true")
        assert sorted(stored["views"]) == _view_names(target)
        assert (stored["_revisions"]["start"], stored["_revisions"]["ids"][1:]) == (2, [rev[2:]])
        assert "_conflicts" not in stored

    def test_an_edited_design_document_waits_for_replace_views(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets
    ) -> None:
        """Views that somebody has changed since are left as they are, and replaced only on request."""
        bring_all(sizes)
        database = _design_database(server, target)
        document = get(database, DESIGN)
        document["views"]["another"] = {"map": "function (doc) { emit(doc._id, 1); }"}
        put(database, document)
        edited = get(database, DESIGN)

        assert bring_all(sizes, update=True).count(Outcome.EDITED) == 1
        assert get(database, DESIGN) == edited
        result = bring_all(sizes, replace_views=True)
        assert outcomes(result) == {"updated": 1, "unchanged": result.documents - 1}
        assert sorted(get(database, DESIGN)["views"]) == _view_names(target)

    def test_a_deleted_design_document_comes_back(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets
    ) -> None:
        """Without its views a server finds nobody, so the next load brings them back."""
        bring_all(sizes)
        database = _design_database(server, target)
        delete(database, DESIGN)
        result = bring_all(sizes)
        assert outcomes(result) == {"updated": 1, "unchanged": result.documents - 1}
        assert result.views_built == len(_view_names(target))
        stored = get(database, DESIGN)
        assert sorted(stored["views"]) == _view_names(target)
        assert stored["_rev"].startswith("3-")
        assert bring_all(sizes).count(Outcome.UNCHANGED) == result.documents

    def test_other_design_documents_are_left_alone(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets
    ) -> None:
        """An operator's own design document beside ours stays, whatever is replaced."""
        database = _design_database(server, target)
        database.create()
        put(database, {"_id": "_design/own", "views": {"all": {"map": "function (doc) { emit(doc._id, null); }"}}})
        before = get(database, "_design/own")
        result = bring_all(sizes, update=True, replace_views=True)
        assert outcomes(result) == {"created": result.documents}
        assert get(database, "_design/own") == before


def _design_database(server: Server, target: Target) -> Database:
    return databases(server, target)[target.model.databases[-1]]


def _view_names(target: Target) -> list[str]:
    return sorted(VIEWS[target.model.name])
