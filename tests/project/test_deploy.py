"""The examples in ``deploy/``: the script works, and systemd accepts the units."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dataloader.archive import Backup
from dataloader.cli import COMMANDS
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import read_backups, restore_backup
from dataloader.target import Target
from tests.support.backups import copy, everything
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.server import agreed, databases, put

__all__ = ["copy"]

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@THOROUGH
@ONE_MODEL
def test_backup_script_makes_a_chain_that_restores(
    server: Server, target: Target, copy: Target, credentials: dict[str, str], tmp_path: Path
) -> None:
    """A full backup first, then incremental ones; encrypted if there is a password file.

    As in a container, there is no terminal and no home folder, and only the environment of the example.
    """
    for database in databases(server, target).values():
        database.create()
        put(database, {"_id": "one"})
    password = tmp_path / "password"
    password.write_text("sesame")
    password.chmod(0o600)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "dataloader").write_text(f'#!/bin/sh\nexec {sys.executable} -m dataloader "$@"\n')
    (programs / "dataloader").chmod(0o755)
    # The script creates it.
    folder = tmp_path / "backups"
    environment = {
        **credentials,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "COUCHDB_URL": target.address.url,
        "DATALOADER_OPTIONS": f"--model {target.model.name} --environment ci --prefix {target.prefix}",
        "BACKUP_DIR": str(folder),
        "BACKUP_PASSWORD_FILE": str(password),
    }
    for kind in ("incremental", "full"):
        wrong = {**environment, "BACKUP_PASSWORD_FILE": str(tmp_path / "none")}
        failed = subprocess.run([DEPLOY / "backup.sh", kind], env=wrong, cwd=tmp_path, check=False, capture_output=True)
        assert (failed.returncode, list(folder.iterdir())) == (ExitCode.FILE, [])
    for kind in ("incremental", "incremental"):
        subprocess.run(
            [DEPLOY / "backup.sh", kind],
            env=environment,
            cwd=tmp_path,
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        for database in databases(server, target).values():
            put(database, {"_id": f"after-{len(list(folder.iterdir()))}"})
    # The first run found nothing to continue; prune keeps what the second one needs.
    full, increment = read_backups(folder, "sesame")[0]
    assert full.header.base is None
    assert increment.header.base == full.header.digest
    for database in databases(server, target).values():
        database._resource.delete("after-2", rev=database.raw_leaves(["after-2"])["after-2"][0].rev, w="3")
    restore_backup(server, copy, [Backup(each.path, "sesame") for each in (full, increment)])
    restored = agreed(server, lambda: everything(server, copy))
    assert {*restored[target.model.databases[0]]} == {"one", "after-1"}


@THOROUGH
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_units_are_valid(tmp_path: Path) -> None:
    """Systemd accepts the units, except for the program, which is installed elsewhere."""
    for path in (DEPLOY / "systemd").iterdir():
        text = path.read_text().replace("/usr/local/lib/dataloader/backup.sh", "/bin/true")
        (tmp_path / path.name).write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *tmp_path.iterdir()],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert "dataloader-" not in checked.stderr, checked.stderr


def test_examples_use_existing_commands() -> None:
    """Every ``dataloader COMMAND`` in the examples exists."""
    for path in [*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.sh"), *DEPLOY.rglob("*.service")]:
        for name in re.findall(r"dataloader ([a-z]+) [\"/$]", path.read_text()):
            assert name in COMMANDS
