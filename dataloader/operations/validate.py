"""Recognize files and check them; no server needed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dataloader.batch import (
    MANIFEST_SUFFIX,
    REVOKED_SUFFIX,
    is_reconciled,
    read_manifest,
    read_reconciled,
    read_revocations,
)
from dataloader.common import FileError, InputError, Problem, many, raise_problems, read_json5, schema_problems
from dataloader.operations.backups import VERIFIED_SUFFIX
from dataloader.operations.credentials import DOCUMENTS_SUFFIX
from dataloader.operations.export import check_export
from dataloader.records import Snapsets, read_samples, read_snapset
from dataloader.target import read_targets
from dataloader.vendor import check_workbook, is_returned
from dataloader.vendor.layouts import get_layout, is_own, layout_of
from dataloader.vendor.returned import check_safe

SITE_SCHEMA = "files/site-credentials"
_SUFFIXES = {".jsonl": "manifest", ".xlsx": "workbook", ".toml": "target file"}


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking one file."""

    path: Path
    kind: str
    """The kind of file.

    ``manifest``, ``reconciled file``, ``list of revoked cards``, ``workbook``, ``snapset``, ``layout``,
    ``sample data``, ``site credentials`` or ``target file``; ``data`` is JSON5 that can't be parsed, and ``file``
    anything else.
    """
    summary: str
    """A short description of the content; empty if there are problems."""
    problems: tuple[Problem, ...] = field(default=())
    total_problems: int = 0
    warnings: tuple[Problem, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Given:
    """What files are checked with."""

    snapsets: Snapsets | None
    strict: bool
    password: str | None


def validate(
    paths: Iterable[Path], snapsets: Snapsets | None, *, strict: bool = False, password: str | None = None
) -> Iterator[Checked]:
    """Check files by their kind, and folders recursively.

    Args:
        paths: files and folders.
        snapsets: the snapsets that manifests may use; None not to check.
        strict: whether an unknown term is an error.
        password: the password of encrypted workbooks.

    Yields:
        One result for each file, sorted by path, with every problem.

    Raises:
        FileError: a path can't be read.
    """
    given = _Given(snapsets, strict, password)
    for path in paths:
        if path.is_dir():
            for each in sorted(path.rglob("*")):
                if _is_checked(each) and not any(part.startswith(".") for part in each.relative_to(path).parts):
                    yield _validate(each, given)
        else:
            yield _validate(path, given)


def _kind(path: Path) -> str | None:
    if path.is_dir():
        return None
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    return "data" if suffix in {".json5", ".json"} and not path.name.endswith(".schema.json") else None


def _is_checked(path: Path) -> bool:
    """Return whether a file in a folder is checked: not the details and histories of runs, drills, and documents."""
    is_of_batch = path.name.endswith((MANIFEST_SUFFIX, REVOKED_SUFFIX)) or ".reconciled" in path.name
    is_other = path.name.endswith((VERIFIED_SUFFIX, DOCUMENTS_SUFFIX))
    return _kind(path) is not None and not is_other and (path.suffix.lower() != ".jsonl" or is_of_batch)


def _validate(path: Path, given: _Given) -> Checked:
    kind = _kind(path) or "file"
    try:
        if path.name.endswith(REVOKED_SUFFIX):
            kind = "list of revoked cards"
        elif kind == "manifest" and is_reconciled(path):
            kind = "reconciled file"
        if kind == "file":
            path.stat()
            raise InputError(
                Problem(
                    str(path),
                    "is neither a manifest or reconciled file (.jsonl), a workbook (.xlsx), a snapset, layout or "
                    "sample data (.json5, .json) nor a target file (.toml)",
                    "leave it out",
                )
            )
        if kind == "data":
            return _validate_data(path, strict=given.strict)
        return Checked(path, kind, _CHECKS[kind](path, given))
    except InputError as error:
        return Checked(path, kind, "", tuple(error.problems), error.total)
    except OSError as error:
        raise FileError.of(error, path, "give the path of a file that can be read") from error


def _manifest(path: Path, given: _Given) -> str:
    header = read_manifest(path).header
    if given.snapsets is not None:
        raise_problems(
            problem for name in header.snapsets for problem in given.snapsets.problems_of(name, f"{path}, line 1")
        )
    spares = sum(header.spares.values())
    return (
        f"batch {header.name}, {header.cards} cards"
        + (f", {spares} of them spares" if spares else "")
        + ("" if header.seed is None else ", reproducible")
    )


def _reconciled(path: Path, given: _Given) -> str:  # noqa: ARG001 - every check is called alike
    found = read_reconciled(path)
    return f"batch {found.header.name}, {found.count} of {found.header.cards} cards encoded"


def _revoked(path: Path, given: _Given) -> str:  # noqa: ARG001 - every check is called alike
    beside = path.with_name(path.name.removesuffix(REVOKED_SUFFIX) + MANIFEST_SUFFIX)
    if not beside.is_file():
        raise InputError(Problem(str(path), f"{beside.name} is not next to it", "put the manifest there, too"))
    manifest = read_manifest(beside)
    cards = {each.card for each in read_revocations(manifest)}
    return f"batch {manifest.header.name}, {many(len(cards), 'card')} revoked"


def _workbook(path: Path, given: _Given) -> str:
    check_safe(path, given.password)
    layout = layout_of(path)
    if layout is not None:
        return f"layout {layout.name}, {check_export(path, layout, given.password)} cards"
    if is_returned(path, given.password):
        raise InputError(Problem(str(path), "this is a returned workbook", "check it with `dataloader reconcile`"))
    found = check_workbook(path, given.password)
    return f"batch {found.name}, {found.cards} cards"


def _targets(path: Path, given: _Given) -> str:  # noqa: ARG001 - every check is called alike
    return f"targets {', '.join(read_targets(path))}"


_CHECKS = {
    "manifest": _manifest,
    "reconciled file": _reconciled,
    "list of revoked cards": _revoked,
    "workbook": _workbook,
    "target file": _targets,
}


def _validate_data(path: Path, *, strict: bool) -> Checked:
    """Check a JSON5 file: an array is sample data, an object a snapset, a layout or a site's credentials."""
    kind = "data"
    try:
        data = read_json5(path)
        if isinstance(data, list):
            kind = "sample data"
            samples = read_samples(path)
            return Checked(path, kind, f"{len(samples.documents)} documents for {samples.database}")
        if isinstance(data, dict) and "docs" in data:
            todo = f"check it with `dataloader load --documents {path} --dry-run`"
            raise InputError(Problem(str(path), "this is a file of documents", todo))
        if isinstance(data, dict) and "site" in data:
            kind = "site credentials"
            raise_problems(schema_problems(str(path), SITE_SCHEMA, data, secrets=True))
            return Checked(path, kind, f"site {data['site']}")
        if isinstance(data, dict) and "columns" in data and is_own(path.name):
            kind = "layout"
            return Checked(path, kind, get_layout(str(path)).description)
        kind = "snapset"
        snapset, warnings = read_snapset(path, strict=strict)
    except InputError as error:
        return Checked(path, kind, "", tuple(error.problems), error.total)
    return Checked(path, kind, snapset.title, warnings=tuple(warnings))
