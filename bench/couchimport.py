"""npm couchimport, the tool that people load CouchDB with: installed here, not by the tool."""

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
    """couchimport at one of its settings; called with a database, it fills that and returns the documents a second."""

    program: Path
    address: Address
    folder: Path
    source: Path
    count: int
    size: int
    connections: int

    def __str__(self) -> str:
        """Say what is set."""
        return f"{self.size} documents a request, {self.connections} connections"

    def __call__(self, database: Database) -> float:
        """Import the file."""
        scheme, _, rest = self.address.url.partition("://")
        login = f"{self.address.user}:{self.address.password}@" if self.address.user else ""
        options = ["--type", "jsonl", "--buffer", str(self.size), "--parallelism", str(self.connections)]
        measured = run(
            [str(self.program), *options, "--db", database.name],
            self.folder,
            env={"COUCH_URL": f"{scheme}://{login}{rest}"},
            stdin=self.source,
        )
        held = int((database.info() or {})["doc_count"])
        if held != self.count:
            sys.exit(f"couchimport wrote {held} of {self.count} documents")
        return self.count / measured.wall


def contestants(address: Address, folder: Path, source: Path, count: int) -> list[Contestant]:
    """Return couchimport at each of the settings that are tried; none where there is no npm.

    Args:
        address: the server.
        folder: where measurements may be written.
        source: a file of documents, one a line.
        count: how many.
    """
    program = peer("couchimport")
    if program is None:
        return []
    return [Contestant(program, address, folder, source, count, *setting) for setting in SETTINGS]


def peer(name: str) -> Path | None:
    """Return a program of npm that is compared with, installed at the first call; None where there is no npm."""
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
