"""The views that the servers query: which documents appear in each, with which key and value."""

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dataloader.common import explain, views_dir
from dataloader.couch import Database, Server
from dataloader.embedded import find_node
from dataloader.operations import design_sources, load
from dataloader.records.models import get_model, model_names
from dataloader.records.views import DESIGN_SCHEMA, design_documents, map_function
from dataloader.target import Environment, Target
from tests.support.records import VIEWS
from tests.support.server import databases, get

Json = dict[str, Any]


def whole(document: Json) -> Json:
    """Return the whole document as the value."""
    return document


@dataclass(frozen=True, slots=True)
class View:
    """One line of the contract with the servers."""

    types: tuple[str, ...] | None
    """Types of the documents that appear; None for every type."""
    key: Callable[[Json], Any]
    value: Callable[[Json], Any] = whole
    active: bool = False
    """Only documents whose ``revoked`` is false, not true or missing."""
    only: Callable[[Json], Any] = lambda _: True
    """Other conditions for a document to appear."""

    def row(self, document: Json) -> tuple[Any, Any] | None:
        """Return key and value for a document that must appear, otherwise None."""
        appears = (
            (self.types is None or document.get("type") in self.types)
            and (not self.active or document.get("revoked", None) is False)
            and self.only(document)
        )
        return (self.key(document), self.value(document)) if appears else None


def types(*names: str) -> tuple[str, ...]:
    """Return types."""
    return names


def member(name: str) -> Callable[[Json], Any]:
    """Return a function that gets a member of a document, null if missing."""
    return lambda document: document.get(name)


def without_none(**members: Any) -> Json:
    """Return an object of the members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


_GRANTS = types("onboardedSolutionAuthorization", "webPrefsConsumerAuthorization")
_PRIVILEGED = types("privilegedPrefsCreatorAuthorization")
_EXPIRES = {"2020-11-23T00:00:00.000Z": 1606089600000, "2030-01-01T12:30:00.500Z": 1893501000500}

CONTRACT = {
    "gpii-token": {
        "findUserByName": View(types("user"), member("name"), only=member("name")),
        "findGpiiToken": View(types("gpiiToken"), member("gpiiToken")),
        "findUserByGpiiToken": View(types("gpiiToken"), member("gpiiToken"), lambda d: {"_id": d["userId"]}),
        "findClientByOauth2ClientId": View(
            types("gpiiAppInstallationClient", "privilegedPrefsCreatorClient", "webPrefsConsumerClient"),
            member("oauth2ClientId"),
        ),
        "findClientBySolutionId": View(types("onboardedSolutionClient"), member("solutionId")),
        "findUserAuthorizableClients": View(types("onboardedSolutionClient", "webPrefsConsumerClient"), member("_id")),
        "findUserAuthorizationsByGpiiToken": View(_GRANTS, member("gpiiToken"), active=True),
        "findWebPrefsConsumerAuthorization": View(
            types("webPrefsConsumerAuthorization"),
            lambda d: [d["gpiiToken"], d["clientId"], d["redirectUri"]],
            active=True,
        ),
        "findWebPrefsConsumerAuthorizationByAuthCode": View(
            types("authCode"), member("code"), lambda d: {"_id": d["authorizationId"]}
        ),
        "findOnboardedSolutionAuthorization": View(
            types("onboardedSolutionAuthorization"), lambda d: [d["gpiiToken"], d["clientId"]], active=True
        ),
        "findUserAuthorizedAuthorizationById": View(_GRANTS, member("_id")),
        "findUserAuthorizedClientsByGpiiToken": View(
            _GRANTS,
            member("gpiiToken"),
            lambda d: {"_id": d["clientId"], "selectedPreferences": d["selectedPreferences"]},
            active=True,
        ),
        "findPrivilegedPrefsCreatorAuthorizationById": View(_PRIVILEGED, member("_id")),
        "findPrivilegedPrefsCreatorAuthorizationByClientId": View(_PRIVILEGED, member("clientId"), active=True),
        "findAuthorizationByAccessToken": View(
            types(
                "gpiiAppInstallationAuthorization",
                "privilegedPrefsCreatorAuthorization",
                "webPrefsConsumerAuthorization",
            ),
            member("accessToken"),
            lambda d: {"_id": d["clientId"], "authorization": d},
            active=True,
        ),
    },
    "gpii-key": {
        "findPrefsSafeByGpiiKey": View(
            types("gpiiKey"), member("_id"), lambda d: without_none(gpiiKey=d, _id=d.get("prefsSafeId"))
        ),
        "findClientByOauth2ClientId": View(
            types("clientCredential"),
            member("oauth2ClientId"),
            lambda d: without_none(clientCredential=d, _id=d.get("clientId")),
            active=True,
        ),
        "findInfoByAccessToken": View(
            types("gpiiAppInstallationAuthorization"),
            member("accessToken"),
            lambda d: without_none(authorization=d, _id=d.get("clientCredentialId")),
            active=True,
        ),
        "findSnapsetPrefsSafes": View(
            types("prefsSafe"), member("_id"), only=lambda d: d.get("prefsSafeType") == "snapset"
        ),
        "findAllGpiiKeys": View(types("gpiiKey"), member("_id")),
        "findAccessTokenByExpires": View(
            types("gpiiAppInstallationAuthorization"), lambda d: _EXPIRES.get(d.get("timestampExpires", ""))
        ),
        "findDocsBySchemaVersion": View(None, member("schemaVersion")),
    },
}
"""The tables of the records in a form that people can read and tests can run."""

ALL_TYPES = {
    "gpii-token": [
        *("user", "gpiiToken", "authCode"),
        *("gpiiAppInstallationClient", "onboardedSolutionClient"),
        *("privilegedPrefsCreatorClient", "webPrefsConsumerClient"),
        *("gpiiAppInstallationAuthorization", "onboardedSolutionAuthorization"),
        *("privilegedPrefsCreatorAuthorization", "webPrefsConsumerAuthorization"),
        *("gpiiKey", "User", "other"),
    ],
    "gpii-key": [
        *("gpiiKey", "prefsSafe", "gpiiAppInstallationClient", "clientCredential"),
        *("gpiiAppInstallationAuthorization", "user", "gpiiToken", "GpiiKey", "other"),
    ],
}
REVOKED: list[Json] = [
    {"revoked": False},
    {"revoked": True},
    {},
    {"revoked": None},
    {"revoked": "false"},
    {"revoked": 0},
]


def everything(number: int) -> Json:
    """Return every member that any view looks at, whatever the type of the document."""
    return {
        "name": f"name-{number}",
        "gpiiToken": f"token-{number}",
        "userId": f"linked-{number % 2}",
        "oauth2ClientId": f"oauth-{number}",
        "solutionId": f"solution-{number}",
        "clientId": f"linked-{number % 2}",
        "redirectUri": f"http://localhost/{number}",
        "code": f"code-{number}",
        "authorizationId": f"linked-{number % 2}",
        "selectedPreferences": {"": number % 3 == 0, "increase-size": True},
        "accessToken": f"access-{number}",
        "prefsSafeId": f"linked-{number % 2}",
        "clientCredentialId": f"linked-{number % 2}",
        "prefsSafeType": "snapset",
        "schemaVersion": f"0.{number % 3}",
        "timestampExpires": list(_EXPIRES)[number % 2],
    }


def population(model: str) -> Iterator[Json]:
    """Yield documents: each type, revoked or not in each way, then with members missing."""
    number = 0
    for kind, revoked in product(ALL_TYPES[model], REVOKED):
        yield {"_id": f"doc-{number:03}", "type": kind, **everything(number), **revoked}
        number += 1
    less: list[Json] = [
        {"type": "user", "name": None},
        {"type": "user", "name": ""},
        {"type": "user", "name": "missing"},
        {"type": "gpiiKey", "prefsSafeId": None},
        {"type": "gpiiKey", "prefsSafeId": "missing"},
        {"type": "clientCredential", "clientId": None, "revoked": False},
        {"type": "clientCredential", "clientId": "missing", "revoked": False},
        {"type": "gpiiAppInstallationAuthorization", "clientCredentialId": None, "revoked": False},
        {"type": "gpiiAppInstallationAuthorization", "clientCredentialId": "missing", "revoked": False},
        {"type": "gpiiAppInstallationAuthorization", "timestampExpires": "missing"},
        {"type": "prefsSafe", "prefsSafeType": "user"},
        {"type": "prefsSafe", "prefsSafeType": "Snapset"},
        {"type": "prefsSafe", "prefsSafeType": "missing"},
        {"type": "other", "schemaVersion": "missing"},
        {"type": "missing"},
        {"type": None},
        {"type": ["user", "gpiiKey"]},
    ]
    for members in less:
        document = {"_id": f"doc-{number:03}", **everything(number), **members}
        yield {name: value for name, value in document.items() if value != "missing"}
        number += 1
    # Linked documents; linked-1 is missing.
    yield {"_id": "linked-0", "type": "leads nowhere"}


@dataclass(frozen=True, slots=True)
class Populated:
    """A database with the views, and what is in it."""

    database: Database
    documents: dict[str, Json]
    model: str


@pytest.fixture(scope="module", params=model_names())
def populated(request: pytest.FixtureRequest, server: Server) -> Iterator[Populated]:
    """A database of a model, with its views and documents of every kind; read-only, so it is shared."""
    model = get_model(request.param)
    target = Target(server.address, model, Environment.CI, f"test-{uuid4().hex[:12]}-")
    try:
        load(server, target, design_sources(model))
        database = databases(server, target)[model.databases[-1]]
        documents = list(population(model.name))
        database._resource.post("_bulk_docs", body={"docs": documents}, w="3")
        yield Populated(database, {each["_id"]: get(database, each["_id"]) for each in documents}, model.name)
    finally:
        for each in databases(server, target).values():
            each.delete()


def query(database: Database, view: str, **options: Any) -> list[Json]:
    """Query a view by GET, as the servers do."""
    asked = {name: json.dumps(value) for name, value in options.items()}
    _, _, data = database._resource.get(["_design", "views", "_view", view], **asked)
    rows: list[Json] = json.loads(data.read())["rows"]
    return rows


@pytest.mark.parametrize("model", model_names())
def test_views_are_those_of_the_contract(model: str) -> None:
    """Each model has one design document, in one database, with exactly the view names that the servers use."""
    found = {name: design_documents(get_model(model), name) for name in get_model(model).databases}
    assert {name: [each["_id"] for each in documents] for name, documents in found.items() if documents} == {
        {"gpii-token": "auth", "gpii-key": "gpii"}[model]: ["_design/views"]
    }
    [document] = [each for documents in found.values() for each in documents]
    assert set(document["views"]) == VIEWS[model] == set(CONTRACT[model])
    assert document["language"] == "javascript"
    assert explain(DESIGN_SCHEMA, document) == []


def test_views_find_exactly_the_right_documents(populated: Populated) -> None:
    """All rows of every view, for documents of every type, revoked or not, complete or not: exact keys and values."""
    for name, view in CONTRACT[populated.model].items():
        expected = {
            doc_id: row for doc_id, document in populated.documents.items() if (row := view.row(document)) is not None
        }
        assert expected
        assert len(expected) < len(populated.documents) or view.types is None
        found = query(populated.database, name)
        assert {row["id"]: (row["key"], row["value"]) for row in found} == expected, name
        assert len(found) == len(expected), name


def test_views_return_linked_documents_by_key(populated: Populated) -> None:
    """A query by key returns that key's rows; if a value names a document, it is included."""
    led: set[str] = set()
    for name, view in CONTRACT[populated.model].items():
        rows = [
            (doc_id, row) for doc_id, document in populated.documents.items() if (row := view.row(document)) is not None
        ]
        for key in {json.dumps(row[0]): row[0] for _, row in rows[:2] + rows[-2:]}.values():
            expected = {}
            for doc_id, (each, value) in rows:
                if each == key:
                    # Without an _id in the value, it is the document itself.
                    linked = value.get("_id", doc_id)
                    expected[doc_id] = (value, populated.documents.get(linked))
                    led.add(linked)
            found = query(populated.database, name, key=key, include_docs=True)
            assert {row["id"]: (row["value"], row["doc"]) for row in found} == expected, (name, key)
        assert query(populated.database, name, key="nobody's") == []
    # One document that exists and one that does not.
    assert led & {"linked-0", "linked-1"} == {"linked-0", "linked-1"}
    assert set(populated.documents) & {"linked-0", "linked-1"} == {"linked-0"}


FILES = sorted(views_dir().rglob("*.js"))


def test_every_view_has_a_file() -> None:
    """The files are exactly the views of the contract, in the folders of their model, database and design document."""
    found = {path.relative_to(views_dir()).as_posix() for path in FILES}
    assert found == {f"gpii-token/auth/views/{name}.js" for name in VIEWS["gpii-token"]} | {
        f"gpii-key/gpii/views/{name}.js" for name in VIEWS["gpii-key"]
    }


def test_view_files_run_alone_and_as_stored() -> None:
    """A file declares one function named after it; stored is that function, anonymous and without comment."""
    script = """
        const vm = require('node:vm');
        const views = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
        const found = views.map(({name, file, stored}) => {
            const rows = [];
            const context = vm.createContext({emit: (key, value) => rows.push([key, value])});
            vm.runInContext(file, context);
            const declared = vm.runInContext(`typeof ${name} === 'function' && ${name}.length`, context);
            const map = vm.runInContext(`(${stored})`, context);
            map({_id: 'nothing that a view looks for', type: 'nothing'});
            return {name, declared, unnamed: map.name === '', length: map.length, globals: Object.keys(context), rows};
        });
        console.log(JSON.stringify(found));
    """
    views = [{"name": path.stem, "file": path.read_text("utf-8"), "stored": map_function(path)} for path in FILES]
    done = subprocess.run(
        [*find_node().node, "-e", script], input=json.dumps(views), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert [each["name"] for each in found] == [path.stem for path in FILES]
    for each in found:
        assert (each["declared"], each["unnamed"], each["length"]) == (1, True, 1), each["name"]
        assert sorted(each["globals"]) == sorted(["emit", each["name"]]), each["name"]
        by_all = [[None, {"_id": "nothing that a view looks for", "type": "nothing"}]]
        assert each["rows"] == (by_all if each["name"] == "findDocsBySchemaVersion" else []), each["name"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-4]}-{path.stem}")
def test_view_files_say_who_queries_them(path: Path) -> None:
    """A comment at the top says who queries by which key. It is not stored; the function has no comments."""
    text = path.read_text("utf-8")
    assert text.startswith("// ")
    assert "//" not in map_function(path)
    assert "/*" not in text
    assert map_function(path).startswith("function (doc) {\n")


def test_views_readme_lists_every_view() -> None:
    """Each view has a row in its model's table that says why it exists."""
    text = (views_dir() / "README.md").read_text("utf-8")
    sections = {part.partition("`")[0]: part.partition("\n## ")[0] for part in text.split("\n## Model `")[1:]}
    for model, names in VIEWS.items():
        rows = [line.split("|")[1].strip() for line in sections[model].splitlines() if line.startswith("| find")]
        assert set(rows) == names
        assert len(rows) == len(names)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("function find(doc) {\n    emit(1);\n}\n", "function (doc) {\n    emit(1);\n}"),
        ("// Who asks.\n// And why.\nfunction find(doc) {\n    emit(1);\n}\n", "function (doc) {\n    emit(1);\n}"),
        ("// Who asks.\r\nfunction find(doc) {\r\n    emit(1);\r\n}\r\n", "function (doc) {\n    emit(1);\n}"),
        ("\n\nfunction  find (doc) {\n    emit(1);\n}", "function (doc) {\n    emit(1);\n}"),
    ],
    ids=["bare", "comment", "Windows line ends", "blanks"],
)
def test_comments_and_line_ends_do_not_change_stored_views(tmp_path: Path, text: str, stored: str) -> None:
    """Editing a comment, or a checkout on Windows, does not rebuild indexes."""
    path = tmp_path / "find.js"
    path.write_bytes(text.encode())
    assert map_function(path) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "// Only a comment.\n",
        "function other(doc) {\n    emit(1);\n}\n",
        "var find = function (doc) {\n    emit(1);\n};\n",
        "(function (doc) {\n    emit(1);\n})\n",
        "function find(doc) {\n    emit(1);\n}\nfind({});\n",
        "var a = 1;\nfunction find(doc) {\n    emit(a);\n}\n",
    ],
)
def test_invalid_view_file_is_rejected(tmp_path: Path, text: str) -> None:
    """A file must contain one function named after the file."""
    path = tmp_path / "find.js"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"find\.js must hold one function named find"):
        map_function(path)
