"""Reports of every kind, made from constructed results; no server needed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from dataloader.archive import BackupHeader
from dataloader.batch import CardFile, Manifest, read_manifest
from dataloader.common import ExitCode, data_dir
from dataloader.couch import Address, Rejection, Welcome
from dataloader.operations import (
    DESIGN_KIND,
    BatchStatus,
    Branch,
    CardOutcome,
    CardVerdict,
    ChangedTerm,
    DrillResult,
    LoadResult,
    MergeResult,
    Outcome,
    Plan,
    RevokeOutcome,
    RevokeResult,
    SetInConflict,
    StatusResult,
    TapsResult,
    Term,
    VerifyResult,
    VerifyVerdict,
    all_sources,
    find_batches,
    generate,
)
from dataloader.operations.reconcile import ReturnedFile, reconcile
from dataloader.operations.taps import Tap
from dataloader.records import read_snapsets
from dataloader.records.models import get_model
from dataloader.replication import State
from dataloader.report import (
    History,
    Moment,
    Noted,
    NotedDocument,
    Report,
    Run,
    batches_report,
    described,
    drill_report,
    facts,
    load_report,
    matter,
    merge_report,
    plan_report,
    reconcile_report,
    revoke_report,
    status_report,
    stopped,
    taps_report,
    verify_report,
)
from dataloader.report.model import Attention, Share, Table, Tone
from dataloader.target import Environment, Target
from dataloader.vendor.returned import Reading
from tests.support.returned_files import came_back

CARDS = 500
TARGET = Target(
    Address("https://couchdb.example.org:6984", "dataloader", "a password that nobody sees"),
    get_model("gpii-token"),
    Environment.PRODUCTION,
    "pilot-",
)
STARTED = datetime(2026, 3, 2, 9, 15, 7, tzinfo=UTC)
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;{{ 7 * 7 }}\x00\udce9\u202e'
"""A text that must appear in reports literally."""


def a_batch(folder: Path, name: str = "spring") -> Manifest:
    """Return a batch of 500 cards."""
    return generate(name, {"snapset_1a": 300, "snapset_3": 200}, folder).manifest


def a_run(
    manifests: Sequence[CardFile] = (),
    code: ExitCode = ExitCode.OK,
    command: str = "dataloader load spring.batch.jsonl --target production",
) -> Run:
    """Return the facts of a run that took some time."""
    server = Welcome("CouchDB", "3.5.0", names_leaves=True)
    named = ("production", "spring.batch.jsonl", " --target production")
    return Run(command, manifests, TARGET, server, STARTED, 4.2, code, *named)


def a_plan(manifest: Manifest, *, clean: bool = True) -> Report:
    """Return the report of a plan for a new target, or for one with problems."""
    result, noted = Plan(), Noted[NotedDocument]()
    if clean:
        result.missing_databases = ["pilot-preferences", "pilot-auth"]
        result.states = {
            "preferences": {"preferences": Counter({State.ABSENT: 512})},
            "auth": {kind: Counter({State.ABSENT: CARDS}) for kind in ("user", "gpiiToken")},
        }
    else:
        result.states = {
            "preferences": {
                "preferences": Counter({State.UNCHANGED: 480, State.EDITED: 20, State.OUTDATED: 8, State.FOREIGN: 4})
            },
            "auth": {DESIGN_KIND: Counter({State.FOREIGN: 1}), "user": Counter({State.CONFLICT: 1})},
        }
        uuids = [card.uuid for card in manifest.cards()]
        for uuid in uuids[:8]:
            noted(State.OUTDATED, NotedDocument("pilot-preferences", uuid))
        for uuid in uuids[8:12]:
            noted(State.FOREIGN, NotedDocument("pilot-preferences", uuid))
        noted(matter(DESIGN_KIND, State.FOREIGN), NotedDocument("pilot-auth", "_design/views"))
        noted(State.CONFLICT, NotedDocument("pilot-auth", f"user-{uuids[12]}"))
    return plan_report(TARGET, [manifest], all_sources(TARGET, [manifest], read_snapsets()), result, noted)


def a_load(
    manifest: CardFile,
    outcomes: dict[Outcome, int] | None = None,
    noted: Noted[NotedDocument] | None = None,
    failures: list[Rejection] | None = None,
    nodes_away: tuple[str, ...] = (),
    raised: dict[str, Environment] | None = None,
    *,
    short_of_copies: bool = False,
) -> Report:
    """Return the report of a load whose documents are all of one kind."""
    counts = Counter(outcomes or {Outcome.CREATED: 1513})
    result = LoadResult({"preferences": {"preferences": counts}}, failures=failures or [])
    result.nodes_away, result.raised, result.short_of_copies = nodes_away, raised or {}, short_of_copies
    sources = all_sources(TARGET, [manifest], read_snapsets())
    return load_report(TARGET, [manifest], sources, result, noted or Noted())


def a_bad_load(manifest: Manifest) -> Report:
    """Return the report of a load with every outcome, more documents than are listed, and a node down."""
    noted, uuids = Noted[NotedDocument](), [card.uuid for card in manifest.cards()]
    for uuid in uuids[:40]:
        noted(State.OUTDATED, NotedDocument("pilot-preferences", uuid))
    noted(State.CONFLICT, NotedDocument("pilot-auth", f"user-{uuids[0]}"))
    noted(State.FOREIGN, NotedDocument("pilot-auth", f"gpiiToken-{uuids[1]}"))
    outcomes = dict.fromkeys(Outcome, 1) | {Outcome.UNCHANGED: 900, Outcome.OUTDATED: CARDS}
    failures = [Rejection(uuids[0], "doc_validation: not allowed")]
    return a_load(manifest, outcomes, noted, failures, ("couchdb@node2.example.org",))


def a_verification(manifest: Manifest, **counts: int) -> Report:
    """Return the report of a verify run; the counts are by name of verdict."""
    result = VerifyResult(Counter({VerifyVerdict(name): count for name, count in counts.items()}))
    noted = Noted[CardVerdict]()
    uuids = iter([card.uuid for card in manifest.cards()])
    for verdict in (VerifyVerdict.MISSING, VerifyVerdict.WRONG):
        for _ in range(result.verdicts[verdict]):
            uuid = next(uuids)
            is_missing = verdict is VerifyVerdict.MISSING
            reason = f"document gpiiToken-{uuid} does not exist" if is_missing else "view findGpiiToken has 2 answers"
            noted(verdict, CardVerdict(uuid, verdict, reason))
    return verify_report([manifest], result, noted)


def a_status(*manifests: Manifest, encoded: int | None = None, **counts: int) -> Report:
    """Return the report of a status run for equal batches; the counts are by name of verdict."""
    verdicts = Counter({VerifyVerdict(name): count for name, count in counts.items()})
    batches = [BatchStatus(each.header.name, each.count, encoded, verdicts) for each in manifests]
    noted = Noted[CardVerdict]()
    uuids = iter([card.uuid for each in manifests for card in each.cards()])
    for _ in range(len(manifests) * verdicts[VerifyVerdict.WRONG]):
        noted(
            VerifyVerdict.WRONG,
            CardVerdict(next(uuids), VerifyVerdict.WRONG, "view findGpiiToken has 2 answers, not one"),
        )
    return status_report(manifests, StatusResult(batches), noted)


def a_reconciliation(*names: str) -> Report:
    """Return the report of a reconciliation of the sample batch with files of ``samples/returned``."""
    folder = data_dir("samples") / "returned"
    batch = read_manifest(folder / "library.batch.jsonl")
    files = [ReturnedFile(folder / name) for name in names]
    found = reconcile(batch, files, Reading({}, None, cards=batch.header.cards))
    out = Path("batches")
    reencode = out / "library.reencode.xlsx" if found.to_encode else None
    report = reconcile_report(found, len(files), out / "library.reconciled.jsonl", reencode)
    # The folder has another name on each machine.
    attention = tuple(replace(each, command=each.command.replace(str(folder), str(out))) for each in report.attention)
    return replace(report, attention=attention)


def some_batches(
    folder: Path, manifests: Sequence[Manifest], history: Sequence[tuple[int, int, int]], **counts: int
) -> Report:
    """Return the report of the batches in a folder; the second round of the first one is still at the vendor."""
    came_back(manifests[0], folder / "spring.reconciled.jsonl", encoded=490)
    found = find_batches(folder)
    verdicts = Counter({VerifyVerdict(name): count for name, count in counts.items()})
    status = {each.header.digest: BatchStatus(each.header.name, each.count, None, verdicts) for each in manifests}
    report = batches_report("batches", found.batches, status if counts else {}, " --target production")
    moments = tuple(
        Moment(f"2026-{month:02}-01T10:00:00.000Z", {"encoded": 490, "loaded": loaded, "edited": edited, "wrong": 0})
        for month, loaded, edited in history
    )
    histories = tuple(History(f"Batch {each.header.name} over time", moments) for each in manifests)
    # The folder has another name each time.
    attention = tuple(replace(each, command=each.command.replace(str(folder), "batches")) for each in report.attention)
    return replace(report, histories=histories, attention=attention)


def a_drill(differences: int = 0, not_working: int = 0) -> Report:
    """Return the report of a drill."""
    header = BackupHeader(
        "2026-03-02T09:15:07.000Z",
        "gpii-token",
        "production",
        TARGET.address.url,
        TARGET.prefix,
        "CouchDB 3.5.0",
        "",
        (),
    )
    steps = {"back up": 3.2, "restore": 12.4, "compare": 2.1, "check cards": 1.0}
    result = DrillResult(header, None, 8_400_000, steps, "2026-03-01T02:00:00.000Z", 17, 1513, cards=CARDS)
    result.difference_count, result.cards_not_working = differences, not_working
    result.differences = [f"auth: gpiiToken-{number} is missing from the copy" for number in range(min(differences, 4))]
    return drill_report(result)


def some_taps(*, outage: bool) -> Report:
    """Return the report of a minute of taps, with or without a second in which none was served."""
    taps = [
        Tap(at / 10, 0.8, "no answer within 2 s") if outage and 200 <= at < 210 else Tap(at / 10, 0.02 + at % 17 / 500)
        for at in range(600)
    ]
    broken = ["availability 98.33 %, at least 99.9 % wanted"] if outage else []
    return taps_report(TapsResult(taps, CARDS, seconds=60.0), 10, broken)


def a_revocation(manifest: Manifest, *found: RevokeOutcome, nodes_away: tuple[str, ...] = ()) -> Report:
    """Return the report of a revocation; the outcomes are those of the first cards."""
    reasons = {RevokeOutcome.FOREIGN: "preferences: the document has the type person"}
    cards = [
        CardOutcome(card, each, reasons.get(each, "")) for card, each in zip(manifest.cards(), found, strict=False)
    ]
    result = RevokeResult(Counter(found), nodes_away=nodes_away)
    return revoke_report(manifest, result, cards, "lost on the bus", undo=False)


TERMS = "http://registry.gpii.net/common/"


def in_conflict(uuid: str, *edits: dict[str, object]) -> SetInConflict:
    """Return a card's preference set that was edited several times at once."""
    branches = []
    for digest, edit in zip("fedcba", edits, strict=False):
        context = {"name": "Default preferences", "preferences": {f"{TERMS}{name}": edit[name] for name in edit}}
        preferences = {"flat": {"name": "large", "contexts": {"gpii-default": context}}}
        leaf = {"_id": uuid, "_rev": f"2-{digest * 32}", "type": "preferences", "value": preferences}
        terms = (Term("gpii-default", f"{TERMS}{name}") for name in edit)
        changed = (ChangedTerm(term, b"18", orjson.dumps(edit[term.name])) for term in terms)
        branches.append(Branch(leaf, tuple(changed)))
    return SetInConflict("preferences", tuple(branches))


def a_merge(manifest: Manifest, *, choose: int = 0, ready: int = 0, merged: int = 0, dry_run: bool = False) -> Report:
    """Return the report of a merge of the first cards' sets."""
    uuids = iter([card.uuid for card in manifest.cards()])
    mergeable: tuple[dict[str, object], ...] = (
        {"fontSize": 30},
        {"language": "de", "highContrastTheme": "white-black"},
    )
    result = MergeResult([in_conflict(next(uuids), *mergeable) for _ in range(merged)])
    result.open = [
        in_conflict(next(uuids), {"fontSize": 30}, {"fontSize": 36, "language": "de"}) for _ in range(choose)
    ]
    result.open += [in_conflict(next(uuids), *mergeable) for _ in range(ready)]
    return merge_report([manifest], result, dry_run=dry_run, values=False)


def a_stop() -> Report:
    """Return the report of a load that stopped half-way."""
    error = "https://couchdb.example.org:6984/pilot-auth/_bulk_docs: no reply within 30 s (run it again)"
    return stopped("Load of batch spring", "The load", [error, "and 2 more problems"], writes=True)


def a_hostile_report() -> Report:
    """Return a report with dangerous texts and names of maximum length everywhere."""
    table = Table(HOSTILE, (HOSTILE, HOSTILE, HOSTILE), ((HOSTILE, HOSTILE, "x" * 300), ("y" * 300, HOSTILE, HOSTILE)))
    counts = Table(f"{HOSTILE} and counts", (HOSTILE, "Count"), ((HOSTILE, 123_456_789), ("z" * 300, 1)))
    return Report(
        HOSTILE,
        HOSTILE * 3,
        Tone.BAD,
        (HOSTILE,),
        "cards",
        tuple(Share(HOSTILE, count, HOSTILE, tone) for count, tone in enumerate([*Tone, *Tone, *Tone], 1)),
        (Attention(HOSTILE, HOSTILE, Tone.BAD, (HOSTILE, "w" * 300), table, 7, HOSTILE),),
        (counts,),
        tuple(facts(a_run(command=f"dataloader load '{HOSTILE}' {'v' * 300}"))),
    )


def every_kind(folder: Path) -> dict[str, Report]:
    """Return a report of every kind, with the facts of a run."""
    manifest = a_batch(folder)
    reports = {
        "plan": (a_plan(manifest), ExitCode.OK),
        "plan-attention": (a_plan(manifest, clean=False), ExitCode.OK),
        "load": (a_load(manifest), ExitCode.OK),
        "load-attention": (a_bad_load(manifest), ExitCode.ATTENTION),
        "load-stopped": (a_stop(), ExitCode.UNREACHABLE),
        "verify": (a_verification(manifest, ok=488, edited=12), ExitCode.OK),
        "verify-bad": (a_verification(manifest, ok=480, edited=12, revoked=3, missing=4, wrong=1), ExitCode.VERIFY),
    }
    autumn = a_batch(folder, "autumn")
    reports |= {
        "reconcile": (a_reconciliation("all-well.xlsx"), ExitCode.OK),
        "reconcile-attention": (a_reconciliation("everything.xlsx"), ExitCode.RETURNED),
        "status": (a_status(manifest, encoded=490, ok=100, edited=387, revoked=3), ExitCode.OK),
        "status-wrong": (a_status(manifest, autumn, ok=400, edited=80, missing=18, wrong=2), ExitCode.VERIFY),
    }
    pages = {name: described(report, a_run([manifest], code)) for name, (report, code) in reports.items()}
    earlier = ((1, 0, 0), (3, 120, 1), (5, 300, 2), (7, 387, 3))
    history = tuple(
        Moment(
            f"2026-{month:02}-01T10:00:00.000Z",
            {"loaded": 500, "edited": used, "revoked": revoked, "missing": 2, "wrong": month - 1},
        )
        for month, used, revoked in earlier
    )
    spring = a_batch(folder / "at-the-vendor", "spring")
    both = [spring, a_batch(folder / "at-the-vendor", "autumn")]
    more = {
        "batches": (some_batches(folder / "at-the-vendor", both, ()), ExitCode.OK),
        "batches-over-time": (
            some_batches(
                folder / "at-the-vendor", both, ((1, 0, 0), (3, 490, 20), (7, 490, 220)), ok=270, edited=220, missing=10
            ),
            ExitCode.OK,
        ),
        "drill": (a_drill(), ExitCode.OK),
        "drill-bad": (a_drill(9, 3), ExitCode.VERIFY),
        "revoke": (a_revocation(manifest, RevokeOutcome.REVOKED, RevokeOutcome.ALREADY_REVOKED), ExitCode.OK),
        "revoke-failed": (a_revocation(manifest, RevokeOutcome.REVOKED, RevokeOutcome.FOREIGN), ExitCode.ATTENTION),
        "merge": (a_merge(manifest, merged=3), ExitCode.OK),
        "merge-open": (a_merge(manifest, choose=2, merged=3), ExitCode.ATTENTION),
        "merge-dry-run": (a_merge(manifest, choose=1, ready=2, dry_run=True), ExitCode.OK),
        "taps": (some_taps(outage=False), ExitCode.OK),
        "taps-outage": (some_taps(outage=True), ExitCode.BOUNDS),
    }
    pages |= {name: described(report, a_run([manifest], code)) for name, (report, code) in more.items()}
    pages["status-over-time"] = replace(pages["status"], histories=(History("Over time", history),))
    return {**pages, "hostile": a_hostile_report()}


KINDS = (
    *("plan", "plan-attention", "load", "load-attention", "load-stopped", "verify", "verify-bad"),
    *("reconcile", "reconcile-attention", "status", "status-wrong", "status-over-time", "hostile"),
    *("batches", "batches-over-time", "drill", "drill-bad", "revoke", "revoke-failed", "taps", "taps-outage"),
    *("merge", "merge-open", "merge-dry-run"),
)
