"""Import couchdb without pkg_resources: it needs that only for its own version, and importing it takes longer."""

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_is_new = "pkg_resources" not in _modules
if _is_new:
    # The import fails, which couchdb expects.
    _modules["pkg_resources"] = None

import couchdb  # noqa: E402, F401

if _is_new:
    del _modules["pkg_resources"]
