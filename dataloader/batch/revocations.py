"""The list of a batch's revoked cards, ``NAME.revoked.jsonl`` next to the manifest; NAME is the batch's.

A database that is loaded again after a loss, or restored from a backup made before a revocation, does not know that a
card was revoked. The list does. A line is added before a card is revoked, and removed after it is restored, so a card
stays revoked whatever is interrupted.
"""

import fcntl
import os
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from dataloader.batch.manifest import Card, CardFile
from dataloader.batch.reconciled import Reconciled
from dataloader.common import FileError, InputError, Problem, now, read_file, require_file

REVOKED_SUFFIX = ".revoked.jsonl"
MAX_LIST = 1_000_000_000
"""The largest list in bytes: some events for each card of the largest batch."""
_LOCK = ".revoked.lock"
"""The file in the folder of the manifests that is locked while cards are revoked or restored."""
_TODO = "the list of revoked cards must be a file that can be read"


@dataclass(frozen=True, slots=True)
class RevokedCard:
    """A revoked card."""

    card: Card
    reason: str
    time: str
    """When it was revoked, ISO 8601 in UTC with milliseconds and Z."""
    environment: str
    """The environment of the target: a card that was revoked in a test still works in production."""


def revocations_path(manifest: CardFile) -> Path:
    """Return the path of a batch's list, whether or not it exists; all rounds of a batch share it."""
    return manifest.path.with_name(manifest.header.name + REVOKED_SUFFIX)


@contextmanager
def one_at_a_time(manifest: CardFile) -> Iterator[None]:
    """Wait until no other command revokes or restores cards of a folder's batches, and keep others waiting.

    A card that is revoked and restored at once would otherwise be revoked in the target, but not in the list.
    """
    with ExitStack() as stack:
        # Some network shares have no locks, and some folders can't be read; a revocation does not fail for it.
        with suppress(OSError):
            descriptor, how = _open_lock(manifest.path.with_name(_LOCK))
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, how)
        yield


def _open_lock(path: Path) -> tuple[int, int]:
    """Open the lock of a folder; return it, and how to lock it.

    A folder can't be locked itself on NFS, where only what is open for writing can be
    (https://man7.org/linux/man-pages/man2/flock.2.html, "NFS details").
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), fcntl.LOCK_EX
    except OSError:
        # A folder that this user may only read: what revokes or restores cards must not run meanwhile.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH


def note_revoked(manifest: CardFile, cards: Sequence[Card], reason: str, environment: str) -> None:
    """Add cards to the list; called before they are revoked.

    Raises:
        FileError: the list can't be written.
    """
    _append(manifest, [_event(card, reason, environment, revoked=True) for card in cards])


def note_restored(manifest: CardFile, cards: Sequence[Card], environment: str) -> None:
    """Remove cards from the list; called after they work again.

    Raises:
        FileError: the list can't be written.
    """
    if revocations_path(manifest).exists():
        _append(manifest, [_event(card, "", environment, revoked=False) for card in cards])


def _event(card: Card, reason: str, environment: str, *, revoked: bool) -> dict[str, object]:
    said = {"revoked": revoked, "reason": reason, "time": now(), "environment": environment}
    return {"number": card.number, "uuid": card.uuid, "snapset": card.snapset, **said}


def _append(manifest: CardFile, events: Sequence[dict[str, object]]) -> None:
    path = revocations_path(manifest)
    try:
        if path.exists():
            require_file(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+b") as stream:
            with suppress(OSError):
                fcntl.flock(stream, fcntl.LOCK_EX)
            last = stream.read().rpartition(b"\n")[2]
            if _is_json(last):
                stream.write(b"\n")
            else:
                # An earlier write was interrupted; its truncated line does not count.
                stream.truncate(stream.tell() - len(last))
            stream.write(b"".join(orjson.dumps(event) + b"\n" for event in events))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise FileError.of(error, path, "the list of revoked cards, next to the manifest, must be writable") from error


def read_revocations(manifest: CardFile) -> list[RevokedCard]:
    """Return the revoked cards of a batch according to its list; empty if there is no list.

    Raises:
        FileError: the list can't be read.
        InputError: a line is damaged, or names a card that is not in the batch.
    """
    return [each for each, is_revoked in _last_events(manifest) if is_revoked]


def read_restored(manifest: CardFile) -> list[RevokedCard]:
    """Return the cards of a batch that were revoked and restored according to its list.

    Raises:
        FileError: the list can't be read.
        InputError: a line is damaged, or names a card that is not in the batch.
    """
    return [each for each, is_revoked in _last_events(manifest) if not is_revoked]


def _last_events(manifest: CardFile) -> list[tuple[RevokedCard, bool]]:
    """Return the last event of each card and environment, and whether the card is revoked since, in order."""
    path = revocations_path(manifest)
    try:
        data = read_file(path, MAX_LIST, _TODO).removeprefix(BOM_UTF8)
    except FileError as error:
        # A link to a missing list is not the same as no list.
        if isinstance(error.__cause__, FileNotFoundError) and not path.is_symlink():
            return []
        raise
    found: dict[tuple[str, str], tuple[RevokedCard, bool]] = {}
    where: dict[Card, int] = {}
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        # The last line may have been truncated by a crash, before the card was revoked.
        if not line or (number == len(lines) and not _is_json(line)):
            continue
        try:
            revocation, revoked = _read(orjson.loads(line))
        except (ValueError, TypeError, LookupError) as error:
            raise _wrong(path, number, "is damaged") from error
        where.setdefault(revocation.card, number)
        key = revocation.card.uuid, revocation.environment
        found.pop(key, None)
        found[key] = revocation, revoked
    if where:
        # A wrong card here would leave the lost one working.
        strangers = set(where).difference(_all_cards(manifest))
        if strangers:
            line_number = min(where[each] for each in strangers)
            raise _wrong(path, line_number, f"names a card that is not in batch {manifest.header.name}")
    return list(found.values())


def is_cut_off(manifest: CardFile) -> bool:
    """Return whether a batch's list is empty or ends within a line, which therefore does not count.

    That is harmless after a crash, before which the card was not revoked yet; but a copy may lack any number of cards.

    Raises:
        FileError: the list can't be read.
    """
    path = revocations_path(manifest)
    if not path.exists():
        return False
    last = read_file(path, MAX_LIST, _TODO).rpartition(b"\n")
    return not any(last) or (bool(last[2]) and not _is_json(last[2]))


def _wrong(path: Path, number: int, rule: str) -> InputError:
    return InputError(Problem(f"{path}, line {number}", rule, "correct it, or take the list from a backup"))


def _all_cards(manifest: CardFile) -> Iterator[Card]:
    """Yield every card of a batch, encoded or not."""
    if isinstance(manifest, Reconciled):
        return (each.card for each in manifest.verdicts())
    return manifest.cards()


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True


def _read(event: Any) -> tuple[RevokedCard, bool]:
    texts = [event[name] for name in ("uuid", "snapset", "reason", "time", "environment")]
    if not all(isinstance(text, str) for text in texts) or not isinstance(event["revoked"], bool):
        raise TypeError
    uuid, snapset, reason, time, environment = texts
    return RevokedCard(Card(int(event["number"]), uuid, snapset), reason, time, environment), event["revoked"]
