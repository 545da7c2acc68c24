"""Split requests that are too large in halves."""

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
    """Make one request about many items; split it in halves if the request or the reply is too large.

    Args:
        ask: makes the request.
        about: the items; without any, no request is made.
        alone: returns a result for a single item that is too large; if None, the error is raised.

    Yields:
        The result of each request, in the order of ``about``.

    Raises:
        TooLargeError: a single item is too large.
    """
    if not about:
        return
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
