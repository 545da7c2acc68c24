"""Notice that a database was recreated or restored while a command worked on it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dataloader.common import ProtocolError
from dataloader.couch import Database, Server
from dataloader.target import Target

LAG_LOOKS, LAG_WAIT = 5, 0.2
"""How often to read a cluster's update sequence again before it counts as decreased, and the seconds between."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies a database, to detect that another one has replaced it."""

    created: str
    sequence: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "Identity":
        """Return the identity of a database from what it says about itself."""
        return cls(str(info.get("instance_start_time", "")), info["update_seq"])

    def is_same(self, database: Database, written: int) -> bool:
        """Return whether a database is still the one that had this identity.

        Args:
            database: the database.
            written: how many updates it must have had since; with fewer, an older state was restored.
        """
        for look in range(LAG_LOOKS if database.has_copies else 1):
            if look:
                time.sleep(LAG_WAIT)
            info = database.info()
            if info is None or Identity.of(info).created != self.created:
                return False
            if info["update_seq"] >= self.sequence + written:
                return True
        return False


class Identities:
    """The identities of a target's databases at the start of a command; those that do not exist have none."""

    def __init__(self, server: Server, target: Target) -> None:
        databases = [server.database(target.database(name)) for name in target.model.databases]
        self._begun = [(each, _begun(info)) for each in databases if (info := each.info()) is not None]

    def note_writes(self) -> None:
        """Note that the databases have been written to: a state from before that would lack it."""
        self._begun = [(each, _noted(begun, each.info())) for each, begun in self._begun]

    def check(self, meanwhile: str) -> None:
        """Check that the databases are still the same, with everything that was noted.

        Args:
            meanwhile: what the command did: ``its cards were verified``.

        Raises:
            ProtocolError: one was recreated or restored, so what was found or written before may be gone.
        """
        for database, begun in self._begun:
            if not begun.is_same(database, 0):
                raise ProtocolError(
                    f"database {database.name}",
                    rule=f"was recreated or restored while {meanwhile}",
                    todo="find out who does that, then run it again",
                )


def _noted(begun: Identity, info: Mapping[str, Any] | None) -> Identity:
    # A database that is not the same any more is found out at the end.
    return begun if info is None else replace(begun, sequence=max(begun.sequence, _begun(info).sequence))


def _begun(info: Mapping[str, Any]) -> Identity:
    identity = Identity.of(info)
    # Each copy counts its own updates, so if another one answers at the end, the number may be smaller.
    return replace(identity, sequence=0) if info["copies"] > 1 else identity
