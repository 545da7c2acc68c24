"""Loading documents from files: their database and schema by type, and what protected targets refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.target import Target
from tests.support.command import Command
from tests.support.marks import TOKEN_MODEL
from tests.support.server import snapshot

CARD = "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21"
TOKEN = {"_id": f"gpiiToken-{CARD}", "type": "gpiiToken", "gpiiToken": CARD, "userId": None}
FLAT = {"name": "n", "contexts": {"gpii-default": {"name": "d", "preferences": {}}}}
PREFERENCES = {"_id": CARD, "value": {"flat": FLAT}}
CLIENT = {
    "_id": "client-1",
    "type": "gpiiAppInstallationClient",
    "name": "A",
    "oauth2ClientId": "a",
    "oauth2ClientSecret": "b",
}
USER = {"_id": "user-a", "type": "user", "name": "a", "password": "secret-of-a", "defaultGpiiToken": CARD}


def write(path: Path, data: Any) -> Path:
    """Write a file."""
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


@TOKEN_MODEL
def test_documents_go_to_the_database_of_their_type(
    run_here: Command, server: Server, target: Target, tmp_path: Path
) -> None:
    """Arrays and ``{"docs": […]}``, JSON and JSON5, files and folders; a second load changes nothing."""
    folder = tmp_path / "documents"
    folder.mkdir()
    write(folder / "one.json", [TOKEN, PREFERENCES])
    write(folder / "two.json5", "{docs: [" + json.dumps(CLIENT) + "], /* a comment */}")
    done = run_here("load", "--documents", folder, "--environment", "production")
    assert done.code == ExitCode.OK, done.stderr
    stored = snapshot(server, target)
    assert set(stored["preferences"]) == {CARD}
    assert {TOKEN["_id"], "client-1"} <= set(stored["auth"])
    again = run_here("load", "--documents", folder, "--environment", "production", "--json")
    assert (again.code, again.data["created"]) == (ExitCode.OK, 0)


@TOKEN_MODEL
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_passwords_are_refused_on_protected_targets(
    run_here: Command, server: Server, target: Target, tmp_path: Path, environment: str
) -> None:
    """Nothing is written, and the password is not repeated; a development target accepts it."""
    path = write(tmp_path / "users.json", [TOKEN, USER])
    done = run_here("load", "--documents", path, "--environment", environment)
    assert done.code == ExitCode.PROTECTED
    assert f"{path}, document 2, a user with a password or secret, at {target.address.url}: never in" in done.stderr
    assert "secret-of-a" not in done.stderr
    assert not any(server.database(target.database(each)).exists() for each in target.model.databases)
    assert run_here("load", "--documents", path).code == ExitCode.OK


@TOKEN_MODEL
@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([{"_id": "a", "type": "gpiToken"}], 'model gpii-token has no type "gpiToken" (did you mean gpiiToken?)'),
        ([{"_id": "a", "type": "../files/snapset"}], "has no type"),
        ([{"type": "gpiiToken"}], "document 1: is not a document: it has no _id"),
        ([TOKEN, TOKEN], "document 2: has the same _id as "),
        ([{**TOKEN, "extra": 1}], "document 1"),
        ({"documents": []}, "is not an array of documents"),
        ("[", "is not JSON5"),
    ],
)
def test_invalid_documents_are_reported(
    run_here: Command, server: Server, target: Target, tmp_path: Path, data: Any, says: str
) -> None:
    """The error names the file, the document and the rule, and nothing is written."""
    path = write(tmp_path / "documents.json", data)
    done = run_here("load", "--documents", path)
    assert done.code == ExitCode.INPUT
    assert str(path) in done.stderr
    assert says in done.stderr
    assert not any(server.database(target.database(each)).exists() for each in target.model.databases)
