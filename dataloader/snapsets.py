"""Snapsets: ready-made preference sets, one JSON5 file each, named after the snapset."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import json5

from dataloader.errors import FileError, InputError, Problem, raise_problems
from dataloader.files import require_file
from dataloader.models import Entry, Role
from dataloader.revision import normal
from dataloader.settings import data_dir
from dataloader.validation import explain

SUFFIXES = (".json5", ".json")
SCHEMA = "files/snapset"
TERMS_SCHEMA = "common/terms"
EMPTY = "empty"
"""The built-in snapset of a card whose owner starts with an empty preference set."""
UNDATED = "1970-01-01T00:00:00.000Z"
"""The time of creation of a snapset whose file gives none; a fixed one, so that loads come out the same."""
COMMON_TERM = "http://registry.gpii.net/common/"
MAX_JSON = 16_000_000
"""Bytes of a file of JSON; the largest of ours has a few thousand."""
MAX_JSON5 = 100_000
"""Bytes, where it is not plain JSON: the reader of JSON5 takes up to a minute for as much."""

_NOT_PLAIN = object()
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
_POSITION = re.compile(r"^<string>:(?P<line>\d+) (?P<what>.*) at column (?P<column>\d+)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Snapset:
    """A ready-made preference set."""

    name: str
    preferences: Mapping[str, Any]
    """The content, ``{"flat": …}``, its numbers in normal form."""
    created: str = UNDATED

    @property
    def title(self) -> str:
        """The display name, or the name where there is none."""
        return str(self.preferences["flat"].get("name", self.name))

    def entry(self, role: Role = Role.SNAPSET) -> Entry:
        """Return what the snapset's own documents are made from."""
        return Entry(self.name, self.preferences, self.created, role)


@dataclass(frozen=True, slots=True)
class Snapsets:
    """The snapsets of a folder, by name and in the order of names, and what was noticed in reading them."""

    folder: Path
    by_name: Mapping[str, Snapset]
    warnings: tuple[Problem, ...] = field(default=())

    def __iter__(self) -> Iterator[Snapset]:
        """Go through the snapsets that have documents of their own; the built-in one has none."""
        return iter(self.by_name.values())

    def get(self, name: str) -> Snapset | None:
        """Return a snapset, the built-in empty one too, None where there is none of this name."""
        found = self.by_name.get(name)
        if found is None and name == EMPTY:
            return _EMPTY
        return found

    def names(self) -> list[str]:
        """Return the names that a card can be given."""
        return sorted({*self.by_name, EMPTY})

    def unknown(self, name: str, where: str) -> Problem:
        """Return the problem of a name that no snapset has."""
        return Problem(where, f"there is no snapset {name!r} in {self.folder}", f"choose of {', '.join(self.names())}")


_EMPTY = Snapset(
    EMPTY, {"flat": {"contexts": {"gpii-default": {"name": "Default preferences", "preferences": {}}}}}, UNDATED
)


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
    """Return the data of plain JSON, which JSON5 reads alike and some thousand times slower."""
    import json  # noqa: PLC0415 - the one place but for the next that needs it

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
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


def read_snapset(path: Path, *, strict: bool = False) -> tuple[Snapset, list[Problem]]:
    """Read and check one snapset.

    Args:
        path: the file; its name without the suffix is the snapset's.
        strict: whether an unknown term is an error.

    Returns:
        The snapset, and warnings: the common terms that the registry's file does not know.

    Raises:
        FileError: the file can't be read.
        InputError: it is not a snapset, or a term's value breaks the term's schema.
    """
    data = read_json5(path)
    problems = [] if _NAME.match(path.stem) else [Problem(str(path), f"{path.stem!r} is no name for a snapset")]
    broken = explain(SCHEMA, data)
    problems += [Problem(str(path), rule, "see schemas/files/snapset.schema.json") for rule in broken]
    warnings: list[Problem] = []
    if not broken:
        for context, part in data["flat"]["contexts"].items():
            preferences = part.get("preferences", {})
            where = f"{path}, context {context}"
            problems += [
                Problem(where, rule, "see schemas/common/terms.schema.json")
                for rule in explain(TERMS_SCHEMA, preferences)
            ]
            warnings += [
                Problem(where, f"{term} is not a term that the registry's file knows", "check its spelling")
                for term in preferences
                if term.startswith(COMMON_TERM) and term not in known_terms()
            ]
    raise_problems([*problems, *(warnings if strict else ())])
    content = {key: value for key, value in data.items() if key != "timestampCreated"}
    return Snapset(path.stem, content, data.get("timestampCreated", UNDATED)), warnings


@cache
def known_terms() -> frozenset[str]:
    """Return the URIs of the common terms that have a schema."""
    import json  # noqa: PLC0415 - the one place that needs it

    schema = json.loads((data_dir("schemas") / f"{TERMS_SCHEMA}.schema.json").read_text("utf-8"))
    return frozenset(schema["properties"])


def read_snapsets(folder: Path | None = None, *, strict: bool = False) -> Snapsets:
    """Read and check every snapset of a folder; by default the project's own.

    Raises:
        FileError: the folder can't be read.
        InputError: with every problem of every file.
    """
    folder = data_dir("snapsets") if folder is None else folder
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.name[0] != ".")
    except OSError as error:
        raise FileError.of(error, folder, "name the folder of the snapsets") from error
    found: dict[str, Snapset] = {}
    warnings: list[Problem] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            snapset, noticed = read_snapset(path, strict=strict)
        except InputError as error:
            problems += error.problems
        else:
            if snapset.name in found:
                problems.append(Problem(str(path), f"{snapset.name} is there twice, as .json and .json5", "keep one"))
            found[snapset.name] = snapset
            warnings += noticed
    raise_problems(problems)
    return Snapsets(folder, dict(sorted(found.items())), tuple(warnings))
