"""How returned files are to be read: what the operator says, and what follows from the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


def _uuid_titles() -> Sequence[str]:
    # The process that opens a workbook imports this package, and does not need schemas and their validators.
    from dataloader.vendor.layouts import uuid_titles  # noqa: PLC0415

    return uuid_titles()


@dataclass(frozen=True, slots=True)
class Reading:
    """How returned files are to be read."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Titles of columns by key, where the operator has named them."""
    password: str | None = None
    """The password of encrypted workbooks."""
    uuid_titles: Sequence[str] = field(default_factory=_uuid_titles)
    """What the column of UUIDs is called in the layouts that batches are exported in."""
    cards: int = 0
    """How many cards the batch has: how much a file may hold, and use of memory, goes by it."""
    include_hidden: bool = False
    """Whether rows count that are hidden or struck through."""

    @property
    def max_rows(self) -> int:
        """How many rows with something in them one file may have."""
        return 100_000 + 4 * self.cards
