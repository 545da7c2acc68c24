"""Snapsets: ready-made preference sets, one JSON5 file each, named after the snapset."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dataloader.common import (
    FileError,
    InputError,
    Problem,
    data_dir,
    explain,
    raise_problems,
    read_json5,
)
from dataloader.records.models import Entry, Role

SUFFIXES = (".json5", ".json")


SNAPSET_SCHEMA = "files/snapset"


TERMS_SCHEMA = "common/terms"


EMPTY = "empty"
"""The built-in snapset of a card whose owner starts with an empty preference set."""


UNDATED = "1970-01-01T00:00:00.000Z"
"""The time of creation of a snapset whose file gives none; a fixed one, so that loads come out the same."""


COMMON_TERM = "http://registry.gpii.net/common/"


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")


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
    broken = explain(SNAPSET_SCHEMA, data)
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
