"""Input that a load refuses before it writes."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from dataloader.batch import Manifest, read_manifest
from dataloader.common import InputError, ProtectedError
from dataloader.couch import Server
from dataloader.operations import all_sources, generate, load
from dataloader.records import Snapsets
from dataloader.target import Environment, Target
from tests.support.command import Command
from tests.support.loading import contents, outcomes
from tests.support.marks import KEY_MODEL, TOKEN_MODEL
from tests.support.records import (
    expected,
)
from tests.support.server import databases, snapshot


class TestInputs:
    """What a load refuses before it writes."""

    @TOKEN_MODEL
    def test_duplicate_batch_is_refused(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        sizes: Snapsets,
        run: Command,
        tmp_path: Path,
    ) -> None:
        """A manifest given twice, under any name, is a mistake: exit code 3, and nothing is created."""
        copy = tmp_path / "copy.batch.jsonl"
        shutil.copy(few.path, copy)
        with pytest.raises(InputError, match="holds the same cards as"):
            all_sources(target, [few, read_manifest(copy)], sizes)
        done = run("load", few.path, copy, "--snapsets", sizes.folder)
        assert done.code == 3
        assert f"error: {copy}: holds the same cards as {few.path} (give it once)\n" in done.stderr
        assert _existing(server, target) == []

    @KEY_MODEL
    def test_unknown_snapset_is_refused(
        self,
        server: Server,
        target: Target,
        few: Manifest,
        run: Command,
    ) -> None:
        """A batch with snapsets that the folder lacks is refused with the known names; nothing is created."""
        done = run("load", few.path)
        assert done.code == 3
        for name in ("large", "larger"):
            assert f'error: {few.path}: no snapset "{name}" in ' in done.stderr
        assert "must be one of: empty, snapset_1a," in done.stderr
        assert _existing(server, target) == []

    @TOKEN_MODEL
    @pytest.mark.parametrize(
        ("command_name", "environment"), [("load", "staging"), ("load", "production"), ("plan", "production")]
    )
    def test_seeded_batch_is_refused_in_production(
        self,
        server: Server,
        target: Target,
        run: Command,
        tmp_path: Path,
        command_name: str,
        environment: str,
    ) -> None:
        """Guessable UUIDs never reach staging or production: exit code 8, and no database is created."""
        seeded = generate("guessed", {"snapset_1a": 3}, tmp_path, seed=7).manifest
        done = run(command_name, seeded.path, "--environment", environment)
        assert done.code == 8
        assert "reproducible batch guessed (its UUIDs can be guessed)" in done.stderr
        assert f"never in {environment} (mint a batch without --seed)" in done.stderr
        assert done.stdout == ""
        assert _existing(server, target) == []

    @pytest.mark.parametrize("environment", [Environment.STAGING, Environment.PRODUCTION])
    def test_one_seeded_batch_among_others_is_refused(
        self, target: Target, few: Manifest, sizes: Snapsets, tmp_path: Path, environment: Environment
    ) -> None:
        """One such batch is enough."""
        seeded = generate("guessed", {"large": 3}, tmp_path, seed=7).manifest
        protected = replace(target, environment=environment)
        assert all_sources(protected, [few], sizes)
        with pytest.raises(ProtectedError, match="reproducible batch guessed"):
            all_sources(protected, [few, seeded], sizes)

    @pytest.mark.parametrize("fresh", [True, False])
    def test_seeded_batches_may_share_cards(
        self, server: Server, target: Target, sizes: Snapsets, tmp_path: Path, *, fresh: bool
    ) -> None:
        """Batches with the same seed have the same UUIDs: the first one's cards are kept, without conflicts."""
        one = generate("one", {"large": 4}, tmp_path, seed=7).manifest
        two = generate("two", {"larger": 4}, tmp_path, seed=7).manifest
        assert [card.uuid for card in one.cards()] == [card.uuid for card in two.cards()]
        if not fresh:
            load(server, target, all_sources(target, [], sizes))

        result = load(server, target, all_sources(target, [one, two], sizes))

        assert contents(server, target) == expected(target.model.name, [one.path], sizes.folder)
        assert _conflicts(server, target) == []
        assert outcomes(result)["outdated"] == 4

    def test_invalid_document_is_never_written(
        self, server: Server, target: Target, few: Manifest, sizes: Snapsets
    ) -> None:
        """A document that breaks its schema stops the load; the error names the rule."""
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
