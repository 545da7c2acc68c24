"""Prepares batches of GPII cards and loads their records into CouchDB."""

import os

# openpyxl writes with lxml where that happens to be installed: the same batch would be other bytes there, and a full
# disk an error that is none of the system's (openpyxl/xml/__init__.py).
os.environ.setdefault("OPENPYXL_LXML", "False")

__version__ = "0.1.0"
