"""Pruning access tokens: expired ones are deleted, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from dataloader.common import ExitCode, ProtectedError
from dataloader.couch import Server
from dataloader.operations import prune_tokens
from dataloader.records import client_database
from dataloader.target import Target
from dataloader.target.environments import MARKER
from tests.support.command import Command
from tests.support.marks import ONE_MODEL, THOROUGH
from tests.support.proxy import Forward, Reply, Request
from tests.support.server import Proxied, snapshot


def token(number: int, expires: object, **more: object) -> dict[str, Any]:
    """Return an access token as the servers write it."""
    return {
        "_id": f"token-{number:05}",
        "type": "gpiiAppInstallationAuthorization",
        "accessToken": f"secret-{number}",
        "clientId": "client",
        "revoked": False,
        "timestampExpires": expires,
        **more,
    }


def at(seconds: float) -> str:
    """Return the time in so many seconds, in JavaScript's format."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture
def plant(run_here: Command, server: Server, target: Target) -> Any:
    """Write documents to a target."""
    assert run_here("load", "--snapsets-only").code == ExitCode.OK

    def plant(*documents: dict[str, Any]) -> None:
        database = server.database(target.database(client_database(target.model)))
        # To all copies: one that lacks them has nothing to index, and would answer first.
        assert not [reply for reply in database.swap(documents) if reply.error]

    return plant


def tokens(server: Server, target: Target) -> set[str]:
    """Return the IDs of the existing tokens."""
    return {each for each in snapshot(server, target)[client_database(target.model)] if each.startswith("token-")}


def test_only_expired_tokens_are_deleted(plant: Any, run_here: Command, server: Server, target: Target) -> None:
    """Even with more than a page of them at the same time; tokens without an expiry time are kept."""
    same = at(-60)
    other_type = token(9_000, at(-60), type="webPrefsConsumerAuthorization")
    plant(
        *(token(number, same if number % 2 else at(-number)) for number in range(1, 1_201)),
        *(token(number, at(3_600)) for number in range(2_000, 2_020)),
        token(3_000, "soon"),
        other_type,
    )
    done = run_here("tokens", "prune", "--json")
    assert done.code == ExitCode.OK, done.stderr
    assert done.data["deleted"] == 1_200
    kept = {f"token-{number:05}" for number in [*range(2_000, 2_020), 3_000, 9_000]}
    assert tokens(server, target) == kept
    assert run_here("tokens", "prune", "--json").data["deleted"] == 0


@ONE_MODEL
def test_clock_that_is_ahead_deletes_nothing_too_early(
    plant: Any, proxied: Proxied, server: Server, target: Target
) -> None:
    """A token must be expired by the server's clock, too."""
    plant(token(1, at(-60)))

    def an_hour_behind(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        time = (datetime.now(UTC) - timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return Reply(reply.status, reply.body, {**reply.headers, "Date": time})

    behind, _ = proxied(an_hour_behind)
    assert prune_tokens(behind, target).deleted == 0
    assert prune_tokens(server, target).deleted == 1


@ONE_MODEL
def test_token_renewed_meanwhile_is_kept(plant: Any, proxied: Proxied, server: Server, target: Target) -> None:
    """If it is written between the read and the deletion, the deletion is refused."""
    plant(token(1, at(-60)), token(2, at(-60)))
    database = server.database(target.database(client_database(target.model)))

    def prolong(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs":
            [leaf] = database.leaves(["token-00001"])["token-00001"]
            database.edit([{**token(1, at(3_600)), "_rev": leaf["_rev"]}])
        return forward(request)

    through, _ = proxied(prolong)
    result = prune_tokens(through, target)
    assert (result.deleted, result.failed) == (1, 0)
    assert tokens(server, target) == {"token-00001"}


@THOROUGH
@ONE_MODEL
def test_environment_is_checked_with_every_page(plant: Any, proxied: Proxied, server: Server, target: Target) -> None:
    """A database that is marked as production meanwhile is left alone from then on."""
    plant(*(token(number, at(-60)) for number in range(1, 1_101)))
    database = server.database(target.database(client_database(target.model)))
    deletions = count()

    def mark(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if request.endpoint == "_bulk_docs" and next(deletions) == 0:
            database.put_local(MARKER, {**database.local(MARKER), "environment": "production"})
        return reply

    through, _ = proxied(mark)
    with pytest.raises(ProtectedError, match="production"):
        prune_tokens(through, target)
    assert len(tokens(server, target)) == 600


@ONE_MODEL
def test_view_of_others_deletes_no_other_document(plant: Any, proxied: Proxied, server: Server, target: Target) -> None:
    """A row names the document that it belongs to, whatever its value says."""
    plant(token(1, at(-60)), token(2, at(3_600)))
    [leaf] = server.database(target.database(client_database(target.model))).leaves(["token-00002"])["token-00002"]

    def confuse(request: Request, forward: Forward) -> Reply:
        reply = forward(request)
        if "_view/" not in request.path:
            return reply
        of_other = f'"_id":"token-00002","_rev":"{leaf["_rev"]}","x":"'.encode()
        return replace(reply, body=reply.body.replace(b'"_id":"token-00001","_rev":"', of_other))

    through, _ = proxied(confuse)
    assert prune_tokens(through, target).deleted == 0
    assert tokens(server, target) == {"token-00001", "token-00002"}
