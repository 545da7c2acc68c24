"""The callback that reports the progress of operations."""

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Called with the name of the step, the number of documents done, and the total."""
