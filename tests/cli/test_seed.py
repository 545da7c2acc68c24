"""The command ``seed``: printing log-ins."""

from pathlib import Path

from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import TOKEN_MODEL
from tests.support.server import databases, get


@TOKEN_MODEL
def test_seed_prints_the_log_ins(run_here: Command, server: Server, target: Target, given: tuple[Path, Path]) -> None:
    """As a table, as JSON and as an environment file; the users exist in the database."""
    call = ("seed", "--snapsets", given[1], "--users", "2")
    done = run_here(*call, "--json", "--env-file", "users.env")
    assert (done.code, done.stderr) == (ExitCode.OK, "")
    first, second = done.data["users"]
    assert get(databases(server, target)["auth"], f"user-{first['key']}")["name"] == first["name"]
    assert Path("users.env").stat().st_mode & 0o077 == 0
    lines = dict(line.split("=", 1) for line in Path("users.env").read_text().splitlines())
    assert lines["GPII_USER_2_NAME"] == second["name"]
    assert lines["GPII_USER_1_PASSWORD"].strip("'") == first["password"]
    shown = run_here(*call).stdout.splitlines()
    [heads] = [at for at, line in enumerate(shown) if line.split() == ["name", "password", "email", "key"]]
    assert shown[heads + 1].split()[:3] == [first["name"], first["password"], first["email"]]


@TOKEN_MODEL
def test_seed_never_overwrites_an_environment_file(run_here: Command, given: tuple[Path, Path]) -> None:
    """An existing file is kept."""
    Path("users.env").write_text("mine")
    done = run_here("seed", "--snapsets", given[1], "--users", "1", "--env-file", "users.env")
    assert (done.code, Path("users.env").read_text()) == (ExitCode.FILE, "mine")
