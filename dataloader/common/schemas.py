"""The JSON Schemas of ``schemas/``, by name."""

import json
from functools import cache
from typing import Any

from dataloader.common.settings import data_dir

SCHEMA_SUFFIX = ".schema.json"


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by its path below ``schemas/`` without the suffix: ``gpii-key/prefsSafe``."""
    folder = data_dir("schemas")
    return {
        path.relative_to(folder).as_posix().removesuffix(SCHEMA_SUFFIX): json.loads(path.read_text("utf-8"))
        for path in sorted(folder.rglob(f"*{SCHEMA_SUFFIX}"))
    }


def has_schema(name: str) -> bool:
    """Return whether there is a schema of this name."""
    return name in schemas()
