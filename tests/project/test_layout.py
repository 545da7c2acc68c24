"""The layout of the code: packages are imported through their ``__init__``, and commands are easy to find."""

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataloader.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "dataloader"
MODULES = sorted(PACKAGE.rglob("*.py"))
OPERATIONS = {"serve": "embedded/server.py"} | {
    name: f"cli/{name}.py" for name in ("demo", "help", "init", "targets", "config")
}
"""Where the operation of a command is, if not in a file of the same name in operations/."""


def imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each module of the project that a file imports, with the imported names."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module and node.module.partition(".")[0] == "dataloader":
                yield node.module, [each.name for each in node.names]
        elif isinstance(node, ast.Import):
            yield from ((each.name, []) for each in node.names if each.name.partition(".")[0] == "dataloader")


def types(path: Path) -> Iterator[str]:
    """Yield the names of a file's public classes and type aliases."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Subscript):
            names = [ast.unparse(each) for each in (node.targets if isinstance(node, ast.Assign) else [node.target])]
        else:
            continue
        yield from (name for name in names if re.fullmatch(r"[A-Z]+[a-z]\w*", name))


def room(module: str) -> str:
    """Return the top-level package of a module."""
    return module.split(".")[1] if "." in module else ""


def private(path: Path) -> list[str]:
    """Return the private names of other packages that a file imports."""
    here = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    found = []
    if path == PACKAGE / "__init__.py":
        # The public API names modules, to import each when it is first used.
        return []
    for module, names in imports(path):
        if room(module) in {"", room(here)}:
            continue
        target = ROOT.joinpath(*module.split("."))
        if not target.is_dir():
            found.append(module)
            continue
        face = getattr(importlib.import_module(module), "__all__", ())
        found += [f"{module}.{name}" for name in names if name not in face and not (target / name).is_dir()]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_packages_are_imported_through_their_init(path: Path) -> None:
    """Imports from another package name the package itself, and names in its ``__all__``."""
    assert private(path) == []


def test_private_imports_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check finds imported submodules, and names that a package does not export."""
    path = PACKAGE / "cli" / "not_there.py"
    text = "import dataloader.couch.session\nfrom dataloader.couch import Database, Session_\nimport click\n"
    monkeypatch.setattr(Path, "read_text", lambda *_: text)
    assert private(path) == ["dataloader.couch.session", "dataloader.couch.Session_"]


@pytest.mark.parametrize("package", sorted(each.name for each in PACKAGE.iterdir() if (each / "__init__.py").exists()))
def test_packages_define_all(package: str) -> None:
    """``__all__`` lists the public names, and all of them exist."""
    module = importlib.import_module(f"dataloader.{package}")
    assert module.__all__
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_each_type_has_a_name_of_its_own() -> None:
    """No two public classes or type aliases have the same name, so that a search for it finds one thing."""
    homes = defaultdict(list)
    for path in MODULES:
        for name in types(path):
            homes[name].append(path.relative_to(PACKAGE).as_posix())
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_files(name: str) -> None:
    """``cli/NAME.py``, its operation, and tests of that name."""
    assert (PACKAGE / "cli" / f"{name}.py").exists()
    operation = PACKAGE / OPERATIONS.get(name, f"operations/{name}.py")
    assert operation.exists() or (operation.with_suffix("") / "__init__.py").exists(), operation


def test_every_command_file_is_registered() -> None:
    """Each file in cli/ that is not a helper defines a registered command."""
    files = {path.stem for path in (PACKAGE / "cli").glob("[!_]*.py")}
    assert files == {*COMMANDS}


def test_test_folders_mirror_the_packages() -> None:
    """Each folder of tests is named after a package, or concerns the whole project."""
    folders = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders - packages == {"cluster", "faults", "fuzz", "project", "support"}
    assert packages <= folders
