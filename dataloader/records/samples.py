"""Sample data: the development documents of ``samples/``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataloader.common import Document, InputError, Problem, has_schema, raise_problems, read_json5, schema_problems
from dataloader.records.models import Model, get_model, model_names

SAMPLES_SCHEMA = "files/sample-data"


@dataclass(frozen=True, slots=True)
class SampleData:
    """The development documents for one database."""

    path: Path
    model: Model
    database: str
    documents: tuple[Document, ...]
    """Sorted by type, then by ``_id``."""


def read_samples(path: Path, model: Model | None = None) -> SampleData:
    """Read and check a file of development documents, ``MODEL/DATABASE.json5``.

    Args:
        path: the file.
        model: the document model, if the name of the folder does not say it.

    Raises:
        FileError: the file can't be read.
        InputError: the file is invalid; lists every problem.
    """
    data = read_json5(path)
    if model is None:
        if path.resolve().parent.name not in model_names():
            raise InputError(
                Problem(
                    str(path),
                    "sample data must be in a folder named after its model",
                    f"put it into a folder {' or '.join(model_names())}",
                )
            )
        model = get_model(path.resolve().parent.name)
    raise_problems(schema_problems(str(path), SAMPLES_SCHEMA, data))
    problems = []
    if path.stem not in model.databases:
        problems.append(Problem(str(path), f"model {model.name} has no database {path.stem!r}", "rename the file"))
    seen: set[str] = set()
    for document in data:
        where = f"{path}, document {document['_id']}"
        schema = f"{model.name}/{document['type']}"
        if document["_id"] in seen:
            problems.append(Problem(where, "occurs more than once", "keep one"))
        seen.add(document["_id"])
        if not has_schema(schema):
            problems.append(Problem(where, f"model {model.name} has no type {document['type']!r}", "correct the type"))
        else:
            problems += schema_problems(where, schema, document)
    raise_problems(problems)
    return SampleData(path, model, path.stem, tuple(sorted(data, key=_type_and_id)))


def _type_and_id(document: dict[str, Any]) -> tuple[str, str]:
    return document["type"], document["_id"]
