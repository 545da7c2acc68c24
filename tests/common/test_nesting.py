"""Documents that our parser gives up on: a user can store one, and it must not stop anything."""

import json
from pathlib import Path

import pytest

from dataloader.archive import Backup
from dataloader.batch import Manifest
from dataloader.common.nesting import DEPTH, PLACEHOLDER, TOO_LARGE, flattened, without_large_numbers
from dataloader.couch import Server
from dataloader.operations import (
    Outcome,
    RevokeOutcome,
    VerifyVerdict,
    all_sources,
    back_up,
    generate,
    load,
    restore,
    restore_backup,
    revoke,
    verify,
)
from dataloader.records import Snapsets
from dataloader.target import Target
from tests.support.backups import copy
from tests.support.marks import KEY_MODEL
from tests.support.proxy import Forward, Reply, Request
from tests.support.records import preferences_of, write_snapsets
from tests.support.server import Proxied, databases, get

__all__ = ["copy"]

LEVELS = 5_000
DEEP = b"[" * LEVELS + b"]" * LEVELS
LARGE = b"7" * LEVELS
MARK = b'"a mark"'


def test_only_what_is_too_deep_is_left_out() -> None:
    """Brackets in strings, escaped quotes and siblings do not matter."""
    inner = b'{"a]":"\\"[[",' + b'"b":' + b"[" * DEPTH + b"1" + b"]" * DEPTH + b',"c":[{},[2]]}'
    found = json.loads(flattened(inner))
    assert (found["a]"], found["c"]) == ('"[[', [{}, [2]])
    value = found["b"]
    for _ in range(DEPTH - 1):
        [value] = value
    assert value == json.loads(PLACEHOLDER)
    assert flattened(b'{"a":[1,2,{"b":"\\\\"}]}') == b'{"a":[1,2,{"b":"\\\\"}]}'


@pytest.mark.parametrize("data", [b"-1", b'"\\', b'"', b'["', b"[", b"{]", b'\\"'])
def test_garbage_takes_linear_time(data: bytes) -> None:
    """Also text that is no JSON."""
    flattened(data * 500_000)
    without_large_numbers(data * 500_000)


def test_only_large_numbers_are_left_out() -> None:
    """Digits in strings and usual numbers do not matter."""
    usual = b'{"a":"%s","b\\"":[-1.5e3,"\\"%s"],"c":%s}' % (LARGE, LARGE, b"7" * 100)
    assert without_large_numbers(usual) == usual
    data = b'{"a":[%s,-%s],"b":%s.5e1,"c":7}' % (LARGE, LARGE, LARGE)
    assert without_large_numbers(data) == b'{"a":[%s,%s],"b":%s,"c":7}' % (TOO_LARGE, TOO_LARGE, TOO_LARGE)


@KEY_MODEL
@pytest.mark.parametrize("value", [DEEP, LARGE], ids=["deep", "large"])
def test_odd_document_of_one_person_stops_nobody(
    server: Server, target: Target, copy: Target, proxied: Proxied, tmp_path: Path, value: bytes
) -> None:
    """It counts as edited, a card with it can be revoked, and a backup keeps every byte of it."""
    snapsets: Snapsets = write_snapsets(tmp_path / "snapsets", {"large": 18})
    manifest: Manifest = generate("few", {"large": 3}, tmp_path).manifest
    cards = list(manifest.cards())
    sources = all_sources(target, [manifest], snapsets)
    load(server, target, sources)
    place = preferences_of(target.model.name, cards[1].uuid)
    database = databases(server, target)[place.database]
    document = {**get(database, place.id), "deep": "a mark"}
    assert database.edit([document]) == []

    def deepen(request: Request, forward: Forward) -> Reply:
        # The embedded server cannot store it.
        sent = Request(request.method, request.target, request.headers, request.body.replace(value, MARK))
        reply = forward(sent)
        return Reply(reply.status, reply.body.replace(MARK, value), reply.headers)

    through, _ = proxied(deepen)
    assert load(through, target, sources).count(Outcome.EDITED) == 1
    verdicts = verify(through, target, [manifest], snapsets).verdicts
    assert (verdicts[VerifyVerdict.OK], verdicts.total()) == (2, 3)
    path = tmp_path / "deep.backup.zst"
    back_up(through, target, path)
    lines = [leaf for _, leaves in Backup(path).documents(place.database) for leaf in leaves]
    assert sum(value in line for line in lines) == 1
    assert restore_backup(through, copy, [Backup(path)]).good
    assert get(databases(server, copy)[place.database], place.id)["deep"] == "a mark"
    assert revoke(through, target, manifest, cards[1:2], "lost").outcomes[RevokeOutcome.REVOKED] == 1
    assert restore(through, target, manifest, cards[1:2]).outcomes[RevokeOutcome.RESTORED] == 1


@KEY_MODEL
def test_deep_document_that_is_too_large_is_named(server: Server, target: Target, proxied: Proxied) -> None:
    """Its ID is read even if nothing else of it can be."""
    [name, *_] = target.model.databases
    through, _ = proxied(lambda _request, _forward: Reply.json(413, {"error": "too_large", "reason": "x"}))
    document = b'{"deep":' + DEEP + b',"_id":"deep","_rev":"1-a"}'
    [rejection] = through.database(target.database(name)).write([document])
    assert rejection.id == "deep"
