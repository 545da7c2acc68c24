"""Revoke the cards on the lists of revoked cards again, in a load or a restore.

The lists are next to the manifests (:mod:`dataloader.batch.revocations`).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dataloader.batch import (
    MANIFEST_SUFFIX,
    REVOKED_SUFFIX,
    Card,
    CardFile,
    RevokedCard,
    is_cut_off,
    one_at_a_time,
    read_cards,
    read_restored,
    read_revocations,
    revocations_path,
)
from dataloader.common import Document, FileError, InputError, Problem, files_below, live_leaves
from dataloader.couch import Server
from dataloader.operations.revoke import RevokeOutcome, revoke
from dataloader.records.models import Revoking
from dataloader.replication import chunks, is_revocation
from dataloader.target import Environment, Target, less_protected

Revocations = Sequence[tuple[CardFile, Sequence[RevokedCard]]]
"""The revoked cards of each batch that has any."""


def revocations_of(target: Target, manifests: Sequence[CardFile]) -> Revocations:
    """Read the lists next to manifests.

    Returns:
        The cards that must not work in the target: revoked in an environment that is at least as protected.

    Raises:
        FileError: a list can't be read.
        InputError: a list is damaged.
    """
    found = []
    for manifest in manifests:
        listed = [
            each
            for each in read_revocations(manifest)
            if target.environment is (at := _environment(manifest, each)) or less_protected(target, at)
        ]
        if listed:
            found.append((manifest, list({each.card.uuid: each for each in listed}.values())))
    return found


def list_warnings(manifests: Sequence[CardFile]) -> list[str]:
    """Return a warning for each list next to manifests that is empty or ends within a line.

    Raises:
        FileError: a list can't be read.
    """
    rule = "is empty, or its last line is cut off and does not count"
    return [
        f"{revocations_path(each)}: {rule} (if it is a copy, copy it again)" for each in manifests if is_cut_off(each)
    ]


def _environment(manifest: CardFile, revocation: RevokedCard) -> Environment:
    try:
        return Environment(revocation.environment)
    except ValueError as error:
        path = revocations_path(manifest)
        rule = f"card {revocation.card.number} is revoked in environment {revocation.environment!r}, which is unknown"
        todo = f"correct it; it is one of: {', '.join(Environment)}"
        raise InputError(Problem(str(path), rule, todo)) from error


def manifests_with_revocations(folder: Path) -> list[CardFile]:
    """Return the manifests in a folder and its subfolders, except hidden ones, that have a list of revoked cards.

    Raises:
        FileError: a folder can't be read, or holds no manifest.
        InputError: a manifest is invalid, a list has no manifest next to it, or a batch has two lists.
    """

    def unreadable(error: OSError) -> None:
        path = Path(error.filename)
        todo = "name the folder that holds the manifests" if path == folder else "make it readable, or move it away"
        raise FileError.of(error, path, todo) from error

    paths = files_below(folder, unreadable)
    if not any(each.name.endswith(MANIFEST_SUFFIX) for each in paths):
        raise FileError(str(folder), rule="holds no manifest", todo="name the folder that holds the manifests")
    lists = [each for each in paths if each.name.endswith(REVOKED_SUFFIX)]
    folders = {each.parent for each in lists}
    beside = [read_cards(each) for each in paths if each.parent in folders and each.name.endswith(MANIFEST_SUFFIX)]
    with_list = {revocations_path(each): each for each in beside}
    found: dict[str, CardFile] = {}
    for path in lists:
        if path not in with_list:
            name = path.name.removesuffix(REVOKED_SUFFIX)
            raise InputError(
                Problem(str(path), f"the manifest of batch {name} is not next to it", "put the manifest there, too")
            )
        manifest = with_list[path]
        first = found.setdefault(manifest.header.digest, manifest)
        if first is not manifest:
            rule = f"is a second list of batch {manifest.header.name}, besides {revocations_path(first)}"
            raise InputError(Problem(str(path), rule, "move the older one away"))
    return list(found.values())


def revoke_again(server: Server, target: Target, manifests: Sequence[CardFile]) -> tuple[int, int]:
    """Revoke the cards that are on the lists next to manifests.

    A list is read just before, while no other command revokes or restores cards of its batch: a card that is restored
    meanwhile would stay revoked in the target, but not on the list.

    Returns:
        The number of cards revoked again, and the number that need a decision.

    Raises:
        FileError: a list can't be read.
        InputError: a list is damaged.
        DataloaderError: as :func:`revoke`.
    """
    again = failed = 0
    for each in manifests:
        with one_at_a_time(each):
            for manifest, listed in revocations_of(target, [each]):
                reasons: dict[str, list[RevokedCard]] = {}
                for card in listed:
                    reasons.setdefault(card.reason, []).append(card)
                for reason, cards in reasons.items():
                    result = revoke(server, target, manifest, [card.card for card in cards], reason)
                    again += result.outcomes[RevokeOutcome.REVOKED] + result.outcomes[RevokeOutcome.BARRED]
                    failed += result.needs_attention
    return again, failed


def revoked_nevertheless(
    server: Server, target: Target, manifests: Sequence[CardFile]
) -> list[tuple[CardFile, list[Card]]]:
    """Return the cards that were restored according to the lists, but are revoked in a target, as in an older backup.

    They may have been revoked again on another machine, so somebody has to decide.

    Raises:
        FileError: a list can't be read.
        InputError: a list is damaged.
        DataloaderError: the server can't be reached.
    """
    step = target.model.revoking[-1]
    restored = (
        (each, [card.card for card in read_restored(each) if card.environment == target.environment])
        for each in manifests
    )
    return _cards(server, target, restored, lambda leaves: _is_revoked(step, leaves))


def working_nevertheless(
    server: Server, target: Target, manifests: Sequence[CardFile]
) -> list[tuple[CardFile, list[Card]]]:
    """Return the cards that are on the lists, but get in, as after restoring a volume snapshot from before.

    Raises:
        FileError: a list can't be read.
        InputError: a list is damaged.
        DataloaderError: the server can't be reached.
    """
    step = target.model.revoking[-1]
    revoked = ((each, [card.card for card in listed]) for each, listed in revocations_of(target, manifests))
    return _cards(server, target, revoked, lambda leaves: bool(live_leaves(leaves)) and not _is_revoked(step, leaves))


def _cards(
    server: Server,
    target: Target,
    listed: Iterable[tuple[CardFile, Sequence[Card]]],
    is_wanted: Callable[[Sequence[Document]], bool],
) -> list[tuple[CardFile, list[Card]]]:
    """Return the listed cards for which the leaves of the document that lets them in are as wanted."""
    kind = target.model.kind(target.model.revoking[-1].kind)
    database = server.database(target.database(kind.database))
    found = []
    for manifest, cards in listed:
        wanted: list[Card] = []
        for some in chunks(cards):
            leaves = database.leaves([kind.id(each.uuid) for each in some], all_copies=True)
            wanted += [each for each in some if is_wanted(leaves[kind.id(each.uuid)])]
        if wanted:
            found.append((manifest, wanted))
    return found


def _is_revoked(step: Revoking, leaves: Sequence[Document]) -> bool:
    live = live_leaves(leaves)
    if live:
        return step.marking is not None and all(map(step.marking.is_marked, live))
    return any(map(is_revocation, leaves))
