"""Reading JSON5 files, with limits on their size and depth."""

import re
from pathlib import Path
from typing import Any

import json5

from dataloader.common.errors import FileError, InputError, Problem
from dataloader.common.files import require_file
from dataloader.common.revision import normal

MAX_JSON = 16_000_000
"""Bytes of a file of JSON; the largest of ours has a few thousand."""


MAX_JSON5 = 100_000
"""Bytes, where it is not plain JSON: the reader of JSON5 takes up to a minute for as much."""


_NOT_PLAIN = object()


# No string of JSON reaches over the end of a line, so that what begins a line like this is a comment. (In a /* comment
# it is none, but then the rest is not JSON either.)
_COMMENT_LINE = re.compile("^[ \\t]*//[^\\r\\n\\u2028\\u2029]*", re.MULTILINE)


_POSITION = re.compile(r"^<string>:(?P<line>\d+) (?P<what>.*) at column (?P<column>\d+)$", re.DOTALL)


def read_json5(path: Path) -> Any:
    """Read a JSON5 file, its numbers in normal form.

    Raises:
        FileError: it can't be read.
        InputError: it is not JSON5; names line and column.
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
        rule = match["what"] if match else ("is nested too deeply" if isinstance(error, RecursionError) else str(error))
        raise InputError(Problem(where, f"is not JSON5: {rule}", "correct the syntax")) from error


def _too_large(path: Path, size: int, limit: int) -> InputError:
    kind = "" if limit == MAX_JSON else ", unless it is plain JSON"
    return InputError(
        Problem(str(path), f"has {size:,} bytes, and may have {limit:,}{kind}", "take what does not belong there out")
    )


def _plain(text: str) -> Any:
    """Return the data of plain JSON with whole lines of comments, which JSON5 reads alike and far slower."""
    import json  # noqa: PLC0415 - the one place but for the next that needs it

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError
        return found

    try:
        return json.loads(_COMMENT_LINE.sub("", text), object_pairs_hook=once)
    except (ValueError, RecursionError):
        # What is wrong, the other reader knows how to tell.
        return _NOT_PLAIN


def _whole(data: Any) -> Any:
    """Join the halves of characters that were written as two escapes, which json5 leaves apart.

    Raises:
        ValueError: a half without the other.
    """
    if isinstance(data, dict):
        return {_whole(key): _whole(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_whole(item) for item in data]
    if isinstance(data, str) and not data.isascii():
        try:
            return data.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise ValueError(f"{data!a} holds half a character") from None
    return data
