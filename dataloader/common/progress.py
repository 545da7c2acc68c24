"""What operations tell of their progress."""

from collections.abc import Callable

OnProgress = Callable[[str, int, int], None]
"""Called with the step's name, the documents seen to, and all of them."""
