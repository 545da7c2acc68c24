"""Keep openpyxl from using lxml, so that a batch becomes the same bytes on every machine.

Where lxml happens to be installed, openpyxl writes with it: other bytes, and a full disk becomes an error that is
not an ``OSError`` (openpyxl/xml/__init__.py reads this variable when it is imported).
"""

import os

os.environ.setdefault("OPENPYXL_LXML", "False")
