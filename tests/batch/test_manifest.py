"""Manifests: minting, writing, reading, and reporting everything that is wrong."""

import os
import random
import re
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import RFC_4122, UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataloader.batch import (
    BatchHeader,
    Card,
    Manifest,
    Part,
    check_count,
    deal,
    mint,
    read_manifest,
    seeded_bytes,
    write_manifest,
)
from dataloader.batch.sealed import MAX_LINE, MAX_PROBLEMS
from dataloader.common import SHOWN_PROBLEMS, ExitCode, FileError, InputError, now
from tests.support.command import Command
from tests.support.marks import THOROUGH

CREATED = "2020-11-23T00:00:00.000Z"
SHARES = {"snapset_1a": 3, "empty": 2}
PROPERTY = settings(deadline=None, max_examples=60)
DAMAGE = settings(deadline=None, max_examples=200)
SNAPSET_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,63}", fullmatch=True)
BATCH_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)

Lines = list[bytes]


def rendered(shares: dict[str, int] = SHARES, *, name: str = "spring", seed: int | None = None) -> bytes:
    """Return the bytes of a manifest; the same on every call."""
    count = sum(shares.values())
    stream = BytesIO()
    header = BatchHeader(name, CREATED, count, shares, "", seed)
    write_manifest(stream, header, deal(mint(count, seeded_bytes(1)), shares))
    return stream.getvalue()


def assembled(lines: Lines, **fields: Any) -> bytes:
    """Return a manifest of any card lines with a matching header, so that only the lines can be wrong."""
    counts = Counter(orjson.loads(line)["snapset"] for line in lines)
    digest = f"sha256:{sha256(b''.join(lines)).hexdigest()}"
    known: dict[str, Any] = {"name": "spring", "created": CREATED, "cards": len(lines), "snapsets": counts}
    return BatchHeader(**{**known, "digest": digest, **fields}).line() + b"".join(lines)


def card_lines(shares: dict[str, int] = SHARES) -> Lines:
    """Return the card lines of a valid manifest."""
    return rendered(shares).splitlines(keepends=True)[1:]


def uuid_of(line: bytes) -> str:
    """Return the UUID in a card line."""
    return str(orjson.loads(line)["uuid"])


def with_field(line: bytes, **fields: Any) -> bytes:
    """Return a card line with changed fields; None removes a field."""
    changed = {**orjson.loads(line), **fields}
    return orjson.dumps({name: value for name, value in changed.items() if value is not None}) + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a manifest."""
    return tmp_path / "spring.batch.jsonl"


@pytest.fixture(scope="module")
def shared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a manifest, shared by all examples of a test."""
    return tmp_path_factory.mktemp("manifests") / "spring.batch.jsonl"


def refusal(path: Path) -> InputError:
    """Return the error raised by reading a manifest."""
    with pytest.raises(InputError) as caught:
        read_manifest(path)
    assert caught.value.exit_code is ExitCode.INPUT
    return caught.value


def found(path: Path) -> list[str]:
    """Return the problems of a manifest without its path: ``line N: rule``."""
    error = refusal(path)
    assert error.total == len(error.problems)
    assert all(problem.where.startswith(str(path)) for problem in error.problems)
    return [f"{problem.where.removeprefix(str(path)).lstrip(', ')}: {problem.rule}" for problem in error.problems]


# Minting.


@PROPERTY
@given(st.integers(1, 3000))
def test_mint_returns_distinct_sorted_uuids(count: int) -> None:
    """UUIDs are version 4, lower case, sorted and distinct."""
    uuids = list(mint(count))
    assert len(uuids) == count
    assert uuids == sorted(set(uuids))
    for text in uuids[:: max(1, count // 50)]:
        uuid = UUID(text)
        assert (uuid.version, uuid.variant, str(uuid)) == (4, RFC_4122, text)


@PROPERTY
@given(st.integers(1, 500), st.integers(0, 2**53 - 1) | st.text(max_size=10))
def test_mint_with_a_seed_is_reproducible(count: int, seed: int | str) -> None:
    """The same seed gives the same UUIDs, another seed others."""
    first = list(mint(count, seeded_bytes(seed)))
    assert list(mint(count, seeded_bytes(seed))) == first
    assert set(mint(count, seeded_bytes(f"other {seed}"))).isdisjoint(first)


def test_mint_with_a_seed_never_changes() -> None:
    """Seeded UUIDs do not depend on any version."""
    assert list(mint(2, seeded_bytes(1))) == [
        "65224a58-b791-4f6a-b1d8-303e61cd86c3",
        "f5b1d1c4-2710-4c34-8c41-89eb2f1ed47e",
    ]


def test_mint_without_a_seed_never_repeats() -> None:
    """Minting twice gives different UUIDs."""
    assert set(mint(2000)).isdisjoint(mint(2000))


def test_minted_uuids_are_evenly_distributed() -> None:
    """Every byte takes every value about equally often, including the bytes drawn first."""
    count = 20_000
    minted = [UUID(text).bytes for text in mint(count)]
    for at in range(16):
        free = {6: 16, 8: 64}.get(at, 256)
        seen = Counter(each[at] % free for each in minted)
        expected = count / free
        chi_square = sum((seen[value] - expected) ** 2 / expected for value in range(free))
        # The mean is `free - 1`, the deviation about the root of twice that; eight deviations never occur.
        assert chi_square < free + 8 * (2 * free) ** 0.5, f"byte {at}"
    assert {each[6] >> 4 for each in minted} == {4}
    assert {each[8] >> 6 for each in minted} == {2}


def test_mint_draws_again_if_randomness_repeats() -> None:
    """If the random source returns the same bytes again, new ones are drawn."""
    source = random.Random(5)
    last = b""

    def stammering(count: int) -> bytes:
        nonlocal last
        if count != 14:
            return bytes(count)
        last = last if last and source.random() < 0.7 else source.randbytes(count)
        return last

    uuids = list(mint(300, stammering))
    assert len(set(uuids)) == 300
    assert uuids == sorted(uuids)


@PROPERTY
@given(st.dictionaries(SNAPSET_NAMES, st.integers(1, 40), min_size=1, max_size=6))
def test_cards_are_numbered_in_runs_of_one_snapset(shares: dict[str, int]) -> None:
    """Cards are numbered from 1, grouped by snapset, so that a box of cards has one snapset."""
    count = sum(shares.values())
    cards = list(deal(mint(count), shares))
    assert [card.number for card in cards] == list(range(1, count + 1))
    assert [card.snapset for card in cards] == [name for name, share in shares.items() for _ in range(share)]


@pytest.mark.parametrize(
    ("cards", "todo"), [(0, "correct the number"), (-1, "correct the number"), (1_000_001, "make several batches")]
)
def test_batch_size_is_limited(cards: int, todo: str) -> None:
    """An empty batch, or one too large for a sheet, is refused; the error gives the limits."""
    check_count(1)
    check_count(1_000_000)
    with pytest.raises(InputError, match=rf"^{cards:,} cards: a batch has 1 to 1,000,000 cards \({todo}\)$"):
        check_count(cards)


def test_now_is_iso_8601() -> None:
    """Times are ISO 8601 in UTC, with milliseconds and Z."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())


# Writing and reading.


@PROPERTY
@given(
    shares=st.dictionaries(SNAPSET_NAMES, st.integers(1, 30), min_size=1, max_size=6),
    name=BATCH_NAMES,
    seed=st.none() | st.integers(0, 2**53 - 1),
    data=st.data(),
)
def test_manifest_round_trips(
    shared_path: Path, shares: dict[str, int], name: str, seed: int | None, data: st.DataObject
) -> None:
    """Header, cards and spares are read as they were written."""
    count = sum(shares.values())
    cards = list(deal(mint(count), shares))
    spares = {
        snapset: data.draw(st.integers(1, shares[snapset]))
        for snapset in data.draw(st.lists(st.sampled_from(list(shares)), unique=True))
    }
    with shared_path.open("wb") as stream:
        written = write_manifest(stream, BatchHeader(name, CREATED, count, shares, "", seed, spares), cards)
    manifest = read_manifest(shared_path)
    assert manifest.header == written
    assert dict(manifest.header.snapsets) == shares
    assert (manifest.header.name, manifest.header.created, manifest.header.seed) == (name, CREATED, seed)
    assert list(manifest.cards()) == cards == list(manifest.cards())
    # The last of each snapset's cards are its spares.
    of_snapset = {snapset: [card.number for card in cards if card.snapset == snapset] for snapset in shares}
    expected = {number for snapset, some in spares.items() for number in of_snapset[snapset][-some:]}
    assert {number for number in range(count + 2) if manifest.header.is_spare(number)} == expected


def test_spares_do_not_change_other_manifests(path: Path) -> None:
    """A batch without spares has the same header as before, byte for byte."""
    path.write_bytes(rendered(seed=7))
    header = path.read_bytes().splitlines(keepends=True)[0]
    assert b"spares" not in header
    assert read_manifest(path).header.spares == {}
    assert sha256(header).hexdigest() == "bdde6ea8b752f32474c47673b0eaf49f07d6404d9b2ce976e9b9fbabb2c24276"


def test_manifest_is_readable_json_lines(path: Path) -> None:
    """The header describes the batch; its digest and seal can be computed with any tool."""
    path.write_bytes(rendered(seed=7))
    header, *cards = path.read_bytes().splitlines(keepends=True)
    fields = orjson.loads(header)
    seal = fields.pop("seal")
    assert fields == {
        "format": "dataloader-batch",
        "version": 1,
        "name": "spring",
        "created": CREATED,
        "cards": 5,
        "snapsets": SHARES,
        "digest": f"sha256:{sha256(b''.join(cards)).hexdigest()}",
        "seed": 7,
    }
    assert seal == f"sha256:{sha256(orjson.dumps(fields)).hexdigest()}"
    assert orjson.loads(cards[3]) == {"number": 4, "uuid": uuid_of(cards[3]), "snapset": "empty"}
    assert b"seed" not in rendered().splitlines()[0]


@PROPERTY
@given(st.integers(1, 40), st.integers(1, 12))
def test_parts_cover_the_whole_batch(shared_path: Path, cards: int, parts: int) -> None:
    """Machines that share a batch load each card exactly once, however many they are."""
    shared_path.write_bytes(rendered({"empty": cards}))
    manifest = read_manifest(shared_path)
    shares = [list(manifest.cards(Part(index, parts))) for index in range(1, parts + 1)]
    assert [card for share in shares for card in share] == list(manifest.cards())
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_reading_a_manifest_takes_constant_memory(tmp_path: Path, peak_memory: Callable[..., int]) -> None:
    """Two hundred thousand cards take no more memory than two thousand."""
    code = """
import sys
from pathlib import Path
from dataloader.batch.manifest import read_manifest
assert sum(1 for _ in read_manifest(Path(sys.argv[1])).cards()) == int(sys.argv[2])
"""
    peaks = []
    for count in (2_000, 200_000):
        path = tmp_path / f"{count}.batch.jsonl"
        path.write_bytes(rendered({"empty": count}))
        peaks.append(peak_memory(code, path, count))
    small, large = peaks
    assert large < small * 1.1


# Manifests that are wrong.


def far_apart(lines: Lines) -> Lines:
    """Repeat the first card's UUID on the last card."""
    return [*lines[:-1], with_field(lines[-1], uuid=uuid_of(lines[0]))]


def from_below(lines: Lines) -> Lines:
    """Repeat the last card's UUID on the first card."""
    return [with_field(lines[0], uuid=uuid_of(lines[-1])), *lines[1:]]


MOVED = "is out of order: lines were moved"
DOUBLED = "occurs more than once"
DIGEST = ": the digest in the header does not match the cards: a line was changed"
CUT_OFF = "is incomplete: the file was truncated"
NOT_A_UUID = "' must be like '2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21'"
UUIDS = [uuid_of(line) for line in card_lines()]

# Changes of the card lines, with a matching header, and every problem of the result.
WRONG_LINES: dict[str, tuple[Callable[[Lines], Lines], list[str]]] = {
    "a field of a wrong type": (
        lambda lines: [*lines[:2], with_field(lines[2], number="3"), *lines[3:]],
        ["line 4: number: '3' must be a whole number"],
    ),
    "a field too many": (
        lambda lines: [*lines[:2], with_field(lines[2], chip="04A1"), *lines[3:]],
        ["line 4: unknown member 'chip'"],
    ),
    "a field too few": (
        lambda lines: [with_field(lines[0], uuid=None), *lines[1:]],
        ["line 2: 'uuid' is missing"],
    ),
    "an upper-case UUID": (
        lambda lines: [*lines[:4], with_field(lines[4], uuid=UUIDS[4].upper())],
        [f"line 6: uuid: '{UUIDS[4].upper()}{NOT_A_UUID}"],
    ),
    "a UUID of another version": (
        lambda lines: [*lines[:4], with_field(lines[4], uuid=f"{UUIDS[4][:14]}1{UUIDS[4][15:]}")],
        [f"line 6: uuid: '{UUIDS[4][:14]}1{UUIDS[4][15:]}{NOT_A_UUID}"],
    ),
    "a UUID twice, side by side": (
        lambda lines: [*lines[:3], with_field(lines[3], uuid=UUIDS[2]), lines[4]],
        [f"lines 4 and 5: UUID {UUIDS[2]} {DOUBLED}"],
    ),
    "a UUID twice, far apart": (
        far_apart,
        [f"lines 2 and 6: UUID {UUIDS[0]} {DOUBLED}", f"line 6: UUID {UUIDS[0]} {MOVED}"],
    ),
    "a UUID twice, the wrong one first": (
        from_below,
        [f"lines 2 and 6: UUID {UUIDS[4]} {DOUBLED}", f"line 3: UUID {UUIDS[1]} {MOVED}"],
    ),
    "a UUID twice among lines that have been moved": (
        lambda lines: [with_field(line, uuid=UUIDS[at]) for line, at in zip(lines, (0, 2, 3, 1, 2), strict=True)],
        [
            f"lines 3 and 6: UUID {UUIDS[2]} {DOUBLED}",
            f"line 5: UUID {UUIDS[1]} {MOVED}",
        ],
    ),
    "a UUID three times": (
        lambda lines: [with_field(line, uuid=UUIDS[0]) if at in {2, 4} else line for at, line in enumerate(lines)],
        [
            f"lines 2 and 4 and 6: UUID {UUIDS[0]} {DOUBLED}",
            f"line 4: UUID {UUIDS[0]} {MOVED}",
            f"line 6: UUID {UUIDS[0]} {MOVED}",
        ],
    ),
    "a UUID twice beside one that is none": (
        lambda lines: [with_field(lines[0], uuid=[1]), with_field(lines[1], uuid=UUIDS[2]), *lines[2:]],
        [f"lines 3 and 4: UUID {UUIDS[2]} {DOUBLED}", "line 2: uuid: [1] must be a string"],
    ),
    "a whole line twice": (
        lambda lines: [*lines[:2], lines[1], *lines[2:4]],
        [
            f"lines 3 and 4: UUID {UUIDS[1]} {DOUBLED}",
            "line 4: card number 2 is where number 3 should be",
            "line 5: card number 3 is where number 4 should be",
            "line 6: card number 4 is where number 5 should be",
        ],
    ),
    "lines that have changed places": (
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        [
            "line 3: card number 3 is where number 2 should be",
            "line 4: card number 2 is where number 3 should be",
            f"line 4: UUID {UUIDS[1]} {MOVED}",
        ],
    ),
    "a line less, the numbers as they were": (
        lambda lines: lines[1:],
        [f"line {at}: card number {at} is where number {at - 1} should be" for at in (2, 3, 4, 5)],
    ),
}


@pytest.mark.parametrize(("damage", "problems"), WRONG_LINES.values(), ids=WRONG_LINES)
def test_manifest_reports_every_problem_in_its_lines(
    path: Path, damage: Callable[[Lines], Lines], problems: list[str]
) -> None:
    """Every problem is reported with its line, although header, digest and seal match."""
    path.write_bytes(assembled(damage([*map(plain, card_lines())])))
    assert found(path) == problems


def plain(line: bytes) -> bytes:
    """Return a line of JSON as a template for changes."""
    return orjson.dumps(orjson.loads(line)) + b"\n"


HEADER, *CARDS = rendered().splitlines(keepends=True)

# Contents of a file, and every problem.
WRONG_FILES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["line 1: is not the header of a manifest"]),
    "not JSON": (b"card one\n", ["line 1: is not the header of a manifest"]),
    "a workbook": (b"PK\x03\x04\x00\x00", ["line 1: this is a workbook, not a manifest"]),
    "a backup": (b"\x28\xb5\x2f\xfd\x00", ["line 1: this is a backup, not a manifest"]),
    "a target file": (b"[target.pilot]\n", ["line 1: this is a target file, not a manifest"]),
    "revoked cards": (
        b'{"number":1,"uuid":"00000000-0000-4000-8000-000000000001","revoked":true}\n',
        ["line 1: this is a list of revoked cards, not a manifest"],
    ),
    "a reconciled file": (
        b'{"format":"dataloader-reconciled"}\n',
        ["line 1: this is a reconciled file, not a manifest"],
    ),
    "not UTF-8": (b'{"format": "\xff"}\n', ["line 1: is not the header of a manifest"]),
    "JSON of something else": (b'{"flat": {}}\n', ["line 1: is not the header of a manifest"]),
    "a list": (b"[1, 2]\n", ["line 1: is not the header of a manifest"]),
    "nested deeply": (b"[" * 50_000, ["line 1: is not the header of a manifest"]),
    "without its header": (b"".join(CARDS), ["line 1: is not the header of a manifest"]),
    "of a later version": (
        HEADER.replace(b'"version":1', b'"version":2') + b"".join(CARDS),
        ["line 1: has format version 2; this program reads version 1"],
    ),
    "of no version": (
        HEADER.replace(b'"version":1,', b"") + b"".join(CARDS),
        ["line 1: has format version None; this program reads version 1"],
    ),
    "another name": (
        HEADER.replace(b'"spring"', b'"sprink"') + b"".join(CARDS),
        ["line 1: the seal does not match the header: the line was changed or truncated"],
    ),
    "another time": (
        HEADER.replace(b"2020-11-23", b"2020-11-24") + b"".join(CARDS),
        ["line 1: the seal does not match the header: the line was changed or truncated"],
    ),
    "a seed taken away": (
        rendered(seed=7).replace(b',"seed":7', b""),
        ["line 1: the seal does not match the header: the line was changed or truncated"],
    ),
    "another number of cards": (
        HEADER.replace(b'"cards":5', b'"cards":6') + b"".join(CARDS),
        [
            "line 1: the snapsets add up to 5 cards, not 6",
            "line 1: the seal does not match the header: the line was changed or truncated",
            ": holds 5 cards, but its header says 6",
        ],
    ),
    "a header that breaks rules": (
        HEADER.replace(b'"cards":5', b'"cards":0').replace(b"spring", b"../x") + b"".join(CARDS),
        [
            "line 1: cards: 0 is less than the minimum of 1",
            "line 1: name: '../x' must be like 'spring'",
        ],
    ),
    "blanks in the header": (
        HEADER.replace(b",", b", ") + b"".join(CARDS),
        ["line 1: the seal does not match the header: the line was changed or truncated"],
    ),
    "a header only": (HEADER, [": holds 0 cards, but its header says 5", DIGEST]),
    "cut off in the header": (HEADER[:-20], ["line 1: is not the header of a manifest"]),
    "cut off before the header's end of line": (
        HEADER[:-1],
        [
            "line 1: the seal does not match the header: the line was changed or truncated",
            ": holds 0 cards, but its header says 5",
            DIGEST,
        ],
    ),
    "cut off in a line": (
        HEADER + b"".join(CARDS)[:-30],
        [f"line 6: {CUT_OFF}", DIGEST],
    ),
    "cut off before the last end of line": (HEADER + b"".join(CARDS)[:-1], [f"line 6: {CUT_OFF}", DIGEST]),
    "cut off between lines": (HEADER + b"".join(CARDS[:3]), [": holds 3 cards, but its header says 5", DIGEST]),
    "a line that is not JSON": (
        HEADER + b"".join([*CARDS[:2], b"card three\n", *CARDS[3:]]),
        ["line 4: is not JSON", DIGEST],
    ),
    "an empty line at the end": (
        HEADER + b"".join(CARDS) + b"\n",
        ["line 7: is not JSON", ": holds 6 cards, but its header says 5", DIGEST],
    ),
    "ends of line of another system": (
        HEADER + b"".join(line.replace(b"\n", b"\r\n") for line in CARDS),
        [DIGEST],
    ),
    "ends of line of another system, also in the header": (
        (HEADER + b"".join(CARDS)).replace(b"\n", b"\r\n"),
        ["line 1: the line ends were changed, as a transfer in text mode does"],
    ),
    "a byte order mark": (
        b"\xef\xbb\xbf" + HEADER + b"".join(CARDS),
        ["line 1: an editor has saved the file with a byte order mark"],
    ),
    "a wrong digest": (assembled(CARDS, digest=f"sha256:{'0' * 64}"), [DIGEST]),
    "other snapsets than are counted": (
        assembled(CARDS, snapsets={"snapset_1a": 2, "empty": 3}),
        [": the numbers of cards for each snapset do not match the header"],
    ),
    "a snapset that is not counted": (
        assembled(CARDS, snapsets={"snapset_1a": 3, "snapset_3": 2}),
        [": the numbers of cards for each snapset do not match the header"],
    ),
    "more spares than cards": (
        assembled(CARDS, spares={"snapset_1a": 4, "empty": 2, "snapset_3": 1}),
        [
            "line 1: 4 spares start with snapset_1a, but 3 cards",
            "line 1: 1 spares start with snapset_3, but 0 cards",
        ],
    ),
    "spares taken away": (
        assembled(CARDS, spares={"empty": 2}).replace(b',"spares":{"empty":2}', b""),
        ["line 1: the seal does not match the header: the line was changed or truncated"],
    ),
    "no spares, said": (
        HEADER.replace(b',"digest"', b',"spares":{},"digest"') + b"".join(CARDS),
        ["line 1: spares: {} should be non-empty"],
    ),
    "several things at once": (
        HEADER
        + b"".join([with_field(CARDS[0], uuid="x", number=0), b"{\n", CARDS[2], with_field(CARDS[3], snapset=1)]),
        [
            "line 2: number: 0 is less than the minimum of 1",
            f"line 2: uuid: 'x{NOT_A_UUID}",
            "line 3: is not JSON",
            "line 5: snapset: 1 must be a string",
            ": holds 4 cards, but its header says 5",
            DIGEST,
        ],
    ),
}


@pytest.mark.parametrize(("data", "problems"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_invalid_manifest_reports_every_problem(path: Path, data: bytes, problems: list[str]) -> None:
    """A damaged or edited manifest, or another file, is refused with everything that is wrong."""
    path.write_bytes(data)
    assert found(path) == problems


def test_manifest_error_says_what_to_do(path: Path) -> None:
    """Restore a damaged manifest; give a manifest instead of another file."""
    path.write_bytes(rendered()[:-1])
    assert str(refusal(path)).splitlines()[0] == (
        f"{path}, line 6: {CUT_OFF} (restore it from a copy, or with dataloader recover; it must not be edited)"
    )
    path.write_bytes(b"")
    assert str(refusal(path)) == (
        f"{path}, line 1: is not the header of a manifest (give a NAME.batch.jsonl written by generate)"
    )


def test_many_problems_are_counted(path: Path) -> None:
    """The error lists the first problems and counts the rest."""
    count = 3 * MAX_PROBLEMS
    path.write_bytes(assembled([with_field(line, uuid="x") for line in card_lines({"empty": count})]))
    error = refusal(path)
    assert error.total == count
    assert len(error.problems) == MAX_PROBLEMS
    lines = str(error).splitlines()
    assert len(lines) == SHOWN_PROBLEMS + 1
    assert lines[0].startswith(f"{path}, line 2: uuid: 'x' must be like")
    assert lines[-1] == f"and {count - SHOWN_PROBLEMS} more problems"


def test_duplicate_uuid_is_found_in_a_large_manifest(path: Path) -> None:
    """A UUID that occurs twice is reported with both lines, however far apart."""
    lines = card_lines({"empty": 2 * MAX_PROBLEMS})
    path.write_bytes(assembled(from_below(lines)))
    assert found(path) == [
        f"lines 2 and {len(lines) + 1}: UUID {uuid_of(lines[-1])} {DOUBLED}",
        f"line 3: UUID {uuid_of(lines[1])} {MOVED}",
    ]


def test_endless_line_is_rejected_without_reading_it(path: Path, peak_memory: Callable[..., int]) -> None:
    """A line of 50 megabytes, as a card or header, is one problem and is not held in memory."""
    code = """
import sys
from pathlib import Path
from dataloader.common.errors import InputError
from dataloader.batch.manifest import read_manifest
try:
    read_manifest(Path(sys.argv[1]))
except InputError as error:
    assert len(error.problems) == int(sys.argv[2]), error
"""
    path.write_bytes(HEADER + CARDS[0][:-1])
    usual = peak_memory(code, path, 3)
    path.write_bytes(HEADER + b"".join(CARDS) + b"7" * 50_000_000)
    assert peak_memory(code, path, 2) < usual * 1.1
    assert found(path) == [f"line 7: is longer than {MAX_LINE:,} bytes", DIGEST]
    path.write_bytes(b" " * 50_000_000)
    assert peak_memory(code, path, 1) < usual * 1.1
    assert found(path) == ["line 1: is not the header of a manifest"]


@THOROUGH
def test_manifest_detects_every_changed_byte(shared_path: Path) -> None:
    """A byte that is changed, removed or added anywhere is detected."""
    data = rendered({"empty": 1}, seed=42)
    source = random.Random(3)
    for at in range(len(data) + 1):
        other = bytes([source.randrange(256)])
        versions = {data[:at] + other + data[at + 1 :], data[:at] + data[at + 1 :], data[:at] + other + data[at:]}
        for version in versions - {data}:
            shared_path.write_bytes(version)
            refusal(shared_path)


@DAMAGE
@given(data=st.data())
def test_manifest_detects_any_damage(shared_path: Path, data: st.DataObject) -> None:
    """Any replaced part of the file is detected, and never causes an internal error."""
    whole = rendered()
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, min(len(whole), begin + 80)))
    words = st.sampled_from([b'{"number":', b'"uuid":[', b"1e400", b"null", b"\\ud800", b"\n", b"}", HEADER, CARDS[2]])
    version = whole[:begin] + data.draw(st.binary(max_size=20) | words) + whole[end:]
    shared_path.write_bytes(version)
    if version == whole:
        read_manifest(shared_path)
    else:
        refusal(shared_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@PROPERTY
@given(at=st.integers(0, 4), field=st.sampled_from(["number", "uuid", "snapset", "note"]), value=JSON)
def test_card_with_any_other_content_is_rejected(shared_path: Path, at: int, field: str, value: Any) -> None:
    """No other value is accepted, although header, digest and seal match."""
    lines = [*map(plain, card_lines())]
    snapsets = SHARES
    lines[at] = orjson.dumps({**orjson.loads(lines[at]), field: value}) + b"\n"
    digest = f"sha256:{sha256(b''.join(lines)).hexdigest()}"
    header = BatchHeader("spring", CREATED, 5, snapsets, digest)
    shared_path.write_bytes(header.line() + b"".join(lines))
    refusal(shared_path)


# What is no manifest at all.


def test_missing_manifest_is_a_file_error(tmp_path: Path) -> None:
    """A path with no file, or below a file, is a file error that says what to do."""
    (tmp_path / "file").write_text("x")
    for path, reason in ((tmp_path / "none", "no such file or folder"), (tmp_path / "file/x", "not a folder")):
        with pytest.raises(FileError) as caught:
            read_manifest(path)
        assert str(caught.value) == (
            f"{path}: {reason} (give the path of a manifest, NAME.batch.jsonl, that can be read)"
        )
        assert caught.value.exit_code is ExitCode.FILE


def test_folder_is_not_a_manifest(tmp_path: Path) -> None:
    """A folder is rejected, even if it is named like a manifest."""
    folder = tmp_path / "spring.batch.jsonl"
    folder.mkdir()
    with pytest.raises(FileError) as caught:
        read_manifest(folder)
    assert str(caught.value) == f"{folder}: this is a folder (name a file in it)"


def test_pipe_does_not_block_reading_a_manifest(path: Path, command: Command) -> None:
    """A named pipe without a writer is rejected at once."""
    os.mkfifo(path)
    done = command("validate", path, timeout=60)
    assert done.code == ExitCode.FILE
    assert done.stderr == f"error: {path}: is not a regular file (save it as a file first)\n"


# Manifests that change after they were checked.


def swapped(lines: Lines) -> Lines:
    """Replace a card by another valid one."""
    return [*lines[:3], lines[4], *lines[4:]]


CHANGES: dict[str, Callable[[Lines], Lines]] = {
    "a line changed": swapped,
    "a line less": lambda lines: lines[:-1],
    "a line more": lambda lines: [*lines, lines[-1]],
    "a line cut off": lambda lines: [*lines[:-1], lines[-1][:-5]],
    "a line that is not JSON": lambda lines: [*lines[:2], b"x\n", *lines[3:]],
    "a line that is no card": lambda lines: [*lines[:2], b"[]\n", *lines[3:]],
    "a field less": lambda lines: [*lines[:2], b'{"number":2}\n', *lines[3:]],
    "a snapset of another batch": lambda lines: [*lines[:2], lines[2].replace(b"snapset_1a", b"snapset_9"), *lines[3:]],
    "a snapset that is a list": lambda lines: [*lines[:2], lines[2].replace(b'"snapset_1a"', b"[]"), *lines[3:]],
    "everything gone": lambda _: [],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_manifest_changed_after_the_check_is_an_error(path: Path, change: Callable[[Lines], Lines]) -> None:
    """Reading cards fails if the file is no longer the one that was checked."""
    path.write_bytes(rendered())
    manifest = read_manifest(path)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    read: list[Card] = []
    with pytest.raises(InputError) as caught:
        read.extend(manifest.cards())
    assert {card.snapset for card in read} <= SHARES.keys()
    assert str(caught.value) == (
        f"{path}: has changed since it was checked "
        "(restore it from a copy, or with dataloader recover; it must not be edited)"
    )


def test_change_in_another_part_is_detected(path: Path) -> None:
    """A machine that loads one part of a batch notices changes in every other part."""
    path.write_bytes(rendered())
    manifest = read_manifest(path)
    path.write_bytes(rendered().replace(b'"number":5', b'"number":6'))
    first = manifest.cards(Part(1, 2))
    assert [next(first).number, next(first).number] == [1, 2]
    with pytest.raises(InputError, match="has changed since it was checked"):
        next(first)


def test_manifest_removed_after_the_check_is_an_error(path: Path) -> None:
    """Reading the cards of a manifest that was moved away is a file error."""
    path.write_bytes(rendered())
    manifest = read_manifest(path)
    path.unlink()
    with pytest.raises(FileError, match=f"^{re.escape(str(path))}: no such file or folder "):
        next(manifest.cards())


def test_card_line_is_the_same_everywhere() -> None:
    """A card has the same line in the manifest and in the digest of the workbook."""
    card = Card(7, UUIDS[0], "empty")
    assert card.line() == b'{"number":7,"uuid":"%s","snapset":"empty"}\n' % UUIDS[0].encode()
    assert Manifest(Path("x"), BatchHeader("a", CREATED, 1, {"empty": 1}, "")).header.seed is None
