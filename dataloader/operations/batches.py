"""Batches in a folder: their manifests, the rounds that came back, and the next step for each."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from dataloader.batch import CardFile, Manifest, Reconciled, is_reconciled, read_manifest, read_reconciled
from dataloader.common import DataloaderError, FileError, InputError, Problem, many
from dataloader.operations.status import BatchStatus


@dataclass(frozen=True, slots=True)
class FoundBatch:
    """A batch in a folder."""

    manifest: CardFile
    rounds: tuple[Reconciled, ...]
    """What came back from the vendor, the oldest round first."""

    @property
    def newest(self) -> Reconciled | None:
        """The reconciled file of the last round, None if nothing has come back."""
        return self.rounds[-1] if self.rounds else None

    @property
    def ready(self) -> int | None:
        """How many cards came back encoded, None if nothing has come back."""
        return None if self.newest is None else self.newest.count

    @property
    def to_encode(self) -> int:
        """How many cards have to be encoded again: those that no encoded spare of their snapset makes up for."""
        if self.newest is None:
            return 0
        header = self.newest.header
        encoded = Counter(card.snapset for card in self.newest.cards())
        ordered = {name: count - header.spares.get(name, 0) for name, count in header.snapsets.items()}
        return sum(max(0, count - encoded[name]) for name, count in ordered.items())


@dataclass(frozen=True, slots=True)
class Folder:
    """The batches of a folder, by name, and files that can't be used."""

    batches: tuple[FoundBatch, ...]
    problems: tuple[Problem, ...] = field(default=())


def find_batches(folder: Path) -> Folder:
    """Find every batch in a folder and the folders in it, hidden ones aside.

    Reconciled files are matched to manifests by the digest of the batch, whatever their names.

    Raises:
        FileError: the folder can't be read.
    """
    if not folder.is_dir():
        rule = "no such folder" if not folder.exists() else "this is not a folder"
        raise FileError(str(folder), rule=rule, todo="name the folder that holds the manifests")
    manifests: dict[str, Manifest] = {}
    rounds: dict[str, list[Reconciled]] = {}
    problems: list[Problem] = []
    for path in _files(folder):
        try:
            if is_reconciled(path):
                found = read_reconciled(path)
                rounds.setdefault(found.header.digest, []).append(found)
            else:
                manifest = read_manifest(path)
                manifests.setdefault(manifest.header.digest, manifest)
        except InputError as error:
            problems += error.problems[:1]
        except DataloaderError as error:
            problems.append(Problem(error.what, error.rule or "", error.todo))
    problems += [
        Problem(str(found.path), f"the manifest of batch {found.header.name} is not in {folder}", "put it there")
        for digest, without in rounds.items()
        if digest not in manifests
        for found in without
    ]
    batches = [
        FoundBatch(manifest, tuple(sorted(rounds.get(digest, []), key=lambda each: each.round)))
        for digest, manifest in sorted(manifests.items(), key=lambda each: each[1].header.name)
    ]
    return Folder(tuple(batches), tuple(problems))


def _files(folder: Path) -> Iterator[Path]:
    try:
        for path in sorted(folder.rglob("*.jsonl")):
            inside = path.relative_to(folder)
            if not any(part.startswith(".") for part in inside.parts) and (
                path.name.endswith(".batch.jsonl") or ".reconciled" in path.name
            ):
                yield path
    except OSError as error:
        raise FileError.of(error, folder, "name a folder that can be read") from error


@dataclass(frozen=True, slots=True)
class NextStep:
    """What is to be done next with a batch."""

    words: str
    """What no command does; empty if there is nothing of that kind."""
    command: str = ""
    """What to type then; empty if there is nothing to do."""

    def __str__(self) -> str:
        """Return the step as one line."""
        return ", then ".join(filter(None, (self.words, self.command)))


def next_step(batch: FoundBatch, status: BatchStatus | None, options: str = "") -> NextStep:
    """Return what is to be done next with a batch.

    Args:
        batch: the batch.
        status: its state on a target, None if no target was asked.
        options: the options that name this target, each after a blank.
    """
    manifest, newest = batch.manifest, batch.newest
    reconcile = f"dataloader reconcile {quote(str(manifest.path))} RETURNED"
    if newest is None:
        return NextStep("", reconcile)
    if batch.to_encode:
        return NextStep(f"have {many(batch.to_encode, 'card')} encoded again", reconcile)
    if status is not None and status.wrong:
        return NextStep("", f"dataloader verify {quote(str(newest.path))}{options}")
    if status is None or status.loaded < newest.count:
        return NextStep("", f"dataloader load {quote(str(newest.path))}{options}")
    return NextStep("none: every card is loaded")
