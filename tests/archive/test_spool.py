"""The work folder of a backup: sorting on disk, in constant memory."""

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from dataloader.archive import Spool, sort_key
from dataloader.archive import spool as spool_module
from tests.support.marks import THOROUGH

FILL = """
import sys
from pathlib import Path
from dataloader.archive import BodyWriter, Spool, sort_key
folder, count = Path(sys.argv[1]), int(sys.argv[2])
with Spool(folder, {}) as spool:
    for at in range(count):
        name = "%08d" % (at * 7919 % count)
        spool.add("gpii", sort_key(name), [b'{"_id":"%s","_rev":"1-a","x":"%s"}' % (name.encode(), name.encode() * 20)])
        if at % 500 == 0:
            spool.reached("gpii", str(at))
    with spool.body() as body:
        assert BodyWriter(body, None).write("gpii", spool.merged("gpii")) == (count, count)
"""


@THOROUGH
def test_spool_memory_is_constant(peak_memory: Callable[..., int], tmp_path: Path) -> None:
    """Eight times as many documents, in many runs, take at most a quarter more memory."""
    few = peak_memory(FILL, tmp_path / "few", 50_000)
    many = peak_memory(FILL, tmp_path / "many", 400_000)
    assert many <= 1.25 * few


def test_spool_keeps_the_last_version_of_each_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever run a document is in, the last version counts; design documents come last."""
    monkeypatch.setattr(spool_module, "RUN_SECONDS", 0)
    with Spool(tmp_path / "spool", {}) as spool:
        for turn, name in enumerate(["b", "_design/x", "a", "b", "c", "a"]):
            line = b'{"_id":"%s","turn":%d}' % (name.encode(), turn)
            spool.add("db", sort_key(name), [line])
            spool.reached("db", str(turn))
        found = [(key[1], leaves[0][-2:-1]) for key, leaves in spool.merged("db")]
    assert found == [("a", b"5"), ("b", b"3"), ("c", b"4"), ("_design/x", b"1")]
    assert not (tmp_path / "spool").exists()


@THOROUGH
def test_spool_merges_its_runs_so_that_few_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs are written, few files remain; the last version counts, also after each interruption."""
    monkeypatch.setattr(spool_module, "RUN_SECONDS", 0)
    monkeypatch.setattr(spool_module, "MERGED", 3)
    chosen = random.Random(4)
    wanted: dict[str, bytes] = {}
    most = 0

    def fill(turns: range) -> None:
        nonlocal most
        with suppress(KeyboardInterrupt), Spool(tmp_path / "spool", {}, "sesame") as spool:
            assert spool.since("db") == (str(turns.start - 1) if turns.start else None)
            for turn in turns:
                for name in (f"{chosen.randrange(60):02}", f"{chosen.randrange(60, 120):03}"):
                    wanted[name] = b'{"_id":"%s","turn":%d}' % (name.encode(), turn)
                    spool.add("db", sort_key(name), [wanted[name]])
                spool.reached("db", str(turn))
                most = max(most, len(list(spool.folder.iterdir())))
            assert [leaves for _, leaves in spool.merged("db")] == [[wanted[name]] for name in sorted(wanted)]
            raise KeyboardInterrupt

    for start in range(0, 160, 20):
        fill(range(start, start + 20))
    # Two files of each of five levels, the lock and the state.
    assert most <= 12


def test_spool_writes_runs_within_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the documents of a page are, few are in memory; an interrupted page is read again."""
    monkeypatch.setattr(spool_module, "RUN_BYTES", 10_000)

    def add(spool: Spool, page: int, turn: int) -> None:
        for at in range(10):
            name = f"{at * 7 % 10}-{page}"
            spool.add("db", sort_key(name), [b'{"_id":"%s","turn":%d,"x":"%s"}' % (name.encode(), turn, b"x" * 4_000)])
            assert len(spool._content) < 15_000

    with suppress(KeyboardInterrupt), Spool(tmp_path / "spool", {}) as spool:
        add(spool, 1, 1)
        assert spool.since("db") is None
        spool.reached("db", "first")
        add(spool, 2, 1)
        raise KeyboardInterrupt
    with Spool(tmp_path / "spool", {}) as spool:
        assert spool.since("db") == "first"
        add(spool, 2, 2)
        spool.reached("db", "second", end=True)
        found = [(key[1], b'"turn":2' in leaves[0]) for key, leaves in spool.merged("db")]
    assert found == [(f"{at}-{page}", page == 2) for at in range(10) for page in (1, 2)]


@THOROUGH
def test_spool_for_something_else_starts_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another database, base or password, nothing from the earlier run is used."""
    monkeypatch.setattr(spool_module, "RUN_SECONDS", 0)

    def fill(of: dict[str, str], password: str | None) -> tuple[str | None, list[str]]:
        """Add a document, stop like a killed backup, and return where reading would resume."""
        found: list[tuple[str | None, list[str]]] = []

        def interrupted() -> None:
            with Spool(tmp_path / "spool", of, password) as spool:
                since = spool.since("db")
                spool.add("db", sort_key("a"), [b'{"_id":"a"}'])
                spool.reached("db", "5")
                found.append((since, sorted(path.name for path in spool.folder.iterdir())))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        return found[0]

    assert fill({"url": "a"}, None)[0] is None
    assert fill({"url": "a"}, None)[0] == "5"
    assert fill({"url": "b"}, None) == (None, ["db.0.000000", "lock", "state.json"])
    # Unencrypted runs are not continued with a password, nor encrypted ones without.
    assert fill({"url": "b"}, "sesame")[0] is None
    assert fill({"url": "b"}, "sesame")[0] == "5"
    assert fill({"url": "b"}, "open")[0] is None
    assert fill({"url": "b"}, None)[0] is None


def test_large_document_may_come_first(tmp_path: Path) -> None:
    """A work folder has no header, so its first frame may be as large as any."""
    line = b'{"_id":"a","x":"%s"}' % (b"x" * 3_000_000)
    with Spool(tmp_path / "spool", {"url": "a"}, None) as spool:
        spool.add("db", sort_key("a"), [line])
        spool.reached("db", "5", end=True)
        assert [leaves for _, leaves in spool.merged("db")] == [[line]]
