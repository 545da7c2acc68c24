"""Reports of plans and loads."""

from collections.abc import Iterator, Mapping, Sequence

from dataloader.batch import CardFile
from dataloader.common import are, listed, many
from dataloader.operations import LoadResult, Plan, Source
from dataloader.records.models import Role
from dataloader.replication import OUTCOMES, STATES, Outcome, State
from dataloader.report.documents import FAILED, NotedDocument, attention, by_kind, tallies
from dataloader.report.model import Attention, Report, Share, Tone
from dataloader.report.notes import Noted, about, fewer_copies, left_out
from dataloader.target import Environment, Target


def plan_report(
    target: Target,
    manifests: Sequence[CardFile],
    sources: Sequence[Source],
    result: Plan,
    noted: Noted[NotedDocument],
    refused: str = "",
) -> Report:
    """Return the report of a plan.

    Args:
        target: the target.
        manifests: the batches.
        sources: what a load would write.
        result: the states of the documents.
        noted: documents that need attention.
        refused: why a load would refuse the batches; empty if it would not.
    """
    found = tallies(target, result.states)
    doubtful = [*attention(found, manifests, noted), *_raised(target, result.raised)]
    if refused:
        heading = "A load would refuse this"
        doubtful.insert(0, Attention(heading, items=(refused,), command="dataloader plan {ready}{target}"))
    absent = result.count(State.ABSENT)
    would = f"load would create {many(absent, 'document')}" if absent else "load would create nothing"
    need = sum(result.count(state) for state, said in STATES.items() if said.advice)
    lead = [f"Nothing has been written. {_seen(target, sources, result.documents)}"]
    lead += left_out(manifests)
    if refused:
        lead.insert(0, f"With --all-cards, a {would}.")
    if result.missing_databases:
        lead.append(f"A load would first create {_databases(result.missing_databases)}.")
    return Report(
        about("Plan", manifests),
        "A load would be refused." if refused else f"{_need(need)} attention; a {would}." if need else f"A {would}.",
        Tone.ATTENTION if doubtful else Tone.GOOD,
        tuple(lead),
        "documents",
        tuple(
            Share(state.value, result.count(state), said.meaning, Tone(said.severity)) for state, said in STATES.items()
        ),
        tuple(doubtful),
        (by_kind(found, "state"),),
    )


def load_report(
    target: Target,
    manifests: Sequence[CardFile],
    sources: Sequence[Source],
    result: LoadResult,
    noted: Noted[NotedDocument],
) -> Report:
    """Return the report of a load."""
    for failure in result.failures:
        noted(FAILED, NotedDocument("", failure.id, failure.reason))
    found = tallies(target, result.outcomes)
    doubtful = [*attention(found, manifests, noted), *_raised(target, result.raised)]
    verdict, lead = _load_verdict(result, _cards(target, sources))
    lead += [_seen(target, sources, result.documents), *left_out(manifests)]
    if result.created_databases:
        lead.append(f"The load has created {_databases(result.created_databases)}.")
    doubtful += fewer_copies(result.nodes_away, short=result.short_of_copies)
    return Report(
        about("Load", manifests),
        verdict,
        Tone.ATTENTION if doubtful else Tone.GOOD,
        tuple(lead),
        "documents",
        tuple(
            Share(outcome.value, result.count(outcome), said.meaning, Tone(said.severity))
            for outcome, said in OUTCOMES.items()
        ),
        tuple(doubtful),
        (by_kind(found, "outcome"),),
    )


def _raised(target: Target, raised: Mapping[str, Environment]) -> Iterator[Attention]:
    """Report which databases become more protected."""
    if raised:
        yield Attention(
            f"{many(len(raised), 'database')} previously loaded as a less protected environment",
            f"Look for sample data and log-ins from then, which must not be in {target.environment}; or use new "
            "databases.",
            items=tuple(f"{name} was loaded as {environment}" for name, environment in raised.items()),
        )


def _load_verdict(result: LoadResult, cards: int) -> tuple[str, list[str]]:
    """Return the verdict on a load, and the sentences after it."""
    good = result.documents - result.needs_attention
    if result.needs_attention:
        rest = f"The other {many(good, 'document')} {are(good)} in place."
        return f"{_need(result.needs_attention)} attention.", [rest] if good else []
    if result.missing_views:
        return f"Views are missing in {listed(list(result.missing_views))}.", []
    if result.nodes_away:
        return "Everything has been written, but part of the cluster was down.", []
    if result.short_of_copies:
        return "Everything has been written, but some copies are missing.", []
    verdict = f"{_all(cards, 'card')} loaded." if cards else f"{_all(good, 'document')} in place."
    return verdict, list(_kept(result))


def _kept(result: LoadResult) -> Iterator[str]:
    """Report what was kept because somebody wanted it that way."""
    edited, deleted = result.count(Outcome.EDITED), result.count(Outcome.DELETED)
    if edited or deleted:
        said = [f"{many(edited, 'document')} edited by their owners"] if edited else []
        said += [f"{many(deleted, 'document')} deleted since an earlier load"] if deleted else []
        yield f"Not changed: {listed(said)}."


def _cards(target: Target, sources: Sequence[Source]) -> int:
    """Return the number of cards in the sources: each has one document of a kind."""
    kind = next(kind.name for kind in target.model.kinds if Role.CARD in kind.roles)
    return sum(source.count for source in sources if source.role is Role.CARD and source.kind == kind)


def _seen(target: Target, sources: Sequence[Source], documents: int) -> str:
    cards = _cards(target, sources)
    whose = f"{many(cards, 'card')}, the snapsets and the views" if cards else "the snapsets and the views"
    return f"{many(documents, 'document')} in all: those of {whose}."


def _need(count: int) -> str:
    return f"{many(count, 'document')} {'needs' if count == 1 else 'need'}"


def _all(count: int, one: str) -> str:
    return f"The one {one} is" if count == 1 else f"All {many(count, one)} are"


def _databases(names: Sequence[str]) -> str:
    return f"the {'database' if len(names) == 1 else 'databases'} {listed(names)}"
