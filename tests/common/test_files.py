"""Files are written completely or not at all, and never over existing ones."""

import errno
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataloader.common import ExitCode, FileError, files_below, new_files, require_file

ROOM = "(choose a writable folder with enough free space)"
TAKEN = "already exists; dataloader never overwrites files (choose another name or folder, or move it away)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def open_handed() -> Iterator[None]:
    """Set the umask so that new files would be readable by everyone."""
    before = os.umask(0)
    yield
    os.umask(before)


def names(folder: Path) -> list[str]:
    """Return the names of all files in a folder, including hidden ones."""
    return sorted(path.name for path in folder.iterdir())


def write(*paths: Path, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Write a few bytes to new files, and call ``meanwhile`` before they are finished."""
    with new_files(*paths) as streams:
        for path, stream in zip(paths, streams, strict=True):
            stream.write(path.name.encode())
        meanwhile()


def test_new_files_are_complete_and_private(folder: Path, open_handed: None) -> None:
    """Files have their content and mode 0600, and no temporary file is left."""
    write(folder / "a.txt", folder / "b.txt")
    assert names(folder) == ["a.txt", "b.txt"]
    for path in folder.iterdir():
        assert path.read_text() == path.name
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_nlink == 1


@pytest.mark.parametrize("size", [2_000, 20_000])
def test_full_disk_names_the_file(folder: Path, size: int) -> None:
    """Whether it is found at the end, or while the file is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))

    def fill() -> None:
        with new_files(folder / "a.txt", folder / "b.txt") as (_, second):
            second.write(bytes(size))

    try:
        with pytest.raises(FileError, match=re.escape(f"{folder / 'b.txt'}: file too large {ROOM}")):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(folder) == []


def test_new_files_create_missing_folders(folder: Path) -> None:
    """Missing parent folders are created."""
    write(folder / "x/y/a.txt", folder / "z/b.txt")
    assert (folder / "x/y/a.txt").read_text() == "a.txt"
    assert (folder / "z/b.txt").read_text() == "b.txt"


def test_new_files_appear_only_when_complete(folder: Path) -> None:
    """While a file is being written, it exists under a temporary name only, and is private."""
    with new_files(folder / "a.txt", folder / "b.txt") as streams:
        streams[0].write(b"half")
        streams[0].flush()
        assert not (folder / "a.txt").exists()
        assert all(path.name.startswith((".a.txt.", ".b.txt.")) for path in folder.iterdir())
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert names(folder) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_new_files_never_overwrite(folder: Path, name: str, kind: str) -> None:
    """An existing file, folder or link of the same name is kept, and no file is written."""
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
    taken = "this is a folder (name a new file in it)" if kind == "folder" else TAKEN
    assert str(caught.value) == f"{path}: {taken}"
    assert caught.value.exit_code is ExitCode.FILE
    assert names(folder) == [name]
    assert elsewhere.exists() == (kind == "link")
    if kind in {"file", "link"}:
        assert path.read_text() == "theirs"


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
def test_new_files_do_not_overwrite_a_file_created_meanwhile(folder: Path, name: str) -> None:
    """If somebody else creates a file during the write, theirs is kept, and none of ours."""
    with pytest.raises(FileError) as caught:
        write(folder / "a.txt", folder / "b.txt", meanwhile=lambda: (folder / name).write_text("theirs"))
    assert str(caught.value) == f"{folder / name}: {TAKEN}"
    assert names(folder) == [name]
    assert (folder / name).read_text() == "theirs"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_new_files_leave_nothing_after_an_error(folder: Path, error: type[BaseException]) -> None:
    """An exception or Ctrl-C during the write leaves no files."""

    def meanwhile() -> None:
        raise error

    with pytest.raises(error):
        write(folder / "a.txt", folder / "b.txt", meanwhile=meanwhile)
    assert names(folder) == []


@pytest.mark.parametrize(
    ("path", "named", "reason"),
    [
        ("file/a.txt", "file", "is not a folder (choose another folder)"),
        ("file/below/a.txt", "file/below/a.txt", f"not a folder {ROOM}"),
        (f"{'long' * 80}/a.txt", f"{'long' * 80}/a.txt", f"file name too long {ROOM}"),
    ],
)
def test_new_files_report_an_unwritable_folder(folder: Path, path: str, named: str, reason: str) -> None:
    """The error names the path, the system's reason, and what to do."""
    (folder / "file").write_text("x")
    with pytest.raises(FileError) as caught:
        write(folder / path)
    assert str(caught.value) == f"{folder / named}: {reason}"
    assert names(folder) == ["file"]


def test_new_files_report_a_read_only_file_system() -> None:
    """If nobody may create files, not even root, the error names the file."""
    path = Path("/proc/a.txt") if Path("/proc/self").exists() else Path("/dev/fd/a.txt")
    with pytest.raises(FileError, match=f"^{re.escape(str(path))}: .+ {re.escape(ROOM)}$"):
        write(path)


def test_new_files_report_a_folder_that_disappears(folder: Path) -> None:
    """A failed rename at the end is an error, too."""
    with pytest.raises(FileError) as caught:
        write(folder / "a.txt", folder / "b.txt", meanwhile=lambda: shutil.rmtree(folder))
    assert str(caught.value) == f"{folder / 'a.txt'}: no such file or folder {ROOM}"


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
def test_full_disk_is_one_error_and_leaves_nothing(folder: Path, file: int, size: int) -> None:
    """If the disk is full, while writing or at the end, the error names the folder, and no files are left."""
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


def test_require_file_rejects_pipes_and_folders(folder: Path) -> None:
    """Pipes and folders are rejected before they are opened; a link to a file is accepted."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    no_file = "is not a regular file (save it as a file first)"
    for path, says in (
        (folder, "this is a folder (name a file in it)"),
        (pipe, no_file),
        (Path("/dev/null"), no_file),
    ):
        with pytest.raises(FileError) as caught:
            require_file(path)
        assert str(caught.value) == f"{path}: {says}"
    file = folder / "file"
    file.write_text("x")
    (folder / "link").symlink_to(file)
    require_file(file)
    require_file(folder / "link")
    with pytest.raises(FileNotFoundError):
        require_file(folder / "none")


@pytest.fixture(params=["renames without replacing", "renames only"])
def without_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links, like a USB stick's; link(2) fails with EPERM."""

    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", refuse)
    if request.param == "renames only":
        # An unknown flag, which the system rejects just like a file system without support for it.
        monkeypatch.setattr("dataloader.common.files._RENAME_NOREPLACE", 1 << 20)


@pytest.mark.usefixtures("without_links")
def test_new_files_work_without_hard_links(folder: Path) -> None:
    """Without hard links, the files are written just the same."""
    write(folder / "a.txt", folder / "b.txt")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"a.txt": "a.txt", "b.txt": "b.txt"}


@pytest.mark.usefixtures("without_links")
def test_new_files_never_overwrite_without_hard_links(folder: Path) -> None:
    """A file that somebody else creates during the write is kept."""
    with pytest.raises(FileError) as caught:
        write(folder / "a.txt", meanwhile=lambda: (folder / "a.txt").write_text("somebody's"))
    assert str(caught.value) == f"{folder / 'a.txt'}: {TAKEN}"
    assert (folder / "a.txt").read_text() == "somebody's"
    assert names(folder) == ["a.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="renames without replacing on Linux only")
@pytest.mark.parametrize("without_links", ["renames without replacing"], indirect=True)
@pytest.mark.usefixtures("without_links")
def test_crash_leaves_no_empty_file_without_hard_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is renamed in one step, so that it never exists empty."""
    monkeypatch.setattr(Path, "replace", lambda *_: pytest.fail("a second step"))
    write(folder / "a.txt")
    assert (folder / "a.txt").read_text() == "a.txt"


def test_empty_file_of_an_interrupted_run_is_reported(folder: Path) -> None:
    """The file is kept, since another run may be about to write it; the error says what to do."""
    (folder / "a.txt").touch()
    with pytest.raises(FileError, match=r"a\.txt: already exists and is empty.*\(remove it, unless another run"):
        write(folder / "a.txt")
    assert names(folder) == ["a.txt"]


def test_files_below_a_folder_are_found_once(folder: Path, tmp_path: Path) -> None:
    """Also behind a link; links to a folder above or beside do not lead there again, and hidden files do not count."""
    for each in ("b/c", ".hidden", "lost+found", "../other"):
        (folder / each).mkdir(parents=True)
        (folder / each / "file").touch()
    (folder / ".file").touch()
    (folder / "b" / "up").symlink_to(folder)
    (folder / "beside").symlink_to(folder / "b")
    (folder / "other").symlink_to(tmp_path / "other")
    errors: list[OSError] = []
    found = files_below(folder, errors.append)
    assert errors == []
    assert [str(path.relative_to(folder)) for path in found if path.is_file()] == ["b/c/file", "other/file"]


def test_folder_that_cannot_be_read_is_named(folder: Path) -> None:
    """The caller decides whether that is an error."""
    errors: list[str] = []
    assert files_below(folder / "none", lambda error: errors.append(str(error.filename))) == []
    assert errors == [str(folder / "none")]
