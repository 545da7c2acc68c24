"""kill -9 of backup and restore at random moments: running the same command again completes them."""

import random
import signal
from pathlib import Path

from dataloader.archive import Backup
from dataloader.couch import Server
from dataloader.target import Target
from tests.support.backups import copy, everything, plant
from tests.support.command import Command, Process
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.server import agreed, databases

__all__ = ["copy"]

pytestmark = THOROUGH
KILLS = 6


@ONE_MODEL
def test_killed_backup_and_restore_are_completed_by_running_again(
    process: Process,
    command: Command,
    server: Server,
    target: Target,
    copy: Target,
    on_target: list[str],
    credentials: dict[str, str],
    tmp_path: Path,
) -> None:
    """The final file name appears only when complete, and the databases are the same at the end."""
    for database in databases(server, target).values():
        database.create()
        plant(database, [{"_id": f"{at:05}", "_rev": "1-a", "value": "x" * 500} for at in range(3_000)])
    path = tmp_path / "a.backup.zst"
    there = [copy.prefix if option == target.prefix else option for option in on_target]
    for arguments in (("backup", path, *on_target), ("restore", path, *there)):
        for _ in range(KILLS):
            started = process(*arguments, env=credentials)
            try:
                started.wait(timeout=random.uniform(0.3, 3))
            except Exception:  # noqa: BLE001 - it takes longer, as expected
                started.send_signal(signal.SIGKILL)
                started.wait()
            if arguments[0] == "backup" and path.exists():
                # What exists is complete.
                list(Backup(path).check())
                break
        if arguments[0] == "restore" or not path.exists():
            done = command(*arguments, env=credentials)
            # A restore that was complete before it was killed finds the databases in use.
            assert done.code == 0 or "is not empty" in done.stderr, done.stderr
    assert agreed(server, lambda: everything(server, copy)) == everything(server, target)
