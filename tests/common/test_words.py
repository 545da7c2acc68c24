"""Counts, lists, card numbers and UUIDs in sentences."""

import pytest

from dataloader.common import card_numbers, shorten_uuids, without_uuids

UUID = "0780732d-1c2b-4d5e-8f90-123456789abc"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([17], "card 17"),
        ([17, 19], "cards 17, 19"),
        ([1, 2], "cards 1, 2"),
        (range(6, 301), "cards 6 to 300"),
        ([1, 3, 4, 5, 9], "cards 1, 3 to 5, 9"),
        ([999, 1000, 1001], "cards 999 to 1,001"),
    ],
)
def test_card_numbers_fold_runs(numbers: list[int], text: str) -> None:
    """Consecutive numbers are folded to a range."""
    assert card_numbers(numbers) == text


def test_uuids_are_shortened() -> None:
    """UUIDs in a text are cut to 8 digits or removed; similar text is kept."""
    text = f"document gpiiToken-{UUID}: card {UUID.upper()}, not {UUID}0 or {UUID[:-1]}"
    assert shorten_uuids(text) == f"document gpiiToken-0780732d…: card 0780732D…, not {UUID}0 or {UUID[:-1]}"
    changed = UUID.replace("-", "\N{NON-BREAKING HYPHEN}").replace("0", "\N{FULLWIDTH DIGIT ZERO}")
    assert shorten_uuids(changed) == f"{changed[:8]}…"
    assert without_uuids(f"a {UUID} b") == "a … b"
