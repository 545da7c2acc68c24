"""The wheel contains everything it needs, and works without the source tree."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib.metadata import PathDistribution
from pathlib import Path
from shutil import rmtree
from zipfile import Path as ZipPath
from zipfile import ZipFile

import pytest

from dataloader import __version__
from dataloader.batch import read_manifest
from dataloader.common import data_dir
from dataloader.couch import Address, Server
from dataloader.records.models import model_names
from dataloader.target import Target
from tests.support.command import Completed
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.server import get, snapshot

pytestmark = THOROUGH

ROOT = Path(__file__).resolve().parents[2]
NOT_SHIPPED = {"__pycache__", "node_modules"}

Installed = Callable[..., Completed]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; its dependencies come from the current environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), *install], check=True, timeout=300)
    [site_packages] = folder.glob("lib/python*/site-packages")
    # Paths added by a .pth file are searched last, and .pth files there (such as the source tree's) are not read.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return folder


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    """Run a program of the environment: ``installed("dataloader", "--version")``."""

    def run(program: str, *arguments: object, env: dict[str, str] | None = None) -> Completed:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        process = subprocess.run(
            [str(environment / "bin" / program), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            env={**inherited, **(env or {})},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        return Completed(process.returncode, process.stdout, process.stderr)

    return run


def shipped(folder: Path) -> set[str]:
    """Return the files below a folder that belong in a wheel, as relative paths."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not NOT_SHIPPED & {*path.parts} and path.suffix != ".pyc"}


def test_wheel_contains_exactly_what_it_needs(wheel: Path) -> None:
    """Code, schemas, snapsets, samples, views and the embedded server's files; no tests or Node.js packages."""
    expected = {f"dataloader/{path}" for path in shipped(ROOT / "dataloader")}
    for name in ("schemas", "snapsets", "samples"):
        expected |= {f"dataloader/data/{name}/{path}" for path in shipped(ROOT / name)}
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    about = {name for name in names if name.startswith(f"gpii_dataloader-{__version__}.dist-info/")}
    manual = f"gpii_dataloader-{__version__}.data/data/share/man/man1/dataloader.1"
    assert names - about == {*expected, manual}
    assert {
        "dataloader/data/schemas/gpii-key/prefsSafe.schema.json",
        "dataloader/data/snapsets/gpii-token/snapset_1a.json5",
        "dataloader/data/samples/personas/gpii-key/alice.json5",
        "dataloader/records/views/gpii-token/auth/views/findGpiiToken.js",
        "dataloader/embedded/package.json",
        "dataloader/embedded/package-lock.json",
        "dataloader/embedded/server.js",
        "dataloader/report/page.html.j2",
        "dataloader/report/style.css",
        "dataloader/py.typed",
    } <= names
    assert f"gpii_dataloader-{__version__}.dist-info/licenses/LICENSE" in about


def test_wheel_metadata(wheel: Path) -> None:
    """The metadata has the name, version, command and required Python."""
    about = PathDistribution(ZipPath(wheel) / f"gpii_dataloader-{__version__}.dist-info")
    assert (about.metadata["Name"], about.version) == ("gpii-dataloader", __version__)
    assert about.metadata["Requires-Python"] == ">=3.11"
    assert {(each.name, each.value) for each in about.entry_points} == {("dataloader", "dataloader.__main__:main")}


def test_installed_wheel_uses_its_own_files(installed: Installed, environment: Path) -> None:
    """Code, data and views are those of the installed package, not of the source tree."""
    code = (
        "import dataloader; from dataloader.common.settings import data_dir, views_dir; "
        "print(dataloader.__file__, data_dir('schemas'), data_dir('snapsets'), data_dir('samples'), views_dir())"
    )
    for path in installed("python", "-c", code).stdout.split():
        assert Path(path).is_relative_to(environment.resolve())
        assert Path(path).exists()


@ONE_MODEL
def test_installed_wheel_mints_loads_and_verifies(
    installed: Installed, server: Server, target: Target, on_target: list[str], credentials: dict[str, str],
    tmp_path: Path,
) -> None:  # fmt: skip
    """Mint, validate, load, verify and seed; the files of each model have been compared."""
    minted = installed("dataloader", "generate", "spring", "--cards", "20", "--snapset", "snapset_4a")
    assert (minted.code, minted.stderr) == (0, "")
    manifest = tmp_path / "spring.batch.jsonl"
    assert installed("dataloader", "validate", manifest, tmp_path / "spring.xlsx").code == 0
    loaded = installed("dataloader", "load", manifest, *on_target, "--json", env=credentials)
    assert (loaded.code, loaded.stderr) == (0, "")
    documents = sum(len(each) for each in snapshot(server, target).values())
    assert loaded.data["created"] == documents
    report = ("--report", "verify.html")
    assert (
        installed("dataloader", "verify", manifest, *on_target, *report, "--json", env=credentials).data["verdicts"][
            "ok"
        ]
        == 20
    )
    assert "All 20 cards are ready." in (tmp_path / "verify.html").read_text("utf-8")
    seeded = installed("dataloader", "seed", *on_target, "--json", env=credentials)
    assert (seeded.code, seeded.stderr) == (0, "")
    assert sum(len(each) for each in snapshot(server, target).values()) == documents + seeded.data["created"]


def test_installed_wheel_runs_the_embedded_server(installed: Installed) -> None:
    """The embedded server is installed from the wheel's files and starts."""
    code = (
        "from dataloader.embedded import EmbeddedServer\n"
        "from dataloader.couch import Address, Server\n"
        "with EmbeddedServer(None) as embedded:\n"
        "    print(Server(Address(embedded.url)).welcome().product)\n"
    )
    assert installed("python", "-c", code).stdout == "PouchDB Server\n"


THIRD_MODEL = """
from dataloader.records.models.base import Entry, Kind, Lookup, Marking, Model, Revoking
from dataloader.common.revision import Document


def _ticket(entry: Entry) -> Document:
    return {"_id": f"ticket-{entry.key}", "type": "ticket", "number": entry.key, "set": entry.preferences}


def _is_stopped(ticket: Document) -> bool:
    return "stopped" in ticket


def _stopped(ticket: Document, reason: str, _: str) -> Document:
    return {**ticket, "stopped": reason}


def _running(ticket: Document, _: str) -> Document:
    return {name: value for name, value in ticket.items() if name != "stopped"}


MODEL = Model(
    name="third",
    databases=("tickets",),
    kinds=(Kind("ticket", "tickets", lambda key: f"ticket-{key}", _ticket),),
    lookups=(Lookup("tickets", "findTicket", include_docs=False, kinds={"value": "ticket"}),),
    serves=lambda found: found["ticket"] is not None and not _is_stopped(found["ticket"]),
    misleads=lambda found: False,
    revoking=(Revoking("ticket", Marking(_is_stopped, _is_stopped, _stopped, _running)),),
)
"""
THIRD_VIEW = """
function findTicket(doc) {
    if (doc.type === "ticket") {
        emit(doc.number, doc);
    }
}
"""
THIRD_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://gpii.net/dataloader/schemas/third/ticket.schema.json",
    "type": "object",
    "required": ["_id", "type", "number", "set"],
}
THIRD_SNAPSET = {"flat": {"contexts": {"gpii-default": {"name": "Default preferences", "preferences": {}}}}}
THIRD_TERMS = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://gpii.net/dataloader/schemas/terms/third.schema.json",
    "type": "object",
}


@pytest.fixture
def third_model(environment: Path) -> Iterator[None]:
    """A document model ``third``, added only as new files in the installed package."""
    [package] = environment.glob("lib/python*/site-packages/dataloader")
    files = {
        package / "records" / "models" / "third.py": THIRD_MODEL,
        package / "records" / "views" / "third" / "tickets" / "views" / "findTicket.js": THIRD_VIEW,
        package / "data" / "schemas" / "third" / "ticket.schema.json": json.dumps(THIRD_SCHEMA),
        package / "data" / "snapsets" / "third" / "large.json5": json.dumps(THIRD_SNAPSET),
        package / "data" / "schemas" / "terms" / "third.schema.json": json.dumps(THIRD_TERMS),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    yield
    for path in files:
        rmtree(path.parent) if path.parent.name == "third" else path.unlink()


def test_new_model_needs_only_new_files(
    installed: Installed, third_model: None, server: Server, address: Address, prefix: str, credentials: dict[str, str],
    tmp_path: Path,
) -> None:  # fmt: skip
    """A model file, its view, schemas and a snapset are enough to load, verify and revoke cards."""
    tickets = server.database(f"{prefix}tickets")
    options = ("--url", address.url, "--environment", "ci", "--prefix", prefix, "--model", "third", "--json")
    try:
        assert installed("dataloader", "generate", "spring", "--cards", "5").code == 0
        manifest = tmp_path / "spring.batch.jsonl"
        loaded = installed("dataloader", "load", manifest, *options, env=credentials)
        assert (loaded.code, loaded.data.get("failed")) == (0, 0), loaded
        [*_, card] = read_manifest(manifest).cards()
        assert get(tickets, f"ticket-{card.uuid}")["number"] == card.uuid
        assert installed("dataloader", "verify", manifest, *options, env=credentials).data["verdicts"]["ok"] == 5
        assert installed("dataloader", "load", manifest, *options, env=credentials).data["created"] == 0
        revoke = ("revoke", manifest, *options, "--card", "5", "--reason", "lost", "--yes")
        assert installed("dataloader", *revoke, env=credentials).data["revoked"] == 1
        assert get(tickets, f"ticket-{card.uuid}")["stopped"] == "lost"
        verdicts = installed("dataloader", "verify", manifest, *options, env=credentials).data["verdicts"]
        assert (verdicts["ok"], verdicts["revoked"]) == (4, 1)
    finally:
        tickets.delete()


@pytest.mark.parametrize("name", model_names())
def test_source_tree_uses_its_top_level_data(name: str) -> None:
    """In a source tree, schemas, snapsets and samples are those at the top."""
    for kind in ("schemas", "samples"):
        assert data_dir(kind) == ROOT / kind
        assert (data_dir(kind) / name).is_dir()
    assert data_dir("snapsets") == ROOT / "snapsets"
