"""Preference sets that were edited twice at once: what each edit changed, and merging them."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataloader.batch import Manifest
from dataloader.cli._output import Output
from dataloader.common import ExitCode, NodesError, UsageError
from dataloader.couch import Nodes
from dataloader.operations import MergeResult, SetInConflict, VerifyVerdict, find_conflicts, merge, verify
from dataloader.records import Snapsets
from tests.support.command import Command
from tests.support.loading import Scene, outcomes
from tests.support.marks import EACH_MODEL, ONE_MODEL
from tests.support.proxy import Forward, Reply, Request
from tests.support.records import FONT_SIZE, Json, flat
from tests.support.server import Proxied, put

CONTRAST = "http://registry.gpii.net/common/highContrastTheme"
LANGUAGE = "http://registry.gpii.net/common/language"
A, B = "a" * 32, "b" * 32
"""The digests of two edits; the servers return the second."""

Edit = dict[str, Any]


def edit_twice(scene: Scene, *edits: Edit) -> None:
    """Leave edits of the card's set that were made at once, as on two nodes or in two replicated databases."""
    [before] = scene.database.leaves([scene.place.id])[scene.place.id]
    leaves = []
    for digest, edit in zip((A, B, "0" * 32), edits, strict=False):
        leaf = deepcopy(before)
        flat(leaf).update(edit)
        start, past = before["_revisions"]["start"] + 1, before["_revisions"]["ids"]
        leaf |= {"_rev": f"{start}-{digest}", "_revisions": {"start": start, "ids": [digest, *past]}}
        leaves.append(json.dumps(leaf).encode())
    assert scene.database.write(leaves) == []


def found_in(scene: Scene, version: int = 0, **options: Any) -> MergeResult:
    """Find the conflicts."""
    return find_conflicts(scene.server, scene.target, scene.sources(version), **options)


def merge_all(scene: Scene, version: int = 0, **options: Any) -> MergeResult:
    """Find the conflicts, and merge those that can be."""
    return merge(scene.server, scene.target, found_in(scene, version, **options))


def terms(found: SetInConflict) -> list[set[str]]:
    """Return the terms that each revision changed, the one that the servers return first."""
    return [{each.term.term for each in branch.changed or ()} for branch in found.branches]


def preferences(scene: Scene) -> Json:
    """Return the preferences of the only live revision."""
    [leaf] = scene.live().values()
    return flat(leaf)


@ONE_MODEL
def test_merge_without_a_database_is_an_error(run_here: Command, few: Manifest, versions: list[Snapsets]) -> None:
    """With a mistyped prefix, nothing would be in conflict."""
    done = run_here("merge", few.path, "--snapsets", versions[0].folder)
    assert done.code == ExitCode.PROTOCOL
    assert ": does not exist (load the target first, or correct the model or the prefix)\n" in done.stderr


class TestMerging:
    """Edits of different terms."""

    @EACH_MODEL
    def test_edits_of_different_terms_are_both_kept(self, scene: Scene) -> None:
        """One revision with both replaces them; the card is edited, and other documents stay as they are."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {CONTRAST: "yellow-black"})
        [found] = found_in(scene).open
        assert (found.id, found.key) == (scene.place.id, scene.uuid)
        assert terms(found) == [{CONTRAST}, {FONT_SIZE}]

        result = merge_all(scene)

        assert ([each.id for each in result.merged], result.open) == ([scene.place.id], [])
        assert preferences(scene) == {FONT_SIZE: 30, CONTRAST: "yellow-black"}
        again = scene.load(0)
        assert outcomes(again) == {"edited": 1, "unchanged": again.documents - 1}

    def test_three_edits_are_kept(self, scene: Scene) -> None:
        """As many as there are."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {CONTRAST: "white-black"}, {LANGUAGE: "de"})
        merge_all(scene)
        assert preferences(scene) == {FONT_SIZE: 30, CONTRAST: "white-black", LANGUAGE: "de"}

    def test_equal_edits_do_not_clash(self, scene: Scene) -> None:
        """Both chose the same value, and one of them another term."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 30, LANGUAGE: "de"})
        merge_all(scene)
        assert preferences(scene) == {FONT_SIZE: 30, LANGUAGE: "de"}

    def test_update_between_two_edits_is_no_edit(self, scene: Scene) -> None:
        """An owner edited the set on one node, and on another one after an update: the new value is not theirs."""
        scene.load(0)
        [before] = scene.database.leaves([scene.place.id])[scene.place.id]
        scene.load(1, update=True)
        [updated] = scene.database.leaves([scene.place.id])[scene.place.id]
        for digest, base, edit in ((A, before, {CONTRAST: "white-black"}), (B, updated, {LANGUAGE: "de"})):
            leaf = deepcopy(base)
            flat(leaf).update(edit)
            start = base["_revisions"]["start"] + 1
            ids = [digest, *base["_revisions"]["ids"]]
            leaf |= {"_rev": f"{start}-{digest}", "_revisions": {"start": start, "ids": ids}}
            assert scene.database.write([json.dumps(leaf).encode()]) == []

        [found] = found_in(scene, 1).open
        assert terms(found) == [{LANGUAGE}, {CONTRAST}]
        merge_all(scene, 1)

        assert preferences(scene) == {FONT_SIZE: 20, CONTRAST: "white-black", LANGUAGE: "de"}

    def test_deleted_revision_keeps_its_content(self, scene: Scene) -> None:
        """So that it can be found if the merge was a mistake; it does not count as the owner's deletion."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        merge_all(scene)
        leaves = scene.database.leaves([scene.place.id], all_copies=True)[scene.place.id]
        [deleted] = [leaf for leaf in leaves if leaf.get("_deleted")]
        assert deleted["dataloader"] == "superseded"
        assert flat(deleted["document"])[FONT_SIZE] == 30


class TestChoosing:
    """Edits of the same term."""

    def test_edits_of_one_term_are_left_alone(self, scene: Scene) -> None:
        """Nothing is written, not even the edits of other terms."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30, LANGUAGE: "de"}, {FONT_SIZE: 36})
        before = scene.live()
        result = merge_all(scene)
        assert (result.merged, [each.id for each in result.open]) == ([], [scene.place.id])
        assert [each.term for each in result.open[0].clashes] == [FONT_SIZE]
        assert scene.live() == before

    @pytest.mark.parametrize(("digest", "size"), [(A, 30), (B, 36)])
    def test_kept_revision_decides(self, scene: Scene, digest: str, size: float) -> None:
        """About the term that both changed; other changes are kept, whoever made them."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30, LANGUAGE: "de"}, {FONT_SIZE: 36, CONTRAST: "white-black"})
        result = merge_all(scene, keep=[f"2-{digest[:6]}"])
        assert (len(result.merged), result.open) == (1, [])
        assert preferences(scene) == {FONT_SIZE: size, LANGUAGE: "de", CONTRAST: "white-black"}

    def test_ambiguous_revision_is_refused(self, scene: Scene) -> None:
        """It is the beginning of several; nothing is written."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 36})
        with pytest.raises(UsageError, match="--keep 2-: matches several revisions"):
            found_in(scene, keep=["2-"])

    def test_other_revision_decides_nothing(self, scene: Scene) -> None:
        """It may be of a set that is merged already, so that the command can be run again."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 36})
        found = found_in(scene, keep=["2-c", "3-a"])
        assert (found.unused, [each.merged for each in found.open]) == (["2-c", "3-a"], [None])

    def test_sets_that_differ_in_more_than_terms_need_a_choice(self, scene: Scene) -> None:
        """The kept revision then replaces the others as a whole."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        first, second = (scene.live()[f"2-{digest}"] for digest in (A, B))
        named = deepcopy(first)
        named["note"] = "not a term"
        put(scene.database, {key: value for key, value in named.items() if key != "_revisions"})
        result = merge_all(scene)
        assert (result.merged, [each.is_comparable for each in result.open]) == ([], [False])
        merge_all(scene, keep=[second["_rev"]])
        assert preferences(scene) == {FONT_SIZE: 18, LANGUAGE: "de"}

    def test_kept_revision_keeps_its_attachments(self, scene: Scene) -> None:
        """It stays as it is; the others are deleted."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        first, second = (scene.live()[f"2-{digest}"] for digest in (A, B))
        for document in (first, second):
            del document["_revisions"]
        # The other one is what the servers return.
        for _ in range(2):
            second["_rev"] = put(scene.database, second)
        rev = put(scene.database, {**first, "_attachments": {"photo": {"content_type": "text/plain", "data": "aGk="}}})
        result = merge_all(scene, keep=[rev])
        assert (len(result.merged), result.open) == (1, [])
        assert [*scene.live()] == [rev]
        stored = scene.database.with_attachments(scene.place.id, rev)
        assert stored is not None
        assert stored["_attachments"]["photo"]["data"] == "aGk="

    def test_set_that_is_no_set_any_more_is_still_in_conflict(self, scene: Scene) -> None:
        """An owner's software may write anything; it needs a choice like other sets that cannot be compared."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        winner = scene.stored()
        put(scene.database, {"_id": winner["_id"], "_rev": winner["_rev"], "note": "nothing else"})
        [found] = merge_all(scene).open
        assert not found.is_comparable
        merge_all(scene, keep=[f"2-{A}"])
        assert preferences(scene) == {FONT_SIZE: 30}

    def test_context_that_both_removed_stays_removed(self, scene: Scene) -> None:
        """Its terms have no place in the merged set."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 30})
        for leaf in scene.live().values():
            changed = {key: value for key, value in leaf.items() if key != "_revisions"}
            holder = changed["value"] if "value" in changed else changed["preferences"]
            holder["flat"]["contexts"] = {"night": {"name": "Night", "preferences": {}}}
            put(scene.database, changed)
        assert len(merge_all(scene).merged) == 1
        assert len(scene.live()) == 1


class TestMeanwhile:
    """What others do during a merge."""

    def test_set_edited_meanwhile_is_not_merged(self, scene: Scene) -> None:
        """The new edit and the other one are still there, and the next run merges them."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        found = found_in(scene)
        scene.change(48)
        result = merge(scene.server, scene.target, found)
        assert (result.merged, [each.id for each in result.open]) == ([], [scene.place.id])
        assert sorted(flat(leaf)[FONT_SIZE] for leaf in scene.live().values()) == [30, 48]
        assert all(LANGUAGE in flat(leaf) or flat(leaf)[FONT_SIZE] == 30 for leaf in scene.live().values())

    def test_merge_killed_half_way_is_continued(self, scene: Scene) -> None:
        """It was killed when the merged revision was written, and the other one not yet deleted."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        [found] = found_in(scene).open
        assert found.merged is not None
        put(scene.database, found.merged)
        assert len(scene.live()) == 2
        result = merge_all(scene)
        assert len(result.merged) == 1
        assert preferences(scene) == {FONT_SIZE: 30, LANGUAGE: "de"}

    def test_nothing_is_written_while_a_node_is_down(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        """An edit on it could be hidden."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        found, before = found_in(scene), scene.live()
        away = Nodes(("a", "b"), ("a",))
        monkeypatch.setattr(type(scene.server), "nodes", lambda _: away)
        with pytest.raises(NodesError, match="b: is down"):
            merge(scene.server, scene.target, found)
        monkeypatch.undo()
        assert scene.live() == before

    def test_set_whose_other_revision_was_edited_meanwhile_is_still_open(self, scene: Scene) -> None:
        """The merged revision is written, and the edit stays beside it."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        first = scene.live()[f"2-{A}"]
        deletions = 0

        def edit_first(request: Request, forward: Forward) -> Reply:
            nonlocal deletions
            if request.endpoint == "_bulk_docs" and b"superseded" in request.body:
                deletions += 1
                if deletions == 1:
                    flat(first)[FONT_SIZE] = 48
                    put(scene.database, {key: value for key, value in first.items() if key != "_revisions"})
            return forward(request)

        through, _ = scene.proxied(edit_first)
        result = merge(through, scene.target, found_in(scene))

        assert (result.merged, [each.id for each in result.open]) == ([], [scene.place.id])
        assert sorted(flat(leaf)[FONT_SIZE] for leaf in scene.live().values()) == [30, 48]
        assert deletions == 1

    def test_lost_reply_does_not_count_as_an_edit(self, scene: Scene) -> None:
        """The retry is rejected as a conflict with the first attempt."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {LANGUAGE: "de"})
        lost = 0

        def lose(request: Request, forward: Forward) -> Reply:
            nonlocal lost
            reply = forward(request)
            if request.endpoint == "_bulk_docs":
                lost += 1
                return Reply.json(503, {"error": "unavailable", "reason": "try again"}) if lost in {1, 3} else reply
            return reply

        through, _ = scene.proxied(lose)
        through.welcome()
        result = merge(through, scene.target, found_in(scene))
        assert (len(result.merged), result.open, lost) == (1, [], 4)
        assert preferences(scene) == {FONT_SIZE: 30, LANGUAGE: "de"}


def nested(levels: int) -> Any:
    """Return lists in each other."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


class TestCommand:
    """The command line."""

    @pytest.mark.parametrize("value", [10**22 + 1, nested(300), nested(600)], ids=["large", "deep", "deeper"])
    def test_any_value_of_an_owner_is_shown_and_merged(
        self, scene: Scene, run_here: Command, proxied: Proxied, value: Any
    ) -> None:
        """Owners may write any JSON; the embedded server would round the large number."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: "a mark"}, {LANGUAGE: "de"})
        mark, sent = b'"a mark"', json.dumps(value, separators=(",", ":")).encode()
        written = []

        def hook(request: Request, forward: Forward) -> Reply:
            written.append(request.body)
            reply = forward(replace(request, body=request.body.replace(sent, mark)))
            return replace(reply, body=reply.body.replace(mark, sent))

        _, proxy = proxied(hook)
        given = (scene.batch.path, "--snapsets", scene.versions[0].folder)
        for options in ((), ("--values",), ("--values", "--json")):
            done = run_here("plan", *given, "--diff", *options, url=proxy.url)
            assert done.code == ExitCode.OK, done.stderr
        done = run_here("merge", *given, "--values", "--yes", "--json", url=proxy.url)
        assert done.code == ExitCode.OK, done.stderr
        assert any(sent in each for each in written)
        assert preferences(scene) | {FONT_SIZE: "a mark", LANGUAGE: "de"} == preferences(scene)

    def test_dry_run_shows_what_each_changed(self, scene: Scene, run: Command) -> None:
        """By card and term, without values; nothing is written, and the exit code is 0."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 36, LANGUAGE: "de"})
        before = scene.live()
        done = run("merge", scene.batch.path, "--snapsets", scene.versions[0].folder, "--dry-run")
        assert done.code == ExitCode.OK
        number = next(card.number for card in scene.batch.cards() if card.uuid == scene.uuid)
        assert done.stdout.splitlines() == [
            f"batch few, card {number} ({scene.uuid[:8]}…):",
            "  2-bbbbbbbb: changed fontSize and language",
            "  2-aaaaaaaa: changed fontSize",
            "  both changed fontSize; choose one with --keep",
            "1 preference set in conflict, 0 merged",
        ]
        assert scene.live() == before

    def test_plan_shows_conflicts_as_merge_does(self, scene: Scene, run: Command) -> None:
        """With --diff, term by term; the values, which are personal, only on request."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 36, LANGUAGE: "de"})
        given = (scene.batch.path, "--snapsets", scene.versions[0].folder)
        merged = run("merge", *given, "--dry-run")
        sets = merged.stdout.splitlines()[:-1]
        sets[-1] = sets[-1].replace("--keep", "dataloader merge --keep")
        done = run("plan", *given, "--diff")
        assert done.code == ExitCode.OK
        lines = done.stdout.splitlines()
        assert "1 preference set is in conflict; dataloader merge merges them" in lines
        assert "owners have edited nothing" not in lines, "they have edited this set twice"
        assert lines[-4:] == [f"  {line}" for line in sets]
        for values in ((), ("--values",)):
            of_plan = run("plan", *given, "--diff", *values, "--json").data["diff"]["conflicts"]
            assert of_plan == run("merge", *given, "--dry-run", *values, "--json").data["open"]
            assert ('"value"' in json.dumps(of_plan)) == bool(values)

    def test_next_step_of_a_dry_run_is_to_merge_or_to_choose(
        self, scene: Scene, run_here: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The values tell what to choose; what was kept already is kept in the command."""
        said: list[str] = []

        def note(output: Output, *commands: str) -> None:
            output.has_next = True
            said.extend(commands)

        monkeypatch.setattr(Output, "next", note)
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 36})
        given = ("merge", scene.batch.path, "--snapsets", scene.versions[0].folder)
        before = scene.live()

        def next_after(*options: str) -> tuple[str, str]:
            said.clear()
            assert run_here(*given, "--dry-run", *options).code == ExitCode.OK
            [line] = said
            start, call, rest = line.partition(f"dataloader merge {scene.batch.path} ")
            assert call
            assert f"--url {scene.target.address.url} " in rest
            assert f"--snapsets {scene.versions[0].folder}" in rest
            return start, " ".join(word for word in rest.split()[-3:] if not word.startswith("/"))

        assert next_after() == ("", "--dry-run --values")
        said.clear()
        # The views are not there, which a load would create.
        scene.load(0, views=True)
        assert run_here("plan", *given[1:], "--diff").code == ExitCode.OK
        assert said[0].startswith(f"dataloader merge {scene.batch.path} ")
        assert next_after("--values") == ("choose a revision of each set, such as ", "--keep 2-bbbbbbbb")
        assert next_after("--keep", f"2-{A[:6]}") == ("", "--keep 2-aaaaaa")
        assert scene.live() == before

    def test_report_says_what_is_still_in_conflict(self, scene: Scene, run: Command, tmp_path: Path) -> None:
        """A page for each run: the dry run, one that needs a choice, and one that has merged."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 36})
        given = ("merge", scene.batch.path, "--snapsets", scene.versions[0].folder, "--report")
        verdicts, summaries = [], []
        for number, options in enumerate((("--dry-run",), ("--yes",), ("--yes", "--keep", f"2-{A}"), ("--yes",))):
            page = tmp_path / f"{number}.html"
            summaries.append(run(*given, page, *options).stdout.splitlines()[-1])
            text = page.read_text()
            assert scene.uuid not in text
            verdicts.append(text.partition("<h1>")[2].partition("</h1>")[0])
        assert verdicts == [
            "1 preference set is in conflict.",
            "1 preference set is still in conflict.",
            "The one preference set is merged.",
            "No preference set is in conflict.",
        ]
        assert summaries == [
            "1 preference set in conflict, 0 merged",
            "1 preference set in conflict, 0 merged",
            "1 preference set merged, none in conflict any more",
            "no preference set is in conflict",
        ]

    def test_values_are_shown_on_request(self, scene: Scene, run: Command) -> None:
        """They are personal."""
        scene.load(0)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 36})
        done = run("merge", scene.batch.path, "--snapsets", scene.versions[0].folder, "--dry-run", "--values")
        assert "changed fontSize = 36" in done.stdout
        done = run("merge", scene.batch.path, "--snapsets", scene.versions[0].folder, "--dry-run", "--values", "--json")
        assert [each["changed"][0]["value"] for each in done.data["open"][0]["revisions"]] == [36, 30]

    def test_open_conflicts_end_with_exit_code_9(self, scene: Scene, run: Command) -> None:
        """And verify names them; with --keep, the exit code is 0."""
        scene.load(0, views=True)
        edit_twice(scene, {FONT_SIZE: 30}, {FONT_SIZE: 36})
        given = ("merge", scene.batch.path, "--snapsets", scene.versions[0].folder, "--yes")
        done = run(*given)
        assert (done.code, done.stderr) == (
            ExitCode.ATTENTION,
            "error: 1 preference set is still in conflict (choose with --keep)\n",
        )
        done = run(*given, "--keep", f"2-{A}", "--json")
        assert (done.code, done.data["open"], done.data["merged"]) == (ExitCode.OK, [], [scene.place.id])
        again = run(*given, "--keep", f"2-{A}")
        warning = f"warning: --keep 2-{A}: matches no revision in conflict\n"
        assert (again.code, again.stderr) == (ExitCode.OK, warning)
        found = verify(scene.server, scene.target, [scene.batch], scene.versions[0])
        assert found.verdicts[VerifyVerdict.EDITED] == 1

    def test_no_conflict_is_no_work(self, scene: Scene, run: Command) -> None:
        """It asks nothing and writes nothing."""
        scene.load(0)
        done = run("merge", scene.batch.path, "--snapsets", scene.versions[0].folder)
        assert (done.code, done.stdout) == (ExitCode.OK, "no preference set is in conflict\n")
