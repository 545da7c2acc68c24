"""The list of a batch's revoked cards, when it is edited, cut off, or another batch's."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from dataloader.batch import (
    Manifest,
    note_restored,
    note_revoked,
    one_at_a_time,
    read_cards,
    read_revocations,
    reconciled_name,
    revocations,
    revocations_path,
)
from dataloader.common import ExitCode, FileError, InputError
from dataloader.operations import generate, manifests_with_revocations
from tests.support.command import Command
from tests.support.locks import flock_of_nfs, use_flock, without_locks
from tests.support.returned_files import RESULT, good_rows, write_csv


@pytest.fixture
def batch(tmp_path: Path) -> Manifest:
    """A batch of six cards."""
    return generate("spring", {"empty": 6}, tmp_path).manifest


def numbers(manifest: Manifest) -> list[int]:
    """Return the numbers of the revoked cards."""
    return [each.card.number for each in read_revocations(manifest)]


def test_line_cut_off_does_not_spoil_later_ones(batch: Manifest) -> None:
    """A line that a crash has cut off does not count; the next revocation takes its place."""
    first, second, third, *_ = batch.cards()
    note_revoked(batch, [first, second], "lost", "ci")
    path = revocations_path(batch)
    path.write_bytes(path.read_bytes()[:-30])
    assert numbers(batch) == [first.number]
    note_revoked(batch, [third], "lost", "ci")
    assert numbers(batch) == [first.number, third.number]
    # An editor has removed the last line break.
    path.write_bytes(path.read_bytes().rstrip())
    note_restored(batch, [first], "ci")
    assert numbers(batch) == [third.number]


@pytest.mark.parametrize("read_only", [False, True])
def test_commands_on_a_network_share_wait_for_each_other(
    batch: Manifest, monkeypatch: pytest.MonkeyPatch, *, read_only: bool
) -> None:
    """A card that is restored on one machine is not revoked at the same moment on another, by its list.

    The other machine may have mounted the share for reading only.
    """
    use_flock(monkeypatch, revocations, flock_of_nfs)
    entered = Event()

    def enter() -> None:
        with one_at_a_time(batch):
            entered.set()

    def open_to_read(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open_(path, flags, *mode)

    open_ = os.open
    with ThreadPoolExecutor(1) as pool:
        with one_at_a_time(batch):
            if read_only:
                monkeypatch.setattr("dataloader.batch.revocations.os.open", open_to_read)
            other = pool.submit(enter)
            assert not entered.wait(0.2)
        other.result(60)


def test_share_without_locks_keeps_the_list(batch: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost card can be revoked there, too."""
    use_flock(monkeypatch, revocations, without_locks)
    with one_at_a_time(batch):
        note_revoked(batch, list(batch.cards())[:1], "lost", "ci")
    assert numbers(batch) == [1]


def test_all_rounds_of_a_batch_share_its_list(batch: Manifest, here: Command, tmp_path: Path) -> None:
    """A card revoked by its manifest is revoked for every reconciled file, whatever its name; an unencoded one, too."""
    rows = good_rows(batch)
    rows[0][RESULT] = "failed"
    assert here("reconcile", batch.path, write_csv(tmp_path / "back.csv", rows)).code == ExitCode.RETURNED
    path = tmp_path / reconciled_name("spring", 1)
    note_revoked(batch, list(batch.cards()), "lost", "ci")
    for name in (path.name, reconciled_name("spring", 2), "delivery.reconciled.jsonl"):
        path = path.rename(tmp_path / name)
        found = read_cards(path)
        assert found.count == batch.count - 1
        assert len(read_revocations(found)) == batch.count


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"uuid":"', b'"uuid":"f'), (b'"number":1,', b'"number":2,'), (b'"snapset":"empty"', b'"snapset":"full"')],
)
def test_edited_line_is_refused(batch: Manifest, old: bytes, new: bytes) -> None:
    """A card that is not in the batch is an error naming the line: the one that was meant would work again."""
    note_revoked(batch, sorted(batch.cards()), "lost", "ci")
    path = revocations_path(batch)
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(InputError, match=r"spring.revoked.jsonl, line 1: names a card that is not in batch spring"):
        read_revocations(batch)


def test_list_of_another_batch_is_refused(batch: Manifest, tmp_path: Path) -> None:
    """A list copied to the wrong name is an error, as is one whose manifest is elsewhere."""
    other = generate("autumn", {"empty": 2}, tmp_path).manifest
    note_revoked(other, list(other.cards()), "lost", "ci")
    assert [each.header.name for each in manifests_with_revocations(tmp_path)] == ["autumn"]
    revocations_path(other).rename(revocations_path(batch))
    with pytest.raises(InputError, match="line 1: names a card that is not in batch spring"):
        read_revocations(batch)
    batch.path.rename(tmp_path / "away.jsonl")
    with pytest.raises(InputError, match=r"spring.revoked.jsonl: the manifest of batch spring is not next to it"):
        manifests_with_revocations(tmp_path)
    # A manifest with another file name is found by the name of its batch.
    (tmp_path / "away.jsonl").rename(tmp_path / "renamed.batch.jsonl")
    assert [each.path.name for each in manifests_with_revocations(tmp_path)] == ["renamed.batch.jsonl"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="holds no manifest"):
        manifests_with_revocations(tmp_path / "empty")


def test_lists_in_subfolders_are_found(batch: Manifest, tmp_path: Path) -> None:
    """Also behind a link, and one that leads in a circle ends; a second list of the same batch is refused."""
    inner = tmp_path / "2018" / "library"
    inner.mkdir(parents=True)
    other = generate("autumn", {"empty": 2}, inner).manifest
    note_revoked(other, list(other.cards()), "lost", "ci")
    (inner / "up").symlink_to(tmp_path)
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "._spring.revoked.jsonl").touch()
    assert [each.path for each in manifests_with_revocations(tmp_path)] == [other.path]
    (tmp_path / "link").symlink_to(inner.parent)
    assert [each.header.name for each in manifests_with_revocations(tmp_path)] == ["autumn"]
    note_revoked(batch, list(batch.cards()), "lost", "ci")
    assert [each.header.name for each in manifests_with_revocations(tmp_path)] == ["autumn", "spring"]
    shutil.copytree(inner, tmp_path / "old", ignore=shutil.ignore_patterns("up"))
    with pytest.raises(InputError, match="is a second list of batch autumn, besides "):
        manifests_with_revocations(tmp_path)


def test_list_that_is_no_file_is_refused(batch: Manifest) -> None:
    """A pipe, a device or a broken link in its place neither blocks a command nor counts as an empty list."""
    path = revocations_path(batch)
    cards = list(batch.cards())
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir):
        make(path)
        for use in (lambda: read_revocations(batch), lambda: note_revoked(batch, cards, "lost", "ci")):
            with pytest.raises(FileError, match=r"spring\.revoked\.jsonl: (is not a regular file|this is a folder)"):
                use()
        path.rmdir() if path.is_dir() else path.unlink()
    path.symlink_to("gone")
    with pytest.raises(FileError, match="no such file"):
        read_revocations(batch)


def test_list_saved_by_a_windows_editor_is_read(batch: Manifest) -> None:
    """A byte order mark and Windows line ends change nothing."""
    note_revoked(batch, list(batch.cards()), "lost", "ci")
    path = revocations_path(batch)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(numbers(batch)) == batch.count
    note_restored(batch, list(batch.cards()), "ci")
    assert not numbers(batch)


def test_unknown_environment_in_the_list_is_refused(batch: Manifest, here: Command) -> None:
    """A load that does not know for which targets a card is revoked must not let it work."""
    note_revoked(batch, list(batch.cards())[:1], "lost", "mars")
    done = here("load", batch.path, "--url", "http://127.0.0.1:1", "--model", "gpii-key", "--environment", "ci")
    assert done.code == ExitCode.INPUT
    assert "card 1 is revoked in environment 'mars', which is unknown" in done.stderr
