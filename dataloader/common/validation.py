"""Checking data against the JSON Schemas of ``schemas/``.

The fast validator (``jsonschema-rs``) says yes or no to everything that is written; the slow one
(``jsonschema``) is asked only after a no, to explain it.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema_rs

from dataloader.common.schemas import schemas


@cache
def is_valid(name: str) -> Callable[[Any], bool]:
    """Return the fast check for a schema; about two microseconds a document.

    Raises:
        KeyError: there is no schema of this name.
    """
    schema = schemas()[name]
    registry = jsonschema_rs.Registry([(each["$id"], each) for each in schemas().values()])
    check: Callable[[Any], bool] = jsonschema_rs.Draft202012Validator(schema, registry=registry).is_valid
    return check


def explain(name: str, instance: Any, *, secrets: bool = False) -> list[str]:
    """Return every rule of a schema that data breaks, each as ``path: rule``; empty for valid data.

    Slow for data that is not valid (about a quarter of a millisecond); numbers are compared as the decimals people
    wrote.

    Args:
        name: the schema's name.
        instance: the data.
        secrets: whether a password may stand where it does not belong, so that no value is repeated; what stands in
            a member called a password or a secret never is.
    """
    try:
        if is_valid(name)(instance):
            return []
    except (TypeError, ValueError):
        # It has something that JSON has not, such as a date of a TOML file; that has to be explained.
        pass
    # Loading it takes a tenth of a second, or a whole one where packages for formats are installed, too.
    from dataloader.common import explanation  # noqa: PLC0415

    return explanation.explain(name, instance, secrets=secrets)
