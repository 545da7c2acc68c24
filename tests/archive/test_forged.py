"""Backup files with any content whose digests are right: refused before anything is asked of the server."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from dataloader.archive import Backup, BackupHeader, BodyWriter, DatabaseState, finish
from dataloader.common import ExitCode, InputError
from tests.support.command import Command
from tests.support.marks import THOROUGH

HEADER = BackupHeader("2026-11-01T00:00:00.000Z", "gpii-key", "ci", "http://localhost", "", "", "1", ())
GOOD = b'{"_id":"a","_rev":"1-aa"}'
SETTINGS = orjson.dumps({"settings": {"q": 2}, "security": None, "local": None})
NOBODY = ("--url", "http://127.0.0.1:1", "--model", "gpii-key", "--environment", "ci")


def forge(
    folder: Path,
    *,
    lines: Sequence[bytes] = (GOOD,),
    settings: bytes | None = SETTINGS,
    of: Any = "gpii",
    kind: str = "database",
    state: dict[str, Any] | None = None,
    **header: Any,
) -> Path:
    """Write a backup with any content and right digests."""
    path = folder / "forged.backup.zst"
    body = BytesIO()
    writer = BodyWriter(body, None)
    if settings is not None:
        writer._block("gpii", kind, [settings])
    documents, leaves = writer.write(of, [((False, ""), [line]) for line in lines])
    blocks, seal = writer.end()
    database = replace(DatabaseState("gpii", "1-x", "", documents, leaves), **(state or {}))
    with path.open("wb") as stream:
        finish(stream, replace(HEADER, databases=(database,), blocks=blocks, seal=seal, **header), body, None)
    return path


def test_forged_header_is_refused(tmp_path: Path, here: Command) -> None:
    """Members of the wrong type, and times that are none, are one error for every command that reads the header."""
    for wrong in ({"created": "yesterday"}, {"created": "2020-01-01T00:00:00"}, {"url": None}, {"environment": ["ci"]}):
        path = forge(tmp_path, **wrong)
        for arguments in (("restore", path, *NOBODY), ("backups", "list", tmp_path)):
            done = here(*arguments)
            assert done.code not in {ExitCode.OK, ExitCode.INTERNAL}, done
            assert f"{path}: is not a backup of dataloader" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"environment": "mars"}, "is of environment 'mars', which this version does not know"),
        ({"state": {"environment": "mars"}}, "is of environment 'mars', which this version does not know"),
        ({"state": {"name": "_users"}}, "names databases that model gpii-key does not have"),
        ({"lines": [GOOD, b"hello"]}, "block 2: does not hold what a backup holds"),
        ({"lines": [b'{"_id":5,"_rev":"1-aa"}']}, "block 2: does not hold what a backup holds"),
        ({"lines": [b'{"_id":"a"}']}, "block 2: does not hold what a backup holds"),
        ({"settings": b"[]"}, "block 1: does not hold what a backup holds"),
        ({"settings": b'{"settings":{"q":"x"}}'}, "block 1: does not hold what a backup holds"),
        ({"settings": None}, "block 1: is the last, and none holds the settings of database gpii"),
        ({"of": "_users"}, "block 2: does not hold what a backup holds"),
        ({"of": ["gpii"]}, "block 2: is damaged"),
        ({"kind": "settings"}, "block 1: is damaged"),
    ],
)
def test_forged_content_is_refused(wrong: dict[str, Any], said: str, tmp_path: Path, here: Command) -> None:
    """What a backup never holds is refused with the block named, before anything is written."""
    done = here("restore", forge(tmp_path, **wrong), *NOBODY)
    assert done.code == ExitCode.INPUT, done
    assert said in done.stderr


def test_same_file_is_accepted_if_nothing_is_wrong(tmp_path: Path, here: Command) -> None:
    """The files above fail for the reason that they give: without it, the restore gets as far as the server."""
    done = here("restore", forge(tmp_path), *NOBODY)
    assert done.code == ExitCode.UNREACHABLE, done


def test_small_file_cannot_fill_the_memory(tmp_path: Path, peak_memory: Any) -> None:
    """A frame that grows ten thousand times while it is decompressed is given up early."""
    path = tmp_path / "bomb.backup.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(bytes(1_000_000_000)))
    read = (
        "import sys, pathlib\n"
        "from dataloader.archive import Backup\n"
        "from dataloader.common import InputError\n"
        "try:\n    Backup(pathlib.Path(sys.argv[1]))\nexcept InputError:\n    pass\n"
    )
    other = tmp_path / "other.backup.zst"
    other.write_bytes(zstandard.ZstdCompressor().compress(bytes(1_000)))
    assert peak_memory(read, path) < 10 * peak_memory(read, other)


READ = """
import sys, pathlib
from dataloader.archive import Backup
from dataloader.common import InputError
try:
    print(sum(Backup(pathlib.Path(sys.argv[1])).check()))
except InputError as error:
    assert sys.argv[2] in str(error), error
else:
    assert sys.argv[2] == "", sys.argv[2]
"""


@THOROUGH
def test_many_short_lines_cannot_fill_the_memory(tmp_path: Path, peak_memory: Any) -> None:
    """A block of a hundred million lines, or whose first line is huge, is given up before it is split or decoded."""
    usual = peak_memory(READ, forge(tmp_path), "")
    short = b"\n" * 100_000_000
    first = {"block": 2, "database": "gpii", "kind": "documents", "lines": len(short)}
    many = orjson.dumps({**first, "sha256": sha256(short).hexdigest()}) + b"\n" + short
    for name, frame in {"lines": many, "first line": b"[" + b"[]," * 30_000_000 + b"0]\n"}.items():
        path = tmp_path / f"{name}.backup.zst"
        body = BytesIO()
        writer = BodyWriter(body, None)
        writer._block("gpii", "database", [SETTINGS])
        writer._frames.write(frame)
        blocks, seal = writer.end()
        with path.open("wb") as stream:
            header = replace(HEADER, databases=(DatabaseState("gpii", "1-x", "", 1, 1),), blocks=blocks, seal=seal)
            finish(stream, header, body, None)
        assert path.stat().st_size < 100_000
        # The content is held a few times; a list of its lines or members would take many times as much.
        assert peak_memory(READ, path, "block 2") < usual + 450_000


def test_file_that_changes_after_the_check_is_refused(tmp_path: Path) -> None:
    """Another backup that takes its place is noticed at the first block that differs, before it is used."""
    path = forge(tmp_path, lines=[GOOD, b'{"_id":"b","_rev":"1-bb"}'])
    backup = Backup(path)
    assert sum(backup.check()) == 2
    assert len(list(backup.documents("gpii"))) == 2
    forge(tmp_path, lines=[GOOD, b'{"_id":"c","_rev":"1-cc"}'])
    with pytest.raises(InputError, match=r"block 2: is not the one that was checked"):
        next(backup.documents("gpii"))
