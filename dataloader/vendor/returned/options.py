"""How to read returned files: options by the operator, and limits by the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


def _uuid_titles() -> Sequence[str]:
    # The process that opens a workbook imports this package, but does not need schemas and their validators.
    from dataloader.vendor.layouts import uuid_titles  # noqa: PLC0415

    return uuid_titles()


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read returned files."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Titles of columns by key, as named by the operator."""
    password: str | None = None
    """The password of encrypted workbooks."""
    uuid_titles: Sequence[str] = field(default_factory=_uuid_titles)
    """The titles of the UUID column in the layouts of exported batches."""
    cards: int = 0
    """The number of cards in the batch; limits on content and memory depend on it."""
    include_hidden: bool = False
    """Whether rows count that are hidden, struck through or invisible."""

    @property
    def max_rows(self) -> int:
        """The most rows with content in one file."""
        return 100_000 + 4 * self.cards
