"""Many at once: loaders of overlapping batches, and people who change their preferences in the meantime."""

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
from tests.support.marks import THOROUGH
from tests.support.records import FONT_SIZE, flat, preferences_of, write_snapsets
from tests.support.server import databases, get, put, snapshot

pytestmark = THOROUGH

CARDS = 60
"""In each batch."""
ROUNDS = 2
"""How often every loader loads; the second time there is nothing left to create, but much that has been edited."""
PAUSE = 0.3
"""Seconds between two changes of a card at least: longer than an update takes to look again after it has written."""


class Editor:
    """Somebody who changes preference sets as the Preferences Server does, one card after another, again and again."""

    def __init__(self, server: Server, target: Target, uuids: Sequence[str]) -> None:
        self._databases = databases(server, target)
        self._model = target.model.name
        self._uuids = uuids
        self._over = Event()
        self.edits: dict[str, float] = {}
        """The size that was last written to each card."""

    def edit(self) -> None:
        """Change one card after another until it is over; each a while after it was changed before."""
        size = 100.0
        while not self._over.wait(PAUSE):
            for uuid in self._uuids:
                size += 1
                if self._change(uuid, size):
                    self.edits[uuid] = size

    def stop(self) -> None:
        """Have it end with what is under way."""
        self._over.set()

    def _change(self, uuid: str, size: float) -> bool:
        """Change a card; tell whether it was there."""
        place = preferences_of(self._model, uuid)
        while True:
            try:
                document = get(self._databases[place.database], place.id)
                flat(document)[FONT_SIZE] = size
                put(self._databases[place.database], document)
            except couchdb.http.ResourceNotFound:
                return False
            except couchdb.http.ResourceConflict:
                # Somebody was quicker; a person tries again.
                continue
            return True


def test_four_loaders_and_an_editor_lose_nothing(
    server: Server, target: Target, tmp_path: Path, on_target: list[str], credentials: dict[str, str]
) -> None:
    """Loaders of overlapping batches, one with another version and ``--update``, end well beside an editor.

    There is no conflict, every card is there, and every edit is as its owner left it.
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
                # Whoever has the older snapset finds outdated what the other one has updated.
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
    """Make folders."""
    made = [path / f"loader-{number}" for number in range(count)]
    for folder in made:
        folder.mkdir()
    return made
