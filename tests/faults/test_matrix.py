"""Faults at every kind of request, in every command: once and for good.

`make test` puts one failure, a 413 and a 202 in the way of each kind of request of the commands that differ most;
`make test-all` does so with the other commands, too, and adds the other failures.
Of failures that are all the same to the client (408 and 429; the 5xx), each kind of request meets one.

Each run ends in success with exactly the state that it has without a fault, or with the right exit code and one error
that says what was done; and after that the same command without a fault comes to exactly that state.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from itertools import groupby
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
from tests.faults.injection import COLUMNS, FAILURE, FAULTS, PATHS, Asked, Way
from tests.faults.matrix import Case, Outcome, Reference, Scenario, new_prefix, outcome, planted, prepare, reference
from tests.faults.page import PAGE, cells, legend, part, read_tables, tables, title, with_part
from tests.faults.scenarios import Situation
from tests.faults.states import LOCAL, State
from tests.support.marks import THOROUGH

WORKERS = 3
"""Cases under way at once; many of them do nothing but wait."""
MODEL = "gpii-key"
"""The model that all cases are carried out with; with the others, some."""
WRITING = ("load", "load, again", "load --update", "seed", "revoke", "revoke --undo", "restore")
SCENARIOS = (*WRITING, "backup", "plan", "verify", "status", "check", "check --security")
QUICK_ONES = ("load", "load --update", "revoke", "restore", "backup", "verify", "check")
"""The scenarios of `make test`; the others ask much of the same again."""
PRODUCT = "PouchDB Server"
"""The server that docs/faults.md tells of: the embedded one. On others, the same rules hold without a table."""
EACH_SCENARIO = pytest.mark.parametrize("name", SCENARIOS)
EACH_COLUMN = pytest.mark.parametrize("column", COLUMNS)
EACH_PATH = pytest.mark.parametrize("path", PATHS)

MANY = {f"POST /DB/{endpoint}" for endpoint in ("_bulk_docs", "_revs_diff", "_all_docs", "_bulk_get")}
MANY.add("POST /DB/_design/views/_view/VIEW")
"""Requests about many documents, of which smaller ones can be made."""
WRITES = {"PUT /DB", "PUT /DB/_local/dataloader", "PUT /DB/_local/dataloader-restore", "POST /DB/_bulk_docs"}
"""Requests of which a cluster may make fewer copies than wanted."""

REJECTED = {ExitCode.ATTENTION, ExitCode.VERIFY}
"""The exit codes where the server rejected documents: of a load or a revocation, and of a restore."""
LEFT_OUT = {
    "batches": "reads as status does",
    "card": "reads as verify does",
    "config": "reports a server that does not answer, and does not fail",
    "credentials": "writes a secret that is another one each time, so that two runs never come to the same",
    "drill": "is a backup, a restore and a verification, one after the other",
    "drop": "deletes whole databases; the next run deletes what is left",
    "init": "is check, and writes a local file",
    "snapsets": "reads as plan does",
    "taps": "counts failures instead of ending with them; see tests/operations/test_taps.py",
    "tokens": "deletes what has expired; the next run deletes what is left",
}
"""The commands that ask a server and have no scenario, and why."""


class Matrix:
    """All cases, each carried out when it is asked for."""

    def __init__(self, address: Address, scenarios: dict[tuple[str, str], Scenario], pool: ProcessPoolExecutor) -> None:
        self._address = address
        self._scenarios = scenarios
        self._pool = pool
        # What is read again of lagging copies is not the same each time.
        self._varies = Server(address).database("any").has_copies
        self.reference = cache(self._reference)
        self.outcomes = cache(self._outcomes)

    def _reference(self, model: str, name: str) -> Reference:
        """Return what a scenario comes to without a fault."""
        return self._pool.submit(reference, self._address, self._scenarios[model, name], model).result()

    def _outcomes(self, name: str, column: str, path: str | None) -> list[Outcome]:
        """Return what becomes of a scenario's requests; of ``path``, those that `make test` leaves out."""
        cases = []
        for turn, asked in enumerate(by_kind(self.reference(MODEL, name).asked).values()):
            turn += SCENARIOS.index(name)  # noqa: PLW2901 - so that scenarios of few requests do not all meet the same
            fault = column if column != FAILURE else failure(turn, path)
            if fault is not None:
                cases += [Case(name, MODEL, fault, way) for way in self.ways(asked, fault)]
        return [each.result() for each in [self.submit(case) for case in cases]]

    def ways(self, asked: list[Asked], fault: str) -> list[Way]:
        """Return the ways that a fault goes; where its size does not matter, any request of a kind may be hit."""
        return [replace(way, any_like_it=self._varies and fault != "413") for way in ways_of(asked, fault)]

    def submit(self, case: Case) -> Future[Outcome]:
        """Have a case carried out."""
        scenario, without = self._scenarios[case.model, case.scenario], self.reference(case.model, case.scenario)
        return self._pool.submit(outcome, self._address, case, scenario, without)


def failure(turn: int, path: str | None) -> str | None:
    """Return the failure that a request meets: in `make test` (no path), or else on a path if that is another one."""
    paths = [*PATHS]
    first = paths[turn % len(paths)]
    if path == first:
        return None
    faults = PATHS[path or first]
    return faults[turn // len(paths) % len(faults)]


def by_kind(asked: list[Asked]) -> dict[str, list[Asked]]:
    """Return the requests of each kind."""
    return {kind: list(found) for kind, found in groupby(asked, key=lambda each: each.kind)}


def ways_of(asked: list[Asked], fault: str) -> list[Way]:
    """Return a request of each kind to fail, once and for good.

    Which one it is differs from fault to fault, so that in all every request's turn comes. Where the size matters,
    it is the request about the fewest documents and the one about the most.
    """
    turn = [*FAULTS].index(fault)
    ways = []
    for kind, found in by_kind(asked).items():
        turn += 1
        for for_good in (False, True):
            some = [found[(turn + for_good) % len(found)]]
            if fault == "413" and kind in MANY:
                # One version of many documents is asked for in halves of what asked about them all.
                some = [found[-1]] if kind == "POST /DB/_bulk_get" else [found[0], found[-1]]
            ways += [Way(each, for_good) for each in dict.fromkeys(some)]
    return ways


@pytest.fixture(scope="module")
def matrix(address: Address, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """All cases; a target on which nothing is written stands there for all of them."""
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
        pool = ProcessPoolExecutor(WORKERS, get_context("spawn"), prepare, (folder, environment))
        yield Matrix(address, scenarios, stack.enter_context(pool))


def _is_write(case: Case) -> bool:
    return case.way.asked.kind in WRITES and case.scenario in WRITING


def wanted_code(case: Case, without: Reference) -> int:
    """Return the exit code that a case has to have."""
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
    """Yield what is wrong with what became of a case."""
    if not found.hits:
        yield "the fault did not come up"
    if case.fault == "202" and _is_write(case) and "made fewer copies than wanted" not in found.first.stderr:
        yield f"copies that are short are not told: {found.first.stderr}"
    code = wanted_code(case, without)
    if found.first.code != code:
        yield f"exit code {found.first.code}, not {code}: {found.first.stderr}"
    elif case.fault == "202" and _is_write(case):
        if (found.first.result, found.end) != (without.ran.result, without.end):
            yield f"not all is there, or said to be: {found.first}"
    elif code == without.ran.code and found.first.data == without.ran.data:
        if found.end != without.end:
            yield "another state than without the fault"
    else:
        yield from (_wrongs_of_rejections if code in REJECTED else _wrongs_of_error)(case, found, without)
    if found.again is not None and (found.again.code, found.end_again) != (without.ran.code, without.end):
        yield f"again, it does not come to what it comes to without the fault: {found.again}"


def _wrongs_of_rejections(case: Case, found: Outcome, without: Reference) -> Iterator[str]:
    if (
        not re.search("not accepted by the server|server did not accept", found.first.stderr)
        or found.first.data["failed"] == 0
    ):
        yield f"what failed is not told: {found.first}"


def _wrongs_of_error(case: Case, found: Outcome, without: Reference) -> Iterator[str]:
    ran = found.first
    said = re.fullmatch(r"error: ([^\n]+)\n", ran.stderr)
    data = json.loads(ran.stdout)
    if said is None or (data.get("error"), data.get("exit_code"), data.get("ok")) != (said[1], ran.code, False):
        yield f"not one line, on both streams: {ran}"
    elif case.scenario in WRITING and _documents(found.end) != _documents(without.start):
        if not re.search(
            r"stopped after [\d,]+ of [\d,]+ (documents|cards|leaves)|documents already written stay", said[1]
        ):
            yield f"it does not say what was done: {said[1]}"
        elif "run it again to continue" not in said[1]:
            yield f"it does not say that it continues: {said[1]}"


def _documents(state: State) -> dict[str, dict[str, Any]]:
    """Return what is in a target's databases, without what only this tool reads."""
    return {
        name: {each: leaves for each, leaves in (found or {}).items() if not each.startswith(LOCAL)}
        for name, found in state.items()
    }


def assert_right(matrix: Matrix, found: list[Outcome]) -> None:
    """See that everything is right with what became of cases."""
    assert found
    wrong = [
        f"{each.case}: {what}"
        for each in found
        for what in wrongs(each.case, each, matrix.reference(each.case.model, each.case.scenario))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def page(matrix: Matrix, server: Server, request: pytest.FixtureRequest) -> str:
    """The text of docs/faults.md, written anew before where that is wanted."""
    text = PAGE.read_text("utf-8")
    if request.config.getoption("--write-docs"):
        assert server.welcome().product == PRODUCT, f"{PAGE.name} tells of {PRODUCT}; unset COUCHDB_URL"
        text = with_part(text, "faults", legend())
        there = read_tables(part(text, PRODUCT))
        # Each as soon as it is known, so that an interrupted run leaves what it found; first those that are lacking.
        for name in sorted(SCENARIOS, key=lambda name: title(name) in there):
            there[title(name)] = cells(each for column in COLUMNS for each in matrix.outcomes(name, column, None))
            found = {each: there[title(each)] for each in SCENARIOS if title(each) in there}
            text = with_part(text, PRODUCT, tables(found))
            PAGE.write_text(text, "utf-8")
    return part(text, PRODUCT)


def assert_page(page: str, server: Server, name: str, outcomes: list[Outcome]) -> None:
    """See that docs/faults.md says of a scenario what was found on the server that it is about."""
    if server.welcome().product != PRODUCT:
        return
    found = cells(outcomes)
    written = read_tables(page)[title(name)]
    assert found == {kind: {each: written.get(kind, {}).get(each) for each in cell} for kind, cell in found.items()}, (
        f"{PAGE.name} is stale: run `make faults`"
    )


@EACH_COLUMN
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK_ONES else THOROUGH) for name in SCENARIOS]
)
def test_command_survives_fault(matrix: Matrix, page: str, server: Server, name: str, column: str) -> None:
    """Wherever a fault comes up, once or for good: the right end, the right words, and again the right state."""
    outcomes = matrix.outcomes(name, column, None)
    assert_right(matrix, outcomes)
    assert_page(page, server, name, outcomes)
    assert {each.case.way.asked.kind for each in outcomes} == {*by_kind(matrix.reference(MODEL, name).asked)}


@THOROUGH
@EACH_PATH
@EACH_SCENARIO
def test_command_survives_every_failure(matrix: Matrix, page: str, server: Server, name: str, path: str) -> None:
    """The failures that each kind of request does not meet in ``test_command_survives_fault``."""
    outcomes = matrix.outcomes(name, FAILURE, path)
    assert_right(matrix, outcomes)
    assert_page(page, server, name, outcomes)


@THOROUGH
@pytest.mark.parametrize("model", [name for name in model_names() if name != MODEL])
@EACH_SCENARIO
def test_command_survives_faults_with_another_model(matrix: Matrix, model: str, name: str) -> None:
    """Each kind of request meets some faults there, too."""
    some = list(FAULTS)
    cases = []
    for at, asked in enumerate(by_kind(matrix.reference(model, name).asked).values()):
        faults = [some[(3 * at + step) % len(some)] for step in (0, 5)]
        cases += [Case(name, model, fault, way) for fault in faults for way in matrix.ways(asked, fault)]
    assert_right(matrix, [each.result() for each in [matrix.submit(case) for case in cases]])


def test_every_command_that_needs_a_server_meets_the_faults() -> None:
    """Every command that has a target has a scenario, or is left out by name."""
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in COMMANDS}
    with_target = {
        name for name, command in commands.items() if command and "url" in {each.name for each in command.params}
    }
    assert {re.split(r"[ ,]", name)[0] for name in SCENARIOS} == with_target - {*LEFT_OUT}
    assert with_target > {*LEFT_OUT}


def test_the_page_tells_of_every_fault_and_every_command() -> None:
    """docs/faults.md has each fault with what it is, and a table a scenario, and no other."""
    text = PAGE.read_text("utf-8")
    assert part(text, "faults") == legend(), f"{PAGE.name} is stale: run `make faults`"
    there = read_tables(text)
    assert [*there] == [title(name) for name in SCENARIOS]
    assert part(text, PRODUCT) == tables({name: there[title(name)] for name in SCENARIOS})
