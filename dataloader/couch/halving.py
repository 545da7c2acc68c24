"""Requests about many things that are made in halves where one is too large."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from dataloader.common import TooLargeError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_halves(
    ask: Callable[[Sequence[Item]], Result],
    about: Sequence[Item],
    alone: Callable[[Item, TooLargeError], Result] | None = None,
) -> Iterator[Result]:
    """Ask about many things; where the server refuses the request for its size, or the reply is too large, in halves.

    Args:
        ask: makes the request.
        about: the things; at least one.
        alone: what is returned for a single thing that is too large; None raises the error.

    Yields:
        What each request returned, in the order of ``about``.

    Raises:
        TooLargeError: a single thing is too large.
    """
    try:
        found = ask(about)
    except TooLargeError as error:
        if len(about) == 1:
            if alone is None:
                raise
            found = alone(about[0], error)
        else:
            middle = len(about) // 2
            yield from in_halves(ask, about[:middle], alone)
            yield from in_halves(ask, about[middle:], alone)
            return
    yield found
