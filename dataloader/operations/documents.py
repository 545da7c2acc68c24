"""Load documents from files: the type of each gives its database and schema; they are written like cards."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataloader.common import (
    Document,
    InputError,
    Problem,
    has_schema,
    raise_problems,
    read_json5,
    schema_problems,
    which_of,
)
from dataloader.operations.sources import Source
from dataloader.records import CLIENT, CREDENTIAL
from dataloader.records.models import Model, Role
from dataloader.target import Target

SITE_TYPES = frozenset({CLIENT, CREDENTIAL})
"""Types that give a site's pilot computers access; production data, including secrets."""
PREFERENCES = "preferences"
"""The kind of document that has no type in model ``gpii-token``: a preference set."""
_SECRETS = ("password", "oauth2ClientSecret")
"""Members with secrets."""
_SUFFIXES = (".json", ".json5")


def document_sources(target: Target, paths: Sequence[Path]) -> list[Source]:
    """Return the sources of the documents in files, one for each type.

    Args:
        target: the target, whose model says what a type is.
        paths: JSON or JSON5 files, each an array of documents or ``{"docs": [...]}``; or folders of such files.

    Raises:
        FileError: a file can't be read.
        InputError: lists every problem: unknown types, documents that break their schema, duplicate ``_id``s.
        ProtectedError: a document has a password or secret, and the target is staging or production.
    """
    kinds: dict[str, dict[str, Document]] = {}
    problems: list[Problem] = []
    places: dict[tuple[str, str], str] = {}
    for path in _files(paths):
        for number, document in enumerate(_documents(path), 1):
            where = f"{path}, document {number}"
            found = [*_problems(target.model, document)]
            if not found:
                kind = _kind(target.model, document)
                key = _database(target.model, kind), document["_id"]
                if key in places:
                    found = [Problem("", f"has the same _id as {places[key]}", "give each its own _id")]
                places[key] = where
                _refuse_secret(target, kind, document, where)
                kinds.setdefault(kind, {})[document["_id"]] = document
            problems += [Problem(where, problem.rule, problem.todo) for problem in found]
    raise_problems(problems)
    origin = ", ".join(map(str, paths))
    return [_source(target.model, kind, documents, origin) for kind, documents in kinds.items()]


def sources_of(model: Model, documents: Sequence[Document], origin: str) -> list[Source]:
    """Return the sources of generated documents, one for each type."""
    kinds: dict[str, dict[str, Document]] = {}
    for document in documents:
        kinds.setdefault(_kind(model, document), {})[document["_id"]] = document
    return [_source(model, kind, found, origin) for kind, found in kinds.items()]


def _source(model: Model, kind: str, documents: dict[str, Document], origin: str) -> Source:
    ordered = [documents[doc_id] for doc_id in sorted(documents)]

    return Source(
        _database(model, kind), kind, f"{model.name}/{kind}", origin, len(ordered), lambda: iter(ordered), Role.GIVEN
    )


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
        if not found:
            raise InputError(Problem(str(path), "contains no JSON files", "name the folder of the documents"))
        yield from found


def _documents(path: Path) -> list[Any]:
    data = read_json5(path)
    found = data.get("docs") if isinstance(data, dict) else data
    if not isinstance(found, list):
        todo = 'write [{"_id": …, "type": …}, …], or {"docs": […]}'
        raise InputError(Problem(str(path), "is not an array of documents", todo))
    return found


def _problems(model: Model, document: Any) -> Iterator[Problem]:
    if not isinstance(document, dict) or not isinstance(document.get("_id"), str):
        yield Problem("", "is not a document: it has no _id", "give it one")
        return
    kind = _kind(model, document)
    schema = f"{model.name}/{kind}"
    if "/" in kind or not kind or not has_schema(schema):
        yield Problem("", f'model {model.name} has no type "{kind}"', which_of(kind, [*_types(model)]))
        return
    yield from schema_problems("", schema, document, secrets=True)


def _types(model: Model) -> Iterator[str]:
    known = {kind.name for kind in model.kinds} | SITE_TYPES
    known |= {"user", "webPrefsConsumerClient", "privilegedPrefsCreatorClient", "onboardedSolutionClient"}
    yield from (each for each in sorted(known) if has_schema(f"{model.name}/{each}"))


def _kind(model: Model, document: Document) -> str:
    if "type" not in document and model.name == "gpii-token":
        return PREFERENCES
    return str(document.get("type", ""))


def _database(model: Model, kind: str) -> str:
    if len(model.databases) == 1:
        return model.databases[0]
    return "preferences" if kind == PREFERENCES else "auth"


def _refuse_secret(target: Target, kind: str, document: Document, where: str) -> None:
    """Refuse passwords and secrets for a protected target, except those of a site's pilot computers.

    Raises:
        ProtectedError: there is one.
    """
    if kind not in SITE_TYPES and any(document.get(member) is not None for member in _SECRETS):
        target.refuse(
            f"{where}, a {kind} with a password or secret,", "remove it, or load it into a development target"
        )
