"""Mint random UUIDs in ascending order, and make cards of them."""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from dataloader.batch.manifest import Card

RandomBytes = Callable[[int], bytes]


def seeded_bytes(seed: int | str) -> RandomBytes:
    """Return a source of random bytes that depends on a seed only: for development and CI."""
    return random.Random(seed).randbytes  # noqa: S311 - must be reproducible


def mint(count: int, random_bytes: RandomBytes = os.urandom) -> Iterator[str]:
    """Mint UUIDs (version 4, RFC 9562) in ascending order, without holding all of them in memory.

    The first two bytes of all UUIDs are drawn first and counted. Then, for each value of these in order, the other
    bytes of that many UUIDs are drawn and sorted. The distribution is the same as for sorting random UUIDs.

    Args:
        count: the number of UUIDs.
        random_bytes: the source of randomness; the operating system by default.
    """
    heads = random_bytes(2 * count)
    counts = Counter(heads[at : at + 2] for at in range(0, len(heads), 2))
    for head in sorted(counts):
        tails: set[bytes] = set()
        while len(tails) < counts[head]:
            tail = bytearray(random_bytes(14))
            tail[4] = tail[4] & 0x0F | 0x40
            tail[6] = tail[6] & 0x3F | 0x80
            tails.add(bytes(tail))
        for rest in sorted(tails):
            digits = (head + rest).hex()
            yield f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def deal(uuids: Iterable[str], snapsets: Mapping[str, int]) -> Iterator[Card]:
    """Number UUIDs and assign snapsets in runs, so that a box of cards has one snapset."""
    source = iter(uuids)
    number = 0
    for snapset, count in snapsets.items():
        for _ in range(count):
            number += 1
            yield Card(number, next(source), snapset)
