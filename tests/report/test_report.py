"""Reports: their content, the page, and the option ``--report``."""

import json
import os
import re
import signal
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Event

import pytest
from bs4 import BeautifulSoup, Tag
from hypothesis import assume, given
from hypothesis import strategies as st

from dataloader import __version__
from dataloader.batch import Counts, Manifest, ReturnedCard, read_cards, read_reconciled, write_reconciled
from dataloader.batch import Verdict as Returned
from dataloader.common import ExitCode, listed, many
from dataloader.couch import Rejection, Server
from dataloader.operations import (
    CardVerdict,
    LoadResult,
    MergeResult,
    Outcome,
    Plan,
    RevokeOutcome,
    VerifyResult,
    VerifyVerdict,
    all_sources,
    generate,
)
from dataloader.operations.generate import Batch
from dataloader.operations.reconcile import ReturnedFile, reconcile
from dataloader.records import read_snapsets
from dataloader.replication import State
from dataloader.report import (
    History,
    Moment,
    Noted,
    Report,
    described,
    facts,
    load_report,
    merge_report,
    plan_report,
    reconcile_report,
    render,
    verify_report,
)
from dataloader.report import model as report_model
from dataloader.report.facts import duration
from dataloader.report.model import SHOWN, Share, Tone
from dataloader.report.notes import card_names
from dataloader.report.render import PATTERNS, percent, segments
from dataloader.report.timeline import draw
from dataloader.target import Environment, Target
from dataloader.vendor.returned import Reading
from tests.support.command import Command, Completed, Process
from tests.support.marks import ONE_MODEL
from tests.support.proxy import Forward, Hangup, Proxy, Reply, Request
from tests.support.records import access_of
from tests.support.report_samples import (
    HOSTILE,
    KINDS,
    TARGET,
    a_bad_load,
    a_batch,
    a_hostile_report,
    a_load,
    a_merge,
    a_plan,
    a_reconciliation,
    a_revocation,
    a_run,
    a_status,
    a_stop,
    a_verification,
    every_kind,
    in_conflict,
    some_batches,
    some_taps,
)
from tests.support.returned_files import CHIP, NOTE, RESULT, came_back, good_rows, write_csv
from tests.support.server import CARDS, agreed, as_admin, databases, put

EACH_KIND = pytest.mark.parametrize("kind", KINDS)
WHOLE_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
STYLE = Path(report_model.__file__).with_name("style.css")


@pytest.fixture(scope="module")
def spring(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A batch of 500 cards."""
    return a_batch(tmp_path_factory.mktemp("spring"))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """A report of every kind."""
    return every_kind(tmp_path_factory.mktemp("every-kind"))


Pages = Callable[[str], bytes]


@pytest.fixture(scope="module")
def pages(reports: dict[str, Report]) -> Pages:
    """Return the page of a kind of report; each is rendered once."""
    return cache(lambda kind: render(reports[kind]))


def parsed(page: bytes) -> BeautifulSoup:
    """Return a page as a parsed tree."""
    return BeautifulSoup(page.decode("utf-8"), "html.parser")


def the(tree: Tag, selector: str) -> Tag:
    """Return the only element of a page that matches a selector."""
    [found] = tree.select(selector)
    return found


def text(tree: Tag, selector: str) -> str:
    """Return the text of the only element that matches a selector, in one line."""
    return " ".join(the(tree, selector).get_text(" ").split())


# Content.


@pytest.mark.parametrize(
    ("counts", "verdict", "tone"),
    [
        ({"ok": 500}, "All 500 cards are ready.", Tone.GOOD),
        ({"ok": 1}, "The one card is ready.", Tone.GOOD),
        ({"ok": 400, "edited": 100}, "All 500 cards are ready.", Tone.GOOD),
        ({"ok": 497, "revoked": 3}, "497 cards are ready; 3 are revoked.", Tone.GOOD),
        ({"edited": 1, "revoked": 1}, "1 card is ready; 1 is revoked.", Tone.GOOD),
        ({"ok": 490, "revoked": 3, "missing": 4, "wrong": 3}, "7 of 500 cards would not work.", Tone.BAD),
    ],
)
def test_verdict_on_cards(spring: Manifest, counts: dict[str, int], verdict: str, tone: Tone) -> None:
    """A verify run is summed up in one sentence."""
    report = a_verification(spring, **counts)
    assert (report.verdict, report.tone) == (verdict, tone)
    assert {share.label: share.count for share in report.shares if share.count} == counts


def test_cards_that_do_not_work_are_listed_with_what_to_do(spring: Manifest) -> None:
    """The most serious come first, each with number, UUID and reason; there is one action for each verdict."""
    wrong, missing = a_verification(spring, ok=497, missing=2, wrong=1).attention
    assert (wrong.heading, missing.heading) == ("1 card wrong", "2 cards missing")
    assert wrong.todo == "Run the command below: it names the repair for each card. Then verify again."
    assert wrong.command == "dataloader verify {batch}{target}"
    assert missing.todo == "Load those that came back encoded, then verify again."
    assert missing.command == "dataloader load {ready}{target}"
    assert wrong.table is not None
    assert missing.table is not None
    assert [row[0] for row in missing.table.rows] == ["1, 2"]
    assert [row[:2] for row in wrong.table.rows] == [("3", [*spring.cards()][2].uuid)]


def test_sample_is_marked_as_one(spring: Manifest) -> None:
    """The report of a sample says that not every card was checked."""
    assert "200 cards, chosen at random from 500," in a_verification(spring, ok=200).lead[0]
    assert "every card" in a_verification(spring, ok=500).lead[0]


@pytest.mark.parametrize(
    ("outcomes", "verdict", "tone"),
    [
        ({Outcome.CREATED: 1513}, "All 500 cards are loaded.", Tone.GOOD),
        ({Outcome.UNCHANGED: 1500, Outcome.EDITED: 10, Outcome.DELETED: 3}, "All 500 cards are loaded.", Tone.GOOD),
        ({Outcome.CREATED: 1512, Outcome.FOREIGN: 1}, "1 document needs attention.", Tone.ATTENTION),
        ({Outcome.CREATED: 1500, Outcome.OUTDATED: 13}, "13 documents need attention.", Tone.ATTENTION),
    ],
)
def test_verdict_on_a_load(spring: Manifest, outcomes: dict[Outcome, int], verdict: str, tone: Tone) -> None:
    """A load is summed up in one sentence."""
    report = a_load(spring, outcomes)
    assert (report.verdict, report.tone) == (verdict, tone)
    assert report.total == 1513


def test_edits_are_reported_as_kept(spring: Manifest) -> None:
    """Edited and deleted documents need no attention, and are reported as kept."""
    report = a_load(spring, {Outcome.UNCHANGED: 1500, Outcome.EDITED: 1, Outcome.DELETED: 3})
    assert "Not changed: 1 document edited by their owners and 3 documents deleted since an earlier load." in (
        report.lead
    )
    assert report.attention == ()


def test_load_without_cards_is_reported_by_documents(spring: Manifest) -> None:
    """If only snapsets and views are loaded, the report does not mention cards."""
    target = a_run().target
    assert target is not None
    result = LoadResult({"preferences": {"preferences": Counter({Outcome.CREATED: 13})}})
    report = load_report(target, [], [], result, Noted())
    assert (report.about, report.verdict) == ("Load of snapsets and views", "All 13 documents are in place.")


def test_documents_that_need_attention_are_listed_with_what_to_do(spring: Manifest) -> None:
    """There is one action for each state; documents of cards have their numbers, and the rest are counted."""
    report = a_bad_load(spring)
    headings = [each.heading for each in report.attention]
    assert headings == [
        "1 document rejected by the server",
        "1 document in conflict",
        "1 document not written by this tool",
        "500 documents outdated",
        "1 node of the cluster down",
    ]
    assert all(each.todo for each in report.attention)
    failed, conflict, _, outdated, node = report.attention
    uuids = [card.uuid for card in spring.cards()]
    assert failed.table is not None
    assert failed.table.rows == ((uuids[0], "1", "doc_validation: not allowed"),)
    assert conflict.table is not None
    assert conflict.table.head == ("Document", "Database", "Card")
    assert conflict.table.rows == ((f"user-{uuids[0]}", "pilot-auth", "1"),)
    assert (outdated.more, outdated.all_of_them.startswith("--details FILE")) == (460, True)
    assert node.items == ("couchdb@node2.example.org",)
    assert (failed.meaning, failed.todo) == ("", "Fix the cause, then load again.")
    assert outdated.meaning.startswith("Written by an earlier load")
    assert outdated.todo.startswith("Load with --update")
    page = render(report).decode()
    assert "Run <code>dataloader merge</code> for cards" in page
    assert "`" not in page.partition("<body>")[2]


def test_missing_node_is_the_verdict_if_all_else_is_well(spring: Manifest) -> None:
    """The report says that copies may be missing."""
    report = a_load(spring, nodes_away=("couchdb@node2",))
    assert report.verdict == "Everything has been written, but part of the cluster was down."
    assert report.tone is Tone.ATTENTION


def test_fewer_copies_are_the_verdict_if_all_else_is_well(spring: Manifest) -> None:
    """The cluster said so with a status, although no node is reported as down; the exit code is that of a node down."""
    report = a_load(spring, short_of_copies=True)
    assert report.verdict == "Everything has been written, but some copies are missing."
    assert (report.tone, [each.heading for each in report.attention]) == (
        Tone.ATTENTION,
        ["Fewer copies than requested"],
    )


def test_revocation_while_a_node_is_down_needs_attention(spring: Manifest) -> None:
    """The cards no longer work, but copies may be missing."""
    report = a_revocation(spring, RevokeOutcome.REVOKED, nodes_away=("couchdb@node2",))
    assert (report.verdict, report.tone) == ("1 card revoked.", Tone.ATTENTION)
    assert [each.heading for each in report.attention] == ["1 node of the cluster down"]


@pytest.mark.parametrize(
    ("sets", "verdict", "tone", "headings"),
    [
        ({}, "No preference set is in conflict.", Tone.GOOD, []),
        ({"merged": 1}, "The one preference set is merged.", Tone.GOOD, []),
        ({"merged": 3}, "All 3 preference sets in conflict are merged.", Tone.GOOD, []),
        (
            {"merged": 3, "choose": 1},
            "1 preference set is still in conflict.",
            Tone.ATTENTION,
            ["1 preference set needs a choice"],
        ),
        (
            {"choose": 1, "ready": 2},
            "3 preference sets are still in conflict.",
            Tone.ATTENTION,
            ["1 preference set needs a choice", "2 preference sets not merged"],
        ),
        (
            {"choose": 1, "ready": 2, "dry_run": True},
            "3 preference sets are in conflict.",
            Tone.ATTENTION,
            ["1 preference set needs a choice", "2 preference sets that can be merged"],
        ),
    ],
)
def test_verdict_on_a_merge(
    spring: Manifest, sets: dict[str, int], verdict: str, tone: Tone, headings: list[str]
) -> None:
    """What is still in conflict comes first, with a command for each kind."""
    report = a_merge(spring, **sets)  # type: ignore[arg-type]
    assert (report.verdict, report.tone) == (verdict, tone)
    assert [each.heading for each in report.attention] == headings
    assert all(each.command.startswith("dataloader merge {batch}{target}") for each in report.attention)
    assert report.total == sum(sets.values()) - sets.get("dry_run", 0)


def test_sets_in_conflict_are_listed_by_revision(spring: Manifest) -> None:
    """With what each edit changed, and what to choose; values, which are personal, only on request."""
    [choose] = a_merge(spring, choose=1).attention
    uuid = next(iter(spring.cards())).uuid
    assert choose.command.count(" --keep REVISION") == 1, "as many as there are sets, at most two"
    assert a_merge(spring, choose=3).attention[0].command.count(" --keep REVISION") == 2
    assert choose.table is not None
    assert choose.table.head == ("Card", "UUID", "Revision", "What it changed", "What to choose")
    assert choose.table.rows == (
        ("1", uuid, "2-ffffffff", "fontSize", "both changed fontSize; choose one"),
        ("1", uuid, "2-eeeeeeee", "fontSize and language", "both changed fontSize; choose one"),
    )
    result = MergeResult(open=[in_conflict(uuid, {"fontSize": 30}, {"fontSize": 36})])
    [choose] = merge_report([spring], result, dry_run=True, values=True).attention
    assert choose.table is not None
    assert [row[3] for row in choose.table.rows] == ["fontSize = 30", "fontSize = 36"]


def test_rejected_sets_are_reported_with_the_reason(spring: Manifest) -> None:
    """The server's reason, and what to do."""
    uuid = next(iter(spring.cards())).uuid
    found = in_conflict(uuid, {"fontSize": 30}, {"language": "de"})
    result = MergeResult(open=[found], rejections=[Rejection(uuid, "doc_validation: not allowed")])
    [rejected] = merge_report([spring], result, dry_run=False, values=False).attention
    assert (rejected.tone, rejected.items) == (Tone.BAD, (f"document {uuid}: doc_validation: not allowed",))
    assert "Fix the cause" in rejected.todo


def test_number_of_one_is_singular(spring: Manifest) -> None:
    """In large type, too."""
    page = parsed(render(described(a_merge(spring, merged=1), a_run([spring]))))
    assert the(page, ".figures li:first-child").get_text(" ", strip=True) == "1 preference set merged"


def test_database_that_becomes_more_protected_needs_attention(spring: Manifest) -> None:
    """It may contain data of a less protected environment, even if the load succeeds."""
    report = a_load(spring, raised={"pilot-auth": Environment.CI})
    assert (report.verdict, report.tone) == ("All 500 cards are loaded.", Tone.ATTENTION)
    [raised] = report.attention
    assert raised.items == ("pilot-auth was loaded as ci",)
    assert "must not be in production" in raised.todo


def test_skipped_cards_are_reported(spring: Manifest, tmp_path: Path) -> None:
    """Of a reconciled file, encoded cards are counted, and the others are reported as skipped."""
    cards = [
        ReturnedCard(
            card, Returned.ENCODED if card.number > 20 else Returned.FAILED, reason="" if card.number > 20 else "no"
        )
        for card in spring.cards()
    ]
    path = tmp_path / "spring.reconciled.jsonl"
    with path.open("wb") as stream:
        counts = Counts(Counter(card.verdict for card in cards))
        write_reconciled(stream, spring.header, counts, cards)
    reconciled = read_cards(path)
    report = a_load(reconciled)
    assert report.verdict == "All 480 cards are loaded."
    assert "Skipped 20 of 500 cards of batch spring, which are not encoded." in report.lead
    told = [fact.value for fact in facts(a_run([reconciled])) if fact.name == "Batch"]
    assert told == ["spring (480 encoded of 500 cards)"]


@pytest.mark.parametrize(
    ("counts", "verdict", "tone"),
    [
        ({"missing": 500}, "None of the 500 cards are loaded yet.", Tone.GOOD),
        ({"ok": 500}, "All 500 cards are loaded; 0 are edited.", Tone.GOOD),
        ({"ok": 1}, "The one card is loaded; 0 are edited.", Tone.GOOD),
        ({"missing": 1}, "The one card is not loaded yet.", Tone.GOOD),
        ({"ok": 464, "edited": 35, "revoked": 1}, "All 500 cards are loaded; 35 are edited; 1 is revoked.", Tone.GOOD),
        ({"edited": 1, "missing": 499}, "1 of 500 cards is loaded; 1 is edited.", Tone.GOOD),
        ({"ok": 490, "missing": 7, "wrong": 3}, "3 of 500 cards would not work.", Tone.BAD),
    ],
)
def test_status_of_batches(spring: Manifest, counts: dict[str, int], verdict: str, tone: Tone) -> None:
    """A status is summed up in one sentence; cards that are not loaded yet are no failure."""
    report = a_status(spring, **counts)
    assert (report.verdict, report.tone) == (verdict, tone)
    assert report.total == sum(counts.values())


def test_status_has_a_row_for_each_batch(spring: Manifest) -> None:
    """And a total; encoded cards are shown if known."""
    [one] = a_status(spring, encoded=498, ok=490, edited=8, missing=2).tables
    assert one.head == ("Batch", "Minted", "Encoded", "Loaded", "Edited", "Revoked", "Missing", "Wrong")
    assert one.rows == (("spring", 500, 498, 498, 8, 0, 2, 0),)
    [two] = a_status(spring, spring, ok=499, wrong=1).tables
    assert "Encoded" not in two.head
    assert two.rows == (*(("spring", 500, 500, 0, 0, 0, 1),) * 2, ("total", 1000, 1000, 0, 0, 0, 2))


def test_reconciliation_report() -> None:
    """There is an action for each verdict of cards to encode again, the most serious first; unused spares are fine."""
    good, bad = a_reconciliation("all-well.xlsx"), a_reconciliation("everything.xlsx")
    assert (good.verdict, good.tone) == ("14 of 14 ordered cards are ready; 2 spares unused.", Tone.GOOD)
    assert (good.attention, good.total) == ((), 16)
    assert bad.tone is Tone.ATTENTION
    assert bad.verdict == (
        "1 of 14 ordered cards is ready; 13 to encode again; 2 spares unused; "
        "the chips of 7 cards must be destroyed; 1 row matches no card."
    )
    assert bad.total == 16
    assert [each.heading for each in bad.attention] == [
        *("3 cards duplicate", "4 cards altered", "4 cards failed", "2 cards missing", "1 row that matches no card"),
    ]
    assert all(each.todo for each in bad.attention)
    *_, missing, unknown = bad.attention
    assert missing.table is not None
    assert [row[0] for row in missing.table.rows] == ["5", "6"]
    assert unknown.table is not None
    assert unknown.table.rows[0][:2] == ("everything.xlsx, row 16", "04FFEEDDCCBB80")
    assert unknown.command == "dataloader card 04FFEEDDCCBB80 --in batches"
    assert [step.command for step in bad.steps] == [
        "dataloader load batches/library.reconciled.jsonl --target NAME",
        "dataloader reconcile {batch} RETURNED",
    ]
    assert "Send batches/library.reencode.xlsx to the vendor." in bad.steps[1].text


def test_cards_with_equal_findings_are_one_row(tmp_path: Path) -> None:
    """However many cards failed, the page says it once; other findings have their own rows."""
    batch = generate("spring", {"empty": 300}, tmp_path).manifest
    rows = good_rows(batch)
    for row in rows[5:290]:
        row[CHIP], row[RESULT], row[NOTE] = "", "failed", "no antenna"
    rows[298][CHIP] = rows[297][CHIP]
    found = reconcile(batch, [ReturnedFile(write_csv(tmp_path / "back.csv", rows))], Reading(cards=300))
    duplicate, failed = reconcile_report(found, 1, tmp_path / "spring.reconciled.jsonl", None).attention
    assert failed.table is not None
    assert failed.table.rows == (("6 to 290", "back.csv: the vendor says that it failed (note: no antenna)"),)
    assert failed.more == 0
    assert duplicate.table is not None
    [[numbers, reason]] = duplicate.table.rows
    assert (numbers, "(back.csv, line 299)" in str(reason)) == ("298, 299", True)


def test_unknown_rows_with_equal_findings_are_one_row(tmp_path: Path) -> None:
    """Rows of another batch are listed by their numbers in the file."""
    batch = generate("spring", {"empty": 3}, tmp_path).manifest
    other = generate("autumn", {"empty": 8}, tmp_path).manifest
    rows = [*good_rows(batch), *good_rows(other)[3:]]
    found = reconcile(batch, [ReturnedFile(write_csv(tmp_path / "back.csv", rows))], Reading(cards=3))
    [unknown] = reconcile_report(found, 1, tmp_path / "spring.reconciled.jsonl", None).attention
    assert unknown.table is not None
    assert [row[0] for row in unknown.table.rows] == ["back.csv, lines 5 to 9"]
    assert unknown.command.startswith("dataloader card ")


def test_warnings_that_change_no_verdict_are_reported() -> None:
    """A repeated row is reported although all is well."""
    report = a_reconciliation("repeated.xlsx")
    assert report.tone is Tone.GOOD
    [notice] = report.attention
    assert (notice.tone, notice.table is not None) == (Tone.QUIET, True)


def test_replaced_chips_are_listed(tmp_path: Path) -> None:
    """Chips that must not be used after encoding cards again are named."""
    batch = generate("spring", {"empty": 2}, tmp_path).manifest
    rows = good_rows(batch)
    first = write_csv(tmp_path / "first.csv", [*rows, [*rows[0][:4], "04AAAAAAAAAAAA", "ok", ""]])
    second = write_csv(tmp_path / "second.csv", rows[:1])
    files = [ReturnedFile(first), ReturnedFile(second, again=True)]
    found = reconcile(batch, files, Reading({}, None, cards=2))
    report = reconcile_report(found, 2, tmp_path / "spring.reconciled.jsonl", None)
    assert report.verdict == "2 of 2 ordered cards are ready."
    [aside] = [each for each in report.attention if "set aside" in each.heading]
    assert aside.table is not None
    assert "do not hand out chip 04AAAAAAAAAAAA" in str(aside.table.rows)


def test_reconcile_writes_its_report(here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has no target, and has the exit code; an unreadable file stops the run."""
    batch = generate("spring", {"empty": 20}, tmp_path).manifest
    rows = good_rows(batch)
    rows[4][5] = "failed"
    returned = write_csv(tmp_path / "back.csv", rows)
    path = tmp_path / "report.html"
    (tmp_path / "dataloader.toml").write_text('[target.pilot]\nurl = "http://127.0.0.1:1"\nenvironment = "ci"\n')
    monkeypatch.setenv("DATALOADER_CONFIG", str(tmp_path / "dataloader.toml"))
    assert here("reconcile", batch.path, returned, "--report", path).code == ExitCode.RETURNED
    assert text(page_of(path), "h1") == "19 of 20 ordered cards are ready; 1 to encode again."
    assert told(path).keys() == {"Exit code", "Command", "Batch", "Started", "Took", "Made by"}
    assert told(path)["Exit code"].startswith("13: ")
    assert f"dataloader load {tmp_path / 'spring.reconciled.jsonl'} --target pilot" in page_of(path).get_text()
    returned.write_text("nothing")
    again = tmp_path / "again.html"
    done = here("reconcile", batch.path, returned, "--report", again, "--out", tmp_path / "out")
    assert done.code == ExitCode.INPUT
    assert text(page_of(again), "h1") == "The reconciliation stopped before it was finished."
    assert text(page_of(again), "article li") in " ".join(done.stderr.split())


def test_plan_report_says_what_a_load_would_do(spring: Manifest) -> None:
    """How much a load would create, what prevents it, and that nothing has been written."""
    clean, doubtful = a_plan(spring), a_plan(spring, clean=False)
    assert (clean.verdict, clean.tone, clean.attention) == ("A load would create 1,512 documents.", Tone.GOOD, ())
    assert "A load would first create the databases pilot-preferences and pilot-auth." in clean.lead
    assert doubtful.verdict == "14 documents need attention; a load would create nothing."
    assert doubtful.lead[0].startswith("Nothing has been written.")
    assert [each.heading for each in doubtful.attention] == [
        "1 document in conflict",
        "4 documents not written by this tool",
        "1 document with views that are not ours",
        "8 documents outdated",
    ]
    assert "--replace-views" in doubtful.attention[2].todo


def test_stopped_run_says_what_to_do(spring: Manifest) -> None:
    """A load that stopped half-way says so first, and that running it again continues."""
    report = a_stop()
    assert (report.verdict, report.tone) == ("The load stopped before it was finished.", Tone.BAD)
    assert "it continues" in report.lead[0]
    assert len(report.attention[0].items) == 2


def test_facts_contain_no_secret(spring: Manifest) -> None:
    """Neither the password nor the user's name is among the facts of the run."""
    told = {fact.name: fact.value for fact in facts(a_run([spring], ExitCode.ATTENTION))}
    assert told == {
        "Exit code": f"9: {ExitCode.ATTENTION.meaning}",
        "Command": "dataloader load spring.batch.jsonl --target production",
        "Batch": "spring (500 cards)",
        "Target": "https://couchdb.example.org:6984",
        "Environment": "production",
        "Document model": "gpii-token",
        "Prefix of databases": "pilot-",
        "Server": "CouchDB 3.5.0",
        "Started": "2026-03-02 09:15:07 UTC",
        "Took": "4.2 s",
        "Made by": f"dataloader {__version__}",
    }


def test_notes_are_limited() -> None:
    """The first notes of each kind are kept and all are counted, so that no kind crowds out another."""
    noted = Noted[int]()
    for number in range(10 * SHOWN):
        noted("common", number)
    noted("rare", 1)
    assert (noted.of("common"), noted.counts["common"]) == ([*range(SHOWN)], 10 * SHOWN)
    assert (noted.of("rare"), noted.of("never")) == ([1], [])


def test_long_tables_are_cut_with_a_hint(spring: Manifest) -> None:
    """More than 200 cards of one verdict are counted, and the page says where to find them."""
    noted, result = Noted[CardVerdict](), VerifyResult(Counter({VerifyVerdict.MISSING: 500}))
    for card in spring.cards():
        noted(VerifyVerdict.MISSING, CardVerdict(card.uuid, VerifyVerdict.MISSING, f"reason {card.number}"))
    report = verify_report([spring], result, noted)
    tree = parsed(render(report))
    assert len(tree.select("article tbody tr")) == SHOWN
    assert text(tree, ".more") == (
        "And 300 more, not shown here. --details FILE lists all of them, a line of JSON each."
    )


def test_cards_are_named_by_number(spring: Manifest, tmp_path: Path) -> None:
    """With several batches, the batch's name is added; manifests are read only if cards are named."""
    autumn = generate("autumn", {"empty": 3}, tmp_path).manifest
    [first, *_] = spring.cards()
    [*_, last] = autumn.cards()
    assert card_names([spring], [first.uuid]) == {first.uuid: "1"}
    assert card_names([spring, autumn], {first.uuid, last.uuid}) == {first.uuid: "spring, 1", last.uuid: "autumn, 3"}
    autumn.path.unlink()
    assert card_names([autumn], []) == {}


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (200, "3 min 20 s"), (7512, "2 h 5 min")]
)
def test_durations_are_readable(seconds: float, told: str) -> None:
    """Seconds, minutes, hours."""
    assert duration(seconds) == told


def test_counts_and_lists_in_sentences() -> None:
    """They read naturally."""
    assert (many(1, "card"), many(0, "card"), many(1200, "card")) == ("1 card", "0 cards", "1,200 cards")
    assert [listed(names) for names in ("", "a", "ab", "abc", "abcdefg")] == [
        *("", "a", "a and b", "a, b and c", "a, b, c, d and 3 more"),
    ]


# The picture.


@pytest.mark.parametrize(
    ("count", "total", "told"),
    [(5, 5, "100 %"), (1, 3, "33.3 %"), (1, 100_000, "< 0.1 %"), (99_999, 100_000, "> 99.9 %"), (1, 1000, "0.1 %")],
)
def test_share_is_never_rounded_to_all_or_nothing(count: int, total: int, told: str) -> None:
    """Only all is 100 %, and only nothing is 0 %."""
    assert percent(count, total) == told


def test_shares_are_drawn_in_proportion() -> None:
    """Shares fill the width; the smallest is still visible, and zeros are omitted."""
    counts = {"most": 99_000, "none": 0, "some": 999, "one": 1}
    report = Report(
        "", "", Tone.GOOD, shares=tuple(Share(name, count, "", Tone.GOOD) for name, count in counts.items())
    )
    most, some, one = segments(report)
    assert [each.share.label for each in (most, some, one)] == ["most", "some", "one"]
    assert [each.pattern for each in (most, some, one)] == [11, 13, 14]
    assert most.x == 0
    assert some.x == pytest.approx(most.width, abs=0.01)
    assert one.x + one.width == pytest.approx(100, abs=0.01)
    assert most.width > 95
    assert one.width > 0.7
    assert "are drawn wider" in render(report).decode()


def test_report_without_shares_has_no_picture() -> None:
    """For example the report of a run that stopped."""
    tree = parsed(render(a_stop()))
    assert tree.select("figure") == []


# The page.


@EACH_KIND
def test_page_is_well_formed(pages: Pages, kind: str) -> None:
    """Language, title, landmarks, headings in order, names of tables and pictures; every reference resolves."""
    page = pages(kind)
    assert page.startswith(b"<!DOCTYPE html>\n")
    tree = parsed(page)
    assert the(tree, "html")["lang"] == "en"
    assert the(tree, "meta[charset]")["charset"] == "utf-8"
    assert the(tree, "head title").get_text()
    for landmark in ("body > header", "body > main", "body > footer"):
        the(tree, landmark)
    levels = [int(heading.name[1]) for heading in tree.select("h1, h2, h3, h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    ids = [each["id"] for each in tree.select("[id]")]
    assert len(ids) == len({*ids})
    for attribute in ("aria-labelledby", "aria-describedby"):
        for each in tree.select(f"[{attribute}]"):
            assert each[attribute] in ids
    for table in tree.select("table"):
        assert the(table, "caption").get_text(strip=True)
        assert table.select("thead th[scope=col]")
        assert all(row.select("th[scope=row]") for row in table.select("tbody tr"))
        columns = len(table.select("thead th"))
        assert all(len(row.select("th, td")) == columns for row in table.select("tbody tr"))
    for picture in tree.select("svg"):
        assert picture.get("aria-hidden") == "true" or (picture.get("role"), bool(picture.select("title"))) == (
            "img",
            True,
        )


@EACH_KIND
def test_page_is_self_contained(pages: Pages, kind: str) -> None:
    """There are no scripts, external resources or event handlers: it will look the same in ten years."""
    page = pages(kind)
    tree = parsed(page)
    assert tree.select("script, link, img, iframe, object, embed, form, base, a, meta[http-equiv], foreignobject") == []
    for element in tree.find_all(True):
        for name, value in element.attrs.items():
            assert not name.startswith("on"), element
            assert name not in {"src", "href", "style", "xlink:href", "srcset", "action"}, element
            assert "url(" not in value or re.fullmatch(r"url\(#share-[0-9]+\)", str(value)), element
    style = the(tree, "style").get_text()
    assert "url(" not in style
    assert "@import" not in style


def test_every_text_is_escaped() -> None:
    """Whatever is in a name or a server's reply, it is only text on the page."""
    page = render(a_hostile_report())
    tree = parsed(page)
    shown = '"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;{{ 7 * 7 }}\N{REPLACEMENT CHARACTER}\\udce9'
    assert text(tree, ".about").startswith(shown)
    assert text(tree, ".about").endswith("\N{REPLACEMENT CHARACTER}")
    assert text(tree, "h1").count("<script>alert(1)</script>") == 3
    texts = page.decode("utf-8")
    assert "<script" not in texts
    assert "<img" not in texts
    assert len(tree.select("article, figure, figure svg.bar, dl")) == 4
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", texts)
    assert HOSTILE not in texts


@EACH_KIND
def test_page_is_reproducible(reports: dict[str, Report], pages: Pages, kind: str) -> None:
    """The same report gives the same page, byte for byte."""
    assert render(reports[kind]) == pages(kind)


def test_uuids_are_shortened_everywhere(pages: Pages, spring: Manifest) -> None:
    """Alone or within an ID or a sentence, UUIDs are cut to eight characters; with ``full`` they are whole."""
    [card, *_] = spring.cards()
    bad = a_verification(spring, ok=499, missing=1)
    short, full = render(bad).decode(), render(bad, full=True).decode()
    assert card.uuid not in short
    assert f"document gpiiToken-{card.uuid[:8]}… does not exist" in short
    assert full.count(card.uuid) == 2
    for kind in KINDS:
        assert not WHOLE_UUID.search(pages(kind).decode())
    for written in (
        card.uuid.upper(),
        card.uuid.replace("-", ""),
        card.uuid.replace("-", " "),
        f"{card.uuid[:-1]}O",
        card.uuid[:-1],
        f"{card.uuid[:4]}O1x{card.uuid[7:]}",
        f"01234567{card.uuid[8:]}",
    ):
        page = render(replace(bad, lead=(f"({written})",), attention=()))
        assert text(parsed(page), ".lead") == f"({written[:8]}…)"


def test_text_similar_to_a_uuid_is_not_shortened() -> None:
    """Digests, names with a date, and revisions are unchanged."""
    for written in (
        "demo-20260302-091507.batch.jsonl",
        "row 12345678 of the file 1234",
        f"sha256:{'ab' * 32}",
        "couchdb@10.0.0.1",
        "2026-03-02",
    ):
        page = render(Report("about", "verdict", Tone.GOOD, (written,)))
        assert text(parsed(page), ".lead") == written


def luminance(colour: str) -> float:
    """Return a colour's relative luminance (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_and_patterns_are_distinguishable(scheme: str) -> None:
    """Every mark has a contrast of 3 to 1 to its background, as has every pattern (WCAG 2.2, 1.4.11)."""
    light, dark = re.findall(r":root \{([^}]*--page[^}]*--ink[^}]*)\}", STYLE.read_text("utf-8"))
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark))
    for tone in Tone:
        assert contrast(colours[tone], colours["paper"]) >= 3
        assert contrast(colours[tone], colours["ink"]) >= 3
        assert contrast(colours[tone], colours[f"{tone}-wash"]) >= 3
        for written in ("text", "soft"):
            assert contrast(colours[written], colours[f"{tone}-wash"]) >= 4.5
            assert contrast(colours[written], colours["paper"]) >= 4.5


# The option.


@pytest.fixture
def call(
    here: Command, on_target: list[str], credentials: dict[str, str], target: Target, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run a command on the test's target in this process: ``call("load", path)``, or with ``url=proxy.url``."""
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)

    def call(name: str, *arguments: object, url: str = target.address.url) -> Completed:
        return here(name, *(url if each == target.address.url else each for each in on_target), *arguments)

    return call


def page_of(path: Path) -> BeautifulSoup:
    """Return a written page as a parsed tree."""
    return parsed(path.read_bytes())


def told(path: Path) -> dict[str, str]:
    """Return the facts about the run on a page."""
    entries = the(page_of(path), "footer dl").select("div")
    return {text(each, "dt"): text(each, "dd") for each in entries}


@ONE_MODEL
def test_each_command_writes_its_report(call: Command, manifest: Manifest, target: Target, tmp_path: Path) -> None:
    """The page is readable by its owner only; the output of the command is the same as without it."""
    verdicts = {
        "plan": "A load would create",
        "load": f"All {CARDS} cards are loaded.",
        "verify": f"All {CARDS} cards are ready.",
        "status": f"All {CARDS} cards are loaded; 0 are edited.",
    }
    for name, verdict in verdicts.items():
        path = tmp_path / "new folder" / f"{name}.html"
        done = call(name, manifest.path, "--report", path, "--json")
        assert (done.code, done.stderr) == (ExitCode.OK, "")
        assert isinstance(done.data, dict)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert text(page_of(path), "h1").startswith(verdict)
        said = told(path)
        assert said["Exit code"] == "0: success"
        assert said["Command"].startswith(f"dataloader {name} {manifest.path} --url {target.address.url} ")
        assert said["Command"].endswith(f"--report '{path}'")
        assert (said["Batch"], said["Target"]) == (f"spring ({CARDS} cards)", target.address.url)
        assert (said["Environment"], said["Document model"]) == ("ci", target.model.name)
        assert said["Server"].startswith(("CouchDB 3", "PouchDB Server "))


def test_report_lists_what_needs_attention(
    call: Command, manifest: Manifest, server: Server, target: Target, tmp_path: Path
) -> None:
    """A foreign document is named by its card in every report, with the exit code."""
    [_, card, *_] = manifest.cards()
    place = access_of(target.model.name, card.uuid)
    database = databases(server, target)[place.database]
    database.create()
    put(database, {"_id": place.id, "type": "note"})
    codes = {"plan": ExitCode.OK, "load": ExitCode.ATTENTION, "verify": ExitCode.VERIFY, "status": ExitCode.VERIFY}
    for name, code in codes.items():
        path = tmp_path / f"{name}.html"
        assert call(name, manifest.path, "--report", path).code == code
        page = page_of(path)
        assert told(path)["Exit code"] == f"{int(code)}: {code.meaning}"
        [row] = page.select("article tbody tr")
        assert "2" in [cell.get_text() for cell in row.select("th, td")]
        assert f"{card.uuid[:8]}…" in row.get_text()
        assert card.uuid not in path.read_text("utf-8")
        full = tmp_path / f"{name}-full.html"
        call(name, manifest.path, "--report", full, "--full")
        assert card.uuid in full.read_text("utf-8")


@ONE_MODEL
@pytest.mark.parametrize("name", ["plan", "load", "verify", "status"])
def test_report_that_cannot_be_written_stops_the_command_first(
    call: Command, manifest: Manifest, server: Server, target: Target, tmp_path: Path, name: str
) -> None:
    """An existing page is kept, and the run does not start; nor if the folder is not a folder."""
    path = tmp_path / "report.html"
    path.write_text("mine")
    for wrong, says in (
        (path, "already exists; dataloader never overwrites files"),
        (path / "x.html", "is not a folder"),
    ):
        done = call(name, manifest.path, "--report", wrong)
        assert done.code == ExitCode.FILE
        assert says in done.stderr
    assert path.read_text() == "mine"
    assert not any(database.exists() for database in databases(server, target).values())


@ONE_MODEL
def test_stopped_load_has_a_report_and_can_continue(
    call: Command, manifest: Manifest, target: Target, tmp_path: Path
) -> None:
    """The page says what stopped the load and that it continues; run again with another page, it does."""

    def refuse_tokens(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and b"gpiiToken-" in request.body:
            return Reply.json(401, {"error": "unauthorized", "reason": "Name or password is incorrect."})
        return forward(request)

    path = tmp_path / "stopped.html"
    with Proxy(target.address.url, refuse_tokens) as proxy:
        done = call("load", manifest.path, "--report", path, url=proxy.url)
    assert done.code == ExitCode.CREDENTIALS
    page = page_of(path)
    assert text(page, "h1") == "The load stopped before it was finished."
    assert "it continues" in text(page, ".lead")
    assert text(page, "article li") == " ".join(done.stderr.removeprefix("error: ").split())
    assert "stopped after" in text(page, "article li")
    assert told(path)["Exit code"].startswith("6: ")
    again = tmp_path / "again.html"
    assert call("load", manifest.path, "--report", again).code == ExitCode.OK
    assert text(page_of(again), "h1") == f"All {CARDS} cards are loaded."


@ONE_MODEL
def test_ctrl_c_writes_a_report(
    process: Process, target: Target, credentials: dict[str, str], batch: Batch, on_target: list[str], tmp_path: Path
) -> None:
    """An interrupted load stops at once, with a page that says so."""
    hanging, over = Event(), Event()

    def hang(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs" and b"gpiiToken-" in request.body:
            hanging.set()
            over.wait(60)
            raise Hangup
        return forward(request)

    path = tmp_path / "interrupted.html"
    with Proxy(target.address.url, hang) as proxy:
        try:
            options = [proxy.url if each == target.address.url else each for each in on_target]
            started = process("load", batch.manifest.path, *options, "--report", path, env=credentials)
            assert hanging.wait(30)
            started.send_signal(signal.SIGINT)
            started.communicate(timeout=10)
        finally:
            over.set()
    assert started.returncode == ExitCode.INTERRUPTED
    assert text(page_of(path), "article li") == "It was interrupted (Ctrl-C)."
    assert told(path)["Exit code"].startswith("130: ")


@ONE_MODEL
@pytest.mark.parametrize("fails", [False, True])
def test_page_created_meanwhile_is_not_overwritten(
    call: Command, manifest: Manifest, target: Target, tmp_path: Path, *, fails: bool
) -> None:
    """If somebody creates the file during the run, theirs is kept; a failed run still prints its own error."""
    path = tmp_path / "report.html"

    def come_between(request: Request, forward: Forward) -> Reply:
        if request.endpoint == "_bulk_docs":
            path.write_text("theirs")
            if fails:
                return Reply.json(401, {"error": "unauthorized", "reason": "Name or password is incorrect."})
        return forward(request)

    with Proxy(target.address.url, come_between) as proxy:
        done = call("load", manifest.path, "--report", path, url=proxy.url)
    assert path.read_text() == "theirs"
    assert "already exists; dataloader never overwrites files" in done.stderr
    assert done.code == (ExitCode.CREDENTIALS if fails else ExitCode.FILE)
    assert ("warning: the report could not be written: " in done.stderr) == fails


@ONE_MODEL
def test_internal_error_writes_no_page(
    here: Command, manifest: Manifest, on_target: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is reported on the screen; a page that can't be trusted is not written."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("dataloader.cli.plan.plan_sources", fail)
    path = tmp_path / "report.html"
    assert here("plan", manifest.path, *on_target, "--report", path).code == ExitCode.INTERNAL
    assert list(tmp_path.glob("*report*")) == []


@ONE_MODEL
def test_report_contains_no_secret(
    here: Command, manifest: Manifest, target: Target, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No password is on the page, from a URL or otherwise, whether or not the run succeeds."""
    # An unknown user, and a password that is in no path: a server may lock accounts after wrong passwords.
    user, password = "nobody", "31415-sesame-92653"
    monkeypatch.setenv("DATALOADER_RETRIES", "0")
    with Proxy(target.address.url, lambda request, forward: forward(as_admin(request, target))) as proxy:
        for url, variables, code in (
            (target.address.url.replace("://", f"://{user}:{password}@"), {}, ExitCode.CREDENTIALS),
            (proxy.url, {"COUCHDB_USER": user, "COUCHDB_PASSWORD": password}, ExitCode.OK),
            (proxy.url.replace("://", f"://{user}:{password}@"), {}, ExitCode.OK),
        ):
            path = tmp_path / f"{code.name}-{len(variables)}.html"
            with monkeypatch.context() as patch:
                for name, value in variables.items():
                    patch.setenv(name, value)
                done = here(
                    *("load", manifest.path, "--url", url, "--environment", "ci", "--prefix", prefix, "--report", path)
                )
            assert done.code == code
            page = path.read_text("utf-8")
            assert url.rpartition("@")[2] in page
            assert password not in page
            assert f"{user}:" not in page


@ONE_MODEL
def test_report_and_details_must_be_different_files(call: Command, manifest: Manifest, tmp_path: Path) -> None:
    """The same name for both is an error before anything is done."""
    done = call("load", manifest.path, "--report", "out", "--details", tmp_path / "out")
    assert (done.code, "must be two files" in done.stderr) == (ExitCode.USAGE, True)
    assert not (tmp_path / "out").exists()


@ONE_MODEL
def test_full_without_a_report_affects_the_screen(call: Command, manifest: Manifest) -> None:
    """``--full`` prints whole UUIDs."""
    assert call("plan", manifest.path, "--full").code == ExitCode.OK


def test_equal_rows_are_folded(spring: Manifest) -> None:
    """Cards with the same finding are one row, with runs of numbers."""
    noted, result = Noted[CardVerdict](), VerifyResult(Counter({VerifyVerdict.MISSING: 150}))
    for card in spring.cards():
        if 6 <= card.number <= 155:
            noted(
                VerifyVerdict.MISSING, CardVerdict(card.uuid, VerifyVerdict.MISSING, f"document {card.uuid} is absent")
            )
    [missing] = verify_report([spring], result, noted).attention
    assert missing.table is not None
    assert missing.table.head == ("Card", "What was found")
    assert missing.table.rows == (("6 to 155", "document … is absent"),)


def test_snapsets_of_a_reconciled_file_are_those_of_its_cards(spring: Manifest, tmp_path: Path) -> None:
    """Not those of the whole batch."""
    encoded = read_reconciled(came_back(spring, tmp_path / "spring.reconciled.jsonl", 10))
    expected = Counter(card.snapset for card in encoded.cards())
    [table] = [each for each in described(a_load(encoded), a_run([encoded])).tables if "snapset" in each.caption]
    assert {*table.rows} == {*expected.items()}
    assert sum(expected.values()) == 10


def test_single_share_is_shown_as_numbers(reports: dict[str, Report], spring: Manifest) -> None:
    """If one share is everything, there are three large numbers and a table by snapset instead of a bar."""
    tree = parsed(render(reports["load"]))
    assert tree.select(".bar") == []
    assert [each.get_text(" ", strip=True) for each in tree.select(".figures li")] == [
        "1,513 documents created",
        "500 cards",
        "2 snapsets",
    ]
    assert "Cards by snapset" in [each.get_text() for each in tree.select("caption")]
    revoked = replace(a_revocation(spring, *[RevokeOutcome.REVOKED] * 3), shares=())
    a_few = described(replace(revoked, shares=(Share("revoked", 3, "", Tone.GOOD),)), a_run([spring]))
    tree = parsed(render(a_few))
    shown = [each.get_text(" ", strip=True) for each in tree.select(".figures li")]
    assert shown == ["3 cards revoked", "500 cards in the batch"], "a few cards tell nothing about snapsets"
    assert "Cards by snapset" not in [each.get_text() for each in tree.select("caption")]
    other = parsed(render(reports["verify"]))
    assert (len(other.select(".bar")), other.select(".figures")) == (1, [])


def test_page_says_where_and_when(reports: dict[str, Report]) -> None:
    """Environment, host and date are in the line above the verdict; the facts of the run are collapsed."""
    tree = parsed(render(reports["load"]))
    assert text(tree, "header .where").startswith("target production · couchdb.example.org:6984 · 2026-03-02 ")
    assert not the(tree, "footer details").has_attr("open")


def test_next_steps_have_commands(reports: dict[str, Report], spring: Manifest) -> None:
    """With the manifests and the target as they were typed."""
    report = described(
        a_verification(spring, ok=497, missing=3),
        replace(a_run([spring]), batch="spring.batch.jsonl", options=" --target production"),
    )
    [command] = parsed(render(report)).select(".command code")
    assert command.get_text() == "dataloader load spring.batch.jsonl --target production"


def test_equal_labels_have_equal_patterns() -> None:
    """In every kind of report; labels within one report have different patterns."""
    for labels in (Outcome, State, Returned, VerifyVerdict):
        patterns = [PATTERNS.get(label.value) for label in labels]
        assert None not in patterns
        assert len({*patterns}) == len(patterns)


def test_history_is_drawn(reports: dict[str, Report]) -> None:
    """Each count has a line and a label, and a table has the numbers; a single moment is not drawn."""
    moments = tuple(
        Moment(f"2026-{month:02}-01T10:00:00.000Z", {"loaded": 500, "in use": used, "wrong": 0})
        for month, used in ((7, 387), (1, 0), (3, 120))
    )
    tree = parsed(render(replace(reports["status"], histories=(History("Over time", moments),))))
    assert [each.get_text() for each in tree.select(".timeline .label")] == ["loaded 500", "in use 387"]
    assert len(tree.select(".timeline polyline")) == 2
    rows = [[cell.get_text() for cell in row.select("th, td")] for row in tree.select("#history-1 ~ figure tbody tr")]
    assert rows == [
        ["2026-01-01 10:00", "500", "0"],
        ["2026-03-01 10:00", "500", "120"],
        ["2026-07-01 10:00", "500", "387"],
    ]
    nothing = tuple(Moment(each.time, {"loaded": 0}) for each in moments)
    for few in (moments[:1], nothing):
        alone = replace(reports["status"], histories=(History("Over time", few),))
        assert parsed(render(alone)).select(".timeline") == []


def test_chart_over_one_day_says_the_time() -> None:
    """Two equal dates would not tell anything."""
    moments = tuple(Moment(f"2026-03-01T{hour:02}:05:00.000Z", {"loaded": hour}) for hour in (9, 17))
    drawn = draw(History("Over time", moments))
    assert drawn is not None
    assert (drawn.first, drawn.last) == ("2026-03-01 09:05", "17:05")


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6))
def test_labels_of_lines_neither_overlap_nor_leave_the_chart(counts: list[int]) -> None:
    """Wherever the lines end; each label stays in the order of the lines."""
    assume(any(counts))
    named = {f"line {at}": count for at, count in enumerate(counts)}
    moments = tuple(Moment(f"2026-0{month}-01T10:00:00.000Z", named) for month in (1, 2))
    drawn = draw(History("Over time", moments))
    assert drawn is not None
    found = sorted((line.label_y, line.points[-1][1]) for line in drawn.lines)
    places = [place for place, _ in found]
    assert all(drawn.top <= place <= drawn.bottom for place in places)
    assert all(after - before >= 16.9 for before, after in pairwise(places))
    assert [end for _, end in found] == sorted(end for _, end in found)
    if len(counts) == 1:
        assert places == [found[0][1]]


def test_broken_bound_is_the_verdict_of_a_tap_test() -> None:
    """Not that all taps were served, above a red cross."""
    bad, good = some_taps(outage=True), some_taps(outage=False)
    assert (bad.verdict, good.verdict[:23]) == ("A bound was exceeded.", "All 600 taps were served"[:23])
    assert bad.lead[0].startswith("98.33")
    assert bad.attention[0].items == ("availability 98.33 %, at least 99.9 % wanted",)


def test_refused_load_is_the_verdict_of_a_plan(spring: Manifest, tmp_path: Path) -> None:
    """A plan with a green tick would suggest to load."""
    sources = all_sources(TARGET, [spring], read_snapsets())
    report = plan_report(TARGET, [spring], sources, Plan(), Noted(), "spring: 3 cards are in doubt")
    assert (report.verdict, report.tone) == ("A load would be refused.", Tone.ATTENTION)
    assert report.lead[0] == "With --all-cards, a load would create nothing."
    run = replace(a_run([spring]), ready="spring.reconciled.jsonl", options=" --target production")
    [refused] = described(report, run).attention
    assert refused.items == ("spring: 3 cards are in doubt",)
    assert refused.command == "dataloader plan spring.reconciled.jsonl --target production"


@ONE_MODEL
def test_commands_of_a_report_name_reconciled_files(call: Command, manifest: Manifest, tmp_path: Path) -> None:
    """A load of the manifest itself is refused in production, if not all of its cards are encoded."""
    came_back(manifest, manifest.path.with_name("spring.reconciled.jsonl"), 2)
    assert call("load", "--snapsets-only").code == ExitCode.OK
    page = tmp_path / "verify.html"
    assert call("verify", manifest.path, "--report", page).code == ExitCode.VERIFY
    [command] = parsed(page.read_bytes()).select(".matter .command")
    assert command.get_text().startswith(f"dataloader load {manifest.path.with_name('spring.reconciled.jsonl')} --")


def test_wrong_cards_are_the_verdict_of_batches(tmp_path: Path) -> None:
    """And have their own command, whatever the next step of their batch is."""
    spring = a_batch(tmp_path)
    report = some_batches(tmp_path, [spring], (), ok=480, wrong=10)
    assert (report.verdict, report.tone) == ("10 cards would not work.", Tone.BAD)
    assert report.lead[0].startswith("1 batch with 500 cards; 490 came back encoded; ")
    assert [each.heading for each in report.attention] == ["spring: 10 cards wrong", "spring: 10 cards to encode again"]
    assert report.attention[0].command == "dataloader verify batches/spring.reconciled.jsonl --target production"


@ONE_MODEL
def test_status_accepts_the_json_of_earlier_runs(call: Command, manifest: Manifest, tmp_path: Path) -> None:
    """The output of ``--json`` is drawn; another file is refused, and no page is written."""
    earlier = tmp_path / "earlier.json"
    earlier.write_text(call("status", manifest.path, "--json").stdout)
    done = call("status", manifest.path, "--report", tmp_path / "status.html", "--history", earlier)
    assert done.code == ExitCode.OK
    assert "Over time" in (tmp_path / "status.html").read_text("utf-8")
    earlier.write_text(call("batches", manifest.path.parent, "--json").stdout)
    done = call("status", manifest.path, "--report", tmp_path / "other.html", "--history", earlier)
    assert done.code == ExitCode.INPUT
    assert f"{earlier}, line 1: is not the --json output of the same command" in done.stderr
    assert not (tmp_path / "other.html").exists()


@ONE_MODEL
def test_history_may_contain_failed_runs(call: Command, manifest: Manifest, tmp_path: Path) -> None:
    """The output of a cron job can be used directly: runs without a result are skipped."""
    earlier = tmp_path / "earlier.json"
    lines = [call("status", manifest.path, "--json").stdout, call("status", tmp_path / "nowhere", "--json").stdout]
    earlier.write_text("".join(lines))
    done = call("status", manifest.path, "--report", tmp_path / "status.html", "--history", earlier)
    assert done.code == ExitCode.OK, done.stderr
    assert "Over time" in (tmp_path / "status.html").read_text("utf-8")


def test_history_with_impossible_counts_is_rejected(call: Command, manifest: Manifest, tmp_path: Path) -> None:
    """A count is not negative."""
    earlier = tmp_path / "earlier.json"
    earlier.write_text(call("batches", manifest.path.parent, "--json").stdout.replace('"cards":', '"cards": -', 1))
    done = call("batches", manifest.path.parent, "--report", tmp_path / "batches.html", "--history", earlier)
    assert (done.code, f"{earlier}, line 1: is not the --json output" in done.stderr) == (ExitCode.INPUT, True)


def test_history_requires_a_report(call: Command, manifest: Manifest, tmp_path: Path) -> None:
    """Without a report, it is not ignored silently."""
    done = call("status", manifest.path, "--history", tmp_path / "earlier.json")
    assert (done.code, "--history: needs a report (add --report FILE)" in done.stderr) == (ExitCode.USAGE, True)


@ONE_MODEL
def test_batches_report_draws_each_batch(call: Command, manifest: Manifest, tmp_path: Path) -> None:
    """Each batch has its own chart; one that did not exist in an earlier run starts later."""
    folder, earlier = manifest.path.parent, tmp_path / "earlier.json"
    came_back(manifest, folder / "spring.reconciled.jsonl", 2)
    earlier.write_text(call("batches", folder, "--json").stdout)
    autumn = generate("autumn", {"snapset_3": 2}, folder).manifest
    came_back(autumn, folder / "autumn.reconciled.jsonl", 1)
    generate("winter", {"snapset_3": 2}, folder)
    with earlier.open("a") as stream:
        stream.write(call("batches", folder, "--json").stdout)
    page = tmp_path / "batches.html"
    done = call("batches", folder, "--report", page, "--history", earlier)
    assert done.code == ExitCode.OK, done.stderr
    tree = parsed(page.read_bytes())
    charts = {
        section.select_one("h2").get_text(): len(section.select("tbody tr"))  # type: ignore[union-attr]
        for section in tree.select("section:has(.timeline)")
    }
    assert charts == {"Batch autumn over time": 2, f"Batch {manifest.header.name} over time": 3}
    assert f"dataloader reconcile {manifest.path} RETURNED" in tree.get_text()


@ONE_MODEL
def test_names_that_are_not_text_are_shown(call: Command, manifest: Manifest, tmp_path: Path, target: Target) -> None:
    """A file name that is not UTF-8 is shown as far as possible."""
    folder = tmp_path / os.fsdecode(b"<b>caf\xe9")
    folder.mkdir()
    path = folder / manifest.path.name
    path.write_bytes(manifest.path.read_bytes())
    done = call("plan", path, "--report", folder / "plan.html")
    assert done.code == ExitCode.OK
    assert "<b>caf\\udce9" in told(folder / "plan.html")["Command"]


def test_verify_writes_details(
    call: Command, manifest: Manifest, server: Server, target: Target, tmp_path: Path
) -> None:
    """``--details`` lists every card that is not as minted, with its verdict and the reason."""
    assert call("load", manifest.path).code == ExitCode.OK
    [card, *_] = manifest.cards()
    place = access_of(target.model.name, card.uuid)
    database = databases(server, target)[place.database]
    [loaded] = agreed(server, lambda: database.leaves([place.id]))[place.id]
    put(database, {"_id": place.id, "type": "note", "_rev": loaded["_rev"]})
    path = tmp_path / "details.jsonl"
    assert call("verify", manifest.path, "--details", path).code == ExitCode.VERIFY
    [line] = [json.loads(each) for each in path.read_text("utf-8").splitlines()]
    assert (line["batch"], line["uuid"], line["verdict"]) == ("spring", card.uuid, "wrong")
    assert line["reason"]
    assert call("verify", manifest.path, "--details", path).code == ExitCode.FILE
