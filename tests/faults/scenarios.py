"""The situations in which every command is tested with every fault."""

import json
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from dataloader.batch import revocations_path
from dataloader.common import prepare
from dataloader.couch import Server
from dataloader.operations import all_sources, back_up, generate, load, revoke
from dataloader.records.models import get_model
from dataloader.target import Environment, Target
from tests.faults.matrix import Scenario, new_prefix, planted
from tests.faults.states import State, clear, state
from tests.support.backups import lines_of
from tests.support.loading import change
from tests.support.records import FONT_SIZE, Place, access_of, flat, preferences_of, write_snapsets
from tests.support.server import databases, delete

BACKUP = "all.backup.zst"
CARDS = 6
"""Enough that each event happens to one card, and one card is left unchanged."""


class Situation:
    """A small batch, its snapset in two versions, and the states of a target over time."""

    def __init__(self, folder: Path, server: Server, cards: int = CARDS) -> None:
        self._server = server
        self._folder = folder
        self._old = write_snapsets(folder / "old", {"large": 18})
        self._new = write_snapsets(folder / "new", {"large": 20})
        self._manifest = generate("small", {"large": cards - 1, "empty": 1}, folder, seed=1).manifest
        self._edited, self._deleted, self._missing, self._foreign, self._conflicted, *_ = (
            card.uuid for card in self._manifest.cards()
        )
        self.lived_in = cache(self._lived_in)
        self.disturbed = cache(self._disturbed)
        self.revoked = cache(self._revoked)
        self.backup = cache(self._backup)

    def scenarios(self, model: str, prefix: str | None = None) -> list[Scenario]:
        """Return every scenario for a model; those that write nothing use the target with this prefix."""
        new: State = dict.fromkeys(get_model(model).databases)
        lived_in, disturbed = self.lived_in(model), self.disturbed(model)
        path = str(self._manifest.path)
        batch = (path, "--snapsets", str(self._new.folder))
        every_card = (
            "--yes",
            *(option for number in range(1, self._manifest.count + 1) for option in ("--card", str(number))),
        )
        scenarios = [
            Scenario("load", ("load", *batch), new),
            Scenario("load, again", ("load", *batch), disturbed),
            Scenario("load --update", ("load", "--update", "--yes", *batch), lived_in),
            Scenario("merge", ("merge", *batch, "--yes", "--keep", "2-aaaa"), disturbed),
            Scenario("backup", ("backup", f"FOLDER/{BACKUP}"), disturbed, in_backup, prefix),
            Scenario("restore", ("restore", str(self.backup(model)), "--no-revocations"), new),
            Scenario("plan", ("plan", *batch), disturbed, None, prefix),
            Scenario("verify", ("verify", *batch), disturbed, None, prefix),
            Scenario("status", ("status", *batch), disturbed, None, prefix),
            Scenario("check", ("check",), disturbed, None, prefix),
            Scenario("check --security", ("check", "--security"), disturbed, None, prefix),
            Scenario("revoke", ("revoke", path, *every_card, "--reason", "lost"), lived_in),
            Scenario("revoke --undo", ("revoke", "--undo", path, *every_card), self.revoked(model)),
            Scenario("seed", ("seed", "--users", "2", "--snapsets", str(self._new.folder)), new),
        ]
        return [replace(each, manifest=self._manifest.path) for each in scenarios]

    def forget_revocations(self) -> None:
        """Delete the list of revoked cards, which later loads obey."""
        revocations_path(self._manifest).unlink(missing_ok=True)

    def _target(self, model: str) -> Target:
        return Target(self._server.address, get_model(model), Environment.CI, new_prefix())

    def _lived_in(self, model: str) -> State:
        """Return a target after an earlier load without one card, and later edits by owners."""
        target = self._target(model)
        try:
            load(self._server, target, all_sources(target, [self._manifest], self._old))
            change(self._server, target, preferences_of(model, self._edited), 36)
            place = access_of(model, self._deleted)
            delete(databases(self._server, target)[place.database], place.id)
            found = state(self._server, target)
        finally:
            clear(self._server, target)
        for name, documents in found.items():
            assert documents is not None
            found[name] = {each: _earlier(leaves) for each, leaves in documents.items() if self._missing not in each}
        return found

    def _disturbed(self, model: str) -> State:
        """Return a target that also has documents that need a decision."""
        before = self.lived_in(model)
        found = deepcopy(before)
        place = preferences_of(model, self._foreign)
        [leaf] = _leaves(found, place)
        leaf |= {"_rev": f"1-{'f' * 32}", "_revisions": {"start": 1, "ids": ["f" * 32]}}
        flat(leaf)[FONT_SIZE] = 40
        place = preferences_of(model, self._conflicted)
        for digit, size in (("a", 41), ("b", 42)):
            leaf = deepcopy(_leaves(before, place)[0])
            past = leaf["_revisions"]["ids"]
            leaf |= {"_rev": f"2-{digit * 32}", "_revisions": {"start": 2, "ids": [digit * 32, *past]}}
            flat(leaf)[FONT_SIZE] = size
            _leaves(found, place).append(leaf)
        del _leaves(found, place)[0]
        return found

    def _revoked(self, model: str) -> State:
        """Return a target with all cards revoked."""
        target = self._target(model)
        cards = list(self._manifest.cards())
        with planted(self._server, target, self.lived_in(model)):
            revoke(self._server, target, self._manifest, cards, "lost")
            return state(self._server, target)

    def _backup(self, model: str) -> Path:
        """Return a backup of a target with documents of every kind."""
        target = self._target(model)
        with planted(self._server, target, self.disturbed(model)):
            return back_up(self._server, target, self._folder / f"{model}-{BACKUP}").path


def in_backup(folder: Path) -> State:
    """Return all documents in the backup that a run has left in its folder, and the names of other files."""
    found: State = {str(each.relative_to(folder)): None for each in folder.rglob("*")}
    if (path := folder / BACKUP).exists():
        documents: dict[str, list[dict[str, Any]]] = {}
        for line in lines_of(path)[1:]:
            documents.setdefault(line.get("_id", ""), []).append(line)
        found[BACKUP] = documents
    return found


def _leaves(found: State, place: Place) -> list[dict[str, Any]]:
    documents = found[place.database]
    assert documents is not None
    return documents[place.id]


def _earlier(leaves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a document's leaves; for a design document, those of an earlier version of this tool."""
    if not leaves[0]["_id"].startswith("_design/"):
        return leaves
    [leaf] = leaves
    views = dict(leaf["views"])
    views.pop(min(views))
    earlier = prepare({"_id": leaf["_id"], "language": leaf["language"], "views": views})
    return [{**json.loads(earlier.write()), "_revisions": {"start": 1, "ids": [earlier.hash]}}]
