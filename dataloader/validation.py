"""Checking data against the JSON Schemas of ``schemas/``.

The fast validator (``jsonschema-rs``) says yes or no to everything that is written; the slow one
(``jsonschema``) is asked only after a no, to explain it.
"""

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from dataloader.settings import data_dir

SUFFIX = ".schema.json"
MAX_VALUE = 100
"""Characters of a value that are repeated in an explanation."""
MAX_MESSAGE = 300
"""Characters of an explanation."""
_SECRET = re.compile("password|secret", re.IGNORECASE)
_HIDDEN = "'***'"
"""What is shown in the place of a member's value whose name says that it is secret."""


def _multiple_of(_: Any, step: float, instance: Any, __: Any) -> Iterator[ValidationError]:
    # In binary floating point 0.3 is no multiple of 0.1; in the decimals that people write it is.
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    if Decimal(str(instance)) % Decimal(str(step)):
        yield ValidationError(f"{instance!r} is not a multiple of {step}")


_Explainer: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"multipleOf": _multiple_of}
)


@cache
def _schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by its path below ``schemas/`` without the suffix: ``gpii-key/prefsSafe``."""
    folder = data_dir("schemas")
    return {
        path.relative_to(folder).as_posix().removesuffix(SUFFIX): json.loads(path.read_text("utf-8"))
        for path in sorted(folder.rglob(f"*{SUFFIX}"))
    }


@cache
def _registry() -> Registry[Any]:
    resources = [
        (schema["$id"], Resource.from_contents(schema, default_specification=DRAFT202012))
        for schema in _schemas().values()
    ]
    registry: Registry[Any] = Registry()
    return registry.with_resources(resources)


def schema_names() -> list[str]:
    """Return the names of all schemas, such as ``gpii-key/prefsSafe``, sorted."""
    return sorted(_schemas())


def has_schema(name: str) -> bool:
    """Tell whether there is a schema of this name."""
    return name in _schemas()


@cache
def is_valid(name: str) -> Callable[[Any], bool]:
    """Return the fast check for a schema; about two microseconds a document.

    Raises:
        KeyError: there is no schema of this name.
    """
    schema = _schemas()[name]
    registry = jsonschema_rs.Registry([(each["$id"], each) for each in _schemas().values()])
    check: Callable[[Any], bool] = jsonschema_rs.Draft202012Validator(schema, registry=registry).is_valid
    return check


def explain(name: str, instance: Any, *, secrets: bool = False) -> list[str]:
    """Return every rule of a schema that data breaks, each as ``path: rule``; empty for valid data.

    Slow (about a quarter of a millisecond); numbers are compared as the decimals people wrote.

    Args:
        name: the schema's name.
        instance: the data.
        secrets: whether a password may stand where it does not belong, so that no value is repeated; what stands in
            a member called a password or a secret never is.
    """
    hidden = [] if secrets else sorted(_secrets(instance), key=len, reverse=True)
    validator = _Explainer(_schemas()[name], registry=_registry())
    errors = sorted(validator.iter_errors(instance), key=lambda error: [str(part) for part in error.absolute_path])
    # Of a value of the wrong type, no other rule is worth telling.
    wrong = {error.json_path for error in errors if error.validator == "type"}
    told = [error for error in errors if error.validator == "type" or error.json_path not in wrong]
    return [_line(error, hidden, secrets=secrets) for error in told]


def _secrets(data: Any, *, secret: bool = False) -> set[str]:
    """Return what stands in members that are called a password or a secret, as an explanation would repeat it."""
    if isinstance(data, dict):
        return {
            found
            for key, value in data.items()
            for found in _secrets(value, secret=secret or _SECRET.search(str(key)) is not None)
        }
    if isinstance(data, list):
        return {found for value in data for found in _secrets(value, secret=secret)}
    return {repr(data)} if secret and data not in (None, "", True, False) else set()


def _line(error: ValidationError, hidden: list[str], *, secrets: bool) -> str:
    # The deepest cause says more than "is not valid under any of the given schemas".
    while error.context:
        error = min(error.context, key=lambda cause: -len(cause.absolute_path))
    path = ".".join(str(part) for part in error.absolute_path)
    value, message = repr(error.instance), error.message
    for each in hidden:
        value, message = value.replace(each, _HIDDEN), message.replace(each, _HIDDEN)
    if secrets:
        message = message.replace(value, "what stands there")
    elif len(value) > MAX_VALUE:
        message = message.replace(value, f"{value[:MAX_VALUE]}…")
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}…"
    return f"{path}: {message}" if path else message
