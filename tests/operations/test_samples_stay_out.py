"""Sample data, passwords and secrets never get into a staging or production target, with any command."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import json5
import pytest

from dataloader.batch import Counts, ReturnedCard, Verdict, read_manifest, revocations_path, write_reconciled
from dataloader.common import ExitCode, ProtectedError, data_dir
from dataloader.couch import Server
from dataloader.operations import Source, all_sources, entry_sources, load, seed_sources
from dataloader.operations.seed import invented_people, sample_sources
from dataloader.records import Snapsets, read_snapsets
from dataloader.records.models import Role
from dataloader.target import Environment, Target
from tests.support.command import Command
from tests.support.marks import ONE_MODEL
from tests.support.registry import SERVER_COMMANDS, arguments
from tests.support.server import databases, snapshot

PROTECTED = pytest.mark.parametrize("environment", ["staging", "production"])
SAMPLES = data_dir("samples")
PERSONAS = SAMPLES / "personas"
DEMO = SAMPLES / "demo.batch.jsonl"


def secrets() -> set[str]:
    """Return every password and client secret in the sample files, and those of some invented people."""

    def walk(data: Any) -> Iterator[str]:
        for member, value in data.items() if isinstance(data, dict) else enumerate(data):
            if isinstance(value, dict | list):
                yield from walk(value)
            elif isinstance(value, str) and str(member).lower().endswith(("password", "secret")):
                yield value

    invented = {entry.login.password for entry in invented_people(5, 0, read_snapsets()) if entry.login is not None}
    files = [json5.loads(path.read_text("utf-8")) for path in SAMPLES.rglob("*.json*") if path.suffix != ".jsonl"]
    return invented.union(*map(walk, files))


def nothing_arrived(server: Server, target: Target) -> bool:
    """Return whether the target has no database, or none with a document."""
    there = [database.exists() for database in databases(server, target).values()]
    return not any(there) or (all(there) and not any(snapshot(server, target).values()))


def reconciled(path: Path) -> Path:
    """Write the reconciled file of the sample batch, with every card encoded."""
    manifest = read_manifest(DEMO)
    cards = [ReturnedCard(card, Verdict.ENCODED) for card in manifest.cards()]
    with path.open("wb") as stream:
        write_reconciled(stream, manifest.header, Counts({Verdict.ENCODED: len(cards)}), cards)
    return path


def test_samples_contain_secrets() -> None:
    """The other tests look for something."""
    found = secrets()
    assert {"alice", "sam"} < found
    assert len(found) > 10


@ONE_MODEL
@PROTECTED
@pytest.mark.parametrize("name", SERVER_COMMANDS)
def test_no_command_loads_samples_into_production(
    run_here: Command, server: Server, target: Target, tmp_path: Path, name: str, environment: str
) -> None:
    """Given everything in ``samples/`` that it accepts, it refuses, or has nothing to write."""
    samples = tmp_path / "samples"
    shutil.copytree(SAMPLES, samples)
    demo, personas = samples / DEMO.relative_to(SAMPLES), samples / PERSONAS.relative_to(SAMPLES)
    done = run_here(name, *arguments(name, demo, personas), "--environment", environment)
    # Refused operations are not recorded as done either.
    assert not revocations_path(read_manifest(demo)).exists()
    if name in {"backup", "credentials", "drill", "tokens"}:
        # Commands that only read find nothing.
        assert done.code == ExitCode.PROTOCOL
    else:
        assert done.code in {ExitCode.PROTECTED, ExitCode.OK, ExitCode.PROTOCOL, ExitCode.INPUT}
    if name in {"load", "seed", "plan"}:
        assert done.code == ExitCode.PROTECTED
        assert f"at {target.address.url}: never in {environment}" in done.stderr
    assert nothing_arrived(server, target)


@ONE_MODEL
@PROTECTED
def test_sample_batch_is_refused_in_every_form(
    run_here: Command, server: Server, target: Target, tmp_path: Path, environment: str
) -> None:
    """Its UUIDs are public: as it is, renamed, reconciled, in parts."""
    renamed = tmp_path / "spring.batch.jsonl"
    shutil.copy(DEMO, renamed)
    back = reconciled(tmp_path / "spring.reconciled.jsonl")
    for path in (DEMO, renamed, back):
        for flags in ((), ("--part", "1/2"), ("--update", "--yes", "--replace-views", "--strict")):
            done = run_here("load", path, *flags, "--environment", environment)
            assert done.code == ExitCode.PROTECTED
            assert "reproducible batch demo (its UUIDs can be guessed)" in done.stderr
    assert nothing_arrived(server, target)
    # In other environments it is accepted.
    assert run_here("load", back).code == ExitCode.OK


@PROTECTED
def test_personas_are_refused_as_snapsets_in_production(
    run_here: Command, server: Server, target: Target, tmp_path: Path, environment: str
) -> None:
    """Their folder is refused, and so is a persona among snapsets, or renamed."""
    mixed, named = tmp_path / "mixed", tmp_path / "named"
    model = target.model.name
    for folder in (mixed, named):
        folder.mkdir()
        shutil.copy(data_dir("snapsets") / model / "snapset_3.json5", folder)
    shutil.copy(PERSONAS / model / "carla.json5", mixed)
    shutil.copy(data_dir("snapsets") / model / "snapset_1a.json5", named / "vicky.json5")
    for folder, name in ((PERSONAS / model, "alice"), (mixed, "carla"), (named, "vicky")):
        done = run_here("load", "--snapsets-only", "--snapsets", folder, "--environment", environment)
        assert done.code == ExitCode.PROTECTED
        assert f"snapset {name} of {folder}, which has the name of a persona of the samples" in done.stderr
    assert nothing_arrived(server, target)
    assert run_here("load", "--snapsets-only", "--snapsets", mixed).code == ExitCode.OK


@ONE_MODEL
def test_sample_documents_are_refused_as_snapsets(run_here: Command, server: Server, target: Target) -> None:
    """Sample users and clients can't be loaded as preference sets."""
    for model in ("gpii-token", "gpii-key"):
        done = run_here("load", "--snapsets-only", "--snapsets", SAMPLES / model, "--environment", "production")
        assert done.code == ExitCode.INPUT
    assert nothing_arrived(server, target)


@PROTECTED
def test_load_function_refuses_samples_in_production(
    server: Server, target: Target, snapsets: Snapsets, environment: str
) -> None:
    """Sources made for a development target are not loaded into another one."""
    protected = replace(target, environment=Environment(environment))
    people = list(invented_people(2, 0, snapsets))
    for sources in (
        seed_sources(target, snapsets, users=2),
        sample_sources(target.model),
        entry_sources(target.model, lambda: people, 2, Role.PERSON, "nowhere"),
        all_sources(target, [], snapsets) + sample_sources(target.model)[-1:],
    ):
        with pytest.raises(ProtectedError, match=rf"sample data .* at .*: never in {environment}"):
            load(server, protected, sources)
    assert nothing_arrived(server, target)


def test_unknown_source_is_treated_as_a_sample(target: Target, snapsets: Snapsets) -> None:
    """A kind of source added later is refused until its origin is defined."""
    assert not any(source.is_sample for source in all_sources(target, [read_manifest(DEMO)], snapsets))
    unknown = Source("auth", "user", "gpii-token/user", "nowhere", 0, lambda: iter(()))
    assert unknown.is_sample


@ONE_MODEL
def test_production_database_refuses_samples_under_any_environment(
    run_here: Command, server: Server, target: Target, given: tuple[Path, Path]
) -> None:
    """Once it has been loaded as production, giving another environment does not help."""
    manifest, folder = given
    assert (
        run_here("load", manifest, "--all-cards", "--snapsets", folder, "--environment", "production").code
        == ExitCode.OK
    )
    before = snapshot(server, target)
    for environment in ("development", "ci"):
        for call in (("seed", "--users", "5"), ("load", DEMO), ("load", "--snapsets-only", "--snapsets", PERSONAS)):
            assert run_here(*call, "--environment", environment).code == ExitCode.PROTECTED
    assert snapshot(server, target) == before
    stored = json.dumps(before)
    assert not [secret for secret in secrets() if json.dumps(secret) in stored]
