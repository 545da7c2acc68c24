"""Errors caused by too little memory."""

import errno
import resource

import orjson
import pytest

from dataloader.common import InputError, Problem, memory_limit, raise_if_short, too_little_memory


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of 80 MB, as ``ulimit -v`` sets it."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (80_000_000, resource.RLIM_INFINITY))


@pytest.mark.usefixtures("limit")
def test_any_error_under_a_low_memory_limit_names_the_limit() -> None:
    """Libraries fail in many ways if they cannot be loaded."""
    assert memory_limit() == 80_000_000
    assert too_little_memory(SystemError("error return without exception set")) == (
        "memory is limited to 80 MB (ulimit -v), and at least 400 MB are needed (raise the limit: ulimit -v 400000)"
    )


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "no"), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("x"), False),
        (ValueError("x"), False),
    ],
)
def test_without_a_memory_limit_only_memory_errors_count(error: Exception, short: bool) -> None:  # noqa: FBT001
    """Other errors are bugs of dataloader."""
    assert (too_little_memory(error) is not None) is short


def test_memory_error_names_a_limit_that_was_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs have nothing to do with it."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (500_000_000, resource.RLIM_INFINITY))
    said = "memory is limited to 500 MB (ulimit -v), which is not enough (raise the limit)"
    assert too_little_memory(MemoryError()) == said


def test_json_error_from_too_little_memory_is_a_memory_error() -> None:
    """The orjson library reports too little memory like a syntax error."""
    with pytest.raises(MemoryError):
        raise_if_short(orjson.JSONDecodeError("Not enough memory to allocate buffer for parsing", "", 0))
    raise_if_short(orjson.JSONDecodeError("unexpected character", "", 0))
    assert too_little_memory(InputError(Problem("a", "b"))) is None
