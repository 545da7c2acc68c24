"""The views that the servers query: one map function in each ``.js`` file, collected in design documents.

They are in this folder, as ``MODEL/DATABASE/DESIGN/VIEW.js``.
"""

import re
from functools import cache
from pathlib import Path

from dataloader.common import Document, views_dir
from dataloader.records.models import Model

__all__ = ["DESIGN", "DESIGN_SCHEMA", "design_documents", "map_function"]

DESIGN = "views"
"""The design document that the servers query; the name is part of their contract."""
DESIGN_SCHEMA = "files/design-document"

# Each file is a script that declares the function by name, so that it can be linted and run on its own.
_FUNCTION = re.compile(r"\A(?:\s*//[^\n]*\n)*\s*function\s+(?P<name>\w+)\s*(?P<rest>\(.*\})\s*\Z", re.DOTALL)


def map_function(path: Path) -> str:
    """Return the source that CouchDB stores for a view.

    The leading comment is removed, so that editing it does not rebuild every index. So is the function's name, since
    CouchDB 3 with SpiderMonkey accepts anonymous functions only.

    Raises:
        ValueError: the file is not a single function named after the file.
    """
    match = _FUNCTION.match(path.read_text("utf-8").replace("\r\n", "\n"))
    if match is None or match["name"] != path.stem:
        raise ValueError(f"{path} must hold one function named {path.stem}")
    return f"function {match['rest']}"


@cache
def design_documents(model: Model, database: str) -> tuple[Document, ...]:
    """Return the design documents of one of a model's databases, sorted by name."""
    folder = views_dir() / model.name / database
    return tuple(
        {
            "_id": f"_design/{design.name}",
            "language": "javascript",
            "views": {path.stem: {"map": map_function(path)} for path in sorted(design.glob("*.js"))},
        }
        for design in sorted(folder.glob("*/"))
        if design.is_dir() and not design.name.startswith("_")
    )
