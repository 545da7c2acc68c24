"""Check data against the JSON Schemas of ``schemas/``.

The fast validator (``jsonschema-rs``) checks everything that is written. The slow one (``jsonschema``) runs only on
invalid data, to explain it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema_rs

from dataloader.common.errors import Problem
from dataloader.common.schemas import SCHEMA_SUFFIX, schemas


@cache
def is_valid(name: str) -> Callable[[Any], bool]:
    """Return the fast check for a schema; it takes about two microseconds per document.

    Raises:
        KeyError: there is no schema of this name.
    """
    schema = schemas()[name]
    registry = jsonschema_rs.Registry([(each["$id"], each) for each in schemas().values()])
    check: Callable[[Any], bool] = jsonschema_rs.Draft202012Validator(schema, registry=registry).is_valid
    return check


def explain(name: str, instance: Any, *, secrets: bool = False) -> list[str]:
    """Return every rule of a schema that data breaks, each as ``path: rule``; empty if the data is valid.

    Slow for invalid data (about a quarter of a millisecond). Numbers are compared as decimals, as people write them.

    Args:
        name: the schema's name.
        instance: the data.
        secrets: whether there may be passwords in unexpected places, so that no value is repeated. Values of members
            named password or secret are never repeated.
    """
    try:
        if is_valid(name)(instance):
            return []
    except (TypeError, ValueError):
        # It holds something that JSON does not have, such as a TOML date; the explanation says so.
        pass
    # Importing it takes a tenth of a second, or a whole second if packages for formats are installed.
    from dataloader.common import explanation  # noqa: PLC0415

    return explanation.explain(name, instance, secrets=secrets)


def schema_problems(where: str, name: str, instance: Any, *, secrets: bool = False) -> list[Problem]:
    """Return each rule of a schema that data breaks as a problem at a place in a file; see :func:`explain`."""
    return [
        Problem(where, rule, f"see schemas/{name}{SCHEMA_SUFFIX}") for rule in explain(name, instance, secrets=secrets)
    ]
