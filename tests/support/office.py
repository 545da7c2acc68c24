"""LibreOffice without a window, to test our workbooks in a spreadsheet program.

The fixture ``office`` returns it; tests that use it are skipped if it is not installed.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PROGRAM = shutil.which("soffice") or shutil.which("libreoffice")

_TIMEOUT = 120
"""Timeout in seconds; a busy machine takes a few."""
_FILTERS = {"xlsx": "Calc MS Excel 2007 XML", "csv": "Text - txt - csv (StarCalc)"}
# Only a macro can pass a password: https://help.libreoffice.org/latest/en-US/text/shared/guide/start_parameters.html
_MACRO = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE script:module PUBLIC "-//OpenOffice.org//DTD OfficeDocument 1.0//EN" "module.dtd">
<script:module xmlns:script="http://openoffice.org/2000/script" script:name="Module1" script:language="StarBasic">
Sub Save(source As String, password As String, target As String, filter As String)
  Dim opening(1) As New com.sun.star.beans.PropertyValue
  Dim storing(1) As New com.sun.star.beans.PropertyValue
  opening(0).Name = "Hidden"
  opening(0).Value = True
  opening(1).Name = "Password"
  opening(1).Value = password
  storing(0).Name = "FilterName"
  storing(0).Value = filter
  ' Comma, quotation mark, UTF-8 (not the encoding of the machine's locale), and the second sheet.
  storing(1).Name = "FilterOptions"
  storing(1).Value = "44,34,76,1,,0,false,true,false,false,false,2"
  book = StarDesktop.loadComponentFromURL(source, "_blank", 0, opening())
  book.storeToURL(target, storing())
  book.close(True)
End Sub
</script:module>
"""


@dataclass(frozen=True, slots=True)
class Office:
    """LibreOffice with its own profile, so that it does not use a running instance."""

    profile: Path

    def start(self) -> None:
        """Create the profile, including the macro."""
        self._run("--terminate_after_init")
        (self.profile / "user" / "basic" / "Standard" / "Module1.xba").write_text(_MACRO)

    def save(self, source: Path, target: Path, password: str = "") -> Path:
        """Open a file and save it as another: a workbook, or its second sheet (the first with cards) as CSV.

        Args:
            source: the file.
            target: where to, ``.xlsx`` or ``.csv``.
            password: the source's password, if it has one.
        """
        arguments = (source.as_uri(), password, target.as_uri(), _FILTERS[target.suffix.removeprefix(".")])
        quoted = ",".join(f'"{argument}"' for argument in arguments)
        self._run(f"macro:///Standard.Module1.Save({quoted})")
        # With one sheet, it adds the sheet's name to the file name.
        for path in target.parent.glob(f"{target.stem}-*{target.suffix}"):
            path.rename(target)
        assert target.exists(), f"LibreOffice did not save {source} as {target}"
        return target

    def _run(self, *arguments: str) -> None:
        assert PROGRAM is not None
        profile = f"-env:UserInstallation={self.profile.as_uri()}"
        subprocess.run(
            [PROGRAM, "--headless", "--norestore", profile, *arguments],
            check=True,
            capture_output=True,
            timeout=_TIMEOUT,
        )
