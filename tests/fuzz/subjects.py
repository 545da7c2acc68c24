"""The fuzzed functions: every reader of files from outside, and the results they may have.

A reader may accept its input or raise one of our errors, within a time limit; anything else is a finding. So users
never see a traceback: every error is one line.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from warnings import catch_warnings, simplefilter
from zipfile import ZIP_DEFLATED, ZipFile

from dataloader.batch import (
    Counts,
    Manifest,
    Reconciled,
    ReturnedCard,
    Verdict,
    read_manifest,
    read_reconciled,
    write_reconciled,
)
from dataloader.common import SHOWN_PROBLEMS, DataloaderError, data_dir
from dataloader.operations.reconcile import ReturnedFile, reconcile
from dataloader.records import read_samples, read_snapset
from dataloader.records.models import get_model
from dataloader.target import read_targets, resolve
from dataloader.target.credentials import from_netrc, from_password_file
from dataloader.vendor import check_workbook
from dataloader.vendor.returned import Reading

SAMPLES = data_dir("samples")
RETURNED = SAMPLES / "returned"
LIMIT = 20.0
"""Seconds that a reader may take for a small input, on a busy machine."""
MAX_LINE = 2_000
"""The longest line of an error in characters; it may repeat only a small part of the input."""


class Finding(Exception):  # noqa: N818 - it is what was looked for
    """A reader did something that it must not do."""


@dataclass(frozen=True, repr=False)
class Subject:
    """A reader, and how to make its input."""

    name: str
    suffix: str
    """The suffix of the file."""
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    """Valid inputs."""
    tokens: tuple[bytes, ...] = ()
    """Tokens of its format."""
    form: Literal["bytes", "document", "lines"] = "bytes"
    """Whether the input is JSON, or lines of JSON, whose data can be changed, too."""
    sealed: Callable[[bytes], bytes] | None = None
    """Corrects the digests of a changed input, so that the code after their check is reached."""


def examine(subject: Subject, data: bytes, folder: Path) -> bool:
    """Run a reader on an input; return whether it was accepted.

    Raises:
        Finding: the reader takes too long, or its error is too long.
        Exception: anything but our errors; also a finding.
    """
    path = folder / f"input{subject.suffix}"
    path.write_bytes(data)
    start = time.monotonic()
    taken = False
    try:
        subject.read(path)
        taken = True
    except DataloaderError as error:
        lines = str(error).splitlines()
        # One line for each problem, and one for those not shown.
        if not 0 < len(lines) <= SHOWN_PROBLEMS + 1 or max(map(len, lines)) > MAX_LINE:
            raise Finding(f"an error of {len(lines)} lines, {max(map(len, lines), default=0):,} characters") from error
    took = time.monotonic() - start
    if took > LIMIT:
        raise Finding(f"{took:.1f} s for {len(data):,} bytes")
    return taken


def _files(*paths: Path) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes() for path in paths]


def _read_cards(found: Manifest | Reconciled) -> None:
    for _ in found.cards():
        pass


def _reconcile(path: Path) -> None:
    result = reconcile(_batch(), [ReturnedFile(path)], Reading(cards=16))
    assert sum(result.counts[verdict] for verdict in Verdict) == 16


@cache
def _batch() -> Manifest:
    return read_manifest(RETURNED / "library.batch.jsonl")


def _reconciled() -> list[bytes]:
    manifest = _batch()
    verdicts = [*Verdict] * 4
    cards = [
        ReturnedCard(card, verdict, "04A1B2C3D4E5F6", "" if verdict is Verdict.ENCODED else "why")
        for card, verdict in zip(manifest.cards(), verdicts, strict=False)
    ]
    counts = Counts({verdict: sum(card.verdict is verdict for card in cards) for verdict in Verdict})
    stream = BytesIO()
    write_reconciled(stream, manifest.header, counts, cards)
    return [stream.getvalue()]


def _targets(path: Path) -> None:
    for name in read_targets(path):
        # A target may refer to files that do not exist.
        with suppress(DataloaderError):
            resolve(target=name, config=path, environ={})


def _dumped(fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def _sealed(fields: dict[str, Any], digest: str | None = None) -> dict[str, Any]:
    """Return the fields of a header with a correct seal, and a correct digest if given."""
    fields = {key: value for key, value in fields.items() if key != "seal"}
    if digest is not None and "digest" in fields:
        fields["digest"] = digest
    return {**fields, "seal": f"sha256:{sha256(_dumped(fields)).hexdigest()}"}


def seal_manifest(data: bytes) -> bytes:
    """Correct a manifest's digest and seal, as far as it can still be parsed."""
    head, newline, rest = data.partition(b"\n")
    try:
        fields = json.loads(head)
        assert isinstance(fields, dict)
    except (ValueError, RecursionError, AssertionError):
        return data
    return _dumped(_sealed(fields, f"sha256:{sha256(rest).hexdigest()}")) + newline + rest


def seal_reconciled(data: bytes) -> bytes:
    """Correct a reconciled file's digest and seals."""
    head, newline, rest = data.partition(b"\n")
    try:
        fields = json.loads(head)
        assert isinstance(fields, dict)
    except (ValueError, RecursionError, AssertionError):
        return data
    if isinstance(fields.get("batch"), dict):
        fields["batch"] = _sealed(fields["batch"])
    return _dumped(_sealed(fields, f"sha256:{sha256(rest).hexdigest()}")) + newline + rest


def _parts(path: Path) -> list[bytes]:
    """Return the parts of a workbook as one text, each after a line with its name, for a fuzzer to change."""
    with ZipFile(path) as archive:
        names = [name for name in archive.namelist() if "theme" not in name]
        return [b"".join(b"\0part " + name.encode() + b"\0" + archive.read(name) for name in names)]


def pack(data: bytes) -> bytes:
    """Build a workbook from the output of :func:`_parts`."""
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_DEFLATED) as archive, catch_warnings():
        # Duplicate names are welcome.
        simplefilter("ignore")
        for part in data.split(b"\0part ")[1:]:
            name, _, content = part.partition(b"\0")
            archive.writestr(name.decode(errors="replace").replace("\0", "") or "none", content)
    return stream.getvalue()


_JSON = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"null",
    b"true",
    b"1e999",
    b"-0",
    b"1e-7",
    b"9" * 30,
    b"\\ud800",
    b"\\u0000",
)
_XML = (
    *(b"<c r=", b'"A1"', b'"XFD9"', b"<f>1+1</f>", b"<v>", b"</v>", b't="s"', b't="e"', b't="d"', b't="b"', b"<is><t>"),
    *(b"</row>", b"<row>", b"&lt;", b"&#0;", b"]]>", b"<!--", b"99999999999", b"-1", b"<mergeCell ref=", b'Id="rId9"'),
)
_UUID = b"0f0a1b2c-3d4e-4f50-8a9b-0c1d2e3f4a5b"

SUBJECTS = [
    Subject(
        "manifest",
        ".batch.jsonl",
        lambda path: _read_cards(read_manifest(path)),
        _files(RETURNED / "library.batch.jsonl", SAMPLES / "demo.batch.jsonl"),
        (*_JSON, b"\n", b'"seed":0', b'"spares":{}', b"sha256:", _UUID, b'"cards":1000000'),
        "lines",
        seal_manifest,
    ),
    Subject(
        "reconciled file",
        ".reconciled.jsonl",
        lambda path: _read_cards(read_reconciled(path)),
        _reconciled,
        (*_JSON, b"\n", b'"encoded"', b'"duplicate"', b'"unused_spare":true', _UUID),
        "lines",
        seal_reconciled,
    ),
    Subject("workbook, as a file", ".xlsx", check_workbook, _files(SAMPLES / "demo.xlsx")),
    Subject(
        "workbook, by its parts", ".xlsx", check_workbook, lambda: _parts(SAMPLES / "demo.xlsx"), _XML, sealed=pack
    ),
    Subject(
        "returned workbook",
        ".xlsx",
        _reconcile,
        lambda: _parts(RETURNED / "everything.xlsx") + _parts(RETURNED / "mangled.xlsx"),
        _XML,
        sealed=pack,
    ),
    Subject(
        "returned CSV",
        ".csv",
        _reconcile,
        _files(RETURNED / "rearranged.csv", RETURNED / "shared.csv"),
        (
            b'"',
            b'""',
            b",",
            b";",
            b"\t",
            b"\r",
            b"\n",
            b"\0",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
            b"=1+1",
            b"ok",
            b"spare",
            _UUID,
        ),
    ),
    Subject(
        "snapset",
        ".json5",
        read_snapset,
        _files(
            data_dir("snapsets") / "gpii-key" / "snapset_3.json5", SAMPLES / "personas" / "gpii-key" / "alice.json5"
        ),
        (*_JSON, b"//", b"/*", b"*/", b"'", b"+Infinity", b"NaN", b"0x1F", b".5", b"\\\n", b"\\x41", b"\xe2\x80\xa8"),
        "document",
    ),
    Subject(
        "sample data",
        ".json5",
        lambda path: read_samples(path.rename(path.with_name("auth.json5")), get_model("gpii-token")),
        _files(SAMPLES / "gpii-token" / "auth.json5"),
        (*_JSON, b"//", b"'", b'"type": "user"', b'"_id": "_design/a"'),
        "document",
    ),
    Subject(
        "target file",
        ".toml",
        _targets,
        _files(SAMPLES / "dataloader.toml"),
        (
            *(
                b"[target.a]\n",
                b"[[",
                b"]]",
                b'"""',
                b"'''",
                b"=",
                b".",
                b"\\u0000",
                b"http://u:p@h/",
                b"https://[::1]:99999",
            ),
            *(b"1979-05-27T07:32:00Z", b"inf", b"0x", b"netrc = true", b'url = ["http://a", "http://b"]'),
        ),
    ),
    Subject(
        ".netrc",
        "",
        lambda path: from_netrc(path, ["127.0.0.1"]),
        lambda: [b'machine 127.0.0.1 login a password "b c"\nmacdef init\ncd\n\ndefault login x password y\n'],
        (b"machine ", b"login ", b"password ", b"account ", b"macdef ", b"default ", b'"', b"\\", b"#", b"\0", b"\xff"),
    ),
    Subject(
        "password file",
        "",
        lambda path: from_password_file("a", path),
        lambda: [b"secret\n"],
        (b"\0", b"\r\n", b"\xff"),
    ),
]
