"""Read JSON5 files, with limits on size and depth."""

import re
from pathlib import Path
from typing import Any

import json5

from dataloader.common.errors import FileError, InputError, Problem
from dataloader.common.files import require_file
from dataloader.common.revision import normal

MAX_JSON = 16_000_000
"""The largest JSON file accepted, in bytes; ours have a few thousand."""


MAX_JSON5 = 100_000
"""The largest file accepted that is not plain JSON, in bytes; parsing that much JSON5 takes up to a minute."""


_NOT_PLAIN = object()


# A JSON string cannot span lines, so a line that begins like this is a comment. (Inside a /* comment it is not, but
# then the rest is not JSON either.)
_COMMENT_LINE = re.compile("^[ \\t]*//[^\\r\\n\\u2028\\u2029]*", re.MULTILINE)


_POSITION = re.compile(r"^<string>:(?P<line>\d+) (?P<what>.*) at column (?P<column>\d+)$", re.DOTALL)


def read_json5(path: Path) -> Any:
    """Read a JSON5 file, with its numbers in canonical form.

    Raises:
        FileError: the file can't be read.
        InputError: the file is not JSON5; names line and column.
    """
    try:
        require_file(path)
        size = path.stat().st_size
        if size > MAX_JSON:
            raise _too_large(path, size, MAX_JSON)
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Problem(str(path), "is not UTF-8 text", "save it as UTF-8")) from error
    except OSError as error:
        raise FileError.of(error, path, "give the path of a file that can be read") from error
    try:
        data = _plain(text)
        if data is _NOT_PLAIN:
            if size > MAX_JSON5:
                raise _too_large(path, size, MAX_JSON5)
            data = json5.loads(text, allow_duplicate_keys=False)
        return normal(_whole(data))
    except (ValueError, RecursionError) as error:
        match = _POSITION.match(str(error))
        where = f"{path}, line {match['line']}, column {match['column']}" if match else str(path)
        rule = match["what"] if match else _explained(error)
        raise InputError(Problem(where, f"is not JSON5: {rule}", "correct the syntax")) from error


def _explained(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    # Python's own advice is for programmers.
    return "a number has too many digits" if "set_int_max_str_digits" in str(error) else str(error)


def _too_large(path: Path, size: int, limit: int) -> InputError:
    kind = "" if limit == MAX_JSON else ", unless it is plain JSON"
    return InputError(
        Problem(
            str(path), f"has {size:,} bytes; at most {limit:,} are allowed{kind}", "remove what does not belong there"
        )
    )


def _plain(text: str) -> Any:
    """Parse plain JSON whose comments are whole lines: same result as JSON5, much faster."""
    import json  # noqa: PLC0415 - needed here and below only

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError
        return found

    try:
        return json.loads(_COMMENT_LINE.sub("", text), object_pairs_hook=once)
    except (ValueError, RecursionError):
        # The JSON5 parser explains the error.
        return _NOT_PLAIN


def _whole(data: Any) -> Any:
    """Join surrogate pairs that were written as two escapes, which json5 keeps apart.

    Raises:
        ValueError: a surrogate without its other half.
    """
    if isinstance(data, dict):
        return {_whole(key): _whole(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_whole(item) for item in data]
    if isinstance(data, str) and not data.isascii():
        try:
            return data.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise ValueError(f"{data!a} contains half a surrogate pair") from None
    return data
