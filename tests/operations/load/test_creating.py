"""Loading absent documents, and loading them again."""

import shutil
from pathlib import Path

from dataloader.batch import Manifest
from dataloader.common import data_dir
from dataloader.couch import Server
from dataloader.operations import LoadOptions, LoadResult, Source, all_sources, load
from dataloader.records import Snapsets, read_snapsets
from dataloader.target import Target
from tests.faults.states import clear, state
from tests.support.command import Command
from tests.support.loading import DESIGN, SIZES, Bring, card, change, contents, outcomes, plant_load
from tests.support.marks import EACH_MODEL, TOKEN_MODEL
from tests.support.proxy import pass_on
from tests.support.records import (
    access_of,
    digest,
    expected,
    preferences_of,
    write_snapsets,
)
from tests.support.server import Proxied, databases, delete, get, put, sequences, snapshot


class TestWhatIsBrought:
    """A load into an empty target."""

    def test_load_creates_exactly_the_expected_documents(
        self, server: Server, target: Target, sources: list[Source], manifest: Manifest
    ) -> None:
        """The documents equal those written out by hand, and there are no others; times are the batch's."""
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

    @EACH_MODEL
    def test_planted_load_equals_a_load(self, server: Server, target: Target, sources: list[Source]) -> None:
        """Other tests start from a planted load, which takes a tenth of the requests."""
        plant_load(server, target, sources)
        planted = state(server, target)
        clear(server, target)
        load(server, target, sources)
        assert state(server, target) == planted

    def test_revision_is_computed_from_the_content(self, server: Server, target: Target, sources: list[Source]) -> None:
        """Anyone who has the document can compute its revision, with SHA-256 and sorted keys."""
        load(server, target, sources)
        for found in snapshot(server, target).values():
            for document in found.values():
                assert document["_rev"] == f"1-{digest(document)}"

    def test_views_are_written_last(
        self, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied
    ) -> None:
        """After all cards, so that no index is built while they are written."""
        through, proxy = proxied(pass_on)
        load(through, target, all_sources(target, [manifest], snapsets))
        writes = [request.data()["docs"] for request in proxy.requests if request.endpoint == "_bulk_docs"]
        assert [each["_id"] for each in writes[-1]] == [DESIGN]
        queries = [at for at, request in enumerate(proxy.requests) if "/_view/" in request.path]
        last = max(at for at, request in enumerate(proxy.requests) if request.endpoint == "_bulk_docs")
        assert len(queries) == len(target.model.card_views)
        assert min(queries) > last

    def test_new_database_needs_no_reads(
        self, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied
    ) -> None:
        """It is empty, so the first load only writes until its last write."""
        through, proxy = proxied(pass_on)
        load(through, target, all_sources(target, [manifest], snapsets))
        sent = [request.endpoint for request in proxy.requests if request.method == "POST"]
        last = max(at for at, endpoint in enumerate(sent) if endpoint == "_bulk_docs")
        assert set(sent[:last]) == {"_bulk_docs"}

    def test_load_into_an_existing_empty_database(
        self, server: Server, target: Target, sources: list[Source], manifest: Manifest
    ) -> None:
        """A database created by an administrator is filled, not created again."""
        for database in databases(server, target).values():
            database.create()
        result = load(server, target, sources)
        assert result.created_databases == []
        assert outcomes(result) == {"created": result.documents}
        assert contents(server, target) == expected(target.model.name, [manifest.path], data_dir("snapsets"))

    def test_load_into_a_database_with_other_documents(
        self, server: Server, target: Target, sources: list[Source]
    ) -> None:
        """Other documents in the database are kept and cause no problems."""
        others = {}
        for name, database in databases(server, target).items():
            database.create()
            put(database, {"_id": "somebody-elses", "type": "note"})
            others[name] = get(database, "somebody-elses")
        result = load(server, target, sources)
        assert outcomes(result) == {"created": result.documents}
        for name, database in databases(server, target).items():
            assert get(database, "somebody-elses") == others[name]

    def test_load_of_several_batches(
        self, server: Server, target: Target, manifest: Manifest, few: Manifest, tmp_path: Path
    ) -> None:
        """Two manifests in one load have the same result as two loads."""
        folder = write_snapsets(tmp_path / "all", SIZES).folder
        shutil.copytree(data_dir("snapsets") / target.model.name, folder, dirs_exist_ok=True)
        result = load(server, target, all_sources(target, [manifest, few], read_snapsets(folder)))
        assert contents(server, target) == expected(target.model.name, [manifest.path, few.path], folder)
        assert outcomes(result) == {"created": result.documents}

    @TOKEN_MODEL
    def test_load_of_snapsets_and_views_without_a_batch(self, server: Server, target: Target, run: Command) -> None:
        """A target can be set up before there are cards."""
        done = run("load", "--snapsets-only", "--json")
        assert (done.code, done.stderr) == (0, "")
        stored = contents(server, target)
        assert stored == expected(target.model.name, [], data_dir("snapsets"))
        assert done.data["created"] == done.data["documents"] == sum(map(len, stored.values())) + 1
        assert done.data["views_built"] == {"gpii-token": 15, "gpii-key": 7}[target.model.name]

    def test_load_command(
        self,
        server: Server,
        target: Target,
        manifest: Manifest,
        run: Command,
    ) -> None:
        """It creates the documents and prints how many; run again, it has nothing to do."""
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
    """Loading the same documents again."""

    def test_second_load_writes_nothing(
        self, server: Server, target: Target, manifest: Manifest, snapsets: Snapsets, proxied: Proxied
    ) -> None:
        """Nothing is created, no write is sent, and update sequences and revisions are the same."""
        sources = all_sources(target, [manifest], snapsets)
        load(server, target, sources)
        before = snapshot(server, target), sequences(server, target)
        through, proxy = proxied(pass_on)

        for update, replace_views in ((False, False), (True, False), (True, True)):
            result = load(through, target, sources, LoadOptions(update=update, replace_views=replace_views))
            assert outcomes(result) == {"unchanged": result.documents}
            assert (snapshot(server, target), sequences(server, target)) == before
        assert proxy.count("POST", "_bulk_docs") == 0
        assert {request.method for request in proxy.requests} == {"GET", "POST"}

    def test_outcomes_add_up(
        self, server: Server, target: Target, bring_all: Bring, sizes: Snapsets, few: Manifest
    ) -> None:
        """Each document has exactly one outcome."""
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

    def test_progress_of_each_step_is_complete(self, server: Server, target: Target, sources: list[Source]) -> None:
        """Each step reports its total, and reaches it."""
        seen: dict[str, tuple[int, int]] = {}

        def on_progress(step: str, done: int, total: int) -> None:
            seen[step] = done, total

        load(server, target, sources, on_progress=on_progress)
        assert seen
        assert all(done == total for done, total in seen.values())
