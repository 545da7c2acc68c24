"""couchimport from npm, the usual tool for loading CouchDB; only the benchmark installs it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from platformdirs import user_cache_path

from bench.ceiling import SETTINGS
from bench.measure import run
from dataloader.common import ENV_CACHE_DIR
from dataloader.couch import Address, Database

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Contestant:
    """couchimport with one setting; a call fills a database and returns the documents per second."""

    program: Path
    address: Address
    source: Path
    count: int
    size: int
    connections: int

    def __str__(self) -> str:
        """Return the setting in words."""
        return f"{self.size} documents per request, {self.connections} connections"

    def __call__(self, database: Database) -> float:
        """Import the file; return the documents per second."""
        scheme, _, rest = self.address.url.partition("://")
        login = f"{self.address.user}:{self.address.password}@" if self.address.user else ""
        options = ["--type", "jsonl", "--buffer", str(self.size), "--parallelism", str(self.connections)]
        measured = run(
            [str(self.program), *options, "--db", database.name],
            env={"COUCH_URL": f"{scheme}://{login}{rest}"},
            stdin=self.source,
        )
        held = int((database.info() or {})["doc_count"])
        if held != self.count:
            sys.exit(f"couchimport wrote {held} of {self.count} documents")
        return self.count / measured.wall


def contestants(address: Address, source: Path, count: int) -> list[Contestant]:
    """Return couchimport with each setting to try; empty without npm.

    Args:
        address: the server.
        source: a file with one document per line.
        count: how many.
    """
    program = peer("couchimport")
    if program is None:
        return []
    return [Contestant(program, address, source, count, *setting) for setting in SETTINGS]


def peer(name: str) -> Path | None:
    """Return a program from npm to compare with, installed at the first call; None without npm."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    lock = (HERE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get(ENV_CACHE_DIR) or user_cache_path("dataloader"))
    folder = cache / f"bench-peers-{sha256(lock).hexdigest()[:16]}"
    if not (folder / "node_modules" / ".bin" / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        for each in ("package.json", "package-lock.json"):
            shutil.copy(HERE / each, folder)
        subprocess.run([npm, "ci", "--ignore-scripts", "--no-audit"], cwd=folder, check=True, capture_output=True)  # noqa: S603
    return folder / "node_modules" / ".bin" / name
