"""Snapsets: ready-made preference sets, one JSON5 file each, named after the snapset.

Each belongs to a document model, since terms and their values changed between versions of the servers. A folder
contains either one folder for each model, named after it, or the files themselves, which then apply to every model.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shutil import copyfile, rmtree
from typing import Any

from dataloader.common import (
    FileError,
    InputError,
    Problem,
    data_dir,
    did_you_mean,
    listed,
    raise_problems,
    read_json5,
    schema_problems,
    which_of,
)
from dataloader.records.models import Entry, Role, model_names

SUFFIXES = (".json5", ".json")


SNAPSET_SCHEMA = "files/snapset"


EMPTY = "empty"
"""The built-in snapset of a card whose owner starts with an empty preference set."""


UNDATED = "1970-01-01T00:00:00.000Z"
"""The creation time of a snapset whose file gives none; fixed, so that every load writes the same documents."""


COMMON_TERM = "http://registry.gpii.net/common/"
APPLICATION_TERM = "http://registry.gpii.net/applications/"


_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Snapset:
    """A ready-made preference set."""

    name: str
    preferences: Mapping[str, Any]
    """The content, ``{"flat": …}``, with numbers in canonical form."""
    created: str = UNDATED

    @property
    def title(self) -> str:
        """The display name, or the name if there is none."""
        return str(self.preferences.get("flat", {}).get("name", self.name))

    def entry(self, role: Role = Role.SNAPSET) -> Entry:
        """Return the entry for the snapset's own documents."""
        return Entry(self.name, self.preferences, self.created, role)


@dataclass(frozen=True, slots=True)
class Snapsets:
    """The snapsets of a folder, sorted by name, with warnings and problems."""

    folder: Path
    by_name: Mapping[str, Snapset]
    warnings: tuple[Problem, ...] = field(default=())
    broken: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """Problems of invalid snapsets, by name; they matter only if the snapset is used."""
    by_model: Mapping[str, "Snapsets"] = field(default_factory=dict)
    """The snapsets of each model, if the folder was read for all models; then names may be of any model."""

    def __iter__(self) -> Iterator[Snapset]:
        """Yield the snapsets that have documents of their own, which excludes the built-in one."""
        return iter(self.by_name.values())

    def of(self, model: str) -> "Snapsets":
        """Return the snapsets of one model.

        Raises:
            InputError: the folder has none for this model.
        """
        if self.by_model and model not in self.by_model:
            raise InputError(_no_folder(self.folder, model))
        return self.by_model.get(model, self)

    def get(self, name: str) -> Snapset | None:
        """Return a snapset, including the built-in empty one; None if it does not exist or is invalid."""
        found = self.by_name.get(name)
        if found is None and name == EMPTY and name not in self.broken:
            return _EMPTY
        return found

    def names(self) -> list[str]:
        """Return the names of snapsets that a card can have."""
        return sorted({*self.by_name, EMPTY})

    def problems_of(self, name: str, where: str) -> tuple[Problem, ...]:
        """Return the reasons why a snapset can't be used; empty if it can.

        Args:
            name: its name.
            where: the option or file that names it.
        """
        if self.get(name) is not None:
            return ()
        return self.broken.get(name) or (self._unknown(name, where),)

    def _unknown(self, name: str, where: str) -> Problem:
        rule = f'no snapset "{name}" in {self.folder}'
        models = [each for each in model_names() if each != self.folder.name]
        if self.folder.name in model_names():
            others = [each for each in models if any(_paths_of(self.folder.parent / each, name))]
            if others:
                return Problem(
                    where,
                    f"{rule}, only for model {listed(others)}",
                    f"must be one of: {', '.join(self.names())}",
                )
        return Problem(where, rule, which_of(name, self.names()))


_EMPTY = Snapset(
    EMPTY, {"flat": {"contexts": {"gpii-default": {"name": "Default preferences", "preferences": {}}}}}, UNDATED
)


def read_snapset(path: Path, model: str | None = None, *, strict: bool = False) -> tuple[Snapset, list[Problem]]:
    """Read and check one snapset.

    Args:
        path: the file, named after the snapset.
        model: the model whose terms are allowed. Default: the model that the folder is named after; in any other
            folder, the model that knows most of its terms.
        strict: whether warnings are errors.

    Returns:
        The snapset, and warnings about terms that the model does not list.

    Raises:
        FileError: the file can't be read.
        InputError: it is not a snapset, or the value of a term breaks the term's schema.
    """
    data = read_json5(path)
    if model is None and path.resolve().parent.name in model_names():
        model = path.resolve().parent.name
    found = [_check(path, data, each) for each in (model_names() if model is None else [model])]
    problems, warnings = min(found, key=lambda each: (len(each[1]), len(each[0])))
    if strict:
        problems, warnings = [*problems, *warnings], []
    raise_problems(problems)
    return _snapset(path, data), warnings


def _check(path: Path, data: Any, model: str) -> tuple[list[Problem], list[Problem]]:
    """Return the problems and warnings about a file's content."""
    problems = [] if _NAME.match(path.stem) else [_bad_name(path)]
    broken = schema_problems(str(path), SNAPSET_SCHEMA, data)
    problems += broken
    warnings: list[Problem] = []
    if not broken:
        schema = terms_schema(model)
        for context, part in data.get("flat", {}).get("contexts", {}).items():
            preferences = part.get("preferences", {})
            where = f"{path}, context {context}"
            problems += schema_problems(where, schema, preferences)
            warnings += [
                Problem(where, f"unknown term {term}", "check its spelling")
                for term in preferences
                if term not in known_terms(model) and not term.startswith(APPLICATION_TERM)
            ]
            warnings += [
                Problem(where, rule, todo)
                for term, value in preferences.items()
                for rule, todo in _unknown_settings(model, term, value)
            ]
    return problems, warnings


def _unknown_settings(model: str, term: str, settings: Any) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the settings of an application, and what to do, for each that its servers do not know.

    They serve such a setting, and then refuse to save the preference set that has it.
    """
    application = term.removeprefix(APPLICATION_TERM)
    known = known_settings(model).get(application)
    if known is None or not term.startswith(APPLICATION_TERM) or not isinstance(settings, Mapping):
        return
    for name in settings:
        if name not in known:
            yield (
                f"application {application} has no setting {name}",
                did_you_mean(name, known) or "check its spelling; the servers refuse to save a set that has it",
            )


def _bad_name(path: Path) -> Problem:
    return Problem(
        str(path),
        f"{path.stem!r} is not a valid snapset name",
        "use up to 64 letters, digits, '_' and '-', beginning with a letter",
    )


def _snapset(path: Path, data: Mapping[str, Any]) -> Snapset:
    content = {key: value for key, value in data.items() if key != "timestampCreated"}
    return Snapset(path.stem, content, data.get("timestampCreated", UNDATED))


def terms_schema(model: str) -> str:
    """Return the name of the schema of a model's common terms."""
    return f"terms/{model}"


@cache
def terms(model: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the JSON Schemas of a model's common terms, by URI."""
    schema = json.loads((data_dir("schemas") / f"{terms_schema(model)}.schema.json").read_text("utf-8"))
    found: dict[str, Mapping[str, Any]] = schema["properties"]
    return found


def known_terms(model: str) -> frozenset[str]:
    """Return the URIs of a model's common terms that have a schema."""
    return frozenset(terms(model))


@cache
def known_settings(model: str) -> Mapping[str, frozenset[str]]:
    """Return the settings that a model's servers know of each application, by its ID; empty where they check none.

    Source: the schemas that GPII/universal of 2020-11-23 generates from its solutions registry, and the settings that
    the registry's transformations read.
    """
    path = data_dir("schemas") / "terms" / f"{model}-settings.json"
    if not path.is_file():
        return {}
    found: dict[str, list[str]] = json.loads(path.read_text("utf-8"))
    return {application: frozenset(names) for application, names in found.items()}


def read_snapsets(folder: Path | None = None, model: str | None = None, *, strict: bool = False) -> Snapsets:
    """Read and check the snapsets of a folder, by default those that come with dataloader.

    Args:
        folder: the folder with the files, or with a folder for each model.
        model: the model whose snapsets to read; None for all models, where names may be of any model and
            :meth:`Snapsets.of` selects.
        strict: whether to treat warnings and invalid files as errors.

    Raises:
        FileError: the folder can't be read.
        InputError: the folder has none for this model; or all problems of all files, with ``strict`` or if none of the
            files is valid.
    """
    folder = data_dir("snapsets") if folder is None else folder
    folders = _folders(folder)
    if model is not None:
        if model not in folders:
            raise InputError(_no_folder(folder, model))
        return _read(folders[model], model, strict=strict)
    by_model = {each: _read(path, each, strict=strict) for each, path in folders.items()}
    by_name: dict[str, Snapset] = {}
    broken: dict[str, tuple[Problem, ...]] = {}
    for each in by_model.values():
        by_name = {**each.by_name, **by_name}
        broken = {**each.broken, **broken}
    broken = {name: problems for name, problems in broken.items() if name not in by_name}
    warnings = tuple(dict.fromkeys(warning for each in by_model.values() for warning in each.warnings))
    return Snapsets(folder, dict(sorted(by_name.items())), warnings, broken, by_model)


def copy_snapsets(folder: Path | None, to: Path) -> int:
    """Copy the snapsets of all models to a new folder, so that they can be edited.

    Args:
        folder: the folder with the files, or with a folder for each model; None for the built-in ones.
        to: the new folder.

    Returns:
        The number of snapsets.

    Raises:
        FileError: the folder can't be read, or the new one already exists or can't be written.
    """
    folder = data_dir("snapsets") if folder is None else folder
    try:
        paths = [path for path in (*folder.iterdir(), *folder.glob("*/*")) if _is_snapset(path) and path.is_file()]
    except OSError as error:
        raise FileError.of(error, folder, "name the folder of the snapsets") from error
    try:
        to.mkdir(parents=True)
    except FileExistsError as error:
        rule = "already exists; dataloader never overwrites files"
        raise FileError(str(to), rule=rule, todo="choose another name") from error
    except OSError as error:
        raise FileError.of(error, to, _WRITABLE) from error
    # Whatever stops it, an incomplete folder must not pass for a copy.
    with ExitStack() as undo:
        undo.callback(rmtree, to, ignore_errors=True)
        try:
            for path in paths:
                copy = to / path.relative_to(folder)
                copy.parent.mkdir(exist_ok=True)
                copyfile(path, copy)
        except OSError as error:
            raise FileError.of(error, to, _WRITABLE) from error
        undo.pop_all()
    return len(paths)


_WRITABLE = "choose a writable folder with enough free space"


def _folders(folder: Path) -> dict[str, Path]:
    """Return the folder of each model's snapsets."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise FileError.of(error, folder, "name the folder of the snapsets") from error
    own = {each.name: each for each in inside if each.name in model_names() and each.is_dir()}
    files = [each for each in inside if _is_snapset(each)]
    if own and files:
        raise InputError(
            Problem(
                str(files[0]),
                f"is next to folders of models ({listed(sorted(own))}), but in none of them",
                "move it into the folder of its model",
            )
        )
    if own:
        return {name: own[name] for name in model_names() if name in own}
    if folder.resolve().name in model_names():
        return {folder.resolve().name: folder}
    return dict.fromkeys(model_names(), folder)


def _no_folder(folder: Path, model: str) -> Problem:
    return Problem(
        str(folder), f"has no snapsets for model {model}", f"put them into a folder {model}, or give another --snapsets"
    )


def _is_snapset(path: Path) -> bool:
    return path.suffix in SUFFIXES and path.name[0] != "."


def _paths_of(folder: Path, name: str) -> Iterator[Path]:
    return (path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file())


def _read(folder: Path, model: str, *, strict: bool) -> Snapsets:
    """Read the snapsets of one model."""
    try:
        paths = sorted(path for path in folder.iterdir() if _is_snapset(path))
    except OSError as error:
        raise FileError.of(error, folder, "name the folder of the snapsets") from error
    found: dict[str, Snapset] = {}
    broken: dict[str, tuple[Problem, ...]] = {}
    warnings: list[Problem] = []
    for path in paths:
        try:
            snapset, noticed = read_snapset(path, model, strict=strict)
        except InputError as error:
            broken[path.stem] = tuple(error.problems)
        except FileError as error:
            broken[path.stem] = (Problem(error.what, error.rule or "can't be read", error.todo),)
        else:
            if snapset.name in found:
                twice = Problem(str(path), f"{snapset.name} exists twice, as .json and .json5", "keep one")
                broken[snapset.name] = (twice,)
            found[snapset.name] = snapset
            warnings += noticed
    if strict or broken.keys() >= found.keys():
        # A folder without any valid snapset is the wrong folder.
        raise_problems(problem for problems in broken.values() for problem in problems)
    warnings += [
        Problem(each.where, f"{each.rule}; skipping snapset {name}", each.todo)
        for name, problems in broken.items()
        for each in problems
    ]
    usable = {name: found[name] for name in sorted(found) if name not in broken}
    return Snapsets(folder, usable, tuple(warnings), broken)
