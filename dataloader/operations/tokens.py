"""Delete expired access tokens, which every log-in leaves behind.

The servers write an access token document at each log-in; GPII's own deployment deleted expired ones every hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dataloader.common import (
    BATCH_DOCUMENTS,
    DataloaderError,
    Document,
    OnProgress,
    tell_how_far,
)
from dataloader.couch import Database, NotFoundError, Server
from dataloader.operations.card_answers import missing
from dataloader.records import client_database
from dataloader.records.models import Model
from dataloader.records.views import DESIGN
from dataloader.target import Target, check_marker, guard

TOKEN_TYPE = "gpiiAppInstallationAuthorization"  # noqa: S105 - a type of document


@dataclass
class PruneResult:
    """The result of pruning access tokens."""

    deleted: int = 0
    valid: int = 0
    """Tokens that have not expired, among those that were read; they are kept."""
    undated: int = 0
    """Tokens without an expiry time; these are kept, too."""
    failed: int = 0
    """Tokens that the server failed to delete; the next run tries again."""


def prune_tokens(server: Server, target: Target, *, on_progress: OnProgress | None = None) -> PruneResult:
    """Delete expired access tokens in batches, and no others.

    A token has expired if both this machine's clock and the server's are past its time.

    Args:
        server: the target's server.
        target: the target.
        on_progress: called after each batch.

    Raises:
        ProtocolError: the database or its views do not exist.
        ProtectedError: a database was loaded as a more protected environment.
        DataloaderError: the server failed after all retries, or refused; running it again continues.
    """
    server.welcome()
    guard(server, target)
    database = server.database(target.database(client_database(target.model)))
    now = datetime.now(UTC)
    now = min(now, server.time() or now)
    result = PruneResult()
    try:
        for page in _pages(database, target.model, now):
            # Check with every page: somebody may have marked the database as more protected meanwhile.
            check_marker(database, target)
            _prune(database, page, now, result)
            if on_progress is not None:
                on_progress("access tokens", result.deleted, 0)
    except NotFoundError as error:
        raise missing(database, _view(target.model)) from error
    except DataloaderError as error:
        tell_how_far(error, result.deleted, result.deleted, "tokens")
        raise
    return result


def _is_by_time(model: Model) -> bool:
    return model.name == "gpii-key"


def _view(model: Model) -> str:
    # With gpii-token, no view is sorted by time, so the one of all tokens is read.
    return "findAccessTokenByExpires" if _is_by_time(model) else "findAuthorizationByAccessToken"


def _pages(database: Database, model: Model, now: datetime) -> Iterator[list[Document]]:
    """Yield pages of access tokens; if the view is sorted by time, only expired ones."""
    by_time = _is_by_time(model)
    end = int(now.timestamp() * 1000) if by_time else None
    start: object = None
    seen: set[str] = set()
    limit = BATCH_DOCUMENTS
    while True:
        rows = database.view_page(DESIGN, _view(model), limit=limit, start=start, end=end)
        new = [row for row in rows if row["id"] not in seen]
        yield [_token(row, by_time=by_time) for row in new]
        if len(rows) < limit:
            return
        if not new:
            # As many with the same key as fit on a page.
            limit *= 2
            continue
        start = rows[-1]["key"]
        seen = {row["id"] for row in rows}


def _token(row: dict[str, Any], *, by_time: bool) -> Document:
    value = row.get("value")
    found = value if by_time else value.get("authorization") if isinstance(value, dict) else None
    # A view by others may name another document, which must not be deleted for it.
    return found if isinstance(found, dict) and found.get("_id") == row["id"] else {}


def _prune(database: Database, tokens: list[Document], now: datetime, result: PruneResult) -> None:
    expired = []
    for token in tokens:
        if token.get("type") != TOKEN_TYPE or not isinstance(token.get("_rev"), str):
            continue
        time = _time(token.get("timestampExpires"))
        if time is None:
            result.undated += 1
        elif time < now:
            expired.append({"_id": token["_id"], "_rev": token["_rev"], "_deleted": True})
        else:
            result.valid += 1
    if not expired:
        return
    replies = database.swap(expired)
    # A conflict: somebody has changed or deleted it, or this is a retry of a write that succeeded.
    result.deleted += sum(not reply.error for reply in replies)
    result.failed += sum(bool(reply.error) and reply.error != "conflict" for reply in replies)


def _time(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
