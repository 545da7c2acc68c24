"""Writes that the server rejects completely or in part."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dataloader.common import shorten_uuids
from dataloader.couch import Rejection
from dataloader.operations import Outcome, generate
from dataloader.operations.load import KEPT_FAILURES
from dataloader.records import Snapsets
from tests.support.command import Command
from tests.support.loading import CHANGED, DESIGN, SIZES, Scene, card, outcomes
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.proxy import Forward, Hook, Reply, Request
from tests.support.records import FONT_SIZE, flat, preferences_of


class TestWriting:
    """Writes that the server does not accept."""

    @pytest.mark.parametrize("limit", [1_500, 5_000])
    def test_request_too_large_is_halved(self, scene: Scene, snapsets: Snapsets, limit: int, tmp_path: Path) -> None:
        """If a server or proxy rejects large requests (413), everything is written in smaller ones, exactly once."""
        manifest = generate("spring", {"snapset_1a": 40, "empty": 20}, tmp_path).manifest
        scene = replace(scene, batch=manifest, versions=[snapsets])
        taken: list[Request] = []
        refused: list[Request] = []

        def refuse_large(request: Request, forward: Forward) -> Reply:
            if request.method == "POST" and len(request.body) > limit and not _holds(request, DESIGN):
                refused.append(request)
                return TOO_LARGE
            taken.append(request)
            return forward(request)

        through, _ = scene.proxied(refuse_large)
        result = scene.load(0, through, views=True)

        assert outcomes(result) == {"created": result.documents}
        assert scene.contents() == scene.wanted(0)
        written = [each["_id"] for request in taken if _is_write(request) for each in request.data()["docs"]]
        places = [each for found in scene.snapshot().values() for each in found]
        assert sorted(written) == sorted(places)
        assert len(refused) >= len(scene.target.model.kinds)
        again = scene.load(0, through, views=True)
        assert outcomes(again) == {"unchanged": again.documents}

    @KEY_MODEL
    def test_document_too_large_is_reported(self, scene: Scene, run: Command) -> None:
        """A document beyond the server's limit fails with the reason; the others are written; exit code 9."""
        place = preferences_of(scene.target.model.name, card(scene.batch, "larger"))

        def refuse_one(request: Request, forward: Forward) -> Reply:
            return TOO_LARGE if _holds(request, place.id) else forward(request)

        _, proxy = scene.proxied(refuse_one)
        done = run("load", scene.batch.path, "--snapsets", scene.versions[0].folder, "--json", url=proxy.url)

        assert done.code == 9
        assert (done.data["failed"], done.data["created"]) == (1, done.data["documents"] - 1)
        assert f"warning: document {shorten_uuids(place.id)}: rejected by the server: " in done.stderr
        assert "the request is too large: the server answers 413 too_large" in done.stderr
        assert "error: 1 document needs a decision" in done.stderr
        wanted = scene.wanted(0)
        del wanted[place.database][place.id]
        assert scene.contents() == wanted

        assert scene.load(0, views=True).count(Outcome.CREATED) == 1
        assert scene.contents() == scene.wanted(0)

    @pytest.mark.parametrize("update", [False, True])
    def test_rejected_document_is_reported(self, scene: Scene, *, update: bool) -> None:
        """A document rejected by a validation function has failed, with the function's message."""
        place = scene.place
        if update:
            scene.load(0)
        through, _ = scene.proxied(rejecting({place.id}))
        result = scene.load(1, through, update=update)
        assert outcomes(result) == {
            "failed": 1,
            **({"updated": CHANGED - 1, "unchanged": result.documents - CHANGED} if update else {}),
            **({} if update else {"created": result.documents - 1}),
        }
        assert result.failures == [Rejection(place.id, "forbidden: not in this database")]
        assert result.needs_attention == 1
        wanted = scene.wanted(1)
        if update:
            flat(wanted[place.database][place.id])[FONT_SIZE] = SIZES["large"]
        else:
            del wanted[place.database][place.id]
        assert scene.contents() == wanted

    @TOKEN_MODEL
    def test_load_command_reports_rejections(self, scene: Scene, run: Command) -> None:
        """A line for the document with the server's reason, and exit code 9."""
        doc_id = scene.access.id
        _, proxy = scene.proxied(rejecting({doc_id}))
        done = run("load", scene.batch.path, "--snapsets", scene.versions[0].folder, "--json", url=proxy.url)
        assert done.code == 9
        assert done.data["failed"] == 1
        # A card's UUID gives access, and is shortened where others may read it.
        shown = f"{doc_id[:-28]}…"
        expected_line = f"warning: document {shown}: rejected by the server: forbidden: not in this database\n"
        assert expected_line in done.stderr

    @TOKEN_MODEL
    def test_rejections_are_counted_and_the_first_are_kept(self, scene: Scene, tmp_path: Path) -> None:
        """If a database rejects everything, a hundred reasons are kept, and the count is right."""
        scene = replace(scene, batch=generate("many", {"large": 150}, tmp_path / "many").manifest)
        through, _ = scene.proxied(rejecting(None))
        result = scene.load(0, through, views=True)
        assert outcomes(result) == {"failed": 2 + 2 * 150 + 1}
        assert len(result.failures) == KEPT_FAILURES

    @TOKEN_MODEL
    def test_failing_server_stops_a_load_with_its_progress(self, scene: Scene, run: Command) -> None:
        """The exit code is 5, the error says how many documents are done, and the next load completes it."""
        place = scene.access

        def fail(request: Request, forward: Forward) -> Reply:
            return Reply.json(503, {"error": "busy"}) if _holds(request, place.id) else forward(request)

        _, proxy = scene.proxied(fail)
        done = run("load", scene.batch.path, "--snapsets", scene.versions[0].folder, "--json", url=proxy.url)

        assert done.code == 5
        total = len(SIZES) + 6 * 2 + 1 if scene.target.model.name == "gpii-token" else (len(SIZES) + 6) * 2 + 1
        seen = total - 6 - 1
        assert "the server answers 503 busy after 6 retries" in done.stderr
        assert f"run it again to continue; stopped after {seen} of {total} documents" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.data["exit_code"] == 5
        result = scene.load(0, views=True)
        assert outcomes(result) == {"created": 7, "unchanged": seen}
        assert scene.contents() == scene.wanted(0)


TOO_LARGE = Reply.json(413, {"error": "too_large", "reason": "the request entity is too large"})


def _is_write(request: Request) -> bool:
    return request.endpoint == "_bulk_docs"


def _holds(request: Request, doc_id: str) -> bool:
    return _is_write(request) and doc_id in {each["_id"] for each in request.data()["docs"]}


def rejecting(ids: set[str] | None) -> Hook:
    """Return a hook that rejects some documents, or all, like a validation function."""

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
