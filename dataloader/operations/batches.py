"""The batches in a folder: manifests, reconciled files, and the next step for each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from dataloader.batch import CardFile, Manifest, Reconciled, is_reconciled, read_manifest, read_reconciled
from dataloader.common import DataloaderError, FileError, InputError, Problem, files_below, many
from dataloader.operations.status import BatchStatus


@dataclass(frozen=True, slots=True)
class FoundBatch:
    """A batch in a folder."""

    manifest: CardFile
    rounds: tuple[Reconciled, ...]
    """Its reconciled files, the oldest round first."""

    @property
    def newest(self) -> Reconciled | None:
        """The reconciled file of the last round, None if there is none."""
        return self.rounds[-1] if self.rounds else None

    @property
    def ready(self) -> int | None:
        """The number of encoded cards, None if nothing has been reconciled."""
        return None if self.newest is None else self.newest.count

    @property
    def to_encode(self) -> int:
        """The number of cards to encode again: those not replaced by encoded spares of the same snapset."""
        if self.newest is None:
            return 0
        header = self.newest.header
        encoded = Counter(card.snapset for card in self.newest.cards())
        ordered = {name: count - header.spares.get(name, 0) for name, count in header.snapsets.items()}
        return sum(max(0, count - encoded[name]) for name, count in ordered.items())


@dataclass(frozen=True, slots=True)
class Folder:
    """The batches in a folder, sorted by name, and invalid files."""

    batches: tuple[FoundBatch, ...]
    problems: tuple[Problem, ...] = field(default=())


def find_batches(folder: Path) -> Folder:
    """Find all batches in a folder and its subfolders, except hidden ones.

    Reconciled files are matched to manifests by the digest of the batch, whatever their names.

    Raises:
        FileError: the folder can't be read.
    """
    if not folder.is_dir():
        rule = "no such folder" if not folder.exists() else "this is not a folder"
        raise FileError(str(folder), rule=rule, todo="name the folder that holds the manifests")
    manifests: dict[str, list[Manifest]] = {}
    rounds: dict[str, list[Reconciled]] = {}
    problems: list[Problem] = []
    for path in _files(folder, problems):
        try:
            if is_reconciled(path):
                found = read_reconciled(path)
                rounds.setdefault(found.header.digest, []).append(found)
            else:
                manifest = read_manifest(path)
                manifests.setdefault(manifest.header.digest, []).append(manifest)
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
        FoundBatch(_chosen(copies, rounds.get(digest, [])), tuple(sorted(rounds.get(digest, []), key=_round)))
        for digest, copies in sorted(manifests.items(), key=lambda each: each[1][0].header.name)
    ]
    return Folder(tuple(batches), tuple(problems))


def _round(reconciled: Reconciled) -> int:
    return reconciled.round


def _chosen(copies: Sequence[Manifest], rounds: Sequence[Reconciled]) -> Manifest:
    """Return the copy of a manifest that has reconciled files next to it, where commands look for them."""
    folders = {each.path.parent for each in rounds}
    return next((each for each in copies if each.path.parent in folders), copies[0])


def _files(folder: Path, problems: list[Problem]) -> list[Path]:
    """Return the files of batches in a folder and its subfolders, sorted; add subfolders that can't be read."""

    def unreadable(error: OSError) -> None:
        path = Path(error.filename)
        found = FileError.of(error, path, "make it readable, or move it away")
        if path == folder:
            raise FileError(found.what, rule=found.rule, todo="name a folder that can be read") from error
        problems.append(Problem(found.what, found.rule or "", found.todo))

    return [
        path
        for path in files_below(folder, unreadable)
        if path.name.endswith(".batch.jsonl") or (path.suffix == ".jsonl" and ".reconciled" in path.name)
    ]


@dataclass(frozen=True, slots=True)
class NextStep:
    """The next step for a batch."""

    words: str
    """What to do without a command; empty if nothing."""
    command: str = ""
    """The command to type then; empty if there is none."""

    def __str__(self) -> str:
        """Return the step as one line."""
        return ", then ".join(filter(None, (self.words, self.command)))


def next_step(batch: FoundBatch, status: BatchStatus | None, options: str = "") -> NextStep:
    """Return the next step for a batch.

    Args:
        batch: the batch.
        status: its status on a target, None if no target is given.
        options: the options for this target, each preceded by a space.
    """
    manifest, newest = batch.manifest, batch.newest
    reconcile = f"dataloader reconcile {quote(str(manifest.path))} RETURNED"
    if newest is None:
        return NextStep("", reconcile)
    if batch.to_encode and newest.counts.only_missing:
        return NextStep(f"ask the vendor for {many(batch.to_encode, 'missing card')}", reconcile)
    if batch.to_encode:
        return NextStep(f"have {many(batch.to_encode, 'card')} encoded again", reconcile)
    if status is not None and status.wrong:
        return NextStep("", f"dataloader verify {quote(str(newest.path))}{options}")
    if status is None or status.loaded < newest.count:
        return NextStep("", f"dataloader load {quote(str(newest.path))}{options}")
    return NextStep("nothing to do; every card is loaded")
