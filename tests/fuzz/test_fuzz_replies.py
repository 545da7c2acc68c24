"""Short fuzzing of server replies: commands accept them or report an error.

A proxy in front of a real server changes one of its replies. Each command must end with one of its exit codes, never
with an internal error. ``FUZZ_SECONDS`` is the time for each command.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as each_of
from hypothesis import strategies as st

from dataloader.batch import read_manifest
from dataloader.common import ExitCode
from dataloader.couch import Server
from dataloader.operations import all_sources, load
from dataloader.records import read_snapsets
from dataloader.records.models import DEFAULT_MODEL
from dataloader.target import Target
from tests.fuzz.changes import Choices, change, edit
from tests.support.command import Command
from tests.support.marks import THOROUGH
from tests.support.proxy import Forward, Proxy, Reply, Request
from tests.support.raw_server import RawServer
from tests.support.registry import SERVER_COMMANDS, arguments

pytestmark = THOROUGH

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = 6
"""Changed replies for each command in the short run."""
LIMIT = 60.0
"""Seconds that a command may take without waiting, on a busy machine."""
QUIET = settings(deadline=None, max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))

NUMBERS = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30)
"""The numbers that a change is made from."""

Ask = Callable[..., None]


@pytest.fixture
def model_name(request: pytest.FixtureRequest) -> str:
    """One model; replies have the same form for all."""
    return DEFAULT_MODEL


@pytest.fixture
def ask(here: Command, on_target: list[str], credentials: dict[str, str], target: Target, given: tuple[Path, Path],
        monkeypatch: pytest.MonkeyPatch) -> Ask:  # fmt: skip
    """Run a command on a server, and see that it ends as it may: ``ask("load", url)``."""
    for name, value in {**credentials, "DATALOADER_RETRIES": "1", "DATALOADER_TIMEOUT": "10"}.items():
        monkeypatch.setenv(name, value)

    def ask(name: str, url: str) -> None:
        options = [url if each == target.address.url else each for each in on_target]
        start = time.monotonic()
        done = here(name, *arguments(name, *given), *options)
        assert done.code in {*ExitCode} - {ExitCode.INTERNAL, ExitCode.USAGE, ExitCode.INTERRUPTED}, done
        assert "Traceback" not in done.stderr
        assert len(done.stderr) < 100_000
        assert time.monotonic() - start < LIMIT

    return ask


def until_the_end(hunt: Callable[[], None]) -> None:
    """Run once, and again while there is time."""
    end = time.monotonic() + SECONDS
    hunt()
    while time.monotonic() < end:
        hunt()


@pytest.mark.parametrize("name", SERVER_COMMANDS)
def test_changed_reply_is_accepted_or_reported(
    ask: Ask, server: Server, target: Target, given: tuple[Path, Path], name: str
) -> None:
    """One reply of a run has a change in its data or its bytes."""
    manifest, folder = given
    load(server, target, all_sources(target, [read_manifest(manifest)], read_snapsets(folder)))

    @QUIET
    @each_of(at=st.integers(0, 25), of_data=st.sampled_from([True, True, True, False]), numbers=NUMBERS)
    def hunt(at: int, numbers: list[int], *, of_data: bool) -> None:
        requests = count()

        def hook(request: Request, forward: Forward) -> Reply:
            reply = forward(request)
            if next(requests) != at:
                return reply
            choices = Choices(numbers)
            if not of_data:
                return replace(reply, body=edit(reply.body, choices, (b"{", b"}", b"[", b'"', b"null", b"\xff")))
            return replace(reply, body=json.dumps(change(json.loads(reply.body or b"null"), choices)).encode())

        with Proxy(target.address.url, hook) as proxy:
            ask(name, proxy.url)

    until_the_end(hunt)


def test_reply_of_any_bytes_is_accepted_or_reported(ask: Ask) -> None:
    """The reply may not even be HTTP."""
    good = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n"
        b'{"couchdb":"Welcome","version":"3.5.0"}   '
    )
    tokens = (
        *(b"\r\n", b"HTTP/1.1 ", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n"),
        *(
            b"Location: http://[::1\r\n",
            b"Retry-After: -1\r\n",
            b"9" * 20,
            b"-1",
            b"100 Continue",
            b"\0",
            b"{",
            b" 302 ",
        ),
    )

    @QUIET
    @each_of(edits=st.integers(1, 4), numbers=NUMBERS)
    def hunt(edits: int, numbers: list[int]) -> None:
        choices = Choices(numbers)
        sent = good
        for _ in range(edits):
            sent = edit(sent, choices, tokens)
        with RawServer(sent) as server:
            ask("check", server.url)

    until_the_end(hunt)
