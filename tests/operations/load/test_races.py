"""Loads with concurrent loads, edits, and signals at the worst moment.

The timing is exact, not random: a proxy in front of the server makes events happen just before or after a given
request.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier, Lock
from typing import Any

import pytest

from dataloader.batch import Manifest
from dataloader.couch import Server
from dataloader.operations import LoadResult, Outcome, all_sources, generate, load
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.loading import Scene
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.proxy import Forward, Hook, Reply, Request
from tests.support.records import FONT_SIZE, digest, flat
from tests.support.server import Proxied, databases, get, put, sequences, snapshot

Matches = Callable[[Request], bool]
Action = Callable[[], object]

LIMIT = 60.0
"""Seconds after which a waiting test fails."""
CARDS = 4


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of four cards with the snapset."""
    return generate("few", {"large": CARDS}, tmp_path_factory.mktemp("batch")).manifest


def once(matches: Matches, *, before: Action | None = None, after: Action | None = None) -> Hook:
    """Return a hook that does something just before or after the first request of a kind."""
    lock = Lock()
    waiting = [True]

    def hook(request: Request, forward: Forward) -> Reply:
        with lock:
            now = waiting[0] and matches(request)
            waiting[0] = waiting[0] and not now
        if now and before is not None:
            before()
        reply = forward(request)
        if now and after is not None:
            after()
        return reply

    return hook


def writes(doc_id: str, generation: int) -> Matches:
    """Match the request that writes a revision of a given generation of a document."""

    def matches(request: Request) -> bool:
        if request.endpoint != "_bulk_docs":
            return False
        data = request.data()
        # An ordinary write contains the revision that it replaces.
        rev = generation - data.get("new_edits", True)
        return any(each["_id"] == doc_id and each.get("_rev", "0-").startswith(f"{rev}-") for each in data["docs"])

    return matches


def counts(result: LoadResult) -> dict[Outcome, int]:
    """Return the outcomes of a load with their counts."""
    return {outcome: result.count(outcome) for outcome in Outcome if result.count(outcome)}


@ONE_MODEL
class TestPersonInBetween:
    """A user writes between a load's read and its write."""

    @pytest.mark.parametrize("new", [True, False], ids=["new database", "used database"])
    def test_document_created_in_between_is_kept(self, scene: Scene, *, new: bool) -> None:
        """A document that somebody creates under a card's ID wins; the load deletes its own."""
        if not new:
            scene.load(0, snapsets_only=True)
        theirs = {"_id": scene.place.id, "type": "note", "text": "not a preference set"}
        through, _ = scene.proxied(once(writes(scene.place.id, 1), before=lambda: put(scene.database, theirs)))

        result = scene.load(0, through=through)

        assert list(scene.live()) == [scene.stored()["_rev"]]
        assert scene.stored()["text"] == "not a preference set"
        assert result.count(Outcome.FOREIGN) == result.needs_attention == 1
        assert counts(scene.load(0)) == {
            Outcome.FOREIGN: 1,
            Outcome.UNCHANGED: result.documents - 1,
        }

    def test_edit_in_between_survives_an_update(self, scene: Scene) -> None:
        """The edit wins, the load's revision is deleted, and the document counts as edited."""
        scene.load(0)
        through, _ = scene.proxied(once(writes(scene.place.id, 2), before=lambda: scene.change(30)))

        result = scene.load(1, through=through, update=True)

        edited = get(scene.database, scene.place.id, revs="true")
        assert flat(edited)[FONT_SIZE] == 30
        assert edited["_revisions"]["start"] == 2
        assert list(scene.live()) == [edited["_rev"]]
        assert (result.count(Outcome.EDITED), result.count(Outcome.UPDATED)) == (1, 1 + CARDS - 1)
        assert result.needs_attention == 0
        assert scene.conflicts() == []

    def test_edit_on_top_of_an_update_is_kept(self, scene: Scene) -> None:
        """A user who edits the new version at once keeps that edit; the update was written before it."""
        scene.load(0)
        through, _ = scene.proxied(once(writes(scene.place.id, 2), after=lambda: scene.change(30)))

        result = scene.load(1, through=through, update=True)

        assert scene.size() == 30
        assert len(scene.live()) == 1
        assert scene.stored()["_rev"].startswith("3-")
        assert (result.count(Outcome.EDITED), result.count(Outcome.UPDATED)) == (0, 1 + CARDS)

    def test_edit_on_another_copy_is_shown_before_more_is_updated(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both were accepted; until the load's revision is deleted, the owner may be shown it, and edit that, too."""
        monkeypatch.setattr("dataloader.replication.updates.CLUSTER_BATCH", 1)
        scene.load(0)
        is_update, shown = writes(scene.place.id, 2), []

        def two_copies(request: Request, forward: Forward) -> Reply:
            if request.endpoint == "_bulk_docs" and not is_update(request):
                shown.append(list(scene.live()))
            before = scene.stored()
            reply = forward(request)
            if (request.method, request.path) == ("GET", f"/{scene.database.name}"):
                return Reply.json(200, {**json.loads(reply.body), "cluster": {"n": 2}})
            if not is_update(request):
                return reply
            flat(before)[FONT_SIZE] = 30
            history = {"start": 2, "ids": ["0" * 32, before["_rev"].partition("-")[2]]}
            edit = {**before, "_rev": f"2-{'0' * 32}", "_revisions": history}
            assert scene.database.write([json.dumps(edit).encode()]) == []
            return Reply.json(202, [{**row, "accepted": True} for row in json.loads(reply.body)])

        through, _ = scene.proxied(two_copies)
        result = scene.load(1, through=through, update=True)

        assert (result.count(Outcome.EDITED), result.count(Outcome.UPDATED)) == (1, 1 + CARDS - 1)
        first = next(at for at, revs in enumerate(shown) if f"2-{'0' * 32}" in revs)
        # First comes the deletion of the load's own.
        assert len(shown[first]) == 2
        assert shown[first + 1 :] == [[f"2-{'0' * 32}"]] * (CARDS - 1)

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_document_revoked_in_between_stays_revoked(self, scene: Scene, moment: str) -> None:
        """A document deleted during its update is not restored by it."""
        scene.load(0)
        revoke = {moment: lambda: scene.delete(scene.place)}
        through, _ = scene.proxied(once(writes(scene.place.id, 2), **revoke))

        result = scene.load(1, through=through, update=True)

        assert scene.live() == {}
        deleted = moment == "before"
        assert (result.count(Outcome.DELETED), result.count(Outcome.UPDATED)) == (deleted, 1 + CARDS - deleted)
        again = scene.load(1, update=True)
        assert counts(again) == {Outcome.DELETED: 1, Outcome.UNCHANGED: again.documents - 1}

    def test_conflicting_edits_are_both_kept(self, scene: Scene) -> None:
        """Two users' edits joined by replication are kept and reported; a load's leftover is deleted."""
        scene.load(0)
        document = get(scene.database, scene.place.id, revs="true")
        bodies = []
        for size, digits in ((30, "a" * 32), (31, "b" * 32)):
            history = {"start": 2, "ids": [digits, *document["_revisions"]["ids"]]}
            flat(document)[FONT_SIZE] = size
            bodies.append(json.dumps({**document, "_rev": f"2-{digits}", "_revisions": history}).encode())
        leftover = scene.brought(1)
        bodies.append(json.dumps({**leftover, "_rev": f"1-{digest(leftover)}"}).encode())
        assert scene.database.write(bodies) == []

        for update in (False, True):
            result = scene.load(1, update=update)
            assert sorted(flat(leaf)[FONT_SIZE] for leaf in scene.live().values()) == [30, 31]
            assert result.count(Outcome.CONFLICT) == 1
            assert result.repaired == (not update)

    def test_edit_survives_two_loads(self, scene: Scene) -> None:
        """In conflict with an edit, another load's revision is deleted, with a marker."""
        scene.load(0)
        document = get(scene.database, scene.place.id, revs="true")
        flat(document)[FONT_SIZE] = 30
        edit = f"2-{'a' * 32}"
        history = {"start": 2, "ids": ["a" * 32, *document["_revisions"]["ids"]]}
        body = json.dumps({**document, "_rev": edit, "_revisions": history}).encode()

        def meanwhile() -> None:
            scene.load(2, update=True)
            assert scene.size() == 22
            # On another server of the cluster, somebody has edited the first version; it is replicated.
            assert scene.database.write([body]) == []

        through, _ = scene.proxied(once(writes(scene.place.id, 2), before=meanwhile))
        result = scene.load(1, through=through, update=True)

        assert list(scene.live()) == [edit]
        assert scene.size() == 30
        leaves = scene.database.leaves([scene.place.id])[scene.place.id]
        assert [leaf.get("dataloader") for leaf in leaves if "_deleted" in leaf] == ["superseded"]
        assert result.count(Outcome.EDITED) == 1
        assert result.count(Outcome.CONFLICT) == 0

    def test_plain_deletion_wins_over_a_load(self, scene: Scene) -> None:
        """A set deleted on another server is not restored, with or without an update."""
        scene.load(0)
        history = {"start": 2, "ids": ["d" * 32, "e" * 32]}
        deleted = {"_id": scene.place.id, "_rev": f"2-{'d' * 32}", "_revisions": history, "_deleted": True}
        assert scene.database.write([json.dumps(deleted).encode()]) == []

        result = scene.load(1, update=True)

        assert scene.live() == {}
        assert (result.count(Outcome.DELETED), result.repaired) == (1, 1)


@ONE_MODEL
class TestOtherLoader:
    """A concurrent load with other snapsets."""

    @pytest.mark.parametrize("new", [True, False], ids=["new database", "used database"])
    def test_whole_load_in_between_leaves_no_conflict(self, scene: Scene, *, new: bool) -> None:
        """One of two versions of each document is left, the winner; the loads report what they did not write."""
        if not new:
            scene.load(0, snapsets_only=True)
        theirs: list[LoadResult] = []
        hook = once(writes(scene.place.id, 1), before=lambda: theirs.append(scene.load(1)))
        through, _ = scene.proxied(hook)

        ours = scene.load(0, through=through)

        assert [result.count(Outcome.CREATED) > 0 for result in theirs] == [True]
        assert scene.conflicts() == []
        lost = scene.lost()
        assert ours.count(Outcome.OUTDATED) == ours.needs_attention == lost[0]
        assert set(counts(ours)) <= {Outcome.CREATED, Outcome.UNCHANGED, Outcome.OUTDATED}
        assert ours.documents == sum(source.count for source in scene.sources(1))
        # From now on each is an ordinary load, and an update writes its own version.
        for version, outdated in enumerate(lost):
            assert scene.load(version).count(Outcome.OUTDATED) == outdated
        scene.load(1, update=True, older_snapsets=True)
        assert scene.lost()[1] == 0
        assert scene.conflicts() == []

    @pytest.mark.parametrize("update", [False, True])
    def test_simultaneous_loads_leave_no_conflict(self, scene: Scene, *, update: bool) -> None:
        """Both have read before either writes: one version is left, and no document is lost."""
        if update:
            scene.load(0)
        both = Barrier(2, timeout=LIMIT)
        matches = writes(scene.place.id, 2 if update else 1)
        loaders = [(version, scene.proxied(once(matches, before=both.wait))[0]) for version in (1, 2)]
        with ThreadPoolExecutor(2) as executor:
            runs = [executor.submit(scene.load, *loader, update=update, older_snapsets=True) for loader in loaders]
            results = [run.result() for run in runs]

        assert scene.conflicts() == []
        lost = scene.lost()
        # The snapset's own document and the cards' sets all exist, each in one of the two versions.
        assert lost[1] + lost[2] == 1 + CARDS
        assert all(result.count(Outcome.FAILED) == result.count(Outcome.CONFLICT) == 0 for result in results)
        final = scene.load(1, update=True, older_snapsets=True)
        assert final.needs_attention == 0
        assert scene.lost()[1] == 0

    def test_writes_joined_by_the_server_leave_no_conflict(self, scene: Scene) -> None:
        """CouchDB joins simultaneous writes of a document to one update: that is detected, too."""
        theirs = scene.wanted(1)

        def join(request: Request, forward: Forward) -> Reply:
            if request.endpoint != "_bulk_docs" or request.data().get("new_edits", True):
                return forward(request)
            data = request.data()
            others = theirs[request.database.removeprefix(scene.target.prefix)]
            versions_of_others = [others[each["_id"]] for each in data["docs"] if each["_rev"].startswith("1-")]
            data["docs"] += [{**each, "_rev": f"1-{digest(each)}"} for each in versions_of_others]
            return forward(replace(request, body=json.dumps(data).encode()))

        through, _ = scene.proxied(join)
        ours = scene.load(0, through=through)

        assert scene.conflicts() == []
        lost = scene.lost()
        assert lost[0] + lost[1] == 1 + CARDS
        assert ours.count(Outcome.OUTDATED) == ours.needs_attention == lost[0]

    def test_same_load_in_between_is_harmless(self, scene: Scene) -> None:
        """Loads of the same input can run at the same time: both write the same revisions."""
        through, _ = scene.proxied(once(writes(scene.place.id, 1), before=lambda: scene.load(0)))
        result = scene.load(0, through=through)
        assert result.needs_attention == 0
        after = scene.snapshot()
        assert all(each["_rev"] == f"1-{digest(each)}" for found in after.values() for each in found.values())
        assert scene.conflicts() == []
        assert counts(scene.load(0)) == {Outcome.UNCHANGED: result.documents}

    @pytest.mark.parametrize("beside", ["nothing", "an edit", "a person's deletion"])
    def test_leftovers_of_a_killed_load_are_repaired(self, scene: Scene, beside: str) -> None:
        """Of two loads' revisions the winner is kept; a user's edit or deletion wins over both."""
        scene.load(0)
        of = [scene.brought(version) for version in range(3)]
        leaves = [{**each, "_rev": f"1-{digest(each)}"} for each in of]
        if beside == "an edit":
            flat(leaves[2])[FONT_SIZE] = 30
            leaves[2]["_rev"] = f"1-{'0' * 32}"
        elif beside == "a person's deletion":
            leaves[2] = {"_id": scene.place.id, "_deleted": True, "_rev": f"1-{'d' * 32}"}
        assert scene.database.write([json.dumps(each).encode() for each in leaves]) == []
        there = scene.live()
        assert len(there) == {"nothing": 3, "an edit": 3, "a person's deletion": 2}[beside]

        result = scene.load(0)

        assert result.repaired == 2
        left = list(scene.live())
        if beside == "nothing":
            assert left == [max(there)]
            assert result.count(Outcome.OUTDATED) == (left != [leaves[0]["_rev"]])
        elif beside == "an edit":
            assert left == [leaves[2]["_rev"]]
            assert result.count(Outcome.FOREIGN) == 1
        else:
            assert left == []
            assert result.count(Outcome.DELETED) == 1
        stood = scene.sequences()
        again = scene.load(0)
        assert counts(again) == counts(result)
        assert again.repaired == 0
        assert scene.sequences() == stood

    def test_document_deleted_by_two_loads_is_restored(self, scene: Scene) -> None:
        """Each had mistaken the other's version for an edit and deleted its own: no user wanted that."""
        scene.load(0)
        of = [scene.brought(version) for version in range(3)]
        assert scene.database.write([json.dumps({**of[1], "_rev": f"1-{digest(of[1])}"}).encode()]) == []
        for rev in scene.live():
            gone = {"_id": scene.place.id, "_rev": rev, "_deleted": True, "dataloader": "superseded"}
            assert scene.database.edit([gone]) == []
        assert scene.live() == {}

        result = scene.load(1)

        assert (result.repaired, scene.size()) == (1, 20)
        assert result.count(Outcome.DELETED) == 0
        again = scene.load(1)
        assert (again.repaired, counts(again)[Outcome.OUTDATED]) == (0, CARDS)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch large enough for several requests for each kind of document."""
    return generate("many", {"snapset_1a": 400, "empty": 201}, tmp_path_factory.mktemp("batch")).manifest


@pytest.fixture
def start(target: Target, on_target: list[str], credentials: dict[str, str], many: Manifest) -> Callable[..., Any]:
    """Start a load of the large batch as a process."""

    def start(url: str = target.address.url) -> subprocess.Popen[str]:
        options = [url if option == target.address.url else option for option in on_target]
        return subprocess.Popen(
            [sys.executable, "-m", "dataloader", "load", str(many.path), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **credentials},
        )

    return start


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, Any]]:
    """Cached results of each model's undisturbed load."""
    return {}


@pytest.fixture
def undisturbed(
    server: Server, target: Target, many: Manifest, snapsets: Snapsets, known: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The result of one undisturbed load of the large batch: documents, revisions, conflicts."""
    if target.model.name not in known:
        reference = Target(target.address, target.model, target.environment, f"{target.prefix}undisturbed-")
        try:
            load(server, reference, all_sources(reference, [many], snapsets))
            known[target.model.name] = snapshot(server, reference)
        finally:
            for database in databases(server, reference).values():
                database.delete()
    return known[target.model.name]


class TestProcesses:
    """Loads as separate processes."""

    @THOROUGH
    def test_two_concurrent_loads_equal_one(
        self, server: Server, target: Target, start: Callable[..., Any], undisturbed: dict[str, Any]
    ) -> None:
        """Both succeed with the same result as one load; a third load writes nothing."""
        loaders = [start(), start()]
        for loader in loaders:
            _, stderr = loader.communicate(timeout=LIMIT)
            assert (loader.returncode, stderr) == (0, "")
        assert snapshot(server, target) == undisturbed
        stood = sequences(server, target)
        third = start()
        stdout, _ = third.communicate(timeout=LIMIT)
        assert third.returncode == 0
        total = sum(map(len, undisturbed.values()))
        assert f"{total:,} documents in " in stdout
        assert f" s: {total:,} unchanged; " in stdout
        assert sequences(server, target) == stood

    @THOROUGH
    @ONE_MODEL
    def test_ctrl_c_is_one_line_and_the_next_load_continues(
        self,
        server: Server,
        target: Target,
        start: Callable[..., Any],
        undisturbed: dict[str, Any],
        proxied: Proxied,
    ) -> None:
        """Exit code 130, one line that says how to continue, and the next load writes the rest."""
        victim: list[subprocess.Popen[str]] = []
        _, proxy = proxied(
            once(
                lambda request: request.endpoint == "_bulk_docs" and len(request.data()["docs"]) > 100,
                before=lambda: victim[0].send_signal(signal.SIGINT),
            )
        )
        victim.append(start(proxy.url))
        stdout, stderr = victim[0].communicate(timeout=LIMIT)
        assert victim[0].returncode == 130
        assert stdout == ""
        assert stderr == "error: interrupted: what was written is kept; run it again to continue\n"
        assert snapshot(server, target) != undisturbed

        again = start(proxy.url)
        _, stderr = again.communicate(timeout=LIMIT)
        assert (again.returncode, stderr) == (0, "")
        assert snapshot(server, target) == undisturbed
