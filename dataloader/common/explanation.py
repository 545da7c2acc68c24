"""Explain which rules of a schema data breaks, using the slow validator.

It is slow to import and rarely needed: :func:`dataloader.common.validation.explain` imports it on demand.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from dataloader.common.schemas import schemas
from dataloader.common.words import did_you_mean

MAX_VALUE = 100
"""The longest value repeated in an explanation, in characters."""
MAX_MESSAGE = 300
"""The longest explanation, in characters."""
_SECRET = re.compile("password|secret", re.IGNORECASE)
_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}
_PLAINLY = (
    (re.compile("(?s)(.*) is a required property"), r"\1 is missing"),
    (re.compile("(?s)(.*) is a dependency of (.*)"), r"\2 needs \1, too"),
    (re.compile(r"(?s)\w+ properties are not allowed \((.*) was unexpected\)"), r"unknown member \1"),
    (re.compile(r"(?s)\w+ properties are not allowed \((.*) were unexpected\)"), r"unknown members \1"),
)
"""What the validator says of members, and what we say."""
_HIDDEN = "'***'"
"""Shown instead of the value of a member whose name marks it as a secret."""


def _multiple_of(_: Any, step: float, instance: Any, __: Any) -> Iterator[ValidationError]:
    # In binary floating point, 0.3 is not a multiple of 0.1; in the decimals that people write, it is.
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    if Decimal(str(instance)) % Decimal(str(step)):
        yield ValidationError(f"{instance!r} is not a multiple of {step}")


_Explainer: Any = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"multipleOf": _multiple_of}
)


@cache
def _registry() -> Registry[Any]:
    resources = [
        (schema["$id"], Resource.from_contents(schema, default_specification=DRAFT202012))
        for schema in schemas().values()
    ]
    registry: Registry[Any] = Registry()
    return registry.with_resources(resources)


def explain(name: str, instance: Any, *, secrets: bool = False) -> list[str]:
    """Return every rule of a schema that data breaks; see :func:`dataloader.common.validation.explain`."""
    hidden = [] if secrets else sorted(_secrets(instance), key=len, reverse=True)
    validator = _Explainer(schemas()[name], registry=_registry())
    errors = sorted(validator.iter_errors(instance), key=lambda error: [str(part) for part in error.absolute_path])
    # If the type is wrong, no other rule matters.
    wrong = {error.json_path for error in errors if error.validator == "type"}
    told = [error for error in errors if error.validator == "type" or error.json_path not in wrong]
    return [_line(error, hidden, secrets=secrets) for error in told]


def _secrets(data: Any, *, secret: bool = False) -> set[str]:
    """Return the values of members named password or secret, as an explanation would show them."""
    if isinstance(data, dict):
        return {
            found
            for key, value in data.items()
            for found in _secrets(value, secret=secret or _SECRET.search(str(key)) is not None)
        }
    if isinstance(data, list):
        return {found for value in data for found in _secrets(value, secret=secret)}
    return {repr(data)} if secret and data not in (None, "", True, False) else set()


def _said(error: ValidationError) -> str:
    """Return the broken rule in plain words; those that are rarely broken as the validator says them."""
    value = repr(error.instance)
    rule: Any = error.validator_value
    schema: Any = error.schema
    if error.validator == "type":
        types = [rule] if isinstance(rule, str) else rule
        return f"{value} must be {' or '.join(_TYPES[each] for each in types)}"
    if error.validator == "enum":
        known = [each if isinstance(each, str) else repr(each) for each in rule]
        question = did_you_mean(error.instance, known) if isinstance(error.instance, str) else ""
        return f"{value} must be one of: {', '.join(known)}{f'; {question}' if question else ''}"
    if error.validator == "pattern" and schema.get("examples"):
        return f"{value} must be like {schema['examples'][0]!r}"
    if error.validator == "not" and "pattern" in rule:
        return f"{value} has a character that is not allowed"
    for pattern, words in _PLAINLY:
        if pattern.match(error.message):
            return pattern.sub(words, error.message)
    return error.message


def _line(error: ValidationError, hidden: list[str], *, secrets: bool) -> str:
    # The deepest cause says more than "is not valid under any of the given schemas".
    while error.context:
        error = min(error.context, key=lambda cause: -len(cause.absolute_path))
    path = ".".join(str(part) for part in error.absolute_path)
    value, message = repr(error.instance), _said(error)
    for each in hidden:
        value, message = value.replace(each, _HIDDEN), message.replace(each, _HIDDEN)
    if secrets:
        message = message.replace(value, "the value")
    elif len(value) > MAX_VALUE:
        message = message.replace(value, f"{value[:MAX_VALUE]}…")
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}…"
    return f"{path}: {message}" if path else message
