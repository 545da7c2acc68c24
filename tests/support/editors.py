"""Users who edit preference sets as a Preferences Server does, while loads update the same sets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Event

import couchdb.http

from dataloader.common import DataloaderError, Document
from dataloader.couch import Database
from tests.support.records import flat
from tests.support.server import get


@dataclass
class Editor:
    """Reads a set, adds a mark to it, and writes it on top of the revision that was read."""

    name: str
    database: Database
    ids: Sequence[str]
    acknowledged: list[tuple[str, str]] = field(default_factory=list)
    """The document and mark of each edit that the server acknowledged, with 201 or 202."""
    refused: int = 0
    """Edits that were rejected because somebody else was faster."""
    failed: int = 0
    """Edits that may or may not have been written."""

    def edit(self, over: Event) -> None:
        """Edit sets in random order until told to stop."""
        random = Random(self.name)
        while not over.is_set():
            self.edit_once(random.choice(self.ids))

    def edit_once(self, doc_id: str) -> None:
        """Edit one set."""
        mark = f"{self.name}-{len(self.acknowledged) + self.refused + self.failed}"
        try:
            document = get(self.database, doc_id)
            flat(document)[mark] = True
            self.database._resource.put([doc_id], body=document)
        except couchdb.http.ResourceConflict:
            self.refused += 1
        except (DataloaderError, couchdb.http.ResourceNotFound):
            self.failed += 1
        else:
            self.acknowledged.append((doc_id, mark))


@dataclass
class Tally:
    """The results of all edits."""

    acknowledged: int = 0
    in_conflict: int = 0
    """In another live revision than the winner, written by a user; reported as a conflict."""
    lost: list[str] = field(default_factory=list)
    """In no live revision, or hidden behind a load's write: document and mark."""
    refused: int = 0
    failed: int = 0
    loads: Counter[str] = field(default_factory=Counter)
    """The number of loads by result."""

    def count(self, database: Database, editors: Sequence[Editor], conflicts: set[str]) -> None:
        """Count the edits of editors that have stopped.

        Args:
            database: the database of the sets.
            editors: the editors of the sets.
            conflicts: the documents reported as conflicts by a load afterwards.
        """
        edits = [edit for editor in editors for edit in editor.acknowledged]
        leaves = database.leaves(sorted({doc_id for doc_id, _ in edits}), all_copies=True)
        for doc_id, mark in edits:
            live = sorted(
                (leaf for leaf in leaves[doc_id] if not leaf.get("_deleted")),
                key=lambda leaf: (int(leaf["_rev"].partition("-")[0]), leaf["_rev"].partition("-")[2]),
            )
            if live and flat(live[-1]).get(mark):
                continue
            if doc_id in conflicts and any(flat(leaf).get(mark) for leaf in live[:-1]):
                self.in_conflict += 1
            else:
                self.lost.append(f"{doc_id} {mark}: {[_said(leaf) for leaf in leaves[doc_id]]}")
        self.acknowledged += len(edits)
        self.refused += sum(editor.refused for editor in editors)
        self.failed += sum(editor.failed for editor in editors)


def _said(leaf: Document) -> str:
    """Return a leaf's content, for debugging a lost edit."""
    ids = leaf["_revisions"]["ids"]
    path = "<".join(each[:4] for each in ids)
    if leaf.get("_deleted"):
        return f"{leaf['_revisions']['start']}-{path} deleted {leaf.get('dataloader', '')}"
    return f"{leaf['_revisions']['start']}-{path} {flat(leaf)}"
