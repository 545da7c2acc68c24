"""The commands for getting started: ``init``, ``targets`` and ``config show``."""

from io import StringIO
from pathlib import Path

import pytest

from dataloader.common import ExitCode
from dataloader.couch import Address
from dataloader.target import read_targets
from tests.support.command import Command

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def written(here: Command, address: Address, credentials: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A target file that ``init`` wrote for the test's server."""
    for variable, value in credentials.items():
        monkeypatch.setenv(variable, value)
    done = here("init", "--url", address.url, "--environment", "ci", "--json")
    assert (done.code, done.data["ready"], done.data["target"]) == (ExitCode.OK, True, "ci")
    return Path("dataloader.toml")


def test_init_writes_a_target_file_that_works(here: Command, written: Path, address: Address) -> None:
    """Every command accepts the file; comments explain it."""
    assert read_targets(written) == {"ci": {"url": address.url, "environment": "ci", "model": "gpii-token"}}
    assert written.read_text("utf-8").count("\n# ") > 5
    assert here("check", "--target", "ci").code == ExitCode.OK


def test_init_never_overwrites(here: Command, written: Path) -> None:
    """An existing file is kept."""
    before = written.read_bytes()
    done = here("init", "--url", NOBODY, "--environment", "ci")
    assert (done.code, written.read_bytes()) == (ExitCode.FILE, before)
    assert "already exists" in done.stderr


def test_init_warns_of_a_target_that_is_not_ready(here: Command) -> None:
    """The file is written, and the problem with the server is reported."""
    done = here("init", "--url", NOBODY, "--environment", "staging", "--name", "rehearsal", "--model", "gpii-key")
    assert done.code == ExitCode.OK
    assert f"warning: {NOBODY}" in done.stderr
    assert [*read_targets(Path("dataloader.toml"))] == ["rehearsal"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--url: is required"),
        (("--url", NOBODY), "--environment: is required"),
        (("--url", "ftp://host", "--environment", "ci"), "the server's URL"),
    ],
)
def test_init_without_a_terminal_needs_options(here: Command, arguments: tuple[str, ...], says: str) -> None:
    """Nothing is written."""
    done = here("init", *arguments)
    assert (done.code, says in done.stderr, Path("dataloader.toml").exists()) == (ExitCode.USAGE, True, False)


@pytest.mark.parametrize("url", ["http://admin:secret@127.0.0.1:9", "http://admin@127.0.0.1:9"])
def test_init_refuses_a_log_in_in_the_url(here: Command, url: str) -> None:
    """The target file holds none, so it would be lost without a word; no password is repeated."""
    done = here("init", "--url", url, "--environment", "ci")
    assert (done.code, Path("dataloader.toml").exists()) == (ExitCode.USAGE, False)
    assert done.stderr.startswith(
        "error: the server's URL: contains a user or password (leave them out; set COUCHDB_USER"
    )
    assert "secret" not in done.stderr


def test_init_asks_again_after_a_wrong_answer(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is checked at once, so that a mistyped URL does not cost the other answers."""
    wrong = ["couch:5984/", "http://admin:secret@127.0.0.1:9", NOBODY, "gpii", "gpii-key", "prod", "production"]
    typed = StringIO("".join(f"{each}\n" for each in wrong))
    monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", typed)
    done = here("init")
    assert done.code == ExitCode.OK
    assert "the server's URL: is not the http or https URL of a server (write it as" in done.stderr
    assert "the server's URL: contains a user or password (leave them out" in done.stderr
    assert "'gpii': must be one of: gpii-token, gpii-key (did you mean gpii-key?)" in done.stderr
    assert "'prod': must be one of: development, ci, staging, production (did you mean production?)" in done.stderr
    expected = {"url": NOBODY, "model": "gpii-key", "environment": "production"}
    assert read_targets(Path("dataloader.toml")) == {"production": expected}


def test_init_writes_every_node_of_a_cluster(here: Command) -> None:
    """As --url does elsewhere."""
    nodes = [NOBODY, "http://127.0.0.1:10"]
    done = here("init", "--url", nodes[0], "--url", nodes[1], "--environment", "ci")
    assert done.stdout == f"wrote dataloader.toml: target ci at {', '.join(nodes)} (ci, gpii-token)\n"
    assert read_targets(Path("dataloader.toml"))["ci"]["url"] == nodes


def test_init_says_that_out_is_a_folder(here: Command, tmp_path: Path) -> None:
    """No target can be added to it with an editor."""
    done = here("init", "--url", NOBODY, "--environment", "ci", "--out", tmp_path)
    assert (done.code, done.stderr) == (ExitCode.FILE, f"error: {tmp_path}: this is a folder (name a new file in it)\n")


@pytest.mark.parametrize("name", ["my target", "a]b", "", "ä", "x\ny", '"'])
def test_init_refuses_a_name_that_a_target_cannot_have(here: Command, name: str) -> None:
    """No file that cannot be read is left behind; an empty name is the environment."""
    done = here("init", "--url", NOBODY, "--environment", "ci", "--name", name)
    if name:
        assert (done.code, Path("dataloader.toml").exists()) == (ExitCode.USAGE, False)
        assert "--name " in done.stderr
    else:
        assert [*read_targets(Path("dataloader.toml"))] == ["ci"]


@pytest.mark.parametrize("name", ["v1.2", "a_b-c", "2026"])
def test_init_writes_every_name_that_a_target_can_have(here: Command, name: str) -> None:
    """A dot does not make two tables."""
    assert here("init", "--url", NOBODY, "--environment", "ci", "--name", name).code == ExitCode.OK
    assert [*read_targets(Path("dataloader.toml"))] == [name]


def test_targets_shows_which_are_reachable(here: Command, written: Path, address: Address) -> None:
    """One answers, the other does not; with --offline, no request is made."""
    with written.open("a", encoding="utf-8") as stream:
        stream.write(f'[target.gone]\nurl = "{NOBODY}"\nenvironment = "staging"\nmodel = "gpii-key"\n')
    here_it_is, gone = here("targets", "--json").data["targets"]
    assert (here_it_is["name"], here_it_is["reachable"], here_it_is["urls"]) == ("ci", True, [address.url])
    assert (gone["name"], gone["environment"], gone["model"]) == ("gone", "staging", "gpii-key")
    assert (gone["reachable"], bool(gone["problem"])) == (False, True)
    offline = here("targets", "--offline", "--json").data["targets"]
    assert [sorted(each) for each in offline] == [["environment", "model", "name", "urls"]] * 2
    lines = here("targets").stdout.splitlines()
    assert lines[0].split() == ["target", "environment", "model", "server"]
    assert max(map(len, lines)) <= 80


def test_error_without_a_target_names_those_of_the_target_file(here: Command, written: Path) -> None:
    """One of them is probably meant."""
    assert f"targets in {written.name}: ci" in here("check").stderr


def test_config_show_names_the_source_of_each_value(
    here: Command, written: Path, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options, the target file, the environment and defaults; never the password."""

    def shown(*arguments: str) -> dict[str, tuple[str, str]]:
        done = here("config", "show", *arguments, "--json")
        assert done.code == ExitCode.OK
        assert (address.password or "nothing") not in done.stdout
        return {each["name"]: (each["value"], each["source"]) for each in done.data["settings"]}

    found = shown("--target", "ci")
    assert found["url"] == (address.url, "dataloader.toml, target ci")
    assert found["prefix"] == ("none", "default")
    assert found["password"] == ("set (not shown)", "COUCHDB_PASSWORD")
    assert found["user"][1] == "COUCHDB_USER"
    found = shown("--url", NOBODY, "--model", "gpii-key")
    assert found["model"] == ("gpii-key", "--model")
    assert found["environment"] == ("development", "default on this machine")
    with monkeypatch.context() as patch:
        patch.setenv("COUCHDB_USER", "eve")
        patch.delenv("COUCHDB_PASSWORD")
        found = shown("--url", NOBODY)
        assert (found["user"], found["password"]) == (("eve", "COUCHDB_USER"), ("none", "default"))
    monkeypatch.setenv("COUCHDB_URL", NOBODY)
    monkeypatch.setenv("DATALOADER_RETRIES", "2")
    found = shown()
    assert (found["url"], found["retries"]) == ((NOBODY, "COUCHDB_URL"), ("2", "DATALOADER_RETRIES"))
