"""Measure speed and memory in one run: ``make bench``, or ``python -m bench --help``."""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import openpyxl

from bench import backing_up, couchimport
from bench.ceiling import SETTINGS, ceiling, one_by_one
from bench.indexing import write_and_index
from bench.measure import Measured, python, run
from bench.replaying import record, replay
from bench.returned import reconcile_and_write, write_returned
from bench.updating import overwrite, write_version
from bench.verifying import by_keys, by_ranges
from dataloader.batch import Manifest, mint, read_manifest
from dataloader.common import CONNECTIONS
from dataloader.couch import Address, Database, Server
from dataloader.embedded import EmbeddedServer
from dataloader.operations import DESIGN_KIND, all_sources, generate
from dataloader.records import read_snapsets
from dataloader.records.models import Role, get_model
from dataloader.target import Environment, Target, resolve
from dataloader.vendor import COLUMNS, check_value, check_workbook, write_workbook

MODEL = "gpii-key"
"""One database, so that the ceiling and couchimport write to the same place."""
OTHERS = 100_000
"""Existing documents, in the rows that mention others."""
MOST_WRITTEN = 250_000
"""Maximum number of cards that are written to a server; more would take hours."""
MANY = 500_000
"""Cards of two documents each, in the rows that mention many."""
SINGLE = 1000
"""Documents that are posted one by one; more would have the same rate."""
HERE = Path(__file__).resolve().parent

FLOORS = {
    "cold load / ceiling": (0.6, 0.1),
    "load again / cold load": (0.4, 0.1),
    "workbook written / openpyxl": (6.0, 2.0),
    "workbook read / openpyxl": (8.0, 2.0),
    "reconcile / openpyxl read": (1.5, 0.3),
    "start-up / import click": (1.5, 6.0),
}
"""The ratio that a small benchmark on the embedded server usually finds, and the limit in CI."""


@dataclass
class Rows:
    """Measured values: a list for each name, with one value per run."""

    values: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str) -> None:
        """Add the value of a run."""
        self.values.setdefault(name, []).append(value)
        self.units[name] = unit

    def median(self, name: str) -> float:
        """Return the median of a name's values."""
        return statistics.median(self.values[name])


@dataclass
class Bench:
    """One run of the benchmark."""

    address: Address
    cards: int
    runs: int
    folder: Path
    floors: bool = False
    """Whether to measure only what has a limit."""
    rows: Rows = field(default_factory=Rows)

    def target(self) -> Target:
        """Return a target with a new prefix."""
        return Target(self.address, get_model(MODEL), Environment.CI, f"bench-{uuid4().hex[:8]}-")

    @contextmanager
    def databases(self, *, create: bool) -> Iterator[tuple[Target, Database]]:
        """Yield a new database; delete it afterwards."""
        target = self.target()
        database = Server(self.address).database(target.database("gpii"))
        if create:
            database.create()
        try:
            yield target, database
        finally:
            database.delete()

    def load(self, target: Target, manifest: Manifest, *more: str) -> tuple[Measured, dict[str, Any]]:
        """Run ``dataloader load`` as an operator would."""
        return self._on_target("load", target, manifest, *more)

    def plan(self, target: Target, manifest: Manifest) -> tuple[Measured, dict[str, Any]]:
        """Run ``dataloader plan`` in the same way."""
        return self._on_target("plan", target, manifest)

    def verify(self, target: Target, manifest: Manifest) -> tuple[Measured, dict[str, Any]]:
        """Run ``dataloader verify`` in the same way."""
        return self._on_target("verify", target, manifest)

    def _on_target(
        self, command: str, target: Target, manifest: Manifest, *more: str
    ) -> tuple[Measured, dict[str, Any]]:
        options = ["--url", self.address.url, "--model", MODEL, "--environment", "ci", "--prefix", target.prefix]
        env = {"COUCHDB_USER": self.address.user or "", "COUCHDB_PASSWORD": self.address.password or ""}
        measured = run(python("-m", "dataloader", command, str(manifest.path), *options, *more, "--json"), env=env)
        return measured, json.loads(measured.output)


def documents_of(target: Target, manifest: Manifest) -> list[bytes]:
    """Return the serialised documents of a load, without the views."""
    return [
        document.write()
        for source in all_sources(target, [manifest], read_snapsets())
        if source.kind != DESIGN_KIND
        for document in source.prepared()
    ]


def writing(bench: Bench, manifest: Manifest) -> None:
    """Measure loads, the ceiling, couchimport and single posts, in turn."""
    documents = documents_of(bench.target(), manifest)
    # Sorted by kind and ID, as a load writes them. First find the best setting.
    best = max(
        SETTINGS, key=lambda setting: _with_database(bench, lambda db: ceiling(bench.address, db, documents, *setting))
    )
    say(f"ceiling: {best[0]} documents per request, {best[1]} connections")
    import_in = None if bench.floors else _best_import(bench, documents)
    for number in range(bench.runs):
        say(f"writing, run {number + 1} of {bench.runs}")
        rate = _with_database(bench, lambda db: ceiling(bench.address, db, documents, *best))
        bench.rows.add("ceiling", rate, "documents/s")
        with bench.databases(create=False) as (target, database):
            measured, result = bench.load(target, manifest)
            note_load(bench, "cold load", measured, result)
            bench.rows.add("cold load: whole command", measured.wall, "s")
            before = database.update_seq()
            measured, result = bench.load(target, manifest)
            note_load(bench, "load again", measured, result)
            bench.rows.add("updates by load again", database.update_seq() - before, "updates")
            if bench.floors:
                continue
            verifying(bench, target, manifest, database)
        with bench.databases(create=True) as (target, database):
            seconds = write_and_index(bench.address, database, documents, best, target.model)
            bench.rows.add("ceiling and bare index building", seconds, "s")
        if import_in is not None:
            bench.rows.add("couchimport", _with_database(bench, import_in), "documents/s")
        rate = _with_database(bench, lambda db: one_by_one(bench.address, db, documents[:SINGLE]))
        bench.rows.add("one POST per document", rate, "documents/s")


def _best_import(bench: Bench, documents: list[bytes]) -> couchimport.Contestant | None:
    """Return couchimport with its best setting; None without npm."""
    shuffled = bench.folder / "shuffled.jsonl"
    order = [json.loads(each) for each in documents]
    random.shuffle(order)
    with shuffled.open("w") as stream:
        for document in order:
            del document["_rev"]
            stream.write(json.dumps(document) + "\n")
    contestants = couchimport.contestants(bench.address, shuffled, len(documents))
    best = max(contestants, key=lambda each: _with_database(bench, each), default=None)
    say(f"couchimport: {best}")
    return best


def updating(bench: Bench, manifest: Manifest) -> None:
    """Measure ``load --update`` of outdated cards, bare ordinary writes, and a load with nothing to do."""
    folders = [write_version(bench.folder / f"version-{size}", MODEL, "snapset_1a", size) for size in (18, 20)]
    old, new = (
        [
            document.write()
            for source in all_sources(bench.target(), [manifest], read_snapsets(folder, MODEL))
            if source.kind == "prefsSafe" and source.role is Role.CARD
            for document in source.prepared()
        ]
        for folder in folders
    )
    for number in range(bench.runs):
        say(f"updating, run {number + 1} of {bench.runs}")
        with bench.databases(create=False) as (target, database):
            # The same state as before ours: CouchDB updates the views' indexes while documents are written.
            bench.load(target, manifest, "--snapsets", str(folders[0]))
            rate = overwrite(bench.address, database, new, old, *SETTINGS[0])
            bench.rows.add("bare ordinary writes", rate, "documents/s")
        with bench.databases(create=False) as (target, _):
            bench.load(target, manifest, "--snapsets", str(folders[0]))
            _, result = bench.load(target, manifest, "--snapsets", str(folders[1]), "--update", "--yes")
            seconds = result["seconds"] - result["seconds_indexing"]
            bench.rows.add("load --update", result["updated"] / seconds, "documents/s")
            measured, result = bench.load(target, manifest, "--snapsets", str(folders[1]))
            note_load(bench, "load again after an update", measured, result)
        _replay_update(bench, manifest, folders, len(new))
        with bench.databases(create=False) as (target, _):
            bench.load(target, manifest, "--snapsets", str(folders[0]))
            with ThreadPoolExecutor(2) as executor:
                options = ("--snapsets", str(folders[1]), "--update", "--yes")
                both = [executor.submit(bench.load, target, manifest, *options) for _ in range(2)]
                results = [each.result()[1] for each in both]
            seconds = max(result["seconds"] - result["seconds_indexing"] for result in results)
            bench.rows.add("two load --update at once", len(new) / seconds, "documents/s")


def _replay_update(bench: Bench, manifest: Manifest, folders: Sequence[Path], count: int) -> None:
    with bench.databases(create=False) as (target, database), bench.databases(create=False) as (other, same):
        for each in (target, other):
            bench.load(each, manifest, "--snapsets", str(folders[0]))
        options = ("--snapsets", str(folders[1]), "--update", "--yes")
        requests = record(bench.address, lambda proxy: replace(bench, address=proxy).load(target, manifest, *options))
        # Without the queries that wait for the indexes: their time is not part of the command's rate, either.
        work = [each for each in requests if "/_view/" not in each.path]
        seconds = replay(bench.address, work, CONNECTIONS, of=database, to=same)
        bench.rows.add("load --update: its requests alone", count / seconds, "documents/s")


def verifying(bench: Bench, target: Target, manifest: Manifest, database: Database) -> None:
    """Measure ``verify`` of loaded cards, and bare reads of the same rows by ranges and by keys."""
    keys = [card.uuid for card in manifest.cards()]
    bench.rows.add("bare range reads", by_ranges(bench.address, database, target.model, keys), "cards/s")
    measured, result = bench.verify(target, manifest)
    bench.rows.add("verify", result["verdicts"]["ok"] / result["seconds"], "cards/s")
    bench.rows.add("verify: peak memory", measured.peak, "MB")
    requests = record(bench.address, lambda proxy: replace(bench, address=proxy).verify(target, manifest))
    seconds = replay(bench.address, requests, CONNECTIONS, of=database)
    bench.rows.add("verify: its requests alone", len(keys) / seconds, "cards/s")
    bench.rows.add("bare key reads", by_keys(bench.address, database, target.model, keys), "cards/s")


def writing_beside_others(bench: Bench, manifest: Manifest, others: int) -> None:
    """Measure a cold load, and bare writes, to a database that holds other documents.

    Two cases: cards of an earlier batch, so that the new IDs fall between theirs, and IDs that are all after them.
    """
    between = documents_of(bench.target(), generate("others", {"empty": others // 2}, bench.folder).manifest)
    apart = [each.replace(b'"_id":"', b'"_id":"other-', 1) for each in between]
    documents = documents_of(bench.target(), manifest)
    for number in range(bench.runs):
        for name, there in (("between", between), ("beside", apart)):
            say(f"writing {name} {others:,} others, run {number + 1} of {bench.runs}")
            with bench.databases(create=True) as (_, database):
                ceiling(bench.address, database, there, *SETTINGS[0])
                rate = ceiling(bench.address, database, documents, *SETTINGS[0])
                bench.rows.add(f"bare writing {name} others", rate, "documents/s")
            with bench.databases(create=True) as (target, database):
                ceiling(bench.address, database, there, *SETTINGS[0])
                measured, result = bench.load(target, manifest)
                note_load(bench, f"cold load {name} others", measured, result)


def backups(bench: Bench, manifest: Manifest) -> None:
    """Measure backups and restores of a database written in random order, and couchbackup."""
    documents = documents_of(bench.target(), manifest)
    ids = sorted(json.loads(each)["_id"] for each in documents)
    for number in range(bench.runs):
        say(f"backing up, run {number + 1} of {bench.runs}")
        with bench.databases(create=True) as (target, database):
            backing_up.fill(bench.address, database, documents)
            folder = bench.folder / f"backups-{number}"
            folder.mkdir()
            _back_up(bench, target, database, ids, folder)
            changed = backing_up.change_some(bench.address, database, documents)
            full, since = folder / "full.backup.zst", folder / "since.backup.zst"
            _, result = backing_up.ours(bench.address, "backup", target.prefix, since, "--since", full)
            bench.rows.add("incremental backup of 1 %", result["seconds"], "s")
            if result["documents"] != changed:
                raise ValueError(f"{changed} documents changed, and {result['documents']} are in the backup")
        _restore(bench, documents, folder)


def _back_up(bench: Bench, target: Target, database: Database, ids: list[str], folder: Path) -> None:
    rate = backing_up.bare_reading(bench.address, database, ids, backing_up.READERS)
    bench.rows.add("_bulk_get, eight connections", rate, "documents/s")
    measured, result = backing_up.ours(bench.address, "backup", target.prefix, folder / "full.backup.zst")
    bench.rows.add("backup", result["documents"] / result["seconds"], "documents/s")
    bench.rows.add("full backup", result["seconds"], "s")
    bench.rows.add("backup: whole command", measured.wall, "s")
    bench.rows.add("backup: peak memory", measured.peak, "MB")
    again = folder / "again.backup.zst"
    requests = record(bench.address, lambda proxy: backing_up.ours(proxy, "backup", target.prefix, again))
    seconds = replay(bench.address, requests, backing_up.READERS, of=database)
    bench.rows.add("backup: its requests alone", len(ids) / seconds, "documents/s")
    their = backing_up.theirs(bench.address, folder, "couchbackup", database, folder / "couchbackup.txt")
    if their is not None:
        bench.rows.add("couchbackup", len(ids) / their.wall, "documents/s")


def _restore(bench: Bench, documents: list[bytes], folder: Path) -> None:
    rate = _with_database(bench, lambda db: ceiling(bench.address, db, documents, 1000, 8))
    bench.rows.add("bare writing in order", rate, "documents/s")
    with bench.databases(create=False) as (target, _):
        file = folder / "full.backup.zst"
        measured, result = backing_up.ours(bench.address, "restore", target.prefix, file)
        bench.rows.add("restore", result["documents"] / result["seconds_writing"], "documents/s")
        bench.rows.add("restore and compare", result["documents"] / result["seconds"], "documents/s")
        bench.rows.add("restore: peak memory", measured.peak, "MB")
    if (folder / "couchbackup.txt").exists():
        with bench.databases(create=True) as (_, database):
            their = backing_up.theirs(bench.address, folder, "couchrestore", database, folder / "couchbackup.txt")
            if their is not None:
                bench.rows.add("couchrestore", len(documents) / their.wall, "documents/s")


def writing_many(bench: Bench, cards: int) -> None:
    """Measure a large batch once: the rate of its cold load, and the memory of each step."""
    say(f"generating, planning and loading {cards:,} cards, once")
    command = python("-m", "dataloader", "generate", "many", "--cards", str(cards), "--out", str(bench.folder))
    bench.rows.add("many, generate: peak memory", run(command).peak, "MB")
    manifest = read_manifest(bench.folder / "many.batch.jsonl")
    with bench.databases(create=False) as (target, _):
        bench.rows.add("many, plan: peak memory", bench.plan(target, manifest)[0].peak, "MB")
        measured, result = bench.load(target, manifest)
        note_load(bench, "many, cold load", measured, result)
        bench.rows.add("many, verify: peak memory", bench.verify(target, manifest)[0].peak, "MB")
        file = bench.folder / "many.backup.zst"
        measured, _ = backing_up.ours(bench.address, "backup", target.prefix, file)
        bench.rows.add("many, backup: peak memory", measured.peak, "MB")
    with bench.databases(create=False) as (target, _):
        measured, _ = backing_up.ours(bench.address, "restore", target.prefix, file)
        bench.rows.add("many, restore: peak memory", measured.peak, "MB")


def note_load(bench: Bench, name: str, measured: Measured, result: dict[str, Any]) -> None:
    """Add a load: its rate, and the resources of the whole command.

    The rate excludes building indexes, which the other tools do not do, and start-up and checking the manifest, which
    have their own rows.
    """
    seconds = result["seconds"] - result["seconds_indexing"]
    bench.rows.add(name, result["documents"] / seconds, "documents/s")
    bench.rows.add(f"{name}: whole command, no indexes", measured.wall - result["seconds_indexing"], "s")
    bench.rows.add(f"{name}: processor", measured.cpu, "s")
    bench.rows.add(f"{name}: peak memory", measured.peak, "MB")


def _with_database(bench: Bench, work: Callable[[Database], float]) -> float:
    with bench.databases(create=True) as (_, database):
        return work(database)


def generating(bench: Bench) -> None:
    """Measure generating, reading back and reconciling a batch, and openpyxl with the same rows."""
    for number in range(bench.runs):
        say(f"generating, run {number + 1} of {bench.runs}")
        _generate_once(bench, bench.folder / f"generating-{number}")


def _generate_once(bench: Bench, folder: Path) -> None:
    note(bench, "minting", lambda: sum(1 for _ in mint(bench.cards)), "cards/s")
    measured = run(python("-m", "dataloader", "generate", "b", "--cards", str(bench.cards), "--out", str(folder)))
    bench.rows.add("generate: manifest and workbook", bench.cards / measured.wall, "cards/s")
    bench.rows.add("generate: peak memory", measured.peak, "MB")
    manifest = read_manifest(folder / "b.batch.jsonl")
    note(bench, "manifest checked", lambda: read_manifest(manifest.path), "cards/s")
    note(bench, "workbook written", lambda: write_ours(manifest, folder / "ours.xlsx"), "rows/s")
    note(bench, "openpyxl written", lambda: write_theirs(manifest, folder / "theirs.xlsx"), "rows/s")
    note(bench, "workbook read and checked", lambda: check_workbook(folder / "b.xlsx"), "rows/s")
    note(bench, "openpyxl read", lambda: read_theirs(folder / "b.xlsx"), "rows/s")
    returned = folder / "returned.xlsx"
    write_returned(manifest, returned)
    note(bench, "reconcile", lambda: reconcile_and_write(manifest, returned), "rows/s")
    note(bench, "openpyxl read, of what came back", lambda: read_theirs(returned), "rows/s")
    if bench.floors:
        return
    command = python("-m", "dataloader", "reconcile", str(manifest.path), str(returned), "--name", "again")
    measured = run(command)
    bench.rows.add("reconcile: whole command", measured.wall, "s")
    bench.rows.add("reconcile: processor", measured.cpu, "s")
    bench.rows.add("reconcile: peak memory", measured.peak, "MB")


def note(bench: Bench, name: str, work: Callable[[], object], unit: str) -> None:
    """Add the rate of some work on all cards."""
    start = time.perf_counter()
    work()
    bench.rows.add(name, bench.cards / (time.perf_counter() - start), unit)


def write_ours(manifest: Manifest, path: Path) -> None:
    """Write the workbook as ``generate`` does."""
    with path.open("wb") as stream:
        write_workbook(stream, manifest.header, manifest.cards())


def write_theirs(manifest: Manifest, path: Path) -> None:
    """Write the same rows with openpyxl's write-only mode, without any formatting."""
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Cards")
    sheet.append([column.title for column in COLUMNS])
    for card in manifest.cards():
        sheet.append([str(card.number), card.uuid, check_value(card.uuid), card.snapset, "", "", ""])
    book.save(path)


def read_theirs(path: Path) -> int:
    """Read the rows with openpyxl's read-only mode."""
    book = openpyxl.load_workbook(path, read_only=True)
    rows = sum(1 for _ in book["Cards"].iter_rows(values_only=True))
    book.close()
    return rows


def starting(bench: Bench) -> None:
    """Measure the start-up of the command, and of the library that parses its arguments."""
    for _ in range(max(bench.runs, 5)):
        bench.rows.add("dataloader --version", run(python("-m", "dataloader", "--version")).wall, "s")
        bench.rows.add("import click", run(python("-c", "import click")).wall, "s")


def planning(bench: Bench, manifest: Manifest) -> None:
    """Measure a plan for missing databases: everything except the server."""
    for _ in range(bench.runs):
        measured, result = bench.plan(bench.target(), manifest)
        bench.rows.add("plan, no databases yet", result["documents"] / measured.wall, "documents/s")
        bench.rows.add("plan: peak memory", measured.peak, "MB")


RATIOS = {
    "backup / _bulk_get": ("backup", "_bulk_get, eight connections"),
    "backup / its requests alone": ("backup", "backup: its requests alone"),
    "backup / couchbackup": ("backup", "couchbackup"),
    "restore / bare writing": ("restore", "bare writing in order"),
    "restore / couchrestore": ("restore", "couchrestore"),
    "incremental / full backup": ("incremental backup of 1 %", "full backup"),
    "cold load / ceiling": ("cold load", "ceiling"),
    "cold load beside others / ceiling": ("cold load beside others", "ceiling"),
    "cold load beside others / bare writing": ("cold load beside others", "bare writing beside others"),
    "cold load between others / ceiling": ("cold load between others", "ceiling"),
    "cold load between others / bare writing": ("cold load between others", "bare writing between others"),
    "cold load / couchimport": ("cold load", "couchimport"),
    "cold load / one POST per document": ("cold load", "one POST per document"),
    "whole cold load / ceiling and bare index": ("ceiling and bare index building", "cold load: whole command"),
    "load again / cold load": ("load again", "cold load"),
    "verify / bare range reads": ("verify", "bare range reads"),
    "verify / its requests alone": ("verify", "verify: its requests alone"),
    "verify / bare key reads": ("verify", "bare key reads"),
    "load --update / bare ordinary writes": ("load --update", "bare ordinary writes"),
    "load --update / its requests alone": ("load --update", "load --update: its requests alone"),
    "two load --update at once / one": ("two load --update at once", "load --update"),
    "load again after an update / cold load": ("load again after an update", "cold load"),
    "cold load of many / cold load": ("many, cold load", "cold load"),
    "memory: generate, many / few": ("many, generate: peak memory", "generate: peak memory"),
    "memory: plan, many / few": ("many, plan: peak memory", "plan: peak memory"),
    "memory: cold load, many / few": ("many, cold load: peak memory", "cold load: peak memory"),
    "memory: verify, many / few": ("many, verify: peak memory", "verify: peak memory"),
    "memory: backup, many / few": ("many, backup: peak memory", "backup: peak memory"),
    "memory: restore, many / few": ("many, restore: peak memory", "restore: peak memory"),
    "workbook written / openpyxl": ("workbook written", "openpyxl written"),
    "workbook read / openpyxl": ("workbook read and checked", "openpyxl read"),
    "reconcile / openpyxl read": ("reconcile", "openpyxl read, of what came back"),
    "start-up / import click": ("dataloader --version", "import click"),
}


def ratios(rows: Rows) -> dict[str, float]:
    """Return the ratios of the medians of measured rows."""
    return {
        name: rows.median(one) / rows.median(other)
        for name, (one, other) in RATIOS.items()
        if one in rows.values and other in rows.values
    }


def report(bench: Bench, server: str, path: Path | None) -> None:
    """Print the table, and write it as JSON."""
    found = ratios(bench.rows)
    print(
        f"\n{bench.cards:,} cards, model {MODEL}, {server}, Python {platform.python_version()}, {os.cpu_count()} cores"
    )
    for name, values in bench.rows.values.items():
        shown = (
            f"{bench.rows.median(name):,.3f}" if bench.rows.units[name] == "s" else f"{bench.rows.median(name):,.0f}"
        )
        print(f"  {name:<44}{shown:>12} {bench.rows.units[name]:<12} ({len(values)} runs)")
    for name, ratio in found.items():
        print(f"  {name:<44}{ratio:>12.2f}")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = {"cards": bench.cards, "server": server, "values": bench.rows.values, "units": bench.rows.units}
        path.write_text(json.dumps({**data, "ratios": found}, indent=2) + "\n")
        print(f"  as JSON: {path}")


def hold(rows: Rows) -> int:
    """Compare the ratios of the best run with the limits; return the exit code."""
    code = 0
    print("\n  limits for the best run (they catch a tenfold slowdown, not noise)")
    for name, (usual, floor) in FLOORS.items():
        one, other = RATIOS[name]
        found = [a / b for a, b in zip(rows.values[one], rows.values[other], strict=True)]
        small_is_good = floor > usual
        best = min(found) if small_is_good else max(found)
        good = best <= floor if small_is_good else best >= floor
        code |= not good
        bound = f"at {'most' if small_is_good else 'least'} {floor}, usually {usual}"
        print(f"  {name:<44}{best:>12.2f}  {bound}: {'ok' if good else 'FAILED'}")
    return code


def say(line: str) -> None:
    """Print a progress line."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--cards", type=int, default=25_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--others", type=int, default=OTHERS, help="existing documents; 0 skips these rows")
    parser.add_argument(
        "--many", type=int, help=f"cards of a large batch; 0 skips its rows (default: {MANY:,} on CouchDB, otherwise 0)"
    )
    parser.add_argument("--no-writing", action="store_true", help="generating, planning and memory only")
    parser.add_argument("--backups-only", action="store_true", help="backups and restores only")
    parser.add_argument(
        "--floors", action="store_true", help="measure only what has a limit, and fail if a ratio exceeds it"
    )
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    options = parser.parse_args()
    if options.cards > MOST_WRITTEN:
        say(f"more than {MOST_WRITTEN:,} cards: generating, planning and memory only")
        options.no_writing = True
    with TemporaryDirectory(prefix="bench-") as folder, server() as address:
        bench = Bench(address, options.cards, options.runs, Path(folder), floors=options.floors)
        welcome = Server(address).welcome()
        manifest = generate("bench", {"snapset_1a": options.cards}, bench.folder).manifest
        if options.backups_only:
            backups(bench, manifest)
            report(bench, f"{welcome.product} {welcome.version}", options.json)
            return 0
        if not options.no_writing:
            writing(bench, manifest)
        if not (options.no_writing or options.floors):
            # couchbackup does not work with the embedded server.
            if welcome.names_leaves:
                backups(bench, manifest)
            updating(bench, manifest)
            if options.others:
                writing_beside_others(bench, manifest, options.others)
            # The embedded server would take half an hour.
            many = (MANY if welcome.names_leaves else 0) if options.many is None else options.many
            if many:
                writing_many(bench, many)
        if not options.floors:
            planning(bench, manifest)
        generating(bench)
        starting(bench)
        report(bench, f"{welcome.product} {welcome.version}", options.json)
    return hold(bench.rows) if options.floors else 0


@contextmanager
def server() -> Iterator[Address]:
    """Yield the server of COUCHDB_URL, or the embedded server with data on disk."""
    if os.environ.get("COUCHDB_URL"):
        yield resolve(environment="ci").address
        return
    with (
        TemporaryDirectory(prefix="bench-data-") as data,
        EmbeddedServer(Path(data), admin=("admin", "bench")) as embedded,
    ):
        yield Address(embedded.url, "admin", "bench")


if __name__ == "__main__":
    sys.exit(main())
