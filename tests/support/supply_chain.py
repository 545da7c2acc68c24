"""Bills of materials (SBOM) of a release, and an audit for known vulnerabilities: ``make build`` and ``make audit``.

SBOMs are in CycloneDX format, written by its own tool for Python packages and by npm for the embedded server's.
Vulnerabilities come from ``pip-audit`` and ``npm audit``; if the registry does not support these queries, the audit
says so.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "dataloader" / "embedded"
LOCKS = (EMBEDDED, ROOT / "bench")
"""Folders with a package-lock.json."""
BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Audited:
    """The result of an audit."""

    what: str
    packages: int
    """The number of packages with a reply."""
    findings: tuple[str, ...]

    @property
    def line(self) -> str:
        """The summary in one line."""
        if not self.packages:
            return f"NOT AUDITED: {self.what}: no registry here answers; audit it where one does"
        return "\n".join([f"{self.what}: {self.packages} packages, {len(self.findings)} findings", *self.findings])


def python_bill(python: Path, to: Path) -> None:
    """Write the SBOM of an environment with the wheel and its dependencies."""
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible", "--of", "JSON", "-o", str(to)]
    subprocess.run([BIN / "cyclonedx-py", "environment", *options, python], check=True, timeout=300)


def npm_bill(folder: Path, to: Path) -> None:
    """Write the SBOM of a folder's package-lock.json."""
    options = ("sbom", "--package-lock-only", "--sbom-format", "cyclonedx")
    to.write_text(_npm(folder, *options).stdout, "utf-8")


def write_bills(dist: Path) -> list[Path]:
    """Write the SBOMs of the newest wheel in a folder, and of the embedded server, next to it."""
    wheel = max(dist.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    bills = [dist / f"{wheel.stem}.cdx.json", dist / "embedded-server.cdx.json"]
    with TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=300)
        install = ["install", "--quiet", "--disable-pip-version-check", str(wheel)]
        subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, timeout=600)
        python_bill(python, bills[0])
    npm_bill(EMBEDDED, bills[1])
    return bills


def audit_python() -> Audited:
    """Audit every Python package of this environment."""
    command = [str(BIN / "pip-audit"), "--progress-spinner", "off", "--format", "json"]
    return read_pip_audit(subprocess.run(command, check=False, capture_output=True, text=True, timeout=600).stdout)


def read_pip_audit(output: str) -> Audited:
    """Parse the output of ``pip-audit --format json``."""
    found = _json(output).get("dependencies", [])
    answered = [each for each in found if "vulns" in each]
    findings = [
        f"  {each['name']} {each['version']}: {vulnerability['id']}, mended in {vulnerability['fix_versions']}"
        for each in answered
        for vulnerability in each["vulns"]
    ]
    return Audited("Python packages", len(answered), tuple(findings))


def audit_npm(folder: Path) -> Audited:
    """Audit every package in a folder's package-lock.json."""
    what = f"{folder.relative_to(ROOT)}/package-lock.json"
    return read_npm_audit(what, _npm(folder, "audit", "--package-lock-only", "--json", check=False).stdout)


def read_npm_audit(what: str, output: str) -> Audited:
    """Parse the output of ``npm audit --json``."""
    found = _json(output)
    packages = found.get("metadata", {}).get("dependencies", {}).get("total", 0)
    findings = [f"  {name}: {each['severity']}" for name, each in found.get("vulnerabilities", {}).items()]
    return Audited(what, packages, tuple(findings))


def _npm(folder: Path, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    # The npm of the extra `embedded` is next to this Python.
    npm = shutil.which("npm") or str(BIN / "npm")
    return subprocess.run([npm, *arguments], check=check, cwd=folder, capture_output=True, text=True, timeout=300)


def _json(output: str) -> dict[str, Any]:
    try:
        found = json.loads(output)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the SBOMs, or audit; an audit exits with 1 if there is a known vulnerability."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["bills", "audit"])
    if parser.parse_args(arguments).what == "bills":
        print(*write_bills(ROOT / "dist"), sep="\n")
        return 0
    audits = [audit_python(), *map(audit_npm, LOCKS)]
    print(*(each.line for each in audits), sep="\n")
    return int(any(each.findings for each in audits))


if __name__ == "__main__":
    sys.exit(main())
