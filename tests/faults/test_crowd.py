"""Concurrent loads of overlapping batches while users edit their preferences."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import couchdb.http

from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import all_sources, generate, load, verify
from dataloader.target import Target
from tests.faults.quick_start import QuickStart
from tests.support.marks import KEY_MODEL, THOROUGH
from tests.support.records import FONT_SIZE, flat, preferences_of, write_snapsets
from tests.support.server import databases, get, put, snapshot

pytestmark = [THOROUGH, KEY_MODEL]

CARDS = 60
"""Cards in each batch."""
ROUNDS = 2
"""Loads by each loader; the second one has nothing to create, but finds many edited documents."""
PAUSE = 0.3
"""Minimum seconds between two edits of a card: longer than an update takes to check after its write."""


class Editor:
    """Edits preference sets as the Preferences Server does, one card after another, repeatedly."""

    def __init__(self, server: Server, target: Target, uuids: Sequence[str]) -> None:
        self._databases = databases(server, target)
        self._model = target.model.name
        self._uuids = uuids
        self._over = Event()
        self.edits: dict[str, float] = {}
        """The value last written to each card."""

    def edit(self) -> None:
        """Edit one card after another until stopped, each some time after its last edit."""
        size = 100.0
        while not self._over.wait(PAUSE):
            for uuid in self._uuids:
                size += 1
                if self._change(uuid, size):
                    self.edits[uuid] = size

    def stop(self) -> None:
        """Stop after the edit in progress."""
        self._over.set()

    def _change(self, uuid: str, size: float) -> bool:
        """Edit a card; return whether it exists."""
        place = preferences_of(self._model, uuid)
        while True:
            try:
                document = get(self._databases[place.database], place.id)
                flat(document)[FONT_SIZE] = size
                put(self._databases[place.database], document)
            except couchdb.http.ResourceNotFound:
                return False
            except couchdb.http.ResourceConflict:
                # Somebody else was faster; try again, as a user would.
                continue
            return True


def test_four_loaders_and_an_editor_lose_nothing(
    server: Server, target: Target, tmp_path: Path, on_target: list[str], credentials: dict[str, str]
) -> None:
    """Loaders of overlapping batches, one with another version and ``--update``, succeed while cards are edited.

    There are no conflicts, every card exists, and every edit is kept.
    """
    old, new = (write_snapsets(tmp_path / f"version-{size}", {"large": size}) for size in (18, 20))
    batches = [generate(f"batch-{number}", {"large": CARDS}, tmp_path / "batches").manifest for number in range(4)]
    load(server, target, all_sources(target, batches[:1], old))
    uuids = [card.uuid for batch in batches for card in batch.cards()]
    calls = [
        ["load", *(batches[number].path for number in numbers), "--snapsets", version.folder, *options, *on_target]
        for numbers, version, options in (
            ((0, 1), old, []),
            ((1, 2), old, []),
            ((2, 3), old, []),
            ((3, 0), new, ["--update", "--yes"]),
        )
    ]
    editor = Editor(server, target, uuids)
    with ExitStack() as stack:
        loaders = [stack.enter_context(QuickStart(folder, credentials)) for folder in folders(tmp_path, len(calls))]
        executor = stack.enter_context(ThreadPoolExecutor(len(calls) + 1))
        editing = executor.submit(editor.edit)
        try:
            for _ in range(ROUNDS):
                ends = [*executor.map(lambda loader, call: loader.run(*call), loaders, calls)]
                # The loader with the older snapset finds documents outdated that the other has updated.
                assert all(code in {ExitCode.OK, ExitCode.ATTENTION} for code, _ in ends), ends
        finally:
            editor.stop()
        editing.result()
        code, said = loaders[-1].run(*calls[-1], *(batch.path for batch in batches[1:3]))
        assert (code, said) == (ExitCode.OK, "")
    assert len(editor.edits) > len(uuids) / 2
    there = snapshot(server, target)
    assert [each for found in there.values() for each, document in found.items() if "_conflicts" in document] == []
    for uuid in uuids:
        place = preferences_of(target.model.name, uuid)
        assert flat(there[place.database][place.id])[FONT_SIZE] == editor.edits.get(uuid, 20)
    result = verify(server, target, batches, new)
    assert result.good
    assert result.verdicts.total() == len(uuids)


def folders(path: Path, count: int) -> list[Path]:
    """Create folders."""
    made = [path / f"loader-{number}" for number in range(count)]
    for folder in made:
        folder.mkdir()
    return made
