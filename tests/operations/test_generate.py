"""Minting a batch: its two files, and everything that is refused before they are written."""

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from threading import Barrier

import openpyxl
import pytest

from dataloader.batch import read_manifest
from dataloader.cli import run
from dataloader.common import MAX_SAFE_INTEGER, DataloaderError, ExitCode, FileError, InputError
from dataloader.operations import check_name, generate, share_out, spares_of
from dataloader.operations.generate import Batch
from dataloader.records import Snapsets
from dataloader.vendor import check_workbook
from dataloader.vendor.encryption import is_encrypted
from tests.support.command import GOOD, Command
from tests.support.marks import THOROUGH

SHARES = {"snapset_1a": 4, "empty": 3}
TAKEN = "already exists; dataloader never overwrites files (choose another name or folder, or move it away)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder for batches; created when needed."""
    return tmp_path / "batches"


def names(folder: Path) -> list[str]:
    """Return the names of all files in a folder, including hidden ones."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def finals(folder: Path) -> list[str]:
    """Return the names of files in a folder that look like a batch's."""
    return [name for name in names(folder) if not name.startswith(".")]


# Content.


def test_generate_writes_manifest_and_workbook(folder: Path) -> None:
    """Both files are complete, agree, and are private."""
    batch = generate("spring", SHARES, folder)
    assert names(folder) == ["spring.batch.jsonl", "spring.xlsx"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    manifest = read_manifest(folder / "spring.batch.jsonl")
    assert manifest == batch.manifest
    assert (manifest.header.name, manifest.header.cards, dict(manifest.header.snapsets)) == ("spring", 7, SHARES)
    assert manifest.header.seed is None
    assert check_workbook(folder / "spring.xlsx").cards == 7
    sheet = openpyxl.load_workbook(batch.workbook)["Cards"]
    assert [(str(card.number), card.uuid, card.snapset) for card in manifest.cards()] == [
        (row[0], row[1], row[3]) for row in sheet.iter_rows(min_row=2, values_only=True)
    ]
    assert openpyxl.load_workbook(batch.workbook)["Batch"]["B4"].value == manifest.header.digest


def test_two_batches_have_no_card_in_common(folder: Path) -> None:
    """The same command run twice gives other UUIDs and another time."""
    first, second = (generate(name, {"empty": 200}, folder).manifest for name in ("first", "second"))
    assert {card.uuid for card in first.cards()}.isdisjoint(card.uuid for card in second.cards())
    assert first.header.digest != second.header.digest


def test_seeded_batch_is_reproducible(folder: Path) -> None:
    """The same name, snapsets and seed give the same two files; the manifest contains the seed."""
    one, other = generate("ci", SHARES, folder / "one", seed=42), generate("ci", SHARES, folder / "other", seed=42)
    assert one.manifest.path.read_bytes() == other.manifest.path.read_bytes()
    assert one.workbook.read_bytes() == other.workbook.read_bytes()
    assert (one.manifest.header.seed, one.manifest.header.created) == (42, "2000-01-01T00:00:00.000Z")
    assert json.loads(one.manifest.path.read_text().splitlines()[0])["seed"] == 42
    another = generate("ci", SHARES, folder / "another", seed=43)
    assert {card.uuid for card in one.manifest.cards()}.isdisjoint(card.uuid for card in another.manifest.cards())


@pytest.mark.parametrize("seed", [0, 1, MAX_SAFE_INTEGER])
def test_seed_is_stored_exactly(folder: Path, seed: int) -> None:
    """Any program reads the given seed from the manifest, also 0, and can use it again."""
    batch = generate("ci", {"empty": 1}, folder, seed=seed)
    assert read_manifest(batch.manifest.path).header.seed == seed
    again = generate("ci", {"empty": 1}, folder / "again", seed=seed)
    assert again.manifest.path.read_bytes() == batch.manifest.path.read_bytes()


@pytest.mark.parametrize("seed", [-1, MAX_SAFE_INTEGER + 1, 2**64])
def test_seed_that_cannot_be_stored_exactly_is_rejected(folder: Path, seed: int) -> None:
    """Seeds beyond JSON's exact integers, and negative ones, which would equal positive ones."""
    with pytest.raises(InputError, match=rf"^seed {seed}: must be between 0 and 2\*\*53 - 1 \(choose another\)$"):
        generate("ci", {"empty": 1}, folder, seed=seed)
    assert names(folder) == []


def test_generate_reports_progress_for_each_file(folder: Path) -> None:
    """The callback is called twice for each card: for the manifest and for the workbook."""
    seen = 0

    def on_card() -> None:
        nonlocal seen
        seen += 1

    generate("spring", SHARES, folder, on_card=on_card)
    assert seen == 14


def test_spares_are_added_to_each_snapset(folder: Path) -> None:
    """They are the last cards of their snapset, and the manifest says which ones they are."""
    batch = generate(
        "spring", {"snapset_1a": 4, "snapset_3": 2, "empty": 3}, folder, spares={"snapset_1a": 1, "empty": 2}
    )
    header = read_manifest(batch.manifest.path).header
    assert (header.cards, dict(header.snapsets)) == (12, {"snapset_1a": 5, "snapset_3": 2, "empty": 5})
    assert dict(header.spares) == {"snapset_1a": 1, "empty": 2}
    assert header.spare_runs == (range(5, 6), range(11, 13))
    assert [number for number in range(14) if header.is_spare(number)] == [5, 11, 12]
    assert check_workbook(batch.workbook).cards == 12


@pytest.mark.parametrize(
    ("shares", "portion", "spares"),
    [
        ({"a": 300, "b": 200}, Fraction(2, 100), {"a": 6, "b": 4}),
        ({"a": 301, "b": 1}, Fraction(2, 100), {"a": 7, "b": 1}),
        ({"a": 1}, Fraction(100, 100), {"a": 1}),
        ({"a": 999_000}, Fraction(1, 1000), {"a": 999}),
        # 29 % of 100 is 29; binary fractions would give 30.
        ({"a": 100}, Fraction("29") / 100, {"a": 29}),
        ({"a": 300, "b": 200}, Fraction(0), {}),
    ],
)
def test_spares_are_rounded_up_for_each_snapset(
    shares: dict[str, int], portion: Fraction, spares: dict[str, int]
) -> None:
    """However few cards a snapset has, one of them may fail."""
    assert spares_of(shares, portion) == spares


@pytest.mark.parametrize("said", ["8", "2%", "1.5%"])
def test_generate_command_reports_spares(folder: Path, here: Command, said: str) -> None:
    """A count is divided among the snapsets, a percentage applies to each; text and JSON show the result."""
    asked = ("--cards", 400, "--snapset", "snapset_1a=300", "--snapset", "empty", "--spares", said, "--out", folder)
    each = {"8": (6, 2), "2%": (6, 2), "1.5%": (5, 2)}[said]
    done = here("generate", "spring", *asked)
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    cards, spares = 400 + sum(each), sum(each)
    assert done.stdout.splitlines()[0] == (
        f"minted {cards} cards ({spares} of them spares): {300 + each[0]} snapset_1a, {100 + each[1]} empty"
    )
    data = here("generate", "summer", *asked, "--json").data
    assert (data["cards"], data["spares"]) == (cards, dict(zip(("snapset_1a", "empty"), each, strict=True)))
    assert here("validate", folder / "spring.batch.jsonl").stdout == (
        f"ok  {folder}/spring.batch.jsonl: manifest, batch spring, {cards} cards, {spares} of them spares\n"
    )


def test_generate_command_checks_the_chip(folder: Path, here: Command) -> None:
    """It prints the size of a record and the free memory of the chip."""
    done = here("generate", "spring", "--cards", 3, "--chip", "ntag213", "--out", folder)
    assert done.stdout.splitlines()[-1] == "chip      NTAG213: a card takes 46 of its 144 bytes, 98 are left"
    done = here("generate", "summer", "--cards", 3, "--chip", "ultralight", "--out", folder, "--json")
    assert done.data["chip"] == {"name": "ultralight", "memory": 48, "needed": 46, "left": 2}


def test_generate_command_encrypts_the_workbook(folder: Path, tmp_path: Path, here: Command) -> None:
    """With a password file, the workbook needs the password; the manifest is readable."""
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "password").chmod(0o600)
    done = here("generate", "spring", "--cards", 3, "--out", folder, "--password-file", "password")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.splitlines()[2] == (
        f"workbook  {folder}/spring.xlsx  (for the vendor; encrypted: send the password separately)"
    )
    assert "correct horse" not in done.stdout
    assert stat.S_IMODE((folder / "spring.xlsx").stat().st_mode) == 0o600
    assert is_encrypted(folder / "spring.xlsx")
    assert check_workbook(folder / "spring.xlsx", "correct horse").cards == 3
    assert names(folder) == ["spring.batch.jsonl", "spring.xlsx"]
    assert here("generate", "b", "--cards", 3, "--password-file", "password", "--json").data["encrypted"] is True
    assert here("generate", "c", "--cards", 3, "--json").data["encrypted"] is False


@THOROUGH
@pytest.mark.parametrize("name", ["generate", "export", "validate", "reconcile"])
def test_password_file_readable_by_others_is_a_warning(here: Command, tmp_path: Path, name: str) -> None:
    """Every command that reads a workbook password from a file warns about its mode."""
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    done = here("generate", "spring", "--cards", 3, "--password-file", "password")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    calls: dict[str, list[object]] = {
        "generate": ["autumn", "--cards", 3],
        "export": ["spring.batch.jsonl", "--out", "again"],
        "validate": ["spring.xlsx"],
        "reconcile": ["spring.batch.jsonl", "spring.xlsx"],
    }
    password.chmod(0o640)
    done = here(name, *calls[name], "--password-file", "password")
    assert done.stderr.splitlines()[0] == (
        "warning: password holds a secret, and others on this machine can read it; chmod 600 it"
    )


# What is refused.


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/abs", "a/b", "nul\0", ".hidden", "-x", "_x", "a b", "a\n", "ä", "x" * 101, "a\\b", "a:b"],
)
def test_batch_name_cannot_leave_its_folder(folder: Path, name: str) -> None:
    """A batch name is used for files: no folders, hidden files or spaces, at most a hundred characters."""
    with pytest.raises(InputError) as caught:
        generate(name, SHARES, folder)
    assert str(caught.value).startswith(
        f"batch name {name!r}: must be up to 100 letters a to z, digits, '.', '_' and '-', and begin with a letter or "
        "digit (choose another"
    )
    assert names(folder) == []


@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("Spring 2026", "choose another, such as Spring-2026"),
        ("früh/jahr ", "choose another, such as fruh-jahr"),
        ("春", "choose another"),
        ("..", "choose another"),
    ],
)
def test_invalid_batch_name_has_a_suggestion(folder: Path, name: str, then: str) -> None:
    """A similar name that is valid, if there is one."""
    with pytest.raises(InputError) as caught:
        generate(name, SHARES, folder)
    assert str(caught.value).endswith(f"({then})")


@pytest.mark.parametrize("name", ["CON", "con", "nul", "Aux.2021", "prn.", "COM1", "lpt9.a.b", "spring.", "spring.."])
def test_batch_name_must_be_valid_on_windows(here: Command, folder: Path, name: str) -> None:
    """Vendors' machines treat some names as devices, or drop a trailing dot."""
    with pytest.raises(InputError, match=f"batch name {name!r}: is a reserved name on Windows, or ends with a dot"):
        generate(name, SHARES, folder)
    assert here("generate", name, "--cards", 3, "--out", folder).code == ExitCode.INPUT
    assert names(folder) == []


@pytest.mark.parametrize("name", ["a", "0", "x" * 100, "library-2021.v2_final", "console", "com", "com10", "a.nul"])
def test_ordinary_batch_name_is_accepted(folder: Path, name: str) -> None:
    """Letters, digits, dots, hyphens and underscores are allowed, and used for the files."""
    check_name(name)
    generate(name, {"empty": 1}, folder)
    assert names(folder) == [f"{name}.batch.jsonl", f"{name}.xlsx"]


@pytest.mark.parametrize("shares", [{}, {"empty": 0}, {"empty": 1_000_001}, {"empty": 600_000, "snapset_3": 600_000}])
def test_batch_size_is_limited(folder: Path, shares: dict[str, int]) -> None:
    """One to a million cards; otherwise nothing is written."""
    with pytest.raises(InputError, match=r" cards: a batch has 1 to 1,000,000 cards \("):
        generate("spring", shares, folder)
    assert names(folder) == []


@pytest.mark.parametrize("taken", ["spring.batch.jsonl", "spring.xlsx"])
def test_generate_never_overwrites(folder: Path, taken: str) -> None:
    """An existing manifest or workbook is kept, byte for byte, and no card is minted."""
    folder.mkdir()
    (folder / taken).write_bytes(b"theirs")
    with pytest.raises(FileError) as caught:
        generate("spring", SHARES, folder, on_card=lambda: pytest.fail("a card was minted"))
    assert str(caught.value) == f"{folder / taken}: {TAKEN}"
    assert names(folder) == [taken]
    assert (folder / taken).read_bytes() == b"theirs"
    (folder / taken).unlink()
    (folder / taken).symlink_to("nowhere")
    with pytest.raises(FileError):
        generate("spring", SHARES, folder, on_card=lambda: pytest.fail("a card was minted"))
    assert names(folder) == [taken]


@pytest.mark.parametrize("links", ["hard links", "no hard links", "renames only"])
def test_concurrent_generates_of_one_name_have_one_winner(
    folder: Path, monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    """The two files are complete and of one batch; the other runs are told that they already exist."""

    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), source, None, target)

    if links != "hard links":
        monkeypatch.setattr(os, "link", refuse)
    if links == "renames only":
        monkeypatch.setattr("dataloader.common.files._RENAME_NOREPLACE", 1 << 20)
    all_have_looked = Barrier(4)

    def mint() -> Batch | DataloaderError:
        waited = False

        def on_card() -> None:
            nonlocal waited
            if not waited:
                waited = True
                all_have_looked.wait(30)

        try:
            return generate("spring", {"empty": 50}, folder, on_card=on_card)
        except DataloaderError as error:
            return error

    with ThreadPoolExecutor(4) as executor:
        outcomes = [future.result() for future in [executor.submit(mint) for _ in range(4)]]
    [batch] = [outcome for outcome in outcomes if isinstance(outcome, Batch)]
    errors = [str(outcome) for outcome in outcomes if isinstance(outcome, FileError)]
    assert errors == [f"{folder / 'spring.batch.jsonl'}: {TAKEN}"] * 3
    assert names(folder) == ["spring.batch.jsonl", "spring.xlsx"]
    assert read_manifest(batch.manifest.path) == batch.manifest
    assert openpyxl.load_workbook(batch.workbook)["Batch"]["B4"].value == batch.manifest.header.digest


# The number of cards for each snapset.


@pytest.mark.parametrize(
    ("cards", "wanted", "shares"),
    [
        (5, {}, {"empty": 5}),
        (5, {"snapset_3": None}, {"snapset_3": 5}),
        (5, {"snapset_3": 5}, {"snapset_3": 5}),
        (5, {"snapset_3": 2, "empty": 3}, {"snapset_3": 2, "empty": 3}),
        (5, {"snapset_3": 2, "empty": None}, {"snapset_3": 2, "empty": 3}),
        (5, {"snapset_3": None, "snapset_1a": 4}, {"snapset_3": 1, "snapset_1a": 4}),
        (1_000_000, {}, {"empty": 1_000_000}),
    ],
)
def test_snapsets_share_the_cards(
    snapsets: Snapsets, cards: int, wanted: dict[str, int | None], shares: dict[str, int]
) -> None:
    """Counts are used as given, one snapset may get the rest, and without any all cards are empty."""
    assert list(share_out(cards, wanted, snapsets).items()) == list(shares.items())


@pytest.mark.parametrize(
    ("cards", "wanted", "said"),
    [
        (500, {"snapset_3": 300, "empty": 100}, "snapset_3=300 empty=100: the counts add up to 400, 100 short of 500"),
        (5, {"snapset_3": 6}, "snapset_3=6: the counts add up to 6, 1 more than 5"),
        (
            *(5, {"snapset_3": 5, "empty": None}),
            "snapset_3=5 empty: the counts add up to 5, which leaves none of 5 cards for the other snapset",
        ),
        (
            *(5, {"snapset_3": 6, "empty": None}),
            "snapset_3=6 empty: the counts add up to 6, which leaves none of 5 cards for the other snapset",
        ),
        (
            *(5, {"snapset_3": None, "empty": None}),
            "snapset_3 empty: only one snapset may have no count; it gets the remaining cards",
        ),
    ],
)
def test_counts_that_do_not_add_up_are_rejected(
    snapsets: Snapsets, cards: int, wanted: dict[str, int | None], said: str
) -> None:
    """Cards are never added or dropped to make counts fit, and each snapset gets at least one."""
    with pytest.raises(InputError) as caught:
        share_out(cards, wanted, snapsets)
    assert str(caught.value) == f"--snapset {said} (correct the counts)"


def test_every_invalid_share_is_reported(snapsets: Snapsets) -> None:
    """Unknown snapsets, with the known ones, and counts of zero are in one error."""
    with pytest.raises(InputError) as caught:
        share_out(5, {"snapset_9": 3, "snapset_3": 0, "snapset_1a": -1, "": None}, snapsets)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f'--snapset: no snapset "snapset_9" in {snapsets.folder} (did you mean snapset_')
    assert lines[1].startswith('--snapset: no snapset ""')
    assert lines[2:] == [
        "--snapset snapset_3=0: a count must be 1 or more (correct it or leave the snapset out)",
        "--snapset snapset_1a=-1: a count must be 1 or more (correct it or leave the snapset out)",
    ]


@pytest.mark.parametrize("cards", [0, -5, 1_000_001])
def test_number_of_cards_is_checked_first(snapsets: Snapsets, cards: int) -> None:
    """Zero or too many cards are rejected, whatever the snapsets."""
    with pytest.raises(InputError, match=rf"^{cards:,} cards: a batch has 1 to 1,000,000 cards "):
        share_out(cards, {}, snapsets)


# A killed process.

STOPPED = """
import sys
from pathlib import Path
from dataloader.operations.generate import generate

seen = 0

def on_card():
    global seen
    seen += 1
    if seen == int(sys.argv[1]):
        print("here", flush=True)
        sys.stdin.read()

generate("spring", {"empty": 5000}, Path("batches"), on_card=on_card)
"""


@pytest.mark.parametrize("card", [pytest.param(1, marks=THOROUGH), 4999, pytest.param(5001, marks=THOROUGH), 10_000])
def test_killed_generate_leaves_no_partial_file(tmp_path: Path, folder: Path, card: int) -> None:
    """However far it got, there is no batch file, and the same name can be used again."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(card)],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
    assert finals(folder) == []
    # Leftovers are hidden and private.
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    batch = generate("spring", {"empty": 5}, folder)
    assert finals(folder) == ["spring.batch.jsonl", "spring.xlsx"]
    assert read_manifest(batch.manifest.path).header.cards == 5


def test_finished_generate_is_complete_on_disk(tmp_path: Path, folder: Path) -> None:
    """A run that continues after a pause ends with both files and nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, "7000"], check=True, cwd=tmp_path, input=b"", capture_output=True, timeout=60
    )
    assert done.stdout == b"here\n"
    assert names(folder) == ["spring.batch.jsonl", "spring.xlsx"]
    assert read_manifest(folder / "spring.batch.jsonl").header.cards == 5000
    assert check_workbook(folder / "spring.xlsx").cards == 5000


# The command.

LIMITED = """
import resource, runpy, sys

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), hard))
try:
    runpy.run_module("dataloader", run_name="__main__", alter_sys=True)
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
"""


@pytest.mark.parametrize(("cards", "room"), [(2000, 50_000), (5, 3000)], ids=["in the manifest", "in the workbook"])
def test_full_disk_is_one_line_and_leaves_nothing(folder: Path, tmp_path: Path, cards: int, room: int) -> None:
    """If the disk is full, the exit code is 4, one line says so, and no file is left."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(room), "generate", "spring", "--cards", str(cards), "--out", "batches"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == ExitCode.FILE
    assert re.fullmatch(
        r"error: batches(/spring\.\w+(\.jsonl)?)?: file too large "
        r"\(choose a writable folder with enough free space\)\n",
        done.stderr,
    )
    assert done.stdout == ""
    assert names(folder) == []


def test_generate_command_reports_its_files(folder: Path, command: Command) -> None:
    """It prints the counts, both paths, and what to keep."""
    shares = ("--snapset", "snapset_1a=6", "--snapset", "empty")
    done = command("generate", "spring", "--cards", 10, *shares, "--out", folder)
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.splitlines() == [
        "minted 10 cards: 6 snapset_1a, 4 empty",
        f"manifest  {folder}/spring.batch.jsonl  (keep it: it is the only record of the cards)",
        f"workbook  {folder}/spring.xlsx  (for the vendor)",
    ]
    header = read_manifest(folder / "spring.batch.jsonl").header
    assert dict(header.snapsets) == {"snapset_1a": 6, "empty": 4}
    assert header.seed is None


def test_generate_command_prints_json(tmp_path: Path, command: Command) -> None:
    """With --json, one object describes the batch; files go to the current folder by default."""
    done = command("generate", "ci", "--cards", 3, "--seed", 7, "--json")
    header = read_manifest(tmp_path / "ci.batch.jsonl").header
    assert (done.code, done.stderr, header.seed) == (ExitCode.OK, "", 7)
    assert done.data == {
        **GOOD,
        "name": "ci",
        "cards": 3,
        "snapsets": {"empty": 3},
        "spares": {},
        "created": "2000-01-01T00:00:00.000Z",
        "digest": header.digest,
        "manifest": "ci.batch.jsonl",
        "workbook": "ci.xlsx",
        "encrypted": False,
    }


def test_generate_command_refuses_to_run_again(folder: Path, command: Command) -> None:
    """Nothing is minted again: the second run is refused, and the files are unchanged."""
    arguments = ("generate", "spring", "--cards", 10, "--out", folder)
    assert command(*arguments).code == ExitCode.OK
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    again = command(*arguments)
    assert again.code == ExitCode.FILE
    assert again.stderr == f"error: {folder}/spring.batch.jsonl: {TAKEN}\n"
    assert again.stdout == ""
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before


REFUSED: dict[str, tuple[list[str], ExitCode, str]] = {
    "no name": (["--cards", "5"], ExitCode.USAGE, "missing argument 'NAME'"),
    "no number": (["spring"], ExitCode.USAGE, "missing option '--cards'"),
    "no number at all": (["spring", "--cards", "many"], ExitCode.USAGE, "'many' is not a whole number"),
    "no cards": (["spring", "--cards", "0"], ExitCode.INPUT, "0 cards: a batch has 1 to 1,000,000 cards"),
    "too many": (["spring", "--cards", "1000001"], ExitCode.INPUT, "1,000,001 cards: a batch has 1 to 1,000,000 cards"),
    "a name with a path": (
        ["../spring", "--cards", "5"],
        ExitCode.INPUT,
        "batch name '../spring': must be up to 100 letters",
    ),
    "no count": (
        ["spring", "--cards", "5", "--snapset", "empty=x"],
        ExitCode.USAGE,
        "--snapset empty=x: must be NAME or NAME=COUNT (correct the count)",
    ),
    "a negative count": (
        ["spring", "--cards", "5", "--snapset", "empty=-5"],
        ExitCode.USAGE,
        "--snapset empty=-5: must be NAME or NAME=COUNT (correct the count)",
    ),
    "a count that no computer counts to": (
        ["spring", "--cards", "5", "--snapset", f"empty={'9' * 5000}"],
        ExitCode.USAGE,
        "must be NAME or NAME=COUNT (correct the count)",
    ),
    "a snapset twice": (
        ["spring", "--cards", "5", "--snapset", "empty=2", "--snapset", "empty=3"],
        ExitCode.USAGE,
        "--snapset empty=3: empty is given twice (give each snapset once)",
    ),
    "an unknown snapset": (
        ["spring", "--cards", "5", "--snapset", "snapset_9"],
        ExitCode.INPUT,
        '--snapset: no snapset "snapset_9" in ',
    ),
    "a seed that cannot be kept": (
        ["spring", "--cards", "5", "--seed", "-1"],
        ExitCode.INPUT,
        "seed -1: must be between 0 and 2**53 - 1 (choose another)",
    ),
    "spares that are no number": (
        ["spring", "--cards", "5", "--spares", "some"],
        ExitCode.USAGE,
        "--spares some: must be a count or a percentage, such as 20 or 2% (correct it)",
    ),
    "less than no spares": (["spring", "--cards", "5", "--spares=-1"], ExitCode.USAGE, "--spares -1: must be a count"),
    "half a spare": (["spring", "--cards", "5", "--spares", "2.5"], ExitCode.USAGE, "--spares 2.5: must be a count"),
    "too many with the spares": (
        ["spring", "--cards", "999999", "--spares", "1%"],
        ExitCode.INPUT,
        "1,009,999 cards: a batch has 1 to 1,000,000 cards (make several batches)",
    ),
    "no cards but spares": (["spring", "--cards", "0", "--spares", "5"], ExitCode.INPUT, "0 cards: a batch has 1 to"),
    "a chip that is not known": (
        ["spring", "--cards", "5", "--chip", "ntag424"],
        ExitCode.USAGE,
        "'ntag424' must be one of",
    ),
    "no password file": (
        ["spring", "--cards", "5", "--password-file", "none"],
        ExitCode.FILE,
        "none: no such file or folder (name the file that holds the password)",
    ),
    "a password file of several lines": (
        ["spring", "--cards", "5", "--password-file", "lines"],
        ExitCode.INPUT,
        "lines: a workbook's password is one line of 1 to 255 characters (correct the file)",
    ),
    "a folder that is a file": (["spring", "--cards", "5", "--out", "file"], ExitCode.FILE, "file: is not a folder"),
    "a folder that takes no files": (
        ["spring", "--cards", "5", "--out", "/proc"],
        ExitCode.FILE,
        "error: /proc/spring.batch.jsonl: ",
    ),
    "no folder of snapsets": (
        ["spring", "--cards", "5", "--snapsets", "none"],
        ExitCode.FILE,
        "none: no such file or folder (name the folder of the snapsets)",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_generate_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: ExitCode, message: str
) -> None:
    """The exit code and message say what is wrong, and no file is created."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "lines").write_text("one\ntwo\n")
    assert run(["generate", *arguments]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    if code is not ExitCode.USAGE:
        assert re.fullmatch(r"error: [^\n]+\n", printed.err)
    assert names(tmp_path) == ["file", "lines"]


def test_generate_ignores_the_umask(folder: Path, tmp_path: Path) -> None:
    """With any umask, a batch is private."""
    before = os.umask(0)
    try:
        batch = generate("spring", {"empty": 1}, folder)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (batch.manifest.path, batch.workbook)} == {0o600}
