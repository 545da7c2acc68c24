"""The reconciled files that commands find next to manifests."""

from collections.abc import Iterator, Sequence
from typing import Any

from dataloader.batch import Reconciled


def rounds_json(rounds: Sequence[Reconciled]) -> dict[str, Any]:
    """Return the reconciled files found next to manifests as JSON data; empty if there are none."""
    found = [
        {"batch": each.header.name, "file": str(each.path), "round": each.round, "encoded": each.count}
        for each in rounds
    ]
    return {"reconciled": found} if found else {}


def rounds_text(rounds: Sequence[Reconciled]) -> Iterator[str]:
    """Yield a line for each reconciled file found next to a manifest."""
    for each in rounds:
        came = f"{each.count:,} of {each.header.cards:,} cards came back encoded"
        yield f"batch {each.header.name}: {came} ({each.path}, round {each.round})"
