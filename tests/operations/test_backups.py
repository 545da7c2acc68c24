"""Listing and pruning the backups in a folder."""

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import tzset
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataloader.archive import (
    Backup,
    BackupHeader,
    BodyWriter,
    DatabaseState,
    Section,
    Spool,
    finish,
    sort_key,
    work_folder,
)
from dataloader.common import ExitCode, UsageError
from dataloader.operations import KeepRules, StoredBackup, choose_kept, missing_base, read_backups
from tests.support.command import Command
from tests.support.locks import flock_of_nfs, use_flock

Make = Callable[..., str]
NOON = datetime(2018, 3, 28, 12, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of backups."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def make(folder: Path) -> Make:
    """Write an empty backup of a time; return its digest: ``make("a", NOON, base=digest)``."""

    def make(
        name: str,
        created: datetime,
        *,
        base: str | None = None,
        base_created: str | None = None,
        prefix: str = "",
        url: str = "http://localhost",
    ) -> str:
        path = folder / f"{name}.backup.zst"
        with path.open("wb") as stream, (folder / "body").open("w+b") as body:
            writer = BodyWriter(body, None)
            writer.section("gpii", Section())
            blocks, seal = writer.end()
            time = created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            header = BackupHeader(
                created=time,
                model="gpii-key",
                environment="ci",
                url=url,
                prefix=prefix,
                server="CouchDB 3.5.0",
                tool="1",
                databases=(DatabaseState("gpii", "1", "x"),),
                base=base,
                base_created=base_created,
                blocks=blocks,
                seal=seal,
            )
            finish(stream, header, body, None)
        (folder / "body").unlink()
        return next(each.header.digest for each in read_backups(folder)[0] if each.path == path)

    return make


def test_missing_base_is_found(folder: Path, make: Make) -> None:
    """At any remove, whatever the names of the files; a backup that is damaged does not count."""
    full = make("full", NOON)
    first = make("a", NOON, base=full, base_created="2018-03-28T12:00:00.000Z")
    second = make("z", NOON, base=first, base_created="2018-03-28T13:00:00.000Z")
    make("m", NOON, base=second, base_created="2018-03-28T14:00:00.000Z")
    (folder / "y.backup.zst").write_bytes(b"damaged")
    last = Backup(folder / "m.backup.zst")
    assert missing_base(last) is None
    assert missing_base(Backup(folder / "full.backup.zst")) is None
    (folder / "full.backup.zst").unlink()
    assert missing_base(last) == "2018-03-28T12:00:00.000Z"
    (folder / "z.backup.zst").write_bytes(b"damaged")
    assert missing_base(last) == "2018-03-28T14:00:00.000Z"


def kept(folder: Path, rules: KeepRules) -> dict[str, tuple[str, ...]]:
    """Return the reasons to keep each backup, by name."""
    found = choose_kept(read_backups(folder)[0], rules)
    return {each.backup.path.name.partition(".")[0]: each.reasons for each in found if each.reasons}


def test_prune_keeps_the_newest_of_each_period(folder: Path, make: Make) -> None:
    """As in restic: the newest of each hour, day and week that has one; gaps don't count."""
    for hours in (0, 1, 2, 3, 30, 31, 24 * 9, 24 * 20):
        make(f"h{hours}", NOON - timedelta(hours=hours))
    make("half", NOON - timedelta(minutes=30))
    assert kept(folder, KeepRules(hourly=3, daily=2, weekly=3)) == {
        # 11:30 and 11:00 are in the same hour.
        "h0": ("hourly", "daily", "weekly"),
        "half": ("hourly",),
        "h2": ("hourly",),
        "h30": ("daily",),
        "h216": ("weekly",),
        "h480": ("weekly",),
    }


def test_prune_keeps_the_oldest_where_there_are_too_few(folder: Path, make: Make) -> None:
    """As in restic: while a rule has counts left, the oldest backup is kept for it, too."""
    for hours in (0, 1, 2):
        make(f"h{hours}", NOON - timedelta(hours=hours))
    assert kept(folder, KeepRules(daily=2)) == {"h0": ("daily",), "h2": ("daily",)}
    assert kept(folder, KeepRules(daily=1)) == {"h0": ("daily",)}


def test_prune_counts_hours_across_a_change_of_summer_time(
    folder: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hour that a clock on the wall shows twice, and the one that it skips, are hours like all others."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    tzset()
    for month, day in ((3, 25), (10, 28)):
        change = datetime(2018, month, day, 1, 5, tzinfo=UTC)
        for hours in range(-2, 3):
            make(f"m{month}h{hours}", change + timedelta(hours=hours))
    try:
        assert set(kept(folder, KeepRules(hourly=5))) == {f"m10h{hours}" for hours in range(-2, 3)}
        assert len(kept(folder, KeepRules(hourly=10))) == 10
    finally:
        monkeypatch.undo()
        tzset()


def test_prune_counts_no_backup_whose_base_is_missing(folder: Path, make: Make, here: Command) -> None:
    """It cannot be restored, so it does not replace one that can; it is reported."""
    make("full", NOON - timedelta(days=2))
    make("orphan", NOON - timedelta(days=1), base="0" * 64)
    make("copy", NOON - timedelta(days=2))
    assert kept(folder, KeepRules(last=1)) == {
        "full": ("last",),
        "copy": ("last",),
        "orphan": ("base missing",),
    }
    listing = here("backups", "list", folder)
    assert listing.code == ExitCode.ATTENTION
    assert "orphan.backup.zst: cannot be restored" in listing.stderr
    backups = here("backups", "list", folder, "--json").data["backups"]
    assert [each["file"] for each in backups if not each["restorable"]] == [str(folder / "orphan.backup.zst")]


def test_prune_counts_no_backup_from_the_future(folder: Path, make: Make, here: Command) -> None:
    """Made while a clock was wrong, it would push out all that are made after the clock was corrected."""
    make("wrong", datetime.now(UTC) + timedelta(days=3_000))
    make("old", NOON)
    make("new", NOON + timedelta(days=1))
    assert kept(folder, KeepRules(last=1)) == {"new": ("last",), "wrong": ("in the future",)}
    assert "in the future: a clock was wrong" in here("backups", "list", folder).stdout


@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(-1, 30)), min_size=1, max_size=25),
    st.tuples(*[st.integers(0, 4)] * 4).filter(any),
)
def test_prune_never_breaks_a_chain_and_keeps_what_restic_keeps(
    written: list[tuple[int, int]], counts: tuple[int, int, int, int]
) -> None:
    """Whatever the times and chains: the rules keep what restic keeps, and no kept backup lacks its base."""
    times = sorted({minutes * 17 for minutes, _ in written})
    stored: list[StoredBackup] = []
    for at, minutes in enumerate(times):
        base = written[at % len(written)][1]
        created = (NOON + timedelta(minutes=minutes)).isoformat()
        # An increment continues any earlier backup.
        before = str(base % at) if at and base >= 0 else None
        header = BackupHeader(created, "gpii-key", "ci", "http://localhost", "", "", "", (), before, digest=str(at))
        stored.append(StoredBackup(Path(f"{at}"), 1, header, None))
    found = {
        each.backup.header.digest: each.reasons for each in choose_kept(stored, KeepRules(*counts)) if each.reasons
    }
    assert {digest for digest, reasons in found.items() if set(reasons) != {"base"}} == _restic(stored, counts)
    for digest in found:
        base_of = stored[int(digest)].header.base
        assert base_of is None or base_of in found


def _restic(stored: list[StoredBackup], counts: tuple[int, ...]) -> set[str]:
    """Return what restic's ApplyPolicy keeps (internal/restic/snapshot_policy.go), by digest."""
    formats = ("", "%Y%m%d%H", "%Y%m%d", "%G%V")
    left, last = list(counts), [""] * len(counts)
    keep = set()
    newest_first = stored[::-1]
    for at, each in enumerate(newest_first):
        for rule, form in enumerate(formats):
            value = each.created.strftime(form) if form else str(at)
            if left[rule] and (value != last[rule] or at == len(newest_first) - 1):
                keep.add(each.header.digest)
                last[rule] = value
                left[rule] -= 1
    return keep


def test_prune_keeps_what_a_kept_increment_continues(folder: Path, make: Make, here: Command) -> None:
    """A chain is kept from its full backup onwards, also if its last increment is not finished yet."""
    full = make("full", NOON - timedelta(days=3))
    first = make("first", NOON - timedelta(days=2), base=full)
    make("second", NOON - timedelta(days=1), base=first)
    old = make("old", NOON - timedelta(days=9))
    assert kept(folder, KeepRules(last=1)) == {"full": ("base",), "first": ("base",), "second": ("last",)}
    with suppress(Killed), Spool(folder / ".x.partial", {"base": old}):
        pruned = here("backups", "prune", folder, "--keep-last", "1", "--json")
        assert pruned.data["deleted"] == []
        raise Killed


def test_list_finds_the_base_although_the_clock_was_set_back(folder: Path, make: Make, here: Command) -> None:
    """A backup that seems older than the one that it continues can be restored like any other."""
    full = make("full", NOON)
    first = make("first", NOON - timedelta(minutes=50), base=full)
    make("second", NOON - timedelta(minutes=55), base=first)
    make("orphan", NOON - timedelta(minutes=57), base="0" * 64)
    listing = here("backups", "list", folder, "--json")
    assert [Path(each["file"]).name for each in listing.data["backups"] if not each["restorable"]] == [
        "orphan.backup.zst"
    ]
    assert set(kept(folder, KeepRules(last=1))) == {"full", "orphan"}


def test_prune_counts_each_target_by_itself(folder: Path, make: Make) -> None:
    """Backups of one target do not replace those of another."""
    make("ours", NOON - timedelta(days=300))
    for days in range(5):
        make(f"theirs{days}", NOON - timedelta(days=days), prefix="other-")
    for days in range(3):
        make(f"staging{days}", NOON - timedelta(days=days), url="http://staging")
    assert set(kept(folder, KeepRules(daily=2))) == {"ours", "theirs0", "theirs1", "staging0", "staging1"}


def test_prune_without_rules_is_refused(folder: Path, make: Make) -> None:
    """Nothing is deleted because an option was forgotten."""
    make("a", NOON)
    with pytest.raises(UsageError, match="keep no backup"):
        kept(folder, KeepRules())


def test_backups_on_the_command_line(here: Command, folder: Path, make: Make) -> None:
    """List shows the backups; prune shows what it would do, and does it."""
    for days in range(3):
        make(f"day{days}", NOON - timedelta(days=days))
    listing = here("backups", "list", folder)
    assert listing.code == ExitCode.OK
    assert "day2.backup.zst" in listing.stdout
    assert "never drilled" in listing.stdout
    assert max(map(len, listing.stdout.splitlines())) <= 80, "an old backup's line fits a terminal"
    would = here("backups", "prune", folder, "--keep-daily", "2", "--dry-run")
    assert "would delete 1 backup of 3" in would.stdout
    assert len(list(folder.iterdir())) == 3
    rules = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    each = here("backups", "prune", folder, *(f"--keep-{rule}=1" for rule in rules), "--dry-run", "--json")
    assert [found["reasons"] for found in each.data["kept"]] == [[*rules]]
    done = here("backups", "prune", folder, "--keep-daily", "2", "--json")
    assert done.data["deleted"] == [str(folder / "day2.backup.zst")]
    assert sorted(path.name for path in folder.iterdir()) == ["day0.backup.zst", "day1.backup.zst"]
    assert here("backups", "list", folder, "--keep-daily", "2").code == ExitCode.USAGE
    (folder / "bad.backup.zst").write_bytes(b"no backup")
    odd = here("backups", "prune", folder, "--keep-last", "1")
    assert odd.code == ExitCode.ATTENTION
    assert (folder / "bad.backup.zst").exists()


def test_list_without_a_readable_backup_does_not_say_that_there_is_none(here: Command, folder: Path) -> None:
    """As if the password had been left out."""
    assert here("backups", "list", folder).stdout == "no backups\n"
    (folder / "a.backup.zst").write_bytes(b"x")
    done = here("backups", "list", folder)
    assert (done.code, done.stdout) == (ExitCode.ATTENTION, "no backup that can be read\n")


class Killed(BaseException):
    """Simulates a killed process."""


def leave(parent: Path, name: str, *, file: str = "") -> Path:
    """Leave the work folder of a killed backup, which was about to complete a file if one is given."""
    folder = parent / f".{name}.partial"
    with suppress(Killed), Spool(folder, {}) as spool:
        spool.add("gpii", sort_key("a"), [b'{"_id":"a","_rev":"1-a"}'])
        spool.reached("gpii", "5", end=True)
        if file:
            spool.finishing(file)
        raise Killed
    return folder


def test_prune_deletes_what_finished_backups_left(here: Command, folder: Path, make: Make) -> None:
    """Of killed backups, only what can't be continued is deleted, and nothing that is in use."""
    make("a", NOON)
    done = leave(folder, "done", file="a.backup.zst")
    interrupted = leave(folder, "interrupted")
    begun = folder / ".begun.partial"
    with suppress(Killed), Spool(begun, {}):
        # Half of the first run.
        (begun / "gpii.0.000000").touch()
        raise Killed
    elsewhere = leave(folder, "elsewhere", file="not-there.backup.zst")
    empty = leave(folder, "empty", file="empty.zst")
    # Where files can't be linked, a killed run may leave an empty one.
    (folder / "empty.zst").touch()
    stopped = leave(folder, "stopped", file="a.backup.zst")
    for path in stopped.iterdir():
        if path.name != "lock":
            path.unlink()
    other = folder / ".other.partial"
    other.mkdir()
    (other / "mine").touch()
    somebodys = folder / ".somebodys.partial"
    somebodys.mkdir()
    for name in ("lock", "thesis.txt"):
        (somebodys / name).touch()
    running = leave(folder, "running", file="a.backup.zst")
    with (running / "lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        listing = here("backups", "list", folder, "--json")
        assert listing.data["unfinished"] == [str(path) for path in (elsewhere, empty, interrupted)]
        would = here("backups", "prune", folder, "--keep-last", "5", "--dry-run")
        assert "delete  .done.partial (left by a killed backup)" in would.stdout
        assert done.exists()
        pruned = here("backups", "prune", folder, "--keep-last", "5", "--json")
        assert pruned.code == ExitCode.OK
        assert pruned.data["leftovers"] == [str(begun), str(done), str(stopped)]
        assert running.exists()
    assert not done.exists()
    assert not stopped.exists()
    assert all(
        path.exists()
        for path in (interrupted, elsewhere, empty, other / "mine", somebodys / "thesis.txt", folder / "a.backup.zst")
    )
    assert f"warning: {interrupted}: " in here("backups", "list", folder).stderr


@pytest.mark.parametrize("read_only", [False, True])
def test_folder_on_a_network_share_is_listed(
    here: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, *, read_only: bool
) -> None:
    """Also while an interrupted backup waits there to be continued; the share may be mounted for reading only."""
    interrupted = leave(folder, "interrupted")
    open_ = Path.open

    def open_to_read(path: Path, mode: str = "r", **options: Any) -> IO[Any]:
        if set(mode) & set("wa+"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open_(path, mode, **options)

    use_flock(monkeypatch, work_folder, flock_of_nfs)
    if read_only:
        monkeypatch.setattr(Path, "open", open_to_read)
    listing = here("backups", "list", folder, "--json")
    assert listing.code == ExitCode.OK, listing.stderr
    assert listing.data["unfinished"] == [str(interrupted)]


def test_work_folder_of_a_finished_backup_is_not_continued(folder: Path) -> None:
    """A new backup starts over, however the name of the finished one is written."""
    name = os.fsdecode(b"f\xfcr %41.backup.zst")
    leave(folder, "x", file=name)
    with suppress(Killed), Spool(folder / ".x.partial", {}) as spool:
        assert spool.since("gpii") == "5"
        spool.finishing(name)
        raise Killed
    (folder / name).write_bytes(b"complete")
    with Spool(folder / ".x.partial", {}) as spool:
        assert spool.since("gpii") is None
    assert not (folder / ".x.partial").exists()
