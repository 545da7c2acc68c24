"""Faults in every kind of request of every command, temporary and permanent.

`make test` tests one failure for each kind of request of the most different commands, and mostly also a 413 and a 202;
`make test-all` adds the other commands and failures. Of failures that the client treats alike (408 and 429; the 5xx),
each kind of request gets one. It gets a quarter of the failures in one scenario, the others in other scenarios, since
retrying does not depend on the command; a kind that few scenarios make gets more in each.

Each run must succeed with exactly the same state as without a fault, or have the right exit code and one error that
says what was done; afterwards, the same command without a fault must lead to exactly that state.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from itertools import cycle, groupby
from multiprocessing import get_context
from typing import Any

import click
import pytest

from dataloader.cli import COMMANDS, cli
from dataloader.common import ExitCode
from dataloader.couch import Address, Server
from dataloader.records.models import get_model, model_names
from dataloader.replication.staged_views import STAGED_SUFFIX
from dataloader.target import Environment, Target
from tests.faults.injection import COLUMNS, FAILURE, FAULTS, PATHS, Asked, Way, path_of
from tests.faults.matrix import Case, Outcome, Reference, Scenario, new_prefix, outcome, planted, prepare, reference
from tests.faults.page import PAGE, cells, legend, part, read_tables, tables, title, with_part
from tests.faults.scenarios import Situation
from tests.faults.states import LOCAL, State
from tests.support.marks import THOROUGH

WORKERS = 3
"""Concurrent cases; many of them only wait."""
MODEL = "gpii-key"
"""The model for all cases; some run with the others, too."""
WRITING = ("load", "load, again", "load --update", "merge", "seed", "revoke", "revoke --undo", "restore")
SCENARIOS = (*WRITING, "backup", "plan", "verify", "status", "check", "check --security")
QUICK_ONES = {
    **dict.fromkeys(("revoke", "verify", "check"), COLUMNS),
    # An update also creates documents. A 413 of a load has tests of its own, tests/operations/load/test_writing.py.
    "load --update": (FAILURE, "202"),
}
"""The scenarios of `make test`, and their columns; the others make mostly the same requests."""
OTHER_MODELS = ("load --update", "revoke", "revoke --undo", "verify", "backup", "restore")
"""The scenarios that run with the other models, too; the others make mostly the same requests."""
PRODUCT = "PouchDB Server"
"""The server that docs/faults.md describes: the embedded one. Others follow the same rules, without a table."""
EACH_SCENARIO = pytest.mark.parametrize("name", SCENARIOS)

MANY = {f"POST /DB/{endpoint}" for endpoint in ("_bulk_docs", "_revs_diff", "_all_docs", "_bulk_get")}
MANY.add("POST /DB/_design/views/_view/VIEW")
"""Requests about many documents, which can be split."""
WRITES = {"PUT /DB", "PUT /DB/_local/dataloader", "PUT /DB/_local/dataloader-restore", "POST /DB/_bulk_docs"}
"""Requests for which a cluster may write fewer copies than requested."""

REJECTED = {ExitCode.ATTENTION, ExitCode.VERIFY}
"""The exit codes for documents rejected by the server: of load and revoke, and of restore."""
LEFT_OUT = {
    "batches": "reads as status does",
    "card": "reads as verify does",
    "config": "reports a server that does not answer, and does not fail",
    "credentials": "writes a new secret each time, so two runs never give the same result",
    "drill": "is a backup, a restore and a verification, one after the other",
    "drop": "deletes whole databases; the next run deletes what is left",
    "init": "is check, and writes a local file",
    "snapsets": "reads as plan does",
    "taps": "counts failures instead of ending with them; see tests/operations/test_taps.py",
    "tokens": "deletes what has expired; the next run deletes what is left",
}
"""Commands that use a server and have no scenario, with the reason."""


class Matrix:
    """All cases; each runs when it is first needed."""

    def __init__(self, address: Address, scenarios: dict[tuple[str, str], Scenario], pool: ProcessPoolExecutor) -> None:
        self._address = address
        self._scenarios = scenarios
        self._pool = pool
        # Reads of lagging copies differ from run to run.
        self._varies = Server(address).database("any").has_copies
        self.reference = cache(self._reference)
        self.outcomes = cache(self._outcomes)
        self.shares = cache(self._shares)

    def _reference(self, model: str, name: str) -> Reference:
        """Return the result of a scenario without a fault."""
        return self._pool.submit(reference, self._address, self._scenarios[model, name], model).result()

    def _outcomes(self, name: str, column: str) -> list[Outcome]:
        """Return the outcomes of a fault for each kind of request of a scenario; for any failure, of one each."""
        kinds = by_kind(self.reference(MODEL, name).asked)
        faults = first_failures(name, [*kinds]) if column == FAILURE else dict.fromkeys(kinds, column)
        return self.run(
            [Case(name, MODEL, faults[kind], way) for kind in kinds for way in self.ways(kinds[kind], faults[kind])]
        )

    def other_outcomes(self, name: str) -> list[Outcome]:
        """Return the outcomes of the other failures of a scenario's share."""
        kinds = by_kind(self.reference(MODEL, name).asked)
        # Once retries have ended, all failures have the same result: one more of them is enough.
        return self.run(
            [
                Case(name, MODEL, fault, way)
                for kind, asked in kinds.items()
                for number, fault in enumerate(self.shares()[name, kind][1:])
                for way in self.ways(asked, fault)
                if number == 0 or not way.for_good
            ]
        )

    def _shares(self) -> dict[tuple[str, str], list[str]]:
        return shares({name: [*by_kind(self.reference(MODEL, name).asked)] for name in SCENARIOS})

    def run(self, cases: Sequence[Case]) -> list[Outcome]:
        """Run cases concurrently."""
        return [each.result() for each in [self._submit(case) for case in cases]]

    def ways(self, asked: list[Asked], fault: str) -> list[Way]:
        """Return the requests that a fault affects; if their size does not matter, one request of each kind."""
        return [replace(way, any_like_it=self._varies and fault != "413") for way in ways_of(asked, fault)]

    def _submit(self, case: Case) -> Future[Outcome]:
        scenario, without = self._scenarios[case.model, case.scenario], self.reference(case.model, case.scenario)
        return self._pool.submit(outcome, self._address, case, scenario, without)


def first_failures(name: str, kinds: Sequence[str]) -> dict[str, str]:
    """Return the failure that `make test` tests for each kind of request of a scenario."""
    # Begin with another one each time, so that short scenarios do not all get the same.
    start = SCENARIOS.index(name)
    return {kind: failure(name, turn) for turn, kind in enumerate(kinds, start)}


def shares(kinds: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[str]]:
    """Return the failures to test by scenario and kind of request: a quarter, and what no other scenario tests.

    The first one is that of `make test`.

    Args:
        kinds: the kinds of requests of each scenario.
    """
    found = {
        (name, kind): [first, failure(name, [*PATHS].index(path_of(first)) + len(PATHS) // 2)]
        for name, made in kinds.items()
        for kind, first in first_failures(name, made).items()
    }
    for kind in {kind for _, kind in found}:
        places = [place for place in found if place[1] == kind]
        tested = {path_of(fault) for place in places for fault in found[place]}
        for place, path in zip(cycle(places), [each for each in PATHS if each not in tested], strict=False):
            found[place].append(failure(place[0], [*PATHS].index(path)))
    return found


def failure(name: str, turn: int) -> str:
    """Return one of the failures, which take turns; of those that the client treats alike, one for each scenario."""
    alike = PATHS[[*PATHS][turn % len(PATHS)]]
    return alike[SCENARIOS.index(name) % len(alike)]


def by_kind(asked: list[Asked]) -> dict[str, list[Asked]]:
    """Group requests by kind."""
    return {kind: list(found) for kind, found in groupby(asked, key=lambda each: each.kind)}


def ways_of(asked: list[Asked], fault: str) -> list[Way]:
    """Return one request of each kind to fail, temporarily and permanently.

    The choice differs between faults, so that every request gets its turn. If the size matters, the requests about the
    fewest and the most documents are chosen.
    """
    turn = [*FAULTS].index(fault)
    ways = []
    for kind, found in by_kind(asked).items():
        turn += 1
        for for_good in (False, True):
            some = [found[(turn + for_good) % len(found)]]
            if fault == "413" and kind in MANY:
                # A single version is requested in halves of the request about many documents.
                some = [found[-1]] if kind == "POST /DB/_bulk_get" else [found[0], found[-1]]
            ways += [Way(each, for_good) for each in dict.fromkeys(some)]
    return ways


@pytest.fixture(scope="module")
def matrix(address: Address, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """All cases; they share a target for commands that write nothing."""
    folder = tmp_path_factory.mktemp("faults")
    situation = Situation(folder, server)
    environment = {"DATALOADER_RETRY_WAIT": "0"}
    if address.user is not None:
        environment |= {"COUCHDB_USER": address.user, "COUCHDB_PASSWORD": address.password or ""}
    with ExitStack() as stack:
        scenarios: dict[tuple[str, str], Scenario] = {}
        for name in model_names():
            target = Target(address, get_model(name), Environment.CI, new_prefix())
            stack.enter_context(planted(server, target, situation.disturbed(name)))
            scenarios |= {(name, each.name): each for each in situation.scenarios(name, target.prefix)}
        context = get_context("forkserver")
        # Imports once for all processes.
        context.set_forkserver_preload([outcome.__module__])
        pool = ProcessPoolExecutor(WORKERS, context, prepare, (folder, environment))
        yield Matrix(address, scenarios, stack.enter_context(pool))


def _is_write(case: Case) -> bool:
    return case.way.asked.kind in WRITES and case.scenario in WRITING


def wanted_code(case: Case, without: Reference) -> int:
    """Return the expected exit code of a case."""
    asked = case.way.asked
    if case.fault == "202":
        return ExitCode.NODES if _is_write(case) and without.ran.code == ExitCode.OK else without.ran.code
    if case.fault == "413":
        if not case.way.for_good and asked.kind in MANY and (asked.documents > 1 or STAGED_SUFFIX in asked.rest):
            return without.ran.code
        rejected = asked.kind == "POST /DB/_bulk_docs" and case.scenario in WRITING
        refused = ExitCode.VERIFY if case.scenario == "restore" else ExitCode.ATTENTION
        return refused if rejected else ExitCode.PROTOCOL
    return ExitCode.UNREACHABLE if case.way.for_good else without.ran.code


def wrongs(case: Case, found: Outcome, without: Reference) -> Iterator[str]:
    """Yield everything that is wrong with the outcome of a case."""
    if not found.hits:
        yield "the fault never happened"
    if case.fault == "202" and _is_write(case) and "made fewer copies than requested" not in found.first.stderr:
        yield f"missing copies are not reported: {found.first.stderr}"
    code = wanted_code(case, without)
    if found.first.code != code:
        yield f"exit code {found.first.code}, not {code}: {found.first.stderr}"
    elif case.fault == "202" and _is_write(case):
        if (found.first.result, found.end) != (without.ran.result, without.end):
            yield f"something is missing, or not reported: {found.first}"
    elif code == without.ran.code and found.first.data == without.ran.data:
        if found.end != without.end:
            yield "the end state differs from that without the fault"
    else:
        yield from (_wrongs_of_rejections if code in REJECTED else _wrongs_of_error)(case, found, without)
    if found.again is not None and (found.again.code, found.end_again) != (without.ran.code, without.end):
        yield f"after another run, the state differs from that without the fault: {found.again}"


def _wrongs_of_rejections(case: Case, found: Outcome, without: Reference) -> Iterator[str]:
    if (
        not re.search("rejected by the server|server did not accept", found.first.stderr)
        or found.first.data["failed"] == 0
    ):
        yield f"the error does not say what failed: {found.first}"


def _wrongs_of_error(case: Case, found: Outcome, without: Reference) -> Iterator[str]:
    ran = found.first
    # A retry that people wait for is shown.
    said = re.fullmatch(r"(?:\S+: [^\n]+, retrying [^\n]+\n)*error: ([^\n]+)\n", ran.stderr)
    data = json.loads(ran.stdout)
    if said is None or (data.get("error"), data.get("exit_code"), data.get("ok")) != (said[1], ran.code, False):
        yield f"not one line, on both streams: {ran}"
    elif case.scenario in WRITING and _documents(found.end) != _documents(without.start):
        if not re.search(
            r"stopped after [\d,]+ of [\d,]+ (documents|cards|leaves|preference sets)|documents already written stay",
            said[1],
        ):
            yield f"it does not say what was done: {said[1]}"
        elif "run it again to continue" not in said[1]:
            yield f"it does not say that it continues: {said[1]}"


def _documents(state: State) -> dict[str, dict[str, Any]]:
    """Return the documents in a target's databases, without those that only this tool reads."""
    return {
        name: {each: leaves for each, leaves in (found or {}).items() if not each.startswith(LOCAL)}
        for name, found in state.items()
    }


def assert_right(matrix: Matrix, found: list[Outcome]) -> None:
    """Check the outcomes of cases."""
    assert found
    wrong = [
        f"{each.case}: {what}"
        for each in found
        for what in wrongs(each.case, each, matrix.reference(each.case.model, each.case.scenario))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def page(matrix: Matrix, server: Server, request: pytest.FixtureRequest) -> str:
    """The text of docs/faults.md, first updated if requested."""
    text = PAGE.read_text("utf-8")
    if request.config.getoption("--write-docs"):
        assert server.welcome().product == PRODUCT, f"{PAGE.name} describes {PRODUCT}; unset COUCHDB_URL"
        text = with_part(text, "faults", legend())
        there = read_tables(part(text, PRODUCT))
        # Write each result at once, so that an interrupted run keeps what it found; missing ones first.
        for name in sorted(SCENARIOS, key=lambda name: title(name) in there):
            there[title(name)] = cells(each for column in COLUMNS for each in matrix.outcomes(name, column))
            found = {each: there[title(each)] for each in SCENARIOS if title(each) in there}
            text = with_part(text, PRODUCT, tables(found))
            PAGE.write_text(text, "utf-8")
    return part(text, PRODUCT)


def assert_page(page: str, server: Server, name: str, outcomes: list[Outcome]) -> None:
    """Check that docs/faults.md matches the outcomes on the server that it describes."""
    if server.welcome().product != PRODUCT:
        return
    found = cells(outcomes)
    written = read_tables(page)[title(name)]
    assert found == {kind: {each: written.get(kind, {}).get(each) for each in cell} for kind, cell in found.items()}, (
        f"{PAGE.name} is stale: run `make faults`"
    )


@pytest.mark.parametrize(
    ("name", "column"),
    [
        pytest.param(name, column, marks=() if column in QUICK_ONES.get(name, ()) else THOROUGH)
        for name in SCENARIOS
        for column in COLUMNS
    ],
)
def test_command_survives_fault(matrix: Matrix, page: str, server: Server, name: str, column: str) -> None:
    """Temporary or permanent, in any request: the right result and message, and the right state after a rerun."""
    outcomes = matrix.outcomes(name, column)
    assert_right(matrix, outcomes)
    assert_page(page, server, name, outcomes)
    assert {each.case.way.asked.kind for each in outcomes} == {*by_kind(matrix.reference(MODEL, name).asked)}


@THOROUGH
@EACH_SCENARIO
def test_command_survives_every_failure(matrix: Matrix, page: str, server: Server, name: str) -> None:
    """The failures not covered by ``test_command_survives_fault``: a scenario's share of them for each request."""
    outcomes = matrix.other_outcomes(name)
    assert_right(matrix, outcomes)
    assert_page(page, server, name, outcomes)


def test_every_kind_of_request_gets_every_failure() -> None:
    """In one scenario or another; the kinds are those of docs/faults.md, which the tests compare with real requests."""
    tables = read_tables(PAGE.read_text("utf-8"))
    kinds = {name: [*tables[title(name)]] for name in SCENARIOS}
    tested: dict[str, set[str]] = {}
    for (_, kind), faults in shares(kinds).items():
        assert len(faults) >= len(PATHS) // 4
        tested.setdefault(kind, set()).update(map(path_of, faults))
    assert all(paths == {*PATHS} for paths in tested.values())
    assert {fault for faults in shares(kinds).values() for fault in faults} == {*FAULTS} - {*COLUMNS}


@THOROUGH
@pytest.mark.parametrize("model", [name for name in model_names() if name != MODEL])
@pytest.mark.parametrize("name", OTHER_MODELS)
def test_command_survives_faults_with_another_model(matrix: Matrix, model: str, name: str) -> None:
    """Each kind of request gets one of the faults, and each fault comes up: requests are named alike in all models."""
    some = list(FAULTS)
    cases = []
    for at, asked in enumerate(by_kind(matrix.reference(model, name).asked).values(), SCENARIOS.index(name)):
        fault = some[3 * at % len(some)]
        cases += [Case(name, model, fault, way) for way in matrix.ways(asked, fault)]
    assert_right(matrix, matrix.run(cases))


def test_every_command_with_a_target_has_a_scenario() -> None:
    """Every command with a target has a scenario, or is listed as an exception."""
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in COMMANDS}
    with_target = {
        name for name, command in commands.items() if command and "url" in {each.name for each in command.params}
    }
    assert {re.split(r"[ ,]", name)[0] for name in SCENARIOS} == with_target - {*LEFT_OUT}
    assert with_target > {*LEFT_OUT}


def test_faults_page_covers_every_fault_and_command() -> None:
    """docs/faults.md has a description of each fault and a table for each scenario, and no others."""
    text = PAGE.read_text("utf-8")
    assert part(text, "faults") == legend(), f"{PAGE.name} is stale: run `make faults`"
    there = read_tables(text)
    assert [*there] == [title(name) for name in SCENARIOS]
    assert part(text, PRODUCT) == tables({name: there[title(name)] for name in SCENARIOS})
