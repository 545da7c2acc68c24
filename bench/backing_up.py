"""Backups and restores: ours, couchbackup's from npm, and bare requests as the upper bound."""

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import couchimport
from bench.bare import Bare, send_all
from bench.ceiling import SETTINGS, ceiling
from bench.measure import Measured, python, run
from dataloader.couch import Address, Database

READ = 500
"""Documents per request of the bare reader; the best of 100 to 2,000."""
READERS = 8
CHANGED = 0.01
"""The share of documents that change before an incremental backup."""


def bare_reading(address: Address, database: Database, ids: Sequence[str], connections: int) -> float:
    """Return the documents per second of ``_bulk_get`` with all leaves and histories, for known IDs."""
    bodies = [
        json.dumps({"docs": [{"id": each} for each in ids[at : at + READ]]}).encode() for at in range(0, len(ids), READ)
    ]
    path = f"/{database.name}/_bulk_get?revs=true&attachments=true"
    return len(ids) / send_all(address, [Bare("POST", path, body) for body in bodies], connections)


def ours(address: Address, command: str, prefix: str, *arguments: object) -> tuple[Measured, dict[str, Any]]:
    """Run ``dataloader backup`` or ``restore`` as an operator would."""
    options = ["--url", address.url, "--model", "gpii-key", "--environment", "ci", "--prefix", prefix, "--json"]
    env = {"COUCHDB_USER": address.user or "", "COUCHDB_PASSWORD": address.password or ""}
    measured = run(python("-m", "dataloader", command, *map(str, arguments), *options), env=env)
    return measured, json.loads(measured.output)


def theirs(address: Address, folder: Path, program: str, database: Database, file: Path) -> Measured | None:
    """Run couchbackup or couchrestore; None without npm."""
    found = couchimport.peer(program)
    if found is None:
        return None
    scheme, _, rest = address.url.partition("://")
    login = f"{address.user}:{address.password}@" if address.user else ""
    env = {"COUCH_URL": f"{scheme}://{login}{rest}", "COUCH_DATABASE": database.name, "COUCH_LOG": os.devnull}
    if program == "couchrestore":
        return run([str(found)], env=env, stdin=file)
    # It writes to a file only with its own log, and would continue from the log of another run.
    (folder / "couchbackup.log").unlink(missing_ok=True)
    env = {**env, "COUCH_LOG": str(folder / "couchbackup.log"), "COUCH_OUTPUT": str(file)}
    return run([str(found), "--mode", "full"], env=env)


def fill(address: Address, database: Database, documents: Sequence[bytes]) -> None:
    """Write documents in random order, as in real use."""
    shuffled = list(documents)
    random.shuffle(shuffled)
    ceiling(address, database, shuffled, *SETTINGS[0])


def change_some(address: Address, database: Database, documents: Sequence[bytes]) -> int:
    """Change a share of the documents; return how many."""
    chosen = random.sample(list(documents), max(1, int(len(documents) * CHANGED)))
    changed = [{**json.loads(each), "changed": True} for each in chosen]
    body = json.dumps({"docs": changed}).encode()
    send_all(address, [Bare("POST", f"/{database.name}/_bulk_docs", body)], 1)
    return len(changed)
