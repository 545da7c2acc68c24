"""The schemas are valid themselves, and accept and reject the right data."""

import copy
import json
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dataloader.common import data_dir, explain, has_schema, is_valid, views_dir
from dataloader.common.schemas import schemas
from dataloader.records.models import get_model, model_names
from tests.support.marks import THOROUGH

BASE = "https://gpii.net/dataloader/schemas/"
FOLDER = data_dir("schemas")
SCHEMAS: dict[str, dict[str, Any]] = {
    path.relative_to(FOLDER).as_posix().removesuffix(".schema.json"): json.loads(path.read_text("utf-8"))
    for path in sorted(FOLDER.rglob("*.schema.json"))
}
EXAMPLES = [(name, at) for name, schema in SCHEMAS.items() for at in range(len(schema["examples"]))]
# Objects that may have additional members, by their paths in an example.
TOLERANT = {
    "common/preference-set": {"flat", "flat.contexts.gpii-default", "flat.contexts.turn-down-light"},
    "common/tombstone": {"document", "kept.preferences"},
    "files/sample-data": {"0"},
    "files/snapset": {"flat", "flat.contexts.gpii-default"},
    "gpii-key/prefsSafe": {"preferences.flat", "preferences.flat.contexts.gpii-default"},
    "terms/gpii-key": {""},
    "terms/gpii-token": {""},
    "gpii-token/preferences": {"value.flat", "value.flat.contexts.gpii-default"},
}

Place = tuple[str | int, ...]
PROPERTY = settings(deadline=None, max_examples=100)


def example(name: str, at: int = 0) -> Any:
    """Return a copy of a schema's example, to be modified."""
    return copy.deepcopy(SCHEMAS[name]["examples"][at])


def places(data: Any, path: Place = ()) -> Iterator[Place]:
    """Yield the path of each value in data, starting with the root."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def at_path(data: Any, path: Place) -> Any:
    """Return the value at a path."""
    for part in path:
        data = data[part]
    return data


def changed(data: Any, path: Place, value: Any) -> Any:
    """Return data with the value at a path replaced."""
    if not path:
        return value
    data = copy.deepcopy(data)
    at_path(data, path[:-1])[path[-1]] = value
    return data


def without(data: Any, path: Place) -> Any:
    """Return data with the value at a path removed."""
    data = copy.deepcopy(data)
    del at_path(data, path[:-1])[path[-1]]
    return data


def rejected(name: str, data: Any) -> list[str]:
    """Check that both validators reject data, and return the explanation."""
    assert not is_valid(name)(data)
    rules = explain(name, data)
    assert rules
    return rules


def described(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield the properties of a schema, at any level, that have no description."""
    for key, value in schema.items():
        if key in {"examples", "enum", "const", "default"}:
            continue
        if key in {"properties", "patternProperties"}:
            yield from (
                f"{path}.{name}" for name, each in value.items() if not each.get("description") and "$ref" not in each
            )
        for inner in [value] if isinstance(value, dict) else value if isinstance(value, list) else []:
            if isinstance(inner, dict):
                yield from described(inner, f"{path}.{key}")


def references(schema: Any) -> Iterator[str]:
    """Yield every reference in a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


# The schemas themselves.


def test_every_schema_is_found_by_name() -> None:
    """Every file in the folder is available under its path."""
    assert sorted(schemas()) == sorted(SCHEMAS)
    assert all(has_schema(name) for name in SCHEMAS)
    assert not has_schema("files/nothing")
    with pytest.raises(KeyError):
        is_valid("files/nothing")


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid_and_documented(name: str) -> None:
    """Each follows the 2020-12 meta-schema, is named after its file, and has title, description and examples."""
    schema = SCHEMAS[name]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"{BASE}{name}.schema.json"
    for text in (schema["title"], schema["description"]):
        assert text.strip() == text != ""
    assert schema["examples"]
    assert list(described(schema)) == []


def test_schema_titles_are_unique() -> None:
    """No two schemas have the same title."""
    assert len({schema["title"] for schema in SCHEMAS.values()}) == len(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_references_stay_in_the_folder(name: str) -> None:
    """Every reference is relative and resolves to an existing schema: nothing is ever fetched."""
    for reference in references(SCHEMAS[name]):
        assert "://" not in reference
        url, fragment = urldefrag(urljoin(SCHEMAS[name]["$id"], reference))
        target: Any = SCHEMAS[url.removeprefix(BASE).removesuffix(".schema.json")]
        for part in fragment.split("/")[1:]:
            target = target[part]
        assert isinstance(target, dict)


@pytest.mark.parametrize("model", model_names())
def test_every_document_kind_has_a_schema(model: str) -> None:
    """What a model writes or has views for is described, in the folder named after the model."""
    assert all(has_schema(f"{model}/{kind.name}") for kind in get_model(model).kinds)
    assert (views_dir() / model).is_dir()
    samples = {path.parent.name for path in data_dir("samples").glob("*/*.json5")} - {"personas"}
    assert model in samples


def test_schemas_readme_lists_every_folder() -> None:
    """The README says which folder has which schemas."""
    readme = (FOLDER / "README.md").read_text("utf-8")
    assert all(f"| `{folder.name}/` |" in readme for folder in FOLDER.iterdir() if folder.is_dir())


# What they accept.


@pytest.mark.parametrize(("name", "at"), EXAMPLES)
def test_schema_examples_are_valid(name: str, at: int) -> None:
    """Both validators accept a schema's own examples."""
    assert is_valid(name)(example(name, at))
    assert explain(name, example(name, at)) == []


@pytest.mark.parametrize("path", sorted((data_dir("samples")).glob("**/*.json")), ids=lambda path: path.name)
def test_sample_installer_file_is_valid(path: Path) -> None:
    """The sample file for a site's installer matches its schema."""
    assert explain("files/site-credentials", json.loads(path.read_text("utf-8"))) == []


# What they refuse.


@pytest.mark.parametrize(("name", "at"), EXAMPLES)
def test_unknown_properties_are_rejected(name: str, at: int) -> None:
    """A misspelt property is rejected everywhere, except in preference sets and similar open objects."""
    data = example(name, at)
    for path in places(data):
        if isinstance(at_path(data, path), dict):
            where = ".".join(map(str, path))
            more = changed(data, (*path, "http://registry.gpii.net/common/more"), {"a": 1})
            misspelt = changed(data, (*path, "misspelt"), {"a": 1})
            if where in TOLERANT.get(name, ()) or where.endswith(".preferences"):
                assert explain(name, misspelt) == []
            elif "http://registry.gpii.net/" not in where and not where.endswith(("metadata.0", "conditions.0")):
                assert rejected(name, misspelt), where
            assert is_valid(name)(more) == (explain(name, more) == [])


@pytest.mark.parametrize("name", [name for name in SCHEMAS if SCHEMAS[name].get("required")])
def test_missing_required_properties_are_rejected(name: str) -> None:
    """A document or file has everything that its readers rely on."""
    for field in SCHEMAS[name]["required"]:
        assert rejected(name, without(example(name), (field,))) == [f"'{field}' is missing"]


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name.startswith(("gpii-token/", "gpii-key/"))])
def test_documents_have_their_own_type_and_no_revision(name: str) -> None:
    """``_rev`` is not part of a document, and one kind is not accepted as another."""
    document = example(name)
    assert "_rev" in rejected(name, {**document, "_rev": "1-a"})[0]
    assert rejected(name, {**document, "_id": ""})
    assert rejected(name, {**document, "_id": None})
    assert rejected(name, {**document, "_id": "_design/views"})
    if "type" in document:
        assert rejected(name, {**document, "type": "somethingElse"})
        assert rejected(name, {**document, "type": None})


OTHER_TYPES: dict[type, list[Any]] = {
    str: [1, True, [], {}],
    bool: [1, "true", [], {}],
    int: ["1", [], {}],
    list: ["a", 1, {}],
    dict: ["a", 1, [], None],
    type(None): [1, {}],
}


def described_places(name: str, at: int) -> Iterator[Place]:
    """Yield the places in an example that its schema describes, which excludes the contents of terms and remarks."""
    for path in places(example(name, at)):
        common = any(str(part).startswith("http://registry.gpii.net/common/") for part in path)
        setting = any(str(part).startswith("http://registry.gpii.net/applications/") for part in path[:-1])
        remark = {"metadata", "conditions"} & {*path[:-2]}
        sample = name == "files/sample-data" and len(path) == 2 and path[1] not in {"_id", "type"}
        kept = name == "common/tombstone" and path[0:1] == ("document",) and path[1:] not in {(), ("_id",)}
        if not (common or setting or remark or sample or kept):
            yield path


@pytest.mark.parametrize(("name", "at"), EXAMPLES)
def test_values_of_a_wrong_type_are_rejected(name: str, at: int) -> None:
    """Text is not a number, a list is not an object, and null is allowed only where a value may be missing."""
    data = example(name, at)
    for path in described_places(name, at):
        for other in OTHER_TYPES[type(at_path(data, path))]:
            assert rejected(name, changed(data, path, other)), (path, other)


@pytest.mark.parametrize(("name", "at"), EXAMPLES)
def test_empty_texts_are_rejected(name: str, at: int) -> None:
    """IDs, secrets and names are not empty, except the names that people give their own sets."""
    data = example(name, at)
    for path in described_places(name, at):
        own = path[-1:] == ("name",) and ("flat" in path or name == "gpii-key/prefsSafe")
        if isinstance(at_path(data, path), str) and not own:
            assert rejected(name, changed(data, path, "")), path


TIME = "2020-11-23T00:00:00.000Z"
TIMES = ["2020-11-23", "2020-11-23T00:00:00Z", "2020-11-23T00:00:00.000+00:00", f"{TIME}\n", "2020-13-23T00:00:00.000Z"]
TIMES += ["2020-11-32T00:00:00.000Z", "2020-11-23T24:00:00.000Z", "20-11-23T00:00:00.000Z", ""]
UUIDS = [
    "2B8B1A5E-6C1D-4F0E-9A57-0D3C5E7F9B21",
    "2b8b1a5e6c1d4f0e9a570d3c5e7f9b21",
    "2b8b1a5e-6c1d-1f0e-9a57-0d3c5e7f9b21",
    "2b8b1a5e-6c1d-4f0e-7a57-0d3c5e7f9b21",
    "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21\n",
    " 2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21",
    "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b2",
    "{2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21}",
]
SETS: list[Any] = [
    {},
    {"contexts": {}},
    {"contexts": {"gpii-default": {}}},
    {"contexts": {"night": {"preferences": {}}}},
]
BLOCKS = ["256.1.1.1", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "01.2.3.4", "1.2.3.4/08", "1.2.3.4\n", "1.2.3.4 ", ""]
BLOCKS += ["::/129", "12345::", ":", ":::", "1::2::3", "1:2:3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "g::", "::1%eth0"]
TERM = "http://registry.gpii.net/common/DPIScale"
TARGET = ("target", "local")
CREDENTIALS = (*TARGET, "credentials")

# A schema, a place in its example, and values that are invalid there.
BROKEN: list[tuple[str, Place, list[Any]]] = [
    ("common/uuid", (), [*UUIDS, None, 4]),
    ("common/timestamp", (), [*TIMES, None, 1606089600]),
    ("common/timestamp-or-null", (), [*TIMES, False]),
    ("common/ip-block", (), [*BLOCKS, None, 1]),
    ("common/term", (), ["DPIScale", "http://registry.gpii.net/common/", "https://registry.gpii.net/common/x", "", 1]),
    ("common/snapset-name", (), ["1a", "a b", "", "a" * 65, "a\n", "ä", 1]),
    ("common/key", (), ["", "_x", None]),
    ("common/document-id", (), ["", "_design/x", None]),
    ("common/user-id", (), ["user-", "gpiiToken-x", "", None]),
    ("common/gpii-token-id", (), ["gpiiToken-", "user-x", "", None]),
    ("common/prefs-safe-id", (), ["prefsSafe-", "prefssafe-x", "", None]),
    ("common/preference-set", ("flat",), [*SETS, None, []]),
    ("common/preference-set", ("flat", "name"), [None, 1]),
    ("terms/gpii-key", (TERM,), ["1", 1.5, 5, -3, None, True]),
    (
        "gpii-token/preferences",
        ("value",),
        [{}, {"flat": None}, {"flat": {}, "x": 1}, *({"flat": each} for each in SETS)],
    ),
    ("common/tombstone", ("_deleted",), [False, None]),
    ("common/tombstone", ("revokedReason",), ["", "x" * 501, None]),
    ("common/tombstone", ("timestampRevoked",), [*TIMES, None]),
    ("common/tombstone", ("document",), [{}, None, []]),
    ("gpii-token/user", ("_id",), ["alice", "user-"]),
    ("gpii-token/user", ("name",), ["alice", None]),
    ("gpii-token/user", ("password",), ["alice", None]),
    ("gpii-token/user", ("defaultGpiiToken",), ["", None, "_x"]),
    ("gpii-token/gpiiToken", ("_id",), ["2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21"]),
    ("gpii-token/gpiiToken", ("gpiiToken",), ["", None]),
    ("gpii-token/gpiiToken", ("userId",), ["alice", 1]),
    ("gpii-token/gpiiAppInstallationClient", ("oauth2ClientSecret",), ["", None]),
    ("gpii-token/gpiiAppInstallationClient", ("userId",), ["sam", None]),
    ("gpii-token/onboardedSolutionClient", ("solutionId",), ["", None]),
    ("gpii-token/privilegedPrefsCreatorClient", ("oauth2ClientId",), ["", None]),
    ("gpii-token/webPrefsConsumerClient", ("redirectUri",), ["", "localhost", "ftp://localhost/", "http://", None]),
    ("gpii-key/gpiiKey", ("schemaVersion",), ["0.1", 0.2, None]),
    ("gpii-key/gpiiKey", ("prefsSafeId",), ["x", None]),
    ("gpii-key/gpiiKey", ("prefsSetId",), ["", None]),
    ("gpii-key/gpiiKey", ("revoked",), ["false", 0, None]),
    ("gpii-key/gpiiKey", ("revokedReason",), [False, 1]),
    ("gpii-key/gpiiKey", ("timestampCreated",), TIMES),
    ("gpii-key/gpiiKey", ("timestampUpdated",), TIMES),
    ("gpii-key/prefsSafe", ("prefsSafeType",), ["card", "User", None]),
    ("gpii-key/prefsSafe", ("schemaVersion",), ["0.1", 0.2, None]),
    ("gpii-key/prefsSafe", ("timestampUpdated",), TIMES),
    ("gpii-key/prefsSafe", ("name",), [1]),
    ("gpii-key/prefsSafe", ("password",), [1, {}]),
    ("gpii-key/prefsSafe", ("preferences",), [{}, {"flat": None}, *({"flat": each} for each in SETS)]),
    ("gpii-key/prefsSafe", ("timestampCreated",), TIMES),
    ("gpii-key/gpiiAppInstallationClient", ("computerType",), ["shared", None]),
    ("gpii-key/gpiiAppInstallationClient", ("schemaVersion",), ["0.1", 0.2, None]),
    ("gpii-key/gpiiAppInstallationClient", ("timestampUpdated",), TIMES),
    ("gpii-key/gpiiAppInstallationClient", ("name",), ["", None]),
    ("gpii-key/gpiiAppInstallationClient", ("timestampCreated",), [*TIMES, None]),
    ("gpii-key/clientCredential", ("clientId",), ["", "_x", None]),
    ("gpii-key/clientCredential", ("allowedIPBlocks",), [[], ["::", "::"], "10.0.0.0/8", *([each] for each in BLOCKS)]),
    ("gpii-key/clientCredential", ("allowedPrefsToWrite",), [["DPIScale"], [1], {}, 2 * [TERM]]),
    ("gpii-key/clientCredential", ("schemaVersion",), ["0.1", 0.2, None]),
    ("gpii-key/clientCredential", ("isCreateGpiiKeyAllowed",), [None, "no", 0]),
    ("gpii-key/clientCredential", ("timestampCreated",), [*TIMES, None]),
    ("gpii-key/clientCredential", ("timestampRevoked",), TIMES),
    ("files/reconciled-card", ("verdict",), ["Encoded", "spare", "", None]),
    (
        "files/reconciled-card",
        ("chip",),
        ["04a2b3c4d5e680", "04A2B3C4D5E6", "04A2B3C4D5E680\n", "04A2B3C4D5E68G", "", 4],
    ),
    ("files/reconciled-card", ("unused_spare",), [False, None, 1]),
    ("files/reconciled-card", ("other_chips",), [[], ["04"], "04A2B3C4D5E680", 2 * ["04A2B3C4D5E680"], None]),
    ("files/reconciled-header", ("counts", "encoded"), [-1, 1_000_001, 1.5, "5", None]),
    ("files/reconciled-header", ("batch", "digest"), ["", None]),
    ("files/manifest-card", ("number",), [0, -1, 1_000_001, "1", 1.5, True, None]),
    ("files/manifest-card", ("uuid",), [*UUIDS, None]),
    ("files/manifest-card", ("snapset",), ["1a", "", None]),
    ("files/manifest-header", ("format",), ["batch", None]),
    ("files/manifest-header", ("version",), [0, 2, "1", True, None]),
    ("files/manifest-header", ("name",), ["", ".x", "../x", "a/b", "a\n", "a" * 101, None]),
    ("files/manifest-header", ("created",), [*TIMES, None]),
    ("files/manifest-header", ("cards",), [0, 1_000_001, 1.5, "5", None]),
    ("files/manifest-header", ("snapsets",), [{}, {"empty": 0}, {"empty": 1.5}, {"empty": 1_000_001}, {"1a": 1}]),
    (
        "files/manifest-header",
        ("digest",),
        ["", "9" * 64, f"sha256:{'A' * 64}", f"sha256:{'a' * 63}", f"sha256:{'a' * 64}\n", None],
    ),
    (
        "files/manifest-header",
        ("seal",),
        ["", "9" * 64, f"sha256:{'A' * 64}", f"sha256:{'a' * 65}", f"sha256:{'a' * 64}\n", None],
    ),
    ("files/manifest-header", ("seed",), [-1, 2**53, 1.5, "1", None, True]),
    ("files/snapset", ("timestampCreated",), [*TIMES, None]),
    ("files/snapset", ("flat",), [*SETS, None]),
    ("files/sample-data", (), [[], {}, [{}], [{"_id": "a"}], [{"type": "user"}], [{"_id": "_a", "type": "user"}]]),
    ("files/sample-data", (0, "type"), ["", "a b", "../user", "user\n", None]),
    (
        "files/site-credentials",
        ("clientCredentials",),
        [{}, {"client_id": "a"}, {"client_id": "a", "client_secret": ""}, None],
    ),
    ("files/site-credentials", ("site",), ["", None]),
    ("files/design-document", ("_id",), ["views", "_design/", "_design/a/b", "_design/a\n"]),
    ("files/design-document", ("language",), ["erlang", None]),
    ("files/design-document", ("views",), [{"a\n": {"map": "function (doc) {}"}}, {"a": None}]),
    ("files/design-document", ("views",), [{}, {"a b": {"map": "function (doc) {}"}}, {"a": {"map": "x"}}, {"a": {}}]),
    (
        "files/design-document",
        ("views", "findGpiiToken", "map"),
        ["", "function map(doc) {}", "doc => emit(doc)", "// function (doc) {}", None],
    ),
    ("files/target-file", ("target",), [{}, None, {"a b": {}}, {"": {"url": "http://a", "environment": "ci"}}]),
    ("files/target-file", TARGET, [{}, {"url": "http://a"}, {"environment": "ci"}]),
    (
        "files/target-file",
        (*TARGET, "url"),
        [
            "",
            "localhost:5984",
            "ftp://a",
            "http://",
            "http://u:p@a",
            "http://a?b",
            "http://a#b",
            "http://a\n",
            "http://a b",
        ],
    ),
    ("files/target-file", ("target",), [{"a\n": {"url": "http://a", "environment": "ci"}}]),
    ("files/target-file", (*TARGET, "environment"), ["prod", "Production", "", None]),
    ("files/target-file", (*TARGET, "model"), ["", None]),
    ("files/target-file", (*TARGET, "prefix"), ["", "A", "_a", "1a", "a/b", "a b", "a\n"]),
    *(("files/target-file", (*TARGET, option), ["", None, 1]) for option in ("ca_file", "client_cert", "client_key")),
    ("files/target-file", (*TARGET, "insecure"), ["", None, "true", 1]),
    ("files/target-file", (*TARGET, "url"), [[], [1], ["http://a", ""], ["http://u:p@a"], ["http://a\n"], None]),
    (
        "files/target-file",
        CREDENTIALS,
        [
            {},
            {"netrc": False},
            {"netrc": ""},
            {"netrc": True, "user": "a"},
            {"netrc": "a", "user": "a", "password_file": "b"},
            {"user": "a"},
            {"user_env": "A"},
            {"password_file": "a"},
            {"user": "a", "password": "b"},
            {"login": "a", "secret": "b"},
            {"user": "a", "password_env": "B"},
            {"user_env": "A", "password_file": "b"},
            {"user": "a", "password_file": "b", "user_env": "C", "password_env": "D"},
            {"user": "a:b", "password_file": "c"},
            {"user": "", "password_file": "c"},
            {"user": "a", "password_file": ""},
            {"user_env": "A B", "password_env": "C"},
            {"user_env": "1A", "password_env": "C"},
            {"user_env": "A", "password_env": "C D"},
            {"user_env": "A\n", "password_env": "C"},
            {"user_env": "A", "password_env": "C\n"},
            {"user": "a\n", "password_file": "c"},
            {"user_env": 1, "password_env": "C"},
            {"user_env": "A", "password_env": 1},
            {"user": 1, "password_file": "c"},
            {"user": "a", "password_file": 1},
        ],
    ),
]


@pytest.mark.parametrize(("name", "path", "values"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_invalid_values_are_rejected(name: str, path: Place, values: list[Any]) -> None:
    """Both validators reject values that readers could not use; the explanation names the place."""
    for value in values:
        rules = rejected(name, changed(example(name), path, value))
        where = ".".join(map(str, path))
        assert any(rule.startswith(where) for rule in rules) or " needs " in rules[0], (value, rules)


@PROPERTY
@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_every_ipv4_block_is_accepted(address: Any, bits: int) -> None:
    """Any network range and any single address is valid."""
    block = IPv4Network((address, bits), strict=False)
    for text in (str(block), str(address), f"{address}/{bits}"):
        assert is_valid("common/ip-block")(text)
        assert explain("common/ip-block", text) == []


@PROPERTY
@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_every_ipv6_block_is_accepted(address: Any, bits: int) -> None:
    """Any network range is valid, in full or short form, in upper or lower case."""
    block = IPv6Network((address, bits), strict=False)
    for text in (str(block), block.exploded, str(address), address.exploded.upper()):
        assert is_valid("common/ip-block")(text)
        assert explain("common/ip-block", text) == []


@settings(deadline=None, max_examples=300)
@given(st.text("0123456789abcdef:./", max_size=20))
def test_invalid_address_blocks_are_rejected(text: str) -> None:
    """Text that Python's ``ipaddress`` rejects is invalid."""
    try:
        (IPv6Network if ":" in text else IPv4Network)(text, strict=False)
    except ValueError:
        assert not is_valid("common/ip-block")(text)


# The fast and the slow validator agree.

POOL: list[Any] = json.loads('[null, true, false, 0, -1, 1, 1000001, [], [null], ["a", "a"], [1, true], {}, {"": ""}]')
POOL += [2**53, "", "x", "_x", "\n", "user-\r", "user-\u2028", "\ufeffuser-a", "\U0001f600", "2020-11-23T00:00:00.000Z"]
FLOATS = [0.0, 1.0, -1.0, 1.5, 1e-300, 1e300]


def endings(text: str) -> list[str]:
    """Return a text with different ends that regular expressions may treat differently."""
    return [
        *(f"{text}{end}" for end in ("\n", "\r", "\u2028", "\u2029", "\x85", "\0", " ", "é")),
        f"\n{text}",
        text.upper(),
    ]


@pytest.mark.parametrize(
    ("name", "at"), [pytest.param(*each, marks=THOROUGH if turn % 3 else ()) for turn, each in enumerate(EXAMPLES)]
)
def test_validators_agree_on_every_change_of_an_example(name: str, at: int) -> None:
    """Data accepted by the fast validator is accepted by the slow one; data it rejects, the slow one can explain."""
    data = example(name, at)
    # They are known to differ in floating point: on multiples of 0.1, which some terms use.
    pool = POOL + ([] if name.startswith("terms/") else FLOATS)
    for path in places(data):
        value = at_path(data, path)
        for other in pool + (endings(value) if isinstance(value, str) else []):
            version = changed(data, path, other)
            assert is_valid(name)(version) == (explain(name, version) == []), (path, other)
        if path:
            version = without(data, path)
            assert is_valid(name)(version) == (explain(name, version) == []), path


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), which=st.sampled_from(EXAMPLES))
def test_validators_agree_on_any_data(data: st.DataObject, which: tuple[str, int]) -> None:
    """With any value anywhere in a document, both give the same result."""
    name, _ = which
    version = example(*which)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(version))))
        version = changed(version, path, data.draw(ANY))
    assert is_valid(name)(version) == (explain(name, version) == [])
