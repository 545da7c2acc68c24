"""Bills of materials, and the audit of dependencies."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.marks import THOROUGH
from tests.support.supply_chain import EMBEDDED, ROOT, npm_bill, python_bill, read_npm_audit, read_pip_audit


def components(bill: Path) -> set[str]:
    """Return the names of the components in a bill of materials."""
    data = json.loads(bill.read_text("utf-8"))
    assert data["bomFormat"] == "CycloneDX"
    # Names have several spellings: https://packaging.python.org/specifications/name-normalization/.
    return {re.sub(r"[-_.]+", "-", each["name"]).lower() for each in data["components"]}


@THOROUGH
def test_sbom_of_the_wheel_lists_its_dependencies(tmp_path: Path) -> None:
    """It lists the dependencies in pyproject.toml and their own dependencies."""
    python_bill(Path(sys.executable), tmp_path / "python.cdx.json")
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^a-z0-9-]", each.lower())[0] for each in wanted if "python_version" not in each}
    assert len(names) > 10
    assert components(tmp_path / "python.cdx.json") >= {*names, "rpds-py", "markupsafe"}


@THOROUGH
def test_sbom_of_the_embedded_server_lists_its_packages(tmp_path: Path) -> None:
    """It lists the packages in package.json and their dependencies."""
    npm_bill(EMBEDDED, tmp_path / "npm.cdx.json")
    wanted = set(json.loads((EMBEDDED / "package.json").read_text("utf-8"))["dependencies"])
    locked = json.loads((EMBEDDED / "package-lock.json").read_text("utf-8"))["packages"]
    found = components(tmp_path / "npm.cdx.json")
    assert found >= wanted
    assert len(found) > len(locked) / 2


VULNERABLE = {"name": "a", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}
SAFE = {"name": "b", "version": "2.0", "vulns": []}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def test_audit_reports_vulnerabilities() -> None:
    """Each finding names the version that fixes it."""
    audited = read_pip_audit(json.dumps({"dependencies": [VULNERABLE, SAFE, UNKNOWN]}))
    assert audited.packages == 2
    assert audited.findings == ("  a 1.0: PYSEC-1, mended in ['1.1']",)
    npm = {"metadata": {"dependencies": {"total": 7}}, "vulnerabilities": {"d": {"severity": "high"}}}
    assert read_npm_audit("lock", json.dumps(npm)).line == "lock: 7 packages, 1 findings\n  d: high"


@pytest.mark.parametrize("output", ["", "[]", '{"message": "405 Method Not Allowed", "error": {}}'])
def test_audit_without_a_reply_is_an_error(output: str) -> None:
    """If the service does not answer, the audit does not report success."""
    assert read_npm_audit("lock", output).line.startswith("NOT AUDITED: lock")
    assert read_pip_audit(output).line.startswith("NOT AUDITED: Python packages")
    assert read_pip_audit(json.dumps({"dependencies": [UNKNOWN]})).packages == 0
