"""Writes that the server rejects completely or in part."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dataloader.batch import Manifest
from dataloader.common import data_dir, shorten_uuids
from dataloader.couch import Rejection, Server
from dataloader.operations import Outcome, all_sources, generate, load
from dataloader.operations.load import KEPT_FAILURES
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.command import Command
from tests.support.loading import CHANGED, DESIGN, SIZES, Bring, card, contents, outcomes
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.proxy import Forward, Hook, Reply, Request
from tests.support.records import (
    FONT_SIZE,
    access_of,
    expected,
    flat,
    preferences_of,
)
from tests.support.server import Proxied, snapshot


class TestWriting:
    """Writes that the server does not accept."""

    @pytest.mark.parametrize("limit", [1_500, 5_000])
    def test_request_too_large_is_halved(
        self, server: Server, target: Target, tmp_path: Path, snapsets: Snapsets, proxied: Proxied, limit: int
    ) -> None:
        """If a server or proxy rejects large requests (413), everything is written in smaller ones, exactly once."""
        manifest = generate("spring", {"snapset_1a": 40, "empty": 20}, tmp_path).manifest
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
    def test_document_too_large_is_reported(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        proxied: Proxied,
        run: Command,
    ) -> None:
        """A document beyond the server's limit fails with the reason; the others are written; exit code 9."""
        place = preferences_of(target.model.name, card(few, "larger"))

        def refuse_one(request: Request, forward: Forward) -> Reply:
            return TOO_LARGE if _holds(request, place.id) else forward(request)

        _, proxy = proxied(refuse_one)
        done = run("load", few.path, "--snapsets", sizes.folder, "--json", url=proxy.url)

        assert done.code == 9
        assert (done.data["failed"], done.data["created"]) == (1, done.data["documents"] - 1)
        assert f"warning: document {shorten_uuids(place.id)}: rejected by the server: " in done.stderr
        assert "the request is too large: the server answers 413 too_large" in done.stderr
        assert "error: 1 document needs a decision" in done.stderr
        wanted = expected(target.model.name, [few.path], sizes.folder)
        del wanted[place.database][place.id]
        assert contents(server, target) == wanted

        assert load(server, target, all_sources(target, [few], sizes)).count(Outcome.CREATED) == 1
        assert contents(server, target) == expected(target.model.name, [few.path], sizes.folder)

    @pytest.mark.parametrize("update", [False, True])
    def test_rejected_document_is_reported(
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
        """A document rejected by a validation function has failed, with the function's message."""
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
    def test_load_command_reports_rejections(
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
        # A card's UUID gives access, and is shortened where others may read it.
        shown = f"{doc_id[:-28]}…"
        expected_line = f"warning: document {shown}: rejected by the server: forbidden: not in this database\n"
        assert expected_line in done.stderr

    @TOKEN_MODEL
    def test_rejections_are_counted_and_the_first_are_kept(
        self, target: Target, sizes: Snapsets, tmp_path: Path, proxied: Proxied
    ) -> None:
        """If a database rejects everything, a hundred reasons are kept, and the count is right."""
        many = generate("many", {"large": 150}, tmp_path / "many").manifest
        sources = all_sources(target, [many], sizes)
        through, _ = proxied(rejecting(None))
        result = load(through, target, sources)
        assert outcomes(result) == {"failed": 2 + 2 * 150 + 1}
        assert len(result.failures) == KEPT_FAILURES

    @TOKEN_MODEL
    def test_failing_server_stops_a_load_with_its_progress(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        proxied: Proxied,
        run: Command,
    ) -> None:
        """The exit code is 5, the error says how many documents are done, and the next load completes it."""
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
