"""The views that the servers query: map functions, one ``.js`` file each, made into design documents.

They lie beside this module as ``MODEL/DATABASE/DESIGN/VIEW.js``.
"""

import re
from functools import cache
from pathlib import Path

from dataloader.common import Document, views_dir
from dataloader.records.models import Model

__all__ = ["DESIGN", "DESIGN_SCHEMA", "design_documents", "map_function"]

DESIGN = "views"
"""The design document that the servers ask; a contract with them."""
DESIGN_SCHEMA = "files/design-document"

# A file is a script that declares the function by name, so that it can be linted and run by itself.
_FUNCTION = re.compile(r"\A(?:\s*//[^\n]*\n)*\s*function\s+(?P<name>\w+)\s*(?P<rest>\(.*\})\s*\Z", re.DOTALL)


def map_function(path: Path) -> str:
    """Return the source that CouchDB stores for a view.

    The leading comment is left out, so that mending it does not have every index built again; so is the
    name, since CouchDB 3 with SpiderMonkey takes an unnamed function only.

    Raises:
        ValueError: the file is not one function named as the file.
    """
    match = _FUNCTION.match(path.read_text("utf-8").replace("\r\n", "\n"))
    if match is None or match["name"] != path.stem:
        raise ValueError(f"{path} must hold one function named {path.stem}")
    return f"function {match['rest']}"


@cache
def design_documents(model: Model, database: str) -> tuple[Document, ...]:
    """Return the design documents of one of a model's databases, in the order of their names."""
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
