"""Files that are written whole or not at all, and never over another."""

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataloader.common import ExitCode, FileError, new_files, require_file

ROOM = "(choose a writable folder with enough free space)"
TAKEN = "already exists; dataloader never overwrites files (choose another name or folder, or move it away)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with nothing in it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def open_handed() -> Iterator[None]:
    """Let new files be everybody's, as far as the process has a say."""
    before = os.umask(0)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    """Return the names of all that is in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def write(*paths: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Write a few bytes to new files, while something else happens."""
    with new_files(*paths) as streams:
        for path, stream in zip(paths, streams, strict=True):
            stream.write(path.name.encode())
        meanwhile()


def test_new_files_have_their_content_and_their_owner_only(folder: Path, open_handed: None) -> None:
    """What was written is there under its name, nobody else can read it, and nothing else is left."""
    write(folder / "a.txt", folder / "b.txt")
    assert names(folder) == ["a.txt", "b.txt"]
    for path in folder.iterdir():
        assert path.read_text() == path.name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_nlink == 1


def test_folders_are_made_as_they_are_needed(folder: Path) -> None:
    """A path may lead through folders that are not there yet."""
    write(folder / "x/y/a.txt", folder / "z/b.txt")
    assert (folder / "x/y/a.txt").read_text() == "a.txt"
    assert (folder / "z/b.txt").read_text() == "b.txt"


def test_nothing_has_its_name_before_all_is_written(folder: Path) -> None:
    """While files are being written nobody finds half of one, and what is there is its owner's only."""
    with new_files(folder / "a.txt", folder / "b.txt") as streams:
        streams[0].write(b"half")
        streams[0].flush()
        assert not (folder / "a.txt").exists()
        assert all(path.name.startswith((".a.txt.", ".b.txt.")) for path in folder.iterdir())
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert names(folder) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_what_stands_there_is_never_overwritten(folder: Path, name: str, kind: str) -> None:
    """A file, folder or link of one of the names stays as it is, and none of the others is written."""
    elsewhere = folder.parent / "elsewhere"
    path = folder / name
    if kind == "file":
        path.write_text("theirs")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(elsewhere)
        if kind == "link":
            elsewhere.write_text("theirs")
    with pytest.raises(FileError) as caught:
        write(folder / "a.txt", folder / "b.txt")
    assert str(caught.value) == f"{path}: {TAKEN}"
    assert caught.value.exit_code is ExitCode.FILE
    assert names(folder) == [name]
    assert elsewhere.exists() == (kind == "link")
    if kind in {"file", "link"}:
        assert path.read_text() == "theirs"


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
def test_a_file_that_appears_in_the_meantime_is_not_overwritten(folder: Path, name: str) -> None:
    """Should somebody make one of the files while ours are written, theirs stays and none of ours is left."""
    with pytest.raises(FileError) as caught:
        write(folder / "a.txt", folder / "b.txt", meanwhile=lambda: (folder / name).write_text("theirs"))
    assert str(caught.value) == f"{folder / name}: {TAKEN}"
    assert names(folder) == [name]
    assert (folder / name).read_text() == "theirs"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_where_writing_ends_early(folder: Path, error: type[BaseException]) -> None:
    """A fault, or Ctrl-C, in the middle leaves no file and no part of one."""

    def meanwhile() -> None:
        raise error

    with pytest.raises(error):
        write(folder / "a.txt", folder / "b.txt", meanwhile=meanwhile)
    assert names(folder) == []


@pytest.mark.parametrize(
    ("path", "named", "reason"),
    [
        ("file/a.txt", "file", "is not a folder (choose another folder)"),
        ("file/below/a.txt", "file/below/a.txt", f"not a directory {ROOM}"),
        (f"{'long' * 80}/a.txt", f"{'long' * 80}/a.txt", f"file name too long {ROOM}"),
    ],
)
def test_a_folder_that_cannot_be_written_to_is_told(folder: Path, path: str, named: str, reason: str) -> None:
    """The error names the path, says what the system says of it, and what to do."""
    (folder / "file").write_text("x")
    with pytest.raises(FileError) as caught:
        write(folder / path)
    assert str(caught.value) == f"{folder / named}: {reason}"
    assert names(folder) == ["file"]


def test_a_file_system_that_takes_no_files_is_told() -> None:
    """Where nobody may make files, not even an administrator, the error is about the file."""
    path = Path("/proc/a.txt") if Path("/proc/self").exists() else Path("/dev/fd/a.txt")
    with pytest.raises(FileError, match=f"^{re.escape(str(path))}: .+ {re.escape(ROOM)}$"):
        write(path)


def test_a_folder_that_vanishes_in_the_meantime_is_told(folder: Path) -> None:
    """What can't get its name in the end is an error, too."""
    with pytest.raises(FileError) as caught:
        write(folder / "a.txt", folder / "b.txt", meanwhile=lambda: shutil.rmtree(folder))
    assert str(caught.value) == f"{folder / 'a.txt'}: no such file or directory {ROOM}"


FILL = """
import resource, sys
from pathlib import Path
from dataloader.common.errors import FileError
from dataloader.common.files import new_files

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
try:
    with new_files(Path("folder/a.txt"), Path("folder/b.txt")) as streams:
        streams[int(sys.argv[1])].write(b"x" * int(sys.argv[2]))
        streams[int(sys.argv[1])].write(b"x")
except FileError as error:
    print(error)
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""


@pytest.mark.parametrize("file", [0, 1])
@pytest.mark.parametrize("size", [100_000, 500_000])
def test_a_full_disk_is_one_error_and_leaves_nothing(folder: Path, file: int, size: int) -> None:
    """Where there is no room, be it found in writing or at the end, the folder is named and left as it was."""
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(file), str(size)],
        check=True,
        capture_output=True,
        text=True,
        cwd=folder.parent,
        timeout=60,
    )
    assert re.fullmatch(rf"folder(/[ab]\.txt)?: file too large {re.escape(ROOM)}\n", done.stdout)
    assert names(folder) == []


def test_a_pipe_or_a_folder_is_no_file(folder: Path) -> None:
    """What could keep its reader waiting is told apart before it is opened; a link to a file is a file."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    for path in (folder, pipe, Path("/dev/null")):
        with pytest.raises(FileError) as caught:
            require_file(path)
        assert str(caught.value) == f"{path}: is not a regular file (save it as a file first)"
    file = folder / "file"
    file.write_text("x")
    (folder / "link").symlink_to(file)
    require_file(file)
    require_file(folder / "link")
    with pytest.raises(FileNotFoundError):
        require_file(folder / "none")


@pytest.fixture(params=["renames without replacing", "renames only"])
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no hard links, as a USB stick's; link(2) answers EPERM there."""

    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", refuse)
    if request.param == "renames only":
        # A flag that no system knows, which it refuses as a file system does that can't.
        monkeypatch.setattr("dataloader.common.files._RENAME_NOREPLACE", 1 << 20)


@pytest.mark.usefixtures("without_links")
def test_new_files_can_be_written_to_a_usb_stick(folder: Path) -> None:
    """Where there are no links, the files are there all the same, and nothing else."""
    write(folder / "a.txt", folder / "b.txt")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.txt": "a.txt", "b.txt": "b.txt"}


@pytest.mark.usefixtures("without_links")
def test_a_file_on_a_usb_stick_is_never_overwritten(folder: Path) -> None:
    """Somebody's file that came up in the meantime stays, there too."""
    with pytest.raises(FileError) as caught:
        write(folder / "a.txt", meanwhile=lambda: (folder / "a.txt").write_text("somebody's"))
    assert str(caught.value) == f"{folder / 'a.txt'}: {TAKEN}"
    assert (folder / "a.txt").read_text() == "somebody's"
    assert names(folder) == ["a.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="renames without replacing on Linux only")
@pytest.mark.parametrize("without_links", ["renames without replacing"], indirect=True)
@pytest.mark.usefixtures("without_links")
def test_no_crash_leaves_an_empty_file_on_a_usb_stick(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gets its name in one step, so that there is no moment with an empty one."""
    monkeypatch.setattr(Path, "replace", lambda *_: pytest.fail("a second step"))
    write(folder / "a.txt")
    assert (folder / "a.txt").read_text() == "a.txt"


def test_an_empty_file_of_an_interrupted_run_is_named_as_such(folder: Path) -> None:
    """It is not removed, for another run may be about to write it; the error says what to do."""
    (folder / "a.txt").touch()
    with pytest.raises(FileError, match=r"a\.txt: already exists and is empty.*\(remove it, unless another run"):
        write(folder / "a.txt")
    assert names(folder) == ["a.txt"]
