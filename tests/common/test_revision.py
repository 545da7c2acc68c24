"""Revisions computed from the canonical form of content."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataloader.common import (
    MAX_SAFE_INTEGER,
    Document,
    certifies_itself,
    content,
    content_hash,
    history,
    normal,
    prepare,
    rank,
)
from dataloader.common.revision import canonical
from dataloader.records.models import Entry, Role, get_model

UUID = "2b8b1a5e-6c1d-4f0e-9a57-0d3c5e7f9b21"
CREATED = "2020-11-23T00:00:00.000Z"
PREFERENCES: dict[str, Any] = {
    "flat": {
        "name": "Größer & “Dark” 125%",
        "contexts": {
            "gpii-default": {
                "name": "Default preferences",
                "preferences": {
                    "http://registry.gpii.net/common/fontSize": 12.5,
                    "http://registry.gpii.net/common/cursorSize": 1,
                    "http://registry.gpii.net/common/tracking": ["mouse", "focus"],
                    "http://registry.gpii.net/common/highContrast/enabled": True,
                    "http://registry.gpii.net/applications/org.example.reader": {"zoom": None, "Zoom": -0.25},
                },
            }
        },
    }
}

MODEL_DIGESTS = [
    ("gpii-token", "preferences", Role.CARD, "d8c4d70e47af3fd9f1b989c51e11fca2"),
    ("gpii-token", "user", Role.PERSON, "7cf5a8317f111f4ac07e008ff5748297"),
    ("gpii-token", "gpiiToken", Role.CARD, "b5f0a29c11af34038d4d5d5c3ffe6636"),
    ("gpii-token", "gpiiToken", Role.PERSON, "7195aaf5bad5e4ab219db594bb6b7416"),
    ("gpii-key", "prefsSafe", Role.CARD, "ec6a1b449bcf8c91d6b2abc94bbc950d"),
    ("gpii-key", "prefsSafe", Role.SNAPSET, "9fb70c895269a4b35422dda0ed1b6c2a"),
    ("gpii-key", "gpiiKey", Role.CARD, "d154f4f528ce4120cc1d969563ee257a"),
]

# JSON as it may be read, its canonical form, and the digest of that.
CANONICAL = {
    "keys by code point": (
        '{"\U0001f600":6,"�":7,"é":1,"z":2,"Z":3,"a b":4,"":5,"10":8,"9":9}',
        '{"":5,"10":8,"9":9,"Z":3,"a b":4,"z":2,"é":1,"�":7,"\U0001f600":6}',
        "4f41b95f0ab690ef312a16b97b95b5b5",
    ),
    "keys at every level": (
        '{"b":[{"d":1,"c":{"f":2,"e":3}}],"a":{"h":4,"g":5}}',
        '{"a":{"g":5,"h":4},"b":[{"c":{"e":3,"f":2},"d":1}]}',
        "99f1d2cb9b5724d8a32354eacc726df8",
    ),
    "whole numbers": (
        "[0,-0,-0.0,1,1.0,100e-2,1e2,-7.0,9007199254740991,9007199254740991.0,-9007199254740991]",
        "[0,0,0,1,1,1,100,-7,9007199254740991,9007199254740991,-9007199254740991]",
        "055858daa3653a8398e64de156bbb755",
    ),
    "fractions": (
        "[0.1,0.30000000000000004,12.50,-0.25,123456789.125,0.000001,1.5e3,4503599627370495.5]",
        "[0.1,0.30000000000000004,12.5,-0.25,123456789.125,1e-6,1500,4503599627370495.5]",
        "e023c7153f405f8f50b6d4b5d1e39f79",
    ),
    "small fractions": (
        "[1e-7,1.5e-10,5e-324,2.2250738585072014e-308,0.00001]",
        "[1e-7,1.5e-10,5e-324,2.2250738585072014e-308,0.00001]",
        "05a68707a16e9f43cbe534c149d6474b",
    ),
    "text": (
        r'"\u0000\b\t\n\f\r\u001f \"\\\/\u007fé\u2028\ud83d\ude00e\u0301"',
        '"\\u0000\\b\\t\\n\\f\\r\\u001f \\"\\\\/\x7fé\u2028\U0001f600e\u0301"',
        "6c9c54f3257d78ed7e8a2b0e591c4529",
    ),
    "words": ("[true,false,null,[],{},[[]]]", "[true,false,null,[],{},[[]]]", "cb8d4815604a2ad733abe4d1485f35c5"),
}

NUMBERS = st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER) | st.floats(
    min_value=-MAX_SAFE_INTEGER, max_value=MAX_SAFE_INTEGER
)
TEXT = st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(TEXT.filter(lambda name: not name.startswith("_")), VALUES, max_size=4)
DOCUMENTS = FIELDS.map(lambda fields: {"_id": UUID, **fields})
PROPERTY = settings(deadline=None, max_examples=60)


def plain_digest(document: Mapping[str, Any]) -> str:
    """Compute the digest with Python's own JSON, for documents whose numbers it formats in the same way."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return sha256(text.encode()).hexdigest()[:32]


def javascript(value: Any) -> Any:
    """Return data as a JavaScript server returns it: numbers have a value, but no type."""
    if isinstance(value, dict):
        return {key: javascript(item) for key, item in reversed(value.items())}
    if isinstance(value, list):
        return [javascript(item) for item in value]
    # JSON.stringify uses exponents only from 1e21.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def erlang(value: Any) -> Any:
    """Return data with every integer as a float; an Erlang server keeps floats."""
    if isinstance(value, dict):
        return {key: erlang(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [erlang(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def stored(body: bytes) -> Document:
    """Parse a document as it was written."""
    document: Document = json.loads(body)
    return document


@pytest.mark.parametrize(("model", "kind", "role", "digest"), MODEL_DIGESTS)
def test_digest_of_a_known_document_never_changes(model: str, kind: str, role: Role, digest: str) -> None:
    """A document that was loaded years ago is still recognized."""
    document = get_model(model).kind(kind).document(Entry(UUID, PREFERENCES, CREATED, role))
    assert prepare(document).hash == digest
    assert plain_digest(document) == digest


@pytest.mark.parametrize(("text", "form", "digest"), CANONICAL.values(), ids=CANONICAL)
def test_canonical_form_never_changes(text: str, form: str, digest: str) -> None:
    """Numbers, text and nesting have one form, byte for byte."""
    assert canonical(normal(json.loads(text))).decode() == form
    document = {"_id": "x", "value": normal(json.loads(text))}
    assert prepare(document).hash == digest
    assert sha256(f'{{"_id":"x","value":{form}}}'.encode()).hexdigest()[:32] == digest


@PROPERTY
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_digest_ignores_key_order(document: Document, random: Any) -> None:
    """A document with its keys in another order is the same document."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    assert canonical(normal(shuffled(document))) == canonical(normal(document))


@PROPERTY
@given(DOCUMENTS)
def test_revision_survives_every_kind_of_server(document: Document) -> None:
    """Servers that write 1.0 as 1, or 1 as 1.0, return a document that still matches its revision."""
    ours = prepare(normal(document))
    kept = stored(ours.write())
    for form in (kept, javascript(kept), erlang(kept), javascript(erlang(kept))):
        read = json.loads(json.dumps(form))
        assert content_hash(read) == ours.hash
        assert certifies_itself(read)


@PROPERTY
@given(DOCUMENTS)
def test_normal_is_idempotent(document: Document) -> None:
    """Normalizing content twice changes nothing."""
    once = normal(document)
    assert canonical(normal(once)) == canonical(once)
    assert content(stored(prepare(once).write())) == once


@PROPERTY
@given(DOCUMENTS)
def test_content_is_normal_whatever_its_numbers(document: Document) -> None:
    """Content that is returned as it is has no number in another form, deep inside or with text like a number."""
    said = {**document, "text": '":1.5e3', "numbers": [document, 7.0, [1e3], {"deep": -0.0}]}
    assert canonical(content(said)) == canonical(normal(said))


@PROPERTY
@given(DOCUMENTS)
def test_revision_ignores_what_servers_add(document: Document) -> None:
    """A document still matches its revision with every member that a server adds."""
    ours = prepare(normal(document))
    added = {
        "_revisions": {"start": 1, "ids": [ours.hash]},
        "_conflicts": ["1-aa"],
        "_deleted_conflicts": ["2-bb"],
        "_revs_info": [{"rev": ours.rev, "status": "available"}],
        "_local_seq": 7,
    }
    assert certifies_itself({**stored(ours.write()), **added})


@PROPERTY
@given(DOCUMENTS, DOCUMENTS)
def test_revision_does_not_match_other_content(document: Document, other: Document) -> None:
    """A revision matches only the content that it was computed from."""
    ours = prepare(normal(document))
    assume(canonical(normal(other)) != ours.body)
    assert not certifies_itself({**other, "_rev": ours.rev})


@pytest.mark.parametrize(
    "change",
    [
        {"_id": f"{UUID}x"},
        {"flag": 1},
        {"flag": "true"},
        {"flag": None},
        {"size": 12.500000000000002},
        {"name": "Größer"},
        {"name": "Gro\u0308ßer "},
        {"list": [2, 1]},
        {"list": [1, 2, None]},
        {"added": None},
        {"": 0},
        {"_attachments": {"a": {}}},
        {"_deleted": True},
    ],
)
def test_revision_detects_the_smallest_change(change: Document) -> None:
    """A changed value, type or list order no longer matches the revision."""
    document = {"_id": UUID, "flag": True, "size": 12.5, "name": "Größer ", "list": [1, 2]}
    ours = stored(prepare(document).write())
    assert certifies_itself(ours)
    assert not certifies_itself({**ours, **change})


def test_deleted_document_does_not_certify_itself() -> None:
    """A deleted document is never replaced, even if a loader deleted it and its revision matches."""
    rev, body = prepare({"_id": UUID, "_deleted": True}).write_child(["1-aa"])
    deletion = stored(body)
    assert rev == f"2-{content_hash(deletion)}"
    assert not certifies_itself(deletion)


def test_revision_detects_a_removed_member() -> None:
    """A missing member is a change, even if it was null."""
    ours = stored(prepare({"_id": UUID, "email": None}).write())
    del ours["email"]
    assert not certifies_itself(ours)


def test_document_without_revision_does_not_certify_itself() -> None:
    """A missing revision, or one without a hash, proves nothing."""
    assert not certifies_itself({"_id": UUID})
    assert not certifies_itself({"_id": UUID, "_rev": "1-"})


@pytest.mark.parametrize(
    "number",
    [float("nan"), float("inf"), float("-inf"), 2**53, -(2**53), 2.0**53, -(2.0**53), 1e16, 1e20, 1e300, 10**400],
)
def test_numbers_that_servers_change_are_rejected(number: float) -> None:
    """Numbers that JSON or JavaScript can't represent exactly never get into a document."""
    with pytest.raises(ValueError, match=r"is not a number in JSON|too large to be kept exactly"):
        normal({"_id": UUID, "deep": [{"er": number}]})


@pytest.mark.parametrize(
    "value", ["12345678901234567890", "1e300", "123456789012345678901234567890", "[" * 700 + "]" * 700], ids=len
)
def test_foreign_document_may_have_any_values(value: str) -> None:
    """A document with values that ours never have can be compared, and is not recognized as ours."""
    theirs = json.loads(f'{{"_id":"{UUID}","_rev":"1-d41d8cd98f00b204e9800998ecf8427e","value":{value}}}')
    assert not certifies_itself(theirs)
    assert content(theirs) == {"_id": UUID, "value": theirs["value"]}


@PROPERTY
@given(DOCUMENTS)
def test_first_write_is_content_with_its_revision(document: Document) -> None:
    """The server gets the content and ``1-HASH``, nothing else."""
    ours = prepare(normal(document))
    written = stored(ours.write())
    assert written.pop("_rev") == ours.rev == f"1-{ours.hash}"
    assert written == normal(document)
    assert ours.id == document["_id"]


@PROPERTY
@given(DOCUMENTS, st.integers(1, 2**31 - 2), st.lists(st.text("0123456789abcdef", min_size=1), min_size=1, max_size=5))
def test_child_revision_names_its_ancestors(document: Document, newest: int, hashes: list[str]) -> None:
    """An update lists its ancestors, newest first, so that the server appends it to their branch."""
    ours = prepare(normal(document))
    branch = [f"{max(1, newest - depth)}-{digits}" for depth, digits in enumerate(hashes)]
    rev, body = ours.write_child(branch)
    written = stored(body)
    assert rev == written["_rev"] == f"{newest + 1}-{ours.hash}"
    assert written["_revisions"] == {"start": newest + 1, "ids": [ours.hash, *hashes]}
    assert certifies_itself(written)
    assert content(written) == normal(document)
    if newest > len(hashes):
        assert history(written) == [rev, *branch]


def test_rank_orders_leaves_as_servers_do() -> None:
    """Longer branches come before shorter ones; of equally long ones, the greater hash."""
    leaves = [{"_rev": rev} for rev in ("10-0a", "9-ff", "10-1", "2-a", "1-f")]
    assert [leaf["_rev"] for leaf in sorted(leaves, key=rank)] == ["1-f", "2-a", "9-ff", "10-0a", "10-1"]


def test_history_without_revisions_is_the_own_revision() -> None:
    """Without ``_revisions``, only the document's own revision is known."""
    assert history({"_id": UUID, "_rev": "3-abc"}) == ["3-abc"]


def test_inconsistent_history_is_not_trusted() -> None:
    """PouchDB returns another revision's history if two of a branch have the same hash; only the newest is certain."""
    assert history({"_id": UUID, "_rev": "3-a", "_revisions": {"start": 1, "ids": ["a"]}}) == ["3-a"]
