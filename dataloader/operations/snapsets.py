"""Compare snapsets: two of them, or those of a folder with those on a target."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dataloader.couch import Server
from dataloader.operations.card_answers import require
from dataloader.records import Snapset, Snapsets, in_words
from dataloader.records.models import Role
from dataloader.target import Target, guard


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two snapsets, in words."""

    name: str
    removed: tuple[str, ...] = ()
    """What only the first one sets."""
    added: tuple[str, ...] = ()
    """What only the second one sets."""
    is_missing: bool = False
    """Whether the target does not have it."""

    @property
    def is_none(self) -> bool:
        """Whether they set the same."""
        return not (self.removed or self.added or self.is_missing)


def difference(name: str, first: Mapping[str, Any], second: Mapping[str, Any], model: str) -> Difference:
    """Return how two preference sets differ.

    Args:
        name: the name of the difference.
        first: a set, ``{"flat": …}``.
        second: another.
        model: the model in whose terms both are.
    """
    old, new = in_words(first, model), in_words(second, model)
    return Difference(
        name,
        tuple(said for term, said in old.items() if new.get(term) != said),
        tuple(said for term, said in new.items() if old.get(term) != said),
    )


def target_differences(server: Server, target: Target, snapsets: Snapsets) -> list[Difference]:
    """Return the snapsets that differ between a target and a folder: first what the target has, then the folder.

    Args:
        server: the target's server.
        target: the target.
        snapsets: the folder's, of the target's model.

    Raises:
        DataloaderError: the server can't be reached.
        ProtectedError: a database was loaded as a more protected environment.
        ProtocolError: the database of the snapsets does not exist.
    """
    server.welcome()
    guard(server, target)
    found = []
    for snapset in snapsets:
        stored = _stored(server, target, snapset)
        if stored is None:
            each = Difference(snapset.name, is_missing=True)
        else:
            each = difference(snapset.name, stored, snapset.preferences, target.model.name)
        if not each.is_none:
            found.append(each)
    return found


def _stored(server: Server, target: Target, snapset: Snapset) -> Mapping[str, Any] | None:
    """Return the preference set of a snapset's own document; None if it does not exist."""
    entry = snapset.entry()
    for kind in target.model.kinds:
        if Role.SNAPSET not in kind.roles:
            continue
        document = kind.document(entry)
        holder = next((name for name, value in document.items() if value is entry.preferences), None)
        if holder is None:
            continue
        database = server.database(target.database(kind.database))
        with require(database):
            [row] = database.all_docs([document["_id"]])
        stored: Mapping[str, Any] | None = (row.get("doc") or {}).get(holder)
        return stored
    return None
