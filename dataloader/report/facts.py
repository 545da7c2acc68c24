"""Facts about a run, for every report, and the report of a run that stopped half-way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from dataloader.batch import CardFile, Reconciled
from dataloader.common import VERSION, ExitCode, many
from dataloader.couch import Welcome
from dataloader.report.model import Attention, Fact, Figure, Report, Table, Tone
from dataloader.target import Target


@dataclass(frozen=True, slots=True)
class Run:
    """How a command was called, and its result."""

    command: str
    """The command line, without credentials."""
    manifests: Sequence[CardFile]
    target: Target | None
    server: Welcome | None
    """The server that answered, if any."""
    started: datetime
    seconds: float
    """The duration; the clock may have been set in the meantime."""
    code: ExitCode
    target_name: str = ""
    """The target's name in the target file, if it was given by name."""
    batch: str = "MANIFEST"
    """The manifests as they were typed."""
    options: str = ""
    """The options for this target, each preceded by a space."""
    ready: str = ""
    """The same as :attr:`batch`, with reconciled files in the place of their manifests; empty if there are none."""


def described(report: Report, run: Run) -> Report:
    """Return a report with information about its run: place and time, facts, figures, commands to copy."""
    cards = sum(each.count for each in run.manifests)
    shown = [share for share in report.shares if share.count]
    figures: list[Figure] = []
    by_snapset = []
    if len(shown) == 1:
        unit = report.unit.removesuffix("s") if shown[0].count == 1 else report.unit
        figures = [Figure(shown[0].count, f"{unit} {shown[0].label}")]
        # Documents are those of all cards; a few cards, or taps on them, tell nothing about snapsets.
        if run.manifests and (report.unit == "documents" or (report.unit == "cards" and report.total == cards)):
            snapsets, spares = _snapsets(run.manifests)
            figures += [Figure(cards, "card" if cards == 1 else "cards")] if report.unit != "cards" else []
            figures += [Figure(len(snapsets), "snapset" if len(snapsets) == 1 else "snapsets")]
            figures += [Figure(len(run.manifests), "batch" if len(run.manifests) == 1 else "batches")]
            head = ("Snapset", "Cards", *(("Including spares",) if spares else ()))
            rows = ((name, count, *((spares[name],) if spares else ())) for name, count in snapsets.items())
            by_snapset.append(Table("Cards by snapset", head, tuple(rows)))
        elif run.manifests:
            figures += [Figure(cards, "cards in the batch" if len(run.manifests) == 1 else "cards in the batches")]
    attention = tuple(replace(each, command=_filled(each.command, run)) for each in report.attention)
    steps = tuple(replace(each, command=_filled(each.command, run)) for each in report.steps)
    return replace(
        report.with_facts(facts(run)),
        where=where(run),
        figures=tuple(figures[:3]),
        steps=steps,
        attention=attention,
        tables=(*report.tables, *by_snapset),
    )


def _snapsets(manifests: Sequence[CardFile]) -> tuple[Counter[str], Counter[str]]:
    """Return how many cards start with each snapset, and how many of these were minted as spares."""
    snapsets, spares = Counter[str](), Counter[str]()
    for each in manifests:
        if isinstance(each, Reconciled):
            for card in each.cards():
                snapsets[card.snapset] += 1
                spares[card.snapset] += each.header.is_spare(card.number)
        else:
            snapsets.update(each.header.snapsets)
            spares.update(each.header.spares)
    return snapsets, +spares


def _filled(command: str, run: Run) -> str:
    # Not str.format: a command may contain a path with braces.
    ready = run.ready or run.batch
    return command.replace("{batch}", run.batch).replace("{ready}", ready).replace("{target}", run.options)


def where(run: Run) -> str:
    """Return the target, its environment and host, and the date, in one line."""
    parts = []
    if run.target is not None:
        parts += [f"target {run.target_name}"] if run.target_name else []
        hosts = dict.fromkeys(urlsplit(url).netloc for url in run.target.address.urls)
        # A target often has the name of its environment.
        parts += [run.target.environment.value] if run.target.environment.value != run.target_name else []
        parts.append(", ".join(hosts))
    return " · ".join([*parts, f"{run.started.astimezone(UTC):%Y-%m-%d %H:%M} UTC"])


def facts(run: Run) -> list[Fact]:
    """Return the facts about a run, in order of interest."""
    found = [Fact("Exit code", f"{int(run.code)}: {run.code.meaning}"), Fact("Command", run.command, typed=True)]
    found += [Fact("Batch", f"{each.header.name} ({_size(each)})") for each in run.manifests]
    if run.target is not None:
        found += [
            *(Fact("Target", url) for url in run.target.address.urls),
            Fact("Environment", run.target.environment.value),
            Fact("Document model", run.target.model.name),
        ]
        if run.target.prefix:
            found.append(Fact("Prefix of databases", run.target.prefix))
    if run.server is not None:
        found.append(Fact("Server", f"{run.server.product} {run.server.version}".strip()))
    return [
        *found,
        Fact("Started", f"{run.started.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"),
        Fact("Took", duration(run.seconds)),
        Fact("Made by", f"dataloader {VERSION}"),
    ]


def _size(manifest: CardFile) -> str:
    minted = many(manifest.header.cards, "card")
    return minted if manifest.count == manifest.header.cards else f"{manifest.count:,} encoded of {minted}"


def duration(seconds: float) -> str:
    """Format a duration: ``0.4 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def stopped(about: str, what: str, errors: Sequence[str], *, writes: bool) -> Report:
    """Return the report of a run that stopped before its end.

    Args:
        about: the operation and its subject, as a heading.
        what: the same, as the subject of a sentence: ``The load``.
        errors: what stopped it, one error per line.
        writes: whether such a run writes to its target.
    """
    again = "Run the command again, with a new name for the report"
    lead = f"Everything written so far is kept. {again}; it continues." if writes else f"{again}."
    why = Attention("What stopped it", tone=Tone.BAD, items=tuple(errors))
    return Report(about, f"{what} stopped before it was finished.", Tone.BAD, (lead,), attention=(why,))
