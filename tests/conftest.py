"""Fixtures: a real server, a fresh prefix for each test, batches, the command line.

The server is the one at ``COUCHDB_URL`` if set (with an admin's user and password), otherwise an embedded one, started
here.
"""

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import couchdb.http
import pytest
from hypothesis import HealthCheck, settings

from dataloader.batch import Manifest, read_manifest
from dataloader.cli import run as run_command
from dataloader.common import CredentialsError
from dataloader.couch import Address, Server
from dataloader.embedded import EmbeddedServer
from dataloader.operations import Source, all_sources, generate
from dataloader.operations.generate import Batch
from dataloader.records import Snapsets, read_snapsets
from dataloader.records.models import DEFAULT_MODEL, get_model, model_names
from dataloader.target import Environment, Target, resolve
from dataloader.vendor.returned import workbook_file
from tests.support.command import Command, Completed, Process
from tests.support.forks import READ_AT_START, Forks, skip_slow_imports
from tests.support.marks import THOROUGH
from tests.support.office import PROGRAM, Office
from tests.support.proxy import Hook, Proxy
from tests.support.server import ADMIN, OUTSIDE_URL, PLAIN_USER, QUICK, SHARES, Proxied, put

LONGEST_NAME = 60
"""Characters of a value in the name of a case."""
LONG = {"office", "peak_memory"}
"""Fixtures of slow tests: LibreOffice, and processes whose memory is measured."""


# The same examples in each run, so that what has passed passes again; `make fuzz` and `make test-all` try new ones.
# A busy machine makes examples slowly, which is no failure.
for profile, is_same in (("same", True), ("new", False)):
    settings.register_profile(profile, derandomize=is_same, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("new" if "FUZZ_SECONDS" in os.environ else "same")
skip_slow_imports()
# Searching thousands of collected tests for garbage takes as long as collecting them.
gc.disable()
# A shell's background jobs and nohup ignore these signals, and commands started by the tests would, too.
for each, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, handler)


def pytest_collection_finish() -> None:
    """Collect garbage again, but only of what is created from now on."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the project's options."""
    parser.addoption(
        "--write-docs",
        action="store_true",
        help="write docs/faults.md and pictures of reports",
    )
    parser.addoption("--real-processes", action="store_true", help="start Python anew for each command, do not fork")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name a case after its value, in words, where pytest would number it."""
    what = argname.replace("_", " ")
    if isinstance(val, bool):
        return what if val else f"not {what}"
    if val is None:
        return f"no {what}"
    parts = [f"{name}={value}" for name, value in val.items()] if isinstance(val, dict) else val
    # The text of other objects may differ from process to process, as may the order of sets.
    if isinstance(parts, list | tuple) and all(isinstance(each, str | int | float) for each in parts):
        return " ".join(map(str, parts))[:LONGEST_NAME] or f"no {what}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to ``make test-all``: slow tests, and other models unless the test depends on the model."""
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if LONG & {*item.fixturenames}:
            item.add_marker(THOROUGH)
        # A test that names its model has its own mark for it.
        named = any("model_name" in mark.args[0] for mark in item.iter_markers("parametrize"))
        model = item.callspec.params.get("model_name") if hasattr(item, "callspec") else None
        if model not in {None, DEFAULT_MODEL} and not named and item.get_closest_marker("each_model") is None:
            item.add_marker(THOROUGH)


def stop_if_locked(address: Address) -> None:
    """Stop the tests if CouchDB has locked their account: each would fail without saying why."""
    try:
        Server(address, QUICK).user()
    except CredentialsError as error:
        if "locked out" in str(error):
            pytest.exit(
                f"the account {address.user} of the CouchDB at {address.url} is locked after wrong passwords; "
                "wait 5 minutes, or restart CouchDB, and run the tests again",
                returncode=1,
            )
        raise


@pytest.fixture(scope="session")
def address() -> Iterator[Address]:
    """The address of the server to test with, with an admin's credentials."""
    if OUTSIDE_URL:
        found = resolve(environment="ci").address
        stop_if_locked(found)
        yield found
        return
    with EmbeddedServer(None, admin=ADMIN, users=[PLAIN_USER]) as embedded:
        yield Address(embedded.url, *ADMIN)


@pytest.fixture(scope="session")
def server(address: Address) -> Server:
    """The server as the tool uses it, without waits between retries; its product is known."""
    server = Server(address, QUICK)
    server.welcome()
    return server


@pytest.fixture
def proxied(address: Address) -> Iterator[Proxied]:
    """Put a proxy in front of the server; called with a hook, it returns the server to use and the proxy."""
    with ExitStack() as stack:

        def make(hook: Hook) -> tuple[Server, Proxy]:
            proxy = stack.enter_context(Proxy(address.url, hook))
            return Server(replace(address, url=proxy.url, others=()), QUICK), proxy

        yield make


@pytest.fixture(scope="session")
def plain_user(server: Server) -> tuple[str, str]:
    """Name and password of a user who is not a server admin."""
    if OUTSIDE_URL:
        users = server.database("_users")
        if not users.exists():
            users.create()
        name, password = PLAIN_USER
        document = {"_id": f"org.couchdb.user:{name}", "name": name, "password": password, "roles": [], "type": "user"}
        with suppress(couchdb.http.ResourceConflict):
            # Created by an earlier run.
            put(users, document)
    return PLAIN_USER


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the machine's settings and target files from the environment of each test."""
    for name in list(os.environ):
        if name.startswith("COUCHDB_") or (name.startswith("DATALOADER_") and name != "DATALOADER_CACHE_DIR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setenv("DATALOADER_RETRY_WAIT", "0")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=model_names())
def model_name(request: pytest.FixtureRequest) -> str:
    """Each document model in turn."""
    name: str = request.param
    return name


@pytest.fixture
def prefix(server: Server) -> Iterator[str]:
    """A prefix that no other test uses; its databases are deleted afterwards."""
    prefix = f"test-{uuid4().hex[:12]}-"
    yield prefix
    for name in {database for model in model_names() for database in get_model(model).databases}:
        server.database(f"{prefix}{name}").delete()


@pytest.fixture
def target(address: Address, model_name: str, prefix: str) -> Target:
    """A target for one test, with each model."""
    return Target(address, get_model(model_name), Environment.CI, prefix)


@pytest.fixture(scope="session")
def snapsets() -> Snapsets:
    """The built-in snapsets."""
    return read_snapsets()


@pytest.fixture(scope="session")
def minted(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """The batch that is copied for each test's ``batch``."""
    return generate("spring", SHARES, tmp_path_factory.mktemp("minted"))


@pytest.fixture
def batch(minted: Batch, tmp_path: Path) -> Batch:
    """A batch of twelve cards over three snapsets, in a folder of its own."""
    folder = shutil.copytree(minted.workbook.parent, tmp_path / "batches")
    return Batch(read_manifest(folder / minted.manifest.path.name), folder / minted.workbook.name)


@pytest.fixture(scope="session")
def given_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is copied for each test's ``given``."""
    folder = tmp_path_factory.mktemp("given_folder")
    (folder / "snapsets").mkdir()
    snapset = {"flat": {"name": "Nothing", "contexts": {"gpii-default": {"name": "Default", "preferences": {}}}}}
    (folder / "snapsets" / "nothing.json5").write_text(json.dumps(snapset))
    generate("small", {"nothing": 3, "empty": 2}, folder)
    return folder


@pytest.fixture
def given(given_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A manifest of five cards and a folder with one snapset, which are faster to read than the built-in ones.

    Each test has its own copy: revoking a card writes a list next to the manifest, which later loads obey.
    """
    folder = shutil.copytree(given_folder, tmp_path_factory.mktemp("given"), dirs_exist_ok=True)
    return folder / "small.batch.jsonl", folder / "snapsets"


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """LibreOffice, to open and save workbooks."""
    if PROGRAM is None:
        pytest.skip("LibreOffice (soffice) is not installed")
    office = Office(tmp_path_factory.mktemp("office"))
    office.start()
    return office


@pytest.fixture
def manifest(batch: Batch) -> Manifest:
    """The manifest of the batch."""
    return batch.manifest


@pytest.fixture
def sources(target: Target, manifest: Manifest, snapsets: Snapsets) -> list[Source]:
    """Everything that a load of the batch writes to the target."""
    return all_sources(target, [manifest], snapsets)


@pytest.fixture(scope="session")
def forks(request: pytest.FixtureRequest) -> Iterator[Forks | None]:
    """Start commands by forking, unless ``--real-processes`` is given."""
    if request.config.getoption("--real-processes"):
        yield None
        return
    with Forks() as forks:
        yield forks


@pytest.fixture(scope="session", autouse=True)
def open_workbooks(forks: Forks | None) -> Iterator[None]:
    """Open workbooks by forking, too; see ``forks``."""
    with pytest.MonkeyPatch.context() as patch:
        if forks is not None:
            patch.setattr(workbook_file, "_start", forks.open_workbook)
        yield


@pytest.fixture
def new_process(tmp_path: Path) -> Command:
    """Run the command line in a new Python process; ``command`` is usually faster."""

    def run(
        *arguments: object, env: dict[str, str] | None = None, cwd: Path = tmp_path, timeout: float = 120
    ) -> Completed:
        process = subprocess.run(
            [sys.executable, "-m", "dataloader", *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )
        return Completed(process.returncode, process.stdout, process.stderr)

    return run


@pytest.fixture
def command(tmp_path: Path, forks: Forks | None, new_process: Command) -> Command:
    """Run the command line as a process: ``command("load", path, env={…})``."""

    def run(
        *arguments: object, env: dict[str, str] | None = None, cwd: Path = tmp_path, timeout: float = 120
    ) -> Completed:
        if forks is None or any(name.startswith(READ_AT_START) for name in env or ()):
            return new_process(*arguments, env=env, cwd=cwd, timeout=timeout)
        return forks.run([*map(str, arguments)], {**os.environ, **(env or {})}, cwd, timeout)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """Start a command as a process for the test to interact with: ``process("serve")``; it stops with the test."""
    with ExitStack() as stack:

        def start(*arguments: object, env: dict[str, str] | None = None, **options: Any) -> "subprocess.Popen[str]":
            started: subprocess.Popen[str] = subprocess.Popen(
                [sys.executable, "-m", "dataloader", *map(str, arguments)],
                **{
                    "stdin": subprocess.DEVNULL,
                    "stdout": subprocess.PIPE,
                    "stderr": subprocess.PIPE,
                    "text": True,
                    "cwd": tmp_path,
                    "env": {**os.environ, **(env or {})},
                    **options,
                },
            )
            stack.callback(_end, started)
            return started

        yield start


def _end(started: "subprocess.Popen[str]") -> None:
    if started.poll() is None:
        started.kill()
    started.communicate(timeout=30)


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process, which is faster than ``command``; it uses this process's settings."""

    def run(*arguments: object) -> Completed:
        capsys.readouterr()
        code = run_command([*map(str, arguments)])
        captured = capsys.readouterr()
        return Completed(code, captured.out, captured.err)

    return run


_MEASURE = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
_, status, usage = os.wait4(child.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture
def peak_memory(tmp_path: Path) -> Callable[..., int]:
    """Run Python code in a new process, and return its peak memory: ``peak_memory(code, *args)``.

    A process inherits the peak of its parent, so a small one is started in between. The unit depends on the system;
    compare two runs.
    """

    def run(code: str, *arguments: object) -> int:
        process = subprocess.run(
            [sys.executable, "-I", "-c", _MEASURE, code, *map(str, arguments)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            timeout=120,
        )
        return int(process.stdout.splitlines()[-1])

    return run


@pytest.fixture
def credentials(address: Address) -> dict[str, str]:
    """Environment variables with the admin's credentials."""
    if address.user is None:
        return {}
    return {"COUCHDB_USER": address.user, "COUCHDB_PASSWORD": address.password or ""}


@pytest.fixture
def on_target(target: Target) -> list[str]:
    """The command line options for the test's target."""
    return [
        *("--url", target.address.url),
        *("--model", target.model.name),
        *("--environment", target.environment.value),
        *("--prefix", target.prefix),
    ]


@pytest.fixture
def run(command: Command, on_target: list[str], credentials: dict[str, str], target: Target) -> Command:
    """Run a command on the test's target: ``run("load", path)``, or ``run("load", path, url=proxy.url)``."""

    def run(*arguments: object, url: str = target.address.url, env: dict[str, str] | None = None) -> Completed:
        name, *others = arguments
        options = [url if option == target.address.url else option for option in on_target]
        return command(name, *options, *others, env={**credentials, **(env or {})})

    return run


@pytest.fixture
def run_here(
    here: Command, on_target: list[str], credentials: dict[str, str], target: Target, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run a command on the test's target like ``run``, but in this process, which is faster."""

    def run(*arguments: object, url: str = target.address.url, env: dict[str, str] | None = None) -> Completed:
        name, *others = arguments
        options = [url if option == target.address.url else option for option in on_target]
        with monkeypatch.context() as patch:
            for variable, value in {**credentials, **(env or {})}.items():
                patch.setenv(variable, value)
            return here(name, *options, *others)

    return run
