"""The rounds that commands go by: reconciled files beside the manifests that they are given."""

from collections.abc import Iterator, Sequence
from typing import Any

from dataloader.batch import Reconciled


def rounds_json(rounds: Sequence[Reconciled]) -> dict[str, Any]:
    """Return the reconciled files that were found beside manifests, as data: nothing if there are none."""
    found = [
        {"batch": each.header.name, "file": str(each.path), "round": each.round, "encoded": each.count}
        for each in rounds
    ]
    return {"reconciled": found} if found else {}


def rounds_text(rounds: Sequence[Reconciled]) -> Iterator[str]:
    """Yield a line for each reconciled file that was found beside a manifest."""
    for each in rounds:
        came = f"{each.count:,} of {each.header.cards:,} cards came back encoded"
        yield f"batch {each.header.name}: {came}, by {each.path} (round {each.round})"
