"""A clock that runs backwards, as on a machine with an empty battery, or while somebody corrects the time."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataloader.batch import read_manifest
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import Outcome, all_sources, load
from dataloader.target import Target
from tests.support.marks import KEY_MODEL, THOROUGH
from tests.support.records import write_snapsets
from tests.support.server import snapshot

pytestmark = [THOROUGH, KEY_MODEL]

# Each read of the wall clock returns a time one day earlier, starting in 2001.
SET_BACK = """
import datetime, itertools, sys, time

days = itertools.count()

def seconds():
    return 978_307_200.0 - 86_400 * next(days)

class datetime_(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(seconds(), tz)

datetime.datetime = datetime_
time.time = seconds
time.time_ns = lambda: int(seconds() * 1e9)
from dataloader.cli import main
main(sys.argv[1:])
"""


def test_clock_running_backwards_changes_nothing(
    server: Server, target: Target, on_target: list[str], credentials: dict[str, str], tmp_path: Path
) -> None:
    """A batch minted, loaded, revoked and verified with a clock that runs backwards is like any other.

    The documents are the same as with a normal clock, including their revisions.
    """

    def run(*arguments: object) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", SET_BACK, *map(str, arguments), "--json"],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **credentials},
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (ExitCode.OK, "")
        data: dict[str, Any] = json.loads(done.stdout)
        return data

    snapsets = write_snapsets(tmp_path / "snapsets", {"large": 20})
    on_snapsets = ["--snapsets", snapsets.folder]
    run("generate", "spring", "--cards", 5, "--snapset", "large", *on_snapsets)
    manifest = read_manifest(tmp_path / "spring.batch.jsonl")
    assert manifest.header.created < "2001"
    batch = [manifest.path, *on_snapsets, *on_target]
    assert run("load", *batch, "--report", "load.html")["created"] > 0
    # Durations do not use that clock.
    assert re.search(r"<dt>Took</dt><dd>\d+\.\d s</dd>", (tmp_path / "load.html").read_text("utf-8"))
    before = snapshot(server, target)
    assert load(server, target, all_sources(target, [manifest], snapsets)).count(Outcome.CREATED) == 0
    other = replace(target, prefix=f"{target.prefix}other-")
    try:
        load(server, other, all_sources(other, [manifest], snapsets))
        assert snapshot(server, other) == before
    finally:
        for name in other.model.databases:
            server.database(other.database(name)).delete()
    revoking = [manifest.path, "--card", 2, "--yes", *on_target]
    assert run("revoke", *revoking, "--reason", "lost")["revoked"] == 1
    verdicts = run("verify", *batch)["verdicts"]
    assert (verdicts["ok"], verdicts["revoked"]) == (4, 1)
    assert run("revoke", *revoking, "--undo")["restored"] == 1
    assert run("load", *batch)["created"] == 0
    verdicts = run("verify", *batch)["verdicts"]
    assert verdicts["ok"] + verdicts["edited"] == 5
