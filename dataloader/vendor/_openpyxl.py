"""Keep openpyxl from using lxml, so that a batch gives the same bytes on every machine.

If lxml is installed, openpyxl uses it: the bytes differ, and a full disk raises an error that is not an ``OSError``
(openpyxl/xml/__init__.py reads this variable on import).
"""

import os

os.environ.setdefault("OPENPYXL_LXML", "False")
