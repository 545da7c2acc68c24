"""Reconciled files: their content, detection of damage, and loading encoded cards only."""

import random
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from dataloader.batch import (
    Card,
    Counts,
    Manifest,
    Part,
    Reconciled,
    ReturnedCard,
    Verdict,
    is_reconciled,
    read_cards,
    read_manifest,
    read_reconciled,
    write_reconciled,
)
from dataloader.common import ExitCode, FileError, InputError
from dataloader.operations import generate
from dataloader.operations.generate import Batch
from dataloader.records.models import Role
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import ONE_MODEL, THOROUGH

SHARES = {"snapset_1a": 30, "snapset_3": 20, "empty": 10}
RESTORE = "(restore the file from a copy, or run reconcile again; it must not be edited)"


def returned(card: Card) -> ReturnedCard:
    """Return a card with a verdict by its number: one tenth of each other kind, the rest encoded."""
    chip = f"04{card.number:012X}"
    where = f"spring.xlsx, row {card.number + 1}"
    return {
        0: ReturnedCard(card, Verdict.FAILED, chip, f"{where}: the vendor says that it failed"),
        2: ReturnedCard(card, Verdict.MISSING, reason=f"{where}: its result is empty"),
        4: ReturnedCard(card, Verdict.MISSING, reason=f"{where}: a spare that was not used", unused_spare=True),
        6: ReturnedCard(card, Verdict.ALTERED, reason=f"{where}: it has “another” UUID"),
        8: ReturnedCard(card, Verdict.DUPLICATE, reason=f"{where}: on two chips"),
        9: ReturnedCard(card, Verdict.ENCODED),
    }.get(card.number % 10, ReturnedCard(card, Verdict.ENCODED, chip))


def counts_of(cards: list[ReturnedCard]) -> Counts:
    """Count the verdicts."""
    return Counts(Counter(each.verdict for each in cards), sum(each.unused_spare for each in cards))


def write(path: Path, manifest: Manifest) -> list[ReturnedCard]:
    """Write a reconciled file of a batch, and return its cards."""
    cards = [*map(returned, manifest.cards())]
    with path.open("wb") as stream:
        write_reconciled(stream, manifest.header, counts_of(cards), cards)
    return cards


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """A batch of 60 cards over three snapsets."""
    return generate("spring", SHARES, tmp_path / "batches")


@pytest.fixture
def path(tmp_path: Path, manifest: Manifest) -> Path:
    """The reconciled file of the batch of 60 cards: 30 are encoded."""
    found = tmp_path / "spring.reconciled.jsonl"
    write(found, manifest)
    return found


def refusal(path: Path) -> list[str]:
    """Return the problems reported for a file."""
    with pytest.raises(InputError) as caught:
        read_reconciled(path)
    assert caught.value.exit_code is ExitCode.INPUT
    return [str(problem).removeprefix(str(path)) for problem in caught.value.problems]


def sealed(header: dict[str, Any], lines: list[bytes]) -> bytes:
    """Return a file with matching digest and seal, whatever its content."""
    fields = {key: value for key, value in header.items() if key != "seal"}
    fields["digest"] = f"sha256:{sha256(b''.join(lines)).hexdigest()}"
    fields["seal"] = f"sha256:{sha256(orjson.dumps(fields)).hexdigest()}"
    return orjson.dumps(fields) + b"\n" + b"".join(lines)


def parts_of(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Return the header and the other lines of a file."""
    header, *lines = path.read_bytes().splitlines(keepends=True)
    return orjson.loads(header), lines


def test_reconciled_file_round_trips(tmp_path: Path, manifest: Manifest) -> None:
    """Cards, verdicts and the header are read as they were written."""
    path = tmp_path / "spring.reconciled.jsonl"
    cards = write(path, manifest)
    found = read_reconciled(path)
    assert (found.path, found.header) == (path, manifest.header)
    assert list(found.verdicts()) == cards == list(found.verdicts())
    assert {verdict.value: found.counts[verdict] for verdict in Verdict} == {
        "encoded": 30,
        "failed": 6,
        "missing": 12,
        "altered": 6,
        "duplicate": 6,
    }
    assert found.counts.spares_unused == 6
    assert sum(each.is_to_encode for each in cards) == 24


def test_load_uses_encoded_cards_only(path: Path, manifest: Manifest) -> None:
    """A reconciled file yields its encoded cards in manifest order, also in parts."""
    found = read_cards(path)
    encoded = [card for card in manifest.cards() if returned(card).verdict is Verdict.ENCODED]
    assert found.count == len(encoded) == 30
    assert list(found.cards()) == encoded
    for count in (1, 4, 7, 40):
        shares = [list(found.cards(Part(index, count))) for index in range(1, count + 1)]
        assert [card for share in shares for card in share] == encoded
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_read_cards_recognizes_files_by_content(path: Path, manifest: Manifest) -> None:
    """Names do not matter."""
    other = path.rename(path.with_name("spring.batch.jsonl"))
    assert is_reconciled(other)
    assert not is_reconciled(manifest.path)
    assert isinstance(read_cards(other), Reconciled)
    assert read_cards(manifest.path) == manifest


def test_reconciled_file_is_readable_json_lines(path: Path, manifest: Manifest) -> None:
    """The header contains the manifest's header and the counts; digest and seal can be computed with any tool."""
    header, lines = parts_of(path)
    seal = header.pop("seal")
    assert header == {
        "format": "dataloader-reconciled",
        "version": 1,
        "round": 1,
        "batch": orjson.loads(manifest.path.read_bytes().splitlines()[0]),
        "counts": {"encoded": 30, "failed": 6, "missing": 12, "altered": 6, "duplicate": 6},
        "spares_unused": 6,
        "digest": f"sha256:{sha256(b''.join(lines)).hexdigest()}",
    }
    assert seal == f"sha256:{sha256(orjson.dumps(header)).hexdigest()}"
    card = next(manifest.cards())
    assert orjson.loads(lines[0]) == {
        "number": 1,
        "uuid": card.uuid,
        "snapset": "snapset_1a",
        "verdict": "encoded",
        "chip": "04000000000001",
    }
    assert orjson.loads(lines[8])["chip"] is None
    assert orjson.loads(lines[3])["unused_spare"] is True
    assert orjson.loads(lines[5])["reason"] == "spring.xlsx, row 7: it has “another” UUID"


@THOROUGH
def test_reconciled_file_detects_every_changed_byte(tmp_path: Path) -> None:
    """A byte that is changed, removed or added anywhere is detected: one after the other, since all seals are alike."""
    manifest = generate("small", {"empty": 2}, tmp_path).manifest
    path = tmp_path / "small.reconciled.jsonl"
    write(path, manifest)
    data = path.read_bytes()
    source = random.Random(3)
    for at in range(len(data) + 1):
        other = bytes([source.randrange(256)])
        versions = data[:at] + other + data[at + 1 :], data[:at] + data[at + 1 :], data[:at] + other + data[at:]
        if (version := versions[at % 3]) != data:
            path.write_bytes(version)
            refusal(path)


def _swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], *lines[2:]]


def _other_uuid(lines: list[bytes]) -> list[bytes]:
    fields = orjson.loads(lines[0])
    fields["uuid"] = f"{'0' * 8}{fields['uuid'][8:]}"
    return [orjson.dumps(fields) + b"\n", *lines[1:]]


def _better(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"verdict":"altered"', b'"verdict":"encoded"') for line in lines]


@pytest.mark.parametrize("change", [_swapped, _other_uuid, lambda lines: lines[:-1], lambda lines: [*lines, lines[0]]])
def test_reconciled_file_rejects_cards_of_another_batch(path: Path, change: Any) -> None:
    """Even with a matching digest, the file must contain the batch's cards, all of them in order."""
    header, lines = parts_of(path)
    path.write_bytes(sealed(header, change(lines)))
    assert refusal(path) == [f": the cards are not those of batch spring {RESTORE}"]


def test_reconciled_file_rejects_wrong_counts(path: Path) -> None:
    """The counts in the header match the verdicts."""
    header, lines = parts_of(path)
    path.write_bytes(sealed(header, _better(lines)))
    assert refusal(path) == [f": the numbers of cards for each verdict do not match the header {RESTORE}"]
    path.write_bytes(sealed({**header, "spares_unused": 5}, lines))
    assert refusal(path) == [f": the numbers of cards for each verdict do not match the header {RESTORE}"]
    path.write_bytes(sealed({**header, "counts": {**header["counts"], "failed": 7}}, lines))
    assert refusal(path) == [f", line 1: the verdicts do not add up to 60 cards {RESTORE}"]


def test_reconciled_file_reports_problems_with_lines(path: Path) -> None:
    """The first unreadable line, each rule that a card breaks, and a later format version."""
    header, lines = parts_of(path)
    cut_off = path.read_bytes()[:-9]
    path.write_bytes(sealed(header, [lines[0].replace(b'"encoded"', b'"perfect"'), *lines[1:]]))
    assert refusal(path) == [
        f", line 2: verdict: 'perfect' must be one of: encoded, failed, missing, altered, duplicate {RESTORE}"
    ]
    path.write_bytes(cut_off)
    assert refusal(path) == [f", line 61: is not a complete line of JSON: the file was changed or truncated {RESTORE}"]
    path.write_bytes(sealed({**header, "version": 2}, lines))
    (problem,) = refusal(path)
    assert problem.startswith(", line 1: has format version 2; this program reads version 1 (use the program")
    path.write_bytes(sealed({**header, "counts": {}}, lines))
    assert len(refusal(path)) == 5
    path.write_bytes(b"{}\n")
    assert refusal(path) == [
        ", line 1: is not the header of a reconciled file (give a NAME.reconciled.jsonl written by reconcile)"
    ]
    path.write_bytes(sealed(header, [b'{"number":1}\n'] * 3000))
    assert len(refusal(path)) < 2000


def test_reconciled_file_changed_after_the_check_is_an_error(path: Path) -> None:
    """Only what was checked is loaded."""
    found = read_reconciled(path)
    header, lines = parts_of(path)

    def reading(data: bytes) -> Iterator[ReturnedCard]:
        path.write_bytes(data)
        return found.verdicts()

    for data in (
        sealed(header, lines[:-1]),
        sealed(header, [*lines[:-1], b"[]\n"]),
        sealed(header, [*lines[:-1], lines[-1].replace(b'"empty"', b'"other"')]),
    ):
        with pytest.raises(InputError, match="has changed since it was checked"):
            list(reading(data))
    path.unlink()
    with pytest.raises(FileError, match=r"a reconciled file, NAME\.reconciled\.jsonl"):
        list(found.cards())
    with pytest.raises(FileError, match=r"a reconciled file, NAME\.reconciled\.jsonl"):
        read_reconciled(path)
    with pytest.raises(FileError, match=r"a manifest or a reconciled file"):
        read_cards(path)


@THOROUGH
@ONE_MODEL
def test_commands_accept_a_reconciled_file_instead_of_a_manifest(
    run: Command, target: Target, path: Path, batch: Batch
) -> None:
    """Load, plan and verify use the encoded cards only, and say what they skipped, as text and JSON."""
    left_out = {"failed": 6, "missing": 12, "altered": 6, "duplicate": 6}
    told = (
        "batch spring: skipped 30 of 60 cards, not encoded: "
        "6 failed, 12 missing, 6 altered, 6 duplicate (6 of them unused spares)"
    )
    loaded = run("load", path, "--json")
    assert (loaded.code, loaded.data["left_out"]) == (ExitCode.OK, left_out)
    again = run("load", path)
    assert again.code == ExitCode.OK
    assert told in again.stdout.splitlines()
    planned = run("plan", batch.manifest.path, "--json").data
    kinds = sum(Role.CARD in kind.roles for kind in target.model.kinds)
    assert (planned["absent"], planned["left_out"]) == (30 * kinds, dict.fromkeys(left_out, 0))
    verified = run("verify", path, "--json")
    assert (verified.code, verified.data["verdicts"]["ok"], verified.data["left_out"]) == (ExitCode.OK, 30, left_out)
    assert told in run("verify", path).stdout.splitlines()
    assert run("plan", path, "--json").data["left_out"] == left_out
    both = run("load", path, batch.manifest.path)
    assert both.code == ExitCode.INPUT
    assert f"holds the same cards as {path} (give it once)" in both.stderr


def test_validate_accepts_a_reconciled_file(here: Command, path: Path) -> None:
    """It reports the kind of file and its content; a damaged file is refused."""
    found = here("validate", path)
    assert (found.code, found.stdout) == (
        ExitCode.OK,
        f"ok  {path}: reconciled file, batch spring, 30 of {sum(SHARES.values())} cards encoded\n",
    )
    path.write_bytes(path.read_bytes().replace(b'"encoded"', b'"duplicate"', 1))
    assert here("validate", path).code == ExitCode.INPUT


def test_reconcile_never_changes_the_manifest(path: Path, manifest: Manifest) -> None:
    """Results are written to a separate file."""
    assert path.exists()
    assert read_manifest(manifest.path) == manifest
